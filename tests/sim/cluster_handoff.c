/* How far the hand-off of each key's slot has come, by what anybody knows of it, and harm that comes just then: whoever
 * plays a part in it crashes, or is cut off, or what moves the slot is taken back. Each run waits for one step and one
 * harm after the other, in an order in which a few runs have them all. */
#include "cluster_frame.h"
#include "cluster_log.h"
#include "cluster_private.h"
#include "cluster_scenario.h"

#include <string.h>

enum {
    REST_US_MIN = 300 * 1000, /* After a strike. */
    REST_US_MAX = 1500 * 1000,
    PATIENCE_US = 3 * 1000 * 1000, /* So long a step is waited for. */
    DELAY_US_MAX = 2000,
    DOWN_US_MIN = 20 * 1000,
    DOWN_US_MAX = 2500 * 1000,
    EACH = CLUSTER_STEPS * CLUSTER_HARMS,
    STRIDE = 5, /* Of the first one, from seed to seed. */
};

static uint32_t draw(struct sim *sim, uint32_t bound)
{
    return (uint32_t)sim_between(sim, SIM_RANDOM_OPERATORS, 0, bound - 1);
}

static bool same(const struct slot_owners *a, const struct slot_owners *b)
{
    return memcmp(a, b, sizeof *a) == 0;
}

/* The first of `of` that is none of `others`, and none of `but`; 0: there is none. */
static uint32_t first_but(const struct slot_owners *of, const struct slot_owners *others,
                          const uint32_t but[2])
{
    for (uint32_t rank = 0; rank < PLACEMENT_REPLICAS_MAX && of->nodes[rank] != 0; rank++) {
        uint32_t number = of->nodes[rank];
        if (number != but[0] && number != but[1] &&
            (others == NULL || !slot_owners_has(others, number))) {
            return number;
        }
    }
    return 0;
}

/* ---- Harm ---- */

static void start_again(struct sim *sim, const struct sim_event *event)
{
    sim_start(sim, (uint32_t)event->a);
}

static void join_again(struct sim *sim, const struct sim_event *event)
{
    for (uint32_t place = 1; place <= sim->node_count; place++) {
        sim_net_cut(sim, (uint32_t)event->a, place, false);
        sim_net_cut(sim, place, (uint32_t)event->a, false);
    }
}

static void cut_off(struct sim *sim, uint32_t from)
{
    for (uint32_t place = 1; place <= sim->node_count; place++) {
        if (place != from) {
            sim_net_cut(sim, from, place, true);
            sim_net_cut(sim, place, from, true);
        }
    }
}

/* Returns whether it came. */
static bool harm_now(struct sim *sim, uint32_t place, enum cluster_harm harm)
{
    uint64_t back_us = DOWN_US_MIN + draw(sim, DOWN_US_MAX - DOWN_US_MIN);

    if (harm == CLUSTER_CANCEL) {
        return cluster_operate_cancel(sim, place);
    }
    if (!sim->nodes[place].up) {
        return false;
    }
    if (harm == CLUSTER_CUT) {
        cut_off(sim, place);
        sim_after(sim, back_us, 0, "join", join_again, place, 0);
    } else {
        sim_stop(sim, place, draw(sim, 2) == 0 ? SIM_STOP_KILL : SIM_STOP_MACHINE);
        sim_after(sim, back_us, 0, "start", start_again, place, 0);
    }
    return true;
}

static void arm(struct sim *sim, const struct sim_event *event);

/* `a` is the place, `b` step and harm. */
static void strike(struct sim *sim, const struct sim_event *event)
{
    if (!sim->healed && harm_now(sim, (uint32_t)event->a, event->b % CLUSTER_HARMS)) {
        sim_count(sim, (enum sim_count)(SIM_BEGUN_SOURCE + event->b));
    }
}

/* The next one, some time later. */
static void rest(struct sim *sim, uint64_t us)
{
    struct cluster_scenario *scenario = cluster_scenario_of(sim);

    scenario->strike.armed = false;
    scenario->strike.number++;
    sim_after(sim, us, 0, "arm", arm, scenario->strike.number, 0);
}

static void give_up(struct sim *sim, const struct sim_event *event)
{
    struct cluster_scenario *scenario = cluster_scenario_of(sim);

    if (scenario->strike.armed && scenario->strike.number == event->a) {
        rest(sim, 0);
    }
}

static void arm(struct sim *sim, const struct sim_event *event)
{
    struct cluster_scenario *scenario = cluster_scenario_of(sim);
    uint64_t which = (sim->seed * STRIDE + event->a) % EACH;

    if (sim->healed) {
        return;
    }
    scenario->strike.armed = true;
    scenario->strike.step = (enum cluster_step)(which % CLUSTER_STEPS);
    scenario->strike.harm = (enum cluster_harm)(which / CLUSTER_STEPS);
    if (scenario->strike.harm == CLUSTER_CANCEL) {
        cluster_operate_drain(sim);
    }
    sim_after(sim, PATIENCE_US, 0, "give-up", give_up, event->a, 0);
}

void cluster_handoffs_begin(struct sim *sim)
{
    sim_after(sim, sim->scenario->quiet_us, 0, "arm", arm, 0, 0);
}

static uint32_t leader_place(struct sim *sim)
{
    uint32_t leader = 0;
    uint64_t term = 0;

    for (uint32_t place = 1; place <= sim->node_count; place++) {
        const struct cluster *cluster = cluster_node_at(sim, place)->cluster;
        if (cluster != NULL && cluster->raft.role == RAFT_LEADER && cluster->raft.term > term) {
            leader = place;
            term = cluster->raft.term;
        }
    }
    return leader;
}

static uint32_t place_of(struct sim *sim, uint32_t number)
{
    const struct copies_node *node = copies_node_of(&cluster_scenario_of(sim)->copies, number);

    return node == NULL ? 0 : node->node;
}

static uint32_t source_of(const struct cluster_handoff *handoff)
{
    return handoff->step < CLUSTER_STRAY ? handoff->owners.nodes[0] : handoff->leaver;
}

/* An owner whose drain this is. */
static uint32_t drained_place(struct sim *sim, const struct cluster_handoff *handoff)
{
    for (uint32_t rank = 0; rank < PLACEMENT_REPLICAS_MAX; rank++) {
        uint32_t place = place_of(sim, handoff->owners.nodes[rank]);
        if (place != 0 && cluster_node_at(sim, place)->leaves &&
            !slot_owners_has(&handoff->targets, handoff->owners.nodes[rank])) {
            return place;
        }
    }
    return 0;
}

/* Whom it meets; 0: nobody that is there. */
static uint32_t victim_of(struct sim *sim, const struct cluster_handoff *handoff,
                          enum cluster_harm harm)
{
    const uint32_t both[2] = {source_of(handoff), handoff->target};
    uint32_t number = 0;

    switch (harm) {
    case CLUSTER_CRASH_SOURCE:
    case CLUSTER_CUT:
        return place_of(sim, both[0]);
    case CLUSTER_CRASH_TARGET:
        return place_of(sim, both[1]);
    case CLUSTER_CRASH_SUCCESSOR:
        number = first_but(&handoff->targets, NULL, both);
        return place_of(sim, number != 0 ? number : first_but(&handoff->owners, NULL, both));
    case CLUSTER_CRASH_LEADER:
        return leader_place(sim);
    default:
        return drained_place(sim, handoff);
    }
}

static void meet(struct sim *sim, const struct cluster_handoff *handoff)
{
    struct cluster_scenario *scenario = cluster_scenario_of(sim);

    if (!scenario->strike.armed || sim->healed || scenario->strike.step != handoff->step) {
        return;
    }
    enum cluster_harm harm = scenario->strike.harm;
    uint32_t place = victim_of(sim, handoff, harm);
    if (place == 0 || !sim->nodes[place].up) {
        return;
    }
    uint64_t delay_us = draw(sim, 2) == 0 ? 0 : draw(sim, DELAY_US_MAX);
    sim_after(sim, delay_us, 0, "strike", strike, place,
              (uint64_t)handoff->step * CLUSTER_HARMS + harm);
    rest(sim, REST_US_MIN + draw(sim, REST_US_MAX - REST_US_MIN));
}

/* ---- Steps ---- */

static void reached(struct sim *sim, uint32_t key, enum cluster_step step)
{
    struct cluster_handoff *handoff = &cluster_scenario_of(sim)->handoffs[key];

    handoff->step = step;
    sim_note(sim, "hand-off", 0, key, step);
    meet(sim, handoff);
}

void cluster_handoff_reached(struct sim *sim, uint32_t key, const struct slot_owners *targets,
                             enum cluster_step step)
{
    const struct cluster_handoff *handoff = &cluster_scenario_of(sim)->handoffs[key];

    if (handoff->goes && handoff->step < step &&
        (targets == NULL || same(targets, &handoff->targets))) {
        reached(sim, key, step);
    }
}

static bool any_other(const struct cluster_scenario *scenario, uint64_t epoch)
{
    bool other = false;

    for (uint32_t key = 0; key < COPIES_KEYS; key++) {
        const struct cluster_handoff *handoff = &scenario->handoffs[key];
        other |= handoff->goes && handoff->step < CLUSTER_SETTLED && handoff->epoch != epoch;
    }
    return other;
}

static bool any_down(const struct map *map)
{
    bool down = false;

    for (uint32_t i = 0; i < map->member_count; i++) {
        down |= map->members[i].state == MAP_DOWN;
    }
    return down;
}

static void begins(struct sim *sim, const struct map *map, uint32_t key,
                   const struct slot_owners *targets)
{
    static const uint32_t nobody[2];
    struct cluster_scenario *scenario = cluster_scenario_of(sim);
    struct cluster_handoff *handoff = &scenario->handoffs[key];
    const struct slot_owners *owners = &map->owners[slot_of_key(copies_key(key))];

    *handoff = (struct cluster_handoff){
        .epoch = map->epoch,
        .owners = *owners,
        .targets = *targets,
        .target = first_but(targets, owners, nobody),
        .leaver = first_but(owners, targets, nobody),
    };
    handoff->goes = handoff->target != 0;
    if (handoff->goes && owners->nodes[0] != 0) {
        sim_count(sim, SIM_HANDOFFS);
        sim->counts[SIM_HANDOFFS_AT_ONCE] += any_other(scenario, map->epoch);
        sim->counts[SIM_HANDOFFS_FAILOVER] += any_down(map);
        reached(sim, key, CLUSTER_BEGUN);
    }
}

static void follow(struct sim *sim, const struct map *map, uint32_t key)
{
    struct cluster_handoff *handoff = &cluster_scenario_of(sim)->handoffs[key];
    uint32_t slot = slot_of_key(copies_key(key));
    const struct slot_owners *owners = &map->owners[slot];
    const struct slot_owners targets = map_targets(map, slot);
    bool under_way = handoff->goes && handoff->step < CLUSTER_SETTLED;

    if (!same(owners, &targets)) {
        if (!under_way || !same(owners, &handoff->owners) || !same(&targets, &handoff->targets)) {
            begins(sim, map, key, &targets);
        }
    } else if (under_way && same(owners, &handoff->targets)) {
        sim_count(sim, SIM_HANDOFFS_SETTLED);
        reached(sim, key, CLUSTER_SETTLED);
    } else if (under_way) {
        handoff->goes = false; /* It was taken back. */
    }
}

static void note_left(struct sim *sim, const struct map *map)
{
    for (uint32_t i = 0; i < map->member_count; i++) {
        const struct map_member *member = &map->members[i];
        uint32_t place = place_of(sim, member->number);
        if (place != 0) {
            struct cluster_node *node = cluster_node_at(sim, place);
            sim->counts[SIM_LEFT] += member->state == MAP_LEFT && !node->left;
            node->left = member->state == MAP_LEFT;
        }
    }
}

void cluster_handoffs_map(struct sim *sim, const struct map *map)
{
    note_left(sim, map);
    for (uint32_t key = 0; key < COPIES_KEYS; key++) {
        follow(sim, map, key);
    }
}

void cluster_handoffs_taken(struct cluster_node *node)
{
    struct cluster_scenario *scenario = cluster_scenario_of(node->sim);

    for (uint32_t key = 0; key < COPIES_KEYS; key++) {
        const struct cluster_handoff *handoff = &scenario->handoffs[key];
        const struct slot_owners *owners =
            &node->copies->table->owners[slot_of_key(copies_key(key))];
        if (handoff->step == CLUSTER_SETTLED && handoff->leaver == node->copies->number) {
            cluster_handoff_reached(node->sim, key, owners, CLUSTER_STRAY);
        }
    }
}

/* ---- What is seen of it elsewhere ---- */

/* A command that settles slots: those of which keys? */
static void look_at(struct cluster_node *node, const struct map_command *command)
{
    struct reader from = reader_of(command->runs);
    uint32_t end = 0;
    struct map_run run;

    while (command->type == MAP_SETTLE && map_run_read(&from, &end, &run)) {
        for (uint32_t key = 0; key < COPIES_KEYS; key++) {
            uint32_t slot = slot_of_key(copies_key(key));
            if (slot >= run.slot && slot - run.slot < run.count) {
                cluster_handoff_reached(node->sim, key, &run.owners, CLUSTER_LOGGED);
            }
        }
    }
}

void cluster_handoffs_log(struct cluster_node *node)
{
    const struct raft_log *log = &node->cluster->raft.log;
    uint64_t first = node->logged > log->base_index ? node->logged : log->base_index;
    struct cluster_proposer by;
    struct map_command command;

    node->logged = raft_log_last(log);
    for (uint64_t index = first + 1; index <= node->logged; index++) {
        const struct raft_entry *entry = raft_log_at(log, index);
        if (entry->kind == RAFT_COMMAND && cluster_entry_read(entry->data, &by, &command) == 0) {
            look_at(node, &command);
        }
    }
}

void cluster_handoffs_message(struct cluster_node *node, uint32_t from, struct bytes message)
{
    struct copies_scenario *copies = &cluster_scenario_of(node->sim)->copies;
    uint64_t number = 0;

    if (!copies_links_is_frame(message, REPLICATION_COMPARE_OPEN, &number)) {
        return;
    }
    for (uint32_t key = 0; key < COPIES_KEYS; key++) {
        uint32_t target = cluster_scenario_of(node->sim)->handoffs[key].target;
        if (slot_of_key(copies_key(key)) == (number & UINT16_MAX) &&
            (target == node->copies->number || target == copies->nodes[from].number)) {
            cluster_handoff_reached(node->sim, key, NULL, CLUSTER_COMPARED);
        }
    }
}
