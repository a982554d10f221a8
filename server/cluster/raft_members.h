/* Members: who takes part in Raft. A voter counts for majorities; a learner only follows the log (Ongaro's
 * dissertation, 4.2.1).
 *
 * Each change makes one node more, or one less, or turns one: so any majority of the voters before meets
 * any majority of the voters after (dissertation, 4.1).
 *
 * The bytes of a members entry, also at the head of each snapshot:
 *   u8 version (1), varint count, then for each member in rising order of numbers: varint of the number
 *   less the one before (less 0 for the first), u8 1 for a voter and 0 for a learner.
 *
 * Memory: plain data of 2 KiB. Threads: the caller's.
 */
#ifndef RAFT_MEMBERS_H
#define RAFT_MEMBERS_H

#include <stdbool.h>
#include <stdint.h>

#include "bytes.h"

enum {
    RAFT_MEMBERS_MAX = 256,
    RAFT_VOTERS_MAX = 7, /* Five, and what a replacement adds before it removes. */
    RAFT_MEMBERS_VERSION = 1,
    RAFT_MEMBERS_BYTES_MAX = 3 + RAFT_MEMBERS_MAX * 6,
};

struct raft_member {
    uint32_t node; /* From 1 up. */
    bool voter;
};

struct raft_members {
    uint32_t count;
    struct raft_member list[RAFT_MEMBERS_MAX]; /* By number. */
};

enum raft_change {
    RAFT_ADD_LEARNER = 1, /* A node that is no member begins to follow the log. */
    RAFT_PROMOTE,         /* A learner becomes a voter. */
    RAFT_DEMOTE,          /* A voter becomes a learner. */
    RAFT_REMOVE,          /* A voter or learner is no member any more. */
};

/* The member of this number, or NULL. */
const struct raft_member *raft_members_find(const struct raft_members *members, uint32_t node);

/* Is this node a member with a vote? */
bool raft_members_vote(const struct raft_members *members, uint32_t node);

uint32_t raft_members_voters(const struct raft_members *members);

/* Make one change.
 *
 * Returns 0; -EEXIST where it already is so; -ENOENT where there is no such member (PROMOTE wants a learner,
 * DEMOTE a voter); -E2BIG above RAFT_MEMBERS_MAX or RAFT_VOTERS_MAX; -EINVAL for node 0, an unknown change, and
 * where no voter would be left. Nothing is changed then. */
int raft_members_change(struct raft_members *members, enum raft_change change, uint32_t node);

/* Write at most RAFT_MEMBERS_BYTES_MAX bytes. Returns how many. */
size_t raft_members_put(uint8_t *to, const struct raft_members *members);

/* Read what raft_members_put() wrote, to the reader's place after it.
 *
 * Returns 0, or -EBADMSG with `members` untouched: no such version, not in order, too many, no voter. */
int raft_members_read(struct reader *reader, struct raft_members *members);

#endif
