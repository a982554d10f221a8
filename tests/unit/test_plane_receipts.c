/* Receipts of renames between nodes, over links between real planes: the letter stays until its receipt is kept; receipts go
 * where they are many, but only once no node has the letter that another one might deliver. */
#include "alias.h"
#include "check.h"
#include "dedup.h"
#include "keeper.h"
#include "planes_kit.h"
#include "record.h"
#include "resp_lines.h"

static struct planes_kit kit;

/* The key that all are renamed to, and of which node 0 is the first owner. */
static const char *target(void)
{
    static char name[16];

    for (uint32_t i = 0; name[0] == '\0' || planes_kit_owner(&kit, name) != 0; i++) {
        snprintf(name, sizeof name, "new%u", i);
    }
    return name;
}

static const char *old_of(uint32_t number)
{
    static char name[16];

    snprintf(name, sizeof name, "old%u", number);
    return name;
}

/* The next key of which node 1 is the first owner. */
static const char *next_old(uint32_t *number)
{
    do {
        ++*number;
    } while (planes_kit_owner(&kit, old_of(*number)) != 1);
    return old_of(*number);
}

/* What is under a key at its first owner, in `records`, which is to be freed. */
static struct bytes record_of(const char *name, struct test_memory *memory,
                              struct plane_records *records)
{
    const struct bytes key = bytes_of_string(name);
    struct plane_record_head head;
    uint8_t ask[64];
    int rc;

    store_u64(ask, keeper_position(42, key));
    uint8_t *at = varint_put(ask + 8, key.size);
    memcpy(at, key.data, key.size);
    const struct bytes keys = bytes_of(ask, (size_t)(at - ask) + key.size);
    *memory = test_memory();
    *records =
        (struct plane_records){.keys.memory = &memory->memory, .found.memory = &memory->memory};
    assert_int_equal(buffer_append(&records->keys, keys), 0);
    do {
        rc = plane_records(kit.nodes[planes_kit_owner(&kit, name)].plane, 0, records);
    } while (rc == -ETIMEDOUT);
    assert_int_equal(rc, 0);
    assert_int_equal(records->answered, 1);
    memcpy(&head, records->found.data, sizeof head);
    assert_int_equal(head.what, PLANE_RECORD_WHOLE);
    return bytes_of(records->found.data + sizeof head, head.size);
}

static void free_records(struct plane_records *records)
{
    buffer_fini(&records->keys);
    buffer_fini(&records->found);
}

/* How many the target has, at its first owner. */
static uint32_t receipts(void)
{
    struct test_memory memory;
    struct plane_records records;
    struct record record;
    struct dedup dedup;
    const struct bytes whole = record_of(target(), &memory, &records);

    assert_int_equal(record_open_dedup(&record, whole, RECORD_FORMAT, &dedup), 0);
    const uint32_t count = dedup_receipts(&dedup);
    free_records(&records);
    return count;
}

/* Has the session of that old key arrived, by what is there: so that its letter has gone? */
static bool has_arrived(const char *old)
{
    struct test_memory memory;
    struct plane_records records;
    struct aliases aliases;

    assert_int_equal(alias_find(record_of(old, &memory, &records), &aliases), 0);
    assert_int_equal(aliases.count, 1);
    const bool has = aliases.newest.birth.hlc != 0;
    free_records(&records);
    return has;
}

static void begin(struct plane_client *client, uint32_t replicas)
{
    static const uint32_t shards[] = {1, 1, 1};
    char line[64];

    planes_kit_init(&kit, 3, shards);
    for (uint32_t i = 0; i < 3;
         i++) { /* A log is written where somebody waits for it, and else never. */
        kit.nodes[i].options.limits.log_interval_ms = 3600 * 1000;
    }
    planes_kit_start(&kit, replicas);
    planes_kit_wait_level(&kit);
    plane_client_connect(client, &kit.nodes[0]);
    snprintf(line, sizeof line, "HSET %s f there", target());
    plane_client_ask(client, line);
    plane_client_expect(client, ":1\r\n");
}

/* The next RENAME to the target. Its reply. */
static void rename_next(struct plane_client *client, uint32_t *number, char reply[RESP_LINE_BYTES])
{
    const char *old = next_old(number);
    char line[64];

    snprintf(line, sizeof line, "HSET %s f v", old);
    plane_client_ask(client, line);
    plane_client_expect(client, ":1\r\n");
    snprintf(line, sizeof line, "RENAME %s %s", old, target());
    plane_client_ask(client, line);
    plane_client_line(client, reply);
}

static void end(struct plane_client *client)
{
    plane_client_close(client);
    planes_kit_stop(&kit);
}

/* All are there: who finds more than need be has his own go. One that took long leaves it; the next one may not. */
static void receipts_go(uint32_t replicas)
{
    struct plane_client client;
    char reply[RESP_LINE_BYTES];
    uint32_t number = 0, before = 0;
    bool went = false;

    begin(&client, replicas);
    while (!went) {
        rename_next(&client, &number, reply);
        const uint32_t after = before < DEDUP_RECEIPTS_KEPT ? before + 1 : before;
        for (int tries = 0; tries < 1000 && receipts() > after; tries++) {
            usleep(1000);
        }
        went = strcmp(reply, "+OK") == 0 && before >= DEDUP_RECEIPTS_KEPT && receipts() <= before;
        before = receipts();
    }
    end(&client);
}

static void test_receipts_go(void **state)
{
    (void)state;
    receipts_go(1);
    receipts_go(2);
    receipts_go(3);
}

/* An owner of the old keys has gone, and may have what letter it had: all stay, though the others have dropped theirs. */
static void receipts_stay(uint32_t replicas)
{
    enum { RENAMES = DEDUP_RECEIPTS_KEPT + 4 };
    struct plane_client client;
    char reply[RESP_LINE_BYTES];
    uint32_t number = 0;

    begin(&client, replicas);
    plane_kit_stop(&kit.nodes[2]);
    kit.nodes[2].plane = NULL;
    for (uint32_t i = 0; i < RENAMES; i++) {
        rename_next(&client, &number, reply);
        assert_string_equal(reply, "+OK");
    }
    for (int tries = 0; tries < 100; tries++) {
        assert_int_equal(receipts(), RENAMES);
        usleep(2000);
    }
    end(&client);
}

static void test_receipts_stay(void **state)
{
    (void)state;
    receipts_stay(2);
    receipts_stay(3);
}

static uint64_t device_writes(uint32_t node)
{
    return plane_kit_stats(&kit.nodes[node]).log.device_writes;
}

/* Before the letter goes, the session is on the disk of who coordinates its new key. */
static void test_kept_before_letter_goes(void **state)
{
    struct plane_client client;
    char reply[RESP_LINE_BYTES];
    uint32_t number = 0;

    (void)state;
    begin(&client, 2);
    for (uint32_t i = 0; i < DEDUP_RECEIPTS_KEPT; i++) {
        const uint64_t before = device_writes(0);
        rename_next(&client, &number, reply);
        assert_string_equal(reply, "+OK");
        plane_kit_until(has_arrived(old_of(number)));
        assert_true(device_writes(0) > before);
    }
    end(&client);
}

/* Before a receipt goes, so is the letter's end at its own. */
static void test_ended_before_receipt_goes(void **state)
{
    struct plane_client client;
    char reply[RESP_LINE_BYTES];
    uint32_t number = 0;

    (void)state;
    begin(&client, 2);
    for (uint32_t i = 0; i < DEDUP_RECEIPTS_KEPT; i++) {
        rename_next(&client, &number, reply);
        plane_kit_until(has_arrived(old_of(number)));
    }
    for (bool went = false; !went;) {
        const uint32_t receipts_before = receipts();
        const uint64_t before = device_writes(1);
        rename_next(&client, &number, reply);
        assert_string_equal(reply, "+OK");
        for (int tries = 0; tries < 1000 && receipts() > receipts_before; tries++) {
            usleep(1000);
        }
        went = receipts() <= receipts_before;
        assert_true(!went || device_writes(1) > before);
    }
    end(&client);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_kept_before_letter_goes),
        cmocka_unit_test(test_ended_before_receipt_goes),
        cmocka_unit_test(test_receipts_go),
        cmocka_unit_test(test_receipts_stay),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
