#include "placement.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "placement_state.h"

/* ---- Nodes. ---- */

static int compare_nodes(const void *left, const void *right)
{
    const struct placement_node *a = left, *b = right;

    return (a->number > b->number) - (a->number < b->number);
}

/* The index of a number, or NOBODY. */
static uint16_t node_index(const struct placement_work *work, uint32_t number)
{
    uint32_t low = 0, high = work->node_count;

    while (low < high) {
        uint32_t middle = low + (high - low) / 2;
        if (work->nodes[middle].number < number) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    bool found = low < work->node_count && work->nodes[low].number == number;
    return found ? (uint16_t)low : NOBODY;
}

/* Count the zones from 0, in the order of the first node of each. */
static void number_zones(struct placement_work *work)
{
    uint32_t zones[PLACEMENT_MEMBERS_MAX];

    work->zone_count = 0;
    for (uint32_t i = 0; i < work->node_count; i++) {
        struct placement_node *node = &work->nodes[i];
        uint32_t zone = 0;
        while (zone < work->zone_count && zones[zone] != node->zone) {
            zone++;
        }
        if (zone == work->zone_count) {
            zones[zone] = node->zone;
            work->zone_weights[zone] = 0;
            work->zone_count++;
        }
        node->zone = zone;
        work->zone_weights[zone] += node->weight;
    }
}

static int check_members(const struct placement_member members[], uint32_t count, uint32_t replicas)
{
    if (replicas == 0 || replicas > PLACEMENT_REPLICAS_MAX) {
        return -EINVAL;
    }
    if (count > PLACEMENT_MEMBERS_MAX) {
        return -E2BIG;
    }
    for (uint32_t i = 0; i < count; i++) {
        if (members[i].number == 0 || members[i].weight > PLACEMENT_WEIGHT_MAX) {
            return -EINVAL;
        }
        for (uint32_t j = 0; j < i; j++) {
            if (members[i].number == members[j].number) {
                return -EEXIST;
            }
        }
    }
    return 0;
}

static void take_members(struct placement_work *work, const struct placement_member members[],
                         uint32_t count)
{
    work->node_count = 0;
    for (uint32_t i = 0; i < count; i++) {
        if (members[i].weight > 0) {
            work->nodes[work->node_count++] = (struct placement_node){
                .number = members[i].number,
                .weight = members[i].weight,
                .zone = members[i].zone,
            };
        }
    }
    qsort(work->nodes, work->node_count, sizeof work->nodes[0], compare_nodes);
    number_zones(work);
}

static void take_before(struct placement_work *work, const struct slot_owners before[SLOT_COUNT])
{
    for (uint32_t slot = 0; slot < SLOT_COUNT; slot++) {
        for (uint32_t rank = 0; rank < PLACEMENT_REPLICAS_MAX; rank++) {
            uint16_t node = NOBODY;
            if (before != NULL && before[slot].nodes[rank] != 0) {
                node = node_index(work, before[slot].nodes[rank]);
            }
            work->before[slot][rank] = node;
            work->after[slot][rank] = NOBODY;
        }
    }
}

/* ---- The circle. ---- */

/* The arcs: in each round all nodes in an order of their own, each with its part of its share of primaries. */
static void make_circle(struct placement_work *work)
{
    uint64_t order[PLACEMENT_MEMBERS_MAX];
    uint32_t slot = 0;
    uint64_t at = 0; /* Where the arc ends, times rounds, in 2^-20 slots. */

    work->arc_count = 0;
    for (uint32_t round = 0; round < PLACEMENT_ROUNDS; round++) {
        for (uint32_t i = 0; i < work->node_count; i++) {
            uint64_t hash = mix64((uint64_t)work->nodes[i].number << 32 | (round + 1));
            order[i] = (hash & ~(uint64_t)0xffff) | i;
        }
        for (uint32_t i = 1; i < work->node_count; i++) {
            uint64_t moved = order[i];
            uint32_t j = i;
            for (; j > 0 && order[j - 1] > moved; j--) {
                order[j] = order[j - 1];
            }
            order[j] = moved;
        }
        for (uint32_t i = 0; i < work->node_count; i++) {
            uint16_t node = (uint16_t)order[i];
            at += work->nodes[node].primaries;
            uint64_t end = at / PLACEMENT_ROUNDS >> 20;
            while (slot < end && slot < SLOT_COUNT) {
                work->slot_arcs[slot++] = (uint16_t)work->arc_count;
            }
            work->arc_nodes[work->arc_count++] = node;
        }
    }
    while (slot < SLOT_COUNT) { /* What was lost by rounding down. */
        work->slot_arcs[slot++] = (uint16_t)(work->arc_count - 1);
    }
}

/* ---- All of it. ---- */

/* What can stay as it is. */
static void keep(struct placement_work *work)
{
    for (uint32_t slot = 0; slot < SLOT_COUNT; slot++) {
        for (uint32_t rank = 0; rank < work->replicas; rank++) {
            uint16_t node = work->before[slot][rank];
            if (node != NOBODY && placement_fits(work, slot, rank, node)) {
                placement_put(work, slot, rank, node);
            }
        }
    }
}

int placement_make(struct placement_work *work, const struct placement_member members[],
                   uint32_t count, uint32_t replicas, const struct slot_owners before[SLOT_COUNT],
                   struct slot_owners after[SLOT_COUNT])
{
    int rc = check_members(members, count, replicas);

    if (rc != 0) {
        return rc;
    }
    take_members(work, members, count);
    take_before(work, before);
    work->replicas = replicas < work->node_count ? replicas : work->node_count;
    if (work->node_count > 0) {
        work->steps = PLACEMENT_STEPS_MAX;
        work->cheap = false;
        placement_shares(work);
        make_circle(work);
        keep(work);
        placement_first(work);
        placement_rest(work);
        placement_order(work);
    }
    memset(after, 0, SLOT_COUNT * sizeof after[0]);
    for (uint32_t slot = 0; slot < SLOT_COUNT; slot++) {
        for (uint32_t rank = 0; rank < work->replicas; rank++) {
            after[slot].nodes[rank] = work->nodes[work->after[slot][rank]].number;
        }
    }
    return 0;
}
