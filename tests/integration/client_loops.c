/* Every operation of libbelay asynchronously, each from the answer to the one before: in the client's own
 * loop, in the caller's, and with a descriptor to poll. */
#include <poll.h>
#include <uv.h>

#include "ops_kit.h"

/* One life of a session and of its neighbours, as it goes on from answer to answer. */
struct walk {
    struct belay_client *client;
    const char *name; /* All its keys begin so. */
    size_t next, closed;
    struct token first, newest; /* Versions of the map. */
    char text[8][40];           /* Of the keys of the request being built. */
    size_t texts;
};

static struct belay_bytes key_in(struct walk *walk, const char *part)
{
    char *text = walk->text[walk->texts++ % 8];

    snprintf(text, sizeof walk->text[0], "%s:%s", walk->name, part);
    return belay_text(text);
}

static struct belay_request *write_in(struct walk *walk, const char *part, enum belay_mode mode)
{
    return belay_write_begin(walk->client, key_in(walk, part), mode);
}

/* ---- The steps ---- */

static struct belay_request *step_ping(struct walk *walk)
{
    return belay_ping_begin(walk->client);
}

static struct belay_request *step_get(struct walk *walk)
{
    return belay_get_begin(walk->client, key_in(walk, "map"), 0);
}

static struct belay_request *step_update(struct walk *walk)
{
    struct belay_request *write = write_in(walk, "map", BELAY_UPDATE);

    belay_write_set(write, belay_text("f"), belay_text("updated"));
    belay_write_touch(write);
    return write;
}

static struct belay_request *step_create(struct walk *walk)
{
    struct belay_request *write = write_in(walk, "map", BELAY_CREATE);

    belay_write_type(write, BELAY_MAP);
    belay_write_set(write, belay_text("f"), belay_text("v"));
    belay_write_ttl(write, 3600000);
    belay_write_idle(write, 60000);
    belay_write_owner(write, belay_text("me"));
    return write;
}

static struct belay_request *step_fields(struct walk *walk)
{
    struct belay_request *write = write_in(walk, "map", BELAY_UPSERT);

    belay_write_set(write, belay_text("g"), belay_text("v"));
    belay_write_set_until(write, belay_text("u"), belay_text("v"), wall_ms() + 60000);
    belay_write_until(write, belay_text("u"), 0);
    belay_write_add(write, belay_text("n"), 42);
    belay_write_append(write, belay_text("g"), belay_text("w"));
    belay_write_delete(write, belay_text("f"));
    belay_write_absolute(write, wall_ms() + 7200000);
    belay_write_ack(write, BELAY_ACK_DISK);
    return write;
}

static struct belay_request *step_get_fields(struct walk *walk)
{
    struct belay_request *get = belay_get_begin(walk->client, key_in(walk, "map"), 0);

    belay_get_field(get, belay_text("g"));
    belay_get_field(get, belay_text("f"));
    belay_get_floor(get, bytes_of_token(&walk->newest));
    return get;
}

static struct belay_request *step_get_meta(struct walk *walk)
{
    return belay_get_begin(walk->client, key_in(walk, "map"), BELAY_GET_META);
}

static struct belay_request *step_stale(struct walk *walk)
{
    struct belay_request *write = write_in(walk, "map", BELAY_UPSERT);

    belay_write_if_version(write, bytes_of_token(&walk->first));
    belay_write_clear(write);
    return write;
}

static struct belay_request *step_compare_and_set(struct walk *walk)
{
    struct belay_request *write = write_in(walk, "map", BELAY_UPSERT);

    belay_write_if_version(write, bytes_of_token(&walk->newest));
    belay_write_clear(write);
    return write;
}

static struct belay_request *step_set(struct walk *walk)
{
    struct belay_request *write = write_in(walk, "set", BELAY_UPSERT);

    belay_write_add_member(write, belay_text("a"));
    belay_write_add_member(write, belay_text("b"));
    belay_write_delete(write, belay_text("a"));
    return write;
}

static struct belay_request *step_zset(struct walk *walk)
{
    struct belay_request *write = write_in(walk, "zset", BELAY_UPSERT);

    belay_write_set_score(write, belay_text("a"), 1.5, BELAY_SCORE_NX);
    belay_write_add_score(write, belay_text("a"), 1);
    return write;
}

static struct belay_request *step_wrong_type(struct walk *walk)
{
    struct belay_request *write = write_in(walk, "zset", BELAY_UPSERT);

    belay_write_add_member(write, belay_text("a"));
    return write;
}

static struct belay_request *step_blob(struct walk *walk)
{
    struct belay_request *write = write_in(walk, "blob", BELAY_UPSERT);

    belay_write_value(write, belay_text("value"));
    return write;
}

static struct belay_request *step_write_many(struct walk *walk)
{
    struct belay_request *many = belay_write_many_begin(walk->client, BELAY_UPSERT);

    belay_write_many_key(many, key_in(walk, "blob"));
    belay_write_append(many, belay_text(""), belay_text("s"));
    belay_write_many_key(many, key_in(walk, "set")); /* The type holds for all. */
    belay_write_append(many, belay_text(""), belay_text("s"));
    return many;
}

static struct belay_request *step_get_many(struct walk *walk)
{
    struct belay_request *many = belay_get_many_begin(walk->client, 0);

    belay_get_many_key(many, key_in(walk, "blob"));
    belay_get_many_key(many, key_in(walk, "none"));
    return many;
}

static struct belay_request *step_scan(struct walk *walk)
{
    return belay_scan_begin(walk->client, 0, belay_text(walk->name), BELAY_NONE, 10000);
}

static struct belay_request *step_inspect(struct walk *walk)
{
    return belay_inspect_begin(walk->client, key_in(walk, "zset"));
}

static struct belay_request *step_admin(struct walk *walk)
{
    return belay_admin_begin(walk->client, "config", NULL);
}

static struct belay_request *step_destroy(struct walk *walk)
{
    struct belay_request *write = write_in(walk, "map", BELAY_UPSERT);

    belay_write_destroy(write);
    belay_request_timeout_ms(write, 20000);
    belay_request_no_retry(write);
    return write;
}

/* ---- What the answers say ---- */

static void check_fields(struct walk *walk, struct belay_result *result)
{
    const int64_t wanted[] = {1, 1, 1, 42, 2, 1, 0};

    for (size_t i = 0; i < sizeof wanted / sizeof wanted[0]; i++) {
        assert_int_equal(belay_result_change(result, i), wanted[i]);
    }
    assert_int_equal(belay_result_ack(result), BELAY_ACK_DISK);
    walk->newest = token_of(result);
}

static void check_created(struct walk *walk, struct belay_result *result)
{
    assert_int_equal(belay_result_created(result), 1);
    walk->first = token_of(result);
}

static void check_chosen(struct walk *walk, struct belay_result *result)
{
    struct belay_bytes value;

    (void)walk;
    assert_int_equal(belay_result_find(result, belay_text("g"), &value), 1);
    assert_text(value, "vw");
    assert_int_equal(belay_result_find(result, belay_text("f"), &value), 0);
}

static void check_meta(struct walk *walk, struct belay_result *result)
{
    assert_int_equal(belay_result_type(result), BELAY_MAP);
    assert_int_equal(belay_result_field_count(result), 3);
    assert_int_equal(belay_result_idle_ms(result), 60000);
    assert_text(belay_result_owner(result), "me");
    assert_same(belay_result_version(result), bytes_of_token(&walk->newest));
}

static void check_score(struct walk *walk, struct belay_result *result)
{
    (void)walk;
    assert_true(belay_result_score(result, 1) == 2.5);
}

static void check_written(struct walk *walk, struct belay_result *result)
{
    (void)walk;
    assert_int_equal(belay_result_change(belay_result_item(result, 0), 0), 6);
    assert_int_equal(belay_result_status(belay_result_item(result, 1)), BELAY_WRONG_TYPE);
}

static void check_many(struct walk *walk, struct belay_result *result)
{
    (void)walk;
    assert_text(belay_result_value(belay_result_item(result, 0)), "values");
    assert_int_equal(belay_result_status(belay_result_item(result, 1)), BELAY_NOT_FOUND);
}

static void check_keys(struct walk *walk, struct belay_result *result)
{
    struct belay_bytes key;
    size_t position = 0, count = 0;

    while (belay_result_key(result, &position, &key)) {
        assert_memory_equal(key.data, walk->name, strlen(walk->name));
        count++;
    }
    assert_true(count <= 4);
}

static const struct {
    struct belay_request *(*begin)(struct walk *walk);
    enum belay_status wanted;
    void (*check)(struct walk *walk, struct belay_result *result); /* May be NULL. */
} steps[] = {
    {step_ping, BELAY_OK, NULL},
    {step_get, BELAY_NOT_FOUND, NULL},
    {step_update, BELAY_NOT_FOUND, NULL},
    {step_create, BELAY_OK, check_created},
    {step_create, BELAY_EXISTS, NULL},
    {step_update, BELAY_OK, NULL},
    {step_fields, BELAY_OK, check_fields},
    {step_get_fields, BELAY_OK, check_chosen},
    {step_get_meta, BELAY_OK, check_meta},
    {step_stale, BELAY_VERSION_MISMATCH, NULL},
    {step_compare_and_set, BELAY_OK, NULL},
    {step_set, BELAY_OK, NULL},
    {step_zset, BELAY_OK, check_score},
    {step_wrong_type, BELAY_WRONG_TYPE, NULL},
    {step_blob, BELAY_OK, NULL},
    {step_write_many, BELAY_OK, check_written},
    {step_get_many, BELAY_OK, check_many},
    {step_scan, BELAY_OK, check_keys},
    {step_inspect, BELAY_OK, NULL},
    {step_admin, BELAY_OK, NULL},
    {step_destroy, BELAY_OK, NULL},
    {step_get, BELAY_NOT_FOUND, NULL},
};

enum { STEPS = sizeof steps / sizeof steps[0] };

static void walk_closed(void *context)
{
    ((struct walk *)context)->closed++;
}

static void walk_answered(struct belay_result *result, void *context);

static void walk_on(struct walk *walk)
{
    if (walk->next < STEPS) {
        assert_int_equal(belay_send(steps[walk->next].begin(walk), walk_answered, walk), BELAY_OK);
    }
}

static void walk_answered(struct belay_result *result, void *context)
{
    struct walk *walk = context;
    size_t step = walk->next++;

    if (belay_result_status(result) != steps[step].wanted) {
        fail_msg("%s, step %zu: %s", walk->name, step, belay_result_text(result));
    }
    if (steps[step].check != NULL) {
        steps[step].check(walk, result);
    }
    walk_on(walk);
}

/* ---- Loops ---- */

/* Several at once in the client's own loop. */
static void test_own_loop(void **state)
{
    struct walk walks[] = {
        {.client = client, .name = "one"},
        {.client = client, .name = "two"},
        {.client = client, .name = "three"},
    };

    (void)state;
    for (size_t i = 0; i < 3; i++) {
        walk_on(&walks[i]);
    }
    belay_client_run(client);
    for (size_t i = 0; i < 3; i++) {
        assert_int_equal(walks[i].next, STEPS);
    }
}

static void test_callers_loop(void **state)
{
    struct belay_options *options = belay_options_create();
    struct walk walk = {.name = "caller"};
    uv_loop_t loop;

    (void)state;
    assert_int_equal(belay_options_servers(options, server), BELAY_OK);
    assert_int_equal(uv_loop_init(&loop), 0);
    assert_int_equal(belay_client_create_on(options, &loop, &walk.client), BELAY_OK);
    belay_options_destroy(options);
    assert_ptr_equal(belay_client_loop(walk.client), &loop);
    walk_on(&walk);
    while (walk.next < STEPS) {
        assert_int_not_equal(uv_run(&loop, UV_RUN_ONCE), 0);
    }
    belay_client_close(walk.client, walk_closed, &walk);
    uv_run(&loop, UV_RUN_DEFAULT);
    assert_int_equal(walk.closed, 1);
    assert_int_equal(uv_loop_close(&loop), 0);
}

static void test_descriptor(void **state)
{
    struct belay_client *polled = client_with(0);
    struct walk walk = {.client = polled, .name = "polled"};

    (void)state;
    walk_on(&walk);
    while (belay_client_dispatch(polled) > 0) {
        struct pollfd poller = {.fd = belay_client_fd(polled), .events = POLLIN};
        assert_true(poll(&poller, 1, belay_client_wait_ms(polled)) >= 0);
    }
    assert_int_equal(walk.next, STEPS);
    belay_client_destroy(polled);
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_own_loop),
        cmocka_unit_test(test_callers_loop),
        cmocka_unit_test(test_descriptor),
    };

    return ops_begin(argc, argv) ? ops_end(cmocka_run_group_tests(tests, NULL, NULL)) : 2;
}
