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

/* ---- A checkpoint whose name is not durable: a power failure would bring back the one before ---- */

static struct {
    bool refused; /* The directory cannot be synchronised. */
    bool unsure;  /* It was not, since a checkpoint was renamed in it. */
    int (*sync_directory)(struct files *files, const char *path);
    int (*rename)(struct files *files, const char *from, const char *to);
    int (*open)(struct files *files, const char *path, int flags);
    int (*remove)(struct files *files, const char *path);
} names;

static int sync_names(struct files *files, const char *path)
{
    bool own = strcmp(path, kit.directory) == 0;
    int rc = own && names.refused ? -EIO : names.sync_directory(files, path);

    names.unsure = names.unsure && !(own && rc == 0);
    return rc;
}

static int rename_checkpoint(struct files *files, const char *from, const char *to)
{
    names.unsure = names.unsure || strstr(to, "/checkpoint-") != NULL;
    return names.rename(files, from, to);
}

/* To be used again, with what it has of the log. */
static int open_segment(struct files *files, const char *path, int flags)
{
    bool again = strstr(path, ".seg") != NULL && (flags & O_DSYNC) != 0;

    assert_false(again && names.unsure);
    return names.open(files, path, flags);
}

static int remove_checkpoint(struct files *files, const char *path)
{
    bool older = strstr(path, "/checkpoint-") != NULL && strstr(path, ".tmp") == NULL;

    assert_false(older && names.unsure);
    return names.remove(files, path);
}

static void watch_names(void)
{
    struct files *files = &kit.files.files;

    names.refused = names.unsure = false;
    names.sync_directory = files->sync_directory;
    names.rename = files->rename;
    names.open = files->open;
    names.remove = files->remove;
    files->sync_directory = sync_names;
    files->rename = rename_checkpoint;
    files->open = open_segment;
    files->remove = remove_checkpoint;
}

/* Two full lives, so that there is a checkpoint before the one that is in doubt. */
static void build_in_doubt(void)
{
    store_kit_init(&kit, KEYS, SEGMENT);
    watch_names();
    assert_int_equal(kit_open_store(&kit), 0);
    for (int i = 0; i < 2; i++) {
        kit_live(&kit, 1500);
        assert_int_equal(kit_take_segment(&kit), 0);
        names.refused = i == 1;
        assert_int_equal(store_compact(kit.store), i == 1 ? -EIO : 0);
    }
    assert_true(names.unsure);
}

static int count_checkpoint(void *context, const char *name)
{
    *(uint32_t *)context += strncmp(name, "checkpoint-", 11) == 0;
    return 0;
}

/* The log that it has is kept until its name is sure, however often compaction is asked. */
static void test_name_of_the_checkpoint(void **state)
{
    struct store_stats stats;
    uint32_t checkpoints = 0;

    (void)state;
    build_in_doubt();
    for (int i = 0; i < 3; i++) {
        assert_int_equal(store_compact(kit.store), -EIO);
        store_stats(kit.store, &stats);
        assert_true(stats.sealed_bytes > 0);
    }
    names.refused = false;
    assert_int_equal(store_compact(kit.store), 0);
    assert_false(names.unsure);
    store_stats(kit.store, &stats);
    assert_int_equal(stats.sealed_bytes, 0);
    assert_int_equal(files_list(kit.directory, count_checkpoint, &checkpoints), 0);
    assert_int_equal(checkpoints, 1);
    kit_reopen_and_check(&kit);
    store_kit_fini(&kit);
}

/* The same for a process that was killed in between: the next one makes it sure before all else. */
static void test_name_of_the_checkpoint_found(void **state)
{
    (void)state;
    build_in_doubt();
    store_kit_close(&kit);
    assert_int_equal(kit_open_store(&kit), -EIO);
    names.refused = false;
    assert_int_equal(kit_open_store(&kit), 0);
    assert_int_equal(kit_differences(&kit), 0);
    assert_false(names.unsure);
    kit_live(&kit, 1500);
    kit_reopen_and_check(&kit);
    store_kit_fini(&kit);
}

/* ---- A checkpoint that cannot be begun ---- */

static int (*make_directory)(struct files *files, const char *path);

static int make_unusable(struct files *files, const char *path)
{
    char inside[PATH_BYTES_MAX];
    int rc = make_directory(files, path);

    rc = rc == 0 ? path_join(inside, path, "data.mdb") : rc;
    return rc == 0 ? make_directory(files, inside) : rc;
}

/* Nothing of it is left behind. */
static void test_no_environment(void **state)
{
    uint32_t checkpoints = 0;

    (void)state;
    store_kit_init(&kit, KEYS, SEGMENT);
    assert_int_equal(kit_open_store(&kit), 0);
    kit_live(&kit, 500);
    assert_int_equal(kit_take_segment(&kit), 0);
    make_directory = kit.files.files.make_directory;
    kit.files.files.make_directory = make_unusable;
    assert_true(store_compact(kit.store) < 0);
    assert_int_equal(files_list(kit.directory, count_checkpoint, &checkpoints), 0);
    assert_int_equal(checkpoints, 0);
    kit.files.files.make_directory = make_directory;
    assert_int_equal(store_compact(kit.store), 0);
    kit_reopen_and_check(&kit);
    store_kit_fini(&kit);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_io),
        cmocka_unit_test(test_io_of_a_killed_process),
        cmocka_unit_test(test_allocations),
        cmocka_unit_test(test_name_of_the_checkpoint),
        cmocka_unit_test(test_name_of_the_checkpoint_found),
        cmocka_unit_test(test_no_environment),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
