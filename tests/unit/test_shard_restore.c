/* What a restart makes of a shard's log: in any order, repeated, damaged, short of memory. */
#include "shard_world.h"

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

/* As compaction reads the log: in order, and nothing before a burial counts. */
static void compact_key(struct buffer *copy)
{
    struct buffer next = {.memory = copy->memory};

    for (size_t i = 0; i < world.record_count; i++) {
        struct bytes body = bytes_of(world.records[i].body, world.records[i].size);
        next.size = 0;
        if (world.records[i].kind == LOG_DELTA) {
            assert_int_equal(session_apply_delta(buffer_bytes(copy), body, &next), 0);
        } else if (world.records[i].kind == LOG_FULL && copy->size > 0) {
            assert_int_equal(session_merge(buffer_bytes(copy), body, &next), 0);
        } else if (world.records[i].kind == LOG_FULL) {
            assert_int_equal(buffer_append(&next, body), 0);
        }
        struct buffer kept = *copy;
        *copy = next;
        next = kept;
    }
    buffer_fini(&next);
}

static void restart_as(uint32_t start)
{
    shard_destroy(world.shard);
    world.options.actor.start = start;
    assert_int_equal(shard_create(&world.options, &world.shard), 0);
    for (size_t i = 0; i < world.record_count; i++) {
        assert_int_equal(replay(world.shard, &world.records[i]), 0);
    }
    shard_restore_done(world.shard, world.now_ms);
}

/* A key that was buried and lives again, restarted: what is written to it then has its base in the log,
 * also for who starts after the burial. */
static void test_restore_of_revived_takes_deltas(void **state)
{
    (void)state;
    static char large[200];
    struct changes changes = {.size = 0};

    memset(large, 'x', sizeof large - 1);
    world_begin();
    assert_int_equal(world_put_until("a", "old life", 1000, 0), STATUS_OK);
    restart_as(2);
    world_pass(3000);
    assert_int_equal(world_logged(LOG_BURY), 1);
    assert_int_equal(world_put("a", large), STATUS_OK);
    restart_as(3);
    for (int i = 0; i < 2; i++) {
        changes.size = 0;
        changes_add(&changes,
                    (struct change){.operation = CHANGE_IDLE, .ms = 76000 + 1000 * (uint64_t)i});
        assert_int_equal(world_run(world_write_of("a", &changes)), STATUS_OK);
    }

    struct buffer copy = {.memory = &world.memory.memory};
    struct session_view view;
    compact_key(&copy);
    assert_int_equal(session_open(&view, buffer_bytes(&copy), world.now_ms), 0);
    assert_true(view.live);
    assert_int_equal(view.idle_ms, 77000);
    assert_int_equal(world_logged(LOG_DELTA), 1); /* Of the two, the second. */
    buffer_fini(&copy);
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
    struct request scan = {.op = REQUEST_SCAN, .key = text(""), .count = 10};
    assert_int_equal(world_run(scan), STATUS_OK); /* Before the patrol has come by. */
    assert_int_equal(world.answer.reply.keys.size, 2 * strlen("1a"));
    struct request get = {.op = REQUEST_GET, .key = text("a"), .flags = GET_NO_TOUCH};
    assert_int_equal(world_run(get), STATUS_OK);
    get.key = text("b");
    get.flags = 0;
    assert_int_equal(world_run(get), STATUS_OK);
    assert_int_equal(world_logged(LOG_TOUCH), 1); /* The first use after a restart is logged. */
    world_pass(PART_MS - 1000); /* The patrol has come by, and has not given it once more. */
    get.key = text("a");
    assert_int_equal(world_run(get), STATUS_NOT_FOUND);
    world_pass(30000);
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

/* What a touch was logged at counts as time that has been, as a stamp does: a clock set back does not stop idle clocks. */
static void test_touches_tell_the_time(void **state)
{
    (void)state;

    world_prepare();
    world.policy.touch_on_read = true;
    world_start();
    assert_int_equal(world_put_until("a", "v", 0, 8000), STATUS_OK);
    world_pass(5000);
    assert_int_equal(world_get("a"), STATUS_OK);
    const struct logged *touch = &world.records[1];
    assert_int_equal(touch->kind, LOG_TOUCH);
    uint64_t hlc = hlc_of_ms(world.now_ms);
    assert_int_equal(shard_logged_hlc(world.shard), hlc);
    struct shard *first = world.shard;
    assert_int_equal(shard_create(&world.options, &world.shard), 0);
    assert_int_equal(replay(world.shard, &world.records[0]), 0);
    assert_true(shard_hlc(world.shard) < hlc);
    assert_int_equal(replay(world.shard, touch), 0);
    assert_int_equal(shard_hlc(world.shard), hlc);
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
        cmocka_unit_test(test_restore_in_any_order),
        cmocka_unit_test(test_restore_drops_buried),
        cmocka_unit_test(test_restore_of_revived_takes_deltas),
        cmocka_unit_test(test_restore_refuses_damage),
        cmocka_unit_test(test_restart_gives_idle_time),
        cmocka_unit_test(test_restart_gives_idle_time_to_all),
        cmocka_unit_test(test_first_touch_is_logged),
        cmocka_unit_test(test_touches_tell_the_time),
        cmocka_unit_test(test_restore_fault_loop),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
