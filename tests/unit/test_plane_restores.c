/* Lost slots (restores.h): what is said of them before they are whole, who may make them so, and what is refused. */
#include "check.h"
#include "heap.h"

#include "planes_kit.h"
#include "session_kit.h"

enum { LOST = 7, AHEAD_MS = 1000 * 1000 };

static const uint64_t PAST_MS = 1700000000000;

static struct planes_kit kit;
static _Atomic uint32_t wanted; /* How often any node was told that a slot is waited for. */

static void on_wanted(void *context, uint32_t slot)
{
    (void)context;
    (void)slot;
    atomic_fetch_add(&wanted, 1);
}

static void begin(uint32_t replicas)
{
    static const uint32_t shards[] = {1, 1};

    atomic_store(&wanted, 0);
    planes_kit_init(&kit, 2, shards);
    kit.lost_epoch = LOST;
    for (uint32_t i = 0; i < 2; i++) {
        kit.nodes[i].options.restore_wanted = on_wanted;
    }
    planes_kit_start(&kit, replicas);
    planes_kit_wait_level(&kit);
}

/* A key that this node owns first. */
static const char *key_of(uint32_t node, uint32_t number)
{
    static char key[16];
    uint32_t tries = number * 1000;

    do {
        snprintf(key, sizeof key, "k%u", tries++);
    } while (planes_kit_owner(&kit, key) != node);
    return key;
}

/* ---- Giving a plane what is restored ---- */

struct giving {
    struct plane_restore restore;
    struct test_memory memory[2]; /* Buffers go to the shard's thread, each with its own. */
    struct plane_restored result;
    char refused[16], ahead[16]; /* The keys that were refused last, and of a time to come... */
    enum status status;
    uint32_t missed, missed_slot; /* ... and which slots were missed. */
    _Atomic bool over;
};

static void on_done(void *context, const struct plane_restored *result)
{
    struct giving *giving = context;

    giving->result = *result;
    atomic_store(&giving->over, true);
}

static void on_refused(void *context, struct bytes key, enum status status)
{
    struct giving *giving = context;

    assert_true(key.size < sizeof giving->refused);
    memcpy(giving->refused, key.data, key.size);
    giving->refused[key.size] = '\0';
    giving->status = status;
}

static void on_ahead(void *context, struct bytes key)
{
    struct giving *giving = context;

    assert_true(key.size < sizeof giving->ahead);
    memcpy(giving->ahead, key.data, key.size);
    giving->ahead[key.size] = '\0';
}

static void on_missed(void *context, uint32_t slot, uint64_t lost)
{
    struct giving *giving = context;

    assert_true(lost > 0);
    giving->missed++;
    giving->missed_slot = slot;
}

static void giving_begin(struct giving *giving)
{
    *giving = (struct giving){.memory = {test_memory(), test_memory()}};
    giving->restore = (struct plane_restore){
        .records.memory = &giving->memory[0].memory,
        .slots.memory = &giving->memory[1].memory,
        .refused = on_refused,
        .ahead = on_ahead,
        .missed = on_missed,
        .done = on_done,
        .context = giving,
    };
}

static void add_slot(struct giving *giving, uint32_t slot)
{
    uint8_t item[11] = {(uint8_t)slot, (uint8_t)(slot >> 8)};

    store_u64(item + 2, LOST);
    assert_int_equal(buffer_append(&giving->restore.slots, bytes_of(item, sizeof item)), 0);
}

static void add_record_of(struct giving *giving, const char *key, uint64_t lost, uint64_t now_ms)
{
    uint8_t head[8 + VARINT_BYTES_MAX];
    struct kit maker;

    kit_init(&maker);
    maker.key = bytes_of_string(key);
    maker.actor = (struct actor){9, 1};
    maker.now_ms = now_ms;
    kit_add(&maker, KIT_CHANGE(SET, .name = kit_name("f"), .value = kit_name("v")));
    assert_int_equal(kit_write(&maker), STATUS_OK);
    store_u64(head, lost);
    const uint8_t *end = varint_put(head + 8, maker.record.size);
    assert_int_equal(buffer_append(&giving->restore.records, bytes_of(head, (size_t)(end - head))),
                     0);
    assert_int_equal(buffer_append(&giving->restore.records, buffer_bytes(&maker.record)), 0);
    kit_fini(&maker);
}

static void add_record(struct giving *giving, const char *key, uint64_t now_ms)
{
    add_record_of(giving, key, LOST, now_ms);
}

/* Make what was added of this key no record, though it has the key. */
static void spoil(struct giving *giving, const char *key)
{
    struct reader item = reader_of(buffer_bytes(&giving->restore.records));

    (void)read_u64(&item);
    const struct bytes record = read_string(&item);
    uint8_t *bytes = giving->restore.records.data + (giving->restore.records.size - record.size);
    for (size_t at = record.size; at-- > 0;) {
        bytes[at] ^= 0xff;
        if (session_check(record) != 0 && bytes_equal(session_key(record), bytes_of_string(key))) {
            return;
        }
        bytes[at] ^= 0xff;
    }
    fail();
}

/* To the plane, until it is done. */
static void give(struct giving *giving, uint32_t node)
{
    assert_int_equal(plane_restore(kit.nodes[node].plane, 0, &giving->restore), 0);
    plane_kit_until(atomic_load(&giving->over));
    assert_int_equal(giving->result.rc, 0);
}

static uint32_t get_status(struct plane_client *client, const char *key)
{
    plane_client_add_get(client, bytes_of_string(key));
    return plane_client_status(client);
}

static uint32_t inspect_status(struct plane_client *client, const char *key)
{
    Belay__Wire__Inspect inspect;

    belay__wire__inspect__init(&inspect);
    inspect.key = wire_bytes(bytes_of_string(key));
    plane_client_add(client, FRAME_INSPECT, &inspect.base, bytes_of(NULL, 0));
    return plane_client_status(client);
}

/* ---- Cases ---- */

/* Only who coordinates a slot can say that it is whole: with another node lies nothing of what is merged, so there nothing is. */
static void test_who_coordinates(void **state)
{
    struct plane_client clients[2];
    struct giving giving, again;
    const char *key;

    (void)state;
    begin(1);
    key = key_of(0, 0);
    const uint32_t slot = slot_of_key(bytes_of_string(key));
    for (uint32_t i = 0; i < 2; i++) {
        plane_client_connect(&clients[i], &kit.nodes[i]);
    }
    giving_begin(&giving);
    add_record(&giving, key, PAST_MS);
    add_slot(&giving, slot);
    give(&giving, 1);
    assert_int_equal(giving.result.merged, 0);
    assert_int_equal(giving.missed_slot, slot);
    assert_true(giving.missed > 0);
    assert_int_equal(get_status(&clients[1], key), STATUS_UNAVAILABLE);
    giving_begin(&again);
    add_record(&again, key, PAST_MS);
    add_slot(&again, slot);
    give(&again, 0);
    assert_int_equal(again.missed, 0);
    assert_int_equal(again.result.merged, 1);
    for (uint32_t i = 0; i < 2; i++) {
        assert_int_equal(get_status(&clients[i], key), STATUS_OK);
        plane_client_close(&clients[i]);
    }
    planes_kit_stop(&kit);
}

/* What was read for another loss, or comes once the slot is whole, is not merged into what goes on there. */
static void test_late_records(void **state)
{
    struct plane_client client;
    struct giving giving, again;
    const char *key;

    (void)state;
    begin(1);
    key = key_of(0, 0);
    plane_client_connect(&client, &kit.nodes[0]);
    giving_begin(&giving);
    add_record_of(&giving, key, LOST - 1, PAST_MS);
    add_slot(&giving, slot_of_key(bytes_of_string(key)));
    give(&giving, 0);
    assert_int_equal(giving.result.merged, 0);
    assert_int_equal(giving.missed, 1);
    assert_int_equal(get_status(&client, key), STATUS_NOT_FOUND); /* Whole it is, as it was said. */
    giving_begin(&again);
    add_record(&again, key, PAST_MS);
    give(&again, 0);
    assert_int_equal(again.result.merged, 0);
    assert_int_equal(again.missed, 0);
    assert_int_equal(get_status(&client, key), STATUS_NOT_FOUND);
    plane_client_close(&client);
    planes_kit_stop(&kit);
}

/* Slots that are lost no more, though nobody brought them back, are served as they are, and noted from there on what is seen. */
static void test_given_up(void **state)
{
    struct plane_client client;
    const char *key;

    (void)state;
    begin(1);
    key = key_of(0, 0);
    const uint32_t slot = slot_of_key(bytes_of_string(key));
    plane_client_connect(&client, &kit.nodes[0]);
    assert_int_equal(get_status(&client, key), STATUS_UNAVAILABLE);
    kit.lost_epoch = 0;
    planes_kit_tables(&kit, 1, 0);
    assert_int_equal(get_status(&client, key), STATUS_NOT_FOUND);
    plane_client_add_put(&client, bytes_of_string(key), bytes_of_string("v"), ACK_MEMORY);
    assert_int_equal(plane_client_status(&client), STATUS_OK);
    assert_int_equal(get_status(&client, key), STATUS_OK);
    planes_kit_await_tables(&kit);
    assert_true(seen_is_known(shard_seen(kit.nodes[0].shards[0]), slot));
    plane_client_close(&client);
    planes_kit_stop(&kit);
}

/* To look at a node's own copy says nothing of a lost slot, and has only who coordinates it bring it back. */
static void test_inspect(void **state)
{
    struct plane_client clients[2];
    const char *key;

    (void)state;
    begin(2);
    key = key_of(0, 0);
    for (uint32_t i = 0; i < 2; i++) {
        plane_client_connect(&clients[i], &kit.nodes[i]);
    }
    assert_int_equal(inspect_status(&clients[1], key), STATUS_UNAVAILABLE);
    assert_int_equal(atomic_load(&wanted), 0);
    assert_int_equal(inspect_status(&clients[0], key), STATUS_UNAVAILABLE);
    assert_int_equal(atomic_load(&wanted), 1);
    for (uint32_t i = 0; i < 2; i++) {
        plane_client_close(&clients[i]);
    }
    planes_kit_stop(&kit);
}

/* A record that is refused for good is named, and the others come all the same. */
static void test_refused(void **state)
{
    struct plane_client client;
    struct giving giving;
    char bad[16];

    (void)state;
    begin(1);
    snprintf(bad, sizeof bad, "%s", key_of(0, 0));
    plane_client_connect(&client, &kit.nodes[0]);
    giving_begin(&giving);
    add_record(&giving, bad, PAST_MS);
    spoil(&giving, bad);
    add_record(&giving, key_of(0, 1), PAST_MS);
    add_slot(&giving, slot_of_key(bytes_of_string(key_of(0, 1))));
    add_slot(&giving, slot_of_key(bytes_of_string(bad)));
    give(&giving, 0);
    assert_int_equal(giving.result.merged, 1);
    assert_int_equal(giving.result.refused, 1);
    assert_string_equal(giving.refused, bad);
    assert_int_equal(giving.status, STATUS_INVALID);
    assert_int_equal(get_status(&client, key_of(0, 1)), STATUS_OK);
    assert_int_equal(get_status(&client, bad), STATUS_NOT_FOUND);
    plane_client_close(&client);
    planes_kit_stop(&kit);
}

/* One of a time that has not come yet is not lost for that: its slot is not whole, and is tried again. */
static void test_ahead(void **state)
{
    struct plane_client client;
    struct giving giving, again;
    const char *key;

    (void)state;
    begin(1);
    key = key_of(0, 0);
    const uint32_t slot = slot_of_key(bytes_of_string(key));
    plane_client_connect(&client, &kit.nodes[0]);
    giving_begin(&giving);
    add_record(&giving, key, plane_kit_now_ms(&kit.nodes[0]) + AHEAD_MS);
    give(&giving, 0);
    assert_string_equal(giving.ahead, key);
    assert_int_equal(giving.missed, 1);
    assert_int_equal(giving.missed_slot, slot);
    assert_int_equal(giving.result.merged + giving.result.refused, 0);
    assert_int_equal(get_status(&client, key), STATUS_UNAVAILABLE);
    giving_begin(&again);
    add_record(&again, key, plane_kit_now_ms(&kit.nodes[0]));
    add_slot(&again, slot);
    give(&again, 0);
    assert_int_equal(again.result.merged, 1);
    assert_int_equal(get_status(&client, key), STATUS_OK);
    plane_client_close(&client);
    planes_kit_stop(&kit);
}

/* A turn that takes longer than the shard is waited for at once. */
static atomic_bool in_turn;

static void on_ahead_slowly(void *context, struct bytes key)
{
    const struct timespec turn = {.tv_sec = 1, .tv_nsec = 300000000};

    (void)context;
    (void)key;
    atomic_store(&in_turn, true);
    nanosleep(&turn, NULL);
}

static void test_long_turn(void **state)
{
    const struct timespec moment = {.tv_nsec = 1000000};
    atomic_bool stops = false;
    struct giving giving;

    (void)state;
    begin(1);
    giving_begin(&giving);
    giving.restore.ahead = on_ahead_slowly;
    add_record(&giving, key_of(0, 0), plane_kit_now_ms(&kit.nodes[0]) + AHEAD_MS);
    assert_int_equal(plane_restore(kit.nodes[0].plane, 0, &giving.restore), 0);
    while (!atomic_load(&in_turn)) {
        nanosleep(&moment, NULL);
    }
    assert_int_equal(plane_await_durable(kit.nodes[0].plane, 0, &stops), 0);
    atomic_store(&stops, true);
    assert_int_equal(plane_await_durable(kit.nodes[0].plane, 0, &stops), -ECANCELED);
    while (!atomic_load(&giving.over)) {
        nanosleep(&moment, NULL);
    }
    planes_kit_stop(&kit);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_who_coordinates), cmocka_unit_test(test_late_records),
        cmocka_unit_test(test_given_up),        cmocka_unit_test(test_inspect),
        cmocka_unit_test(test_refused),         cmocka_unit_test(test_ahead),
        cmocka_unit_test(test_long_turn),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
