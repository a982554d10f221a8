/* Messages and what is asked about their subscribers, over several nodes. */
#include "check.h"

#include "events.h"
#include "played_node.h"
#include "resp_lines.h"

enum { NODES = 3 };

static struct planes_kit kit;

static void connect_to(struct plane_client *client, uint32_t node)
{
    plane_client_connect(client, &kit.nodes[node]);
}

static void listen_to(struct plane_client *client, uint32_t node, const char *command,
                      const char *name)
{
    char line[64], reply[128];

    connect_to(client, node);
    snprintf(line, sizeof line, "%s %s", command, name);
    plane_client_ask(client, line);
    snprintf(reply, sizeof reply, "*3\r\n$%zu\r\n%s\r\n$%zu\r\n%s\r\n:1\r\n", strlen(command),
             command, strlen(name), name);
    plane_client_expect(client, reply);
}

/* Ask until the reply is that: a node that does not answer in time is not counted, and a machine may be slow. */
static void await_reply(struct plane_client *client, const char *lines, const char *reply)
{
    static const char end[] = "$4\r\nover\r\n";
    char wanted[512], whole[512], got[512] = "";

    snprintf(whole, sizeof whole, "%s\r\nECHO over", lines);
    snprintf(wanted, sizeof wanted, "%s%s", reply, end);
    for (int tries = 0; strcmp(got, wanted) != 0; tries++) {
        if (tries == 100) {
            fail_msg("%s, not %s", got, wanted);
        }
        size_t size = 0;
        plane_client_ask(client, whole);
        do {
            assert_true(size < sizeof got - 1);
            assert_int_equal(plane_client_recv(client, got + size++, 1), 1);
            got[size] = '\0';
        } while (size < sizeof end - 1 || strcmp(got + size - (sizeof end - 1), end) != 0);
    }
}

/* Of what comes next, which stays. */
static char first_byte(const struct plane_client *client)
{
    char byte;
    ssize_t got;

    do {
        got = recv(client->fd, &byte, 1, MSG_PEEK);
    } while (got < 0 && errno == EINTR);
    assert_int_equal(got, 1);
    return byte;
}

static void start(void)
{
    static const uint32_t shards[NODES] = {2, 1, 2};

    planes_kit_init(&kit, NODES, shards);
    planes_kit_start(&kit, 1);
}

/* Whoever is asked counts the subscribers of all nodes. */
static void test_all_are_counted(void **state)
{
    enum { LISTENERS = 7 };
    static const struct {
        uint32_t node;
        const char *command, *name;
    } rows[LISTENERS] = {
        {0, "subscribe", "a"},   {0, "subscribe", "a"},   {1, "subscribe", "a"},
        {1, "psubscribe", "a*"}, {2, "psubscribe", "a*"}, {2, "psubscribe", "x*"},
        {2, "subscribe", "bb"},
    };
    struct plane_client listeners[LISTENERS], client;

    (void)state;
    start();
    for (uint32_t i = 0; i < LISTENERS; i++) {
        listen_to(&listeners[i], rows[i].node, rows[i].command, rows[i].name);
    }
    for (uint32_t node = 0; node < NODES; node++) {
        connect_to(&client, node);
        await_reply(&client, "PUBLISH a 1\r\nPUBLISH bb 2\r\nPUBLISH none 3\r\nPUBLISH ab 4",
                    ":5\r\n:1\r\n:0\r\n:2\r\n");
        await_reply(&client, "PUBSUB NUMSUB a bb none a\r\nPUBSUB NUMSUB\r\nPUBSUB NUMPAT",
                    "*8\r\n$1\r\na\r\n:3\r\n$2\r\nbb\r\n:1\r\n$4\r\nnone\r\n:0\r\n$1\r\na\r\n:3\r\n"
                    "*0\r\n:2\r\n");
        await_reply(&client, "PUBSUB CHANNELS\r\nPUBSUB CHANNELS b?\r\nPUBSUB CHANNELS n*\r\nPING",
                    "*2\r\n$1\r\na\r\n$2\r\nbb\r\n*1\r\n$2\r\nbb\r\n*0\r\n+PONG\r\n");
        plane_client_close(&client);
    }
    for (uint32_t i = 0; i < LISTENERS; i++) {
        plane_client_close(&listeners[i]);
    }
    planes_kit_stop(&kit);
}

/* Names that do not fit, together, are told as such. */
static void test_too_many_names(void **state)
{
    enum { NAME = 1024 * 1024, NAMES = 6 };
    struct plane_client listeners[NODES], client;
    char *name = malloc(NAME), *got = malloc(NAME + 64), head[64];

    (void)state;
    start();
    for (uint32_t node = 0; node < NODES; node++) {
        connect_to(&listeners[node], node);
        for (uint32_t i = 0; i < NAMES; i++) {
            memset(name, 'a' + (int)(node * NAMES + i), NAME);
            int size = snprintf(head, sizeof head, "*2\r\n$9\r\nSUBSCRIBE\r\n$%d\r\n", NAME);
            plane_client_send(&listeners[node], bytes_of(head, (size_t)size));
            plane_client_send(&listeners[node], bytes_of(name, NAME));
            plane_client_send(&listeners[node], bytes_of("\r\n", 2));
            size = snprintf(head, sizeof head, "*3\r\n$9\r\nsubscribe\r\n$%d\r\n\r\n:%u\r\n", NAME,
                            i + 1);
            for (size_t left = NAME + (size_t)size; left > 0;) {
                ssize_t more = plane_client_recv(&listeners[node], got, left < NAME ? left : NAME);
                assert_true(more > 0);
                left -= (size_t)more;
            }
        }
    }
    connect_to(&client, 0);
    plane_client_ask(&client, "PUBSUB CHANNELS");
    while (first_byte(&client) ==
           '*') { /* Some did not answer in time, and those of the others fit. */
        plane_client_close(&client);
        connect_to(&client, 0);
        plane_client_ask(&client, "PUBSUB CHANNELS");
    }
    plane_client_ask(&client, "PUBSUB CHANNELS x*\r\nPUBSUB NUMPAT");
    plane_client_expect(&client,
                        "-ERR the names of all nodes do not fit into 16 MiB\r\n*0\r\n:0\r\n");
    plane_client_close(&client);
    for (uint32_t node = 0; node < NODES; node++) {
        plane_client_close(&listeners[node]);
    }
    free(name);
    free(got);
    planes_kit_stop(&kit);
}

/* A node that ends while it is asked is not waited for, and the others are counted. */
static void test_one_is_gone(void **state)
{
    struct plane_client listener, client;

    (void)state;
    start();
    listen_to(&listener, 1, "subscribe", "a");
    connect_to(&client, 0);
    await_reply(&client, "PUBLISH a 1", ":1\r\n");
    plane_kit_stop(&kit.nodes[2]);
    kit.nodes[2].plane = NULL;
    for (uint32_t i = 0; i < 20; i++) {
        await_reply(&client, "PUBLISH a 2\r\nPUBSUB NUMSUB a", ":1\r\n*2\r\n$1\r\na\r\n:1\r\n");
    }
    plane_client_close(&client);
    plane_client_close(&listener);
    planes_kit_stop(&kit);
}

/* Messages come to all nodes' subscribers, in order. */
static void test_publish(void **state)
{
    struct plane_client listeners[NODES], client;

    (void)state;
    start();
    for (uint32_t i = 0; i < NODES; i++) {
        listen_to(&listeners[i], i, "subscribe", "news");
    }
    for (uint32_t i = 0; i < NODES; i++) {
        connect_to(&client, i);
        char counted[8] = "";
        uint32_t sent = 0;
        while (strcmp(counted, ":3\r\n") != 0) { /* Who does not answer in time is not counted. */
            assert_true(++sent < 100);
            plane_client_ask(&client, "PUBLISH news one");
            played_read(client.fd, (uint8_t *)counted, 4);
        }
        plane_client_ask(&client, "MULTI\r\nPUBLISH news two\r\nEXEC");
        /* In a transaction the reply counts this node's. */
        plane_client_expect(&client, "+OK\r\n+QUEUED\r\n*1\r\n:1\r\n");
        for (uint32_t j = 0; j < NODES; j++) {
            for (uint32_t k = 0; k < sent; k++) {
                plane_client_expect(&listeners[j],
                                    "*3\r\n$7\r\nmessage\r\n$4\r\nnews\r\n$3\r\none\r\n");
            }
            plane_client_expect(&listeners[j],
                                "*3\r\n$7\r\nmessage\r\n$4\r\nnews\r\n$3\r\ntwo\r\n");
        }
        plane_client_close(&client);
    }
    for (uint32_t i = 0; i < NODES; i++) {
        plane_client_close(&listeners[i]);
    }
    planes_kit_stop(&kit);
}

/* A node that is there and does not answer is not waited for long. */
static void test_publish_unanswered(void **state)
{
    struct plane_client client, listener;
    struct played node;

    (void)state;
    played_begin(&node, &kit);
    played_link_up(&node);
    listen_to(&listener, 0, "subscribe", "news");
    connect_to(&client, 0);
    plane_client_ask(&client, "PUBLISH news x\r\nPUBSUB NUMSUB news\r\nPING");
    plane_client_expect(&client, ":1\r\n*2\r\n$4\r\nnews\r\n:1\r\n+PONG\r\n");
    plane_client_close(&client);
    plane_client_close(&listener);
    played_end(&node);
}

/* The end of a session is told once to everybody, by the node that ends it. */
static void test_events(void **state)
{
    static const uint32_t shards[] = {1, 1};
    struct plane_client listeners[2], client;
    char line[64], reply[128];

    (void)state;
    planes_kit_init(&kit, 2, shards);
    for (uint32_t i = 0; i < 2; i++) {
        kit.nodes[i].options.events = EVENTS_KEYEVENT | EVENTS_GENERIC;
    }
    planes_kit_start(&kit, 1);
    for (uint32_t i = 0; i < 2; i++) {
        listen_to(&listeners[i], i, "subscribe", "__keyevent@0__:del");
    }
    connect_to(&client, 0);
    for (char key = 'a'; key < 'a' + 6; key++) {
        snprintf(line, sizeof line, "SET %c 1\r\nDEL %c", key, key);
        plane_client_ask(&client, line);
        plane_client_expect(&client, "+OK\r\n:1\r\n");
        snprintf(reply, sizeof reply,
                 "*3\r\n$7\r\nmessage\r\n$18\r\n__keyevent@0__:del\r\n$1\r\n%c\r\n", key);
        plane_client_expect(&listeners[0], reply);
        plane_client_expect(&listeners[1], reply);
    }
    plane_client_close(&client);
    for (uint32_t i = 0; i < 2; i++) {
        plane_client_close(&listeners[i]);
    }
    planes_kit_stop(&kit);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_all_are_counted),    cmocka_unit_test(test_too_many_names),
        cmocka_unit_test(test_one_is_gone),        cmocka_unit_test(test_publish),
        cmocka_unit_test(test_publish_unanswered), cmocka_unit_test(test_events),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
