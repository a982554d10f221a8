#include "renames.h"

#include <assert.h>
#include <errno.h>
#include <string.h>

#include "connection.h"
#include "container.h"
#include "heap.h"
#include "plane_private.h"
#include "rename.h"
#include "shard_thread.h"
#include "slot.h"
#include "tasks.h"

enum step { STEP_FIND, STEP_LOCK, STEP_COMMIT, STEP_APPLY, STEP_FORGET, STEP_UNLOCK };

/* How it ends for its client. */
enum end { END_NONE = 0, END_DONE, END_NO_SESSION, END_EXISTS, END_ERROR };

struct rename {
    struct task task;
    uint64_t id;
    uint8_t step, end;
    bool only_new, restarts; /* The lock is given up to begin again. */
    bool found;              /* In a journal, and not locked yet: no client is accepted. */
    enum status status;      /* END_ERROR. */
    uint64_t hlc;            /* What lock gave. */
    uint16_t tag;            /* Of the journal. */
    uint32_t from_size, to_size;
    uint8_t keys[2 * KEY_BYTES_MAX];
    struct buffer intent;
};

static struct rename *rename_of(struct task *task)
{
    return container_of(task, struct rename, task);
}

static struct bytes from_key(const struct rename *rename)
{
    return bytes_of(rename->keys, rename->from_size);
}

static struct bytes to_key(const struct rename *rename)
{
    return bytes_of(rename->keys + rename->from_size, rename->to_size);
}

/* ---- Its life ---- */

static uint32_t shard_of(const struct shard_thread *thread, struct bytes key)
{
    return slot_of_key(key) % thread->plane->options.shard_count;
}

/* Of one life of the node, and of no other: later ones are larger. */
static uint64_t next_id(struct shard_thread *thread)
{
    uint64_t id = thread->now_ms << 20 | thread->index;

    if (id <= thread->rename_id) {
        id = thread->rename_id + (1 << 8); /* The index has eight bits. */
    }
    thread->rename_id = id;
    return id;
}

static struct rename *make(struct shard_thread *thread, struct bytes from, struct bytes to)
{
    struct rename *rename = heap_take(thread->memory, sizeof *rename);

    assert(from.size <= KEY_BYTES_MAX && to.size <= KEY_BYTES_MAX);
    if (rename == NULL) {
        return NULL;
    }
    *rename = (struct rename){
        .from_size = (uint32_t)from.size,
        .to_size = (uint32_t)to.size,
        .intent = {.memory = thread->memory},
    };
    memcpy(rename->keys, from.data, from.size);
    memcpy(rename->keys + from.size, to.data, to.size);
    return rename;
}

static void free_rename(struct shard_thread *thread, struct task *task)
{
    struct rename *rename = rename_of(task);

    buffer_fini(&rename->intent);
    heap_give(thread->memory, rename, sizeof *rename);
}

/* Its client gets the reply, where it still waits. */
static void reply(struct shard_thread *thread, struct rename *rename)
{
    const uint64_t number = rename->task.number;
    struct connection *connection = task_client(thread, &rename->task);

    if (connection == NULL) {
        return;
    }
    switch ((enum end)rename->end) {
    case END_NO_SESSION:
        resp_reply_error(thread, connection, number, "ERR no such key");
        break;
    case END_ERROR:
        resp_reply_status(thread, connection, number, rename->status);
        break;
    case END_EXISTS:
        resp_reply_number(thread, connection, number, 0);
        break;
    case END_DONE:
    case END_NONE:
        if (rename->only_new) {
            resp_reply_number(thread, connection, number, 1);
        } else {
            resp_reply_ok(thread, connection, number, "OK");
        }
        break;
    }
}

/* One whose journal was looked at is over: for good, or it was not there. */
static void recovered(struct shard_thread *thread)
{
    if (--thread->recovering == 0) {
        atomic_fetch_sub(&thread->plane->recovering, 1);
    }
}

/* From here on nobody can see the key without the session that is to come, however long that takes. */
static void guarded(struct shard_thread *thread, struct rename *rename)
{
    if (rename->found) {
        rename->found = false;
        recovered(thread);
    }
}

static void over(struct shard_thread *thread, struct rename *rename)
{
    reply(thread, rename);
    task_over(thread, &rename->task);
    guarded(thread, rename);
}

static void end(struct shard_thread *thread, struct rename *rename, enum end how)
{
    rename->end = (uint8_t)how;
    over(thread, rename);
}

/* ---- A step ---- */

static void go_on(struct shard_thread *thread, struct rename *rename, enum step step,
                  uint64_t delay_us)
{
    rename->step = (uint8_t)step;
    task_go_on(thread, &rename->task, delay_us);
}

static void put_u64(struct buffer *to, uint64_t value)
{
    store_u64(to->data + to->size, value);
    to->size += 8;
}

/* What it asks. The body lies in the arena. Returns false where there is no memory. */
static bool make_request(struct shard_thread *thread, struct rename *rename,
                         struct request *request)
{
    static const struct procedure *const procedures[] = {
        [STEP_FIND] = &rename_find,     [STEP_LOCK] = &rename_lock,
        [STEP_COMMIT] = &rename_commit, [STEP_APPLY] = &rename_apply,
        [STEP_FORGET] = &rename_forget, [STEP_UNLOCK] = &rename_unlock,
    };
    enum { BODY_BYTES = 18 + KEY_BYTES_MAX + RENAME_KEY_BYTES };
    uint8_t *room = arena_take(&thread->arena, BODY_BYTES);
    struct buffer body = {.data = room};
    struct rename_intent intent;

    if (room == NULL) {
        return false;
    }
    put_u64(&body, rename->id);
    *request = (struct request){
        .op = REQUEST_WRITE,
        .mode = WRITE_UPDATE,
        .ack = ACK_MEMORY,
        .received_us = thread->now_us,
        .key = to_key(rename),
        .procedure = procedures[rename->step],
    };
    switch ((enum step)rename->step) {
    case STEP_FIND:
        request->op = REQUEST_GET;
        request->key = from_key(rename);
        break;
    case STEP_LOCK:
        /* What is committed already must be locked also when nothing can be written. */
        request->op = rename->found ? REQUEST_GET : REQUEST_WRITE;
        request->mode = WRITE_UPSERT;
        body.data[body.size++] = rename->only_new;
        break;
    case STEP_COMMIT:
        request->ack = ACK_DISK;
        request->key = from_key(rename);
        put_u64(&body, rename->hlc);
        body.data[body.size++] = (uint8_t)(rename->tag >> 8);
        body.data[body.size++] = (uint8_t)rename->tag;
        memcpy(body.data + body.size, to_key(rename).data, rename->to_size);
        body.size += rename->to_size;
        break;
    case STEP_APPLY:
        request->ack = ACK_DISK;
        request->body = buffer_bytes(&rename->intent);
        return true;
    case STEP_FORGET:
        if (!rename_intent_read(buffer_bytes(&rename->intent), &intent)) {
            return false;
        }
        request->key = rename_journal_key(rename->tag, intent.number, room + 8);
        break;
    case STEP_UNLOCK:
        request->op = REQUEST_GET; /* It must be possible when nothing can be written. */
        break;
    }
    request->body = bytes_of(body.data, body.size);
    return true;
}

static void begin_step(struct shard_thread *thread, struct task *task)
{
    struct rename *rename = rename_of(task);
    struct request request;

    if (make_request(thread, rename, &request)) {
        task_ask(thread, task, &request, 0);
    } else {
        task_go_on(thread, task, TASK_RETRY_US);
    }
}

/* ---- Answers ---- */

static void locked(struct shard_thread *thread, struct rename *rename, enum rename_answer answer,
                   struct bytes rest)
{
    if (answer != RENAME_EXISTS) {
        guarded(thread, rename); /* Also where another has locked it. */
    }
    if (answer == RENAME_DONE && rest.size == 8) {
        rename->hlc = load_u64(rest.data);
        go_on(thread, rename, rename->intent.size == 0 ? STEP_COMMIT : STEP_APPLY, 0);
    } else if (answer == RENAME_EXISTS) {
        end(thread, rename, END_EXISTS);
    } else {
        go_on(thread, rename, STEP_LOCK, TASK_RETRY_US);
    }
}

static void committed(struct shard_thread *thread, struct rename *rename, enum rename_answer answer,
                      struct bytes rest)
{
    if (answer == RENAME_DONE) {
        rename->intent.size = 0;
        bool kept = buffer_append(&rename->intent, rest) == 0;
        go_on(thread, rename, kept ? STEP_APPLY : STEP_COMMIT, kept ? 0 : TASK_RETRY_US);
    } else if (answer == RENAME_NONE) {
        rename->end = END_NO_SESSION;
        go_on(thread, rename, STEP_UNLOCK, 0);
    } else if (answer == RENAME_LOCKED && rest.size == 8 && load_u64(rest.data) < rename->id) {
        rename->restarts = true; /* The earlier one goes first. */
        go_on(thread, rename, STEP_UNLOCK, 0);
    } else {
        go_on(thread, rename, STEP_COMMIT, TASK_RETRY_US);
    }
}

static void unlocked(struct shard_thread *thread, struct rename *rename)
{
    if (rename->restarts) {
        rename->restarts = false;
        go_on(thread, rename, STEP_LOCK, TASK_RETRY_US);
    } else if (rename->end == END_DONE) {
        go_on(thread, rename, STEP_FORGET, 0);
    } else {
        end(thread, rename, (enum end)rename->end);
    }
}

/* Will it help to ask once more? */
static bool may_repeat(const struct rename *rename, enum status status)
{
    bool is_committed = rename->step == STEP_APPLY || rename->step == STEP_FORGET;

    return status == STATUS_BUSY || status == STATUS_MAYBE_APPLIED ||
           (is_committed && (status == STATUS_MEMORY_FULL || status == STATUS_DISK_FULL));
}

/* It will not. What was committed stays in its journal, for the next start. */
static void fail(struct shard_thread *thread, struct rename *rename, enum status status)
{
    rename->status = status;
    rename->end = END_ERROR;
    if (rename->step == STEP_COMMIT || rename->step == STEP_APPLY) {
        go_on(thread, rename, STEP_UNLOCK, 0);
    } else {
        end(thread, rename, END_ERROR);
    }
}

static void applied(struct shard_thread *thread, struct rename *rename)
{
    rename->end = END_DONE;
    reply(thread, rename);
    go_on(thread, rename, STEP_UNLOCK, 0);
}

static void step_done(struct shard_thread *thread, struct rename *rename, enum rename_answer what,
                      struct bytes rest)
{
    switch ((enum step)rename->step) {
    case STEP_FIND:
        if (what == RENAME_DONE) {
            go_on(thread, rename, STEP_LOCK, 0);
        } else {
            end(thread, rename, END_NO_SESSION);
        }
        break;
    case STEP_LOCK:
        locked(thread, rename, what, rest);
        break;
    case STEP_COMMIT:
        committed(thread, rename, what, rest);
        break;
    case STEP_APPLY:
        applied(thread, rename);
        break;
    case STEP_UNLOCK:
        unlocked(thread, rename);
        break;
    case STEP_FORGET:
        over(thread, rename);
        break;
    }
}

static void step_answered(struct shard_thread *thread, struct task *task,
                          const struct task_answer *answer)
{
    struct rename *rename = rename_of(task);
    struct reader reader = reader_of(answer->bytes);
    enum rename_answer what = (enum rename_answer)read_u8(&reader);
    struct bytes rest = read_bytes(&reader, reader_left(&reader));

    if (may_repeat(rename, answer->status)) {
        go_on(thread, rename, (enum step)rename->step, TASK_RETRY_US);
    } else if (answer->status != STATUS_OK) {
        fail(thread, rename, answer->status);
    } else {
        step_done(thread, rename, what, rest);
    }
}

static const struct task_kind rename_kind = {
    .begin = begin_step,
    .answered = step_answered,
    .free = free_rename,
};

int renames_begin(struct shard_thread *thread, struct connection *connection, uint64_t number,
                  struct bytes from, struct bytes to, bool only_new)
{
    struct rename *rename = make(thread, from, to);

    if (rename == NULL) {
        return -ENOMEM;
    }
    rename->id = next_id(thread);
    rename->only_new = only_new;
    rename->tag = thread->plane->rename_tags[shard_of(thread, from)];
    task_add_for(thread, &rename->task, &rename_kind, connection, number);
    return 0;
}

/* ---- After a crash ---- */

/* All journals of a thread. */
struct recovery {
    struct task task;
    uint32_t left;                   /* Answers. */
    uint8_t unseen[RENAME_JOURNALS]; /* A bit for each that is still to be looked at. */
};

static_assert(RENAMES_MAX <= 8, "a bit for each");

static void free_recovery(struct shard_thread *thread, struct task *task)
{
    heap_give(thread->memory, container_of(task, struct recovery, task), sizeof(struct recovery));
}

static int take_up(struct shard_thread *thread, struct bytes bytes, uint16_t tag)
{
    struct rename_intent intent;

    if (!rename_intent_read(bytes, &intent)) {
        return -EBADMSG;
    }
    struct rename *rename = make(thread, bytes_of(bytes.data, 0), intent.key);
    if (rename == NULL) {
        return -ENOMEM;
    }
    if (buffer_append(&rename->intent, bytes) != 0) {
        free_rename(thread, &rename->task);
        return -ENOMEM;
    }
    rename->id = intent.id;
    rename->tag = tag;
    rename->found = true;
    rename->step = STEP_LOCK;
    thread->recovering++;
    task_add(thread, &rename->task, &rename_kind);
    return 0;
}

/* One answer less is awaited. Once all have come those that said nothing are asked again. */
static void came(struct shard_thread *thread, struct recovery *recovery)
{
    bool all = true;

    if (--recovery->left > 0) {
        return;
    }
    for (uint32_t journal = 0; all && journal < RENAME_JOURNALS; journal++) {
        all = recovery->unseen[journal] == 0;
    }
    if (all || thread->stopping) {
        task_over(thread, &recovery->task);
        recovered(thread);
    } else {
        task_go_on(thread, &recovery->task, TASK_RETRY_US);
    }
}

/* What cannot be taken up at all stays in its journal, for the next start. */
static void looked(struct shard_thread *thread, struct task *task, const struct task_answer *answer)
{
    struct recovery *recovery = container_of(task, struct recovery, task);
    uint32_t journal = answer->part / RENAMES_MAX, number = answer->part % RENAMES_MAX;
    bool again = answer->status == STATUS_BUSY || answer->status == STATUS_MEMORY_FULL;

    if (answer->status == STATUS_OK && answer->bytes.size > 0 &&
        answer->bytes.data[0] == RENAME_DONE) {
        again = take_up(thread, bytes_of(answer->bytes.data + 1, answer->bytes.size - 1),
                        thread->plane->rename_tags[journal]) == -ENOMEM;
    }
    if (!again) {
        recovery->unseen[journal] &= (uint8_t) ~(1U << number);
    }
    came(thread, recovery);
}

static void look(struct shard_thread *thread, struct recovery *recovery, uint32_t journal,
                 uint32_t number)
{
    uint16_t tag = thread->plane->rename_tags[journal];
    uint8_t *key = arena_take(&thread->arena, RENAME_KEY_BYTES);

    if (key != NULL) {
        struct request request = {
            .op = REQUEST_GET,
            .key = rename_journal_key(tag, number, key),
            .body = bytes_of(key, journal == thread->index),
            .procedure = &rename_look,
        };
        recovery->left++;
        task_ask(thread, &recovery->task, &request, journal * RENAMES_MAX + number);
    }
}

static void begin_recovery(struct shard_thread *thread, struct task *task)
{
    struct recovery *recovery = container_of(task, struct recovery, task);
    uint32_t shards = thread->plane->options.shard_count;

    recovery->left = 1;
    for (uint32_t journal = thread->index; journal < RENAME_JOURNALS; journal += shards) {
        for (uint32_t number = 0; number < RENAMES_MAX; number++) {
            if ((recovery->unseen[journal] >> number & 1) != 0) {
                look(thread, recovery, journal, number);
            }
        }
    }
    came(thread, recovery);
}

static const struct task_kind recovery_kind = {
    .begin = begin_recovery,
    .answered = looked,
    .free = free_recovery,
};

void renames_recover(struct shard_thread *thread)
{
    struct recovery *recovery = heap_take(thread->memory, sizeof *recovery);

    thread->recovering = 1;
    if (recovery == NULL) {
        recovered(thread);
        return;
    }
    *recovery = (struct recovery){0};
    for (uint32_t i = thread->index; i < RENAME_JOURNALS; i += thread->plane->options.shard_count) {
        recovery->unseen[i] = (1U << RENAMES_MAX) - 1;
    }
    task_add(thread, &recovery->task, &recovery_kind);
}
