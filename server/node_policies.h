/* The policies of a node: those of the map, once that has any; before, those of its configuration.
 *
 * The configuration's [policy] sections become the map's where the node is alone and they are others than at its last start:
 * so a node alone does what its configuration says, and what belayctl changed holds until somebody changes that. Where
 * there are other members the sections count for nothing, which is said.
 *
 * Threads: the control thread.
 */
#ifndef NODE_POLICIES_H
#define NODE_POLICIES_H

#include "node.h"

struct map;

/* Those to begin with, into node->policies. The cluster is open, the plane is not. Returns 0, or negative errno. */
int node_policies_open(struct node *node);

/* The map is now this: where its policies are others, all shards get them. Returns 0, or -ENOMEM: try again. */
int node_policies_take(struct node *node, const struct map *map);

/* An operator sets one, which is proposed now: it counts more than those of the configuration that the map is still to get.
 * Returns 0 or -ENOMEM. */
int node_policies_say(struct node *node, const struct policy *policy);

/* Propose what the map does not have yet of the configuration. */
void node_policies_settle(struct node *node);

void node_policies_close(struct node *node);

#endif
