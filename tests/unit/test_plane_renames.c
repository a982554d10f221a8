/* A rename that a crash left between its steps, found by a start whose disk is full. */
#include "check.h"

#include "plane_kit.h"
#include "record_write.h"
#include "rename.h"
#include "resp_lines.h"
#include "slot.h"

static struct plane_kit kit;

/* The record of a new blob. */
static void make_record(struct bytes key, struct bytes value, struct buffer *record)
{
    const struct change change = {.operation = CHANGE_SET, .value = value};

    record->size = 0;
    record_write(record, key, kit.options.actor, 1700000000000, SESSION_BLOB, &change);
}

/* Shard 0 has renamed a session to "new", which is shard `target`'s. */
static uint32_t target;

static void restore(struct plane_kit *begun)
{
    struct buffer record = {.memory = heap_memory()};
    uint16_t tags[SLOT_COUNT];
    uint8_t intent[4096] = {0}, key[RENAME_KEY_BYTES];

    make_record(text("old"), text("treasure"), &record);
    store_u64(intent, 7);                 /* Id... */
    store_u64(intent + 8, 1700000000000); /* ... when, and hlc and number of the journal 0. */
    uint8_t *at = varint_put(intent + 25, 3);
    memcpy(at, "new", 3);
    memcpy(at + 3, record.data, record.size);
    struct rename_intent read;
    struct bytes bytes = bytes_of(intent, (size_t)(at - intent) + 3 + record.size);
    assert_true(rename_intent_read(bytes, &read));

    rename_tags(tags);
    make_record(rename_journal_key(tags[0], 0, key), bytes, &record);
    assert_int_equal(shard_restore_record(begun->shards[0], buffer_bytes(&record)), 0);
    make_record(text("new"), text("before"), &record);
    assert_int_equal(shard_restore_record(begun->shards[target], buffer_bytes(&record)), 0);
    buffer_fini(&record);
}

static void test_full_disk(void **state)
{
    struct plane_client other, waits;

    (void)state;
    plane_kit_init(&kit, 2);
    target = slot_of_key(text("new")) % 2;
    kit.restore = restore;
    for (uint32_t i = 0; i < 2; i++) {
        atomic_store(&kit.segments[i].error, -ENOSPC);
    }
    plane_kit_start(&kit);
    plane_client_connect(&other, &kit);
    plane_client_ask(&other, "GET other");
    plane_client_expect(&other, "$-1\r\n"); /* Clients are served... */
    plane_client_ask(&other, "SET other x");
    plane_client_expect(&other, "-MISCONF");

    plane_client_connect(&waits, &kit);
    plane_client_ask(&waits, "GET new");
    struct pollfd answer = {.fd = waits.fd, .events = POLLIN};
    for (int i = 0; i < 20; i++) {
        plane_client_ask(&other, "EXISTS other");
        assert_int_equal(poll(&answer, 1, 10), 0); /* ... but nobody sees the key as it was. */
    }
    for (uint32_t i = 0; i < 2; i++) {
        atomic_store(&kit.segments[i].error, 0);
    }
    plane_client_expect(&waits, "$8\r\ntreasure\r\n");
    plane_client_close(&other);
    plane_client_close(&waits);
    plane_kit_stop(&kit);
}

/* The heap, but that for a while there is nothing large. Any thread. */
static _Atomic int64_t refusals_left;

static void *scarce_resize(struct memory *memory, void *block, size_t old_size, size_t new_size)
{
    struct memory *heap = heap_memory();

    (void)memory;
    if (new_size > 4096 && atomic_fetch_sub(&refusals_left, 1) > 0) {
        return NULL;
    }
    return heap->resize(heap, block, old_size, new_size);
}

static void restore_scarce(struct plane_kit *begun)
{
    restore(begun);
    atomic_store(&refusals_left, 5000); /* Of some rounds of looking. */
}

/* Journals are asked until they answer: BUSY is no answer. */
static void test_busy_start(void **state)
{
    struct memory scarce = *heap_memory();
    struct plane_client client;

    (void)state;
    scarce.resize = scarce_resize;
    plane_kit_init(&kit, 2);
    kit.options.memory = &scarce;
    target = slot_of_key(text("new")) % 2;
    kit.restore = restore_scarce;
    plane_kit_start(&kit);
    plane_client_connect(&client, &kit);
    plane_client_ask(&client, "GET new");
    plane_client_expect(&client, "$8\r\ntreasure\r\n");
    assert_true(atomic_load(&refusals_left) <= 0);
    plane_client_close(&client);
    plane_kit_stop(&kit);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_full_disk),
        cmocka_unit_test(test_busy_start),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
