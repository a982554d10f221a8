/* Ground: areas of 2 MiB from the memory port, cut into equal units for the slab's pages.
 *
 * Units are taken from the fullest area that has one, so that the sparse areas empty by themselves and
 * go back to the system whole: huge pages stay whole. What does not empty by itself is named by
 * ground_sparsest(), for the owner of the units to move.
 *
 * Memory: one small header per area. Threads: one.
 */
#ifndef GROUND_H
#define GROUND_H

#include <stdbool.h>
#include <stdint.h>

#include "memory.h"

enum {
    GROUND_AREA_BYTES = 2 * 1024 * 1024,
    GROUND_UNITS_MAX = 32, /* Per area. */
};

struct area {
    uint8_t *base;
    struct area *next, *prev;  /* Of equally full areas. */
    uint32_t used, used_count; /* One bit per unit; how many are set. */
    uint32_t owners[GROUND_UNITS_MAX];
};

/* Private to ground.c, but for the counters. */
struct ground {
    struct memory *memory;
    uint32_t unit_bytes, units; /* `units` per area. */
    uint32_t area_count, free_units;
    struct area *by_used[GROUND_UNITS_MAX + 1]; /* Lists of areas, by number of used units. */
};

/* `unit_bytes` divides the area into at most GROUND_UNITS_MAX. */
void ground_init(struct ground *ground, struct memory *memory, uint32_t unit_bytes);

/* Gives every area back, used or not. */
void ground_fini(struct ground *ground);

/* Make sure that the next ground_take() cannot fail. Returns 0 or -ENOMEM. */
int ground_reserve(struct ground *ground);

/* Take a unit for `owner`; it is zero or has old bytes in it. Returns 0 or -ENOMEM. */
int ground_take(struct ground *ground, uint32_t owner, struct area **area, uint8_t **unit);

void ground_give(struct ground *ground, struct area *area, const uint8_t *unit);

/* An area worth emptying: the others have room for what is in it, and enough is free altogether.
 * NULL where there is none. Its used units are then to be moved, one by one, by ground_move(). */
struct area *ground_sparsest(const struct ground *ground);

/* Copy one used unit of `*area` to a place outside of it and give the old one back.
 * Sets `area` and `unit` to the new place and returns the owner. */
uint32_t ground_move(struct ground *ground, struct area **area, uint8_t **unit);

uint64_t ground_bytes(const struct ground *ground);

#endif
