/* Calls of libbelay: many keys in one, scans, what the server says of itself, pipelining. */
#include "ops_kit.h"

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
        cmocka_unit_test(test_many_keys_in_one_request),
        cmocka_unit_test(test_scan_finds_all),
        cmocka_unit_test(test_inspect_and_admin),
        cmocka_unit_test(test_any_connection_serves_any_key),
        cmocka_unit_test(test_pipelining),
    };

    return ops_begin(argc, argv) ? ops_end(cmocka_run_group_tests(tests, NULL, NULL)) : 2;
}
