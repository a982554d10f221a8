/* Memory for bytes under way: frames being received, replies being sent, what crosses between shards.
 *
 * Chunks of one size are cut from slabs of a shard's pool, so that an idle connection has none and a busy
 * one costs no malloc(); what does not fit gets a chunk of its own size. Nothing of it is the C library's
 * heap, which keeps what it once had wherever something small still lies behind it: empty slabs and large
 * chunks go back to the system, but for those that are used all the time (a page given back in every turn
 * is zeroed in every turn). So memory falls with the load.
 *
 * Threads: a pool belongs to its shard's; a large chunk may pass from one pool to another.
 */
#ifndef CHUNK_H
#define CHUNK_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/uio.h>

#include "bytes.h"
#include "memory.h"

struct chunk {
    struct chunk *next;
    size_t size, capacity;
    uint8_t data[];
};

/* SLAB_BYTES, aligned to them: this, in the place of the first chunk, and the others. */
struct chunk_slab {
    struct chunk_slab *next, *previous; /* Among those with a free chunk. */
    struct chunk *free;
    uint32_t free_count;
    uint32_t fresh; /* The first place that was never used. */
};

struct chunk_pool {
    struct memory *memory;
    struct chunk_slab *slabs; /* Those with some free chunks... */
    struct chunk_slab
        *empty; /* ... and those with nothing else, kept for the next that wants one. */
    uint32_t empty_count;
    uint32_t empty_unused; /* The least there was of them since chunk_pool_trim(). */
    struct chunk *large;   /* Kept for the next that wants one. */
    uint64_t large_bytes;
    uint64_t large_unused_bytes; /* The least there was of them since chunk_pool_trim(). */
    uint64_t bytes_out;          /* Capacity of all chunks in use. */
};

/* A chunk with room for at least `capacity`. Returns NULL where there is no memory. */
struct chunk *chunk_take(struct chunk_pool *pool, size_t capacity);
void chunk_give(struct chunk_pool *pool, struct chunk *chunk);

/* A large chunk (capacity above CHUNK_BYTES) leaves the pool, or comes from another one. */
void chunk_leave(struct chunk_pool *pool, struct chunk *chunk);
void chunk_enter(struct chunk_pool *pool, struct chunk *chunk);

/* Give back what was kept and not used since the last time. */
void chunk_pool_trim(struct chunk_pool *pool);

/* Is nothing in use or kept? */
static inline bool chunk_pool_is_empty(const struct chunk_pool *pool)
{
    return pool->bytes_out == 0 && pool->empty_count == 0 && pool->large_bytes == 0;
}

/* A chunk that belongs to no pool. */
void chunk_free(struct memory *memory, struct chunk *chunk);
void chunk_pool_fini(struct chunk_pool *pool);

/* Bytes that wait, in order. */
struct chunk_list {
    struct chunk *first, *last;
};

/* Append a copy, in one piece. Returns 0 or -ENOMEM. */
int chunk_list_append(struct chunk_list *list, struct chunk_pool *pool, struct bytes bytes);
void chunk_list_clear(struct chunk_list *list, struct chunk_pool *pool);

/* Bytes to be sent, in order. */
struct output {
    struct chunk *first, *last;
    size_t sent;   /* Of the first chunk. */
    uint64_t size; /* Bytes not sent yet. */
};

/* Contiguous room for `size` bytes at the end, to be filled and committed before the next call.
 * Returns NULL where there is no memory. */
uint8_t *output_reserve(struct output *output, struct chunk_pool *pool, size_t size);
void output_commit(struct output *output, size_t size);

/* Point at what comes next, at most `bytes_max`. Returns how many parts. */
uint32_t output_gather(const struct output *output, struct iovec parts[], uint32_t parts_max,
                       size_t bytes_max);

/* The first `size` bytes are gone. */
void output_sent(struct output *output, struct chunk_pool *pool, size_t size);
void output_clear(struct output *output, struct chunk_pool *pool);

#endif
