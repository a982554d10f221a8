/* Requests turned back: reads for another shard's sessions whose answers are large.
 *
 * Answers from other shards come unasked, so a connection with many such requests would have all of them
 * made at once, however slowly its client reads. Therefore a shard answers another one's request only if
 * the answer is small (UNASKED_BYTES_MAX, of which a connection's share of OUTPUT_PACE_BYTES is kept
 * free) or was granted; else it turns the request back, saying how large the answer would be. The origin
 * keeps those requests, in order, reads nothing more from the connection, and sends each again, granted,
 * once its answer fits.
 *
 * Order: what the connection had sent to that shard after a request that was turned back must not be
 * executed before it. So the shard marks the connection and turns all of its requests back, writes and
 * parts of gathered ones too, until as many granted ones have come as it turned back: queues keep order,
 * so a request that is not granted and comes between two that are was sent before the later one was known
 * to be turned back, and belongs behind it.
 *
 * In the same list waits what the queue to a shard had no room for, and cannot be left with its connection: parts of gathered
 * requests, of which there may be more than a queue takes. Sent later, and not granted, such a one keeps its place by the same rule.
 *
 * Memory: a block for each. Of those that were turned back at most as many as the connection may have in flight, of the parts at
 * most DEFERRED_BYTES_MAX of a thread; and a copy of what is owed back as the queue has no room for it (cross.h). Threads: its
 * shard's.
 */
#ifndef TURNED_H
#define TURNED_H

#include <stdbool.h>
#include <stdint.h>

#include "bytes.h"

struct shard_thread;
struct connection;
struct call;
struct request;

/* ---- At the shard that executes ---- */

/* How large the answer may be, of this shard (shard.h, shard_answer_bytes()). Of what is gathered 0: that has a bound of
 * its own. */
uint32_t turned_answer_bytes(struct shard_thread *thread, const struct call *call,
                             const struct request *request);

/* Requests of the call's connection are on their way back or to come again. */
bool turned_is_marked(struct shard_thread *thread, const struct call *call);

/* The call's request, which is granted, was turned back before. Once for each. */
void turned_came_again(struct shard_thread *thread, const struct call *call);

/* A request of another shard's comes to its turn. Returns whether it was turned back (or refused, where that was
 * impossible), and the call is over: it is not to be executed then. */
bool turned_back(struct shard_thread *thread, struct call *call, const struct request *request);

void turned_fini(struct shard_thread *thread);

/* ---- At the origin ---- */

struct turned_request;

/* In order. */
struct turned_list {
    struct turned_request *first, *last;
};

/* A request of ours came back from `shard`; its answer would have `answer_bytes`. */
void turned_take(struct shard_thread *thread, uint32_t shard, const struct request *request,
                 uint32_t answer_bytes);

/* A request of ours found no room in the queue to `shard`: it goes there behind what waits already, and nothing more is read from the
 * connection before. Returns false where there is no memory, or DEFERRED_BYTES_MAX wait already. */
bool turned_defer(struct shard_thread *thread, struct connection *connection, uint32_t shard,
                  const struct request *request);

/* Send again what fits now. */
void turned_resume(struct shard_thread *thread, struct connection *connection);

/* The connection is gone: end the calls. */
void turned_drop(struct shard_thread *thread, struct connection *connection);

#endif
