/* The ring: which nodes hold each slot, its primary and its successors.
 *
 * Asked at once: shares of the weights, exact to a slot or a hundredth; hardly more moved by a change than must be;
 * copies on distinct nodes and in distinct zones. Random points on a circle (Karger et al., "Consistent Hashing and
 * Random Trees", 1997) move little, but their shares are off by a quarter with 16 points a node. Equal parts dealt out
 * to nodes (DeCandia et al., "Dynamo", 2007, section 6.2, strategy 3) have exact shares, but successors are whoever
 * comes next, and so neither their shares nor their zones stay right when nodes come and go. So this is consistent
 * hashing with bounded loads (Mirrokni, Thorup, Zadimoghaddam, 2016) with bounds for primaries, for each later rank,
 * and for all copies, which repairs the placement before: all of it stays that may, and what is too much goes to who has
 * too little.
 *
 *   circle  Each node has PLACEMENT_ROUNDS arcs, one in each round, of a length by its weight; in each round the
 *           nodes stand in another order, so that their neighbours differ.
 *   shares  For r = 1, 2, ... a node has a part of all copies of ranks 1 to r, in proportion to its weight. No zone may
 *           have more than one copy of a slot while there are zones without one; what a zone has too much for that
 *           the others get, in proportion. Bounds are the whole numbers next to that; of all copies together a
 *           hundredth more or less, of the ranks behind the first a twelfth and two slots, as their order moves nothing.
 *   first   Primaries (placement_first.c). A slot without one, or of a node that has too many, goes to one that has too
 *           few: to one with a copy of it where it can be, else clockwise from the slot's own arc to the next. Who was
 *           primary goes to the place of the copy, or to that of one who has too many.
 *   rest    Copies (placement_rest.c): the same with places that nobody has, and those of nodes that have too many.
 *           Slots nearest before the arcs of who takes them come first, so that arcs stay long.
 *   order   Who has too many slots in one of the ranks between changes places with a later copy of the slot
 *           (placement_order.c).
 *   chains  Where nobody who gives has a slot that somebody who takes may have, others come in between, by the shortest
 *           way; and what was moved in vain is undone (placement_chain.c). Where even that is no help, or the steps are
 *           used up, shares give way, never the zones.
 *
 * So a node that joins takes copies from all, and next to nothing moves between the others; of a node that leaves,
 * little more than what it had is copied. The placement depends on the owners before, so it is agreed on and stored; nodes
 * that compute it from the same owners get the same.
 *
 * What is the least that a change must move? No algorithm can move fewer copies than the nodes' shares ask for; and
 * of the slots that lose a copy, those that a node or a zone has already can only go to others
 * (tests/lib/placement_least.h); where these bounds are too low, the least is the cost of a cheapest flow
 * (tests/lib/placement_flow.h). Against that, with 3 replicas, in the 19 clusters of 2 to 256 nodes and 20 changes
 * each that tests/unit/test_placement.c runs and prints: shares of primaries are within one slot, and no more of
 * them move than must. Shares of all copies are within a hundredth or a slot (with 4 nodes in 2 zones, of which one
 * may weigh more than it can hold, within 6 %). A single change moves 0.9 times the least in the mean and at most
 * 1.1 times it, 1.12 in that cluster of 4 nodes; all changes of a cluster together at most 1.06 times what the loads
 * after them ask for. Zones are never broken. Ranks behind the first are within a twelfth and two slots of their
 * part.
 *
 * The order in which members are given does not matter. Memory: a `struct placement_work` of the caller's, about
 * 600 KiB, of no meaning between calls. Threads: any, each with its own. Time: 10 ms, where many chains are
 * searched 100 ms at most, of the processor.
 */
#ifndef PLACEMENT_H
#define PLACEMENT_H

#include <stdbool.h>
#include <stdint.h>

#include "slot.h"

enum {
    PLACEMENT_MEMBERS_MAX = 256,
    PLACEMENT_REPLICAS_MAX = 5,
    PLACEMENT_WEIGHT_MAX = 1 << 24,
    PLACEMENT_ROUNDS = 16,
};

/* One who may own slots. */
struct placement_member {
    uint32_t number; /* From 1 up. */
    uint32_t weight; /* 0: owns nothing. */
    uint32_t zone;   /* Equal numbers are one zone. */
};

/* Owners of a slot: the primary, then its successors in order; 0 where there are no more. */
struct slot_owners {
    uint32_t nodes[PLACEMENT_REPLICAS_MAX];
};

/* Private to placement*.c. Nodes go by their index in order of number. */
struct placement_bounds {
    uint32_t low, high; /* How many slots it should have: one of these. */
    uint32_t load;      /* How many it has. */
};

struct placement_node {
    uint32_t number, weight, zone;                              /* The zone counted from 0. */
    struct placement_bounds ranks[PLACEMENT_REPLICAS_MAX], all; /* In each rank, and together. */
    uint64_t ideal;     /* Copies up to the rank at hand, before they are rounded, in 2^-20. */
    uint64_t primaries; /* The same of primaries. */
};

struct placement_work {
    struct placement_node nodes[PLACEMENT_MEMBERS_MAX];
    uint32_t node_count, zone_count, replicas;
    uint32_t rank; /* At hand, from 0. */
    uint64_t zone_weights[PLACEMENT_MEMBERS_MAX];
    uint16_t before[SLOT_COUNT][PLACEMENT_REPLICAS_MAX];
    uint16_t after[SLOT_COUNT][PLACEMENT_REPLICAS_MAX];
    uint32_t arc_count;
    uint16_t arc_nodes[PLACEMENT_MEMBERS_MAX * PLACEMENT_ROUNDS]; /* Clockwise from slot 0. */
    bool wanted[PLACEMENT_MEMBERS_MAX]; /* Nodes that are looked for on the circle... */
    uint32_t wanted_count;
    uint16_t arc_nexts[PLACEMENT_MEMBERS_MAX * PLACEMENT_ROUNDS]; /* ... and the next arc of one. */
    uint16_t slot_arcs[SLOT_COUNT];
    uint16_t order[SLOT_COUNT], nears[SLOT_COUNT], counts[SLOT_COUNT]; /* Slots, in some order. */
    /* A search from node to node: from where each was reached, by which place. There is a limit to all of them. */
    uint16_t reached_from[PLACEMENT_MEMBERS_MAX], reached_slot[PLACEMENT_MEMBERS_MAX];
    uint8_t reached_rank[PLACEMENT_MEMBERS_MAX];
    uint32_t distances[PLACEMENT_MEMBERS_MAX + 1];
    bool visited[PLACEMENT_MEMBERS_MAX + 1], cheap; /* Only ways that change nothing anew. */
    bool hopeless[PLACEMENT_MEMBERS_MAX][PLACEMENT_MEMBERS_MAX]; /* There is no way. */
    uint32_t steps;
};

/* The owners after, from the owners before (NULL: there were none), which may be the same table. Of those before, who
 * is no member now or has weight 0 counts as gone. With fewer than `replicas` nodes of some weight there are fewer
 * owners; with none all are 0.
 *
 * Returns 0; with `after` unchanged -EINVAL: replicas are 0 or above PLACEMENT_REPLICAS_MAX, a number is 0, or a weight
 * above PLACEMENT_WEIGHT_MAX; -E2BIG: too many members; -EEXIST: one comes twice. */
int placement_make(struct placement_work *work, const struct placement_member members[],
                   uint32_t count, uint32_t replicas, const struct slot_owners before[SLOT_COUNT],
                   struct slot_owners after[SLOT_COUNT]);

#endif
