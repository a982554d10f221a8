#include "gather.h"

#include <assert.h>
#include <stdbool.h>

#include "connection.h"
#include "frame.h"
#include "heap.h"
#include "limits.h"
#include "plane_private.h"
#include "shard_thread.h"

struct gather_slice {
    size_t offset, size;
};

struct gather {
    struct gather *next; /* Of those kept. */
    uint32_t connection, generation;
    uint64_t request_id;
    uint8_t frame_type;
    bool failed; /* For want of memory. */
    const struct protocol *protocol;
    struct buffer asked;
    uint32_t part_count, left;
    struct buffer bytes; /* Of all parts, as they came. */
    struct gather_slice slices[];
};

static size_t gather_bytes(uint32_t part_count)
{
    return sizeof(struct gather) + part_count * sizeof(struct gather_slice);
}

struct gather *gather_open(struct shard_thread *thread, struct connection *connection,
                           uint8_t frame_type, uint64_t request_id, uint32_t part_count,
                           struct bytes asked)
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
        .asked = {.memory = thread->memory},
        .protocol = connection->protocol,
    };
    if (buffer_append(&gather->asked, asked) != 0) {
        heap_give(thread->memory, gather, gather_bytes(part_count));
        return NULL;
    }
    connection->in_flight++;
    connection->gathers++;
    return gather;
}

static void gather_free(struct gather *gather)
{
    struct memory *memory = gather->bytes.memory;

    buffer_fini(&gather->bytes);
    buffer_fini(&gather->asked);
    heap_give(memory, gather, gather_bytes(gather->part_count));
}

bool gather_must_look(const struct shard_thread *thread, const struct connection *connection)
{
    return thread->batch.count > 0 && connection->gather_bytes > GATHER_LARGE_BYTES;
}

bool gather_must_wait(struct shard_thread *thread, const struct connection *connection)
{
    const uint64_t expected = (connection->gathers + 1) * connection->gather_bytes;
    bool enough = thread->gathered_bytes > GATHER_TURN_BYTES;

    thread->again = thread->again || enough;
    return enough || connection->gathers >= GATHERS_MAX ||
           (connection->gathers > 0 && expected > OUTPUT_PACE_BYTES) ||
           thread->gather_bytes > GATHER_BYTES_MAX;
}

void gather_abandon(struct gather *gather)
{
    if (--gather->left == 0) {
        gather_free(gather);
    }
}

size_t gather_scan_room(const struct reply *reply)
{
    return 2 * VARINT_BYTES_MAX + reply->keys.size;
}

size_t gather_scan_put(const struct reply *reply, uint8_t *to)
{
    uint8_t *at = varint_put(varint_put(to, reply->status), reply->cursor);

    if (reply->keys.size > 0) {
        memcpy(at, reply->keys.data, reply->keys.size);
    }
    return (size_t)(at - to) + reply->keys.size;
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

size_t gather_bytes_max(const struct shard_thread *thread)
{
    uint64_t output = 2 * (uint64_t)thread->plane->options.limits.output_bytes;
    uint64_t max = output < FRAME_BYTES_MAX ? output : FRAME_BYTES_MAX;

    return max > HEAD_BYTES_MAX ? (size_t)max - HEAD_BYTES_MAX : 0;
}

/* The reply goes out, or what is said in its place; the gather is gone. */
static void answer(struct shard_thread *thread, struct connection *connection,
                   struct gather *gather, const char *refusal)
{
    struct gathered gathered = {
        .frame_type = gather->frame_type,
        .request_id = gather->request_id,
        .part_count = gather->part_count,
        .asked = buffer_bytes(&gather->asked),
    };
    int rc;

    connection->in_flight--;
    connection->gathers--;
    connection_mark(thread, connection);
    if (gather->frame_type == FRAME_SCAN) {
        gathered.cursor = scan_stop(gather, &gathered.status);
        rc = join_scan(thread, gather, gathered.cursor, &thread->scratch);
    } else {
        rc = join(gather, &thread->scratch);
    }
    if (rc != 0 || gather->failed) {
        bool write = gather->frame_type == FRAME_WRITE_MANY;
        gathered.status = write ? STATUS_MAYBE_APPLIED : STATUS_BUSY;
        gathered.text = "no memory for the answers";
    }
    gathered.value = buffer_bytes(&thread->scratch);
    if (gathered.status == STATUS_OK && refusal != NULL) {
        gathered.status = STATUS_BUSY;
        gathered.text = refusal;
    }
    gather->protocol->gathered(thread, connection, &gathered);
    gather_free(gather);
}

/* May the reply be given to the connection? A large one that is not due would be kept as a copy, and come with all that is kept before
 * and behind it. */
static bool has_room(const struct shard_thread *thread, const struct connection *connection,
                     const struct gather *gather)
{
    const size_t size = gather->bytes.size;

    if (connection->order != NULL && !reply_order_is_due(connection->order, gather->request_id)) {
        return size <= OUTPUT_PACE_BYTES;
    }
    return connection->output.size == 0 ||
           connection->output.size + size <= gather_bytes_max(thread);
}

static void keep(struct shard_thread *thread, struct connection *connection, struct gather *gather)
{
    struct gather **at = &connection->gathers_kept;

    while (*at != NULL) {
        at = &(*at)->next;
    }
    *at = gather;
    thread->gathers_kept_bytes += gather->bytes.size;
}

static struct gather *take_kept(struct shard_thread *thread, struct gather **at)
{
    struct gather *gather = *at;

    *at = gather->next;
    thread->gathers_kept_bytes -= gather->bytes.size;
    return gather;
}

/* The first of them that may go. Returns NULL where there is none. */
static struct gather *next_kept(struct shard_thread *thread, struct connection *connection)
{
    for (struct gather **at = &connection->gathers_kept; *at != NULL; at = &(*at)->next) {
        if (has_room(thread, connection, *at)) {
            return take_kept(thread, at);
        }
    }
    return NULL;
}

void gather_resume(struct shard_thread *thread, struct connection *connection)
{
    struct gather *gather;

    while ((gather = next_kept(thread, connection)) != NULL) {
        answer(thread, connection, gather, NULL);
        thread->again = true; /* What waits behind it may go on. */
    }
}

void gather_drop(struct shard_thread *thread, struct connection *connection)
{
    while (connection->gathers_kept != NULL) {
        gather_free(take_kept(thread, &connection->gathers_kept));
    }
}

/* All parts are there. */
static void finish(struct shard_thread *thread, struct gather *gather)
{
    struct connection *connection = connection_find(thread, gather->connection, gather->generation);
    const size_t size = gather->bytes.size;

    if (connection == NULL) {
        gather_free(gather);
        return;
    }
    const uint64_t before = connection->gather_bytes / 2;
    connection->gather_bytes = size > before ? size : before;
    if (gather->frame_type != FRAME_GET_MANY || has_room(thread, connection, gather)) {
        answer(thread, connection, gather, NULL);
    } else if (thread->gathers_kept_bytes + size <= GATHERS_KEPT_BYTES_MAX) {
        keep(thread, connection, gather);
    } else {
        answer(thread, connection, gather, "too many replies are waiting to be read");
    }
}

/* Keep a part's answer, or in its place that there is no room for it. */
static void add_part(struct gather *gather, uint32_t part, struct bytes answer, size_t bytes_max)
{
    uint8_t small[PART_INSTEAD_BYTES];

    if (gather->bytes.size + answer.size > bytes_max) {
        const struct call call = {.form = CALL_PART};
        bool write = gather->frame_type == FRAME_WRITE_MANY;
        answer =
            bytes_of(small, gather->protocol->part_instead(
                                &call, gather->frame_type,
                                write ? STATUS_MAYBE_APPLIED : STATUS_FRAME_TOO_LARGE,
                                "the answers to all keys together do not fit into a reply", small));
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
    const size_t before = gather->bytes.size;
    add_part(gather, part, answer, gather_bytes_max(thread));
    thread->gather_bytes += gather->bytes.size - before;
    thread->gathered_bytes += gather->bytes.size - before;
    if (--gather->left == 0) {
        thread->gather_bytes -= gather->bytes.size;
        finish(thread, gather);
    }
}
