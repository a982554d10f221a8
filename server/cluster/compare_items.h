/* The items of a comparison's messages, for its two ends. */
#ifndef COMPARE_ITEMS_H
#define COMPARE_ITEMS_H

#include "compare.h"

enum compare_item {
    COMPARE_ASK = 1,
    COMPARE_WANT = 2,
    COMPARE_FENCE = 3,
    COMPARE_SAME = 4,
    COMPARE_PARTS_OF = 5,
    COMPARE_LIST = 6,
};

enum { COMPARE_SUM_BYTES_MAX = 10 + 8, COMPARE_ENTRY_BYTES = 16 };

struct compare_sum {
    uint64_t count, sum;
};

static inline bool compare_sum_equal(struct compare_sum a, struct compare_sum b)
{
    return a.count == b.count && a.sum == b.sum;
}

static inline void compare_sum_add(struct compare_sum *sum, struct compare_entry entry)
{
    sum->count++;
    sum->sum += entry.hash;
}

static inline uint8_t *compare_sum_put(uint8_t *to, struct compare_sum sum)
{
    to = varint_put(to, sum.count);
    store_u64(to, sum.sum);
    return to + 8;
}

static inline struct compare_sum compare_sum_read(struct reader *from)
{
    uint64_t count = read_varint(from);

    return (struct compare_sum){count, read_u64(from)};
}

/* Ranges as narrow as this are listed, not divided: nobody can fill one. */
static inline bool compare_is_narrow(struct compare_range range)
{
    return range.last - range.first < COMPARE_PARTS * COMPARE_PARTS;
}

/* Positions of each part of a range that is not narrow; the last part may have fewer. */
static inline uint64_t compare_part_width(struct compare_range range)
{
    return (range.last - range.first) / COMPARE_PARTS + 1;
}

static inline struct compare_range compare_part(struct compare_range range, uint32_t part)
{
    const uint64_t width = compare_part_width(range), first = range.first + width * part;

    return (struct compare_range){first,
                                  part + 1 == COMPARE_PARTS ? range.last : first + width - 1};
}

/* What this end has of each part of a range. */
void compare_sums(struct compare_source *source, struct compare_range range,
                  struct compare_sum parts[COMPARE_PARTS]);

/* Take the range of an ask, or the position of a want. */
static inline struct compare_range compare_range_read(struct reader *from)
{
    uint64_t first = read_u64(from);

    return (struct compare_range){first, read_u64(from)};
}

#endif
