#include "far_frame.h"

#include <errno.h>

#include "calls.h"
#include "limits.h"
#include "wire.h"

static void put_fixed(const struct far_request *far, uint8_t *to)
{
    const struct request *request = &far->request;
    const uint8_t bytes[] = {
        request->op, request->mode,   request->type,   request->ack, far->protocol,
        far->form,   far->frame_type, far->call_flags, far->hops,    far->flags,
    };
    const uint32_t words[] = {
        request->flags,  request->timeout_ms,        request->count,
        far->connection, far->connection_generation,
    };
    const uint64_t longs[] = {
        far->request_id,    request->client, request->sequence,
        request->retry_hlc, request->cursor, far->epoch,
    };

    memcpy(to, bytes, sizeof bytes);
    to += sizeof bytes;
    store_u16(to, far->shard);
    to[2] = far->connection_shard;
    to += 3;
    for (size_t i = 0; i < sizeof words / sizeof words[0]; i++, to += 4) {
        store_u32(to, words[i]);
    }
    for (size_t i = 0; i < sizeof longs / sizeof longs[0]; i++, to += 8) {
        store_u64(to, longs[i]);
    }
}

static int put_string(struct buffer *out, struct bytes bytes)
{
    uint8_t size[VARINT_BYTES_MAX];
    int rc = buffer_append(out, bytes_of(size, (size_t)(varint_put(size, bytes.size) - size)));

    return rc != 0 ? rc : buffer_append(out, bytes);
}

int far_request_put(const struct far_request *far, struct buffer *out)
{
    const struct request *request = &far->request;
    const uint8_t procedure = request->procedure != NULL;
    uint8_t fixed[FAR_FIXED_BYTES];

    put_fixed(far, fixed);
    int rc = buffer_append(out, bytes_of(fixed, sizeof fixed));
    rc = rc != 0 ? rc : put_string(out, request->key);
    rc = rc != 0 ? rc : put_string(out, request->version);
    rc = rc != 0 ? rc : buffer_append(out, bytes_of(&procedure, 1));
    if (rc != 0) {
        return rc;
    }
    return procedure != 0 ? wire_pack(request->procedure, request->body, out)
                          : buffer_append(out, request->body);
}

static void read_fixed(struct reader *reader, struct far_request *far)
{
    struct request *request = &far->request;

    request->op = read_u8(reader);
    request->mode = read_u8(reader);
    request->type = read_u8(reader);
    request->ack = read_u8(reader);
    far->protocol = read_u8(reader);
    far->form = read_u8(reader);
    far->frame_type = read_u8(reader);
    far->call_flags = read_u8(reader);
    far->hops = read_u8(reader);
    far->flags = read_u8(reader);
    far->shard = read_u8(reader);
    far->shard |= (uint16_t)(read_u8(reader) << 8);
    far->connection_shard = read_u8(reader);
    request->flags = read_u32(reader);
    request->timeout_ms = read_u32(reader);
    request->count = read_u32(reader);
    far->connection = read_u32(reader);
    far->connection_generation = read_u32(reader);
    far->request_id = read_u64(reader);
    request->client = read_u64(reader);
    request->sequence = read_u64(reader);
    request->retry_hlc = read_u64(reader);
    request->cursor = read_u64(reader);
    far->epoch = read_u64(reader);
}

static bool is_good(const struct far_request *far)
{
    const struct request *request = &far->request;
    bool scans = (far->flags & FAR_SCANS) != 0;

    return request->op <= REQUEST_SCAN && scans == (request->op == REQUEST_SCAN) &&
           far->protocol >= FAR_NATIVE && far->protocol <= FAR_TASK && far->form >= CALL_FRAME &&
           far->form <= CALL_STEP && (far->protocol == FAR_TASK) == (far->form == CALL_STEP) &&
           scans == (far->form == CALL_SCAN_PART || (scans && far->form == CALL_STEP)) &&
           request->key.size <= KEY_BYTES_MAX && (scans || request->key.size > 0);
}

int far_request_read(struct bytes from, struct buffer *scratch, struct far_request *far)
{
    struct reader reader = reader_of(from);
    struct request *request = &far->request;

    *far = (struct far_request){0};
    read_fixed(&reader, far);
    request->key = read_string(&reader);
    request->version = read_string(&reader);
    uint8_t procedure = read_u8(&reader);
    struct bytes rest = read_bytes(&reader, reader_left(&reader));
    if (reader.bad || procedure > 1 || !is_good(far)) {
        return -EBADMSG;
    }
    request->for_first = request->op == REQUEST_WRITE && (far->flags & FAR_FOR_FIRST) != 0;
    if (procedure == 0) {
        request->body = rest;
        return 0;
    }
    if (request->op > REQUEST_WRITE) {
        return -EBADMSG;
    }
    int rc = wire_unpack(rest, scratch, &request->procedure, &request->body);
    return rc == -EBADMSG ? -EINVAL : rc; /* It may be the client's doing. */
}
