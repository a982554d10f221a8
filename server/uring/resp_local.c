/* The RESP door's own commands about the connection, the commands and scripts. */
#include "resp_local.h"

#include <stdio.h>
#include <string.h>

#include "exec.h"
#include "plane_private.h"
#include "resp_cluster.h"
#include "run.h"
#include "shard_thread.h"

struct bytes local_next(struct local *local)
{
    struct bytes argument = bytes_of(NULL, 0);

    (void)resp_next(&local->rest, &argument);
    return argument;
}

int local_ok(const struct local *local)
{
    return resp_simple(local->out, "OK");
}

int local_arity_error(const struct local *local, const char *sub)
{
    char text[96];

    local->thread->unseen = true;
    snprintf(text, sizeof text, "ERR wrong number of arguments for '%s%s%s' command",
             local->command->name, sub == NULL ? "" : "|", sub == NULL ? "" : sub);
    return resp_error(local->out, text);
}

void local_upper(const char *name, char upper[LOCAL_NAME_BYTES])
{
    size_t i;

    for (i = 0; name[i] != '\0' && i + 1 < LOCAL_NAME_BYTES; i++) {
        upper[i] = name[i] >= 'a' && name[i] <= 'z' ? (char)(name[i] - ('a' - 'A')) : name[i];
    }
    upper[i] = '\0';
}

int local_unknown_sub(const struct local *local, struct bytes sub)
{
    char text[256], name[LOCAL_NAME_BYTES];

    if (run_is(sub, "help") && local->rest.count == 0 && local_has_help(local->command)) {
        return local_help(local);
    }
    local->thread->unseen = true;
    local_upper(local->command->name, name);
    snprintf(text, sizeof text, "ERR unknown subcommand '%.*s'. Try %s HELP.",
             (int)(sub.size < 128 ? sub.size : 128), (const char *)sub.data, name);
    return resp_error(local->out, text);
}

/* ---- The connection ---- */

static int keyless(const struct local *local)
{
    const struct plane_options *options = &local->thread->plane->options;

    return exec_keyless(local->command, local->rest, options->now_ms(options->clock), local->out);
}

static int ping(struct local *local)
{
    if (local->rest.count > 1) {
        return local_arity_error(local, NULL);
    }
    if (resp_is_subscribed(local->session)) {
        int rc = resp_array(local->out, 2);
        rc = rc != 0 ? rc : resp_text(local->out, "pong");
        return rc != 0 ? rc : resp_bulk(local->out, local_next(local));
    }
    return keyless(local);
}

static int select_database(struct local *local)
{
    int64_t number;

    if (!resp_integer(local_next(local), &number)) {
        return resp_error(local->out, run_not_integer);
    }
    if (number < 0 || number >= RESP_DATABASES) {
        return resp_error(local->out, "ERR DB index is out of range");
    }
    local->session->database = (uint32_t)number;
    return local_ok(local);
}

/* Of names of connections and libraries: printable, without blanks. */
static bool take_name(struct bytes from, char to[RESP_NAME_BYTES_MAX + 1])
{
    for (size_t i = 0; i < from.size; i++) {
        if (from.data[i] < '!' || from.data[i] > '~') {
            return false;
        }
    }
    size_t size = from.size < RESP_NAME_BYTES_MAX ? from.size : RESP_NAME_BYTES_MAX;
    if (size > 0) {
        memcpy(to, from.data, size);
    }
    to[size] = '\0';
    return true;
}

static const char bad_name[] =
    "ERR Client names cannot contain spaces, newlines or special characters.";
static const char not_logged_in[] =
    "NOAUTH HELLO must be called with the client already authenticated, otherwise the HELLO AUTH "
    "<user> <pass> option can be used to authenticate the client and select the RESP protocol "
    "version at the same time";

static int hello(struct local *local)
{
    struct resp_session *session = local->session;
    const struct plane_options *options = &local->thread->plane->options;
    int64_t version = session->resp3 ? 3 : 2;
    char name[RESP_NAME_BYTES_MAX + 1] = {0};
    bool named = false;

    if (local->rest.count > 0 && !resp_integer(local_next(local), &version)) {
        return resp_error(local->out, "ERR Protocol version is not an integer or out of range");
    }
    if (version != 2 && version != 3) {
        return resp_error(local->out, "NOPROTO unsupported protocol version");
    }
    while (local->rest.count > 0) {
        struct bytes word = local_next(local);
        if (run_is(word, "auth") && local->rest.count >= 2) {
            (void)local_next(local); /* resp_login.c has looked at them. */
            (void)local_next(local);
        } else if (run_is(word, "setname") && local->rest.count >= 1) {
            if (!take_name(local_next(local), name)) {
                return resp_error(local->out, bad_name);
            }
            named = true;
        } else {
            char text[96];
            snprintf(text, sizeof text, "ERR Syntax error in HELLO option '%.*s'",
                     (int)(word.size < 48 ? word.size : 48), (const char *)word.data);
            return resp_error(local->out, text);
        }
    }
    if (login_is_wanted(local->thread, local->connection)) {
        return resp_error(local->out, not_logged_in);
    }
    session->resp3 = version == 3;
    if (named) {
        memcpy(session->name, name, sizeof name);
    }
    const struct resp_out out = {.buffer = local->out->buffer, .resp3 = session->resp3};
    int rc = resp_map(&out, 8);
    rc = rc != 0 ? rc : resp_text(&out, "server");
    rc = rc != 0 ? rc : resp_text(&out, "belay");
    rc = rc != 0 ? rc : resp_text(&out, "version");
    rc = rc != 0 ? rc : resp_text(&out, REDIS_VERSION);
    rc = rc != 0 ? rc : resp_text(&out, "proto");
    rc = rc != 0 ? rc : resp_number(&out, version);
    rc = rc != 0 ? rc : resp_text(&out, "id");
    rc = rc != 0 ? rc : resp_number(&out, (int64_t)session->id);
    rc = rc != 0 ? rc : resp_text(&out, "mode");
    rc = rc != 0 ? rc : resp_text(&out, local->connection->redirects ? "cluster" : "standalone");
    rc = rc != 0 ? rc : resp_text(&out, "role");
    rc = rc != 0 ? rc : resp_text(&out, "master");
    rc = rc != 0 ? rc : resp_text(&out, "node");
    rc = rc != 0 ? rc : resp_text(&out, options->node_name);
    rc = rc != 0 ? rc : resp_text(&out, "modules");
    return rc != 0 ? rc : resp_array(&out, 0);
}

/* What was shown before is given before MONITOR ends. */
static void watched_enough(const struct local *local)
{
    if (local->session->monitors) {
        resp_monitor_turn(local->thread);
        resp_monitor_leave(local->thread, local->session);
    }
}

static int reset(struct local *local)
{
    struct resp_session *session = local->session;

    watched_enough(local);
    session->database = 0;
    session->silent_now = session->silent_now && !session->silent; /* SKIP holds for it, too. */
    session->resp3 = session->silent = session->reads_copies = false;
    session->name[0] = '\0';
    local->connection->user = NULL;
    resp_multi_clear(local->thread, &session->multi);
    pubsub_leave(&local->thread->plane->pubsub, &session->subscriber);
    return resp_simple(local->out, "RESET");
}

static int client_reply(struct local *local)
{
    struct resp_session *session = local->session;
    struct bytes word = local_next(local);

    if (run_is(word, "on")) {
        session->silent = session->silent_now = false;
        return local_ok(local);
    }
    if (run_is(word, "off")) {
        session->silent = session->silent_now = true;
        return 0;
    }
    if (run_is(word, "skip")) {
        session->silent_next = session->silent_now = true;
        return 0;
    }
    return resp_error(local->out, run_syntax);
}

static int client_info(const struct local *local)
{
    const struct resp_session *session = local->session;
    char text[512];

    snprintf(text, sizeof text, "id=%llu name=%s db=%u resp=%d lib-name=%s lib-ver=%s\n",
             (unsigned long long)session->id, session->name, session->database,
             session->resp3 ? 3 : 2, session->library, session->library_version);
    return resp_verbatim(local->out, bytes_of_string(text));
}

static int client_set_info(struct local *local)
{
    struct resp_session *session = local->session;
    struct bytes what = local_next(local), value = local_next(local);
    bool name = run_is(what, "lib-name");

    if (!name && !run_is(what, "lib-ver")) {
        char text[128];
        snprintf(text, sizeof text, "ERR Unrecognized option '%.*s'",
                 (int)(what.size < 64 ? what.size : 64), (const char *)what.data);
        return resp_error(local->out, text);
    }
    if (!take_name(value, name ? session->library : session->library_version)) {
        return resp_error(local->out, name ? "ERR lib-name cannot contain spaces, newlines or "
                                             "special characters."
                                           : "ERR lib-ver cannot contain spaces, newlines or "
                                             "special characters.");
    }
    return local_ok(local);
}

static int client(struct local *local)
{
    struct resp_session *session = local->session;
    struct bytes sub = local_next(local);
    uint32_t left = local->rest.count;

    if (run_is(sub, "id") && left == 0) {
        return resp_number(local->out, (int64_t)session->id);
    }
    if (run_is(sub, "getname") && left == 0) {
        return session->name[0] == '\0' ? resp_null(local->out)
                                        : resp_text(local->out, session->name);
    }
    if (run_is(sub, "setname") && left == 1) {
        return take_name(local_next(local), session->name) ? local_ok(local)
                                                           : resp_error(local->out, bad_name);
    }
    if (run_is(sub, "setinfo") && left == 2) {
        return client_set_info(local);
    }
    if (run_is(sub, "info") && left == 0) {
        return client_info(local);
    }
    if (run_is(sub, "reply") && left == 1) {
        return client_reply(local);
    }
    if ((run_is(sub, "no-evict") || run_is(sub, "no-touch")) && left == 1) {
        struct bytes word = local_next(local);
        return run_is(word, "on") || run_is(word, "off") ? local_ok(local)
                                                         : resp_error(local->out, run_syntax);
    }
    return local_unknown_sub(local, sub);
}

/* ---- The commands ---- */

static int put_flags(const struct resp_out *out, const struct command *command)
{
    static const struct {
        uint32_t flag;
        const char *name;
    } names[] = {
        {COMMAND_WRITE, "write"},   {COMMAND_READ, "readonly"}, {COMMAND_FAST, "fast"},
        {COMMAND_MAKES, "denyoom"}, {COMMAND_ADMIN, "admin"},   {COMMAND_NO_AUTH, "no_auth"},
    };
    enum { NAMES = sizeof names / sizeof names[0] };
    uint32_t count = 0;

    for (size_t i = 0; i < NAMES; i++) {
        count += (command->flags & names[i].flag) != 0;
    }
    int rc = resp_set(out, count);
    for (size_t i = 0; rc == 0 && i < NAMES; i++) {
        rc = (command->flags & names[i].flag) != 0 ? resp_simple(out, names[i].name) : 0;
    }
    return rc;
}

static int put_command(const struct resp_out *out, const struct command *command)
{
    char group[32];

    snprintf(group, sizeof group, "@%s", command->group);
    int rc = resp_array(out, 10);
    rc = rc != 0 ? rc : resp_text(out, command->name);
    rc = rc != 0 ? rc : resp_number(out, command->arity);
    rc = rc != 0 ? rc : put_flags(out, command);
    rc = rc != 0 ? rc : resp_number(out, command->first_key);
    rc = rc != 0 ? rc : resp_number(out, command->last_key);
    rc = rc != 0 ? rc : resp_number(out, command->key_step);
    rc = rc != 0 ? rc : resp_set(out, 1);
    rc = rc != 0 ? rc : resp_simple(out, group);
    for (int i = 0; i < 3; i++) { /* Tips, key specifications, subcommands. */
        rc = rc != 0 ? rc : resp_array(out, 0);
    }
    return rc;
}

static int put_document(const struct resp_out *out, const struct command *command)
{
    int rc = resp_text(out, command->name);

    rc = rc != 0 ? rc : resp_map(out, 3);
    rc = rc != 0 ? rc : resp_text(out, "summary");
    rc = rc != 0 ? rc : resp_text(out, command->summary);
    rc = rc != 0 ? rc : resp_text(out, "since");
    rc = rc != 0 ? rc : resp_text(out, command->since);
    rc = rc != 0 ? rc : resp_text(out, "group");
    return rc != 0 ? rc : resp_text(out, command->group);
}

static int put_name(const struct resp_out *out, const struct command *command)
{
    return resp_text(out, command->name);
}

static int put_commands(const struct resp_out *out,
                        int (*put)(const struct resp_out *out, const struct command *command))
{
    int rc = 0;

    for (uint32_t i = 0; rc == 0 && i < command_count(); i++) {
        rc = put(out, command_at(i));
    }
    return rc;
}

static int command_info(struct local *local)
{
    int rc = resp_array(local->out, local->rest.count);

    while (rc == 0 && local->rest.count > 0) {
        const struct command *command = command_find(local_next(local));
        rc = command == NULL ? resp_null(local->out) : put_command(local->out, command);
    }
    return rc;
}

static int command_docs(struct local *local)
{
    struct resp_arguments names = local->rest;
    struct bytes name;
    uint32_t found = 0;

    if (names.count == 0) {
        int rc = resp_map(local->out, command_count());
        return rc != 0 ? rc : put_commands(local->out, put_document);
    }
    while (resp_next(&names, &name)) {
        found += command_find(name) != NULL;
    }
    int rc = resp_map(local->out, found);
    while (rc == 0 && local->rest.count > 0) {
        const struct command *command = command_find(local_next(local));
        rc = command == NULL ? 0 : put_document(local->out, command);
    }
    return rc;
}

static int command(struct local *local)
{
    bool bare = local->rest.count == 0;
    struct bytes sub = local_next(local);

    if (bare || (run_is(sub, "info") && local->rest.count == 0)) {
        int rc = resp_array(local->out, command_count());
        return rc != 0 ? rc : put_commands(local->out, put_command);
    }
    if (run_is(sub, "count") && local->rest.count == 0) {
        return resp_number(local->out, command_count());
    }
    if (run_is(sub, "list") && local->rest.count == 0) {
        int rc = resp_array(local->out, command_count());
        return rc != 0 ? rc : put_commands(local->out, put_name);
    }
    if (run_is(sub, "info")) {
        return command_info(local);
    }
    if (run_is(sub, "docs")) {
        return command_docs(local);
    }
    return local_unknown_sub(local, sub);
}

/* ---- Scripts ---- */

static int script_load(struct local *local)
{
    struct bytes text = local_next(local);
    const struct command *found = script_of_text(text);
    char sha1[SCRIPT_SHA1_BYTES + 1], error[256];

    script_sha1(text, sha1);
    if (found == NULL) {
        snprintf(error, sizeof error, SCRIPT_UNKNOWN, sha1);
        return resp_error(local->out, error);
    }
    script_learn(&local->thread->plane->scripts, sha1, found);
    return resp_text(local->out, sha1);
}

static int script(struct local *local)
{
    struct scripts *scripts = &local->thread->plane->scripts;
    struct bytes sub = local_next(local);

    if (run_is(sub, "load") && local->rest.count == 1) {
        return script_load(local);
    }
    if (run_is(sub, "exists") && local->rest.count >= 1) {
        int rc = resp_array(local->out, local->rest.count);
        while (rc == 0 && local->rest.count > 0) {
            rc = resp_number(local->out, script_known(scripts, local_next(local)) != NULL);
        }
        return rc;
    }
    if (run_is(sub, "flush") && local->rest.count <= 1) {
        script_forget(scripts);
        return local_ok(local);
    }
    return local_unknown_sub(local, sub);
}

/* ASKING, READONLY, READWRITE. */
static int ask_copies(struct local *local)
{
    if (!local->connection->redirects) {
        return resp_error(local->out, "ERR This instance has cluster support disabled");
    }
    if (local->command->local != LOCAL_ASKING) {
        local->session->reads_copies = local->command->local == LOCAL_READONLY;
    }
    return local_ok(local);
}

int resp_local(struct shard_thread *thread, struct connection *connection,
               const struct command *command_, struct resp_arguments arguments,
               const struct resp_out *out, bool *ends)
{
    struct local local = {
        .thread = thread,
        .connection = connection,
        .session = connection->resp,
        .command = command_,
        .rest = arguments,
        .out = out,
        .ends = ends,
    };

    switch ((enum command_local)command_->local) {
    case LOCAL_ASKING:
    case LOCAL_READONLY:
    case LOCAL_READWRITE:
        return ask_copies(&local);
    case LOCAL_ACL:
        return local_acl(&local);
    case LOCAL_CLIENT:
        return client(&local);
    case LOCAL_CLUSTER:
        return local_cluster(&local);
    case LOCAL_COMMAND:
        return command(&local);
    case LOCAL_CONFIG:
        return local_config(&local);
    case LOCAL_ECHO:
    case LOCAL_TIME:
        return keyless(&local);
    case LOCAL_HELLO:
        return hello(&local);
    case LOCAL_INFO:
        return local_info(&local);
    case LOCAL_PING:
        return ping(&local);
    case LOCAL_PUBSUB:
        return local_pubsub(&local);
    case LOCAL_QUIT:
        watched_enough(&local);
        *ends = true;
        return local_ok(&local);
    case LOCAL_RESET:
        return reset(&local);
    case LOCAL_ROLE:
        return local_role(&local);
    case LOCAL_SCRIPT:
        return script(&local);
    case LOCAL_SELECT:
        return select_database(&local);
    case LOCAL_SLOWLOG:
        return local_slowlog(&local);
    case LOCAL_AUTH:
    case LOCAL_DBSIZE:
    case LOCAL_DISCARD:
    case LOCAL_EVAL:
    case LOCAL_EVALSHA:
    case LOCAL_EXEC:
    case LOCAL_FLUSHALL:
    case LOCAL_FLUSHDB:
    case LOCAL_KEYS:
    case LOCAL_MONITOR:
    case LOCAL_MULTI:
    case LOCAL_PSUBSCRIBE:
    case LOCAL_PUBLISH:
    case LOCAL_PUNSUBSCRIBE:
    case LOCAL_SCAN:
    case LOCAL_SUBSCRIBE:
    case LOCAL_UNSUBSCRIBE:
    case LOCAL_UNWATCH:
    case LOCAL_WATCH:
        break;       /* They do not come here. */
    case LOCAL_NONE: /* OBJECT and MEMORY without a key. */
        return local_unknown_sub(&local, local_next(&local));
    }
    return resp_error(out, "ERR unknown command");
}
