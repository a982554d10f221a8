/* When checkpoints go to the archive, and what becomes of one that is cut short: the checkpointer with a fake world. */
#include "checkpointer.h"

#include <errno.h>

#include "check.h"

static struct world {
    struct checkpointer_port port;
    struct checkpointer checkpointer;
    uint64_t now_ms, archived;
    uint32_t bases, seals, fills, stores, made;
    uint64_t sequence; /* Of the last fill or store... */
    uint32_t part;
    bool last;
    bool covered;
} world;

static void on_base(struct checkpointer_port *port)
{
    (void)port;
    world.bases++;
}

static void on_seal(struct checkpointer_port *port)
{
    (void)port;
    world.seals++;
}

static bool on_covers(struct checkpointer_port *port)
{
    (void)port;
    return world.covered;
}

static void note(uint64_t sequence, uint32_t part, bool last)
{
    world.sequence = sequence;
    world.part = part;
    world.last = last;
}

static void on_fill(struct checkpointer_port *port, uint64_t sequence, uint32_t part, bool last)
{
    (void)port;
    world.fills++;
    note(sequence, part, last);
}

static void on_store(struct checkpointer_port *port, uint64_t sequence, uint32_t part, bool last)
{
    (void)port;
    world.stores++;
    note(sequence, part, last);
}

static void on_made(struct checkpointer_port *port, uint64_t sequence)
{
    (void)port;
    assert_int_equal(sequence, world.sequence);
    world.made++;
}

static void begin(void)
{
    world = (struct world){.port = {on_base, on_seal, on_covers, on_fill, on_store, on_made},
                           .now_ms = 5000};
    checkpointer_init(&world.checkpointer, &world.port, 3);
}

static void step(uint64_t later_ms)
{
    world.now_ms += later_ms;
    (void)checkpointer_step(&world.checkpointer, world.archived, 1000, world.now_ms);
}

static void filled(int rc, bool more)
{
    checkpointer_filled(&world.checkpointer, rc, more, world.now_ms);
}

static void stored(int rc)
{
    checkpointer_stored(&world.checkpointer, rc, world.now_ms);
}

/* It is known what was seen, and the log is sealed once. */
static void based(void)
{
    uint32_t seals = world.seals;

    checkpointer_based(&world.checkpointer, 0, world.now_ms);
    assert_int_equal(world.seals, seals + 1);
    step(100);
    checkpointer_sealed(&world.checkpointer, 0, world.now_ms);
    assert_int_equal(world.seals, seals + 1);
}

/* Up to where its parts are made. */
static void base(void)
{
    step(0);
    assert_int_equal(world.bases, 1);
    based();
    world.covered = true;
    step(100);
    assert_int_equal(world.fills, 1);
}

static void test_whole(void **state)
{
    (void)state;
    begin();
    step(100000);
    assert_int_equal(world.bases, 0); /* Nothing is lacking, and little was written. */
    checkpointer_want(&world.checkpointer);
    step(0);
    assert_int_equal(world.bases, 1);
    based();
    step(100);
    assert_int_equal(world.fills, 0); /* Not before the store's checkpoint has it. */
    world.covered = true;
    step(100);
    assert_int_equal(world.fills, 1);
    filled(0, true);
    assert_true(world.stores == 1 && world.part == 0 && !world.last);
    stored(0);
    assert_true(world.fills == 2 && world.part == 1 && !world.last);
    filled(0, false);
    stored(0);
    assert_true(world.fills == 3 && world.last && world.part == 2 && world.made == 0);
    filled(0, false);
    stored(0);
    assert_int_equal(world.made, 1);
    assert_int_equal(world.sequence, 3);
    step(100000);
    assert_int_equal(world.bases, 1);
}

static void test_due_by_log(void **state)
{
    (void)state;
    begin();
    world.archived = 999;
    step(0);
    assert_int_equal(world.bases, 0);
    world.archived = 1000;
    base();
    world.archived = 1500; /* Comes while it is made, and counts for the next one. */
    filled(0, false);
    stored(0);
    filled(0, false);
    stored(0);
    assert_int_equal(world.made, 1);
    world.archived = 1999;
    step(1000);
    assert_int_equal(world.bases, 1);
    world.archived = 2000;
    step(1000);
    assert_int_equal(world.bases, 2);
}

/* For as long as it is not known what was seen the log is left alone; nor is it read where it could not be sealed. */
static void test_waits(void **state)
{
    (void)state;
    begin();
    checkpointer_want(&world.checkpointer);
    world.covered = true;
    for (uint32_t i = 1; i <= 20; i++) {
        step(CHECKPOINTER_PAUSE_MS);
        assert_int_equal(world.bases, i);
        checkpointer_based(&world.checkpointer, -EAGAIN, world.now_ms);
    }
    assert_int_equal(world.seals, 0);
    step(CHECKPOINTER_PAUSE_MS);
    checkpointer_based(&world.checkpointer, 0, world.now_ms);
    assert_int_equal(world.seals, 1);
    step(CHECKPOINTER_PAUSE_MS);
    assert_int_equal(world.fills, 0);
    checkpointer_sealed(&world.checkpointer, -EAGAIN, world.now_ms);
    step(CHECKPOINTER_PAUSE_MS);
    assert_int_equal(world.fills, 0);
    assert_int_equal(world.bases, 22); /* Anew. */
    based();
    step(100);
    assert_int_equal(world.fills, 1);
}

static void test_failures(void **state)
{
    (void)state;
    begin();
    checkpointer_want(&world.checkpointer);
    step(0);
    checkpointer_based(&world.checkpointer, -EAGAIN, world.now_ms);
    step(CHECKPOINTER_PAUSE_MS - 1);
    assert_int_equal(world.bases, 1);
    step(1);
    assert_int_equal(world.bases, 2);
    based();
    world.covered = true;
    step(100);
    filled(0, true);
    stored(-ETIMEDOUT); /* The same bytes again. */
    assert_int_equal(world.stores, 1);
    step(CHECKPOINTER_PAUSE_MS);
    assert_int_equal(world.stores, 2);
    assert_int_equal(world.fills, 1);
    stored(0);
    assert_int_equal(world.fills, 2);
    filled(-EIO, false); /* It cannot be read: all of it anew, by another number. */
    step(CHECKPOINTER_PAUSE_MS);
    assert_int_equal(world.bases, 3);
    based();
    step(100);
    assert_true(world.sequence == 4 && world.part == 0 && !world.last);
    filled(0, false);
    stored(-EEXIST); /* Of one that was cut short before a restart. */
    step(0);
    assert_int_equal(world.bases, 4);
    based();
    step(100);
    assert_int_equal(world.sequence, 5);
    assert_int_equal(world.made, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_whole),
        cmocka_unit_test(test_due_by_log),
        cmocka_unit_test(test_waits),
        cmocka_unit_test(test_failures),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
