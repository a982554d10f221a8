/* Memory of one turn: taken by moving a pointer, given back all at once.
 *
 * Also an allocator for protobuf-c, whose unpacked heads live as long as the turn.
 */
#ifndef ARENA_H
#define ARENA_H

#include <protobuf-c/protobuf-c.h>
#include <stddef.h>
#include <stdint.h>

struct arena_block {
    struct arena_block *next;
    size_t size, used;
    uint8_t data[];
};

struct arena {
    struct arena_block *block; /* The one in use; older ones behind it. */
    ProtobufCAllocator protobuf;
};

void arena_init(struct arena *arena);
void arena_fini(struct arena *arena);

/* `size` bytes, aligned to 16, good until arena_reset(). Returns NULL where there is no memory. */
void *arena_take(struct arena *arena, size_t size);
void arena_reset(struct arena *arena);

#endif
