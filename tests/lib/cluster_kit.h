/* A few nodes' parts of a cluster in one thread: clock, connections and stores in the test's hand. */
#ifndef CLUSTER_KIT_H
#define CLUSTER_KIT_H

#include "check.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <unistd.h>

#include "cluster.h"
#include "logger.h"
#include "raft_disk.h"
#include "random.h"

enum {
    KIT_NODES_MAX = 16, /* Numbers from 1 up. */
    KIT_STEP_MS = 25,
    KIT_STORE_MS = 10,
    KIT_DELAY_MS = 5,
    KIT_PATIENCE_MS = 600 * 1000, /* Of virtual time: then a condition is given up. */
};

struct kit_node {
    struct cluster *cluster; /* NULL: it is down. */
    struct raft_disk disk;
    uint32_t node, start, run;
    uint16_t port;
    const char *zone;
    uint64_t tick_at_ms, stored_at_ms;
    uint64_t commit; /* What is to be kept of it. */
    uint64_t epoch;  /* Published... */
    bool kept;       /* ... and this was said of it. */
    bool behind;     /* What serves there does not go by it yet. */
    uint32_t publications;
};

struct kit_message {
    uint32_t from, to;
    uint64_t at_ms;
    uint8_t kind;
    uint64_t number;
    struct bytes body;
};

struct cluster_kit {
    uint64_t now_ms, random;
    struct test_memory memory;
    struct logger logger;
    int log_fd;
    struct liveness_settings liveness;
    struct kit_node nodes[KIT_NODES_MAX + 1];
    bool cut[KIT_NODES_MAX + 1][KIT_NODES_MAX + 1];
    struct kit_message *messages;
    uint32_t message_count, message_capacity;
    uint32_t loss_percent, repeat_percent;
    /* Of the last proposal. */
    bool done;
    int rc;
    uint64_t epoch;
    uint32_t outcomes;
    bool propose_again; /* From within the outcome. */
};

static struct cluster_kit kit;

/* ---- The port ---- */

static inline struct kit_node *kit_node(uint32_t node)
{
    assert_true(node > 0 && node <= KIT_NODES_MAX);
    return &kit.nodes[node];
}

static inline struct cluster *kit_cluster(uint32_t node)
{
    assert_non_null(kit_node(node)->cluster);
    return kit_node(node)->cluster;
}

static inline const struct map_member *kit_member(uint32_t at, uint32_t node)
{
    const struct map *map = cluster_map(kit_cluster(at));

    for (uint32_t i = 0; i < map->member_count; i++) {
        if (map->members[i].number == node) {
            return &map->members[i];
        }
    }
    return NULL;
}

/* Are these connected? The acceptor lets in whom its map has. */
static inline bool kit_linked(uint32_t from, uint32_t to)
{
    return to <= KIT_NODES_MAX && kit.nodes[from].cluster != NULL &&
           kit.nodes[to].cluster != NULL && !kit.cut[from][to] && kit_member(to, from) != NULL;
}

static inline void kit_post(uint32_t from, uint32_t to, uint8_t kind, uint64_t number,
                            struct bytes body)
{
    if (kit.message_count == kit.message_capacity) {
        kit.message_capacity = 2 * kit.message_capacity + 64;
        kit.messages = realloc(kit.messages, kit.message_capacity * sizeof *kit.messages);
        assert_non_null(kit.messages);
    }
    kit.messages[kit.message_count++] =
        (struct kit_message){from, to, kit.now_ms + KIT_DELAY_MS, kind, number, disk_copy(body)};
}

static inline bool kit_send(void *context, uint32_t node, uint8_t kind, uint64_t number,
                            const struct bytes parts[], uint32_t count)
{
    struct kit_node *from = context;

    assert_true(count <= 1);
    if (node > KIT_NODES_MAX || kit.nodes[node].cluster == NULL || from->cluster == NULL ||
        kit.cut[from->node][node] || kit_member(node, from->node) == NULL) {
        return false;
    }
    struct bytes body = count == 1 ? parts[0] : bytes_of(NULL, 0);
    if (random_below(&kit.random, 100) >= kit.loss_percent) {
        kit_post(from->node, node, kind, number, body);
        if (random_below(&kit.random, 100) < kit.repeat_percent) {
            kit_post(from->node, node, kind, number, body);
        }
    }
    return true;
}

static inline void kit_map(void *context, const struct map *map, bool kept)
{
    struct kit_node *node = context;

    assert_true(map->epoch > node->epoch || (map->epoch == node->epoch && node->kept && !kept));
    assert_true(node->epoch == 0 || node->kept || !kept); /* What was heard stays so. */
    node->epoch = map->epoch;
    node->kept = kept;
    node->publications++;
}

static inline void kit_committed(void *context, uint64_t index)
{
    struct kit_node *node = context;

    assert_true(index > node->commit);
    node->commit = index;
}

static inline void kit_wake_in(void *context, uint32_t ms)
{
    struct kit_node *node = context;
    uint64_t at_ms = kit.now_ms + ms;

    node->tick_at_ms = at_ms < node->tick_at_ms ? at_ms : node->tick_at_ms;
}

/* ---- Nodes ---- */

static inline struct map_text kit_text(const char *string)
{
    struct map_text made = {.size = (uint8_t)strlen(string)};

    memcpy(made.bytes, string, made.size);
    return made;
}

static inline struct map_place kit_place(const struct kit_node *node)
{
    return (struct map_place){
        .host = kit_text("127.0.0.1"),
        .ports = {node->port, (uint16_t)(node->port + 1), (uint16_t)(node->port + 2),
                  (uint16_t)(node->port + 3)},
        .start = node->start,
        .shards = 2,
    };
}

static inline struct map_command kit_add(uint32_t number)
{
    char name[16];

    snprintf(name, sizeof name, "n%u", number);
    return (struct map_command){
        .type = MAP_ADD,
        .weight = 800,
        .name = kit_text(name),
        .zone = kit_text(kit_node(number)->zone),
        .place = kit_place(kit_node(number)),
    };
}

static inline void kit_links(uint32_t of, bool up)
{
    for (uint32_t i = 1; i <= KIT_NODES_MAX; i++) {
        struct cluster *other = kit.nodes[i].cluster;
        if (i != of && other != NULL && !kit.cut[i][of] && kit_member(i, of) != NULL) {
            if (up) {
                cluster_link_up(other, kit.now_ms, of);
            } else {
                cluster_link_down(other, kit.now_ms, of);
            }
        }
    }
}

static inline struct cluster_options kit_options(uint32_t number, struct bytes seed)
{
    struct kit_node *node = kit_node(number);
    const struct map_command add = kit_add(number);

    return (struct cluster_options){
        .self = {.node = number, .start = node->start},
        .run = node->run,
        .weight = add.weight,
        .name = add.name,
        .zone = add.zone,
        .place = add.place,
        .liveness = kit.liveness,
        .random = random_next(&kit.random),
        .found = seed.size == 0,
        .id = 77,
        .replicas = 2,
        .seed = seed,
        .store = &node->disk.store,
        .saved = &node->disk.saved,
        .memory = &kit.memory.memory,
        .logger = &kit.logger,
        .port = {kit_send, kit_map, kit_committed, kit_wake_in, node},
    };
}

/* Begin, with what its disk has, or `seed`, or as a cluster of one. Returns what cluster_create() does. */
static inline int kit_try_start(uint32_t number, struct bytes seed, char message[256])
{
    struct kit_node *node = kit_node(number);
    struct buffer first = {.memory = &kit.memory.memory};
    struct raft_saved saved;

    node->run++;
    node->epoch = 0;
    node->commit = 0;
    node->tick_at_ms = kit.now_ms;
    const struct cluster_options options = kit_options(number, seed);
    int rc = 0;
    if (node->disk.saved.snapshot_index == 0) {
        rc = cluster_first(&options, &first, &saved);
        if (rc == 0) {
            node->disk.saved = saved;
            node->disk.saved.snapshot = disk_copy(saved.snapshot);
        }
    }
    buffer_fini(&first);
    return rc != 0
               ? rc
               : cluster_create(&options, kit.now_ms, &node->cluster, message, sizeof(char[256]));
}

static inline void kit_start(uint32_t number, struct bytes seed)
{
    char message[256] = "";

    if (kit_try_start(number, seed, message) != 0) {
        fail_msg("node %u: %s", number, message);
    }
    kit_links(number, true);
}

static inline void kit_restart(uint32_t number)
{
    kit_node(number)->start++;
    kit_start(number, bytes_of(NULL, 0));
}

static inline void kit_kill(uint32_t number)
{
    struct kit_node *node = kit_node(number);

    cluster_destroy(node->cluster);
    node->cluster = NULL;
    disk_crash(&node->disk);
    kit_links(number, false);
}

/* ---- Time ---- */

static inline void kit_deliver(void)
{
    uint32_t kept = 0, count = kit.message_count;

    for (uint32_t i = 0; i < count; i++) { /* What is sent meanwhile comes behind them. */
        struct kit_message message = kit.messages[i];
        if (message.at_ms > kit.now_ms) {
            kit.messages[kept++] = message;
            continue;
        }
        if (kit_linked(message.from, message.to)) {
            assert_true(cluster_receive(kit_cluster(message.to), kit.now_ms, message.from,
                                        message.kind, message.number, message.body));
        }
        disk_free(&message.body);
    }
    if (kit.message_count > count) {
        memmove(kit.messages + kept, kit.messages + count,
                (kit.message_count - count) * sizeof *kit.messages);
    }
    kit.message_count -= count - kept;
}

static inline void kit_run_node(struct kit_node *node)
{
    if (node->disk.call_count == 0) {
        node->disk.saved.commit = node->commit;
        node->stored_at_ms = kit.now_ms + KIT_STORE_MS;
    } else if (kit.now_ms >= node->stored_at_ms) {
        uint64_t sequence = disk_do(&node->disk, node->disk.call_count);
        node->disk.saved.commit = node->commit;
        node->stored_at_ms = kit.now_ms + KIT_STORE_MS;
        cluster_stored(node->cluster, kit.now_ms, sequence);
    }
    if (kit.now_ms >= node->tick_at_ms) {
        node->tick_at_ms = UINT64_MAX;
        if (!node->behind) {
            cluster_followed(node->cluster, node->epoch);
        }
        cluster_tick(node->cluster, kit.now_ms);
        kit_wake_in(node, cluster_tick_ms(node->cluster));
    }
}

static inline void kit_step(void)
{
    kit.now_ms += KIT_STEP_MS;
    kit_deliver();
    for (uint32_t i = 1; i <= KIT_NODES_MAX; i++) {
        if (kit.nodes[i].cluster != NULL) {
            kit_run_node(&kit.nodes[i]);
        }
    }
}

static inline void kit_run(uint64_t ms)
{
    for (uint64_t end_ms = kit.now_ms + ms; kit.now_ms < end_ms;) {
        kit_step();
    }
}

/* Go on until it holds. */
#define KIT_UNTIL(condition)                                                                       \
    do {                                                                                           \
        uint64_t begin_ms_ = kit.now_ms;                                                           \
        while (!(condition)) {                                                                     \
            kit_step();                                                                            \
            if (kit.now_ms - begin_ms_ > KIT_PATIENCE_MS) {                                        \
                fail_msg("never: %s", #condition);                                                 \
            }                                                                                      \
        }                                                                                          \
    } while (0)

/* ---- What all see ---- */

/* The node that leads in the greatest term; 0: none. */
static inline uint32_t kit_leader(void)
{
    struct cluster_figures figures;
    uint64_t term = 0;
    uint32_t leader = 0;

    for (uint32_t i = 1; i <= KIT_NODES_MAX; i++) {
        if (kit.nodes[i].cluster != NULL) {
            cluster_figures(kit.nodes[i].cluster, &figures);
            if (figures.role == RAFT_LEADER && figures.term > term) {
                term = figures.term;
                leader = i;
            }
        }
    }
    return leader;
}

static inline uint32_t kit_voters(uint32_t at)
{
    struct cluster_figures figures;

    cluster_figures(kit_cluster(at), &figures);
    return figures.voters;
}

/* Do all that are up know of so many voters, and nothing is under way? */
static inline bool kit_all_know(uint32_t voters)
{
    struct cluster_figures figures;
    uint64_t applied = 0;

    for (uint32_t i = 1; i <= KIT_NODES_MAX; i++) {
        if (kit.nodes[i].cluster != NULL) {
            cluster_figures(kit.nodes[i].cluster, &figures);
            applied = applied == 0 ? figures.applied : applied;
            if (figures.voters != voters || figures.applied != applied) {
                return false;
            }
        }
    }
    return true;
}

/* Have all that are up the same map, told to the outside? */
static inline bool kit_agree(void)
{
    uint64_t epoch = 0;

    for (uint32_t i = 1; i <= KIT_NODES_MAX; i++) {
        const struct kit_node *node = &kit.nodes[i];
        if (node->cluster != NULL) {
            epoch = epoch == 0 ? node->epoch : epoch;
            if (node->epoch != epoch || cluster_map(node->cluster)->epoch != epoch) {
                return false;
            }
        }
    }
    return true;
}

static inline void kit_check_equal(void)
{
    struct buffer one = {.memory = &kit.memory.memory}, other = {.memory = &kit.memory.memory};

    for (uint32_t i = 1; i <= KIT_NODES_MAX; i++) {
        if (kit.nodes[i].cluster != NULL) {
            struct buffer *to = one.size == 0 ? &one : &other;
            to->size = 0;
            assert_int_equal(map_encode(cluster_map(kit.nodes[i].cluster), to), 0);
            if (other.size > 0) {
                assert_bytes_equal(buffer_bytes(&one), buffer_bytes(&other));
            }
        }
    }
    buffer_fini(&one);
    buffer_fini(&other);
}

static inline bool kit_is(uint32_t at, uint32_t node, enum map_state state)
{
    const struct map_member *member = kit_member(at, node);

    return member != NULL && member->state == state;
}

/* ---- Proposals ---- */

static inline void kit_done(void *context, const struct cluster_outcome *outcome)
{
    const struct map_command again = {.type = MAP_REPLICAS, .replicas = 2};

    if (kit.propose_again) {
        assert_int_equal(cluster_propose(context, kit.now_ms, &again, kit_done, context),
                         -ECANCELED);
    }
    kit.done = true;
    kit.outcomes++;
    kit.rc = outcome->rc;
    kit.epoch = outcome->epoch;
    assert_non_null(outcome->text);
}

static inline void kit_propose(uint32_t at, const struct map_command *command)
{
    kit.done = false;
    assert_int_equal(
        cluster_propose(kit_cluster(at), kit.now_ms, command, kit_done, kit_cluster(at)), 0);
    assert_false(kit.done);
}

static inline int kit_decide(uint32_t at, const struct map_command *command)
{
    kit_propose(at, command);
    KIT_UNTIL(kit.done);
    return kit.rc;
}

static inline int kit_set_policy(uint32_t at, const char *prefix, uint64_t ttl_ms)
{
    struct map_command command = {.type = MAP_POLICY_SET};

    policy_defaults(&command.policy);
    command.policy.prefix_size = (uint32_t)strlen(prefix);
    memcpy(command.policy.prefix, prefix, command.policy.prefix_size);
    command.policy.rules.idle_ttl_ms = ttl_ms;
    return kit_decide(at, &command);
}

/* A new node enters through `via`. Numbers are given in order. */
static inline void kit_join(uint32_t number, uint32_t via)
{
    const struct map_command add = kit_add(number);
    struct buffer seed = {.memory = &kit.memory.memory};

    assert_int_equal(kit_decide(via, &add), 0);
    assert_non_null(kit_member(via, number));
    KIT_UNTIL(cluster_seed(kit_cluster(via), number, &seed) == 0);
    kit_start(number, buffer_bytes(&seed));
    buffer_fini(&seed);
}

static inline bool kit_all_are(uint32_t count, enum map_state state)
{
    for (uint32_t i = 1; i <= count; i++) {
        for (uint32_t j = 1; j <= count; j++) {
            if (kit.nodes[i].cluster != NULL && !kit_is(i, j, state)) {
                return false;
            }
        }
    }
    return true;
}

/* ---- Life ---- */

static inline uint64_t kit_clock(void *clock)
{
    (void)clock;
    return kit.now_ms;
}

static inline void kit_init(void)
{
    memset(&kit, 0, sizeof kit);
    kit.now_ms = 1000;
    kit.random = 4;
    kit.memory = test_memory();
    kit.liveness = (struct liveness_settings)LIVENESS_SETTINGS_DEFAULT;
    kit.log_fd = open(getenv("KIT_LOG") ? "/dev/stderr" : "/dev/null", O_WRONLY);
    assert_true(kit.log_fd >= 0);
    logger_init(&kit.logger, kit.log_fd, LOG_FORM_TEXT, LOG_LEVEL_DEBUG, kit_clock, NULL);
    for (uint32_t i = 1; i <= KIT_NODES_MAX; i++) {
        disk_init(&kit.nodes[i].disk);
        kit.nodes[i].node = i;
        kit.nodes[i].start = 1;
        kit.nodes[i].port = (uint16_t)(7400 + 10 * i);
        kit.nodes[i].zone = "";
    }
}

/* `count` nodes that know each other. */
static inline void kit_form(uint32_t count)
{
    kit_start(1, bytes_of(NULL, 0));
    for (uint32_t i = 2; i <= count; i++) {
        kit_join(i, 1 + random_below(&kit.random, i - 1));
    }
    uint32_t voters = count >= 5 ? 5 : count >= 3 ? 3 : 1;
    KIT_UNTIL(kit_all_are(count, MAP_ACTIVE) && kit_agree() && kit_leader() != 0 &&
              kit_all_know(voters));
}

static inline void kit_fini(void)
{
    for (uint32_t i = 1; i <= KIT_NODES_MAX; i++) {
        cluster_destroy(kit.nodes[i].cluster);
        disk_fini(&kit.nodes[i].disk);
    }
    for (uint32_t i = 0; i < kit.message_count; i++) {
        disk_free(&kit.messages[i].body);
    }
    free(kit.messages);
    logger_fini(&kit.logger);
    close(kit.log_fd);
    assert_int_equal(kit.memory.outstanding_bytes, 0);
}

#endif
