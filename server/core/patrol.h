/* The patrol: goes round all positions, so that no session needs a timer of its own.
 *
 * Its place is a straight line in time: a round takes PATROL_ROUND_MS, and each position has its time
 * in it. So the next visit to any position is known beforehand, and with it who puts what into the
 * wheel: the patrol everything that falls due before its next visit there, a write or an entry that
 * fired only what falls due before the visit that is coming.
 *
 * Each visit begins a new turn of its position. Entries bear the turn that they were made in, and one
 * from before the last visit is void, as that visit has made another where one is needed. So a session
 * whose deadline moves all the time cannot gather entries from round to round.
 *
 * The first round after a restart is quick, as nothing is in the wheel yet.
 * Threads: the caller's.
 */
#ifndef PATROL_H
#define PATROL_H

#include <stdbool.h>
#include <stdint.h>

enum {
    PATROL_ROUND_MS = 64 * 1000,
    PATROL_FIRST_ROUND_MS = 8 * 1000,
    PATROL_SLACK_MS = 2 * 1000, /* How late it may be while nothing is missed by it. */
};

struct patrol {
    uint64_t start_ms; /* Of this round; 0: has not begun. */
    uint64_t round_ms;
    uint64_t cursor; /* The next position to visit. */
    bool finished;   /* This round has visited all; the next begins at its time. */
    bool first;
    bool odd; /* Of the number of this round. */
};

void patrol_init(struct patrol *patrol);

/* Begin the first round, or the next one where its time has come. */
void patrol_advance(struct patrol *patrol, uint64_t now_ms);

/* Up to which position the patrol should be now. */
uint64_t patrol_target(const struct patrol *patrol, uint64_t now_ms);

/* All up to `next` (0: the end) were visited. */
void patrol_visited(struct patrol *patrol, uint64_t next);

/* Is the visit of this round to `position` still to come? */
bool patrol_is_ahead(const struct patrol *patrol, uint64_t position);

/* The turn that a position is in: one bit, another one after each visit. */
static inline bool patrol_turn(const struct patrol *patrol, uint64_t position)
{
    return patrol->odd != patrol_is_ahead(patrol, position);
}

/* The time by which the next visit to a position will have been: what falls due before that belongs in
 * the wheel. The second is for use during a visit, and is of the one in the next round. */
uint64_t patrol_next_visit_ms(const struct patrol *patrol, uint64_t position);
uint64_t patrol_after_visit_ms(const struct patrol *patrol, uint64_t position);

#endif
