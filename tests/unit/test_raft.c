/* Raft's elections: who asks, who votes, who leads, and when a leader goes. */
#include "raft_glass.h"

static uint64_t term_of(uint32_t node)
{
    return world.nodes[node].raft.term;
}

/* ---- Whole groups ---- */

static void test_group_elects(void **state)
{
    (void)state;
    for (uint32_t voters = 1; voters <= 7; voters++) {
        world_init(voters, voters, voters);
        uint32_t leader = world_elect();
        world_settle();
        uint64_t term = term_of(leader);
        world_run(3000);
        assert_int_equal(world_leader(), leader); /* It stays so. */
        assert_int_equal(term_of(leader), term);
        world_fini();
    }
}

static void test_leader_dies(void **state)
{
    (void)state;
    struct raft_place place;

    world_init(3, 3, 3);
    uint32_t first = world_elect();
    assert_int_equal(world_propose(first, "a", &place), 0);
    world_settle();
    world_crash(first, 0);
    uint32_t second = world_elect();
    assert_int_not_equal(second, first);
    assert_int_equal(world_propose(second, "b", &place), 0);
    world_settle();
    world_boot(&world.nodes[first]);
    world_settle();
    assert_int_equal(world.nodes[first].applied, world.nodes[second].applied);
    world_fini();
}

/* Without a majority nothing is elected and nothing committed. */
static void test_no_majority(void **state)
{
    (void)state;
    struct raft_place place;

    world_init(3, 5, 5);
    uint32_t leader = world_elect();
    world_settle();
    for (uint32_t i = 1, crashed = 0; crashed < 3; i++) {
        if (i != leader) {
            world_crash(i, 0);
            crashed++;
        }
    }
    uint64_t commit = world.nodes[leader].raft.commit;
    assert_int_equal(world_propose(leader, "a", &place), 0);
    world_run(3000);
    assert_int_equal(world_leader(), 0);
    assert_int_equal(world.nodes[leader].raft.commit, commit);
    assert_true(world.counts.no_quorum > 0);
    world_fini();
}

/* A node that was cut off comes back in the term it had, and the leader stays (dissertation, 9.6). */
static void test_cut_off_does_not_disturb(void **state)
{
    (void)state;
    world_init(4, 3, 3);
    uint32_t leader = world_elect();
    uint32_t cut = leader % 3 + 1;
    uint64_t term = term_of(leader);

    world_isolate(cut, true);
    world_run(5000);
    assert_int_equal(term_of(cut), term);
    assert_int_equal(world.nodes[cut].raft.role, RAFT_PRE_CANDIDATE);
    world_isolate(cut, false);
    world_run(2000);
    assert_int_equal(world_leader(), leader);
    assert_int_equal(term_of(leader), term);
    assert_int_equal(world.nodes[cut].raft.leader, leader);
    world_fini();
}

/* It hears the leader no more, but others do, whom it reaches. */
static void test_half_cut_off_does_not_disturb(void **state)
{
    (void)state;
    world_init(5, 3, 3);
    uint32_t leader = world_elect();
    uint32_t cut = leader % 3 + 1;
    uint64_t term = term_of(leader);

    world.cut[leader][cut] = world.cut[cut][leader] = true;
    world_run(5000);
    assert_int_equal(world_leader(), leader);
    assert_int_equal(term_of(leader), term);
    world_fini();
}

/* A leader that hears from no majority goes by itself (dissertation, 6.2). */
static void test_leader_cut_off(void **state)
{
    (void)state;
    struct raft_place place;

    world_init(6, 5, 5);
    uint32_t leader = world_elect();
    world_isolate(leader, true);
    world_run(WORLD_ELECTION_MS + 2 * WORLD_HEARTBEAT_MS);
    assert_int_not_equal(world.nodes[leader].raft.role, RAFT_LEADER);
    assert_int_equal(raft_propose(&world.nodes[leader].raft, text("a"), &place), -EREMOTE);
    uint32_t next = world_elect();
    assert_int_not_equal(next, leader);
    world_isolate(leader, false);
    world_settle();
    assert_int_equal(world_leader(), next);
    world_fini();
}

/* A store slower than an election's patience must not make terms run away. */
static void test_slow_store(void **state)
{
    (void)state;
    world_init(7, 1, 1);
    for (uint32_t i = 0; i < 50; i++) {
        glass_wait(WORLD_ELECTION_MS);
    }
    assert_int_equal(glass_raft()->role, RAFT_CANDIDATE);
    assert_int_equal(glass_raft()->term, 2);
    glass_store();
    assert_int_equal(glass_raft()->role, RAFT_LEADER);
    assert_int_equal(glass_raft()->commit, 0);
    glass_store();
    assert_int_equal(glass_raft()->commit, 2);
    world_fini();
}

/* ---- One node: asking ---- */

static struct raft_message vote(enum raft_message_type type, uint64_t term, uint64_t asked)
{
    return (struct raft_message){.type = type, .term = term, .asked_term = asked, .granted = true};
}

static void test_candidate_asks(void **state)
{
    (void)state;
    glass_init(5);
    glass_wait(2 * WORLD_ELECTION_MS);
    for (uint32_t to = 2; to <= 5; to++) {
        struct raft_message asked = glass_expect(to, RAFT_PRE_VOTE);
        assert_int_equal(asked.term, 1);
        assert_int_equal(asked.index, 1);
        assert_int_equal(asked.index_term, 1);
    }
    assert_int_equal(world.message_count, 0);
    /* One node's word twice, and one of another round, are not a majority. */
    glass_say(2, vote(RAFT_PRE_VOTE_REPLY, 1, 2));
    glass_say(2, vote(RAFT_PRE_VOTE_REPLY, 1, 2));
    glass_say(3, vote(RAFT_PRE_VOTE_REPLY, 1, 1));
    glass_say(9, vote(RAFT_PRE_VOTE_REPLY, 1, 2));
    glass_say(3, vote(RAFT_VOTE_REPLY, 1, 1));
    assert_int_equal(glass_raft()->role, RAFT_PRE_CANDIDATE);
    assert_int_equal(glass_raft()->term, 1);
    glass_say(3, vote(RAFT_PRE_VOTE_REPLY, 1, 2));
    assert_int_equal(glass_raft()->role, RAFT_CANDIDATE);
    assert_int_equal(glass_raft()->term, 2);
    assert_int_equal(world.message_count, 0); /* Its own vote is not stored yet. */
    glass_store();
    for (uint32_t to = 2; to <= 5; to++) {
        struct raft_message asked = glass_expect(to, RAFT_VOTE);
        assert_int_equal(asked.term, 2);
        assert_false(asked.granted);
    }
    glass_say(2, vote(RAFT_VOTE_REPLY, 2, 2));
    glass_say(2, vote(RAFT_VOTE_REPLY, 2, 2));
    glass_say(3, vote(RAFT_PRE_VOTE_REPLY, 2, 3));
    assert_int_equal(glass_raft()->role, RAFT_CANDIDATE);
    glass_say(3, vote(RAFT_VOTE_REPLY, 2, 2));
    assert_int_equal(glass_raft()->role, RAFT_LEADER);
    for (uint32_t to = 2; to <= 5; to++) {
        assert_int_equal(glass_expect(to, RAFT_APPEND).entry_count, 1); /* The no-op, at once. */
    }
    glass_fini();
}

/* What was granted for the pre-vote is no vote: not even where the store is slow and time goes on. */
static void test_pre_votes_are_no_votes(void **state)
{
    (void)state;
    glass_init(3);
    glass_wait(2 * WORLD_ELECTION_MS);
    glass_say(2, vote(RAFT_PRE_VOTE_REPLY, 1, 2));
    assert_int_equal(glass_raft()->role, RAFT_CANDIDATE);
    glass_wait(2 * WORLD_ELECTION_MS);
    glass_store();
    glass_wait(2 * WORLD_ELECTION_MS);
    assert_int_not_equal(glass_raft()->role, RAFT_LEADER);
    glass_fini();
}

static void test_newer_term_ends_it(void **state)
{
    (void)state;
    glass_init(3);
    glass_lead();
    uint64_t term = glass_raft()->term;
    glass_say(2, (struct raft_message){.type = RAFT_APPEND_REPLY, .term = term + 3});
    assert_int_equal(glass_raft()->role, RAFT_FOLLOWER);
    assert_int_equal(glass_raft()->term, term + 3);
    assert_int_equal(glass_raft()->voted_for, 0);
    /* And what is said in an older one is answered with the newer one. */
    glass_store();
    glass_append(3, term, 1, 1, 0);
    struct raft_message answer = glass_expect(3, RAFT_APPEND_REPLY);
    assert_false(answer.granted);
    assert_int_equal(answer.term, term + 3);
    glass_say(3,
              (struct raft_message){.type = RAFT_VOTE, .term = term, .index = 9, .index_term = 1});
    answer = glass_expect(3, RAFT_VOTE_REPLY);
    assert_false(answer.granted);
    assert_int_equal(answer.term, term + 3);
    glass_fini();
}

/* The term that a leader cannot begin is given up. */
static void test_no_op_refused(void **state)
{
    (void)state;
    glass_init(3);
    glass_wait(2 * WORLD_ELECTION_MS);
    glass_say(2, vote(RAFT_PRE_VOTE_REPLY, 1, 2));
    glass_store();
    glass_disk()->refuse = true;
    glass_say(2, vote(RAFT_VOTE_REPLY, 2, 2));
    assert_int_equal(glass_raft()->role, RAFT_FOLLOWER);
    glass_wait(2 * WORLD_ELECTION_MS);
    glass_say(2, vote(RAFT_PRE_VOTE_REPLY, 2, 3)); /* Nor can it vote for itself. */
    assert_int_equal(glass_raft()->role, RAFT_PRE_CANDIDATE);
    assert_int_equal(glass_raft()->term, 2);
    glass_disk()->refuse = false;
    glass_lead();
    glass_fini();
}

/* ---- One node: being asked ---- */

static int ask(uint32_t from, enum raft_message_type type, uint64_t term, uint64_t index,
               uint64_t index_term)
{
    return glass_say(from,
                     (struct raft_message){
                         .type = type, .term = term, .index = index, .index_term = index_term});
}

static bool granted(uint32_t to, enum raft_message_type type)
{
    return glass_expect(to, type).granted;
}

/* Paper, 5.2 and 5.4.1. The log here ends with entry 3 of term 2. */
static void begin_voter(void)
{
    glass_init(3);
    glass_entry(1, RAFT_COMMAND, text("a"));
    glass_entry(2, RAFT_COMMAND, text("b"));
    assert_int_equal(glass_append(2, 2, 1, 1, 0), 0);
    glass_store();
    glass_wait(WORLD_ELECTION_MS - 1); /* The leader is not missed yet. */
    glass_drop();
}

static void test_votes_for_newer_logs(void **state)
{
    (void)state;
    static const struct {
        uint64_t index, term;
        bool granted;
    } rows[] = {{9, 1, false}, {2, 2, false}, {3, 2, true},
                {4, 2, true},  {1, 3, true},  {0, 0, false}};

    begin_voter();
    glass_wait(1);
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        uint64_t term = 10 + i;
        ask(3, RAFT_PRE_VOTE, term, rows[i].index, rows[i].term);
        assert_int_equal(granted(3, RAFT_PRE_VOTE_REPLY), rows[i].granted);
        ask(3, RAFT_VOTE, term, rows[i].index, rows[i].term);
        assert_int_equal(glass_raft()->term, term);
        glass_store();
        ask(3, RAFT_VOTE, term, rows[i].index, rows[i].term);
        assert_int_equal(granted(3, RAFT_VOTE_REPLY), rows[i].granted);
        assert_int_equal(glass_raft()->voted_for, rows[i].granted ? 3 : 0);
        glass_drop();
    }
    glass_fini();
}

static void test_one_vote_in_a_term(void **state)
{
    (void)state;
    begin_voter();
    glass_wait(1);
    ask(3, RAFT_VOTE, 5, 3, 2);
    assert_int_equal(world.message_count, 0); /* Not before it is stored. */
    ask(2, RAFT_VOTE, 5, 9, 4);
    assert_int_equal(world.message_count, 0);
    glass_store();
    assert_true(granted(3, RAFT_VOTE_REPLY));
    assert_int_equal(world.message_count, 0);
    ask(2, RAFT_VOTE, 5, 9, 4);
    assert_false(granted(2, RAFT_VOTE_REPLY));
    ask(3, RAFT_VOTE, 5, 3, 2);
    assert_true(granted(3, RAFT_VOTE_REPLY));
    glass_restart(0); /* It was stored, so it holds. */
    ask(2, RAFT_VOTE, 5, 9, 4);
    assert_false(granted(2, RAFT_VOTE_REPLY));
    ask(3, RAFT_VOTE, 5, 3, 2);
    assert_true(granted(3, RAFT_VOTE_REPLY));
    glass_fini();
}

/* A vote that was not stored was told nobody: after a crash another may have it. */
static void test_vote_lost_in_crash(void **state)
{
    (void)state;
    for (uint32_t kept = 0; kept <= 2; kept++) { /* The term, then the vote. */
        begin_voter();
        glass_wait(1);
        ask(3, RAFT_VOTE, 5, 3, 2);
        assert_int_equal(glass_disk()->call_count, 2);
        assert_int_equal(world.message_count, 0);
        glass_restart(kept);
        assert_int_equal(glass_raft()->term, kept == 0 ? 2 : 5);
        assert_int_equal(glass_raft()->voted_for, kept == 2 ? 3 : 0);
        ask(2, RAFT_VOTE, 5, 3, 2);
        glass_store();
        assert_int_equal(granted(2, RAFT_VOTE_REPLY), kept < 2);
        glass_fini();
    }
}

/* Whoever hears a leader does not help to depose it, and does not even take the term (dissertation, 4.2.3). */
static void test_leader_is_heard(void **state)
{
    (void)state;
    begin_voter();
    ask(3, RAFT_PRE_VOTE, 2, 3, 2);
    assert_false(granted(3, RAFT_PRE_VOTE_REPLY));
    ask(3, RAFT_VOTE, 7, 3, 2);
    assert_int_equal(world.message_count, 0);
    assert_int_equal(glass_raft()->term, 2);
    /* But if the leader itself said so. */
    glass_say(3, (struct raft_message){
                     .type = RAFT_VOTE, .term = 7, .index = 3, .index_term = 2, .granted = true});
    glass_store();
    assert_true(granted(3, RAFT_VOTE_REPLY));
    glass_fini();

    begin_voter();
    glass_wait(1);
    ask(3, RAFT_PRE_VOTE, 2, 3, 2);
    assert_true(granted(3, RAFT_PRE_VOTE_REPLY));
    ask(3, RAFT_PRE_VOTE, 1, 3, 1); /* Its term is over. */
    assert_false(granted(3, RAFT_PRE_VOTE_REPLY));
    assert_int_equal(glass_raft()->term, 2);
    glass_fini();

    glass_init(3);
    glass_lead();
    ask(3, RAFT_PRE_VOTE, 9, 9, 9);
    assert_false(granted(3, RAFT_PRE_VOTE_REPLY));
    ask(3, RAFT_VOTE, 10, 9, 9);
    assert_int_equal(glass_raft()->role, RAFT_LEADER);
    glass_fini();
}

/* The store refuses: the message is as if lost. */
static void test_vote_refused_by_store(void **state)
{
    (void)state;
    for (uint64_t call = 1; call <= 2; call++) {
        begin_voter();
        glass_wait(1);
        glass_disk()->refuse_at = glass_disk()->asked + call;
        assert_int_equal(ask(3, RAFT_VOTE, 5, 3, 2), -ENOSPC);
        glass_store();
        assert_int_equal(world.message_count, 0);
        assert_int_equal(glass_raft()->term, call == 1 ? 2 : 5);
        assert_int_equal(glass_raft()->voted_for, 0);
        assert_int_equal(ask(3, RAFT_VOTE, 5, 3, 2), 0);
        glass_store();
        assert_true(granted(3, RAFT_VOTE_REPLY));
        glass_fini();
    }
}

/* ---- Hand-over ---- */

static void test_hand_over(void **state)
{
    (void)state;
    world_init(8, 5, 5);
    for (uint32_t round = 0; round < 5; round++) {
        uint32_t leader = world_elect();
        uint32_t to = round == 0 ? 0 : leader % 5 + 1;
        uint64_t term = term_of(leader), begun = world.now_ms;
        assert_int_equal(raft_transfer(&world.nodes[leader].raft, to), 0);
        assert_int_equal(raft_transfer(&world.nodes[leader].raft, to), -EBUSY);
        world_depose(leader);
        uint32_t next = world_elect();
        assert_int_not_equal(next, leader);
        assert_true(to == 0 || next == to);
        assert_int_equal(term_of(next), term + 1);
        assert_true(world.now_ms - begun < WORLD_ELECTION_MS); /* Nobody's patience had to end. */
        world_settle();
    }
    world_fini();
}

static void test_hand_over_waits_for_level(void **state)
{
    (void)state;
    struct raft_place place;

    glass_init(3);
    assert_int_equal(raft_transfer(glass_raft(), 2), -EREMOTE);
    glass_lead();
    glass_confirm(3, 2);
    assert_int_equal(raft_transfer(glass_raft(), 1), -ENOENT);
    assert_int_equal(raft_transfer(glass_raft(), 4), -ENOENT);
    assert_int_equal(raft_transfer(glass_raft(), 2), 0);
    glass_drop();
    assert_int_equal(raft_propose(glass_raft(), text("a"), &place), -EBUSY);
    assert_int_equal(raft_change(glass_raft(), RAFT_REMOVE, 3, &place), -EBUSY);
    glass_confirm(2, 1);
    struct raft_message message;
    assert_false(glass_take(2, RAFT_TIMEOUT_NOW, &message));
    glass_confirm(2, 2);
    glass_expect(2, RAFT_TIMEOUT_NOW);
    glass_wait(WORLD_HEARTBEAT_MS);
    glass_expect(2, RAFT_TIMEOUT_NOW); /* The first may be lost. */
    /* It does not take over: this one leads on. */
    glass_confirm(2, 2);
    glass_confirm(3, 2);
    glass_wait(WORLD_ELECTION_MS - WORLD_HEARTBEAT_MS);
    assert_int_equal(glass_raft()->role, RAFT_LEADER);
    assert_int_equal(raft_propose(glass_raft(), text("a"), &place), 0);
    glass_fini();
}

static void test_timeout_now(void **state)
{
    (void)state;
    struct raft_message now = {.type = RAFT_TIMEOUT_NOW, .term = 2};

    begin_voter();
    glass_say(3, now);
    assert_int_equal(glass_raft()->role, RAFT_FOLLOWER); /* Only the leader may say so. */
    glass_say(2, now);
    assert_int_equal(glass_raft()->role, RAFT_CANDIDATE);
    glass_store();
    assert_true(glass_expect(2, RAFT_VOTE).granted);
    glass_fini();
}

/* ---- One node: what it has ---- */

/* Whether all that is committed is applied is known from the first that is committed in a leader's own term on. */
static void test_current(void **state)
{
    (void)state;
    glass_init(3);
    glass_entry(1, RAFT_COMMAND, text("a"));
    assert_int_equal(glass_append(2, 2, 1, 1, 2), 0);
    assert_int_equal(glass_raft()->applied, 2);
    assert_false(glass_raft()->current); /* The leader may not know yet that more is. */
    glass_entry(2, RAFT_NOOP, text(""));
    assert_int_equal(glass_append(2, 2, 2, 1, 4), 0);
    assert_int_equal(glass_raft()->applied, 3);
    assert_false(glass_raft()->current); /* One is still to come. */
    glass_entry(2, RAFT_COMMAND, text("b"));
    assert_int_equal(glass_append(2, 2, 3, 2, 4), 0);
    assert_true(glass_raft()->current);
    glass_store();
    glass_restart(0);
    assert_false(glass_raft()->current);
    assert_int_equal(glass_append(2, 2, 4, 2, 4), 0);
    assert_true(glass_raft()->current); /* It had all. */
    glass_fini();
}

static void test_current_leader(void **state)
{
    (void)state;
    glass_init(3);
    glass_lead();
    assert_false(glass_raft()->current);
    glass_confirm(2, raft_log_last(&glass_raft()->log));
    assert_true(glass_raft()->current);
    glass_fini();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_group_elects),
        cmocka_unit_test(test_leader_dies),
        cmocka_unit_test(test_no_majority),
        cmocka_unit_test(test_cut_off_does_not_disturb),
        cmocka_unit_test(test_half_cut_off_does_not_disturb),
        cmocka_unit_test(test_leader_cut_off),
        cmocka_unit_test(test_slow_store),
        cmocka_unit_test(test_candidate_asks),
        cmocka_unit_test(test_pre_votes_are_no_votes),
        cmocka_unit_test(test_newer_term_ends_it),
        cmocka_unit_test(test_no_op_refused),
        cmocka_unit_test(test_votes_for_newer_logs),
        cmocka_unit_test(test_one_vote_in_a_term),
        cmocka_unit_test(test_vote_lost_in_crash),
        cmocka_unit_test(test_leader_is_heard),
        cmocka_unit_test(test_vote_refused_by_store),
        cmocka_unit_test(test_hand_over),
        cmocka_unit_test(test_hand_over_waits_for_level),
        cmocka_unit_test(test_timeout_now),
        cmocka_unit_test(test_current),
        cmocka_unit_test(test_current_leader),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
