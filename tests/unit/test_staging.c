/* What a process that dies leaves in the staging: what no device write took must be there when the store is
 * opened again. */
#include "staging_life.h"

static void test_nothing_was_written(void **state)
{
    (void)state;
    begin(SEGMENT);
    for (int life = 0; life < 5; life++) {
        for (int i = 0; i < 300; i++) {
            assert_int_equal(kit_step(&kit), 0);
            assert_int_equal(appended_rc, 0);
        }
        assert_int_equal(writer.stats.device_writes, 0);
        kill_process();
        restart();
        kill_process(); /* And once more, before it did anything. */
        restart();
    }
    assert_int_equal(kit.reports[STORE_STAGING_TAKEN], 5);
    end();
}

/* It goes on in a segment that was taken, and of which nothing was written. */
static void test_two_segments(void **state)
{
    (void)state;
    begin(SEGMENT);
    while (writer.lsn < SEGMENT - 40000) {
        live(1);
        write_all();
    }
    kit.value_bytes = 1000;
    for (uint32_t i = 0; writer.lsn < SEGMENT + 40000; i++) {
        assert_int_equal(kit_set(&kit, i % KEYS), 0);
    }
    assert_int_equal(writer.count, 2);
    assert_true(writer.segment.lsn > durable_lsn);
    kill_process();
    restart();
    live(500);
    kill_process();
    restart();
    assert_int_equal(kit.reports[STORE_STAGING_TAKEN], 2);
    end();
}

/* After a clean end there is nothing to take. */
static void test_all_was_written(void **state)
{
    (void)state;
    begin(SEGMENT);
    live(2000);
    write_all();
    check_emptied();
    kill_process();
    restart();
    assert_int_equal(kit.reports[STORE_STAGING_TAKEN], 0);
    end();
}

static void test_every_death(void **state)
{
    enum { LIVES = 60 };

    (void)state;
    begin(SEGMENT);
    for (uint32_t life = 0; life < LIVES; life++) {
        for (uint32_t part = random_below(&kit.random, 6); part > 0; part--) {
            live(random_below(&kit.random, 200));
            late_lands();
            if (random_below(&kit.random, 2) == 0) {
                write_one();
            }
        }
        if (random_below(&kit.random, 10) == 0) {
            write_all();
            assert_true(store_compact(kit.store) >= 0);
        }
        live(1 + random_below(&kit.random, 100));
        die((enum dying)random_below(&kit.random, DEATHS));
        restart();
    }
    print_message("%lu of %d restarts took something up\n",
                  (unsigned long)kit.reports[STORE_STAGING_TAKEN], LIVES);
    assert_true(kit.reports[STORE_STAGING_TAKEN] > LIVES / 2);
    end();
}

/* A failed device acknowledges nothing any more; what had been acknowledged at `memory` comes back. */
static void test_device_failed(void **state)
{
    (void)state;
    begin(SEGMENT);
    live(300);
    write_one();
    live(50);
    begin_write();
    live(50);
    uint64_t lsn = durable_lsn;
    log_writer_written(&writer, -EIO, now_us);
    assert_int_equal(failures, 1);
    assert_int_equal(kit_set(&kit, 1), -EIO);
    (void)log_writer_turn(&writer, now_us + 1000000);
    assert_int_equal(durable_lsn, lsn);
    kill_process();
    restart();
    end();
}

/* ---- Faults while it is taken up ---- */

static void fault_loop(bool memory, bool stay_failed)
{
    uint64_t n = 1;

    begin(SEGMENT);
    kit.files.stay_failed = stay_failed;
    for (bool reached = true; reached; n++) {
        assert_true(n < 500);
        live(100);
        die(DEATH_LATE);
        kit.files.operations = kit.memory.inner.requests = 0;
        kit.files.fail_at = memory ? 0 : n;
        kit.memory.inner.fail_at = memory ? n : 0;
        int rc = kit_open_store(&kit);
        assert_true(rc != 0 || kit_differences(&kit) == 0);
        reached = (memory ? kit.memory.inner.requests : kit.files.operations) >= n;
        kit.files.fail_at = kit.memory.inner.fail_at = 0;
        store_kit_close(&kit);
        restart();
        assert_true(store_compact(kit.store) >=
                    0); /* Or each round would do more than the one before. */
    }
    print_message("%lu\n", (unsigned long)n);
    assert_true(n > 10);
    assert_int_equal(kit.reports[STORE_LOG_TORN], 0); /* Nothing was taken up twice. */
    end();
}

static void test_io_fails(void **state)
{
    (void)state;
    fault_loop(false, false);
    fault_loop(false, true);
}

static void test_allocation_fails(void **state)
{
    (void)state;
    fault_loop(true, false);
}

static ino_t synced; /* The last file that was. */
static int (*sync_before)(struct files *files, int fd);

static int sync_noted(struct files *files, int fd)
{
    struct stat status;

    assert_int_equal(fstat(fd, &status), 0);
    synced = status.st_ino;
    return sync_before(files, fd);
}

/* No room for a segment to settle in: what was taken up is served and stays where it is, durable there, as writes at
 * `disk` that change nothing are acknowledged, and a stop now is a clean one. */
static void test_full_disk(void **state)
{
    char path[PATH_BYTES_MAX];
    struct stat status;
    int rc;

    (void)state;
    begin(SEGMENT);
    kit.files.limited = true;
    kit.files.sizes_left = 2 * SEGMENT;
    kit.value_bytes = 1000;
    while (writer.lsn < 2 * (SEGMENT - LOG_HEADER_BYTES) - 20000) {
        assert_int_equal(kit_set(&kit, random_below(&kit.random, KEYS)), 0);
        write_all();
    }
    kit.value_bytes = 8;
    assert_int_equal(kit_set(&kit, 3), 0);
    assert_int_equal(kit_set(&kit, 4), 0);
    sync_before = kit.files.files.sync;
    kit.files.files.sync = sync_noted;
    staging_path(path);
    assert_int_equal(stat(path, &status), 0);
    for (int life = 0; life < 3; life++) {
        kill_process();
        synced = 0;
        restart();
        assert_int_equal(synced, status.st_ino);
        assert_int_equal(kit.reports[STORE_STAGING_TAKEN], life + 1);
        rc = kit_set(&kit, 5);
        assert_true(rc == -ENOSPC || rc == -EAGAIN);
    }
    kit.files.limited = false;
    assert_int_equal(segments_prepare(store_segments(kit.store)), 1);
    now_us += 1000000;
    (void)log_writer_turn(&writer, now_us);
    assert_true(kit_set(&kit, 5) < 0); /* What is left comes first. */
    assert_int_equal(store_start(kit.store), 0);
    while ((rc = kit_set(&kit, 5)) != 0) {
        assert_true(rc == -ENOSPC || rc == -EAGAIN);
        usleep(1000);
        now_us += 1000000;
        (void)log_writer_turn(&writer, now_us);
    }
    store_stop(kit.store);
    kill_process();
    restart();
    assert_int_equal(kit.reports[STORE_STAGING_TAKEN], 4);
    end();
}

/* ---- Damage in the last device write ---- */

static void flip_in_segment(const struct segment *segment, uint64_t lsn)
{
    char path[PATH_BYTES_MAX], name[SEGMENT_NAME_BYTES];
    uint8_t byte;

    segment_name(name, segment->epoch);
    assert_int_equal(path_join(path, kit.directory, name), 0);
    int fd = open(path, O_RDWR);
    off_t at = (off_t)(LOG_HEADER_BYTES + (lsn - segment->lsn));
    assert_int_equal(pread(fd, &byte, 1, at), 1);
    byte ^= 4;
    assert_int_equal(pwrite(fd, &byte, 1, at), 1);
    close(fd);
}

/* What was durable is known from the staging: a bad record before that is no torn end. The rest of its write is there,
 * and so is what no device write had taken. */
static void test_damage_in_the_last_write(void **state)
{
    (void)state;
    begin(SEGMENT);
    live(200);
    write_all();
    for (int life = 0; life < 2; life++) {
        kit.value_bytes = 100;
        assert_int_equal(kit_set(&kit, 7), 0);
        uint64_t lsn = kit.lsn - 60; /* In its value. */
        for (uint32_t i = 8; i < KEYS; i++) {
            assert_int_equal(kit_set(&kit, i), 0);
        }
        write_all();
        assert_true(writer.segment.lsn < lsn);
        const struct segment segment = writer.segment;
        for (uint32_t i = 8; life == 1 && i < KEYS; i++) {
            assert_int_equal(kit_set(&kit, i), 0);
        }
        kill_process();
        flip_in_segment(&segment, lsn);
        memset(kit.reports, 0, sizeof kit.reports);
        memset(kit.named, 0, sizeof kit.named);
        assert_int_equal(kit_open_store(&kit), 0);
        assert_int_equal(kit_differences(&kit), 1);
        assert_int_equal(kit.named[7], life + 1); /* The first one is in the log still. */
        assert_int_equal(kit.reports[STORE_LOG_DAMAGED], life + 1);
        assert_int_equal(kit.reports[STORE_LOG_MISSING] + kit.reports[STORE_LOG_TORN], 0);
        assert_int_equal(kit.reports[STORE_STAGING_TAKEN], life);
        kit_replace(&kit.present[7], buffer_bytes(&kit.restored[7]));
        attach();
    }
    end();
}

/* The same of the very last record. */
static void test_damage_in_the_last_record(void **state)
{
    (void)state;
    begin(SEGMENT);
    live(200);
    write_all();
    kit.value_bytes = 100;
    for (uint32_t i = 0; i < KEYS; i++) {
        assert_int_equal(kit_set(&kit, i), 0);
    }
    write_all();
    const struct segment segment = writer.segment;
    uint64_t lsn = kit.lsn - 60;
    assert_int_equal(kit_set(&kit, 8), 0);
    kill_process();
    flip_in_segment(&segment, lsn);
    assert_int_equal(kit_open_store(&kit), 0);
    assert_int_equal(kit_differences(&kit), 1);
    assert_int_equal(kit.named[KEYS - 1], 1);
    assert_int_equal(kit.reports[STORE_LOG_MISSING] + kit.reports[STORE_LOG_TORN], 0);
    attach();
    end();
}

/* ---- Where it is not kept ---- */

static void test_no_mapping(void **state)
{
    (void)state;
    begin(SEGMENT);
    live(100);
    kill_process();
    kit.files.map_error = -ENODEV;
    assert_int_equal(kit_open_store(&kit), 0);
    assert_int_equal(kit_differences(&kit), 0); /* What there was is taken up all the same. */
    assert_int_equal(kit.reports[STORE_STAGING_REFUSED], 1);
    attach();
    for (int i = 0; i < 3; i++) {
        assert_int_equal(kit_set(&kit, 1), 0);
        assert_int_equal(appended_rc, 1);
        write_all();
    }
    kill_process();
    kit.files.map_error = -EIO;
    assert_int_equal(kit_open_store(&kit), -EIO);
    kit.files.map_error = 0;
    kit.reports[STORE_STAGING_REFUSED] = 0;
    restart();
    assert_int_equal(kit_set(&kit, 1), 0);
    assert_int_equal(appended_rc, 0);
    end();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_nothing_was_written),
        cmocka_unit_test(test_two_segments),
        cmocka_unit_test(test_all_was_written),
        cmocka_unit_test(test_every_death),
        cmocka_unit_test(test_device_failed),
        cmocka_unit_test(test_io_fails),
        cmocka_unit_test(test_allocation_fails),
        cmocka_unit_test(test_full_disk),
        cmocka_unit_test(test_damage_in_the_last_write),
        cmocka_unit_test(test_damage_in_the_last_record),
        cmocka_unit_test(test_no_mapping),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
