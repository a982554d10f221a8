/* One member of Raft in a glass case: node 1 of a world whose other nodes do nothing; the test says what they say,
 * and sees what is said to them. */
#ifndef RAFT_GLASS_H
#define RAFT_GLASS_H

#include "heap.h"
#include "raft_world.h"

struct glass {
    struct bytes taken;    /* The bytes of the message taken last. */
    struct buffer entries; /* Of the message being made. */
    uint32_t entry_count;
};

static struct glass glass;

static inline struct raft *glass_raft(void)
{
    return &world.nodes[1].raft;
}

static inline struct raft_disk *glass_disk(void)
{
    return &world.nodes[1].disk;
}

/* What node 1 knows of another. */
static inline const struct raft_peer *glass_peer(uint32_t node)
{
    const struct raft_peer *peer = glass_raft()->peers;

    while (peer->node != node) {
        peer++;
        assert_true(peer < glass_raft()->peers + glass_raft()->peer_count);
    }
    return peer;
}

static inline void glass_init(uint32_t count)
{
    world_init(1, WORLD_NODES_MAX, count);
    glass = (struct glass){.entries = {.memory = heap_memory()}};
}

static inline void glass_drop(void)
{
    while (world.message_count > 0) {
        world_drop_message(0);
    }
}

static inline void glass_fini(void)
{
    disk_free(&glass.taken);
    buffer_fini(&glass.entries);
    world_fini();
}

/* Everything that was stored so far becomes durable, and is reported. */
static inline void glass_store(void)
{
    uint64_t sequence = disk_do(glass_disk(), glass_disk()->call_count);

    if (sequence > 0) {
        raft_stored(glass_raft(), sequence);
    }
}

/* The first message of this type to a node, which is then gone. */
static inline bool glass_take(uint32_t to, enum raft_message_type type,
                              struct raft_message *message)
{
    for (uint32_t i = 0; i < world.message_count; i++) {
        struct world_message *found = &world.messages[i];
        if (found->to != to || found->bytes.data[1] != type) {
            continue;
        }
        disk_free(&glass.taken);
        glass.taken = found->bytes;
        world.message_count--;
        memmove(found, found + 1, (world.message_count - i) * sizeof *found);
        assert_int_equal(raft_message_parse(glass.taken, message), 0);
        return true;
    }
    return false;
}

static inline struct raft_message glass_expect(uint32_t to, enum raft_message_type type)
{
    struct raft_message message;

    assert_true(glass_take(to, type, &message));
    return message;
}

/* Add an entry to the APPEND that glass_say() sends next. */
static inline void glass_entry(uint64_t term, enum raft_kind kind, struct bytes data)
{
    struct raft_entry entry = {.term = term, .kind = kind, .data = data};

    assert_int_equal(raft_message_put_entry(&glass.entries, &entry), 0);
    glass.entry_count++;
}

static inline int glass_say(uint32_t from, struct raft_message message)
{
    struct buffer bytes = {.memory = heap_memory()};

    message.entries = buffer_bytes(&glass.entries);
    message.entry_count = glass.entry_count;
    assert_int_equal(raft_message_put(&bytes, &message), 0);
    struct bytes exact = disk_copy(buffer_bytes(&bytes));
    int rc = raft_receive(glass_raft(), from, exact);
    disk_free(&exact);
    buffer_fini(&bytes);
    glass.entries.size = 0;
    glass.entry_count = 0;
    return rc;
}

/* Time goes by for node 1. */
static inline void glass_wait(uint64_t ms)
{
    world.now_ms += ms;
    raft_tick(glass_raft(), world.now_ms);
}

/* Node 1 of three or five is elected, in the next term; the messages to then are dropped. Its no-op is stored. */
static inline void glass_lead(void)
{
    struct raft *raft = glass_raft();
    uint32_t others = raft_members_voters(&raft->members) / 2;

    glass_wait(2 * WORLD_ELECTION_MS);
    assert_int_equal(raft->role, RAFT_PRE_CANDIDATE);
    for (uint32_t i = 0; i < others; i++) {
        assert_int_equal(glass_say(2 + i, (struct raft_message){.type = RAFT_PRE_VOTE_REPLY,
                                                                .term = raft->term,
                                                                .asked_term = raft->term + 1,
                                                                .granted = true}),
                         0);
    }
    assert_int_equal(raft->role, RAFT_CANDIDATE);
    glass_store();
    for (uint32_t i = 0; i < others; i++) {
        assert_int_equal(glass_say(2 + i, (struct raft_message){.type = RAFT_VOTE_REPLY,
                                                                .term = raft->term,
                                                                .asked_term = raft->term,
                                                                .granted = true}),
                         0);
    }
    assert_int_equal(raft->role, RAFT_LEADER);
    glass_store();
    glass_drop();
}

/* Another node confirms the leader's log up to here. */
static inline void glass_confirm(uint32_t from, uint64_t match)
{
    assert_int_equal(glass_say(from, (struct raft_message){.type = RAFT_APPEND_REPLY,
                                                           .term = glass_raft()->term,
                                                           .index = match,
                                                           .granted = true,
                                                           .match = match}),
                     0);
}

/* Node `from`, the leader of `term`, sends what follows (index, index_term): the entries that were added. */
static inline int glass_append(uint32_t from, uint64_t term, uint64_t index, uint64_t index_term,
                               uint64_t commit)
{
    return glass_say(from, (struct raft_message){.type = RAFT_APPEND,
                                                 .term = term,
                                                 .index = index,
                                                 .index_term = index_term,
                                                 .commit = commit});
}

/* The terms of the log's entries after the first, as digits: "12" for a log of terms 1, 1, 2. */
static inline void glass_expect_log(const char *terms)
{
    const struct raft_log *log = &glass_raft()->log;

    assert_int_equal(raft_log_last(log), strlen(terms) + 1);
    for (uint64_t i = 0; terms[i] != '\0'; i++) {
        assert_int_equal(raft_log_term(log, i + 2), terms[i] - '0');
    }
}

/* Power goes when `kept` of the calls that were not reported have become durable, and comes again. */
static inline void glass_restart(uint32_t kept)
{
    world_crash(1, kept);
    world_boot(&world.nodes[1]);
    glass_drop();
}

#endif
