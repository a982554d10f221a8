/* When the log is compacted, how large it may grow, and how nice the thread is that does it. */
#include "compactor.h"

#include <errno.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>

#include "kept_lacks.h"
#include "kept_seen.h"
#include "store_state.h"

enum {
    BOUND_PART = 3, /* Of log_bytes_min, beside the part of the live data. */
    BOUND_SEGMENTS_MIN = 4,
    COMPACTOR_NICE = 10,      /* A tenth of a core where all are busy, and more as the log grows. */
    COMPACTOR_NICE_FIXED = 5, /* A quarter, where it cannot be made less nice: enough to keep up. */
};

static uint64_t clock_ms(void)
{
    struct timespec now;

    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000 + (uint64_t)now.tv_nsec / 1000000;
}

/* What the checkpoint has, or memory where that is more: sessions may be cold, or only in the log yet. In steps,
 * as who waits for segments is woken at each. */
static uint64_t live_bytes(struct store *store, const struct checkpoint_info *info)
{
    uint64_t live = atomic_load_explicit(&store->live_bytes, memory_order_relaxed);

    live -= live % store->options.segment_bytes;
    return live > info->record_bytes ? live : info->record_bytes;
}

/* How large the log may grow, by the live data (and log_bytes_min, 64 MiB). What is promised is twice the
 * data and 256 MiB; the data counts here with what records keep beside it, and so the files with their
 * indexes take a little less. Compaction is due early enough to end before. Returns the bytes of sealed log at
 * which it is. */
static uint64_t set_bound(struct store *store, const struct checkpoint_info *info)
{
    const struct store_options *options = &store->options;
    const uint64_t least = BOUND_SEGMENTS_MIN * options->segment_bytes;

    uint64_t live = live_bytes(store, info);
    uint64_t due = live + live / 4 + options->log_bytes_min;
    uint64_t bound = live + live / 4 * 3 + BOUND_PART * options->log_bytes_min;
    bound = bound < least ? least : bound;
    segments_set_bound(store->segments, bound, store->compaction_error);
    store->bound_bytes = bound;
    store->urgent_bytes = bound - (bound < due ? 0 : (bound - due) / 2);
    return due;
}

/* The same, and what else may lie on the disk: free files are kept for what will be needed until compaction
 * is due again. */
uint64_t compactor_set_sizes(struct store *store)
{
    struct checkpoint_info info;

    checkpoint_info(store->checkpoint, &info);
    uint64_t due = set_bound(store, &info);
    segments_set_kept(store->segments, due + 2 * store->options.segment_bytes,
                      info.file_bytes + STAGING_FILE_BYTES);
    return due;
}

static int set_nice(int nice)
{
    return setpriority(PRIO_PROCESS, (id_t)gettid(), nice);
}

/* Nice to those who serve, and the less so the sooner they will have to wait for it. */
static void be_nice(struct store *store)
{
    struct checkpoint_info info;
    struct segments_stats stats;
    int nice = COMPACTOR_NICE;

    checkpoint_info(store->checkpoint, &info);
    (void)set_bound(store, &info);
    segments_stats(store->segments, &stats);
    if (stats.bytes >= store->bound_bytes || stats.at_bound) {
        nice = 0;
    } else if (stats.bytes > store->urgent_bytes) {
        nice = (int)(COMPACTOR_NICE * (store->bound_bytes - stats.bytes) /
                     (store->bound_bytes - store->urgent_bytes));
    }
    if (nice != store->compactor_nice && !store->nice_fixed) {
        store->compactor_nice = nice;
        (void)set_nice(nice);
    }
}

/* To be less nice again takes a right (RLIMIT_NICE, CAP_SYS_NICE). */
static void begin_nice(struct store *store)
{
    store->compactor_nice = 0;
    store->nice_fixed = set_nice(1) != 0 || set_nice(0) != 0;
    if (store->nice_fixed) {
        (void)set_nice(COMPACTOR_NICE_FIXED);
    }
}

bool compactor_breathe(void *context)
{
    struct store *store = context;

    if (store->in_compactor) {
        be_nice(store);
    }
    return atomic_load_explicit(&store->stopping, memory_order_relaxed);
}

int compactor_keep_lacks(void *context)
{
    return kept_lacks_write(context);
}

void compactor_try_lacks(struct store *store)
{
    int rc = kept_lacks_write(store);

    if (rc != 0 && rc != store->lacks_error) {
        store_report_failure(store, KEPT_LACKS_NAME,
                             "keeping which slots something is missing of; it is tried again", rc);
    }
    store->lacks_error = rc;
}

/* ---- A run ---- */

/* After a run that failed some of the log is covered, and nothing of it recycled: the two numbers go
 * together. */
void compactor_publish(struct store *store, bool failed)
{
    struct checkpoint_info info;
    struct segments_stats stats;

    checkpoint_info(store->checkpoint, &info);
    segments_stats(store->segments, &stats);
    if (!failed) {
        atomic_store(&store->covered_hlc, stats.recycled_hlc);
        atomic_store(&store->covered_lsn, info.lsn);
    }
    pthread_mutex_lock(&store->lock);
    store->published.checkpoint_lsn = info.lsn;
    store->published.checkpoint_sessions = info.sessions;
    store->published.checkpoint_bytes = info.file_bytes;
    pthread_mutex_unlock(&store->lock);
}

static int compact_once(struct store *store)
{
    uint64_t begin_ms = clock_ms();

    pthread_mutex_lock(&store->lock);
    store->published.compacting = true;
    pthread_mutex_unlock(&store->lock);
    int rc = compaction_run(&store->compaction), before = store->compaction_error;
    store->compaction_error = rc < 0 && rc != -ECANCELED ? rc : 0;
    compactor_publish(store, rc < 0);
    compactor_set_sizes(store);
    pthread_mutex_lock(&store->lock);
    store->published.compacting = false;
    store->published.checkpoint_ms = clock_ms() - begin_ms;
    store->published.checkpoints += rc == 1;
    store->published.checkpoint_failures += rc < 0 && rc != -ECANCELED;
    pthread_mutex_unlock(&store->lock);
    if (rc < 0 && rc != -ECANCELED && rc != before) {
        const char *file = store->compaction.failed;
        store_report_failure(store, file[0] != '\0' ? file : "checkpoint",
                             rc == -EILSEQ
                                 ? "compacting the log: a part of it is missing; the rest is kept"
                                 : "compacting the log; it is tried again until it works",
                             rc);
    }
    return rc;
}

int store_compact(struct store *store)
{
    int rc;

    do { /* It may make the room that settling lacked. */
        while ((rc = compact_once(store)) == 1) {
        }
        if (rc == 0) {
            rc = leftover_settle(&store->leftover);
        }
    } while (rc == 1);
    return rc;
}

/* The log is due once it outgrew the data; any of it is when there is no room for more, or memory is full. */
static bool is_due(struct store *store)
{
    struct segments_stats stats;

    if (loader_is_busy(&store->loader)) {
        return false; /* It reads what is sealed, and opens the checkpoint. */
    }
    uint64_t due_bytes = compactor_set_sizes(store);
    segments_stats(store->segments, &stats);
    bool hurried = atomic_load(&store->hurried_lsn) > atomic_load(&store->covered_lsn);
    return stats.sealed_bytes >= due_bytes ||
           ((stats.full || stats.at_bound || hurried) && stats.sealed_bytes > 0);
}

void *compactor_main(void *context)
{
    struct store *store = context;
    uint64_t seen = 0;

    store->in_compactor = true;
    begin_nice(store);
    while (!atomic_load(&store->stopping)) {
        int rc = 0;
        be_nice(store);
        kept_seen_write(store);
        compactor_try_lacks(store);
        if (is_due(store)) {
            rc = compact_once(store);
        }
        if (rc < 0) {
            uint64_t until_ms = clock_ms() + STORE_RETRY_MS;
            while (clock_ms() < until_ms && !atomic_load(&store->stopping)) {
                segments_wait(store->segments, &seen, STORE_RETRY_MS);
            }
        } else if (rc == 0) {
            segments_wait(store->segments, &seen, STORE_WAIT_MS);
        }
    }
    store->in_compactor = false;
    return NULL;
}
