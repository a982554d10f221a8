/* Primaries: who has too few takes them, with the slot's other copies moved as little as can be. */
#include <string.h>

#include "placement_state.h"

/* What a slot would be like. */
struct plan {
    uint16_t nodes[PLACEMENT_REPLICAS_MAX];
    uint16_t dropped; /* Who has it no more, or NOBODY. */
    bool is_new;      /* The primary had no copy. */
};

static bool zone_clashes(const struct placement_work *work, const struct plan *plan, uint32_t rank,
                         uint16_t node)
{
    for (uint32_t i = 0; i < work->replicas && i < work->zone_count && rank < work->zone_count;
         i++) {
        if (i != rank && plan->nodes[i] != NOBODY &&
            work->nodes[plan->nodes[i]].zone == work->nodes[node].zone) {
            return true;
        }
    }
    return false;
}

/* Where the primary before may go instead of being dropped: to the place of one who has too much. */
static uint32_t place_for(const struct placement_work *work, const struct plan *plan, uint16_t node)
{
    if (placement_gives(&work->nodes[node].all, PLACEMENT_MUST)) {
        return 0;
    }
    for (uint32_t rank = 1; rank < work->replicas; rank++) {
        uint16_t other = plan->nodes[rank];
        if (other != NOBODY && placement_gives(&work->nodes[other].all, PLACEMENT_MUST) &&
            !zone_clashes(work, plan, rank, node)) {
            return rank;
        }
    }
    return 0;
}

static struct plan plan_for(const struct placement_work *work, uint32_t slot, uint16_t node)
{
    const uint32_t had = placement_rank(work, slot, node);
    struct plan plan = {.dropped = NOBODY, .is_new = had == PLACEMENT_REPLICAS_MAX};

    memcpy(plan.nodes, work->after[slot], sizeof plan.nodes);
    const uint16_t first = plan.nodes[0];
    uint32_t rank = had;
    plan.nodes[0] = node;
    for (uint32_t i = 1; i < work->replicas && i < work->zone_count && i != had; i++) {
        if (plan.nodes[i] != NOBODY && work->nodes[plan.nodes[i]].zone == work->nodes[node].zone) {
            plan.dropped = plan.is_new ? plan.nodes[i] : NOBODY;
            rank = i;
        }
    }
    if (rank != had && !plan.is_new) { /* All three change places. */
        plan.nodes[had] = plan.nodes[rank];
    }
    if (rank < PLACEMENT_REPLICAS_MAX) { /* They change places. */
        plan.nodes[rank] = NOBODY;
        if (first != NOBODY && !zone_clashes(work, &plan, rank, first)) {
            plan.nodes[rank] = first;
        } else if (first != NOBODY) {
            plan.dropped = first;
        }
    } else if (first != NOBODY) {
        rank = place_for(work, &plan, first);
        plan.dropped = rank > 0 ? plan.nodes[rank] : first;
        plan.nodes[rank] = rank > 0 ? first : node;
    }
    return plan;
}

/* Is who gets a copy by it to have one more, and who loses one to have one less? */
static bool is_fair(const struct placement_work *work, const struct plan *plan,
                    enum placement_need need)
{
    return (!plan->is_new || placement_takes(&work->nodes[plan->nodes[0]].all, need)) &&
           (plan->dropped == NOBODY || placement_gives(&work->nodes[plan->dropped].all, need));
}

/* Is it right for the later ranks, too? */
static bool fits_ranks(const struct placement_work *work, uint32_t slot, const struct plan *plan)
{
    for (uint32_t rank = 1; rank < work->replicas; rank++) {
        uint16_t from = work->after[slot][rank], to = plan->nodes[rank];
        if (from != to &&
            ((from != NOBODY && !placement_gives(&work->nodes[from].ranks[rank], PLACEMENT_MAY)) ||
             (to != NOBODY && !placement_takes(&work->nodes[to].ranks[rank], PLACEMENT_MAY)))) {
            return false;
        }
    }
    return true;
}

static void follow(struct placement_work *work, uint32_t slot, const struct plan *plan)
{
    for (uint32_t rank = 0; rank < work->replicas; rank++) {
        placement_put(work, slot, rank, NOBODY);
    }
    for (uint32_t rank = 0; rank < work->replicas; rank++) {
        placement_put(work, slot, rank, plan->nodes[rank]);
    }
}

/* How much copies are cared for. */
enum fairness { FAIR, NEARLY_FAIR, UNFAIR, FAIRNESSES };

/* A way to go through the slots once. */
struct pass {
    bool holes; /* Slots without a primary; else those of who gives. */
    enum placement_need gives, takes;
    bool members; /* To one that has a copy; else to the next clockwise. */
    bool by_rank; /* Only where it is right for the other ranks that change as well. */
    enum fairness fair;
};

static bool is_giving(const struct placement_work *work, const struct pass *pass, uint32_t slot)
{
    uint16_t first = work->after[slot][0];

    return pass->holes
               ? first == NOBODY
               : first != NOBODY && placement_gives(&work->nodes[first].ranks[0], pass->gives);
}

static bool is_taking(const struct placement_work *work, const struct pass *pass, uint16_t node)
{
    return placement_takes(&work->nodes[node].ranks[0], pass->takes);
}

static bool try(struct placement_work *work, const struct pass *pass, uint32_t slot, uint16_t node)
{
    const struct plan plan = plan_for(work, slot, node);

    if (node == work->after[slot][0] || (pass->by_rank && !fits_ranks(work, slot, &plan)) ||
        (pass->fair != UNFAIR &&
         !is_fair(work, &plan, pass->fair == FAIR ? PLACEMENT_MUST : PLACEMENT_MAY))) {
        return false;
    }
    follow(work, slot, &plan);
    return true;
}

/* Returns whether somebody took it. */
static bool give_to_member(struct placement_work *work, const struct pass *pass, uint32_t slot)
{
    for (uint32_t rank = 1; rank < work->replicas; rank++) {
        uint16_t node = work->after[slot][rank];
        if (node != NOBODY && is_taking(work, pass, node) && try(work, pass, slot, node)) {
            return true;
        }
    }
    return false;
}

/* Who cannot take it at one arc cannot at another: each is tried once. */
static bool give_clockwise(struct placement_work *work, const struct pass *pass, uint32_t slot)
{
    uint64_t tried[PLACEMENT_MEMBERS_MAX / 64] = {0};
    uint32_t untried = work->wanted_count;
    uint32_t arc = work->slot_arcs[slot];

    for (uint32_t left = work->arc_count; left > 0;) {
        uint32_t next = placement_next_arc(work, arc);
        uint32_t steps = (next + work->arc_count - arc) % work->arc_count;
        if (steps >= left) {
            return false;
        }
        uint16_t node = work->arc_nodes[next];
        const bool again = (tried[node / 64] >> node % 64 & 1) != 0;
        if (!again && try(work, pass, slot, node)) {
            if (!is_taking(work, pass, node)) {
                (void)placement_mark(work, true, pass->takes);
            }
            return true;
        }
        untried -= !again;
        if (untried == 0) {
            return false;
        }
        tried[node / 64] |= UINT64_C(1) << node % 64;
        left -= steps + 1;
        arc = (next + 1) % work->arc_count;
    }
    return false;
}

static bool any_gives(const struct placement_work *work, const struct pass *pass)
{
    uint32_t placed = 0;
    bool any = false;

    for (uint32_t i = 0; i < work->node_count; i++) {
        placed += work->nodes[i].ranks[0].load;
        any = any || placement_gives(&work->nodes[i].ranks[0], pass->gives);
    }
    return pass->holes ? placed < SLOT_COUNT : any;
}

static void go_through(struct placement_work *work, const struct pass *pass)
{
    if (!any_gives(work, pass) || !placement_mark(work, true, pass->takes)) {
        return;
    }
    placement_order_slots(work);
    for (uint32_t i = 0; i < SLOT_COUNT; i++) {
        uint32_t slot = work->order[i];
        if (!is_giving(work, pass, slot)) {
            continue;
        }
        bool given =
            pass->members ? give_to_member(work, pass, slot) : give_clockwise(work, pass, slot);
        if (given && placement_next_arc(work, 0) == work->arc_count) {
            return; /* Nobody takes any more. */
        }
    }
}

/* To those that have a copy, then to others. */
static void go_both_ways(struct placement_work *work, struct pass pass)
{
    for (int by_rank = 1; by_rank >= 0; by_rank--) {
        pass.by_rank = by_rank > 0;
        pass.members = true;
        go_through(work, &pass);
        pass.members = false;
        go_through(work, &pass);
    }
}

void placement_first(struct placement_work *work)
{
    static const enum placement_need ways[][2] = {{PLACEMENT_MUST, PLACEMENT_MUST},
                                                  {PLACEMENT_MUST, PLACEMENT_MAY},
                                                  {PLACEMENT_MAY, PLACEMENT_MUST}};

    for (int takes = PLACEMENT_MUST; takes <= PLACEMENT_MAY; takes++) {
        for (int fair = FAIR; fair < FAIRNESSES; fair++) {
            go_both_ways(work, (struct pass){.holes = true,
                                             .takes = (enum placement_need)takes,
                                             .fair = (enum fairness)fair});
        }
    }
    for (int way = 0; way < 3; way++) {
        for (int fair = FAIR; fair < FAIRNESSES; fair++) {
            const struct placement_chain chain = {
                .order = true, .gives = ways[way][0], .takes = ways[way][1], .change_max = 1};
            go_both_ways(work, (struct pass){.gives = ways[way][0],
                                             .takes = ways[way][1],
                                             .fair = (enum fairness)fair});
            if (fair == FAIR) {
                placement_follow_chains(work, &chain);
            }
        }
    }
}
