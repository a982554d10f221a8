/* Weights go to where all nodes are loaded alike, and rest there. */
#include <math.h>

#include "balance.h"
#include "check.h"
#include "limits.h"
#include "random.h"

enum { NODES_MAX = 12, ROUNDS = 60 };

/* A cluster whose loads are `cost` times the share of all weights to the power of `power`, the greatest at first 0.9. */
struct world {
    uint32_t count;
    struct balance_node nodes[NODES_MAX];
    double cost[NODES_MAX];
    double power;
};

static uint64_t sum_of(const struct world *world)
{
    uint64_t sum = 0;

    for (uint32_t i = 0; i < world->count; i++) {
        sum += world->nodes[i].weight;
    }
    return sum;
}

static double most_of(const struct world *world)
{
    double most = 0;

    for (uint32_t i = 0; i < world->count; i++) {
        most = fmax(most, world->nodes[i].load);
    }
    return most;
}

static void measure(struct world *world)
{
    const double sum = (double)sum_of(world);

    for (uint32_t i = 0; i < world->count; i++) {
        world->nodes[i].load = world->cost[i] * pow(world->nodes[i].weight / sum, world->power);
    }
}

/* Measured a little wrong: by up to 3 of 100. */
static void blur(struct world *world, uint64_t *random)
{
    for (uint32_t i = 0; i < world->count; i++) {
        world->nodes[i].load *= 0.97 + 0.06 * random_below(random, 1001) / 1000;
    }
}

static struct world make(uint64_t *random, double power)
{
    struct world world = {.count = 2 + random_below(random, NODES_MAX - 1), .power = power};

    for (uint32_t i = 0; i < world.count; i++) {
        world.nodes[i].weight = 100 + random_below(random, 900);
        world.cost[i] = 1 + random_below(random, 3000) / 1000.0;
    }
    measure(&world);
    const double most = most_of(&world);
    for (uint32_t i = 0; i < world.count; i++) {
        world.cost[i] *= 0.9 / most;
    }
    measure(&world);
    return world;
}

/* Returns whether weights change, having checked what holds of every step. */
static bool step(struct world *world)
{
    const uint64_t sum = sum_of(world);
    const uint32_t floor = world->count == 0 ? 0 : (uint32_t)(sum / world->count / 10);
    uint32_t to[NODES_MAX], changed = 0;
    bool changes = balance_step(world->nodes, world->count, to);

    for (uint32_t i = 0; i < world->count; i++) {
        const uint32_t weight = world->nodes[i].weight;
        assert_true(to[i] >= weight - weight / 4 && to[i] <= weight + weight / 4);
        assert_true(to[i] >= floor || to[i] >= weight);
        assert_true(to[i] <= NODE_WEIGHT_MAX);
        changed += to[i] != weight;
        world->nodes[i].weight = to[i];
    }
    assert_int_equal(changes, changed > 0);
    assert_int_equal(sum_of(world), sum);
    return changes;
}

/* The load that all would have, were it even. */
static double level_of(const struct world *world)
{
    double wanted = 0;

    for (uint32_t i = 0; i < world->count; i++) {
        wanted += world->nodes[i].weight / world->nodes[i].load;
    }
    return (double)sum_of(world) / wanted;
}

static void test_converges(void **state)
{
    static const double powers[] = {0.5, 1, 1.5, 2};
    uint64_t random = 1;

    (void)state;
    for (uint32_t i = 0; i < 400; i++) {
        struct world world = make(&random, powers[i % 4]);
        uint32_t rounds = 0;
        double most = most_of(&world);
        while (step(&world)) {
            measure(&world);
            if (world.power <= 1) { /* The way is straight. */
                assert_true(most_of(&world) <= most * 1.001);
            }
            most = most_of(&world);
            assert_true(++rounds < ROUNDS);
        }
        assert_true(most <= level_of(&world) * 1.1001);
    }
}

/* What is measured a little wrong each time moves nothing for long. */
static void test_rests(void **state)
{
    uint64_t random = 7;

    (void)state;
    for (uint32_t i = 0; i < 100; i++) {
        struct world world = make(&random, i % 2 == 0 ? 1 : 2);
        uint32_t late = 0;
        for (uint32_t round = 0; round < 4 * ROUNDS; round++) {
            blur(&world, &random);
            late += step(&world) && round >= ROUNDS;
            measure(&world);
        }
        assert_true(late <= 3);
        assert_true(most_of(&world) < level_of(&world) * 1.17);
    }
}

/* Other work makes it as loaded whatever it takes: it keeps a part, and the others share the rest evenly. */
static void test_load_of_its_own(void **state)
{
    struct world world = {.count = 3, .cost = {1, 1, 1}, .power = 1};
    uint32_t rounds = 0;

    (void)state;
    for (uint32_t i = 0; i < 3; i++) {
        world.nodes[i].weight = 400;
    }
    do {
        measure(&world);
        world.nodes[0].load = 0.95;
        assert_true(++rounds < ROUNDS);
    } while (step(&world));
    assert_int_equal(world.nodes[0].weight, 40);
    assert_true(abs((int)world.nodes[1].weight - (int)world.nodes[2].weight) <= 1);
}

static void test_left_as_it_is(void **state)
{
    static const struct world worlds[] = {
        {.count = 0},
        {.count = 1, .nodes = {{100, 0.9}}},
        {.count = 3, .nodes = {{100, 0.5}, {200, 0.5}, {400, 0.5}}},
        {.count = 2, .nodes = {{100, 0.54}, {100, 0.46}}},
        {.count = 2, .nodes = {{100, 0.09}, {100, 0.01}}},
        {.count = 2, .nodes = {{100, 0}, {100, 0}}},
        {.count = 3, .nodes = {{3, 0.9}, {2, 0.2}, {1, 0.1}}}, /* A quarter of that is none. */
    };

    (void)state;
    for (size_t i = 0; i < sizeof worlds / sizeof worlds[0]; i++) {
        struct world world = worlds[i];
        assert_false(step(&world));
    }
}

static void test_bounds(void **state)
{
    struct world idle = {.count = 2, .nodes = {{400, 0.9}, {400, 0}}};
    struct world great = {.count = 2, .nodes = {{NODE_WEIGHT_MAX, 0.9}, {NODE_WEIGHT_MAX, 0.1}}};
    struct world small = {.count = 2, .nodes = {{1000, 0.2}, {10, 0.9}}};

    (void)state;
    assert_true(step(&idle));
    assert_int_equal(idle.nodes[1].weight, 500);
    assert_false(step(&great)); /* Who could take more has the most there is. */
    assert_false(step(&small)); /* It has less than a tenth of the mean: that it keeps. */
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_converges),       cmocka_unit_test(test_rests),
        cmocka_unit_test(test_load_of_its_own), cmocka_unit_test(test_left_as_it_is),
        cmocka_unit_test(test_bounds),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
