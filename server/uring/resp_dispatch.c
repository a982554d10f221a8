/* Which of the RESP door's files carries out a command, after what may be wrong with it was looked at. */
#include <stdio.h>
#include <string.h>

#include "plane_private.h"
#include "resp_cluster.h"
#include "resp_door.h"
#include "resp_local.h"
#include "run.h"
#include "shard_thread.h"

/* ---- What is refused ---- */

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

static const char exec_abort[] = "EXECABORT Transaction discarded because of:";

static void reply_arity(struct shard_thread *thread, struct connection *connection, uint64_t number,
                        const struct command *command)
{
    bool exec = command->local == LOCAL_EXEC; /* It ends what it does not run. */
    char text[128];

    snprintf(text, sizeof text, "%s wrong number of arguments for '%s' command",
             exec ? exec_abort : "ERR", command->name);
    if (exec) {
        resp_multi_clear(thread, &connection->resp->multi);
    }
    resp_reply_error(thread, connection, number, text);
}

void resp_own(struct shard_thread *thread, struct connection *connection, uint64_t number,
              const struct command *command, struct bytes array)
{
    struct resp_arguments arguments = resp_arguments(array);
    const struct resp_out out = {.buffer = &thread->scratch, .resp3 = connection->resp->resp3};
    struct bytes name;
    bool ends = false;

    thread->scratch.size = 0;
    (void)resp_next(&arguments, &name);
    int rc = resp_local(thread, connection, command, arguments, &out, &ends);
    resp_reply(thread, connection, number, rc);
    if (ends) {
        connection_drain(thread, connection);
    }
}

/* Does it change how requests are read, or end them? Those that came before it must be past being put off: they would be
 * read anew. */
static bool is_turning(const struct command *command)
{
    return command->local == LOCAL_AUTH || command->local == LOCAL_CLIENT ||
           command->local == LOCAL_HELLO || command->local == LOCAL_QUIT ||
           command->local == LOCAL_RESET || command->local == LOCAL_SELECT;
}

static bool is_walk(const struct command *command)
{
    return command->local == LOCAL_DBSIZE || command->local == LOCAL_FLUSHALL ||
           command->local == LOCAL_FLUSHDB || command->local == LOCAL_KEYS;
}

static bool is_pubsub(const struct command *command)
{
    switch ((enum command_local)command->local) {
    case LOCAL_PSUBSCRIBE:
    case LOCAL_PUBLISH:
    case LOCAL_PUNSUBSCRIBE:
    case LOCAL_SUBSCRIBE:
    case LOCAL_UNSUBSCRIBE:
        return true;
    default:
        return false;
    }
}

/* What a client of RESP2 may do that has subscribed. */
static bool is_for_subscribers(const struct command *command)
{
    return command->local == LOCAL_PING || command->local == LOCAL_QUIT ||
           command->local == LOCAL_RESET || (is_pubsub(command) && command->local != LOCAL_PUBLISH);
}

static void reply_subscribed(struct shard_thread *thread, struct connection *connection,
                             uint64_t number, const struct command *command,
                             struct resp_arguments arguments)
{
    bool exec = command->local == LOCAL_EXEC;
    char name[LOCAL_FULL_NAME_BYTES], text[256];

    local_name(command, arguments, name);
    snprintf(text, sizeof text,
             "%s Can't execute '%s': only (P|S)SUBSCRIBE / (P|S)UNSUBSCRIBE / PING / QUIT / RESET "
             "are allowed in this context",
             exec ? exec_abort : "ERR", name);
    resp_reply_error(thread, connection, number, text);
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

/* Lines of an HTTP request: a page made somebody's browser talk to this port, and what follows is the page's. */
static bool is_http(struct bytes name)
{
    return run_is(name, "post") || run_is(name, "host:");
}

/* A command that may be carried out, outside of MULTI. */
static void perform(struct shard_thread *thread, struct connection *connection, uint64_t number,
                    const struct command *command, struct bytes array, struct bytes whole)
{
    const uint32_t count = resp_arguments(array).count;
    const uint32_t behind = count - 1; /* Arguments. */

    if (is_multi(command)) {
        resp_multi_command(thread, connection, number, command, array, whole);
    } else if (command->local == LOCAL_SCAN) {
        resp_scan(thread, connection, number, command, array, whole);
    } else if (command->local == LOCAL_EVAL || command->local == LOCAL_EVALSHA) {
        resp_eval(thread, connection, number, command, array, whole);
    } else if (is_pubsub(command)) {
        resp_pubsub(thread, connection, number, command, array, whole);
    } else if (command->local == LOCAL_MONITOR) {
        resp_monitor(thread, connection, number, whole);
    } else if (command->local == LOCAL_CLUSTER &&
               resp_walk_slot(thread, connection, number, array, whole)) {
        return;
    } else if (command->local == LOCAL_PUBSUB && thread->clustered &&
               resp_pubsub_far(thread, connection, number, array, whole)) {
        return;
    } else if (is_walk(command)) {
        resp_walk(thread, connection, number, command, array, whole);
    } else if (command->join == JOIN_MOVE) {
        resp_rename(thread, connection, number, command, array, whole);
    } else if (is_turning(command) && resp_waits(thread, connection, number, 0, whole)) {
        return;
    } else if (command->local == LOCAL_SLOWLOG &&
               resp_waits_for_all(thread, connection, number, whole)) {
        return; /* It tells of what was asked before. */
    } else if (command->local == LOCAL_AUTH || command->local == LOCAL_HELLO) {
        resp_login(thread, connection, number, command, array, whole);
    } else if (command->procedure.run == NULL || count <= (uint32_t)command->first_key) {
        resp_own(thread, connection, number, command, array);
    } else if (command->join == JOIN_NONE ||
               (command->join != JOIN_ARRAY && behind == (uint32_t)command->key_step)) {
        resp_one(thread, connection, number, command, array, whole);
    } else {
        (void)resp_many(thread, connection, number, command, array, whole);
    }
}

/* It takes so little time that measuring it would be noticed (slowlog.h). */
static bool is_short(const struct command *command, struct bytes whole)
{
    return (command->flags & (COMMAND_FAST | COMMAND_SHORT)) != 0 &&
           (command->flags & COMMAND_LONG) == 0 && whole.size <= SLOWLOG_SHORT_BYTES;
}

/* The door has done its part. */
static void measured(const struct shard_thread *thread, const struct connection *connection,
                     struct slow_request *slow)
{
    const struct resp_session *session = connection->resp;

    if (!thread->unseen && session != NULL) {
        if (!slow->asked) {
            slow_ran(slow, slow->began_us == 0 ? 0 : monotonic_us() - slow->began_us);
        }
        memcpy(slow->address, session->address, sizeof slow->address);
        memcpy(slow->name, session->name, sizeof session->name);
    }
    slow_drop(slow);
}

/* The same, measured and shown to who watches. */
static void observe(struct shard_thread *thread, struct connection *connection, uint64_t number,
                    const struct command *command, struct bytes array, struct bytes whole)
{
    struct plane *plane = thread->plane;
    struct slow_request *slow = NULL;

    if (slowlog_measures(&plane->slowlog, is_short(command, whole))) {
        slow = slow_begin(&plane->slowlog, command, array);
        if (command->procedure.run == NULL) {
            resp_measure_anew(
                slow); /* Else it becomes requests, or what is wrong with it is found at once. */
        }
    }
    thread->slow = slow;
    thread->unseen = false;
    perform(thread, connection, number, command, array, whole);
    thread->slow = NULL;
    if (slow != NULL) {
        measured(thread, connection, slow);
    }
    if (monitor_is_watched(&plane->monitor) && !thread->unseen) {
        resp_monitor_show(thread, connection, number, command, array);
    }
}

void resp_dispatch(struct shard_thread *thread, struct connection *connection, uint64_t number,
                   struct bytes array, struct bytes whole)
{
    struct resp_arguments arguments = resp_arguments(array);
    uint32_t count = arguments.count;
    struct bytes name;

    if (!resp_next(&arguments, &name)) {
        connection_answer(thread, connection, number, bytes_of(NULL, 0)); /* Nothing was asked. */
        return;
    }
    struct resp_session *session = connection->resp;
    struct resp_multi *multi = &session->multi;
    const struct command *command = command_find(name);
    bool unfit = command != NULL && session->monitors && !resp_is_for_monitors(command);
    bool wrong = command == NULL || !command_takes(command, count);
    char text[RESP_DENIED_BYTES], place[RESP_MOVED_BYTES];
    const char *denied = wrong || thread->plane->options.users == NULL
                             ? NULL
                             : resp_denied(thread, connection, command, arguments, text);
    if (!wrong && denied == NULL && connection->redirects) {
        denied = resp_moved(thread, connection, command, arguments, place);
    }
    multi->failed = multi->failed || (multi->open && (wrong || unfit || denied != NULL));
    if (command == NULL && is_http(name)) {
        thread->stats.frames_bad++;
        connection_close(thread, connection);
    } else if (command == NULL) {
        reply_unknown(thread, connection, number, name, arguments);
    } else if (wrong) {
        reply_arity(thread, connection, number, command);
    } else if (denied != NULL) {
        resp_reply_error(thread, connection, number, denied);
    } else if (resp_is_subscribed(session) && !is_for_subscribers(command)) {
        reply_subscribed(thread, connection, number, command, arguments);
    } else if (thread->stopping) {
        resp_reply_error(thread, connection, number, "ERR the server is stopping");
    } else if (unfit) {
        resp_reply_error(thread, connection, number,
                         "ERR Replica can't interact with the keyspace");
    } else if (multi->open && (!is_multi(command) || command->local == LOCAL_UNWATCH) &&
               command->local != LOCAL_QUIT && command->local != LOCAL_RESET) {
        resp_multi_queue(thread, connection, number, command, array);
    } else {
        observe(thread, connection, number, command, array, whole);
    }
}
