#include "gather.h"

#include <assert.h>
#include <stdbool.h>

#include "connection.h"
#include "heap.h"
#include "limits.h"
#include "native_answer.h"
#include "native_door.h"
#include "plane_private.h"
#include "shard_thread.h"

struct gather_slice {
    size_t offset, size;
};

struct gather {
    uint32_t connection, generation;
    uint64_t request_id;
    uint8_t frame_type;
    bool failed; /* For want of memory. */
    uint32_t part_count, left;
    struct buffer bytes; /* Of all parts, as they came. */
    struct gather_slice slices[];
};

static size_t gather_bytes(uint32_t part_count)
{
    return sizeof(struct gather) + part_count * sizeof(struct gather_slice);
}

struct gather *gather_open(struct shard_thread *thread, struct connection *connection,
                           uint8_t frame_type, uint64_t request_id, uint32_t part_count)
{
    struct gather *gather = heap_take(thread->memory, gather_bytes(part_count));

    assert(part_count > 0);
    if (gather == NULL) {
        return NULL;
    }
    *gather = (struct gather){
        .connection = connection->index,
        .generation = connection->generation,
        .request_id = request_id,
        .frame_type = frame_type,
        .part_count = part_count,
        .left = part_count,
        .bytes = {.memory = thread->memory},
    };
    connection->in_flight++;
    connection->gathers++;
    return gather;
}

static void gather_free(struct gather *gather)
{
    struct memory *memory = gather->bytes.memory;

    buffer_fini(&gather->bytes);
    heap_give(memory, gather, gather_bytes(gather->part_count));
}

void gather_abandon(struct gather *gather)
{
    if (--gather->left == 0) {
        gather_free(gather);
    }
}

static struct bytes part_bytes(const struct gather *gather, uint32_t part)
{
    const struct gather_slice *slice = &gather->slices[part];

    return bytes_of(gather->bytes.data + slice->offset, slice->size);
}

/* All parts, in order. */
static int join(const struct gather *gather, struct buffer *out)
{
    int rc = 0;

    out->size = 0;
    for (uint32_t i = 0; i < gather->part_count && rc == 0; i++) {
        rc = buffer_append(out, part_bytes(gather, i));
    }
    return rc;
}

static uint64_t position_of(struct shard_thread *thread, struct bytes key)
{
    struct request request = {.op = REQUEST_GET, .key = key};

    shard_prepare(thread->shard, &request);
    return request.position;
}

/* Where the first of the shards stopped; 0: all came to the end. The first error there was. */
static uint64_t scan_stop(const struct gather *gather, enum status *status)
{
    uint64_t stop = 0;

    *status = STATUS_OK;
    for (uint32_t i = 0; i < gather->part_count; i++) {
        struct reader reader = reader_of(part_bytes(gather, i));
        enum status part_status = (enum status)read_varint(&reader);
        uint64_t cursor = read_varint(&reader);
        if (part_status != STATUS_OK) {
            *status = part_status;
        }
        if (cursor != 0 && (stop == 0 || cursor < stop)) {
            stop = cursor;
        }
    }
    return stop;
}

static int join_scan(struct shard_thread *thread, const struct gather *gather, uint64_t stop,
                     struct buffer *out)
{
    int rc = 0;

    out->size = 0;
    for (uint32_t i = 0; i < gather->part_count && rc == 0; i++) {
        struct reader reader = reader_of(part_bytes(gather, i));
        (void)read_varint(&reader);
        (void)read_varint(&reader);
        while (rc == 0 && !reader.bad && reader_left(&reader) > 0) {
            const uint8_t *begin = reader.at;
            struct bytes key = read_string(&reader);
            if (stop == 0 || position_of(thread, key) < stop) {
                rc = buffer_append(out, bytes_of(begin, (size_t)(reader.at - begin)));
            }
        }
    }
    return rc;
}

/* What a reply may have: fits into a frame, and does not end its connection by its size alone. */
static size_t answers_bytes_max(const struct shard_thread *thread)
{
    uint64_t output = 2 * (uint64_t)thread->plane->options.limits.output_bytes;
    uint64_t max = output < FRAME_BYTES_MAX ? output : FRAME_BYTES_MAX;

    return max > HEAD_BYTES_MAX ? (size_t)max - HEAD_BYTES_MAX : 0;
}

static void finish(struct shard_thread *thread, struct gather *gather)
{
    struct connection *connection = connection_find(thread, gather->connection, gather->generation);
    enum status status = STATUS_OK;
    const char *text = NULL;
    uint64_t cursor = 0;
    int rc;

    if (connection == NULL) {
        return;
    }
    connection->in_flight--;
    connection->gathers--;
    connection_mark(thread, connection);
    if (gather->frame_type == FRAME_SCAN) {
        cursor = scan_stop(gather, &status);
        rc = join_scan(thread, gather, cursor, &thread->scratch);
    } else {
        rc = join(gather, &thread->scratch);
    }
    if (rc != 0 || gather->failed) {
        status = gather->frame_type == FRAME_WRITE_MANY ? STATUS_MAYBE_APPLIED : STATUS_BUSY;
        text = "no memory for the answers";
    }
    if (status != STATUS_OK) {
        native_status(thread, connection, gather->frame_type, gather->request_id, status, text);
        return;
    }
    struct bytes value = buffer_bytes(&thread->scratch);
    if (gather->frame_type == FRAME_GET_MANY && connection->output.size > 0 &&
        connection->output.size + value.size > answers_bytes_max(thread)) {
        native_status(thread, connection, gather->frame_type, gather->request_id, STATUS_BUSY,
                      "too many replies are waiting to be read");
        return;
    }
    uint8_t *to = connection_reserve(thread, connection, native_many_room(value.size));
    if (to != NULL) {
        connection_commit(
            thread, connection,
            native_many_frame(gather->frame_type, gather->request_id, cursor, value, to));
    }
}

/* Keep a part's answer, or in its place that there is no room for it. */
static void add_part(struct gather *gather, uint32_t part, struct bytes answer, size_t bytes_max)
{
    uint8_t small[1024];

    if (gather->bytes.size + answer.size > bytes_max) {
        bool write = gather->frame_type == FRAME_WRITE_MANY;
        struct native_answer instead;
        native_answer_status(&instead, write ? STATUS_MAYBE_APPLIED : STATUS_FRAME_TOO_LARGE,
                             "the answers to all keys together do not fit into a reply",
                             bytes_of(NULL, 0));
        assert(instead.room <= sizeof small);
        answer = bytes_of(small, native_answer_part(&instead, small));
        gather->failed |= gather->frame_type == FRAME_SCAN;
    }
    gather->slices[part] = (struct gather_slice){.offset = gather->bytes.size, .size = answer.size};
    if (buffer_append(&gather->bytes, answer) != 0) {
        gather->slices[part].size = 0;
        gather->failed = true;
    }
}

void gather_part(struct shard_thread *thread, struct gather *gather, uint32_t part,
                 struct bytes answer)
{
    assert(part < gather->part_count && gather->left > 0);
    add_part(gather, part, answer, answers_bytes_max(thread));
    if (--gather->left == 0) {
        finish(thread, gather);
        gather_free(gather);
    }
}
