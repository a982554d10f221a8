/* The inside of a node, for node*.c: node.c (its life), node_restore.c and node_report.c (what it tells). */
#ifndef NODE_PRIVATE_H
#define NODE_PRIVATE_H

#include <pthread.h>
#include <stdatomic.h>

#include "cluster_host.h"
#include "directory.h"
#include "levels.h"
#include "logins.h"
#include "metrics.h"
#include "node.h"
#include "plane.h"
#include "store.h"

enum { NODE_POLICIES_OLD_MAX = 64 };

struct node_shard {
    struct node *node;
    uint32_t index;
    struct shard *shard;
    struct store *store;
    uint64_t lsn; /* Where the log goes on. */

    /* Of the restore, which has a thread for each shard. */
    uint64_t hlc; /* At or above everything in the store. */
    bool loads;   /* Sessions come while it serves. */
    pthread_t thread;
    bool thread_runs;
    int rc;

    /* Written by the store's threads. */
    atomic_uint_fast64_t damaged;
    atomic_uint_fast64_t checkpoint_at_ms;
    /* Written by the shard's thread: bits of liveness.h. */
    atomic_uchar condition;
};

struct joiners;
struct node_archive;
struct node_recover;
struct node_retention;
struct peers;

struct node {
    struct node_world world;
    struct reporter reporter;
    struct memory memory; /* Any thread. */
    struct directory directory;
    bool directory_open;
    uint64_t record_bytes_max; /* Of any policy of the configuration. */

    /* node_cluster.c */
    struct cluster_host *cluster;
    char name[MAP_TEXT_BYTES_MAX + 1]; /* By which the cluster knows it. */
    struct levels *levels;
    struct peers *peers; /* NULL: its port is another program's. */
    struct joiners *joiners;
    bool among_others;      /* There are, or were, other members. */
    bool archive_elsewhere; /* Another member has an archive, as it has said in this life. */
    bool map_pending;       /* The map is to be published again. */
    bool map_kept;          /* As struct cluster_port says it of the last one. */
    bool removed;           /* It is a member no more, and ends. */
    uint32_t apart[MAP_MEMBERS_MAX]; /* Members whose clocks are too far from this one's. */
    uint32_t apart_count;

    /* node_drain.c */
    struct {
        bool stops;         /* It drains, to stop then... */
        bool returns;       /* ... or did so, and is to be active again. */
        bool looked;        /* The directory was asked for that. */
        bool degraded;      /* By an operator's word before it drained, and is to be so again. */
        bool marked;        /* DIR/DRAINED is there... */
        bool forget_failed; /* ... and could not be removed, which was logged. */
        bool drains;        /* That it drains to stop was decided. */
        enum map_state proposed; /* And not decided; 0: nothing is. */
        uint64_t end_ms;
    } drain;

    /* node_policies.c */
    struct policies *policies;
    struct policies *policies_old[NODE_POLICIES_OLD_MAX]; /* Which a shard may still have. */
    uint32_t policies_old_count;
    bool policies_torn;          /* Not all shards have been sent the newest. */
    bool policies_ours;          /* Those of the configuration count; the map is to get them. */
    bool policies_failed;        /* It did not. */
    uint32_t policies_proposed;  /* For the map, and not decided. */
    uint32_t policies_sum;       /* Of the configuration's. */
    struct buffer policies_said; /* Prefixes that operators have set since, each with its NUL. */

    /* node_users.c */
    struct roster *roster; /* NULL: there are no users... */
    struct logins *logins; /* ... and then neither. */

    struct plane *plane;
    struct node_archive *archive; /* NULL: there is none. */
    struct node_retention *retention;
    struct node_recover *recover; /* NULL: there is no archive... */
    bool lost_told;               /* ... which was told, as there are lost slots. */
    bool started;
    struct metrics metrics;
    uint64_t
        floor_ms; /* By so much the clock went on at the start, so as not to be behind what is stored. */
    uint32_t shard_count;
    struct node_shard *shards;
};

/* Find what all shards have stored, at the same time, each on a thread of its own, and begin to bring it in.
 * Returns 0, or negative errno with `message` set. */
int node_restore(struct node *node, char *message, size_t message_size);

/* How others reach this node. */
void node_place(const struct config *config, uint32_t shards, struct map_place *place);

/* As the map has texts; one that is too long is cut. */
struct map_text node_text(const char *from);

/* What the map has of this node; NULL: it is no member (any more). */
static inline const struct map_member *node_self(const struct node *node)
{
    return map_member(cluster_map(cluster_host_cluster(node->cluster)),
                      node->directory.meta.actor.node);
}

/* The reporter of all stores: log lines and counters. */
void node_report_store(struct reporter *reporter, const struct store_report *report);

#endif
