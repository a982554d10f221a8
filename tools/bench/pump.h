/* Keeps requests flowing: some connections, each with a number of requests in flight, fed by its user.
 *
 * A *lane* is a client of libbelay with one connection for each shard of the server, so that --connections
 * counts connections and no request takes a detour. Closed loop: a lane asks for its next request when
 * one is answered. Open loop (`rate`): requests are due at fixed times whatever the answers do, and their
 * latency counts from when they were due, so that a stalled server shows in every request that should
 * have been sent meanwhile.
 *
 * Memory: all of it is allocated by pump_create(). Threads: one.
 */
#ifndef BENCH_PUMP_H
#define BENCH_PUMP_H

#include <stdbool.h>
#include <stdint.h>

#include <belay/belay.h>

#include "options.h"

struct pump; /* private to pump.c */
struct lane;

/* One request under way. The middle part is the user's. */
struct operation {
    uint64_t key;
    uint64_t count;
    uint32_t kind;
    uint32_t mark; /* Chosen by the user: whether it counts, for instance. */
    /* private to pump.c */
    uint64_t due_ns;
    struct lane *lane;
    struct operation *next_free;
};

struct pump_user {
    /* Build the next request, and note in `operation` what it is. NULL: there is nothing to send now;
     * the pump asks again when an answer came or a request is due. */
    struct belay_request *(*begin)(struct pump_user *user, struct belay_client *client,
                                   struct operation *operation);
    /* It was answered, or could not be sent (`result` is then NULL and `status` says why). */
    void (*end)(struct pump_user *user, struct operation *operation, enum belay_status status,
                struct belay_result *result, uint64_t latency_ns);
    /* Every 10 ms or so; may call pump_stop(). */
    void (*tick)(struct pump_user *user);
};

/* `shards`: of the server, so that a lane knows its connections.
 * Returns 0, or -ENOMEM. */
int pump_create(const struct bench_options *options, uint32_t shards, struct pump_user *user,
                struct pump **pump);
void pump_destroy(struct pump *pump);

/* Run until pump_stop() was called and everything is answered. */
void pump_run(struct pump *pump);

/* Send nothing more. */
void pump_stop(struct pump *pump);

/* Connections that all lanes together lost. */
uint64_t pump_disconnects(const struct pump *pump);

#endif
