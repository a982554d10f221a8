#include "wall_clock.h"

#include <stddef.h>
#include <time.h>

static uint64_t read_system(void *system, int clock_id)
{
    struct timespec now;

    (void)system;
    clock_gettime(clock_id, &now);
    return (uint64_t)now.tv_sec * 1000 + (uint64_t)now.tv_nsec / 1000000;
}

void wall_clock_init(struct wall_clock *clock, uint64_t (*system_ms)(void *system, int clock_id),
                     void *system)
{
    clock->system_ms = system_ms != NULL ? system_ms : read_system;
    clock->system = system;
    clock->begin_ms = clock->system_ms(system, CLOCK_REALTIME);
    clock->elapsed_ms = clock->system_ms(system, CLOCK_BOOTTIME);
}

void wall_clock_floor(struct wall_clock *clock, uint64_t ms)
{
    uint64_t now_ms = wall_clock_now_ms(clock);

    if (now_ms < ms) {
        clock->begin_ms += ms - now_ms;
    }
}

uint64_t wall_clock_now_ms(const struct wall_clock *clock)
{
    return clock->begin_ms + (clock->system_ms(clock->system, CLOCK_BOOTTIME) - clock->elapsed_ms);
}

uint64_t wall_clock_read(void *clock)
{
    return wall_clock_now_ms(clock);
}

int64_t wall_clock_ahead_ms(const struct wall_clock *clock)
{
    return (int64_t)(wall_clock_now_ms(clock) - clock->system_ms(clock->system, CLOCK_REALTIME));
}
