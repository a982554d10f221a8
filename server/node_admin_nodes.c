/* How much a node takes: it is drained, and that is taken back; it has another weight, at once or by and by; one that has none,
 * or has left, is brought in. */
#include <stdio.h>
#include <string.h>

#include "config_table.h"
#include "node_admin_private.h"
#include "node_cluster.h"

/* NULL: there is none, and that was answered. */
static const struct map_member *find(struct node *node, uint64_t token, const char *name)
{
    const struct map_member *member = node_admin_member(node_admin_map(node), name);

    if (member == NULL) {
        node_admin_refuse(node, token, STATUS_NOT_FOUND,
                          "there is no such node; node list shows all");
    }
    return member;
}

static void become(struct node *node, uint64_t token, const struct map_member *member,
                   enum map_state state)
{
    const struct map_command command = {
        .type = MAP_STATE, .number = member->number, .state = state};

    node_admin_propose(node, token, &command, member);
}

static void refuse_state(struct node *node, uint64_t token, const struct map_member *member,
                         const char *text)
{
    char whole[TEXT_BYTES];

    snprintf(whole, sizeof whole, "it is %s: %s", map_page_state(member->state), text);
    node_admin_refuse(node, token, STATUS_UNSUPPORTED, whole);
}

/* ---- Drain ---- */

void node_admin_drain(struct node *node, uint64_t token, const char *argument)
{
    const struct map_member *member = find(node, token, argument);

    if (member == NULL) {
        return;
    }
    switch (member->state) {
    case MAP_ACTIVE:
    case MAP_DEGRADED:
        if (node_admin_others_serve(node_admin_map(node), member->number)) {
            become(node, token, member, MAP_DRAINING);
        } else {
            node_admin_refuse(node, token, STATUS_UNSUPPORTED,
                              "no other node could take its sessions");
        }
        return;
    case MAP_DRAINING:
    case MAP_LEFT:
        node_admin_as_it_is(node, token, member);
        return;
    case MAP_JOINING:
        refuse_state(node, token, member, "it holds nothing yet; node remove takes it out");
        return;
    case MAP_DOWN:
        refuse_state(node, token, member,
                     "only a node that runs can be drained; start it, or take it out with node "
                     "remove");
        return;
    }
}

void node_admin_drain_cancel(struct node *node, uint64_t token, const char *argument)
{
    const struct map_member *member = find(node, token, argument);

    if (member == NULL) {
        return;
    }
    switch (member->state) {
    case MAP_DRAINING:
        become(node, token, member, MAP_ACTIVE);
        return;
    case MAP_ACTIVE:
    case MAP_DEGRADED:
        node_admin_as_it_is(node, token, member);
        return;
    case MAP_LEFT:
        refuse_state(node, token, member, "nothing is left to be kept");
        return;
    case MAP_JOINING:
    case MAP_DOWN:
        refuse_state(node, token, member, "start it first, or wait until it is in");
        return;
    }
}

/* ---- Weights ---- */

/* "OVER_MS WEIGHT NODE", where NODE may be any text. Returns false: it is none. */
static bool read_weight(const char *argument, uint32_t *over_ms, uint32_t *weight,
                        const char **name)
{
    const char *second = strchr(argument, ' ');
    const char *third = second == NULL ? NULL : strchr(second + 1, ' ');

    if (third == NULL || !address_number(argument, second, MAP_RAMP_MS_MAX, over_ms) ||
        !address_number(second + 1, third, CONFIG_WEIGHT_MAX, weight)) {
        return false;
    }
    *name = third + 1;
    return true;
}

static void change_weight(struct node *node, uint64_t token, const struct map_member *member,
                          uint32_t weight, uint32_t over_ms)
{
    struct map_command command = {.type = MAP_WEIGHT, .number = member->number, .weight = weight};

    if (over_ms > 0) {
        command = (struct map_command){
            .type = MAP_RAMP, .number = member->number, .goal = weight, .ramp_ms = over_ms};
    }
    node_admin_propose(node, token, &command, member);
}

static bool serves(const struct map_member *member)
{
    return member->state == MAP_ACTIVE || member->state == MAP_DEGRADED;
}

void node_admin_weight(struct node *node, uint64_t token, const char *argument)
{
    uint32_t over_ms, weight;
    const char *name;

    if (!read_weight(argument, &over_ms, &weight, &name)) {
        node_admin_refuse(node, token, STATUS_INVALID,
                          "weights are numbers from 0 to 1000000, and a ramp takes a day at most");
        return;
    }
    const struct map_member *member = find(node, token, name);
    if (member == NULL) {
        return;
    }
    if (weight == 0 && serves(member) &&
        !node_admin_others_serve(node_admin_map(node), member->number)) {
        node_admin_refuse(node, token, STATUS_UNSUPPORTED, "no other node could take its sessions");
        return;
    }
    change_weight(node, token, member, weight, over_ms);
}

/* What the others have in the mean, that a node is to have that had none. */
static uint32_t mean_weight(const struct map *map, uint32_t number)
{
    uint64_t sum = 0, count = 0;

    for (uint32_t i = 0; i < map->member_count; i++) {
        const struct map_member *member = &map->members[i];
        uint32_t weight = map_weight_to(member);
        if (member->number != number && serves(member) && weight > 0) {
            sum += weight;
            count++;
        }
    }
    return count == 0 ? 0 : (uint32_t)((sum + count / 2) / count);
}

/* Is it this node, or has this node a link to it? */
static bool is_reached(const struct node *node, uint32_t number)
{
    struct map_page_link links[MAP_MEMBERS_MAX];
    const struct map *map = node_admin_map(node);
    bool reached = number == node->directory.meta.actor.node;

    node_cluster_links(node, links);
    for (uint32_t i = 0; i < map->member_count; i++) {
        reached = reached || (map->members[i].number == number && links[i].up);
    }
    return reached;
}

/* Step by step, as the client asks again until it is active and its weight is, or goes, there. One that had left begins with
 * none where it is to take its time. */
void node_admin_activate(struct node *node, uint64_t token, const char *argument)
{
    uint32_t over_ms, weight;
    const char *name;

    if (!read_weight(argument, &over_ms, &weight, &name)) {
        node_admin_refuse(node, token, STATUS_INVALID,
                          "weights are numbers from 0 to 1000000, and a ramp takes a day at most");
        return;
    }
    const struct map_member *member = find(node, token, name);
    if (member == NULL) {
        return;
    }
    uint32_t now = map_weight_to(member);
    uint32_t goal = weight != 0 ? weight
                    : now != 0  ? now
                                : mean_weight(node_admin_map(node), member->number);
    const struct map_command nothing = {.type = MAP_WEIGHT, .number = member->number};
    switch (member->state) {
    case MAP_DOWN:
        refuse_state(node, token, member, "start it first");
        return;
    case MAP_DRAINING:
        become(node, token, member, MAP_ACTIVE);
        return;
    case MAP_JOINING:
        node_admin_as_it_is(node, token, member);
        return;
    case MAP_LEFT:
        if (!is_reached(node, member->number)) { /* It would be joining until it is started. */
            refuse_state(node, token, member, "start it first, it cannot be reached");
            return;
        }
        break;
    case MAP_ACTIVE:
    case MAP_DEGRADED:
        break;
    }
    if (goal == 0) {
        node_admin_refuse(node, token, STATUS_INVALID,
                          "no other node has a weight to go by: say which one with --weight");
    } else if (member->state == MAP_LEFT && over_ms > 0 && member->weight > 0) {
        node_admin_propose(node, token, &nothing, member);
    } else if (now != goal || (over_ms == 0 && member->ramp_ms != 0)) {
        change_weight(node, token, member, goal, over_ms);
    } else if (member->state == MAP_LEFT) {
        become(node, token, member, MAP_JOINING);
    } else {
        node_admin_as_it_is(node, token, member);
    }
}
