/* Slots that were lost with their last owner (map.h), brought back from the archive by who owns them now.
 *
 * Two threads read it: one what is asked for, a slot at a time, the other, of low priority, all slots of which this node is the
 * primary. Each has its own view of the archive, listed after the loss. A range of slots is read, joined (archive_state.h) and
 * given to the shards (plane_restore()), which merge it as writes of level `replica`; once it is durable here, too, the slots
 * are whole, and the map is told (MAP_RESTORED). So after a crash it goes on with those that the map still has as lost.
 * Objects that cannot be read, and sessions that are refused for good, are named in the log, and the rest is restored. Where the archive does not answer it is tried
 * again, for as long as that takes.
 *
 * Threads: the control thread's, but where it says otherwise.
 */
#ifndef NODE_RECOVER_H
#define NODE_RECOVER_H

#include <stdint.h>

#include "map.h"
#include "metrics.h"

struct node;

/* After node_cluster_start(), with signals blocked. Without an archive nothing comes back, and the log says so where slots of which
 * this node is the primary are lost. Returns 0 or negative errno. */
int node_recover_start(struct node *node);

/* Before the plane is stopped: waits for a call of the store at most. */
void node_recover_stop(struct node *node);

/* After the plane is destroyed. */
void node_recover_close(struct node *node);

/* A new map, once the shards were given its slot table. */
void node_recover_map(struct node *node, const struct map *map);

/* plane_options.restore_wanted: on a shard's thread. */
void node_recover_wanted(struct node *node, uint32_t slot);

/* Now and then: tell the cluster which slots are whole. */
void node_recover_tick(struct node *node);

void node_recover_figures(struct node *node, struct metrics_restore *figures);

/* The archive has more of what this node wrote: it may be what a restore waits for. */
void node_recover_archived(struct node *node);

#endif
