/* The shard at its limits: memory, sizes, deadlines, overload, allocations that fail. */
#include "shard_world.h"

/* ---- Limits ---- */

static void test_memory_full(void **state)
{
    (void)state;
    static char value[2000];
    char key[16];

    memset(value, 'v', sizeof value - 1);
    world_prepare();
    world.options.memory_max = 32 * 1024 * 1024;
    world_start();
    int made = 0;
    enum status status = STATUS_OK;
    for (; made < 50000 && status == STATUS_OK; made++) {
        snprintf(key, sizeof key, "k%d", made);
        status = world_put(key, value);
    }
    assert_int_equal(status, STATUS_MEMORY_FULL);
    assert_in_range(made, 10000, 17000);
    assert_int_equal(world_get("k1"), STATUS_OK);
    assert_int_equal(world_put("k1", value), STATUS_OK); /* Those that are there go on. */
    struct request append = world_one_of(
        "k1", (struct change){.operation = CHANGE_APPEND, .value = text("and one more")});
    assert_int_equal(world_run(append), STATUS_OK);
    /* They may grow into the reserve, and not beyond. */
    struct changes big = {.size = 0};
    changes_add(&big, (struct change){.operation = CHANGE_APPEND, .value = text(value)});
    status = STATUS_OK;
    for (int i = 0; i < made - 1 && status == STATUS_OK; i++) {
        snprintf(key, sizeof key, "k%d", i);
        status = world_run(world_write_of(key, &big));
    }
    assert_int_equal(status, STATUS_MEMORY_FULL);
    assert_true(world.memory.outstanding_bytes < 37 * 1024 * 1024);
    assert_int_equal(world_put("k5", "small"), STATUS_OK); /* Less is always taken. */
    for (int i = 10; i < made - 1; i++) {
        snprintf(key, sizeof key, "k%d", i);
        assert_int_equal(world_destroy(key), STATUS_OK);
    }
    world_pass(60 * 1000);
    assert_int_equal(world_put("new", value), STATUS_OK);
    world_end();
}

static void test_session_limits(void **state)
{
    (void)state;
    static char value[2000];

    memset(value, 'v', sizeof value - 1);
    world_prepare();
    world.policy.rules.session_bytes_max = 1000;
    world_start();
    assert_int_equal(world_put("a", value), STATUS_SESSION_TOO_LARGE);
    assert_int_equal(world_put("a", "small"), STATUS_OK);
    assert_int_equal(shard_stats(world.shard)->refused, 1);
    world_end();
}

/* What would be refused whatever it is can be refused before it is taken apart; it counts the same. */
static void test_refused_late(void **state)
{
    uint32_t retry_after_ms = 0;

    (void)state;
    world_prepare();
    world.options.queue_delay_ms = 100;
    world_start();
    uint64_t now_us = world.now_us;
    assert_false(shard_refuse_late(world.shard, REQUEST_GET, now_us - 100000, world.now_ms, now_us,
                                   &retry_after_ms));
    assert_int_equal(shard_stats(world.shard)->requests[REQUEST_GET], 0);
    assert_true(shard_refuse_late(world.shard, REQUEST_GET, now_us - 100001, world.now_ms, now_us,
                                  &retry_after_ms));
    assert_true(retry_after_ms >= 100);
    assert_int_equal(world.traces[TRACE_OVERLOAD_BEGIN], 1);
    assert_int_equal(shard_stats(world.shard)->requests[REQUEST_GET], 1);
    assert_int_equal(shard_stats(world.shard)->answers[REQUEST_GET][STATUS_BUSY], 1);
    assert_int_equal(shard_stats(world.shard)->busy, 1);
    assert_int_equal(world.answers, 0);
    world_end();

    world_prepare();
    world.options.queue_delay_ms = 0;
    world_start();
    assert_false(shard_refuse_late(world.shard, REQUEST_WRITE, 0, world.now_ms, world.now_us,
                                   &retry_after_ms));
    world_end();
}

/* Halfway between half of the limit and the limit half of the requests of a standing queue are refused: at the door, and those
 * admitted there not once more. */
static void test_refused_share(void **state)
{
    enum { DELAY_US = 75000, COUNT = 1000 };
    uint32_t refused = 0, refused_later = 0, retry_after_ms;

    (void)state;
    world_prepare();
    world.options.queue_delay_ms = 100;
    world_start();
    assert_int_equal(world_put("a", "1"), STATUS_OK);
    struct request get = {.op = REQUEST_GET, .key = text("a"), .admitted = true};
    for (int i = 0; i < 300;
         i++) { /* The first window's minimum was none; then the queue stands. */
        world.now_us += 1000;
        get.received_us = world.now_us - DELAY_US;
        assert_int_equal(world_run(get), STATUS_OK);
    }
    for (int i = 0; i < COUNT; i++) {
        world.now_us += 100;
        get.received_us = world.now_us - DELAY_US;
        if (shard_refuse_late(world.shard, REQUEST_GET, get.received_us, world.now_ms, world.now_us,
                              &retry_after_ms)) {
            refused++;
        } else {
            refused_later += world_run(get) == STATUS_BUSY;
        }
    }
    assert_in_range(refused, COUNT / 2 - 1, COUNT / 2 + 1);
    assert_int_equal(refused_later, 0);
    assert_int_equal(shard_stats(world.shard)->busy, refused);
    /* What becomes late still is refused, and what begins a session where its limit says so. */
    get.received_us = world.now_us - 100001;
    assert_int_equal(world_run(get), STATUS_BUSY);
    struct request fresh = world_put_of("new", "1");
    fresh.admitted = true;
    fresh.received_us = world.now_us - 60000;
    assert_int_equal(world_run(fresh), STATUS_BUSY);
    /* Who was not asked about gets the share here. */
    get.admitted = false;
    for (int i = 0; i < COUNT; i++) {
        get.received_us = world.now_us - DELAY_US;
        refused_later += world_run(get) == STATUS_BUSY;
    }
    assert_in_range(refused_later, COUNT / 2 - 1, COUNT / 2 + 1);
    world_end();
}

static void test_timeout(void **state)
{
    (void)state;
    world_begin();
    struct request request = world_put_of("a", "1");
    request.timeout_ms = 20;
    request.received_us = world.now_us - 20000;
    assert_int_equal(world_run(request), STATUS_TIMEOUT);
    assert_int_equal(world_get("a"), STATUS_NOT_FOUND); /* It was not executed. */
    request.received_us = world.now_us - 19000;
    assert_int_equal(world_run(request), STATUS_OK);
    assert_int_equal(shard_stats(world.shard)->timeouts, 1);
    world_end();
}

/* Others may have done meanwhile what came before the shard was not served for a while. */
static void test_refused_before(void **state)
{
    (void)state;
    world_begin();
    struct request request = world_put_of("a", "1");
    request.received_us = world.now_us - 1000;
    shard_refuse_before(world.shard, world.now_us - 999);
    assert_int_equal(world_run(request), STATUS_BUSY);
    assert_true(world.answer.reply.retry_after_ms > 0);
    assert_int_equal(world_get("a"), STATUS_NOT_FOUND);
    struct request get = {.op = REQUEST_GET, .key = text("a")};
    get.received_us = world.now_us - 1000;
    assert_int_equal(world_run(get), STATUS_NOT_FOUND); /* A read harms nobody. */
    request.received_us = world.now_us - 999;
    assert_int_equal(world_run(request), STATUS_OK);
    world_end();
}

/* ---- Overload ---- */

static void test_busy(void **state)
{
    (void)state;
    world_prepare();
    world.options.queue_delay_ms = 100;
    world_start();
    assert_int_equal(world_put("old", "1"), STATUS_OK);
    struct request old = world_put_of("old", "2");
    old.received_us = world.now_us - 60000;
    assert_int_equal(world_run(old), STATUS_OK);
    struct request fresh = world_put_of("new", "1"); /* New ones are refused first. */
    fresh.received_us = world.now_us - 60000;
    assert_int_equal(world_run(fresh), STATUS_BUSY);
    assert_true(world.answer.reply.retry_after_ms > 0);
    assert_int_equal(world.traces[TRACE_OVERLOAD_BEGIN], 1);
    struct request get = {.op = REQUEST_GET, .key = text("old")};
    get.received_us = world.now_us - 101000;
    assert_int_equal(world_run(get), STATUS_BUSY);
    get.op = REQUEST_SCAN;
    assert_int_equal(world_run(get), STATUS_BUSY);
    assert_int_equal(world.traces[TRACE_OVERLOAD_BEGIN], 1);
    assert_int_equal(shard_stats(world.shard)->busy, 3);
    world_pass(1500);
    assert_int_equal(world.traces[TRACE_OVERLOAD_END], 1);
    assert_int_equal(world_get("old"), STATUS_OK);
    assert_int_equal(world_get("new"), STATUS_NOT_FOUND);
    world_end();
}

/* Five times as many arrive as can be served, in turns as the data plane makes them: all that came
 * meanwhile is executed, each taking its time. Refusing takes a fiftieth of serving. */
static void test_goodput(void **state)
{
    (void)state;
    enum { SERVE_US = 50, REFUSE_US = 1, SECONDS = 10, KEYS = 100 };
    uint64_t served = 0, latest_us = 0;
    char key[16];

    world_prepare();
    world.options.queue_delay_ms = 100;
    world_start();
    for (int i = 0; i < KEYS; i++) {
        snprintf(key, sizeof key, "k%d", i);
        assert_int_equal(world_put(key, "v"), STATUS_OK);
    }
    const uint64_t start_us = world.now_us, start_ms = world.now_ms;
    for (uint64_t arrival = 0; world.now_us < start_us + SECONDS * 1000000; arrival++) {
        uint64_t received_us = start_us + arrival * SERVE_US / 5;
        if (world.now_us < received_us) {
            world.now_us = received_us;
        }
        world.now_ms = start_ms + (world.now_us - start_us) / 1000;
        snprintf(key, sizeof key, "k%d", (int)(arrival % KEYS));
        struct request get = {.op = REQUEST_GET, .key = text(key), .received_us = received_us};
        uint64_t delay_us = world.now_us - received_us;
        if (world_run(get) == STATUS_OK) {
            served++;
            latest_us = delay_us > latest_us ? delay_us : latest_us;
            world.now_us += SERVE_US;
        } else {
            assert_int_equal(world.answer.reply.status, STATUS_BUSY);
            world.now_us += REFUSE_US;
        }
    }
    assert_true((double)served >= 0.9 * SECONDS * 1000000 / SERVE_US);
    assert_true(latest_us <= 100 * 1000);
    assert_int_equal(world.traces[TRACE_OVERLOAD_BEGIN], 1);
    assert_int_equal(world.traces[TRACE_OVERLOAD_END], 0);
    world_end();
}

/* ---- Failing memory ---- */

/* With the n-th allocation failing, every request still gets an answer; what was acknowledged is there,
 * what was refused is not. */
static void test_fault_loop(void **state)
{
    (void)state;
    enum { KEYS = 40 };
    bool done = false;

    for (uint64_t n = 1; !done; n++) {
        bool there[KEYS] = {false};
        char key[16];
        uint64_t live = 0;

        world_prepare();
        assert_int_equal(policies_init(&world.policies, &world.policy, 1), 0);
        world.memory.fail_at = n;
        int rc = shard_create(&world.options, &world.shard);
        if (rc != 0) {
            assert_int_equal(rc, -ENOMEM);
            assert_int_equal(world.memory.outstanding_bytes, 0);
            continue;
        }
        for (int i = 0; i < KEYS; i++) {
            static char value[3000];
            memset(value, 'v', sizeof value);
            value[i * 70] = '\0';
            snprintf(key, sizeof key, "k%d", i);
            struct request request = world_put_of(key, value);
            request.ack = i % 2 == 0 ? ACK_DISK : ACK_MEMORY;
            enum status status = world_run(request);
            assert_true(status == STATUS_OK || status == STATUS_MEMORY_FULL);
            there[i] = status == STATUS_OK;
            live += there[i];
            status = world_run((struct request){.op = REQUEST_SCAN});
            assert_true(status == STATUS_OK || status == STATUS_MEMORY_FULL);
        }
        shard_tick(world.shard, world.now_ms, 1000);
        done = world.memory.requests < n;
        world.memory.fail_at = 0;
        assert_int_equal(shard_stats(world.shard)->live, live);
        assert_int_equal(world.record_count, live);
        shard_log_durable(world.shard, UINT64_MAX, world.now_us);
        for (int i = 0; i < KEYS; i++) {
            snprintf(key, sizeof key, "k%d", i);
            assert_int_equal(world_get(key), there[i] ? STATUS_OK : STATUS_NOT_FOUND);
        }
        world_end();
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_memory_full),    cmocka_unit_test(test_session_limits),
        cmocka_unit_test(test_refused_before), cmocka_unit_test(test_timeout),
        cmocka_unit_test(test_refused_late),   cmocka_unit_test(test_busy),
        cmocka_unit_test(test_refused_share),  cmocka_unit_test(test_goodput),
        cmocka_unit_test(test_fault_loop),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
