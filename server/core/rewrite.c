#include "rewrite.h"

#include <errno.h>

/* Where entries go: into a record, or only past somebody who looks for a birth. */
struct sink {
    struct record_writer *writer;
    struct stamp wanted;
    bool found;
};

static void sink_put(struct sink *sink, const struct entry *entry)
{
    if (sink->writer != NULL) {
        record_write_entry(sink->writer, entry);
    } else if (!entry->gone && stamp_compare(entry->birth.stamp, sink->wanted) == 0) {
        sink->found = true;
    }
}

static struct entry new_entry(const struct edit *edit, enum entry_kind kind)
{
    struct bytes none = bytes_of(edit->write->key.data, 0);

    return (struct entry){
        .kind = (uint8_t)kind,
        .stamp = edit->stamp,
        .birth = edit->birth,
        .name = none,
        .value = none,
    };
}

static void put_gone(struct sink *sink, uint8_t kind, struct bytes name)
{
    struct entry entry = {.kind = kind, .gone = true, .name = name};

    entry.value = bytes_of(name.data, 0);
    sink_put(sink, &entry);
}

static void put_attribute(const struct edit *edit, enum entry_kind kind, struct sink *sink)
{
    const struct attribute *attribute = &edit->attributes[kind];

    if (attribute->touched && attribute->present) {
        struct entry entry = new_entry(edit, kind);
        entry.ms = attribute->ms;
        entry.value = attribute->value;
        sink_put(sink, &entry);
    }
}

/* The entries of a slot's number that stay: base and sums of others. This actor's own is new. */
static void put_kept(const struct edit *edit, const struct slot *slot, struct sink *sink)
{
    struct entry_walk walk = {.record = edit->old, .in = {.at = slot->at, .end = edit->old->end}};
    struct entry entry;

    while (entry_next(&walk, &entry) && bytes_equal(entry.name, slot->name)) {
        bool own =
            entry.kind == ENTRY_SUM && actor_compare(entry.stamp.actor, edit->stamp.actor) == 0;
        if (edit_keeps(edit, slot, &entry) && !own) {
            sink_put(sink, &entry);
        }
    }
}

static void put_slot(const struct edit *edit, const struct slot *slot, struct sink *sink)
{
    struct entry entry;

    if (slot->state == SLOT_VALUE) {
        entry = new_entry(edit, ENTRY_FIELD);
        entry.name = slot->name;
        entry.value = slot->value;
        entry.deadline_ms = slot->deadline_ms;
        sink_put(sink, &entry);
    }
    if (slot->state == SLOT_SUM) {
        if (slot->at != NULL && !slot->alone) {
            put_kept(edit, slot, sink);
        }
        entry = new_entry(edit, ENTRY_SUM);
        entry.name = slot->name;
        entry.sum = slot->own;
        entry.base = slot->base;
        entry.deadline_ms = slot->deadline_ms;
        sink_put(sink, &entry);
    }
}

/* Names that the edit does not touch keep their entries; hidden ones go where they became too many. */
static void put_untouched(const struct edit *edit, struct group_walk *walk, struct sink *sink)
{
    const struct leader *leader = &edit->view.leader_;
    bool prune = false;
    struct slot counted = {.name = walk->next.name};

    if (edit->view.siblings_hidden > SESSION_SIBLINGS_MAX) {
        struct group_walk ahead = *walk;
        struct group group;
        group_next(&ahead, leader, &group);
        prune = group.hidden > SESSION_SIBLINGS_MAX;
        counted.base = group.base;
    }
    do {
        if (prune ? edit_keeps(edit, &counted, &walk->next)
                  : leader_shows(leader, &walk->next.birth)) {
            sink_put(sink, &walk->next);
        }
        group_skip_entry(walk);
    } while (walk->next_set && bytes_equal(walk->next.name, counted.name));
}

static void skip_group(struct group_walk *walk)
{
    struct bytes name = walk->next.name;

    do {
        group_skip_entry(walk);
    } while (walk->next_set && bytes_equal(walk->next.name, name));
}

/* One name: of the present record, or of the next slot, or of both. Returns whether it was the slot's. */
static bool put_name(const struct edit *edit, struct group_walk *walk, const struct slot *slot,
                     struct sink *sink)
{
    int order = slot == NULL ? -1 : 1;

    if (slot != NULL && walk->next_set) {
        order = bytes_compare(walk->next.name, slot->name);
    }
    if (order < 0) {
        if (edit->clears > 0) {
            skip_group(walk);
        } else {
            put_untouched(edit, walk, sink);
        }
        return false;
    }
    if (order == 0 && slot->state == SLOT_SAME) {
        put_untouched(edit, walk, sink);
        return true;
    }
    put_slot(edit, slot, sink);
    if (order == 0) {
        skip_group(walk);
    }
    return true;
}

/* All entries of the new record. Returns 0 or -EBADMSG. */
static int put_all(const struct edit *edit, struct sink *sink)
{
    struct group_walk walk = {.entries = entry_walk(edit->old)};
    uint32_t i = 0;

    if (!edit->fresh) {
        group_skip_entry(&walk);
    }
    for (enum entry_kind kind = ENTRY_OWNER; kind < ENTRY_FIELD; kind++) {
        for (; walk.next_set && walk.next.kind == kind; group_skip_entry(&walk)) {
            if (!edit->attributes[kind].touched &&
                leader_shows(&edit->view.leader_, &walk.next.birth)) {
                sink_put(sink, &walk.next);
            }
        }
        put_attribute(edit, kind, sink);
    }
    while (walk.next_set || i < edit->slot_count) {
        i += put_name(edit, &walk, i < edit->slot_count ? &edit->slots[i] : NULL, sink);
    }
    return walk.entries.in.bad ? -EBADMSG : 0;
}

/* The entries of a delta: all that touched names have now. */
static void put_touched(const struct edit *edit, struct sink *sink)
{
    struct bytes none = bytes_of(edit->write->key.data, 0);

    for (enum entry_kind kind = ENTRY_OWNER; kind < ENTRY_FIELD; kind++) {
        put_attribute(edit, kind, sink);
        if (edit->attributes[kind].touched && !edit->attributes[kind].present) {
            put_gone(sink, (uint8_t)kind, none);
        }
    }
    for (uint32_t i = 0; i < edit->slot_count; i++) {
        const struct slot *slot = &edit->slots[i];
        put_slot(edit, slot, sink);
        if (slot->state == SLOT_ABSENT && slot->at != NULL) {
            put_gone(sink, ENTRY_FIELD, slot->name);
        }
    }
}

/* Does a birth of the present record stay in the new one, or go into the delta? */
static bool birth_stays(const struct edit *edit, const struct birth *birth, bool delta)
{
    struct sink sink = {.wanted = birth->stamp};

    if (delta) {
        put_touched(edit, &sink);
        return sink.found;
    }
    return leader_shows(&edit->view.leader_, birth);
}

/* The births: counted first, written then. */
static uint32_t put_births(const struct edit *edit, bool delta, struct record_writer *writer)
{
    uint32_t count = 0;

    for (uint32_t i = 0; !edit->fresh && i < edit->old->birth_count; i++) {
        struct birth birth = record_birth(edit->old, i);
        if (birth_stays(edit, &birth, delta)) {
            count++;
            if (writer != NULL) {
                record_write_birth(writer, &birth);
            }
        }
    }
    if (edit->fresh) {
        count++;
        if (writer != NULL) {
            record_write_birth(writer, &edit->birth);
        }
    }
    return count;
}

/* The same record with another last access. Without a stamp nothing else may change, not even what is
 * hidden: others could not tell. */
static int rewrite_access(const struct edit *edit, uint64_t last_access_ms, struct buffer *out)
{
    struct bytes old = edit->write->record;
    size_t head = (edit->old->flags & RECORD_ACCESS) != 0 ? 1 + RECORD_ACCESS_BYTES : 1;

    out->size = 0;
    int rc = buffer_reserve(out, old.size + RECORD_ACCESS_BYTES);
    if (rc != 0) {
        return rc;
    }
    out->data[0] = old.data[0] | RECORD_ACCESS;
    store_u32(out->data + 1, (uint32_t)last_access_ms);
    store_u16(out->data + 5, (uint16_t)(last_access_ms >> 32));
    out->size = 1 + RECORD_ACCESS_BYTES;
    return buffer_append(out, bytes_of(old.data + head, old.size - head));
}

int rewrite_record(const struct edit *edit, const struct rewrite *rewrite, struct buffer *out)
{
    if (rewrite->stamped.count == 0) {
        return rewrite_access(edit, rewrite->last_access_ms, out);
    }
    struct record_writer writer;
    struct record_head head = {
        .format = RECORD_FORMAT,
        .key = edit->write->key,
        .a = &edit->old->version,
        .b = &rewrite->stamped,
        .death = rewrite->death,
        .last_access_ms = rewrite->last_access_ms,
        .birth_count = put_births(edit, false, NULL),
        .dedup = rewrite->dedup,
    };
    struct sink sink = {.writer = &writer};

    record_write_head(&writer, out, &head);
    put_births(edit, false, &writer);
    record_write_dedup(&writer, rewrite->dedup);
    int rc = put_all(edit, &sink);
    int end_rc = record_write_end(&writer);
    return end_rc != 0 ? end_rc : rc;
}

/* At least what a delta would take, without writing it. */
static size_t delta_bytes_min(const struct edit *edit)
{
    size_t bytes = edit->write->key.size + edit->old->token.size;

    for (uint32_t i = 0; i < edit->slot_count; i++) {
        const struct slot *slot = &edit->slots[i];
        if (slot->state != SLOT_SAME) {
            bytes += slot->name.size + (slot->state == SLOT_VALUE ? slot->value.size : 0);
        }
    }
    return bytes;
}

/* The full record can be taken by everyone: a delta must save a quarter of it. */
static bool worth_it(size_t delta_bytes, size_t record_bytes)
{
    return delta_bytes < record_bytes - record_bytes / 4;
}

static bool hides_births(const struct edit *edit)
{
    for (uint32_t i = 0; i < edit->old->birth_count; i++) {
        struct birth birth = record_birth(edit->old, i);
        if (!leader_shows(&edit->view.leader_, &birth)) {
            return true;
        }
    }
    return false;
}

int rewrite_delta(const struct edit *edit, const struct rewrite *rewrite, size_t record_bytes,
                  struct buffer *out)
{
    struct record_writer writer;
    struct sink sink = {.writer = &writer};

    out->size = 0;
    if (edit->fresh || edit->clears > 0 || edit->view.siblings_hidden > SESSION_SIBLINGS_MAX ||
        !worth_it(delta_bytes_min(edit), record_bytes) || hides_births(edit)) {
        return 0;
    }
    struct record_head head = {
        .format = RECORD_DELTA,
        .key = edit->write->key,
        .a = &edit->old->version,
        .b = &rewrite->stamped,
        .death = rewrite->death,
        .last_access_ms = rewrite->last_access_ms,
        .base = &edit->old->version,
        .birth_count = put_births(edit, true, NULL),
        .dedup = rewrite->dedup_delta,
    };
    record_write_head(&writer, out, &head);
    put_births(edit, true, &writer);
    record_write_dedup(&writer, rewrite->dedup_delta);
    put_touched(edit, &sink);
    int rc = record_write_end(&writer);
    if (rc != 0 || !worth_it(out->size, record_bytes)) {
        out->size = 0;
    }
    return rc;
}
