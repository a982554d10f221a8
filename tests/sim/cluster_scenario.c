#include "cluster_scenario.h"

#include <fcntl.h>
#include <string.h>
#include <unistd.h>

#include "nemesis.h"
#include "scenarios.h"

enum {
    QUIET_US = 5 * 1000000, /* All join. */
    TROUBLE_US = 20 * 1000000,
    TOMBSTONE_MS = 1000,
    SETTLE_US = 60 * 1000000,
    CALM_US = 2 * 1000000,
    EPILOGUE_US = 1 * 1000000,
};

static void begin(struct sim *sim)
{
    struct cluster_scenario *scenario = cluster_scenario_of(sim);

    scenario->null_fd = open("/dev/null", O_WRONLY | O_CLOEXEC);
    scenario->copies.tombstone_ms = TOMBSTONE_MS;
    scenario->copies.replicas = 2 + (uint32_t)sim_between(sim, SIM_RANDOM_NODES, 0, 1);
    scenario->copies.knows = cluster_knows;
    scenario->copies.level = cluster_levels;
    scenario->copies.refuses = cluster_refuses;
    scenario->copies.met = cluster_met;
    scenario->copies.drops = cluster_drops;
    for (uint32_t i = 1; i <= sim->node_count; i++) {
        cluster_node_init(&scenario->nodes[i], sim, i);
    }
    scenario->skew_ms = 2 * sim->skew_ms + SIM_CLOCK_DRIFT_MS_MAX;
    scenario->copies.nodes[1].founds = true;
    scenario->copies.nodes[1].number = 1;
    cluster_clients_begin(sim);
    cluster_operate(sim);
    cluster_handoffs_begin(sim);
    cluster_clocks_begin(sim);
}

static void end(struct sim *sim)
{
    struct cluster_scenario *scenario = cluster_scenario_of(sim);

    for (uint32_t i = 1; i <= sim->node_count; i++) {
        cluster_node_fini(&scenario->nodes[i]);
    }
    close(scenario->null_fd);
}

static void start(struct sim *sim, uint32_t place)
{
    struct cluster_node *node = cluster_node_at(sim, place);

    copies_node_read_clock(node->copies);
    if (sim->nodes[place].disk.wiped) {
        copies_node_wiped(node->copies, !node->removed);
        node->removed = false;
    }
    if (node->copies->number != 0) {
        cluster_node_run(node, bytes_of(NULL, 0));
    } else {
        cluster_join(node);
    }
}

static void stop(struct sim *sim, uint32_t place, enum sim_stop how)
{
    cluster_node_stop(cluster_node_at(sim, place), how);
}

static bool is_client(uint32_t end)
{
    return end > SIM_NODES_MAX;
}

static void receive(struct sim *sim, uint32_t to, uint32_t from, struct bytes message)
{
    struct cluster_request request;
    struct cluster_answer answer;

    if (is_client(to)) {
        cluster_clients_receive(sim, to, message);
        return;
    }
    struct cluster_node *node = cluster_node_at(sim, to);
    if (node->cluster == NULL) {
        return; /* It has no links and no door yet. */
    }
    switch (message.data[0]) {
    case CLUSTER_CONTROL:
        cluster_node_receive(node, from, message);
        break;
    case CLUSTER_REQUEST:
        memcpy(&request, message.data, sizeof request);
        cluster_requests_receive(node, &request);
        break;
    case CLUSTER_ANSWER:
        memcpy(&answer, message.data, sizeof answer);
        cluster_requests_answered(node, &answer);
        break;
    default:
        cluster_handoffs_message(node, from, message);
        copies_links_receive(node->copies, from, message);
        break;
    }
}

static void reset(struct sim *sim, uint32_t lost, uint32_t peer)
{
    if (!is_client(lost) && !is_client(peer) && cluster_node_at(sim, lost)->cluster != NULL) {
        cluster_node_lost(cluster_node_at(sim, lost), peer);
    }
}

static void written(struct sim *sim, struct sim_disk *disk, bool good)
{
    struct cluster_node *node = cluster_node_at(sim, disk->node);

    if (node->cluster == NULL) {
        return;
    }
    if (disk->other) {
        cluster_node_stored(node, good);
    } else {
        copies_node_written(node->copies, good);
    }
}

/* Maps are looked at when they come, versions with each tick. */
static void check(struct sim *sim)
{
    struct cluster_scenario *scenario = cluster_scenario_of(sim);

    for (uint32_t i = 1; i <= sim->node_count; i++) {
        copies_node_check(scenario->nodes[i].copies);
        sim_memory_check(&scenario->nodes[i].memory);
    }
}

/* Is everybody in, and is nothing under way, by this map? */
static bool is_settled(struct sim *sim, const struct map *map)
{
    sim->unsettled = "a weight is nothing, or still changes";
    for (uint32_t i = 0; i < map->member_count; i++) {
        if (map->members[i].ramp_ms != 0 || map->members[i].weight == 0) {
            return false;
        }
        if (map->members[i].state != MAP_ACTIVE) {
            sim->unsettled = "a member is not active";
            return false;
        }
    }
    sim->unsettled = "not everybody is in, or an operator is still at it";
    return map->member_count == sim->node_count && !cluster_any_leaves(sim);
}

/* Is everybody up and in, do all have the same map, and does each slot belong to whom it should? */
static bool maps_are_settled(struct sim *sim)
{
    struct cluster_scenario *scenario = cluster_scenario_of(sim);
    struct cluster_figures figures;
    uint64_t epoch = 0;

    sim->unsettled = "not all have the same map";
    for (uint32_t i = 1; i <= sim->node_count; i++) {
        if (!cluster_node_serves(&scenario->nodes[i])) {
            return false;
        }
        if (i > 1 && cluster_map(scenario->nodes[i].cluster)->epoch != epoch) {
            return false;
        }
        epoch = cluster_map(scenario->nodes[i].cluster)->epoch;
    }
    if (!is_settled(sim, cluster_map(scenario->nodes[1].cluster))) {
        return false;
    }
    sim->unsettled = "slots are still to move";
    cluster_figures(scenario->nodes[1].cluster, &figures);
    return figures.unsettled == 0 && scenario->nodes[1].epoch == epoch;
}

static bool is_calm(struct sim *sim)
{
    struct cluster_scenario *scenario = cluster_scenario_of(sim);

    if (!cluster_clients_are_done(scenario)) {
        sim->unsettled = "a client waits";
        return false;
    }
    if (!maps_are_settled(sim) || !copies_are_level(sim)) {
        return false;
    }
    sim->unsettled = "a node has something of a slot that is not its own";
    return cluster_has_no_strays(sim);
}

/* And is it so for a while? What was under way may still take somebody out who is there again. */
static bool settled(struct sim *sim)
{
    struct cluster_scenario *scenario = cluster_scenario_of(sim);

    if (!is_calm(sim)) {
        scenario->calm_since_us = 0;
        return false;
    }
    if (scenario->calm_since_us == 0) {
        scenario->calm_since_us = sim->now_us;
    }
    return sim->now_us - scenario->calm_since_us >= CALM_US;
}

static void check_end(struct sim *sim)
{
    SIM_CHECK("end", is_calm(sim), "the copies differ again");
    copies_oracle_check(sim);
    cluster_check_stamps(sim);
}

const struct sim_scenario scenario_cluster = {
    .name = "cluster",
    .nodes_min = 3,
    .nodes_max = 7,
    .client_count = CLUSTER_SIM_CLIENTS,
    .faults = NEMESIS_EVERYWHERE | NEMESIS_AMONG_NODES | NEMESIS_BIT(WIPE),
    .two_disks = true,
    .kept_percent = 50,
    .clocks_agree = true,
    .context_bytes = sizeof(struct cluster_scenario),
    .quiet_us = QUIET_US,
    .trouble_us = TROUBLE_US,
    .settle_us = SETTLE_US,
    .epilogue_us = EPILOGUE_US,
    .begin = begin,
    .end = end,
    .start = start,
    .stop = stop,
    .receive = receive,
    .reset = reset,
    .written = written,
    .may_wipe = cluster_may_lose,
    .check = check,
    .check_end = check_end,
    .settled = settled,
};
