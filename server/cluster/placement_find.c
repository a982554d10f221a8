/* The slots of a rank that need another node. */
#include <assert.h>
#include <string.h>

#include "placement_state.h"

/* Steps from `arc` to the next one whose node has room; steps_max when none has within these. What was skipped once is
 * skipped in one step later: within a rank nobody who is full gets room again. */
static uint32_t next_with_room(struct placement_work *work, uint32_t arc, uint32_t steps_max)
{
    uint32_t steps = 0, at = arc;

    while (steps < steps_max) {
        if (placement_has_room(work, work->arc_nodes[at])) {
            work->arc_nexts[arc] = (uint16_t)steps;
            return steps;
        }
        uint32_t step = work->arc_nexts[at] == 0 ? 1 : work->arc_nexts[at];
        steps += step;
        at = (at + step) % work->arc_count;
    }
    return steps_max;
}

/* Walk clockwise from the slot's own arc to the next node that fits and has room, first without driving anybody out.
 * Returns it or NOBODY. */
static uint16_t walk(struct placement_work *work, uint32_t slot)
{
    uint32_t arc = work->slot_arcs[slot];
    uint16_t second = NOBODY;
    uint64_t rooms = 0;

    for (uint32_t i = 0; i < work->zone_count; i++) {
        rooms += work->group_rooms[i];
    }
    for (uint32_t i = 0; i < work->rank && work->rank < work->zone_count; i++) {
        rooms -= work->group_rooms[work->nodes[work->after[slot][i]].zone];
    }
    if (rooms == 0) {
        return NOBODY;
    }
    for (uint32_t left = work->arc_count; left > 0;) {
        uint32_t steps = next_with_room(work, arc, left);
        if (steps >= left) {
            break;
        }
        arc = (arc + steps) % work->arc_count;
        uint16_t node = work->arc_nodes[arc];
        if (placement_fits(work, slot, node)) {
            if (!placement_drives_out(work, slot, node)) {
                return node;
            }
            second = second == NOBODY ? node : second;
        }
        arc = (arc + 1) % work->arc_count;
        left -= steps + 1;
    }
    return second;
}

/* One that had the slot in any rank, fits and has room. Returns it or NOBODY. */
static uint16_t former_owner(const struct placement_work *work, uint32_t slot)
{
    for (uint32_t i = 0; i < PLACEMENT_REPLICAS_MAX; i++) {
        uint16_t node = work->before[slot][i];
        if (node != NOBODY && placement_has_slack(work, node) && placement_fits(work, slot, node)) {
            return node;
        }
    }
    return NOBODY;
}

/* All with room. Returns how many. */
static uint32_t list_roomy(const struct placement_work *work, uint16_t nodes[PLACEMENT_MEMBERS_MAX])
{
    uint32_t count = 0;

    for (uint32_t i = 0; i < work->node_count; i++) {
        if (placement_has_room(work, (uint16_t)i)) {
            nodes[count++] = (uint16_t)i;
        }
    }
    return count;
}

static bool fits_any(const struct placement_work *work, uint32_t slot, const uint16_t nodes[],
                     uint32_t count)
{
    for (uint32_t i = 0; i < count; i++) {
        if (placement_fits(work, slot, nodes[i])) {
            return true;
        }
    }
    return false;
}

/* Let `slot` have the node of another slot, to which somebody with room goes instead: of all such the one that moves
 * least, and of these the next clockwise. Returns whether there was one. */
static bool exchange(struct placement_work *work, uint32_t slot)
{
    uint16_t roomy[PLACEMENT_MEMBERS_MAX];
    uint32_t roomy_count = list_roomy(work, roomy);
    uint32_t best = SLOT_COUNT;
    int best_cost = 3;

    for (uint32_t step = 1; step < SLOT_COUNT && best_cost > work->exchange_cost; step++) {
        if (work->steps++ >= PLACEMENT_STEPS_MAX) {
            break;
        }
        uint32_t other = (slot + step) % SLOT_COUNT;
        uint16_t node = work->after[other][work->rank];
        if (node == NOBODY || !placement_fits(work, slot, node)) {
            continue;
        }
        int cost = !placement_had(work, slot, node) + placement_had(work, other, node);
        if (cost < best_cost && fits_any(work, other, roomy, roomy_count)) {
            best = other;
            best_cost = cost;
        }
    }
    if (best == SLOT_COUNT) {
        return false;
    }
    work->exchange_cost = best_cost;
    uint16_t node = work->after[best][work->rank], instead = walk(work, best);
    placement_take_back(work, best);
    placement_give(work, slot, node);
    placement_give(work, best, instead);
    return true;
}

/* The next node clockwise that has slack and drives nobody out; else `other`. */
static uint16_t walk_slack(const struct placement_work *work, uint32_t slot, uint16_t other)
{
    uint32_t arc = work->slot_arcs[slot];

    for (uint32_t i = 0; i < work->arc_count; i++, arc = (arc + 1) % work->arc_count) {
        uint16_t node = work->arc_nodes[arc];
        if (placement_has_slack(work, node) && placement_fits(work, slot, node) &&
            !placement_drives_out(work, slot, node)) {
            return node;
        }
    }
    return other;
}

/* The next node clockwise that fits, room or not: there always is one. */
static uint16_t walk_without_room(const struct placement_work *work, uint32_t slot)
{
    uint32_t arc = work->slot_arcs[slot];

    for (uint32_t i = 0; i < work->arc_count; i++, arc = (arc + 1) % work->arc_count) {
        if (placement_fits(work, slot, work->arc_nodes[arc])) {
            return work->arc_nodes[arc];
        }
    }
    assert(false);
    return NOBODY;
}

/* The next node clockwise that grows, fits and has room, for a slot that could have kept somebody but was left for
 * such. Returns it or NOBODY. */
static uint16_t walk_to_growing(const struct placement_work *work, uint32_t slot)
{
    uint16_t nodes[PLACEMENT_REPLICAS_MAX];
    uint32_t arc = work->slot_arcs[slot];
    bool any = false;

    for (uint32_t i = 0; i < work->node_count && !any; i++) {
        any = work->nodes[i].grows && placement_has_room(work, (uint16_t)i) &&
              placement_fits(work, slot, (uint16_t)i);
    }
    if (!any || placement_keepable(work, slot, nodes) == 0) {
        return NOBODY;
    }
    while (!work->nodes[work->arc_nodes[arc]].grows ||
           !placement_has_room(work, work->arc_nodes[arc]) ||
           !placement_fits(work, slot, work->arc_nodes[arc])) {
        arc = (arc + 1) % work->arc_count;
    }
    return work->arc_nodes[arc];
}

void placement_find_owners(struct placement_work *work)
{
    memset(work->arc_nexts, 0, sizeof work->arc_nexts);
    work->exchange_cost = 0;
    work->steps = 0;
    for (uint32_t slot = 0; slot < SLOT_COUNT; slot++) {
        if (work->after[slot][work->rank] != NOBODY) {
            continue;
        }
        uint16_t node = work->nodes[0].slack > 0 ? walk_to_growing(work, slot) : NOBODY;
        node = node != NOBODY ? node : former_owner(work, slot);
        if (node == NOBODY) {
            node = walk(work, slot);
            node = node == NOBODY || placement_drives_out(work, slot, node)
                       ? walk_slack(work, slot, node)
                       : node;
        }
        if (node != NOBODY) {
            placement_give(work, slot, node);
        } else if (!exchange(work, slot)) {
            placement_give(work, slot, walk_without_room(work, slot));
        }
    }
}
