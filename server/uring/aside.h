/* Requests put aside at the shard that executes them, until its log has room.
 *
 * A write of a connection of this thread that would find the log's staging full, or no segment to go on in, is put off with
 * its connection (connection.h). What cannot be put off so waits here: requests of other threads' connections, and those of
 * which a part is under way already (of many keys, EXEC). So a client sees the same wherever its connection and its
 * session are: the write waits while the log has no room, and is executed then, or once the wait for a segment has
 * lasted as long as its protocol says (bounds.h, LOG_WAIT_MS), which makes it BUSY.
 *
 * Order: of a connection that has something here all that comes later goes behind it, reads too, unless it is marked in
 * turned.h: then it is turned back, and comes again behind. One that is turned back from here takes with it all that its
 * connection has here. So while a connection is marked, what it has here was granted, and while it is not, nothing that
 * came before is still on its way.
 *
 * Limits: ASIDE_BYTES_MAX of copies (a request that alone is larger may be the only one); BUSY above. In a turn
 * BULK_TURN_BYTES of each list are taken, so that connections of this thread find room as well.
 * Memory: a copy of each; its call stays. Threads: its shard's.
 */
#ifndef ASIDE_H
#define ASIDE_H

#include <stdbool.h>
#include <stdint.h>

#include "marks.h"

struct aside_request;
struct call;
struct request;
struct shard_thread;

struct aside_list {
    struct aside_request *first, *last;
};

struct aside {
    struct aside_list lists
        [2]; /* In order: of protocols that wait no longer than the queue delay, and patient ones. */
    uint64_t bytes;
    struct marks *
        marks; /* Of connections that have something here, by their shard; the last of other nodes'. */
};

/* Returns 0 or -ENOMEM. */
int aside_init(struct shard_thread *thread);
/* What is still there is freed, unanswered. */
void aside_fini(struct shard_thread *thread);

/* A write would find no room in the log now, but perhaps soon enough for its protocol. */
bool aside_log_is_behind(struct shard_thread *thread, const struct call *call,
                         const struct request *request);

/* The call's connection has something here. */
bool aside_has(struct shard_thread *thread, const struct call *call);

/* A request that cannot be put off comes to its turn. Returns whether it is not to be executed now: it was put aside, or
 * turned back (turned.h), or refused. */
bool aside_takes(struct shard_thread *thread, struct call *call, const struct request *request);

/* Visit the slots of writes that are here; a slot may come more than once. */
void aside_visit_writes(const struct shard_thread *thread,
                        void (*visit)(void *context, uint32_t slot), void *context);

/* Execute what may be executed now; once a turn. */
void aside_turn(struct shard_thread *thread);

#endif
