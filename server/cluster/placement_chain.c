/* Chains: where nobody who gives has a slot that somebody who takes may have, others come in between. */
#include <string.h>

#include "placement_state.h"

/* This part of the steps that are left. */
enum { UNDO_PART = 2 };

static const struct placement_bounds *bounds_of(const struct placement_work *work,
                                                const struct placement_chain *chain, uint16_t node)
{
    const struct placement_node *of = &work->nodes[node];

    return chain->order ? &of->ranks[chain->rank] : &of->all;
}

static bool gives(const struct placement_work *work, const struct placement_chain *chain,
                  uint16_t node)
{
    return placement_gives(bounds_of(work, chain, node), chain->gives);
}

static bool takes(const struct placement_work *work, const struct placement_chain *chain,
                  uint16_t node)
{
    return placement_takes(bounds_of(work, chain, node), chain->takes);
}

/* What it costs that a slot goes from one node to another: 1 where that changes nothing, less where it undoes a
 * change. */
static uint32_t cost(const struct placement_work *work, const struct placement_chain *chain,
                     uint32_t slot, uint16_t from, uint16_t to)
{
    const uint32_t ranks = chain->order ? chain->rank + 1 : work->replicas;

    return 1U + !placement_had(work, slot, ranks, to) -
           (from != NOBODY && !placement_had(work, slot, ranks, from));
}

/* The first rank from `rank` on by which `from` may pass the slot on to `to`; of `order` that in which `to` is.
 * PLACEMENT_REPLICAS_MAX: there is none. */
static uint32_t way(const struct placement_work *work, const struct placement_chain *chain,
                    uint32_t slot, uint16_t from, uint16_t to)
{
    const uint16_t *has = work->after[slot];
    uint32_t rank = chain->order ? chain->rank + 1 : 1;

    if (chain->order && has[chain->rank] != from) {
        return PLACEMENT_REPLICAS_MAX;
    }
    for (; rank < work->replicas; rank++) {
        if (chain->order ? has[rank] == to && placement_may_swap(work, slot, chain->rank, rank)
                         : has[rank] == from && placement_fits(work, slot, rank, to)) {
            return rank;
        }
    }
    return PLACEMENT_REPLICAS_MAX;
}

/* ---- The search ---- */

static void reach(struct placement_work *work, const struct placement_chain *chain, uint32_t slot,
                  uint16_t index, uint16_t to)
{
    const uint16_t from = index == work->node_count ? NOBODY : index;
    uint32_t distance = work->distances[index];

    if (distance >= work->distances[to]) {
        return;
    }
    uint32_t more = cost(work, chain, slot, from, to);
    distance += more;
    if (distance < work->distances[to] && (more <= 1 || !work->cheap) &&
        way(work, chain, slot, from, to) < PLACEMENT_REPLICAS_MAX) {
        work->distances[to] = distance;
        work->reached_from[to] = index;
        work->reached_slot[to] = (uint16_t)slot;
    }
}

/* Whom could this slot go to from there? */
static void reach_all(struct placement_work *work, const struct placement_chain *chain,
                      uint32_t slot, uint16_t index)
{
    const uint16_t from = index == work->node_count ? NOBODY : index;
    const uint16_t *has = work->after[slot];
    bool here = chain->order && has[chain->rank] == from;

    for (uint32_t rank = chain->rank + 1; here && rank < work->replicas; rank++) {
        if (has[rank] != NOBODY) {
            reach(work, chain, slot, index, has[rank]);
        }
    }
    for (uint32_t rank = 1; !chain->order && !here && rank < work->replicas; rank++) {
        here = has[rank] == from;
    }
    for (uint32_t to = 0; here && !chain->order && to < work->node_count; to++) {
        reach(work, chain, slot, index, (uint16_t)to);
    }
    uint32_t steps = here && !chain->order ? work->node_count : 1;
    work->steps -= work->steps < steps ? work->steps : steps;
}

static uint16_t nearest(struct placement_work *work)
{
    uint16_t best = NOBODY;

    for (uint32_t i = 0; i <= work->node_count; i++) {
        if (!work->visited[i] && work->distances[i] != UINT32_MAX &&
            (best == NOBODY || work->distances[i] < work->distances[best])) {
            best = (uint16_t)i;
        }
    }
    if (best != NOBODY) {
        work->visited[best] = true;
    }
    return best;
}

static void forget(struct placement_work *work)
{
    memset(work->reached_from, 0xff, sizeof work->reached_from);
    memset(work->distances, 0xff, sizeof work->distances);
    memset(work->visited, 0, sizeof work->visited);
}

static void begin(struct placement_work *work, const struct placement_chain *chain)
{
    forget(work);
    if (chain->holes) {
        work->distances[work->node_count] = 0;
    }
    for (uint32_t i = 0; i < work->node_count && !chain->holes; i++) {
        if (gives(work, chain, (uint16_t)i)) {
            work->distances[i] = 0;
        }
    }
}

/* Go to the nearest that was not asked yet, and on from there. Returns it, or NOBODY. */
static uint16_t step(struct placement_work *work, const struct placement_chain *chain,
                     uint16_t from)
{
    for (uint32_t slot = 0; slot < SLOT_COUNT; slot++) {
        reach_all(work, chain, slot, from);
    }
    return nearest(work);
}

/* The cheapest way (Dijkstra, 1959). Index node_count stands for the places without a node. Returns who takes, or
 * NOBODY. */
static uint16_t search(struct placement_work *work, const struct placement_chain *chain)
{
    begin(work, chain);
    for (uint16_t from = nearest(work); from != NOBODY && work->steps > 0;
         from = step(work, chain, from)) {
        if (from < work->node_count && work->reached_from[from] != NOBODY &&
            takes(work, chain, from)) {
            return from;
        }
    }
    return NOBODY;
}

/* ---- Following ---- */

/* The links of a chain, from who takes on: each node, and the slot by which it got one from the next. */
struct links {
    uint32_t count;
    uint16_t nodes[PLACEMENT_MEMBERS_MAX + 1];
    uint32_t slots[PLACEMENT_MEMBERS_MAX], costs[PLACEMENT_MEMBERS_MAX];
};

static void trace(const struct placement_work *work, const struct placement_chain *chain,
                  uint16_t to, struct links *links)
{
    links->count = 0;
    while (to < work->node_count && work->reached_from[to] != NOBODY) {
        uint16_t index = work->reached_from[to];
        uint16_t from = index == work->node_count ? NOBODY : index;
        links->nodes[links->count] = to;
        links->slots[links->count] = work->reached_slot[to];
        links->costs[links->count] = cost(work, chain, work->reached_slot[to], from, to);
        links->count++;
        to = index;
    }
    links->nodes[links->count] = to == work->node_count ? NOBODY : to;
}

/* Move each link on to the next slot that costs as little. Returns whether all have one. */
static bool advance(const struct placement_work *work, const struct placement_chain *chain,
                    struct links *links)
{
    for (uint32_t i = 0; i < links->count; i++) {
        uint16_t to = links->nodes[i], from = links->nodes[i + 1];
        while (links->slots[i] < SLOT_COUNT &&
               (way(work, chain, links->slots[i], from, to) == PLACEMENT_REPLICAS_MAX ||
                cost(work, chain, links->slots[i], from, to) > links->costs[i])) {
            links->slots[i]++;
        }
        if (links->slots[i] == SLOT_COUNT) {
            return false;
        }
    }
    return true;
}

static void pass_on(struct placement_work *work, const struct placement_chain *chain,
                    const struct links *links)
{
    for (uint32_t i = 0; i < links->count; i++) {
        uint32_t slot = links->slots[i];
        uint32_t rank = way(work, chain, slot, links->nodes[i + 1], links->nodes[i]);
        if (rank == PLACEMENT_REPLICAS_MAX) {
            return; /* It crosses itself: there the rest begins another time. */
        }
        if (chain->order) {
            placement_swap(work, slot, chain->rank, rank);
        } else {
            placement_put(work, slot, rank, links->nodes[i]);
        }
    }
}

static bool goes_on(const struct placement_work *work, const struct placement_chain *chain,
                    const struct links *links)
{
    uint16_t from = links->nodes[links->count];

    return takes(work, chain, links->nodes[0]) && (from == NOBODY || gives(work, chain, from));
}

void placement_follow_chains(struct placement_work *work, const struct placement_chain *chain)
{
    struct links links;

    for (uint16_t to; (to = search(work, chain)) != NOBODY;) {
        int change = 0;
        trace(work, chain, to, &links);
        for (uint32_t i = 0; i < links.count; i++) {
            change += (int)links.costs[i] - 1;
        }
        if (chain->order && change > chain->change_max) {
            return;
        }
        do {
            pass_on(work, chain, &links);
        } while (goes_on(work, chain, &links) && advance(work, chain, &links));
    }
}

/* ---- Undoing ---- */

/* Is there a way from one node to another on which nothing is changed that was not before? */
static bool find_back(struct placement_work *work, const struct placement_chain *chain,
                      uint16_t from, uint16_t to)
{
    uint16_t at = from;

    forget(work);
    work->distances[from] = 0;
    work->visited[from] = true;
    work->cheap = true;
    while (at != NOBODY && at != to && work->steps > 0) {
        at = step(work, chain, at);
    }
    work->cheap = false;
    return at == to;
}

/* The slot goes back from `now` to `before`, who gives another one on, over others, until `now` has one more. */
static void undo(struct placement_work *work, const struct placement_chain *chain, uint32_t slot,
                 uint16_t now, uint16_t before)
{
    const struct placement_bounds *gives = bounds_of(work, chain, now);
    const struct placement_bounds *takes = bounds_of(work, chain, before);
    struct links links = {.count = 0};

    if (!placement_gives(gives, PLACEMENT_MAY) || !placement_takes(takes, PLACEMENT_MAY)) {
        if (work->hopeless[before][now] || !find_back(work, chain, before, now)) {
            work->hopeless[before][now] = true;
            return;
        }
        trace(work, chain, now, &links);
    }
    uint32_t rank = way(work, chain, slot, now, before);
    if (chain->order) {
        placement_swap(work, slot, chain->rank, rank);
    } else {
        placement_put(work, slot, rank, before);
    }
    pass_on(work, chain, &links);
}

void placement_undo(struct placement_work *work, const struct placement_chain *chain)
{
    const uint32_t rank_end = chain->order ? chain->rank + 1 : work->replicas;
    const uint32_t steps = work->steps, kept = steps - steps / UNDO_PART;

    memset(work->hopeless, 0, sizeof work->hopeless);
    work->steps = steps - kept;
    for (uint32_t slot = 0; slot < SLOT_COUNT && work->steps > 0; slot++) {
        for (uint32_t i = 0; i < work->replicas; i++) {
            uint16_t before = work->before[slot][i];
            for (uint32_t rank = chain->order ? chain->rank : 1; rank < rank_end; rank++) {
                uint16_t now = work->after[slot][rank];
                if (before != NOBODY && now != before && now != NOBODY &&
                    cost(work, chain, slot, now, before) == 0 &&
                    way(work, chain, slot, now, before) < PLACEMENT_REPLICAS_MAX) {
                    undo(work, chain, slot, now, before);
                }
            }
        }
    }
    work->steps += kept;
}
