/* Checking records and deltas that come from outside, to the last byte: what passes here can be read,
 * joined and written again without a failure, and comes out as the same bytes. */
#include "session.h"

#include <errno.h>
#include <string.h>

#include "alias.h"
#include "limits.h"
#include "record.h"

enum { MARKED = 64 };

struct check {
    struct record record;
    struct birth birth_before;
    uint64_t births_used; /* By entries, the first 64. */
    bool delta;
};

static bool stamp_valid(const struct record *record, struct stamp stamp)
{
    return stamp.hlc != 0 && version_covers(&record->version, stamp);
}

static bool check_base(const struct record *record)
{
    struct reader from = reader_of(record->base);
    uint64_t count = read_varint(&from);
    uint64_t before = UINT64_MAX;

    for (uint64_t i = 0; i < count; i++) {
        uint64_t index = read_varint(&from);
        bool there = read_varint(&from) == 1;
        uint64_t hlc = there ? hlc_read_back(&from, record->version.newest.hlc) : 0;
        if (from.bad || (before != UINT64_MAX && index <= before) ||
            hlc >= version_item(&record->version, (uint32_t)index).hlc) {
            return false;
        }
        before = index;
    }
    return reader_done(&from);
}

/* The head, up to the version. */
static bool check_head(const struct record *record, struct bytes bytes)
{
    struct reader from = reader_of(record->token);
    struct version version;
    uint8_t flags = record->flags;

    if (record->key.size == 0 || record->key.size > KEY_BYTES_MAX) {
        return false;
    }
    if ((flags & RECORD_ACCESS) != 0 &&
        (record->last_access_ms == 0 ||
         record->last_access_ms < hlc_ms(record->version.death.hlc))) {
        return false;
    }
    if ((flags & RECORD_BIRTHS) != 0 && record->birth_count == 1) {
        return false;
    }
    return bytes.data[0] == (record->format | flags) && version_read(&from, true, &version) &&
           reader_done(&from);
}

/* Births are in order, live (but for what has only aliases), and written in the shortest way. */
static bool check_births(const struct record *record)
{
    const struct version *version = &record->version;
    struct reader from = {.at = record->births, .end = record->dedup};
    struct stamp newest = version->newest, before = {0, {0, 0}};

    for (uint32_t i = 0; i < record->birth_count; i++) {
        bool said_newest = from.at < from.end && (*from.at & BIRTH_NEWEST) != 0;
        struct birth birth = birth_read(&from, version);
        if (from.bad || !stamp_valid(record, birth.stamp) ||
            stamp_compare(birth.stamp, before) <= 0 || birth.type > SESSION_ZSET ||
            said_newest != (stamp_compare(birth.stamp, newest) == 0) ||
            (birth.type != 0 && death_ends(version->death, birth.stamp.hlc, birth.blind))) {
            return false;
        }
        before = birth.stamp;
    }
    return reader_done(&from);
}

static bool check_dedup(const struct record *record)
{
    struct reader from = {.at = record->dedup, .end = record->entries};
    const struct version *version = &record->version;
    bool more = (record->flags & RECORD_DEDUP) != 0;
    struct stamp newest = version->newest;
    struct stamp before = {UINT64_MAX, {UINT32_MAX, UINT32_MAX}};
    uint64_t floor = 0;

    if ((record->flags & RECORD_FLOOR) != 0) {
        floor = hlc_read_back(&from, version->newest.hlc);
    }
    while (more) { /* They are not too many: it was opened. */
        struct reader peek = from;
        bool said_newest = (read_varint(&peek) & 2) != 0;
        struct dedup_item item;
        more = dedup_read_item(&from, version, &item);
        if (from.bad || !stamp_valid(record, item.stamp) ||
            stamp_compare(item.stamp, before) >= 0 || item.client == 0 ||
            (item.stamp.hlc <= floor && !dedup_is_receipt(&item)) ||
            item.results.size > DEDUP_RESULT_BYTES_MAX ||
            said_newest != (stamp_compare(item.stamp, newest) == 0)) {
            return false;
        }
        before = item.stamp;
    }
    return reader_done(&from);
}

static bool check_stamp_form(const struct record *record, uint8_t head, const struct entry *entry)
{
    uint8_t form = (head >> ENTRY_STAMP_SHIFT) & ENTRY_STAMP_MASK;

    if (stamp_compare(entry->stamp, entry->birth.stamp) == 0) {
        return form == ENTRY_AT_BIRTH;
    }
    if (stamp_compare(entry->stamp, record->version.newest) == 0) {
        return form == ENTRY_AT_NEWEST;
    }
    return form == ENTRY_STAMPED;
}

/* Readers of a sorted set take its scores as they are. */
static bool check_score(const struct entry *entry)
{
    double score;

    if (entry->kind != ENTRY_FIELD || entry->value.size != sizeof score) {
        return false;
    }
    uint64_t bits = load_u64(entry->value.data);
    memcpy(&score, &bits, sizeof score);
    return score == score; /* A number. */
}

static bool check_value(const struct entry *entry)
{
    struct alias alias;

    switch (entry->kind) {
    case ENTRY_OWNER:
        return entry->value.size > 0 && entry->value.size <= OWNER_BYTES_MAX;
    case ENTRY_ALIAS:
        return alias_read(entry->value, &alias);
    case ENTRY_ABSOLUTE:
    case ENTRY_IDLE:
        return entry->ms != 0 && entry->ms >> 48 == 0;
    default:
        return entry->name.size <= FIELD_NAME_BYTES_MAX && entry->deadline_ms >> 48 == 0 &&
               (entry->birth.type != SESSION_ZSET || check_score(entry));
    }
}

static bool check_entry(struct check *check, uint8_t head, const struct entry *entry)
{
    const struct record *record = &check->record;
    bool until = (head & ENTRY_UNTIL) != 0;
    uint8_t kind = head & ENTRY_KIND_MASK;

    /* A field without name has its own kind. */
    if (kind == ENTRY_FIELD && entry->name.size == 0) {
        return false;
    }
    if (entry->gone) {
        return entry->name.size <= FIELD_NAME_BYTES_MAX;
    }
    if (entry->birth_index < MARKED) {
        check->births_used |= UINT64_C(1) << entry->birth_index;
    }
    if (((head & ENTRY_OTHER_BIRTH) != 0) != (entry->birth_index != 0) ||
        until != (entry->deadline_ms != 0) || (until && entry->kind < ENTRY_FIELD)) {
        return false;
    }
    if (entry->base.hlc != 0 && !stamp_valid(record, entry->base)) {
        return false;
    }
    if (entry->kind != ENTRY_ALIAS &&
        death_ends(record->version.death, entry->birth.stamp.hlc, entry->birth.blind)) {
        return false;
    }
    return stamp_valid(record, entry->stamp) && check_stamp_form(record, head, entry) &&
           check_value(entry);
}

static bool check_entries(struct check *check)
{
    struct entry_walk walk = entry_walk(&check->record);
    struct entry entry, before = {0};
    bool before_gone = false;

    for (uint32_t i = 0; walk.in.at < walk.in.end; i++) {
        uint8_t head = *walk.in.at;
        if (!entry_next(&walk, &entry) || !check_entry(check, head, &entry)) {
            return false;
        }
        if (i > 0 && entry_compare(&before, &entry) >= 0) {
            return false;
        }
        /* What is gone has no entries. */
        if (before_gone && entry_compare_names(&before, &entry) == 0) {
            return false;
        }
        if (((head & ENTRY_LAST) != 0) != (walk.in.at == walk.in.end)) {
            return false;
        }
        before = entry;
        before_gone = entry.gone;
    }
    return !walk.in.bad;
}

static bool is_referred_to(const struct record *record, uint32_t birth_index)
{
    struct entry_walk walk = entry_walk(record);
    struct entry entry;

    while (entry_next(&walk, &entry)) {
        if (!entry.gone && entry.birth_index == birth_index) {
            return true;
        }
    }
    return false;
}

/* Every birth is referred to: by its type, which in a delta is not enough, or by an entry. */
static bool check_births_used(const struct check *check)
{
    for (uint32_t i = 0; i < check->record.birth_count; i++) {
        bool used =
            i < MARKED ? (check->births_used >> i & 1) != 0 : is_referred_to(&check->record, i);
        if (!used && (check->delta || record_birth(&check->record, i).type == 0)) {
            return false;
        }
    }
    return true;
}

static int check_bytes(struct bytes bytes, uint8_t format)
{
    struct check check = {.delta = format == RECORD_DELTA};
    int rc = record_open(&check.record, bytes, format);

    if (rc != 0) {
        return rc;
    }
    bool good = check_head(&check.record, bytes) && check_births(&check.record) &&
                check_dedup(&check.record) && check_entries(&check) && check_births_used(&check);
    if (good && check.delta) {
        good = check_base(&check.record);
    }
    return good ? 0 : -EBADMSG;
}

int session_check(struct bytes record)
{
    return check_bytes(record, RECORD_FORMAT);
}

int session_check_delta(struct bytes delta)
{
    return check_bytes(delta, RECORD_DELTA);
}
