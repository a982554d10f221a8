/* Uncovered: positions of which the log has something that the stamps do not tell of.
 *
 * Stamps of one node grow along its log, so that the newest one in a record says whether the checkpoint has all of it
 * (shard_cold.c). What other nodes stamped comes in any order: a record with an old stamp may have been logged just
 * now. So its position is noted, with where in the log that was, until the checkpoint has the log up to there.
 *
 * Two generations, each of which goes as a whole: a position may be kept for longer than it need, never for less.
 *
 * Memory: from the port, 8 to 22 bytes for each position; without it all positions count until then. Threads: the
 * caller's.
 */
#ifndef UNCOVERED_H
#define UNCOVERED_H

#include "position_set.h"

struct uncovered_part {
    struct position_set set;
    uint64_t lsn; /* The last of them ends there; 0: there are none. */
};

struct uncovered {
    struct uncovered_part young, old;
    uint64_t all_lsn; /* Every position, until the checkpoint has come there. */
};

void uncovered_init(struct uncovered *uncovered, struct memory *memory);
void uncovered_fini(struct uncovered *uncovered);

/* Something of this position was logged, and ends at `lsn`, which is never 0. */
void uncovered_add(struct uncovered *uncovered, uint64_t position, uint64_t lsn);

/* The checkpoint has the log before `lsn`. */
void uncovered_advance(struct uncovered *uncovered, uint64_t lsn);

/* May something of it still be only in the log? */
static inline bool uncovered_has(const struct uncovered *uncovered, uint64_t position)
{
    return uncovered->all_lsn != 0 ||
           (uncovered->young.lsn != 0 && position_set_has(&uncovered->young.set, position)) ||
           (uncovered->old.lsn != 0 && position_set_has(&uncovered->old.set, position));
}

#endif
