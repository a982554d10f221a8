/* Procedures: reading, deciding and writing in one turn; transactions are whole or not there, whatever fails. */
#include "shard_world.h"

/* ---- A procedure on one key: count up, and say what was there before ---- */

static enum status count_up(struct turn *turn)
{
    const struct change change = {.operation = CHANGE_ADD, .delta = 1};
    uint8_t list[16];
    struct session_field field;

    const struct session_view *view = turn_use(turn);
    if (view != NULL && session_find(view, text(""), &field)) {
        assert_int_equal(buffer_append(turn->answer, field.value), 0);
    }
    const uint8_t *end = change_put(list, &change);
    return turn_write(turn, WRITE_UPSERT, SESSION_BLOB, bytes_of(list, (size_t)(end - list)), NULL);
}

static const struct procedure count_procedure = {.name = "count", .run = count_up};

static void test_reads_and_writes(void **state)
{
    (void)state;
    world_begin();
    const struct request request = {
        .op = REQUEST_WRITE, .key = text("n"), .procedure = &count_procedure};
    for (int i = 0; i < 12; i++) {
        char before[8] = "";
        if (i > 0) {
            snprintf(before, sizeof before, "%d", i);
        }
        assert_int_equal(world_run(request), STATUS_OK);
        assert_true(bytes_equal(world.answer.reply.results, text(before)));
        assert_int_equal(world.record_count, i + 1);
    }
    assert_int_equal(world_get("n"), STATUS_OK);
    assert_string_equal(world.answer.blob, "12");
    assert_int_equal(shard_stats(world.shard)->requests[REQUEST_WRITE], 12);

    world.log_rc = -EAGAIN;
    assert_int_equal(world_run(request), STATUS_BUSY);
    assert_true(world.answer.reply.retry_after_ms > 0);
    world.log_rc = 0;
    assert_int_equal(world_get("n"), STATUS_OK);
    assert_string_equal(world.answer.blob, "12");

    struct request at_disk = request;
    at_disk.ack = ACK_DISK;
    assert_int_equal(world_run(at_disk), STATUS_OK);
    assert_true(world.answer.held);
    world_end();
}

/* ---- A transaction: what `from` holds goes to `to` and to `copy`, and `from` ends ---- */

static const char *const keys[] = {"from", "to", "copy"};

static struct bytes body_of_keys(void)
{
    static uint8_t body[64];
    uint8_t *at = varint_put(body, 3);

    for (int i = 0; i < 3; i++) {
        at = varint_put(at, strlen(keys[i]));
        memcpy(at, keys[i], strlen(keys[i]));
        at += strlen(keys[i]);
    }
    return bytes_of(body, (size_t)(at - body));
}

static enum status write_one(struct turn *turn, const char *key, struct change change)
{
    struct request request = *turn->request;
    uint8_t list[256];

    request.key = text(key);
    turn_to(turn, &request);
    const uint8_t *end = change_put(list, &change);
    enum status status =
        turn_write(turn, WRITE_UPSERT, SESSION_BLOB, bytes_of(list, (size_t)(end - list)), NULL);
    if (status == STATUS_OK && change.operation == CHANGE_SET) { /* The next step sees it. */
        struct session_field field;
        const struct session_view *view = turn_view(turn);
        assert_non_null(view);
        assert_true(session_find(view, text(""), &field));
        assert_true(bytes_equal(field.value, change.value));
    }
    turn_to(turn, &request);
    return status;
}

static enum status move(struct turn *turn)
{
    struct request request = *turn->request;
    struct session_field field;
    char value[128];

    request.key = text("from");
    turn_to(turn, &request);
    const struct session_view *view = turn_view(turn);
    if (view == NULL || !session_find(view, text(""), &field)) {
        return STATUS_NOT_FOUND;
    }
    assert_true(field.value.size < sizeof value);
    memcpy(value, field.value.data, field.value.size);
    const struct change set = {.operation = CHANGE_SET, .value = bytes_of(value, field.value.size)};
    enum status status = write_one(turn, "to", set);
    if (status == STATUS_OK) {
        status = write_one(turn, "copy", set);
    }
    if (status == STATUS_OK) {
        status = write_one(turn, "from", (struct change){.operation = CHANGE_DESTROY});
    }
    assert_true(status != STATUS_OK || turn_view(turn) == NULL); /* Ended, for who comes after. */
    return status;
}

static const struct procedure move_procedure = {.name = "move", .run = move, .many = true};

static enum status run_move(void)
{
    return world_run((struct request){
        .op = REQUEST_WRITE,
        .mode = WRITE_UPDATE, /* As EXEC: which of its commands begin a session is seen then. */
        .key = text("from"),
        .body = body_of_keys(),
        .procedure = &move_procedure,
    });
}

static void expect(const char *key, const char *value)
{
    enum status status = world_get(key);

    assert_int_equal(status, value == NULL ? STATUS_NOT_FOUND : STATUS_OK);
    if (value != NULL) {
        assert_string_equal(world.answer.blob, value);
    }
}

static void expect_before(void)
{
    expect("from", "treasure");
    expect("to", "old");
    expect("copy", NULL);
    assert_int_equal(shard_stats(world.shard)->live, 2);
}

static void begin(void)
{
    world_begin();
    assert_int_equal(world_put("from", "treasure"), STATUS_OK);
    assert_int_equal(world_put("to", "old"), STATUS_OK);
}

static void test_transaction(void **state)
{
    (void)state;
    begin();
    size_t records = world.record_count;
    assert_int_equal(run_move(), STATUS_OK);
    assert_int_equal(world.record_count, records + 1);
    expect("from", NULL);
    expect("to", "treasure");
    expect("copy", "treasure");
    const struct shard_stats *stats = shard_stats(world.shard);
    assert_int_equal(stats->live, 2);
    assert_int_equal(stats->created, 3);
    assert_int_equal(stats->destroyed, 1);
    assert_int_equal(run_move(), STATUS_NOT_FOUND); /* And nothing was staged for ever. */
    assert_int_equal(world.record_count, records + 1);

    /* The record of the log has all three, whole. */
    const struct logged *logged = &world.records[records];
    assert_int_equal(logged->kind, LOG_BATCH);
    struct reader batch = reader_of(bytes_of(logged->body, logged->size));
    for (int i = 0; i < 3; i++) {
        assert_int_equal(read_u8(&batch), LOG_FULL);
        uint64_t position = read_u64(&batch);
        struct bytes record = read_string(&batch);
        assert_false(batch.bad);
        assert_int_equal(session_check(record), 0);
        assert_int_equal(position, keeper_position(42, session_key(record)));
        assert_true(
            bytes_equal(keeper_find(world.shard->keeper, position, session_key(record)), record));
    }
    assert_true(reader_done(&batch));
    world_end();
}

/* One key, ended and begun anew: one record of the log, or nothing. */
static enum status replace(struct turn *turn)
{
    assert_int_equal(turn_stage(turn), 0);
    enum status status = write_one(turn, "from", (struct change){.operation = CHANGE_DESTROY});
    if (status == STATUS_OK) {
        status =
            write_one(turn, "from", (struct change){.operation = CHANGE_SET, .value = text("new")});
    }
    return status;
}

static const struct procedure replace_procedure = {.name = "replace", .run = replace};

static void test_one_key_in_two_steps(void **state)
{
    const struct request request = {
        .op = REQUEST_WRITE, .key = text("from"), .procedure = &replace_procedure};

    (void)state;
    begin();
    size_t records = world.record_count;
    world.log_rc = -EAGAIN;
    assert_int_equal(world_run(request), STATUS_BUSY);
    world.log_rc = 0;
    expect_before();
    assert_int_equal(world_run(request), STATUS_OK);
    assert_int_equal(world.record_count, records + 1);
    assert_int_equal(world.records[records].kind, LOG_FULL);
    expect("from", "new");
    assert_int_equal(shard_stats(world.shard)->live, 2);
    assert_int_equal(shard_stats(world.shard)->destroyed, 1);
    world_end();
}

static void test_the_log_refuses(void **state)
{
    static const struct {
        int rc;
        enum status status;
    } refusals[] = {{-EAGAIN, STATUS_BUSY}, {-ENOSPC, STATUS_DISK_FULL}};

    (void)state;
    begin();
    for (size_t i = 0; i < sizeof refusals / sizeof refusals[0]; i++) {
        world.log_rc = refusals[i].rc;
        assert_int_equal(run_move(), refusals[i].status);
        world.log_rc = 0;
        expect_before();
    }
    assert_int_equal(run_move(), STATUS_OK);
    expect("copy", "treasure");
    world_end();
}

/* Each request for memory fails once. */
static void test_no_memory(void **state)
{
    uint64_t failures = 0;

    (void)state;
    begin();
    for (uint64_t n = 1;; n++) {
        world.memory.fail_at = world.memory.requests + n;
        enum status status = run_move();
        bool failed = world.memory.requests >= world.memory.fail_at;
        world.memory.fail_at = 0;
        if (!failed) {
            assert_int_equal(status, STATUS_OK);
            break;
        }
        assert_int_equal(status, STATUS_MEMORY_FULL);
        expect_before();
        failures++;
    }
    assert_true(failures > 3);
    expect("to", "treasure");
    world_end();
}

/* A transaction begins no session in a full memory. */
static void test_memory_is_full(void **state)
{
    char key[16];

    (void)state;
    world_prepare();
    world.options.memory_max = 4 * 1024 * 1024;
    world_start();
    assert_int_equal(world_put("from", "treasure"), STATUS_OK);
    assert_int_equal(world_put("to", "old"), STATUS_OK);
    enum status status = STATUS_OK;
    for (int i = 0; status == STATUS_OK; i++) {
        snprintf(key, sizeof key, "k%d", i);
        status = world_put(key, "some value, so that memory is full before long");
    }
    assert_int_equal(status, STATUS_MEMORY_FULL);
    uint64_t live = shard_stats(world.shard)->live;
    assert_int_equal(run_move(), STATUS_MEMORY_FULL);
    expect("from", "treasure");
    expect("to", "old");
    expect("copy", NULL);
    assert_int_equal(shard_stats(world.shard)->live, live);
    assert_int_equal(world_destroy("from"), STATUS_OK);
    world_end();
}

/* It is as safe as the safest of its keys has to be. */
static void test_ack_level(void **state)
{
    struct policy rows[2];

    (void)state;
    world_prepare();
    policy_defaults(&rows[0]);
    policy_defaults(&rows[1]);
    rows[1].ack = ACK_DISK;
    memcpy(rows[1].prefix, "copy", 4);
    rows[1].prefix_size = 4;
    assert_int_equal(policies_init(&world.policies, rows, 2), 0);
    assert_int_equal(shard_create(&world.options, &world.shard), 0);
    shard_tick(world.shard, world.now_ms, 1000);
    assert_int_equal(world_put("from", "treasure"), STATUS_OK);
    assert_false(world.answer.held);
    shard_log_durable(world.shard, world.records[0].lsn, world.now_us);
    assert_int_equal(run_move(), STATUS_OK);
    assert_true(world.answer.held);
    assert_int_equal(world.answer.reply.ack, ACK_DISK);
    shard_log_durable(world.shard, world.records[1].lsn, world.now_us);
    assert_int_equal(world.releases, 1);
    world_end();
}

static void test_too_large(void **state)
{
    (void)state;
    world_prepare();
    world.policy.rules.session_bytes_max = 64;
    world_start();
    assert_int_equal(world_put("from", "treasure"), STATUS_OK);
    assert_int_equal(world_put("to", "old"), STATUS_OK);
    assert_int_equal(run_move(), STATUS_SESSION_TOO_LARGE);
    expect_before();
    world_end();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_reads_and_writes), cmocka_unit_test(test_transaction),
        cmocka_unit_test(test_the_log_refuses),  cmocka_unit_test(test_no_memory),
        cmocka_unit_test(test_too_large),        cmocka_unit_test(test_memory_is_full),
        cmocka_unit_test(test_ack_level),        cmocka_unit_test(test_one_key_in_two_steps),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
