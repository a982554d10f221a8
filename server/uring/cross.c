#include "cross_private.h"

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

/* ---- Messages ---- */

uint8_t *cross_begin(struct shard_thread *thread, uint32_t shard, size_t message_size, size_t size,
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

struct cross_request_message *cross_put_request(struct shard_thread *thread, uint32_t shard,
                                                enum cross_kind kind, const struct request *request,
                                                uint32_t spare)
{
    size_t size = request->key.size + request->version.size + request->body.size;
    struct cross_head *head;
    uint8_t *to =
        cross_begin(thread, shard, sizeof(struct cross_request_message), size, spare, &head);

    if (to == NULL) {
        return NULL;
    }
    struct cross_request_message *message = (struct cross_request_message *)head;
    head->kind = kind;
    message->request = *request;
    message->request.admitted = false; /* This one's shard was asked, not that one's. */
    to = cross_put(to, request->key);
    to = cross_put(to, request->version);
    cross_put(to, request->body);
    return message;
}

struct request cross_request_of(const struct cross_request_message *message, const uint8_t *at)
{
    struct request request = message->request;

    request.key.data = at;
    request.version.data = at + request.key.size;
    request.body.data = request.version.data + request.version.size;
    return request;
}

/* ---- Requests ---- */

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
        cross_put_request(thread, shard, CROSS_REQUEST, request, HOP_SPARE_BYTES);

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

/* ---- Sockets ---- */

bool cross_socket(struct shard_thread *thread, uint32_t shard, int fd, bool redirects)
{
    struct cross_head *head;
    if (cross_begin(thread, shard, sizeof(struct cross_socket_message), 0, 0, &head) == NULL) {
        return false;
    }
    struct cross_socket_message *message = (struct cross_socket_message *)head;
    head->kind = CROSS_SOCKET;
    message->fd = fd;
    message->redirects = redirects;
    return true;
}

void cross_move(struct shard_thread *thread, struct connection *connection)
{
    struct buffer rest = {.memory = thread->memory};
    struct cross_head *head;
    uint32_t shard = connection->move_to;
    uint8_t *to = NULL;

    if (receive_rest(connection, &rest) == 0) {
        to = cross_begin(thread, shard, sizeof(struct cross_socket_message), rest.size, 0, &head);
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
    message->redirects = connection->redirects;
    message->late = connection->input_late.kept;
    message->client = connection->client;
    message->request_id = connection->move_request;
    message->protocol = connection->protocol;
    message->user = connection->user;
    cross_put(to, buffer_bytes(&rest));
    buffer_fini(&rest);
    atomic_fetch_add(&thread->plane->threads[shard].connection_count, 1);
    connection_forget(thread, connection);
}

/* ---- Receiving ---- */

static void take_request(struct shard_thread *thread, uint32_t from,
                         const struct cross_request_message *message, const uint8_t *at)
{
    struct request request = cross_request_of(message, at);
    struct call *call;

    bool owes_much = thread->owed[from].bytes > OWED_BYTES_MAX;
    uint64_t ticket = owes_much ? 0 : calls_take(&thread->calls, &call);
    if (ticket == 0) {
        cross_refuse(thread, from, request.ticket);
        return;
    }
    uint32_t generation = call->generation;
    *call = message->call;
    call->generation = generation;
    call->remote = true;
    call->far = false; /* It came over a link of that thread's. */
    call->away = NULL;
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
    struct request request = cross_request_of(message, at);

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
    connection->redirects = message->redirects;
    if (message->head.kind == CROSS_SOCKET) {
        thread->stats.accepted++;
        return;
    }
    connection->client = message->client;
    connection->protocol = message->protocol;
    connection->user = message->user;
    connection->input_late.late = message->late;
    native_hello_answer(thread, connection, message->request_id);
    connection_feed(thread, connection, rest);
}

static void take(struct shard_thread *thread, uint32_t from, const struct cross_head *head)
{
    static const size_t sizes[] = {
        [CROSS_REQUEST] = sizeof(struct cross_request_message),
        [CROSS_ANSWER] = sizeof(struct cross_answer_message),
        [CROSS_TURNED] = sizeof(struct cross_request_message),
        [CROSS_NO_ANSWER] = sizeof(struct cross_no_answer_message),
        [CROSS_SOCKET] = sizeof(struct cross_socket_message),
        [CROSS_MOVED] = sizeof(struct cross_socket_message),
        [CROSS_TAKEN] = sizeof(struct cross_socket_message),
    };
    assert(head->kind >= CROSS_REQUEST && head->kind <= CROSS_TAKEN);
    const uint8_t *at =
        head->block == NULL ? (const uint8_t *)head + sizes[head->kind] : head->block->data;

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
    case CROSS_TAKEN:
        break;
    }
    if (head->block != NULL) {
        chunk_enter(&thread->chunks, head->block);
        head->block->next = thread->spent;
        thread->spent = head->block;
    }
}

/* All that is in a batch is executed: so few are put into one that answers as large as the last ones are no more than a turn may
 * have. */
static void run_batch(struct shard_thread *thread)
{
    const uint64_t crossed_before = thread->crossed_bytes;
    uint32_t count = thread->batch.count;

    if (count == 0) {
        return;
    }
    batch_run(thread);
    uint64_t fit = BULK_TURN_BYTES / ((thread->crossed_bytes - crossed_before) / count + 1);
    thread->cross_batch = fit < 1 ? 1 : fit < PREFETCH_MAX ? (uint32_t)fit : PREFETCH_MAX;
}

/* Answers to other shards' requests have no connection here whose pace would hold them back; and those that come from there may be
 * parts of large replies. */
static bool had_enough(struct shard_thread *thread, uint32_t from, uint64_t gathered_before)
{
    if (thread->batch.count >= thread->cross_batch) {
        run_batch(thread);
    }
    return thread->crossed_bytes > BULK_TURN_BYTES ||
           thread->gathered_bytes - gathered_before > GATHER_TURN_BYTES ||
           thread->owed[from].refused_count == REFUSED_MAX;
}

/* What is left for another turn may have sockets in it. */
static void take_sockets(struct shard_thread *thread)
{
    for (uint32_t from = 0; from < thread->plane->options.shard_count; from++) {
        struct hop *hop = thread->hops_in[from];
        if (from == thread->index) {
            continue;
        }
        for (struct cross_head *head = hop_look(hop); head != NULL; head = hop_look(hop)) {
            if (head->kind == CROSS_SOCKET || head->kind == CROSS_MOVED) {
                take(thread, from, head);
                head->kind = CROSS_TAKEN;
                head->block = NULL;
            }
        }
    }
}

static void receive(struct shard_thread *thread)
{
    const uint64_t gathered_before = thread->gathered_bytes;
    uint32_t count = thread->plane->options.shard_count;

    for (uint32_t i = 0; i < count; i++) {
        uint32_t from = (thread->cross_first + i) % count;
        if (from == thread->index) {
            continue;
        }
        for (;;) {
            if (had_enough(thread, from, gathered_before)) {
                thread->again = true;
                thread->cross_first = from + 1;
                take_sockets(thread);
                return;
            }
            struct bytes bytes = hop_receive(thread->hops_in[from]);
            if (bytes.size == 0) {
                break;
            }
            take(thread, from, (const void *)bytes.data);
        }
    }
}

void cross_receive(struct shard_thread *thread)
{
    receive(thread);
    run_batch(thread);
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
        cross_pay(thread, shard);
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
