/* The bound of the log: where compaction is held up, the log stops growing, who writes is told to wait, and
 * goes on once there is room. */
#include <dirent.h>
#include <sys/stat.h>

#include "store_kit.h"

enum { SEGMENT = 128 * 1024, LOG_MIN = 4 * SEGMENT, BOUND = 3 * LOG_MIN };

static struct store_kit kit;

/* What the log takes on the disk. */
static uint64_t log_bytes(void)
{
    DIR *directory = opendir(kit.directory);
    struct dirent *entry;
    struct stat status;
    uint64_t bytes = 0;

    assert_non_null(directory);
    while ((entry = readdir(directory)) != NULL) {
        char path[PATH_BYTES_MAX];
        if (strncmp(entry->d_name, "log-", 4) == 0 &&
            path_join(path, kit.directory, entry->d_name) == 0 && stat(path, &status) == 0) {
            bytes += (uint64_t)status.st_size;
        }
    }
    closedir(directory);
    return bytes;
}

static void begin(void)
{
    store_kit_init(&kit, 300, SEGMENT);
    kit.options.log_bytes_min = LOG_MIN;
    kit.value_bytes = 500;
    assert_int_equal(kit_open_store(&kit), 0);
}

/* Write until that is refused for a while. Returns what is said then. */
static int write_until_refused(uint64_t *records)
{
    uint32_t number = 0, refused = 0;
    int rc = 0;

    while (refused < 300) {
        rc = kit_set(&kit, number);
        if (rc == 0) {
            number = (number + 1) % kit.key_count;
            refused = 0;
            (*records)++;
            assert_true(*records < 100000);
        } else {
            refused++;
            usleep(1000);
        }
    }
    kit_flush(&kit);
    return rc;
}

static void write_again(void)
{
    int rc;

    for (uint32_t tries = 0; (rc = kit_set(&kit, 1)) != 0; tries++) {
        assert_true(rc == -EAGAIN || rc == -ENOSPC);
        assert_true(tries < 120000);
        usleep(1000);
    }
}

/* Compaction hangs in its commit. */
static void test_slow_compaction(void **state)
{
    struct segments_stats stats;
    uint64_t records = 0;

    (void)state;
    begin();
    kit.files.hold_commits = true;
    kit_start(&kit);
    assert_int_equal(write_until_refused(&records), -EAGAIN);
    segments_stats(store_segments(kit.store), &stats);
    assert_true(stats.at_bound && !stats.full);
    assert_true(stats.bytes <= BOUND && stats.bytes > BOUND - 2 * SEGMENT);
    assert_true(log_bytes() <= BOUND);
    __atomic_store_n(&kit.files.hold_commits, false, __ATOMIC_RELAXED);
    for (int round = 0; round < 3000; round++) { /* Resumes by itself, and goes on. */
        write_again();
    }
    kit_flush(&kit);
    kit_stop(&kit);
    assert_int_equal(kit.reports[STORE_DISK_FULL] + kit.reports[STORE_FAILED], 0);
    kit_reopen_and_check(&kit);
    store_kit_fini(&kit);
}

/* The bound goes by what is in memory where that is more than the checkpoint has. */
static void test_live_data_in_memory(void **state)
{
    struct segments_stats stats;
    uint64_t records = 0;

    (void)state;
    begin();
    struct loader_port *loader = store_loader(kit.store);
    loader->live(loader, 20 * SEGMENT + SEGMENT / 2);
    kit.files.hold_commits = true;
    kit_start(&kit);
    assert_int_equal(write_until_refused(&records), -EAGAIN);
    segments_stats(store_segments(kit.store), &stats);
    assert_true(stats.bytes <= BOUND + 35 * SEGMENT && stats.bytes > BOUND + 33 * SEGMENT);
    __atomic_store_n(&kit.files.hold_commits, false, __ATOMIC_RELAXED);
    write_again();
    kit_flush(&kit);
    kit_stop(&kit);
    kit_reopen_and_check(&kit);
    store_kit_fini(&kit);
}

/* Compaction finds no room on the disk: that is what is said then, and it ends like any full disk. */
static void test_no_room_for_a_checkpoint(void **state)
{
    uint64_t records = 0;

    (void)state;
    begin();
    kit.files.commit_error = -ENOSPC;
    kit_start(&kit);
    assert_int_equal(write_until_refused(&records), -ENOSPC);
    assert_true(log_bytes() <= BOUND);
    assert_int_equal(__atomic_load_n(&kit.reports[STORE_DISK_FULL], __ATOMIC_RELAXED), 1);
    __atomic_store_n(&kit.files.commit_error, 0, __ATOMIC_RELAXED);
    write_again();
    kit_flush(&kit);
    kit_stop(&kit);
    assert_int_equal(kit.reports[STORE_DISK_ROOM], 1);
    kit_reopen_and_check(&kit);
    store_kit_fini(&kit);
}

/* Free files are part of it: what is kept of them goes when the data does. */
static void test_free_files_are_within(void **state)
{
    uint64_t most = 0;

    (void)state;
    begin();
    assert_int_equal(store_compact(kit.store), 0); /* From here on there is a bound. */
    for (int round = 0; round < 20; round++) {
        for (uint32_t i = 0; i < kit.key_count; i++) {
            int rc = kit_set(&kit, i);
            if (rc == -EAGAIN) {
                assert_int_equal(store_compact(kit.store), 0);
                rc = kit_set(&kit, i);
            }
            assert_int_equal(rc, 0);
        }
        most = log_bytes() > most ? log_bytes() : most;
    }
    kit_flush(&kit);
    assert_int_equal(kit_take_segment(&kit), 0);
    assert_int_equal(store_compact(kit.store), 0);
    while (segments_prepare(store_segments(kit.store)) == 1) {
    }
    uint64_t live = 0;
    for (uint32_t i = 0; i < kit.key_count; i++) {
        live += kit.present[i].size;
    }
    assert_true(most <= 7 * live / 4 + BOUND);
    assert_true(log_bytes() <= 5 * live / 4 + LOG_MIN + 4 * SEGMENT);
    for (uint32_t i = 0; i < kit.key_count; i++) {
        assert_int_equal(kit_bury(&kit, i), 0);
    }
    kit_flush(&kit);
    assert_int_equal(kit_take_segment(&kit), 0);
    assert_int_equal(store_compact(kit.store), 0);
    while (segments_prepare(store_segments(kit.store)) == 1) {
    }
    assert_true(log_bytes() <= LOG_MIN + 4 * SEGMENT);
    kit_reopen_and_check(&kit);
    store_kit_fini(&kit);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_slow_compaction),
        cmocka_unit_test(test_live_data_in_memory),
        cmocka_unit_test(test_no_room_for_a_checkpoint),
        cmocka_unit_test(test_free_files_are_within),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
