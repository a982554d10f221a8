/* The index with positions of our choice: a record here is its position and a number. */
#include "check.h"
#include "index.h"
#include "random.h"

enum { RECORDS = 4000, EQUAL_MAX = SEGMENT_REACH * BUCKET_SLOTS };

struct entry {
    bool there;
    uint64_t position;
    uint32_t ref;
};

static struct entry entries[RECORDS];
static struct slab slab;
static struct index index_under_test;
static struct test_memory port;
static uint64_t seed;

static struct index *const idx = &index_under_test;

static uint64_t position_of(void *context, uint32_t ref)
{
    assert_ptr_equal(context, &slab);
    return load_u64(slab_at(&slab, ref).data);
}

static void start(uint64_t with_seed)
{
    seed = with_seed;
    port = test_memory();
    memset(entries, 0, sizeof entries);
    slab_init(&slab, &port.memory);
    assert_int_equal(index_init(idx, &port.memory, &slab, position_of, &slab), 0);
}

static void finish(void)
{
    index_fini(idx);
    slab_fini(&slab);
    assert_int_equal(port.outstanding_bytes, 0);
}

static bool find(const struct entry *entry, struct probe *probe)
{
    *probe = index_probe(idx, entry->position);
    while (probe_next(probe)) {
        if (*probe_ref(probe) == entry->ref) {
            return true;
        }
    }
    return false;
}

static int add(struct entry *entry, uint64_t position)
{
    entry->position = position;
    int rc = slab_alloc(&slab, 40, &entry->ref);
    if (rc != 0) {
        return rc;
    }
    store_u64(slab_data(&slab, entry->ref), position);
    rc = index_insert(idx, position, entry->ref);
    if (rc != 0) {
        slab_free(&slab, entry->ref);
    }
    entry->there = rc == 0;
    return rc;
}

static void take(struct entry *entry)
{
    struct probe probe;

    assert_true(find(entry, &probe));
    index_erase(idx, &probe);
    assert_false(find(entry, &probe));
    slab_free(&slab, entry->ref);
    entry->there = false;
}

static uint32_t count_equal(uint64_t position)
{
    uint32_t count = 0;

    for (uint32_t i = 0; i < RECORDS; i++) {
        count += entries[i].there && entries[i].position == position;
    }
    return count;
}

/* Each bucket counts the entries that are not at home in it. */
static void check_overflow(const struct span *span)
{
    uint32_t away[SEGMENT_WIDE] = {0};

    for (uint32_t number = 0; number < span->width; number++) {
        for (uint32_t slot = 0; slot < BUCKET_SLOTS; slot++) {
            uint32_t distance = bucket_distance(&span->segment[number], slot);
            assert_true(distance == 0 || span->segment[number].tags[slot] != 0);
            away[(number + span->width - distance) % span->width] += distance > 0;
        }
    }
    for (uint32_t number = 0; number < span->width; number++) {
        assert_int_equal(bucket_overflow(&span->segment[number]), away[number]);
    }
}

/* Every entry is found, and the spans, one after the other, hold exactly all entries. */
static void check_all(void)
{
    uint64_t there = 0, seen = 0, slots = 0, cursor = 0;
    struct probe probe;

    for (uint32_t i = 0; i < RECORDS; i++) {
        if (entries[i].there) {
            there++;
            assert_true(find(&entries[i], &probe));
        }
    }
    do {
        struct span span = index_span(idx, cursor);
        assert_true(span.first == cursor && span.last >= cursor);
        uint32_t refs[SEGMENT_SLOTS_MAX];
        uint32_t count =
            span.segment == NULL ? 0 : segment_entries(span.segment, span.width, NULL, refs);
        for (uint32_t i = 0; i < count; i++) {
            uint64_t position = position_of(&slab, refs[i]);
            assert_true(position >= span.first && position <= span.last);
        }
        check_overflow(&span);
        slots += span.width * BUCKET_SLOTS;
        seen += count;
        cursor = span.last + 1;
    } while (cursor != 0);
    assert_int_equal(slots, idx->slots);
    assert_int_equal(seen, there);
    assert_int_equal(idx->records, there);
}

/* Positions that need deep tables: all alike but for a few bits somewhere. */
static uint64_t crowded_position(uint32_t kind)
{
    const uint64_t base = UINT64_C(0xa5a5a5a5a5a5a5a5);

    switch (kind) {
    case 0:
        return random_next(&seed);
    case 1: /* One slot. */
        return base >> 50 << 50 | random_next(&seed) >> 14;
    case 2: /* One bit differs, or none. */
        return base ^ (random_below(&seed, 4) == 0 ? 0 : UINT64_C(1) << random_below(&seed, 64));
    case 3: /* The low bits only. */
        return base ^ random_below(&seed, 1 << 10);
    case 4: /* Equal in all that buckets and tags see. */
        return base ^ (random_next(&seed) & 0x7ff) << 13;
    default: /* Few and far between. */
        return base * random_below(&seed, 100);
    }
}

static void random_work(uint32_t kind, uint32_t steps)
{
    uint32_t refused = 0;

    for (uint32_t step = 0; step < steps; step++) {
        struct entry *entry = &entries[random_below(&seed, RECORDS)];
        /* Seasons of growth and of decline. */
        bool grow = random_below(&seed, 10) < (step / (steps / 6) % 2 == 0 ? 9u : 2u);
        if (!entry->there && grow) {
            uint64_t position = crowded_position(kind);
            int rc = add(entry, position);
            if (rc != 0) {
                assert_int_equal(rc, -ENOSPC);
                assert_true(count_equal(position) >= EQUAL_MAX);
                refused++;
            }
        } else if (entry->there && !grow) {
            take(entry);
        }
        if (random_below(&seed, 100) == 0) {
            index_tidy(idx, random_below(&seed, 20));
        }
    }
    assert_true(kind == 2 || kind == 3 || kind == 5 || refused == 0);
}

static void test_random_work(void **state)
{
    (void)state;
    for (uint32_t kind = 0; kind < 6; kind++) {
        start(kind);
        random_work(kind, 60000);
        check_all();
        for (uint32_t i = 0; i < RECORDS; i++) {
            if (entries[i].there) {
                take(&entries[i]);
            }
        }
        while (index_tidy(idx, 1)) {
        }
        assert_int_equal(idx->slots, 0);
        assert_int_equal(idx->root->bits, 0);
        assert_true(idx->table_bytes < 100);
        finish();
    }
}

/* So many equal positions fit whatever else is there; one more does not, and disturbs nothing. */
static void test_equal_positions(void **state)
{
    (void)state;
    for (uint32_t others = 0; others < 2000; others += 400) {
        start(others);
        const uint64_t position = random_next(&seed);
        for (uint32_t i = 0; i < others; i++) {
            /* As near as can be, in the same buckets. */
            assert_int_equal(add(&entries[i], position ^ (1 + random_next(&seed) % 64) << 13), 0);
        }
        for (uint32_t i = 0; i < EQUAL_MAX; i++) {
            assert_int_equal(add(&entries[others + i], position), 0);
        }
        assert_int_equal(add(&entries[RECORDS - 1], position), -ENOSPC);
        check_all();
        assert_int_equal(index_reserve(idx, position), -ENOSPC);
        take(&entries[others]);
        assert_int_equal(add(&entries[RECORDS - 1], position), 0);
        check_all();
        finish();
    }
}

/* However the numbers swing: 60 % full at worst, above 75 % on average. */
static void test_load(void **state)
{
    (void)state;
    start(7);
    double sum = 0, least = 1;
    uint32_t samples = 0;
    static uint32_t next = 10000;
    for (uint32_t i = 0; i < 400000; i++) {
        uint32_t ref;
        uint64_t position = random_next(&seed);
        assert_int_equal(slab_alloc(&slab, 8, &ref), 0);
        store_u64(slab_data(&slab, ref), position);
        assert_int_equal(index_insert(idx, position, ref), 0);
        if (i == next) {
            double load = (double)idx->records / (double)idx->slots;
            least = load < least ? load : least;
            sum += load;
            samples++;
            next += next / 50;
        }
    }
    print_message("load: %.3f on average, %.3f at least\n", sum / samples, least);
    assert_true(sum / samples > 0.75 && least > 0.6);
    finish();
}

/* All keys in one slot cost a few small tables, and nothing stays when they go. */
static void test_one_slot_tables(void **state)
{
    (void)state;
    start(8);
    for (uint32_t i = 0; i < 200000; i++) {
        uint32_t ref;
        uint64_t position = UINT64_C(1234) << 50 | random_next(&seed) >> 14;
        assert_int_equal(slab_alloc(&slab, 8, &ref), 0);
        store_u64(slab_data(&slab, ref), position);
        assert_int_equal(index_insert(idx, position, ref), 0);
    }
    print_message("tables: %u bytes\n", (unsigned)idx->table_bytes);
    assert_true(idx->table_bytes < 160 * 1024);
    finish();
}

/* With no memory for the n-th request, entries stay as they are and the index stays usable. */
static void test_faults(void **state)
{
    (void)state;
    bool failed = true;
    for (uint64_t fail_at = 3; failed; fail_at++) {
        start(9);
        failed = false;
        port.fail_at = fail_at;
        for (uint32_t i = 0; i < RECORDS; i++) {
            uint64_t position = crowded_position(i % 2);
            int rc = add(&entries[i], position);
            if (rc != 0) {
                assert_int_equal(rc, -ENOMEM);
                failed = true;
                check_all();
                port.fail_at = 0;
                assert_int_equal(add(&entries[i], position), 0);
            }
        }
        check_all();
        finish();
    }
}

/* A split needs two new segments. Here is memory for one, that of the narrow segment from before it was
 * widened, and for `spare` more. */
static void test_fault_between_segments(void **state)
{
    enum { BLOCKS = 64, WIDE_BLOCKS = 3 };
    uint32_t hoard[BLOCKS], wide[WIDE_BLOCKS];

    (void)state;
    for (uint32_t spare = 0; spare < 2; spare++) {
        start(spare);
        for (uint32_t i = 0; i < RECORDS; i++) {
            entries[i].position = random_next(&seed);
            assert_int_equal(slab_alloc(&slab, 40, &entries[i].ref), 0);
            store_u64(slab_data(&slab, entries[i].ref), entries[i].position);
        }
        for (uint32_t i = 0; i < WIDE_BLOCKS; i++) {
            assert_int_equal(slab_alloc_block(&slab, SLAB_BLOCK_3K, &wide[i]), 0);
        }
        uint32_t hoarded = 0, done = 0;
        assert_int_equal(index_insert(idx, entries[0].position, entries[0].ref), 0);
        entries[0].there = true;
        slab.ground.memory = NULL; /* Nobody may map an area from here: a crash would tell. */
        while (slab.ground.free_units > 0 ||
               slab.classes[SLAB_BLOCK_2K].live < slab.classes[SLAB_BLOCK_2K].cell_count) {
            assert_true(hoarded < BLOCKS * GROUND_UNITS_MAX);
            assert_int_equal(slab_alloc_block(&slab, SLAB_BLOCK_2K, &hoard[hoarded++ % BLOCKS]), 0);
        }
        slab.ground.memory = &port.memory;
        port.fail_at = port.requests + 2; /* The first is for the table. */
        for (uint32_t i = 0; i < spare; i++) {
            slab_free(&slab, hoard[--hoarded % BLOCKS]);
        }
        int rc = 0;
        for (done = 1; rc == 0; done += rc == 0) {
            rc = index_insert(idx, entries[done].position, entries[done].ref);
            entries[done].there = rc == 0;
        }
        assert_int_equal(rc, -ENOMEM);
        assert_true(spare == 0 ? done < 600 : done > 600);
        check_all();
        port.fail_at = 0;
        for (; done < RECORDS; done++) {
            assert_int_equal(index_insert(idx, entries[done].position, entries[done].ref), 0);
            entries[done].there = true;
        }
        check_all();
        finish();
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_random_work), cmocka_unit_test(test_equal_positions),
        cmocka_unit_test(test_load),        cmocka_unit_test(test_one_slot_tables),
        cmocka_unit_test(test_faults),      cmocka_unit_test(test_fault_between_segments),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
