/* A few members of Raft in one thread: clock, network, stores and machines in the test's hand, and Raft's five
 * properties (paper, figure 3) checked after each event. */
#ifndef RAFT_WORLD_H
#define RAFT_WORLD_H

#include "raft_disk.h"

#include <stdio.h>

#include "raft_bootstrap.h"
#include "random.h"

enum {
    WORLD_NODES_MAX = 7, /* Numbers from 1 up. */
    WORLD_TERMS_MAX = 4096,
    WORLD_INDEX_MAX = 16384,
    WORLD_FORKS_MAX = 16, /* Different entries at one index. */
    WORLD_ELECTION_MS = 150,
    WORLD_HEARTBEAT_MS = 30,
    WORLD_STEP_MS = 5,
};

struct world_node {
    struct raft_net net; /* First: the ports are found by it. */
    struct raft_machine machine;
    struct raft_tracer tracer;
    struct memory memory;
    struct raft_disk disk;
    struct raft raft;
    uint32_t node;
    bool up;
    uint64_t applied, digest; /* The machine's state: a digest of all that was applied. */
    uint64_t stored_at_ms;    /* When the store is done next. */
    uint64_t led_term, led_last, led_digest;
};

struct world_message {
    uint32_t from, to;
    uint64_t at_ms;
    struct bytes bytes;
};

/* An entry with everything before it. */
struct world_fork {
    uint64_t term, digest;
};

struct world_counts {
    uint64_t elections, candidates, commits, saved, installed, members, crashes, truncated,
        no_quorum, handed_over, lost, repeated, changed, proposed, refused, partitions, failures,
        events;
};

struct raft_world {
    uint64_t seed, random, now_ms;
    uint32_t count;
    struct world_node nodes[WORLD_NODES_MAX + 1];
    bool cut[WORLD_NODES_MAX + 1][WORLD_NODES_MAX + 1];
    struct world_message *messages;
    uint32_t message_count, message_capacity;
    uint32_t loss_percent, repeat_percent, delay_ms_max, store_ms_max;
    uint32_t memory_failures, machine_failures; /* One in so many; 0: none. */
    uint64_t memory_requests,
        memory_fail_at;   /* The request of this number (from 1) fails; 0: none. */
    uint32_t state_bytes; /* Of the machine, beside its digest. */
    uint64_t log_bytes;
    uint32_t kept_entries;
    bool keep_commit; /* Stores know of late how far it was committed. */
    /* What is known of all. */
    uint32_t leaders[WORLD_TERMS_MAX];
    struct world_fork forks[WORLD_INDEX_MAX][WORLD_FORKS_MAX];
    struct world_fork committed[WORLD_INDEX_MAX]; /* As applied first. */
    uint64_t commit_term[WORLD_INDEX_MAX]; /* In which term it was committed, at the latest. */
    uint64_t committed_last;
    struct world_counts counts;
};

#define WORLD_CHECK(w, condition)                                                                  \
    do {                                                                                           \
        if (!(condition)) {                                                                        \
            fail_msg("seed %llu at %llu ms: %s", (unsigned long long)(w)->seed,                    \
                     (unsigned long long)(w)->now_ms, #condition);                                 \
        }                                                                                          \
    } while (false)

#define WORLD_NODE(pointer, member)                                                                \
    ((struct world_node *)(void *)((char *)(pointer)-offsetof(struct world_node, member)))

/* One at a time: the ports find it here. */
static struct raft_world world;

static inline bool world_chance(uint32_t one_in)
{
    return one_in > 0 && random_below(&world.random, one_in) == 0;
}

/* ---- Ports ---- */

static void *world_resize(struct memory *memory, void *block, size_t old_size, size_t new_size)
{
    (void)memory;
    (void)old_size;
    if (new_size == 0) {
        free(block);
        return NULL;
    }
    if (world_chance(world.memory_failures) || ++world.memory_requests == world.memory_fail_at) {
        world.counts.failures++;
        return NULL;
    }
    return realloc(block, new_size);
}

static inline void world_post(uint32_t from, uint32_t to, struct bytes bytes)
{
    if (world.message_count == world.message_capacity) {
        world.message_capacity = world.message_capacity * 2 + 64;
        world.messages = realloc(world.messages, world.message_capacity * sizeof *world.messages);
        assert_non_null(world.messages);
    }
    world.messages[world.message_count++] = (struct world_message){
        .from = from,
        .to = to,
        .at_ms = world.now_ms + random_below(&world.random, world.delay_ms_max + 1),
        .bytes = disk_copy(bytes),
    };
}

static void world_send(struct raft_net *net, uint32_t to, struct bytes bytes)
{
    struct world_node *node = (struct world_node *)(void *)net;

    WORLD_CHECK(&world, to >= 1 && to <= world.count && to != node->node);
    /* Nothing is said in a term, or after a vote, that a crash would forget. */
    WORLD_CHECK(&world, node->disk.saved.term == node->raft.term &&
                            node->disk.saved.voted_for == node->raft.voted_for);
    if (random_below(&world.random, 100) < world.loss_percent) {
        world.counts.lost++;
        return;
    }
    world_post(node->node, to, bytes);
    if (random_below(&world.random, 100) < world.repeat_percent) {
        world.counts.repeated++;
        world_post(node->node, to, bytes);
    }
}

static inline uint64_t world_mix(uint64_t digest, uint64_t value)
{
    digest ^= value;
    return random_next(&digest);
}

static inline uint64_t world_chain(uint64_t digest, const struct raft_entry *entry)
{
    digest = world_mix(digest, entry->index);
    digest = world_mix(digest, entry->term);
    digest = world_mix(digest, entry->kind);
    for (size_t i = 0; i < entry->data.size && i < 64; i++) {
        digest = digest * 31 + entry->data.data[i];
    }
    return world_mix(digest, entry->data.size);
}

/* State machine safety: nobody applies another entry at an index. */
static void world_apply(struct raft_machine *machine, const struct raft_entry *entry)
{
    struct world_node *node = WORLD_NODE(machine, machine);

    WORLD_CHECK(&world, entry->index == node->applied + 1 && entry->index < WORLD_INDEX_MAX);
    node->applied = entry->index;
    node->digest = world_chain(node->digest, entry);
    struct world_fork *known = &world.committed[entry->index];
    if (known->term == 0) {
        WORLD_CHECK(&world, entry->index == world.committed_last + 1);
        *known = (struct world_fork){.term = entry->term, .digest = node->digest};
        world.commit_term[entry->index] = node->raft.term;
        world.committed_last = entry->index;
        world.counts.commits++;
    }
    WORLD_CHECK(&world, known->term == entry->term && known->digest == node->digest);
}

static int world_save(struct raft_machine *machine, struct buffer *to)
{
    struct world_node *node = WORLD_NODE(machine, machine);
    uint8_t head[16];

    if (world_chance(world.machine_failures)) {
        world.counts.failures++;
        return -ENOMEM;
    }
    int rc = buffer_reserve(to, sizeof head + world.state_bytes);
    if (rc == 0) {
        store_u64(head, node->applied);
        store_u64(head + 8, node->digest);
        rc = buffer_append(to, bytes_of(head, sizeof head));
        memset(to->data + to->size, (int)node->digest, world.state_bytes);
        to->size += world.state_bytes;
    }
    return rc;
}

static int world_restore(struct raft_machine *machine, uint64_t index, struct bytes state)
{
    struct world_node *node = WORLD_NODE(machine, machine);
    struct reader reader = reader_of(state);

    if (node->up && world_chance(world.machine_failures)) {
        world.counts.failures++;
        return -ENOMEM;
    }
    WORLD_CHECK(&world, read_u64(&reader) == index && index > node->applied);
    node->applied = index;
    node->digest = read_u64(&reader);
    WORLD_CHECK(&world, node->digest == world.committed[index].digest);
    return 0;
}

/* ---- Properties ---- */

/* The digest of a node's log up to an index at or after its base. */
static inline uint64_t world_digest_at(const struct raft *raft, uint64_t index)
{
    uint64_t digest = world.committed[raft->log.base_index].digest;

    for (uint64_t i = raft->log.base_index + 1; i <= index; i++) {
        digest = world_chain(digest, raft_log_at(&raft->log, i));
    }
    return digest;
}

/* Election safety: one leader in a term. Leader completeness: it has all that was committed in terms before. */
static inline void world_check_leader(struct world_node *node)
{
    struct raft *raft = &node->raft;
    uint64_t index = world.committed_last;

    WORLD_CHECK(&world, raft->term < WORLD_TERMS_MAX);
    WORLD_CHECK(&world, world.leaders[raft->term] == 0);
    world.leaders[raft->term] = node->node;
    while (index > 0 && world.commit_term[index] >= raft->term) {
        index--;
    }
    WORLD_CHECK(&world, raft_log_last(&raft->log) >= index);
    WORLD_CHECK(&world, index < raft->log.base_index ||
                            world_digest_at(raft, index) == world.committed[index].digest);
}

static void world_event(struct raft_tracer *tracer, enum raft_event event, uint64_t a, uint64_t b)
{
    struct world_node *node = WORLD_NODE(tracer, tracer);

    (void)a;
    (void)b;
    world.counts.elections += event == RAFT_EVENT_LEADER;
    world.counts.candidates += event == RAFT_EVENT_CANDIDATE;
    world.counts.no_quorum += event == RAFT_EVENT_NO_QUORUM;
    world.counts.members += event == RAFT_EVENT_MEMBERS;
    world.counts.truncated += event == RAFT_EVENT_TRUNCATED;
    world.counts.saved += event == RAFT_EVENT_SAVED;
    world.counts.installed += event == RAFT_EVENT_INSTALLED;
    world.counts.handed_over += event == RAFT_EVENT_HANDED_OVER;
    if (event == RAFT_EVENT_LEADER) {
        world_check_leader(node);
    }
}

/* Log matching: an entry of an index and a term has the same log before it, everywhere. */
static inline void world_check_matching(const struct world_node *node)
{
    const struct raft_log *log = &node->raft.log;
    uint64_t digest = world.committed[log->base_index].digest;

    for (uint64_t index = log->base_index + 1; index <= raft_log_last(log); index++) {
        const struct raft_entry *entry = raft_log_at(log, index);
        struct world_fork *fork = world.forks[index];
        digest = world_chain(digest, entry);
        while (fork->term != 0 && fork->term != entry->term) {
            fork++;
            WORLD_CHECK(&world, fork < world.forks[index] + WORLD_FORKS_MAX);
        }
        if (fork->term == 0) {
            *fork = (struct world_fork){.term = entry->term, .digest = digest};
        }
        WORLD_CHECK(&world, fork->digest == digest);
    }
}

/* Leader append-only. And what a leader has committed is durable with a majority of its voters. */
static inline void world_check_led(struct world_node *node, uint64_t commit_before)
{
    struct raft *raft = &node->raft;
    uint32_t durable = 0;

    if (raft->role != RAFT_LEADER) {
        node->led_term = 0;
        return;
    }
    if (node->led_term == raft->term && node->led_last >= raft->log.base_index) {
        WORLD_CHECK(&world, raft_log_last(&raft->log) >= node->led_last);
        WORLD_CHECK(&world, world_digest_at(raft, node->led_last) == node->led_digest);
    }
    node->led_term = raft->term;
    node->led_last = raft_log_last(&raft->log);
    node->led_digest = world_digest_at(raft, node->led_last);
    if (raft->commit == commit_before || raft->commit <= raft->log.base_index) {
        return;
    }
    for (uint32_t i = 0; i < raft->members.count; i++) {
        const struct raft_member *member = &raft->members.list[i];
        durable += member->voter && disk_has(&world.nodes[member->node].disk, raft->commit,
                                             raft_log_term(&raft->log, raft->commit));
    }
    WORLD_CHECK(&world, raft_log_term(&raft->log, raft->commit) == raft->term); /* 5.4.2. */
    WORLD_CHECK(&world, durable > raft_members_voters(&raft->members) / 2);
}

static inline void world_check(struct world_node *node, uint64_t commit_before)
{
    const struct raft *raft = &node->raft;

    world.counts.events++;
    WORLD_CHECK(&world, raft->commit >= commit_before && raft->applied <= raft->commit);
    WORLD_CHECK(&world, raft->applied == node->applied);
    WORLD_CHECK(&world, raft->commit <= raft_log_last(&raft->log));
    WORLD_CHECK(&world, raft_log_last(&raft->log) < WORLD_INDEX_MAX);
    WORLD_CHECK(&world, raft->log.base_index <= raft->snapshot.index);
    WORLD_CHECK(&world, raft->log.staged == 0);
    if (raft->log.base_index > world.committed_last) {
        fail_msg("seed %llu: a base that nobody applied", (unsigned long long)world.seed);
    }
    world_check_matching(node);
    world_check_led(node, commit_before);
}

/* ---- Events ---- */

static inline void world_store(struct world_node *node, uint32_t calls)
{
    uint64_t commit = node->raft.commit;
    uint64_t sequence = disk_do(&node->disk, calls);

    if (world.keep_commit && node->disk.call_count == 0) {
        node->disk.saved.commit = commit;
    }
    if (sequence > 0) {
        raft_stored(&node->raft, sequence);
        world_check(node, commit);
    }
}

static inline void world_boot(struct world_node *node)
{
    struct raft_ports ports = {.memory = &node->memory,
                               .net = &node->net,
                               .store = &node->disk.store,
                               .machine = &node->machine,
                               .tracer = &node->tracer};
    struct raft_options options = {.node = node->node,
                                   .election_ms = WORLD_ELECTION_MS,
                                   .heartbeat_ms = WORLD_HEARTBEAT_MS,
                                   .log_bytes = world.log_bytes,
                                   .kept_entries = world.kept_entries,
                                   .seed = random_next(&world.random)};
    uint32_t failures = world.memory_failures;

    world.memory_failures = 0;
    node->applied = node->digest = 0;
    node->led_term = 0;
    node->disk.sequence = 0;
    WORLD_CHECK(&world,
                raft_init(&node->raft, &options, &ports, &node->disk.saved, world.now_ms) == 0);
    node->up = true;
    world.memory_failures = failures;
    world_check(node, 0);
}

/* Power goes: of the store's calls the first `kept` have become durable, unreported. */
static inline void world_crash(uint32_t number, uint32_t kept)
{
    struct world_node *node = &world.nodes[number];

    disk_do(&node->disk, kept);
    disk_crash(&node->disk);
    raft_fini(&node->raft);
    node->up = false;
    world.counts.crashes++;
}

/* Nodes 1 to `count`; those to `voters` are the first members. */
static inline void world_init(uint64_t seed, uint32_t count, uint32_t voters)
{
    static const uint32_t numbers[] = {1, 2, 3, 4, 5, 6, 7};

    memset(&world, 0, sizeof world);
    world.seed = seed;
    world.random = seed;
    world.count = count;
    world.now_ms = 1000;
    world.log_bytes = UINT64_C(1) << 40;
    for (uint32_t i = 1; i <= count; i++) {
        struct world_node *node = &world.nodes[i];
        node->node = i;
        node->net.send = world_send;
        node->machine = (struct raft_machine){world_apply, world_save, world_restore};
        node->tracer.event = world_event;
        node->memory.resize = world_resize;
        disk_init(&node->disk);
        world_boot(node);
        if (i <= voters) {
            assert_int_equal(raft_bootstrap(&node->raft, numbers, voters), 0);
        }
        world_store(node, node->disk.call_count);
    }
}

static inline void world_drop_message(uint32_t at)
{
    disk_free(&world.messages[at].bytes);
    world.messages[at] = world.messages[--world.message_count];
}

static inline void world_fini(void)
{
    for (uint32_t i = 1; i <= world.count; i++) {
        if (world.nodes[i].up) {
            raft_fini(&world.nodes[i].raft);
        }
        disk_fini(&world.nodes[i].disk);
    }
    while (world.message_count > 0) {
        world_drop_message(0);
    }
    free(world.messages);
    world.messages = NULL;
    world.message_capacity = 0;
}

static inline void world_deliver(uint32_t at)
{
    struct world_message message = world.messages[at];
    struct world_node *node = &world.nodes[message.to];

    world.messages[at] = world.messages[--world.message_count];
    if (node->up && !world.cut[message.from][message.to]) {
        uint64_t commit = node->raft.commit;
        int rc = raft_receive(&node->raft, message.from, message.bytes);
        WORLD_CHECK(&world, rc == 0 || rc == -ENOMEM || rc == -ENOSPC);
        world_check(node, commit);
    }
    disk_free(&message.bytes);
}

/* WORLD_STEP_MS go by: messages that are due come, stores that are done say so, everybody ticks. */
static inline void world_step(void)
{
    world.now_ms += WORLD_STEP_MS;
    for (uint32_t i = 0; i < world.message_count;) {
        if (world.messages[i].at_ms <= world.now_ms - WORLD_STEP_MS) {
            world_deliver(i);
        } else {
            i++;
        }
    }
    for (uint32_t i = 1; i <= world.count; i++) {
        struct world_node *node = &world.nodes[i];
        if (!node->up) {
            continue;
        }
        if (world.now_ms >= node->stored_at_ms) {
            world_store(node, node->disk.call_count);
            node->stored_at_ms = world.now_ms + random_below(&world.random, world.store_ms_max + 1);
        }
        uint64_t commit = node->raft.commit;
        raft_tick(&node->raft, world.now_ms);
        world_check(node, commit);
    }
}

static inline void world_run(uint64_t ms)
{
    for (uint64_t end = world.now_ms + ms; world.now_ms < end;) {
        world_step();
    }
}

/* The leader of the newest term that is up, or 0. */
static inline uint32_t world_leader(void)
{
    uint32_t leader = 0;

    for (uint32_t i = 1; i <= world.count; i++) {
        const struct world_node *node = &world.nodes[i];
        if (node->up && node->raft.role == RAFT_LEADER &&
            (leader == 0 || node->raft.term > world.nodes[leader].raft.term)) {
            leader = i;
        }
    }
    return leader;
}

/* Goes on until there is a leader that everybody in `members` of it that is up follows. Returns it. */
static inline uint32_t world_elect(void)
{
    for (uint32_t i = 0; i < 10000; i++) {
        uint32_t leader = world_leader();
        bool agreed = leader != 0;
        for (uint32_t k = 1; agreed && k <= world.count; k++) {
            const struct world_node *node = &world.nodes[k];
            bool member = raft_members_find(&world.nodes[leader].raft.members, k) != NULL;
            agreed =
                !node->up || !member || world.cut[leader][k] || world.cut[k][leader] ||
                (node->raft.leader == leader && node->raft.term == world.nodes[leader].raft.term);
        }
        if (agreed) {
            return leader;
        }
        world_step();
    }
    fail_msg("seed %llu: no leader", (unsigned long long)world.seed);
    return 0;
}

/* Goes on until another than this one leads, or nobody does. */
static inline void world_depose(uint32_t leader)
{
    for (uint32_t i = 0; world_leader() == leader; i++) {
        WORLD_CHECK(&world, i < 10000);
        world_step();
    }
}

static inline int world_propose(uint32_t number, const char *command, struct raft_place *place)
{
    struct world_node *node = &world.nodes[number];
    uint64_t commit = node->raft.commit;

    int rc = raft_propose(&node->raft, text(command), place);
    world_check(node, commit);
    return rc;
}

static inline int world_change(uint32_t number, enum raft_change change, uint32_t of)
{
    struct world_node *node = &world.nodes[number];
    uint64_t commit = node->raft.commit;
    struct raft_place place;

    int rc = raft_change(&node->raft, change, of, &place);
    world.counts.changed += rc == 0;
    world_check(node, commit);
    return rc;
}

/* Goes on until every node that is up and a member of the leader's has applied all of the leader's log. */
static inline void world_settle(void)
{
    for (uint32_t i = 0; i < 10000; i++) {
        uint32_t leader = world_leader();
        bool settled = leader != 0;
        for (uint32_t k = 1; settled && k <= world.count; k++) {
            bool member = raft_members_find(&world.nodes[leader].raft.members, k) != NULL;
            settled = !world.nodes[k].up || !member || world.cut[leader][k] ||
                      world.nodes[k].applied == raft_log_last(&world.nodes[leader].raft.log);
        }
        if (settled) {
            return;
        }
        world_step();
    }
    fail_msg("seed %llu: not settled", (unsigned long long)world.seed);
}

static inline void world_isolate(uint32_t number, bool cut)
{
    for (uint32_t i = 1; i <= world.count; i++) {
        if (i != number) {
            world.cut[i][number] = world.cut[number][i] = cut;
        }
    }
}

#endif
