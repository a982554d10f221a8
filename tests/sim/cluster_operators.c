/* What operators do, as belayctl node has them (server/node_admin.c, node_admin_nodes.c): nodes are drained, and removed
 * when they have left, or that is taken back, or they are brought in again; weights change, at once and by and by; nodes
 * are called degraded. Several of that at once. What operators say comes to a member that lives and that they reach, not
 * over the simulated network. In the end they bring in all that they took out. */
#include "cluster_scenario.h"
#include "liveness.h"

enum {
    OPERATE_US = 300 * 1000,
    DRAIN_ONE_OF = 12,
    WEIGHT_ONE_OF = 24,
    RAMP_ONE_OF = 24,
    DEGRADE_ONE_OF = 24,
    NOTHING_ONE_OF = 6, /* Of weights. */
    STAY_ONE_OF = 10,   /* At each look. */
    RETURN_ONE_OF = 2,
    LEAVE_MAX = 2, /* At once. */
    WEIGHT_PART = 200,
    WEIGHT_PARTS_MAX = 8,
    WEIGHT = 800,
    RAMP_MS_MAX = 3000,
    LIMBO_US_MAX = 2 * 1000 * 1000,
};

static uint32_t draw(struct sim *sim, uint32_t bound)
{
    return (uint32_t)sim_between(sim, SIM_RANDOM_OPERATORS, 0, bound - 1);
}

struct cluster_node *cluster_somebody(struct sim *sim, uint32_t but)
{
    uint32_t first = draw(sim, sim->node_count);

    for (uint32_t i = 0; i < sim->node_count; i++) {
        uint32_t place = 1 + (first + i) % sim->node_count;
        struct cluster_node *node = cluster_node_at(sim, place);
        if (place != but && cluster_node_serves(node)) {
            return node;
        }
    }
    return NULL;
}

void cluster_operate_say(struct cluster_node *at, const struct map_command *command)
{
    sim_note(at->sim, "propose", at->place, command->type, command->number);
    sim_count(at->sim, SIM_PROPOSALS);
    (void)cluster_propose(at->cluster, cluster_node_now_ms(at), command, NULL, NULL);
    cluster_check_node(at);
}

static void become(struct cluster_node *at, uint32_t number, enum map_state state)
{
    const struct map_command command = {.type = MAP_STATE, .number = number, .state = state};

    cluster_operate_say(at, &command);
}

static bool serves(const struct map_member *member)
{
    return member->state == MAP_ACTIVE || member->state == MAP_DEGRADED;
}

/* NULL: this member's map has none of that number. */
static const struct map_member *member_of(const struct cluster_node *at, uint32_t number)
{
    const struct map *map = cluster_map(at->cluster);

    for (uint32_t i = 0; i < map->member_count; i++) {
        if (map->members[i].number == number) {
            return &map->members[i];
        }
    }
    return NULL;
}

static bool others_serve(const struct map *map, uint32_t number)
{
    bool others = false;

    for (uint32_t i = 0; i < map->member_count; i++) {
        const struct map_member *member = &map->members[i];
        others |=
            member->number != number && member->state == MAP_ACTIVE && map_weight_to(member) > 0;
    }
    return others;
}

/* NULL: nobody is it any more. */
static struct cluster_node *node_of(struct sim *sim, uint32_t number)
{
    const struct copies_node *node = copies_node_of(&cluster_scenario_of(sim)->copies, number);

    return node == NULL ? NULL : cluster_node_at(sim, node->node);
}

static uint32_t count_leaving(const struct sim *sim)
{
    const struct cluster_scenario *scenario = sim->context;
    uint32_t count = 0;

    for (uint32_t place = 1; place <= sim->node_count; place++) {
        count += scenario->nodes[place].leaves;
    }
    return count;
}

bool cluster_any_leaves(const struct sim *sim)
{
    return count_leaving(sim) > 0;
}

/* ---- Drains ---- */

static void begin_drain(struct sim *sim, struct cluster_node *at)
{
    struct cluster_node *node = cluster_node_at(sim, 1 + draw(sim, sim->node_count));
    const struct map_member *member = member_of(at, node->copies->number);

    if (node->leaves || count_leaving(sim) == LEAVE_MAX || member == NULL || !serves(member) ||
        !others_serve(cluster_map(at->cluster), member->number)) {
        return;
    }
    node->leaves = true;
    node->stays = false;
    node->over = draw(sim, 2) == 0;
    sim_count(sim, SIM_DRAINS);
    become(at, member->number, MAP_DRAINING);
}

static void start_again(struct sim *sim, const struct sim_event *event)
{
    sim_start(sim, (uint32_t)event->a);
}

/* It is no member any more: its machine is used anew. */
static void use_anew(struct sim *sim, uint32_t place)
{
    sim_stop(sim, place, SIM_STOP_KILL);
    sim_disk_wipe(&sim->nodes[place].disk);
    sim_disk_wipe(&sim->nodes[place].other);
    cluster_node_at(sim, place)->removed = true;
    sim_count(sim, SIM_REMOVALS);
    sim_after(sim, draw(sim, LIMBO_US_MAX), 0, "start", start_again, place, 0);
}

/* As belayctl node activate does, a step at each look. */
static void bring_in(struct cluster_node *at, const struct cluster_node *node,
                     const struct map_member *member)
{
    const struct map_command nothing = {.type = MAP_WEIGHT, .number = member->number};
    const struct map_command ramp = {
        .type = MAP_RAMP, .number = member->number, .goal = WEIGHT, .ramp_ms = RAMP_MS_MAX / 2};

    if (at->copies->links[node->place][1].link == NULL) {
        return; /* It is to be started first. */
    }
    if (node->over && member->weight > 0) {
        cluster_operate_say(at, &nothing);
    } else if (map_weight_to(member) == 0) {
        cluster_operate_say(at, &ramp);
    } else {
        sim_count(at->sim, SIM_ACTIVATIONS);
        become(at, member->number, MAP_JOINING);
    }
}

/* It is to stay: until it is active. */
static void go_on_with_staying(struct cluster_node *at, struct cluster_node *node,
                               const struct map_member *member)
{
    if (serves(member)) {
        node->leaves = false;
    } else if (member->state == MAP_DRAINING) {
        sim_count(at->sim, SIM_CANCELS);
        become(at, member->number, MAP_ACTIVE);
    } else if (member->state == MAP_LEFT) {
        bring_in(at, node, member);
    }
}

/* One that is down comes back; what is still moving is waited for. */
static void go_on_with_leaving(struct sim *sim, struct cluster_node *node)
{
    struct cluster_node *at = cluster_somebody(sim, node->place);

    if (node->copies->number == 0) { /* It was wiped. */
        node->leaves = false;
        return;
    }
    if (at == NULL) {
        return;
    }
    const struct map_member *member = member_of(at, node->copies->number);
    if (member == NULL) {
        if (cluster_map(at->cluster)->epoch >= node->epoch) {
            use_anew(sim, node->place);
            node->leaves = false;
        }
        return;
    }
    node->stays = node->stays || draw(sim, STAY_ONE_OF) == 0 ||
                  (member->state == MAP_LEFT && draw(sim, RETURN_ONE_OF) == 0);
    if (node->stays) {
        go_on_with_staying(at, node, member);
    } else if (member->state == MAP_LEFT) {
        const struct map_command command = {.type = MAP_REMOVE, .number = member->number};
        cluster_operate_say(at, &command);
    } else if (serves(member)) {
        become(at, member->number, MAP_DRAINING); /* What was said may have been lost. */
    }
}

void cluster_operate_drain(struct sim *sim)
{
    struct cluster_node *at = cluster_somebody(sim, 0);

    if (at != NULL && !cluster_any_leaves(sim)) {
        begin_drain(sim, at);
    }
}

/* Whoever knows of the drain is told. */
bool cluster_operate_cancel(struct sim *sim, uint32_t place)
{
    struct cluster_node *node = cluster_node_at(sim, place);

    for (uint32_t i = 1; i <= sim->node_count && node->leaves; i++) {
        struct cluster_node *at = cluster_node_at(sim, i);
        const struct map_member *member =
            cluster_node_serves(at) ? member_of(at, node->copies->number) : NULL;
        if (member != NULL && member->state == MAP_DRAINING) {
            node->stays = true;
            go_on_with_staying(at, node, member);
            return true;
        }
    }
    return false;
}

/* ---- Weights ---- */

static uint32_t draw_weight(struct sim *sim, const struct map *map, uint32_t number)
{
    if (draw(sim, NOTHING_ONE_OF) == 0 && others_serve(map, number)) {
        sim_count(sim, SIM_NOTHINGS);
        return 0;
    }
    return WEIGHT_PART * (1 + draw(sim, WEIGHT_PARTS_MAX));
}

static void change_weight(struct cluster_node *at, const struct map_member *member)
{
    const struct map_command command = {
        .type = MAP_WEIGHT,
        .number = member->number,
        .weight = draw_weight(at->sim, cluster_map(at->cluster), member->number),
    };

    sim_count(at->sim, SIM_WEIGHTS);
    cluster_operate_say(at, &command);
}

static void begin_ramp(struct cluster_node *at, const struct map_member *member)
{
    const struct map_command command = {
        .type = MAP_RAMP,
        .number = member->number,
        .goal = draw_weight(at->sim, cluster_map(at->cluster), member->number),
        .ramp_ms = 1 + draw(at->sim, RAMP_MS_MAX),
    };

    sim_count(at->sim, SIM_RAMPS);
    cluster_operate_say(at, &command);
}

/* ---- Degraded ---- */

static void degrade(struct cluster_node *at, const struct map_member *member)
{
    if (member->state == MAP_ACTIVE) {
        sim_count(at->sim, SIM_DEGRADES);
        become(at, member->number, MAP_DEGRADED);
    } else if ((member->condition & CONDITION_OWN) == 0) {
        sim_count(at->sim, SIM_UNDEGRADES);
        become(at, member->number, MAP_ACTIVE);
    }
}

/* ---- All of it ---- */

/* Are all where they should be, as far as this member knows? */
static bool is_whole(const struct cluster_node *node)
{
    const struct map *map = cluster_map(node->cluster);
    uint32_t active = 0;

    for (uint32_t i = 0; i < map->member_count; i++) {
        active += map->members[i].state == MAP_ACTIVE;
    }
    return active == node->sim->node_count && map->member_count == active;
}

bool cluster_may_lose(struct sim *sim)
{
    struct cluster_node *at = cluster_somebody(sim, 0);
    struct cluster_figures figures;

    if (at == NULL || !is_whole(at) || cluster_any_leaves(sim)) {
        return false;
    }
    for (uint32_t place = 1; place <= sim->node_count; place++) {
        if (!cluster_node_serves(cluster_node_at(sim, place)) || sim->nodes[place].wrong_ms != 0) {
            return false;
        }
    }
    cluster_figures(at->cluster, &figures);
    return figures.voters >= 3 && figures.unsettled == 0;
}

/* What operators took out, or changed, they take back. */
static void restore(struct cluster_node *at)
{
    const struct map *map = cluster_map(at->cluster);

    for (uint32_t i = 0; i < map->member_count; i++) {
        const struct map_member member = map->members[i]; /* The map may change by what is said. */
        const struct map_command command = {
            .type = MAP_WEIGHT, .number = member.number, .weight = WEIGHT};
        const struct cluster_node *node = node_of(at->sim, member.number);
        if (map_weight_to(&member) == 0 && (node == NULL || !node->leaves)) {
            cluster_operate_say(at, &command);
        }
        if (member.state == MAP_DEGRADED && (member.condition & CONDITION_OWN) == 0) {
            become(at, member.number, MAP_ACTIVE);
        }
    }
}

/* A drain that was decided only after it was taken back. */
static void notice_drains(struct sim *sim, const struct cluster_node *at)
{
    const struct map *map = cluster_map(at->cluster);

    for (uint32_t i = 0; i < map->member_count; i++) {
        const struct map_member *member = &map->members[i];
        struct cluster_node *node = node_of(sim, member->number);
        if ((member->state == MAP_DRAINING || member->state == MAP_LEFT) && node != NULL &&
            !node->leaves) {
            node->leaves = node->stays = true;
        }
    }
}

static void operate(struct sim *sim, const struct sim_event *event)
{
    (void)event;
    sim_after(sim, OPERATE_US, 0, "operate", operate, 0, 0);
    for (uint32_t place = 1; place <= sim->node_count; place++) {
        if (cluster_node_at(sim, place)->leaves) {
            go_on_with_leaving(sim, cluster_node_at(sim, place));
        }
    }
    struct cluster_node *at = cluster_somebody(sim, 0);
    if (at == NULL) {
        return;
    }
    notice_drains(sim, at);
    if (sim->healed) {
        restore(at);
        return;
    }
    const struct map *map = cluster_map(at->cluster);
    const struct map_member *member = &map->members[draw(sim, map->member_count)];
    if (map->member_count < sim->node_count) {
        return; /* The first ones are still coming in. */
    }
    if (draw(sim, DRAIN_ONE_OF) == 0) {
        begin_drain(sim, at);
    } else if (draw(sim, WEIGHT_ONE_OF) == 0) {
        change_weight(at, member);
    } else if (draw(sim, RAMP_ONE_OF) == 0) {
        begin_ramp(at, member);
    } else if (serves(member) && draw(sim, DEGRADE_ONE_OF) == 0) {
        degrade(at, member);
    }
}

void cluster_operate(struct sim *sim)
{
    sim_after(sim, OPERATE_US, 0, "operate", operate, 0, 0);
}
