/* A page of all keys of a cluster, in order of position: what SCAN, KEYS, DBSIZE and the flushing commands go over.
 *
 * A cursor is a position on the ring, as of one node (gather.h), so it survives a change of owners between two pages. From
 * it on, up to where SWEEP_NODES_MAX nodes are not enough, each shard of each node that coordinates slots there is asked for
 * its keys. Which node that is for a slot is decided here, once for the page: the first owner that can be reached. What
 * others have of it counts for nothing. So nobody needs to agree: a node says no where its map is another one or it has
 * not all of what it owns yet, and the page is asked for anew, without that node where there are others.
 *
 * A cluster-aware client asks each node for itself, and adds up: it is told of those keys alone that this node coordinates.
 *
 * So a page has every key that was there throughout, but for one thing: of a slot whose owners cannot reach each other
 * each side has its own.
 *
 * Memory: the port's; a page, and a use of the slot table while it is under way. Threads: the shard's.
 */
#ifndef SWEEP_H
#define SWEEP_H

#include <stdbool.h>
#include <stdint.h>

#include "bytes.h"
#include "memory.h"
#include "status.h"
#include "tasks.h"

struct plane_table;
struct request;

enum {
    SWEEP_NODES_MAX = 16,
    SWEEP_PARTS_MAX = 4096,
    SWEEP_RETRY_US = 20 * 1000,
    SWEEP_TRIES_MAX = 250, /* BUSY then. */
};

struct sweep_part;

struct sweep {
    struct buffer prefix; /* Of the keys. */
    uint32_t only;        /* Of keys that this node, which it is, coordinates; 0: of all. */
    uint8_t type;         /* enum session_type, or any. */
    uint32_t flags;       /* Of a SCAN (shard.h). */
    uint32_t count;       /* Keys of a page, about. */
    uint64_t cursor;      /* Where it is... */
    uint64_t next; /* ... and, once the page is there, where it goes on; 0: that was the last. */
    struct buffer keys;    /* Of the page, each as varint size and bytes. */
    struct buffer arrived; /* The parts as they came. */
    struct plane_table *table;
    uint64_t limit; /* The page ends there; 0: at the end of the ring. */
    uint32_t part_count, left, tries;
    uint32_t capacity;
    struct sweep_part *parts;
    uint32_t avoided_count;
    uint32_t avoided[SWEEP_NODES_MAX]; /* Nodes that could not say. */
    enum status status;                /* Of the parts; OK so far. */
};

void sweep_init(struct sweep *sweep, struct memory *memory);
void sweep_fini(struct sweep *sweep);

/* Ask for the page from `cursor` on; the task gets the answers. Returns 0, or -ENOMEM: nothing was asked. */
int sweep_ask(struct shard_thread *thread, struct sweep *sweep, struct task *task);

enum sweep_state {
    SWEEP_WAITS, /* For other answers. */
    SWEEP_AGAIN, /* Ask anew, in SWEEP_RETRY_US. */
    SWEEP_DONE,  /* The page is there. */
    SWEEP_FAILED /* `status` says why. */
};

/* An answer came. */
enum sweep_state sweep_answered(struct shard_thread *thread, struct sweep *sweep,
                                const struct task_answer *answer);

/* The page was taken: to the next. */
static inline void sweep_go_on(struct sweep *sweep)
{
    sweep->cursor = sweep->next;
    sweep->tries = 0;
}

#endif
