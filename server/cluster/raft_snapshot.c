#include <assert.h>
#include <errno.h>

#include "crc32c.h"
#include "raft_private.h"

enum { SNAPSHOT_VERSION = 1 };

void raft_snapshot_fini(struct raft *raft)
{
    buffer_fini(&raft->snapshot.bytes);
    buffer_fini(&raft->incoming.bytes);
}

int raft_snapshot_open(struct raft_snapshot *snapshot)
{
    struct bytes bytes = buffer_bytes(&snapshot->bytes);
    struct reader reader = reader_of(bytes);

    if (read_u8(&reader) != SNAPSHOT_VERSION ||
        raft_members_read(&reader, &snapshot->members) != 0) {
        return -EBADMSG;
    }
    snapshot->state_at = bytes.size - reader_left(&reader);
    return 0;
}

/* ---- Making one ---- */

/* The members as of an entry that is not before the snapshot's. */
static struct raft_members members_at(const struct raft *raft, uint64_t index)
{
    struct raft_members members = raft->snapshot.members;

    for (; index > raft->snapshot.index; index--) {
        const struct raft_entry *entry = raft_log_at(&raft->log, index);
        struct reader reader = reader_of(entry->data);
        if (entry->kind == RAFT_MEMBERS) {
            int rc = raft_members_read(&reader, &members);
            assert(rc == 0);
            break;
        }
    }
    return members;
}

/* What stands before the machine's bytes. */
static int put_head(struct buffer *to, const struct raft_members *members)
{
    int rc = buffer_reserve(to, 1 + RAFT_MEMBERS_BYTES_MAX);

    if (rc == 0) {
        to->data[to->size] = SNAPSHOT_VERSION;
        to->size += 1 + raft_members_put(to->data + to->size + 1, members);
    }
    return rc;
}

int raft_first_snapshot(const uint32_t nodes[], uint32_t count, struct bytes state,
                        struct buffer *to)
{
    struct raft_members members = {0};

    int rc = raft_list_voters(&members, nodes, count);
    if (rc == 0) {
        rc = put_head(to, &members);
    }
    return rc != 0 ? rc : buffer_append(to, state);
}

int raft_make_snapshot(struct raft *raft, struct buffer *to, struct raft_place *place)
{
    if (raft->applied == 0 || raft->applied < raft->snapshot.index) {
        return -EAGAIN;
    }
    struct raft_members members = members_at(raft, raft->applied);
    int rc = put_head(to, &members);
    if (rc == 0) {
        rc = raft->ports.machine->save(raft->ports.machine, to);
    }
    if (rc == 0) {
        place->index = raft->applied;
        place->term = raft_log_term(&raft->log, raft->applied);
    }
    return rc;
}

static int write_snapshot(struct raft *raft, struct raft_snapshot *snapshot)
{
    struct buffer *bytes = &snapshot->bytes;

    int rc = put_head(bytes, &snapshot->members);
    if (rc != 0) {
        return rc;
    }
    snapshot->state_at = bytes->size;
    rc = raft->ports.machine->save(raft->ports.machine, bytes);
    if (rc == 0 && bytes->size > RAFT_SNAPSHOT_BYTES_MAX) {
        rc = -EFBIG;
    }
    if (rc == 0) {
        snapshot->crc = crc32c(0, buffer_bytes(bytes));
        rc = raft->ports.store->snapshot(raft->ports.store, raft->issued + 1, snapshot->index,
                                         snapshot->term, buffer_bytes(bytes), false);
    }
    return rc;
}

static void take_over(struct raft *raft, struct raft_snapshot *snapshot)
{
    raft->issued++;
    snapshot->sequence = raft->issued;
    buffer_fini(&raft->snapshot.bytes);
    raft->snapshot = *snapshot;
    for (uint32_t i = 0; i < raft->peer_count; i++) {
        raft->peers[i].offset = 0;
    }
}

/* A member that is taking the last one would have to begin anew with the next, perhaps for ever. */
static bool somebody_takes_one(const struct raft *raft)
{
    for (uint32_t i = 0; raft->role == RAFT_LEADER && i < raft->peer_count; i++) {
        if (raft->peers[i].snapshot &&
            raft->now_ms - raft->peers[i].heard_ms < raft->options.election_ms) {
            return true;
        }
    }
    return false;
}

static bool is_due(const struct raft *raft)
{
    uint64_t limit = raft->options.log_bytes;

    return raft->applied_bytes > limit && raft->applied >= raft->snapshot.index &&
           raft->durable >= raft->applied &&
           (raft->applied_bytes > 2 * limit || !somebody_takes_one(raft));
}

void raft_snapshot_save(struct raft *raft)
{
    if (!is_due(raft)) {
        return;
    }
    struct raft_snapshot snapshot = {
        .index = raft->applied,
        .term = raft_log_term(&raft->log, raft->applied),
        .members = members_at(raft, raft->applied),
        .bytes = {.memory = raft->ports.memory},
    };
    if (write_snapshot(raft, &snapshot) != 0) {
        buffer_fini(&snapshot.bytes);
        return;
    }
    take_over(raft, &snapshot);
    raft->applied_bytes = 0;
    if (raft->members_index < snapshot.index) {
        raft->members_index = snapshot.index;
    }
    if (snapshot.index > raft->options.kept_entries) {
        raft_log_drop_until(&raft->log, snapshot.index - raft->options.kept_entries);
    }
    raft_trace(raft, RAFT_EVENT_SAVED, snapshot.index, snapshot.bytes.size);
}

/* ---- Sending it ---- */

void raft_snapshot_send(struct raft *raft, struct raft_peer *peer)
{
    const struct raft_snapshot *snapshot = &raft->snapshot;
    struct raft_message message = {
        .type = RAFT_SNAPSHOT,
        .index = snapshot->index,
        .index_term = snapshot->term,
        .size = snapshot->bytes.size,
        .crc = snapshot->crc,
        .offset = peer->offset,
    };

    if (peer->offset ==
        snapshot->bytes.size) { /* It has all, and has not said that it is stored. */
        message.offset = peer->offset - 1;
    }
    size_t left = (size_t)(message.size - message.offset);
    message.chunk = bytes_of(snapshot->bytes.data + message.offset,
                             left < RAFT_CHUNK_BYTES ? left : RAFT_CHUNK_BYTES);
    raft_send(raft, peer->node, &message);
}

int raft_snapshot_answered(struct raft *raft, uint32_t from, const struct raft_message *message)
{
    struct raft_peer *peer = raft_peer(raft, from);

    if (raft->role != RAFT_LEADER || peer == NULL) {
        return 0;
    }
    peer->heard_ms = raft->now_ms;
    if (!peer->snapshot || message->index != raft->snapshot.index ||
        message->index_term != raft->snapshot.term || message->crc != raft->snapshot.crc ||
        message->offset > raft->snapshot.bytes.size) {
        return 0;
    }
    /* What is not ahead answers something older, or the member has lost the beginning: that goes with the next
     * heartbeat, so that a message that comes twice does not make all after it come twice. */
    bool ahead = message->offset > peer->offset;
    peer->offset = message->offset;
    if (ahead && message->offset < raft->snapshot.bytes.size) {
        raft_snapshot_send(raft, peer);
    }
    return 0;
}

/* ---- Taking one in ---- */

static void answer(struct raft *raft, const struct raft_message *message, uint64_t offset)
{
    struct raft_message reply = {
        .type = RAFT_SNAPSHOT_REPLY,
        .index = message->index,
        .index_term = message->index_term,
        .crc = message->crc,
        .offset = offset,
    };

    raft_send(raft, raft->leader, &reply);
}

static bool is_incoming(const struct raft_incoming *incoming, const struct raft_message *message)
{
    return incoming->index == message->index && incoming->term == message->index_term &&
           incoming->size == message->size && incoming->crc == message->crc;
}

static void forget_incoming(struct raft *raft)
{
    buffer_fini(&raft->incoming.bytes);
    raft->incoming = (struct raft_incoming){.bytes = {.memory = raft->ports.memory}};
}

/* All has come: it takes the place of the log (paper, figure 13, step 7). */
static int install(struct raft *raft)
{
    struct raft_incoming *incoming = &raft->incoming;
    struct raft_snapshot snapshot = {
        .index = incoming->index,
        .term = incoming->term,
        .crc = incoming->crc,
        .bytes = incoming->bytes,
    };

    if (crc32c(0, buffer_bytes(&incoming->bytes)) != incoming->crc ||
        raft_snapshot_open(&snapshot) != 0) {
        forget_incoming(raft);
        return -EBADMSG;
    }
    int rc = raft->ports.store->snapshot(raft->ports.store, raft->issued + 1, snapshot.index,
                                         snapshot.term, buffer_bytes(&snapshot.bytes), true);
    if (rc != 0) {
        return rc;
    }
    incoming->bytes = (struct buffer){.memory = raft->ports.memory}; /* The snapshot's now. */
    forget_incoming(raft);
    take_over(raft, &snapshot);
    raft_log_reset(&raft->log, snapshot.index, snapshot.term);
    raft->durable = raft->durable < raft->commit ? raft->durable : raft->commit;
    raft->commit = snapshot.index;
    raft->matched = snapshot.index;
    raft_refresh_members(raft);
    raft_trace(raft, RAFT_EVENT_INSTALLED, snapshot.index, snapshot.bytes.size);
    (void)raft_apply(raft); /* Where the machine cannot yet, a tick asks again. */
    return 0;
}

static int take_chunk(struct raft *raft, const struct raft_message *message)
{
    struct raft_incoming *incoming = &raft->incoming;

    if (!is_incoming(incoming, message)) {
        if (message->offset > 0) {
            answer(raft, message, 0); /* Its beginning is not here. */
            return 0;
        }
        forget_incoming(raft);
        incoming->index = message->index;
        incoming->term = message->index_term;
        incoming->size = message->size;
        incoming->crc = message->crc;
    }
    if (message->offset == incoming->bytes.size) {
        int rc = buffer_append(&incoming->bytes, message->chunk);
        if (rc != 0) {
            return rc;
        }
    }
    answer(raft, message, incoming->bytes.size);
    return incoming->bytes.size == incoming->size ? install(raft) : 0;
}

int raft_snapshot_came(struct raft *raft, uint32_t from, const struct raft_message *message)
{
    if (!raft_hear_leader(raft, from)) {
        return 0;
    }
    /* What is here already need not come: it is then the leader's up to there (paper, figure 13, step 6). */
    bool have = message->index <= raft->commit ||
                raft_log_term(&raft->log, message->index) == message->index_term;
    int rc = have ? 0 : take_chunk(raft, message);
    if (rc != 0) {
        return rc;
    }
    if (have) {
        forget_incoming(raft);
        raft->matched = raft->matched > message->index ? raft->matched : message->index;
        if (message->index > raft->commit) {
            raft->commit = message->index;
            (void)raft_apply(raft);
        }
    }
    if (raft->matched >= message->index) {
        raft_confirm(raft);
    }
    return 0;
}
