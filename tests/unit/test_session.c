/* Sessions written and read: what each change does, and under which conditions. */
#include <errno.h>
#include <stdio.h>

#include "finder.h"
#include "session_kit.h"

static void test_blob(void **state)
{
    struct kit kit;
    struct session_view view;
    (void)state;

    kit_init(&kit);
    kit.type = SESSION_BLOB;
    assert_int_equal(kit_do(&kit, KIT_CHANGE(SET, .value = text("hello"))), STATUS_OK);
    assert_true(kit.written.created);
    assert_int_equal(kit_result(&kit, 0), 1);
    kit_expect(&kit, "", "hello");
    kit_open(&kit, &view);
    assert_true(view.live);
    assert_int_equal(view.type, SESSION_BLOB);
    assert_int_equal(view.field_count, 1);
    assert_int_equal(view.created_ms, kit.now_ms);
    assert_int_equal(view.deadline_ms, 0);
    assert_int_equal(view.next_ms, 0);

    kit.now_ms++;
    assert_int_equal(kit_do(&kit, KIT_CHANGE(SET, .value = text("bye"))), STATUS_OK);
    assert_false(kit.written.created);
    assert_int_equal(kit_result(&kit, 0), 0);
    kit_expect(&kit, "", "bye");
    assert_int_equal(kit_do(&kit, KIT_CHANGE(APPEND, .value = text("-bye"))), STATUS_OK);
    assert_int_equal(kit_result(&kit, 0), 7);
    kit_expect(&kit, "", "bye-bye");
    assert_int_equal(kit_do(&kit, KIT_CHANGE(SET, .name = text("x"), .value = text("y"))),
                     STATUS_WRONG_TYPE);
    assert_int_equal(kit_do(&kit, KIT_CHANGE(DESTROY)), STATUS_OK);
    assert_true(kit.written.destroyed);
    assert_int_equal(kit_result(&kit, 0), 1);
    kit_open(&kit, &view);
    assert_false(view.live);
    assert_true(view.tombstone);
    assert_int_equal(view.death_ms, kit.now_ms);
    assert_int_equal(kit_do(&kit, KIT_CHANGE(DESTROY)), STATUS_OK);
    assert_int_equal(kit_result(&kit, 0), 0);
    assert_false(kit.written.changed);
    kit_fini(&kit);
}

static void test_map(void **state)
{
    struct kit kit;
    struct session_view view;
    struct session_field field;
    (void)state;

    kit_init(&kit);
    kit_add(&kit, KIT_CHANGE(SET, .name = text("b"), .value = text("2")));
    kit_add(&kit, KIT_CHANGE(SET, .name = text("a"), .value = text("1")));
    kit_add(&kit, KIT_CHANGE(SET, .name = text("c"), .value = text("3")));
    kit_add(&kit, KIT_CHANGE(SET, .name = text("a"), .value = text("one")));
    kit_add(&kit, KIT_CHANGE(DELETE, .name = text("c")));
    kit_add(&kit, KIT_CHANGE(DELETE, .name = text("d")));
    assert_int_equal(kit_write(&kit), STATUS_OK);
    const int64_t results[] = {1, 1, 1, 0, 1, 0};
    for (int i = 0; i < 6; i++) {
        assert_int_equal(kit_result(&kit, i), results[i]);
    }
    kit_expect(&kit, "a", "one");
    kit_expect(&kit, "b", "2");
    kit_expect(&kit, "c", NULL);
    kit_open(&kit, &view);
    assert_int_equal(view.field_count, 2);
    assert_true(session_next(&view, false, &field));
    assert_bytes_equal(field.name, text("a"));
    assert_true(session_next(&view, false, &field));
    assert_bytes_equal(field.name, text("b"));
    assert_false(session_next(&view, false, &field));
    session_rewind(&view);
    assert_true(session_next(&view, true, &field));
    assert_bytes_equal(field.value, text("one"));

    kit.now_ms += 5;
    kit_add(&kit, KIT_CHANGE(CLEAR));
    kit_add(&kit, KIT_CHANGE(SET, .name = text("z"), .value = text("26")));
    assert_int_equal(kit_write(&kit), STATUS_OK);
    assert_int_equal(kit_result(&kit, 0), 2);
    kit_open(&kit, &view);
    assert_int_equal(view.field_count, 1);
    assert_int_equal(kit_do(&kit, KIT_CHANGE(CLEAR)), STATUS_OK);
    kit_open(&kit, &view);
    assert_true(view.live); /* A session lives on without fields. */
    assert_int_equal(view.field_count, 0);
    assert_int_equal(kit_do(&kit, KIT_CHANGE(ADD_MEMBER, .name = text("m"))), STATUS_WRONG_TYPE);
    for (int i = 0; i < 20; i++) {
        kit_add(&kit, KIT_CHANGE(ADD, .name = text("n"), .delta = 2));
        kit_add(&kit, KIT_CHANGE(SET, .name = text(i % 2 == 0 ? "x" : "y")));
        kit_add(&kit, KIT_CHANGE(CLEAR));
    }
    kit_add(&kit, KIT_CHANGE(ADD, .name = text("n"), .delta = 2));
    assert_int_equal(kit_write(&kit), STATUS_OK);
    for (int i = 0; i < 60; i++) {
        assert_int_equal(kit_result(&kit, i), i % 3 == 1 ? 1 : 2);
    }
    kit_expect(&kit, "x", NULL);
    kit_expect(&kit, "n", "2");
    kit_fini(&kit);
}

/* Changes of many names, and the walk over more fields than any cache holds. */
static void test_many_fields(void **state)
{
    enum { FIELDS = 1000 };
    struct kit kit;
    struct session_view view;
    struct session_field field;
    char name[16], before[16] = "";
    int count = 0;
    (void)state;

    kit_init(&kit);
    for (int i = 0; i < FIELDS; i++) {
        snprintf(name, sizeof name, "f%d", (i * 7919) % FIELDS);
        kit_add(&kit, KIT_CHANGE(SET, .name = text(name), .value = text(name)));
    }
    assert_int_equal(kit_write(&kit), STATUS_OK);
    kit.now_ms += 77;
    assert_int_equal(kit_do(&kit, KIT_CHANGE(SET, .name = text("f500"), .value = text("x"))),
                     STATUS_OK);
    assert_in_range(kit.written.delta.size, 1, 60);
    kit_open(&kit, &view);
    assert_int_equal(view.field_count, FIELDS);
    while (session_next(&view, false, &field)) {
        assert_true(strncmp(before, (const char *)field.name.data, field.name.size) < 0 ||
                    count == 0);
        snprintf(before, sizeof before, "%.*s", (int)field.name.size,
                 (const char *)field.name.data);
        count++;
    }
    assert_int_equal(count, FIELDS);
    kit_expect(&kit, "f500", "x");
    kit_expect(&kit, "f999", "f999");
    kit_expect(&kit, "g", NULL);

    kit.rules.fields_max = FIELDS;
    assert_int_equal(kit_do(&kit, KIT_CHANGE(SET, .name = text("g"))), STATUS_TOO_MANY_FIELDS);
    kit.rules.fields_max = 10; /* Lowered: what does not grow goes on. */
    assert_int_equal(kit_do(&kit, KIT_CHANGE(SET, .name = text("f1"))), STATUS_OK);
    assert_int_equal(kit_do(&kit, KIT_CHANGE(DELETE, .name = text("f1"))), STATUS_OK);
    kit.rules.session_bytes_max = 100;
    assert_int_equal(kit_do(&kit, KIT_CHANGE(DELETE, .name = text("f2"))), STATUS_OK);
    assert_int_equal(kit_do(&kit, KIT_CHANGE(SET, .name = text("f3"), .value = text("longer"))),
                     STATUS_SESSION_TOO_LARGE);
    assert_int_equal(kit_do(&kit, KIT_CHANGE(DESTROY)), STATUS_OK);
    kit_fini(&kit);
}

/* Whatever is looked up, and whether it is few names or many: the finder says what session_find() and session_next() say. */
static void test_finder(void **state)
{
    enum { NAMES = 200 };
    const uint64_t counts[] = {1, NAMES};
    struct session_view view;
    struct session_field field, same;
    struct finder finder;
    struct kit kit;
    char names[NAMES][8];
    (void)state;

    kit_init(&kit);
    for (int i = 0; i < NAMES; i++) {
        snprintf(names[i], sizeof names[i], "%x", i * 37 % NAMES);
        if (i % 5 == 0) {
            continue; /* It is not there. */
        }
        struct change change = KIT_CHANGE(SET, .name = kit_name(names[i]), .value = text("v"));
        if (i % 7 == 0) {
            change = KIT_CHANGE(ADD, .name = kit_name(names[i]), .delta = i);
        } else if (i % 3 == 0) {
            change = KIT_CHANGE(SET_UNTIL, .name = kit_name(names[i]), .value = text("past"),
                                .ms = kit.now_ms + 1);
        }
        kit_add(&kit, change);
    }
    assert_int_equal(kit_write(&kit), STATUS_OK);
    kit.now_ms += 2;
    kit_open(&kit, &view);
    for (int round = 0; round < 2; round++) {
        assert_int_equal(finder_begin(&finder, &view, counts[round], &kit.memory.memory), 0);
        for (int i = 0; i < NAMES; i++) {
            bool found = session_find(&view, kit_name(names[i]), &same);
            assert_int_equal(finder_find(&finder, kit_name(names[i]), &field), found);
            assert_true(!found || (bytes_equal(field.name, same.name) &&
                                   bytes_equal(field.value, same.value)));
        }
        session_rewind(&view);
        for (uint64_t i = 0; i < view.field_count; i++) {
            assert_true(session_next(&view, false, &same));
            assert_true(finder_at(&finder, i, &field));
            assert_bytes_equal(field.name, same.name);
            assert_bytes_equal(field.value, same.value);
        }
        assert_false(finder_at(&finder, view.field_count, &field));
        finder_end(&finder);
    }
    kit.memory.fail_at = kit.memory.requests + 1;
    assert_int_equal(finder_begin(&finder, &view, NAMES, &kit.memory.memory), -ENOMEM);
    finder_end(&finder);

    kit.memory.fail_at = 0;
    /* Nothing is shown any more, and that is noted as well: no look-up walks over what is past. */
    for (int i = 0; i < NAMES; i++) {
        kit_add(&kit, KIT_CHANGE(SET_UNTIL, .name = kit_name(names[i]), .value = text("past"),
                                 .ms = kit.now_ms + 1));
    }
    assert_int_equal(kit_write(&kit), STATUS_OK);
    kit.now_ms += 2;
    kit_open(&kit, &view);
    assert_int_equal(view.field_count, 0);
    assert_int_equal(finder_begin(&finder, &view, NAMES, &kit.memory.memory), 0);
    assert_true(finder.noted && finder.places.size == 0);
    view.now_ms = kit.now_ms - 2; /* Who walks all the same would find them now. */
    assert_false(finder_find(&finder, kit_name(names[1]), &field) || finder_at(&finder, 0, &field));
    finder_end(&finder);
    assert_int_equal(finder_begin(&finder, NULL, NAMES, &kit.memory.memory), 0);
    assert_false(finder_find(&finder, text("1"), &field) || finder_at(&finder, 0, &field));
    finder_end(&finder);
    kit_fini(&kit);
}

/* The limit is about the value: one of exactly that size is good, whatever is kept beside it. */
static void test_value_of_the_limit_fits(void **state)
{
    enum { LIMIT = 100000 };
    static char value[2 * LIMIT];
    struct kit kit;

    (void)state;
    kit_init(&kit);
    kit.rules.session_bytes_max = LIMIT;
    assert_int_equal(kit_do(&kit, KIT_CHANGE(SET, .value = bytes_of(value, LIMIT))), STATUS_OK);
    assert_int_equal(kit_do(&kit, KIT_CHANGE(SET, .value = bytes_of(value, LIMIT + 5000))),
                     STATUS_SESSION_TOO_LARGE);
    assert_int_equal(kit_do(&kit, KIT_CHANGE(APPEND, .value = text("x"))),
                     STATUS_SESSION_TOO_LARGE);
    kit_fini(&kit);
}

static void test_modes(void **state)
{
    struct kit kit;
    struct session_view view;
    (void)state;

    kit_init(&kit);
    kit.mode = WRITE_UPDATE;
    assert_int_equal(kit_do(&kit, KIT_CHANGE(SET, .name = text("a"))), STATUS_NOT_FOUND);
    kit.mode = WRITE_UPSERT;
    kit.type = SESSION_NONE;
    assert_int_equal(kit_do(&kit, KIT_CHANGE(SET, .name = text("a"))), STATUS_NOT_FOUND);
    assert_int_equal(kit_do(&kit, KIT_CHANGE(TOUCH)), STATUS_NOT_FOUND);
    kit.type = SESSION_MAP;
    kit.mode = WRITE_CREATE;
    assert_int_equal(kit_do(&kit, KIT_CHANGE(SET, .name = text("a"))), STATUS_OK);
    assert_true(kit.written.created);
    assert_int_equal(kit_do(&kit, KIT_CHANGE(SET, .name = text("a"))), STATUS_EXISTS);
    kit.mode = WRITE_UPDATE;
    assert_int_equal(kit_do(&kit, KIT_CHANGE(SET, .name = text("b"))), STATUS_OK);
    kit.type = SESSION_BLOB;
    assert_int_equal(kit_do(&kit, KIT_CHANGE(SET, .value = text("b"))), STATUS_WRONG_TYPE);
    kit.type = SESSION_NONE;
    assert_int_equal(kit_do(&kit, KIT_CHANGE(DELETE, .name = text("b"))), STATUS_OK);
    assert_int_equal(kit_do(&kit, KIT_CHANGE(DESTROY)), STATUS_OK);
    assert_int_equal(kit_do(&kit, KIT_CHANGE(SET, .name = text("b"))), STATUS_NOT_FOUND);
    kit.type = SESSION_MAP;
    kit.mode = WRITE_UPSERT;
    assert_int_equal(kit_do(&kit, KIT_CHANGE(SET, .name = text("b"))), STATUS_OK);
    assert_true(kit.written.created);
    kit_open(&kit, &view);
    assert_int_equal(view.field_count, 1);
    kit_fini(&kit);
}

static void test_numbers(void **state)
{
    struct kit kit;
    (void)state;

    kit_init(&kit);
    assert_int_equal(kit_do(&kit, KIT_CHANGE(ADD, .name = text("n"), .delta = 5)), STATUS_OK);
    assert_int_equal(kit_result(&kit, 0), 5);
    assert_int_equal(kit_do(&kit, KIT_CHANGE(ADD, .name = text("n"), .delta = -7)), STATUS_OK);
    kit_expect(&kit, "n", "-2");
    assert_int_equal(kit_do(&kit, KIT_CHANGE(SET, .name = text("n"), .value = text("100"))),
                     STATUS_OK);
    assert_int_equal(kit_do(&kit, KIT_CHANGE(ADD, .name = text("n"), .delta = 1)), STATUS_OK);
    kit.actor.start++;
    assert_int_equal(kit_do(&kit, KIT_CHANGE(ADD, .name = text("n"), .delta = 10)), STATUS_OK);
    assert_int_equal(kit_result(&kit, 0), 111);
    kit_expect(&kit, "n", "111");
    kit_add(&kit, KIT_CHANGE(ADD, .name = text("n"), .delta = 1));
    kit_add(&kit, KIT_CHANGE(ADD, .name = text("n"), .delta = 1));
    kit_add(&kit, KIT_CHANGE(APPEND, .name = text("n"), .value = text("0")));
    kit_add(&kit, KIT_CHANGE(ADD, .name = text("n"), .delta = 1));
    assert_int_equal(kit_write(&kit), STATUS_OK);
    assert_int_equal(kit_result(&kit, 1), 113);
    assert_int_equal(kit_result(&kit, 2), 4);
    assert_int_equal(kit_result(&kit, 3), 1131);
    kit_expect(&kit, "n", "1131");
    kit_add(&kit, KIT_CHANGE(DELETE, .name = text("n")));
    kit_add(&kit, KIT_CHANGE(ADD, .name = text("n"), .delta = 3));
    assert_int_equal(kit_write(&kit), STATUS_OK);
    kit_expect(&kit, "n", "3");

    const char *const no_numbers[] = {
        "", "-", "x", "1x", "01", "-0", "+1", " 1", "9223372036854775808", "-9223372036854775809"};
    for (size_t i = 0; i < sizeof no_numbers / sizeof no_numbers[0]; i++) {
        kit_do(&kit, KIT_CHANGE(SET, .name = text("t"), .value = text(no_numbers[i])));
        assert_int_equal(kit_do(&kit, KIT_CHANGE(ADD, .name = text("t"), .delta = 0)),
                         STATUS_NOT_A_NUMBER);
    }
    kit_do(&kit, KIT_CHANGE(SET, .name = text("t"), .value = text("9223372036854775806")));
    assert_int_equal(kit_do(&kit, KIT_CHANGE(ADD, .name = text("t"), .delta = 1)), STATUS_OK);
    assert_int_equal(kit_do(&kit, KIT_CHANGE(ADD, .name = text("t"), .delta = 1)),
                     STATUS_OUT_OF_RANGE);
    kit_expect(&kit, "t", "9223372036854775807");
    kit_do(&kit, KIT_CHANGE(SET, .name = text("t"), .value = text("-9223372036854775808")));
    assert_int_equal(kit_do(&kit, KIT_CHANGE(ADD, .name = text("t"), .delta = -1)),
                     STATUS_OUT_OF_RANGE);
    /* The sum of what was added has no room for more, the number has. */
    kit_do(&kit, KIT_CHANGE(SET, .name = text("t"), .value = text("-5")));
    kit_do(&kit, KIT_CHANGE(ADD, .name = text("t"), .delta = INT64_MAX));
    kit_do(&kit, KIT_CHANGE(UNTIL, .name = text("t"), .ms = kit.now_ms + 5000));
    assert_int_equal(kit_do(&kit, KIT_CHANGE(ADD, .name = text("t"), .delta = 2)), STATUS_OK);
    kit_expect(&kit, "t", "9223372036854775804");
    assert_int_equal(kit_do(&kit, KIT_CHANGE(ADD, .name = text("t"), .delta = 2)), STATUS_OK);
    kit_expect(&kit, "t", "9223372036854775806");
    assert_int_equal(kit_do(&kit, KIT_CHANGE(ADD, .name = text("t"), .delta = 2)),
                     STATUS_OUT_OF_RANGE);
    kit_expect(&kit, "t", "9223372036854775806");
    kit_fini(&kit);
}

/* Adds on both sides all count; a set on one side ends the sums it has seen and hides the others. */
static void test_concurrent_numbers(void **state)
{
    struct kit a, b;
    struct session_view view;
    struct session_field field;
    (void)state;

    kit_init(&a);
    kit_init(&b);
    b.actor.node = 2;
    assert_int_equal(kit_do(&a, KIT_CHANGE(SET, .name = text("n"), .value = text("10"))), 0);
    kit_take_first(&b, &a);
    kit_do(&a, KIT_CHANGE(ADD, .name = text("n"), .delta = 1));
    kit_do(&a, KIT_CHANGE(ADD, .name = text("n"), .delta = 1));
    kit_do(&b, KIT_CHANGE(ADD, .name = text("n"), .delta = 100));
    kit_do(&b, KIT_CHANGE(ADD, .name = text("new"), .delta = 4));
    kit_do(&a, KIT_CHANGE(ADD, .name = text("new"), .delta = 5));
    kit_take(&a, &b);
    kit_take(&b, &a);
    kit_expect(&a, "n", "112");
    kit_expect(&a, "new", "9");
    /* A deadline does not lose what is added at the same time. */
    kit_do(&a, KIT_CHANGE(UNTIL, .name = text("n"), .ms = a.now_ms + 50));
    kit_do(&b, KIT_CHANGE(ADD, .name = text("n"), .delta = 1000));
    kit_take(&a, &b);
    kit_expect(&a, "n", "1112");
    kit_take(&b, &a);

    a.now_ms += 9;
    kit_do(&a, KIT_CHANGE(SET, .name = text("n"), .value = text("7")));
    kit_do(&b, KIT_CHANGE(ADD, .name = text("n"), .delta = 3));
    kit_take(&a, &b);
    kit_expect(&a, "n", "7");
    kit_open(&a, &view);
    assert_int_equal(view.siblings_hidden, 1);
    assert_true(session_next(&view, true, &field));
    assert_false(field.sibling);
    assert_true(session_next(&view, true, &field));
    assert_true(field.sibling);
    assert_bytes_equal(field.value, text("1103"));
    kit_do(&a, KIT_CHANGE(ADD, .name = text("n"), .delta = 1));
    kit_expect(&a, "n", "8");
    kit_open(&a, &view);
    assert_int_equal(view.siblings_hidden, 0);
    kit_fini(&a);
    kit_fini(&b);
}

static void test_sets(void **state)
{
    struct kit kit;
    struct session_view view;
    struct session_field field;
    double score;
    (void)state;

    kit_init(&kit);
    kit.type = SESSION_SET;
    assert_int_equal(kit_do(&kit, KIT_CHANGE(ADD_MEMBER, .name = text("m"))), STATUS_OK);
    assert_int_equal(kit_result(&kit, 0), 1);
    assert_int_equal(kit_do(&kit, KIT_CHANGE(ADD_MEMBER, .name = text("m"))), STATUS_OK);
    assert_int_equal(kit_result(&kit, 0), 0);
    assert_false(kit.written.changed);
    assert_int_equal(kit_do(&kit, KIT_CHANGE(ADD, .name = text("m"))), STATUS_WRONG_TYPE);
    kit_do(&kit, KIT_CHANGE(DESTROY));

    kit.type = SESSION_ZSET;
    const struct {
        uint32_t flags;
        double score;
        int64_t result;
    } rows[] = {
        {SCORE_XX, 1, 0}, {0, 1, 1},        {0, 1, 0},        {0, 2, 2},        {SCORE_NX, 3, 0},
        {SCORE_GT, 1, 0}, {SCORE_GT, 4, 2}, {SCORE_LT, 5, 0}, {SCORE_LT, 3, 2}, {SCORE_XX, 6, 2},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        assert_int_equal(kit_do(&kit, KIT_CHANGE(SET_SCORE, .name = text("m"),
                                                 .score = rows[i].score, .flags = rows[i].flags)),
                         STATUS_OK);
        assert_int_equal(kit_result(&kit, 0), rows[i].result);
    }
    kit_add(&kit, KIT_CHANGE(ADD_SCORE, .name = text("m"), .score = 0.5));
    kit_add(&kit, KIT_CHANGE(ADD_SCORE, .name = text("m"), .score = 0.5));
    assert_int_equal(kit_write(&kit), STATUS_OK);
    assert_int_equal(kit.written.results.size, 16);
    kit_open(&kit, &view);
    assert_true(session_find(&view, text("m"), &field));
    assert_int_equal(field.value.size, 8);
    memcpy(&score, field.value.data, 8);
    assert_true(score > 6.99 && score < 7.01);
    double infinity = 1e308 * 10;
    kit_do(&kit, KIT_CHANGE(SET_SCORE, .name = text("m"), .score = infinity));
    assert_int_equal(kit_do(&kit, KIT_CHANGE(ADD_SCORE, .name = text("m"), .score = -infinity)),
                     STATUS_OUT_OF_RANGE);
    kit_fini(&kit);
}

static void test_owner(void **state)
{
    struct kit kit;
    struct session_view view;
    (void)state;

    kit_init(&kit);
    kit_do(&kit, KIT_CHANGE(OWNER, .value = text("alice")));
    kit_open(&kit, &view);
    assert_bytes_equal(view.owner, text("alice"));
    kit_do(&kit, KIT_CHANGE(OWNER, .value = text("bob")));
    kit_open(&kit, &view);
    assert_bytes_equal(view.owner, text("bob"));
    kit_do(&kit, KIT_CHANGE(OWNER));
    kit_open(&kit, &view);
    assert_int_equal(view.owner.size, 0);
    kit_fini(&kit);
}

static void test_versions(void **state)
{
    struct kit kit;
    uint8_t token[64];
    (void)state;

    kit_init(&kit);
    kit_do(&kit, KIT_CHANGE(SET, .name = text("a"), .value = text("1")));
    struct bytes first = bytes_of(token, kit.written.token.size);
    memcpy(token, kit.written.token.data, first.size);
    kit.if_version = first;
    assert_int_equal(kit_do(&kit, KIT_CHANGE(SET, .name = text("a"), .value = text("2"))), 0);
    assert_int_equal(session_covers(buffer_bytes(&kit.record), first), 1);
    assert_int_equal(session_covers(bytes_of("", 0), first), 0);
    assert_int_equal(session_covers(bytes_of("", 0), bytes_of("", 0)), 1);
    assert_int_equal(session_covers(bytes_of("", 0), text("garbage")), -EBADMSG);
    assert_int_equal(kit_do(&kit, KIT_CHANGE(SET, .name = text("a"), .value = text("3"))),
                     STATUS_VERSION_MISMATCH);
    assert_true(kit.written.token.size > 0);
    kit_expect(&kit, "a", "2");
    assert_int_equal(kit_do(&kit, KIT_CHANGE(DESTROY)), STATUS_VERSION_MISMATCH);
    kit.key = text("other");
    assert_int_equal(kit_do(&kit, KIT_CHANGE(TOUCH)), STATUS_DAMAGED);
    kit_fini(&kit);
}

/* Appending nothing leaves the value as it is, however large; on a number and on nothing as well. */
static void test_append_nothing(void **state)
{
    enum { BYTES = 100000 };
    static char value[BYTES];
    struct session_view view;
    struct session_field field;
    struct kit kit;
    (void)state;

    kit_init(&kit);
    memset(value, 'v', BYTES);
    kit_do(&kit, KIT_CHANGE(SET, .name = text("f"), .value = bytes_of(value, BYTES)));
    assert_int_equal(kit_do(&kit, KIT_CHANGE(APPEND, .name = text("f"))), STATUS_OK);
    assert_int_equal(kit_result(&kit, 0), BYTES);
    kit_open(&kit, &view);
    assert_true(session_find(&view, text("f"), &field));
    assert_bytes_equal(field.value, bytes_of(value, BYTES));

    kit_do(&kit, KIT_CHANGE(ADD, .name = text("n"), .delta = 12));
    kit_add(&kit, KIT_CHANGE(APPEND, .name = text("n")));
    kit_add(&kit, KIT_CHANGE(APPEND, .name = text("none")));
    assert_int_equal(kit_write(&kit), STATUS_OK);
    assert_int_equal(kit_result(&kit, 0), 2);
    assert_int_equal(kit_result(&kit, 1), 0);
    kit_expect(&kit, "n", "12");
    kit_expect(&kit, "none", "");
    kit_fini(&kit);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_blob),           cmocka_unit_test(test_map),
        cmocka_unit_test(test_many_fields),    cmocka_unit_test(test_value_of_the_limit_fits),
        cmocka_unit_test(test_modes),          cmocka_unit_test(test_numbers),
        cmocka_unit_test(test_append_nothing), cmocka_unit_test(test_concurrent_numbers),
        cmocka_unit_test(test_sets),           cmocka_unit_test(test_owner),
        cmocka_unit_test(test_versions),       cmocka_unit_test(test_finder),
    };
    return cmocka_run_group_tests_name("session", tests, NULL, NULL);
}
