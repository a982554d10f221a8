/* The wall clock of the server: starts at the system's time and then counts what has elapsed.
 *
 * Nothing that anyone does to the system's clock while belayd runs reaches sessions: deadlines pass at
 * the rate of CLOCK_BOOTTIME (which goes on during suspend). At a restart it does not begin before the
 * newest time in the store (wall_clock_floor()), so that a clock set back meanwhile does not bring back
 * what had expired. The price: a clock that was wrong at the start stays so until a restart; and one that was
 * ahead until a restart after the system's has come to where it was: at a clean stop, from which the same actor goes
 * on and may give out no stamp twice, or at the newest write. How far it is off is a metric and, past a second, a
 * line in the log.
 * Threads: reading from any; wall_clock_init() and wall_clock_floor() before other threads read.
 */
#ifndef WALL_CLOCK_H
#define WALL_CLOCK_H

#include <stdint.h>

struct wall_clock {
    uint64_t begin_ms;   /* What it showed... */
    uint64_t elapsed_ms; /* ... when CLOCK_BOOTTIME was at this. */
    uint64_t (*system_ms)(void *system, int clock_id);
    void *system;
};

/* `system_ms` reads CLOCK_REALTIME or CLOCK_BOOTTIME in milliseconds; NULL: the system's. */
void wall_clock_init(struct wall_clock *clock, uint64_t (*system_ms)(void *system, int clock_id),
                     void *system);

/* Go on from `ms` at least. */
void wall_clock_floor(struct wall_clock *clock, uint64_t ms);

uint64_t wall_clock_now_ms(const struct wall_clock *clock);

/* The same in the form that others ask for it: `clock` is a struct wall_clock. */
uint64_t wall_clock_read(void *clock);

/* How far this clock is ahead of the system's. */
int64_t wall_clock_ahead_ms(const struct wall_clock *clock);

#endif
