#include <assert.h>
#include <errno.h>

#include "stream.h"

/* Records, one behind the other. */
struct stream_chunk {
    struct stream_chunk *next;
    uint64_t first; /* Number of its first record... */
    uint32_t count; /* ... and how many there are. */
    size_t size, capacity;
    uint8_t data[];
};

static size_t chunk_bytes(size_t capacity)
{
    return sizeof(struct stream_chunk) + capacity;
}

static void drop_first(struct stream_out *out)
{
    struct stream_chunk *chunk = out->first;

    out->first = chunk->next;
    if (out->first == NULL) {
        out->last = NULL;
    }
    if (out->sending == chunk) { /* All of it was sent. */
        out->sending = out->first;
        out->offset = 0;
    }
    out->bytes -= chunk_bytes(chunk->capacity);
    out->memory->resize(out->memory, chunk, chunk_bytes(chunk->capacity), 0);
}

/* All of the first chunk is acknowledged. The only one is used again: most of the time nothing waits for long. */
static void finish_first(struct stream_out *out)
{
    struct stream_chunk *chunk = out->first;

    if (chunk->next != NULL || chunk->capacity != STREAM_CHUNK_BYTES) {
        drop_first(out);
        return;
    }
    chunk->count = 0;
    chunk->size = out->offset = 0;
    out->sending = chunk;
}

static void drop_all(struct stream_out *out)
{
    while (out->first != NULL) {
        drop_first(out);
    }
}

void stream_out_init(struct stream_out *out, struct memory *memory, uint64_t window_max,
                     uint64_t lives)
{
    *out =
        (struct stream_out){.memory = memory, .window_max = window_max, .life = lives, .next = 1};
}

void stream_out_fini(struct stream_out *out)
{
    drop_all(out);
}

/* What a connection may still be sending stays until that is gone. */
void stream_out_lapse(struct stream_out *out)
{
    out->open = false;
    if (!out->connected) {
        drop_all(out);
    }
}

static size_t record_bytes(const uint8_t *record)
{
    return 4 + (size_t)load_u32(record);
}

/* Go back to the first record that is not acknowledged. */
static void rewind_to_acked(struct stream_out *out)
{
    out->sending = out->first;
    out->offset = 0;
    out->sending_number =
        out->first == NULL || out->first->count == 0 ? out->next : out->first->first;
    while (out->sending_number <= out->acked) {
        out->offset += record_bytes(out->sending->data + out->offset);
        out->sending_number++;
    }
}

bool stream_out_open(struct stream_out *out, uint64_t life, uint64_t applied)
{
    out->connected = true;
    if (out->open && life == out->life && applied >= out->acked && applied < out->next) {
        out->sending_number = out->next; /* It may have been sent before the connection broke. */
        int rc = stream_out_acked(out, applied);
        assert(rc == 0);
        (void)rc;
        rewind_to_acked(out);
        return true;
    }
    drop_all(out);
    out->open = true;
    out->life++;
    out->next = 1;
    out->acked = 0;
    rewind_to_acked(out);
    return false;
}

void stream_out_cut(struct stream_out *out)
{
    out->connected = false;
    if (!out->open) {
        drop_all(out);
    }
}

/* A chunk with room for so many bytes, at the end. Returns NULL where there may be none. */
static struct stream_chunk *make_room(struct stream_out *out, size_t size)
{
    struct stream_chunk *last = out->last;

    if (last != NULL && last->capacity - last->size >= size) {
        return last;
    }
    size_t capacity = size < STREAM_CHUNK_BYTES ? STREAM_CHUNK_BYTES : size;
    bool empty = out->acked + 1 == out->next;
    if (!empty && out->bytes + chunk_bytes(capacity) > out->window_max) {
        return NULL;
    }
    struct stream_chunk *chunk = out->memory->resize(out->memory, NULL, 0, chunk_bytes(capacity));
    if (chunk == NULL) {
        return NULL;
    }
    *chunk = (struct stream_chunk){.capacity = capacity};
    if (last == NULL) {
        out->first = chunk;
    } else {
        last->next = chunk;
    }
    out->last = chunk;
    if (out->sending == NULL) {
        out->sending = chunk;
        out->offset = 0;
    }
    out->bytes += chunk_bytes(capacity);
    return chunk;
}

uint64_t stream_out_append(struct stream_out *out, const struct stream_record *record,
                           const struct bytes parts[], uint32_t part_count)
{
    size_t size = STREAM_RECORD_HEAD_BYTES;

    if (!out->open) {
        return 0;
    }
    for (uint32_t i = 0; i < part_count; i++) {
        size += parts[i].size;
    }
    struct stream_chunk *chunk = size - 4 > UINT32_MAX ? NULL : make_room(out, size);
    if (chunk == NULL) {
        stream_out_lapse(out);
        return 0;
    }
    if (chunk->count == 0) {
        chunk->first = out->next;
    }
    uint8_t *to = chunk->data + chunk->size;
    store_u32(to, (uint32_t)(size - 4));
    to[4] = record->kind;
    store_u64(to + 5, record->position);
    store_u64(to + 13, record->hlc);
    to[21] = record->era;
    to += STREAM_RECORD_HEAD_BYTES;
    for (uint32_t i = 0; i < part_count; i++) {
        if (parts[i].size > 0) {
            memcpy(to, parts[i].data, parts[i].size);
            to += parts[i].size;
        }
    }
    chunk->size += size;
    chunk->count++;
    return out->next++;
}

bool stream_out_next(struct stream_out *out, size_t max, struct stream_run *run)
{
    struct stream_chunk *chunk = out->sending;
    size_t begin = out->offset, end = begin;

    if (!out->connected || !out->open || chunk == NULL) {
        return false;
    }
    if (begin == chunk->size) {
        chunk = chunk->next;
        begin = end = 0;
        if (chunk == NULL) {
            return false;
        }
    }
    *run = (struct stream_run){.first = out->sending_number};
    do {
        end += record_bytes(chunk->data + end);
        out->sending_number++;
    } while (end < chunk->size && end + record_bytes(chunk->data + end) - begin <= max);
    run->bytes = bytes_of(chunk->data + begin, end - begin);
    out->sending = chunk;
    out->offset = end;
    return true;
}

void stream_out_return(struct stream_out *out, const struct stream_run *run)
{
    assert(out->offset >= run->bytes.size);
    out->offset -= run->bytes.size;
    out->sending_number = run->first;
}

int stream_out_acked(struct stream_out *out, uint64_t number)
{
    if (number >= out->sending_number) {
        return -EPROTO;
    }
    if (number <= out->acked) {
        return 0; /* It was said before. */
    }
    out->acked = number;
    while (out->first != NULL && out->first->count > 0 &&
           out->first->first + out->first->count - 1 <= number) {
        finish_first(out);
    }
    return 0;
}
