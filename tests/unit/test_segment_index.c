/* Indexes of segments: their bytes, and that what the log writer notes, what a scan of the segment finds and
 * what the file says are one. */
#include "segment_index.h"

#include "segment_pool.h"
#include "segment_state.h"
#include "store_kit.h"

enum { SEGMENT = 256 * 1024 };

static struct store_kit kit;

static void path_of(const struct segment_file *file, const char *suffix, char path[PATH_BYTES_MAX])
{
    char name[SEGMENT_NAME_BYTES];

    segment_name(name, file->epoch);
    snprintf(path, PATH_BYTES_MAX, "%s/%.23s%s", kit.directory, name, suffix);
}

static void no_damage(struct log_visitor *visitor, const struct log_damage *damage)
{
    (void)visitor;
    (void)damage;
    fail();
}

static void no_torn(struct log_visitor *visitor, uint64_t offset)
{
    (void)visitor;
    (void)offset;
    fail();
}

/* The index of a sealed file, from the segment itself. */
static void scan(const struct segment_file *file, struct segment_index *index)
{
    struct log_visitor visitor = {.damage = no_damage, .torn = no_torn};
    struct log_reader reader;
    char path[PATH_BYTES_MAX];

    path_of(file, ".seg", path);
    log_reader_init(&reader, &kit.files.files, &kit.own.memory);
    assert_int_equal(log_reader_open(&reader, path, file->epoch), 0);
    assert_int_equal(log_reader_locate(&reader), 0);
    index->shard = kit.options.shard;
    assert_int_equal(
        segment_index_scan(index, &reader, kit.seed, file->lsn, file->end_lsn, &visitor), 0);
    log_reader_fini(&reader);
}

static void expect_same(const struct segment_index *read, const struct segment_index *scanned)
{
    assert_int_equal(read->lsn, scanned->lsn);
    assert_int_equal(read->end_lsn, scanned->end_lsn);
    assert_int_equal(read->count, scanned->count);
    assert_true(read->hlc >= scanned->hlc);
    assert_memory_equal(read->entries, scanned->entries,
                        read->count * sizeof(struct segment_entry));
}

static int begin(void **state)
{
    (void)state;
    store_kit_init(&kit, 300, SEGMENT);
    assert_int_equal(kit_open_store(&kit), 0);
    return 0;
}

static int end(void **state)
{
    (void)state;
    store_kit_fini(&kit);
    return 0;
}

/* Live until some segments are sealed, and write their indexes. */
static uint32_t live(struct segment_file files[], uint32_t max)
{
    uint32_t count = 0;

    while (count < 3) {
        kit_live(&kit, 500);
        count = segments_list(store_segments(kit.store), SEGMENT_SEALED, files, max);
    }
    while (segments_prepare(store_segments(kit.store)) == 1) {
    }
    return count;
}

static void test_notes_file_and_scan_agree(void **state)
{
    struct segment_file files[64];
    uint32_t count = live(files, 64);

    (void)state;
    for (uint32_t i = 0; i < count; i++) {
        struct segment_index read, scanned;
        char path[PATH_BYTES_MAX];
        segment_index_init(&read, &kit.own.memory);
        segment_index_init(&scanned, &kit.own.memory);
        read.epoch = files[i].epoch;
        read.shard = kit.options.shard;
        path_of(&files[i], ".idx", path);
        assert_int_equal(segment_index_read(&read, &kit.files.files, path), 0);
        scan(&files[i], &scanned);
        assert_true(read.count > 100);
        expect_same(&read, &scanned);
        for (uint32_t key = 0; key < kit.key_count; key++) {
            char text[16];
            uint64_t position = keeper_position(kit.seed, kit_key(key, text));
            size_t at = segment_index_find(&read, position);
            assert_true(at == 0 || read.entries[at - 1].position < position);
            assert_true(at == read.count || read.entries[at].position >= position);
        }
        segment_index_fini(&read);
        segment_index_fini(&scanned);
    }
}

/* A touch has no stamp, but tells the time. */
static void test_hlc_of_a_touch(void **state)
{
    uint8_t body[16] = {0};
    uint8_t *end = varint_put(body, 1700000000123);

    (void)state;
    *end++ = 'k';
    assert_int_equal(log_record_hlc(LOG_TOUCH, bytes_of(body, (size_t)(end - body))),
                     hlc_of_ms(1700000000123));
    assert_int_equal(log_record_hlc(LOG_TOUCH, bytes_of("\xff", 1)), 0);
    end = varint_put(body, UINT64_MAX / 2);
    assert_int_equal(log_record_hlc(LOG_TOUCH, bytes_of(body, (size_t)(end - body))), 0);
}

/* Recycling and removing a segment ends its index. */
static void test_an_index_goes_with_its_segment(void **state)
{
    struct segment_file files[64];
    uint32_t count = live(files, 64);
    char path[PATH_BYTES_MAX];

    (void)state;
    assert_int_equal(store_compact(kit.store), 0);
    for (int i = 0; i < 200; i++) {
        if (i % 8 == 0) {
            assert_int_equal(store_compact(kit.store), 0); /* Or the log comes to its bound. */
        }
        assert_int_equal(kit_take_segment(&kit), 0); /* All are taken anew... */
        assert_int_equal(kit_set(&kit, 1), 0);
        kit_flush(&kit);
        assert_true(segments_prepare(store_segments(kit.store)) >= 0);
    }
    for (uint32_t i = 0; i < count; i++) {
        path_of(&files[i], ".idx", path);
        assert_int_equal(access(path, F_OK), -1);
    }
}

static int compare_slowly(const void *left, const void *right)
{
    const struct segment_entry *a = left, *b = right;

    if (a->position != b->position) {
        return a->position < b->position ? -1 : 1;
    }
    if (a->fingerprint != b->fingerprint) {
        return a->fingerprint < b->fingerprint ? -1 : 1;
    }
    return (a->place > b->place) - (a->place < b->place);
}

/* Against the library's, for every kind of distribution: all alike, few values, a narrow range, ends. */
static void test_order(void **state)
{
    static struct segment_entry entries[20000], expected[20000];
    uint64_t random = 3;

    (void)state;
    for (uint32_t round = 0; round < 200; round++) {
        size_t count = round < 60 ? round : random_below(&random, 20000);
        unsigned bits = round % 8 == 7 ? 64 : (round % 8) * 9;
        uint64_t base = round % 3 == 0 ? 0 : random_next(&random);
        for (size_t i = 0; i < count; i++) {
            uint64_t part = bits == 64 ? random_next(&random)
                                       : random_next(&random) & ((UINT64_C(1) << bits) - 1);
            entries[i] = (struct segment_entry){
                .position = base + part,
                .fingerprint = random_below(&random, 3),
                .place = (uint32_t)i,
                .size_kind = (uint32_t)i,
            };
        }
        if (count > 3) {
            entries[1].position = 0;
            entries[2].position = UINT64_MAX;
        }
        memcpy(expected, entries, sizeof entries);
        qsort(expected, count, sizeof expected[0], compare_slowly);
        segment_entries_sort(entries, count);
        assert_memory_equal(entries, expected, count * sizeof entries[0]);
    }
}

/* Written down in segment_index.h. */
static void test_golden_bytes(void **state)
{
    static const uint8_t golden[] = {
        'B',  'E', 'L',  'A',  'Y',  'I',  'D',  'X',  1,    0,    0,    0, 3,  0, 0, 0,  5, 0,
        0,    0,   6,    0,    0,    0,    0,    16,   0,    0,    0,    0, 0,  0, 0, 32, 0, 0,
        0,    0,   0,    0,    9,    0,    0,    0,    0,    0,    0,    0, 1,  0, 0, 0,  0, 0,
        0,    0,   0xf3, 0x8c, 0x62, 0xe2, 0xbf, 0xba, 0xb8, 0x4b, 0x11, 0, 0,  0, 0, 0,  0, 0,
        0x22, 0,   0,    0,    0,    0,    0,    0,    3,    2,    0,    0, 81, 0, 0, 0,
    };
    struct segment_entry entry = {.position = 0x11,
                                  .fingerprint = 0x22,
                                  .place = (4096 + 24) / 8,
                                  .size_kind = 10 << 3 | LOG_FULL};
    const struct segment_index index = {.epoch = {.number = 5, .salt = 6},
                                        .shard = 3,
                                        .lsn = 4096,
                                        .end_lsn = 8192,
                                        .hlc = 9,
                                        .entries = &entry,
                                        .count = 1};
    uint8_t bytes[sizeof golden + 1];
    char path[PATH_BYTES_MAX];

    (void)state;
    snprintf(path, sizeof path, "%s/golden.idx", kit.directory);
    assert_int_equal(segment_index_write(&index, files_system(), path), 0);
    int fd = open(path, O_RDONLY);
    assert_int_equal(read(fd, bytes, sizeof bytes), sizeof golden);
    close(fd);
    assert_memory_equal(bytes, golden, sizeof golden);
}

/* No byte can be another without being noticed, and no length. */
static void test_damage(void **state)
{
    struct segment_entry entries[3] = {
        {.position = 1, .place = 4096 / 8, .size_kind = 1 << 3 | LOG_FULL},
        {.position = 2, .place = 4096 / 8 + 4, .size_kind = 1 << 3 | LOG_FULL},
        {.position = 3, .place = 4096 / 8 + 8, .size_kind = 1 << 3 | LOG_FULL},
    };
    struct segment_index index = {.epoch = {.number = 5, .salt = 6},
                                  .shard = 3,
                                  .lsn = 8,
                                  .end_lsn = 8 + 3 * 32,
                                  .entries = entries,
                                  .count = 3};
    struct segment_index read;
    char path[PATH_BYTES_MAX];
    uint64_t count = 0;
    uint8_t byte;

    (void)state;
    snprintf(path, sizeof path, "%s/damaged.idx", kit.directory);
    segment_index_init(&read, &kit.own.memory);
    read.epoch = index.epoch;
    read.shard = 3;
    assert_int_equal(segment_index_read(&read, files_system(), path), -ENOENT);
    assert_int_equal(segment_index_write(&index, files_system(), path), 0);
    assert_int_equal(segment_index_read(&read, files_system(), path), 0);
    assert_int_equal(read.count, 3);
    assert_int_equal(segment_index_check(&read, files_system(), path, &count), 0);
    assert_true(count == 3 && read.count == 0 && read.end_lsn == index.end_lsn);
    assert_int_equal(segment_index_part(&read, files_system(), path, 1, 2), 0);
    assert_true(read.count == 2 && read.entries[0].position == 2 && read.entries[1].position == 3);
    assert_int_equal(segment_index_part(&read, files_system(), path, 2, 2), -EBADMSG);
    read.shard = 4;
    assert_int_equal(segment_index_read(&read, files_system(), path), -EBADMSG);
    read.shard = 3;
    read.epoch.salt = 7;
    assert_int_equal(segment_index_read(&read, files_system(), path), -EBADMSG);
    read.epoch.salt = 6;
    int fd = open(path, O_RDWR);
    size_t size = SEGMENT_INDEX_HEADER_BYTES + sizeof entries;
    for (size_t at = 0; at < size; at++) {
        assert_int_equal(pread(fd, &byte, 1, (off_t)at), 1);
        byte ^= 0x40;
        assert_int_equal(pwrite(fd, &byte, 1, (off_t)at), 1);
        assert_int_equal(segment_index_read(&read, files_system(), path), -EBADMSG);
        assert_int_equal(segment_index_check(&read, files_system(), path, &count), -EBADMSG);
        byte ^= 0x40;
        assert_int_equal(pwrite(fd, &byte, 1, (off_t)at), 1);
    }
    assert_int_equal(segment_index_read(&read, files_system(), path), 0);
    for (size_t cut = 0; cut < size; cut += 5) {
        assert_int_equal(ftruncate(fd, (off_t)cut), 0);
        assert_int_equal(segment_index_read(&read, files_system(), path), -EBADMSG);
        assert_int_equal(segment_index_check(&read, files_system(), path, &count), -EBADMSG);
    }
    close(fd);
    segment_index_fini(&read);
}

/* Whole, but not what an index can be: out of order, or about what is no record of the segment. */
static void test_nonsense(void **state)
{
    const struct segment_entry right[2] = {
        {.position = 1, .place = 4096 / 8, .size_kind = 1 << 3 | LOG_FULL},
        {.position = 2, .place = 4096 / 8 + 4, .size_kind = 1 << 3 | LOG_FULL},
    };
    char path[PATH_BYTES_MAX];

    (void)state;
    snprintf(path, sizeof path, "%s/nonsense.idx", kit.directory);
    for (int what = 0; what < 5; what++) {
        struct segment_entry entries[2] = {right[0], right[1]};
        struct segment_index index = {.epoch = {.number = 5, .salt = 6},
                                      .shard = 3,
                                      .end_lsn = 64,
                                      .entries = entries,
                                      .count = 2};
        struct segment_index read;
        entries[0].position += what == 1 ? 2 : 0;
        entries[0].place -= what == 2;
        entries[1].place += what == 3;
        entries[1].size_kind -= what == 4 ? LOG_FULL : 0;
        segment_index_init(&read, &kit.own.memory);
        read.epoch = index.epoch;
        read.shard = 3;
        assert_int_equal(segment_index_write(&index, files_system(), path), 0);
        assert_int_equal(segment_index_read(&read, files_system(), path), what == 0 ? 0 : -EBADMSG);
        segment_index_fini(&read);
    }
}

/* Exchange two files' places in the pool's table. */
static void exchange(struct segments *pool, uint32_t a, uint32_t b)
{
    struct segment_file file = pool->table[a];

    pool->table[a] = pool->table[b];
    pool->table[b] = file;
    pool->table[a].id = a;
    pool->table[b].id = b;
}

/* With room for fewer than there are, the oldest: a compaction counts what is sealed, then lists as many, and
 * one whose place in the table comes first may be sealed in between. */
static void test_the_oldest_are_listed(void **state)
{
    struct segment_file files[64], some[64];
    struct segments *pool = store_segments(kit.store);
    uint32_t count = live(files, 64);

    (void)state;
    exchange(pool, files[0].id, files[count - 1].id);
    for (uint32_t max = 0; max <= count; max++) {
        assert_int_equal(segments_list(pool, SEGMENT_SEALED, some, max), count);
        for (uint32_t i = 0; i < max; i++) {
            assert_int_equal(some[i].epoch.number, files[i].epoch.number);
        }
    }
    exchange(pool, files[0].id, files[count - 1].id);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_notes_file_and_scan_agree, begin, end),
        cmocka_unit_test(test_hlc_of_a_touch),
        cmocka_unit_test_setup_teardown(test_an_index_goes_with_its_segment, begin, end),
        cmocka_unit_test(test_order),
        cmocka_unit_test_setup_teardown(test_the_oldest_are_listed, begin, end),
        cmocka_unit_test_setup_teardown(test_golden_bytes, begin, end),
        cmocka_unit_test_setup_teardown(test_damage, begin, end),
        cmocka_unit_test_setup_teardown(test_nonsense, begin, end),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
