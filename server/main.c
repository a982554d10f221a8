/* belayd: options, configuration, and one node's life from start to stop. */
#include <errno.h>
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "config.h"
#include "config_print.h"
#include "machine.h"
#include "metrics.h"
#include "node_join.h"
#include "pages.h"
#include "serve.h"
#include "streams.h"

enum exit_code { EXIT_STOPPED = 0, EXIT_FAILED = 1, EXIT_USAGE = 2, EXIT_REMOVED = 3 };

struct command_line {
    const char *config_file;
    const char **settings; /* Room for one per argument. */
    uint32_t setting_count;
    bool check_config;
    const char *print;
    const char *join;
    const char *lost;
};

static const char help[] =
    "Usage: belayd [--config FILE] [--set SECTION.KEY=VALUE]... [--join TOKEN]\n"
    "       belayd [--config FILE] [--set SECTION.KEY=VALUE]... --force-new-cluster LOST\n"
    "       belayd --check-config [--config FILE] | --print WHAT | --version | --help\n"
    "\n"
    "Runs one node of Belay, a store of live sessions, until SIGTERM or SIGINT. SIGHUP makes it\n"
    "read the [user] sections of its configuration anew.\n"
    "\n"
    "  --config FILE            read the configuration from FILE (belayd.conf(5))\n"
    "  --set SECTION.KEY=VALUE  set one key, over the file; for a policy:\n"
    "                           --set 'policy \"web:\".ack=disk'\n"
    "  --join TOKEN             enter a cluster, with an empty data directory; @FILE reads the "
    "token\n"
    "                           from FILE, as does the environment's BELAY_JOIN_TOKEN. `belayctl\n"
    "                           join-token` prints one. On a node of that cluster it changes "
    "nothing\n"
    "  --force-new-cluster LOST go on without the nodes LOST (names, with commas between), which "
    "are gone\n"
    "                           for good, where those that are left cannot decide any more: what "
    "only\n"
    "                           they had is lost. Once, at one node that is left; none of the lost "
    "may\n"
    "                           run (belayd(8)). '' where the map is lost, of a node alone\n"
    "  --check-config           check the configuration and exit\n"
    "  --print WHAT             print and exit: example (a configuration file with every key), "
    "config\n"
    "                           (what is in force, as JSON), metrics, manual (tables for the "
    "docs)\n"
    "  --version                print the version and exit\n"
    "  --help                   print this and exit\n"
    "\n"
    "Exit status: 0 stopped cleanly, 1 failed, 2 wrong usage or configuration, 3 the node was\n"
    "removed from its cluster, or a copy of its directory runs in its place.\n";

static int usage_error(const char *cause)
{
    fprintf(stderr, "belayd: %s\nbelayd: --help lists the options\n", cause);
    return EXIT_USAGE;
}

/* Returns -1 to go on, or the code to exit with. */
static int parse_arguments(int count, char **arguments, struct command_line *line)
{
    static const struct option options[] = {
        {"config", required_argument, NULL, 'c'},
        {"set", required_argument, NULL, 's'},
        {"check-config", no_argument, NULL, 'C'},
        {"print", required_argument, NULL, 'p'},
        {"version", no_argument, NULL, 'v'},
        {"help", no_argument, NULL, 'h'},
        {"join", required_argument, NULL, 'j'},
        {"force-new-cluster", required_argument, NULL, 'f'},
        {NULL, 0, NULL, 0},
    };
    int option;

    while ((option = getopt_long(count, arguments, "", options, NULL)) != -1) {
        switch (option) {
        case 'c':
            line->config_file = optarg;
            break;
        case 's':
            line->settings[line->setting_count++] = optarg;
            break;
        case 'C':
            line->check_config = true;
            break;
        case 'p':
            line->print = optarg;
            break;
        case 'v':
            puts("belayd " BELAY_VERSION);
            return EXIT_STOPPED;
        case 'h':
            fputs(help, stdout);
            return EXIT_STOPPED;
        case 'j':
            line->join = optarg;
            break;
        case 'f':
            line->lost = optarg;
            break;
        default:
            return usage_error("wrong usage"); /* getopt_long() has said what. */
        }
    }
    return optind == count ? -1 : usage_error("there are no arguments besides options");
}

/* Returns 0, or negative errno with what is wrong in `message`. */
static int load_config(void *context, struct config *config, char *message, size_t message_size)
{
    const struct command_line *line = context;
    struct machine machine;
    int rc = 0;

    config_init(config);
    if (line->config_file != NULL) {
        rc = config_read_file(config, line->config_file, message, message_size);
    }
    for (uint32_t i = 0; i < line->setting_count && rc == 0; i++) {
        rc = config_set(config, line->settings[i], message, message_size);
    }
    if (rc == 0) {
        machine_look(&machine);
        const struct config_machine where = {
            .host_name = machine.host_name,
            .cores = machine.cores,
            .memory_bytes = machine.memory_bytes,
            .open_files = machine.open_files,
        };
        rc = config_finish(config, &where, message, message_size);
    }
    return rc;
}

static int print(const char *what, const struct config *config)
{
    if (strcmp(what, "example") == 0) {
        config_print_example(stdout);
    } else if (strcmp(what, "manual") == 0) {
        config_print_manual(stdout);
    } else if (strcmp(what, "metrics") == 0) {
        metrics_print_help(stdout);
    } else if (strcmp(what, "config") == 0) {
        char *json = config_to_json(config);
        puts(json != NULL ? json : "");
        free(json);
    } else {
        return usage_error("--print: there are example, config, metrics and manual");
    }
    return EXIT_STOPPED;
}

/* From the environment a secret shows in no list of processes. */
static int read_token(const struct command_line *line, struct join_token *token, char *message,
                      size_t message_size)
{
    const char *given = line->join != NULL ? line->join : getenv("BELAY_JOIN_TOKEN");

    *token = (struct join_token){.address_count = 0};
    return given == NULL || given[0] == '\0' ? 0
                                             : node_join_token(given, token, message, message_size);
}

static int run(struct command_line *line, struct config *config)
{
    struct join_token token;
    const struct serve_source source = {load_config, line};
    char message[CONFIG_MESSAGE_BYTES];

    if (load_config(line, config, message, sizeof message) != 0) {
        fprintf(stderr, "belayd: %s\n", message);
        return EXIT_USAGE;
    }
    if (line->print != NULL) {
        return print(line->print, config);
    }
    if (line->check_config) {
        printf("%s: ok\n", line->config_file != NULL ? line->config_file : "configuration");
        return EXIT_STOPPED;
    }
    if (read_token(line, &token, message, sizeof message) != 0) {
        fprintf(stderr, "belayd: %s\n", message);
        return EXIT_USAGE;
    }
    if (line->lost != NULL && token.address_count > 0) {
        return usage_error(
            "--join (or BELAY_JOIN_TOKEN) and --force-new-cluster do not go together");
    }
    int rc = serve(config, &source, token.address_count > 0 ? &token : NULL, line->lost);
    return rc == 0 ? EXIT_STOPPED : rc == -ESHUTDOWN ? EXIT_REMOVED : EXIT_FAILED;
}

int main(int argument_count, char **arguments)
{
    struct command_line line = {.config_file = NULL};

    streams_open("belayd");
    pages_bound_heap();
    struct config *config = malloc(sizeof *config);
    line.settings = calloc((size_t)argument_count, sizeof *line.settings);
    if (config == NULL || line.settings == NULL) {
        fputs("belayd: not enough memory to start\n", stderr);
        return EXIT_FAILED;
    }
    int code = parse_arguments(argument_count, arguments, &line);
    if (code < 0) {
        code = run(&line, config);
    }
    free(line.settings);
    free(config);
    return streams_close("belayd", code);
}
