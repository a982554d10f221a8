#include "chunk.h"

#include <assert.h>
#include <errno.h>
#include <string.h>

#include "bounds.h"
#include "heap.h"

struct chunk *chunk_take(struct chunk_pool *pool, size_t capacity)
{
    struct chunk *chunk = pool->free;

    if (capacity <= CHUNK_BYTES && chunk != NULL) {
        pool->free = chunk->next;
        pool->free_count--;
    } else {
        capacity = capacity < CHUNK_BYTES ? CHUNK_BYTES : capacity;
        chunk = heap_take(pool->memory, sizeof *chunk + capacity);
        if (chunk == NULL) {
            return NULL;
        }
        chunk->capacity = capacity;
    }
    chunk->next = NULL;
    chunk->size = 0;
    pool->bytes_out += chunk->capacity;
    return chunk;
}

void chunk_give(struct chunk_pool *pool, struct chunk *chunk)
{
    assert(pool->bytes_out >= chunk->capacity);
    pool->bytes_out -= chunk->capacity;
    if (chunk->capacity != CHUNK_BYTES || pool->free_count >= CHUNKS_KEPT) {
        heap_give(pool->memory, chunk, sizeof *chunk + chunk->capacity);
        return;
    }
    chunk->next = pool->free;
    pool->free = chunk;
    pool->free_count++;
}

void chunk_pool_fini(struct chunk_pool *pool)
{
    while (pool->free != NULL) {
        struct chunk *next = pool->free->next;
        heap_give(pool->memory, pool->free, sizeof *next + CHUNK_BYTES);
        pool->free = next;
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
