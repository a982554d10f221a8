/* libbelay's requests and memory, against the fake server. */
#include <math.h>

#include "client_kit.h"
#include "head.h"

/* ---- Heads ---- */

static void test_heads_read_what_generated_code_wrote(void **state)
{
    uint8_t packed[500], token[] = {9, 8, 7}, owner[] = {'m', 'e'};
    char words[] = "words", node[] = "n1";
    struct reply_head reply;
    struct hello_head hello;
    struct many_head many;

    (void)state;
    Belay__Wire__Reply from;
    belay__wire__reply__init(&from);
    from.status = 1;
    from.text = words;
    from.ack = 3;
    from.version = (ProtobufCBinaryData){.data = token, .len = sizeof token};
    from.type = 2;
    from.absolute_ms = UINT64_MAX;
    from.idle_ms = 5;
    from.deadline_ms = 6;
    from.created_ms = 7;
    from.last_access_ms = 8;
    from.owner = (ProtobufCBinaryData){.data = owner, .len = sizeof owner};
    from.fields = UINT32_MAX;
    from.value_bytes = 10;
    from.siblings_hidden = 11;
    from.retry_after_ms = 12;
    from.repeated = 1;
    from.hlc = UINT64_C(1) << 63;
    from.created = 1;
    size_t size = belay__wire__reply__pack(&from, packed);
    assert_int_equal(head_read_reply(bytes_of(packed, size), &reply), 0);
    assert_int_equal(reply.status, 1);
    assert_bytes_equal(reply.text, text("words"));
    assert_int_equal(reply.ack, 3);
    assert_bytes_equal(reply.version, bytes_of(token, sizeof token));
    assert_int_equal(reply.type, 2);
    assert_true(reply.absolute_ms == UINT64_MAX && reply.idle_ms == 5 && reply.deadline_ms == 6);
    assert_true(reply.created_ms == 7 && reply.last_access_ms == 8);
    assert_bytes_equal(reply.owner, text("me"));
    assert_true(reply.fields == UINT32_MAX && reply.value_bytes == 10);
    assert_true(reply.siblings_hidden == 11 && reply.retry_after_ms == 12);
    assert_true(reply.repeated == 1 && reply.created == 1 && reply.hlc == UINT64_C(1) << 63);
    for (size_t cut = 1; cut < size; cut++) {
        (void)head_read_reply(bytes_of(packed, cut), &reply); /* Bounds, under ASan. */
    }

    Belay__Wire__HelloReply first;
    belay__wire__hello_reply__init(&first);
    first.protocol = 1;
    first.client = UINT64_C(1) << 40;
    first.node = node;
    first.shards = 4;
    first.shard = 3;
    first.hlc = 77;
    first.frame_bytes_max = 1000;
    first.in_flight_max = 10;
    size = belay__wire__hello_reply__pack(&first, packed);
    assert_int_equal(head_read_hello(bytes_of(packed, size), &hello), 0);
    assert_true(hello.protocol == 1 && hello.client == UINT64_C(1) << 40 && hello.shards == 4);
    assert_true(hello.shard == 3 && hello.hlc == 77 && hello.frame_bytes_max == 1000);
    assert_true(hello.in_flight_max == 10 && hello.status == 0);
    assert_bytes_equal(hello.node, text("n1"));

    Belay__Wire__ManyReply keys;
    belay__wire__many_reply__init(&keys);
    keys.cursor = 123456789;
    size = belay__wire__many_reply__pack(&keys, packed);
    assert_int_equal(head_read_many(bytes_of(packed, size), &many), 0);
    assert_true(many.cursor == 123456789 && many.status == 0);

    const uint8_t unknown[] = {0xa1, 1, 1, 2, 3, 4, 5, 6, 7, 8, 0xa8, 1, 5, 8, 2};
    assert_int_equal(head_read_reply(bytes_of(unknown, sizeof unknown), &reply), 0);
    assert_int_equal(reply.status, 2);
    const uint8_t group[] = {0x0b};
    assert_int_equal(head_read_reply(bytes_of(group, 1), &reply), -EBADMSG);
}

/* A write with everything, as the server's generated code reads it. */
static void handle_full_write(struct fake_connection *connection, const struct frame *frame)
{
    Belay__Wire__Write *write =
        belay__wire__write__unpack(NULL, frame->head.size, frame->head.data);

    assert(write != NULL && frame->type == FRAME_WRITE);
    assert(write->key.len == 1 && write->key.data[0] == 'k');
    assert(write->mode == WRITE_UPDATE && write->type == SESSION_MAP && write->ack == ACK_DISK);
    assert(write->if_version.len == 3 && memcmp(write->if_version.data, "tok", 3) == 0);
    assert(write->client == 4711 && write->sequence == 1 && write->retry_hlc == 0);
    assert(write->timeout_ms > 0 && write->timeout_ms <= 5000);
    assert(change_check(frame->value) == 16);
    belay__wire__write__free_unpacked(write, NULL);

    uint8_t results[200], *to = results;
    struct reader list = reader_of(frame->value);
    struct change change;
    for (int64_t i = 0; change_next(&list, &change) == 1; i++) {
        if (change_result_is_score(change.operation)) {
            double score = 2.5;
            memcpy(to, &score, 8);
            to += 8;
        } else {
            to = varint_put(to, zigzag(i - 3));
        }
    }
    fake_reply(connection, frame, STATUS_OK, bytes_of(results, (size_t)(to - results)));
}

static void put_all_changes(struct belay_request *write)
{
    struct belay_bytes f = belay_text("f"), v = belay_text("value");

    belay_write_set(write, f, v);
    belay_write_set_until(write, f, v, 1234567890123);
    belay_write_delete(write, f);
    belay_write_add(write, f, INT64_MIN);
    belay_write_append(write, f, v);
    belay_write_clear(write);
    belay_write_absolute(write, 1234567890123);
    belay_write_ttl(write, 1000);
    belay_write_idle(write, 1000);
    belay_write_owner(write, v);
    belay_write_touch(write);
    belay_write_add_member(write, f);
    belay_write_set_score(write, f, 1.5, BELAY_SCORE_NX);
    belay_write_add_score(write, f, -1.5);
    belay_write_until(write, f, 0);
    belay_write_value(write, v);
}

static void test_write_carries_everything(void **state)
{
    struct fake fake = {.handle = handle_full_write};
    struct belay_result *result;

    (void)state;
    fake_start(&fake);
    struct belay_client *client = client_for(&fake, NULL);
    struct belay_request *write = belay_write_begin(client, belay_text("k"), BELAY_UPDATE);
    put_all_changes(write);
    belay_write_if_version(write, belay_text("tok"));
    belay_write_ack(write, BELAY_ACK_DISK);
    assert_int_equal(belay_run(write, &result), BELAY_OK);
    assert_int_equal(belay_result_change_count(result), 16);
    assert_int_equal(belay_result_change(result, 15), 12); /* Far ahead, back, and on. */
    assert_int_equal(belay_result_change(result, 0), -3);
    for (size_t i = 0; i < 16; i++) {
        assert_int_equal(belay_result_change(result, i), i == 13 ? 2 : (int64_t)i - 3);
    }
    assert_true(belay_result_score(result, 13) == 2.5);
    assert_int_equal(belay_result_change(result, 16), 0);
    assert_string_equal(belay_result_text(result), "ok");
    char node[60];
    snprintf(node, sizeof node, "fake (127.0.0.1:%u)", fake.port);
    assert_string_equal(belay_result_node(result), node);
    belay_result_destroy(result);
    belay_client_destroy(client);
    fake_stop(&fake);
}

/* ---- Building ---- */

static enum belay_status run_refused(struct belay_request *request)
{
    struct belay_result *result = (struct belay_result *)&result;
    enum belay_status status = belay_run(request, &result);

    assert_null(result);
    return status;
}

static void test_wrong_requests_are_refused(void **state)
{
    struct fake fake = {.handle = handle_echo};
    char big[600];

    (void)state;
    memset(big, 'x', sizeof big);
    struct belay_client *client;
    assert_int_equal(belay_client_create(NULL, &client), BELAY_OK);
    struct belay_bytes k = belay_text("k"), none = belay_bytes_of(NULL, 0);
    assert_int_equal(run_refused(belay_get_begin(client, none, 0)), BELAY_KEY_TOO_LARGE);
    assert_int_equal(run_refused(belay_get_begin(client, belay_bytes_of(big, 513), 0)),
                     BELAY_KEY_TOO_LARGE);
    assert_int_equal(run_refused(belay_get_begin(client, k, 1024)), BELAY_INVALID);
    struct belay_request *request = belay_get_begin(client, k, BELAY_GET_META);
    belay_get_field(request, k);
    assert_int_equal(run_refused(request), BELAY_INVALID);
    request = belay_get_begin(client, k, 0);
    belay_write_set(request, k, k);
    assert_int_equal(run_refused(request), BELAY_INVALID);
    request = belay_write_begin(client, k, BELAY_UPSERT);
    belay_write_destroy(request);
    belay_write_touch(request);
    assert_int_equal(run_refused(request), BELAY_INVALID);
    request = belay_write_begin(client, k, BELAY_UPSERT);
    belay_write_touch(request);
    belay_write_destroy(request);
    assert_int_equal(run_refused(request), BELAY_INVALID);
    request = belay_write_begin(client, k, BELAY_UPSERT);
    belay_write_set_score(request, k, (double)NAN, 0);
    assert_int_equal(run_refused(request), BELAY_INVALID);
    request = belay_write_begin(client, k, BELAY_UPSERT);
    belay_write_ttl(request, UINT64_C(3651) * 24 * 3600 * 1000);
    assert_int_equal(run_refused(request), BELAY_OUT_OF_RANGE);
    request = belay_write_begin(client, k, BELAY_UPSERT);
    belay_write_owner(request, belay_bytes_of(big, 256));
    assert_int_equal(run_refused(request), BELAY_INVALID);
    request = belay_write_begin(client, k, BELAY_UPSERT);
    belay_write_if_version(request, none);
    assert_int_equal(run_refused(request), BELAY_INVALID);
    assert_int_equal(run_refused(belay_get_many_begin(client, 0)), BELAY_INVALID);
    request = belay_write_many_begin(client, BELAY_UPSERT);
    belay_write_set(request, k, k); /* No key yet. */
    assert_int_equal(run_refused(request), BELAY_INVALID);
    request = belay_get_many_begin(client, 0);
    for (int i = 0; i < 1025; i++) {
        belay_get_many_key(request, k);
    }
    assert_int_equal(run_refused(request), BELAY_INVALID);
    assert_int_equal(run_refused(NULL), BELAY_NO_MEMORY);
    belay_get_field(NULL, k);
    belay_write_set(NULL, k, k);
    belay_request_discard(NULL);
    belay_request_discard(belay_get_begin(client, k, 0));
    assert_int_equal(belay_client_counter(client, BELAY_COUNT_REQUESTS), 0);
    belay_client_destroy(client);
    (void)fake;
}

static void test_options_parse_servers(void **state)
{
    struct belay_options *options = belay_options_create();

    (void)state;
    assert_int_equal(belay_options_servers(options, "a, b:1,[::1]:65535,[fe80::1]"), BELAY_OK);
    assert_int_equal(options->server_count, 4);
    assert_string_equal(options->servers[0].host, "a");
    assert_int_equal(options->servers[0].port, 7400);
    assert_string_equal(options->servers[1].host, "b");
    assert_int_equal(options->servers[1].port, 1);
    assert_string_equal(options->servers[2].host, "::1");
    assert_int_equal(options->servers[2].port, 65535);
    assert_string_equal(options->servers[3].host, "fe80::1");
    const char *bad[] = {"",
                         ",",
                         "a,",
                         ":7400",
                         "a:",
                         "a:0",
                         "a:65536",
                         "a:1x",
                         "[::1",
                         "[]:1",
                         "[::1]7400",
                         "a:123456",
                         "1,2,3,4,5,6,7,8,9,10,11,12,13,14,15,16,17"};
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        assert_int_equal(belay_options_servers(options, bad[i]), BELAY_INVALID);
        assert_int_equal(options->server_count, 4);
    }
    belay_options_destroy(options);
}

/* ---- Memory ---- */

static uint64_t fail_at, resizes;

static void *failing_resize(struct memory *memory, void *block, size_t old_size, size_t new_size)
{
    (void)memory;
    (void)old_size;
    if (new_size == 0) {
        free(block);
        return NULL;
    }
    return ++resizes == fail_at ? NULL : realloc(block, new_size);
}

/* Whichever buffer cannot grow: the request says so or works, and the next one works. */
static void test_memory_runs_out(void **state)
{
    struct fake fake = {.handle = handle_echo};
    struct memory real = client_memory;
    uint64_t n = 0, refused = 0;

    (void)state;
    fake_start(&fake);
    do {
        struct belay_client *client = client_for(&fake, NULL);
        client_memory.resize = failing_resize;
        fail_at = ++n;
        resizes = 0;
        struct belay_request *get = belay_get_begin(client, belay_text("key"), 0);
        belay_get_field(get, belay_text("field"));
        belay_get_floor(get, belay_text("version"));
        enum belay_status status = belay_run(get, NULL);
        assert_true(status == BELAY_OK || status == BELAY_NO_MEMORY);
        refused += status == BELAY_NO_MEMORY;
        client_memory = real;
        assert_int_equal(belay_get(client, belay_text("key"), NULL), BELAY_OK);
        belay_client_destroy(client);
    } while (resizes >= n);
    assert_in_range(n, 5, 100);
    assert_in_range(refused, 3, n);
    fake_stop(&fake);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_heads_read_what_generated_code_wrote),
        cmocka_unit_test(test_write_carries_everything),
        cmocka_unit_test(test_wrong_requests_are_refused),
        cmocka_unit_test(test_options_parse_servers),
        cmocka_unit_test(test_memory_runs_out),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
