#include "cross.h"

#include <assert.h>
#include <unistd.h>

#include "batch.h"
#include "calls.h"
#include "connection.h"
#include "door.h"
#include "native_door.h"
#include "plane_private.h"
#include "receive.h"
#include "shard_thread.h"
#include "slowlog.h"

enum cross_kind {
    CROSS_REQUEST = 1,
    CROSS_ANSWER,
    CROSS_NO_ANSWER,
    CROSS_TURNED,
    CROSS_SOCKET,
    CROSS_MOVED
};

/* Of every message. Its bytes follow the message's struct, or lie in the block. */
struct cross_head {
    uint32_t kind;
    uint32_t size;
    struct chunk *block; /* A large one, of no pool meanwhile. */
};

struct cross_request_message {
    struct cross_head head;
    struct request request; /* Of its strings only the sizes count. */
    struct call call;       /* REQUEST: of the sender, how to answer. */
    uint32_t answer_bytes;  /* TURNED: how large the answer would be. */
};

struct cross_answer_message {
    struct cross_head head;
    uint64_t ticket;
};

/* In place of an answer: there was no memory for it, or for the call. */
struct cross_no_answer_message {
    struct cross_head head;
    uint64_t ticket;
    uint32_t status;
};

struct cross_socket_message {
    struct cross_head head;
    int fd;
    uint64_t client, request_id;
    const struct protocol *protocol;
    const struct user *user;
};

/* Room for a message and `size` bytes after it. Returns where the bytes go, NULL when there is none. */
static uint8_t *begin(struct shard_thread *thread, uint32_t shard, size_t message_size, size_t size,
                      uint32_t spare, struct cross_head **head)
{
    struct chunk *block = NULL;

    if (message_size + size > HOP_MESSAGE_MAX) {
        /* One that may pass between pools, however small. */
        block = chunk_take(&thread->chunks, size > CHUNK_BYTES ? size : CHUNK_BYTES + 1);
        if (block == NULL) {
            return NULL;
        }
    }
    size_t whole = message_size + (block == NULL ? size : 0);
    *head = hop_send(thread->hops_out[shard], (uint32_t)whole, spare);
    if (*head == NULL) {
        if (block != NULL) {
            chunk_give(&thread->chunks, block);
        }
        return NULL;
    }
    if (block != NULL) {
        chunk_leave(&thread->chunks, block);
    }
    **head = (struct cross_head){.size = (uint32_t)size, .block = block};
    return block == NULL ? (uint8_t *)*head + message_size : block->data;
}

static uint8_t *put(uint8_t *to, struct bytes bytes)
{
    if (bytes.size > 0) {
        memcpy(to, bytes.data, bytes.size);
    }
    return to + bytes.size;
}

/* The request as a message of `kind`, but for what only that kind has. NULL where there is no room. */
static struct cross_request_message *send_request(struct shard_thread *thread, uint32_t shard,
                                                  enum cross_kind kind,
                                                  const struct request *request, uint32_t spare)
{
    size_t size = request->key.size + request->version.size + request->body.size;
    struct cross_head *head;
    uint8_t *to = begin(thread, shard, sizeof(struct cross_request_message), size, spare, &head);

    if (to == NULL) {
        return NULL;
    }
    struct cross_request_message *message = (struct cross_request_message *)head;
    head->kind = kind;
    message->request = *request;
    to = put(to, request->key);
    to = put(to, request->version);
    put(to, request->body);
    return message;
}

bool cross_has_room(struct shard_thread *thread, uint32_t count, size_t bytes)
{
    const uint64_t most = HOP_BYTES - HOP_SPARE_BYTES;
    uint64_t wanted = bytes + (uint64_t)count * (sizeof(struct cross_request_message) + 16);

    wanted = wanted < most ? wanted : most;
    for (uint32_t i = 0; i < thread->plane->options.shard_count; i++) {
        struct hop *hop = thread->hops_out[i];
        if (hop != NULL && !hop_has_room(hop, wanted + HOP_SPARE_BYTES)) {
            return false;
        }
    }
    return true;
}

bool cross_request(struct shard_thread *thread, uint32_t shard, const struct request *request)
{
    uint64_t began_us = request->body.size > BULK_BYTES_MIN ? monotonic_us() : 0;
    struct cross_request_message *message =
        send_request(thread, shard, CROSS_REQUEST, request, HOP_SPARE_BYTES);

    if (message == NULL) {
        return false;
    }
    message->call = *calls_find(&thread->calls, request->ticket);
    if (began_us != 0) {
        message->request.received_us +=
            monotonic_us() - began_us; /* Being copied is not waiting. */
    }
    thread->stats.hops++;
    return true;
}

/* ---- Answers ---- */

static bool send_answer(struct shard_thread *thread, uint32_t shard, uint64_t ticket,
                        struct bytes answer)
{
    struct cross_head *head;
    uint8_t *to = begin(thread, shard, sizeof(struct cross_answer_message), answer.size, 0, &head);

    if (to == NULL) {
        return false;
    }
    head->kind = CROSS_ANSWER;
    ((struct cross_answer_message *)head)->ticket = ticket;
    put(to, answer);
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

static struct request request_of(const struct cross_request_message *message, const uint8_t *at)
{
    struct request request = message->request;

    request.key.data = at;
    request.version.data = at + request.key.size;
    request.body.data = request.version.data + request.version.size;
    return request;
}

static bool send_turned(struct shard_thread *thread, uint32_t shard, uint64_t ticket,
                        const struct request *request, uint32_t answer_bytes)
{
    struct cross_request_message *message = send_request(thread, shard, CROSS_TURNED, request, 0);

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
    const struct request request = request_of(&message, call->held->data + sizeof message);
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

/* Pay what is owed, in order, as far as the queue takes it. */
static void pay(struct shard_thread *thread, uint32_t shard)
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

/* A request of another shard that is not taken: the call there ends with BUSY. */
static void refuse(struct shard_thread *thread, uint32_t from, uint64_t ticket)
{
    struct owed *owed = &thread->owed[from];

    if (!send_no_answer(thread, from, ticket, STATUS_BUSY)) {
        assert(owed->refused_count < REFUSED_MAX); /* had_enough() looked. */
        owed->refused[owed->refused_count++] = ticket;
    }
}

/* ---- Sockets ---- */

bool cross_socket(struct shard_thread *thread, uint32_t shard, int fd)
{
    struct cross_head *head;
    if (begin(thread, shard, sizeof(struct cross_socket_message), 0, 0, &head) == NULL) {
        return false;
    }
    struct cross_socket_message *message = (struct cross_socket_message *)head;
    head->kind = CROSS_SOCKET;
    message->fd = fd;
    return true;
}

void cross_move(struct shard_thread *thread, struct connection *connection)
{
    struct buffer rest = {.memory = thread->memory};
    struct cross_head *head;
    uint32_t shard = connection->move_to;
    uint8_t *to = NULL;

    if (receive_rest(connection, &rest) == 0) {
        to = begin(thread, shard, sizeof(struct cross_socket_message), rest.size, 0, &head);
    }
    if (to == NULL) {
        connection_mark(thread, connection);
        thread->again = true;
        buffer_fini(&rest);
        return;
    }
    struct cross_socket_message *message = (struct cross_socket_message *)head;
    head->kind = CROSS_MOVED;
    message->fd = connection->fd;
    message->client = connection->client;
    message->request_id = connection->move_request;
    message->protocol = connection->protocol;
    message->user = connection->user;
    put(to, buffer_bytes(&rest));
    buffer_fini(&rest);
    atomic_fetch_add(&thread->plane->threads[shard].connection_count, 1);
    connection_forget(thread, connection);
}

/* ---- Receiving ---- */

static void take_request(struct shard_thread *thread, uint32_t from,
                         const struct cross_request_message *message, const uint8_t *at)
{
    struct request request = request_of(message, at);
    struct call *call;

    bool owes_much = thread->owed[from].bytes > OWED_BYTES_MAX;
    uint64_t ticket = owes_much ? 0 : calls_take(&thread->calls, &call);
    if (ticket == 0) {
        refuse(thread, from, request.ticket);
        return;
    }
    uint32_t generation = call->generation;
    *call = message->call;
    call->generation = generation;
    call->remote = true;
    call->origin = (uint8_t)from;
    call->origin_ticket = request.ticket;
    call->gather = NULL;
    call->task = NULL;
    call->held = NULL;
    call->awaited = false;
    if (call->slow != NULL) {
        slow_hold(call->slow);
    }
    request.ticket = ticket;
    shard_prepare(thread->shard, &request);
    batch_add(thread, &request, NULL, bytes_of(NULL, 0));
}

static void take_turned(struct shard_thread *thread, uint32_t from,
                        const struct cross_request_message *message, const uint8_t *at)
{
    struct request request = request_of(message, at);

    turned_take(thread, from, &request, message->answer_bytes);
}

static void take_no_answer(struct shard_thread *thread,
                           const struct cross_no_answer_message *message)
{
    bool busy = message->status == STATUS_BUSY;

    door_refuse(thread, message->ticket, (enum status)message->status,
                busy ? "the session's shard has no memory for this now"
                     : "no memory for the answer");
}

static void take_socket(struct shard_thread *thread, const struct cross_socket_message *message,
                        struct bytes rest)
{
    struct connection *connection = connection_open(thread, message->fd);

    if (connection == NULL) {
        close(message->fd);
        atomic_fetch_sub(&thread->connection_count, 1);
        return;
    }
    if (message->head.kind == CROSS_SOCKET) {
        thread->stats.accepted++;
        return;
    }
    connection->client = message->client;
    connection->protocol = message->protocol;
    connection->user = message->user;
    native_hello_answer(thread, connection, message->request_id);
    connection_feed(thread, connection, rest);
}

static void take(struct shard_thread *thread, uint32_t from, struct bytes bytes)
{
    static const size_t sizes[] = {
        [CROSS_REQUEST] = sizeof(struct cross_request_message),
        [CROSS_ANSWER] = sizeof(struct cross_answer_message),
        [CROSS_TURNED] = sizeof(struct cross_request_message),
        [CROSS_NO_ANSWER] = sizeof(struct cross_no_answer_message),
        [CROSS_SOCKET] = sizeof(struct cross_socket_message),
        [CROSS_MOVED] = sizeof(struct cross_socket_message),
    };
    const struct cross_head *head = (const void *)bytes.data;
    assert(head->kind >= CROSS_REQUEST && head->kind <= CROSS_MOVED);
    const uint8_t *at = head->block == NULL ? bytes.data + sizes[head->kind] : head->block->data;

    switch ((enum cross_kind)head->kind) {
    case CROSS_REQUEST:
        take_request(thread, from, (const void *)head, at);
        break;
    case CROSS_ANSWER:
        door_deliver(thread, ((const struct cross_answer_message *)(const void *)head)->ticket,
                     bytes_of(at, head->size));
        break;
    case CROSS_TURNED:
        take_turned(thread, from, (const void *)head, at);
        break;
    case CROSS_NO_ANSWER:
        take_no_answer(thread, (const void *)head);
        break;
    case CROSS_SOCKET:
    case CROSS_MOVED:
        take_socket(thread, (const void *)head, bytes_of(at, head->size));
        break;
    }
    if (head->block != NULL) {
        chunk_enter(&thread->chunks, head->block);
        head->block->next = thread->spent;
        thread->spent = head->block;
    }
}

/* Answers to other shards' requests have no connection here whose pace would hold them back. */
static bool had_enough(struct shard_thread *thread, uint32_t from)
{
    if (thread->batch.count >= PREFETCH_MAX) {
        batch_run(thread);
    }
    return thread->crossed_bytes > BULK_TURN_BYTES ||
           thread->owed[from].refused_count == REFUSED_MAX;
}

void cross_receive(struct shard_thread *thread)
{
    uint32_t count = thread->plane->options.shard_count;

    for (uint32_t i = 0; i < count; i++) {
        uint32_t from = (thread->cross_first + i) % count;
        if (from == thread->index) {
            continue;
        }
        for (;;) {
            if (had_enough(thread, from)) {
                thread->again = true;
                thread->cross_first = from + 1;
                return;
            }
            struct bytes bytes = hop_receive(thread->hops_in[from]);
            if (bytes.size == 0) {
                break;
            }
            take(thread, from, bytes);
        }
    }
}

void cross_release(struct shard_thread *thread)
{
    for (uint32_t from = 0; from < thread->plane->options.shard_count; from++) {
        if (from != thread->index) {
            hop_release(thread->hops_in[from]);
        }
    }
}

bool cross_waiting(const struct shard_thread *thread)
{
    for (uint32_t shard = 0; shard < thread->plane->options.shard_count; shard++) {
        if (shard != thread->index &&
            (hop_waiting(thread->hops_in[shard]) || thread->owed[shard].first != 0 ||
             thread->owed[shard].refused_count > 0)) {
            return true;
        }
    }
    return false;
}

static void wake(struct shard_thread *thread, uint32_t shard)
{
    struct shard_thread *other = &thread->plane->threads[shard];

    /* Pairs with the sleeper: it says that it sleeps, then looks; we send, then ask. */
    atomic_thread_fence(memory_order_seq_cst);
    if (atomic_load(&other->asleep) == 0 || atomic_exchange(&other->asleep, 0) == 0) {
        return;
    }
    struct io_uring_sqe *sqe = ring_submission(&thread->ring);
    io_uring_prep_msg_ring(sqe, other->ring.uring.ring_fd, 0, ring_tag_pack(RING_HOP, 0, 0), 0);
    io_uring_sqe_set_data64(sqe, ring_tag_pack(RING_HOP_SENT, shard, 0));
}

void cross_flush(struct shard_thread *thread)
{
    for (uint32_t shard = 0; shard < thread->plane->options.shard_count; shard++) {
        if (shard == thread->index) {
            continue;
        }
        pay(thread, shard);
        if (hop_publish(thread->hops_out[shard])) {
            wake(thread, shard);
        }
    }
}

static void drop(struct shard_thread *thread, uint32_t from)
{
    for (;;) {
        struct bytes bytes = hop_receive(thread->hops_in[from]);
        if (bytes.size == 0) {
            return;
        }
        const struct cross_head *head = (const void *)bytes.data;
        if (head->kind == CROSS_SOCKET || head->kind == CROSS_MOVED) {
            close(((const struct cross_socket_message *)(const void *)head)->fd);
        }
        if (head->block != NULL) {
            chunk_free(thread->memory, head->block);
        }
    }
}

void cross_fini(struct shard_thread *thread)
{
    for (uint32_t shard = 0; shard < thread->plane->options.shard_count; shard++) {
        if (shard == thread->index) {
            continue;
        }
        (void)hop_publish(thread->plane->threads[shard].hops_out[thread->index]);
        drop(thread, shard);
    }
}
