/* A slot from one first owner to the next: one coordinator at each time, and the new one begins with everything. */
#include "replication_private.h"
#include "replication_world.h"

#include <inttypes.h>

enum { SLOTS = 4, SEEDS = 30 };

static struct world world;
static struct slot_table table;
static uint64_t seed_now;
static const char *const keys[SLOTS] = {"a", "b", "c", "d"};

static struct world_unit *unit_of(uint32_t number, const char *key)
{
    return world_unit(&world, number, world_slot(key));
}

static enum route route(uint32_t number, const char *key, uint8_t flags, struct route_far *far)
{
    struct world_unit *unit = unit_of(number, key);

    return unit->r == NULL ? ROUTE_NOWHERE
                           : replication_route(unit->r, world_slot(key), flags, far);
}

static bool leads(uint32_t number, const char *key)
{
    struct route_far far;

    return route(number, key, 0, &far) == ROUTE_LOCAL;
}

static bool goes_to(uint32_t from, const char *key, uint32_t to)
{
    struct route_far far = {0};

    return route(from, key, 0, &far) == ROUTE_FAR && far.node == to && far.flags == 0;
}

static uint32_t leaders(const char *key)
{
    uint32_t count = 0;

    for (uint32_t number = 1; number <= world.node_count; number++) {
        count += world.nodes[number].up && leads(number, key);
    }
    return count;
}

/* A table in which these own the keys' slots, and are to; all others stay with 1 and 2. */
static void set_table(struct slot_owners owners, struct slot_owners targets)
{
    const struct slot_owners rest = {{1, 2}};

    world_owners(&world, &table, rest, rest);
    for (uint32_t i = 0; i < SLOTS; i++) {
        table.owners[world_slot(keys[i])] = owners;
        table.targets[world_slot(keys[i])] = targets;
    }
}

/* One node learns it. */
static void tell(uint32_t number, struct slot_owners owners)
{
    set_table(owners, owners);
    world_table(&world, number, &table);
}

/* Three nodes (or more), of which 1 and 2 own all, and 3 and 2 have it all, so that they may. */
static void begin(uint32_t nodes, uint32_t shards, uint64_t seed)
{
    seed_now = seed;
    world_init(&world, seed);
    for (uint32_t number = 1; number <= nodes; number++) {
        world_node(&world, number, shards);
    }
    world_wire(&world);
    set_table((struct slot_owners){{1, 2}}, (struct slot_owners){{3, 2}});
    world_tables(&world, &table);
    for (uint32_t i = 0; i < SLOTS; i++) {
        world_put(&world, 1, keys[i], "begun", "1");
    }
    world_until(&world, 20000, world_calm(&world) && unit_of(1, "a")->reported[world_slot("a")]);
    for (uint32_t i = 0; i < SLOTS; i++) {
        assert_true(leads(1, keys[i]) && goes_to(2, keys[i], 1) && goes_to(3, keys[i], 1));
    }
}

/* Has this node all writes of the key's slot? */
static void check_all_of(uint32_t number, const char *key)
{
    for (uint32_t i = 0; i < world.write_count; i++) {
        if (world.writes[i].slot == world_slot(key) &&
            !world_has(&world, unit_of(number, key), &world.writes[i])) {
            fail_msg("node %u coordinates %s without write %u", number, key, i);
        }
    }
}

/* One coordinator at most; he writes. */
static void step(uint32_t *writes)
{
    char value[16];

    world_step(&world);
    for (uint32_t i = 0; i < SLOTS; i++) {
        if (leaders(keys[i]) > 1) {
            fail_msg("seed %" PRIu64 ": %u coordinate %s", seed_now, leaders(keys[i]), keys[i]);
        }
        for (uint32_t number = 1; number <= world.node_count; number++) {
            if (leads(number, keys[i])) {
                check_all_of(number, keys[i]);
                snprintf(value, sizeof value, "%u", ++*writes);
                world_put(&world, number, keys[i], "n", value);
            }
        }
    }
}

static const struct slot_owners after = {{3, 2}};

/* Whoever has the map first: the slot stays where it is until both have it, then goes over, with all that was written. */
static void test_whoever_is_first(void **state)
{
    (void)state;
    for (int former_first = 0; former_first < 2; former_first++) {
        uint32_t writes = 0;
        begin(3, 1, 1);
        tell(former_first ? 1 : 3, after);
        for (int i = 0; i < 500; i++) {
            step(&writes);
            assert_true(leads(1, "a") && goes_to(3, "a", 1) && goes_to(2, "a", 1));
            assert_true(replication_is_switching(unit_of(former_first ? 1 : 3, "a")->r));
        }
        tell(2, after);
        assert_true(goes_to(2, "a", 3)); /* Who asks there is passed on. */
        assert_true(world_stats(&world, 1)->looked);
        tell(former_first ? 3 : 1, after);
        world_until(&world, 5, goes_to(1, "a", 3));
        assert_false(
            world_stats(&world, 1)->looked); /* What it has of it is not known to be a stray yet. */
        for (int i = 0; i < 15 && !leads(3, "a"); i++) { /* Of 0.2 ms. */
            step(&writes);
        }
        assert_true(leads(3, "a") && goes_to(1, "a", 3) && goes_to(2, "a", 3));
        assert_int_equal(world_stats(&world, 1)->slots_released, SLOTS);
        assert_int_equal(world_stats(&world, 3)->slots_taken, SLOTS);
        assert_int_equal(world_stats(&world, 1)->holds, 0);
        assert_false(replication_is_switching(unit_of(1, "a")->r));
        world_until(&world, 20000, world_calm(&world) && unit_of(1, "a")->count == 0);
        world_check_seen(&world);
        world_fini(&world);
    }
}

/* Maps that come in any order, late, on slow links: there is never a second coordinator, and none without all. */
static void test_random(void **state)
{
    (void)state;
    const char *one = getenv("BELAY_SWITCH_SEED");
    const uint64_t first = one == NULL ? 1 : strtoull(one, NULL, 10);
    for (uint64_t seed = first; seed <= (one == NULL ? SEEDS : first); seed++) {
        uint32_t writes = 0, known[4] = {0, 0, 0, 0}, steps = 0;
        const struct slot_owners maps[] = {{{1, 2}}, {{3, 2}}, {{2, 3}}, {{1, 2}}};
        const uint32_t last = 1 + (uint32_t)(seed % 3);
        begin(3, 1 + seed % 2, seed);
        world.delay_us = 50 + random_below(&world.random, 3000);
        world.jitter_us = random_below(&world.random, 2000);
        while (known[1] < last || known[2] < last || known[3] < last ||
               !leads(maps[last].nodes[0], "a") || !leads(maps[last].nodes[0], "d")) {
            const uint32_t number = 1 + random_below(&world.random, 3);
            if (known[number] < last && random_below(&world.random, 40) == 0) {
                known[number] += 1 + random_below(&world.random, last - known[number]);
                tell(number, maps[known[number]]);
            }
            step(&writes);
            if (++steps > 50000) {
                fail_msg("seed %" PRIu64 ": nobody has taken the slots", seed);
            }
        }
        world_until(&world, 30000, world_calm(&world));
        world_check_seen(&world);
        world_fini(&world);
    }
}

/* The former owner is lost before it lets go: the new one takes the slot as after any failure. */
static void test_former_owner_lost(void **state)
{
    (void)state;
    begin(3, 1, 1);
    tell(2, after);
    tell(3, after);
    world_run(&world, 5);
    assert_true(goes_to(3, "a", 1));
    world_kill(&world, 1);
    world_until(&world, 20, leads(3, "a"));
    assert_true(goes_to(2, "a", 3));
    world_restart(&world, 1, false); /* By its map it is still the first. */
    world_run(&world, 3000);
    tell(1, after);
    world_until(&world, 20, goes_to(1, "a", 3));
    assert_true(leads(3, "a"));
    assert_int_equal(world_stats(&world, 3)->slots_taken, 0);
    world_fini(&world);
}

/* The new owner is lost while the slot is kept for it: the next one by the map coordinates. */
static void test_new_owner_lost(void **state)
{
    (void)state;
    begin(3, 1, 1);
    tell(1, after);
    tell(2, after);
    world_run(&world, 5);
    assert_true(leads(1, "a"));
    world_kill(&world, 3);
    world_until(&world, 20, leads(2, "a"));
    assert_true(goes_to(1, "a", 2));
    world_fini(&world);
}

/* The former owner is stopped while it is awaited, and goes on when it was passed over: what it kept is over. */
static void test_former_owner_paused(void **state)
{
    struct route_far far;

    (void)state;
    begin(3, 1, 1);
    tell(1, after);
    tell(2, after);
    world_run(&world, 5);
    world_pause(&world, 1);
    tell(3, after);
    assert_true(goes_to(3, "a", 1));
    world_run(&world, 350);
    assert_true(goes_to(3, "a", 1));
    world_until(&world, 200, leads(3, "a"));
    world_put(&world, 3, "a", "n", "taken");
    world_resume(&world, 1, true);
    assert_int_equal(route(1, "a", 0, &far), ROUTE_FAR);
    world_until(&world, 3000, goes_to(1, "a", 3));
    assert_int_equal(leaders("a"), 1);
    world_fini(&world);
}

/* The new owner is stopped: what was passed over meanwhile it asks for before it begins. */
static void test_new_owner_paused(void **state)
{
    uint32_t writes = 0;

    (void)state;
    begin(3, 1, 1);
    tell(3, after);
    tell(2, after);
    world_run(&world, 5);
    world_pause(&world, 3);
    world_until(&world, 700, leads(2, "a")); /* It stands in. */
    world_put(&world, 2, "a", "n", "standing in");
    world_until(&world, 200, !replication_reaches(unit_of(1, "a")->r, 3, 0));
    tell(1, after);
    assert_true(goes_to(1, "a", 2));
    world_resume(&world, 3, true);
    assert_false(leads(3, "a"));
    world_until(&world, 3000, leads(3, "a"));
    check_all_of(3, "a");
    step(&writes);
    world_fini(&world);
}

/* The stream to the new owner had a gap since the map was proposed: it is compared before it gets the slot. */
static void test_gap(void **state)
{
    uint32_t writes = 0;

    (void)state;
    begin(3, 1, 1);
    world_block(&world, 1, 3, true);
    for (int i = 0; world_stats(&world, 1)->lapses == 0; i++) {
        world_put(&world, 1, "a", "n", i % 2 == 0 ? "even" : "odd");
    }
    world_until(&world, 1000, !replication_reaches(unit_of(1, "a")->r, 3, 0));
    world_block(&world, 1, 3, false);
    world_until(&world, 1000,
                replication_reaches(unit_of(1, "a")->r, 3, 0) &&
                    replication_reaches(unit_of(3, "a")->r, 1, 0));
    tell(1, after);
    tell(2, after);
    tell(3, after);
    for (int i = 0; i < 20000 && !leads(3, "a"); i++) {
        step(&writes);
    }
    assert_true(leads(3, "a"));
    world_fini(&world);
}

/* The former owner is gone, and another one has acknowledged in its place what the new owner, cut off from it then, has not:
 * whoever of them gave up the slot, the new owner begins with all of it. */
static void test_another_stood_in(void **state)
{
    (void)state;
    begin(3, 1, 1);
    world_block(&world, 2, 3, true);
    world_until(&world, 3000, !replication_reaches(unit_of(3, "a")->r, 2, 0));
    world_kill(&world, 1);
    world_until(&world, 3000, leads(2, "a"));
    for (int i = 0; world_stats(&world, 2)->lapses == 0; i++) {
        world_put(&world, 2, "a", "n", i % 2 == 0 ? "even" : "odd");
    }
    world_put(&world, 2, "a", "m", "acknowledged");
    unit_of(3, "a")->ready = false; /* No comparison begins. */
    world_block(&world, 2, 3, false);
    world_until(&world, 3000,
                replication_reaches(unit_of(3, "a")->r, 2, 0) &&
                    replication_reaches(unit_of(2, "a")->r, 3, 0));
    tell(3, after);
    assert_true(goes_to(3, "a", 2) && leads(2, "a"));
    tell(2, after);
    for (int i = 0; i < 200; i++) {
        world_run(&world, 1);
        assert_false(leads(3, "a"));
    }
    unit_of(3, "a")->ready = true;
    world_until(&world, 3000, leads(3, "a"));
    check_all_of(3, "a");
    world_fini(&world);
}

/* ---- Writes that wait ---- */

static const char *waits;

static void waiting(struct replication_shard *core, void (*visit)(void *context, uint32_t slot),
                    void *context)
{
    (void)core;
    if (waits != NULL) {
        visit(context, world_slot(waits));
    }
}

/* Writes that were taken and not executed: others are held for a while, and the slot stays until they are done. */
static void test_waiting_writes(void **state)
{
    struct route_far far;

    (void)state;
    begin(3, 1, 1);
    unit_of(1, "a")->core.waiting = waiting;
    waits = "a";
    tell(1, after);
    tell(2, after);
    tell(3, after);
    world_until(&world, 10, leads(3, "b"));
    assert_int_equal(route(1, "a", 0, &far), ROUTE_WAIT);
    assert_int_equal(route(1, "a", ROUTE_READS, &far), ROUTE_LOCAL);
    assert_true(goes_to(3, "a", 1));
    assert_int_equal(world_stats(&world, 1)->holds, 1);
    assert_true(replication_switches(unit_of(1, "a")->r, world_slot("a")));
    world_run(&world, REPLICATION_HOLD_MS + 1); /* In vain: all goes on. */
    assert_true(leads(1, "a"));
    assert_int_equal(world_stats(&world, 1)->holds_lapsed, 1);
    world_run(&world, 8 * REPLICATION_HOLD_MS);
    assert_true(leads(1, "a"));
    world_until(&world, 3 * REPLICATION_HOLD_MS, route(1, "a", 0, &far) == ROUTE_WAIT);
    waits = NULL;
    world_until(&world, 2, leads(3, "a"));
    assert_true(goes_to(1, "a", 3));
    assert_int_equal(world_stats(&world, 1)->holds, 2);
    assert_int_equal(world_stats(&world, 1)->holds_lapsed, 1);
    world_fini(&world);
}

/* Nor are they held while something of the slot comes from a third node again and again, and the new owner has to be compared. */
static void test_waiting_writes_and_gaps(void **state)
{
    struct route_far far;

    (void)state;
    begin(3, 1, 1);
    struct replication *r = unit_of(1, "a")->r;
    unit_of(1, "a")->core.waiting = waiting;
    waits = "a";
    tell(1, after);
    tell(2, after);
    tell(3, after);
    world_until(&world, 10, leads(3, "b"));
    assert_int_equal(route(1, "a", 0, &far), ROUTE_WAIT);
    uint32_t held = 0;
    for (int i = 0; i < 200; i++) {
        replication_came_alone(r, replication_peer_find(r, 2, 0), world_slot("a"));
        world_run(&world, 1);
        held += !leads(1, "a");
    }
    assert_true(held <= REPLICATION_HOLD_MS + 2);
    waits = NULL;
    world_until(&world, 100, leads(3, "a"));
    world_fini(&world);
}

/* What comes before the word waits in the new owner's shard: it takes the slot once that is merged. */
static void test_parked_copy(void **state)
{
    (void)state;
    begin(3, 1, 1);
    unit_of(3, "a")->park = world_position("a");
    world_put(&world, 1, "a", "n", "parked");
    tell(1, after);
    tell(2, after);
    tell(3, after);
    world_run(&world, 300);
    assert_true(goes_to(3, "a", 1) && goes_to(1, "a", 3));
    assert_true(replication_awaits(unit_of(3, "a")->r, world_slot("a")));
    world_unpark(unit_of(3, "a"));
    assert_true(leads(3, "a"));
    check_all_of(3, "a");
    assert_true(replication_took_lately(unit_of(3, "a")->r, world_slot("a")));
    assert_false(replication_took_lately(unit_of(1, "a")->r, world_slot("a")));
    world_run(&world, REPLICATION_TOOK_MS);
    assert_false(replication_took_lately(unit_of(3, "a")->r, world_slot("a")));
    world_fini(&world);
}

/* A new owner that does not come nearer does not get the slot, and no writes of it are held in vain again and again... */
static void test_far_behind(void **state)
{
    uint32_t writes = 0;

    (void)state;
    begin(3, 1, 1);
    unit_of(3, "d")->park = world_position("d");
    world_put(&world, 1, "d", "n", "parked");
    world_run(&world, REPLICATION_HOLD_MS);
    tell(1, after);
    tell(2, after);
    tell(3, after);
    uint32_t held = 0;
    for (int ms = 0; ms < 6000; ms++) {
        world_run(&world, 1);
        assert_true(goes_to(3, "a", 1));
        held += !leads(1, "a");
    }
    assert_int_equal(world_stats(&world, 1)->slots_released, 0);
    assert_in_range(world_stats(&world, 1)->holds, SLOTS, SLOTS * 3);
    assert_true(held <= 3 * (REPLICATION_HOLD_MS + 2));
    for (int i = 0; i < 20; i++) {
        step(&writes);
    }
    world_unpark(unit_of(3, "d"));
    world_until(&world, 10, leads(3, "a") && leads(3, "d"));
    check_all_of(3, "a");
    world_fini(&world);
}

/* ... and one that is a little behind gets it after some tries, and those who ask there wait for that little. */
static void test_a_little_behind(void **state)
{
    uint32_t waited = 0;

    (void)state;
    begin(3, 1, 1);
    world.delay_us = 60 * 1000; /* There and back: 120 ms. */
    world_run(&world, 500);
    tell(1, after);
    tell(2, after);
    tell(3, after);
    for (int ms = 0; ms < 3000 && !leads(3, "a"); ms++) {
        if (leads(1, "a")) {
            world_put(&world, 1, "a", "n", "more");
        }
        world_run(&world, 1);
        waited += leaders("a") == 0;
    }
    assert_true(leads(3, "a"));
    assert_true(world_stats(&world, 1)->holds_lapsed > 0);
    assert_true(waited < 500);
    check_all_of(3, "a");
    world_fini(&world);
}

/* Taken back: before it was let go of nothing happens, afterwards it comes back the same way. */
static void test_taken_back(void **state)
{
    const struct slot_owners before = {{1, 2}};
    uint32_t writes = 0;

    (void)state;
    for (int released = 0; released < 2; released++) {
        begin(3, 1, 1);
        tell(1, after);
        tell(2, after);
        world_run(&world, 2);
        if (released) {
            tell(3, after);
            world_until(&world, 5, goes_to(1, "a", 3)); /* The word is on its way. */
        }
        tell(1, before);
        assert_true(released ? goes_to(1, "a", 3) : leads(1, "a"));
        for (int i = 0; i < 20; i++) {
            step(&writes);
        }
        assert_true(released ? leads(3, "a") : leads(1, "a"));
        tell(3, before);
        tell(2, before);
        for (int i = 0; i < 20000 && !leads(1, "a"); i++) { /* It may be compared before. */
            step(&writes);
        }
        assert_true(leads(1, "a") && goes_to(3, "a", 1));
        world_fini(&world);
    }
}

/* Who is to have a slot knows what uses were told of it from when it takes it, and buries nothing before. */
static void test_known_uses(void **state)
{
    (void)state;
    begin(3, 1, 1);
    const uint64_t known_ms = replication_known_ms(unit_of(1, "a")->r, world_position("a"));
    tell(1, after);
    tell(2, after);
    world_run(&world, 100);
    assert_int_equal(replication_known_ms(unit_of(1, "a")->r, world_position("a")), known_ms);
    tell(3, after);
    assert_true(replication_known_ms(unit_of(3, "a")->r, world_position("a")) == UINT64_MAX);
    world_until(&world, 5, leads(3, "a"));
    assert_true(replication_known_ms(unit_of(3, "a")->r, world_position("a")) >=
                world_now_ms(&world) - 5);
    assert_true(replication_known_ms(unit_of(1, "a")->r, world_position("a")) == UINT64_MAX);
    world_fini(&world);
}

/* Of a slot that was taken, and of no other one, somebody else may have taken writes up to just now. */
static void test_first_since(void **state)
{
    (void)state;
    begin(3, 1, 1);
    const struct replication *one = unit_of(1, "a")->r;
    const uint64_t begun_ms = replication_first_ms(one, world_slot("e"));
    assert_true(begun_ms > 0 && world_now_ms(&world) > begun_ms);
    tell(1, after);
    tell(2, after);
    tell(3, after);
    world_until(&world, 5, leads(3, "a"));
    world_run(&world, 100);
    assert_in_range(replication_first_ms(unit_of(3, "a")->r, world_slot("a")),
                    world_now_ms(&world) - 106, world_now_ms(&world) - 99);
    for (uint32_t number = 1; number <= 3; number++) {
        tell(number, (struct slot_owners){{1, 2}});
    }
    world_until(&world, 5000, leads(1, "a"));
    assert_true(replication_first_ms(one, world_slot("a")) >= world_now_ms(&world) - 2);
    assert_int_equal(replication_first_ms(one, world_slot("e")), begun_ms);
    world_fini(&world);
}

/* A former owner that says nothing of it, though its link is heard, is not waited for for ever. */
static void test_patience(void **state)
{
    (void)state;
    begin(3, 1, 1);
    world.deaf = REPLICATION_KEEP;
    tell(3, after);
    tell(2, after);
    world_run(&world, 900);
    assert_true(goes_to(3, "a", 1));
    world_until(&world, 200, leads(3, "a"));
    world.deaf = 0;
    tell(1, after);
    world_until(&world, 5, goes_to(1, "a", 3));
    assert_int_equal(leaders("a"), 1);
    world_fini(&world);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_whoever_is_first),
        cmocka_unit_test(test_random),
        cmocka_unit_test(test_former_owner_lost),
        cmocka_unit_test(test_new_owner_lost),
        cmocka_unit_test(test_former_owner_paused),
        cmocka_unit_test(test_new_owner_paused),
        cmocka_unit_test(test_gap),
        cmocka_unit_test(test_another_stood_in),
        cmocka_unit_test(test_waiting_writes),
        cmocka_unit_test(test_waiting_writes_and_gaps),
        cmocka_unit_test(test_parked_copy),
        cmocka_unit_test(test_far_behind),
        cmocka_unit_test(test_a_little_behind),
        cmocka_unit_test(test_taken_back),
        cmocka_unit_test(test_known_uses),
        cmocka_unit_test(test_first_since),
        cmocka_unit_test(test_patience),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
