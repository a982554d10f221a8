#include "node_cluster.h"

#include <assert.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "client_map.h"
#include "heap.h"
#include "map_clients.h"
#include "map_page.h"
#include "node_peers.h"
#include "node_policies.h"
#include "node_private.h"
#include "node_recover.h"
#include "peers.h"
#include "slot_table.h"

/* ---- A new map ---- */

static void free_table(void *context, const struct slot_table *table)
{
    (void)table; /* The same. */
    free(context);
}

static bool is_apart(const struct node *node, uint32_t number)
{
    uint32_t i = 0;

    while (i < node->apart_count && node->apart[i] != number) {
        i++;
    }
    return i < node->apart_count;
}

static int give_table(struct node *node, const struct map *map)
{
    struct slot_table *table = malloc(sizeof *table);

    if (table == NULL) {
        return -ENOMEM;
    }
    slot_table_make(table, map, node->directory.meta.actor.node);
    table->kept = node->map_kept;
    for (uint32_t i = 0; i < table->member_count; i++) {
        table->members[i].apart = is_apart(node, table->members[i].number);
    }
    int rc = plane_set_table(node->plane, table, free_table, table);
    if (rc != 0) {
        free(table);
    }
    return rc;
}

static int give_client_map(struct node *node, const struct map *map)
{
    struct client_map *made = malloc(sizeof *made);
    struct buffer encoded = {.memory = &node->memory};
    int rc = -ENOMEM;

    if (made != NULL) {
        map_for_clients(map, made);
        rc = client_map_encode(made, &encoded);
    }
    if (rc == 0) {
        rc = plane_set_client_map(node->plane, map->epoch, buffer_bytes(&encoded));
    }
    buffer_fini(&encoded);
    free(made);
    return rc;
}

/* ---- Removed ---- */

void node_cluster_removed(struct node *node, uint32_t by)
{
    if (node->removed) {
        return;
    }
    node->removed = true;
    int rc = directory_put_removed(&node->directory);
    logger_write(node->world.logger, LOG_LEVEL_ERROR, "node-removed",
                 LOG_NUMBER("number", node->directory.meta.actor.node), LOG_NUMBER("told_by", by),
                 LOG_TEXT("kept", rc == 0 ? "yes" : strerror(-rc)),
                 LOG_TEXT("effect",
                          "this node was removed from the cluster, and stops; "
                          "the others have its sessions, but for those given up with --force "
                          "or --force-new-cluster, which only its disk has"));
    control_end(node->world.control);
}

void node_cluster_outlived(struct node *node, uint32_t by)
{
    if (node->removed) {
        return;
    }
    node->removed = true;
    logger_write(node->world.logger, LOG_LEVEL_ERROR, "node-outlived",
                 LOG_NUMBER("number", node->directory.meta.actor.node), LOG_NUMBER("told_by", by),
                 LOG_TEXT("effect",
                          "the others know a later life of this node, from a copy of this "
                          "data directory or a later one, and this one stops: what it "
                          "acknowledged would be lost"));
    control_end(node->world.control);
}

/* ---- A new map, to all ---- */

/* Who is no member any more is not told of again: its place is for others. */
static void keep_apart(struct node *node, const struct map *map)
{
    uint32_t kept = 0;

    for (uint32_t i = 0; i < node->apart_count; i++) {
        if (map_member(map, node->apart[i]) != NULL) {
            node->apart[kept++] = node->apart[i];
        }
    }
    node->apart_count = kept;
}

/* To all that goes by the map. What could not be given for want of memory is given again at the next tick. */
static void publish(struct node *node, const struct map *map)
{
    int rc = 0;

    node->among_others |= map->member_count > 1 || map_has_lost(map);
    if (node->plane == NULL) {
        return;
    }
    if (map_member(map, node->directory.meta.actor.node) == NULL) {
        node_cluster_removed(node, 0);
        return;
    }
    rc = node_peers_members(node, map);
    keep_apart(node, map);
    if (rc == 0 && node->among_others) {
        rc = give_table(node, map);
        if (rc == 0) {
            node_recover_map(node, map);
        }
        rc = rc == 0 ? give_client_map(node, map) : rc;
    }
    if (rc == 0) {
        rc = node_policies_take(node, map);
    }
    node->map_pending = rc != 0;
    if (rc != 0) {
        logger_write(node->world.logger, LOG_LEVEL_ERROR, "map-not-published",
                     LOG_NUMBER("epoch", map->epoch), LOG_TEXT("cause", strerror(-rc)));
    }
}

void node_cluster_apart(struct node *node, uint32_t number, bool apart)
{
    uint32_t kept = 0;

    for (uint32_t i = 0; i < node->apart_count; i++) {
        if (node->apart[i] != number) {
            node->apart[kept++] = node->apart[i];
        }
    }
    if (apart && kept < MAP_MEMBERS_MAX) {
        node->apart[kept++] = number;
    }
    node->apart_count = kept;
    /* Not all of publish(): it is said by a link of node->peers. */
    if (node->plane != NULL && node->among_others &&
        give_table(node, cluster_map(cluster_host_cluster(node->cluster))) != 0) {
        node->map_pending = true;
    }
}

static void on_map(void *context, const struct map *map, bool kept)
{
    struct node *node = context;

    node->map_kept = kept;
    publish(node, map);
}

static bool on_send(void *context, uint32_t to, uint8_t kind, uint64_t number,
                    const struct bytes parts[], uint32_t count)
{
    return node_peers_send(context, to, kind, number, parts, count);
}

static void on_level(void *context, uint32_t slot, const struct slot_owners *targets)
{
    struct node *node = context;

    if (node->cluster != NULL) {
        cluster_level(cluster_host_cluster(node->cluster), cluster_host_now_ms(node->cluster), slot,
                      targets);
    }
}

void node_cluster_level(struct node *node, uint32_t slot, const struct slot_owners *targets)
{
    levels_put(node->levels, slot, targets);
}

/* ---- Opening ---- */

struct map_text node_text(const char *from)
{
    struct map_text text = {.size = 0};
    size_t size = strlen(from);

    text.size = (uint8_t)(size < MAP_TEXT_BYTES_MAX ? size : MAP_TEXT_BYTES_MAX);
    memcpy(text.bytes, from, text.size);
    return text;
}

void node_place(const struct config *config, uint32_t shards, struct map_place *place)
{
    *place = (struct map_place){
        .host = node_text(config->listen_announce),
        .ports =
            {
                [MAP_PORT_NATIVE] = (uint16_t)config->listen_port,
                [MAP_PORT_CLUSTER] = (uint16_t)config->listen_cluster_port,
                [MAP_PORT_PEER] = (uint16_t)config->listen_peer_port,
                [MAP_PORT_HTTP] = (uint16_t)config->listen_http_port,
            },
        .shards = shards,
    };
}

static int create_host(struct node *node, const char *path, struct bytes seed, char *message,
                       size_t message_size)
{
    const struct config *config = node->world.config;
    const struct directory_meta *meta = &node->directory.meta;
    struct cluster_host_options options = {
        .loop = control_loop(node->world.control),
        .lost = node->world.lost,
        .directory = path,
        .cluster =
            {
                .self = meta->actor,
                .run = meta->run,
                .archives = config->archive_url[0] != '\0',
                .weight = config->weight,
                .name = node_text(config->node_name),
                .zone = node_text(config->node_zone),
                .region = node_text(config->node_region),
                .found = !meta->begun && seed.size == 0,
                .id = load_u64(meta->cluster),
                .replicas = (uint32_t)config->cluster_replicas,
                .seed = seed,
                .memory = heap_memory(), /* Its handles close after the node. */
                .logger = node->world.logger,
                .port = {.send = on_send, .map = on_map, .context = node},
            },
    };

    node_place(config, node->shard_count, &options.cluster.place);
    options.cluster.place.start = meta->actor.start;
    config_liveness(config, &options.cluster.liveness);
    return cluster_host_create(&options, &node->cluster, message, message_size);
}

static int open_host(struct node *node, struct buffer *beginning, char *message,
                     size_t message_size)
{
    char path[PATH_BYTES_MAX];
    int rc = directory_beginning(&node->directory, beginning);

    if (rc == 0) {
        rc = path_join(path, node->directory.path, DIRECTORY_RAFT_NAME);
    }
    if (rc != 0) {
        snprintf(message, message_size, "%s: what the node was given when it joined: %s",
                 node->directory.path, strerror(-rc));
        return rc;
    }
    if (!node->directory.meta.begun && beginning->size == 0 && node->world.config->weight == 0) {
        snprintf(message, message_size,
                 "node.weight is 0, which is for a node that joins others (--join): the first of a "
                 "cluster has all sessions");
        return -EINVAL;
    }
    rc = create_host(node, path, buffer_bytes(beginning), message, message_size);
    const struct map *map = rc == 0 ? cluster_map(cluster_host_cluster(node->cluster)) : NULL;
    if (rc == -ENOENT || (rc == 0 && map_member(map, node->directory.meta.actor.node) == NULL)) {
        (void)directory_put_removed(&node->directory);
        return directory_was_removed(node->directory.files, node->directory.path, message,
                                     message_size);
    }
    if (rc == 0 && !node->directory.meta.begun) {
        rc = directory_begun(&node->directory);
        if (rc != 0) {
            snprintf(message, message_size, "%s: %s", node->directory.path, strerror(-rc));
        }
    }
    return rc;
}

/* A node keeps the name under which it entered: others, and their operators, know it by that. */
static void take_name(struct node *node)
{
    const struct map_member *self = node_self(node);
    const struct map_text given = node_text(node->world.config->node_name);

    if (self == NULL) {
        return;
    }
    memcpy(node->name, self->name.bytes, self->name.size);
    if (!bytes_equal(map_text_bytes(&self->name), map_text_bytes(&given))) {
        logger_write(node->world.logger, LOG_LEVEL_WARN, "node-name-kept",
                     LOG_TEXT("name", node->name),
                     LOG_TEXT("configured", node->world.config->node_name),
                     LOG_TEXT("effect", "its data directory entered the cluster under that name, "
                                        "and goes on with it; node.name counts for a new one"));
    }
}

/* What the cluster has holds, and who set something else here is to know. */
static void tell_replicas(const struct node *node)
{
    const uint64_t configured = node->world.config->cluster_replicas;
    const struct map *map = cluster_map(cluster_host_cluster(node->cluster));

    if (map->member_count > 0 && map->replicas != configured) {
        logger_write(node->world.logger, LOG_LEVEL_WARN, "replicas-differ",
                     LOG_NUMBER("cluster", map->replicas), LOG_NUMBER("configured", configured),
                     LOG_TEXT("effect", "sessions have as many copies as the cluster says; "
                                        "belayctl cluster replicas changes that"));
    }
}

int node_cluster_open(struct node *node, char *message, size_t message_size)
{
    struct buffer beginning = {.memory = &node->memory};
    int rc = levels_create(control_loop(node->world.control), on_level, node, &node->levels);

    if (rc == 0) {
        rc = open_host(node, &beginning, message, message_size);
    }
    if (rc == 0) {
        take_name(node);
        tell_replicas(node);
    }
    buffer_fini(&beginning);
    return rc;
}

int node_cluster_start(struct node *node, char *message, size_t message_size)
{
    int rc = node_peers_open(node, message, message_size);

    if (rc != 0) {
        return rc;
    }
    publish(node, cluster_map(cluster_host_cluster(node->cluster)));
    node_policies_settle(node);
    return 0;
}

/* ---- While it runs ---- */

void node_cluster_condition(struct node *node, uint32_t shard, uint8_t condition)
{
    atomic_store(&node->shards[shard].condition, condition);
}

void node_cluster_tick(struct node *node)
{
    uint8_t condition = 0;

    for (uint32_t i = 0; i < node->shard_count; i++) {
        condition |= atomic_load(&node->shards[i].condition);
    }
    cluster_condition(cluster_host_cluster(node->cluster), cluster_host_now_ms(node->cluster),
                      condition);
    cluster_followed(cluster_host_cluster(node->cluster), plane_followed(node->plane));
    if (node->map_pending) {
        publish(node, cluster_map(cluster_host_cluster(node->cluster)));
    }
    node_recover_tick(node);
}

void node_cluster_figures(const struct node *node, struct metrics_membership *figures)
{
    struct cluster *cluster = cluster_host_cluster(node->cluster);
    const struct map *map = cluster_map(cluster);
    struct map_page_slots slots[MAP_MEMBERS_MAX];
    struct cluster_figures known;

    cluster_figures(cluster, &known);
    *figures = (struct metrics_membership){
        .node = node->directory.meta.actor.node,
        .leader = cluster_leader(cluster),
        .members = map->member_count,
        .epoch = map->epoch,
        .slots_not_level = known.unsettled,
    };
    map_page_count(map, slots);
    for (uint32_t i = 0; i < map->member_count; i++) {
        const uint32_t number = map->members[i].number;
        if (number == figures->node) {
            figures->slots_owned = slots[i].primary + slots[i].copy;
            figures->state = map->members[i].state;
            figures->condition = map->members[i].condition;
        }
        if (cluster_is_voter(cluster, number) && figures->voter_count < METRICS_VOTERS_MAX) {
            figures->voters[figures->voter_count++] = number;
        }
    }
}

bool node_cluster_listens(const struct node *node)
{
    return node->peers != NULL;
}

static void add_lags(const struct map *map, const struct plane_shard_stats *stats,
                     struct map_page_link *links)
{
    for (uint32_t i = 0; i < map->member_count; i++) {
        for (uint32_t j = 0; j < stats->lag_count; j++) {
            const struct plane_lag *lag = &stats->lags[j];
            if (lag->node == map->members[i].number) {
                uint64_t behind_ms = lag->behind_us / 1000;
                links[i].records_behind += lag->records_behind;
                links[i].bytes_behind += lag->bytes_behind;
                links[i].behind_ms =
                    behind_ms > links[i].behind_ms ? behind_ms : links[i].behind_ms;
            }
        }
    }
}

void node_cluster_links(const struct node *node, struct map_page_link *links)
{
    const struct map *map = cluster_map(cluster_host_cluster(node->cluster));

    memset(links, 0, map->member_count * sizeof links[0]);
    for (uint32_t i = 0; i < map->member_count; i++) {
        const uint32_t number = map->members[i].number;
        links[i].up = node->peers != NULL && peers_reaches(node->peers, number);
        links[i].votes = cluster_is_voter(cluster_host_cluster(node->cluster), number);
    }
    struct plane_shard_stats *stats = malloc(sizeof *stats);
    for (uint32_t i = 0; i < node->shard_count && stats != NULL; i++) {
        if (plane_stats(node->plane, i, stats) == 0) {
            add_lags(map, stats, links);
        }
    }
    free(stats);
}

/* ---- Closing ---- */

void node_cluster_stop(struct node *node)
{
    cluster_host_destroy(node->cluster);
    node->cluster = NULL;
    node_peers_close(node);
}

void node_cluster_close(struct node *node)
{
    levels_destroy(node->levels);
    node->levels = NULL;
}
