/* The map for clients: golden bytes, the largest there can be, and hostile input. */
#include "check.h"
#include "client_map.h"
#include "random.h"

static struct client_map map, again;

static void member_set(uint32_t index, uint32_t number, const char *name, const char *host,
                       uint16_t port, uint32_t shards, bool serves)
{
    struct client_map_member *member = &map.members[index];

    memset(member, 0, sizeof *member);
    strcpy(member->name, name);
    strcpy(member->host, host);
    member->number = number;
    member->port = port;
    member->shards = shards;
    member->serves = serves;
}

/* Two nodes; the second serves the upper half, and stands behind the first in the lower. */
static void sample_map(void)
{
    memset(&map, 0, sizeof map);
    map.epoch = 300;
    map.member_count = 3;
    member_set(0, 1, "n1", "127.0.0.1", 7400, 2, true);
    member_set(1, 2, "n2", "::1", 7410, 4, true);
    member_set(2, 7, "", "away.example", 1, 1, false);
    for (uint32_t slot = 0; slot < SLOT_COUNT / 2; slot++) {
        map.owners[slot] = (struct client_map_owners){.count = 2, .members = {0, 1}};
        map.owners[slot + SLOT_COUNT / 2] = (struct client_map_owners){.count = 1, .members = {1}};
    }
}

static const uint8_t golden[] = {
    1,    0xac, 0x02, 3,                                                              /* */
    1,    2,    'n',  '1', 9,   '1',  '2',  '7', '.',  '0',  '.', '0', '.', '1',      /* */
    0xe8, 0x39, 2,    1,                                                              /* */
    2,    2,    'n',  '2', 3,   ':',  ':',  '1', 0xf2, 0x39, 4,   1,                  /* */
    7,    0,    12,   'a', 'w', 'a',  'y',  '.', 'e',  'x',  'a', 'm', 'p', 'l', 'e', /* */
    1,    1,    0,                                                                    /* */
    0x80, 0x40, 2,    0,   1,   0x80, 0x40, 1,   1,
};

static void test_golden_bytes(void **state)
{
    struct test_memory memory = test_memory();
    struct buffer made = {.memory = &memory.memory};

    (void)state;
    sample_map();
    assert_int_equal(client_map_encode(&map, &made), 0);
    assert_int_equal(made.size, sizeof golden);
    assert_memory_equal(made.data, golden, sizeof golden);
    assert_int_equal(client_map_decode(bytes_of(golden, sizeof golden), &again), 0);
    assert_true(again.epoch == 300 && again.member_count == 3);
    for (uint32_t i = 0; i < 3; i++) {
        assert_memory_equal(&again.members[i], &map.members[i], sizeof map.members[i]);
    }
    assert_memory_equal(again.owners, map.owners, sizeof map.owners);
    buffer_fini(&made);
    assert_true(memory.outstanding_bytes == 0);
}

static void test_no_memory_changes_nothing(void **state)
{
    struct test_memory memory = test_memory();
    struct buffer made = {.memory = &memory.memory};

    (void)state;
    sample_map();
    memory.fail_at = 1;
    assert_int_equal(client_map_encode(&map, &made), -ENOMEM);
    assert_true(made.size == 0 && made.data == NULL);
}

/* As many members with names as long as may be, and no two neighbours alike. */
static void test_largest_map(void **state)
{
    struct test_memory memory = test_memory();
    struct buffer made = {.memory = &memory.memory};
    uint64_t random = 7;

    (void)state;
    memset(&map, 0, sizeof map);
    map.epoch = UINT64_MAX;
    map.member_count = CLIENT_MAP_MEMBERS_MAX;
    for (uint32_t i = 0; i < CLIENT_MAP_MEMBERS_MAX; i++) {
        struct client_map_member *member = &map.members[i];
        *member = (struct client_map_member){.number = INT32_MAX - CLIENT_MAP_MEMBERS_MAX + 1 + i,
                                             .port = UINT16_MAX,
                                             .shards = CLIENT_MAP_SHARDS_MAX,
                                             .serves = true};
        memset(member->name, 'n', CLIENT_MAP_NAME_BYTES_MAX);
        memset(member->host, 'h', HOST_BYTES_MAX);
    }
    for (uint32_t slot = 0; slot < SLOT_COUNT; slot++) {
        struct client_map_owners *owners = &map.owners[slot];
        uint32_t first = slot % 2 * 50 + 128 + random_below(&random, 20);
        owners->count = CLIENT_MAP_OWNERS_MAX;
        for (uint32_t i = 0; i < CLIENT_MAP_OWNERS_MAX; i++) {
            owners->members[i] = (uint8_t)(first + i);
        }
    }
    assert_int_equal(client_map_encode(&map, &made), 0);
    assert_true(made.size > 300 * 1024 && made.size <= CLIENT_MAP_BYTES_MAX);
    assert_int_equal(client_map_decode(buffer_bytes(&made), &again), 0);
    assert_memory_equal(&again, &map, sizeof map);
    buffer_fini(&made);
}

/* Whatever is cut off, and whatever byte is another: refused, or the one encoding of some map. */
static void test_hostile_bytes(void **state)
{
    struct test_memory memory = test_memory();
    struct buffer made = {.memory = &memory.memory};
    uint8_t bytes[sizeof golden + 1];
    uint32_t taken = 0;

    (void)state;
    for (size_t cut = 0; cut < sizeof golden; cut++) {
        assert_int_equal(client_map_decode(bytes_of(golden, cut), &again), -EBADMSG);
    }
    memcpy(bytes, golden, sizeof golden);
    bytes[sizeof golden] = 0;
    assert_int_equal(client_map_decode(bytes_of(bytes, sizeof bytes), &again), -EBADMSG);
    bytes[0] = 2;
    assert_int_equal(client_map_decode(bytes_of(bytes, sizeof golden), &again), -EPROTONOSUPPORT);
    for (size_t at = 1; at < sizeof golden; at++) {
        for (uint32_t value = 0; value < 256; value++) {
            memcpy(bytes, golden, sizeof golden);
            bytes[at] = (uint8_t)value;
            int rc = client_map_decode(bytes_of(bytes, sizeof golden), &again);
            assert_true(rc == 0 || rc == -EBADMSG);
            if (rc == 0) {
                made.size = 0;
                assert_int_equal(client_map_encode(&again, &made), 0);
                assert_int_equal(made.size, sizeof golden);
                assert_memory_equal(made.data, bytes, sizeof golden);
                taken++;
            }
        }
    }
    assert_true(taken > sizeof golden);
    buffer_fini(&made);
}

/* What would be read, but is not what client_map_encode() writes. */
static void test_refuses(void **state)
{
    static const struct {
        size_t at;
        uint8_t value;
    } wrong[] = {
        {1, 0},     /* Epoch 0. */
        {3, 2},     /* A member fewer than there are. */
        {4, 0},     /* No number. */
        {22, 1},    /* The same number again. */
        {22, 8},    /* Above the one that follows. */
        {20, 0},    /* No shards. */
        {21, 2},    /* An unknown flag. */
        {5 + 1, 0}, /* A zero in a name. */
        {36, 13},   /* A string over the end of its member. */
        {54, 6},    /* More owners than may be. */
        {56, 0},    /* An owner twice. */
        {56, 3},    /* An owner that is no member. */
    };
    uint8_t bytes[sizeof golden];

    (void)state;
    for (size_t i = 0; i < sizeof wrong / sizeof wrong[0]; i++) {
        memcpy(bytes, golden, sizeof golden);
        bytes[wrong[i].at] = wrong[i].value;
        assert_int_equal(client_map_decode(bytes_of(bytes, sizeof bytes), &again), -EBADMSG);
    }
    /* Neighbouring runs with the same owners. */
    uint8_t alike[sizeof golden - 1];
    memcpy(alike, golden, sizeof alike);
    memcpy(alike + sizeof alike - 4 - 4, "\x80\x40\x01\x01\x80\x40\x01\x01", 8);
    assert_int_equal(client_map_decode(bytes_of(alike, sizeof alike), &again), -EBADMSG);
    /* A map without members is one: nobody serves. */
    static const uint8_t empty[] = {1, 1, 0, 0x80, 0x80, 0x01, 0};
    assert_int_equal(client_map_decode(bytes_of(empty, sizeof empty), &again), 0);
    assert_true(again.member_count == 0 && again.owners[SLOT_COUNT - 1].count == 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_golden_bytes), cmocka_unit_test(test_no_memory_changes_nothing),
        cmocka_unit_test(test_largest_map),  cmocka_unit_test(test_hostile_bytes),
        cmocka_unit_test(test_refuses),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
