#include "record.h"

#include <errno.h>

#include "change.h"

static void fail(struct reader *from)
{
    from->bad = true;
    from->at = from->end;
}

struct stamp stamp_read(struct reader *from, const struct version *version)
{
    uint64_t index = version->count > 1 ? quick_varint(from) : 0;
    struct stamp stamp = {.hlc = hlc_read_back(from, version->newest.hlc)};

    if (index >= version->count) {
        fail(from);
        return (struct stamp){0, {0, 0}};
    }
    stamp.actor = version_item(version, (uint32_t)index).actor;
    return stamp;
}

uint8_t *stamp_put(uint8_t *to, const struct version *version, struct stamp stamp)
{
    if (version->count > 1) {
        to = varint_put(to, version_index(version, stamp.actor));
    }
    return hlc_put_back(to, version->newest.hlc, stamp.hlc);
}

struct birth birth_read(struct reader *from, const struct version *version)
{
    uint8_t head = read_u8(from);
    struct birth birth = {
        .type = (head >> BIRTH_TYPE_SHIFT) & BIRTH_TYPE_MASK,
        .blind = (head & BIRTH_BLIND) != 0,
        .fades = (head & BIRTH_FADES) != 0,
    };

    if (head >= BIRTH_FADES << 1 || (birth.fades && birth.type != 0 && birth.type != SESSION_MAP)) {
        fail(from);
    }
    birth.stamp = (head & BIRTH_NEWEST) != 0 ? version->newest : stamp_read(from, version);
    return birth;
}

/* Skip over the base of a delta: its bytes are looked at when it is applied. */
static struct bytes skip_base(struct reader *from, const struct version *version)
{
    const uint8_t *start = from->at;
    uint64_t count = quick_varint(from);

    for (uint64_t i = 0; i < count && !from->bad; i++) {
        uint64_t index = quick_varint(from);
        uint64_t was = quick_varint(from);
        if (index >= version->count || was > 1) {
            fail(from);
        } else if (was == 1) {
            hlc_read_back(from, version->newest.hlc);
        }
    }
    return bytes_of(start, (size_t)(from->at - start));
}

static void open_births(struct record *record, struct reader *from)
{
    uint64_t count = 1;

    if ((record->flags & RECORD_BIRTHS) != 0) {
        count = quick_varint(from);
        if (count == 1 || count > reader_left(from)) {
            fail(from);
            count = 0;
        }
    }
    record->birth_count = (uint32_t)count;
    record->life_first = 0;
    if (record->format == RECORD_COLD && (record->flags & RECORD_BIRTHS) != 0) {
        const uint64_t first = quick_varint(from);
        if (first > 0 && first >= count) {
            fail(from);
        } else {
            record->life_first = (uint32_t)first;
        }
    }
    record->births = from->at;
    for (uint32_t i = 0; i < record->birth_count && !from->bad; i++) {
        struct birth birth = birth_read(from, &record->version);
        if (i < RECORD_BIRTHS_CACHED) {
            record->birth_cache[i] = birth;
        }
    }
}

/* The items go to `to`, which may be NULL. */
static void read_dedup(const struct record *record, struct reader *from, struct dedup *to)
{
    struct dedup_item passed;
    bool more = (record->flags & RECORD_DEDUP) != 0;
    uint64_t floor = 0;
    uint32_t count = 0, receipts = 0;

    if ((record->flags & RECORD_FLOOR) != 0) {
        floor = hlc_read_back(from, record->version.newest.hlc);
    }
    while (more) {
        struct dedup_item *item = to != NULL && count < DEDUP_ROOM ? &to->items[count] : &passed;
        more = dedup_read_item(from, &record->version, item);
        receipts += dedup_is_receipt(item);
        count++;
        if (receipts > DEDUP_RECEIPTS_MAX || count - receipts > DEDUP_ITEMS_MAX) {
            fail(from);
            count = 0;
            break;
        }
    }
    if (to != NULL) {
        to->floor = floor;
        to->count = count;
    }
}

/* Up to the version. */
static void open_head(struct record *record, struct reader *from, uint8_t format)
{
    uint8_t first = read_u8(from);

    record->format = format;
    record->flags = first & 0x0f;
    if (from->bad || (first & 0xf0) != format) {
        fail(from);
    }
    record->last_access_ms = 0;
    if ((first & RECORD_ACCESS) != 0) {
        struct bytes ms = read_bytes(from, RECORD_ACCESS_BYTES);
        if (ms.size == RECORD_ACCESS_BYTES) {
            record->last_access_ms = load_u32(ms.data) | (uint64_t)load_u16(ms.data + 4) << 32;
        }
    }
    record->key = quick_bytes(from, quick_varint(from));
    record->token.data = from->at;
    version_read(from, false, &record->version);
    record->token.size = (size_t)(from->at - record->token.data);
}

int record_open_head(struct record *record, struct bytes bytes, uint8_t format)
{
    struct reader from = reader_of(bytes);

    open_head(record, &from, format);
    return from.bad ? -EBADMSG : 0;
}

int record_open_dedup(struct record *record, struct bytes bytes, uint8_t format,
                      struct dedup *dedup)
{
    struct reader from = reader_of(bytes);

    open_head(record, &from, format);
    record->base = bytes_of(from.at, 0);
    if (format == RECORD_DELTA) {
        record->base = skip_base(&from, &record->version);
    }
    record->whole_log2 = format == RECORD_COLD ? read_u8(&from) : 0;
    record->fields_end_ms = 0;
    if ((record->whole_log2 & COLD_FIELDS_END) != 0) {
        record->whole_log2 &= (uint8_t)~COLD_FIELDS_END;
        record->fields_end_ms = read_varint(&from);
    }
    record->whole_hash = format == RECORD_COLD ? read_u64(&from) : 0;
    open_births(record, &from);
    record->dedup = from.at;
    read_dedup(record, &from, dedup);
    record->entries = from.at;
    record->end = from.end;
    return from.bad ? -EBADMSG : 0;
}

int record_open(struct record *record, struct bytes bytes, uint8_t format)
{
    return record_open_dedup(record, bytes, format, NULL);
}

void record_init(struct record *record, struct bytes key)
{
    static const uint8_t nothing[1];

    version_init(&record->version);
    record->key = key;
    record->token = bytes_of(nothing, 0);
    record->format = RECORD_FORMAT;
    record->flags = 0;
    record->birth_count = 0;
    record->last_access_ms = 0;
    record->base = bytes_of(nothing, 0);
    record->whole_log2 = 0;
    record->whole_hash = 0;
    record->fields_end_ms = 0;
    record->life_first = 0;
    record->births = record->dedup = record->entries = record->end = nothing;
}

struct birth record_birth_read(const struct record *record, uint32_t index)
{
    struct reader from = {.at = record->births, .end = record->end};
    struct birth birth = birth_read(&from, &record->version);
    while (index-- > 0) {
        birth = birth_read(&from, &record->version);
    }
    return birth;
}

void record_dedup(const struct record *record, struct dedup *dedup)
{
    struct reader from = {.at = record->dedup, .end = record->entries};

    read_dedup(record, &from, dedup);
}

int entry_compare_names(const struct entry *a, const struct entry *b)
{
    bool user_a = a->kind >= ENTRY_FIELD, user_b = b->kind >= ENTRY_FIELD;

    if (user_a && user_b) {
        return bytes_compare(a->name, b->name);
    }
    return (a->kind > b->kind) - (a->kind < b->kind);
}

int entry_compare(const struct entry *a, const struct entry *b)
{
    int order = entry_compare_names(a, b);

    if (order == 0 && a->kind != b->kind) {
        order = a->kind < b->kind ? -1 : 1;
    }
    return order != 0 ? order : stamp_compare(a->stamp, b->stamp);
}

struct entry_walk entry_walk(const struct record *record)
{
    return (struct entry_walk){
        .record = record,
        .in = {.at = record->entries, .end = record->end},
    };
}

static uint64_t add_signed(uint64_t base, uint64_t zigzagged)
{
    return base + (uint64_t)unzigzag(zigzagged);
}

static void read_value(struct entry_walk *walk, uint8_t head, struct entry *entry)
{
    struct reader *in = &walk->in;

    switch (entry->kind) {
    case ENTRY_ABSOLUTE:
        entry->ms = add_signed(hlc_ms(entry->birth.stamp.hlc), quick_varint(in));
        break;
    case ENTRY_IDLE:
        entry->ms = quick_varint(in);
        break;
    case ENTRY_SUM:
        entry->sum = unzigzag(quick_varint(in));
        break;
    default:
        entry->value =
            quick_bytes(in, (head & ENTRY_LAST) != 0 ? reader_left(in) : quick_varint(in));
    }
}

static void read_sum_base(struct entry_walk *walk, struct entry *entry)
{
    const struct version *version = &walk->record->version;
    uint64_t index = quick_varint(&walk->in);

    if (index == 0) {
        return;
    }
    entry->base.hlc = hlc_read_back(&walk->in, version->newest.hlc);
    if (index > version->count) {
        fail(&walk->in);
        return;
    }
    entry->base.actor = version_item(version, (uint32_t)(index - 1)).actor;
}

static void read_other_birth(struct entry_walk *walk, struct entry *entry)
{
    uint64_t index = quick_varint(&walk->in);

    if (index >= walk->record->birth_count) {
        fail(&walk->in);
        return;
    }
    entry->birth_index = (uint32_t)index;
    entry->birth = record_birth(walk->record, entry->birth_index);
}

static void read_gone(struct entry_walk *walk, uint8_t head, struct entry *entry)
{
    entry->gone = true;
    entry->birth = (struct birth){.type = 0};
    if (walk->record->format != RECORD_DELTA || entry->kind == ENTRY_SUM ||
        (head & (ENTRY_OTHER_BIRTH | ENTRY_UNTIL)) != 0) {
        fail(&walk->in);
    }
    if (entry->kind == ENTRY_FIELD && (head & ENTRY_KIND_MASK) != ENTRY_BLANK) {
        entry->name = quick_bytes(&walk->in, quick_varint(&walk->in));
    }
}

/* All but what only some kinds have. */
static void begin_entry(const struct record *record, uint8_t kind, struct entry *entry)
{
    static const struct birth none;

    entry->kind = kind == ENTRY_BLANK ? ENTRY_FIELD : kind;
    entry->gone = false;
    entry->birth_index = 0;
    entry->birth = record->birth_count > 0 ? record->birth_cache[0] : none;
    entry->stamp = none.stamp;
    entry->base = none.stamp;
    entry->name = entry->value = bytes_of(record->end, 0);
    entry->ms = entry->deadline_ms = 0;
    entry->sum = 0;
}

static void read_entry(struct entry_walk *walk, uint8_t head, struct entry *entry)
{
    const struct record *record = walk->record;
    uint8_t form = (head >> ENTRY_STAMP_SHIFT) & ENTRY_STAMP_MASK;
    struct reader *in = &walk->in;

    if ((head & ENTRY_OTHER_BIRTH) != 0) {
        read_other_birth(walk, entry);
    } else if (record->birth_count == 0) {
        fail(in);
    }
    if (entry->kind >= ENTRY_FIELD && (head & ENTRY_KIND_MASK) != ENTRY_BLANK) {
        entry->name = quick_bytes(in, quick_varint(in));
    }
    entry->stamp = form == ENTRY_AT_BIRTH    ? entry->birth.stamp
                   : form == ENTRY_AT_NEWEST ? record->version.newest
                                             : stamp_read(in, &record->version);
    if (entry->kind == ENTRY_SUM) {
        read_sum_base(walk, entry);
    }
    if ((head & ENTRY_UNTIL) != 0) {
        entry->deadline_ms = add_signed(hlc_ms(entry->stamp.hlc), quick_varint(in));
    }
    read_value(walk, head, entry);
}

bool entry_next(struct entry_walk *walk, struct entry *entry)
{
    struct reader *in = &walk->in;

    if (in->at == in->end) {
        return false;
    }
    uint8_t head = *in->at++;
    uint8_t kind = head & ENTRY_KIND_MASK;
    begin_entry(walk->record, kind, entry);
    if (kind > ENTRY_BLANK) {
        fail(in);
    } else if (((head >> ENTRY_STAMP_SHIFT) & ENTRY_STAMP_MASK) == ENTRY_GONE) {
        read_gone(walk, head, entry);
    } else {
        read_entry(walk, head, entry);
    }
    if ((head & ENTRY_LAST) != 0 && in->at != in->end) {
        fail(in);
    }
    return !in->bad;
}

int delta_base_covered(const struct record *delta, const struct version *version)
{
    struct reader from = reader_of(delta->base);
    uint64_t changed = quick_varint(&from);
    struct version_walk walk = version_walk(&delta->version);
    struct version_item item;
    uint64_t index = changed > 0 ? quick_varint(&from) : UINT64_MAX;

    for (uint32_t i = 0; version_next(&walk, &item); i++) {
        uint64_t hlc = item.hlc;
        if (i == index) {
            hlc = quick_varint(&from) == 1 ? hlc_read_back(&from, delta->version.newest.hlc) : 0;
            index = --changed > 0 ? quick_varint(&from) : UINT64_MAX;
        }
        if (from.bad) {
            return -EBADMSG;
        }
        if (hlc > version_seen(version, item.actor)) {
            return 0;
        }
    }
    return reader_done(&from) ? 1 : -EBADMSG;
}
