/* The copies behind the primaries: places without a node, and those of nodes that have too many, go to nodes that have
 * too few. */
#include <assert.h>
#include <string.h>

#include "placement_state.h"

enum giver { HOLES, NODES };

struct pass {
    enum giver giver;
    enum placement_need gives, takes;
    bool by_rank; /* Only where it is right for this rank as well. */
};

static bool is_giving(const struct placement_work *work, const struct pass *pass, uint16_t node,
                      uint32_t rank)
{
    if (node == NOBODY || pass->giver == HOLES) {
        return node == NOBODY && pass->giver == HOLES;
    }
    return placement_gives(&work->nodes[node].all, pass->gives) &&
           (!pass->by_rank || placement_gives(&work->nodes[node].ranks[rank], PLACEMENT_MAY));
}

static bool is_taking(const struct placement_work *work, const struct pass *pass, uint16_t node)
{
    return placement_takes(&work->nodes[node].all, pass->takes);
}

static bool may_take(const struct placement_work *work, const struct pass *pass, uint32_t slot,
                     uint32_t rank, uint16_t node)
{
    return is_taking(work, pass, node) &&
           (!pass->by_rank || placement_takes(&work->nodes[node].ranks[rank], PLACEMENT_MAY)) &&
           placement_fits(work, slot, rank, node);
}

/* One that had the slot, else the next clockwise. Returns it or NOBODY. */
static uint16_t find(const struct placement_work *work, const struct pass *pass, uint32_t slot,
                     uint32_t rank)
{
    for (uint32_t i = 0; i < PLACEMENT_REPLICAS_MAX; i++) {
        uint16_t node = work->before[slot][i];
        if (node != NOBODY && may_take(work, pass, slot, rank, node)) {
            return node;
        }
    }
    uint32_t arc = work->slot_arcs[slot];
    for (uint32_t left = work->arc_count; left > 0;) {
        uint32_t next = placement_next_arc(work, arc);
        uint32_t steps = (next + work->arc_count - arc) % work->arc_count;
        if (next == work->arc_count || steps >= left) {
            return NOBODY;
        }
        if (may_take(work, pass, slot, rank, work->arc_nodes[next])) {
            return work->arc_nodes[next];
        }
        left -= steps + 1;
        arc = (next + 1) % work->arc_count;
    }
    return NOBODY;
}

static bool any_gives(const struct placement_work *work, const struct pass *pass)
{
    bool any = pass->giver == HOLES;

    for (uint32_t i = 0; i < work->node_count && !any; i++) {
        any = placement_gives(&work->nodes[i].all, pass->gives);
    }
    return any;
}

static void go_through(struct placement_work *work, const struct pass *pass)
{
    if (!any_gives(work, pass) || !placement_mark(work, false, pass->takes)) {
        return;
    }
    placement_order_slots(work);
    for (uint32_t step = 1; step < work->replicas; step++) {
        const uint32_t rank = pass->giver == HOLES ? step : work->replicas - step;
        for (uint32_t i = 0; i < SLOT_COUNT; i++) {
            uint32_t slot = work->order[i];
            if (!is_giving(work, pass, work->after[slot][rank], rank)) {
                continue;
            }
            uint16_t node = find(work, pass, slot, rank);
            if (node == NOBODY) {
                continue;
            }
            placement_put(work, slot, rank, node);
            if (!is_taking(work, pass, node) && !placement_mark(work, false, pass->takes)) {
                return;
            }
        }
    }
}

/* Where nothing else helps, shares give way. */
static void fill(struct placement_work *work)
{
    for (uint32_t slot = 0; slot < SLOT_COUNT; slot++) {
        for (uint32_t rank = 0; rank < work->replicas; rank++) {
            uint16_t best = NOBODY;
            for (uint32_t i = 0; i < work->node_count && work->after[slot][rank] == NOBODY; i++) {
                const struct placement_bounds *all = &work->nodes[i].all;
                if (placement_fits(work, slot, rank, (uint16_t)i) &&
                    (best == NOBODY ||
                     (int64_t)all->load - all->high <
                         (int64_t)work->nodes[best].all.load - work->nodes[best].all.high)) {
                    best = (uint16_t)i;
                }
            }
            if (best != NOBODY) {
                placement_put(work, slot, rank, best);
            }
            assert(work->after[slot][rank] != NOBODY);
        }
    }
}

/* Nodes of zones that have no copy in the ranks that must be of distinct zones move up to where one is missing. */
static void close_up(struct placement_work *work, uint32_t slot)
{
    for (uint32_t rank = 1; rank < work->replicas && rank < work->zone_count; rank++) {
        for (uint32_t later = work->zone_count;
             later < work->replicas && work->after[slot][rank] == NOBODY; later++) {
            uint16_t node = work->after[slot][later];
            if (node == NOBODY) {
                continue;
            }
            placement_put(work, slot, later, NOBODY);
            placement_put(work, slot, placement_fits(work, slot, rank, node) ? rank : later, node);
        }
    }
}

void placement_rest(struct placement_work *work)
{
    static const struct pass passes[] = {
        {HOLES, PLACEMENT_MUST, PLACEMENT_MUST, true},
        {NODES, PLACEMENT_MUST, PLACEMENT_MUST, true},
        {HOLES, PLACEMENT_MUST, PLACEMENT_MUST, false},
        {NODES, PLACEMENT_MUST, PLACEMENT_MUST, false},
        {HOLES, PLACEMENT_MUST, PLACEMENT_MAY, true},
        {NODES, PLACEMENT_MUST, PLACEMENT_MAY, true},
        {HOLES, PLACEMENT_MUST, PLACEMENT_MAY, false},
        {NODES, PLACEMENT_MUST, PLACEMENT_MAY, false},
        {NODES, PLACEMENT_MAY, PLACEMENT_MUST, true},
        {NODES, PLACEMENT_MAY, PLACEMENT_MUST, false},
    };
    static const struct placement_chain chains[] = {
        {.holes = true, .takes = PLACEMENT_MUST},
        {.holes = true, .takes = PLACEMENT_MAY},
        {.gives = PLACEMENT_MUST, .takes = PLACEMENT_MUST},
        {.gives = PLACEMENT_MUST, .takes = PLACEMENT_MAY},
        {.gives = PLACEMENT_MAY, .takes = PLACEMENT_MUST},
    };

    for (uint32_t slot = 0; slot < SLOT_COUNT; slot++) {
        close_up(work, slot);
    }
    for (size_t i = 0; i < sizeof passes / sizeof passes[0]; i++) {
        go_through(work, &passes[i]);
    }
    for (size_t i = 0; i < sizeof chains / sizeof chains[0]; i++) {
        placement_follow_chains(work, &chains[i]);
    }
    fill(work);
    placement_undo(work, &(struct placement_chain){.holes = false});
}
