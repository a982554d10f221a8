/* Comparisons between nodes: what differs is exchanged, at a pace, and each node knows what it has all of. */
#include "replication_world.h"

static struct world world;
static struct slot_table table;

/* ---- What is exchanged ---- */

/* An empty node gets everything, and not by a round trip for each session: whoever asks, all of a slot is sent once the
 * one end has said that it has nothing of it. */
static void test_empty_node(void **state)
{
    enum { SESSIONS = 20000 };

    (void)state;
    for (uint32_t empty = 1; empty <= 2; empty++) {
        world_begin(&world, 2, 1);
        world_kill(&world, empty);
        world_run(&world, 3100);
        world_fill(&world, 3 - empty, 0, SESSIONS);
        world.delay_us = 1000;
        world_restart(&world, empty, true);
        uint64_t begin_us = world.now_us;
        memset(world.sent, 0, sizeof world.sent);
        world_until(&world, 5000, world_calm(&world));
        assert_true(world_equal(&world, 1, 2));
        assert_int_equal(world.units[empty - 1].count, SESSIONS);
        /* One by one that would be 40 s. */
        assert_true(world.now_us - begin_us < 5000000);
        assert_true(world.sent[REPLICATION_COMPARE_ITEMS] < SLOT_COUNT / 8);
        /* Where both ask for a slot at the same time, and the later one is not empty, it may come twice; else only where they meet, as
         * they begin at either end of the slots. */
        const uint64_t most = empty == 2 ? SESSIONS + 1 : SESSIONS + SESSIONS / 100;
        assert_in_range(world.sent[REPLICATION_COMPARE_RECORD], SESSIONS, most);
        assert_in_range(world_stats(&world, empty)->healed_in, SESSIONS, most);
        world_fini(&world);
    }
}

/* Who is empty takes nothing away: neither as the one who asks nor as the other. */
static void test_empty_is_no_source(void **state)
{
    (void)state;
    for (uint32_t wiped = 1; wiped <= 2; wiped++) {
        world_begin(&world, 2, 1);
        world_until(&world, 3000, world_calm(&world));
        world_fill(&world, 1, 0, 500);
        world_until(&world, 100, world_calm(&world));
        world_kill(&world, wiped);
        world_restart(&world, wiped, true);
        world_until(&world, 3000, world_calm(&world));
        assert_true(world_equal(&world, 1, 2));
        assert_int_equal(world.units[0].count, 500);
        world_check_seen(&world);
        world_fini(&world);
    }
}

static void test_only_what_differs(void **state)
{
    (void)state;
    world_begin(&world, 2, 1);
    world_until(&world, 3000, world_calm(&world));
    world_fill(&world, 1, 0, 2000);
    world_until(&world, 100, world_calm(&world));
    world_kill(&world, 2);
    world_fill(&world, 1, 1990, 2010); /* Ten of them anew. */
    world_restart(&world, 2, false);
    memset(world.sent, 0, sizeof world.sent);
    world_until(&world, 3000, world_equal(&world, 1, 2) && world_calm(&world));
    assert_true(world.sent[REPLICATION_COMPARE_RECORD] <= 40);
    world_fini(&world);
}

/* Thousands of sessions in one slot are compared in ranges: no call looks at all of them. */
static void test_large_slot(void **state)
{
    enum { SESSIONS = 9000 };
    char key[32];

    (void)state;
    world_begin(&world, 2, 1);
    world_kill(&world, 2);
    world_run(&world, 3100);
    for (int i = 0; i < SESSIONS; i++) {
        snprintf(key, sizeof key, "{one}%d", i);
        world_put(&world, 1, key, "x", "value");
    }
    for (uint32_t wiped = 0; wiped < 2; wiped++) { /* Either end has them; then both. */
        world_restart(&world, 2, wiped == 0);
        world.units[0].walked_most = world.units[1].walked_most = 0;
        world_until(&world, 5000, world_calm(&world));
        assert_true(world_equal(&world, 1, 2));
        assert_int_equal(world.units[1].count, SESSIONS);
        assert_true(world.units[0].walked_most < 8192 && world.units[1].walked_most < 8192);
        world_kill(&world, 2);
    }
    world_restart(&world, 2, false);
    world_fini(&world);
}

/* Node 2 is empty; bytes that node 1 has sent it so far, which has begun. */
static uint64_t begin_at_pace(uint64_t bytes_per_s, uint32_t sessions)
{
    world_init(&world, 1);
    world.heal_bytes_per_s = bytes_per_s;
    world_node(&world, 1, 1);
    world_node(&world, 2, 1);
    world_wire(&world);
    world_all_own(&world);
    world_kill(&world, 2);
    world_run(&world, 3100);
    world_fill(&world, 1, 0, sessions);
    world_restart(&world, 2, true);
    world_until(&world, 1000, world_stats(&world, 1)->healed_out > 0);
    return world_stats(&world, 1)->healed_bytes_out;
}

/* At most so many bytes in a second. */
static void test_pace(void **state)
{
    uint64_t begin = begin_at_pace(100000, 3000), begin_us = world.now_us;

    (void)state;
    world_run(&world, 2000);
    uint64_t sent = world_stats(&world, 1)->healed_bytes_out - begin;
    assert_true(sent > 150000 && sent < 230000);
    world_until(&world, 10000, world_calm(&world));
    assert_true(world_equal(&world, 1, 2));
    sent = world_stats(&world, 1)->healed_bytes_out - begin;
    assert_true(world.now_us - begin_us > sent * 9); /* 10 us a byte. */
    world_fini(&world);
}

/* So many also where what a tick gives is one byte, and nearly another one. */
static void test_pace_of_parts(void **state)
{
    uint64_t begin = begin_at_pace(1900 * 1000 / WORLD_STEP_US, 1000);

    (void)state;
    world_run(&world, 4000);
    uint64_t sent = world_stats(&world, 1)->healed_bytes_out - begin;
    assert_true(sent > 6800 * 1000 / WORLD_STEP_US && sent < 8400 * 1000 / WORLD_STEP_US);
    world_fini(&world);
}

/* Links break while a node is filled: what is level stays, only the rest is compared. */
static void test_links_break(void **state)
{
    (void)state;
    world_begin(&world, 2, 1);
    world_kill(&world, 2);
    world_run(&world, 3100);
    world_fill(&world, 1, 0, 5000);
    world_restart(&world, 2, true);
    for (int i = 0; i < 10; i++) {
        world_run(&world, 30);
        world_break_all(&world, 2);
    }
    world_until(&world, 5000, world_calm(&world));
    assert_true(world_equal(&world, 1, 2));
    assert_true(world_stats(&world, 2)->compared < SLOT_COUNT * 11 / 10);
    assert_int_equal(world_stats(&world, 1)->lives, 1);
    world_fini(&world);
}

/* Nothing tells of a difference: the round finds it. */
static void test_background(void **state)
{
    (void)state;
    world_init(&world, 1);
    world.round_ms = 2000;
    world_node(&world, 1, 1);
    world_node(&world, 2, 1);
    world_wire(&world);
    world_all_own(&world);
    world_until(&world, 3000, world_calm(&world));
    world_fill(&world, 1, 0, 100);
    world_until(&world, 100, world_equal(&world, 1, 2));
    world_remove(&world.units[1], &world.units[1].sessions[40]);
    world_remove(&world.units[0], &world.units[0].sessions[70]);
    world_until(&world, 6000, world_equal(&world, 1, 2));
    assert_int_equal(world.units[1].count, 100);
    /* One round, or two. */
    uint64_t before = world_stats(&world, 1)->compared;
    world_run(&world, 4000);
    assert_in_range(world_stats(&world, 1)->compared - before, SLOT_COUNT, SLOT_COUNT * 5 / 2);
    /* With one slot in common that one is not compared all the time. */
    world_owners(&world, &table, (struct slot_owners){{1}}, (struct slot_owners){{1}});
    table.owners[7] = table.targets[7] = (struct slot_owners){{1, 2}};
    world_tables(&world, &table);
    world_until(&world, 20000, world_stats(&world, 2)->slots_dropped == SLOT_COUNT - 1);
    before = world_stats(&world, 1)->compared;
    world_run(&world, 6000);
    assert_in_range(world_stats(&world, 1)->compared - before, 1, 600);
    world_fini(&world);
}

/* While a shard still loads what it stored, nothing is compared with it. */
static void test_not_ready(void **state)
{
    (void)state;
    world_begin(&world, 2, 1);
    world.units[1].ready = false;
    world_run(&world, 2000);
    assert_int_equal(world_stats(&world, 1)->compared + world_stats(&world, 2)->compared, 0);
    world.units[1].ready = true;
    world_until(&world, 5000, world_calm(&world));
    world_fini(&world);
}

/* The disk of one end is full: the comparison fails, and the slot is not taken for level before it was done again. */
static void test_merge_fails(void **state)
{
    (void)state;
    world_begin(&world, 2, 1);
    world_kill(&world, 2);
    world_run(&world, 3100);
    world_fill(&world, 1, 0, 100);
    world_restart(&world, 2, true);
    world.units[1].refuses = STATUS_DISK_FULL;
    world_run(&world, 2000);
    assert_true(world_not_level(&world, 2) > 0 && world_not_level(&world, 2) <= 100);
    assert_true(world_stats(&world, 2)->compares_failed > 0);
    world_check_seen(&world);
    world.units[1].refuses = STATUS_OK;
    world_until(&world, 20000, world_calm(&world));
    assert_true(world_equal(&world, 1, 2));
    world_fini(&world);
}

/* ---- What is seen ---- */

/* What was parked has no room after all. */
static void refuse_parked(struct world_unit *unit)
{
    unit->park = 0;
    while (unit->parked_count > 0) {
        struct world_parked *parked = &unit->parked[--unit->parked_count];
        buffer_fini(&parked->body);
        replication_merged(unit->r, parked->ticket, STATUS_DISK_FULL);
    }
}

/* A session that both nodes had ended at node 2, which has forgotten the end (its unit's `end` is that). Node 1 has not heard
 * of it, and no stream brings it, as node 1 has begun another life. They hear each other again from now on. */
static struct world_write end_at_one(const char *key)
{
    world_begin(&world, 2, 1);
    world_until(&world, 3000, world_calm(&world));
    world_put(&world, 1, key, "x", "1");
    world_until(&world, 100, world_calm(&world));
    world_block(&world, 1, 2, true);
    world_change(&world, 2, key, (struct change){.operation = CHANGE_DESTROY});
    const struct world_write end = world.writes[world.write_count - 1];
    world_run(&world, 1000);
    world_kill(&world, 1);
    world_restart(&world, 1, false);
    struct world_session *there = world_find(&world.units[1], end.position, text(key));
    assert_int_equal(buffer_append(&world.units[1].end, buffer_bytes(&there->record)), 0);
    world_remove(&world.units[1], there);
    world_block(&world, 1, 2, false);
    return end;
}

/* As a copy of it comes, node 2 knows by what it has seen that the session ended. It sends the end back within the comparison, so
 * that node 1 has the end before it takes it for seen. */
static void test_end_is_sent_back(void **state)
{
    /* They begin to ask at either end of the slots: the first one is compared as the one of them asks, the other as the other does. */
    static const char *const keys[] = {"a", "b"};

    (void)state;
    assert_true(world_slot("a") > SLOT_COUNT * 3 / 4 && world_slot("b") < SLOT_COUNT / 4);
    for (uint32_t i = 0; i < 2; i++) {
        const struct world_write end = end_at_one(keys[i]);
        struct world_unit *other = &world.units[0];
        world.units[1].ended = end.position;
        world_until(&world, 20000, seen_covers(&other->seen, end.slot, end.stamp));
        assert_int_equal(world.units[1].ended, 0);
        assert_true(world_equal(&world, 1, 2));
        assert_int_equal(world_stats(&world, 1)->compares_failed, 0);
        world_fini(&world);
    }
}

/* A session ended at one node, which has forgotten the end and takes nothing now: what the other one has of the session does not end
 * there, and so nobody tells the other one, whichever of them asks for the comparison. So that one has not seen the end. */
static void test_end_that_is_not_told(void **state)
{
    (void)state;
    const struct world_write end = end_at_one("a");
    for (int i = 0; i < 10; i++) {
        world.units[1].park = end.position;
        world_until(&world, 20000, world.units[1].parked_count > 0);
        world_run(&world, 100); /* All else of the comparison is done. */
        refuse_parked(&world.units[1]);
    }
    assert_true(world_stats(&world, 2)->compares_failed > 0);
    assert_int_equal(world.units[0].count, 1);
    assert_false(seen_covers(&world.units[0].seen, end.slot, end.stamp));
    world_fini(&world);
}

/* A comparison that fails at the end that asked is asked for again while answers to the first one are on their way. */
static void test_asked_again(void **state)
{
    const uint32_t slot = world_slot("a");

    (void)state;
    world_begin(&world, 2, 1);
    world_owners(&world, &table, (struct slot_owners){{2}}, (struct slot_owners){{2}});
    table.owners[slot] = table.targets[slot] = (struct slot_owners){{2, 1}};
    world_tables(&world, &table);
    world_until(&world, 5000, world_calm(&world));
    world_put(&world, 2, "a", "x", "1");
    world_until(&world, 100, world.units[0].count == 1);
    world_kill(&world, 1);
    world_restart(&world, 1, true);
    world.delay_us = 50 * 1000;
    for (uint32_t i = 0; i < 100; i++) { /* A new table has it look again at once. */
        world.units[0].park = world_position("a");
        world_run(&world, 100 + i);
        refuse_parked(&world.units[0]);
        world_run(&world, 1);
        world_table(&world, 1, &table);
    }
    assert_true(world_stats(&world, 1)->compares_failed > 1);
    world_until(&world, 20000, world.units[0].count == 1);
    assert_int_equal(world_stats(&world, 1)->bad_messages, 0);
    assert_int_equal(world_stats(&world, 2)->bad_messages, 0);
    world_fini(&world);
}

/* A write that nobody is told of. */
static void put_secretly(uint32_t number, const char *key)
{
    struct world_unit *unit = world_unit(&world, number, world_slot(key));
    struct replication *r = unit->r;

    unit->r = NULL;
    world_put(&world, number, key, "x", "1");
    unit->r = r;
}

/* It fails at both ends at once: what the other one says of that comes when the next one has begun, which goes on. */
static void test_both_ends_fail(void **state)
{
    const uint32_t slot = world_slot("a");

    (void)state;
    world_begin(&world, 2, 1);
    world_owners(&world, &table, (struct slot_owners){{2}}, (struct slot_owners){{2}});
    table.owners[slot] = table.targets[slot] = (struct slot_owners){{2, 1}};
    world_tables(&world, &table);
    world_until(&world, 5000, world_calm(&world));
    world_put(&world, 2, "a", "x", "1");
    world_until(&world, 100, world.units[0].count == 1);
    world_kill(&world, 1);
    world_restart(&world, 1, true);
    put_secretly(1, "{a}b");
    world.delay_us = 20 * 1000;
    for (uint32_t i = 0; i < 50; i++) {
        world.units[0].park = world_position("a");
        world.units[1].park = world_position("{a}b");
        world_run(&world, 150 + 2 * i);
        refuse_parked(&world.units[0]);
        refuse_parked(&world.units[1]);
        world_run(&world, 1);
        world_table(&world, 1, &table); /* It asks again at once. */
    }
    assert_true(world_stats(&world, 1)->compares_failed > 1);
    assert_true(world_stats(&world, 2)->compares_failed > 1);
    world_until(&world, 20000, world.units[0].count == 2 && world.units[1].count == 2);
    world_until(&world, 20000, world_calm(&world));
    assert_int_equal(world_stats(&world, 1)->bad_messages, 0);
    assert_int_equal(world_stats(&world, 2)->bad_messages, 0);
    world_fini(&world);
}

static void test_seen(void **state)
{
    (void)state;
    world_begin(&world, 3, 1);
    world_until(&world, 3000, world_calm(&world));
    uint32_t slot = world_slot("a");
    world_put(&world, 1, "a", "x", "1");
    world_put(&world, 2, "a", "y", "1");
    world_until(&world, 50, world_calm(&world));
    for (int i = 0; i < 3; i++) {
        const struct seen *seen = &world.units[i].seen;
        assert_true(seen_covers(seen, slot, world.writes[0].stamp));
        assert_true(seen_covers(seen, slot, world.writes[1].stamp));
    }
    world_check_seen(&world);
    world_fini(&world);
}

/* For a while the one end does not stream a slot, and the other does not know: what it gets after that is not taken
 * for all there is. */
static void test_gap(void **state)
{
    char key[32];

    (void)state;
    world_begin(&world, 2, 1);
    world_until(&world, 3000, world_calm(&world));
    world_owners(&world, &table, (struct slot_owners){{1}}, (struct slot_owners){{1}});
    world_table(&world, 1, &table);
    for (int i = 0; i < 50; i++) {
        snprintf(key, sizeof key, "a%d", i);
        world_put(&world, 1, key, "x", "not streamed");
    }
    world_run(&world, 5);
    world_owners(&world, &table, (struct slot_owners){{1, 2}}, (struct slot_owners){{1, 2}});
    world_table(&world, 1, &table);
    for (int i = 0; i < 50; i++) {
        snprintf(key, sizeof key, "{a%d}", i);
        world_put(&world, 1, key, "x", "streamed");
    }
    for (int i = 0; i < 100; i++) {
        world_step(&world);
        world_check_seen(&world);
    }
    world_until(&world, 5000, world_equal(&world, 1, 2) && world_calm(&world));
    world_check_seen(&world);
    for (uint32_t i = 0; i < world.write_count; i++) {
        assert_true(seen_covers(&world.units[1].seen, world.writes[i].slot, world.writes[i].stamp));
    }
    world_fini(&world);
}

/* The gap begins and ends while the slot is being compared: what the comparison found was before it. */
static void test_gap_while_compared(void **state)
{
    const uint32_t slot = world_slot("a");

    (void)state;
    world_begin(&world, 2, 1);
    world_owners(&world, &table, (struct slot_owners){{1}}, (struct slot_owners){{1}});
    table.owners[slot] = table.targets[slot] = (struct slot_owners){{1, 2}};
    world_tables(&world, &table);
    world.delay_us = 10000;
    /* Both ends ask; that there is nothing was said to both. */
    world_until(&world, 2000, world.sent[REPLICATION_COMPARE_OPENED] == 2);
    table.owners[slot] = table.targets[slot] = (struct slot_owners){{1}};
    world_table(&world, 1, &table);
    world_put(&world, 1, "a", "x", "not streamed");
    table.owners[slot] = table.targets[slot] = (struct slot_owners){{1, 2}};
    world_table(&world, 1, &table);
    world_until(&world, 2000, world_stats(&world, 2)->compared == 2);
    world_put(&world, 1, "{a}", "x", "streamed");
    for (int i = 0; i < 100; i++) {
        world_step(&world);
        world_check_seen(&world);
    }
    world_until(&world, 5000, world_equal(&world, 1, 2));
    world_run(&world, 1000);
    world_put(&world, 1, "a", "x",
              "streamed, too"); /* By now what the first one stamps is noted. */
    world_until(&world, 100, seen_covers(&world.units[1].seen, slot, world.writes[2].stamp));
    world_check_seen(&world);
    world_fini(&world);
}

/* The same while the link is down. */
static void test_gap_while_cut(void **state)
{
    (void)state;
    world_begin(&world, 2, 1);
    world_until(&world, 3000, world_calm(&world));
    world_block(&world, 1, 2, true);
    world_break_all(&world, 1);
    world_owners(&world, &table, (struct slot_owners){{1, 2}}, (struct slot_owners){{1, 2}});
    table.owners[world_slot("a")] = table.targets[world_slot("a")] = (struct slot_owners){{1}};
    world_table(&world, 1, &table);
    world_put(&world, 1, "a", "x", "not streamed");
    table.owners[world_slot("a")] = table.targets[world_slot("a")] = (struct slot_owners){{1, 2}};
    world_table(&world, 1, &table);
    world_put(&world, 1, "{a}", "x", "streamed");
    world_block(&world, 1, 2, false);
    for (int i = 0; i < 100; i++) {
        world_step(&world);
        world_check_seen(&world);
    }
    world_until(&world, 5000, world_equal(&world, 1, 2) && world_calm(&world));
    assert_int_equal(world_stats(&world, 1)->lives, 1);
    world_fini(&world);
}

/* A node has no part in anything for a while, and is forgotten: what it remembers of the stream is no number of another
 * life. */
static void test_forgotten(void **state)
{
    (void)state;
    world_begin(&world, 2, 1);
    world_until(&world, 3000, world_calm(&world));
    world_block(&world, 1, 2, true);
    world_break_all(&world, 1);
    world_owners(&world, &table, (struct slot_owners){{1}}, (struct slot_owners){{1}});
    world_table(&world, 1, &table);
    world_put(&world, 1, "a", "x", "not streamed");
    world_owners(&world, &table, (struct slot_owners){{1, 2}}, (struct slot_owners){{1, 2}});
    world_table(&world, 1, &table);
    world_block(&world, 1, 2, false);
    world_until(&world, 5000, world_equal(&world, 1, 2) && world_calm(&world));
    assert_int_equal(world_stats(&world, 2)->bad_messages, 0);
    assert_int_equal(world_stats(&world, 1)->lives, 2);
    world_fini(&world);
}

/* ---- Slots that move ---- */

/* A target gets what happens and what there is; once it has all, the primary says so, and not before. */
static void test_target(void **state)
{
    (void)state;
    world_begin(&world, 3, 1);
    world_give_owners(&world, &table, (struct slot_owners){{1, 2}}, (struct slot_owners){{1, 2}});
    world_until(&world, 3000, world_calm(&world));
    world_fill(&world, 1, 0, 300);
    world_run(&world, 2000);
    assert_int_equal(world.units[0].reports, 0);
    world.units[2].ready = false;
    world_give_owners(&world, &table, (struct slot_owners){{1, 2}}, (struct slot_owners){{3, 1}});
    world_run(&world, 2000);
    assert_int_equal(world.units[0].reports, 0);
    assert_int_equal(world_not_level(&world, 3), SLOT_COUNT);
    world.units[2].ready = true;
    world_until(&world, 5000, world.units[0].reported_slots == SLOT_COUNT);
    assert_int_equal(world.units[1].reports, 0);
    assert_int_equal(world_not_level(&world, 3), 0);
    assert_true(world_equal(&world, 1, 3));
    uint64_t number = world_put(&world, 1, "a", "x", "1");
    world_until(&world, 20, world.units[0].copied == number && world_equal(&world, 1, 3));
    world_fini(&world);
}

static bool any_is_reported(uint32_t unit, int sessions)
{
    char name[32];

    for (int i = 0; i < sessions; i++) {
        snprintf(name, sizeof name, "session-%d", i);
        if (world.units[unit].reported[world_slot(name)]) {
            return true;
        }
    }
    return false;
}

/* A target that has no room for what it is given, whoever of the two asked for the comparison, does not have it. */
static void test_target_refuses(void **state)
{
    (void)state;
    world_begin(&world, 3, 1);
    world_give_owners(&world, &table, (struct slot_owners){{1, 2}}, (struct slot_owners){{1, 2}});
    world_until(&world, 3000, world_calm(&world));
    world_fill(&world, 1, 0, 300);
    world_until(&world, 100, world_calm(&world));
    world.units[2].refuses = STATUS_DISK_FULL;
    world_give_owners(&world, &table, (struct slot_owners){{1, 2}}, (struct slot_owners){{1, 3}});
    world_run(&world, 4000);
    assert_true(world.units[0].reported_slots > 0); /* Those with nothing in them. */
    assert_false(any_is_reported(0, 300));
    world.units[2].refuses = STATUS_OK;
    world_until(&world, 60000, world.units[0].reported_slots == SLOT_COUNT);
    assert_true(world_equal(&world, 1, 3));
    world_fini(&world);
}

/* Nor does one have what comes after all was compared, and what it does not take. */
static void test_target_takes_nothing_more(void **state)
{
    struct world_unit *unit = &world.units[0];

    (void)state;
    world_begin(&world, 3, 1);
    world_give_owners(&world, &table, (struct slot_owners){{1, 2}}, (struct slot_owners){{1, 3}});
    world_until(&world, 5000, unit->reported_slots == SLOT_COUNT);
    world.units[2].refuses = STATUS_DISK_FULL;
    world_put(&world, 1, "a", "x", "1");
    world_run(&world, 1000);
    memset(unit->reported, 0, sizeof unit->reported);
    unit->reported_slots = 0;
    world_give_owners(&world, &table, (struct slot_owners){{1, 2}}, (struct slot_owners){{1, 3}});
    world_run(&world, 2000);
    assert_int_equal(unit->reported_slots, 0);
    world.units[2].refuses = STATUS_OK;
    world_until(&world, 5000, unit->reported_slots == SLOT_COUNT);
    assert_true(world_equal(&world, 1, 3));
    world_fini(&world);
}

/* What targets have is told as soon as they have it, and again only once in a while. */
static void test_told_soon(void **state)
{
    (void)state;
    world_begin(&world, 3, 1);
    world_give_owners(&world, &table, (struct slot_owners){{1, 2}}, (struct slot_owners){{1, 2}});
    world_until(&world, 3000, world_calm(&world));
    world_give_owners(&world, &table, (struct slot_owners){{1, 2}}, (struct slot_owners){{3, 1}});
    world_until(&world, 5000, world_not_level(&world, 3) == 0);
    world_until(&world, 150, world.units[0].reported_slots == SLOT_COUNT);
    uint64_t told = world.units[0].reports;
    assert_true(told < 2 * SLOT_COUNT);
    world_run(&world, 900);
    assert_true(world.units[0].reports - told <= SLOT_COUNT);
    world_run(&world, 1200);
    assert_true(world.units[0].reports - told >= SLOT_COUNT);
    world_fini(&world);
}

/* The table changes while slots are compared, for other slots and at one end: all become level for both ends at once,
 * not in the round of the background. */
static void test_tables_change(void **state)
{
    (void)state;
    world_begin(&world, 2, 1);
    world_give_owners(&world, &table, (struct slot_owners){{1}}, (struct slot_owners){{1, 2}});
    world.delay_us = world.jitter_us = 1000;
    for (int i = 0; i < 40; i++) {
        world_run(&world, 13);
        table.owners[i % 2] = table.targets[i % 2] =
            i % 4 < 2 ? (struct slot_owners){{1}} : (struct slot_owners){{1, 2}};
        world_table(&world, 1, &table);
    }
    world_give_owners(&world, &table, (struct slot_owners){{1}}, (struct slot_owners){{1, 2}});
    world_until(&world, 6000, world.units[0].reported_slots == SLOT_COUNT);
    world_fini(&world);
}

/* A target alone does not make a write safe: only owners count. */
static void test_target_does_not_count(void **state)
{
    (void)state;
    world_begin(&world, 2, 1);
    world_give_owners(&world, &table, (struct slot_owners){{1}}, (struct slot_owners){{1, 2}});
    world_until(&world, 3000, world_calm(&world));
    assert_int_equal(world_put(&world, 1, "a", "x", "1"), 0);
    world_until(&world, 20, world_equal(&world, 1, 2));
    world_fini(&world);
    world_begin(&world, 3, 1);
    world_give_owners(&world, &table, (struct slot_owners){{1, 2}}, (struct slot_owners){{1, 3}});
    world_until(&world, 3000, world_calm(&world));
    assert_int_equal(world_put(&world, 1, "a", "x", "1"), 1);
    world_until(&world, 20, world.units[0].copied == 1 && world_calm(&world));
    world_block(&world, 1, 2, true);
    world_break_all(&world, 2);
    assert_int_equal(world_put(&world, 1, "a", "x", "2"), 0);
    world_fini(&world);
}

/* A target without anybody to be compared with stays what it is, however long: it has nothing. */
static void test_target_alone(void **state)
{
    (void)state;
    world_begin(&world, 2, 1);
    world_block(&world, 1, 2, true);
    world_break_all(&world, 1);
    world_give_owners(&world, &table, (struct slot_owners){{1}}, (struct slot_owners){{1, 2}});
    world_run(&world, 4000);
    assert_int_equal(world_not_level(&world, 2), SLOT_COUNT);
    assert_int_equal(world_not_level(&world, 1), 0);
    world_fini(&world);
}

/* However much a comparison has to send, and however slowly: a write that needs a whole session does not wait behind it. */
static void test_write_passes_comparison(void **state)
{
    enum { SESSIONS = 2000 };
    char value[300];

    (void)state;
    world_init(&world, 1);
    world.heal_bytes_per_s = 2000;
    world_node(&world, 1, 1);
    world_node(&world, 2, 1);
    world_wire(&world);
    world_all_own(&world);
    world_kill(&world, 2);
    world_run(&world, 3100);
    memset(value, 'v', sizeof value - 1);
    value[sizeof value - 1] = '\0';
    world_put(&world, 1, "late", "x", value);
    world_fill(&world, 1, 0, SESSIONS);
    world_restart(&world, 2, true);
    world_until(&world, 1000, world_stats(&world, 1)->healed_out > 0);
    assert_null(world_find(&world.units[1], world_position("late"), text("late")));
    const uint64_t copied = world.units[0].copied_count;
    world_put(&world, 1, "late", "y", "2");
    world_until(&world, 200, world.units[0].copied_count == copied + 1);
    assert_int_equal(world_stats(&world, 2)->wholes_asked, 1);
    assert_true(world.units[1].count < SESSIONS / 2);
    world_fini(&world);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_write_passes_comparison),
        cmocka_unit_test(test_empty_node),
        cmocka_unit_test(test_empty_is_no_source),
        cmocka_unit_test(test_only_what_differs),
        cmocka_unit_test(test_large_slot),
        cmocka_unit_test(test_pace),
        cmocka_unit_test(test_pace_of_parts),
        cmocka_unit_test(test_links_break),
        cmocka_unit_test(test_background),
        cmocka_unit_test(test_not_ready),
        cmocka_unit_test(test_merge_fails),
        cmocka_unit_test(test_asked_again),
        cmocka_unit_test(test_both_ends_fail),
        cmocka_unit_test(test_end_is_sent_back),
        cmocka_unit_test(test_end_that_is_not_told),
        cmocka_unit_test(test_seen),
        cmocka_unit_test(test_gap),
        cmocka_unit_test(test_gap_while_compared),
        cmocka_unit_test(test_gap_while_cut),
        cmocka_unit_test(test_forgotten),
        cmocka_unit_test(test_target),
        cmocka_unit_test(test_target_refuses),
        cmocka_unit_test(test_target_takes_nothing_more),
        cmocka_unit_test(test_told_soon),
        cmocka_unit_test(test_tables_change),
        cmocka_unit_test(test_target_does_not_count),
        cmocka_unit_test(test_target_alone),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
