/* What cluster-aware clients of Redis ask a node for on their port: reads of its copies after READONLY, who has copies, and
 * the keys of a slot. Each session is on two of three nodes. */
#include "check.h"

#include <pthread.h>

#include "planes_kit.h"
#include "resp.h"

enum { NODES = 3 };

static struct planes_kit kit;

/* ---- A RESP client of a node's port for such clients ---- */

static void open_client(struct plane_client *client, uint32_t node)
{
    plane_client_connect_port(client, plane_cluster_port(kit.nodes[node].plane));
}

static void ask(struct plane_client *client, const char *lines)
{
    char whole[1024];

    int size = snprintf(whole, sizeof whole, "%s\r\n", lines);
    assert_true(size > 0 && (size_t)size < sizeof whole);
    plane_client_send(client, bytes_of(whole, (size_t)size));
}

/* The next line of a reply, without its end. */
static const char *line_of(struct plane_client *client)
{
    static char line[1024];
    size_t size = 0;

    while (size < 2 || line[size - 1] != '\n') {
        assert_true(size < sizeof line - 1);
        assert_int_equal(plane_client_recv(client, line + size, 1), 1);
        size++;
    }
    line[size - 2] = '\0';
    return line;
}

static void expect(struct plane_client *client, const char *line)
{
    assert_string_equal(line_of(client), line);
}

static void expect_ok(struct plane_client *client, const char *command)
{
    ask(client, command);
    expect(client, "+OK");
}

/* The value of a key, "" where it has none, or an error. */
static const char *get(struct plane_client *client, const char *key)
{
    char command[64];

    snprintf(command, sizeof command, "GET %s", key);
    ask(client, command);
    const char *head = line_of(client);
    return head[0] == '-' ? head : strcmp(head, "$-1") == 0 ? "" : line_of(client);
}

/* ---- The nodes ---- */

static uint64_t far_asked(uint32_t node)
{
    uint64_t sum = 0;

    for (uint32_t i = 0; i < kit.nodes[node].options.shard_count; i++) {
        sum += plane_kit_shard_stats(&kit.nodes[node], i).far_asked;
    }
    return sum;
}

static void init(void)
{
    static const uint32_t shards[NODES] = {2, 1, 2};

    planes_kit_init(&kit, NODES, shards);
    for (uint32_t i = 0; i < NODES; i++) {
        kit.nodes[i].policy.ack = ACK_REPLICA; /* What is acknowledged the copy has. */
    }
}

/* A key of a slot whose owners are this node and the next one; another one for each number. */
static const char *key_of(uint32_t node, uint32_t number)
{
    static char key[32];

    for (uint32_t i = 0;; i++) {
        snprintf(key, sizeof key, "k%u-%u", number, i);
        if (planes_kit_owner(&kit, key) == node) {
            return key;
        }
    }
}

static const char *moved_to(const char *key, uint32_t node)
{
    static char text[64];

    snprintf(text, sizeof text, "-MOVED %u 127.0.0.1:%u", slot_of_key(bytes_of_string(key)),
             plane_cluster_port(kit.nodes[node].plane));
    return text;
}

/* ---- READONLY ---- */

/* Node 1 has copies of node 0's keys: it answers reads of them, itself, from READONLY to READWRITE; nothing else. */
static void test_copies_are_read(void **state)
{
    struct plane_client primary, copy;
    char line[128], key[32];

    (void)state;
    init();
    planes_kit_start(&kit, 2);
    planes_kit_wait_level(&kit);
    open_client(&primary, 0);
    open_client(&copy, 1);
    for (uint32_t i = 0; i < 20; i++) {
        snprintf(key, sizeof key, "%s", key_of(0, i));
        snprintf(line, sizeof line, "SET %s v%u", key, i);
        expect_ok(&primary, line);
        assert_string_equal(get(&copy, key), moved_to(key, 0));
        uint64_t before = far_asked(1);
        expect_ok(&copy, "READONLY");
        snprintf(line, sizeof line, "v%u", i);
        assert_string_equal(get(&copy, key), line);
        snprintf(line, sizeof line, "MULTI\r\nGET %s\r\nSTRLEN %s\r\nEXEC", key, key);
        ask(&copy, line);
        expect(&copy, "+OK");
        expect(&copy, "+QUEUED");
        expect(&copy, "+QUEUED");
        expect(&copy, "*2");
        (void)line_of(&copy);
        snprintf(line, sizeof line, "v%u", i);
        expect(&copy, line);
        expect(&copy, i < 10 ? ":2" : ":3");
        assert_int_equal(far_asked(1), before); /* It asked nobody. */
        snprintf(line, sizeof line, "SET %s x", key);
        ask(&copy, line);
        expect(&copy, moved_to(key, 0));
        assert_string_equal(get(&copy, key_of(2, i)), moved_to(key_of(2, i), 2));
        expect_ok(&copy, "READWRITE");
        assert_string_equal(get(&copy, key), moved_to(key, 0));
    }
    expect_ok(&copy, "READONLY");
    ask(&copy, "RESET");
    expect(&copy, "+RESET");
    assert_string_equal(get(&copy, key), moved_to(key, 0));
    plane_client_close(&primary);
    plane_client_close(&copy);
    planes_kit_stop(&kit);
}

/* A node that is told that it owns what it does not have yet says of no session that it is not there. */
static void test_what_is_not_there_yet(void **state)
{
    enum { KEYS = 200, FILL = 100 };
    struct plane_client primary, copy;
    char line[256], value[FILL + 1];

    (void)state;
    init();
    for (uint32_t i = 0; i < NODES; i++) {
        kit.nodes[i].policy.ack = ACK_MEMORY;
        kit.nodes[i].options.cluster.heal_bytes_per_s = 20000; /* So it takes its time. */
    }
    planes_kit_start(&kit, 1);
    planes_kit_wait_level(&kit);
    memset(value, 'v', FILL);
    value[FILL] = '\0';
    open_client(&primary, 0);
    open_client(&copy, 1);
    for (uint32_t i = 0; i < KEYS; i++) {
        snprintf(line, sizeof line, "SET %s %s", key_of(0, i), value);
        expect_ok(&primary, line);
    }
    expect_ok(&copy, "READONLY");
    planes_kit_tables(&kit, 2, 0);
    for (uint32_t i = 0; i < KEYS; i++) {
        const char *got = get(&copy, key_of(0, i));
        bool is_moved = strncmp(got, "-MOVED", 6) == 0; /* The table is not there yet. */
        i -= is_moved;
        if (!is_moved) {
            assert_string_equal(got, value);
        }
    }
    planes_kit_wait_level(&kit);
    plane_client_close(&primary);
    plane_client_close(&copy);
    planes_kit_stop(&kit);
}

/* Others may know before a node does that it is the primary now, and send clients there: who is to be it sends nobody back. */
static void test_who_is_to_have_it_asks(void **state)
{
    struct plane_client to_be, other;
    char line[64];

    (void)state;
    init();
    planes_kit_start(&kit, 1);
    planes_kit_wait_level(&kit);
    kit.targets_shift = 1;
    planes_kit_tables(&kit, 1, 0);
    open_client(&to_be, 1);
    open_client(&other, 2);
    snprintf(line, sizeof line, "SET %s v", key_of(0, 0));
    expect_ok(&to_be, line);
    ask(&other, line);
    expect(&other, moved_to(key_of(0, 0), 0));
    assert_string_equal(get(&to_be, key_of(0, 0)), "v");
    snprintf(line, sizeof line, "SET %s v", key_of(2, 0));
    ask(&to_be, line);
    expect(&to_be, moved_to(key_of(2, 0), 2));
    plane_client_close(&to_be);
    plane_client_close(&other);
    planes_kit_stop(&kit);
}

/* ---- CLUSTER SLOTS ---- */

struct told {
    uint32_t first, last, count;
    uint16_t ports[NODES];
};

static uint32_t number_of(const char *line)
{
    return (uint32_t)strtoul(line + 1, NULL, 10);
}

static struct told read_told(struct plane_client *client)
{
    struct told told = {.count = number_of(line_of(client)) - 2};

    assert_in_range(told.count, 1, NODES);
    told.first = number_of(line_of(client));
    told.last = number_of(line_of(client));
    for (uint32_t i = 0; i < told.count; i++) {
        expect(client, "*4");
        expect(client, "$9");
        expect(client, "127.0.0.1");
        told.ports[i] = (uint16_t)number_of(line_of(client));
        expect(client, "$40");
        (void)line_of(client);
        expect(client, "*0");
    }
    return told;
}

/* Clients hear of copies after READONLY only, and of each node first and last that it is a primary. */
static void test_slots_tell_of_copies(void **state)
{
    struct plane_client client;
    uint32_t slots = 0, copies = 0;
    bool last_is_primary[NODES] = {false}, heard[NODES] = {false};

    (void)state;
    init();
    planes_kit_start(&kit, 2);
    planes_kit_wait_level(&kit);
    open_client(&client, 0);
    ask(&client, "CLUSTER SLOTS");
    uint32_t count = number_of(line_of(&client));
    for (uint32_t i = 0; i < count; i++) {
        assert_int_equal(read_told(&client).count, 1);
    }
    expect_ok(&client, "READONLY");
    ask(&client, "CLUSTER SLOTS");
    count = number_of(line_of(&client));
    for (uint32_t i = 0; i < count; i++) {
        const struct told told = read_told(&client);
        slots += told.last - told.first + 1;
        copies += told.count - 1;
        for (uint32_t j = 0; j < told.count; j++) {
            uint32_t node = 0;
            while (plane_cluster_port(kit.nodes[node].plane) != told.ports[j]) {
                assert_true(++node < NODES);
            }
            assert_int_equal(node, (told.first + j) % NODES);
            assert_true(heard[node] || j == 0);
            heard[node] = true;
            last_is_primary[node] = j == 0;
        }
    }
    assert_int_equal(slots, SLOT_COUNT);
    assert_int_equal(copies, SLOT_COUNT - 2 * NODES);
    for (uint32_t i = 0; i < NODES; i++) {
        assert_true(last_is_primary[i]);
    }
    plane_client_close(&client);
    planes_kit_stop(&kit);
}

/* ---- The keys of a slot ---- */

static void expect_number(struct plane_client *client, const char *sub, uint32_t slot,
                          const char *line)
{
    char command[64];

    snprintf(command, sizeof command, "CLUSTER %s %u", sub, slot);
    ask(client, command);
    expect(client, line);
}

static void test_keys_of_a_slot(void **state)
{
    struct plane_client clients[NODES];
    char line[128], tag[32];

    (void)state;
    init();
    planes_kit_start(&kit, 2);
    planes_kit_wait_level(&kit);
    for (uint32_t i = 0; i < NODES; i++) {
        open_client(&clients[i], i);
    }
    for (uint32_t node = 0; node < NODES; node++) {
        snprintf(tag, sizeof tag, "%s", key_of(node, 0));
        const uint32_t slot = slot_of_key(bytes_of_string(tag));
        expect_number(&clients[node], "COUNTKEYSINSLOT", slot, ":0");
        for (uint32_t i = 0; i < 7; i++) {
            snprintf(line, sizeof line, "SET {%s}%u v", tag, i);
            expect_ok(&clients[node], line);
        }
        snprintf(line, sizeof line, "SET %s v", key_of(node, 1));
        expect_ok(&clients[node], line); /* Of another slot. */
        /* Both owners have them, the third node none. */
        expect_number(&clients[node], "COUNTKEYSINSLOT", slot, ":7");
        expect_number(&clients[(node + 1) % NODES], "COUNTKEYSINSLOT", slot, ":7");
        expect_number(&clients[(node + 2) % NODES], "COUNTKEYSINSLOT", slot, ":0");
        snprintf(line, sizeof line, "CLUSTER GETKEYSINSLOT %u 3", slot);
        ask(&clients[node], line);
        expect(&clients[node], "*3");
        for (uint32_t i = 0; i < 3; i++) {
            (void)line_of(&clients[node]);
            assert_int_equal(slot_of_key(bytes_of_string(line_of(&clients[node]))), slot);
        }
        snprintf(line, sizeof line, "CLUSTER GETKEYSINSLOT %u 100", slot);
        ask(&clients[node], line);
        expect(&clients[node], "*7");
        for (uint32_t i = 0; i < 14; i++) {
            (void)line_of(&clients[node]);
        }
        snprintf(line, sizeof line, "CLUSTER GETKEYSINSLOT %u 0", slot);
        ask(&clients[node], line);
        expect(&clients[node], "*0");
    }
    ask(&clients[0], "CLUSTER COUNTKEYSINSLOT 16384\r\nCLUSTER GETKEYSINSLOT x 1\r\n"
                     "CLUSTER GETKEYSINSLOT 1 -1\r\nCLUSTER COUNTKEYSINSLOT\r\n"
                     "MULTI\r\nCLUSTER COUNTKEYSINSLOT 1\r\nDISCARD");
    expect(&clients[0], "-ERR Invalid or out of range slot");
    expect(&clients[0], "-ERR Invalid or out of range slot");
    expect(&clients[0], "-ERR Invalid number of keys");
    expect(&clients[0], "-ERR unknown subcommand 'COUNTKEYSINSLOT'. Try CLUSTER HELP.");
    expect(&clients[0], "+OK");
    expect(&clients[0], "-ERR 'cluster' is not offered between MULTI and EXEC");
    expect(&clients[0], "+OK");
    for (uint32_t i = 0; i < NODES; i++) {
        plane_client_close(&clients[i]);
    }
    planes_kit_stop(&kit);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_copies_are_read),        cmocka_unit_test(test_what_is_not_there_yet),
        cmocka_unit_test(test_who_is_to_have_it_asks), cmocka_unit_test(test_slots_tell_of_copies),
        cmocka_unit_test(test_keys_of_a_slot),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
