/* Raft's ports, and what follows from an election. */
#include <stddef.h>
#include <string.h>

#include "cluster_private.h"

/* ---- Ports ---- */

static struct cluster *of_net(struct raft_net *net)
{
    return (struct cluster *)(void *)((uint8_t *)net - offsetof(struct cluster, net));
}

static struct cluster *of_machine(struct raft_machine *machine)
{
    return (struct cluster *)(void *)((uint8_t *)machine - offsetof(struct cluster, machine));
}

static struct cluster *of_tracer(struct raft_tracer *tracer)
{
    return (struct cluster *)(void *)((uint8_t *)tracer - offsetof(struct cluster, tracer));
}

static void net_send(struct raft_net *net, uint32_t to, struct bytes message)
{
    (void)cluster_send(of_net(net), to, PEER_RAFT, 0, message);
}

static void machine_apply(struct raft_machine *machine, const struct raft_entry *entry)
{
    struct cluster *cluster = of_machine(machine);

    if (entry->kind == RAFT_COMMAND) {
        const struct cluster_applied *applied =
            cluster_entry_apply(entry->data, cluster->map, cluster->work, &cluster->outcomes);
        cluster_members_applied(cluster, false);
        if (applied != NULL) {
            cluster_proposal_applied(cluster, applied);
        }
    }
}

static int machine_save(struct raft_machine *machine, struct buffer *to)
{
    struct cluster *cluster = of_machine(machine);

    return cluster_state_put(to, cluster->map, &cluster->outcomes);
}

static int machine_restore(struct raft_machine *machine, uint64_t index, struct bytes state)
{
    struct cluster *cluster = of_machine(machine);
    struct map *read = cluster->spare;

    (void)index;
    int rc = cluster_state_read(state, read, &cluster->spare_outcomes);
    if (rc == 0) {
        cluster->spare = cluster->map;
        cluster->map = read;
        cluster->outcomes = cluster->spare_outcomes;
        cluster->restored = true;
        cluster_members_applied(cluster, true);
    }
    return rc;
}

static void trace(struct cluster *cluster, enum log_level level, const char *event, uint64_t term)
{
    logger_write(cluster->options.logger, level, event, LOG_NUMBER("term", term));
}

static void tracer_event(struct raft_tracer *tracer, enum raft_event event, uint64_t a, uint64_t b)
{
    struct cluster *cluster = of_tracer(tracer);

    switch (event) {
    case RAFT_EVENT_LEADER:
        cluster->elections++;
        trace(cluster, LOG_LEVEL_INFO, "cluster-leads", a);
        break;
    case RAFT_EVENT_NO_QUORUM:
        trace(cluster, LOG_LEVEL_WARN, "cluster-no-majority", a);
        break;
    case RAFT_EVENT_SAVED:
    case RAFT_EVENT_INSTALLED:
        cluster->snapshots++;
        break;
    case RAFT_EVENT_MEMBERS:
        logger_write(cluster->options.logger, LOG_LEVEL_DEBUG, "cluster-voters",
                     LOG_NUMBER("index", a), LOG_NUMBER("voters", b));
        break;
    case RAFT_EVENT_FOLLOWER:
    case RAFT_EVENT_CANDIDATE:
    case RAFT_EVENT_TRUNCATED:
    case RAFT_EVENT_HANDED_OVER:
        break;
    }
}

/* ---- Life ---- */

static uint32_t election_ms(const struct liveness_settings *settings)
{
    uint32_t ms = settings->heartbeat_ms;

    ms = ms < CLUSTER_ELECTION_MS_MIN ? CLUSTER_ELECTION_MS_MIN : ms;
    return ms > CLUSTER_ELECTION_MS_MAX ? CLUSTER_ELECTION_MS_MAX : ms;
}

int cluster_raft_init(struct cluster *cluster, const struct raft_saved *saved)
{
    const uint32_t wait_ms = election_ms(&cluster->options.liveness);
    const struct raft_options options = {
        .node = cluster->options.self.node,
        .election_ms = wait_ms,
        .heartbeat_ms = wait_ms / CLUSTER_RAFT_HEARTBEATS,
        .log_bytes = CLUSTER_LOG_BYTES,
        .kept_entries = CLUSTER_KEPT_ENTRIES,
        .seed = cluster->options.random,
    };
    const struct raft_ports ports = {
        .memory = cluster->options.memory,
        .net = &cluster->net,
        .store = cluster->options.store,
        .machine = &cluster->machine,
        .tracer = &cluster->tracer,
    };

    cluster->net.send = net_send;
    cluster->machine = (struct raft_machine){
        .apply = machine_apply, .save = machine_save, .restore = machine_restore};
    cluster->tracer.event = tracer_event;
    return raft_init(&cluster->raft, &options, &ports, saved, cluster->now_ms);
}

void cluster_raft_follow_up(struct cluster *cluster)
{
    const struct raft *raft = &cluster->raft;
    const struct cluster_port *port = &cluster->options.port;
    uint32_t leader = cluster_leader(cluster);

    if (raft->commit > cluster->commit) {
        cluster->commit = raft->commit;
        port->committed(port->context, raft->commit);
    }
    if (raft->role == cluster->role && raft->term == cluster->term && leader == cluster->leader) {
        return;
    }
    bool leads =
        raft->role == RAFT_LEADER && (cluster->role != RAFT_LEADER || raft->term != cluster->term);
    bool other = leader != 0 && (leader != cluster->leader || raft->term != cluster->term);
    cluster->role = raft->role;
    cluster->term = raft->term;
    cluster->leader = leader;
    if (leads) {
        cluster_verdict_init(cluster);
    }
    if (other) {
        liveness_new_leader(&cluster->liveness, cluster->now_ms);
        cluster_proposals_again(cluster);
    }
}

bool cluster_raft_hears(const struct cluster *cluster, uint32_t node)
{
    const struct raft *raft = &cluster->raft;
    bool hears = node == raft->options.node;

    for (uint32_t i = 0; i < raft->peer_count; i++) {
        const struct raft_peer *peer = &raft->peers[i];
        /* To a leader that has just become it everybody counts as heard; that something is there only an answer says. */
        hears |= peer->node == node && peer->match != 0 &&
                 raft->now_ms - peer->heard_ms <= 2 * (uint64_t)raft->options.heartbeat_ms;
    }
    return hears;
}

bool cluster_raft_is_level(struct cluster *cluster, uint32_t node)
{
    const struct raft *raft = &cluster->raft;

    for (uint32_t i = 0; i < raft->peer_count; i++) {
        const struct raft_peer *peer = &raft->peers[i];
        if (peer->node == node) {
            return peer->match >= raft->commit && peer->heard_ms != 0 &&
                   raft->now_ms - peer->heard_ms < raft->options.election_ms;
        }
    }
    return node == raft->options.node;
}
