/* Requests that another node coordinates: asked there over links, whatever their language, kind and size. */
#include "check.h"

#include <inttypes.h>
#include <time.h>

#include "planes_kit.h"
#include "resp.h"
#include "resp_lines.h"

static struct planes_kit kit;

static void connect_to(struct plane_client *client, uint32_t node)
{
    plane_client_connect(client, &kit.nodes[node]);
}

static uint64_t asked(uint32_t node)
{
    uint64_t sum = 0;

    for (uint32_t i = 0; i < kit.nodes[node].options.shard_count; i++) {
        sum += plane_kit_shard_stats(&kit.nodes[node], i).far_asked;
    }
    return sum;
}

static void start(uint32_t count, const uint32_t shards[])
{
    planes_kit_init(&kit, count, shards);
    planes_kit_start(&kit, 1);
}

/* What one node was told, every other one has. */
static void test_any_node(void **state)
{
    static const uint32_t shards[] = {2, 3, 1};
    struct plane_client clients[3];
    char line[64], reply[64];

    (void)state;
    start(3, shards);
    for (uint32_t i = 0; i < 3; i++) {
        connect_to(&clients[i], i);
    }
    for (uint32_t key = 0; key < 60; key++) {
        snprintf(line, sizeof line, "SET k%u v%u", key, key);
        plane_client_ask(&clients[key % 3], line);
        plane_client_expect(&clients[key % 3], "+OK\r\n");
        snprintf(line, sizeof line, "GET k%u", key);
        snprintf(reply, sizeof reply, "$%u\r\nv%u\r\n", key < 10 ? 2 : 3, key);
        for (uint32_t i = 0; i < 3; i++) {
            plane_client_ask(&clients[i], line);
            plane_client_expect(&clients[i], reply);
        }
    }
    for (uint32_t i = 0; i < 3; i++) {
        assert_true(asked(i) > 40 && asked(i) < 80); /* Two thirds of 80. */
        plane_client_close(&clients[i]);
    }
    planes_kit_stop(&kit);
}

/* Order, errors, many keys, transactions, scripts. */
static void test_commands(void **state)
{
    static const uint32_t shards[] = {2, 2};
    struct plane_client client;

    (void)state;
    start(2, shards);
    connect_to(&client, 0);
    plane_client_ask(&client, "MSET a 1 b 2 c 3 d 4 e 5");
    plane_client_expect(&client, "+OK\r\n");
    plane_client_ask(&client, "MGET a b c d e none");
    plane_client_expect(&client,
                        "*6\r\n$1\r\n1\r\n$1\r\n2\r\n$1\r\n3\r\n$1\r\n4\r\n$1\r\n5\r\n$-1\r\n");
    plane_client_ask(&client, "DEL a b c d e none");
    plane_client_expect(&client, ":5\r\n");
    for (char key = 'a'; key < 'a' + 8; key++) {
        char lines[256];
        snprintf(lines, sizeof lines,
                 "SET %c x\r\nAPPEND %c y\r\nGET %c\r\nLPUSH %c 1\r\nINCR %c\r\nDEL %c\r\nGET "
                 "%c\r\nHSET %c f 1",
                 key, key, key, key, key, key, key, key);
        plane_client_ask(&client, lines);
        plane_client_expect(&client, "+OK\r\n:2\r\n$2\r\nxy\r\n-ERR unknown command");
        char rest[256];
        size_t at = 0;
        while (at == 0 || rest[at - 1] != '\n') {
            assert_int_equal(plane_client_recv(&client, rest + at++, 1), 1);
        }
        plane_client_expect(&client,
                            "-ERR value is not an integer or out of range\r\n:1\r\n$-1\r\n:1\r\n");
        snprintf(lines, sizeof lines,
                 "WATCH {%c}1\r\nMULTI\r\nSET {%c}1 p\r\nMSET {%c}2 q {%c}3 r\r\nMGET {%c}1 "
                 "{%c}3\r\nPING\r\nEXEC",
                 key, key, key, key, key, key);
        plane_client_ask(&client, lines);
        plane_client_expect(&client, "+OK\r\n+OK\r\n+QUEUED\r\n+QUEUED\r\n+QUEUED\r\n+QUEUED\r\n"
                                     "*4\r\n+OK\r\n+OK\r\n*2\r\n$1\r\np\r\n$1\r\nr\r\n+PONG\r\n");
        snprintf(lines, sizeof lines, "RENAME {%c}1 {%c}4\r\nGET {%c}4", key, key, key);
        plane_client_ask(&client, lines);
        plane_client_expect(&client, "+OK\r\n$1\r\np\r\n");
        /* phpredis's script that releases a lock. */
        snprintf(lines, sizeof lines, "EVALSHA b70c2384248f88e6b75b9f89241a180f856ad852 1 {%c}4 p",
                 key);
        plane_client_ask(&client, lines);
        plane_client_expect(&client, ":1\r\n");
        snprintf(lines, sizeof lines, "EXISTS {%c}4", key);
        plane_client_ask(&client, lines);
        plane_client_expect(&client, ":0\r\n");
    }
    assert_true(asked(0) > 20);
    plane_client_close(&client);
    planes_kit_stop(&kit);
}

/* Values larger than any buffer, both ways, and many of them at once. */
static void test_large(void **state)
{
    enum { BYTES = 900 * 1000, COUNT = 12 };
    static const uint32_t shards[] = {1, 2};
    static uint8_t value[BYTES];
    struct plane_client client;
    struct frame frame;
    char key[16];

    (void)state;
    start(2, shards);
    connect_to(&client, 0);
    for (uint32_t i = 0; i < BYTES; i++) {
        value[i] = (uint8_t)(i * 7 + i / 251);
    }
    for (uint32_t i = 0; i < COUNT; i++) {
        snprintf(key, sizeof key, "large%u", i);
        value[0] = (uint8_t)i;
        plane_client_add_put(&client, bytes_of_string(key), bytes_of(value, BYTES - i), ACK_MEMORY);
        assert_int_equal(plane_client_status(&client), STATUS_OK);
    }
    for (uint32_t i = 0; i < COUNT; i++) {
        snprintf(key, sizeof key, "large%u", i);
        plane_client_add_get(&client, bytes_of_string(key));
    }
    plane_client_flush(&client);
    for (uint32_t i = 0; i < COUNT; i++) {
        Belay__Wire__Reply *reply = plane_client_reply(&client, &frame);
        assert_int_equal(reply->status, STATUS_OK);
        belay__wire__reply__free_unpacked(reply, NULL);
        uint32_t number = (uint32_t)frame.request_id - COUNT - 1;
        assert_true(number < COUNT && frame.value.size >= BYTES - number);
        value[0] = (uint8_t)number;
        assert_memory_equal(frame.value.data + (frame.value.size - (BYTES - number)), value,
                            BYTES - number);
    }
    assert_true(asked(0) >= COUNT / 2);
    plane_client_close(&client);
    planes_kit_stop(&kit);
}

/* A value that no session may have is refused by the node that is asked, whoever has the key; one that may have been written
 * before, and one that is smaller, go to who has it. */
static void test_oversize(void **state)
{
    enum { LIMIT = 100 * 1000, BYTES = 200 * 1000, KEYS = 12 };
    static const uint32_t shards[] = {1, 2};
    static uint8_t value[BYTES];
    struct plane_client client, other;
    char line[RESP_LINE_BYTES], key[16], head[64];

    (void)state;
    planes_kit_init(&kit, 2, shards);
    for (uint32_t i = 0; i < 2; i++) {
        kit.nodes[i].policy.rules.session_bytes_max = LIMIT;
    }
    planes_kit_start(&kit, 1);
    connect_to(&client, 0);
    connect_to(&other, 0);
    memset(value, 'v', sizeof value);
    for (uint32_t i = 0; i < KEYS; i++) {
        snprintf(key, sizeof key, "k%02u", i);
        plane_client_add_put(&client, bytes_of_string(key), bytes_of(value, BYTES), ACK_MEMORY);
        assert_int_equal(plane_client_status(&client), STATUS_SESSION_TOO_LARGE);
        snprintf(head, sizeof head, "*3\r\n$3\r\nSET\r\n$3\r\n%s\r\n$%d\r\n", key, BYTES);
        plane_client_send(&other, bytes_of_string(head));
        plane_client_send(&other, bytes_of(value, BYTES));
        plane_client_send(&other, bytes_of_string("\r\n"));
        plane_client_line(&other, line);
        assert_non_null(strstr(line, "-ERR a value is larger than session_max_bytes, 100000"));
    }
    assert_int_equal(asked(0), 0);
    assert_int_equal(plane_kit_shard_stats(&kit.nodes[0], 0).shard.refused, 2 * KEYS);
    for (uint32_t i = 0; i < KEYS; i++) {
        snprintf(key, sizeof key, "k%02u", i);
        plane_client_add_put(&client, bytes_of_string(key), bytes_of(value, LIMIT), ACK_MEMORY);
        assert_int_equal(plane_client_status(&client), STATUS_OK);
    }
    assert_in_range(asked(0), KEYS / 4, KEYS - 1);
    plane_client_close(&client);
    plane_client_close(&other);
    planes_kit_stop(&kit);
}

/* Each of two nodes takes the other for the owner of all slots, or nobody. */
static void disagree(uint32_t owner)
{
    for (uint32_t i = 0; i < 2; i++) {
        struct slot_table *table = calloc(1, sizeof *table);
        assert_non_null(table);
        *table = (struct slot_table){
            .epoch = 8 + owner, .self = i + 1, .replicas = 1, .member_count = 2};
        for (uint32_t j = 0; j < 2; j++) {
            table->members[j] = (struct slot_table_member){
                .number = j + 1, .start = 1, .shards = 1, .serves = true};
        }
        for (uint32_t slot = 0; slot < SLOT_COUNT; slot++) {
            table->owners[slot].nodes[0] = owner * (2 - i);
        }
        atomic_fetch_add(&kit.tables, 1);
        assert_int_equal(plane_set_table(kit.nodes[i].plane, table, planes_kit_released, &kit), 0);
    }
}

/* Two nodes that each take the other for a slot's owner do not pass a request between them for ever. */
static void test_disagreement(void **state)
{
    static const uint32_t shards[] = {1, 1};
    struct plane_client client;
    char line[64];

    (void)state;
    start(2, shards);
    disagree(0); /* Nobody has a slot: who had it would go on until the next one takes it. */
    disagree(1);
    planes_kit_await_tables(&kit);
    connect_to(&client, 0);
    snprintf(line, sizeof line, "SET %s 1", "x");
    plane_client_ask(&client, line);
    plane_client_expect(&client,
                        "-NOREPLICAS no node that has this session can be reached now\r\n");
    planes_kit_tables(&kit, 1, 0);
    plane_client_ask(&client, line);
    plane_client_expect(&client, "+OK\r\n");
    plane_client_close(&client);
    planes_kit_stop(&kit);
}

/* ---- RENAME ---- */

static void test_rename(void **state)
{
    static const uint32_t shards[] = {2, 1, 2};
    const uint64_t deadline_ms = (uint64_t)(time(NULL) + 1000) * 1000 + 123;
    struct plane_client client;
    char line[256], reply[64];

    (void)state;
    start(3, shards);
    connect_to(&client, 0);
    for (uint32_t i = 0; i < 20; i++) {
        /* Between slots, and so between nodes, of all kinds of pairs. */
        snprintf(line, sizeof line,
                 "HSET old%u f v g w\r\nPEXPIREAT old%u %" PRIu64
                 "\r\nSET new%u x\r\nRENAME old%u new%u",
                 i, i, deadline_ms, i, i, i);
        plane_client_ask(&client, line);
        plane_client_expect(&client, ":2\r\n:1\r\n+OK\r\n+OK\r\n");
        snprintf(line, sizeof line,
                 "EXISTS old%u\r\nHGET new%u f\r\nHLEN new%u\r\nPEXPIRETIME new%u", i, i, i, i);
        plane_client_ask(&client, line);
        snprintf(reply, sizeof reply, ":0\r\n$1\r\nv\r\n:2\r\n:%" PRIu64 "\r\n", deadline_ms);
        plane_client_expect(&client, reply);
        snprintf(line, sizeof line,
                 "RENAME old%u new%u\r\nSET old%u y\r\nRENAMENX old%u new%u\r\nGET "
                 "old%u\r\nRENAMENX old%u third%u\r\nGET third%u\r\nEXISTS old%u",
                 i, i, i, i, i, i, i, i, i, i);
        plane_client_ask(&client, line);
        plane_client_expect(&client,
                            "-ERR no such key\r\n+OK\r\n:0\r\n$1\r\ny\r\n:1\r\n$1\r\ny\r\n:0\r\n");
    }
    plane_client_close(&client);
    planes_kit_stop(&kit);
}

/* ---- All keys ---- */

/* One page: what it has is marked in `seen`. Returns the next cursor. */
static unsigned long long scan(struct plane_client *client, unsigned long long cursor,
                               uint32_t seen[], uint32_t count)
{
    char line[RESP_LINE_BYTES];

    snprintf(line, sizeof line, "SCAN %llu COUNT 20", cursor);
    plane_client_ask(client, line);
    plane_client_line(client, line);
    assert_string_equal(line, "*2");
    plane_client_line(client, line);
    plane_client_line(client, line);
    cursor = strtoull(line, NULL, 10);
    plane_client_line(client, line);
    assert_int_equal(line[0], '*');
    for (unsigned long keys = strtoul(line + 1, NULL, 10); keys > 0; keys--) {
        plane_client_line(client, line);
        plane_client_line(client, line);
        uint32_t number = (uint32_t)strtoul(line + 1, NULL, 10);
        assert_true(line[0] == 'k' && number < count);
        seen[number]++;
    }
    return cursor;
}

static uint32_t keys_of(struct plane_client *client)
{
    char line[RESP_LINE_BYTES];

    plane_client_ask(client, "DBSIZE");
    plane_client_line(client, line);
    return (uint32_t)strtoul(line + 1, NULL, 10);
}

/* Each node gives all keys, each once, also while owners change. */
static void test_scan(void **state)
{
    enum { KEYS = 500 };
    static const uint32_t shards[] = {2, 3, 1};
    struct plane_client clients[3];
    char line[RESP_LINE_BYTES];

    (void)state;
    planes_kit_init(&kit, 3, shards);
    for (uint32_t i = 0; i < 3; i++) {
        kit.nodes[i].options.allow_flush = true;
    }
    planes_kit_start(&kit, 1);
    for (uint32_t i = 0; i < 3; i++) {
        connect_to(&clients[i], i);
    }
    for (uint32_t i = 0; i < KEYS; i++) {
        snprintf(line, sizeof line, "SET k%u 1", i);
        plane_client_ask(&clients[i % 3], line);
        plane_client_expect(&clients[i % 3], "+OK\r\n");
    }
    for (uint32_t i = 0; i < 3; i++) {
        uint32_t seen[KEYS] = {0}, pages = 0;
        unsigned long long cursor = 0;
        do {
            cursor = scan(&clients[i], cursor, seen, KEYS);
            planes_kit_tables(&kit, 1, 0); /* Another epoch. */
            pages++;
        } while (cursor != 0);
        for (uint32_t key = 0; key < KEYS; key++) {
            assert_int_equal(seen[key], 1);
        }
        assert_true(pages >= 10);
        assert_int_equal(keys_of(&clients[i]), KEYS);
        plane_client_ask(&clients[i], "KEYS k1?");
        plane_client_line(&clients[i], line);
        assert_string_equal(line, "*10");
        for (uint32_t j = 0; j < 20; j++) {
            plane_client_line(&clients[i], line);
        }
    }
    plane_client_ask(&clients[1], "FLUSHALL");
    plane_client_expect(&clients[1], "+OK\r\n");
    for (uint32_t i = 0; i < 3; i++) {
        assert_int_equal(keys_of(&clients[i]), 0);
        plane_client_close(&clients[i]);
    }
    planes_kit_stop(&kit);
}

/* The native protocol's scan goes over all nodes, too; and what one of them cannot say is an error, in the end. */
static void test_native_scan(void **state)
{
    enum { KEYS = 60 };
    static const uint32_t shards[] = {2, 1};
    struct plane_client client;
    struct frame frame;
    char key[16];

    (void)state;
    start(2, shards);
    connect_to(&client, 0);
    for (uint32_t i = 0; i < KEYS; i++) {
        snprintf(key, sizeof key, "n%u", i);
        plane_client_add_put(&client, bytes_of_string(key), bytes_of_string("v"), ACK_MEMORY);
        assert_int_equal(plane_client_status(&client), STATUS_OK);
    }
    uint32_t keys = 0;
    uint64_t cursor = 0;
    do {
        Belay__Wire__Scan scan;
        belay__wire__scan__init(&scan);
        scan.cursor = cursor;
        scan.count = 10;
        plane_client_add(&client, FRAME_SCAN, &scan.base, bytes_of(NULL, 0));
        plane_client_flush(&client);
        assert_true(plane_client_receive(&client, &frame));
        Belay__Wire__ManyReply *reply =
            belay__wire__many_reply__unpack(NULL, frame.head.size, frame.head.data);
        assert_non_null(reply);
        cursor = reply->cursor;
        belay__wire__many_reply__free_unpacked(reply, NULL);
        for (struct reader reader = reader_of(frame.value); reader_left(&reader) > 0;) {
            assert_int_equal(read_string(&reader).data[0], 'n');
            keys++;
        }
    } while (cursor != 0);
    assert_int_equal(keys, KEYS);
    plane_client_close(&client);
    planes_kit_stop(&kit);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_any_node),     cmocka_unit_test(test_commands),
        cmocka_unit_test(test_large),        cmocka_unit_test(test_oversize),
        cmocka_unit_test(test_disagreement), cmocka_unit_test(test_rename),
        cmocka_unit_test(test_scan),         cmocka_unit_test(test_native_scan),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
