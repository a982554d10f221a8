#include "aspnet.h"

#include <string.h>

#include "commands.h"
#include "run.h"
#include "status_words.h"

enum { KEYS_MAX = 3, BULK_HEAD_BYTES = 32, ARGUMENTS_MAX = 8192 /* As many as Lua takes apart. */ };

/* Part of the turn's answer, which may move. */
struct span {
    size_t at, size;
};

/* One run. What its commands answer is appended to the turn's answer, and what the script answers behind that. */
struct script {
    struct turn *turn;
    const struct request *whole;
    bool hashes, resp3;
    size_t begun_at; /* Of the turn's answer: what is before it is another's, in a transaction. */
    uint32_t key_count;
    struct bytes keys[KEYS_MAX];
    struct resp_arguments arguments; /* The first is next. */
    struct buffer array;             /* Of the command that is run. */
    struct request request;
    enum status status; /* The first that was not OK... */
    struct span error;  /* ... or the first error reply. */
};

static void begin(struct script *script, struct turn *turn, bool hashes)
{
    struct reader body = reader_of(turn->request->body);
    struct bytes name;

    *script = (struct script){
        .turn = turn,
        .whole = turn->request,
        .hashes = hashes,
        .resp3 = (turn->request->flags & RUN_RESP3) != 0,
        .begun_at = turn->answer->size,
        .array = {.memory = turn->answer->memory},
    };
    uint64_t keys = read_varint(&body);
    for (uint64_t i = 0; i < keys && i < KEYS_MAX; i++) {
        script->keys[script->key_count++] = read_string(&body);
    }
    script->arguments = resp_arguments(read_bytes(&body, reader_left(&body)));
    (void)resp_next(&script->arguments, &name);
    for (uint32_t i = 0; i < script->key_count; i++) {
        (void)resp_next(&script->arguments, &name); /* They are there as well. */
    }
}

static struct bytes argument(const struct script *script, int64_t number)
{
    struct resp_arguments rest = script->arguments;
    struct bytes found = bytes_of(NULL, 0);

    for (int64_t i = 0; i < number && resp_next(&rest, &found); i++) {
    }
    return found;
}

static bool failed(const struct script *script)
{
    return script->status != STATUS_OK || script->error.size > 0;
}

static struct bytes bytes_at(const struct script *script, struct span span)
{
    return bytes_of(script->turn->answer->data + span.at, span.size);
}

/* ---- redis.call() ---- */

static int begin_call(struct script *script, const char *command, uint32_t key, uint32_t words)
{
    const struct resp_out out = {.buffer = &script->array};

    script->array.size = 0;
    int rc = resp_array(&out, 2 + words);
    rc = rc != 0 ? rc : resp_text(&out, command);
    return rc != 0 ? rc : resp_bulk(&out, script->keys[key]);
}

/* The command's error is its reply, and what went before it stays, as in Redis; but for what undoes all. */
static void put_error(struct script *script, size_t at)
{
    const struct resp_out out = {.buffer = script->turn->answer};
    char words[STATUS_WORDS_BYTES];

    if (run_undoes(script->status)) {
        return;
    }
    script->turn->answer->size = at;
    status_words(script->status, script->turn->text, words);
    script->status = run_end(resp_error(&out, words));
}

/* Its reply, which lies in the turn's answer until the next call. Empty where the script has failed. */
static struct bytes end_call(struct script *script, const char *command, uint32_t key, int rc)
{
    struct buffer *answer = script->turn->answer;
    const size_t at = answer->size;

    script->request = *script->whole;
    script->request.key = script->keys[key];
    script->request.body = buffer_bytes(&script->array);
    script->request.flags &= ~(uint32_t)RUN_RESP3;
    turn_to(script->turn, &script->request);
    script->status = rc != 0 ? STATUS_NO_MEMORY
                             : command_find(bytes_of_string(command))->procedure.run(script->turn);
    if (script->status != STATUS_OK) {
        put_error(script, at);
    }
    struct bytes reply = bytes_of(answer->data + at, answer->size - at);
    if (script->status != STATUS_OK) {
        return bytes_of(NULL, 0);
    }
    if (reply.size > 0 && reply.data[0] == '-') {
        script->error = (struct span){at, reply.size};
    }
    return reply;
}

static struct bytes call(struct script *script, const char *command, uint32_t key, uint32_t count,
                         const struct bytes words[])
{
    const struct resp_out out = {.buffer = &script->array};

    if (failed(script)) {
        return bytes_of(NULL, 0);
    }
    int rc = begin_call(script, command, key, count);
    for (uint32_t i = 0; rc == 0 && i < count; i++) {
        rc = resp_bulk(&out, words[i]);
    }
    return end_call(script, command, key, rc);
}

/* With the arguments from one number to another, as unpack() gives them. */
static void call_range(struct script *script, const char *command, uint32_t key, int64_t from,
                       int64_t to)
{
    const struct resp_out out = {.buffer = &script->array};
    struct resp_arguments rest = script->arguments;
    struct bytes word;

    if (failed(script)) {
        return;
    }
    int64_t last = rest.count;
    if (from < 1 || to < from || to > last || to - from >= ARGUMENTS_MAX) {
        script->status = STATUS_INVALID;
        script->turn->text = "the script's arguments are not as its library sends them";
        return;
    }
    int rc = begin_call(script, command, key, (uint32_t)(to - from + 1));
    for (int64_t i = 1; rc == 0 && i <= to && resp_next(&rest, &word); i++) {
        rc = i >= from ? resp_bulk(&out, word) : 0;
    }
    (void)end_call(script, command, key, rc);
}

/* The text of a bulk reply; data NULL where it is none. */
static struct bytes bulk(struct bytes reply)
{
    const uint8_t *end = reply.size == 0 ? NULL : memchr(reply.data, '\n', reply.size);

    if (end == NULL || reply.data[0] != '$' || reply.data[1] == '-') {
        return bytes_of(NULL, 0);
    }
    size_t head = (size_t)(end - reply.data) + 1;
    return bytes_of(reply.data + head, reply.size - head - 2);
}

/* ---- What the scripts have in common ---- */

static const struct bytes timeout_name = {.data = (const uint8_t *)"SessionTimeout", .size = 14};

/* How long the session lives unused; data NULL: nobody said. It is copied, as what is called next may move it. */
struct seconds {
    struct bytes text;
    uint8_t room[32];
};

static void timeout_of(struct script *script, uint32_t key, struct seconds *seconds)
{
    struct bytes reply = script->hashes ? call(script, "hget", key, 1, &timeout_name)
                                        : call(script, "get", key, 0, NULL);
    struct bytes text = bulk(reply);

    seconds->text = bytes_of(NULL, 0);
    if (text.data != NULL) {
        /* Longer ones are no numbers, and so they stay. */
        size_t size = text.size < sizeof seconds->room ? text.size : sizeof seconds->room;
        memcpy(seconds->room, text.data, size);
        seconds->text = bytes_of(seconds->room, size);
    }
}

static void expire(struct script *script, uint32_t key, struct bytes seconds)
{
    (void)call(script, "expire", key, 1, &seconds);
}

static void note_timeout(struct script *script, uint32_t key, struct bytes seconds)
{
    const struct bytes words[] = {timeout_name, seconds};

    if (script->hashes) {
        (void)call(script, "hmset", key, 2, words);
    } else {
        (void)call(script, "set", key, 1, &seconds);
    }
    expire(script, key, seconds);
}

/* Data and timeout live on for that long, where it is known. */
static bool refresh(struct script *script, uint32_t data, const struct seconds *seconds)
{
    if (seconds->text.data == NULL) {
        return false;
    }
    expire(script, data, seconds->text);
    expire(script, data + 1, seconds->text);
    return true;
}

static bool is_locked_by(struct script *script, struct bytes value)
{
    struct bytes text = bulk(call(script, "get", 0, 0, NULL));

    return text.data != NULL && bytes_equal(text, value);
}

/* ---- Ends ---- */

/* The reply is what was appended last, from `at` on, or what went wrong. */
static enum status end(struct script *script, size_t at, int rc)
{
    struct buffer *answer = script->turn->answer;

    buffer_fini(&script->array);
    if (script->status != STATUS_OK || rc != 0) {
        return script->status != STATUS_OK ? script->status : STATUS_NO_MEMORY;
    }
    size_t size = answer->size - at;
    if (script->error.size > 0) {
        at = script->error.at;
        size = script->error.size;
    }
    memmove(answer->data + script->begun_at, answer->data + at, size);
    answer->size = script->begun_at + size;
    return STATUS_OK;
}

static struct resp_out out_of(const struct script *script)
{
    return (struct resp_out){.buffer = script->turn->answer, .resp3 = script->resp3};
}

static enum status end_one(struct script *script)
{
    const struct resp_out out = out_of(script);
    size_t at = script->turn->answer->size;

    return end(script, at, resp_number(&out, 1));
}

static enum status end_null(struct script *script)
{
    const struct resp_out out = out_of(script);
    size_t at = script->turn->answer->size;

    return end(script, at, resp_null(&out));
}

/* A reply of version 2 behind all else, in the version of the client: it is a bulk, or an array of them. */
static int put_reply(struct script *script, size_t at, size_t size)
{
    const struct resp_out out = out_of(script);
    struct buffer *answer = script->turn->answer;

    if (size == 5 && memcmp(answer->data + at, "$-1\r\n", 5) == 0) {
        return resp_null(&out);
    }
    int rc = buffer_reserve(answer, size);
    if (rc == 0) {
        memcpy(answer->data + answer->size, answer->data + at, size);
        answer->size += size;
    }
    return rc;
}

/* ---- The scripts ---- */

static enum status update(struct turn *turn, bool hashes)
{
    struct seconds seconds;
    struct script script;

    begin(&script, turn, hashes);
    struct bytes there = call(&script, "exists", 0, 0, NULL);
    if (there.size < 2 || there.data[1] == '0') {
        return end_one(&script);
    }
    timeout_of(&script, 1, &seconds);
    if (!refresh(&script, 0, &seconds)) {
        expire(&script, 0, argument(&script, 1));
        note_timeout(&script, 1, argument(&script, 1));
    }
    return end_one(&script);
}

static enum status set(struct turn *turn, bool hashes)
{
    struct script script;
    int64_t last = 0;

    begin(&script, turn, hashes);
    struct bytes data = argument(&script, 1), seconds = argument(&script, 2);
    if (hashes) {
        (void)resp_integer(data, &last);
        call_range(&script, "hmset", 0, 3, last);
    } else {
        (void)call(&script, "set", 0, 1, &data);
    }
    expire(&script, 0, seconds);
    note_timeout(&script, 1, seconds);
    return end_one(&script);
}

/* The lock's value, the session where it may be had, the timeout, and who has it, where that was asked. */
static enum status tell(struct script *script, struct span owner, bool may_have, bool asked,
                        bool is_locked)
{
    const struct resp_out out = out_of(script);
    struct buffer *answer = script->turn->answer;
    struct seconds seconds;
    size_t data_at = answer->size;

    struct bytes data =
        may_have ? call(script, script->hashes ? "hgetall" : "get", 1, 0, NULL) : bytes_of(NULL, 0);
    timeout_of(script, 2, &seconds);
    (void)refresh(script, 1, &seconds);
    if (failed(script)) {
        return end(script, answer->size, 0);
    }
    size_t at = answer->size;
    int rc = resp_array(&out, asked ? 4 : 3);
    rc = rc != 0 ? rc : buffer_reserve(answer, owner.size + BULK_HEAD_BYTES);
    rc = rc != 0 ? rc
                 : resp_bulk(&out, bytes_at(script, owner)); /* It does not move: there is room. */
    rc = rc != 0 ? rc : may_have ? put_reply(script, data_at, data.size) : resp_text(&out, "");
    rc = rc != 0 ? rc
                 : resp_bulk(&out, seconds.text.data != NULL ? seconds.text : bytes_of("-1", 2));
    if (asked && rc == 0) {
        rc = is_locked ? resp_number(&out, 1) : resp_null(&out);
    }
    return end(script, at, rc);
}

/* Who has the lock, in the turn's answer; empty: nobody. */
static struct span owner_of(struct script *script)
{
    struct bytes text = bulk(call(script, "get", 0, 0, NULL));

    return text.size == 0
               ? (struct span){0, 0}
               : (struct span){(size_t)(text.data - script->turn->answer->data), text.size};
}

static enum status lock(struct turn *turn, bool hashes)
{
    struct script script;

    begin(&script, turn, hashes);
    struct bytes value = argument(&script, 1);
    struct bytes taken = call(&script, "setnx", 0, 1, &value);
    if (taken.size > 1 && taken.data[1] == '1') {
        expire(&script, 0, argument(&script, 2));
        return tell(&script, owner_of(&script), true, true, false);
    }
    struct span owner = owner_of(&script);
    bool same = bytes_equal(bytes_at(&script, owner), value);
    return tell(&script, owner, same, true, true);
}

static enum status read(struct turn *turn, bool hashes)
{
    struct script script;

    begin(&script, turn, hashes);
    struct span owner = owner_of(&script);
    return tell(&script, owner, owner.size == 0, false, false);
}

/* Of the lock, which the next request takes at once, also under `no_resurrect`. */
static void let_go(struct script *script)
{
    script->turn->frees = true;
    (void)call(script, "del", 0, 0, NULL);
    script->turn->frees = false;
}

static enum status release(struct turn *turn, bool hashes)
{
    struct seconds seconds;
    struct script script;

    begin(&script, turn, hashes);
    if (is_locked_by(&script, argument(&script, 1))) {
        let_go(&script);
    }
    timeout_of(&script, 2, &seconds);
    if (!refresh(&script, 1, &seconds)) {
        expire(&script, 1, argument(&script, 2));
    }
    return end_one(&script);
}

/* May whoever says this value change the session? Of strings the empty value always may. */
static bool may_change(struct script *script)
{
    struct bytes value = argument(script, 1);

    return (!script->hashes && value.size == 0) || is_locked_by(script, value);
}

static enum status remove_session(struct turn *turn, bool hashes)
{
    struct script script;

    begin(&script, turn, hashes);
    if (!may_change(&script)) {
        return end_one(&script);
    }
    (void)call(&script, "del", 1, 0, NULL);
    (void)call(&script, "del", 2, 0, NULL);
    let_go(&script);
    return hashes ? end_one(&script) : end_null(&script);
}

/* Numbers that say where among the arguments something is. */
static void change_range(struct script *script, const char *command, uint32_t first)
{
    int64_t count = 0, from = 0, to = 0;

    (void)resp_integer(argument(script, first), &count);
    (void)resp_integer(argument(script, first + 1), &from);
    (void)resp_integer(argument(script, first + 2), &to);
    if (count != 0) {
        call_range(script, command, 1, from, to);
    }
}

static enum status save(struct turn *turn, bool hashes)
{
    struct script script;
    int64_t count = 0;

    begin(&script, turn, hashes);
    if (!may_change(&script)) {
        return end_one(&script);
    }
    struct bytes seconds = argument(&script, 2), data = argument(&script, 10);
    if (hashes) {
        change_range(&script, "hdel", 3);
        change_range(&script, "hmset", 6);
    } else {
        (void)resp_integer(argument(&script, 6), &count);
        if (count != 0) {
            (void)call(&script, "set", 1, 1, &data);
        }
    }
    expire(&script, 1, seconds);
    note_timeout(&script, 2, seconds);
    let_go(&script);
    return hashes ? end_one(&script) : end_null(&script);
}

#define ASPNET_SCRIPT(name, run)                                                                   \
    enum status aspnet_##name(struct turn *turn)                                                   \
    {                                                                                              \
        return run(turn, false);                                                                   \
    }                                                                                              \
    enum status aspnet_hash_##name(struct turn *turn)                                              \
    {                                                                                              \
        return run(turn, true);                                                                    \
    }
ASPNET_SCRIPT(update, update)
ASPNET_SCRIPT(set, set)
ASPNET_SCRIPT(lock, lock)
ASPNET_SCRIPT(read, read)
ASPNET_SCRIPT(release, release)
ASPNET_SCRIPT(remove, remove_session)
ASPNET_SCRIPT(save, save)
#undef ASPNET_SCRIPT
