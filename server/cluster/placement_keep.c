/* The slots of a rank that keep their node. */
#include <stdlib.h>
#include <string.h>

#include "placement_state.h"

/* Of each node the slots that could keep it in this rank. */
void placement_count_wanted(struct placement_work *work)
{
    uint16_t nodes[PLACEMENT_REPLICAS_MAX];

    for (uint32_t i = 0; i < work->node_count; i++) {
        work->nodes[i].wanted = 0;
    }
    work->needed_count = 0;
    for (uint32_t slot = 0; slot < SLOT_COUNT; slot++) {
        uint32_t found = placement_keepable(work, slot, nodes);
        for (uint32_t i = 0; i < found; i++) {
            work->nodes[nodes[i]].wanted++;
        }
    }
}

static void find_growing(struct placement_work *work)
{
    for (uint32_t i = 0; i < work->node_count; i++) {
        struct placement_node *node = &work->nodes[i];
        node->grows = placement_firm_room(node) > node->wanted + node->slack;
    }
}

/* For each slot the way clockwise to the next arc of a node that grows; 0 everywhere when none does. */
static void measure_distances(struct placement_work *work)
{
    uint32_t distance = 0;

    memset(work->distances, 0, sizeof work->distances);
    for (uint32_t step = 2 * SLOT_COUNT; step-- > 0;) {
        uint32_t slot = step % SLOT_COUNT;
        bool here = work->nodes[work->arc_nodes[work->slot_arcs[slot]]].grows;
        distance = here ? 0 : distance + 1;
        work->distances[slot] = (uint16_t)(distance < SLOT_COUNT ? distance : SLOT_COUNT - 1);
    }
}

/* Could a node that grows take this slot? */
static bool may_grow_here(const struct placement_work *work, uint32_t slot,
                          const uint32_t growing[PLACEMENT_MEMBERS_MAX], uint32_t growing_count)
{
    uint32_t barred = 0;

    for (uint32_t i = 0; i < work->rank; i++) {
        const struct placement_node *node = &work->nodes[work->after[slot][i]];
        barred += work->rank < work->zone_count ? growing[node->zone] > 0 : node->grows;
    }
    return growing_count > barred;
}

/* Has a node that grows this slot in a higher rank? */
static bool grows_below(const struct placement_work *work, uint32_t slot)
{
    for (uint32_t i = work->rank + 1; i < PLACEMENT_REPLICAS_MAX; i++) {
        uint16_t node = work->before[slot][i];
        if (node != NOBODY && work->nodes[node].grows && placement_fits(work, slot, node)) {
            return true;
        }
    }
    return false;
}

/* Put the slots that may keep somebody into work->order, those first that should keep. Returns how many.
 * Those that may keep several were changed in a rank below and find room most easily now; those that no growing node
 * could take must not be left over; of the rest those nearest before the arcs of growing nodes come last, and behind
 * them those that a growing node has in a higher rank, where it changes its rank and nothing is moved. */
static uint32_t order_slots(struct placement_work *work)
{
    uint16_t nodes[PLACEMENT_REPLICAS_MAX];
    uint32_t growing[PLACEMENT_MEMBERS_MAX] = {0};
    uint32_t growing_count = 0, count = 0;

    for (uint32_t i = 0; i < work->node_count; i++) {
        bool by_zone = work->rank < work->zone_count;
        if (work->nodes[i].grows) {
            growing_count += !by_zone || growing[work->nodes[i].zone] == 0;
            growing[work->nodes[i].zone]++;
        }
    }
    measure_distances(work);
    for (uint32_t slot = 0; slot < SLOT_COUNT; slot++) {
        uint32_t found = placement_keepable(work, slot, nodes);
        if (found > 0) {
            bool movable = found == 1 && may_grow_here(work, slot, growing, growing_count);
            uint64_t turn = found > 1 ? 0 : !movable ? 1 : grows_below(work, slot) ? 3 : 2;
            uint64_t nearness = SLOT_COUNT - 1 - work->distances[slot];
            uint64_t spread = mix64(slot / 16 + 1) & 0xffff;
            work->order[count++] = turn << 60 | nearness << 40 | spread << 20 | slot;
        }
    }
    return count;
}

static int compare_u64(const void *left, const void *right)
{
    uint64_t a = *(const uint64_t *)left, b = *(const uint64_t *)right;

    return (a > b) - (a < b);
}

void placement_keep(struct placement_work *work)
{
    uint16_t nodes[PLACEMENT_REPLICAS_MAX];

    find_growing(work);
    uint32_t count = order_slots(work);
    qsort(work->order, count, sizeof work->order[0], compare_u64);
    for (uint32_t i = 0; i < count; i++) {
        uint32_t slot = (uint32_t)(work->order[i] & 0xfffff);
        bool movable = work->order[i] >> 60 >= 2;
        uint32_t found = placement_keepable(work, slot, nodes);
        for (uint32_t j = 0; j < found; j++) {
            if (placement_has_room(work, nodes[j]) ||
                (!movable && placement_has_slack(work, nodes[j]))) {
                placement_give(work, slot, nodes[j]);
                break;
            }
        }
    }
}
