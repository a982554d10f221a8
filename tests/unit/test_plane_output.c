/* Answers on their way to clients that are slow to read them, and what that does to the requests behind. */
#include "calls.h"
#include "heap.h"
#include "marks.h"
#include "plane_kit.h"

static struct plane_kit kit;

static void ping(struct plane_client *client)
{
    plane_client_add(client, FRAME_PING, NULL, bytes_of(NULL, 0));
    assert_int_equal(plane_client_status(client), STATUS_OK);
}

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
    plane_kit_until((most = plane_kit_stats(&kit).buffer_bytes) > 0);
    for (int i = 0; i < 20; i++) {
        ping(&other);
        uint64_t bytes = plane_kit_stats(&kit).buffer_bytes;
        most = bytes > most ? bytes : most;
    }
    assert_true(most < 2 * 1024 * 1024);
    for (int i = 0; i < COUNT; i++) {
        assert_true(plane_client_receive(&slow, &frame));
        assert_int_equal(frame.type, FRAME_GET);
        assert_int_equal(frame.request_id, 2 + i);
        assert_int_equal(frame.value.size, BYTES);
    }
    ping(&slow);
    plane_kit_until(plane_kit_stats(&kit).buffer_bytes == 0);
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

/* The same from other shards: they make large answers one by one as they are read, too. Reads, writes and
 * requests for many keys that follow keep their order, and whoever leaves meanwhile takes all with it. */
static void test_slow_reader_across(void **state)
{
    enum { KEYS = 8, COUNT = 240, BYTES = 1000000, LIMIT = 1024 * 1024 };
    struct plane_client slow, gone, other;
    struct frame frame;
    uint8_t *value = calloc(1, BYTES);
    char key[16];
    bool seen[COUNT] = {false};
    uint64_t most = 0;

    (void)state;
    assert_non_null(value);
    plane_kit_init(&kit, 4);
    kit.options.limits.output_bytes = LIMIT;
    plane_kit_start(&kit);
    plane_client_connect(&slow, &kit);
    plane_client_connect(&gone, &kit);
    plane_client_connect(&other, &kit);
    for (int i = 0; i < KEYS; i++) {
        uint32_t status;
        snprintf(key, sizeof key, "key-%d", i);
        do { /* The log may be behind. */
            plane_client_add_put(&other, text(key), bytes_of(value, BYTES), ACK_MEMORY);
            status = plane_client_status(&other);
        } while (status == STATUS_BUSY);
        assert_int_equal(status, STATUS_OK);
    }
    for (int i = 0; i < COUNT; i++) {
        snprintf(key, sizeof key, "key-%d", i % KEYS);
        plane_client_add_get(&slow, text(key));
        plane_client_add_get(&gone, text(key));
    }
    plane_client_flush(&slow);
    plane_client_flush(&gone);
    plane_kit_until((most = plane_kit_stats(&kit).buffer_bytes) > BYTES);
    for (int i = 0; i < 40; i++) {
        ping(&other);
        uint64_t bytes = plane_kit_stats(&kit).buffer_bytes;
        most = bytes > most ? bytes : most;
        usleep(2000);
    }
    assert_true(most < 2 * (2 * LIMIT + 2 * BYTES));
    plane_client_close(&gone);
    for (int i = 0; i < COUNT; i++) {
        assert_true(plane_client_receive(&slow, &frame));
        assert_true(frame.request_id >= 1 && frame.request_id <= COUNT);
        assert_false(seen[frame.request_id - 1]);
        assert_int_equal(frame.value.size, BYTES);
        seen[frame.request_id - 1] = true;
    }
    ping(&slow);
    assert_int_equal(plane_kit_stats(&kit).output_limited, 0);
    plane_client_close(&slow);
    plane_kit_until(plane_kit_stats(&kit).connections == 1);
    plane_kit_until(plane_kit_stats(&kit).buffer_bytes == 0);
    plane_client_close(&other);
    plane_kit_stop(&kit);
    free(value);
}

/* What another shard turns back is not overtaken by what the connection sends after it. */
static void test_order_across(void **state)
{
    enum { KEYS = 6, ROUNDS = 40, BYTES = 200000, SHARDS = 3 };
    struct plane_client client;
    struct frame frame;
    uint8_t *value = malloc(BYTES);
    char key[16];

    (void)state;
    assert_non_null(value);
    plane_kit_init(&kit, SHARDS);
    plane_kit_start(&kit);
    plane_client_connect(&client, &kit);
    for (int round = 0; round < ROUNDS; round++) {
        uint64_t first = client.next_id + 1;
        memset(value, round, BYTES);
        for (int i = 0; i < KEYS; i++) {
            uint32_t status;
            snprintf(key, sizeof key, "key-%d", i);
            do {
                plane_client_add_put(&client, text(key), bytes_of(value, BYTES), ACK_MEMORY);
                status = plane_client_status(&client);
            } while (status == STATUS_BUSY);
            assert_int_equal(status, STATUS_OK);
        }
        first = client.next_id + 1;
        for (int i = 0; i < 4 * KEYS; i++) {
            snprintf(key, sizeof key, "key-%d", i % KEYS);
            plane_client_add_get(&client, text(key));
        }
        for (int i = 0; i < KEYS; i++) {
            snprintf(key, sizeof key, "key-%d", i);
            if (round % 2 == 0) {
                plane_client_add_put(&client, text(key), text("small"), ACK_MEMORY);
            } else {
                add_many_of_one(&client, FRAME_WRITE_MANY, text(key), text("small"));
            }
        }
        for (int i = 0; i < KEYS; i++) {
            snprintf(key, sizeof key, "key-%d", i);
            plane_client_add_get(&client, text(key));
        }
        plane_client_flush(&client);
        for (int i = 0; i < 6 * KEYS; i++) {
            assert_true(plane_client_receive(&client, &frame));
            uint64_t number = frame.request_id - first;
            if (number < 4 * KEYS) {
                assert_int_equal(frame.value.size, BYTES);
                assert_int_equal(frame.value.data[BYTES - 1], round);
            } else if (number >= 5 * KEYS) {
                assert_bytes_equal(frame.value, text("small"));
            }
        }
    }
    plane_client_close(&client);
    plane_kit_stop(&kit);
    free(value);
}

/* Answers that come anyhow, here when the log is durable, end the connection at twice the limit: what came
 * before can be read, and the last one says why. */
static void test_output_limit(void **state)
{
    enum { COUNT = 200, TOUCHES = 30000 };
    static uint8_t list[TOUCHES + 16];
    struct plane_client slow, other;
    struct change change = {.operation = CHANGE_SET, .name = text("n"), .value = text("v")};
    Belay__Wire__Write write;
    struct frame frame;
    uint8_t *end = list;
    uint32_t last = STATUS_OK, answers = 0;

    (void)state;
    end = change_put(end, &change);
    memset(end, CHANGE_TOUCH, TOUCHES); /* Each has a result, and no operand. */
    end += TOUCHES;
    plane_kit_init(&kit, 1);
    kit.options.limits.output_bytes = 64 * 1024;
    plane_kit_start(&kit);
    plane_client_connect(&slow, &kit);
    plane_client_connect(&other, &kit);
    belay__wire__write__init(&write);
    write.key = wire_bytes(text("key"));
    write.type = SESSION_MAP;
    write.ack = ACK_DISK;
    for (int i = 0; i < COUNT; i++) {
        plane_client_add(&slow, FRAME_WRITE, &write.base, bytes_of(list, (size_t)(end - list)));
    }
    plane_client_flush(&slow);
    plane_kit_until(plane_kit_stats(&kit).output_limited == 1);
    while (plane_client_receive(&slow, &frame)) {
        Belay__Wire__Reply *reply =
            belay__wire__reply__unpack(NULL, frame.head.size, frame.head.data);
        assert_non_null(reply);
        assert_int_equal(last, STATUS_OK);
        last = reply->status;
        answers += reply->status == STATUS_OK;
        assert_int_equal(frame.request_id, last == STATUS_OK ? answers : 0);
        belay__wire__reply__free_unpacked(reply, NULL);
    }
    assert_int_equal(last, STATUS_OUTPUT_LIMIT);
    assert_true(answers > 0);
    ping(&other);
    plane_client_close(&slow);
    plane_client_close(&other);
    plane_kit_until(plane_kit_stats(&kit).buffer_bytes == 0);
    plane_kit_stop(&kit);
}

/* Three requests are turned back; one that was sent before the third was known to be turned back comes
 * between the granted ones, and must not pass. */
static void test_marks(void **state)
{
    struct marks marks = {0};
    struct call call = {.connection = 100, .connection_generation = 7};
    struct call next = {.connection = 100, .connection_generation = 8};

    (void)state;
    assert_false(marks_has(&marks, &call));
    for (int i = 0; i < 3; i++) {
        assert_int_equal(marks_add(&marks, heap_memory(), &call), 0);
    }
    for (int i = 0; i < 3; i++) {
        assert_true(marks_has(&marks, &call));
        marks_remove(&marks, &call);
    }
    assert_false(marks_has(&marks, &call));
    assert_int_equal(marks_add(&marks, heap_memory(), &call), 0);
    assert_false(marks_has(&marks, &next));
    assert_int_equal(marks_add(&marks, heap_memory(), &next), 0);
    marks_remove(&marks, &next);
    assert_false(marks_has(&marks, &next));
    heap_give(heap_memory(), marks.marks, marks.size * sizeof *marks.marks);
}

static const struct CMUnitTest tests[] = {
    cmocka_unit_test(test_marks),
    cmocka_unit_test(test_slow_reader),
    cmocka_unit_test(test_output_limit),
    cmocka_unit_test(test_order),
    cmocka_unit_test(test_slow_reader_across),
    cmocka_unit_test(test_order_across),
};

int main(void)
{
    return cmocka_run_group_tests(tests, NULL, NULL);
}
