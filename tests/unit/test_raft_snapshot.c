/* Raft's snapshots: made when the log is long, sent in chunks, taken in, interrupted. */
#include "raft_glass.h"

#include "crc32c.h"

/* ---- Whole groups ---- */

static void set_options(uint64_t log_bytes, uint32_t kept_entries)
{
    for (uint32_t i = 1; i <= world.count; i++) {
        world.nodes[i].raft.options.log_bytes = log_bytes;
        world.nodes[i].raft.options.kept_entries = kept_entries;
    }
    world.log_bytes = log_bytes;
    world.kept_entries = kept_entries;
}

static void propose_some(uint32_t count)
{
    struct raft_place place;

    for (uint32_t i = 0; i < count; i++) {
        assert_int_equal(world_propose(world_elect(), "some work", &place), 0);
        world_settle();
    }
}

/* The log stays short, in memory and in the store; and who lags far gets a snapshot of several chunks. */
static void test_group_makes_and_sends(void **state)
{
    (void)state;
    world_init(1, 3, 3);
    set_options(2000, 4);
    world.state_bytes = 5 * RAFT_CHUNK_BYTES / 2;
    uint32_t leader = world_elect(), away = leader % 3 + 1;
    world_settle();
    world_crash(away, 0);
    propose_some(200);
    for (uint32_t i = 1; i <= 3; i++) {
        const struct world_node *node = &world.nodes[i];
        if (i != away) {
            assert_true(node->raft.log.bytes < 2000 + 6 * 100);
            assert_true(node->disk.saved.entry_count < 40);
            assert_true(node->raft.snapshot.index - node->raft.log.base_index == 4);
        }
    }
    world_boot(&world.nodes[away]);
    world_settle();
    assert_int_equal(world.counts.installed, 1);
    assert_int_equal(world.nodes[away].applied, world.committed_last);
    /* And a restart begins with it. */
    world_crash(away, 0);
    world_boot(&world.nodes[away]);
    assert_true(world.nodes[away].applied > 150);
    assert_int_equal(raft_members_voters(&world.nodes[away].raft.members), 3);
    propose_some(5);
    assert_int_equal(world.counts.installed,
                     1); /* A little behind needs none: entries were kept. */
    world_fini();
}

/* A new member needs a snapshot from the first word on; it has the members as of its end. */
static void test_learner_begins_with_one(void **state)
{
    (void)state;
    world_init(2, 4, 3);
    set_options(1000, 0);
    propose_some(50);
    assert_int_equal(world_change(world_elect(), RAFT_ADD_LEARNER, 4), 0);
    world_settle();
    assert_true(world.counts.installed > 0);
    assert_int_equal(world.nodes[4].applied, world.committed_last);
    assert_int_equal(world.nodes[4].raft.members.count, 4);
    world_fini();
}

/* The leader dies, or the one that takes the snapshot, or all do, when so many chunks have come. */
static void interrupt(uint32_t chunks, uint32_t who)
{
    world_init(3 + chunks, 3, 3);
    set_options(1000, 0);
    world.state_bytes = 5 * RAFT_CHUNK_BYTES;
    uint32_t leader = world_elect(), away = leader % 3 + 1;
    world_settle();
    world_crash(away, 0);
    propose_some(40);
    world_boot(&world.nodes[away]);
    for (uint32_t i = 0; world.nodes[away].raft.incoming.bytes.size < chunks * RAFT_CHUNK_BYTES;
         i++) {
        assert_true(i < 10000);
        world_step();
        assert_int_equal(world.counts.installed, 0);
    }
    for (uint32_t i = 1; i <= 3; i++) {
        if ((i == leader && who != 1) || (i == away && who != 0) || who == 2) {
            world_crash(i, 0);
        }
    }
    for (uint32_t i = 1; i <= 3; i++) {
        if (!world.nodes[i].up && (i != leader || who == 2)) {
            world_boot(&world.nodes[i]);
        }
    }
    if (who ==
        0) { /* With the leader gone, its successor needs the third's vote; what has come is of use. */
        uint32_t next = world_elect();
        assert_int_not_equal(next, leader);
        assert_int_equal(world.nodes[away].raft.incoming.bytes.size, chunks * RAFT_CHUNK_BYTES);
    }
    world_settle();
    assert_int_equal(world.nodes[away].applied, world.committed_last);
    assert_int_equal(world.counts.installed, 1);
    world_fini();
}

static void test_interrupted(void **state)
{
    (void)state;
    for (uint32_t chunks = 1; chunks <= 4; chunks++) {
        for (uint32_t who = 0; who <= 2; who++) {
            interrupt(chunks, who);
        }
    }
}

/* ---- A follower ---- */

static uint8_t snapshot_bytes[3 * RAFT_CHUNK_BYTES + 100];

/* A snapshot as a leader of term 2 would have of entries up to 10, in three chunks and a bit. */
static struct raft_message snapshot_message(void)
{
    static const uint8_t head[] = {1, 1, 4, 1, 1, 1, 1, 1, 1, 1, 1};

    memset(snapshot_bytes, 'x', sizeof snapshot_bytes);
    memcpy(snapshot_bytes, head, sizeof head);
    store_u64(snapshot_bytes + sizeof head, 10);
    store_u64(snapshot_bytes + sizeof head + 8, 0);
    return (struct raft_message){.type = RAFT_SNAPSHOT,
                                 .term = 2,
                                 .index = 10,
                                 .index_term = 2,
                                 .size = sizeof snapshot_bytes,
                                 .crc = crc32c(0, bytes_of(snapshot_bytes, sizeof snapshot_bytes))};
}

static int send_chunk(struct raft_message message, size_t offset)
{
    size_t left = sizeof snapshot_bytes - offset;

    message.offset = offset;
    message.chunk =
        bytes_of(snapshot_bytes + offset, left < RAFT_CHUNK_BYTES ? left : RAFT_CHUNK_BYTES);
    return glass_say(2, message);
}

static uint64_t have(void)
{
    struct raft_message reply = glass_expect(2, RAFT_SNAPSHOT_REPLY);

    assert_int_equal(reply.index, 10);
    assert_int_equal(reply.index_term, 2);
    return reply.offset;
}

/* A follower with entries 1 to 3, of which 2 are committed, in term 2. */
static struct raft_message begin_follower(void)
{
    glass_init(3);
    glass_entry(1, RAFT_COMMAND, text("a"));
    glass_entry(1, RAFT_COMMAND, text("b"));
    assert_int_equal(glass_append(3, 1, 1, 1, 2), 0);
    world.committed[10] = (struct world_fork){.term = 2};
    assert_int_equal(glass_append(2, 2, 1, 1, 0), 0);
    glass_store();
    glass_drop();
    return snapshot_message();
}

static void test_takes_chunks(void **state)
{
    (void)state;
    struct raft_message message = begin_follower();
    const size_t chunk = RAFT_CHUNK_BYTES;

    assert_int_equal(send_chunk(message, chunk), 0); /* Its beginning has not come. */
    assert_int_equal(have(), 0);
    assert_int_equal(send_chunk(message, 0), 0);
    assert_int_equal(have(), chunk);
    assert_int_equal(send_chunk(message, 0), 0); /* Twice. */
    assert_int_equal(have(), chunk);
    assert_int_equal(send_chunk(message, 2 * chunk), 0); /* Too early. */
    assert_int_equal(have(), chunk);
    assert_int_equal(send_chunk(message, chunk), 0);
    assert_int_equal(have(), 2 * chunk);
    world.memory_requests = 0;
    world.memory_fail_at = 1; /* Room for the next. */
    assert_int_equal(send_chunk(message, 2 * chunk), -ENOMEM);
    assert_int_equal(world.message_count, 0);
    world.memory_fail_at = 0;
    assert_int_equal(send_chunk(message, 2 * chunk), 0);
    assert_int_equal(have(), 3 * chunk);
    glass_expect_log("11"); /* Nothing is replaced before all is here. */
    glass_disk()->refuse = true;
    assert_int_equal(send_chunk(message, 3 * chunk), -ENOSPC);
    glass_drop();
    glass_disk()->refuse = false;
    glass_expect_log("11");
    assert_int_equal(send_chunk(message, 3 * chunk), 0);
    assert_int_equal(raft_log_last(&glass_raft()->log), 10);
    assert_int_equal(glass_raft()->commit, 10);
    assert_int_equal(glass_raft()->applied, 10);
    assert_int_equal(glass_raft()->members.count, 4);
    assert_int_equal(glass_raft()->members_index, 10);
    assert_int_equal(have(), sizeof snapshot_bytes);
    struct raft_message reply = glass_expect(2, RAFT_APPEND_REPLY);
    assert_true(reply.granted && reply.match == 2); /* It is not stored. */
    glass_store();
    reply = glass_expect(2, RAFT_APPEND_REPLY);
    assert_true(reply.granted && reply.match == 10);
    world.committed_last = 10;
    glass_restart(0);
    assert_int_equal(glass_raft()->applied, 10);
    glass_fini();
}

/* Power goes before it is stored: the old log is back, as far as it was. */
static void test_install_lost_in_crash(void **state)
{
    (void)state;
    for (uint32_t kept = 0; kept <= 2; kept++) {
        struct raft_message message = begin_follower();
        for (size_t at = 0; at < sizeof snapshot_bytes; at += RAFT_CHUNK_BYTES) {
            assert_int_equal(send_chunk(message, at), 0);
        }
        glass_entry(2, RAFT_COMMAND, text("c"));
        assert_int_equal(glass_append(2, 2, 10, 2, 0), 0);
        world.committed_last = 10;
        glass_restart(kept);
        assert_int_equal(raft_log_last(&glass_raft()->log), kept == 0 ? 3 : 9 + kept);
        assert_int_equal(glass_raft()->applied, kept == 0 ? 0 : 10);
        assert_int_equal(glass_raft()->members.count, kept == 0 ? 3 : 4);
        glass_fini();
    }
}

/* The machine may not have room at once: the log goes on, and nothing is applied out of order. */
static void test_machine_waits(void **state)
{
    (void)state;
    struct raft_message message = begin_follower();

    world.machine_failures = 1;
    for (size_t at = 0; at < sizeof snapshot_bytes; at += RAFT_CHUNK_BYTES) {
        assert_int_equal(send_chunk(message, at), 0);
    }
    assert_int_equal(glass_raft()->commit, 10);
    assert_int_equal(glass_raft()->applied, 2);
    glass_entry(2, RAFT_COMMAND, text("c"));
    assert_int_equal(glass_append(2, 2, 10, 2, 11), 0);
    glass_store();
    assert_int_equal(glass_raft()->commit, 11);
    assert_int_equal(glass_raft()->applied, 2);
    world.machine_failures = 0;
    world.committed_last = 10;
    glass_wait(1);
    assert_int_equal(glass_raft()->applied, 11);
    glass_fini();
}

static void test_damaged(void **state)
{
    (void)state;
    struct raft_message message = begin_follower();
    size_t last = 3 * RAFT_CHUNK_BYTES;

    message.crc++;
    for (size_t at = 0; at < last; at += RAFT_CHUNK_BYTES) {
        assert_int_equal(send_chunk(message, at), 0);
    }
    assert_int_equal(send_chunk(message, last), -EBADMSG);
    glass_expect_log("11");
    assert_int_equal(glass_raft()->incoming.bytes.size, 0);
    glass_drop();
    /* Whole, but no snapshot. */
    snapshot_bytes[0] = 2;
    message.crc = crc32c(0, bytes_of(snapshot_bytes, sizeof snapshot_bytes));
    for (size_t at = 0; at < last; at += RAFT_CHUNK_BYTES) {
        assert_int_equal(send_chunk(message, at), 0);
    }
    assert_int_equal(send_chunk(message, last), -EBADMSG);
    glass_expect_log("11");
    glass_fini();
}

/* Another one begins: the half of the old is of no use; but not with any odd chunk of it. */
static void test_another_begins(void **state)
{
    (void)state;
    struct raft_message message = begin_follower(), other = message;

    assert_int_equal(send_chunk(message, 0), 0);
    assert_int_equal(have(), RAFT_CHUNK_BYTES);
    other.crc++;
    assert_int_equal(send_chunk(other, RAFT_CHUNK_BYTES), 0);
    assert_int_equal(have(), 0);
    assert_int_equal(send_chunk(message, RAFT_CHUNK_BYTES), 0);
    assert_int_equal(have(), 2 * RAFT_CHUNK_BYTES);
    assert_int_equal(send_chunk(other, 0), 0);
    assert_int_equal(have(), RAFT_CHUNK_BYTES);
    assert_int_equal(send_chunk(message, 2 * RAFT_CHUNK_BYTES), 0);
    assert_int_equal(have(), 0);
    glass_fini();
}

/* What is here already is not taken: as entries (paper, figure 13, step 6), or committed. */
static void test_has_it_already(void **state)
{
    (void)state;
    struct raft_message message = begin_follower();

    message.index = 3;
    message.index_term = 1;
    assert_int_equal(send_chunk(message, 0), 0);
    struct raft_message reply = glass_expect(2, RAFT_APPEND_REPLY);
    assert_true(reply.granted && reply.match == 3);
    assert_int_equal(glass_raft()->commit, 3);
    assert_int_equal(glass_raft()->applied, 3);
    glass_expect_log("11");
    message.index = 2;
    assert_int_equal(send_chunk(message, 0), 0);
    reply = glass_expect(2, RAFT_APPEND_REPLY);
    assert_true(reply.granted && reply.match == 3);
    assert_int_equal(glass_raft()->incoming.bytes.size, 0);
    glass_fini();
}

/* Kept entries go to who is a little behind; a message that begins before the base is no trouble. */
static void test_append_before_base(void **state)
{
    (void)state;
    glass_init(3);
    glass_raft()->options.log_bytes = 1;
    glass_raft()->options.kept_entries = 0;
    for (uint32_t i = 0; i < 4; i++) {
        glass_entry(1, RAFT_COMMAND, text("a"));
    }
    assert_int_equal(glass_append(2, 1, 1, 1, 4), 0);
    glass_store();
    glass_store();
    assert_int_equal(glass_raft()->log.base_index, 4);
    glass_drop();
    for (uint32_t i = 0; i < 5; i++) {
        glass_entry(1, RAFT_COMMAND, text("a"));
    }
    assert_int_equal(glass_append(2, 1, 1, 1, 4), 0);
    glass_store();
    assert_int_equal(raft_log_last(&glass_raft()->log), 6);
    assert_int_equal(glass_raft()->matched, 6);
    assert_int_equal(glass_append(2, 1, 2, 1, 4), 0);
    assert_int_equal(raft_log_last(&glass_raft()->log), 6);
    glass_entry(2, RAFT_COMMAND, text("b")); /* The base itself is not to be another one. */
    glass_entry(2, RAFT_COMMAND, text("b"));
    assert_int_equal(glass_append(2, 2, 3, 1, 4), -EBADMSG);
    assert_int_equal(raft_log_last(&glass_raft()->log), 6);
    glass_fini();
}

/* A snapshot has the members as of its end; a change after it, which may be taken back, is none of its. */
static void test_members_as_of_its_end(void **state)
{
    (void)state;
    static const uint8_t members[] = {1, 4, 1, 1, 1, 1, 1, 1, 1, 0};

    glass_init(3);
    glass_raft()->options.log_bytes = 1;
    glass_entry(1, RAFT_COMMAND, text("a"));
    glass_entry(1, RAFT_MEMBERS, bytes_of(members, sizeof members));
    assert_int_equal(glass_append(2, 1, 1, 1, 0), 0);
    glass_store();
    assert_int_equal(glass_append(2, 1, 3, 1, 2), 0);
    assert_int_equal(glass_raft()->snapshot.index, 2);
    assert_int_equal(glass_raft()->members.count, 4);
    glass_store();
    glass_restart(0);
    assert_int_equal(glass_raft()->members.count, 4);
    glass_entry(3, RAFT_NOOP, text(""));
    assert_int_equal(glass_append(3, 3, 2, 1, 2), 0);
    assert_int_equal(glass_raft()->members.count, 3);
    assert_int_equal(glass_raft()->members_index, 2);
    glass_fini();
}

/* ---- Beginnings ---- */

/* Nodes that begin with the same state elect each other, and nobody else. */
static void test_begins_with_a_state(void **state)
{
    static const uint32_t nodes[] = {2, 1};
    uint8_t bytes[16] = {1}; /* The machine's: index 1, and a digest of it. */
    struct buffer made = {.memory = heap_memory()};

    (void)state;
    world_init(5, 3, 1);
    world.committed[1] = (struct world_fork){.term = 1, .digest = 0x77};
    world.committed_last = 1;
    store_u64(bytes + 8, 0x77);
    assert_int_equal(raft_first_snapshot(nodes, 0, text(""), &made), -EINVAL);
    assert_int_equal(raft_first_snapshot(nodes, 2, bytes_of(bytes, sizeof bytes), &made), 0);
    for (uint32_t i = 1; i <= 3; i++) {
        world_crash(i, 0);
        disk_fini(&world.nodes[i].disk);
        disk_init(&world.nodes[i].disk);
        world.nodes[i].disk.saved = (struct raft_saved){
            .term = 1,
            .snapshot_index = 1,
            .snapshot_term = 1,
            .snapshot = disk_copy(buffer_bytes(&made)),
        };
        world_boot(&world.nodes[i]);
        assert_int_equal(world.nodes[i].applied, 1);
    }
    assert_in_range(world_elect(), 1, 2);
    propose_some(3);
    assert_int_equal(raft_members_voters(&world.nodes[3].raft.members), 2);
    buffer_fini(&made);
    world_fini();
}

/* A new node that is given a snapshot by whoever is asked needs none of the leader's. */
static void test_begins_with_what_another_made(void **state)
{
    struct buffer made = {.memory = heap_memory()};
    struct raft_place place;

    (void)state;
    world_init(6, 4, 3);
    assert_int_equal(raft_make_snapshot(&world.nodes[4].raft, &made, &place), -EAGAIN);
    propose_some(5);
    uint32_t asked = world_elect() % 3 + 1;
    made.size = 0;
    assert_int_equal(raft_make_snapshot(&world.nodes[asked].raft, &made, &place), 0);
    assert_int_equal(place.index, world.nodes[asked].applied);
    world_crash(4, 0);
    world.nodes[4].disk.saved = (struct raft_saved){
        .term = place.term,
        .snapshot_index = place.index,
        .snapshot_term = place.term,
        .snapshot = disk_copy(buffer_bytes(&made)),
    };
    world_boot(&world.nodes[4]);
    assert_int_equal(world.nodes[4].applied, place.index);
    assert_int_equal(world_change(world_elect(), RAFT_ADD_LEARNER, 4), 0);
    propose_some(2);
    assert_int_equal(world.nodes[4].applied, world.committed_last);
    assert_int_equal(world.counts.installed, 0);
    buffer_fini(&made);
    world_fini();
}

/* Who knows how far it was committed has that at once; what cannot be is refused. */
static void test_begins_with_its_commit(void **state)
{
    (void)state;
    world_init(7, 3, 3);
    world.keep_commit = true;
    propose_some(5);
    for (uint32_t i = 1; i <= 3; i++) {
        world_crash(i, 0);
    }
    world_boot(&world.nodes[2]);
    assert_true(world.nodes[2].applied >= 5);
    struct raft_saved saved = world.nodes[2].disk.saved;
    world_crash(2, 0);
    saved.commit = saved.snapshot_index + saved.entry_count + 1;
    struct raft_options options = {.node = 2, .election_ms = 100, .heartbeat_ms = 10};
    struct raft_ports ports = {.memory = heap_memory(),
                               .net = &world.nodes[2].net,
                               .store = &world.nodes[2].disk.store,
                               .machine = &world.nodes[2].machine,
                               .tracer = &world.nodes[2].tracer};
    static struct raft raft;
    assert_int_equal(raft_init(&raft, &options, &ports, &saved, 1), -EBADMSG);
    for (uint32_t i = 1; i <= 3; i++) {
        world_boot(&world.nodes[i]);
    }
    propose_some(2);
    world_fini();
}

/* ---- A leader ---- */

static void lead_with_snapshot(void)
{
    struct raft_place place;

    glass_init(3);
    world.state_bytes = 2 * RAFT_CHUNK_BYTES;
    glass_raft()->options.log_bytes = 300;
    glass_raft()->options.kept_entries = 0;
    glass_lead();
    for (uint32_t i = 0; i < 6; i++) {
        assert_int_equal(raft_propose(glass_raft(), text("a"), &place), 0);
        glass_store();
        glass_confirm(2, place.index);
    }
    glass_store();
    assert_true(glass_raft()->log.base_index >= 5);
    glass_drop();
}

/* The reply of node 3 to a chunk: so much has come. */
static void answer_chunk(const struct raft_message *chunk, uint64_t offset)
{
    assert_int_equal(glass_say(3, (struct raft_message){.type = RAFT_SNAPSHOT_REPLY,
                                                        .term = 2,
                                                        .index = chunk->index,
                                                        .index_term = chunk->index_term,
                                                        .crc = chunk->crc,
                                                        .offset = offset}),
                     0);
}

static void test_sends_chunks(void **state)
{
    (void)state;
    struct raft_message chunk, message;

    lead_with_snapshot();
    glass_say(3,
              (struct raft_message){.type = RAFT_APPEND_REPLY, .term = 2, .index = 1, .match = 0});
    chunk = glass_expect(3, RAFT_SNAPSHOT);
    assert_int_equal(chunk.offset, 0);
    assert_int_equal(chunk.chunk.size, RAFT_CHUNK_BYTES);
    assert_int_equal(chunk.size, glass_raft()->snapshot.bytes.size);
    answer_chunk(&chunk, RAFT_CHUNK_BYTES);
    message = glass_expect(3, RAFT_SNAPSHOT);
    assert_int_equal(message.offset, RAFT_CHUNK_BYTES);
    answer_chunk(&chunk, RAFT_CHUNK_BYTES); /* Twice: not twice all that comes after. */
    assert_false(glass_take(3, RAFT_SNAPSHOT, &message));
    glass_wait(WORLD_HEARTBEAT_MS); /* Lost: again. */
    message = glass_expect(3, RAFT_SNAPSHOT);
    assert_int_equal(message.offset, RAFT_CHUNK_BYTES);
    answer_chunk(&chunk, 0); /* It has begun a new life. */
    glass_wait(WORLD_HEARTBEAT_MS);
    message = glass_expect(3, RAFT_SNAPSHOT);
    assert_int_equal(message.offset, 0);
    struct raft_message odd = chunk;
    odd.crc++;
    answer_chunk(&odd, RAFT_CHUNK_BYTES);
    answer_chunk(&chunk, chunk.size + 1);
    assert_false(glass_take(3, RAFT_SNAPSHOT, &message));
    answer_chunk(&chunk, chunk.size);
    assert_false(glass_take(3, RAFT_SNAPSHOT, &message));
    glass_wait(WORLD_HEARTBEAT_MS);
    message = glass_expect(3, RAFT_SNAPSHOT); /* It has all, and has not said so: the end, again. */
    assert_int_equal(message.offset, chunk.size - 1);
    glass_confirm(3, chunk.index);
    message = glass_expect(3, RAFT_APPEND); /* From there on with entries. */
    assert_int_equal(message.index, chunk.index);
    glass_fini();
}

/* While somebody takes a snapshot, the next is not made, or he would never end; but not for ever. */
static void test_next_one_waits(void **state)
{
    (void)state;
    struct raft_place place;
    struct raft_message chunk;

    lead_with_snapshot();
    glass_say(3,
              (struct raft_message){.type = RAFT_APPEND_REPLY, .term = 2, .index = 1, .match = 0});
    chunk = glass_expect(3, RAFT_SNAPSHOT);
    uint64_t index = glass_raft()->snapshot.index, saved = world.counts.saved, bytes = 0;
    while (world.counts.saved == saved) {
        bytes = glass_raft()->applied_bytes;
        assert_int_equal(raft_propose(glass_raft(), text("a"), &place), 0);
        glass_store();
        glass_confirm(2, place.index);
    }
    assert_true(bytes > 500 && bytes <= 600);
    assert_true(glass_raft()->snapshot.index > index);
    glass_drop();
    answer_chunk(&chunk,
                 RAFT_CHUNK_BYTES); /* Of the old one: the new one is sent from its beginning. */
    glass_wait(WORLD_HEARTBEAT_MS);
    struct raft_message message = glass_expect(3, RAFT_SNAPSHOT);
    assert_int_equal(message.index, glass_raft()->snapshot.index);
    assert_int_equal(message.offset, 0);
    glass_fini();
}

/* No snapshot can be made: the log grows, until one can. */
static void test_save_fails(void **state)
{
    (void)state;
    struct raft_place place;

    glass_init(3);
    glass_raft()->options.log_bytes = 100;
    world.machine_failures = 1;
    glass_lead();
    for (uint32_t i = 0; i < 10; i++) {
        assert_int_equal(raft_propose(glass_raft(), text("a"), &place), 0);
        glass_store();
        glass_confirm(2, place.index);
    }
    assert_int_equal(glass_raft()->log.base_index, 0);
    assert_int_equal(raft_propose(glass_raft(), text("a"), &place), 0);
    glass_store();
    world.machine_failures = 0;
    glass_disk()->refuse = true; /* Now the store has no room for it. */
    glass_confirm(2, place.index);
    assert_int_equal(glass_raft()->log.base_index, 0);
    glass_disk()->refuse = false;
    assert_int_equal(raft_propose(glass_raft(), text("a"), &place), 0);
    glass_store();
    assert_int_equal(glass_raft()->log.base_index, 13);
    glass_fini();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_group_makes_and_sends),
        cmocka_unit_test(test_learner_begins_with_one),
        cmocka_unit_test(test_interrupted),
        cmocka_unit_test(test_takes_chunks),
        cmocka_unit_test(test_install_lost_in_crash),
        cmocka_unit_test(test_machine_waits),
        cmocka_unit_test(test_damaged),
        cmocka_unit_test(test_another_begins),
        cmocka_unit_test(test_has_it_already),
        cmocka_unit_test(test_append_before_base),
        cmocka_unit_test(test_begins_with_a_state),
        cmocka_unit_test(test_begins_with_what_another_made),
        cmocka_unit_test(test_begins_with_its_commit),
        cmocka_unit_test(test_members_as_of_its_end),
        cmocka_unit_test(test_sends_chunks),
        cmocka_unit_test(test_next_one_waits),
        cmocka_unit_test(test_save_fails),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
