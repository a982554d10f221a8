/* The cluster's map as JSON documents for belayctl: the keys are an interface, and new ones are only ever added.
 *
 *   nodes   cluster epoch replicas leader self      the last three are numbers of nodes; leader 0: nobody now
 *           nodes [{number name state zone region weight weight_to ramp_ms host native cluster peer http start shards
 *                   slots_primary slots_copy slots_coming link records_behind bytes_behind behind_ms}]
 *   ring    epoch replicas
 *           runs [{first last owners targets}]      slots that are held alike; lists of names, the primary first
 *           nodes [{number name zone state}]
 *   slot    slot epoch
 *           owners [{number name rank state link}]  targets, homes: the same
 *   step    number name state slots weight weight_to ramp_ms removed epoch   a node that is changed; slots are those it owns
 *
 * A state is joining, active, degraded, draining, down or left. `native` and the other three are ADDR:PORT. slots_copy
 * are slots of which the node is an owner but not the primary, slots_coming those that it is to own and does not yet.
 * weight_to is where the weight goes in ramp_ms more, or is. A link is self, up or down, as the node that answers sees it; behind is what that one has sent there and has not been
 * told to have arrived.
 *
 * Memory: documents for free(). Threads: the caller's.
 */
#ifndef MAP_PAGE_H
#define MAP_PAGE_H

#include "map.h"

/* How another node is to this one. */
struct map_page_link {
    bool up;
    bool votes; /* It is one of those that decide changes of the map, this node included. */
    uint64_t records_behind, bytes_behind, behind_ms;
};

struct map_page {
    const struct map *map;
    uint32_t self, leader;
    /* Of each member, in the order of the map. */
    const struct map_page_link *links;
};

/* How many slots a member holds. */
struct map_page_slots {
    uint32_t primary, copy, coming;
};

/* Of each member, in the order of the map, which has so many at least. */
void map_page_count(const struct map *map, struct map_page_slots slots[]);

/* What an operator asked for has become of a node so far; without a member of that number it is out. */
struct map_step {
    uint32_t number;
    const struct map_text *name;
    uint32_t slots;    /* That it owns. */
    uint64_t given_up; /* About so many sessions went with it that nobody else had. */
};

const char *map_page_state(enum map_state state);

/* Return memory for free(), or NULL where there is none. `slot` is below SLOT_COUNT. */
char *map_page_nodes(const struct map_page *page);
char *map_page_ring(const struct map_page *page);
char *map_page_step(const struct map *map, const struct map_step *step);
char *map_page_slot(const struct map_page *page, uint32_t slot);

#endif
