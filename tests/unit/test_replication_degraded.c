/* Nodes whose disk is full, by the table: who serves in their place, and what they are compared with after it. */
#include "replication_world.h"

static struct world world;
static struct slot_table table;

static enum route route(uint32_t number, const char *key, uint8_t flags, struct route_far *far)
{
    struct world_unit *unit = world_unit(&world, number, world_slot(key));

    return replication_route(unit->r, world_slot(key), flags, far);
}

/* Three nodes, of which the first two own everything. */
static void begin(void)
{
    world_begin(&world, 3, 1);
    world_owners(&world, &table, (struct slot_owners){{1, 2}}, (struct slot_owners){{1, 2}});
    world_tables(&world, &table);
    world_until(&world, 3000, world_calm(&world));
}

static void set_degraded(uint32_t number, bool degraded)
{
    table.epoch++;
    table.members[number - 1].degraded = degraded;
    world.units[number - 1].refuses = degraded ? STATUS_DISK_FULL : STATUS_OK;
    world_tables(&world, &table);
}

static void expect_far(uint32_t number, uint32_t to, uint8_t flags)
{
    struct route_far far;

    assert_int_equal(route(number, "a", 0, &far), ROUTE_FAR);
    assert_int_equal(far.node, to);
    assert_int_equal(far.flags, flags);
}

static void expect_local(uint32_t number)
{
    struct route_far far;

    assert_int_equal(route(number, "a", 0, &far), ROUTE_LOCAL);
}

static void test_next_owner_coordinates(void **state)
{
    struct route_far far;

    (void)state;
    begin();
    set_degraded(1, true);
    expect_far(1, 2, ROUTE_COORDINATE);
    assert_int_equal(route(2, "a", 0, &far),
                     ROUTE_WAIT); /* What the first one had acknowledged is asked for. */
    world_run(&world, 5);
    expect_local(2);
    expect_far(3, 2, 0);
    assert_false(replication_is_level(world.units[0].r, world_slot("a")));
    set_degraded(2, true); /* Nobody is better: the first one serves what it has. */
    expect_local(1);
    expect_far(2, 1, 0);
    expect_far(3, 1, 0);
    assert_true(replication_is_level(world.units[0].r, world_slot("a")));
    set_degraded(1, false); /* Nobody could take its place: it goes on. */
    expect_local(1);
    expect_far(2, 1, 0);
    set_degraded(2, false);
    world_until(&world, 3000, world_calm(&world));
    expect_local(1);
    expect_far(2, 1, 0);
    world_fini(&world);
}

/* One that is the only owner left serves what it has. */
static void test_alone(void **state)
{
    (void)state;
    begin();
    set_degraded(2, true);
    expect_local(1);
    world_kill(&world, 1);
    world_until(&world, 3000, !replication_reaches(world.units[1].r, 1, 0));
    expect_local(2);
    expect_far(3, 2, 0);
    world_fini(&world);
}

/* Who waits for its copies is let go, and nobody waits for them from there on. */
static void test_its_copies_are_not_waited_for(void **state)
{
    (void)state;
    begin();
    world.units[1].refuses = STATUS_DISK_FULL;
    uint64_t number = world_put(&world, 1, "a", "x", "before it was known");
    assert_true(number > 0);
    world_run(&world, 500);
    assert_true(world.units[0].copied < number && world.units[0].uncopied < number);
    set_degraded(2, true);
    world_step(&world);
    assert_int_equal(world.units[0].uncopied, number);
    assert_false(replication_reaches_owner(world.units[0].r, world_position("a")));
    assert_int_equal(world_put(&world, 1, "a", "x", "after that"), 0);
    set_degraded(2, false);
    world_until(&world, 5000, world_equal(&world, 1, 2));
    number = world_put(&world, 1, "a", "x", "and again");
    assert_true(number > 0);
    world_until(&world, 1000, world.units[0].copied == number);
    world_fini(&world);
}

/* What it missed it is compared for before it serves again. */
static void test_compared_before_it_serves(void **state)
{
    (void)state;
    begin();
    set_degraded(1, true);
    (void)world_put(&world, 2, "a", "x", "meanwhile");
    world_run(&world, 500);
    assert_null(world_find(&world.units[0], world_position("a"), text("a")));
    world.units[0].ready = false; /* No comparison begins. */
    set_degraded(1, false);
    expect_far(1, 2, ROUTE_COORDINATE);
    world_run(&world, 4000); /* However long it takes. */
    expect_far(1, 2, ROUTE_COORDINATE);
    world.units[0].ready = true;
    world_until(&world, 5000, world_calm(&world));
    expect_local(1);
    assert_non_null(world_find(&world.units[0], world_position("a"), text("a")));
    world_fini(&world);
}

/* Nothing that comes gets onto its disk any more: who has started anew hears all the same that it has what there is, and serves. */
static void test_compared_with_it(void **state)
{
    (void)state;
    begin();
    world_fill(&world, 1, 0, 100);
    world_until(&world, 1000, world_equal(&world, 1, 2));
    world_hang(&world, 1);
    world.units[0].stored = 0;
    set_degraded(1, true);
    world_fill(&world, 2, 100, 120);
    world_until(&world, 1000, world.units[0].merges > 0);
    world_kill(&world, 2);
    world_restart(&world, 2, true);
    world_until(&world, 1000, world_stats(&world, 2)->slots_not_level > 0);
    world_until(&world, 5000, world_stats(&world, 2)->slots_not_level == 0);
    world_until(&world, 3000,
                world_stats(&world, 1)->compares + world_stats(&world, 2)->compares == 0);
    world_fini(&world);
}

/* What the next owner acknowledged for it is part of what a target must have before it gets the slot: it is the next owner who says
 * so. */
static void test_targets_of_its_slots(void **state)
{
    const uint32_t slot = world_slot("a");

    (void)state;
    begin();
    world_block(&world, 2, 3, true);
    world_until(&world, 3000, !replication_reaches(world.units[1].r, 3, 0));
    set_degraded(1, true);
    (void)world_put(&world, 2, "a", "x", "meanwhile");
    table.targets[slot] = (struct slot_owners){{3, 2}};
    set_degraded(1, true);
    world_run(&world, 4000);
    assert_false(world.units[0].reported[slot] || world.units[1].reported[slot]);
    world_block(&world, 2, 3, false);
    world_until(&world, 5000, world.units[1].reported[slot]);
    assert_non_null(world_find(&world.units[2], world_position("a"), text("a")));
    assert_false(world.units[0].reported[slot]);
    world_fini(&world);
}

/* ---- As somebody said ---- */

static void set_hands_on(uint32_t number, bool hands_on)
{
    table.epoch++;
    table.members[number - 1].hands_on = hands_on;
    world_tables(&world, &table);
}

/* It coordinates all but creates, and those too where nobody else could. */
static void test_creates_are_handed_on(void **state)
{
    const uint32_t slot = world_slot("a");
    struct route_far far;

    (void)state;
    begin();
    assert_false(replication_route_create(world.units[0].r, slot, &far));
    set_hands_on(1, true);
    expect_local(1);
    expect_far(2, 1, 0);
    expect_far(3, 1, 0);
    assert_true(replication_hands_on(world.units[0].r));
    assert_true(replication_route_create(world.units[0].r, slot, &far));
    assert_int_equal(far.node, 2);
    assert_int_equal(far.flags, ROUTE_COORDINATE);
    world_until(&world, 100, route(2, "a", far.flags, &far) == ROUTE_LOCAL);
    assert_false(replication_route_create(world.units[1].r, slot, &far));
    set_hands_on(2, true); /* Neither is to. */
    assert_false(replication_route_create(world.units[0].r, slot, &far));
    set_hands_on(2, false);
    assert_true(replication_route_create(world.units[0].r, slot, &far));
    set_degraded(2, true);
    assert_false(replication_route_create(world.units[0].r, slot, &far));
    set_degraded(2, false);
    world_kill(&world, 2);
    world_until(&world, 1000, !replication_route_create(world.units[0].r, slot, &far));
    expect_local(1);
    world_fini(&world);
}

/* Of what the next owner began only the copy at that node counts: else it could be asked for the session before it has it. */
static void test_only_its_copy_counts(void **state)
{
    (void)state;
    world_begin(&world, 3, 1);
    world_owners(&world, &table, (struct slot_owners){{1, 2, 3}}, (struct slot_owners){{1, 2, 3}});
    world_tables(&world, &table);
    world_until(&world, 3000, world_calm(&world));
    world.units[0].refuses = STATUS_BUSY; /* It takes its time. */
    uint64_t number = world_put(&world, 2, "a", "x", "as ever");
    assert_true(number > 0);
    world_until(&world, 1000, world.units[1].copied >= number);
    number = world_put(&world, 2, "b", "x", "handed on");
    assert_true(number > 0);
    replication_await_first(world.units[1].r, world_position("b"), number);
    world_run(&world, 300);
    assert_non_null(world_find(&world.units[2], world_position("b"), text("b")));
    assert_true(world.units[1].copied < number && world.units[1].uncopied < number);
    world.units[0].refuses = STATUS_OK;
    world_until(&world, 5000, world.units[1].copied >= number);
    assert_non_null(world_find(&world.units[0], world_position("b"), text("b")));
    world_fini(&world);
}

/* The link there is lost, and the copy with it: that this node has the write itself is not said of it, but only that the other
 * has it once there is another link, or that nobody can tell when there is none for as long as a link may be silent. */
static void test_its_link_is_lost(void **state)
{
    struct world_unit *unit = &world.units[1];

    (void)state;
    begin();
    assert_true(replication_tells_first(unit->r, world_slot("a")));
    assert_false(replication_is_first(unit->r, world_slot("a")));
    assert_true(replication_is_first(world.units[0].r, world_slot("a")));
    world.units[0].refuses = STATUS_BUSY;
    uint64_t number = world_put(&world, 2, "a", "x", "handed on");
    replication_await_first(unit->r, world_position("a"), number);
    world_run(&world, 50);
    world_break(&world, &world.links[1][0]);
    world.units[0].refuses = STATUS_OK;
    world_until(&world, 1000, unit->copied == number);
    assert_int_equal(unit->uncopied, 0);
    assert_non_null(world_find(&world.units[0], world_position("a"), text("a")));

    world.units[0].refuses = STATUS_BUSY;
    number = world_put(&world, 2, "b", "x", "handed on");
    replication_await_first(unit->r, world_position("b"), number);
    world_run(&world, 50);
    world_break(&world, &world.links[1][0]);
    world_block(&world, 1, 2, true);
    const uint64_t begun_us = world.now_us;
    world_until(&world, 5000, unit->uncopied == number);
    assert_true(world.now_us - begun_us > (REPLICATION_SILENCE_MS - 10) * 1000);
    assert_false(replication_tells_first(unit->r, world_slot("a")));
    world_block(&world, 1, 2, false);
    world_fini(&world);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_next_owner_coordinates),
        cmocka_unit_test(test_alone),
        cmocka_unit_test(test_its_copies_are_not_waited_for),
        cmocka_unit_test(test_compared_before_it_serves),
        cmocka_unit_test(test_targets_of_its_slots),
        cmocka_unit_test(test_compared_with_it),
        cmocka_unit_test(test_creates_are_handed_on),
        cmocka_unit_test(test_only_its_copy_counts),
        cmocka_unit_test(test_its_link_is_lost),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
