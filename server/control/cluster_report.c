/* Figures of this node's part of the cluster, for metrics and status. */
#include <string.h>

#include "cluster_private.h"

static uint32_t count_unsettled(const struct map *map)
{
    uint32_t count = 0;

    for (uint32_t slot = 0; slot < SLOT_COUNT; slot++) {
        struct slot_owners targets = map_targets(map, slot);
        count += memcmp(&targets, &map->owners[slot], sizeof targets) != 0;
    }
    return count;
}

void cluster_figures(struct cluster *cluster, struct cluster_figures *figures)
{
    const struct raft *raft = &cluster->raft;
    const struct map *map = cluster_map(cluster);

    if (cluster->unsettled_epoch != map->epoch) {
        cluster->unsettled_epoch = map->epoch;
        cluster->unsettled = count_unsettled(map);
    }
    *figures = (struct cluster_figures){
        .term = raft->term,
        .commit = raft->commit,
        .applied = raft->applied,
        .epoch = map->epoch,
        .role = raft->role,
        .leader = cluster_leader(cluster),
        .voters = raft_members_voters(&raft->members),
        .followers = raft->members.count,
        .votes = raft_members_vote(&raft->members, raft->options.node),
        .unsettled = cluster->unsettled,
        .elections = cluster->elections,
        .snapshots = cluster->snapshots,
        .proposals = cluster->proposed,
        .proposals_failed = cluster->proposals_failed,
        .maps_published = cluster->maps_published,
        .maps_pulled = cluster->maps_pulled,
        .frames_bad = cluster->frames_bad,
        .liveness = cluster->liveness.counters,
    };
    for (uint32_t i = 0; i < map->member_count; i++) {
        figures->members[map->members[i].state]++;
        for (uint32_t bit = 0; bit < 3 && map->members[i].state == MAP_DEGRADED; bit++) {
            figures->degraded[bit] += map->members[i].condition >> bit & 1;
        }
    }
    if (cluster->role == RAFT_LEADER) {
        figures->verdict = cluster->verdict.counters;
        figures->panic = cluster->verdict.panic;
    }
}
