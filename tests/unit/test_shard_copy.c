/* What comes to a shard from other nodes. */
#include "copies_world.h"

/* ---- In ---- */

static void test_a_copy_is_merged_and_logged(void **state)
{
    (void)state;
    copies_begin();
    copies.kit.now_ms = world.now_ms + 3600 * 1000; /* Its clock is ahead. */
    other_put("k", "theirs");
    assert_int_equal(copy_full(), STATUS_OK);
    assert_bytes_equal(here("k"), buffer_bytes(&copies.kit.record));
    assert_int_equal(world.record_count, 1);
    assert_int_equal(last_logged()->kind, LOG_FULL);
    assert_int_equal(copies.sent_count, 0); /* It does not go on. */
    assert_true(shard_hlc(world.shard) >= session_newest_hlc(here("k")));
    assert_int_equal(stats()->live, 1);
    assert_int_equal(stats()->created, 0);
    assert_int_equal(stats()->requests[REQUEST_WRITE], 0);
    assert_int_equal(world.answers, 0);
    assert_int_equal(world_get("k"), STATUS_OK);
    assert_string_equal(world.answer.blob, "theirs");

    assert_int_equal(copy_full(), STATUS_OK); /* It is known. */
    assert_int_equal(world.record_count, 1);
    assert_int_equal(stats()->copies_known, 1);
    assert_int_equal(stats()->copies_merged, 1);

    put_held("k", "our", ACK_DEFAULT); /* Its stamp is greater than theirs. */
    put_held("k", "ours", ACK_DEFAULT);
    assert_int_equal(copies.sent_count, 2);
    other_put("k", "theirs again");
    assert_int_equal(copy_full(), STATUS_OK);
    assert_int_equal(world_get("k"), STATUS_OK);
    assert_string_equal(world.answer.blob, "ours");
    assert_int_equal(last_logged()->kind, LOG_FULL);
    assert_bytes_equal(here("k"), bytes_of(last_logged()->body, last_logged()->size));
    copies_end();
}

static void put_wide(const char *key)
{
    static char value[400];

    memset(value, 'w', sizeof value - 1);
    copies.kit.type = SESSION_MAP;
    copies.kit.key = text(key);
    copies.kit.record.size = 0;
    assert_int_equal(
        kit_do(&copies.kit, KIT_CHANGE(SET, .name = text("wide"), .value = text(value))),
        STATUS_OK);
}

static void put_narrow(const char *value)
{
    assert_int_equal(
        kit_do(&copies.kit, KIT_CHANGE(SET, .name = text("narrow"), .value = text(value))),
        STATUS_OK);
}

static void test_a_delta_needs_its_base(void **state)
{
    (void)state;
    copies_begin();
    put_wide("k");
    put_narrow("1");
    assert_int_equal(copy_delta(), STATUS_VERSION_MISMATCH);
    assert_int_equal(here("k").size, 0);
    assert_int_equal(world.record_count, 0);
    assert_int_equal(copy_full(), STATUS_OK);
    put_narrow("2");
    assert_int_equal(copy_delta(), STATUS_OK);
    assert_bytes_equal(here("k"), buffer_bytes(&copies.kit.record));
    assert_int_equal(last_logged()->kind, LOG_DELTA);
    put_narrow("3");
    put_narrow("4");
    assert_int_equal(copy_delta(), STATUS_VERSION_MISMATCH);
    copies_end();
}

/* What came back at a restart may be more than what the log says: then the whole of it is logged once. */
static void test_a_delta_on_what_was_restored_is_logged_whole(void **state)
{
    (void)state;
    copies_begin();
    put_wide("k");
    assert_int_equal(copy_full(), STATUS_OK);
    world.shard->revived = true;
    world.shard->restored_hlc = shard_hlc(world.shard);
    put_narrow("1");
    assert_int_equal(copy_delta(), STATUS_OK);
    assert_int_equal(last_logged()->kind, LOG_FULL);
    copies.kit.now_ms += 10;
    put_narrow("2");
    assert_int_equal(copy_delta(), STATUS_OK);
    copies.kit.now_ms += 10;
    put_narrow("3");
    assert_int_equal(copy_delta(), STATUS_OK);
    assert_int_equal(last_logged()->kind, LOG_DELTA);
    copies_end();
}

static void test_a_death_comes(void **state)
{
    struct buffer tombstone = {.memory = &copies.kit.memory.memory};

    (void)state;
    copies_begin();
    tombstone.memory = &copies.kit.memory.memory;
    other_put("k", "v");
    assert_int_equal(copy_full(), STATUS_OK);
    const struct stamp stamp = {hlc_of_ms(world.now_ms + 1), copies.kit.actor};
    assert_int_equal(session_bury(buffer_bytes(&copies.kit.record), stamp, false, &tombstone), 0);
    assert_int_equal(copy_now(LOG_BURY, "k", buffer_bytes(&tombstone)), STATUS_OK);
    assert_int_equal(stats()->live, 0);
    assert_int_equal(world.traces[TRACE_SESSION_EXPIRED], 0); /* Who buries tells. */
    assert_int_equal(world.traces[TRACE_SESSION_DELETED], 0);
    assert_int_equal(world_get("k"), STATUS_NOT_FOUND);
    assert_int_equal(copy_full(), STATUS_OK); /* It does not come back. */
    assert_int_equal(stats()->live, 0);
    buffer_fini(&tombstone);
    copies_end();
}

static void test_a_touch_comes(void **state)
{
    uint8_t body[32];
    uint64_t later_ms;

    (void)state;
    copies_begin();
    other_put("k", "v");
    assert_int_equal(kit_do(&copies.kit, KIT_CHANGE(IDLE, .ms = 80000)), STATUS_OK);
    assert_int_equal(copy_full(), STATUS_OK);
    later_ms = world.now_ms + 30000;
    uint8_t *end = varint_put(body, later_ms);
    *end++ = 'k';
    struct bytes touch = bytes_of(body, (size_t)(end - body));
    assert_int_equal(copy_now(LOG_TOUCH, "k", touch), STATUS_OK);
    assert_int_equal(last_logged()->kind, LOG_TOUCH);
    assert_bytes_equal(bytes_of(last_logged()->body, last_logged()->size), touch);
    /* A segment that ends here has that time, and what is stamped from now on is above it. */
    assert_true(shard_logged_hlc(world.shard) >= hlc_of_ms(later_ms));
    assert_true(shard_hlc(world.shard) >= hlc_of_ms(later_ms));
    struct request look = {.op = REQUEST_GET, .key = text("k"), .flags = GET_NO_TOUCH};
    assert_int_equal(world_run(look), STATUS_OK);
    assert_int_equal(world.answer.last_access_ms, later_ms);
    size_t logged = world.record_count;
    assert_int_equal(copy_now(LOG_TOUCH, "k", touch), STATUS_OK);
    assert_int_equal(copy_full(), STATUS_OK); /* Of before. */
    assert_int_equal(world.record_count, logged);
    assert_int_equal(world_run(look), STATUS_OK);
    assert_int_equal(world.answer.last_access_ms, later_ms);
    *varint_put(body, later_ms) = 'x';
    assert_int_equal(copy_now(LOG_TOUCH, "x", touch), STATUS_OK); /* Of what is not here. */
    assert_int_equal(world.record_count, logged);
    assert_int_equal(copy_now(LOG_TOUCH, "y", touch), STATUS_INVALID);
    copies_end();
}

static void batch_add(struct buffer *batch, const char *key, struct bytes record)
{
    uint8_t head[1 + 8 + VARINT_BYTES_MAX] = {LOG_FULL};

    store_u64(head + 1, keeper_position(world.options.seed, text(key)));
    const uint8_t *end = varint_put(head + 9, record.size);
    assert_int_equal(buffer_append(batch, bytes_of(head, (size_t)(end - head))), 0);
    assert_int_equal(buffer_append(batch, record), 0);
}

static void test_a_batch_is_merged_as_one(void **state)
{
    struct buffer batch = {.memory = NULL};

    (void)state;
    copies_begin();
    batch.memory = &copies.kit.memory.memory;
    put_held("b", "ours", ACK_DEFAULT);
    copies.kit.now_ms -= 10000;
    other_put("a", "1");
    batch_add(&batch, "a", buffer_bytes(&copies.kit.record));
    other_put("b", "2");
    batch_add(&batch, "b", buffer_bytes(&copies.kit.record));
    other_put("c", "3");
    batch_add(&batch, "c", buffer_bytes(&copies.kit.record));
    size_t logged = world.record_count;
    world.log_rc = -EAGAIN;
    assert_int_equal(copy_now(LOG_BATCH, "a", buffer_bytes(&batch)), STATUS_BUSY);
    assert_int_equal(here("a").size, 0);
    assert_int_equal(here("c").size, 0);
    world.log_rc = 0;
    assert_int_equal(copy_now(LOG_BATCH, "a", buffer_bytes(&batch)), STATUS_OK);
    assert_int_equal(world.record_count, logged + 1);
    assert_int_equal(last_logged()->kind, LOG_BATCH);
    assert_int_equal(stats()->live, 3);
    assert_int_equal(world_get("b"), STATUS_OK);
    assert_string_equal(world.answer.blob, "ours"); /* Merged. */
    assert_int_equal(world_get("c"), STATUS_OK);
    assert_string_equal(world.answer.blob, "3");
    assert_int_equal(copy_now(LOG_BATCH, "a", buffer_bytes(&batch)), STATUS_OK);
    assert_int_equal(world.record_count, logged + 1);

    struct bytes half = bytes_of(batch.data, batch.size - 1);
    assert_int_equal(copy_now(LOG_BATCH, "a", half), STATUS_INVALID);
    buffer_fini(&batch);
    copies_end();
}

/* ---- Not now ---- */

static void test_what_cannot_be_taken_is_told(void **state)
{
    static const struct {
        int log_rc;
        enum status status;
    } cases[] = {
        {-ENOSPC, STATUS_DISK_FULL},
        {-EAGAIN, STATUS_BUSY},
        {-EIO, STATUS_LOG_FAILED},
    };

    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        copies_begin();
        other_put("k", "v");
        world.log_rc = cases[i].log_rc;
        assert_int_equal(copy_full(), cases[i].status);
        assert_int_equal(here("k").size, 0);
        assert_int_equal(stats()->live, 0);
        world.log_rc = 0;
        assert_int_equal(copy_full(), cases[i].log_rc == -EIO ? STATUS_LOG_FAILED : STATUS_OK);
        copies_end();
    }
    copies_begin();
    other_put("k", "v");
    struct buffer *record = &copies.kit.record;
    assert_int_equal(copy_now(LOG_FULL, "other", buffer_bytes(record)), STATUS_INVALID);
    assert_int_equal(copy_now(LOG_MARK, "k", buffer_bytes(record)), STATUS_INVALID);
    assert_int_equal(copy_now(LOG_DELTA, "k", buffer_bytes(record)), STATUS_INVALID);
    record->data[0] ^= 0x40;
    assert_int_equal(copy_now(LOG_FULL, "k", buffer_bytes(record)), STATUS_INVALID);
    record->data[0] ^= 0x40;
    world.shard->options.memory_max = 1;
    world.shard->cold.shrinks = true;
    assert_int_equal(copy_full(), STATUS_BUSY); /* Until others have left memory. */
    world.shard->cold.shrinks = false;
    assert_int_equal(copy_full(), STATUS_MEMORY_FULL);
    world.shard->options.memory_max = UINT64_C(1) << 40;
    world.memory.fail_at = world.memory.requests + 1;
    put_wide("new");
    assert_int_equal(copy_full(), STATUS_MEMORY_FULL);
    world.memory.fail_at = 0;
    copies_end();
}

/* ---- Cold sessions ---- */

static void test_a_copy_waits_for_a_cold_session(void **state)
{
    (void)state;
    copies_begin();
    put_cold("k");
    other_put("k", "concurrent");
    uint64_t ticket = copy_bytes(LOG_FULL, "k", buffer_bytes(&copies.kit.record));
    assert_int_equal(copies.told_count, 0);
    store_answer();
    assert_int_equal(copies.told_count, 1);
    assert_int_equal(copies.told[0].ticket, ticket);
    assert_int_equal(copies.told[0].status, STATUS_OK);
    assert_int_equal(stats()->cold, 0);
    assert_int_equal(last_logged()->kind, LOG_FULL);

    /* What has all of it, or nothing new, need not wait. */
    store_compact();
    store_freeze();
    assert_int_equal(stats()->cold, 1);
    size_t logged = world.record_count;
    assert_int_equal(copy_full(), STATUS_OK);
    assert_int_equal(world.record_count, logged);
    struct buffer whole = {.memory = &copies.kit.memory.memory};
    assert_int_equal(buffer_append(&whole, bytes_of(last_logged()->body, last_logged()->size)), 0);
    assert_int_equal(buffer_append(&copies.kit.record, bytes_of(NULL, 0)), 0);
    copies.kit.record.size = 0;
    assert_int_equal(buffer_append(&copies.kit.record, buffer_bytes(&whole)), 0);
    other_put("k", "after all");
    assert_int_equal(copy_full(), STATUS_OK);
    assert_int_equal(stats()->cold, 0);
    assert_bytes_equal(here("k"), buffer_bytes(&copies.kit.record));
    buffer_fini(&whole);
    copies_end();
}

/* Its stamp is older than what the checkpoint has already, and yet only the log has it. */
static void test_an_old_stamp_is_not_taken_for_stored(void **state)
{
    struct buffer batch = {.memory = NULL};

    (void)state;
    copies_begin();
    batch.memory = &copies.kit.memory.memory;
    assert_int_equal(world_put("new", big), STATUS_OK);
    store_compact();
    copies.kit.now_ms -= 60000;
    other_put("old", big);
    assert_int_equal(copy_full(), STATUS_OK);
    other_put("in a batch", big);
    batch_add(&batch, "in a batch", buffer_bytes(&copies.kit.record));
    assert_int_equal(copy_now(LOG_BATCH, "in a batch", buffer_bytes(&batch)), STATUS_OK);
    store_freeze();
    assert_int_equal(stats()->cold, 1);
    store_compact();
    store_freeze();
    assert_int_equal(stats()->cold, 3);
    assert_int_equal(store_run(get_of("old")), STATUS_OK);
    assert_int_equal(value_size(), BIG);
    assert_int_equal(store_run(get_of("in a batch")), STATUS_OK);

    /* The same when a restart gives it. */
    assert_int_equal(world_put("newer", big), STATUS_OK);
    store_compact();
    world.shard->loader->log_lsn = store.lsn + 1;
    copies.kit.now_ms -= 60000;
    other_put("restored", big);
    assert_int_equal(shard_restore_record(world.shard, buffer_bytes(&copies.kit.record)), 0);
    store_freeze();
    assert_int_equal(stats()->cold, 4);
    store.lsn++;
    store_freeze();
    assert_int_equal(stats()->cold, 5);
    world.shard->loader->log_lsn = 0;
    buffer_fini(&batch);
    copies_end();
}

static void test_uncovered_positions(void **state)
{
    struct test_memory memory = test_memory();
    struct uncovered uncovered;

    (void)state;
    uncovered_init(&uncovered, &memory.memory);
    for (uint64_t i = 1; i <= 3000; i++) {
        uncovered_add(&uncovered, i, i * 10);
        uncovered_advance(&uncovered, i < 1000 ? 0 : i * 10 - 9000);
        for (uint64_t back = 0; back < i; back += 97) {
            bool covered = i >= 1000 && (i - back) * 10 <= i * 10 - 9000;
            assert_true(covered || uncovered_has(&uncovered, i - back));
        }
    }
    assert_false(uncovered_has(&uncovered, 5)); /* It does go. */
    assert_false(uncovered_has(&uncovered, 4000));
    memory.fail_at = memory.requests + 1;
    for (uint64_t i = 3001; i <= 9000; i++) {
        uncovered_add(&uncovered, i, i * 10);
    }
    assert_true(uncovered_has(&uncovered, 12345)); /* All, where some could not be noted. */
    uncovered_advance(&uncovered, 89999);
    assert_true(uncovered_has(&uncovered, 12345));
    uncovered_advance(&uncovered, 90000);
    assert_false(uncovered_has(&uncovered, 12345));
    uncovered_advance(&uncovered, 90000);
    assert_false(uncovered_has(&uncovered, 3000));
    uncovered_fini(&uncovered);
    assert_int_equal(memory.outstanding_bytes, 0);
}

static void test_a_lost_session_comes_from_elsewhere(void **state)
{
    (void)state;
    copies_begin();
    put_wide("k");
    assert_int_equal(copy_full(), STATUS_OK);
    store_compact();
    store_freeze();
    assert_int_equal(stats()->cold, 1);
    buffer_fini(&store.all[0].record); /* The checkpoint has lost it. */
    store.count = 0;
    assert_int_equal(store_run(get_of("k")), STATUS_DAMAGED);
    put_narrow("1");
    assert_int_equal(copy_delta(), STATUS_VERSION_MISMATCH);
    assert_int_equal(copy_full(), STATUS_OK);
    assert_int_equal(stats()->cold, 0);
    assert_bytes_equal(here("k"), buffer_bytes(&copies.kit.record));
    assert_int_equal(world_get("k"), STATUS_OK);
    copies_end();
}

static void test_whole_sessions_are_given(void **state)
{
    (void)state;
    copies_begin();
    put_cold("k");
    uint64_t position = keeper_position(world.options.seed, text("k"));
    shard_whole(world.shard, position, ++copies.ticket, world.now_us);
    assert_int_equal(copies.done, 0);
    store_answer();
    assert_int_equal(copies.given, 1);
    assert_int_equal(copies.done, 1);
    assert_int_equal(copies.done_status, STATUS_OK);
    assert_bytes_equal(buffer_bytes(&copies.gave), here("k"));
    assert_true(copies.gave.size > BIG);
    shard_whole(world.shard, position + 1, ++copies.ticket, world.now_us);
    assert_int_equal(copies.given, 1);
    assert_int_equal(copies.done, 2);

    struct bytes record;
    assert_true(shard_peek(world.shard, position, text("k"), &record));
    assert_bytes_equal(record, here("k"));
    store.loading = world.shard->loading = true;
    assert_false(shard_peek(world.shard, position, text("k"), &record));
    other_put("k", "loaded first");
    uint64_t ticket = copy_bytes(LOG_FULL, "k", buffer_bytes(&copies.kit.record));
    assert_int_equal(copies.told_count, 0);
    store.wanted_count = 0;
    store.loading = false;
    shard_loaded(world.shard, position, world.now_ms, world.now_us);
    assert_int_equal(copies.told_count, 1);
    assert_int_equal(copies.told[0].ticket, ticket);
    world.shard->loading = false;
    copies_end();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_copy_is_merged_and_logged),
        cmocka_unit_test(test_a_delta_needs_its_base),
        cmocka_unit_test(test_a_delta_on_what_was_restored_is_logged_whole),
        cmocka_unit_test(test_a_death_comes),
        cmocka_unit_test(test_a_touch_comes),
        cmocka_unit_test(test_a_batch_is_merged_as_one),
        cmocka_unit_test(test_what_cannot_be_taken_is_told),
        cmocka_unit_test(test_a_copy_waits_for_a_cold_session),
        cmocka_unit_test(test_an_old_stamp_is_not_taken_for_stored),
        cmocka_unit_test(test_uncovered_positions),
        cmocka_unit_test(test_a_lost_session_comes_from_elsewhere),
        cmocka_unit_test(test_whole_sessions_are_given),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
