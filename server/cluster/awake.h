/* A clock that counts only the time in which this process was awake.
 *
 * Whoever was stopped (SIGSTOP, a paused machine, a starved thread) finds at its next turn that much time has gone by
 * in which it heard nobody. That says nothing of the others. So silence is measured on this clock: where two events of
 * the caller lie further apart than ticks can, only two ticks of it count.
 */
#ifndef AWAKE_H
#define AWAKE_H

#include <stdbool.h>
#include <stdint.h>

enum {
    AWAKE_PAUSE_TICKS = 4
}; /* Nothing for longer than this is a pause; one late tick is none. */

struct awake {
    uint32_t tick_ms;
    uint64_t last_ms;  /* When the last event came, by the caller's clock. */
    uint64_t time_ms;  /* Of this clock; begins with 1, so that 0 is never. */
    uint64_t since_ms; /* On this clock: when it last began to go steadily. */
};

static inline void awake_init(struct awake *awake, uint32_t tick_ms, uint64_t now_ms)
{
    *awake = (struct awake){.tick_ms = tick_ms, .last_ms = now_ms, .time_ms = 1, .since_ms = 1};
}

/* An event at `now_ms`. Returns true where a pause lies before it. A clock that goes back stands still. */
static inline bool awake_advance(struct awake *awake, uint64_t now_ms)
{
    uint64_t gap_ms = now_ms > awake->last_ms ? now_ms - awake->last_ms : 0;
    uint64_t most_ms = 2 * (uint64_t)awake->tick_ms;
    bool paused = gap_ms > AWAKE_PAUSE_TICKS * (uint64_t)awake->tick_ms;

    awake->last_ms += gap_ms;
    awake->time_ms += gap_ms < most_ms ? gap_ms : most_ms;
    if (paused) {
        awake->since_ms = awake->time_ms;
    }
    return paused;
}

#endif
