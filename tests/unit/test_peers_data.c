/* Data links: sockets that are given away, at both ends, to other threads, and dialled again when they are lost. */
#include "peers_kit.h"

#include <signal.h>

#include <pthread.h>

static uv_loop_t loop;

static struct kit_node nodes[2];

static void open_two(uint32_t shards, uint32_t other_shards)
{
    struct kit_node *const members[] = {&nodes[0], &nodes[1]};

    assert_int_equal(uv_loop_init(&loop), 0);
    kit_prepare(&nodes[0], &loop, 1, shards);
    kit_prepare(&nodes[1], &loop, 2, other_shards);
    nodes[0].options.data_link = nodes[1].options.data_link = kit_data;
    kit_open(&nodes[0]);
    kit_open(&nodes[1]);
    kit_set_members(&nodes[0], members, 2);
    kit_set_members(&nodes[1], members, 2);
}

static void close_two(void)
{
    kit_close(&nodes[0]);
    kit_close(&nodes[1]);
    kit_loop_end(&loop);
}

/* The link between these shards that `dialler` dialled, as the node has it. */
static struct peers_data_link *find_link(struct kit_node *node, bool dialled, uint32_t local,
                                         uint32_t shard)
{
    for (uint32_t i = node->link_count; i > 0; i--) {
        struct peers_data_link *link = &node->links[i - 1];
        if (link->dialled == dialled && link->local == local && link->shard == shard) {
            return link;
        }
    }
    return NULL;
}

/* 4 and 6 shards: those with the same remainder by 2 meet, so 12 links each way; each leads where it says. */
static void test_all_pairs_that_meet(void **state)
{
    (void)state;
    uint32_t found = 0;

    open_two(4, 6);
    KIT_UNTIL(&loop, nodes[0].link_count == 24 && nodes[1].link_count == 24);
    for (uint32_t local = 0; local < 4; local++) {
        for (uint32_t shard = 0; shard < 6; shard++) {
            struct peers_data_link *here = find_link(&nodes[0], true, local, shard);
            struct peers_data_link *there = find_link(&nodes[1], false, shard, local);
            char text[8] = "";
            assert_int_equal(here != NULL, local % 2 == shard % 2);
            assert_int_equal(there != NULL, local % 2 == shard % 2);
            if (here == NULL) {
                continue;
            }
            found++;
            assert_int_equal(here->node, 2);
            assert_int_equal(here->shards, 6);
            assert_int_equal(there->node, 1);
            assert_int_equal(there->start, 1);
            assert_int_equal(there->shards, 4);
            assert_int_equal(fcntl(here->fd, F_GETFD) & FD_CLOEXEC, FD_CLOEXEC);
            assert_int_equal(fcntl(there->fd, F_GETFD) & FD_CLOEXEC, FD_CLOEXEC);
            assert_int_equal(fcntl(there->fd, F_GETFL) & O_NONBLOCK, O_NONBLOCK);
            snprintf(text, sizeof text, "%u-%u", local, shard);
            assert_int_equal(send(here->fd, text, sizeof text, 0), sizeof text);
            char got[8] = "";
            while (kit_receive(there->fd, got, sizeof got) == 0) {
            }
            assert_string_equal(got, text);
        }
    }
    assert_int_equal(found, 12);
    assert_int_equal(kit_figures(&nodes[0]).data_links, 12);
    close_two();
}

/* What came with the OPEN goes along. */
static void test_rest_goes_along(void **state)
{
    (void)state;
    struct peer_member member = {.node = 5, .start = 1};
    struct peer_hello hello;

    assert_int_equal(uv_loop_init(&loop), 0);
    kit_prepare(&nodes[0], &loop, 1, 2);
    nodes[0].options.data_link = kit_data;
    kit_open(&nodes[0]);
    assert_int_equal(peers_set_members(nodes[0].peers, 1, &member, 1), 0);
    struct peer_self self = nodes[0].options.self;
    self.name.node = 5;
    const struct peer_wish wish = {
        .node = 1, .role = PEER_ROLE_DATA, .shard = 1, .to_shard = 1, .to_shards = 2};
    int fd = kit_greet(&loop, &nodes[0], &self, wish, "and so on", &hello);
    assert_true(fd >= 0);
    KIT_UNTIL(&loop, nodes[0].link_count == 1);
    assert_false(nodes[0].links[0].dialled);
    assert_int_equal(nodes[0].links[0].local, 1);
    assert_int_equal(nodes[0].links[0].shards, 2);
    char got[32] = "";
    memcpy(got, nodes[0].rests[0], nodes[0].links[0].rest.size);
    size_t size = nodes[0].links[0].rest.size;
    while (size < 9) { /* All of it, be it with the OPEN or behind it. */
        ssize_t more = kit_receive(nodes[0].links[0].fd, got + size, sizeof got - size);
        assert_true(more >= 0);
        size += (size_t)more;
    }
    assert_string_equal(got, "and so on");
    close(fd);
    kit_close(&nodes[0]);
    kit_loop_end(&loop);
}

/* Another number of shards than the other end has, and a node that wants no data links. */
static void test_refused(void **state)
{
    (void)state;
    struct peer_member member = {.node = 5, .start = 1};
    struct peer_hello hello;

    assert_int_equal(uv_loop_init(&loop), 0);
    kit_prepare(&nodes[0], &loop, 1, 2);
    nodes[0].options.data_link = kit_data;
    kit_open(&nodes[0]);
    kit_prepare(&nodes[1], &loop, 2, 2);
    kit_open(&nodes[1]);
    assert_int_equal(peers_set_members(nodes[0].peers, 1, &member, 1), 0);
    assert_int_equal(peers_set_members(nodes[1].peers, 1, &member, 1), 0);
    struct peer_self self = nodes[0].options.self;
    self.name.node = 5;
    struct peer_wish wish = {.role = PEER_ROLE_DATA, .to_shards = 3};
    assert_int_equal(kit_greet(&loop, &nodes[0], &self, wish, "", &hello), -1);
    assert_int_equal(hello.refusal, PEER_REFUSED_SHARDS);
    wish.to_shards = 2;
    assert_int_equal(kit_greet(&loop, &nodes[1], &self, wish, "", &hello), -1);
    assert_int_equal(hello.refusal, PEER_REFUSED_BUSY);
    assert_int_equal(nodes[0].link_count, 0);
    close_two();
}

/* One of four is lost, and comes again; a loss that is none (of a link never given, or told twice) does nothing. */
static void test_lost_and_again(void **state)
{
    (void)state;
    open_two(2, 2);
    KIT_UNTIL(&loop, nodes[0].link_count == 4 && nodes[1].link_count == 4);
    struct peers_data_link *link = find_link(&nodes[0], true, 1, 1);
    close(link->fd);
    link->fd = -1;
    peers_link_lost(nodes[0].peers, 1, 2, 1);
    peers_link_lost(nodes[0].peers, 1, 2, 1);
    peers_link_lost(nodes[0].peers, 0, 2, 1);
    peers_link_lost(nodes[0].peers, 0, 77, 0);
    KIT_UNTIL(&loop, nodes[0].link_count == 5 && nodes[1].link_count == 5);
    assert_true(nodes[0].links[4].dialled);
    assert_int_equal(nodes[0].links[4].local, 1);
    assert_int_equal(nodes[0].links[4].shard, 1);
    assert_int_equal(kit_figures(&nodes[0]).data_links, 2);
    for (int i = 0; i < 100; i++) {
        uv_run(&loop, UV_RUN_NOWAIT);
    }
    assert_int_equal(nodes[0].link_count, 5);
    close_two();
}

/* The other node comes again with another number of shards: links between the shards that there are now. */
static void test_other_number_of_shards(void **state)
{
    (void)state;
    struct kit_node *const members[] = {&nodes[0], &nodes[1]};

    open_two(1, 1);
    KIT_UNTIL(&loop, nodes[0].link_count == 2 && nodes[1].link_count == 2);
    kit_end_and_prepare(&nodes[1], 3);
    nodes[1].options.data_link = kit_data;
    kit_open(&nodes[1]);
    kit_set_members(&nodes[1], members, 2);
    /* The link from 0 to 0 still stands, as far as anybody has said: two are dialled here, three there. */
    KIT_UNTIL(&loop, nodes[0].link_count == 2 + 5 && nodes[1].link_count == 5);
    peers_link_lost(nodes[0].peers, 0, 2, 0);
    KIT_UNTIL(&loop, nodes[0].link_count == 2 + 6 && nodes[1].link_count == 6);
    assert_int_equal(kit_figures(&nodes[0]).data_links, 3);
    assert_int_equal(nodes[0].links[7].shards, 3);
    close_two();
}

/* ---- Other threads ---- */

enum { ROUNDS = 50 };

struct carrier {
    pthread_t thread;
    pthread_mutex_t mutex;
    pthread_cond_t changed;
    struct peers *peers;
    int fd; /* -1: none. */
    uint32_t rounds;
    bool ends;
};

static struct carrier carriers[2]; /* Of the dialler, and of the acceptor. */

static int carrier_wait(struct carrier *carrier)
{
    pthread_mutex_lock(&carrier->mutex);
    while (carrier->fd < 0 && !carrier->ends) {
        pthread_cond_wait(&carrier->changed, &carrier->mutex);
    }
    int fd = carrier->fd;
    carrier->fd = -1;
    pthread_mutex_unlock(&carrier->mutex);
    return fd;
}

/* Sends a byte, waits for the end, and says that the link is lost. */
static void *dialler_main(void *context)
{
    struct carrier *carrier = context;
    uint8_t byte = 'x';

    for (int fd = carrier_wait(carrier); fd >= 0; fd = carrier_wait(carrier)) {
        fcntl(fd, F_SETFL, 0);
        (void)!send(fd, &byte, 1, MSG_NOSIGNAL);
        while (recv(fd, &byte, 1, 0) > 0) {
        }
        close(fd);
        peers_link_lost(carrier->peers, 0, 2, 0);
    }
    return NULL;
}

/* Takes a byte, and ends the link. */
static void *acceptor_main(void *context)
{
    struct carrier *carrier = context;
    uint8_t byte = 0;

    for (int fd = carrier_wait(carrier); fd >= 0; fd = carrier_wait(carrier)) {
        fcntl(fd, F_SETFL, 0);
        bool got = recv(fd, &byte, 1, 0) == 1 && byte == 'x';
        close(fd);
        pthread_mutex_lock(&carrier->mutex);
        carrier->rounds += got;
        pthread_mutex_unlock(&carrier->mutex);
    }
    return NULL;
}

static void carry(void *context, const struct peers_data_link *link)
{
    struct carrier *carrier = &carriers[link->dialled ? 0 : 1];

    (void)context;
    pthread_mutex_lock(&carrier->mutex);
    if (carrier->fd >= 0) {
        close(carrier->fd);
    }
    carrier->fd = link->fd;
    pthread_cond_signal(&carrier->changed);
    pthread_mutex_unlock(&carrier->mutex);
}

static uint32_t rounds_done(void)
{
    pthread_mutex_lock(&carriers[1].mutex);
    uint32_t rounds = carriers[1].rounds;
    pthread_mutex_unlock(&carriers[1].mutex);
    return rounds;
}

/* Sockets go from the loop to two threads, which use and end them, and one tells the loop so. */
static void test_threads(void **state)
{
    (void)state;
    struct kit_node *const members[] = {&nodes[0], &nodes[1]};

    assert_int_equal(uv_loop_init(&loop), 0);
    for (uint32_t i = 0; i < 2; i++) {
        kit_prepare(&nodes[i], &loop, i + 1, 1);
        nodes[i].options.data_link = carry;
        kit_open(&nodes[i]);
        carriers[i] = (struct carrier){.peers = nodes[i].peers, .fd = -1};
        pthread_mutex_init(&carriers[i].mutex, NULL);
        pthread_cond_init(&carriers[i].changed, NULL);
    }
    /* The other one knows this one, but does not dial it. */
    struct peer_member member = {.node = 1, .start = 1};
    assert_int_equal(peers_set_members(nodes[1].peers, 1, &member, 1), 0);
    kit_set_members(&nodes[0], members, 2);
    pthread_create(&carriers[0].thread, NULL, dialler_main, &carriers[0]);
    pthread_create(&carriers[1].thread, NULL, acceptor_main, &carriers[1]);
    KIT_UNTIL(&loop, rounds_done() >= ROUNDS);
    assert_int_equal(peers_set_members(nodes[0].peers, 2, NULL, 0), 0); /* No more of them. */
    for (int i = 1; i >= 0; i--) {
        pthread_mutex_lock(&carriers[i].mutex);
        carriers[i].ends = true;
        pthread_cond_signal(&carriers[i].changed);
        pthread_mutex_unlock(&carriers[i].mutex);
        pthread_join(carriers[i].thread, NULL);
        if (carriers[i].fd >= 0) {
            close(carriers[i].fd);
        }
    }
    close_two();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_all_pairs_that_meet),
        cmocka_unit_test(test_rest_goes_along),
        cmocka_unit_test(test_refused),
        cmocka_unit_test(test_lost_and_again),
        cmocka_unit_test(test_other_number_of_shards),
        cmocka_unit_test(test_threads),
    };

    signal(SIGPIPE, SIG_IGN); /* As the daemon does. */
    return cmocka_run_group_tests(tests, NULL, NULL);
}
