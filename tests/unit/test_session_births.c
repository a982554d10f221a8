/* What shows of births and values that did not know of each other. */
#include <stdio.h>

#include "session_kit.h"

/* Of two explicit creates only the newest shows; blind ones mix by field. */
static void test_concurrent_births(void **state)
{
    struct kit a, b;
    struct session_view view;
    (void)state;

    for (int blind = 0; blind < 2; blind++) {
        kit_init(&a);
        kit_init(&b);
        a.mode = b.mode = blind ? WRITE_UPSERT : WRITE_CREATE;
        b.actor.node = 2;
        b.now_ms++;
        kit_do(&a, KIT_CHANGE(SET, .name = text("a"), .value = text("1")));
        kit_do(&b, KIT_CHANGE(SET, .name = text("b"), .value = text("2")));
        kit_take(&a, &b);
        a.now_ms = b.now_ms;
        kit_expect(&a, "b", "2");
        kit_expect(&a, "a", blind ? "1" : NULL);
        kit_open(&a, &view);
        assert_int_equal(view.siblings_hidden, blind ? 0 : 1);
        a.mode = WRITE_UPDATE;
        kit_do(&a, KIT_CHANGE(SET, .name = text("c"), .value = text("3")));
        kit_open(&a, &view);
        assert_int_equal(view.siblings_hidden, 0); /* The losing birth is swept away. */
        assert_int_equal(view.field_count, blind ? 3 : 2);
        kit_fini(&a);
        kit_fini(&b);
    }
}

/* Bases of other types do not show through. */
static void test_births_of_two_types(void **state)
{
    struct kit a, b;
    struct session_view view;
    (void)state;

    kit_init(&a);
    kit_init(&b);
    b.actor.node = 2;
    b.type = SESSION_SET;
    b.now_ms++;
    kit_do(&a, KIT_CHANGE(SET, .name = text("a"), .value = text("1")));
    kit_do(&b, KIT_CHANGE(ADD_MEMBER, .name = text("b")));
    kit_take(&a, &b);
    kit_open(&a, &view);
    assert_int_equal(view.type, SESSION_SET);
    assert_int_equal(view.field_count, 1);
    kit_expect(&a, "a", NULL);
    kit_expect(&a, "b", "");
    kit_fini(&a);
    kit_fini(&b);
}

/* Nor do they once the type is swept away, while somebody who does not know of it goes on writing. */
static void test_type_swept_away(void **state)
{
    struct kit a, b;
    struct session_view view;
    (void)state;

    kit_init(&a);
    kit_init(&b);
    b.actor.node = 2;
    b.type = SESSION_SET;
    b.now_ms++;
    a.mode = WRITE_CREATE;
    kit_do(&a, KIT_CHANGE(SET, .name = text("a"), .value = text("1")));
    kit_do(&b, KIT_CHANGE(ADD_MEMBER, .name = text("b")));
    kit_take(&a, &b);
    a.mode = WRITE_UPDATE;
    a.now_ms = b.now_ms + 1;
    kit_do(&a, KIT_CHANGE(SET, .name = text("c"), .value = text("2")));
    b.now_ms += 2;
    kit_do(&b, KIT_CHANGE(ADD_MEMBER, .name = text("d")));
    kit_do(&b, KIT_CHANGE(TTL, .ms = 1000));
    kit_take(&a, &b);
    kit_open(&a, &view);
    assert_int_equal(view.type, SESSION_MAP);
    assert_int_equal(view.field_count, 2);
    assert_int_equal(view.siblings_hidden, 1);
    assert_int_equal(view.deadline_ms, 0);
    kit_expect(&a, "d", NULL);
    kit_fini(&a);
    kit_fini(&b);
}

static void test_siblings(void **state)
{
    enum { WRITERS = SESSION_SIBLINGS_MAX + 4 };
    struct kit all, one;
    struct session_view view;
    struct session_field field;
    char value[16];
    int count = 0;
    (void)state;

    kit_init(&all);
    kit_do(&all, KIT_CHANGE(SET, .name = text("other"), .value = text("x")));
    uint8_t base[256];
    struct bytes start = bytes_of(base, all.record.size);
    memcpy(base, all.record.data, start.size);
    for (uint32_t i = 1; i <= WRITERS; i++) {
        kit_init(&one);
        buffer_append(&one.record, start);
        one.actor.node = 1 + i;
        one.now_ms += i;
        snprintf(value, sizeof value, "v%u", i);
        kit_do(&one, KIT_CHANGE(SET, .name = text("f"), .value = text(value)));
        kit_take(&all, &one);
        kit_fini(&one);
    }
    all.now_ms += 100;
    kit_open(&all, &view);
    assert_int_equal(view.siblings_hidden, WRITERS - 1);
    while (session_next(&view, true, &field)) {
        if (bytes_equal(field.name, text("f"))) {
            snprintf(value, sizeof value, "v%d", WRITERS - count);
            assert_bytes_equal(field.value, text(value));
            assert_int_equal(field.sibling, count > 0);
            count++;
        }
    }
    assert_int_equal(count, WRITERS);
    /* A coordinator that meets so many keeps only what is shown, even for a name it does not touch. */
    kit_do(&all, KIT_CHANGE(SET, .name = text("other"), .value = text("y")));
    kit_open(&all, &view);
    assert_int_equal(view.siblings_hidden, 0);
    snprintf(value, sizeof value, "v%d", WRITERS);
    kit_expect(&all, "f", value);
    kit_fini(&all);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_concurrent_births),
        cmocka_unit_test(test_births_of_two_types),
        cmocka_unit_test(test_type_swept_away),
        cmocka_unit_test(test_siblings),
    };
    return cmocka_run_group_tests_name("session_births", tests, NULL, NULL);
}
