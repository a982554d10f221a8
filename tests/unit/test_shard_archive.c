/* The shard and the archive: writes of level `archive` wait for it, others do not. */
#include "shard_world.h"

enum { WAIT_US = 5000000, FLOOR = 0 };

static struct request archived_put(const char *key, const char *value)
{
    struct request request = world_put_of(key, value);

    request.ack = ACK_ARCHIVE;
    return request;
}

static void begin(uint64_t lsn)
{
    world_begin();
    shard_set_archive(world.shard, lsn, WAIT_US);
}

static void test_waits_until_it_is_there(void **state)
{
    (void)state;
    begin(FLOOR);
    assert_int_equal(world_run(archived_put("a", "1")), STATUS_OK);
    assert_true(world.answer.held);
    assert_int_equal(world.answer.reply.ack, ACK_ARCHIVE);
    assert_int_equal(world.hurries, 1); /* It cannot be archived before it is durable. */
    assert_int_equal(shard_archive_wanted(world.shard), world.records[0].lsn);
    assert_int_equal(world_run(archived_put("b", "1")), STATUS_OK);
    assert_int_equal(shard_archive_asked(world.shard, world.records[0].lsn - 1), 0);
    assert_int_equal(shard_archive_asked(world.shard, world.records[0].lsn), 1);
    assert_int_equal(shard_archive_asked(world.shard, world.records[1].lsn), 2);
    shard_log_durable(world.shard, world.records[1].lsn, world.now_us);
    assert_int_equal(world.releases, 0);
    assert_int_equal(shard_stats(world.shard)->archive_waits, 2);

    /* Others are answered as ever. */
    struct request request = world_put_of("c", "1");
    request.ack = ACK_DISK;
    assert_int_equal(world_run(request), STATUS_OK);
    shard_log_durable(world.shard, world.records[2].lsn, world.now_us);
    assert_int_equal(world.releases, 1);
    assert_int_equal(world.released_level, ACK_DISK);
    assert_int_equal(world_put("d", "1"), STATUS_OK);
    assert_false(world.answer.held);

    shard_archived(world.shard, world.records[0].lsn, world.now_us + 300);
    assert_int_equal(world.releases, 2);
    assert_int_equal(world.released_ticket, 1);
    assert_int_equal(world.released_status, STATUS_OK);
    assert_int_equal(world.released_level, ACK_ARCHIVE);
    assert_int_equal(shard_archive_wanted(world.shard), world.records[1].lsn);
    shard_archived(world.shard, world.records[3].lsn, world.now_us);
    assert_int_equal(world.releases, 3);
    assert_int_equal(shard_archive_asked(world.shard, world.records[0].lsn),
                     2); /* Once and for all. */
    assert_int_equal(shard_archive_wanted(world.shard), 0);
    const struct shard_stats *stats = shard_stats(world.shard);
    assert_int_equal(stats->acks[ACK_ARCHIVE], 2);
    assert_int_equal(stats->archive_us.count, 2);
    assert_int_equal(stats->archive_us.max, 300);
    assert_int_equal(stats->archive_late, 0);
    world_end();
}

/* What it finds may not be archived yet, also where it was written before a restart. */
static void test_what_changes_nothing_waits_too(void **state)
{
    (void)state;
    begin(10);
    struct request nothing = world_one_of("a", (struct change){.operation = CHANGE_DESTROY});
    nothing.ack = ACK_ARCHIVE;
    assert_int_equal(world_run(nothing), STATUS_OK);
    assert_true(world.answer.held);
    assert_int_equal(shard_archive_wanted(world.shard), 10);
    shard_archived(world.shard, 9, world.now_us);
    assert_int_equal(world.releases, 0);
    shard_archived(world.shard, 10, world.now_us);
    assert_int_equal(world.releases, 1);
    nothing = world_one_of("a", (struct change){.operation = CHANGE_DESTROY});
    nothing.ack = ACK_ARCHIVE;
    assert_int_equal(world_run(nothing), STATUS_OK);
    assert_false(world.answer.held);
    assert_int_equal(world.answer.reply.ack, ACK_ARCHIVE);
    world_end();
}

static void test_time_limit(void **state)
{
    (void)state;
    begin(FLOOR);
    assert_int_equal(world_run(archived_put("a", "1")), STATUS_OK);
    world.now_us += 1000;
    assert_int_equal(world_run(archived_put("b", "1")), STATUS_OK);
    assert_int_equal(shard_archive_late(world.shard, false, world.now_us), WAIT_US - 1000);
    world.now_us += WAIT_US - 1000;
    assert_int_equal(shard_archive_late(world.shard, false, world.now_us), 1000);
    assert_int_equal(world.releases, 1);
    assert_int_equal(world.released_ticket, 1);
    assert_int_equal(world.released_status, STATUS_UNAVAILABLE);
    world.now_us += 1000;
    assert_int_equal(shard_archive_late(world.shard, false, world.now_us), UINT64_MAX);
    assert_int_equal(world.releases, 2);
    assert_int_equal(shard_stats(world.shard)->archive_late, 2);
    assert_int_equal(shard_stats(world.shard)->answers[REQUEST_WRITE][STATUS_UNAVAILABLE], 2);
    assert_int_equal(world_get("a"), STATUS_OK); /* It is done. */
    shard_archived(world.shard, world.records[1].lsn, world.now_us);
    assert_int_equal(world.releases, 2); /* Once. */

    assert_int_equal(world_run(archived_put("c", "1")), STATUS_OK);
    assert_int_equal(shard_archive_late(world.shard, true, world.now_us), UINT64_MAX);
    assert_int_equal(world.releases, 3); /* At a stop nobody waits for it. */
    world_end();
}

/* What waited for log that was lost is not told that the archive has it; what came later is. */
static void test_lost(void **state)
{
    (void)state;
    begin(FLOOR);
    assert_int_equal(world_run(archived_put("a", "1")), STATUS_OK);
    assert_int_equal(world_run(archived_put("b", "1")), STATUS_OK);
    assert_int_equal(world_run(archived_put("c", "1")), STATUS_OK);
    shard_archive_lost(world.shard, world.records[1].lsn);
    assert_int_equal(world.releases, 2);
    assert_int_equal(world.released_ticket, 2);
    assert_int_equal(world.released_status, STATUS_UNAVAILABLE);
    assert_int_equal(shard_stats(world.shard)->answers[REQUEST_WRITE][STATUS_UNAVAILABLE], 2);
    assert_int_equal(shard_stats(world.shard)->archive_waits, 1);
    assert_int_equal(world_get("a"), STATUS_OK); /* It is done. */
    shard_archived(world.shard, world.records[2].lsn, world.now_us);
    assert_int_equal(world.releases, 3);
    assert_int_equal(world.released_ticket, 3);
    assert_int_equal(world.released_level, ACK_ARCHIVE);
    world_end();
}

/* The shard of another node that has the same session. */
static void become(uint32_t node)
{
    shard_destroy(world.shard);
    world.options.actor.node = node;
    assert_int_equal(shard_create(&world.options, &world.shard), 0);
    struct bytes record = bytes_of(world.records[0].body, world.records[0].size);
    assert_int_equal(shard_restore_record(world.shard, record), 0);
    shard_restore_done(world.shard, world.now_ms);
    shard_set_archive(world.shard, FLOOR, WAIT_US);
}

/* What another node wrote that one archives, or it is lost with it: whoever tries again here is not told that it is there. */
static void test_done_elsewhere(void **state)
{
    (void)state;
    begin(FLOOR);
    struct request request = archived_put("a", "1");
    request.client = 7;
    request.sequence = 1;
    assert_int_equal(world_run(request), STATUS_OK);
    become(2);
    assert_int_equal(world_run(request), STATUS_UNAVAILABLE);
    assert_non_null(strstr(world.answer.reply.text, "not known here"));
    assert_false(world.answer.held);
    assert_int_equal(world_get("a"), STATUS_OK);
    become(1);
    assert_int_equal(world_run(request), STATUS_OK);
    assert_true(world.answer.reply.repeated);
    become(2);
    assert_int_equal(world_run(archived_put("a", "2")),
                     STATUS_OK); /* That it writes, and archives. */
    assert_true(world.answer.held);
    world_end();
}

/* Nor who tries again what waited for log that was lost. */
static void test_done_and_lost(void **state)
{
    (void)state;
    begin(FLOOR);
    struct request request = archived_put("a", "1");
    request.client = 7;
    request.sequence = 1;
    assert_int_equal(world_run(request), STATUS_OK);
    shard_archive_lost(world.shard, world.records[0].lsn);
    shard_archived(world.shard, world.records[0].lsn, world.now_us);
    assert_int_equal(world_run(request), STATUS_UNAVAILABLE);
    assert_int_equal(world_run(archived_put("a", "2")), STATUS_OK);
    assert_true(world.answer.held);
    world_end();
}

/* Nor, after a start, who tries again what was done before it, where the archive lacks some of that: until it has it from a
 * checkpoint. What is written now waits as ever. */
static void test_done_before_a_base(void **state)
{
    (void)state;
    begin(FLOOR);
    struct request request = archived_put("a", "1");
    request.client = 7;
    request.sequence = 1;
    assert_int_equal(world_run(request), STATUS_OK);
    become(1);
    shard_archive_lost(world.shard, FLOOR);
    assert_int_equal(world_run(request), STATUS_UNAVAILABLE);
    assert_non_null(strstr(world.answer.reply.text, "not known here"));
    assert_int_equal(world_run(archived_put("b", "2")), STATUS_OK);
    assert_true(world.answer.held);
    shard_archived(world.shard, world.records[1].lsn, world.now_us);
    assert_int_equal(world.released_level, ACK_ARCHIVE);
    assert_int_equal(world_run(request), STATUS_UNAVAILABLE);
    shard_archive_based(world.shard);
    assert_int_equal(world_run(request), STATUS_OK);
    assert_true(world.answer.reply.repeated);
    assert_false(world.answer.held);
    assert_int_equal(world.answer.reply.ack, ACK_ARCHIVE);
    world_end();
}

static void test_log_fails(void **state)
{
    (void)state;
    begin(FLOOR);
    assert_int_equal(world_run(archived_put("a", "1")), STATUS_OK);
    shard_log_failed(world.shard, "the device is gone");
    assert_int_equal(world.releases, 1);
    assert_int_equal(world.released_status, STATUS_LOG_FAILED);
    assert_int_equal(shard_archive_wanted(world.shard), 0);
    world_end();
}

/* By the policy of a key, and of the many keys of a transaction the safest. */
static void test_policy(void **state)
{
    (void)state;
    world_prepare();
    world.policy.ack = ACK_ARCHIVE;
    world_start();
    assert_int_equal(world_put("a", "1"), STATUS_UNAVAILABLE);
    assert_string_equal(world.answer.reply.text, "no archive is configured");
    assert_int_equal(world_get("a"), STATUS_NOT_FOUND);
    shard_set_archive(world.shard, FLOOR, WAIT_US);
    assert_int_equal(world_put("a", "1"), STATUS_OK);
    assert_true(world.answer.held);
    shard_archived(world.shard, world.records[0].lsn, world.now_us);
    assert_int_equal(world.released_level, ACK_ARCHIVE);
    world_end();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_waits_until_it_is_there),
        cmocka_unit_test(test_what_changes_nothing_waits_too),
        cmocka_unit_test(test_time_limit),
        cmocka_unit_test(test_lost),
        cmocka_unit_test(test_done_elsewhere),
        cmocka_unit_test(test_done_and_lost),
        cmocka_unit_test(test_done_before_a_base),
        cmocka_unit_test(test_log_fails),
        cmocka_unit_test(test_policy),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
