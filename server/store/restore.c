#include "restore.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <string.h>

#include "checkpoint.h"
#include "load.h"
#include "session.h"
#include "store_state.h"

struct giving {
    struct log_visitor visitor;
    struct restore *restore;
    struct store_sink *sink;
    char name[SEGMENT_NAME_BYTES]; /* Of the present file. */
    bool quiet;
};

static void tell(const struct restore *restore, struct store_report report)
{
    struct reporter *reporter = restore->store->options.reporter;

    report.shard = restore->store->options.shard;
    reporter->report(reporter, &report);
}

/* ---- Preparing ---- */

static void tell_missing(const struct restore *restore, uint64_t lsn, uint64_t end_lsn)
{
    if (lsn < end_lsn) {
        tell(restore, (struct store_report){.event = STORE_LOG_MISSING,
                                            .lsn = lsn,
                                            .end_lsn = end_lsn,
                                            .size = end_lsn - lsn});
    }
}

void restore_check_end(const struct restore *restore)
{
    struct staging *staging = store_staging(restore->store);

    if (staging_durable(staging) > restore->end_lsn) {
        tell_missing(restore, restore->end_lsn, staging_durable(staging));
        staging_set_durable(staging, restore->end_lsn); /* It is told once. */
    }
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

    tell(scanning->restore,
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
                    (run->index.count == 0 && run->index.end_lsn > run->index.lsn))) {
        rc =
            -EBADMSG; /* Nor is one right that has nothing to say of a segment that holds something. */
    }
    if (rc == -ENOENT || rc == -EBADMSG) {
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

/* Of records that lie in memory. They have the LSNs that settling gives them: a MARK, then one by one. */
static const struct log_epoch left_epoch = {.number = 1};

struct leaving {
    struct log_visitor visitor;
    struct restore *restore;
    struct restore_run *run;
};

static uint64_t left_offset(size_t at)
{
    return LOG_HEADER_BYTES + LOG_RECORD_HEADER_BYTES + at;
}

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
                                left_offset(left->size), record);
    }
    if (rc == 0) {
        log_record_put(left->data + left->size, left_epoch, record->kind, record->position,
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
        count = choose_chain(files, count, info.lsn);
    }
    int rc = prepare_runs(restore, files, count);
    if (files != NULL) {
        memory->resize(memory, files, size, 0);
    }
    if (rc != 0) {
        restore_fini(restore);
    }
    return rc;
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

/* ---- Giving ---- */

/* What the sink says of one thing given: damage is told, and the rest goes on. */
static int judge(const struct giving *giving, int rc, struct store_report report)
{
    if (rc != -ESTALE && rc != -EBADMSG) {
        return rc;
    }
    if (!giving->quiet) {
        report.error = rc;
        tell(giving->restore, report);
    }
    return 0;
}

static int give(struct giving *giving, uint64_t lsn, uint32_t kind, struct bytes body)
{
    int rc = kind == LOG_MARK ? 0 : giving->sink->give(giving->sink, kind, body);

    if (rc == -ESTALE && kind == LOG_TOUCH) {
        return 0; /* Of a session that is gone: nothing is lost with it. */
    }
    return judge(giving, rc,
                 (struct store_report){
                     .event = rc == -ESTALE ? STORE_LOG_BASELESS : STORE_LOG_DAMAGED,
                     .file = giving->name,
                     .lsn = lsn,
                     .size = body.size,
                     .key = log_record_key(kind, body),
                 });
}

static int give_record(struct log_visitor *visitor, uint64_t lsn, const struct log_record *record)
{
    struct giving *giving = (struct giving *)(void *)visitor;
    struct reader reader = reader_of(record->body);
    struct log_batch_item item;
    int rc = 0;

    giving->restore->lsn = lsn;
    if (record->kind != LOG_BATCH) {
        return give(giving, lsn, record->kind, record->body);
    }
    while (rc == 0 && log_batch_next(&reader, &item) == 1) {
        rc = give(giving, lsn, item.kind, item.body);
    }
    return rc;
}

static void give_damage(struct log_visitor *visitor, const struct log_damage *damage)
{
    const struct giving *giving = (const struct giving *)(void *)visitor;

    tell(giving->restore, (struct store_report){
                              .event = STORE_LOG_DAMAGED,
                              .file = giving->name,
                              .offset = damage->offset,
                              .size = damage->size,
                              .key = log_record_key(damage->kind, damage->body),
                          });
}

static int give_stored(const struct giving *giving, struct bytes record)
{
    return judge(giving, giving->sink->give(giving->sink, LOAD_STORED, record),
                 (struct store_report){.event = STORE_CHECKPOINT_DAMAGED,
                                       .size = record.size,
                                       .key = session_key(record)});
}

static int give_checkpoint(struct giving *giving)
{
    struct checkpoint *checkpoint = giving->restore->store->checkpoint;
    struct checkpoint_key key;
    struct bytes record;

    int rc = checkpoint_read_begin(checkpoint);
    if (rc != 0) {
        return rc;
    }
    while ((rc = checkpoint_read_next(checkpoint, &key, &record)) == 1) {
        giving->restore->position = key.position;
        rc = give_stored(giving, record);
        if (rc != 0) {
            break;
        }
    }
    checkpoint_read_end(checkpoint);
    checkpoint_rest(checkpoint);
    return rc;
}

static int give_left(struct giving *giving, const struct restore_run *run)
{
    struct restore *restore = giving->restore;
    struct log_record record;
    int rc = 0;

    memcpy(giving->name, STAGING_NAME, sizeof STAGING_NAME);
    for (size_t at = 0; rc == 0 && at < restore->left.size;) {
        uint64_t lsn = run->file.lsn + (left_offset(at) - LOG_HEADER_BYTES);
        int64_t size = log_record_parse(bytes_of(restore->left.data + at, restore->left.size - at),
                                        left_epoch, &record);
        assert(size > 0);
        rc = lsn < restore->lsn ? 0 : give_record(&giving->visitor, lsn, &record);
        at += (size_t)size;
    }
    return rc;
}

static int give_run(struct giving *giving, struct log_reader *reader, const struct restore_run *run)
{
    struct restore *restore = giving->restore;
    uint64_t lsn = restore->lsn > run->file.lsn ? restore->lsn : run->file.lsn;
    char path[PATH_BYTES_MAX];

    if (lsn >= run->index.end_lsn) {
        return 0;
    }
    if (run->left) {
        return give_left(giving, run);
    }
    segment_name(giving->name, run->file.epoch);
    int rc = path_join(path, restore->store->directory, giving->name);
    if (rc == 0) {
        rc = log_reader_open(reader, path, run->file.epoch);
    }
    if (rc != 0) {
        return rc;
    }
    reader->lsn = run->file.lsn;
    rc = log_reader_walk(reader, &lsn, run->index.end_lsn, &giving->visitor);
    restore->lsn = lsn;
    return rc;
}

int restore_give(struct restore *restore, struct store_sink *sink)
{
    struct store *store = restore->store;
    struct giving giving = {
        .visitor = {.record = give_record, .damage = give_damage},
        .restore = restore,
        .sink = sink,
    };
    struct log_reader reader;

    if (!restore->checkpoint_given) {
        int rc = give_checkpoint(&giving);
        if (rc != 0) {
            return rc;
        }
        restore->checkpoint_given = true;
    }
    log_reader_init(&reader, store->options.files, store->options.memory);
    int rc = 0;
    for (uint32_t i = 0; i < restore->run_count && rc == 0; i++) {
        rc = give_run(&giving, &reader, &restore->runs[i]);
    }
    log_reader_fini(&reader);
    if (rc == 0) {
        restore->lsn = restore->end_lsn;
    }
    return rc;
}

/* ---- One position ---- */

static int give_stored_at(void *context, struct bytes record)
{
    return give_stored(context, record);
}

/* Returns 1 with `record` set, in `buffer`; 0: its checksum is wrong; negative errno. */
static int read_entry(const struct restore *restore, const struct restore_run *run, int fd,
                      const struct segment_entry *entry, struct buffer *buffer,
                      struct log_record *record)
{
    struct files *files = restore->store->options.files;
    uint64_t offset = segment_entry_offset(entry);
    size_t size = (size_t)log_record_size(segment_entry_size(entry));

    if (run->left) {
        struct bytes from = bytes_of(restore->left.data + (offset - left_offset(0)), size);
        return log_record_parse(from, left_epoch, record) > 0;
    }
    buffer->size = 0;
    int rc = buffer_reserve(buffer, size);
    if (rc != 0) {
        return rc;
    }
    int64_t got = files->read(files, fd, buffer->data, size, offset);
    if (got < 0) {
        return (int)got;
    }
    return log_record_parse(bytes_of(buffer->data, (size_t)got), run->file.epoch, record) > 0;
}

/* A record whose checksum is wrong is passed over, as if it were not there. */
static int give_entry(struct giving *giving, const struct restore_run *run, int fd,
                      const struct segment_entry *entry, struct buffer *buffer)
{
    uint64_t lsn = run->file.lsn + (segment_entry_offset(entry) - LOG_HEADER_BYTES);
    struct log_record record;

    int rc = read_entry(giving->restore, run, fd, entry, buffer, &record);
    if (rc <= 0) {
        return rc;
    }
    rc = 0;
    if (record.kind != LOG_BATCH) {
        return give(giving, lsn, record.kind, record.body);
    }
    struct reader reader = reader_of(record.body);
    struct log_batch_item item;
    while (rc == 0 && log_batch_next(&reader, &item) == 1) {
        rc = item.position == entry->position ? give(giving, lsn, item.kind, item.body) : 0;
    }
    return rc;
}

static int give_run_position(struct giving *giving, const struct restore_run *run,
                             uint64_t position, struct buffer *buffer)
{
    const struct restore *restore = giving->restore;
    struct files *files = restore->store->options.files;
    const struct segment_index *index = &run->index;
    char path[PATH_BYTES_MAX];
    int fd = -1, rc = 0;

    for (size_t i = segment_index_find(index, position);
         rc == 0 && i < index->count && index->entries[i].position == position; i++) {
        uint64_t offset = segment_entry_offset(&index->entries[i]);
        if (run->file.lsn + (offset - LOG_HEADER_BYTES) < restore->from_lsn) {
            continue;
        }
        if (fd < 0 && !run->left) {
            rc = segments_path(restore->store->segments, run->file.epoch, path);
            fd = rc == 0 ? files->open(files, path, O_RDONLY) : rc;
            rc = fd < 0 ? fd : 0;
        }
        if (rc == 0) {
            rc = give_entry(giving, run, fd, &index->entries[i], buffer);
        }
    }
    if (fd >= 0) {
        files->close(files, fd);
    }
    return rc;
}

int restore_give_position(struct restore *restore, uint64_t position, struct store_sink *sink)
{
    struct giving giving = {.restore = restore, .sink = sink, .quiet = true};
    struct buffer buffer = {.memory = restore->store->options.memory};

    int rc = checkpoint_fetch(restore->store->checkpoint, position, give_stored_at, &giving);
    for (uint32_t i = 0; i < restore->run_count && rc == 0; i++) {
        rc = give_run_position(&giving, &restore->runs[i], position, &buffer);
    }
    buffer_fini(&buffer);
    return rc;
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

int store_restore(struct store *store, struct store_sink *sink, uint64_t *lsn)
{
    struct restore restore;

    int rc = restore_prepare(&restore, store);
    if (rc != 0) {
        return rc;
    }
    if (sink != NULL) {
        rc = restore_give(&restore, sink);
    }
    if (rc == 0) {
        *lsn = restore.end_lsn;
    }
    restore_fini(&restore);
    return rc;
}
