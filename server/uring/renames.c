#include "renames.h"

#include <assert.h>
#include <errno.h>
#include <string.h>

#include "batch.h"
#include "calls.h"
#include "connection.h"
#include "heap.h"
#include "plane_private.h"
#include "rename.h"
#include "shard_thread.h"
#include "slot.h"

enum {
    RETRY_US = 1000, /* After BUSY; and where a source is locked. */
    KEYS_BYTES_MAX = 2 * KEY_BYTES_MAX,
};

enum step { STEP_FIND, STEP_LOCK, STEP_COMMIT, STEP_APPLY, STEP_FORGET, STEP_UNLOCK };

/* How it ends for its client. */
enum end { END_NONE = 0, END_DONE, END_NO_SESSION, END_EXISTS, END_ERROR };

struct rename {
    struct rename *next;
    uint64_t id;
    uint64_t due_us; /* When its step begins; UINT64_MAX: an answer is awaited. */
    uint8_t step, end;
    bool only_new, restarts; /* The lock is given up to begin again. */
    bool found;              /* In a journal, or answered: nobody waits for its answer. */
    bool over;
    enum status status; /* END_ERROR. */
    uint32_t connection, generation;
    uint64_t number; /* UINT64_MAX: found in a journal. */
    uint64_t hlc;    /* What lock gave. */
    uint16_t tag;    /* Of the journal. */
    uint32_t from_size, to_size;
    uint8_t keys[KEYS_BYTES_MAX];
    struct buffer intent;
};

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
        .next = thread->renames,
        .number = UINT64_MAX,
        .from_size = (uint32_t)from.size,
        .to_size = (uint32_t)to.size,
        .intent = {.memory = thread->memory},
    };
    memcpy(rename->keys, from.data, from.size);
    memcpy(rename->keys + from.size, to.data, to.size);
    thread->renames = rename;
    thread->again = true;
    return rename;
}

static void free_rename(struct shard_thread *thread, struct rename *rename)
{
    buffer_fini(&rename->intent);
    heap_give(thread->memory, rename, sizeof *rename);
}

void renames_fini(struct shard_thread *thread)
{
    while (thread->renames != NULL) {
        struct rename *next = thread->renames->next;
        free_rename(thread, thread->renames);
        thread->renames = next;
    }
}

int renames_begin(struct shard_thread *thread, struct connection *connection, uint64_t number,
                  struct bytes from, struct bytes to, bool only_new)
{
    struct rename *rename = make(thread, from, to);

    if (rename == NULL) {
        return -ENOMEM;
    }
    rename->id = next_id(thread);
    rename->only_new = only_new;
    rename->connection = connection->index;
    rename->generation = connection->generation;
    rename->number = number;
    rename->tag = thread->plane->rename_tags[shard_of(thread, from)];
    connection->in_flight++;
    connection->resp->renaming++;
    return 0;
}

/* Its client gets the answer, where it still waits. */
static void reply(struct shard_thread *thread, const struct rename *rename)
{
    struct connection *connection = connection_find(thread, rename->connection, rename->generation);

    if (connection == NULL) {
        return;
    }
    connection->in_flight--;
    connection->resp->renaming--;
    connection_mark(thread, connection);
    switch ((enum end)rename->end) {
    case END_NO_SESSION:
        resp_reply_error(thread, connection, rename->number, "ERR no such key");
        break;
    case END_ERROR:
        resp_reply_status(thread, connection, rename->number, rename->status);
        break;
    case END_EXISTS:
        resp_reply_number(thread, connection, rename->number, 0);
        break;
    case END_DONE:
    case END_NONE:
        if (rename->only_new) {
            resp_reply_number(thread, connection, rename->number, 1);
        } else {
            resp_reply_ok(thread, connection, rename->number, "OK");
        }
        break;
    }
}

static void end(struct shard_thread *thread, struct rename *rename, enum end how)
{
    rename->end = (uint8_t)how;
    if (!rename->found) {
        reply(thread, rename);
    }
    rename->found = true; /* Nobody waits any more. */
}

/* One whose journal was looked at is over: for good, or it was not there. */
static void recovered(struct shard_thread *thread)
{
    if (--thread->recovering == 0) {
        atomic_fetch_sub(&thread->plane->recovering, 1);
    }
}

/* ---- A step ---- */

static void go_on(struct shard_thread *thread, struct rename *rename, enum step step,
                  uint64_t delay_us)
{
    rename->step = (uint8_t)step;
    rename->due_us = delay_us == 0 ? 0 : thread->now_us + delay_us;
    thread->again = thread->again || delay_us == 0;
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

static void begin_step(struct shard_thread *thread, struct rename *rename)
{
    struct request request;
    struct call *call;

    if (!make_request(thread, rename, &request) ||
        (request.ticket = calls_take(&thread->calls, &call)) == 0) {
        go_on(thread, rename, (enum step)rename->step, RETRY_US);
        return;
    }
    call->form = CALL_STEP;
    call->frame_type = FRAME_WRITE;
    call->protocol = &renames_protocol;
    call->connection = UINT32_MAX;
    call->granted_bytes = UINT32_MAX;
    call->rename = rename;
    rename->due_us = UINT64_MAX;
    batch_route(thread, &request, NULL, bytes_of(NULL, 0));
}

uint64_t renames_turn(struct shard_thread *thread)
{
    uint64_t wait_us = UINT64_MAX;

    for (struct rename **link = &thread->renames; *link != NULL;) {
        struct rename *rename = *link;
        if (rename->over) {
            *link = rename->next;
            free_rename(thread, rename);
            continue;
        }
        if (rename->due_us <= thread->now_us) {
            begin_step(thread, rename);
        } else if (rename->due_us - thread->now_us < wait_us) {
            wait_us = rename->due_us - thread->now_us;
        }
        link = &rename->next;
    }
    return wait_us;
}

/* ---- Answers ---- */

static void locked(struct shard_thread *thread, struct rename *rename, enum rename_answer answer,
                   struct bytes rest)
{
    if (answer == RENAME_DONE && rest.size == 8) {
        rename->hlc = load_u64(rest.data);
        go_on(thread, rename, STEP_COMMIT, 0);
    } else if (answer == RENAME_EXISTS) {
        end(thread, rename, END_EXISTS);
    } else {
        go_on(thread, rename, STEP_LOCK, RETRY_US);
    }
}

static void committed(struct shard_thread *thread, struct rename *rename, enum rename_answer answer,
                      struct bytes rest)
{
    if (answer == RENAME_DONE) {
        rename->intent.size = 0;
        bool kept = buffer_append(&rename->intent, rest) == 0;
        go_on(thread, rename, kept ? STEP_APPLY : STEP_COMMIT, kept ? 0 : RETRY_US);
    } else if (answer == RENAME_NONE) {
        rename->end = END_NO_SESSION;
        go_on(thread, rename, STEP_UNLOCK, 0);
    } else if (answer == RENAME_LOCKED && rest.size == 8 && load_u64(rest.data) < rename->id) {
        rename->restarts = true; /* The earlier one goes first. */
        go_on(thread, rename, STEP_UNLOCK, 0);
    } else {
        go_on(thread, rename, STEP_COMMIT, RETRY_US);
    }
}

static void unlocked(struct shard_thread *thread, struct rename *rename)
{
    if (rename->restarts) {
        rename->restarts = false;
        go_on(thread, rename, STEP_LOCK, RETRY_US);
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

static void step_answered(struct shard_thread *thread, struct rename *rename, struct bytes answer)
{
    struct reader reader = reader_of(answer);
    enum status status = (enum status)read_varint(&reader);
    enum rename_answer what = (enum rename_answer)read_u8(&reader);
    struct bytes rest = read_bytes(&reader, reader_left(&reader));

    if (may_repeat(rename, status)) {
        go_on(thread, rename, (enum step)rename->step, RETRY_US);
    } else if (status != STATUS_OK) {
        fail(thread, rename, status);
    } else if (rename->step == STEP_FIND) {
        if (what == RENAME_DONE) {
            go_on(thread, rename, STEP_LOCK, 0);
        } else {
            end(thread, rename, END_NO_SESSION);
        }
    } else if (rename->step == STEP_LOCK) {
        locked(thread, rename, what, rest);
    } else if (rename->step == STEP_COMMIT) {
        committed(thread, rename, what, rest);
    } else if (rename->step == STEP_APPLY) {
        if (!rename->found) {
            end(thread, rename, END_DONE);
            rename->end = END_NONE;
        }
        go_on(thread, rename, STEP_FORGET, 0);
    } else if (rename->step == STEP_UNLOCK) {
        unlocked(thread, rename);
    } else {
        rename->end = END_DONE;
    }
    if (rename->end != END_NONE && rename->due_us == UINT64_MAX) {
        rename->over = true;
        if (rename->number == UINT64_MAX) {
            recovered(thread);
        }
    }
}

/* ---- After a crash ---- */

static void looked(struct shard_thread *thread, const struct call *call, struct bytes answer)
{
    struct reader reader = reader_of(answer);
    enum status status = (enum status)read_varint(&reader);
    enum rename_answer what = (enum rename_answer)read_u8(&reader);
    struct bytes rest = read_bytes(&reader, reader_left(&reader));
    struct rename_intent intent;

    if (status != STATUS_OK || what != RENAME_DONE || !rename_intent_read(rest, &intent)) {
        recovered(thread);
        return;
    }
    struct rename *rename = make(thread, bytes_of(rest.data, 0), intent.key);
    if (rename == NULL || buffer_append(&rename->intent, rest) != 0) {
        if (rename != NULL) {
            rename->over = true;
        }
        recovered(thread); /* It stays in its journal. */
        return;
    }
    rename->id = intent.id;
    rename->tag = (uint16_t)call->part;
    rename->found = true;
    rename->step = STEP_APPLY;
}

static void look(struct shard_thread *thread, uint32_t journal, uint32_t number)
{
    uint8_t key[RENAME_KEY_BYTES];
    uint16_t tag = thread->plane->rename_tags[journal];
    struct request request = {
        .op = REQUEST_GET,
        .received_us = thread->now_us,
        .key = rename_journal_key(tag, number, key),
        .body = bytes_of(key, journal == thread->index),
        .procedure = &rename_look,
    };
    struct call *call;

    request.ticket = calls_take(&thread->calls, &call);
    if (request.ticket == 0) {
        return; /* No memory: it stays in its journal. */
    }
    call->form = CALL_STEP;
    call->frame_type = FRAME_GET;
    call->protocol = &renames_protocol;
    call->connection = UINT32_MAX;
    call->part = tag;
    thread->recovering++;
    shard_prepare(thread->shard, &request);
    shard_execute(thread->shard, &request, thread->now_ms, monotonic_us());
}

void renames_recover(struct shard_thread *thread)
{
    uint32_t shards = thread->plane->options.shard_count;

    thread->recovering = 1;
    for (uint32_t journal = thread->index; journal < RENAME_JOURNALS; journal += shards) {
        for (uint32_t number = 0; number < RENAMES_MAX; number++) {
            look(thread, journal, number);
        }
    }
    recovered(thread);
}

void renames_answered(struct shard_thread *thread, const struct call *call, struct bytes answer)
{
    if (call->rename == NULL) {
        looked(thread, call, answer);
    } else {
        step_answered(thread, call->rename, answer);
    }
}

/* ---- Answers as bytes: varint status, and what the procedure says ---- */

static size_t answer_room(struct shard_thread *thread, const struct call *call,
                          const struct reply *reply)
{
    (void)thread;
    (void)call;
    return VARINT_BYTES_MAX + reply->results.size;
}

static size_t answer_put(struct shard_thread *thread, const struct call *call,
                         const struct reply *reply, uint8_t *to)
{
    uint8_t *at = varint_put(to, reply->status);

    (void)thread;
    (void)call;
    if (reply->status == STATUS_OK && reply->results.size > 0) {
        memcpy(at, reply->results.data, reply->results.size);
        at += reply->results.size;
    }
    return (size_t)(at - to);
}

const struct protocol renames_protocol = {
    .name = "rename",
    .answer_room = answer_room,
    .answer_put = answer_put,
};
