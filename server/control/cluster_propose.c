/* Proposals of this node: each is kept until it comes back applied, and sent to the leader again and again until then. */
#include <errno.h>
#include <string.h>

#include "cluster_private.h"

/* A frame, or the leader with it, may be lost: so long it is waited for before it is sent again. */
static uint64_t again_ms(const struct cluster *cluster)
{
    return cluster->raft.options.election_ms;
}

static struct cluster_proposal *find(struct cluster *cluster, uint64_t number)
{
    for (uint32_t i = 0; number != 0 && i < CLUSTER_PROPOSALS_MAX; i++) {
        if (cluster->proposals[i].number == number) {
            return &cluster->proposals[i];
        }
    }
    return NULL;
}

static void settle(struct cluster *cluster, struct cluster_proposal *proposal, int rc)
{
    if (!proposal->settled) {
        proposal->settled = true;
        proposal->rc = rc;
        proposal->epoch = cluster->map->epoch;
    }
}

static void forget(struct cluster *cluster, struct cluster_proposal *proposal)
{
    buffer_fini(&proposal->entry);
    *proposal = (struct cluster_proposal){.number = 0};
    cluster->proposal_count--;
}

/* ---- To the leader ---- */

/* Never from within Raft. */
static void send(struct cluster *cluster, struct cluster_proposal *proposal)
{
    struct bytes entry = buffer_bytes(&proposal->entry);
    struct raft_place place;

    if (cluster_leads(cluster)) {
        int rc = raft_propose(&cluster->raft, entry, &place);
        proposal->sent_ms = rc == 0 ? cluster->now_ms : 0;
    } else if (cluster->raft.leader != 0 &&
               cluster_send(cluster, cluster->raft.leader, PEER_PROPOSE, proposal->number, entry)) {
        proposal->sent_ms = cluster->now_ms;
    }
}

void cluster_proposals_again(struct cluster *cluster)
{
    for (uint32_t i = 0; cluster->proposal_count > 0 && i < CLUSTER_PROPOSALS_MAX; i++) {
        struct cluster_proposal *proposal = &cluster->proposals[i];
        if (proposal->number != 0 && !proposal->settled) {
            proposal->sent_ms = 0;
            send(cluster, proposal);
        }
    }
}

void cluster_proposals_tick(struct cluster *cluster)
{
    for (uint32_t i = 0; cluster->proposal_count > 0 && i < CLUSTER_PROPOSALS_MAX; i++) {
        struct cluster_proposal *proposal = &cluster->proposals[i];
        if (proposal->number == 0 || proposal->settled) {
            continue;
        }
        if (cluster->now_ms - proposal->begin_ms >= CLUSTER_PROPOSE_MS) {
            settle(cluster, proposal, -ETIMEDOUT);
        } else if (proposal->sent_ms == 0 ||
                   cluster->now_ms - proposal->sent_ms >= again_ms(cluster)) {
            send(cluster, proposal);
        }
    }
}

static int add(struct cluster *cluster, const struct map_command *command,
               struct cluster_proposal **added)
{
    const struct actor self = cluster->options.self;
    struct cluster_proposal *place = cluster->proposals;

    if (cluster->ends) {
        return -ECANCELED;
    }
    if (cluster->proposal_count == CLUSTER_PROPOSALS_MAX) {
        return -EAGAIN;
    }
    while (place->number != 0) {
        place++;
    }
    const struct cluster_proposer by = {self.node, cluster->options.run,
                                        cluster->proposal_number + 1};
    struct buffer entry = {.memory = cluster->options.memory};
    int rc = cluster_entry_put(&entry, &by, command);
    if (rc != 0) {
        buffer_fini(&entry);
        return rc;
    }
    cluster->proposal_number++;
    cluster->proposal_count++;
    cluster->proposed++;
    *place = (struct cluster_proposal){
        .number = by.number,
        .entry = entry,
        .begin_ms = cluster->now_ms,
    };
    *added = place;
    return 0;
}

int cluster_propose(struct cluster *cluster, uint64_t now_ms, const struct map_command *command,
                    void (*done)(void *context, const struct cluster_outcome *outcome),
                    void *context)
{
    struct cluster_proposal *proposal;

    cluster->now_ms = now_ms > cluster->now_ms ? now_ms : cluster->now_ms;
    int rc = add(cluster, command, &proposal);
    if (rc != 0) {
        return rc;
    }
    proposal->done = done;
    proposal->context = context;
    send(cluster, proposal);
    cluster->options.port.wake_in(cluster->options.port.context, cluster_tick_ms(cluster));
    return 0;
}

/* What comes after the proposal's number. */
static struct bytes command_of(const struct buffer *entry)
{
    struct reader reader = reader_of(buffer_bytes(entry));

    (void)read_u8(&reader);
    (void)read_varint(&reader);
    (void)read_varint(&reader);
    (void)read_varint(&reader);
    return bytes_of(reader.at, reader_left(&reader));
}

/* The number of the same one; 0: there is none. */
static uint64_t under_way(const struct cluster *cluster, struct bytes command)
{
    for (uint32_t i = 0; cluster->proposal_count > 0 && i < CLUSTER_PROPOSALS_MAX; i++) {
        const struct cluster_proposal *proposal = &cluster->proposals[i];
        if (proposal->number != 0 && proposal->done == NULL &&
            bytes_equal(command_of(&proposal->entry), command)) {
            return proposal->number;
        }
    }
    return 0;
}

uint64_t cluster_propose_own(struct cluster *cluster, const struct map_command *command)
{
    struct cluster_proposal *proposal;

    cluster->scratch.size = 0;
    if (map_command_encode(command, &cluster->scratch) != 0) {
        return 0;
    }
    uint64_t number = under_way(cluster, buffer_bytes(&cluster->scratch));
    if (number == 0 && add(cluster, command, &proposal) == 0) {
        number = proposal->number;
        send(cluster, proposal);
    }
    return number;
}

bool cluster_is_proposed(const struct cluster *cluster, uint64_t number)
{
    for (uint32_t i = 0; number != 0 && i < CLUSTER_PROPOSALS_MAX; i++) {
        if (cluster->proposals[i].number == number) {
            return true;
        }
    }
    return false;
}

/* ---- What became of them ---- */

void cluster_proposal_applied(struct cluster *cluster, const struct cluster_applied *applied)
{
    if (applied->by.node != cluster->options.self.node ||
        applied->by.start != cluster->options.run) {
        return;
    }
    struct cluster_proposal *proposal = find(cluster, applied->by.number);
    if (proposal != NULL) {
        settle(cluster, proposal, applied->rc);
    }
}

/* After a snapshot took the place of the log nobody said what was applied. */
static void look_up(struct cluster *cluster)
{
    cluster->restored = false;
    for (uint32_t i = 0; i < CLUSTER_PROPOSALS_MAX; i++) {
        struct cluster_proposal *proposal = &cluster->proposals[i];
        const struct cluster_proposer by = {cluster->options.self.node, cluster->options.run,
                                            proposal->number};
        const struct cluster_applied *applied =
            proposal->number == 0 ? NULL : cluster_outcome_of(&cluster->outcomes, &by);
        if (applied != NULL) {
            settle(cluster, proposal, applied->rc);
        }
    }
}

static const char *text_of(int rc)
{
    switch (rc) {
    case 0:
        return "done";
    case -EALREADY:
        return "it is so already";
    case -EINVAL:
        return "a value is out of its limits";
    case -ENOENT:
        return "there is no such member or policy";
    case -EEXIST:
        return "another member has that number or name";
    case -E2BIG:
        return "there are as many as there may be";
    case -EPERM:
        return "not from its present state";
    case -EBUSY:
        return "it still has slots, or is in use: drain it, or wait until it is down";
    case -ESTALE:
        return "the map has changed meanwhile";
    case -ETIMEDOUT:
        return "no majority of the voters answered in time; it may still happen";
    case -ECANCELED:
        return "this node stops";
    default:
        return "the leader does not know this command: it runs another version";
    }
}

static void tell(struct cluster *cluster, struct cluster_proposal *proposal)
{
    const struct cluster_outcome outcome = {
        .rc = proposal->rc,
        .epoch = proposal->epoch,
        .text = text_of(proposal->rc),
        .map = cluster->map,
    };
    void (*done)(void *, const struct cluster_outcome *) = proposal->done;
    void *context = proposal->context;

    cluster->proposals_failed += outcome.rc != 0 && outcome.rc != -EALREADY;
    forget(cluster, proposal);
    if (done != NULL) {
        done(context, &outcome);
    }
}

void cluster_proposals_follow_up(struct cluster *cluster)
{
    if (cluster->restored) {
        look_up(cluster);
    }
    cluster->telling = true;
    for (uint32_t i = 0; cluster->proposal_count > 0 && i < CLUSTER_PROPOSALS_MAX; i++) {
        if (cluster->proposals[i].settled) {
            tell(cluster, &cluster->proposals[i]);
        }
    }
    cluster->telling = false;
}

void cluster_proposals_cancel(struct cluster *cluster)
{
    for (uint32_t i = 0; i < CLUSTER_PROPOSALS_MAX; i++) {
        if (cluster->proposals[i].number != 0) {
            settle(cluster, &cluster->proposals[i], -ECANCELED);
        }
    }
    cluster_proposals_follow_up(cluster);
}

/* ---- Frames ---- */

static void refuse(struct cluster *cluster, uint32_t to, uint64_t number, int rc)
{
    uint8_t body[1 + VARINT_BYTES_MAX] = {CLUSTER_PROPOSED_VERSION};
    const uint8_t *end = varint_put(body + 1, (uint64_t)-rc);

    (void)cluster_send(cluster, to, PEER_PROPOSED, number, bytes_of(body, (size_t)(end - body)));
}

/* Where this is not the leader any more, or too much is under way, it comes again. */
void cluster_propose_came(struct cluster *cluster, uint32_t from, uint64_t number,
                          struct bytes body)
{
    struct cluster_proposer by;
    struct map_command command;
    struct raft_place place;

    int rc = cluster_entry_read(body, &by, &command);
    if (rc == 0 && by.node != from) {
        rc = -EBADMSG;
    }
    if (rc != 0) {
        cluster->frames_bad++;
        refuse(cluster, from, number, rc);
    } else if (cluster_outcome_of(&cluster->outcomes, &by) == NULL) {
        (void)raft_propose(&cluster->raft, body, &place);
    }
}

void cluster_proposed_came(struct cluster *cluster, uint64_t number, struct bytes body)
{
    struct reader reader = reader_of(body);
    struct cluster_proposal *proposal = find(cluster, number);
    uint8_t version = read_u8(&reader);
    uint64_t error = read_varint(&reader);

    if (!reader_done(&reader) || version != CLUSTER_PROPOSED_VERSION || error == 0 ||
        error > 4095) {
        cluster->frames_bad++;
    } else if (proposal != NULL) {
        settle(cluster, proposal, -(int)error);
    }
}
