/* Answers to other shards' requests, requests turned back, and what of both is owed to a full queue. */
#include <assert.h>

#include "cross_private.h"
#include "shard_thread.h"

static bool send_answer(struct shard_thread *thread, uint32_t shard, uint64_t ticket,
                        struct bytes answer)
{
    struct cross_head *head;
    uint8_t *to =
        cross_begin(thread, shard, sizeof(struct cross_answer_message), answer.size, 0, &head);

    if (to == NULL) {
        return false;
    }
    head->kind = CROSS_ANSWER;
    ((struct cross_answer_message *)head)->ticket = ticket;
    cross_put(to, answer);
    return true;
}

/* This needs room in the queue only. */
static bool send_no_answer(struct shard_thread *thread, uint32_t shard, uint64_t ticket,
                           enum status status)
{
    struct cross_no_answer_message *message = hop_send(thread->hops_out[shard], sizeof *message, 0);

    if (message != NULL) {
        *message = (struct cross_no_answer_message){
            .head = {.kind = CROSS_NO_ANSWER},
            .ticket = ticket,
            .status = status,
        };
    }
    return message != NULL;
}

static bool send_turned(struct shard_thread *thread, uint32_t shard, uint64_t ticket,
                        const struct request *request, uint32_t answer_bytes)
{
    struct cross_request_message *message =
        cross_put_request(thread, shard, CROSS_TURNED, request, 0);

    if (message == NULL) {
        return false;
    }
    message->request.ticket = ticket;
    message->answer_bytes = answer_bytes;
    return true;
}

/* The request in `held`: a message, and its bytes. */
static bool send_owed_turned(struct shard_thread *thread, uint32_t shard, const struct call *call)
{
    struct cross_request_message message;

    memcpy(&message, call->held->data, sizeof message);
    const struct request request = cross_request_of(&message, call->held->data + sizeof message);
    return send_turned(thread, shard, call->origin_ticket, &request, message.answer_bytes);
}

/* Send what is in `held`, or that there was no memory for it. */
static bool send_owed(struct shard_thread *thread, uint32_t shard, const struct call *call)
{
    const struct held *held = call->held;

    if (call->turned) {
        return send_owed_turned(thread, shard, call);
    }
    return (held != NULL &&
            send_answer(thread, shard, call->origin_ticket, bytes_of(held->data, held->size))) ||
           (held == NULL &&
            send_no_answer(thread, shard, call->origin_ticket, calls_lost_status(call)));
}

static void owe(struct shard_thread *thread, struct call *call, struct bytes answer)
{
    struct owed *owed = &thread->owed[call->origin];
    uint32_t index = (uint32_t)(call - thread->calls.table) + 1;

    if (call->held == NULL) {
        (void)calls_hold(&thread->calls, call, answer); /* Else it is lost, which will be said. */
    }
    owed->bytes += call->held == NULL ? 0 : call->held->size;
    call->next = 0;
    if (owed->last == 0) {
        owed->first = index;
    } else {
        thread->calls.table[owed->last - 1].next = index;
    }
    owed->last = index;
}

bool cross_answer(struct shard_thread *thread, struct call *call, struct bytes answer)
{
    thread->crossed_bytes += answer.size;
    if (thread->owed[call->origin].first == 0 &&
        send_answer(thread, call->origin, call->origin_ticket, answer)) {
        return true;
    }
    owe(thread, call, answer);
    return false;
}

/* Keep it in `held`. Returns 0 or -ENOMEM. */
static int keep_turned(struct shard_thread *thread, struct call *call,
                       const struct request *request, uint32_t answer_bytes)
{
    const struct cross_request_message message = {
        .request = *request,
        .answer_bytes = answer_bytes,
    };
    struct buffer *whole = &thread->scratch;

    whole->size = 0;
    int rc = buffer_append(whole, bytes_of(&message, sizeof message));
    rc = rc != 0 ? rc : buffer_append(whole, request->key);
    rc = rc != 0 ? rc : buffer_append(whole, request->version);
    rc = rc != 0 ? rc : buffer_append(whole, request->body);
    rc = rc != 0 ? rc : calls_hold(&thread->calls, call, buffer_bytes(whole));
    call->turned = rc == 0;
    return rc;
}

int cross_turn_back(struct shard_thread *thread, struct call *call, const struct request *request,
                    uint32_t answer_bytes)
{
    if (thread->owed[call->origin].first == 0 &&
        send_turned(thread, call->origin, call->origin_ticket, request, answer_bytes)) {
        return 1;
    }
    int rc = keep_turned(thread, call, request, answer_bytes);
    if (rc == 0) {
        owe(thread, call, bytes_of(NULL, 0));
    }
    return rc;
}

void cross_pay(struct shard_thread *thread, uint32_t shard)
{
    struct owed *owed = &thread->owed[shard];

    while (owed->first != 0) {
        struct call *call = &thread->calls.table[owed->first - 1];
        if (!send_owed(thread, shard, call)) {
            break;
        }
        owed->bytes -= call->held == NULL ? 0 : call->held->size;
        owed->first = call->next;
        owed->last = owed->first == 0 ? 0 : owed->last;
        calls_give(&thread->calls, call);
    }
    while (owed->refused_count > 0 &&
           send_no_answer(thread, shard, owed->refused[owed->refused_count - 1], STATUS_BUSY)) {
        owed->refused_count--;
    }
}

void cross_refuse(struct shard_thread *thread, uint32_t from, uint64_t ticket)
{
    struct owed *owed = &thread->owed[from];

    if (!send_no_answer(thread, from, ticket, STATUS_BUSY)) {
        assert(owed->refused_count < REFUSED_MAX); /* had_enough() looked. */
        owed->refused[owed->refused_count++] = ticket;
    }
}
