/* Slots whose targets have all there is: what is said of them within a short while becomes one command. */
#include <string.h>

#include "cluster_private.h"

static bool same(const struct slot_owners *a, const struct slot_owners *b)
{
    return memcmp(a, b, sizeof *a) == 0;
}

static void wake_when_due(struct cluster *cluster)
{
    const struct cluster_port *port = &cluster->options.port;
    uint64_t due_ms = cluster->settle_due_ms < cluster->settle_latest_ms
                          ? cluster->settle_due_ms
                          : cluster->settle_latest_ms;

    port->wake_in(port->context,
                  due_ms > cluster->now_ms ? (uint32_t)(due_ms - cluster->now_ms) : 1);
}

void cluster_level(struct cluster *cluster, uint64_t now_ms, uint32_t slot,
                   const struct slot_owners *targets)
{
    cluster->now_ms = now_ms > cluster->now_ms ? now_ms : cluster->now_ms;
    if (slot >= SLOT_COUNT || targets->nodes[0] == 0 || same(&cluster->levels[slot], targets)) {
        return;
    }
    cluster->level_count += cluster->levels[slot].nodes[0] == 0;
    cluster->levels[slot] = *targets;
    cluster->settle_due_ms = cluster->now_ms + CLUSTER_SETTLE_MS;
    if (!cluster->settle_waits) {
        cluster->settle_waits = true;
        cluster->settle_latest_ms = cluster->now_ms + CLUSTER_SETTLE_MS_MAX;
        wake_when_due(cluster);
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
    if (!same(level, &cluster->map->owners[slot])) {
        struct slot_owners targets = map_targets(cluster->map, slot);
        if (same(level, &targets)) {
            return true;
        }
    }
    forget(cluster, slot);
    return false;
}

/* Does the slot belong to a run with these owners: as it is to have them, or has them already? */
static bool fits(struct cluster *cluster, uint32_t slot, const struct slot_owners *owners)
{
    if (same(&cluster->levels[slot], owners)) {
        return is_due(cluster, slot);
    }
    if (!same(&cluster->map->owners[slot], owners)) {
        return false;
    }
    struct slot_owners targets = map_targets(cluster->map, slot);
    return same(&targets, owners);
}

/* The run that begins with this slot. */
static struct map_run run_from(struct cluster *cluster, uint32_t slot)
{
    struct map_run run = {.slot = slot, .count = 1, .owners = cluster->levels[slot]};

    for (uint32_t end = slot + 1; end < SLOT_COUNT && fits(cluster, end, &run.owners); end++) {
        if (cluster->levels[end].nodes[0] != 0) {
            run.count = end - slot + 1;
        }
    }
    return run;
}

/* As many as one command has room for; the others follow once it is applied. */
static void propose_all(struct cluster *cluster)
{
    struct map_command command = {.type = MAP_SETTLE};
    uint32_t end = 0;
    int rc = 0;

    cluster->runs.size = 0;
    for (uint32_t slot = 0; slot < SLOT_COUNT && cluster->level_count > 0 && rc == 0; slot++) {
        if (is_due(cluster, slot)) {
            const struct map_run run = run_from(cluster, slot);
            rc = map_run_put(&cluster->runs, &end, &run);
            slot = run.slot + run.count - 1;
        }
    }
    if (cluster->runs.size > 0) {
        command.runs = buffer_bytes(&cluster->runs);
        cluster->settle_number = cluster_propose_own(cluster, &command);
        cluster->settle_latest_ms = cluster->now_ms + CLUSTER_SETTLE_MS_MAX;
    }
}

void cluster_settle_tick(struct cluster *cluster)
{
    if (cluster->level_count == 0) {
        cluster->settle_waits = false;
        return;
    }
    if (cluster_is_proposed(cluster, cluster->settle_number)) {
        return;
    }
    if ((cluster->settle_waits && cluster->now_ms >= cluster->settle_due_ms) ||
        cluster->now_ms >= cluster->settle_latest_ms) {
        cluster->settle_waits = false;
        propose_all(cluster);
    } else if (cluster->settle_waits) {
        wake_when_due(cluster);
    }
}
