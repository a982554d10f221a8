/* Slots and who has them, and the circle around them. */
#include <string.h>

#include "placement_state.h"

bool placement_fits(const struct placement_work *work, uint32_t slot, uint32_t rank, uint16_t node)
{
    const uint16_t *has = work->after[slot];
    const uint32_t zone = work->nodes[node].zone;

    for (uint32_t i = 0; i < work->replicas; i++) {
        if (i == rank || has[i] == NOBODY) {
            continue;
        }
        if (has[i] == node ||
            (rank < work->zone_count && i < work->zone_count && work->nodes[has[i]].zone == zone)) {
            return false;
        }
    }
    return true;
}

void placement_put(struct placement_work *work, uint32_t slot, uint32_t rank, uint16_t node)
{
    uint16_t *place = &work->after[slot][rank];

    if (*place != NOBODY) {
        work->nodes[*place].ranks[rank].load--;
        work->nodes[*place].all.load--;
    }
    *place = node;
    if (node != NOBODY) {
        work->nodes[node].ranks[rank].load++;
        work->nodes[node].all.load++;
    }
}

uint32_t placement_rank(const struct placement_work *work, uint32_t slot, uint16_t node)
{
    for (uint32_t rank = 0; rank < work->replicas; rank++) {
        if (work->after[slot][rank] == node) {
            return rank;
        }
    }
    return PLACEMENT_REPLICAS_MAX;
}

bool placement_had(const struct placement_work *work, uint32_t slot, uint32_t ranks, uint16_t node)
{
    for (uint32_t rank = 0; rank < ranks; rank++) {
        if (work->before[slot][rank] == node) {
            return true;
        }
    }
    return false;
}

bool placement_mark(struct placement_work *work, bool primaries, enum placement_need takes)
{
    uint32_t next = work->arc_count;
    work->wanted_count = 0;
    for (uint32_t i = 0; i < work->node_count; i++) {
        const struct placement_node *node = &work->nodes[i];
        work->wanted[i] = placement_takes(primaries ? &node->ranks[0] : &node->all, takes);
        work->wanted_count += work->wanted[i];
    }
    for (uint32_t step = 2 * work->arc_count; step-- > 0;) {
        uint32_t arc = step % work->arc_count;
        next = work->wanted[work->arc_nodes[arc]] ? arc : next;
        work->arc_nexts[arc] = (uint16_t)next;
    }
    return work->wanted_count > 0;
}

void placement_order_slots(struct placement_work *work)
{
    uint32_t distance = SLOT_COUNT - 1, next = 0;

    memset(work->counts, 0, sizeof work->counts);
    for (uint32_t step = 2 * SLOT_COUNT; step-- > 0;) {
        uint32_t slot = step % SLOT_COUNT;
        bool here = work->wanted[work->arc_nodes[work->slot_arcs[slot]]];
        distance = here ? 0 : distance < SLOT_COUNT - 1 ? distance + 1 : distance;
        work->nears[slot] = (uint16_t)distance;
        work->counts[distance] = (uint16_t)(work->counts[distance] + (step < SLOT_COUNT));
    }
    for (uint32_t i = 0; i < SLOT_COUNT; i++) {
        uint32_t count = work->counts[i];
        work->counts[i] = (uint16_t)next;
        next += count;
    }
    for (uint32_t slot = 0; slot < SLOT_COUNT; slot++) {
        work->order[work->counts[work->nears[slot]]++] = (uint16_t)slot;
    }
}

bool placement_may_swap(const struct placement_work *work, uint32_t slot, uint32_t rank,
                        uint32_t later)
{
    const uint16_t *has = work->after[slot];

    if (has[later] == NOBODY) {
        return false;
    }
    if (later < work->zone_count || rank >= work->zone_count) {
        return true;
    }
    for (uint32_t i = 0; i < work->zone_count; i++) {
        if (i != rank && has[i] != NOBODY &&
            work->nodes[has[i]].zone == work->nodes[has[later]].zone) {
            return false;
        }
    }
    return true;
}

void placement_swap(struct placement_work *work, uint32_t slot, uint32_t rank, uint32_t later)
{
    uint16_t one = work->after[slot][rank], other = work->after[slot][later];

    placement_put(work, slot, rank, NOBODY);
    placement_put(work, slot, later, one);
    placement_put(work, slot, rank, other);
}
