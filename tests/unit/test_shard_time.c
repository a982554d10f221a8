/* The shard over time: deadlines, burials, tombstones, touches; and what a restart makes of its log. */
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

/* ---- Restart ---- */

/* Give a log's record to the shard as the store does. */
static int replay(struct shard *shard, const struct logged *record)
{
    struct bytes body = bytes_of(record->body, record->size);

    switch (record->kind) {
    case LOG_FULL:
        return shard_restore_record(shard, body);
    case LOG_DELTA:
        return shard_restore_delta(shard, body);
    case LOG_TOUCH:
        return shard_restore_touch(shard, body);
    default:
        assert_int_equal(record->kind, LOG_BURY);
        return shard_restore_bury(shard, body);
    }
}

struct dump {
    char text[256 * 1024];
    size_t size;
    uint64_t now_ms;
    bool idle_roughly;
    uint64_t sessions;
};

static void dump_bytes(struct dump *dump, struct bytes part)
{
    assert_true(dump->size + part.size + 2 < sizeof dump->text);
    if (part.size > 0) {
        memcpy(dump->text + dump->size, part.data, part.size);
    }
    dump->size += part.size;
    dump->text[dump->size++] = '|';
}

static bool dump_visit(void *context, uint64_t position, struct bytes record)
{
    struct dump *dump = context;
    struct session_view view;
    struct session_field field;
    char line[160];

    assert_int_equal(session_open(&view, record, dump->now_ms), 0);
    if (!view.live) {
        return true;
    }
    dump->sessions++;
    dump_bytes(dump, session_key(record));
    snprintf(line, sizeof line, "%llu %d %llu %llu %llu", (unsigned long long)position, view.type,
             (unsigned long long)view.created_ms, (unsigned long long)view.absolute_ms,
             (unsigned long long)view.idle_ms);
    dump_bytes(dump, text(line));
    while (session_next(&view, true, &field)) {
        dump_bytes(dump, field.name);
        dump_bytes(dump, field.value);
        snprintf(line, sizeof line, "%llu", (unsigned long long)field.deadline_ms);
        dump_bytes(dump, text(line));
    }
    return true;
}

/* All live sessions, as clients see them, but for when they were used last. */
static void dump_shard(struct shard *shard, uint64_t now_ms, struct dump *dump)
{
    dump->size = 0;
    dump->sessions = 0;
    dump->now_ms = now_ms;
    keeper_scan(shard->keeper, 0, dump_visit, dump);
}

static uint64_t random_state = 1;

static uint64_t random_below(uint64_t limit)
{
    assert_true(limit > 0);
    random_state = random_state * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
    return (random_state >> 33) % limit;
}

/* A history of everything that is logged: writes, deltas, touches, destroys, expiries, new lives. */
static void make_history(int steps)
{
    char key[16], name[16];

    for (int i = 0; i < steps; i++) {
        snprintf(key, sizeof key, "k%d", (int)random_below(60));
        snprintf(name, sizeof name, "n%d", (int)random_below(30));
        struct change set = {.operation = CHANGE_SET,
                             .name = bytes_of(name, strlen(name)),
                             .value = text("a value long enough to make deltas worth it")};
        struct change add = {.operation = CHANGE_ADD, .name = text("sum"), .delta = 3};
        struct request request;
        uint64_t what = random_below(20);
        if (what < 10) {
            request = world_one_of(key, set);
        } else if (what < 13) {
            request = world_one_of(key, add);
        } else if (what < 15) {
            request = world_one_of(
                key, (struct change){.operation = CHANGE_IDLE, .ms = 1000 + random_below(60000)});
        } else if (what < 16) {
            request = world_one_of(
                key, (struct change){.operation = CHANGE_TTL, .ms = 1000 + random_below(60000)});
        } else if (what < 17) {
            request = world_one_of(key, (struct change){.operation = CHANGE_DESTROY});
        } else {
            request = (struct request){.op = REQUEST_GET, .key = text(key)};
        }
        request.type = SESSION_MAP;
        enum status status = world_run(request);
        assert_true(status == STATUS_OK || status == STATUS_NOT_FOUND);
        world_pass(random_below(600));
    }
}

static void shuffle(size_t order[], size_t count)
{
    for (size_t i = count; i > 1; i--) {
        size_t j = random_below(i), kept = order[i - 1];
        order[i - 1] = order[j];
        order[j] = kept;
    }
}

/* Replay in the given order; what has no base yet is offered again, as the store does. */
static void replay_all(struct shard *shard, size_t order[], size_t count)
{
    size_t waiting = count;

    for (size_t before = 0; waiting > 0 && waiting != before;) {
        before = waiting;
        size_t kept = 0;
        for (size_t i = 0; i < waiting; i++) {
            int rc = replay(shard, &world.records[order[i]]);
            assert_true(rc == 0 || rc == -ESTALE);
            if (rc == -ESTALE) {
                order[kept++] = order[i];
            }
        }
        waiting = kept;
    }
    for (size_t i = 0; i < waiting; i++) { /* Left over: touches of sessions that are gone. */
        assert_int_equal(world.records[order[i]].kind, LOG_TOUCH);
    }
}

/* The log, whole and in order, or shuffled and with records twice, gives the same sessions as were
 * there; what was buried stays away; the clock goes on from the newest stamp. */
static void test_restore_in_any_order(void **state)
{
    (void)state;
    static struct dump original, restored;

    for (int round = 0; round < 12; round++) {
        world_prepare();
        world.policy.touch_on_read = true;
        world_start();
        make_history(1500);
        struct shard *first = world.shard;
        dump_shard(first, world.now_ms, &original);
        assert_true(original.sessions > 10);
        assert_true(world_logged(LOG_DELTA) > 100 && world_logged(LOG_BURY) > 10);
        assert_true(world_logged(LOG_TOUCH) > 10);

        size_t count = world.record_count + (round == 0 ? 0 : world.record_count / 3);
        size_t *order = malloc(count * sizeof *order);
        for (size_t i = 0; i < count; i++) {
            order[i] = i < world.record_count ? i : random_below(world.record_count);
        }
        if (round > 0) {
            shuffle(order, count);
        }
        assert_int_equal(shard_create(&world.options, &world.shard), 0);
        replay_all(world.shard, order, count);
        shard_restore_done(world.shard, world.now_ms);
        dump_shard(world.shard, world.now_ms, &restored);
        assert_int_equal(restored.sessions, original.sessions);
        assert_int_equal(restored.size, original.size);
        assert_memory_equal(restored.text, original.text, original.size);
        assert_true(shard_stats(world.shard)->live >= restored.sessions);
        assert_true(shard_hlc(world.shard) >= hlc_of_ms(world.now_ms));
        free(order);

        /* And it goes on living: all ends in its time, and is counted right. */
        world_pass(3600 * 1000);
        dump_shard(world.shard, world.now_ms, &restored);
        assert_int_equal(shard_stats(world.shard)->live, restored.sessions);
        shard_destroy(first);
        world_end();
    }
}

/* Tombstones of burials do not stay after a restart; those of destroyed sessions do. */
static void test_restore_drops_buried(void **state)
{
    (void)state;
    char key[16];

    world_begin();
    for (int i = 0; i < 50; i++) {
        snprintf(key, sizeof key, "k%d", i);
        assert_int_equal(world_put_until(key, "v", 1000, 0), STATUS_OK);
    }
    world_pass(3000);
    assert_int_equal(world_put("k1", "new life"), STATUS_OK);
    assert_int_equal(world_put("k2", "new life"), STATUS_OK);
    assert_int_equal(world_destroy("k2"), STATUS_OK);
    struct shard *first = world.shard;
    assert_int_equal(world_records(), 2);
    assert_int_equal(shard_create(&world.options, &world.shard), 0);
    for (size_t i = world.record_count; i-- > 0;) {
        assert_int_equal(replay(world.shard, &world.records[i]), 0);
    }
    assert_int_equal(world_records(), 50);
    shard_restore_done(world.shard, world.now_ms);
    assert_int_equal(world_records(), 2);
    assert_int_equal(shard_stats(world.shard)->live, 1);
    assert_int_equal(world_get("k1"), STATUS_OK);
    assert_int_equal(world_get("k2"), STATUS_NOT_FOUND);
    shard_destroy(first);
    world_end();
}

static void test_restore_refuses_damage(void **state)
{
    (void)state;
    world_begin();
    assert_int_equal(world_put_until("a", "v", 0, 5000), STATUS_OK);
    struct logged *full = &world.records[0];
    for (size_t size = 0; size < 5; size++) {
        assert_int_equal(shard_restore_record(world.shard, bytes_of(full->body, size)), -EBADMSG);
        assert_int_equal(shard_restore_bury(world.shard, bytes_of(full->body, size)), -EBADMSG);
        assert_int_equal(shard_restore_delta(world.shard, bytes_of(full->body, size)), -EBADMSG);
    }
    assert_int_equal(shard_restore_touch(world.shard, bytes_of("\x80", 1)), -EBADMSG);
    assert_int_equal(shard_restore_touch(world.shard, bytes_of("\x05", 1)), -EBADMSG);
    assert_int_equal(shard_restore_touch(world.shard, bytes_of("\x05other", 6)), -ESTALE);
    assert_int_equal(shard_restore_touch(world.shard, bytes_of("\x05"
                                                               "a",
                                                               2)),
                     0);
    assert_int_equal(shard_restore_record(world.shard, bytes_of(full->body, full->size)), 0);
    assert_int_equal(shard_stats(world.shard)->live, 1);
    assert_int_equal(world_get("a"), STATUS_OK);
    world_end();
}

/* A crash forgets touches of less than idle/8; the restart gives as much back, at once and once. */
static void test_restart_gives_idle_time(void **state)
{
    (void)state;
    enum { IDLE_MS = 80000, PART_MS = IDLE_MS / 8 };

    world_prepare();
    world.policy.touch_on_read = true;
    world.now_ms = world.now_ms / PART_MS * PART_MS + 1; /* The next reads are in the same part. */
    world_start();
    assert_int_equal(world_put_until("a", "v", 0, IDLE_MS), STATUS_OK);
    assert_int_equal(world_put_until("b", "v", 0, IDLE_MS), STATUS_OK);
    uint64_t used_ms = world.now_ms + PART_MS - 2;
    world.now_ms = used_ms;
    assert_int_equal(world_get("a"), STATUS_OK);
    assert_int_equal(world_get("b"), STATUS_OK);
    assert_int_equal(world_logged(LOG_TOUCH), 0);

    struct shard *first = world.shard;
    world.now_ms = used_ms + IDLE_MS - 1; /* The last moment of both. */
    assert_int_equal(shard_create(&world.options, &world.shard), 0);
    for (size_t i = 0; i < world.record_count; i++) {
        assert_int_equal(replay(world.shard, &world.records[i]), 0);
    }
    shard_restore_done(world.shard, world.now_ms);
    struct request get = {.op = REQUEST_GET, .key = text("a"), .flags = GET_NO_TOUCH};
    assert_int_equal(world_run(get), STATUS_OK); /* Before the patrol has come by. */
    get.key = text("b");
    get.flags = 0;
    assert_int_equal(world_run(get), STATUS_OK);
    assert_int_equal(world_logged(LOG_TOUCH), 1); /* The first use after a restart is logged. */
    world_pass(30000);
    get.key = text("a");
    assert_int_equal(world_run(get), STATUS_NOT_FOUND);
    assert_int_equal(shard_stats(world.shard)->expired, 1);
    get.key = text("b");
    assert_int_equal(world_run(get), STATUS_OK);
    shard_destroy(first);
    world_end();
}

/* The patrol gives it to those that nobody asks for, but never more than if the restart was a use. */
static void test_restart_gives_idle_time_to_all(void **state)
{
    (void)state;
    enum { IDLE_MS = 80000, PART_MS = IDLE_MS / 8, KEYS = 50 };
    char key[16];

    world_begin();
    for (int i = 0; i < KEYS; i++) {
        snprintf(key, sizeof key, "k%d", i);
        assert_int_equal(world_put_until(key, "v", 0, IDLE_MS), STATUS_OK);
    }
    uint64_t deadline_ms = world.now_ms + IDLE_MS;
    world.now_ms = deadline_ms - 2000;
    assert_int_equal(world_put_until("young", "v", 0, IDLE_MS), STATUS_OK);
    world.now_ms = deadline_ms + 1;
    uint64_t restart_ms = world.now_ms;

    struct shard *first = world.shard;
    assert_int_equal(shard_create(&world.options, &world.shard), 0);
    for (size_t i = 0; i < world.record_count; i++) {
        assert_int_equal(replay(world.shard, &world.records[i]), 0);
    }
    shard_restore_done(world.shard, world.now_ms);
    world_pass(deadline_ms + PART_MS - 1 - world.now_ms); /* The quick first round is over. */
    assert_int_equal(shard_stats(world.shard)->expired, 0);
    for (int i = 0; i < KEYS; i++) {
        snprintf(key, sizeof key, "k%d", i);
        assert_int_equal(world_get(key), STATUS_OK);
    }
    assert_int_equal(world_get("young"), STATUS_OK);
    assert_int_equal(world.answer.last_access_ms, restart_ms);
    world_pass(1001);
    assert_int_equal(shard_stats(world.shard)->expired, KEYS);
    shard_destroy(first);
    world_end();
}

/* The first use after a restart is logged, even where the rule of parts would not ask for it. */
static void test_first_touch_is_logged(void **state)
{
    (void)state;
    enum { IDLE_MS = 80000, PART_MS = IDLE_MS / 8 };

    world_prepare();
    world.policy.touch_on_read = true;
    world.now_ms = world.now_ms / PART_MS * PART_MS + 1;
    world_start();
    assert_int_equal(world_put_until("a", "v", 0, IDLE_MS), STATUS_OK);
    struct shard *first = world.shard;
    assert_int_equal(shard_create(&world.options, &world.shard), 0);
    assert_int_equal(replay(world.shard, &world.records[0]), 0);
    world.now_ms += 10;
    shard_restore_done(world.shard, world.now_ms);
    for (int i = 0; i < 5; i++) {
        world.now_ms += 10;
        assert_int_equal(world_get("a"), STATUS_OK);
    }
    assert_int_equal(world_logged(LOG_TOUCH), 1);
    shard_destroy(first);
    world_end();
}

/* The n-th allocation fails during a restore: said so, nothing is lost that was said to be taken. */
static void test_restore_fault_loop(void **state)
{
    (void)state;
    bool done = false;

    world_begin();
    make_history(300);
    for (uint64_t n = 1; !done; n++) {
        struct test_memory memory = test_memory();
        struct shard_options options = world.options;
        struct shard *shard;
        memory.fail_at = n;
        options.memory = &memory.memory;
        done = true;
        if (shard_create(&options, &shard) != 0) {
            assert_int_equal(memory.outstanding_bytes, 0);
            done = false;
            continue;
        }
        for (size_t i = 0; i < world.record_count; i++) {
            int rc = replay(shard, &world.records[i]);
            assert_true(rc == 0 || rc == -ENOMEM || rc == -ESTALE);
            done = done && rc != -ENOMEM;
        }
        shard_restore_done(shard, world.now_ms);
        for (int i = 0; i < 200; i++) {
            shard_tick(shard, world.now_ms + (uint64_t)i * 300, 1000);
        }
        done = done && memory.requests < n;
        shard_destroy(shard);
        assert_int_equal(memory.outstanding_bytes, 0);
    }
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
        cmocka_unit_test(test_burial_waits_for_log),
        cmocka_unit_test(test_mass_expiry),
        cmocka_unit_test(test_touch_on_read),
        cmocka_unit_test(test_sliding_is_buried_in_time),
        cmocka_unit_test(test_touch_is_logged_rarely),
        cmocka_unit_test(test_wheel_stays_small),
        cmocka_unit_test(test_restore_in_any_order),
        cmocka_unit_test(test_restore_drops_buried),
        cmocka_unit_test(test_restore_refuses_damage),
        cmocka_unit_test(test_restart_gives_idle_time),
        cmocka_unit_test(test_restart_gives_idle_time_to_all),
        cmocka_unit_test(test_first_touch_is_logged),
        cmocka_unit_test(test_restore_fault_loop),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
