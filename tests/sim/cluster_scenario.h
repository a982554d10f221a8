/* Scenario `cluster`: whole nodes but for their threads and sockets. Each has a shard with its log and replication
 * (copies_scenario.h) and the control plane of server/control/cluster.h with its store; the slot table is made of the
 * node's own map. Nodes join, die, are taken out, come back with what they had or as new ones, are removed, and slots
 * move between them; clients go by the map that they were told of last.
 *
 *   cluster_node.c       one node: its control plane, its map, start and stop
 *   cluster_join.c       how a new node comes in
 *   cluster_operators.c  what operators do: drain, weights, and what takes these back
 *   cluster_handoff.c    how far the hand-off of each key's slot has come, and harm that comes just then
 *   cluster_moves.c      what must hold of a hand-off
 *   cluster_clocks.c     nodes that start with a wrong clock, and who does not talk to whom for that
 *   cluster_requests.c   requests at a node: routes, execution, answers
 *   cluster_clients.c    clients: where they ask, when they ask again, what versions they know
 *   cluster_checks.c     what must hold of maps and leaders, and of what clients are answered
 *   cluster_scenario.c   that all settles
 */
#ifndef CLUSTER_SCENARIO_H
#define CLUSTER_SCENARIO_H

#include "client_map.h"
#include "cluster.h"
#include "copies_scenario.h"
#include "raft_file.h"
#include "shard_operation.h"

enum {
    CLUSTER_SIM_CLIENTS = 3,
    CLUSTER_SIM_PORT = 7400, /* Of place n: 10 * n above it. */
    CLUSTER_SIM_MEMBERS_MAX = 64,
    CLUSTER_SIM_TERMS_MAX = 4096,
    CLUSTER_SIM_EPOCHS_MAX = 32768,
    CLUSTER_SIM_CALLS_MAX = 256,
    CLUSTER_SIM_HEARTBEAT_MS = 200,
    CLUSTER_SIM_DOWN_AFTER_MS = 600,
    CLUSTER_SIM_COOLDOWN_MS = 1000,
    CLUSTER_SIM_COOLDOWN_MS_MAX = 4000,
    CLUSTER_SIM_SKEW_MS = 2 * SIM_CLOCK_SKEW_MS_MAX + SIM_CLOCK_DRIFT_MS_MAX,
    CLUSTER_SIM_BYTES_MAX = 16 * 1024 * 1024, /* Of a node's control plane. */
};

/* Beside enum copies_message. */
enum cluster_message {
    CLUSTER_CONTROL = COPIES_MESSAGES_END, /* u8 kind, u64 number, body */
    CLUSTER_REQUEST,                       /* struct cluster_request */
    CLUSTER_ANSWER,                        /* struct cluster_answer */
    CLUSTER_MAP,                           /* struct cluster_told */
};

/* How far a hand-off has come: as far as anybody knows. */
enum cluster_step {
    CLUSTER_BEGUN,    /* Somebody's map has a target that is no owner. */
    CLUSTER_COMPARED, /* An owner and that one have begun to compare what they have. */
    CLUSTER_LEVEL,    /* The primary says that the targets have all of it... */
    CLUSTER_LOGGED,   /* ... which Raft's leader has in its log... */
    CLUSTER_SETTLED,  /* ... and somebody's map says that they own it... */
    CLUSTER_STRAY,    /* ... as does that of an owner who is none any more... */
    CLUSTER_DROPPED,  /* ... and has dropped its copy. */
    CLUSTER_STEPS
};

/* What comes at a step. */
enum cluster_harm {
    CLUSTER_CRASH_SOURCE, /* The primary; once the slot was settled, who owns it no more. */
    CLUSTER_CRASH_TARGET,
    CLUSTER_CRASH_SUCCESSOR, /* Another owner, or target. */
    CLUSTER_CRASH_LEADER,
    CLUSTER_CUT,    /* The source from all others. */
    CLUSTER_CANCEL, /* A drain is taken back. */
    CLUSTER_HARMS
};

enum cluster_operation { CLUSTER_WRITE, CLUSTER_GET };

/* Messages are their structs, byte for byte, set from zeros. */
struct cluster_request {
    uint8_t what;
    uint8_t operation;
    bool any;                 /* GET: any copy may answer. */
    uint8_t flags, hops;      /* Between nodes. */
    uint32_t client, attempt; /* Who asks, which try of his: its number of all that he made. */
    uint32_t door;            /* The place that he is connected to. */
    uint32_t key, write;      /* The second is the oracle's number. */
    uint64_t sequence, retry_hlc;
    uint64_t sent_us;               /* World time, by whoever sent it last. */
    struct operation_version floor; /* GET. */
};

struct cluster_answer {
    uint8_t what;
    uint8_t status, ack;
    uint32_t client, attempt;
    uint64_t hlc;
    struct operation_version version;
};

/* A map, as clients are told of it. */
struct cluster_told {
    uint8_t what;
    uint64_t epoch;
    uint32_t places[COPIES_KEYS][PLACEMENT_REPLICAS_MAX]; /* Of each key's owners; 0: no more. */
};

struct cluster_node {
    struct sim *sim;
    uint32_t place;
    struct copies_node *copies; /* The rest of it. */
    struct logger logger;
    struct sim_memory memory; /* Of its control plane. */
    struct raft_file file;
    struct cluster *cluster; /* NULL: it is down, or no member yet. */
    struct slot_table *tables[2];
    uint32_t table; /* Which one is in use. */
    struct cluster_told told;
    uint64_t due_us, timer; /* When the next tick is, and its number. */
    uint64_t epoch, commit; /* Of this life, the newest. */
    uint64_t begun_us;      /* When it started. */
    bool heard;             /* It had the present one at some time since then... */
    bool kept;              /* ... and the one that it goes by, which may be older, may be over. */
    uint64_t level_epoch;   /* Slots that nobody uses were looked at in this map. */
    bool copies_settled;    /* As in server/uring/copies.c. */
    bool removed;           /* By an operator: its machine is used anew. */
    bool leaves, stays;     /* An operator drains it, to remove it; or takes that back... */
    bool over;              /* ... by and by, where it has left. */
    bool left;              /* By the newest map that anybody knows. */
    uint64_t logged;        /* So much of its log was looked at, as leader. */
    uint32_t member_count;
    struct cluster_known {
        uint32_t number, place;
        bool apart; /* As server/node_cluster.c keeps it. */
    } members[CLUSTER_SIM_MEMBERS_MAX];
    struct cluster_call {
        uint64_t ticket; /* 0: free. */
        bool held, executes;
        struct cluster_request request;
        struct cluster_answer answer;
    } calls[CLUSTER_SIM_CALLS_MAX];
};

struct cluster_client {
    uint64_t sequence, seen_hlc, before_hlc;
    uint32_t attempt, tries;
    uint64_t due_us;
    bool waits, stopped;
    struct cluster_request request;
    struct cluster_told told;
    /* The version of the last result of each key, and what of his writes it has for certain: from this number on. */
    struct operation_version floors[COPIES_KEYS];
    uint32_t since[COPIES_KEYS];
};

/* Of the slot of a key. Nodes by their numbers, 0: nobody. */
struct cluster_handoff {
    bool goes; /* Else there is none. */
    enum cluster_step step;
    uint64_t epoch; /* Of the map that it began with. */
    struct slot_owners owners, targets;
    uint32_t target; /* The first one that is no owner. */
    uint32_t leaver; /* The first owner that is no target. */
};

struct cluster_scenario {
    struct copies_scenario copies; /* The first member: copies_scenario_of() finds it. */
    struct cluster_node nodes[1 + SIM_NODES_MAX];
    struct cluster_client clients[1 + CLUSTER_SIM_CLIENTS];
    uint32_t additions[COPIES_KEYS];
    uint64_t accesses[COPIES_KEYS]; /* Of each key, the latest, by the clock of its node. */
    uint64_t skew_ms;               /* How far apart clocks are, at most. */
    uint64_t calm_since_us;         /* All has settled since then; 0: it has not. */
    struct cluster_handoff handoffs[COPIES_KEYS];
    struct {
        bool armed; /* It waits for the step. */
        enum cluster_step step;
        enum cluster_harm harm;
        uint64_t number;
    } strike;
    int null_fd;
    /* What is known of all lives. */
    uint32_t leaders[CLUSTER_SIM_TERMS_MAX];
    uint64_t maps[CLUSTER_SIM_EPOCHS_MAX];     /* Hashes by epoch... */
    uint64_t known_us[CLUSTER_SIM_EPOCHS_MAX]; /* ... since when anybody knew it... */
    uint64_t epoch;                            /* ... and the newest. */
};

static inline struct cluster_scenario *cluster_scenario_of(struct sim *sim)
{
    return sim->context;
}

static inline struct cluster_node *cluster_node_at(struct sim *sim, uint32_t place)
{
    return &cluster_scenario_of(sim)->nodes[place];
}

/* ---- cluster_node.c ---- */

void cluster_node_init(struct cluster_node *node, struct sim *sim, uint32_t place);
void cluster_node_fini(struct cluster_node *node);
/* Run, as the member that copies->number says; with `seed` where its store is empty and it founds nothing. */
void cluster_node_run(struct cluster_node *node, struct bytes seed);
void cluster_node_stop(struct cluster_node *node, enum sim_stop stop);
void cluster_node_stored(struct cluster_node *node, bool good);
/* A message of CLUSTER_CONTROL. */
void cluster_node_receive(struct cluster_node *node, uint32_t from, struct bytes message);
/* A connection to that place is lost. */
void cluster_node_lost(struct cluster_node *node, uint32_t place);
/* As struct copies_scenario asks. */
bool cluster_knows(const struct copies_node *copies, uint32_t place, uint32_t number);
void cluster_levels(struct copies_node *copies, uint32_t slot, const struct slot_owners *targets);
void cluster_drops(struct copies_node *copies, uint32_t slot, bool rest);
uint64_t cluster_node_now_ms(const struct cluster_node *node);
/* Where a member is found, as far as this node knows; 0: it is none. */
uint32_t cluster_node_place_of(const struct cluster_node *node, uint32_t number);
struct map_command cluster_node_add(const struct cluster_node *node);
bool cluster_node_serves(const struct cluster_node *node);

/* Does it know the member of that number at this place (0: of any number)? */
struct cluster_known *cluster_node_knows(struct cluster_node *node, uint32_t place,
                                         uint32_t number);
/* Its slot table is made anew of the one that it has, with who is apart. */
void cluster_node_follow_clocks(struct cluster_node *node);

/* ---- cluster_join.c ---- */

/* It has no number: it asks a member for one, again and again. */
void cluster_join(struct cluster_node *node);

/* ---- cluster_operators.c ---- */

/* Somebody sees to nodes that are to be removed, and changes weights. */
void cluster_operate(struct sim *sim);
/* A member that takes what is said to it, by lot; NULL: there is none. */
struct cluster_node *cluster_somebody(struct sim *sim, uint32_t but);
/* What an operator says comes to that member, not over the simulated network. */
void cluster_operate_say(struct cluster_node *at, const struct map_command *command);
/* Does an operator drain any node? */
bool cluster_any_leaves(const struct sim *sim);
/* One is drained, if none is. */
void cluster_operate_drain(struct sim *sim);
/* The drain of the node at this place is taken back, now. Returns whether it was one. */
bool cluster_operate_cancel(struct sim *sim, uint32_t place);
/* Is all well, so that one node can be lost for good? */
bool cluster_may_lose(struct sim *sim);

/* ---- cluster_handoff.c ---- */

void cluster_handoffs_begin(struct sim *sim);
/* There is a newer map than any before. */
void cluster_handoffs_map(struct sim *sim, const struct map *map);
/* A node goes by another map. */
void cluster_handoffs_taken(struct cluster_node *node);
/* The hand-off to these targets has come so far; NULL: the one that there is. */
void cluster_handoff_reached(struct sim *sim, uint32_t key, const struct slot_owners *targets,
                             enum cluster_step step);
/* The leader: is anything new in its log? */
void cluster_handoffs_log(struct cluster_node *node);
/* A message between shards. */
void cluster_handoffs_message(struct cluster_node *node, uint32_t from, struct bytes message);

/* ---- cluster_moves.c ---- */

/* A node says that these targets have all of the slot. */
void cluster_check_level(struct cluster_node *node, uint32_t key,
                         const struct slot_owners *targets);
/* A node is about to drop some of what it has of the slot. */
void cluster_check_drop(struct cluster_node *node, uint32_t key);
/* Of a map that nobody had before. */
void cluster_check_owners(struct sim *sim, const struct map *map);
/* Has nobody anything of a key but its owners? */
bool cluster_has_no_strays(struct sim *sim);
/* In the end. */
void cluster_check_stamps(struct sim *sim);

/* ---- cluster_clocks.c ---- */

void cluster_clocks_begin(struct sim *sim);
/* Are their clocks too far from each other, so that they do not talk? */
bool cluster_is_apart(struct sim *sim, uint32_t a, uint32_t b);
/* As struct copies_scenario asks. */
bool cluster_refuses(const struct copies_node *copies, uint32_t place);
void cluster_met(struct copies_node *copies, uint32_t place, bool refused);

/* ---- cluster_requests.c ---- */

void cluster_requests_init(struct cluster_node *node);
void cluster_requests_receive(struct cluster_node *node, const struct cluster_request *request);
void cluster_requests_answered(struct cluster_node *node, const struct cluster_answer *answer);
void cluster_requests_table(struct cluster_node *node, const struct slot_table *table);

/* ---- cluster_clients.c ---- */

void cluster_clients_begin(struct sim *sim);
void cluster_clients_receive(struct sim *sim, uint32_t end, struct bytes message);
void cluster_clients_reset(struct sim *sim, uint32_t end);
bool cluster_clients_are_done(const struct cluster_scenario *scenario);

/* ---- cluster_checks.c ---- */

/* A node goes by this map from here; `kept` as in struct cluster_port. */
void cluster_check_map(struct cluster_node *node, const struct map *map, bool kept);
/* After each event of a node's control plane. */
void cluster_check_node(struct cluster_node *node);
/* A node executes a request for this slot; `any`: of those that any copy may answer. */
void cluster_check_serves(const struct cluster_node *node, uint32_t slot, bool any);
/* A write was done at a node, not as a repeated one. */
void cluster_check_write(const struct cluster_node *node, const struct cluster_request *request);
/* A key is used, or read: a GET is answered so at a node. */
void cluster_check_access(struct cluster_node *node, uint32_t key);
void cluster_check_get(struct cluster_node *node, const struct cluster_request *request,
                       const struct reply *reply);

#endif
