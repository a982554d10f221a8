/* What becomes of one key: the records of the log that still count, brought together in their order. */
#include "compaction_state.h"

#include <errno.h>

#include "session.h"

/* The records of one key while they are brought together. */
struct joining {
    struct compaction *compaction;
    struct checkpoint_key key;
    struct bytes present; /* So far; lies outside of `records[turn]`. */
    unsigned turn;
    uint64_t lsn; /* Of the log record that is brought in. */
};

static const struct compaction_entry *entries_of(const struct compaction *compaction)
{
    return (const struct compaction_entry *)(const void *)compaction->group.data;
}

static uint32_t kind_of(const struct compaction_entry *entry)
{
    return entry->size_kind & ((1U << SEGMENT_ENTRY_KIND_BITS) - 1);
}

static void report_baseless(const struct joining *joining, struct bytes body, int error)
{
    const struct compaction *compaction = joining->compaction;
    const struct store_report report = {
        .event = STORE_LOG_BASELESS,
        .shard = compaction->shard,
        .lsn = joining->lsn,
        .size = body.size,
        .key = session_key(body),
        .error = error,
    };

    compaction->reporter->report(compaction->reporter, &report);
}

static int touch(struct bytes body, struct bytes record, struct buffer *to)
{
    struct reader reader = reader_of(body);
    uint64_t ms = read_varint(&reader);

    int rc = buffer_append(to, record);
    if (rc == 0 && record.size > 0 && !reader.bad) {
        session_touch_in_place(to->data, to->size, ms);
    }
    return rc;
}

/* Bring in one record. */
static int join(struct joining *joining, uint32_t kind, struct bytes body)
{
    struct buffer *to = &joining->compaction->records[joining->turn];
    int rc;

    to->size = 0;
    switch (kind) {
    case LOG_BURY:
    case LOG_DROP:
        joining->present = bytes_of(NULL, 0);
        return 0;
    case LOG_TOUCH:
        rc = touch(body, joining->present, to);
        break;
    case LOG_DELTA:
        rc = session_apply_delta(joining->present, body, to);
        break;
    default:
        rc = joining->present.size == 0 ? buffer_append(to, body)
                                        : session_merge(joining->present, body, to);
        break;
    }
    if (rc == -ESTALE || rc == -EBADMSG) {
        report_baseless(joining, body, rc);
        return 0;
    }
    if (rc == 0) {
        joining->present = buffer_bytes(to);
        joining->turn ^= 1;
    }
    return rc;
}

/* Of a batch, what is about this key. */
static int join_batch(struct joining *joining, struct bytes body)
{
    const struct compaction *compaction = joining->compaction;
    struct reader reader = reader_of(body);
    struct log_batch_item item;
    int rc = 0;

    while (rc == 0 && log_batch_next(&reader, &item) == 1) {
        struct bytes key = log_record_key(item.kind, item.body);
        struct checkpoint_key found = checkpoint_key(compaction->seed, item.position, key);
        if (checkpoint_key_compare(found, joining->key) == 0) {
            rc = join(joining, item.kind, item.body);
        }
    }
    return rc;
}

static bool is_again(const struct compaction_entry entries[], size_t i)
{
    return i > 0 && entries[i].segment == entries[i - 1].segment &&
           entries[i].place == entries[i - 1].place;
}

/* Bring in those from number `first` on; damaged ones were reported and are left out. */
static int join_from(struct joining *joining, size_t first, size_t count, size_t left_out)
{
    struct compaction *compaction = joining->compaction;
    const struct compaction_entry *entries = entries_of(compaction);
    struct log_record record;
    int rc = 0;

    for (size_t i = first; i < count && rc == 0; i++) {
        if (i == left_out || is_again(entries, i)) {
            continue; /* Of a batch that has the key more than once. */
        }
        rc = compaction_read(compaction, &entries[i], &record);
        if (rc == -EBADMSG) {
            rc = 0;
            continue;
        }
        if (rc == 0) {
            joining->lsn =
                compaction_lsn(&compaction->sealed[entries[i].segment], entries[i].place);
            rc = record.kind == LOG_BATCH ? join_batch(joining, record.body)
                                          : join(joining, record.kind, record.body);
        }
    }
    return rc;
}

static struct bytes read_old(struct compaction *compaction, const struct compaction_old *old)
{
    struct bytes record = old->record;

    if (old->unread && !checkpoint_read_record(compaction->checkpoint, &record)) {
        record = bytes_of(NULL, 0);
    }
    return record;
}

int compaction_apply(struct compaction *compaction, struct checkpoint_key key,
                     const struct compaction_old *old, struct bytes *record)
{
    const struct compaction_entry *entries = entries_of(compaction);
    const size_t count = compaction->group.size / sizeof *entries, none = SIZE_MAX;
    size_t first = 0, full = none;
    struct joining joining = {.compaction = compaction, .key = key};
    struct log_record found;
    int rc;

    for (size_t i = 0; i < count; i++) {
        if (kind_of(&entries[i]) == LOG_BURY || kind_of(&entries[i]) == LOG_DROP) {
            first = i + 1;
            full = none;
        } else if (kind_of(&entries[i]) == LOG_FULL) {
            full = i;
        }
    }
    if (full != none) {
        rc = compaction_read(compaction, &entries[full], &found);
        if (rc == 0 && full + 1 == count) {
            *record = found.body;
            return 0;
        }
        if (rc == 0) {
            rc = join(&joining, LOG_FULL, found.body);
            rc = rc != 0 ? rc : join_from(&joining, full + 1, count, none);
            *record = joining.present;
            return rc;
        }
        if (rc != -EBADMSG) {
            return rc;
        }
    }
    joining.present = first > 0 ? bytes_of(NULL, 0) : read_old(compaction, old);
    rc = join_from(&joining, first, count, full);
    *record = joining.present;
    return rc;
}
