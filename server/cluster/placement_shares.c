#include "placement_state.h"

#include <assert.h>
#include <stdbool.h>

enum { FRACTION_BITS = 20, SLACK_PART = 16 };

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

static uint32_t whole_of(uint64_t ideal)
{
    return (uint32_t)(ideal >> FRACTION_BITS);
}

static bool has_fraction(uint64_t ideal)
{
    return (ideal & ((1U << FRACTION_BITS) - 1)) != 0;
}

/* Round shares down; a group of this total may raise as many as are missing then. */
static void round_group(struct placement_work *work, uint32_t group, uint32_t total)
{
    uint32_t sum = 0;

    for (uint32_t i = 0; i < work->node_count; i++) {
        struct placement_node *node = &work->nodes[i];
        if (node->group == group) {
            node->share = whole_of(node->ideal);
            node->slack = work->rank > 0 ? node->share / SLACK_PART + 2 : 0;
            node->fraction = has_fraction(node->ideal);
            sum += node->share;
        }
    }
    assert(sum <= total);
    work->raises[group] = total - sum;
}

/* One group for each zone, so that none has more than one copy of each slot. Zones are rounded first: up where most
 * is left of what there was. */
static void round_zones(struct placement_work *work)
{
    uint64_t ideals[PLACEMENT_MEMBERS_MAX] = {0};
    int64_t kept[PLACEMENT_MEMBERS_MAX] = {0};
    uint32_t totals[PLACEMENT_MEMBERS_MAX];
    uint32_t left = (work->rank + 1) * SLOT_COUNT;

    for (uint32_t i = 0; i < work->node_count; i++) {
        struct placement_node *node = &work->nodes[i];
        node->group = node->zone;
        ideals[node->zone] += node->ideal;
        kept[node->zone] += node->load + node->wanted;
    }
    for (uint32_t i = 0; i < work->zone_count; i++) {
        totals[i] = whole_of(ideals[i]);
        left -= totals[i];
    }
    while (left-- > 0) {
        uint32_t best = work->zone_count;
        for (uint32_t i = 0; i < work->zone_count; i++) {
            if (totals[i] == whole_of(ideals[i]) && has_fraction(ideals[i]) &&
                (best == work->zone_count || kept[i] - totals[i] > kept[best] - totals[best])) {
                best = i;
            }
        }
        assert(best < work->zone_count);
        totals[best]++;
    }
    for (uint32_t i = 0; i < work->zone_count; i++) {
        assert(totals[i] <= SLOT_COUNT);
        round_group(work, i, totals[i]);
    }
}

void placement_shares(struct placement_work *work)
{
    assert(work->rank < work->node_count);
    if (work->rank < work->zone_count) {
        set_ideals_by_zone(work);
    } else {
        set_ideals_by_node(work);
    }
    if (work->rank > 0 && work->rank < work->zone_count) {
        round_zones(work);
    } else {
        for (uint32_t i = 0; i < work->node_count; i++) {
            work->nodes[i].group = 0;
        }
        round_group(work, 0, (work->rank + 1) * SLOT_COUNT);
    }
}
