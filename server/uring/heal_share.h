/* What comparisons with other nodes take of a thread's time: a share of it, while somebody else wants something of the thread.
 *
 * It is a bucket of time. Each microsecond that passes brings so many hundredths of one, and what the thread spends on
 * comparisons, be it that it was without a processor meanwhile, is taken out. While nothing is left no more sessions are asked for
 * (`room` in replication.h). What was asked for comes all the same, so that is little. Once nobody wanted anything for
 * HEAL_QUIET_US the comparisons have all of the time.
 *
 * Where a processor is shared, others wait for it: another node's thread that compares, too, a client's. What a request passes
 * through are several of them, one after the other, and each would wait for the time slices of all others (3 ms each on Linux).
 * So who has spent HEAL_YIELD_US on comparisons lets others go first.
 *
 * Memory: the struct. Threads: its thread's. Times are of one monotonic clock.
 */
#ifndef HEAL_SHARE_H
#define HEAL_SHARE_H

#include <stdbool.h>
#include <stdint.h>

enum {
    HEAL_QUIET_US = 100 * 1000,
    HEAL_BURST_US = 2000,         /* At most so much is left... */
    HEAL_DEBT_US = 100 * 1000,    /* ... or missing, as after one large session. */
    HEAL_ROOM_BYTES = 128 * 1024, /* Asked for at a time. */
    HEAL_YIELD_US = 200,
};

struct heal_share {
    int64_t left_us;
    uint64_t rest;      /* Hundredths of another one. */
    uint64_t at_us;     /* What has passed since then brings more. */
    uint64_t wanted_us; /* When somebody wanted something last. */
    uint64_t held_us;   /* Spent since others could go first. */
};

/* Somebody else wants something. */
static inline void heal_share_want(struct heal_share *share, uint64_t now_us)
{
    share->wanted_us = now_us;
}

/* Time has passed; `percent` of it is for comparisons. */
void heal_share_pass(struct heal_share *share, uint32_t percent, uint64_t now_us);

/* So much was spent on them. */
void heal_share_spend(struct heal_share *share, uint64_t us);

/* Of the `bytes` that may be asked for, how many now? */
uint64_t heal_share_room(const struct heal_share *share, uint64_t bytes, uint64_t now_us);

/* Are others to go first now? Then the caller gives up the processor. */
bool heal_share_yields(struct heal_share *share);

#endif
