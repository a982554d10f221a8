/* What a cluster-aware Redis client gets, on a port of its own (listen.cluster_port): keys of other nodes are answered
 * MOVED, and CLUSTER says who has what, as Redis Cluster does (redis.io, Redis cluster specification). Any other client is
 * served on the native port, whose node asks the others.
 *
 * Threads: the connection's shard's.
 */
#ifndef RESP_CLUSTER_H
#define RESP_CLUSTER_H

#include "resp_local.h"

enum { RESP_MOVED_BYTES = 320 };

/* Where else the command belongs, or why it cannot be served, perhaps in `text`; NULL: here. `arguments`: what follows the
 * command's name. */
const char *resp_moved(struct shard_thread *thread, const struct connection *connection,
                       const struct command *command, struct resp_arguments arguments,
                       char text[RESP_MOVED_BYTES]);

/* Has this node a copy of the slot, by its map? */
bool resp_cluster_owns(const struct shard_thread *thread, uint32_t slot);

/* CLUSTER, but for COUNTKEYSINSLOT and GETKEYSINSLOT. Returns 0 or -ENOMEM. */
int local_cluster(struct local *local);

#endif
