/* Comparisons send as much as the other end takes, so that what is streamed does not stand behind it. */
#include "replication_world.h"

enum {
    VALUE_BYTES = 1000,
    RECORD_BYTES_MAX = 2 * VALUE_BYTES,
    LEAST_BYTES = 64 * 1024, /* As replication.h has it. */
    MOST_BYTES = 1024 * 1024,
    FIRST_SLOTS = 64,
};

static struct world world;

static void put(uint32_t number, const char *key, size_t bytes)
{
    char *value = malloc(bytes + 1);

    memset(value, 'v', bytes);
    value[bytes] = '\0';
    world_put(&world, number, key, "x", value);
    free(value);
}

/* The next tag of one of the slots that are compared first, so that there is much to send at once. */
static uint32_t next_tag(uint32_t tag)
{
    char key[32];

    do {
        snprintf(key, sizeof key, "{%u}", ++tag);
    } while (world_slot(key) >= FIRST_SLOTS);
    return tag;
}

static void fill(uint32_t number, uint32_t count)
{
    char key[32];

    for (uint32_t i = 0, tag = 0; i < count; i++) {
        tag = i % 250 == 0 ? next_tag(tag) : tag;
        snprintf(key, sizeof key, "{%u}%u", tag, i);
        put(number, key, VALUE_BYTES);
        if (i % 20 == 0) {
            world_step(&world);
        }
    }
}

/* Node 1 has so many, node 2 is there with nothing, and nothing limits what is on its way but its word. */
static void begin(uint32_t sessions)
{
    world_begin(&world, 2, 1);
    world.capacity = UINT32_MAX;
    world.window_bytes = 1 << 26;
    world_kill(&world, 2);
    world_run(&world, 3100);
    fill(1, sessions);
    world_restart(&world, 2, true);
}

/* Bytes of comparisons' sessions that are on their way to node 2, on both links. */
static uint64_t on_the_way(void)
{
    uint64_t bytes = 0;

    for (int out = 0; out < 2; out++) {
        const struct world_link *link = out == 0 ? &world.links[0][1] : &world.links[1][0];
        const struct world_half *half = &link->halves[link->ends[0] == &world.units[0] ? 0 : 1];
        for (const struct world_message *m = half->first; m != NULL; m = m->next) {
            bytes += m->kind == REPLICATION_COMPARE_RECORD ? m->size : 0;
        }
    }
    return bytes;
}

/* However long the way is, no more than so much is before a record of the stream, and there is as much all the time. */
static void test_bounded(void **state)
{
    enum { SESSIONS = 8000 };
    uint64_t most = 0;

    (void)state;
    begin(SESSIONS);
    world.delay_us = 50000;
    while (world.units[1].count < SESSIONS) {
        world_step(&world);
        most = on_the_way() > most ? on_the_way() : most;
        assert_true(world.now_us < UINT64_C(60) * 1000000);
    }
    assert_in_range(most, MOST_BYTES / 4, MOST_BYTES + 4 * RECORD_BYTES_MAX);
    world.delay_us = 100;
    world_until(&world, 5000, world_calm(&world));
    assert_true(world_equal(&world, 1, 2));
    world_fini(&world);
}

/* While the receiver's log has no room for more than what must not wait, a little comes in each tenth of a second, and a write
 * passes it. */
static void test_no_room(void **state)
{
    enum { SESSIONS = 2000 };

    (void)state;
    begin(SESSIONS);
    world.units[1].room = 0;
    world_until(&world, 1000, world_stats(&world, 1)->healed_out > 0);
    uint64_t before = world_stats(&world, 1)->healed_bytes_out;
    world_run(&world, 1000);
    const uint64_t sent = world_stats(&world, 1)->healed_bytes_out - before;
    assert_in_range(sent, 8 * LEAST_BYTES, 12 * LEAST_BYTES);
    const uint64_t copied = world.units[0].copied_count;
    put(1, "another", 10);
    world_until(&world, 20, world.units[0].copied_count == copied + 1);
    assert_true(world.units[1].count < SESSIONS);
    world_until(&world, 5000, world_calm(&world)); /* It never stops wholly. */
    assert_true(world_equal(&world, 1, 2));
    assert_int_equal(world.units[0].stuck, 0);
    world_fini(&world);
}

/* What room there is is used, and no more; when there is more it goes on at once. */
static void test_some_room(void **state)
{
    enum { SESSIONS = 6000, ROOM = 200 * 1024 };
    uint64_t most = 0;

    (void)state;
    begin(SESSIONS);
    world.units[1].room = ROOM;
    world.delay_us = 20000;
    world_until(&world, 2000, world.units[1].count > SESSIONS / 20);
    for (int i = 0; i < 2000; i++) {
        world_step(&world);
        most = on_the_way() > most ? on_the_way() : most;
    }
    assert_in_range(most, ROOM / 2, ROOM + 2 * LEAST_BYTES);
    world.units[1].room = 0;
    world_run(&world, 100);
    world.delay_us = 100;
    assert_true(world.units[1].count < SESSIONS / 2);
    world.units[1].room = MOST_BYTES;
    world_until(&world, 1000, world.units[1].count == SESSIONS);
    world_fini(&world);
}

/* A session larger than all that may be on its way goes all the same, and those behind it. */
static void test_large(void **state)
{
    enum { FIELDS = 40 };
    char key[32], field[32], value[3900];

    (void)state;
    begin(0);
    world_kill(&world, 2);
    memset(value, 'v', sizeof value - 1);
    value[sizeof value - 1] = '\0';
    for (int i = 0; i < 3 * FIELDS; i++) {
        snprintf(key, sizeof key, "large-%d", i / FIELDS);
        snprintf(field, sizeof field, "%d", i);
        world_put(&world, 1, key, field, value);
    }
    fill(1, 100);
    world_restart(&world, 2, true);
    world.units[1].room = 0;
    world_until(&world, 2000, world.units[1].count == 103);
    world_until(&world, 2000, world_calm(&world));
    assert_true(world_equal(&world, 1, 2));
    world_fini(&world);
}

/* Links break while it goes: each begins anew. */
static void test_links_break(void **state)
{
    enum { SESSIONS = 3000 };

    (void)state;
    begin(SESSIONS);
    for (int i = 0; i < 40; i++) {
        world.units[1].room = i % 3 == 0 ? 0 : i % 3 == 1 ? 100000 : UINT64_MAX;
        world_run(&world, (uint32_t)(5 + i));
        world_break_all(&world, 2);
    }
    world.units[1].room = UINT64_MAX;
    world_until(&world, 5000, world_calm(&world));
    assert_true(world_equal(&world, 1, 2));
    world_check_seen(&world);
    world_fini(&world);
}

/* Who lives and takes nothing more is told of, once; with a new link it goes on. */
static void test_stuck(void **state)
{
    (void)state;
    begin(500);
    world.deaf = REPLICATION_COMPARE_CREDIT;
    world_run(&world, 9000);
    assert_int_equal(world_stats(&world, 1)->stuck, 0);
    world_until(&world, 3000, world.units[0].stuck > 0);
    assert_true(world_stats(&world, 1)->stuck > 0);
    world_run(&world, 1000); /* There are two links. */
    const uint32_t times = world.units[0].stuck;
    world_run(&world, 20000);
    assert_int_equal(world.units[0].stuck, times);
    assert_int_equal(world_stats(&world, 1)->stuck_times, times);
    assert_int_equal(world.units[1].stuck, 0);
    world.deaf = 0;
    world_break_all(&world, 2);
    world_until(&world, 5000, world_calm(&world));
    assert_true(world_equal(&world, 1, 2));
    assert_int_equal(world_stats(&world, 1)->stuck, 0);
    world_fini(&world);
}

/* Comparisons that find little say nothing of it. */
static void test_without_a_word(void **state)
{
    (void)state;
    begin(20);
    world_until(&world, 5000, world_calm(&world));
    assert_int_equal(world.sent[REPLICATION_COMPARE_CREDIT], 0);
    world_fini(&world);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_bounded),        cmocka_unit_test(test_no_room),
        cmocka_unit_test(test_some_room),      cmocka_unit_test(test_large),
        cmocka_unit_test(test_links_break),    cmocka_unit_test(test_stuck),
        cmocka_unit_test(test_without_a_word),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
