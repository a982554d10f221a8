/* A store's life: what was written comes back, through any number of restarts and compactions, in place
 * and afresh; the log stays small; full disks and second daemons. */
#include "checkpoint_state.h"
#include "store_kit.h"

enum { SEGMENT = 1024 * 1024 };

static struct store_kit kit;

static void begin(uint32_t key_count, uint64_t segment_bytes)
{
    store_kit_init(&kit, key_count, segment_bytes);
    assert_int_equal(kit_open_store(&kit), 0);
}

static void test_empty(void **state)
{
    (void)state;
    begin(10, SEGMENT);
    assert_int_equal(kit.lsn, 0);
    kit_reopen_and_check(&kit);
    assert_int_equal(kit.lsn, 0);
    store_kit_fini(&kit);
}

static void test_log_comes_back(void **state)
{
    (void)state;
    begin(100, SEGMENT);
    for (int round = 0; round < 5; round++) {
        kit_live(&kit, 3000);
        uint64_t lsn = kit.lsn;
        kit_reopen_and_check(&kit);
        assert_int_equal(kit.lsn, lsn);
        kit_reopen_and_check(&kit);
    }
    assert_int_equal(kit.reports[STORE_LOG_DAMAGED] + kit.reports[STORE_LOG_TORN] +
                         kit.reports[STORE_LOG_MISSING] + kit.reports[STORE_LOG_BASELESS],
                     0);
    store_kit_fini(&kit);
}

/* Many keys changed: afresh. Then few of many: in place. */
static void test_compaction_keeps_everything(void **state)
{
    (void)state;
    begin(3000, SEGMENT);
    for (int round = 0; round < 6; round++) {
        bool few = round % 2 == 1;
        uint32_t key_count = kit.key_count;
        kit.key_count = few ? 100 : key_count;
        kit_live(&kit, few ? 150 : 8000);
        kit.key_count = key_count;
        assert_int_equal(kit_take_segment(&kit), 0); /* Seals. */
        assert_int_equal(store_compact(kit.store), 0);
        struct store_stats stats;
        store_stats(kit.store, &stats);
        assert_int_equal(stats.checkpoint_lsn, kit.lsn);
        assert_int_equal(stats.sealed_bytes, 0);
        kit_reopen_and_check(&kit);
        kit_live(&kit, 50);
        kit_reopen_and_check(&kit);
    }
    assert_int_equal(kit.reports[STORE_LOG_BASELESS] + kit.reports[STORE_FAILED], 0);
    assert_true(kit.reports[STORE_CHECKPOINT_DONE] >= 6);
    store_kit_fini(&kit);
}

/* A run takes only as many segments as it may; several runs give the same. */
static void test_runs_are_bounded(void **state)
{
    (void)state;
    store_kit_init(&kit, 500, SEGMENT / 16);
    kit.options.records_max = 777;
    assert_int_equal(kit_open_store(&kit), 0);
    kit_live(&kit, 8000);
    assert_int_equal(kit_take_segment(&kit), 0);
    assert_int_equal(store_compact(kit.store), 0);
    assert_true(kit.reports[STORE_CHECKPOINT_DONE] >= 9);
    kit_reopen_and_check(&kit);
    store_kit_fini(&kit);
}

/* LMDB's map is far too small, and grows, afresh and in place. */
static void test_map_grows(void **state)
{
    (void)state;
    store_kit_init(&kit, 4000, 4 * SEGMENT);
    kit.options.map_bytes = 1;
    kit.value_bytes = 300;
    assert_int_equal(kit_open_store(&kit), 0);
    for (uint32_t i = 0; i < kit.key_count; i++) {
        assert_int_equal(kit_set(&kit, i), 0);
    }
    kit_flush(&kit);
    assert_int_equal(kit_take_segment(&kit), 0);
    assert_int_equal(store_compact(kit.store), 0);
    kit_reopen_and_check(&kit);
    kit.value_bytes = 60000; /* In place: few keys, much data. */
    for (uint32_t i = 0; i < 150; i++) {
        assert_int_equal(kit_set(&kit, i), 0);
    }
    kit_flush(&kit);
    assert_int_equal(kit_take_segment(&kit), 0);
    assert_int_equal(store_compact(kit.store), 0);
    kit_reopen_and_check(&kit);
    store_kit_fini(&kit);
}

/* What was buried leaves the checkpoint with its burial. */
static void test_burials_empty_the_checkpoint(void **state)
{
    struct store_stats stats;

    (void)state;
    begin(1000, SEGMENT);
    for (uint32_t i = 0; i < kit.key_count; i++) {
        assert_int_equal(kit_set(&kit, i), 0);
    }
    for (int round = 0; round < 2; round++) {
        kit_flush(&kit);
        assert_int_equal(kit_take_segment(&kit), 0);
        assert_int_equal(store_compact(kit.store), 0);
        store_stats(kit.store, &stats);
        assert_int_equal(stats.checkpoint_sessions, round == 0 ? 1000 : 0);
        for (uint32_t i = 0; i < kit.key_count && round == 0; i++) {
            assert_int_equal(kit_bury(&kit, i), 0);
        }
    }
    kit_reopen_and_check(&kit);
    store_kit_fini(&kit);
}

/* Records of a batch are taken apart in their order. */
static void test_batch(void **state)
{
    uint8_t body[4096], *end = body;

    (void)state;
    begin(10, SEGMENT);
    for (uint32_t i = 0; i < 6; i++) {
        char text[16];
        struct bytes key = kit_key(i / 2, text);
        assert_int_equal(kit_set(&kit, i / 2), 0);
        const struct log_batch_item item = {.kind = LOG_FULL,
                                            .position = keeper_position(kit.seed, key),
                                            .body = buffer_bytes(&kit.present[i / 2])};
        end = log_batch_item_put(end, &item);
    }
    kit.staged = 0; /* As if only the batch had been written. */
    kit.segment_open = false;
    kit.lsn = 0;
    store_kit_close(&kit);
    assert_int_equal(files_remove_tree(files_system(), kit.directory), 0);
    assert_int_equal(files_system()->make_directory(files_system(), kit.directory), 0);
    assert_int_equal(kit_open_store(&kit), 0);
    assert_int_equal(kit_append(&kit, LOG_BATCH, 0, bytes_of(body, (size_t)(end - body))), 0);
    kit_flush(&kit);
    kit_reopen_and_check(&kit);
    assert_int_equal(store_compact(kit.store), 0);
    kit_reopen_and_check(&kit);
    store_kit_fini(&kit);
}

/* With its threads: twenty overwrites of everything, and the log stays within its bound. */
static void test_log_stays_small(void **state)
{
    struct store_stats stats;
    uint64_t most = 0;

    (void)state;
    store_kit_init(&kit, 2000, SEGMENT);
    kit.value_bytes = 1000;
    assert_int_equal(kit_open_store(&kit), 0);
    kit_start(&kit);
    for (int round = 0; round < 20; round++) {
        for (uint32_t i = 0; i < kit.key_count; i++) {
            int rc;
            while ((rc = kit_set(&kit, i)) == -EAGAIN) {
                usleep(100); /* Backpressure: no segment is ready. */
            }
            assert_int_equal(rc, 0);
            if (i % 10 == 0) {
                kit_flush(&kit);
            }
        }
        kit_flush(&kit);
        store_stats(kit.store, &stats);
        most = stats.log_bytes > most ? stats.log_bytes : most;
    }
    for (int tries = 0; stats.checkpoints == 0 && tries < 12000; tries++) {
        usleep(10000); /* On a busy machine the other thread comes late. */
        store_stats(kit.store, &stats);
    }
    kit_stop(&kit);
    store_stats(kit.store, &stats);
    assert_true(stats.checkpoints > 0);
    assert_int_equal(kit.reports[STORE_FAILED], 0);
    uint64_t live = 0;
    for (uint32_t i = 0; i < kit.key_count; i++) {
        live += kit.present[i].size;
    }
    print_message("log at most %lu KiB, live %lu KiB, %lu checkpoints\n",
                  (unsigned long)most / 1024, (unsigned long)live / 1024,
                  (unsigned long)stats.checkpoints);
    assert_true(most <= 2 * live + 16 * SEGMENT);
    kit_reopen_and_check(&kit);
    store_kit_fini(&kit);
}

/* storage.disk_limit: refused at it, and taken again once compaction made room. */
static void check_disk_limit(uint64_t bytes_max)
{
    store_kit_init(&kit, 50, SEGMENT);
    kit.options.bytes_max = bytes_max;
    kit.value_bytes = 1000;
    assert_int_equal(kit_open_store(&kit), 0);
    int rc = 0;
    for (uint32_t i = 0; rc == 0; i++) {
        assert_true(i < 10000);
        rc = kit_set(&kit, i % kit.key_count);
    }
    assert_int_equal(rc, -ENOSPC);
    assert_int_equal(kit.reports[STORE_DISK_FULL], 1);
    kit_flush(&kit);
    struct store_stats stats;
    store_stats(kit.store, &stats);
    assert_true(stats.disk_full && stats.log_bytes <= kit.options.bytes_max);

    kit_start(&kit); /* The compactor sees to it. */
    for (uint32_t tries = 0; (rc = kit_set(&kit, 1)) != 0; tries++) {
        assert_true(rc == -ENOSPC || rc == -EAGAIN);
        assert_true(tries < 120000);
        usleep(1000);
    }
    kit_flush(&kit);
    kit_stop(&kit);
    assert_int_equal(kit.reports[STORE_DISK_ROOM], 1);
    kit_reopen_and_check(&kit);
    store_kit_fini(&kit);
}

static void test_disk_limit(void **state)
{
    (void)state;
    check_disk_limit(6 * SEGMENT + STAGING_FILE_BYTES);
}

/* Only one segment finds room: it is sealed, and becomes the next one. */
static void test_disk_limit_of_one_segment(void **state)
{
    (void)state;
    check_disk_limit(3 * SEGMENT / 2);
    assert_int_equal(kit.segments_taken, 2);
}

/* The file system itself has no room; later it has. */
static void test_no_space(void **state)
{
    (void)state;
    begin(50, SEGMENT);
    kit.files.limited = true;
    kit.files.sizes_left = 2 * SEGMENT;
    kit.value_bytes = 1000;
    int rc = 0;
    for (uint32_t i = 0; rc == 0; i++) {
        assert_true(i < 10000);
        rc = kit_set(&kit, i % kit.key_count);
    }
    assert_int_equal(rc, -ENOSPC);
    kit_flush(&kit);
    kit_reopen_and_check(&kit);
    kit.files.limited = false;
    assert_int_equal(kit_set(&kit, 1), 0);
    kit_flush(&kit);
    kit_reopen_and_check(&kit);
    store_kit_fini(&kit);
}

/* What segments_take() says where preparing fails `count` times. */
static int take_after_failures(uint32_t count, int error)
{
    struct segments *segments = store_segments(kit.store);
    struct segment segment;

    kit.files.error = error;
    kit.files.fail_at = 1;
    kit.files.stay_failed = true;
    for (uint32_t i = 0; i < count; i++) {
        assert_int_equal(segments_prepare(segments), error);
    }
    kit.files.fail_at = 0;
    return segments_take(segments, kit.lsn, &segment);
}

/* The log ends for good where preparing fails again and again; not where the disk was full, and then one thing
 * fails. */
static void test_preparing_fails(void **state)
{
    (void)state;
    begin(50, SEGMENT);
    assert_int_equal(take_after_failures(20, -ENOSPC), -ENOSPC);
    assert_int_equal(take_after_failures(1, -EIO), -EAGAIN);
    assert_int_equal(take_after_failures(20, -ENOSPC), -ENOSPC);
    assert_int_equal(take_after_failures(4, -EIO), -EAGAIN);
    assert_int_equal(take_after_failures(1, -EIO), -EIO);
    assert_int_equal(segments_prepare(store_segments(kit.store)), 1); /* It works again. */
    assert_int_equal(kit_set(&kit, 1), 0);
    kit_flush(&kit);
    kit_reopen_and_check(&kit);
    store_kit_fini(&kit);
}

/* A file too many that cannot be removed says nothing of the next one that is needed. */
static void test_spare_file_stays(void **state)
{
    struct segments_stats stats;

    (void)state;
    begin(50, SEGMENT);
    struct segments *segments = store_segments(kit.store);
    kit.value_bytes = 10000;
    kit_live(&kit, 800);
    assert_int_equal(kit_take_segment(&kit), 0);
    assert_int_equal(store_compact(kit.store), 0);
    while (segments_prepare(segments) == 1) {
    }
    segments_set_kept(segments, 0, 0);
    for (int i = 0; i < 10; i++) {
        kit.files.error = -EPERM;
        kit.files.fail_at = kit.files.operations + 2; /* The index goes first. */
        assert_int_equal(segments_prepare(segments), -EPERM);
    }
    segments_stats(segments, &stats);
    assert_true(stats.ready > 0);
    for (uint32_t ready = stats.ready; ready > 0; ready--) {
        assert_int_equal(kit_take_segment(&kit), 0);
    }
    struct segment segment;
    assert_int_equal(segments_take(segments, kit.lsn, &segment), -EAGAIN);
    store_kit_fini(&kit);
}

/* A quota that is used up is a full disk to all of it. */
static void test_quota(void **state)
{
    (void)state;
    assert_int_equal(files_error(EDQUOT), -ENOSPC);
    assert_int_equal(checkpoint_error(EDQUOT), -ENOSPC);
    assert_int_equal(checkpoint_error(EIO), -EIO);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_empty),
        cmocka_unit_test(test_log_comes_back),
        cmocka_unit_test(test_compaction_keeps_everything),
        cmocka_unit_test(test_runs_are_bounded),
        cmocka_unit_test(test_map_grows),
        cmocka_unit_test(test_burials_empty_the_checkpoint),
        cmocka_unit_test(test_batch),
        cmocka_unit_test(test_log_stays_small),
        cmocka_unit_test(test_disk_limit),
        cmocka_unit_test(test_disk_limit_of_one_segment),
        cmocka_unit_test(test_no_space),
        cmocka_unit_test(test_preparing_fails),
        cmocka_unit_test(test_spare_file_stays),
        cmocka_unit_test(test_quota),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
