/* The map at the native door: who asks gets it, and gets it again when it changes. */
#include "plane_kit.h"

static struct plane_kit kit;

static void give(uint64_t epoch, const char *map)
{
    assert_int_equal(plane_set_client_map(kit.plane, epoch, bytes_of_string(map)), 0);
    plane_kit_stats(&kit); /* All shards have read their mail. */
}

static Belay__Wire__HelloReply *hello(struct plane_client *client, uint32_t shard_plus_one)
{
    Belay__Wire__Hello asked;
    struct frame frame;

    belay__wire__hello__init(&asked);
    asked.protocol = PROTOCOL_VERSION;
    asked.shard_plus_one = shard_plus_one;
    plane_client_add(client, FRAME_HELLO, &asked.base, bytes_of(NULL, 0));
    plane_client_flush(client);
    assert_true(plane_client_receive(client, &frame));
    Belay__Wire__HelloReply *head =
        belay__wire__hello_reply__unpack(NULL, frame.head.size, frame.head.data);
    assert_non_null(head);
    return head;
}

static uint64_t hello_epoch(struct plane_client *client, uint32_t shard_plus_one)
{
    Belay__Wire__HelloReply *head = hello(client, shard_plus_one);
    uint64_t epoch = head->map_epoch;

    assert_int_equal(head->number, kit.options.actor.node);
    belay__wire__hello_reply__free_unpacked(head, NULL);
    return epoch;
}

static uint64_t ask(struct plane_client *client, uint64_t epoch)
{
    Belay__Wire__MapRequest asked;

    belay__wire__map_request__init(&asked);
    asked.epoch = epoch;
    uint64_t id = plane_client_add(client, FRAME_MAP, &asked.base, bytes_of(NULL, 0));
    plane_client_flush(client);
    return id;
}

/* The next frame is a map, or says that there is nothing new. */
static void expect(struct plane_client *client, uint64_t id, uint64_t epoch, const char *map)
{
    struct frame frame;

    assert_true(plane_client_receive(client, &frame));
    assert_int_equal(frame.type, FRAME_MAP);
    assert_true(frame.request_id == id);
    Belay__Wire__MapReply *head =
        belay__wire__map_reply__unpack(NULL, frame.head.size, frame.head.data);
    assert_non_null(head);
    assert_int_equal(head->status, STATUS_OK);
    assert_true(head->epoch == epoch);
    assert_true(bytes_equal(frame.value, bytes_of_string(map)));
    belay__wire__map_reply__free_unpacked(head, NULL);
}

static void ping(struct plane_client *client)
{
    struct frame frame;

    plane_client_add(client, FRAME_PING, NULL, bytes_of(NULL, 0));
    Belay__Wire__Reply *reply;
    plane_client_flush(client);
    reply = plane_client_reply(client, &frame);
    assert_int_equal(frame.type, FRAME_PING); /* Nothing was pushed before. */
    belay__wire__reply__free_unpacked(reply, NULL);
}

static void test_asked_and_pushed(void **state)
{
    struct plane_client watcher, other;

    (void)state;
    plane_kit_init(&kit, 2);
    plane_kit_start(&kit);
    plane_client_connect(&watcher, &kit);
    plane_client_connect(&other, &kit);
    assert_true(hello_epoch(&watcher, 2) == 0); /* There is none yet. */
    expect(&watcher, ask(&watcher, 0), 0, "");
    give(3, "the third");
    expect(&watcher, 0, 3, "the third");
    assert_true(hello_epoch(&other, 1) == 3);
    expect(&other, ask(&other, 2), 3, "the third");
    expect(&other, ask(&other, 3), 3, ""); /* He has it. */
    give(4, "the fourth");
    expect(&watcher, 0, 4, "the fourth");
    expect(&other, 0, 4, "the fourth");
    plane_client_close(&other);
    give(5, "the fifth"); /* Who has gone is not missed. */
    expect(&watcher, 0, 5, "the fifth");
    plane_client_close(&watcher);
    plane_kit_stop(&kit);
}

/* Who did not ask is told nothing; a request that is none is refused. */
static void test_only_who_asks(void **state)
{
    struct plane_client client;

    (void)state;
    plane_kit_init(&kit, 1);
    plane_kit_start(&kit);
    plane_client_connect(&client, &kit);
    give(1, "the first");
    assert_true(hello_epoch(&client, 0) == 1);
    give(2, "the second");
    ping(&client);
    plane_client_add(&client, FRAME_MAP, NULL, bytes_of_string("what is this"));
    assert_int_equal(plane_client_status(&client), STATUS_INVALID);
    give(3, "the third");
    ping(&client);
    plane_client_close(&client);
    plane_kit_stop(&kit);
}

/* Of many changes in a row few are told, and the last one is. */
static void test_changes_are_told_together(void **state)
{
    struct plane_client client;
    char name[32];
    uint64_t told = 0, count = 0, began_us, ended_us;
    struct timespec now;

    (void)state;
    plane_kit_init(&kit, 1);
    plane_kit_start(&kit);
    plane_client_connect(&client, &kit);
    expect(&client, ask(&client, 0), 0, "");
    clock_gettime(CLOCK_MONOTONIC, &now);
    began_us = (uint64_t)now.tv_sec * 1000000 + (uint64_t)now.tv_nsec / 1000;
    for (uint64_t epoch = 1; epoch <= 500; epoch++) {
        snprintf(name, sizeof name, "map %d", (int)epoch);
        give(epoch, name);
    }
    while (told < 500) {
        struct frame frame;
        assert_true(plane_client_receive(&client, &frame));
        Belay__Wire__MapReply *head =
            belay__wire__map_reply__unpack(NULL, frame.head.size, frame.head.data);
        assert_non_null(head);
        assert_true(head->epoch > told);
        told = head->epoch;
        belay__wire__map_reply__free_unpacked(head, NULL);
        count++;
    }
    clock_gettime(CLOCK_MONOTONIC, &now);
    ended_us = (uint64_t)now.tv_sec * 1000000 + (uint64_t)now.tv_nsec / 1000;
    assert_true(count <= 2 + (ended_us - began_us) / 100000);
    plane_client_close(&client);
    plane_kit_stop(&kit);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_asked_and_pushed),
        cmocka_unit_test(test_only_who_asks),
        cmocka_unit_test(test_changes_are_told_together),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
