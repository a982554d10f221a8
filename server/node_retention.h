/* Retention by the node: a thread of its own, of low priority, removes from the archive what no restore as of a time
 * within `archive.keep` needs (server/archive/archive_retention.h), some times in that time, at least once an hour.
 * All nodes of a cluster do, each for the whole cluster: who comes second finds nothing to do. Before anything goes the
 * checkpoints that have it are read, slowly; one that is damaged is logged, by each round that would have relied on it.
 *
 * Threads: the control thread's.
 */
#ifndef NODE_RETENTION_H
#define NODE_RETENTION_H

struct node;

/* After node_archive_open(), with signals blocked. Without an archive, or where all is kept, it does nothing. Returns
 * 0 or negative errno. */
int node_retention_start(struct node *node);

/* Waits for what is under way, a call of the store at most. */
void node_retention_stop(struct node *node);

#endif
