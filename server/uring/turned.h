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
 * parts of gathered ones too, until the first granted one comes: queues keep order, so that one is the
 * first that was turned back, and nothing not granted follows it before the last one.
 *
 * Memory: a block for each, at most as many as the connection may have in flight. Threads: its shard's.
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

/* Connections of one other shard whose requests are turned back. */
struct turned_marks {
    uint32_t *generations; /* By index of the connection; 0: none. */
    uint32_t size;
};

/* A batch's request, whose call is `call`, comes to its turn. Returns whether it was turned back (or
 * refused, where that was impossible): it is not to be executed then. */
bool turned_back(struct shard_thread *thread, struct call *call, const struct request *request);

void turned_marks_fini(struct shard_thread *thread);

/* ---- At the origin ---- */

struct turned_request;

/* In order. */
struct turned_list {
    struct turned_request *first, *last;
};

/* A request of ours came back from `shard`; its answer would have `answer_bytes`. */
void turned_take(struct shard_thread *thread, uint32_t shard, const struct request *request,
                 uint32_t answer_bytes);

/* Send again what fits now. */
void turned_resume(struct shard_thread *thread, struct connection *connection);

/* The connection is gone: end the calls. */
void turned_drop(struct shard_thread *thread, struct connection *connection);

#endif
