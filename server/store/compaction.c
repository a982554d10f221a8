#include "compaction.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>

#include "session.h"

enum {
    IN_PLACE_PART = 16, /* Measured: a change in place costs about what 25 records of a build do. */
    BREATH_RECORDS = 256,
};

/* One record of the log, or one of a batch. */
struct compaction_entry {
    struct checkpoint_key key;
    uint64_t lsn;    /* Of the log record. */
    uint32_t offset; /* Of the body, from there. */
    uint32_t size;
    uint32_t kind;
};

static struct compaction_entry *entries_of(const struct compaction *compaction)
{
    return (struct compaction_entry *)(void *)compaction->entries.data;
}

static size_t entry_count(const struct compaction *compaction)
{
    return compaction->entries.size / sizeof(struct compaction_entry);
}

static bool breathe(struct compaction *compaction)
{
    if (++compaction->breath < BREATH_RECORDS) {
        return false;
    }
    compaction->breath = 0;
    return compaction->breathe(compaction->context);
}

/* ---- The table of records ---- */

struct indexing {
    struct log_visitor visitor;
    struct compaction *compaction;
    char name[SEGMENT_NAME_BYTES];
};

static int index_one(struct compaction *compaction, uint64_t lsn, const struct log_batch_item *item,
                     size_t offset)
{
    struct bytes key = log_record_key(item->kind, item->body);
    const struct compaction_entry entry = {
        .key = checkpoint_key(compaction->seed, item->position, key),
        .lsn = lsn,
        .offset = (uint32_t)offset,
        .size = (uint32_t)item->body.size,
        .kind = item->kind,
    };

    compaction->body_bytes += item->body.size;
    return buffer_append(&compaction->entries, bytes_of(&entry, sizeof entry));
}

static int index_batch(struct compaction *compaction, uint64_t lsn, struct bytes body)
{
    struct reader reader = reader_of(body);
    struct log_batch_item item;
    int rc;

    while ((rc = log_batch_next(&reader, &item)) == 1) {
        size_t offset = LOG_RECORD_HEADER_BYTES + (size_t)(item.body.data - body.data);
        rc = index_one(compaction, lsn, &item, offset);
        if (rc != 0) {
            return rc;
        }
    }
    return rc == -EBADMSG ? 0 : rc; /* Its checksum was right: written so. Its head counts. */
}

static int index_record(struct log_visitor *visitor, uint64_t lsn, const struct log_record *record)
{
    struct indexing *indexing = (struct indexing *)(void *)visitor;
    struct compaction *compaction = indexing->compaction;

    if (record->kind == LOG_MARK) {
        return 0;
    }
    if (entry_count(compaction) >= compaction->limit) {
        return 1;
    }
    if (breathe(compaction)) {
        return -ECANCELED;
    }
    if (record->kind == LOG_BATCH) {
        return index_batch(compaction, lsn, record->body);
    }
    const struct log_batch_item item = {
        .kind = (uint8_t)record->kind, .position = record->position, .body = record->body};
    return index_one(compaction, lsn, &item, LOG_RECORD_HEADER_BYTES);
}

static void index_damage(struct log_visitor *visitor, const struct log_damage *damage)
{
    struct indexing *indexing = (struct indexing *)(void *)visitor;
    struct compaction *compaction = indexing->compaction;
    const struct store_report report = {
        .event = STORE_LOG_DAMAGED,
        .shard = compaction->shard,
        .file = indexing->name,
        .offset = damage->offset,
        .size = damage->size,
        .key = log_record_key(damage->kind, damage->body),
    };

    compaction->reporter->report(compaction->reporter, &report);
}

static int segment_path(const struct compaction *compaction, const struct segment_file *file,
                        char path[PATH_BYTES_MAX])
{
    char name[SEGMENT_NAME_BYTES];

    segment_name(name, file->epoch);
    return path_join(path, compaction->directory, name);
}

static int index_segment(struct compaction *compaction, struct log_reader *reader,
                         const struct segment_file *file)
{
    struct indexing indexing = {.visitor = {.record = index_record, .damage = index_damage},
                                .compaction = compaction};
    char path[PATH_BYTES_MAX];

    segment_name(indexing.name, file->epoch);
    int rc = path_join(path, compaction->directory, indexing.name);
    if (rc == 0) {
        rc = log_reader_open(reader, path, file->epoch);
    }
    if (rc != 0) {
        return rc;
    }
    reader->lsn = file->lsn;
    if (compaction->to_lsn < file->lsn) {
        compaction->to_lsn = file->lsn; /* What is missing before was reported at the start. */
    }
    return log_reader_walk(reader, &compaction->to_lsn, file->end_lsn, &indexing.visitor);
}

static int index_log(struct compaction *compaction)
{
    struct log_reader reader;
    int rc = 0;

    log_reader_init(&reader, compaction->files, compaction->memory);
    for (uint32_t i = 0; i < compaction->sealed_count && rc == 0; i++) {
        if (compaction->sealed[i].end_lsn > compaction->to_lsn) {
            rc = index_segment(compaction, &reader, &compaction->sealed[i]);
        }
    }
    log_reader_fini(&reader);
    return rc == 1 ? 0 : rc; /* The table is full: a run of its own. */
}

static int compare_entries(const void *left, const void *right)
{
    const struct compaction_entry *a = left, *b = right;
    int order = checkpoint_key_compare(a->key, b->key);

    if (order != 0) {
        return order;
    }
    if (a->lsn != b->lsn) {
        return a->lsn < b->lsn ? -1 : 1;
    }
    return (a->offset > b->offset) - (a->offset < b->offset);
}

/* ---- One key ---- */

static int read_body(struct compaction *compaction, const struct compaction_entry *entry)
{
    uint32_t low = 0, high = compaction->sealed_count - 1;
    char path[PATH_BYTES_MAX];

    while (low < high) { /* The last segment that begins at or before the record. */
        uint32_t middle = low + (high - low + 1) / 2;
        if (compaction->sealed[middle].lsn <= entry->lsn) {
            low = middle;
        } else {
            high = middle - 1;
        }
    }
    const struct segment_file *file = &compaction->sealed[low];
    int *fd = &compaction->fds[low];
    if (*fd < 0) {
        int rc = segment_path(compaction, file, path);
        if (rc == 0) {
            rc = compaction->files->open(compaction->files, path, O_RDONLY);
        }
        if (rc < 0) {
            return rc;
        }
        *fd = rc;
    }
    compaction->body.size = 0;
    int rc = buffer_reserve(&compaction->body, entry->size);
    if (rc != 0) {
        return rc;
    }
    int64_t got =
        compaction->files->read(compaction->files, *fd, compaction->body.data, entry->size,
                                LOG_HEADER_BYTES + (entry->lsn - file->lsn) + entry->offset);
    if (got != (int64_t)entry->size) {
        return got < 0 ? (int)got : -EIO;
    }
    compaction->body.size = entry->size;
    return 0;
}

static void report_baseless(const struct compaction *compaction,
                            const struct compaction_entry *entry, int error)
{
    const struct store_report report = {
        .event = STORE_LOG_BASELESS,
        .shard = compaction->shard,
        .lsn = entry->lsn,
        .size = entry->size,
        .key = session_key(buffer_bytes(&compaction->body)),
        .error = error,
    };

    compaction->reporter->report(compaction->reporter, &report);
}

static int touch(const struct compaction *compaction, struct bytes record, struct buffer *to)
{
    struct reader reader = reader_of(buffer_bytes(&compaction->body));
    uint64_t ms = read_varint(&reader);

    to->size = 0;
    int rc = buffer_append(to, record);
    if (rc == 0 && record.size > 0 && !reader.bad) {
        session_touch_in_place(to->data, to->size, ms);
    }
    return rc;
}

/* Bring one entry's body into the copy so far, which lies in neither `to` nor the body. */
static int apply(struct compaction *compaction, const struct compaction_entry *entry,
                 struct bytes record, struct buffer *to)
{
    struct bytes body = buffer_bytes(&compaction->body);
    int rc;

    if (entry->kind == LOG_TOUCH) {
        return touch(compaction, record, to);
    }
    to->size = 0;
    if (entry->kind == LOG_DELTA) {
        rc = session_apply_delta(record, body, to);
    } else if (record.size == 0) {
        rc = buffer_append(to, body);
    } else {
        rc = session_merge(record, body, to);
    }
    if (rc == -ESTALE || rc == -EBADMSG) {
        report_baseless(compaction, entry, rc);
        to->size = 0;
        rc = buffer_append(to, record);
    }
    return rc;
}

/* All entries of one key. `record` is what the checkpoint has; set to what it shall have. */
static int apply_all(struct compaction *compaction, const struct compaction_entry entries[],
                     size_t count, struct bytes *record)
{
    size_t first = 0;
    unsigned turn = 0;

    for (size_t i = 0; i < count; i++) {
        first = entries[i].kind == LOG_BURY ? i + 1 : first;
    }
    struct bytes present = first > 0 ? bytes_of(NULL, 0) : *record;
    for (size_t i = first; i < count; i++) {
        struct buffer *to = &compaction->records[turn];
        int rc = read_body(compaction, &entries[i]);
        if (rc == 0) {
            rc = apply(compaction, &entries[i], present, to);
        }
        if (rc != 0) {
            return rc;
        }
        present = buffer_bytes(to);
        turn ^= 1;
    }
    *record = present;
    return 0;
}

static size_t group_size(const struct compaction_entry entries[], size_t count)
{
    size_t size = 1;

    while (size < count && checkpoint_key_compare(entries[0].key, entries[size].key) == 0) {
        size++;
    }
    return size;
}

/* ---- In place ---- */

static int change_group(struct compaction *compaction, const struct compaction_entry entries[],
                        size_t count)
{
    struct bytes record;

    int rc = checkpoint_change_get(compaction->checkpoint, entries[0].key, &record);
    if (rc != 0) {
        return rc;
    }
    size_t old_bytes = record.size;
    rc = apply_all(compaction, entries, count, &record);
    if (rc != 0 || (record.size == 0 && old_bytes == 0)) {
        return rc;
    }
    return checkpoint_change_put(compaction->checkpoint, entries[0].key, record, old_bytes);
}

/* One transaction. */
static int change_slice(struct compaction *compaction, const struct compaction_entry entries[],
                        size_t count, uint64_t end_lsn)
{
    int rc = checkpoint_change_begin(compaction->checkpoint);
    if (rc != 0) {
        return rc;
    }
    for (size_t i = 0; i < count && rc == 0;) {
        size_t size = group_size(entries + i, count - i);
        rc = breathe(compaction) ? -ECANCELED : change_group(compaction, entries + i, size);
        i += size;
    }
    if (rc != 0) {
        checkpoint_change_abort(compaction->checkpoint);
        return rc;
    }
    return checkpoint_change_commit(compaction->checkpoint, end_lsn);
}

/* Slices are parts of the log, so that each commit covers a prefix of it. */
static int change_in_place(struct compaction *compaction)
{
    struct compaction_entry *entries = entries_of(compaction);
    size_t count = entry_count(compaction);
    int rc = 0;

    for (size_t at = 0; rc == 0 && (at < count || at == 0);) {
        size_t end = count - at < COMPACTION_IN_PLACE_MAX ? count : at + COMPACTION_IN_PLACE_MAX;
        while (end < count && entries[end].lsn == entries[end - 1].lsn) {
            end++; /* A batch is one. */
        }
        uint64_t end_lsn = end < count ? entries[end].lsn : compaction->to_lsn;
        if (count > 0) {
            qsort(entries + at, end - at, sizeof *entries, compare_entries);
        }
        while ((rc = change_slice(compaction, entries + at, end - at, end_lsn)) == -EXFULL) {
            rc = checkpoint_grow(compaction->checkpoint);
            if (rc != 0) {
                break;
            }
        }
        at = end;
        if (count == 0) {
            break;
        }
    }
    return rc;
}

/* ---- Afresh ---- */

static int build_merged(struct compaction *compaction)
{
    const struct compaction_entry *entries = entries_of(compaction);
    size_t count = entry_count(compaction), at = 0;
    struct checkpoint_key key = {0};
    struct bytes old = {0};

    int have = checkpoint_read_next(compaction->checkpoint, &key, &old);
    while (have == 1 || (have == 0 && at < count)) {
        int order = have == 0 ? 1 : at == count ? -1 : checkpoint_key_compare(key, entries[at].key);
        struct bytes record = order <= 0 ? old : bytes_of(NULL, 0);
        struct checkpoint_key put_key = order <= 0 ? key : entries[at].key;
        int rc = breathe(compaction) ? -ECANCELED : 0;
        if (rc == 0 && order >= 0) {
            size_t size = group_size(entries + at, count - at);
            rc = apply_all(compaction, entries + at, size, &record);
            at += size;
        }
        if (rc == 0 && record.size > 0) {
            rc = checkpoint_build_put(compaction->checkpoint, put_key, record);
        }
        if (rc != 0) {
            return rc;
        }
        if (order <= 0) {
            have = checkpoint_read_next(compaction->checkpoint, &key, &old);
        }
    }
    return have < 0 ? have : 0;
}

static int build_once(struct compaction *compaction, uint64_t bytes)
{
    int rc = checkpoint_build_begin(compaction->checkpoint, compaction->to_lsn, bytes);
    if (rc != 0) {
        return rc;
    }
    rc = checkpoint_read_begin(compaction->checkpoint);
    if (rc == 0) {
        rc = build_merged(compaction);
    }
    checkpoint_read_end(compaction->checkpoint);
    if (rc != 0) {
        checkpoint_build_abort(compaction->checkpoint);
        return rc;
    }
    return checkpoint_build_commit(compaction->checkpoint);
}

static int build_afresh(struct compaction *compaction, uint64_t bytes)
{
    int rc;

    qsort(entries_of(compaction), entry_count(compaction), sizeof(struct compaction_entry),
          compare_entries);
    while ((rc = build_once(compaction, bytes)) == -EXFULL) {
        rc = checkpoint_grow(compaction->checkpoint);
        if (rc != 0) {
            break;
        }
    }
    return rc;
}

static int compare_lsns(const void *left, const void *right)
{
    const struct compaction_entry *a = left, *b = right;

    if (a->lsn != b->lsn) {
        return a->lsn < b->lsn ? -1 : 1;
    }
    return (a->offset > b->offset) - (a->offset < b->offset);
}

static int bring_in(struct compaction *compaction)
{
    struct checkpoint_info info;
    struct segments_stats stats;

    checkpoint_info(compaction->checkpoint, &info);
    segments_stats(compaction->segments, &stats);
    uint64_t bytes = info.file_bytes + compaction->body_bytes + compaction->body_bytes / 4;
    bool room = compaction->bytes_max == 0 ||
                stats.bytes + info.file_bytes + bytes <= compaction->bytes_max;
    if (entry_count(compaction) * IN_PLACE_PART > info.sessions && room) {
        int rc = build_afresh(compaction, bytes);
        if (rc != -ENOSPC) {
            return rc;
        }
        /* No room for two: then in the one that is there, slower. */
        qsort(entries_of(compaction), entry_count(compaction), sizeof(struct compaction_entry),
              compare_lsns);
    }
    return change_in_place(compaction);
}

/* ---- A run ---- */

static int list_sealed(struct compaction *compaction)
{
    struct memory *memory = compaction->memory;
    uint32_t count = segments_list(compaction->segments, SEGMENT_SEALED, NULL, 0);

    compaction->sealed_count = 0;
    if (count == 0) {
        return 0;
    }
    compaction->sealed = memory->resize(memory, NULL, 0, count * sizeof *compaction->sealed);
    if (compaction->sealed == NULL) {
        return -ENOMEM;
    }
    compaction->fds = memory->resize(memory, NULL, 0, count * sizeof *compaction->fds);
    if (compaction->fds == NULL) {
        memory->resize(memory, compaction->sealed, count * sizeof *compaction->sealed, 0);
        compaction->sealed = NULL;
        return -ENOMEM;
    }
    for (uint32_t i = 0; i < count; i++) {
        compaction->fds[i] = -1;
    }
    compaction->sealed_capacity = count;
    segments_list(compaction->segments, SEGMENT_SEALED, compaction->sealed, count);
    compaction->sealed_count = count; /* More may be sealed by now: the next run's. */
    return 0;
}

static void release(struct compaction *compaction)
{
    struct memory *memory = compaction->memory;

    for (uint32_t i = 0; i < compaction->sealed_count; i++) {
        if (compaction->fds[i] >= 0) {
            (void)posix_fadvise(compaction->fds[i], 0, 0, POSIX_FADV_DONTNEED);
            compaction->files->close(compaction->files, compaction->fds[i]);
        }
    }
    if (compaction->sealed != NULL) {
        uint32_t count = compaction->sealed_capacity;
        memory->resize(memory, compaction->sealed, count * sizeof *compaction->sealed, 0);
        memory->resize(memory, compaction->fds, count * sizeof *compaction->fds, 0);
    }
    compaction->sealed = NULL;
    compaction->fds = NULL;
    compaction->sealed_count = 0;
    buffer_fini(&compaction->entries);
    buffer_fini(&compaction->records[0]);
    buffer_fini(&compaction->records[1]);
    buffer_fini(&compaction->body);
}

static void report_done(const struct compaction *compaction)
{
    struct checkpoint_info info;

    checkpoint_info(compaction->checkpoint, &info);
    const struct store_report report = {
        .event = STORE_CHECKPOINT_DONE,
        .shard = compaction->shard,
        .lsn = info.lsn,
        .size = info.sessions,
        .offset = info.lsn - compaction->from_lsn,
    };
    compaction->reporter->report(compaction->reporter, &report);
}

int compaction_run(struct compaction *compaction)
{
    struct checkpoint_info info;

    checkpoint_info(compaction->checkpoint, &info);
    compaction->from_lsn = compaction->to_lsn = info.lsn;
    compaction->body_bytes = 0;
    compaction->entries.memory = compaction->body.memory = compaction->memory;
    compaction->records[0].memory = compaction->records[1].memory = compaction->memory;
    uint64_t limit = info.sessions / 4;
    limit = limit < COMPACTION_RECORDS_MIN ? COMPACTION_RECORDS_MIN : limit;
    compaction->limit = compaction->records_max != 0 ? compaction->records_max : (uint32_t)limit;

    int rc = list_sealed(compaction);
    if (rc != 0 || compaction->sealed_count == 0) {
        return rc;
    }
    rc = index_log(compaction);
    if (rc == 0) {
        rc = bring_in(compaction);
    }
    checkpoint_info(compaction->checkpoint, &info);
    if (info.lsn > compaction->from_lsn) {
        report_done(compaction);
    }
    release(compaction);
    checkpoint_rest(compaction->checkpoint);
    if (rc == 0) {
        segments_recycle(compaction->segments, info.lsn);
    }
    return rc == 0 ? 1 : rc;
}
