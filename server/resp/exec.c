#include "exec.h"

#include <assert.h>
#include <stdio.h>
#include <string.h>

#include "run.h"
#include "status_words.h"

enum status watch_run(struct turn *turn)
{
    uint8_t head[1 + VARINT_BYTES_MAX] = {WATCH_TOKEN};
    struct bytes token;

    int rc = turn_token(turn, &token);
    const uint8_t *end = varint_put(head + 1, token.size);
    rc = rc != 0 ? rc : buffer_append(turn->answer, bytes_of(head, (size_t)(end - head)));
    rc = rc != 0 ? rc : buffer_append(turn->answer, token);
    return run_end(rc);
}

/* ---- Commands on no key ---- */

bool exec_is_keyless(const struct command *command)
{
    return command->local == LOCAL_ECHO || command->local == LOCAL_PING ||
           command->local == LOCAL_TIME || command->local == LOCAL_UNWATCH ||
           exec_is_later(command);
}

bool exec_is_later(const struct command *command)
{
    switch ((enum command_local)command->local) {
    case LOCAL_ACL:
    case LOCAL_ASKING:
    case LOCAL_CLIENT:
    case LOCAL_CLUSTER:
    case LOCAL_COMMAND:
    case LOCAL_CONFIG:
    case LOCAL_INFO:
    case LOCAL_PUBLISH:
    case LOCAL_PUBSUB:
    case LOCAL_READONLY:
    case LOCAL_READWRITE:
    case LOCAL_ROLE:
    case LOCAL_SCRIPT:
    case LOCAL_SELECT:
        return true;
    default:
        return false;
    }
}

static int put_time(const struct resp_out *out, uint64_t now_ms)
{
    char text[24];

    int rc = resp_array(out, 2);
    snprintf(text, sizeof text, "%llu", (unsigned long long)(now_ms / 1000));
    rc = rc != 0 ? rc : resp_text(out, text);
    snprintf(text, sizeof text, "%llu", (unsigned long long)(now_ms % 1000 * 1000));
    return rc != 0 ? rc : resp_text(out, text);
}

int exec_keyless(const struct command *command, struct resp_arguments rest, uint64_t now_ms,
                 const struct resp_out *out)
{
    struct bytes argument;

    if (command->procedure.run != NULL) {
        return resp_error(out, "ERR wrong number of arguments for 'mset' command");
    }
    if (command->local == LOCAL_TIME) {
        return put_time(out, now_ms);
    }
    if (command->local == LOCAL_UNWATCH) {
        return resp_simple(out, "OK"); /* EXEC has looked at what was watched. */
    }
    if (exec_is_later(command)) {
        return resp_number(out, 0);
    }
    if (rest.count > 1) {
        return resp_error(out, "ERR wrong number of arguments for 'ping' command");
    }
    return resp_next(&rest, &argument) ? resp_bulk(out, argument) : resp_simple(out, "PONG");
}

/* ---- EXEC ---- */

enum {
    EXEC_BYTES_MAX = 256 * 1024 * 1024,
    EXEC_SESSIONS = 16, /* ... or so many of the largest that there may be, if that is more. */
};

struct exec {
    struct turn *turn;
    const struct request *whole;
    struct reader body;
    struct bytes keys[TURN_KEYS_MAX];
    struct resp_out out;
    uint64_t
        bytes; /* Of the sessions that its commands were about so far, each as often as it was. */
};

/* Turn to the key whose number comes next. */
static void next_key(struct exec *exec, struct request *request)
{
    uint64_t number = read_varint(&exec->body);

    assert(number < TURN_KEYS_MAX);
    *request = *exec->whole;
    request->key = exec->keys[number];
    turn_to(exec->turn, request);
}

/* Is all that was watched as it was? Returns OK or NO_MEMORY. */
static enum status check_watched(struct exec *exec, bool *same)
{
    uint64_t count = read_varint(&exec->body);

    *same = true;
    for (uint64_t i = 0; i < count; i++) {
        struct request request;
        struct bytes token;
        next_key(exec, &request);
        struct bytes before = read_string(&exec->body);
        if (turn_token(exec->turn, &token) != 0) {
            return STATUS_NO_MEMORY;
        }
        *same = *same && bytes_equal(before, token);
    }
    return STATUS_OK;
}

/* A shard does nothing else meanwhile: so much of sessions is gone over, and no more. */
static bool is_long(struct exec *exec)
{
    uint64_t most = (uint64_t)EXEC_SESSIONS * exec->turn->policy->rules.session_bytes_max;

    exec->bytes += turn_bytes(exec->turn);
    return exec->bytes > EXEC_BYTES_MAX && exec->bytes > most;
}

/* One part of a command: its reply is appended. Errors are replies, too, but for what undoes it all. */
static enum status run_part(struct exec *exec, const struct command *command)
{
    char words[STATUS_WORDS_BYTES];
    struct buffer *answer = exec->turn->answer;
    size_t before = answer->size;
    struct request request;

    next_key(exec, &request);
    request.body = read_string(&exec->body);
    request.procedure = &command->procedure;
    if (is_long(exec)) {
        exec->turn->text = "the transaction's commands go over more than 256 MiB of sessions";
        return STATUS_INVALID;
    }
    enum status status = command->procedure.run(exec->turn);
    if (status == STATUS_OK || run_undoes(status)) {
        return status;
    }
    answer->size = before;
    status_words(status, exec->turn->text, words);
    return run_end(resp_error(&exec->out, words));
}

/* The replies to the parts, from `begin` on, become one. */
static enum status join(struct exec *exec, const struct command *command, size_t begin)
{
    struct buffer *answer = exec->turn->answer;
    int64_t sum = 0;

    for (size_t at = begin; at < answer->size;) {
        const uint8_t *line = answer->data + at;
        const uint8_t *end = memchr(line, '\n', answer->size - at);
        size_t size = end == NULL ? answer->size - at : (size_t)(end - line) + 1;
        int64_t value = 0;
        if (*line == '-') {
            memmove(answer->data + begin, line, size);
            answer->size = begin + size;
            return STATUS_OK;
        }
        if (*line == ':') {
            (void)resp_integer(bytes_of(line + 1, size - 3), &value);
        }
        sum += value;
        at += size;
    }
    answer->size = begin;
    return run_end(command->join == JOIN_SUM ? resp_number(&exec->out, sum)
                                             : resp_simple(&exec->out, "OK"));
}

static enum status run_keyless(struct exec *exec, const struct command *command)
{
    struct resp_arguments rest = resp_arguments(read_string(&exec->body));
    struct bytes name;

    (void)resp_next(&rest, &name);
    return run_end(exec_keyless(command, rest, exec->turn->now_ms, &exec->out));
}

static enum status run_command(struct exec *exec)
{
    const struct command *command;
    const size_t begin = exec->turn->answer->size;

    struct bytes address = read_bytes(&exec->body, sizeof command);
    assert(address.size == sizeof command);
    memcpy(&command, address.data, sizeof command);
    uint64_t parts = read_varint(&exec->body);
    enum status status = STATUS_OK;
    if (parts == 0) {
        return run_keyless(exec, command);
    }
    if (command->join == JOIN_ARRAY) {
        status = run_end(resp_array(&exec->out, parts));
    }
    for (uint64_t i = 0; status == STATUS_OK && i < parts; i++) {
        status = run_part(exec, command);
    }
    if (status == STATUS_OK && (command->join == JOIN_SUM || command->join == JOIN_OK)) {
        status = join(exec, command, begin);
    }
    return status;
}

static enum status exec_run(struct turn *turn)
{
    struct exec exec = {
        .turn = turn,
        .whole = turn->request,
        .body = reader_of(turn->request->body),
        .out = run_out(turn),
    };
    bool same;

    uint64_t keys = read_varint(&exec.body);
    assert(keys <= TURN_KEYS_MAX);
    for (uint64_t i = 0; i < keys; i++) {
        exec.keys[i] = read_string(&exec.body);
    }
    enum status status = check_watched(&exec, &same);
    if (status != STATUS_OK || !same) {
        return status != STATUS_OK ? status : run_end(resp_null_array(&exec.out));
    }
    uint64_t commands = read_varint(&exec.body);
    status = run_end(resp_array(&exec.out, commands));
    for (uint64_t i = 0; status == STATUS_OK && i < commands; i++) {
        status = run_command(&exec);
    }
    return status;
}

const struct procedure exec_procedure = {.name = "exec", .run = exec_run, .many = true};
