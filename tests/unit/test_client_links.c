/* libbelay's connections and loops against the fake server. */
#include <poll.h>

#include "client_kit.h"

/* ---- Connecting ---- */

static void test_nobody_listens(void **state)
{
    struct fake nobody = {.port = 0};
    struct belay_result *result;

    (void)state;
    int reserved = fake_bind(&nobody.port);
    struct belay_options *options = belay_options_create();
    belay_options_timeout_ms(options, 1000); /* Until then it has tried. */
    struct belay_client *client = client_for(&nobody, options);
    assert_int_equal(belay_get(client, belay_text("k"), &result), BELAY_TIMEOUT);
    assert_non_null(strstr(belay_result_text(result), "onnection refused"));
    belay_result_destroy(result);
    belay_client_destroy(client);

    options = belay_options_create();
    belay_options_fail_fast(options, 1);
    client = client_for(&nobody, options);
    for (int i = 0; i < 2; i++) {
        assert_int_equal(belay_get(client, belay_text("k"), &result), BELAY_CANNOT_CONNECT);
        assert_non_null(strstr(belay_result_text(result), "onnection refused"));
        assert_string_equal(belay_result_node(result), "");
        belay_result_destroy(result);
    }
    belay_client_destroy(client);
    close(reserved);
}

static void test_second_server_answers(void **state)
{
    struct fake fake = {.handle = handle_echo};
    char servers[60];

    (void)state;
    uint16_t nobody = 0;
    int reserved = fake_bind(&nobody);
    fake_start(&fake);
    struct belay_options *options = belay_options_create();
    snprintf(servers, sizeof servers, "127.0.0.1:%u,localhost:%u", nobody, fake.port);
    assert_int_equal(belay_options_servers(options, servers), BELAY_OK);
    belay_options_fail_fast(options, 1);
    struct belay_client *client;
    assert_int_equal(belay_client_create(options, &client), BELAY_OK);
    belay_options_destroy(options);
    assert_int_equal(belay_get(client, belay_text("k"), NULL), BELAY_OK);
    belay_client_destroy(client);
    close(reserved);
    fake_stop(&fake);
}

static void test_hello_refused(void **state)
{
    struct fake fake = {
        .handle = handle_echo, .hello_status = STATUS_DENIED, .hello_text = "wrong password"};
    struct belay_result *result;

    (void)state;
    fake_start(&fake);
    struct belay_client *client = client_for(&fake, NULL);
    assert_int_equal(belay_get(client, belay_text("k"), &result), BELAY_DENIED);
    assert_non_null(strstr(belay_result_text(result), "wrong password"));
    belay_result_destroy(result);
    belay_client_destroy(client);
    fake_stop(&fake);
}

static void test_hello_unanswered(void **state)
{
    struct fake fake = {.handle = handle_echo, .hello_silent = true};

    (void)state;
    fake_start(&fake);
    struct belay_options *options = belay_options_create();
    belay_options_timeout_ms(options, 500);
    struct belay_client *client = client_for(&fake, options);
    assert_int_equal(belay_get(client, belay_text("k"), NULL), BELAY_TIMEOUT);
    belay_client_destroy(client);
    while (atomic_load(&fake.hellos) == 0) { /* It reads it when it comes to that. */
        usleep(1000);
    }
    fake_stop(&fake);
    assert_int_equal(atomic_load(&fake.hellos), 1);
}

/* Server restarts between two calls: the blocking client opens a new connection and repeats nothing. */
static void test_restart_between_calls(void **state)
{
    struct fake fake = {.handle = handle_echo};

    (void)state;
    int reserved = fake_bind(&fake.port);
    fake_start(&fake);
    struct belay_client *client = client_for(&fake, NULL);
    assert_int_equal(belay_get(client, belay_text("k"), NULL), BELAY_OK);
    fake_stop(&fake);
    struct pollfd ended = {.fd = belay_client_fd(client), .events = POLLIN};
    assert_int_equal(poll(&ended, 1, -1), 1); /* Its end has come here. */
    struct fake again = {.handle = handle_echo, .port = fake.port, .shards = 3};
    fake_start(&again);
    assert_int_equal(belay_get(client, belay_text("k"), NULL), BELAY_OK);
    assert_int_equal(belay_client_counter(client, BELAY_COUNT_RETRIES), 0);
    assert_int_equal(belay_client_shards(client), 3);
    belay_client_destroy(client);
    fake_stop(&again);
    close(reserved);
}

/* And with another number of shards each time: links that lead nowhere go, others come. */
static void test_restarts_with_other_shards(void **state)
{
    const uint32_t shards[] = {4, 2, 5, 1, 3};
    struct belay_client *client = NULL;
    uint16_t port = 0;

    (void)state;
    int reserved = fake_bind(&port);
    for (int round = 0; round < 5; round++) {
        struct fake fake = {.handle = handle_echo, .shards = shards[round], .port = port};
        struct answer answers[100] = {{0}};
        char key[20];
        fake_start(&fake);
        client = client == NULL ? client_for(&fake, NULL) : client;
        for (int turn = 0; turn == 0 || client->ready != shards[round] ||
                           client->servers->link_count != shards[round];
             turn++) {
            for (int i = 0; i < 100; i++) {
                snprintf(key, sizeof key, "key-%d", i);
                send_ok(belay_get_begin(client, belay_text(key), 0), &answers[i]);
            }
            belay_client_run(client);
        }
        for (int i = 0; i < 100; i++) {
            assert_int_equal(answers[i].status, BELAY_OK);
        }
        fake_stop(&fake);
    }
    belay_client_destroy(client);
    close(reserved);
}

/* Answers with the shard of the connection; the key's own must be it, once all links are up. */
static void handle_shard(struct fake_connection *connection, const struct frame *frame)
{
    char key[600], shard[10];

    key_of_get(frame, key, sizeof key);
    snprintf(shard, sizeof shard, "%u", connection->shard);
    fake_reply(connection, frame, STATUS_OK, text(shard));
}

static void test_keys_go_to_their_shard(void **state)
{
    struct fake fake = {.handle = handle_shard, .shards = 4, .first_shard = 2};
    struct answer answers[200] = {{0}};
    char key[20];

    (void)state;
    fake_start(&fake);
    struct belay_options *options = belay_options_create();
    belay_options_connections(options, 2, 0);
    struct belay_client *client = client_for(&fake, options);
    while (client->ready < 8) {
        for (int i = 0; i < 200; i++) {
            snprintf(key, sizeof key, "key-%d", i);
            send_ok(belay_get_begin(client, belay_text(key), 0), &answers[i]);
        }
        belay_client_run(client);
    }
    assert_int_equal(client->ready, 8);
    for (int i = 0; i < 200; i++) {
        struct belay_result *result;
        char shard[10];
        snprintf(key, sizeof key, "key-%d", i);
        snprintf(shard, sizeof shard, "%d", slot_of_key(text(key)) % 4);
        assert_int_equal(belay_get(client, belay_text(key), &result), BELAY_OK);
        assert_bytes_equal(bytes_in(belay_result_value(result)), text(shard));
        belay_result_destroy(result);
    }
    assert_int_equal(atomic_load(&fake.connections), 8);
    belay_client_destroy(client);
    fake_stop(&fake);
}

static void test_one_connection_is_one(void **state)
{
    struct fake fake = {.handle = handle_shard, .shards = 4};
    char key[20];

    (void)state;
    fake_start(&fake);
    struct belay_options *options = belay_options_create();
    belay_options_connections(options, 1, 1);
    struct belay_client *client = client_for(&fake, options);
    for (int i = 0; i < 50; i++) {
        snprintf(key, sizeof key, "key-%d", i);
        assert_int_equal(belay_get(client, belay_text(key), NULL), BELAY_OK);
    }
    assert_int_equal(atomic_load(&fake.connections), 1);
    belay_client_destroy(client);
    fake_stop(&fake);
}

/* ---- Loops ---- */

static void test_close_ends_what_is_unanswered(void **state)
{
    struct fake fake = {.handle = handle_nothing, .in_flight_max = 2};
    struct answer answers[10] = {{0}};

    (void)state;
    fake_start(&fake);
    struct belay_client *client = client_for(&fake, NULL);
    for (int i = 0; i < 10; i++) {
        struct belay_request *get = belay_get_begin(client, belay_text("k"), 0);
        belay_request_no_retry(get);
        send_ok(get, &answers[i]);
    }
    while (atomic_load(&fake.requests) < 2) {
        belay_client_dispatch(client);
    }
    belay_client_close(client, NULL, NULL);
    assert_int_equal(answers[0].calls, 0);
    assert_int_equal(belay_send(belay_get_begin(client, belay_text("k"), 0), answered, &answers[0]),
                     BELAY_CLOSED);
    belay_client_destroy(client);
    for (int i = 0; i < 10; i++) {
        assert_int_equal(answers[i].calls, 1);
        assert_int_equal(answers[i].status, BELAY_CLOSED);
    }
    fake_stop(&fake);
}

struct chain {
    struct belay_client *client;
    int left;
    int closed;
};

static void chain_closed(void *context)
{
    ((struct chain *)context)->closed++;
}

/* Each answer sends the next request; the last closes the client, in its own callback. */
static void chain_answered(struct belay_result *result, void *context)
{
    struct chain *chain = context;

    assert_int_equal(belay_result_status(result), BELAY_OK);
    if (--chain->left == 0) {
        belay_client_close(chain->client, chain_closed, chain);
        assert_int_equal(belay_result_value(result).size, 3); /* Still readable. */
        return;
    }
    assert_int_equal(
        belay_send(belay_get_begin(chain->client, belay_text("key"), 0), chain_answered, chain),
        BELAY_OK);
}

static void test_in_the_callers_loop(void **state)
{
    struct fake fake = {.handle = handle_echo};
    struct belay_options *options = belay_options_create();
    char server[40];
    uv_loop_t loop;

    (void)state;
    fake_start(&fake);
    snprintf(server, sizeof server, "127.0.0.1:%u", fake.port);
    assert_int_equal(belay_options_servers(options, server), BELAY_OK);
    assert_int_equal(uv_loop_init(&loop), 0);
    struct chain chain = {.left = 20};
    assert_int_equal(belay_client_create_on(options, &loop, &chain.client), BELAY_OK);
    belay_options_destroy(options);
    assert_int_equal(belay_client_fd(chain.client), -1);
    assert_int_equal(belay_get(chain.client, belay_text("k"), NULL), BELAY_INVALID);
    assert_int_equal(
        belay_send(belay_get_begin(chain.client, belay_text("key"), 0), chain_answered, &chain),
        BELAY_OK);
    uv_run(&loop, UV_RUN_DEFAULT);
    assert_int_equal(chain.left, 0);
    assert_int_equal(chain.closed, 1);
    assert_int_equal(uv_loop_close(&loop), 0);
    fake_stop(&fake);
}

static void test_with_a_pollable_descriptor(void **state)
{
    struct fake fake = {.handle = handle_echo};
    struct answer answer = {0};

    (void)state;
    fake_start(&fake);
    struct belay_client *client = client_for(&fake, NULL);
    assert_int_equal(belay_client_wait_ms(client), -1);
    for (int i = 0; i < 10; i++) {
        send_ok(belay_get_begin(client, belay_text("k"), 0), &answer);
        size_t left = belay_client_dispatch(client);
        while (left > 0) {
            struct pollfd poller = {.fd = belay_client_fd(client), .events = POLLIN};
            poll(&poller, 1, belay_client_wait_ms(client));
            left = belay_client_dispatch(client);
        }
    }
    assert_int_equal(answer.calls, 10);
    belay_client_destroy(client);
    fake_stop(&fake);
}

/* Closing while the resolver is at work, and while a connection is being made. */
static void test_close_while_connecting(void **state)
{
    const char *servers[] = {"localhost:1", "127.0.0.1:1"};

    (void)state;
    for (int i = 0; i < 4; i++) {
        struct belay_options *options = belay_options_create();
        struct belay_client *client;
        struct answer answer = {0};
        assert_int_equal(belay_options_servers(options, servers[i % 2]), BELAY_OK);
        assert_int_equal(belay_client_create(options, &client), BELAY_OK);
        belay_options_destroy(options);
        send_ok(belay_get_begin(client, belay_text("k"), 0), &answer);
        if (i >= 2) {
            belay_client_dispatch(client);
        }
        belay_client_destroy(client);
        assert_int_equal(answer.calls, 1);
        assert_int_equal(answer.status, BELAY_CLOSED);
    }
}

/* Answers a write with the size of what it brought. */
static void handle_sizes(struct fake_connection *connection, const struct frame *frame)
{
    uint8_t result[VARINT_BYTES_MAX];
    struct reader list = reader_of(frame->value);
    struct change change;

    int rc = change_next(&list, &change);
    assert(rc == 1);
    uint8_t *end = varint_put(result, zigzag((int64_t)change.value.size));
    fake_reply(connection, frame, STATUS_OK, bytes_of(result, (size_t)(end - result)));
}

static void sized(struct belay_result *result, void *context)
{
    uint64_t *sum = context;

    assert_int_equal(belay_result_status(result), BELAY_OK);
    *sum += (uint64_t)belay_result_change(result, 0);
}

/* More than the socket takes at once: requests wait, and no more than a few lie in the output. */
static void test_large_requests_wait(void **state)
{
    enum { WRITES = 60, BYTES = 1024 * 1024 };
    struct fake fake = {.handle = handle_sizes};
    struct belay_options *options = belay_options_create();
    uint8_t *value = calloc(1, BYTES);
    uint64_t sum = 0;

    (void)state;
    fake_start(&fake);
    belay_options_timeout_ms(options, 0);
    struct belay_client *client = client_for(&fake, options);
    client->silence_ms = 60000; /* A server that works on what it has is not silent. */
    for (int i = 0; i < WRITES; i++) {
        struct belay_request *write = belay_write_begin(client, belay_text("k"), BELAY_UPSERT);
        belay_write_value(write, belay_bytes_of(value, BYTES));
        assert_int_equal(belay_send(write, sized, &sum), BELAY_OK);
    }
    while (belay_client_step(client) > 0) {
        assert_true(client->servers->links[0]->out.size < 3 * BYTES);
    }
    assert_true(sum == (uint64_t)WRITES * BYTES);
    assert_int_equal(belay_client_counter(client, BELAY_COUNT_DISCONNECTS), 0);
    belay_client_destroy(client);
    free(value);
    fake_stop(&fake);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_nobody_listens),
        cmocka_unit_test(test_second_server_answers),
        cmocka_unit_test(test_hello_refused),
        cmocka_unit_test(test_hello_unanswered),
        cmocka_unit_test(test_restart_between_calls),
        cmocka_unit_test(test_restarts_with_other_shards),
        cmocka_unit_test(test_keys_go_to_their_shard),
        cmocka_unit_test(test_one_connection_is_one),
        cmocka_unit_test(test_close_ends_what_is_unanswered),
        cmocka_unit_test(test_in_the_callers_loop),
        cmocka_unit_test(test_with_a_pollable_descriptor),
        cmocka_unit_test(test_close_while_connecting),
        cmocka_unit_test(test_large_requests_wait),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
