/* Who serves a slot, and when a session may be buried. */
#include "replication_world.h"

enum { BURIAL_TOO_OLD_MS = 5100 };

static struct world world;
static struct slot_table table;

static enum route route(uint32_t number, const char *key, uint8_t flags, struct route_far *far)
{
    struct world_unit *unit = world_unit(&world, number, world_slot(key));

    return replication_route(unit->r, world_slot(key), flags, far);
}

static void set_owners(struct slot_owners owners)
{
    world_owners(&world, &table, owners, owners);
    world_tables(&world, &table);
}

static void test_in_order(void **state)
{
    struct route_far far;

    (void)state;
    world_begin(&world, 3, 2);
    set_owners((struct slot_owners){{2, 1}});
    world_until(&world, 3000, world_calm(&world));
    assert_int_equal(route(2, "a", 0, &far), ROUTE_LOCAL);
    assert_int_equal(route(1, "a", 0, &far), ROUTE_FAR);
    assert_int_equal(far.node, 2);
    assert_int_equal(far.shard, world_slot("a") % 2);
    assert_int_equal(far.flags, 0);
    assert_int_equal(route(3, "a", 0, &far), ROUTE_FAR);
    assert_int_equal(far.node, 2);
    assert_int_equal(route(1, "a", ROUTE_COORDINATE, &far), ROUTE_LOCAL);
    world_fini(&world);
}

/* The primary says nothing any more: half a second later the next one serves; a broken link is known at once. */
static void test_primary_gone(void **state)
{
    struct route_far far;

    (void)state;
    for (int broken = 0; broken < 2; broken++) {
        world_begin(&world, 3, 1);
        set_owners((struct slot_owners){{1, 2}});
        world_until(&world, 3000, world_calm(&world));
        world_block(&world, 1, 2, true);
        world_block(&world, 1, 3, true);
        if (broken) {
            world_break_all(&world, 1);
            world_step(&world);
        } else {
            world_run(&world, 300);
            assert_int_equal(route(2, "a", 0, &far), ROUTE_FAR);
            world_run(&world, 220);
        }
        assert_int_equal(route(2, "a", 0, &far), ROUTE_LOCAL);
        assert_int_equal(route(3, "a", 0, &far), ROUTE_FAR);
        assert_int_equal(far.node, 2);
        assert_int_equal(route(1, "a", 0, &far), ROUTE_LOCAL); /* Both sides go on. */
        world_block(&world, 2, 3, true);
        world_run(&world, 600);
        assert_int_equal(route(3, "a", 0, &far), ROUTE_NOWHERE);
        world_block(&world, 1, 2, false);
        world_until(&world, 1000, route(2, "a", 0, &far) == ROUTE_FAR);
        assert_int_equal(far.node, 1);
        world_fini(&world);
    }
}

static bool reaches_owner(uint32_t number, const char *key)
{
    struct world_unit *unit = world_unit(&world, number, world_slot(key));

    return replication_reaches_owner(unit->r, world_position(key));
}

/* Whether a write has anybody to go to is known before. */
static void test_reaches_owner(void **state)
{
    (void)state;
    world_begin(&world, 3, 1);
    set_owners((struct slot_owners){{1, 2}});
    world_until(&world, 3000, world_calm(&world));
    assert_true(reaches_owner(1, "a") && reaches_owner(2, "a"));
    world_kill(&world, 2);
    world_step(&world);
    assert_false(reaches_owner(1, "a")); /* The third owns nothing of it. */
    world_restart(&world, 2, false);
    world_until(&world, 3000, reaches_owner(1, "a"));
    set_owners((struct slot_owners){{1}});
    assert_false(reaches_owner(1, "a"));
    world_fini(&world);
}

static uint64_t known_ms(uint32_t number, const char *key)
{
    struct world_unit *unit = world_unit(&world, number, world_slot(key));

    return replication_known_ms(unit->r, world_position(key));
}

/* Who has been told of each use of a session: the primary, since it is that, and since nobody could stand in for it. */
static void test_known_uses(void **state)
{
    (void)state;
    world_begin(&world, 3, 1);
    set_owners((struct slot_owners){{1, 2}});
    world_until(&world, 3000, world_calm(&world));
    uint64_t begun_ms = known_ms(1, "a");
    assert_true(begun_ms <= world_now_ms(&world));
    assert_true(known_ms(2, "a") == UINT64_MAX && known_ms(3, "a") == UINT64_MAX);
    world_run(&world, 1000);
    set_owners((struct slot_owners){{1, 2, 3}}); /* It goes on. */
    world_run(&world, 1000);
    assert_int_equal(known_ms(1, "a"), begun_ms);

    world_block(&world, 1, 2, true);
    world_run(&world, 1000);
    assert_true(known_ms(2, "a") == UINT64_MAX); /* It stands in. */
    uint64_t healed_ms = world_now_ms(&world);
    world_block(&world, 1, 2, false);
    world_until(&world, 1000, replication_reaches(world.units[0].r, 2, 0));
    assert_in_range(known_ms(1, "a"), healed_ms, world_now_ms(&world));

    world_run(&world, 1000);
    replication_paused(world.units[0].r, world_now_ms(&world), world.now_us);
    assert_int_equal(known_ms(1, "a"),
                     world_now_ms(&world)); /* Somebody may have stood in for it. */

    world_run(&world, 1000);
    uint64_t moved_ms = world_now_ms(&world);
    set_owners((struct slot_owners){{2, 1, 3}});
    world_until(&world, 10, known_ms(2, "a") != UINT64_MAX); /* It has taken it. */
    assert_in_range(known_ms(2, "a"), moved_ms, world_now_ms(&world));
    assert_true(known_ms(1, "a") == UINT64_MAX);
    world_fini(&world);
}

/* Links that are idle say that they live. */
static void test_idle(void **state)
{
    struct route_far far;

    (void)state;
    world_begin(&world, 2, 1);
    world_until(&world, 3000, world_calm(&world));
    world_run(&world, 2000);
    uint64_t before = world.sent[REPLICATION_PING];
    for (int i = 0; i < 100; i++) {
        world_run(&world, 50);
        assert_int_equal(route(2, "a", 0, &far), ROUTE_FAR);
    }
    assert_true(world.sent[REPLICATION_PING] - before <= 4 * 52);
    world_fini(&world);
}

/* A link that says nothing for long is cut, so that it is made anew: a connection may be dead at one end only. */
static void test_dead_link(void **state)
{
    (void)state;
    world_begin(&world, 2, 1);
    world_until(&world, 3000, world_calm(&world));
    world_block(&world, 1, 2, true);
    world_run(&world, 4000);
    assert_true(world.links[0][1].up && world.links[1][0].up);
    world_run(&world, 1500);
    assert_false(world.links[0][1].up || world.links[1][0].up);
    world_block(&world, 1, 2, false);
    world_until(&world, 1000, replication_reaches(world.units[0].r, 2, 0));
    world_fini(&world);
}

/* One that was started again does not serve what it has not compared: it asks the next owner to. */
static void test_recovers_first(void **state)
{
    struct route_far far;

    (void)state;
    world_begin(&world, 2, 1);
    world_until(&world, 3000, world_calm(&world));
    world_kill(&world, 1);
    world_step(&world);
    assert_int_equal(route(2, "a", 0, &far), ROUTE_LOCAL);
    world_put(&world, 2, "a", "x", "while it was away");
    world_restart(&world, 1, false);
    world.units[0].ready = false;
    assert_int_equal(route(1, "a", 0, &far), ROUTE_NOWHERE);
    world_until(&world, 100, route(1, "a", 0, &far) == ROUTE_FAR);
    assert_int_equal(far.node, 2);
    assert_int_equal(far.flags, ROUTE_COORDINATE);
    assert_int_equal(route(2, "a", far.flags, &far), ROUTE_LOCAL);
    world_run(&world, 4000); /* However long it takes. */
    assert_int_equal(route(1, "a", 0, &far), ROUTE_FAR);
    world.units[0].ready = true;
    world_until(&world, 3000, route(1, "a", 0, &far) == ROUTE_LOCAL);
    assert_non_null(world_find(&world.units[0], world_position("a"), text("a")));
    world_fini(&world);
}

/* Started again without the others: after three seconds it serves what it has, not before. */
static void test_alone(void **state)
{
    struct route_far far;

    (void)state;
    world_begin(&world, 3, 1);
    world_until(&world, 3000, world_calm(&world));
    world_kill(&world, 1);
    world_kill(&world, 2);
    world_kill(&world, 3);
    world_restart(&world, 3, false);
    world_run(&world, REPLICATION_ALONE_MS - 100);
    assert_int_equal(route(3, "a", 0, &far), ROUTE_NOWHERE);
    world_run(&world, 200);
    assert_int_equal(route(3, "a", 0, &far), ROUTE_LOCAL);
    world_put(&world, 3, "a", "x", "alone");
    world_restart(&world, 1, false);
    world_restart(&world, 2, false);
    world_until(&world, 5000, world_calm(&world));
    assert_true(world_equal(&world, 1, 3) && world_equal(&world, 2, 3));
    world_fini(&world);
}

/* Those of the others that this node's table says are, have another clock. */
static void set_apart(uint32_t number, bool apart)
{
    static struct slot_table told;

    told = *world.nodes[number].table;
    for (uint32_t i = 0; i < told.member_count; i++) {
        told.members[i].apart = apart && told.members[i].number != number;
    }
    world_table(&world, number, &told);
}

/* Started again, and the others do not talk to it for its clock: they live, so it does not serve what it has, however
 * long that lasts. */
static void test_clock_apart(void **state)
{
    struct route_far far;

    (void)state;
    world_begin(&world, 3, 1);
    world_until(&world, 3000, world_calm(&world));
    world_kill(&world, 3);
    for (uint32_t number = 1; number < 3; number++) {
        world_block(&world, number, 3, true);
    }
    world_restart(&world, 3, false);
    set_apart(3, true);
    world_run(&world, 3 * REPLICATION_ALONE_MS);
    assert_int_equal(route(3, "a", 0, &far), ROUTE_NOWHERE);
    set_apart(3, false); /* From here on it can be that they are gone. */
    world_run(&world, REPLICATION_ALONE_MS - 100);
    assert_int_equal(route(3, "a", 0, &far), ROUTE_NOWHERE);
    world_run(&world, 200);
    assert_int_equal(route(3, "a", 0, &far), ROUTE_LOCAL);
    world_fini(&world);
}

/* A node starts again with the map that it had. */
static void restart_with_kept(uint32_t number)
{
    world.nodes[number].table->kept = true;
    world_restart(&world, number, false);
}

/* It hears that this is the present one. */
static void hear(uint32_t number)
{
    static struct slot_table told;

    told = *world.nodes[number].table;
    told.kept = false;
    world_table(&world, number, &told);
}

/* The only owner, started again: where more of the others are apart from it than can be reached, its own clock may be the wrong
 * one, and it does not serve; nor before one of them can be reached, or has not been for three seconds. */
static void test_only_owner_with_a_doubted_clock(void **state)
{
    struct route_far far;

    (void)state;
    world_begin(&world, 3, 1);
    set_owners((struct slot_owners){{3}});
    world_until(&world, 3000, world_calm(&world));
    for (int agrees = 0; agrees < 2; agrees++) {
        world_kill(&world, 3);
        world_block(&world, 1, 3, true);
        world_block(&world, 2, 3, true);
        restart_with_kept(3);
        hear(3); /* It decides itself. */
        assert_int_equal(route(3, "a", 0, &far), ROUTE_NOWHERE);
        set_apart(3, true);
        world_run(&world, 3 * REPLICATION_ALONE_MS);
        assert_int_equal(route(3, "a", 0, &far), ROUTE_NOWHERE);
        if (agrees) { /* One of two: as many say so as say the other. */
            static struct slot_table told;
            told = *world.nodes[3].table;
            told.members[0].apart = false;
            world_table(&world, 3, &told);
            world_block(&world, 1, 3, false);
            world_until(&world, 1000, route(3, "a", 0, &far) == ROUTE_LOCAL);
        } else {
            set_apart(3, false);
            assert_int_equal(route(3, "a", 0, &far), ROUTE_LOCAL); /* Nobody is there. */
        }
    }
    world_kill(&world, 3);
    world_block(&world, 1, 3, false);
    restart_with_kept(3);
    hear(3);
    assert_int_equal(route(3, "a", 0, &far), ROUTE_NOWHERE);
    world_until(&world, 100, route(3, "a", 0, &far) == ROUTE_LOCAL); /* One talks to it. */
    world_fini(&world);
}

/* Two were started again, and the third is there: what these two agree on is not enough. */
static void test_both_restarted(void **state)
{
    struct route_far far;

    (void)state;
    world_begin(&world, 3, 1);
    world_until(&world, 3000, world_calm(&world));
    world_kill(&world, 1);
    world_kill(&world, 2);
    world_put(&world, 3, "a", "x", "only here");
    world_block(&world, 1, 3, true);
    world_block(&world, 2, 3, true);
    world_restart(&world, 1, false);
    world_restart(&world, 2, false);
    world_run(&world, 2500);
    assert_true(world_stats(&world, 1)->compared > 0);
    assert_int_not_equal(route(1, "a", 0, &far), ROUTE_LOCAL);
    world_block(&world, 1, 3, false);
    world_until(&world, 5000, route(1, "a", 0, &far) == ROUTE_LOCAL);
    assert_non_null(world_find(&world.units[0], world_position("a"), text("a")));
    world_fini(&world);
}

/* The only owner by a map that it has kept over its start may be that no more: it waits until it has heard the present
 * one, or has heard nothing for so long that there is nobody to hear. */
static void test_kept_map(void **state)
{
    struct route_far far;

    (void)state;
    world_begin(&world, 2, 1);
    set_owners((struct slot_owners){{1}});
    world_until(&world, 3000, world_calm(&world));
    for (int alone = 0; alone < 2; alone++) {
        world_kill(&world, 1);
        restart_with_kept(1);
        world_run(&world, REPLICATION_ALONE_MS - 100);
        assert_int_equal(route(1, "a", 0, &far), ROUTE_NOWHERE);
        if (alone) {
            world_run(&world, 200);
        } else {
            hear(1);
        }
        assert_int_equal(route(1, "a", 0, &far), ROUTE_LOCAL);
    }
    world_kill(&world, 1);
    restart_with_kept(1);
    set_owners(
        (struct slot_owners){{2, 1}}); /* It is the second one by now: it is compared first. */
    assert_int_equal(route(1, "a", ROUTE_COORDINATE, &far), ROUTE_NOWHERE);
    world_until(&world, 3000, route(1, "a", ROUTE_COORDINATE, &far) == ROUTE_LOCAL);
    assert_true(world_stats(&world, 1)->compared > 0);
    world_fini(&world);
}

/* All owners by such a map have started again: that they have the same says nothing of who owns the slot now. */
static void test_kept_maps_agree(void **state)
{
    struct route_far far;

    (void)state;
    world_begin(&world, 3, 1);
    set_owners((struct slot_owners){{1, 2}});
    world_until(&world, 3000, world_calm(&world));
    world_kill(&world, 1);
    world_kill(&world, 2);
    restart_with_kept(1);
    restart_with_kept(2);
    world_run(&world, 2500);
    assert_true(world_stats(&world, 1)->compared > 0);
    assert_int_not_equal(route(1, "a", 0, &far), ROUTE_LOCAL);
    assert_int_not_equal(route(2, "a", ROUTE_COORDINATE, &far), ROUTE_LOCAL);
    hear(1);
    assert_int_equal(route(1, "a", 0, &far), ROUTE_LOCAL);
    assert_int_not_equal(route(2, "a", ROUTE_COORDINATE, &far), ROUTE_LOCAL);
    hear(2);
    assert_int_equal(route(2, "a", ROUTE_COORDINATE, &far), ROUTE_LOCAL);
    world_fini(&world);
}

/* ---- Three copies ---- */

/* The primary told the third of a write that the second does not have: before the second reads, it has it. */
static void test_take_over(void **state)
{
    struct route_far far;

    (void)state;
    world_begin(&world, 3, 1);
    world_until(&world, 3000, world_calm(&world));
    world_block(&world, 1, 2, true);
    world_put(&world, 1, "a", "x", "the second does not have it");
    world_run(&world, 20);
    assert_non_null(world_find(&world.units[2], world_position("a"), text("a")));
    assert_null(world_find(&world.units[1], world_position("a"), text("a")));
    world_kill(&world, 1);
    assert_int_equal(route(2, "b", 0, &far), ROUTE_WAIT);
    uint64_t begin_us = world.now_us;
    while (route(2, "a", 0, &far) == ROUTE_WAIT) {
        world_step(&world);
    }
    assert_int_equal(route(2, "a", 0, &far), ROUTE_LOCAL);
    assert_non_null(world_find(&world.units[1], world_position("a"), text("a")));
    assert_true(world.now_us - begin_us < 50000);
    /* All others had the same: one message and its answers. */
    world_until(&world, 50, route(2, "b", 0, &far) == ROUTE_LOCAL);
    /* The first is back, and gone again: asked anew. */
    world_block(&world, 1, 2, false);
    world_restart(&world, 1, false);
    world_until(&world, 5000, route(2, "a", 0, &far) == ROUTE_FAR);
    world_kill(&world, 1);
    assert_int_equal(route(2, "a", 0, &far), ROUTE_WAIT);
    world_until(&world, 50, route(2, "a", 0, &far) == ROUTE_LOCAL);
    world_fini(&world);
}

/* Nobody else can be asked. */
static void test_take_over_alone(void **state)
{
    struct route_far far;

    (void)state;
    world_begin(&world, 3, 1);
    world_until(&world, 3000, world_calm(&world));
    world_kill(&world, 1);
    assert_int_equal(route(2, "a", 0, &far), ROUTE_WAIT);
    world_kill(&world, 3); /* It will not answer any more. */
    world_step(&world);
    assert_int_equal(route(2, "a", 0, &far), ROUTE_LOCAL);
    world_fini(&world);
}

/* ---- After a pause ---- */

static bool has(uint32_t number, const char *key)
{
    struct world_unit *unit = world_unit(&world, number, world_slot(key));

    return world_find(unit, world_position(key), bytes_of_string(key)) != NULL;
}

/* Node `number` goes on, and finds that its links are broken, or not; it serves key "a" within `ms`, and has it then. */
static void resumes_with_it(uint32_t number, bool broken, uint32_t ms)
{
    struct route_far far;

    assert_false(has(number, "a"));
    world_resume(&world, number, true);
    if (broken) {
        world_break_all(&world, number);
    }
    assert_int_equal(route(number, "a", 0, &far), ROUTE_WAIT);
    assert_int_equal(route(number, "b", 0, &far), ROUTE_WAIT);
    const uint64_t begin_us = world.now_us;
    while (route(number, "a", 0, &far) == ROUTE_WAIT) {
        world_step(&world);
    }
    assert_true(world.now_us - begin_us < ms * UINT64_C(1000));
    assert_int_equal(route(number, "a", 0, &far), ROUTE_LOCAL);
    assert_true(has(number, "a"));
    world_until(&world, 20, route(number, "b", 0, &far) == ROUTE_LOCAL);
}

/* The primary was stopped, and stood in for: before it goes on it has what the next one did. */
static void test_paused(void **state)
{
    struct route_far far;

    (void)state;
    world_begin(&world, 3, 1);
    world_until(&world, 3000, world_calm(&world));
    world_pause(&world, 1);
    world_until(&world, 700, route(2, "a", 0, &far) == ROUTE_LOCAL);
    world_put(&world, 2, "a", "x", "while it was stopped");
    world_run(&world, 700);
    resumes_with_it(1, false, 50);
    world_until(&world, 300, route(2, "a", 0, &far) == ROUTE_FAR);
    /* One that was told nothing is as it was; and for the next pause it asks anew. */
    world_pause(&world, 1);
    world_run(&world, 100);
    world_resume(&world, 1, false);
    assert_int_equal(route(1, "a", 0, &far), ROUTE_LOCAL);
    world_pause(&world, 1);
    world_run(&world, 600);
    world_resume(&world, 1, true);
    assert_int_equal(route(1, "a", 0, &far), ROUTE_WAIT);
    world_until(&world, 50, route(1, "a", 0, &far) == ROUTE_LOCAL);
    world_fini(&world);
}

/* Its links were given up meanwhile: it waits for new ones, but not for ever. */
static void test_paused_links(void **state)
{
    struct route_far far;

    (void)state;
    world_begin(&world, 2, 1);
    world_until(&world, 3000, world_calm(&world));
    world_pause(&world, 1);
    world_until(&world, 700, route(2, "a", 0, &far) == ROUTE_LOCAL);
    world_put(&world, 2, "a", "x", "while it was stopped");
    resumes_with_it(1, true, 100);
    world_pause(&world, 1);
    world_run(&world, 600);
    world_resume(&world, 1, true);
    world_kill(&world, 2);
    world_run(&world, REPLICATION_SILENCE_MS - 100);
    assert_int_equal(route(1, "a", 0, &far), ROUTE_WAIT);
    world_run(&world, 110);
    assert_int_equal(route(1, "a", 0, &far), ROUTE_LOCAL);
    world_fini(&world);
}

/* Time goes on, in which the first node does nothing but notice, again and again, that it was paused. */
static void pause_again_and_again(uint32_t ms)
{
    for (uint32_t passed_ms = 0; passed_ms < ms; passed_ms += 400) {
        world_pause(&world, 1);
        world_run(&world, 390);
        world_resume(&world, 1, true);
        world_run(&world, 10);
    }
}

/* A pause of its own makes no node look alive that is dead, however many there are; nor one dead that lives. */
static void test_paused_beside_the_dead(void **state)
{
    (void)state;
    world_begin(&world, 2, 1);
    world_until(&world, 3000, world_calm(&world));
    pause_again_and_again(4000);
    assert_true(replication_reaches(world.units[0].r, 2, 0));
    world_pause(&world, 1);
    world_run(&world, 3000);
    world_resume(&world, 1, true);
    world_run(&world, 10);
    assert_true(replication_reaches(world.units[0].r, 2, 0));
    /* It falls silent during a pause: a word is waited for half as long as else. */
    world_pause(&world, 1);
    world_block(&world, 1, 2, true);
    world_run(&world, 3000);
    world_resume(&world, 1, true);
    world_run(&world, REPLICATION_SILENCE_MS / 2 - 60);
    assert_true(replication_reaches(world.units[0].r, 2, 0));
    world_run(&world, 70);
    assert_false(replication_reaches(world.units[0].r, 2, 0));
    /* One that was silent before stays so. */
    world_pause(&world, 1);
    world_run(&world, 1000);
    world_resume(&world, 1, true);
    world_run(&world, 1);
    assert_false(replication_reaches(world.units[0].r, 2, 0));
    world_block(&world, 1, 2, false);
    world_until(&world, 3000, replication_reaches(world.units[0].r, 2, 0));
    /* And where there is one pause after the other. */
    world_block(&world, 1, 2, true);
    pause_again_and_again(1200);
    assert_false(replication_reaches(world.units[0].r, 2, 0));
    world_fini(&world);
}

/* A node that starts, and is paused at once, has sought nobody meanwhile: it does not serve alone for that. */
static void test_paused_at_start(void **state)
{
    struct route_far far;

    (void)state;
    world_begin(&world, 2, 1);
    world_until(&world, 3000, world_calm(&world));
    world_kill(&world, 1);
    world_run(&world, 700);
    world_put(&world, 2, "a", "x", "while it was away");
    world_block(&world, 1, 2, true);
    world_restart(&world, 1, false);
    world_run(&world, 100);
    world_pause(&world, 1);
    world_run(&world, REPLICATION_ALONE_MS);
    world_resume(&world, 1, true);
    world_run(&world, 50);
    assert_int_equal(route(1, "a", 0, &far), ROUTE_NOWHERE);
    world_block(&world, 1, 2, false);
    world_until(&world, 3000, route(1, "a", 0, &far) == ROUTE_LOCAL);
    assert_true(has(1, "a"));
    world_fini(&world);
}

/* One that is stopped while it takes over: the answers to what it asked before tell nothing of what was done since. */
static void test_paused_taking_over(void **state)
{
    struct route_far far;

    (void)state;
    world_begin(&world, 3, 1);
    world_until(&world, 3000, world_calm(&world));
    world_kill(&world, 1);
    assert_int_equal(route(2, "a", 0, &far), ROUTE_WAIT);
    world_until(&world, 10, world.sent[REPLICATION_SEEN_ASK] > 0);
    world_pause(&world, 2);
    world_until(&world, 10, world.sent[REPLICATION_SEEN] > 0);
    world_until(&world, 700, route(3, "a", 0, &far) == ROUTE_LOCAL);
    world_put(&world, 3, "a", "x", "while it was stopped");
    resumes_with_it(2, false, 50);
    world_fini(&world);
}

/* ---- Burials ---- */

static bool asked_now; /* The others were, by the last question. */

static bool may_bury(uint32_t number, const char *key)
{
    struct world_unit *unit = world_unit(&world, number, world_slot(key));
    struct world_session *session = world_find(unit, world_position(key), bytes_of_string(key));

    return replication_may_bury(unit->r, world_position(key), bytes_of_string(key),
                                buffer_bytes(&session->record), &asked_now);
}

static void put_with_ttl(uint32_t number, const char *key, uint64_t ms)
{
    world_change(&world, number, key, (struct change){.operation = CHANGE_TTL, .ms = ms});
}

static void test_burial_agreed(void **state)
{
    (void)state;
    world_begin(&world, 3, 1);
    world_until(&world, 3000, world_calm(&world));
    put_with_ttl(1, "a", 100);
    world_run(&world, 150);
    assert_false(may_bury(1, "a"));
    assert_true(asked_now);
    assert_false(may_bury(1, "a")); /* They are being asked. */
    assert_false(asked_now);
    assert_false(may_bury(2, "a")); /* Not the primary. */
    assert_false(asked_now);
    world_run(&world, 5);
    assert_true(may_bury(1, "a"));
    assert_int_equal(world_stats(&world, 1)->burials_asked, 1);
    assert_false(may_bury(2, "a"));
    assert_int_equal(world_stats(&world, 2)->burials_asked, 0);
    world_put(&world, 1, "a", "x", "begins anew");
    put_with_ttl(1, "a", 100);
    world_run(&world, 150);
    assert_false(may_bury(1, "a")); /* Another state of it. */
    world_run(&world, BURIAL_TOO_OLD_MS);
    assert_false(may_bury(1, "a")); /* That was agreed on too long ago. */
    world_run(&world, 5);
    assert_true(may_bury(1, "a"));
    world_fini(&world);
}

/* What was agreed on does not outlast a time in which another node may have stood in, and begun the session anew. */
static void test_burial_agreed_before(void **state)
{
    (void)state;
    world_begin(&world, 2, 1);
    world_until(&world, 3000, world_calm(&world));
    put_with_ttl(1, "a", 100);
    world_run(&world, 150);
    assert_false(may_bury(1, "a"));
    replication_paused(world.units[0].r, world_now_ms(&world), world.now_us);
    world_run(&world, 5);
    assert_false(may_bury(1, "a")); /* That answer is from before the pause. */
    world_run(&world, 5);
    replication_paused(world.units[0].r, world_now_ms(&world), world.now_us);
    assert_false(may_bury(1, "a"));
    world_run(&world, 5);
    world_block(&world, 1, 2, true);
    world_run(&world, 1000);
    world_block(&world, 1, 2, false);
    world_until(&world, 1000, replication_reaches(world.units[0].r, 2, 0));
    assert_false(may_bury(1, "a"));
    world_until(&world, 1000, may_bury(1, "a"));
    world_fini(&world);
}

/* Who has it alive says no, and sends it. */
static void test_burial_refused(void **state)
{
    (void)state;
    world_begin(&world, 2, 1);
    world_until(&world, 3000, world_calm(&world));
    put_with_ttl(1, "a", 100);
    world_run(&world, 10);
    world_block(&world, 1, 2, true);
    world_break_all(&world, 1);
    put_with_ttl(2, "a", 100000);
    world_run(&world, 150);
    assert_false(may_bury(1, "a")); /* Nobody can be asked. */
    assert_int_equal(world_stats(&world, 1)->burials_asked, 0);
    /* The streams are blocked by a delay, so that only the answer can bring it. */
    world_kill(&world, 2);
    world_block(&world, 1, 2, false);
    world_restart(&world, 2, false);
    world.units[1].ready = world.units[0].ready = false;
    world_until(&world, 1000, replication_reaches(world.units[0].r, 2, 0));
    assert_false(may_bury(1, "a"));
    world_run(&world, 10);
    assert_int_equal(world_stats(&world, 1)->burials_refused, 1);
    assert_true(world_equal(&world, 1, 2));
    world_fini(&world);
}

/* The other end has it past its deadline, too, but has seen more of it. */
static void test_burial_of_less(void **state)
{
    (void)state;
    world_begin(&world, 2, 1);
    world_until(&world, 3000, world_calm(&world));
    put_with_ttl(1, "a", 100);
    world_run(&world, 10);
    world_block(&world, 1, 2, true);
    world_break_all(&world, 1);
    world_put(&world, 2, "a", "x", "a last write");
    world_run(&world, 150);
    world_kill(&world, 2);
    world_block(&world, 1, 2, false);
    world_restart(&world, 2, false);
    world.units[1].ready = world.units[0].ready = false;
    world_until(&world, 1000, replication_reaches(world.units[0].r, 2, 0));
    assert_false(may_bury(1, "a"));
    world_run(&world, 10);
    assert_int_equal(world_stats(&world, 1)->burials_refused, 1);
    assert_false(may_bury(1, "a"));
    world_run(&world, 10);
    assert_true(may_bury(1, "a"));
    world_fini(&world);
}

/* Who has nothing of it agrees; and so does everybody where there is nobody. */
static void test_burial_of_nothing(void **state)
{
    (void)state;
    world_begin(&world, 2, 1);
    world_until(&world, 3000, world_calm(&world));
    put_with_ttl(1, "a", 100);
    world_run(&world, 150);
    world_remove(&world.units[1], world_find(&world.units[1], world_position("a"), text("a")));
    assert_false(may_bury(1, "a"));
    world_run(&world, 5);
    assert_true(may_bury(1, "a"));
    set_owners((struct slot_owners){{1}});
    assert_true(may_bury(1, "a"));
    world_fini(&world);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_in_order),
        cmocka_unit_test(test_primary_gone),
        cmocka_unit_test(test_reaches_owner),
        cmocka_unit_test(test_known_uses),
        cmocka_unit_test(test_idle),
        cmocka_unit_test(test_dead_link),
        cmocka_unit_test(test_recovers_first),
        cmocka_unit_test(test_alone),
        cmocka_unit_test(test_clock_apart),
        cmocka_unit_test(test_only_owner_with_a_doubted_clock),
        cmocka_unit_test(test_both_restarted),
        cmocka_unit_test(test_kept_map),
        cmocka_unit_test(test_kept_maps_agree),
        cmocka_unit_test(test_take_over),
        cmocka_unit_test(test_take_over_alone),
        cmocka_unit_test(test_paused),
        cmocka_unit_test(test_paused_links),
        cmocka_unit_test(test_paused_beside_the_dead),
        cmocka_unit_test(test_paused_at_start),
        cmocka_unit_test(test_paused_taking_over),
        cmocka_unit_test(test_burial_agreed),
        cmocka_unit_test(test_burial_agreed_before),
        cmocka_unit_test(test_burial_refused),
        cmocka_unit_test(test_burial_of_less),
        cmocka_unit_test(test_burial_of_nothing),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
