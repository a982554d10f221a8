#include "native_request.h"

#include <string.h>

#include "belay.pb-c.h"
#include "limits.h"
#include "recover.h"
#include "wire_head.h"

static struct bytes bytes_of_field(ProtobufCBinaryData field)
{
    return bytes_of(field.data, field.len);
}

/* Unpack a head. protobuf-c does not tell damage from lack of memory; ask the arena. */
static void *unpack(const ProtobufCMessageDescriptor *descriptor, const struct frame *frame,
                    struct arena *arena)
{
    return protobuf_c_message_unpack(descriptor, &arena->protobuf, frame->head.size,
                                     frame->head.data);
}

static enum status unpack_failed(struct arena *arena)
{
    return arena_take(arena, HEAD_BYTES_MAX) == NULL ? STATUS_BUSY : STATUS_INVALID;
}

/* A list of strings, to its end. Returns their number, or -1. */
static int64_t count_strings(struct bytes list, size_t size_max)
{
    struct reader reader = reader_of(list);
    int64_t count = 0;

    for (; !reader.bad && reader_left(&reader) > 0; count++) {
        if (read_string(&reader).size > size_max) {
            return -1;
        }
    }
    return reader.bad ? -1 : count;
}

static enum status get_request(const struct frame *frame, struct request *request)
{
    *request = (struct request){.op = REQUEST_GET, .body = frame->value};
    if (wire_get(frame->head, request) != 0) {
        return STATUS_INVALID;
    }
    bool names = (request->flags & GET_FIELDS) != 0;
    int64_t count = names ? count_strings(frame->value, FIELD_NAME_BYTES_MAX) : 0;
    if (count < 0 || count > SESSION_FIELDS_MAX || (!names && frame->value.size > 0)) {
        return STATUS_INVALID;
    }
    return STATUS_OK;
}

static enum status write_request(const struct frame *frame, struct request *request)
{
    struct wire_write head;

    if (wire_write(frame->head, &head) != 0 || head.mode > WRITE_UPDATE ||
        head.type > SESSION_ZSET || head.ack > ACK_ARCHIVE) {
        return STATUS_INVALID;
    }
    *request = (struct request){
        .op = REQUEST_WRITE,
        .mode = (uint8_t)head.mode,
        .type = (uint8_t)head.type,
        .ack = (uint8_t)head.ack,
        .timeout_ms = head.timeout_ms,
        .waited_ms = head.waited_ms,
        .key = head.key,
        .version = head.if_version,
        .body = frame->value,
        .client = head.client,
        .sequence = head.sequence,
        .retry_hlc = head.retry_hlc,
    };
    return STATUS_OK;
}

/* Its head is a write's. */
static enum status recover_request(const struct frame *frame, struct request *request)
{
    struct wire_write head;

    if (wire_write(frame->head, &head) != 0 || head.ack > ACK_ARCHIVE) {
        return STATUS_INVALID;
    }
    *request = (struct request){
        .op = REQUEST_WRITE,
        .mode = WRITE_UPSERT,
        .ack = (uint8_t)head.ack,
        .timeout_ms = head.timeout_ms,
        .key = head.key,
        .body = frame->value,
        .procedure = &recover_merge,
    };
    return STATUS_OK;
}

static enum status scan_request(const struct frame *frame, struct arena *arena,
                                struct request *request)
{
    Belay__Wire__Scan *head = unpack(&belay__wire__scan__descriptor, frame, arena);
    if (head == NULL) {
        return unpack_failed(arena);
    }
    if (head->type > SESSION_ZSET || head->prefix.len > KEY_BYTES_MAX) {
        return STATUS_INVALID;
    }
    uint32_t count = head->count == 0 ? SCAN_COUNT_DEFAULT : head->count;
    *request = (struct request){
        .op = REQUEST_SCAN,
        .type = (uint8_t)head->type,
        .key = bytes_of_field(head->prefix),
        .cursor = head->cursor,
        .count = count < SCAN_COUNT_MAX ? count : SCAN_COUNT_MAX,
    };
    return STATUS_OK;
}

static enum status inspect_request(const struct frame *frame, struct arena *arena,
                                   struct request *request)
{
    Belay__Wire__Inspect *head = unpack(&belay__wire__inspect__descriptor, frame, arena);
    if (head == NULL) {
        return unpack_failed(arena);
    }
    *request = (struct request){.op = REQUEST_INSPECT, .key = bytes_of_field(head->key)};
    return STATUS_OK;
}

enum status native_request(const struct frame *frame, struct arena *arena, struct request *request)
{
    switch (frame->type) {
    case FRAME_GET:
        return get_request(frame, request);
    case FRAME_WRITE:
        return write_request(frame, request);
    case FRAME_RECOVER:
        return recover_request(frame, request);
    case FRAME_SCAN:
        return scan_request(frame, arena, request);
    case FRAME_INSPECT:
        return inspect_request(frame, arena, request);
    default:
        return STATUS_UNKNOWN_REQUEST;
    }
}

void native_many_next(struct native_many *many, struct request *request)
{
    *request = many->request;
    request->key = read_string(&many->list);
    if (request->op == REQUEST_WRITE) {
        request->sequence = read_varint(&many->list);
        request->body = read_string(&many->list);
    }
}

enum status native_many(const struct frame *frame, struct arena *arena, struct native_many *many)
{
    if (frame->type != FRAME_GET_MANY && frame->type != FRAME_WRITE_MANY) {
        return STATUS_UNKNOWN_REQUEST;
    }
    Belay__Wire__Many *head = unpack(&belay__wire__many__descriptor, frame, arena);
    if (head == NULL) {
        return unpack_failed(arena);
    }
    if (head->mode > WRITE_UPDATE || head->type > SESSION_ZSET || head->ack > ACK_ARCHIVE ||
        (head->flags & GET_FIELDS) != 0) {
        return STATUS_INVALID;
    }
    *many = (struct native_many){
        .request =
            {
                .op = frame->type == FRAME_GET_MANY ? REQUEST_GET : REQUEST_WRITE,
                .mode = (uint8_t)head->mode,
                .type = (uint8_t)head->type,
                .ack = (uint8_t)head->ack,
                .flags = head->flags,
                .timeout_ms = head->timeout_ms,
                .waited_ms = head->waited_ms,
                .client = head->client,
                .retry_hlc = head->retry_hlc,
            },
        .list = reader_of(frame->value),
    };
    struct native_many check = *many;
    struct request ignored;
    while (!check.list.bad && reader_left(&check.list) > 0) {
        native_many_next(&check, &ignored);
        many->count++;
    }
    return check.list.bad || many->count > KEYS_PER_REQUEST_MAX ? STATUS_INVALID : STATUS_OK;
}

enum status native_hello(const struct frame *frame, struct arena *arena, struct native_hello *hello)
{
    Belay__Wire__Hello *head = unpack(&belay__wire__hello__descriptor, frame, arena);
    if (head == NULL) {
        return unpack_failed(arena);
    }
    *hello = (struct native_hello){
        .protocol = head->protocol,
        .client = head->client,
        .shard_plus_one = head->shard_plus_one,
        .user = bytes_of_string(head->user),
        .password = bytes_of_string(head->password),
    };
    return STATUS_OK;
}

enum status native_admin(const struct frame *frame, struct arena *arena, struct native_admin *admin)
{
    Belay__Wire__Admin *head = unpack(&belay__wire__admin__descriptor, frame, arena);
    if (head == NULL) {
        return unpack_failed(arena);
    }
    *admin = (struct native_admin){
        .command = bytes_of_string(head->command),
        .argument = bytes_of_string(head->argument),
    };
    return STATUS_OK;
}
