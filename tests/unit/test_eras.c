/* As whom a node stamps in a slot. */
#include "check.h"

#include <errno.h>

#include "eras.h"

enum { SLOTS = 4 };

static const struct actor self = {3, 5}, other = {4, 1};

struct kit {
    struct test_memory memory;
    struct seen seen;
    struct eras eras;
};

static void begin(struct kit *kit, uint64_t hlc)
{
    kit->memory = test_memory();
    assert_int_equal(seen_init(&kit->seen, &kit->memory.memory, SLOTS), 0);
    assert_int_equal(eras_init(&kit->eras, &kit->memory.memory, SLOTS, self, hlc), 0);
}

static void end(struct kit *kit)
{
    eras_fini(&kit->eras);
    seen_fini(&kit->seen);
    assert_int_equal(kit->memory.outstanding_bytes, 0);
}

/* Returns the era of the stamp. */
static uint32_t stamp(struct kit *kit, uint32_t slot, uint64_t hlc)
{
    const struct actor actor = eras_actor(&kit->eras, &kit->seen, slot);

    assert_int_equal(actor.node, self.node);
    assert_true(actor_is_of(actor, self));
    assert_int_equal(actor_compare(actor, eras_last(&kit->eras, slot)), 0);
    assert_int_equal(seen_advance(&kit->seen, slot, (struct stamp){hlc, actor}), 0);
    return actor.start >> ACTOR_START_BITS;
}

static void forget(struct kit *kit, uint32_t slot, uint64_t hlc)
{
    eras_forget(&kit->eras, &kit->seen, slot, hlc);
    seen_forget(&kit->seen, slot);
}

/* A copy as it is elsewhere. */
static void join(struct kit *kit, uint32_t slot, struct stamp stamp)
{
    struct buffer vector = {.memory = &kit->memory.memory};
    struct seen seen;

    assert_int_equal(seen_init(&seen, &kit->memory.memory, 1), 0);
    seen_begin(&seen, 0);
    assert_int_equal(seen_advance(&seen, 0, stamp), 0);
    assert_int_equal(seen_put(&seen, 0, &vector), 0);
    assert_int_equal(seen_join(&kit->seen, slot, buffer_bytes(&vector)), 0);
    seen_fini(&seen);
    buffer_fini(&vector);
}

static void test_begun_anew(void **state)
{
    (void)state;
    struct kit kit;

    begin(&kit, 0);
    seen_begin(&kit.seen, 0);
    seen_begin(&kit.seen, 1);
    assert_int_equal(stamp(&kit, 0, 10), 0);
    forget(&kit, 0, 12);
    assert_true(eras_may_lack(&kit.eras, 0));
    forget(&kit, 1, 12); /* It stamped nothing in that. */
    forget(&kit, 1, 12);
    assert_false(eras_may_lack(&kit.eras, 1));
    seen_begin(&kit.seen, 0);
    seen_begin(&kit.seen, 1);
    assert_false(kit.eras.begun);
    assert_int_equal(stamp(&kit, 0, 20), 1);
    assert_true(kit.eras.begun);
    assert_false(eras_may_lack(&kit.eras, 0));
    assert_int_equal(stamp(&kit, 0, 21), 1);
    assert_int_equal(stamp(&kit, 1, 22), 0);
    assert_int_equal(eras_era(&kit.eras, 0), 1);
    assert_int_equal(actor_compare(seen_last_era(&kit.seen, 0, self), actor_of_era(self, 1)), 0);
    assert_int_equal(actor_compare(seen_last_era(&kit.seen, 1, self), self), 0);
    assert_int_equal(actor_compare(seen_last_era(&kit.seen, 0, other), other), 0);
    assert_false(seen_covers(&kit.seen, 0, (struct stamp){10, self})); /* What it lacks. */
    end(&kit);
}

static void test_given_back(void **state)
{
    (void)state;
    struct kit kit;

    begin(&kit, 0);
    for (uint32_t slot = 0; slot < 3; slot++) {
        seen_begin(&kit.seen, slot);
        assert_int_equal(stamp(&kit, slot, 10), 0);
        forget(&kit, slot, 12);
    }
    join(&kit, 0, (struct stamp){10, self}); /* Who has it had all... */
    assert_int_equal(stamp(&kit, 0, 20), 0);
    join(&kit, 1, (struct stamp){9, self}); /* ... or not... */
    assert_int_equal(stamp(&kit, 1, 20), 1);
    join(&kit, 2, (struct stamp){15, other}); /* ... or nothing of it. */
    assert_int_equal(stamp(&kit, 2, 20), 1);
    end(&kit);
}

/* Stamps in a slot whose vector is not known count as well. */
static void test_not_known(void **state)
{
    (void)state;
    struct kit kit;

    begin(&kit, 0);
    assert_int_equal(stamp(&kit, 0, 10), 0);
    forget(&kit, 0, 12);
    forget(&kit, 0, 14); /* Again, without a stamp since. */
    assert_int_equal(stamp(&kit, 0, 15), 1);
    seen_begin(&kit.seen, 0);
    assert_int_equal(stamp(&kit, 0, 16), 1);
    forget(&kit, 0, 16);
    join(&kit, 0, (struct stamp){16, actor_of_era(self, 1)});
    assert_int_equal(stamp(&kit, 0, 17), 1);
    end(&kit);
}

/* What was stamped before the node had any others counts, and what it got and gave away without a stamp does not. */
static void test_given_away_again(void **state)
{
    (void)state;
    struct kit kit;

    begin(&kit, 0);
    seen_begin(&kit.seen, 0);
    eras_go_on(&kit.eras, 0);
    assert_int_equal(seen_advance(&kit.seen, 0, (struct stamp){10, self}), 0);
    forget(&kit, 0, 12);
    assert_true(eras_may_lack(&kit.eras, 0));
    for (int i = 0; i < 2; i++) {
        join(&kit, 0, (struct stamp){10, self});
        forget(&kit, 0, 20); /* Without a stamp: it may lack the same still. */
        assert_true(eras_may_lack(&kit.eras, 0));
        join(&kit, 1, (struct stamp){15, other});
        forget(&kit, 1, 20);
        assert_false(eras_may_lack(&kit.eras, 1));
    }
    join(&kit, 0, (struct stamp){10, self});
    assert_int_equal(stamp(&kit, 0, 30), 0);
    assert_false(kit.eras.begun);
    forget(&kit, 0, 30);
    seen_begin(&kit.seen, 0);
    assert_int_equal(stamp(&kit, 0, 40), 1);
    end(&kit);
}

/* After a clean stop the life goes on: what is whole as it was left, and what is begun anew. */
static void test_life_goes_on(void **state)
{
    (void)state;
    struct kit kit;

    begin(&kit, 100);
    seen_begin(&kit.seen, 0);
    seen_begin(&kit.seen, 1);
    eras_go_on(&kit.eras, 0);
    assert_int_equal(stamp(&kit, 0, 101), 0);
    assert_int_equal(stamp(&kit, 1, 102), 1);
    join(&kit, 2, (struct stamp){100, self});
    assert_int_equal(stamp(&kit, 2, 103), 0);
    end(&kit);
}

static void test_last_era(void **state)
{
    (void)state;
    struct kit kit;

    begin(&kit, 0);
    seen_begin(&kit.seen, 0);
    for (uint32_t era = 0; era < ACTOR_ERAS_MAX + 2; era++) {
        const uint32_t last = era < ACTOR_ERAS_MAX ? era : ACTOR_ERAS_MAX - 1;
        assert_int_equal(stamp(&kit, 0, 10 + era), last);
        forget(&kit, 0, 10 + era);
        seen_begin(&kit.seen, 0);
    }
    end(&kit);
}

static void test_no_memory(void **state)
{
    (void)state;
    struct test_memory memory = test_memory();
    struct eras eras;

    memory.fail_at = 1;
    assert_int_equal(eras_init(&eras, &memory.memory, SLOTS, self, 0), -ENOMEM);
    eras_fini(&eras);
    assert_int_equal(memory.outstanding_bytes, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_begun_anew),   cmocka_unit_test(test_given_back),
        cmocka_unit_test(test_not_known),    cmocka_unit_test(test_given_away_again),
        cmocka_unit_test(test_life_goes_on), cmocka_unit_test(test_last_era),
        cmocka_unit_test(test_no_memory),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
