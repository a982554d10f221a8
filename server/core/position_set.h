/* A set of positions: an open-addressed table, at most three quarters full.
 *
 * Memory: from the port, 8 to 22 bytes for each. Threads: the caller's.
 */
#ifndef POSITION_SET_H
#define POSITION_SET_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "memory.h"

struct position_set {
    struct memory *memory;
    uint64_t *table; /* 0: an unused place. */
    size_t capacity; /* A power of two, or 0. */
    size_t count;
    bool has_zero; /* Position 0. */
};

void position_set_init(struct position_set *set, struct memory *memory);
void position_set_fini(struct position_set *set);

/* Returns 0 (also where it is there already), or -ENOMEM with nothing changed. */
int position_set_add(struct position_set *set, uint64_t position);
bool position_set_has(const struct position_set *set, uint64_t position);

/* Go through all of them, in any order; `at` is 0 at first. Returns false at the end. */
bool position_set_next(const struct position_set *set, size_t *at, uint64_t *position);

#endif
