#include "client_map.h"

#include <assert.h>
#include <errno.h>

enum {
    MEMBER_SERVES = 1,
    MEMBER_FLAGS = MEMBER_SERVES,
    NUMBERS_BYTES_MAX = 6 * VARINT_BYTES_MAX, /* Of a member, or of the head. */
    RUN_BYTES_MAX = 3 + 1 + CLIENT_MAP_OWNERS_MAX * 2,
};

static bool owners_equal(const struct client_map_owners *a, const struct client_map_owners *b)
{
    return a->count == b->count && memcmp(a->members, b->members, a->count) == 0;
}

/* ---- Encoding ---- */

static uint8_t *put_text(uint8_t *to, const char *text)
{
    size_t size = strlen(text);

    to = varint_put(to, size);
    memcpy(to, text, size);
    return to + size;
}

static uint8_t *put_member(uint8_t *to, const struct client_map_member *member)
{
    to = varint_put(to, member->number);
    to = put_text(to, member->name);
    to = put_text(to, member->host);
    to = varint_put(to, member->port);
    to = varint_put(to, member->shards);
    return varint_put(to, member->serves ? MEMBER_SERVES : 0);
}

static uint32_t run_end(const struct client_map *map, uint32_t start)
{
    uint32_t end = start + 1;

    while (end < SLOT_COUNT && owners_equal(&map->owners[start], &map->owners[end])) {
        end++;
    }
    return end;
}

static size_t room_for(const struct client_map *map)
{
    size_t room = NUMBERS_BYTES_MAX;

    for (uint32_t i = 0; i < map->member_count; i++) {
        room += NUMBERS_BYTES_MAX + strlen(map->members[i].name) + strlen(map->members[i].host);
    }
    for (uint32_t slot = 0; slot < SLOT_COUNT; slot = run_end(map, slot)) {
        room += RUN_BYTES_MAX;
    }
    return room;
}

int client_map_encode(const struct client_map *map, struct buffer *to)
{
    int rc = buffer_reserve(to, room_for(map));

    if (rc != 0) {
        return rc;
    }
    uint8_t *start = to->data + to->size, *at = start;
    at = varint_put(at, CLIENT_MAP_VERSION);
    at = varint_put(at, map->epoch);
    at = varint_put(at, map->member_count);
    for (uint32_t i = 0; i < map->member_count; i++) {
        at = put_member(at, &map->members[i]);
    }
    for (uint32_t slot = 0, end; slot < SLOT_COUNT; slot = end) {
        const struct client_map_owners *owners = &map->owners[slot];
        end = run_end(map, slot);
        at = varint_put(at, end - slot);
        at = varint_put(at, owners->count);
        for (uint32_t i = 0; i < owners->count; i++) {
            at = varint_put(at, owners->members[i]);
        }
    }
    assert((size_t)(at - start) <= CLIENT_MAP_BYTES_MAX);
    to->size += (size_t)(at - start);
    return 0;
}

/* ---- Decoding ---- */

/* A string without zeros, terminated. */
static bool take_text(struct reader *reader, char *to, size_t size_max)
{
    struct bytes text = read_string(reader);

    if (reader->bad || text.size > size_max ||
        (text.size > 0 && memchr(text.data, 0, text.size) != NULL)) {
        return false;
    }
    memset(to, 0, size_max + 1);
    if (text.size > 0) {
        memcpy(to, text.data, text.size);
    }
    return true;
}

static bool take_member(struct reader *reader, uint32_t number_before,
                        struct client_map_member *member)
{
    uint64_t number = read_varint(reader);

    if (number <= number_before || number > INT32_MAX ||
        !take_text(reader, member->name, CLIENT_MAP_NAME_BYTES_MAX) ||
        !take_text(reader, member->host, HOST_BYTES_MAX)) {
        return false;
    }
    uint64_t port = read_varint(reader);
    uint64_t shards = read_varint(reader);
    uint64_t flags = read_varint(reader);
    if (reader->bad || member->host[0] == 0 || port == 0 || port > UINT16_MAX || shards == 0 ||
        shards > CLIENT_MAP_SHARDS_MAX || flags > MEMBER_FLAGS) {
        return false;
    }
    member->number = (uint32_t)number;
    member->port = (uint16_t)port;
    member->shards = (uint32_t)shards;
    member->serves = (flags & MEMBER_SERVES) != 0;
    return true;
}

static bool take_owners(struct reader *reader, uint32_t member_count,
                        struct client_map_owners *owners)
{
    uint64_t count = read_varint(reader);

    *owners = (struct client_map_owners){0};
    if (reader->bad || count > CLIENT_MAP_OWNERS_MAX) {
        return false;
    }
    for (uint32_t i = 0; i < count; i++) {
        uint64_t member = read_varint(reader);
        if (reader->bad || member >= member_count ||
            memchr(owners->members, (int)member, i) != NULL) {
            return false;
        }
        owners->members[i] = (uint8_t)member;
    }
    owners->count = (uint8_t)count;
    return true;
}

static bool take_slots(struct reader *reader, struct client_map *map)
{
    for (uint32_t slot = 0; slot < SLOT_COUNT;) {
        struct client_map_owners owners;
        uint64_t size = read_varint(reader);
        if (reader->bad || size == 0 || size > SLOT_COUNT - slot ||
            !take_owners(reader, map->member_count, &owners) ||
            (slot > 0 && owners_equal(&map->owners[slot - 1], &owners))) {
            return false;
        }
        for (; size > 0; size--) {
            map->owners[slot++] = owners;
        }
    }
    return true;
}

int client_map_decode(struct bytes from, struct client_map *map)
{
    struct reader reader = reader_of(from);
    uint64_t version = read_varint(&reader);

    if (reader.bad || from.size > CLIENT_MAP_BYTES_MAX) {
        return -EBADMSG;
    }
    if (version != CLIENT_MAP_VERSION) {
        return -EPROTONOSUPPORT;
    }
    map->epoch = read_varint(&reader);
    uint64_t count = read_varint(&reader);
    if (reader.bad || map->epoch == 0 || count > CLIENT_MAP_MEMBERS_MAX) {
        return -EBADMSG;
    }
    map->member_count = 0;
    for (; map->member_count < count; map->member_count++) {
        uint32_t i = map->member_count;
        if (!take_member(&reader, i == 0 ? 0 : map->members[i - 1].number, &map->members[i])) {
            return -EBADMSG;
        }
    }
    return take_slots(&reader, map) && reader_done(&reader) ? 0 : -EBADMSG;
}
