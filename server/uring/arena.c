#include "arena.h"

#include <stdlib.h>

enum { ARENA_BLOCK_BYTES = 64 * 1024, ARENA_ALIGN = 16 };

static void *protobuf_alloc(void *context, size_t size)
{
    return arena_take(context, size);
}

static void protobuf_free(void *context, void *block)
{
    (void)context;
    (void)block;
}

void arena_init(struct arena *arena)
{
    *arena = (struct arena){.protobuf = {protobuf_alloc, protobuf_free, arena}};
}

/* Drop all blocks behind `keep`, which may be NULL. */
static void drop_blocks(struct arena *arena, struct arena_block *keep)
{
    struct arena_block *block = keep == NULL ? arena->block : keep->next;

    while (block != NULL) {
        struct arena_block *next = block->next;
        free(block);
        block = next;
    }
    arena->block = keep;
    if (keep != NULL) {
        keep->next = NULL;
    }
}

void arena_fini(struct arena *arena)
{
    drop_blocks(arena, NULL);
}

void *arena_take(struct arena *arena, size_t size)
{
    struct arena_block *block = arena->block;

    size = (size + ARENA_ALIGN - 1) & ~(size_t)(ARENA_ALIGN - 1);
    if (block == NULL || block->size - block->used < size) {
        size_t block_size = size > ARENA_BLOCK_BYTES ? size : ARENA_BLOCK_BYTES;
        block = malloc(sizeof *block + ARENA_ALIGN + block_size);
        if (block == NULL) {
            return NULL;
        }
        /* The data begins where the first aligned address is. */
        *block = (struct arena_block){.next = arena->block, .size = block_size};
        block->used = (size_t)(-(intptr_t)block->data) & (ARENA_ALIGN - 1);
        block->size += block->used;
        arena->block = block;
    }
    void *taken = block->data + block->used;
    block->used += size;
    return taken;
}

void arena_reset(struct arena *arena)
{
    struct arena_block *block = arena->block;

    if (block == NULL) {
        return;
    }
    drop_blocks(arena, block);
    if (block->size > 2 * ARENA_BLOCK_BYTES) {
        drop_blocks(arena, NULL);
        return;
    }
    block->used = (size_t)(-(intptr_t)block->data) & (ARENA_ALIGN - 1);
}
