/* The least number of copies that a change of the ring must move, whatever the algorithm.
 *
 * A copy is a node that has a slot in ranks 1 to r; it is moved when the node had none of it there before. Three bounds
 * from below, of which the greatest counts:
 *
 *   gain  what the nodes have less than their shares, rounded down, all together
 *   loss  what they have more than their shares, rounded up, and what those had that are gone
 *   hole  for each node, and for each zone while copies are in distinct ones: what it has less than its share, and
 *         what is missing of the slots that it has already, which only others can take
 */
#ifndef PLACEMENT_LEAST_H
#define PLACEMENT_LEAST_H

#include <math.h>
#include <string.h>

#include "placement.h"

/* A node as of after the change. */
struct least_node {
    uint32_t number, zone; /* The zone below PLACEMENT_MEMBERS_MAX. */
    double part;           /* Its share of all copies in ranks 1 to r. */
    uint32_t had;          /* Copies before. */
    uint64_t lacks, holes; /* See above. */
};

static inline uint32_t least_index(const struct least_node nodes[], uint32_t count, uint32_t number)
{
    uint32_t i = 0;

    while (i < count && nodes[i].number != number) {
        i++;
    }
    return i;
}

/* `nodes` have number, zone and part. `zoned`: these r copies are all in distinct zones. */
static inline uint64_t placement_least(struct least_node nodes[], uint32_t count, uint32_t r,
                                       bool zoned, const struct slot_owners before[SLOT_COUNT])
{
    uint64_t gain = 0, loss = 0, zones[PLACEMENT_MEMBERS_MAX] = {0}, least = 0;

    for (uint32_t i = 0; i < count; i++) {
        nodes[i].had = 0;
        nodes[i].holes = 0;
    }
    for (uint32_t slot = 0; slot < SLOT_COUNT; slot++) {
        uint32_t has[PLACEMENT_REPLICAS_MAX], found = 0, distinct = 0;
        for (uint32_t i = 0; i < r; i++) {
            uint32_t index = least_index(nodes, count, before[slot].nodes[i]);
            if (index < count) {
                has[found++] = index;
                nodes[index].had++;
            } else {
                loss += before[slot].nodes[i] != 0;
            }
        }
        for (uint32_t i = 0; i < found; i++) {
            bool first = true;
            nodes[has[i]].holes += r - found;
            for (uint32_t j = 0; j < i; j++) {
                first = first && nodes[has[j]].zone != nodes[has[i]].zone;
            }
            distinct += first;
        }
        for (uint32_t i = 0; i < found && distinct == found; i++) {
            zones[nodes[has[i]].zone] += r - found;
        }
    }
    for (uint32_t i = 0; i < count; i++) {
        double low = floor(nodes[i].part + 1e-6), high = ceil(nodes[i].part - 1e-6);
        nodes[i].lacks = nodes[i].had < low ? (uint64_t)low - nodes[i].had : 0;
        gain += nodes[i].lacks;
        loss += nodes[i].had > high ? nodes[i].had - (uint64_t)high : 0;
        zones[nodes[i].zone] += nodes[i].lacks;
        uint64_t own = nodes[i].lacks + nodes[i].holes;
        least = own > least ? own : least;
    }
    for (uint32_t i = 0; zoned && i < PLACEMENT_MEMBERS_MAX; i++) {
        least = zones[i] > least ? zones[i] : least;
    }
    least = gain > least ? gain : least;
    return loss > least ? loss : least;
}

#endif
