#include "raft_scenario.h"

#include <assert.h>
#include <errno.h>
#include <inttypes.h>
#include <string.h>

#include "nemesis.h"
#include "scenarios.h"

enum {
    TROUBLE_US = 20 * 1000000,
    SETTLE_US = 20 * 1000000,
    EPILOGUE_US = 3 * 1000000,
    PROPOSE_US_MAX = 100000,
    CHANGE_US_MAX = 2000000,
};

/* ---- What is asked of it ---- */

/* A node that leads, as far as it knows; of several the one with the newest term. NULL: none. */
static struct raft_node *leader_of(struct sim *sim)
{
    struct raft_scenario *scenario = raft_scenario_of(sim);
    struct raft_node *found = NULL;

    for (uint32_t i = 1; i <= sim->node_count; i++) {
        struct raft_node *node = &scenario->nodes[i];
        if (node->runs && !sim->nodes[i].paused && node->raft.role == RAFT_LEADER &&
            (found == NULL || node->raft.term > found->raft.term)) {
            found = node;
        }
    }
    return found;
}

static uint32_t draw(struct sim *sim, uint32_t bound)
{
    return (uint32_t)sim_between(sim, SIM_RANDOM_CLIENTS, 0, bound - 1);
}

static void propose(struct sim *sim, const struct sim_event *event)
{
    struct raft_scenario *scenario = raft_scenario_of(sim);
    struct raft_node *node = &scenario->nodes[1 + draw(sim, sim->node_count)];
    uint8_t command[RAFT_SIM_COMMAND_BYTES] = {0};
    struct raft_place place;

    (void)event;
    sim_after(sim, 1 + draw(sim, PROPOSE_US_MAX), 0, "propose", propose, 0, 0);
    if (!node->runs || sim->nodes[node->node].paused || scenario->proposed_last) {
        return;
    }
    store_u64(command, ++scenario->proposals);
    int rc =
        raft_propose(&node->raft, bytes_of(command, 8 + draw(sim, sizeof command - 7)), &place);
    if (rc != 0) {
        return;
    }
    sim_count(sim, SIM_PROPOSALS);
    sim_note(sim, "proposed", node->node, place.index, place.term);
    if (sim->healed && node == leader_of(sim) && sim->now_us > sim->heals_us + EPILOGUE_US / 3) {
        scenario->last_place = place;
        scenario->proposed_last = true;
    }
}

/* Has the last proposal got lost? Then there has to be another one. */
static void watch_last(struct raft_scenario *scenario)
{
    const struct raft_place *place = &scenario->last_place;

    if (scenario->proposed_last && scenario->committed_last >= place->index &&
        scenario->committed[place->index].term != place->term) {
        scenario->proposed_last = false;
    }
}

static void change(struct sim *sim, const struct sim_event *event)
{
    static const enum raft_change changes[] = {RAFT_ADD_LEARNER, RAFT_ADD_LEARNER, RAFT_PROMOTE,
                                               RAFT_PROMOTE,     RAFT_DEMOTE,      RAFT_REMOVE};
    struct raft_node *leader = leader_of(sim);
    uint32_t node = 1 + draw(sim, sim->node_count);
    enum raft_change wanted = changes[draw(sim, 6)];
    struct raft_place place;

    (void)event;
    if (sim->healed) {
        return;
    }
    sim_after(sim, 1 + draw(sim, CHANGE_US_MAX / sim->haste), 0, "change", change, 0, 0);
    if (leader == NULL) {
        return;
    }
    if (draw(sim, 5) == 0) {
        (void)raft_transfer(&leader->raft, draw(sim, 2) == 0 ? 0 : node);
    } else if (raft_change(&leader->raft, wanted, node, &place) == 0) {
        sim_count(sim, SIM_CHANGES);
        sim_note(sim, "changing", node, wanted, place.index);
    }
}

/* ---- The scenario ---- */

static void begin(struct sim *sim)
{
    struct raft_scenario *scenario = raft_scenario_of(sim);

    sim->net.streams = sim_chance(sim, SIM_RANDOM_NODES, 50);
    for (uint32_t i = 1; i <= sim->node_count; i++) {
        scenario->nodes[i].sim = sim;
        scenario->nodes[i].node = i;
    }
    sim_after(sim, PROPOSE_US_MAX, 0, "propose", propose, 0, 0);
    sim_after(sim, CHANGE_US_MAX, 0, "change", change, 0, 0);
}

static void end(struct sim *sim)
{
    for (uint32_t i = 1; i <= sim->node_count; i++) {
        raft_file_fini(&raft_scenario_of(sim)->nodes[i].file);
    }
}

static void start(struct sim *sim, uint32_t node)
{
    raft_node_start(&raft_scenario_of(sim)->nodes[node]);
}

static void stop(struct sim *sim, uint32_t node, enum sim_stop how)
{
    (void)how; /* Its store tells nobody of what a clean stop made durable. */
    raft_node_stop(&raft_scenario_of(sim)->nodes[node]);
}

static void receive(struct sim *sim, uint32_t to, uint32_t from, struct bytes message)
{
    int rc = raft_receive(&raft_scenario_of(sim)->nodes[to].raft, from, message);

    SIM_CHECK("message", rc != -EBADMSG && rc != -EPROTONOSUPPORT,
              "node %u does not understand node %u: %d", to, from, rc);
}

static void written(struct sim *sim, struct sim_disk *disk, bool good)
{
    raft_node_written(&raft_scenario_of(sim)->nodes[disk->node], good);
}

static void check(struct sim *sim)
{
    raft_check_all(raft_scenario_of(sim));
    watch_last(raft_scenario_of(sim));
}

/* Are all members where the leader is, with what was proposed last? */
static bool settled(struct sim *sim)
{
    const struct raft_scenario *scenario = raft_scenario_of(sim);
    const struct raft_node *leader = leader_of(sim);

    if (leader == NULL || !scenario->proposed_last ||
        leader->raft.applied < scenario->last_place.index ||
        leader->raft.applied != raft_log_last(&leader->raft.log)) {
        return false;
    }
    for (uint32_t i = 0; i < leader->raft.members.count; i++) {
        const struct raft_node *node = &scenario->nodes[leader->raft.members.list[i].node];
        if (node->raft.applied != leader->raft.applied || node->chain.hash != leader->chain.hash) {
            return false;
        }
    }
    return true;
}

static void check_end(struct sim *sim)
{
    SIM_CHECK("end", settled(sim), "the members differ again");
}

const struct sim_scenario scenario_raft = {
    .name = "raft",
    .nodes_min = 3,
    .nodes_max = 7,
    .faults = NEMESIS_EVERYWHERE | NEMESIS_AMONG_NODES,
    .kept_percent = 30,
    .context_bytes = sizeof(struct raft_scenario),
    .trouble_us = TROUBLE_US,
    .settle_us = SETTLE_US,
    .epilogue_us = EPILOGUE_US,
    .begin = begin,
    .end = end,
    .start = start,
    .stop = stop,
    .receive = receive,
    .written = written,
    .check = check,
    .check_end = check_end,
    .settled = settled,
};
