/* Slots whose targets have all there is: runs of them become commands, a few at a time. */
#include <string.h>

#include "cluster_private.h"

static bool same(const struct slot_owners *a, const struct slot_owners *b)
{
    return memcmp(a, b, sizeof *a) == 0;
}

void cluster_level(struct cluster *cluster, uint64_t now_ms, uint32_t slot,
                   const struct slot_owners *targets)
{
    cluster->now_ms = now_ms > cluster->now_ms ? now_ms : cluster->now_ms;
    if (slot < SLOT_COUNT && targets->nodes[0] != 0) {
        cluster->level_count += cluster->levels[slot].nodes[0] == 0;
        cluster->levels[slot] = *targets;
    }
}

static void forget(struct cluster *cluster, uint32_t slot)
{
    memset(&cluster->levels[slot], 0, sizeof cluster->levels[slot]);
    cluster->level_count--;
}

/* Is the slot to be settled as was said? If not (any more), that is forgotten. */
static bool is_due(struct cluster *cluster, uint32_t slot)
{
    const struct slot_owners *level = &cluster->levels[slot];

    if (level->nodes[0] == 0) {
        return false;
    }
    struct slot_owners targets = map_targets(cluster->map, slot);
    if (!same(level, &targets) || same(level, &cluster->map->owners[slot])) {
        forget(cluster, slot);
        return false;
    }
    return true;
}

void cluster_settle_tick(struct cluster *cluster)
{
    uint32_t sent = 0;

    for (uint32_t slot = 0, end; cluster->level_count > 0 && slot < SLOT_COUNT; slot = end) {
        end = slot + 1;
        if (!is_due(cluster, slot)) {
            continue;
        }
        while (end < SLOT_COUNT && same(&cluster->levels[slot], &cluster->levels[end]) &&
               is_due(cluster, end)) {
            end++;
        }
        const struct map_command command = {
            .type = MAP_SETTLE,
            .slot = slot,
            .slot_count = end - slot,
            .owners = cluster->levels[slot],
        };
        cluster_propose_own(cluster, &command);
        if (++sent == CLUSTER_SETTLES_MAX) {
            break;
        }
    }
}
