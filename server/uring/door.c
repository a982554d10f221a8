#include "door.h"

#include <assert.h>

#include "connection.h"
#include "container.h"
#include "cross.h"
#include "gather.h"
#include "shard_thread.h"

enum { SCRATCH_KEPT_BYTES = 1024 * 1024 };

/* Bytes where they belong; the call is over. */
static void deliver(struct shard_thread *thread, struct call *call, struct bytes answer)
{
    if (call->remote) {
        cross_answer(thread, call->origin, call->origin_ticket, answer);
    } else if (call->form == CALL_FRAME) {
        struct connection *connection =
            connection_find(thread, call->connection, call->connection_generation);
        if (connection != NULL) {
            connection->in_flight--;
            connection_mark(thread, connection);
            connection_write(thread, connection, answer);
        }
    } else {
        gather_part(thread, call->gather, call->part, answer);
    }
    calls_give(&thread->calls, call);
}

/* The common case: from the record straight into the connection's output. */
static void answer_here(struct shard_thread *thread, struct call *call, const struct reply *reply)
{
    struct connection *connection =
        connection_find(thread, call->connection, call->connection_generation);

    if (connection != NULL) {
        size_t room = call->protocol->answer_room(thread, call, reply);
        uint8_t *to = connection_reserve(thread, connection, room);
        connection->in_flight--;
        if (to != NULL) {
            connection_commit(thread, connection,
                              call->protocol->answer_put(thread, call, reply, to));
        } else {
            connection_mark(thread, connection);
        }
    }
    calls_give(&thread->calls, call);
}

/* Into the shard's own buffer. Where there is no memory for the answer, an error takes its place. */
static struct bytes answer_bytes(struct shard_thread *thread, const struct call *call,
                                 const struct reply *reply)
{
    static const struct reply no_memory = {.status = STATUS_BUSY, .text = "no memory"};
    size_t room = call->protocol->answer_room(thread, call, reply);

    thread->frame.size = 0;
    if (buffer_reserve(&thread->frame, room) != 0) {
        reply = &no_memory;
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
    if (buffer->capacity > SCRATCH_KEPT_BYTES) {
        buffer_fini(buffer);
        (void)buffer_reserve(buffer, 4096);
    }
}

static void answer(struct shard_thread *thread, struct call *call, const struct reply *reply,
                   bool held)
{
    if (!held && !call->remote && call->form == CALL_FRAME) {
        answer_here(thread, call, reply);
    } else {
        struct bytes bytes = answer_bytes(thread, call, reply);
        if (!held || calls_hold(&thread->calls, call, bytes) != 0) {
            deliver(thread, call, bytes);
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

static void door_release(struct door *door, uint64_t ticket, enum status status, const char *text)
{
    struct shard_thread *thread = container_of(door, struct shard_thread, door);
    struct call *call = calls_find(&thread->calls, ticket);

    assert(call != NULL && call->held_back);
    if (status == STATUS_OK) {
        deliver(thread, call, bytes_of(call->held->data, call->held->size));
        return;
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

    assert(call != NULL && !call->remote);
    deliver(thread, call, answer);
}
