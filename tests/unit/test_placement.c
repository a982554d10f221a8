/* Where slots are placed: shares, zones and what moves, over clusters of 2 to 256 nodes and many changes. The figures
 * are printed as a table. What is moved is counted for every smaller number of replicas as well: of the copies in ranks
 * 1 to r, those on a node that had none of that slot in ranks 1 to r before. The least is what the loads after it ask
 * for, the sum of what each node has more than before; and of a single change what any algorithm must move
 * (placement_least.h, and placement_flow.h where those bounds are too low).
 */
#include "placement_world.h"

/* ---- Clusters and changes. ---- */

enum weights { EQUAL, MIXED, WILD };

static uint32_t some_weight(struct world *world, enum weights weights)
{
    static const uint32_t mixed[] = {400, 800, 800, 1600};

    return weights == EQUAL   ? 800
           : weights == MIXED ? mixed[random_below(&world->random, 4)]
                              : 1 + random_below(&world->random, 1000);
}

static void join(struct world *world, uint32_t zones, enum weights weights)
{
    world->members[world->count++] = (struct placement_member){
        .number = world->next_number,
        .weight = some_weight(world, weights),
        .zone = world->next_number % zones,
    };
    world->next_number++;
}

static void make_world(struct world *world, uint32_t nodes, uint32_t zones, enum weights weights,
                       uint64_t seed)
{
    *world = (struct world){.replicas = REPLICAS, .next_number = 1, .random = seed};
    for (uint32_t i = 0; i < nodes; i++) {
        join(world, zones, weights);
    }
}

static void change(struct world *world, uint32_t zones, enum weights weights, uint32_t kind)
{
    uint32_t index = random_below(&world->random, world->count);

    if (kind == 0 && world->count < PLACEMENT_MEMBERS_MAX) {
        join(world, zones, weights);
    } else if (kind == 1 && world->count > 2) {
        world->members[index] = world->members[--world->count];
    } else {
        uint32_t weight = world->members[index].weight;
        world->members[index].weight =
            random_below(&world->random, 2) == 0 ? weight * 2 : weight / 2 + 1;
    }
}

static void print_head(void)
{
    printf("| nodes | zones | weights | share off by slots | %% beyond a slot, ranks 1-2, 1-3 "
           "| moved / least, all changes, rank 1, 1-2, 1-3 | single changes, worst in rank 1, 1-2, "
           "1-3 "
           "| mean, 1-3 | zones broken | ms |\n"
           "|---|---|---|---|---|---|---|---|---|---|\n");
}

static double total_ratio(const struct figures *figures, uint32_t r)
{
    return figures->least[r] == 0 ? 1 : (double)figures->moved[r] / (double)figures->least[r];
}

static void print_row(const char *nodes, uint32_t zones, enum weights weights,
                      const struct figures *figures)
{
    static const char *const names[] = {"equal", "mixed", "wild"};

    printf("| %s | %u | %s | %.2f | %.2f, %.2f | %.3f, %.3f, %.3f | %.3f, %.3f, %.3f | %.3f | %u | "
           "%.1f |\n",
           nodes, zones, names[weights], figures->share_slots, figures->copies_percent[1],
           figures->copies_percent[2], total_ratio(figures, 0), total_ratio(figures, 1),
           total_ratio(figures, 2), figures->least_ratio[0], figures->least_ratio[1],
           figures->least_ratio[2], figures->least_sum / figures->least_count,
           figures->zone_violations, figures->ms_max);
}

static void run(uint32_t nodes, uint32_t zones, enum weights weights, uint32_t changes)
{
    struct figures figures = {0};
    struct world world;
    char name[16];

    make_world(&world, nodes, zones, weights, nodes * 1000 + zones * 10 + weights);
    place(&world, &figures, true);
    for (uint32_t i = 0; i < changes; i++) {
        change(&world, zones, weights, random_below(&world.random, 3));
        place(&world, &figures, false);
    }
    snprintf(name, sizeof name, "%u", nodes);
    print_row(name, zones, weights, &figures);
    assert_int_equal(figures.node_violations, 0);
    assert_int_equal(figures.zone_violations, 0);
    assert_true(figures.share_slots <= 1.0001);
    assert_true(figures.moved[0] == figures.least[0]);
    for (uint32_t r = 0; r < REPLICAS; r++) {
        assert_true(total_ratio(&figures, r) <= 1.1);
    }
    assert_true(figures.least_ratio[0] <= 1);
    assert_true(figures.least_sum <= 1.05 * figures.least_count);
    assert_true(figures.least_ratio[REPLICAS - 1] <= (zones == 2 && nodes == 4 ? 1.12 : 1.1));
    assert_true(figures.copies_percent[REPLICAS - 1] <= (zones == 2 && nodes == 4 ? 6 : 1.001));
}

/* From 2 nodes to 256: fresh, then twenty joins, leaves and changes of weight (to the double or the half), or so many as
 * BELAY_PLACEMENT_CHANGES says. */
static void test_figures(void **state)
{
    static const struct {
        uint32_t nodes, zones;
        enum weights weights;
    } rows[] = {
        {2, 1, MIXED},  {3, 1, EQUAL},   {3, 3, MIXED},   {4, 2, MIXED},   {5, 5, WILD},
        {8, 1, MIXED},  {8, 3, MIXED},   {16, 1, EQUAL},  {16, 2, WILD},   {16, 3, MIXED},
        {16, 5, EQUAL}, {64, 1, MIXED},  {64, 3, MIXED},  {128, 5, EQUAL}, {256, 1, EQUAL},
        {256, 2, WILD}, {256, 3, EQUAL}, {256, 3, MIXED}, {256, 5, MIXED},
    };

    const char *asked = getenv("BELAY_PLACEMENT_CHANGES");
    uint32_t changes = asked != NULL ? (uint32_t)strtoul(asked, NULL, 10) : 20;

    (void)state;
    print_head();
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        run(rows[i].nodes, rows[i].zones, rows[i].weights, changes);
    }
}

/* A node that joins takes its part in every rank, and next to nothing moves between the others; when it leaves, the
 * others take little more than it had. */
static void test_join_and_leave(void **state)
{
    struct world world;
    struct figures figures = {0};

    (void)state;
    make_world(&world, 16, 3, MIXED, 1);
    place(&world, &figures, true);
    join(&world, 3, MIXED);
    place(&world, &figures, false);
    for (uint32_t r = 0; r < REPLICAS; r++) {
        /* Of ranks 1 to 2 as well, where some change places with the third and nothing is copied. */
        assert_true((double)figures.moved[r] <= (r == 1 ? 1.05 : 1.01) * (double)figures.least[r]);
        assert_true(figures.copies_percent[r] <= (r == 1 ? 10 : 1));
    }
    world.count--;
    figures = (struct figures){0};
    place(&world, &figures, false);
    for (uint32_t r = 0; r < REPLICAS; r++) {
        assert_true((double)figures.moved[r] <= 1.05 * (double)figures.least[r]);
    }
}

/* Runs of slots with one primary. */
static uint32_t run_count(void)
{
    uint32_t runs = 1;

    for (uint32_t slot = 1; slot < SLOT_COUNT; slot++) {
        runs += after[slot].nodes[0] != after[slot - 1].nodes[0];
    }
    return runs;
}

/* Slots stay in arcs, so that lists of ranges are short: who joins takes ends of arcs before its own. */
static void test_arcs(void **state)
{
    struct world world;
    struct figures figures = {0};

    (void)state;
    make_world(&world, 3, 3, EQUAL, 1);
    place(&world, &figures, true);
    assert_true(run_count() <= 3 * PLACEMENT_ROUNDS);
    for (uint32_t nodes = 4; nodes <= 6; nodes++) {
        join(&world, 3, EQUAL);
        place(&world, &figures, false);
        assert_true(run_count() <= 300);
    }
}

/* Nothing changes where nothing changed, and the order of members is nothing. */
static void test_same_again(void **state)
{
    struct world world;
    struct figures figures = {0};

    (void)state;
    make_world(&world, 9, 3, WILD, 7);
    place(&world, &figures, true);
    for (uint32_t i = 0; i < 4; i++) {
        struct placement_member swapped = world.members[i];
        world.members[i] = world.members[8 - i];
        world.members[8 - i] = swapped;
    }
    assert_int_equal(placement_make(&work, world.members, 9, REPLICAS, NULL, after), 0);
    assert_memory_equal(before, after, sizeof before);
    assert_int_equal(placement_make(&work, world.members, 9, REPLICAS, before, after), 0);
    assert_memory_equal(before, after, sizeof before);
    /* In place. */
    world.members[3].weight *= 3;
    assert_int_equal(placement_make(&work, world.members, 9, REPLICAS, before, after), 0);
    assert_int_equal(placement_make(&work, world.members, 9, REPLICAS, before, before), 0);
    assert_memory_equal(before, after, sizeof before);
}

/* Nodes of different versions must come to the same owners: another placement is another version of the map. */
/* Every node computes it, in memory of its own: what that held before does not matter. */
static void test_memory_does_not_matter(void **state)
{
    static struct slot_owners clean[SLOT_COUNT], dirty[SLOT_COUNT];
    static struct world world;

    (void)state;
    make_world(&world, 7, 3, MIXED, 5);
    for (uint32_t i = 0; i < 30; i++) {
        const struct slot_owners *given = i == 0 ? NULL : clean;
        memset(&work, 0xff, sizeof work);
        assert_int_equal(placement_make(&work, world.members, world.count, 1 + i % 3, given, dirty),
                         0);
        memset(&work, 0, sizeof work);
        assert_int_equal(placement_make(&work, world.members, world.count, 1 + i % 3, given, clean),
                         0);
        assert_memory_equal(clean, dirty, sizeof clean);
        change(&world, 3, MIXED, i % 3);
    }
}

static void test_placement_is_pinned(void **state)
{
    struct world world;
    struct figures figures = {0};

    (void)state;
    make_world(&world, 7, 3, MIXED, 5);
    place(&world, &figures, true);
    assert_int_equal(crc32c(0, bytes_of(after, sizeof after)), 0x8a9dbc4e);
    world.members[2].weight = 0;
    join(&world, 3, MIXED);
    place(&world, &figures, false);
    assert_int_equal(crc32c(0, bytes_of(after, sizeof after)), 0x15aaa0e1);
}

static void test_few_nodes(void **state)
{
    struct placement_member members[] = {{5, 100, 1}, {9, 0, 2}, {7, 300, 1}};

    (void)state;
    assert_int_equal(placement_make(&work, members, 0, 2, NULL, after), 0);
    assert_int_equal(after[0].nodes[0], 0);
    assert_int_equal(placement_make(&work, &members[1], 1, 2, NULL, after), 0);
    assert_int_equal(after[SLOT_COUNT - 1].nodes[0], 0);
    assert_int_equal(placement_make(&work, members, 2, 3, NULL, after), 0);
    for (uint32_t slot = 0; slot < SLOT_COUNT; slot++) {
        assert_int_equal(after[slot].nodes[0], 5);
        assert_int_equal(after[slot].nodes[1], 0);
    }
    assert_int_equal(placement_make(&work, members, 3, 3, after, after), 0);
    uint32_t firsts = 0;
    for (uint32_t slot = 0; slot < SLOT_COUNT; slot++) {
        assert_int_equal(after[slot].nodes[0] + after[slot].nodes[1], 12);
        assert_int_equal(after[slot].nodes[2], 0);
        firsts += after[slot].nodes[0] == 5;
    }
    assert_int_equal(firsts, SLOT_COUNT / 4);
}

/* More replicas add a rank, fewer take it away; little moves in the others, nothing among the primaries. */
static void test_replicas(void **state)
{
    struct world world;
    struct figures figures = {0};

    (void)state;
    make_world(&world, 10, 5, MIXED, 3);
    world.replicas = 2;
    place(&world, &figures, true);
    for (world.replicas = 3; world.replicas <= PLACEMENT_REPLICAS_MAX; world.replicas++) {
        uint32_t changed = 0;
        memcpy(other, before, sizeof other);
        place(&world, &figures, false);
        for (uint32_t slot = 0; slot < SLOT_COUNT; slot++) {
            assert_int_equal(after[slot].nodes[0], other[slot].nodes[0]);
            for (uint32_t i = 1; i + 1 < world.replicas; i++) {
                changed += after[slot].nodes[i] != other[slot].nodes[i];
            }
        }
        assert_true(changed <= SLOT_COUNT / 10); /* Where zones are full, shares go on to level. */
    }
    assert_int_equal(figures.zone_violations + figures.node_violations, 0);
    memcpy(other, before, sizeof other);
    world.replicas = 1;
    place(&world, &figures, false);
    for (uint32_t slot = 0; slot < SLOT_COUNT; slot++) {
        assert_int_equal(after[slot].nodes[0], other[slot].nodes[0]);
    }
}

static void test_refused(void **state)
{
    static struct placement_member many[PLACEMENT_MEMBERS_MAX + 1];

    (void)state;
    for (uint32_t i = 0; i <= PLACEMENT_MEMBERS_MAX; i++) {
        many[i] = (struct placement_member){i + 1, PLACEMENT_WEIGHT_MAX, i};
    }
    memset(after, 7, sizeof after);
    memcpy(other, after, sizeof other);
    assert_int_equal(placement_make(&work, many, 3, 0, NULL, after), -EINVAL);
    assert_int_equal(placement_make(&work, many, 3, PLACEMENT_REPLICAS_MAX + 1, NULL, after),
                     -EINVAL);
    assert_int_equal(placement_make(&work, many, PLACEMENT_MEMBERS_MAX + 1, 2, NULL, after),
                     -E2BIG);
    many[2].number = 1;
    assert_int_equal(placement_make(&work, many, 3, 2, NULL, after), -EEXIST);
    many[2].number = 0;
    assert_int_equal(placement_make(&work, many, 3, 2, NULL, after), -EINVAL);
    many[2] = (struct placement_member){3, PLACEMENT_WEIGHT_MAX + 1, 0};
    assert_int_equal(placement_make(&work, many, 3, 2, NULL, after), -EINVAL);
    assert_memory_equal(other, after, sizeof other);
    many[2].weight = PLACEMENT_WEIGHT_MAX;
    assert_int_equal(placement_make(&work, many, PLACEMENT_MEMBERS_MAX, 5, NULL, after), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_figures),
        cmocka_unit_test(test_join_and_leave),
        cmocka_unit_test(test_same_again),
        cmocka_unit_test(test_memory_does_not_matter),
        cmocka_unit_test(test_placement_is_pinned),
        cmocka_unit_test(test_few_nodes),
        cmocka_unit_test(test_arcs),
        cmocka_unit_test(test_replicas),
        cmocka_unit_test(test_refused),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
