#include <errno.h>

#include "raft_private.h"

/* Is a log that ends with this entry at least as new as ours? (Paper, 5.4.1.) */
static bool up_to_date(const struct raft *raft, const struct raft_message *message)
{
    uint64_t last = raft_log_last(&raft->log);
    uint64_t last_term = raft_log_term(&raft->log, last);

    return message->index_term > last_term ||
           (message->index_term == last_term && message->index >= last);
}

/* ---- Asking ---- */

static void ask_voters(struct raft *raft, struct raft_message *message)
{
    message->index = raft_log_last(&raft->log);
    message->index_term = raft_log_term(&raft->log, message->index);
    for (uint32_t i = 0; i < raft->peer_count; i++) {
        if (raft_members_vote(&raft->members, raft->peers[i].node)) {
            raft_send(raft, raft->peers[i].node, message);
        }
    }
}

static void forget_votes(struct raft *raft)
{
    for (uint32_t i = 0; i < raft->peer_count; i++) {
        raft->peers[i].granted = false;
    }
}

/* Its own vote counts too: a pre-candidate asks nobody for it, a candidate's is durable by then. */
static bool won(const struct raft *raft)
{
    uint32_t votes = raft_is_voter(raft);

    for (uint32_t i = 0; i < raft->peer_count; i++) {
        votes += raft->peers[i].granted && raft_members_vote(&raft->members, raft->peers[i].node);
    }
    return votes >= raft_majority(raft);
}

void raft_pre_campaign(struct raft *raft)
{
    struct raft_message message = {.type = RAFT_PRE_VOTE};

    raft_reset_election(raft);
    if (!raft_vote_durable(raft)) {
        return; /* Nothing could be sent. An election that was begun goes on when the store is done. */
    }
    raft->leader = 0;
    raft->ack_owed = false;
    if (!raft_is_voter(raft) && raft->members_index <= raft->commit) {
        return; /* Before that it may be needed: nobody else may have the entry (dissertation, 4.2.2). */
    }
    raft->role = RAFT_PRE_CANDIDATE;
    forget_votes(raft);
    ask_voters(raft, &message);
    if (won(raft)) {
        (void)raft_campaign(raft, false); /* Failed, it waits for the next time. */
    }
}

int raft_campaign(struct raft *raft, bool handed_over)
{
    if (raft->term >= RAFT_NUMBER_MAX) {
        return -EOVERFLOW;
    }
    int rc = raft_set_vote(raft, raft->term + 1, raft->options.node);
    if (rc != 0) {
        return rc;
    }
    raft->role = RAFT_CANDIDATE;
    raft->leader = 0;
    raft->ack_owed = false;
    raft->ask_owed = true;
    raft->handed_over = handed_over;
    forget_votes(raft);
    raft_reset_election(raft);
    raft_trace(raft, RAFT_EVENT_CANDIDATE, raft->term, 0);
    return 0;
}

static void lead_if_won(struct raft *raft)
{
    if (won(raft) && raft_lead(raft) != 0) {
        raft_follow(raft, 0); /* It could not begin its term: somebody else may. */
    }
}

void raft_ask_votes(struct raft *raft)
{
    struct raft_message message = {.type = RAFT_VOTE, .granted = raft->handed_over};

    raft->ask_owed = false;
    ask_voters(raft, &message);
    lead_if_won(raft);
}

int raft_vote_answered(struct raft *raft, uint32_t from, const struct raft_message *message)
{
    struct raft_peer *peer = raft_peer(raft, from);
    bool pre = message->type == RAFT_PRE_VOTE_REPLY;

    if (peer == NULL || !message->granted ||
        raft->role != (pre ? RAFT_PRE_CANDIDATE : RAFT_CANDIDATE) ||
        message->asked_term != raft->term + pre) {
        return 0;
    }
    peer->granted = true;
    if (!pre) {
        lead_if_won(raft);
        return 0;
    }
    return won(raft) ? raft_campaign(raft, false) : 0;
}

/* ---- Being asked ---- */

/* Dissertation, 9.6: yes, if it could win, and we too miss a leader. Whether we are in the same configuration does not
 * matter, nor whether we have a vote in ours: the candidate's may be newer (4.1). */
int raft_pre_vote_asked(struct raft *raft, uint32_t from, const struct raft_message *message)
{
    struct raft_message reply = {
        .type = RAFT_PRE_VOTE_REPLY,
        .asked_term = message->term + 1,
        .granted =
            message->term >= raft->term && !raft_leader_alive(raft) && up_to_date(raft, message),
    };

    raft_send(raft, from, &reply);
    return 0;
}

void raft_send_vote(struct raft *raft)
{
    struct raft_message reply = {
        .type = RAFT_VOTE_REPLY,
        .asked_term = raft->term,
        .granted = true,
    };

    raft->vote_owed = false;
    raft_send(raft, raft->voted_for, &reply);
}

int raft_vote_asked(struct raft *raft, uint32_t from, const struct raft_message *message)
{
    struct raft_message refusal = {.type = RAFT_VOTE_REPLY, .asked_term = raft->term};

    if ((raft->voted_for != 0 && raft->voted_for != from) || !up_to_date(raft, message)) {
        raft_send(raft, from, &refusal);
        return 0;
    }
    if (raft->voted_for == 0) {
        int rc = raft_set_vote(raft, raft->term, from);
        if (rc != 0) {
            return rc;
        }
    }
    raft_reset_election(raft);
    if (raft_vote_durable(raft)) {
        raft_send_vote(raft);
    } else {
        raft->vote_owed = true;
    }
    return 0;
}
