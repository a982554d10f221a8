/* Receipts of renames between nodes, over links between real planes: they go where they are many, but only once no node has
 * the letter that another one might deliver. */
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

/* The next key of which node 1 is the first owner. */
static const char *next_old(uint32_t *number)
{
    static char name[16];

    do {
        snprintf(name, sizeof name, "old%u", ++*number);
    } while (planes_kit_owner(&kit, name) != 1);
    return name;
}

/* How many the target has, at its first owner. */
static uint32_t receipts(void)
{
    struct test_memory memory = test_memory();
    struct plane_records records = {.keys.memory = &memory.memory, .found.memory = &memory.memory};
    const struct bytes key = bytes_of_string(target());
    struct plane_record_head head;
    struct record record;
    struct dedup dedup;
    uint8_t ask[64];
    int rc;

    store_u64(ask, keeper_position(42, key));
    uint8_t *at = varint_put(ask + 8, key.size);
    memcpy(at, key.data, key.size);
    const struct bytes keys = bytes_of(ask, (size_t)(at - ask) + key.size);
    assert_int_equal(buffer_append(&records.keys, keys), 0);
    do {
        rc = plane_records(kit.nodes[0].plane, 0, &records);
    } while (rc == -ETIMEDOUT);
    assert_int_equal(rc, 0);
    assert_int_equal(records.answered, 1);
    memcpy(&head, records.found.data, sizeof head);
    assert_int_equal(head.what, PLANE_RECORD_WHOLE);
    const struct bytes whole = bytes_of(records.found.data + sizeof head, head.size);
    assert_int_equal(record_open_dedup(&record, whole, RECORD_FORMAT, &dedup), 0);
    const uint32_t count = dedup_receipts(&dedup);
    buffer_fini(&records.keys);
    buffer_fini(&records.found);
    return count;
}

static void begin(struct plane_client *client, uint32_t replicas)
{
    static const uint32_t shards[] = {1, 1, 1};
    char line[64];

    planes_kit_init(&kit, 3, shards);
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

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_receipts_go),
        cmocka_unit_test(test_receipts_stay),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
