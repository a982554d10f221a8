/* Sessions whose fields leave memory and come back: what may go, and every operation on one that is gone. */
#include "cold_world.h"
#include "procedure.h"

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

static uint64_t answer_bytes(struct request request)
{
    shard_prepare(world.shard, &request);
    return shard_answer_bytes(world.shard, &request);
}

/* How large an answer may be is known without the fields. */
static void test_answers_are_foreseen(void **state)
{
    struct procedure procedure = {0};
    struct request write;

    (void)state;
    begin_roomy();
    assert_int_equal(world_put("a", big), STATUS_OK);
    write = get_of("a");
    write.op = REQUEST_WRITE;
    write.procedure = &procedure;
    assert_in_range(answer_bytes(get_of("a")), BIG, BIG + 50);
    assert_int_equal(answer_bytes(write), 0);
    assert_int_equal(answer_bytes(get_of("b")), 0);
    store_compact();
    store_freeze();
    assert_int_equal(stats()->cold, 1);
    assert_in_range(answer_bytes(get_of("a")), BIG, 2 * BIG);
    assert_in_range(answer_bytes(write), BIG, 2 * BIG);
    write.procedure = NULL;
    assert_int_equal(answer_bytes(write), 0);
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
            assert_true(store.live_bytes > 0);
            assert_int_equal(store.live_bytes, keeper_record_bytes(shard_keeper(world.shard)));
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

/* Where a cold record would save nothing, memory is full for good as well, once the checkpoint has all. */
static void test_full_of_small_ones(void **state)
{
    char key[520];
    enum status status = STATUS_OK;
    int made = 0;

    (void)state;
    begin(4 * 1024 * 1024);
    memset(key, 'k', sizeof key);
    for (; status == STATUS_OK && made < STORE_KEYS_MAX; made++) {
        snprintf(key + 490, 20, "%d", made);
        status = world_put(key, "x");
    }
    assert_int_equal(status, STATUS_BUSY);
    world_pass(5); /* The hand is on its way, and has passed what the checkpoint now gets. */
    store_compact();
    for (int passes = 0; status == STATUS_BUSY && passes < 20; passes++) {
        world_pass(50);
        status = world_put(key, "x");
    }
    assert_int_equal(status, STATUS_MEMORY_FULL);
    assert_int_equal(stats()->cold, 0);
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

/* Nor does the end of a map with its last field. */
static void test_fading(void **state)
{
    (void)state;
    begin_roomy();
    assert_int_equal(world_map_until("a", big, 5000), STATUS_OK);
    store_compact();
    store_freeze();
    assert_int_equal(stats()->cold, 1);
    world.now_ms += 5000;
    assert_int_equal(world_get("a"), STATUS_NOT_FOUND);
    world_pass(70000);
    assert_int_equal(stats()->expired, 1);
    assert_int_equal(world.traces[TRACE_SESSION_DELETED], 1);
    assert_int_equal(stats()->cold, 0);
    assert_int_equal(world_records(), 0);
    assert_int_equal(store.fetches, 0);
    end();
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

static enum status see_both(struct turn *turn)
{
    static const char *const keys[] = {"a", "b"};

    assert_bytes_equal(turn->request->key, text("a")); /* Whatever it waited for. */
    for (int i = 0; i < 2; i++) {
        struct request one = *turn->request;
        one.key = text(keys[i]);
        turn_to(turn, &one);
        if (turn_use(turn) == NULL) {
            return STATUS_NOT_FOUND;
        }
    }
    return STATUS_OK;
}

/* A transaction whose sessions are all cold waits for one after the other. */
static void test_a_transaction_waits_for_each(void **state)
{
    static const struct procedure procedure = {.name = "see", .run = see_both, .many = true};
    uint8_t body[8] = {2, 1, 'a', 1, 'b'};

    (void)state;
    begin_roomy();
    assert_int_equal(world_put("a", big), STATUS_OK);
    assert_int_equal(world_put("b", big), STATUS_OK);
    store_compact();
    store_freeze();
    assert_int_equal(stats()->cold, 2);
    struct request request = get_of("a");
    request.body = bytes_of(body, 5);
    request.procedure = &procedure;
    assert_int_equal(store_run(request), STATUS_OK);
    assert_int_equal(store.fetches, 2);
    assert_int_equal(store.told, 0);
    assert_int_equal(stats()->cold, 0);
    end();
}

/* Also where memory is so full that what was fetched would go again at once. */
static void test_a_transaction_waits_in_full_memory(void **state)
{
    static const struct procedure procedure = {.name = "see", .run = see_both, .many = true};
    uint8_t body[8] = {2, 1, 'a', 1, 'b'};

    (void)state;
    begin_roomy();
    assert_int_equal(world_put("a", big), STATUS_OK);
    assert_int_equal(world_put("b", big), STATUS_OK);
    store_compact();
    store_freeze();
    struct request request = get_of("a");
    request.body = bytes_of(body, 5);
    request.procedure = &procedure;
    world.shard->options.memory_max = 1;
    assert_int_equal(store_run(request), STATUS_OK);
    assert_int_equal(store.fetches, 2);
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

/* What is stored cannot be read: that is told once, too. */
static void test_damaged_bytes_are_told_once(void **state)
{
    (void)state;
    begin_roomy();
    put_cold("a");
    store.all[0].record.size = 12; /* The key is there. */
    assert_int_equal(store_run(get_of("a")), STATUS_DAMAGED);
    assert_int_equal(store.told, 1);
    assert_int_equal(store.told_error, -ENODATA);
    end();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_only_what_is_covered_goes),
        cmocka_unit_test(test_without_a_store_nothing_goes),
        cmocka_unit_test(test_answers_are_foreseen),
        cmocka_unit_test(test_the_coldest_go),
        cmocka_unit_test(test_full_for_good),
        cmocka_unit_test(test_full_of_small_ones),
        cmocka_unit_test(test_reads),
        cmocka_unit_test(test_writes),
        cmocka_unit_test(test_a_repeated_write_applies_once),
        cmocka_unit_test(test_destroy),
        cmocka_unit_test(test_expiry),
        cmocka_unit_test(test_fading),
        cmocka_unit_test(test_the_last_access_is_kept),
        cmocka_unit_test(test_scan),
        cmocka_unit_test(test_several_wait_for_one),
        cmocka_unit_test(test_a_transaction_waits_for_each),
        cmocka_unit_test(test_a_transaction_waits_in_full_memory),
        cmocka_unit_test(test_it_ends_while_it_is_fetched),
        cmocka_unit_test(test_no_memory_to_ask),
        cmocka_unit_test(test_timeout_while_it_waits),
        cmocka_unit_test(test_damage),
        cmocka_unit_test(test_damaged_bytes_are_told_once),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
