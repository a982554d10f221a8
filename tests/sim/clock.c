#include "clock.h"

#include <time.h>

#include "sim.h"

static const uint64_t epoch_ms = UINT64_C(1700000000000);

uint64_t sim_clock_true_ms(const struct sim *sim)
{
    return epoch_ms + sim->now_us / 1000;
}

static int64_t between(struct sim *sim, int64_t most)
{
    return (int64_t)sim_between(sim, SIM_RANDOM_CLOCK, 0, (uint64_t)(2 * most)) - most;
}

void sim_clock_init(struct sim *sim, struct sim_clock *clock)
{
    *clock = (struct sim_clock){
        .world_us = &sim->now_us,
        .boot_us = sim_between(sim, SIM_RANDOM_CLOCK, 1000000, 100000000),
        .offset_ms = between(sim, SIM_CLOCK_SKEW_MS_MAX),
    };
}

uint64_t sim_clock_boot_us(const struct sim_clock *clock)
{
    int64_t passed_us = (int64_t)(*clock->world_us - clock->since_us);

    return clock->boot_us + (uint64_t)(passed_us + passed_us * clock->drift_ppm / 1000000);
}

uint64_t sim_clock_system_ms(void *system, int clock_id)
{
    const struct sim_clock *clock = system;
    uint64_t boot_ms = sim_clock_boot_us(clock) / 1000;

    return clock_id == CLOCK_REALTIME ? epoch_ms + boot_ms + (uint64_t)clock->offset_ms : boot_ms;
}

void sim_clock_set(struct sim *sim, struct sim_clock *clock, uint32_t off_ms_max)
{
    uint64_t now_ms = sim_clock_system_ms(clock, CLOCK_REALTIME);
    int64_t off_ms = (int64_t)(sim_clock_true_ms(sim) - now_ms);

    clock->offset_ms += off_ms + between(sim, off_ms_max);
}

void sim_clock_jump(struct sim *sim, struct sim_clock *clock)
{
    clock->offset_ms += between(sim, SIM_CLOCK_JUMP_MS_MAX);
    sim_count(sim, SIM_JUMPS);
}

void sim_clock_drift(struct sim *sim, struct sim_clock *clock)
{
    clock->boot_us = sim_clock_boot_us(clock);
    clock->since_us = sim->now_us;
    clock->drift_ppm = between(sim, SIM_CLOCK_DRIFT_PPM_MAX);
    sim_count(sim, SIM_DRIFTS);
}
