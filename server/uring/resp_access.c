/* What a client may do at the RESP door, where there are users: checked before a command is looked at, so also of those
 * between MULTI and EXEC. SCAN and KEYS ask for what their pattern begins with, themselves. */
#include <stdio.h>

#include "glob.h"
#include "plane_private.h"
#include "resp_local.h"
#include "run.h"
#include "shard_thread.h"

static const char no_key[] =
    "NOPERM this user has no permissions to access one of the keys used as arguments";
static const char no_channel[] =
    "NOPERM this user has no permissions to access one of the channels used as arguments";

const char *resp_denied_key(const struct shard_thread *thread, const struct connection *connection,
                            enum role role, struct bytes start)
{
    return login_may(thread, connection, role, start) ? NULL : no_key;
}

/* Of `count` keys, from the next argument on, `step` apart; those that are not there are no matter. */
static const char *check_keys(const struct shard_thread *thread,
                              const struct connection *connection, enum role role,
                              struct resp_arguments arguments, uint32_t count, uint32_t step)
{
    const char *error = NULL;
    struct bytes argument;

    for (uint32_t i = 0; error == NULL && i < count && resp_next(&arguments, &argument); i++) {
        if (i % step == 0) {
            error = resp_denied_key(thread, connection, role, argument);
        }
    }
    return error;
}

/* EVAL script number key...: scripts write. */
static const char *check_script(const struct shard_thread *thread,
                                const struct connection *connection,
                                struct resp_arguments arguments)
{
    struct bytes argument;
    int64_t count = 0;

    (void)resp_next(&arguments, &argument);
    (void)resp_next(&arguments, &argument);
    if (!resp_integer(argument, &count) || count < 0 || count > arguments.count) {
        return NULL; /* It will be told what is wrong. */
    }
    return check_keys(thread, connection, ROLE_WRITE, arguments, (uint32_t)count, 1);
}

/* A channel is granted as a key of that name is. Keyspace events anybody may listen to: each gets those of keys that he may
 * read (resp_may_hear()). */
static const char *check_channels(const struct shard_thread *thread,
                                  const struct connection *connection,
                                  const struct command *command, struct resp_arguments arguments)
{
    bool publish = command->local == LOCAL_PUBLISH;
    bool pattern = command->local == LOCAL_PSUBSCRIBE;
    struct bytes name;

    while (resp_next(&arguments, &name)) {
        struct bytes start = pattern ? glob_prefix(name) : name;
        bool events = !publish && bytes_starts_with(start, bytes_of_string("__key"));
        if (!events && !login_may(thread, connection, publish ? ROLE_WRITE : ROLE_READ, start)) {
            return no_channel;
        }
        if (publish) {
            break; /* The rest is the message. */
        }
    }
    return NULL;
}

static const char *no_command(const struct command *command, struct resp_arguments arguments,
                              char text[RESP_DENIED_BYTES])
{
    char name[LOCAL_FULL_NAME_BYTES];

    local_name(command, arguments, name);
    snprintf(text, RESP_DENIED_BYTES, "NOPERM this user has no permissions to run the '%s' command",
             name);
    return text;
}

const char *resp_denied(const struct shard_thread *thread, const struct connection *connection,
                        const struct command *command, struct resp_arguments arguments,
                        char text[RESP_DENIED_BYTES])
{
    if ((command->flags & COMMAND_NO_AUTH) != 0) {
        return NULL;
    }
    const struct user *user = user_now(connection->user);
    if (user == NULL) {
        return command->local == LOCAL_EXEC ? "EXECABORT Transaction discarded because of: NOAUTH "
                                              "Authentication required."
                                            : "NOAUTH Authentication required.";
    }
    if ((command->flags & COMMAND_ADMIN) != 0 && !user_may_all(user, ROLE_ADMIN)) {
        return no_command(command, arguments, text);
    }
    if (command->local == LOCAL_PUBSUB && !user_may_all(user, ROLE_READ)) {
        return no_command(command, arguments, text); /* It tells the names of channels. */
    }
    if (command->local == LOCAL_EVAL || command->local == LOCAL_EVALSHA) {
        return check_script(thread, connection, arguments);
    }
    if (command->local == LOCAL_PUBLISH || command->local == LOCAL_SUBSCRIBE ||
        command->local == LOCAL_PSUBSCRIBE) {
        return check_channels(thread, connection, command, arguments);
    }
    if (command->first_key == 0) {
        return NULL;
    }
    struct bytes skipped;
    for (int i = 1; i < command->first_key; i++) {
        (void)resp_next(&arguments, &skipped);
    }
    uint32_t count =
        command->last_key < 0 ? UINT32_MAX : (uint32_t)(command->last_key - command->first_key + 1);
    return check_keys(thread, connection,
                      (command->flags & COMMAND_WRITE) != 0 ? ROLE_WRITE : ROLE_READ, arguments,
                      count, (uint32_t)command->key_step);
}

bool resp_may_hear(const struct shard_thread *thread, const struct connection *connection,
                   struct bytes channel, struct bytes payload)
{
    static const char keyevent[] = "__keyevent@", keyspace[] = "__keyspace@";
    struct bytes key = payload;

    if (thread->plane->options.users == NULL) {
        return true;
    }
    if (!bytes_starts_with(channel, bytes_of_string("__key"))) {
        key = channel;
    } else if (bytes_starts_with(channel, bytes_of_string(keyspace))) {
        const uint8_t *end = memchr(channel.data, ':', channel.size);
        size_t skipped = end == NULL ? 0 : (size_t)(end - channel.data) + 1;
        key = bytes_of(channel.data + skipped, channel.size - skipped);
    } else if (!bytes_starts_with(channel, bytes_of_string(keyevent))) {
        key = bytes_of(NULL, 0);
    }
    return login_may(thread, connection, ROLE_READ, key);
}
