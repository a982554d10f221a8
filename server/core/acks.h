/* Acks: replies that wait for the log, in the order of their LSNs.
 *
 * A ring that grows as needed and goes back when it is empty. Room is reserved before the write is
 * applied, so that nothing can fail after it.
 * Threads: the caller's.
 */
#ifndef ACKS_H
#define ACKS_H

#include <stdbool.h>
#include <stdint.h>

#include "memory.h"

enum { ACKS_MAX = 1 << 20 };

struct ack {
    uint64_t lsn;
    uint64_t ticket;
    uint64_t received_us;
};

struct acks {
    struct memory *memory;
    struct ack *ring;
    uint32_t capacity; /* A power of two, or 0. */
    uint32_t count, first;
};

void acks_init(struct acks *acks, struct memory *memory);
void acks_fini(struct acks *acks);

/* Make room for one more. Returns 0; -ENOMEM; -EAGAIN when ACKS_MAX wait. */
int acks_reserve(struct acks *acks);

/* Add one, after acks_reserve(); its LSN is not less than the last one's. */
void acks_push(struct acks *acks, struct ack ack);

/* The oldest; NULL: there is none. */
const struct ack *acks_first(const struct acks *acks);

/* How many wait for more than `lsn`. */
uint32_t acks_beyond(const struct acks *acks, uint64_t lsn);

/* Take the oldest whose LSN is at most `lsn`; false where there is none. */
bool acks_pop(struct acks *acks, uint64_t lsn, struct ack *ack);

#endif
