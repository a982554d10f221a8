/* SCAN over a whole cluster, for clients of both languages: one page of a sweep (sweep.h), as a task. A node alone asks its
 * own shards and gathers what they say (gather.h).
 *
 * Threads: the shard's.
 */
#ifndef SCAN_TASK_H
#define SCAN_TASK_H

#include <stdint.h>

#include "bytes.h"

struct connection;
struct request;
struct shard_thread;

/* Begin one, whose end is the reply to request `number`, by way of protocol->gathered(), which gets `asked` back. The
 * request has prefix, type, cursor and count. Returns 0 or -ENOMEM. */
int scan_task_begin(struct shard_thread *thread, struct connection *connection, uint64_t number,
                    const struct request *request, struct bytes asked);

#endif
