/* What others stamped: marked, let go as they say that it is archived, and taken where they do not. */
#include "archive_tails.h"

#include <errno.h>

#include "adopt.h"
#include "check.h"

enum { SHARDS = 2, SELF = 1, BEHIND_MS = 10000, MARK_MS = 2500 };

static struct test_memory memory;
static struct archive_tails tails;
static uint64_t now_ms;
static struct archive_feed_taken taken[ARCHIVE_TAILS_TAKEN_MAX];

static int setup(void **state)
{
    const struct archive_tails_settings settings = {
        .shard_count = SHARDS, .self = {SELF, 4}, .behind_ms = BEHIND_MS, .mark_ms = MARK_MS};

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

/* Of the third life of a node, where nothing else is said. */
static struct actor third(uint32_t node)
{
    return (struct actor){node, 3};
}

static bool has(uint32_t node, uint64_t hlc)
{
    return archive_tails_has(&tails, third(node), hlc, now_ms);
}

static void note(uint32_t shard, uint32_t node, uint64_t first, uint64_t last, uint64_t hlc)
{
    const struct archive_feed_note found = {.shard = shard,
                                            .actor = third(node),
                                            .first_lsn = first,
                                            .last_lsn = last,
                                            .newest_hlc = hlc};

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
    assert_true(has(2, 69)); /* Some of the first mark may be missing. */
    assert_int_equal(begin(0), 100);
    assert_int_equal(begin(1), 130);
    assert_false(has(2, 69));
    assert_true(has(2, 70));
    assert_int_equal(begin(0), 5000);
    assert_true(has(3, 65));
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
    has(2, 40);
    note(0, 2, 100, 200, 70);
    note(0, 3, 50, 60, 70);
    archive_tails_walked(&tails, 0, 300);
    archive_tails_down(&tails, 0, true);
    assert_true(step(0));
    assert_int_equal(archive_tails_taken(&tails), 1);
    assert_int_equal(build(400, from), 1);
    assert_int_equal(taken[0].actor.node, 2);
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
        assert_true(has(2, hlc));
    }
    now_ms += BEHIND_MS;
    assert_false(archive_tails_step(&tails, true, now_ms));
    assert_false(step(BEHIND_MS - 1));
    assert_true(step(1));
    assert_int_equal(build(300, from), 1);
    assert_int_equal(taken[0].hlc, 4);
    assert_int_equal(from[1], 100);
    assert_true(has(2, 70));         /* Meanwhile. */
    assert_int_equal(begin(1), 100); /* The walk is under way. */
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
    assert_true(has(2, 1));
    assert_int_equal(begin(0), 100);
    for (uint64_t i = 3; i < 100; i++) {
        now_ms += MARK_MS;
        note(0, 2, i * 100, i * 100, i);
    }
    assert_true(has(2, 2));
    assert_int_equal(begin(0), 300);
    assert_true(has(2, 98));
    assert_int_equal(begin(0), 900); /* The eighth: its newest is the last of all. */
    assert_true(has(2, 99));
    assert_int_equal(begin(0), 5000);
}

/* What another life says does not tell of what this one lost: that is taken at once, and what comes of it later. */
static void test_lives(void **state)
{
    const struct archive_feed_note old = {
        .shard = 1, .actor = {2, 2}, .first_lsn = 350, .last_lsn = 350, .newest_hlc = 500};
    uint64_t from[SHARDS];

    (void)state;
    has(2, 60);
    note(0, 2, 100, 200, 70);
    note(0, 3, 120, 120, 70);
    archive_tails_walked(&tails, 0, 300);
    assert_false(step(1));
    assert_true(archive_tails_has(&tails, (struct actor){2, 4}, 1000, now_ms));
    assert_int_equal(begin(0), 100);
    assert_true(step(0));
    assert_int_equal(archive_tails_taken(&tails), 1);
    assert_int_equal(build(300, from), 1);
    assert_int_equal(actor_compare(taken[0].actor, third(2)), 0);
    assert_int_equal(taken[0].hlc, 60);
    assert_int_equal(from[0], 100);
    stored(300, 300);
    assert_int_equal(begin(0), 120); /* Of the other one. */
    /* Of a life still before that, of which it is known already that it is over. */
    assert_int_equal(archive_tails_note(&tails, &old, now_ms), 0);
    archive_tails_walked(&tails, 1, 400);
    assert_true(step(0));
    assert_int_equal(build(400, from), 2);
    assert_int_equal(from[1], 350);
    stored(400, 400);
    assert_int_equal(begin(1), 5000);
    assert_int_equal(archive_tails_taken(&tails), 0);
    /* Of the last one, which says what it has. */
    const struct archive_feed_note last = {
        .shard = 1, .actor = {2, 4}, .first_lsn = 450, .last_lsn = 450, .newest_hlc = 1001};
    assert_int_equal(archive_tails_note(&tails, &last, now_ms), 0);
    assert_false(step(1));
    assert_int_equal(begin(1), 450);
    assert_true(archive_tails_has(&tails, (struct actor){2, 4}, 1001, now_ms));
    assert_int_equal(begin(1), 5000);
}

/* A life that is found in the log has begun as well as one that says something. */
static void test_life_that_is_found(void **state)
{
    const struct archive_feed_note next = {
        .shard = 0, .actor = {2, 4}, .first_lsn = 250, .last_lsn = 250, .newest_hlc = 80};

    (void)state;
    note(0, 2, 100, 200, 70);
    assert_false(step(0));
    assert_int_equal(archive_tails_note(&tails, &next, now_ms), 0);
    assert_true(step(0));
    assert_int_equal(archive_tails_taken(&tails), 1);
}

/* How many nodes there were so far does not matter: those that are over make room. */
static void test_many_nodes(void **state)
{
    uint64_t from[SHARDS];
    uint32_t last = 2 + 5 * ARCHIVE_TAILS_ACTORS_MAX;

    (void)state;
    for (uint32_t i = 2; i < last; i++) {
        assert_true(has(i, 1));
        note(0, i, i, i, 2);
        for (uint32_t j = 0; j < tails.actor_count; j++) {
            archive_tails_down(&tails, j, true);
        }
        assert_true(step(0));
        assert_true(build(i + 1, from) > 0);
        assert_int_equal(from[0], i);
        stored(i + 1, i + 1);
        archive_tails_walked(&tails, 0, i + 1);
    }
    assert_int_equal(tails.actor_count, ARCHIVE_TAILS_ACTORS_MAX);
    assert_int_equal(archive_tails_taken(&tails), 0);
    assert_int_equal(begin(0), 5000);
}

static bool is_in(uint32_t count, struct actor actor)
{
    for (uint32_t i = 0; i < count; i++) {
        if (actor_compare(taken[i].actor, actor) == 0) {
            return true;
        }
    }
    return false;
}

/* More of them at a time than there is room for: what is of the rest is taken at once, and the log is kept for it. */
static void test_rest(void **state)
{
    const struct actor nobody = {0, 0};
    uint64_t from[SHARDS];

    (void)state;
    for (uint32_t i = 0; i < ARCHIVE_TAILS_ACTORS_MAX; i++) {
        note(0, 2 + i, 1000 + i, 1000 + i, 2);
    }
    note(1, 2000, 400, 500, 2);
    note(1, 2001, 450, 550, 3);
    archive_tails_walked(&tails, 0, 2000);
    archive_tails_walked(&tails, 1, 600);
    assert_int_equal(begin(1), 400);
    assert_false(has(2001, 9)); /* Less is known than is true. */
    assert_int_equal(begin(1), 400);
    assert_true(step(0));
    assert_int_equal(build(3000, from), 1);
    assert_true(is_in(1, nobody));
    assert_int_equal(from[1], 400);
    stored(3000, 500);
    assert_true(step(0)); /* Not all of it went. */
    assert_int_equal(build(3000, from), 1);
    assert_int_equal(from[1], 500);
    stored(3000, 3000);
    archive_tails_walked(&tails, 1, 3000);
    assert_int_equal(begin(1), 5000);
    assert_int_equal(archive_tails_taken(&tails), 0);
    /* No more of it: nothing of others is taken. Where there is, each in the table counts for itself. */
    assert_false(step(0));
    assert_int_equal(build(3000, from), 0);
    note(1, 2000, 3100, 3100, 4);
    archive_tails_down(&tails, 0, true);
    assert_true(step(0));
    assert_int_equal(build(4000, from), 2);
    assert_true(is_in(2, nobody) && is_in(2, third(2)));
    stored(4000, 4000);
    note(1, 2002, 4100, 4100, 5); /* There is room again: it is one of its own. */
    assert_false(step(0));
    assert_true(has(2002, 5));
    assert_int_equal(begin(1), 5000);
}

static void test_without_memory(void **state)
{
    const struct archive_feed_note found = {
        .actor = {2, 3}, .first_lsn = 1, .last_lsn = 1, .newest_hlc = 2};

    (void)state;
    memory.fail_at = 1;
    assert_int_equal(archive_tails_note(&tails, &found, now_ms), -ENOMEM);
    memory.fail_at = 0;
    assert_int_equal(archive_tails_note(&tails, &found, now_ms), 0);
}

/* What a node knows goes to the others, also of third ones. */
static void test_message(void **state)
{
    const struct archive_tails_settings settings = {.shard_count = 1, .self = {9, 1}};
    static struct archive_tails other;
    struct buffer message = {.memory = &memory.memory};

    (void)state;
    archive_tails_own(&tails, 0, 50);
    assert_int_equal(archive_tails_own_hlc(&tails), 0); /* Not of all shards. */
    archive_tails_own(&tails, 1, 40);
    archive_tails_own(&tails, 1, 30);
    assert_int_equal(archive_tails_own_hlc(&tails), 40);
    has(9, 77);
    has(300, UINT64_C(1) << 63);
    has(SELF, 1);
    has(ADOPT_NODES, 1);
    assert_int_equal(archive_tails_put(&tails, &message), 0);
    static const uint8_t golden[] = {2, 3, 1, 4, 40, 0,    0, 0, 0, 0, 0, 0, 9, 3, 77, 0,   0,
                                     0, 0, 0, 0, 0,  0xac, 2, 3, 0, 0, 0, 0, 0, 0, 0,  0x80};
    assert_int_equal(message.size, sizeof golden);
    assert_memory_equal(message.data, golden, sizeof golden);

    archive_tails_init(&other, &memory.memory, &settings);
    for (size_t size = 0; size < message.size; size++) {
        assert_int_equal(archive_tails_take(&other, bytes_of(message.data, size), now_ms),
                         -EBADMSG);
    }
    assert_int_equal(other.actor_count, 0);
    assert_int_equal(archive_tails_take(&other, buffer_bytes(&message), now_ms), 0);
    assert_int_equal(other.actor_count, 2); /* Without itself. */
    assert_int_equal(other.actors[0].actor.node, SELF);
    assert_int_equal(other.actors[0].has_hlc, 40);
    assert_int_equal(other.actors[0].actor.start, 4);
    assert_int_equal(other.actors[1].actor.node, 300);
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
        cmocka_unit_test_setup_teardown(test_lives, setup, teardown),
        cmocka_unit_test_setup_teardown(test_life_that_is_found, setup, teardown),
        cmocka_unit_test_setup_teardown(test_many_nodes, setup, teardown),
        cmocka_unit_test_setup_teardown(test_rest, setup, teardown),
        cmocka_unit_test_setup_teardown(test_without_memory, setup, teardown),
        cmocka_unit_test_setup_teardown(test_message, setup, teardown),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
