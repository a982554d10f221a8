#include "cluster_kit.h"

static int setup(void **state)
{
    (void)state;
    kit_init();
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    kit_fini();
    return 0;
}

/* ---- One ---- */

/* A node alone has its map at once, before anything is elected, and decides by itself. */
static void test_alone(void **state)
{
    (void)state;
    kit_start(1, bytes_of(NULL, 0));
    const struct map *map = cluster_map(kit_cluster(1));
    assert_true(cluster_is_alone(kit_cluster(1)));
    assert_true(kit_is(1, 1, MAP_ACTIVE));
    assert_int_equal(kit_node(1)->epoch, map->epoch);
    assert_false(kit_node(1)->kept); /* Nobody else can have changed it. */
    for (uint32_t slot = 0; slot < SLOT_COUNT; slot++) {
        assert_int_equal(map->owners[slot].nodes[0], 1);
    }
    uint64_t begin_ms = kit.now_ms;
    KIT_UNTIL(kit_leader() == 1);
    assert_true(kit.now_ms - begin_ms < 10 * KIT_STEP_MS); /* There is nobody to wait for. */
    assert_int_equal(kit_set_policy(1, "web:", 5), 0);
    assert_int_equal(kit_set_policy(1, "web:", 5), -EALREADY);
    assert_int_equal(cluster_tick_ms(kit_cluster(1)), CLUSTER_ALONE_TICK_MS);
    uint64_t epoch = cluster_map(kit_cluster(1))->epoch;
    kit_kill(1);
    kit_restart(1);
    assert_false(kit_node(1)->kept);
    KIT_UNTIL(kit_member(1, 1)->place.start == 2); /* It says that this is another life. */
    assert_int_equal(cluster_map(kit_cluster(1))->epoch, epoch + 1);
    assert_int_equal(cluster_map(kit_cluster(1))->policy_count, 1);
}

static void test_nothing_to_begin_with(void **state)
{
    char message[256] = "";
    uint8_t bad[40] = {0};

    (void)state;
    assert_int_equal(kit_try_start(1, bytes_of(bad, 17), message), -EBADMSG);
    bad[0] = 1;
    bad[1] = 1;
    bad[9] = 1;
    assert_int_equal(kit_try_start(1, bytes_of(bad, sizeof bad), message), -EBADMSG);
    assert_non_null(strstr(message, "cannot be read"));
}

/* ---- Several ---- */

static void form(uint32_t count)
{
    kit_form(count);
    kit_check_equal();
    struct cluster_figures figures;
    cluster_figures(kit_cluster(kit_leader()), &figures);
    assert_int_equal(figures.followers, count);
    assert_int_equal(figures.members[MAP_ACTIVE], count);
    assert_int_equal(figures.proposals_failed, 0);
    for (uint32_t i = 1; i <= count; i++) {
        assert_int_equal(cluster_leader(kit_cluster(i)), kit_leader());
        assert_false(cluster_is_alone(kit_cluster(i)));
        assert_int_equal(kit_set_policy(i, "web:", i), 0); /* Any of them may be asked. */
    }
    KIT_UNTIL(kit_agree());
    kit_check_equal();
}

static void test_forms_2(void **state)
{
    (void)state;
    form(2);
}

static void test_forms_3(void **state)
{
    (void)state;
    form(3);
}

static void test_forms_5(void **state)
{
    (void)state;
    form(5);
}

static void test_forms_16(void **state)
{
    (void)state;
    form(16);
}

/* Messages are lost and come twice: everything is applied, and once. */
static void test_lossy(void **state)
{
    (void)state;
    kit.loss_percent = 25;
    kit.repeat_percent = 25;
    kit_form(3);
    uint64_t epoch = cluster_map(kit_cluster(1))->epoch;
    for (uint32_t i = 0; i < 60; i++) {
        struct map_command command = kit_add(4);
        char name[16];
        snprintf(name, sizeof name, "more%u", i);
        command.name = kit_text(name); /* A second time it would be -EEXIST. */
        assert_int_equal(kit_decide(1 + i % 3, &command), 0);
    }
    assert_int_equal(kit.outcomes, 2 + 60);
    KIT_UNTIL(kit_agree());
    assert_int_equal(cluster_map(kit_cluster(1))->epoch, epoch + 60);
    assert_int_equal(cluster_map(kit_cluster(1))->number_last, 3 + 60);
    kit_check_equal();
}

/* A new member begins with a state that Raft's log does not reach back to; and all that restart have it. */
static void test_snapshots(void **state)
{
    struct cluster_figures figures;

    (void)state;
    kit_form(2);
    for (uint32_t i = 0; i < 3000; i++) {
        assert_int_equal(kit_set_policy(1 + i % 2, "web:", 1 + i % 7), 0);
    }
    cluster_figures(kit_cluster(1), &figures);
    assert_true(figures.snapshots > 0);
    kit_kill(2); /* It misses more than is kept. */
    for (uint32_t i = 0; i < 3000; i++) {
        assert_int_equal(kit_set_policy(1, "web:", 1 + i % 7), 0);
    }
    kit_restart(2);
    KIT_UNTIL(kit_agree() && kit_member(1, 2)->place.start == 2);
    cluster_figures(kit_cluster(2), &figures);
    assert_true(figures.snapshots > 0);
    kit_join(3, 2);
    KIT_UNTIL(kit_all_are(3, MAP_ACTIVE) && kit_agree());
    kit_check_equal();
}

/* A new member that is not in the log here yet, though another node's map may have it, is given nothing to begin with. */
static void test_seed_of_the_unknown(void **state)
{
    struct buffer seed = {.memory = &kit.memory.memory};

    (void)state;
    kit_form(2);
    assert_int_equal(cluster_seed(kit_cluster(1), 3, &seed), -EAGAIN);
    assert_int_equal(seed.size, 0);
    kit_join(3, 1);
    KIT_UNTIL(kit_all_are(3, MAP_ACTIVE) && kit_agree());
    buffer_fini(&seed);
}

/* ---- Failures ---- */

/* The leader dies: another one is there, takes it out, and lets it in again after its cooldown; each time it dies again
 * soon that is twice as long. */
static void test_leader_dies(void **state)
{
    (void)state;
    kit_form(3);
    uint32_t old = kit_leader(), other = 1 + old % 3;
    uint32_t cooldown_ms = kit.liveness.cooldown_ms;
    for (int round = 0; round < 3; round++, cooldown_ms *= 2) {
        kit_kill(old);
        KIT_UNTIL(kit_is(other, old, MAP_DOWN) && kit_agree());
        assert_int_not_equal(kit_leader(), old);
        assert_int_equal(kit_member(other, old)->cooldown_ms, cooldown_ms);
        const struct map *map = cluster_map(kit_cluster(other));
        for (uint32_t slot = 0; slot < SLOT_COUNT; slot++) {
            for (uint32_t i = 0; map->owners[slot].nodes[1] != 0 && i < PLACEMENT_REPLICAS_MAX;
                 i++) {
                assert_int_not_equal(map->owners[slot].nodes[i], old);
            }
        }
        kit_restart(old);
        uint64_t begin_ms = kit.now_ms;
        KIT_UNTIL(kit_all_are(3, MAP_ACTIVE) && kit_agree());
        assert_true(kit.now_ms - begin_ms >= cooldown_ms);
    }
    assert_int_equal(kit_voters(kit_leader()), 3);
    kit_check_equal();
}

/* Five voters, two cut off, the leader with them: it steps down; the others decide; what was proposed at the minority is
 * decided once they are together again. */
static void test_minority(void **state)
{
    (void)state;
    kit_form(5);
    uint32_t leader = kit_leader(), with = 1 + leader % 5, other = 1 + with % 5;
    for (uint32_t i = 1; i <= 5; i++) {
        for (uint32_t j = 1; j <= 5; j++) {
            bool few = i == leader || i == with, few_too = j == leader || j == with;
            kit.cut[i][j] = few != few_too;
        }
    }
    uint64_t epoch = cluster_map(kit_cluster(leader))->epoch;
    KIT_UNTIL(kit_is(other, leader, MAP_DOWN) && kit_is(other, with, MAP_DOWN));
    assert_int_equal(kit_set_policy(other, "many:", 1), 0);
    struct cluster_figures figures;
    cluster_figures(kit_cluster(leader), &figures);
    assert_int_not_equal(figures.role, RAFT_LEADER);
    assert_int_equal(cluster_map(kit_cluster(leader))->epoch, epoch); /* Frozen, and there. */
    assert_int_equal(cluster_map(kit_cluster(with))->epoch, epoch);
    struct map_command command = {.type = MAP_REPLICAS, .replicas = 3};
    kit_propose(with, &command);
    kit_run(CLUSTER_PROPOSE_MS / 2);
    assert_false(kit.done);
    memset(kit.cut, 0, sizeof kit.cut);
    KIT_UNTIL(kit.done);
    assert_int_equal(kit.rc, 0);
    KIT_UNTIL(kit_all_are(5, MAP_ACTIVE) && kit_agree());
    assert_int_equal(cluster_map(kit_cluster(1))->replicas, 3);
    kit_check_equal();
}

/* Two members: the one that votes goes on alone without the other. The other one keeps its map without it, and says that
 * nobody can decide. */
static void test_two(void **state)
{
    (void)state;
    kit_form(2);
    uint32_t leader = kit_leader(), other = 3 - leader;
    kit_kill(other);
    KIT_UNTIL(kit_is(leader, other, MAP_DOWN));
    assert_int_equal(cluster_map(kit_cluster(leader))->owners[0].nodes[0], leader);
    kit_restart(other);
    KIT_UNTIL(kit_all_are(2, MAP_ACTIVE) && kit_agree());
    uint64_t epoch = cluster_map(kit_cluster(other))->epoch;
    kit_kill(leader);
    assert_int_equal(kit_set_policy(other, "x", 1), -ETIMEDOUT);
    kit_run(60 * 1000);
    assert_int_equal(cluster_map(kit_cluster(other))->epoch, epoch);
    assert_int_equal(kit_leader(), 0);
    kit_restart(leader);
    KIT_UNTIL(kit_leader() == leader && kit_agree() && kit_member(other, leader)->place.start == 2);
    kit_check_equal();
}

/* More than half look down: nobody is taken out. */
static void test_panic(void **state)
{
    struct cluster_figures figures;
    uint32_t killed = 0;

    (void)state;
    kit_form(16);
    KIT_UNTIL(kit_voters(kit_leader()) == 5);
    kit_run(5000);
    for (uint32_t i = 16; i > 0 && killed < 9; i--) {
        cluster_figures(kit_cluster(i), &figures);
        if (!figures.votes) {
            kit_kill(i);
            killed++;
        }
    }
    KIT_UNTIL((cluster_figures(kit_cluster(kit_leader()), &figures), figures.panic));
    kit_run(60 * 1000);
    cluster_figures(kit_cluster(kit_leader()), &figures);
    assert_int_equal(figures.members[MAP_DOWN], 0);
    assert_int_equal(figures.members[MAP_ACTIVE], 16);
    assert_int_equal(kit_set_policy(kit_leader(), "x", 1), 0); /* All else goes on. */
}

/* All at once: they have what was decided. */
static void test_all_restart(void **state)
{
    (void)state;
    kit_form(5);
    assert_int_equal(kit_set_policy(2, "web:", 5), 0);
    for (uint32_t i = 1; i <= 5; i++) {
        kit_kill(i);
    }
    for (uint32_t i = 1; i <= 5; i++) {
        kit_node(i)->port = (uint16_t)(kit_node(i)->port + 100); /* Found elsewhere. */
        kit_restart(i);
    }
    KIT_UNTIL(kit_leader() != 0 && kit_agree() && kit_member(1, 5)->place.start == 2);
    for (uint32_t i = 1; i <= 5; i++) {
        KIT_UNTIL(kit_member(1, i)->place.ports[0] == kit_node(i)->port);
    }
    KIT_UNTIL(kit_agree());
    assert_int_equal(cluster_map(kit_cluster(3))->policy_count, 1);
    kit_check_equal();
}

/* The map that a node has at its start is known to be the present one once who decides has said so, not because another node
 * has the same or a newer one. */
static void test_kept(void **state)
{
    (void)state;
    kit_form(3);
    uint32_t leader = kit_leader(), near = 1 + leader % 3, far = 1 + near % 3;
    assert_false(kit_node(far)->kept);
    kit_kill(far);
    assert_int_equal(kit_set_policy(leader, "web:", 5), 0);
    kit.cut[leader][far] = kit.cut[far][leader] = true;
    kit_restart(far);
    assert_true(kit_node(far)->kept);
    KIT_UNTIL(kit_node(far)->epoch == kit_node(near)->epoch);
    assert_true(kit_node(far)->kept);
    memset(kit.cut, 0, sizeof kit.cut);
    KIT_UNTIL(!kit_node(far)->kept);
    KIT_UNTIL(kit_all_are(3, MAP_ACTIVE) && kit_agree());
    for (uint32_t i = 1; i <= 3; i++) {
        kit_kill(i);
    }
    kit_restart(near);
    kit_run(60 * 1000);
    assert_true(kit_node(near)->kept); /* There is nobody to decide. */
    kit_restart(far);
    kit_restart(leader);
    KIT_UNTIL(!kit_node(near)->kept && !kit_node(far)->kept && !kit_node(leader)->kept);
}

/* ---- Members ---- */

/* A voter that is gone for long is replaced, by one of its zone; one that is removed follows no more. */
static void test_voters(void **state)
{
    static const char *const zones[] = {"x", "x", "x", "y", "z"};
    struct cluster_figures figures;
    uint32_t of_zone = 0;

    (void)state;
    for (uint32_t i = 1; i <= 4; i++) {
        kit_node(i)->zone = zones[i - 1];
    }
    kit_form(4);
    KIT_UNTIL(kit_voters(kit_leader()) == 3);
    kit_run(2000);
    cluster_figures(kit_cluster(4), &figures);
    assert_true(figures.votes); /* The only one of its zone. */
    uint32_t gone = 0, stands_in = 0;
    for (uint32_t i = 1; i <= 3; i++) {
        cluster_figures(kit_cluster(i), &figures);
        of_zone += figures.votes;
        gone = figures.votes && i != kit_leader() ? i : gone;
        stands_in = !figures.votes ? i : stands_in;
    }
    assert_int_equal(of_zone, 2);
    kit_kill(gone);
    KIT_UNTIL((cluster_figures(kit_cluster(stands_in), &figures), figures.votes));
    KIT_UNTIL(kit_voters(kit_leader()) == 3);
    assert_true(kit_is(4, gone, MAP_DOWN));
    struct map_command command = {.type = MAP_REMOVE, .number = gone};
    assert_int_equal(kit_decide(4, &command), 0);
    KIT_UNTIL((cluster_figures(kit_cluster(kit_leader()), &figures), figures.followers == 3));
    assert_int_equal(kit_decide(4, &command), -ENOENT);
}

/* From three to one again: each that is removed gives its vote back. */
static void test_shrinks(void **state)
{
    struct cluster_figures figures;

    (void)state;
    kit_form(3);
    uint32_t leader = kit_leader();
    for (uint32_t i = 1; i <= 3; i++) {
        struct map_command command = {.type = MAP_REMOVE, .number = i};
        if (i != leader) {
            assert_int_equal(kit_decide(leader, &command), -EBUSY); /* It lives. */
            kit_kill(i);
            KIT_UNTIL(kit_is(leader, i, MAP_DOWN));
            assert_int_equal(kit_decide(leader, &command), 0);
            KIT_UNTIL((cluster_figures(kit_cluster(leader), &figures), figures.voters == 1));
        }
    }
    KIT_UNTIL(cluster_is_alone(kit_cluster(leader)));
    assert_int_equal(cluster_map(kit_cluster(leader))->owners[7].nodes[0], leader);
    assert_int_equal(kit_leader(), leader);
}

/* ---- Drained ---- */

/* All that targets are to own has come to them, as far as the control plane knows. */
static void level_all(void)
{
    for (uint32_t slot = 0; slot < SLOT_COUNT; slot++) {
        const struct map *map = cluster_map(kit_cluster(kit_leader()));
        struct slot_owners targets = map_targets(map, slot);
        uint32_t primary = map->owners[slot].nodes[0];
        if (kit_node(primary)->cluster != NULL) {
            cluster_level(kit_cluster(primary), kit.now_ms, slot, &targets);
        }
    }
}

/* A member that drains has left once it owns nothing, the leader too: another one leads then. It follows all the same, and
 * may come back, or be removed. */
static void test_drained(void **state)
{
    struct cluster_figures figures;

    (void)state;
    kit_form(3);
    level_all();
    KIT_UNTIL((cluster_figures(kit_cluster(1), &figures), figures.unsettled == 0));
    uint32_t drained = kit_leader(), other = 1 + drained % 3;
    const struct map_command drain = {.type = MAP_STATE, .number = drained, .state = MAP_DRAINING};
    const struct map_command again = {.type = MAP_STATE, .number = drained, .state = MAP_JOINING};
    const struct map_command gone = {.type = MAP_REMOVE, .number = drained};
    assert_int_equal(kit_decide(other, &drain), 0);
    KIT_UNTIL(kit_leader() != drained && kit_leader() != 0);
    kit_run(1000);
    assert_true(kit_is(other, drained, MAP_DRAINING)); /* It owns what it has. */
    level_all();
    KIT_UNTIL(kit_is(other, drained, MAP_LEFT));
    assert_int_equal(kit_set_policy(drained, "web:", 5), 0);
    KIT_UNTIL(kit_agree());
    kit_check_equal();

    assert_int_equal(kit_decide(drained, &again), 0);
    KIT_UNTIL(kit_all_are(3, MAP_ACTIVE) && kit_agree());
    assert_int_equal(kit_decide(other, &drain), 0);
    level_all();
    KIT_UNTIL(kit_is(other, drained, MAP_LEFT));
    kit_kill(drained); /* That is nobody's end. */
    kit_run(10 * kit.liveness.down_after_ms);
    assert_true(kit_is(other, drained, MAP_LEFT));
    assert_int_equal(kit_decide(other, &gone), 0);
    KIT_UNTIL((cluster_figures(kit_cluster(kit_leader()), &figures), figures.followers == 2));
}

/* It has not left before all that serves there goes by the map that says that it owns nothing, whichever that is since. */
static void test_drained_behind(void **state)
{
    struct cluster_figures figures;

    (void)state;
    kit_form(4);
    level_all();
    KIT_UNTIL((cluster_figures(kit_cluster(1), &figures), figures.unsettled == 0));
    uint32_t leader = kit_leader(), drained = 1 + leader % 4;
    const struct map_command drain = {.type = MAP_STATE, .number = drained, .state = MAP_DRAINING};
    assert_int_equal(kit_decide(leader, &drain), 0);
    kit_run(1000);
    kit_node(drained)->behind = true; /* It says what it went by until now. */
    level_all();
    KIT_UNTIL(!map_owns(cluster_map(kit_cluster(drained)), drained));
    const uint64_t since = cluster_map(kit_cluster(drained))->epoch;
    kit_run(10000);
    assert_true(kit_is(leader, drained, MAP_DRAINING));
    cluster_followed(kit_cluster(drained), since - 1);
    kit_run(10000);
    assert_true(kit_is(leader, drained, MAP_DRAINING));

    /* Another leader knows since when, and a newer map, in which it owns nothing either, need not be gone by. */
    assert_int_equal(kit_set_policy(leader, "web:", 5), 0);
    KIT_UNTIL(kit_node(drained)->epoch > since);
    kit_kill(leader);
    KIT_UNTIL(kit_leader() != 0 && kit_leader() != leader);
    kit_restart(leader);
    kit_run(10000);
    assert_true(kit_is(kit_leader(), drained, MAP_DRAINING));
    cluster_followed(kit_cluster(drained), since);
    KIT_UNTIL(kit_is(kit_leader(), drained, MAP_LEFT));
}

/* One that dies while it drains has not left, though others own all of it; it has once it is back and knows. */
static void test_dies_drained(void **state)
{
    struct cluster_figures figures;

    (void)state;
    kit_form(3);
    level_all();
    KIT_UNTIL((cluster_figures(kit_cluster(1), &figures), figures.unsettled == 0));
    uint32_t leader = kit_leader(), drained = 1 + leader % 3;
    const struct map_command drain = {.type = MAP_STATE, .number = drained, .state = MAP_DRAINING};
    assert_int_equal(kit_decide(leader, &drain), 0);
    kit_kill(drained);
    KIT_UNTIL(kit_is(leader, drained, MAP_DOWN));
    const uint64_t down_ms = kit.now_ms;
    while (kit.now_ms - down_ms < 5000) { /* It may take writes yet, by the map that it has. */
        kit_run(KIT_STEP_MS);
        assert_true(kit_is(leader, drained, MAP_DOWN));
    }
    const struct map *map = cluster_map(kit_cluster(leader));
    for (uint32_t slot = 0; slot < SLOT_COUNT; slot++) {
        assert_int_not_equal(map->owners[slot].nodes[0], 0);
        assert_int_not_equal(map->owners[slot].nodes[0], drained);
    }
    kit_restart(drained);
    KIT_UNTIL(kit_is(drained, drained, MAP_LEFT) && kit_agree());
}

/* ---- Ramps ---- */

/* A weight goes to another one step by step, whoever leads; time without a leader is added. */
static void test_ramp(void **state)
{
    (void)state;
    kit_form(3);
    level_all();
    uint32_t leader = kit_leader(), ramped = 1 + leader % 3, other = 1 + ramped % 3;
    const struct map_command begin = {
        .type = MAP_RAMP, .number = ramped, .goal = 2400, .ramp_ms = 20000};
    uint64_t begin_ms = kit.now_ms;
    uint32_t weight = 800, steps = 0;
    assert_int_equal(kit_decide(other, &begin), 0);
    while (kit.now_ms - begin_ms < 8000) {
        kit_run(KIT_STEP_MS);
        uint32_t now = kit_member(other, ramped)->weight;
        assert_true(now >= weight && now < 2400);
        steps += now > weight;
        weight = now;
    }
    assert_in_range(steps, 6, 8);
    kit_kill(leader);
    KIT_UNTIL(kit_is(other, leader, MAP_DOWN));
    KIT_UNTIL(kit_member(other, ramped)->ramp_ms == 0);
    assert_int_equal(kit_member(other, ramped)->weight, 2400);
    assert_in_range(kit.now_ms - begin_ms, 20000, 30000);
    kit_restart(leader);
    KIT_UNTIL(kit_all_are(3, MAP_ACTIVE) && kit_agree());
    kit_check_equal();
}

/* To 0 only while somebody else is there to take what it has, and by and by then, too. */
static void test_ramp_of_last(void **state)
{
    (void)state;
    kit_form(3);
    level_all();
    const struct map_command begin = {.type = MAP_RAMP, .number = 1, .goal = 0, .ramp_ms = 8000};
    struct map_command other = {.type = MAP_WEIGHT, .number = 2};
    assert_int_equal(kit_decide(2, &other), 0);
    other.number = 3;
    assert_int_equal(kit_decide(2, &begin), 0);
    assert_int_equal(kit_decide(2, &other), 0);
    uint32_t weight = kit_member(2, 1)->weight;
    assert_true(weight > 0);
    kit_run(20000);
    assert_int_equal(kit_member(2, 1)->weight, weight);
    other.weight = 800;
    assert_int_equal(kit_decide(2, &other), 0);
    uint64_t begin_ms = kit.now_ms;
    KIT_UNTIL(kit_member(2, 1)->weight == 0);
    assert_in_range(kit.now_ms - begin_ms, 5000, 10000);
}

/* ---- Conditions ---- */

static void test_condition(void **state)
{
    (void)state;
    kit_form(3);
    cluster_condition(kit_cluster(2), kit.now_ms, CONDITION_DISK_FULL);
    KIT_UNTIL(kit_is(1, 2, MAP_DEGRADED) && kit_agree());
    assert_int_equal(kit_member(3, 2)->condition, CONDITION_DISK_FULL);
    uint64_t begin_ms = kit.now_ms;
    cluster_condition(kit_cluster(2), kit.now_ms, 0);
    KIT_UNTIL(kit_is(1, 2, MAP_ACTIVE));
    assert_true(kit.now_ms - begin_ms >= kit.liveness.cooldown_ms);
}

/* ---- Maps ---- */

/* A node that Raft does not reach has the new map all the same, from whom it hears. */
static void test_pulled(void **state)
{
    struct cluster_figures figures;

    (void)state;
    kit_form(3);
    uint32_t leader = kit_leader(), near = 1 + leader % 3, far = 1 + near % 3;
    kit.cut[leader][far] = kit.cut[far][leader] = true;
    assert_int_equal(kit_set_policy(near, "web:", 5), 0);
    KIT_UNTIL(kit_node(far)->epoch == kit_node(near)->epoch);
    cluster_figures(kit_cluster(far), &figures);
    assert_true(figures.maps_pulled > 0);
    assert_int_equal(cluster_map(kit_cluster(far))->policy_count, 1);
    memset(kit.cut, 0, sizeof kit.cut);
    KIT_UNTIL(kit_agree() && kit_all_are(3, MAP_ACTIVE));
    kit_check_equal();
}

/* What targets have becomes theirs, in few commands, whatever order it is said in. */
static void test_settle(void **state)
{
    struct cluster_figures figures;

    (void)state;
    kit_form(3);
    cluster_figures(kit_cluster(1), &figures);
    assert_true(figures.unsettled > SLOT_COUNT / 3);
    uint64_t epoch = figures.epoch;
    for (uint32_t shard = 0; shard < 4; shard++) {
        for (uint32_t slot = shard; slot < SLOT_COUNT; slot += 4) {
            const struct map *map = cluster_map(kit_cluster(1));
            struct slot_owners targets = map_targets(map, slot);
            cluster_level(kit_cluster(map->owners[slot].nodes[0]), kit.now_ms, slot, &targets);
            if (slot % 512 == 0) {
                kit_run(KIT_STEP_MS);
            }
        }
        kit_run(2 * CLUSTER_SETTLE_MS);
    }
    const struct slot_owners nonsense = {{9}};
    cluster_level(kit_cluster(1), kit.now_ms, 0, &nonsense);
    const struct slot_owners right = map_targets(cluster_map(kit_cluster(1)), 0);
    cluster_level(kit_cluster(2), kit.now_ms, 0, &right);
    KIT_UNTIL((cluster_figures(kit_cluster(1), &figures), figures.unsettled == 0));
    assert_in_range(figures.epoch - epoch, 1, 4 * 3 * 2); /* Told in four parts, by three nodes. */
    KIT_UNTIL(kit_agree());
    cluster_figures(kit_cluster(2), &figures);
    assert_true(figures.maps_published < figures.epoch);
    kit_check_equal();
}

/* ---- What is bad ---- */

static void test_bad_frames(void **state)
{
    struct cluster_figures figures;
    uint8_t bytes[64];

    (void)state;
    kit_form(2);
    for (uint32_t i = 0; i < 20000; i++) {
        uint32_t size = random_below(&kit.random, sizeof bytes);
        for (uint32_t j = 0; j < size; j++) {
            bytes[j] = j == 0 && random_below(&kit.random, 4) > 0
                           ? 1
                           : (uint8_t)random_below(&kit.random, 256);
        }
        uint8_t kind = (uint8_t)(16 + random_below(&kit.random, 7));
        if (kind != 16) { /* Raft's own would be believed. */
            assert_true(cluster_receive(kit_cluster(1), kit.now_ms, 2, kind,
                                        random_below(&kit.random, 4), bytes_of(bytes, size)));
        }
    }
    assert_false(cluster_receive(kit_cluster(1), kit.now_ms, 2, 23, 0, bytes_of(NULL, 0)));
    cluster_figures(kit_cluster(1), &figures);
    assert_true(figures.frames_bad > 1000);
    assert_int_equal(kit_set_policy(2, "web:", 5), 0);
    KIT_UNTIL(kit_agree());
    kit_check_equal();
}

static void test_too_many_proposals(void **state)
{
    (void)state;
    kit_form(2);
    uint32_t other = 3 - kit_leader();
    kit_kill(kit_leader());
    struct map_command command = {.type = MAP_REPLICAS, .replicas = 3};
    int rc = 0;
    uint32_t outcomes = kit.outcomes;
    for (uint32_t i = 0; i < CLUSTER_PROPOSALS_MAX; i++) {
        rc =
            cluster_propose(kit_cluster(other), kit.now_ms, &command, kit_done, kit_cluster(other));
        assert_int_equal(rc, 0);
    }
    rc = cluster_propose(kit_cluster(other), kit.now_ms, &command, kit_done, kit_cluster(other));
    assert_int_equal(rc, -EAGAIN);
    kit.propose_again = true; /* Who is told that it ends need not know it. */
    kit_kill(other);
    assert_int_equal(kit.rc, -ECANCELED);
    assert_int_equal(kit.outcomes - outcomes, CLUSTER_PROPOSALS_MAX);
}

/* Each allocation of a start fails once. */
static void test_no_memory(void **state)
{
    char message[256];

    (void)state;
    for (uint64_t n = 1;; n++) {
        kit.memory.requests = 0;
        kit.memory.fail_at = n;
        int rc = kit_try_start(1, bytes_of(NULL, 0), message);
        kit.memory.fail_at = 0;
        if (rc == 0 && kit.memory.requests < n) {
            break;
        }
        assert_true(rc == 0 || rc == -ENOMEM);
        if (rc == 0) {
            kit_kill(1);
        }
        assert_int_equal(kit.memory.outstanding_bytes, 0);
        disk_fini(&kit_node(1)->disk);
        disk_init(&kit_node(1)->disk);
    }
    KIT_UNTIL(kit_leader() == 1);
}

#define CASE(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        CASE(test_alone),
        CASE(test_nothing_to_begin_with),
        CASE(test_forms_2),
        CASE(test_forms_3),
        CASE(test_forms_5),
        CASE(test_forms_16),
        CASE(test_lossy),
        CASE(test_snapshots),
        CASE(test_seed_of_the_unknown),
        CASE(test_leader_dies),
        CASE(test_minority),
        CASE(test_two),
        CASE(test_panic),
        CASE(test_all_restart),
        CASE(test_kept),
        CASE(test_voters),
        CASE(test_shrinks),
        CASE(test_drained),
        CASE(test_drained_behind),
        CASE(test_dies_drained),
        CASE(test_ramp),
        CASE(test_ramp_of_last),
        CASE(test_condition),
        CASE(test_pulled),
        CASE(test_settle),
        CASE(test_bad_frames),
        CASE(test_too_many_proposals),
        CASE(test_no_memory),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
