/* Renames between shards: who coordinates the steps of server/core/rename.h.
 *
 * One is a task (tasks.h) of the shard thread whose client asked, or that found it in a journal after a crash. It goes on
 * when the client has left. What is answered BUSY, or not at all, is asked once more.
 *
 * Threads: its shard's.
 */
#ifndef RENAMES_H
#define RENAMES_H

#include <stdbool.h>
#include <stdint.h>

#include "bytes.h"

struct connection;
struct shard_thread;

/* Begin one whose end is the reply to request `number` of the connection. Returns 0 or -ENOMEM. */
int renames_begin(struct shard_thread *thread, struct connection *connection, uint64_t number,
                  struct bytes from, struct bytes to, bool only_new);

/* Look into the journals of this thread's shard. No client is served before all threads have done it, and locked the
 * new keys of what they found: plane->recovering counts them. */
void renames_recover(struct shard_thread *thread);

#endif
