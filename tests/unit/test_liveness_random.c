/* Liveness and verdict together: 2 to 16 nodes on a network that loses and delays, with one-way cuts, partitions,
 * pauses, resets, crashes and changing leaders.
 *
 * Within the bounds of the network (of two messages in a row on one link at least one arrives, in DELAY_MS_MAX) it must
 * hold at every moment that
 *   - nobody believes a member SILENT that was there and within reach, both ways, all the time; not after an own pause
 *     either;
 *   - no member is taken out that could talk with so many others that those left could not confirm it;
 *   - a member that died is taken out within BOUND_MS, where at most half are out;
 *   - never more than half are out;
 *   - who was taken out is out for its cooldown, which doubles up to the limit, and is forgotten after that long up;
 *   - and after all is well again for long enough, all are in.
 *
 * BELAY_SEED chooses another run, BELAY_ROUNDS its length.
 */
#include <inttypes.h>

#include "liveness_world.h"

enum { ROUNDS = 60 };

/* ---- What must hold ---- */

static void note_reach(void)
{
    for (uint32_t i = 0; i < world.count; i++) {
        for (uint32_t j = 0; j < world.count; j++) {
            const struct node *a = &world.nodes[i], *b = &world.nodes[j];
            bool reach = !world.cut[i][j] && !world.cut[j][i] && is_there(b) && a->alive;
            world.reach_ms[i][j] = reach ? world.reach_ms[i][j] + (is_there(a) ? STEP_MS : 0) : 0;
            if (!reach || !is_there(a)) {
                world.healthy_ms[i][j] = world.now_ms;
            }
        }
    }
}

/* An own pause may keep an old belief for a while, but makes no new one. */
static void check_beliefs(void)
{
    for (uint32_t i = 0; i < world.count; i++) {
        for (uint32_t j = 0; j < world.count; j++) {
            bool silent = i != j && is_there(&world.nodes[i]) &&
                          liveness_belief(&world.nodes[i].liveness, j + 1) == BELIEF_SILENT;
            uint64_t for_ms =
                world.silent[i][j] ? world.now_ms - world.healthy_ms[i][j] : world.reach_ms[i][j];
            assert_true(!silent || for_ms < REACH_MS);
            world.silent[i][j] = silent || (world.silent[i][j] && !is_there(&world.nodes[i]));
        }
    }
}

static void check_crashed(void)
{
    uint32_t dead = 0;

    if (world.leader == world.count) {
        return;
    }
    for (uint32_t i = 0; i < world.count; i++) {
        dead += !world.nodes[i].alive || world.nodes[i].member.down;
    }
    for (uint32_t i = 0; i < world.count && 2 * dead <= world.count; i++) {
        const struct node *node = &world.nodes[i];
        uint64_t since_ms = node->died_ms > world.leader_ms ? node->died_ms : world.leader_ms;
        since_ms = since_ms > world.crashes_only_ms ? since_ms : world.crashes_only_ms;
        assert_true(node->alive || node->member.down || world.now_ms <= since_ms + BOUND_MS);
    }
}

static void step(void)
{
    world.now_ms += STEP_MS;
    uint32_t bucket = (uint32_t)(world.now_ms / STEP_MS % BUCKETS);
    arrive_all(&world.buckets[bucket], &world.bucket_ends[bucket]);
    for (uint32_t i = 0; i < world.count; i++) {
        node_step(&world.nodes[i]);
    }
    raft_step();
    note_reach();
    check_beliefs();
    check_crashed();
}

static void run(uint32_t ms)
{
    for (uint64_t end_ms = world.now_ms + ms; world.now_ms < end_ms;) {
        step();
    }
}

/* ---- Faults ---- */

static void fault_crash(void)
{
    uint32_t dead = 0;

    for (uint32_t i = 0; i < world.count; i++) {
        dead += !world.nodes[i].alive || world.nodes[i].member.down;
    }
    for (uint32_t tries = between(1, world.count); tries > 0 && 2 * (dead + 1) <= world.count;
         tries--) {
        struct node *node = &world.nodes[between(0, world.count - 1)];
        if (node->alive && !node->member.down && !(world.count == 2 && node->index == 0)) {
            crash(node);
            dead++;
        }
    }
    run(between(1000, 30000));
}

static void fault_pause(void)
{
    for (uint32_t tries = between(1, world.count); tries > 0; tries--) {
        world.nodes[between(0, world.count - 1)].paused_until_ms =
            world.now_ms + between(200, 20000);
        totals.pauses++;
    }
    run(between(1000, 30000));
}

static void fault_one_way(void)
{
    uint32_t node = between(0, world.count - 1);
    bool hears = chance(50);

    for (uint32_t i = 0; i < world.count; i++) {
        if (i != node && chance(70)) {
            world.cut[hears ? node : i][hears ? i : node] = true;
            totals.cuts++;
        }
    }
    run(between(1000, 30000));
}

/* Two sides, perhaps with a bridge that sees both. */
static void fault_partition(void)
{
    uint32_t bridge = chance(50) ? between(0, world.count - 1) : world.count;
    bool side[NODES_MAX];

    for (uint32_t i = 0; i < world.count; i++) {
        side[i] = chance(50);
    }
    for (uint32_t i = 0; i < world.count; i++) {
        for (uint32_t j = 0; j < world.count; j++) {
            world.cut[i][j] = side[i] != side[j] && i != bridge && j != bridge;
        }
    }
    totals.bridges += bridge < world.count;
    totals.partitions++;
    run(between(1000, 30000));
}

/* Connections break, and nothing is wrong. */
static void fault_resets(void)
{
    for (uint32_t tries = between(1, 3 * world.count); tries > 0; tries--) {
        uint32_t at = between(0, world.count - 1), of = between(0, world.count - 1);
        if (at != of) {
            reset(at, of);
            totals.false_resets++;
        }
        run(between(0, 300) / STEP_MS * STEP_MS);
    }
}

static void heal(void)
{
    memset(world.cut, 0, sizeof world.cut);
    for (uint32_t i = 0; i < world.count; i++) {
        struct node *node = &world.nodes[i];
        if (!node->alive) {
            start(node);
            totals.restarts++;
        } else if (node->paused_until_ms > world.now_ms) {
            node->paused_until_ms = world.now_ms;
        }
    }
}

static void settle(uint32_t extra_ms)
{
    heal();
    run(COOLDOWN_MAX_MS + 2 * BOUND_MS + extra_ms);
    assert_int_equal(out_count(), 0);
    assert_false(world.verdict.panic);
    totals.settled++;
}

static void fault(void)
{
    static void (*const faults[])(void) = {fault_crash, fault_pause, fault_one_way, fault_partition,
                                           fault_resets};
    uint32_t which = between(0, 4);

    /* How soon a crash is found is asked where nothing else is wrong. */
    world.crashes_only_ms = which == 0 || which == 4 ? world.crashes_only_ms : UINT64_MAX / 2;
    faults[which]();
    if (chance(70)) {
        heal();
        world.crashes_only_ms = world.now_ms + HEALTHY_MS;
        run(between(0, 20000));
    }
}

static void run_round(uint64_t seed)
{
    memset(&world, 0, sizeof world);
    world.random = seed;
    world.now_ms = 1000000;
    world.verdict_port.propose = on_propose;
    world.count = between(2, NODES_MAX);
    world.leader = world.count;
    for (int i = 0; i < BUCKETS; i++) {
        world.bucket_ends[i] = &world.buckets[i];
    }
    for (uint32_t i = 0; i < world.count; i++) {
        world.nodes[i].index = i;
        world.nodes[i].member.node = i + 1;
        start(&world.nodes[i]);
    }
    for (uint32_t i = 0; i < world.count * NODES_MAX; i++) {
        world.healthy_ms[i / NODES_MAX][i % NODES_MAX] = world.now_ms;
    }
    run(10000);
    for (int i = 0; i < 12; i++) {
        fault();
        if (i % 6 == 5) {
            settle(chance(50) ? COOLDOWN_MAX_MS : 0);
        }
    }
    for (uint32_t i = 0; i < world.count; i++) {
        add_counters(&world.nodes[i].liveness.counters);
        drop_all(&world.nodes[i].held, &world.nodes[i].held_end);
    }
    for (int i = 0; i < BUCKETS; i++) {
        drop_all(&world.buckets[i], &world.bucket_ends[i]);
    }
    totals.panics += world.verdict.counters.panics;
    totals.held += world.verdict.counters.held;
}

static uint64_t from_environment(const char *name, uint64_t otherwise)
{
    const char *text = getenv(name);

    return text == NULL ? otherwise : strtoull(text, NULL, 10);
}

/* All of it has happened, and often. */
static void check_totals(uint64_t rounds)
{
    const struct liveness_counters *counters = &totals.counters;

    assert_int_equal(totals.settled, 2 * rounds);
    assert_int_equal(totals.downs, totals.ups);
    assert_true(totals.crashes >= 3 * rounds && totals.judged >= rounds / 4 &&
                totals.restarts == totals.crashes);
    assert_true(totals.pauses >= 4 * rounds && totals.cuts >= 4 * rounds);
    assert_true(totals.partitions >= rounds && totals.bridges >= rounds / 2);
    assert_true(totals.resets >= 20 * rounds && totals.false_resets >= 10 * rounds);
    assert_true(totals.downs >= 5 * rounds && totals.doubled >= rounds &&
                totals.forgotten >= rounds / 2);
    assert_true(totals.leaders >= 2 * rounds && totals.panics >= rounds / 6 &&
                totals.held >= rounds / 6);
    assert_true(counters->refuted >= 100 * rounds && counters->confirmed >= 5 * rounds);
    assert_true(counters->silent >= 50 * rounds && counters->deaf >= 50 * rounds);
    assert_true(counters->probes_sent >= 1000 * rounds &&
                counters->probes_unanswered >= 5 * rounds);
    assert_true(counters->answered_yes >= 500 * rounds && counters->answered_no >= 100 * rounds);
    assert_true(counters->pauses >= 2 * rounds && counters->restarts >= 10 * rounds);
}

static void test_random(void **state)
{
    (void)state;
    uint64_t seed = from_environment("BELAY_SEED", 1),
             rounds = from_environment("BELAY_ROUNDS", ROUNDS);

    for (uint64_t i = 0; i < rounds; i++) {
        print_message("seed %" PRIu64 "\n", seed + i); /* The last one is that of a failure. */
        run_round(seed + i);
    }
    print_message("%" PRIu64 " crashes, %" PRIu64 " of them judged, found in %" PRIu64
                  " ms on average, %" PRIu64 " at most; %" PRIu64 " taken out, %" PRIu64
                  " leaders\n",
                  totals.crashes, totals.judged, totals.sum_ms / (totals.judged + 1),
                  totals.slowest_ms, totals.downs, totals.leaders);
    if (rounds >= ROUNDS) {
        check_totals(rounds);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_random),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
