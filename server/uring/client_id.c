#include "client_id.h"

static const unsigned node_bits[4] = {4, 8, 16, 32};
static const unsigned run_bits[4] = {4, 8, 16, 24};

/* Put a class and a number above the `at` bits there. Returns how many bits there are then; 64 when the
 * number is too large. */
static unsigned put(uint64_t *id, unsigned at, const unsigned bits[4], uint64_t number)
{
    for (uint64_t size = 0; size < 4 && at < 64; size++) {
        if (number >> bits[size] == 0) {
            *id |= size << at | number << (at + 2);
            return at + 2 + bits[size];
        }
    }
    return 64;
}

uint64_t client_id(uint32_t node, uint32_t run, uint64_t counter)
{
    uint64_t id = 0;
    unsigned at = put(&id, put(&id, 0, node_bits, node), run_bits, run);

    /* Nodes count from 1, so that no id is 0. */
    if (at >= 64 || counter >> (64 - at) != 0) {
        return 0;
    }
    return id | counter << at;
}
