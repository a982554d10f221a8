/* The node's links to others: frames between their control threads, and
 * connections for the shards.
 *
 * Threads: the control thread, but where it says otherwise.
 */
#ifndef NODE_PEERS_H
#define NODE_PEERS_H

#include "node.h"

struct bytes;
struct map;
struct peers_figures;

/* Open the peers' port. A node that is alone goes on without where that is in
 * use. Returns 0, or negative errno with `message` set. */
int node_peers_open(struct node *node, char *message, size_t message_size);

/* Dial, and let in, the members of this map. Returns 0, or -ENOMEM. */
int node_peers_members(struct node *node, const struct map *map);

/* A frame on the control link. Returns false: it could not be sent. */
bool node_peers_send(struct node *node, uint32_t to, uint8_t kind, uint64_t number,
                     const struct bytes parts[], uint32_t count);

/* On a shard's thread: a data link is gone. */
void node_peers_link_lost(struct node *node, uint32_t shard, uint32_t other, uint32_t other_shard,
                          bool dialled);

void node_peers_figures(const struct node *node, struct peers_figures *figures);

/* The plane's threads do not run any more. */
void node_peers_close(struct node *node);

#endif
