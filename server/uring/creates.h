/* Sessions that begin while this node is degraded, as somebody said so (replication_degraded.c): the next owner coordinates
 * their first write. Until that is answered whatever else is asked for their key waits; then the session is here.
 *
 * Only what is answered once another owner has it, or sooner, and is about one key: the others are done here.
 *
 * Threads: the shard's.
 */
#ifndef CREATES_H
#define CREATES_H

#include "copies.h"

struct call;
struct request;
struct shard_thread;

/* Who coordinates the request? As copies_find() says, but for such writes, where they `may` be handed on. One that is, is
 * raised to the level `replica`. */
void creates_find(struct shard_thread *thread, const struct call *call, struct request *request,
                  bool may, struct copies_route *route);

#endif
