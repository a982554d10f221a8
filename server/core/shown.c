#include "shown.h"

#include "number.h"

/* Sums of any number of 64-bit numbers, in any order, with one clamp at the end. */
__extension__ typedef __int128 wide;

void leader_find(const struct record *record, struct leader *leader)
{
    if (record->birth_count == 1) {
        leader->birth = record->birth_cache[0];
        leader->found = leader->birth.type != 0;
        return;
    }
    leader->found = false;
    leader->birth = (struct birth){.type = 0};
    for (uint32_t i = 0; i < record->birth_count; i++) {
        struct birth birth = record_birth(record, i);
        /* Births are in order of time: a later one leads, unless it is blind and the leader is not. */
        if (birth.type != 0 && !(leader->found && !leader->birth.blind && birth.blind)) {
            leader->found = true;
            leader->birth = birth;
        }
    }
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
        group->hidden++;
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
