/* Raft's inside: what its files share. raft.h says what it is.
 *
 *   raft.c            begin and end, ticks, which message goes where, what waits for the store
 *   raft_vote.c       pre-vote, vote, becoming a leader
 *   raft_append.c     APPEND: the follower's side
 *   raft_leader.c     APPEND and its replies: the leader's side; commit; its own entries; hand-over
 *   raft_snapshot.c   snapshots: made, sent, taken in
 *   raft_apply.c      what is committed goes to the machine
 */
#ifndef RAFT_PRIVATE_H
#define RAFT_PRIVATE_H

#include "raft.h"

/* ---- raft.c ---- */

static inline void raft_trace(struct raft *raft, enum raft_event event, uint64_t a, uint64_t b)
{
    raft->ports.tracer->event(raft->ports.tracer, event, a, b);
}

static inline bool raft_is_voter(const struct raft *raft)
{
    return raft_members_vote(&raft->members, raft->options.node);
}

static inline uint32_t raft_majority(const struct raft *raft)
{
    return raft_members_voters(&raft->members) / 2 + 1;
}

static inline bool raft_vote_durable(const struct raft *raft)
{
    return raft->stored >= raft->vote_sequence;
}

/* Send, unless term or vote are not durable: then it is as if lost. Sets the message's term. */
void raft_send(struct raft *raft, uint32_t to, struct raft_message *message);

struct raft_peer *raft_peer(struct raft *raft, uint32_t node);

/* Store a term and a vote in it. Returns 0 or the store's error. */
int raft_set_vote(struct raft *raft, uint64_t term, uint32_t node);

/* Become a follower of `leader`, or of nobody known yet, in the present term. */
void raft_follow(struct raft *raft, uint32_t leader);

/* The next time this node asks to be elected, by lot. */
void raft_reset_election(struct raft *raft);
/* As where it is not the only voter. */
void raft_await_leader(struct raft *raft);

/* Is there a leader as far as this node knows? */
bool raft_leader_alive(const struct raft *raft);

/* These nodes, all voters. Returns 0 or -EINVAL. */
int raft_list_voters(struct raft_members *members, const uint32_t nodes[], uint32_t count);

/* Find the newest members in the log and the snapshot, and set the peers by them. */
void raft_refresh_members(struct raft *raft);

/* Store what is staged in the log and take it in; or one entry. Where it takes the place of others, they are not
 * committed. Returns 0, or -ENOMEM or the store's error with nothing staged. */
int raft_store_staged(struct raft *raft);
int raft_store_entry(struct raft *raft, const struct raft_entry *entry);

/* ---- raft_vote.c ---- */

/* Ask whether this node would be elected. */
void raft_pre_campaign(struct raft *raft);
/* Begin an election in a new term; `handed_over`: because the leader said so. Returns 0 or the store's error. */
int raft_campaign(struct raft *raft, bool handed_over);
/* Our term and vote are durable: ask for the votes of others. */
void raft_ask_votes(struct raft *raft);
void raft_send_vote(struct raft *raft);
int raft_pre_vote_asked(struct raft *raft, uint32_t from, const struct raft_message *message);
int raft_vote_asked(struct raft *raft, uint32_t from, const struct raft_message *message);
int raft_vote_answered(struct raft *raft, uint32_t from, const struct raft_message *message);

/* ---- raft_append.c ---- */

/* A leader of this term is there. Returns false where it cannot be one. */
bool raft_hear_leader(struct raft *raft, uint32_t from);
int raft_append_came(struct raft *raft, uint32_t from, const struct raft_message *message);
/* Tell the leader up to where the log is its own, and durable. */
void raft_confirm(struct raft *raft);
/* Tell who thinks that it leads that it does not, or that the entry before `index` is not here. */
void raft_reject(struct raft *raft, uint32_t to, uint64_t index, uint64_t hint);

/* ---- raft_leader.c ---- */

int raft_lead(struct raft *raft);
/* To each member what it has not got; `again`: also what is under way. */
void raft_send_all(struct raft *raft, bool again);
int raft_append_answered(struct raft *raft, uint32_t from, const struct raft_message *message);
void raft_advance_commit(struct raft *raft);
void raft_tick_leader(struct raft *raft);

/* ---- raft_snapshot.c ---- */

void raft_snapshot_fini(struct raft *raft);
/* Take a snapshot's bytes, from the store or from a leader, apart. Returns 0 or -EBADMSG. */
int raft_snapshot_open(struct raft_snapshot *snapshot);
/* Make one if it is time. */
void raft_snapshot_save(struct raft *raft);
void raft_snapshot_send(struct raft *raft, struct raft_peer *peer);
int raft_snapshot_came(struct raft *raft, uint32_t from, const struct raft_message *message);
int raft_snapshot_answered(struct raft *raft, uint32_t from, const struct raft_message *message);

/* ---- raft_apply.c ---- */

/* A leader of this term says, or is this node and knows, that it is committed up to here. */
void raft_note_commit(struct raft *raft, uint64_t commit);
/* Give the machine what is committed. Returns 0, or what the machine's restore() returned. */
int raft_apply(struct raft *raft);

#endif
