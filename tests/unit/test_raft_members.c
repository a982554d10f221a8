/* Who takes part in Raft: the list, and how it changes. */
#include "raft_glass.h"

/* ---- The list ---- */

static struct raft_members list_of(const char *marks)
{
    struct raft_members members = {0};

    for (uint32_t i = 0; marks[i] != '\0'; i++) {
        raft_members_change(&members, RAFT_ADD_LEARNER, i + 1);
        if (marks[i] == 'v') {
            raft_members_change(&members, RAFT_PROMOTE, i + 1);
        }
    }
    return members;
}

static void test_list_changes(void **state)
{
    (void)state;
    struct raft_members members = list_of("vvl");

    assert_int_equal(raft_members_voters(&members), 2);
    assert_int_equal(raft_members_change(&members, RAFT_ADD_LEARNER, 2), -EEXIST);
    assert_int_equal(raft_members_change(&members, RAFT_ADD_LEARNER, 0), -EINVAL);
    assert_int_equal(raft_members_change(&members, (enum raft_change)0, 5), -EINVAL);
    assert_int_equal(raft_members_change(&members, (enum raft_change)5, 5), -EINVAL);
    assert_int_equal(raft_members_change(&members, RAFT_PROMOTE, 4), -ENOENT);
    assert_int_equal(raft_members_change(&members, RAFT_PROMOTE, 1), -EEXIST);
    assert_int_equal(raft_members_change(&members, RAFT_DEMOTE, 3), -ENOENT);
    assert_int_equal(raft_members_change(&members, RAFT_REMOVE, 4), -ENOENT);
    assert_int_equal(raft_members_change(&members, RAFT_DEMOTE, 1), 0);
    assert_int_equal(raft_members_change(&members, RAFT_DEMOTE, 2), -EINVAL); /* The last voter. */
    assert_int_equal(raft_members_change(&members, RAFT_REMOVE, 2), -EINVAL);
    assert_int_equal(raft_members_change(&members, RAFT_REMOVE, 1), 0);
    assert_int_equal(members.count, 2);
    assert_null(raft_members_find(&members, 1));
    assert_true(raft_members_vote(&members, 2));
    assert_false(raft_members_vote(&members, 3));
    members = list_of("vvvvvvvv");
    assert_int_equal(raft_members_voters(&members), RAFT_VOTERS_MAX);
    assert_int_equal(raft_members_change(&members, RAFT_PROMOTE, 8), -E2BIG);
    for (uint32_t node = 9; node <= RAFT_MEMBERS_MAX; node++) {
        assert_int_equal(raft_members_change(&members, RAFT_ADD_LEARNER, node), 0);
    }
    assert_int_equal(raft_members_change(&members, RAFT_ADD_LEARNER, 1000), -E2BIG);
}

static int read_back(const void *bytes, size_t size, struct raft_members *members)
{
    struct bytes exact = disk_copy(bytes_of(bytes, size));
    struct reader reader = reader_of(exact);

    int rc = raft_members_read(&reader, members);
    if (rc == 0) {
        assert_true(reader_done(&reader));
    }
    disk_free(&exact);
    return rc;
}

static void test_list_bytes(void **state)
{
    (void)state;
    static const uint8_t golden[] = {1, 4, 1, 1, 1, 0, 1, 1, 0xa9, 0x02, 0};
    static const struct {
        uint8_t bytes[8];
        size_t size;
    } bad[] = {
        {{0}, 0},
        {{2, 1, 1, 1}, 4},                            /* Version. */
        {{1, 0}, 2},                                  /* Nobody. */
        {{1, 1, 1, 0}, 4},                            /* No voter. */
        {{1, 1, 0, 1}, 4},                            /* Node 0. */
        {{1, 2, 1, 1, 0, 1}, 6},                      /* One twice. */
        {{1, 1, 1, 2}, 4},                            /* Neither voter nor learner. */
        {{1, 2, 1, 1}, 4},                            /* Too short. */
        {{1, 0x81, 0x02}, 3},                         /* 257 members. */
        {{1, 1, 0x80, 0x80, 0x80, 0x80, 0x10, 1}, 8}, /* A number above 32 bits. */
        {{1, 1, 0x81, 0x00, 1}, 5},                   /* Not in shortest form. */
    };
    struct raft_members members = list_of("vlv"), found = {.count = 77};
    uint8_t bytes[RAFT_MEMBERS_BYTES_MAX];

    raft_members_change(&members, RAFT_ADD_LEARNER, 300);
    size_t size = raft_members_put(bytes, &members);
    assert_int_equal(size, sizeof golden);
    assert_memory_equal(bytes, golden, size);
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        assert_int_equal(read_back(bad[i].bytes, bad[i].size, &found), -EBADMSG);
        assert_int_equal(found.count, 77);
    }
    assert_int_equal(read_back(bytes, size, &found), 0);
    assert_memory_equal(&found, &members, sizeof found);
    /* The longest. */
    members = list_of("vvvvvvv");
    for (uint32_t i = 0; i < RAFT_MEMBERS_MAX - 7; i++) {
        uint32_t node = UINT32_MAX - 255 * UINT32_C(16000000) + i * UINT32_C(16000000);
        assert_int_equal(raft_members_change(&members, RAFT_ADD_LEARNER, node), 0);
    }
    assert_true(raft_members_put(bytes, &members) <= sizeof bytes);
    members = list_of("vvvvvvv"); /* Eight voters: one too many. */
    members.list[members.count++] = (struct raft_member){8, true};
    size = raft_members_put(bytes, &members);
    assert_int_equal(read_back(bytes, size, &found), -EBADMSG);
}

/* ---- Whole groups ---- */

static void change_and_settle(enum raft_change change, uint32_t node)
{
    for (uint32_t i = 0; i < 1000; i++) {
        int rc = world_change(world_elect(), change, node);
        if (rc == 0) {
            world_settle();
            return;
        }
        assert_int_equal(rc, -EAGAIN);
        world_step();
    }
    fail();
}

static uint32_t voters(void)
{
    return raft_members_voters(&world.nodes[world_elect()].raft.members);
}

/* From one node to five, and back to one that was not there at first. */
static void test_group_grows_and_shrinks(void **state)
{
    (void)state;
    struct raft_place place;

    world_init(1, 5, 1);
    for (uint32_t node = 2; node <= 5; node++) {
        change_and_settle(RAFT_ADD_LEARNER, node);
        assert_int_equal(voters(), node - 1);
        change_and_settle(RAFT_PROMOTE, node);
        assert_int_equal(voters(), node);
    }
    assert_int_equal(world_propose(world_elect(), "all five", &place), 0);
    world_settle();
    for (uint32_t node = 1; node <= 5; node++) {
        assert_int_equal(world.nodes[node].applied, world.committed_last);
    }
    for (uint32_t node = 1; node <= 4; node++) {
        change_and_settle(RAFT_REMOVE, node);
        assert_int_equal(voters(), 5 - node);
    }
    assert_int_equal(world_elect(), 5);
    assert_int_equal(world_propose(5, "alone", &place), 0);
    world_settle();
    assert_int_equal(world.nodes[5].applied, place.index);
    uint64_t term = world.nodes[5].raft.term;
    world_run(3000);
    assert_int_equal(world.nodes[5].raft.term, term); /* The removed ones do not disturb. */
    assert_int_equal(world_leader(), 5);
    world_fini();
}

/* A learner follows, and has no say: not for commits, not in elections. */
static void test_learner(void **state)
{
    (void)state;
    struct raft_place place;

    world_init(2, 3, 2);
    change_and_settle(RAFT_ADD_LEARNER, 3);
    assert_int_equal(world.nodes[3].applied, world.committed_last);
    uint32_t leader = world_elect(), other = 3 - leader;
    world_crash(other, 0);
    assert_int_equal(world_propose(leader, "a", &place), 0);
    world_run(3000);
    assert_int_equal(world.committed[place.index].term, 0);
    assert_int_equal(world_leader(), 0);
    assert_int_equal(world.nodes[3].raft.role, RAFT_FOLLOWER);
    assert_int_equal(world.nodes[3].raft.term, world.nodes[leader].raft.term);
    world_boot(&world.nodes[other]);
    world_settle();
    world_crash(3, 0); /* Nor is it missed. */
    assert_int_equal(world_propose(world_elect(), "b", &place), 0);
    world_run(500);
    assert_int_equal(world.committed[place.index].term, place.term);
    world_fini();
}

/* A learner may lose all it had (raft.h). */
static void test_learner_is_wiped(void **state)
{
    (void)state;
    struct raft_place place;

    world_init(3, 3, 2);
    change_and_settle(RAFT_ADD_LEARNER, 3);
    world_crash(3, 0);
    disk_fini(&world.nodes[3].disk);
    disk_init(&world.nodes[3].disk);
    world_boot(&world.nodes[3]);
    assert_int_equal(world.nodes[3].applied, 0);
    assert_int_equal(world_propose(world_elect(), "a", &place), 0);
    world_settle();
    assert_int_equal(world.nodes[3].applied, place.index);
    world_fini();
}

static void test_leader_leaves(void **state)
{
    (void)state;
    static const enum raft_change changes[] = {RAFT_REMOVE, RAFT_DEMOTE};

    for (uint32_t i = 0; i < 2; i++) {
        struct raft_place place;
        world_init(4 + i, 3, 3);
        uint32_t leader = world_elect();
        uint64_t begun = world.now_ms;
        world_settle();
        assert_int_equal(world_change(leader, changes[i], leader), 0);
        world_depose(leader);
        uint32_t next = world_elect();
        assert_int_not_equal(next, leader);
        assert_true(world.now_ms - begun < 2 * WORLD_ELECTION_MS); /* It named its successor. */
        assert_int_equal(voters(), 2);
        assert_int_equal(world_propose(next, "a", &place), 0);
        world_settle();
        world_run(2000);
        assert_int_equal(world_leader(), next);
        assert_int_equal(world.nodes[leader].applied == place.index, changes[i] == RAFT_DEMOTE);
        world_fini();
    }
}

/* ---- One node ---- */

static int change(enum raft_change change, uint32_t node)
{
    struct raft_place place;

    return raft_change(glass_raft(), change, node, &place);
}

/* While its removal is not committed, a leader leads on, but its own store does not count (dissertation, 4.2.2). */
static void test_leader_that_leaves_does_not_count(void **state)
{
    (void)state;
    struct raft_message message;

    glass_init(3);
    glass_lead();
    glass_confirm(2, 2);
    assert_int_equal(change(RAFT_REMOVE, 1), 0);
    glass_store();
    glass_confirm(2, 3);
    assert_int_equal(glass_raft()->commit, 2); /* One of two. */
    assert_int_equal(glass_raft()->role, RAFT_LEADER);
    glass_drop();
    glass_confirm(3, 3);
    assert_int_equal(glass_raft()->commit, 3);
    assert_int_equal(glass_raft()->role, RAFT_FOLLOWER);
    assert_true(glass_take(2, RAFT_TIMEOUT_NOW, &message) ||
                glass_take(3, RAFT_TIMEOUT_NOW, &message));
    glass_drop();
    glass_wait(3 * WORLD_ELECTION_MS);
    assert_int_equal(world.message_count, 0); /* It asks nobody any more. */
    glass_fini();
}

static void test_one_change_at_a_time(void **state)
{
    (void)state;
    glass_init(3);
    assert_int_equal(change(RAFT_REMOVE, 3), -EREMOTE);
    assert_int_equal(glass_append(2, 1, 1, 1, 1), 0);
    glass_lead();
    /* Not before the no-op is committed, though the change before is: the leader before may have begun another. */
    assert_true(glass_raft()->members_index <= glass_raft()->commit);
    assert_int_equal(change(RAFT_REMOVE, 3), -EAGAIN);
    glass_confirm(2, 1);
    assert_int_equal(change(RAFT_REMOVE, 3), -EAGAIN);
    glass_confirm(2, 2);
    assert_int_equal(change(RAFT_REMOVE, 9), -ENOENT);
    glass_disk()->refuse = true;
    assert_int_equal(change(RAFT_REMOVE, 3), -ENOSPC);
    assert_int_equal(raft_members_voters(&glass_raft()->members), 3);
    glass_disk()->refuse = false;
    assert_int_equal(change(RAFT_REMOVE, 3), 0);
    assert_int_equal(raft_members_voters(&glass_raft()->members),
                     2); /* As soon as it is in the log. */
    assert_int_equal(change(RAFT_ADD_LEARNER, 4), -EAGAIN);
    glass_store();
    assert_int_equal(glass_raft()->commit, 2);
    glass_drop();
    glass_wait(WORLD_HEARTBEAT_MS);
    struct raft_message message;
    assert_false(glass_take(3, RAFT_APPEND, &message)); /* It is no member. */
    glass_confirm(3, 3);
    assert_int_equal(glass_raft()->commit, 2);
    glass_confirm(2, 3);
    assert_int_equal(glass_raft()->commit, 3);
    assert_int_equal(change(RAFT_ADD_LEARNER, 4), 0);
    glass_fini();
}

static void test_promotes_who_is_level(void **state)
{
    (void)state;
    glass_init(3);
    glass_lead();
    glass_confirm(2, 2);
    assert_int_equal(change(RAFT_ADD_LEARNER, 4), 0);
    glass_store();
    glass_confirm(2, 3);
    assert_int_equal(change(RAFT_PROMOTE, 4), -EAGAIN);
    glass_confirm(4, 2);
    assert_int_equal(change(RAFT_PROMOTE, 4), -EAGAIN); /* Entry 3 is committed. */
    glass_confirm(4, 3);
    for (uint32_t i = 0; i < 5; i++) {
        glass_wait(WORLD_HEARTBEAT_MS);
        glass_confirm(2, 3);
    }
    assert_int_equal(change(RAFT_PROMOTE, 4), -EAGAIN); /* It is not heard any more. */
    glass_confirm(4, 3);
    assert_int_equal(change(RAFT_PROMOTE, 4), 0);
    glass_store();
    glass_confirm(2, 4);
    assert_int_equal(glass_raft()->commit, 3); /* Two of four. */
    glass_confirm(4, 4);
    assert_int_equal(glass_raft()->commit, 4);
    glass_fini();
}

static struct bytes members_entry(const char *marks)
{
    static uint8_t bytes[RAFT_MEMBERS_BYTES_MAX];
    struct raft_members members = list_of(marks);

    return bytes_of(bytes, raft_members_put(bytes, &members));
}

/* A change that was not committed goes with its entry; a restart finds what the log has. */
static void test_change_is_taken_back(void **state)
{
    (void)state;
    glass_init(3);
    glass_entry(2, RAFT_MEMBERS, members_entry("vvvl"));
    glass_append(2, 2, 1, 1, 0);
    glass_store();
    assert_int_equal(glass_raft()->members.count, 4);
    assert_int_equal(glass_raft()->members_index, 2);
    glass_restart(0);
    assert_int_equal(glass_raft()->members.count, 4);
    glass_entry(2, RAFT_COMMAND, text("a"));
    glass_entry(2, RAFT_MEMBERS, members_entry("vvlvl"));
    glass_append(2, 2, 2, 2, 0);
    assert_int_equal(glass_raft()->members.count, 5);
    glass_entry(3, RAFT_NOOP, text(""));
    glass_append(3, 3, 3, 2, 0); /* In place of the last one. */
    assert_int_equal(glass_raft()->members.count, 4);
    assert_int_equal(glass_raft()->members_index, 2);
    glass_entry(4, RAFT_NOOP, text(""));
    glass_append(2, 4, 1, 1, 0);
    assert_int_equal(glass_raft()->members.count, 3);
    assert_int_equal(glass_raft()->members_index, 1);
    assert_int_equal(glass_raft()->peer_count, 2);
    glass_fini();
}

/* While it is not known that the entry that took its vote is committed, perhaps nobody else has that, and who lacks it
 * cannot be elected: a node goes on asking, without a vote of its own (dissertation, 4.2.2). */
static void test_who_lost_its_vote_may_be_needed(void **state)
{
    (void)state;
    glass_init(2);
    glass_entry(2, RAFT_MEMBERS, members_entry("lv"));
    glass_append(2, 2, 1, 1, 1);
    glass_store();
    glass_drop();
    glass_wait(3 * WORLD_ELECTION_MS);
    assert_int_equal(glass_expect(2, RAFT_PRE_VOTE).term, 2);
    assert_int_equal(glass_raft()->role, RAFT_PRE_CANDIDATE);
    glass_say(2, (struct raft_message){
                     .type = RAFT_PRE_VOTE_REPLY, .term = 2, .asked_term = 3, .granted = true});
    glass_store();
    glass_expect(2, RAFT_VOTE);
    assert_int_equal(glass_raft()->role, RAFT_CANDIDATE);
    glass_say(2, (struct raft_message){
                     .type = RAFT_VOTE_REPLY, .term = 3, .asked_term = 3, .granted = true});
    glass_store();
    assert_int_equal(glass_raft()->role, RAFT_LEADER);
    glass_confirm(2, 3); /* With that it is committed, and it leaves. */
    assert_int_equal(glass_raft()->commit, 3);
    assert_int_equal(glass_raft()->role, RAFT_FOLLOWER);
    glass_drop();
    glass_wait(3 * WORLD_ELECTION_MS);
    assert_int_equal(world.message_count, 0);
    glass_fini();
}

/* A learner, and who is no member, votes when asked: the candidate's list may be the newer one (dissertation, 4.1). But
 * their votes do not count where they are learners. */
static void test_votes_of_learners(void **state)
{
    (void)state;
    glass_init(3);
    glass_entry(2, RAFT_MEMBERS, members_entry("lvvl"));
    glass_append(2, 2, 1, 1, 2);
    glass_store();
    glass_drop();
    glass_wait(3 * WORLD_ELECTION_MS);
    assert_int_equal(world.message_count, 0);
    glass_say(3, (struct raft_message){.type = RAFT_VOTE, .term = 5, .index = 3, .index_term = 3});
    glass_store();
    assert_true(glass_expect(3, RAFT_VOTE_REPLY).granted);
    glass_say(3,
              (struct raft_message){.type = RAFT_APPEND, .term = 5, .index = 2, .index_term = 2});
    glass_say(3, (struct raft_message){.type = RAFT_TIMEOUT_NOW, .term = 5});
    assert_int_equal(glass_raft()->role, RAFT_FOLLOWER);
    glass_fini();

    glass_init(3);
    glass_entry(2, RAFT_MEMBERS, members_entry("vvvll"));
    glass_append(2, 2, 1, 1, 2);
    glass_store();
    glass_wait(2 * WORLD_ELECTION_MS);
    struct raft_message message;
    assert_false(glass_take(4, RAFT_PRE_VOTE, &message));
    for (uint32_t from = 4; from <= 5; from++) {
        glass_say(from,
                  (struct raft_message){
                      .type = RAFT_PRE_VOTE_REPLY, .term = 2, .asked_term = 3, .granted = true});
    }
    assert_int_equal(glass_raft()->role, RAFT_PRE_CANDIDATE);
    glass_fini();
}

static void test_bootstrap(void **state)
{
    (void)state;
    static const uint32_t twice[] = {1, 2, 1}, zero[] = {0}, good[] = {1},
                          many[8] = {1, 2, 3, 4, 5, 6, 7, 8};

    world_init(1, 1, 0);
    struct raft *raft = glass_raft();
    assert_int_equal(raft_bootstrap(raft, twice, 3), -EINVAL);
    assert_int_equal(raft_bootstrap(raft, zero, 1), -EINVAL);
    assert_int_equal(raft_bootstrap(raft, good, 0), -EINVAL);
    assert_int_equal(raft_bootstrap(raft, many, 8), -EINVAL);
    glass_wait(3 * WORLD_ELECTION_MS);
    assert_int_equal(raft->term, 0); /* It waits for somebody to call it. */
    for (uint64_t call = 1; call <= 2; call++) {
        glass_disk()->refuse_at = glass_disk()->asked + 1;
        assert_int_equal(raft_bootstrap(raft, good, 1), -ENOSPC);
        glass_disk()->refuse_at = glass_disk()->asked + 2;
        assert_int_equal(raft_bootstrap(raft, good, 1), call == 1 ? -ENOSPC : 0);
    }
    assert_int_equal(raft_bootstrap(raft, good, 1), -EEXIST);
    glass_disk()->refuse_at = 0;
    glass_restart(1); /* Only the term was stored. */
    assert_int_equal(raft_bootstrap(raft, good, 1), 0);
    glass_store();
    glass_restart(0);
    assert_int_equal(raft_bootstrap(raft, good, 1), -EEXIST);
    assert_int_equal(world_elect(), 1);
    world_fini();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_list_changes),
        cmocka_unit_test(test_list_bytes),
        cmocka_unit_test(test_group_grows_and_shrinks),
        cmocka_unit_test(test_learner),
        cmocka_unit_test(test_learner_is_wiped),
        cmocka_unit_test(test_leader_leaves),
        cmocka_unit_test(test_leader_that_leaves_does_not_count),
        cmocka_unit_test(test_one_change_at_a_time),
        cmocka_unit_test(test_promotes_who_is_level),
        cmocka_unit_test(test_change_is_taken_back),
        cmocka_unit_test(test_who_lost_its_vote_may_be_needed),
        cmocka_unit_test(test_votes_of_learners),
        cmocka_unit_test(test_bootstrap),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
