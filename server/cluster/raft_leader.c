#include <assert.h>
#include <errno.h>

#include "raft_private.h"

static uint64_t least(uint64_t a, uint64_t b)
{
    return a < b ? a : b;
}

/* ---- Sending ---- */

/* Where memory is short, fewer entries go. */
static void put_entries(struct raft *raft, const struct raft_peer *peer, struct buffer *entries,
                        struct raft_message *message)
{
    const struct raft_entry *entry = raft_log_at(&raft->log, peer->next);

    while (entry != NULL && raft_message_put_entry(entries, entry) == 0) {
        message->entry_count++;
        entry = raft_log_at(&raft->log, peer->next + message->entry_count);
        if (entry != NULL && entries->size + entry->data.size > RAFT_APPEND_BYTES) {
            break;
        }
    }
    message->entries = buffer_bytes(entries);
}

static void send_append(struct raft *raft, struct raft_peer *peer)
{
    struct raft_message message = {.type = RAFT_APPEND, .index = peer->next - 1};
    struct buffer entries = {.memory = raft->ports.memory};

    message.index_term = raft_log_term(&raft->log, message.index);
    message.commit = raft->commit;
    put_entries(raft, peer, &entries, &message);
    peer->sent = message.index + message.entry_count;
    if (message.entry_count == 0 && peer->next <= raft_log_last(&raft->log)) {
        peer->sent = peer->next; /* As if lost: not at once again. */
    }
    peer->told = raft->commit;
    raft_send(raft, peer->node, &message);
    buffer_fini(&entries);
}

static void send_peer(struct raft *raft, struct raft_peer *peer)
{
    if (!peer->snapshot && peer->next <= raft->log.base_index) {
        peer->snapshot = true;
        peer->offset = 0;
    }
    if (peer->snapshot) {
        raft_snapshot_send(raft, peer);
    } else {
        send_append(raft, peer);
    }
}

static bool is_busy(const struct raft_peer *peer)
{
    return peer->snapshot || peer->sent >= peer->next;
}

void raft_send_all(struct raft *raft, bool again)
{
    for (uint32_t i = 0; i < raft->peer_count; i++) {
        if (again || !is_busy(&raft->peers[i])) {
            send_peer(raft, &raft->peers[i]);
        }
    }
}

/* ---- Hand-over (dissertation, 3.10) ---- */

static void send_timeout_now(struct raft *raft, uint32_t to)
{
    struct raft_message message = {.type = RAFT_TIMEOUT_NOW};

    raft_send(raft, to, &message);
    raft_trace(raft, RAFT_EVENT_HANDED_OVER, raft->term, to);
}

static void hand_over_if_level(struct raft *raft, const struct raft_peer *peer)
{
    if (raft->transfer_to != 0 && raft->transfer_to == peer->node &&
        peer->match == raft_log_last(&raft->log)) {
        send_timeout_now(raft, peer->node);
    }
}

/* The other voter with the longest log that has been heard from; 0: none. */
static uint32_t best_voter(const struct raft *raft)
{
    const struct raft_peer *best = NULL;

    for (uint32_t i = 0; i < raft->peer_count; i++) {
        const struct raft_peer *peer = &raft->peers[i];
        if (raft_members_vote(&raft->members, peer->node) &&
            (best == NULL || peer->match > best->match ||
             (peer->match == best->match && peer->heard_ms > best->heard_ms))) {
            best = peer;
        }
    }
    return best != NULL ? best->node : 0;
}

int raft_transfer(struct raft *raft, uint32_t to)
{
    if (raft->role != RAFT_LEADER) {
        return -EREMOTE;
    }
    if (raft->transfer_to != 0) {
        return -EBUSY;
    }
    uint32_t node = to != 0 ? to : best_voter(raft);
    struct raft_peer *peer = raft_peer(raft, node);
    if (peer == NULL || !raft_members_vote(&raft->members, node)) {
        return -ENOENT;
    }
    raft->transfer_to = node;
    raft->transfer_until_ms = raft->now_ms + raft->options.election_ms;
    hand_over_if_level(raft, peer);
    return 0;
}

/* ---- Commit ---- */

/* Up to where a majority of the voters has the log, stored. */
static uint64_t majority_match(const struct raft *raft)
{
    uint64_t matches[RAFT_VOTERS_MAX];
    uint32_t count = 0;

    for (uint32_t i = 0; i <= raft->peer_count; i++) {
        bool self = i == raft->peer_count;
        uint32_t node = self ? raft->options.node : raft->peers[i].node;
        if (!raft_members_vote(&raft->members, node)) {
            continue; /* Nor does a leader that removes itself count (dissertation, 4.2.2). */
        }
        uint64_t match = self ? raft->durable : raft->peers[i].match;
        uint32_t at = count++;
        for (; at > 0 && matches[at - 1] < match; at--) {
            matches[at] = matches[at - 1];
        }
        matches[at] = match;
    }
    assert(count > 0);
    return matches[raft_majority(raft) - 1];
}

/* Dissertation, 4.2.2: it led until its own removal was committed. */
static void leave_if_removed(struct raft *raft)
{
    if (raft_is_voter(raft) || raft->commit < raft->members_index) {
        return;
    }
    raft_send_all(raft, true);
    uint32_t next = best_voter(raft);
    if (next != 0) {
        send_timeout_now(raft, next);
    }
    raft_follow(raft, 0);
}

void raft_advance_commit(struct raft *raft)
{
    uint64_t index = majority_match(raft);

    /* Only entries of its own term are committed by counting; what is before them is with them (paper, 5.4.2). */
    if (index <= raft->commit || raft_log_term(&raft->log, index) != raft->term) {
        return;
    }
    raft->commit = index;
    (void)raft_apply(raft);
    raft_note_commit(raft, index);
    raft_send_all(raft, false);
    leave_if_removed(raft);
}

/* ---- Replies ---- */

static void accepted(struct raft *raft, struct raft_peer *peer, uint64_t match)
{
    if (match > peer->match) {
        peer->match = match;
    }
    if (match >= peer->next) {
        peer->next = match + 1;
    }
    if (peer->snapshot && match >= raft->log.base_index) {
        peer->snapshot = false;
        peer->next = match + 1;
        peer->sent = match;
    }
    hand_over_if_level(raft, peer);
    raft_advance_commit(raft);
}

/* It may have less than it had: a learner that lost its storage (raft.h). */
static void rejected(struct raft_peer *peer, const struct raft_message *message)
{
    if (peer->snapshot || message->index != peer->next - 1 || message->match >= message->index) {
        return; /* An answer to something older. */
    }
    peer->next = message->match + 1;
    peer->sent = message->match;
    peer->match = least(peer->match, message->match);
}

int raft_append_answered(struct raft *raft, uint32_t from, const struct raft_message *message)
{
    struct raft_peer *peer = raft_peer(raft, from);

    if (raft->role != RAFT_LEADER || peer == NULL ||
        (message->granted && message->match > raft_log_last(&raft->log))) {
        return 0;
    }
    peer->heard_ms = raft->now_ms;
    if (message->granted) {
        accepted(raft, peer, message->match);
    } else {
        rejected(peer, message);
    }
    if (raft->role == RAFT_LEADER && !is_busy(peer) &&
        (peer->next <= raft_log_last(&raft->log) || peer->told < raft->commit)) {
        send_peer(raft, peer);
    }
    return 0;
}

/* ---- Its own entries ---- */

static int append_own(struct raft *raft, enum raft_kind kind, struct bytes data,
                      struct raft_place *place)
{
    struct raft_entry entry = {
        .index = raft_log_last(&raft->log) + 1,
        .term = raft->term,
        .kind = kind,
        .data = data,
    };

    int rc = raft_store_entry(raft, &entry);
    if (rc == 0) {
        *place = (struct raft_place){.index = entry.index, .term = entry.term};
        raft_send_all(raft, false);
    }
    return rc;
}

int raft_lead(struct raft *raft)
{
    struct raft_place place;

    raft->role = RAFT_LEADER;
    raft->leader = raft->options.node;
    raft->transfer_to = 0;
    raft->heartbeat_due_ms = raft->now_ms + raft->options.heartbeat_ms;
    for (uint32_t i = 0; i < raft->peer_count; i++) {
        raft->peers[i] = (struct raft_peer){
            .node = raft->peers[i].node,
            .next = raft_log_last(&raft->log) + 1,
            .heard_ms = raft->now_ms,
        };
    }
    int rc = append_own(raft, RAFT_NOOP, bytes_of(NULL, 0), &place);
    if (rc == 0) {
        raft_trace(raft, RAFT_EVENT_LEADER, raft->term, 0);
    }
    return rc;
}

static bool uncommitted_is_full(const struct raft *raft)
{
    uint64_t bytes = 0, last = raft_log_last(&raft->log);

    for (uint64_t index = raft->commit + 1; index <= last; index++) {
        bytes += raft_entry_bytes(raft_log_at(&raft->log, index));
    }
    return last - raft->commit >= RAFT_UNCOMMITTED_MAX || bytes >= RAFT_UNCOMMITTED_BYTES_MAX;
}

static int may_append(const struct raft *raft)
{
    if (raft->role != RAFT_LEADER) {
        return -EREMOTE;
    }
    if (raft->transfer_to != 0) {
        return -EBUSY;
    }
    return uncommitted_is_full(raft) ? -EAGAIN : 0;
}

int raft_propose(struct raft *raft, struct bytes command, struct raft_place *place)
{
    int rc = may_append(raft);

    if (rc == 0 && command.size > RAFT_ENTRY_BYTES_MAX) {
        rc = -EMSGSIZE;
    }
    return rc != 0 ? rc : append_own(raft, RAFT_COMMAND, command, place);
}

/* A learner that would hold up commits as a voter stays one (dissertation, 4.2.1). */
static bool is_level(struct raft *raft, uint32_t node)
{
    const struct raft_peer *peer = raft_peer(raft, node);

    return peer == NULL || (peer->match >= raft->commit &&
                            raft->now_ms - peer->heard_ms < raft->options.election_ms);
}

int raft_change(struct raft *raft, enum raft_change change, uint32_t node, struct raft_place *place)
{
    struct raft_members members = raft->members;
    uint8_t bytes[RAFT_MEMBERS_BYTES_MAX];

    int rc = may_append(raft);
    /* One change at a time; and the first only after an entry of its own term, else two leaders could change the
     * members of the same log differently (Ongaro, "bug in single-server membership changes", raft-dev, 2015). */
    if (rc == 0 && (raft->members_index > raft->commit ||
                    raft_log_term(&raft->log, raft->commit) != raft->term)) {
        rc = -EAGAIN;
    }
    if (rc == 0) {
        rc = raft_members_change(&members, change, node);
    }
    if (rc == 0 && change == RAFT_PROMOTE && !is_level(raft, node)) {
        rc = -EAGAIN;
    }
    if (rc != 0) {
        return rc;
    }
    struct bytes data = bytes_of(bytes, raft_members_put(bytes, &members));
    return append_own(raft, RAFT_MEMBERS, data, place);
}

/* ---- Time ---- */

/* Dissertation, 6.2: whoever asks a leader that is cut off should not wait for it for ever. */
static bool hears_majority(const struct raft *raft)
{
    uint32_t heard = raft_is_voter(raft);

    for (uint32_t i = 0; i < raft->peer_count; i++) {
        const struct raft_peer *peer = &raft->peers[i];
        heard += raft_members_vote(&raft->members, peer->node) &&
                 raft->now_ms - peer->heard_ms < raft->options.election_ms;
    }
    return heard >= raft_majority(raft);
}

void raft_tick_leader(struct raft *raft)
{
    if (!hears_majority(raft)) {
        raft_trace(raft, RAFT_EVENT_NO_QUORUM, raft->term, 0);
        raft_follow(raft, 0);
        return;
    }
    if (raft->transfer_to != 0 && raft->now_ms >= raft->transfer_until_ms) {
        raft->transfer_to = 0;
    }
    if (raft->now_ms < raft->heartbeat_due_ms) {
        return;
    }
    raft->heartbeat_due_ms = raft->now_ms + raft->options.heartbeat_ms;
    raft_send_all(raft, true);
    struct raft_peer *to = raft_peer(raft, raft->transfer_to);
    if (to != NULL) {
        hand_over_if_level(raft, to);
    }
}
