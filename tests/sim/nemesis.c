#include "nemesis.h"

#include "sim.h"

enum {
    PAUSE_US_MIN = 20000, /* Between two faults. */
    PAUSE_US_MAX = 1200000,
    LASTS_US_MIN = 20000,
    LASTS_US_MAX = 3000000,
    HASTE = 6,
    WIPE_ONE_OF = 4, /* Of one node it is the end of a history. */
    WIPE_TRIES = 6,
    WIPE_LOOK_US = 200000,
    BAD_DROP_PERCENT = 8,
    BAD_REPEAT_PERCENT = 10,
};

static uint32_t draw(struct sim *sim, uint32_t bound)
{
    return (uint32_t)sim_between(sim, SIM_RANDOM_NEMESIS, 0, bound - 1);
}

static void later(struct sim *sim, const char *name,
                  void (*run)(struct sim *sim, const struct sim_event *event), uint64_t a,
                  uint64_t b)
{
    uint64_t most_us = LASTS_US_MAX / sim->haste;

    sim_after(sim, sim_between(sim, SIM_RANDOM_NEMESIS, LASTS_US_MIN, most_us), 0, name, run, a, b);
}

/* ---- Nodes ---- */

static void start_again(struct sim *sim, const struct sim_event *event)
{
    sim_start(sim, (uint32_t)event->a);
}

static void stop(struct sim *sim, uint32_t node, enum sim_stop how)
{
    sim_stop(sim, node, how);
    later(sim, "start", start_again, node, 0);
}

static void resume(struct sim *sim, const struct sim_event *event)
{
    sim_resume(sim, (uint32_t)event->a);
}

static void wipe(struct sim *sim, uint32_t node)
{
    stop(sim, node, SIM_STOP_MACHINE);
    sim_disk_wipe(&sim->nodes[node].disk);
    sim_disk_wipe(&sim->nodes[node].other);
    sim_count(sim, SIM_WIPES);
}

/* As soon as the scenario stands it, or not at all. `b`: so many looks are left. */
static void wipe_when_may(struct sim *sim, const struct sim_event *event)
{
    if (sim->healed || event->b == 0) {
        return;
    }
    if (sim->scenario->may_wipe(sim)) {
        wipe(sim, (uint32_t)event->a);
    } else {
        sim_after(sim, WIPE_LOOK_US, 0, "wipe", wipe_when_may, event->a, event->b - 1);
    }
}

static void harm_node(struct sim *sim, enum nemesis_fault fault, uint32_t node)
{
    switch (fault) {
    case NEMESIS_CLEAN_STOP:
        stop(sim, node, SIM_STOP_CLEAN);
        break;
    case NEMESIS_KILL:
        stop(sim, node, SIM_STOP_KILL);
        break;
    case NEMESIS_MACHINE:
        stop(sim, node, SIM_STOP_MACHINE);
        break;
    case NEMESIS_ALL_MACHINES:
        for (uint32_t i = 1; i <= sim->node_count; i++) {
            stop(sim, i, SIM_STOP_MACHINE);
        }
        break;
    case NEMESIS_WIPE:
        if (sim->scenario->may_wipe != NULL) {
            sim_after(sim, 0, 0, "wipe", wipe_when_may, node, WIPE_TRIES);
        } else if (draw(sim, WIPE_ONE_OF) == 0) {
            wipe(sim, node);
        }
        break;
    default:
        sim_pause(sim, node);
        later(sim, "resume", resume, node, 0);
        break;
    }
}

/* ---- The network ---- */

/* Another end of links: a node or a client. */
static uint32_t another_end(struct sim *sim, uint32_t node)
{
    uint32_t ends = sim->node_count + sim->scenario->client_count, other = 1 + draw(sim, ends);

    if (other == node) {
        other = other % ends + 1;
    }
    return other <= sim->node_count ? other : other - sim->node_count + SIM_NODES_MAX;
}

static void join(struct sim *sim, const struct sim_event *event)
{
    sim_net_cut(sim, (uint32_t)event->a, (uint32_t)event->b, false);
}

static void cut(struct sim *sim, uint32_t from, uint32_t to, bool both)
{
    sim_count(sim, SIM_CUTS);
    sim_net_cut(sim, from, to, true);
    later(sim, "join", join, from, to);
    if (both) {
        sim_net_cut(sim, to, from, true);
        later(sim, "join", join, to, from);
    }
}

/* Cut what is between two parts: a set of nodes, and the others but for the bridge. */
static void part(struct sim *sim, uint32_t set, uint32_t bridge, bool both)
{
    for (uint32_t a = 1; a <= sim->node_count; a++) {
        for (uint32_t b = 1; b <= sim->node_count; b++) {
            bool between = (set >> a & 1) != 0 && (set >> b & 1) == 0;
            if (between && a != bridge && b != bridge) {
                cut(sim, a, b, both);
            }
        }
    }
}

static void bad_net_ends(struct sim *sim, const struct sim_event *event)
{
    (void)event;
    sim->net.slow = false;
    sim->net.drop_percent = sim->net.repeat_percent = 0;
}

static void harm_net(struct sim *sim, enum nemesis_fault fault, uint32_t node)
{
    switch (fault) {
    case NEMESIS_CUT:
        cut(sim, node, another_end(sim, node), true);
        break;
    case NEMESIS_ONE_WAY:
        sim_count(sim, SIM_ONE_WAY_CUTS);
        if (draw(sim, 2) == 0) {
            cut(sim, node, another_end(sim, node), false);
        } else {
            cut(sim, another_end(sim, node), node, false);
        }
        break;
    case NEMESIS_ISOLATE:
        sim_count(sim, SIM_PARTITIONS);
        part(sim, 1U << node, 0, draw(sim, 4) != 0);
        break;
    case NEMESIS_PARTITION:
        sim_count(sim, SIM_PARTITIONS);
        part(sim, draw(sim, 1U << sim->node_count) << 1, 0, draw(sim, 4) != 0);
        break;
    case NEMESIS_BRIDGE:
        sim_count(sim, SIM_BRIDGES);
        part(sim, draw(sim, 1U << sim->node_count) << 1, node, true);
        break;
    default:
        sim_count(sim, SIM_BAD_NETS);
        sim->net.slow = draw(sim, 2) == 0;
        sim->net.drop_percent = draw(sim, BAD_DROP_PERCENT);
        sim->net.repeat_percent = draw(sim, BAD_REPEAT_PERCENT);
        later(sim, "good-net", bad_net_ends, 0, 0);
        break;
    }
}

/* ---- Clocks and disks ---- */

static void room_again(struct sim *sim, const struct sim_event *event)
{
    sim_disk_make_room(sim, &sim->nodes[event->a].disk);
    sim_disk_make_room(sim, &sim->nodes[event->a].other);
}

static void fast_again(struct sim *sim, const struct sim_event *event)
{
    sim->nodes[event->a].disk.slow = sim->nodes[event->a].other.slow = false;
}

/* What belayd does about a failed device write is to end: its operator, or systemd, starts it again. */
static void restart(struct sim *sim, const struct sim_event *event)
{
    struct sim_node *node = &sim->nodes[event->a];

    node->disk.fails_next = node->other.fails_next = false;
    if (node->disk.failed || node->other.failed) {
        stop(sim, (uint32_t)event->a, draw(sim, 2) == 0 ? SIM_STOP_KILL : SIM_STOP_MACHINE);
    }
}

static void harm_machine(struct sim *sim, enum nemesis_fault fault, uint32_t node)
{
    struct sim_node *harmed = &sim->nodes[node];

    switch (fault) {
    case NEMESIS_JUMP:
        sim_clock_jump(sim, &harmed->clock);
        break;
    case NEMESIS_DRIFT:
        sim_clock_drift(sim, &harmed->clock);
        break;
    case NEMESIS_FULL:
        sim_count(sim, SIM_FULL_DISKS);
        harmed->disk.full = harmed->other.full = true;
        later(sim, "room", room_again, node, 0);
        break;
    case NEMESIS_FAILED_WRITE:
        if (sim->scenario->two_disks && draw(sim, 2) == 0) {
            harmed->other.fails_next = true;
        } else {
            harmed->disk.fails_next = true;
        }
        later(sim, "restart", restart, node, 0);
        break;
    default:
        sim_count(sim, SIM_SLOW_DISKS);
        harmed->disk.slow = harmed->other.slow = true;
        later(sim, "fast-disk", fast_again, node, 0);
        break;
    }
}

/* ---- When ---- */

static void strike(struct sim *sim, const struct sim_event *event);

static void go_on(struct sim *sim)
{
    uint64_t most_us = PAUSE_US_MAX / sim->haste;

    sim_after(sim, sim_between(sim, SIM_RANDOM_NEMESIS, PAUSE_US_MIN, most_us), 0, "strike", strike,
              0, 0);
}

static void strike(struct sim *sim, const struct sim_event *event)
{
    enum nemesis_fault fault = draw(sim, NEMESIS_FAULTS);
    uint32_t node = 1 + draw(sim, sim->node_count);

    (void)event;
    if (sim->healed) {
        return;
    }
    go_on(sim);
    if ((sim->scenario->faults >> fault & 1) == 0) {
        return;
    }
    sim_note(sim, "fault", node, fault, 0);
    if (fault <= NEMESIS_PAUSE) {
        harm_node(sim, fault, node);
    } else if (fault <= NEMESIS_BAD_NET) {
        harm_net(sim, fault, node);
    } else {
        harm_machine(sim, fault, node);
    }
}

static void begins(struct sim *sim, const struct sim_event *event)
{
    (void)event;
    go_on(sim);
}

void nemesis_begin(struct sim *sim)
{
    sim->haste = draw(sim, 3) == 0 ? HASTE : 1;
    sim_after(sim, sim->scenario->quiet_us, 0, "begin", begins, 0, 0);
}

void nemesis_heal(struct sim *sim)
{
    sim_net_heal(sim);
    for (uint32_t i = 1; i <= sim->node_count; i++) {
        struct sim_node *node = &sim->nodes[i];
        sim_disk_make_room(sim, &node->disk);
        sim_disk_make_room(sim, &node->other);
        node->disk.slow = node->disk.fails_next = false;
        node->other.slow = node->other.fails_next = false;
        sim_resume(sim, i);
        if (node->disk.failed || node->other.failed) {
            sim_stop(sim, i, SIM_STOP_KILL);
        }
        sim_start(sim, i);
    }
}
