/* Sessions that leave memory and come back, over restarts and in long random lives: nobody can tell. */
#include "cold_world.h"

/* ---- Restart ---- */

/* Give the checkpoint, then the log, as far as they go; then end, whatever was wanted meanwhile first. */
static void load(uint64_t memory_max, bool with_requests)
{
    size_t records = world.record_count;
    struct logged *log = world.records;
    uint64_t hlc = shard_hlc(world.shard), now_ms = world.now_ms;

    store.hlc = store.lsn = 0;
    for (size_t i = store.compacted; i < records; i++) {
        store.port.log_bytes += log[i].size;
    }
    store.port.log_lsn = records;
    world.records = NULL;
    world.record_count = 0;
    world_end();
    world_prepare();
    world.records = log;
    world.record_count = records;
    world.now_ms = now_ms + 10;
    world.options.actor.start = 2;
    world.options.loader = &store.port;
    world.options.memory_max = memory_max;
    assert_int_equal(policies_init(&world.policies, &world.policy, 1), 0);
    assert_int_equal(shard_create(&world.options, &world.shard), 0);
    store.loading = true;
    shard_loading_begin(world.shard, &store.port, hlc, world.now_ms);
    for (size_t i = 0; i < store.count; i++) {
        if (store.all[i].record.size > 0) {
            struct bytes record = buffer_bytes(&store.all[i].record);
            assert_int_equal(shard_restore_stored(world.shard, record, false), 0);
        }
    }
    store.given_to = UINT64_MAX;
    store.given = store.compacted;
    for (; store.given < records; store.given++) {
        assert_int_equal(store_give(&log[store.given]), 0);
        if (with_requests && store.given % 7 == 0) {
            assert_int_equal(store_run(get_of("k3")), STATUS_OK);
        }
    }
    while (store.wanted_count > 0) {
        store_answer();
    }
    shard_loading_end(world.shard, world.now_ms, world.now_us);
    store.loading = false;
    store.port.log_bytes = 0;
}

static void put_many(const char *value, int from, int to)
{
    char key[16];

    for (int i = from; i < to; i++) {
        snprintf(key, sizeof key, "k%d", i);
        struct request request = world_put_of(key, value);
        if (i % 10 == 0 && i / 10 % 3 == 0) {
            struct change change = {
                .operation = CHANGE_SET, .name = text("f"), .value = text(value)};
            request = world_one_of(key, change);
            request.type = SESSION_MAP;
        }
        assert_int_equal(store_run(request), STATUS_OK);
    }
}

/* The checkpoint has more than memory has room for: the rest is taken in cold. What the log has of it is not
 * lost: whole records, deltas, touches and burials. */
static void test_restart_with_more_than_memory(void **state)
{
    enum { COUNT = 8000, CHANGED = 800 };
    char key[16];

    (void)state;
    for (int with_requests = 0; with_requests < 2; with_requests++) {
        begin_roomy();
        put_many(big, 0, COUNT);
        assert_int_equal(world_put_until("idle", big, 0, 3600 * 1000), STATUS_OK);
        assert_int_equal(world_put_until("short", big, 1000, 0), STATUS_OK);
        store_compact();
        world_pass(1000 * 1000);
        assert_int_equal(world_get("short"), STATUS_NOT_FOUND);
        for (int i = 0; i < CHANGED; i++) {
            snprintf(key, sizeof key, "k%d", i * 10);
            struct change change = {.operation = CHANGE_SET, .name = text("n"), .value = text("v")};
            struct request request = world_one_of(key, change);
            request.type = SESSION_MAP;
            if (i % 3 == 1) {
                request = world_put_of(key, "replaced");
            } else if (i % 3 == 2) {
                request = world_one_of(key, (struct change){.operation = CHANGE_DESTROY});
            }
            assert_int_equal(world_run(request), STATUS_OK);
        }
        assert_int_equal(world_get("idle"), STATUS_OK);
        uint64_t used_ms = world.answer.last_access_ms;
        assert_true(world_logged(LOG_DELTA) > 0 && world_logged(LOG_BURY) > 0);
        load(8 * 1024 * 1024, with_requests);
        print_message("%lu of %lu cold, %lu fetches\n", (unsigned long)stats()->cold,
                      (unsigned long)stats()->live, (unsigned long)store.fetches);
        assert_true(stats()->cold > COUNT / 4);
        assert_true(store.fetches > 20);
        assert_int_equal(stats()->live, COUNT + 1 - CHANGED / 3);
        for (int i = 0; i < COUNT; i++) {
            snprintf(key, sizeof key, "k%d", i);
            int kind = i % 10 == 0 ? i / 10 % 3 : -1;
            enum status status = store_run(get_of(key));
            assert_int_equal(status, kind == 2 ? STATUS_NOT_FOUND : STATUS_OK);
            if (kind == 1) {
                assert_string_equal(world.answer.blob, "replaced");
            }
            if (kind != 2) {
                assert_int_equal(world.answer.field_count, kind == 0 ? 2 : 1);
            }
        }
        assert_int_equal(store_run(get_of("short")), STATUS_NOT_FOUND);
        struct request look = get_of("idle");
        look.flags = GET_NO_TOUCH;
        assert_int_equal(store_run(look), STATUS_OK);
        assert_true(world.answer.last_access_ms >= used_ms);
        end();
    }
}

/* ---- Random lives ---- */

enum { LIVES = 60, STEPS = 400, LIFE_KEYS = 12 };

struct outcome {
    enum status status;
    uint64_t sum; /* Of all that was answered. */
};

static uint64_t sum_of(struct bytes bytes, uint64_t sum)
{
    for (size_t i = 0; i < bytes.size; i++) {
        sum = (sum ^ bytes.data[i]) * UINT64_C(0x100000001b3);
    }
    return sum * 31 + bytes.size;
}

static struct outcome outcome(void)
{
    const struct answer *answer = &world.answer;
    uint64_t sum = sum_of(answer->reply.version, 7);

    sum = sum_of(answer->reply.results, sum);
    sum = sum_of(answer->reply.keys, sum);
    sum = sum_of(answer->reply.record, sum);
    if (answer->reply.view != NULL) {
        sum = sum * 31 + answer->field_count + answer->deadline_ms + answer->last_access_ms;
    }
    return (struct outcome){answer->reply.status, sum};
}

static struct request random_request(uint64_t *random)
{
    static char key[16];
    uint32_t kind = random_below(random, 12);
    struct request request = {0};

    snprintf(key, sizeof key, "k%u", random_below(random, LIFE_KEYS));
    struct change change = {.operation = CHANGE_SET,
                            .name = text(random_below(random, 2) == 0 ? "f" : "g"),
                            .value = bytes_of(big, random_below(random, BIG))};
    switch (kind) {
    case 0:
        change = (struct change){.operation = CHANGE_DESTROY};
        break;
    case 1:
        change = (struct change){.operation = CHANGE_TTL, .ms = 1 + random_below(random, 90000)};
        break;
    case 2:
        change = (struct change){.operation = CHANGE_IDLE, .ms = 1 + random_below(random, 90000)};
        break;
    case 3:
        change.operation = CHANGE_APPEND;
        break;
    case 4:
        change = (struct change){.operation = CHANGE_OWNER, .value = text("somebody")};
        break;
    case 5:
    case 6:
    case 7:
        return get_of(key);
    case 8:
        return (struct request){.op = REQUEST_INSPECT, .key = text(key)};
    case 9:
        return (struct request){.op = REQUEST_SCAN, .count = 100};
    default:
        break;
    }
    request = world_one_of(key, change);
    request.type = SESSION_MAP;
    if (random_below(random, 3) == 0) {
        request.client = 1 + random_below(random, 3);
        request.sequence = 1 + random_below(random, 40);
    }
    return request;
}

/* One life: with `cold`, sessions leave memory at any time. */
static void live(uint64_t seed, bool cold, struct outcome outcomes[STEPS])
{
    uint64_t random = seed * 2 + 1, chance = seed * 2 + 77;

    begin_roomy();
    for (int step = 0; step < STEPS; step++) {
        struct request request = random_request(&random);
        store_run(request);
        outcomes[step] = outcome();
        world_pass(random_below(&random, 10) == 0 ? random_below(&random, 20000) : 1);
        if (random_below(&random, 4) == 0) {
            store_compact();
        }
        if (cold && random_below(&chance, 2) == 0) {
            store_freeze();
        }
    }
    end();
}

static void test_random_lives(void **state)
{
    static struct outcome with[STEPS], without[STEPS];
    uint64_t fetches = 0, good = 0;

    (void)state;
    for (uint64_t seed = 1; seed <= LIVES; seed++) {
        live(seed, false, without);
        assert_int_equal(store.fetches, 0);
        live(seed, true, with);
        fetches += store.fetches;
        for (int step = 0; step < STEPS; step++) {
            if (with[step].status != without[step].status || with[step].sum != without[step].sum) {
                print_message("seed %lu, step %d: %d, not %d\n", (unsigned long)seed, step,
                              (int)with[step].status, (int)without[step].status);
            }
            assert_int_equal(with[step].status, without[step].status);
            assert_true(with[step].sum == without[step].sum);
            good += with[step].status == STATUS_OK;
        }
    }
    print_message("%d requests, %lu good, %lu fetches\n", LIVES * STEPS, (unsigned long)good,
                  (unsigned long)fetches);
    assert_true(fetches > LIVES * STEPS / 20 && good > LIVES * STEPS / 4);
}

/* A write to a cold session brings all of it in: at the limit it waits, however small it makes the session. */
static void test_writes_to_cold_sessions_keep_the_limit(void **state)
{
    enum { COUNT = 10000, LIMIT = 4 * 1024 * 1024 };
    char key[16];
    struct keeper_stats keeper;
    int busy = 0;

    (void)state;
    begin(UINT64_C(1) << 40);
    for (int i = 0; i < COUNT; i++) {
        snprintf(key, sizeof key, "k%d", i);
        assert_int_equal(world_put(key, big), STATUS_OK);
    }
    store_compact();
    store_freeze();
    world.shard->options.memory_max = LIMIT;
    world_pass(2000);
    for (int i = 0; i < COUNT; i++) {
        snprintf(key, sizeof key, "k%d", i);
        struct request update = world_put_of(key, big + 8);
        update.mode = WRITE_UPDATE;
        enum status status = store_run(update);
        assert_true(status == STATUS_OK || status == STATUS_BUSY);
        busy += status == STATUS_BUSY;
        if (i % 100 == 0) {
            world_pass(20);
        }
    }
    keeper_stats(world.shard->keeper, &keeper);
    assert_true(busy > 0);
    assert_true(keeper.memory_bytes <= LIMIT + 3 * 1024 * 1024); /* Areas have 2 MiB. */
    end();
}

/* What was damaged once and began again is as any other. */
static void test_a_damaged_key_begins_again(void **state)
{
    (void)state;
    begin_roomy();
    assert_int_equal(world_put_until("a", big, 5000, 0), STATUS_OK);
    store_compact();
    store_freeze();
    assert_int_equal(stats()->cold, 1);
    store_replace(&store.all[0], bytes_of(NULL, 0));
    assert_int_equal(store_run(get_of("a")), STATUS_DAMAGED);
    world_pass(80000);
    assert_int_equal(stats()->live, 0);
    assert_int_equal(world_put("a", big), STATUS_OK);
    store_compact();
    store_freeze();
    assert_int_equal(store_run(get_of("a")), STATUS_OK);
    assert_int_equal(store_run(world_one_of("a", (struct change){.operation = CHANGE_DESTROY})),
                     STATUS_OK);
    end();
}

static struct request field_of(const char *key, const char *name, const char *value)
{
    struct request request = world_one_of(
        key, (struct change){.operation = CHANGE_SET, .name = text(name), .value = text(value)});

    request.type = SESSION_MAP;
    return request;
}

/* Memory is full of what small changes made new, and others go on reading cold sessions: the store is asked to
 * compact all the same. */
static void test_reads_do_not_keep_writers_waiting(void **state)
{
    enum { COUNT = 10000, CHANGED = 6000, LIMIT = 8 * 1024 * 1024 };
    char key[16];
    bool hurried = false;

    (void)state;
    begin(UINT64_C(1) << 40);
    for (int i = 0; i < COUNT; i++) {
        snprintf(key, sizeof key, "k%d", i);
        assert_int_equal(world_run(field_of(key, "f", big)), STATUS_OK);
    }
    store_compact();
    store_freeze();
    world.shard->options.memory_max = LIMIT;
    world_pass(2000);
    for (int i = 0; i < CHANGED; i++) {
        snprintf(key, sizeof key, "k%d", i);
        if (store_run(field_of(key, "g", "x")) != STATUS_OK) {
            break;
        }
    }
    store.hurries = 0;
    for (int n = 0; n < 2000 && !hurried; n++) {
        snprintf(key, sizeof key, "k%d", CHANGED + n % (COUNT - CHANGED));
        (void)store_run(get_of(key));
        snprintf(key, sizeof key, "n%d", n);
        (void)world_run(field_of(key, "f", big));
        world_pass(10);
        hurried = store.hurries > 0;
    }
    assert_true(hurried);
    end();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_restart_with_more_than_memory),
        cmocka_unit_test(test_random_lives),
        cmocka_unit_test(test_writes_to_cold_sessions_keep_the_limit),
        cmocka_unit_test(test_a_damaged_key_begins_again),
        cmocka_unit_test(test_reads_do_not_keep_writers_waiting),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
