/* fill and check: sessions whose content follows from a seed, written and read back. */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "commands.h"
#include "content.h"
#include "pump.h"
#include "report.h"

struct fill {
    struct pump_user user;
    const struct bench_options *options;
    struct pump *pump;
    uint64_t next, done, present, lost, wrong;
    struct report_errors errors;
    uint8_t *value;
};

static struct fill *fill_of(struct pump_user *user)
{
    return (struct fill *)user;
}

static bool take_number(struct fill *fill, struct operation *operation)
{
    if (fill->next == fill->options->keys) {
        return false;
    }
    operation->key = fill->options->first + fill->next++;
    return true;
}

static uint64_t ttl_of(const struct bench_options *options, uint64_t number)
{
    bool is_short = content_mix(number ^ options->seed) % 100 < options->short_percent;

    return is_short ? options->short_ttl_ms : options->ttl_ms;
}

static bool fill_begin(struct pump_user *user, struct operation *operation, struct ask *ask)
{
    struct fill *fill = fill_of(user);
    const struct bench_options *options = fill->options;

    if (!take_number(fill, operation)) {
        return false;
    }
    content_seeded(options->seed, operation->key, fill->value, options->value_bytes);
    ask->kind = ASK_SET;
    ask_key(ask, options->prefix, operation->key);
    ask->value = bytes_of(fill->value, options->value_bytes);
    ask->ttl_ms = ttl_of(options, operation->key);
    ask->ack = options->ack;
    return true;
}

static void fill_end(struct pump_user *user, struct operation *operation,
                     const struct answer *answer, uint64_t latency_ns)
{
    struct fill *fill = fill_of(user);

    (void)operation;
    (void)latency_ns;
    fill->done++;
    if (answer->status == BELAY_OK) {
        fill->present++;
    } else {
        report_error(&fill->errors, answer->status);
    }
}

static bool check_begin(struct pump_user *user, struct operation *operation, struct ask *ask)
{
    struct fill *fill = fill_of(user);

    if (!take_number(fill, operation)) {
        return false;
    }
    ask->kind = ASK_GET;
    ask->no_touch = true;
    ask_key(ask, fill->options->prefix, operation->key);
    return true;
}

static void check_end(struct pump_user *user, struct operation *operation,
                      const struct answer *answer, uint64_t latency_ns)
{
    struct fill *fill = fill_of(user);

    (void)latency_ns;
    fill->done++;
    if (answer->status == BELAY_NOT_FOUND) {
        fill->lost++;
        return;
    }
    if (answer->status != BELAY_OK) {
        report_error(&fill->errors, answer->status);
        return;
    }
    uint32_t wanted = fill->options->value_bytes;
    content_seeded(fill->options->seed, operation->key, fill->value, wanted);
    if (bytes_equal(answer->value, bytes_of(fill->value, wanted))) {
        fill->present++;
    } else {
        fill->wrong++;
    }
}

static void tick(struct pump_user *user)
{
    struct fill *fill = fill_of(user);

    report_progress(fill->options->command == BENCH_FILL ? "fill " : "check", fill->done,
                    fill->options->keys);
    if (fill->next == fill->options->keys) {
        pump_stop(fill->pump);
    }
}

static int run_fill(struct fill *fill, const struct bench_options *options,
                    const struct server *server)
{
    fill->options = options;
    fill->user.tick = tick;
    fill->value = malloc(options->value_bytes > 0 ? options->value_bytes : 1);
    int rc = fill->value == NULL ? -ENOMEM : pump_create(options, server, &fill->user, &fill->pump);
    if (rc != 0) {
        fprintf(stderr, "belay-bench: %s\n", strerror(-rc));
    } else {
        pump_run(fill->pump);
        report_progress_end();
        pump_destroy(fill->pump);
    }
    free(fill->value);
    return rc;
}

static void print_fill(const struct fill *fill, const struct report_moment *from,
                       const struct report_moment *to)
{
    double seconds = (double)(to->time_ns - from->time_ns) / 1e9;

    if (fill->options->json) {
        json_t *document = report_cost_json(from, to, fill->done, fill->present);
        json_object_set_new(document, "written", json_integer((json_int_t)fill->present));
        json_object_set_new(document, "seconds", json_real(seconds));
        json_object_set_new(document, "errors", report_errors_json(&fill->errors));
        report_json(document);
        return;
    }
    printf("written     %llu sessions in %.2f s, %.0f per second\n",
           (unsigned long long)fill->present, seconds, (double)fill->present / seconds);
    report_errors_print(&fill->errors);
    report_cost_print(from, to, fill->done, 0);
    if (from->server_seen && to->server_seen && fill->present > 0) {
        printf("growth      %.1f bytes of RSS per session written\n",
               ((double)to->server.rss_bytes - (double)from->server.rss_bytes) /
                   (double)fill->present);
    }
}

enum bench_exit bench_fill(const struct bench_options *options, const struct server *server)
{
    struct fill fill = {.user = {.begin = fill_begin, .end = fill_end}};
    struct report_moment from = report_now(server);

    if (run_fill(&fill, options, server) != 0) {
        return BENCH_BAD;
    }
    struct report_moment to = report_now(server);
    print_fill(&fill, &from, &to);
    return fill.present == options->keys ? BENCH_GOOD : BENCH_BAD;
}

enum bench_exit bench_check(const struct bench_options *options, const struct server *server)
{
    struct fill fill = {.user = {.begin = check_begin, .end = check_end}};

    if (run_fill(&fill, options, server) != 0) {
        return BENCH_BAD;
    }
    uint64_t unread = report_errors_sum(&fill.errors);
    if (options->json) {
        json_t *document = json_pack("{s:I, s:I, s:I, s:I}", "present", (json_int_t)fill.present,
                                     "lost", (json_int_t)fill.lost, "wrong", (json_int_t)fill.wrong,
                                     "unread", (json_int_t)unread);
        json_object_set_new(document, "errors", report_errors_json(&fill.errors));
        report_json(document);
    } else {
        printf("present=%llu lost=%llu wrong=%llu\n", (unsigned long long)fill.present,
               (unsigned long long)fill.lost, (unsigned long long)fill.wrong);
        if (unread > 0) {
            report_errors_print(&fill.errors);
        }
    }
    if (fill.wrong > 0 && fill.present == 0) {
        fprintf(
            stderr,
            "belay-bench: none is as it should be: were they filled with the same --value-bytes "
            "(%" PRIu32 ") and --seed (%" PRIu64 ")?\n",
            options->value_bytes, options->seed);
    }
    return fill.lost + fill.wrong + unread == 0 ? BENCH_GOOD : BENCH_BAD;
}
