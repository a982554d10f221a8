#include "voters.h"

#include <assert.h>
#include <string.h>

#include "raft_members.h"

static bool is_good(const struct voters_member *member)
{
    return !member->gone && !member->lost && (member->votes || member->ready);
}

/* Who votes counts though it may be down just now, or for long. */
static bool may_be_picked(const struct voters_member *member)
{
    return is_good(member) || (member->votes && !member->gone);
}

static uint32_t count_of_zone(const struct voters_member members[], const bool picked[],
                              uint32_t count, uint32_t zone)
{
    uint32_t found = 0;

    for (uint32_t i = 0; i < count; i++) {
        found += picked[i] && members[i].zone == zone;
    }
    return found;
}

/* The smaller the better. */
static uint64_t rank(const struct voters_member members[], const bool picked[], uint32_t count,
                     uint32_t i)
{
    const struct voters_member *member = &members[i];
    uint64_t crowd = count_of_zone(members, picked, count, member->zone);

    if (member->leads && is_good(member)) {
        return 0;
    }
    return (uint64_t)!is_good(member) << 62 | crowd << 34 | (uint64_t)!member->votes << 33 |
           (1 + (uint64_t)member->node);
}

static void pick(const struct voters_member members[], uint32_t count, uint32_t wanted,
                 bool picked[])
{
    for (uint32_t n = 0; n < wanted; n++) {
        uint32_t best = count;
        for (uint32_t i = 0; i < count; i++) {
            if (!picked[i] && may_be_picked(&members[i]) &&
                (best == count ||
                 rank(members, picked, count, i) < rank(members, picked, count, best))) {
                best = i;
            }
        }
        if (best < count) {
            picked[best] = true;
        }
    }
}

/* As many as there are candidates for. */
static uint32_t wanted_of(const struct voters_member members[], uint32_t count)
{
    uint32_t candidates = 0;

    for (uint32_t i = 0; i < count; i++) {
        candidates += may_be_picked(&members[i]);
    }
    return candidates >= VOTERS_WANTED_MAX ? VOTERS_WANTED_MAX : candidates >= 3 ? 3 : 1;
}

static bool is_better_gone(const struct voters_member *member, const struct voters_member *other)
{
    return member->heard != other->heard ? !member->heard : member->gone && !other->gone;
}

/* Would a majority answer without this one's vote? */
static bool may_go(const struct voters_member members[], uint32_t count, uint32_t voter)
{
    uint32_t voters = 0, heard = 0;

    for (uint32_t i = 0; i < count; i++) {
        voters += members[i].votes && i != voter;
        heard += members[i].votes && members[i].heard && i != voter;
    }
    return 2 * heard > voters;
}

/* Any voter that does not answer; `count`: there is none. */
static uint32_t absent(const struct voters_member members[], uint32_t count)
{
    uint32_t i = 0;

    while (i < count && (!members[i].votes || members[i].heard)) {
        i++;
    }
    return i;
}

struct voters_step voters_next(const struct voters_member members[], uint32_t count)
{
    struct voters_step step = {.kind = VOTERS_STAY};
    bool picked[RAFT_MEMBERS_MAX] = {false};
    uint32_t voters = 0, promote = count, demote = count;

    assert(count <= RAFT_MEMBERS_MAX);
    if (count == 0) {
        return step;
    }
    uint32_t wanted = wanted_of(members, count);
    pick(members, count, wanted, picked);
    for (uint32_t i = 0; i < count; i++) {
        const struct voters_member *member = &members[i];
        voters += member->votes;
        if (picked[i] && !member->votes && promote == count) {
            promote = i;
        }
        if (!picked[i] && member->votes &&
            (demote == count || is_better_gone(member, &members[demote]))) {
            demote = i;
        }
    }
    if (demote < count && !may_go(members, count, demote)) {
        demote = members[demote].gone ? absent(members, count) : count;
    }
    if (demote < count && !may_go(members, count, demote)) {
        demote = count;
    }
    if (promote < count && voters <= wanted) {
        step = (struct voters_step){.kind = VOTERS_PROMOTE, .node = members[promote].node};
    } else if (demote < count && voters > 1) {
        step = (struct voters_step){.kind = VOTERS_DEMOTE, .node = members[demote].node};
    }
    return step;
}
