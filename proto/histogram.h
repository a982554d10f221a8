/* Histogram of latencies, after HdrHistogram: fixed memory, fixed relative error, cheap to record.
 *
 * Values up to 2^5 are exact; above, each power of two has 32 equal parts, so that a value is known to
 * about 3 %. Values above HISTOGRAM_VALUE_MAX count as that. Adding two histograms is exact.
 * Memory: plain data of about 7 KiB. Threads: the caller's.
 */
#ifndef HISTOGRAM_H
#define HISTOGRAM_H

#include <stdint.h>

enum { HISTOGRAM_BUCKETS = 896 };
#define HISTOGRAM_VALUE_MAX ((UINT64_C(1) << 32) - 1)

struct histogram {
    uint64_t count, sum, max;
    uint64_t buckets[HISTOGRAM_BUCKETS];
};

void histogram_record(struct histogram *histogram, uint64_t value);
void histogram_add(struct histogram *to, const struct histogram *from);

/* The value that `percent` (0 to 100) of the values do not exceed: the upper end of its bucket, never
 * above `max`. 0 when empty. */
uint64_t histogram_percentile(const struct histogram *histogram, double percent);

/* How many values are at or below `value` (to the bucket's precision): for cumulative exposition. */
uint64_t histogram_count_below(const struct histogram *histogram, uint64_t value);

#endif
