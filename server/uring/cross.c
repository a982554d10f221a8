#include "cross.h"

#include <assert.h>
#include <stdlib.h>
#include <unistd.h>

#include "batch.h"
#include "calls.h"
#include "connection.h"
#include "door.h"
#include "heap.h"
#include "native_door.h"
#include "plane_private.h"
#include "receive.h"
#include "shard_thread.h"

enum cross_kind { CROSS_REQUEST = 1, CROSS_ANSWER, CROSS_SOCKET, CROSS_MOVED };

/* Of every message. Its bytes follow the message's struct, or lie in the block. */
struct cross_head {
    uint32_t kind;
    uint32_t size;
    struct hop_block *block;
};

struct cross_request_message {
    struct cross_head head;
    struct request request; /* Of its strings only the sizes count. */
    struct call call;       /* Of the sender: how to answer. */
};

struct cross_answer_message {
    struct cross_head head;
    uint64_t ticket;
};

struct cross_socket_message {
    struct cross_head head;
    int fd;
    uint64_t client, request_id;
    const struct protocol *protocol;
};

/* An answer that found the queue full. */
struct hop_kept {
    struct hop_kept *next;
    struct cross_answer_message message;
};

/* Room for a message and `size` bytes after it. Returns where the bytes go, NULL when there is none. */
static uint8_t *begin(struct shard_thread *thread, uint32_t shard, size_t message_size, size_t size,
                      uint32_t spare, struct cross_head **head)
{
    struct hop_block *block = NULL;

    if (message_size + size > HOP_MESSAGE_MAX) {
        block = malloc(sizeof *block + size);
        if (block == NULL) {
            return NULL;
        }
        block->size = size;
    }
    size_t whole = message_size + (block == NULL ? size : 0);
    *head = hop_send(thread->hops_out[shard], (uint32_t)whole, spare);
    if (*head == NULL) {
        free(block);
        return NULL;
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

bool cross_request(struct shard_thread *thread, uint32_t shard, const struct request *request)
{
    size_t size = request->key.size + request->version.size + request->body.size;
    struct cross_head *head;
    uint8_t *to =
        begin(thread, shard, sizeof(struct cross_request_message), size, HOP_SPARE_BYTES, &head);
    if (to == NULL) {
        return false;
    }
    struct cross_request_message *message = (struct cross_request_message *)head;
    head->kind = CROSS_REQUEST;
    message->request = *request;
    message->call = *calls_find(&thread->calls, request->ticket);
    to = put(to, request->key);
    to = put(to, request->version);
    put(to, request->body);
    thread->stats.hops++;
    return true;
}

/* Try to send the answer whose bytes are in `block`. */
static bool send_kept(struct shard_thread *thread, uint32_t shard, struct hop_kept *kept)
{
    struct cross_answer_message *message = hop_send(thread->hops_out[shard], sizeof *message, 0);

    if (message != NULL) {
        *message = kept->message;
    }
    return message != NULL;
}

static void keep_answer(struct shard_thread *thread, uint32_t shard, uint64_t ticket,
                        struct bytes answer)
{
    struct hop_kept *kept = malloc(sizeof *kept);
    struct hop_block *block = malloc(sizeof *block + answer.size);

    if (kept == NULL || block == NULL) {
        /* The request stays unanswered; the client's own deadline ends it. */
        free(kept);
        free(block);
        return;
    }
    block->size = answer.size;
    put(block->data, answer);
    *kept = (struct hop_kept){
        .next = thread->hops_kept[shard],
        .message = {.head = {.kind = CROSS_ANSWER, .size = (uint32_t)answer.size, .block = block},
                    .ticket = ticket},
    };
    thread->hops_kept[shard] = kept;
}

void cross_answer(struct shard_thread *thread, uint32_t shard, uint64_t ticket, struct bytes answer)
{
    struct cross_head *head;
    uint8_t *to = begin(thread, shard, sizeof(struct cross_answer_message), answer.size, 0, &head);
    thread->crossed_bytes += answer.size;
    if (to == NULL) {
        keep_answer(thread, shard, ticket, answer);
        return;
    }
    head->kind = CROSS_ANSWER;
    ((struct cross_answer_message *)head)->ticket = ticket;
    put(to, answer);
}

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
    struct buffer rest = {.memory = heap_memory()};
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
    put(to, buffer_bytes(&rest));
    buffer_fini(&rest);
    atomic_fetch_add(&thread->plane->threads[shard].connection_count, 1);
    connection_forget(thread, connection);
}

/* Too many calls here: the sender's call ends with BUSY. */
static void refuse(struct shard_thread *thread, uint32_t from, const struct call *call,
                   uint64_t ticket)
{
    struct reply reply = {
        .op = call->form == CALL_SCAN_PART ? REQUEST_SCAN : REQUEST_GET,
        .status = STATUS_BUSY,
        .retry_after_ms = BUSY_RETRY_MS,
    };
    size_t room = call->protocol->answer_room(thread, call, &reply);

    thread->frame.size = 0;
    if (buffer_reserve(&thread->frame, room) == 0) {
        size_t size = call->protocol->answer_put(thread, call, &reply, thread->frame.data);
        cross_answer(thread, from, ticket, bytes_of(thread->frame.data, size));
    }
}

static void take_request(struct shard_thread *thread, uint32_t from,
                         const struct cross_request_message *message, const uint8_t *at)
{
    struct request request = message->request;
    struct call *call;

    request.key.data = at;
    request.version.data = at + request.key.size;
    request.body.data = request.version.data + request.version.size;
    uint64_t ticket = calls_take(&thread->calls, &call);
    if (ticket == 0) {
        refuse(thread, from, &message->call, request.ticket);
        return;
    }
    uint32_t generation = call->generation;
    *call = message->call;
    call->generation = generation;
    call->remote = true;
    call->origin = (uint8_t)from;
    call->origin_ticket = request.ticket;
    call->gather = NULL;
    call->held = NULL;
    request.ticket = ticket;
    shard_prepare(thread->shard, &request);
    batch_add(thread, &request, NULL, bytes_of(NULL, 0));
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
    native_hello_answer(thread, connection, message->request_id);
    connection_feed(thread, connection, rest);
}

static void take(struct shard_thread *thread, uint32_t from, struct bytes bytes)
{
    static const size_t sizes[] = {
        [CROSS_REQUEST] = sizeof(struct cross_request_message),
        [CROSS_ANSWER] = sizeof(struct cross_answer_message),
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
    case CROSS_SOCKET:
    case CROSS_MOVED:
        take_socket(thread, (const void *)head, bytes_of(at, head->size));
        break;
    }
    if (head->block != NULL) {
        head->block->next = thread->spent_blocks;
        thread->spent_blocks = head->block;
    }
}

/* Answers to other shards' requests have no connection here whose pace would hold them back. */
static bool had_enough(struct shard_thread *thread)
{
    if (thread->batch.count >= PREFETCH_MAX) {
        batch_run(thread);
    }
    return thread->crossed_bytes > BULK_TURN_BYTES;
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
            if (had_enough(thread)) {
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
            (hop_waiting(thread->hops_in[shard]) || thread->hops_kept[shard] != NULL)) {
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
        while (thread->hops_kept[shard] != NULL &&
               send_kept(thread, shard, thread->hops_kept[shard])) {
            struct hop_kept *sent = thread->hops_kept[shard];
            thread->hops_kept[shard] = sent->next;
            free(sent);
        }
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
        free(head->block);
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
        while (thread->hops_kept[shard] != NULL) {
            struct hop_kept *next = thread->hops_kept[shard]->next;
            free(thread->hops_kept[shard]->message.head.block);
            free(thread->hops_kept[shard]);
            thread->hops_kept[shard] = next;
        }
    }
}
