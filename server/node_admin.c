#include "node_admin_private.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "config_print.h"
#include "join_token.h"
#include "node_archive.h"
#include "node_cluster.h"
#include "node_policies.h"
#include "restart_page.h"
#include "slot.h"

void node_admin_refuse(struct node *node, uint64_t token, enum status status, const char *text)
{
    plane_admin_reply(node->plane, token, status, text, bytes_of(NULL, 0));
}

void node_admin_answer(struct node *node, uint64_t token, char *json)
{
    if (json == NULL) {
        node_admin_refuse(node, token, STATUS_UNAVAILABLE, "out of memory");
    } else {
        node_answer(node, token, STATUS_OK, json);
    }
    free(json);
}

/* ---- Members ---- */

static const struct map_member *member_of(const struct map *map, const char *text)
{
    const struct map_member *member = map_member_named(map, bytes_of_string(text));
    uint32_t number;

    if (member != NULL || !address_number(text, text + strlen(text), 999999999, &number)) {
        return member;
    }
    return map_member(map, number);
}

const struct map_member *node_admin_find(struct node *node, uint64_t token, const char *name)
{
    const struct map_member *member = member_of(node_admin_map(node), name);

    if (member == NULL) {
        node_admin_refuse(node, token, STATUS_NOT_FOUND,
                          "there is no such node; node list shows all");
    }
    return member;
}

uint32_t node_admin_slots(const struct map *map, uint32_t number)
{
    struct map_page_slots slots[MAP_MEMBERS_MAX];
    const struct map_member *member = map_member(map, number);

    map_page_count(map, slots);
    return member == NULL
               ? 0
               : slots[member - map->members].primary + slots[member - map->members].copy;
}

bool node_admin_others_serve(const struct map *map, uint32_t number)
{
    for (uint32_t i = 0; i < map->member_count; i++) {
        if (map->members[i].number != number && map->members[i].state == MAP_ACTIVE &&
            map_weight_to(&map->members[i]) > 0) {
            return true;
        }
    }
    return false;
}

/* ---- Documents ---- */

typedef char *(*page_maker)(const struct map_page *page);

static void answer_page(struct node *node, uint64_t token, page_maker make)
{
    struct map_page_link links[MAP_MEMBERS_MAX];
    const struct map_page page = {
        .map = node_admin_map(node),
        .self = node->directory.meta.actor.node,
        .leader = cluster_leader(cluster_host_cluster(node->cluster)),
        .links = links,
    };

    node_cluster_links(node, links);
    node_admin_answer(node, token, make(&page));
}

static void on_nodes(struct node *node, uint64_t token, const char *argument)
{
    (void)argument;
    answer_page(node, token, map_page_nodes);
}

static void on_ring(struct node *node, uint64_t token, const char *argument)
{
    (void)argument;
    answer_page(node, token, map_page_ring);
}

struct node_copies node_admin_copies(const struct node *node)
{
    struct plane_shard_stats *stats = malloc(sizeof *stats);
    struct node_copies sum = {.not_level = stats == NULL, .looked = stats != NULL};

    for (uint32_t i = 0; i < node->shard_count && stats != NULL; i++) {
        const bool known = plane_stats(node->plane, i, stats) == 0;
        sum.not_level += known ? stats->copies.slots_not_level : 1;
        sum.stray += known ? stats->copies.slots_stray : 0;
        sum.looked = sum.looked && known && stats->copies.looked;
    }
    free(stats);
    return sum;
}

static void on_restart_check(struct node *node, uint64_t token, const char *argument)
{
    struct map_page_link links[MAP_MEMBERS_MAX];
    const struct map *map = node_admin_map(node);
    const struct map_member *member = NULL;
    const struct map_page page = {
        .map = map,
        .self = node->directory.meta.actor.node,
        .leader = cluster_leader(cluster_host_cluster(node->cluster)),
        .links = links,
    };

    if (argument[0] != '\0') {
        member = node_admin_find(node, token, argument);
        if (member == NULL) {
            return;
        }
    }
    node_cluster_links(node, links);
    node_admin_answer(node, token,
                      restart_page(&page, member != NULL ? member->number : 0,
                                   node_admin_copies(node).not_level));
}

static void on_slot(struct node *node, uint64_t token, const char *argument)
{
    struct map_page_link links[MAP_MEMBERS_MAX];
    const struct map_page page = {
        .map = node_admin_map(node), .self = node->directory.meta.actor.node, .links = links};
    uint32_t slot;

    if (!address_number(argument, argument + strlen(argument), SLOT_COUNT - 1, &slot)) {
        node_admin_refuse(node, token, STATUS_INVALID, "slots are numbers from 0 to 16383");
        return;
    }
    node_cluster_links(node, links);
    node_admin_answer(node, token, map_page_slot(&page, slot));
}

static void on_policies(struct node *node, uint64_t token, const char *argument)
{
    (void)argument;
    node_admin_answer(node, token, config_policies_to_json(node->policies));
}

static void on_archive(struct node *node, uint64_t token, const char *argument)
{
    (void)argument;
    node_admin_answer(node, token, node_archive_json(node));
}

/* ---- Changes ---- */

/* A change that somebody waits for. */
struct admin_change {
    struct node *node;
    uint64_t token;
    uint32_t number;      /* Of a node; 0: it is about all nodes. */
    struct map_text name; /* Of that node, which the map may not have any more. */
    uint64_t given_up;    /* Sessions that go with it. */
};

enum status node_admin_status(int rc)
{
    return rc == -ENOENT                       ? STATUS_NOT_FOUND
           : rc == -EINVAL || rc == -E2BIG     ? STATUS_INVALID
           : rc == -ETIMEDOUT || rc == -EAGAIN ? STATUS_UNAVAILABLE
           : rc == -ECANCELED || rc == -ENOMEM ? STATUS_UNAVAILABLE
                                               : STATUS_UNSUPPORTED;
}

/* The map had changed since the step was chosen: another one is next. */
static bool was_overtaken(const struct admin_change *change, int rc)
{
    return change->number != 0 && (rc == -EPERM || rc == -EBUSY);
}

static void answer_step(const struct admin_change *change, const struct map *map)
{
    const struct map_step step = {
        .number = change->number,
        .name = &change->name,
        .slots = node_admin_slots(map, change->number),
        .given_up = map_member(map, change->number) == NULL ? change->given_up : 0,
    };

    node_admin_answer(change->node, change->token, map_page_step(map, &step));
}

void node_admin_as_it_is(struct node *node, uint64_t token, const struct map_member *member)
{
    const struct admin_change none = {
        .node = node, .token = token, .number = member->number, .name = member->name};

    answer_step(&none, node_admin_map(node));
}

/* Does this node's disk refuse what is to be decided? Says so. */
static bool cannot_store(const struct node *node, char text[TEXT_BYTES])
{
    const int failure = cluster_host_failure(node->cluster);

    if (failure != 0) {
        snprintf(text, TEXT_BYTES, "this node cannot store changes of the cluster's map: %s. %s",
                 strerror(-failure),
                 failure == -ENOSPC ? "It goes on once there is room"
                                    : "Mend the disk, and restart it");
    }
    return failure != 0;
}

static void on_decided(void *context, const struct cluster_outcome *outcome)
{
    struct admin_change *change = context;
    struct node *node = change->node;
    char json[64], text[TEXT_BYTES];

    if (outcome->rc == -ETIMEDOUT && cannot_store(node, text)) {
        node_admin_refuse(node, change->token, STATUS_UNAVAILABLE, text);
    } else if (outcome->rc != 0 && outcome->rc != -EALREADY &&
               !was_overtaken(change, outcome->rc)) {
        node_admin_refuse(node, change->token, node_admin_status(outcome->rc),
                          outcome->rc == -ENOENT && change->number == 0
                              ? "no policy has this prefix; `belayctl policy list` shows all"
                              : outcome->text);
    } else if (change->number != 0) {
        answer_step(change, outcome->map);
    } else {
        node->map_pending |= node_policies_take(node, outcome->map) != 0; /* Before it is told. */
        snprintf(json, sizeof json, "{\"epoch\":%" PRIu64 "}", outcome->epoch);
        node_answer(node, change->token, STATUS_OK, json);
    }
    free(change);
}

void node_admin_propose(struct node *node, uint64_t token, const struct map_command *command,
                        const struct map_member *member)
{
    node_admin_propose_removal(node, token, command, member, 0);
}

void node_admin_propose_removal(struct node *node, uint64_t token,
                                const struct map_command *command, const struct map_member *member,
                                uint64_t sessions)
{
    char text[TEXT_BYTES];

    if (cluster_is_alone(cluster_host_cluster(node->cluster)) && cannot_store(node, text)) {
        node_admin_refuse(node, token, STATUS_UNAVAILABLE, text);
        return;
    }
    struct admin_change *change = malloc(sizeof *change);
    int rc = -ENOMEM;

    if (change != NULL) {
        *change = (struct admin_change){.node = node, .token = token, .given_up = sessions};
        if (member != NULL) {
            change->number = member->number;
            change->name = member->name;
        }
        rc = cluster_propose(cluster_host_cluster(node->cluster),
                             cluster_host_now_ms(node->cluster), command, on_decided, change);
    }
    if (rc != 0) {
        free(change);
        node_admin_refuse(node, token, node_admin_status(rc), "too many changes are under way");
    }
}

static void on_policy_set(struct node *node, uint64_t token, const char *argument)
{
    struct map_command *command = calloc(1, sizeof *command);
    char message[TEXT_BYTES];

    if (command == NULL) {
        node_admin_refuse(node, token, STATUS_UNAVAILABLE, "out of memory");
        return;
    }
    command->type = MAP_POLICY_SET;
    if (config_policy_change(node->world.config, node->policies, argument, &command->policy,
                             message, sizeof message) != 0) {
        node_admin_refuse(node, token, STATUS_INVALID, message);
    } else if (command->policy.rules.session_bytes_max > node->record_bytes_max) {
        node_admin_refuse(
            node, token, STATUS_INVALID,
            "session_max_bytes: the nodes were not started for such sessions; let a [policy] "
            "section of each node's "
            "configuration have it, and restart them");
    } else if (node_policies_say(node, &command->policy) != 0) {
        node_admin_refuse(node, token, STATUS_UNAVAILABLE, "out of memory");
    } else {
        node_admin_propose(node, token, command, NULL);
    }
    free(command);
}

/* That of the empty prefix is always there: it gets what it would have without any configuration. */
static void on_policy_rm(struct node *node, uint64_t token, const char *argument)
{
    struct map_command *command = calloc(1, sizeof *command);
    struct config_policy standard;

    if (command == NULL || strlen(argument) > POLICY_PREFIX_BYTES_MAX) {
        node_admin_refuse(node, token, command == NULL ? STATUS_UNAVAILABLE : STATUS_NOT_FOUND,
                          NULL);
        free(command);
        return;
    }
    config_policy_init(&standard);
    snprintf(standard.prefix, sizeof standard.prefix, "%s", argument);
    command->type = argument[0] == '\0' ? MAP_POLICY_SET : MAP_POLICY_REMOVE;
    config_policy_make(node->world.config, &standard, &command->policy);
    node_admin_propose(node, token, command, NULL);
    free(command);
}

static void on_replicas(struct node *node, uint64_t token, const char *argument)
{
    struct map_command command = {.type = MAP_REPLICAS};

    if (!address_number(argument, argument + strlen(argument), PLACEMENT_REPLICAS_MAX,
                        &command.replicas) ||
        command.replicas == 0) {
        node_admin_refuse(node, token, STATUS_INVALID, "copies are from 1 to 5");
        return;
    }
    node_admin_propose(node, token, &command, NULL);
}

/* ---- Who may come in ---- */

/* Can only this machine reach them? */
static bool is_local(const struct join_token *made)
{
    struct address address;

    for (uint32_t i = 0; i < made->address_count; i++) {
        const char *text = made->addresses[i];
        if (!address_parse(text, text + strlen(text), 0, &address) ||
            (!config_is_loopback(address.host) && strcmp(address.host, "localhost") != 0)) {
            return false;
        }
    }
    return true;
}

static void put_address(struct join_token *made, const struct map_place *place)
{
    bool v6 = memchr(place->host.bytes, ':', place->host.size) != NULL;

    if (made->address_count < JOIN_ADDRESSES_MAX && place->host.size <= HOST_BYTES_MAX) {
        snprintf(made->addresses[made->address_count++], sizeof made->addresses[0], "%s%.*s%s:%u",
                 v6 ? "[" : "", (int)place->host.size, place->host.bytes, v6 ? "]" : "",
                 place->ports[MAP_PORT_PEER]);
    }
}

static char *token_json(const struct join_token *made)
{
    char text[JOIN_TOKEN_BYTES_MAX], *json = NULL;
    size_t size = 0;
    FILE *to = open_memstream(&json, &size);

    if (to == NULL) {
        return NULL;
    }
    join_token_put(made, text);
    fprintf(to, "{\"token\":\"%s\",\"cluster\":\"", text);
    for (int i = 0; i < CLUSTER_ID_BYTES; i++) {
        fprintf(to, "%02x", made->cluster[i]);
    }
    fputs("\",\"addresses\":[", to);
    for (uint32_t i = 0; i < made->address_count;
         i++) { /* No quotes in them: the map has names and addresses. */
        fprintf(to, "%s\"%s\"", i > 0 ? "," : "", made->addresses[i]);
    }
    fprintf(to, "],\"local\":%s}", is_local(made) ? "true" : "false");
    return fclose(to) == 0 ? json : NULL;
}

static void on_join_token(struct node *node, uint64_t token, const char *argument)
{
    const struct map *map = node_admin_map(node);
    const struct directory_meta *meta = &node->directory.meta;
    struct join_token made = {.address_count = 0};

    (void)argument;
    if (!node_cluster_listens(node)) {
        node_admin_refuse(
            node, token, STATUS_UNAVAILABLE,
            "the port for other nodes is not open; set listen.peer_port to a free one and restart");
        return;
    }
    memcpy(made.cluster, meta->cluster, sizeof made.cluster);
    memcpy(made.secret, meta->secret, sizeof made.secret);
    for (int pass = 0; pass < 2; pass++) { /* This node first. */
        for (uint32_t i = 0; i < map->member_count; i++) {
            const struct map_member *member = &map->members[i];
            bool self = member->number == meta->actor.node;
            if (self == (pass == 0) && (self || member->state == MAP_ACTIVE)) {
                put_address(&made, &member->place);
            }
        }
    }
    node_admin_answer(node, token, token_json(&made));
}

/* ---- All of them ---- */

bool node_admin(struct node *node, uint64_t token, const char *command, const char *argument)
{
    static const struct {
        const char *name;
        void (*run)(struct node *node, uint64_t token, const char *argument);
    } commands[] = {
        {"archive", on_archive},
        {"archive-give-up", node_admin_give_up},
        {"archive-give-up-force", node_admin_give_up_force},
        {"nodes", on_nodes},
        {"ring", on_ring},
        {"slot", on_slot},
        {"restart-check", on_restart_check},
        {"policies", on_policies},
        {"policy-set", on_policy_set},
        {"policy-rm", on_policy_rm},
        {"cluster-replicas", on_replicas},
        {"node-remove", node_admin_remove},
        {"node-remove-force", node_admin_remove_force},
        {"node-drain", node_admin_drain},
        {"node-drain-cancel", node_admin_drain_cancel},
        {"node-weight", node_admin_weight},
        {"node-activate", node_admin_activate},
        {"node-degrade", node_admin_degrade},
        {"node-undegrade", node_admin_undegrade},
        {"join-token", on_join_token},
    };

    for (size_t i = 0; i < sizeof commands / sizeof commands[0]; i++) {
        if (strcmp(command, commands[i].name) == 0) {
            commands[i].run(node, token, argument);
            return true;
        }
    }
    return false;
}
