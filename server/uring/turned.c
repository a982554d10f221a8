#include "turned.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "connection.h"
#include "cross.h"
#include "door.h"
#include "heap.h"
#include "plane_private.h"
#include "shard_thread.h"

static const char busy_text[] = "no memory to keep the request";

/* ---- At the shard that executes ---- */

bool turned_marks_has(const struct turned_marks *marks, const struct call *call)
{
    return call->connection < marks->size &&
           marks->marks[call->connection].generation == call->connection_generation &&
           marks->marks[call->connection].count > 0;
}

int turned_marks_add(struct turned_marks *marks, struct memory *memory, const struct call *call)
{
    if (call->connection >= marks->size) {
        uint32_t size = marks->size == 0 ? 64 : marks->size;
        while (size <= call->connection) {
            size *= 2;
        }
        struct turned_mark *grown =
            memory->resize(memory, marks->marks, marks->size * sizeof *grown, size * sizeof *grown);
        if (grown == NULL) {
            return -ENOMEM;
        }
        memset(grown + marks->size, 0, (size - marks->size) * sizeof *grown);
        marks->marks = grown;
        marks->size = size;
    }
    struct turned_mark *mark = &marks->marks[call->connection];
    if (mark->generation != call->connection_generation) {
        *mark = (struct turned_mark){.generation = call->connection_generation};
    }
    mark->count++;
    return 0;
}

void turned_marks_remove(struct turned_marks *marks, const struct call *call)
{
    if (turned_marks_has(marks, call)) {
        marks->marks[call->connection].count--;
    }
}

/* How large the answer to a read may be. Gathered ones have a bound of their own. */
static size_t answer_bytes(struct shard_thread *thread, const struct call *call,
                           const struct request *request)
{
    bool read = request->op == REQUEST_GET || request->op == REQUEST_INSPECT;

    if (!read || call->form != CALL_FRAME || (request->flags & GET_META) != 0) {
        return 0;
    }
    return shard_record_bytes(thread->shard, request);
}

bool turned_back(struct shard_thread *thread, struct call *call, const struct request *request)
{
    struct turned_marks *marks = &thread->turned_marks[call->origin];
    size_t bytes = 0;

    if (request->op == REQUEST_SCAN) {
        return false; /* Of no key. */
    }
    if (call->granted_bytes != 0) {
        turned_marks_remove(marks, call);
        return false;
    }
    bytes = answer_bytes(thread, call, request);
    if (!turned_marks_has(marks, call) && bytes <= UNASKED_BYTES_MAX) {
        return false;
    }
    if (turned_marks_add(marks, thread->memory, call) == 0) {
        int rc = cross_turn_back(thread, call, request, (uint32_t)bytes);
        if (rc > 0) {
            calls_give(&thread->calls, call);
        }
        if (rc >= 0) {
            return true;
        }
        turned_marks_remove(marks, call);
    }
    door_refuse(thread, request->ticket, STATUS_BUSY, busy_text);
    return true;
}

void turned_marks_fini(struct shard_thread *thread)
{
    for (uint32_t i = 0; thread->turned_marks != NULL && i < thread->plane->options.shard_count;
         i++) {
        struct turned_marks *marks = &thread->turned_marks[i];
        if (marks->marks != NULL) {
            heap_give(thread->memory, marks->marks, marks->size * sizeof *marks->marks);
        }
    }
    free(thread->turned_marks);
}

/* ---- At the origin ---- */

struct turned_request {
    struct turned_request *next;
    uint32_t shard;
    uint32_t answer_bytes;
    size_t size;
    struct request request;
    uint8_t bytes[]; /* Key, version and body. */
};

static void free_request(struct shard_thread *thread, struct turned_request *turned)
{
    heap_give(thread->memory, turned, sizeof *turned + turned->size);
}

static struct bytes keep(uint8_t **to, struct bytes from)
{
    struct bytes kept = bytes_of(*to, from.size);

    if (from.size > 0) {
        memcpy(*to, from.data, from.size);
    }
    *to += from.size;
    return kept;
}

static struct turned_request *make(struct shard_thread *thread, const struct request *request)
{
    size_t size = request->key.size + request->version.size + request->body.size;
    struct turned_request *turned = heap_take(thread->memory, sizeof *turned + size);

    if (turned != NULL) {
        uint8_t *to = turned->bytes;
        *turned = (struct turned_request){.size = size, .request = *request};
        turned->request.key = keep(&to, request->key);
        turned->request.version = keep(&to, request->version);
        turned->request.body = keep(&to, request->body);
    }
    return turned;
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
    if (connection->turned.first == NULL) {
        connection->turned.first = turned;
    } else {
        connection->turned.last->next = turned;
    }
    connection->turned.last = turned;
    connection->stalled = true;
    connection_awaits(connection, call, false);
    connection_mark(thread, connection);
}

static bool fits(const struct shard_thread *thread, const struct connection *connection,
                 const struct turned_request *turned)
{
    uint64_t waiting = connection->output.size + connection->awaited_bytes;

    /* One may be of any size, once there is room for more at all. */
    return waiting + turned->answer_bytes <= connection_pace_bytes(thread) ||
           (connection->awaited_bytes == 0 &&
            connection->output.size <= connection_pace_bytes(thread) / 2);
}

void turned_resume(struct shard_thread *thread, struct connection *connection)
{
    struct turned_list *list = &connection->turned;

    while (list->first != NULL && fits(thread, connection, list->first)) {
        struct turned_request *turned = list->first;
        struct call *call = calls_find(&thread->calls, turned->request.ticket);
        call->granted_bytes = turned->answer_bytes > 0 ? turned->answer_bytes : 1;
        turned->request.received_us = thread->now_us; /* It was the client that kept it waiting. */
        if (!cross_request(thread, turned->shard, &turned->request)) {
            call->granted_bytes = 0;
            thread->again = true; /* The queue is full. */
            connection_mark(thread, connection);
            return;
        }
        connection_awaits(connection, call, true);
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
