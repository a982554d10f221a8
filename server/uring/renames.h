/* Renames between shards: who coordinates the steps of server/core/rename.h.
 *
 * One is the shard thread's whose client asked, or that found it in a journal after a crash. It goes on when the
 * client has left. Each step is a request to a shard, whose answer is noted where it comes; the next step begins with
 * the next turn, as a batch may be running. What is answered BUSY, or not at all, is asked once more.
 *
 * Threads: its shard's.
 */
#ifndef RENAMES_H
#define RENAMES_H

#include <stdbool.h>
#include <stdint.h>

#include "bytes.h"

struct call;
struct connection;
struct rename;
struct shard_thread;

extern const struct protocol renames_protocol;

/* Begin one whose answer is that to request `number` of the connection, which must not be served until then (its
 * resp->renaming says so). Returns 0 or -ENOMEM. */
int renames_begin(struct shard_thread *thread, struct connection *connection, uint64_t number,
                  struct bytes from, struct bytes to, bool only_new);

/* The answer to a step. */
void renames_answered(struct shard_thread *thread, const struct call *call, struct bytes answer);

/* Look into the journals of this thread's shard. No client is served before all threads have done it, and what they
 * found: plane->recovering counts them. */
void renames_recover(struct shard_thread *thread);

/* Begin the steps that are due: into the batch, which is to be run. Returns when to come again, in us. */
uint64_t renames_turn(struct shard_thread *thread);

void renames_fini(struct shard_thread *thread);

#endif
