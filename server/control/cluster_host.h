/* Runs this node's part of the cluster on the control loop: its store (raft_storage.h), its timer, its wake.
 *
 * Threads: the one of the loop; the store has one of its own inside.
 */
#ifndef CLUSTER_HOST_H
#define CLUSTER_HOST_H

#include <uv.h>

#include "cluster.h"

struct cluster_host; /* private to cluster_host.c */

struct cluster_host_options {
    uv_loop_t *loop;
    const char *directory; /* Of Raft's store; made where it is missing. */
    /* The cluster is founded anew without these (cluster_refound()); NULL: it is not. "": where the store is lost or damaged, as
     * a cluster of this node alone; what is damaged lies in `directory`.damaged then. */
    const char *lost;
    /* Its `store`, `saved`, `random` and the port's committed() and wake_in() are the host's business. Memory: any thread. */
    struct cluster_options cluster;
};

/* Returns 0, or negative errno as cluster_create() and raft_storage_open() say, with `message` set. The loop need not
 * run yet: the map is there when this returns. */
int cluster_host_create(const struct cluster_host_options *options, struct cluster_host **host,
                        char *message, size_t message_size);

/* Its handles close with the loop's next turns; everything else is gone when this returns. What Raft gave to the store
 * is written first. NULL is fine. */
void cluster_host_destroy(struct cluster_host *host);

struct cluster *cluster_host_cluster(const struct cluster_host *host);

/* Why its store takes nothing (raft_storage_failure()); 0: it does. */
int cluster_host_failure(const struct cluster_host *host);

/* The loop's time in the clock that the cluster goes by, for its events. */
uint64_t cluster_host_now_ms(const struct cluster_host *host);

#endif
