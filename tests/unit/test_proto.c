/* What both ends agree on: golden values from the formats' own specifications, and hostile input. */
#include "change.h"
#include "check.h"
#include "crc32c.h"
#include "frame.h"
#include "histogram.h"
#include "limits.h"
#include "slot.h"
#include "status.h"

static void test_varints(void **state)
{
    static const uint64_t values[] = {0, 1, 127, 128, 16383, 16384, UINT32_MAX, UINT64_MAX};
    uint8_t space[VARINT_BYTES_MAX];

    (void)state;
    for (size_t i = 0; i < sizeof values / sizeof values[0]; i++) {
        size_t size = (size_t)(varint_put(space, values[i]) - space);
        assert_int_equal(size, varint_size(values[i]));
        struct reader reader = reader_of(bytes_of(space, size));
        assert_true(read_varint(&reader) == values[i] && reader_done(&reader));
        reader = reader_of(bytes_of(space, size - 1));
        read_varint(&reader);
        assert_true(reader.bad);
    }
    assert_true(unzigzag(zigzag(INT64_MIN)) == INT64_MIN && zigzag(-1) == 1 && zigzag(1) == 2);
}

/* One value has one encoding: longer forms, and more than 64 bits, are refused. */
static void test_varints_are_canonical(void **state)
{
    static const uint8_t long_zero[] = {0x80, 0x00}, long_one[] = {0x81, 0x80, 0x00};
    static const uint8_t wide[] = {0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x02};
    static const uint8_t endless[] = {0x80, 0x80, 0x80, 0x80, 0x80, 0x80,
                                      0x80, 0x80, 0x80, 0x80, 1};
    const struct bytes bad[] = {bytes_of(long_zero, 2), bytes_of(long_one, 3), bytes_of(wide, 10),
                                bytes_of(endless, 11)};

    (void)state;
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        struct reader reader = reader_of(bad[i]);
        read_varint(&reader);
        assert_true(reader.bad);
        assert_int_equal(read_u8(&reader), 0); /* Stays bad, and reads nothing more. */
    }
}

/* The CRC bit by bit, as its definition says. */
static uint16_t plain_crc16(struct bytes data)
{
    uint32_t crc = 0;

    for (size_t i = 0; i < data.size; i++) {
        crc ^= (uint32_t)data.data[i] << 8;
        for (int bit = 0; bit < 8; bit++) {
            crc = (crc & 0x8000) != 0 ? (crc << 1 ^ 0x1021) & 0xffff : crc << 1;
        }
    }
    return (uint16_t)crc;
}

static void test_slots_of_all_sizes(void **state)
{
    uint8_t key[64];
    uint32_t seed = 1;

    (void)state;
    for (int round = 0; round < 2000; round++) {
        for (size_t i = 0; i < sizeof key; i++) {
            seed = seed * 1664525 + 1013904223;
            key[i] = (uint8_t)(seed >> 24);
            key[i] = key[i] == '{' ? 'x' : key[i];
        }
        struct bytes part = bytes_of(key, (size_t)round % (sizeof key + 1));
        assert_int_equal(slot_of_key(part), plain_crc16(part) % SLOT_COUNT);
    }
}

/* Redis Cluster Specification: CRC16 of "123456789" is 0x31C3; only a non-empty tag counts. */
static void test_slots(void **state)
{
    (void)state;
    assert_int_equal(slot_of_key(text("123456789")), 0x31C3);
    assert_int_equal(slot_of_key(text("foo")), 12182);
    assert_int_equal(slot_of_key(text("{user1000}.following")), slot_of_key(text("user1000")));
    assert_int_equal(slot_of_key(text("foo{}{bar}")), slot_of_key(text("foo{}{bar}")));
    assert_int_not_equal(slot_of_key(text("foo{}{bar}")), slot_of_key(text("bar")));
    assert_int_equal(slot_of_key(text("foo{{bar}}zap")), slot_of_key(text("{bar")));
    assert_int_equal(slot_of_key(text("foo{bar}{zap}")), slot_of_key(text("bar")));
    assert_int_equal(slot_of_key(text("")), 0);
    assert_int_equal(slot_of_key(text("open{")), slot_of_key(text("open{")));
}

/* RFC 3720, B.4, and joining in two pieces at every place. */
static void test_crc32c(void **state)
{
    uint8_t data[48] = {0};

    (void)state;
    assert_true(crc32c(0, bytes_of(data, 32)) == 0x8a9136aa);
    memset(data, 0xff, 32);
    assert_true(crc32c(0, bytes_of(data, 32)) == 0x62a8ab43);
    for (uint8_t i = 0; i < 48; i++) {
        data[i] = i;
    }
    assert_true(crc32c(0, bytes_of(data, 32)) == 0x46dd794e);
    assert_true(crc32c(0, text("123456789")) == 0xe3069283);
    for (size_t cut = 0; cut <= 48; cut++) {
        uint32_t first = crc32c(0, bytes_of(data, cut));
        assert_true(crc32c(first, bytes_of(data + cut, 48 - cut)) == crc32c(0, bytes_of(data, 48)));
    }
}

static uint32_t plain_crc32c(struct bytes data)
{
    uint32_t crc = UINT32_MAX;

    for (size_t i = 0; i < data.size; i++) {
        crc ^= data.data[i];
        for (int bit = 0; bit < 8; bit++) {
            crc = crc >> 1 ^ (UINT32_C(0x82f63b78) & (0 - (crc & 1)));
        }
    }
    return ~crc;
}

/* Sizes around those at which several lanes are summed at once, from every alignment. */
static void test_crc32c_sizes(void **state)
{
    static const size_t sizes[] = {503,  504,  505,  511,  512,  1007, 1008, 1009,
                                   3071, 3072, 3073, 3580, 6144, 6650, 9999};
    static uint8_t data[10008];
    uint32_t number = 1;

    (void)state;
    for (size_t i = 0; i < sizeof data; i++) {
        number = number * 1664525 + 1013904223;
        data[i] = (uint8_t)(number >> 24);
    }
    for (size_t i = 0; i < sizeof sizes / sizeof sizes[0]; i++) {
        for (size_t at = 0; at < 8; at++) {
            struct bytes part = bytes_of(data + at, sizes[i]);
            assert_int_equal(crc32c(0, part), plain_crc32c(part));
        }
    }
}

static void test_frames(void **state)
{
    static const uint8_t golden[] = {0xbe, 0x04, 0x00, 0x00, 0x05, 0x00, 0x00, 0x00, 0x07, 0x00,
                                     0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x02, 0x00, 0x00, 0x00,
                                     0xdd, 0x2c, 0x87, 0x96, 'h',  'd',  'v',  'a',  'l'};
    uint8_t bytes[64];
    struct frame frame;

    (void)state;
    frame_header_put(bytes, FRAME_WRITE, 0, 7, text("hd"), text("val"));
    memcpy(bytes + FRAME_HEADER_BYTES, "hdval", 5);
    assert_memory_equal(bytes, golden, 29);

    assert_int_equal(frame_size(bytes_of(bytes, 29), 5), 29);
    assert_int_equal(frame_size(bytes_of(bytes, 23), 5), 0);
    assert_int_equal(frame_size(bytes_of(bytes, 29), 4), -EMSGSIZE);
    assert_int_equal(frame_size(text("*1\r\n"), 5), -EBADMSG);
    assert_int_equal(frame_parse(bytes_of(bytes, 29), &frame), 0);
    assert_true(frame.type == FRAME_WRITE && frame.flags == 0 && frame.request_id == 7);
    assert_bytes_equal(frame.head, text("hd"));
    assert_bytes_equal(frame.value, text("val"));
    assert_int_equal(frame_parse(bytes_of(bytes, 28), &frame), -EBADMSG);

    for (uint32_t i = 1; i < 29; i++) { /* No flipped bit passes. */
        bytes[i] ^= 0x10;
        frame.request_id = 0;
        assert_true(frame_parse(bytes_of(bytes, 29), &frame) < 0);
        bytes[i] ^= 0x10;
    }
    frame_header_put(bytes, FRAME_WRITE, 0, 7, text("head"), text("v"));
    store_u32(bytes + 16, 6); /* A head larger than the body, with a true checksum. */
    store_u32(bytes + 20, crc32c(crc32c(0, bytes_of(bytes, 20)), text("headv")));
    memcpy(bytes + FRAME_HEADER_BYTES, "headv", 5);
    assert_int_equal(frame_parse(bytes_of(bytes, 29), &frame), -EBADMSG);
    assert_int_equal(frame.request_id, 7);
}

static void test_statuses(void **state)
{
    enum ack_level level = ACK_DEFAULT;

    (void)state;
    assert_string_equal(status_name(STATUS_NOT_FOUND), "NOT_FOUND");
    assert_string_equal(status_text(STATUS_BUSY), "overloaded; try again later");
    assert_string_equal(status_name(9999), "UNKNOWN");
    assert_int_equal(ack_level_parse("disk", &level), 0);
    assert_int_equal(level, ACK_DISK);
    assert_int_equal(ack_level_parse("disc", &level), -EINVAL);
    assert_int_equal(level, ACK_DISK);
    assert_string_equal(ack_level_name(5), "unknown");
}

static const struct change samples[] = {
    {.operation = CHANGE_SET,
     .name = {(const uint8_t *)"field", 5},
     .value = {(const uint8_t *)"v", 1}},
    {.operation = CHANGE_SET_UNTIL, .value = {(const uint8_t *)"v", 1}, .ms = 1700000000000},
    {.operation = CHANGE_DELETE, .name = {(const uint8_t *)"f", 1}},
    {.operation = CHANGE_ADD, .name = {(const uint8_t *)"n", 1}, .delta = -3},
    {.operation = CHANGE_APPEND, .value = {(const uint8_t *)"tail", 4}},
    {.operation = CHANGE_CLEAR},
    {.operation = CHANGE_ABSOLUTE, .ms = 1800000000000},
    {.operation = CHANGE_TTL, .ms = 60000},
    {.operation = CHANGE_IDLE, .ms = 1000},
    {.operation = CHANGE_OWNER, .value = {(const uint8_t *)"me", 2}},
    {.operation = CHANGE_TOUCH},
    {.operation = CHANGE_ADD_MEMBER, .name = {(const uint8_t *)"m", 1}},
    {.operation = CHANGE_SET_SCORE,
     .name = {(const uint8_t *)"m", 1},
     .score = 1.5,
     .flags = SCORE_NX},
    {.operation = CHANGE_ADD_SCORE, .name = {(const uint8_t *)"m", 1}, .score = -2},
    {.operation = CHANGE_UNTIL, .name = {(const uint8_t *)"f", 1}, .ms = 5},
};

enum { SAMPLES = sizeof samples / sizeof samples[0] };

static struct bytes sample_list(uint8_t *space)
{
    uint8_t *end = space;

    for (size_t i = 0; i < SAMPLES; i++) {
        uint8_t *start = end;
        end = change_put(end, &samples[i]);
        assert_int_equal(end - start, change_size(&samples[i]));
    }
    return bytes_of(space, (size_t)(end - space));
}

static void test_changes(void **state)
{
    uint8_t space[512];
    struct bytes list = sample_list(space);
    struct reader reader = reader_of(list);
    struct change change;

    (void)state;
    assert_int_equal(change_check(list), SAMPLES);
    for (size_t i = 0; i < SAMPLES; i++) {
        assert_int_equal(change_next(&reader, &change), 1);
        assert_int_equal(change.operation, samples[i].operation);
        assert_bytes_equal(change.name, samples[i].name);
        assert_bytes_equal(change.value, samples[i].value);
        assert_true(change.ms == samples[i].ms && change.delta == samples[i].delta);
        assert_true(change.score == samples[i].score && change.flags == samples[i].flags);
    }
    assert_int_equal(change_next(&reader, &change), 0);
}

/* Does a list of up to three changes leave a value of more than four bytes? */
static bool outgrows(struct change first, struct change second, struct change third)
{
    const struct change changes[] = {first, second, third};
    uint8_t space[256], *end = space;

    for (size_t i = 0; i < 3 && changes[i].operation != 0; i++) {
        end = change_put(end, &changes[i]);
    }
    return change_list_outgrows(bytes_of(space, (size_t)(end - space)), 4);
}

static void test_changes_outgrow(void **state)
{
    const struct change none = {.operation = 0}, touch = {.operation = CHANGE_TOUCH};
    const struct change large = {
        .operation = CHANGE_SET, .name = bytes_of_string("a"), .value = bytes_of_string("large")};
    const struct change small = {
        .operation = CHANGE_SET, .name = bytes_of_string("a"), .value = bytes_of_string("four")};
    struct change append = large, other = small, until = large, time = small, delete = small;

    (void)state;
    append.operation = CHANGE_APPEND;
    other.name = bytes_of_string("b");
    until.operation = CHANGE_SET_UNTIL;
    until.ms = 1;
    time.operation = CHANGE_UNTIL;
    delete.operation = CHANGE_DELETE;
    assert_true(outgrows(large, none, none));
    assert_true(outgrows(append, none, none));
    assert_true(outgrows(touch, large, touch));
    assert_true(outgrows(large, other, touch));
    assert_true(outgrows(large, delete, large));
    assert_true(outgrows(delete, small, append));
    assert_false(outgrows(small, small, small));
    assert_false(outgrows(large, small, none));  /* The last one of a name counts... */
    assert_false(outgrows(large, delete, none)); /* ... and it may be gone again... */
    assert_false(outgrows(append, (struct change){.operation = CHANGE_CLEAR}, none));
    assert_false(outgrows(until, none, none)); /* ... also by its own time. */
    assert_false(outgrows(large, time, none));
    assert_false(change_list_outgrows(bytes_of("\x63", 1), 0));
    assert_false(change_list_outgrows(bytes_of("\x01\x01"
                                               "a\x05large\x63",
                                               10),
                                      4));
}

static void test_changes_refuse(void **state)
{
    uint8_t space[512];
    struct bytes list = sample_list(space);
    int whole = 0;

    (void)state;
    for (size_t cut = 0; cut < list.size;
         cut++) { /* Cut between changes is a list, inside is not. */
        whole += change_check(bytes_of(list.data, cut)) >= 0;
    }
    assert_int_equal(whole, SAMPLES);
    assert_int_equal(change_check(bytes_of("\x63", 1)), -EBADMSG);
    assert_int_equal(change_check(bytes_of("\x00", 1)), -EBADMSG);
    assert_int_equal(change_check(bytes_of("\x0c", 1)), 1);
    assert_int_equal(change_check(bytes_of("\x0c\x0b", 2)), -EBADMSG); /* DESTROY with company. */

    struct change change = {.operation = CHANGE_ADD_SCORE, .score = __builtin_nan("")};
    assert_int_equal(change_check(bytes_of(space, (size_t)(change_put(space, &change) - space))),
                     -EBADMSG);
    change = (struct change){.operation = CHANGE_TTL,
                             .ms = (uint64_t)TTL_MS_MAX_DAYS * 24 * 3600 * 1000};
    assert_int_equal(change_check(bytes_of(space, (size_t)(change_put(space, &change) - space))),
                     1);
    change.ms++;
    assert_int_equal(change_check(bytes_of(space, (size_t)(change_put(space, &change) - space))),
                     -EBADMSG);
}

static void test_histogram(void **state)
{
    static struct histogram histogram, other;

    (void)state;
    assert_true(histogram_percentile(&histogram, 99) == 0);
    for (uint64_t value = 1; value <= 100000; value++) {
        histogram_record(value % 2 == 0 ? &histogram : &other, value);
    }
    histogram_add(&histogram, &other);
    assert_true(histogram.count == 100000 && histogram.max == 100000);
    for (int percent = 1; percent <= 100; percent++) {
        double found = (double)histogram_percentile(&histogram, percent), exact = percent * 1000.0;
        assert_true(found >= exact && found <= exact * 1.032);
    }
    uint64_t below = histogram_count_below(&histogram, 1000);
    assert_true(below <= 1000 && below >= 960);
    histogram_record(&histogram, UINT64_MAX);
    assert_true(histogram_percentile(&histogram, 100) == HISTOGRAM_VALUE_MAX);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_varints),         cmocka_unit_test(test_varints_are_canonical),
        cmocka_unit_test(test_slots),           cmocka_unit_test(test_slots_of_all_sizes),
        cmocka_unit_test(test_crc32c),          cmocka_unit_test(test_crc32c_sizes),
        cmocka_unit_test(test_frames),          cmocka_unit_test(test_statuses),
        cmocka_unit_test(test_changes),         cmocka_unit_test(test_changes_refuse),
        cmocka_unit_test(test_changes_outgrow), cmocka_unit_test(test_histogram),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
