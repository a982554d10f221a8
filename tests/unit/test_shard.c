/* The shard, request by request: each status, the kinds of log records, scans. */
#include "shard_world.h"

/* ---- Reads and writes ---- */

static void test_put_get(void **state)
{
    (void)state;
    world_begin();
    assert_int_equal(world_get("a"), STATUS_NOT_FOUND);
    assert_int_equal(world_put("a", "one"), STATUS_OK);
    assert_true(world.answer.reply.created);
    assert_int_equal(world.answer.reply.ack, ACK_MEMORY); /* The default is `replica`; alone. */
    uint64_t hlc = world.answer.reply.hlc;
    assert_true(hlc > hlc_of_ms(world.now_ms));
    assert_int_equal(world_get("a"), STATUS_OK);
    assert_string_equal(world.answer.blob, "one");
    assert_true(world.answer.reply.hlc >= hlc);
    assert_true(world.answer.reply.version.size > 0);

    struct request request = world_put_of("a", "two");
    uint8_t token[TOKEN_BYTES_MAX];
    memcpy(token, world.answer.reply.version.data, world.answer.reply.version.size);
    request.version = bytes_of(token, world.answer.reply.version.size);
    assert_int_equal(world_run(request), STATUS_OK);
    assert_false(world.answer.reply.created);
    assert_true(world.answer.reply.hlc > hlc);
    assert_int_equal(world_run(request), STATUS_VERSION_MISMATCH);
    assert_int_equal(world_get("a"), STATUS_OK);
    assert_string_equal(world.answer.blob, "two");

    assert_int_equal(world_destroy("a"), STATUS_OK);
    assert_int_equal(world_get("a"), STATUS_NOT_FOUND);
    assert_int_equal(world.traces[TRACE_SESSION_DELETED], 1);
    assert_string_equal(world.traced_text, "a");
    const struct shard_stats *stats = shard_stats(world.shard);
    assert_int_equal(stats->hits, 2);
    assert_int_equal(stats->misses, 2);
    assert_int_equal(stats->created, 1);
    assert_int_equal(stats->destroyed, 1);
    assert_int_equal(stats->live, 0);
    assert_int_equal(stats->requests[REQUEST_GET], 4);
    assert_int_equal(stats->requests[REQUEST_WRITE], 4);
    assert_int_equal(stats->latency[REQUEST_GET].count, 4);
    assert_int_equal(stats->acks[ACK_MEMORY], 3);
    world_end();
}

/* Stamps are above what the store has seen, and what came out of it, whatever the clock says now. */
static void test_clock_went_back(void **state)
{
    (void)state;
    world_prepare();
    world.options.hlc = hlc_of_ms(world.now_ms + 1000);
    world_start();
    assert_int_equal(world_put("a", "1"), STATUS_OK);
    uint64_t hlc = world.answer.reply.hlc;
    assert_true(hlc > world.options.hlc);

    struct shard *first = world.shard;
    world.options.hlc = 0;
    world.now_ms -= 3600 * 1000;
    assert_int_equal(shard_create(&world.options, &world.shard), 0);
    struct bytes record = bytes_of(world.records[0].body, world.records[0].size);
    assert_int_equal(shard_restore_record(world.shard, record), 0);
    shard_restore_done(world.shard, world.now_ms);
    assert_int_equal(world_put("b", "1"), STATUS_OK);
    assert_true(world.answer.reply.hlc > hlc);
    assert_int_equal(world_put("a", "2"), STATUS_OK);
    assert_int_equal(world_get("a"), STATUS_OK);
    assert_string_equal(world.answer.blob, "2");
    shard_destroy(first);
    world_end();
}

/* Two nodes wrote one name without knowing of each other. */
static void test_siblings(void **state)
{
    (void)state;
    uint32_t hidden[2];

    for (int view = CONFLICT_NEWEST; view <= CONFLICT_SIBLINGS; view++) {
        world_prepare();
        world.policy.conflict_view = (enum conflict_view)view;
        world_start();
        assert_int_equal(world_put("a", "base"), STATUS_OK);
        assert_int_equal(world_put("a", "one"), STATUS_OK);
        struct shard *first = world.shard;
        world.options.actor.node = 2;
        world.now_ms++;
        assert_int_equal(shard_create(&world.options, &world.shard), 0);
        struct bytes base = bytes_of(world.records[0].body, world.records[0].size);
        struct bytes one = bytes_of(world.records[1].body, world.records[1].size);
        assert_int_equal(shard_restore_record(world.shard, base), 0);
        assert_int_equal(world_put("a", "two"), STATUS_OK);
        assert_int_equal(world.records[1].kind == LOG_FULL ? shard_restore_record(world.shard, one)
                                                           : shard_restore_delta(world.shard, one),
                         0);
        assert_int_equal(world_get("a"), STATUS_OK);
        assert_string_equal(world.answer.blob, "two");
        assert_int_equal(world.answer.reply.flags, view == CONFLICT_NEWEST ? 0 : GET_SIBLINGS);
        hidden[view] = (uint32_t)shard_stats(world.shard)->siblings_hidden;
        shard_destroy(first);
        world_end();
    }
    assert_int_equal(hidden[CONFLICT_NEWEST], 1);
    assert_int_equal(hidden[CONFLICT_SIBLINGS], 0);
}

/* Each key has the policy of its longest prefix, and a new table replaces the old one. */
static void test_policies(void **state)
{
    (void)state;
    static struct policies other;
    struct policy rows[2];

    world_begin();
    policy_defaults(&rows[0]);
    policy_defaults(&rows[1]);
    memcpy(rows[1].prefix, "web:", 5);
    rows[1].prefix_size = 4;
    rows[1].rules.absolute_ttl_ms = 5000;
    rows[1].rules.no_resurrect = true;
    rows[1].ack = ACK_DISK;
    assert_int_equal(policies_init(&other, rows, 2), 0);
    shard_set_policies(world.shard, &other);
    assert_int_equal(world_put("web:1", "v"), STATUS_OK);
    assert_true(world.answer.held);
    assert_int_equal(world_put("web", "v"), STATUS_OK);
    assert_false(world.answer.held);
    assert_int_equal(world_get("web:1"), STATUS_OK);
    assert_int_equal(world.answer.deadline_ms, world.now_ms + 5000);
    assert_int_equal(world_get("web"), STATUS_OK);
    assert_int_equal(world.answer.deadline_ms, 0);
    assert_int_equal(world_destroy("web:1"), STATUS_OK);
    assert_int_equal(world_put("web:1", "late"), STATUS_DESTROYED);
    assert_int_equal(world_destroy("web:never"), STATUS_OK); /* Leaves a tombstone all the same. */
    assert_int_equal(world_put("web:never", "late"), STATUS_DESTROYED);
    assert_int_equal(shard_stats(world.shard)->live, 1);
    world_end();
}

static void test_modes(void **state)
{
    (void)state;
    world_begin();
    struct request request = world_put_of("a", "x");
    request.mode = WRITE_UPDATE;
    assert_int_equal(world_run(request), STATUS_NOT_FOUND);
    request.mode = WRITE_CREATE;
    assert_int_equal(world_run(request), STATUS_OK);
    assert_int_equal(world_run(request), STATUS_EXISTS);
    request.mode = WRITE_UPDATE;
    assert_int_equal(world_run(request), STATUS_OK);
    request = world_one_of("a", (struct change){.operation = CHANGE_ADD_MEMBER, .name = text("m")});
    request.type = SESSION_SET;
    assert_int_equal(world_run(request), STATUS_WRONG_TYPE);
    assert_int_equal(world_destroy("b"), STATUS_OK); /* On nothing: 0, and nothing is logged. */
    assert_int_equal(world.record_count, 2);
    assert_int_equal(shard_stats(world.shard)->live, 1);
    world_end();
}

static void test_malformed(void **state)
{
    (void)state;
    char long_key[KEY_BYTES_MAX + 2];
    uint8_t token[TOKEN_BYTES_MAX + 1] = {0};

    world_begin();
    memset(long_key, 'k', sizeof long_key);
    long_key[KEY_BYTES_MAX + 1] = '\0';
    assert_int_equal(world_get(""), STATUS_KEY_TOO_LARGE);
    assert_int_equal(world_get(long_key), STATUS_KEY_TOO_LARGE);
    assert_int_equal(world_put(long_key, ""), STATUS_KEY_TOO_LARGE);
    long_key[KEY_BYTES_MAX] = '\0';
    assert_int_equal(world_put(long_key, "fits"), STATUS_OK);

    struct request bad[7];
    for (int i = 0; i < 7; i++) {
        bad[i] = world_put_of("a", "x");
    }
    bad[0].mode = WRITE_UPDATE + 1;
    bad[1].type = SESSION_ZSET + 1;
    bad[2].ack = ACK_ARCHIVE + 1;
    bad[3].body.size--;
    bad[4].version = bytes_of(token, sizeof token);
    bad[5].client = UINT64_MAX - 2; /* Of receipts: whoever plants these ends renames. */
    bad[6].version = bytes_of("\xff\xff\xff", 3);
    for (int i = 0; i < 6; i++) {
        assert_int_equal(world_run(bad[i]), STATUS_INVALID);
        assert_non_null(world.answer.reply.text);
    }
    assert_int_not_equal(world_run(bad[6]), STATUS_OK);
    struct request get = {.op = REQUEST_GET, .key = text(long_key), .flags = GET_FIELDS};
    get.body = bytes_of("\x05nam", 4);
    assert_int_equal(world_run(get), STATUS_INVALID);
    get.body = bytes_of("\x03nam", 4);
    assert_int_equal(world_run(get), STATUS_OK);
    get.version = bytes_of("\xff\xff\xff", 3);
    assert_int_equal(world_run(get), STATUS_INVALID);
    assert_int_equal(world_records(), 1);
    world_end();
}

static void test_floor(void **state)
{
    (void)state;
    uint8_t token[TOKEN_BYTES_MAX];

    world_begin();
    assert_int_equal(world_put("a", "1"), STATUS_OK);
    assert_int_equal(world_put("a", "2"), STATUS_OK);
    size_t size = world.answer.reply.version.size;
    memcpy(token, world.answer.reply.version.data, size);
    struct request get = {.op = REQUEST_GET, .key = text("a"), .version = bytes_of(token, size)};
    assert_int_equal(world_run(get), STATUS_OK);

    struct world first = world; /* Another node has the session, but only its beginning. */
    world_begin();
    assert_int_equal(
        shard_restore_record(world.shard, bytes_of(first.records[0].body, first.records[0].size)),
        0);
    shard_restore_done(world.shard, world.now_ms);
    assert_int_equal(world_run(get), STATUS_UNAVAILABLE);
    assert_non_null(world.answer.reply.text);
    assert_int_equal(world_get("a"), STATUS_OK);
    assert_string_equal(world.answer.blob, "1");
    world_end();
    memcpy(&world, &first, sizeof world);
    world_end();
}

/* A floor that asks for a session which has ended, and left nothing, is met: there is none. But not
 * where a crash may have lost it, nor where another node wrote it. */
static void test_floor_of_the_gone(void **state)
{
    (void)state;
    uint8_t token[TOKEN_BYTES_MAX];

    world_begin();
    assert_int_equal(world_put_until("a", "v", 1000, 0), STATUS_OK);
    size_t size = world.answer.reply.version.size;
    memcpy(token, world.answer.reply.version.data, size);
    struct request get = {.op = REQUEST_GET, .key = text("a"), .version = bytes_of(token, size)};
    uint64_t before_hlc = hlc_of_ms(world.now_ms) - 1;
    world_pass(3000);
    assert_int_equal(world_records(), 0);
    assert_int_equal(world_run(get), STATUS_NOT_FOUND);

    struct shard *first = world.shard;
    world.options.actor.start = 2;
    for (int i = 0; i < 3; i++) {
        world.options.hlc = i == 0 ? before_hlc : hlc_of_ms(world.now_ms);
        world.options.actor.node = i == 2 ? 2 : 1;
        assert_int_equal(shard_create(&world.options, &world.shard), 0);
        shard_restore_done(world.shard, world.now_ms);
        assert_int_equal(world_run(get), i == 1 ? STATUS_NOT_FOUND : STATUS_UNAVAILABLE);
        shard_destroy(world.shard);
    }
    world.shard = first;
    world_end();
}

static void test_inspect(void **state)
{
    (void)state;
    struct request inspect = {.op = REQUEST_INSPECT, .key = text("a")};

    world_begin();
    assert_int_equal(world_run(inspect), STATUS_NOT_FOUND);
    assert_int_equal(world_put("a", "1"), STATUS_OK);
    assert_int_equal(world_run(inspect), STATUS_OK);
    assert_true(world.answer.live);
    assert_int_equal(session_check(world.answer.reply.record), 0);
    assert_int_equal(world_destroy("a"), STATUS_OK);
    assert_int_equal(world_run(inspect), STATUS_OK); /* People may look at tombstones. */
    assert_false(world.answer.live);
    world_end();
}

/* Small changes of large sessions are logged as deltas. */
static void test_log_kinds(void **state)
{
    (void)state;
    struct changes changes = {.size = 0};
    char name[20];

    world_begin();
    for (int i = 0; i < 50; i++) {
        snprintf(name, sizeof name, "field%d", i);
        changes_add(&changes, (struct change){.operation = CHANGE_SET,
                                              .name = bytes_of(name, strlen(name)),
                                              .value = text("some value of a field")});
    }
    struct request request = world_write_of("m", &changes);
    request.type = SESSION_MAP;
    assert_int_equal(world_run(request), STATUS_OK);
    request = world_one_of(
        "m",
        (struct change){.operation = CHANGE_SET, .name = text("field7"), .value = text("another")});
    request.type = SESSION_MAP;
    assert_int_equal(world_run(request), STATUS_OK);
    assert_int_equal(world.records[0].kind, LOG_FULL);
    assert_int_equal(world.records[1].kind, LOG_DELTA);
    assert_int_equal(session_check_delta(bytes_of(world.records[1].body, world.records[1].size)),
                     0);
    assert_int_equal(world.records[1].position, keeper_position(42, text("m")));
    world_end();
}

/* ---- Scan ---- */

static uint32_t scan_all(const char *prefix, uint32_t count, uint8_t type, bool seen[],
                         bool disturb)
{
    struct request scan = {.op = REQUEST_SCAN, .key = text(prefix), .count = count, .type = type};
    uint32_t calls = 0;
    static int added;
    char key[16];

    do {
        assert_int_equal(world_run(scan), STATUS_OK);
        struct reader keys = reader_of(world.answer.reply.keys);
        uint32_t found = 0;
        while (reader_left(&keys) > 0) {
            struct bytes name = read_string(&keys);
            assert_true(!keys.bad && bytes_starts_with(name, scan.key));
            snprintf(key, sizeof key, "%.*s", (int)name.size, (const char *)name.data);
            if (key[0] == 'k') {
                seen[atoi(key + 1)] = true;
            }
            found++;
        }
        assert_true(found <= (count == 0 ? SCAN_COUNT_DEFAULT : count) + 2);
        scan.cursor = world.answer.reply.cursor;
        calls++;
        for (int i = 0; disturb && i < 20; i++) { /* Others come, go and grow meanwhile. */
            snprintf(key, sizeof key, "x%d", added);
            assert_int_equal(world_put(key, "some value that moves others about"), STATUS_OK);
            snprintf(key, sizeof key, "x%d", added - 200);
            if (added >= 200) {
                assert_int_equal(world_destroy(key), STATUS_OK);
            }
            added++;
        }
        if (disturb) {
            shard_tick(world.shard, world.now_ms, 200);
        }
    } while (scan.cursor != 0);
    return calls;
}

static void test_scan(void **state)
{
    (void)state;
    enum { KEYS = 3000 };
    static bool seen[KEYS];
    char key[16];

    world_begin();
    for (int i = 0; i < KEYS; i++) {
        snprintf(key, sizeof key, "k%d", i);
        assert_int_equal(world_put_until(key, "v", i % 10 == 3 ? 1000 : 0, 0), STATUS_OK);
        if (i % 10 == 7) {
            assert_int_equal(world_destroy(key), STATUS_OK);
        }
    }
    world.now_ms += 1000;
    uint32_t calls = scan_all("k", 50, SESSION_BLOB, seen, true);
    assert_true(calls > KEYS / 80);
    for (int i = 0; i < KEYS; i++) {
        assert_int_equal(seen[i], i % 10 != 3 && i % 10 != 7);
    }
    memset(seen, 0, sizeof seen);
    scan_all("k1", SCAN_COUNT_MAX + 1, SESSION_NONE, seen, false);
    assert_true(seen[1] && seen[10] && seen[1999] && !seen[2] && !seen[2111]);
    assert_true(!seen[13] && !seen[1003] && !seen[17]); /* Expired, destroyed. */
    memset(seen, 0, sizeof seen);
    calls = scan_all("k", 10, SESSION_MAP, seen, false);
    assert_true(calls >= KEYS / (10 * 10)); /* Nothing is found, and each call still ends. */
    for (int i = 0; i < KEYS; i++) {
        assert_false(seen[i]);
    }
    world_end();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_put_get),  cmocka_unit_test(test_clock_went_back),
        cmocka_unit_test(test_siblings), cmocka_unit_test(test_policies),
        cmocka_unit_test(test_modes),    cmocka_unit_test(test_malformed),
        cmocka_unit_test(test_floor),    cmocka_unit_test(test_floor_of_the_gone),
        cmocka_unit_test(test_inspect),  cmocka_unit_test(test_log_kinds),

        cmocka_unit_test(test_scan),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
