/* Memory for bytes that are all given up at once: they lie one behind the other in large chunks, which are kept for those
 * that come after. So nothing is given back one by one, and no page is cleared twice.
 *
 * Memory: from the port, until archive_arena_fini(). Threads: the caller's.
 */
#ifndef ARCHIVE_ARENA_H
#define ARCHIVE_ARENA_H

#include <stddef.h>
#include <stdint.h>

#include "memory.h"

struct archive_chunk {
    struct archive_chunk *next;
    size_t size, used;
    uint8_t bytes[];
};

struct archive_arena {
    struct memory *memory;
    struct archive_chunk *chunks, *chunk; /* All, and the one that is filled. */
};

void archive_arena_init(struct archive_arena *arena, struct memory *memory);
void archive_arena_fini(struct archive_arena *arena);

/* All that was taken is given up. */
void archive_arena_clear(struct archive_arena *arena);

/* So many bytes, at any address. Returns NULL where there is no memory. */
uint8_t *archive_arena_take(struct archive_arena *arena, size_t size);

#endif
