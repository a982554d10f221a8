#include "liveness_message.h"

#include <errno.h>

#include "check.h"
#include "random.h"

static void test_golden_bytes(void **state)
{
    const struct liveness_message message = {
        .kind = LIVENESS_PROBE,
        .from = {.node = 9, .start = 300},
        .unheard_ms = 5,
        .condition = CONDITION_LOG_FAILED,
        .followed = 300,
        .subject = 7,
        .number = 2,
        .wait_ms = 1000,
    };
    static const uint8_t golden[] = {2, 2, 0xac, 2, 5, 4, 0xac, 2, 7, 2, 0xe8, 7};
    const struct liveness_report report = {
        .from = {.node = 9, .start = 3},
        .number = 300,
        .condition = CONDITION_DISK_FULL,
        .count = 2,
        .members = {{.node = 8, .belief = BELIEF_SILENT}, {.node = 5, .belief = BELIEF_HEARD}},
    };
    static const uint8_t report_golden[] = {2, 3, 0xac, 2, 2, 2, 5, 1, 3, 3};
    uint8_t bytes[LIVENESS_REPORT_BYTES_MAX];
    struct liveness_message read;
    struct liveness_report report_read;

    (void)state;
    size_t size = liveness_message_put(bytes, &message);
    assert_bytes_equal(bytes_of(bytes, size), bytes_of(golden, sizeof golden));
    assert_int_equal(liveness_message_read(bytes_of(bytes, size), 9, &read), 0);
    assert_int_equal(read.kind, LIVENESS_PROBE);
    assert_int_equal(read.from.node, 9);
    assert_int_equal(read.from.start, 300);
    assert_int_equal(read.unheard_ms, 5);
    assert_int_equal(read.condition, CONDITION_LOG_FAILED);
    assert_int_equal(read.followed, 300);
    assert_int_equal(read.subject, 7);
    assert_int_equal(read.number, 2);
    assert_int_equal(read.wait_ms, 1000);

    size = liveness_report_put(bytes, &report);
    assert_bytes_equal(bytes_of(bytes, size), bytes_of(report_golden, sizeof report_golden));
    assert_int_equal(liveness_report_read(bytes_of(bytes, size), 9, &report_read), 0);
    assert_int_equal(report_read.from.start, 3);
    assert_int_equal(report_read.number, 300);
    assert_int_equal(report_read.condition, CONDITION_DISK_FULL);
    assert_int_equal(report_read.count, 2);
    assert_int_equal(report_read.members[0].node, 5);
    assert_int_equal(report_read.members[0].belief, BELIEF_HEARD);
    assert_int_equal(report_read.members[1].node, 8);
    assert_int_equal(report_read.members[1].belief, BELIEF_SILENT);
}

static void test_bad_bytes(void **state)
{
    static const struct {
        uint8_t bytes[12];
        size_t size;
        int message, report;
    } rows[] = {
        {{0}, 0, -EBADMSG, -EBADMSG},
        {{1}, 1, -EPROTONOSUPPORT, -EPROTONOSUPPORT},
        {{2, 6, 1, 0, 0, 0, 0, 0, 0}, 9, -EBADMSG, -EBADMSG}, /* No such kind. */
        {{2, 0, 1, 0, 1, 0, 0, 0, 0}, 9, -EBADMSG, -EBADMSG}, /* An operator's word, not its own. */
        {{2, 0, 1, 0, 0, 0, 0, 0, 0, 0}, 10, -EBADMSG, -EBADMSG}, /* Something left. */
        {{2, 0, 0x80, 0, 0, 0, 0, 0, 0, 0}, 10, -EBADMSG, -EBADMSG},
        {{2, 0, 1, 0, 0, 0, 0, 0, 0}, 9, 0, -EBADMSG},
        {{2, 3, 1, 0, 1, 5, 3}, 7, -EBADMSG, 0},
        {{2, 3, 1, 0, 1, 5, 4}, 7, -EBADMSG, -EBADMSG},              /* No such belief. */
        {{2, 3, 1, 0, 1, 0, 3}, 7, -EBADMSG, -EBADMSG},              /* No number. */
        {{2, 3, 1, 0, 3, 5, 3, 1, 3, 0, 3}, 11, -EBADMSG, -EBADMSG}, /* Twice one. */
        {{2, 3, 1, 0, 2, 5, 3}, 7, -EBADMSG, -EBADMSG},              /* One missing. */
    };
    struct liveness_message message;
    struct liveness_report report;

    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct bytes bytes = bytes_of(rows[i].bytes, rows[i].size);
        assert_int_equal(liveness_message_read(bytes, 1, &message), rows[i].message);
        assert_int_equal(liveness_report_read(bytes, 1, &report), rows[i].report);
    }
}

/* Whatever comes, what is taken is what would be written. */
static void test_random_bytes(void **state)
{
    uint8_t bytes[40], again[LIVENESS_REPORT_BYTES_MAX];
    struct liveness_message message;
    struct liveness_report report;
    uint64_t random = 1;
    uint32_t taken = 0;

    (void)state;
    for (uint32_t i = 0; i < 200000; i++) {
        size_t size = 5 + random_below(&random, 12);
        for (size_t j = 0; j < size; j++) {
            bytes[j] = j == 0 ? LIVENESS_VERSION
                              : (uint8_t)random_below(&random, random_below(&random, 8) ? 5 : 256);
        }
        if (liveness_message_read(bytes_of(bytes, size), 1, &message) == 0) {
            size_t put = liveness_message_put(again, &message);
            assert_bytes_equal(bytes_of(again, put), bytes_of(bytes, size));
            taken++;
        }
        if (liveness_report_read(bytes_of(bytes, size), 1, &report) == 0) {
            size_t put = liveness_report_put(again, &report);
            assert_bytes_equal(bytes_of(again, put), bytes_of(bytes, size));
            taken++;
        }
    }
    assert_true(taken > 1000);
}

static void test_full_report(void **state)
{
    static struct liveness_report report, read;
    uint8_t bytes[LIVENESS_REPORT_BYTES_MAX];

    (void)state;
    report.count = LIVENESS_MEMBERS_MAX;
    for (uint32_t i = 0; i < report.count; i++) {
        report.members[i].node = INT32_MAX - 100000 * i;
        report.members[i].belief = BELIEF_HEARD;
    }
    size_t size = liveness_report_put(bytes, &report);
    assert_in_range(size, 1, sizeof bytes);
    assert_int_equal(liveness_report_read(bytes_of(bytes, size), 1, &read), 0);
    assert_int_equal(read.count, LIVENESS_MEMBERS_MAX);
    assert_int_equal(read.members[LIVENESS_MEMBERS_MAX - 1].node, INT32_MAX);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_golden_bytes),
        cmocka_unit_test(test_bad_bytes),
        cmocka_unit_test(test_random_bytes),
        cmocka_unit_test(test_full_report),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
