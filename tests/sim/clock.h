/* The clocks of one node: as its system shows them, whatever the time of the world is.
 *
 * CLOCK_BOOTTIME runs at a rate of its own and never goes back. CLOCK_REALTIME is somewhere else, and
 * somebody may set it.
 */
#ifndef CLOCK_H
#define CLOCK_H

#include <stdint.h>

struct sim;

enum { SIM_CLOCK_SKEW_MS_MAX = 500, SIM_CLOCK_JUMP_MS_MAX = 60000, SIM_CLOCK_DRIFT_PPM_MAX = 500 };

struct sim_clock {
    const uint64_t *world_us;
    uint64_t since_us; /* The drift holds since then... */
    uint64_t boot_us;  /* ... when CLOCK_BOOTTIME was this. */
    int64_t drift_ppm;
    int64_t
        offset_ms; /* CLOCK_REALTIME is ahead by so much of 2023-11-14 and the time since boot. */
};

void sim_clock_init(struct sim *sim, struct sim_clock *clock);

/* CLOCK_BOOTTIME in microseconds. */
uint64_t sim_clock_boot_us(const struct sim_clock *clock);

/* For wall_clock_init(): `system` is a struct sim_clock. */
uint64_t sim_clock_system_ms(void *system, int clock_id);

/* Somebody sets CLOCK_REALTIME; the clock gets another rate. */
void sim_clock_jump(struct sim *sim, struct sim_clock *clock);
void sim_clock_drift(struct sim *sim, struct sim_clock *clock);

#endif
