#include "aside.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>

#include "batch.h"
#include "connection.h"
#include "door.h"
#include "heap.h"
#include "plane_private.h"
#include "request_copy.h"
#include "shard_thread.h"
#include "slot.h"
#include "turned.h"

struct aside_request {
    struct aside_request *next;
    size_t size; /* Of this block. */
    struct request request;
    uint8_t bytes[]; /* Its key, version and body. */
};

int aside_init(struct shard_thread *thread)
{
    uint32_t count = thread->plane->options.shard_count + 1;

    thread->aside.marks = calloc(count, sizeof *thread->aside.marks);
    return thread->aside.marks == NULL ? -ENOMEM : 0;
}

static void free_request(struct shard_thread *thread, struct aside_request *kept)
{
    thread->aside.bytes -= kept->size;
    heap_give(thread->memory, kept, kept->size);
}

void aside_fini(struct shard_thread *thread)
{
    struct aside *aside = &thread->aside;

    for (int i = 0; i < 2; i++) {
        while (aside->lists[i].first != NULL) {
            struct aside_request *kept = aside->lists[i].first;
            aside->lists[i].first = kept->next;
            free_request(thread, kept);
        }
    }
    for (uint32_t i = 0; aside->marks != NULL && i <= thread->plane->options.shard_count; i++) {
        marks_fini(&aside->marks[i], thread->memory);
    }
    free(aside->marks);
}

bool aside_log_is_behind(struct shard_thread *thread, const struct call *call,
                         const struct request *request)
{
    const struct plane_limits *limits = &thread->plane->options.limits;
    uint64_t most_ms = call->protocol->patient ? LOG_WAIT_MS : limits->queue_delay_ms;

    if (request->op != REQUEST_WRITE) {
        return false;
    }
    return log_writer_is_behind(&thread->log, request->body.size, most_ms * 1000);
}

/* ---- In ---- */

static struct marks *marks_of(struct shard_thread *thread, const struct call *call)
{
    uint32_t other = call->remote ? call->origin : thread->index;

    return &thread->aside.marks[call->far ? thread->plane->options.shard_count : other];
}

static struct aside_list *list_of(struct shard_thread *thread, const struct call *call)
{
    return &thread->aside.lists[call->protocol->patient];
}

bool aside_has(struct shard_thread *thread, const struct call *call)
{
    return marks_has(marks_of(thread, call), call);
}

/* Returns 0, -EAGAIN at the limit, -ENOMEM. */
static int keep(struct shard_thread *thread, const struct call *call, const struct request *request)
{
    struct aside_list *list = list_of(thread, call);

    if (thread->aside.bytes >= ASIDE_BYTES_MAX) {
        return -EAGAIN;
    }
    size_t size = sizeof(struct aside_request) + request_bytes(request);
    struct aside_request *kept = heap_take(thread->memory, size);
    if (kept == NULL) {
        return -ENOMEM;
    }
    if (marks_add(marks_of(thread, call), thread->memory, call) != 0) {
        heap_give(thread->memory, kept, size);
        return -ENOMEM;
    }
    *kept = (struct aside_request){.size = size};
    kept->request = request_copy(request, kept->bytes);
    if (list->first == NULL) {
        list->first = kept;
    } else {
        list->last->next = kept;
    }
    list->last = kept;
    thread->aside.bytes += size;
    return 0;
}

static void keep_or_refuse(struct shard_thread *thread, const struct call *call,
                           const struct request *request)
{
    int rc = keep(thread, call, request);

    if (rc != 0) {
        door_refuse(thread, request->ticket, STATUS_BUSY,
                    rc == -EAGAIN ? "too many requests wait for the log"
                                  : "no memory to keep the request");
    }
}

bool aside_takes(struct shard_thread *thread, struct call *call, const struct request *request)
{
    if (call->form == CALL_STEP) {
        return false; /* A task asks again by itself. */
    }
    bool crosses = call->remote && !call->far;
    bool granted = crosses && call->granted_bytes != 0;
    bool marked = crosses && !granted && turned_is_marked(thread, call);

    if (granted) {
        turned_came_again(thread, call);
    }
    if (aside_has(thread, call) && !marked) {
        keep_or_refuse(thread, call, request);
        return true;
    }
    if (crosses && turned_back(thread, call, request)) {
        return true;
    }
    if (request->op == REQUEST_WRITE &&
        (list_of(thread, call)->first != NULL || aside_log_is_behind(thread, call, request))) {
        keep_or_refuse(thread, call, request);
        return true;
    }
    return false;
}

/* ---- Out ---- */

/* The connection's requests follow one that was turned back. */
static void turn_back_rest(struct shard_thread *thread, struct aside_list *list,
                           const struct call *first)
{
    struct aside_request *kept = list->first;

    *list = (struct aside_list){0};
    while (kept != NULL) {
        struct aside_request *next = kept->next;
        struct call *call = calls_find(&thread->calls, kept->request.ticket);
        bool same = call->remote && !call->far && call->origin == first->origin &&
                    call->connection == first->connection &&
                    call->connection_generation == first->connection_generation;
        kept->next = NULL;
        if (same && kept->request.op != REQUEST_SCAN) {
            marks_remove(marks_of(thread, call), call);
            (void)turned_back(thread, call, &kept->request);
            free_request(thread, kept);
        } else if (list->first == NULL) {
            list->first = list->last = kept;
        } else {
            list->last->next = kept;
            list->last = kept;
        }
        kept = next;
    }
}

/* It may be executed, or turned back. */
static bool may_go(struct shard_thread *thread, const struct call *call,
                   const struct request *request)
{
    if (call->remote && !call->far && thread->owed[call->origin].bytes > OWED_BYTES_MAX) {
        return false;
    }
    return !aside_log_is_behind(thread, call, request);
}

/* Returns the bytes of the first one, or 0 where it must wait. */
static size_t run_first(struct shard_thread *thread, struct aside_list *list)
{
    struct aside_request *kept = list->first;
    struct request *request = &kept->request;
    struct call *call = calls_find(&thread->calls, request->ticket);
    size_t size = kept->size;

    assert(call != NULL);
    if (!may_go(thread, call, request)) {
        return 0;
    }
    const struct call was = *call; /* The call may be over soon. */
    list->first = kept->next;
    marks_remove(marks_of(thread, call), call);
    bool spoiled = pause_spoils(thread, request);
    request->received_us = thread->now_us; /* It was the log that kept it waiting. */
    if (spoiled) {
        pause_refuse(thread, request->ticket);
    } else if (!call->remote || call->far || !turned_back(thread, call, request)) {
        batch_execute(thread, request, monotonic_us());
    } else if (turned_is_marked(thread, &was)) {
        turn_back_rest(thread, list, &was);
    }
    free_request(thread, kept);
    return size;
}

void aside_visit_writes(const struct shard_thread *thread,
                        void (*visit)(void *context, uint32_t slot), void *context)
{
    for (int i = 0; i < 2; i++) {
        for (const struct aside_request *kept = thread->aside.lists[i].first; kept != NULL;
             kept = kept->next) {
            if (kept->request.op == REQUEST_WRITE) {
                visit(context, slot_of_position(kept->request.position));
            }
        }
    }
}

void aside_turn(struct shard_thread *thread)
{
    for (int i = 0; i < 2; i++) {
        struct aside_list *list = &thread->aside.lists[i];
        size_t bytes = 0, size = 1;
        while (list->first != NULL && size > 0 && bytes < BULK_TURN_BYTES &&
               thread->crossed_bytes < BULK_TURN_BYTES) {
            size = run_first(thread, list);
            bytes += size;
        }
        thread->again = thread->again || (list->first != NULL && size > 0);
    }
}
