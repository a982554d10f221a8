/* Nodes on a real loop with real stores; what they send to each other is carried by hand. */
#include "cluster_host.h"

#include "check.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <time.h>

#include "scratch.h"
#include "store_faults.h"

enum { NODES = 3 };

struct host_node {
    struct cluster_host *host;
    uint32_t node, run;
    char path[320];
    uint64_t epoch;
};

struct parcel {
    struct parcel *next;
    uint32_t from, to;
    uint8_t kind;
    uint64_t number;
    size_t size;
    uint8_t body[];
};

static struct {
    uv_loop_t loop;
    uv_timer_t beat;
    struct scratch home;
    struct shared_memory memory;
    struct logger logger;
    int log_fd;
    struct host_node nodes[NODES + 1];
    struct parcel *first, **last;
    int rc;
    bool done;
} world;

static uint64_t clock_ms(void *clock)
{
    struct timespec now;

    (void)clock;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000 + (uint64_t)now.tv_nsec / 1000000;
}

static bool port_send(void *context, uint32_t node, uint8_t kind, uint64_t number,
                      const struct bytes parts[], uint32_t count)
{
    const struct host_node *from = context;
    size_t size = count > 0 ? parts[0].size : 0;

    if (node > NODES || world.nodes[node].host == NULL) {
        return false;
    }
    struct parcel *parcel = malloc(sizeof *parcel + size);
    assert_non_null(parcel);
    *parcel = (struct parcel){NULL, from->node, node, kind, number, size};
    if (size > 0) {
        memcpy(parcel->body, parts[0].data, size);
    }
    *world.last = parcel;
    world.last = &parcel->next;
    return true;
}

static void carry(void)
{
    struct parcel *parcel = world.first;

    world.first = NULL;
    world.last = &world.first;
    while (parcel != NULL) {
        struct parcel *next = parcel->next;
        struct cluster_host *to = world.nodes[parcel->to].host;
        if (to != NULL && world.nodes[parcel->from].host != NULL) {
            assert_true(cluster_receive(cluster_host_cluster(to), cluster_host_now_ms(to),
                                        parcel->from, parcel->kind, parcel->number,
                                        bytes_of(parcel->body, parcel->size)));
        }
        free(parcel);
        parcel = next;
    }
}

static void on_beat(uv_timer_t *timer)
{
    (void)timer;
    carry();
}

static void port_map(void *context, const struct map *map, bool kept)
{
    (void)kept;
    ((struct host_node *)context)->epoch = map->epoch;
}

static void run_once(void)
{
    uv_run(&world.loop, UV_RUN_ONCE);
}

static struct map_text text_of(const char *string)
{
    struct map_text made = {.size = (uint8_t)strlen(string)};

    memcpy(made.bytes, string, made.size);
    return made;
}

static struct map_place place_of(uint32_t node)
{
    uint16_t port = (uint16_t)(7400 + 10 * node);

    return (struct map_place){
        .host = text_of("127.0.0.1"),
        .ports = {port, (uint16_t)(port + 1), (uint16_t)(port + 2), (uint16_t)(port + 3)},
        .start = 1,
        .shards = 1,
    };
}

static struct map_text name_of(uint32_t node)
{
    char name[8];

    snprintf(name, sizeof name, "n%u", node);
    return text_of(name);
}

static int try_start(uint32_t number, bool found, struct bytes seed, char message[512])
{
    struct host_node *node = &world.nodes[number];
    const struct cluster_host_options options = {
        .loop = &world.loop,
        .directory = node->path,
        .cluster =
            {
                .self = {.node = number, .start = 1},
                .run = ++node->run,
                .weight = 800,
                .name = name_of(number),
                .place = place_of(number),
                .liveness = {.heartbeat_ms = 100,
                             .panic_percent = 50,
                             .down_after_ms = 300,
                             .probe_members = 3,
                             .cooldown_ms = 100,
                             .cooldown_max_ms = 1000},
                .found = found,
                .id = 5,
                .replicas = 2,
                .seed = seed,
                .memory = &world.memory.memory,
                .logger = &world.logger,
                .port = {.send = port_send, .map = port_map, .context = node},
            },
    };

    return cluster_host_create(&options, &node->host, message, 512);
}

static struct cluster *start(uint32_t number, bool found, struct bytes seed)
{
    char message[512] = "";

    if (try_start(number, found, seed, message) != 0) {
        fail_msg("%s", message);
    }
    return cluster_host_cluster(world.nodes[number].host);
}

static void stop(uint32_t number)
{
    struct host_node *node = &world.nodes[number];

    cluster_host_destroy(node->host);
    node->host = NULL;
}

static int setup(void **state)
{
    (void)state;
    memset(&world, 0, sizeof world);
    world.last = &world.first;
    scratch_make(&world.home, "/tmp", "belay-cluster");
    world.memory.inner = test_memory();
    pthread_mutex_init(&world.memory.lock, NULL);
    world.memory.memory = (struct memory){.resize = shared_resize};
    world.log_fd = open("/dev/null", O_WRONLY | O_CLOEXEC);
    logger_init(&world.logger, world.log_fd, LOG_FORM_TEXT, LOG_LEVEL_DEBUG, clock_ms, NULL);
    assert_int_equal(uv_loop_init(&world.loop), 0);
    assert_int_equal(uv_timer_init(&world.loop, &world.beat), 0);
    assert_int_equal(uv_timer_start(&world.beat, on_beat, 1, 1), 0);
    for (uint32_t i = 1; i <= NODES; i++) {
        world.nodes[i].node = i;
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
    carry();
    uv_close((uv_handle_t *)&world.beat, NULL);
    uv_run(&world.loop, UV_RUN_DEFAULT);
    assert_int_equal(uv_loop_close(&world.loop), 0);
    logger_fini(&world.logger);
    close(world.log_fd);
    assert_int_equal(world.memory.inner.outstanding_bytes, 0);
    scratch_remove(&world.home);
    return 0;
}

/* ---- */

static void on_done(void *context, const struct cluster_outcome *outcome)
{
    (void)context;
    world.done = true;
    world.rc = outcome->rc;
}

static int decide(uint32_t at, const struct map_command *command)
{
    struct cluster_host *host = world.nodes[at].host;

    world.done = false;
    assert_int_equal(cluster_propose(cluster_host_cluster(host), cluster_host_now_ms(host), command,
                                     on_done, NULL),
                     0);
    while (!world.done) {
        run_once();
    }
    return world.rc;
}

static enum map_state state_of(uint32_t at, uint32_t number)
{
    const struct map *map = cluster_map(cluster_host_cluster(world.nodes[at].host));

    for (uint32_t i = 0; i < map->member_count; i++) {
        if (map->members[i].number == number) {
            return map->members[i].state;
        }
    }
    return (enum map_state)0;
}

/* What was decided is there after a restart, before anybody else is. */
static void test_alone(void **state)
{
    const struct map_command command = {.type = MAP_REPLICAS, .replicas = 3};

    (void)state;
    struct cluster *cluster = start(1, true, bytes_of(NULL, 0));
    assert_true(cluster_is_alone(cluster));
    assert_int_equal(world.nodes[1].epoch, cluster_map(cluster)->epoch);
    assert_int_equal(decide(1, &command), 0);
    uint64_t epoch = cluster_map(cluster)->epoch;
    stop(1);
    cluster = start(1, true, bytes_of(NULL, 0)); /* `found` counts for an empty store only. */
    assert_int_equal(cluster_map(cluster)->epoch, epoch);
    assert_int_equal(cluster_map(cluster)->replicas, 3);
    assert_int_equal(decide(1, &command), -EALREADY);
}

static void test_refused(void **state)
{
    char message[512] = "", path[400];

    (void)state;
    assert_int_equal(try_start(1, false, bytes_of(NULL, 0), message), -ENODATA);
    assert_non_null(strstr(message, "node remove"));
    assert_int_equal(try_start(1, false, text("nonsense"), message), -EBADMSG);
    (void)start(1, true, bytes_of(NULL, 0));
    stop(1);
    snprintf(path, sizeof path, "%s/data.mdb", world.nodes[1].path);
    int fd = open(path, O_WRONLY | O_CLOEXEC);
    assert_true(fd >= 0);
    for (off_t at = 2 * 4096; at < 16 * 4096; at += 64) { /* Behind the pages' heads. */
        assert_int_equal(at % 4096 < 2048 || pwrite(fd, "x", 1, at) == 1, 1);
    }
    close(fd);
    message[0] = '\0';
    assert_int_equal(try_start(1, false, bytes_of(NULL, 0), message), -EBADMSG);
    assert_non_null(strstr(message, "damaged"));
    snprintf(world.nodes[2].path, sizeof world.nodes[2].path, "%s/no/such", world.home.path);
    assert_int_equal(try_start(2, true, bytes_of(NULL, 0), message), -ENOENT);
    assert_non_null(strstr(message, "no/such"));
}

/* Three come together, the leader ends, the others take it out; it comes back. */
static void test_three(void **state)
{
    (void)state;
    (void)start(1, true, bytes_of(NULL, 0));
    for (uint32_t i = 2; i <= NODES; i++) {
        struct buffer seed = {.memory = &world.memory.memory};
        struct map_command add = {
            .type = MAP_ADD, .weight = 800, .name = name_of(i), .place = place_of(i)};
        assert_int_equal(decide(i - 1, &add), 0);
        while (cluster_seed(cluster_host_cluster(world.nodes[i - 1].host), i, &seed) != 0) {
            run_once();
        }
        (void)start(i, false, buffer_bytes(&seed));
        buffer_fini(&seed);
    }
    struct cluster_figures figures = {0};
    for (uint32_t i = 1; i <= NODES; i++) {
        while (figures.voters != NODES || figures.applied != figures.commit ||
               state_of(i, NODES) != MAP_ACTIVE) {
            run_once();
            cluster_figures(cluster_host_cluster(world.nodes[i].host), &figures);
        }
        figures.voters = 0;
    }
    uint32_t leader;
    while ((leader = cluster_leader(cluster_host_cluster(world.nodes[2].host))) == 0) {
        run_once(); /* A slow machine may have lost it just now. */
    }
    uint32_t other = 1 + leader % NODES;
    stop(leader);
    while (state_of(other, leader) != MAP_DOWN) {
        run_once();
    }
    (void)start(leader, false, bytes_of(NULL, 0));
    while (state_of(leader, leader) != MAP_ACTIVE || state_of(other, leader) != MAP_ACTIVE) {
        run_once();
    }
}

#define CASE(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {CASE(test_alone), CASE(test_refused), CASE(test_three)};

    return cmocka_run_group_tests(tests, NULL, NULL);
}
