#include "keeper.h"

#include <assert.h>
#include <errno.h>
#include <string.h>

#define XXH_INLINE_ALL
#include <xxhash.h>

#include "index.h"
#include "scan_order.h"
#include "slab.h"

enum {
    MOVE_BATCH = 16,
    PREFETCH_AHEAD = 16,
    TIDY_SEGMENTS = 16, /* A call of index_tidy(): 5 to 20 us. */
    LINE_BYTES = 64,
    PREFETCH_BYTES_MAX = 1024,
    SCANNED = 4, /* Spans kept: walks go on at a few places at a time. */
};

/* What keeper_scan() found in one span. */
struct scanned {
    uint64_t changes; /* The keeper's, then. */
    uint64_t first, last;
    uint32_t count;
    struct scan_item items[SEGMENT_SLOTS_MAX];
};

struct keeper {
    struct memory *memory;
    uint64_t seed;
    struct bytes (*key_of)(struct bytes record);
    uint64_t moved;
    uint64_t changes; /* Of which records there are, and where. */
    struct index index;
    struct slab slab;
    struct scanned scanned[SCANNED];
    uint32_t scanned_next; /* The one that goes next. */
};

uint64_t keeper_position(uint64_t seed, struct bytes key)
{
    uint64_t hash = XXH3_64bits_withSeed(key.data, key.size, seed);

    return (uint64_t)slot_of_key(key) << (64 - SLOT_BITS) | hash >> SLOT_BITS;
}

uint64_t keeper_fingerprint(uint64_t seed, struct bytes key)
{
    return XXH3_64bits_withSeed(key.data, key.size, ~seed);
}

static uint64_t position_of(void *context, uint32_t ref)
{
    const struct keeper *keeper = context;

    return keeper_position(keeper->seed, keeper->key_of(slab_at(&keeper->slab, ref)));
}

int keeper_create(struct memory *memory, uint64_t seed, struct bytes (*key_of)(struct bytes record),
                  struct keeper **keeper)
{
    struct keeper *created = memory->resize(memory, NULL, 0, sizeof *created);

    if (created == NULL) {
        return -ENOMEM;
    }
    *created = (struct keeper){.memory = memory, .seed = seed, .key_of = key_of, .changes = 1};
    slab_init(&created->slab, memory);
    int rc = index_init(&created->index, memory, &created->slab, position_of, created);
    if (rc != 0) {
        slab_fini(&created->slab);
        memory->resize(memory, created, sizeof *created, 0);
        return rc;
    }
    *keeper = created;
    return 0;
}

void keeper_destroy(struct keeper *keeper)
{
    if (keeper == NULL) {
        return;
    }
    index_fini(&keeper->index);
    slab_fini(&keeper->slab);
    keeper->memory->resize(keeper->memory, keeper, sizeof *keeper, 0);
}

void keeper_prefetch_bucket(const struct keeper *keeper, uint64_t position)
{
    index_prefetch(&keeper->index, position);
}

/* Every record with the right tag, nearly always one, and all of it: an answer copies it and a write
 * covers it. Longer ones are left to the processor, which sees the pattern. (For 560 bytes in batches of
 * 16 this takes a find with its copy from 340 to 150 ns.) */
void keeper_prefetch_record(const struct keeper *keeper, uint64_t position)
{
    struct probe probe = index_probe(&keeper->index, position);

    while (probe_next(&probe)) {
        uint32_t ref = *probe_ref(&probe);
        const uint8_t *cell = slab_cell(&keeper->slab, ref);
        uint32_t bytes = slab_cell_bytes(&keeper->slab, ref);
        if (bytes > PREFETCH_BYTES_MAX) {
            bytes = PREFETCH_BYTES_MAX;
        }
        for (uint32_t at = 0; at < bytes; at += LINE_BYTES) {
            __builtin_prefetch(cell + at, 0, 2);
        }
        __builtin_prefetch(cell + bytes - 1, 0, 2);
    }
}

/* Find a key's entry. Returns whether it is there, with `probe` on it. */
static bool find(const struct keeper *keeper, uint64_t position, struct bytes key,
                 struct probe *probe)
{
    *probe = index_probe(&keeper->index, position);
    while (probe_next(probe)) {
        struct bytes record = slab_at(&keeper->slab, *probe_ref(probe));
        if (bytes_equal(keeper->key_of(record), key)) {
            return true;
        }
    }
    return false;
}

struct bytes keeper_find(const struct keeper *keeper, uint64_t position, struct bytes key)
{
    struct probe probe;

    if (!find(keeper, position, key, &probe)) {
        return bytes_of(NULL, 0);
    }
    return slab_at(&keeper->slab, *probe_ref(&probe));
}

uint8_t *keeper_find_mutable(struct keeper *keeper, uint64_t position, struct bytes key,
                             size_t *size)
{
    struct probe probe;

    if (!find(keeper, position, key, &probe)) {
        return NULL;
    }
    *size = slab_at(&keeper->slab, *probe_ref(&probe)).size;
    return slab_data(&keeper->slab, *probe_ref(&probe));
}

int keeper_reserve(struct keeper *keeper, uint64_t position, struct bytes key, size_t record_bytes)
{
    struct probe probe;
    int rc = 0;

    if (!find(keeper, position, key, &probe)) {
        rc = index_reserve(&keeper->index, position);
    }
    return rc == 0 ? slab_reserve(&keeper->slab, record_bytes) : rc;
}

int keeper_set(struct keeper *keeper, uint64_t position, struct bytes record)
{
    struct slab *slab = &keeper->slab;
    struct probe probe;
    bool found = find(keeper, position, keeper->key_of(record), &probe);
    uint32_t ref;

    if (found && slab_refit(slab, *probe_ref(&probe), record.size)) {
        memcpy(slab_data(slab, *probe_ref(&probe)), record.data, record.size);
        return 0;
    }
    keeper->changes++;
    int rc = slab_alloc(slab, record.size, &ref);
    if (rc != 0) {
        return rc;
    }
    memcpy(slab_data(slab, ref), record.data, record.size);
    if (found) {
        slab_mark(slab, ref, slab_is_marked(slab, *probe_ref(&probe)));
        slab_free(slab, *probe_ref(&probe));
        *probe_ref(&probe) = ref;
        return 0;
    }
    rc = index_insert(&keeper->index, position, ref);
    if (rc != 0) {
        slab_free(slab, ref);
    }
    return rc;
}

int keeper_stage(struct keeper *keeper, uint64_t position, struct bytes record, uint32_t *ref)
{
    struct slab *slab = &keeper->slab;
    struct probe probe;
    uint32_t cell;

    keeper->changes++;
    int rc = slab_alloc(slab, record.size, &cell);
    if (rc != 0) {
        return rc;
    }
    memcpy(slab_data(slab, cell), record.data, record.size);
    if (!find(keeper, position, keeper->key_of(record), &probe)) {
        rc = index_insert(&keeper->index, position, cell);
    }
    if (rc != 0) {
        slab_free(slab, cell);
        return rc;
    }
    *ref = cell;
    return 0;
}

void keeper_commit(struct keeper *keeper, uint64_t position, struct bytes key, uint32_t ref)
{
    struct slab *slab = &keeper->slab;
    struct probe probe;

    bool found = find(keeper, position, key, &probe);
    assert(found);
    keeper->changes++;
    if (found && *probe_ref(&probe) != ref) {
        slab_mark(slab, ref, slab_is_marked(slab, *probe_ref(&probe)));
        slab_free(slab, *probe_ref(&probe));
        *probe_ref(&probe) = ref;
    }
}

void keeper_abandon(struct keeper *keeper, uint64_t position, struct bytes key, uint32_t ref)
{
    struct probe probe;

    keeper->changes++;
    if (find(keeper, position, key, &probe) && *probe_ref(&probe) == ref) {
        index_erase(&keeper->index, &probe);
    }
    slab_free(&keeper->slab, ref);
}

bool keeper_remove(struct keeper *keeper, uint64_t position, struct bytes key)
{
    struct probe probe;

    if (!find(keeper, position, key, &probe)) {
        return false;
    }
    keeper->changes++;
    slab_free(&keeper->slab, *probe_ref(&probe));
    index_erase(&keeper->index, &probe);
    return true;
}

void keeper_visit(struct keeper *keeper, uint64_t position,
                  bool (*visit)(void *context, uint64_t position, struct bytes record),
                  void *context)
{
    struct probe probe = index_probe(&keeper->index, position);

    while (probe_next(&probe)) {
        uint32_t ref = *probe_ref(&probe);
        if (position_of(keeper, ref) == position &&
            !visit(context, position, slab_at(&keeper->slab, ref))) {
            return;
        }
    }
}

/* Collect what is in the span, in order of position. Returns the number. */
static uint32_t collect(struct keeper *keeper, const struct span *span, struct scan_item items[])
{
    const struct slab *slab = &keeper->slab;
    uint32_t refs[SEGMENT_SLOTS_MAX];
    uint32_t count = segment_entries(span->segment, span->width, NULL, refs);

    for (uint32_t i = 0; i < count + PREFETCH_AHEAD; i++) {
        if (i < count) {
            slab_prefetch(slab, refs[i]);
        }
        if (i >= PREFETCH_AHEAD) {
            uint32_t ref = refs[i - PREFETCH_AHEAD];
            items[i - PREFETCH_AHEAD] =
                (struct scan_item){.position = position_of(keeper, ref), .ref = ref};
        }
    }
    scan_order(items, count);
    return count;
}

/* The same, of a span that was scanned lately again as long as nothing changes: ranges that are walked one after the other lie
 * in one. */
static const struct scanned *scan_span(struct keeper *keeper, const struct span *span)
{
    for (uint32_t i = 0; i < SCANNED; i++) {
        const struct scanned *scanned = &keeper->scanned[i];
        if (scanned->changes == keeper->changes && scanned->first == span->first &&
            scanned->last == span->last) {
            return scanned;
        }
    }
    struct scanned *scanned = &keeper->scanned[keeper->scanned_next];
    keeper->scanned_next = (keeper->scanned_next + 1) % SCANNED;
    scanned->changes = keeper->changes;
    scanned->first = span->first;
    scanned->last = span->last;
    scanned->count = span->segment == NULL ? 0 : collect(keeper, span, scanned->items);
    return scanned;
}

/* The first that is not before `cursor`. */
static uint32_t place_of(const struct scanned *scanned, uint64_t cursor)
{
    uint32_t first = 0, end = scanned->count;

    while (first < end) {
        uint32_t middle = first + (end - first) / 2;
        if (scanned->items[middle].position < cursor) {
            first = middle + 1;
        } else {
            end = middle;
        }
    }
    return first;
}

uint64_t keeper_scan(struct keeper *keeper, uint64_t cursor,
                     bool (*visit)(void *context, uint64_t position, struct bytes record),
                     void *context)
{
    for (;;) {
        struct span span = index_span(&keeper->index, cursor);
        const struct scanned *scanned = scan_span(keeper, &span);
        const struct scan_item *items = scanned->items;
        const uint64_t changes = keeper->changes;
        const uint32_t begin = place_of(scanned, cursor);
        bool more = true;
        for (uint32_t i = begin; i < scanned->count; i++) {
            uint64_t position = items[i].position;
            if (!more && position != items[i - 1].position) {
                return items[i - 1].position + 1;
            }
            more = visit(context, position, slab_at(&keeper->slab, items[i].ref)) && more;
            assert(keeper->changes == changes && scanned->last == span.last);
        }
        cursor = span.last + 1;
        if (!more || cursor == 0) {
            return cursor;
        }
    }
}

struct bytes keeper_use(struct keeper *keeper, uint64_t position, struct bytes key)
{
    struct probe probe;

    if (!find(keeper, position, key, &probe)) {
        return bytes_of(NULL, 0);
    }
    slab_mark(&keeper->slab, *probe_ref(&probe), true);
    return slab_at(&keeper->slab, *probe_ref(&probe));
}

uint64_t keeper_sweep(struct keeper *keeper, uint64_t cursor, uint32_t max,
                      void (*visit)(void *context, uint64_t position, struct bytes record),
                      void *context, uint32_t *marked)
{
    const struct slab *slab = &keeper->slab;
    struct scan_item items[SEGMENT_SLOTS_MAX];

    for (uint32_t seen = 0;;) {
        struct span span = index_span(&keeper->index, cursor);
        uint32_t count = span.segment == NULL ? 0 : collect(keeper, &span, items);
        uint32_t first = 0;
        while (first < count && items[first].position < cursor) {
            first++;
        }
        for (uint32_t i = first; i < count; i++, seen++) {
            uint32_t ref = items[i].ref;
            if (seen >= max && i > first && items[i].position != items[i - 1].position) {
                return items[i].position;
            }
            if (slab_is_marked(slab, ref)) {
                slab_mark(slab, ref, false);
                ++*marked;
            } else {
                visit(context, items[i].position, slab_at(slab, ref));
            }
        }
        cursor = span.last + 1;
        if (seen >= max || cursor == 0) {
            return cursor;
        }
    }
}

/* Move these records to other pages. Returns the bytes moved. */
static uint64_t move_records(struct keeper *keeper, const uint32_t refs[], uint32_t count)
{
    struct slab *slab = &keeper->slab;
    uint64_t positions[MOVE_BATCH], bytes = 0;

    for (uint32_t i = 0; i < count; i++) {
        positions[i] = position_of(keeper, refs[i]);
        index_prefetch(&keeper->index, positions[i]);
    }
    for (uint32_t i = 0; i < count; i++) {
        struct bytes record = slab_at(slab, refs[i]);
        uint32_t ref;
        int rc = slab_alloc(slab, record.size, &ref);
        assert(rc == 0); /* slab_next_victims() saw that there is room. */
        memcpy(slab_data(slab, ref), record.data, record.size);
        slab_mark(slab, ref, slab_is_marked(slab, refs[i]));
        struct probe probe = index_probe(&keeper->index, positions[i]);
        bool found = probe_next(&probe);
        while (found && *probe_ref(&probe) != refs[i]) {
            found = probe_next(&probe);
        }
        assert(found);
        *probe_ref(&probe) = ref;
        slab_free(slab, refs[i]);
        bytes += record.size;
        keeper->moved++;
    }
    return bytes;
}

bool keeper_evacuate(struct keeper *keeper, uint32_t bytes)
{
    uint32_t refs[MOVE_BATCH];
    uint64_t moved = 0, step;

    do {
        uint32_t count = slab_next_victims(&keeper->slab, refs, MOVE_BATCH);
        step = count == 0 ? slab_compact(&keeper->slab) : move_records(keeper, refs, count);
        moved += step;
        keeper->changes += step > 0;
    } while (step > 0 && moved < bytes);
    return step > 0 || index_tidy(&keeper->index, TIDY_SEGMENTS);
}

uint64_t keeper_record_bytes(const struct keeper *keeper)
{
    return keeper->slab.record_bytes;
}

void keeper_stats(const struct keeper *keeper, struct keeper_stats *stats)
{
    *stats = (struct keeper_stats){
        .records = keeper->index.records,
        .record_bytes = keeper->slab.record_bytes,
        .memory_bytes = slab_bytes(&keeper->slab) + keeper->index.table_bytes + sizeof *keeper -
                        sizeof keeper->slab,
        .used_bytes = slab_used_bytes(&keeper->slab) + keeper->index.table_bytes + sizeof *keeper -
                      sizeof keeper->slab,
        .moved = keeper->moved,
    };
}
