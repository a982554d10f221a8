#include "node_policies.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "crc32c.h"
#include "map_parts.h"
#include "node_private.h"

/* ---- Tables ---- */

/* All of them, one after the other. */
static int encode(struct node *node, const struct policies *policies, struct buffer *to)
{
    *to = (struct buffer){.memory = &node->memory};
    int rc = buffer_reserve(to, (size_t)policies->count * MAP_POLICY_BYTES_MAX);

    for (uint32_t i = 0; i < policies->count && rc == 0; i++) {
        map_put_policy(to, &policies->rows[i]);
    }
    return rc;
}

/* What tells the sections of one start from those of another; 0 is none. */
static uint32_t sum_of(struct node *node, const struct policies *policies)
{
    struct buffer encoded;
    uint32_t sum = encode(node, policies, &encoded) == 0 ? crc32c(0, buffer_bytes(&encoded)) : 0;

    buffer_fini(&encoded);
    return sum | 1;
}

static bool equal(struct node *node, const struct policies *a, const struct policies *b)
{
    struct buffer first, second;
    bool same = encode(node, a, &first) == 0 && encode(node, b, &second) == 0 &&
                bytes_equal(buffer_bytes(&first), buffer_bytes(&second));

    buffer_fini(&first);
    buffer_fini(&second);
    return same;
}

/* What this node was not started for it does not take: its log has no room for such a session. */
static void bound(struct node *node, struct policies *table)
{
    for (uint32_t i = 0; i < table->count; i++) {
        struct session_rules *rules = &table->rows[i].rules;
        if (rules->session_bytes_max > node->record_bytes_max) {
            rules->session_bytes_max = (uint32_t)node->record_bytes_max;
            logger_write(node->world.logger, LOG_LEVEL_WARN, "policy-bounded",
                         LOG_TEXT("prefix", table->rows[i].prefix),
                         LOG_NUMBER("session_max_bytes", node->record_bytes_max),
                         LOG_TEXT("cause", "no policy of this node's configuration has more"));
        }
    }
}

static struct policies *table_of(struct node *node, const struct map *map)
{
    struct policies *table = malloc(sizeof *table);

    if (table != NULL && policies_init(table, map->policies, map->policy_count) != 0) {
        free(table); /* The map keeps its limits, so it is never so. */
        return NULL;
    }
    if (table != NULL) {
        bound(node, table);
    }
    return table;
}

/* A shard takes its mail in order: who has answered has what was sent before. */
static bool all_have_them(struct node *node)
{
    struct plane_shard_stats *stats = malloc(sizeof *stats);
    bool all = stats != NULL && node->started && !node->policies_torn;

    for (uint32_t i = 0; i < node->shard_count && all; i++) {
        all = plane_stats(node->plane, i, stats) == 0;
    }
    free(stats);
    return all;
}

static void free_old(struct node *node)
{
    for (uint32_t i = 0; i < node->policies_old_count; i++) {
        free(node->policies_old[i]);
    }
    node->policies_old_count = 0;
}

static int replace(struct node *node, struct policies *table)
{
    int rc = plane_set_policies(node->plane, table);

    node->policies_torn = rc != 0; /* Some may have it: it stays, too. */
    node->policies_old[node->policies_old_count++] = rc == 0 ? node->policies : table;
    node->policies = rc == 0 ? table : node->policies;
    if (all_have_them(node)) {
        free_old(node);
    }
    return rc;
}

int node_policies_take(struct node *node, const struct map *map)
{
    if (node->policies_ours || map->policy_count == 0) {
        return 0; /* The map does not have them all yet. */
    }
    struct policies *table = table_of(node, map);
    if (table == NULL) {
        return -ENOMEM;
    }
    if (equal(node, table, node->policies) && !node->policies_torn) {
        free(table);
        return 0;
    }
    if (node->policies_old_count == NODE_POLICIES_OLD_MAX) {
        free(table);
        return -EAGAIN;
    }
    return replace(node, table);
}

/* ---- Of the configuration ---- */

int node_policies_open(struct node *node)
{
    const struct map *map = cluster_map(cluster_host_cluster(node->cluster));
    struct policies *own = calloc(1, sizeof *own);

    if (own == NULL) {
        return -ENOMEM;
    }
    config_policies(node->world.config, own);
    node->policies_sum = sum_of(node, own);
    bool changed = node->directory.meta.policies != node->policies_sum;
    node->policies_ours = map->policy_count == 0 || (changed && map->member_count == 1);
    if (changed && !node->policies_ours && node->world.config->policy_count > 0) {
        logger_write(node->world.logger, LOG_LEVEL_WARN, "policy-sections-ignored",
                     LOG_TEXT("cause", "the node is one of several: belayctl policy set changes "
                                       "the policies of all"));
    }
    node->policies = own;
    if (!node->policies_ours) {
        node->policies = table_of(node, map);
        free(own);
    }
    return node->policies == NULL ? -ENOMEM : 0;
}

int node_policies_say(struct node *node, const struct policy *policy)
{
    node->policies_said.memory = &node->memory;
    return node->policies_ours ? buffer_append(&node->policies_said,
                                               bytes_of(policy->prefix, strlen(policy->prefix) + 1))
                               : 0;
}

static bool is_said(const struct node *node, const struct policy *policy)
{
    const struct bytes said = buffer_bytes(&node->policies_said);
    bool found = false;

    for (size_t at = 0; at < said.size && !found;) {
        const char *prefix = (const char *)said.data + at;
        found = strcmp(prefix, policy->prefix) == 0;
        at += strlen(prefix) + 1;
    }
    return found;
}

static bool propose_removals(struct node *node, const struct map *map);

static void on_proposed(void *context, const struct cluster_outcome *outcome)
{
    struct node *node = context;

    node->policies_failed |= outcome->rc != 0 && outcome->rc != -EALREADY;
    if (--node->policies_proposed > 0 || node->policies_failed) {
        return;
    }
    if (propose_removals(node, outcome->map)) {
        return; /* What was decided just before a crash is in the map only now. */
    }
    node->policies_ours = false;
    buffer_fini(&node->policies_said);
    node->map_pending |= node_policies_take(node, outcome->map) != 0; /* What changed meanwhile. */
    int rc = directory_set_policies(&node->directory, node->policies_sum);
    if (rc != 0) {
        logger_write(node->world.logger, LOG_LEVEL_WARN, "policies-not-noted",
                     LOG_TEXT("cause", strerror(-rc)),
                     LOG_TEXT("effect", "the next start takes them from the configuration again"));
    }
}

static void propose(struct node *node, enum map_command_type type, const struct policy *policy)
{
    struct map_command command = {.type = type, .policy = *policy};
    int rc = cluster_propose(cluster_host_cluster(node->cluster),
                             cluster_host_now_ms(node->cluster), &command, on_proposed, node);

    node->policies_proposed += rc == 0;
    if (rc != 0) {
        node->policies_failed = true;
        logger_write(node->world.logger, LOG_LEVEL_ERROR, "policy-not-proposed",
                     LOG_TEXT("cause", strerror(-rc)));
    }
}

/* The row of the same prefix; NULL: there is none. */
static const struct policy *find(const struct policies *policies, const struct policy *policy)
{
    for (uint32_t i = 0; i < policies->count; i++) {
        if (bytes_equal(map_policy_prefix(&policies->rows[i]), map_policy_prefix(policy))) {
            return &policies->rows[i];
        }
    }
    return NULL;
}

static bool equal_rows(struct node *node, const struct policy *a, const struct policy *b)
{
    struct buffer first = {.memory = &node->memory}, second = {.memory = &node->memory};
    bool same = buffer_reserve(&first, MAP_POLICY_BYTES_MAX) == 0 &&
                buffer_reserve(&second, MAP_POLICY_BYTES_MAX) == 0;

    if (same) {
        map_put_policy(&first, a);
        map_put_policy(&second, b);
        same = bytes_equal(buffer_bytes(&first), buffer_bytes(&second));
    }
    buffer_fini(&first);
    buffer_fini(&second);
    return same;
}

/* Whoever said it with `belayctl policy set` is not there to be told. */
static void tell_overridden(struct node *node, const struct policy *policy, const char *effect)
{
    logger_write(node->world.logger, LOG_LEVEL_WARN, "policy-overridden",
                 LOG_TEXT("prefix", policy->prefix), LOG_TEXT("effect", effect),
                 LOG_TEXT("cause",
                          "the [policy] sections are others than at the last start, and the "
                          "node is alone: they count more than belayctl policy set"));
}

/* Those that the configuration does not have, and no operator has set meanwhile; tells of them, and of those that it has otherwise.
 * Returns whether there were any to remove. */
static bool propose_removals(struct node *node, const struct map *map)
{
    const uint32_t before = node->policies_proposed;

    for (uint32_t i = 0; i < map->policy_count; i++) {
        const struct policy *row = find(node->policies, &map->policies[i]);
        if (is_said(node, &map->policies[i])) {
            continue;
        }
        if (row == NULL || !equal_rows(node, row, &map->policies[i])) {
            tell_overridden(node, &map->policies[i], row == NULL ? "removed" : "changed");
        }
        if (row == NULL) {
            propose(node, MAP_POLICY_REMOVE, &map->policies[i]);
        }
    }
    return node->policies_proposed > before;
}

void node_policies_settle(struct node *node)
{
    const struct map *map = cluster_map(cluster_host_cluster(node->cluster));

    if (!node->policies_ours || map->member_count != 1) {
        return;
    }
    (void)propose_removals(node, map);
    for (uint32_t i = 0; i < node->policies->count; i++) {
        propose(node, MAP_POLICY_SET, &node->policies->rows[i]);
    }
}

void node_policies_close(struct node *node)
{
    free_old(node);
    buffer_fini(&node->policies_said);
    free(node->policies);
    node->policies = NULL;
}
