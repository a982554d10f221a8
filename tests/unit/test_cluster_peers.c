/* Nodes' parts of a cluster over real connections (peers.h) and real stores, on one loop. */
#include "cluster_host.h"
#include "peers.h"

#include "check.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <time.h>

#include "scratch.h"
#include "store_faults.h"

enum { NODES = 3 };

struct real_node {
    struct cluster_host *host;
    struct peers *peers;
    uint32_t node, start;
    char path[320];
};

static struct {
    uv_loop_t loop;
    struct scratch home;
    struct shared_memory memory;
    struct logger logger;
    int log_fd;
    struct real_node nodes[NODES + 1];
    int rc;
    bool done;
} world;

static uint64_t clock_ms(void *clock)
{
    struct timespec now;

    (void)clock;
    clock_gettime(CLOCK_REALTIME, &now);
    return (uint64_t)now.tv_sec * 1000 + (uint64_t)now.tv_nsec / 1000000;
}

static void run_once(void)
{
    uv_run(&world.loop, UV_RUN_ONCE);
}

static struct cluster *cluster_of(uint32_t number)
{
    return cluster_host_cluster(world.nodes[number].host);
}

/* ---- Between cluster and peers ---- */

static bool port_send(void *context, uint32_t node, uint8_t kind, uint64_t number,
                      const struct bytes parts[], uint32_t count)
{
    const struct real_node *from = context;

    return peers_send(from->peers, node, kind, number, parts, count);
}

static void port_map(void *context, const struct map *map, bool kept)
{
    const struct real_node *node = context;
    struct peer_member members[MAP_MEMBERS_MAX];

    (void)kept;
    for (uint32_t i = 0; i < map->member_count; i++) {
        const struct map_member *from = &map->members[i];
        members[i] = (struct peer_member){
            .node = from->number,
            .port = from->place.ports[MAP_PORT_PEER],
            .start = from->place.start,
        };
        memcpy(members[i].host, from->place.host.bytes, from->place.host.size);
    }
    assert_int_equal(peers_set_members(node->peers, map->epoch, members, map->member_count), 0);
}

static void on_up(void *context, uint32_t other, uint32_t start)
{
    const struct real_node *node = context;

    (void)start;
    cluster_link_up(cluster_host_cluster(node->host), cluster_host_now_ms(node->host), other);
}

static void on_down(void *context, uint32_t other)
{
    const struct real_node *node = context;

    cluster_link_down(cluster_host_cluster(node->host), cluster_host_now_ms(node->host), other);
}

static void on_frame(void *context, uint32_t from, const struct peer_frame *frame)
{
    const struct real_node *node = context;

    assert_true(cluster_receive(cluster_host_cluster(node->host), cluster_host_now_ms(node->host),
                                from, frame->kind, frame->number, frame->body));
}

/* ---- Nodes ---- */

static struct map_text text_of(const char *string)
{
    struct map_text made = {.size = (uint8_t)strlen(string)};

    memcpy(made.bytes, string, made.size);
    return made;
}

static struct map_text name_of(uint32_t node)
{
    char name[8];

    snprintf(name, sizeof name, "n%u", node);
    return text_of(name);
}

static void open_peers(uint32_t number)
{
    struct real_node *node = &world.nodes[number];
    char message[512] = "";
    const struct peers_options options = {
        .loop = &world.loop,
        .logger = &world.logger,
        .address = "127.0.0.1",
        .self = {.cluster = "cluster",
                 .secret = "secret",
                 .name = {number, node->start},
                 .shards = 1,
                 .clock_skew_max_ms = 1000,
                 .epoch = 1},
        .now_ms = clock_ms,
        .context = node,
        .control_up = on_up,
        .control_down = on_down,
        .control_frame = on_frame,
    };

    if (peers_create(&options, &node->peers, message, sizeof message) != 0) {
        fail_msg("%s", message);
    }
}

static struct map_place place_of(uint32_t number)
{
    const struct real_node *node = &world.nodes[number];

    return (struct map_place){
        .host = text_of("127.0.0.1"),
        .ports = {1, 2, peers_port(node->peers), 4},
        .start = node->start,
        .shards = 1,
    };
}

static void start_host(uint32_t number, struct bytes seed)
{
    struct real_node *node = &world.nodes[number];
    char message[512] = "";
    const struct cluster_host_options options = {
        .loop = &world.loop,
        .directory = node->path,
        .cluster =
            {
                .self = {.node = number, .start = node->start},
                .run = node->start,
                .weight = 800,
                .name = name_of(number),
                .place = place_of(number),
                .liveness = {.heartbeat_ms = 100,
                             .panic_percent = 50,
                             .down_after_ms = 500,
                             .probe_members = 3,
                             .cooldown_ms = 100,
                             .cooldown_max_ms = 1000},
                .found = number == 1 && seed.size == 0,
                .id = 5,
                .replicas = 2,
                .seed = seed,
                .memory = &world.memory.memory,
                .logger = &world.logger,
                .port = {.send = port_send, .map = port_map, .context = node},
            },
    };

    if (cluster_host_create(&options, &node->host, message, sizeof message) != 0) {
        fail_msg("%s", message);
    }
}

static void stop(uint32_t number)
{
    struct real_node *node = &world.nodes[number];

    peers_destroy(node->peers);
    cluster_host_destroy(node->host);
    node->peers = NULL;
    node->host = NULL;
}

static void restart(uint32_t number)
{
    world.nodes[number].start++;
    open_peers(number); /* At another port. */
    start_host(number, bytes_of(NULL, 0));
}

static void on_done(void *context, const struct cluster_outcome *outcome)
{
    (void)context;
    world.done = true;
    world.rc = outcome->rc;
}

static void join(uint32_t number, uint32_t via)
{
    struct buffer seed = {.memory = &world.memory.memory};

    open_peers(number);
    const struct map_command add = {
        .type = MAP_ADD, .weight = 800, .name = name_of(number), .place = place_of(number)};
    world.done = false;
    assert_int_equal(cluster_propose(cluster_of(via), cluster_host_now_ms(world.nodes[via].host),
                                     &add, on_done, NULL),
                     0);
    while (!world.done) {
        run_once();
    }
    assert_int_equal(world.rc, 0);
    while (cluster_seed(cluster_of(via), number, &seed) != 0) {
        run_once();
    }
    start_host(number, buffer_bytes(&seed));
    buffer_fini(&seed);
}

static int setup(void **state)
{
    (void)state;
    memset(&world, 0, sizeof world);
    scratch_make(&world.home, "/tmp", "belay-cluster");
    world.memory.inner = test_memory();
    pthread_mutex_init(&world.memory.lock, NULL);
    world.memory.memory = (struct memory){.resize = shared_resize};
    world.log_fd = open("/dev/null", O_WRONLY | O_CLOEXEC);
    logger_init(&world.logger, world.log_fd, LOG_FORM_TEXT, LOG_LEVEL_DEBUG, clock_ms, NULL);
    assert_int_equal(uv_loop_init(&world.loop), 0);
    for (uint32_t i = 1; i <= NODES; i++) {
        world.nodes[i].node = i;
        world.nodes[i].start = 1;
        snprintf(world.nodes[i].path, sizeof world.nodes[i].path, "%s/raft-%u", world.home.path, i);
    }
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    for (uint32_t i = 1; i <= NODES; i++) {
        stop(i);
    }
    uv_run(&world.loop, UV_RUN_DEFAULT);
    assert_int_equal(uv_loop_close(&world.loop), 0);
    logger_fini(&world.logger);
    close(world.log_fd);
    assert_int_equal(world.memory.inner.outstanding_bytes, 0);
    scratch_remove(&world.home);
    return 0;
}

/* ---- */

static const struct map_member *member_of(uint32_t at, uint32_t number)
{
    const struct map *map = cluster_map(cluster_of(at));

    for (uint32_t i = 0; i < map->member_count; i++) {
        if (map->members[i].number == number) {
            return &map->members[i];
        }
    }
    return NULL;
}

static bool is(uint32_t at, uint32_t number, enum map_state state)
{
    const struct map_member *member = member_of(at, number);

    return member != NULL && member->state == state;
}

/* Do all that run see three members that are active, three votes, and one leader? */
static bool is_whole(void)
{
    struct cluster_figures figures;
    uint32_t leader = 0;

    for (uint32_t i = 1; i <= NODES; i++) {
        cluster_figures(cluster_of(i), &figures);
        leader = i == 1 ? figures.leader : leader;
        if (figures.members[MAP_ACTIVE] != NODES || figures.voters != NODES || leader == 0 ||
            figures.leader != leader || figures.applied != figures.commit) {
            return false;
        }
    }
    return true;
}

static void form(void)
{
    open_peers(1);
    start_host(1, bytes_of(NULL, 0));
    join(2, 1);
    join(3, 2);
    while (!is_whole()) {
        run_once();
    }
}

static void test_three(void **state)
{
    (void)state;
    form();
}

/* The leader ends; it comes back as another life and at another port, and is found again. */
static void test_leader_ends(void **state)
{
    (void)state;
    form();
    uint32_t leader = cluster_leader(cluster_of(1)), other = 1 + leader % NODES;
    stop(leader);
    while (!is(other, leader, MAP_DOWN)) {
        run_once();
    }
    restart(leader);
    while (!is_whole() || member_of(other, leader)->place.start != 2) {
        run_once();
    }
    assert_int_equal(member_of(other, leader)->place.ports[MAP_PORT_PEER],
                     peers_port(world.nodes[leader].peers));
}

#define CASE(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {CASE(test_three), CASE(test_leader_ends)};

    signal(SIGPIPE, SIG_IGN); /* As the daemon does. */
    return cmocka_run_group_tests(tests, NULL, NULL);
}
