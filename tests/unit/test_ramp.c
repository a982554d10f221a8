/* Ramps move slots evenly: what a step moves, beside an even part of all of it. */
#include <stdio.h>

#include "check.h"

#include "ramp.h"
#include "slot_table.h"

enum { STEPS = 30, OVER_MS = STEPS * RAMP_STEP_MS };

static struct map map, before;
static struct placement_work work;

static void apply(const struct map_command *command)
{
    assert_int_equal(map_apply(&map, &work, command), 0);
}

static void make(uint32_t count, uint32_t zones, uint32_t replicas)
{
    map_init(&map, 1, replicas);
    for (uint32_t i = 1; i <= count; i++) {
        struct map_command add = {.type = MAP_ADD, .weight = 800};
        add.name.size = (uint8_t)snprintf(add.name.bytes, sizeof add.name.bytes, "n%u", i);
        add.zone.size = (uint8_t)snprintf(add.zone.bytes, sizeof add.zone.bytes, "z%u", i % zones);
        add.place.host = add.name;
        for (int port = 0; port < MAP_PORTS; port++) {
            add.place.ports[port] = 7400;
        }
        add.place.shards = 1;
        apply(&add);
        const struct map_command activate = {.type = MAP_STATE, .number = i, .state = MAP_ACTIVE};
        apply(&activate);
    }
}

static bool has(const struct slot_owners *owners, uint32_t number)
{
    return slot_owners_has(owners, number);
}

/* Copies and primaries that are elsewhere than in `before`. */
static void count_moved(uint32_t *copies, uint32_t *primaries)
{
    *copies = *primaries = 0;
    for (uint32_t slot = 0; slot < SLOT_COUNT; slot++) {
        *primaries += map.homes[slot].nodes[0] != before.homes[slot].nodes[0];
        for (uint32_t i = 0; i < PLACEMENT_REPLICAS_MAX; i++) {
            *copies += map.homes[slot].nodes[i] != 0 &&
                       !has(&before.homes[slot], map.homes[slot].nodes[i]);
        }
    }
}

static void set_weight(uint32_t number, uint32_t weight)
{
    const struct map_command command = {.type = MAP_WEIGHT, .number = number, .weight = weight};

    apply(&command);
}

/* Returns what was moved at most by one step, in parts of a hundred of an even one, of copies and of primaries. */
static void ramp(uint32_t number, uint32_t goal, uint32_t *most_copies, uint32_t *most_primaries)
{
    uint32_t copies, primaries, copies_max = 0, primaries_max = 0, all_copies = 0,
                                all_primaries = 0, steps = 0;
    const struct map_command begin = {
        .type = MAP_RAMP, .number = number, .goal = goal, .ramp_ms = OVER_MS};

    apply(&begin);
    for (const struct map_member *member = map_member(&map, number); member->ramp_ms != 0;
         steps++) {
        struct map_command step;
        before = map;
        assert_true(ramp_step(&map, member, RAMP_STEP_MS, &step));
        apply(&step);
        count_moved(&copies, &primaries);
        copies_max = copies > copies_max ? copies : copies_max;
        primaries_max = primaries > primaries_max ? primaries : primaries_max;
        all_copies += copies;
        all_primaries += primaries;
    }
    assert_int_equal(steps, STEPS);
    assert_int_equal(map_member(&map, number)->weight, goal);
    assert_true(all_copies > SLOT_COUNT / 32 && all_primaries > SLOT_COUNT / 32);
    *most_copies = copies_max * STEPS * 100 / all_copies;
    *most_primaries = primaries_max * STEPS * 100 / all_primaries;
}

static void test_even(void **state)
{
    static const struct {
        uint32_t nodes, zones, replicas, from, to;
    } cases[] = {
        {4, 1, 2, 0, 800},  {4, 1, 2, 800, 0},   {4, 4, 2, 0, 800},    {3, 1, 2, 800, 1600},
        {6, 3, 3, 0, 2400}, {16, 1, 2, 0, 8000}, {16, 3, 3, 800, 0},   {5, 1, 2, 1600, 200},
        {9, 3, 2, 0, 1600}, {8, 2, 3, 0, 4000},  {6, 3, 2, 2400, 100},
    };

    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        uint32_t copies, primaries;
        make(cases[i].nodes, cases[i].zones, cases[i].replicas);
        if (cases[i].from != 800) {
            set_weight(1, cases[i].from);
        }
        ramp(1, cases[i].to, &copies, &primaries);
        print_message("%u nodes, %u zones, %u copies, %u to %u: at most %u%% of an even step's "
                      "copies, %u%% of its primaries\n",
                      cases[i].nodes, cases[i].zones, cases[i].replicas, cases[i].from, cases[i].to,
                      copies, primaries);
        assert_in_range(copies, 100, 200);
        assert_in_range(primaries, 100, 200);
    }
}

/* Nothing to be proposed before the weight changes, or where nobody else has any; alone it is there at once. */
static void test_small(void **state)
{
    struct map_command step;
    const struct map_command begin = {
        .type = MAP_RAMP, .number = 1, .goal = 801, .ramp_ms = OVER_MS};

    (void)state;
    make(3, 1, 2);
    apply(&begin);
    const struct map_member *member = map_member(&map, 1);
    assert_false(ramp_step(&map, member, OVER_MS / 4, &step));
    assert_true(ramp_step(&map, member, OVER_MS / 4 * 3, &step));
    assert_int_equal(step.weight, 801);
    assert_true(ramp_step(&map, member, OVER_MS + 5, &step));
    assert_int_equal(step.ramp_ms, 0);
    make(1, 1, 2);
    apply(&begin);
    assert_true(ramp_step(&map, map_member(&map, 1), 0, &step));
    assert_int_equal(step.weight, 801);
    assert_int_equal(step.ramp_ms, 0);
}

/* Of the last that has any weight it does not go to 0: nobody would be there to take what it has. */
static void test_last(void **state)
{
    const struct map_command begin = {.type = MAP_RAMP, .number = 1, .goal = 0, .ramp_ms = OVER_MS};

    (void)state;
    make(2, 1, 2);
    apply(&begin);
    const struct map_member *member = map_member(&map, 1);
    assert_false(ramp_waits(&map, member));
    set_weight(2, 0);
    assert_true(ramp_waits(&map, member));
    set_weight(2, 1);
    assert_false(ramp_waits(&map, member));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_even),
        cmocka_unit_test(test_small),
        cmocka_unit_test(test_last),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
