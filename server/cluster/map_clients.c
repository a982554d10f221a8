#include "map_clients.h"

#include <assert.h>
#include <string.h>

enum { NOT_TOLD = CLIENT_MAP_MEMBERS_MAX };

static_assert((int)CLIENT_MAP_MEMBERS_MAX == (int)MAP_MEMBERS_MAX &&
                  (int)CLIENT_MAP_OWNERS_MAX == (int)PLACEMENT_REPLICAS_MAX &&
                  (int)CLIENT_MAP_NAME_BYTES_MAX == (int)MAP_TEXT_BYTES_MAX &&
                  (int)CLIENT_MAP_SHARDS_MAX == (int)MAP_SHARDS_MAX,
              "whatever the map has can be told");

static bool is_told(const struct map_member *member)
{
    return member->state != MAP_LEFT && member->place.host.size > 0 &&
           member->place.host.size <= HOST_BYTES_MAX && member->place.ports[MAP_PORT_NATIVE] != 0 &&
           member->place.shards != 0;
}

static bool serves(const struct map_member *member)
{
    return map_state_serves(member->state) || member->state == MAP_DRAINING;
}

static void tell_member(const struct map_member *member, struct client_map_member *told)
{
    memset(told, 0, sizeof *told);
    told->number = member->number;
    told->shards = member->place.shards;
    told->port = member->place.ports[MAP_PORT_NATIVE];
    told->serves = serves(member);
    memcpy(told->name, member->name.bytes, member->name.size);
    memcpy(told->host, member->place.host.bytes, member->place.host.size);
}

static uint32_t index_of(const struct client_map *made, uint32_t number)
{
    for (uint32_t i = 0; i < made->member_count; i++) {
        if (made->members[i].number == number) {
            return i;
        }
    }
    return NOT_TOLD;
}

static void tell_owners(const struct slot_owners *owners, const struct client_map *made,
                        struct client_map_owners *told)
{
    *told = (struct client_map_owners){0};
    for (uint32_t rank = 0; rank < PLACEMENT_REPLICAS_MAX; rank++) {
        uint32_t index = owners->nodes[rank] == 0 ? NOT_TOLD : index_of(made, owners->nodes[rank]);
        if (index != NOT_TOLD) {
            told->members[told->count++] = (uint8_t)index;
        }
    }
}

void map_for_clients(const struct map *map, struct client_map *made)
{
    made->epoch = map->epoch;
    made->member_count = 0;
    for (uint32_t i = 0; i < map->member_count; i++) {
        if (is_told(&map->members[i])) {
            tell_member(&map->members[i], &made->members[made->member_count++]);
        }
    }
    for (uint32_t slot = 0; slot < SLOT_COUNT; slot++) {
        if (slot > 0 &&
            memcmp(&map->owners[slot], &map->owners[slot - 1], sizeof map->owners[slot]) == 0) {
            made->owners[slot] = made->owners[slot - 1];
        } else {
            tell_owners(&map->owners[slot], made, &made->owners[slot]);
        }
    }
}
