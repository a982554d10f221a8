/* Copies of sessions on other nodes, over links between real planes: writes wait for them, and a node that is lost is
 * stood in for. */
#include "check.h"
#include "heap.h"

#include "planes_kit.h"

static struct planes_kit kit;

static uint32_t get_status(struct plane_client *client, const char *key)
{
    plane_client_add_get(client, bytes_of_string(key));
    return plane_client_status(client);
}

/* What this node itself has. */
static uint32_t inspect_status(struct plane_client *client, const char *key)
{
    Belay__Wire__Inspect inspect;

    belay__wire__inspect__init(&inspect);
    inspect.key = wire_bytes(bytes_of_string(key));
    plane_client_add(client, FRAME_INSPECT, &inspect.base, bytes_of(NULL, 0));
    return plane_client_status(client);
}

/* Write, and tell by which level that is acknowledged. */
static uint32_t put(struct plane_client *client, const char *key, const char *value)
{
    struct frame frame;

    plane_client_add_put(client, bytes_of_string(key), bytes_of_string(value), ACK_REPLICA);
    plane_client_flush(client);
    Belay__Wire__Reply *reply = plane_client_reply(client, &frame);
    uint32_t ack = reply->ack;
    assert_int_equal(reply->status, STATUS_OK);
    belay__wire__reply__free_unpacked(reply, NULL);
    return ack;
}

/* With two copies of all, a write is acknowledged once the other node has it, whichever was asked. */
static void test_two_copies(void **state)
{
    enum { KEYS = 60 };
    static const uint32_t shards[] = {2, 3};
    struct plane_client clients[2];
    char key[16];

    (void)state;
    planes_kit_begin(&kit, 2, shards, 2);
    planes_kit_connect(&kit, clients, 2);
    for (uint32_t i = 0; i < KEYS; i++) {
        snprintf(key, sizeof key, "k%u", i);
        assert_int_equal(put(&clients[i % 2], key, "v"), ACK_REPLICA);
        assert_int_equal(inspect_status(&clients[0], key), STATUS_OK);
        assert_int_equal(inspect_status(&clients[1], key), STATUS_OK);
    }
    planes_kit_end(&kit, clients, 2);
}

/* A node goes: what it had first is served by the next owner, with all that was acknowledged, and takes writes. */
static void test_lost_node(void **state)
{
    enum { KEYS = 90 };
    static const uint32_t shards[] = {1, 2, 1};
    struct plane_client clients[2];
    char key[16];

    (void)state;
    planes_kit_begin(&kit, 3, shards, 2);
    planes_kit_connect(&kit, clients, 2);
    for (uint32_t i = 0; i < KEYS; i++) {
        snprintf(key, sizeof key, "k%u", i);
        assert_int_equal(put(&clients[i % 2], key, "v"), ACK_REPLICA);
    }
    plane_kit_stop(&kit.nodes[2]);
    kit.nodes[2].plane = NULL;
    for (uint32_t i = 0; i < KEYS; i++) {
        snprintf(key, sizeof key, "k%u", i);
        assert_int_equal(get_status(&clients[0], key), STATUS_OK);
        assert_int_equal(get_status(&clients[1], key), STATUS_OK);
        (void)put(&clients[(i + 1) % 2], key, "w");
    }
    planes_kit_end(&kit, clients, 2);
}

/* A write that is repeated. */
static uint32_t repeat(struct plane_client *client, const char *key, const struct change *change,
                       uint64_t sequence)
{
    uint8_t list[64];
    Belay__Wire__Write write;

    uint8_t *end = change_put(list, change);
    belay__wire__write__init(&write);
    write.key = wire_bytes(bytes_of_string(key));
    write.type = SESSION_MAP;
    write.client = 7;
    write.sequence = sequence;
    write.retry_hlc = hlc_of_ms(plane_kit_now_ms(&kit.nodes[0]));
    plane_client_add(client, FRAME_WRITE, &write.base, bytes_of(list, (size_t)(end - list)));
    return plane_client_status(client);
}

/* An add that may have been done at the node that was lost is not done again, whoever is the key's primary: the lost one
 * may have stood in for him. A value that was set is. */
static void test_repeated_add(void **state)
{
    static const uint32_t shards[] = {1, 1, 1};
    const struct change add = {.operation = CHANGE_ADD, .name = bytes_of("n", 1), .delta = 1};
    const struct change set = {
        .operation = CHANGE_SET, .name = bytes_of("v", 1), .value = bytes_of("x", 1)};
    struct plane_client client;
    uint32_t lost = 0, kept = 0;
    uint64_t sequence = 1;
    char key[16] = "k0";

    (void)state;
    planes_kit_begin(&kit, 3, shards, 2);
    plane_client_connect(&client, &kit.nodes[0]);
    /* Once it is a little while ago that they met. */
    while (repeat(&client, key, &add, sequence++) == STATUS_MAYBE_APPLIED) {
    }
    plane_kit_stop(&kit.nodes[2]);
    kit.nodes[2].plane = NULL;
    for (uint32_t i = 0; i < 40; i++) {
        snprintf(key, sizeof key, "k%u", i);
        uint32_t *count = planes_kit_owner(&kit, key) == 2 ? &lost : &kept;
        assert_int_equal(repeat(&client, key, &add, sequence++), STATUS_MAYBE_APPLIED);
        assert_int_equal(repeat(&client, key, &set, sequence++), STATUS_OK);
        (*count)++;
    }
    assert_true(lost > 5 && kept > 5);
    plane_client_close(&client);
    planes_kit_stop(&kit);
}

/* Large sessions go from where they lie in the stream, and arrive whole. */
static void test_large_copies(void **state)
{
    enum { BYTES = 900 * 1000, KEYS = 20 };
    static const uint32_t shards[] = {1, 1};
    static char value[BYTES + 1];
    struct plane_client client;
    char key[16];

    (void)state;
    planes_kit_begin(&kit, 2, shards, 2);
    plane_client_connect(&client, &kit.nodes[0]);
    for (uint32_t i = 0; i < KEYS; i++) {
        memset(value, 'a' + (int)i, BYTES);
        snprintf(key, sizeof key, "k%u", i);
        plane_client_add_put(&client, bytes_of_string(key), bytes_of(value, BYTES), ACK_REPLICA);
        plane_client_flush(&client);
        struct frame frame;
        Belay__Wire__Reply *reply = plane_client_reply(&client, &frame);
        assert_int_equal(reply->status, STATUS_OK);
        assert_int_equal(reply->ack, ACK_REPLICA);
        belay__wire__reply__free_unpacked(reply, NULL);
    }
    plane_client_close(&client);
    planes_kit_stop(&kit);
}

/* Copies for which the log has no room wait for it, as writes do: they are not given up, to be sent again later. */
static void test_copies_wait_for_log(void **state)
{
    enum { BYTES = 900 * 1000, KEYS = 12 };
    static const uint32_t shards[] = {1, 1};
    static char value[BYTES + 1];
    struct plane_client client;
    char key[16];
    uint32_t sent = 0;

    (void)state;
    memset(value, 'a', BYTES);
    planes_kit_init(&kit, 2, shards);
    kit.nodes[1].segments[0].segment_bytes = 4 * 1024 * 1024;
    planes_kit_start(&kit, 2);
    planes_kit_wait_level(&kit);
    plane_client_connect(&client, &kit.nodes[0]);
    (void)put(&client, "a", "a"); /* There is a segment. */
    (void)put(&client, "b", "b");
    atomic_store(&kit.nodes[1].segments[0].error, -EAGAIN);
    for (uint32_t i = 0; sent < KEYS; i++) {
        snprintf(key, sizeof key, "k%u", i);
        if (planes_kit_owner(&kit, key) == 0) {
            plane_client_add_put(&client, bytes_of_string(key), bytes_of(value, BYTES),
                                 ACK_REPLICA);
            plane_client_flush(&client);
            sent++;
        }
    }
    while (atomic_load(&kit.nodes[1].segments[0].refused) < 2) {
        usleep(1000);
    }
    atomic_store(&kit.nodes[1].segments[0].error, 0);
    for (; sent > 0; sent--) {
        struct frame frame;
        Belay__Wire__Reply *reply = plane_client_reply(&client, &frame);
        assert_int_equal(reply->status, STATUS_OK);
        assert_int_equal(reply->ack, ACK_REPLICA);
        belay__wire__reply__free_unpacked(reply, NULL);
    }
    const struct plane_shard_stats stats = plane_kit_shard_stats(&kit.nodes[1], 0);
    assert_int_equal(stats.copies.held, 0);
    assert_true(stats.link_waits > 0);
    plane_client_close(&client);
    planes_kit_stop(&kit);
}

/* What a node ends in the place of one that is lost it remembers, though it has nothing of it. */
static void test_delete_while_standing_in(void **state)
{
    static const uint32_t shards[] = {1, 1, 1};
    const struct change destroy = {.operation = CHANGE_DESTROY};
    struct plane_client client;
    uint64_t ended = 0, kept = 0;
    char key[16];

    (void)state;
    planes_kit_begin(&kit, 3, shards, 2);
    plane_client_connect(&client, &kit.nodes[0]);
    plane_kit_stop(&kit.nodes[2]);
    kit.nodes[2].plane = NULL;
    for (uint32_t i = 0; i < 40; i++) {
        snprintf(key, sizeof key, "k%u", i);
        if (planes_kit_owner(&kit, key) == 2) {
            assert_int_equal(repeat(&client, key, &destroy, i + 1), STATUS_OK);
            ended++;
        }
    }
    for (int node = 0; node < 2; node++) {
        kept += plane_kit_shard_stats(&kit.nodes[node], 0).keeper.records;
    }
    assert_true(ended > 5 && kept >= ended);
    plane_client_close(&client);
    planes_kit_stop(&kit);
}

/* What the first node says of all its slots for a checkpoint: how many of its vectors are of how many actors. */
static uint64_t basis_of(bool copies, uint32_t slots[3])
{
    struct plane_basis basis = {.slot_count = SLOT_COUNT, .copies = copies};

    memset(slots, 0, 3 * sizeof slots[0]);
    basis.vectors.memory = heap_memory();
    assert_int_equal(plane_basis(kit.nodes[0].plane, 0, false, &basis), 0);
    struct reader from = reader_of(buffer_bytes(&basis.vectors));
    while (reader_left(&from) > 0) {
        (void)read_u32(&from);
        struct bytes vector = read_bytes(&from, read_u32(&from));
        assert_in_range(vector.data[0], 0, 2);
        slots[vector.data[0]]++;
    }
    buffer_fini(&basis.vectors);
    return basis.epoch;
}

/* A checkpoint of a node says of a slot what it has seen there, also once it is alone, and by which table. */
static void test_basis(void **state)
{
    static const uint32_t shards[] = {1, 1};
    struct plane_client client;
    uint32_t before[3], all[3], after[3];
    char key[16];

    (void)state;
    planes_kit_begin(&kit, 2, shards, 2);
    plane_client_connect(&client, &kit.nodes[0]);
    for (uint32_t i = 0; i < 120; i++) {
        snprintf(key, sizeof key, "k%u", i % 60);
        assert_int_equal(put(&client, key, "v"), ACK_REPLICA);
        if (i == 59) {
            planes_kit_tables(&kit, 2, 1); /* Each slot's owners change places. */
            planes_kit_wait_level(&kit);
        }
    }
    uint64_t epoch = basis_of(false, before);
    assert_int_equal(epoch, kit.epoch);
    assert_in_range(before[2], 1, SLOT_COUNT / 2);
    assert_in_range(before[0] + before[1] + before[2], 1, SLOT_COUNT - 1);
    assert_int_equal(basis_of(true, all), epoch); /* With those of which it has a copy. */
    assert_int_equal(all[0] + all[1] + all[2], SLOT_COUNT);
    assert_in_range(all[2], before[2] + 1, SLOT_COUNT);
    plane_client_close(&client);
    plane_kit_stop(&kit.nodes[1]);
    kit.nodes[1].plane = NULL;
    kit.count = 1;
    planes_kit_tables(&kit, 1, 0);
    assert_true(basis_of(false, after) > epoch);
    assert_int_equal(kit.epoch, basis_of(false, after));
    assert_true(after[2] >=
                before[2]); /* Not as a node that was always alone, which knows of itself. */
    kit.count = 2;
    planes_kit_stop(&kit);
}

/* By which table all threads go. */
static void test_followed(void **state)
{
    static const uint32_t shards[] = {2, 1};

    (void)state;
    planes_kit_init(&kit, 2, shards);
    for (uint32_t i = 0; i < 2; i++) {
        plane_kit_start(&kit.nodes[i]);
        assert_int_equal(plane_followed(kit.nodes[i].plane), 0);
    }
    for (uint32_t shift = 0; shift < 2; shift++) {
        planes_kit_tables(&kit, 2, shift);
        for (uint32_t i = 0; i < 2; i++) {
            plane_kit_until(plane_followed(kit.nodes[i].plane) == kit.epoch);
        }
    }
    planes_kit_stop(&kit);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_two_copies),          cmocka_unit_test(test_lost_node),
        cmocka_unit_test(test_repeated_add),        cmocka_unit_test(test_delete_while_standing_in),
        cmocka_unit_test(test_large_copies),        cmocka_unit_test(test_basis),
        cmocka_unit_test(test_copies_wait_for_log), cmocka_unit_test(test_followed),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
