#include <assert.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cluster_frame.h"
#include "cluster_scenario.h"
#include "heap.h"

enum {
    WEIGHT = 800,
    ID = 77,
    LOOK_US = 250 * 1000,
    HEAD_BYTES = 2 + 8, /* Of CLUSTER_CONTROL. */
};

static struct memory heap = {.resize = heap_resize, .map = heap_map, .unmap = heap_unmap};

uint64_t cluster_node_now_ms(const struct cluster_node *node)
{
    return sim_clock_boot_us(&node->sim->nodes[node->place].clock) / 1000;
}

static uint64_t logger_clock(void *clock)
{
    return cluster_node_now_ms(clock);
}

bool cluster_node_serves(const struct cluster_node *node)
{
    return node->cluster != NULL && !node->sim->nodes[node->place].paused;
}

/* ---- Who is where ---- */

uint32_t cluster_node_place_of(const struct cluster_node *node, uint32_t number)
{
    for (uint32_t i = 0; i < node->member_count; i++) {
        if (node->members[i].number == number) {
            return node->members[i].place;
        }
    }
    return 0;
}

struct cluster_known *cluster_node_knows(struct cluster_node *node, uint32_t place, uint32_t number)
{
    for (uint32_t i = 0; i < node->member_count; i++) {
        struct cluster_known *member = &node->members[i];
        if (member->place == place && (number == 0 || member->number == number)) {
            return member;
        }
    }
    return NULL;
}

static void note_members(struct cluster_node *node, const struct map *map)
{
    struct cluster_known now[CLUSTER_SIM_MEMBERS_MAX];

    assert(map->member_count <= CLUSTER_SIM_MEMBERS_MAX);
    for (uint32_t i = 0; i < map->member_count; i++) {
        const struct map_member *member = &map->members[i];
        uint32_t place = (member->place.ports[MAP_PORT_NATIVE] - CLUSTER_SIM_PORT) / 10U;
        const struct cluster_known *before = cluster_node_knows(node, place, member->number);
        now[i] = (struct cluster_known){
            .number = member->number,
            .place = place,
            .apart = before != NULL && before->apart,
        };
    }
    node->member_count = map->member_count;
    memcpy(node->members, now, map->member_count * sizeof now[0]);
}

/* ---- A new map ---- */

static void note_apart(const struct cluster_node *node, struct slot_table *table)
{
    for (uint32_t i = 0; i < table->member_count; i++) {
        for (uint32_t j = 0; j < node->member_count; j++) {
            if (node->members[j].number == table->members[i].number) {
                table->members[i].apart = node->members[j].apart;
            }
        }
    }
}

/* As of the map, but for slots that no key is in: nobody owns them. */
static void make_table(struct slot_table *table, const struct map *map, uint32_t self)
{
    struct slot_owners owners[COPIES_KEYS], targets[COPIES_KEYS];

    slot_table_make(table, map, self);
    for (uint32_t key = 0; key < COPIES_KEYS; key++) {
        uint32_t slot = slot_of_key(copies_key(key));
        owners[key] = table->owners[slot];
        targets[key] = table->targets[slot];
    }
    memset(table->owners, 0, sizeof table->owners);
    memset(table->targets, 0, sizeof table->targets);
    for (uint32_t key = 0; key < COPIES_KEYS; key++) {
        uint32_t slot = slot_of_key(copies_key(key));
        table->owners[slot] = owners[key];
        table->targets[slot] = targets[key];
    }
}

/* All clients that are connected are told. */
static void tell_clients(struct cluster_node *node, const struct slot_table *table)
{
    struct cluster_told *told = &node->told;

    memset(told, 0, sizeof *told);
    told->what = CLUSTER_MAP;
    told->epoch = table->epoch;
    for (uint32_t key = 0; key < COPIES_KEYS; key++) {
        const struct slot_owners *owners = &table->owners[slot_of_key(copies_key(key))];
        for (uint32_t rank = 0; rank < PLACEMENT_REPLICAS_MAX; rank++) {
            told->places[key][rank] = cluster_node_place_of(node, owners->nodes[rank]);
        }
    }
    for (uint32_t client = 1; client <= CLUSTER_SIM_CLIENTS; client++) {
        sim_net_send(node->sim, node->place, SIM_NODES_MAX + client, bytes_of(told, sizeof *told));
    }
}

static void port_map(void *context, const struct map *map, bool kept)
{
    struct cluster_node *node = context;
    struct slot_table *table = node->tables[!node->table];
    struct copies_node *copies = node->copies;

    sim_note(node->sim, "map", node->place, map->epoch, map->member_count);
    cluster_check_map(node, map, kept);
    note_members(node, map);
    make_table(table, map, copies->number);
    table->kept = kept;
    note_apart(node, table);
    node->table = !node->table;
    copies->table = table;
    tell_clients(node, table);
    cluster_handoffs_taken(node);
    if (copies->replication != NULL) {
        copies_node_use_table(copies);
        cluster_requests_table(node, table);
    }
}

void cluster_node_follow_clocks(struct cluster_node *node)
{
    struct slot_table *table = node->tables[!node->table];

    *table = *node->tables[node->table];
    note_apart(node, table);
    node->table = !node->table;
    node->copies->table = table;
    copies_node_use_table(node->copies);
}

/* ---- The other ports ---- */

static bool port_send(void *context, uint32_t to, uint8_t kind, uint64_t number,
                      const struct bytes parts[], uint32_t count)
{
    struct cluster_node *node = context;
    uint32_t place = cluster_node_place_of(node, to);
    size_t body = count > 0 ? parts[0].size : 0;

    assert(count <= 1);
    if (place == 0 || place == node->place || cluster_is_apart(node->sim, node->place, place)) {
        return false;
    }
    uint8_t *message = sim_more(NULL, HEAD_BYTES + body);
    message[0] = CLUSTER_CONTROL;
    message[1] = kind;
    store_u64(message + 2, number);
    if (body > 0) {
        memcpy(message + HEAD_BYTES, parts[0].data, body);
    }
    sim_net_send(node->sim, node->place, place, bytes_of(message, HEAD_BYTES + body));
    free(message);
    return true;
}

static void port_committed(void *context, uint64_t index)
{
    struct cluster_node *node = context;

    raft_file_commit(&node->file, index);
}

static void tick(struct sim *sim, const struct sim_event *event);

static void port_wake_in(void *context, uint32_t ms)
{
    struct cluster_node *node = context;
    uint64_t due_us = node->sim->now_us + ms * UINT64_C(1000);

    if (due_us < node->due_us) {
        node->due_us = due_us;
        sim_after(node->sim, ms * UINT64_C(1000), node->place, "control", tick, 0, ++node->timer);
    }
}

static void tick(struct sim *sim, const struct sim_event *event)
{
    struct cluster_node *node = cluster_node_at(sim, event->end);

    if (event->b == node->timer) {
        node->due_us = UINT64_MAX;
        cluster_tick(node->cluster, cluster_node_now_ms(node));
        cluster_check_node(node);
        port_wake_in(node, cluster_tick_ms(node->cluster));
    }
}

void cluster_node_stored(struct cluster_node *node, bool good)
{
    uint64_t sequence = raft_file_written(&node->file, good);

    if (sequence != 0) {
        cluster_stored(node->cluster, cluster_node_now_ms(node), sequence);
        cluster_check_node(node);
    }
}

void cluster_node_receive(struct cluster_node *node, uint32_t from, struct bytes message)
{
    struct reader reader = reader_of(message);
    uint32_t number = cluster_scenario_of(node->sim)->copies.nodes[from].number;

    (void)read_u8(&reader);
    uint8_t kind = read_u8(&reader);
    uint64_t what = read_u64(&reader);
    struct bytes body = read_bytes(&reader, reader_left(&reader));
    if (node->cluster == NULL || cluster_node_place_of(node, number) != from) {
        return; /* Whom the map does not have is not let in. */
    }
    bool known =
        cluster_receive(node->cluster, cluster_node_now_ms(node), number, kind, what, body);
    SIM_CHECK("message", known, "node %u does not know frames of kind %u", node->place, kind);
    cluster_check_node(node);
}

void cluster_node_lost(struct cluster_node *node, uint32_t place)
{
    copies_links_reset(node->copies, place);
    for (uint32_t i = 0; i < node->member_count; i++) {
        if (node->members[i].place == place) {
            cluster_link_down(node->cluster, cluster_node_now_ms(node), node->members[i].number);
        }
    }
    cluster_check_node(node);
}

bool cluster_knows(const struct copies_node *copies, uint32_t place, uint32_t number)
{
    return cluster_node_knows(cluster_node_at(copies->sim, copies->node), place, number) != NULL;
}

void cluster_levels(struct copies_node *copies, uint32_t slot, const struct slot_owners *targets)
{
    struct cluster_node *node = cluster_node_at(copies->sim, copies->node);

    for (uint32_t key = 0; key < COPIES_KEYS; key++) {
        if (slot_of_key(copies_key(key)) == slot) {
            cluster_check_level(node, key, targets);
            cluster_handoff_reached(node->sim, key, targets, CLUSTER_LEVEL);
        }
    }
    cluster_level(node->cluster, cluster_node_now_ms(node), slot, targets);
}

void cluster_drops(struct copies_node *copies, uint32_t slot, bool rest)
{
    struct cluster_node *node = cluster_node_at(copies->sim, copies->node);

    for (uint32_t key = 0; key < COPIES_KEYS; key++) {
        const struct cluster_handoff *handoff = &cluster_scenario_of(node->sim)->handoffs[key];
        if (slot_of_key(copies_key(key)) != slot) {
            continue;
        }
        if (!rest) {
            cluster_check_drop(node, key);
        } else if (handoff->step == CLUSTER_STRAY && handoff->leaver == copies->number) {
            cluster_handoff_reached(node->sim, key, NULL, CLUSTER_DROPPED);
        }
    }
}

/* ---- Slots that nobody uses ---- */

static bool is_used(uint32_t slot)
{
    for (uint32_t key = 0; key < COPIES_KEYS; key++) {
        if (slot_of_key(copies_key(key)) == slot) {
            return true;
        }
    }
    return false;
}

static bool reaches(const struct cluster_node *node, const struct slot_owners *targets)
{
    for (uint32_t rank = 0; rank < PLACEMENT_REPLICAS_MAX && targets->nodes[rank] != 0; rank++) {
        uint32_t target = targets->nodes[rank];
        if (target != node->copies->number &&
            !replication_reaches(node->copies->replication, target, 0)) {
            return false;
        }
    }
    return true;
}

static bool all_serve(const struct map *map)
{
    for (uint32_t i = 0; i < map->member_count; i++) {
        enum map_state state = map->members[i].state;
        if (!map_state_serves(state) && state != MAP_DRAINING) {
            return false;
        }
    }
    return true;
}

/* There is nothing in them: whom their primary reaches has all of it. While a member is down they are left as they are:
 * to say of thousands of slots who stands in for it would be all that a run does. */
static void level_unused(struct cluster_node *node)
{
    const struct map *map = cluster_map(node->cluster);
    bool all = true;

    if (map->epoch == node->level_epoch || !all_serve(map)) {
        return;
    }
    for (uint32_t slot = 0; slot < SLOT_COUNT; slot++) {
        if (map->owners[slot].nodes[0] != node->copies->number) {
            continue;
        }
        struct slot_owners targets = map_targets(map, slot);
        if (memcmp(&targets, &map->owners[slot], sizeof targets) == 0) {
            continue;
        }
        all = false;
        if (!is_used(slot) && reaches(node, &targets)) {
            cluster_level(node->cluster, cluster_node_now_ms(node), slot, &targets);
        }
    }
    node->level_epoch = all ? map->epoch : 0;
}

static void look(struct sim *sim, const struct sim_event *event)
{
    struct cluster_node *node = cluster_node_at(sim, event->end);
    const struct sim_disk *disk = &sim->nodes[node->place].disk;

    cluster_condition(node->cluster, cluster_node_now_ms(node),
                      disk->failed ? CONDITION_LOG_FAILED
                      : disk->full ? CONDITION_DISK_FULL
                                   : 0);
    if (!replication_is_switching(node->copies->replication)) {
        cluster_followed(node->cluster, node->copies->table->epoch);
    }
    cluster_check_node(node);
    level_unused(node);
    sim_after(sim, LOOK_US, node->place, "look", look, 0, 0);
}

/* ---- Start and stop ---- */

static struct map_text text_of(const char *from)
{
    struct map_text text = {.size = (uint8_t)strlen(from)};

    memcpy(text.bytes, from, text.size);
    return text;
}

struct map_command cluster_node_add(const struct cluster_node *node)
{
    uint16_t port = (uint16_t)(CLUSTER_SIM_PORT + 10 * node->place);
    char name[16];

    snprintf(name, sizeof name, "n%u", node->place);
    return (struct map_command){
        .type = MAP_ADD,
        .weight = WEIGHT,
        .name = text_of(name),
        .place =
            {
                .host = text_of("10.0.0.1"),
                .ports = {port, (uint16_t)(port + 1), (uint16_t)(port + 2), (uint16_t)(port + 3)},
                .shards = 1,
            },
    };
}

static void begin_store(struct cluster_node *node, const struct cluster_options *options)
{
    struct buffer first = {.memory = &heap};
    struct raft_saved saved;

    int rc = cluster_first(options, &first, &saved);
    SIM_CHECK("start", rc == 0, "node %u cannot begin: %d", node->place, rc);
    raft_file_begin(&node->file, &saved);
    buffer_fini(&first);
}

void cluster_node_run(struct cluster_node *node, struct bytes seed)
{
    struct copies_node *copies = node->copies;
    struct map_command add = cluster_node_add(node);
    char message[256] = "";

    copies_node_count(copies);
    raft_file_open(&node->file, node->sim, &node->sim->nodes[node->place].other);
    add.place.start = copies->start;
    struct cluster_options options = {
        .self = {copies->number, copies->start},
        .run = copies->run,
        .weight = add.weight,
        .name = add.name,
        .zone = add.zone,
        .place = add.place,
        .liveness = LIVENESS_SETTINGS_DEFAULT,
        .random = sim_random(node->sim, SIM_RANDOM_NODES),
        .found = copies->founds,
        .id = ID,
        .replicas = cluster_scenario_of(node->sim)->copies.replicas,
        .seed = seed,
        .store = &node->file.store,
        .memory = &node->memory.memory,
        .logger = &node->logger,
        .port = {port_send, port_map, port_committed, port_wake_in, node},
    };
    options.liveness.heartbeat_ms = CLUSTER_SIM_HEARTBEAT_MS;
    options.liveness.down_after_ms = CLUSTER_SIM_DOWN_AFTER_MS;
    options.liveness.cooldown_ms = CLUSTER_SIM_COOLDOWN_MS;
    options.liveness.cooldown_max_ms = CLUSTER_SIM_COOLDOWN_MS_MAX;
    if (node->file.saved.snapshot_index == 0) {
        begin_store(node, &options);
    }
    options.saved = &node->file.saved;
    node->due_us = UINT64_MAX;
    node->epoch = node->commit = node->level_epoch = 0;
    node->begun_us = node->sim->now_us;
    node->heard = false;
    node->member_count = 0;
    int rc = cluster_create(&options, cluster_node_now_ms(node), &node->cluster, message,
                            sizeof message);
    raft_file_forget(&node->file);
    if (rc == -ENOENT && node->leaves) {
        return; /* It was removed meanwhile. */
    }
    SIM_CHECK("start", rc == 0, "node %u: %s: %d", node->place, message, rc);
    cluster_requests_init(node);
    copies_node_open(copies);
    port_wake_in(node, cluster_tick_ms(node->cluster));
    sim_after(node->sim, LOOK_US, node->place, "look", look, 0, 0);
    cluster_check_node(node);
}

void cluster_node_stop(struct cluster_node *node, enum sim_stop stop)
{
    if (node->cluster == NULL) {
        return;
    }
    cluster_destroy(node->cluster);
    node->cluster = NULL;
    sim_memory_check_end(&node->memory);
    copies_node_stop(node->copies, stop);
}

void cluster_node_init(struct cluster_node *node, struct sim *sim, uint32_t place)
{
    struct cluster_scenario *scenario = cluster_scenario_of(sim);

    node->sim = sim;
    node->place = place;
    node->copies = &scenario->copies.nodes[place];
    copies_node_init(node->copies, sim, place);
    sim_memory_init(&node->memory, "control plane", place, CLUSTER_SIM_BYTES_MAX);
    logger_init(&node->logger, scenario->null_fd, LOG_FORM_TEXT, LOG_LEVEL_ERROR, logger_clock,
                node);
    for (int i = 0; i < 2; i++) {
        node->tables[i] = sim_more(NULL, sizeof *node->tables[i]);
        memset(node->tables[i], 0, sizeof *node->tables[i]);
    }
    node->copies->table = node->tables[0];
}

void cluster_node_fini(struct cluster_node *node)
{
    raft_file_fini(&node->file);
    logger_fini(&node->logger);
    free(node->tables[0]);
    free(node->tables[1]);
    copies_node_fini(node->copies);
}
