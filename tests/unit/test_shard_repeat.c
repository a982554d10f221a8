/* Writes that a client repeats because it had no answer: done once, whatever became of the session. */
#include "shard_world.h"

enum { TTL_MS = 300 };

/* The session of `key`, about to expire, and a write to it whose answer the client never had. */
static struct request lost_write(const char *key, struct change change, bool conditional)
{
    static struct changes changes;
    static uint8_t token[TOKEN_BYTES_MAX];

    assert_int_equal(world_put_until(key, "5", TTL_MS, 0), STATUS_OK);
    memcpy(token, world.answer.reply.version.data, world.answer.reply.version.size);
    changes.size = 0;
    changes_add(&changes, change);
    struct request request = world_write_of(key, &changes);
    request.client = 7;
    request.sequence = 1;
    request.mode = WRITE_UPSERT;
    if (conditional) {
        request.version = bytes_of(token, world.answer.reply.version.size);
    }
    uint64_t seen_hlc = world.answer.reply.hlc;
    assert_int_equal(world_run(request), STATUS_OK);
    assert_false(world.answer.reply.repeated);
    request.retry_hlc = seen_hlc;
    return request;
}

static const struct change changes_twice[] = {
    {.operation = CHANGE_ADD, .name = {(const uint8_t *)"", 0}, .delta = 3},
    {.operation = CHANGE_APPEND, .value = {(const uint8_t *)"6", 1}},
    {.operation = CHANGE_SET, .value = {(const uint8_t *)"6", 1}}, /* Under a condition. */
};

enum { COUNTED = sizeof changes_twice / sizeof changes_twice[0] };

/* A new process with the same log, `compacted` where a checkpoint has swallowed what was buried. */
static void restart(bool compacted)
{
    shard_destroy(world.shard);
    world.options.actor.start++;
    world.options.gone_hlc = hlc_of_ms(world.now_ms);
    assert_int_equal(shard_create(&world.options, &world.shard), 0);
    for (size_t i = 0; i < world.record_count && !compacted; i++) {
        struct bytes body = bytes_of(world.records[i].body, world.records[i].size);
        int rc = world.records[i].kind == LOG_BURY    ? shard_restore_bury(world.shard, body)
                 : world.records[i].kind == LOG_DELTA ? shard_restore_delta(world.shard, body)
                                                      : shard_restore_record(world.shard, body);
        assert_int_equal(rc, 0);
    }
    shard_restore_done(world.shard, world.now_ms);
}

/* The window outlives the session, until the session is buried; from then on nobody knows. */
static void test_expired(void **state)
{
    (void)state;
    for (int i = 0; i < COUNTED; i++) {
        world_begin();
        struct request lost = lost_write("key", changes_twice[i], i == COUNTED - 1);
        assert_int_equal(world_run(lost), STATUS_OK);
        assert_true(world.answer.reply.repeated);
        world.now_ms += TTL_MS;
        assert_int_equal(world_get("key"), STATUS_NOT_FOUND);
        assert_int_equal(world_run(lost), STATUS_OK);
        assert_true(world.answer.reply.repeated);
        world_pass(2000);
        assert_int_equal(world_records(), 0);
        assert_int_equal(world_run(lost), STATUS_MAYBE_APPLIED);
        assert_int_equal(world_records(), 0);
        /* What others have begun there since does not know either. */
        assert_int_equal(world_put("key", "50"), STATUS_OK);
        assert_int_equal(world_run(lost), STATUS_MAYBE_APPLIED);
        assert_int_equal(world_get("key"), STATUS_OK);
        assert_string_equal(world.answer.blob, "50");
        world_end();
    }
}

static void test_restarted(void **state)
{
    (void)state;
    for (int i = 0; i < 4 * COUNTED; i++) {
        bool buried = i % 2 != 0, compacted = buried && i % 4 == 3;
        world_begin();
        struct request lost = lost_write("key", changes_twice[i / 4], i / 4 == COUNTED - 1);
        if (buried) {
            world_pass(TTL_MS + 2000);
            assert_int_equal(world_records(), 0);
        }
        world.now_ms++;
        restart(compacted);
        enum status status = world_run(lost);
        assert_true(buried ? status == STATUS_MAYBE_APPLIED
                           : status == STATUS_OK && world.answer.reply.repeated);
        world_end();
    }
}

/* Nobody is told "maybe" without need: first tries; what may be done twice; keys that were there all the
 * time; tries that began after all that is gone. */
static void test_known(void **state)
{
    struct change add = {.operation = CHANGE_ADD, .name = bytes_of("", 0), .delta = 1};

    (void)state;
    world_begin();
    assert_int_equal(world_put("there", "1"), STATUS_OK);
    world_pass(1000);
    struct request lost = lost_write("key", changes_twice[0], false);
    world_pass(TTL_MS + 2000);
    assert_int_equal(world_records(), 1);
    struct request first = world_one_of("key", add);
    first.client = 8;
    first.sequence = 1;
    assert_int_equal(world_run(first), STATUS_OK);
    struct request set = world_put_of("other", "1");
    set.client = 8;
    set.sequence = 2;
    set.retry_hlc = lost.retry_hlc;
    assert_int_equal(world_run(set), STATUS_OK);
    struct request there = world_one_of("there", add);
    there.client = 8;
    there.sequence = 3;
    there.retry_hlc = lost.retry_hlc + hlc_of_ms(1);
    assert_int_equal(world_run(there), STATUS_OK);
    struct request later = world_one_of("third", add);
    later.client = 8;
    later.sequence = 4;
    later.retry_hlc = hlc_of_ms(world.now_ms);
    assert_int_equal(world_run(later), STATUS_OK);
    world_end();
}

/* A repeated destroy ends what was there when it was first tried, and nothing that others began since, even where there
 * was nothing then that could have remembered it. */
static void test_destroy(void **state)
{
    (void)state;
    for (int own = 0; own < 2; own++) {
        world_begin();
        assert_int_equal(world_put("key", "1"), STATUS_OK);
        struct request destroy = world_one_of("key", (struct change){.operation = CHANGE_DESTROY});
        destroy.client = 7;
        destroy.sequence = 2;
        destroy.retry_hlc = world.answer.reply.hlc;
        assert_int_equal(world_run(destroy), STATUS_OK); /* Nobody has seen it yet. */
        assert_int_equal(world_get("key"), STATUS_NOT_FOUND);

        destroy = world_one_of("other", (struct change){.operation = CHANGE_DESTROY});
        destroy.client = 7;
        destroy.sequence = 4;
        assert_int_equal(world_run(destroy), STATUS_OK);
        destroy.retry_hlc = world.answer.reply.hlc;
        world.now_ms++;
        struct request put = world_put_of("other", "2");
        put.client = own ? 7 : 8;
        put.sequence = 3;
        assert_int_equal(world_run(put), STATUS_OK);
        destroy = world_one_of("other", (struct change){.operation = CHANGE_DESTROY});
        destroy.client = 7;
        destroy.sequence = 4;
        destroy.retry_hlc = hlc_of_ms(world.now_ms - 1);
        assert_int_equal(world_run(destroy), own ? STATUS_OK : STATUS_MAYBE_APPLIED);
        assert_int_equal(world_get("other"), own ? STATUS_NOT_FOUND : STATUS_OK);
        world_end();
    }
}

/* A client has seen a time of a life whose end a crash took, and to which the clock, set back, has not come again: its
 * first try may have been here since, and gone. Where there is nothing that could have gone it is done. */
static void test_ahead(void **state)
{
    (void)state;
    for (int i = 0; i < COUNTED; i++) {
        world_begin();
        struct request lost = lost_write("key", changes_twice[i], i == COUNTED - 1);
        world_pass(TTL_MS + 2000);
        assert_int_equal(world_records(), 0);
        lost.retry_hlc = hlc_of_ms(world.now_ms + 60000);
        assert_int_equal(world_run(lost), STATUS_MAYBE_APPLIED);
        assert_int_equal(world_records(), 0);
        lost.retry_hlc = hlc_of_ms(world.now_ms); /* Here, in this life: no try has gone since. */
        enum status status = world_run(lost);
        assert_int_equal(status, i == COUNTED - 1 ? STATUS_VERSION_MISMATCH : STATUS_OK);
        world_end();
    }
}

static const struct CMUnitTest tests[] = {
    cmocka_unit_test(test_expired), cmocka_unit_test(test_restarted), cmocka_unit_test(test_known),
    cmocka_unit_test(test_destroy), cmocka_unit_test(test_ahead),
};

int main(void)
{
    return cmocka_run_group_tests(tests, NULL, NULL);
}
