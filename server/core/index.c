#include "index.h"

#include <assert.h>
#include <errno.h>

enum { PREFETCH_AHEAD = 16 };

static_assert(sizeof(struct bucket) * SEGMENT_NARROW == 2048, "SLAB_BLOCK_2K");
static_assert(sizeof(struct bucket) * SEGMENT_WIDE == 3072, "SLAB_BLOCK_3K");

/* ---- tables ---- */

static size_t table_size(uint32_t bits)
{
    return sizeof(struct table) + (sizeof(struct region) << bits);
}

static struct table *new_table(struct index *index, uint32_t bits)
{
    struct table *table = index->memory->resize(index->memory, NULL, 0, table_size(bits));

    if (table != NULL) {
        table->bits = bits;
        index->table_bytes += table_size(bits);
    }
    return table;
}

void index_free_table(struct index *index, struct table *table)
{
    index->table_bytes -= table_size(table->bits);
    index->memory->resize(index->memory, table, table_size(table->bits), 0);
}

int index_resize_table(struct index *index, struct table **link, uint32_t bits)
{
    struct table *old = *link;
    struct table *table = new_table(index, bits);

    if (table == NULL) {
        return -ENOMEM;
    }
    for (uint32_t entry = 0; entry < UINT32_C(1) << bits; entry++) {
        table->regions[entry] = bits > old->bits ? old->regions[entry >> (bits - old->bits)]
                                                 : old->regions[entry << (old->bits - bits)];
    }
    index_free_table(index, old);
    *link = table;
    return 0;
}

int index_init(struct index *index, struct memory *memory, struct slab *slab,
               uint64_t (*position_of)(void *context, uint32_t ref), void *context)
{
    *index = (struct index){
        .memory = memory,
        .slab = slab,
        .position_of = position_of,
        .context = context,
    };
    index->root = new_table(index, 0);
    if (index->root == NULL) {
        return -ENOMEM;
    }
    index->root->regions[0] = (struct region){.kind = REGION_EMPTY};
    return 0;
}

/* Depth first without recursion: the deepest table on the way to the first table region goes first. */
void index_fini(struct index *index)
{
    while (index->root != NULL) {
        struct table **link = &index->root;
        uint32_t entry = 0;
        while (entry < UINT32_C(1) << (*link)->bits) {
            struct region *region = &(*link)->regions[entry];
            if (region->kind == REGION_TABLE && region->table != NULL) {
                link = &region->table;
                entry = 0;
            } else {
                entry++;
            }
        }
        index_free_table(index, *link);
        *link = NULL;
    }
}

void index_walk(struct index *index, uint64_t position, struct path *path)
{
    struct table **link = &index->root;
    uint32_t used = 0;

    for (path->last = 0;; path->last++) {
        assert(path->last < INDEX_DEPTH_MAX);
        uint32_t entry = index_entry(*link, position, used);
        struct region *region = &(*link)->regions[entry];
        path->links[path->last] = link;
        path->entries[path->last] = entry;
        if (region->kind != REGION_TABLE) {
            return;
        }
        used += (*link)->bits;
        link = &region->table;
    }
}

void index_put_region(const struct path *path, struct region region)
{
    struct table *table = path_table(path);
    uint32_t run = UINT32_C(1) << (table->bits - region.depth);
    uint32_t first = path->entries[path->last] & ~(run - 1);

    for (uint32_t entry = first; entry < first + run; entry++) {
        table->regions[entry] = region;
    }
}

/* ---- segments ---- */

int index_new_segment(struct index *index, uint32_t width, struct region *region,
                      struct bucket **segment)
{
    uint32_t class = width == SEGMENT_WIDE ? SLAB_BLOCK_3K : SLAB_BLOCK_2K;
    uint32_t ref;
    int rc = slab_alloc_block(index->slab, class, &ref);

    if (rc != 0) {
        return rc;
    }
    region->ref = ref;
    region->kind = width == SEGMENT_WIDE ? REGION_WIDE : REGION_NARROW;
    index->slots += width * BUCKET_SLOTS;
    *segment = index_segment(index, region);
    segment_clear(*segment, width);
    return 0;
}

void index_free_segment(struct index *index, const struct region *region)
{
    index->slots -= region_width(region) * BUCKET_SLOTS;
    slab_free(index->slab, region->ref);
}

void index_erase(struct index *index, const struct probe *probe)
{
    segment_erase(probe);
    index->records--;
}

/* ---- growth ---- */

/* All that splitting needs to know of one segment. */
struct contents {
    uint32_t count;
    uint32_t refs[SEGMENT_SLOTS_MAX];
    uint64_t positions[SEGMENT_SLOTS_MAX];
};

static void read_contents(const struct index *index, const struct region *region,
                          struct contents *contents)
{
    uint32_t *refs = contents->refs;
    uint32_t count =
        segment_entries(index_segment(index, region), region_width(region), NULL, refs);

    for (uint32_t i = 0; i < count + PREFETCH_AHEAD; i++) {
        if (i < count) {
            slab_prefetch(index->slab, refs[i]);
        }
        if (i >= PREFETCH_AHEAD) {
            uint32_t at = i - PREFETCH_AHEAD;
            contents->positions[at] = index->position_of(index->context, refs[at]);
        }
    }
    contents->count = count;
}

/* The first bit, from the top, in which any position differs from this one; 64 where none does. */
static uint32_t first_difference(const struct contents *contents, uint64_t position)
{
    uint64_t differ = 0;

    for (uint32_t i = 0; i < contents->count; i++) {
        differ |= contents->positions[i] ^ position;
    }
    return differ == 0 ? 64 : (uint32_t)__builtin_clzll(differ);
}

/* Widen a full narrow segment. Returns 0; -ENOMEM; -ENOSPC where the entries are too crowded. */
static int widen(struct index *index, const struct path *path)
{
    struct region old = *path_region(path), region = old;
    uint32_t hashes[SEGMENT_SLOTS_MAX], refs[SEGMENT_SLOTS_MAX];
    struct bucket *segment;

    int rc = index_new_segment(index, SEGMENT_WIDE, &region, &segment);
    if (rc != 0) {
        return rc;
    }
    uint32_t count = segment_entries(index_segment(index, &old), region_width(&old), hashes, refs);
    for (uint32_t i = 0; i < count; i++) {
        if (!segment_insert(segment, SEGMENT_WIDE, hashes[i], refs[i])) {
            index_free_segment(index, &region);
            return -ENOSPC;
        }
    }
    index_put_region(path, region);
    index_free_segment(index, &old);
    return 0;
}

/* Make room in the tables for halving the region: one more bit, or a table below. 0 or -ENOMEM. */
static int deepen(struct index *index, struct path *path)
{
    struct table *table = path_table(path);
    struct region region = *path_region(path);

    if (region.depth < table->bits) {
        return 0;
    }
    if (table->bits < TABLE_BITS_MAX) {
        int rc = index_resize_table(index, path->links[path->last], table->bits + 1);
        path->entries[path->last] <<= rc == 0;
        return rc;
    }
    struct table *below = new_table(index, 1);
    if (below == NULL) {
        return -ENOMEM;
    }
    uint8_t depth = region.depth;
    region.depth = 0;
    below->regions[0] = below->regions[1] = region;
    struct region *link = path_region(path);
    *link = (struct region){.table = below, .kind = REGION_TABLE, .depth = depth};
    path->last++;
    assert(path->last < INDEX_DEPTH_MAX);
    path->links[path->last] = &link->table;
    path->entries[path->last] = 0;
    return 0;
}

/* Put two halves in place of the region. There is room: deepen(). */
static void halve(struct path *path, const struct region halves[2])
{
    struct table *table = path_table(path);
    uint32_t depth = path_region(path)->depth;
    uint32_t half_run = UINT32_C(1) << (table->bits - depth - 1);
    uint32_t first = path->entries[path->last] & ~(2 * half_run - 1);

    for (uint32_t half = 0; half < 2; half++) {
        path->entries[path->last] = first + half * half_run;
        struct region region = halves[half];
        region.depth = (uint8_t)(depth + 1);
        index_put_region(path, region);
    }
}

/* Keep of a copied segment only the entries whose position has `bit` (from the top) as `side`. */
static void keep_side(struct bucket *segment, uint32_t width, const struct contents *contents,
                      uint32_t bit, uint32_t side)
{
    for (uint32_t i = 0; i < contents->count; i++) {
        if ((contents->positions[i] >> (63 - bit) & 1) == side) {
            continue;
        }
        struct probe probe = segment_probe(segment, width, segment_hash(contents->positions[i]));
        bool found = probe_next(&probe);
        while (found && *probe_ref(&probe) != contents->refs[i]) {
            found = probe_next(&probe);
        }
        assert(found);
        segment_erase(&probe);
    }
}

/* Make the segment of one side: narrow, or as wide as the old one where that is too crowded.
 * No entries, no segment. Returns 0 or -ENOMEM. */
static int make_side(struct index *index, const struct region *old, const struct contents *contents,
                     uint32_t bit, uint32_t side, struct region *region)
{
    struct bucket *segment;
    bool any = false;
    int rc = index_new_segment(index, SEGMENT_NARROW, region, &segment);

    if (rc != 0) {
        return rc;
    }
    for (uint32_t i = 0; i < contents->count; i++) {
        uint64_t position = contents->positions[i];
        if ((position >> (63 - bit) & 1) != side) {
            continue;
        }
        any = true;
        if (segment_insert(segment, SEGMENT_NARROW, segment_hash(position), contents->refs[i])) {
            continue;
        }
        index_free_segment(index, region);
        uint32_t width = region_width(old);
        rc = index_new_segment(index, width, region, &segment);
        if (rc != 0) {
            return rc;
        }
        memcpy(segment, index_segment(index, old), width * sizeof *segment);
        keep_side(segment, width, contents, bit, side);
        return 0;
    }
    if (!any) {
        index_free_segment(index, region);
        *region = (struct region){.kind = REGION_EMPTY};
    }
    return 0;
}

/* Split the segment on the way to `position` at the first bit that parts its positions, this one
 * included. Bits before that only narrow the region. Returns 0; -ENOMEM; -ENOSPC: no such bit. */
static int split(struct index *index, struct path *path, uint64_t position)
{
    struct contents contents;
    struct region old = *path_region(path), halves[2] = {{.kind = REGION_EMPTY}};

    read_contents(index, &old, &contents);
    uint32_t bit = first_difference(&contents, position);
    if (bit == 64) {
        return -ENOSPC;
    }
    for (uint32_t at = path->last * TABLE_BITS_MAX + old.depth; at < bit; at++) {
        int rc = deepen(index, path);
        if (rc != 0) {
            return rc;
        }
        uint32_t side = position >> (63 - at) & 1;
        halves[side] = old;
        halves[!side] = (struct region){.kind = REGION_EMPTY};
        halve(path, halves);
        index_walk(index, position, path);
    }
    int rc = deepen(index, path);
    if (rc != 0) {
        return rc;
    }
    rc = make_side(index, &old, &contents, bit, 0, &halves[0]);
    if (rc != 0) {
        return rc;
    }
    rc = make_side(index, &old, &contents, bit, 1, &halves[1]);
    if (rc != 0) {
        if (halves[0].kind != REGION_EMPTY) {
            index_free_segment(index, &halves[0]);
        }
        return rc;
    }
    halve(path, halves);
    index_free_segment(index, &old);
    return 0;
}

int index_reserve(struct index *index, uint64_t position)
{
    for (;;) {
        struct path path;
        struct bucket *segment;
        index_walk(index, position, &path);
        struct region region = *path_region(&path);
        int rc = -ENOSPC;

        if (region.kind == REGION_EMPTY) {
            rc = index_new_segment(index, SEGMENT_NARROW, &region, &segment);
            if (rc == 0) {
                index_put_region(&path, region);
            }
            return rc;
        }
        if (segment_make_room(index_segment(index, &region), region_width(&region),
                              segment_hash(position))) {
            return 0;
        }
        if (region.kind == REGION_NARROW) {
            rc = widen(index, &path);
        }
        if (rc == -ENOSPC) {
            rc = split(index, &path, position);
        }
        if (rc != 0) {
            return rc;
        }
    }
}

int index_insert(struct index *index, uint64_t position, uint32_t ref)
{
    int rc = index_reserve(index, position);
    if (rc != 0) {
        return rc;
    }
    uint32_t depth;
    const struct region *region = index_region(index, position, &depth);
    bool inserted = segment_insert(index_segment(index, region), region_width(region),
                                   segment_hash(position), ref);
    assert(inserted);
    index->records++;
    if (index->records > index->tidied_records) {
        index->tidied_records = index->records;
    }
    return 0;
}

struct span index_span(const struct index *index, uint64_t position)
{
    uint32_t depth;
    const struct region *region = index_region(index, position, &depth);
    uint64_t below = depth == 64 ? 0 : UINT64_MAX >> depth;
    bool empty = region->kind == REGION_EMPTY;

    return (struct span){
        .first = position & ~below,
        .last = position | below,
        .segment = empty ? NULL : index_segment(index, region),
        .width = empty ? 0 : region_width(region),
    };
}
