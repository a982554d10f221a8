/* A node that drains before it stops (`node.drain_on_stop`), and comes back to its slots at the next start.
 *
 * That it drained for a stop, and not as an operator said, is kept in the data directory: at the next start the node asks to be
 * active again, until the map says so.
 *
 * Threads: the control thread.
 */
#ifndef NODE_DRAIN_H
#define NODE_DRAIN_H

#include "node.h"

/* The node is to stop. Returns whether it drains first, and control_end() follows: once it is drained or that was taken back, in
 * `node.drain_on_stop` at most. False: it is off, there is nothing to be given away or nobody to take it, or the directory cannot
 * keep that it is to come back. */
bool node_drain_begin(struct node *node);

/* Once a second, while it serves. */
void node_drain_tick(struct node *node);

#endif
