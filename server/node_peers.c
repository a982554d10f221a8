#include "node_peers.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "node_archive.h"
#include "node_cluster.h"
#include "node_joiners.h"
#include "node_private.h"
#include "peers.h"

/* ---- From the peers ---- */

static void on_up(void *context, uint32_t other, uint32_t start)
{
    struct node *node = context;

    (void)start;
    cluster_link_up(cluster_host_cluster(node->cluster), cluster_host_now_ms(node->cluster), other);
    node_archive_link_up(node);
}

static void on_down(void *context, uint32_t other)
{
    struct node *node = context;

    cluster_link_down(cluster_host_cluster(node->cluster), cluster_host_now_ms(node->cluster),
                      other);
}

static void on_frame(void *context, uint32_t other, const struct peer_frame *frame)
{
    struct node *node = context;

    if (frame->kind == PEER_ARCHIVED) {
        node_archive_heard(node, other, frame->body);
        return;
    }
    (void)cluster_receive(cluster_host_cluster(node->cluster), cluster_host_now_ms(node->cluster),
                          other, frame->kind, frame->number, frame->body);
}

/* Numbers are never given again. */
static bool on_was_member(void *context, uint32_t other)
{
    struct node *node = context;
    const struct map *map = cluster_map(cluster_host_cluster(node->cluster));

    return other <= map->number_last && map_member(map, other) == NULL;
}

static void on_removed(void *context, uint32_t by)
{
    node_cluster_removed(context, by);
}

static void on_outlived(void *context, uint32_t by)
{
    node_cluster_outlived(context, by);
}

static void on_clock_apart(void *context, uint32_t other, bool apart)
{
    node_cluster_apart(context, other, apart);
}

static void on_data_link(void *context, const struct peers_data_link *link)
{
    struct node *node = context;
    const struct plane_link given = {
        .fd = link->fd,
        .dialled = link->dialled,
        .node = link->node,
        .start = link->start,
        .shard = link->shard,
        .shards = link->shards,
        .rest = link->rest,
    };

    if (plane_link(node->plane, link->local, &given) != 0) {
        close(link->fd);
        node_peers_link_lost(node, link->local, link->node, link->shard, link->dialled);
    }
}

static void on_join_frame(void *context, uint64_t joiner, const struct peer_frame *frame)
{
    struct node *node = context;

    joiners_take(node->joiners, joiner, frame);
}

void node_peers_link_lost(struct node *node, uint32_t shard, uint32_t other, uint32_t other_shard,
                          bool dialled)
{
    if (dialled) { /* Who came in comes again by himself. */
        peers_link_lost(node->peers, shard, other, other_shard);
    }
}

/* ---- Life ---- */

static int create(struct node *node, char *message, size_t message_size)
{
    const struct config *config = node->world.config;
    const struct directory_meta *meta = &node->directory.meta;
    struct peers_options options = {
        .loop = control_loop(node->world.control),
        .logger = node->world.logger,
        .address = config->listen_address,
        .port = (uint16_t)config->listen_peer_port,
        .self =
            {
                .name = {meta->actor.node, meta->actor.start},
                .shards = node->shard_count,
                .clock_skew_max_ms = (uint32_t)config->cluster_max_clock_skew,
            },
        .now_ms = wall_clock_read,
        .clock = node->world.clock,
        .context = node,
        .control_up = on_up,
        .control_down = on_down,
        .control_frame = on_frame,
        .was_member = on_was_member,
        .removed = on_removed,
        .outlived = on_outlived,
        .clock_apart = on_clock_apart,
        .data_link = on_data_link,
        .join_frame = on_join_frame,
    };

    memcpy(options.self.cluster, meta->cluster, CLUSTER_ID_BYTES);
    memcpy(options.self.secret, meta->secret, CLUSTER_SECRET_BYTES);
    return peers_create(&options, &node->peers, message, message_size);
}

int node_peers_open(struct node *node, char *message, size_t message_size)
{
    int rc = joiners_create(node, &node->joiners);

    if (rc == 0) {
        rc = create(node, message, message_size);
    }
    if (rc == -EADDRINUSE && !node->among_others) {
        logger_write(node->world.logger, LOG_LEVEL_WARN, "peer-port-in-use",
                     LOG_NUMBER("port", node->world.config->listen_peer_port),
                     LOG_TEXT("effect", "no other node can join this one"));
        message[0] = '\0';
        return 0;
    }
    return rc;
}

static struct peer_member member_of(const struct map_member *from)
{
    struct peer_member member = {
        .node = from->number,
        .port = from->place.ports[MAP_PORT_PEER],
        .start = from->place.start,
    };

    memcpy(member.host, from->place.host.bytes, from->place.host.size);
    return member;
}

int node_peers_members(struct node *node, const struct map *map)
{
    struct peer_member *members;
    uint32_t count = 0;

    if (node->peers == NULL) {
        return 0;
    }
    members = calloc(MAP_MEMBERS_MAX, sizeof *members);
    if (members == NULL) {
        return -ENOMEM;
    }
    for (uint32_t i = 0; i < map->member_count; i++) {
        members[count++] = member_of(&map->members[i]);
    }
    int rc = peers_set_members(node->peers, map->epoch, members, count);
    free(members);
    return rc;
}

bool node_peers_send(struct node *node, uint32_t to, uint8_t kind, uint64_t number,
                     const struct bytes parts[], uint32_t count)
{
    return node->peers != NULL && peers_send(node->peers, to, kind, number, parts, count);
}

void node_peers_figures(const struct node *node, struct peers_figures *figures)
{
    memset(figures, 0, sizeof *figures);
    if (node->peers != NULL) {
        peers_figures(node->peers, figures);
    }
}

void node_peers_close(struct node *node)
{
    joiners_destroy(node->joiners);
    node->joiners = NULL;
    peers_destroy(node->peers);
    node->peers = NULL;
}
