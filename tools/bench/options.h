/* The command line of belay-bench.
 *
 * Strings point into argv. Threads: the caller's.
 */
#ifndef BENCH_OPTIONS_H
#define BENCH_OPTIONS_H

#include <stdbool.h>
#include <stdint.h>

#include <belay/belay.h>

enum bench_command {
    BENCH_RUN,
    BENCH_AUDIT,
    BENCH_FILL,
    BENCH_CHECK,
};

enum bench_protocol {
    BENCH_NATIVE,
    BENCH_RESP,
};

/* "native", "resp". */
const char *bench_protocol_name(enum bench_protocol protocol);

/* Exit codes, as belayctl's. */
enum bench_exit {
    BENCH_GOOD = 0,
    BENCH_BAD = 1,   /* Something was lost, wrong or refused. */
    BENCH_USAGE = 2, /* Also: files that cannot be used. */
    BENCH_UNREACHABLE = 3,
};

enum {
    CONNECTIONS_MAX = 60000,
    PIPELINE_MAX = 1024, /* What a server takes per connection unless told otherwise. */
    VALUE_BYTES_MAX = 64 * 1024 * 1024,
    PREFIX_BYTES_MAX = 100,
    REPLICAS_MAX = 100,
};

struct bench_options {
    enum bench_command command;
    enum bench_protocol protocol;
    const char *server;
    const char *prefix;
    const char *record; /* run: the file to write; audit: to read. NULL: none. */
    uint32_t connections, pipeline;
    uint32_t reads_percent, deletes_percent;
    uint32_t value_bytes;
    uint64_t keys; /* fill, check: --sessions. */
    uint64_t first;
    uint64_t seed;
    uint64_t ttl_ms;
    uint32_t short_percent; /* fill: this part of the sessions has short_ttl_ms for ttl_ms. */
    uint64_t short_ttl_ms;
    enum belay_ack ack;
    double rate;                  /* Per second; 0: as fast as answers come. */
    double rise_to, rise_seconds; /* The rate goes there in so long; 0 seconds: it stays. */
    double every_seconds;         /* Of an interval that is reported apart; 0: none is. */
    double seconds, warmup_seconds;
    uint64_t count; /* 0: by time. */
    uint32_t timeout_ms;
    uint64_t ignore_last_ms;
    uint32_t server_pid;
    uint32_t wait; /* RESP: each write is followed by WAIT for so many replicas. 0: none. */
    bool cluster;  /* RESP: each request to the node that its key belongs to. */
    bool no_retry;
    bool json;
};

/* Read the command line. On a mistake, or where help or the version was asked for, says so.
 *
 * Returns 0 with `options` set, or 1 with `exit_code` set where the program should end. */
int bench_options_parse(int argc, char **argv, struct bench_options *options, int *exit_code);

#endif
