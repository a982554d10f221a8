/* A timing wheel of positions: which places of the keeper to look at, and when.
 *
 * Time is cut into ticks of WHEEL_TICK_MS; each of the WHEEL_TICKS next ones has a bucket, a list of
 * chunks of positions. An entry says only "look there": whether something is due is read from the record
 * itself, so that entries need not be removed when a deadline moves, and one too many is harmless. An
 * entry also has one bit of its owner's.
 * An entry fires at most a tick late, and early only where old ticks wait to be emptied.
 *
 * Memory: 8 bytes an entry, in chunks that go back as they are emptied. Threads: the caller's.
 */
#ifndef WHEEL_H
#define WHEEL_H

#include <stdbool.h>
#include <stdint.h>

#include "memory.h"

enum {
    WHEEL_TICK_MS = 256,
    WHEEL_TICKS = 512,
    WHEEL_SPAN_MS = WHEEL_TICK_MS * (WHEEL_TICKS - 2), /* The farthest that an entry can be. */
};

struct wheel_chunk; /* private to wheel.c */

struct wheel {
    struct memory *memory;
    uint64_t tick;                               /* The next to be emptied. */
    uint64_t now_tick;                           /* Of the newest time given. */
    uint64_t count;                              /* Entries. */
    struct wheel_chunk *buckets[WHEEL_TICKS][2]; /* By the owner's bit. */
};

struct wheel_entry {
    uint64_t position;
    bool mark;
};

void wheel_init(struct wheel *wheel, struct memory *memory);
void wheel_fini(struct wheel *wheel);

/* Time goes on; it never goes back. Before the first call it is 0. */
void wheel_advance(struct wheel *wheel, uint64_t now_ms);

/* Look at `position` at `at_ms`, at the next tick when that has passed.
 * Returns 0; -ERANGE: more than WHEEL_SPAN_MS ahead; -ENOMEM. */
int wheel_add(struct wheel *wheel, uint64_t at_ms, struct wheel_entry entry);

/* Take one that is due; false where none is. */
bool wheel_pop(struct wheel *wheel, struct wheel_entry *entry);

#endif
