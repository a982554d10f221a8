#include "archive_scenario.h"

#include <assert.h>
#include <stdlib.h>

#include "heap.h"
#include "nemesis.h"
#include "scenarios.h"

enum {
    TROUBLE_US = 15 * 1000000,
    SETTLE_US = 30 * 1000000,
    EPILOGUE_US = 1 * 1000000,
    TOMBSTONE_MS = 1000,
    TOMBSTONE_LONG_MS = 3600 * 1000,
    ARCHIVE_OFTEN_ONE_OF = 4, /* Of the writes: objects are small then... */
    ARCHIVE_ONE_OF = 50,      /* ... and now there is much in them. */
    RESTORE_US_MAX = 2500000, /* Between two looks at the archive. */
    RETAIN_US_MAX = 3000000,
};

static uint64_t draw(struct sim *sim, uint64_t bound)
{
    return sim_between(sim, SIM_RANDOM_STORE, 0, bound - 1);
}

static void look(struct sim *sim, const struct sim_event *event)
{
    (void)event;
    archive_oracle_check(sim);
    sim_after(sim, 1 + draw(sim, RESTORE_US_MAX), 0, "restore", look, 0, 0);
}

/* Any node does it. */
static void retain(struct sim *sim, const struct sim_event *event)
{
    uint32_t place = 1 + (uint32_t)draw(sim, sim->node_count);

    (void)event;
    sim_after(sim, 1 + draw(sim, RETAIN_US_MAX), 0, "retain", retain, 0, 0);
    if (sim->nodes[place].up && !sim->nodes[place].paused) {
        uint64_t now_ms = copies_node_now_ms(&copies_scenario_of(sim)->nodes[place]);
        archive_retain(sim, now_ms - ARCHIVE_SIM_WINDOW_MS);
    }
}

static void begin(struct sim *sim)
{
    struct archive_scenario *scenario = archive_scenario_of(sim);

    scenario->copies.archive_one_of = draw(sim, 2) == 0 ? ARCHIVE_OFTEN_ONE_OF : ARCHIVE_ONE_OF;
    scenario->copies.executed = archive_oracle_executed;
    scenario->copies.tombstone_ms = draw(sim, 2) == 0 ? TOMBSTONE_MS : TOMBSTONE_LONG_MS;
    scenario->copies.replicas = 1 + (uint32_t)draw(sim, sim->node_count);
    sim_store_init(&scenario->store, sim);
    int rc = access_open_store(&scenario->access, sim_store_open, &scenario->store);
    assert(rc == 0);
    for (uint32_t key = 0; key < COPIES_KEYS; key++) {
        scenario->restored.records[key].memory = heap_memory();
    }
    copies_begin(sim);
    for (uint32_t i = 1; i <= sim->node_count; i++) {
        archive_node_init(&scenario->nodes[i], sim, i);
    }
    sim_after(sim, draw(sim, RESTORE_US_MAX), 0, "restore", look, 0, 0);
    sim_after(sim, draw(sim, RETAIN_US_MAX), 0, "retain", retain, 0, 0);
}

static void end(struct sim *sim)
{
    struct archive_scenario *scenario = archive_scenario_of(sim);

    for (uint32_t i = 0; i < scenario->copies.oracle.write_count; i++) {
        union {
            const uint8_t *read;
            void *block;
        } record = {.read = scenario->writes[i].record.data};
        free(record.block);
    }
    for (uint32_t key = 0; key < COPIES_KEYS; key++) {
        buffer_fini(&scenario->restored.records[key]);
    }
    access_close(&scenario->access);
    sim_store_fini(&scenario->store);
    copies_end(sim);
}

static void start(struct sim *sim, uint32_t node)
{
    copies_start(sim, node);
    archive_node_start(&archive_scenario_of(sim)->nodes[node]);
}

static void stop(struct sim *sim, uint32_t node, enum sim_stop how)
{
    archive_node_stop(&archive_scenario_of(sim)->nodes[node]);
    copies_stop(sim, node, how);
}

static void receive(struct sim *sim, uint32_t to, uint32_t from, struct bytes message)
{
    if (message.data[0] == COPIES_MESSAGES_END) {
        archive_others_heard(&archive_scenario_of(sim)->nodes[to],
                             bytes_of(message.data + 1, message.size - 1));
    } else {
        copies_receive(sim, to, from, message);
    }
}

/* What this node said may not have come there. */
static void reset(struct sim *sim, uint32_t lost, uint32_t peer)
{
    if (lost <= sim->node_count) {
        archive_scenario_of(sim)->nodes[lost].told_hlc = 0;
    }
    copies_reset(sim, lost, peer);
}

static void written(struct sim *sim, struct sim_disk *disk, bool good)
{
    copies_written(sim, disk, good);
    archive_node_turn(&archive_scenario_of(sim)->nodes[disk->node]);
}

/* Are all copies the same, and is all of it archived? */
static bool settled(struct sim *sim)
{
    if (!copies_settled(sim)) {
        return false;
    }
    for (uint32_t i = 1; i <= sim->node_count; i++) {
        if (!archive_node_is_done(&archive_scenario_of(sim)->nodes[i])) {
            sim->unsettled = "a node has something that is not archived";
            return false;
        }
    }
    return true;
}

static void check_end(struct sim *sim)
{
    SIM_CHECK("end", copies_settled(sim), "the copies differ again");
    copies_oracle_check(sim);
    archive_oracle_check_end(sim);
}

const struct sim_scenario scenario_archive = {
    .name = "archive",
    .nodes_min = 1,
    .nodes_max = 3,
    .faults = NEMESIS_EVERYWHERE | NEMESIS_AMONG_NODES,
    .kept_percent = 50,
    .clocks_agree = true,
    .context_bytes = sizeof(struct archive_scenario),
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
    .check = copies_check,
    .check_end = check_end,
    .settled = settled,
};
