/* What the parts of placement.h's work share. They come in this order: shares, first, rest, order; chains are what the
 * last two do where nothing simple is left.
 */
#ifndef PLACEMENT_STATE_H
#define PLACEMENT_STATE_H

#include <stdbool.h>
#include <stdint.h>

#include "placement.h"

enum {
    NOBODY = UINT16_MAX,
    PLACEMENT_STEPS_MAX = 1 << 25, /* Looks at places and nodes in all searches of a placement. */
};

/* Spread near inputs far apart: the 64-bit finalizer of MurmurHash3. */
static inline uint64_t mix64(uint64_t x)
{
    x = (x ^ (x >> 33)) * UINT64_C(0xff51afd7ed558ccd);
    x = (x ^ (x >> 33)) * UINT64_C(0xc4ceb9fe1a85ec53);
    return x ^ (x >> 33);
}

/* How pressing: who is above his upper bound must give one up, who is above the lower one may. Taking is the same the
 * other way. */
enum placement_need { PLACEMENT_MUST, PLACEMENT_MAY };

static inline bool placement_gives(const struct placement_bounds *bounds, enum placement_need need)
{
    return bounds->load > (need == PLACEMENT_MUST ? bounds->high : bounds->low);
}

static inline bool placement_takes(const struct placement_bounds *bounds, enum placement_need need)
{
    return bounds->load < (need == PLACEMENT_MUST ? bounds->low : bounds->high);
}

/* ---- placement_shares.c ---- */

/* Set the bounds of each node, and the ideal number of primaries. */
void placement_shares(struct placement_work *work);

/* ---- placement_cells.c ---- */

/* May the node have the slot in this rank, whoever has it there now? Nodes are distinct, and zones in the ranks below
 * the number of zones. */
bool placement_fits(const struct placement_work *work, uint32_t slot, uint32_t rank, uint16_t node);

/* Let it have the slot in this rank, NOBODY: nobody. */
void placement_put(struct placement_work *work, uint32_t slot, uint32_t rank, uint16_t node);

/* The rank in which it has the slot; PLACEMENT_REPLICAS_MAX: in none. */
uint32_t placement_rank(const struct placement_work *work, uint32_t slot, uint16_t node);

/* Had it the slot before, in one of the first ranks, so many? */
bool placement_had(const struct placement_work *work, uint32_t slot, uint32_t ranks, uint16_t node);

/* Mark the nodes that take a primary (`primaries`), or any copy, in work->wanted. Returns whether there are any. */
bool placement_mark(struct placement_work *work, bool primaries, enum placement_need takes);
/* The circle: the next arc from this one on, clockwise, whose node is marked; arc_count: none is. */
static inline uint32_t placement_next_arc(const struct placement_work *work, uint32_t arc)
{
    return work->arc_nexts[arc];
}

/* Put all slots into work->order, those first that are the nearest before arcs of marked nodes. */
void placement_order_slots(struct placement_work *work);

/* May the two change places? */
bool placement_may_swap(const struct placement_work *work, uint32_t slot, uint32_t rank,
                        uint32_t later);
void placement_swap(struct placement_work *work, uint32_t slot, uint32_t rank, uint32_t later);

/* ---- placement_chain.c ---- */

/* From somebody who gives, over others who take one and give another, to somebody who takes. */
struct placement_chain {
    bool
        order; /* The one in `rank` changes places with a later one; else copies behind the primary move. */
    uint32_t rank;
    bool holes; /* From places without a node; else from nodes. */
    enum placement_need gives, takes;
    int change_max; /* Of `order`: those that add more changes than so many are left. */
};

/* As many as there are, the cheapest first. */
void placement_follow_chains(struct placement_work *work, const struct placement_chain *chain);

/* Where slots were changed in vain: two changes, or a chain of them, that undo each other's loads. */
void placement_undo(struct placement_work *work, const struct placement_chain *chain);

/* ---- The rest ---- */

void placement_first(struct placement_work *work);
void placement_rest(struct placement_work *work);
void placement_order(struct placement_work *work);

#endif
