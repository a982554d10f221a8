/* The cluster map: who is a member, who holds which slot, and the policies. What Raft agrees on, and nothing else.
 *
 * A slot has two lists of nodes. `homes` is what placement.h says, over all members that are to hold slots, one that is
 * down included: when it comes back it has its slots again. `owners` are those that serve, the primary first. Who goes
 * down leaves the owners at once, and the next of them moves up. Who comes in does so by MAP_SETTLE (map_command.h),
 * once it has what the present owners have: so nobody ever owns a slot without its sessions, and an empty node is no
 * source. map_targets() says who should own a slot by now; a target that is no owner is to be brought level.
 *
 * A slot whose only owner was given up for lost (MAP_LOSE) has owners that have nothing of it: it is *lost*, with the epoch
 * in which that was decided, until one of them says that it has from the archive what there is (MAP_RESTORED). Until then
 * nobody says of a session of it that there is none.
 *
 * Encoded (integers little-endian, varints as in bytes.h in their shortest form, a string is a varint and so many bytes):
 *
 *   1       version: MAP_VERSION, and more where a member has a ramp (MAP_VERSION_RAMPS) or a slot is lost (MAP_VERSION_LOST)
 *   8       cluster id
 *   varint  epoch
 *   varint  replicas
 *   varint  the greatest number ever given to a member
 *   varint  members; for each, in order of number:
 *     varint  number, less that of the member before (of the first: less 0)
 *     1       state; in the upper 4 bits, when it is down, the state it was in before, else 0
 *     varint  cooldown_ms
 *     1       condition
 *     varint  weight
 *     varint  ramp_ms, and where that is not 0 varint goal: with MAP_VERSION_RAMPS only
 *     string  name, zone, region
 *     place:  string host, 2 each ports native, cluster, peer, http, varint start, varint shards
 *   varint  policies; for each, in order of prefix:
 *     string  prefix
 *     1       ack level
 *     1       1 touch_on_read, 2 no_resurrect, 4 conflict view siblings, 8 on_no_replica refuse
 *     varint  session_bytes_max, fields_max, idle_ttl_ms, absolute_ttl_ms, tombstone_keep_ms
 *   homes   runs of slots with equal lists, as long as can be, up to SLOT_COUNT: varint slots, 1 nodes, and for each
 *           node 1: its place among the members
 *   owners  runs again: varint slots * 2 + 1 where the owners are the homes, else slots * 2 and a list as above
 *   lost    of MAP_VERSION: runs again: varint slots, varint the epoch in which they were lost, 0: they are not
 *   4       CRC-32C of all that
 *
 * One map, one encoding. With 3 replicas 3 nodes take 0.4 KB and 256 nodes 33 KB; as changes cut the arcs that may grow
 * to 100 KB, and to 180 KB while every slot moves. A push sends the whole map.
 *
 * Memory: plain data, about 1.2 MiB; owns nothing. Threads: one; who else needs it gets a copy.
 */
#ifndef MAP_H
#define MAP_H

#include <stdbool.h>
#include <stdint.h>

#include "address.h"
#include "bytes.h"
#include "memory.h"
#include "placement.h"
#include "policy.h"

enum {
    MAP_VERSION = 1,
    MAP_VERSION_RAMPS = 1, /* So much is added to it... */
    MAP_VERSION_LOST = 2,  /* ... and this. */
    MAP_MEMBERS_MAX = PLACEMENT_MEMBERS_MAX,
    MAP_TEXT_BYTES_MAX = 255,
    MAP_SHARDS_MAX = 1024,
    MAP_NUMBER_MAX = INT32_MAX,
    MAP_COOLDOWN_MS_MAX = 24 * 3600 * 1000,
    MAP_RAMP_MS_MAX = 24 * 3600 * 1000,
};

enum map_state {
    MAP_JOINING = 1, /* Is known, and holds no slots yet. */
    MAP_ACTIVE,
    MAP_DEGRADED, /* Serves what it has; creates go to the next successor (all does where it cannot store anything). */
    MAP_DRAINING, /* Serves what it still owns; its slots have other homes. */
    MAP_DOWN,
    MAP_LEFT, /* Holds nothing and may be removed. */
};

enum map_port { MAP_PORT_NATIVE, MAP_PORT_CLUSTER, MAP_PORT_PEER, MAP_PORT_HTTP, MAP_PORTS };

struct map_text {
    uint8_t size;
    char bytes[MAP_TEXT_BYTES_MAX];
};

/* Where a node is found, and which life of it that is. */
struct map_place {
    struct map_text host; /* At most HOST_BYTES_MAX. */
    uint16_t ports[MAP_PORTS];
    uint32_t start;  /* Of the actor; 0: not known. */
    uint32_t shards; /* From 1 up. */
};

struct map_member {
    uint32_t number; /* From 1 up; never given again. */
    uint32_t weight;
    uint32_t goal, ramp_ms; /* Where the weight goes, in how much time (ramp.h); 0, 0: it stays. */
    enum map_state state, before_down; /* The second is 0 but for one that is down. */
    uint32_t cooldown_ms; /* Of the last time that it went down (verdict.h); 0: it never did. */
    uint8_t condition;    /* Why it is degraded: CONDITION bits (liveness.h); else 0. */
    struct map_text name, zone, region;
    struct map_place place;
};

struct map {
    uint64_t cluster, epoch;
    uint32_t replicas, number_last;
    uint32_t member_count;
    struct map_member members[MAP_MEMBERS_MAX]; /* In order of number. */
    uint32_t policy_count;
    struct policy
        policies[POLICIES_MAX - 1]; /* In order of prefix; the empty one may be missing. */
    struct slot_owners homes[SLOT_COUNT], owners[SLOT_COUNT];
    uint64_t lost[SLOT_COUNT]; /* The epoch in which its sessions were; 0: they are not. */
};

/* A map without members, of epoch 1. */
void map_init(struct map *map, uint64_t cluster, uint32_t replicas);

/* By number, or by name; NULL where there is none. */
const struct map_member *map_member(const struct map *map, uint32_t number);
const struct map_member *map_member_named(const struct map *map, struct bytes name);

/* Does it own any slot? */
bool map_owns(const struct map *map, uint32_t number);

/* Who should own the slot now: of the homes those that are not down; and while these are fewer than replicas, others
 * that serve: first present owners, then by rendezvous hashing (Thaler and Ravishankar, 1998), in other zones where
 * there are some. Nobody where no member serves. */
struct slot_owners map_targets(const struct map *map, uint32_t slot);

/* Is any slot lost? */
bool map_has_lost(const struct map *map);

/* How many lost slots the member owns first; number 0: any member does. */
uint32_t map_count_lost(const struct map *map, uint32_t number);

/* Append the encoding. Returns 0, or -ENOMEM with `to` as it was. */
int map_encode(const struct map *map, struct buffer *to);

/* Read and check all of an encoding. Returns 0; -EPROTONOSUPPORT: of another version; -EBADMSG: damaged, or what
 * map_encode() does not write. `map` is of no use then. */
int map_decode(struct bytes from, struct map *map);

/* Are these good: texts without control characters, a name that is not empty, a host, ports other than 0, a policy
 * within limits? For whoever takes them from outside; the decoder and map_apply() look as well. */
bool map_text_good(const struct map_text *text);
bool map_place_good(const struct map_place *place);
bool map_policy_good(const struct policy *policy);

/* Does a node in this state take slots? One that drains only serves what it still has. */
static inline bool map_state_serves(enum map_state state)
{
    return state == MAP_ACTIVE || state == MAP_DEGRADED;
}

/* Its state, or the one that it goes back to when it is heard again. */
static inline enum map_state map_lasting_state(const struct map_member *member)
{
    return member->state == MAP_DOWN ? member->before_down : member->state;
}

/* Is it to hold slots, for as much as it has weight? One that is down is as well. */
static inline bool map_has_homes(const struct map_member *member)
{
    return map_state_serves(map_lasting_state(member));
}

/* Where its weight goes, or is. */
static inline uint32_t map_weight_to(const struct map_member *member)
{
    return member->ramp_ms != 0 ? member->goal : member->weight;
}

static inline struct bytes map_text_bytes(const struct map_text *text)
{
    return bytes_of(text->bytes, text->size);
}

#endif
