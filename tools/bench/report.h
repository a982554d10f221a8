/* What belay-bench prints: for people, or as one JSON document (belay-bench(1) lists its keys).
 *
 * Threads: one.
 */
#ifndef BENCH_REPORT_H
#define BENCH_REPORT_H

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

#include <belay/belay.h>
#include <jansson.h>

#include "histogram.h"
#include "server.h"

enum { REPORT_STATUS_MAX = 128 };

/* What a phase of load cost: taken at its begin and at its end. */
struct report_moment {
    uint64_t time_ns;
    uint64_t own_cpu_us;
    bool server_seen;
    struct server_cost server;
};

struct report_moment report_now(const struct server *server);

/* Answers that were not OK, by status. */
struct report_errors {
    uint64_t count[REPORT_STATUS_MAX];
};

void report_error(struct report_errors *errors, enum belay_status status);
uint64_t report_errors_sum(const struct report_errors *errors);
void report_errors_print(const struct report_errors *errors);
json_t *report_errors_json(const struct report_errors *errors);

/* p50, p99, p99.9, max and mean of latencies recorded in microseconds. */
void report_latency_print(const char *name, const struct histogram *histogram);
json_t *report_latency_json(const struct histogram *histogram);

/* Server's and own CPU time per operation, utilisation, RSS between two moments. */
void report_cost_print(const struct report_moment *from, const struct report_moment *to,
                       uint64_t operations, uint64_t sessions);
json_t *report_cost_json(const struct report_moment *from, const struct report_moment *to,
                         uint64_t operations, uint64_t sessions);

/* Print the document as one line and free it. */
void report_json(json_t *document);

/* On a terminal: a bar on stderr that shows how much of `whole` is done. report_progress_end() takes
 * it away. */
void report_progress(const char *what, uint64_t done, uint64_t whole);
void report_progress_end(void);

#endif
