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
 * Memory: a block for each, at most as many as the connection may have in flight; and a copy of what is owed back as the queue
 * has no room for it (cross.h). Threads: its shard's.
 */
#ifndef TURNED_H
#define TURNED_H

#include <stdbool.h>
#include <stdint.h>

#include "bytes.h"

struct memory;
struct shard_thread;
struct connection;
struct call;
struct request;

/* ---- At the shard that executes ---- */

struct turned_mark {
    uint32_t generation; /* Of the connection. */
    uint32_t count; /* Requests of it that are on their way back or to come again; 0: not marked. */
};

/* Connections of one other shard whose requests are turned back. */
struct turned_marks {
    struct turned_mark *marks; /* By index of the connection. */
    uint32_t size;
};

/* A request of the call was turned back. -ENOMEM: nothing is marked. */
int turned_marks_add(struct turned_marks *marks, struct memory *memory, const struct call *call);

/* One that was turned back came again, or could not be turned back after all. */
void turned_marks_remove(struct turned_marks *marks, const struct call *call);

bool turned_marks_has(const struct turned_marks *marks, const struct call *call);

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
