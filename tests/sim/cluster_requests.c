/* Requests at a node, as server/uring has them (batch.c, far.c, copies.c): it executes one, or passes it on to who
 * coordinates its slot; the answer goes to the client by the node that he is connected to. */
#include <assert.h>
#include <stddef.h>
#include <string.h>

#include "cluster_scenario.h"

enum { HOPS_MAX = 3, WAIT_US = 5000, MISS_MS = 10 * 1000 };

static struct cluster_node *node_of(struct door *door)
{
    struct copies_node *copies =
        (struct copies_node *)(void *)((char *)door - offsetof(struct copies_node, door));

    return cluster_node_at(copies->sim, copies->node);
}

/* ---- Answers ---- */

void cluster_requests_answered(struct cluster_node *node, const struct cluster_answer *answer)
{
    sim_net_send(node->sim, node->place, SIM_NODES_MAX + answer->client,
                 bytes_of(answer, sizeof *answer));
}

static void answer(struct cluster_node *node, const struct cluster_request *request,
                   const struct cluster_answer *made)
{
    if (request->door == node->place) {
        cluster_requests_answered(node, made);
    } else {
        sim_net_send(node->sim, node->place, request->door, bytes_of(made, sizeof *made));
    }
}

static struct cluster_answer answer_to(const struct cluster_request *request, enum status status)
{
    struct cluster_answer made;

    memset(&made, 0, sizeof made);
    made.what = CLUSTER_ANSWER;
    made.status = (uint8_t)status;
    made.client = request->client;
    made.attempt = request->attempt;
    return made;
}

static struct cluster_call *call_of(struct cluster_node *node, uint64_t ticket)
{
    uint32_t i = 0;

    while (i < CLUSTER_SIM_CALLS_MAX && node->calls[i].ticket != ticket) {
        i++;
    }
    SIM_CHECK("answer", i < CLUSTER_SIM_CALLS_MAX, "an answer to nothing, or a second one");
    return &node->calls[i];
}

static void note_reply(struct cluster_node *node, struct cluster_call *call,
                       const struct reply *reply)
{
    const struct cluster_request *request = &call->request;

    call->executes = false;
    call->answer = answer_to(request, reply->status);
    call->answer.ack = (uint8_t)reply->ack;
    call->answer.hlc = reply->hlc;
    operation_version_set(&call->answer.version, reply->version);
    if (request->operation == CLUSTER_GET) {
        cluster_check_get(node, request, reply);
    } else if (reply->status == STATUS_OK && !reply->repeated) {
        cluster_check_write(node, request);
        copies_oracle_executed(node->copies, request->write, reply->hlc);
    }
    if (reply->status == STATUS_OK && !request->any) {
        cluster_check_access(node, request->key);
    }
    node->sim->counts[SIM_REPEATS_KNOWN] += reply->repeated;
}

static void reply(struct door *door, uint64_t ticket, const struct reply *reply, bool held)
{
    struct cluster_node *node = node_of(door);
    struct cluster_call *call = call_of(node, ticket);

    SIM_CHECK("answer", call->executes, "a second answer");
    sim_note(node->sim, status_name(reply->status), node->place, call->request.write, reply->ack);
    sim_count(node->sim, SIM_REQUESTS);
    note_reply(node, call, reply);
    call->held = held;
    if (!held) {
        call->ticket = 0;
        answer(node, &call->request, &call->answer);
    }
}

static void release(struct door *door, uint64_t ticket, enum status status, enum ack_level level,
                    const char *text)
{
    struct cluster_node *node = node_of(door);
    struct cluster_call *call = call_of(node, ticket);

    (void)text;
    SIM_CHECK("answer", call->held, "the release of an answer that is not held");
    sim_note(node->sim, "release", node->place, call->request.write, level);
    call->ticket = 0;
    call->answer.status = (uint8_t)status;
    call->answer.ack = (uint8_t)level;
    answer(node, &call->request, &call->answer);
}

/* ---- What others may have of a write that is repeated (server/uring/copies.c) ---- */

static bool is_settled(const struct slot_table *table)
{
    for (uint32_t i = 0; i < table->member_count; i++) {
        if (!table->members[i].serves) {
            return false;
        }
    }
    return memcmp(table->owners, table->targets, sizeof table->owners) == 0;
}

void cluster_requests_table(struct cluster_node *node, const struct slot_table *table)
{
    node->copies_settled = is_settled(table);
}

static uint64_t slot_taken_ms(const struct copies_node *copies, uint32_t slot)
{
    const uint64_t first_ms = replication_first_ms(copies->replication, slot);

    return first_ms > copies->taken_ms ? first_ms : copies->taken_ms;
}

static bool may_miss(const struct cluster_node *node, uint32_t slot, bool stands_in)
{
    const struct copies_node *copies = node->copies;
    const struct slot_owners *owners = &copies->table->owners[slot];

    if (stands_in || !node->copies_settled ||
        copies_node_now_ms(copies) - slot_taken_ms(copies, slot) < MISS_MS) {
        return true;
    }
    for (uint32_t rank = 0; rank < PLACEMENT_REPLICAS_MAX && owners->nodes[rank] != 0; rank++) {
        if (owners->nodes[rank] != copies->number &&
            !replication_reaches(copies->replication, owners->nodes[rank], 0)) {
            return true;
        }
    }
    return false;
}

static uint64_t taken_hlc(const struct cluster_node *node, uint32_t slot, bool stands_in)
{
    const struct copies_node *copies = node->copies;
    bool any_time = stands_in;

    for (uint32_t i = 0; i < copies->table->member_count; i++) {
        uint32_t member = copies->table->members[i].number;
        any_time |=
            member != copies->number && !replication_reaches(copies->replication, member, 0);
    }
    return any_time ? UINT64_MAX : hlc_of_ms(slot_taken_ms(copies, slot) + CLUSTER_SIM_SKEW_MS);
}

/* ---- Execution ---- */

/* What comes now lay in a socket while the node was stopped. */
static bool is_late(const struct cluster_node *node)
{
    return node->copies->late_us == node->sim->now_us;
}

static void execute(struct cluster_node *node, const struct cluster_request *from)
{
    struct copies_node *copies = node->copies;
    const struct copies_oracle *oracle = &cluster_scenario_of(node->sim)->copies.oracle;
    struct cluster_call *call = call_of(node, 0);
    struct bytes key = copies_key(from->key);
    uint32_t slot = slot_of_key(key);
    bool stands_in = copies->table->owners[slot].nodes[0] != copies->number &&
                     !replication_keeps(copies->replication, slot);
    uint64_t now_ms = copies_node_now_ms(copies);
    uint8_t changes[128];
    struct request request = {
        .ticket = ++copies->tickets,
        .op = REQUEST_GET,
        .received_us = is_late(node) ? copies->before_us : copies_node_now_us(copies),
        .key = key,
    };

    if (from->operation == CLUSTER_WRITE) {
        request.op = REQUEST_WRITE;
        request.type = SESSION_MAP;
        request.ack = (uint8_t)(ACK_MEMORY + from->write % 3);
        request.client = from->client;
        request.sequence = from->sequence;
        request.retry_hlc = from->retry_hlc;
        request.elsewhere = may_miss(node, slot, stands_in);
        request.taken_hlc = from->retry_hlc == 0 ? 0 : taken_hlc(node, slot, stands_in);
        request.body = copies_changes(&oracle->writes[from->write], from->write, changes);
        if (!is_late(node)) {
            copies_oracle_begins(copies, from->write);
        }
    } else {
        request.flags = GET_META | (from->any ? GET_ANY | GET_NO_TOUCH : 0U);
        request.version = operation_version_bytes(&from->floor);
    }
    *call = (struct cluster_call){.ticket = request.ticket, .executes = true, .request = *from};
    shard_prepare(copies->shard, &request);
    shard_execute(copies->shard, &request, now_ms, copies_node_now_us(copies));
    SIM_CHECK("answer", !call->executes, "a request was not answered");
}

/* ---- Routes ---- */

/* Of a write the shard says that it is not done any more. */
static void take_late(struct cluster_node *node, const struct cluster_request *request)
{
    if (request->operation == CLUSTER_WRITE) {
        execute(node, request);
    } else {
        struct cluster_answer late = answer_to(request, STATUS_BUSY);
        answer(node, request, &late);
    }
}

static void ask_again(struct sim *sim, const struct sim_event *event)
{
    struct cluster_request request;

    assert(event->data.size == sizeof request);
    memcpy(&request, event->data.data, sizeof request);
    cluster_requests_receive(cluster_node_at(sim, event->end), &request);
}

static void wait(struct cluster_node *node, const struct cluster_request *request)
{
    sim_push(node->sim, (struct sim_event){
                            .at_us = node->sim->now_us + WAIT_US,
                            .name = "route-again",
                            .end = node->place,
                            .life = node->sim->nodes[node->place].life,
                            .run = ask_again,
                            .data = bytes_of(request, sizeof *request),
                        });
}

static bool pass_on(struct cluster_node *node, const struct cluster_request *request,
                    const struct route_far *far)
{
    struct cluster_request passed = *request;
    uint32_t place = cluster_node_place_of(node, far->node);

    if (request->hops == HOPS_MAX || place == 0) {
        return false;
    }
    passed.hops++;
    passed.flags = far->flags;
    passed.sent_us = node->sim->now_us;
    sim_net_send(node->sim, node->place, place, bytes_of(&passed, sizeof passed));
    return true;
}

void cluster_requests_receive(struct cluster_node *node, const struct cluster_request *request)
{
    struct copies_node *copies = node->copies;
    uint32_t slot = slot_of_key(copies_key(request->key));
    struct route_far far = {0};
    copies_node_wakes(copies);
    if (is_late(node)) {
        take_late(node, request);
        return;
    }
    bool here = request->operation == CLUSTER_GET && request->any &&
                slot_owners_has(&copies->table->owners[slot], copies->number) &&
                (replication_is_level(copies->replication, slot) ||
                 !slot_table_is_apart(copies->table, slot));
    enum route route =
        here ? ROUTE_LOCAL : replication_route(copies->replication, slot, request->flags, &far);

    sim_note(node->sim, "route", node->place, request->key, (uint64_t)route);
    if (route == ROUTE_LOCAL) {
        cluster_check_serves(node, slot, here);
        execute(node, request);
    } else if (route == ROUTE_WAIT) {
        wait(node, request);
    } else if (route == ROUTE_NOWHERE || !pass_on(node, request, &far)) {
        struct cluster_answer none = answer_to(request, STATUS_UNAVAILABLE);
        answer(node, request, &none);
    }
    copies_node_turn(copies);
}

void cluster_requests_init(struct cluster_node *node)
{
    memset(node->calls, 0, sizeof node->calls);
    node->copies->door = (struct door){.reply = reply, .release = release};
}
