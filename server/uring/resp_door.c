#include "resp_door.h"

#include <assert.h>
#include <errno.h>
#include <stdio.h>

#include "batch.h"
#include "cross.h"
#include "door.h"
#include "gather.h"
#include "glob.h"
#include "heap.h"
#include "plane_private.h"
#include "run.h"
#include "shard_thread.h"
#include "status_words.h"

enum {
    CALL_SILENT = 1, /* In call.flags. */
    SCRIPT_ARGUMENTS_MAX = 64,
    RESP_HEADS_BYTES_MAX =
        64 * 1024, /* Of a request, beside limits.frame: its other arguments and sizes. */
};

/* What a gather keeps of the request. */
struct asked {
    uint8_t silent, join, resp3;
    uint32_t database;
};

/* ---- A connection ---- */

int resp_door_open(struct shard_thread *thread, struct connection *connection)
{
    struct resp_session *session = heap_take(thread->memory, sizeof *session);

    if (session == NULL) {
        return -ENOMEM;
    }
    *session = (struct resp_session){
        .id = 1 + atomic_fetch_add(&thread->plane->resp_clients, 1),
    };
    reply_order_init(&session->order, thread->memory);
    resp_multi_init(&session->multi, thread->memory);
    connection->protocol = &resp_protocol;
    connection->resp = session;
    connection->order = &session->order;
    return 0;
}

static void forget(struct shard_thread *thread, struct connection *connection)
{
    struct resp_session *session = connection->resp;

    reply_order_fini(&session->order);
    resp_multi_fini(&session->multi);
    heap_give(thread->memory, session, sizeof *session);
    connection->resp = NULL;
    connection->order = NULL;
}

/* ---- From bytes to requests ---- */

/* Replies of the door itself are put together here. */
static struct resp_out begin_reply(struct shard_thread *thread, const struct connection *connection)
{
    thread->scratch.size = 0;
    return (struct resp_out){.buffer = &thread->scratch, .resp3 = connection->resp->resp3};
}

static void end_reply(struct shard_thread *thread, struct connection *connection, uint64_t number,
                      int rc)
{
    struct bytes reply = buffer_bytes(&thread->scratch);

    if (rc != 0) {
        connection_close(thread, connection); /* No memory for a few words. */
        return;
    }
    if (connection->resp->silent_now) {
        reply.size = 0;
    }
    connection_answer(thread, connection, number, reply);
}

void resp_reply_error(struct shard_thread *thread, struct connection *connection, uint64_t number,
                      const char *text)
{
    struct resp_out out = begin_reply(thread, connection);

    end_reply(thread, connection, number, resp_error(&out, text));
}

void resp_reply_ok(struct shard_thread *thread, struct connection *connection, uint64_t number,
                   const char *text)
{
    struct resp_out out = begin_reply(thread, connection);

    end_reply(thread, connection, number, resp_simple(&out, text));
}

/* The stream cannot be followed from here: what was asked before is answered, then this is said. */
static void end_stream(struct shard_thread *thread, struct connection *connection, const char *text)
{
    connection->resp->silent_now = false;
    resp_reply_error(thread, connection, connection->order->next++, text);
}

static int64_t measure(struct shard_thread *thread, struct connection *connection,
                       struct measuring *measuring, struct bytes input)
{
    const struct plane_limits *limits = &thread->plane->options.limits;
    char error[RESP_ERROR_BYTES], text[RESP_ERROR_BYTES + 8];
    int64_t size =
        resp_measure(&measuring->cursor, input, thread->plane->options.limits.frame_bytes,
                     &measuring->wanted, error);

    if (size == 0 && measuring->wanted > limits->frame_bytes + RESP_HEADS_BYTES_MAX) {
        snprintf(error, sizeof error, "Protocol error: request larger than limits.frame");
        size = -EMSGSIZE;
    }
    if (size < 0) {
        thread->stats.frames_bad++;
        snprintf(text, sizeof text, "ERR %s", error);
        end_stream(thread, connection, text);
    }
    return size;
}

static void skipped(struct shard_thread *thread, struct connection *connection, struct bytes start)
{
    (void)start;
    resp_reply_error(thread, connection, reply_order_begin(connection->order),
                     "BUSY too many large requests are being received; try again");
}

static void complain(struct shard_thread *thread, struct connection *connection, enum status status)
{
    char words[STATUS_WORDS_BYTES];

    status_words(status, NULL, words);
    end_stream(thread, connection, words);
}

/* ---- Requests ---- */

void resp_put_off(struct shard_thread *thread, struct connection *connection, uint64_t number,
                  struct bytes whole)
{
    if (reply_order_put_off(connection->order, number) != 0) {
        connection_close(thread, connection);
        return;
    }
    connection_put_off(thread, connection, whole);
}

const char *resp_keep_key(struct shard_thread *thread, const struct connection *connection,
                          struct bytes key, struct bytes *kept)
{
    uint32_t database = connection->resp->database;

    if (database == 0) {
        *kept = key;
        return key.size > 0 && key.data[0] == RESP_KEY_RESERVED
                   ? "ERR keys that begin with the byte 1 are reserved"
                   : NULL;
    }
    char *to = arena_take(&thread->arena, key.size + 16);
    if (to == NULL) {
        return "OOM no memory for the request";
    }
    int size = snprintf(to, 16, "%c%u:", RESP_KEY_RESERVED, database);
    if (key.size > 0) {
        memcpy(to + size, key.data, key.size);
    }
    *kept = bytes_of(to, (size_t)size + key.size);
    return NULL;
}

static struct request request_of(const struct connection *connection, const struct command *command,
                                 struct bytes key, struct bytes body)
{
    bool write = (command->flags & COMMAND_WRITE) != 0;

    return (struct request){
        .op = write ? REQUEST_WRITE : REQUEST_GET,
        .mode = (command->flags & COMMAND_MAKES) != 0 ? WRITE_UPSERT : WRITE_UPDATE,
        .flags = connection->resp->resp3 ? RUN_RESP3 : 0,
        .received_us = connection->arrived_us,
        .key = key,
        .body = body,
        .procedure = &command->procedure,
    };
}

/* Returns the ticket, or 0 where there are too many. */
static uint64_t take_call(struct shard_thread *thread, const struct connection *connection,
                          const struct command *command, enum call_form form, struct call **call)
{
    bool write = (command->flags & COMMAND_WRITE) != 0;
    uint64_t ticket = calls_take(&thread->calls, call);

    if (ticket != 0) {
        (*call)->form = (uint8_t)form;
        (*call)->frame_type = write ? FRAME_WRITE : FRAME_GET;
        (*call)->flags = connection->resp->silent_now ? CALL_SILENT : 0;
        (*call)->protocol = &resp_protocol;
        (*call)->connection = connection->index;
        (*call)->connection_generation = connection->generation;
    }
    return ticket;
}

void resp_route(struct shard_thread *thread, struct connection *connection, uint64_t number,
                const struct command *command, struct request *request, struct bytes whole)
{
    struct call *call;

    request->ticket = take_call(thread, connection, command, CALL_FRAME, &call);
    if (request->ticket == 0) {
        resp_reply_error(thread, connection, number,
                         "BUSY too many requests are waiting for their answer");
        return;
    }
    call->request_id = number;
    connection->in_flight++;
    batch_route(thread, request, connection, whole);
}

static void one(struct shard_thread *thread, struct connection *connection, uint64_t number,
                const struct command *command, struct bytes array, struct bytes whole)
{
    struct resp_arguments arguments = resp_arguments(array);
    struct bytes key;

    for (int i = 0; i <= command->first_key; i++) {
        (void)resp_next(&arguments, &key);
    }
    const char *error = resp_keep_key(thread, connection, key, &key);
    if (error != NULL) {
        resp_reply_error(thread, connection, number, error);
        return;
    }
    struct request request = request_of(connection, command, key, array);
    resp_route(thread, connection, number, command, &request, whole);
}

/* ---- Many keys ---- */

/* Those before it come first; and it is begun whole or not at all. */
static bool must_wait(struct shard_thread *thread, struct connection *connection, uint64_t number)
{
    if (connection->batched > 0) {
        batch_run(thread);
    }
    return connection->stalled || connection->gathers >= GATHERS_MAX ||
           connection_is_full(thread, connection, number);
}

static struct gather *open_gather(struct shard_thread *thread, struct connection *connection,
                                  uint64_t number, uint8_t frame_type, uint32_t parts,
                                  enum command_join join, struct bytes array)
{
    const struct resp_session *session = connection->resp;
    const struct asked head = {session->silent_now, (uint8_t)join, session->resp3,
                               session->database};
    struct buffer *asked = &thread->scratch;

    asked->size = 0;
    if (buffer_append(asked, bytes_of(&head, sizeof head)) != 0 ||
        buffer_append(asked, array) != 0) {
        return NULL;
    }
    return gather_open(thread, connection, frame_type, number, parts, buffer_bytes(asked));
}

static uint64_t take_part(struct shard_thread *thread, const struct connection *connection,
                          const struct command *command, struct gather *gather, uint32_t part,
                          enum call_form form)
{
    struct call *call;
    uint64_t ticket = take_call(thread, connection, command, form, &call);

    if (ticket != 0) {
        call->gather = gather;
        call->part = part;
        return ticket;
    }
    const struct call refused = {.form = (uint8_t)form};
    uint8_t bytes[PART_INSTEAD_BYTES];
    size_t size = resp_protocol.part_instead(&refused, FRAME_GET_MANY, STATUS_BUSY, NULL, bytes);
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
        struct request request = request_of(connection, command, key, body);
        request.ticket = take_part(thread, connection, command, gather, part, CALL_PART);
        if (request.ticket != 0) {
            batch_route(thread, &request, connection, bytes_of(NULL, 0));
        }
    }
    return true;
}

/* ---- Scripts ---- */

static bool has_arity(const struct command *command, uint32_t count)
{
    return command->arity >= 0 ? count == (uint32_t)command->arity
                               : count >= (uint32_t)-command->arity;
}

static void reply_script(struct shard_thread *thread, struct connection *connection,
                         uint64_t number, const char *format, const char *sha1)
{
    char text[256];

    snprintf(text, sizeof text, format, sha1);
    resp_reply_error(thread, connection, number, text);
}

/* Of EVAL or EVALSHA; NULL where it is answered. */
static const struct command *find_script(struct shard_thread *thread, struct connection *connection,
                                         uint64_t number, const struct command *command,
                                         struct bytes script)
{
    const struct command *found = command->local == LOCAL_EVAL
                                      ? script_of_text(script)
                                      : script_known(&thread->plane->scripts, script);
    char sha1[SCRIPT_SHA1_BYTES + 1];

    if (found != NULL) {
        if (command->local == LOCAL_EVAL) {
            script_sha1(script, sha1);
            script_learn(&thread->plane->scripts, sha1, found);
        }
        return found;
    }
    if (command->local == LOCAL_EVALSHA) {
        resp_reply_error(thread, connection, number,
                         "NOSCRIPT No matching script. Please use EVAL.");
        return NULL;
    }
    script_sha1(script, sha1);
    reply_script(thread, connection, number, SCRIPT_UNKNOWN, sha1);
    return NULL;
}

/* EVAL script 1 key argument... becomes a name, the key and the arguments. */
static void eval(struct shard_thread *thread, struct connection *connection, uint64_t number,
                 const struct command *command, struct bytes array, struct bytes whole)
{
    struct resp_arguments arguments = resp_arguments(array);
    struct bytes script, taken[SCRIPT_ARGUMENTS_MAX], body;
    uint32_t count = 0;
    int64_t keys;

    (void)resp_next(&arguments, &script);
    (void)resp_next(&arguments, &script);
    (void)resp_next(&arguments, &body);
    if (!resp_integer(body, &keys)) {
        resp_reply_error(thread, connection, number, run_not_integer);
        return;
    }
    if (keys < 0 || keys > (int64_t)arguments.count) {
        resp_reply_error(thread, connection, number,
                         keys < 0 ? "ERR Number of keys can't be negative"
                                  : "ERR Number of keys can't be greater than number of args");
        return;
    }
    const struct command *found = find_script(thread, connection, number, command, script);
    if (found == NULL) {
        return;
    }
    if (keys != 1 || !has_arity(found, arguments.count + 1) ||
        arguments.count > SCRIPT_ARGUMENTS_MAX) {
        resp_reply_error(thread, connection, number,
                         "ERR wrong number of keys or arguments for this script");
        return;
    }
    while (resp_next(&arguments, &taken[count])) {
        count++;
    }
    if (resp_make_part(thread, found, taken, count, &body) != 0) {
        resp_reply_error(thread, connection, number, "OOM no memory for the request");
        return;
    }
    one(thread, connection, number, found, body, whole);
}

/* ---- SCAN ---- */

static size_t put_database(uint32_t database, char prefix[16])
{
    return database == 0 ? 0 : (size_t)snprintf(prefix, 16, "%c%u:", RESP_KEY_RESERVED, database);
}

/* What follows the cursor, as HSCAN has it after its key. */
static const char *read_scan(struct bytes array, struct scan_options *options)
{
    struct run run = {.rest = resp_arguments(array)};

    run.name = run_next(&run);
    return scan_options_read(&run, false, options);
}

static void scan(struct shard_thread *thread, struct connection *connection, uint64_t number,
                 const struct command *command, struct bytes array, struct bytes whole)
{
    uint32_t shards = thread->plane->options.shard_count;
    struct scan_options options;
    char prefix[16];

    if (must_wait(thread, connection, number)) {
        resp_put_off(thread, connection, number, whole);
        return;
    }
    const char *error = read_scan(array, &options);
    struct bytes fixed = glob_prefix(options.pattern);
    size_t database = put_database(connection->resp->database, prefix);
    uint8_t *key = arena_take(&thread->arena, database + fixed.size + 1);
    struct gather *gather =
        error != NULL || key == NULL
            ? NULL
            : open_gather(thread, connection, number, FRAME_SCAN, shards, JOIN_NONE, array);
    if (gather == NULL) {
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

/* ---- Any ---- */

/* A line becomes an array. Returns 0, -EINVAL, -ENOMEM. */
static int to_array(struct shard_thread *thread, struct bytes whole, struct bytes *array)
{
    struct buffer *buffer = &thread->scratch;

    *array = whole;
    if (!resp_is_line(whole)) {
        return 0;
    }
    buffer->size = 0;
    int rc = resp_line_to_array(whole, buffer);
    void *bytes = rc == 0 ? arena_take(&thread->arena, buffer->size) : NULL;
    if (bytes == NULL) {
        return rc != 0 ? rc : -ENOMEM;
    }
    memcpy(bytes, buffer->data, buffer->size);
    *array = bytes_of(bytes, buffer->size);
    return 0;
}

static void reply_unknown(struct shard_thread *thread, struct connection *connection,
                          uint64_t number, struct bytes name, struct resp_arguments arguments)
{
    char text[512];
    struct bytes argument;

    int size = snprintf(text, sizeof text, "ERR unknown command '%.*s', with args beginning with: ",
                        (int)(name.size < 128 ? name.size : 128), (const char *)name.data);
    while (size < 256 && resp_next(&arguments, &argument)) {
        size +=
            snprintf(text + size, sizeof text - (size_t)size, "'%.*s' ",
                     (int)(argument.size < 128 ? argument.size : 128), (const char *)argument.data);
    }
    resp_reply_error(thread, connection, number, text);
}

static void reply_arity(struct shard_thread *thread, struct connection *connection, uint64_t number,
                        const struct command *command)
{
    char text[96];

    snprintf(text, sizeof text, "ERR wrong number of arguments for '%s' command", command->name);
    resp_reply_error(thread, connection, number, text);
}

static void own(struct shard_thread *thread, struct connection *connection, uint64_t number,
                const struct command *command, struct bytes array)
{
    struct resp_arguments arguments = resp_arguments(array);
    struct resp_out out = begin_reply(thread, connection);
    struct bytes name;
    bool ends = false;

    (void)resp_next(&arguments, &name);
    int rc = resp_local(thread, connection, command, arguments, &out, &ends);
    end_reply(thread, connection, number, rc);
    if (ends) {
        connection_drain(thread, connection);
    }
}

static bool is_multi(const struct command *command)
{
    switch ((enum command_local)command->local) {
    case LOCAL_DISCARD:
    case LOCAL_EXEC:
    case LOCAL_MULTI:
    case LOCAL_UNWATCH:
    case LOCAL_WATCH:
        return true;
    default:
        return false;
    }
}

static void dispatch(struct shard_thread *thread, struct connection *connection, uint64_t number,
                     struct bytes array, struct bytes whole)
{
    struct resp_arguments arguments = resp_arguments(array);
    uint32_t count = arguments.count;
    struct bytes name;

    if (!resp_next(&arguments, &name)) {
        connection_answer(thread, connection, number, bytes_of(NULL, 0)); /* Nothing was asked. */
        return;
    }
    struct resp_multi *multi = &connection->resp->multi;
    const struct command *command = command_find(name);
    bool wrong = command == NULL || !has_arity(command, count);
    multi->failed = multi->failed || (multi->open && wrong);
    if (command == NULL) {
        reply_unknown(thread, connection, number, name, arguments);
    } else if (wrong) {
        reply_arity(thread, connection, number, command);
    } else if (thread->stopping) {
        resp_reply_error(thread, connection, number, "ERR the server is stopping");
    } else if (is_multi(command)) {
        resp_multi_command(thread, connection, number, command, array, whole);
    } else if (multi->open && command->local != LOCAL_QUIT && command->local != LOCAL_RESET) {
        resp_multi_queue(thread, connection, number, command, array);
    } else if (command->local == LOCAL_SCAN) {
        scan(thread, connection, number, command, array, whole);
    } else if (command->local == LOCAL_EVAL || command->local == LOCAL_EVALSHA) {
        eval(thread, connection, number, command, array, whole);
    } else if (command->procedure.run == NULL) {
        own(thread, connection, number, command, array);
    } else if (command->join == JOIN_NONE ||
               (command->join != JOIN_ARRAY && arguments.count == (uint32_t)command->key_step)) {
        one(thread, connection, number, command, array, whole);
    } else {
        (void)resp_many(thread, connection, number, command, array, whole);
    }
}

/* Too much is under way for its client already. */
static bool must_pause(const struct shard_thread *thread, const struct connection *connection,
                       uint64_t number)
{
    return connection->in_flight >= thread->plane->options.limits.in_flight ||
           connection_is_full(thread, connection, number);
}

static void serve(struct shard_thread *thread, struct connection *connection, struct bytes whole)
{
    struct resp_session *session = connection->resp;
    uint64_t number = reply_order_begin(connection->order);
    struct bytes array;

    if (must_pause(thread, connection, number) && connection->batched > 0) {
        batch_run(thread);
    }
    if (connection->stalled || must_pause(thread, connection, number)) {
        resp_put_off(thread, connection, number, whole);
        return;
    }
    session->silent_now = session->silent || session->silent_next;
    session->silent_next = false;
    int rc = to_array(thread, whole, &array);
    if (rc == -EINVAL) {
        resp_reply_error(thread, connection, number,
                         "ERR Protocol error: unbalanced quotes in request");
        connection_drain(thread, connection);
    } else if (rc != 0) {
        resp_reply_error(thread, connection, number, "OOM no memory for the request");
    } else {
        dispatch(thread, connection, number, array, whole);
    }
}

/* ---- From answers to bytes ---- */

static size_t answer_room(struct shard_thread *thread, const struct call *call,
                          const struct reply *reply)
{
    char words[STATUS_WORDS_BYTES];

    if (call->form == CALL_SCAN_PART) {
        return gather_scan_room(reply);
    }
    if (call->form == CALL_FRAME && (call->flags & CALL_SILENT) != 0) {
        return 0;
    }
    if (reply->status == STATUS_OK) {
        return reply->results.size;
    }
    const struct resp_out out = {.buffer = &thread->scratch};
    thread->scratch.size = 0;
    status_words(reply->status, reply->text, words);
    (void)resp_error(&out, words); /* Where there is no memory for it nothing is said. */
    return thread->scratch.size;
}

static size_t answer_put(struct shard_thread *thread, const struct call *call,
                         const struct reply *reply, uint8_t *to)
{
    if (call->form == CALL_SCAN_PART) {
        return gather_scan_put(reply, to);
    }
    if (call->form == CALL_FRAME && (call->flags & CALL_SILENT) != 0) {
        return 0;
    }
    struct bytes bytes =
        reply->status == STATUS_OK ? reply->results : buffer_bytes(&thread->scratch);
    if (bytes.size > 0) {
        memcpy(to, bytes.data, bytes.size);
    }
    return bytes.size;
}

static size_t part_instead(const struct call *call, uint8_t frame_type, enum status status,
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
    char cursor[24], prefix[16];
    uint64_t count = 0;
    int rc;

    (void)read_scan(array, &options); /* It could be read before. */
    size_t database = put_database(asked->database, prefix);
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

static void gathered(struct shard_thread *thread, struct connection *connection,
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
        status_words(gathered->status, gathered->text, words);
        rc = resp_error(&out, words);
    } else if (gathered->frame_type == FRAME_SCAN) {
        rc = put_scanned(&out, gathered, &asked, array);
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

const struct protocol resp_protocol = {
    .name = "resp",
    .measure = measure,
    .serve = serve,
    .skipped = skipped,
    .complain = complain,
    .answer_room = answer_room,
    .answer_put = answer_put,
    .part_instead = part_instead,
    .gathered = gathered,
    .forget = forget,
};
