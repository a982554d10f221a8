/* The requests of a turn: collected, then prefetched and executed together.
 *
 * A cold look-up waits some 500 ns for memory, one of a prefetched batch about 60.
 */
#ifndef BATCH_H
#define BATCH_H

#include <stdbool.h>
#include <stdint.h>

#include "bounds.h"
#include "bytes.h"
#include "shard.h"

struct shard_thread;
struct connection;
struct call;

struct batch_item {
    struct request request;
    struct bytes
        whole; /* The request as it came, to be put off; empty where that is impossible (aside.h). */
    uint32_t connection, generation;
};

struct batch {
    uint32_t count;
    struct batch_item items[BATCH_MAX];
};

/* Take a request, whose call has the ticket in it, to the shard that owns its key: into this batch, or
 * over to another thread. `connection`: whose it is, NULL where that is another shard's; `whole`: it may be
 * put off (connection.h), else empty. */
void batch_route(struct shard_thread *thread, struct request *request,
                 struct connection *connection, struct bytes whole);

/* Into this shard's batch. */
void batch_add(struct shard_thread *thread, const struct request *request,
               struct connection *connection, struct bytes whole);

/* One request, at once. Its call may be over afterwards. */
void batch_execute(struct shard_thread *thread, const struct request *request, uint64_t now_us);

/* Execute all of it. What the requests point at may be given back afterwards. */
void batch_run(struct shard_thread *thread);

#endif
