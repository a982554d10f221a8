/* A cluster that begins with an entry, in the place of a snapshot (raft_first_snapshot()): so tests have a log from its first
 * entry on. */
#ifndef RAFT_BOOTSTRAP_H
#define RAFT_BOOTSTRAP_H

#include <errno.h>

#include "raft_private.h"

/* The first members, all voters: their list is stored as entry 1 of term 1. On one node for a cluster that grows by
 * raft_change(); or with the same list on all of it. It is as stored once raft_stored() says so.
 *
 * Returns 0; -EEXIST where there is a vote, an entry, a snapshot or a term above 1; -EINVAL for no nodes, too many,
 * one twice or one that is 0; -ENOMEM or the store's error: it may be called again. */
static inline int raft_bootstrap(struct raft *raft, const uint32_t nodes[], uint32_t count)
{
    struct raft_members members = {0};
    uint8_t bytes[RAFT_MEMBERS_BYTES_MAX];

    if (raft->term > 1 || raft->voted_for != 0 || raft_log_last(&raft->log) > 0) {
        return -EEXIST;
    }
    int rc = raft_list_voters(&members, nodes, count);
    if (rc == 0 && raft->term == 0) {
        rc = raft_set_vote(raft, 1, 0);
    }
    if (rc != 0) {
        return rc;
    }
    struct raft_entry entry = {.index = 1, .term = 1, .kind = RAFT_MEMBERS};
    entry.data = bytes_of(bytes, raft_members_put(bytes, &members));
    rc = raft_store_entry(raft, &entry);
    if (rc == 0) {
        raft_reset_election(raft);
    }
    return rc;
}

#endif
