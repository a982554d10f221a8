/* The ring: which nodes hold each slot, its primary and its successors.
 *
 * Asked at once: shares of the weights, exact to a slot; nearly nothing moved by a change; copies on distinct nodes
 * and in distinct zones. Random points on a circle (Karger et al., "Consistent Hashing and Random Trees", 1997) move
 * little, but their shares are off by a quarter with 16 points a node. Equal parts dealt out to nodes (DeCandia et
 * al., "Dynamo", 2007, section 6.2, strategy 3) have exact shares, but successors are whoever comes next, and so
 * neither their shares nor their zones stay right when nodes come and go. So this is consistent hashing with bounded
 * loads (Mirrokni, Thorup, Zadimoghaddam, 2016), with a bound for each rank, that begins from the owners before:
 *
 *   circle  Each node has PLACEMENT_ROUNDS arcs, one in each round, of a length by its weight; in each round the
 *           nodes stand in another order, so that their neighbours differ.
 *   shares  For r = 1, 2, ... a node has a part of all copies of ranks 1 to r, in proportion to its weight. No zone may
 *           have more than one copy of a slot while there are zones without one; what a zone has too much for that
 *           the others get, in proportion. Of parts that are no whole numbers those are rounded up that first have a
 *           use for it. For r = 1 the parts are kept exactly; above, a node may have a sixteenth and two copies more
 *           where less moves by that.
 *   rank r  A slot keeps, of those that had it in ranks 1 to r, one that it has not yet in a rank below, if that node's
 *           share has room. Where a node must give slots away, it is those nearest before the arcs of the nodes that
 *           grow. A slot that keeps nobody goes to one that had it in a higher rank, else it walks clockwise from its
 *           own arc to the next distinct node, in another zone, with room; when there is none it changes places with
 *           a slot where that helps. Where nothing does, the share gives way, never the zones. A zone (or node) that
 *           needs every slot still left without it comes first. At the end slots change places where less moves then.
 *
 * So a node that joins takes copies from all, and next to nothing moves between the others; of a node that leaves,
 * little more than what it had is copied, and its slots go first to nodes that have them. The ranks are settled one by one, so what moves is
 * little for every smaller number of replicas as well. The placement depends on the owners before, so it is agreed on
 * and stored; nodes that compute it from the same owners get the same.
 *
 * How well, with 3 replicas, measured over 120 clusters of 2 to 256 nodes in 1, 2, 3 or 5 zones, twenty changes each, of
 * which tests/unit/test_placement.c runs and prints 19: shares of primaries are within one slot, no more primaries move
 * than must, and zones are never broken. Of all copies the twenty changes together move at most 1.07 times the least.
 * A single change may move more than 1.1 times that: in about half of the clusters one does, mostly below 1.3, the
 * worst, with a handful of nodes in unequal zones, 4.6 times. The least is what the loads after it ask for, and these
 * have some slack; changes that ask for fewer than 64 copies are not in the figures of single ones. In ranks 2 and up
 * the worst node of a cluster with 16 nodes or more has 8 % more or less than its part where weights are equal, 12 %
 * where they are within 1 to 4 (both in the median of clusters). Nodes of a hundredth of the others' weight may have
 * several times their few copies.
 *
 * The order in which members are given does not matter. Memory: a `struct placement_work` of the caller's, about
 * 600 KiB, of no meaning between calls. Threads: any, each with its own. Time: 20 ms for 256 nodes, 50 at most in those clusters.
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
struct placement_node {
    uint32_t number, weight, zone; /* The zone counted from 0. */
    uint32_t load;                 /* Copies it has by now, in the ranks settled so far. */
    uint32_t share;                /* Copies it may have, in those and the rank at hand. */
    uint32_t group;                /* Of those whose shares are rounded together. */
    uint32_t slack;                /* How much above it may go, so that less moves. */
    bool fraction;                 /* Its share may be raised by one. */
    bool grows;                    /* It must take more slots than want to keep it. */
    uint32_t wanted;               /* Slots that would keep it in the rank at hand. */
    uint64_t ideal;                /* The share before it was rounded, in 2^-20. */
};

struct placement_work {
    struct placement_node nodes[PLACEMENT_MEMBERS_MAX];
    uint32_t node_count, zone_count, replicas;
    uint32_t rank; /* At hand, from 0. */
    uint64_t zone_weights[PLACEMENT_MEMBERS_MAX];
    uint32_t
        raises[PLACEMENT_MEMBERS_MAX]; /* Of each group: how many shares are still to be raised. */
    uint32_t
        group_rooms[PLACEMENT_MEMBERS_MAX]; /* Slots that its nodes can take, these included. */
    uint32_t given;                         /* Slots that have an owner in this rank. */
    /* For each kind (what must be distinct: zone or node): with so many given, every slot left that lacks it is needed
     * for its room. And the kinds of which that is so, looked for again when so many are given. */
    uint32_t limits[PLACEMENT_MEMBERS_MAX];
    uint32_t needed_count, needed_next;
    uint16_t needed[PLACEMENT_MEMBERS_MAX];
    int exchange_cost; /* No exchange was found that moves less. */
    uint32_t steps;    /* Slots looked at in this rank to change places; there is a limit. */
    /* Of each node the slots, in lists, that could go on to another node at no cost: those that are new to it, or that
     * could keep another one. And the search along them: which nodes were reached, from where, by which slot. */
    uint16_t list_heads[PLACEMENT_MEMBERS_MAX], list_nexts[SLOT_COUNT];
    uint16_t reached_from[PLACEMENT_MEMBERS_MAX], reached_by[PLACEMENT_MEMBERS_MAX];
    uint8_t hopeless[PLACEMENT_MEMBERS_MAX][PLACEMENT_MEMBERS_MAX];
    uint16_t before[SLOT_COUNT][PLACEMENT_REPLICAS_MAX];
    uint16_t after[SLOT_COUNT][PLACEMENT_REPLICAS_MAX];
    uint32_t arc_count;
    uint16_t arc_nodes[PLACEMENT_MEMBERS_MAX * PLACEMENT_ROUNDS]; /* Clockwise from slot 0. */
    uint16_t
        arc_nexts[PLACEMENT_MEMBERS_MAX * PLACEMENT_ROUNDS]; /* Arcs from here to one with room. */
    uint16_t slot_arcs[SLOT_COUNT];
    uint16_t distances[SLOT_COUNT]; /* Slots from here to the next arc of a node that grows. */
    uint64_t order[SLOT_COUNT];
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
