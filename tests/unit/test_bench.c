#include <errno.h>
#include <stdio.h>
#include <unistd.h>

#include "check.h"
#include "content.h"
#include "record.h"
#include "verdict.h"

static void test_keys_have_28_bytes(void **state)
{
    (void)state;
    uint8_t key[CONTENT_KEY_BYTES_MAX];

    size_t size = content_key("bench:", 42, key);
    assert_bytes_equal(bytes_of(key, size), text("bench:0000000000000000000042"));
    size = content_key("a-prefix-longer-than-the-rest:", 42, key);
    assert_bytes_equal(bytes_of(key, size), text("a-prefix-longer-than-the-rest:0000000042"));
}

static void test_seeded_content_follows_from_seed_and_number(void **state)
{
    (void)state;
    uint8_t first[100], second[100];

    content_seeded(1, 7, first, sizeof first);
    content_seeded(1, 7, second, sizeof second);
    assert_memory_equal(first, second, sizeof first);
    content_seeded(2, 7, second, sizeof second);
    assert_memory_not_equal(first, second, sizeof first);
    content_seeded(1, 8, second, sizeof second);
    assert_memory_not_equal(first, second, sizeof first);
}

static void test_counted_values_tell_every_change(void **state)
{
    (void)state;
    uint8_t value[CONTENT_COUNTED_BYTES_MIN + 13];
    uint64_t count = 0;
    struct bytes whole = bytes_of(value, sizeof value);

    content_counted(text("key"), 7, 99, value, sizeof value);
    assert_int_equal(content_counted_read(text("key"), 7, whole, &count), 0);
    assert_int_equal(count, 99);
    assert_int_equal(content_counted_read(text("kez"), 7, whole, &count), -EBADMSG);
    assert_int_equal(content_counted_read(text("key"), 8, whole, &count), -EBADMSG);
    for (size_t i = 0; i < sizeof value; i++) {
        struct bytes shorter = bytes_of(value, i);
        assert_int_equal(content_counted_read(text("key"), 7, shorter, &count), -EBADMSG);
        value[i] ^= 1;
        assert_int_equal(content_counted_read(text("key"), 7, whole, &count), -EBADMSG);
        value[i] ^= 1;
    }
}

static void test_deletes_come_as_often_as_asked_and_never_first_or_twice(void **state)
{
    (void)state;
    unsigned deletes = 0;

    for (uint64_t key = 0; key < 1000; key++) {
        assert_false(content_is_delete(key, 1, 50));
        for (uint64_t count = 1; count <= 100; count++) {
            bool is_delete = content_is_delete(key, count, 5);
            deletes += is_delete;
            assert_false(content_is_delete(key, count, 0));
            assert_false(is_delete && content_is_delete(key, count + 1, 50));
        }
    }
    assert_in_range(deletes, 4500, 5500);
}

/* The first count from `from` on that is a delete, or is none, of key 3 at 50 %. */
static uint64_t count_from(uint64_t from, bool is_delete)
{
    while (content_is_delete(3, from, 50) != is_delete) {
        from++;
    }
    return from;
}

static enum verdict judge(uint64_t acked, uint64_t sent, uint64_t found)
{
    struct evidence evidence = {
        .key = 3,
        .acked = acked,
        .sent = sent,
        .deletes_percent = 50,
        .present = found > 0,
        .readable = found != UINT64_MAX,
        .found = found,
    };
    return verdict_of(&evidence);
}

static void test_verdicts(void **state)
{
    (void)state;
    uint64_t put = count_from(3, false), ended = count_from(put, true);

    assert_int_equal(judge(0, 0, 0), VERDICT_GOOD);
    assert_int_equal(judge(0, 1, 0), VERDICT_GOOD);
    assert_int_equal(judge(0, 1, 1), VERDICT_GOOD);
    assert_int_equal(judge(1, 1, 1), VERDICT_GOOD);
    assert_int_equal(judge(1, 1, 0), VERDICT_LOST);
    assert_int_equal(judge(1, 1, UINT64_MAX), VERDICT_WRONG);
    assert_int_equal(judge(1, 1, 3), VERDICT_WRONG);
    assert_int_equal(judge(put, put + 1, put), VERDICT_GOOD);
    assert_int_equal(judge(ended, ended, 0), VERDICT_GOOD);
    assert_int_equal(judge(ended, ended, ended), VERDICT_WRONG);
    assert_int_equal(judge(ended, ended, put), VERDICT_RESURRECTED);
    assert_int_equal(judge(ended + 1, ended + 1, put), VERDICT_RESURRECTED);
    assert_int_equal(judge(ended + 1, ended + 1, 0), VERDICT_LOST);
    assert_int_equal(judge(put, ended, 0), VERDICT_GOOD);
}

static void test_older_value_is_stale(void **state)
{
    (void)state;
    struct evidence evidence = {.key = 3, .acked = 5, .sent = 5, .present = true, .readable = true};

    evidence.found = 4;
    assert_int_equal(verdict_of(&evidence), VERDICT_STALE);
    char text[VERDICT_TEXT_BYTES];
    verdict_describe(&evidence, VERDICT_STALE, text);
    assert_non_null(strstr(text, " is stale: found write "));
    evidence.readable = false;
    verdict_describe(&evidence, VERDICT_WRONG, text);
    assert_non_null(strstr(text, " is wrong: found what no run with --record wrote to it, "));
    evidence.readable = true;
    evidence.found = 5;
    assert_int_equal(verdict_of(&evidence), VERDICT_GOOD);
    evidence.present = false;
    assert_int_equal(verdict_of(&evidence), VERDICT_LOST);
    evidence.expired = true;
    assert_int_equal(verdict_of(&evidence), VERDICT_GOOD);
}

/* A record in a file of its own. */
static void make_path(char *path, size_t size)
{
    const char *directory = getenv("TMPDIR");

    snprintf(path, size, "%s/record-XXXXXX", directory != NULL ? directory : "/tmp");
    int fd = mkstemp(path);
    assert_true(fd >= 0);
    close(fd);
}

static void test_record_comes_back_as_written(void **state)
{
    (void)state;
    enum { ENTRIES = 600000 }; /* More than the file grows by at once. */
    struct record_header header = {
        .keys = 10, .ttl_ms = 5000, .value_bytes = 64, .deletes_percent = 7, .prefix = "p:"};
    struct record record;
    struct record_entry entry;
    char path[512];

    make_path(path, sizeof path);
    assert_int_equal(record_create(&record, path, &header), 0);
    for (uint64_t i = 0; i < ENTRIES; i++) {
        entry = (struct record_entry){
            .key = i % 10, .count = i, .what = RECORD_ACKED, .level = 3, .status = 5};
        assert_int_equal(record_note(&record, entry), 0);
    }
    /* It can be read while it is written: that is how it survives a kill. */
    struct record reader;
    assert_int_equal(record_open(&reader, path), 0);
    assert_string_equal(reader.header.prefix, "p:");
    assert_int_equal(reader.header.ttl_ms, 5000);
    assert_int_equal(reader.header.deletes_percent, 7);
    for (uint64_t i = 0; i < ENTRIES; i++) {
        assert_int_equal(record_next(&reader, &entry), 1);
        assert_int_equal(entry.count, i);
        assert_int_equal(entry.level, 3);
    }
    assert_int_equal(record_next(&reader, &entry), 0);
    record_close(&reader);
    record_close(&record);
    unlink(path);
}

static void test_damaged_record_is_told_from_a_torn_one(void **state)
{
    (void)state;
    struct record_header header = {.keys = 10};
    struct record record;
    struct record_entry entry = {.key = 1, .count = 1, .what = RECORD_SENT};
    char path[512];

    make_path(path, sizeof path);
    assert_int_equal(record_create(&record, path, &header), 0);
    assert_int_equal(record_note(&record, entry), 0);
    assert_int_equal(record_note(&record, entry), 0);
    record.map[RECORD_HEADER_BYTES + RECORD_ENTRY_BYTES] ^= 1;
    struct record reader;
    assert_int_equal(record_open(&reader, path), 0);
    assert_int_equal(record_next(&reader, &entry), 1);
    assert_int_equal(record_next(&reader, &entry), 0);
    record_close(&reader);

    record.map[RECORD_HEADER_BYTES] ^= 1;
    assert_int_equal(record_open(&reader, path), 0);
    assert_int_equal(record_next(&reader, &entry), -EBADMSG);
    record_close(&reader);
    record.map[0] ^= 1;
    assert_int_equal(record_open(&reader, path), -EBADMSG);
    record_close(&record);
    unlink(path);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_keys_have_28_bytes),
        cmocka_unit_test(test_seeded_content_follows_from_seed_and_number),
        cmocka_unit_test(test_counted_values_tell_every_change),
        cmocka_unit_test(test_deletes_come_as_often_as_asked_and_never_first_or_twice),
        cmocka_unit_test(test_verdicts),
        cmocka_unit_test(test_older_value_is_stale),
        cmocka_unit_test(test_record_comes_back_as_written),
        cmocka_unit_test(test_damaged_record_is_told_from_a_torn_one),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
