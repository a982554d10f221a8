#include "restart_page.h"

#include <jansson.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

enum { TEXT_BYTES = 400 };

__attribute__((format(printf, 3, 4))) static void add(json_t *reasons, const char *reason,
                                                      const char *format, ...)
{
    char text[TEXT_BYTES];
    va_list arguments;

    va_start(arguments, format);
    vsnprintf(text, sizeof text, format, arguments);
    va_end(arguments);
    json_t *string = json_string(text);
    json_array_append_new(reasons, json_pack("{s:s, s:o}", "reason", reason, "text",
                                             string != NULL ? string : json_string(reason)));
}

static bool serves(const struct map_member *member)
{
    return member->weight > 0 && map_state_serves(member->state);
}

static void look_at_member(const struct map_page *page, uint32_t index, json_t *reasons)
{
    static const char *const states[] = {
        [MAP_DOWN] = "node_down",
        [MAP_JOINING] = "node_joining",
        [MAP_DRAINING] = "node_draining",
        [MAP_DEGRADED] = "node_degraded",
        [MAP_LEFT] = NULL,
    };
    const struct map_member *member = &page->map->members[index];
    const int size = member->name.size;
    const char *name = member->name.bytes;

    if (member->state == MAP_DOWN && (member->number == page->self || page->links[index].up)) {
        add(reasons, states[MAP_DOWN],
            "%.*s runs again, and is out until its cooldown is over (cluster.cooldown)", size,
            name);
    } else if (states[member->state] != NULL) {
        add(reasons, states[member->state], "%.*s is %s", size, name,
            map_page_state(member->state));
    }
    if (member->ramp_ms != 0 && map_state_serves(member->state)) {
        add(reasons, "ramp", "the weight of %.*s is changing", size, name);
    }
    if (member->number != page->self && !page->links[index].up && member->state != MAP_LEFT &&
        member->state != MAP_DOWN) {
        add(reasons, "link_down", "%.*s is not reached", size, name);
    }
}

static uint32_t owner_count(const struct slot_owners *owners)
{
    uint32_t count = 0;

    while (count < PLACEMENT_REPLICAS_MAX && owners->nodes[count] != 0) {
        count++;
    }
    return count;
}

static void look_at_slots(const struct map *map, uint32_t number, json_t *reasons)
{
    uint32_t moving = 0, few = 0, alone = 0, possible = 0;

    for (uint32_t i = 0; i < map->member_count; i++) {
        possible += serves(&map->members[i]);
    }
    possible = possible < map->replicas ? possible : map->replicas;
    for (uint32_t slot = 0; slot < SLOT_COUNT; slot++) {
        const struct slot_owners *owners = &map->owners[slot];
        struct slot_owners targets = map_targets(map, slot);
        moving += memcmp(&targets, owners, sizeof targets) != 0;
        few += owner_count(owners) < possible;
        alone += owner_count(owners) == 1 && (number == 0 || owners->nodes[0] == number);
    }
    if (moving > 0) {
        add(reasons, "slots_moving", "%u slots are on their way to others", moving);
    }
    if (few > 0) {
        add(reasons, "slots_short", "%u slots have fewer owners than they are to have", few);
    }
    if (alone > 0 && map->member_count == 1) {
        add(reasons, "slots_alone",
            "this node is alone: while it restarts nobody serves its sessions, which come back "
            "from its "
            "disk");
    } else if (alone > 0) {
        add(reasons, "slots_alone", "%u slots are one node's alone: their sessions would be away",
            alone);
    }
}

char *restart_page(const struct map_page *page, uint32_t number, uint32_t not_level)
{
    const struct map *map = page->map;
    const struct map_member *self = map_member(map, page->self);
    json_t *reasons = json_array();
    char name[MAP_TEXT_BYTES_MAX + 1] = "";

    if (page->leader == 0) {
        add(reasons, "no_leader", "nobody leads: the map cannot change");
    }
    for (uint32_t i = 0; i < map->member_count; i++) {
        look_at_member(page, i, reasons);
    }
    if (self != NULL) {
        snprintf(name, sizeof name, "%.*s", self->name.size, self->name.bytes);
    }
    look_at_slots(map, number, reasons);
    if (not_level > 0) {
        add(reasons, "slots_not_level", "%s may not have all yet of %u slots", name, not_level);
    }
    json_t *document = json_pack("{s:s, s:I, s:o}", "name", name, "epoch", (json_int_t)map->epoch,
                                 "reasons", reasons);
    char *json = document == NULL ? NULL : json_dumps(document, JSON_COMPACT);
    json_decref(document);
    return json;
}
