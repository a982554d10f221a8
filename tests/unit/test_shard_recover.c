/* Sessions that are put back into a shard. */
#include "adopt.h"
#include "copies_world.h"
#include "recover.h"

static struct buffer moved;

static struct buffer body;

static enum status ask(const char *key, enum ack_level level)
{
    const struct request request = {
        .op = REQUEST_WRITE,
        .mode = WRITE_UPSERT,
        .ack = (uint8_t)level,
        .key = text(key),
        .body = buffer_bytes(&body),
        .procedure = &recover_merge,
    };

    return world_run(request);
}

/* One more record of the next request. */
static void add(struct bytes record)
{
    uint8_t size[VARINT_BYTES_MAX];
    const uint8_t *end = varint_put(size, record.size);

    body.memory = &copies.kit.memory.memory;
    assert_int_equal(buffer_append(&body, bytes_of(size, (size_t)(end - size))), 0);
    assert_int_equal(buffer_append(&body, record), 0);
}

static enum status recover(const char *key, struct bytes record)
{
    body.size = 0;
    add(record);
    return ask(key, ACK_DEFAULT);
}

/* How many are done, as the answer says. */
static uint64_t done(void)
{
    struct reader results = reader_of(world.answer.reply.results);
    uint64_t count = read_varint(&results);

    assert_true(reader_done(&results));
    return count;
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
    buffer_fini(&body);
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

static void destroy_and_wait(const char *key, uint64_t ms)
{
    assert_int_equal(world_destroy(key), STATUS_OK);
    world_pass(ms);
    copies.kit.now_ms = world.now_ms - 1000000;
}

/* A restore may be repeated, as where it was cut short, for a week: what has ended since does not come back, though a
 * tombstone of others is forgotten by then. */
static void test_repeated_after_its_end(void **state)
{
    (void)state;
    copies_begin();
    shard_begin_seen(world.shard);
    old_session("theirs");
    assert_int_equal(recover("k", adopted()), STATUS_OK);
    destroy_and_wait("k", world.policy.rules.tombstone_keep_ms + 400000);
    assert_true(here("k").size > 0);
    assert_int_equal(recover("k", buffer_bytes(&moved)), STATUS_OK);
    assert_int_equal(world_get("k"), STATUS_NOT_FOUND);
    finish();
}

static void begin_alone(void)
{
    memset(&copies, 0, sizeof copies);
    kit_init(&copies.kit);
    copies.kit.actor = (struct actor){2, 1};
    copies.kit.type = SESSION_BLOB;
    begin_roomy();
    copies.kit.now_ms = world.now_ms;
}

/* The same at a node alone, however it ended. */
static void test_repeated_at_a_node_alone(void **state)
{
    (void)state;
    begin_alone();
    old_session("theirs");
    assert_int_equal(recover("k", adopted()), STATUS_OK);
    assert_int_equal(world_put("native", "x"), STATUS_OK);
    assert_int_equal(world_destroy("native"), STATUS_OK);
    destroy_and_wait("k", world.policy.rules.tombstone_keep_ms + 400000);
    assert_int_equal(here("native").size, 0);
    assert_true(here("k").size > 0);
    assert_int_equal(recover("k", buffer_bytes(&moved)), STATUS_OK);
    assert_int_equal(world_get("k"), STATUS_NOT_FOUND);

    copies.kit.key = text("idle");
    copies.kit.record.size = 0;
    assert_int_equal(kit_do(&copies.kit, KIT_CHANGE(SET, .value = text("v"))), STATUS_OK);
    assert_int_equal(kit_do(&copies.kit, KIT_CHANGE(IDLE, .ms = 60000)), STATUS_OK);
    (void)adopted();
    assert_true(session_touch_in_place(moved.data, moved.size, world.now_ms));
    assert_int_equal(recover("idle", buffer_bytes(&moved)), STATUS_OK);
    assert_int_equal(world_get("idle"), STATUS_OK);
    world_pass(world.policy.rules.tombstone_keep_ms + 400000);
    assert_int_equal(world_get("idle"), STATUS_NOT_FOUND);
    assert_true(session_touch_in_place(moved.data, moved.size, world.now_ms));
    assert_int_equal(recover("idle", buffer_bytes(&moved)), STATUS_OK);
    assert_int_equal(world_get("idle"), STATUS_NOT_FOUND);
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
    body.size = 0;
    assert_int_equal(ask("k", ACK_DISK), STATUS_INVALID);
    add(record);
    body.size--; /* It ends too early. */
    assert_int_equal(ask("k", ACK_DISK), STATUS_INVALID);
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

static const char *const of_slot[] = {"{k}1", "{k}2", "{k}3"};

/* A session of the other cluster goes into the next request. */
static void add_session(const char *key, const char *value)
{
    other_put(key, value);
    add(adopted());
}

static void add_sessions(void)
{
    body.size = 0;
    for (size_t i = 0; i < 3; i++) {
        add_session(of_slot[i], of_slot[i]);
    }
}

static void test_many_at_a_time(void **state)
{
    uint64_t hlc = 0;

    (void)state;
    copies_begin();
    shard_begin_seen(world.shard);
    add_sessions();
    size_t logged = world.record_count;
    uint32_t sent = copies.sent_count;
    assert_int_equal(ask(of_slot[0], ACK_DISK), STATUS_OK);
    assert_true(world.answer.held);
    assert_int_equal(done(), 3);
    assert_int_equal(world.record_count, logged + 3);
    assert_int_equal(copies.sent_count, sent + 3);
    assert_bytes_equal(session_key(bytes_of(last_sent()->body, last_sent()->size)), text("{k}3"));
    for (size_t i = 0; i < 3; i++) {
        struct stamp newest = newest_here(of_slot[i]);
        assert_true(newest.hlc > hlc); /* Each is a write of its own. */
        hlc = newest.hlc;
        assert_int_equal(world_get(of_slot[i]), STATUS_OK);
        assert_string_equal(world.answer.blob, of_slot[i]);
    }
    uint64_t releases = world.releases;
    shard_log_durable(world.shard, world.shard->appended_lsn - 1, world.now_us);
    assert_int_equal(world.releases, releases); /* For the last one, too. */
    shard_log_durable(world.shard, world.shard->appended_lsn, world.now_us);
    assert_int_equal(world.releases, releases + 1);
    assert_int_equal(stats()->live, 3);
    assert_int_equal(ask(of_slot[0], ACK_DISK), STATUS_OK); /* Nothing is new. */
    assert_int_equal(done(), 3);
    assert_int_equal(world.record_count, logged + 3);
    finish();
}

/* What would be answered otherwise than the first is left for the next request. */
static void test_many_that_end(void **state)
{
    static struct policy rows[2];

    (void)state;
    copies_begin();
    add_sessions();
    assert_int_equal(ask(of_slot[0], ACK_REPLICA), STATUS_OK); /* Another node tells of each. */
    assert_int_equal(done(), 1);
    assert_int_equal(here(of_slot[1]).size, 0);
    body.size = recover_first(buffer_bytes(&body)).size;
    assert_int_equal(ask(of_slot[0], ACK_DISK), STATUS_OK);
    assert_int_equal(done(), 1);
    add_session("other", "x"); /* Of another slot. */
    assert_int_equal(ask(of_slot[0], ACK_DISK), STATUS_OK);
    assert_int_equal(done(), 1);
    assert_int_equal(here("other").size, 0);
    body.size = recover_first(buffer_bytes(&body)).size;
    add(bytes_of("nonsense", 8));
    assert_int_equal(ask(of_slot[0], ACK_DISK), STATUS_OK);
    assert_int_equal(done(), 1);
    policy_defaults(&rows[0]);
    policy_defaults(&rows[1]);
    memcpy(rows[1].prefix, "{k}2", 4);
    rows[1].prefix_size = 4;
    assert_int_equal(policies_init(&world.policies, rows, 2), 0);
    add_sessions();
    assert_int_equal(ask(of_slot[0], ACK_DISK), STATUS_OK);
    assert_int_equal(done(), 1);
    finish();
}

/* One that has to come from the disk first is another request's. */
static void test_many_with_a_cold_one(void **state)
{
    (void)state;
    copies_begin();
    put_cold("{k}2");
    add_sessions();
    assert_int_equal(ask(of_slot[0], ACK_DISK), STATUS_OK);
    assert_int_equal(done(), 1);
    assert_int_equal(stats()->cold, 1);
    finish();
}

/* The shard has others to serve. */
static void test_many_more(void **state)
{
    static char keys[RECOVER_RECORDS_MAX + 7][16];

    (void)state;
    copies_begin();
    body.size = 0;
    for (int i = 0; i < RECOVER_RECORDS_MAX + 7; i++) {
        snprintf(keys[i], sizeof keys[i], "{k}%d", i);
        add_session(keys[i], "x");
    }
    assert_int_equal(ask("{k}0", ACK_DISK), STATUS_OK);
    assert_int_equal(done(), RECOVER_RECORDS_MAX);
    assert_int_equal(stats()->live, RECOVER_RECORDS_MAX);
    finish();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_it_lives),
        cmocka_unit_test(test_as_it_was_it_would_be_dead),
        cmocka_unit_test(test_what_ended_stays_so),
        cmocka_unit_test(test_repeated_after_its_end),
        cmocka_unit_test(test_repeated_at_a_node_alone),
        cmocka_unit_test(test_it_joins_what_is_there),
        cmocka_unit_test(test_what_is_no_such_record),
        cmocka_unit_test(test_many_at_a_time),
        cmocka_unit_test(test_many_that_end),
        cmocka_unit_test(test_many_with_a_cold_one),
        cmocka_unit_test(test_many_more),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
