/* A restart: the checkpoint, then the log after it, into the sink.
 *
 * The files of the log form a chain by their LSNs. Each but the last ends where the next one begins; the
 * last one ends as log_format.h says. What a crash cut short was found to end at some LSN by the start
 * after it, which went on from there in a new file: so that file's beginning is the proof. */
#include <errno.h>
#include <string.h>

#include "session.h"
#include "store_state.h"

struct restoring {
    struct log_visitor visitor;
    struct store *store;
    struct store_sink *sink;
    char name[SEGMENT_NAME_BYTES]; /* Of the present file. */
};

static void tell(const struct restoring *restoring, struct store_report report)
{
    struct reporter *reporter = restoring->store->options.reporter;

    report.shard = restoring->store->options.shard;
    reporter->report(reporter, &report);
}

/* ---- Into the sink ---- */

static int give(struct restoring *restoring, uint64_t lsn, uint32_t kind, struct bytes body)
{
    struct store_sink *sink = restoring->sink;
    int rc = 0;

    if (sink == NULL) {
        return 0;
    }
    switch (kind) {
    case LOG_FULL:
        rc = sink->record(sink, body);
        break;
    case LOG_DELTA:
        rc = sink->delta(sink, body);
        break;
    case LOG_TOUCH:
        rc = sink->touch(sink, body);
        break;
    case LOG_BURY:
        rc = sink->bury(sink, body);
        break;
    default:
        return 0;
    }
    if (rc == -ESTALE && kind == LOG_TOUCH) {
        return 0; /* Of a session that is gone: nothing is lost with it. */
    }
    if (rc == -ESTALE || rc == -EBADMSG) {
        tell(restoring, (struct store_report){
                            .event = rc == -ESTALE ? STORE_LOG_BASELESS : STORE_LOG_DAMAGED,
                            .file = restoring->name,
                            .lsn = lsn,
                            .size = body.size,
                            .key = log_record_key(kind, body),
                            .error = rc,
                        });
        return 0;
    }
    return rc;
}

static int take_record(struct log_visitor *visitor, uint64_t lsn, const struct log_record *record)
{
    struct restoring *restoring = (struct restoring *)(void *)visitor;

    if (record->kind != LOG_BATCH) {
        return give(restoring, lsn, record->kind, record->body);
    }
    struct reader reader = reader_of(record->body);
    struct log_batch_item item;
    int rc = 0;
    while (rc == 0 && log_batch_next(&reader, &item) == 1) {
        rc = give(restoring, lsn, item.kind, item.body);
    }
    return rc;
}

static void take_damage(struct log_visitor *visitor, const struct log_damage *damage)
{
    const struct restoring *restoring = (const struct restoring *)(void *)visitor;

    tell(restoring, (struct store_report){
                        .event = STORE_LOG_DAMAGED,
                        .file = restoring->name,
                        .offset = damage->offset,
                        .size = damage->size,
                        .key = log_record_key(damage->kind, damage->body),
                    });
}

static void take_torn(struct log_visitor *visitor, uint64_t offset)
{
    const struct restoring *restoring = (const struct restoring *)(void *)visitor;

    tell(restoring,
         (struct store_report){.event = STORE_LOG_TORN, .file = restoring->name, .offset = offset});
}

static int give_checkpoint(struct restoring *restoring)
{
    struct checkpoint *checkpoint = restoring->store->checkpoint;
    struct checkpoint_key key;
    struct bytes record;

    if (restoring->sink == NULL) {
        return 0;
    }
    int rc = checkpoint_read_begin(checkpoint);
    if (rc != 0) {
        return rc;
    }
    while ((rc = checkpoint_read_next(checkpoint, &key, &record)) == 1) {
        rc = restoring->sink->record(restoring->sink, record);
        if (rc == -EBADMSG) {
            tell(restoring, (struct store_report){.event = STORE_CHECKPOINT_DAMAGED,
                                                  .size = record.size,
                                                  .key = session_key(record)});
        } else if (rc != 0) {
            break;
        }
    }
    checkpoint_read_end(checkpoint);
    checkpoint_rest(checkpoint);
    return rc;
}

/* ---- The chain of files ---- */

static void tell_missing(const struct restoring *restoring, uint64_t lsn, uint64_t end_lsn)
{
    if (lsn < end_lsn) {
        tell(restoring, (struct store_report){.event = STORE_LOG_MISSING,
                                              .lsn = lsn,
                                              .end_lsn = end_lsn,
                                              .size = end_lsn - lsn});
    }
}

/* Walk one file from `lsn` on; `next_lsn` is where the next one begins, if there is one. */
static int walk_file(struct restoring *restoring, struct log_reader *reader,
                     const struct segment_file *file, uint64_t next_lsn, uint64_t *lsn)
{
    struct store *store = restoring->store;
    uint64_t capacity = file->size - LOG_HEADER_BYTES;
    bool ends_known = next_lsn != LOG_LSN_UNKNOWN && next_lsn - file->lsn <= capacity;
    char path[PATH_BYTES_MAX];

    segment_name(restoring->name, file->epoch);
    int rc = path_join(path, store->directory, restoring->name);
    if (rc == 0) {
        rc = log_reader_open(reader, path, file->epoch);
    }
    if (rc != 0) {
        return rc;
    }
    reader->lsn = file->lsn;
    if (ends_known && *lsn > next_lsn) {
        return 0;
    }
    rc = log_reader_walk(reader, lsn, ends_known ? next_lsn : LOG_LSN_UNKNOWN, &restoring->visitor);
    if (rc == 0) {
        segments_adopt(store->segments, file->id, *lsn);
    }
    return rc;
}

/* Of the files in order of epoch, keep those that hold log from `lsn` on, in a chain. */
static uint32_t choose_chain(struct segment_file files[], uint32_t count, uint64_t lsn)
{
    uint32_t kept = 0, first = 0;

    for (uint32_t i = 0; i < count; i++) {
        if (files[i].lsn == LOG_LSN_UNKNOWN) {
            continue;
        }
        /* A later file that begins at the same place took over from one that held nothing. */
        while (kept > 0 && files[kept - 1].lsn >= files[i].lsn) {
            kept--;
        }
        files[kept++] = files[i];
    }
    for (uint32_t i = 0; i < kept; i++) {
        first = files[i].lsn <= lsn ? i : first;
    }
    memmove(files, files + first, (kept - first) * sizeof files[0]);
    return kept - first;
}

static int give_log(struct restoring *restoring, struct segment_file files[], uint32_t count,
                    uint64_t *lsn)
{
    struct store *store = restoring->store;
    struct log_reader reader;
    int rc = 0;

    log_reader_init(&reader, store->options.files, store->options.memory);
    for (uint32_t i = 0; i < count && rc == 0; i++) {
        uint64_t next_lsn = i + 1 < count ? files[i + 1].lsn : LOG_LSN_UNKNOWN;
        if (*lsn < files[i].lsn) {
            tell_missing(restoring, *lsn, files[i].lsn);
            *lsn = files[i].lsn;
        }
        rc = walk_file(restoring, &reader, &files[i], next_lsn, lsn);
    }
    log_reader_fini(&reader);
    return rc;
}

int store_restore(struct store *store, struct store_sink *sink, uint64_t *lsn)
{
    struct restoring restoring = {
        .visitor = {.record = take_record, .damage = take_damage, .torn = take_torn},
        .store = store,
        .sink = sink,
    };
    struct memory *memory = store->options.memory;
    struct checkpoint_info info;
    struct segment_file *files = NULL;
    uint32_t count = segments_list(store->segments, SEGMENT_FREE, NULL, 0);
    size_t size = count * sizeof *files;

    checkpoint_info(store->checkpoint, &info);
    uint64_t at = info.lsn;
    int rc = give_checkpoint(&restoring);
    if (rc == 0 && count > 0) {
        files = memory->resize(memory, NULL, 0, size);
        rc = files == NULL ? -ENOMEM : 0;
    }
    if (rc == 0 && count > 0) {
        segments_list(store->segments, SEGMENT_FREE, files, count);
        count = choose_chain(files, count, at);
        rc = give_log(&restoring, files, count, &at);
    }
    if (files != NULL) {
        memory->resize(memory, files, size, 0);
    }
    if (rc == 0) {
        *lsn = at;
    }
    return rc;
}
