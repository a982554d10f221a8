/* The node among others: its part of the cluster (cluster_host.h) and its links to the others (peers.h), and what the shards'
 * threads get to know of that: slot tables, policies, the map for clients, connections.
 *
 * A node that is alone has a map as well, but its shards know nothing of it; from the moment on when there is another
 * member, or was one at the start, they do.
 *
 * Threads: the control thread, but where it says otherwise.
 */
#ifndef NODE_CLUSTER_H
#define NODE_CLUSTER_H

#include "node.h"

struct cluster;
struct map;
struct map_page_link;
struct metrics_membership;
struct slot_owners;

/* Take part, with what DIR/raft has; the map is known when this returns. The directory is open, the plane is not yet.
 * Returns 0, or negative errno with `message` set. */
int node_cluster_open(struct node *node, char *message, size_t message_size);

/* Open the peers' port and dial. The shards are attached to the plane, whose threads do not run yet. Where another program
 * has the port a node that is alone goes on without, and says so. Returns 0, or negative errno with `message` set. */
int node_cluster_start(struct node *node, char *message, size_t message_size);

/* Once a second. */
void node_cluster_tick(struct node *node);

/* No more links. The plane's threads do not run any more; the loop must turn before the node's memory goes... */
void node_cluster_stop(struct node *node);
/* ... and what is left of it, after the plane. */
void node_cluster_close(struct node *node);

/* This node is a member no more, as its map says (0), or another one: it says so in the log, keeps that in its directory, and
 * the process ends by itself (control_end()). */
void node_cluster_removed(struct node *node, uint32_t by);
/* The same of a later life of this node. */
void node_cluster_outlived(struct node *node, uint32_t by);

/* The clocks of a member and of this node are too far apart, as its peers found (peers.h), or are so no more. */
void node_cluster_apart(struct node *node, uint32_t number, bool apart);

/* This node's figures, but for what is behind. */
void node_cluster_figures(const struct node *node, struct metrics_membership *figures);

/* Can others come in here? */
bool node_cluster_listens(const struct node *node);

/* How this node sees each member, in the order of the map. */
void node_cluster_links(const struct node *node, struct map_page_link *links);

/* From any thread: all of `targets` have what the owners of the slot have (replication.h). */
void node_cluster_level(struct node *node, uint32_t slot, const struct slot_owners *targets);

/* From a shard's thread: its log has no room, or cannot be written (CONDITION_OWN bits of liveness.h; 0: it can again). */
void node_cluster_condition(struct node *node, uint32_t shard, uint8_t condition);

#endif
