/* What must hold of a hand-off, whatever fails meanwhile: who is said to have all of a slot has it, as it was stamped;
 * a copy is dropped only where its owners have seen all that was seen with it; who has left owns nothing. */
#include <stdio.h>
#include <string.h>

#include "cluster_scenario.h"
#include "heap.h"
#include "record.h"

enum {
    ACKED_US = 1500 * 1000, /* More than a link is silent until it counts as broken. */
    ON_THE_WAY_US =
        200 * 1000, /* What was sent to a target has come by then, where the connection lives. */
    HELD_US = 1000 * 1000, /* So long at most a stream rests that the target could not store. */
};

static struct memory heap = {.resize = heap_resize, .map = heap_map, .unmap = heap_unmap};

/* Do the two talk on the connection that there is? Else what either takes for true of the other may be over. */
static bool talk(const struct copies_node *node, const struct copies_node *other, bool dialled)
{
    const struct copies_link *link = &node->links[other->node][dialled];
    const struct copies_link *back = &other->links[node->node][!dialled];
    uint64_t connection = sim_net_connection(node->sim, node->node, other->node);

    return other->replication != NULL && link->link != NULL && back->link != NULL &&
           link->connection == connection && back->connection == connection;
}

/* ---- Level ---- */

/* Was this done here, and acknowledged long ago, and can nothing have ended it since? What others did they stream to
 * the targets themselves, as soon as they reach them. */
static bool must_be_there(const struct copies_node *node, const struct copies_write *write)
{
    const struct copies_oracle *oracle = &copies_scenario_of(node->sim)->oracle;

    return write->level != 0 && !write->destroys && write->node == node->node &&
           write->acked_us + ACKED_US + ON_THE_WAY_US <= node->sim->now_us &&
           !copies_may_be_ended(oracle, write);
}

static void check_target(struct copies_node *node, struct copies_node *target, uint32_t key)
{
    const struct copies_oracle *oracle = &copies_scenario_of(node->sim)->oracle;
    struct bytes here = copies_node_record(node, key), there = copies_node_record(target, key);

    for (uint32_t i = 0; i < oracle->write_count; i++) {
        const struct copies_write *write = &oracle->writes[i];
        if (write->key == key && must_be_there(node, write) &&
            copies_shows(here, copies_node_now_ms(node), write, i)) {
            SIM_CHECK("level", copies_shows(there, copies_node_now_ms(target), write, i),
                      "node %u says that node %u has all of key %u, and it has not write %u",
                      node->node, target->node, key, i);
        }
    }
}

/* Each field as whoever wrote it has stamped it. */
static void check_stamps(struct copies_node *node, uint32_t key)
{
    const struct copies_oracle *oracle = &copies_scenario_of(node->sim)->oracle;
    struct bytes record = copies_node_record(node, key);
    struct record opened;
    struct entry entry;

    if (record.size == 0 || record_open(&opened, record, RECORD_FORMAT) != 0) {
        return;
    }
    struct entry_walk walk = entry_walk(&opened);
    while (entry_next(&walk, &entry)) {
        uint32_t number =
            entry.kind == ENTRY_FIELD ? copies_write_of(entry.name) : COPIES_WRITES_MAX;
        if (number < COPIES_WRITES_MAX && oracle->writes[number].executions == 1) {
            SIM_CHECK("stamp", entry.stamp.hlc == oracle->writes[number].hlc,
                      "node %u has write %u of key %u with another stamp", node->node, number, key);
        }
    }
}

static bool takes_part(const struct copies_node *node, uint32_t key)
{
    uint32_t slot = slot_of_key(copies_key(key));

    return slot_owners_has(&node->table->owners[slot], node->number) ||
           slot_owners_has(&node->table->targets[slot], node->number);
}

/* What is sent to a node whose disk takes nothing stays in the stream until it does: who is to be the slot's primary serves only
 * behind that (replication_switch.c). */
static bool stores(const struct sim *sim, uint32_t place)
{
    const struct sim_disk *disk = &sim->nodes[place].disk;

    return !disk->failed && !disk->full &&
           (disk->room_us == 0 || disk->room_us + HELD_US + ON_THE_WAY_US <= sim->now_us);
}

/* `a` is the place of the target, `b` the key and the connection. */
static void look_at_target(struct sim *sim, const struct sim_event *event)
{
    struct copies_node *node = cluster_node_at(sim, event->end)->copies;
    struct copies_node *target = cluster_node_at(sim, (uint32_t)event->a)->copies;
    uint32_t key = (uint32_t)(event->b % COPIES_KEYS);

    if (event->b / COPIES_KEYS == sim_net_connection(sim, node->node, target->node) &&
        talk(node, target, true) && !sim->nodes[target->node].paused && stores(sim, target->node) &&
        takes_part(node, key) && takes_part(target, key)) {
        check_target(node, target, key);
        check_stamps(target, key);
        sim_count(sim, SIM_LEVELS_LOOKED_AT);
    }
}

void cluster_check_level(struct cluster_node *node, uint32_t key, const struct slot_owners *targets)
{
    struct sim *sim = node->sim;
    struct copies_scenario *scenario = &cluster_scenario_of(sim)->copies;

    for (uint32_t rank = 0; rank < PLACEMENT_REPLICAS_MAX; rank++) {
        struct copies_node *target = copies_node_of(scenario, targets->nodes[rank]);
        if (target != NULL && target != node->copies && talk(node->copies, target, true)) {
            uint64_t connection = sim_net_connection(sim, node->place, target->node);
            sim_after(sim, ON_THE_WAY_US, node->place, "look", look_at_target, target->node,
                      connection * COPIES_KEYS + key);
        }
    }
}

void cluster_check_stamps(struct sim *sim)
{
    for (uint32_t place = 1; place <= sim->node_count; place++) {
        for (uint32_t key = 0; key < COPIES_KEYS; key++) {
            check_stamps(cluster_node_at(sim, place)->copies, key);
        }
    }
}

/* ---- Strays ---- */

void cluster_check_drop(struct cluster_node *node, uint32_t key)
{
    struct copies_scenario *scenario = &cluster_scenario_of(node->sim)->copies;
    uint32_t slot = slot_of_key(copies_key(key));
    const struct slot_owners *owners = &node->copies->table->owners[slot];
    struct buffer ours = {.memory = &heap};

    SIM_CHECK("drop", !slot_owners_has(owners, node->copies->number),
              "node %u drops key %u, which is its own", node->place, key);
    if (seen_put(shard_seen(node->copies->shard), slot, &ours) == 0) {
        for (uint32_t rank = 0; rank < PLACEMENT_REPLICAS_MAX; rank++) {
            struct copies_node *owner = copies_node_of(scenario, owners->nodes[rank]);
            if (owner != NULL && talk(node->copies, owner, false)) {
                SIM_CHECK("drop",
                          seen_covers_all(shard_seen(owner->shard), slot, buffer_bytes(&ours)),
                          "node %u drops key %u, of which it has seen what node %u has not",
                          node->place, key, owner->node);
                sim_count(node->sim, SIM_DROPS_LOOKED_AT);
            }
        }
    }
    buffer_fini(&ours);
}

bool cluster_has_no_strays(struct sim *sim)
{
    for (uint32_t place = 1; place <= sim->node_count; place++) {
        struct copies_node *node = cluster_node_at(sim, place)->copies;
        for (uint32_t key = 0; key < COPIES_KEYS; key++) {
            const struct slot_owners *owners = &node->table->owners[slot_of_key(copies_key(key))];
            if (!slot_owners_has(owners, node->number) && copies_node_record(node, key).size > 0) {
                return false;
            }
        }
    }
    return true;
}

/* ---- Owners ---- */

static const struct map_member *member_of(const struct map *map, uint32_t number)
{
    for (uint32_t i = 0; i < map->member_count; i++) {
        if (map->members[i].number == number) {
            return &map->members[i];
        }
    }
    return NULL;
}

/* Each of them once, a member, and one that serves, but for the last one. */
static void check_slot(const struct map *map, uint32_t slot)
{
    const struct slot_owners *owners = &map->owners[slot];

    for (uint32_t rank = 0; rank < PLACEMENT_REPLICAS_MAX && owners->nodes[rank] != 0; rank++) {
        const struct map_member *member = member_of(map, owners->nodes[rank]);
        bool serves = member != NULL && member->state != MAP_LEFT && member->state != MAP_JOINING &&
                      (member->state != MAP_DOWN || owners->nodes[1] == 0);
        SIM_CHECK("owners",
                  serves && slot_owners_rank(owners, owners->nodes[rank]) == rank &&
                      rank < map->replicas,
                  "member %u owns slot %u of epoch %llu", owners->nodes[rank], slot,
                  (unsigned long long)map->epoch);
    }
}

void cluster_check_owners(struct sim *sim, const struct map *map)
{
    (void)sim;
    for (uint32_t key = 0; key < COPIES_KEYS; key++) {
        check_slot(map, slot_of_key(copies_key(key)));
    }
    for (uint32_t i = 0; i < map->member_count; i++) {
        const struct map_member *member = &map->members[i];
        SIM_CHECK("owners", member->state != MAP_LEFT || !map_owns(map, member->number),
                  "member %u has left, and owns something", member->number);
    }
}
