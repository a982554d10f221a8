/* RENAME between two slots of a cluster, which two nodes may coordinate: who goes from step to step (server/core/rename.h).
 *
 * Nodes have no journal together, so the session is copied first and destroyed under its old key then: for a moment it is
 * under both, and a node that dies in between leaves it so, but it is never under none, nor half. What is answered BUSY,
 * or by a node that was lost, is asked once more; each step may be.
 *
 * Threads: the shard's whose client asked.
 */
#ifndef MOVES_H
#define MOVES_H

#include <stdbool.h>
#include <stdint.h>

#include "bytes.h"

struct connection;
struct shard_thread;

/* Begin one whose end is the reply to request `number` of the connection. Returns 0 or -ENOMEM. */
int moves_begin(struct shard_thread *thread, struct connection *connection, uint64_t number,
                struct bytes from, struct bytes to, bool only_new);

#endif
