/* A round of retention, on a store that is none: what it asks for beside what the catalog says (test_archive_catalog.c). */
#include "archive_retention.h"
#include "check.h"

#include <errno.h>

#include "heap.h"

enum { TIDY_ROUNDS = 3 };

/* A store without objects, in which something was begun and never ended. */
static struct empty_store {
    struct object_store port;
    struct archive_access access;
    uv_timer_t timer;
    struct object_call call;
    char name[ARCHIVE_NAME_BYTES], asked[ARCHIVE_NAME_BYTES];
    uint32_t calls[OBJECT_OPS];
    uint64_t before_ms;
    int rc;
    char listed[3][ARCHIVE_NAME_BYTES];
    uint32_t listed_count;
    char done[ARCHIVE_NAME_BYTES]; /* Is there once it is asked for, if `made`. */
    bool made;
} empty;

static void on_timer(uv_timer_t *timer)
{
    struct object_listed listed[3] = {{.name = "left"}};
    bool tidy = empty.call.op == OBJECT_TIDY, lists = empty.call.op == OBJECT_LIST;
    uint32_t count = tidy && empty.rc == 0;

    if (lists && strcmp(empty.asked, empty.done) == 0) {
        listed[0].name = empty.done;
        count = empty.made;
    }
    for (uint32_t i = 0; lists && i < empty.listed_count; i++) {
        if (strncmp(empty.listed[i], empty.asked, strlen(empty.asked)) == 0) {
            listed[count++].name = empty.listed[i];
        }
    }
    const struct object_answer answer = {
        .rc = tidy ? empty.rc : 0,
        .text = tidy && empty.rc != 0 ? "it does not" : "",
        .listed = listed,
        .listed_count = count,
        .more = tidy && empty.calls[OBJECT_TIDY] < TIDY_ROUNDS,
    };

    (void)timer;
    empty.call.done(empty.call.context, &answer);
}

static int begin_call(struct object_store *store, const struct object_call *call)
{
    (void)store;
    empty.call = *call;
    empty.calls[call->op]++;
    snprintf(empty.asked, sizeof empty.asked, "%s", call->name);
    if (call->op == OBJECT_TIDY) {
        snprintf(empty.name, sizeof empty.name, "%s", call->name);
        empty.before_ms = call->before_ms;
    }
    return uv_timer_start(&empty.timer, on_timer, 0, 0);
}

static void close_store(struct object_store *store)
{
    (void)store;
    uv_close((uv_handle_t *)&empty.timer, NULL);
}

static int begin(void **state)
{
    (void)state;
    memset(&empty, 0, sizeof empty);
    empty.port = (struct object_store){.begin = begin_call, .destroy = close_store};
    empty.access.memory = empty.access.bytes.memory = heap_memory();
    empty.access.store = &empty.port;
    assert_int_equal(uv_loop_init(&empty.access.loop), 0);
    assert_int_equal(uv_timer_init(&empty.access.loop, &empty.timer), 0);
    archive_reader_init(&empty.access.reader, heap_memory(), NULL);
    return 0;
}

static int end(void **state)
{
    (void)state;
    access_close(&empty.access);
    return 0;
}

static const uint8_t cluster[CLUSTER_ID_BYTES] = {0xab};

/* What nobody ended goes, of this cluster alone, until there is no more. */
static void test_what_nobody_ended_goes(void **state)
{
    struct retention_round round = {.from_ms = 1, .tidy_ms = 12345};

    (void)state;
    assert_int_equal(retention_run(&empty.access, cluster, &round), 0);
    assert_int_equal(empty.calls[OBJECT_TIDY], TIDY_ROUNDS);
    assert_int_equal(round.unended, TIDY_ROUNDS);
    assert_int_equal(empty.before_ms, 12345);
    assert_string_equal(empty.name, "ab000000000000000000000000000000/");
    assert_int_equal(empty.calls[OBJECT_REMOVE], 0);
}

/* A checkpoint in the making has parts and no `done`. Behind the one of `sequence` its actor has begun another. */
static void put_parts(uint64_t sequence)
{
    struct archive_name name = {.kind = ARCHIVE_PART, .actor = {2, 1}};

    memcpy(name.cluster, cluster, sizeof name.cluster);
    for (uint32_t i = 0; i < 3; i++) {
        name.sequence = sequence + i / 2;
        name.part = i % 2;
        archive_name_put(empty.listed[i], &name);
    }
    empty.listed_count = 3;
    name.sequence = sequence;
    name.kind = ARCHIVE_DONE;
    name.part = 0;
    archive_name_put(empty.done, &name);
}

/* One that was given up goes; one that became whole while the objects were listed stays. */
static void test_checkpoint_in_the_making(void **state)
{
    struct retention_round round = {.from_ms = 1};

    (void)state;
    put_parts(5);
    empty.made = true;
    assert_int_equal(retention_run(&empty.access, cluster, &round), 0);
    assert_int_equal(empty.calls[OBJECT_REMOVE], 0);
    assert_int_equal(round.objects, 0);
    empty.made = false;
    assert_int_equal(retention_run(&empty.access, cluster, &round), 0);
    assert_int_equal(empty.calls[OBJECT_REMOVE], 2); /* Not of the later one. */
    assert_int_equal(round.objects, 2);
}

static void test_where_it_is_not_asked_for(void **state)
{
    struct retention_round round = {.from_ms = 1}, dry = {.from_ms = 1, .tidy_ms = 1, .dry = true};

    (void)state;
    assert_int_equal(retention_run(&empty.access, cluster, &round), 0);
    assert_int_equal(retention_run(&empty.access, cluster, &dry), 0);
    assert_int_equal(empty.calls[OBJECT_TIDY], 0);
}

static void test_failures(void **state)
{
    struct retention_round round = {.from_ms = 1, .tidy_ms = 1};
    atomic_bool stops = true;

    (void)state;
    empty.rc = -EACCES;
    assert_int_equal(retention_run(&empty.access, cluster, &round), -EACCES);
    assert_string_equal(empty.access.text, "it does not");
    uint32_t lists = empty.calls[OBJECT_LIST];
    empty.access.stops = &stops;
    assert_int_equal(retention_run(&empty.access, cluster, &round), -ECANCELED);
    assert_int_equal(empty.calls[OBJECT_LIST], lists); /* Nothing was asked any more. */
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_what_nobody_ended_goes, begin, end),
        cmocka_unit_test_setup_teardown(test_checkpoint_in_the_making, begin, end),
        cmocka_unit_test_setup_teardown(test_where_it_is_not_asked_for, begin, end),
        cmocka_unit_test_setup_teardown(test_failures, begin, end),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
