/* Raft on 3 and 5 nodes, and spare ones, with everything going wrong by lot; raft_world.h checks Raft's properties
 * after each event. Each seed ends in peace, where all must agree and go on.
 * BELAY_RAFT_SEED=N plays one seed alone, BELAY_RAFT_SEEDS=N so many. */
#include "raft_world.h"

enum { SEEDS = 3000, MS_OF_TROUBLE = 3000 };

static struct world_counts total;

/* The node's own seed is in the world's: one number makes all of a history. */
static void begin(uint64_t seed)
{
    uint32_t voters = seed % 2 == 0 ? 3 : 5;

    world_init(seed, voters + 2, voters);
    world.loss_percent = random_below(&world.random, 3) * 8;
    world.repeat_percent = random_below(&world.random, 3) * 10;
    world.delay_ms_max = random_below(&world.random, 2) * 60 + 5;
    world.store_ms_max = random_below(&world.random, 3) * 30;
    world.log_bytes = random_below(&world.random, 2) * 2000 + 400;
    world.kept_entries = random_below(&world.random, 2) * 5;
    world.state_bytes = seed % 16 == 5 ? 3 * RAFT_CHUNK_BYTES : 0;
    world.memory_failures = seed % 4 == 1 ? 50 : 0;
    world.keep_commit = seed % 3 == 0;
    world.machine_failures = seed % 4 == 1 ? 4 : 0;
    for (uint32_t i = 1; i <= world.count; i++) {
        struct raft_options *options = &world.nodes[i].raft.options;
        options->log_bytes = world.log_bytes;
        options->kept_entries = world.kept_entries;
    }
}

static void partition(void)
{
    bool one_way = world_chance(4);

    world.counts.partitions++;
    for (uint32_t i = 1; i <= world.count; i++) {
        bool side = world_chance(2);
        for (uint32_t k = 1; k < i; k++) {
            bool cut = side && world_chance(2);
            world.cut[i][k] = cut;
            world.cut[k][i] = cut && !one_way;
        }
    }
}

static void crash_or_restart(uint32_t number)
{
    struct world_node *node = &world.nodes[number];

    if (node->up) {
        world_crash(number, random_below(&world.random, node->disk.call_count + 1));
    } else {
        world_boot(node);
    }
}

static void propose(uint32_t number)
{
    struct raft_place place;
    char command[40];

    snprintf(command, sizeof command, "%llu", (unsigned long long)random_next(&world.random));
    int rc = world_propose(number, command, &place);
    world.counts.proposed += rc == 0;
    world.counts.refused += rc != 0;
}

static void change_members(uint32_t number)
{
    enum raft_change change = RAFT_ADD_LEARNER + random_below(&world.random, 4);
    uint32_t of = 1 + random_below(&world.random, world.count);

    /* So few that one node's loss stops everything would be little to look at. */
    if ((change == RAFT_DEMOTE || change == RAFT_REMOVE) &&
        raft_members_voters(&world.nodes[number].raft.members) <= 2) {
        return;
    }
    (void)world_change(number, change, of);
}

static void trouble(void)
{
    uint32_t number = 1 + random_below(&world.random, world.count);
    uint32_t leader = world_leader();

    if (world_chance(60)) {
        crash_or_restart(number);
    } else if (world_chance(60)) {
        partition();
    } else if (world_chance(30)) {
        memset(world.cut, 0, sizeof world.cut);
    } else if (world_chance(60)) {
        world.nodes[number].disk.refuse = world.memory_failures > 0 && world_chance(2);
    } else if (leader != 0 && world_chance(6)) {
        propose(leader);
    } else if (leader != 0 && world_chance(8)) {
        change_members(leader);
    } else if (leader != 0 && world_chance(60)) {
        (void)raft_transfer(&world.nodes[leader].raft, 0);
    } else if (world.nodes[number].up && world_chance(40)) {
        propose(number);
    }
}

static void make_peace(void)
{
    memset(world.cut, 0, sizeof world.cut);
    world.loss_percent = world.repeat_percent = 0;
    world.memory_failures = world.machine_failures = 0;
    world.delay_ms_max = world.store_ms_max = 5;
    for (uint32_t i = 1; i <= world.count; i++) {
        world.nodes[i].disk.refuse = false;
        if (!world.nodes[i].up) {
            world_boot(&world.nodes[i]);
        }
    }
}

static void add_counts(void)
{
    const uint64_t *from = (const uint64_t *)(const void *)&world.counts;
    uint64_t *to = (uint64_t *)(void *)&total;

    for (size_t i = 0; i < sizeof total / sizeof *to; i++) {
        to[i] += from[i];
    }
}

static void one_seed(uint64_t seed)
{
    struct raft_place place;

    begin(seed);
    while (world.now_ms < 1000 + MS_OF_TROUBLE) {
        trouble();
        world_step();
    }
    make_peace();
    /* A proposal of a settled cluster is not lost. */
    for (uint32_t tries = 0;; tries++) {
        WORLD_CHECK(&world, tries < 1000);
        uint32_t leader = world_elect();
        if (world_propose(leader, "the last", &place) == 0) {
            world_settle();
            if (world.committed[place.index].term == place.term) {
                break;
            }
        }
        world_step();
    }
    add_counts();
    world_fini();
}

static void test_random(void **state)
{
    (void)state;
    const char *only = getenv("BELAY_RAFT_SEED"), *more = getenv("BELAY_RAFT_SEEDS");
    uint64_t first = only != NULL ? strtoull(only, NULL, 10) : 1;
    uint64_t count = more != NULL ? strtoull(more, NULL, 10) : only != NULL ? 1 : SEEDS;

    for (uint64_t seed = first; seed < first + count; seed++) {
        one_seed(seed);
    }
    /* What happened, and how often it must, so that passing means something. */
    const struct {
        const char *name;
        uint64_t count, least;
    } rows[] = {
        {"events", total.events, 5000000},
        {"elections", total.elections, 6000},
        {"candidates", total.candidates, 10000},
        {"commits", total.commits, 50000},
        {"proposals", total.proposed, 40000},
        {"proposals refused", total.refused, 20000},
        {"snapshots made", total.saved, 12000},
        {"snapshots installed", total.installed, 1500},
        {"changes of members", total.changed, 5000},
        {"crashes", total.crashes, 12000},
        {"logs truncated", total.truncated, 500},
        {"leaders without quorum", total.no_quorum, 1000},
        {"hand-overs", total.handed_over, 1000},
        {"messages lost", total.lost, 40000},
        {"messages repeated", total.repeated, 50000},
        {"partitions", total.partitions, 15000},
        {"failures of memory, store, machine", total.failures, 2000},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        print_message("%8llu %s\n", (unsigned long long)rows[i].count, rows[i].name);
        assert_true(count < SEEDS || rows[i].count >= rows[i].least);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_random),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
