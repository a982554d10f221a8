/* Heartbeats and reports between the members, and at the leader the verdict on them. */
#include <stddef.h>

#include "cluster_private.h"
#include "liveness_message.h"

/* Does this node lead, and has begun to judge? */
static bool judges(const struct cluster *cluster)
{
    return cluster_leads(cluster) && cluster->role == RAFT_LEADER &&
           cluster->term == cluster->raft.term;
}

/* ---- Ports ---- */

static void port_send(struct liveness_port *port, uint32_t node,
                      const struct liveness_message *message)
{
    struct cluster *cluster =
        (struct cluster *)(void *)((uint8_t *)port - offsetof(struct cluster, liveness_port));
    uint8_t bytes[LIVENESS_MESSAGE_BYTES_MAX];
    size_t size = liveness_message_put(bytes, message);

    (void)cluster_send(cluster, node, PEER_LIVENESS, cluster_map(cluster)->epoch,
                       bytes_of(bytes, size));
}

static void port_report(struct liveness_port *port, const struct liveness_report *report)
{
    struct cluster *cluster =
        (struct cluster *)(void *)((uint8_t *)port - offsetof(struct cluster, liveness_port));
    uint8_t bytes[LIVENESS_REPORT_BYTES_MAX];

    if (judges(cluster)) {
        verdict_report(&cluster->verdict, cluster->now_ms, report);
    } else if (!cluster_leads(cluster) && cluster->raft.leader != 0) {
        (void)cluster_send(cluster, cluster->raft.leader, PEER_REPORT, 0,
                           bytes_of(bytes, liveness_report_put(bytes, report)));
    }
}

static void port_propose(struct verdict_port *port, const struct verdict_change *change)
{
    struct cluster *cluster =
        (struct cluster *)(void *)((uint8_t *)port - offsetof(struct cluster, verdict_port));
    const struct map_member *member = map_member(cluster->map, change->node);
    struct map_command command = {.type = MAP_STATE, .number = change->node};

    if (member == NULL) {
        return;
    }
    switch (change->kind) {
    case VERDICT_DOWN:
        command.state = MAP_DOWN;
        command.cooldown_ms = change->cooldown_ms;
        break;
    case VERDICT_UP:
        command.state = member->before_down;
        break;
    case VERDICT_CONDITION:
        command.type = MAP_CONDITION;
        command.condition = change->condition;
        break;
    case VERDICT_KINDS:
        return;
    }
    cluster_propose_own(cluster, &command);
}

/* ---- Members ---- */

void cluster_liveness_init(struct cluster *cluster)
{
    const struct cluster_options *options = &cluster->options;
    const struct actor life = {.node = options->self.node, .start = options->run};

    cluster->liveness_port = (struct liveness_port){port_send, port_report};
    cluster->verdict_port.propose = port_propose;
    liveness_init(&cluster->liveness, &options->liveness, &cluster->liveness_port, life,
                  options->random, cluster->now_ms);
}

static bool has_joined(const struct map_member *member)
{
    return member->state != MAP_LEFT && member->state != MAP_JOINING &&
           member->before_down != MAP_JOINING;
}

/* One that is joining is no part of it yet: it may take its time to come up, and confirms nobody's end. */
static void tell_verdict(struct cluster *cluster)
{
    struct verdict_member members[MAP_MEMBERS_MAX];
    uint32_t count = 0;

    for (uint32_t i = 0; i < cluster->map->member_count; i++) {
        const struct map_member *member = &cluster->map->members[i];
        if (has_joined(member)) {
            members[count++] = (struct verdict_member){
                .node = member->number,
                .down = member->state == MAP_DOWN,
                .condition = member->condition,
                .cooldown_ms = member->cooldown_ms,
            };
        }
    }
    verdict_members(&cluster->verdict, cluster->now_ms, members, count);
}

void cluster_liveness_members(struct cluster *cluster)
{
    uint32_t nodes[MAP_MEMBERS_MAX], count = 0;

    for (uint32_t i = 0; i < cluster->map->member_count; i++) {
        nodes[count++] = cluster->map->members[i].number;
    }
    liveness_members(&cluster->liveness, cluster->now_ms, nodes, count);
    if (judges(cluster)) {
        tell_verdict(cluster);
    }
}

void cluster_verdict_init(struct cluster *cluster)
{
    verdict_init(&cluster->verdict, &cluster->options.liveness, &cluster->verdict_port,
                 cluster->now_ms);
    tell_verdict(cluster);
}

/* ---- Events ---- */

void cluster_liveness_tick(struct cluster *cluster)
{
    liveness_tick(&cluster->liveness, cluster->now_ms);
    if (judges(cluster)) {
        verdict_tick(&cluster->verdict, cluster->now_ms);
    }
}

void cluster_liveness_came(struct cluster *cluster, uint32_t from, struct bytes body)
{
    struct liveness_message message;

    if (liveness_message_read(body, from, &message) != 0) {
        cluster->frames_bad++;
        return;
    }
    liveness_receive(&cluster->liveness, cluster->now_ms, &message);
}

void cluster_report_came(struct cluster *cluster, uint32_t from, struct bytes body)
{
    if (liveness_report_read(body, from, &cluster->report) != 0) {
        cluster->frames_bad++;
        return;
    }
    if (judges(cluster)) {
        verdict_report(&cluster->verdict, cluster->now_ms, &cluster->report);
    }
}
