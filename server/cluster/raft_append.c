#include <errno.h>

#include "raft_private.h"

bool raft_hear_leader(struct raft *raft, uint32_t from)
{
    if (raft->role == RAFT_LEADER || (raft->leader != 0 && raft->leader != from)) {
        return false; /* One leader in a term (paper, 5.2): that one is none. */
    }
    if (raft->role != RAFT_FOLLOWER || raft->leader == 0) {
        raft_follow(raft, from);
    }
    raft->contact_ms = raft->now_ms;
    raft_await_leader(raft);
    return true;
}

void raft_confirm(struct raft *raft)
{
    uint64_t match = raft->matched < raft->durable ? raft->matched : raft->durable;
    struct raft_message reply = {
        .type = RAFT_APPEND_REPLY,
        .index = match,
        .granted = true,
        .match = match,
    };

    raft->ack_owed = match < raft->matched || !raft_vote_durable(raft);
    raft_send(raft, raft->leader, &reply);
}

void raft_reject(struct raft *raft, uint32_t to, uint64_t index, uint64_t hint)
{
    struct raft_message reply = {.type = RAFT_APPEND_REPLY, .index = index, .match = hint};

    raft_send(raft, to, &reply);
}

/* Stage the first entry that the log does not have as the leader has it, and all after it.
 *
 * Returns 0, -ENOMEM, or -EBADMSG where that would replace what is certain. */
static int stage_new(struct raft *raft, const struct raft_message *message)
{
    struct reader reader = reader_of(message->entries);
    uint64_t certain = raft->matched > raft->commit ? raft->matched : raft->commit;

    for (uint32_t i = 1; i <= message->entry_count; i++) {
        struct raft_entry entry = raft_message_entry(&reader);
        entry.index = message->index + i;
        bool same = entry.index < raft->log.base_index ||
                    raft_log_term(&raft->log, entry.index) == entry.term;
        if (raft->log.staged == 0 && same) {
            continue;
        }
        int rc = entry.index <= certain ? -EBADMSG : raft_log_stage(&raft->log, &entry);
        if (rc != 0) {
            raft_log_unstage(&raft->log);
            return rc;
        }
    }
    return 0;
}

/* Paper, figure 2, "AppendEntries RPC". */
int raft_append_came(struct raft *raft, uint32_t from, const struct raft_message *message)
{
    uint64_t last = raft_log_last(&raft->log);

    if (!raft_hear_leader(raft, from)) {
        return 0;
    }
    if (message->index >= raft->log.base_index &&
        raft_log_term(&raft->log, message->index) != message->index_term) {
        /* Where there is an entry, but another one, what is committed is the same for certain. */
        raft_reject(raft, from, message->index, message->index > last ? last : raft->commit);
        return 0;
    }
    int rc = stage_new(raft, message);
    if (rc == 0 && raft->log.staged > 0) {
        rc = raft_store_staged(raft);
    }
    if (rc != 0) {
        return rc;
    }
    uint64_t end = message->index + message->entry_count;
    if (end > raft->matched) {
        raft->matched = end;
    }
    raft_confirm(raft);
    uint64_t commit = message->commit < end ? message->commit : end;
    if (commit > raft->commit) {
        raft->commit = commit;
        (void)raft_apply(raft);
    }
    raft_note_commit(raft, message->commit);
    return 0;
}
