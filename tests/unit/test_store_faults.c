/* The fault loop: the n-th I/O or allocation fails, for n = 1, 2, ... until it is not reached, while a
 * store opens, restores, prepares segments and compacts. Whatever failed, what was written is there
 * when it is opened again. Once the operation alone fails, once all after it too, as in a killed process. */
#include "store_kit.h"

enum { SEGMENT = 64 * 1024, KEYS = 200, ROUNDS_MAX = 2000 };

static struct store_kit kit;

/* What a life does; anything may fail, and the model follows what did not. Returns whether all went well. */
static bool live_with_faults(bool few)
{
    int rc = kit_open_store(&kit);
    if (rc != 0) {
        return false;
    }
    bool well = kit_differences(&kit) == 0 || kit.files.fail_at != 0;
    kit.key_count = few ? 8 : KEYS;
    for (int i = 0; i < (few ? 8 : 400) && rc == 0; i++) {
        rc = kit_step(&kit);
    }
    kit.key_count = KEYS;
    kit_flush(&kit);
    if (rc == 0 && kit.segment_open) {
        rc = kit_take_segment(&kit);
    }
    int compacted = store_compact(kit.store);
    store_kit_close(&kit);
    return well && rc == 0 && compacted == 0;
}

/* Returns how many operations it took to get through without a fault. */
static uint64_t loop(bool memory, bool stay_failed)
{
    uint64_t n = 1;

    store_kit_init(&kit, KEYS, SEGMENT);
    kit.options.map_bytes = 1;    /* LMDB's map grows meanwhile. */
    kit.options.records_max = 60; /* Many runs, each of which may be the last. */
    kit.files.stay_failed = stay_failed;
    for (; n < ROUNDS_MAX; n++) {
        kit.files.operations = 0;
        kit.files.fail_at = memory ? 0 : n;
        kit.memory.inner.requests = 0;
        kit.memory.inner.fail_at = memory ? n : 0;
        bool few = n % 2 == 1;
        bool well = live_with_faults(few);
        store_kit_close(&kit);
        uint64_t reached = memory ? kit.memory.inner.requests : kit.files.operations;
        kit.files.fail_at = kit.memory.inner.fail_at = 0;
        assert_int_equal(kit_open_store(&kit), 0);
        assert_int_equal(kit_differences(&kit), 0);
        assert_int_equal(kit.reports[STORE_LOG_DAMAGED] + kit.reports[STORE_LOG_MISSING] +
                             kit.reports[STORE_LOG_BASELESS],
                         0);
        /* The next round begins with little log, or the operations would grow with the rounds. */
        assert_int_equal(store_compact(kit.store), 0);
        kit_reopen_and_check(&kit);
        store_kit_close(&kit);
        assert_true(well || reached >= n);
        if (reached < n && !few) { /* A life of few steps reaches less: it does not end the loop. */
            break;
        }
    }
    store_kit_fini(&kit);
    return n;
}

static void test_io(void **state)
{
    (void)state;
    uint64_t n = loop(false, false);
    print_message("%lu operations\n", (unsigned long)n);
    assert_true(n > 40 && n < ROUNDS_MAX);
}

static void test_io_of_a_killed_process(void **state)
{
    (void)state;
    uint64_t n = loop(false, true);
    assert_true(n > 40 && n < ROUNDS_MAX);
}

static void test_allocations(void **state)
{
    (void)state;
    uint64_t n = loop(true, false);
    print_message("%lu allocations\n", (unsigned long)n);
    assert_true(n > 20 && n < ROUNDS_MAX);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_io),
        cmocka_unit_test(test_io_of_a_killed_process),
        cmocka_unit_test(test_allocations),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
