/* The slot table: what a shard's thread knows of the map.
 *
 * The control thread makes one from each new map and gives it to the shards, which only read it. A slot's owners serve
 * it, the primary first; its targets should own it by now (map.h), and where these differ, the ones that are no owners
 * yet get all that happens and are brought level.
 *
 * Memory: plain data, about 850 KiB; owns nothing. Threads: never changes once it is made, so any may read it.
 */
#ifndef SLOT_TABLE_H
#define SLOT_TABLE_H

#include <stdbool.h>
#include <stdint.h>

#include "map.h"
#include "placement.h"
#include "slot.h"

struct slot_table_member {
    uint32_t number, start, shards; /* As in the map: start 0 is not known. */
    bool serves;                    /* Active, degraded or draining. */
    bool left;  /* It holds nothing, and passes on what it is asked as long as it runs. */
    bool apart; /* Not of the map: for its clock it does not talk to this node. */
    bool
        degraded; /* It cannot store what comes: others coordinate for it, and do not wait for its copies. */
    bool
        hands_on; /* Somebody said that it is degraded: the next owner coordinates creates of its slots. */
    uint16_t ports[MAP_PORTS];
    char host[HOST_BYTES_MAX + 1];
};

struct slot_table {
    uint64_t epoch;
    /* Not of the map: this node has kept it over its start, and not heard yet that it is the present one. Others may own
     * by now what it says is this node's. */
    bool kept;
    uint32_t self, replicas;
    uint32_t member_count;
    struct slot_table_member members[MAP_MEMBERS_MAX]; /* In order of number. */
    struct slot_owners owners[SLOT_COUNT], targets[SLOT_COUNT];
    uint64_t lost[SLOT_COUNT]; /* As in the map... */
    uint32_t lost_count;       /* ... and of how many slots that is not 0. */
};

/* Make the table of a map, for the node of this number. 0.2 ms for 5 nodes, 2 ms for 256. */
void slot_table_make(struct slot_table *table, const struct map *map, uint32_t self);

/* By number; NULL where there is none. */
const struct slot_table_member *slot_table_member(const struct slot_table *table, uint32_t number);

/* Does any owner of the slot not talk to this node, for its clock? */
bool slot_table_is_apart(const struct slot_table *table, uint32_t slot);

/* The place of a node among owners, from 0; PLACEMENT_REPLICAS_MAX where it is none of them. */
static inline uint32_t slot_owners_rank(const struct slot_owners *owners, uint32_t number)
{
    uint32_t rank = 0;

    while (rank < PLACEMENT_REPLICAS_MAX && (number == 0 || owners->nodes[rank] != number)) {
        rank++;
    }
    return rank;
}

static inline bool slot_owners_has(const struct slot_owners *owners, uint32_t number)
{
    return slot_owners_rank(owners, number) < PLACEMENT_REPLICAS_MAX;
}

#endif
