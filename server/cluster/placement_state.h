/* What the parts of placement.h's work share. In the order in which each rank goes through them: shares, rooms, keep,
 * find, less.
 */
#ifndef PLACEMENT_STATE_H
#define PLACEMENT_STATE_H

#include <stdbool.h>
#include <stdint.h>

#include "placement.h"

enum {
    NOBODY = UINT16_MAX,
    NO_SLOT = UINT16_MAX,
    PLACEMENT_STEPS_MAX =
        64 * SLOT_COUNT, /* Looks at slots in a rank, for exchanges and for moving less. */
};

/* Spread near inputs far apart: the 64-bit finalizer of MurmurHash3. */
static inline uint64_t mix64(uint64_t x)
{
    x = (x ^ (x >> 33)) * UINT64_C(0xff51afd7ed558ccd);
    x = (x ^ (x >> 33)) * UINT64_C(0xc4ceb9fe1a85ec53);
    return x ^ (x >> 33);
}

/* Set the `share` of every node for the ranks up to work->rank; to be asked rank by rank from 0. Shares are rounded
 * down, and work->raises says how many nodes of each group may still be raised by one: (rank + 1) * SLOT_COUNT in all.
 * Needs `load` and `wanted`. */
void placement_shares(struct placement_work *work);

/* Start the rank's books, once there are shares. */
void placement_count_rooms(struct placement_work *work);

/* May the node have the slot in this rank? Distinct nodes; another zone, as long as there are zones without a copy; and
 * a needed zone or node if the slot lacks one. */
bool placement_fits(const struct placement_work *work, uint32_t slot, uint16_t node);

/* Slots that the node may take without a raise of its share; whether it may take one; and with its slack. */
uint32_t placement_firm_room(const struct placement_node *node);
bool placement_has_room(const struct placement_work *work, uint16_t index);
bool placement_has_slack(const struct placement_work *work, uint16_t index);

/* Let the node have the slot in this rank, or nobody again. */
void placement_give(struct placement_work *work, uint32_t slot, uint16_t node);
void placement_take_back(struct placement_work *work, uint32_t slot);

/* Had the slot this node in the ranks up to the one at hand? */
bool placement_had(const struct placement_work *work, uint32_t slot, uint16_t node);

/* Those that a slot may keep in this rank. Returns how many. */
uint32_t placement_keepable(const struct placement_work *work, uint32_t slot,
                            uint16_t nodes[PLACEMENT_REPLICAS_MAX]);

/* Would the node, of a slot that lost one of its owners, drive out another one because of its zone? */
bool placement_drives_out(const struct placement_work *work, uint32_t slot, uint16_t node);

/* Count for each node the slots that could keep it. */
void placement_count_wanted(struct placement_work *work);

void placement_keep(struct placement_work *work);
void placement_find_owners(struct placement_work *work);
void placement_move_less(struct placement_work *work);

#endif
