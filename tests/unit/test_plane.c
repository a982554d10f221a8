/* The data plane with everything real but the pool of segments: rings, threads, sockets, shards. */
#include <errno.h>
#include <pthread.h>

#include "plane_kit.h"

static struct plane_kit kit;

static uint32_t hello(struct plane_client *client, uint32_t shard_plus_one, uint64_t *client_id,
                      uint32_t *shard)
{
    Belay__Wire__Hello head;
    struct frame frame;

    belay__wire__hello__init(&head);
    head.protocol = PROTOCOL_VERSION;
    head.client = *client_id;
    head.shard_plus_one = shard_plus_one;
    plane_client_add(client, FRAME_HELLO, &head.base, bytes_of(NULL, 0));
    plane_client_flush(client);
    assert_true(plane_client_receive(client, &frame));
    assert_int_equal(frame.type, FRAME_HELLO);
    Belay__Wire__HelloReply *reply =
        belay__wire__hello_reply__unpack(NULL, frame.head.size, frame.head.data);
    assert_non_null(reply);
    assert_string_equal(reply->node, "test");
    assert_int_equal(reply->shards, kit.options.shard_count);
    assert_int_equal(reply->frame_bytes_max, kit.options.limits.frame_bytes);
    uint32_t status = reply->status;
    *client_id = reply->client;
    *shard = reply->shard;
    belay__wire__hello_reply__free_unpacked(reply, NULL);
    return status;
}

static void put(struct plane_client *client, struct bytes key, struct bytes value)
{
    plane_client_add_put(client, key, value, ACK_MEMORY);
    assert_int_equal(plane_client_status(client), STATUS_OK);
}

static void check_value(struct plane_client *client, struct bytes key, struct bytes value)
{
    struct frame frame;

    plane_client_add_get(client, key);
    plane_client_flush(client);
    Belay__Wire__Reply *reply = plane_client_reply(client, &frame);
    assert_int_equal(reply->status, STATUS_OK);
    assert_int_equal(reply->value_bytes, value.size);
    assert_bytes_equal(frame.value, value);
    belay__wire__reply__free_unpacked(reply, NULL);
}

/* HELLO gives ids that differ and are kept, and the connection goes to the shard that was asked for. */
static void test_hello(void **state)
{
    struct plane_client a, b;
    uint64_t id_a = 0, id_b = 0, kept;
    uint32_t shard;

    (void)state;
    plane_kit_init(&kit, 3);
    plane_kit_start(&kit);
    plane_client_connect(&a, &kit);
    plane_client_connect(&b, &kit);
    for (uint32_t wanted = 0; wanted < 3; wanted++) {
        assert_int_equal(hello(&a, wanted + 1, &id_a, &shard), STATUS_OK);
        assert_int_equal(shard, wanted);
    }
    assert_int_equal(hello(&b, 99, &id_b, &shard), STATUS_OK);
    assert_true(id_a != 0 && id_b != 0 && id_a != id_b);
    kept = id_a;
    assert_int_equal(hello(&a, 0, &id_a, &shard), STATUS_OK);
    assert_int_equal(id_a, kept);
    plane_client_add(&a, FRAME_PING, NULL, bytes_of(NULL, 0));
    assert_int_equal(plane_client_status(&a), STATUS_OK);
    put(&a, text("key"), text("value"));
    check_value(&b, text("key"), text("value"));
    plane_client_close(&a);
    plane_client_close(&b);
    plane_kit_stop(&kit);
}

/* Requests that follow a HELLO at once go with the socket to the other shard, cut anywhere. */
static void test_hello_with_more(void **state)
{
    struct plane_client client;
    Belay__Wire__Hello head;
    struct frame frame;

    (void)state;
    plane_kit_init(&kit, 2);
    plane_kit_start(&kit);
    for (uint32_t round = 0; round < 20; round++) {
        plane_client_connect(&client, &kit);
        belay__wire__hello__init(&head);
        head.protocol = PROTOCOL_VERSION;
        head.shard_plus_one = 1 + round % 2;
        plane_client_add(&client, FRAME_HELLO, &head.base, bytes_of(NULL, 0));
        for (int i = 0; i < 50; i++) {
            plane_client_add(&client, FRAME_PING, NULL, bytes_of(NULL, 0));
        }
        size_t cut = 7 + round * 31;
        struct bytes all = buffer_bytes(&client.out);
        plane_client_send(&client, bytes_of(all.data, cut));
        plane_client_send(&client, bytes_of(all.data + cut, all.size - cut));
        for (uint64_t id = 1; id <= 51; id++) {
            assert_true(plane_client_receive(&client, &frame));
            assert_int_equal(frame.request_id, id);
        }
        plane_client_close(&client);
    }
    plane_kit_stop(&kit);
}

/* Any connection serves any key: what is another shard's hops there and back, in both directions. */
static void test_hop(void **state)
{
    struct plane_client client;
    char key[32];

    (void)state;
    plane_kit_init(&kit, 3);
    plane_kit_start(&kit);
    plane_client_connect(&client, &kit);
    for (int i = 0; i < 300; i++) {
        snprintf(key, sizeof key, "key-%d", i);
        put(&client, text(key), text(key));
    }
    for (int i = 0; i < 300; i++) {
        snprintf(key, sizeof key, "key-%d", i);
        check_value(&client, text(key), text(key));
    }
    assert_int_equal(plane_kit_stats(&kit).shard.live, 300);
    assert_true(plane_kit_stats(&kit).hops > 300);
    plane_client_close(&client);
    plane_kit_stop(&kit);
}

/* Many requests in one go, across shards; every id is answered once. */
static void test_pipeline(void **state)
{
    enum { COUNT = 1000 };
    static bool seen[2 * COUNT + 1];
    struct plane_client client;
    struct frame frame;
    char key[32], value[600];

    (void)state;
    memset(seen, 0, sizeof seen);
    memset(value, 'v', sizeof value);
    plane_kit_init(&kit, 2);
    plane_kit_start(&kit);
    plane_client_connect(&client, &kit);
    for (int i = 0; i < 2 * COUNT; i++) {
        snprintf(key, sizeof key, "key-%d", i / 2);
        if (i % 2 == 0) {
            plane_client_add_put(&client, text(key), bytes_of(value, sizeof value),
                                 i % 6 == 0 ? ACK_DISK : ACK_MEMORY);
        } else {
            plane_client_add_get(&client, text(key));
        }
        if (i % 500 == 499) {
            plane_client_flush(&client);
            for (int j = 0; j < 500; j++) {
                Belay__Wire__Reply *reply = plane_client_reply(&client, &frame);
                assert_int_equal(reply->status, STATUS_OK);
                assert_true(frame.request_id <= 2 * COUNT && !seen[frame.request_id]);
                seen[frame.request_id] = true;
                assert_int_equal(frame.value.size, frame.type == FRAME_GET ? sizeof value : 1);
                belay__wire__reply__free_unpacked(reply, NULL);
            }
        }
    }
    plane_client_close(&client);
    plane_kit_stop(&kit);
}

/* A frame in pieces of one byte; frames larger than every buffer, in both directions. */
static void test_sizes(void **state)
{
    static const size_t sizes[] = {0, 1, 4000, 4096, 16300, 16400, 40000, 300000, 1000000};
    struct plane_client client;
    uint8_t *value = malloc(1000000);

    (void)state;
    assert_non_null(value);
    for (size_t i = 0; i < 1000000; i++) {
        value[i] = (uint8_t)(i * 7 + i / 251);
    }
    plane_kit_init(&kit, 2);
    plane_kit_start(&kit);
    plane_client_connect(&client, &kit);
    plane_client_add(&client, FRAME_PING, NULL, bytes_of(NULL, 0));
    for (size_t i = 0; i < FRAME_HEADER_BYTES; i++) {
        plane_client_send(&client, bytes_of(client.out.data + i, 1));
    }
    client.out.size = 0;
    assert_int_equal(plane_client_status(&client), STATUS_OK);
    for (size_t i = 0; i < sizeof sizes / sizeof sizes[0]; i++) {
        char key[32];
        for (int twice = 0; twice < 2; twice++) {
            snprintf(key, sizeof key, "size-%zu-%d", i, twice);
            put(&client, text(key), bytes_of(value, sizes[i]));
            check_value(&client, text(key), bytes_of(value, sizes[i]));
        }
    }
    plane_client_close(&client);
    plane_kit_stop(&kit);
    free(value);
}

enum { LARGE_COUNT = 24, LARGE_BYTES = 700000 };

static void *send_all(void *context)
{
    plane_client_flush(context);
    return NULL;
}

/* Several large values in one go: the order of receiving, putting off and serving holds. */
static void test_large_pipeline(void **state)
{
    struct plane_client client;
    struct frame frame;
    pthread_t sender;
    uint8_t *value = malloc(LARGE_BYTES);

    (void)state;
    assert_non_null(value);
    plane_kit_init(&kit, 1);
    plane_kit_start(&kit);
    plane_client_connect(&client, &kit);
    for (uint32_t i = 0; i < LARGE_COUNT; i++) {
        memset(value, (int)i, LARGE_BYTES);
        plane_client_add_put(&client, text("key"), bytes_of(value, LARGE_BYTES), ACK_MEMORY);
        plane_client_add_get(&client, text("key"));
        plane_client_add(&client, FRAME_PING, NULL, bytes_of(NULL, 0));
    }
    assert_int_equal(pthread_create(&sender, NULL, send_all, &client), 0);
    for (uint32_t got = 0; got < 3 * LARGE_COUNT; got++) {
        Belay__Wire__Reply *reply = plane_client_reply(&client, &frame);
        assert_int_equal(reply->status, STATUS_OK);
        belay__wire__reply__free_unpacked(reply, NULL);
        if (frame.type == FRAME_GET) {
            assert_int_equal(frame.value.size, LARGE_BYTES);
            assert_int_equal(frame.value.data[0], frame.value.data[LARGE_BYTES - 1]);
            assert_int_equal(frame.value.data[0], (frame.request_id - 2) / 3);
        }
    }
    assert_int_equal(pthread_join(sender, NULL), 0);
    plane_client_close(&client);
    plane_kit_stop(&kit);
    free(value);
}

/* What is wrong with a frame is said, and the connection goes on where the protocol allows. */
static void test_bad_frames(void **state)
{
    struct plane_client client;
    Belay__Wire__Get get;
    uint8_t key[600] = {0};
    struct frame frame;

    (void)state;
    plane_kit_init(&kit, 1);
    plane_kit_start(&kit);
    plane_client_connect(&client, &kit);
    plane_client_add_get(&client, text("key"));
    client.out.data[client.out.size - 1] ^= 1;
    assert_int_equal(plane_client_status(&client), STATUS_CORRUPT_FRAME);
    plane_client_add(&client, 99, NULL, bytes_of(NULL, 0));
    assert_int_equal(plane_client_status(&client), STATUS_UNKNOWN_REQUEST);
    plane_client_add(&client, FRAME_SCAN, NULL, bytes_of(NULL, 0));
    assert_int_equal(plane_client_status(&client), STATUS_OK);
    plane_client_add_get(&client, bytes_of(key, 513));
    assert_int_equal(plane_client_status(&client), STATUS_KEY_TOO_LARGE);
    plane_client_add_get(&client, bytes_of(key, 0));
    assert_int_equal(plane_client_status(&client), STATUS_KEY_TOO_LARGE);
    belay__wire__get__init(&get);
    get.key = wire_bytes(text("key"));
    get.flags = GET_FIELDS;
    plane_client_add(&client, FRAME_GET, &get.base, text("\x7f"));
    assert_int_equal(plane_client_status(&client), STATUS_INVALID);
    plane_client_add(&client, FRAME_WRITE_MANY, NULL, text("\3key"));
    assert_int_equal(plane_client_status(&client), STATUS_INVALID);
    /* A head that is no message: field 1 says it has 127 bytes. */
    plane_client_add_get(&client, text("key"));
    client.out.size = 0;
    uint8_t header[FRAME_HEADER_BYTES];
    struct bytes head = text("\x0a\x7f");
    frame_header_put(header, FRAME_GET, 0, 1, head, bytes_of(NULL, 0));
    plane_client_send(&client, bytes_of(header, sizeof header));
    plane_client_send(&client, head);
    assert_int_equal(plane_client_status(&client), STATUS_INVALID);
    assert_int_equal(plane_kit_stats(&kit).frames_bad, 1);
    /* Too large: answered with its id, then the connection ends. */
    store_u32(header + 4, kit.options.limits.frame_bytes + 1);
    store_u64(header + 8, 77);
    plane_client_send(&client, bytes_of(header, sizeof header));
    Belay__Wire__Reply *reply = plane_client_reply(&client, &frame);
    assert_int_equal(reply->status, STATUS_FRAME_TOO_LARGE);
    assert_int_equal(frame.request_id, 77);
    belay__wire__reply__free_unpacked(reply, NULL);
    assert_false(plane_client_receive(&client, &frame));
    plane_client_close(&client);
    plane_kit_stop(&kit);
}

/* The first byte tells RESP; and whoever quits gets all answers first. */
static void test_resp(void **state)
{
    struct plane_client client;
    char line[128] = "";

    (void)state;
    plane_kit_init(&kit, 1);
    plane_kit_start(&kit);
    plane_client_connect(&client, &kit);
    plane_client_send(&client, text("*1\r\n$4\r\nPING\r\nquit\r\n"));
    ssize_t size;
    for (size_t got = 0;
         (size = plane_client_recv(&client, line + got, sizeof line - 1 - got)) != 0;) {
        assert_true(size > 0);
        got += (size_t)size;
    }
    assert_string_equal(line, "+PONG\r\n+OK\r\n");
    plane_client_close(&client);
    plane_kit_stop(&kit);
}

static void add_string(struct buffer *buffer, struct bytes string)
{
    uint8_t size[VARINT_BYTES_MAX];

    assert_int_equal(
        buffer_append(buffer, bytes_of(size, (size_t)(varint_put(size, string.size) - size))), 0);
    assert_int_equal(buffer_append(buffer, string), 0);
}

/* Many keys in one call: each by itself, in the order asked for, over all shards. */
static void test_many(void **state)
{
    enum { COUNT = 200 };
    struct plane_client client;
    Belay__Wire__Many many;
    struct frame frame;
    struct test_memory memory = test_memory();
    struct buffer list = {.memory = &memory.memory};
    char key[32];

    (void)state;
    plane_kit_init(&kit, 3);
    plane_kit_start(&kit);
    plane_client_connect(&client, &kit);
    belay__wire__many__init(&many);
    many.type = SESSION_BLOB;
    many.ack = ACK_DISK;
    for (int i = 0; i < COUNT; i++) {
        uint8_t change_list[64];
        snprintf(key, sizeof key, "key-%d", i);
        struct change change = {
            .operation = CHANGE_SET, .name = bytes_of("", 0), .value = text(key)};
        uint8_t *end = change_put(change_list, &change);
        add_string(&list, text(key));
        assert_int_equal(buffer_append(&list, text("\1")), 0); /* The sequence. */
        add_string(&list, bytes_of(change_list, (size_t)(end - change_list)));
    }
    plane_client_add(&client, FRAME_WRITE_MANY, &many.base, buffer_bytes(&list));
    assert_int_equal(plane_client_status(&client), STATUS_OK);
    list.size = 0;
    for (int i = 0; i < 2 * COUNT; i++) {
        snprintf(key, sizeof key, "key-%d", i);
        add_string(&list, text(key));
    }
    belay__wire__many__init(&many);
    plane_client_add(&client, FRAME_GET_MANY, &many.base, buffer_bytes(&list));
    plane_client_flush(&client);
    assert_true(plane_client_receive(&client, &frame));
    assert_int_equal(frame.type, FRAME_GET_MANY);
    struct reader reader = reader_of(frame.value);
    for (int i = 0; i < 2 * COUNT; i++) {
        snprintf(key, sizeof key, "key-%d", i);
        struct bytes head = read_string(&reader);
        struct bytes value = read_string(&reader);
        Belay__Wire__Reply *reply = belay__wire__reply__unpack(NULL, head.size, head.data);
        assert_non_null(reply);
        assert_int_equal(reply->status, i < COUNT ? STATUS_OK : STATUS_NOT_FOUND);
        assert_bytes_equal(value, i < COUNT ? text(key) : text(""));
        belay__wire__reply__free_unpacked(reply, NULL);
    }
    assert_true(reader_done(&reader));
    buffer_fini(&list);
    plane_client_close(&client);
    plane_kit_stop(&kit);
}

/* A scan over several shards gives every key once, in steps of any size. */
static void test_scan(void **state)
{
    enum { COUNT = 500 };
    struct plane_client client;
    struct frame frame;
    char name[32];

    (void)state;
    plane_kit_init(&kit, 3);
    plane_kit_start(&kit);
    plane_client_connect(&client, &kit);
    for (int i = 0; i < COUNT; i++) {
        snprintf(name, sizeof name, "key-%d", i);
        put(&client, text(name), text("x"));
    }
    for (uint32_t count = 1; count < 1000; count *= 9) {
        bool seen[COUNT] = {false};
        uint64_t cursor = 0, before = 0;
        do {
            Belay__Wire__Scan scan;
            belay__wire__scan__init(&scan);
            scan.cursor = cursor;
            scan.count = count;
            scan.prefix = wire_bytes(text("key-"));
            plane_client_add(&client, FRAME_SCAN, &scan.base, bytes_of(NULL, 0));
            plane_client_flush(&client);
            assert_true(plane_client_receive(&client, &frame));
            Belay__Wire__ManyReply *reply =
                belay__wire__many_reply__unpack(NULL, frame.head.size, frame.head.data);
            assert_int_equal(reply->status, STATUS_OK);
            before = cursor;
            cursor = reply->cursor;
            assert_true(cursor == 0 || cursor > before);
            belay__wire__many_reply__free_unpacked(reply, NULL);
            struct reader reader = reader_of(frame.value);
            while (reader_left(&reader) > 0) {
                struct bytes key = read_string(&reader);
                memset(name, 0, sizeof name);
                assert_true(key.size < sizeof name);
                memcpy(name, key.data, key.size);
                long number = strtol(name + 4, NULL, 10);
                assert_true(number >= 0 && number < COUNT && !seen[number]);
                seen[number] = true;
            }
            assert_false(reader.bad);
        } while (cursor != 0);
        for (int i = 0; i < COUNT; i++) {
            assert_true(seen[i]);
        }
    }
    plane_client_close(&client);
    plane_kit_stop(&kit);
}

/* INSPECT is JSON, with what is no text as hex. */
static void test_inspect(void **state)
{
    struct plane_client client;
    Belay__Wire__Inspect inspect;
    struct frame frame;

    (void)state;
    plane_kit_init(&kit, 2);
    plane_kit_start(&kit);
    plane_client_connect(&client, &kit);
    put(&client, text("a\"b"), bytes_of("\xff\x00z", 3));
    belay__wire__inspect__init(&inspect);
    inspect.key = wire_bytes(text("a\"b"));
    plane_client_add(&client, FRAME_INSPECT, &inspect.base, bytes_of(NULL, 0));
    plane_client_flush(&client);
    assert_true(plane_client_receive(&client, &frame));
    char *json = strndup((const char *)frame.value.data, frame.value.size);
    assert_non_null(strstr(json, "\"key\":\"a\\\"b\""));
    assert_non_null(strstr(json, "\"type\":\"blob\""));
    assert_non_null(strstr(json, "\"value_hex\":\"ff007a\""));
    free(json);
    inspect.key = wire_bytes(text("nobody"));
    plane_client_add(&client, FRAME_INSPECT, &inspect.base, bytes_of(NULL, 0));
    assert_int_equal(plane_client_status(&client), STATUS_NOT_FOUND);
    plane_client_close(&client);
    plane_kit_stop(&kit);
}

static const struct CMUnitTest tests[] = {
    cmocka_unit_test(test_hello),      cmocka_unit_test(test_hello_with_more),
    cmocka_unit_test(test_hop),        cmocka_unit_test(test_pipeline),
    cmocka_unit_test(test_sizes),      cmocka_unit_test(test_large_pipeline),
    cmocka_unit_test(test_bad_frames), cmocka_unit_test(test_resp),
    cmocka_unit_test(test_many),       cmocka_unit_test(test_scan),
    cmocka_unit_test(test_inspect),
};

int main(void)
{
    return cmocka_run_group_tests(tests, NULL, NULL);
}
