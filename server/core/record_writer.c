/* Writing of the format in record.h. */
#include "record.h"

#include <assert.h>
#include <errno.h>
#include <string.h>

enum {
    STAMP_BYTES_MAX = 5 + HLC_BYTES_MAX,
    BIRTH_BYTES_MAX = 1 + STAMP_BYTES_MAX,
    /* Of an entry but for its name and value. */
    ENTRY_FIXED_BYTES_MAX = 1 + 5 + 5 + STAMP_BYTES_MAX + STAMP_BYTES_MAX + 10 + 10,
};

/* Make room. What was written may move: what points into it follows. */
static bool room(struct record_writer *writer, size_t bytes)
{
    if (writer->rc != 0) {
        return false;
    }
    writer->rc = buffer_reserve(writer->out, bytes);
    if (writer->rc == 0 && writer->version.count > VERSION_CACHED) {
        writer->version.rest = writer->out->data + writer->version_at;
        writer->version.rest_end = writer->out->data + writer->version_end;
    }
    return writer->rc == 0;
}

static uint8_t *at(const struct record_writer *writer)
{
    return writer->out->data + writer->out->size;
}

static void advance(struct record_writer *writer, const uint8_t *end)
{
    writer->out->size = (size_t)(end - writer->out->data);
    assert(writer->out->size <= writer->out->capacity);
}

/* What of the version was another in the base. */
static void write_base(struct record_writer *writer, const struct version *base)
{
    struct version_item item;
    uint32_t changed = 0;

    if (!room(writer, 5 + (size_t)writer->version.count * (6 + HLC_BYTES_MAX))) {
        return;
    }
    struct version_walk walk = version_walk(&writer->version);
    while (version_next(&walk, &item)) {
        changed += version_seen(base, item.actor) != item.hlc;
    }
    uint8_t *to = varint_put(at(writer), changed);
    walk = version_walk(&writer->version);
    while (version_next(&walk, &item)) {
        uint64_t hlc = version_seen(base, item.actor);
        if (hlc != item.hlc) {
            to = varint_put(to, walk.index - 1);
            *to++ = hlc != 0;
            to = hlc != 0 ? hlc_put_back(to, writer->version.newest.hlc, hlc) : to;
        }
    }
    advance(writer, to);
}

static uint8_t head_flags(const struct record_head *head)
{
    uint8_t flags = 0;

    if (head->last_access_ms >= hlc_ms(head->death.hlc) && head->last_access_ms != 0) {
        flags |= RECORD_ACCESS;
    }
    if (head->dedup->count > 0) {
        flags |= RECORD_DEDUP;
    }
    if (head->dedup->floor != 0) {
        flags |= RECORD_FLOOR;
    }
    if (head->birth_count != 1) {
        flags |= RECORD_BIRTHS;
    }
    return flags;
}

/* The least n for which 2^n is not less. */
static uint8_t log2_above(uint64_t bytes)
{
    uint8_t log2 = 0;

    while (log2 < 63 && UINT64_C(1) << log2 < bytes) {
        log2++;
    }
    return log2;
}

static size_t offset_in(const struct buffer *out, const uint8_t *in)
{
    return in == NULL ? 0 : (size_t)(in - out->data);
}

void record_write_head(struct record_writer *writer, struct buffer *out,
                       const struct record_head *head)
{
    uint8_t flags = head_flags(head);

    writer->out = out;
    writer->rc = 0;
    writer->value_set = false;
    writer->last_at = 0;
    writer->birth_count = head->birth_count;
    writer->births_written = 0;
    writer->version.count = 0;
    out->size = 0;
    if (!room(writer, 1 + RECORD_ACCESS_BYTES + VARINT_BYTES_MAX + head->key.size)) {
        return;
    }
    uint8_t *to = at(writer);
    *to++ = (uint8_t)(head->format | flags);
    if ((flags & RECORD_ACCESS) != 0) {
        store_u32(to, (uint32_t)head->last_access_ms);
        store_u16(to + 4, (uint16_t)(head->last_access_ms >> 32));
        to += RECORD_ACCESS_BYTES;
    }
    to = varint_put(to, head->key.size);
    memcpy(to, head->key.data, head->key.size);
    advance(writer, to + head->key.size);

    writer->rc = version_put_join(out, head->a, head->b, head->death, &writer->version);
    if (writer->rc != 0) {
        return;
    }
    writer->version_at = offset_in(out, writer->version.rest);
    writer->version_end = offset_in(out, writer->version.rest_end);
    if (head->base != NULL) {
        write_base(writer, head->base);
    }
    if (head->format == RECORD_COLD && room(writer, 1 + VARINT_BYTES_MAX)) {
        to = at(writer);
        *to++ = log2_above(head->whole_bytes) | (head->fields_end_ms != 0 ? COLD_FIELDS_END : 0);
        to = head->fields_end_ms != 0 ? varint_put(to, head->fields_end_ms) : to;
        store_u64(to, head->whole_hash);
        advance(writer, to + 8);
    }
    if ((flags & RECORD_BIRTHS) != 0 && room(writer, 2 * VARINT_BYTES_MAX)) {
        to = varint_put(at(writer), head->birth_count);
        advance(writer, head->format == RECORD_COLD ? varint_put(to, head->life_first) : to);
    }
    writer->births_at = out->size;
}

void record_write_birth(struct record_writer *writer, const struct birth *birth)
{
    assert(writer->births_written < writer->birth_count);
    if (!room(writer, BIRTH_BYTES_MAX)) {
        return;
    }
    bool newest = stamp_compare(birth->stamp, writer->version.newest) == 0;
    uint8_t *to = at(writer);
    *to++ = (uint8_t)((birth->blind ? BIRTH_BLIND : 0) | birth->type << BIRTH_TYPE_SHIFT |
                      (newest ? BIRTH_NEWEST : 0) | (birth->fades ? BIRTH_FADES : 0));
    to = newest ? to : stamp_put(to, &writer->version, birth->stamp);
    advance(writer, to);
    if (writer->births_written < RECORD_BIRTHS_CACHED) {
        writer->birth_cache[writer->births_written] = *birth;
    }
    writer->births_written++;
}

void record_write_dedup(struct record_writer *writer, const struct dedup *dedup)
{
    assert(writer->rc != 0 || writer->births_written == writer->birth_count);
    writer->births_end = writer->out->size;
    if (!room(writer, HLC_BYTES_MAX + (size_t)dedup->count * DEDUP_ITEM_BYTES_MAX)) {
        return;
    }
    uint8_t *to = at(writer);
    if (dedup->floor != 0) {
        to = hlc_put_back(to, writer->version.newest.hlc, dedup->floor);
    }
    for (uint32_t i = 0; i < dedup->count; i++) {
        to = dedup_put_item(to, &writer->version, &dedup->items[i], i + 1 < dedup->count);
    }
    advance(writer, to);
}

/* The index of a birth among those written. */
static uint32_t birth_index(struct record_writer *writer, struct stamp stamp)
{
    for (uint32_t i = 0; i < writer->birth_count && i < RECORD_BIRTHS_CACHED; i++) {
        if (stamp_compare(writer->birth_cache[i].stamp, stamp) == 0) {
            return i;
        }
    }
    struct reader from = {
        .at = writer->out->data + writer->births_at,
        .end = writer->out->data + writer->births_end,
    };
    for (uint32_t i = 0; i < writer->birth_count; i++) {
        struct birth birth = birth_read(&from, &writer->version);
        if (stamp_compare(birth.stamp, stamp) == 0) {
            return i;
        }
    }
    writer->rc = -EBADMSG; /* Only bytes that nobody checked have entries without a birth. */
    return 0;
}

static enum entry_stamp stamp_form(const struct record_writer *writer, const struct entry *entry)
{
    if (entry->gone) {
        return ENTRY_GONE;
    }
    if (stamp_compare(entry->stamp, entry->birth.stamp) == 0) {
        return ENTRY_AT_BIRTH;
    }
    if (stamp_compare(entry->stamp, writer->version.newest) == 0) {
        return ENTRY_AT_NEWEST;
    }
    return ENTRY_STAMPED;
}

static uint8_t *put_bytes(uint8_t *to, struct bytes bytes)
{
    if (bytes.size > 0) {
        memcpy(to, bytes.data, bytes.size);
    }
    return to + bytes.size;
}

static uint64_t difference(uint64_t value, uint64_t base)
{
    return zigzag((int64_t)(value - base));
}

static uint8_t *put_value(struct record_writer *writer, uint8_t *to, const struct entry *entry)
{
    switch (entry->kind) {
    case ENTRY_ABSOLUTE:
        return varint_put(to, difference(entry->ms, hlc_ms(entry->birth.stamp.hlc)));
    case ENTRY_IDLE:
        return varint_put(to, entry->ms);
    case ENTRY_SUM:
        return varint_put(to, zigzag(entry->sum));
    default:
        writer->value = entry->value;
        writer->value_set = true;
        return to;
    }
}

static uint8_t *put_sum_base(uint8_t *to, const struct version *version, struct stamp base)
{
    if (base.hlc == 0) {
        return varint_put(to, 0);
    }
    to = varint_put(to, (uint64_t)version_index(version, base.actor) + 1);
    return hlc_put_back(to, version->newest.hlc, base.hlc);
}

/* The value of the entry before, once it is known whether that was the last. */
static void put_pending(struct record_writer *writer, bool last)
{
    if (writer->value_set && room(writer, VARINT_BYTES_MAX + writer->value.size)) {
        uint8_t *to = at(writer);
        to = last ? to : varint_put(to, writer->value.size);
        advance(writer, put_bytes(to, writer->value));
    }
    writer->value_set = false;
}

void record_write_entry(struct record_writer *writer, const struct entry *entry)
{
    bool blank = entry->kind == ENTRY_FIELD && entry->name.size == 0;

    put_pending(writer, false);
    if (!room(writer, ENTRY_FIXED_BYTES_MAX + entry->name.size)) {
        return;
    }
    enum entry_stamp form = stamp_form(writer, entry);
    uint32_t birth = entry->gone ? 0 : birth_index(writer, entry->birth.stamp);
    uint8_t *to = at(writer);
    writer->last_at = writer->out->size;
    *to++ = (uint8_t)((blank ? ENTRY_BLANK : entry->kind) | (int)form << ENTRY_STAMP_SHIFT |
                      (birth != 0 ? ENTRY_OTHER_BIRTH : 0) |
                      (entry->deadline_ms != 0 ? ENTRY_UNTIL : 0));
    to = birth != 0 ? varint_put(to, birth) : to;
    if (entry->kind >= ENTRY_FIELD && !blank) {
        to = put_bytes(varint_put(to, entry->name.size), entry->name);
    }
    if (form == ENTRY_STAMPED) {
        to = stamp_put(to, &writer->version, entry->stamp);
    }
    if (!entry->gone) {
        if (entry->kind == ENTRY_SUM) {
            to = put_sum_base(to, &writer->version, entry->base);
        }
        if (entry->deadline_ms != 0) {
            to = varint_put(to, difference(entry->deadline_ms, hlc_ms(entry->stamp.hlc)));
        }
        to = put_value(writer, to, entry);
    }
    advance(writer, to);
}

int record_write_end(struct record_writer *writer)
{
    put_pending(writer, true);
    if (writer->rc == 0 && writer->last_at != 0) {
        writer->out->data[writer->last_at] |= ENTRY_LAST;
    }
    return writer->rc;
}
