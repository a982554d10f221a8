/* What changes the map: commands, which are entries of Raft's log. Every node applies the same ones in the same order to
 * the same map and has the same map after each.
 *
 * Encoded: 1 MAP_COMMAND_VERSION, 1 type, then what the type has, in this order, as in map.h:
 *
 *   ADD          varint number (0: the next one), varint weight, strings name, zone, region, place
 *   PLACE        varint number, place: string host, 2 each ports, varint start, varint shards
 *   WEIGHT       varint number, varint weight
 *   STATE        varint number, 1 state, varint cooldown_ms
 *   REMOVE       varint number
 *   POLICY_SET   policy as in the map
 *   POLICY_REMOVE  string prefix
 *   REPLICAS     varint replicas
 *   CONDITION    varint number, 1 condition
 *   SETTLE       varint first slot, varint slots, 1 nodes, varint number of each
 *
 * Memory: a command is plain data. Threads: any.
 */
#ifndef MAP_COMMAND_H
#define MAP_COMMAND_H

#include "map.h"

enum { MAP_COMMAND_VERSION = 1 };

enum map_command_type {
    MAP_ADD = 1,
    MAP_PLACE,
    MAP_WEIGHT,
    MAP_STATE,
    MAP_REMOVE,
    MAP_POLICY_SET,
    MAP_POLICY_REMOVE,
    MAP_REPLICAS,
    MAP_SETTLE,
    MAP_CONDITION,
};

struct map_command {
    enum map_command_type type;
    uint32_t number; /* ADD, PLACE, WEIGHT, STATE, REMOVE, CONDITION. */
    uint32_t weight; /* ADD, WEIGHT. */
    uint32_t replicas;
    enum map_state state;
    uint32_t cooldown_ms;               /* STATE: to DOWN, else 0. */
    uint8_t condition;                  /* CONDITION: of CONDITION_OWN (liveness.h). */
    struct map_text name, zone, region; /* ADD. */
    struct map_place place;             /* ADD, PLACE. */
    struct policy policy;               /* POLICY_SET; of POLICY_REMOVE the prefix. */
    uint32_t slot, slot_count;          /* SETTLE: these slots... */
    struct slot_owners owners;          /* ... to these owners. */
};

/* Append the encoding. Returns 0, or -ENOMEM with `to` as it was. */
int map_command_encode(const struct map_command *command, struct buffer *to);

/* Returns 0; -EPROTONOSUPPORT: of another version; -EBADMSG. `command` is of no use then. */
int map_command_decode(struct bytes from, struct map_command *command);

/* Apply one. Returns 0 with the epoch one more; else nothing has changed:
 *   -EALREADY  it is so already
 *   -EINVAL    a value is out of its limits
 *   -ENOENT    no such member, or policy
 *   -EEXIST    ADD: the number was given already, or the name is another member's
 *   -E2BIG     ADD, POLICY_SET: there are as many as there may be
 *   -EPERM     STATE, CONDITION: not from its present state
 *   -EBUSY     REMOVE of one that is neither down, left nor joining; LEFT while it still owns slots
 *   -ESTALE    SETTLE: these are not the targets of all these slots (any more)
 *
 * ADD: the member is JOINING. STATE: JOINING to ACTIVE or LEFT; ACTIVE and DEGRADED to each other and to DRAINING;
 * DRAINING to ACTIVE or LEFT; LEFT to JOINING; each but LEFT to DOWN, and from there to what it was before or to LEFT.
 * STATE to DEGRADED is an operator's word, and to ACTIVE from there says that nothing is wrong; CONDITION is what the
 * node finds itself: it degrades one that is active, and makes it active again when nothing is left, the operator's
 * word included. Of one that is down that is what it comes back to. DOWN with cooldown_ms 0 keeps that of before.
 * DOWN takes the member out of the owners of each slot that has another one. Of a slot whose only owner is given up
 * (REMOVE, or LEFT of one that is down) the targets own what is not there any more: who gives up must know.
 * ACTIVE, WEIGHT, REPLICAS and the like change the homes; a slot without any owner has its targets at once, the others
 * are to be settled. */
int map_apply(struct map *map, struct placement_work *work, const struct map_command *command);

#endif
