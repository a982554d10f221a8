/* Requests that another node coordinates, and what becomes of them when its link breaks, or it does not answer as it should. */
#include "check.h"

#include "played_node.h"
#include "resp_lines.h"

static struct planes_kit kit;

static void connect_to(struct plane_client *client, uint32_t node)
{
    plane_client_connect(client, &kit.nodes[node]);
}

/* Reads are asked anew, and what cannot be told whether it was done is said to be so. */
static void test_lost_link(void **state)
{
    struct plane_client reader, writer;
    struct played node;
    struct far_request far;
    char line[64];

    (void)state;
    played_begin(&node, &kit);
    played_link_up(&node);
    connect_to(&reader, 0);
    connect_to(&writer, 0);
    snprintf(line, sizeof line, "GET %s", played_key(0));
    plane_client_ask(&reader, line);
    uint64_t before = played_receive(&node, &far);
    assert_true(bytes_equal(far.request.key, bytes_of_string(played_key(0))));
    assert_string_equal(far.request.procedure->name, "get");
    snprintf(line, sizeof line, "SET %s 1", played_key(1));
    plane_client_ask(&writer, line);
    (void)played_receive(&node, &far);
    assert_int_equal(far.request.op, REQUEST_WRITE);
    played_link_down(&node);
    plane_client_expect(
        &writer, "-ERR the node that was asked was lost: the write may have been applied\r\n");
    played_link_up(&node);
    uint64_t again = played_receive(&node, &far);
    assert_int_equal(again, before);
    played_answer(&node, again, "$1\r\n7\r\n");
    plane_client_expect(&reader, "$1\r\n7\r\n");
    played_answer(&node, again, "$1\r\n8\r\n"); /* It was answered. */
    snprintf(line, sizeof line, "GET %s", played_key(2));
    plane_client_ask(&reader, line);
    played_answer(&node, played_receive(&node, &far), "$-1\r\n");
    plane_client_expect(&reader, "$-1\r\n");
    plane_client_close(&reader);
    plane_client_close(&writer);
    played_end(&node);
}

static uint64_t add_numbered_put(struct plane_client *client, const char *key, uint64_t sequence)
{
    const struct change change = {
        .operation = CHANGE_SET, .name = bytes_of("", 0), .value = bytes_of_string("v")};
    Belay__Wire__Write write;
    uint8_t list[64];

    uint8_t *end = change_put(list, &change);
    belay__wire__write__init(&write);
    write.key = wire_bytes(bytes_of_string(key));
    write.type = SESSION_BLOB;
    write.client = 77;
    write.sequence = sequence;
    return plane_client_add(client, FRAME_WRITE, &write.base, bytes_of(list, (size_t)(end - list)));
}

/* A write with client and sequence is asked anew as one that may have been done, also once somebody has said that he has not
 * done it. */
static void test_numbered_write(void **state)
{
    static const uint8_t elsewhere[] = {FAR_REFUSED, STATUS_UNAVAILABLE};
    struct plane_client client;
    struct played node;
    struct far_request far;

    (void)state;
    played_begin(&node, &kit);
    played_link_up(&node);
    connect_to(&client, 0);
    add_numbered_put(&client, played_key(0), 5);
    plane_client_flush(&client);
    (void)played_receive(&node, &far);
    assert_int_equal(far.request.client, 77);
    assert_int_equal(far.request.sequence, 5);
    assert_int_equal(far.request.retry_hlc, 0);
    played_link_down(&node);
    played_link_up(&node);
    uint64_t number = played_receive(&node, &far);
    assert_int_equal(far.request.client, 77);
    assert_int_equal(far.request.sequence, 5);
    assert_true(far.request.retry_hlc != 0);
    played_say(&node, PEER_FAR_ANSWER, number, bytes_of(elsewhere, sizeof elsewhere));
    assert_int_equal(played_receive(&node, &far), number);
    assert_true(far.request.retry_hlc != 0);
    played_answer(&node, number, "as it is");
    uint8_t got[8];
    played_read(client.fd, got, sizeof got);
    assert_memory_equal(got, "as it is", sizeof got);
    plane_client_close(&client);
    played_end(&node);
}

/* A node that is not heard any more: what it was asked goes elsewhere, and its link ends, so that it does not do it
 * once it is heard again, after what the client did since. */
static void test_silent_link(void **state)
{
    struct plane_client client;
    struct played node;
    struct far_request far;
    uint8_t got[8];

    (void)state;
    played_begin_with(&node, &kit, 3000);
    played_link_up(&node);
    connect_to(&client, 0);
    uint32_t lost = atomic_load(&kit.lost);
    add_numbered_put(&client, played_key(0), 5);
    plane_client_flush(&client);
    (void)played_receive(&node, &far);
    played_be_quiet(&node, true);
    while (atomic_load(&kit.lost) == lost) {
        usleep(1000);
    }
    played_hang_up(&node);
    played_be_quiet(&node, false);
    played_link_up(&node);
    uint64_t number = played_receive(&node, &far);
    assert_true(far.request.retry_hlc != 0);
    played_answer(&node, number, "as it is");
    played_read(client.fd, got, sizeof got);
    assert_memory_equal(got, "as it is", sizeof got);
    plane_client_close(&client);
    played_end(&node);
}

/* Nobody there: an error, not a wait without an end. And one who says that he is not the one is not asked for ever. */
static void test_nobody(void **state)
{
    static const uint8_t elsewhere[] = {FAR_REFUSED, STATUS_UNAVAILABLE};
    struct plane_client client;
    struct played node;
    struct far_request far;
    char line[64];

    (void)state;
    played_begin(&node, &kit);
    connect_to(&client, 0);
    snprintf(line, sizeof line, "SET %s 1", played_key(0));
    plane_client_ask(&client, line);
    plane_client_expect(&client,
                        "-NOREPLICAS no node that has this session can be reached now\r\n");
    plane_client_ask(&client, line);
    played_link_up(&node); /* It had not been asked: so it is now. */
    uint64_t number = played_receive(&node, &far);
    played_say(&node, PEER_FAR_ANSWER, number, bytes_of(elsewhere, sizeof elsewhere));
    assert_int_equal(played_receive(&node, &far), number);
    played_answer(&node, number, "+OK\r\n");
    plane_client_expect(&client, "+OK\r\n");
    plane_client_close(&client);
    played_end(&node);
}

/* Read a key for which there is nobody. */
static uint64_t add_waiting_get(struct plane_client *client, const char *key, uint32_t timeout_ms,
                                uint32_t waited_ms)
{
    Belay__Wire__Get get;

    belay__wire__get__init(&get);
    get.key = wire_bytes(bytes_of_string(key));
    get.timeout_ms = timeout_ms;
    get.waited_ms = waited_ms;
    return plane_client_add(client, FRAME_GET, &get.base, bytes_of(NULL, 0));
}

/* Are the answers to these, none of which can be served, in this order? */
static bool are_refused_so(struct plane_client *client, const uint64_t ids[], uint32_t count)
{
    bool so = true;

    plane_client_flush(client);
    for (uint32_t i = 0; i < count; i++) {
        struct frame frame;
        Belay__Wire__Reply *reply = plane_client_reply(client, &frame);
        assert_int_equal(reply->status, STATUS_UNAVAILABLE);
        so = so && frame.request_id == ids[i];
        belay__wire__reply__free_unpacked(reply, NULL);
    }
    return so;
}

/* Whose client has waited at other nodes, and who cannot wait for as long, is told sooner that there is nobody. */
static void test_nobody_again(void **state)
{
    struct plane_client client;
    struct played node;
    bool so = false;

    (void)state;
    played_begin(&node, &kit);
    connect_to(&client, 0);
    for (int tries = 0; tries < 20 && !so;
         tries++) { /* A thread that gets no time tells all at once. */
        const uint64_t first = add_waiting_get(&client, played_key(0), 0, 0);
        const uint64_t hurried = add_waiting_get(&client, played_key(1), 1000, 0);
        const uint64_t waited = add_waiting_get(&client, played_key(2), 0, 60000);
        const uint64_t ids[] = {waited, hurried, first};
        so = are_refused_so(&client, ids, 3);
    }
    assert_true(so);
    plane_client_close(&client);
    played_end(&node);
}

/* What is no frame, or not to be said on this link, ends it; the node goes on. */
static void test_bad_frames(void **state)
{
    static const uint8_t kinds[] = {PEER_FAR_REQUEST, PEER_PUBLISH, PEER_NEWS_ASK, 95, 70, 60};
    struct plane_client client;
    struct played node;
    uint8_t garbage[64];

    (void)state;
    memset(garbage, 0xff, sizeof garbage);
    played_begin(&node, &kit);
    connect_to(&client, 0);
    for (uint32_t i = 0; i < sizeof kinds + 2; i++) {
        uint32_t lost = atomic_load(&kit.lost);
        played_link_up(&node);
        if (i < sizeof kinds) {
            played_say(&node, kinds[i], 1, bytes_of(garbage, 8));
        } else if (i == sizeof kinds) {
            assert_true(send(node.dialled, garbage, sizeof garbage, MSG_NOSIGNAL) > 0);
        } else {
            uint8_t head[PEER_HEAD_BYTES];
            peer_frame_head_put(head, PEER_FAR_ANSWER, 1, NULL, 0);
            head[16] ^= 1; /* The checksum. */
            assert_true(send(node.dialled, head, sizeof head, MSG_NOSIGNAL) > 0);
        }
        while (atomic_load(&kit.lost) == lost) {
            usleep(1000);
        }
        played_hang_up(&node);
    }
    plane_client_ask(&client, "PING");
    plane_client_expect(&client, "+PONG\r\n");
    plane_client_close(&client);
    played_end(&node);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_lost_link),    cmocka_unit_test(test_numbered_write),
        cmocka_unit_test(test_silent_link),  cmocka_unit_test(test_nobody),
        cmocka_unit_test(test_nobody_again), cmocka_unit_test(test_bad_frames),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
