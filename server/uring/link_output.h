/* Bytes to be sent over a link (link.h), in order: copied ones, which lie here, and lent ones, which stay where they are.
 *
 * Memory: copies lie in chunks of the thread's pool; the list of pieces is the port's. What is lent must not change or go
 * before it was sent and the socket has let go of it. Threads: the link's.
 */
#ifndef LINK_OUTPUT_H
#define LINK_OUTPUT_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/uio.h>

#include "bytes.h"
#include "chunk.h"
#include "memory.h"

/* Private to link_output.c, but for reading. */
struct link_piece {
    const uint8_t *data;
    size_t size;
    bool lent;
};

struct link_output {
    struct memory *memory;
    struct link_piece *pieces; /* A ring. */
    uint32_t capacity;         /* A power of two, or 0. */
    uint32_t first, count;
    struct chunk_list chunks; /* With the copies, in order... */
    size_t chunk_sent;        /* ... and what is gone of the first. */
    uint64_t size;            /* Bytes not sent yet. */
};

/* Append all parts, the last of them lent if `lends`, the others as copies. Returns 0, or -ENOMEM: nothing is. */
int link_output_add(struct link_output *output, struct chunk_pool *pool, const struct bytes parts[],
                    uint32_t count, bool lends);

/* Point at what comes next, at most `bytes_max`. Returns how many parts. */
uint32_t link_output_gather(const struct link_output *output, struct iovec parts[],
                            uint32_t parts_max, size_t bytes_max);

/* The first `size` bytes are gone. */
void link_output_sent(struct link_output *output, struct chunk_pool *pool, size_t size);
void link_output_fini(struct link_output *output, struct chunk_pool *pool);

#endif
