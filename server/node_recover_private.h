/* The inside of node_recover.c (the threads, and what they are told), node_recover_range.c (a range of slots, from the archive
 * to the shards) and node_recover_tell.c (what the log says). */
#ifndef NODE_RECOVER_PRIVATE_H
#define NODE_RECOVER_PRIVATE_H

#include <pthread.h>
#include <stdatomic.h>

#include "archive_reading.h"
#include "node_private.h"
#include "node_recover.h"

/* One of the two threads. */
struct recover_worker {
    struct node_recover *recover;
    bool asked; /* It has what is asked for, else all. */
    pthread_t thread;
    bool runs;
    struct archive_access access;
    struct archive_catalog catalog;
    struct archive_reading reading;
    struct archive_state state;
    bool open;
    uint64_t epoch; /* The view is of this one, or later. */
    uint32_t next;  /* Where it goes on. */
    bool reads;     /* The archive: what fails is that. */
    uint16_t first, last;
    /* Of the range: of those that it brings back; else 0. What is missed becomes 0, under the lock. */
    uint64_t epochs[SLOT_COUNT];
    struct buffer record, vector;
    struct buffer *records, *slots; /* Of each shard. */
    uint64_t left, expired;         /* Changes without their base; sessions past their deadline. */
    /* Under the lock. */
    uint32_t flying;
    int failed;
    uint64_t missed;
    bool partly[SLOT_COUNT]; /* Of the range: something of it comes never. */
    uint32_t came;           /* Slots that are whole by it. */
    /* Sessions of the range, to be told: each as status (1), varint size, key; and so many. */
    struct buffer refused;
    uint32_t refused_count;
};

struct node_recover {
    struct node *node;
    pthread_mutex_t lock;
    pthread_cond_t changed;
    atomic_bool stops;
    /* Under the lock. */
    uint64_t lost[SLOT_COUNT], restored[SLOT_COUNT]; /* Epochs. */
    bool first[SLOT_COUNT], owned[SLOT_COUNT]; /* Of the owners this node is the first one, any. */
    bool wanted[SLOT_COUNT];                   /* Asked for. */
    bool ahead[SLOT_COUNT]; /* Something of it is of a time that has not come yet... */
    bool ahead_told;        /* ... which the log says of any. */
    uint64_t newest;        /* Of all that are lost... */
    uint64_t listable;      /* ... and up to which one the archive has what this node had then. */
    struct metrics_restore figures;
    struct buffer damaged; /* Lines: of what was told. */
    uint64_t bytes_total, bytes_done;
    uint64_t begun_ms;
    /* The control thread's. */
    bool proposing;
    uint64_t flushing; /* What it had at this loss goes to the archive; 0: nothing does. */
    struct recover_worker workers[2];
};

/* A clock that does not go back. */
uint64_t recover_clock_ms(void);

/* Is the slot lost, and not here yet? The lock is held, as below. */
bool recover_is_due(const struct node_recover *recover, uint32_t slot);

/* Wait for a change, at most so long. */
void recover_await(struct node_recover *recover, uint64_t ms);

/* ---- node_recover_range.c: without the lock ---- */

/* Open the archive as it is now, where the view that there is is of before that epoch. Returns 0, or negative errno with
 * `access.text` set and nothing open. */
int recover_open(struct recover_worker *worker, uint64_t epoch);
void recover_close(struct recover_worker *worker);

/* The slots of the worker's range that have an epoch, from the archive to the shards. Returns 0 once they are whole; -ESTALE: the map
 * has changed, or another node coordinates some of them now, and the others are; other negative errno, perhaps with
 * `access.text` set. */
int recover_range(struct recover_worker *worker);

/* archive_state's: of a slot that has one. The context is the worker. */
bool recover_wants(void *context, struct bytes key);

/* ---- node_recover_tell.c: without the lock ---- */

/* reading_open()'s `damaged`; the context is the worker. Counted and told once, whichever thread finds it, and how often. */
void recover_tell_damaged(void *context, const char *name, const char *why, uint16_t first_slot,
                          uint16_t last_slot);

/* plane_restore()'s `refused`: noted, to be told by recover_tell_refused(), which is the worker's thread's, once nothing is under
 * way. The context is the worker. */
void recover_note_refused(void *context, struct bytes key, enum status status);
void recover_tell_refused(struct recover_worker *worker);

/* Its `ahead`: the slot is tried again, and waits until that time; recover_tell_ahead() says so, once as long as there are any. */
extern const char recover_ahead_text[];
void recover_note_ahead(void *context, struct bytes key);
void recover_tell_ahead(struct node_recover *recover);

/* Why nothing comes, as long as that is so once: of a worker, by `access.text` or `rc`; of the node. `archive`: because of that,
 * which may be given up. */
void recover_tell_trouble(struct recover_worker *worker, int rc);
void recover_tell_waits(struct node_recover *recover, const char *cause, bool archive);

/* A node without an archive brings nothing back: told once, as long as slots of which it is the primary are lost, and shown as why
 * they wait. The control thread's; `map` may be NULL. */
void recover_tell_unarchived(struct node *node, const struct map *map);
void recover_figures_unarchived(const struct node *node, const struct map *map,
                                struct metrics_restore *to);

#endif
