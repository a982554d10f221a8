/* What others stamped: marked, let go as they say that it is archived, and taken where they do not. */
#include "archive_tails.h"

#include <errno.h>

#include "adopt.h"
#include "check.h"

enum { SHARDS = 2, SELF = 1, BEHIND_MS = 10000, MARK_MS = 2500 };

static struct test_memory memory;
static struct archive_tails tails;
static uint64_t now_ms;
static struct archive_feed_taken taken[ARCHIVE_TAILS_NODES_MAX];

static int setup(void **state)
{
    const struct archive_tails_settings settings = {
        .shard_count = SHARDS, .self = SELF, .behind_ms = BEHIND_MS, .mark_ms = MARK_MS};

    (void)state;
    memory = test_memory();
    archive_tails_init(&tails, &memory.memory, &settings);
    now_ms = 1000000;
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    archive_tails_fini(&tails);
    return memory.outstanding_bytes == 0 ? 0 : -1;
}

static void note(uint32_t shard, uint32_t node, uint64_t first, uint64_t last, uint64_t hlc)
{
    const struct archive_feed_note found = {
        .shard = shard, .node = node, .first_lsn = first, .last_lsn = last, .newest_hlc = hlc};

    assert_int_equal(archive_tails_note(&tails, &found, now_ms), 0);
}

static bool step(uint64_t later_ms)
{
    now_ms += later_ms;
    return archive_tails_step(&tails, false, now_ms);
}

/* An object is begun, whose shards' logs are archived up to there. */
static uint32_t build(uint64_t archived, uint64_t from[SHARDS])
{
    for (uint32_t i = 0; i < SHARDS; i++) {
        from[i] = archived;
    }
    return archive_tails_build(&tails, from, taken);
}

static void stored(uint64_t first, uint64_t second)
{
    const uint64_t to[SHARDS] = {first, second};

    archive_tails_stored(&tails, to);
}

static uint64_t begin(uint32_t shard)
{
    return archive_tails_begin(&tails, shard, 5000);
}

/* The log is kept from the first mark on, until its node says that it is archived; then nothing is taken. */
static void test_confirmed(void **state)
{
    (void)state;
    note(0, 2, 100, 200, 70);
    note(1, 2, 150, 150, 60);
    note(1, 3, 130, 180, 65);
    archive_tails_walked(&tails, 0, 300);
    archive_tails_walked(&tails, 1, 300);
    note(0, 2, 100, 299, 99); /* Was seen already. */
    assert_int_equal(begin(0), 100);
    assert_int_equal(begin(1), 130);
    assert_false(step(7));
    assert_int_equal(archive_tails_behind_ms(&tails, now_ms), 7);
    assert_true(
        archive_tails_has(&tails, 2, 69, now_ms)); /* Some of the first mark may be missing. */
    assert_int_equal(begin(0), 100);
    assert_int_equal(begin(1), 130);
    assert_false(archive_tails_has(&tails, 2, 69, now_ms));
    assert_true(archive_tails_has(&tails, 2, 70, now_ms));
    assert_int_equal(begin(0), 5000);
    assert_true(archive_tails_has(&tails, 3, 65, now_ms));
    assert_int_equal(begin(1), 5000);
    assert_int_equal(archive_tails_behind_ms(&tails, now_ms), 0);
    note(0, 2, 310, 320, 70); /* It said so before. */
    assert_int_equal(begin(0), 5000);
    assert_false(step(10 * BEHIND_MS));
    assert_int_equal(archive_tails_taken(&tails), 0);
}

/* Who is down is taken at once: its log is walked again, and its marks go as that is stored. */
static void test_down(void **state)
{
    uint64_t from[SHARDS];

    (void)state;
    archive_tails_has(&tails, 2, 40, now_ms);
    note(0, 2, 100, 200, 70);
    note(0, 3, 50, 60, 70);
    archive_tails_walked(&tails, 0, 300);
    archive_tails_down(&tails, 0, true);
    assert_true(step(0));
    assert_int_equal(archive_tails_taken(&tails), 1);
    assert_int_equal(build(400, from), 1);
    assert_int_equal(taken[0].node, 2);
    assert_int_equal(taken[0].hlc, 40);
    assert_int_equal(from[0], 100);
    assert_int_equal(from[1], 400);
    assert_false(step(0)); /* It is under way. */
    assert_int_equal(begin(0), 50);
    /* What it stamped comes in the same walk, and, with the rest, in the next ones. */
    note(0, 2, 100, 450, 75);
    archive_tails_walked(&tails, 0, 500);
    stored(150, 400); /* An object has no more room. */
    assert_true(step(0));
    assert_int_equal(build(400, from), 1);
    assert_int_equal(from[0], 150);
    stored(500, 400);
    assert_false(step(0));
    assert_int_equal(archive_tails_taken(&tails), 0);
    assert_int_equal(begin(0), 50); /* Of the one that is not. */
    note(0, 2, 510, 510, 80);       /* Found by a walk that did not take it... */
    archive_tails_walked(&tails, 0, 600);
    assert_true(step(0)); /* ... so there is another one. */
    assert_int_equal(build(600, from), 1);
    assert_int_equal(from[0], 510);
    note(0, 2, 610, 620, 80);
    archive_tails_walked(&tails, 0, 700);
    stored(700, 600);
    assert_false(step(0));
    assert_int_equal(archive_tails_taken(&tails), 0);
}

/* Who says nothing new for too long is taken, and let go when it says more. Who says something now and then is not, however
 * much it is behind; nobody is while this node's archive is away. */
static void test_behind(void **state)
{
    uint64_t from[SHARDS];

    (void)state;
    note(1, 2, 100, 200, 70);
    for (uint64_t hlc = 1; hlc < 5; hlc++) {
        assert_false(step(BEHIND_MS - 1));
        assert_true(archive_tails_has(&tails, 2, hlc, now_ms));
    }
    now_ms += BEHIND_MS;
    assert_false(archive_tails_step(&tails, true, now_ms));
    assert_false(step(BEHIND_MS - 1));
    assert_true(step(1));
    assert_int_equal(build(300, from), 1);
    assert_int_equal(taken[0].hlc, 4);
    assert_int_equal(from[1], 100);
    assert_true(archive_tails_has(&tails, 2, 70, now_ms)); /* Meanwhile. */
    assert_int_equal(begin(1), 100);                       /* The walk is under way. */
    stored(300, 300);
    assert_int_equal(begin(1), 5000);
    assert_int_equal(build(300, from), 0);
    assert_int_equal(from[1], 300);
}

/* An object that is given up, and made anew: what was to be walked again still is. */
static void test_again(void **state)
{
    uint64_t from[SHARDS];

    (void)state;
    note(0, 2, 100, 200, 70);
    assert_true(step(BEHIND_MS));
    (void)build(300, from);
    assert_int_equal(build(300, from), 1);
    assert_int_equal(from[0], 100);
    stored(300, 300);
    assert_int_equal(build(300, from), 1);
    assert_int_equal(from[0], 300);
}

/* Marks are few: what comes at about the same time is one, and the last one takes what there is no room for. */
static void test_marks_are_bounded(void **state)
{
    (void)state;
    note(0, 2, 100, 100, 1);
    now_ms += MARK_MS - 1;
    note(0, 2, 200, 200, 2); /* The same mark. */
    assert_true(archive_tails_has(&tails, 2, 1, now_ms));
    assert_int_equal(begin(0), 100);
    for (uint64_t i = 3; i < 100; i++) {
        now_ms += MARK_MS;
        note(0, 2, i * 100, i * 100, i);
    }
    assert_true(archive_tails_has(&tails, 2, 2, now_ms));
    assert_int_equal(begin(0), 300);
    assert_true(archive_tails_has(&tails, 2, 98, now_ms));
    assert_int_equal(begin(0), 900); /* The eighth: its newest is the last of all. */
    assert_true(archive_tails_has(&tails, 2, 99, now_ms));
    assert_int_equal(begin(0), 5000);
}

/* Numbers of nodes are never given again: those that are of no more use make room. */
static void test_nodes_are_bounded(void **state)
{
    const struct archive_feed_note one_more = {
        .node = 1000, .first_lsn = 1, .last_lsn = 1, .newest_hlc = 2};

    (void)state;
    for (uint32_t i = 0; i < ARCHIVE_TAILS_NODES_MAX; i++) {
        assert_true(archive_tails_has(&tails, 2 + i, 1, now_ms));
    }
    assert_int_equal(archive_tails_note(&tails, &one_more, now_ms), -ENOSPC);
    note(0, tails.nodes[7].node, 5, 5, 2);
    archive_tails_down(&tails, 7, true); /* Something of it is marked. */
    assert_int_equal(archive_tails_note(&tails, &one_more, now_ms), -ENOSPC);
    archive_tails_down(&tails, 8, true);
    assert_int_equal(archive_tails_note(&tails, &one_more, now_ms), 0);
    assert_false(archive_tails_has(&tails, 1001, 1, now_ms));
}

static void test_without_memory(void **state)
{
    const struct archive_feed_note found = {
        .node = 2, .first_lsn = 1, .last_lsn = 1, .newest_hlc = 2};

    (void)state;
    memory.fail_at = 1;
    assert_int_equal(archive_tails_note(&tails, &found, now_ms), -ENOMEM);
    memory.fail_at = 0;
    assert_int_equal(archive_tails_note(&tails, &found, now_ms), 0);
}

/* What a node knows goes to the others, also of third ones. */
static void test_message(void **state)
{
    const struct archive_tails_settings settings = {.shard_count = 1, .self = 9};
    static struct archive_tails other;
    struct buffer message = {.memory = &memory.memory};

    (void)state;
    archive_tails_own(&tails, 0, 50);
    assert_int_equal(archive_tails_own_hlc(&tails), 0); /* Not of all shards. */
    archive_tails_own(&tails, 1, 40);
    archive_tails_own(&tails, 1, 30);
    assert_int_equal(archive_tails_own_hlc(&tails), 40);
    archive_tails_has(&tails, 9, 77, now_ms);
    archive_tails_has(&tails, 300, UINT64_C(1) << 63, now_ms);
    archive_tails_has(&tails, SELF, 1, now_ms);
    archive_tails_has(&tails, ADOPT_NODES, 1, now_ms);
    assert_int_equal(archive_tails_put(&tails, &message), 0);
    static const uint8_t golden[] = {1, 3, 1, 40, 0, 0,    0, 0, 0, 0, 0, 9, 77, 0, 0,
                                     0, 0, 0, 0,  0, 0xac, 2, 0, 0, 0, 0, 0, 0,  0, 0x80};
    assert_int_equal(message.size, sizeof golden);
    assert_memory_equal(message.data, golden, sizeof golden);

    archive_tails_init(&other, &memory.memory, &settings);
    for (size_t size = 0; size < message.size; size++) {
        assert_int_equal(archive_tails_take(&other, bytes_of(message.data, size), now_ms),
                         -EBADMSG);
    }
    assert_int_equal(other.node_count, 0);
    assert_int_equal(archive_tails_take(&other, buffer_bytes(&message), now_ms), 0);
    assert_int_equal(other.node_count, 2); /* Without itself. */
    assert_int_equal(other.nodes[0].node, SELF);
    assert_int_equal(other.nodes[0].has_hlc, 40);
    assert_int_equal(other.nodes[1].node, 300);
    message.data[0]++;
    assert_int_equal(archive_tails_take(&other, buffer_bytes(&message), now_ms), -EBADMSG);
    archive_tails_fini(&other);
    buffer_fini(&message);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_confirmed, setup, teardown),
        cmocka_unit_test_setup_teardown(test_down, setup, teardown),
        cmocka_unit_test_setup_teardown(test_behind, setup, teardown),
        cmocka_unit_test_setup_teardown(test_again, setup, teardown),
        cmocka_unit_test_setup_teardown(test_marks_are_bounded, setup, teardown),
        cmocka_unit_test_setup_teardown(test_nodes_are_bounded, setup, teardown),
        cmocka_unit_test_setup_teardown(test_without_memory, setup, teardown),
        cmocka_unit_test_setup_teardown(test_message, setup, teardown),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
