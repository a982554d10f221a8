/* The world of test_liveness_random.c: nodes with liveness, a network that loses, delays and is cut, and as much of
 * Raft as decides who leads and what is committed. What is committed is checked here. Time goes in steps.
 */
#ifndef LIVENESS_WORLD_H
#define LIVENESS_WORLD_H

#include "check.h"
#include "random.h"
#include "verdict.h"

enum {
    NODES_MAX = 16,
    STEP_MS = 5,
    DELAY_MS_MAX = 200,
    BUCKETS = DELAY_MS_MAX / STEP_MS + 2,
    HEARTBEAT_MS = 1000,
    DOWN_MS = 3000,
    TICK_LATE_MS = 187,
    COOLDOWN_MS = 5000,
    COOLDOWN_MAX_MS = 40000,
    LEADER_MS = 1500, /* Until another one leads. */
    /* Last message on its way; silence; own trouble of who reports; a lost report and its way; confirmed for a
     * heartbeat; a lost proposal; ticks at five places. */
    BOUND_MS = DELAY_MS_MAX + DOWN_MS + LIVENESS_SLOW_MAX * HEARTBEAT_MS + HEARTBEAT_MS +
               DELAY_MS_MAX + HEARTBEAT_MS + DOWN_MS + 5 * TICK_LATE_MS,
    REACH_MS = 7000,    /* After so long within reach, silence of before is over. */
    HEALTHY_MS = 12000, /* And what was reported of it. */
};

struct flight {
    struct flight *next;
    uint32_t to;
    bool is_report;
    struct liveness_message message;
    struct liveness_report report;
};

struct node {
    struct liveness_port port;
    struct liveness liveness;
    uint32_t index;
    uint32_t start;
    bool alive;
    uint64_t paused_until_ms, tick_ms, started_ms, died_ms;
    struct flight *held, **held_end; /* What came during a pause. */
    /* The map. */
    struct verdict_member member;
    uint64_t out_ms, in_ms; /* When it was taken out or came back. */
};

static struct world {
    struct verdict_port verdict_port;
    struct verdict verdict;
    struct node nodes[NODES_MAX];
    uint32_t count;
    uint32_t leader; /* `count`: none. */
    uint64_t leader_ms, leaderless_ms;
    uint64_t now_ms, random;
    uint64_t crashes_only_ms; /* Since then nothing but crashes was wrong. */
    struct flight *buckets[BUCKETS], **bucket_ends[BUCKETS];
    bool cut[NODES_MAX][NODES_MAX], lost[2][NODES_MAX][NODES_MAX], silent[NODES_MAX][NODES_MAX];
    /* Of each first one: for how long of its own time the second was in reach; since when, and both were there. */
    uint64_t reach_ms[NODES_MAX][NODES_MAX];
    uint64_t healthy_ms[NODES_MAX][NODES_MAX];
    struct verdict_change changes[64];
    uint32_t change_count;
    bool proposal_lost;
} world;

static struct totals {
    uint64_t crashes, restarts, pauses, cuts, partitions, bridges, resets, false_resets;
    /* Crashes while nothing else was wrong, and how long until they were found. */
    uint64_t judged, sum_ms, slowest_ms;
    uint64_t downs, ups, doubled, forgotten, leaders, panics, held, settled;
    struct liveness_counters counters;
} totals;

static bool chance(uint32_t percent)
{
    return random_below(&world.random, 100) < percent;
}

static uint32_t between(uint32_t least, uint32_t most)
{
    return least + random_below(&world.random, most - least + 1);
}

static bool is_there(const struct node *node)
{
    return node->alive && node->paused_until_ms <= world.now_ms;
}

/* ---- Network ---- */

static void append(struct flight ***end, struct flight *flight)
{
    flight->next = NULL;
    **end = flight;
    *end = &flight->next;
}

/* At most one in a row is lost on a link, of reports and of what counts as heard. */
static struct flight *depart(uint32_t from, uint32_t to, bool is_report)
{
    bool *lost = &world.lost[is_report][from][to];
    *lost = !*lost && chance(20);
    if (*lost || world.cut[from][to] || !world.nodes[to].alive) {
        return NULL;
    }
    struct flight *flight = calloc(1, sizeof *flight);
    assert_non_null(flight);
    flight->is_report = is_report;
    flight->to = to;
    uint32_t steps = between(1, chance(90) ? 2 : DELAY_MS_MAX / STEP_MS);
    append(&world.bucket_ends[(world.now_ms / STEP_MS + steps) % BUCKETS], flight);
    return flight;
}

static void on_send(struct liveness_port *port, uint32_t node,
                    const struct liveness_message *message)
{
    struct node *from = (struct node *)port;
    struct flight *flight = depart(from->index, node - 1, false);

    if (flight != NULL) {
        flight->message = *message;
    }
}

static void on_report(struct liveness_port *port, const struct liveness_report *report)
{
    struct node *from = (struct node *)port;

    if (world.leader == from->index) {
        verdict_report(&world.verdict, world.now_ms, report);
    } else if (world.leader < world.count) {
        struct flight *flight = depart(from->index, world.leader, true);
        if (flight != NULL) {
            flight->report = *report;
        }
    }
}

static void arrive(struct flight *flight)
{
    struct node *to = &world.nodes[flight->to];

    if (to->alive && !is_there(to)) {
        append(&to->held_end, flight);
        return;
    }
    if (to->alive && !flight->is_report) {
        liveness_receive(&to->liveness, world.now_ms, &flight->message);
    } else if (to->alive && flight->to == world.leader) {
        verdict_report(&world.verdict, world.now_ms, &flight->report);
    }
    free(flight);
}

/* Take all of a queue: what follows from them goes elsewhere. */
static void arrive_all(struct flight **queue, struct flight ***end)
{
    struct flight *flight = *queue;

    *queue = NULL;
    *end = queue;
    while (flight != NULL) {
        struct flight *next = flight->next;
        arrive(flight);
        flight = next;
    }
}

static void drop_all(struct flight **queue, struct flight ***end)
{
    while (*queue != NULL) {
        struct flight *next = (*queue)->next;
        free(*queue);
        *queue = next;
    }
    *end = queue;
}

/* ---- The map ---- */

static void on_propose(struct verdict_port *port, const struct verdict_change *change)
{
    assert_ptr_equal(port, &world.verdict_port);
    world.proposal_lost = !world.proposal_lost && chance(10);
    if (!world.proposal_lost) {
        assert_true(world.change_count < 64);
        world.changes[world.change_count++] = *change;
    }
}

static void map_tell(void)
{
    struct verdict_member members[NODES_MAX];

    for (uint32_t i = 0; i < world.count; i++) {
        members[i] = world.nodes[i].member;
    }
    verdict_members(&world.verdict, world.now_ms, members, world.count);
}

static uint32_t out_count(void)
{
    uint32_t out = 0;

    for (uint32_t i = 0; i < world.count; i++) {
        out += world.nodes[i].member.down;
    }
    return out;
}

static void check_down(const struct node *node, uint32_t cooldown_ms)
{
    uint32_t healthy = 0, before_ms = node->member.cooldown_ms;
    uint32_t doubled_ms = 2 * before_ms < COOLDOWN_MAX_MS ? 2 * before_ms : COOLDOWN_MAX_MS;

    for (uint32_t i = 0; i < world.count; i++) {
        healthy +=
            i != node->index && world.now_ms - world.healthy_ms[i][node->index] >= HEALTHY_MS;
    }
    assert_true(healthy < world.count - verdict_needed(world.count));
    if (before_ms == 0) {
        assert_int_equal(cooldown_ms, COOLDOWN_MS);
    } else if (cooldown_ms != doubled_ms) {
        assert_int_equal(cooldown_ms, COOLDOWN_MS);
        assert_true(world.now_ms - node->in_ms >= COOLDOWN_MAX_MS - TICK_LATE_MS);
        totals.forgotten++;
    } else {
        totals.doubled++;
    }
}

/* How long until a crash was found. */
static void judge_crash(const struct node *node)
{
    uint64_t took_ms = world.now_ms - node->died_ms;

    if (!node->alive && world.crashes_only_ms <= node->died_ms &&
        world.leader_ms <= node->died_ms) {
        totals.judged++;
        totals.sum_ms += took_ms;
        totals.slowest_ms = took_ms > totals.slowest_ms ? took_ms : totals.slowest_ms;
    }
}

static void apply(const struct verdict_change *change)
{
    struct node *node = &world.nodes[change->node - 1];

    assert_int_not_equal(change->kind, VERDICT_CONDITION);
    if (change->kind == VERDICT_DOWN && !node->member.down) {
        check_down(node, change->cooldown_ms);
        judge_crash(node);
        node->member.down = true;
        node->member.cooldown_ms = change->cooldown_ms;
        node->out_ms = world.now_ms;
        totals.downs++;
        assert_true(2 * out_count() <= world.count);
    } else if (change->kind == VERDICT_UP && node->member.down) {
        assert_true(world.now_ms - node->out_ms >= node->member.cooldown_ms);
        node->member.down = false;
        node->in_ms = world.now_ms;
        totals.ups++;
    }
}

/* Raft, as much of it as matters here: of two members one alone is a voter, else all are. */
static bool may_lead(uint32_t index)
{
    uint32_t reached = 1;

    if (!is_there(&world.nodes[index])) {
        return false;
    }
    for (uint32_t i = 0; i < world.count; i++) {
        reached +=
            i != index && is_there(&world.nodes[i]) && !world.cut[i][index] && !world.cut[index][i];
    }
    return world.count == 2 ? index == 0 : 2 * reached > world.count;
}

static void lead(uint32_t index)
{
    const struct liveness_settings settings = world.nodes[0].liveness.settings;

    totals.panics += world.verdict.counters.panics;
    totals.held += world.verdict.counters.held;
    world.leader = index;
    world.leader_ms = world.now_ms;
    world.change_count = 0;
    verdict_init(&world.verdict, &settings, &world.verdict_port, world.now_ms);
    map_tell();
    for (uint32_t i = 0; i < world.count; i++) {
        if (is_there(&world.nodes[i])) {
            liveness_new_leader(&world.nodes[i].liveness, world.now_ms);
        }
    }
    totals.leaders++;
}

static void raft_step(void)
{
    if (world.leader < world.count && may_lead(world.leader)) {
        world.leaderless_ms = world.now_ms;
        for (uint32_t i = 0; i < world.change_count; i++) {
            apply(&world.changes[i]);
        }
        if (world.change_count > 0) {
            map_tell();
        }
        world.change_count = 0;
        return;
    }
    if (world.now_ms - world.leaderless_ms < LEADER_MS) {
        return;
    }
    world.leader = world.count;
    for (uint32_t i = 0; i < world.count; i++) {
        uint32_t index = (uint32_t)(world.now_ms / 7 + i) % world.count;
        if (may_lead(index)) {
            lead(index);
            return;
        }
    }
}

/* ---- Nodes ---- */

static void start(struct node *node)
{
    struct liveness_settings settings = LIVENESS_SETTINGS_DEFAULT;
    uint32_t nodes[NODES_MAX];

    settings.cooldown_ms = COOLDOWN_MS;
    settings.cooldown_max_ms = COOLDOWN_MAX_MS;
    node->port = (struct liveness_port){.send = on_send, .report = on_report};
    node->alive = true;
    node->paused_until_ms = 0;
    node->started_ms = world.now_ms;
    node->tick_ms = world.now_ms;
    node->held_end = &node->held;
    liveness_init(&node->liveness, &settings, &node->port,
                  (struct actor){node->index + 1, ++node->start}, random_next(&world.random),
                  world.now_ms);
    for (uint32_t i = 0; i < world.count; i++) {
        nodes[i] = i + 1;
    }
    liveness_members(&node->liveness, world.now_ms, nodes, world.count);
}

static void add_counters(const struct liveness_counters *from)
{
    const uint64_t *more = (const uint64_t *)from;
    uint64_t *sum = (uint64_t *)&totals.counters;

    for (size_t i = 0; i < sizeof *from / sizeof *more; i++) {
        sum[i] += more[i];
    }
}

static void reset(uint32_t at, uint32_t of)
{
    if (is_there(&world.nodes[at]) && !world.cut[at][of] && !world.cut[of][at]) {
        liveness_reset(&world.nodes[at].liveness, world.now_ms, of + 1);
        totals.resets++;
    }
}

static void crash(struct node *node)
{
    bool process_only = chance(50); /* The machine lives on and resets what comes. */

    add_counters(&node->liveness.counters);
    node->alive = false;
    node->died_ms = world.now_ms;
    drop_all(&node->held, &node->held_end);
    for (uint32_t i = 0; i < world.count && process_only; i++) {
        reset(i, node->index);
    }
    totals.crashes++;
}

static void node_step(struct node *node)
{
    if (!is_there(node)) {
        return;
    }
    bool late = chance(50); /* After a pause either comes first. */
    if (!late) {
        arrive_all(&node->held, &node->held_end);
    }
    if (world.now_ms >= node->tick_ms) {
        liveness_tick(&node->liveness, world.now_ms);
        if (node->index == world.leader) {
            verdict_tick(&world.verdict, world.now_ms);
        }
        node->tick_ms = world.now_ms + between(80, TICK_LATE_MS);
    }
    if (late) {
        arrive_all(&node->held, &node->held_end);
    }
}

#endif
