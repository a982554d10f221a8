#include "turned.h"

#include <stdlib.h>

#include "bounds.h"
#include "connection.h"
#include "cross.h"
#include "door.h"
#include "heap.h"
#include "plane_private.h"
#include "request_copy.h"
#include "shard_thread.h"

static const char busy_text[] = "no memory to keep the request";

/* ---- At the shard that executes ---- */

uint32_t turned_answer_bytes(struct shard_thread *thread, const struct call *call,
                             const struct request *request)
{
    if (call->form != CALL_FRAME || (request->flags & GET_META) != 0) {
        return 0;
    }
    uint64_t bytes = shard_answer_bytes(thread->shard, request);
    return bytes < UINT32_MAX ? (uint32_t)bytes : UINT32_MAX;
}

bool turned_is_marked(struct shard_thread *thread, const struct call *call)
{
    return marks_has(&thread->turned_marks[call->origin], call);
}

void turned_came_again(struct shard_thread *thread, const struct call *call)
{
    marks_remove(&thread->turned_marks[call->origin], call);
}

bool turned_back(struct shard_thread *thread, struct call *call, const struct request *request)
{
    struct marks *marks = &thread->turned_marks[call->origin];

    if (request->op == REQUEST_SCAN || call->granted_bytes != 0) {
        return false; /* Of no key; or it came again. */
    }
    uint32_t bytes = turned_answer_bytes(thread, call, request);
    if (!marks_has(marks, call) && bytes <= UNASKED_BYTES_MAX) {
        return false;
    }
    if (marks_add(marks, thread->memory, call) == 0) {
        int rc = cross_turn_back(thread, call, request, bytes);
        if (rc > 0) {
            calls_give(&thread->calls, call);
        }
        if (rc >= 0) {
            return true;
        }
        marks_remove(marks, call);
    }
    door_refuse(thread, request->ticket, STATUS_BUSY, busy_text);
    return true;
}

void turned_fini(struct shard_thread *thread)
{
    for (uint32_t i = 0; thread->turned_marks != NULL && i < thread->plane->options.shard_count;
         i++) {
        marks_fini(&thread->turned_marks[i], thread->memory);
    }
    free(thread->turned_marks);
}

/* ---- At the origin ---- */

struct turned_request {
    struct turned_request *next;
    uint32_t shard;
    uint32_t answer_bytes;
    bool deferred; /* It was not turned back: it has not been sent. */
    size_t size;
    struct request request;
    uint8_t bytes[]; /* Key, version and body. */
};

static void free_request(struct shard_thread *thread, struct turned_request *turned)
{
    thread->deferred_bytes -= turned->deferred ? sizeof *turned + turned->size : 0;
    heap_give(thread->memory, turned, sizeof *turned + turned->size);
}

static struct turned_request *make(struct shard_thread *thread, const struct request *request)
{
    size_t size = request_bytes(request);
    struct turned_request *turned = heap_take(thread->memory, sizeof *turned + size);

    if (turned != NULL) {
        *turned = (struct turned_request){.size = size};
        turned->request = request_copy(request, turned->bytes);
    }
    return turned;
}

static void append(struct shard_thread *thread, struct connection *connection,
                   struct turned_request *turned)
{
    if (connection->turned.first == NULL) {
        connection->turned.first = turned;
    } else {
        connection->turned.last->next = turned;
    }
    connection->turned.last = turned;
    connection->stalled = true;
    connection_mark(thread, connection);
}

bool turned_defer(struct shard_thread *thread, struct connection *connection, uint32_t shard,
                  const struct request *request)
{
    const bool many = thread->deferred_bytes >= DEFERRED_BYTES_MAX;
    struct turned_request *turned = many ? NULL : make(thread, request);

    if (turned == NULL) {
        return false;
    }
    turned->shard = shard;
    turned->deferred = true;
    thread->deferred_bytes += sizeof *turned + turned->size;
    append(thread, connection, turned);
    return true;
}

void turned_take(struct shard_thread *thread, uint32_t shard, const struct request *request,
                 uint32_t answer_bytes)
{
    struct call *call = calls_find(&thread->calls, request->ticket);
    struct connection *connection =
        connection_find(thread, call->connection, call->connection_generation);
    struct turned_request *turned = connection == NULL ? NULL : make(thread, request);

    if (turned == NULL) {
        door_refuse(thread, request->ticket, STATUS_BUSY, busy_text);
        return;
    }
    turned->shard = shard;
    turned->answer_bytes = answer_bytes;
    connection_awaits(connection, call, false);
    append(thread, connection, turned);
}

static bool fits(const struct shard_thread *thread, const struct connection *connection,
                 const struct turned_request *turned)
{
    uint64_t waiting = connection->output.size + connection->awaited_bytes;

    /* One may be of any size, once there is room for more at all. */
    return !connections_are_crowded(thread) &&
           (waiting + turned->answer_bytes <= connection_pace_bytes(thread) ||
            (connection->awaited_bytes == 0 &&
             connection->output.size <= connection_pace_bytes(thread) / 2));
}

/* Returns whether the queue had room for it. */
static bool send_again(struct shard_thread *thread, struct connection *connection,
                       struct turned_request *turned)
{
    struct call *call = calls_find(&thread->calls, turned->request.ticket);

    if (turned->deferred) {
        return cross_request(thread, turned->shard, &turned->request);
    }
    call->granted_bytes = turned->answer_bytes > 0 ? turned->answer_bytes : 1;
    turned->request.received_us = thread->now_us; /* It was the client that kept it waiting. */
    if (!cross_request(thread, turned->shard, &turned->request)) {
        call->granted_bytes = 0;
        return false;
    }
    connection_awaits(connection, call, true);
    return true;
}

void turned_resume(struct shard_thread *thread, struct connection *connection)
{
    struct turned_list *list = &connection->turned;

    while (list->first != NULL && fits(thread, connection, list->first)) {
        struct turned_request *turned = list->first;
        if (!send_again(thread, connection, turned)) {
            thread->again = true; /* The queue is full. */
            connection_mark(thread, connection);
            return;
        }
        list->first = turned->next;
        free_request(thread, turned);
    }
}

void turned_drop(struct shard_thread *thread, struct connection *connection)
{
    struct turned_request *turned = connection->turned.first;

    connection->turned = (struct turned_list){0};
    while (turned != NULL) {
        struct turned_request *next = turned->next;
        door_refuse(thread, turned->request.ticket, STATUS_BUSY, busy_text);
        free_request(thread, turned);
        turned = next;
    }
}
