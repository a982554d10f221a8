#include "door.h"

#include <assert.h>

#include "connection.h"
#include "container.h"
#include "cross.h"
#include "far.h"
#include "gather.h"
#include "shard_thread.h"
#include "tasks.h"

enum { SCRATCH_KEPT_BYTES = 1024 * 1024 };

/* It is awaited no more (connection_awaits()). */
static void has_come(struct shard_thread *thread, struct call *call)
{
    struct connection *connection =
        call->awaited ? connection_find(thread, call->connection, call->connection_generation)
                      : NULL;

    if (connection != NULL) {
        connection_awaits(connection, call, false);
    }
}

/* Bytes where they belong; the call is over. */
static void deliver(struct shard_thread *thread, struct call *call, struct bytes answer)
{
    has_come(thread, call);
    if (call->far) {
        far_answer(thread, call, answer);
    } else if (call->remote && !cross_answer(thread, call, answer)) {
        return; /* It goes later, and the call is over then. */
    }
    if (call->remote) {
        /* Gone to where its connection is. */
    } else if (call->form == CALL_FRAME) {
        struct connection *connection =
            connection_find(thread, call->connection, call->connection_generation);
        if (connection != NULL) {
            connection->in_flight--;
            connection_mark(thread, connection);
            connection_answer(thread, connection, call->request_id, answer);
        }
    } else if (call->form == CALL_STEP) {
        task_answered(thread, call, answer);
    } else {
        gather_part(thread, call->gather, call->part, answer);
    }
    calls_give(&thread->calls, call);
}

/* The common case: from the record straight into the connection's output. */
static void answer_here(struct shard_thread *thread, struct call *call,
                        struct connection *connection, const struct reply *reply)
{
    has_come(thread, call);
    if (connection != NULL) {
        size_t room = call->protocol->answer_room(thread, call, reply);
        uint8_t *to = connection_reserve(thread, connection, room);
        connection->in_flight--;
        if (to != NULL) {
            connection_commit(thread, connection,
                              call->protocol->answer_put(thread, call, reply, to));
            if (connection->order != NULL) {
                connection_answered(thread, connection);
            }
        } else {
            connection_mark(thread, connection);
        }
    }
    calls_give(&thread->calls, call);
}

/* What is said where there is no memory for all of `reply`: never that a write was not done which was. */
static struct reply shortened(const struct call *call, const struct reply *reply)
{
    struct reply instead = {
        .op = reply->op,
        .status = reply->status,
        .text = reply->text,
        .retry_after_ms = reply->retry_after_ms,
    };

    if (reply->status == STATUS_OK) {
        instead.status = calls_lost_status(call);
        instead.text = "no memory for the answer";
        instead.retry_after_ms = instead.status == STATUS_BUSY ? BUSY_RETRY_MS : 0;
    }
    return instead;
}

/* Into the shard's own buffer. */
static struct bytes answer_bytes(struct shard_thread *thread, const struct call *call,
                                 const struct reply *reply)
{
    struct reply instead;
    size_t room = call->protocol->answer_room(thread, call, reply);

    thread->frame.size = 0;
    if (buffer_reserve(&thread->frame, room) != 0) {
        instead = shortened(call, reply);
        reply = &instead;
        room = call->protocol->answer_room(thread, call, reply);
        int rc = buffer_reserve(&thread->frame, room);
        assert(rc == 0); /* shard_thread_init() made it large enough for this. */
    }
    thread->frame.size = call->protocol->answer_put(thread, call, reply, thread->frame.data);
    return buffer_bytes(&thread->frame);
}

/* A large answer may have left much in the buffers. */
static void trim(struct buffer *buffer)
{
    struct buffer small = {.memory = buffer->memory};

    if (buffer->capacity > SCRATCH_KEPT_BYTES && buffer_reserve(&small, FRAME_BUFFER_BYTES) == 0) {
        buffer_fini(buffer);
        *buffer = small;
    }
}

static void answer(struct shard_thread *thread, struct call *call, const struct reply *reply,
                   bool held)
{
    struct connection *connection = NULL;
    bool here = !held && !call->remote && call->form == CALL_FRAME;

    if (here) {
        connection = connection_find(thread, call->connection, call->connection_generation);
        here = connection == NULL || connection->order == NULL ||
               reply_order_is_due(connection->order, call->request_id);
    }
    if (here) {
        answer_here(thread, call, connection, reply);
    } else {
        struct bytes bytes = answer_bytes(thread, call, reply);
        if (!held) {
            deliver(thread, call, bytes);
        } else {
            call->held_back = true;
            (void)calls_hold(&thread->calls, call,
                             bytes); /* Else door_release() says what is left. */
        }
        trim(&thread->frame);
    }
    trim(&thread->scratch);
}

static void door_reply(struct door *door, uint64_t ticket, const struct reply *reply, bool held)
{
    struct shard_thread *thread = container_of(door, struct shard_thread, door);
    struct call *call = calls_find(&thread->calls, ticket);

    assert(call != NULL && !call->held_back);
    answer(thread, call, reply, held);
}

static void door_release(struct door *door, uint64_t ticket, enum status status,
                         enum ack_level level, const char *text)
{
    struct shard_thread *thread = container_of(door, struct shard_thread, door);
    struct call *call = calls_find(&thread->calls, ticket);

    assert(call != NULL && call->held_back);
    call->held_back = false;
    if (status == STATUS_OK && call->held != NULL) {
        if (call->protocol->set_level != NULL) {
            call->protocol->set_level(call, call->held->data, call->held->size, level);
        }
        deliver(thread, call, bytes_of(call->held->data, call->held->size));
        return;
    }
    if (status == STATUS_OK) {
        status = calls_lost_status(call);
        text = "no memory for the answer";
    }
    struct reply reply = {.op = REQUEST_WRITE, .status = status, .text = text};
    answer(thread, call, &reply, false);
}

void door_init(struct shard_thread *thread)
{
    thread->door = (struct door){.reply = door_reply, .release = door_release};
}

void door_refuse(struct shard_thread *thread, uint64_t ticket, enum status status, const char *text)
{
    struct call *call = calls_find(&thread->calls, ticket);
    struct reply reply = {
        .op = call->frame_type == FRAME_SCAN ? REQUEST_SCAN : REQUEST_GET,
        .status = status,
        .text = text,
        .retry_after_ms = status == STATUS_BUSY ? BUSY_RETRY_MS : 0,
    };

    answer(thread, call, &reply, false);
}

void door_deliver(struct shard_thread *thread, uint64_t ticket, struct bytes answer)
{
    struct call *call = calls_find(&thread->calls, ticket);

    assert(call != NULL && call->away == NULL);
    deliver(thread, call, answer);
}
