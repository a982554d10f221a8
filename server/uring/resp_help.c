/* HELP of the RESP door's commands that have sub-commands: what each takes, as Redis tells it. */
#include "resp_local.h"

#include <stdio.h>

#include "run.h"

struct help {
    const char *command;
    const char *lines[32]; /* A sub-command, then what it does; NULL after the last. */
};

static const struct help helps[] = {
    {"acl",
     {"LIST", "Show the users and what they may do.", "USERS", "Give the names of the users.",
      "WHOAMI", "Give the name of the user that the connection is."}},
    {"client",
     {"GETNAME", "Give the name of the connection.", "ID", "Give the number of the connection.",
      "INFO", "Tell about the connection.", "NO-EVICT (ON|OFF)", "Taken, and without effect.",
      "NO-TOUCH (ON|OFF)", "Taken, and without effect.", "REPLY (ON|OFF|SKIP)",
      "Answer from here on, no more, or not the next command.", "SETINFO <option> <value>",
      "Note LIB-NAME or LIB-VER of the client.", "SETNAME <name>", "Name the connection."}},
    {"cluster",
     {"COUNTKEYSINSLOT <slot>", "Count the keys that this node has of a slot.",
      "GETKEYSINSLOT <slot> <count>", "Give so many of them.", "INFO", "Tell about the cluster.",
      "KEYSLOT <key>", "Give the slot of a key.", "MYID", "Give the id of this node.", "NODES",
      "Tell about the nodes, each with the slots it serves.", "SHARDS", "The same, as maps.",
      "SLOTS", "Tell which node serves which slots; after READONLY also which have copies."}},
    {"command",
     {"(no subcommand)", "Tell about all commands.", "COUNT", "Count the commands.",
      "DOCS [<name> ...]", "Tell what commands do.", "INFO [<name> ...]", "Tell about commands.",
      "LIST", "Give the names of all commands."}},
    {"config",
     {"GET <pattern>", "Give settings and their values.", "SET <name> <value>",
      "Set notify-keyspace-events, slowlog-log-slower-than or slowlog-max-len."}},
    {"memory", {"USAGE <key>", "Tell how many bytes a session takes."}},
    {"object",
     {"ENCODING <key>", "Tell how Redis would keep the value.", "IDLETIME <key>",
      "Tell for how many seconds the session was not used.", "REFCOUNT <key>", "Always 1."}},
    {"pubsub",
     {"CHANNELS [<pattern>]", "Give the channels that somebody listens to.", "NUMPAT",
      "Count the patterns that somebody listens to.", "NUMSUB [<channel> ...]",
      "Count who listens to channels."}},
    {"script",
     {"EXISTS <sha1> [<sha1> ...]", "Tell which scripts are known.", "FLUSH [ASYNC|SYNC]",
      "Forget those that were sent.", "LOAD <script>", "Make a script known."}},
    {"slowlog",
     {"GET [<count>]",
      "Give the newest entries (10; -1: all): id, time, microseconds, arguments, address, name.",
      "LEN", "Count the entries.", "RESET", "Forget them."}},
};

static const struct help *help_of(const char *command)
{
    for (size_t i = 0; i < sizeof helps / sizeof helps[0]; i++) {
        if (run_is(bytes_of_string(command), helps[i].command)) {
            return &helps[i];
        }
    }
    return NULL;
}

static int put_line(const struct resp_out *out, const char *lead, const char *text)
{
    char line[160];

    snprintf(line, sizeof line, "%s%s", lead, text);
    return resp_simple(out, line);
}

bool local_has_help(const struct command *command)
{
    return help_of(command->name) != NULL;
}

void local_name(const struct command *command, struct resp_arguments arguments,
                char name[LOCAL_FULL_NAME_BYTES])
{
    struct bytes sub;

    size_t size = (size_t)snprintf(name, LOCAL_FULL_NAME_BYTES, "%s", command->name);
    if (!local_has_help(command) || !resp_next(&arguments, &sub)) {
        return;
    }
    name[size++] = '|';
    for (size_t i = 0; i < sub.size && size < LOCAL_FULL_NAME_BYTES - 1; i++) {
        uint8_t letter = sub.data[i];
        name[size++] = (char)(letter >= 'A' && letter <= 'Z' ? letter + ('a' - 'A') : letter);
    }
    name[size] = '\0';
}

int local_help(const struct local *local)
{
    static const char rest[] = " <subcommand> [<arg> [value] [opt] ...]. Subcommands are:";
    const struct help *help = help_of(local->command->name);
    char name[LOCAL_NAME_BYTES];
    uint64_t count = 0;

    while (help->lines[count] != NULL) {
        count++;
    }
    local_upper(local->command->name, name);
    int rc = resp_array(local->out, count + 3);
    rc = rc != 0 ? rc : put_line(local->out, name, rest);
    for (uint64_t i = 0; rc == 0 && i < count; i++) {
        rc = put_line(local->out, i % 2 == 0 ? "" : "    ", help->lines[i]);
    }
    rc = rc != 0 ? rc : resp_simple(local->out, "HELP");
    return rc != 0 ? rc : put_line(local->out, "    ", "Print this help.");
}
