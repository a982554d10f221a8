/* The share of a thread's time that comparisons with other nodes have. */
#include "heal_share.h"

#include "check.h"

enum { MIB = 1024 * 1024, STEP_US = 50, COST_US = 130 };

/* Sessions are asked for and taken whenever there is room; what they take of a time in which others want something. */
static uint64_t spent_us(uint32_t percent, uint64_t from_us, uint64_t to_us, bool wanted)
{
    struct heal_share share = {0};
    uint64_t spent = 0;

    heal_share_pass(&share, percent, from_us);
    heal_share_want(&share, from_us);
    for (uint64_t now_us = from_us; now_us < to_us; now_us += STEP_US) {
        heal_share_pass(&share, percent, now_us);
        if (wanted) {
            heal_share_want(&share, now_us);
        }
        if (heal_share_room(&share, MIB, now_us) > 0) {
            heal_share_spend(&share, COST_US);
            spent += COST_US;
            now_us += COST_US;
        }
    }
    return spent;
}

static void test_share(void **state)
{
    (void)state;
    for (uint32_t percent = 1; percent <= 50; percent++) {
        const uint64_t spent = spent_us(percent, 7777777, 17777777, true);
        assert_in_range(spent, 10000000 / 100 * percent - 1000,
                        10000000 / 100 * percent + HEAL_BURST_US + 2 * COST_US);
    }
}

/* Nobody else wants anything: all is theirs, and more at a time. */
static void test_quiet(void **state)
{
    struct heal_share share = {0};

    (void)state;
    assert_true(spent_us(10, 1000000, 11000000, false) > 7000000);
    heal_share_want(&share, 1000000);
    heal_share_pass(&share, 10, 1000000);
    heal_share_spend(&share, HEAL_BURST_US);
    assert_int_equal(heal_share_room(&share, MIB, 1000000 + HEAL_QUIET_US - 1), 0);
    assert_int_equal(heal_share_room(&share, MIB, 1000000 + HEAL_QUIET_US), MIB);
    heal_share_want(&share, 1000001 + HEAL_QUIET_US);
    assert_int_equal(heal_share_room(&share, MIB, 1000002 + HEAL_QUIET_US), 0);
}

/* What is left, and what is missing, has an end; little is asked for at a time, and never more than there is room for. */
static void test_bounds(void **state)
{
    struct heal_share share = {0};
    uint64_t now_us = 1000000;

    (void)state;
    heal_share_pass(&share, 20, now_us);
    heal_share_want(&share, now_us);
    assert_int_equal(share.left_us, HEAL_BURST_US);
    assert_int_equal(heal_share_room(&share, MIB, now_us), HEAL_ROOM_BYTES);
    assert_int_equal(heal_share_room(&share, 1000, now_us), 1000);
    heal_share_spend(&share, UINT64_MAX);
    heal_share_spend(&share, 60 * 1000 * 1000);
    assert_int_equal(share.left_us, -HEAL_DEBT_US);
    now_us += 5 * HEAL_DEBT_US;
    heal_share_pass(&share, 20, now_us);
    heal_share_want(&share, now_us);
    assert_int_equal(heal_share_room(&share, MIB, now_us), 0);
    heal_share_pass(&share, 20, now_us + 5);
    assert_int_equal(heal_share_room(&share, MIB, now_us + 5), HEAL_ROOM_BYTES);
    heal_share_pass(&share, 100, UINT64_MAX);
    assert_int_equal(share.left_us, HEAL_BURST_US);
}

/* Others go first each time that so much was spent, however it was spent, and not else. */
static void test_yields(void **state)
{
    struct heal_share share = {0};

    (void)state;
    assert_false(heal_share_yields(&share));
    for (int round = 0; round < 3; round++) {
        heal_share_spend(&share, HEAL_YIELD_US - 1);
        assert_false(heal_share_yields(&share));
        heal_share_spend(&share, 1);
        assert_true(heal_share_yields(&share));
        assert_false(heal_share_yields(&share));
    }
    heal_share_spend(&share, 100 * HEAL_YIELD_US); /* One large session: once is enough. */
    assert_true(heal_share_yields(&share));
    assert_false(heal_share_yields(&share));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_share),
        cmocka_unit_test(test_quiet),
        cmocka_unit_test(test_bounds),
        cmocka_unit_test(test_yields),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
