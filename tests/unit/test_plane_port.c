/* The port of Redis's cluster-aware clients: who has not what they ask for sends them to who has. (test_plane_aware.c: reads of
 * copies there.) */
#include "check.h"

#include "planes_kit.h"
#include "resp.h"
#include "resp_lines.h"

static struct planes_kit kit;

static void connect_to(struct plane_client *client, uint32_t node)
{
    plane_client_connect(client, &kit.nodes[node]);
}

static void start(uint32_t count, const uint32_t shards[])
{
    planes_kit_init(&kit, count, shards);
    planes_kit_start(&kit, 1);
}

static void test_cluster_port(void **state)
{
    static const uint32_t shards[] = {2, 1};
    struct plane_client client, plain;
    char line[128], expected[128];
    uint32_t moved = 0;

    (void)state;
    start(2, shards);
    const uint16_t ports[] = {plane_cluster_port(kit.nodes[0].plane),
                              plane_cluster_port(kit.nodes[1].plane)};
    plane_client_connect_port(&client, ports[0]);
    connect_to(&plain, 1);
    for (uint32_t i = 0; i < 20; i++) {
        char key[16];
        snprintf(key, sizeof key, "m%u", i);
        uint32_t slot = slot_of_key(bytes_of_string(key));
        snprintf(line, sizeof line, "SET %s v", key);
        plane_client_ask(&client, line);
        if (slot % 2 == 0) {
            plane_client_expect(&client, "+OK\r\n");
        } else {
            snprintf(expected, sizeof expected, "-MOVED %u 127.0.0.1:%u\r\n", slot, ports[1]);
            plane_client_expect(&client, expected);
            moved++;
        }
        snprintf(line, sizeof line, "SET %s w", key);
        plane_client_ask(&plain, line);
        plane_client_expect(&plain, "+OK\r\n"); /* At the other port nobody is sent away. */
    }
    assert_true(moved > 3 && moved < 17);
    /* m0 and m1 are of different slots, and so are these two from each other. */
    plane_client_ask(&client, "MGET m0 m1");
    plane_client_expect(&client, "-CROSSSLOT Keys in request don't hash to the same slot\r\n");
    plane_client_ask(&client, "EVALSHA b70c2384248f88e6b75b9f89241a180f856ad852 2 m0 m1 p");
    plane_client_expect(&client, "-CROSSSLOT Keys in request don't hash to the same slot\r\n");
    plane_client_ask(&client, "SELECT 1\r\nSELECT 0\r\nREADWRITE\r\nASKING\r\nPING");
    plane_client_expect(
        &client, "-ERR SELECT is not allowed in cluster mode\r\n+OK\r\n+OK\r\n+OK\r\n+PONG\r\n");
    plane_client_ask(&client, "CLUSTER KEYSLOT foo\r\nCLUSTER MYID\r\nCLUSTER FOO");
    plane_client_expect(&client, ":12182\r\n$40\r\nbe1a000000000000000000000000000000000001\r\n"
                                 "-ERR unknown subcommand 'FOO'. Try CLUSTER HELP.\r\n");
    plane_client_ask(&plain, "CLUSTER SLOTS\r\nREADONLY");
    plane_client_expect(&plain, "-ERR This instance has cluster support disabled\r\n"
                                "-ERR This instance has cluster support disabled\r\n");
    plane_client_close(&client);
    plane_client_close(&plain);
    planes_kit_stop(&kit);
}

/* A queued command of another node's spoils its transaction. */
static void test_moved_in_multi(void **state)
{
    static const uint32_t shards[] = {1, 1};
    struct plane_client client;
    char line[128], expected[128];

    (void)state;
    start(2, shards);
    plane_client_connect_port(&client, plane_cluster_port(kit.nodes[0].plane));
    const char *key = planes_kit_owner(&kit, "k0") == 1 ? "k0" : "k1";
    assert_int_equal(planes_kit_owner(&kit, key), 1);
    snprintf(line, sizeof line, "MULTI\r\nSET %s 1\r\nEXEC", key);
    snprintf(expected, sizeof expected,
             "+OK\r\n-MOVED %u 127.0.0.1:%u\r\n"
             "-EXECABORT Transaction discarded because of previous errors.\r\n",
             slot_of_key(bytes_of_string(key)), plane_cluster_port(kit.nodes[1].plane));
    plane_client_ask(&client, line);
    plane_client_expect(&client, expected);
    plane_client_close(&client);
    planes_kit_stop(&kit);
}

/* A node alone has all slots, at the address by which the client came. */
static void test_cluster_of_one(void **state)
{
    static const uint32_t shards[] = {1};
    struct plane_client client;
    char expected[256];

    (void)state;
    planes_kit_init(&kit, 1, shards);
    plane_kit_start(&kit.nodes[0]);
    uint16_t port = plane_cluster_port(kit.nodes[0].plane);
    plane_client_connect_port(&client, port);
    snprintf(expected, sizeof expected,
             "*1\r\n*3\r\n:0\r\n:16383\r\n*4\r\n$0\r\n\r\n:%u\r\n"
             "$40\r\nbe1a000000000000000000000000000000000001\r\n*0\r\n+OK\r\n",
             port);
    plane_client_ask(&client, "CLUSTER SLOTS\r\nSET a 1");
    plane_client_expect(&client, expected);
    snprintf(expected, sizeof expected,
             "$%zu\r\nbe1a000000000000000000000000000000000001 :%u@0 myself,master - 0 0 0 "
             "connected 0-16383\n\r\n",
             strlen("be1a000000000000000000000000000000000001 :@0 myself,master - 0 0 0 connected "
                    "0-16383\n") +
                 (port > 9999 ? 5U : 4U),
             port);
    plane_client_ask(&client, "CLUSTER NODES");
    plane_client_expect(&client, expected);
    plane_client_close(&client);
    planes_kit_stop(&kit);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_cluster_port),
        cmocka_unit_test(test_moved_in_multi),
        cmocka_unit_test(test_cluster_of_one),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
