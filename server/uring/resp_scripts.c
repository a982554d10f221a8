#include <stdio.h>
#include <string.h>

#include "plane_private.h"
#include "resp_door.h"
#include "run.h"
#include "shard_thread.h"

void script_learn(struct scripts *scripts, const char *sha1, const struct command *command)
{
    bool known = false;

    pthread_mutex_lock(&scripts->lock);
    for (uint32_t i = 0; i < scripts->count; i++) {
        known = known || strcmp(scripts->learnt[i].sha1, sha1) == 0;
    }
    if (!known && scripts->count < SCRIPTS_LEARNT_MAX) {
        memcpy(scripts->learnt[scripts->count].sha1, sha1, SCRIPT_SHA1_BYTES + 1);
        scripts->learnt[scripts->count++].command = command;
    }
    pthread_mutex_unlock(&scripts->lock);
}

const struct command *script_known(struct scripts *scripts, struct bytes sha1)
{
    const struct command *found = script_of_sha1(sha1);

    if (found != NULL) {
        return found;
    }
    pthread_mutex_lock(&scripts->lock);
    for (uint32_t i = 0; i < scripts->count && found == NULL; i++) {
        found = run_is(sha1, scripts->learnt[i].sha1) ? scripts->learnt[i].command : NULL;
    }
    pthread_mutex_unlock(&scripts->lock);
    return found;
}

void script_forget(struct scripts *scripts)
{
    pthread_mutex_lock(&scripts->lock);
    scripts->count = 0;
    pthread_mutex_unlock(&scripts->lock);
}

/* ---- EVAL, EVALSHA ---- */

static void reply_script(struct shard_thread *thread, struct connection *connection,
                         uint64_t number, const char *format, const char *sha1)
{
    char text[256];

    snprintf(text, sizeof text, format, sha1);
    resp_reply_error(thread, connection, number, text);
}

/* Of EVAL or EVALSHA; NULL where it is answered. */
static const struct command *find(struct shard_thread *thread, struct connection *connection,
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

/* EVAL script number key... argument... becomes a name, the keys and the arguments. */
const struct command *resp_find_script(struct shard_thread *thread, struct connection *connection,
                                       uint64_t number, const struct command *command,
                                       struct bytes array, struct bytes *body)
{
    struct resp_arguments arguments = resp_arguments(array);
    struct bytes script, word;
    uint32_t count = 0;
    int64_t keys;

    (void)resp_next(&arguments, &script);
    (void)resp_next(&arguments, &script);
    (void)resp_next(&arguments, &word);
    if (!resp_integer(word, &keys)) {
        resp_reply_error(thread, connection, number, run_not_integer);
        return NULL;
    }
    if (keys < 0 || keys > (int64_t)arguments.count) {
        resp_reply_error(thread, connection, number,
                         keys < 0 ? "ERR Number of keys can't be negative"
                                  : "ERR Number of keys can't be greater than number of args");
        return NULL;
    }
    const struct command *found = find(thread, connection, number, command, script);
    if (found == NULL) {
        return NULL;
    }
    if (keys != found->last_key || !command_takes(found, arguments.count + 1)) {
        resp_reply_error(thread, connection, number,
                         "ERR wrong number of keys or arguments for this script");
        return NULL;
    }
    struct bytes *taken = arena_take(&thread->arena, arguments.count * sizeof *taken);
    while (taken != NULL && resp_next(&arguments, &taken[count])) {
        count++;
    }
    if (taken == NULL || resp_make_part(thread, found, taken, count, body) != 0) {
        resp_reply_error(thread, connection, number, "OOM no memory for the request");
        return NULL;
    }
    return found;
}

void resp_eval(struct shard_thread *thread, struct connection *connection, uint64_t number,
               const struct command *command, struct bytes array, struct bytes whole)
{
    struct bytes body;
    const struct command *found =
        resp_find_script(thread, connection, number, command, array, &body);

    if (found == NULL) {
        return;
    }
    if (found->last_key == 1) {
        resp_one(thread, connection, number, found, body, whole);
    } else {
        resp_several(thread, connection, number, found, &found->procedure, body, whole);
    }
}
