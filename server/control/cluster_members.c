/* What the leader sees to: that all members of the map follow Raft, that 1, 3 or 5 of them vote, that who joins
 * becomes active, and that who was drained has left. And what every node does: say where it is found. */
#include <errno.h>
#include <string.h>

#include "cluster_private.h"
#include "voters.h"

/* ---- Who is down, and since when ---- */

static const char *state_name(enum map_state state)
{
    static const char *const names[] = {
        [MAP_JOINING] = "joining",   [MAP_ACTIVE] = "active", [MAP_DEGRADED] = "degraded",
        [MAP_DRAINING] = "draining", [MAP_DOWN] = "down",     [MAP_LEFT] = "left",
    };

    return names[state];
}

static void note_down(struct cluster *cluster)
{
    struct cluster_down now[MAP_MEMBERS_MAX];
    uint32_t count = 0;

    for (uint32_t i = 0; i < cluster->map->member_count; i++) {
        const struct map_member *member = &cluster->map->members[i];
        if (member->state != MAP_DOWN) {
            continue;
        }
        now[count] = (struct cluster_down){member->number, cluster->now_ms};
        for (uint32_t j = 0; j < cluster->down_count; j++) {
            if (cluster->downs[j].node == member->number) {
                now[count] = cluster->downs[j];
            }
        }
        count++;
    }
    if (count > 0) {
        memcpy(cluster->downs, now, count * sizeof now[0]);
    }
    cluster->down_count = count;
}

/* Of a member of this number, as last logged; 0: it was none. */
static uint8_t logged_state(const struct cluster *cluster, uint32_t number)
{
    for (uint32_t i = 0; i < cluster->state_count; i++) {
        if (cluster->state_nodes[i] == number) {
            return cluster->states[i];
        }
    }
    return 0;
}

static void log_states(struct cluster *cluster)
{
    const struct map *map = cluster->map;

    for (uint32_t i = 0; i < map->member_count; i++) {
        const struct map_member *member = &map->members[i];
        if (logged_state(cluster, member->number) != member->state) {
            logger_write(cluster->options.logger,
                         member->state == MAP_DOWN ? LOG_LEVEL_WARN : LOG_LEVEL_INFO,
                         "cluster-member", LOG_NUMBER("number", member->number),
                         LOG_BYTES("name", map_text_bytes(&member->name)),
                         LOG_TEXT("state", state_name(member->state)),
                         LOG_NUMBER("epoch", map->epoch));
        }
    }
    for (uint32_t i = 0; i < cluster->state_count; i++) {
        if (map_member(cluster->map, cluster->state_nodes[i]) == NULL) {
            logger_write(cluster->options.logger, LOG_LEVEL_INFO, "cluster-member-removed",
                         LOG_NUMBER("number", cluster->state_nodes[i]),
                         LOG_NUMBER("epoch", map->epoch));
        }
    }
    for (uint32_t i = 0; i < map->member_count; i++) {
        cluster->state_nodes[i] = map->members[i].number;
        cluster->states[i] = (uint8_t)map->members[i].state;
    }
    cluster->state_count = map->member_count;
}

void cluster_members_follow_up(struct cluster *cluster)
{
    note_down(cluster);
    log_states(cluster);
}

static bool is_lost(const struct cluster *cluster, uint32_t number)
{
    const uint64_t long_ms =
        CLUSTER_LOST_DOWN_AFTERS * (uint64_t)cluster->options.liveness.down_after_ms;

    for (uint32_t i = 0; i < cluster->down_count; i++) {
        if (cluster->downs[i].node == number) {
            return cluster->now_ms - cluster->downs[i].since_ms >= long_ms;
        }
    }
    return false;
}

/* ---- Who follows, who votes ---- */

/* A node that is to leave decides nothing any more before it goes: else nobody could after it. */
static bool leaves(const struct map_member *member)
{
    return member == NULL || member->state == MAP_LEFT || member->state == MAP_DRAINING;
}

static bool may_vote(const struct map_member *member)
{
    return map_state_serves(member->state);
}

static uint32_t zone_of(const struct map *map, const struct map_member *member)
{
    uint32_t zone = 0;

    while (!bytes_equal(map_text_bytes(&map->members[zone].zone), map_text_bytes(&member->zone))) {
        zone++;
    }
    return zone;
}

static struct voters_member voter_of(struct cluster *cluster, const struct raft_member *of)
{
    const struct map_member *member = map_member(cluster->map, of->node);
    struct voters_member voter = {
        .node = of->node,
        .zone = MAP_MEMBERS_MAX,
        .votes = of->voter,
        .leads = of->node == cluster->options.self.node,
        .heard = cluster_raft_hears(cluster, of->node),
        .gone = leaves(member),
    };

    if (!voter.gone) {
        voter.zone = zone_of(cluster->map, member);
        voter.ready = may_vote(member) && cluster_raft_is_level(cluster, of->node);
        voter.lost = is_lost(cluster, of->node);
    }
    return voter;
}

/* Returns whether something is under way by it. */
static bool change(struct cluster *cluster, enum raft_change kind, uint32_t node)
{
    struct raft_place place;

    return raft_change(&cluster->raft, kind, node, &place) == 0;
}

static bool add_follower(struct cluster *cluster)
{
    const struct map *map = cluster->map;

    for (uint32_t i = 0; i < map->member_count; i++) {
        const struct map_member *member = &map->members[i];
        if (raft_members_find(&cluster->raft.members, member->number) == NULL) {
            return change(cluster, RAFT_ADD_LEARNER, member->number);
        }
    }
    return false;
}

static bool change_voters(struct cluster *cluster)
{
    const struct raft_members *members = &cluster->raft.members;
    struct voters_member list[RAFT_MEMBERS_MAX];

    for (uint32_t i = 0; i < members->count; i++) {
        list[i] = voter_of(cluster, &members->list[i]);
    }
    struct voters_step step = voters_next(list, members->count);
    if (step.kind == VOTERS_PROMOTE) {
        return change(cluster, RAFT_PROMOTE, step.node);
    }
    return step.kind == VOTERS_DEMOTE && change(cluster, RAFT_DEMOTE, step.node);
}

/* Who was removed from the map follows no more. Of a leader that was, somebody else sees to that. */
static void remove_follower(struct cluster *cluster)
{
    const struct raft_members *members = &cluster->raft.members;

    for (uint32_t i = 0; i < members->count; i++) {
        const struct raft_member *member = &members->list[i];
        if (map_member(cluster->map, member->node) == NULL && !member->voter) {
            (void)change(cluster, RAFT_REMOVE, member->node);
            return;
        }
    }
}

/* One change at a time: the next follows when it is committed. */
static void change_members(struct cluster *cluster)
{
    if (cluster->raft.members_index > cluster->raft.commit) {
        return;
    }
    if (leaves(map_member(cluster->map, cluster->options.self.node)) &&
        raft_members_voters(&cluster->raft.members) > 1) {
        (void)raft_transfer(&cluster->raft, 0);
        return;
    }
    if (!add_follower(cluster) && !change_voters(cluster)) {
        remove_follower(cluster);
    }
}

/* ---- Who joins ---- */

/* It is heard, and has what the leader has committed. */
static bool follows(struct cluster *cluster, uint32_t node)
{
    return cluster_raft_is_level(cluster, node) &&
           liveness_belief(&cluster->liveness, node) == BELIEF_HEARD;
}

static void activate(struct cluster *cluster)
{
    for (uint32_t i = 0; i < cluster->map->member_count; i++) {
        const struct map_member *member = &cluster->map->members[i];
        const struct map_command command = {
            .type = MAP_STATE, .number = member->number, .state = MAP_ACTIVE};
        if (member->state == MAP_JOINING && follows(cluster, member->number)) {
            cluster_propose_own(cluster, &command);
        }
    }
}

/* ---- Who was drained ---- */

/* Of a member that owned nothing before this map, since when; else it is since this map. */
static uint64_t drained_since(const struct cluster *cluster, uint32_t number)
{
    for (uint32_t i = 0; i < cluster->drained_count; i++) {
        if (cluster->drained[i].node == number) {
            return cluster->drained[i].since_epoch;
        }
    }
    return cluster->map->epoch;
}

void cluster_members_applied(struct cluster *cluster, bool anew)
{
    const struct map *map = cluster->map;
    struct cluster_drained now[MAP_MEMBERS_MAX];
    uint32_t count = 0;

    cluster->drained_count = anew ? 0 : cluster->drained_count;
    for (uint32_t i = 0; i < map->member_count; i++) {
        const uint32_t number = map->members[i].number;
        if (map->members[i].state == MAP_DRAINING && !map_owns(map, number)) {
            now[count++] = (struct cluster_drained){number, drained_since(cluster, number)};
        }
    }
    if (count > 0) {
        memcpy(cluster->drained, now, count * sizeof now[0]);
    }
    cluster->drained_count = count;
}

/* Who drains and owns nothing any more has left, once it has no vote, and all that serves there goes by a map that says so: from
 * then on the others take it that it coordinates nothing. So one that is down, or cut off, has not; it may take writes by an older
 * map yet. */
static void retire(struct cluster *cluster)
{
    for (uint32_t i = 0; i < cluster->drained_count; i++) {
        const struct cluster_drained *drained = &cluster->drained[i];
        const struct map_command command = {
            .type = MAP_STATE, .number = drained->node, .state = MAP_LEFT};
        if (!cluster_is_voter(cluster, drained->node) && follows(cluster, drained->node) &&
            liveness_followed(&cluster->liveness, drained->node) >= drained->since_epoch) {
            cluster_propose_own(cluster, &command);
        }
    }
}

/* ---- Where this node is found ---- */

static bool same_place(const struct map_place *a, const struct map_place *b)
{
    return bytes_equal(map_text_bytes(&a->host), map_text_bytes(&b->host)) &&
           a->start == b->start && a->shards == b->shards &&
           memcmp(a->ports, b->ports, sizeof a->ports) == 0;
}

static void tell_place(struct cluster *cluster)
{
    const struct map_member *self = map_member(cluster->map, cluster->options.self.node);
    const struct map_command command = {
        .type = MAP_PLACE,
        .number = cluster->options.self.node,
        .place = cluster->options.place,
    };

    if (self != NULL && !same_place(&self->place, &cluster->options.place)) {
        cluster_propose_own(cluster, &command);
    }
}

void cluster_members_tick(struct cluster *cluster)
{
    tell_place(cluster);
    if (cluster_leads(cluster)) {
        change_members(cluster);
        activate(cluster);
        retire(cluster);
    }
}
