#include "raft_private.h"

/* A leader knows all that is committed from when an entry of its own term is (dissertation, 6.4). */
void raft_note_commit(struct raft *raft, uint64_t commit)
{
    raft->current = raft->current ||
                    (raft->applied >= commit && raft_log_term(&raft->log, commit) == raft->term);
}

int raft_apply(struct raft *raft)
{
    if (raft->applied < raft->snapshot.index) {
        struct bytes state = buffer_bytes(&raft->snapshot.bytes);
        state =
            bytes_of(state.data + raft->snapshot.state_at, state.size - raft->snapshot.state_at);
        int rc = raft->ports.machine->restore(raft->ports.machine, raft->snapshot.index, state);
        if (rc != 0) {
            return rc;
        }
        raft->applied = raft->snapshot.index;
        raft->applied_bytes = 0;
    }
    while (raft->applied < raft->commit) {
        const struct raft_entry *entry = raft_log_at(&raft->log, raft->applied + 1);
        raft->applied++;
        raft->applied_bytes += raft_entry_bytes(entry);
        raft->ports.machine->apply(raft->ports.machine, entry);
    }
    raft_snapshot_save(raft);
    return 0;
}
