/* The order of one segment's records in a scan. */
#ifndef SCAN_ORDER_H
#define SCAN_ORDER_H

#include <stdint.h>

#include "segment.h"

struct scan_item {
    uint64_t position;
    uint32_t ref;
};

/* Sort at most SEGMENT_SLOTS_MAX items by position. */
void scan_order(struct scan_item items[], uint32_t count);

#endif
