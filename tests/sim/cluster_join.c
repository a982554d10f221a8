/* How a new node comes in, as in server/node_join.c and node_joiners.c, and what operators do: nodes whose machine was
 * wiped are removed and join anew under their old name, nodes are drained and removed, weights change. What operators
 * say comes to a member that lives and that they reach, not over the simulated network. */
#include <string.h>

#include "cluster_scenario.h"
#include "heap.h"
#include "join.h"

enum {
    JOIN_US = 50 * 1000,
    OPERATE_US = 300 * 1000,
    LEAVE_ONE_OF = 30,
    WEIGHT_ONE_OF = 20,
    WEIGHT_MAX = 1600,
    LIMBO_US_MAX = 2 * 1000 * 1000,
};

static struct memory heap = {.resize = heap_resize, .map = heap_map, .unmap = heap_unmap};

static uint32_t draw(struct sim *sim, uint32_t bound)
{
    return (uint32_t)sim_between(sim, SIM_RANDOM_CLIENTS, 0, bound - 1);
}

/* A member that takes what is said to it, by lot; NULL: there is none. */
static struct cluster_node *somebody(struct sim *sim, uint32_t but)
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

static void propose(struct cluster_node *at, const struct map_command *command)
{
    sim_note(at->sim, "propose", at->place, command->type, command->number);
    sim_count(at->sim, SIM_PROPOSALS);
    (void)cluster_propose(at->cluster, cluster_node_now_ms(at), command, NULL, NULL);
    cluster_check_node(at);
}

/* ---- Joining ---- */

static void ask(struct sim *sim, const struct sim_event *event);

/* Soon or later: somebody may know of it from others, and not from the log yet. */
static void ask_later(struct cluster_node *node)
{
    sim_after(node->sim, 1 + draw(node->sim, JOIN_US), node->place, "join", ask, 0, 0);
}

/* It is in the map: it begins with what the member gives. Returns false: not yet. */
static bool take(struct cluster_node *node, struct cluster_node *from, uint32_t number)
{
    struct buffer seed = {.memory = &heap};
    bool given = cluster_seed(from->cluster, number, &seed) == 0;

    if (given) {
        node->copies->number = number;
        sim_note(node->sim, "joined", node->place, number, from->place);
        sim_count(node->sim, SIM_JOINS);
        cluster_node_run(node, buffer_bytes(&seed));
    }
    buffer_fini(&seed);
    return given;
}

static void ask(struct sim *sim, const struct sim_event *event)
{
    struct cluster_node *node = cluster_node_at(sim, event->end), *at = somebody(sim, node->place);
    const struct map_command add = cluster_node_add(node);

    if (at == NULL || sim->net.links[at->place][node->place].cut ||
        sim->net.links[node->place][at->place].cut) {
        ask_later(node);
        return;
    }
    const struct map *map = cluster_map(at->cluster);
    const struct map_member *self = join_member(map, &add),
                            *named = map_member_named(map, map_text_bytes(&add.name));
    const struct map_command remove = {.type = MAP_REMOVE,
                                       .number = named == NULL ? 0 : named->number};
    if (self != NULL) {
        if (!take(node, at, self->number)) {
            ask_later(node);
        }
        return;
    }
    if (named == NULL) {
        propose(at, &add);
    } else if (named->state == MAP_DOWN || named->state == MAP_LEFT ||
               named->state == MAP_JOINING) {
        propose(at, &remove);
    } /* Else it has to be found out first that it is gone. */
    ask_later(node);
}

void cluster_join(struct cluster_node *node)
{
    sim_after(node->sim, draw(node->sim, JOIN_US), node->place, "join", ask, 0, 0);
}

/* ---- Operators ---- */

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

/* As belayctl node remove (server/node_admin.c). */
static void go_on_with_leaving(struct sim *sim)
{
    struct cluster_scenario *scenario = cluster_scenario_of(sim);
    struct cluster_node *at = somebody(sim, scenario->leaving);
    struct copies_node *leaving = &scenario->copies.nodes[scenario->leaving];

    if (leaving->number == 0) { /* It was wiped. */
        scenario->leaving = 0;
        return;
    }
    if (at == NULL) {
        return;
    }
    const struct map *map = cluster_map(at->cluster);
    struct map_command command = {.type = MAP_STATE, .number = leaving->number};
    for (uint32_t i = 0; i < map->member_count; i++) {
        const struct map_member *member = &map->members[i];
        if (member->number != leaving->number) {
            continue;
        }
        if (member->state == MAP_LEFT) {
            command.type = MAP_REMOVE;
        } else {
            command.state = member->state == MAP_DRAINING ? MAP_LEFT : MAP_DRAINING;
        }
        /* One that is down comes back; what is still moving is waited for. */
        if (member->state != MAP_DOWN &&
            (command.state != MAP_LEFT || !map_owns(map, leaving->number))) {
            propose(at, &command);
        }
        return;
    }
    if (map->epoch >= scenario->nodes[scenario->leaving].epoch) {
        use_anew(sim, scenario->leaving);
        scenario->leaving = 0;
    }
}

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
    struct cluster_node *at = somebody(sim, 0);
    struct cluster_figures figures;

    if (at == NULL || !is_whole(at) || cluster_scenario_of(sim)->leaving != 0) {
        return false;
    }
    for (uint32_t place = 1; place <= sim->node_count; place++) {
        if (!cluster_node_serves(cluster_node_at(sim, place))) {
            return false;
        }
    }
    cluster_figures(at->cluster, &figures);
    return figures.voters >= 3 && figures.unsettled == 0;
}

static void operate(struct sim *sim, const struct sim_event *event)
{
    struct cluster_scenario *scenario = cluster_scenario_of(sim);
    struct cluster_node *at = somebody(sim, 0);

    (void)event;
    sim_after(sim, OPERATE_US, 0, "operate", operate, 0, 0);
    if (scenario->leaving != 0) {
        go_on_with_leaving(sim);
        return;
    }
    if (sim->healed || at == NULL || !is_whole(at)) {
        return;
    }
    if (draw(sim, LEAVE_ONE_OF) == 0 && cluster_may_lose(sim)) {
        scenario->leaving = 1 + draw(sim, sim->node_count);
    } else if (draw(sim, WEIGHT_ONE_OF) == 0) {
        const struct map *map = cluster_map(at->cluster);
        const struct map_command command = {
            .type = MAP_WEIGHT,
            .number = map->members[draw(sim, map->member_count)].number,
            .weight = 1 + draw(sim, WEIGHT_MAX),
        };
        propose(at, &command);
    }
}

void cluster_operate(struct sim *sim)
{
    sim_after(sim, OPERATE_US, 0, "operate", operate, 0, 0);
}
