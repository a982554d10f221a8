/* The staging's bytes: golden ones, what is refused, files that are damaged or of another version, dumps. */
#include "crc32c.h"
#include "dump.h"
#include "staging_life.h"

static const struct log_epoch epoch = {.number = 3, .salt = 0x11223344};

/* Golden: another implementation of CRC-32C and struct.pack gave these. */
static void test_bytes_are_pinned(void **state)
{
    static const uint8_t expected_header[20] = {
        'B', 'E', 'L', 'A', 'Y', 'S', 'T', 'G', 2, 0, 0, 0, 2, 0, 0, 0, 0, 0, 0, 0,
    };
    static uint8_t map[STAGING_HEADER_BYTES + 256] __attribute__((aligned(8)));
    struct staging_area area = {.data = map + STAGING_HEADER_BYTES, .note = map + 64};
    uint8_t header[20];

    (void)state;
    memcpy(header, expected_header, sizeof header);
    store_u32(header + 16, 0xe7d7adf0);
    staging_header_put(map, 2);
    assert_memory_equal(map, header, sizeof header);
    static const uint8_t expected_note[32] = {
        3,    0,    0,    0,    0x44, 0x33, 0x22, 0x11, 0,    0x10, 0,
        0,    0,    0,    0,    0,    0x10, 0x00, 0x00, 0x00, 0xe3, 0x1c,
        0xeb, 0xf5, 0x38, 0x00, 0x00, 0x00, 0x2b, 0xc7, 0x4a, 0xef,
    };
    staging_set_durable(&(struct staging){.map = map}, 5);
    assert_int_equal(load_u64(map + 512), 5);
    assert_int_equal(load_u64(map + 520), ~(uint64_t)5);
    staging_begin(&area, epoch, 4096, 16);
    log_mark_put(area.data + 16, epoch, 4096);
    staging_extend(&area, area.data + 16, LOG_RECORD_HEADER_BYTES);
    struct bytes body = text("hello");
    log_record_put(area.data + 40, epoch, LOG_FULL, 7, &body, 1);
    staging_extend(&area, area.data + 40, 32);
    assert_memory_equal(area.note, expected_note, sizeof expected_note);

    struct staging_note note;
    uint32_t shard;
    assert_int_equal(staging_header_parse(bytes_of(map, STAGING_HEADER_BYTES), &shard), 0);
    assert_int_equal(shard, 2);
    assert_true(staging_note_get(bytes_of(map, sizeof map), 0, &note));
    assert_false(staging_note_get(bytes_of(map, sizeof map), 1, &note));
    assert_true(note.lsn == 4096 && note.start == 16 && note.size == 56);
    assert_int_equal(staging_note_offset(&note, 1), STAGING_HEADER_BYTES + STAGING_AREA_BYTES + 16);
    assert_true(staging_note_holds(&note, bytes_of(area.data + 16, 56)));
    for (size_t bit = 0; bit < 56 * 8; bit++) {
        area.data[16 + bit / 8] ^= (uint8_t)(1 << bit % 8);
        assert_false(staging_note_holds(&note, bytes_of(area.data + 16, 56)));
        area.data[16 + bit / 8] ^= (uint8_t)(1 << bit % 8);
    }
    assert_false(staging_note_holds(&note, bytes_of(area.data + 16, 24)));
    for (size_t bit = 0; bit < 32 * 8; bit++) {
        map[64 + bit / 8] ^= (uint8_t)(1 << bit % 8);
        bool holds = staging_note_get(bytes_of(map, sizeof map), 0, &note) &&
                     staging_note_holds(&note, bytes_of(area.data + 16, 56));
        assert_false(holds);
        map[64 + bit / 8] ^= (uint8_t)(1 << bit % 8);
    }
    staging_empty(&area);
    assert_false(staging_note_get(bytes_of(map, sizeof map), 0, &note));
}

/* An area full of records of 64 bytes, which begin where pages do, and its note. */
static void fill_area(struct staging_area *area, uint64_t lsn, struct staging_note *note)
{
    enum { START = 40, COUNT = 4 * 4096 / 64 };
    uint8_t bytes[40] = {0};
    struct bytes body = bytes_of(bytes, sizeof bytes);
    uint8_t *at = area->data + START;

    staging_begin(area, epoch, lsn, START);
    log_mark_put(at, epoch, lsn);
    staging_extend(area, at, LOG_RECORD_HEADER_BYTES);
    at += LOG_RECORD_HEADER_BYTES;
    for (uint32_t i = 0; i < COUNT; i++, at += 64) {
        store_u64(bytes, lsn + i);
        log_record_put(at, epoch, LOG_TOUCH, i, &body, 1);
        staging_extend(area, at, 64);
    }
    *note = (struct staging_note){epoch, lsn, START, area->size, area->sum};
}

/* Each record is whole and of the epoch, but some were there before: only the sum tells. */
static void test_pages_of_two_ages(void **state)
{
    static uint8_t before[6 * 4096], map[7 * 4096] __attribute__((aligned(8)));
    struct staging_area area = {.data = map + 4096, .note = map + 64};
    struct staging_note note;

    (void)state;
    fill_area(&area, 8192, &note);
    memcpy(before, area.data, sizeof before);
    fill_area(&area, 80000, &note);
    struct bytes records = bytes_of(area.data + note.start, note.size);
    assert_true(staging_note_holds(&note, records));
    memcpy(area.data + 4096, before + 4096, 4096);
    assert_false(staging_note_holds(&note, records));
}

static void test_header_refuses(void **state)
{
    uint8_t header[STAGING_HEADER_BYTES] = {0};
    uint32_t shard;

    (void)state;
    assert_int_equal(staging_header_parse(bytes_of(header, sizeof header), &shard), -ENODATA);
    staging_header_put(header, 2);
    assert_int_equal(staging_header_parse(bytes_of(header, sizeof header - 1), &shard), -EBADMSG);
    for (size_t bit = 0; bit < 20 * 8; bit++) {
        header[bit / 8] ^= (uint8_t)(1 << bit % 8);
        assert_int_equal(staging_header_parse(bytes_of(header, sizeof header), &shard), -EBADMSG);
        header[bit / 8] ^= (uint8_t)(1 << bit % 8);
    }
    store_u32(header + 8, 1); /* It had fewer areas. */
    store_u32(header + 16, crc32c(0, bytes_of(header, 16)));
    header[64 + 2 * 64] = 1; /* Of what was in an area that is empty now. */
    assert_int_equal(staging_header_parse(bytes_of(header, sizeof header), &shard), -ENODATA);
    header[64 + 2 * 64 + 24] = 1;
    assert_int_equal(staging_header_parse(bytes_of(header, sizeof header), &shard),
                     -EPROTONOSUPPORT);
}

static void test_dump(void **state)
{
    char path[PATH_BYTES_MAX], message[256] = "";
    char *printed = NULL;
    size_t size = 0;

    (void)state;
    begin(SEGMENT);
    assert_int_equal(kit_set(&kit, 7), 0);
    staging_path(path);
    FILE *out = open_memstream(&printed, &size); /* While the log writer has it mapped. */
    assert_int_equal(dump_log(&kit.memory.memory, path, out, message, sizeof message), 0);
    fclose(out);
    assert_non_null(
        strstr(printed, "staging file=staging shard=3\narea index=0 epoch=1 lsn=0 bytes="));
    assert_non_null(strstr(printed, "holds=yes\nrecord offset=4096 lsn=0 kind=mark"));
    assert_non_null(strstr(printed, "record offset=4120 lsn=24 kind=full"));
    assert_non_null(strstr(printed, "key=\"key-00007\"\n"));
    free(printed);
    end();
}

static void write_header(const uint8_t *header, size_t size)
{
    char path[PATH_BYTES_MAX];

    staging_path(path);
    int fd = open(path, O_WRONLY);
    assert_true(fd >= 0);
    assert_int_equal(pwrite(fd, header, size, 0), size);
    close(fd);
}

/* A damaged file is told and made anew; one cut short in the making is made anew; another version's is
 * left alone. */
static void test_other_files(void **state)
{
    uint8_t header[STAGING_HEADER_BYTES] = {0};
    char path[PATH_BYTES_MAX];

    (void)state;
    begin(SEGMENT);
    live(100);
    write_all();
    kill_process();
    write_header(header, sizeof header);
    restart();
    kill_process();
    staging_path(path);
    assert_int_equal(truncate(path, 100), 0);
    assert_int_equal(kit_open_store(&kit), 0);
    assert_int_equal(kit.reports[STORE_LOG_DAMAGED], 1);
    assert_int_equal(kit_differences(&kit), 0);
    store_kit_close(&kit);
    kit.reports[STORE_LOG_DAMAGED] = 0;
    restart();
    live(100);
    kill_process();
    restart();
    kill_process();
    staging_header_put(header, 3);
    store_u32(header + 8, STAGING_VERSION + 1);
    store_u32(header + 16, crc32c(0, bytes_of(header, 16)));
    write_header(header, 64);
    assert_int_equal(kit_open_store(&kit), -EPROTONOSUPPORT);
    staging_header_put(header, 3);
    write_header(header, 64);
    restart();
    end();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_bytes_are_pinned), cmocka_unit_test(test_pages_of_two_ages),
        cmocka_unit_test(test_header_refuses),   cmocka_unit_test(test_dump),
        cmocka_unit_test(test_other_files),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
