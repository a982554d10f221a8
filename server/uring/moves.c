#include "moves.h"

#include <assert.h>
#include <errno.h>
#include <string.h>

#include "connection.h"
#include "container.h"
#include "heap.h"
#include "plane_private.h"
#include "rename.h"
#include "shard_thread.h"
#include "tasks.h"

enum { MOVE_TRIES_MAX = 100, MOVE_RETRY_US = 5000 };

enum step { STEP_TAKE, STEP_PLACE, STEP_END, STEP_UNDO };

struct move {
    struct task task;
    uint64_t id; /* Of this copy. */
    uint8_t step;
    bool renamenx;      /* What was asked... */
    bool only_new;      /* ... and whether the new key is still to be looked at. */
    bool ended;         /* The old key may have been destroyed by us: that was not answered. */
    enum status status; /* Why it is undone; NOT_FOUND: there is no session any more. */
    uint32_t from_size, to_size, tries;
    uint8_t keys[2 * KEY_BYTES_MAX];
    struct buffer token, intent;
};

static struct move *move_of(struct task *task)
{
    return container_of(task, struct move, task);
}

static void free_move(struct shard_thread *thread, struct task *task)
{
    struct move *move = move_of(task);

    buffer_fini(&move->token);
    buffer_fini(&move->intent);
    heap_give(thread->memory, move, sizeof *move);
}

static void end(struct shard_thread *thread, struct move *move, enum status status, bool moved)
{
    const uint64_t number = move->task.number;
    struct connection *connection = task_client(thread, &move->task);

    task_over(thread, &move->task);
    if (connection == NULL) {
        return;
    }
    if (status == STATUS_NOT_FOUND) {
        resp_reply_error(thread, connection, number, "ERR no such key");
    } else if (status != STATUS_OK) {
        resp_reply_status(thread, connection, number, status);
    } else if (move->renamenx) {
        resp_reply_number(thread, connection, number, moved);
    } else {
        resp_reply_ok(thread, connection, number, "OK");
    }
}

static void go_on(struct shard_thread *thread, struct move *move, enum step step, uint64_t delay_us)
{
    move->step = (uint8_t)step;
    task_go_on(thread, &move->task, delay_us);
}

/* Of one life of the node, and of no other. */
static uint64_t next_id(struct shard_thread *thread)
{
    uint64_t id = thread->now_ms << 20 |
                  (uint64_t)(thread->plane->options.actor.node & 0xfff) << 8 | thread->index;

    thread->rename_id = id <= thread->rename_id ? thread->rename_id + (1 << 20) : id;
    return thread->rename_id;
}

/* ---- A step ---- */

static void begin_step(struct shard_thread *thread, struct task *task)
{
    static const uint8_t destroy = CHANGE_DESTROY;
    struct move *move = move_of(task);
    struct bytes from = bytes_of(move->keys, move->from_size);
    struct bytes to = bytes_of(move->keys + move->from_size, move->to_size);
    uint8_t *body = arena_take(&thread->arena, 9 + KEY_BYTES_MAX);
    struct request request = {
        .op = REQUEST_WRITE, .mode = WRITE_UPDATE, .ack = ACK_DEFAULT, .key = from};

    if (body == NULL) {
        task_go_on(thread, task, TASK_RETRY_US);
        return;
    }
    switch ((enum step)move->step) {
    case STEP_TAKE:
        store_u64(body, move->id);
        body[8] = move->only_new;
        memcpy(body + 9, to.data, to.size);
        request.op = REQUEST_GET;
        request.body = bytes_of(body, 9 + to.size);
        request.procedure = &rename_take;
        break;
    case STEP_PLACE:
        request.key = to;
        request.mode = WRITE_UPSERT;
        request.body = buffer_bytes(&move->intent);
        request.procedure = &rename_place;
        break;
    case STEP_END:
        request.body = buffer_bytes(&move->token);
        request.procedure = &rename_end;
        break;
    case STEP_UNDO:
        request.key = to;
        request.mode = WRITE_UPSERT;
        request.body = bytes_of(&destroy, 1);
        break;
    }
    task_ask(thread, task, &request, 0);
}

/* ---- Answers ---- */

static void took(struct shard_thread *thread, struct move *move, enum rename_answer what,
                 struct bytes rest)
{
    struct reader reader = reader_of(rest);
    struct bytes token = read_string(&reader);
    struct bytes intent = read_bytes(&reader, reader_left(&reader));

    if (what != RENAME_DONE) {
        end(thread, move, STATUS_NOT_FOUND, false);
        return;
    }
    move->token.size = move->intent.size = 0;
    if (buffer_append(&move->token, token) != 0 || buffer_append(&move->intent, intent) != 0) {
        end(thread, move, STATUS_MEMORY_FULL, false);
        return;
    }
    go_on(thread, move, STEP_PLACE, 0);
}

static void undo(struct shard_thread *thread, struct move *move, enum status status)
{
    move->status = status;
    go_on(thread, move, STEP_UNDO, 0);
}

static void old_ended(struct shard_thread *thread, struct move *move, enum rename_answer what)
{
    if (what == RENAME_DONE || (what == RENAME_NONE && move->ended)) {
        end(thread, move, STATUS_OK, true);
    } else if (what == RENAME_NONE) {
        undo(thread, move, STATUS_NOT_FOUND);
    } else {
        move->id = next_id(thread); /* It was changed meanwhile: what is there now is copied. */
        go_on(thread, move, STEP_TAKE, TASK_RETRY_US);
    }
}

static void step_done(struct shard_thread *thread, struct move *move, enum rename_answer what,
                      struct bytes rest)
{
    switch ((enum step)move->step) {
    case STEP_TAKE:
        took(thread, move, what, rest);
        break;
    case STEP_PLACE:
        if (what == RENAME_EXISTS) {
            end(thread, move, STATUS_OK, false);
        } else {
            move->only_new = false; /* What is there is ours. */
            go_on(thread, move, STEP_END, 0);
        }
        break;
    case STEP_END:
        old_ended(thread, move, what);
        break;
    case STEP_UNDO:
        end(thread, move, move->status, false);
        break;
    }
}

static bool may_repeat(struct move *move, enum status status)
{
    bool passes =
        status == STATUS_BUSY || status == STATUS_MAYBE_APPLIED || status == STATUS_UNAVAILABLE;

    return passes && ++move->tries < MOVE_TRIES_MAX;
}

static void answered(struct shard_thread *thread, struct task *task,
                     const struct task_answer *answer)
{
    struct move *move = move_of(task);
    struct reader reader = reader_of(answer->bytes);

    move->ended = move->ended || (move->step == STEP_END && answer->status != STATUS_OK &&
                                  answer->status != STATUS_BUSY);
    if (may_repeat(move, answer->status)) {
        go_on(thread, move, (enum step)move->step, MOVE_RETRY_US);
    } else if (answer->status == STATUS_OK) {
        enum rename_answer what = (enum rename_answer)read_u8(&reader);
        step_done(thread, move, what, read_bytes(&reader, reader_left(&reader)));
    } else if (move->step == STEP_END && !move->ended) {
        undo(thread, move, answer->status);
    } else {
        end(thread, move, move->step == STEP_UNDO ? move->status : answer->status, false);
    }
}

static const struct task_kind move_kind = {
    .begin = begin_step,
    .answered = answered,
    .free = free_move,
};

int moves_begin(struct shard_thread *thread, struct connection *connection, uint64_t number,
                struct bytes from, struct bytes to, bool only_new)
{
    struct move *move = heap_take(thread->memory, sizeof *move);

    assert(from.size <= KEY_BYTES_MAX && to.size <= KEY_BYTES_MAX);
    if (move == NULL) {
        return -ENOMEM;
    }
    *move = (struct move){
        .id = next_id(thread),
        .only_new = only_new,
        .renamenx = only_new,
        .from_size = (uint32_t)from.size,
        .to_size = (uint32_t)to.size,
        .token = {.memory = thread->memory},
        .intent = {.memory = thread->memory},
    };
    memcpy(move->keys, from.data, from.size);
    memcpy(move->keys + from.size, to.data, to.size);
    task_add_for(thread, &move->task, &move_kind, connection, number);
    return 0;
}
