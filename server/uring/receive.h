/* The receiving side of a connection: from completions to whole requests (connection.h tells how). */
#ifndef RECEIVE_H
#define RECEIVE_H

#include "connection.h"
#include "memory.h"

/* Is there a whole request that only waits for its turn? */
bool receive_has_request(const struct connection *connection);

/* Take up what was put off, unless the connection is stalled; what waited counts as come now. */
void receive_resume(struct shard_thread *thread, struct connection *connection);

/* Begin or end receiving, as the connection's state needs it. */
void receive_settle(struct shard_thread *thread, struct connection *connection);

/* Forget everything received, but for what the ring still writes to: call again when that has ended. */
void receive_drop(struct shard_thread *thread, struct connection *connection);

/* All bytes received and not served, as one string: for a socket that is handed over (MOVING: all of them lie in
 * the backlog). Returns 0 or -ENOMEM; `out` is appended to. */
int receive_rest(const struct connection *connection, struct buffer *out);

#endif
