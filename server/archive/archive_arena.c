#include "archive_arena.h"

enum { CHUNK_BYTES = 1024 * 1024 };

void archive_arena_init(struct archive_arena *arena, struct memory *memory)
{
    *arena = (struct archive_arena){.memory = memory};
}

void archive_arena_fini(struct archive_arena *arena)
{
    while (arena->chunks != NULL) {
        struct archive_chunk *chunk = arena->chunks;
        arena->chunks = chunk->next;
        arena->memory->resize(arena->memory, chunk, sizeof *chunk + chunk->size, 0);
    }
    arena->chunk = NULL;
}

void archive_arena_clear(struct archive_arena *arena)
{
    arena->chunk = arena->chunks;
    if (arena->chunk != NULL) {
        arena->chunk->used = 0;
    }
}

/* A chunk that has room for so much: the next one, where that will do, or a new one before it. */
static struct archive_chunk *next_chunk(struct archive_arena *arena, size_t size)
{
    struct archive_chunk **at = arena->chunk == NULL ? &arena->chunks : &arena->chunk->next;

    if (*at == NULL || (*at)->size < size) {
        const size_t bytes = size < CHUNK_BYTES ? CHUNK_BYTES : size;
        struct archive_chunk *chunk =
            arena->memory->resize(arena->memory, NULL, 0, sizeof *chunk + bytes);
        if (chunk == NULL) {
            return NULL;
        }
        *chunk = (struct archive_chunk){.next = *at, .size = bytes};
        *at = chunk;
    }
    (*at)->used = 0;
    arena->chunk = *at;
    return *at;
}

uint8_t *archive_arena_take(struct archive_arena *arena, size_t size)
{
    struct archive_chunk *chunk = arena->chunk;

    if (chunk == NULL || chunk->size - chunk->used < size) {
        chunk = next_chunk(arena, size);
    }
    if (chunk == NULL) {
        return NULL;
    }
    chunk->used += size;
    return chunk->bytes + chunk->used - size;
}
