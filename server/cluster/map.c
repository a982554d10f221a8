#include "map.h"

#include <string.h>

void map_init(struct map *map, uint64_t cluster, uint32_t replicas)
{
    memset(map, 0, sizeof *map);
    map->cluster = cluster;
    map->epoch = 1;
    map->replicas = replicas;
}

const struct map_member *map_member(const struct map *map, uint32_t number)
{
    uint32_t low = 0, high = map->member_count;

    while (low < high) {
        uint32_t middle = low + (high - low) / 2;
        if (map->members[middle].number < number) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    bool found = low < map->member_count && map->members[low].number == number;
    return found ? &map->members[low] : NULL;
}

const struct map_member *map_member_named(const struct map *map, struct bytes name)
{
    for (uint32_t i = 0; i < map->member_count; i++) {
        if (bytes_equal(map_text_bytes(&map->members[i].name), name)) {
            return &map->members[i];
        }
    }
    return NULL;
}

/* ---- Targets. ---- */

static bool serves(const struct map_member *member)
{
    return member->weight > 0 && map_state_serves(member->state);
}

static bool listed(const struct slot_owners *owners, uint32_t count, uint32_t number)
{
    for (uint32_t i = 0; i < count; i++) {
        if (owners->nodes[i] == number) {
            return true;
        }
    }
    return false;
}

static bool has_zone(const struct map *map, const struct slot_owners *owners, uint32_t count,
                     const struct map_member *member)
{
    for (uint32_t i = 0; i < count; i++) {
        if (bytes_equal(map_text_bytes(&map_member(map, owners->nodes[i])->zone),
                        map_text_bytes(&member->zone))) {
            return true;
        }
    }
    return false;
}

/* The finalizer of MurmurHash3 over the member and the slot. */
static uint64_t rendezvous(uint32_t number, uint32_t slot)
{
    uint64_t x = (uint64_t)number << 32 | (slot + 1);

    x = (x ^ (x >> 33)) * UINT64_C(0xff51afd7ed558ccd);
    x = (x ^ (x >> 33)) * UINT64_C(0xc4ceb9fe1a85ec53);
    return x ^ (x >> 33);
}

/* The best one to stand in; NULL where nobody is left. */
static const struct map_member *stand_in(const struct map *map, uint32_t slot,
                                         const struct slot_owners *targets, uint32_t count)
{
    const struct map_member *best = NULL;
    uint64_t best_worth = 0;

    for (uint32_t i = 0; i < map->member_count; i++) {
        const struct map_member *member = &map->members[i];
        if (!serves(member) || listed(targets, count, member->number)) {
            continue;
        }
        bool owns = listed(&map->owners[slot], PLACEMENT_REPLICAS_MAX, member->number);
        bool other_zone = !has_zone(map, targets, count, member);
        uint64_t worth = (uint64_t)owns << 63 | (uint64_t)other_zone << 62 |
                         rendezvous(member->number, slot) >> 2;
        if (best == NULL || worth > best_worth) {
            best = member;
            best_worth = worth;
        }
    }
    return best;
}

struct slot_owners map_targets(const struct map *map, uint32_t slot)
{
    struct slot_owners targets = {0};
    uint32_t count = 0;

    for (uint32_t i = 0; i < PLACEMENT_REPLICAS_MAX && map->homes[slot].nodes[i] != 0; i++) {
        if (serves(map_member(map, map->homes[slot].nodes[i]))) {
            targets.nodes[count++] = map->homes[slot].nodes[i];
        }
    }
    while (count < map->replicas) {
        const struct map_member *member = stand_in(map, slot, &targets, count);
        if (member == NULL) {
            break;
        }
        targets.nodes[count++] = member->number;
    }
    return targets;
}

bool map_owns(const struct map *map, uint32_t number)
{
    for (uint32_t slot = 0; slot < SLOT_COUNT; slot++) {
        for (uint32_t i = 0; i < PLACEMENT_REPLICAS_MAX; i++) {
            if (map->owners[slot].nodes[i] == number) {
                return true;
            }
        }
    }
    return false;
}

bool map_has_lost(const struct map *map)
{
    uint32_t slot = 0;

    while (slot < SLOT_COUNT && map->lost[slot] == 0) {
        slot++;
    }
    return slot < SLOT_COUNT;
}

uint32_t map_count_lost(const struct map *map, uint32_t number)
{
    uint32_t count = 0;

    for (uint32_t slot = 0; slot < SLOT_COUNT; slot++) {
        const uint32_t first = map->owners[slot].nodes[0];
        count += map->lost[slot] != 0 && first != 0 && (number == 0 || first == number);
    }
    return count;
}

/* ---- What is good. ---- */

bool map_text_good(const struct map_text *text)
{
    for (uint32_t i = 0; i < text->size; i++) {
        uint8_t byte = (uint8_t)text->bytes[i];
        if (byte < 0x20 || byte == 0x7f) {
            return false;
        }
    }
    return true;
}

bool map_place_good(const struct map_place *place)
{
    for (int i = 0; i < MAP_PORTS; i++) {
        if (place->ports[i] == 0) {
            return false;
        }
    }
    return map_text_good(&place->host) && place->host.size > 0 &&
           place->host.size <= HOST_BYTES_MAX && place->shards > 0 &&
           place->shards <= MAP_SHARDS_MAX;
}

bool map_policy_good(const struct policy *policy)
{
    const struct session_rules *rules = &policy->rules;
    const uint64_t ttl_max = (uint64_t)TTL_MS_MAX_DAYS * 24 * 3600 * 1000;

    return policy->prefix_size <= POLICY_PREFIX_BYTES_MAX && policy->ack >= ACK_MEMORY &&
           policy->ack <= ACK_ARCHIVE && policy->conflict_view <= CONFLICT_SIBLINGS &&
           policy->on_no_replica <= NO_REPLICA_REFUSE && rules->session_bytes_max > 0 &&
           rules->session_bytes_max <= SESSION_BYTES_MAX && rules->fields_max > 0 &&
           rules->fields_max <= SESSION_FIELDS_MAX && rules->idle_ttl_ms <= ttl_max &&
           rules->absolute_ttl_ms <= ttl_max && rules->tombstone_keep_ms <= ttl_max;
}
