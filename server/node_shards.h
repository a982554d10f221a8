/* The shards of a node, each with its store: node->shards.
 *
 * Threads: the control thread, while the shards' threads do not run.
 */
#ifndef NODE_SHARDS_H
#define NODE_SHARDS_H

#include "node.h"

/* All shards and their stores, empty; the plane is open. Returns 0, or negative errno with `message` set; what was opened
 * is closed by node_shards_close(). */
int node_shards_open(struct node *node, char *message, size_t message_size);

/* The stores' logs go on from what node_restore() found, and the plane gets the shards. Returns as above. */
int node_shards_start(struct node *node, char *message, size_t message_size);

/* Also after a failure of either. */
void node_shards_close(struct node *node);

#endif
