#include "heap.h"

#include <stdlib.h>

static void *heap_resize(struct memory *memory, void *block, size_t old_size, size_t new_size)
{
    (void)memory;
    (void)old_size;
    if (new_size == 0) {
        free(block);
        return NULL;
    }
    return realloc(block, new_size);
}

struct memory *heap_memory(void)
{
    static struct memory heap = {.resize = heap_resize};

    return &heap;
}
