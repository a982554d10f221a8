#include "wheel.h"

#include <assert.h>
#include <errno.h>

enum { CHUNK_CAPACITY_MIN = 13, CHUNK_CAPACITY_MAX = 1021 };

struct wheel_chunk {
    struct wheel_chunk *next;
    uint32_t count, capacity;
    uint64_t positions[];
};

static size_t chunk_bytes(uint32_t capacity)
{
    return sizeof(struct wheel_chunk) + capacity * sizeof(uint64_t);
}

static void chunk_free(struct wheel *wheel, struct wheel_chunk *chunk)
{
    wheel->memory->resize(wheel->memory, chunk, chunk_bytes(chunk->capacity), 0);
}

/* Each chunk of a bucket is larger than the one before: few entries take little, many take few calls. */
static struct wheel_chunk *chunk_push(struct wheel *wheel, struct wheel_chunk **bucket)
{
    uint32_t capacity = *bucket == NULL ? CHUNK_CAPACITY_MIN : (*bucket)->capacity * 4;

    if (capacity > CHUNK_CAPACITY_MAX) {
        capacity = CHUNK_CAPACITY_MAX;
    }
    struct wheel_chunk *chunk =
        wheel->memory->resize(wheel->memory, NULL, 0, chunk_bytes(capacity));
    if (chunk != NULL) {
        *chunk = (struct wheel_chunk){.next = *bucket, .capacity = capacity};
        *bucket = chunk;
    }
    return chunk;
}

static struct wheel_chunk **bucket_of(struct wheel *wheel, uint64_t tick, bool mark)
{
    return &wheel->buckets[tick % WHEEL_TICKS][mark];
}

void wheel_init(struct wheel *wheel, struct memory *memory)
{
    *wheel = (struct wheel){.memory = memory};
}

void wheel_fini(struct wheel *wheel)
{
    for (uint32_t i = 0; i < 2 * WHEEL_TICKS; i++) {
        struct wheel_chunk **bucket = bucket_of(wheel, i / 2, i % 2 != 0);
        while (*bucket != NULL) {
            struct wheel_chunk *chunk = *bucket;
            *bucket = chunk->next;
            chunk_free(wheel, chunk);
        }
    }
    wheel->count = 0;
}

void wheel_advance(struct wheel *wheel, uint64_t now_ms)
{
    assert(now_ms / WHEEL_TICK_MS >= wheel->now_tick);
    wheel->now_tick = now_ms / WHEEL_TICK_MS;
    if (wheel->count == 0) {
        wheel->tick = wheel->now_tick;
    } else if (wheel->tick + WHEEL_TICKS <= wheel->now_tick) {
        wheel->tick = wheel->now_tick - WHEEL_TICKS + 1; /* A jump: every bucket is due, once. */
    }
}

int wheel_add(struct wheel *wheel, uint64_t at_ms, struct wheel_entry entry)
{
    uint64_t tick = at_ms / WHEEL_TICK_MS + (at_ms % WHEEL_TICK_MS != 0);

    if (tick <= wheel->now_tick) {
        tick = wheel->now_tick + 1; /* Not in this round, which could then have no end. */
    }
    if (tick >= wheel->now_tick + WHEEL_TICKS) {
        return -ERANGE;
    }
    /* While old ticks wait to be emptied their buckets are not free for new times. Far entries share
     * the last free one then, and fire early, which costs a look. */
    if (tick >= wheel->tick + WHEEL_TICKS) {
        tick = wheel->tick + WHEEL_TICKS - 1;
    }
    struct wheel_chunk **bucket = bucket_of(wheel, tick, entry.mark);
    if (*bucket == NULL || (*bucket)->count == (*bucket)->capacity) {
        if (chunk_push(wheel, bucket) == NULL) {
            return -ENOMEM;
        }
    }
    (*bucket)->positions[(*bucket)->count++] = entry.position;
    wheel->count++;
    return 0;
}

bool wheel_pop(struct wheel *wheel, struct wheel_entry *entry)
{
    while (wheel->count > 0 && wheel->tick <= wheel->now_tick) {
        bool mark = *bucket_of(wheel, wheel->tick, false) == NULL;
        struct wheel_chunk **bucket = bucket_of(wheel, wheel->tick, mark);
        if (*bucket == NULL) {
            wheel->tick++;
            continue;
        }
        struct wheel_chunk *chunk = *bucket;
        *entry = (struct wheel_entry){.position = chunk->positions[--chunk->count], .mark = mark};
        wheel->count--;
        if (chunk->count == 0) {
            *bucket = chunk->next;
            chunk_free(wheel, chunk);
        }
        return true;
    }
    return false;
}
