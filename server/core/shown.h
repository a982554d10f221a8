/* What of a record is shown: which births, and what value each of a user's names has.
 *
 * Lives: births that did not know of each other are of one life, unless by the later one's time the deadline of what was
 * before it had passed: then that had ended, and the later one began a new life. It is asked of each birth in order of
 * time, as who knew of all of them would have seen it. What is of an earlier life is not shown, and no sibling; the next
 * write sweeps it away. (Its deadline is its own: the death that a birth over an expired session brings ends what that
 * one's coordinator knew, and no more.) Where the later one is idle, too, it slides the record's one last access, and
 * nobody knows when the earlier one was last used: then it has not ended; nor has it within the part of its timeout that a
 * use may have slid it elsewhere.
 *
 * Births of a life: an explicit one is exclusive. Where there are live explicit births only the newest of them is
 * shown, with all blind ones: blind births mix by field. Without an explicit birth the newest blind one
 * leads. Blind births of another type than the leader's are hidden: their fields mean something else. So are
 * those whose type is gone: a write that did not show them swept it away, but not what was written to them
 * meanwhile. There is a session while there is a leader.
 *
 * Names: the newest shown field entry is the base; a number is its base and all partial sums that refer
 * to just this base's stamp (or to nothing, where there is no base), so that concurrent adds all count.
 * The newest of these counted entries says the deadline of the field. All other entries of the name
 * are hidden: siblings.
 * A sum is all that its actor has added, so a field of sums alone that is deleted while such an actor
 * adds comes back with the whole of that actor's sum; with a base, the delete or set wins. Sums are
 * never folded into one another: nobody knows whether an actor's newest sum is here. They are at most
 * as many as the actors of the version.
 *
 * The end of fields: a birth that fades, as that of a Redis client's map, ends with the last of its fields: at the latest
 * of their deadlines, where it has fields and each shown one has a deadline of its own. All others live on
 * without fields.
 *
 * Memory: all points into the record. Threads: any.
 */
#ifndef SHOWN_H
#define SHOWN_H

#include <stdbool.h>
#include <stdint.h>

#include "record.h"

struct leader {
    bool found;
    uint32_t first;     /* The index of the life's first birth... */
    struct stamp since; /* ... and its stamp; hlc 0 where that is the first of all. */
    struct birth birth;
};

/* Of a whole or a cold record. */
void leader_find(const struct record *record, struct leader *leader);

/* Is this birth one of an earlier life? */
static inline bool leader_ended(const struct leader *leader, const struct birth *birth)
{
    return stamp_compare(birth->stamp, leader->since) < 0;
}

/* Is an entry of this birth shown? */
static inline bool leader_shows(const struct leader *leader, const struct birth *birth)
{
    if (!birth->blind) {
        return stamp_compare(birth->stamp, leader->birth.stamp) == 0;
    }
    return birth->type == leader->birth.type && !leader_ended(leader, birth);
}

/* All entries of one of a user's names. */
struct group {
    struct bytes name;
    bool shown;      /* There is a value; the field's own deadline is not considered. */
    bool number;     /* It is `total`, else `value`. */
    bool based;      /* `base` is set: its newest shown field. */
    bool summed;     /* Some sums count. */
    uint32_t hidden; /* Entries that do not count. */
    struct stamp base;
    struct stamp newest; /* Of the counted entries. */
    struct bytes value;
    int64_t total;
    uint64_t deadline_ms; /* 0: none. */
};

/* Is it shown at this time? */
static inline bool group_shown_at(const struct group *group, uint64_t now_ms)
{
    return group->shown && (group->deadline_ms == 0 || group->deadline_ms > now_ms);
}

/* When a session goes with the last of its fields: the groups are taken one by one. */
struct fields_end {
    uint64_t ms;   /* The latest deadline. */
    bool is_never; /* Some field has none. */
};

static inline void fields_end_take(struct fields_end *end, const struct group *group)
{
    if (group->shown) {
        end->is_never = end->is_never || group->deadline_ms == 0;
        end->ms = group->deadline_ms > end->ms ? group->deadline_ms : end->ms;
    }
}

/* 0: never. */
static inline uint64_t fields_end_ms(const struct fields_end *end, const struct leader *leader)
{
    return leader->birth.fades && !end->is_never ? end->ms : 0;
}

/* A walk over groups: what is before users' names is skipped by group_walk(). */
struct group_walk {
    struct entry_walk entries; /* Before `next`. */
    struct entry next;
    const uint8_t *next_at; /* Where it begins. */
    bool next_set;
};

void group_walk(const struct record *record, struct group_walk *walk);

/* One entry further, also inside of a group. */
static inline void group_skip_entry(struct group_walk *walk)
{
    walk->next_at = walk->entries.in.at;
    walk->next_set = entry_next(&walk->entries, &walk->next);
}

/* Returns true with the next group; false at the end. */
bool group_next(struct group_walk *walk, const struct leader *leader, struct group *group);

#endif
