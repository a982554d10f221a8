/* Positions of one segment are alike in their first bits and random after them, so dealing them out by
 * the next eight nearly sorts them: about a fifth of what qsort() takes. */
#include "scan_order.h"

#include <assert.h>
#include <string.h>

enum { PILES = 256 };

/* By insertion at falling distances (Shell 1959, gaps by Ciura 2001); the last pass alone sorts, the
 * others are for what the piles did not part. */
static void shell_sort(struct scan_item items[], uint32_t count)
{
    static const uint32_t gaps[] = {301, 132, 57, 23, 10, 4, 1};

    for (uint32_t g = 0; g < sizeof gaps / sizeof gaps[0]; g++) {
        uint32_t gap = gaps[g];
        for (uint32_t i = gap; i < count; i++) {
            struct scan_item item = items[i];
            uint32_t to = i;
            for (; to >= gap && items[to - gap].position > item.position; to -= gap) {
                items[to] = items[to - gap];
            }
            items[to] = item;
        }
    }
}

void scan_order(struct scan_item items[], uint32_t count)
{
    struct scan_item dealt[SEGMENT_SLOTS_MAX];
    uint32_t starts[PILES + 1] = {0};
    uint64_t differ = 0;

    assert(count <= SEGMENT_SLOTS_MAX);
    for (uint32_t i = 0; i < count; i++) {
        differ |= items[i].position ^ items[0].position;
    }
    if (differ == 0) {
        return;
    }
    int shift = __builtin_clzll(differ);
    for (uint32_t i = 0; i < count; i++) {
        starts[(items[i].position << shift >> 56) + 1]++;
    }
    for (uint32_t pile = 0; pile < PILES; pile++) {
        starts[pile + 1] += starts[pile];
    }
    for (uint32_t i = 0; i < count; i++) {
        dealt[starts[items[i].position << shift >> 56]++] = items[i];
    }
    memcpy(items, dealt, count * sizeof *items);
    shell_sort(items, count);
}
