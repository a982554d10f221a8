/* Which members vote in Raft: 1, 3 or 5 of them, as many as there are candidates for, spread over the zones; changed one
 * at a time, and only where something is gained.
 *
 * The best set is picked one after the other: first the leader; then whoever is good before who is not (gone for long,
 * or not able to vote yet); of those one of a zone with the fewest so far; of those one that votes already; then the
 * lowest number. Whoever is in it and does not vote is promoted before one who votes and is not in it is demoted, so
 * that a replacement never lowers the number of those that can fail. Of these who cannot be reached goes first, and who is up only
 * while a majority of those that are left is: else the change itself would never be decided. With two members one votes: with two voters either
 * one's end would freeze the map.
 *
 * Memory: none. Threads: any.
 */
#ifndef VOTERS_H
#define VOTERS_H

#include <stdbool.h>
#include <stdint.h>

enum { VOTERS_WANTED_MAX = 5 };

struct voters_member {
    uint32_t node;
    uint32_t zone; /* Equal numbers are one zone. */
    bool votes;
    bool leads;
    bool heard; /* It answers: what is decided now it can confirm. */
    bool ready; /* Level, heard from, and a full member: it could vote at once. */
    bool lost;  /* Down for long: to be replaced where somebody is ready. */
    bool gone;  /* Left or removed: to vote no more. */
};

enum voters_step_kind { VOTERS_STAY, VOTERS_PROMOTE, VOTERS_DEMOTE };

struct voters_step {
    enum voters_step_kind kind;
    uint32_t node;
};

/* What is to be done next. Of the members at most RAFT_MEMBERS_MAX. */
struct voters_step voters_next(const struct voters_member members[], uint32_t count);

#endif
