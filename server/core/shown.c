#include "shown.h"

#include "number.h"
#include "session.h"

/* Sums of any number of 64-bit numbers, in any order, with one clamp at the end. */
__extension__ typedef __int128 wide;

/* Which of the births from `first` up to `end` leads. */
static struct leader lead(const struct record *record, uint32_t first, uint32_t end)
{
    struct leader leader = {.first = first};

    if (first > 0) {
        leader.since = record_birth(record, first).stamp;
    }
    for (uint32_t i = first; i < end; i++) {
        struct birth birth = record_birth(record, i);
        /* Births are in order of time: a later one leads, unless it is blind and the leader is not. */
        if (birth.type != 0 && !(leader.found && !leader.birth.blind && birth.blind)) {
            leader.found = true;
            leader.birth = birth;
        }
    }
    return leader;
}

/* When a life that is idle for so long had surely ended: a use by so much later may not have come here. 0: that is not
 * known, as what came after it may have slid the last access. */
static uint64_t idle_end_ms(const struct record *record, uint64_t used_ms, uint64_t idle_ms,
                            uint64_t after_ms)
{
    if (record->last_access_ms >= after_ms) {
        return 0;
    }
    return (record->last_access_ms > used_ms ? record->last_access_ms : used_ms) + idle_ms +
           session_idle_part_ms(idle_ms);
}

/* Had the life of the births from `first` up to `end` ended when the birth `end` came? Fields that have passed deadlines of
 * their own are not asked: they are not shown as it is. */
static bool has_ended(const struct record *record, uint32_t first, uint32_t end)
{
    uint64_t at_ms = hlc_ms(record_birth(record, end).stamp.hlc);
    struct leader leader = lead(record, first, end);
    struct entry_walk walk = entry_walk(record);
    uint64_t absolute_ms = 0, idle_ms = 0;
    struct entry entry;

    while (leader.found && entry_next(&walk, &entry) && entry.kind <= ENTRY_IDLE) {
        if (entry.birth_index < end && leader_shows(&leader, &entry.birth)) {
            absolute_ms = entry.kind == ENTRY_ABSOLUTE ? entry.ms : absolute_ms;
            idle_ms = entry.kind == ENTRY_IDLE ? entry.ms : idle_ms;
        }
    }
    if (idle_ms != 0) {
        absolute_ms = earlier_ms(
            absolute_ms, idle_end_ms(record, hlc_ms(leader.birth.stamp.hlc), idle_ms, at_ms));
    }
    return absolute_ms != 0 && absolute_ms <= at_ms;
}

void leader_find(const struct record *record, struct leader *leader)
{
    if (record->birth_count == 1) {
        *leader = (struct leader){.birth = record->birth_cache[0]};
        leader->found = leader->birth.type != 0;
        return;
    }
    uint32_t first = record->life_first;
    for (uint32_t i = 1; record->format != RECORD_COLD && i < record->birth_count; i++) {
        bool begins = record_birth(record, i).type != 0 && has_ended(record, first, i);
        first = begins ? i : first;
    }
    *leader = lead(record, first, record->birth_count);
}

void group_walk(const struct record *record, struct group_walk *walk)
{
    walk->entries = entry_walk(record);
    do {
        group_skip_entry(walk);
    } while (walk->next_set && walk->next.kind < ENTRY_FIELD);
}

struct counting {
    struct group *group;
    struct entry base;
    wide total;
};

static void hide_base(struct counting *counting)
{
    counting->group->hidden += counting->group->based;
}

static void count_counted(struct group *group, const struct entry *entry)
{
    if (stamp_compare(entry->stamp, group->newest) > 0) {
        group->newest = entry->stamp;
        group->deadline_ms = entry->deadline_ms;
    }
    group->shown = true;
}

/* Fields come before sums, in order of their stamps: the last shown one is the base. */
static void count_entry(struct counting *counting, const struct leader *leader,
                        const struct entry *entry)
{
    struct group *group = counting->group;

    if (!leader_shows(leader, &entry->birth)) {
        group->hidden += !leader_ended(leader, &entry->birth);
    } else if (entry->kind == ENTRY_FIELD) {
        hide_base(counting);
        group->based = true;
        group->base = entry->stamp;
        group->value = entry->value;
        count_counted(group, entry);
    } else if (stamp_compare(entry->base, group->base) == 0) {
        group->summed = true;
        counting->total += entry->sum;
        count_counted(group, entry);
    } else {
        group->hidden++;
    }
}

static void finish(struct counting *counting)
{
    struct group *group = counting->group;
    int64_t base = 0;

    if (!group->summed || (group->based && !number_parse(group->value, &base))) {
        return; /* Sums on what is no number come from no writer of ours. */
    }
    wide total = counting->total + base;
    group->number = true;
    group->total = total > INT64_MAX ? INT64_MAX : total < INT64_MIN ? INT64_MIN : (int64_t)total;
}

bool group_next(struct group_walk *walk, const struct leader *leader, struct group *group)
{
    if (!walk->next_set) {
        return false;
    }
    *group = (struct group){.name = walk->next.name, .value = bytes_of(walk->next.name.data, 0)};
    struct counting counting = {.group = group};
    do {
        count_entry(&counting, leader, &walk->next);
        group_skip_entry(walk);
    } while (walk->next_set && bytes_equal(walk->next.name, group->name));
    finish(&counting);
    return true;
}
