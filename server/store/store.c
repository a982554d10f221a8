#include "store.h"

#include <assert.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "compactor.h"
#include "kept_lacks.h"
#include "store_state.h"

enum {
    LOG_BYTES_MIN_DEFAULT = 64 * 1024 * 1024,
    MAP_BYTES_DEFAULT = 1024 * 1024 * 1024,
};

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
        .breathe = compactor_breathe,
        .keep_lacks = compactor_keep_lacks,
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

/* Whoever knows what has been seen has to know that some of it is not here. */
static void report(struct reporter *reporter, const struct store_report *report)
{
    struct store *store =
        (struct store *)(void *)((char *)reporter - offsetof(struct store, reporter));

    if (report->event == STORE_LOG_DAMAGED || report->event == STORE_LOG_MISSING ||
        report->event == STORE_LOG_BASELESS || report->event == STORE_CHECKPOINT_DAMAGED) {
        kept_lacks_note(store, report);
        atomic_store(&store->damaged, true);
    }
    store->told->report(store->told, report);
}

/* What is missing of the log is a gap, of which whoever follows it is told; of a log without a mark, or with one of another
 * archive, this one has nothing. */
static int open_archived(struct store *store)
{
    const struct store_options *options = &store->options;
    struct checkpoint_info info;

    int rc = archive_mark_read(options->files, store->directory, options->shard, &store->archived);
    if (rc == -ENOENT || (rc == 0 && store->archived.place != options->archive_place)) {
        checkpoint_info(store->checkpoint, &info);
        store->archived = (struct archive_mark){
            .lsn = info.lsn,
            .based = info.lsn == 0 && info.sessions == 0,
            .place = options->archive_place,
        };
        /* What comes from now on is not to be passed over by the next start; on a full disk that may be. */
        (void)archive_mark_write(options->files, store->directory, options->shard,
                                 &store->archived);
        rc = 0;
    }
    if (rc == 0) {
        segments_keep(store->segments, store->archived.lsn, options->archive_backlog_bytes);
    }
    return rc;
}

int store_open(const struct store_options *options, struct store **store, char *message,
               size_t message_size)
{
    const char *part;
    char failed[SEGMENT_NAME_BYTES] = "";
    struct store *made = options->memory->resize(options->memory, NULL, 0, sizeof *made);

    if (made == NULL) {
        snprintf(message, message_size, "%s: out of memory", options->directory);
        return -ENOMEM;
    }
    *made = (struct store){
        .options = *options,
        .staging = {.fd = -1},
        .reporter = {.report = report},
        .told = options->reporter,
        .seen = {.memory = options->memory},
    };
    made->options.reporter = &made->reporter;
    loader_init(&made->loader, made);
    int rc = snprintf(made->directory, sizeof made->directory, "%s", options->directory);
    assert(rc >= 0 && rc < (int)sizeof made->directory);
    fill_defaults(made);
    pthread_mutex_init(&made->lock, NULL);
    part = "the note of what is missing";
    rc = kept_lacks_get(made);
    if (rc == 0) {
        check_used(made);
        part = "the checkpoint";
        rc = open_checkpoint(made);
    }
    if (rc == 0) {
        part = "the log";
        rc = open_segments(made, failed);
    }
    if (rc == 0) {
        part = "the log's staging";
        rc = open_staging(made);
    }
    if (rc == 0 && options->archives) {
        part = "the mark of what is archived";
        rc = open_archived(made);
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
    compactor_try_lacks(made); /* The next start would not miss that file. */
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
    buffer_fini(&store->seen);
    memory->resize(memory, store, sizeof *store, 0);
}

void store_archived(const struct store *store, struct archive_mark *mark)
{
    *mark = store->archived;
}

int store_set_archived(struct store *store, const struct archive_mark *mark)
{
    const struct store_options *options = &store->options;

    int rc = archive_mark_write(options->files, store->directory, options->shard, mark);
    if (rc == 0) {
        if (mark->lsn < store->archived.lsn) {
            segments_keep(store->segments, mark->lsn, options->archive_backlog_bytes);
        }
        store->archived = *mark;
        segments_archived(store->segments, mark->lsn);
    }
    return rc;
}

int store_scan(struct store *store, struct checkpoint_key *from, size_t bytes,
               int (*visit)(void *context, struct checkpoint_key key, struct bytes record),
               void *context)
{
    return checkpoint_scan(store->checkpoint, from, bytes, visit, context);
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

/* ---- Its threads ---- */

void store_report_failure(const struct store *store, const char *file, const char *what, int error)
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
            store_report_failure(store, NULL, "preparing a segment of the log", rc);
        }
        told = rc;
        if (rc != 1) {
            segments_wait(store->segments, &seen, rc == 0 ? STORE_WAIT_MS : STORE_RETRY_MS);
        }
    }
    return NULL;
}

int store_start(struct store *store)
{
    assert(!store->preparing && !store->compacting);
    compactor_publish(store, false);
    compactor_set_sizes(store);
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
    compactor_try_lacks(store);
}

void store_stats(struct store *store, struct store_stats *stats)
{
    struct segments_stats segments;

    pthread_mutex_lock(&store->lock);
    *stats = store->published;
    pthread_mutex_unlock(&store->lock);
    segments_stats(store->segments, &segments);
    stats->log_bytes = segments.bytes + segments.kept_bytes;
    stats->kept_bytes = segments.kept_bytes;
    stats->sealed_bytes = segments.sealed_bytes;
    stats->segments = segments.files;
    stats->disk_full = segments.full;
}
