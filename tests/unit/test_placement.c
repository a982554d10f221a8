/* Where slots are placed: shares, zones and what moves, over clusters of 2 to 256 nodes and many changes. The figures
 * are printed as a table. What is moved is counted for every smaller number of replicas as well: of the copies in ranks
 * 1 to r, those on a node that had none of that slot in ranks 1 to r before. The least is what the loads ask for: the
 * sum of what each node has more than before.
 */
#include "check.h"

#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <time.h>

#include "crc32c.h"
#include "placement.h"
#include "random.h"

enum { REPLICAS = 3 };

struct world {
    struct placement_member members[PLACEMENT_MEMBERS_MAX];
    uint32_t count, replicas, next_number;
    uint64_t random;
};

/* The worst that was seen; ratios and shares by rank. */
struct figures {
    double share_slots,
        share_percent; /* Of primaries: the worst of nodes off by more than a slot, in %. */
    double copies_percent
        [PLACEMENT_REPLICAS_MAX]; /* The same of all copies in the ranks up to each. */
    double moved_ratio[PLACEMENT_REPLICAS_MAX];
    uint64_t moved[PLACEMENT_REPLICAS_MAX],
        least[PLACEMENT_REPLICAS_MAX]; /* Of all changes together. */
    uint32_t zone_violations, node_violations;
    double ms_max;
};

static struct placement_work work;
static struct slot_owners before[SLOT_COUNT], after[SLOT_COUNT], other[SLOT_COUNT];

static uint32_t member_index(const struct world *world, uint32_t number)
{
    for (uint32_t i = 0; i < world->count; i++) {
        if (world->members[i].number == number) {
            return i;
        }
    }
    return UINT32_MAX;
}

static uint32_t zone_of(const struct world *world, uint32_t number)
{
    return world->members[member_index(world, number)].zone;
}

static uint32_t owning_count(const struct world *world)
{
    uint32_t count = 0;

    for (uint32_t i = 0; i < world->count; i++) {
        count += world->members[i].weight > 0;
    }
    return count;
}

static uint32_t zone_count(const struct world *world)
{
    uint32_t count = 0;

    for (uint32_t i = 0; i < world->count; i++) {
        bool first = world->members[i].weight > 0;
        for (uint32_t j = 0; j < i; j++) {
            first = first && (world->members[j].weight == 0 ||
                              world->members[j].zone != world->members[i].zone);
        }
        count += first;
    }
    return count;
}

static double zone_weights[16];

static void weigh_zones(const struct world *world)
{
    memset(zone_weights, 0, sizeof zone_weights);
    for (uint32_t i = 0; i < world->count; i++) {
        zone_weights[world->members[i].zone] += world->members[i].weight;
    }
}

/* Copies that a node should have in ranks 1 to r, at this level of copies per weight. */
static double part_at(const struct world *world, uint32_t index, uint32_t r, uint32_t zones,
                      double level, const double part_below[])
{
    const struct placement_member *member = &world->members[index];
    double part = level * member->weight;

    if (r <= zones && member->weight > 0) {
        double zone = zone_weights[member->zone];
        return level * zone > SLOT_COUNT ? SLOT_COUNT * (member->weight / zone) : part;
    }
    return member->weight == 0 ? 0 : fmin(fmax(part, part_below[index]), SLOT_COUNT);
}

/* The level at which all copies are placed, by bisection: the test's own way to the shares. */
static void ideal_parts(const struct world *world, uint32_t r, double parts[])
{
    uint32_t zones = zone_count(world);
    double below[PLACEMENT_MEMBERS_MAX], low = 0, high = (double)SLOT_COUNT * 2;

    weigh_zones(world);
    memcpy(below, parts, sizeof below);
    for (int i = 0; i < 100; i++) {
        double middle = (low + high) / 2, sum = 0;
        for (uint32_t j = 0; j < world->count; j++) {
            sum += part_at(world, j, r, zones, middle, below);
        }
        if (sum < (double)r * SLOT_COUNT) {
            low = middle;
        } else {
            high = middle;
        }
    }
    for (uint32_t j = 0; j < world->count; j++) {
        parts[j] = part_at(world, j, r, zones, high, below);
    }
}

static bool holds(const struct slot_owners *owners, uint32_t ranks, uint32_t number)
{
    for (uint32_t i = 0; i < ranks; i++) {
        if (owners->nodes[i] == number) {
            return true;
        }
    }
    return false;
}

static void look_at_slots(const struct world *world, struct figures *figures)
{
    uint32_t owning = owning_count(world), zones = zone_count(world);
    uint32_t copies = world->replicas < owning ? world->replicas : owning;

    for (uint32_t slot = 0; slot < SLOT_COUNT; slot++) {
        for (uint32_t i = 0; i < PLACEMENT_REPLICAS_MAX; i++) {
            uint32_t number = after[slot].nodes[i];
            assert_int_equal(number != 0, i < copies);
            if (number == 0) {
                continue;
            }
            uint32_t index = member_index(world, number);
            assert_true(index != UINT32_MAX && world->members[index].weight > 0);
            figures->node_violations += holds(&after[slot], i, number);
            for (uint32_t j = 0; j < i && i < zones; j++) {
                figures->zone_violations +=
                    zone_of(world, after[slot].nodes[j]) == zone_of(world, number);
            }
        }
    }
}

static void count_loads(const struct slot_owners table[], uint32_t r, uint32_t loads[])
{
    for (uint32_t slot = 0; slot < SLOT_COUNT; slot++) {
        for (uint32_t i = 0; i < r; i++) {
            loads[table[slot].nodes[i]]++;
        }
    }
}

static void look_at_shares(const struct world *world, struct figures *figures)
{
    uint32_t owning = owning_count(world);
    double parts[PLACEMENT_MEMBERS_MAX] = {0};

    for (uint32_t r = 1; r <= world->replicas && r <= owning; r++) {
        static uint32_t loads[65536];
        memset(loads, 0, sizeof loads);
        count_loads(after, r, loads);
        ideal_parts(world, r, parts);
        for (uint32_t i = 0; i < world->count; i++) {
            double off = fabs(loads[world->members[i].number] - parts[i]);
            double percent = off <= 1.0001 ? 0 : off * 100 / parts[i];
            figures->copies_percent[r - 1] = fmax(figures->copies_percent[r - 1], percent);
            if (r == 1) {
                figures->share_slots = fmax(figures->share_slots, off);
                figures->share_percent = fmax(figures->share_percent, percent);
            }
        }
    }
}

static void look_at_moves(const struct world *world, struct figures *figures)
{
    uint32_t owning = owning_count(world);

    for (uint32_t r = 1; r <= world->replicas && r <= owning; r++) {
        static uint32_t loads_before[65536], loads_after[65536];
        uint64_t moved = 0, least = 0;
        memset(loads_before, 0, sizeof loads_before);
        memset(loads_after, 0, sizeof loads_after);
        count_loads(before, r, loads_before);
        count_loads(after, r, loads_after);
        for (uint32_t i = 1; i < 65536; i++) {
            least += loads_after[i] > loads_before[i] ? loads_after[i] - loads_before[i] : 0;
        }
        for (uint32_t slot = 0; slot < SLOT_COUNT; slot++) {
            for (uint32_t i = 0; i < r; i++) {
                moved += !holds(&before[slot], r, after[slot].nodes[i]);
            }
        }
        assert_true(moved >= least);
        figures->moved[r - 1] += moved;
        figures->least[r - 1] += least;
        if (least >= SLOT_COUNT / 256) { /* A ratio of a few copies says nothing. */
            figures->moved_ratio[r - 1] =
                fmax(figures->moved_ratio[r - 1], (double)moved / (double)least);
        }
    }
}

static double now_ms(void)
{
    struct timespec now;

    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec * 1e3 + (double)now.tv_nsec / 1e6;
}

/* Place, look at all of it, and let that be the owners before. */
static void place(struct world *world, struct figures *figures, bool first)
{
    double begin = now_ms();

    assert_int_equal(placement_make(&work, world->members, world->count, world->replicas,
                                    first ? NULL : before, after),
                     0);
    figures->ms_max = fmax(figures->ms_max, now_ms() - begin);
    look_at_slots(world, figures);
    look_at_shares(world, figures);
    if (!first) {
        look_at_moves(world, figures);
    }
    memcpy(before, after, sizeof before);
}

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
           "| moved / least, worst change, rank 1, 1-2, 1-3 | the same, all changes | zones broken "
           "| ms |\n"
           "|---|---|---|---|---|---|---|---|---|\n");
}

static double total_ratio(const struct figures *figures, uint32_t r)
{
    return figures->least[r] == 0 ? 1 : (double)figures->moved[r] / (double)figures->least[r];
}

static void print_row(const char *nodes, uint32_t zones, enum weights weights,
                      const struct figures *figures)
{
    static const char *const names[] = {"equal", "mixed", "wild"};

    printf(
        "| %s | %u | %s | %.2f | %.2f, %.2f | %.3f, %.3f, %.3f | %.3f, %.3f, %.3f | %u | %.1f |\n",
        nodes, zones, names[weights], figures->share_slots, figures->copies_percent[1],
        figures->copies_percent[2], figures->moved_ratio[0], figures->moved_ratio[1],
        figures->moved_ratio[2], total_ratio(figures, 0), total_ratio(figures, 1),
        total_ratio(figures, 2), figures->zone_violations, figures->ms_max);
}

static void run(uint32_t nodes, uint32_t zones, enum weights weights)
{
    struct figures figures = {0};
    struct world world;
    char name[16];

    make_world(&world, nodes, zones, weights, nodes * 1000 + zones * 10 + weights);
    place(&world, &figures, true);
    for (uint32_t i = 0; i < 20; i++) {
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
}

/* From 2 nodes to 256: fresh, then twenty joins, leaves and changes of weight (to the double or the half). */
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

    (void)state;
    print_head();
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        run(rows[i].nodes, rows[i].zones, rows[i].weights);
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
        assert_true((double)figures.moved[r] <= 1.02 * (double)figures.least[r]);
        assert_true(figures.copies_percent[r] < 20);
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
static void test_placement_is_pinned(void **state)
{
    struct world world;
    struct figures figures = {0};

    (void)state;
    make_world(&world, 7, 3, MIXED, 5);
    place(&world, &figures, true);
    assert_int_equal(crc32c(0, bytes_of(after, sizeof after)), 0xb30dbbaf);
    world.members[2].weight = 0;
    join(&world, 3, MIXED);
    place(&world, &figures, false);
    assert_int_equal(crc32c(0, bytes_of(after, sizeof after)), 0x99c9619);
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
        cmocka_unit_test(test_figures),    cmocka_unit_test(test_join_and_leave),
        cmocka_unit_test(test_same_again), cmocka_unit_test(test_placement_is_pinned),
        cmocka_unit_test(test_few_nodes),  cmocka_unit_test(test_arcs),
        cmocka_unit_test(test_replicas),   cmocka_unit_test(test_refused),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
