/* Values through libbelay: maps, numbers, sets, sorted sets, any bytes, the largest. */
#include "ops_kit.h"

enum { MIB = 1024 * 1024 };

/* ---- Maps ---- */

static void test_fields(void **state)
{
    struct belay_bytes key = new_key(), name = belay_text("a"), value;
    struct belay_result *result;
    struct belay_field field;
    size_t position = 0;

    (void)state;
    struct belay_request *write = upsert(key);
    belay_write_set(write, name, belay_text("1"));
    belay_write_set(write, belay_text("b"), belay_text("two"));
    belay_write_append(write, belay_text("b"), belay_text("!"));
    belay_write_add(write, belay_text("n"), -5);
    belay_write_delete(write, belay_text("nothing"));
    belay_write_set(write, name, belay_text("one"));
    result = run_for(write, BELAY_OK);
    const int64_t wanted[] = {1, 1, 4, -5, 0, 0};
    assert_int_equal(belay_result_change_count(result), 6);
    for (size_t i = 0; i < 6; i++) {
        assert_int_equal(belay_result_change(result, i), wanted[i]);
    }
    belay_result_destroy(result);

    assert_int_equal(belay_get(client, key, &result), BELAY_OK);
    assert_int_equal(belay_result_type(result), BELAY_MAP);
    assert_int_equal(belay_result_field_count(result), 3);
    const char *const shown[] = {"a", "one", "b", "two!", "n", "-5"};
    for (size_t i = 0; i < 3; i++) {
        assert_int_equal(belay_result_field(result, &position, &field), 1);
        assert_text(field.name, shown[2 * i]);
        assert_text(field.value, shown[2 * i + 1]);
    }
    assert_int_equal(belay_result_field(result, &position, &field), 0);
    assert_int_equal(belay_result_find(result, belay_text("b"), &value), 1);
    assert_text(value, "two!");
    belay_result_destroy(result);

    const struct belay_bytes names[] = {belay_text("n"), belay_text("x"), belay_text("a")};
    assert_int_equal(belay_get_fields(client, key, names, 3, &result), BELAY_OK);
    position = 0;
    assert_int_equal(belay_result_field(result, &position, &field), 1);
    assert_text(field.name, "n");
    assert_text(field.value, "-5");
    assert_int_equal(belay_result_field(result, &position, &field), 1);
    assert_text(field.name, "x");
    assert_int_equal(field.present, 0);
    assert_int_equal(belay_result_field(result, &position, &field), 1);
    assert_text(field.value, "one");
    assert_int_equal(belay_result_field(result, &position, &field), 0);
    assert_int_equal(belay_result_find(result, belay_text("x"), &value), 0);
    belay_result_destroy(result);

    assert_int_equal(belay_field_delete(client, key, belay_text("b"), &result), BELAY_OK);
    assert_int_equal(belay_result_change(result, 0), 1);
    belay_result_destroy(result);
    assert_field(key, "b", NULL);
    write = update(key);
    belay_write_clear(write);
    result = run_for(write, BELAY_OK);
    assert_int_equal(belay_result_change(result, 0), 2);
    belay_result_destroy(result);
    assert_int_equal(belay_get(client, key, &result), BELAY_OK); /* It lives on without fields. */
    assert_int_equal(belay_result_field_count(result), 0);
    belay_result_destroy(result);
}

static void test_numbers(void **state)
{
    struct belay_bytes key = new_key(), n = belay_text("n");
    struct belay_result *result;

    (void)state;
    assert_int_equal(belay_field_add(client, key, n, INT64_MAX, &result), BELAY_OK);
    assert_true(belay_result_change(result, 0) == INT64_MAX);
    belay_result_destroy(result);
    assert_int_equal(belay_field_add(client, key, n, 1, NULL), BELAY_OUT_OF_RANGE);
    assert_field(key, "n", "9223372036854775807");
    assert_int_equal(belay_field_set(client, key, belay_text("t"), belay_text("ten"), NULL),
                     BELAY_OK);
    assert_int_equal(belay_field_add(client, key, belay_text("t"), 1, NULL), BELAY_NOT_A_NUMBER);
    assert_int_equal(belay_field_set(client, key, n, belay_text("41"), NULL), BELAY_OK);
    assert_int_equal(belay_field_add(client, key, n, 1, &result), BELAY_OK);
    assert_int_equal(belay_result_change(result, 0), 42);
    belay_result_destroy(result);
}

/* One change that fails takes all others with it. */
static void test_a_write_is_atomic(void **state)
{
    struct belay_bytes key = new_key();

    (void)state;
    assert_int_equal(belay_field_set(client, key, belay_text("t"), belay_text("ten"), NULL),
                     BELAY_OK);
    struct belay_request *write = update(key);
    belay_write_set(write, belay_text("new"), belay_text("v"));
    belay_write_owner(write, belay_text("me"));
    belay_write_add(write, belay_text("t"), 1);
    run(write, BELAY_NOT_A_NUMBER);
    assert_field(key, "new", NULL);
    struct belay_result *result;
    assert_int_equal(belay_get_meta(client, key, &result), BELAY_OK);
    assert_int_equal(belay_result_owner(result).size, 0);
    belay_result_destroy(result);
}

static void test_field_deadlines(void **state)
{
    struct belay_bytes key = new_key(), f = belay_text("f"), g = belay_text("g");
    struct belay_result *result;

    (void)state;
    uint64_t until_ms = wall_ms() + 200;
    struct belay_request *write = upsert(key);
    belay_write_set_until(write, f, belay_text("short"), until_ms);
    belay_write_set_until(write, g, belay_text("kept"), until_ms);
    belay_write_until(write, g, 0);
    belay_write_until(write, belay_text("none"), until_ms);
    result = run_for(write, BELAY_OK);
    assert_int_equal(belay_result_change(result, 0), 1);
    assert_int_equal(belay_result_change(result, 2), 1);
    assert_int_equal(belay_result_change(result, 3), 0);
    belay_result_destroy(result);
    struct belay_bytes found;
    int there = 1;
    uint64_t end_ms = wall_ms() + 20000;
    while (there) {
        assert_int_equal(belay_get(client, key, &result), BELAY_OK);
        there = belay_result_find(result, f, &found);
        belay_result_destroy(result);
        assert_true(wall_ms() < end_ms);
    }
    assert_true(wall_ms() + CLOCK_SLACK_MS >= until_ms);
    assert_field(key, "g", "kept");
}

static void test_owner(void **state)
{
    struct belay_bytes key = new_key();
    struct belay_result *result;

    (void)state;
    struct belay_request *write = upsert(key);
    belay_write_set(write, belay_text("f"), belay_text("v"));
    belay_write_owner(write, belay_text("ada"));
    run(write, BELAY_OK);
    assert_int_equal(belay_get_meta(client, key, &result), BELAY_OK);
    assert_text(belay_result_owner(result), "ada");
    belay_result_destroy(result);
    write = update(key);
    belay_write_owner(write, belay_text(""));
    run(write, BELAY_OK);
    assert_int_equal(belay_get_meta(client, key, &result), BELAY_OK);
    assert_int_equal(belay_result_owner(result).size, 0);
    belay_result_destroy(result);
}

/* ---- Sets ---- */

static void test_sets(void **state)
{
    struct belay_bytes key = new_key();
    struct belay_result *result;
    struct belay_field field;
    size_t position = 0;

    (void)state;
    struct belay_request *write = upsert(key);
    belay_write_add_member(write, belay_text("b"));
    belay_write_add_member(write, belay_text("a"));
    belay_write_add_member(write, belay_text("b"));
    belay_write_delete(write, belay_text("c"));
    result = run_for(write, BELAY_OK);
    const int64_t wanted[] = {1, 1, 0, 0};
    for (size_t i = 0; i < 4; i++) {
        assert_int_equal(belay_result_change(result, i), wanted[i]);
    }
    belay_result_destroy(result);
    assert_int_equal(belay_get(client, key, &result), BELAY_OK);
    assert_int_equal(belay_result_type(result), BELAY_SET);
    assert_int_equal(belay_result_field(result, &position, &field), 1);
    assert_text(field.name, "a");
    assert_int_equal(belay_result_field(result, &position, &field), 1);
    assert_text(field.name, "b");
    assert_int_equal(belay_result_field(result, &position, &field), 0);
    belay_result_destroy(result);
}

static void test_zsets(void **state)
{
    struct belay_bytes key = new_key(), m = belay_text("m");
    struct belay_result *result;
    struct belay_field field;
    size_t position = 0;

    (void)state;
    struct belay_request *write = upsert(key);
    belay_write_set_score(write, m, 1.5, BELAY_SCORE_XX);
    belay_write_set_score(write, m, 2.5, BELAY_SCORE_NX);
    belay_write_set_score(write, m, 3.5, BELAY_SCORE_NX);
    belay_write_set_score(write, m, 2, BELAY_SCORE_GT);
    belay_write_set_score(write, m, 2, BELAY_SCORE_LT);
    belay_write_add_score(write, m, 0.25);
    belay_write_add_score(write, belay_text("new"), -1);
    belay_write_set_score(write, m, 2.25, 0);
    result = run_for(write, BELAY_OK);
    const double wanted[] = {0, 1, 0, 0, 2, 2.25, -1, 0};
    for (size_t i = 0; i < 8; i++) {
        assert_true(belay_result_score(result, i) == wanted[i]);
    }
    assert_int_equal(belay_result_change(result, 5), 2);
    belay_result_destroy(result);
    assert_int_equal(belay_get(client, key, &result), BELAY_OK);
    assert_int_equal(belay_result_type(result), BELAY_ZSET);
    assert_int_equal(belay_result_field(result, &position, &field), 1);
    assert_text(field.name, "m");
    assert_true(field.score == 2.25);
    assert_int_equal(belay_result_field(result, &position, &field), 1);
    assert_true(field.score == -1);
    assert_int_equal(belay_result_field(result, &position, &field), 0);
    belay_result_destroy(result);
}

static void test_wrong_type(void **state)
{
    struct belay_bytes key = new_key();

    (void)state;
    assert_int_equal(belay_field_set(client, key, belay_text("f"), belay_text("v"), NULL),
                     BELAY_OK);
    struct belay_request *write = update(key);
    belay_write_add_member(write, belay_text("m"));
    run(write, BELAY_WRONG_TYPE);
    write = update(key);
    belay_write_set_score(write, belay_text("m"), 1, 0);
    run(write, BELAY_WRONG_TYPE);
    assert_field(key, "f", "v");
}

/* ---- Bytes and limits ---- */

static void test_any_bytes(void **state)
{
    unsigned char key[512], value[256];
    struct belay_result *result;

    (void)state;
    for (size_t i = 0; i < sizeof key; i++) {
        key[i] = (unsigned char)(255 - i);
    }
    for (size_t i = 0; i < sizeof value; i++) {
        value[i] = (unsigned char)i;
    }
    struct belay_bytes k = belay_bytes_of(key, sizeof key);
    struct belay_bytes v = belay_bytes_of(value, sizeof value);
    struct belay_request *write = upsert(k);
    belay_write_set(write, v, v);
    run(write, BELAY_OK);
    assert_int_equal(belay_get(client, k, &result), BELAY_OK);
    struct belay_bytes found;
    assert_int_equal(belay_result_find(result, v, &found), 1);
    assert_same(found, v);
    belay_result_destroy(result);
}

static void test_large_values_and_their_limit(void **state)
{
    struct belay_bytes key = new_key();
    struct belay_result *result;
    unsigned char *value = malloc(2 * MIB);

    (void)state;
    assert_non_null(value);
    for (size_t i = 0; i < 2 * MIB; i++) {
        value[i] = (unsigned char)(i * 31 + i / 257);
    }
    struct belay_bytes fits = belay_bytes_of(value, MIB); /* The limit itself. */
    assert_int_equal(belay_put(client, key, fits, NULL), BELAY_OK);
    assert_int_equal(belay_put(client, key, belay_bytes_of(value, 2 * MIB), &result),
                     BELAY_SESSION_TOO_LARGE);
    belay_result_destroy(result);
    assert_int_equal(belay_append(client, key, fits, NULL), BELAY_SESSION_TOO_LARGE);
    assert_int_equal(belay_get(client, key, &result), BELAY_OK);
    assert_same(belay_result_value(result), fits);
    belay_result_destroy(result);
    assert_int_equal(belay_client_counter(client, BELAY_COUNT_DISCONNECTS), 0);
    free(value);
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_fields),
        cmocka_unit_test(test_numbers),
        cmocka_unit_test(test_a_write_is_atomic),
        cmocka_unit_test(test_field_deadlines),
        cmocka_unit_test(test_owner),
        cmocka_unit_test(test_sets),
        cmocka_unit_test(test_zsets),
        cmocka_unit_test(test_wrong_type),
        cmocka_unit_test(test_any_bytes),
        cmocka_unit_test(test_large_values_and_their_limit),
    };

    return ops_begin(argc, argv) ? ops_end(cmocka_run_group_tests(tests, NULL, NULL)) : 2;
}
