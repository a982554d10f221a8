/* The inside of a node's part of the cluster; cluster.h says which file does what.
 *
 * Raft's and liveness' ports are called from within their events and only note what happened; cluster_follow_up(), at
 * the end of each event from outside, does what follows from it.
 */
#ifndef CLUSTER_PRIVATE_H
#define CLUSTER_PRIVATE_H

#include "cluster.h"
#include "cluster_frame.h"
#include "cluster_log.h"
#include "verdict.h"

enum {
    CLUSTER_ELECTION_MS_MIN = 500, /* Raft's, else a heartbeat of the members', ... */
    CLUSTER_ELECTION_MS_MAX = 2000,
    CLUSTER_RAFT_HEARTBEATS = 5, /* ... in which its leader is heard so often. */
    CLUSTER_TICKS = 4,           /* In one of these. */
    CLUSTER_LOG_BYTES = 256 * 1024,
    CLUSTER_KEPT_ENTRIES = 256,
    CLUSTER_LOST_DOWN_AFTERS = 10, /* A voter that is down for so many `down_after` is replaced. */
    CLUSTER_PULL_MS = 200,         /* A map is asked for at most so often. */
};

/* A command of this node that is not known to be applied. */
struct cluster_proposal {
    uint64_t number; /* 0: a free place. */
    struct buffer entry;
    void (*done)(void *context, const struct cluster_outcome *outcome);
    void *context;
    uint64_t begin_ms, sent_ms; /* The second is 0 where it is to be sent now. */
    bool settled;               /* It has an outcome, which is to be told. */
    int rc;
    uint64_t epoch;
};

/* Since when this node has seen a member down. */
struct cluster_down {
    uint32_t node;
    uint64_t since_ms;
};

/* A member that is drained, and owns nothing in any map since this epoch. */
struct cluster_drained {
    uint32_t node;
    uint64_t since_epoch;
};

/* A ramp as the map has it, and how much time has gone since then, as this leader has seen. */
struct cluster_ramp {
    uint32_t node, goal, left_ms, gone_ms;
    uint64_t looked_ms;
    uint64_t proposal; /* Of its next step; 0: none. */
};

struct cluster {
    struct cluster_options options;
    uint64_t now_ms;

    struct raft raft;
    struct raft_net net;
    struct raft_machine machine;
    struct raft_tracer tracer;
    /* What was followed up. */
    enum raft_role role;
    uint64_t term;
    uint32_t leader;
    uint64_t commit;

    struct map *map;    /* Raft's. */
    struct map *spare;  /* To read others into. */
    struct map *pulled; /* From another node; counts while its epoch is the greater one. */
    struct placement_work *work;
    struct cluster_outcomes outcomes, spare_outcomes;
    bool restored; /* The map came as a whole: what became of proposals is to be looked up. */
    uint64_t followed_epoch; /* Of `map`: known to liveness and verdict. */
    uint64_t published_epoch, published_ms;
    bool
        heard; /* At some time since its start this node had the map that was the present one then... */
    bool published_heard; /* ... as the last map that went out said. */
    uint64_t pull_ms;     /* When a map was last asked for. */
    uint64_t unsettled_epoch;
    uint32_t unsettled;
    uint32_t down_count;
    struct cluster_down downs[MAP_MEMBERS_MAX];
    uint32_t drained_count;
    struct cluster_drained drained[MAP_MEMBERS_MAX];
    uint8_t
        states[MAP_MEMBERS_MAX]; /* Of the members by place, as last logged, of these numbers: */
    uint32_t state_count, state_nodes[MAP_MEMBERS_MAX];

    struct liveness_port liveness_port;
    struct verdict_port verdict_port;
    struct liveness liveness;
    struct verdict verdict;        /* While this node leads. */
    struct liveness_report report; /* One that came. */

    uint64_t proposal_number;
    uint32_t proposal_count;
    bool telling; /* Outcomes are being told. */
    bool ends;
    struct cluster_proposal proposals[CLUSTER_PROPOSALS_MAX];
    struct buffer scratch;

    /* Targets that have all of their slots, as was said; nobody: not said. */
    struct slot_owners *levels;
    uint32_t level_count;
    bool settle_waits; /* Some were said since the last proposal. */
    uint64_t settle_due_ms, settle_latest_ms;
    uint64_t settle_number; /* Of that proposal. */
    struct buffer runs;

    uint32_t ramp_count;
    struct cluster_ramp ramps[MAP_MEMBERS_MAX];

    uint64_t elections, snapshots, proposed, proposals_failed, maps_published, maps_pulled,
        frames_bad;
};

/* ---- cluster.c ---- */

/* Do what follows from what Raft, liveness and verdict did. At the end of each event from outside. */
void cluster_follow_up(struct cluster *cluster);

bool cluster_send(struct cluster *cluster, uint32_t node, enum peer_kind kind, uint64_t number,
                  struct bytes body);

static inline bool cluster_leads(const struct cluster *cluster)
{
    return cluster->raft.role == RAFT_LEADER;
}

/* ---- cluster_raft.c ---- */

/* Fill in the ports and begin with what was saved. Returns 0 or what raft_init() says. */
int cluster_raft_init(struct cluster *cluster, const struct raft_saved *saved);

/* Was there an election, or has it another leader? Tell those who care. */
void cluster_raft_follow_up(struct cluster *cluster);

/* Is this member of Raft as far as the leader's log is committed, and was it heard of late? Only the leader knows. */
bool cluster_raft_is_level(struct cluster *cluster, uint32_t node);
/* Did it answer one of this leader's last heartbeats? */
bool cluster_raft_hears(const struct cluster *cluster, uint32_t node);

/* ---- cluster_propose.c ---- */

/* An entry was applied: is it one of ours? */
void cluster_proposal_applied(struct cluster *cluster, const struct cluster_applied *applied);

/* All of them again to the leader, who is another one now. */
void cluster_proposals_again(struct cluster *cluster);

/* Send what is due, give up what is too old. */
void cluster_proposals_tick(struct cluster *cluster);

/* Tell what became of those that are settled. */
void cluster_proposals_follow_up(struct cluster *cluster);

void cluster_proposals_cancel(struct cluster *cluster);

/* Propose for this node itself, unless the very same is under way. Where it cannot be taken now, its reason stays, and
 * so it will be tried again. Returns the proposal's number, 0 where there is none. */
uint64_t cluster_propose_own(struct cluster *cluster, const struct map_command *command);

/* Is it still open what becomes of this proposal? */
bool cluster_is_proposed(const struct cluster *cluster, uint64_t number);

/* Another node's proposal, and the leader's word on one of ours. */
void cluster_propose_came(struct cluster *cluster, uint32_t from, uint64_t number,
                          struct bytes body);
void cluster_proposed_came(struct cluster *cluster, uint64_t number, struct bytes body);

/* ---- cluster_liveness.c ---- */

void cluster_liveness_init(struct cluster *cluster);
void cluster_liveness_tick(struct cluster *cluster);
void cluster_liveness_members(struct cluster *cluster);
/* This node leads from here. */
void cluster_verdict_init(struct cluster *cluster);
void cluster_liveness_came(struct cluster *cluster, uint32_t from, struct bytes body);
void cluster_report_came(struct cluster *cluster, uint32_t from, struct bytes body);

/* ---- cluster_members.c ---- */

void cluster_members_tick(struct cluster *cluster);
/* An entry was applied to the map, or, with `anew`, it is another one: note who owns nothing any more. */
void cluster_members_applied(struct cluster *cluster, bool anew);
/* The map has changed: note who is down, say who has another state. */
void cluster_members_follow_up(struct cluster *cluster);

/* ---- cluster_map.c ---- */

void cluster_map_publish(struct cluster *cluster);
void cluster_map_pull_came(struct cluster *cluster, uint32_t from, uint64_t epoch);
void cluster_map_came(struct cluster *cluster, struct bytes body);

/* ---- cluster_settle.c ---- */

void cluster_settle_tick(struct cluster *cluster);

/* ---- cluster_ramp.c ---- */

void cluster_ramp_tick(struct cluster *cluster);

/* ---- cluster.c: what a node begins with that goes on alone ---- */

/* Ahead of all that others may have decided: the map's epoch and the numbers of new nodes; the log's index and term. */
void cluster_map_ahead(struct map *map, uint32_t self);
void cluster_log_ahead(struct raft_saved *saved, uint32_t self);

#endif
