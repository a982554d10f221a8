/* The view of a session, and what else is asked of a whole record. */
#include "session.h"

#include <assert.h>
#include <errno.h>
#include <string.h>

#include "limits.h"
#include "number.h"
#include "token.h"

/* Entries of one kind come in order of their stamps: the last shown one counts. */
static void take_entry(struct session_view *view, const struct entry *entry)
{
    if (!leader_shows(&view->leader_, &entry->birth)) {
        return;
    }
    switch (entry->kind) {
    case ENTRY_OWNER:
        view->owner = entry->value;
        break;
    case ENTRY_ABSOLUTE:
        view->absolute_ms = entry->ms;
        break;
    case ENTRY_IDLE:
        view->idle_ms = entry->ms;
        break;
    default:
        break;
    }
}

/* By how much later than is known here it may have been used. */
static uint64_t unknown_ms(const struct session_view *view, uint64_t known_ms)
{
    uint64_t part_ms = session_idle_part_ms(view->idle_ms);

    if (view->last_access_ms >= known_ms) {
        return 0;
    }
    return known_ms - view->last_access_ms < part_ms ? known_ms - view->last_access_ms : part_ms;
}

static void take_deadline(struct session_view *view, uint64_t known_ms)
{
    uint64_t idle_end_ms = 0, allowed_ms = 0;

    if (view->idle_ms != 0) {
        view->last_access_ms = view->record_.last_access_ms > view->created_ms
                                   ? view->record_.last_access_ms
                                   : view->created_ms;
        idle_end_ms = view->last_access_ms + view->idle_ms;
        allowed_ms = unknown_ms(view, known_ms);
    }
    view->deadline_ms = earlier_ms(view->absolute_ms, idle_end_ms + allowed_ms);
    view->next_ms = view->deadline_ms;
}

/* Is this the whole of the fields: one, shown, without end? So it is in nearly all blobs. */
static bool is_single(const struct session_view *view)
{
    const struct group_walk *groups = &view->groups_;

    return groups->next_set && groups->entries.in.at == groups->entries.in.end &&
           groups->next.kind == ENTRY_FIELD && groups->next.deadline_ms == 0 &&
           leader_shows(&view->leader_, &groups->next.birth);
}

/* Returns when the session goes with its fields; 0: never. */
static uint64_t count_groups(struct session_view *view)
{
    if (is_single(view)) {
        view->field_count = 1;
        return 0;
    }
    struct group_walk walk = view->groups_;
    struct fields_end end = {.ms = view->record_.fields_end_ms};
    struct group group;

    view->next_ms = earlier_ms(view->next_ms, end.ms); /* Of a cold one: there are no groups. */
    while (group_next(&walk, &view->leader_, &group)) {
        view->siblings_hidden += group.hidden;
        fields_end_take(&end, &group);
        if (group_shown_at(&group, view->now_ms)) {
            view->field_count++;
            view->next_ms = earlier_ms(view->next_ms, group.deadline_ms);
        } else if (group.shown && group.deadline_ms > view->fields_past_ms) {
            view->fields_past_ms = group.deadline_ms;
        }
    }
    view->groups_.entries.in.bad |= walk.entries.in.bad;
    return fields_end_ms(&end, &view->leader_);
}

/* Has the last of the fields passed its deadline? Then that was the session's, too. */
static void fade(struct session_view *view, uint64_t fields_end_ms)
{
    view->faded = fields_end_ms != 0 && view->now_ms >= fields_end_ms;
    if (view->faded) {
        view->live = false;
        view->expired = true;
        view->deadline_ms = view->next_ms = fields_end_ms;
        view->siblings_hidden = 0;
    }
}

static void hide(struct session_view *view)
{
    view->type = SESSION_NONE;
    view->created_ms = view->absolute_ms = view->idle_ms = view->last_access_ms = 0;
    view->owner.size = 0;
    view->groups_.next_set = false;
}

int session_open(struct session_view *view, struct bytes record, uint64_t now_ms)
{
    return session_open_known(view, record, now_ms, 0, NULL);
}

int session_open_known(struct session_view *view, struct bytes record, uint64_t now_ms,
                       uint64_t known_ms, struct dedup *dedup)
{
    struct group_walk *groups = &view->groups_;
    int rc = record_open_dedup(&view->record_, record, record_format(record), dedup);

    if (rc != 0) {
        return rc;
    }
    view->cold = view->record_.format == RECORD_COLD;
    leader_find(&view->record_, &view->leader_);
    view->record = record;
    view->now_ms = now_ms;
    view->type = (enum session_type)view->leader_.birth.type;
    view->created_ms = hlc_ms(view->leader_.birth.stamp.hlc);
    view->absolute_ms = view->idle_ms = view->last_access_ms = 0;
    view->owner = bytes_of(view->record_.end, 0);
    view->death_ms = hlc_ms(view->record_.version.death.hlc);
    view->field_count = view->siblings_hidden = 0;
    view->fields_past_ms = 0;
    view->renamed = false;

    groups->entries = entry_walk(&view->record_);
    group_skip_entry(groups);
    while (groups->next_set && groups->next.kind < ENTRY_FIELD) {
        view->renamed = view->renamed || groups->next.kind == ENTRY_ALIAS;
        take_entry(view, &groups->next);
        group_skip_entry(groups);
    }
    take_deadline(view, known_ms);
    view->expired = view->leader_.found && view->deadline_ms != 0 && now_ms >= view->deadline_ms;
    view->live = view->leader_.found && !view->expired;
    view->tombstone = !view->live && !view->expired && view->record_.version.death.hlc != 0;
    view->faded = false;
    if (view->live) {
        fade(view, count_groups(view));
    }
    if (!view->live) {
        hide(view);
    }
    session_rewind(view);
    return groups->entries.in.bad ? -EBADMSG : 0;
}

void session_rewind(struct session_view *view)
{
    view->walking_ = false;
    view->told_ = (struct stamp){0, {0, 0}};
}

static void set_number(struct session_field *field, int64_t number)
{
    size_t size = number_format(number, field->text);

    field->value = bytes_of(field->text, size);
}

static void set_field(struct session_field *field, const struct group *group)
{
    field->name = group->name;
    field->value = group->value;
    field->deadline_ms = group->deadline_ms;
    field->sibling = false;
    if (group->number) {
        set_number(field, group->total);
    }
}

/* Does this entry make the value that its group shows? */
static bool is_counted(const struct leader *leader, const struct group *group,
                       const struct entry *entry)
{
    if (!leader_shows(leader, &entry->birth)) {
        return false;
    }
    struct stamp base = entry->kind == ENTRY_FIELD ? entry->stamp : entry->base;
    return stamp_compare(base, group->base) == 0;
}

/* The newest sibling older than the one told last. There are few: each is looked for from the start. */
static bool next_sibling(struct session_view *view, struct session_field *field)
{
    struct group_walk walk = view->group_;
    struct group group;
    struct entry best = {0};

    group_next(&walk, &view->leader_, &group);
    walk = view->group_;
    while (walk.next_set && bytes_equal(walk.next.name, group.name)) {
        const struct entry *entry = &walk.next;
        bool expired = entry->deadline_ms != 0 && entry->deadline_ms <= view->now_ms;
        if (!expired && !leader_ended(&view->leader_, &entry->birth) &&
            !is_counted(&view->leader_, &group, entry) &&
            stamp_compare(entry->stamp, view->told_) < 0 &&
            stamp_compare(entry->stamp, best.stamp) > 0) {
            best = *entry;
        }
        group_skip_entry(&walk);
    }
    view->told_ = best.stamp;
    if (best.stamp.hlc == 0) {
        return false;
    }
    field->name = best.name;
    field->value = best.value;
    field->deadline_ms = best.deadline_ms;
    field->sibling = true;
    if (best.kind == ENTRY_SUM) {
        set_number(field, best.sum);
    }
    return true;
}

bool session_next(struct session_view *view, bool all_siblings, struct session_field *field)
{
    struct group group;

    assert(!view->cold);
    if (!view->walking_) {
        view->walk_ = view->groups_;
        view->walking_ = true;
    }
    for (;;) {
        if (view->told_.hlc != 0 && next_sibling(view, field)) {
            return true;
        }
        if (all_siblings) {
            view->group_ = view->walk_;
        }
        if (!group_next(&view->walk_, &view->leader_, &group)) {
            return false;
        }
        bool shown = group_shown_at(&group, view->now_ms);
        if (all_siblings && group.hidden > 0 && shown == group.shown) {
            view->told_ = (struct stamp){UINT64_MAX, {UINT32_MAX, UINT32_MAX}};
        }
        if (shown) {
            set_field(field, &group);
            return true;
        }
    }
}

bool session_take(const struct session_view *view, struct group_walk *walk,
                  struct session_field *field)
{
    struct group group;

    if (!group_next(walk, &view->leader_, &group) || !group_shown_at(&group, view->now_ms)) {
        return false;
    }
    set_field(field, &group);
    return true;
}

bool session_find(const struct session_view *view, struct bytes name, struct session_field *field)
{
    struct group_walk walk = view->groups_;

    assert(!view->cold);
    while (walk.next_set) {
        int order = bytes_compare(walk.next.name, name);
        if (order > 0) {
            return false;
        }
        if (order < 0) {
            group_skip_entry(&walk);
            continue;
        }
        return session_take(view, &walk, field);
    }
    return false;
}

struct bytes session_key(struct bytes record)
{
    struct reader from = reader_of(record);
    uint8_t first = read_u8(&from);
    uint8_t format = first & 0xf0;

    if (format != RECORD_FORMAT && format != RECORD_DELTA && format != RECORD_COLD) {
        return bytes_of(record.data, 0);
    }
    read_bytes(&from, (first & RECORD_ACCESS) != 0 ? RECORD_ACCESS_BYTES : 0);
    return read_bytes(&from, quick_varint(&from));
}

uint64_t session_newest_hlc(struct bytes record)
{
    struct record opened;
    uint8_t format = record.size > 0 ? record.data[0] & 0xf0 : 0;

    if (record_open_head(&opened, record, format) != 0) {
        return 0;
    }
    return record_newest(&opened);
}

bool session_newest(struct bytes record, struct stamp *newest)
{
    struct record opened;
    uint8_t format = record.size > 0 ? record.data[0] & 0xf0 : 0;

    if (record_open_head(&opened, record, format) != 0 || opened.version.newest.hlc == 0) {
        return false;
    }
    *newest = opened.version.newest;
    return true;
}

uint64_t session_newest_stamp(struct bytes record)
{
    struct stamp newest;

    return session_newest(record, &newest) ? newest.hlc : 0;
}

int session_token(const struct session_view *view, struct buffer *out, struct bytes *token)
{
    *token = view->record_.token;
    if (token_is_plain(&view->record_)) {
        return 0;
    }
    out->size = 0;
    int rc = token_put(out, &view->record_);
    *token = buffer_bytes(out);
    return rc;
}

int session_covers(struct bytes record, struct bytes token)
{
    struct record opened;

    record_init(&opened, record);
    if (record.size != 0 && record_open(&opened, record, record_format(record)) != 0) {
        return 0;
    }
    return token_covered(&opened, token);
}

bool session_touch_in_place(uint8_t *record, size_t record_size, uint64_t now_ms)
{
    uint8_t format = record_size > 0 ? record[0] & 0xf0 : 0;

    if (record_size < 1 + RECORD_ACCESS_BYTES ||
        (format != RECORD_FORMAT && format != RECORD_COLD) || (record[0] & RECORD_ACCESS) == 0) {
        return false;
    }
    uint64_t was_ms = load_u32(record + 1) | (uint64_t)load_u16(record + 5) << 32;
    if (now_ms > was_ms) {
        store_u32(record + 1, (uint32_t)now_ms);
        store_u16(record + 5, (uint16_t)(now_ms >> 32));
    }
    return true;
}
