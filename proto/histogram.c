#include "histogram.h"

#include <assert.h>

enum { PARTS_BITS = 5, PARTS = 1 << PARTS_BITS };

static_assert(HISTOGRAM_BUCKETS == (32 - PARTS_BITS) * PARTS + PARTS, "every 32-bit value has one");

/* Values below PARTS have a bucket each; above, the power of two and the PARTS_BITS bits below its top
 * bit choose one. */
static uint32_t bucket_of(uint64_t value)
{
    if (value < PARTS) {
        return (uint32_t)value;
    }
    uint32_t power = 63 - (uint32_t)__builtin_clzll(value);
    uint32_t part = (uint32_t)(value >> (power - PARTS_BITS)) & (PARTS - 1);
    return (power - PARTS_BITS + 1) * PARTS + part;
}

/* The greatest value of a bucket. */
static uint64_t bucket_end(uint32_t bucket)
{
    if (bucket < PARTS) {
        return bucket;
    }
    uint32_t shift = bucket / PARTS - 1;
    return ((uint64_t)(PARTS + bucket % PARTS + 1) << shift) - 1;
}

void histogram_record(struct histogram *histogram, uint64_t value)
{
    if (value > HISTOGRAM_VALUE_MAX) {
        value = HISTOGRAM_VALUE_MAX;
    }
    histogram->count++;
    histogram->sum += value;
    if (value > histogram->max) {
        histogram->max = value;
    }
    histogram->buckets[bucket_of(value)]++;
}

void histogram_add(struct histogram *to, const struct histogram *from)
{
    to->count += from->count;
    to->sum += from->sum;
    if (from->max > to->max) {
        to->max = from->max;
    }
    for (uint32_t i = 0; i < HISTOGRAM_BUCKETS; i++) {
        to->buckets[i] += from->buckets[i];
    }
}

uint64_t histogram_percentile(const struct histogram *histogram, double percent)
{
    double wanted = percent / 100.0 * (double)histogram->count;
    uint64_t seen = 0;

    for (uint32_t i = 0; i < HISTOGRAM_BUCKETS; i++) {
        seen += histogram->buckets[i];
        if (seen > 0 && (double)seen >= wanted) {
            uint64_t end = bucket_end(i);
            return end < histogram->max ? end : histogram->max;
        }
    }
    return histogram->max;
}

uint64_t histogram_count_below(const struct histogram *histogram, uint64_t value)
{
    uint64_t seen = 0;

    for (uint32_t i = 0; i < HISTOGRAM_BUCKETS && bucket_end(i) <= value; i++) {
        seen += histogram->buckets[i];
    }
    return seen;
}
