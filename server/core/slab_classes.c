/* Size classes: cells that divide a page without rest, or nearly. */
#include "slab.h"

#include <assert.h>

enum {
    SMALL_BYTES_MAX = 1024, /* Largest cell with a prefix of one byte. */
    PAGE_CELLS_MIN = 16,    /* Cells above 1/16 of 64 KiB come from big pages. */
};

static void add_class(struct slab *slab, uint32_t cells, bool big)
{
    uint32_t page_bytes = big ? SLAB_BIG_PAGE_BYTES : SLAB_PAGE_BYTES;
    uint32_t cell_bytes = page_bytes / cells;

    if (slab->class_count > 0 && slab->classes[slab->class_count - 1].cell_bytes == cell_bytes) {
        return;
    }
    assert(slab->class_count < SLAB_CLASSES_MAX);
    slab->classes[slab->class_count++] = (struct slab_class){
        .cell_bytes = cell_bytes,
        .cells = (uint16_t)cells,
        .prefix_bytes = cell_bytes <= SMALL_BYTES_MAX ? 1 : 2,
        .big = big,
        .lists = {SLAB_PAGE_NONE, SLAB_PAGE_NONE, SLAB_PAGE_NONE, SLAB_PAGE_NONE},
    };
}

static void add_block_class(struct slab *slab, uint32_t cell_bytes)
{
    add_class(slab, SLAB_PAGE_BYTES / cell_bytes, false);
    slab->classes[slab->class_count - 1].cell_bytes = cell_bytes;
    slab->classes[slab->class_count - 1].prefix_bytes = 0;
}

void slab_make_classes(struct slab *slab)
{
    add_block_class(slab, 2048);
    add_block_class(slab, 3072);
    for (uint32_t size = SLAB_CELL_BYTES_MIN; size <= SMALL_BYTES_MAX; size += 8) {
        add_class(slab, SLAB_PAGE_BYTES / size, false);
    }
    uint32_t small_count = slab->class_count;
    for (uint32_t cells = SLAB_PAGE_BYTES / SMALL_BYTES_MAX - 1; cells >= PAGE_CELLS_MIN; cells--) {
        add_class(slab, cells, false);
    }
    for (uint32_t cells = SLAB_BIG_PAGE_BYTES / SLAB_PAGE_BYTES * PAGE_CELLS_MIN - 7;
         cells >= PAGE_CELLS_MIN; cells -= (cells + 8) / 17) {
        add_class(slab, cells, true);
    }

    uint32_t number = SLAB_BLOCK_3K + 1;
    for (uint32_t eighth = 0; eighth <= SMALL_BYTES_MAX / 8; eighth++) {
        while (slab->classes[number].cell_bytes < eighth * 8) {
            number++;
        }
        assert(number < small_count);
        slab->by_eighth[eighth] = (uint8_t)number;
    }
}

uint32_t slab_class_of(const struct slab *slab, size_t size)
{
    if (size + 1 <= SMALL_BYTES_MAX) {
        return slab->by_eighth[(size + 1 + 7) / 8];
    }
    uint32_t low = slab->by_eighth[SMALL_BYTES_MAX / 8] + 1u, high = slab->class_count;

    while (low < high) {
        uint32_t middle = low + (high - low) / 2;
        if (slab->classes[middle].cell_bytes < size + 2) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    return low == slab->class_count ? (uint32_t)SLAB_LARGE : low;
}
