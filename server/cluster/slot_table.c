#include "slot_table.h"

#include <string.h>

#include "liveness.h"

static bool serves(enum map_state state)
{
    return map_state_serves(state) || state == MAP_DRAINING;
}

void slot_table_make(struct slot_table *table, const struct map *map, uint32_t self)
{
    memset(table, 0, sizeof *table);
    table->epoch = map->epoch;
    table->self = self;
    table->replicas = map->replicas;
    for (uint32_t i = 0; i < map->member_count; i++) {
        const struct map_member *member = &map->members[i];
        struct slot_table_member *to = &table->members[table->member_count++];
        const bool degraded = member->state == MAP_DEGRADED;
        const bool own = (member->condition & CONDITION_OWN) != 0;
        *to = (struct slot_table_member){
            .number = member->number,
            .start = member->place.start,
            .shards = member->place.shards,
            .serves = serves(member->state),
            .left = member->state == MAP_LEFT,
            .degraded = degraded && own,
            .hands_on = degraded && !own,
        };
        memcpy(to->ports, member->place.ports, sizeof to->ports);
        memcpy(to->host, member->place.host.bytes,
               member->place.host.size < HOST_BYTES_MAX ? member->place.host.size : HOST_BYTES_MAX);
    }
    memcpy(table->owners, map->owners, sizeof table->owners);
    for (uint32_t slot = 0; slot < SLOT_COUNT; slot++) {
        table->targets[slot] = map_targets(map, slot);
        table->lost[slot] = map->lost[slot];
        table->lost_count += map->lost[slot] != 0;
    }
}

const struct slot_table_member *slot_table_member(const struct slot_table *table, uint32_t number)
{
    uint32_t low = 0, high = table->member_count;

    while (low < high) {
        uint32_t middle = low + (high - low) / 2;
        if (table->members[middle].number < number) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    return low < table->member_count && table->members[low].number == number ? &table->members[low]
                                                                             : NULL;
}

bool slot_table_is_apart(const struct slot_table *table, uint32_t slot)
{
    const struct slot_owners *owners = &table->owners[slot];
    bool apart = false;

    for (uint32_t rank = 0; rank < PLACEMENT_REPLICAS_MAX && owners->nodes[rank] != 0; rank++) {
        const struct slot_table_member *member = slot_table_member(table, owners->nodes[rank]);
        apart = apart || (member != NULL && member->apart);
    }
    return apart;
}
