/* Verdict: what the leader makes of the members' reports, rule by rule, with the times at which each turns. */
#include "check.h"

#include "verdict.h"

enum {
    HEARTBEAT_MS = 1000,
    DOWN_MS = 3000,
    TICK_MS = 125,
    COOLDOWN_MS = 30000,
    COOLDOWN_MAX_MS = 600000
};

/* The test plays Raft, and all members: what each says of the others. Node i + 1 has index i. */
struct world {
    uint32_t panic_percent; /* 0: the default. */
    struct verdict_port port;
    struct verdict verdict;
    uint64_t now_ms;
    uint32_t members;
    struct verdict_member map[LIVENESS_MEMBERS_MAX];
    bool reports[LIVENESS_MEMBERS_MAX]; /* It does. */
    uint8_t says[LIVENESS_MEMBERS_MAX][LIVENESS_MEMBERS_MAX];
    uint8_t condition[LIVENESS_MEMBERS_MAX];
    uint64_t report_number;
    bool raft_is_stuck;
    struct verdict_change changes[64];
    uint32_t change_count;
};

static struct world world;

static void on_propose(struct verdict_port *port, const struct verdict_change *change)
{
    assert_ptr_equal(port, &world.port);
    assert_true(change->node >= 1 && change->node <= world.members);
    assert_true(world.change_count < sizeof world.changes / sizeof world.changes[0]);
    world.changes[world.change_count++] = *change;
}

static void lead(void)
{
    struct liveness_settings settings = LIVENESS_SETTINGS_DEFAULT;

    settings.panic_percent = world.panic_percent != 0 ? world.panic_percent : 50;
    verdict_init(&world.verdict, &settings, &world.port, world.now_ms);
    verdict_members(&world.verdict, world.now_ms, world.map, world.members);
}

static void begin(uint32_t members)
{
    memset(&world, 0, sizeof world);
    world.port.propose = on_propose;
    world.now_ms = 7000000;
    world.members = members;
    for (uint32_t i = 0; i < members; i++) {
        world.map[i].node = i + 1;
        world.reports[i] = true;
        memset(world.says[i], BELIEF_HEARD, sizeof world.says[i]);
    }
    lead();
}

static void report_of(uint32_t from, struct liveness_report *report)
{
    *report = (struct liveness_report){
        .from = {from + 1, 5},
        .number = ++world.report_number,
        .condition = world.condition[from],
    };
    for (uint32_t i = 0; i < world.members; i++) {
        if (i != from) {
            report->members[report->count].node = i + 1;
            report->members[report->count++].belief = (enum liveness_belief)world.says[from][i];
        }
    }
}

static void report_all(void)
{
    static struct liveness_report report;

    for (uint32_t i = 0; i < world.members; i++) {
        if (world.reports[i]) {
            report_of(i, &report);
            verdict_report(&world.verdict, world.now_ms, &report);
        }
    }
}

/* What was proposed since the last time is committed. */
static void commit(uint32_t from)
{
    for (uint32_t i = from; i < world.change_count && !world.raft_is_stuck; i++) {
        const struct verdict_change *change = &world.changes[i];
        struct verdict_member *member = &world.map[change->node - 1];
        if (change->kind == VERDICT_DOWN) {
            member->down = true;
            member->cooldown_ms = change->cooldown_ms;
        } else if (change->kind == VERDICT_UP) {
            member->down = false;
        } else {
            member->condition = (member->condition & CONDITION_OPERATOR) | change->condition;
        }
    }
    verdict_members(&world.verdict, world.now_ms, world.map, world.members);
}

static void tick(void)
{
    uint32_t before = world.change_count;

    world.now_ms += TICK_MS;
    report_all();
    verdict_tick(&world.verdict, world.now_ms);
    if (world.change_count != before) {
        commit(before);
    }
}

static void run(uint64_t ms)
{
    for (uint64_t end_ms = world.now_ms + ms; world.now_ms < end_ms;) {
        tick();
    }
}

/* Until something is proposed. Returns after how long, or UINT64_MAX where it takes more than `most_ms`. */
static uint64_t run_to_change(uint64_t most_ms)
{
    uint64_t start_ms = world.now_ms;
    uint32_t before = world.change_count;

    while (world.change_count == before) {
        if (world.now_ms - start_ms >= most_ms) {
            return UINT64_MAX;
        }
        tick();
    }
    return world.now_ms - start_ms;
}

/* The first `voters` other than `of` say so of it, from now on. */
static void say(uint32_t of, uint32_t voters, enum liveness_belief belief)
{
    for (uint32_t i = 0, said = 0; i < world.members && said < voters; i++) {
        if (i != of) {
            world.says[i][of] = (uint8_t)belief;
            said++;
        }
    }
}

static void dies(uint32_t of)
{
    say(of, world.members, BELIEF_SILENT);
    world.reports[of] = false;
}

static void returns(uint32_t of)
{
    say(of, world.members, BELIEF_HEARD);
    world.reports[of] = true;
}

static void check_change(uint32_t index, enum verdict_kind kind, uint32_t of)
{
    assert_true(index < world.change_count);
    assert_int_equal(world.changes[index].kind, kind);
    assert_int_equal(world.changes[index].node, of + 1);
}

/* More than half of the others, for clusters of all sizes: one fewer is not enough. */
static void test_needed(void **state)
{
    (void)state;
    static const uint32_t sizes[] = {2, 3, 4, 5, 16, 256}, needed[] = {1, 2, 2, 3, 8, 128};

    for (int i = 0; i < 6; i++) {
        assert_int_equal(verdict_needed(sizes[i]), needed[i]);
        begin(sizes[i]);
        run(10 * HEARTBEAT_MS);
        uint32_t of = sizes[i] - 1;
        world.reports[of] = false;
        say(of, needed[i] - 1, BELIEF_SILENT);
        assert_true(run_to_change(30 * HEARTBEAT_MS) == UINT64_MAX);
        assert_int_equal(world.verdict.counters.confirmed, 0);
        say(of, needed[i], BELIEF_SILENT);
        assert_int_equal(run_to_change(30 * HEARTBEAT_MS), TICK_MS);
        check_change(0, VERDICT_DOWN, of);
        assert_int_equal(world.changes[0].cooldown_ms, COOLDOWN_MS);
        assert_int_equal(world.verdict.counters.confirmed, 1);
        assert_int_equal(world.verdict.counters.downs, 1);
        assert_int_equal(world.verdict.counters.flaps, 0);
        run(30 * HEARTBEAT_MS);
        assert_int_equal(world.change_count, 1);
    }
    begin(1);
    run(30 * HEARTBEAT_MS);
    assert_int_equal(world.change_count, 0);
}

/* Half of the members dead: the other half is just enough, at any size. One more is a panic. */
static void test_half(void **state)
{
    (void)state;
    static const uint32_t sizes[] = {2, 3, 4, 5, 16, 32};

    for (int i = 0; i < 6; i++) {
        uint32_t half = sizes[i] / 2;
        begin(sizes[i]);
        run(10 * HEARTBEAT_MS);
        for (uint32_t of = 0; of < half; of++) {
            dies(sizes[i] - 1 - of);
        }
        run(5 * HEARTBEAT_MS);
        assert_int_equal(world.change_count, half);
        assert_false(world.verdict.panic);
        if (sizes[i] > 2) {
            begin(sizes[i]);
            run(10 * HEARTBEAT_MS);
            for (uint32_t of = 0; of < half + 1; of++) {
                dies(sizes[i] - 1 - of);
            }
            run(60 * HEARTBEAT_MS);
            assert_int_equal(world.change_count, 0);
            assert_true(world.verdict.panic);
            assert_int_equal(world.verdict.counters.panics, 1);
            assert_int_equal(world.verdict.looking_down_count, half + 1);
        }
    }
}

/* One that dies alone is out at once; where another one is suspected, after a heartbeat, and with it. What one says who
 * is dead himself does not count. */
static void test_at_once(void **state)
{
    (void)state;

    begin(5);
    run(10 * HEARTBEAT_MS);
    world.says[4][3] = BELIEF_SUSPECT;
    tick();
    dies(4);
    assert_int_equal(run_to_change(30 * HEARTBEAT_MS), TICK_MS);
    check_change(0, VERDICT_DOWN, 4);

    begin(5);
    run(10 * HEARTBEAT_MS);
    dies(4);
    world.says[0][3] = BELIEF_SUSPECT;
    run(HEARTBEAT_MS / 2);
    assert_int_equal(world.change_count, 0);
    dies(3);
    assert_int_equal(run_to_change(30 * HEARTBEAT_MS), TICK_MS);
    assert_int_equal(world.change_count, 2);

    begin(5);
    run(10 * HEARTBEAT_MS);
    dies(4);
    world.says[0][3] = BELIEF_SILENT; /* Its own link only. */
    assert_int_equal(run_to_change(30 * HEARTBEAT_MS), HEARTBEAT_MS + TICK_MS);
    check_change(0, VERDICT_DOWN, 4);
}

/* Where others are suspected, what is confirmed for less than a heartbeat moves nothing. */
static void test_without_a_break(void **state)
{
    (void)state;

    begin(5);
    run(10 * HEARTBEAT_MS);
    world.says[0][1] = BELIEF_SUSPECT;
    for (int i = 0; i < 20; i++) {
        say(4, 3, BELIEF_SILENT);
        run(HEARTBEAT_MS);
        say(4, 1, BELIEF_SUSPECT);
        run(TICK_MS);
    }
    assert_int_equal(world.change_count, 0);
    assert_int_equal(world.verdict.counters.confirmed, 20);
}

/* Suspects count as heard: they do not look down, and a suspicion does not begin a cooldown anew. */
static void test_suspects(void **state)
{
    (void)state;

    begin(5);
    run(10 * HEARTBEAT_MS);
    dies(4);
    run(10 * HEARTBEAT_MS);
    assert_int_equal(world.change_count, 1);
    returns(4);
    run(COOLDOWN_MS / 2);
    for (uint32_t of = 0; of < 5; of++) {
        say(of, 5, BELIEF_SUSPECT);
    }
    assert_int_equal(run_to_change(COOLDOWN_MS), COOLDOWN_MS / 2 + TICK_MS);
    check_change(1, VERDICT_UP, 4);
    run(30 * HEARTBEAT_MS);
    assert_int_equal(world.change_count, 2);
    assert_int_equal(world.verdict.counters.panics, 0);
    assert_int_equal(world.verdict.looking_down_count, 0);
}

/* Reports count for `down_after`. */
static void test_fresh(void **state)
{
    (void)state;

    begin(4);
    run(10 * HEARTBEAT_MS);
    world.says[0][1] = BELIEF_SUSPECT;
    world.reports[2] = false; /* And nobody has anything to say against it. */
    run(DOWN_MS - TICK_MS);
    say(3, 1, BELIEF_SILENT);
    world.says[2][3] = BELIEF_SILENT; /* Never reported. */
    run(10 * HEARTBEAT_MS);
    assert_int_equal(world.verdict.fresh_count, 3);
    assert_int_equal(world.change_count, 0);
    world.reports[2] = true;
    tick();
    assert_int_equal(world.verdict.fresh_count, 4);
    world.reports[2] = false;
    assert_int_equal(run_to_change(DOWN_MS), HEARTBEAT_MS);

    begin(4);
    run(10 * HEARTBEAT_MS);
    world.says[2][3] = BELIEF_SILENT;
    tick();
    world.reports[2] = false;
    run(DOWN_MS);
    assert_int_equal(world.verdict.fresh_count, 4);
    tick();
    assert_int_equal(world.verdict.fresh_count, 3);
    say(3, 1, BELIEF_SILENT);
    run(10 * HEARTBEAT_MS);
    assert_int_equal(world.change_count, 0);
}

/* Repeated and old reports change nothing, nor those of strangers and of earlier lives. */
static void test_stale_reports(void **state)
{
    (void)state;
    static struct liveness_report old, stranger, next_life;

    begin(3);
    run(10 * HEARTBEAT_MS);
    dies(2);
    report_of(0, &old);
    report_of(0, &stranger);
    stranger.from.node = 9;
    returns(2);
    run(HEARTBEAT_MS);
    uint64_t reports = world.verdict.counters.reports;
    for (int i = 0; i < 3; i++) {
        verdict_report(&world.verdict, world.now_ms, &old);
        verdict_report(&world.verdict, world.now_ms, &stranger);
    }
    stranger.from.node = 0;
    verdict_report(&world.verdict, world.now_ms, &stranger);
    assert_int_equal(world.verdict.counters.reports, reports);
    assert_int_equal(world.verdict.counters.reports_stale, 7);
    verdict_tick(&world.verdict, world.now_ms);
    assert_int_equal(world.verdict.looking_down_count, 0);
    report_of(0, &next_life);
    next_life.from.start = 6;
    next_life.number = 1; /* Counts anew. */
    verdict_report(&world.verdict, world.now_ms, &next_life);
    assert_int_equal(world.verdict.counters.reports, reports + 1);
    report_all();
    assert_int_equal(world.verdict.counters.reports_stale, 8);
}

/* Back after the cooldown, heard without a break. */
static void test_up(void **state)
{
    (void)state;

    begin(3);
    run(10 * HEARTBEAT_MS);
    dies(2);
    run(5 * HEARTBEAT_MS);
    check_change(0, VERDICT_DOWN, 2);
    run(60 * HEARTBEAT_MS);
    returns(2);
    run(COOLDOWN_MS - TICK_MS);
    say(2, 2, BELIEF_SILENT); /* A moment is enough. */
    tick();
    say(2, 2, BELIEF_HEARD);
    assert_int_equal(world.change_count, 1);
    assert_int_equal(run_to_change(2 * COOLDOWN_MS), COOLDOWN_MS + TICK_MS);
    check_change(1, VERDICT_UP, 2);
    assert_int_equal(world.verdict.counters.ups, 1);
    run(60 * HEARTBEAT_MS);
    assert_int_equal(world.change_count, 2);
}

/* Heard, but it says nothing itself; or as many find it silent as hear it: it stays out. */
static void test_not_up(void **state)
{
    (void)state;

    begin(5);
    run(10 * HEARTBEAT_MS);
    dies(4);
    run(5 * HEARTBEAT_MS);
    say(4, 5, BELIEF_HEARD);
    run(2 * COOLDOWN_MS);
    assert_int_equal(world.change_count, 1);
    world.reports[4] = true;
    say(4, 2, BELIEF_SILENT);
    run(2 * COOLDOWN_MS);
    assert_int_equal(world.change_count, 1);
    say(4, 1, BELIEF_HEARD);
    assert_int_equal(run_to_change(2 * COOLDOWN_MS), COOLDOWN_MS + TICK_MS);
}

/* One goes down and comes back. Returns the cooldown. */
static uint64_t flap(uint64_t up_ms)
{
    uint32_t before = world.change_count;

    dies(2);
    assert_true(run_to_change(5 * HEARTBEAT_MS) != UINT64_MAX);
    check_change(before, VERDICT_DOWN, 2);
    uint64_t cooldown_ms = world.changes[before].cooldown_ms;
    returns(2);
    assert_int_equal(run_to_change(2 * COOLDOWN_MAX_MS), cooldown_ms + TICK_MS);
    check_change(before + 1, VERDICT_UP, 2);
    run(up_ms);
    return cooldown_ms;
}

/* Twice as long each time, at most ten minutes, and forgotten after ten minutes up. */
static void test_flapping(void **state)
{
    (void)state;
    static const uint32_t expected_s[] = {30, 60, 120, 240, 480, 600, 600};

    begin(3);
    run(10 * HEARTBEAT_MS);
    for (int i = 0; i < 7; i++) {
        assert_int_equal(flap(5 * HEARTBEAT_MS), expected_s[i] * 1000);
    }
    assert_int_equal(world.verdict.counters.flaps, 6);
    assert_int_equal(world.verdict.counters.downs, 7);
    run(COOLDOWN_MAX_MS - 10 * HEARTBEAT_MS); /* And 5 s in flap(). */
    assert_int_equal(flap(5 * HEARTBEAT_MS), 600 * 1000);
    run(COOLDOWN_MAX_MS - 5 * HEARTBEAT_MS);
    assert_int_equal(flap(0), 30 * 1000);
    assert_int_equal(flap(0), 60 * 1000);
    assert_int_equal(world.verdict.counters.flaps, 8);
}

/* The map keeps the cooldown through a change of leaders; what was taken out otherwise has the first one. */
static void test_flapping_and_leaders(void **state)
{
    (void)state;

    begin(3);
    run(10 * HEARTBEAT_MS);
    flap(5 * HEARTBEAT_MS);
    lead();
    run(10 * HEARTBEAT_MS);
    assert_int_equal(flap(5 * HEARTBEAT_MS), 60 * 1000);
    dies(2);
    run(5 * HEARTBEAT_MS);
    returns(2);
    run(100 * HEARTBEAT_MS);
    lead();
    assert_int_equal(run_to_change(COOLDOWN_MAX_MS), 120 * 1000 + TICK_MS);

    begin(3);
    world.map[1].down = true;
    lead();
    assert_int_equal(run_to_change(COOLDOWN_MAX_MS), COOLDOWN_MS + TICK_MS);
    check_change(0, VERDICT_UP, 1);
}

/* While more than half look down nobody moves, neither out nor back. */
static void test_panic(void **state)
{
    (void)state;

    begin(5);
    run(10 * HEARTBEAT_MS);
    dies(4);
    run(5 * HEARTBEAT_MS);
    returns(4);
    run(COOLDOWN_MS / 2);
    assert_int_equal(world.change_count, 1);
    for (uint32_t of = 1; of < 4; of++) {
        say(of, 5, BELIEF_SILENT); /* All report still: none hears another, but all hear node 5. */
    }
    run(2 * COOLDOWN_MS);
    assert_true(world.verdict.panic);
    assert_int_equal(world.change_count, 1);
    assert_int_equal(world.verdict.counters.panics, 1);
    assert_int_equal(world.verdict.counters.held, 3);
    say(3, 5, BELIEF_HEARD);
    world.map[4].down = false; /* Three would be out with it, or look so. */
    verdict_members(&world.verdict, world.now_ms, world.map, 5);
    assert_int_equal(run_to_change(2 * COOLDOWN_MS), HEARTBEAT_MS + TICK_MS);
    assert_false(world.verdict.panic);
    run(HEARTBEAT_MS);
    assert_int_equal(world.change_count, 3);
    check_change(1, VERDICT_DOWN, 1);
    check_change(2, VERDICT_DOWN, 2);
}

/* With a smaller part it comes sooner: of ten three may go, and no fourth. */
static void test_panic_of_less(void **state)
{
    (void)state;

    begin(10);
    world.panic_percent = 30;
    lead();
    run(10 * HEARTBEAT_MS);
    for (uint32_t of = 9; of > 6; of--) {
        dies(of);
    }
    run(5 * HEARTBEAT_MS);
    assert_int_equal(world.change_count, 3);
    assert_false(world.verdict.panic);
    dies(6);
    run(2 * COOLDOWN_MS);
    assert_int_equal(world.change_count, 3);
    assert_int_equal(world.verdict.counters.held, 1);
}

/* No more than half are taken out, the ones in cooldown counted. */
static void test_held(void **state)
{
    (void)state;

    begin(4);
    run(10 * HEARTBEAT_MS);
    dies(3);
    dies(2);
    run(5 * HEARTBEAT_MS);
    assert_int_equal(world.change_count, 2);
    returns(3);
    returns(2);
    run(HEARTBEAT_MS);
    dies(1);
    run(COOLDOWN_MS - 2 * HEARTBEAT_MS);
    assert_int_equal(world.change_count, 2);
    assert_false(world.verdict.panic);
    assert_int_equal(world.verdict.counters.held, 1);
    run(3 * HEARTBEAT_MS); /* The two come back, and then it may go. */
    assert_int_equal(world.change_count, 5);
    check_change(2, VERDICT_UP, 2);
    check_change(3, VERDICT_UP, 3);
    check_change(4, VERDICT_DOWN, 1);
}

/* A new leader waits two heartbeats, and for at least half of the members. */
static void test_new_leader(void **state)
{
    (void)state;

    begin(5);
    dies(4);
    assert_int_equal(run_to_change(60 * HEARTBEAT_MS), 2 * HEARTBEAT_MS);

    begin(6); /* Of six, three have to be heard. */
    world.map[5].down = true;
    world.map[5].cooldown_ms = COOLDOWN_MS;
    lead();
    world.reports[1] = world.reports[2] = world.reports[3] = world.reports[4] = false;
    assert_true(run_to_change(2 * COOLDOWN_MS) == UINT64_MAX);
    assert_int_equal(world.verdict.fresh_count, 2);
    world.reports[1] = true;
    assert_int_equal(run_to_change(2 * COOLDOWN_MS), TICK_MS);
    check_change(0, VERDICT_UP, 5);
}

/* A pause of the leader makes it a new one. */
static void test_pause(void **state)
{
    (void)state;

    begin(5);
    run(10 * HEARTBEAT_MS);
    world.says[0][1] = BELIEF_SUSPECT; /* So it takes a heartbeat. */
    say(4, 3, BELIEF_SILENT);
    run(HEARTBEAT_MS);
    assert_int_equal(world.change_count, 0);
    for (uint32_t i = 1; i < 5; i++) {
        world.reports[i] = false;
    }
    world.now_ms += 60 * HEARTBEAT_MS;
    run(TICK_MS); /* Three have said silent long enough; but when? */
    assert_int_equal(world.verdict.counters.pauses, 1);
    assert_int_equal(world.verdict.fresh_count, 1);
    assert_int_equal(world.change_count, 0);
    for (uint32_t i = 1; i < 5; i++) {
        world.reports[i] = true;
    }
    assert_int_equal(run_to_change(60 * HEARTBEAT_MS), 2 * HEARTBEAT_MS);
    assert_int_equal(world.now_ms % TICK_MS, 0);
}

/* A proposal that is lost is made again after `down_after`, not before. */
static void test_lost_proposals(void **state)
{
    (void)state;

    begin(3);
    run(10 * HEARTBEAT_MS);
    world.raft_is_stuck = true;
    dies(2);
    run(TICK_MS);
    assert_int_equal(world.change_count, 1);
    assert_int_equal(run_to_change(60 * HEARTBEAT_MS), DOWN_MS);
    check_change(1, VERDICT_DOWN, 2);
    world.raft_is_stuck = false;
    returns(2);
    assert_true(run_to_change(60 * HEARTBEAT_MS) == UINT64_MAX);
}

/* What a node finds wrong with itself, at once; that it is well, after the cooldown. The operator's stays. */
static void test_condition(void **state)
{
    (void)state;

    begin(3);
    world.map[1].condition = CONDITION_OPERATOR;
    lead();
    world.condition[1] = CONDITION_DISK_FULL;
    assert_int_equal(run_to_change(HEARTBEAT_MS), TICK_MS);
    check_change(0, VERDICT_CONDITION, 1);
    assert_int_equal(world.changes[0].condition, CONDITION_DISK_FULL);
    assert_int_equal(world.map[1].condition, CONDITION_DISK_FULL | CONDITION_OPERATOR);
    run(HEARTBEAT_MS);
    world.condition[1] = CONDITION_LOG_FAILED; /* Another one adds to it; */
    assert_int_equal(run_to_change(HEARTBEAT_MS), TICK_MS);
    assert_int_equal(world.changes[1].condition, CONDITION_DISK_FULL | CONDITION_LOG_FAILED);
    assert_int_equal(run_to_change(COOLDOWN_MAX_MS),
                     COOLDOWN_MS + TICK_MS); /* the first one is over later. */
    assert_int_equal(world.changes[2].condition, CONDITION_LOG_FAILED);
    world.condition[1] = 0;
    run(COOLDOWN_MS - HEARTBEAT_MS);
    world.condition[1] = CONDITION_LOG_FAILED;
    run(HEARTBEAT_MS);
    world.condition[1] = 0;
    run(COOLDOWN_MS - HEARTBEAT_MS - DOWN_MS);
    world.reports[1] = false; /* Nobody knows. */
    run(60 * HEARTBEAT_MS);
    world.reports[1] = true;
    assert_int_equal(world.change_count, 3);
    assert_int_equal(run_to_change(COOLDOWN_MAX_MS), COOLDOWN_MS + TICK_MS);
    assert_int_equal(world.changes[3].condition, 0);
    assert_int_equal(world.map[1].condition, CONDITION_OPERATOR);
    assert_true(run_to_change(60 * HEARTBEAT_MS) == UINT64_MAX);
    assert_int_equal(world.verdict.counters.conditions, 4);
}

/* Nobody has a voice about himself. */
static void test_own_voice(void **state)
{
    (void)state;
    static struct liveness_report report;

    begin(3);
    run(10 * HEARTBEAT_MS);
    say(2, 1, BELIEF_SILENT);
    world.reports[2] = false;
    for (int i = 0; i < 20; i++) {
        report_of(2, &report);
        report.members[report.count].node = 3;
        report.members[report.count++].belief = BELIEF_SILENT;
        verdict_report(&world.verdict, world.now_ms, &report);
        tick();
    }
    assert_int_equal(world.verdict.fresh_count, 3);
    assert_int_equal(world.change_count, 0);
    assert_int_equal(world.verdict.counters.confirmed, 0);
}

/* A place of one that left is not confused with what was said of it. */
static void test_members(void **state)
{
    (void)state;

    begin(5);
    run(10 * HEARTBEAT_MS);
    world.says[0][1] = BELIEF_SUSPECT; /* So it takes a heartbeat. */
    say(2, 4, BELIEF_SILENT);
    tick();
    world.map[2].node = 77;
    verdict_members(&world.verdict, world.now_ms, world.map, 5);
    verdict_tick(&world.verdict, world.now_ms);
    assert_int_equal(world.verdict.looking_down_count, 0);
    assert_int_equal(world.verdict.fresh_count, 4);
    run(10 * HEARTBEAT_MS); /* The reports name node 3 still. */
    assert_int_equal(world.verdict.looking_down_count, 0);
    assert_int_equal(world.change_count, 0);
    verdict_members(&world.verdict, world.now_ms, world.map, 2);
    assert_int_equal(world.verdict.member_count, 2);
    verdict_tick(&world.verdict, world.now_ms);
    assert_int_equal(world.verdict.fresh_count, 2);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_needed),
        cmocka_unit_test(test_half),
        cmocka_unit_test(test_at_once),
        cmocka_unit_test(test_without_a_break),
        cmocka_unit_test(test_suspects),
        cmocka_unit_test(test_fresh),
        cmocka_unit_test(test_stale_reports),
        cmocka_unit_test(test_up),
        cmocka_unit_test(test_not_up),
        cmocka_unit_test(test_flapping),
        cmocka_unit_test(test_flapping_and_leaders),
        cmocka_unit_test(test_panic),
        cmocka_unit_test(test_panic_of_less),
        cmocka_unit_test(test_held),
        cmocka_unit_test(test_new_leader),
        cmocka_unit_test(test_pause),
        cmocka_unit_test(test_lost_proposals),
        cmocka_unit_test(test_condition),
        cmocka_unit_test(test_own_voice),
        cmocka_unit_test(test_members),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
