#include "chunk.h"

#include <assert.h>
#include <errno.h>
#include <string.h>

#include "bounds.h"

enum {
    SLAB_BYTES = 1024 * 1024,
    SLOT_BYTES = 16 * 1024,
    SLAB_CHUNKS = SLAB_BYTES / SLOT_BYTES - 1,
    PAGE_BYTES = 4096,
};

static_assert(sizeof(struct chunk) + CHUNK_BYTES <= SLOT_BYTES, "a chunk fits its slot");
static_assert(sizeof(struct chunk_slab) <= SLOT_BYTES, "a slab's own part fits a slot");

/* ---- Slabs ---- */

static struct chunk_slab *slab_of(struct chunk *chunk)
{
    return (struct chunk_slab *)(void *)((uint8_t *)chunk - ((uintptr_t)chunk & (SLAB_BYTES - 1)));
}

static void slab_link(struct chunk_slab **list, struct chunk_slab *slab)
{
    slab->previous = NULL;
    slab->next = *list;
    if (slab->next != NULL) {
        slab->next->previous = slab;
    }
    *list = slab;
}

static void slab_unlink(struct chunk_slab **list, struct chunk_slab *slab)
{
    if (slab->previous == NULL) {
        *list = slab->next;
    } else {
        slab->previous->next = slab->next;
    }
    if (slab->next != NULL) {
        slab->next->previous = slab->previous;
    }
}

static struct chunk_slab *slab_new(struct chunk_pool *pool)
{
    struct chunk_slab *slab = pool->memory->map(pool->memory, SLAB_BYTES);

    if (slab == NULL) {
        return NULL;
    }
    assert(((uintptr_t)slab & (SLAB_BYTES - 1)) == 0);
    slab->free = NULL;
    slab->fresh = 1;
    slab->free_count = SLAB_CHUNKS; /* Chunks not used yet are cut as they are wanted. */
    return slab;
}

static void slab_drop(struct chunk_pool *pool, struct chunk_slab *slab)
{
    pool->memory->unmap(pool->memory, slab, SLAB_BYTES);
}

/* One of those that are empty. */
static struct chunk_slab *empty_take(struct chunk_pool *pool)
{
    struct chunk_slab *slab = pool->empty;

    slab_unlink(&pool->empty, slab);
    pool->empty_count--;
    if (pool->empty_count < pool->empty_unused) {
        pool->empty_unused = pool->empty_count;
    }
    return slab;
}

/* A slab with a free chunk, among `pool->slabs`. Returns NULL where there is no memory. */
static struct chunk_slab *slab_find(struct chunk_pool *pool)
{
    if (pool->slabs == NULL) {
        struct chunk_slab *slab = pool->empty != NULL ? empty_take(pool) : slab_new(pool);
        if (slab != NULL) {
            slab_link(&pool->slabs, slab);
        }
    }
    return pool->slabs;
}

/* Of the free chunks those that were used before come first: their pages are there. */
static struct chunk *slab_take(struct chunk_pool *pool, struct chunk_slab *slab)
{
    struct chunk *chunk = slab->free;

    if (chunk != NULL) {
        slab->free = chunk->next;
    } else {
        chunk = (struct chunk *)(void *)((uint8_t *)slab + (size_t)slab->fresh * SLOT_BYTES);
        slab->fresh++;
    }
    slab->free_count--;
    if (slab->free_count == 0) {
        slab_unlink(&pool->slabs, slab);
    }
    chunk->capacity = CHUNK_BYTES;
    return chunk;
}

static void slab_give(struct chunk_pool *pool, struct chunk *chunk)
{
    struct chunk_slab *slab = slab_of(chunk);

    chunk->next = slab->free;
    slab->free = chunk;
    slab->free_count++;
    if (slab->free_count == 1) {
        slab_link(&pool->slabs, slab);
    }
    if (slab->free_count == SLAB_CHUNKS) {
        slab_unlink(&pool->slabs, slab);
        slab_link(&pool->empty, slab);
        pool->empty_count++;
    }
}

/* Those that lay empty all the time since the last look. */
static void empty_trim(struct chunk_pool *pool)
{
    for (uint32_t unused = pool->empty_unused; unused > 0; unused--) {
        slab_drop(pool, empty_take(pool));
    }
    pool->empty_unused = pool->empty_count;
}

/* ---- Large chunks ---- */

static size_t large_size(size_t capacity)
{
    return (sizeof(struct chunk) + capacity + PAGE_BYTES - 1) & ~(size_t)(PAGE_BYTES - 1);
}

static void large_forget(struct chunk_pool *pool, struct chunk **link)
{
    struct chunk *chunk = *link;

    *link = chunk->next;
    pool->large_bytes -= chunk->capacity;
    if (pool->large_bytes < pool->large_unused_bytes) {
        pool->large_unused_bytes = pool->large_bytes;
    }
}

/* One of those kept, if it is not much larger; else a new one. */
static struct chunk *large_take(struct chunk_pool *pool, size_t capacity)
{
    for (struct chunk **link = &pool->large; *link != NULL; link = &(*link)->next) {
        struct chunk *chunk = *link;
        if (chunk->capacity >= capacity && chunk->capacity / 2 <= capacity) {
            large_forget(pool, link);
            return chunk;
        }
    }
    size_t size = large_size(capacity);
    struct chunk *chunk = pool->memory->map(pool->memory, size);
    if (chunk != NULL) {
        chunk->capacity = size - sizeof *chunk;
    }
    return chunk;
}

void chunk_free(struct memory *memory, struct chunk *chunk)
{
    memory->unmap(memory, chunk, large_size(chunk->capacity));
}

static void large_give(struct chunk_pool *pool, struct chunk *chunk)
{
    if (pool->large_bytes + chunk->capacity > LARGE_KEPT_BYTES) {
        chunk_free(pool->memory, chunk);
        return;
    }
    chunk->next = pool->large;
    pool->large = chunk;
    pool->large_bytes += chunk->capacity;
}

/* ---- Both ---- */

struct chunk *chunk_take(struct chunk_pool *pool, size_t capacity)
{
    struct chunk *chunk = NULL;

    if (capacity > CHUNK_BYTES) {
        chunk = large_take(pool, capacity);
    } else {
        struct chunk_slab *slab = slab_find(pool);
        chunk = slab == NULL ? NULL : slab_take(pool, slab);
    }
    if (chunk != NULL) {
        chunk->next = NULL;
        chunk->size = 0;
        pool->bytes_out += chunk->capacity;
    }
    return chunk;
}

void chunk_leave(struct chunk_pool *pool, struct chunk *chunk)
{
    assert(pool->bytes_out >= chunk->capacity);
    pool->bytes_out -= chunk->capacity;
}

void chunk_enter(struct chunk_pool *pool, struct chunk *chunk)
{
    assert(chunk->capacity > CHUNK_BYTES);
    pool->bytes_out += chunk->capacity;
}

void chunk_give(struct chunk_pool *pool, struct chunk *chunk)
{
    chunk_leave(pool, chunk);
    if (chunk->capacity > CHUNK_BYTES) {
        large_give(pool, chunk);
    } else {
        slab_give(pool, chunk);
    }
}

void chunk_pool_trim(struct chunk_pool *pool)
{
    uint64_t unused = pool->large_unused_bytes;
    struct chunk **link = &pool->large;

    /* The last ones of the list are those that were used least. */
    for (uint64_t kept = pool->large_bytes - unused; *link != NULL;) {
        if ((*link)->capacity <= kept) {
            kept -= (*link)->capacity;
            link = &(*link)->next;
        } else {
            struct chunk *chunk = *link;
            large_forget(pool, link);
            chunk_free(pool->memory, chunk);
        }
    }
    pool->large_unused_bytes = pool->large_bytes;
    empty_trim(pool);
}

/* All chunks have been given. */
void chunk_pool_fini(struct chunk_pool *pool)
{
    while (pool->slabs != NULL) {
        struct chunk_slab *slab = pool->slabs;
        slab_unlink(&pool->slabs, slab);
        slab_drop(pool, slab);
    }
    while (pool->empty != NULL) {
        slab_drop(pool, empty_take(pool));
    }
    while (pool->large != NULL) {
        struct chunk *chunk = pool->large;
        large_forget(pool, &pool->large);
        chunk_free(pool->memory, chunk);
    }
    *pool = (struct chunk_pool){.memory = pool->memory};
}

int chunk_list_append(struct chunk_list *list, struct chunk_pool *pool, struct bytes bytes)
{
    struct chunk *last = list->last;

    if (last == NULL || last->capacity - last->size < bytes.size) {
        last = chunk_take(pool, bytes.size);
        if (last == NULL) {
            return -ENOMEM;
        }
        if (list->last == NULL) {
            list->first = last;
        } else {
            list->last->next = last;
        }
        list->last = last;
    }
    memcpy(last->data + last->size, bytes.data, bytes.size);
    last->size += bytes.size;
    return 0;
}

void chunk_list_clear(struct chunk_list *list, struct chunk_pool *pool)
{
    while (list->first != NULL) {
        struct chunk *next = list->first->next;
        chunk_give(pool, list->first);
        list->first = next;
    }
    list->last = NULL;
}

uint8_t *output_reserve(struct output *output, struct chunk_pool *pool, size_t size)
{
    struct chunk *last = output->last;

    if (last == NULL || last->capacity - last->size < size) {
        last = chunk_take(pool, size);
        if (last == NULL) {
            return NULL;
        }
        if (output->last == NULL) {
            output->first = last;
        } else {
            output->last->next = last;
        }
        output->last = last;
    }
    return last->data + last->size;
}

void output_commit(struct output *output, size_t size)
{
    assert(output->last->capacity - output->last->size >= size);
    output->last->size += size;
    output->size += size;
}

uint32_t output_gather(const struct output *output, struct iovec parts[], uint32_t parts_max,
                       size_t bytes_max)
{
    uint32_t count = 0;
    size_t skip = output->sent;

    for (struct chunk *chunk = output->first; chunk != NULL && count < parts_max && bytes_max > 0;
         chunk = chunk->next) {
        size_t size = chunk->size - skip;
        size = size < bytes_max ? size : bytes_max;
        if (size > 0) {
            parts[count++] = (struct iovec){.iov_base = chunk->data + skip, .iov_len = size};
            bytes_max -= size;
        }
        skip = 0;
    }
    return count;
}

void output_sent(struct output *output, struct chunk_pool *pool, size_t size)
{
    assert(size <= output->size);
    output->size -= size;
    while (output->first != NULL) {
        struct chunk *first = output->first;
        size_t left = first->size - output->sent;
        if (size < left) {
            output->sent += size;
            return;
        }
        size -= left;
        output->first = first->next;
        output->sent = 0;
        chunk_give(pool, first);
    }
    output->last = NULL;
}

void output_clear(struct output *output, struct chunk_pool *pool)
{
    while (output->first != NULL) {
        struct chunk *next = output->first->next;
        chunk_give(pool, output->first);
        output->first = next;
    }
    *output = (struct output){0};
}
