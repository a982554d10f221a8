/* The loader: brings a restart's sessions into the shard while that serves already, and then those whose fields
 * have left memory when they are used.
 *
 * A thread of the store reads everything in order (restore.h) into blocks of records, which the shard's thread
 * takes one after the other. What the shard asks for (loader_port.fetch) is read before the rest and put into a
 * block of its own, with its position. Blocks come in the order in which they were read, so
 * that what was read of a position before it was asked for is always there before it.
 *
 *   loader's thread: read -> block -> queue of LOADER_BLOCKS_MAX -> wake the shard's thread
 *   shard's thread:  take -> records -> shard_restore_*() -> give_back -> ...
 *                    -> take says it is over -> shard_loading_end(), finish (loader_port)
 *
 * Its thread lives on, asleep, and answers what is asked for from the checkpoint, one after the other.
 *
 * Where reading fails it is told (STORE_FAILED) and tried again, from where it stopped, until it works; between two tries
 * what is asked for comes. A session that is asked for and does not read for LOADER_GIVE_UP_MS is given up, so that others
 * behind it come, and who asked is told: not that there is no such session, but that it does not read.
 *
 * Memory: the queue's blocks, LOADER_BLOCK_BYTES each (or one record, if that is larger), and of what was asked
 * for at most LOADER_FETCHED_MAX, as large as they need be, from the port, which both threads use; the
 * indexes of restore.h until it has finished.
 * Threads: as above; the rest from one thread.
 */
#ifndef LOADER_H
#define LOADER_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>

#include "load.h"
#include "ports.h"
#include "restore.h"

enum {
    LOADER_BLOCK_BYTES = 64 * 1024,
    LOADER_BLOCKS_MAX = 16,   /* Then reading waits; what is asked for does not... */
    LOADER_FETCHED_MAX = 256, /* ... before there are so many. */
    LOADER_FETCHED_BYTES = 2 * 1024,
    LOADER_RETRY_MS = 1000,
    LOADER_GIVE_UP_MS = 3000, /* What has failed for so long is said to fail... */
    LOADER_SUSPECT_MS =
        60000, /* ... and for so long after that whatever fails is not tried again. */
};

/* A position that was asked for. */
struct loader_wish {
    uint64_t position;
    uint64_t since_ms, after_ms; /* It fails since then, and is tried again then; 0: it does not. */
    bool must;                   /* It is tried until it works. */
    bool early;                  /* The load does not end before it came. */
};

/* Reading that fails. The loader thread's. */
struct loader_trouble {
    uint64_t since_ms; /* Without a success since; 0: it does not. */
    uint64_t last_ms;
    bool known; /* It has lasted for LOADER_GIVE_UP_MS. */
};

/* Private to loader*.c. */
struct loader {
    struct loader_port port;
    struct store *store;
    struct restore restore;
    struct memory *memory;
    struct reporter *reporter;
    uint32_t shard;
    void (*wake)(void *context);
    void *context;
    pthread_t thread;
    bool running;          /* The thread exists. */
    bool preparing;        /* loader_prepare() found something to give... */
    uint64_t end_lsn;      /* ... and that the log ends here. */
    atomic_bool finished;  /* The segments are nobody's but the store's again. */
    atomic_bool finishing; /* They may be. */
    atomic_bool stopping;
    atomic_bool asked;   /* `wanted` is not empty. */
    atomic_bool failing; /* As in loader_port. */

    pthread_mutex_t lock; /* Of what follows. */
    pthread_cond_t changed;
    struct load_block *first, *last;
    uint32_t block_count; /* In the queue. */
    struct buffer wanted; /* Wishes... */
    size_t wanted_at;     /* ... from here on. */
    bool over;            /* The last block is in the queue... */
    bool over_seen;       /* ... and was taken: what was asked for by then is still to come... */
    size_t early;         /* ... and so much of it. */

    /* The loader thread's. */
    struct store_sink sink;
    struct load_block *filling;
    bool fetching; /* It is of what was asked for. */
    struct loader_trouble all_trouble, one_trouble;
    bool all_fails, must_fails;

    /* The shard thread's: up to where everything has been taken in. */
    bool checkpoint_given;
    uint64_t position, lsn;
};

void loader_init(struct loader *loader, struct store *store);
/* Ends the thread, if there is one. */
void loader_fini(struct loader *loader);

/* Find what there is to give. `lsn` is where the log goes on, `hlc` at or above every stamp in it.
 * Returns 0 or negative errno. */
int loader_prepare(struct loader *loader, uint64_t *lsn, uint64_t *hlc);

/* After it: the log was compacted. */
void loader_compacted(struct loader *loader);

/* Is there anything to give? */
bool loader_has_work(const struct loader *loader);

/* End the thread. */
void loader_stop(struct loader *loader);

/* Are the segments still needed? Any thread. */
static inline bool loader_is_busy(const struct loader *loader)
{
    return loader->preparing && !atomic_load(&loader->finished);
}

#endif
