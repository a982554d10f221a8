/* The clocks of one node: as its system shows them, whatever the time of the world is.
 *
 * CLOCK_BOOTTIME runs at a rate of its own and never goes back. CLOCK_REALTIME is somewhere else, and
 * somebody may set it. The true time is that of the world, of which nobody in it knows.
 */
#ifndef CLOCK_H
#define CLOCK_H

#include <stdint.h>

struct sim;

enum {
    SIM_CLOCK_SKEW_MS_MAX = 500,
    SIM_CLOCK_JUMP_MS_MAX = 60000,
    SIM_CLOCK_DRIFT_PPM_MAX = 500,
    SIM_CLOCK_DRIFT_MS_MAX = 100, /* More than a clock drifts in a run. */
};

struct sim_clock {
    const uint64_t *world_us;
    uint64_t since_us; /* The drift holds since then... */
    uint64_t boot_us;  /* ... when CLOCK_BOOTTIME was this. */
    int64_t drift_ppm;
    int64_t offset_ms; /* CLOCK_REALTIME is ahead by so much of 2023-11-14 and CLOCK_BOOTTIME. */
};

void sim_clock_init(struct sim *sim, struct sim_clock *clock);

/* CLOCK_BOOTTIME in microseconds. */
uint64_t sim_clock_boot_us(const struct sim_clock *clock);

/* For wall_clock_init(): `system` is a struct sim_clock. */
uint64_t sim_clock_system_ms(void *system, int clock_id);

/* The true time, of which clocks know more or less. */
uint64_t sim_clock_true_ms(const struct sim *sim);

/* CLOCK_REALTIME is set to the true time, at most so far off it. */
void sim_clock_set(struct sim *sim, struct sim_clock *clock, uint32_t off_ms_max);

/* Somebody sets CLOCK_REALTIME, to anything; the clock gets another rate. */
void sim_clock_jump(struct sim *sim, struct sim_clock *clock);
void sim_clock_drift(struct sim *sim, struct sim_clock *clock);

#endif
