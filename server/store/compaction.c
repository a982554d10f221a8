#include "compaction.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>

#include "compaction_state.h"

enum {
    IN_PLACE_PART = 16, /* Measured: a change in place costs about what 25 records of a build do. */
    BREATH_RECORDS = 256,
};

bool compaction_breathe(struct compaction *compaction)
{
    if (++compaction->breath < BREATH_RECORDS) {
        return false;
    }
    compaction->breath = 0;
    return compaction->breathe(compaction->context);
}

/* ---- In place ---- */

/* The key of the group. */
static int change_group(struct compaction *compaction, struct checkpoint_key key)
{
    struct compaction_old old = {0};
    struct bytes record;

    int rc = checkpoint_change_get(compaction->checkpoint, key, &old.record);
    if (rc == 0) {
        rc = compaction_apply(compaction, key, &old, &record);
    }
    if (rc != 0 || (record.size == 0 && old.record.size == 0)) {
        return rc;
    }
    return checkpoint_change_put(compaction->checkpoint, key, record, old.record.size);
}

static bool is_same_key(const struct segment_entry *a, const struct segment_entry *b)
{
    return a->position == b->position && a->fingerprint == b->fingerprint;
}

/* One transaction over sorted entries of one segment. */
static int change_slice(struct compaction *compaction, uint32_t segment,
                        const struct segment_entry entries[], size_t count, uint64_t end_lsn)
{
    int rc = checkpoint_change_begin(compaction->checkpoint);

    for (size_t i = 0, next = 0; i < count && rc == 0; i = next) {
        const struct checkpoint_key key = {entries[i].position, entries[i].fingerprint};
        compaction->group.size = 0;
        while (rc == 0 && next < count && is_same_key(&entries[i], &entries[next])) {
            rc = compaction_group_add(compaction, segment, &entries[next++]);
        }
        if (rc == 0) {
            rc = compaction_breathe(compaction) ? -ECANCELED : change_group(compaction, key);
        }
    }
    if (rc == 0) {
        rc = compaction->keep_lacks(compaction->context);
    }
    if (rc != 0) {
        checkpoint_change_abort(compaction->checkpoint);
        return rc;
    }
    return checkpoint_change_commit(compaction->checkpoint, end_lsn, compaction->hlc);
}

static int compare_places(const void *left, const void *right)
{
    const struct segment_entry *a = left, *b = right;

    return (a->place > b->place) - (a->place < b->place);
}

/* The end of the slice that begins at `at`: so many records, and so many bytes, go into one transaction, which
 * writes them to the device all at once and so holds up what the log writes meanwhile. */
static size_t slice_end(const struct segment_entry entries[], size_t at, size_t count)
{
    size_t end = at;

    for (uint64_t bytes = 0; end < count && end - at < COMPACTION_IN_PLACE_MAX; end++) {
        bytes += segment_entry_size(&entries[end]);
        if (bytes > COMPACTION_IN_PLACE_BYTES && end > at) {
            break;
        }
    }
    while (end > at && end < count && entries[end].place == entries[end - 1].place) {
        end++; /* A batch is one. */
    }
    return end;
}

/* Slices are parts of the log, so that each commit covers a prefix of it. */
static int change_segment(struct compaction *compaction, uint32_t number)
{
    struct compaction_segment *segment = &compaction->sealed[number];

    int rc = compaction_whole_index(compaction, segment);
    if (rc == 0) {
        rc = compaction_fetch(compaction, segment);
    }
    if (rc != 0) {
        return rc;
    }
    struct segment_entry *entries = segment->index.entries;
    size_t count = segment->index.count, at = 0;
    if (count > 0) {
        qsort(entries, count, sizeof *entries, compare_places);
    }
    while (at < count && compaction_lsn(segment, entries[at].place) < compaction->from_lsn) {
        at++;
    }
    do {
        size_t end = slice_end(entries, at, count);
        uint64_t end_lsn =
            end < count ? compaction_lsn(segment, entries[end].place) : segment->file.end_lsn;
        if (end > at) {
            segment_entries_sort(entries + at, end - at);
        }
        while ((rc = change_slice(compaction, number, entries + at, end - at, end_lsn)) ==
               -EXFULL) {
            rc = checkpoint_grow(compaction->checkpoint);
            if (rc != 0) {
                break;
            }
        }
        at = end;
    } while (rc == 0 && at < count);
    return rc;
}

static int change_in_place(struct compaction *compaction)
{
    int rc = 0;

    for (uint32_t i = 0; i < compaction->sealed_count && rc == 0; i++) {
        rc = change_segment(compaction, i);
        segment_index_fini(&compaction->sealed[i].index);
    }
    return rc;
}

/* ---- Afresh ---- */

/* One key of the old checkpoint (`order` below 0), of the log (above), or of both. */
static int build_key(struct compaction *compaction, int order, struct checkpoint_key key)
{
    const struct compaction_old old = {.unread = order <= 0};
    struct bytes record = {0};

    if (compaction_breathe(compaction)) {
        return -ECANCELED;
    }
    if (order >= 0) {
        int rc = compaction_apply(compaction, key, &old, &record);
        if (rc != 0) {
            return rc;
        }
    } else if (!checkpoint_read_record(compaction->checkpoint, &record)) {
        return 0;
    }
    return record.size == 0 ? 0 : checkpoint_build_put(compaction->checkpoint, key, record);
}

static int build_merged(struct compaction *compaction)
{
    struct checkpoint_key old_key = {0}, log_key = {0};

    int old = checkpoint_read_key(compaction->checkpoint, &old_key);
    int log = compaction_merge_next(compaction, &log_key);
    while (old >= 0 && log >= 0 && old + log > 0) {
        int order = old == 0 ? 1 : log == 0 ? -1 : checkpoint_key_compare(old_key, log_key);
        int rc = build_key(compaction, order, order <= 0 ? old_key : log_key);
        if (rc != 0) {
            return rc;
        }
        if (order <= 0) {
            old = checkpoint_read_key(compaction->checkpoint, &old_key);
        }
        if (order >= 0) {
            log = compaction_merge_next(compaction, &log_key);
        }
    }
    return old < 0 ? old : log;
}

static int build_once(struct compaction *compaction, uint64_t bytes)
{
    int rc =
        checkpoint_build_begin(compaction->checkpoint, compaction->to_lsn, compaction->hlc, bytes);
    if (rc != 0) {
        return rc;
    }
    rc = checkpoint_read_begin(compaction->checkpoint);
    if (rc == 0) {
        rc = compaction_merge_begin(compaction);
    }
    if (rc == 0) {
        rc = build_merged(compaction);
    }
    compaction_merge_end(compaction);
    checkpoint_read_end(compaction->checkpoint);
    if (rc == 0) {
        rc = compaction->keep_lacks(compaction->context);
    }
    if (rc != 0) {
        checkpoint_build_abort(compaction->checkpoint);
        return rc;
    }
    return checkpoint_build_commit(compaction->checkpoint);
}

static int build_afresh(struct compaction *compaction, uint64_t bytes)
{
    int rc = 0;

    for (uint32_t i = 0; i < compaction->sealed_count && rc == 0; i++) {
        rc = compaction_fetch(compaction, &compaction->sealed[i]);
    }
    while (rc == 0 && (rc = build_once(compaction, bytes)) == -EXFULL) {
        rc = checkpoint_grow(compaction->checkpoint);
    }
    return rc;
}

static int bring_in(struct compaction *compaction)
{
    struct checkpoint_info info;
    struct segments_stats stats;

    checkpoint_info(compaction->checkpoint, &info);
    segments_stats(compaction->segments, &stats);
    uint64_t bytes = info.file_bytes + compaction->log_bytes + compaction->log_bytes / 4;
    bool room = compaction->bytes_max == 0 ||
                stats.bytes + info.file_bytes + bytes <= compaction->bytes_max;
    bool much = compaction->record_count * IN_PLACE_PART > info.sessions;
    if ((much || checkpoint_is_broken(compaction->checkpoint)) && room) {
        int rc = build_afresh(compaction, bytes);
        if (rc != -ENOSPC) {
            return rc;
        }
        /* No room for two: then in the one that is there, slower. */
    }
    return change_in_place(compaction);
}

/* ---- A run ---- */

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

static void begin(struct compaction *compaction)
{
    struct checkpoint_info info;

    checkpoint_info(compaction->checkpoint, &info);
    compaction->failed[0] = '\0';
    compaction->from_lsn = compaction->to_lsn = info.lsn;
    compaction->hlc = info.hlc;
    compaction->record_count = compaction->made_count = compaction->log_bytes = 0;
    compaction->group.memory = compaction->scratch.memory = compaction->memory;
    compaction->records[0].memory = compaction->records[1].memory = compaction->memory;
}

static void release(struct compaction *compaction)
{
    compaction_segments_fini(compaction);
    buffer_fini(&compaction->group);
    buffer_fini(&compaction->records[0]);
    buffer_fini(&compaction->records[1]);
    buffer_fini(&compaction->scratch);
    checkpoint_rest(compaction->checkpoint);
}

int compaction_run(struct compaction *compaction)
{
    struct checkpoint_info info;

    begin(compaction);
    int rc = compaction_segments_init(compaction);
    bool sealed = compaction->sealed_count > 0;
    if (rc == 0 && sealed) {
        rc = bring_in(compaction);
    }
    checkpoint_info(compaction->checkpoint, &info);
    if (info.lsn > compaction->from_lsn) {
        report_done(compaction);
    }
    release(compaction);
    if (rc == 0) {
        rc = checkpoint_make_name_sure(
            compaction->checkpoint); /* Of this run, or of one that failed at that. */
    }
    if (rc == 0) {
        segments_recycle(compaction->segments, info.lsn);
    }
    return rc != 0 ? rc : sealed;
}
