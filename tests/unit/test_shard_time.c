/* The shard over time: deadlines, burials, tombstones, touches. */
#include "shard_world.h"

/* ---- Deadlines ---- */

static void test_hidden_and_buried(void **state)
{
    (void)state;
    world_begin();
    assert_int_equal(world_put_until("a", "v", 10000, 0), STATUS_OK);
    assert_int_equal(world_put("b", "v"), STATUS_OK);
    world.now_ms += 9999;
    assert_int_equal(world_get("a"), STATUS_OK);
    assert_int_equal(world.answer.deadline_ms, world.now_ms + 1);
    world.now_ms += 1;
    assert_int_equal(world_get("a"), STATUS_NOT_FOUND); /* Hidden at once, without any tick. */
    assert_int_equal(shard_stats(world.shard)->expired, 0);
    world_pass(1000);
    assert_int_equal(shard_stats(world.shard)->expired, 1); /* Buried within a second. */
    assert_int_equal(shard_stats(world.shard)->live, 1);
    assert_int_equal(world.traces[TRACE_SESSION_EXPIRED], 1);
    assert_string_equal(world.traced_text, "a");
    assert_int_equal(world_records(), 1);
    assert_int_equal(world_logged(LOG_BURY), 1);
    const struct logged *bury = &world.records[world.record_count - 1];
    assert_int_equal(session_check(bytes_of(bury->body, bury->size)), 0);
    assert_int_equal(world_put("a", "again"), STATUS_OK);
    assert_true(world.answer.reply.created);
    assert_int_equal(world_get("a"), STATUS_OK);
    world_end();
}

/* A map that goes with its last field is hidden at once and buried, and told as deleted. */
static void test_faded_and_buried(void **state)
{
    (void)state;
    world_begin();
    for (int i = 0; i < 2; i++) {
        assert_int_equal(world_map_until("a", "v", 10000), STATUS_OK);
        world.now_ms += 9999;
        assert_int_equal(world_get("a"), STATUS_OK);
        assert_int_equal(world.answer.field_count, 1);
        world.now_ms += 1;
        assert_int_equal(world_get("a"), STATUS_NOT_FOUND);
        assert_int_equal(shard_stats(world.shard)->expired, i);
        world_pass(1000);
        assert_int_equal(shard_stats(world.shard)->expired, i + 1);
        assert_int_equal(shard_stats(world.shard)->live, 0);
        assert_int_equal(world.traces[TRACE_SESSION_DELETED], i + 1);
        assert_int_equal(world.traces[TRACE_SESSION_EXPIRED], 0);
        assert_string_equal(world.traced_text, "a");
        assert_int_equal(world_records(), 0);
        assert_int_equal(world_logged(LOG_BURY), i + 1);
    }
    /* A write in its place, before it is buried, tells the same. */
    assert_int_equal(world_map_until("a", "v", 10000), STATUS_OK);
    world.now_ms += 10000;
    assert_int_equal(world_map_until("a", "w", 10000), STATUS_OK);
    assert_int_equal(world.traces[TRACE_SESSION_DELETED], 3);
    assert_int_equal(world.traces[TRACE_SESSION_EXPIRED], 0);
    assert_int_equal(shard_stats(world.shard)->live, 1);
    world_end();
}

/* Deadlines seconds to hours ahead, in jumps and small steps: each is buried in time, none early. */
static void test_many_deadlines(void **state)
{
    (void)state;
    enum { KEYS = 2000 };
    static uint64_t due_ms[KEYS];
    char key[16];
    uint64_t late_ms = 0, expired = 0;

    world_begin();
    for (int i = 0; i < KEYS; i++) {
        uint64_t ttl_ms = (uint64_t)(i % 400) * 997 + (uint64_t)i;
        ttl_ms += 1;
        snprintf(key, sizeof key, "k%d", i);
        assert_int_equal(
            world_put_until(key, "v", i % 2 == 0 ? ttl_ms : 0, i % 2 == 0 ? 0 : ttl_ms), STATUS_OK);
        due_ms[i] = world.now_ms + ttl_ms;
    }
    while (shard_stats(world.shard)->live > 0) {
        world_pass(333);
        uint64_t due = 0;
        for (int i = 0; i < KEYS; i++) {
            due += due_ms[i] <= world.now_ms;
            if (due_ms[i] <= world.now_ms && due_ms[i] + 1000 > world.now_ms) {
                late_ms++;
            }
        }
        expired = shard_stats(world.shard)->expired;
        assert_true(expired <= due);
        assert_true(expired + late_ms >= due);
        late_ms = 0;
    }
    assert_int_equal(expired, KEYS);
    assert_int_equal(world_records(), 0);
    assert_int_equal(world.shard->wheel.count, 0);
    world_end();
}

/* Writes that move a deadline nearer, farther, or take it away. */
static void test_moved_deadlines(void **state)
{
    (void)state;
    world_begin();
    world_pass(200 * 1000); /* Past the quick first round. */
    assert_int_equal(world_put_until("near", "v", 3600 * 1000, 0), STATUS_OK);
    assert_int_equal(world_put_until("far", "v", 5000, 0), STATUS_OK);
    assert_int_equal(world_put_until("none", "v", 5000, 0), STATUS_OK);
    assert_int_equal(world_one("near", (struct change){.operation = CHANGE_TTL, .ms = 5000}),
                     STATUS_OK);
    assert_int_equal(world_one("far", (struct change){.operation = CHANGE_TTL, .ms = 300 * 1000}),
                     STATUS_OK);
    assert_int_equal(world_one("none", (struct change){.operation = CHANGE_ABSOLUTE}), STATUS_OK);
    world_pass(6000);
    assert_int_equal(shard_stats(world.shard)->expired, 1);
    assert_string_equal(world.traced_text, "near");
    world_pass(293 * 1000);
    assert_int_equal(shard_stats(world.shard)->expired, 1);
    world_pass(2000);
    assert_int_equal(shard_stats(world.shard)->expired, 2);
    world_pass(3600 * 1000);
    assert_int_equal(shard_stats(world.shard)->live, 1);
    assert_int_equal(world_get("none"), STATUS_OK);
    world_end();
}

/* A deadline moved nearer counts at once, also where another entry of the session waits in the wheel;
 * one that stays makes no new entries. */
static void test_nearer_deadline(void **state)
{
    (void)state;
    world_begin();
    world_pass(20 * 1000);
    assert_int_equal(world_put_until("a", "v", 30 * 1000, 0), STATUS_OK);
    assert_int_equal(world_put_until("b", "v", 30 * 1000, 0), STATUS_OK);
    assert_int_equal(world.shard->wheel.count, 2);
    assert_int_equal(world_one("a", (struct change){.operation = CHANGE_TTL, .ms = 3000}),
                     STATUS_OK);
    for (int i = 0; i < 1000; i++) {
        assert_int_equal(world_put("b", i % 2 == 0 ? "w" : "v"), STATUS_OK);
    }
    assert_int_equal(world.shard->wheel.count, 3);
    world_pass(4000);
    assert_int_equal(shard_stats(world.shard)->expired, 1);
    assert_string_equal(world.traced_text, "a");
    world_end();
}

/* A new life that begins in the millisecond of the old one's burial outlives a restart. */
static void test_new_life_at_once(void **state)
{
    (void)state;
    world_begin();
    assert_int_equal(world_put_until("a", "old", 1000, 0), STATUS_OK);
    world.now_ms += 5000;
    shard_tick(world.shard, world.now_ms, 1000);
    shard_tick(world.shard, world.now_ms, 1000);
    assert_int_equal(world_logged(LOG_BURY), 1);
    assert_int_equal(world_put("a", "new"), STATUS_OK);
    struct shard *first = world.shard;
    assert_int_equal(shard_create(&world.options, &world.shard), 0);
    for (size_t i = 0; i < world.record_count; i++) {
        struct bytes body = bytes_of(world.records[i].body, world.records[i].size);
        assert_int_equal(world.records[i].kind == LOG_BURY
                             ? shard_restore_bury(world.shard, body)
                             : shard_restore_record(world.shard, body),
                         0);
    }
    shard_restore_done(world.shard, world.now_ms);
    assert_int_equal(world_get("a"), STATUS_OK);
    assert_string_equal(world.answer.blob, "new");
    shard_destroy(first);
    world_end();
}

/* A write to a session that has expired, and is not buried yet, buries it and begins a new one. */
static void test_write_over_expired(void **state)
{
    (void)state;
    world_begin();
    assert_int_equal(world_put_until("a", "old", 1000, 0), STATUS_OK);
    world.now_ms += 5000;
    struct request update = world_put_of("a", "no");
    update.mode = WRITE_UPDATE;
    assert_int_equal(world_run(update), STATUS_NOT_FOUND);
    assert_int_equal(world_put("a", "new"), STATUS_OK);
    assert_true(world.answer.reply.created);
    const struct shard_stats *stats = shard_stats(world.shard);
    assert_int_equal(stats->live, 1);
    assert_int_equal(stats->expired, 1);
    assert_int_equal(stats->destroyed, 0);
    world_pass(300 * 1000);
    assert_int_equal(stats->live, 1);
    assert_int_equal(stats->expired, 1);
    assert_int_equal(world_get("a"), STATUS_OK);
    world_end();
}

static void test_clock_jumps(void **state)
{
    (void)state;
    char key[16];

    world_begin();
    for (int i = 0; i < 500; i++) {
        snprintf(key, sizeof key, "k%d", i);
        assert_int_equal(world_put_until(key, "v", (uint64_t)(i + 1) * 60 * 1000, 0), STATUS_OK);
    }
    world.now_ms += UINT64_C(100) * 24 * 3600 * 1000;
    assert_int_equal(world_get("k499"), STATUS_NOT_FOUND);
    world_pass(2 * PATROL_ROUND_MS);
    assert_int_equal(shard_stats(world.shard)->expired, 500);
    assert_int_equal(world_records(), 0);
    world_end();
}

static void test_tombstones_go(void **state)
{
    (void)state;
    world_prepare();
    world.policy.rules.tombstone_keep_ms = 600 * 1000;
    world_start();
    assert_int_equal(world_put("a", "v"), STATUS_OK);
    assert_int_equal(world_destroy("a"), STATUS_OK);
    world_pass(599 * 1000);
    assert_int_equal(world_records(), 1);
    world_pass(3000);
    assert_int_equal(world_records(), 0);
    assert_int_equal(world_logged(LOG_BURY), 1); /* A compaction may forget the key too. */
    /* The clock may be set back at a restart, but not to where the tombstone still had to be. */
    const struct logged *last = &world.records[world.record_count - 1];
    assert_true(session_newest_hlc(bytes_of(last->body, last->size)) >=
                hlc_of_ms(world.now_ms - 3000));
    assert_int_equal(world.traces[TRACE_SESSION_EXPIRED], 0);
    assert_int_equal(shard_stats(world.shard)->expired, 0);
    assert_int_equal(shard_stats(world.shard)->live, 0);
    world_end();
}

/* Fields with deadlines of their own, written again and again: the session lives, the wheel does not
 * gather entries. */
static void test_field_deadlines(void **state)
{
    (void)state;
    uint64_t most = 0;

    world_begin();
    for (int i = 0; i < 400; i++) {
        struct changes changes = {.size = 0};
        changes_add(&changes, (struct change){.operation = CHANGE_SET_UNTIL,
                                              .name = text("f"),
                                              .value = text("v"),
                                              .ms = world.now_ms + 10000});
        changes_add(&changes, (struct change){.operation = CHANGE_IDLE, .ms = 60000});
        struct request request = world_write_of("m", &changes);
        request.type = SESSION_MAP;
        assert_int_equal(world_run(request), STATUS_OK);
        world_pass(i % 2 == 0 ? 5000 : 14000);
        most = world.shard->wheel.count > most ? world.shard->wheel.count : most;
    }
    assert_int_equal(shard_stats(world.shard)->live, 1);
    assert_true(most > 0 && most < 20);
    assert_int_equal(world_get("m"), STATUS_OK);
    assert_int_equal(world.answer.field_count, 0); /* The last one is past its time. */
    world_pass(61000);
    assert_int_equal(shard_stats(world.shard)->live, 0);
    assert_int_equal(world.shard->wheel.count, 0);
    world_end();
}

/* A failed burial waits for the log, and nothing is forgotten before it is logged. */
static void test_burial_waits_for_log(void **state)
{
    (void)state;
    char key[16];

    world_begin();
    for (int i = 0; i < 100; i++) {
        snprintf(key, sizeof key, "k%d", i);
        assert_int_equal(world_put_until(key, "v", 2000, 0), STATUS_OK);
    }
    world.log_rc = -ENOSPC;
    world_pass(5000);
    assert_int_equal(world_records(), 100);
    assert_int_equal(shard_stats(world.shard)->expired, 0);
    assert_int_equal(world_get("k5"), STATUS_NOT_FOUND);
    world.log_rc = -EAGAIN;
    world_pass(5000);
    assert_int_equal(world_records(), 100);
    world.log_rc = 0;
    world_pass(2000);
    assert_int_equal(world_records(), 0);
    assert_int_equal(shard_stats(world.shard)->expired, 100);
    assert_int_equal(world.traces[TRACE_SESSION_EXPIRED], 100);
    assert_int_equal(world.traces[TRACE_LOG_FULL], 1);
    world_end();
}

/* All expire in one second: the work comes in bounded slices, requests are served between them, and
 * the memory goes back. */
static void test_mass_expiry(void **state)
{
    (void)state;
    enum { KEYS = 100000, BUDGET_US = 500 };
    char key[16], value[400] = "";
    uint64_t most = 0, slices = 0;

    world_begin();
    memset(value, 'v', sizeof value - 1);
    for (int i = 0; i < KEYS; i++) {
        snprintf(key, sizeof key, "k%d", i);
        assert_int_equal(world_put_until(key, value, 100 * 1000, 0), STATUS_OK);
    }
    struct keeper_stats full, empty;
    keeper_stats(world.shard->keeper, &full);
    world_pass(99 * 1000);
    world.now_ms += 2000;
    while (shard_stats(world.shard)->live > 0) {
        uint64_t before = shard_stats(world.shard)->expired;
        shard_tick(world.shard, world.now_ms, BUDGET_US);
        uint64_t buried = shard_stats(world.shard)->expired - before;
        most = buried > most ? buried : most;
        assert_int_equal(world_get("k77"), STATUS_NOT_FOUND);
        world.now_ms += 1;
        slices++;
    }
    assert_true(most <= BUDGET_US);
    assert_true(slices < 2 * KEYS * 2 / BUDGET_US * 4);
    assert_int_equal(world.traces[TRACE_SESSION_EXPIRED], KEYS);
    world_pass(10000);
    keeper_stats(world.shard->keeper, &empty);
    assert_int_equal(empty.records, 0);
    assert_true(empty.memory_bytes < full.memory_bytes / 10);
    assert_int_equal(world.shard->wheel.count, 0);
    world_end();
}

/* ---- Touches ---- */

static void test_touch_on_read(void **state)
{
    (void)state;
    enum { IDLE_MS = 80000 };
    struct request get = {.op = REQUEST_GET, .key = text("a")};

    world_prepare();
    world.policy.touch_on_read = true;
    world_start();
    assert_int_equal(world_put_until("a", "v", 0, IDLE_MS), STATUS_OK);
    for (int i = 0; i < 100; i++) {
        world_pass(IDLE_MS - 1);
        assert_int_equal(world_run(get), STATUS_OK);
        assert_int_equal(world.answer.deadline_ms, world.now_ms + IDLE_MS);
        assert_int_equal(world.answer.last_access_ms, world.now_ms);
    }
    assert_true(world.shard->wheel.count <= 4);
    get.flags = GET_NO_TOUCH;
    world_pass(IDLE_MS - 1);
    assert_int_equal(world_run(get), STATUS_OK);
    world_pass(1);
    assert_int_equal(world_run(get), STATUS_NOT_FOUND);
    world_pass(1000);
    assert_int_equal(shard_stats(world.shard)->expired, 1);
    world_end();

    world_begin(); /* Without the policy a read is no access. */
    get.flags = 0;
    assert_int_equal(world_put_until("a", "v", 0, IDLE_MS), STATUS_OK);
    world_pass(IDLE_MS - 1);
    assert_int_equal(world_run(get), STATUS_OK);
    world_pass(1);
    assert_int_equal(world_run(get), STATUS_NOT_FOUND);
    world_end();
}

/* A session that was used when its entry fired is buried in time all the same. */
static void test_sliding_is_buried_in_time(void **state)
{
    (void)state;
    enum { IDLE_MS = 20000, KEYS = 50 };
    char key[16];

    world_prepare();
    world.policy.touch_on_read = true;
    world_start();
    world_pass(20 * 1000);
    for (int i = 0; i < KEYS; i++) {
        snprintf(key, sizeof key, "k%d", i);
        assert_int_equal(world_put_until(key, "v", 0, IDLE_MS), STATUS_OK);
    }
    world_pass(15000);
    for (int i = 0; i < KEYS; i++) {
        snprintf(key, sizeof key, "k%d", i);
        assert_int_equal(world_get(key), STATUS_OK);
    }
    world_pass(IDLE_MS - 1);
    assert_int_equal(shard_stats(world.shard)->expired, 0);
    world_pass(1000);
    assert_int_equal(shard_stats(world.shard)->expired, KEYS);
    world_end();
}

/* Read often, a session is logged once for each eighth of its idle timeout. */
static void test_touch_is_logged_rarely(void **state)
{
    (void)state;
    enum { IDLE_MS = 80000, STEP_MS = 100 };

    world_prepare();
    world.policy.touch_on_read = true;
    world_start();
    assert_int_equal(world_put_until("a", "v", 0, IDLE_MS), STATUS_OK);
    for (int i = 0; i < 10 * IDLE_MS / STEP_MS; i++) {
        world_pass(STEP_MS);
        assert_int_equal(world_get("a"), STATUS_OK);
    }
    assert_in_range(world_logged(LOG_TOUCH), 79, 81);
    assert_int_equal(shard_stats(world.shard)->touches_logged, world_logged(LOG_TOUCH));
    assert_int_equal(world.record_count, 1 + world_logged(LOG_TOUCH));
    /* A log that takes nothing keeps no session from being read and kept alive. */
    world.log_rc = -ENOSPC;
    world_pass(IDLE_MS - 1);
    assert_int_equal(world_get("a"), STATUS_OK);
    world_pass(IDLE_MS - 1);
    assert_int_equal(world_get("a"), STATUS_OK);
    world_end();
}

/* Many sliding sessions, hot for an hour: about one entry of the wheel each, not one for each touch. */
static void test_wheel_stays_small(void **state)
{
    (void)state;
    enum { KEYS = 200 };
    char key[16];
    uint64_t most = 0;

    world_prepare();
    world.policy.touch_on_read = true;
    world_start();
    for (int i = 0; i < KEYS; i++) {
        snprintf(key, sizeof key, "k%d", i);
        assert_int_equal(world_put_until(key, "v", 0, (uint64_t)(i + 10) * 1000), STATUS_OK);
    }
    for (int turn = 0; turn < 800; turn++) {
        world_pass(4500);
        for (int i = 0; i < KEYS; i++) {
            snprintf(key, sizeof key, "k%d", i);
            if ((turn + i) % 2 == 0) {
                assert_int_equal(world_get(key), STATUS_OK);
            } else {
                assert_int_equal(world_put(key, "w"), STATUS_OK);
            }
        }
        most = world.shard->wheel.count > most ? world.shard->wheel.count : most;
    }
    assert_true(most < 4 * KEYS);
    world_pass((KEYS + 11) * 1000 + 1000);
    assert_int_equal(shard_stats(world.shard)->expired, KEYS);
    assert_int_equal(world.shard->wheel.count, 0);
    world_end();
}

/* What a session remembers of a death before it outlives its own end: a late write of the life that was destroyed is
 * refused, whether the later life has been buried or not. */
static void test_death_outlives_the_next_life(void **state)
{
    const uint64_t keep_ms = UINT64_C(3600) * 1000;
    struct changes changes = {.size = 0};

    (void)state;
    world_prepare();
    world.policy.rules.no_resurrect = true;
    world.policy.rules.tombstone_keep_ms = keep_ms;
    world_start();
    assert_int_equal(world_put("a", "first"), STATUS_OK);
    assert_int_equal(world_destroy("a"), STATUS_OK);
    changes_add(&changes, (struct change){.operation = CHANGE_SET, .value = text("second")});
    changes_add(&changes, (struct change){.operation = CHANGE_TTL, .ms = 1000});
    struct request create = world_write_of("a", &changes);
    create.mode = WRITE_CREATE;
    assert_int_equal(world_run(create), STATUS_OK);
    world.now_ms += 1500;
    assert_int_equal(world_put("a", "late"), STATUS_DESTROYED);
    world_pass(2000);
    assert_int_equal(shard_stats(world.shard)->expired, 1);
    assert_int_equal(world.traces[TRACE_SESSION_EXPIRED], 1);
    assert_int_equal(shard_stats(world.shard)->live, 0);
    assert_int_equal(world_logged(LOG_BURY), 0);
    assert_int_equal(world_put("a", "late"), STATUS_DESTROYED);
    assert_int_equal(world_run(create), STATUS_OK); /* Who means a new one gets it. */
    assert_int_equal(world_destroy("a"), STATUS_OK);
    world_pass(keep_ms + 5000);
    assert_int_equal(world_logged(LOG_BURY), 1);
    assert_int_equal(world_records(), 0);
    assert_int_equal(world_put("a", "new"), STATUS_OK);
    world_end();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_hidden_and_buried),
        cmocka_unit_test(test_many_deadlines),
        cmocka_unit_test(test_moved_deadlines),
        cmocka_unit_test(test_nearer_deadline),
        cmocka_unit_test(test_new_life_at_once),
        cmocka_unit_test(test_write_over_expired),
        cmocka_unit_test(test_clock_jumps),
        cmocka_unit_test(test_tombstones_go),
        cmocka_unit_test(test_field_deadlines),
        cmocka_unit_test(test_faded_and_buried),
        cmocka_unit_test(test_burial_waits_for_log),
        cmocka_unit_test(test_mass_expiry),
        cmocka_unit_test(test_touch_on_read),
        cmocka_unit_test(test_sliding_is_buried_in_time),
        cmocka_unit_test(test_touch_is_logged_rarely),
        cmocka_unit_test(test_wheel_stays_small),
        cmocka_unit_test(test_death_outlives_the_next_life),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
