/* Commands of the RESP door on all keys: KEYS, DBSIZE, FLUSHDB, FLUSHALL; and on those that this node has of one slot:
 * CLUSTER COUNTKEYSINSLOT, GETKEYSINSLOT. Each walks over the shards, some keys a turn, so
 * that others are served meanwhile; what changes behind its back may count or not, as with SCAN. */
#include <errno.h>
#include <string.h>

#include "container.h"
#include "gather.h"
#include "glob.h"
#include "heap.h"
#include "move.h"
#include "plane_private.h"
#include "resp_cluster.h"
#include "resp_door.h"
#include "run.h"
#include "shard_thread.h"
#include "slot.h"
#include "status_words.h"
#include "sweep.h"
#include "tasks.h"

enum { FLUSH_STEP_KEYS = 500 };

struct walk {
    struct task task;
    enum command_local what;
    bool in_slot;  /* Only of one slot, and what this node itself has of it... */
    uint32_t slot; /* ... so many keys at most. */
    uint64_t keys_max;
    uint32_t shard;        /* Where it is... */
    uint64_t cursor, next; /* ... and where it goes on. */
    bool sweeps;           /* Over all nodes, page by page. */
    struct sweep sweep;
    size_t database; /* Bytes of the prefix of the database; all databases: 0. */
    bool everything; /* All databases. */
    bool deletes;    /* The keys of this step. */
    bool again;      /* Not all of them could be deleted. */
    uint8_t drop[1 + RESP_PREFIX_BYTES]; /* What of the letters is (move_drop). */
    uint32_t left;                       /* Answers to that. */
    uint64_t count;
    const char *error;
    enum status status; /* Of a shard; OK: see `error`. */
    struct buffer prefix, pattern;
    struct buffer
        keys; /* Each as varint size and bytes: KEYS what was found, FLUSH of this step. */
};

static void free_walk(struct shard_thread *thread, struct task *task)
{
    struct walk *walk = container_of(task, struct walk, task);

    sweep_fini(&walk->sweep);
    buffer_fini(&walk->prefix);
    buffer_fini(&walk->pattern);
    buffer_fini(&walk->keys);
    heap_give(thread->memory, walk, sizeof *walk);
}

/* ---- What is told ---- */

static bool counts(const struct walk *walk)
{
    return walk->what == LOCAL_DBSIZE || (walk->in_slot && walk->keys_max == 0);
}

static bool gives_keys(const struct walk *walk)
{
    return walk->what == LOCAL_KEYS || (walk->in_slot && walk->keys_max > 0);
}

/* ---- The end ---- */

static int put_keys(const struct resp_out *out, const struct walk *walk)
{
    int rc = resp_array(out, walk->count);

    for (struct reader keys = reader_of(buffer_bytes(&walk->keys));
         rc == 0 && reader_left(&keys) > 0;) {
        rc = resp_bulk(out, read_string(&keys));
    }
    return rc;
}

static void end(struct shard_thread *thread, struct walk *walk)
{
    const uint64_t number = walk->task.number;
    struct connection *connection = task_client(thread, &walk->task);
    char words[STATUS_WORDS_BYTES];

    task_over(thread, &walk->task);
    if (connection == NULL) {
        return;
    }
    if (walk->status != STATUS_OK) {
        status_words_of_all(walk->status, words);
        resp_reply_error(thread, connection, number, words);
    } else if (walk->error != NULL) {
        resp_reply_error(thread, connection, number, walk->error);
    } else if (counts(walk)) {
        resp_reply_number(thread, connection, number, (int64_t)walk->count);
    } else if (gives_keys(walk)) {
        const struct resp_out out = {.buffer = &thread->scratch, .resp3 = connection->resp->resp3};
        thread->scratch.size = 0;
        resp_reply(thread, connection, number, put_keys(&out, walk));
    } else {
        resp_reply_ok(thread, connection, number, "OK");
    }
}

static void fail(struct shard_thread *thread, struct walk *walk, enum status status,
                 const char *error)
{
    walk->status = status;
    walk->error = error;
    end(thread, walk);
}

/* ---- Its steps ---- */

static bool is_flush(const struct walk *walk)
{
    return walk->what == LOCAL_FLUSHALL || walk->what == LOCAL_FLUSHDB;
}

static void ask_keys(struct shard_thread *thread, struct walk *walk)
{
    struct request request = {
        .op = REQUEST_SCAN,
        .key = buffer_bytes(&walk->prefix),
        .cursor = walk->cursor,
        .flags = is_flush(walk) ? SCAN_LETTERS : 0,
        .count = is_flush(walk) ? FLUSH_STEP_KEYS : SCAN_COUNT_MAX,
    };

    if (is_flush(walk)) {
        walk->keys.size = 0;
    }
    if (!walk->sweeps) {
        task_ask_shard(thread, &walk->task, &request, walk->shard);
        return;
    }
    walk->sweep.cursor = walk->cursor;
    walk->sweep.count = request.count;
    walk->sweep.flags = request.flags;
    if (sweep_ask(thread, &walk->sweep, &walk->task) != 0) {
        fail(thread, walk, STATUS_MEMORY_FULL, NULL);
    }
}

static void step_done(struct shard_thread *thread, struct walk *walk)
{
    walk->deletes = false;
    if (walk->again) {
        walk->again = false;
        task_go_on(thread, &walk->task, TASK_RETRY_US);
        return;
    }
    walk->cursor = walk->next;
    walk->shard += walk->cursor == 0;
    walk->sweep.tries = 0;
    if (walk->in_slot) {
        bool more = walk->cursor != 0 && slot_of_position(walk->cursor) == walk->slot &&
                    (counts(walk) || walk->count < walk->keys_max);
        if (!more) {
            end(thread, walk);
            return;
        }
    }
    if (walk->shard < (walk->sweeps ? 1 : thread->plane->options.shard_count)) {
        task_go_on(thread, &walk->task, 0);
    } else {
        end(thread, walk);
    }
}

static void deleted(struct shard_thread *thread, struct walk *walk, enum status status)
{
    if (status == STATUS_BUSY || status == STATUS_MAYBE_APPLIED) {
        walk->again = true;
    } else if (status != STATUS_OK) {
        walk->status = status;
    }
    if (--walk->left > 0) {
        return;
    }
    if (walk->status != STATUS_OK) {
        end(thread, walk);
    } else {
        step_done(thread, walk);
    }
}

/* What is on its way between two keys of the database is in a letter (move.h). */
static struct bytes put_drop(struct walk *walk)
{
    uint8_t *body = walk->drop;

    body[0] = walk->everything || walk->database > 0 ? 0 : RESP_KEY_RESERVED;
    if (walk->database > 0) {
        memcpy(body + 1, walk->prefix.data, walk->database);
    }
    return bytes_of(body, 1 + walk->database);
}

static void delete_keys(struct shard_thread *thread, struct walk *walk)
{
    static const uint8_t destroy = CHANGE_DESTROY;
    struct reader keys = reader_of(buffer_bytes(&walk->keys));
    struct bytes drop = put_drop(walk);

    walk->left = 1;
    while (reader_left(&keys) > 0) {
        struct request request = {
            .op = REQUEST_WRITE,
            .key = read_string(&keys),
            .body = bytes_of(&destroy, 1),
        };
        if (move_is_letter(request.key)) {
            request.mode = WRITE_UPDATE;
            request.body = drop;
            request.procedure = &move_drop;
        }
        walk->left++;
        task_ask(thread, &walk->task, &request, 0);
    }
    deleted(thread, walk, STATUS_OK);
}

static void begin_step(struct shard_thread *thread, struct task *task)
{
    struct walk *walk = container_of(task, struct walk, task);

    if (thread->stopping) {
        fail(thread, walk, STATUS_OK, "ERR the server is stopping");
    } else if (!is_flush(walk) &&
               connection_find(thread, task->connection, task->generation) == NULL) {
        task_over(thread, task);
    } else if (walk->deletes) {
        delete_keys(thread, walk);
    } else {
        ask_keys(thread, walk);
    }
}

/* Is it of the walk's database, and wanted? Then `name` is the key as its client knows it. */
static bool is_wanted(const struct walk *walk, struct bytes key, struct bytes *name)
{
    if (walk->everything || (is_flush(walk) && move_is_letter(key))) {
        return true;
    }
    if (walk->database == 0 && key.size > 0 && key.data[0] == RESP_KEY_RESERVED) {
        return false;
    }
    if (walk->in_slot) {
        *name = key;
        return slot_of_key(key) == walk->slot && (counts(walk) || walk->count < walk->keys_max);
    }
    *name = bytes_of(key.data + walk->database, key.size - walk->database);
    return glob_matches(buffer_bytes(&walk->pattern), *name);
}

static int keep(struct walk *walk, struct bytes key)
{
    uint8_t size[VARINT_BYTES_MAX];
    const uint8_t *end = varint_put(size, key.size);

    int rc = buffer_append(&walk->keys, bytes_of(size, (size_t)(end - size)));
    return rc != 0 ? rc : buffer_append(&walk->keys, key);
}

/* Some keys came, and where it goes on. */
static void take_keys(struct shard_thread *thread, struct walk *walk, struct bytes bytes,
                      uint64_t next)
{
    struct task *task = &walk->task;
    struct bytes name;
    int rc = 0;

    walk->next = next;
    for (struct reader keys = reader_of(bytes); rc == 0 && reader_left(&keys) > 0;) {
        struct bytes key = read_string(&keys);
        if (is_wanted(walk, key, &name)) {
            walk->count++;
            rc = counts(walk) ? 0 : keep(walk, is_flush(walk) ? key : name);
        }
    }
    if (rc != 0) {
        fail(thread, walk, STATUS_MEMORY_FULL, NULL);
    } else if (gives_keys(walk) && walk->keys.size > gather_bytes_max(thread)) {
        fail(thread, walk, STATUS_OK,
             "ERR the keys do not fit into limits.output_buffer; use SCAN instead");
    } else if (is_flush(walk) && walk->keys.size > 0) {
        walk->deletes = true;
        task_go_on(thread, task, 0);
    } else {
        step_done(thread, walk);
    }
}

static void swept(struct shard_thread *thread, struct walk *walk, const struct task_answer *answer)
{
    switch (sweep_answered(thread, &walk->sweep, answer)) {
    case SWEEP_WAITS:
        break;
    case SWEEP_AGAIN:
        task_go_on(thread, &walk->task, SWEEP_RETRY_US);
        break;
    case SWEEP_DONE:
        take_keys(thread, walk, buffer_bytes(&walk->sweep.keys), walk->sweep.next);
        break;
    case SWEEP_FAILED:
        fail(thread, walk, walk->sweep.status, NULL);
        break;
    }
}

static void answered(struct shard_thread *thread, struct task *task,
                     const struct task_answer *answer)
{
    struct walk *walk = container_of(task, struct walk, task);

    if (walk->deletes) {
        deleted(thread, walk, answer->status);
    } else if (walk->sweeps) {
        swept(thread, walk, answer);
    } else if (answer->status == STATUS_BUSY) {
        task_go_on(thread, task, TASK_RETRY_US);
    } else if (answer->status != STATUS_OK) {
        fail(thread, walk, answer->status, NULL);
    } else {
        take_keys(thread, walk, answer->bytes, answer->cursor);
    }
}

static const struct task_kind walk_kind = {
    .begin = begin_step,
    .answered = answered,
    .free = free_walk,
};

/* ---- The commands ---- */

static const char *check(const struct shard_thread *thread, enum command_local what,
                         struct resp_arguments arguments)
{
    struct bytes word;

    if (what != LOCAL_FLUSHALL && what != LOCAL_FLUSHDB) {
        return NULL;
    }
    if (arguments.count > 1 ||
        (resp_next(&arguments, &word) && !run_is(word, "sync") && !run_is(word, "async"))) {
        return run_syntax;
    }
    return thread->plane->options.allow_flush
               ? NULL
               : "ERR FLUSHDB and FLUSHALL are not allowed here; resp.allow_flush = yes in the "
                 "configuration allows them";
}

static struct walk *make(struct shard_thread *thread, const struct connection *connection,
                         enum command_local what, struct bytes pattern)
{
    struct walk *walk = heap_take(thread->memory, sizeof *walk);
    struct bytes fixed = glob_prefix(pattern);
    char prefix[RESP_PREFIX_BYTES];
    int rc = 0;

    if (walk == NULL) {
        return NULL;
    }
    *walk = (struct walk){
        .what = what,
        .everything = what == LOCAL_FLUSHALL,
        .prefix = {.memory = thread->memory},
        .pattern = {.memory = thread->memory},
        .keys = {.memory = thread->memory},
    };
    sweep_init(&walk->sweep, thread->memory);
    walk->sweeps = thread->clustered;
    walk->sweep.only = connection->redirects ? thread->plane->options.actor.node : 0;
    if (!walk->everything) {
        walk->database = resp_put_database(connection->resp->database, prefix);
        rc = buffer_append(&walk->prefix, bytes_of(prefix, walk->database));
    }
    rc = rc != 0 ? rc : buffer_append(&walk->prefix, fixed);
    rc = rc != 0 ? rc : buffer_append(&walk->pattern, pattern);
    rc = rc != 0 ? rc : buffer_append(&walk->sweep.prefix, buffer_bytes(&walk->prefix));
    if (rc != 0) {
        free_walk(thread, &walk->task);
        return NULL;
    }
    return walk;
}

void resp_walk(struct shard_thread *thread, struct connection *connection, uint64_t number,
               const struct command *command, struct bytes array, struct bytes whole)
{
    const enum command_local what = (enum command_local)command->local;
    struct resp_arguments arguments = resp_arguments(array);
    struct bytes pattern = bytes_of(NULL, 0);

    (void)resp_next(&arguments, &pattern);
    const char *error = check(thread, what, arguments);
    if (error != NULL) {
        resp_reply_error(thread, connection, number, error);
        return;
    }
    pattern = bytes_of(NULL, 0);
    if (what == LOCAL_KEYS) {
        (void)resp_next(&arguments, &pattern);
    }
    error = resp_denied_key(thread, connection, ROLE_READ, glob_prefix(pattern));
    if (error != NULL) {
        resp_reply_error(thread, connection, number, error);
        return;
    }
    if (resp_waits(thread, connection, number, 1, whole) ||
        resp_waits_for_all(thread, connection, number, whole)) {
        return; /* It has no place among its connection's requests at a shard. */
    }
    struct walk *walk = make(thread, connection, what, pattern);
    if (walk == NULL) {
        resp_reply_error(thread, connection, number, "OOM no memory for the request");
        return;
    }
    task_add_for(thread, &walk->task, &walk_kind, connection, number);
}

/* ---- CLUSTER COUNTKEYSINSLOT, GETKEYSINSLOT ---- */

/* The arguments. Returns NULL or what is wrong. */
static const char *read_slot(struct resp_arguments arguments, bool gives, int64_t *slot,
                             int64_t *keys_max)
{
    struct bytes word;

    (void)resp_next(&arguments, &word);
    if (!resp_next(&arguments, &word) || !resp_integer(word, slot) || *slot < 0 ||
        *slot >= SLOT_COUNT) {
        return "ERR Invalid or out of range slot";
    }
    if (gives &&
        (!resp_next(&arguments, &word) || !resp_integer(word, keys_max) || *keys_max < 0)) {
        return "ERR Invalid number of keys";
    }
    return NULL;
}

bool resp_walk_slot(struct shard_thread *thread, struct connection *connection, uint64_t number,
                    struct bytes array, struct bytes whole)
{
    struct resp_arguments arguments = resp_arguments(array);
    struct bytes sub = bytes_of(NULL, 0);
    int64_t slot = 0, keys_max = 0;

    (void)resp_next(&arguments, &sub);
    struct resp_arguments rest = arguments;
    (void)resp_next(&rest, &sub);
    const bool gives = run_is(sub, "getkeysinslot");
    if (!connection->redirects || (!gives && !run_is(sub, "countkeysinslot")) ||
        rest.count != (gives ? 2U : 1U)) {
        return false;
    }
    const char *error = read_slot(arguments, gives, &slot, &keys_max);
    error =
        error != NULL ? error : resp_denied_key(thread, connection, ROLE_READ, bytes_of(NULL, 0));
    if (error != NULL) {
        resp_reply_error(thread, connection, number, error);
        return true;
    }
    if (!resp_cluster_owns(thread, (uint32_t)slot) || (gives && keys_max == 0)) {
        thread->scratch.size = 0;
        const struct resp_out out = {.buffer = &thread->scratch};
        resp_reply(thread, connection, number, gives ? resp_array(&out, 0) : resp_number(&out, 0));
        return true;
    }
    if (resp_waits(thread, connection, number, 1, whole) ||
        resp_waits_for_all(thread, connection, number, whole)) {
        return true;
    }
    struct walk *walk = make(thread, connection, LOCAL_CLUSTER, bytes_of(NULL, 0));
    if (walk == NULL) {
        resp_reply_error(thread, connection, number, "OOM no memory for the request");
        return true;
    }
    walk->in_slot = true;
    walk->sweeps = false;
    walk->slot = (uint32_t)slot;
    walk->keys_max = (uint64_t)keys_max;
    walk->shard = walk->slot % thread->plane->options.shard_count;
    walk->cursor = (uint64_t)slot << (64 - SLOT_BITS);
    task_add_for(thread, &walk->task, &walk_kind, connection, number);
    return true;
}
