/* A log that is followed while it is written, kept for that beyond its compaction, and given up where there is no room. */
#include "log_follow.h"

#include "store_kit.h"

enum { SEGMENT_BYTES = 256 * 1024, KEYS = 100 };

static struct store_kit kit;

/* What was followed. */
static struct following {
    struct log_visitor visitor;
    uint64_t records, last_lsn;
    uint64_t stop_lsn; /* Not this one. */
} following;

static int on_record(struct log_visitor *visitor, uint64_t lsn, const struct log_record *record)
{
    (void)visitor;
    assert_true(record->kind == LOG_FULL || record->kind == LOG_DELTA);
    if (lsn == following.stop_lsn) {
        return 1;
    }
    assert_true(following.records == 0 || lsn > following.last_lsn);
    following.records++;
    following.last_lsn = lsn;
    return 0;
}

/* Follow on from `lsn`. Returns how many records there were. What was read does not stay in the cache, where it would be in
 * the way of the log's writes. */
static uint64_t follow(uint64_t *lsn, uint64_t end_lsn, uint64_t *gap_bytes)
{
    struct faulty_files files = {.files = kit.files.files};
    struct log_follow follow;

    following = (struct following){.visitor = {.record = on_record}, .stop_lsn = UINT64_MAX};
    log_follow_init(&follow, store_segments(kit.store), &files.files, &kit.memory.memory);
    assert_int_equal(log_follow(&follow, lsn, end_lsn, &following.visitor, gap_bytes), 0);
    assert_int_equal(files.cached, 0);
    log_follow_fini(&follow);
    return following.records;
}

static void begin(uint64_t backlog_bytes)
{
    store_kit_init(&kit, KEYS, SEGMENT_BYTES);
    kit.options.archives = true;
    kit.options.archive_backlog_bytes = backlog_bytes;
    assert_int_equal(kit_open_store(&kit), 0);
    assert_int_equal(kit_take_segment(&kit), 0);
}

/* So many writes, durable. */
static void write_some(uint32_t count)
{
    for (uint32_t i = 0; i < count; i++) {
        assert_int_equal(kit_set(&kit, random_below(&kit.random, KEYS)), 0);
    }
    kit_flush(&kit);
}

static void seal(void)
{
    assert_int_equal(kit_take_segment(&kit), 0);
}

static uint64_t kept(void)
{
    struct store_stats stats;

    store_stats(kit.store, &stats);
    return stats.kept_bytes;
}

static void test_follows_what_is_written(void **state)
{
    (void)state;
    begin(1 << 30);
    uint64_t lsn = 0, gap_bytes = 0, count = 0;
    for (uint32_t i = 0; i < 40; i++) { /* Within a segment, and from one to the next. */
        write_some(100);
        assert_int_equal(follow(&lsn, kit.lsn, &gap_bytes), 100);
        assert_int_equal(lsn, kit.lsn);
        count += 100;
        assert_int_equal(follow(&lsn, kit.lsn, &gap_bytes), 0);
    }
    assert_true(kit.segments_taken > 2);
    lsn = 0;
    assert_int_equal(follow(&lsn, kit.lsn, &gap_bytes), count);
    assert_int_equal(gap_bytes, 0);
    /* Not beyond what is durable. */
    lsn = 0;
    uint64_t half = follow(&lsn, kit.lsn / 2 / 8 * 8, &gap_bytes);
    assert_true(half < count && half > 0);
    store_kit_fini(&kit);
}

static void test_stops_at_a_record(void **state)
{
    (void)state;
    begin(1 << 30);
    write_some(10);
    uint64_t lsn = 0, gap_bytes = 0;
    assert_int_equal(follow(&lsn, kit.lsn, &gap_bytes), 10);
    struct log_follow again;
    following =
        (struct following){.visitor = {.record = on_record}, .stop_lsn = following.last_lsn};
    log_follow_init(&again, store_segments(kit.store), &kit.files.files, &kit.memory.memory);
    lsn = 0;
    assert_int_equal(log_follow(&again, &lsn, kit.lsn, &following.visitor, &gap_bytes), 1);
    log_follow_fini(&again);
    assert_int_equal(following.records, 9);
    assert_int_equal(follow(&lsn, kit.lsn, &gap_bytes), 1);
    store_kit_fini(&kit);
}

/* Compaction goes on, and what it has done with stays for the archive until that has it, also over a restart. */
static void test_kept_until_archived(void **state)
{
    (void)state;
    begin(1 << 30);
    uint64_t lsn = 0, gap_bytes = 0;
    write_some(3000);
    seal();
    uint64_t middle = kit.lsn;
    write_some(3000);
    seal();
    assert_int_equal(store_compact(kit.store), 0);
    assert_true(kept() > 0);
    assert_int_equal(follow(&lsn, kit.lsn, &gap_bytes), 6000);

    kit_reopen_and_check(&kit);
    assert_true(kept() > 0);
    lsn = 0;
    assert_int_equal(follow(&lsn, kit.lsn, &gap_bytes), 6000);
    uint64_t all = kept();
    struct archive_mark mark = {.lsn = middle, .actor = kit_actor, .log_sequence = 5};
    assert_int_equal(store_set_archived(kit.store, &mark), 0);
    assert_true(kept() < all && kept() > 0);
    lsn = middle;
    assert_int_equal(follow(&lsn, kit.lsn, &gap_bytes), 3000);

    kit_reopen_and_check(&kit);
    store_archived(kit.store, &mark);
    assert_int_equal(mark.lsn, middle);
    assert_int_equal(mark.log_sequence, 5);
    assert_int_equal(mark.actor.node, kit_actor.node);
    lsn = middle;
    assert_int_equal(follow(&lsn, kit.lsn, &gap_bytes), 3000);
    assert_int_equal(gap_bytes, 0);
    mark.lsn = kit.lsn;
    assert_int_equal(store_set_archived(kit.store, &mark), 0);
    assert_int_equal(kept(), 0);
    store_kit_fini(&kit);
}

/* Beyond the backlog the oldest goes, and who follows is told how much. */
static void test_backlog(void **state)
{
    (void)state;
    begin(3 * SEGMENT_BYTES);
    for (uint32_t i = 0; i < 8; i++) {
        write_some(1000);
        seal();
        assert_int_equal(store_compact(kit.store), 0);
        assert_true(kept() <= 3 * (SEGMENT_BYTES + 64 * 1024));
    }
    uint64_t lsn = 0, gap_bytes = 0;
    uint64_t records = follow(&lsn, kit.lsn, &gap_bytes);
    assert_true(gap_bytes > 0 && records > 0 && records < 8000);
    assert_int_equal(lsn, kit.lsn);
    store_kit_fini(&kit);
}

/* Who writes comes before the archive: with nothing else to take a segment from, what is kept goes. */
static void test_disk_limit(void **state)
{
    (void)state;
    store_kit_init(&kit, KEYS, SEGMENT_BYTES);
    kit.options.archives = true;
    kit.options.archive_backlog_bytes = 1 << 30;
    kit.options.bytes_max = STAGING_FILE_BYTES + 16 * SEGMENT_BYTES;
    assert_int_equal(kit_open_store(&kit), 0);
    assert_int_equal(kit_take_segment(&kit), 0);
    for (uint32_t i = 0; i < 30; i++) {
        write_some(1000);
        seal();
        assert_int_equal(store_compact(kit.store), 0);
    }
    uint64_t lsn = 0, gap_bytes = 0;
    (void)follow(&lsn, kit.lsn, &gap_bytes);
    assert_true(gap_bytes > 0);
    kit_reopen_and_check(&kit);
    store_kit_fini(&kit);
}

/* Without an archive nothing is kept. */
static void test_without_an_archive(void **state)
{
    (void)state;
    store_kit_init(&kit, KEYS, SEGMENT_BYTES);
    assert_int_equal(kit_open_store(&kit), 0);
    assert_int_equal(kit_take_segment(&kit), 0);
    write_some(3000);
    seal();
    assert_int_equal(store_compact(kit.store), 0);
    assert_int_equal(kept(), 0);
    store_kit_fini(&kit);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_follows_what_is_written),
        cmocka_unit_test(test_stops_at_a_record),
        cmocka_unit_test(test_kept_until_archived),
        cmocka_unit_test(test_backlog),
        cmocka_unit_test(test_disk_limit),
        cmocka_unit_test(test_without_an_archive),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
