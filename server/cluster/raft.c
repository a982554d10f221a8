#include "raft_private.h"

#include <assert.h>
#include <errno.h>

#include "crc32c.h"

/* SplitMix64 (Steele, Lea and Flood, "Fast Splittable Pseudorandom Number Generators", 2014). */
static uint64_t random_next(struct raft *raft)
{
    uint64_t x = raft->random += UINT64_C(0x9e3779b97f4a7c15);

    x = (x ^ (x >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
    x = (x ^ (x >> 27)) * UINT64_C(0x94d049bb133111eb);
    return x ^ (x >> 31);
}

void raft_await_leader(struct raft *raft)
{
    raft->election_due_ms =
        raft->now_ms + raft->options.election_ms + random_next(raft) % raft->options.election_ms;
}

void raft_reset_election(struct raft *raft)
{
    if (raft_is_voter(raft) && raft_members_voters(&raft->members) == 1) {
        raft->election_due_ms = raft->now_ms; /* The only voter disturbs nobody. */
    } else {
        raft_await_leader(raft);
    }
}

bool raft_leader_alive(const struct raft *raft)
{
    return raft->role == RAFT_LEADER ||
           (raft->leader != 0 && raft->now_ms - raft->contact_ms < raft->options.election_ms);
}

void raft_send(struct raft *raft, uint32_t to, struct raft_message *message)
{
    if (!raft_vote_durable(raft)) {
        return;
    }
    message->term = raft->term;
    raft->out.size = 0;
    if (raft_message_put(&raft->out, message) == 0) {
        raft->ports.net->send(raft->ports.net, to, buffer_bytes(&raft->out));
    }
}

struct raft_peer *raft_peer(struct raft *raft, uint32_t node)
{
    for (uint32_t i = 0; i < raft->peer_count; i++) {
        if (raft->peers[i].node == node) {
            return &raft->peers[i];
        }
    }
    return NULL;
}

int raft_set_vote(struct raft *raft, uint64_t term, uint32_t node)
{
    assert(term > raft->term || (term == raft->term && raft->voted_for == 0));
    int rc = raft->ports.store->vote(raft->ports.store, raft->issued + 1, term, node);

    if (rc == 0) {
        raft->issued++;
        raft->vote_sequence = raft->issued;
        raft->term = term;
        raft->voted_for = node;
        raft->vote_owed = false;
        raft->ask_owed = false;
    }
    return rc;
}

void raft_follow(struct raft *raft, uint32_t leader)
{
    raft->role = RAFT_FOLLOWER;
    raft->leader = leader;
    raft->matched = raft->commit; /* Any leader has what is committed (paper, 5.4.3). */
    raft->ack_owed = false;
    raft->ask_owed = false;
    raft->transfer_to = 0;
    raft_reset_election(raft);
    raft_trace(raft, RAFT_EVENT_FOLLOWER, raft->term, leader);
}

/* ---- Members ---- */

static void keep_peers(struct raft *raft)
{
    uint32_t kept = 0;

    for (uint32_t i = 0; i < raft->peer_count; i++) {
        if (raft_members_find(&raft->members, raft->peers[i].node) != NULL) {
            raft->peers[kept++] = raft->peers[i];
        }
    }
    raft->peer_count = kept;
    for (uint32_t i = 0; i < raft->members.count; i++) {
        uint32_t node = raft->members.list[i].node;
        if (node != raft->options.node && raft_peer(raft, node) == NULL) {
            raft->peers[raft->peer_count++] =
                (struct raft_peer){.node = node, .next = raft_log_last(&raft->log) + 1};
        }
    }
}

void raft_refresh_members(struct raft *raft)
{
    uint64_t index = raft_log_last(&raft->log);

    while (index > raft->snapshot.index && raft_log_at(&raft->log, index)->kind != RAFT_MEMBERS) {
        index--;
    }
    if (index > raft->snapshot.index) {
        struct reader reader = reader_of(raft_log_at(&raft->log, index)->data);
        int rc = raft_members_read(&reader, &raft->members);
        assert(rc == 0); /* It was checked on its way in. */
    } else {
        raft->members = raft->snapshot.members;
    }
    raft->members_index = index;
    keep_peers(raft);
    raft_trace(raft, RAFT_EVENT_MEMBERS, index, raft_members_voters(&raft->members));
}

/* ---- Beginning and end ---- */

static bool entries_are_good(const struct raft_saved *saved)
{
    uint64_t index = saved->snapshot_index, term = saved->snapshot_term;

    for (uint32_t i = 0; i < saved->entry_count; i++) {
        const struct raft_entry *entry = &saved->entries[i];
        struct reader reader = reader_of(entry->data);
        struct raft_members members;
        if (entry->index != ++index || entry->term < term || entry->term == 0 ||
            (entry->kind == RAFT_MEMBERS && raft_members_read(&reader, &members) != 0)) {
            return false;
        }
        term = entry->term;
    }
    return term <= saved->term && saved->term <= RAFT_NUMBER_MAX && index <= RAFT_NUMBER_MAX &&
           (saved->snapshot_index == 0) == (saved->snapshot_term == 0);
}

static int load_snapshot(struct raft *raft, const struct raft_saved *saved)
{
    struct raft_snapshot *snapshot = &raft->snapshot;

    int rc = buffer_append(&snapshot->bytes, saved->snapshot);
    if (rc != 0) {
        return rc;
    }
    snapshot->index = saved->snapshot_index;
    snapshot->term = saved->snapshot_term;
    snapshot->crc = crc32c(0, saved->snapshot);
    raft_log_reset(&raft->log, snapshot->index, snapshot->term);
    raft->commit = snapshot->index;
    return raft_snapshot_open(snapshot);
}

static int load(struct raft *raft, const struct raft_saved *saved)
{
    if (!entries_are_good(saved)) {
        return -EBADMSG;
    }
    raft->term = saved->term;
    raft->voted_for = saved->voted_for;
    int rc = saved->snapshot_index > 0 ? load_snapshot(raft, saved) : 0;
    for (uint32_t i = 0; rc == 0 && i < saved->entry_count; i++) {
        rc = raft_log_stage(&raft->log, &saved->entries[i]);
    }
    if (rc == 0 && saved->entry_count > 0) {
        raft_log_adopt(&raft->log, 0);
    }
    if (rc == 0 && saved->commit > raft_log_last(&raft->log)) {
        rc = -EBADMSG;
    }
    if (rc == 0) {
        raft->commit = saved->commit > raft->commit ? saved->commit : raft->commit;
        raft->durable = raft_log_last(&raft->log);
        raft_refresh_members(raft);
        rc = raft_apply(raft);
    }
    return rc;
}

int raft_init(struct raft *raft, const struct raft_options *options, const struct raft_ports *ports,
              const struct raft_saved *saved, uint64_t now_ms)
{
    const struct raft_saved nothing = {0};

    assert(options->node != 0);
    assert(options->heartbeat_ms > 0 && options->heartbeat_ms <= options->election_ms / 2);
    *raft = (struct raft){
        .options = *options,
        .ports = *ports,
        .random = options->seed,
        .now_ms = now_ms,
        .out = {.memory = ports->memory},
        .snapshot = {.bytes = {.memory = ports->memory}},
        .incoming = {.bytes = {.memory = ports->memory}},
    };
    raft_log_init(&raft->log, ports->memory);
    int rc = load(raft, saved != NULL ? saved : &nothing);
    if (rc != 0) {
        raft_fini(raft);
        return rc;
    }
    raft_follow(raft, 0);
    return 0;
}

void raft_fini(struct raft *raft)
{
    raft_log_fini(&raft->log);
    raft_snapshot_fini(raft);
    buffer_fini(&raft->out);
}

int raft_list_voters(struct raft_members *members, const uint32_t nodes[], uint32_t count)
{
    if (count == 0 || count > RAFT_VOTERS_MAX) {
        return -EINVAL;
    }
    for (uint32_t i = 0; i < count; i++) {
        if (raft_members_change(members, RAFT_ADD_LEARNER, nodes[i]) != 0 ||
            raft_members_change(members, RAFT_PROMOTE, nodes[i]) != 0) {
            return -EINVAL;
        }
    }
    return 0;
}

/* ---- Events ---- */

void raft_tick(struct raft *raft, uint64_t now_ms)
{
    if (now_ms > raft->now_ms) {
        raft->now_ms = now_ms;
    }
    if (raft->applied < raft->snapshot.index) {
        (void)raft_apply(raft); /* The machine could not take the snapshot before. */
    }
    if (raft->role == RAFT_LEADER) {
        raft_tick_leader(raft);
    } else if (raft->now_ms >= raft->election_due_ms) {
        raft_pre_campaign(raft);
    }
}

/* A message of an older term: whoever sent it learns of the newer one (paper, 5.1). */
static void answer_old(struct raft *raft, uint32_t from, const struct raft_message *message)
{
    struct raft_message reply = {.type = RAFT_VOTE_REPLY, .asked_term = message->term};

    if (message->type == RAFT_VOTE) {
        raft_send(raft, from, &reply);
    } else if (message->type == RAFT_APPEND || message->type == RAFT_SNAPSHOT) {
        raft_reject(raft, from, message->index, 0);
    }
}

static int timeout_now_came(struct raft *raft, uint32_t from)
{
    if (raft->role == RAFT_FOLLOWER && raft->leader == from && raft_is_voter(raft)) {
        return raft_campaign(raft, true);
    }
    return 0;
}

static int dispatch(struct raft *raft, uint32_t from, const struct raft_message *message)
{
    switch (message->type) {
    case RAFT_VOTE:
        return raft_vote_asked(raft, from, message);
    case RAFT_VOTE_REPLY:
        return raft_vote_answered(raft, from, message);
    case RAFT_APPEND:
        return raft_append_came(raft, from, message);
    case RAFT_APPEND_REPLY:
        return raft_append_answered(raft, from, message);
    case RAFT_SNAPSHOT:
        return raft_snapshot_came(raft, from, message);
    case RAFT_SNAPSHOT_REPLY:
        return raft_snapshot_answered(raft, from, message);
    case RAFT_TIMEOUT_NOW:
        return timeout_now_came(raft, from);
    case RAFT_PRE_VOTE:
    case RAFT_PRE_VOTE_REPLY:
        break;
    }
    return 0;
}

int raft_receive(struct raft *raft, uint32_t from, struct bytes bytes)
{
    struct raft_message message;

    int rc = raft_message_parse(bytes, &message);
    if (rc != 0 || from == raft->options.node) {
        return rc;
    }
    if (message.type == RAFT_PRE_VOTE) {
        return raft_pre_vote_asked(raft, from, &message); /* Changes no term. */
    }
    if (message.type == RAFT_VOTE && !message.granted && raft_leader_alive(raft)) {
        return 0; /* Nor do those who were removed and have not heard of it (dissertation, 4.2.3). */
    }
    if (message.term > raft->term) {
        rc = raft_set_vote(raft, message.term, 0);
        if (rc != 0) {
            return rc;
        }
        raft_follow(raft, 0);
        raft_await_leader(
            raft); /* The only voter, too: another one may lead, of a list that it does not know. */
    }
    if (message.type == RAFT_PRE_VOTE_REPLY) {
        return raft_vote_answered(raft, from, &message); /* Its term may well be older. */
    }
    if (message.term < raft->term) {
        answer_old(raft, from, &message);
        return 0;
    }
    return dispatch(raft, from, &message);
}

/* ---- The store ---- */

int raft_store_entry(struct raft *raft, const struct raft_entry *entry)
{
    int rc = raft_log_stage(&raft->log, entry);

    return rc != 0 ? rc : raft_store_staged(raft);
}

int raft_store_staged(struct raft *raft)
{
    struct raft_entry *staged = raft_log_staged(&raft->log);
    uint64_t first = staged[0].index, last = raft_log_last(&raft->log);
    bool members = first <= raft->members_index;

    for (uint32_t i = 0; i < raft->log.staged; i++) {
        members |= staged[i].kind == RAFT_MEMBERS;
    }
    int rc =
        raft->ports.store->append(raft->ports.store, raft->issued + 1, staged, raft->log.staged);
    if (rc != 0) {
        raft_log_unstage(&raft->log);
        return rc;
    }
    raft->issued++;
    raft_log_adopt(&raft->log, raft->issued);
    if (first <= last) {
        raft->durable = raft->durable < first ? raft->durable : first - 1;
        raft_trace(raft, RAFT_EVENT_TRUNCATED, first, last);
    }
    if (members) {
        raft_refresh_members(raft);
    }
    return 0;
}

/* The calls are durable in their order, so the entries are. */
static void advance_durable(struct raft *raft)
{
    if (raft->durable < raft->snapshot.index) { /* It came from the leader. */
        if (raft->stored < raft->snapshot.sequence) {
            return;
        }
        raft->durable = raft->snapshot.index;
    }
    while (raft->durable < raft_log_last(&raft->log) &&
           raft_log_at(&raft->log, raft->durable + 1)->sequence <= raft->stored) {
        raft->durable++;
    }
}

void raft_stored(struct raft *raft, uint64_t sequence)
{
    assert(sequence <= raft->issued);
    if (sequence <= raft->stored) {
        return;
    }
    raft->stored = sequence;
    advance_durable(raft);
    if (raft->vote_owed && raft_vote_durable(raft)) {
        raft_send_vote(raft);
    }
    if (raft->ask_owed && raft_vote_durable(raft)) {
        raft_ask_votes(raft);
    }
    if (raft->ack_owed && raft_vote_durable(raft)) {
        raft_confirm(raft);
    }
    if (raft->role == RAFT_LEADER) {
        raft_advance_commit(raft);
    }
    raft_snapshot_save(raft);
}
