#include "tasks.h"

#include <string.h>

#include "batch.h"
#include "calls.h"
#include "connection.h"
#include "cross.h"
#include "door.h"
#include "plane_private.h"
#include "shard_thread.h"
#include "slowlog.h"

void task_add(struct shard_thread *thread, struct task *task, const struct task_kind *kind)
{
    task->kind = kind;
    task->due_us = 0;
    task->slow = thread->slow;
    if (task->slow != NULL) {
        slow_ask(task->slow);
    }
    task->next = thread->tasks;
    thread->tasks = task;
    thread->again = true;
}

void task_add_for(struct shard_thread *thread, struct task *task, const struct task_kind *kind,
                  struct connection *connection, uint64_t number)
{
    task->for_client = true;
    task->connection = connection->index;
    task->generation = connection->generation;
    task->number = number;
    connection->in_flight++;
    if (connection->resp != NULL) {
        connection->resp->tasks++;
    }
    task_add(thread, task, kind);
}

struct connection *task_client(struct shard_thread *thread, struct task *task)
{
    struct connection *connection =
        task->for_client ? connection_find(thread, task->connection, task->generation) : NULL;

    task->for_client = false;
    if (connection != NULL) {
        connection->in_flight--;
        if (connection->resp != NULL) {
            connection->resp->tasks--;
        }
        connection_mark(thread, connection);
    }
    return connection;
}

void task_go_on(struct shard_thread *thread, struct task *task, uint64_t delay_us)
{
    task->due_us = delay_us == 0 ? 0 : thread->now_us + delay_us;
    thread->again = thread->again || delay_us == 0;
}

/* Nothing more of it is measured. */
static void let_go(struct task *task)
{
    if (task->slow != NULL) {
        slow_drop(task->slow);
        task->slow = NULL;
    }
}

void task_over(struct shard_thread *thread, struct task *task)
{
    let_go(task);
    task->over = true;
    thread->again = true;
}

/* ---- Asking ---- */

/* Returns false where there are too many calls: answered. */
static bool take_call(struct shard_thread *thread, struct task *task, struct request *request,
                      uint32_t part)
{
    struct call *call;

    request->received_us = thread->now_us;
    request->ticket = calls_take(&thread->calls, &call);
    if (request->ticket == 0) {
        const struct task_answer busy = {.status = STATUS_BUSY, .part = part};
        task->kind->answered(thread, task, &busy);
        return false;
    }
    call->form = CALL_STEP;
    call->frame_type = request->op == REQUEST_WRITE  ? FRAME_WRITE
                       : request->op == REQUEST_SCAN ? FRAME_SCAN
                                                     : FRAME_GET;
    call->protocol = &tasks_protocol;
    call->connection = UINT32_MAX;
    call->granted_bytes = UINT32_MAX; /* Answers of any size are taken. */
    call->task = task;
    call->slow = task->slow;
    if (call->slow != NULL) {
        slow_hold(call->slow);
    }
    call->part = part;
    return true;
}

void task_ask(struct shard_thread *thread, struct task *task, struct request *request,
              uint32_t part)
{
    task->due_us = UINT64_MAX;
    if (take_call(thread, task, request, part)) {
        batch_route(thread, request, NULL, bytes_of(NULL, 0));
    }
}

static void ask_shard(struct shard_thread *thread, struct task *task, struct request *request,
                      uint32_t shard, uint32_t part)
{
    task->due_us = UINT64_MAX;
    if (!take_call(thread, task, request, part)) {
        return;
    }
    if (shard == thread->index) {
        shard_prepare(thread->shard, request);
        batch_add(thread, request, NULL, bytes_of(NULL, 0));
    } else if (!cross_request(thread, shard, request)) {
        door_refuse(thread, request->ticket, STATUS_BUSY, NULL);
    }
}

void task_ask_shard(struct shard_thread *thread, struct task *task, struct request *request,
                    uint32_t shard)
{
    ask_shard(thread, task, request, shard, shard);
}

void task_ask_node(struct shard_thread *thread, struct task *task, struct request *request,
                   uint32_t node, uint32_t shard, uint32_t part)
{
    if (node == thread->plane->options.actor.node) {
        ask_shard(thread, task, request, shard, part);
        return;
    }
    task->due_us = UINT64_MAX;
    if (!take_call(thread, task, request, part)) {
        return;
    }
    struct call *call = calls_find(&thread->calls, request->ticket);
    if (far_ask_shard(thread, call, request, node, shard) != 0) {
        door_refuse(thread, request->ticket, STATUS_BUSY, NULL);
    }
}

void task_answered(struct shard_thread *thread, const struct call *call, struct bytes answer)
{
    struct reader reader = reader_of(answer);
    struct task_answer told = {.part = call->part};

    told.level = (enum ack_level)read_u8(&reader);
    told.status = (enum status)read_varint(&reader);
    told.cursor = read_varint(&reader);
    told.bytes = read_bytes(&reader, reader_left(&reader));
    call->task->kind->answered(thread, call->task, &told);
}

/* ---- Turns ---- */

uint64_t tasks_turn(struct shard_thread *thread)
{
    uint64_t wait_us = UINT64_MAX;

    for (struct task **link = &thread->tasks; *link != NULL;) {
        struct task *task = *link;
        if (task->over) {
            *link = task->next;
            task->kind->free(thread, task);
            continue;
        }
        if (task->due_us <= thread->now_us) {
            task->due_us = UINT64_MAX;
            task->kind->begin(thread, task);
        } else if (task->due_us != UINT64_MAX && task->due_us - thread->now_us < wait_us) {
            wait_us = task->due_us - thread->now_us;
        }
        link = &task->next;
    }
    return wait_us;
}

void tasks_fini(struct shard_thread *thread)
{
    while (thread->tasks != NULL) {
        struct task *next = thread->tasks->next;
        let_go(thread->tasks);
        thread->tasks->kind->free(thread, thread->tasks);
        thread->tasks = next;
    }
}

/* ---- Answers as bytes: u8 ack level, varint status, varint cursor, the rest ---- */

static size_t answer_room(struct shard_thread *thread, const struct call *call,
                          const struct reply *reply)
{
    (void)thread;
    (void)call;
    return 1 + 2 * VARINT_BYTES_MAX + reply->results.size + reply->keys.size;
}

static size_t answer_put(struct shard_thread *thread, const struct call *call,
                         const struct reply *reply, uint8_t *to)
{
    struct bytes bytes = reply->op == REQUEST_SCAN ? reply->keys : reply->results;
    uint8_t *at = to;

    (void)thread;
    (void)call;
    *at++ = (uint8_t)reply->ack;
    at = varint_put(varint_put(at, reply->status), reply->cursor);
    if (reply->status == STATUS_OK && bytes.size > 0) {
        memcpy(at, bytes.data, bytes.size);
        at += bytes.size;
    }
    return (size_t)(at - to);
}

static void answer_set_level(const struct call *call, uint8_t *answer, size_t size,
                             enum ack_level level)
{
    (void)call;
    if (size > 0) {
        answer[0] = (uint8_t)level;
    }
}

const struct protocol tasks_protocol = {
    .name = "task",
    .answer_room = answer_room,
    .answer_put = answer_put,
    .set_level = answer_set_level,
};
