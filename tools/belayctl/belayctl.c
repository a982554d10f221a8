/* belayctl: the table of commands, and finding the one that is meant. */
#include <signal.h>
#include <stdlib.h>
#include <string.h>

#include "archive.h"
#include "nearest.h"
#include "streams.h"

enum { COMMAND_BYTES = 256 };

const struct command commands[] = {
    {"status", "", "How the server is: sessions, requests, log, shards", "", status_run},
    {"session get", "KEY [FIELD...]", "Show a session, or some of its fields",
     "  --meta      all but its value\n"
     "  --siblings  all values of fields written concurrently, the newest first\n"
     "  --raw       the bytes of a blob or of one field, and nothing else\n"
     "\n"
     "Looking does not count as an access: the idle deadline stays.\n",
     session_get_run},
    {"session put", "KEY [VALUE | - | NAME=VALUE...]", "Write a session, beginning it if needed",
     "A plain VALUE makes a blob, - reads it from the standard input, NAME=VALUE... sets fields "
     "of\n"
     "a map.\n"
     "\n"
     "  --type TYPE         blob, map, set (operands are MEMBER...) or zset (MEMBER=SCORE...)\n"
     "  --create            only if there is no such session\n"
     "  --update            only if there is one\n"
     "  --if-version HEX    only if it is at that version (session get shows it)\n"
     "  --replace           remove all present fields first\n"
     "  --delete NAME       remove a field or member; may come again\n"
     "  --add NAME=NUMBER   add to a number; may come again\n"
     "  --ttl DURATION      it ends so long from now\n"
     "  --idle DURATION     it ends after so long without access\n"
     "  --persist           remove both deadlines\n"
     "  --owner NAME        whose it is; empty: nobody's\n"
     "  --ack LEVEL         how safe before it is answered: memory, replica, disk or archive\n",
     session_put_run},
    {"session del", "KEY... | --prefix TEXT", "End sessions",
     "  --prefix TEXT  all whose keys begin so: how many these are is said\n"
     "  --force        and they are ended\n"
     "\n"
     "There may be any number of keys.\n",
     session_del_run},
    {"session touch", "KEY...", "Count as an access: the idle deadline slides", "",
     session_touch_run},
    {"session inspect", "KEY", "Show everything that the server stores of a session, as JSON",
     "Of the first owner that has it; in `copies` each owner's, and in what it differs from the "
     "first. Users\n"
     "without admin = \"\": the copy of the server that is asked.\n",
     session_inspect_run},
    {"session where", "KEY", "Show which nodes have a session", "", session_where_run},
    {"session list", "", "List keys, in no order",
     "  --prefix TEXT  only keys that begin so\n"
     "  --type TYPE    only blob, map, set or zset\n"
     "  --limit N      at most so many; 0, the default: all\n",
     session_list_run},
    {"node list", "", "Show the nodes of the cluster: state, slots, links", "", node_list_run},
    {"node remove", "NODE", "Take a node out of the cluster",
     "  --force  also where nobody else has some of its sessions: they are lost\n"
     "\n"
     "NODE is its name or number. One that serves gives its sessions to others first, which takes "
     "its time;\n"
     "when that is interrupted it stays draining, and the same command goes on. A node that is "
     "down is\n"
     "taken out at once, and may not come back with what it has.\n",
     node_remove_run},
    {"node drain", "NODE", "Let a node give all that it has to the others",
     "  --wait    until it has, with its progress; else it goes on by itself\n"
     "  --cancel  take that back: it keeps what it still has, and gets its slots again\n"
     "\n"
     "It serves meanwhile. Then it has left: it may be stopped, or taken out (node remove), and as "
     "long as it\n"
     "runs it passes on what it is asked. NODE is its name or number.\n",
     node_drain_run},
    {"node weight", "NODE WEIGHT", "Change how much of the sessions a node takes",
     "  --over DURATION  by and by, in so long: its slots move evenly\n"
     "\n"
     "Weights are relative to those of the others, from 0 to 1000000; with 0 it takes none, and "
     "stays ready.\n"
     "The cluster goes on with it by itself, whoever leads. NODE is its name or number.\n",
     node_weight_run},
    {"node activate", "NODE",
     "Bring in a node that has no slots: one that was kept ready, or drained",
     "  --over DURATION  by and by, in so long: its slots move evenly\n"
     "  --weight WEIGHT  else what it had, or where that is 0 what the others have in the mean\n"
     "\n"
     "A node is kept ready with belayd --join TOKEN --set node.weight=0.\n",
     node_activate_run},
    {"node degrade", "NODE", "Let other nodes begin the sessions of a node",
     "It goes on to serve what it has. Sessions that begin in its slots are begun by the next "
     "owner, "
     "and\n"
     "copied to it. NODE is its name or number.\n",
     node_degrade_run},
    {"node undegrade", "NODE", "Let a degraded node begin sessions again", "", node_undegrade_run},
    {"rebalance", "--by load", "Change the weights of nodes so that all are loaded alike",
     "  --by load           by processor time and memory, whichever a node has less of\n"
     "  --dry-run           only say what would change\n"
     "  --every DURATION    again and again, so long after the last time\n"
     "  --over DURATION     the weights go there by and by, in so long: 30s\n"
     "  --measure DURATION  processor time is measured for so long: 10s\n"
     "\n"
     "Of all nodes with sessions, at their addresses for clients. A weight changes by a quarter at "
     "most at a\n"
     "time, and none while no node has a tenth more than it would have in balance, or anything "
     "moves.\n",
     rebalance_run},
    {"cluster restart-check", "[NODE]", "Tell whether a node may be restarted now, or this one",
     "  --wait  until it may\n"
     "\n"
     "It may while all nodes are up and have all that they are to have, nothing moves, and each "
     "session has a\n"
     "copy on another node. Else the reasons are told, and the exit code is 1. All nodes are "
     "asked, "
     "at their\n"
     "addresses for clients.\n",
     restart_check_run},
    {"cluster replicas", "NUMBER", "Change how many nodes have each session, from 1 to 5",
     "Copies are made, or go, while all is served. With fewer nodes than that each has all.\n",
     cluster_replicas_run},
    {"join-token", "", "Print what a new node enters the cluster with: belayd --join TOKEN",
     "It has the secret of the cluster: keep it like a password.\n", join_token_run},
    {"ring", "", "Show whose the slots are",
     "  --svg FILE  draw it: a circle for each copy, the primaries outermost\n", ring_run},
    {"slot", "NUMBER", "Show which nodes have a slot", "", slot_run},
    {"policy list", "", "Show the policies of the cluster", "", policy_list_run},
    {"policy set", "PREFIX KEY=VALUE...", "Change the policy of a prefix, or make one",
     "Keys are those of a [policy] section of belayd.conf. One that is not given stays, or has its "
     "default.\n"
     "It holds on all nodes, at once, and stays. But a node that is alone takes the [policy] "
     "sections "
     "of its\n"
     "belayd.conf again once these have changed: have it there, too.\n",
     policy_set_run},
    {"policy rm", "PREFIX", "Remove the policy of a prefix; that of \"\" gets its defaults", "",
     policy_rm_run},
    {"config get", "[KEY]", "Show the configuration in force, or the value of one key",
     "KEY is SECTION.KEY as in belayd.conf, or policy.PREFIX.KEY. Policies are those of the "
     "cluster. All of it is\n"
     "a belayd.conf, in which users are comments: their passwords are not told.\n",
     config_get_run},
    {"archive status", "", "Show how far the archive has what the node has",
     "Of the node that is asked: what is not archived yet, how old that is, and why the archive "
     "was away.\n",
     archive_status_run},
    {"archive give-up", "", "Serve lost slots without what the archive has of them",
     "  --force  what has not come back of them is gone for good then\n"
     "\n"
     "For where the archive is gone, or its owner has none. Without --force it only says how many "
     "slots are\n"
     "lost. Slots that came back are not touched.\n",
     archive_give_up_run},
    {"log dump", "FILE", "Show a segment of the log or its staging, record by record",
     "A line for each record, and for what is damaged or torn. The server may be running.\n",
     log_dump_run},
    {"data dump", "DIR", "Show a data directory: its shards, their log and checkpointed sessions",
     "The server must be stopped. Nothing is changed.\n", data_dump_run},
    {"archive cat", "FILE | URL NAME", "Show an object of the archive, record by record",
     "A line for what its index says, for each record, and for what is damaged. FILE is a copy of "
     "the\n"
     "object. NAME is as archive verify says it, or as archive ls does: log/3.1/10 of node 3's "
     "first\n"
     "life, checkpoint/3.1/2/0 (a part), checkpoint/3.1/2/done; without CLUSTER/ it is one of\n"
     "--cluster.\n"
     "\n" ARCHIVE_OPTIONS_HELP,
     archive_cat_run},
    {"archive ls", "URL", "Show what an archive has: clusters, logs, checkpoints",
     "URL is s3://BUCKET/PREFIX or file:///DIR, as archive.url in belayd.conf. No server is "
     "asked.\n"
     "\n" ARCHIVE_OPTIONS_HELP,
     archive_ls_run},
    {"archive verify", "URL", "Check every byte of an archive, and that nothing of it is missing",
     "Reads all of it. What is damaged or missing is named; then the exit code is 1. No server is "
     "asked.\n"
     "\n" ARCHIVE_OPTIONS_HELP,
     archive_verify_run},
    {"archive restore", "--from URL",
     "Bring back a cluster from its archive, or some sessions as they were",
     "  --from URL               where it is: s3://BUCKET/PREFIX or file:///DIR\n"
     "All of it, into an empty cluster that runs, of any size:\n"
     "  --as-of TIME             as it was then; else all there is\n"
     "  --state FILE             keeps how far it is, so that it goes on when it is run again; "
     "else\n"
     "                           belay-restore-... in this directory, which goes at the end\n"
     "  --force                  also into a cluster that has sessions: both are merged\n"
     "One session or some, as new writes, into a cluster that lives on:\n"
     "  --session ID             this one, with --as-of\n"
     "  --prefix TEXT            those whose keys begin so, with --as-of\n"
     "  --undelete               also those that have ended since, or are not there\n"
     "  --dry-run                only say what would be done\n"
     "  --output FILE            into a file (-: here), a line of JSON for each, in place of the "
     "cluster\n"
     "\n" ARCHIVE_OPTIONS_HELP "\n"
     "TIME is as 2026-01-31T12:00:00Z, @MS since 1970, or how long ago, as 30m. Users need admin = "
     "\"\" to restore "
     "all.\n"
     "What is damaged or missing is named, the rest is restored, and the exit code is 1. Idle "
     "clocks begin anew.\n",
     archive_restore_run},
    {"archive forget", "URL --older-than DURATION",
     "Remove what restores as of later times do not need",
     "  --older-than DURATION    restores as of times longer ago may need what goes\n"
     "  --dry-run                only say what would go\n" ARCHIVE_OPTIONS_HELP "\n"
     "A restore as of any time since then gives what it gave before; older ones may not. No server "
     "is "
     "asked.\n",
     archive_forget_run},
    {"import", "redis://[user:password@]HOST:PORT[/DB]",
     "Copy the sessions of a Redis that runs, with their deadlines",
     "  --match PATTERN  only keys that match it, as in SCAN\n"
     "\n"
     "Strings, hashes, sets and sorted sets; all else is counted, named and left. What Redis has "
     "wins.\n"
     "It may be run again, also after it was interrupted. At the end a sample is read from both "
     "sides.\n"
     "The password may stand in REDISCLI_AUTH. DB n is what SELECT n shows of Belay.\n",
     import_run},
    {"password", "", "Make the hash of a user's password, for belayd.conf",
     "Asks for it, or reads a line of the standard input, and prints an Argon2id hash: the value "
     "of\n"
     "`password` in a [user \"NAME\"] section. No server is asked.\n",
     password_run},
    {"completion bash", "", "Print what bash needs to complete command lines",
     "For this shell:  source <(belayctl completion bash)\n", completion_bash_run},
};

const size_t command_count = sizeof commands / sizeof commands[0];

static void print_commands(FILE *to)
{
    fputs("belayctl [-s HOST:PORT] [--json] COMMAND [OPERAND...]\n\n", to);
    for (size_t i = 0; i < command_count; i++) {
        fprintf(to, "  %-21s %s\n", commands[i].words, commands[i].summary);
    }
    fputs("\nbelayctl COMMAND --help tells more. The server is -s, else BELAY_SERVER, else "
          "127.0.0.1:7400.\n"
          "Where it has users: BELAY_USER, and its password in the first line of "
          "BELAY_PASSWORD_FILE.\n"
          "Exit codes: 0 done, 1 refused or absent, 2 usage, 3 server not reached.\n",
          to);
}

/* Does the command line begin with the words of this command? Returns how many words, or 0. */
static int words_match(const char *words, int argc, char **argv)
{
    int count = 0;

    while (*words != '\0') {
        size_t size = strcspn(words, " ");
        if (count == argc || strlen(argv[count]) != size || memcmp(argv[count], words, size) != 0) {
            return 0;
        }
        count++;
        words += size;
        words += *words == ' ';
    }
    return count;
}

/* Is the next word the value of this option? */
static bool takes_next(const char *option)
{
    return strcmp(option, "-s") == 0 || strcmp(option, "--server") == 0 ||
           strcmp(option, "--timeout") == 0;
}

/* Options before the command: move `argv` past them, remembering them for it. */
static int leading_options(int argc, char **argv, bool *help)
{
    int at = 0;

    while (at < argc && argv[at][0] == '-') {
        if (strcmp(argv[at], "--help") == 0 || strcmp(argv[at], "-h") == 0) {
            *help = true;
        }
        at += takes_next(argv[at]) && at + 1 < argc ? 2 : 1;
    }
    return at;
}

/* Of the options before the command the first that is none which all commands take; NULL: there is none. */
static const char *unknown_option(int leading, char **argv)
{
    for (int at = 0; at < leading; at += takes_next(argv[at]) ? 2 : 1) {
        if (!takes_next(argv[at]) && strncmp(argv[at], "--server=", 9) != 0 &&
            strncmp(argv[at], "--timeout=", 10) != 0 && strcmp(argv[at], "--json") != 0 &&
            strcmp(argv[at], "--help") != 0 && strcmp(argv[at], "-h") != 0) {
            return argv[at];
        }
    }
    return NULL;
}

/* Say that there is no such command, and which one may be meant. `second`: NULL where there was no second word. */
static void print_unknown(const char *word, const char *second)
{
    const char *meant = NULL, *meant_by = "";
    size_t least = SIZE_MAX;
    char both[COMMAND_BYTES];

    snprintf(both, sizeof both, "%s %s", word, second == NULL ? "" : second);
    for (size_t i = 0; i < command_count; i++) {
        const char *written = strchr(commands[i].words, ' ') == NULL ? word : both;
        size_t distance = nearest_distance(written, commands[i].words);
        if (distance < least) {
            least = distance;
            meant = commands[i].words;
            meant_by = written;
        }
    }
    fprintf(stderr, "belayctl: there is no command %s%s%s", word, second == NULL ? "" : " ",
            second == NULL ? "" : second);
    if (nearest_is_meant(least, meant_by)) {
        fprintf(stderr, "; is %s meant?", meant);
    }
    fputc('\n', stderr);
}

/* The commands that share a first word: "session --help". `second` is none of their second ones; NULL: there was none. */
static int print_group(const char *word, const char *second, bool wanted)
{
    FILE *to = wanted ? stdout : stderr;
    bool found = false;

    for (size_t i = 0; i < command_count; i++) {
        size_t size = strlen(word);
        if (strncmp(commands[i].words, word, size) == 0 && commands[i].words[size] == ' ') {
            if (!found && second != NULL) {
                print_unknown(word, second);
            }
            fprintf(to, "belayctl %s%s%s\n    %s\n", commands[i].words,
                    commands[i].operands[0] == '\0' ? "" : " ", commands[i].operands,
                    commands[i].summary);
            found = true;
        }
    }
    if (!found) {
        print_unknown(word, second);
        fputs("Try: belayctl --help\n", stderr);
    }
    return found && wanted ? CTL_OK : CTL_USAGE;
}

static int run_command(struct ctl *ctl, int argc, char **argv, int leading, int words)
{
    int rest = argc - words;

    /* What is left is the options before the command and all after it, in one list. */
    memmove(argv + leading, argv + leading + words, (size_t)(rest - leading) * sizeof *argv);
    int rc = ctl->command->run(ctl, rest, argv);
    belay_client_destroy(ctl->client);
    return rc;
}

static int no_command(int argc, char **argv, int leading, bool help)
{
    for (int i = leading; i < argc; i++) {
        help = help || strcmp(argv[i], "--help") == 0 || strcmp(argv[i], "-h") == 0;
    }
    const char *unknown = unknown_option(leading, argv);
    if (unknown != NULL && leading < argc) {
        fprintf(stderr,
                "belayctl: unknown option %s before the command; those of a command come after it\n"
                "Try: belayctl --help\n",
                unknown);
        return CTL_USAGE;
    }
    if (leading < argc) {
        const char *second = leading + 1 < argc ? argv[leading + 1] : NULL;
        return print_group(argv[leading], second != NULL && second[0] != '-' ? second : NULL, help);
    }
    if (leading > 0 && strcmp(argv[0], "--version") == 0) {
        puts("belayctl " BELAYCTL_VERSION);
        return CTL_OK;
    }
    print_commands(help ? stdout : stderr);
    return help ? CTL_OK : CTL_USAGE;
}

static int run(int argc, char **argv)
{
    const char *server = getenv("BELAY_SERVER");
    struct ctl ctl = {
        .server = server == NULL || server[0] == '\0' ? "127.0.0.1:7400" : server,
        .timeout_ms = CTL_TIMEOUT_MS,
        .began_ms = ctl_now_ms(),
    };
    bool help = false;

    int leading = leading_options(argc, argv, &help);
    for (size_t i = 0; i < command_count; i++) {
        int words = words_match(commands[i].words, argc - leading, argv + leading);
        if (words > 0) {
            ctl.command = &commands[i];
            return run_command(&ctl, argc, argv, leading, words);
        }
    }
    return no_command(argc, argv, leading, help);
}

int main(int argc, char **argv)
{
    streams_open("belayctl");
    signal(SIGPIPE, SIG_IGN); /* A closed pipe is an error of writing, as a full disk is. */
    return streams_close("belayctl", run(argc - 1, argv + 1));
}
