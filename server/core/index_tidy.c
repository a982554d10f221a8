/* Giving the index's memory back, by passes over all regions in order of position. Bucket and tag tell
 * a segment's entries apart from those of its neighbour's well enough (segment.h), so no record is
 * read here. */
#include "index.h"

#include <assert.h>
#include <errno.h>

enum {
    FILL_PERCENT_MAX = 75,  /* Of a segment made here; more may be too crowded, and soon splits. */
    LOAD_PERCENT_LOW = 50,  /* Growth alone stays above 60 %. */
    CHANGE_PERCENT_MIN = 5, /* Records gone since the last pass, for another to be worth it. */
};

static bool pass_is_due(const struct index *index)
{
    uint64_t gone = index->tidied_records - index->records;

    if (index->records * 100 < index->slots * LOAD_PERCENT_LOW &&
        gone * 100 > index->tidied_records * CHANGE_PERCENT_MIN) {
        return true;
    }
    return slab_has_sparse_blocks(index->slab);
}

static uint32_t count_of(const struct index *index, const struct region *region)
{
    return region->kind == REGION_EMPTY
               ? 0
               : segment_count(index_segment(index, region), region_width(region));
}

static void drop_segment(struct index *index, const struct region *region)
{
    if (region->kind != REGION_EMPTY) {
        index_free_segment(index, region);
    }
}

/* One segment of `width` with the entries of all sources; they stay. False where it cannot be made. */
static bool unite(struct index *index, const struct region sources[], uint32_t source_count,
                  uint32_t width, struct region *united)
{
    uint32_t hashes[SEGMENT_SLOTS_MAX], refs[SEGMENT_SLOTS_MAX];
    struct bucket *segment;

    if (index_new_segment(index, width, united, &segment) != 0) {
        return false;
    }
    for (uint32_t source = 0; source < source_count; source++) {
        if (sources[source].kind == REGION_EMPTY) {
            continue;
        }
        uint32_t count = segment_entries(index_segment(index, &sources[source]),
                                         region_width(&sources[source]), hashes, refs);
        for (uint32_t i = 0; i < count; i++) {
            if (!segment_insert(segment, width, hashes[i], refs[i])) {
                index_free_segment(index, united);
                return false;
            }
        }
    }
    return true;
}

/* The width for so many entries: 0 where one segment is not enough. */
static uint32_t width_for(uint32_t count)
{
    uint32_t slots = count * 100 / FILL_PERCENT_MAX;

    if (slots <= SEGMENT_NARROW * BUCKET_SLOTS) {
        return SEGMENT_NARROW;
    }
    return slots <= SEGMENT_WIDE * BUCKET_SLOTS ? SEGMENT_WIDE : 0;
}

/* Drop, narrow or move the segment, whichever helps. */
static void tidy_segment(struct index *index, const struct path *path)
{
    struct region old = *path_region(path), region = old;
    struct bucket *segment;

    if (old.kind == REGION_EMPTY) {
        return;
    }
    uint32_t width = region_width(&old);
    uint32_t count = count_of(index, &old);
    if (count == 0) {
        region = (struct region){.kind = REGION_EMPTY, .depth = old.depth};
    } else if (width > width_for(count) && width_for(count) != 0) {
        if (!unite(index, &old, 1, SEGMENT_NARROW, &region)) {
            return;
        }
    } else if (slab_is_sparse(index->slab, old.ref)) {
        if (index_new_segment(index, width, &region, &segment) != 0) {
            return;
        }
        memcpy(segment, index_segment(index, &old), width * sizeof *segment);
    } else {
        return;
    }
    index_put_region(path, region);
    index_free_segment(index, &old);
}

/* A table that is one region: the region takes its place. */
static bool collapse(struct index *index, struct path *path)
{
    struct region region = *path_region(path);

    if (region.depth > 0 || path->last == 0) {
        return false;
    }
    struct table *table = path_table(path);
    path->last--;
    region.depth = path_region(path)->depth;
    *path_region(path) = region;
    index_free_table(index, table);
    return true;
}

static void shrink_table(struct index *index, const struct path *path)
{
    struct table *table = path_table(path);
    uint32_t deepest = 0;

    for (uint32_t entry = 0; entry < UINT32_C(1) << table->bits; entry++) {
        uint32_t depth = table->regions[entry].depth;
        if (depth == table->bits) {
            return;
        }
        deepest = depth > deepest ? depth : deepest;
    }
    (void)index_resize_table(index, path->links[path->last], deepest); /* Or it stays. */
}

/* Unite the region with the other half of what it was split from. Returns whether it was done. */
static bool merge(struct index *index, const struct path *path)
{
    struct table *table = path_table(path);
    struct region own = *path_region(path), united = own;

    if (own.depth == 0) {
        return false;
    }
    uint32_t run = UINT32_C(1) << (table->bits - own.depth);
    struct region other = table->regions[path->entries[path->last] ^ run];
    if (other.kind == REGION_TABLE || other.depth != own.depth) {
        return false;
    }
    if (own.kind == REGION_EMPTY) {
        united = other;
    } else if (other.kind != REGION_EMPTY) {
        uint32_t width = width_for(count_of(index, &own) + count_of(index, &other));
        if (width == 0 || !unite(index, (struct region[]){own, other}, 2, width, &united)) {
            return false;
        }
        drop_segment(index, &own);
        drop_segment(index, &other);
    }
    united.depth = (uint8_t)(own.depth - 1);
    index_put_region(path, united);
    if (own.depth == table->bits) {
        shrink_table(index, path);
    }
    return true;
}

bool index_tidy(struct index *index, uint32_t segments)
{
    if (!index->tidying) {
        if (!pass_is_due(index)) {
            return false;
        }
        index->tidying = true;
        index->tidy_cursor = 0;
        index->tidied_records = index->records;
    }
    for (uint32_t done = 0; done < segments; done++) {
        struct path path;
        do {
            index_walk(index, index->tidy_cursor, &path);
            tidy_segment(index, &path);
        } while (merge(index, &path) || collapse(index, &path));
        index->tidy_cursor = index_span(index, index->tidy_cursor).last + 1;
        if (index->tidy_cursor == 0) {
            index->tidying = false;
            break;
        }
    }
    return index->tidying || pass_is_due(index);
}
