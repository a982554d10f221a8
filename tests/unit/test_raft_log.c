/* Raft's log: what a follower takes, what a leader commits, what a crash leaves. */
#include "raft_glass.h"

/* ---- Whole groups ---- */

/* A log of these terms, stored by a node: entry 1 has the members, the rest are commands that tell their term. */
static void store_log(uint32_t number, uint64_t term, const char *terms, uint32_t voters)
{
    static const uint32_t numbers[] = {1, 2, 3, 4, 5, 6, 7};
    struct raft_disk *disk = &world.nodes[number].disk;
    struct raft_members members = {0};
    uint8_t bytes[RAFT_MEMBERS_BYTES_MAX];
    uint64_t sequence = disk->sequence;

    for (uint32_t i = 0; i < voters; i++) {
        raft_members_change(&members, RAFT_ADD_LEARNER, numbers[i]);
        raft_members_change(&members, RAFT_PROMOTE, numbers[i]);
    }
    disk->store.vote(&disk->store, ++sequence, term, 0);
    for (uint64_t i = 0; terms[i] != '\0'; i++) {
        struct raft_entry entry = {.index = i + 1,
                                   .term = (uint64_t)(terms[i] - '0'),
                                   .kind = i == 0 ? RAFT_MEMBERS : RAFT_COMMAND,
                                   .data = bytes_of(&terms[i], 1)};
        if (i == 0) {
            entry.data = bytes_of(bytes, raft_members_put(bytes, &members));
        }
        disk->store.append(&disk->store, ++sequence, &entry, 1);
    }
    world_crash(number, disk->call_count);
    world_boot(&world.nodes[number]);
}

/* Paper, figure 7: whatever followers have or lack, the leader's log becomes theirs. */
static void test_figure_7(void **state)
{
    (void)state;
    static const char *const logs[] = {"1114455666",   "111445566", "1114",       "11144556666",
                                       "111445566677", "1114444",   "11122233333"};

    world_init(7, 7, 7);
    for (uint32_t i = 0; i < 7; i++) {
        store_log(i + 1, 7, logs[i], 7);
    }
    /* The leader of term 8 has the first log: those with newer ones would not vote for it. */
    world.nodes[1].raft.election_due_ms = world.now_ms;
    world_step();
    uint32_t leader = world_elect();
    assert_int_equal(leader, 1);
    assert_int_equal(world.nodes[leader].raft.term, 8);
    world_settle();
    for (uint32_t i = 1; i <= 7; i++) {
        const struct raft_log *log = &world.nodes[i].raft.log;
        assert_int_equal(raft_log_last(log), 11);
        for (uint64_t index = 1; index <= 10; index++) {
            assert_int_equal(raft_log_term(log, index), logs[0][index - 1] - '0');
        }
        assert_int_equal(raft_log_term(log, 11), 8);
        assert_int_equal(world.nodes[i].applied, 11);
    }
    assert_true(world.counts.truncated >= 4); /* (c), (d), (e), (f). */
    world_fini();
}

/* What was not committed when its leader was cut off is lost, and the proposer can tell. */
static void test_lost_proposal(void **state)
{
    (void)state;
    struct raft_place lost, kept;

    world_init(9, 3, 3);
    uint32_t leader = world_elect();
    world_settle();
    world_isolate(leader, true);
    assert_int_equal(world_propose(leader, "lost", &lost), 0);
    world_run(2 * WORLD_ELECTION_MS);
    uint32_t next = world_elect();
    assert_int_equal(world_propose(next, "kept", &kept), 0);
    world_settle();
    world_isolate(leader, false);
    world_settle();
    assert_int_equal(world.committed[kept.index].term, kept.term);
    assert_int_not_equal(world.committed[lost.index].term, lost.term);
    world_fini();
}

/* Three nodes do some work; node 2's store is done with nothing after some time, and power goes when so many calls of
 * it have become durable. Returns false where there were not so many. */
static bool crash_at(uint32_t kept, bool leads)
{
    struct raft_place place;

    world_init(10, 3, 3);
    world.log_bytes = 1000;
    for (uint32_t i = 1; i <= 3; i++) {
        world.nodes[i].raft.options.log_bytes = 1000;
    }
    uint32_t leader = world_elect();
    uint32_t victim = leads ? leader : leader % 3 + 1;
    world.nodes[victim].stored_at_ms = UINT64_MAX;
    for (uint32_t i = 0; i < 24; i++) {
        assert_int_equal(world_propose(leader, "some work", &place), 0);
        world_run(20);
    }
    world_isolate(leader, true); /* Another term, too. */
    world_run(3 * WORLD_ELECTION_MS);
    world_isolate(leader, false);
    leader = world_elect();
    assert_int_equal(world_propose(leader, "more", &place), 0);
    world_run(WORLD_ELECTION_MS);
    bool there = kept <= world.nodes[victim].disk.call_count;
    if (there) {
        world_crash(victim, kept);
        world.nodes[victim].stored_at_ms = 0;
        world_boot(&world.nodes[victim]);
        assert_int_equal(world_propose(world_elect(), "after it", &place), 0);
        world_settle();
        assert_int_equal(world.committed[place.index].term, place.term);
    }
    world_fini();
    return there;
}

static void test_crash_at_each_call(void **state)
{
    (void)state;
    uint32_t followers = 0, leaders = 0;

    while (crash_at(followers, false)) {
        followers++;
    }
    while (crash_at(leaders, true)) {
        leaders++;
    }
    print_message("%u and %u places\n", followers, leaders);
    assert_true(followers >= 10 && leaders >= 10);
}

/* The same with each request for memory, and each call of the store, failing once. */
static bool fail_at(uint64_t memory_at, uint64_t store_at, uint32_t of)
{
    struct raft_place place;

    world_init(11, 4, 3);
    world.memory_requests = 0;
    world.memory_fail_at = memory_at;
    world.nodes[of].disk.asked = 0;
    world.nodes[of].disk.refuse_at = store_at;
    for (uint32_t i = 1; i <= 4; i++) {
        world.nodes[i].raft.options.log_bytes = 500;
    }
    bool added = false;
    for (uint32_t i = 0; i < 24; i++) {
        (void)world_propose(world_elect(), "some work", &place);
        world_run(20);
        if (i == 16) { /* A learner, which gets a snapshot. */
            added = world_change(world_elect(), RAFT_ADD_LEARNER, 4) == 0;
            world_run(60);
        }
    }
    while (!added) {
        added = world_change(world_elect(), RAFT_ADD_LEARNER, 4) == 0;
        world_step();
    }
    while (world_propose(world_elect(), "the last", &place) != 0) {
        world_step();
    }
    world_settle();
    assert_int_equal(world.committed[place.index].term, place.term);
    assert_int_equal(world.nodes[4].applied, world.committed_last);
    assert_true(world.counts.installed > 0 && world.counts.saved > 0);
    bool reached = world.memory_requests >= memory_at && world.nodes[of].disk.asked >= store_at;
    world_fini();
    return reached;
}

static void test_each_failure(void **state)
{
    (void)state;
    uint64_t memory = 1, store = 1;

    while (fail_at(memory, 0, 1)) {
        memory++;
    }
    for (uint32_t node = 1; node <= 4; node++) {
        for (uint64_t at = 1; fail_at(0, at, node); at++) {
            store++;
        }
    }
    print_message("%u requests for memory, %u calls of the store\n", (unsigned)memory,
                  (unsigned)store);
    assert_true(memory > 100 && store > 40);
}

/* ---- A leader ---- */

/* Paper, figure 8: an entry of an earlier term that a majority has is not committed for that. */
static void test_figure_8(void **state)
{
    (void)state;
    glass_init(5);
    glass_entry(2, RAFT_COMMAND, text("old"));
    assert_int_equal(glass_append(2, 3, 1, 1, 0), 0); /* Entry 2 is of term 2, as in the figure. */
    glass_store();
    glass_lead(); /* In term 4, as in (c). */
    assert_int_equal(glass_raft()->term, 4);
    for (uint32_t from = 2; from <= 5; from++) {
        glass_confirm(from, 2);
    }
    assert_int_equal(glass_raft()->commit, 0);
    glass_confirm(2, 3);
    assert_int_equal(glass_raft()->commit, 0);
    glass_confirm(3,
                  3); /* Its own entry is with a majority, as in (e): so is what comes before it. */
    assert_int_equal(glass_raft()->commit, 3);
    glass_fini();
}

static void test_leader_counts_what_is_stored(void **state)
{
    (void)state;
    struct raft_place place;

    glass_init(3);
    glass_lead();
    glass_confirm(2, 2);
    assert_int_equal(glass_raft()->commit, 2);
    assert_int_equal(raft_propose(glass_raft(), text("a"), &place), 0);
    assert_int_equal(place.index, 3);
    assert_int_equal(place.term, 2);
    glass_confirm(2, 3);
    assert_int_equal(glass_raft()->commit,
                     2); /* One of three has it: this node's store is not done. */
    glass_store();
    assert_int_equal(glass_raft()->commit, 3);
    assert_int_equal(raft_propose(glass_raft(), text("b"), &place), 0);
    glass_confirm(2, 4);
    glass_confirm(3, 4);
    assert_int_equal(glass_raft()->commit, 4); /* Two of three have it, without this node. */
    glass_confirm(3, 9);                       /* There is no such entry. */
    assert_int_equal(glass_raft()->commit, 4);
    glass_store();
    glass_confirm(9, 4); /* Nor such a member. */
    glass_fini();
}

/* One APPEND is under way; what is lost goes again with the heartbeat. */
static void test_leader_sends(void **state)
{
    (void)state;
    struct raft_place place;
    struct raft_message message;

    glass_init(3);
    glass_lead();
    glass_confirm(2, 2);
    glass_drop();
    assert_int_equal(raft_propose(glass_raft(), text("a"), &place), 0);
    message = glass_expect(2, RAFT_APPEND);
    assert_int_equal(message.index, 2);
    assert_int_equal(message.index_term, 2);
    assert_int_equal(message.entry_count, 1);
    assert_int_equal(raft_propose(glass_raft(), text("b"), &place), 0);
    assert_false(glass_take(2, RAFT_APPEND, &message));
    glass_wait(WORLD_HEARTBEAT_MS);
    message = glass_expect(2, RAFT_APPEND);
    assert_int_equal(message.index, 2);
    assert_int_equal(message.entry_count, 2);
    assert_int_equal(raft_propose(glass_raft(), text("c"), &place), 0);
    glass_confirm(2, 4);
    message = glass_expect(2, RAFT_APPEND); /* The rest at once. */
    assert_int_equal(message.index, 4);
    assert_int_equal(message.entry_count, 1);
    glass_confirm(2, 4); /* Said twice. */
    assert_false(glass_take(2, RAFT_APPEND, &message));
    glass_store();
    glass_confirm(2, 5);
    assert_int_equal(glass_raft()->commit, 5);
    message = glass_expect(2, RAFT_APPEND); /* What is committed is told at once. */
    assert_int_equal(message.commit, 5);
    assert_int_equal(message.entry_count, 0);
    glass_confirm(2, 5);
    assert_false(glass_take(2, RAFT_APPEND, &message));
    glass_fini();
}

static void test_leader_goes_back(void **state)
{
    (void)state;
    struct raft_place place;
    struct raft_message message;

    glass_init(3);
    glass_lead();
    for (uint32_t i = 0; i < 5; i++) {
        assert_int_equal(raft_propose(glass_raft(), text("a"), &place), 0);
    }
    glass_store();
    glass_drop();
    struct raft_message refusal = {.type = RAFT_APPEND_REPLY, .term = 2, .index = 1, .match = 0};
    refusal.index = 7; /* It answers nothing that was asked. */
    glass_say(3, refusal);
    assert_int_equal(world.message_count, 0);
    refusal.index = 1;
    refusal.match = 1;
    glass_say(3, refusal);
    assert_int_equal(world.message_count, 0);
    refusal.match = 0;
    glass_say(3, refusal);
    message = glass_expect(3, RAFT_APPEND);
    assert_int_equal(message.index, 0);
    assert_int_equal(message.entry_count, 7);
    /* It confirmed all, and lost it all: a learner may (raft.h). */
    glass_confirm(3, 7);
    glass_drop();
    refusal.index = 7;
    glass_say(3, refusal);
    message = glass_expect(3, RAFT_APPEND);
    assert_int_equal(message.index, 0);
    assert_int_equal(glass_peer(3)->match, 0);
    glass_fini();
}

static void test_propose_bounds(void **state)
{
    (void)state;
    static uint8_t large[RAFT_ENTRY_BYTES_MAX + 1];
    struct raft_place place = {7, 7};
    uint32_t taken = 0;

    glass_init(3);
    assert_int_equal(raft_propose(glass_raft(), text("a"), &place), -EREMOTE);
    glass_lead();
    assert_int_equal(raft_propose(glass_raft(), bytes_of(large, sizeof large), &place), -EMSGSIZE);
    glass_disk()->refuse = true;
    assert_int_equal(raft_propose(glass_raft(), text("a"), &place), -ENOSPC);
    glass_disk()->refuse = false;
    world.memory_requests = 0;
    world.memory_fail_at = 1;
    assert_int_equal(raft_propose(glass_raft(), text("a"), &place), -ENOMEM);
    world.memory_fail_at = 0;
    assert_int_equal(place.index, 7);
    assert_int_equal(raft_log_last(&glass_raft()->log), 2);
    while (raft_propose(glass_raft(), text("a"), &place) == 0) {
        taken++;
    }
    assert_int_equal(taken, RAFT_UNCOMMITTED_MAX - 2);
    assert_int_equal(raft_propose(glass_raft(), text("a"), &place), -EAGAIN);
    glass_store();
    glass_confirm(2, place.index);
    assert_int_equal(raft_propose(glass_raft(), text("a"), &place), 0);
    for (taken = 1; raft_propose(glass_raft(), bytes_of(large, RAFT_ENTRY_BYTES_MAX), &place) == 0;
         taken++) {
    }
    assert_int_equal(taken, 1 + RAFT_UNCOMMITTED_BYTES_MAX / RAFT_ENTRY_BYTES_MAX);
    assert_int_equal(raft_propose(glass_raft(), text("a"), &place), -EAGAIN);
    /* The largest goes alone. */
    glass_store();
    glass_drop();
    glass_confirm(2, place.index - 4);
    struct raft_message message = glass_expect(2, RAFT_APPEND);
    assert_true(message.entry_count == 1 && message.entries.size > 100);
    glass_confirm(2, place.index - 3);
    message = glass_expect(2, RAFT_APPEND);
    assert_int_equal(message.entry_count, 1);
    assert_true(message.entries.size > RAFT_ENTRY_BYTES_MAX);
    glass_fini();
}

/* ---- A follower ---- */

static struct raft_message confirmation(void)
{
    struct raft_message reply = glass_expect(2, RAFT_APPEND_REPLY);

    assert_true(reply.granted);
    return reply;
}

static void test_confirms_what_is_stored(void **state)
{
    (void)state;
    glass_init(3);
    glass_append(2, 2, 1, 1, 0);
    assert_int_equal(world.message_count, 0); /* The term is not stored. */
    glass_store();
    assert_int_equal(confirmation().match, 1);
    glass_entry(2, RAFT_COMMAND, text("a"));
    glass_append(2, 2, 1, 1, 0);
    assert_int_equal(confirmation().match, 1); /* It is here, but a crash would take entry 2. */
    glass_entry(2, RAFT_COMMAND, text("b"));
    glass_append(2, 2, 2, 2, 0);
    assert_int_equal(confirmation().match, 1);
    raft_stored(glass_raft(), disk_do(glass_disk(), 1));
    assert_int_equal(confirmation().match, 2);
    glass_append(2, 2, 3, 2, 3);
    assert_int_equal(confirmation().match, 2);
    assert_int_equal(glass_raft()->commit, 3); /* Others have it. */
    glass_store();
    assert_int_equal(confirmation().match, 3);
    glass_restart(0);
    glass_expect_log("22");
    glass_fini();
}

static void test_refuses_what_does_not_follow(void **state)
{
    (void)state;
    struct raft_message reply;

    glass_init(3);
    glass_entry(1, RAFT_COMMAND, text("a"));
    glass_entry(1, RAFT_COMMAND, text("b"));
    glass_entry(1, RAFT_COMMAND, text("c"));
    glass_append(2, 2, 1, 1, 2);
    glass_store();
    glass_drop();
    assert_int_equal(glass_raft()->commit, 2);
    glass_entry(2, RAFT_COMMAND, text("x"));
    glass_append(2, 2, 9, 2, 0); /* There is none before it. */
    reply = glass_expect(2, RAFT_APPEND_REPLY);
    assert_false(reply.granted);
    assert_int_equal(reply.index, 9);
    assert_int_equal(reply.match, 4);
    glass_entry(2, RAFT_COMMAND, text("x"));
    glass_append(2, 2, 4, 2, 0); /* Another one is. */
    reply = glass_expect(2, RAFT_APPEND_REPLY);
    assert_false(reply.granted);
    assert_int_equal(reply.index, 4);
    assert_int_equal(reply.match, 2);
    glass_expect_log("111");
    /* No other leader in this term, and none over a leader. */
    glass_entry(2, RAFT_COMMAND, text("x"));
    glass_append(3, 2, 2, 1, 0);
    glass_expect_log("111");
    assert_int_equal(world.message_count, 0);
    glass_fini();
}

static void test_truncates_what_differs(void **state)
{
    (void)state;
    glass_init(3);
    glass_entry(1, RAFT_COMMAND, text("a"));
    glass_entry(1, RAFT_COMMAND, text("b"));
    glass_entry(1, RAFT_COMMAND, text("c"));
    glass_append(2, 2, 1, 1, 2);
    glass_store();
    /* An older message again changes nothing, though the log is longer; not even the store is asked. */
    uint64_t asked = glass_disk()->asked;
    glass_entry(1, RAFT_COMMAND, text("a"));
    glass_append(2, 2, 1, 1, 2);
    glass_expect_log("111");
    assert_int_equal(glass_disk()->asked, asked);
    /* The next leader has other entries from 3 on. */
    glass_entry(1, RAFT_COMMAND, text("a"));
    glass_entry(3, RAFT_NOOP, text(""));
    glass_append(3, 3, 1, 1, 2);
    glass_expect_log("13");
    assert_int_equal(glass_raft()->durable, 2);
    glass_drop();
    glass_store();
    assert_int_equal(glass_raft()->durable, 3);
    assert_int_equal(glass_expect(3, RAFT_APPEND_REPLY).match, 3);
    glass_restart(0);
    glass_expect_log("13");
    glass_fini();
}

/* A crash between: the old entries are back, and were never confirmed to the new leader. */
static void test_truncation_lost_in_crash(void **state)
{
    (void)state;
    glass_init(3);
    glass_entry(1, RAFT_COMMAND, text("a"));
    glass_entry(1, RAFT_COMMAND, text("b"));
    glass_append(2, 2, 1, 1, 0);
    glass_store();
    glass_entry(3, RAFT_NOOP, text(""));
    glass_append(3, 3, 1, 1, 0);
    glass_expect_log("3");
    glass_restart(1); /* The term. */
    glass_expect_log("11");
    assert_int_equal(glass_raft()->term, 3);
    glass_append(3, 3, 2, 3, 0);
    assert_false(glass_expect(3, RAFT_APPEND_REPLY).granted);
    glass_fini();
}

static void test_committed_is_certain(void **state)
{
    (void)state;
    glass_init(3);
    glass_entry(1, RAFT_COMMAND, text("a"));
    glass_entry(1, RAFT_COMMAND, text("b"));
    assert_int_equal(glass_append(2, 2, 1, 1, 9), 0);
    assert_int_equal(glass_raft()->commit, 3); /* Not what the leader has beyond. */
    assert_int_equal(glass_raft()->applied, 3);
    glass_entry(3, RAFT_COMMAND, text("x"));
    assert_int_equal(glass_append(3, 3, 1, 1, 0), -EBADMSG);
    glass_expect_log("11");
    /* Nor does a leader take back what it sent. */
    glass_entry(3, RAFT_COMMAND, text("c"));
    assert_int_equal(glass_append(3, 3, 3, 1, 0), 0);
    glass_entry(2, RAFT_COMMAND, text("x"));
    assert_int_equal(glass_append(3, 3, 3, 1, 0), -EBADMSG);
    glass_expect_log("113");
    /* A heartbeat that is about an old entry commits no more than up to it. */
    assert_int_equal(glass_append(3, 3, 3, 1, 4), 0);
    assert_int_equal(glass_raft()->commit, 3);
    assert_int_equal(glass_append(3, 3, 4, 3, 4), 0);
    assert_int_equal(glass_raft()->commit, 4);
    glass_fini();
}

static void test_append_refused(void **state)
{
    (void)state;
    glass_init(3);
    glass_append(2, 2, 1, 1, 0);
    glass_store();
    glass_drop();
    glass_disk()->refuse = true;
    glass_entry(2, RAFT_COMMAND, text("a"));
    assert_int_equal(glass_append(2, 2, 1, 1, 0), -ENOSPC);
    assert_int_equal(glass_append(2, 5, 1, 1, 0), -ENOSPC);
    glass_disk()->refuse = false;
    assert_int_equal(glass_raft()->term, 2);
    assert_int_equal(world.message_count, 0);
    glass_expect_log("");
    glass_entry(2, RAFT_COMMAND, text("a"));
    assert_int_equal(glass_append(2, 2, 1, 1, 0), 0);
    glass_expect_log("2");
    glass_fini();
}

/* What a store may not have had. */
static void test_bad_saved(void **state)
{
    (void)state;
    static struct raft raft;
    struct raft_entry entries[2] = {{.index = 1, .term = 1, .kind = RAFT_NOOP},
                                    {.index = 2, .term = 2, .kind = RAFT_NOOP}};
    struct raft_saved good = {.term = 2, .entries = entries, .entry_count = 2}, saved = good;
    struct raft_options options = {.node = 1, .election_ms = 100, .heartbeat_ms = 20};

    world_init(1, 2, 2);
    struct raft_ports ports = glass_raft()->ports;
    assert_int_equal(raft_init(&raft, &options, &ports, &saved, 0), 0);
    raft_fini(&raft);
    saved.term = 1;
    assert_int_equal(raft_init(&raft, &options, &ports, &saved, 0), -EBADMSG);
    saved = good;
    saved.snapshot_index = 1;
    assert_int_equal(raft_init(&raft, &options, &ports, &saved, 0), -EBADMSG);
    saved.snapshot_term = 1;
    saved.entry_count = 0;
    assert_int_equal(raft_init(&raft, &options, &ports, &saved, 0), -EBADMSG);
    saved = good;
    entries[0].term = 2;
    entries[1].term = 1;
    assert_int_equal(raft_init(&raft, &options, &ports, &saved, 0), -EBADMSG);
    entries[1].term = 2;
    entries[1].index = 3;
    assert_int_equal(raft_init(&raft, &options, &ports, &saved, 0), -EBADMSG);
    entries[1].index = 2;
    entries[1].kind = RAFT_MEMBERS;
    assert_int_equal(raft_init(&raft, &options, &ports, &saved, 0), -EBADMSG);
    world_fini();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_figure_7),
        cmocka_unit_test(test_lost_proposal),
        cmocka_unit_test(test_crash_at_each_call),
        cmocka_unit_test(test_each_failure),
        cmocka_unit_test(test_figure_8),
        cmocka_unit_test(test_leader_counts_what_is_stored),
        cmocka_unit_test(test_leader_sends),
        cmocka_unit_test(test_leader_goes_back),
        cmocka_unit_test(test_propose_bounds),
        cmocka_unit_test(test_confirms_what_is_stored),
        cmocka_unit_test(test_refuses_what_does_not_follow),
        cmocka_unit_test(test_truncates_what_differs),
        cmocka_unit_test(test_truncation_lost_in_crash),
        cmocka_unit_test(test_committed_is_certain),
        cmocka_unit_test(test_append_refused),
        cmocka_unit_test(test_bad_saved),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
