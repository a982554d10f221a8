/* Index: from a position to the references of the records there. Extendible hashing in order of
 * position.
 *
 *   root table -> region -> segment (32 or 48 buckets) -> bucket -> reference into the slab
 *                 region -> a further table, where many keys share their first bits
 *
 * A table divides its part of the positions by the next 0 to 12 bits. A region is the share of one
 * segment: an aligned run of equal entries, 2^-depth of its table. A segment that is full is widened,
 * then split by the next bit in which its positions differ; regions with nothing in them have no
 * segment. No step touches more than one segment or one table, so growth never stops the world; all
 * keys in one slot cost two or three small tables on the way and nothing else.
 *
 * Splitting must know more of a position than is stored here and asks for it: `position_of`.
 *
 * Memory: segments are blocks of the slab, tables come from the port. Threads: one.
 */
#ifndef INDEX_H
#define INDEX_H

#include <stdbool.h>
#include <stdint.h>

#include "segment.h"
#include "slab.h"

enum {
    TABLE_BITS_MAX = 12,
    INDEX_DEPTH_MAX = 64 / TABLE_BITS_MAX + 1, /* Tables on one way down. */
};

enum region_kind {
    REGION_EMPTY = 0,
    REGION_NARROW,
    REGION_WIDE,
    REGION_TABLE,
};

struct table;

struct region {
    union {
        struct table *table;
        uint32_t ref; /* The segment. */
    };
    uint8_t kind;
    uint8_t depth; /* Bits of the table that are the same for the whole region. */
};

struct table {
    uint32_t bits;
    struct region regions[]; /* 2^bits. */
};

/* Private to the index's files. */
struct index {
    struct memory *memory;
    struct slab *slab;
    uint64_t (*position_of)(void *context, uint32_t ref);
    void *context;
    struct table *root;
    uint64_t records;
    uint64_t slots; /* In all segments. */
    uint64_t table_bytes;
    uint64_t tidy_cursor; /* A pass of index_tidy() is here. */
    bool tidying;
    uint64_t tidied_records; /* Records at the last pass, or the most since then. */
};

/* The part of the positions from `first` to `last` that one segment, or none, has. */
struct span {
    uint64_t first, last;
    struct bucket *segment; /* NULL: nothing there. */
    uint32_t width;
};

/* ---- A look-up: inline, as it is most of what is done ---- */

/* The entry of a table for a position of which `used` bits chose the tables above. */
static inline uint32_t index_entry(const struct table *table, uint64_t position, uint32_t used)
{
    return table->bits == 0 ? 0 : (uint32_t)(position << used >> (64 - table->bits));
}

/* The region of a position; `depth` is the number of bits that chose it. */
static inline const struct region *index_region(const struct index *index, uint64_t position,
                                                uint32_t *depth)
{
    const struct table *table = index->root;
    const struct region *region = &table->regions[index_entry(table, position, 0)];

    for (*depth = 0; region->kind == REGION_TABLE;) {
        *depth += table->bits;
        table = region->table;
        region = &table->regions[index_entry(table, position, *depth)];
    }
    *depth += region->depth;
    return region;
}

static inline struct bucket *index_segment(const struct index *index, const struct region *region)
{
    return (struct bucket *)(void *)slab_cell(index->slab, region->ref);
}

static inline uint32_t region_width(const struct region *region)
{
    return region->kind == REGION_WIDE ? SEGMENT_WIDE : SEGMENT_NARROW;
}

/* Begin to look for a position: probe_next() gives what may be there. */
static inline struct probe index_probe(const struct index *index, uint64_t position)
{
    uint32_t depth;
    const struct region *region = index_region(index, position, &depth);

    if (region->kind == REGION_EMPTY) {
        return (struct probe){.width = 0};
    }
    return segment_probe(index_segment(index, region), region_width(region),
                         segment_hash(position));
}

/* (Not merely inline: gcc 12 drops calls of functions that do nothing but prefetch.) */
__attribute__((always_inline)) static inline void index_prefetch(const struct index *index,
                                                                 uint64_t position)
{
    uint32_t depth;
    const struct region *region = index_region(index, position, &depth);

    if (region->kind != REGION_EMPTY) {
        uint32_t home = segment_home(region_width(region), segment_hash(position));
        __builtin_prefetch(index_segment(index, region) + home);
    }
}

/* ---- All else ---- */

/* Returns 0 or -ENOMEM. */
int index_init(struct index *index, struct memory *memory, struct slab *slab,
               uint64_t (*position_of)(void *context, uint32_t ref), void *context);

/* Gives the tables back; segments go with the slab. */
void index_fini(struct index *index);

/* Make sure that the next index_insert(), if it is at `position`, cannot fail. Returns as it does. */
int index_reserve(struct index *index, uint64_t position);

/* Add a reference, one more even if it is there already. Returns 0; -ENOMEM; -ENOSPC where too many
 * equal positions are there already. On failure all entries are as before. */
int index_insert(struct index *index, uint64_t position, uint32_t ref);

/* Take out what the probe has found. */
void index_erase(struct index *index, const struct probe *probe);

/* The span that holds `position`. */
struct span index_span(const struct index *index, uint64_t position);

/* Give memory back after many were erased: merge neighbours, narrow, leave sparse pages. Does a little,
 * about `segments` of them. Returns whether there is more to do. (index_tidy.c) */
bool index_tidy(struct index *index, uint32_t segments);

/* ---- for the index's own files ---- */

/* The way to a region. */
struct path {
    struct table **links[INDEX_DEPTH_MAX]; /* Where the pointer to each table on the way stands. */
    uint32_t entries[INDEX_DEPTH_MAX];     /* The entry taken in each. */
    uint32_t last;                         /* Index of the last table. */
};

static inline struct table *path_table(const struct path *path)
{
    return *path->links[path->last];
}

static inline struct region *path_region(const struct path *path)
{
    return &path_table(path)->regions[path->entries[path->last]];
}

void index_walk(struct index *index, uint64_t position, struct path *path);

/* Write the whole region that the path leads to. */
void index_put_region(const struct path *path, struct region region);

/* A cleared segment. Returns 0 or -ENOMEM. */
int index_new_segment(struct index *index, uint32_t width, struct region *region,
                      struct bucket **segment);

void index_free_segment(struct index *index, const struct region *region);

void index_free_table(struct index *index, struct table *table);

/* Replace a table by one of other bits, each entry repeated or every other one left out.
 * Returns 0 or -ENOMEM. */
int index_resize_table(struct index *index, struct table **link, uint32_t bits);

#endif
