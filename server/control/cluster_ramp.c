/* The leader takes the weights of members with a ramp on, a step each second (ramp.h). */
#include <string.h>

#include "cluster_private.h"
#include "ramp.h"

static bool moves(const struct map *map, const struct map_member *member)
{
    return member->ramp_ms != 0 && map_state_serves(member->state) && !ramp_waits(map, member);
}

/* What is known of a ramp as the map has it now. */
static struct cluster_ramp known(const struct cluster *cluster, const struct map_member *member)
{
    for (uint32_t i = 0; i < cluster->ramp_count; i++) {
        const struct cluster_ramp *ramp = &cluster->ramps[i];
        if (ramp->node == member->number && ramp->goal == member->goal &&
            ramp->left_ms == member->ramp_ms) {
            return *ramp;
        }
    }
    return (struct cluster_ramp){
        .node = member->number,
        .goal = member->goal,
        .left_ms = member->ramp_ms,
        .looked_ms = cluster->now_ms,
    };
}

/* Of a time in which this node did not look, as it was stopped, no more than a step is made up for. */
static void look(struct cluster *cluster, const struct map_member *member,
                 struct cluster_ramp *ramp)
{
    uint64_t since_ms = cluster->now_ms - ramp->looked_ms;
    struct map_command step;

    ramp->looked_ms = cluster->now_ms;
    if (cluster_is_proposed(cluster, ramp->proposal)) {
        return;
    }
    ramp->gone_ms += (uint32_t)(since_ms < RAMP_STEP_MS ? since_ms : RAMP_STEP_MS);
    if ((ramp->gone_ms >= RAMP_STEP_MS || ramp->gone_ms >= ramp->left_ms) &&
        ramp_step(cluster->map, member, ramp->gone_ms, &step)) {
        ramp->proposal = cluster_propose_own(cluster, &step);
    }
}

void cluster_ramp_tick(struct cluster *cluster)
{
    struct cluster_ramp now[MAP_MEMBERS_MAX];
    uint32_t count = 0;

    for (uint32_t i = 0; i < cluster->map->member_count && cluster_leads(cluster); i++) {
        const struct map_member *member = &cluster->map->members[i];
        if (moves(cluster->map, member)) {
            now[count] = known(cluster, member);
            look(cluster, member, &now[count++]);
        }
    }
    memcpy(cluster->ramps, now, count * sizeof now[0]);
    cluster->ramp_count = count;
}
