/* What there is to give: the chain of the log's files, its end, and what a killed process left. */
#include <assert.h>
#include <errno.h>
#include <string.h>

#include "checkpoint.h"
#include "restore_state.h"
#include "store_state.h"

void restore_tell(const struct restore *restore, struct store_report report)
{
    struct reporter *reporter = restore->store->options.reporter;

    report.shard = restore->store->options.shard;
    reporter->report(reporter, &report);
}

/* The log ends at `lsn`, and that at `end_lsn` is known. Names the file in which it ends, and where. */
static void tell_missing(const struct restore *restore, uint64_t lsn, uint64_t end_lsn)
{
    struct store_report report = {
        .event = STORE_LOG_MISSING, .lsn = lsn, .end_lsn = end_lsn, .size = end_lsn - lsn};
    char name[SEGMENT_NAME_BYTES];

    if (lsn >= end_lsn) {
        return;
    }
    for (uint32_t i = 0; i < restore->run_count; i++) {
        const struct restore_run *run = &restore->runs[i];
        if (!run->left && run->index.end_lsn == lsn && run->file.lsn < lsn) {
            segment_name(name, run->file.epoch);
            report.file = name;
            report.offset = LOG_HEADER_BYTES + (lsn - run->file.lsn);
        }
    }
    restore_tell(restore, report);
}

/* Does the log end where it should? */
static void check_end(const struct restore *restore)
{
    struct staging *staging = store_staging(restore->store);

    if (staging_durable(staging) > restore->end_lsn) {
        tell_missing(restore, restore->end_lsn, staging_durable(staging));
        staging_set_durable(staging, restore->end_lsn); /* It is told once. */
    }
}

/* Of the files in order of epoch, keep those that hold log from `lsn` on, in a chain. */
static uint32_t choose_chain(struct segments *segments, struct segment_file files[], uint32_t count,
                             uint64_t lsn)
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
    for (uint32_t i = 0; i < first; i++) { /* The archive may lack them. */
        segments_adopt_kept(segments, files[i].id, files[i + 1].lsn);
    }
    memmove(files, files + first, (kept - first) * sizeof files[0]);
    return kept - first;
}

/* The end of the log is where the scan says; damage is told when it is given. */
struct scanning {
    struct log_visitor visitor;
    struct restore *restore;
    const char *name;
};

static void pass_damage(struct log_visitor *visitor, const struct log_damage *damage)
{
    (void)visitor;
    (void)damage;
}

static void tell_torn(struct log_visitor *visitor, uint64_t offset)
{
    const struct scanning *scanning = (const struct scanning *)(void *)visitor;

    restore_tell(
        scanning->restore,
        (struct store_report){.event = STORE_LOG_TORN, .file = scanning->name, .offset = offset});
}

/* The index of a run from its segment, whose records go on to `end_lsn`, if that is known. */
static int scan_run(struct restore *restore, struct restore_run *run, uint64_t end_lsn)
{
    struct store *store = restore->store;
    char path[PATH_BYTES_MAX], name[SEGMENT_NAME_BYTES];
    struct scanning scanning = {
        .visitor = {.damage = pass_damage, .torn = tell_torn}, .restore = restore, .name = name};
    struct log_reader reader;

    segment_name(name, run->file.epoch);
    int rc = path_join(path, store->directory, name);
    log_reader_init(&reader, store->options.files, store->options.memory);
    if (rc == 0) {
        rc = log_reader_open(&reader, path, run->file.epoch);
    }
    if (rc == 0) {
        reader.lsn = run->file.lsn;
        reader.durable_lsn = staging_durable(store_staging(store));
        uint64_t from_lsn = restore->end_lsn > run->file.lsn ? restore->end_lsn : run->file.lsn;
        rc = segment_index_scan(&run->index, &reader, store->options.seed, from_lsn, end_lsn,
                                &scanning.visitor);
    }
    log_reader_fini(&reader);
    return rc;
}

/* `next_lsn` is where the next file begins, if there is one. */
static int prepare_run(struct restore *restore, struct restore_run *run, uint64_t next_lsn)
{
    struct store *store = restore->store;
    uint64_t capacity = run->file.size - LOG_HEADER_BYTES;
    bool end_known = next_lsn != LOG_LSN_UNKNOWN && next_lsn - run->file.lsn <= capacity;
    char path[PATH_BYTES_MAX];

    bool after_gap = restore->end_lsn < run->file.lsn;
    tell_missing(restore, restore->end_lsn, run->file.lsn);
    run->index.epoch = run->file.epoch;
    run->index.shard = store->options.shard;
    int rc = segments_index_path(store->segments, run->file.epoch, path);
    if (rc == 0) {
        rc = segment_index_read(&run->index, store->options.files, path);
    }
    if (rc == 0 && (run->index.lsn != run->file.lsn || run->index.end_lsn < restore->end_lsn ||
                    (end_known && run->index.end_lsn != next_lsn) ||
                    run->index.end_lsn - run->index.lsn > capacity || /* The file was cut. */
                    (run->index.count == 0 && run->index.end_lsn > run->index.lsn))) {
        rc =
            -EBADMSG; /* Nor is one right that has nothing to say of a segment that holds something. */
    }
    if (rc != 0 && rc != -ENOMEM) { /* Whatever is wrong with it: the segment says as much. */
        rc = scan_run(restore, run, end_known ? next_lsn : LOG_LSN_UNKNOWN);
    }
    if (rc != 0) {
        return rc;
    }
    restore->hlc = run->index.hlc > restore->hlc ? run->index.hlc : restore->hlc;
    restore->end_lsn = run->index.end_lsn;
    const struct segment_end end = {.lsn = restore->end_lsn, .hlc = run->index.hlc};
    segments_adopt(store->segments, run->file.id, &end, after_gap);
    return 0;
}

/* ---- What was left in the staging ---- */

struct leaving {
    struct log_visitor visitor;
    struct restore *restore;
    struct restore_run *run;
};

static int keep_left(struct log_visitor *visitor, uint64_t lsn, const struct log_record *record)
{
    struct leaving *leaving = (struct leaving *)(void *)visitor;
    struct restore *restore = leaving->restore;
    struct buffer *left = &restore->left;
    size_t size = (size_t)log_record_size(record->body.size);

    (void)lsn;
    int rc = buffer_reserve(left, size);
    if (rc == 0) {
        rc = segment_index_note(&leaving->run->index, restore->store->options.seed,
                                restore_left_offset(left->size), record);
    }
    if (rc == 0) {
        log_record_put(left->data + left->size, restore_left_epoch, record->kind, record->position,
                       &record->body, 1);
        left->size += size;
    }
    return rc;
}

static int prepare_left(struct restore *restore)
{
    struct store *store = restore->store;
    struct restore_run *last =
        restore->run_count > 0 ? &restore->runs[restore->run_count - 1] : NULL;
    struct restore_run *run = &restore->runs[restore->run_count];
    struct leaving leaving = {.visitor = {.record = keep_left}, .restore = restore, .run = run};

    *run = (struct restore_run){.left = true, .file = {.lsn = restore->end_lsn}};
    segment_index_init(&run->index, store->options.memory);
    restore->run_count++;
    run->index.lsn = restore->end_lsn;
    int rc = leftover_take(&store->leftover, last != NULL ? last->file.epoch.number : 0,
                           &restore->end_lsn, &leaving.visitor);
    segment_entries_sort(run->index.entries, run->index.count);
    run->index.end_lsn = restore->end_lsn;
    restore->hlc = run->index.hlc > restore->hlc ? run->index.hlc : restore->hlc;
    return rc;
}

static int prepare_runs(struct restore *restore, const struct segment_file files[], uint32_t count)
{
    struct memory *memory = restore->store->options.memory;
    int rc = 0;

    restore->runs = memory->resize(memory, NULL, 0, (count + 1) * sizeof *restore->runs);
    if (restore->runs == NULL) {
        return -ENOMEM;
    }
    restore->run_capacity = count + 1;
    for (uint32_t i = 0; i < count && rc == 0; i++) {
        struct restore_run *run = &restore->runs[restore->run_count++];
        *run = (struct restore_run){.file = files[i]};
        segment_index_init(&run->index, memory);
        rc = prepare_run(restore, run, i + 1 < count ? files[i + 1].lsn : LOG_LSN_UNKNOWN);
        if (rc != 0) {
            segment_name(restore->failed, files[i].epoch);
        }
    }
    return rc != 0 ? rc : prepare_left(restore);
}

int restore_prepare(struct restore *restore, struct store *store)
{
    struct memory *memory = store->options.memory;
    struct checkpoint_info info;
    uint32_t count = segments_list(store->segments, SEGMENT_FREE, NULL, 0);
    size_t size = count * sizeof(struct segment_file);

    checkpoint_info(store->checkpoint, &info);
    *restore = (struct restore){
        .store = store,
        .from_lsn = info.lsn,
        .lsn = info.lsn,
        .end_lsn = info.lsn,
        .hlc = info.hlc,
        .has_checkpoint = info.sessions > 0,
        .left = {.memory = memory},
    };
    struct segment_file *files = NULL;
    if (count > 0) {
        files = memory->resize(memory, NULL, 0, size);
        if (files == NULL) {
            return -ENOMEM;
        }
        segments_list(store->segments, SEGMENT_FREE, files, count);
        count = choose_chain(store->segments, files, count, info.lsn);
    }
    int rc = prepare_runs(restore, files, count);
    if (files != NULL) {
        memory->resize(memory, files, size, 0);
    }
    if (rc != 0) {
        restore_fini(restore);
        return rc;
    }
    check_end(restore);
    return 0;
}

void restore_fini(struct restore *restore)
{
    for (uint32_t i = 0; i < restore->run_count; i++) {
        segment_index_fini(&restore->runs[i].index);
    }
    if (restore->runs != NULL) {
        struct memory *memory = restore->store->options.memory;
        memory->resize(memory, restore->runs, restore->run_capacity * sizeof *restore->runs, 0);
    }
    restore->runs = NULL;
    restore->run_count = 0;
    buffer_fini(&restore->left);
}

void restore_compacted(struct restore *restore)
{
    struct checkpoint_info info;
    uint32_t kept = 0;

    checkpoint_info(restore->store->checkpoint, &info);
    restore->from_lsn = restore->lsn = info.lsn;
    restore->has_checkpoint = info.sessions > 0;
    for (uint32_t i = 0; i < restore->run_count; i++) {
        struct restore_run *run = &restore->runs[i];
        if (run->index.end_lsn <= info.lsn) {
            segment_index_fini(&run->index);
        } else {
            restore->runs[kept++] = *run;
        }
    }
    restore->run_count = kept;
}
