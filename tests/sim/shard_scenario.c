#include "shard_scenario.h"

#include <inttypes.h>
#include <string.h>

#include "nemesis.h"
#include "scenarios.h"

enum {
    NODE = 1,
    CLIENTS = 5,
    TROUBLE_US = 20 * 1000000,
    CLIENTS_GO_ON_US = 2 * 1000000,
    SETTLE_US = 30 * 1000000,
    /* A round of the patrol, what a tombstone is kept, and a little: whatever has ended is gone then. */
    EPILOGUE_US = (64 + 8 + 10 + 6) * 1000000,
};

static void begin(struct sim *sim)
{
    struct shard_scenario *scenario = shard_scenario_of(sim);

    oracle_init(&scenario->oracle, sim);
    shard_life_init(&scenario->life, sim, NODE, &scenario->oracle);
    clients_begin(&scenario->clients, sim, CLIENTS, NODE, sim->heals_us + CLIENTS_GO_ON_US);
}

static void end(struct sim *sim)
{
    oracle_fini(&shard_scenario_of(sim)->oracle);
}

static void start(struct sim *sim, uint32_t node)
{
    (void)node;
    shard_life_start(&shard_scenario_of(sim)->life);
}

static void stop(struct sim *sim, uint32_t node, enum sim_stop how)
{
    (void)node;
    shard_life_stop(&shard_scenario_of(sim)->life, how);
}

static void receive(struct sim *sim, uint32_t to, uint32_t from, struct bytes message)
{
    struct shard_scenario *scenario = shard_scenario_of(sim);

    if (to == NODE) {
        struct operation operation;
        memcpy(&operation, message.data, sizeof operation);
        shard_life_receive(&scenario->life, from, &operation);
    } else {
        struct operation_answer answer;
        memcpy(&answer, message.data, sizeof answer);
        clients_receive(&scenario->clients, to, &answer);
    }
}

static void reset(struct sim *sim, uint32_t end, uint32_t peer)
{
    if (end != NODE && peer == NODE) {
        clients_reset(&shard_scenario_of(sim)->clients, end);
    }
}

static void written(struct sim *sim, struct sim_disk *disk, bool good)
{
    (void)disk; /* There is one. */
    shard_life_written(&shard_scenario_of(sim)->life, good);
}

static void check(struct sim *sim)
{
    shard_life_check(&shard_scenario_of(sim)->life);
}

/* All is there that should be, and nothing else is kept. */
static void check_end(struct sim *sim)
{
    struct shard_scenario *scenario = shard_scenario_of(sim);
    struct keeper_stats keeper;
    uint64_t least, most;

    shard_life_look(&scenario->life);
    const struct shard_stats *stats = shard_stats(scenario->life.shard);
    keeper_stats(shard_keeper(scenario->life.shard), &keeper);
    oracle_live(&scenario->oracle, shard_life_now_ms(&scenario->life), &least, &most);
    SIM_CHECK("end", stats->live >= least && stats->live <= most,
              "the shard counts %" PRIu64 " sessions, not %" PRIu64 " to %" PRIu64, stats->live,
              least, most);
    SIM_CHECK("end", keeper.records == stats->live, "%" PRIu64 " records of %" PRIu64 " sessions",
              keeper.records, stats->live);
}

static bool settled(struct sim *sim)
{
    struct shard_scenario *scenario = shard_scenario_of(sim);

    return sim->nodes[NODE].up && clients_are_done(&scenario->clients);
}

const struct sim_scenario scenario_shard = {
    .name = "shard",
    .nodes_min = 1,
    .nodes_max = 1,
    .client_count = CLIENTS,
    .faults = NEMESIS_EVERYWHERE | NEMESIS_BIT(WIPE),
    .kept_percent = 75,
    .context_bytes = sizeof(struct shard_scenario),
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
    .check = check,
    .check_end = check_end,
    .settled = settled,
};
