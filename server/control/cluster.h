/* The cluster as one node's control thread sees it: Raft, the map that it agrees on, who lives, who decides.
 *
 * Every member of the map follows Raft's log, 1, 3 or 5 of them vote (voters.h). The log's entries are commands of the
 * map (map_command.h), so that all members have the same map, each at its own pace. Any member may propose: the
 * command goes to the leader, again and again until it has come back in the log, and then is applied once, however
 * often it was sent (cluster_log.h).
 *
 * What the others need of it is told through struct cluster_port: frames for other nodes and each new map. A node that
 * knows of a newer map than Raft has brought it asks who has it (cluster_epoch()). Without a majority the map stays
 * as it is, and nothing else stops.
 *
 *   cluster.c            begin and end, events in
 *   cluster_raft.c       Raft's ports, what follows from its events
 *   cluster_log.c        what the entries say, applying them, snapshots
 *   cluster_propose.c    proposals: kept until they are applied, sent to the leader
 *   cluster_liveness.c   heartbeats and reports, the verdict at the leader
 *   cluster_members.c    the leader: who follows Raft, who votes, who becomes active; this node's own place
 *   cluster_map.c        maps to the outside, and from other nodes
 *   cluster_ramp.c       the leader: weights that change by and by
 *   cluster_settle.c     slots that are level with their targets
 *   cluster_report.c     figures
 *
 * It knows neither socket nor file: cluster_host.h runs it on the control loop with its store.
 *
 * Memory: from the port, about 5 MiB. Threads: the control thread. Time is the caller's, in milliseconds, monotonic.
 * Ports are called from within events, and may call nothing here but cluster_map() and cluster_leader().
 */
#ifndef CLUSTER_H
#define CLUSTER_H

#include <stdbool.h>
#include <stdint.h>

#include "liveness.h"
#include "logger.h"
#include "map.h"
#include "map_command.h"
#include "memory.h"
#include "raft.h"
#include "verdict.h"

enum {
    CLUSTER_PROPOSALS_MAX = 512, /* Of this node, not applied yet. */
    CLUSTER_PROPOSE_MS = 10000,  /* So long a proposal is tried. */
    CLUSTER_SETTLE_MS = 50,      /* Slots that are level wait for others so long, ... */
    CLUSTER_SETTLE_MS_MAX = 500, /* ... and while more come, so long. */
    /* Maps go out at most so often, the first at once: each costs a millisecond here and on each shard, 3 with 256
     * nodes. */
    CLUSTER_PUBLISH_MS = 20,
    CLUSTER_ALONE_TICK_MS = 1000, /* A node alone has next to nothing to look after. */
};

struct cluster; /* private to cluster_private.h */

struct cluster_port {
    /* A frame for another node, on the connection that is there; else it is dropped (false). Nothing here depends on
     * a single one. `parts` are valid during the call. */
    bool (*send)(void *context, uint32_t node, uint8_t kind, uint64_t number,
                 const struct bytes parts[], uint32_t count);
    /* The map is now this: whom to dial and let in, slot tables, policies. Also once from within cluster_create().
     * Several changes may come as one. Valid until the next call, on the control thread. `kept`: nobody who
     * decides has said since this node's start that it has the present map; once that is said the map comes again without,
     * though it may be the same. */
    void (*map)(void *context, const struct map *map, bool kept);
    /* Raft's log is committed up to here: for the store to keep, behind the calls it has taken (struct raft_saved). */
    void (*committed)(void *context, uint64_t index);
    /* Call cluster_tick() in so many milliseconds, or before. */
    void (*wake_in)(void *context, uint32_t ms);
    void *context;
};

struct cluster_options {
    struct actor self;
    uint32_t run;  /* Greater at each start of the node, also where its actor lives on. */
    bool archives; /* What only lost members had comes back from an archive (map.h). */
    /* As the configuration has it. `place.start` is self.start. Where the map has another place for this node, it is
     * proposed as its new one. */
    uint32_t weight;
    struct map_text name, zone, region;
    struct map_place place;
    struct liveness_settings liveness;
    uint64_t random; /* Another number on each node and at each start. */

    /* Where the store is empty: begin as a cluster of one, with this id and so many copies of each slot; `anew`: this node had
     * begun already, and its store is lost, so it is to be ahead of all that had been decided... */
    bool found, anew;
    uint64_t id;
    uint32_t replicas;
    /* ... or with what a member gave (cluster_seed()). */
    struct bytes seed;

    struct raft_store *store;
    const struct raft_saved *saved; /* What the store has; needed until cluster_create() returns. */
    struct memory *memory;
    struct logger *logger;
    struct cluster_port port;
};

/* What a node begins with whose store is empty, for the store to keep before cluster_create(): its snapshot is in `to`.
 *
 * Returns 0; -ENODATA: neither `found` nor `seed` is given; -EBADMSG: the seed cannot be read; -EINVAL: the place or the
 * names are not good (map.h); -ENOMEM. */
int cluster_first(const struct cluster_options *options, struct buffer *to,
                  struct raft_saved *saved);

/* What a node goes on with where so many of those that decide are lost for good that nobody can any more: `options->saved`
 * is what its store has. `lost` are their names or numbers, with commas between. They are members no more; this node alone
 * decides, until it has chosen others; the rest stay, and follow. Epoch, term and log are far ahead of all that
 * the lost ones may have decided meanwhile: one that comes back is told that it was removed. For the store to keep in place of
 * all that it has, before cluster_create(): its snapshot is in `to`. What is in the log, and not known to be committed,
 * counts, but for this node's own removal. Where two nodes are told so the one with the greater number is ahead, and the
 * other follows it once they meet: what it decided meanwhile is gone.
 *
 * Returns 0; -EINVAL: one of the lost is no member, or this node; -EPERM: those that are left can decide, or this
 * node was drained and holds nothing; -ENOENT: it was removed, as it knows for sure; else as cluster_create(). `message` says what is wrong. */
int cluster_refound(const struct cluster_options *options, const char *lost, struct buffer *to,
                    struct raft_saved *saved, char *message, size_t message_size);

/* Returns 0; -ENODATA: the store is empty, and there is nothing to begin with; -EBADMSG: what is stored, or the seed,
 * cannot be read; -ENOENT: this node is no member of the seed's map; -ENOMEM, or the store's error. `message` says
 * what is wrong. */
int cluster_create(const struct cluster_options *options, uint64_t now_ms, struct cluster **cluster,
                   char *message, size_t message_size);

/* What was proposed here and is not applied yet is told -ECANCELED. NULL is fine. */
void cluster_destroy(struct cluster *cluster);

/* ---- Events. ---- */

/* Time goes on: call it every cluster_tick_ms(), which changes with the map, and when the port asked for it. */
void cluster_tick(struct cluster *cluster, uint64_t now_ms);
uint32_t cluster_tick_ms(const struct cluster *cluster);

/* The store's calls up to this number are durable. */
void cluster_stored(struct cluster *cluster, uint64_t now_ms, uint64_t sequence);

/* A frame on a control connection. Returns false where its kind is none of those in cluster_frame.h. What cannot be read
 * is counted and dropped. */
bool cluster_receive(struct cluster *cluster, uint64_t now_ms, uint32_t from, uint8_t kind,
                     uint64_t number, struct bytes body);

/* A connection with a node was made, or is gone. */
void cluster_link_up(struct cluster *cluster, uint64_t now_ms, uint32_t node);
void cluster_link_down(struct cluster *cluster, uint64_t now_ms, uint32_t node);

/* `node` has a map of this epoch, as some message said: if it is newer, it is asked for it. */
void cluster_epoch(struct cluster *cluster, uint64_t now_ms, uint32_t node, uint64_t epoch);

/* What this node finds wrong with itself: CONDITION_OWN bits. */
void cluster_condition(struct cluster *cluster, uint64_t now_ms, uint8_t condition);

/* All that serves at this node has come to go by a map of this epoch, or a newer one, with no slot kept from before (replication.h).
 * Who is drained has left only once it does so by one
 * in which it owns nothing: the others take it from then on that it coordinates nothing. */
void cluster_followed(struct cluster *cluster, uint64_t epoch);

/* All of `targets` have what the owners of the slot have: they are to own it. Said once by this node, its primary; it is
 * proposed until the map has it, or other targets. Slots may come one by one: those that come about the same time
 * become one command. */
void cluster_level(struct cluster *cluster, uint64_t now_ms, uint32_t slot,
                   const struct slot_owners *targets);

/* ---- Questions. ---- */

/* The newest map known here. Valid until the next event. Never NULL. */
const struct map *cluster_map(const struct cluster *cluster);

/* Is this node the only member? */
bool cluster_is_alone(const struct cluster *cluster);

/* Does the member vote, as far as this node knows? */
bool cluster_is_voter(const struct cluster *cluster, uint32_t number);

/* Raft's leader as far as this node knows, 0: nobody. */
uint32_t cluster_leader(const struct cluster *cluster);

/* ---- Proposals. ---- */

/* What became of one. `rc` 0: it is applied, `epoch` is the map's then; what map_apply() says, at that epoch;
 * -ETIMEDOUT: nobody could decide in CLUSTER_PROPOSE_MS, it may still happen; -ECANCELED: this node ends. `text` says it
 * for people. */
struct cluster_outcome {
    int rc;
    uint64_t epoch;
    const char *text;
    const struct map *map; /* As of then: of an ADD the new member can be found by its name. */
};

/* Propose a command, at this member or any other. `done` is called once, from within a later event; NULL: nobody
 * waits. Returns 0; -EAGAIN: too many are under way; -ECANCELED: this node ends; -ENOMEM. */
int cluster_propose(struct cluster *cluster, uint64_t now_ms, const struct map_command *command,
                    void (*done)(void *context, const struct cluster_outcome *outcome),
                    void *context);

/* ---- New members. ---- */

/* Append what a new member of this number begins with: its `seed`. Returns 0; -EAGAIN: not now, as its ADD is not applied
 * here yet, though the map that another node gave has it, or as Raft's members change just then: again a little later;
 * -ENOMEM. */
int cluster_seed(struct cluster *cluster, uint32_t number, struct buffer *to);

/* ---- Figures. ---- */

struct cluster_figures {
    uint64_t term, commit, applied, epoch;
    enum raft_role role;
    uint32_t leader, voters, followers; /* Raft's. */
    bool votes;                         /* This node does. */
    uint32_t members[MAP_LEFT + 1];     /* By state. */
    uint32_t degraded[3];               /* Members, by reason: bits 0 to 2 of the condition. */
    uint32_t unsettled;                 /* Slots whose owners are not yet the targets. */
    uint64_t elections;                 /* That this node won. */
    uint64_t snapshots;                 /* Made, and taken from a leader. */
    uint64_t proposals,
        proposals_failed; /* Of this node; those that ended in another way than applied. */
    uint64_t maps_published, maps_pulled;
    uint64_t frames_bad;
    struct liveness_counters liveness;
    struct verdict_counters verdict; /* Since this node leads; 0 where it does not. */
    bool panic;
};

void cluster_figures(struct cluster *cluster, struct cluster_figures *figures);

#endif
