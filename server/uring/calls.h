/* Calls: requests that are not answered yet, and what to do with their answers.
 *
 * A ticket names one: generation, shard, index. A ticket that was answered never fits again, so that a
 * late answer finds nobody instead of somebody else.
 * Memory: one growing table, at most TICKETS_MAX. Threads: its shard's.
 */
#ifndef CALLS_H
#define CALLS_H

#include <stdbool.h>
#include <stdint.h>

#include "bytes.h"
#include "frame.h"
#include "memory.h"
#include "status.h"

struct far_call;
struct gather;
struct protocol;
struct slow_request;
struct task;

enum call_form {
    CALL_FRAME = 1, /* A reply of its own. */
    CALL_PART,      /* A part of a gathered reply. */
    CALL_SCAN_PART, /* One shard's keys of a scan. */
    CALL_STEP,      /* A task's (tasks.h). */
};

/* An answer kept until its write is durable. */
struct held {
    struct held *next;
    uint32_t size, capacity;
    uint8_t data[];
};

struct call {
    uint32_t generation; /* Odd while in use. */
    uint32_t next;       /* Index + 1, in the list of free ones or of owed ones (cross.h). */
    uint8_t form;        /* enum call_form. */
    uint8_t frame_type;  /* Of the request. */
    uint8_t flags;       /* GET's, as asked for. */
    bool remote;         /* Another shard's: the bytes go there. */
    uint8_t origin;      /* That shard. */
    bool
        awaited; /* Of another shard or from the disk: counted in its connection's awaited_bytes. */
    bool turned; /* `held` has the request, which is owed back (turned.h). */
    bool stand_in;   /* Coordinated here in the place of the slot's primary. */
    bool far;        /* Another node's, remote too: the bytes go to its link. */
    bool coordinate; /* An owner before this node asks it to. */
    uint8_t hops;    /* Nodes that have passed it on. */
    bool held_back;  /* The answer waits for its release, in `held` where there was memory. */
    uint32_t connection, connection_generation;
    uint32_t part;
    uint32_t
        granted_bytes; /* Another shard, or the disk, may give an answer so large (turned.h); 0: a small one. */
    uint64_t request_id;
    uint64_t origin_ticket;
    uint32_t link, link_generation; /* Of another node's. */
    struct far_call *away;          /* It was asked of another node (far.h), or waits for that. */
    const struct protocol *protocol;
    struct gather *gather;
    struct task *task;
    struct slow_request *slow; /* Measured, and held by the call (slowlog.h); NULL: it is not. */
    struct held *held;
};

struct calls {
    struct memory *memory;
    struct call *table;
    uint32_t size, capacity, free; /* `free`: index + 1 of the first free one. */
    uint32_t used, shard;
    struct held *held_free;
    uint32_t held_free_count;
};

void calls_init(struct calls *calls, uint32_t shard, struct memory *memory);
void calls_fini(struct calls *calls);

/* A new call, zeroed but for its own fields; `taken` is good until the next take.
 * Returns its ticket, 0 where there are too many. */
uint64_t calls_take(struct calls *calls, struct call **taken);

/* Returns NULL when it was answered. */
struct call *calls_find(struct calls *calls, uint64_t ticket);
void calls_give(struct calls *calls, struct call *call);

/* Keep a copy of the answer. Returns 0 or -ENOMEM. */
int calls_hold(struct calls *calls, struct call *call, struct bytes answer);

/* What to say where there is no memory for the answer to a request that was executed. */
static inline enum status calls_lost_status(const struct call *call)
{
    bool write = call->frame_type == FRAME_WRITE || call->frame_type == FRAME_WRITE_MANY;

    return write ? STATUS_MAYBE_APPLIED : STATUS_BUSY;
}

static inline uint32_t ticket_shard(uint64_t ticket)
{
    return (uint32_t)ticket >> 24;
}

#endif
