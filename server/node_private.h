/* The inside of a node, for node.c (its life), node_restore.c and node_report.c (what it tells). */
#ifndef NODE_PRIVATE_H
#define NODE_PRIVATE_H

#include <pthread.h>
#include <stdatomic.h>

#include "directory.h"
#include "logins.h"
#include "metrics.h"
#include "node.h"
#include "plane.h"
#include "store.h"

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
};

struct node {
    struct node_world world;
    struct reporter reporter;
    struct memory memory; /* Any thread. */
    struct directory directory;
    bool directory_open;
    struct policies policies;
    uint64_t record_bytes_max; /* Of any policy. */
    struct roster *roster;     /* NULL: there are no users... */
    struct logins *logins;     /* ... and then neither. */
    struct plane *plane;
    bool started;
    struct metrics metrics;
    uint32_t shard_count;
    struct node_shard *shards;
};

/* Find what all shards have stored, at the same time, each on a thread of its own, and begin to bring it in.
 * Returns 0, or negative errno with `message` set. */
int node_restore(struct node *node, char *message, size_t message_size);

/* The reporter of all stores: log lines and counters. */
void node_report_store(struct reporter *reporter, const struct store_report *report);

#endif
