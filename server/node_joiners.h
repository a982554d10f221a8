/* New nodes that ask to be let in: each is made a member of the map, and told
 * what it begins with (join.h).
 *
 * Threads: the loop's.
 */
#ifndef NODE_JOINERS_H
#define NODE_JOINERS_H

#include "peer_frame.h"

struct joiners; /* private to node_joiners.c */
struct node;

/* Returns 0, or -ENOMEM. */
int joiners_create(struct node *node, struct joiners **joiners);

/* A frame of one; it is answered, sooner or later. */
void joiners_take(struct joiners *joiners, uint64_t joiner, const struct peer_frame *frame);

/* Nobody is answered any more. The cluster has ended: what was proposed is
 * decided, or was told to be not. The loop's next turns free it. NULL is fine.
 */
void joiners_destroy(struct joiners *joiners);

#endif
