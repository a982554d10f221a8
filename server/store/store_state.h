/* Inside of a store: shared by store.c, compactor.c, and what brings in a restart's sessions (loader*.c,
 * restore*.c). */
#ifndef STORE_STATE_H
#define STORE_STATE_H

#include <pthread.h>
#include <stdatomic.h>

#include "compaction.h"
#include "kept_lacks.h"
#include "leftover.h"
#include "loader.h"
#include "slot.h"
#include "store.h"

enum {
    STORE_WAIT_MS = 1000,
    STORE_RETRY_MS = 200, /* After a failure. */
};

struct store {
    struct store_options options;
    char directory[PATH_BYTES_MAX];
    struct segments *segments;
    struct checkpoint *checkpoint;
    struct compaction compaction;
    struct loader loader;
    struct staging staging;
    struct leftover leftover;
    pthread_t preparer, compactor;
    bool preparing, compacting;      /* The threads exist. */
    atomic_uint_fast64_t live_bytes; /* loader_port's live. */
    uint64_t urgent_bytes,
        bound_bytes;   /* Of log: from here on compaction is less nice, here no more. */
    bool in_compactor; /* The compactor's own, as is how nice it is. */
    int compactor_nice;
    bool nice_fixed;
    int compaction_error; /* Of the last run; whoever compacts. It is told when it begins or changes. */
    atomic_bool stopping;
    atomic_uint_fast64_t hurried_lsn; /* Compact up to here, however little it is. */
    /* What the checkpoint has (loader_port's covered). */
    atomic_uint_fast64_t covered_lsn, covered_hlc;
    pthread_mutex_t lock; /* Of `published` and `seen`. */
    struct store_stats published;
    struct reporter reporter;            /* Stands before the one of the options... */
    struct reporter *told;               /* ... which this is... */
    atomic_bool damaged;                 /* ... and notes that something did not read back... */
    _Atomic uint64_t lacks[LACKS_WORDS]; /* ... and of which slots that may have been, */
    atomic_bool lacks_changed;           /* which kept_lacks.h has still to keep. */
    struct archive_mark archived;
    struct buffer seen; /* To be written (kept_seen.h). */
    bool seen_removed;  /* Whoever writes it. */
    int seen_error, lacks_error;
};

/* Tell STORE_FAILED. `file` may be NULL. */
void store_report_failure(const struct store *store, const char *file, const char *what, int error);

#endif
