#include "placement_state.h"

#include <assert.h>
#include <stdbool.h>
#include <string.h>

enum { FRACTION_BITS = 20, ROUNDING = 64, TOLERANCE = 100, RANK_TOLERANCE = 12 };

static const uint64_t all_slots = (uint64_t)SLOT_COUNT << FRACTION_BITS;

/* By weight alone, but no zone above one copy of each slot. For a rank below the number of zones. */
static void set_ideals_by_zone(struct placement_work *work)
{
    bool full[PLACEMENT_MEMBERS_MAX] = {false};
    uint64_t copies = (uint64_t)(work->rank + 1) * SLOT_COUNT, weight = 0;
    bool again = true;

    for (uint32_t i = 0; i < work->zone_count; i++) {
        weight += work->zone_weights[i];
    }
    while (again) {
        again = false;
        for (uint32_t i = 0; i < work->zone_count; i++) {
            if (!full[i] && copies * work->zone_weights[i] > SLOT_COUNT * weight) {
                full[i] = again = true;
                copies -= SLOT_COUNT;
                weight -= work->zone_weights[i];
            }
        }
    }
    for (uint32_t i = 0; i < work->node_count; i++) {
        struct placement_node *node = &work->nodes[i];
        node->ideal = full[node->zone] ? all_slots * node->weight / work->zone_weights[node->zone]
                                       : (copies << FRACTION_BITS) * node->weight / weight;
    }
}

static uint64_t clamp(uint64_t value, uint64_t low, uint64_t high)
{
    return value < low ? low : value > high ? high : value;
}

/* By weight, but nobody below what he has of the ranks before, nor above one copy of each slot. What is bound to a
 * limit is taken out until the rest fits; of lower and upper limits those first that are passed by more in all. */
static void set_ideals_by_node(struct placement_work *work)
{
    bool bound[PLACEMENT_MEMBERS_MAX] = {false};
    uint64_t copies = (work->rank + 1) * all_slots, weight = 0;
    bool again = true;

    for (uint32_t i = 0; i < work->node_count; i++) {
        weight += work->nodes[i].weight;
    }
    while (again) {
        uint64_t raised = 0, lowered = 0;
        uint64_t wanted[PLACEMENT_MEMBERS_MAX];
        for (uint32_t i = 0; i < work->node_count; i++) {
            if (!bound[i]) {
                wanted[i] = copies / weight * work->nodes[i].weight +
                            copies % weight * work->nodes[i].weight / weight;
                uint64_t fit = clamp(wanted[i], work->nodes[i].ideal, all_slots);
                raised += fit > wanted[i] ? fit - wanted[i] : 0;
                lowered += fit < wanted[i] ? wanted[i] - fit : 0;
            }
        }
        again = false;
        for (uint32_t i = 0; i < work->node_count; i++) {
            struct placement_node *node = &work->nodes[i];
            bool low = !bound[i] && wanted[i] < node->ideal && raised >= lowered;
            bool high = !bound[i] && wanted[i] > all_slots && lowered >= raised;
            if (low || high) {
                node->ideal = low ? node->ideal : all_slots;
                bound[i] = again = true;
                copies -= node->ideal < copies ? node->ideal : copies;
                weight -= node->weight;
            }
        }
        for (uint32_t i = 0; i < work->node_count && !again; i++) {
            if (!bound[i]) {
                work->nodes[i].ideal = wanted[i];
            }
        }
    }
}

/* The whole numbers next to it; what is one but for the rounding above has only one. */
static void set_bounds(struct placement_bounds *bounds, uint64_t ideal)
{
    const uint64_t one = UINT64_C(1) << FRACTION_BITS;

    bounds->low = (uint32_t)((ideal + ROUNDING) >> FRACTION_BITS);
    bounds->high =
        (uint32_t)((ideal + one - 1 - (ideal % one < ROUNDING ? ideal % one : 0)) >> FRACTION_BITS);
    bounds->high = bounds->high < bounds->low ? bounds->low : bounds->high;
}

/* Somewhat more or less, so that less moves; but not above one copy of each slot. */
static void loosen(struct placement_bounds *bounds, uint64_t ideal, uint64_t by)
{
    const uint64_t one = UINT64_C(1) << FRACTION_BITS;
    const uint32_t least = (uint32_t)((ideal > by ? ideal - by + one - 1 : 0) >> FRACTION_BITS);
    const uint32_t most = (uint32_t)((ideal + by) >> FRACTION_BITS);

    bounds->low = least < bounds->low ? least : bounds->low;
    bounds->high = most > bounds->high && most <= SLOT_COUNT ? most : bounds->high;
}

void placement_shares(struct placement_work *work)
{
    uint64_t below[PLACEMENT_MEMBERS_MAX] = {0};

    assert(work->replicas <= work->node_count);
    for (work->rank = 0; work->rank < work->replicas; work->rank++) {
        if (work->rank < work->zone_count) {
            set_ideals_by_zone(work);
        } else {
            set_ideals_by_node(work);
        }
        for (uint32_t i = 0; i < work->node_count; i++) {
            struct placement_node *node = &work->nodes[i];
            set_bounds(&node->ranks[work->rank],
                       node->ideal > below[i] ? node->ideal - below[i] : 0);
            if (work->rank > 0) {
                const uint64_t ideal = node->ideal > below[i] ? node->ideal - below[i] : 0;
                loosen(&node->ranks[work->rank], ideal,
                       ideal / RANK_TOLERANCE + (UINT64_C(2) << FRACTION_BITS));
            }
            set_bounds(&node->all, node->ideal);
            loosen(&node->all, node->ideal, node->ideal / TOLERANCE);
            node->primaries = work->rank == 0 ? node->ideal : node->primaries;
            below[i] = node->ideal;
        }
    }
}
