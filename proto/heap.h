/* The port to memory on the C library's heap, for all that stands around the pure code; that itself gets
 * its port from its caller.
 *
 * Not for a keeper: nothing goes back in parts, and nothing lies on huge pages. Threads: any.
 */
#ifndef HEAP_H
#define HEAP_H

#include <stdlib.h>
#include <string.h>

#include "memory.h"

static inline void *heap_resize(struct memory *memory, void *block, size_t old_size,
                                size_t new_size)
{
    (void)memory;
    (void)old_size;
    if (new_size == 0) {
        free(block);
        return NULL;
    }
    return realloc(block, new_size);
}

static inline void *heap_map(struct memory *memory, size_t size)
{
    size_t alignment = size & (~size + 1);
    void *area = aligned_alloc(alignment < 2 * 1024 * 1024 ? alignment : 2 * 1024 * 1024, size);

    (void)memory;
    if (area != NULL) {
        memset(area, 0, size);
    }
    return area;
}

static inline void heap_unmap(struct memory *memory, void *area, size_t size)
{
    (void)memory;
    (void)size;
    free(area);
}

static inline struct memory *heap_memory(void)
{
    static struct memory heap = {.resize = heap_resize, .map = heap_map, .unmap = heap_unmap};

    return &heap;
}

/* A block of its own from a port, and back. */
static inline void *heap_take(struct memory *memory, size_t size)
{
    return memory->resize(memory, NULL, 0, size);
}

static inline void heap_give(struct memory *memory, void *block, size_t size)
{
    (void)memory->resize(memory, block, size, 0);
}

#endif
