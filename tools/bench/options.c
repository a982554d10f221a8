#include "options.h"

#include <ctype.h>
#include <errno.h>
#include <getopt.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "content.h"
#include "limits.h"

static const char usage_text[] =
    "usage: belay-bench run   [--server HOST:PORT,...] [--protocol native|resp] [--connections N]\n"
    "                         [--pipeline N] [--reads PCT] [--value-bytes N] [--keys N] [--ttl S] "
    "[--ack LEVEL]\n"
    "                         [--rate N [--rise N:S]] [--seconds S | --count N] [--warmup S] "
    "[--every S]\n"
    "                         [--prefix KEYS] [--record FILE] [--cluster] [--wait REPLICAS] "
    "[--json]\n"
    "       belay-bench audit FILE [--server HOST:PORT] [--ignore-last-ms N] [--json]\n"
    "       belay-bench fill  --sessions N [--value-bytes B] [--seed S] [--ttl S] [--json]\n"
    "       belay-bench check --sessions N [--value-bytes B] [--seed S] [--json]\n"
    "\n"
    "--protocol resp speaks to belayd, or a Redis, as clients of Redis do; with --cluster as those "
    "of a cluster.\n"
    "run puts load on a server and prints throughput, latency and what it cost the server.\n"
    "audit reads every key of a record and says whether what was acknowledged is there.\n"
    "fill writes sessions whose content follows from the seed; check reads them back.\n"
    "Keys begin with a prefix, `bench:` unless --prefix gives another: a recorded run wants keys "
    "of its own.\n"
    "See belay-bench(1) for every option.\n";

enum option_id {
    OPTION_SERVER = 256,
    OPTION_PROTOCOL,
    OPTION_CONNECTIONS,
    OPTION_PIPELINE,
    OPTION_READS,
    OPTION_DELETES,
    OPTION_VALUE_BYTES,
    OPTION_KEYS,
    OPTION_FIRST,
    OPTION_PREFIX,
    OPTION_SEED,
    OPTION_TTL,
    OPTION_SHORT,
    OPTION_ACK,
    OPTION_RATE,
    OPTION_RISE,
    OPTION_EVERY,
    OPTION_SECONDS,
    OPTION_COUNT,
    OPTION_WARMUP,
    OPTION_RECORD,
    OPTION_TIMEOUT_MS,
    OPTION_IGNORE_LAST_MS,
    OPTION_SERVER_PID,
    OPTION_NO_RETRY,
    OPTION_CLUSTER,
    OPTION_WAIT,
    OPTION_JSON,
    OPTION_HELP,
    OPTION_VERSION,
};

static const struct option long_options[] = {
    {"server", required_argument, NULL, OPTION_SERVER},
    {"protocol", required_argument, NULL, OPTION_PROTOCOL},
    {"connections", required_argument, NULL, OPTION_CONNECTIONS},
    {"pipeline", required_argument, NULL, OPTION_PIPELINE},
    {"reads", required_argument, NULL, OPTION_READS},
    {"deletes", required_argument, NULL, OPTION_DELETES},
    {"value-bytes", required_argument, NULL, OPTION_VALUE_BYTES},
    {"keys", required_argument, NULL, OPTION_KEYS},
    {"sessions", required_argument, NULL, OPTION_KEYS},
    {"first", required_argument, NULL, OPTION_FIRST},
    {"prefix", required_argument, NULL, OPTION_PREFIX},
    {"seed", required_argument, NULL, OPTION_SEED},
    {"ttl", required_argument, NULL, OPTION_TTL},
    {"short", required_argument, NULL, OPTION_SHORT},
    {"ack", required_argument, NULL, OPTION_ACK},
    {"rate", required_argument, NULL, OPTION_RATE},
    {"rise", required_argument, NULL, OPTION_RISE},
    {"every", required_argument, NULL, OPTION_EVERY},
    {"seconds", required_argument, NULL, OPTION_SECONDS},
    {"count", required_argument, NULL, OPTION_COUNT},
    {"warmup", required_argument, NULL, OPTION_WARMUP},
    {"record", required_argument, NULL, OPTION_RECORD},
    {"timeout-ms", required_argument, NULL, OPTION_TIMEOUT_MS},
    {"ignore-last-ms", required_argument, NULL, OPTION_IGNORE_LAST_MS},
    {"server-pid", required_argument, NULL, OPTION_SERVER_PID},
    {"no-retry", no_argument, NULL, OPTION_NO_RETRY},
    {"cluster", no_argument, NULL, OPTION_CLUSTER},
    {"wait", required_argument, NULL, OPTION_WAIT},
    {"json", no_argument, NULL, OPTION_JSON},
    {"help", no_argument, NULL, OPTION_HELP},
    {"version", no_argument, NULL, OPTION_VERSION},
    {NULL, 0, NULL, 0},
};

enum {
    PIPELINE_BULK = 16,
    NUMBER_BYTES = 32, /* Of text. */
    RATE_MAX = 1000000000,
};

/* An option with its argument, and the name for messages. */
struct argument {
    const char *name;
    const char *text;
};

static int complain(struct argument argument, const char *wanted)
{
    fprintf(stderr, "belay-bench: --%s %s: %s\n", argument.name, argument.text, wanted);
    return -EINVAL;
}

/* A whole number from `low` to `high`. */
static int parse_count(struct argument argument, uint64_t low, uint64_t high, uint64_t *value)
{
    char *end = NULL;

    errno = 0;
    unsigned long long parsed = strtoull(argument.text, &end, 10);
    if (errno != 0 || end == argument.text || *end != '\0' || argument.text[0] == '-' ||
        parsed < low || parsed > high) {
        char wanted[96];
        snprintf(wanted, sizeof wanted, "a whole number from %llu to %llu is wanted",
                 (unsigned long long)low, (unsigned long long)high);
        return complain(argument, wanted);
    }
    *value = parsed;
    return 0;
}

static int parse_u32(struct argument argument, uint32_t low, uint32_t high, uint32_t *value)
{
    uint64_t wide = 0;
    int rc = parse_count(argument, low, high, &wide);

    if (rc == 0) {
        *value = (uint32_t)wide;
    }
    return rc;
}

static int parse_positive(struct argument argument, double high, double *value)
{
    char *end = NULL;
    double parsed = strtod(argument.text, &end);

    if (end == argument.text || *end != '\0' || !isfinite(parsed) || parsed < 0 || parsed > high) {
        char wanted[64];
        snprintf(wanted, sizeof wanted, "a number from 0 to %.0f is wanted", high);
        return complain(argument, wanted);
    }
    *value = parsed;
    return 0;
}

static int parse_duration(struct argument argument, double *seconds)
{
    int rc = parse_positive(argument, 1e6, seconds);

    if (rc == 0 && *seconds <= 0) {
        return complain(argument, "a number above 0 is wanted");
    }
    return rc;
}

/* A lifetime: seconds, without a unit. */
static int parse_seconds_ms(struct argument argument, uint64_t *ms)
{
    double seconds = 0;
    char *end = NULL;

    (void)strtod(argument.text, &end);
    if (end != argument.text && isalpha((unsigned char)*end)) {
        return complain(argument, "a number of seconds is wanted, without a unit");
    }
    int rc = parse_positive(argument, 86400.0 * TTL_MS_MAX_DAYS, &seconds);

    if (rc == 0) {
        *ms = (uint64_t)(seconds * 1000);
    }
    return rc;
}

/* Take NUMBER:SECONDS apart: the number's text goes to `number`, what follows it to `seconds`. */
static int split(struct argument argument, const char *wanted, char number[NUMBER_BYTES],
                 struct argument *seconds)
{
    const char *colon = strchr(argument.text, ':');

    if (colon == NULL || colon - argument.text >= NUMBER_BYTES) {
        return complain(argument, wanted);
    }
    memcpy(number, argument.text, (size_t)(colon - argument.text));
    number[colon - argument.text] = '\0';
    *seconds = (struct argument){argument.name, colon + 1};
    return 0;
}

static int parse_short(struct argument argument, struct bench_options *options)
{
    char percent[NUMBER_BYTES];
    struct argument seconds;

    int rc = split(argument, "PERCENT:SECONDS is wanted", percent, &seconds);
    if (rc == 0) {
        rc = parse_u32((struct argument){argument.name, percent}, 0, 100, &options->short_percent);
    }
    return rc != 0 ? rc : parse_seconds_ms(seconds, &options->short_ttl_ms);
}

static int parse_rise(struct argument argument, struct bench_options *options)
{
    char rate[NUMBER_BYTES];
    struct argument seconds;

    int rc = split(argument, "RATE:SECONDS is wanted", rate, &seconds);
    if (rc == 0) {
        rc = parse_positive((struct argument){argument.name, rate}, RATE_MAX, &options->rise_to);
    }
    return rc != 0 ? rc : parse_duration(seconds, &options->rise_seconds);
}

const char *bench_protocol_name(enum bench_protocol protocol)
{
    return protocol == BENCH_RESP ? "resp" : "native";
}

static int parse_protocol(struct argument argument, enum bench_protocol *protocol)
{
    for (enum bench_protocol known = BENCH_NATIVE; known <= BENCH_RESP; known++) {
        if (strcmp(argument.text, bench_protocol_name(known)) == 0) {
            *protocol = known;
            return 0;
        }
    }
    return complain(argument, "native or resp is wanted");
}

static int parse_ack(struct argument argument, enum belay_ack *ack)
{
    if (belay_ack_parse(argument.text, ack) != BELAY_OK) {
        return complain(argument, "default, memory, replica, disk or archive is wanted");
    }
    return 0;
}

static int parse_prefix(struct argument argument, const char **prefix)
{
    if (strlen(argument.text) > PREFIX_BYTES_MAX) {
        return complain(argument, "too long");
    }
    *prefix = argument.text;
    return 0;
}

/* What is sent, and how. */
static int parse_load_option(int id, struct argument argument, struct bench_options *options)
{
    switch (id) {
    case OPTION_CONNECTIONS:
        return parse_u32(argument, 1, CONNECTIONS_MAX, &options->connections);
    case OPTION_PIPELINE:
        return parse_u32(argument, 1, PIPELINE_MAX, &options->pipeline);
    case OPTION_READS:
        return parse_u32(argument, 0, 100, &options->reads_percent);
    case OPTION_DELETES:
        return parse_u32(argument, 0, 100, &options->deletes_percent);
    case OPTION_VALUE_BYTES:
        return parse_u32(argument, 0, VALUE_BYTES_MAX, &options->value_bytes);
    case OPTION_KEYS:
        return parse_count(argument, 1, CONTENT_KEYS_MAX, &options->keys);
    case OPTION_FIRST:
        return parse_count(argument, 0, CONTENT_KEYS_MAX, &options->first);
    case OPTION_SEED:
        return parse_count(argument, 0, UINT64_MAX, &options->seed);
    case OPTION_TTL:
        return parse_seconds_ms(argument, &options->ttl_ms);
    case OPTION_SHORT:
        return parse_short(argument, options);
    case OPTION_ACK:
        return parse_ack(argument, &options->ack);
    case OPTION_RATE:
        return parse_positive(argument, RATE_MAX, &options->rate);
    case OPTION_RISE:
        return parse_rise(argument, options);
    case OPTION_EVERY:
        return parse_duration(argument, &options->every_seconds);
    case OPTION_SECONDS:
        return parse_duration(argument, &options->seconds);
    case OPTION_COUNT:
        return parse_count(argument, 1, UINT64_MAX, &options->count);
    default:
        return parse_positive(argument, 1e6, &options->warmup_seconds);
    }
}

static int parse_option(int id, struct argument argument, struct bench_options *options)
{
    switch (id) {
    case OPTION_SERVER:
        options->server = argument.text;
        return 0;
    case OPTION_PROTOCOL:
        return parse_protocol(argument, &options->protocol);
    case OPTION_PREFIX:
        return parse_prefix(argument, &options->prefix);
    case OPTION_RECORD:
        options->record = argument.text;
        return 0;
    case OPTION_TIMEOUT_MS:
        return parse_u32(argument, 1, UINT32_MAX, &options->timeout_ms);
    case OPTION_IGNORE_LAST_MS:
        return parse_count(argument, 0, UINT32_MAX, &options->ignore_last_ms);
    case OPTION_SERVER_PID:
        return parse_u32(argument, 1, INT32_MAX, &options->server_pid);
    case OPTION_NO_RETRY:
        options->no_retry = true;
        return 0;
    case OPTION_CLUSTER:
        options->cluster = true;
        return 0;
    case OPTION_WAIT:
        return parse_u32(argument, 1, REPLICAS_MAX, &options->wait);
    case OPTION_JSON:
        options->json = true;
        return 0;
    default:
        return parse_load_option(id, argument, options);
    }
}

static int parse_command(const char *word, enum bench_command *command)
{
    static const char *const words[] = {[BENCH_RUN] = "run",
                                        [BENCH_AUDIT] = "audit",
                                        [BENCH_FILL] = "fill",
                                        [BENCH_CHECK] = "check"};

    for (unsigned i = 0; i < sizeof words / sizeof words[0]; i++) {
        if (strcmp(word, words[i]) == 0) {
            *command = (enum bench_command)i;
            return 0;
        }
    }
    fprintf(stderr, "belay-bench: there is no command %s, but run, audit, fill and check\n", word);
    return -EINVAL;
}

/* What belongs together, once everything is read. */
static int check_options(const struct bench_options *options, bool keys_given)
{
    const char *wrong = NULL;

    if (options->command == BENCH_AUDIT && options->record == NULL) {
        wrong = "audit needs the FILE that run --record wrote";
    } else if ((options->command == BENCH_FILL || options->command == BENCH_CHECK) && !keys_given) {
        wrong = "fill and check need --sessions";
    } else if (options->command == BENCH_RUN && options->record != NULL &&
               options->value_bytes < CONTENT_COUNTED_BYTES_MIN) {
        wrong = "--record needs a --value-bytes that holds the key, a count and a checksum "
                "(at least 32)";
    } else if (options->command == BENCH_RUN && options->record != NULL && options->first > 0) {
        wrong = "--record and --first do not go together";
    } else if (options->record == NULL && options->deletes_percent > 0 &&
               options->deletes_percent + options->reads_percent > 100) {
        wrong = "--reads and --deletes are together more than 100 %";
    } else if (options->protocol == BENCH_RESP && options->ack != BELAY_ACK_DEFAULT) {
        wrong = "--ack: RESP has no ack levels. What a write waits for is set in the server (`ack` "
                "of its "
                "[policy]; Redis: appendfsync); leave --ack away, or use --protocol native";
    } else if (options->protocol == BENCH_NATIVE && options->wait > 0) {
        wrong =
            "--wait is a command of RESP; with --protocol native --ack says what a write waits for";
    } else if (options->protocol == BENCH_NATIVE && options->cluster) {
        wrong = "--cluster is for RESP; the native protocol goes to the right node by itself";
    } else if (options->cluster && options->wait > 0) {
        wrong = "--cluster and --wait do not go together";
    } else if (options->rise_seconds > 0 && (options->rate <= 0 || options->rise_to <= 0)) {
        wrong = "--rise needs a --rate to begin with, and a rate above 0 to go to";
    } else if (options->first + options->keys > CONTENT_KEYS_MAX) {
        wrong = "too many keys";
    }
    if (wrong != NULL) {
        fprintf(stderr, "belay-bench: %s\n", wrong);
        return -EINVAL;
    }
    return 0;
}

static struct bench_options default_options(void)
{
    const char *server = getenv("BELAY_SERVER");

    return (struct bench_options){
        .server = server != NULL && server[0] != '\0' ? server : "127.0.0.1:7400",
        .prefix = "bench:",
        .connections = 50,
        .reads_percent = 90,
        .value_bytes = 512,
        .keys = 100000,
        .seed = 1,
        .seconds = 10,
        .timeout_ms = 5000,
    };
}

/* The words that are no options: the command and audit's file. */
static int parse_words(int argc, char **argv, struct bench_options *options)
{
    if (optind >= argc) {
        fputs(usage_text, stderr);
        return -EINVAL;
    }
    int rc = parse_command(argv[optind++], &options->command);
    if (rc != 0) {
        return rc;
    }
    if (options->command == BENCH_AUDIT && optind < argc) {
        options->record = argv[optind++];
    }
    if (optind < argc) {
        fprintf(stderr, "belay-bench: %s: one word too many\n", argv[optind]);
        return -EINVAL;
    }
    return 0;
}

int bench_options_parse(int argc, char **argv, struct bench_options *options, int *exit_code)
{
    bool keys_given = false;
    int index = 0;

    *options = default_options();
    *exit_code = BENCH_USAGE;
    for (int id; (id = getopt_long(argc, argv, "h", long_options, &index)) != -1;) {
        if (id == 'h' || id == OPTION_HELP) {
            fputs(usage_text, stdout);
            *exit_code = BENCH_GOOD;
            return 1;
        }
        if (id == OPTION_VERSION) {
            puts("belay-bench " BELAY_BENCH_VERSION);
            *exit_code = BENCH_GOOD;
            return 1;
        }
        struct argument argument = {id == '?' ? "" : long_options[index].name, optarg};
        if (id == '?') {
            fputs("Try: belay-bench --help\n", stderr);
            return 1;
        }
        if (parse_option(id, argument, options) != 0) {
            return 1;
        }
        keys_given |= id == OPTION_KEYS;
    }
    if (parse_words(argc, argv, options) != 0 || check_options(options, keys_given) != 0) {
        return 1;
    }
    if (options->pipeline == 0) {
        options->pipeline = options->command == BENCH_RUN ? 1 : PIPELINE_BULK;
    }
    return 0;
}
