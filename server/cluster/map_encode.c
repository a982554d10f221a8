#include <errno.h>
#include <string.h>

#include "crc32c.h"
#include "liveness.h"
#include "map_parts.h"

enum {
    FIRST_BYTES_MAX = 9 + 5 * VARINT_BYTES_MAX,
    LIST_BYTES_MAX = VARINT_BYTES_MAX + 1 + PLACEMENT_REPLICAS_MAX,
    LOST_BYTES_MAX = 2 * VARINT_BYTES_MAX,
    CRC_BYTES = 4,
};

/* ---- Writing. ---- */

static bool same(const struct slot_owners *a, const struct slot_owners *b)
{
    return memcmp(a, b, sizeof *a) == 0;
}

static uint8_t member_place(const struct map *map, uint32_t number)
{
    uint32_t place = 0;

    while (map->members[place].number != number) {
        place++;
    }
    return (uint8_t)place;
}

static uint8_t list_size(const struct slot_owners *owners)
{
    uint8_t count = 0;

    while (count < PLACEMENT_REPLICAS_MAX && owners->nodes[count] != 0) {
        count++;
    }
    return count;
}

static void put_list(const struct map *map, const struct slot_owners *owners, struct buffer *to)
{
    uint8_t count = list_size(owners);

    map_put_u8(to, count);
    for (uint8_t i = 0; i < count; i++) {
        map_put_u8(to, member_place(map, owners->nodes[i]));
    }
}

static void put_homes(const struct map *map, struct buffer *to)
{
    for (uint32_t slot = 0, end; slot < SLOT_COUNT; slot = end) {
        for (end = slot + 1; end < SLOT_COUNT && same(&map->homes[slot], &map->homes[end]); end++) {
        }
        map_put_varint(to, end - slot);
        put_list(map, &map->homes[slot], to);
    }
}

static bool at_home(const struct map *map, uint32_t slot)
{
    return same(&map->homes[slot], &map->owners[slot]);
}

static void put_owners(const struct map *map, struct buffer *to)
{
    for (uint32_t slot = 0, end; slot < SLOT_COUNT; slot = end) {
        bool home = at_home(map, slot);
        end = slot + 1;
        while (end < SLOT_COUNT && at_home(map, end) == home &&
               (home || same(&map->owners[slot], &map->owners[end]))) {
            end++;
        }
        map_put_varint(to, (uint64_t)(end - slot) << 1 | home);
        if (!home) {
            put_list(map, &map->owners[slot], to);
        }
    }
}

static void put_lost(const struct map *map, struct buffer *to)
{
    for (uint32_t slot = 0, end; slot < SLOT_COUNT; slot = end) {
        for (end = slot + 1; end < SLOT_COUNT && map->lost[end] == map->lost[slot]; end++) {
        }
        map_put_varint(to, end - slot);
        map_put_varint(to, map->lost[slot]);
    }
}

static bool has_ramps(const struct map *map)
{
    for (uint32_t i = 0; i < map->member_count; i++) {
        if (map->members[i].ramp_ms != 0) {
            return true;
        }
    }
    return false;
}

static void put_member(const struct map_member *member, uint32_t number_before, bool ramps,
                       struct buffer *to)
{
    map_put_varint(to, member->number - number_before);
    map_put_u8(to, (uint8_t)(member->state | member->before_down << 4));
    map_put_varint(to, member->cooldown_ms);
    map_put_u8(to, member->condition);
    map_put_varint(to, member->weight);
    if (ramps) {
        map_put_varint(to, member->ramp_ms);
    }
    if (member->ramp_ms != 0) {
        map_put_varint(to, member->goal);
    }
    map_put_string(to, map_text_bytes(&member->name));
    map_put_string(to, map_text_bytes(&member->zone));
    map_put_string(to, map_text_bytes(&member->region));
    map_put_place(to, &member->place);
}

int map_encode(const struct map *map, struct buffer *to)
{
    const bool ramps = has_ramps(map);
    size_t begin = to->size;
    const bool lost = map_has_lost(map);
    int rc = buffer_reserve(to, FIRST_BYTES_MAX + map->member_count * MAP_MEMBER_BYTES_MAX +
                                    map->policy_count * MAP_POLICY_BYTES_MAX +
                                    2 * SLOT_COUNT * LIST_BYTES_MAX +
                                    (lost ? SLOT_COUNT * LOST_BYTES_MAX : 0) + CRC_BYTES);

    if (rc != 0) {
        return rc;
    }
    map_put_u8(to, (uint8_t)(MAP_VERSION + (ramps ? MAP_VERSION_RAMPS : 0) +
                             (lost ? MAP_VERSION_LOST : 0)));
    store_u64(to->data + to->size, map->cluster);
    to->size += 8;
    map_put_varint(to, map->epoch);
    map_put_varint(to, map->replicas);
    map_put_varint(to, map->number_last);
    map_put_varint(to, map->member_count);
    for (uint32_t i = 0; i < map->member_count; i++) {
        put_member(&map->members[i], i == 0 ? 0 : map->members[i - 1].number, ramps, to);
    }
    map_put_varint(to, map->policy_count);
    for (uint32_t i = 0; i < map->policy_count; i++) {
        map_put_policy(to, &map->policies[i]);
    }
    put_homes(map, to);
    put_owners(map, to);
    if (lost) {
        put_lost(map, to);
    }
    store_u32(to->data + to->size, crc32c(0, bytes_of(to->data + begin, to->size - begin)));
    to->size += CRC_BYTES;
    return 0;
}

/* ---- Reading. ---- */

static bool state_good(const struct map_member *member)
{
    const uint8_t known = CONDITION_OPERATOR | CONDITION_OWN;
    bool down = member->state == MAP_DOWN;

    return member->state >= MAP_JOINING && member->state <= MAP_LEFT &&
           (down ? member->before_down >= MAP_JOINING && member->before_down < MAP_DOWN
                 : member->before_down == 0) &&
           (member->condition & ~known) == 0 &&
           (map_lasting_state(member) == MAP_DEGRADED) == (member->condition != 0);
}

static bool read_member(struct reader *from, uint32_t number_before, uint32_t number_last,
                        bool ramps, struct map_member *member)
{
    uint32_t step = map_read_number(from, number_last - number_before);
    uint8_t state = read_u8(from);

    member->number = number_before + step;
    member->state = (enum map_state)(state & 15);
    member->before_down = (enum map_state)(state >> 4);
    member->cooldown_ms = map_read_number(from, MAP_COOLDOWN_MS_MAX);
    member->condition = read_u8(from);
    member->weight = map_read_number(from, PLACEMENT_WEIGHT_MAX);
    member->ramp_ms = ramps ? map_read_number(from, MAP_RAMP_MS_MAX) : 0;
    member->goal = member->ramp_ms != 0 ? map_read_number(from, PLACEMENT_WEIGHT_MAX) : 0;
    map_read_text(from, &member->name);
    map_read_text(from, &member->zone);
    map_read_text(from, &member->region);
    map_read_place(from, &member->place);
    return !from->bad && step > 0 && member->name.size > 0 && state_good(member);
}

static bool read_members(struct reader *from, bool ramps, struct map *map)
{
    uint32_t count = map_read_number(from, MAP_MEMBERS_MAX), before = 0;

    for (uint32_t i = 0; i < count; i++) {
        struct map_member *member = &map->members[i];
        if (!read_member(from, before, map->number_last, ramps, member) ||
            map_member_named(map, map_text_bytes(&member->name)) != NULL) {
            return false;
        }
        before = member->number;
        map->member_count++;
    }
    return ramps == has_ramps(map);
}

static bool read_policies(struct reader *from, struct map *map)
{
    uint32_t count = map_read_number(from, POLICIES_MAX - 1);

    for (uint32_t i = 0; i < count; i++) {
        map_read_policy(from, &map->policies[i]);
        if (from->bad || (i > 0 && bytes_compare(map_policy_prefix(&map->policies[i - 1]),
                                                 map_policy_prefix(&map->policies[i])) >= 0)) {
            return false;
        }
        map->policy_count++;
    }
    return true;
}

/* Distinct members. */
static bool read_list(struct reader *from, const struct map *map, struct slot_owners *owners)
{
    uint8_t count = read_u8(from);

    memset(owners, 0, sizeof *owners);
    if (count > PLACEMENT_REPLICAS_MAX) {
        return false;
    }
    for (uint8_t i = 0; i < count; i++) {
        uint8_t place = read_u8(from);
        if (from->bad || place >= map->member_count) {
            return false;
        }
        owners->nodes[i] = map->members[place].number;
        for (uint8_t j = 0; j < i; j++) {
            if (owners->nodes[j] == owners->nodes[i]) {
                return false;
            }
        }
    }
    return !from->bad;
}

static bool read_homes(struct reader *from, struct map *map)
{
    for (uint32_t slot = 0; slot < SLOT_COUNT;) {
        uint32_t count = map_read_number(from, SLOT_COUNT - slot);
        struct slot_owners owners;
        if (!read_list(from, map, &owners) || count == 0 || list_size(&owners) > map->replicas ||
            (slot > 0 && same(&owners, &map->homes[slot - 1]))) {
            return false;
        }
        for (uint32_t end = slot + count; slot < end; slot++) {
            map->homes[slot] = owners;
        }
    }
    return true;
}

static bool read_owners(struct reader *from, struct map *map)
{
    bool home_before = false;

    for (uint32_t slot = 0; slot < SLOT_COUNT;) {
        uint32_t head = map_read_number(from, (SLOT_COUNT - slot) << 1 | 1);
        bool home = (head & 1) != 0;
        uint32_t end = slot + (head >> 1);
        struct slot_owners owners = {0};
        if (from->bad || end == slot || (home && home_before) ||
            (!home && !read_list(from, map, &owners)) ||
            (!home && !home_before && slot > 0 && same(&owners, &map->owners[slot - 1]))) {
            return false;
        }
        for (; slot < end; slot++) {
            map->owners[slot] = home ? map->homes[slot] : owners;
            if (!home && at_home(map, slot)) {
                return false;
            }
        }
        home_before = home;
    }
    return true;
}

static bool read_lost(struct reader *from, struct map *map)
{
    for (uint32_t slot = 0; slot < SLOT_COUNT;) {
        const uint32_t count = map_read_number(from, SLOT_COUNT - slot);
        const uint64_t epoch = read_varint(from);
        if (from->bad || count == 0 || epoch > map->epoch ||
            (slot > 0 && epoch == map->lost[slot - 1])) {
            return false;
        }
        for (uint32_t end = slot + count; slot < end; slot++) {
            map->lost[slot] = epoch;
        }
    }
    return map_has_lost(map);
}

int map_decode(struct bytes from, struct map *map)
{
    struct reader reader = reader_of(from);

    memset(map, 0, sizeof *map);
    if (from.size > 0 && (from.data[0] < MAP_VERSION ||
                          from.data[0] > MAP_VERSION + MAP_VERSION_RAMPS + MAP_VERSION_LOST)) {
        return -EPROTONOSUPPORT;
    }
    if (from.size < 9 + CRC_BYTES || load_u32(from.data + from.size - CRC_BYTES) !=
                                         crc32c(0, bytes_of(from.data, from.size - CRC_BYTES))) {
        return -EBADMSG;
    }
    reader.end -= CRC_BYTES;
    const uint8_t parts = (uint8_t)(read_u8(&reader) - MAP_VERSION);
    const bool ramps = (parts & MAP_VERSION_RAMPS) != 0, lost = (parts & MAP_VERSION_LOST) != 0;
    map->cluster = read_u64(&reader);
    map->epoch = read_varint(&reader);
    map->replicas = map_read_number(&reader, PLACEMENT_REPLICAS_MAX);
    map->number_last = map_read_number(&reader, MAP_NUMBER_MAX);
    bool good = map->epoch > 0 && map->replicas > 0 && read_members(&reader, ramps, map) &&
                read_policies(&reader, map) && read_homes(&reader, map) &&
                read_owners(&reader, map) && (!lost || read_lost(&reader, map));
    return good && reader_done(&reader) ? 0 : -EBADMSG;
}
