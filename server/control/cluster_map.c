/* Maps to the outside, at most every few milliseconds, and from other nodes where Raft is behind. */
#include "cluster_private.h"

const struct map *cluster_map(const struct cluster *cluster)
{
    bool pulled = cluster->pulled->epoch > cluster->map->epoch;

    return pulled ? cluster->pulled : cluster->map;
}

void cluster_map_publish(struct cluster *cluster)
{
    const struct cluster_port *port = &cluster->options.port;
    const struct map *map = cluster_map(cluster);
    uint64_t gone_ms = cluster->now_ms - cluster->published_ms;

    /* While no other node follows Raft's log nobody else can have decided anything. */
    cluster->heard = cluster->heard || cluster->raft.current || cluster_is_alone(cluster);
    if (map->epoch == cluster->published_epoch && cluster->heard == cluster->published_heard) {
        return;
    }
    if (cluster->published_epoch != 0 && gone_ms < CLUSTER_PUBLISH_MS) {
        port->wake_in(port->context, (uint32_t)(CLUSTER_PUBLISH_MS - gone_ms));
        return;
    }
    cluster->published_epoch = map->epoch;
    cluster->published_heard = cluster->heard;
    cluster->published_ms = cluster->now_ms;
    cluster->maps_published++;
    port->map(port->context, map, !cluster->heard);
}

void cluster_epoch(struct cluster *cluster, uint64_t now_ms, uint32_t node, uint64_t epoch)
{
    cluster->now_ms = now_ms > cluster->now_ms ? now_ms : cluster->now_ms;
    uint64_t own = cluster_map(cluster)->epoch;

    if (epoch > own &&
        (cluster->pull_ms == 0 || cluster->now_ms - cluster->pull_ms >= CLUSTER_PULL_MS) &&
        cluster_send(cluster, node, PEER_MAP_PULL, own, bytes_of(NULL, 0))) {
        cluster->pull_ms = cluster->now_ms;
    }
}

void cluster_map_pull_came(struct cluster *cluster, uint32_t from, uint64_t epoch)
{
    const struct map *map = cluster_map(cluster);

    cluster->scratch.size = 0;
    if (map->epoch > epoch && map_encode(map, &cluster->scratch) == 0) {
        (void)cluster_send(cluster, from, PEER_MAP, map->epoch, buffer_bytes(&cluster->scratch));
    }
}

void cluster_map_came(struct cluster *cluster, struct bytes body)
{
    struct map *read = cluster->spare;

    if (map_decode(body, read) != 0 || read->cluster != cluster->map->cluster) {
        cluster->frames_bad++;
    } else if (read->epoch > cluster_map(cluster)->epoch) {
        cluster->spare = cluster->pulled;
        cluster->pulled = read;
        cluster->maps_pulled++;
    }
}
