#include "copies_scenario.h"

#include <stdlib.h>
#include <string.h>

#include "nemesis.h"
#include "scenarios.h"

enum {
    TROUBLE_US = 15 * 1000000,
    TOMBSTONE_MS = 1000,
    SETTLE_US = 30 * 1000000,
    EPILOGUE_US = 1 * 1000000,
    WRITE_US_MAX = 40000,
    DESTROY_PERCENT = 8,
};

static uint32_t draw(struct sim *sim, uint32_t bound)
{
    return (uint32_t)sim_between(sim, SIM_RANDOM_CLIENTS, 0, bound - 1);
}

/* Somebody asks some node for a write. */
static void write_one(struct sim *sim, const struct sim_event *event)
{
    struct copies_scenario *scenario = copies_scenario_of(sim);
    struct copies_oracle *oracle = &scenario->oracle;
    uint32_t node = 1 + draw(sim, sim->node_count), key = draw(sim, COPIES_KEYS);
    bool destroys = key < COPIES_DESTROYED_KEYS && draw(sim, 100) < DESTROY_PERCENT;

    (void)event;
    if (sim->healed || oracle->write_count == COPIES_WRITES_MAX) {
        return;
    }
    sim_after(sim, 1 + draw(sim, WRITE_US_MAX), 0, "write", write_one, 0, 0);
    if (!sim->nodes[node].up || sim->nodes[node].paused) {
        return;
    }
    oracle->writes[oracle->write_count] = (struct copies_write){.key = key, .destroys = destroys};
    copies_node_wakes(&scenario->nodes[node]);
    copies_node_route(&scenario->nodes[node], oracle->write_count++, 0, 0);
    copies_node_turn(&scenario->nodes[node]);
}

/* ---- The scenario ---- */

/* The keys' slots, each on some of the nodes; the other slots nobody has. */
static void make_tables(struct sim *sim, struct copies_scenario *scenario)
{
    scenario->tables = sim_more(NULL, sim->node_count * sizeof scenario->tables[0]);
    memset(scenario->tables, 0, sim->node_count * sizeof scenario->tables[0]);
    for (uint32_t i = 0; i < sim->node_count; i++) {
        struct slot_table *table = &scenario->tables[i];
        table->epoch = 1;
        table->self = i + 1;
        table->replicas = scenario->replicas;
        table->member_count = sim->node_count;
        for (uint32_t member = 0; member < sim->node_count; member++) {
            table->members[member] =
                (struct slot_table_member){.number = member + 1, .shards = 1, .serves = true};
        }
        for (uint32_t key = 0; key < COPIES_KEYS; key++) {
            uint32_t slot = slot_of_key(copies_key(key));
            for (uint32_t rank = 0; rank < scenario->replicas; rank++) {
                table->owners[slot].nodes[rank] = 1 + (key + rank) % sim->node_count;
            }
            table->targets[slot] = table->owners[slot];
        }
    }
}

void copies_begin(struct sim *sim)
{
    struct copies_scenario *scenario = copies_scenario_of(sim);

    make_tables(sim, scenario);
    for (uint32_t i = 1; i <= sim->node_count; i++) {
        copies_node_init(&scenario->nodes[i], sim, i);
        scenario->nodes[i].number = i;
        scenario->nodes[i].founds = true;
        scenario->nodes[i].table = &scenario->tables[i - 1];
    }
    sim_after(sim, WRITE_US_MAX, 0, "write", write_one, 0, 0);
}

static void begin(struct sim *sim)
{
    copies_scenario_of(sim)->tombstone_ms = TOMBSTONE_MS;
    copies_scenario_of(sim)->replicas = 2 + draw(sim, 2);
    copies_begin(sim);
}

void copies_end(struct sim *sim)
{
    struct copies_scenario *scenario = copies_scenario_of(sim);

    for (uint32_t i = 1; i <= sim->node_count; i++) {
        copies_node_fini(&scenario->nodes[i]);
    }
    free(scenario->tables);
}

void copies_start(struct sim *sim, uint32_t node)
{
    copies_node_read_clock(&copies_scenario_of(sim)->nodes[node]);
    copies_node_count(&copies_scenario_of(sim)->nodes[node]);
    copies_node_open(&copies_scenario_of(sim)->nodes[node]);
}

void copies_stop(struct sim *sim, uint32_t node, enum sim_stop how)
{
    copies_node_stop(&copies_scenario_of(sim)->nodes[node], how);
}

void copies_receive(struct sim *sim, uint32_t to, uint32_t from, struct bytes message)
{
    copies_links_receive(&copies_scenario_of(sim)->nodes[to], from, message);
}

void copies_reset(struct sim *sim, uint32_t lost, uint32_t peer)
{
    if (lost <= sim->node_count && peer <= sim->node_count) {
        copies_links_reset(&copies_scenario_of(sim)->nodes[lost], peer);
    }
}

void copies_written(struct sim *sim, struct sim_disk *disk, bool good)
{
    copies_node_written(&copies_scenario_of(sim)->nodes[disk->node], good);
}

/* Versions are looked at with each tick. */
void copies_check(struct sim *sim)
{
    for (uint32_t i = 1; i <= sim->node_count; i++) {
        copies_node_check(&copies_scenario_of(sim)->nodes[i]);
    }
}

/* The content of a live session; 0: there is none. Tombstones go where each node's clock says so. */
static uint64_t content(struct copies_node *node, uint32_t key)
{
    struct bytes record = copies_node_record(node, key);
    struct session_view view;

    if (record.size == 0 || session_open(&view, record, copies_node_now_ms(node)) != 0 ||
        !view.live) {
        return 0;
    }
    return copies_node_hash(node, key);
}

struct copies_node *copies_node_of(struct copies_scenario *scenario, uint32_t number)
{
    for (uint32_t i = 1; i <= SIM_NODES_MAX; i++) {
        if (number != 0 && scenario->nodes[i].number == number) {
            return &scenario->nodes[i];
        }
    }
    return NULL;
}

struct copies_node *copies_owner(struct copies_scenario *scenario, uint32_t key, uint32_t rank)
{
    const struct slot_table *table = scenario->nodes[1].table;

    return copies_node_of(scenario, table->owners[slot_of_key(copies_key(key))].nodes[rank]);
}

/* A session past its deadline is there that should have been buried by now. */
static bool is_overdue(struct copies_node *node, uint32_t key)
{
    struct bytes record = copies_node_record(node, key);
    struct session_view view;

    return record.size > 0 && session_open(&view, record, copies_node_now_ms(node)) == 0 &&
           view.expired;
}

static bool is_level(struct sim *sim, uint32_t key)
{
    struct copies_scenario *scenario = copies_scenario_of(sim);
    uint32_t slot = slot_of_key(copies_key(key));
    uint64_t wanted = 0;

    for (uint32_t rank = 0; rank < scenario->replicas; rank++) {
        struct copies_node *node = copies_owner(scenario, key, rank);
        if (node == NULL || node->replication == NULL ||
            !replication_is_level(node->replication, slot)) {
            sim->unsettled = "a slot is not level at one of its owners";
            return false;
        }
        uint64_t hash = content(node, key);
        wanted = rank == 0 ? hash : wanted;
        if (hash != wanted) {
            sim->unsettled = "copies of a session differ";
            return false;
        }
        if (is_overdue(node, key)) {
            sim->unsettled = "a session past its deadline is not buried";
            return false;
        }
    }
    if (key < COPIES_TIMED_KEYS && wanted != 0) { /* Clocks do not agree on when it ends. */
        sim->unsettled = "a session with a deadline goes on";
        return false;
    }
    return true;
}

bool copies_are_level(struct sim *sim)
{
    for (uint32_t key = 0; key < COPIES_KEYS; key++) {
        if (!is_level(sim, key)) {
            return false;
        }
    }
    return true;
}

/* Are all copies the same, and does everybody know? */
bool copies_settled(struct sim *sim)
{
    return sim_all_go(sim) && copies_are_level(sim);
}

static void check_end(struct sim *sim)
{
    SIM_CHECK("end", copies_settled(sim), "the copies differ again");
    copies_oracle_check(sim);
}

const struct sim_scenario scenario_copies = {
    .name = "copies",
    .nodes_min = 3,
    .nodes_max = 5,
    .faults = NEMESIS_EVERYWHERE | NEMESIS_AMONG_NODES,
    .kept_percent = 50,
    .clocks_agree = true,
    .context_bytes = sizeof(struct copies_scenario),
    .trouble_us = TROUBLE_US,
    .settle_us = SETTLE_US,
    .epilogue_us = EPILOGUE_US,
    .begin = begin,
    .end = copies_end,
    .start = copies_start,
    .stop = copies_stop,
    .receive = copies_receive,
    .reset = copies_reset,
    .written = copies_written,
    .check = copies_check,
    .check_end = check_end,
    .settled = copies_settled,
};
