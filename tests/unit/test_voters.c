#include "voters.h"

#include <stdio.h>

#include "check.h"
#include "raft_members.h"
#include "random.h"

static struct voters_member members[RAFT_MEMBERS_MAX];
static uint32_t member_count;

static struct voters_member *add(uint32_t zone)
{
    struct voters_member *member = &members[member_count++];

    *member = (struct voters_member){.node = member_count,
                                     .zone = zone,
                                     .heard = true,
                                     .ready = true,
                                     .votes = member_count == 1,
                                     .leads = member_count == 1};
    return member;
}

static uint32_t count_voters(void)
{
    uint32_t count = 0;

    for (uint32_t i = 0; i < member_count; i++) {
        count += members[i].votes;
    }
    return count;
}

static bool is_majority_up(void)
{
    uint32_t up = 0;

    for (uint32_t i = 0; i < member_count; i++) {
        up += members[i].votes && members[i].heard;
    }
    return 2 * up > count_voters();
}

/* Take steps until none is left. Returns how many. */
static uint32_t settle(void)
{
    uint32_t steps = 0;
    const bool decides = is_majority_up();

    for (;;) {
        struct voters_step step = voters_next(members, member_count);
        if (step.kind == VOTERS_STAY) {
            return steps;
        }
        struct voters_member *member = &members[step.node - 1];
        assert_int_equal(member->votes, step.kind == VOTERS_DEMOTE);
        assert_true(step.kind == VOTERS_DEMOTE || (member->ready && !member->gone));
        member->votes = step.kind == VOTERS_PROMOTE;
        assert_in_range(count_voters(), 1, RAFT_VOTERS_MAX);
        assert_true(!decides || is_majority_up());
        assert_true(++steps < 20);
    }
}

static int setup(void **state)
{
    (void)state;
    member_count = 0;
    return 0;
}

static void test_numbers(void **state)
{
    static const uint32_t wanted[] = {1, 1, 3, 3, 5, 5, 5};

    (void)state;
    for (uint32_t i = 0; i < sizeof wanted / sizeof wanted[0]; i++) {
        add(0);
        (void)settle();
        assert_int_equal(count_voters(), wanted[i]);
        assert_true(members[0].votes);
    }
}

/* Two more are promoted only when both are ready: with two voters either one's end would stop all. */
static void test_not_two(void **state)
{
    (void)state;
    add(0);
    add(0);
    add(0)->ready = false;
    assert_int_equal(settle(), 0);
    members[2].ready = true;
    assert_int_equal(settle(), 2);
}

static void test_zones(void **state)
{
    (void)state;
    for (uint32_t i = 0; i < 6; i++) {
        add(0);
    }
    assert_int_equal(settle(), 4);
    add(1);
    add(2);
    assert_true(settle() > 0);
    assert_int_equal(count_voters(), 5);
    assert_true(members[6].votes && members[7].votes);
    assert_int_equal(settle(), 0);
}

/* Who is lost is replaced, first the one then the other; where nobody is there, it stays. */
static void test_replaced(void **state)
{
    (void)state;
    for (uint32_t i = 0; i < 3; i++) {
        add(i);
    }
    (void)settle();
    members[1].heard = members[1].ready = false; /* Down for a moment. */
    assert_int_equal(settle(), 0);
    members[1].lost = true;
    assert_int_equal(settle(), 0);
    add(1);
    struct voters_step step = voters_next(members, member_count);
    assert_int_equal(step.kind, VOTERS_PROMOTE);
    assert_int_equal(step.node, 4);
    assert_int_equal(settle(), 2);
    assert_false(members[1].votes);
    members[1].lost = false; /* It comes back, and nothing is gained by its vote. */
    members[1].heard = members[1].ready = true;
    assert_int_equal(settle(), 0);
}

/* Where a voter is down, and another one is to go, a majority that can be reached decides each step. */
static void test_one_goes_while_others_are_down(void **state)
{
    (void)state;
    for (uint32_t voters = 3; voters <= 5; voters += 2) {
        member_count = 0;
        for (uint32_t i = 0; i < voters; i++) {
            add(0);
        }
        (void)settle();
        assert_int_equal(count_voters(), voters);
        for (uint32_t i = voters / 2 + 1; i < voters; i++) {
            members[i].heard = members[i].ready = false;
        }
        members[1].gone = true;
        (void)settle();
        assert_false(members[1].votes);
        assert_true(is_majority_up());
    }
}

static void test_gone(void **state)
{
    (void)state;
    for (uint32_t i = 0; i < 3; i++) {
        add(0);
    }
    (void)settle();
    members[2].gone = true;
    (void)settle();
    assert_int_equal(count_voters(), 1);
    assert_true(members[0].votes);
    members[0].gone = true; /* Nobody is left to vote in its place: it votes on. */
    members[1].gone = true;
    (void)settle();
    assert_int_equal(count_voters(), 1);
}

/* Of three one leaves and another one has just gone silent, for good perhaps: without the one that leaves nothing could be
 * decided any more, so the silent one's vote goes first. */
static void test_silent(void **state)
{
    (void)state;
    for (uint32_t i = 0; i < 3; i++) {
        add(0);
    }
    (void)settle();
    members[1].gone = true;
    members[2].heard = members[2].ready = false;
    struct voters_step step = voters_next(members, member_count);
    assert_int_equal(step.kind, VOTERS_DEMOTE);
    assert_int_equal(step.node, 3);
    members[2].votes = false;
    step = voters_next(members, member_count);
    assert_int_equal(step.kind, VOTERS_DEMOTE);
    assert_int_equal(step.node, 2);
    /* Both leave, and both are silent: it would be cut off. */
    members[1].votes = members[2].votes = true;
    members[1].heard = members[1].ready = false;
    assert_int_equal(voters_next(members, member_count).kind, VOTERS_STAY);
}

/* Whatever happens to members, it comes to rest with as many voters as can be, none of them gone while others are there. */
static void test_random(void **state)
{
    uint64_t random = 1;

    (void)state;
    add(0);
    for (uint32_t round = 0; round < 2000; round++) {
        if (member_count < 20 && random_below(&random, 4) == 0) {
            add(random_below(&random, 3));
        }
        for (uint32_t i = 1; i < member_count; i++) { /* The leader is well. */
            members[i].heard = random_below(&random, 4) > 0;
            members[i].ready = members[i].heard && random_below(&random, 8) > 0;
            members[i].lost = !members[i].heard && random_below(&random, 2) == 0;
            members[i].gone = members[i].gone || random_below(&random, 100) == 0;
        }
        if (!is_majority_up()) {
            continue; /* Nobody leads. */
        }
        (void)settle();
        uint32_t voters = count_voters();
        assert_true(voters % 2 == 1 && voters <= 5);
        for (uint32_t i = 0; i < member_count; i++) {
            assert_false(members[i].votes && members[i].gone);
        }
        assert_true(members[0].votes);
        if (member_count == 20 && random_below(&random, 50) == 0) {
            member_count = 0;
            add(0);
        }
    }
}

#define CASE(name) cmocka_unit_test_setup(name, setup)

int main(void)
{
    const struct CMUnitTest tests[] = {
        CASE(test_numbers), CASE(test_not_two),
        CASE(test_zones),   CASE(test_replaced),
        CASE(test_gone),    CASE(test_random),
        CASE(test_silent),  CASE(test_one_goes_while_others_are_down),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
