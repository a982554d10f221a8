/* What a run did, interval by interval: for a look at how latency goes with time.
 *
 * Memory: intervals that are over are JSON, which grows with the run. Threads: one. Times in ns are bench_now_ns().
 */
#ifndef BENCH_SERIES_H
#define BENCH_SERIES_H

#include <stdint.h>

#include <jansson.h>

#include "report.h"

struct series {
    uint64_t interval_ns; /* 0: none is kept. */
    uint64_t start_ns, begun_ns;
    struct histogram latency; /* Of the interval, in us; of errors none. */
    struct report_errors errors;
    json_t *intervals;
};

/* Begin with intervals of so many seconds (0: none) at `now_ns`. What was kept before is forgotten. */
void series_begin(struct series *series, double interval_s, uint64_t now_ns);

/* Count one answer. */
void series_answered(struct series *series, uint64_t latency_us);
void series_failed(struct series *series, enum belay_status status);

/* End the intervals that are over. */
void series_tick(struct series *series, uint64_t now_ns);

/* All intervals, an array; the last one may be a part. The caller's; the series ends. */
json_t *series_end(struct series *series, uint64_t now_ns);

#endif
