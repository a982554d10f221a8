/* Every operation of libbelay against a real belayd, through the public header alone.
 *
 * client_ops HOST:PORT: run by test_client.py, on a fresh server of two shards.
 */
#include <belay/belay.h>
#include <stdio.h>
#include <time.h>

#include "check.h"

enum {
    MIB = 1024 * 1024,
    CLOCK_SLACK_MS =
        50, /* The server's clock counts on from its start, and stands still for a turn. */
};

static const char *server;
static struct belay_client *client;

/* ---- Helpers ---- */

static struct belay_client *client_with(uint32_t connections)
{
    struct belay_options *options = belay_options_create();
    struct belay_client *made;

    assert_non_null(options);
    assert_int_equal(belay_options_servers(options, server), BELAY_OK);
    belay_options_connections(options, 1, connections);
    belay_options_timeout_ms(options, 30000);
    assert_int_equal(belay_client_create(options, &made), BELAY_OK);
    belay_options_destroy(options);
    return made;
}

/* A key that no other test uses. */
static struct belay_bytes new_key(void)
{
    static char text[40];
    static unsigned number;

    snprintf(text, sizeof text, "ops:%u", ++number);
    return belay_text(text);
}

static uint64_t wall_ms(void)
{
    struct timespec now;

    clock_gettime(CLOCK_REALTIME, &now);
    return (uint64_t)now.tv_sec * 1000 + (uint64_t)now.tv_nsec / 1000000;
}

/* Run, expect a status, give the result back. */
static struct belay_result *run_for(struct belay_request *request, enum belay_status wanted)
{
    struct belay_result *result = NULL;
    enum belay_status status = belay_run(request, &result);

    if (status != wanted) {
        fail_msg("%s, not %s: %s", belay_status_name(status), belay_status_name(wanted),
                 result == NULL ? "" : belay_result_text(result));
    }
    return result;
}

static void run(struct belay_request *request, enum belay_status wanted)
{
    belay_result_destroy(run_for(request, wanted));
}

static struct belay_request *update(struct belay_bytes key)
{
    return belay_write_begin(client, key, BELAY_UPDATE);
}

static struct belay_request *upsert(struct belay_bytes key)
{
    return belay_write_begin(client, key, BELAY_UPSERT);
}

static void assert_same(struct belay_bytes a, struct belay_bytes b)
{
    assert_int_equal(a.size, b.size);
    if (a.size > 0) {
        assert_memory_equal(a.data, b.data, a.size);
    }
}

static void assert_text(struct belay_bytes bytes, const char *text_wanted)
{
    assert_same(bytes, belay_text(text_wanted));
}

static void assert_field(struct belay_bytes key, const char *name, const char *value)
{
    struct belay_bytes found, asked = belay_text(name);
    struct belay_result *result;

    assert_int_equal(belay_get_fields(client, key, &asked, 1, &result), BELAY_OK);
    if (value == NULL) {
        assert_int_equal(belay_result_find(result, asked, &found), 0);
    } else {
        assert_int_equal(belay_result_find(result, asked, &found), 1);
        assert_text(found, value);
    }
    belay_result_destroy(result);
}

/* A token that outlives its result. */
struct token {
    unsigned char bytes[1024];
    size_t size;
};

static struct token token_of(struct belay_result *result)
{
    struct token token = {.size = belay_result_version(result).size};

    assert_in_range(token.size, 1, sizeof token.bytes);
    memcpy(token.bytes, belay_result_version(result).data, token.size);
    return token;
}

static struct belay_bytes bytes_of_token(const struct token *token)
{
    return belay_bytes_of(token->bytes, token->size);
}

static void wait_until_gone(struct belay_bytes key, uint64_t not_before_ms)
{
    struct belay_result *result;
    uint64_t end_ms = wall_ms() + 20000;

    while (belay_get_meta(client, key, &result) == BELAY_OK) {
        belay_result_destroy(result);
        assert_true(wall_ms() < end_ms);
    }
    assert_int_equal(belay_result_status(result), BELAY_NOT_FOUND);
    belay_result_destroy(result);
    assert_true(wall_ms() + CLOCK_SLACK_MS >= not_before_ms);
}

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
    run(write, BELAY_OK);
    uint64_t end_ms = wall_ms() + 1200;
    uint64_t touched_ms = 0;
    while (wall_ms() < end_ms) {
        touched_ms = wall_ms();
        enum belay_status status = belay_touch(client, key, NULL);
        if (status == BELAY_NOT_FOUND && wall_ms() - touched_ms > 300) {
            return; /* This machine stood still for longer than the idle time. */
        }
        assert_int_equal(status, BELAY_OK);
    }
    wait_until_gone(key, touched_ms + 400);
}

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

/* ---- Many keys ---- */

static struct belay_bytes numbered(char *text, size_t text_size, const char *prefix, int number)
{
    snprintf(text, text_size, "%s%d", prefix, number);
    return belay_text(text);
}

static void test_many_keys_in_one_request(void **state)
{
    enum { KEYS = 200 };
    char text[40];

    (void)state;
    struct belay_request *request = belay_write_many_begin(client, BELAY_CREATE);
    for (int i = 0; i < KEYS; i++) {
        belay_write_many_key(request, numbered(text, sizeof text, "many:", i));
        belay_write_set(request, belay_text("n"), numbered(text, sizeof text, "", i));
        belay_write_add(request, belay_text("m"), i);
    }
    struct belay_result *result = run_for(request, BELAY_OK);
    assert_int_equal(belay_result_item_count(result), KEYS);
    for (size_t i = 0; i < KEYS; i++) {
        struct belay_result *item = belay_result_item(result, i);
        assert_int_equal(belay_result_status(item), BELAY_OK);
        assert_int_equal(belay_result_change(item, 1), (int64_t)i);
        assert_int_equal(belay_result_created(item), 1);
    }
    belay_result_destroy(result);

    request = belay_get_many_begin(client, 0);
    for (int i = 0; i < KEYS + 5; i++) {
        belay_get_many_key(request, numbered(text, sizeof text, "many:", i));
    }
    result = run_for(request, BELAY_OK);
    assert_int_equal(belay_result_item_count(result), KEYS + 5);
    for (size_t i = 0; i < KEYS + 5; i++) {
        struct belay_result *item = belay_result_item(result, i);
        struct belay_bytes value;
        if (i >= KEYS) {
            assert_int_equal(belay_result_status(item), BELAY_NOT_FOUND);
            continue;
        }
        assert_int_equal(belay_result_find(item, belay_text("n"), &value), 1);
        assert_same(value, numbered(text, sizeof text, "", (int)i));
    }
    belay_result_destroy(result);

    request = belay_write_many_begin(client, BELAY_CREATE);
    belay_write_many_key(request, belay_text("many:0"));
    belay_write_set(request, belay_text("n"), belay_text("x"));
    belay_write_many_key(request, belay_text("many:fresh"));
    belay_write_set(request, belay_text("n"), belay_text("x"));
    result = run_for(request, BELAY_OK);
    assert_int_equal(belay_result_status(belay_result_item(result, 0)), BELAY_EXISTS);
    assert_int_equal(belay_result_status(belay_result_item(result, 1)), BELAY_OK);
    belay_result_destroy(result);
}

static void test_scan_finds_all(void **state)
{
    enum { KEYS = 700 };
    static int seen[KEYS];
    char text[40];
    uint64_t cursor = 0;
    int rounds = 0;

    (void)state;
    for (int i = 0; i < KEYS; i++) {
        assert_int_equal(
            belay_put(client, numbered(text, sizeof text, "scan:", i), belay_text("v"), NULL),
            BELAY_OK);
    }
    do {
        struct belay_bytes key;
        size_t position = 0;
        struct belay_result *result = run_for(
            belay_scan_begin(client, cursor, belay_text("scan:"), BELAY_BLOB, 50), BELAY_OK);
        while (belay_result_key(result, &position, &key)) {
            assert_in_range(key.size, 6, sizeof text - 1);
            memcpy(text, key.data, key.size);
            text[key.size] = '\0';
            int number = atoi(text + 5);
            assert_in_range(number, 0, KEYS - 1);
            seen[number]++;
        }
        cursor = belay_result_cursor(result);
        belay_result_destroy(result);
        assert_true(++rounds < 10000);
    } while (cursor != 0);
    for (int i = 0; i < KEYS; i++) {
        assert_int_equal(seen[i], 1);
    }
    struct belay_bytes key;
    size_t position = 0;
    struct belay_result *result =
        run_for(belay_scan_begin(client, 0, belay_text("scan:"), BELAY_ZSET, 10000), BELAY_OK);
    assert_int_equal(belay_result_key(result, &position, &key), 0);
    belay_result_destroy(result);
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

/* ---- The server about itself ---- */

static void test_inspect_and_admin(void **state)
{
    struct belay_bytes key = new_key();

    (void)state;
    assert_int_equal(belay_field_set(client, key, belay_text("f"), belay_text("seen"), NULL),
                     BELAY_OK);
    struct belay_result *result = run_for(belay_inspect_begin(client, key), BELAY_OK);
    struct belay_bytes json = belay_result_value(result);
    assert_non_null(memmem(json.data, json.size, "\"seen\"", 6));
    belay_result_destroy(result);
    result = run_for(belay_admin_begin(client, "status", NULL), BELAY_OK);
    json = belay_result_value(result);
    assert_non_null(memmem(json.data, json.size, "\"uptime_ms\"", 11));
    belay_result_destroy(result);
    run(belay_admin_begin(client, "no-such-command", "x"), BELAY_UNSUPPORTED);
    run(belay_ping_begin(client), BELAY_OK);
    run(belay_inspect_begin(client, belay_text("ops:never")), BELAY_NOT_FOUND);
}

/* ---- Connections ---- */

/* With a single connection, the server hands on what belongs to the other shard. */
static void test_any_connection_serves_any_key(void **state)
{
    struct belay_client *narrow = client_with(1);
    char text[40];

    (void)state;
    for (int i = 0; i < 50; i++) {
        struct belay_bytes key = numbered(text, sizeof text, "hop:", i);
        struct belay_result *result;
        assert_int_equal(belay_put(narrow, key, key, NULL), BELAY_OK);
        assert_int_equal(belay_get(client, key, &result), BELAY_OK);
        assert_same(belay_result_value(result), key);
        belay_result_destroy(result);
    }
    assert_int_equal(belay_client_shards(narrow), 2);
    assert_int_equal(belay_client_counter(narrow, BELAY_COUNT_CONNECTS), 1);
    belay_client_destroy(narrow);
}

struct counts {
    uint64_t ok, other;
};

static void counted(struct belay_result *result, void *context)
{
    struct counts *counts = context;

    if (belay_result_status(result) == BELAY_OK) {
        counts->ok++;
    } else {
        counts->other++;
    }
}

/* More requests at once than a connection takes; each adds one, and all are there. */
static void test_pipelining(void **state)
{
    enum { ADDS = 5000 };
    struct counts counts = {0, 0};
    struct belay_result *result;
    int64_t sum = 0;
    char text[40];

    (void)state;
    for (int i = 0; i < ADDS; i++) {
        struct belay_request *write = upsert(numbered(text, sizeof text, "adds:", i % 7));
        belay_write_add(write, belay_text("n"), 1);
        assert_int_equal(belay_send(write, counted, &counts), BELAY_OK);
    }
    belay_client_run(client);
    assert_int_equal(counts.ok, ADDS);
    for (int i = 0; i < 7; i++) {
        assert_int_equal(belay_field_add(client, numbered(text, sizeof text, "adds:", i),
                                         belay_text("n"), 0, &result),
                         BELAY_OK);
        sum += belay_result_change(result, 0);
        belay_result_destroy(result);
    }
    assert_int_equal(sum, ADDS);
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_create_is_exclusive),
        cmocka_unit_test(test_delete_ends_it),
        cmocka_unit_test(test_put_and_update),
        cmocka_unit_test(test_deadlines),
        cmocka_unit_test(test_touch_keeps_it_alive),
        cmocka_unit_test(test_fields),
        cmocka_unit_test(test_numbers),
        cmocka_unit_test(test_a_write_is_atomic),
        cmocka_unit_test(test_field_deadlines),
        cmocka_unit_test(test_owner),
        cmocka_unit_test(test_sets),
        cmocka_unit_test(test_zsets),
        cmocka_unit_test(test_wrong_type),
        cmocka_unit_test(test_compare_and_set),
        cmocka_unit_test(test_ack_levels),
        cmocka_unit_test(test_many_keys_in_one_request),
        cmocka_unit_test(test_scan_finds_all),
        cmocka_unit_test(test_any_bytes),
        cmocka_unit_test(test_large_values_and_their_limit),
        cmocka_unit_test(test_inspect_and_admin),
        cmocka_unit_test(test_any_connection_serves_any_key),
        cmocka_unit_test(test_pipelining),
    };

    if (argc != 2) {
        fprintf(stderr, "usage: client_ops HOST:PORT\n");
        return 2;
    }
    server = argv[1];
    client = client_with(0);
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    belay_client_destroy(client);
    return failed;
}
