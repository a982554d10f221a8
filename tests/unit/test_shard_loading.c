/* Serving while the store still gives: a loader in the test's hand. */
#include "shard_world.h"

enum { WANTED_MAX = 16 };

static struct fake_loader {
    struct loader_port port;
    bool nothing;  /* Is left to give. */
    uint64_t done; /* Positions below are given. */
    uint64_t wanted[WANTED_MAX];
    uint32_t wanted_count;
} loader;

static bool fake_pending(struct loader_port *port, uint64_t position)
{
    (void)port;
    return !loader.nothing && position >= loader.done;
}

static void fake_live(struct loader_port *port, uint64_t record_bytes)
{
    (void)port;
    (void)record_bytes;
}

static int fake_kept_seen(struct loader_port *port, struct buffer *to)
{
    (void)port;
    (void)to;
    return -ENOENT;
}

static int fake_fetch(struct loader_port *port, uint64_t position, bool must)
{
    (void)port;
    (void)must;
    assert_true(loader.wanted_count < WANTED_MAX);
    loader.wanted[loader.wanted_count++] = position;
    return 0;
}

/* What an earlier life logged. */
static struct earlier {
    struct logged *records;
    size_t count;
    uint64_t hlc;
} earlier;

/* A shard whose store has `records` of an earlier life, whose sessions `live` writes. */
static void begin_after(void (*live)(void))
{
    memset(&loader, 0, sizeof loader);
    loader.port = (struct loader_port){.pending = fake_pending,
                                       .fetch = fake_fetch,
                                       .live = fake_live,
                                       .kept_seen = fake_kept_seen};
    world_begin();
    live();
    uint64_t now_ms = world.now_ms;
    earlier.records = world.records;
    earlier.count = world.record_count;
    earlier.hlc = shard_hlc(world.shard);
    world.records = NULL;
    world.record_count = 0;
    world_end();
    world_prepare();
    world.now_ms = now_ms + 10;
    world.options.actor.start = 2;
    assert_int_equal(policies_init(&world.policies, &world.policy, 1), 0);
    assert_int_equal(shard_create(&world.options, &world.shard), 0);
    shard_loading_begin(world.shard, &loader.port, earlier.hlc, world.now_ms);
}

static void end(void)
{
    for (size_t i = 0; i < earlier.count; i++) {
        free(earlier.records[i].body);
    }
    free(earlier.records);
    world_end();
}

static void give(const struct logged *logged)
{
    struct bytes body = bytes_of(logged->body, logged->size);
    int rc = logged->kind == LOG_FULL    ? shard_restore_record(world.shard, body)
             : logged->kind == LOG_DELTA ? shard_restore_delta(world.shard, body)
             : logged->kind == LOG_TOUCH ? shard_restore_touch(world.shard, body)
                                         : shard_restore_bury(world.shard, body);
    assert_int_equal(rc, 0);
}

/* Give what is asked for first. */
static void answer_fetch(void)
{
    assert_true(loader.wanted_count > 0);
    uint64_t position = loader.wanted[0];
    for (size_t i = 0; i < earlier.count; i++) {
        if (earlier.records[i].position == position) {
            give(&earlier.records[i]);
        }
    }
    memmove(loader.wanted, loader.wanted + 1, --loader.wanted_count * sizeof loader.wanted[0]);
    shard_loaded(world.shard, position, world.now_ms, world.now_us);
}

/* Give all, in the order of the log. */
static void give_all(void)
{
    for (size_t i = 0; i < earlier.count; i++) {
        give(&earlier.records[i]);
    }
    loader.nothing = true;
    shard_loading_end(world.shard, world.now_ms, world.now_us);
}

/* A request that must wait: nothing is answered. */
static uint64_t park(struct request request)
{
    uint64_t before = world.answers;

    request.ticket = ++world.next_ticket;
    request.received_us = world.now_us;
    shard_prepare(world.shard, &request);
    shard_execute(world.shard, &request, world.now_ms, world.now_us);
    assert_int_equal(world.answers, before);
    return request.ticket;
}

static struct request get_of(const char *key)
{
    return (struct request){.op = REQUEST_GET, .key = text(key)};
}

static void two_sessions(void)
{
    assert_int_equal(world_put("a", "one"), STATUS_OK);
    assert_int_equal(world_put("b", "two"), STATUS_OK);
    assert_int_equal(world_put("a", "three"), STATUS_OK);
}

static void test_a_request_waits_for_its_session_only(void **state)
{
    (void)state;
    begin_after(two_sessions);
    struct request read = get_of("a");
    shard_prepare(world.shard, &read);
    assert_int_equal(shard_answer_bytes(world.shard, &read), UNKNOWN_RECORD_BYTES);
    uint64_t ticket = park(get_of("a"));
    assert_int_equal(loader.wanted_count, 1);
    park(get_of("b"));
    assert_int_equal(loader.wanted_count, 2);
    answer_fetch();
    assert_int_equal(world.answers, 1);
    assert_int_equal(world.answer.ticket, ticket);
    assert_string_equal(world.answer.blob, "three");
    assert_int_equal(world_get("a"), STATUS_OK); /* At once now. */
    assert_string_equal(world.answer.blob, "three");
    answer_fetch();
    assert_string_equal(world.answer.blob, "two");
    give_all();
    assert_int_equal(shard_stats(world.shard)->live, 2);
    end();
}

/* Nobody is told that a session is not there before the store has said so. */
static void test_absent_is_said_only_after_the_store(void **state)
{
    (void)state;
    begin_after(two_sessions);
    park(get_of("absent"));
    answer_fetch();
    assert_int_equal(world.answer.reply.status, STATUS_NOT_FOUND);
    assert_int_equal(world_get("absent"), STATUS_NOT_FOUND);
    give_all();
    end();
}

static void test_requests_of_one_session_keep_their_order(void **state)
{
    (void)state;
    begin_after(two_sessions);
    park(world_put_of("a", "four"));
    park(get_of("a"));
    struct request create = world_put_of("a", "five");
    create.mode = WRITE_CREATE;
    park(create);
    assert_int_equal(loader.wanted_count, 1);
    answer_fetch();
    assert_int_equal(world.answers, 3);
    assert_int_equal(world.answer.reply.status, STATUS_EXISTS);
    assert_int_equal(world_get("a"), STATUS_OK);
    assert_string_equal(world.answer.blob, "four");
    give_all();
    assert_int_equal(world_get("a"), STATUS_OK);
    assert_string_equal(world.answer.blob, "four"); /* Nothing old came over it. */
    assert_int_equal(shard_stats(world.shard)->live, 2);
    end();
}

static void test_a_scan_waits_for_the_end(void **state)
{
    (void)state;
    begin_after(two_sessions);
    uint64_t ticket = park((struct request){.op = REQUEST_SCAN});
    assert_int_equal(loader.wanted_count, 0);
    give_all();
    assert_int_equal(world.answers, 1);
    assert_int_equal(world.answer.ticket, ticket);
    assert_int_equal(world.answer.reply.keys.size, 4); /* Two keys of one byte. */
    end();
}

/* Who waits for what does not read is told so, and nobody that there is no session. */
static void test_what_does_not_read(void **state)
{
    (void)state;
    begin_after(two_sessions);
    park(get_of("a"));
    park(world_put_of("a", "four"));
    park((struct request){.op = REQUEST_SCAN});
    shard_load_failed(world.shard, loader.wanted[0], world.now_ms, world.now_us);
    assert_int_equal(world.answers, 2);
    assert_int_equal(world.answer.reply.status, STATUS_UNAVAILABLE);
    assert_non_null(strstr(world.answer.reply.text, "does not read"));
    shard_set_load_failing(world.shard, true, world.now_us);
    assert_int_equal(world.answers, 3);
    assert_int_equal(world.answer.reply.status, STATUS_UNAVAILABLE);
    assert_int_equal(world_run((struct request){.op = REQUEST_SCAN}), STATUS_UNAVAILABLE);
    loader.wanted_count = 0;
    const uint64_t answers = world.answers;
    park(get_of("a")); /* It is asked for again. */
    assert_int_equal(loader.wanted_count, 1);
    answer_fetch();
    assert_int_equal(world.answers, answers + 1);
    assert_int_equal(world.answer.reply.status, STATUS_OK);
    assert_string_equal(world.answer.blob, "three"); /* And as it was. */
    shard_set_load_failing(world.shard, false, world.now_us);
    park((struct request){.op = REQUEST_SCAN});
    give_all();
    assert_int_equal(world.answer.reply.keys.size, 4);
    end();
}

static void destroyed(void)
{
    two_sessions();
    assert_int_equal(world_destroy("a"), STATUS_OK);
}

static void test_what_was_destroyed_stays_so(void **state)
{
    (void)state;
    world.policy.rules.no_resurrect = true;
    begin_after(destroyed);
    park(get_of("a"));
    answer_fetch();
    assert_int_equal(world.answer.reply.status, STATUS_NOT_FOUND);
    give_all();
    assert_int_equal(world_get("a"), STATUS_NOT_FOUND);
    assert_int_equal(shard_stats(world.shard)->live, 1);
    end();
}

static void expired_and_back(void)
{
    assert_int_equal(world_put_until("a", "one", 100, 0), STATUS_OK);
    world_pass(70 * 1000);
    assert_int_equal(world_logged(LOG_BURY), 1);
    struct changes changes = {.size = 0};
    for (int i = 0; i < 5; i++) {
        changes_add(&changes, (struct change){.operation = CHANGE_SET,
                                              .name = bytes_of((const uint8_t *)"abcde" + i, 1),
                                              .value = text("a value of some length")});
    }
    struct request request = world_write_of("a", &changes);
    request.type = SESSION_MAP;
    assert_int_equal(world_run(request), STATUS_OK);
}

/* A key that was buried and came back, written while loading, and the next restart of that. */
static void test_over_a_burial(void **state)
{
    (void)state;
    begin_after(expired_and_back);
    struct request request = world_one_of(
        "a", (struct change){.operation = CHANGE_SET, .name = text("f"), .value = text("new")});
    request.type = SESSION_MAP;
    park(request);
    answer_fetch();
    assert_int_equal(world.answer.reply.status, STATUS_OK);
    assert_int_equal(world.records[0].kind,
                     LOG_FULL); /* A delta's base might be under the burial. */
    give_all();
    assert_int_equal(world_get("a"), STATUS_OK);
    assert_int_equal(world.answer.field_count, 6);
    assert_int_equal(world_records(), 1);
    end();
}

static void buried(void)
{
    assert_int_equal(world_put_until("a", "one", 100, 0), STATUS_OK);
    world_pass(70 * 1000);
    assert_int_equal(world_logged(LOG_BURY), 1);
}

static void test_nothing_is_left_of_a_burial(void **state)
{
    (void)state;
    begin_after(buried);
    park(get_of("a"));
    answer_fetch();
    assert_int_equal(world.answer.reply.status, STATUS_NOT_FOUND);
    give_all();
    assert_int_equal(world_records(), 0);
    end();
}

static void test_who_waited_too_long_is_told(void **state)
{
    (void)state;
    begin_after(two_sessions);
    struct request put = world_put_of("a", "late");
    put.timeout_ms = 50;
    park(put);
    world.now_us += 60 * 1000;
    answer_fetch();
    assert_int_equal(world.answer.reply.status, STATUS_TIMEOUT);
    assert_int_equal(world_get("a"), STATUS_OK);
    assert_string_equal(world.answer.blob, "three");
    give_all();
    end();
}

/* A write that waits for its session while the shard is not served for a while is not done after it. */
static void test_who_waited_through_a_pause_is_told(void **state)
{
    (void)state;
    begin_after(two_sessions);
    park(world_put_of("a", "late"));
    world.now_us += 60 * 1000;
    shard_refuse_before(world.shard, world.now_us);
    answer_fetch();
    assert_int_equal(world.answer.reply.status, STATUS_BUSY);
    assert_int_equal(world_get("a"), STATUS_OK);
    assert_string_equal(world.answer.blob, "three");
    give_all();
    end();
}

static void short_lives(void)
{
    assert_int_equal(world_put_until("a", "one", 5, 0), STATUS_OK);
    assert_int_equal(world_put_until("b", "two", 100, 0), STATUS_OK);
}

/* Nothing is buried before the end; deadlines count at once. */
static void test_deadlines_while_loading(void **state)
{
    (void)state;
    begin_after(short_lives);
    park(get_of("a"));
    answer_fetch();
    assert_int_equal(world.answer.reply.status, STATUS_NOT_FOUND);
    world_pass(70 * 1000);
    assert_int_equal(world_logged(LOG_BURY), 0);
    give_all();
    world_pass(70 * 1000);
    assert_int_equal(world_logged(LOG_BURY), 2);
    assert_int_equal(world_records(), 0);
    end();
}

static void many(void)
{
    for (int i = 0; i < 10; i++) {
        char key[16];
        snprintf(key, sizeof key, "k%d", i);
        assert_int_equal(world_put(key, "value"), STATUS_OK);
    }
}

/* At the limit the answer is BUSY, and the rest is served. */
static void test_too_many_wait(void **state)
{
    static uint8_t large[PARKING_BYTES_MAX];
    struct changes changes = {.size = 0};

    (void)state;
    begin_after(many);
    struct request request = world_write_of("k0", &changes);
    request.body = bytes_of(large, sizeof large); /* What is in it does not count yet. */
    park(request);
    assert_int_equal(world_get("k1"), STATUS_BUSY);
    assert_int_equal(world.answer.reply.retry_after_ms, RETRY_LOADING_MS);
    answer_fetch();
    assert_int_equal(world.answer.reply.status, STATUS_INVALID);
    park(get_of("k1"));
    answer_fetch();
    assert_int_equal(world.answer.reply.status, STATUS_OK);
    give_all();
    end();
}

/* Every allocation may fail: the request is answered, or is served at the end. */
static void test_without_memory(void **state)
{
    (void)state;
    for (uint64_t n = 1;; n++) {
        begin_after(two_sessions);
        struct request request = get_of("a");
        request.ticket = 77;
        request.received_us = world.now_us;
        shard_prepare(world.shard, &request);
        world.memory.fail_at = world.memory.requests + n;
        shard_execute(world.shard, &request, world.now_ms, world.now_us);
        bool failed = world.memory.requests >= world.memory.fail_at;
        world.memory.fail_at = 0;
        if (world.answers == 0) {
            answer_fetch();
            assert_int_equal(world.answer.reply.status, STATUS_OK);
        } else {
            assert_int_equal(world.answer.reply.status, STATUS_BUSY);
        }
        assert_int_equal(world.answer.ticket, 77);
        give_all();
        assert_int_equal(world_get("a"), STATUS_OK);
        end();
        if (!failed) {
            break;
        }
    }
}

static void test_set_of_positions(void **state)
{
    struct test_memory memory = test_memory();
    struct position_set set;

    (void)state;
    position_set_init(&set, &memory.memory);
    assert_false(position_set_has(&set, 0));
    for (uint64_t i = 0; i < 10000; i++) {
        assert_false(position_set_has(&set, i << 50 | i));
        assert_int_equal(position_set_add(&set, i << 50 | i), 0);
        assert_int_equal(position_set_add(&set, i << 50 | i), 0);
    }
    for (uint64_t i = 0; i < 10000; i++) {
        assert_true(position_set_has(&set, i << 50 | i));
        assert_false(position_set_has(&set, i << 50 | (i + 10000)));
    }
    assert_int_equal(set.count, 9999);
    position_set_fini(&set);
    assert_int_equal(memory.outstanding_bytes, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_request_waits_for_its_session_only),
        cmocka_unit_test(test_absent_is_said_only_after_the_store),
        cmocka_unit_test(test_requests_of_one_session_keep_their_order),
        cmocka_unit_test(test_a_scan_waits_for_the_end),
        cmocka_unit_test(test_what_does_not_read),
        cmocka_unit_test(test_what_was_destroyed_stays_so),
        cmocka_unit_test(test_over_a_burial),
        cmocka_unit_test(test_nothing_is_left_of_a_burial),
        cmocka_unit_test(test_who_waited_through_a_pause_is_told),
        cmocka_unit_test(test_who_waited_too_long_is_told),
        cmocka_unit_test(test_deadlines_while_loading),
        cmocka_unit_test(test_too_many_wait),
        cmocka_unit_test(test_without_memory),
        cmocka_unit_test(test_set_of_positions),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
