#include "settles.h"

#include <assert.h>
#include <string.h>

#include "container.h"
#include "heap.h"
#include "move.h"
#include "plane_private.h"
#include "shard_thread.h"
#include "slot.h"
#include "tasks.h"

enum { SETTLE_HOPS_MAX = 8, STAMP_BYTES = 16 };

enum step { STEP_LOOK, STEP_JOB, STEP_SETTLE };

struct settle {
    struct task task;
    uint8_t step;
    uint8_t job;    /* MOVE_END or MOVE_LATE... */
    uint8_t hops;   /* ... and how often its target was renamed. */
    uint32_t size;  /* Of the key. */
    uint32_t whole; /* Of the target's. */
    uint8_t stamp[STAMP_BYTES];
    uint8_t key[KEY_BYTES_MAX], target[KEY_BYTES_MAX];
    struct buffer jobs; /* Token and jobs. */
    size_t at;          /* The next one. */
    struct bytes changes;
};

static struct settle *settle_of(struct task *task)
{
    return container_of(task, struct settle, task);
}

static void free_settle(struct shard_thread *thread, struct task *task)
{
    struct settle *settle = settle_of(task);

    buffer_fini(&settle->jobs);
    heap_give(thread->memory, settle, sizeof *settle);
}

static void over(struct shard_thread *thread, struct settle *settle)
{
    thread->moves.count--;
    task_over(thread, &settle->task);
}

static void go_on(struct shard_thread *thread, struct settle *settle, enum step step)
{
    settle->step = (uint8_t)step;
    task_go_on(thread, &settle->task, 0);
}

/* Its request, whose body lies in the arena. Returns false where there is no memory. */
static bool make_request(struct shard_thread *thread, struct settle *settle,
                         struct request *request)
{
    struct reader reader = reader_of(buffer_bytes(&settle->jobs));
    size_t size = STAMP_BYTES + settle->changes.size;
    uint8_t *body = arena_take(&thread->arena, size);

    if (body == NULL) {
        return false;
    }
    *request = (struct request){
        .op = REQUEST_WRITE,
        .mode = WRITE_UPDATE,
        .ack = ACK_DEFAULT,
        .key = bytes_of(settle->key, settle->size),
    };
    switch ((enum step)settle->step) {
    case STEP_LOOK: {
        uint16_t tag = thread->plane->rename_tags[slot_of_key(request->key)];
        body[0] = (uint8_t)(tag >> 8);
        body[1] = (uint8_t)tag;
        request->op = REQUEST_GET;
        request->body = bytes_of(body, 2);
        request->procedure = &move_look;
        break;
    }
    case STEP_JOB:
        memcpy(body, settle->stamp, STAMP_BYTES);
        if (settle->changes.size > 0) {
            memcpy(body + STAMP_BYTES, settle->changes.data, settle->changes.size);
        }
        request->key = bytes_of(settle->target, settle->whole);
        request->body = bytes_of(body, size);
        request->procedure = settle->job == MOVE_END ? &move_end : &move_late;
        break;
    case STEP_SETTLE:
        request->body = read_string(&reader);
        request->procedure = &move_settle;
        break;
    }
    return true;
}

static void begin_step(struct shard_thread *thread, struct task *task)
{
    struct settle *settle = settle_of(task);
    struct request request;

    if (make_request(thread, settle, &request)) {
        task_ask(thread, task, &request, 0);
    } else {
        over(thread, settle);
    }
}

/* The next job, or the end. */
static void next(struct shard_thread *thread, struct settle *settle)
{
    struct bytes jobs = buffer_bytes(&settle->jobs);
    struct reader reader = reader_of(bytes_of(jobs.data + settle->at, jobs.size - settle->at));

    settle->changes = bytes_of(jobs.data, 0);
    if (reader_left(&reader) == 0) {
        go_on(thread, settle, STEP_SETTLE);
        return;
    }
    settle->job = read_u8(&reader);
    struct bytes stamp = read_bytes(&reader, STAMP_BYTES), target = read_string(&reader);
    settle->changes = read_string(&reader);
    if (reader.bad || target.size > KEY_BYTES_MAX) {
        over(thread, settle);
        return;
    }
    settle->at = jobs.size - reader_left(&reader);
    settle->hops = 0;
    settle->whole = (uint32_t)target.size;
    memcpy(settle->stamp, stamp.data, STAMP_BYTES);
    memcpy(settle->target, target.data, target.size);
    go_on(thread, settle, STEP_JOB);
}

static void looked(struct shard_thread *thread, struct settle *settle, struct bytes rest)
{
    struct reader reader = reader_of(rest);

    (void)read_string(&reader);
    settle->jobs.size = 0;
    if (reader.bad || buffer_append(&settle->jobs, rest) != 0) {
        over(thread, settle);
        return;
    }
    settle->at = rest.size - reader_left(&reader);
    next(thread, settle);
}

/* The target was renamed: it goes on there. */
static void onward(struct shard_thread *thread, struct settle *settle, struct bytes rest)
{
    struct reader reader = reader_of(rest);
    struct bytes stamp = read_bytes(&reader, STAMP_BYTES);
    struct bytes target = read_bytes(&reader, reader_left(&reader));

    if (reader.bad || target.size == 0 || target.size > KEY_BYTES_MAX ||
        settle->hops == SETTLE_HOPS_MAX) {
        next(thread, settle);
        return;
    }
    settle->hops++;
    settle->whole = (uint32_t)target.size;
    memcpy(settle->stamp, stamp.data, STAMP_BYTES);
    memcpy(settle->target, target.data, target.size);
    go_on(thread, settle, STEP_JOB);
}

static void answered(struct shard_thread *thread, struct task *task,
                     const struct task_answer *answer)
{
    struct settle *settle = settle_of(task);
    struct reader reader = reader_of(answer->bytes);
    enum rename_answer what = (enum rename_answer)read_u8(&reader);
    struct bytes rest = read_bytes(&reader, reader_left(&reader));
    bool done = answer->status == STATUS_OK && what == RENAME_DONE;
    bool gone = settle->step == STEP_JOB && answer->status == STATUS_NOT_FOUND;

    if (done && settle->step == STEP_LOOK) {
        looked(thread, settle, rest);
    } else if (settle->step == STEP_JOB && (done || gone)) {
        next(thread, settle);
    } else if (settle->step == STEP_JOB && answer->status == STATUS_OK && what == RENAME_MOVED) {
        onward(thread, settle, rest);
    } else if (settle->step == STEP_JOB && moves_is_final(answer->status)) {
        shard_tell_refused(thread->shard, bytes_of(settle->key, settle->size), answer->status);
        next(thread, settle);
    } else {
        over(thread, settle);
    }
}

static const struct task_kind settle_kind = {
    .begin = begin_step,
    .answered = answered,
    .free = free_settle,
};

void settles_begin(struct shard_thread *thread, struct bytes key)
{
    struct settle *settle = heap_take(thread->memory, sizeof *settle);

    assert(key.size <= KEY_BYTES_MAX);
    if (settle == NULL) {
        return;
    }
    memset(settle, 0, sizeof *settle);
    settle->jobs.memory = thread->memory;
    settle->size = (uint32_t)key.size;
    memcpy(settle->key, key.data, key.size);
    thread->moves.count++;
    task_add(thread, &settle->task, &settle_kind);
}

bool settles_has(const struct shard_thread *thread, struct bytes key)
{
    for (struct task *task = thread->tasks; task != NULL; task = task->next) {
        if (task->kind == &settle_kind && !task->over) {
            const struct settle *settle = settle_of(task);
            if (bytes_equal(bytes_of(settle->key, settle->size), key)) {
                return true;
            }
        }
    }
    return false;
}
