/* The staging at rest: what was not used for a while goes back, and nothing that is in it. */
#include <stdio.h>

#include "bounds.h"
#include "staging_life.h"

enum { LARGE_SEGMENT = 16 * 1024 * 1024, KIB = 1024 };

/* What is resident of the staging's areas. */
static size_t resident_bytes(void)
{
    const uint8_t *map = store_staging(kit.store)->map;
    FILE *smaps = fopen("/proc/self/smaps", "r");
    unsigned long from, to, kib;
    bool inside = false;
    size_t bytes = 0;
    char line[512];

    assert_non_null(smaps);
    while (fgets(line, sizeof line, smaps) != NULL) {
        if (sscanf(line, "%lx-%lx ", &from, &to) == 2) {
            inside = from < (uintptr_t)map + STAGING_FILE_BYTES && to > (uintptr_t)map;
        } else if (inside && sscanf(line, "Rss: %lu kB", &kib) == 1) {
            bytes += kib * KIB;
        }
    }
    fclose(smaps);
    return bytes < STAGING_HEADER_BYTES ? 0 : bytes - STAGING_HEADER_BYTES;
}

/* Append until the staging is full: the device takes nothing. */
static void stage_all(void)
{
    int rc;

    kit.value_bytes = 30000;
    while ((rc = kit_set(&kit, random_below(&kit.random, KEYS))) == 0) {
    }
    assert_int_equal(rc, -EAGAIN);
    assert_int_equal(writer.count, LOG_BATCHES);
}

static void trim(void)
{
    now_us += CHECK_MS * 1000;
    (void)log_writer_turn(&writer, now_us);
    log_writer_trim(&writer);
}

static void test_pages_go_back(void **state)
{
    (void)state;
    begin(LARGE_SEGMENT);
    assert_false(writer.trimmable);
    stage_all();
    write_all();
    assert_true(resident_bytes() > STAGING_AREAS * (STAGING_AREA_BYTES - 100 * KIB));
    assert_true(writer.trimmable);
    trim(); /* It was used. */
    assert_true(resident_bytes() > STAGING_AREAS * (STAGING_AREA_BYTES - 100 * KIB));
    assert_true(writer.trimmable);
    trim();
    assert_int_equal(resident_bytes(), 2 * LOG_WRITE_BYTES_MIN);
    assert_false(writer.trimmable);
    live(200);
    kill_process();
    restart();
    assert_int_equal(kit.reports[STORE_STAGING_TAKEN], 1);
    end();
}

/* What was used since the last time stays, also where it is more than a rest leaves; a device that keeps up needs no more than
 * two areas. */
static void test_what_is_used_stays(void **state)
{
    (void)state;
    begin(LARGE_SEGMENT);
    kit.value_bytes = 50000;
    for (uint32_t round = 0; round < 6; round++) {
        for (uint32_t i = 0; i < 8; i++) {
            assert_int_equal(kit_set(&kit, i), 0);
        }
        begin_write();
        for (uint32_t i = 0; i < 8; i++) {
            assert_int_equal(kit_set(&kit, i), 0);
        }
        write_all();
        trim();
        assert_true(resident_bytes() > 2 * LOG_WRITE_BYTES_MIN + 200 * KIB);
        assert_int_equal(store_staging(kit.store)->areas[2].mapped_bytes, 0);
        assert_true(writer.trimmable);
    }
    trim();
    assert_int_equal(resident_bytes(), 2 * LOG_WRITE_BYTES_MIN);
    end();
}

/* An area that is in use is let alone, as long as it takes. The staging is plain memory here, which would lose what was in its
 * pages. */
static void test_used_areas_are_let_alone(void **state)
{
    (void)state;
    begin(LARGE_SEGMENT);
    kill_process();
    kit.files.map_error = -ENODEV;
    assert_int_equal(kit_open_store(&kit), 0);
    attach();
    kit.value_bytes = 30000;
    for (uint32_t round = 0; round < 3; round++) {
        int rc;
        while ((rc = kit_set(&kit, random_below(&kit.random, KEYS))) == 0) {
        }
        assert_int_equal(rc, -EAGAIN);
        for (int i = 0; i < 4; i++) {
            trim();
        }
        if (writer.in_flight) {
            reap(true);
        }
        write_all();
        trim();
    }
    kill_process();
    kit.files.map_error = 0;
    kit.reports[STORE_STAGING_REFUSED] = 0;
    restart();
    end();
}

/* A failed device leaves all of it to the next start. */
static void test_after_a_failure(void **state)
{
    (void)state;
    begin(LARGE_SEGMENT);
    stage_all();
    begin_write();
    log_writer_written(&writer, -EIO, now_us);
    trim();
    trim();
    assert_false(writer.trimmable);
    kill_process();
    restart();
    assert_int_equal(kit.reports[STORE_STAGING_TAKEN], 1);
    end();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_pages_go_back),
        cmocka_unit_test(test_what_is_used_stays),
        cmocka_unit_test(test_used_areas_are_let_alone),
        cmocka_unit_test(test_after_a_failure),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
