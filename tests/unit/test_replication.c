/* Streams between nodes: what one stamps the others merge, and it knows which of it they have. */
#include "replication_private.h"
#include "replication_world.h"

static struct world world;

static void test_write_reaches_the_others(void **state)
{
    (void)state;
    world_begin(&world, 3, 1);
    world_until(&world, 3000, world_calm(&world));
    struct world_unit *unit = &world.units[0];
    assert_int_equal(world_put(&world, 1, "a", "x", "1"), 1);
    assert_int_equal(world_put(&world, 1, "b", "x", "2"), 2); /* Dense. */
    assert_int_equal(unit->copied_count, 0);
    world_until(&world, 10, unit->copied_count == 2);
    world_until(&world, 10, world_equal(&world, 1, 2) && world_equal(&world, 1, 3));
    assert_int_equal(world.units[1].count, 2);
    world_until(&world, 10, world_calm(&world));
    assert_int_equal(unit->uncopied, 0);
    assert_int_equal(unit->copied_count, 2); /* Once each, though two have it. */
    assert_int_equal(world_stats(&world, 2)->records_in, 2);
    world_fini(&world);
}

/* Of some writes all are to have them: one that has does not do, and one that is lost is not waited for. */
static void test_all_are_awaited(void **state)
{
    (void)state;
    world_begin(&world, 3, 1);
    world_until(&world, 3000, world_calm(&world));
    struct world_unit *unit = &world.units[0];
    world.units[2].refuses = STATUS_BUSY; /* It takes its time. */
    uint64_t number = world_put(&world, 1, "a", "x", "1");
    assert_true(replication_await_all(unit->r, world_position("a"), number));
    uint64_t after = world_put(&world, 1, "b", "x", "2");
    world_until(&world, 1000, unit->copied == after);
    world_run(&world, 100);
    assert_int_equal(unit->copied_count, 1);
    assert_int_equal(unit->uncopied, 0);
    world.units[2].refuses = STATUS_OK;
    world_until(&world, 5000, unit->copied == number);
    assert_int_equal(unit->copied_count, 2);

    world.units[2].refuses = STATUS_BUSY;
    number = world_put(&world, 1, "a", "x", "3");
    assert_true(replication_await_all(unit->r, world_position("a"), number));
    world_run(&world, 100);
    assert_true(unit->copied < number && unit->uncopied < number);
    world_kill(&world, 3);
    world_until(&world, 1000, unit->uncopied == number);
    assert_int_equal(unit->copied_count, 2);
    number = world_put(&world, 1, "a", "x", "4"); /* One of them is known to be away. */
    assert_true(replication_await_all(unit->r, world_position("a"), number));
    world_until(&world, 1000, unit->uncopied == number);
    number = world_put(&world, 1, "a", "x", "5");
    world_until(&world, 1000, unit->copied == number);
    world_fini(&world);
}

/* Who is to own a slot is one of all. Of one that nobody knows it is not known that it has it; and what this node owns alone
 * nobody else has. */
static void test_all_are_known(void **state)
{
    static struct slot_table table;
    struct world_unit *unit = &world.units[0];

    (void)state;
    world_begin(&world, 3, 1);
    world_owners(&world, &table, (struct slot_owners){{1, 2}}, (struct slot_owners){{1, 2, 3}});
    table.owners[world_slot("alone")] = table.targets[world_slot("alone")] =
        (struct slot_owners){{1}};
    table.owners[world_slot("b")] = table.targets[world_slot("b")] = (struct slot_owners){{1, 9}};
    world_tables(&world, &table);
    world_until(&world, 3000,
                replication_reaches(unit->r, 2, 0) && replication_reaches(unit->r, 3, 0));
    world.units[2].refuses = STATUS_BUSY;
    uint64_t number = world_put(&world, 1, "a", "x", "1");
    assert_true(replication_await_all(unit->r, world_position("a"), number));
    world_run(&world, 100);
    assert_true(number > 0 && unit->copied < number && unit->uncopied < number);
    world.units[2].refuses = STATUS_OK;
    world_until(&world, 5000, unit->copied == number);
    assert_int_equal(world_put(&world, 1, "alone", "x", "1"), 0);
    assert_false(replication_await_all(unit->r, world_position("alone"), 0));
    assert_int_equal(world_put(&world, 1, "b", "x", "1"), 0);
    assert_true(replication_await_all(unit->r, world_position("b"), 0));
    world_fini(&world);
}

/* ---- Batches ---- */

static void put_item(struct buffer *batch, const char *key)
{
    struct world_session *session =
        world_find(&world.units[0], world_position(key), bytes_of_string(key));
    uint8_t head[1 + 8 + VARINT_BYTES_MAX] = {LOG_FULL};

    store_u64(head + 1, world_position(key));
    uint8_t *end = varint_put(head + 9, session->record.size);
    assert_int_equal(buffer_append(batch, bytes_of(head, (size_t)(end - head))), 0);
    assert_int_equal(buffer_append(batch, buffer_bytes(&session->record)), 0);
}

/* A write that nobody is told of. */
static void put_secretly(uint32_t number, const char *key, const char *value)
{
    struct world_unit *unit = world_unit(&world, number, world_slot(key));
    struct replication *r = unit->r;

    unit->r = NULL;
    world_put(&world, number, key, "x", value);
    unit->r = r;
}

/* Sessions written together: of one slot they go as one record. Of two slots, one of which the other node has no part
 * in, only the other one goes there, and the last one counts. */
static void test_batch(void **state)
{
    static struct slot_table table;
    struct buffer batch = {.memory = heap_memory()};

    (void)state;
    world_begin(&world, 2, 1);
    world_owners(&world, &table, (struct slot_owners){{1, 2}}, (struct slot_owners){{1, 2}});
    table.owners[world_slot("alone")] = table.targets[world_slot("alone")] =
        (struct slot_owners){{1}};
    world_tables(&world, &table);
    world_until(&world, 3000, world_calm(&world));
    const char *const pairs[][2] = {{"{t}a", "{t}b"}, {"c", "d"}, {"e", "alone"}, {"alone", "f"}};
    const uint32_t records[] = {1, 2, 1, 1}, numbers[] = {1, 2, 0, 3};
    uint64_t before = world_stats(&world, 2)->records_in;
    for (int i = 0; i < 4; i++) {
        put_secretly(1, pairs[i][0], "1");
        put_secretly(1, pairs[i][1], "1");
        batch.size = 0;
        put_item(&batch, pairs[i][0]);
        put_item(&batch, pairs[i][1]);
        const struct bytes parts[] = {bytes_of(batch.data, 20),
                                      bytes_of(batch.data + 20, batch.size - 20)};
        assert_int_equal(replication_append(world.units[0].r, LOG_BATCH,
                                            world_position(pairs[i][0]), world.units[0].hlc, parts,
                                            2),
                         numbers[i]);
        world_until(&world, 10, world_stats(&world, 2)->records_in == before + records[i]);
        before += records[i];
    }
    world_until(&world, 10, world.units[0].copied_count == 3);
    assert_int_equal(world.units[1].count, 6);
    assert_null(world_find(&world.units[1], world_position("alone"), text("alone")));
    assert_int_equal(world_stats(&world, 2)->bad_messages, 0);
    buffer_fini(&batch);
    world_fini(&world);
}

/* What comes is dead where it comes to: that is told to whom it came from. */
static void test_dead_there(void **state)
{
    struct session_field field;

    (void)state;
    world_begin(&world, 2, 1);
    world_until(&world, 3000, world_calm(&world));
    world_run(&world, 600);
    world_put(&world, 1, "a", "x", "1");
    world_until(&world, 10, world_equal(&world, 1, 2));
    put_secretly(2, "a", "2");
    world.units[1].refuses = STATUS_DESTROYED;
    world_put(&world, 1, "a", "y", "1");
    world_until(&world, 10, world.units[0].copied_count == 2);
    world_until(&world, 10, world.units[0].merges == 1);
    struct world_session *here = world_find(&world.units[0], world_position("a"), text("a"));
    assert_int_equal(session_open(&world.view, buffer_bytes(&here->record), world_now_ms(&world)),
                     0);
    assert_true(session_find(&world.view, text("x"), &field));
    assert_bytes_equal(field.value, text("2"));
    world_fini(&world);
}

/* ---- Links that break ---- */

/* Who cannot be reached is not counted on, and what was on its way to him is given up; the others' is not. */
static void test_unreachable(void **state)
{
    (void)state;
    world_begin(&world, 3, 1);
    world_until(&world, 3000, world_calm(&world));
    struct world_unit *unit = &world.units[0];
    world_block(&world, 1, 2, true);
    world_block(&world, 1, 3, true);
    assert_int_equal(world_put(&world, 1, "a", "x", "1"), 1);
    world_run(&world, REPLICATION_SILENCE_MS - REPLICATION_PING_MS - 50);
    assert_int_equal(unit->uncopied, 0);
    world_until(&world, 200, unit->uncopied == 1);
    assert_int_equal(world_put(&world, 1, "a", "y", "1"), 0);
    world_block(&world, 1, 3, false);
    world_until(&world, 1000, replication_reaches(unit->r, 3, 0));
    assert_int_equal(world_put(&world, 1, "a", "z", "1"), 2);
    world_until(&world, 10, unit->copied == 2);
    assert_int_equal(unit->copied_count, 1); /* What was given up is not copied later. */
    world_fini(&world);
}

/* Where nothing comes to the other machine any more a write does not wait until the silence is one in which others take over,
 * and nobody does before; where only its process does nothing, it does wait. */
static void test_unheeded(void **state)
{
    (void)state;
    world_begin(&world, 2, 1);
    struct world_unit *unit = &world.units[0];
    unit->port.unheeded = world_unheeded;
    world_until(&world, 3000, world_calm(&world));
    world.nodes[2].paused = true;
    assert_int_equal(world_put(&world, 1, "a", "x", "1"), 1);
    world_run(&world, REPLICATION_SILENCE_MS - REPLICATION_PING_MS - 50);
    assert_int_equal(unit->uncopied, 0);
    world.nodes[2].paused = false;
    world_until(&world, 100, unit->copied == 1);
    world_block(&world, 1, 2, true);
    assert_int_equal(world_put(&world, 1, "a", "x", "2"), 2);
    world_run(&world, 60);
    assert_int_equal(unit->uncopied, 0); /* A packet may have been lost. */
    world_until(&world, 100, unit->uncopied == 2);
    assert_true(replication_reaches(unit->r, 2, 0));
    assert_int_equal(world_put(&world, 1, "a", "x", "3"), 0);
    assert_false(replication_reaches_owner(unit->r, world_position("a")));
    world_block(&world, 1, 2, false);
    world_until(&world, 100, replication_reaches_owner(unit->r, world_position("a")));
    assert_int_equal(world_put(&world, 1, "a", "x", "4"), 3);
    world_until(&world, 10, unit->copied == 3);
    world_until(&world, 1000, world_equal(&world, 1, 2));
    world_fini(&world);
}

/* A broken link is known at once, whatever the silence. */
static void test_broken_at_once(void **state)
{
    (void)state;
    world_begin(&world, 2, 1);
    world_until(&world, 3000, world_calm(&world));
    assert_int_equal(world_put(&world, 1, "a", "x", "1"), 1);
    world_block(&world, 1, 2, true);
    world_break_all(&world, 2);
    world_step(&world);
    assert_int_equal(world.units[0].uncopied, 1);
    assert_int_equal(world_put(&world, 1, "a", "x", "2"), 0);
    world_fini(&world);
}

/* After a cut the stream goes on where it was: nothing is compared for it, and nothing is missing. */
static void test_resume(void **state)
{
    char key[16];

    (void)state;
    world_begin(&world, 2, 1);
    world_until(&world, 3000, world_calm(&world));
    world_run(&world, 600);
    const struct replication_stats *stats = world_stats(&world, 1);
    uint64_t lives = stats->lives, resumes = stats->resumes;
    for (int i = 0; i < 300; i++) {
        snprintf(key, sizeof key, "k%d", i % 50);
        world_put(&world, 1, key, "x", key);
        world_step(&world);
        if (i % 40 == 20) {
            world_break_all(&world, 1);
        }
    }
    world_until(&world, 100, world_calm(&world));
    assert_true(world_equal(&world, 1, 2));
    assert_int_equal(stats->lives, lives);
    assert_true(stats->resumes > resumes);
    assert_int_equal(stats->healed_out + world_stats(&world, 2)->healed_out, 0);
    assert_int_equal(world_stats(&world, 2)->records_in, 300);
    world_fini(&world);
}

/* More than the window holds: a new life, and the comparison finds what the stream did not bring. */
static void test_window(void **state)
{
    char key[16], value[2000];

    (void)state;
    world_init(&world, 1);
    world.window_bytes = 256 * 1024;
    world_node(&world, 1, 1);
    world_node(&world, 2, 1);
    world_wire(&world);
    world_all_own(&world);
    world_until(&world, 3000, world_calm(&world));
    memset(value, 'v', sizeof value - 1);
    value[sizeof value - 1] = '\0';
    world_block(&world, 1, 2, true);
    for (int i = 0; i < 1000; i++) {
        snprintf(key, sizeof key, "k%d", i);
        world_put(&world, 1, key, "x", value);
    }
    assert_true(world_stats(&world, 1)->lapses > 0);
    world_run(&world, 100);
    world_block(&world, 1, 2, false);
    world_until(&world, 8000, world_equal(&world, 1, 2));
    assert_int_equal(world.units[1].count, 1000);
    world_until(&world, 8000, world_calm(&world));
    assert_true(world_stats(&world, 1)->lives > 1);
    world_fini(&world);
}

/* A receiver that reads slowly: what waits for it is bounded by the window, not by the link's queue. */
static void test_full_link(void **state)
{
    char key[16];

    (void)state;
    world_begin(&world, 2, 1);
    world_until(&world, 3000, world_calm(&world));
    world.capacity = 1;
    for (int i = 0; i < 200; i++) {
        snprintf(key, sizeof key, "k%d", i);
        world_put(&world, 1, key, "x", key);
        world_step(&world);
    }
    world_until(&world, 1000, world_calm(&world));
    assert_true(world_equal(&world, 1, 2));
    assert_int_equal(world_stats(&world, 1)->bad_messages + world_stats(&world, 2)->bad_messages,
                     0);
    world_fini(&world);
}

/* ---- The shard at the other end ---- */

/* A session whose fields are on the disk: later records are merged meanwhile, and none is acknowledged before it. */
static void test_parked(void **state)
{
    struct replication_lag lag;

    (void)state;
    world_begin(&world, 2, 1);
    world_until(&world, 3000, world_calm(&world));
    struct world_unit *unit = &world.units[1];
    world_put(&world, 1, "a", "x", "1");
    world_put(&world, 1, "b", "x", "1");
    world_until(&world, 10, world_calm(&world));
    unit->park = world_position("a");
    uint64_t before = world.units[0].copied_count;
    world_put(&world, 1, "b", "x", "2");
    world_put(&world, 1, "a", "x", "2");
    world_put(&world, 1, "b", "x", "3");
    world_run(&world, 300);
    assert_int_equal(world.units[0].copied_count - before, 1);
    assert_true(replication_lag(world.units[0].r, 0, &lag));
    assert_int_equal(lag.records_behind, 2);
    assert_true(lag.oldest_us >= 290000 && lag.bytes_behind > 0);
    struct world_session *mine = world_find(&world.units[0], world_position("b"), text("b"));
    struct world_session *theirs = world_find(unit, world_position("b"), text("b"));
    assert_true(mine->hash == theirs->hash);
    world_unpark(unit);
    world_until(&world, 10, world_calm(&world));
    assert_int_equal(world.units[0].copied_count - before, 3);
    assert_true(world_equal(&world, 1, 2));
    assert_true(replication_lag(world.units[0].r, 0, &lag));
    assert_int_equal(lag.merged_us->count, 5);
    assert_true(lag.merged_us->max >= 290000);
    world_fini(&world);
}

/* One owner has merged a write, and the others say so later, after one that was written before: it is told once. */
static void test_copied_once(void **state)
{
    static struct slot_table table;

    (void)state;
    world_begin(&world, 3, 1);
    world_owners(&world, &table, (struct slot_owners){{1, 2, 3}}, (struct slot_owners){{1, 2, 3}});
    table.owners[world_slot("a")] = table.targets[world_slot("a")] = (struct slot_owners){{1, 2}};
    world_tables(&world, &table);
    world_until(&world, 3000, world_calm(&world));
    world.units[1].park = world_position("a");
    assert_int_equal(world_put(&world, 1, "a", "x", "1"), 1);
    assert_int_equal(world_put(&world, 1, "b", "x", "1"), 2);
    world_until(&world, 10, world.units[0].copied == 2);
    world_unpark(&world.units[1]);
    world_until(&world, 10, world_calm(&world));
    assert_int_equal(world.units[0].copied, 1);
    assert_int_equal(world.units[0].copied_count, 2);
    world_fini(&world);
}

/* What is parked of a life that is over is answered: that is none of the records that have its number now. */
static void test_parked_over_lives(void **state)
{
    (void)state;
    world_begin(&world, 2, 1);
    world_until(&world, 3000, world_calm(&world));
    struct world_unit *unit = &world.units[1];
    unit->park = world_position("a");
    world_put(&world, 1, "a", "x", "1");
    world_run(&world, 5);
    world_kill(&world, 1);
    world_restart(&world, 1, false);
    world_until(&world, 3000, world_equal(&world, 1, 2) || replication_reaches(unit->r, 1, 0));
    world_put(&world, 1, "a", "x", "2");
    world_until(&world, 100, unit->parked_count >= 2);
    replication_merged(unit->r, unit->parked[0].ticket, STATUS_OK);
    world_run(&world, 20);
    assert_int_equal(world.units[0].copied_count, 0);
    world_unpark(unit);
    world_until(&world, 3000, world.units[0].copied_count == 1);
    world_fini(&world);
}

/* The link breaks while a record is parked: it is sent again, and its old answer counts for nothing. */
static void test_parked_and_cut(void **state)
{
    (void)state;
    world_begin(&world, 2, 1);
    world_until(&world, 3000, world_calm(&world));
    struct world_unit *unit = &world.units[1];
    unit->park = world_position("a");
    world_put(&world, 1, "a", "x", "1");
    world_put(&world, 1, "b", "x", "1");
    world_run(&world, 5);
    assert_int_equal(unit->parked_count, 1);
    world_break_all(&world, 1);
    world_run(&world, 20);
    assert_int_equal(unit->parked_count, 2);
    assert_int_equal(world.units[0].copied_count, 0);
    world_unpark(unit);
    world_until(&world, 20, world_calm(&world));
    assert_true(world_equal(&world, 1, 2));
    world_fini(&world);
}

/* A shard that has no room for a while gets everything afterwards, in order, and nothing is acknowledged before. */
static void test_held(void **state)
{
    char key[16];

    (void)state;
    world_begin(&world, 2, 1);
    world_until(&world, 3000, world_calm(&world));
    struct world_unit *unit = &world.units[1];
    world_run(&world, 700);
    unit->refuses = STATUS_DISK_FULL;
    for (int i = 0; i < 20; i++) {
        snprintf(key, sizeof key, "k%d", i);
        world_put(&world, 1, key, "x", key);
        world_run(&world, 10);
    }
    world_run(&world, 500);
    assert_int_equal(world.units[0].copied_count, 0);
    assert_true(unit->merges < 20); /* Not each of them again and again. */
    assert_true(world_stats(&world, 2)->held > 1);
    unit->refuses = STATUS_OK;
    world_until(&world, 1100, world_calm(&world));
    assert_true(world_equal(&world, 1, 2));
    assert_int_equal(world.units[0].copied_count, 20);
    assert_int_equal(world_stats(&world, 1)->lives, 1);
    world_fini(&world);
}

/* A delta whose base is not there: the whole session is asked for, and acknowledged once that is merged. */
static void test_delta_without_base(void **state)
{
    char value[300];

    (void)state;
    world_begin(&world, 2, 1);
    world_until(&world, 3000, world_calm(&world));
    struct world_unit *unit = &world.units[1];
    memset(value, 'v', sizeof value - 1);
    value[sizeof value - 1] = '\0';
    world_put(&world, 1, "a", "x", value);
    world_until(&world, 10, world_calm(&world));
    world_remove(unit, world_find(unit, world_position("a"), text("a")));
    unit->park = world_position("c");
    world_put(&world, 1, "a", "y", "2");
    world_put(&world, 1, "b", "y", "2");
    world_until(&world, 10, world_calm(&world));
    assert_true(world_equal(&world, 1, 2));
    assert_int_equal(world_stats(&world, 2)->wholes_asked, 1);
    assert_int_equal(world_stats(&world, 1)->wholes_sent, 1);
    assert_int_equal(world.units[0].copied_count, 3);
    world_fini(&world);
}

/* The whole session came, and is parked: the write waits for it. */
static void test_whole_parked(void **state)
{
    char value[300];

    (void)state;
    world_begin(&world, 2, 1);
    world_until(&world, 3000, world_calm(&world));
    struct world_unit *unit = &world.units[1];
    memset(value, 'v', sizeof value - 1);
    value[sizeof value - 1] = '\0';
    world_put(&world, 1, "a", "x", value);
    world_until(&world, 10, world_calm(&world));
    world_remove(unit, world_find(unit, world_position("a"), text("a")));
    unit->park = world_position("a");
    unit->park_kind = LOG_FULL;
    world_put(&world, 1, "a", "y", "2");
    world_until(&world, 20, unit->parked_count == 1);
    world_run(&world, 20);
    assert_int_equal(world.units[0].copied_count, 1);
    world_unpark(unit);
    world_until(&world, 20, world_calm(&world));
    assert_int_equal(world.units[0].copied_count, 2);
    assert_true(world_equal(&world, 1, 2));
    world_fini(&world);
}

/* As long as the whole session is not merged, the write is not acknowledged; nor lost with the link. */
static void test_whole_is_waited_for(void **state)
{
    char value[300];

    (void)state;
    world_begin(&world, 2, 1);
    world_until(&world, 3000, world_calm(&world));
    struct world_unit *unit = &world.units[1];
    memset(value, 'v', sizeof value - 1);
    value[sizeof value - 1] = '\0';
    world_put(&world, 1, "a", "x", value);
    world_until(&world, 10, world_calm(&world));
    world_remove(unit, world_find(unit, world_position("a"), text("a")));
    world.delay_us = 3000;
    world_put(&world, 1, "a", "y", "2");
    world_until(&world, 20, world_stats(&world, 2)->wholes_asked == 1);
    world_run(&world, 5);
    assert_int_equal(world.units[0].copied_count, 1);
    world_break_all(&world, 1); /* The whole one is lost on its way. */
    world_until(&world, 100, world_calm(&world));
    assert_int_equal(world_stats(&world, 2)->wholes_asked, 2);
    assert_true(world_equal(&world, 1, 2));
    world_fini(&world);
}

/* What is no good is not merged, and the link is cut; then the slots are compared, and the rest comes. */
static void test_bad_record(void **state)
{
    const struct bytes bad = text("this is no record");

    (void)state;
    world_begin(&world, 2, 1);
    world_until(&world, 3000, world_calm(&world));
    replication_append(world.units[0].r, LOG_FULL, world_position("a"), 0, &bad, 1);
    world_put(&world, 1, "b", "x", "1");
    world_until(&world, 3000, world_equal(&world, 1, 2) && world_calm(&world));
    assert_int_equal(world_stats(&world, 2)->bad_messages, 1);
    assert_int_equal(world_stats(&world, 1)->lives, 2);
    world_fini(&world);
}

/* No comparison has the number 0: who says so has lost count, and what it asked would never end. */
static void test_comparison_without_number(void **state)
{
    const uint64_t range[] = {slot_first(0), slot_last(0)};
    uint8_t body[1 + sizeof range] = {0};

    (void)state;
    world_init(&world, 1);
    world.round_ms = UINT32_MAX; /* Nothing else is compared once all is level. */
    world_node(&world, 1, 1);
    world_node(&world, 2, 1);
    world_wire(&world);
    world_all_own(&world);
    world_until(&world, 3000, world_calm(&world));
    store_u64(body + 1, range[0]);
    store_u64(body + 9, range[1]);
    const struct bytes part = bytes_of(body, sizeof body);
    assert_true(world_send(&world.units[0].port, &world.links[0][1], REPLICATION_COMPARE_OPEN, 0,
                           &part, 1));
    world_until(&world, 3000, world_stats(&world, 2)->bad_messages == 1);
    world_until(&world, 3000, world_calm(&world));
    world_fini(&world);
}

/* Their numbers begin anew after the last one, whatever it is that gets the next. */
static void test_numbers_begin_anew(void **state)
{
    (void)state;
    world_begin(&world, 2, 1);
    for (uint32_t before = 0; before < 12; before++) {
        world_until(&world, 3000, world_calm(&world));
        world.units[0].r->serial = UINT32_MAX - before;
        world_break_all(&world, 1);
        world_until(&world, 3000, replication_reaches(world.units[0].r, 2, 0));
        world_until(&world, 3000, world.units[0].r->serial < UINT32_MAX - before);
    }
    world_until(&world, 3000, world_calm(&world));
    assert_int_equal(world_stats(&world, 1)->bad_messages + world_stats(&world, 2)->bad_messages,
                     0);
    world_fini(&world);
}

/* What is said first may fall on deaf ears: the other end gets the link before it knows of replication. */
static void test_hello_is_not_heard(void **state)
{
    (void)state;
    world_begin(&world, 2, 1);
    world.deaf = REPLICATION_HELLO;
    world_run(&world, 300);
    assert_false(replication_reaches(world.units[0].r, 2, 0));
    world.deaf = 0;
    world_until(&world, 1000, replication_reaches(world.units[0].r, 2, 0));
    world.deaf = REPLICATION_BEGIN;
    world_break_all(&world, 1);
    world_run(&world, 100);
    world.deaf = 0;
    world_until(&world, 3000, world_calm(&world));
    world_put(&world, 1, "a", "x", "1");
    world_until(&world, 20, world.units[0].copied_count == 1);
    /* The link is slower than the patience of who says it. */
    world.delay_us = 700000;
    world.silence_ms = 3000;
    world_break_all(&world, 1);
    world_run(&world, 5000);
    assert_int_equal(world_stats(&world, 1)->bad_messages + world_stats(&world, 2)->bad_messages,
                     0);
    world.delay_us = 100;
    world_until(&world, 3000, world_calm(&world));
    assert_true(world_equal(&world, 1, 2));
    world_fini(&world);
}

/* ---- Restarts ---- */

static void test_receiver_restarts(void **state)
{
    char key[16];

    (void)state;
    world_begin(&world, 2, 1);
    world_until(&world, 3000, world_calm(&world));
    for (int i = 0; i < 100; i++) {
        snprintf(key, sizeof key, "k%d", i);
        world_put(&world, 1, key, "x", key);
    }
    world_until(&world, 100, world_calm(&world));
    world_kill(&world, 2);
    for (int i = 0; i < 100; i++) {
        snprintf(key, sizeof key, "k%d", i * 2);
        assert_int_equal(world_put(&world, 1, key, "y", key), 0);
    }
    world_run(&world, 100);
    world_restart(&world, 2, false);
    world_until(&world, 3000, world_equal(&world, 1, 2) && world_calm(&world));
    assert_int_equal(world.units[1].count, 150);
    world_fini(&world);
}

/* One shard here, two there: each slot's stream goes where the slot is. */
static void test_other_shards(void **state)
{
    char key[16];

    (void)state;
    world_init(&world, 1);
    world_node(&world, 1, 2);
    world_node(&world, 2, 3);
    world_node(&world, 3, 1);
    world_wire(&world);
    world_all_own(&world);
    world_until(&world, 3000, world_calm(&world));
    for (int i = 0; i < 300; i++) {
        snprintf(key, sizeof key, "k%d", i);
        world_put(&world, 1 + (uint32_t)i % 3, key, "x", key);
    }
    world_until(&world, 100, world_calm(&world));
    assert_true(world_equal(&world, 1, 2) && world_equal(&world, 1, 3));
    for (uint32_t i = 0; i < world.unit_count; i++) {
        assert_true(world.units[i].count > 20);
        assert_int_equal(replication_stats(world.units[i].r)->bad_messages, 0);
    }
    world_fini(&world);
}

/* ---- Limits ---- */

static void test_links_that_are_refused(void **state)
{
    const struct replication_peer self = {true, 1, 1, 0, 2};
    const struct replication_peer other = {true, 2, 1, 1, 2};
    const struct replication_peer good = {true, 2, 1, 0, 2};
    struct replication_link *link, *second;

    (void)state;
    world_begin(&world, 2, 2);
    struct replication *r = world.units[0].r;
    int context;
    assert_int_equal(replication_link_up(r, &self, &context, 0, 0, &link), -EINVAL);
    assert_int_equal(replication_link_up(r, &other, &context, 0, 0, &link), -EINVAL);
    assert_int_equal(replication_link_up(r, &good, &context, 0, 0, &link), 0);
    assert_int_equal(replication_link_up(r, &good, &context, 0, 0, &second), -EEXIST);
    replication_link_down(r, link, 0, 0);
    world_fini(&world);
}

static bool take_all(struct replication_port *port, void *link, uint8_t kind, uint64_t number,
                     const struct bytes parts[], uint32_t part_count)
{
    (void)port, (void)link, (void)kind, (void)number, (void)parts, (void)part_count;
    return true;
}

/* Memory may be short at any time while it begins: then nothing is left of it. */
static void test_short_memory(void **state)
{
    static struct slot_table table;
    struct test_memory memory = test_memory();
    struct replication *r;
    struct replication_port port = {.send = take_all};
    bool done = false;

    (void)state;
    world_begin(&world, 2, 1);
    world_owners(&world, &table, (struct slot_owners){{1, 2}}, (struct slot_owners){{2, 1}});
    for (uint64_t fail_at = 1; !done; fail_at++) {
        const struct replication_options options = {
            .self = {1, 1},
            .shards = 1,
            .window_bytes = 1 << 16,
            .memory = &memory.memory,
            .port = &port,
            .core = &world.units[0].core,
        };
        const struct replication_peer peer = {false, 2, 1, 0, 1};
        struct replication_link *link;
        memory.requests = 0;
        memory.fail_at = fail_at;
        if (replication_create(&options, 0, 0, &r) == 0) {
            done = replication_set_table(r, &table, 0, 0) == 0 &&
                   replication_link_up(r, &peer, &world.links[1][0], 0, 0, &link) == 0;
            if (done) {
                memory.fail_at = 0;
            }
            replication_destroy(r);
        }
        assert_int_equal(memory.outstanding_bytes, 0);
    }
    world_fini(&world);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_write_reaches_the_others),
        cmocka_unit_test(test_all_are_awaited),
        cmocka_unit_test(test_all_are_known),
        cmocka_unit_test(test_batch),
        cmocka_unit_test(test_dead_there),
        cmocka_unit_test(test_unreachable),
        cmocka_unit_test(test_unheeded),
        cmocka_unit_test(test_broken_at_once),
        cmocka_unit_test(test_resume),
        cmocka_unit_test(test_window),
        cmocka_unit_test(test_full_link),
        cmocka_unit_test(test_parked),
        cmocka_unit_test(test_copied_once),
        cmocka_unit_test(test_parked_over_lives),
        cmocka_unit_test(test_parked_and_cut),
        cmocka_unit_test(test_held),
        cmocka_unit_test(test_delta_without_base),
        cmocka_unit_test(test_whole_parked),
        cmocka_unit_test(test_whole_is_waited_for),
        cmocka_unit_test(test_bad_record),
        cmocka_unit_test(test_comparison_without_number),
        cmocka_unit_test(test_numbers_begin_anew),
        cmocka_unit_test(test_hello_is_not_heard),
        cmocka_unit_test(test_receiver_restarts),
        cmocka_unit_test(test_other_shards),
        cmocka_unit_test(test_links_that_are_refused),
        cmocka_unit_test(test_short_memory),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
