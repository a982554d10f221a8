/* Keeps requests flowing: some connections, each with a number of requests in flight, fed by its user.
 *
 * A *lane* has one connection for each shard of the server (of each node of a cluster), so that --connections counts connections and no
 * request takes a detour; in RESP, which knows no shards, it is one connection. What carries it is the transport's
 * business (transport.h). Closed loop: a lane asks for its next request when
 * one is answered. Open loop (`rate`): requests are due at fixed times whatever the answers do, and their
 * latency counts from when they were due, so that a stalled server shows in every request that should
 * have been sent meanwhile. The rate may rise evenly to another one (`rise_to`).
 *
 * Memory: what it needs per request is allocated by pump_create(). Threads: one.
 */
#ifndef BENCH_PUMP_H
#define BENCH_PUMP_H

#include <stdbool.h>
#include <stdint.h>

#include <belay/belay.h>

#include "exchange.h"
#include "memory.h"
#include "options.h"
#include "server.h"

struct pump; /* private to pump.c */
struct lane;

/* One request under way. The middle part is the user's. */
struct operation {
    uint64_t key;
    uint64_t count;
    enum ask_kind kind; /* Of what begin() asked; set by the pump. */
    /* private to pump.c */
    uint64_t due_ns;
    struct buffer request; /* The transport's, where it may have to send it again. */
    uint32_t redirects;
    bool asking; /* Its answer comes after one to ASKING. */
    struct lane *lane;
    struct operation
        *next; /* That is free; while it is under way the transport's, as is what follows. */
    uint64_t sent_ns;
    bool create;
    bool waits; /* Its answer came, that of WAIT not yet. */
    enum belay_status first_status;
};

struct pump_user {
    /* Say in `ask`, which is all zeros, what to ask next, and note in `operation` what it is. False: there is
     * nothing to send now; the pump asks again when an answer came or a request is due. */
    bool (*begin)(struct pump_user *user, struct operation *operation, struct ask *ask);
    /* It was answered, or could not be sent (the answer's status says why). */
    void (*end)(struct pump_user *user, struct operation *operation, const struct answer *answer,
                uint64_t latency_ns);
    /* Every 10 ms or so; may call pump_stop(). */
    void (*tick)(struct pump_user *user);
};

/* `server` as server_ask() found it.
 * Returns 0, or negative errno. */
int pump_create(const struct bench_options *options, const struct server *server,
                struct pump_user *user, struct pump **pump);
void pump_destroy(struct pump *pump);

/* Run until pump_stop() was called and everything is answered. */
void pump_run(struct pump *pump);

/* Send nothing more. */
void pump_stop(struct pump *pump);

/* The longest time that this lane was without a good answer, in us: from one to the next, or to now. 0: it had none.
 * Returns false where there is no such lane. */
bool pump_gap_us(const struct pump *pump, uint32_t lane, uint64_t *gap_us);

/* Forget what pump_gap_us() says so far. */
void pump_forget_gaps(struct pump *pump);

/* Connections that all lanes together lost. */
uint64_t pump_disconnects(const struct pump *pump);

/* For transports: what was said of an answer that is not OK. Printed for the first of each status. */
void pump_tell(const struct operation *operation, enum belay_status status, const char *text);

/* For transports: this is the answer. */
void pump_answered(struct operation *operation, const struct answer *answer);

#endif
