#include "store.h"

#include <assert.h>
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>

#include "store_state.h"

enum {
    LOG_BYTES_MIN_DEFAULT = 64 * 1024 * 1024,
    BOUND_PART = 3, /* Of log_bytes_min, beside the part of the live data. */
    BOUND_SEGMENTS_MIN = 4,
    MAP_BYTES_DEFAULT = 1024 * 1024 * 1024,
    WAIT_MS = 1000,
    RETRY_MS = 200,           /* After a failure. */
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
static uint64_t set_sizes(struct store *store)
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

static bool breathe(void *context)
{
    struct store *store = context;

    if (store->in_compactor) {
        be_nice(store);
    }
    return atomic_load_explicit(&store->stopping, memory_order_relaxed);
}

/* ---- Opening ---- */

static void fill_defaults(struct store *store)
{
    struct store_options *options = &store->options;

    options->directory = store->directory;
    if (options->files == NULL) {
        options->files = files_system();
    }
    if (options->segment_bytes == 0) {
        options->segment_bytes = segments_size_for(options->record_bytes_max);
    }
    if (options->log_bytes_min == 0) {
        options->log_bytes_min = LOG_BYTES_MIN_DEFAULT;
    }
    if (options->map_bytes == 0) {
        options->map_bytes = MAP_BYTES_DEFAULT;
    }
}

static int open_segments(struct store *store, char failed[SEGMENT_NAME_BYTES])
{
    const struct store_options *options = &store->options;
    const struct segments_options segments = {
        .directory = store->directory,
        .shard = options->shard,
        .actor = options->actor,
        .segment_bytes = options->segment_bytes,
        .bytes_max = options->bytes_max,
        .files = options->files,
        .memory = options->memory,
        .reporter = options->reporter,
    };

    return segments_open(&segments, &store->segments, failed);
}

static int open_checkpoint(struct store *store)
{
    const struct store_options *options = &store->options;
    const struct checkpoint_options checkpoint = {
        .directory = store->directory,
        .shard = options->shard,
        .map_bytes = options->map_bytes,
        .files = options->files,
        .memory = options->memory,
        .reporter = options->reporter,
    };

    return checkpoint_open(&checkpoint, &store->checkpoint);
}

static void set_compaction(struct store *store)
{
    const struct store_options *options = &store->options;

    store->compaction = (struct compaction){
        .shard = options->shard,
        .seed = options->seed,
        .directory = store->directory,
        .files = options->files,
        .memory = options->memory,
        .reporter = options->reporter,
        .checkpoint = store->checkpoint,
        .segments = store->segments,
        .bytes_max = options->bytes_max,
        .records_max = options->records_max,
        .breathe = breathe,
        .context = store,
    };
}

static int open_staging(struct store *store)
{
    const struct store_options *options = &store->options;
    const struct staging_options staging = {
        .directory = store->directory,
        .shard = options->shard,
        .files = options->files,
        .memory = options->memory,
        .reporter = options->reporter,
    };

    int rc = staging_open(&staging, &store->staging);
    store->leftover = (struct leftover){
        .shard = options->shard,
        .staging = &store->staging,
        .segments = store->segments,
        .files = options->files,
        .memory = options->memory,
        .reporter = options->reporter,
        .records = {.memory = options->memory},
    };
    return rc;
}

/* A log without its staging: where the process before was killed, the end of the log was in it. */
static void check_staging(const struct store *store)
{
    struct segments_stats stats;

    segments_stats(store->segments, &stats);
    if (!store->staging.made || !store->staging.kept || stats.bytes == 0) {
        return;
    }
    const struct store_report report = {
        .event = STORE_LOG_MISSING,
        .shard = store->options.shard,
        .file = STAGING_NAME,
        .text =
            "the file was not there; what no device write had taken before a crash would be in it",
    };
    store->options.reporter->report(store->options.reporter, &report);
}

static int any_name(void *context, const char *name)
{
    (void)context;
    (void)name;
    return 1;
}

static void check_used(const struct store *store)
{
    if (!store->options.used || files_list(store->directory, any_name, NULL) != 0) {
        return;
    }
    const struct store_report report = {
        .event = STORE_LOG_MISSING,
        .shard = store->options.shard,
        .text = "the directory of the shard was empty: its files were removed",
    };
    store->options.reporter->report(store->options.reporter, &report);
}

int store_open(const struct store_options *options, struct store **store, char *message,
               size_t message_size)
{
    const char *part = "the checkpoint";
    char failed[SEGMENT_NAME_BYTES] = "";
    struct store *made = options->memory->resize(options->memory, NULL, 0, sizeof *made);

    if (made == NULL) {
        snprintf(message, message_size, "%s: out of memory", options->directory);
        return -ENOMEM;
    }
    *made = (struct store){.options = *options, .staging = {.fd = -1}};
    loader_init(&made->loader, made);
    int rc = snprintf(made->directory, sizeof made->directory, "%s", options->directory);
    assert(rc >= 0 && rc < (int)sizeof made->directory);
    fill_defaults(made);
    pthread_mutex_init(&made->lock, NULL);
    check_used(made);
    rc = open_checkpoint(made);
    if (rc == 0) {
        part = "the log";
        rc = open_segments(made, failed);
    }
    if (rc == 0) {
        part = "the log's staging";
        rc = open_staging(made);
    }
    if (rc != 0) {
        snprintf(message, message_size, "%s%s%s: cannot open %s: %s", options->directory,
                 failed[0] != '\0' ? "/" : "", failed, part,
                 rc == -EBADMSG           ? "it is damaged"
                 : rc == -EPROTONOSUPPORT ? "it was written by another version"
                                          : strerror(-rc));
        store_close(made);
        return rc;
    }
    check_staging(made);
    set_compaction(made);
    *store = made;
    return 0;
}

void store_close(struct store *store)
{
    if (store == NULL) {
        return;
    }
    struct memory *memory = store->options.memory;
    store_stop(store);
    loader_fini(&store->loader);
    leftover_fini(&store->leftover);
    staging_close(&store->staging);
    segments_close(store->segments);
    checkpoint_close(store->checkpoint);
    pthread_mutex_destroy(&store->lock);
    memory->resize(memory, store, sizeof *store, 0);
}

struct segments *store_segments(struct store *store)
{
    return store->segments;
}

struct staging *store_staging(struct store *store)
{
    return &store->staging;
}

struct checkpoint *store_checkpoint(struct store *store)
{
    return store->checkpoint;
}

int store_prepare(struct store *store, uint64_t *lsn, uint64_t *hlc, bool *work)
{
    int rc = loader_prepare(&store->loader, lsn, hlc);

    if (rc == 0 && store->options.load_bytes_max != 0 &&
        store->loader.port.log_bytes > store->options.load_bytes_max) {
        rc = store_compact(store);
        loader_compacted(&store->loader);
        rc = rc == -ENOSPC ? 0 : rc; /* Then it is given as it is. */
    }
    if (rc == 0) {
        *work = loader_has_work(&store->loader);
    }
    return rc;
}

const char *store_failed(const struct store *store)
{
    return store->loader.restore.failed;
}

struct loader_port *store_loader(struct store *store)
{
    return &store->loader.port;
}

/* ---- Compaction ---- */

/* After a run that failed some of the log is covered, and nothing of it recycled: the two numbers go
 * together. */
static void publish(struct store *store, bool failed)
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

static void report_failure(struct store *store, const char *file, const char *what, int error)
{
    const struct store_report report = {
        .event = STORE_FAILED,
        .shard = store->options.shard,
        .file = file,
        .error = error,
        .text = what,
    };
    store->options.reporter->report(store->options.reporter, &report);
}

static int compact_once(struct store *store)
{
    uint64_t begin_ms = clock_ms();

    pthread_mutex_lock(&store->lock);
    store->published.compacting = true;
    pthread_mutex_unlock(&store->lock);
    int rc = compaction_run(&store->compaction), before = store->compaction_error;
    store->compaction_error = rc < 0 && rc != -ECANCELED ? rc : 0;
    publish(store, rc < 0);
    set_sizes(store);
    pthread_mutex_lock(&store->lock);
    store->published.compacting = false;
    store->published.checkpoint_ms = clock_ms() - begin_ms;
    store->published.checkpoints += rc == 1;
    store->published.checkpoint_failures += rc < 0 && rc != -ECANCELED;
    pthread_mutex_unlock(&store->lock);
    if (rc < 0 && rc != -ECANCELED && rc != before) {
        const char *file = store->compaction.failed;
        report_failure(store, file[0] != '\0' ? file : "checkpoint",
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
    uint64_t due_bytes = set_sizes(store);
    segments_stats(store->segments, &stats);
    bool hurried = atomic_load(&store->hurried_lsn) > atomic_load(&store->covered_lsn);
    return stats.sealed_bytes >= due_bytes ||
           ((stats.full || stats.at_bound || hurried) && stats.sealed_bytes > 0);
}

static void *compactor_main(void *context)
{
    struct store *store = context;
    uint64_t seen = 0;

    store->in_compactor = true;
    begin_nice(store);
    while (!atomic_load(&store->stopping)) {
        int rc = 0;
        be_nice(store);
        if (is_due(store)) {
            rc = compact_once(store);
        }
        if (rc < 0) {
            uint64_t until_ms = clock_ms() + RETRY_MS;
            while (clock_ms() < until_ms && !atomic_load(&store->stopping)) {
                segments_wait(store->segments, &seen, RETRY_MS);
            }
        } else if (rc == 0) {
            segments_wait(store->segments, &seen, WAIT_MS);
        }
    }
    store->in_compactor = false;
    return NULL;
}

/* What a killed process left comes first. */
static int prepare(struct store *store)
{
    int rc = leftover_settle(&store->leftover);

    return rc != 0 ? rc : segments_prepare(store->segments);
}

static void *preparer_main(void *context)
{
    struct store *store = context;
    uint64_t seen = 0;
    int told = 0;

    while (!atomic_load(&store->stopping)) {
        int rc = prepare(store);
        if (rc < 0 && rc != -ENOSPC && rc != told) {
            report_failure(store, NULL, "preparing a segment of the log", rc);
        }
        told = rc;
        if (rc != 1) {
            segments_wait(store->segments, &seen, rc == 0 ? WAIT_MS : RETRY_MS);
        }
    }
    return NULL;
}

int store_start(struct store *store)
{
    assert(!store->preparing && !store->compacting);
    publish(store, false);
    set_sizes(store);
    atomic_store(&store->stopping, false);
    int rc = prepare(store);
    if (rc < 0 && rc != -ENOSPC) {
        return rc;
    }
    rc = -pthread_create(&store->preparer, NULL, preparer_main, store);
    store->preparing = rc == 0;
    if (rc == 0) {
        rc = -pthread_create(&store->compactor, NULL, compactor_main, store);
        store->compacting = rc == 0;
    }
    if (rc != 0) {
        store_stop(store);
    }
    return rc;
}

void store_stop(struct store *store)
{
    if (store->segments == NULL) {
        return;
    }
    loader_stop(&store->loader);
    atomic_store(&store->stopping, true);
    segments_wake(store->segments);
    if (store->preparing) {
        pthread_join(store->preparer, NULL);
    }
    if (store->compacting) {
        pthread_join(store->compactor, NULL);
    }
    store->preparing = store->compacting = false;
    atomic_store(&store->stopping, false);
}

void store_stats(struct store *store, struct store_stats *stats)
{
    struct segments_stats segments;

    pthread_mutex_lock(&store->lock);
    *stats = store->published;
    pthread_mutex_unlock(&store->lock);
    segments_stats(store->segments, &segments);
    stats->log_bytes = segments.bytes;
    stats->sealed_bytes = segments.sealed_bytes;
    stats->segments = segments.files;
    stats->disk_full = segments.full;
}
