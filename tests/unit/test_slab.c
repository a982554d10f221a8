#include "check.h"
#include "random.h"
#include "slab.h"

enum { CELLS = 3000, SIZE_MAX_TRIED = 70000 };

struct held {
    bool there;
    uint32_t ref;
    uint32_t size;
    uint8_t fill;
};

static struct held held[CELLS];
static struct slab slab;
static struct test_memory port;
static uint64_t seed;

/* Mostly small records, some of every class, a few with a block of their own. */
static uint32_t some_size(void)
{
    switch (random_below(&seed, 20)) {
    case 0:
        return random_below(&seed, SIZE_MAX_TRIED);
    case 1:
    case 2:
    case 3:
        return random_below(&seed, 5000);
    default:
        return random_below(&seed, 300);
    }
}

static void fill(struct held *record, uint32_t size)
{
    record->there = true;
    record->size = size;
    record->fill = (uint8_t)random_next(&seed);
    if (size > 0) {
        memset(slab_data(&slab, record->ref), record->fill, size);
    }
}

static void check(const struct held *record)
{
    struct bytes found = slab_at(&slab, record->ref);

    assert_int_equal(found.size, record->size);
    assert_ptr_equal(found.data, slab_data(&slab, record->ref));
    for (size_t i = 0; i < found.size; i++) {
        assert_int_equal(found.data[i], record->fill);
    }
}

static void check_all(void)
{
    uint64_t bytes = 0;

    for (uint32_t i = 0; i < CELLS; i++) {
        if (held[i].there) {
            check(&held[i]);
            bytes += held[i].size;
        }
    }
    assert_int_equal(slab.record_bytes, bytes);
    assert_true(slab.cell_bytes >= bytes);
    assert_true(slab_bytes(&slab) >= slab.cell_bytes);
}

/* Moves what slab_next_victims() names. Returns whether there was anything. */
static bool evacuate(void)
{
    uint32_t refs[16];
    uint32_t count = slab_next_victims(&slab, refs, 16);

    for (uint32_t k = 0; k < count; k++) {
        struct held *record = held;
        while (!record->there || record->ref != refs[k]) {
            record++;
            assert_true(record < held + CELLS);
        }
        assert_int_equal(slab_alloc(&slab, record->size, &record->ref), 0);
        assert_int_not_equal(record->ref >> SLAB_CELL_BITS, refs[k] >> SLAB_CELL_BITS);
        memcpy(slab_data(&slab, record->ref), slab_at(&slab, refs[k]).data, record->size);
        slab_free(&slab, refs[k]);
    }
    return count > 0 || slab_compact(&slab) > 0;
}

static void start(uint64_t with_seed)
{
    seed = with_seed;
    port = test_memory();
    memset(held, 0, sizeof held);
    slab_init(&slab, &port.memory);
}

static void finish(void)
{
    slab_fini(&slab);
    assert_int_equal(port.outstanding_bytes, 0);
}

/* Records keep their bytes through everything that happens to others. */
static void test_random_work(void **state)
{
    (void)state;
    for (uint64_t round = 0; round < 5; round++) {
        start(round);
        for (uint32_t step = 0; step < 30000; step++) {
            struct held *record = &held[random_below(&seed, CELLS)];
            uint32_t size = some_size();
            if (!record->there) {
                assert_int_equal(slab_alloc(&slab, size, &record->ref), 0);
                fill(record, size);
            } else if (random_below(&seed, 2) == 0) {
                check(record);
                if (slab_refit(&slab, record->ref, size)) {
                    fill(record, size);
                }
            } else {
                check(record);
                slab_free(&slab, record->ref);
                record->there = false;
            }
            if (random_below(&seed, 50) == 0) {
                evacuate();
            }
        }
        check_all();
        while (evacuate()) {
        }
        check_all();
        finish();
    }
}

/* Twelve bytes or so up to 600, then a tenth at worst. */
static void test_rounding_is_small(void **state)
{
    (void)state;
    start(1);
    for (uint32_t size = 24; size < 33000; size++) {
        uint32_t ref;
        uint64_t before = slab.cell_bytes;
        assert_int_equal(slab_alloc(&slab, size, &ref), 0);
        uint64_t cell = slab.cell_bytes - before;
        assert_in_range(cell, size, size + 9 + (size < 600 ? 3 : size / 10));
        slab_free(&slab, ref);
        assert_int_equal(slab.cell_bytes, 0);
    }
    finish();
}

/* With all freed at random but a few, what is held after the evacuation follows what is live. */
static void test_memory_goes_back(void **state)
{
    (void)state;
    start(2);
    uint64_t most = 0;
    static uint32_t refs[60000];
    for (uint32_t i = 0; i < 60000; i++) {
        assert_int_equal(slab_alloc(&slab, 700, &refs[i]), 0);
    }
    most = slab_bytes(&slab);
    uint32_t kept = 0;
    for (uint32_t i = 0; i < 60000; i++) {
        if (kept < CELLS && random_below(&seed, 16) == 0) {
            held[kept].ref = refs[i];
            fill(&held[kept++], 700);
        } else {
            slab_free(&slab, refs[i]);
        }
    }
    assert_true(slab_bytes(&slab) > most / 2);
    while (evacuate()) {
    }
    check_all();
    /* Two areas of 2 MiB are the slack, and one chunk of the table. */
    assert_true(slab_bytes(&slab) < slab.cell_bytes * 107 / 100 + 2 * GROUND_AREA_BYTES + 100000);
    for (uint32_t i = 0; i < kept; i++) {
        slab_free(&slab, held[i].ref);
    }
    assert_int_equal(slab.cell_bytes, 0);
    assert_true(slab.ground.area_count <= 1);
    finish();
}

/* Moving blocks out of sparse pages ends, with all of them but a few in full ones. */
static void test_sparse_blocks(void **state)
{
    enum { BLOCKS = 1000 };
    uint32_t refs[BLOCKS], live;

    (void)state;
    for (uint64_t round = 0; round < 50; round++) {
        start(round);
        for (uint32_t i = 0; i < BLOCKS; i++) {
            assert_int_equal(slab_alloc_block(&slab, SLAB_BLOCK_2K, &refs[i]), 0);
        }
        live = 0;
        uint32_t keep_percent = 1 + random_below(&seed, 60);
        for (uint32_t i = 0; i < BLOCKS; i++) {
            if (random_below(&seed, 100) < keep_percent) {
                refs[live++] = refs[i];
            } else {
                slab_free(&slab, refs[i]);
            }
        }
        for (uint32_t pass = 0; slab_has_sparse_blocks(&slab); pass++) {
            assert_true(pass < 20);
            for (uint32_t i = 0; i < live; i++) {
                uint32_t moved;
                if (slab_is_sparse(&slab, refs[i])) {
                    assert_int_equal(slab_alloc_block(&slab, SLAB_BLOCK_2K, &moved), 0);
                    slab_free(&slab, refs[i]);
                    refs[i] = moved;
                }
            }
        }
        assert_int_equal(slab.classes[SLAB_BLOCK_2K].live, live);
        assert_true(slab.classes[SLAB_BLOCK_2K].cell_count <= 2 * live + 64);
        finish();
    }
}

/* After a reservation an allocation of that size or less needs no memory. */
static void test_reserve(void **state)
{
    (void)state;
    start(3);
    uint32_t refused = 0;
    for (uint32_t step = 0; step < 20000; step++) {
        uint32_t size = some_size(), ref;
        port.fail_at = random_below(&seed, 2) == 0 ? port.requests + 1 : 0;
        int rc = slab_reserve(&slab, size);
        assert_true(rc == 0 || (rc == -ENOMEM && port.fail_at != 0));
        refused += rc != 0;
        if (rc == 0) {
            port.fail_at = port.requests + 1;
            assert_int_equal(slab_alloc(&slab, random_below(&seed, size + 1), &ref), 0);
            if (random_below(&seed, 3) != 0) {
                slab_free(&slab, ref);
            }
        }
    }
    assert_true(refused > 10);
    finish();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_random_work),      cmocka_unit_test(test_rounding_is_small),
        cmocka_unit_test(test_memory_goes_back), cmocka_unit_test(test_reserve),
        cmocka_unit_test(test_sparse_blocks),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
