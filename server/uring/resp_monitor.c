/* MONITOR of the RESP door (monitor.h).
 *
 * A command is shown once the door has taken it, and before it is answered; one that is put off and served again is shown
 * once. What is refused before it would be carried out (an unknown command, a wrong number of arguments) is not shown,
 * as in Redis, nor is what administers the server. Lines go into their watcher's output as messages to subscribers do, with
 * the same bound. */
#include <stdio.h>
#include <string.h>

#include "exec.h"
#include "plane_private.h"
#include "resp_local.h"
#include "run.h"
#include "secrets.h"
#include "shard_thread.h"

/* ---- Who watches ---- */

void resp_monitor_leave(struct shard_thread *thread, struct resp_session *session)
{
    struct resp_session **at = &thread->monitors;

    if (!session->monitors) {
        return;
    }
    while (*at != session) {
        at = &(*at)->next_monitor;
    }
    *at = session->next_monitor;
    session->monitors = false;
    monitor_leave(&thread->plane->monitor, thread->index);
}

/* Lines to a watcher, of which some are missing behind them unless `whole`. */
static void push(struct shard_thread *thread, struct connection *connection, struct bytes lines,
                 bool whole)
{
    const uint64_t most = 2 * thread->plane->options.limits.output_bytes;
    const uint64_t before = connection->output.size;

    if (connection->resp->silent) {
        return; /* It was said that nothing is to be sent. */
    }
    if (!login_may(thread, connection, ROLE_ADMIN, bytes_of(NULL, 0))) {
        connection_close(thread, connection);
        return;
    }
    if (!whole || (before > 0 && before + lines.size > most)) {
        connection_cut(thread, connection);
    } else if (lines.size > 0) {
        connection_write(thread, connection, lines);
    }
}

void resp_monitor_turn(struct shard_thread *thread)
{
    struct buffer lines;

    if (thread->monitors == NULL) {
        return;
    }
    bool whole = monitor_take(&thread->plane->monitor, thread->index, &lines);
    for (struct resp_session *session = thread->monitors, *next; session != NULL; session = next) {
        next = session->next_monitor;
        if (session->connection->state != CONNECTION_OPEN) {
            resp_monitor_leave(thread, session);
        } else if (lines.size > 0 || !whole) {
            push(thread, session->connection, buffer_bytes(&lines), whole);
        }
    }
    buffer_fini(&lines);
}

void resp_monitor(struct shard_thread *thread, struct connection *connection, uint64_t number,
                  struct bytes whole)
{
    struct resp_session *session = connection->resp;

    if (resp_waits_for_all(thread, connection, number, whole)) {
        return;
    }
    if (session->monitors) {
        connection_answer(thread, connection, number, bytes_of(NULL, 0)); /* As Redis. */
        return;
    }
    resp_monitor_turn(thread); /* What was before is not for it. */
    monitor_enter(&thread->plane->monitor, thread->index);
    session->monitors = true;
    session->next_monitor = thread->monitors;
    thread->monitors = session;
    resp_reply_ok(thread, connection, number, "OK");
}

bool resp_is_for_monitors(const struct command *command)
{
    return (command->flags & (COMMAND_READ | COMMAND_WRITE)) == 0 && command->local != LOCAL_EVAL &&
           command->local != LOCAL_EVALSHA && command->local != LOCAL_PUBLISH;
}

/* ---- What is shown ---- */

/* As sdscatrepr() of Redis. */
static int put_quoted(struct buffer *line, struct bytes argument)
{
    static const char escaped[] = "\\\"\n\r\t\a\b", letters[] = "\\\"nrtab";
    int rc = buffer_append(line, bytes_of_string(" \""));

    for (size_t i = 0, from = 0; rc == 0 && i <= argument.size; i++) {
        const uint8_t byte = i < argument.size ? argument.data[i] : 0;
        if (i < argument.size && byte >= ' ' && byte <= '~' && byte != '"' && byte != '\\') {
            continue;
        }
        rc = buffer_append(line, bytes_of(argument.data + from, i - from));
        from = i + 1;
        if (rc == 0 && i < argument.size) {
            char text[8];
            const char *found = byte == 0 ? NULL : strchr(escaped, byte);
            if (found != NULL) {
                snprintf(text, sizeof text, "\\%c", letters[found - escaped]);
            } else {
                snprintf(text, sizeof text, "\\x%02x", byte);
            }
            rc = buffer_append(line, bytes_of_string(text));
        }
    }
    return rc != 0 ? rc : buffer_append(line, bytes_of_string("\""));
}

static int begin_line(struct buffer *line, const struct resp_session *session)
{
    char head[PEER_BYTES + 24];

    line->size = 0;
    snprintf(head, sizeof head, "[%u %s]", session->database, session->address);
    return buffer_append(line, bytes_of_string(head));
}

static int put_rest(struct buffer *line, struct secrets *secrets)
{
    struct bytes argument;
    int rc = 0;

    while (rc == 0 && secrets_next(secrets, &argument)) {
        rc = put_quoted(line, argument);
    }
    return rc;
}

/* The line of which appending the last returned `rc`. */
static void show(struct shard_thread *thread, struct buffer *line, int rc)
{
    rc = rc != 0 ? rc : buffer_append(line, bytes_of_string("\r\n"));
    monitor_put(&thread->plane->monitor, thread->index,
                rc == 0 ? buffer_bytes(line) : bytes_of(NULL, 0));
    thread->again = thread->again || thread->monitors != NULL;
}

/* What administers the server is not shown, but for its HELP. */
static bool is_hidden(const struct command *command, struct bytes array)
{
    static const char *const admin[] = {"kill", "list", "no-evict", "pause", "unblock", "unpause"};
    struct resp_arguments arguments = resp_arguments(array);
    struct bytes sub = bytes_of(NULL, 0);

    (void)resp_next(&arguments, &sub);
    (void)resp_next(&arguments, &sub);
    switch ((enum command_local)command->local) {
    case LOCAL_CONFIG:
    case LOCAL_SLOWLOG:
        return !run_is(sub, "help");
    case LOCAL_CLIENT:
        for (size_t i = 0; i < sizeof admin / sizeof admin[0]; i++) {
            if (run_is(sub, admin[i])) {
                return true;
            }
        }
        return false;
    case LOCAL_MONITOR:
        return true;
    default:
        return false;
    }
}

void resp_monitor_show(struct shard_thread *thread, const struct connection *connection,
                       uint64_t number, const struct command *command, struct bytes array)
{
    struct resp_session *session = connection->resp;
    struct secrets secrets = secrets_of(command, array);
    struct buffer *line = &thread->frame;

    if (session == NULL || number < session->shown || is_hidden(command, array)) {
        return;
    }
    session->shown = number + 1;
    int rc = begin_line(line, session);
    show(thread, line, rc != 0 ? rc : put_rest(line, &secrets));
}

/* The next queued command of a transaction, put together of its parts: see exec.h. */
static void show_queued(struct shard_thread *thread, const struct resp_session *session,
                        struct reader *commands, struct reader *later)
{
    const struct command *command;
    bool hidden = false;

    int rc = begin_line(&thread->frame, session);
    memcpy(&command, read_bytes(commands, sizeof command).data, sizeof command);
    const uint64_t parts = read_varint(commands);
    for (uint64_t part = 0; part < (parts == 0 ? 1 : parts); part++) {
        struct bytes name;
        if (parts > 0) {
            (void)read_varint(commands);
        }
        struct bytes array = read_string(commands);
        if (parts == 0 && exec_is_later(command)) {
            (void)read_varint(later);
            array = read_string(later);
        }
        struct secrets secrets = secrets_of(command, array);
        if (part > 0) {
            (void)secrets_next(&secrets, &name); /* It is there already. */
        }
        hidden = hidden || is_hidden(command, array);
        rc = rc != 0 ? rc : put_rest(&thread->frame, &secrets);
    }
    if (!hidden) {
        show(thread, &thread->frame, rc);
    }
}

void resp_monitor_show_queued(struct shard_thread *thread, const struct connection *connection)
{
    const struct resp_session *session = connection->resp;
    struct reader commands = reader_of(buffer_bytes(&session->multi.commands));
    struct reader later = reader_of(buffer_bytes(&session->multi.later));

    while (reader_left(&commands) > 0 && !commands.bad) {
        show_queued(thread, session, &commands, &later);
    }
}
