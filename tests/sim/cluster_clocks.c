/* Nodes whose system has a wrong clock when they start, up to an hour off; later that is seen, and set right, and
 * they are started again. Others do not talk to such a node, nor it to them (server/cluster/peer_hello.h), and both
 * know why. */
#include <assert.h>

#include "cluster_scenario.h"

enum {
    FIRST_US_MAX = 10 * 1000 * 1000,
    AGAIN_US_MIN = 2 * 1000 * 1000,
    AGAIN_US_MAX = 12 * 1000 * 1000,
    DOWN_US_MAX = 500 * 1000,
    LASTS_US_MIN = 300 * 1000,
    LASTS_US_MAX = 5 * 1000 * 1000,
    OFF_MS_MIN = 5 * 1000,
    OFF_MS_MAX = 3600 * 1000,
};

static_assert((int)OFF_MS_MIN > 2 * (int)CLUSTER_SIM_SKEW_MS, "it is found");

static uint32_t draw(struct sim *sim, uint32_t bound)
{
    return (uint32_t)sim_between(sim, SIM_RANDOM_OPERATORS, 0, bound - 1);
}

/* ---- The fault ---- */

static void start_again(struct sim *sim, const struct sim_event *event)
{
    sim_start(sim, (uint32_t)event->a);
}

static void restart(struct sim *sim, uint32_t place)
{
    sim_stop(sim, place, draw(sim, 2) == 0 ? SIM_STOP_CLEAN : SIM_STOP_KILL);
    sim_after(sim, draw(sim, DOWN_US_MAX), 0, "start", start_again, place, 0);
}

static void set_right(struct sim *sim, const struct sim_event *event)
{
    restart(sim, (uint32_t)event->a);
    sim->nodes[event->a].wrong_ms = 0;
}

static void set_wrong(struct sim *sim, const struct sim_event *event)
{
    uint32_t place = 1 + draw(sim, sim->node_count);
    int64_t off_ms = OFF_MS_MIN + (int64_t)draw(sim, OFF_MS_MAX - OFF_MS_MIN);

    (void)event;
    if (sim->healed) {
        return;
    }
    sim_after(sim, AGAIN_US_MIN + draw(sim, AGAIN_US_MAX - AGAIN_US_MIN), 0, "wrong-clock",
              set_wrong, 0, 0);
    if (sim->nodes[place].wrong_ms == 0) {
        /* One that is behind goes on from the newest that it has, and may be near enough to be let in. */
        cluster_scenario_of(sim)->skew_ms = CLUSTER_SIM_SKEW_MS;
        restart(sim, place);
        sim->nodes[place].wrong_ms = draw(sim, 2) == 0 ? off_ms : -off_ms;
        sim_after(sim, LASTS_US_MIN + draw(sim, LASTS_US_MAX - LASTS_US_MIN), 0, "right-clock",
                  set_right, place, 0);
    }
}

void cluster_clocks_begin(struct sim *sim)
{
    if (draw(sim, 2) == 0) { /* In the others clocks go as right as the seed says. */
        sim_after(sim, sim->scenario->quiet_us + draw(sim, FIRST_US_MAX), 0, "wrong-clock",
                  set_wrong, 0, 0);
    }
}

/* ---- What nodes make of it ---- */

bool cluster_is_apart(struct sim *sim, uint32_t a, uint32_t b)
{
    uint64_t here_ms = copies_node_now_ms(cluster_node_at(sim, a)->copies);
    uint64_t there_ms = copies_node_now_ms(cluster_node_at(sim, b)->copies);
    uint64_t off_ms = here_ms > there_ms ? here_ms - there_ms : there_ms - here_ms;

    return off_ms > CLUSTER_SIM_SKEW_MS;
}

bool cluster_refuses(const struct copies_node *copies, uint32_t place)
{
    return cluster_is_apart(copies->sim, copies->node, place);
}

void cluster_met(struct copies_node *copies, uint32_t place, bool refused)
{
    struct cluster_node *node = cluster_node_at(copies->sim, copies->node);
    struct cluster_known *known = cluster_node_knows(node, place, 0);

    if (known != NULL && known->apart != refused) {
        known->apart = refused;
        sim_count(copies->sim, SIM_APART);
        cluster_node_follow_clocks(node);
    }
}
