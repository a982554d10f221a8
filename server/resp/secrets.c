#include "secrets.h"

#include "run.h"

struct secrets secrets_of(const struct command *command, struct bytes array)
{
    return (struct secrets){.command = command, .rest = resp_arguments(array)};
}

static bool is_secret_setting(struct bytes name)
{
    static const char *const names[] = {"masterauth", "masteruser", "requirepass",
                                        "tls-client-key-file-pass", "tls-key-file-pass"};

    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        if (run_is(name, names[i])) {
            return true;
        }
    }
    return false;
}

/* How many of those behind this argument are secrets. */
static uint32_t hidden_behind(const struct secrets *secrets, struct bytes argument)
{
    switch ((enum command_local)secrets->command->local) {
    case LOCAL_AUTH:
        return secrets->rest.count;
    case LOCAL_HELLO:
        return secrets->at >= 2 && run_is(argument, "auth") ? 2 : 0;
    case LOCAL_CONFIG:
        return secrets->at >= 2 && is_secret_setting(argument);
    default:
        return 0;
    }
}

bool secrets_next(struct secrets *secrets, struct bytes *argument)
{
    if (!resp_next(&secrets->rest, argument)) {
        return false;
    }
    if (secrets->hide > 0) {
        secrets->hide--;
        *argument = bytes_of_string("(redacted)");
    } else {
        secrets->hide = hidden_behind(secrets, *argument);
    }
    secrets->at++;
    return true;
}
