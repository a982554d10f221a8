/* Clients of a shard: each has one request in flight, and tries it again until it has an answer.
 *
 * A write keeps its sequence number over its tries; those after the first one say what the client had seen before any of
 * them on its connection, as libbelay does.
 */
#ifndef SHARD_CLIENTS_H
#define SHARD_CLIENTS_H

#include "shard_operation.h"
#include "sim.h"

struct client {
    struct operation operation;
    bool waits;          /* For an answer. */
    bool stopped;        /* Has finished. */
    uint64_t connection; /* The last one that was used... */
    uint64_t seen_hlc;   /* ... and the newest that came on it; 0: it is new. */
    uint64_t before_hlc; /* Seen before a try, on its connection: the least. */
    uint64_t tries;      /* That may have been executed. */
    bool greets;         /* It asked a new connection what time it is there, as HELLO tells. */
    uint64_t attempt;    /* Numbers what is to happen: a late event of another is void. */
    uint64_t due_us;     /* Of its answer. */
    bool timed;          /* Somebody looks then. */
    struct operation_version versions[OPERATION_KEYS]; /* Seen last. */
};

struct clients {
    struct sim *sim;
    uint32_t count, node;
    uint64_t until_us;                      /* Then they finish. */
    struct client all[1 + SIM_CLIENTS_MAX]; /* From 1 up. */
};

void clients_begin(struct clients *clients, struct sim *sim, uint32_t count, uint32_t node,
                   uint64_t until_us);
void clients_receive(struct clients *clients, uint32_t client,
                     const struct operation_answer *answer);
void clients_reset(struct clients *clients, uint32_t client);
bool clients_are_done(const struct clients *clients);

#endif
