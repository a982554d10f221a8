/* When the log goes to the archive, how far it is there, and an archive that is away: the archiver with a fake world. */
#include "archiver.h"

#include <errno.h>

#include "check.h"

enum { SHARDS = 2 };

static struct world {
    struct archiver_port port;
    struct archiver archiver;
    uint64_t now_ms;
    uint32_t builds, stores, passes, keeps, aways, backs, alarms, probes;
    uint32_t told,
        lost_at; /* How often it was told how far it is, and when that some is lost: 1 + that. */
    uint64_t sequence; /* Of the last build. */
    bool anew, bare;
    uint64_t archived[SHARDS];
} world;

static void on_build(struct archiver_port *port, uint64_t sequence, bool anew, bool bare)
{
    (void)port;
    world.builds++;
    world.sequence = sequence;
    world.anew = anew;
    world.bare = bare;
}

static void on_store(struct archiver_port *port)
{
    (void)port;
    world.stores++;
}

static void on_passed(struct archiver_port *port)
{
    (void)port;
    world.passes++;
}

static void on_lost(struct archiver_port *port)
{
    (void)port;
    assert_int_equal(world.lost_at, 0);
    world.lost_at = 1 + world.told;
}

static void on_archived(struct archiver_port *port, uint32_t shard, uint64_t lsn)
{
    (void)port;
    assert_true(lsn > world.archived[shard]);
    world.archived[shard] = lsn;
    world.told++;
}

static void on_keep(struct archiver_port *port)
{
    (void)port;
    world.keeps++;
    world.told++;
}

static void on_away(struct archiver_port *port, const char *text)
{
    (void)port;
    world.aways += text != NULL;
    world.backs += text == NULL;
}

static void on_probe(struct archiver_port *port)
{
    (void)port;
    world.probes++;
}

static void on_alarm(struct archiver_port *port, const char *text)
{
    (void)port;
    assert_non_null(text);
    world.alarms++;
}

static const struct archiver_settings settings = {
    .shard_count = SHARDS,
    .flush_ms = 5000,
    .object_bytes = 1000,
    .keep_ms = 1000,
    .slow_ms = 3000,
    .gather_ms_max = 20,
    .pause_ms = 100,
    .pause_max_ms = 400,
};

static void begin(void)
{
    world = (struct world){.port = {.build = on_build,
                                    .store = on_store,
                                    .passed = on_passed,
                                    .lost = on_lost,
                                    .archived = on_archived,
                                    .keep = on_keep,
                                    .away = on_away,
                                    .probe = on_probe,
                                    .alarm = on_alarm},
                           .now_ms = 1000000};
    archiver_init(&world.archiver, &settings, &world.port, 7, world.now_ms);
    for (uint32_t i = 0; i < SHARDS; i++) {
        archiver_begin(&world.archiver, i, 100, 100);
        world.archived[i] = 100;
    }
}

static uint64_t step(uint64_t later_ms)
{
    world.now_ms += later_ms;
    return archiver_step(&world.archiver, world.now_ms);
}

static void reach(uint32_t shard, uint64_t wanted, uint64_t durable)
{
    archiver_reach(&world.archiver, shard, wanted, durable, durable);
}

/* The object has the log up to there. */
static void built(uint64_t first, uint64_t second, uint64_t records)
{
    const uint64_t to[SHARDS] = {first, second}, needs[SHARDS] = {0};
    const struct archiver_built what = {.to = to,
                                        .needs = needs,
                                        .records = records,
                                        .raw_bytes = 10 * records,
                                        .object_bytes = 4 * records};

    archiver_built(&world.archiver, &what, world.now_ms);
}

static void stored_in(int rc, uint64_t took_us)
{
    archiver_stored(&world.archiver, rc, rc == 0 ? "" : "why", world.now_ms, took_us);
}

static void stored(int rc)
{
    stored_in(rc, 1000);
}

static void test_flush_interval(void **state)
{
    (void)state;
    begin();
    step(10000);
    assert_int_equal(world.builds, 0); /* There is nothing. */
    reach(0, 0, 200);
    step(0);
    assert_int_equal(world.builds, 1); /* The interval had passed long since. */
    assert_int_equal(world.sequence, 7);
    built(200, 100, 3);
    assert_int_equal(world.stores, 1);
    assert_int_equal(world.archived[0], 100); /* Not before it is stored. */
    stored(0);
    assert_int_equal(world.archived[0], 200);
    assert_int_equal(world.archived[1], 100);
    reach(1, 0, 150);
    step(4999);
    assert_int_equal(world.builds, 1);
    assert_int_equal(world.keeps, 1); /* Meanwhile what it had was kept. */
    archiver_kept(&world.archiver, 0, world.now_ms);
    assert_true(step(0) <= 1);
    step(1);
    assert_int_equal(world.builds, 2);
    assert_int_equal(world.sequence, 8);
}

static void test_at_once_where_wanted_or_large(void **state)
{
    (void)state;
    begin();
    reach(0, 0, 150);
    step(1);
    assert_int_equal(world.builds, 0);
    reach(0, 120, 150);
    step(1);
    assert_int_equal(world.builds, 1);
    reach(0, 160, 160); /* Came while it was made: the next one, as soon as this is stored. */
    built(150, 100, 1);
    step(1);
    assert_int_equal(world.builds, 1);
    stored(0);
    step(0);
    assert_int_equal(world.builds, 2);
    built(160, 100, 1);
    stored(0);
    step(0);
    assert_int_equal(world.builds, 2);
    reach(0, 0, 660);
    reach(1, 0, 599);
    step(1);
    assert_int_equal(world.builds, 2); /* 999 bytes. */
    reach(1, 0, 600);
    step(1);
    assert_int_equal(world.builds, 3);
}

/* It has sessions as they were in memory, of which the log is not durable yet: until then, and whatever fails meanwhile. */
static void test_memory_waits_for_log(void **state)
{
    const uint64_t to[SHARDS] = {200, 100}, needs[SHARDS] = {0, 180};
    const struct archiver_built what = {.to = to, .needs = needs, .records = 1};

    (void)state;
    begin();
    reach(0, 0, 200);
    reach(1, 0, 100);
    step(5000);
    archiver_reach(&world.archiver, 1, 0, 179, 180);
    archiver_built(&world.archiver, &what, world.now_ms);
    assert_int_equal(world.stores, 0);
    assert_true(step(0) <= 2);
    assert_true(step(1000) <= 2);
    assert_int_equal(world.stores, 0);
    assert_int_equal(world.builds, 1);
    reach(1, 0, 180);
    step(2);
    assert_int_equal(world.stores, 1);
    stored(-EIO);
    step(100);
    assert_int_equal(world.stores, 2);
    stored(0);
    assert_int_equal(world.archived[0], 200);
    step(1000);
    archiver_kept(&world.archiver, 0, world.now_ms);
    reach(1, 0, 300);
    step(5000);
    built(200, 300, 1); /* It needs nothing more. */
    assert_int_equal(world.stores, 3);
}

/* What others stamped is to go: at once, though there is nothing new. */
static void test_tails(void **state)
{
    (void)state;
    begin();
    step(1);
    archiver_tails(&world.archiver, true);
    step(1);
    assert_int_equal(world.builds, 1);
    built(60, 100, 3); /* It came up to there. */
    stored(0);
    assert_int_equal(world.archived[0], 100);
    step(1);
    assert_int_equal(world.builds, 2);
    built(100, 100, 0);
    archiver_tails(&world.archiver, false);
    step(1);
    assert_int_equal(world.builds, 2);
    assert_int_equal(world.keeps, 0);
}

/* So many writes wait for log up to there, since the start. */
static void asked(uint64_t lsn, uint64_t writes)
{
    reach(0, lsn, lsn);
    archiver_asked(&world.archiver, writes);
}

/* The last object had 3 writes, 5 more came while it was stored, which took 40 ms. */
static void begin_group(void)
{
    begin();
    asked(103, 3);
    step(1);
    built(103, 100, 3);
    asked(108, 8);
    step(1);
    assert_int_equal(world.builds, 1);
    stored_in(0, 40000);
}

static void test_writes_gather(void **state)
{
    (void)state;
    begin_group();
    assert_int_equal(step(0), 13); /* A quarter of 40 ms, and three. */
    asked(110, 10);
    step(5);
    assert_int_equal(world.builds, 1);
    asked(111, 11); /* All 8 are there. */
    step(1);
    assert_int_equal(world.builds, 2);
    built(111, 100, 8);
    stored_in(0, 40000);
    asked(118, 18); /* One came no more: the others wait for it once... */
    step(12);
    assert_int_equal(world.builds, 2);
    step(1);
    assert_int_equal(world.builds, 3);
    built(118, 100, 7);
    stored_in(0, 40000);
    asked(125, 25); /* ... and from then on are as many as they are. */
    step(0);
    assert_int_equal(world.builds, 4);
    built(125, 100, 7);
    stored_in(0, 2000000);
    assert_int_equal(step(0), 20); /* The most that they wait. */
    asked(126, 26);
    archiver_end(&world.archiver);
    step(0);
    assert_int_equal(world.builds, 5);
}

/* One after the other of one client, those of lower levels, and those whose store is fast do not wait for more. */
static void test_what_does_not_gather(void **state)
{
    (void)state;
    begin();
    for (uint64_t i = 1; i <= 3; i++) {
        asked(100 + i, i);
        step(0);
        assert_int_equal(world.builds, i);
        built(100 + i, 100, 1);
        stored_in(0, 40000);
        step(0);
        assert_int_equal(world.builds, i);
    }
    begin_group();
    reach(0, 108, 1103); /* As much as an object takes. */
    step(0);
    assert_int_equal(world.builds, 2);
    begin();
    asked(103, 3);
    step(0);
    built(103, 100, 3);
    asked(105, 5);
    stored_in(0, 1999);
    step(0);
    assert_int_equal(world.builds, 2);
}

/* What none of it goes out of needs no object. */
static void test_nothing_of_it_goes(void **state)
{
    (void)state;
    begin();
    reach(0, 300, 300);
    step(1);
    built(300, 100, 0);
    assert_int_equal(world.stores, 0);
    assert_int_equal(world.passes, 1);
    assert_int_equal(world.archived[0], 300);
    reach(0, 310, 310);
    step(1);
    assert_int_equal(world.sequence, 7); /* The name was not given. */
}

static void test_away_and_back(void **state)
{
    (void)state;
    begin();
    reach(0, 200, 200);
    step(1);
    built(200, 100, 2);
    for (uint32_t tries = 1; tries <= 6; tries++) {
        stored(-ETIMEDOUT);
        assert_int_equal(world.aways, 1);
        assert_true(world.archiver.away_ms != 0);
        reach(0, 0, 200 + 500 * tries); /* More comes: it waits behind this one. */
        uint64_t wait_ms = step(0);
        assert_int_equal(wait_ms, tries == 1 ? 100 : tries == 2 ? 200 : 400);
        assert_int_equal(world.stores, tries);
        step(wait_ms);
        assert_int_equal(world.stores, tries + 1);
    }
    assert_int_equal(world.builds, 1); /* The same bytes each time. */
    assert_string_equal(world.archiver.text, "why");
    assert_true(archiver_behind_ms(&world.archiver, world.now_ms) >= 100 + 200 + 4 * 400);
    assert_int_equal(archiver_behind_bytes(&world.archiver), 100 + 6 * 500);
    stored(0);
    assert_int_equal(world.backs, 1);
    assert_true(world.archiver.away_ms == 0);
    assert_int_equal(world.archived[0], 200);
    step(1);
    archiver_kept(&world.archiver, 0, world.now_ms);
    step(0);
    assert_int_equal(world.builds, 2);
    assert_false(world.anew);
    assert_int_equal(world.archiver.figures.failures, 6);
}

/* A store that neither takes it nor says no is away as well. */
static void test_slow(void **state)
{
    (void)state;
    begin();
    reach(0, 200, 200);
    step(1);
    built(200, 100, 2);
    step(2999);
    assert_int_equal(world.aways, 0);
    step(1);
    assert_int_equal(world.aways, 1);
    step(5000);
    assert_int_equal(world.aways, 1);
    assert_int_equal(world.archiver.figures.failures, 0);
    stored(0);
    assert_int_equal(world.backs, 1);
}

/* A name that is taken is an alarm; what is there stays, and the object is made anew under the next one. */
static void test_name_is_taken(void **state)
{
    (void)state;
    begin();
    reach(0, 200, 200);
    step(1);
    built(200, 100, 2);
    stored(-EEXIST);
    assert_int_equal(world.alarms, 1);
    assert_int_equal(world.builds, 2);
    assert_int_equal(world.sequence, 8);
    assert_true(world.anew);
    built(200, 100, 2);
    stored(0);
    assert_int_equal(world.archived[0], 200);
    reach(0, 210, 210);
    step(1);
    assert_int_equal(world.sequence, 9);
    assert_false(world.anew);
}

static void test_building_fails(void **state)
{
    (void)state;
    begin();
    reach(0, 200, 200);
    step(1);
    const struct archiver_built nothing = {.rc = -EAGAIN};
    archiver_built(&world.archiver, &nothing, world.now_ms);
    assert_int_equal(world.aways,
                     0); /* Sessions are still being loaded: no fault of the archive. */
    step(step(0));
    assert_int_equal(world.builds, 2);
    const struct archiver_built failed = {.rc = -EIO};
    archiver_built(&world.archiver, &failed, world.now_ms);
    assert_int_equal(world.aways, 1);
    step(step(0));
    assert_int_equal(world.builds, 3);
    assert_true(world.anew);
    built(200, 100, 1);
    stored(0);
    assert_int_equal(world.backs, 1);
}

/* Something of the log up to there is missing. */
static void built_with_gap(uint64_t first, uint64_t records)
{
    const uint64_t to[SHARDS] = {first, 100}, needs[SHARDS] = {0};
    const struct archiver_built what = {
        .to = to, .needs = needs, .records = records, .gap_bytes = 1234};

    archiver_built(&world.archiver, &what, world.now_ms);
}

/* Before it is told, or kept, that the archive has what lies around it. */
static void test_gap_is_told(void **state)
{
    (void)state;
    begin();
    reach(0, 0, 5000);
    step(1);
    built_with_gap(5000, 1);
    built(100, 100, 0); /* The one without records. */
    stored(0);
    built_with_gap(5000, 1);
    assert_int_equal(world.lost_at, 0);
    assert_int_equal(world.archived[0], 100);
    stored(0);
    assert_int_equal(world.alarms, 1);
    assert_int_equal(world.archiver.figures.gap_bytes, 1234);
    assert_int_equal(world.lost_at, 1);
    assert_int_equal(world.archived[0], 5000);
    assert_int_equal(world.told, 1);
    step(1000);
    assert_int_equal(world.keeps, 1);
}

/* Between an object without records and the one that follows the loss a number is missing, whatever fails meanwhile; once. */
static void test_gap_leaves_a_number_out(void **state)
{
    const struct archiver_built busy = {.rc = -EAGAIN};

    (void)state;
    begin();
    reach(0, 0, 5000);
    step(1);
    assert_false(world.bare);
    built_with_gap(3000, 1);
    assert_int_equal(world.stores, 0);
    assert_int_equal(world.builds, 2);
    assert_true(world.bare);
    assert_int_equal(world.sequence, 7);
    built(100, 100, 0);
    assert_int_equal(world.stores, 1);
    stored(-EEXIST);
    assert_true(world.bare);
    assert_int_equal(world.sequence, 8);
    built(100, 100, 0);
    stored(-EIO);
    step(step(0));
    assert_int_equal(world.builds, 3);
    stored(0);
    assert_int_equal(world.archived[0], 100);
    assert_int_equal(world.builds, 4);
    assert_false(world.bare);
    assert_true(world.anew); /* What was made before the object without records is nowhere. */
    assert_int_equal(world.sequence, 10);
    archiver_built(&world.archiver, &busy, world.now_ms);
    step(step(0));
    assert_int_equal(world.sequence, 10);
    built_with_gap(3000, 0); /* Nothing of it goes: the number is left out all the same. */
    assert_int_equal(world.passes, 1);
    assert_int_equal(world.lost_at, 1);
    assert_int_equal(world.archived[0], 3000);
    reach(0, 0, 6000);
    step(1000);
    archiver_kept(&world.archiver, 0, world.now_ms);
    step(0);
    assert_int_equal(world.sequence, 10);
    world.lost_at = 0;
    built_with_gap(6000, 1); /* Another one. */
    assert_true(world.bare);
    built(100, 100, 0);
    stored(0);
    assert_int_equal(world.sequence, 12);
    built_with_gap(6000, 1);
    stored(0);
    assert_int_equal(world.archived[0], 6000);
}

static void test_kept_again_where_it_failed(void **state)
{
    (void)state;
    begin();
    reach(0, 200, 200);
    step(1);
    built(200, 100, 1);
    stored(0);
    step(1000);
    assert_int_equal(world.keeps, 1);
    archiver_kept(&world.archiver, -ENOSPC, world.now_ms);
    step(999);
    assert_int_equal(world.keeps, 1);
    step(1);
    assert_int_equal(world.keeps, 2);
    archiver_kept(&world.archiver, 0, world.now_ms);
    step(5000);
    assert_int_equal(world.keeps, 2); /* Nothing has moved since. */
}

static void test_end(void **state)
{
    (void)state;
    begin();
    reach(1, 0, 130);
    step(1);
    assert_int_equal(world.builds, 0);
    archiver_end(&world.archiver);
    step(0);
    assert_int_equal(world.builds, 1);
    built(100, 130, 1);
    stored(0);
    assert_false(archiver_is_done(&world.archiver));
    step(0);
    assert_int_equal(world.keeps, 1); /* Without waiting for its time. */
    archiver_kept(&world.archiver, 0, world.now_ms);
    assert_true(archiver_is_done(&world.archiver));
}

/* The age of what is not archived: not that of the node's idleness before it. */
static void test_age(void **state)
{
    (void)state;
    begin();
    step(60000);
    assert_int_equal(archiver_behind_ms(&world.archiver, world.now_ms), 0);
    archiver_reach(&world.archiver, 0, 0, 100, 140); /* Appended, and not durable. */
    world.now_ms += 300;
    assert_int_equal(archiver_behind_ms(&world.archiver, world.now_ms), 300);
    reach(0, 140, 140);
    step(0);
    world.now_ms += 50;
    archiver_reach(&world.archiver, 0, 0, 150, 150);
    built(140, 100, 1);
    stored(0);
    assert_int_equal(archiver_behind_ms(&world.archiver, world.now_ms),
                     50); /* Since it was begun. */
}

/* What an object leaves is as old as before: when it was appended, not when the object was begun. */
static void test_age_of_what_is_left(void **state)
{
    (void)state;
    begin();
    reach(0, 0, 1100);
    step(10);
    assert_int_equal(world.builds, 1);
    for (uint64_t i = 1; i <= 200; i++) { /* It takes long. */
        reach(0, 0, 1100 + 100 * i);
        step(1000);
    }
    built(1100, 100, 1);
    stored(0);
    uint64_t age_ms = archiver_behind_ms(&world.archiver, world.now_ms);
    assert_in_range(age_ms, 199000, 200010);
    step(0);
    archiver_kept(&world.archiver, 0, world.now_ms);
    step(0);
    built(11100, 100, 1); /* Half of it. */
    stored(0);
    age_ms = archiver_behind_ms(&world.archiver, world.now_ms);
    assert_in_range(age_ms, 99000, 99000 + 200000 / 8);
    step(0);
    reach(0, 0, 21200); /* Appended, and not durable, when the next one was begun. */
    step(10);
    built(21100, 100, 1);
    stored(0);
    age_ms = archiver_behind_ms(&world.archiver, world.now_ms);
    assert_in_range(age_ms, 10, 10 + 200000 / 8);
}

/* One that was away at the start, or is so with nothing left to store, is asked until it is back. */
static void test_asked_whether_it_is_back(void **state)
{
    (void)state;
    begin();
    archiver_trouble(&world.archiver, "it was silent", world.now_ms);
    assert_int_equal(world.aways, 1);
    step(399);
    assert_int_equal(world.probes, 0);
    step(1);
    step(5000);
    assert_int_equal(world.probes, 1); /* One at a time. */
    archiver_probed(&world.archiver, -EIO, "still so", world.now_ms);
    assert_string_equal(world.archiver.text, "still so");
    assert_int_equal(world.aways, 1);
    step(399);
    assert_int_equal(world.probes, 1);
    step(1);
    assert_int_equal(world.probes, 2);
    archiver_probed(&world.archiver, 0, "", world.now_ms);
    assert_int_equal(world.backs, 1);
    assert_int_equal(world.archiver.away_ms, 0);
    step(100000);
    assert_int_equal(world.probes, 2);
}

/* What is to be stored tells by itself, and counts for more: that it is listed does not say that it takes anything. */
static void test_not_asked_beside_objects(void **state)
{
    (void)state;
    begin();
    archiver_trouble(&world.archiver, "it was silent", world.now_ms);
    step(400);
    assert_int_equal(world.probes, 1);
    reach(0, 200, 200);
    step(0); /* The question holds up nothing. */
    built(200, 100, 3);
    assert_int_equal(world.stores, 1);
    archiver_probed(&world.archiver, 0, "", world.now_ms);
    assert_int_equal(world.backs, 0);
    stored(-EIO);
    step(50);
    assert_int_equal(world.probes, 1);
    step(5000);
    assert_int_equal(world.stores, 2);
    assert_int_equal(world.probes, 1);
    stored(0);
    assert_int_equal(world.backs, 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_flush_interval),
        cmocka_unit_test(test_at_once_where_wanted_or_large),
        cmocka_unit_test(test_memory_waits_for_log),
        cmocka_unit_test(test_tails),
        cmocka_unit_test(test_writes_gather),
        cmocka_unit_test(test_what_does_not_gather),
        cmocka_unit_test(test_nothing_of_it_goes),
        cmocka_unit_test(test_away_and_back),
        cmocka_unit_test(test_slow),
        cmocka_unit_test(test_name_is_taken),
        cmocka_unit_test(test_building_fails),
        cmocka_unit_test(test_gap_is_told),
        cmocka_unit_test(test_gap_leaves_a_number_out),
        cmocka_unit_test(test_kept_again_where_it_failed),
        cmocka_unit_test(test_end),
        cmocka_unit_test(test_age),
        cmocka_unit_test(test_age_of_what_is_left),
        cmocka_unit_test(test_asked_whether_it_is_back),
        cmocka_unit_test(test_not_asked_beside_objects),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
