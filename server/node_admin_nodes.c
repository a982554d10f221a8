/* How much a node takes: it is drained, and that is taken back; it has another weight, at once or by and by; one that has none,
 * or has left, is brought in; one is taken out, or degraded. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "node_admin_private.h"
#include "node_cluster.h"

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

/* Is it this node, or has this node a link to it? */
static bool is_reached(const struct node *node, uint32_t number)
{
    struct map_page_link links[MAP_MEMBERS_MAX];
    const struct map *map = node_admin_map(node);
    const struct map_member *member = map_member(map, number);

    node_cluster_links(node, links);
    return number == node->directory.meta.actor.node ||
           (member != NULL && links[member - map->members].up);
}

/* Of one that is down: one that runs again is out for its cooldown yet. */
static void refuse_down(struct node *node, uint64_t token, const struct map_member *member,
                        const char *text)
{
    refuse_state(node, token, member,
                 is_reached(node, member->number)
                     ? "it runs again, and is taken back when its cooldown is over "
                       "(cluster.cooldown): wait until it is active"
                     : text);
}

/* ---- Drain ---- */

void node_admin_drain(struct node *node, uint64_t token, const char *argument)
{
    const struct map_member *member = node_admin_find(node, token, argument);

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
        refuse_down(node, token, member,
                    "only a node that runs can be drained; start it, or take it out with node "
                    "remove");
        return;
    }
}

void node_admin_drain_cancel(struct node *node, uint64_t token, const char *argument)
{
    const struct map_member *member = node_admin_find(node, token, argument);

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
        node_admin_refuse(node, token, STATUS_UNSUPPORTED,
                          "it has left already; node activate brings it back");
        return;
    case MAP_JOINING:
    case MAP_DOWN:
        refuse_state(node, token, member, "start it first, or wait until it is in");
        return;
    }
}

/* ---- Weights ---- */

/* "OVER_MS WEIGHT NODE", where NODE may be any text. NULL: it is none, or there is no such node, and that was answered. */
static const struct map_member *read_weight(struct node *node, uint64_t token, const char *argument,
                                            uint32_t *over_ms, uint32_t *weight)
{
    const char *second = strchr(argument, ' ');
    const char *third = second == NULL ? NULL : strchr(second + 1, ' ');

    if (third == NULL || !address_number(argument, second, MAP_RAMP_MS_MAX, over_ms) ||
        !address_number(second + 1, third, NODE_WEIGHT_MAX, weight)) {
        node_admin_refuse(node, token, STATUS_INVALID,
                          "weights are numbers from 0 to 1000000, and a ramp takes a day at most");
        return NULL;
    }
    return node_admin_find(node, token, third + 1);
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

void node_admin_weight(struct node *node, uint64_t token, const char *argument)
{
    uint32_t over_ms, weight;
    const struct map_member *member = read_weight(node, token, argument, &over_ms, &weight);

    if (member == NULL) {
        return;
    }
    if (weight == 0 && map_state_serves(member->state) &&
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
        if (member->number != number && map_state_serves(member->state) && weight > 0) {
            sum += weight;
            count++;
        }
    }
    return count == 0 ? 0 : (uint32_t)((sum + count / 2) / count);
}

/* Step by step, as the client asks again until it is active and its weight is, or goes, there. One that had left begins with
 * none where it is to take its time. */
void node_admin_activate(struct node *node, uint64_t token, const char *argument)
{
    uint32_t over_ms, weight;
    const struct map_member *member = read_weight(node, token, argument, &over_ms, &weight);

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
        refuse_down(node, token, member, "start it first");
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

/* ---- A node leaves ---- */

/* Slots that nobody else owns. */
static uint32_t slots_alone(const struct map *map, uint32_t number)
{
    uint32_t count = 0;

    for (uint32_t slot = 0; slot < SLOT_COUNT; slot++) {
        count += map->owners[slot].nodes[0] == number && map->owners[slot].nodes[1] == 0;
    }
    return count;
}

/* How many sessions so many slots have, as those here go: who is down cannot be asked. */
static uint64_t sessions_of(const struct node *node, uint32_t slots)
{
    struct plane_shard_stats *stats = malloc(sizeof *stats);
    uint64_t live = 0, owned = 0;

    for (uint32_t i = 0; i < node->shard_count && stats != NULL; i++) {
        if (plane_stats(node->plane, i, stats) == 0) {
            live += stats->shard.live;
            owned += stats->copies.slots_owned;
        }
    }
    free(stats);
    return owned == 0 ? 0 : (live * slots + owned / 2) / owned;
}

/* Does this node know of an archive of this cluster, its own or another node's? */
static bool knows_archive(const struct node *node)
{
    return node->archive != NULL || node->archive_elsewhere;
}

static void remove_step(struct node *node, uint64_t token, const char *name, bool force)
{
    const struct map *map = node_admin_map(node);
    const struct map_member *member = node_admin_find(node, token, name);
    char text[TEXT_BYTES];

    if (member == NULL) {
        return;
    }
    uint32_t alone = slots_alone(map, member->number);
    bool serves = map_state_serves(member->state);
    bool gives = member->state == MAP_DRAINING && node_admin_slots(map, member->number) > 0;
    if ((serves || gives) && !node_admin_others_serve(map, member->number)) {
        node_admin_refuse(node, token, STATUS_UNSUPPORTED, "no other node could take its sessions");
        return;
    }
    if (member->number == node->directory.meta.actor.node) {
        node_admin_refuse(
            node, token, STATUS_INVALID,
            "this node would be gone before it could say that it is: ask another one (-s)");
        return;
    }
    if (member->state == MAP_DOWN && alone > 0 && !force) {
        snprintf(text, sizeof text,
                 "nobody else has %u of its slots, with about %" PRIu64
                 " sessions if they are as full as this node's: bring it back, or give these up "
                 "with --force%s",
                 alone, sessions_of(node, alone),
                 !knows_archive(node) ? " (asked of a node that has an archive: what that has of "
                                        "them is restored then)"
                                      : "; what the archive has of them is restored then, what "
                                        "was not there yet is lost");
        node_admin_refuse(node, token, STATUS_UNSUPPORTED, text);
        return;
    }
    if (member->state == MAP_DRAINING) {
        /* Slots are moving, it still has a vote, or has not heard that it owns nothing: the leader says when it has left. */
        node_admin_as_it_is(node, token, member);
        return;
    }
    if (serves) {
        become(node, token, member, MAP_DRAINING);
        return;
    }
    const struct map_command command = {
        .type = knows_archive(node) && alone > 0 ? MAP_LOSE : MAP_REMOVE,
        .number = member->number,
    };
    node_admin_propose_removal(node, token, &command, member, sessions_of(node, alone));
}

void node_admin_remove(struct node *node, uint64_t token, const char *argument)
{
    remove_step(node, token, argument, false);
}

void node_admin_remove_force(struct node *node, uint64_t token, const char *argument)
{
    remove_step(node, token, argument, true);
}

/* ---- A node is degraded ---- */

static const struct map_member *degradable(struct node *node, uint64_t token, const char *name)
{
    const struct map_member *member = node_admin_find(node, token, name);

    if (member != NULL && !map_state_serves(member->state)) {
        refuse_state(node, token, member, "only a node that is active, or degraded, can be");
        member = NULL;
    }
    return member;
}

void node_admin_degrade(struct node *node, uint64_t token, const char *argument)
{
    const struct map_member *member = degradable(node, token, argument);

    if (member != NULL) {
        become(node, token, member, MAP_DEGRADED);
    }
}

void node_admin_undegrade(struct node *node, uint64_t token, const char *argument)
{
    const struct map_member *member = degradable(node, token, argument);

    if (member == NULL) {
        return;
    }
    if ((member->condition & CONDITION_OWN) != 0) {
        node_admin_refuse(
            node, token, STATUS_UNSUPPORTED,
            (member->condition & CONDITION_LOG_FAILED) != 0
                ? "it cannot write its log, see its messages; repair that and restart it"
                : "its disk is full; with room again it is active by itself, or can be undegraded");
        return;
    }
    become(node, token, member, MAP_ACTIVE);
}
