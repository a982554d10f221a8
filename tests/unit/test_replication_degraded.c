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
    (void)state;
    begin();
    set_degraded(1, true);
    expect_far(1, 2, ROUTE_COORDINATE);
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

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_next_owner_coordinates),
        cmocka_unit_test(test_alone),
        cmocka_unit_test(test_its_copies_are_not_waited_for),
        cmocka_unit_test(test_compared_before_it_serves),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
