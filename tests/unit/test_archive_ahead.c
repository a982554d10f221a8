/* Reading ahead, of a store that answers one call at a time, the last one first. */
#include "archive_access.h"
#include "check.h"

#include <errno.h>

#include "heap.h"

enum { PENDING_MAX = 64, PARTS = 100, PART_BYTES = 1000 };

struct pending {
    struct object_call call;
    char name[ARCHIVE_NAME_BYTES];
};

static struct slow_store {
    struct object_store port;
    struct archive_access access;
    uv_timer_t timer;
    struct pending pending[PENDING_MAX];
    uint32_t count, most, asked;
    uint64_t most_bytes;
    uint32_t fails; /* The next so many answers are a failure. */
    atomic_bool stops;
} slow;

static struct buffer got;

/* What lies at an offset of an object. */
static uint8_t byte_at(const char *name, uint64_t offset)
{
    return (uint8_t)((uint8_t)name[0] + offset % 97);
}

static void on_timer(uv_timer_t *timer)
{
    static uint8_t body[ACCESS_AHEAD_BYTES];
    struct pending last = slow.pending[--slow.count];

    for (uint64_t i = 0; i < last.call.bytes_max; i++) {
        body[i] = byte_at(last.name, last.call.offset + i);
    }
    struct object_answer answer = {.text = "", .body = bytes_of(body, last.call.bytes_max)};
    if (slow.fails > 0) {
        slow.fails--;
        answer = (struct object_answer){.rc = -EIO, .text = "it does not"};
    }
    if (slow.count > 0) {
        uv_timer_start(timer, on_timer, 0, 0);
    }
    last.call.done(last.call.context, &answer);
}

static int begin_call(struct object_store *store, const struct object_call *call)
{
    uint64_t bytes = 0;

    (void)store;
    assert_int_equal(call->op, OBJECT_GET);
    assert_true(slow.count < PENDING_MAX);
    slow.pending[slow.count].call = *call;
    snprintf(slow.pending[slow.count].name, ARCHIVE_NAME_BYTES, "%s", call->name);
    slow.count++;
    slow.asked++;
    for (uint32_t i = 0; i < slow.count; i++) {
        bytes += slow.pending[i].call.bytes_max;
    }
    slow.most = slow.count > slow.most ? slow.count : slow.most;
    slow.most_bytes = bytes > slow.most_bytes ? bytes : slow.most_bytes;
    return uv_timer_start(&slow.timer, on_timer, 0, 0);
}

static void close_store(struct object_store *store)
{
    const struct object_answer gone = {.rc = -ECANCELED, .text = ""};

    (void)store;
    while (slow.count > 0) {
        struct pending last = slow.pending[--slow.count];
        last.call.done(last.call.context, &gone);
    }
    uv_close((uv_handle_t *)&slow.timer, NULL);
}

static int begin(void **state)
{
    (void)state;
    memset(&slow, 0, sizeof slow);
    slow.port = (struct object_store){.begin = begin_call, .destroy = close_store};
    slow.access.memory = slow.access.bytes.memory = got.memory = heap_memory();
    slow.access.store = &slow.port;
    assert_int_equal(uv_loop_init(&slow.access.loop), 0);
    assert_int_equal(uv_timer_init(&slow.access.loop, &slow.timer), 0);
    archive_reader_init(&slow.access.reader, heap_memory(), NULL);
    return 0;
}

static int end(void **state)
{
    (void)state;
    access_close(&slow.access);
    buffer_fini(&got);
    return 0;
}

static void expect(const char *name, uint64_t offset, uint64_t size)
{
    assert_int_equal(access_expect(&slow.access, name, offset, size), 0);
}

static void get(const char *name, uint64_t offset, uint64_t size)
{
    assert_int_equal(access_get(&slow.access, name, offset, size, &got), 0);
    assert_int_equal(got.size, size);
    const uint64_t step = size > PART_BYTES ? 9973 : 1;
    for (uint64_t i = 0; i < size; i += step) {
        assert_int_equal(got.data[i], byte_at(name, offset + i));
    }
}

/* What is expected comes several at a time, each once, whatever the order in which the store answers. */
static void test_several_at_a_time(void **state)
{
    (void)state;
    for (uint64_t i = 0; i < PARTS; i++) {
        expect(i % 2 == 0 ? "a" : "b", i * PART_BYTES, PART_BYTES);
    }
    for (uint64_t i = 0; i < PARTS; i++) {
        get(i % 2 == 0 ? "a" : "b", i * PART_BYTES, PART_BYTES);
    }
    assert_int_equal(slow.asked, PARTS);
    assert_int_equal(slow.most, ACCESS_AHEAD_CALLS);
    assert_int_equal(slow.access.bytes_read, PARTS * PART_BYTES);
}

/* Not more bytes than there is room for, but for one that is larger by itself. */
static void test_bounded(void **state)
{
    (void)state;
    for (uint64_t i = 0; i < 10; i++) {
        expect("a", i, ACCESS_AHEAD_BYTES / 3);
    }
    expect("a", 0, ACCESS_AHEAD_BYTES);
    for (uint64_t i = 0; i < 10; i++) {
        get("a", i, ACCESS_AHEAD_BYTES / 3);
    }
    get("a", 0, ACCESS_AHEAD_BYTES);
    assert_int_equal(slow.asked, 11);
    assert_int_equal(slow.most, 3);
    assert_true(slow.most_bytes <= ACCESS_AHEAD_BYTES);
}

/* Something else may be asked for in between; what was passed over is forgotten. */
static void test_what_is_not_asked_for(void **state)
{
    (void)state;
    for (uint64_t i = 0; i < 20; i++) {
        expect("a", i, 10);
    }
    get("a", 0, 10);
    get("b", 0, 10);
    get("a", 1, 10);
    get("a", 15, 10);
    get("a", 19, 10);
    assert_null(slow.access.ahead);
    get("a", 2, 10); /* It is not expected any more. */
    for (uint64_t i = 0; i < 20; i++) {
        expect("a", i, 10);
    }
    get("a", 0, 10);
    access_expect_nothing(&slow.access);
    assert_null(slow.access.ahead);
    for (int i = 0; i < 100 && slow.access.ahead_calls > 0; i++) {
        uv_run(&slow.access.loop, UV_RUN_ONCE);
    }
    assert_int_equal(slow.access.ahead_calls, 0);
    assert_int_equal(slow.access.ahead_bytes, 0);
    expect("a", 0, 10);
    expect("a", 1, 10);
    get("a", 0, 10); /* The other is under way when the store goes. */
}

/* What could not be read ahead is asked for when its turn comes. */
static void test_failures(void **state)
{
    (void)state;
    for (uint64_t i = 0; i < 4; i++) {
        expect("a", i, 10);
    }
    slow.fails = 4;
    for (uint64_t i = 0; i < 4; i++) {
        get("a", i, 10);
    }
    assert_int_equal(slow.asked, 8);
    expect("a", 0, 10);
    slow.fails = 2;
    assert_int_equal(access_get(&slow.access, "a", 0, 10, &got), -EIO);
    assert_string_equal(slow.access.text, "it does not");
}

static void test_stops(void **state)
{
    (void)state;
    slow.access.stops = &slow.stops;
    expect("a", 0, 10);
    expect("a", 1, 10);
    get("a", 0, 10);
    slow.stops = true;
    assert_int_equal(access_get(&slow.access, "a", 1, 10, &got), -ECANCELED);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_several_at_a_time, begin, end),
        cmocka_unit_test_setup_teardown(test_bounded, begin, end),
        cmocka_unit_test_setup_teardown(test_what_is_not_asked_for, begin, end),
        cmocka_unit_test_setup_teardown(test_failures, begin, end),
        cmocka_unit_test_setup_teardown(test_stops, begin, end),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
