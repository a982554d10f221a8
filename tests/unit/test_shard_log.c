/* The shard and its log: what is acknowledged when, and a log that takes nothing. */
#include "shard_world.h"

/* ---- Ack levels ---- */

static void test_ack_disk(void **state)
{
    (void)state;
    world_begin();
    struct request request = world_put_of("a", "1");
    request.ack = ACK_DISK;
    request.client = 7;
    request.sequence = 1;
    assert_int_equal(world_run(request), STATUS_OK);
    assert_true(world.answer.held);
    assert_int_equal(world.answer.reply.ack, ACK_DISK);
    assert_int_equal(world.hurries, 1);
    assert_int_equal(world.releases, 0);

    /* Repeated before it is durable: known, and waits as well. */
    request.retry_hlc = hlc_of_ms(world.now_ms);
    assert_int_equal(world_run(request), STATUS_OK);
    assert_true(world.answer.reply.repeated);
    assert_true(world.answer.held);
    assert_int_equal(world.record_count, 1);

    struct request other = world_put_of("b", "1");
    other.ack = ACK_DISK;
    assert_int_equal(world_run(other), STATUS_OK);
    world.now_us += 700;
    shard_log_durable(world.shard, world.records[0].lsn, world.now_us);
    assert_int_equal(world.releases, 2);
    assert_int_equal(world.released_ticket, 2);
    assert_int_equal(world.released_status, STATUS_OK);
    shard_log_durable(world.shard, world.records[1].lsn, world.now_us);
    assert_int_equal(world.releases, 3);

    /* Nothing is waiting to be durable: what changes nothing is answered now, at `disk`. */
    request.retry_hlc = hlc_of_ms(world.now_ms);
    assert_int_equal(world_run(world_put_of("c", "1")), STATUS_OK);
    shard_log_durable(world.shard, world.records[2].lsn, world.now_us);
    other = world_one_of("nothing", (struct change){.operation = CHANGE_DESTROY});
    other.ack = ACK_DISK;
    assert_int_equal(world_run(other), STATUS_OK);
    assert_false(world.answer.held);
    assert_int_equal(world.answer.reply.ack, ACK_DISK);
    const struct shard_stats *stats = shard_stats(world.shard);
    assert_int_equal(stats->acks[ACK_DISK], 4);
    assert_int_equal(stats->acks[ACK_MEMORY], 1);
    assert_int_equal(stats->latency[REQUEST_WRITE].count, 5);
    assert_int_equal(stats->latency[REQUEST_WRITE].max, 700);
    assert_int_equal(stats->repeated, 1);
    world_end();
}

static void test_ack_policy(void **state)
{
    (void)state;
    world_prepare();
    world.policy.ack = ACK_DISK;
    world_start();
    assert_int_equal(world_put("a", "1"), STATUS_OK);
    assert_true(world.answer.held);
    struct request request = world_put_of("a", "2");
    request.ack = ACK_MEMORY;
    assert_int_equal(world_run(request), STATUS_OK);
    assert_false(world.answer.held);
    request = world_put_of("a", "3");
    request.ack = ACK_REPLICA;
    assert_int_equal(world_run(request), STATUS_OK);
    assert_false(world.answer.held);
    assert_int_equal(world.answer.reply.ack, ACK_MEMORY);
    request = world_put_of("new", "4");
    request.ack = ACK_ARCHIVE;
    assert_int_equal(world_run(request), STATUS_UNAVAILABLE);
    assert_string_equal(world.answer.reply.text, "no archive is configured");
    assert_int_equal(world_get("new"), STATUS_NOT_FOUND); /* Before it is applied. */
    assert_int_equal(world.record_count, 3);
    world_end();
}

/* ---- A log that takes nothing ---- */

/* A write that the log refused has changed nothing, of a session that is there and of one that is not. */
static void check_refused(int rc, enum status expected)
{
    static uint8_t before[4096];
    struct request inspect = {.op = REQUEST_INSPECT, .key = text("old")};

    assert_int_equal(world_run(inspect), STATUS_OK);
    size_t size = world.answer.reply.record.size;
    memcpy(before, world.answer.reply.record.data, size);
    struct shard_stats stats = *shard_stats(world.shard);
    size_t logged = world.record_count;

    world.log_rc = rc;
    assert_int_equal(world_put("old", "a longer value than before, of another size"), expected);
    assert_int_equal(world_put("new", "x"), expected);
    assert_int_equal(world_destroy("old"), expected);
    assert_int_equal(world.record_count, logged);
    assert_int_equal(world_get("new"), STATUS_NOT_FOUND);
    assert_int_equal(world_get("old"), STATUS_OK); /* Reads go on. */
    assert_int_equal(world_run(inspect), STATUS_OK);
    assert_bytes_equal(world.answer.reply.record, bytes_of(before, size));
    assert_int_equal(shard_stats(world.shard)->live, stats.live);
    assert_int_equal(shard_stats(world.shard)->created, stats.created);
}

static void test_log_full(void **state)
{
    (void)state;
    world_begin();
    assert_int_equal(world_put("old", "1"), STATUS_OK);
    check_refused(-ENOSPC, STATUS_DISK_FULL);
    check_refused(-ENOSPC, STATUS_DISK_FULL);
    assert_int_equal(world.traces[TRACE_LOG_FULL], 1);
    assert_int_equal(world.traces[TRACE_LOG_RESUMED], 0);
    world.log_rc = 0;
    assert_int_equal(world_put("new", "x"), STATUS_OK); /* By itself, when there is room. */
    assert_int_equal(world_put("old", "y"), STATUS_OK);
    assert_int_equal(world.traces[TRACE_LOG_RESUMED], 1);
    assert_int_equal(shard_stats(world.shard)->refused, 6);
    world_end();
}

/* No segment is as large: nothing is wrong with the log. */
static void test_log_has_no_such_segment(void **state)
{
    (void)state;
    world_begin();
    assert_int_equal(world_put("old", "1"), STATUS_OK);
    check_refused(-EFBIG, STATUS_SESSION_TOO_LARGE);
    world.log_rc = 0;
    assert_int_equal(world_put("new", "x"), STATUS_OK);
    assert_int_equal(world.traces[TRACE_LOG_FAILED], 0);
    world_end();
}

static void test_log_behind(void **state)
{
    (void)state;
    world_begin();
    assert_int_equal(world_put("old", "1"), STATUS_OK);
    check_refused(-EAGAIN, STATUS_BUSY);
    assert_int_equal(world_put("old", "1"), STATUS_BUSY);
    assert_true(world.answer.reply.retry_after_ms > 0);
    world.log_rc = 0;
    assert_int_equal(world_put("old", "1"), STATUS_OK);
    world_end();
}

/* What would die with the process is acknowledged when it is durable, and so is all after it. */
static void test_log_is_fragile(void **state)
{
    (void)state;
    world_begin();
    assert_int_equal(world_put("a", "1"), STATUS_OK);
    assert_int_equal(world.answer.reply.ack, ACK_MEMORY);
    assert_false(world.answer.held);
    world.log_rc = 1;
    assert_int_equal(world_put("a", "2"), STATUS_OK);
    assert_true(world.answer.held);
    assert_int_equal(world.answer.reply.ack, ACK_DISK);
    assert_int_equal(world.hurries, 1);
    world.log_rc = 0;
    struct request nothing = world_one_of("none", (struct change){.operation = CHANGE_DESTROY});
    assert_int_equal(world_run(nothing), STATUS_OK);
    assert_true(world.answer.held);
    assert_int_equal(world.releases, 0);
    shard_log_durable(world.shard, world.record_count, world.now_us);
    assert_int_equal(world.releases, 2);
    assert_int_equal(world_put("a", "3"), STATUS_OK);
    assert_int_equal(world.answer.reply.ack, ACK_MEMORY);
    assert_false(world.answer.held);
    world_end();
}

static void test_log_failed(void **state)
{
    (void)state;
    world_begin();
    assert_int_equal(world_put("old", "1"), STATUS_OK);
    struct request request = world_put_of("a", "1");
    request.ack = ACK_DISK;
    assert_int_equal(world_run(request), STATUS_OK);
    assert_int_equal(world_run(request), STATUS_OK);
    shard_log_failed(world.shard, "device sdx: write error");
    assert_int_equal(world.releases, 2);
    assert_int_equal(world.released_status, STATUS_LOG_FAILED);
    check_refused(0, STATUS_LOG_FAILED);
    assert_int_equal(world_put("old", "1"), STATUS_LOG_FAILED);
    assert_string_equal(world.answer.reply.text, "device sdx: write error");
    assert_int_equal(world.traces[TRACE_LOG_FAILED], 1);
    request = world_one_of("nothing", (struct change){.operation = CHANGE_DESTROY});
    request.ack = ACK_DISK; /* Not even what changes nothing: it could wait for ever. */
    assert_int_equal(world_run(request), STATUS_LOG_FAILED);
    world_end();

    world_begin(); /* Told by the append itself. */
    assert_int_equal(world_put("old", "1"), STATUS_OK);
    check_refused(-EIO, STATUS_LOG_FAILED);
    world.log_rc = 0;
    assert_int_equal(world_put("old", "1"), STATUS_LOG_FAILED); /* For good. */
    assert_int_equal(world.traces[TRACE_LOG_FAILED], 1);
    world_end();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_ack_disk),
        cmocka_unit_test(test_ack_policy),
        cmocka_unit_test(test_log_full),
        cmocka_unit_test(test_log_behind),
        cmocka_unit_test(test_log_is_fragile),
        cmocka_unit_test(test_log_failed),
        cmocka_unit_test(test_log_has_no_such_segment),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
