/* RESP: requests in whatever pieces they come, and the bytes of replies. */
#include "check.h"

#include <errno.h>
#include <stdlib.h>

#include "heap.h"
#include "resp.h"

enum { BULK_MAX = 1024 * 1024 };

static struct memory memory = {.resize = heap_resize};

static int64_t measure(const char *text, char error[RESP_ERROR_BYTES])
{
    struct resp_cursor cursor = {0};
    size_t wanted;

    error[0] = 0;
    return resp_measure(&cursor, bytes_of_string(text), BULK_MAX, &wanted, error);
}

static void refused(const char *text, const char *why)
{
    char error[RESP_ERROR_BYTES];

    assert_int_equal(measure(text, error), -EBADMSG);
    assert_string_equal(error, why);
}

static void test_bad_requests(void **state)
{
    (void)state;
    refused("*1000000000\r\n", "Protocol error: invalid multibulk length");
    refused("*x\r\n", "Protocol error: invalid multibulk length");
    refused("*+1\r\n", "Protocol error: invalid multibulk length");
    refused("*\r\n", "Protocol error: invalid multibulk length");
    refused("*1\r\n+OK\r\n", "Protocol error: expected '$', got '+'");
    refused("*2\r\n$1\r\na\r\n:1\r\n", "Protocol error: expected '$', got ':'");
    refused("*1\r\n$-1\r\n", "Protocol error: invalid bulk length");
    refused("*1\r\n$-2147483648\r\n", "Protocol error: invalid bulk length");
    refused("*1\r\n$99999999999999999999\r\n", "Protocol error: invalid bulk length");
    refused("*1\r\n$1048577\r\n", "Protocol error: invalid bulk length: larger than limits.frame, "
                                  "or than may come before the login");
    refused("*1\r\n$9223372036854775807\r\n", "Protocol error: invalid bulk length");
    refused("*1\r\n$536870912\r\n", "Protocol error: invalid bulk length: larger than "
                                    "limits.frame, or than may come before the login");
    refused("*1\r\n$0x1\r\n", "Protocol error: invalid bulk length");
}

/* What never ends is refused once it is too long to be meant so. */
static void test_endless(void **state)
{
    static const struct {
        const char *start, *why;
    } rows[] = {
        {"", "Protocol error: too big inline request"},
        {"*", "Protocol error: too big mbulk count string"},
        {"*1\r\n$", "Protocol error: too big bulk count string"},
    };

    (void)state;
    for (size_t row = 0; row < sizeof rows / sizeof rows[0]; row++) {
        size_t start = strlen(rows[row].start);
        char *text = malloc(start + RESP_LINE_BYTES_MAX + 2);
        char error[RESP_ERROR_BYTES];
        memcpy(text, rows[row].start, start);
        memset(text + start, '1', RESP_LINE_BYTES_MAX + 1);
        text[start + RESP_LINE_BYTES_MAX + 1] = 0;
        assert_int_equal(measure(text, error), -EBADMSG);
        assert_string_equal(error, rows[row].why);
        text[start + RESP_LINE_BYTES_MAX / 2] = 0;
        assert_int_equal(measure(text, error), 0);
        free(text);
    }
}

/* Bytes that come one by one are each looked at once: an end that is put where there was none is not found. */
static void test_looked_at_once(void **state)
{
    static const char *const starts[] = {"", "*", "*1\r\n$", "*2\r\n$1\r\nx\r\n$"};
    char text[2048], error[RESP_ERROR_BYTES];
    size_t wanted;

    (void)state;
    for (size_t row = 0; row < sizeof starts / sizeof starts[0]; row++) {
        struct resp_cursor cursor = {.begun = false};
        size_t start = strlen(starts[row]);
        memset(text, '1', sizeof text);
        memcpy(text, starts[row], start);
        assert_int_equal(resp_measure(&cursor, bytes_of(text, 1024), 10, &wanted, error), 0);
        text[1000] = '\r';
        text[1001] = '\n';
        for (size_t size = 1025; size <= sizeof text; size++) {
            assert_int_equal(resp_measure(&cursor, bytes_of(text, size), 10, &wanted, error), 0);
            assert_int_equal(wanted, size + 1);
        }
    }
}

static void test_nothing(void **state)
{
    char error[RESP_ERROR_BYTES];

    (void)state;
    assert_int_equal(measure("*0\r\nPING\r\n", error), 4);
    assert_int_equal(measure("*-1\r\n", error), 5);
    assert_int_equal(measure("\r\n", error), 2);
    assert_int_equal(measure("", error), 0);
    assert_int_equal(resp_arguments(bytes_of_string("*-1\r\n")).count, 0);
}

static const char three[] = "*3\r\n$3\r\nSET\r\n$5\r\na\r\nb\n\r\n$0\r\n\r\n";

/* In whatever pieces it comes: each call wants more than is there, and the last one has all. */
static void test_pieces(void **state)
{
    size_t size = sizeof three - 1;

    (void)state;
    for (size_t step = 1; step <= size; step++) {
        struct resp_cursor cursor = {0};
        char error[RESP_ERROR_BYTES];
        size_t wanted = 0, have = step < size ? step : size;
        int64_t found = resp_measure(&cursor, bytes_of(three, have), BULK_MAX, &wanted, error);
        while (found == 0) {
            assert_true(wanted > have && wanted <= size);
            have = have + step < size ? have + step : size;
            found = resp_measure(&cursor, bytes_of(three, have), BULK_MAX, &wanted, error);
        }
        assert_int_equal(found, size);
        assert_int_equal(have, size);
    }
}

static void test_arguments(void **state)
{
    struct resp_arguments arguments = resp_arguments(bytes_of(three, sizeof three - 1));
    struct bytes argument;

    (void)state;
    assert_int_equal(arguments.count, 3);
    assert_true(resp_next(&arguments, &argument));
    assert_true(bytes_equal(argument, bytes_of_string("SET")));
    assert_true(resp_next(&arguments, &argument));
    assert_true(bytes_equal(argument, bytes_of_string("a\r\nb\n")));
    assert_true(resp_next(&arguments, &argument));
    assert_int_equal(argument.size, 0);
    assert_false(resp_next(&arguments, &argument));
}

static void line_is(const char *line, const char *array)
{
    struct buffer out = {.memory = &memory};

    assert_int_equal(buffer_append(&out, bytes_of_string("before")), 0);
    if (array == NULL) {
        assert_int_equal(resp_line_to_array(bytes_of_string(line), &out), -EINVAL);
        assert_int_equal(out.size, 6);
    } else {
        assert_int_equal(resp_line_to_array(bytes_of_string(line), &out), 0);
        assert_int_equal(out.size, 6 + strlen(array));
        assert_memory_equal(out.data + 6, array, strlen(array));
    }
    buffer_fini(&out);
}

static void test_lines(void **state)
{
    (void)state;
    line_is("PING\r\n", "*1\r\n$4\r\nPING\r\n");
    line_is("  get \t k\n", "*2\r\n$3\r\nget\r\n$1\r\nk\r\n");
    line_is("\r\n", "*0\r\n");
    line_is("set k \"a \\\"b\\x41\\n\"\r\n", "*3\r\n$3\r\nset\r\n$1\r\nk\r\n$6\r\na \"bA\n\r\n");
    line_is("echo 'it\\'s \\n' \"\"\r\n", "*3\r\n$4\r\necho\r\n$7\r\nit's \\n\r\n$0\r\n\r\n");
    line_is("echo \"open\r\n", NULL);
    line_is("echo 'open\r\n", NULL);
    line_is("echo \"a\"b\r\n", NULL);
}

static void test_integers(void **state)
{
    int64_t value;

    (void)state;
    assert_true(resp_integer(bytes_of_string("9223372036854775807"), &value));
    assert_true(value == INT64_MAX);
    assert_true(resp_integer(bytes_of_string("-9223372036854775808"), &value));
    assert_true(value == INT64_MIN);
    assert_true(resp_integer(bytes_of_string("0"), &value));
    assert_int_equal(value, 0);
    static const char *const bad[] = {"",
                                      "-",
                                      "-0",
                                      "00",
                                      "01",
                                      "+1",
                                      " 1",
                                      "1 ",
                                      "1a",
                                      "x",
                                      "1.0",
                                      "9223372036854775808",
                                      "-9223372036854775809",
                                      "99999999999999999999"};
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        assert_false(resp_integer(bytes_of_string(bad[i]), &value));
    }
}

/* Every reply, in both versions. */
static void write_all(const struct resp_out *out)
{
    assert_int_equal(resp_simple(out, "OK"), 0);
    assert_int_equal(resp_error(out, "ERR two\r\nlines"), 0);
    assert_int_equal(resp_number(out, INT64_MIN), 0);
    assert_int_equal(resp_bulk(out, bytes_of_string("a\r\n")), 0);
    assert_int_equal(resp_verbatim(out, bytes_of_string("x\r\n")), 0);
    assert_int_equal(resp_verbatim(out, bytes_of(NULL, 0)), 0);
    assert_int_equal(resp_null(out), 0);
    assert_int_equal(resp_null_array(out), 0);
    assert_int_equal(resp_array(out, 10), 0);
    assert_int_equal(resp_map(out, 2), 0);
    assert_int_equal(resp_set(out, 3), 0);
    assert_int_equal(resp_push(out, 4), 0);
}

static void test_replies(void **state)
{
    static const char second[] =
        "+OK\r\n-ERR two  lines\r\n:-9223372036854775808\r\n$3\r\na\r\n\r\n"
        "$3\r\nx\r\n\r\n$0\r\n\r\n$-1\r\n*-1\r\n*10\r\n*4\r\n*3\r\n*4\r\n";
    static const char third[] =
        "+OK\r\n-ERR two  lines\r\n:-9223372036854775808\r\n$3\r\na\r\n\r\n"
        "=7\r\ntxt:x\r\n\r\n=4\r\ntxt:\r\n_\r\n_\r\n*10\r\n%2\r\n~3\r\n>4\r\n";

    (void)state;
    for (int version = 2; version <= 3; version++) {
        struct buffer buffer = {.memory = &memory};
        struct resp_out out = {.buffer = &buffer, .resp3 = version == 3};
        const char *wanted = version == 3 ? third : second;
        write_all(&out);
        assert_int_equal(buffer.size, strlen(wanted));
        assert_memory_equal(buffer.data, wanted, buffer.size);
        buffer_fini(&buffer);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_bad_requests),   cmocka_unit_test(test_endless),
        cmocka_unit_test(test_looked_at_once), cmocka_unit_test(test_nothing),
        cmocka_unit_test(test_pieces),         cmocka_unit_test(test_arguments),
        cmocka_unit_test(test_lines),          cmocka_unit_test(test_integers),
        cmocka_unit_test(test_replies),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
