#include "report.h"

#include <stdlib.h>
#include <unistd.h>

#include "clock.h"

enum {
    BAR_WIDTH = 40,
    SESSIONS_MIN =
        100000, /* Of fewer, what each takes is lost in the memory of the process itself. */
};

struct report_moment report_now(const struct server *server)
{
    struct report_moment moment = {.time_ns = bench_now_ns(), .own_cpu_us = own_cpu_us()};

    moment.server_seen = server_cost(server, &moment.server);
    return moment;
}

void report_error(struct report_errors *errors, enum belay_status status)
{
    unsigned number = (unsigned)status;

    errors->count[number < REPORT_STATUS_MAX ? number : REPORT_STATUS_MAX - 1]++;
}

uint64_t report_errors_sum(const struct report_errors *errors)
{
    uint64_t sum = 0;

    for (unsigned i = 0; i < REPORT_STATUS_MAX; i++) {
        sum += errors->count[i];
    }
    return sum;
}

void report_errors_print(const struct report_errors *errors)
{
    printf("errors      %llu", (unsigned long long)report_errors_sum(errors));
    for (unsigned i = 0; i < REPORT_STATUS_MAX; i++) {
        if (errors->count[i] > 0) {
            printf("  %s %llu", belay_status_name((enum belay_status)i),
                   (unsigned long long)errors->count[i]);
        }
    }
    printf("\n");
}

static json_t *number(uint64_t value)
{
    return json_integer((json_int_t)value);
}

json_t *report_errors_json(const struct report_errors *errors)
{
    json_t *object = json_object();

    for (unsigned i = 0; i < REPORT_STATUS_MAX; i++) {
        if (errors->count[i] > 0) {
            json_object_set_new(object, belay_status_name((enum belay_status)i),
                                number(errors->count[i]));
        }
    }
    return object;
}

static double mean(const struct histogram *histogram)
{
    return histogram->count == 0 ? 0 : (double)histogram->sum / (double)histogram->count;
}

void report_latency_print(const char *name, const struct histogram *histogram)
{
    if (histogram->count == 0) {
        return;
    }
    printf("%-11s p50 %.3f ms  p99 %.3f  p99.9 %.3f  max %.3f\n", name,
           (double)histogram_percentile(histogram, 50) / 1000,
           (double)histogram_percentile(histogram, 99) / 1000,
           (double)histogram_percentile(histogram, 99.9) / 1000, (double)histogram->max / 1000);
}

json_t *report_latency_json(const struct histogram *histogram)
{
    return json_pack("{s:I, s:I, s:I, s:I, s:I, s:f}", "count", (json_int_t)histogram->count,
                     "p50_us", (json_int_t)histogram_percentile(histogram, 50), "p99_us",
                     (json_int_t)histogram_percentile(histogram, 99), "p99.9_us",
                     (json_int_t)histogram_percentile(histogram, 99.9), "max_us",
                     (json_int_t)histogram->max, "mean_us", mean(histogram));
}

static double ratio(double part, double whole)
{
    return whole > 0 ? part / whole : 0;
}

void report_cost_print(const struct report_moment *from, const struct report_moment *to,
                       uint64_t operations, uint64_t sessions)
{
    double elapsed_us = (double)(to->time_ns - from->time_ns) / 1000;
    double own_us = (double)(to->own_cpu_us - from->own_cpu_us);

    if (from->server_seen && to->server_seen) {
        double cpu_us = (double)(to->server.cpu_us - from->server.cpu_us);
        printf("server      %.2f us CPU per operation, %.0f %% of a core, RSS %.1f MiB",
               ratio(cpu_us, (double)operations), 100 * ratio(cpu_us, elapsed_us),
               (double)to->server.rss_bytes / 1048576);
        if (sessions >= SESSIONS_MIN) {
            printf(", %.0f bytes per session", (double)to->server.rss_bytes / (double)sessions);
        }
        printf("\n");
    }
    printf("bench       %.2f us CPU per operation, %.0f %% of a core\n",
           ratio(own_us, (double)operations), 100 * ratio(own_us, elapsed_us));
}

json_t *report_cost_json(const struct report_moment *from, const struct report_moment *to,
                         uint64_t operations, uint64_t sessions)
{
    double elapsed_us = (double)(to->time_ns - from->time_ns) / 1000;
    double own_us = (double)(to->own_cpu_us - from->own_cpu_us);
    json_t *cost =
        json_pack("{s:f, s:f}", "bench_cpu_us_per_operation", ratio(own_us, (double)operations),
                  "bench_utilisation", ratio(own_us, elapsed_us));

    if (from->server_seen && to->server_seen) {
        double cpu_us = (double)(to->server.cpu_us - from->server.cpu_us);
        json_object_set_new(cost, "server_cpu_us_per_operation",
                            json_real(ratio(cpu_us, (double)operations)));
        json_object_set_new(cost, "server_utilisation", json_real(ratio(cpu_us, elapsed_us)));
        json_object_set_new(cost, "server_rss_bytes_before", number(from->server.rss_bytes));
        json_object_set_new(cost, "server_rss_bytes", number(to->server.rss_bytes));
        json_object_set_new(cost, "sessions", number(sessions));
    }
    return cost;
}

void report_json(json_t *document)
{
    char *text = json_dumps(document, JSON_SORT_KEYS);

    if (text != NULL) {
        puts(text);
    }
    free(text);
    json_decref(document);
}

void report_progress(const char *what, uint64_t done, uint64_t whole)
{
    if (!isatty(STDERR_FILENO) || whole == 0) {
        return;
    }
    int filled = (int)(done * BAR_WIDTH / whole);
    fprintf(stderr, "\r%s [%.*s%*s] %3d %%", what, filled,
            "########################################", BAR_WIDTH - filled, "",
            (int)(done * 100 / whole));
}

void report_progress_end(void)
{
    if (isatty(STDERR_FILENO)) {
        fprintf(stderr, "\r\033[K");
    }
}
