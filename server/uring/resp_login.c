/* AUTH, HELLO with AUTH, and ACL: who the client is (login.h). */
#include <stdio.h>

#include "plane_private.h"
#include "resp_local.h"
#include "run.h"
#include "shard_thread.h"

struct credentials {
    bool given;
    struct bytes user, password;
};

static const char default_user[] = "default";
static const char no_password[] =
    "ERR AUTH <password> called without any password configured for the default user. "
    "Are you sure your configuration is correct?";
static const char wrong[] = "WRONGPASS invalid username-password pair or user is disabled.";

/* ---- Logging in ---- */

/* What a HELLO that is well-formed brings. */
static struct credentials of_hello(struct resp_arguments arguments)
{
    struct credentials credentials = {.given = false};
    struct bytes word;

    (void)resp_next(&arguments, &word);
    while (resp_next(&arguments, &word)) {
        if (run_is(word, "auth") && arguments.count >= 2) {
            credentials.given = true;
            (void)resp_next(&arguments, &credentials.user);
            (void)resp_next(&arguments, &credentials.password);
        } else if (!run_is(word, "setname") || !resp_next(&arguments, &word)) {
            return (struct credentials){.given = false};
        }
    }
    return credentials;
}

static struct credentials of_auth(struct resp_arguments arguments)
{
    struct credentials credentials = {.given = true, .user = bytes_of_string(default_user)};

    if (arguments.count == 2) {
        (void)resp_next(&arguments, &credentials.user);
    }
    (void)resp_next(&arguments, &credentials.password);
    return credentials;
}

/* Where there are no users everybody is the one named default, whose password is any. */
static const char *without_users(const struct command *command, struct resp_arguments arguments,
                                 const struct credentials *credentials)
{
    if (command->local == LOCAL_AUTH && arguments.count == 1) {
        return no_password;
    }
    return bytes_equal(credentials->user, bytes_of_string(default_user)) ? NULL : wrong;
}

/* Returns what is wrong; NULL: the client is who it says. Sets `waits` where that is not known yet. */
static const char *log_in(struct shard_thread *thread, struct connection *connection,
                          const struct credentials *credentials, char text[RESP_DENIED_BYTES],
                          bool *waits)
{
    uint32_t wait_ms = 0;

    switch (login_ask(thread, connection, credentials->user, credentials->password, &wait_ms)) {
    case LOGIN_RIGHT:
        return NULL;
    case LOGIN_LIMITED:
        snprintf(text, RESP_DENIED_BYTES,
                 "ERR too many failed logins from this address; try again in %u s",
                 (wait_ms + 999) / 1000);
        return text;
    case LOGIN_BUSY:
        return "BUSY too many logins wait to be checked; try again";
    case LOGIN_PENDING:
        *waits = true;
        return NULL;
    case LOGIN_WRONG:
        break;
    }
    return wrong;
}

void resp_login(struct shard_thread *thread, struct connection *connection, uint64_t number,
                const struct command *command, struct bytes array, struct bytes whole)
{
    struct resp_arguments arguments = resp_arguments(array);
    char text[RESP_DENIED_BYTES];
    struct bytes name;
    bool waits = false;

    (void)resp_next(&arguments, &name);
    if (command->local == LOCAL_AUTH && arguments.count > 2) {
        resp_reply_error(thread, connection, number, run_syntax);
        return;
    }
    const struct credentials credentials =
        command->local == LOCAL_AUTH ? of_auth(arguments) : of_hello(arguments);
    const char *error = !credentials.given ? NULL
                        : thread->plane->options.users == NULL
                            ? without_users(command, arguments, &credentials)
                            : log_in(thread, connection, &credentials, text, &waits);
    if (waits) {
        resp_put_off(thread, connection, number, whole);
    } else if (error != NULL) {
        resp_reply_error(thread, connection, number, error);
    } else if (command->local == LOCAL_AUTH) {
        resp_reply_ok(thread, connection, number, "OK");
    } else {
        resp_own(thread, connection, number, command, array);
    }
}

/* ---- ACL ---- */

/* As Redis shows a user, but without the hashes of his passwords. Returns 0 or -ENOMEM. */
static int put_rule(const struct resp_out *out, const struct user *user)
{
    char line[USER_GRANTS_MAX * (2 * USER_PREFIX_BYTES_MAX + 16) + 128];
    enum role most = ROLE_READ;
    size_t size = (size_t)snprintf(line, sizeof line, "user %s on", user->name);

    for (uint32_t i = 0; i < user->grant_count; i++) {
        const struct grant *grant = &user->grants[i];
        int prefix = (int)grant->prefix_size;
        size += (size_t)snprintf(line + size, sizeof line - size, " %s~%.*s* &%.*s*",
                                 grant->role == ROLE_READ ? "%R" : "", prefix, grant->prefix,
                                 prefix, grant->prefix);
        bool all = grant->prefix_size == 0;
        most = grant->role == ROLE_WRITE && most == ROLE_READ ? ROLE_WRITE : most;
        most = grant->role == ROLE_ADMIN ? (all ? ROLE_ADMIN : ROLE_WRITE) : most;
    }
    snprintf(line + size, sizeof line - size, " %s",
             user->grant_count == 0 ? "-@all +@connection"
             : most == ROLE_ADMIN   ? "+@all"
             : most == ROLE_WRITE   ? "+@all -@admin"
                                    : "+@all -@admin -@write");
    return resp_text(out, line);
}

static int acl_list(const struct local *local, bool names)
{
    struct roster *users = local->thread->plane->options.users;
    const struct user *rows[USERS_MAX];
    const struct resp_out *out = local->out;

    if (users == NULL) {
        int rc = resp_array(out, 1);
        return rc != 0
                   ? rc
                   : resp_text(out, names ? default_user : "user default on nopass ~* &* +@all");
    }
    const uint32_t count = roster_list(users, rows);
    int rc = resp_array(out, count);
    for (uint32_t i = 0; rc == 0 && i < count; i++) {
        rc = names ? resp_text(out, rows[i]->name) : put_rule(out, rows[i]);
    }
    return rc;
}

int local_acl(struct local *local)
{
    const struct user *user = local->connection->user;
    struct bytes sub = local_next(local);
    bool list = run_is(sub, "list"), users = run_is(sub, "users");
    char text[96];

    if (!list && !users && !run_is(sub, "whoami")) {
        return local_unknown_sub(local, sub);
    }
    if (local->rest.count > 0) {
        return local_arity_error(local, list ? "list" : users ? "users" : "whoami");
    }
    if (!list && !users) {
        return resp_text(local->out, user == NULL ? default_user : user->name);
    }
    if (!login_may(local->thread, local->connection, ROLE_ADMIN, bytes_of(NULL, 0))) {
        snprintf(text, sizeof text,
                 "NOPERM this user has no permissions to run the 'acl|%s' command",
                 list ? "list" : "users");
        return resp_error(local->out, text);
    }
    return acl_list(local, users);
}
