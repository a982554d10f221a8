/* run: load on a server, for so long or so many, and what it did to latency and cost. */
#include <errno.h>
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "clock.h"
#include "commands.h"
#include "content.h"
#include "pump.h"
#include "report.h"
#include "series.h"
#include "writer.h"

enum { KEY_TRIES = 8, NOISE_BYTES = 64 * 1024, GAPS_MAX = 1000 };

struct run {
    struct pump_user user;
    const struct bench_options *options;
    const struct server *server;
    struct pump *pump;
    struct writer *writer; /* NULL: no record is kept. */
    uint8_t *noise;        /* Values point into it. */
    uint64_t random;
    uint64_t begun;
    uint64_t start_ns;
    bool measuring, finished;
    struct report_moment from, to;
    struct histogram latency[2]; /* Of reads and of writes, in us. */
    uint64_t misses;
    uint64_t acked[BELAY_ACK_ARCHIVE + 1];
    struct report_errors errors;
    struct series series;
};

static volatile sig_atomic_t interrupted, begun_anew;

static void on_signal(int number)
{
    if (number == SIGUSR1) {
        begun_anew = 1;
    } else {
        interrupted = 1;
    }
}

static struct run *run_of(struct pump_user *user)
{
    return (struct run *)user;
}

static uint64_t draw(struct run *run)
{
    return content_mix(run->random++);
}

static uint64_t draw_key(struct run *run)
{
    return run->options->first + draw(run) % run->options->keys;
}

static void begin_read(struct run *run, struct operation *operation, struct ask *ask)
{
    operation->key = draw_key(run);
    if (run->writer != NULL) {
        operation->count = writer_read_begin(run->writer, operation->key);
    }
    ask_key(ask, run->options->prefix, operation->key);
}

static bool begin_recorded_write(struct run *run, struct operation *operation, struct ask *ask)
{
    bool found = false;

    for (unsigned tries = 0; !found && tries < KEY_TRIES; tries++) {
        operation->key = draw_key(run);
        found = writer_begin(run->writer, operation->key, &operation->count, ask);
    }
    return found;
}

static void begin_plain_write(struct run *run, struct operation *operation, struct ask *ask)
{
    const struct bench_options *options = run->options;

    operation->key = draw_key(run);
    ask_key(ask, options->prefix, operation->key);
    if (ask->kind == ASK_SET) {
        ask->value = bytes_of(run->noise + draw(run) % NOISE_BYTES, options->value_bytes);
        ask->ttl_ms = options->ttl_ms;
    }
    ask->ack = options->ack;
}

static enum ask_kind draw_kind(struct run *run)
{
    const struct bench_options *options = run->options;
    uint64_t drawn = draw(run) % 100;

    if (drawn < options->reads_percent) {
        return ASK_GET;
    }
    bool deletes = run->writer == NULL && drawn < options->reads_percent + options->deletes_percent;
    return deletes ? ASK_DELETE : ASK_SET;
}

static bool begin(struct pump_user *user, struct operation *operation, struct ask *ask)
{
    struct run *run = run_of(user);
    bool found = true;

    if (run->options->count > 0 && run->begun == run->options->count) {
        pump_stop(run->pump);
        return false;
    }
    ask->kind = draw_kind(run);
    ask->no_retry = run->options->no_retry;
    if (ask->kind == ASK_GET) {
        begin_read(run, operation, ask);
    } else if (run->writer != NULL) {
        found = begin_recorded_write(run, operation, ask);
    } else {
        begin_plain_write(run, operation, ask);
    }
    run->begun += found;
    return found;
}

/* Count an answer, once the warm-up is over. One that failed counts also where it came after the end. */
static void measure(struct run *run, const struct operation *operation, const struct answer *answer,
                    uint64_t latency_ns)
{
    const bool is_read = operation->kind == ASK_GET;
    const bool is_miss = is_read && answer->status == BELAY_NOT_FOUND;

    if (run->measuring && answer->status != BELAY_OK && !is_miss) {
        report_error(&run->errors, answer->status);
        series_failed(&run->series, answer->status);
        return;
    }
    if (!run->measuring || run->finished) {
        return;
    }
    histogram_record(&run->latency[is_read ? 0 : 1], latency_ns / 1000);
    series_answered(&run->series, latency_ns / 1000);
    run->misses += is_miss;
    if (!is_read) {
        run->acked[answer->ack_level]++;
    }
}

static void end(struct pump_user *user, struct operation *operation, const struct answer *answer,
                uint64_t latency_ns)
{
    struct run *run = run_of(user);

    measure(run, operation, answer, latency_ns);
    if (run->writer != NULL && operation->kind != ASK_GET) {
        writer_end(run->writer, operation->key, operation->count, answer);
    } else if (run->writer != NULL &&
               (answer->status == BELAY_OK || answer->status == BELAY_NOT_FOUND)) {
        writer_read_end(run->writer, operation->key, operation->count, answer);
    }
}

/* From now on it counts; what did so far does not. */
static void begin_to_measure(struct run *run)
{
    run->from = report_now(run->server);
    run->measuring = true;
    memset(run->latency, 0, sizeof run->latency);
    memset(run->acked, 0, sizeof run->acked);
    run->misses = 0;
    run->errors = (struct report_errors){0};
    pump_forget_gaps(run->pump);
    series_begin(&run->series, run->options->every_seconds, run->from.time_ns);
}

static void tick(struct pump_user *user)
{
    struct run *run = run_of(user);
    const struct bench_options *options = run->options;
    double passed = (double)(bench_now_ns() - run->start_ns) / 1e9;

    if ((!run->measuring && passed >= options->warmup_seconds) || (begun_anew && !run->finished)) {
        begun_anew = 0;
        begin_to_measure(run);
    }
    if (!run->finished) {
        series_tick(&run->series, bench_now_ns());
    }
    if (options->count > 0) {
        report_progress("run", run->begun, options->count);
    } else {
        double whole = options->warmup_seconds + options->seconds;
        report_progress("run", (uint64_t)(1000 * (passed < whole ? passed : whole)),
                        (uint64_t)(1000 * whole));
    }
    bool out_of_time = options->count == 0 && passed >= options->warmup_seconds + options->seconds;
    if (!run->finished && (out_of_time || interrupted)) {
        run->to = report_now(run->server);
        run->finished = true;
        pump_stop(run->pump);
    }
}

static uint64_t answered(const struct run *run)
{
    return run->latency[0].count + run->latency[1].count;
}

/* Of the first clients. */
static json_t *gaps_json(const struct run *run)
{
    json_t *gaps = json_array();
    uint64_t gap_us = 0;

    for (uint32_t i = 0; i < GAPS_MAX && pump_gap_us(run->pump, i, &gap_us); i++) {
        json_array_append_new(gaps, json_integer((json_int_t)gap_us));
    }
    return gaps;
}

static void print_json(struct run *run, double seconds, uint64_t sessions)
{
    const struct bench_options *options = run->options;
    struct histogram all = run->latency[0];
    histogram_add(&all, &run->latency[1]);
    json_t *document = report_cost_json(&run->from, &run->to, answered(run), sessions);
    json_t *acked = json_object();

    for (unsigned level = 1; level <= BELAY_ACK_ARCHIVE; level++) {
        if (run->acked[level] > 0) {
            json_object_set_new(acked, belay_ack_name((enum belay_ack)level),
                                json_integer((json_int_t)run->acked[level]));
        }
    }
    json_t *more = json_pack(
        "{s:s, s:i, s:i, s:f, s:I, s:f, s:I, s:I, s:I, s:o, s:o, s:o, s:o, s:o, s:I}", "protocol",
        bench_protocol_name(options->protocol), "connections", (int)options->connections,
        "pipeline", (int)options->pipeline, "seconds", seconds, "operations",
        (json_int_t)answered(run), "per_second", (double)answered(run) / seconds, "reads",
        (json_int_t)run->latency[0].count, "writes", (json_int_t)run->latency[1].count, "misses",
        (json_int_t)run->misses, "acked", acked, "latency", report_latency_json(&all),
        "read_latency", report_latency_json(&run->latency[0]), "write_latency",
        report_latency_json(&run->latency[1]), "errors", report_errors_json(&run->errors),
        "disconnects", (json_int_t)pump_disconnects(run->pump));
    json_object_update(document, more);
    json_decref(more);
    json_object_set_new(document, "gaps_us", gaps_json(run));
    if (run->options->every_seconds > 0) {
        json_object_set_new(document, "series", series_end(&run->series, run->to.time_ns));
    }
    if (run->writer != NULL) {
        const uint64_t *verdicts = run->writer->verdicts;
        json_object_set_new(document, "record_reads",
                            json_pack("{s:I, s:I, s:I, s:I}", "lost",
                                      (json_int_t)verdicts[VERDICT_LOST], "stale",
                                      (json_int_t)verdicts[VERDICT_STALE], "wrong",
                                      (json_int_t)verdicts[VERDICT_WRONG], "resurrected",
                                      (json_int_t)verdicts[VERDICT_RESURRECTED]));
    }
    report_json(document);
}

static void print_text(const struct run *run, double seconds, uint64_t sessions)
{
    struct histogram all = run->latency[0];

    histogram_add(&all, &run->latency[1]);
    printf("throughput  %.0f per second, %llu in %.2f s (%llu reads, %llu of them misses, %llu "
           "writes)\n",
           (double)answered(run) / seconds, (unsigned long long)answered(run), seconds,
           (unsigned long long)run->latency[0].count, (unsigned long long)run->misses,
           (unsigned long long)run->latency[1].count);
    report_latency_print("latency", &all);
    report_latency_print("  reads", &run->latency[0]);
    report_latency_print("  writes", &run->latency[1]);
    for (unsigned level = 1; level <= BELAY_ACK_ARCHIVE; level++) {
        if (run->acked[level] > 0) {
            printf("acked       %llu at %s\n", (unsigned long long)run->acked[level],
                   belay_ack_name((enum belay_ack)level));
        }
    }
    if (run->writer != NULL) {
        const uint64_t *verdicts = run->writer->verdicts;
        printf("record      of what was read lost=%" PRIu64 " stale=%" PRIu64 " wrong=%" PRIu64
               " resurrected=%" PRIu64 "\n",
               verdicts[VERDICT_LOST], verdicts[VERDICT_STALE], verdicts[VERDICT_WRONG],
               verdicts[VERDICT_RESURRECTED]);
    }
    report_errors_print(&run->errors);
    report_cost_print(&run->from, &run->to, answered(run), sessions);
}

/* Everything that a read during a recorded run found wrong. */
static uint64_t faults_read(const struct run *run)
{
    uint64_t sum = 0;

    for (unsigned i = VERDICT_LOST; run->writer != NULL && i < VERDICT_COUNT; i++) {
        sum += run->writer->verdicts[i];
    }
    return sum;
}

static enum bench_exit load(struct run *run)
{
    struct server after = *run->server;
    struct sigaction action = {.sa_handler = on_signal};

    int rc = pump_create(run->options, run->server, &run->user, &run->pump);
    if (rc != 0) {
        fprintf(stderr, "belay-bench: %s\n", strerror(-rc));
        return BENCH_BAD;
    }
    sigaction(SIGINT, &action, NULL);
    sigaction(SIGTERM, &action, NULL);
    sigaction(SIGUSR1, &action, NULL);
    run->start_ns = bench_now_ns();
    pump_run(run->pump);
    report_progress_end();
    if (!run->finished) {
        run->to = report_now(run->server);
    }
    uint64_t sessions = 0;
    if (run->to.server_seen && server_ask(run->options, &after) == BENCH_GOOD) {
        sessions = after.sessions;
    }
    double seconds = (double)(run->to.time_ns - run->from.time_ns) / 1e9;
    if (run->options->json) {
        print_json(run, seconds, sessions);
    } else {
        print_text(run, seconds, sessions);
    }
    pump_destroy(run->pump);
    json_decref(run->series.intervals);
    return report_errors_sum(&run->errors) + faults_read(run) == 0 ? BENCH_GOOD : BENCH_BAD;
}

enum bench_exit bench_run(const struct bench_options *options, const struct server *server)
{
    struct writer writer;
    struct run run = {
        .user = {.begin = begin, .end = end, .tick = tick},
        .options = options,
        .server = server,
        .random = content_mix(options->seed),
        .noise = malloc(NOISE_BYTES + (size_t)options->value_bytes),
    };

    if (run.noise == NULL) {
        fprintf(stderr, "belay-bench: no memory\n");
        return BENCH_BAD;
    }
    content_seeded(options->seed, 0, run.noise, NOISE_BYTES + (size_t)options->value_bytes);
    if (options->record != NULL) {
        int rc = writer_open(&writer, options);
        if (rc != 0) {
            fprintf(stderr, "belay-bench: %s: %s\n", options->record, strerror(-rc));
            free(run.noise);
            return BENCH_USAGE;
        }
        run.writer = &writer;
    }
    enum bench_exit verdict = load(&run);
    if (run.writer != NULL) {
        writer_close(&writer);
    }
    free(run.noise);
    return verdict;
}
