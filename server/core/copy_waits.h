/* Copy waits: replies that wait until another node has merged their write, by the numbers of its copies.
 *
 * A ring in ascending order of numbers, in which any can be found and taken. Room is reserved before the write is
 * applied, so that nothing can fail after it.
 * Memory: from the port; it goes back when the ring is empty. Threads: the caller's.
 */
#ifndef COPY_WAITS_H
#define COPY_WAITS_H

#include <stdbool.h>
#include <stdint.h>

#include "memory.h"

enum { COPY_WAITS_MAX = 1 << 20 };

struct copy_wait {
    uint64_t number; /* Of the copy. */
    uint64_t lsn;    /* Of the same in the log; 0: it does not matter whether that is durable. */
    uint64_t ticket; /* 0: it was taken. */
    uint64_t received_us;
};

struct copy_waits {
    struct memory *memory;
    struct copy_wait *ring;
    uint32_t capacity; /* A power of two, or 0. */
    uint32_t count, first;
};

void copy_waits_init(struct copy_waits *waits, struct memory *memory);
void copy_waits_fini(struct copy_waits *waits);

/* Make room for one more. Returns 0; -ENOMEM; -EAGAIN when COPY_WAITS_MAX wait. */
int copy_waits_reserve(struct copy_waits *waits);

/* Add one, after copy_waits_reserve(); number and LSN are greater than the last one's. */
void copy_waits_push(struct copy_waits *waits, struct copy_wait wait);

/* Take the one of this number; false where none waits for it. */
bool copy_waits_take(struct copy_waits *waits, uint64_t number, struct copy_wait *wait);

/* Take the oldest, if its number is at most `number` and its LSN at most `lsn`; false where it is not. */
bool copy_waits_pop(struct copy_waits *waits, uint64_t number, uint64_t lsn,
                    struct copy_wait *wait);

#endif
