#include "moves.h"

#include <assert.h>
#include <errno.h>
#include <string.h>

#include "connection.h"
#include "container.h"
#include "heap.h"
#include "move.h"
#include "plane_private.h"
#include "shard_thread.h"
#include "slot.h"
#include "tasks.h"

enum { MOVE_RETRY_US = 5000, STAMP_BYTES = 16 };

enum step {
    STEP_FIND,
    STEP_PROBE,
    STEP_COMMIT,
    STEP_TAKE,
    STEP_DELIVER,
    STEP_KEPT,
    STEP_ARRIVE,
    STEP_BACK,
    STEP_ENDED,
    STEP_GONE,
    STEP_FORGET,
};

struct move {
    struct task task;
    uint64_t id;
    uint16_t tag; /* Of the old key's slot. */
    uint8_t step;
    bool only_new;
    bool found;   /* As a letter: nobody waits for it. */
    bool unsure;  /* A commit was asked for, and not answered. */
    bool again;   /* What follows it was asked for more than once... */
    bool many;    /* ... and the new key has more receipts than need be. */
    bool refused; /* It was not delivered, but is to go back. */
    bool copied;  /* Another owner of the new key has the receipt, or there is none. */
    uint64_t begun_us;
    uint32_t from_size, to_size;
    uint8_t keys[2 * KEY_BYTES_MAX];
    uint8_t birth[STAMP_BYTES];
    struct buffer intent;
};

static struct move *move_of(struct task *task)
{
    return container_of(task, struct move, task);
}

static struct bytes from_key(const struct move *move)
{
    return bytes_of(move->keys, move->from_size);
}

static struct bytes to_key(const struct move *move)
{
    return bytes_of(move->keys + move->from_size, move->to_size);
}

/* ---- Its life ---- */

static void free_move(struct shard_thread *thread, struct task *task)
{
    struct move *move = move_of(task);

    buffer_fini(&move->intent);
    heap_give(thread->memory, move, sizeof *move);
}

/* The client gets the reply, where one still waits. */
static void reply(struct shard_thread *thread, struct move *move, enum status status, bool moved)
{
    const uint64_t number = move->task.number;
    struct connection *connection = task_client(thread, &move->task);

    if (connection == NULL) {
        return;
    }
    if (status == STATUS_NOT_FOUND) {
        resp_reply_error(thread, connection, number, "ERR no such key");
    } else if (status != STATUS_OK) {
        resp_reply_status(thread, connection, number, status);
    } else if (move->only_new) {
        resp_reply_number(thread, connection, number, moved);
    } else {
        resp_reply_ok(thread, connection, number, "OK");
    }
}

static void end(struct shard_thread *thread, struct move *move, enum status status, bool moved)
{
    reply(thread, move, status, moved);
    thread->moves.count -= move->found;
    task_over(thread, &move->task);
}

static void go_on(struct shard_thread *thread, struct move *move, enum step step, uint64_t delay_us)
{
    move->step = (uint8_t)step;
    task_go_on(thread, &move->task, delay_us);
}

/* Of one process of one node, and of no other, whatever the clock says: by the number of its life, which is that of the
 * process before where that stopped cleanly, and a count that begins anywhere. Two of one process are never the same; of
 * two they are as hashes of 64 bits are. */
uint64_t moves_id(struct actor actor, uint32_t shard, uint64_t count)
{
    uint64_t id = (uint64_t)actor.start << 32 | actor.node;

    /* The mixer of Steele, Lea, Flood, "Fast splittable pseudorandom number generators", 2014. */
    for (int round = 0; round < 2; round++) {
        id = (id ^ id >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
        id = (id ^ id >> 27) * UINT64_C(0x94d049bb133111eb);
        id ^= id >> 31;
        id += round == 0 ? (uint64_t)shard << 56 | (count & UINT64_C(0xffffffffffffff)) : 0;
    }
    return id != 0 ? id : 1;
}

static uint64_t next_id(struct shard_thread *thread)
{
    return moves_id(thread->plane->options.actor, thread->index, ++thread->moves.begun);
}

/* ---- A step ---- */

static uint8_t *put_id(const struct move *move, uint8_t *to)
{
    store_u64(to, move->id);
    to[8] = (uint8_t)(move->tag >> 8);
    to[9] = (uint8_t)move->tag;
    return to + 10;
}

/* What it asks; the body lies in the arena. Returns false where there is no memory. */
static bool make_request(struct shard_thread *thread, struct move *move, struct request *request)
{
    static const struct procedure *const procedures[] = {
        [STEP_FIND] = &rename_find,   [STEP_PROBE] = &move_probe,     [STEP_COMMIT] = &move_commit,
        [STEP_TAKE] = &move_take,     [STEP_DELIVER] = &move_deliver, [STEP_KEPT] = &move_kept,
        [STEP_ARRIVE] = &move_arrive, [STEP_BACK] = &move_back,       [STEP_ENDED] = &move_take,
        [STEP_GONE] = &move_gone,     [STEP_FORGET] = &move_forget,
    };
    size_t room = 11 + KEY_BYTES_MAX + STAMP_BYTES + MOVE_KEY_BYTES;
    room += move->step == STEP_BACK ? move->intent.size : 0;
    uint8_t *body = arena_take(&thread->arena, room), *at = body;

    if (body == NULL) {
        return false;
    }
    *request = (struct request){
        .op = REQUEST_WRITE,
        .mode = WRITE_UPDATE,
        .ack = ACK_DEFAULT,
        .key = from_key(move),
        .procedure = procedures[move->step],
    };
    switch ((enum step)move->step) {
    case STEP_FIND:
        request->op = REQUEST_GET;
        break;
    case STEP_PROBE:
        request->key = to_key(move);
        request->mode = WRITE_UPSERT;
        *at++ = move->only_new;
        break;
    case STEP_COMMIT:
        at = put_id(move, at);
        *at++ = move->only_new;
        memcpy(at, to_key(move).data, move->to_size);
        at += move->to_size;
        break;
    case STEP_TAKE:
        request->key = move_letter_key(move->tag, move->id, body);
        break;
    case STEP_ENDED:
        request->key = move_letter_key(move->tag, move->id, body);
        request->ack = ACK_DISK;
        break;
    case STEP_GONE:
        request->key = move_letter_key(move->tag, move->id, body);
        request->ack = ACK_REPLICA; /* Whatever the policy says: it is asked about. */
        break;
    case STEP_DELIVER:
        request->key = to_key(move);
        request->mode = WRITE_UPSERT;
        request->body = buffer_bytes(&move->intent);
        return true;
    case STEP_KEPT:
        request->key = to_key(move);
        request->ack = move->copied ? ACK_DISK : ACK_REPLICA;
        store_u64(at, move->id);
        at += 8;
        break;
    case STEP_ARRIVE:
        at = put_id(move, at);
        memcpy(at, move->birth, STAMP_BYTES);
        at += STAMP_BYTES;
        break;
    case STEP_BACK:
        request->mode = WRITE_UPSERT;
        *at++ = (uint8_t)(move->tag >> 8);
        *at++ = (uint8_t)move->tag;
        memcpy(at, move->intent.data, move->intent.size);
        at += move->intent.size;
        break;
    case STEP_FORGET:
        request->key = to_key(move);
        store_u64(at, move->id);
        at += 8;
        break;
    }
    request->body = bytes_of(body, (size_t)(at - body));
    return true;
}

static void begin_step(struct shard_thread *thread, struct task *task)
{
    struct move *move = move_of(task);
    struct request request;

    if (make_request(thread, move, &request)) {
        task_ask(thread, task, &request, 0);
    } else {
        task_go_on(thread, task, TASK_RETRY_US);
    }
}

/* ---- Answers ---- */

/* It is committed: what is to be delivered, or nothing, where it has arrived. */
static void committed(struct shard_thread *thread, struct move *move, struct bytes bytes)
{
    move->intent.size = 0;
    if (bytes.size == 0) {
        end(thread, move, STATUS_OK, true);
    } else if (buffer_append(&move->intent, bytes) != 0) {
        go_on(thread, move, (enum step)move->step, TASK_RETRY_US);
    } else {
        go_on(thread, move, STEP_DELIVER, 0);
    }
}

/* A letter that was found says what it is about. */
static bool set_keys(struct move *move, struct bytes bytes)
{
    struct rename_intent intent;

    if (!rename_intent_read(bytes, &intent)) {
        return false;
    }
    struct bytes from = session_key(intent.record);
    if (from.size == 0 || from.size > KEY_BYTES_MAX) {
        return false;
    }
    move->only_new = intent.number != 0;
    move->from_size = (uint32_t)from.size;
    move->to_size = (uint32_t)intent.key.size;
    memcpy(move->keys, from.data, from.size);
    memcpy(move->keys + from.size, intent.key.data, intent.key.size);
    return true;
}

static void delivered(struct shard_thread *thread, struct move *move, enum rename_answer what,
                      enum ack_level level, struct bytes rest)
{
    struct reader reader = reader_of(rest);

    move->copied = level == ACK_REPLICA;
    move->refused = what == RENAME_EXISTS;
    if (move->refused) {
        move->many = read_u8(&reader) != 0;
        go_on(thread, move, STEP_KEPT, 0);
        return;
    }
    struct bytes birth = read_bytes(&reader, sizeof move->birth);
    move->many = read_u8(&reader) != 0;
    memset(move->birth, 0, sizeof move->birth);
    if (!reader.bad) {
        memcpy(move->birth, birth.data, sizeof move->birth);
    }
    if (!move->only_new) {
        reply(thread, move, STATUS_OK, true);
    }
    go_on(thread, move, STEP_KEPT, 0);
}

/* The new key's coordinator has the receipt, or is another one that has not: what was delivered may be lost, and the letter,
 * if it is there still, is delivered again. */
static void kept(struct shard_thread *thread, struct move *move, enum rename_answer what)
{
    if (what != RENAME_DONE) {
        move->again = move->unsure = true;
        go_on(thread, move, move->found ? STEP_TAKE : STEP_COMMIT, MOVE_RETRY_US);
    } else if (!move->copied) {
        move->copied = true;
        go_on(thread, move, STEP_KEPT, 0);
    } else {
        go_on(thread, move, move->refused ? STEP_BACK : STEP_ARRIVE, 0);
    }
}

/* Who finds a letter waits for longer before it is at it. */
static bool is_quick(const struct shard_thread *thread, const struct move *move)
{
    return thread->now_us - move->begun_us < MOVE_SETTLE_MS * UINT64_C(1000) / 2;
}

/* It is over, and its letter gone. Its receipt may go too, where there are many, and nobody but this one has been at it: who
 * was asked once does not do it twice. */
static void over(struct shard_thread *thread, struct move *move, bool moved, bool letter_went)
{
    if (move->many && letter_went && is_quick(thread, move) && !move->found && !move->again) {
        reply(thread, move, STATUS_OK, moved);
        go_on(thread, move, STEP_ENDED, 0);
    } else {
        end(thread, move, STATUS_OK, moved);
    }
}

/* Nobody has its letter any more, or somebody may: by the level that was reached (move_gone). */
static void gone(struct shard_thread *thread, struct move *move, enum ack_level level,
                 struct bytes rest)
{
    const bool alone = rest.size > 0 && rest.data[0] != 0;

    if ((level == ACK_REPLICA || (alone && level >= ACK_DISK)) && is_quick(thread, move)) {
        go_on(thread, move, STEP_FORGET, 0);
    } else {
        end(thread, move, STATUS_OK, true);
    }
}

/* It is waited for. */
static void wait(struct shard_thread *thread, struct move *move)
{
    if (!move->found && thread->now_us - move->begun_us < MOVE_PATIENCE_MS * 1000) {
        go_on(thread, move, (enum step)move->step, MOVE_RETRY_US);
    } else {
        end(thread, move, STATUS_MAYBE_APPLIED, false); /* It is found again. */
    }
}

static void step_done(struct shard_thread *thread, struct move *move, enum rename_answer what,
                      enum ack_level level, struct bytes rest)
{
    if (what == RENAME_WAIT) {
        wait(thread, move);
        return;
    }
    switch ((enum step)move->step) {
    case STEP_FIND:
        if (what == RENAME_DONE) {
            go_on(thread, move, STEP_PROBE, 0);
        } else {
            end(thread, move, STATUS_NOT_FOUND, false);
        }
        break;
    case STEP_PROBE:
        if (what == RENAME_DONE) {
            go_on(thread, move, STEP_COMMIT, 0);
        } else {
            end(thread, move, STATUS_OK, false);
        }
        break;
    case STEP_COMMIT:
        if (what == RENAME_DONE) {
            committed(thread, move, rest);
        } else if (what == RENAME_EXISTS) {
            end(thread, move, STATUS_OK, false);
        } else {
            end(thread, move, move->unsure ? STATUS_MAYBE_APPLIED : STATUS_NOT_FOUND, false);
        }
        break;
    case STEP_TAKE:
        if (what == RENAME_DONE && set_keys(move, rest)) {
            committed(thread, move, rest);
        } else {
            end(thread, move, STATUS_OK, false);
        }
        break;
    case STEP_DELIVER:
        delivered(thread, move, what, level, rest);
        break;
    case STEP_KEPT:
        kept(thread, move, what);
        break;
    case STEP_ARRIVE:
        over(thread, move, true, rest.size > 0 && rest.data[0] != 0);
        break;
    case STEP_BACK: /* Whoever brought it back: it was not delivered, and will not be. */
        over(thread, move, false, what == RENAME_DONE);
        break;
    case STEP_ENDED:
        if (what == RENAME_NONE) {
            go_on(thread, move, STEP_GONE, 0);
        } else {
            end(thread, move, STATUS_OK, true);
        }
        break;
    case STEP_GONE:
        gone(thread, move, what == RENAME_DONE ? level : ACK_DEFAULT, rest);
        break;
    case STEP_FORGET:
        end(thread, move, STATUS_OK, true);
        break;
    }
}

/* Will it help to ask once more? Before the commit nobody loses anything by an error. */
static bool may_repeat(const struct shard_thread *thread, const struct move *move,
                       enum status status)
{
    bool is_committed = move->step > STEP_TAKE || move->unsure;
    bool passes = status == STATUS_BUSY || status == STATUS_MAYBE_APPLIED ||
                  (is_committed && (status == STATUS_UNAVAILABLE || status == STATUS_MEMORY_FULL ||
                                    status == STATUS_DISK_FULL));

    return passes && !move->found && move->step != STEP_ENDED && move->step != STEP_GONE &&
           thread->now_us - move->begun_us < MOVE_PATIENCE_MS * 1000;
}

/* It will not. What was committed is left to whoever finds it. */
static void fail(struct shard_thread *thread, struct move *move, enum status status)
{
    bool is_committed = move->step > STEP_TAKE || move->unsure;

    if (move->found && is_committed && moves_is_final(status)) {
        moves_refused(thread, move->id, from_key(move), status);
    }
    const bool is_delivered = move->step == STEP_KEPT && !move->refused;
    const bool is_over = move->step == STEP_ARRIVE || move->step >= STEP_ENDED;
    if (is_delivered || is_over) {
        end(thread, move, STATUS_OK, true);
    } else {
        end(thread, move, is_committed ? STATUS_MAYBE_APPLIED : status, false);
    }
}

static void answered(struct shard_thread *thread, struct task *task,
                     const struct task_answer *answer)
{
    struct move *move = move_of(task);
    struct reader reader = reader_of(answer->bytes);

    move->unsure =
        move->unsure || (move->step == STEP_COMMIT && answer->status == STATUS_MAYBE_APPLIED);
    if (answer->status == STATUS_OK) {
        enum rename_answer what = (enum rename_answer)read_u8(&reader);
        step_done(thread, move, what, answer->level, read_bytes(&reader, reader_left(&reader)));
    } else if (answer->status == STATUS_NOT_FOUND && move->step == STEP_COMMIT) {
        step_done(thread, move, RENAME_NONE, answer->level, answer->bytes);
    } else if (may_repeat(thread, move, answer->status)) {
        move->again = move->again || move->step >= STEP_COMMIT;
        go_on(thread, move, (enum step)move->step, MOVE_RETRY_US);
    } else {
        fail(thread, move, answer->status);
    }
}

static const struct task_kind move_kind = {
    .begin = begin_step,
    .answered = answered,
    .free = free_move,
};

static struct move *make(struct shard_thread *thread)
{
    struct move *move = heap_take(thread->memory, sizeof *move);

    if (move != NULL) {
        memset(move, 0, sizeof *move);
        move->intent.memory = thread->memory;
    }
    return move;
}

int moves_begin(struct shard_thread *thread, struct connection *connection, uint64_t number,
                struct bytes from, struct bytes to, bool only_new)
{
    struct move *move = make(thread);

    assert(from.size <= KEY_BYTES_MAX && to.size <= KEY_BYTES_MAX);
    if (move == NULL) {
        return -ENOMEM;
    }
    move->id = next_id(thread);
    move->begun_us = thread->now_us;
    move->tag = thread->plane->rename_tags[slot_of_key(from)];
    move->only_new = only_new;
    move->step = only_new ? STEP_FIND : STEP_PROBE; /* Redis misses the old key first. */
    move->from_size = (uint32_t)from.size;
    move->to_size = (uint32_t)to.size;
    memcpy(move->keys, from.data, from.size);
    memcpy(move->keys + from.size, to.data, to.size);
    task_add_for(thread, &move->task, &move_kind, connection, number);
    return 0;
}

static bool is_under_way(const struct shard_thread *thread, uint64_t id)
{
    for (struct task *task = thread->tasks; task != NULL; task = task->next) {
        if (task->kind == &move_kind && !task->over && move_of(task)->id == id) {
            return true;
        }
    }
    return false;
}

bool moves_begin_found(struct shard_thread *thread, struct bytes letter_key)
{
    const uint64_t id = load_u64(letter_key.data + MOVE_KEY_BYTES - 8);
    struct move *move = is_under_way(thread, id) ? NULL : make(thread);

    if (move != NULL) {
        move->id = id;
        move->tag = move_tag(letter_key);
        move->found = true;
        move->step = STEP_TAKE;
        task_add(thread, &move->task, &move_kind);
    }
    return move != NULL;
}
