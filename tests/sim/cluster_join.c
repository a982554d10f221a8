/* How a new node comes in, as in server/node_join.c and node_joiners.c: one whose machine was wiped has the member of
 * its name removed, and joins anew. */
#include <string.h>

#include "cluster_scenario.h"
#include "heap.h"
#include "join.h"

enum { JOIN_US = 50 * 1000 };

static struct memory heap = {.resize = heap_resize, .map = heap_map, .unmap = heap_unmap};

static uint32_t draw(struct sim *sim, uint32_t bound)
{
    return (uint32_t)sim_between(sim, SIM_RANDOM_CLIENTS, 0, bound - 1);
}

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
    struct cluster_node *node = cluster_node_at(sim, event->end),
                        *at = cluster_somebody(sim, node->place);
    const struct map_command add = cluster_node_add(node);

    if (at == NULL || sim->net.links[at->place][node->place].cut ||
        sim->net.links[node->place][at->place].cut ||
        cluster_is_apart(sim, at->place, node->place)) {
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
        cluster_operate_say(at, &add);
    } else if (named->state == MAP_DOWN || named->state == MAP_LEFT ||
               named->state == MAP_JOINING) {
        cluster_operate_say(at, &remove);
    } /* Else it has to be found out first that it is gone. */
    ask_later(node);
}

void cluster_join(struct cluster_node *node)
{
    sim_after(node->sim, draw(node->sim, JOIN_US), node->place, "join", ask, 0, 0);
}
