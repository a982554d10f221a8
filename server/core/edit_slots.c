/* The slots of an edit: one for each name in its change list. */
#include "edit.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "number.h"

enum { FEW = 16 };
#define NO_SLOT UINT32_MAX

/* A name that a change mentions. */
struct mention {
    struct bytes name;
    uint32_t change;
    size_t append_bytes; /* Of the room that its slot may need. */
    bool appends;
};

static bool has_name(uint8_t operation)
{
    switch (operation) {
    case CHANGE_CLEAR:
    case CHANGE_ABSOLUTE:
    case CHANGE_TTL:
    case CHANGE_IDLE:
    case CHANGE_OWNER:
    case CHANGE_TOUCH:
    case CHANGE_DESTROY:
        return false;
    default:
        return true;
    }
}

static int compare_mentions(const void *left, const void *right)
{
    const struct mention *a = left, *b = right;
    int order = bytes_compare(a->name, b->name);

    return order != 0 ? order : (a->change > b->change) - (a->change < b->change);
}

/* Most lists are short, and short ones are mostly in order. */
static void sort_mentions(struct mention *mentions, uint32_t count)
{
    if (count > FEW) {
        qsort(mentions, count, sizeof *mentions, compare_mentions);
        return;
    }
    for (uint32_t i = 1; i < count; i++) {
        struct mention moving = mentions[i];
        uint32_t to = i;
        for (; to > 0 && compare_mentions(&mentions[to - 1], &moving) > 0; to--) {
            mentions[to] = mentions[to - 1];
        }
        mentions[to] = moving;
    }
}

static size_t aligned(size_t bytes)
{
    return (bytes + 15) & ~(size_t)15;
}

static int count_changes(struct edit *edit, uint32_t *names)
{
    struct reader from = reader_of(edit->write->changes);
    struct change more;

    edit->change_count = *names = 0;
    for (;;) {
        struct change *change =
            edit->change_count < EDIT_FEW ? &edit->few[edit->change_count] : &more;
        int rc = change_next(&from, change);
        if (rc <= 0) {
            return rc;
        }
        edit->change_count++;
        *names += has_name(change->operation);
    }
}

bool edit_next(const struct edit *edit, uint32_t number, struct reader *list, struct change *change)
{
    if (edit->change_count > EDIT_FEW) {
        return change_next(list, change) == 1;
    }
    if (number == edit->change_count) {
        return false;
    }
    *change = edit->few[number];
    return true;
}

static struct mention mention_of(const struct change *change, uint32_t index)
{
    return (struct mention){
        .name = change->name,
        .change = index,
        .append_bytes = change->value.size,
        .appends = change->operation == CHANGE_APPEND,
    };
}

static void collect_mentions(struct edit *edit, struct mention *mentions)
{
    struct reader from = reader_of(edit->write->changes);
    struct change change;
    uint32_t count = 0;

    for (uint32_t i = 0; edit_next(edit, i, &from, &change); i++) {
        edit->slot_of_change[i] = NO_SLOT;
        if (has_name(change.operation)) {
            mentions[count++] = mention_of(&change, i);
        }
    }
    sort_mentions(mentions, count);
}

/* One slot for all mentions of a name. room_bytes is 0 where no APPEND is; an empty one needs room too: for
 * what was there before, and for a number as text. */
static void make_slots(struct edit *edit, const struct mention *mentions, uint32_t count)
{
    bool appends = false;
    size_t append_bytes = 0;

    edit->slot_count = 0;
    for (uint32_t i = 0; i < count; i++) {
        if (i == 0 || !bytes_equal(mentions[i].name, mentions[i - 1].name)) {
            edit->slots[edit->slot_count] = (struct slot){
                .name = mentions[i].name,
                .value = bytes_of(mentions[i].name.data, 0),
            };
            edit->slot_count++;
            appends = false;
            append_bytes = 0;
        }
        edit->slot_of_change[mentions[i].change] = edit->slot_count - 1;
        appends |= mentions[i].appends;
        append_bytes += mentions[i].append_bytes;
        edit->slots[edit->slot_count - 1].room_bytes = appends ? append_bytes + NUMBER_TEXT_MAX : 0;
    }
}

bool edit_keeps(const struct edit *edit, const struct slot *slot, const struct entry *entry)
{
    struct stamp base = entry->kind == ENTRY_FIELD ? entry->stamp : entry->base;

    return leader_shows(&edit->view.leader_, &entry->birth) && stamp_compare(base, slot->base) == 0;
}

/* What this actor has added so far to the slot's base. */
static int64_t own_sum(const struct edit *edit, const struct slot *slot)
{
    struct entry_walk walk = {.record = edit->old, .in = {.at = slot->at, .end = edit->old->end}};
    struct entry entry;
    int64_t own = 0;

    while (entry_next(&walk, &entry) && bytes_equal(entry.name, slot->name)) {
        if (entry.kind == ENTRY_SUM && edit_keeps(edit, slot, &entry) &&
            actor_compare(entry.stamp.actor, edit->stamp.actor) == 0) {
            own = entry.sum;
        }
    }
    return own;
}

static void fill_slot(struct edit *edit, struct group_walk *walk, struct slot *slot)
{
    struct group group;

    slot->at = walk->next_at;
    group_next(walk, &edit->view.leader_, &group);
    slot->present = group_shown_at(&group, edit->write->now_ms);
    if (!slot->present) {
        return;
    }
    slot->number = group.number;
    slot->total = group.total;
    slot->value = group.value;
    slot->deadline_ms = group.deadline_ms;
    slot->base = group.base;
    slot->own = group.number ? own_sum(edit, slot) : 0;
}

static int fill_slots(struct edit *edit)
{
    struct group_walk walk = edit->view.groups_;
    uint32_t i = 0;

    while (walk.next_set && i < edit->slot_count) {
        int order = bytes_compare(walk.next.name, edit->slots[i].name);
        if (order < 0) {
            group_skip_entry(&walk);
        } else if (order > 0) {
            i++;
        } else {
            fill_slot(edit, &walk, &edit->slots[i]);
            i++;
        }
    }
    return walk.entries.in.bad ? -EBADMSG : 0;
}

/* How much an appended value may become: what is there, all that the list brings, or a number. */
static size_t plan_rooms(struct edit *edit)
{
    size_t bytes = 0;

    for (uint32_t i = 0; i < edit->slot_count; i++) {
        struct slot *slot = &edit->slots[i];
        if (slot->room_bytes > 0) {
            slot->room_bytes += slot->value.size;
            bytes += slot->room_bytes;
        }
    }
    return bytes;
}

int edit_prepare(struct edit *edit, struct buffer *scratch)
{
    uint32_t names;
    int rc = count_changes(edit, &names);

    if (rc != 0) {
        return rc;
    }
    size_t slots_bytes = aligned(names * sizeof(struct slot));
    size_t index_bytes = aligned(edit->change_count * sizeof(uint32_t));
    size_t mentions_bytes = (names + 1) * sizeof(struct mention);
    scratch->size = 0;
    rc = buffer_reserve(scratch, slots_bytes + index_bytes + mentions_bytes);
    if (rc != 0) {
        return rc;
    }
    edit->slots = (struct slot *)(void *)scratch->data;
    edit->slot_of_change = (uint32_t *)(void *)(scratch->data + slots_bytes);
    struct mention *mentions =
        (struct mention *)(void *)(scratch->data + slots_bytes + index_bytes);
    collect_mentions(edit, mentions);
    make_slots(edit, mentions, names);
    if (!edit->fresh) {
        rc = fill_slots(edit);
    }

    size_t rooms = plan_rooms(edit);
    scratch->size = slots_bytes + index_bytes;
    if (rc == 0 && rooms > 0) {
        rc = buffer_reserve(scratch, rooms);
    }
    if (rc != 0) {
        return rc;
    }
    edit->slots = (struct slot *)(void *)scratch->data;
    edit->slot_of_change = (uint32_t *)(void *)(scratch->data + slots_bytes);
    uint8_t *room = scratch->data + scratch->size;
    for (uint32_t i = 0; i < edit->slot_count; i++) {
        edit->slots[i].room = room;
        room += edit->slots[i].room_bytes;
    }
    scratch->size += rooms;
    return 0;
}
