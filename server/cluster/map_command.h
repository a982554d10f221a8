/* What changes the map: commands, which are entries of Raft's log. Every node applies the same ones in the same order to
 * the same map and has the same map after each.
 *
 * Encoded: 1 version, 1 type, then what the type has, in this order, as in map.h:
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
 *   RAMP         varint number, varint goal (a weight), varint ramp_ms
 *   RAMP_STEP    varint number, varint goal, varint weight, varint ramp_ms (left after it)
 *   SETTLE       runs up to the end, at least one: varint slots between the end of the run before (of the first: slot 0)
 *                and this one, varint slots, 1 nodes, varint number of each
 *   LOSE         varint number
 *   RESTORED     varint number, varint epoch, then runs as of a SETTLE, with no nodes
 *
 * The version is 1, but 2 for a SETTLE of several runs, 3 for RAMP and RAMP_STEP, and 4 for LOSE and RESTORED, which those
 * before did not have: so nodes that do not know them say so.
 *
 * Memory: a command is plain data, but for the runs of a SETTLE, which are somebody else's bytes: the decoder's input, or
 * what map_run_put() wrote. Threads: any.
 */
#ifndef MAP_COMMAND_H
#define MAP_COMMAND_H

#include "map.h"

enum {
    MAP_COMMAND_VERSION_FIRST = 1,
    MAP_COMMAND_VERSION_RUNS = 2,
    MAP_COMMAND_VERSION_RAMPS = 3,
    MAP_COMMAND_VERSION_LOST = 4,
    MAP_COMMAND_VERSION = MAP_COMMAND_VERSION_LOST, /* The newest. */
    /* Of a SETTLE's runs: with 5 replicas and numbers below 256 each slot may be a run. */
    MAP_RUNS_BYTES_MAX = 256 * 1024,
};

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
    MAP_RAMP,
    MAP_RAMP_STEP,
    MAP_LOSE,
    MAP_RESTORED,
};

struct map_command {
    enum map_command_type type;
    uint32_t
        number; /* ADD, PLACE, WEIGHT, STATE, REMOVE, CONDITION, RAMP, RAMP_STEP, LOSE, RESTORED. */
    uint32_t weight;        /* ADD, WEIGHT, RAMP_STEP. */
    uint32_t goal, ramp_ms; /* RAMP, RAMP_STEP. */
    uint32_t replicas;
    enum map_state state;
    uint32_t cooldown_ms;               /* STATE: to DOWN, else 0. */
    uint8_t condition;                  /* CONDITION: of CONDITION_OWN (liveness.h). */
    struct map_text name, zone, region; /* ADD. */
    struct map_place place;             /* ADD, PLACE. */
    struct policy policy;               /* POLICY_SET; of POLICY_REMOVE the prefix. */
    uint64_t epoch;                     /* RESTORED: what was lost in it. */
    struct bytes runs;                  /* SETTLE, RESTORED: as map_run_put() writes them. */
};

/* Slots that follow each other, and who is to own them (of RESTORED: nobody). */
struct map_run {
    uint32_t slot, count; /* At least one. */
    struct slot_owners owners;
};

/* Append a run to those of a SETTLE. `end` is where the one before ends, 0 at first, and is moved on; it is not after
 * `run->slot`. Returns 0; -E2BIG: these are all that one command may have; -ENOMEM: both with nothing changed. */
int map_run_put(struct buffer *to, uint32_t *end, const struct map_run *run);

/* Append all slots that `has` tells as runs without owners. Returns 0, also where one command may not have all of them; -ENOMEM. */
int map_runs_put(struct buffer *to, bool (*has)(const void *context, uint32_t slot),
                 const void *context);

/* Read the next run; `end` as above. Returns whether there was one: at the end of the bytes, or where they are bad
 * (`from->bad`), there is none. */
bool map_run_read(struct reader *from, uint32_t *end, struct map_run *run);

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
 *   -ESTALE    RAMP_STEP: that ramp is over, or further; SETTLE: of no run these are the targets of all its slots (any more), unless it is so already
 *
 * RAMP: from here on the weight is to go to the goal in so much time, which RAMP_STEPs of the leader do (ramp.h), the last one
 * with 0 left; WEIGHT ends it. A ramp waits while the member is not to hold slots.
 * SETTLE: each run counts by itself, and is passed over where these are not the targets of all its slots.
 * ADD: the member is JOINING. STATE: JOINING to ACTIVE or LEFT; ACTIVE and DEGRADED to each other and to DRAINING;
 * DRAINING to ACTIVE or LEFT; LEFT to JOINING; each but LEFT to DOWN, and from there to what it was before, or where that
 * was DRAINING to LEFT.
 * STATE to DEGRADED is an operator's word, and to ACTIVE from there says that nothing is wrong; CONDITION is what the
 * node finds itself: it degrades one that is active, and makes it active again when nothing is left, the operator's
 * word included. Of one that is down that is what it comes back to. DOWN with cooldown_ms 0 keeps that of before.
 * DOWN takes the member out of the owners of each slot that has another one. Of a slot whose only owner is given up
 * (REMOVE) the targets own what is not there any more: who gives up must know. LOSE is REMOVE where there is an archive: these
 * slots are lost from then on (map.h). RESTORED ends that for those of its slots that were lost in that epoch, and in no later
 * one, and of which the member that says so is the first owner; -EALREADY where none is.
 * ACTIVE, WEIGHT, REPLICAS and the like change the homes; a slot without any owner has its targets at once, the others
 * are to be settled. */
int map_apply(struct map *map, struct placement_work *work, const struct map_command *command);

#endif
