/* Sessions that are put back into a shard. */
#include "adopt.h"
#include "copies_world.h"
#include "recover.h"

static struct buffer moved;

static enum status recover(const char *key, struct bytes record)
{
    const struct request request = {
        .op = REQUEST_WRITE,
        .mode = WRITE_UPSERT,
        .key = text(key),
        .body = record,
        .procedure = &recover_merge,
    };

    return world_run(request);
}

/* What the other cluster had of its session, as this one may take it. */
static struct bytes adopted(void)
{
    moved.memory = &copies.kit.memory.memory;
    assert_int_equal(session_adopt(buffer_bytes(&copies.kit.record), &moved), 0);
    return buffer_bytes(&moved);
}

/* Its actor is named as this node's is, which has stamped later. */
static void old_session(const char *value)
{
    copies.kit.actor = world.options.actor;
    copies.kit.now_ms = world.now_ms - 1000000;
    other_put("k", value);
}

/* Whose stamp is the newest of what is here. */
static struct stamp newest_here(const char *key)
{
    struct stamp newest = {0, {0, 0}};

    assert_true(session_newest(here(key), &newest));
    return newest;
}

static void finish(void)
{
    buffer_fini(&moved);
    copies_end();
}

static void test_it_lives(void **state)
{
    (void)state;
    copies_begin();
    shard_begin_seen(world.shard);
    put_held("other", "x", ACK_DEFAULT);
    old_session("theirs");
    uint32_t sent = copies.sent_count;
    size_t logged = world.record_count;
    assert_int_equal(recover("k", adopted()), STATUS_OK);
    assert_true(world.answer.held); /* Until another node has it. */
    assert_int_equal(copies.sent_count, sent + 1);
    assert_int_equal(last_sent()->kind, LOG_FULL);
    assert_bytes_equal(bytes_of(last_sent()->body, last_sent()->size), here("k"));
    assert_int_equal(world.record_count, logged + 1);
    assert_int_equal(last_logged()->kind, LOG_FULL);
    struct stamp newest = newest_here("k"); /* It is a write of this node. */
    assert_int_equal(actor_compare(newest.actor, world.options.actor), 0);
    assert_true(newest.hlc > newest_here("other").hlc);
    assert_true(seen_covers(shard_seen(world.shard), slot_of_key(text("k")), newest));
    assert_int_equal(session_check(here("k")), 0);
    assert_int_equal(world_get("k"), STATUS_OK);
    assert_string_equal(world.answer.blob, "theirs");
    assert_int_equal(stats()->live, 2);
    assert_int_equal(recover("k", buffer_bytes(&moved)), STATUS_OK); /* Again: it is known. */
    assert_int_equal(world.record_count, logged + 1);
    assert_int_equal(newest_here("k").hlc, newest.hlc);
    finish();
}

/* As it was it would have ended here, by what this node's slot has seen. */
static void test_as_it_was_it_would_be_dead(void **state)
{
    (void)state;
    copies_begin();
    shard_begin_seen(world.shard);
    put_held("k", "x", ACK_DEFAULT);
    old_session("theirs");
    copies.kit.key = text("{k}2"); /* Of the same slot. */
    copies.kit.record.size = 0;
    assert_int_equal(kit_do(&copies.kit, KIT_CHANGE(SET, .value = text("v"))), STATUS_OK);
    assert_int_equal(copy_now(LOG_FULL, "{k}2", buffer_bytes(&copies.kit.record)),
                     STATUS_DESTROYED);
    copies.kit.key = text("{k}3");
    copies.kit.record.size = 0;
    assert_int_equal(kit_do(&copies.kit, KIT_CHANGE(SET, .value = text("v"))), STATUS_OK);
    assert_int_equal(copy_now(LOG_FULL, "{k}3", adopted()), STATUS_OK); /* At another owner. */
    assert_int_equal(world_get("{k}3"), STATUS_OK);
    finish();
}

/* What was put back and has ended, so long ago that nothing of it is left, stays so: a copy that comes has the stamp with
 * which it came, and what this slot has seen has that. */
static void test_what_ended_stays_so(void **state)
{
    static const char *const keys[] = {"{k}2", "{k}3"};
    static const struct actor elsewhere = {7, 7};
    struct buffer stamped = {.memory = &copies.kit.memory.memory};

    (void)state;
    copies_begin();
    shard_begin_seen(world.shard);
    old_session("theirs");
    put_held("k", "x", ACK_DEFAULT); /* Stamped here, in the slot, later than what comes. */
    for (size_t i = 0; i < 2; i++) {
        const struct stamp stamp = {hlc_of_ms(world.now_ms - 1000),
                                    i == 0 ? world.options.actor : elsewhere};
        copies.kit.key = text(keys[i]);
        copies.kit.record.size = 0;
        assert_int_equal(kit_do(&copies.kit, KIT_CHANGE(SET, .value = text("v"))), STATUS_OK);
        assert_int_equal(session_stamp(adopted(), stamp, &stamped), 0);
        assert_int_equal(session_check(buffer_bytes(&stamped)), 0);
        assert_int_equal(copy_now(LOG_FULL, keys[i], buffer_bytes(&stamped)),
                         i == 0 ? STATUS_DESTROYED : STATUS_OK);
    }
    buffer_fini(&stamped);
    finish();
}

static void test_it_joins_what_is_there(void **state)
{
    (void)state;
    copies_begin();
    old_session("theirs");
    put_held("k", "ours", ACK_DEFAULT);
    assert_int_equal(recover("k", adopted()), STATUS_OK);
    assert_int_equal(world_get("k"), STATUS_OK);
    assert_string_equal(world.answer.blob, "ours"); /* Both were blind begins; ours is newer. */
    struct record record;
    assert_int_equal(record_open(&record, here("k"), RECORD_FORMAT), 0);
    assert_int_equal(record.version.count, 2);
    finish();
}

static void test_what_is_no_such_record(void **state)
{
    (void)state;
    copies_begin();
    old_session("theirs");
    struct bytes record = adopted();
    size_t logged = world.record_count;
    assert_int_equal(recover("other", record), STATUS_INVALID);
    assert_int_equal(recover("k", bytes_of(record.data, 5)), STATUS_INVALID);
    assert_int_equal(recover("k", bytes_of("", 0)), STATUS_INVALID);
    assert_int_equal(world.record_count, logged);
    world.log_rc = -ENOSPC;
    assert_int_equal(recover("k", record), STATUS_DISK_FULL);
    assert_int_equal(here("k").size, 0);
    world.log_rc = 0;
    assert_int_equal(recover("k", record), STATUS_OK);
    copies.kit.now_ms = world.now_ms + 61 * 1000; /* All clocks would follow it. */
    other_put("k", "later");
    assert_int_equal(recover("k", adopted()), STATUS_INVALID);
    finish();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_it_lives),
        cmocka_unit_test(test_as_it_was_it_would_be_dead),
        cmocka_unit_test(test_what_ended_stays_so),
        cmocka_unit_test(test_it_joins_what_is_there),
        cmocka_unit_test(test_what_is_no_such_record),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
