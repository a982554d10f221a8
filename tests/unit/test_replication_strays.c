/* Strays: copies of slots that a node has no part in any more. They go, but only once their owners have what is there. */
#include "replication_world.h"

static struct world world;
static struct slot_table table;

static bool has_nothing_of_slot(uint32_t number)
{
    const struct world_unit *unit = &world.units[world.nodes[number].units[0]];

    return unit->count == 0 && !seen_is_known(&unit->seen, world_slot("{slot}"));
}

/* Neither a session nor a vector is left of any slot. */
static bool has_nothing(uint32_t number)
{
    const struct world_unit *unit = &world.units[world.nodes[number].units[0]];
    uint32_t known = 0;

    for (uint32_t slot = 0; slot < SLOT_COUNT; slot++) {
        known += seen_is_known(&unit->seen, slot);
    }
    return unit->count + known == 0;
}

/* Who owns a slot no more drops it, but not before all of its owners have what is there. */
static void test_stray(void **state)
{
    (void)state;
    world_begin(&world, 3, 1);
    world_give_owners(&world, &table, (struct slot_owners){{1, 2}}, (struct slot_owners){{1, 2}});
    world_until(&world, 3000, world_calm(&world));
    world_fill(&world, 1, 0, 200);
    world_until(&world, 100, world_calm(&world));
    world_kill(&world, 2);
    world_restart(&world, 2, false);
    world_block(&world, 2, 1, true);
    world_block(&world, 2, 3, true);
    world_run(&world, 3500);
    assert_int_equal(world_not_level(&world, 2), 0);
    world_fill(&world, 2, 100, 300); /* Nobody else has them. */
    world_give_owners(&world, &table, (struct slot_owners){{1, 3}}, (struct slot_owners){{1, 3}});
    world_block(&world, 2, 1, false);
    world_run(&world, 4000);
    assert_int_equal(world.units[1].count, 300); /* Node 3 could not be asked. */
    assert_int_equal(world.units[1].drops, 0);
    assert_true(world_stats(&world, 2)->slots_stray > 0);
    world_block(&world, 2, 3, false);
    world_until(&world, 20000, world.units[1].count == 0);
    world_until(&world, 20000,
                world_stats(&world, 2)->looked && world_stats(&world, 2)->slots_stray == 0);
    assert_int_equal(world.units[0].count, 300);
    assert_true(world_equal(&world, 1, 3));
    assert_true(world_stats(&world, 2)->slots_dropped > 100);
    assert_false(seen_is_known(&world.units[1].seen, world_slot("session-7")));
    world_check_seen(&world);
    world_fini(&world);
}

/* Nor before that is on an owner's disk, whether a stream brought it or a comparison: it may be durable here alone. */
static void test_stray_waits_for_disk(void **state)
{
    (void)state;
    for (int alone = 0; alone < 2; alone++) {
        world_begin(&world, 3, 1);
        world_give_owners(&world, &table, (struct slot_owners){{2, 1}},
                          (struct slot_owners){{2, 1}});
        world_until(&world, 3000, world_calm(&world));
        world_hang(&world, 1);
        world_block(&world, 1, 2, alone == 1);
        world_fill(&world, 2, 0, 100);
        world_run(&world, 100);
        assert_int_equal(world.units[0].count, alone == 1 ? 0 : 100);
        world_give_owners(&world, &table, (struct slot_owners){{1}}, (struct slot_owners){{1}});
        world_block(&world, 1, 2, false);
        world_until(&world, 5000, world.units[0].count == 100);
        world_run(&world, 4000);
        assert_int_equal(world.units[1].drops, 0);
        world.units[0].hangs = false;
        world_until(&world, 20000, world.units[1].count == 0);
        assert_int_equal(world.units[0].count, 100);
        world_fini(&world);
    }
}

/* But a disk that hangs keeps nobody from a copy who drops nothing by it: who is to have a slot gets it all the same... */
static void test_hung_disk_hands_on(void **state)
{
    (void)state;
    world_begin(&world, 3, 1);
    world_give_owners(&world, &table, (struct slot_owners){{2, 1}}, (struct slot_owners){{2, 1}});
    world_until(&world, 3000, world_calm(&world));
    world_hang(&world, 1);
    world_fill(&world, 2, 0, 100);
    world_run(&world, 100);
    world_give_owners(&world, &table, (struct slot_owners){{1, 2}}, (struct slot_owners){{1, 3}});
    world_until(&world, 5000,
                world.units[0].reported[world_slot("session-7")] && world_equal(&world, 1, 3));
    world_fini(&world);
}

/* ... and so does who had one that he was to drop, once he is to have it again. */
static void test_hung_disk_stray_comes_back(void **state)
{
    (void)state;
    world_begin(&world, 3, 1);
    world_give_owners(&world, &table, (struct slot_owners){{2, 1}}, (struct slot_owners){{2, 1}});
    world_until(&world, 3000, world_calm(&world));
    world_hang(&world, 1);
    world_fill(&world, 2, 0, 100);
    world_run(&world, 100);
    world_give_owners(&world, &table, (struct slot_owners){{1}}, (struct slot_owners){{1}});
    world_run(&world, 3000);
    assert_true(world_stats(&world, 2)->compares > 0);
    assert_int_equal(world.units[1].drops, 0);
    world_give_owners(&world, &table, (struct slot_owners){{1}}, (struct slot_owners){{1, 2}});
    world_until(&world, 20000, world.units[0].reported[world_slot("session-7")]);
    assert_int_equal(world.units[1].drops, 0);
    world_fini(&world);
}

/* Nor before those own it that are to: until then it may be the only other copy. */
static void test_stray_waits_for_targets(void **state)
{
    (void)state;
    world_begin(&world, 3, 1);
    world_give_owners(&world, &table, (struct slot_owners){{1, 2}}, (struct slot_owners){{1, 2}});
    world_until(&world, 3000, world_calm(&world));
    world_fill(&world, 1, 0, 100);
    world_until(&world, 100, world_calm(&world));
    world_give_owners(&world, &table, (struct slot_owners){{1}}, (struct slot_owners){{1, 3}});
    world_run(&world, 20000);
    assert_int_equal(world.units[1].count, 100);
    assert_int_equal(world.units[1].drops, 0);
    world_give_owners(&world, &table, (struct slot_owners){{1, 3}}, (struct slot_owners){{1, 3}});
    world_until(&world, 20000, world.units[1].count == 0);
    assert_true(world_equal(&world, 1, 3));
    world_fini(&world);
}

/* So many sessions of one slot... */
static void fill_slot(uint32_t number, uint32_t from, uint32_t to)
{
    char key[32];

    for (uint32_t i = from; i < to; i++) {
        snprintf(key, sizeof key, "{slot}-%u", i);
        world_put(&world, number, key, "x", "1");
    }
}

/* ... which alone has these owners, as far as this node knows; of all others nodes 1 and 2 are. */
static void own_slot(uint32_t number, struct slot_owners owners)
{
    const uint32_t slot = world_slot("{slot}");

    world_owners(&world, &table, (struct slot_owners){{1, 2}}, (struct slot_owners){{1, 2}});
    table.owners[slot] = table.targets[slot] = owners;
    world_table(&world, number, &table);
}

/* Nodes 1 and 3 are to have the slot that node 2 has; node 1 has agreed that it has all of it. */
static void begin_with_one_agreed(void)
{
    world_begin(&world, 4, 1);
    world_give_owners(&world, &table, (struct slot_owners){{1, 2}}, (struct slot_owners){{1, 2}});
    world_until(&world, 3000, world_calm(&world));
    fill_slot(1, 0, 5);
    world_until(&world, 100, world_calm(&world));
    world_block(&world, 1, 3, true);
    world_block(&world, 2, 3, true);
    world_block(&world, 4, 1, true);
    world_block(&world, 4, 3, true);
    for (uint32_t number = 1; number <= 3; number++) {
        own_slot(number, (struct slot_owners){{1, 3}});
    }
    own_slot(4, (struct slot_owners){{4, 2}});
    world_run(&world, 4000);
    assert_int_equal(world.units[1].count, 5);
    assert_int_equal(world.units[1].drops, 0);
}

/* Then more comes, from a node that goes by another table: node 1 is asked again, before anything is dropped. `gap`: by a
 * stream that does not tell how much was seen. `late`: while node 3 is asked. */
static void more_comes(bool gap, bool late)
{
    begin_with_one_agreed();
    if (gap) {
        world_kill(&world, 4);
        world_restart(&world, 4, false);
        world_until(&world, 1000,
                    replication_reaches_owner(world.units[3].r, world_position("{slot}")));
    }
    if (late) {
        world_block(&world, 2, 3, false);
        world_until(&world, 5000, world.units[2].count == 5);
    }
    fill_slot(4, 5, 10);
    world_until(&world, 1000, world.units[1].count == 10);
    assert_int_equal(world.units[0].count, 5);
    world_block(&world, 2, 3, false);
    world_until(&world, 20000, world.units[1].drops > 0);
    assert_int_equal(world.units[0].count, 10);
    assert_int_equal(world.units[2].count, 10);
    world_until(&world, 1000, has_nothing_of_slot(2));
    world_check_seen(&world);
    world_fini(&world);
}

static void test_more_comes(void **state)
{
    (void)state;
    more_comes(false, false);
    more_comes(false, true);
    more_comes(true, false);
    more_comes(true, true);
}

/* Then node 1 comes back with nothing: it is asked again. */
static void test_owner_comes_back(void **state)
{
    (void)state;
    begin_with_one_agreed();
    world_kill(&world, 1);
    world_run(&world, 100);
    world_restart(&world, 1, true);
    world_block(&world, 2, 3, false);
    world_until(&world, 20000, world.units[1].drops > 0);
    assert_int_equal(world.units[0].count, 5);
    assert_int_equal(world.units[2].count, 5);
    world_until(&world, 1000, has_nothing_of_slot(2));
    world_check_seen(&world);
    world_fini(&world);
}

/* What a session's end was told to before it owned the slot no more, and who has forgotten that since, still tells its owners:
 * by what was seen. */
static void test_forgotten_end(void **state)
{
    (void)state;
    world_begin(&world, 3, 1);
    world_give_owners(&world, &table, (struct slot_owners){{1, 2}}, (struct slot_owners){{1, 2}});
    world_until(&world, 3000, world_calm(&world));
    world_fill(&world, 1, 0, 1);
    world_until(&world, 100, world_calm(&world));
    world_block(&world, 2, 1, true);
    world_block(&world, 2, 3, true);
    world_change(&world, 2, "session-0", (struct change){.operation = CHANGE_DESTROY});
    struct world_session *session =
        world_find(&world.units[1], world_position("session-0"), text("session-0"));
    world_remove(&world.units[1], session);
    assert_int_equal(world.units[1].count, 0);
    world_give_owners(&world, &table, (struct slot_owners){{1, 3}}, (struct slot_owners){{1, 3}});
    world_until(&world, 5000, world.units[2].count == 1);
    world_block(&world, 2, 1, false);
    world_block(&world, 2, 3, false);
    world_until(&world, 20000, has_nothing(2));
    const struct seen *seen[] = {&world.units[0].seen, &world.units[2].seen};
    for (int i = 0; i < 2; i++) {
        const struct world_write *last = &world.writes[world.write_count - 1];
        assert_true(seen_covers(seen[i], last->slot, last->stamp));
    }
    world_fini(&world);
}

/* It gets the slot again as nobody is left, without what it stamped in it before: what it stamps from then on says nothing of that,
 * there and at others that follow, and who comes back with it has it still. */
static void test_taken_with_nothing(void **state)
{
    (void)state;
    world_begin(&world, 3, 1);
    world_give_owners(&world, &table, (struct slot_owners){{1, 2}}, (struct slot_owners){{1, 2}});
    world_until(&world, 3000, world_calm(&world));
    world_put(&world, 1, "a{slot}", "x", "before");
    world_until(&world, 100, world_calm(&world));
    world_give_owners(&world, &table, (struct slot_owners){{2}}, (struct slot_owners){{2}});
    world_until(&world, 20000, has_nothing(1));
    world_block(&world, 2, 1, true);
    world_block(&world, 2, 3, true);
    world_give_owners(&world, &table, (struct slot_owners){{1, 3}}, (struct slot_owners){{1, 3}});
    world_run(&world, 4000);
    world_put(&world, 1, "b{slot}", "x", "after");
    world_until(&world, 20000, world_equal(&world, 1, 3));
    world_check_seen(&world);
    for (int i = 0; i < 3; i += 2) {
        const struct world_write *last = &world.writes[world.write_count - 1];
        assert_true(seen_covers(&world.units[i].seen, last->slot, last->stamp));
    }
    world_block(&world, 2, 1, false);
    world_block(&world, 2, 3, false);
    world_until(&world, 20000, has_nothing(2));
    assert_int_equal(world.units[0].count, 2);
    world_check_seen(&world);
    world_fini(&world);
}

/* What an owner is given by one that has no part in a slot any more, a target has not, though they were compared: it is
 * compared again before it may own it, and not in the round of the background. */
static void test_given_after_a_target_was_compared(void **state)
{
    (void)state;
    world_begin(&world, 3, 1);
    world_give_owners(&world, &table, (struct slot_owners){{1, 2}}, (struct slot_owners){{1, 2}});
    world_until(&world, 3000, world_calm(&world));
    world_fill(&world, 1, 0, 200);
    world_until(&world, 100, world_calm(&world));
    world_kill(&world, 2);
    world_restart(&world, 2, false);
    world_block(&world, 2, 1, true);
    world_block(&world, 2, 3, true);
    world_run(&world, 3500);
    world_fill(&world, 2, 100, 300); /* Nobody else has them. */
    world_give_owners(&world, &table, (struct slot_owners){{1}}, (struct slot_owners){{1, 3}});
    world_until(&world, 5000, world.units[0].reported_slots == SLOT_COUNT);
    assert_int_equal(world.units[2].count, 200);
    world_block(&world, 2, 1, false);
    world_block(&world, 2, 3, false);
    world_until(&world, 20000, world.units[0].count == 300);
    world_until(&world, 20000, world_equal(&world, 1, 3));
    world_give_owners(&world, &table, (struct slot_owners){{1, 3}}, (struct slot_owners){{1, 3}});
    world_until(&world, 20000, world.units[1].count == 0);
    world_check_seen(&world);
    world_fini(&world);
}

/* A slot that went, was dropped, and comes again is not level by what was compared before. */
static void test_comes_again(void **state)
{
    (void)state;
    world_begin(&world, 2, 1);
    world_until(&world, 3000, world_calm(&world));
    world_fill(&world, 1, 0, 100);
    world_until(&world, 100, world_calm(&world));
    world_give_owners(&world, &table, (struct slot_owners){{1}}, (struct slot_owners){{1}});
    world_until(&world, 20000, has_nothing(2));
    world.units[1].ready = false;
    world_give_owners(&world, &table, (struct slot_owners){{1}}, (struct slot_owners){{1, 2}});
    world_run(&world, 300);
    assert_int_equal(world_not_level(&world, 2), SLOT_COUNT);
    world.units[1].ready = true;
    world_until(&world, 20000, world_not_level(&world, 2) == 0);
    assert_true(world_equal(&world, 1, 2));
    world_fini(&world);
}

/* A node that drops a slot while it compares it with a new target does not tell it that it has seen what it had. */
static void test_dropped_while_compared(void **state)
{
    const struct slot_owners one_three = {{1, 3}}, two_three = {{2, 3}}, three = {{3}},
                             three_two = {{3, 2}};
    char key[32] = "";

    (void)state;
    world_begin(&world, 3, 1);
    world_give_owners(&world, &table, one_three, one_three);
    world_until(&world, 3000, world_calm(&world));
    for (uint32_t i = 0; i == 0 || world_slot(key) >= 16; i++) { /* Among the first compared. */
        snprintf(key, sizeof key, "session-%u", i);
    }
    world_put(&world, 1, key, "x", "1");
    world_until(&world, 100, world_calm(&world));
    world.blocked[2][1] = true; /* What node 2 answers is on its way. */
    world_block(&world, 2, 3, true);
    world_give_owners(&world, &table, one_three, two_three);
    world_run(&world, 200);
    world_give_owners(&world, &table, three, three);
    world_until(&world, 3000, world.units[0].count == 0);
    world_give_owners(&world, &table, three, three_two);
    world.blocked[2][1] = false;
    world_run(&world, 1000);
    world_check_seen(&world);
    world_block(&world, 2, 3, false);
    world_until(&world, 20000, world_not_level(&world, 2) == 0);
    assert_true(world_equal(&world, 2, 3));
    assert_int_equal(world.units[1].count, 1);
    world_fini(&world);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_stray),
        cmocka_unit_test(test_stray_waits_for_disk),
        cmocka_unit_test(test_hung_disk_hands_on),
        cmocka_unit_test(test_hung_disk_stray_comes_back),
        cmocka_unit_test(test_stray_waits_for_targets),
        cmocka_unit_test(test_more_comes),
        cmocka_unit_test(test_owner_comes_back),
        cmocka_unit_test(test_forgotten_end),
        cmocka_unit_test(test_taken_with_nothing),
        cmocka_unit_test(test_given_after_a_target_was_compared),
        cmocka_unit_test(test_comes_again),
        cmocka_unit_test(test_dropped_while_compared),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
