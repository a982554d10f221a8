/* Sessions whose fields leave memory and come back: what may go, and every operation on one that is gone. */
#include "random.h"
#include "shard_store.h"

enum { BIG = 1500 };

static char big[BIG + 1];

static void begin(uint64_t memory_max)
{
    memset(big, 'v', BIG);
    world_prepare();
    world.policy.touch_on_read = true;
    store_init();
    world.options.loader = &store.port;
    world.options.memory_max = memory_max;
    world_start();
}

/* With all memory there is: only what store_freeze() takes goes. */
static void begin_roomy(void)
{
    begin(UINT64_C(1) << 40);
}

static void end(void)
{
    assert_int_equal(store.wanted_count, 0);
    store_fini();
    world_end();
}

static const struct shard_stats *stats(void)
{
    return shard_stats(world.shard);
}

/* One session, cold. */
static void put_cold(const char *key)
{
    assert_int_equal(world_put(key, big), STATUS_OK);
    store_compact();
    store_freeze();
    assert_int_equal(stats()->cold, 1);
}

static struct request get_of(const char *key)
{
    return (struct request){.op = REQUEST_GET, .key = text(key)};
}

static size_t value_size(void)
{
    return world.answer.field_count == 1 ? BIG : 0;
}

/* ---- What goes ---- */

static void test_only_what_is_covered_goes(void **state)
{
    (void)state;
    begin_roomy();
    assert_int_equal(world_put("a", big), STATUS_OK);
    store_freeze();
    assert_int_equal(stats()->cold, 0);
    store_compact();
    assert_int_equal(world_put("b", big), STATUS_OK);
    assert_int_equal(world_put("a", big), STATUS_OK);
    assert_int_equal(world_put("c", "small"), STATUS_OK);
    store_freeze();
    assert_int_equal(stats()->cold, 0); /* Each was written since. */
    store_compact();
    store_freeze();
    assert_int_equal(stats()->cold, 2); /* The small one is not worth it. */
    assert_int_equal(stats()->frozen, 2);
    assert_int_equal(stats()->live, 3);
    assert_int_equal(world_get("c"), STATUS_OK);
    end();
}

static void test_without_a_store_nothing_goes(void **state)
{
    (void)state;
    begin_roomy();
    world.shard->loader = NULL;
    assert_int_equal(world_put("a", big), STATUS_OK);
    store_compact();
    store_freeze();
    assert_int_equal(stats()->cold, 0);
    world.shard->loader = &store.port;
    end();
}

/* What is used has a second chance. */
static void test_the_coldest_go(void **state)
{
    enum { COUNT = 12000, HOT = 100 };
    char key[16];
    uint32_t waits = 0;

    (void)state;
    begin(12 * 1024 * 1024);
    for (int i = 0; i < COUNT; i++) {
        snprintf(key, sizeof key, "k%d", i);
        while (world_put(key, big) != STATUS_OK) {
            assert_int_equal(world.answer.reply.status, STATUS_BUSY);
            assert_in_range(world.answer.reply.retry_after_ms, 1, 1000);
            for (int tick = 0; tick < 100 && store.hurries == 0; tick++) {
                world_pass(10);
            }
            assert_true(store.hurries > 0 && world.seals > 0);
            store_compact();
            world_pass(40);
            waits++;
        }
        for (int hot = 0; hot < HOT && hot < i && i % 50 == 0; hot++) {
            snprintf(key, sizeof key, "k%d", hot);
            assert_int_equal(store_run(get_of(key)), STATUS_OK);
            assert_int_equal(value_size(), BIG);
        }
        if (i % 500 == 0) {
            world_pass(10);
        }
    }
    struct keeper_stats keeper;
    keeper_stats(world.shard->keeper, &keeper);
    print_message("%lu of %lu are cold, %u waits, %lu fetches, %lu KiB held\n",
                  (unsigned long)stats()->cold, (unsigned long)stats()->live, waits,
                  (unsigned long)store.fetches, (unsigned long)keeper.memory_bytes / 1024);
    assert_true(stats()->cold > COUNT / 4 && waits > 0 && waits < COUNT / 100);
    assert_true(keeper.memory_bytes <= 12 * 1024 * 1024 / 16 * 17 + 2 * 1024 * 1024);
    assert_int_equal(stats()->live, COUNT);
    assert_true(store.fetches < COUNT / 10); /* Of 24,000 GETs. */
    for (int i = 0; i < COUNT; i++) {
        snprintf(key, sizeof key, "k%d", i);
        assert_int_equal(store_run(get_of(key)), STATUS_OK);
        assert_int_equal(value_size(), BIG);
        if (i % 100 == 0) {
            world_pass(5);
        }
    }
    keeper_stats(world.shard->keeper, &keeper);
    assert_true(keeper.memory_bytes <= 12 * 1024 * 1024 / 16 * 17 + 2 * 1024 * 1024);
    assert_true(stats()->thawed > COUNT / 4);
    end();
}

/* Cold records alone fill memory: only then is it full for good. */
static void test_full_for_good(void **state)
{
    char key[420];
    enum status status = STATUS_OK;
    int made = 0;

    (void)state;
    begin(4 * 1024 * 1024);
    memset(key, 'k', sizeof key);
    for (; status == STATUS_OK && made < STORE_KEYS_MAX; made++) {
        snprintf(key + 400, 20, "%d", made);
        int tries = 0;
        while ((status = world_put(key, big)) == STATUS_BUSY && tries++ < 200) {
            store_compact();
            world_pass(50);
        }
    }
    assert_int_equal(status, STATUS_MEMORY_FULL);
    assert_true(stats()->cold > 5000);
    assert_int_equal(stats()->cold + 16 > stats()->live, true);
    snprintf(key + 400, 20, "%d", 1);
    assert_int_equal(store_run((struct request){.op = REQUEST_GET, .key = text(key)}), STATUS_OK);
    struct request destroy = world_one_of(key, (struct change){.operation = CHANGE_DESTROY});
    assert_int_equal(store_run(destroy), STATUS_OK);
    end();
}

/* ---- Operations on a cold session ---- */

static void test_reads(void **state)
{
    (void)state;
    begin_roomy();
    put_cold("a");
    uint64_t ticket = store_park(get_of("a"));
    assert_int_equal(store.wanted_count, 1);
    assert_int_equal(world_put("b", "other"), STATUS_OK); /* Others do not wait. */
    assert_int_equal(world_get("b"), STATUS_OK);
    store_answer();
    assert_int_equal(world.answer.ticket, ticket);
    assert_int_equal(world.answer.reply.status, STATUS_OK);
    assert_int_equal(value_size(), BIG);
    assert_int_equal(stats()->cold, 0);
    assert_int_equal(stats()->thawed, 1);
    assert_int_equal(stats()->cold_requests, 1);
    assert_int_equal(stats()->fetch_us.count, 1);
    assert_int_equal(stats()->hits, 2);
    assert_int_equal(world_get("a"), STATUS_OK); /* At once now. */
    store_freeze();
    assert_int_equal(stats()->cold, 1);
    struct request inspect = {.op = REQUEST_INSPECT, .key = text("a")};
    assert_int_equal(store_run(inspect), STATUS_OK);
    assert_true(world.answer.reply.record.size > BIG);
    end();
}

static void test_writes(void **state)
{
    static uint8_t token[256];

    (void)state;
    begin_roomy();
    put_cold("a");
    struct request append =
        world_one_of("a", (struct change){.operation = CHANGE_APPEND, .value = text("more")});
    assert_int_equal(store_run(append), STATUS_OK);
    store_compact();
    store_freeze();
    assert_int_equal(stats()->cold, 1);
    struct request update = world_put_of("a", big);
    update.mode = WRITE_UPDATE;
    assert_int_equal(store_run(update), STATUS_OK);
    size_t token_size = world.answer.reply.version.size;
    memcpy(token, world.answer.reply.version.data, token_size);
    store_compact();
    store_freeze();
    struct request create = world_put_of("a", big);
    create.mode = WRITE_CREATE;
    assert_int_equal(store_run(create), STATUS_EXISTS);
    store_freeze();
    assert_int_equal(stats()->cold, 1);
    struct request swap = world_put_of("a", "new");
    swap.version = bytes_of("none", 4);
    assert_int_not_equal(store_run(swap), STATUS_OK);
    store_freeze();
    swap.version = bytes_of(token, token_size);
    assert_int_equal(store_run(swap), STATUS_OK);
    assert_int_equal(world_get("a"), STATUS_OK);
    assert_string_equal(world.answer.blob, "new");
    end();
}

/* A repeated write is known by the window that left memory and came back. */
static void test_a_repeated_write_applies_once(void **state)
{
    (void)state;
    begin_roomy();
    assert_int_equal(world_put("a", big), STATUS_OK);
    struct request append =
        world_one_of("a", (struct change){.operation = CHANGE_APPEND, .value = text("x")});
    append.client = 7;
    append.sequence = 1;
    assert_int_equal(world_run(append), STATUS_OK);
    store_compact();
    store_freeze();
    assert_int_equal(stats()->cold, 1);
    append = world_one_of("a", (struct change){.operation = CHANGE_APPEND, .value = text("x")});
    append.client = 7;
    append.sequence = 1;
    append.retry_hlc = 1;
    assert_int_equal(store_run(append), STATUS_OK);
    assert_true(world.answer.reply.repeated);
    end();
}

static void test_destroy(void **state)
{
    (void)state;
    begin_roomy();
    put_cold("a");
    struct request destroy = world_one_of("a", (struct change){.operation = CHANGE_DESTROY});
    assert_int_equal(store_run(destroy), STATUS_OK);
    assert_int_equal(stats()->destroyed, 1);
    assert_int_equal(stats()->live, 0);
    assert_int_equal(stats()->cold, 0);
    assert_int_equal(world_get("a"), STATUS_NOT_FOUND);
    store_compact();
    store_freeze();
    assert_int_equal(world_get("a"), STATUS_NOT_FOUND);
    end();
}

/* Deadlines need no disk: neither the absolute one nor the idle one. */
static void test_expiry(void **state)
{
    (void)state;
    for (int idle = 0; idle < 2; idle++) {
        begin_roomy();
        assert_int_equal(world_put_until("a", big, idle ? 0 : 5000, idle ? 5000 : 0), STATUS_OK);
        store_compact();
        store_freeze();
        assert_int_equal(stats()->cold, 1);
        world.now_ms += 5000;
        assert_int_equal(world_get("a"), STATUS_NOT_FOUND);
        world_pass(70000);
        assert_int_equal(stats()->expired, 1);
        assert_int_equal(stats()->cold, 0);
        assert_int_equal(stats()->live, 0);
        assert_int_equal(world_records(), 0);
        assert_int_equal(store.fetches, 0);
        assert_int_equal(world_logged(LOG_BURY), 1);
        store_compact();
        assert_int_equal(store.all[0].record.size, 0);
        end();
    }
}

/* A read slides the idle deadline of a session that comes back, and the sliding is not lost when it goes. */
static void test_the_last_access_is_kept(void **state)
{
    (void)state;
    begin_roomy();
    assert_int_equal(world_put_until("a", big, 0, 10000), STATUS_OK);
    store_compact();
    world_pass(600);
    store_freeze();
    assert_int_equal(store_run(get_of("a")), STATUS_OK);
    uint64_t used_ms = world.answer.last_access_ms;
    assert_int_equal(used_ms, world.now_ms);
    store_freeze();
    assert_int_equal(stats()->cold, 1);
    struct request look = get_of("a");
    look.flags = GET_NO_TOUCH;
    world.now_ms += 100;
    assert_int_equal(store_run(look), STATUS_OK);
    assert_int_equal(world.answer.last_access_ms, used_ms);
    end();
}

static void test_scan(void **state)
{
    (void)state;
    begin_roomy();
    put_cold("a");
    struct request scan = {.op = REQUEST_SCAN, .type = SESSION_BLOB};
    assert_int_equal(world_run(scan), STATUS_OK);
    assert_int_equal(world.answer.reply.keys.size, 2);
    scan.type = SESSION_MAP;
    assert_int_equal(world_run(scan), STATUS_OK);
    assert_int_equal(world.answer.reply.keys.size, 0);
    assert_int_equal(store.fetches, 0);
    end();
}

/* ---- Races ---- */

static void test_several_wait_for_one(void **state)
{
    (void)state;
    begin_roomy();
    put_cold("a");
    store_park(get_of("a"));
    store_park(world_put_of("a", "new"));
    uint64_t last = store_park(get_of("a"));
    assert_int_equal(store.wanted_count, 1);
    store_answer();
    assert_int_equal(world.answers, 4);
    assert_int_equal(world.answer.ticket, last);
    assert_string_equal(world.answer.blob, "new");
    end();
}

/* The session ends while it is fetched, and another one begins: what was stored must not come back. */
static void test_it_ends_while_it_is_fetched(void **state)
{
    (void)state;
    for (int again = 0; again < 2; again++) {
        begin_roomy();
        assert_int_equal(world_put_until("a", big, 5000, 0), STATUS_OK);
        store_compact();
        store_freeze();
        store_park(get_of("a"));
        world_pass(80000);
        assert_int_equal(stats()->expired, 1);
        if (again) {
            assert_int_equal(world_put("a", "new"), STATUS_OK);
        }
        store_answer();
        assert_int_equal(world.answer.reply.status, again ? STATUS_OK : STATUS_NOT_FOUND);
        assert_string_equal(world.answer.blob, again ? "new" : "");
        assert_int_equal(stats()->cold, 0);
        assert_int_equal(stats()->live, again);
        end();
    }
}

static void test_no_memory_to_ask(void **state)
{
    (void)state;
    begin_roomy();
    put_cold("a");
    store.fetch_fails = true;
    assert_int_equal(world_get("a"), STATUS_BUSY);
    assert_true(world.answer.reply.retry_after_ms > 0);
    store.fetch_fails = false;
    assert_int_equal(store_run(get_of("a")), STATUS_OK);
    end();
}

static void test_timeout_while_it_waits(void **state)
{
    (void)state;
    begin_roomy();
    put_cold("a");
    struct request get = get_of("a");
    get.timeout_ms = 20;
    store_park(get);
    world.now_us += 30000;
    store_answer();
    assert_int_equal(world.answer.reply.status, STATUS_TIMEOUT);
    end();
}

/* ---- Damage ---- */

/* What is stored is not there, or of another state: told once, with the key; never NOT_FOUND. */
static void test_damage(void **state)
{
    (void)state;
    for (int older = 0; older < 2; older++) {
        begin_roomy();
        assert_int_equal(world_put("a", "older"), STATUS_OK);
        store_compact();
        static uint8_t kept[256];
        size_t kept_size = store.all[0].record.size;
        memcpy(kept, store.all[0].record.data, kept_size);
        put_cold("a");
        store_replace(&store.all[0], bytes_of(kept, older ? kept_size : 0));
        store_park(get_of("a"));
        store_park(world_put_of("a", "new"));
        store_answer();
        assert_int_equal(world.answers, 4);
        assert_int_equal(world.answer.reply.status, STATUS_DAMAGED);
        assert_int_equal(store.told, 1);
        assert_int_equal(store.told_error, -ENODATA);
        assert_int_equal(world_get("a"), STATUS_DAMAGED); /* Without another look. */
        assert_int_equal(store.told, 1);
        assert_int_equal(store.fetches, 1);
        assert_int_equal(stats()->live, 1);
        /* It can be ended, and begun anew. */
        uint64_t cold = stats()->cold;
        assert_int_equal(world_destroy("a"), STATUS_OK);
        assert_int_equal(stats()->live, 0);
        assert_int_equal(stats()->cold, cold - 1);
        assert_int_equal(world_get("a"), STATUS_NOT_FOUND);
        assert_int_equal(world_put("a", "anew"), STATUS_OK);
        assert_int_equal(world_get("a"), STATUS_OK);
        assert_string_equal(world.answer.blob, "anew");
        end();
    }
}

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
    while (!shard_loading_over(world.shard)) {
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
        cmocka_unit_test(test_only_what_is_covered_goes),
        cmocka_unit_test(test_without_a_store_nothing_goes),
        cmocka_unit_test(test_the_coldest_go),
        cmocka_unit_test(test_full_for_good),
        cmocka_unit_test(test_reads),
        cmocka_unit_test(test_writes),
        cmocka_unit_test(test_a_repeated_write_applies_once),
        cmocka_unit_test(test_destroy),
        cmocka_unit_test(test_expiry),
        cmocka_unit_test(test_the_last_access_is_kept),
        cmocka_unit_test(test_scan),
        cmocka_unit_test(test_several_wait_for_one),
        cmocka_unit_test(test_it_ends_while_it_is_fetched),
        cmocka_unit_test(test_no_memory_to_ask),
        cmocka_unit_test(test_timeout_while_it_waits),
        cmocka_unit_test(test_damage),
        cmocka_unit_test(test_restart_with_more_than_memory),
        cmocka_unit_test(test_random_lives),
        cmocka_unit_test(test_writes_to_cold_sessions_keep_the_limit),
        cmocka_unit_test(test_a_damaged_key_begins_again),
        cmocka_unit_test(test_reads_do_not_keep_writers_waiting),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
