/* Messages of a thread that does not get to giving them away: PUBLISH waits, keyspace events are dropped. */
#include "check.h"

#include "events.h"
#include "plane_kit.h"
#include "pubsub.h"
#include "resp_lines.h"

enum { PAYLOAD_BYTES = 1024 * 1024, TAKEN = PUBSUB_QUEUE_BYTES_MAX / PAYLOAD_BYTES };

static struct plane_kit kit;
static _Atomic uint32_t last_shard;    /* Of a session that was deleted. */
static _Atomic uint32_t held, is_held; /* A shard's thread that stops at such an event; plus one. */

static void trace(void *context, uint32_t shard, enum trace_event event, uint64_t a,
                  struct bytes text)
{
    (void)context;
    (void)a;
    (void)text;
    if (event != TRACE_SESSION_DELETED) {
        return;
    }
    atomic_store(&last_shard, shard);
    while (atomic_load(&held) == shard + 1) {
        atomic_store(&is_held, 1);
        usleep(1000);
    }
}

static void publish(struct plane_client *client)
{
    static char payload[PAYLOAD_BYTES];

    memset(payload, 'x', sizeof payload);
    plane_client_send(client, bytes_of_string("*3\r\n$7\r\nPUBLISH\r\n$1\r\nc\r\n$1048576\r\n"));
    plane_client_send(client, bytes_of(payload, sizeof payload));
    plane_client_send(client, bytes_of_string("\r\n"));
}

static uint32_t shard_of(struct plane_client *client, char key)
{
    char line[] = "SET ? 1";

    line[4] = key;
    plane_client_ask(client, line);
    plane_client_expect(client, "+OK\r\n");
    memcpy(line, "DEL", 3);
    line[5] = '\0';
    plane_client_ask(client, line);
    plane_client_expect(client, ":1\r\n");
    return atomic_load(&last_shard);
}

static uint32_t connections_of(uint32_t shard)
{
    return (uint32_t)plane_kit_shard_stats(&kit, shard).connections;
}

static void receive_bytes(struct plane_client *client, size_t size)
{
    static char bytes[65536];

    while (size > 0) {
        ssize_t got = plane_client_recv(client, bytes, size < sizeof bytes ? size : sizeof bytes);
        assert_true(got > 0);
        size -= (size_t)got;
    }
}

static void test_full_queue(void **state)
{
    struct plane_client listener, publisher, holder;
    char here = 0, there = 0, line[] = "DEL ?";

    (void)state;
    plane_kit_init(&kit, 2);
    kit.options.trace = trace;
    kit.options.limits.output_bytes = 64 * 1024 * 1024;
    kit.options.events = EVENTS_KEYEVENT | EVENTS_GENERIC;
    plane_kit_start(&kit);
    plane_client_connect(&listener, &kit);
    plane_client_ask(&listener, "SUBSCRIBE c");
    plane_client_expect(&listener, "*3\r\n$9\r\nsubscribe\r\n$1\r\nc\r\n:1\r\n");
    const uint32_t target = connections_of(0) == 1 ? 0 : 1;
    plane_client_connect(&publisher, &kit);
    plane_client_ask(&publisher, "PING");
    plane_client_expect(&publisher, "+PONG\r\n");
    assert_int_equal(connections_of(1 - target), 1);
    plane_client_connect(&holder, &kit);
    for (char key = 'a'; here == 0 || there == 0; key++) {
        *(shard_of(&holder, key) == target ? &there : &here) = key;
    }

    plane_client_ask(&listener, "SUBSCRIBE __keyevent@0__:del");
    plane_client_expect(&listener, "*3\r\n$9\r\nsubscribe\r\n$18\r\n__keyevent@0__:del\r\n:2\r\n");
    plane_client_ask(&publisher, "MSET a 1 b 1 c 1 d 1 e 1 f 1 g 1 h 1");
    plane_client_expect(&publisher, "+OK\r\n");
    atomic_store(&held, target + 1);
    line[4] = there;
    plane_client_ask(&holder, line);
    while (atomic_load(&is_held) == 0) {
        usleep(1000);
    }

    for (int i = 0; i < TAKEN; i++) {
        publish(&publisher);
        plane_client_expect(&publisher, ":1\r\n");
    }
    line[4] = here;
    plane_client_ask(&publisher, line);
    plane_client_expect(&publisher, ":1\r\n");
    assert_int_equal(plane_kit_shard_stats(&kit, 1 - target).events_dropped, 1);
    publish(&publisher); /* It waits. */
    atomic_store(&held, 0);
    plane_client_expect(&publisher, ":1\r\n");
    receive_bytes(&listener, (TAKEN + 1) * (size_t)PAYLOAD_BYTES);

    plane_client_close(&listener);
    plane_client_close(&publisher);
    plane_client_close(&holder);
    plane_kit_stop(&kit);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_full_queue),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
