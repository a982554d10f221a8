/* Commands of the RESP door whose replies are gathered: on many keys, and SCAN. */
#include <assert.h>
#include <errno.h>
#include <stdio.h>

#include "batch.h"
#include "cross.h"
#include "door.h"
#include "gather.h"
#include "glob.h"
#include "plane_private.h"
#include "resp_door.h"
#include "run.h"
#include "scan_task.h"
#include "shard_thread.h"
#include "status_words.h"

/* What a gather keeps of the request. */
struct asked {
    uint8_t silent, join, resp3;
    uint32_t database;
};

/* ---- Many keys ---- */

/* Those before it come first; and it is begun whole or not at all. */
static bool must_wait(struct shard_thread *thread, struct connection *connection, uint64_t number)
{
    if (connection->batched > 0 || gather_must_look(thread, connection)) {
        batch_run(thread);
        resp_measure_anew(thread->slow);
    }
    return connection->stalled || gather_must_wait(thread, connection) ||
           connection_is_full(thread, connection, number);
}

static int put_asked(struct buffer *asked, const struct resp_session *session,
                     enum command_join join, struct bytes array)
{
    const struct asked head = {session->silent_now, (uint8_t)join, session->resp3,
                               session->database};

    asked->size = 0;
    int rc = buffer_append(asked, bytes_of(&head, sizeof head));
    return rc != 0 ? rc : buffer_append(asked, array);
}

static struct gather *open_gather(struct shard_thread *thread, struct connection *connection,
                                  uint64_t number, uint8_t frame_type, uint32_t parts,
                                  enum command_join join, struct bytes array)
{
    struct buffer *asked = &thread->scratch;

    if (put_asked(asked, connection->resp, join, array) != 0) {
        return NULL;
    }
    return gather_open(thread, connection, frame_type, number, parts, buffer_bytes(asked));
}

static uint64_t take_part(struct shard_thread *thread, const struct connection *connection,
                          const struct command *command, struct gather *gather, uint32_t part,
                          enum call_form form)
{
    struct call *call;
    uint64_t ticket = resp_take_call(thread, connection, command, form, &call);

    if (ticket != 0) {
        call->gather = gather;
        call->part = part;
        return ticket;
    }
    const struct call refused = {.form = (uint8_t)form};
    uint8_t bytes[PART_INSTEAD_BYTES];
    size_t size = resp_part_instead(&refused, FRAME_GET_MANY, STATUS_BUSY, NULL, bytes);
    gather_part(thread, gather, part, bytes_of(bytes, size));
    return 0;
}

int resp_make_part(struct shard_thread *thread, const struct command *command,
                   const struct bytes arguments[], uint32_t count, struct bytes *array)
{
    const struct resp_out out = {.buffer = &thread->scratch};

    thread->scratch.size = 0;
    int rc = resp_array(&out, count + 1);
    rc = rc != 0 ? rc : resp_text(&out, command->name);
    for (uint32_t i = 0; rc == 0 && i < count; i++) {
        rc = resp_bulk(&out, arguments[i]);
    }
    void *bytes = rc == 0 ? arena_take(&thread->arena, thread->scratch.size) : NULL;
    if (bytes == NULL) {
        return -ENOMEM;
    }
    memcpy(bytes, thread->scratch.data, thread->scratch.size);
    *array = bytes_of(bytes, thread->scratch.size);
    return 0;
}

/* The next part; `taken` of its arguments. Returns NULL or what is wrong. */
static const char *next_part(struct shard_thread *thread, const struct connection *connection,
                             const struct command *command, struct resp_arguments *arguments,
                             struct bytes *key, struct bytes *array)
{
    struct bytes taken[2];
    uint32_t step = (uint32_t)command->key_step;

    assert(step <= 2);
    for (uint32_t i = 0; i < step; i++) {
        (void)resp_next(arguments, &taken[i]);
    }
    if (resp_make_part(thread, command, taken, step, array) != 0) {
        return "OOM no memory for the request";
    }
    return resp_keep_key(thread, connection, taken[0], key);
}

bool resp_waits(struct shard_thread *thread, struct connection *connection, uint64_t number,
                uint32_t parts, struct bytes whole)
{
    if (must_wait(thread, connection, number)) {
        resp_put_off(thread, connection, number, whole);
        return true;
    }
    if (!cross_has_room(thread, parts, whole.size)) {
        resp_put_off(thread, connection, number, whole);
        thread->again = true;
        return true;
    }
    return false;
}

void resp_gather_one(struct shard_thread *thread, struct connection *connection, uint64_t number,
                     const struct command *command, struct request *request, enum command_join join,
                     struct bytes kept)
{
    struct gather *gather =
        open_gather(thread, connection, number, FRAME_WRITE_MANY, 1, join, kept);

    if (gather == NULL) {
        resp_reply_error(thread, connection, number, "OOM no memory for the request");
        return;
    }
    connection->resp->tasks++; /* It may change how the next one is read. */
    request->ticket = take_part(thread, connection, command, gather, 0, CALL_PART);
    if (request->ticket != 0) {
        batch_route(thread, request, connection, bytes_of(NULL, 0));
    }
}

bool resp_many(struct shard_thread *thread, struct connection *connection, uint64_t number,
               const struct command *command, struct bytes array, struct bytes whole)
{
    struct resp_arguments arguments = resp_arguments(array);
    bool write = (command->flags & COMMAND_WRITE) != 0;
    struct bytes name;

    if (resp_waits(thread, connection, number, arguments.count, whole)) {
        return false;
    }
    (void)resp_next(&arguments, &name);
    uint32_t parts = arguments.count / (uint32_t)command->key_step;
    if (arguments.count % (uint32_t)command->key_step != 0) {
        resp_reply_error(thread, connection, number,
                         "ERR wrong number of arguments for 'mset' command");
        return false;
    }
    if (parts > KEYS_PER_REQUEST_MAX) {
        resp_reply_error(thread, connection, number, "ERR more than 1024 keys in one command");
        return false;
    }
    struct gather *gather =
        open_gather(thread, connection, number, write ? FRAME_WRITE_MANY : FRAME_GET_MANY, parts,
                    command->join, command->join == JOIN_WATCH ? array : bytes_of(NULL, 0));
    if (gather == NULL) {
        resp_reply_error(thread, connection, number, "OOM no memory for the request");
        return false;
    }
    for (uint32_t part = 0; part < parts; part++) {
        struct bytes key, body;
        const char *error = next_part(thread, connection, command, &arguments, &key, &body);
        if (error != NULL) {
            struct buffer *line = &thread->scratch;
            const struct resp_out out = {.buffer = line};
            line->size = 0;
            (void)resp_error(&out, error);
            gather_part(thread, gather, part, buffer_bytes(line));
            continue;
        }
        struct request request = resp_request_of(connection, command, key, body);
        request.ticket = take_part(thread, connection, command, gather, part, CALL_PART);
        if (request.ticket != 0) {
            batch_route(thread, &request, connection, bytes_of(NULL, 0));
        }
    }
    return true;
}

/* ---- SCAN ---- */

size_t resp_put_database(uint32_t database, char prefix[RESP_PREFIX_BYTES])
{
    return database == 0
               ? 0
               : (size_t)snprintf(prefix, RESP_PREFIX_BYTES, "%c%u:", RESP_KEY_RESERVED, database);
}

/* What follows the cursor, as HSCAN has it after its key. */
static const char *read_scan(struct bytes array, struct scan_options *options)
{
    struct run run = {.rest = resp_arguments(array)};

    run.name = run_next(&run);
    return scan_options_read(&run, false, options);
}

/* Over all nodes. */
static void scan_cluster(struct shard_thread *thread, struct connection *connection,
                         uint64_t number, const struct request *request, struct bytes array)
{
    struct buffer *asked = &thread->scratch;

    if (put_asked(asked, connection->resp, JOIN_NONE, array) != 0 ||
        scan_task_begin(thread, connection, number, request, buffer_bytes(asked)) != 0) {
        resp_reply_error(thread, connection, number, "OOM no memory for the request");
    }
}

void resp_scan(struct shard_thread *thread, struct connection *connection, uint64_t number,
               const struct command *command, struct bytes array, struct bytes whole)
{
    uint32_t shards = thread->plane->options.shard_count;
    struct scan_options options;
    char prefix[RESP_PREFIX_BYTES];

    if (must_wait(thread, connection, number)) {
        resp_put_off(thread, connection, number, whole);
        return;
    }
    const char *error = read_scan(array, &options);
    struct bytes fixed = glob_prefix(options.pattern);
    size_t database = resp_put_database(connection->resp->database, prefix);
    error = error != NULL ? error : resp_denied_key(thread, connection, ROLE_READ, fixed);
    uint8_t *key = arena_take(&thread->arena, database + fixed.size + 1);
    bool clustered = thread->clustered;
    struct gather *gather =
        error != NULL || key == NULL || clustered
            ? NULL
            : open_gather(thread, connection, number, FRAME_SCAN, shards, JOIN_NONE, array);
    if (gather == NULL && (error != NULL || key == NULL || !clustered)) {
        resp_reply_error(thread, connection, number,
                         error != NULL ? error : "OOM no memory for the request");
        return;
    }
    memcpy(key, prefix, database);
    if (fixed.size > 0) {
        memcpy(key + database, fixed.data, fixed.size);
    }
    struct request request = {
        .op = REQUEST_SCAN,
        .type = (uint8_t)options.type,
        .received_us = connection->arrived_us,
        .key = bytes_of(key, database + fixed.size),
        .cursor = options.cursor,
        .count = (options.count + shards - 1) / shards,
    };
    if (clustered) {
        request.count = options.count;
        scan_cluster(thread, connection, number, &request, array);
        return;
    }
    for (uint32_t shard = 0; shard < shards; shard++) {
        request.ticket = take_part(thread, connection, command, gather, shard, CALL_SCAN_PART);
        if (request.ticket == 0) {
            continue;
        }
        if (shard == thread->index) {
            shard_prepare(thread->shard, &request);
            batch_add(thread, &request, connection, bytes_of(NULL, 0));
        } else if (!cross_request(thread, shard, &request)) {
            door_refuse(thread, request.ticket, STATUS_BUSY, NULL);
        }
    }
}

size_t resp_part_instead(const struct call *call, uint8_t frame_type, enum status status,
                         const char *text, uint8_t *to)
{
    char words[STATUS_WORDS_BYTES];

    if (frame_type == FRAME_SCAN || call->form == CALL_SCAN_PART) {
        const struct reply reply = {.status = status};
        return gather_scan_put(&reply, to);
    }
    status_words(status, text, words);
    return (size_t)snprintf((char *)to, PART_INSTEAD_BYTES, "-%s\r\n", words);
}

/* ---- Gathered replies ---- */

/* The first error among the parts, each of which is one line at its begin. */
static struct bytes find_error(struct bytes parts)
{
    struct bytes line = bytes_of(NULL, 0);
    size_t at = 0;

    while (at < parts.size) {
        const uint8_t *end = memchr(parts.data + at, '\n', parts.size - at);
        size_t size = end == NULL ? parts.size - at : (size_t)(end - (parts.data + at)) + 1;
        if (parts.data[at] == '-') {
            return bytes_of(parts.data + at, size);
        }
        at += size;
    }
    return line;
}

static int64_t sum(struct bytes parts)
{
    int64_t total = 0;
    size_t at = 0;

    while (at < parts.size) {
        const uint8_t *end = memchr(parts.data + at, '\r', parts.size - at);
        int64_t value = 0;
        assert(end != NULL && parts.data[at] == ':');
        (void)resp_integer(bytes_of(parts.data + at + 1, (size_t)(end - (parts.data + at)) - 1),
                           &value);
        total += value;
        at = (size_t)(end - parts.data) + 2;
    }
    return total;
}

static int put_joined(const struct resp_out *out, const struct gathered *gathered,
                      enum command_join join)
{
    struct bytes error = join == JOIN_ARRAY ? bytes_of(NULL, 0) : find_error(gathered->value);

    if (error.size > 0) {
        return buffer_append(out->buffer, error);
    }
    if (join == JOIN_SUM) {
        return resp_number(out, sum(gathered->value));
    }
    if (join == JOIN_OK) {
        return resp_simple(out, "OK");
    }
    int rc = resp_array(out, gathered->part_count);
    return rc != 0 ? rc : buffer_append(out->buffer, gathered->value);
}

static bool is_wanted(const struct scan_options *options, size_t database, struct bytes *key)
{
    if (database == 0 && key->size > 0 && key->data[0] == RESP_KEY_RESERVED) {
        return false;
    }
    *key = bytes_of(key->data + database, key->size - database);
    return !options->no_type && glob_matches(options->pattern, *key);
}

static int put_scanned(const struct resp_out *out, const struct gathered *gathered,
                       const struct asked *asked, struct bytes array)
{
    struct scan_options options;
    char cursor[24], prefix[RESP_PREFIX_BYTES];
    uint64_t count = 0;
    int rc;

    (void)read_scan(array, &options); /* It could be read before. */
    size_t database = resp_put_database(asked->database, prefix);
    for (struct reader keys = reader_of(gathered->value); reader_left(&keys) > 0;) {
        struct bytes key = read_string(&keys);
        count += is_wanted(&options, database, &key);
    }
    snprintf(cursor, sizeof cursor, "%llu", (unsigned long long)gathered->cursor);
    rc = resp_array(out, 2);
    rc = rc != 0 ? rc : resp_text(out, cursor);
    rc = rc != 0 ? rc : resp_array(out, count);
    for (struct reader keys = reader_of(gathered->value); rc == 0 && reader_left(&keys) > 0;) {
        struct bytes key = read_string(&keys);
        rc = is_wanted(&options, database, &key) ? resp_bulk(out, key) : 0;
    }
    return rc;
}

void resp_gathered(struct shard_thread *thread, struct connection *connection,
                   const struct gathered *gathered)
{
    struct buffer *reply = &thread->frame;
    char words[STATUS_WORDS_BYTES];
    struct asked asked;
    int rc;

    memcpy(&asked, gathered->asked.data, sizeof asked);
    struct bytes array =
        bytes_of(gathered->asked.data + sizeof asked, gathered->asked.size - sizeof asked);
    const struct resp_out out = {.buffer = reply, .resp3 = asked.resp3 != 0};
    reply->size = 0;
    if (gathered->status != STATUS_OK) {
        if (gathered->frame_type == FRAME_SCAN && gathered->text == NULL) {
            status_words_of_all(gathered->status, words);
        } else {
            status_words(gathered->status, gathered->text, words);
        }
        rc = resp_error(&out, words);
    } else if (gathered->frame_type == FRAME_SCAN) {
        rc = put_scanned(&out, gathered, &asked, array);
    } else if (asked.join == JOIN_EXEC) {
        rc = resp_multi_later(thread, connection, array, gathered->value, &out);
    } else if (asked.join == JOIN_WATCH) {
        rc = resp_multi_watched(thread, connection, array, gathered->value);
        rc = rc == 0         ? resp_simple(&out, "OK")
             : rc == -EXDEV  ? resp_error(&out, resp_cross_slot)
             : rc == -EAGAIN ? resp_error(&out, "BUSY the keys cannot be watched now; try again")
                             : rc;
    } else {
        rc = put_joined(&out, gathered, asked.join);
    }
    if (asked.join == JOIN_WATCH) {
        connection->resp->multi.watching--;
    } else if (asked.join == JOIN_EXEC) {
        connection->resp->tasks--;
    }
    if (rc != 0) {
        connection_close(thread, connection);
        return;
    }
    if (asked.silent != 0) {
        reply->size = 0;
    }
    connection_answer(thread, connection, gathered->request_id, buffer_bytes(reply));
}
