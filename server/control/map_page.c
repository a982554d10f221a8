#include "map_page.h"

#include <assert.h>
#include <inttypes.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "liveness.h"
#include "map_reasons.h"
#include "slot.h"

enum { PLACE_BYTES = HOST_BYTES_MAX + 10 };

const char *map_page_state(enum map_state state)
{
    static const char *const names[] = {
        [MAP_JOINING] = "joining",   [MAP_ACTIVE] = "active", [MAP_DEGRADED] = "degraded",
        [MAP_DRAINING] = "draining", [MAP_DOWN] = "down",     [MAP_LEFT] = "left",
    };

    assert(state >= MAP_JOINING && state <= MAP_LEFT);
    return names[state];
}

/* Texts of the map are whatever a configuration had: what is no UTF-8 is shown as a question mark. */
static json_t *text(const struct map_text *from)
{
    json_t *string = json_stringn(from->bytes, from->size);

    return string != NULL ? string : json_string("?");
}

static json_t *place_text(const struct map_place *place, enum map_port port)
{
    char to[PLACE_BYTES];
    bool v6 = memchr(place->host.bytes, ':', place->host.size) != NULL;

    snprintf(to, sizeof to, "%s%.*s%s:%u", v6 ? "[" : "", (int)place->host.size, place->host.bytes,
             v6 ? "]" : "", place->ports[port]);
    return json_string(to);
}

/* The place of a member in the map. Every node in a list of owners is one. */
static uint32_t index_of(const struct map *map, uint32_t number)
{
    const struct map_member *member = map_member(map, number);

    return member == NULL ? MAP_MEMBERS_MAX : (uint32_t)(member - map->members);
}

static bool has(const struct slot_owners *owners, uint32_t number)
{
    for (uint32_t i = 0; i < PLACEMENT_REPLICAS_MAX; i++) {
        if (owners->nodes[i] == number) {
            return true;
        }
    }
    return false;
}

void map_page_count(const struct map *map, struct map_page_slots slots[])
{
    memset(slots, 0, map->member_count * sizeof slots[0]);
    for (uint32_t slot = 0; slot < SLOT_COUNT; slot++) {
        const struct slot_owners *owners = &map->owners[slot];
        struct slot_owners targets = map_targets(map, slot);
        for (uint32_t i = 0; i < PLACEMENT_REPLICAS_MAX; i++) {
            if (owners->nodes[i] != 0) {
                struct map_page_slots *of = &slots[index_of(map, owners->nodes[i])];
                of->primary += i == 0;
                of->copy += i > 0;
            }
            if (targets.nodes[i] != 0 && !has(owners, targets.nodes[i])) {
                slots[index_of(map, targets.nodes[i])].coming++;
            }
        }
    }
}

/* ---- Nodes. ---- */

json_t *map_reasons(uint8_t condition)
{
    static const struct {
        uint8_t bit;
        const char *name;
    } reasons[] = {{CONDITION_OPERATOR, "operator"},
                   {CONDITION_DISK_FULL, "disk_full"},
                   {CONDITION_LOG_FAILED, "log_failed"}};
    json_t *list = json_array();

    for (size_t i = 0; i < sizeof reasons / sizeof reasons[0]; i++) {
        if ((condition & reasons[i].bit) != 0) {
            json_array_append_new(list, json_string(reasons[i].name));
        }
    }
    return list;
}

static const char *link_text(const struct map_page *page, uint32_t member)
{
    return page->map->members[member].number == page->self ? "self"
           : page->links[member].up                        ? "up"
                                                           : "down";
}

static json_t *node_object(const struct map_page *page, uint32_t index,
                           const struct map_page_slots *slots)
{
    const struct map_member *member = &page->map->members[index];
    const struct map_place *place = &member->place;
    const struct map_page_link *link = &page->links[index];
    json_t *node = json_pack(
        "{s:i, s:o, s:s, s:o, s:o, s:i, s:o, s:o, s:o, s:o, s:o, s:i, s:i}", "number",
        (int)member->number, "name", text(&member->name), "state", map_page_state(member->state),
        "zone", text(&member->zone), "region", text(&member->region), "weight", (int)member->weight,
        "host", text(&place->host), "native", place_text(place, MAP_PORT_NATIVE), "cluster",
        place_text(place, MAP_PORT_CLUSTER), "peer", place_text(place, MAP_PORT_PEER), "http",
        place_text(place, MAP_PORT_HTTP), "start", (int)place->start, "shards", (int)place->shards);
    json_t *more = json_pack(
        "{s:i, s:i, s:o, s:i, s:i, s:i, s:s, s:b, s:I, s:I, s:I}", "weight_to",
        (int)map_weight_to(member), "ramp_ms", (int)member->ramp_ms, "degraded_by",
        map_reasons(member->condition), "slots_primary", (int)slots->primary, "slots_copy",
        (int)slots->copy, "slots_coming", (int)slots->coming, "link", link_text(page, index),
        "votes", (int)link->votes, "records_behind", (json_int_t)link->records_behind,
        "bytes_behind", (json_int_t)link->bytes_behind, "behind_ms", (json_int_t)link->behind_ms);
    int rc = json_object_update(node, more);

    json_decref(more);
    if (rc != 0) {
        json_decref(node);
        return NULL;
    }
    return node;
}

/* Gives the document back. */
static char *dump(json_t *document, int rc)
{
    char *json = rc == 0 ? json_dumps(document, JSON_COMPACT) : NULL;

    json_decref(document);
    return json;
}

char *map_page_nodes(const struct map_page *page)
{
    const struct map *map = page->map;
    struct map_page_slots slots[MAP_MEMBERS_MAX];
    json_t *nodes = json_array();
    char cluster[20];
    uint8_t id[8];
    int rc = 0;

    store_u64(id, map->cluster); /* The first half of the cluster's id, in the same order. */
    map_page_count(map, slots);
    for (uint32_t i = 0; i < map->member_count; i++) {
        rc |= json_array_append_new(nodes, node_object(page, i, &slots[i]));
    }
    snprintf(cluster, sizeof cluster, "%016" PRIx64, load_u64_big(id));
    return dump(json_pack("{s:s, s:I, s:i, s:i, s:i, s:o}", "cluster", cluster, "epoch",
                          (json_int_t)map->epoch, "replicas", (int)map->replicas, "leader",
                          (int)page->leader, "self", (int)page->self, "nodes", nodes),
                rc);
}

/* ---- The ring. ---- */

static json_t *names_of(const struct map *map, const struct slot_owners *owners)
{
    json_t *names = json_array();

    for (uint32_t i = 0; i < PLACEMENT_REPLICAS_MAX && owners->nodes[i] != 0; i++) {
        json_array_append_new(names, text(&map->members[index_of(map, owners->nodes[i])].name));
    }
    return names;
}

static bool same(const struct slot_owners *a, const struct slot_owners *b)
{
    return memcmp(a, b, sizeof *a) == 0;
}

static json_t *runs_of(const struct map *map)
{
    json_t *runs = json_array();

    for (uint32_t first = 0, end; first < SLOT_COUNT; first = end) {
        struct slot_owners targets = map_targets(map, first), next;
        for (end = first + 1; end < SLOT_COUNT; end++) {
            next = map_targets(map, end);
            if (!same(&map->owners[end], &map->owners[first]) || !same(&next, &targets)) {
                break;
            }
        }
        json_t *run =
            json_pack("{s:i, s:i, s:o, s:o}", "first", (int)first, "last", (int)end - 1, "owners",
                      names_of(map, &map->owners[first]), "targets", names_of(map, &targets));
        if (json_array_append_new(runs, run) != 0) {
            json_decref(runs);
            return NULL;
        }
    }
    return runs;
}

char *map_page_ring(const struct map_page *page)
{
    const struct map *map = page->map;
    json_t *nodes = json_array();
    int rc = 0;

    for (uint32_t i = 0; i < map->member_count; i++) {
        const struct map_member *member = &map->members[i];
        rc |= json_array_append_new(
            nodes, json_pack("{s:i, s:o, s:o, s:s}", "number", (int)member->number, "name",
                             text(&member->name), "zone", text(&member->zone), "state",
                             map_page_state(member->state)));
    }
    return dump(json_pack("{s:I, s:i, s:o, s:o}", "epoch", (json_int_t)map->epoch, "replicas",
                          (int)map->replicas, "runs", runs_of(map), "nodes", nodes),
                rc);
}

/* ---- A slot. ---- */

static json_t *list_of(const struct map_page *page, const struct slot_owners *owners)
{
    json_t *list = json_array();
    int rc = 0;

    for (uint32_t i = 0; i < PLACEMENT_REPLICAS_MAX && owners->nodes[i] != 0; i++) {
        uint32_t index = index_of(page->map, owners->nodes[i]);
        const struct map_member *member = &page->map->members[index];
        const struct map_page_link *link = &page->links[index];
        rc |= json_array_append_new(
            list,
            json_pack("{s:i, s:o, s:i, s:s, s:s, s:I, s:I}", "number", (int)member->number, "name",
                      text(&member->name), "rank", (int)i, "state", map_page_state(member->state),
                      "link", link_text(page, index), "records_behind",
                      (json_int_t)link->records_behind, "behind_ms", (json_int_t)link->behind_ms));
    }
    if (rc != 0) {
        json_decref(list);
        return NULL;
    }
    return list;
}

char *map_page_slot(const struct map_page *page, uint32_t slot)
{
    const struct map *map = page->map;
    struct slot_owners targets = map_targets(map, slot);

    assert(slot < SLOT_COUNT);
    return dump(json_pack("{s:i, s:I, s:o, s:o, s:o}", "slot", (int)slot, "epoch",
                          (json_int_t)map->epoch, "owners", list_of(page, &map->owners[slot]),
                          "targets", list_of(page, &targets), "homes",
                          list_of(page, &map->homes[slot])),
                0);
}

char *map_page_step(const struct map *map, const struct map_step *step)
{
    const struct map_member *member = map_member(map, step->number);
    uint32_t lost = 0;

    for (uint32_t slot = 0; slot < SLOT_COUNT; slot++) {
        lost += map->lost[slot] != 0;
    }
    return dump(json_pack("{s:i, s:o, s:s, s:i, s:i, s:i, s:i, s:b, s:i, s:I, s:I}", "number",
                          (int)step->number, "name", text(step->name), "state",
                          member != NULL ? map_page_state(member->state) : "", "slots",
                          (int)step->slots, "weight", member != NULL ? (int)member->weight : 0,
                          "weight_to", member != NULL ? (int)map_weight_to(member) : 0, "ramp_ms",
                          member != NULL ? (int)member->ramp_ms : 0, "removed", member == NULL,
                          "lost", (int)lost, "sessions_given_up", (json_int_t)step->given_up,
                          "epoch", (json_int_t)map->epoch),
                0);
}
