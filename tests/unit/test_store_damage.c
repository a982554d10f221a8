/* Torn ends and damage: what was durable is there, what is not is named, and neither is taken for the
 * other. */
#include <sys/stat.h>

#include "kept_lacks.h"
#include "kept_seen.h"
#include "store_kit.h"

enum { SEGMENT = 256 * 1024, BLOCK = LOG_BLOCK_BYTES };

static struct store_kit kit;

/* ---- Files ---- */

struct newest {
    char names[64][SEGMENT_NAME_BYTES];
    uint32_t count;
};

static int collect(void *context, const char *name)
{
    struct newest *found = context;
    struct log_epoch epoch;

    if (segment_name_parse(name, &epoch) == 0) {
        assert_true(found->count < 64);
        snprintf(found->names[found->count++], SEGMENT_NAME_BYTES, "%s", name);
    }
    return 0;
}

static int compare_names(const void *left, const void *right)
{
    return strcmp(left, right);
}

/* Paths of all segments in the order of the log. */
static struct newest list_segments(void)
{
    struct newest found = {.count = 0};

    assert_int_equal(files_list(kit.directory, collect, &found), 0);
    qsort(found.names, found.count, sizeof found.names[0], compare_names);
    return found;
}

static int open_segment(const char *name)
{
    char path[PATH_BYTES_MAX];

    assert_int_equal(path_join(path, kit.directory, name), 0);
    int fd = open(path, O_RDWR);
    assert_true(fd >= 0);
    return fd;
}

static void flip(const char *name, uint64_t offset, uint8_t bits)
{
    uint8_t byte;
    int fd = open_segment(name);

    assert_int_equal(pread(fd, &byte, 1, (off_t)offset), 1);
    byte ^= bits;
    assert_int_equal(pwrite(fd, &byte, 1, (off_t)offset), 1);
    close(fd);
}

static void forget_reports(void)
{
    memset(kit.reports, 0, sizeof kit.reports);
    memset(kit.named, 0, sizeof kit.named);
}

/* ---- Damage in the middle ---- */

/* Every record that is lost is one whose key was named; with a damaged header one key may be nameless. */
static void check_losses(uint32_t nameless_max)
{
    uint32_t nameless = 0;

    for (uint32_t i = 0; i < kit.key_count; i++) {
        if (!bytes_equal(buffer_bytes(&kit.present[i]), buffer_bytes(&kit.restored[i])) &&
            kit.named[i] == 0) {
            nameless++;
        }
    }
    assert_true(nameless <= nameless_max);
}

/* Flip bits anywhere in the durable part of the log, one place at a time. */
static void test_flipped_bytes(void **state)
{
    uint64_t random = 7;

    (void)state;
    store_kit_init(&kit, 300, SEGMENT);
    assert_int_equal(kit_open_store(&kit), 0);
    kit_live(&kit, 4000);
    uint64_t durable = LOG_HEADER_BYTES + (kit.lsn - kit.segment.lsn);
    kit_live(&kit, 1);
    assert_int_equal(kit_set(&kit, 0), 0); /* Its MARK tells that all before it was durable. */
    kit_flush(&kit);
    store_kit_close(&kit);
    struct newest files = list_segments();
    assert_true(files.count >= 3);
    for (int round = 0; round < 150; round++) {
        uint32_t which = random_below(&random, files.count);
        struct stat status;
        int fd = open_segment(files.names[which]);
        assert_int_equal(fstat(fd, &status), 0);
        close(fd);
        bool last = which + 1 == files.count;
        uint32_t end = last ? (uint32_t)durable : (uint32_t)status.st_size;
        uint64_t offset = random_below(&random, end);
        uint8_t bits = (uint8_t)(1 << random_below(&random, 8));
        forget_reports();
        flip(files.names[which], offset, bits);
        assert_int_equal(kit_open_store(&kit), 0);
        check_losses(1);
        bool lost = kit_differences(&kit) > 0;
        if (lost) {
            assert_true(kit.reports[STORE_LOG_DAMAGED] == 1);
        }
        assert_true(kit.reports[STORE_LOG_DAMAGED] <= 1);
        assert_int_equal(kit.reports[STORE_LOG_TORN] + kit.reports[STORE_LOG_MISSING], 0);
        store_kit_close(&kit);
        flip(files.names[which], offset, bits);
    }
    forget_reports();
    kit_reopen_and_check(&kit);
    store_kit_fini(&kit);
}

/* A value with bytes flipped is named even when what follows is fine. */
static void test_damaged_body_is_named(void **state)
{
    (void)state;
    store_kit_init(&kit, 10, SEGMENT);
    assert_int_equal(kit_open_store(&kit), 0);
    for (uint32_t i = 0; i < 9; i++) {
        assert_int_equal(kit_set(&kit, i), 0);
        kit_flush(&kit);
        if (i == 3) {
            /* The end of the body of key 3, where its value lies. */
            uint64_t end = LOG_HEADER_BYTES + (kit.lsn - kit.segment.lsn);
            struct newest files = list_segments();
            flip(files.names[0], end - 40, 0x10);
            kit.tail[(end - 40) % BLOCK] ^= 0x10; /* The writer rewrites that block. */
        }
    }
    store_kit_close(&kit);
    assert_int_equal(kit_open_store(&kit), 0);
    assert_int_equal(kit.reports[STORE_LOG_DAMAGED], 1);
    assert_int_equal(kit.named[3], 1);
    assert_int_equal(kit_differences(&kit), 1);
    store_kit_fini(&kit);
}

static void test_damaged_header_loses_nothing(void **state)
{
    (void)state;
    store_kit_init(&kit, 100, SEGMENT);
    assert_int_equal(kit_open_store(&kit), 0);
    kit_live(&kit, 3000);
    store_kit_close(&kit);
    struct newest files = list_segments();
    flip(files.names[1], 25, 0xff);
    kit_reopen_and_check(&kit);
    assert_int_equal(kit.reports[STORE_LOG_DAMAGED], 1);
    store_kit_fini(&kit);
}

static void test_missing_segment(void **state)
{
    char path[PATH_BYTES_MAX];
    uint32_t others = 0;

    (void)state;
    store_kit_init(&kit, 2000, SEGMENT);
    kit.value_bytes = 400;
    assert_int_equal(kit_open_store(&kit), 0);
    for (uint32_t i = 0; i < kit.key_count; i++) {
        assert_int_equal(kit_set(&kit, i), 0);
    }
    kit_flush(&kit);
    store_kit_close(&kit);
    struct newest files = list_segments();
    assert_true(files.count >= 3);
    assert_int_equal(path_join(path, kit.directory, files.names[1]), 0);
    assert_int_equal(unlink(path), 0);
    assert_int_equal(kit_open_store(&kit), 0);
    assert_int_equal(kit.reports[STORE_LOG_MISSING], 1);
    for (uint32_t i = 0; i < kit.key_count; i++) {
        bool there = bytes_equal(buffer_bytes(&kit.present[i]), buffer_bytes(&kit.restored[i]));
        bool lost = (kit.in_segments[i] & UINT64_C(1) << 2) != 0; /* The second one taken. */
        assert_true(there != lost);
        others += there;
    }
    assert_true(others > 0 && others < kit.key_count);
    store_kit_fini(&kit);
}

/* A file that ends early, as after a copy to a full disk. */
static void test_truncated_segment(void **state)
{
    (void)state;
    store_kit_init(&kit, 100, SEGMENT);
    assert_int_equal(kit_open_store(&kit), 0);
    kit_live(&kit, 3000);
    store_kit_close(&kit);
    struct newest files = list_segments();
    int fd = open_segment(files.names[0]);
    assert_int_equal(ftruncate(fd, SEGMENT / 2 + 123), 0);
    close(fd);
    assert_int_equal(kit_open_store(&kit), 0);
    assert_true(kit.reports[STORE_LOG_DAMAGED] + kit.reports[STORE_LOG_MISSING] >= 1);
    store_kit_fini(&kit);
}

/* The same with the segment's index, which says that there was more: what is left is given, what is gone is told
 * once with the file and where it ends, and compaction goes past it. */
static void test_truncated_segment_with_index(void **state)
{
    (void)state;
    store_kit_init(&kit, 100, SEGMENT);
    assert_int_equal(kit_open_store(&kit), 0);
    kit_live(&kit, 3000);
    while (segments_prepare(store_segments(kit.store)) == 1) {
    }
    store_kit_close(&kit);
    struct newest files = list_segments();
    int fd = open_segment(files.names[1]);
    assert_int_equal(ftruncate(fd, SEGMENT / 2 + 123), 0);
    close(fd);
    assert_int_equal(kit_open_store(&kit), 0);
    assert_int_equal(kit.reports[STORE_LOG_MISSING], 1);
    assert_int_equal(kit.reports[STORE_LOG_DAMAGED], 0);
    assert_string_equal(kit.file, files.names[1]);
    assert_in_range(kit.offset, SEGMENT / 2 - 64 * 1024, SEGMENT / 2 + 123);
    assert_int_equal(store_compact(kit.store), 0);
    store_kit_close(&kit);
    assert_int_equal(kit_open_store(&kit), 0);
    assert_int_equal(kit.reports[STORE_LOG_MISSING], 1);
    assert_int_equal(kit.reports[STORE_LOG_DAMAGED], 0);
    store_kit_fini(&kit);
}

static void told_damage(struct log_visitor *visitor, const struct log_damage *damage)
{
    (void)visitor;
    kit.reports[STORE_LOG_DAMAGED]++;
    kit.offset = damage->offset;
    kit.end = damage->offset + damage->size;
}

static int pass_record(struct log_visitor *visitor, uint64_t lsn, const struct log_record *record)
{
    (void)visitor;
    (void)lsn;
    (void)record;
    return 0;
}

/* A walk to an end that the file does not have any more, wherever it was cut, is one piece of damage. */
static void test_walk_past_the_end_of_a_file(void **state)
{
    struct log_visitor visitor = {.record = pass_record, .damage = told_damage};
    char path[PATH_BYTES_MAX];
    struct log_reader reader;
    struct log_epoch epoch;

    (void)state;
    store_kit_init(&kit, 100, SEGMENT);
    assert_int_equal(kit_open_store(&kit), 0);
    kit_live(&kit, 3000);
    store_kit_close(&kit);
    struct newest files = list_segments();
    assert_int_equal(segment_name_parse(files.names[1], &epoch), 0);
    assert_int_equal(path_join(path, kit.directory, files.names[1]), 0);
    log_reader_init(&reader, files_system(), &kit.own.memory);
    for (uint64_t size = SEGMENT - 8192; size > 3 * BLOCK; size -= 1001) {
        assert_int_equal(truncate(path, (off_t)size), 0);
        assert_int_equal(log_reader_open(&reader, path, epoch), 0);
        assert_int_equal(log_reader_locate(&reader), 0);
        uint64_t lsn = reader.lsn, end_lsn = reader.lsn + SEGMENT - 2 * BLOCK;
        kit.reports[STORE_LOG_DAMAGED] = 0;
        assert_int_equal(log_reader_walk(&reader, &lsn, end_lsn, &visitor), 0);
        assert_int_equal(lsn, end_lsn);
        assert_int_equal(kit.reports[STORE_LOG_DAMAGED], 1);
        assert_true(kit.offset <= size && kit.end == SEGMENT - BLOCK);
    }
    log_reader_fini(&reader);
    store_kit_fini(&kit);
}

/* ---- Torn ends ---- */

/* Write `count` new keys in one device write; restart after each combination of its blocks reached the
 * disk. What comes back is a prefix of them, and all that was there before. */
static void tear(uint32_t first, uint32_t count)
{
    static uint8_t before[SEGMENT];
    static uint8_t after[SEGMENT];

    int fd = open_segment(list_segments().names[list_segments().count - 1]);
    assert_int_equal(pread(fd, before, SEGMENT, 0), SEGMENT);
    for (uint32_t i = 0; i < count; i++) {
        assert_int_equal(kit_set(&kit, first + i), 0);
    }
    uint64_t begin = kit.staged_offset;
    kit_flush(&kit);
    assert_int_equal(pread(fd, after, SEGMENT, 0), SEGMENT);
    uint64_t end = LOG_HEADER_BYTES + (kit.lsn - kit.segment.lsn);
    uint32_t blocks = (uint32_t)((end - begin + BLOCK - 1) / BLOCK);
    assert_true(blocks >= 3 && blocks <= 8);
    store_kit_close(&kit);
    uint32_t counts_seen = 0;
    for (uint32_t mask = 0; mask < 1U << blocks; mask++) {
        for (uint32_t i = 0; i < blocks; i++) {
            const uint8_t *from = (mask >> i & 1) != 0 ? after : before;
            uint64_t at = begin + i * (uint64_t)BLOCK;
            assert_int_equal(pwrite(fd, from + at, BLOCK, (off_t)at), BLOCK);
        }
        forget_reports();
        assert_int_equal(kit_open_store(&kit), 0);
        assert_int_equal(kit.reports[STORE_LOG_DAMAGED] + kit.reports[STORE_LOG_MISSING], 0);
        uint32_t there = 0;
        while (there < count && kit.restored[first + there].size > 0) {
            there++;
        }
        for (uint32_t i = 0; i < kit.key_count; i++) {
            bool new = i >= first &&i < first + count;
            struct bytes expected =
                new &&i - first >= there ? bytes_of(NULL, 0) : buffer_bytes(&kit.present[i]);
            assert_bytes_equal(expected, buffer_bytes(&kit.restored[i]));
        }
        assert_true(mask != (1U << blocks) - 1 || there == count);
        counts_seen |= UINT32_C(1) << (there % 32);
        store_kit_close(&kit);
    }
    assert_true((counts_seen & (counts_seen - 1)) != 0); /* More than one outcome. */
    close(fd);
}

static void test_torn_end(void **state)
{
    (void)state;
    store_kit_init(&kit, 200, SEGMENT);
    assert_int_equal(kit_open_store(&kit), 0);
    kit.key_count = 100;
    kit_live(&kit, 60);
    kit.key_count = 200;
    tear(100, 60);
    store_kit_fini(&kit);
}

/* The same where an earlier life left whole records behind. */
static void test_torn_end_over_old_records(void **state)
{
    (void)state;
    store_kit_init(&kit, 200, SEGMENT);
    assert_int_equal(kit_open_store(&kit), 0);
    segments_set_kept(store_segments(kit.store), 100 * SEGMENT, 0);
    kit.key_count = 100;
    for (int i = 0; i < 4; i++) {
        kit_live(&kit, 2500);
        assert_int_equal(kit_take_segment(&kit), 0);
        assert_int_equal(store_compact(kit.store), 0);
        segments_set_kept(store_segments(kit.store), 100 * SEGMENT, 0);
    }
    kit_live(&kit, 20);
    kit.key_count = 200;
    tear(100, 60);
    store_kit_fini(&kit);
}

/* After a torn end the log goes on in a new segment, and what the torn write left behind stays dead. */
static void test_life_goes_on_after_a_torn_end(void **state)
{
    (void)state;
    store_kit_init(&kit, 200, SEGMENT);
    assert_int_equal(kit_open_store(&kit), 0);
    for (uint32_t round = 0; round < 5; round++) {
        kit.key_count = 100;
        kit_live(&kit, 40);
        kit.key_count = 200;
        uint64_t end = LOG_HEADER_BYTES + (kit.lsn - kit.segment.lsn);
        for (uint32_t i = 0; i < 100; i++) {
            assert_int_equal(kit_set(&kit, 100 + i), 0);
        }
        kit_flush(&kit);
        struct newest files = list_segments();
        char name[SEGMENT_NAME_BYTES];
        segment_name(name, kit.segment.epoch);
        store_kit_close(&kit);
        assert_true(files.count > 0);
        /* Its second block never came. */
        uint8_t zeros[BLOCK] = {0};
        int fd = open_segment(name);
        uint64_t at = (end / BLOCK + 1) * BLOCK;
        assert_int_equal(pwrite(fd, zeros, BLOCK, (off_t)at), BLOCK);
        close(fd);
        forget_reports();
        assert_int_equal(kit_open_store(&kit), 0);
        assert_int_equal(kit.reports[STORE_LOG_TORN], 1);
        assert_int_equal(kit.reports[STORE_LOG_DAMAGED], 0);
        for (uint32_t i = 0; i < kit.key_count; i++) { /* What is here is the truth now. */
            kit_replace(&kit.present[i], buffer_bytes(&kit.restored[i]));
        }
        forget_reports();
        kit_reopen_and_check(&kit);
        kit_live(&kit, 10);
        kit_reopen_and_check(&kit);
        assert_int_equal(kit.reports[STORE_LOG_DAMAGED] + kit.reports[STORE_LOG_BASELESS], 0);
        if (round == 2) {
            assert_int_equal(store_compact(kit.store), 0);
            kit_reopen_and_check(&kit);
        }
    }
    store_kit_fini(&kit);
}

/* ---- The checkpoint ---- */

/* Where LMDB has how many bytes belong to the record: before the value's sum and the key. */
static uint8_t *checkpoint_size_of(uint8_t *record)
{
    enum { SUM_BYTES = 4, KEY_BYTES = 16, NODE_BYTES = 8 };

    return record - SUM_BYTES - KEY_BYTES - NODE_BYTES;
}

static int count_damaged(void *context, struct checkpoint_key key, struct bytes record)
{
    uint32_t *counts = context;

    (void)key;
    counts[record.size == 0]++;
    return 0;
}

/* Bits of one are flipped; another one ends a byte early, which its own bytes do not tell. */
static void test_damaged_checkpoint_record(void **state)
{
    char path[PATH_BYTES_MAX];
    static uint8_t data[4 * 1024 * 1024];

    (void)state;
    store_kit_init(&kit, 200, SEGMENT);
    assert_int_equal(kit_open_store(&kit), 0);
    for (uint32_t i = 0; i < kit.key_count; i++) {
        assert_int_equal(kit_set(&kit, i), 0);
    }
    kit_flush(&kit);
    assert_int_equal(kit_take_segment(&kit), 0);
    assert_int_equal(store_compact(kit.store), 0);
    store_kit_close(&kit);
    assert_int_equal(path_join(path, kit.directory, "checkpoint-0000000001/data.mdb"), 0);
    int fd = open(path, O_RDWR);
    assert_true(fd >= 0);
    ssize_t size = pread(fd, data, sizeof data, 0);
    const struct bytes record = buffer_bytes(&kit.present[77]);
    uint8_t *found = memmem(data, (size_t)size, record.data, record.size);
    assert_non_null(found);
    found[record.size - 5] ^= 1;
    const struct bytes other = buffer_bytes(&kit.present[78]);
    found = memmem(data, (size_t)size, other.data, other.size);
    assert_non_null(found);
    assert_int_equal(session_check(bytes_of(found, other.size - 1)), 0);
    assert_int_equal(load_u16(checkpoint_size_of(found)), other.size + 4);
    checkpoint_size_of(found)[0]--;
    assert_int_equal(pwrite(fd, data, (size_t)size, 0), size);
    close(fd);
    forget_reports();
    assert_int_equal(kit_open_store(&kit), 0);
    assert_int_equal(kit.reports[STORE_CHECKPOINT_DAMAGED], 2);
    assert_int_equal(kit.named[77], 1);
    assert_int_equal(kit.named[78], 1);
    assert_int_equal(kit_differences(&kit), 2);
    struct checkpoint_key from = {0};
    uint32_t counts[2] = {0};
    assert_int_equal(store_scan(kit.store, &from, SIZE_MAX, count_damaged, counts), 0);
    assert_int_equal(counts[0], 198);
    assert_int_equal(counts[1], 2);
    store_kit_close(&kit);

    assert_int_equal(truncate(path, 8192), 0); /* No SIGBUS: it is refused. */
    assert_int_equal(kit_open_store(&kit), -EBADMSG);
    store_kit_fini(&kit);
}

/* Pages of LMDB's tree, one after the other: what can be reached is given, what cannot is told, the start ends, and
 * a compaction makes a checkpoint that is whole again. */
static void test_damaged_checkpoint_pages(void **state)
{
    enum { PAGE = 4096, HEAD = 8 };
    char path[PATH_BYTES_MAX];
    uint8_t kept[HEAD];
    struct stat status;
    uint32_t refused = 0, lossy = 0;
    off_t bad = 0;

    (void)state;
    store_kit_init(&kit, 5000, SEGMENT);
    assert_int_equal(kit_open_store(&kit), 0);
    for (uint32_t i = 0; i < kit.key_count; i++) {
        assert_int_equal(kit_set(&kit, i), 0);
    }
    kit_flush(&kit);
    assert_int_equal(kit_take_segment(&kit), 0);
    assert_int_equal(store_compact(kit.store), 0);
    store_kit_close(&kit);
    assert_int_equal(path_join(path, kit.directory, "checkpoint-0000000001/data.mdb"), 0);
    int fd = open(path, O_RDWR);
    assert_true(fd >= 0 && fstat(fd, &status) == 0);
    for (off_t page = 2 * PAGE; page < status.st_size; page += 3 * PAGE) {
        static const uint8_t none[HEAD];
        assert_int_equal(pread(fd, kept, HEAD, page + HEAD), HEAD);
        assert_int_equal(pwrite(fd, none, HEAD, page + HEAD), HEAD);
        forget_reports();
        int rc = kit_open_store(&kit);
        assert_true(rc == 0 || rc == -EBADMSG);
        refused += rc != 0;
        if (rc == 0) {
            uint32_t lost = kit_differences(&kit);
            assert_true((lost > 0) == (kit.reports[STORE_CHECKPOINT_DAMAGED] > 0));
            assert_true(kit.reports[STORE_CHECKPOINT_DAMAGED] <= 1);
            lossy += lost > 0;
            bad = lost > 0 && lost < 100 ? page : bad; /* A leaf. */
            store_kit_close(&kit);
        }
        assert_int_equal(pwrite(fd, kept, HEAD, page + HEAD), HEAD);
    }
    assert_true(lossy > 20 && refused < lossy && bad != 0);

    static const uint8_t none[HEAD];
    assert_int_equal(pwrite(fd, none, HEAD, bad + HEAD), HEAD);
    close(fd);
    assert_int_equal(kit_open_store(&kit), 0);
    uint32_t lost = kit_differences(&kit);
    /* Too little for a checkpoint afresh, but for the page. */
    for (uint32_t i = 0; i < 100; i++) {
        assert_int_equal(kit_set(&kit, i * 50), 0);
    }
    kit_flush(&kit);
    assert_int_equal(kit_take_segment(&kit), 0);
    int rc = store_compact(kit.store);
    rc = rc == -EBADMSG ? store_compact(kit.store) : rc;
    assert_int_equal(rc, 0);
    store_kit_close(&kit);
    forget_reports();
    assert_int_equal(kit_open_store(&kit), 0);
    assert_int_equal(kit.reports[STORE_CHECKPOINT_DAMAGED], 0);
    assert_in_range(kit_differences(&kit), 1, lost);
    store_kit_fini(&kit);
}

/* ---- What was seen of other nodes ---- */

static void expect_kept(const char *kept)
{
    struct buffer found = {.memory = &kit.memory.inner.memory};
    int rc = kept_seen_get(kit.store, &found);

    assert_int_equal(rc, kept == NULL ? -ENOENT : 0);
    if (kept != NULL) {
        assert_bytes_equal(buffer_bytes(&found), text(kept));
    }
    buffer_fini(&found);
}

/* It is kept while all that it tells of is. */
static void test_kept_seen(void **state)
{
    (void)state;
    store_kit_init(&kit, 10, SEGMENT);
    assert_int_equal(kit_open_store(&kit), 0);
    expect_kept(NULL);
    for (uint32_t i = 0; i < 9; i++) {
        assert_int_equal(kit_set(&kit, i), 0);
    }
    kit_flush(&kit);
    assert_int_equal(kit_set(&kit, 0), 0); /* Its MARK tells that all before it was durable. */
    kit_flush(&kit);
    kept_seen_put(kit.store, text("before"));
    kept_seen_put(kit.store, text("what was seen"));
    expect_kept(NULL);
    kept_seen_write(kit.store);
    expect_kept("what was seen");
    kit_reopen_and_check(&kit);
    expect_kept("what was seen");
    for (uint64_t at = 0; at < 32 + 13; at++) {
        flip(KEPT_SEEN_NAME, at, 1);
        expect_kept(NULL);
        flip(KEPT_SEEN_NAME, at, 1);
    }
    expect_kept("what was seen");

    /* Something of the log is lost: it goes, and is not kept again, whatever is found later. */
    struct newest files = list_segments();
    store_kit_close(&kit);
    flip(files.names[0], LOG_HEADER_BYTES + 60, 0x10);
    assert_int_equal(kit_open_store(&kit), 0);
    assert_true(kit.reports[STORE_LOG_DAMAGED] == 1);
    expect_kept(NULL);
    kept_seen_put(kit.store, text("again"));
    kept_seen_write(kit.store);
    expect_kept(NULL);
    flip(files.names[0], LOG_HEADER_BYTES + 60, 0x10);
    kit_reopen_and_check(&kit);
    expect_kept(NULL);
    store_kit_fini(&kit);
}

/* ---- Of which slots something is missing ---- */

static uint32_t count_lacks(void)
{
    uint32_t count = 0;

    for (uint32_t slot = 0; slot < SLOT_COUNT; slot++) {
        count += store_lacks(kit.store, slot);
    }
    return count;
}

static void path_of(char path[PATH_BYTES_MAX], const char *name)
{
    assert_int_equal(path_join(path, kit.directory, name), 0);
}

/* What compaction left out reads back from then on, but is not here: that is known until it has come again. */
static void test_kept_lacks(void **state)
{
    char path[PATH_BYTES_MAX], aside[PATH_BYTES_MAX];

    (void)state;
    store_kit_init(&kit, 10, SEGMENT);
    assert_int_equal(kit_open_store(&kit), 0);
    for (uint32_t i = 0; i < 9; i++) {
        assert_int_equal(kit_set(&kit, i), 0);
    }
    kit_flush(&kit);
    assert_int_equal(kit_set(&kit, 9), 0); /* Its MARK tells that all before it was durable. */
    kit_flush(&kit);
    assert_int_equal(kit_take_segment(&kit), 0);
    kept_seen_put(kit.store, text("what was seen"));
    kept_seen_write(kit.store);
    struct newest files = list_segments();
    store_kit_close(&kit);
    path_of(path, KEPT_LACKS_NAME);
    path_of(aside, KEPT_LACKS_NAME ".tmp");
    assert_int_equal(access(path, F_OK), -1);
    flip(files.names[0], LOG_HEADER_BYTES + 60, 0x10);

    /* It cannot be kept, so nothing is committed without it. */
    assert_int_equal(mkdir(aside, 0700), 0);
    forget_reports();
    assert_int_equal(kit_open_store(&kit), 0);
    assert_int_equal(kit.reports[STORE_LOG_DAMAGED], 1);
    assert_true(store_compact(kit.store) < 0);
    store_kit_close(&kit);
    assert_int_equal(rmdir(aside), 0);
    forget_reports();
    assert_int_equal(kit_open_store(&kit), 0);
    assert_int_equal(kit.reports[STORE_LOG_DAMAGED], 1);
    assert_int_equal(store_compact(kit.store), 0);
    assert_int_equal(access(path, F_OK), 0);
    store_kit_close(&kit);

    forget_reports();
    assert_int_equal(kit_open_store(&kit), 0);
    assert_int_equal(kit.reports[STORE_LOG_DAMAGED], 0);
    assert_int_equal(kit_differences(&kit), 1);
    assert_int_equal(count_lacks(), SLOT_COUNT);
    expect_kept(NULL);
    kept_seen_put(kit.store, text("again"));
    kept_seen_write(kit.store);
    for (uint32_t slot = 0; slot < SLOT_COUNT; slot++) {
        if (slot != 7) {
            store_whole(kit.store, slot);
        }
    }
    store_kit_close(&kit);
    assert_int_equal(kit_open_store(&kit), 0);
    assert_int_equal(count_lacks(), 1);
    assert_true(store_lacks(kit.store, 7));
    expect_kept("again");
    store_whole(kit.store, 7);
    store_kit_close(&kit);
    assert_int_equal(access(path, F_OK), -1);
    assert_int_equal(kit_open_store(&kit), 0);
    assert_int_equal(count_lacks(), 0);
    store_kit_fini(&kit);
}

/* Where that itself does not read back it may have been of any slot. */
static void test_damaged_lacks(void **state)
{
    const uint64_t lacks[LACKS_WORDS] = {[3] = 1};

    (void)state;
    store_kit_init(&kit, 10, SEGMENT);
    assert_int_equal(kept_lacks_put(kit.options.files, kit.directory, kit.options.shard, lacks), 0);
    for (uint64_t at = 0; at < 24 + SLOT_COUNT / 8; at += at < 24 ? 1 : 97) {
        forget_reports();
        assert_int_equal(kit_open_store(&kit), 0);
        assert_int_equal(count_lacks(), 1);
        assert_true(store_lacks(kit.store, 192));
        assert_int_equal(kit.reports[STORE_LOG_DAMAGED], 0);
        store_kit_close(&kit);
        flip(KEPT_LACKS_NAME, at, 1);
        assert_int_equal(kit_open_store(&kit), 0);
        assert_int_equal(count_lacks(), SLOT_COUNT);
        assert_int_equal(kit.reports[STORE_LOG_DAMAGED], 1);
        store_kit_close(&kit);
        assert_int_equal(kept_lacks_put(kit.options.files, kit.directory, kit.options.shard, lacks),
                         0);
    }
    store_kit_fini(&kit);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_flipped_bytes),
        cmocka_unit_test(test_damaged_body_is_named),
        cmocka_unit_test(test_damaged_header_loses_nothing),
        cmocka_unit_test(test_missing_segment),
        cmocka_unit_test(test_truncated_segment),
        cmocka_unit_test(test_truncated_segment_with_index),
        cmocka_unit_test(test_walk_past_the_end_of_a_file),
        cmocka_unit_test(test_torn_end),
        cmocka_unit_test(test_torn_end_over_old_records),
        cmocka_unit_test(test_life_goes_on_after_a_torn_end),
        cmocka_unit_test(test_damaged_checkpoint_record),
        cmocka_unit_test(test_damaged_checkpoint_pages),
        cmocka_unit_test(test_kept_seen),
        cmocka_unit_test(test_kept_lacks),
        cmocka_unit_test(test_damaged_lacks),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
