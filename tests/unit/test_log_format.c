/* The log's format: golden bytes, and that nothing but a whole record of the right epoch passes. */
#include "check.h"
#include "crc32c.h"
#include "log_format.h"

static const struct log_epoch epoch = {.number = 3, .salt = 0x11223344};

static size_t put(uint8_t *to, uint32_t kind, uint64_t position, const char *body)
{
    struct bytes part = text(body);

    log_record_put(to, epoch, kind, position, &part, 1);
    return (size_t)log_record_size(part.size);
}

/* Golden: another implementation of CRC-32C and struct.pack gave these. */
static void test_record_bytes_are_pinned(void **state)
{
    static const uint8_t expected[32] = {
        0x53, 0xd9, 0xeb, 0x85, 5,    0,    0,    0,    3,   0,   0,   0,   1,   0, 0, 0,
        0xef, 0xcd, 0xab, 0x89, 0x67, 0x45, 0x23, 0x01, 'h', 'e', 'l', 'l', 'o', 0, 0, 0,
    };
    static const uint8_t mark[24] = {
        0xeb, 0xc6, 0xee, 0x9f, 0, 0, 0, 0, 3, 0, 0, 0, 4, 0, 0, 0, 0, 0x10, 0, 0, 0, 0, 0, 0,
    };
    struct bytes parts[] = {text("he"), text(""), text("llo")};
    uint8_t found[32];

    (void)state;
    log_record_put(found, epoch, LOG_FULL, UINT64_C(0x0123456789abcdef), parts, 3);
    assert_memory_equal(found, expected, sizeof expected);
    log_mark_put(found, epoch, 4096);
    assert_memory_equal(found, mark, sizeof mark);
}

static void test_header_bytes_are_pinned(void **state)
{
    static const uint8_t expected[40] = {
        'B',  'E',  'L',  'A',  'Y',  'L',  'O',  'G',  1, 0, 0, 0, 2, 0,
        0,    0,    9,    0,    0,    0,    4,    0,    0, 0, 3, 0, 0, 0,
        0x44, 0x33, 0x22, 0x11, 0x99, 0x8b, 0x24, 0xf4, 0, 0, 0, 0,
    };
    struct log_segment_header header = {.shard = 2, .actor = {9, 4}, .epoch = epoch}, found;
    uint8_t block[LOG_HEADER_BYTES];

    (void)state;
    log_segment_header_put(block, &header);
    assert_memory_equal(block, expected, sizeof expected);
    assert_int_equal(log_segment_header_parse(bytes_of(block, sizeof block), &found), 0);
    assert_memory_equal(&found, &header, sizeof header);
}

static void test_header_refuses(void **state)
{
    struct log_segment_header header = {.shard = 2, .actor = {9, 4}, .epoch = epoch}, found;
    uint8_t block[LOG_HEADER_BYTES] = {0};

    (void)state;
    assert_int_equal(log_segment_header_parse(bytes_of(block, sizeof block), &found), -ENODATA);
    log_segment_header_put(block, &header);
    assert_int_equal(log_segment_header_parse(bytes_of(block, 4095), &found), -EBADMSG);
    for (size_t bit = 0; bit < 36 * 8; bit++) {
        block[bit / 8] ^= (uint8_t)(1 << bit % 8);
        assert_int_equal(log_segment_header_parse(bytes_of(block, sizeof block), &found), -EBADMSG);
        block[bit / 8] ^= (uint8_t)(1 << bit % 8);
    }
    store_u32(block + 8, 2);
    store_u32(block + 32, crc32c(0, bytes_of(block, 32)));
    assert_int_equal(log_segment_header_parse(bytes_of(block, sizeof block), &found),
                     -EPROTONOSUPPORT);
}

static void test_record_comes_back(void **state)
{
    uint8_t block[256];
    struct log_record record;

    (void)state;
    for (size_t length = 0; length < 64; length++) {
        char body[65] = {0};
        memset(body, 'x', length);
        size_t size = put(block, LOG_DELTA, length, body);
        assert_int_equal(size % LOG_RECORD_ALIGN, 0);
        assert_int_equal(log_record_claim(bytes_of(block, size), epoch), size);
        assert_int_equal(log_record_parse(bytes_of(block, sizeof block), epoch, &record), size);
        assert_int_equal(record.kind, LOG_DELTA);
        assert_int_equal(record.position, length);
        assert_bytes_equal(record.body, text(body));
        for (size_t cut = 0; cut < size; cut++) {
            int64_t rc = log_record_parse(bytes_of(block, cut), epoch, &record);
            assert_int_equal(rc, cut == 0 ? 0 : -EBADMSG);
        }
    }
}

static void test_flipped_bits_never_pass(void **state)
{
    uint8_t block[64];
    struct log_record record;
    size_t size = put(block, LOG_FULL, 77, "thirteen byte");

    (void)state;
    for (size_t bit = 0; bit < size * 8; bit++) {
        block[bit / 8] ^= (uint8_t)(1 << bit % 8);
        assert_int_equal(log_record_parse(bytes_of(block, size), epoch, &record), -EBADMSG);
        block[bit / 8] ^= (uint8_t)(1 << bit % 8);
    }
}

/* Neither an earlier life of the file nor a client that guesses the number may pass. */
static void test_other_epochs_never_pass(void **state)
{
    uint8_t block[64];
    struct log_record record;
    size_t size = put(block, LOG_FULL, 77, "thirteen byte");
    struct log_epoch stale = {.number = epoch.number - 1, .salt = epoch.salt};
    struct log_epoch guessed = {.number = epoch.number, .salt = epoch.salt + 1};

    (void)state;
    assert_int_equal(log_record_parse(bytes_of(block, size), stale, &record), -EBADMSG);
    assert_int_equal(log_record_parse(bytes_of(block, size), guessed, &record), -EBADMSG);
    memset(block, 0, sizeof block);
    assert_int_equal(log_record_parse(bytes_of(block, size), epoch, &record), 0);
    assert_int_equal(log_record_parse(bytes_of(block, 8), epoch, &record), 0);
}

static void test_batch(void **state)
{
    struct log_batch_item items[] = {
        {.kind = LOG_FULL, .position = 1, .body = text("one")},
        {.kind = LOG_DELTA, .position = UINT64_MAX, .body = text("")},
        {.kind = LOG_BURY, .position = 2, .body = text("three")},
    };
    uint8_t bytes[128], *end = bytes;
    struct log_batch_item found;

    (void)state;
    for (int i = 0; i < 3; i++) {
        uint8_t *next = log_batch_item_put(end, &items[i]);
        assert_int_equal(next - end, log_batch_item_size(&items[i]));
        end = next;
    }
    struct reader reader = reader_of(bytes_of(bytes, (size_t)(end - bytes)));
    for (int i = 0; i < 3; i++) {
        assert_int_equal(log_batch_next(&reader, &found), 1);
        assert_int_equal(found.kind, items[i].kind);
        assert_int_equal(found.position, items[i].position);
        assert_bytes_equal(found.body, items[i].body);
    }
    assert_int_equal(log_batch_next(&reader, &found), 0);

    reader = reader_of(bytes_of(bytes, (size_t)(end - bytes) - 1));
    assert_int_equal(log_batch_next(&reader, &found), 1);
    assert_int_equal(log_batch_next(&reader, &found), 1);
    assert_int_equal(log_batch_next(&reader, &found), -EBADMSG);
    assert_int_equal(log_batch_next(&reader, &found), -EBADMSG);
    bytes[0] = LOG_BATCH; /* Batches do not nest. */
    reader = reader_of(bytes_of(bytes, (size_t)(end - bytes)));
    assert_int_equal(log_batch_next(&reader, &found), -EBADMSG);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_record_bytes_are_pinned),
        cmocka_unit_test(test_header_bytes_are_pinned),
        cmocka_unit_test(test_header_refuses),
        cmocka_unit_test(test_record_comes_back),
        cmocka_unit_test(test_flipped_bits_never_pass),
        cmocka_unit_test(test_other_epochs_never_pass),
        cmocka_unit_test(test_batch),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
