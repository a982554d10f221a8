/* Answers on their way to clients that are slow to read them, and what that does to the requests behind. */
#include "plane_kit.h"

static struct plane_kit kit;

static void ping(struct plane_client *client)
{
    plane_client_add(client, FRAME_PING, NULL, bytes_of(NULL, 0));
    assert_int_equal(plane_client_status(client), STATUS_OK);
}

/* Wait until what a counter shows is as wanted; everything that leads there is under way. */
#define wait_until(condition)                                                                      \
    do {                                                                                           \
        for (int tries_ = 0; !(condition); tries_++) {                                             \
            assert_true(tries_ < 2000);                                                            \
            usleep(5000);                                                                          \
        }                                                                                          \
    } while (0)

/* Who asks for much and reads nothing is no longer read from; memory stays bounded, and nothing is lost
 * when it reads at last. */
static void test_slow_reader(void **state)
{
    enum { COUNT = 300, BYTES = 300000 };
    struct plane_client slow, other;
    struct frame frame;
    uint8_t *value = calloc(1, BYTES);
    uint64_t most = 0;

    (void)state;
    assert_non_null(value);
    plane_kit_init(&kit, 1);
    plane_kit_start(&kit);
    plane_client_connect(&slow, &kit);
    plane_client_connect(&other, &kit);
    plane_client_add_put(&slow, text("key"), bytes_of(value, BYTES), ACK_MEMORY);
    assert_int_equal(plane_client_status(&slow), STATUS_OK);
    for (int i = 0; i < COUNT; i++) {
        plane_client_add_get(&slow, text("key"));
    }
    plane_client_flush(&slow);
    for (int i = 0; i < 20; i++) {
        ping(&other);
        uint64_t bytes = plane_kit_stats(&kit).buffer_bytes;
        most = bytes > most ? bytes : most;
    }
    assert_true(most > 0 && most < 2 * 1024 * 1024);
    for (int i = 0; i < COUNT; i++) {
        assert_true(plane_client_receive(&slow, &frame));
        assert_int_equal(frame.type, FRAME_GET);
        assert_int_equal(frame.request_id, 2 + i);
        assert_int_equal(frame.value.size, BYTES);
    }
    ping(&slow);
    wait_until(plane_kit_stats(&kit).buffer_bytes == 0);
    plane_client_close(&slow);
    plane_client_close(&other);
    plane_kit_stop(&kit);
    free(value);
}

static void add_string(struct buffer *buffer, struct bytes string)
{
    uint8_t size[VARINT_BYTES_MAX];

    assert_int_equal(
        buffer_append(buffer, bytes_of(size, (size_t)(varint_put(size, string.size) - size))), 0);
    assert_int_equal(buffer_append(buffer, string), 0);
}

/* One key by way of the requests for many. */
static void add_many_of_one(struct plane_client *client, uint8_t type, struct bytes key,
                            struct bytes value)
{
    struct change change = {.operation = CHANGE_SET, .name = text(""), .value = value};
    struct buffer list = {.memory = &client->memory.memory};
    Belay__Wire__Many many;
    uint8_t changes[64];

    add_string(&list, key);
    if (type == FRAME_WRITE_MANY) {
        assert_int_equal(buffer_append(&list, bytes_of("", 1)), 0); /* No sequence. */
        add_string(&list, bytes_of(changes, (size_t)(change_put(changes, &change) - changes)));
    }
    belay__wire__many__init(&many);
    many.type = SESSION_BLOB;
    plane_client_add(client, type, &many.base, buffer_bytes(&list));
    buffer_fini(&list);
}

/* Requests of a connection that has too much to read already are put off, single ones and those for many
 * keys alike: for one key they are executed in the order they came. */
static void check_order(uint32_t shards)
{
    enum { LARGE = 2, BYTES = 300000, ROUNDS = 20, EACH = 4 };
    struct plane_client client;
    struct frame frame;
    uint8_t *value = calloc(1, BYTES);
    char text_of_round[16];

    assert_non_null(value);
    plane_kit_init(&kit, shards);
    plane_kit_start(&kit);
    plane_client_connect(&client, &kit);
    for (int i = 0; i < LARGE; i++) {
        plane_client_add_put(&client, text(i % 2 == 0 ? "large" : "larger"), bytes_of(value, BYTES),
                             ACK_MEMORY);
        assert_int_equal(plane_client_status(&client), STATUS_OK);
    }
    uint64_t first = client.next_id + 1;
    for (int round = 0; round < ROUNDS; round++) {
        snprintf(text_of_round, sizeof text_of_round, "%02d", round);
        plane_client_add_get(&client, text(round % 2 == 0 ? "large" : "larger"));
        if (round % 4 < 2) {
            plane_client_add_put(&client, text("key"), text(text_of_round), ACK_MEMORY);
            add_many_of_one(&client, FRAME_GET_MANY, text("key"), text(""));
            plane_client_add_get(&client, text("key"));
        } else {
            add_many_of_one(&client, FRAME_WRITE_MANY, text("key"), text(text_of_round));
            plane_client_add_get(&client, text("key"));
            add_many_of_one(&client, FRAME_GET_MANY, text("key"), text(""));
        }
    }
    plane_client_flush(&client);
    for (int i = 0; i < ROUNDS * EACH; i++) {
        assert_true(plane_client_receive(&client, &frame));
        uint64_t number = frame.request_id - first;
        struct bytes got = frame.value;
        if (frame.type == FRAME_GET_MANY) {
            struct reader reader = reader_of(frame.value);
            (void)read_string(&reader);
            got = read_string(&reader);
        }
        if (number % EACH >= 2) {
            snprintf(text_of_round, sizeof text_of_round, "%02d", (int)(number / EACH));
            assert_bytes_equal(got, text(text_of_round));
        }
    }
    plane_client_close(&client);
    plane_kit_stop(&kit);
    free(value);
}

static void test_order(void **state)
{
    (void)state;
    for (uint32_t shards = 1; shards <= 3; shards++) {
        check_order(shards);
    }
}

/* Answers that come anyhow (here from another shard) and are not read end the connection at twice the
 * limit. */
static void test_output_limit(void **state)
{
    enum { COUNT = 200, BYTES = 300000 };
    struct plane_client slow, other;
    struct frame frame;
    uint8_t *value = calloc(1, BYTES);
    char key[16];

    (void)state;
    assert_non_null(value);
    plane_kit_init(&kit, 4);
    kit.options.limits.output_bytes = 1024 * 1024;
    plane_kit_start(&kit);
    plane_client_connect(&slow, &kit);
    plane_client_connect(&other, &kit);
    for (int i = 0; i < 8; i++) {
        snprintf(key, sizeof key, "key-%d", i);
        plane_client_add_put(&other, text(key), bytes_of(value, BYTES), ACK_MEMORY);
        assert_int_equal(plane_client_status(&other), STATUS_OK);
    }
    for (int i = 0; i < COUNT; i++) {
        snprintf(key, sizeof key, "key-%d", i % 8);
        plane_client_add_get(&slow, text(key));
    }
    plane_client_flush(&slow);
    wait_until(plane_kit_stats(&kit).output_limited == 1);
    for (int i = 0; i < COUNT && plane_client_receive(&slow, &frame); i++) {
        assert_true(i < COUNT - 1);
    }
    ping(&other);
    plane_client_close(&slow);
    plane_client_close(&other);
    wait_until(plane_kit_stats(&kit).buffer_bytes == 0);
    plane_kit_stop(&kit);
    free(value);
}

static const struct CMUnitTest tests[] = {
    cmocka_unit_test(test_slow_reader),
    cmocka_unit_test(test_output_limit),
    cmocka_unit_test(test_order),
};

int main(void)
{
    return cmocka_run_group_tests(tests, NULL, NULL);
}
