/* The life of sessions through libbelay: beginning and end, deadlines, versions, ack levels. */
#include "ops_kit.h"

/* ---- Life and death ---- */

static void test_create_is_exclusive(void **state)
{
    struct belay_bytes key = new_key();
    struct belay_result *result;

    (void)state;
    assert_int_equal(belay_create(client, key, belay_text("one"), 60000, &result), BELAY_OK);
    assert_int_equal(belay_result_created(result), 1);
    assert_int_equal(belay_result_ack(result), BELAY_ACK_MEMORY);
    assert_true(belay_result_version(result).size > 0);
    assert_true(belay_result_hlc(result) >> 16 > UINT64_C(1600000000000));
    assert_non_null(strstr(belay_result_node(result), server));
    belay_result_destroy(result);
    assert_int_equal(belay_create(client, key, belay_text("two"), 0, NULL), BELAY_EXISTS);
    assert_int_equal(belay_get(client, key, &result), BELAY_OK);
    assert_text(belay_result_value(result), "one");
    assert_int_equal(belay_result_type(result), BELAY_BLOB);
    uint64_t left_ms = belay_result_absolute_ms(result) - wall_ms();
    assert_in_range(left_ms, 1, 60000 + CLOCK_SLACK_MS); /* Two clocks, each rounded. */
    assert_true(belay_result_deadline_ms(result) == belay_result_absolute_ms(result));
    assert_true(belay_result_created_ms(result) <= wall_ms() + CLOCK_SLACK_MS);
    belay_result_destroy(result);
}

static void test_delete_ends_it(void **state)
{
    struct belay_bytes key = new_key();
    struct belay_result *result;

    (void)state;
    assert_int_equal(belay_get(client, key, NULL), BELAY_NOT_FOUND);
    assert_int_equal(belay_put(client, key, belay_text("v"), NULL), BELAY_OK);
    assert_int_equal(belay_delete(client, key, &result), BELAY_OK);
    assert_int_equal(belay_result_change(result, 0), 1);
    belay_result_destroy(result);
    assert_int_equal(belay_delete(client, key, &result), BELAY_OK);
    assert_int_equal(belay_result_change(result, 0), 0);
    belay_result_destroy(result);
    assert_int_equal(belay_get(client, key, NULL), BELAY_NOT_FOUND);
    assert_int_equal(belay_put(client, key, belay_text("again"), &result), BELAY_OK);
    assert_int_equal(belay_result_created(result), 1);
    belay_result_destroy(result);
    assert_int_equal(belay_get(client, key, NULL), BELAY_OK);
}

static void test_put_and_update(void **state)
{
    struct belay_bytes key = new_key();
    struct belay_result *result;

    (void)state;
    struct belay_request *write = update(key);
    belay_write_value(write, belay_text("v"));
    run(write, BELAY_NOT_FOUND);
    assert_int_equal(belay_put(client, key, belay_text("v"), &result), BELAY_OK);
    assert_int_equal(belay_result_created(result), 1);
    belay_result_destroy(result);
    assert_int_equal(belay_put(client, key, belay_text("w"), &result), BELAY_OK);
    assert_int_equal(belay_result_created(result), 0);
    belay_result_destroy(result);
    write = update(key);
    belay_write_value(write, belay_text("x"));
    run(write, BELAY_OK);
    assert_int_equal(belay_append(client, key, belay_text("yz"), &result), BELAY_OK);
    assert_int_equal(belay_result_change(result, 0), 3);
    belay_result_destroy(result);
    assert_int_equal(belay_get(client, key, &result), BELAY_OK);
    assert_text(belay_result_value(result), "xyz");
    belay_result_destroy(result);
    run(upsert(new_key()), BELAY_NOT_FOUND); /* A write of nothing begins nothing. */
}

static void test_deadlines(void **state)
{
    struct belay_bytes key = new_key();

    (void)state;
    uint64_t start_ms = wall_ms();
    assert_int_equal(belay_create(client, key, belay_text("v"), 150, NULL), BELAY_OK);
    wait_until_gone(key, start_ms + 150);

    /* The earlier of both counts; removed deadlines count no more. */
    struct belay_request *write = upsert(key);
    belay_write_value(write, belay_text("v"));
    belay_write_absolute(write, wall_ms() + 3600000);
    belay_write_idle(write, 100000);
    run(write, BELAY_OK);
    struct belay_result *result;
    assert_int_equal(belay_get_meta(client, key, &result), BELAY_OK);
    assert_int_equal(belay_result_idle_ms(result), 100000);
    assert_true(belay_result_deadline_ms(result) < belay_result_absolute_ms(result));
    assert_true(belay_result_last_access_ms(result) + 100000 == belay_result_deadline_ms(result));
    assert_int_equal(belay_result_value(result).size, 0);
    assert_int_equal(belay_result_value_bytes(result), 1);
    belay_result_destroy(result);
    write = update(key);
    belay_write_idle(write, 0);
    belay_write_absolute(write, 0);
    run(write, BELAY_OK);
    assert_int_equal(belay_get_meta(client, key, &result), BELAY_OK);
    assert_true(belay_result_deadline_ms(result) == 0 && belay_result_idle_ms(result) == 0);
    belay_result_destroy(result);

    start_ms = wall_ms();
    assert_int_equal(belay_expire(client, key, 100, NULL), BELAY_OK);
    wait_until_gone(key, start_ms + 100);
    assert_int_equal(belay_expire(client, key, 100, NULL), BELAY_NOT_FOUND);
}

static void test_touch_keeps_it_alive(void **state)
{
    struct belay_bytes key = new_key();

    (void)state;
    struct belay_request *write = upsert(key);
    belay_write_value(write, belay_text("v"));
    belay_write_idle(write, 400);
    uint64_t touched_ms = wall_ms(); /* Or before. */
    run(write, BELAY_OK);
    uint64_t end_ms = wall_ms() + 1200;
    for (uint64_t now_ms = wall_ms(); now_ms < end_ms; now_ms = wall_ms()) {
        enum belay_status status = belay_touch(client, key, NULL);
        if (status == BELAY_NOT_FOUND && wall_ms() - touched_ms > 300) {
            return; /* This machine stood still for longer than the idle time. */
        }
        assert_int_equal(status, BELAY_OK);
        touched_ms = now_ms;
    }
    wait_until_gone(key, touched_ms + 400);
}

/* ---- Compare and set ---- */

static void test_compare_and_set(void **state)
{
    struct belay_bytes key = new_key();
    struct belay_result *result;

    (void)state;
    assert_int_equal(belay_put(client, key, belay_text("1"), &result), BELAY_OK);
    struct token first = token_of(result);
    belay_result_destroy(result);
    assert_int_equal(belay_get(client, key, &result), BELAY_OK);
    assert_same(belay_result_version(result), bytes_of_token(&first));
    belay_result_destroy(result);
    assert_int_equal(
        belay_put_if_version(client, key, belay_text("2"), bytes_of_token(&first), &result),
        BELAY_OK);
    struct token second = token_of(result);
    belay_result_destroy(result);
    assert_int_equal(
        belay_put_if_version(client, key, belay_text("3"), bytes_of_token(&first), NULL),
        BELAY_VERSION_MISMATCH);
    struct belay_request *write = update(key); /* On any write: a deadline, an end. */
    belay_write_if_version(write, bytes_of_token(&first));
    belay_write_ttl(write, 1000);
    run(write, BELAY_VERSION_MISMATCH);
    write = update(key);
    belay_write_if_version(write, bytes_of_token(&first));
    belay_write_destroy(write);
    run(write, BELAY_VERSION_MISMATCH);
    struct belay_request *get = belay_get_begin(client, key, 0);
    belay_get_floor(get, bytes_of_token(&second));
    result = run_for(get, BELAY_OK);
    assert_text(belay_result_value(result), "2");
    belay_result_destroy(result);
    write = update(key);
    belay_write_if_version(write, bytes_of_token(&second));
    belay_write_destroy(write);
    run(write, BELAY_OK);
    assert_int_equal(belay_get(client, key, NULL), BELAY_NOT_FOUND);
}

/* ---- Ack levels ---- */

static void test_ack_levels(void **state)
{
    struct belay_bytes key = new_key();
    const enum belay_ack asked[] = {BELAY_ACK_MEMORY, BELAY_ACK_REPLICA, BELAY_ACK_DISK};
    const enum belay_ack reached[] = {BELAY_ACK_MEMORY, BELAY_ACK_MEMORY, BELAY_ACK_DISK};

    (void)state;
    for (size_t i = 0; i < 3; i++) {
        struct belay_request *write = upsert(key);
        belay_write_value(write, belay_text("v"));
        belay_write_ack(write, asked[i]);
        struct belay_result *result = run_for(write, BELAY_OK);
        assert_int_equal(belay_result_ack(result), reached[i]);
        belay_result_destroy(result);
    }
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_create_is_exclusive),  cmocka_unit_test(test_delete_ends_it),
        cmocka_unit_test(test_put_and_update),       cmocka_unit_test(test_deadlines),
        cmocka_unit_test(test_touch_keeps_it_alive), cmocka_unit_test(test_compare_and_set),
        cmocka_unit_test(test_ack_levels),
    };

    return ops_begin(argc, argv) ? ops_end(cmocka_run_group_tests(tests, NULL, NULL)) : 2;
}
