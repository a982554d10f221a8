/* Transactions of the RESP door: MULTI queues commands, EXEC sends them to their slot's shard as one request, WATCH
 * remembers versions for it. */
#include <assert.h>
#include <errno.h>
#include <stdio.h>

#include "exec.h"
#include "plane_private.h"
#include "resp_door.h"
#include "run.h"
#include "shard_thread.h"
#include "slot.h"

enum { MULTI_BYTES_MAX = 16 * 1024 * 1024 /* Of queued commands. */ };

const char resp_cross_slot[] = "CROSSSLOT Keys in request don't hash to the same slot";

void resp_multi_init(struct resp_multi *multi, struct memory *memory)
{
    *multi = (struct resp_multi){
        .keys = {.memory = memory},
        .watches = {.memory = memory},
        .commands = {.memory = memory},
        .later = {.memory = memory},
    };
}

void resp_multi_fini(struct shard_thread *thread, struct resp_multi *multi)
{
    thread->multi_bytes -= multi->queued_bytes;
    multi->queued_bytes = 0;
    buffer_fini(&multi->keys);
    buffer_fini(&multi->watches);
    buffer_fini(&multi->commands);
    buffer_fini(&multi->later);
}

void resp_multi_clear(struct shard_thread *thread, struct resp_multi *multi)
{
    struct memory *memory = multi->keys.memory;
    uint32_t watching = multi->watching;

    resp_multi_fini(thread, multi);
    resp_multi_init(multi, memory);
    multi->watching = watching;
}

/* ---- Its parts ---- */

static int put_number(struct buffer *buffer, uint64_t number)
{
    uint8_t bytes[VARINT_BYTES_MAX];
    const uint8_t *end = varint_put(bytes, number);

    return buffer_append(buffer, bytes_of(bytes, (size_t)(end - bytes)));
}

static int put_string(struct buffer *buffer, struct bytes string)
{
    int rc = put_number(buffer, string.size);

    return rc != 0 ? rc : buffer_append(buffer, string);
}

/* The number of a key, which is noted where it is new. Returns NULL, or what is wrong. */
static const char *number_of(struct resp_multi *multi, struct bytes key, uint32_t *number)
{
    struct reader keys = reader_of(buffer_bytes(&multi->keys));
    uint32_t slot = slot_of_key(key);

    for (*number = 0; *number < multi->key_count; (*number)++) {
        if (bytes_equal(read_string(&keys), key)) {
            return NULL;
        }
    }
    if (multi->slot_plus_one != 0 && multi->slot_plus_one != slot + 1) {
        return resp_cross_slot;
    }
    if (multi->key_count == TURN_KEYS_MAX) {
        return "ERR more than 128 keys in a transaction";
    }
    if (put_string(&multi->keys, key) != 0) {
        return "OOM no memory for the transaction";
    }
    multi->slot_plus_one = slot + 1;
    multi->key_count++;
    return NULL;
}

/* ---- One command on several keys ---- */

/* Its keys as a transaction's body has them, appended to `body`. Returns NULL, or what is wrong. */
static const char *put_keys(struct shard_thread *thread, const struct connection *connection,
                            const struct command *command, struct bytes array, struct buffer *body,
                            struct bytes *first)
{
    const uint32_t shards = thread->plane->options.shard_count;
    struct resp_arguments arguments = resp_arguments(array);
    struct bytes key;

    for (int i = 0; i < command->first_key; i++) {
        (void)resp_next(&arguments, &key);
    }
    const int count = command->last_key - command->first_key + 1;
    int rc = put_number(body, (uint64_t)count);
    for (int i = command->first_key; rc == 0 && i <= command->last_key; i++) {
        (void)resp_next(&arguments, &key);
        const char *error = resp_keep_key(thread, connection, key, &key);
        if (error != NULL) {
            return error;
        }
        if (i == command->first_key) {
            *first = key;
        }
        const uint32_t one = slot_of_key(key), other = slot_of_key(*first);
        if (thread->clustered ? one != other : one % shards != other % shards) {
            return resp_cross_slot;
        }
        rc = put_string(body, key);
    }
    return rc != 0 ? "OOM no memory for the request" : NULL;
}

/* The body of such a transaction, in the turn's arena: its keys, and the array. Returns NULL, or what is wrong. */
static const char *make_several(struct shard_thread *thread, const struct connection *connection,
                                const struct command *command, struct bytes array,
                                struct bytes *first, struct bytes *body)
{
    struct buffer *buffer = &thread->scratch;

    buffer->size = 0;
    const char *error = put_keys(thread, connection, command, array, buffer, first);
    if (error != NULL) {
        return error;
    }
    int rc = buffer_append(buffer, array);
    void *bytes = rc == 0 ? arena_take(&thread->arena, buffer->size) : NULL;
    if (bytes == NULL) {
        return "OOM no memory for the request";
    }
    memcpy(bytes, buffer->data, buffer->size);
    *body = bytes_of(bytes, buffer->size);
    return NULL;
}

void resp_several(struct shard_thread *thread, struct connection *connection, uint64_t number,
                  const struct command *command, const struct procedure *procedure,
                  struct bytes array, struct bytes whole)
{
    struct bytes first, body;

    const char *error = make_several(thread, connection, command, array, &first, &body);
    if (error != NULL) {
        resp_reply_error(thread, connection, number, error);
        return;
    }
    struct request request = resp_request_of(connection, command, first, body);
    request.procedure = procedure;
    resp_route(thread, connection, number, command, &request, whole);
}

/* ---- Queueing ---- */

static const char *queue_part(struct shard_thread *thread, struct connection *connection,
                              struct bytes key, struct bytes part)
{
    struct resp_multi *multi = &connection->resp->multi;
    uint32_t number;

    const char *error = resp_keep_key(thread, connection, key, &key);
    error = error != NULL ? error : number_of(multi, key, &number);
    if (error != NULL) {
        return error;
    }
    int rc = put_number(&multi->commands, number);
    rc = rc != 0 ? rc : put_string(&multi->commands, part);
    return rc != 0 ? "OOM no memory for the transaction" : NULL;
}

static const char *queue_keyless(struct resp_multi *multi, const struct command *command,
                                 struct bytes array)
{
    struct buffer *commands = &multi->commands;
    bool later = exec_is_later(command);

    int rc = buffer_append(commands, bytes_of(&command, sizeof command));
    rc = rc != 0 ? rc : put_number(commands, 0);
    rc = rc != 0 ? rc : put_string(commands, later ? bytes_of(NULL, 0) : array);
    if (later) {
        rc = rc != 0 ? rc : put_number(&multi->later, multi->command_count);
        rc = rc != 0 ? rc : put_string(&multi->later, array);
    }
    return rc != 0 ? "OOM no memory for the transaction" : NULL;
}

static const char *queue_parts(struct shard_thread *thread, struct connection *connection,
                               const struct command *command, struct bytes array)
{
    struct resp_arguments arguments = resp_arguments(array);
    struct buffer *commands = &connection->resp->multi.commands;
    const uint32_t step = (uint32_t)command->key_step;
    struct bytes taken[2], first, part = array;
    const char *error = NULL;
    uint32_t number;

    (void)resp_next(&arguments, &taken[0]);
    bool many = command->join != JOIN_NONE && command->join != JOIN_MOVE;
    if (many && arguments.count % step != 0) {
        return queue_keyless(&connection->resp->multi, command, array); /* EXEC tells. */
    }
    uint32_t parts = many ? arguments.count / step : 1;
    int rc = buffer_append(commands, bytes_of(&command, sizeof command));
    rc = rc != 0 ? rc : put_number(commands, parts);
    for (uint32_t i = 0; rc == 0 && error == NULL && i < parts; i++) {
        for (uint32_t j = 0; j < (many ? step : (uint32_t)command->first_key); j++) {
            (void)resp_next(&arguments, &taken[many ? j : 0]);
        }
        rc = many ? resp_make_part(thread, command, taken, step, &part) : 0;
        if (rc == 0 && command->procedure.many) { /* A script on several keys. */
            error = make_several(thread, connection, command, array, &first, &part);
        }
        error = rc == 0 && error == NULL ? queue_part(thread, connection, taken[0], part) : error;
    }
    for (int i = command->first_key; !many && error == NULL && i < command->last_key; i++) {
        (void)resp_next(&arguments, &taken[0]); /* Its command looks at it, too. */
        error = resp_keep_key(thread, connection, taken[0], &taken[0]);
        error = error != NULL ? error : number_of(&connection->resp->multi, taken[0], &number);
    }
    return rc != 0 ? "OOM no memory for the transaction" : error;
}

/* What follows is about keys of the database that EXEC will choose, if it can. */
static void queue_select(struct resp_multi *multi, struct bytes number)
{
    int64_t database;

    if (resp_integer(number, &database) && database >= 0 && database < RESP_DATABASES) {
        multi->database = (uint32_t)database;
    }
}

/* CLIENT REPLY would be about a part of EXEC's reply; the others go over keys. */
static bool can_be_queued(const struct command *command, struct bytes word)
{
    bool replies = command->local == LOCAL_CLIENT && run_is(word, "reply");
    bool walks = command->local == LOCAL_CLUSTER &&
                 (run_is(word, "countkeysinslot") || run_is(word, "getkeysinslot"));

    return command->procedure.run != NULL || (exec_is_keyless(command) && !replies && !walks);
}

static void note_queued(struct shard_thread *thread, struct resp_multi *multi)
{
    size_t bytes = multi->commands.capacity + multi->later.capacity;

    thread->multi_bytes += bytes - multi->queued_bytes;
    multi->queued_bytes = bytes;
}

static struct bytes second_word(struct bytes array)
{
    struct resp_arguments arguments = resp_arguments(array);
    struct bytes word = bytes_of(NULL, 0);

    (void)resp_next(&arguments, &word);
    (void)resp_next(&arguments, &word);
    return word;
}

void resp_multi_queue(struct shard_thread *thread, struct connection *connection, uint64_t number,
                      const struct command *command, struct bytes array)
{
    struct resp_multi *multi = &connection->resp->multi;
    const char *error = NULL;
    char text[96];

    if (command->local == LOCAL_EVAL || command->local == LOCAL_EVALSHA) {
        command = resp_find_script(thread, connection, number, command, array, &array);
        if (command == NULL) {
            multi->failed = true;
            return;
        }
    }
    struct bytes word = second_word(array);
    if (!can_be_queued(command, word)) {
        snprintf(text, sizeof text, "ERR '%s' is not offered between MULTI and EXEC",
                 command->name);
        error = text;
    } else if (multi->commands.size + multi->later.size + array.size > MULTI_BYTES_MAX) {
        error = "ERR the transaction is larger than 16 MiB";
    } else if (thread->multi_bytes + array.size > MULTI_QUEUED_BYTES_MAX) {
        error = "BUSY too many transactions are being queued; try again";
    } else if (command->procedure.run == NULL) {
        error = queue_keyless(multi, command, array);
    } else {
        error = queue_parts(thread, connection, command, array);
    }
    note_queued(thread, multi);
    if (error != NULL) {
        multi->failed = true;
        resp_reply_error(thread, connection, number, error);
        return;
    }
    if (command->local == LOCAL_SELECT) {
        queue_select(multi, word);
    }
    multi->command_count++;
    multi->writes = multi->writes || (command->flags & COMMAND_WRITE) != 0;
    resp_reply_ok(thread, connection, number, "QUEUED");
}

/* ---- EXEC ---- */

/* The whole argument, in the turn's arena. Returns 0 or -ENOMEM. */
static int make_body(struct shard_thread *thread, const struct resp_multi *multi,
                     struct bytes *body)
{
    struct buffer *buffer = &thread->scratch;

    buffer->size = 0;
    int rc = put_number(buffer, multi->key_count);
    rc = rc != 0 ? rc : buffer_append(buffer, buffer_bytes(&multi->keys));
    rc = rc != 0 ? rc : put_number(buffer, multi->watch_count);
    rc = rc != 0 ? rc : buffer_append(buffer, buffer_bytes(&multi->watches));
    rc = rc != 0 ? rc : put_number(buffer, multi->command_count);
    rc = rc != 0 ? rc : buffer_append(buffer, buffer_bytes(&multi->commands));
    void *bytes = rc == 0 ? arena_take(&thread->arena, buffer->size) : NULL;
    if (bytes == NULL) {
        return -ENOMEM;
    }
    memcpy(bytes, buffer->data, buffer->size);
    *body = bytes_of(bytes, buffer->size);
    return 0;
}

static void send_all(struct shard_thread *thread, struct connection *connection, uint64_t number)
{
    static const struct command write = {.name = "exec", .flags = COMMAND_WRITE};
    static const struct command read = {.name = "exec", .flags = COMMAND_READ};
    const struct resp_multi *multi = &connection->resp->multi;
    struct bytes body;

    if (make_body(thread, multi, &body) != 0) {
        resp_reply_error(thread, connection, number, "OOM no memory for the transaction");
        return;
    }
    struct reader keys = reader_of(body);
    (void)read_varint(&keys);
    struct request request = {
        .op = multi->writes ? REQUEST_WRITE : REQUEST_GET,
        .mode = WRITE_UPDATE,
        .flags = resp_flags(connection, multi->writes),
        .received_us = connection->arrived_us,
        .key = read_string(&keys),
        .body = body,
        .procedure = &exec_procedure,
    };
    const struct command *command = multi->writes ? &write : &read;
    if (multi->later.size > 0) {
        resp_gather_one(thread, connection, number, command, &request, JOIN_EXEC,
                        buffer_bytes(&multi->later));
    } else {
        resp_route(thread, connection, number, command, &request, bytes_of(NULL, 0));
    }
}

/* A transaction without any key needs no shard. */
static void execute_here(struct shard_thread *thread, struct connection *connection,
                         uint64_t number)
{
    const struct plane_options *options = &thread->plane->options;
    const struct resp_multi *multi = &connection->resp->multi;
    const struct resp_out out = {.buffer = &thread->frame, .resp3 = connection->resp->resp3};
    struct reader reader = reader_of(buffer_bytes(&multi->commands));
    const struct command *command;
    struct bytes name;

    thread->frame.size = 0;
    int rc = resp_array(&out, multi->command_count);
    while (rc == 0 && reader_left(&reader) > 0) {
        memcpy(&command, read_bytes(&reader, sizeof command).data, sizeof command);
        (void)read_varint(&reader);
        struct resp_arguments rest = resp_arguments(read_string(&reader));
        (void)resp_next(&rest, &name);
        rc = exec_keyless(command, rest, options->now_ms(options->clock), &out);
    }
    const struct resp_out reply = {.buffer = &thread->scratch, .resp3 = out.resp3};
    thread->scratch.size = 0;
    if (rc == 0) {
        rc = resp_multi_later(thread, connection, buffer_bytes(&multi->later),
                              buffer_bytes(&thread->frame), &reply);
    }
    resp_reply(thread, connection, number, rc);
}

static void exec(struct shard_thread *thread, struct connection *connection, uint64_t number)
{
    struct resp_multi *multi = &connection->resp->multi;

    if (!multi->open) {
        resp_reply_error(thread, connection, number, "ERR EXEC without MULTI");
        return;
    }
    if (multi->failed || multi->user != user_now(connection->user)) {
        resp_reply_error(thread, connection, number,
                         "EXECABORT Transaction discarded because of previous errors.");
    } else {
        if (monitor_is_watched(&thread->plane->monitor)) {
            resp_monitor_show_queued(thread, connection);
        }
        (multi->key_count == 0 ? execute_here : send_all)(thread, connection, number);
    }
    resp_multi_clear(thread, multi);
}

/* ---- WATCH ---- */

static const struct command watch_command = {
    .name = "watch",
    .flags = COMMAND_READ,
    .key_step = 1,
    .join = JOIN_WATCH,
    .procedure = {.name = "watch", .run = watch_run},
};

static void watch(struct shard_thread *thread, struct connection *connection, uint64_t number,
                  struct bytes array, struct bytes whole)
{
    struct resp_multi *multi = &connection->resp->multi;

    if (multi->open) {
        resp_reply_error(thread, connection, number, "ERR WATCH inside MULTI is not allowed");
        return;
    }
    multi->watching++;
    if (!resp_many(thread, connection, number, &watch_command, array, whole)) {
        multi->watching--;
    }
}

/* What was seen of it first is what counts. */
static bool is_watched(const struct resp_multi *multi, uint32_t number)
{
    struct reader watches = reader_of(buffer_bytes(&multi->watches));

    for (uint32_t i = 0; i < multi->watch_count; i++) {
        if (read_varint(&watches) == number) {
            return true;
        }
        (void)read_string(&watches);
    }
    return false;
}

int resp_multi_watched(struct shard_thread *thread, struct connection *connection,
                       struct bytes array, struct bytes tokens)
{
    struct resp_multi *multi = &connection->resp->multi;
    struct resp_arguments arguments = resp_arguments(array);
    struct reader reader = reader_of(tokens);
    struct bytes key;
    uint32_t number;

    (void)resp_next(&arguments, &key);
    while (resp_next(&arguments, &key)) {
        bool came = read_u8(&reader) == WATCH_TOKEN;
        struct bytes token = read_string(&reader);
        if (!came || reader.bad) {
            return -EAGAIN;
        }
        if (resp_keep_key(thread, connection, key, &key) != NULL ||
            number_of(multi, key, &number) != NULL) {
            return -EXDEV; /* EXEC could not look at it. */
        }
        if (is_watched(multi, number)) {
            continue;
        }
        int rc = put_number(&multi->watches, number);
        rc = rc != 0 ? rc : put_string(&multi->watches, token);
        if (rc != 0) {
            return rc;
        }
        multi->watch_count++;
    }
    return 0;
}

void resp_multi_command(struct shard_thread *thread, struct connection *connection, uint64_t number,
                        const struct command *command, struct bytes array, struct bytes whole)
{
    struct resp_multi *multi = &connection->resp->multi;

    if (command->local == LOCAL_WATCH) {
        watch(thread, connection, number, array, whole);
        return;
    }
    /* What was watched must be known, and what is executed cannot be put off any more. */
    if (resp_waits(thread, connection, number, 1 + (uint32_t)(multi->commands.size / 256), whole)) {
        return;
    }
    if (multi->later.size > 0 && command->local == LOCAL_EXEC &&
        resp_waits_for_all(thread, connection, number, whole)) {
        return;
    }
    if (multi->watching > 0) {
        resp_put_off(thread, connection, number, whole);
        return;
    }
    if (command->local == LOCAL_MULTI) {
        if (multi->open) {
            resp_reply_error(thread, connection, number, "ERR MULTI calls can not be nested");
            return;
        }
        multi->open = true;
        multi->user = user_now(connection->user);
        multi->database = connection->resp->database;
        resp_reply_ok(thread, connection, number, "OK");
    } else if (command->local == LOCAL_EXEC) {
        exec(thread, connection, number);
    } else if (command->local == LOCAL_DISCARD && !multi->open) {
        resp_reply_error(thread, connection, number, "ERR DISCARD without MULTI");
    } else {
        resp_multi_clear(thread, multi);
        resp_reply_ok(thread, connection, number, "OK");
    }
}
