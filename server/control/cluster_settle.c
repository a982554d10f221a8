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
        if (cluster->level_count == 0) {
            cluster->settle_latest_ms = cluster->now_ms + CLUSTER_SETTLE_MS_MAX;
        }
        if (cluster->levels[slot].nodes[0] == 0) {
            cluster->level_count++;
            cluster->settle_due_ms = cluster->now_ms + CLUSTER_SETTLE_MS;
        }
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

/* Does the slot belong to a run with these owners: as it is to have them, or has them already? */
static bool fits(struct cluster *cluster, uint32_t slot, const struct slot_owners *owners)
{
    if (same(&cluster->levels[slot], owners)) {
        return is_due(cluster, slot);
    }
    struct slot_owners targets = map_targets(cluster->map, slot);
    return same(&targets, owners) && same(&cluster->map->owners[slot], owners);
}

/* Is the slot to have these owners as well, and not level yet? Shards tell of their slots one after the other, and those
 * that follow each other are of different shards: what comes soon is waited for. */
static bool is_to_come(struct cluster *cluster, uint32_t slot, const struct slot_owners *owners)
{
    if (slot >= SLOT_COUNT || same(&cluster->levels[slot], owners)) {
        return false;
    }
    struct slot_owners targets = map_targets(cluster->map, slot);
    return same(&targets, owners) && !same(&cluster->map->owners[slot], owners);
}

/* Propose the run that begins with this slot, unless something of it is to come and it is not `late`. Returns the slot
 * after it. */
static uint32_t propose_run(struct cluster *cluster, uint32_t slot, bool late)
{
    struct map_command command = {
        .type = MAP_SETTLE,
        .slot = slot,
        .owners = cluster->levels[slot],
    };
    uint32_t end = slot + 1, last = slot;

    while (end < SLOT_COUNT && fits(cluster, end, &command.owners)) {
        last = cluster->levels[end].nodes[0] != 0 ? end : last;
        end++;
    }
    command.slot_count = last - slot + 1;
    if (late || (!is_to_come(cluster, end, &command.owners) &&
                 (slot == 0 || !is_to_come(cluster, slot - 1, &command.owners)))) {
        cluster_propose_own(cluster, &command);
    }
    return last + 1;
}

void cluster_settle_tick(struct cluster *cluster)
{
    const bool late = cluster->now_ms >= cluster->settle_latest_ms;

    if (cluster->level_count == 0 || (cluster->now_ms < cluster->settle_due_ms && !late)) {
        return;
    }
    cluster->settle_due_ms = cluster->now_ms + CLUSTER_SETTLE_MS;
    for (uint32_t slot = 0, next; slot < SLOT_COUNT; slot = next) {
        if (cluster->level_count == 0 || cluster->proposal_count >= CLUSTER_SETTLES_MAX) {
            return;
        }
        next = is_due(cluster, slot) ? propose_run(cluster, slot, late) : slot + 1;
    }
    if (late) {
        cluster->settle_latest_ms = cluster->now_ms + CLUSTER_SETTLE_MS_MAX;
    }
}
