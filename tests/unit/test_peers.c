/* Control links between nodes, who is let in, and who is not. */
#include "peers_kit.h"

#include <signal.h>

static uv_loop_t loop;

/* Two nodes that know each other, with so many shards. */
static void open_two(struct kit_node nodes[2], uint32_t shards, uint32_t other_shards)
{
    struct kit_node *const members[] = {&nodes[0], &nodes[1]};

    assert_int_equal(uv_loop_init(&loop), 0);
    kit_prepare(&nodes[0], &loop, 1, shards);
    kit_prepare(&nodes[1], &loop, 2, other_shards);
    kit_open(&nodes[0]);
    kit_open(&nodes[1]);
    kit_set_members(&nodes[0], members, 2);
    kit_set_members(&nodes[1], members, 2);
}

static bool both_ways(const struct kit_node *node)
{
    struct peers_figures figures = kit_figures(node);

    return figures.dialled == 1 && figures.accepted == 1;
}

static void close_two(struct kit_node nodes[2])
{
    kit_close(&nodes[0]);
    kit_close(&nodes[1]);
    kit_loop_end(&loop);
}

/* ---- Control links ---- */

static void test_up_frames_down(void **state)
{
    (void)state;
    static struct kit_node nodes[2];
    static uint8_t large[3 * 1024 * 1024];
    const struct bytes parts[] = {bytes_of("ab", 2), bytes_of(NULL, 0), bytes_of("c", 1)};
    const struct bytes whole = bytes_of(large, sizeof large);

    open_two(nodes, 1, 1);
    assert_false(peers_reaches(nodes[0].peers, 2));
    assert_false(peers_send(nodes[0].peers, 2, PEER_RAFT, 1, parts, 3));
    KIT_UNTIL(&loop, both_ways(&nodes[0]) && both_ways(&nodes[1]));
    assert_int_equal(kit_count(&nodes[0], 'u'), 1);
    assert_int_equal(kit_last(&nodes[0], 'u')->node, 2);
    assert_int_equal(kit_last(&nodes[0], 'u')->start, 1);
    assert_true(peers_reaches(nodes[0].peers, 2));

    memset(large, 'L', sizeof large);
    assert_true(peers_send(nodes[0].peers, 2, PEER_RAFT, 7, parts, 3));
    assert_true(peers_send(nodes[0].peers, 2, PEER_MAP, UINT64_MAX, &whole, 1));
    assert_true(peers_send(nodes[0].peers, 2, PEER_LIVENESS, 8, NULL, 0));
    assert_true(peers_send(nodes[1].peers, 1, PEER_REPORT, 9, parts, 1));
    KIT_UNTIL(&loop, kit_count(&nodes[1], 'f') == 3 && kit_count(&nodes[0], 'f') == 1);
    const struct kit_event *frames = &nodes[1].events[nodes[1].event_count - 3];
    assert_int_equal(frames[0].kind, PEER_RAFT);
    assert_int_equal(frames[0].node, 1);
    assert_int_equal(frames[0].number, 7);
    assert_int_equal(frames[0].size, 3);
    assert_int_equal(frames[1].number, UINT64_MAX);
    assert_int_equal(frames[1].size, sizeof large);
    assert_int_equal(frames[1].first, 'L');
    assert_int_equal(frames[2].kind, PEER_LIVENESS);
    struct peers_figures figures = kit_figures(&nodes[1]);
    assert_int_equal(figures.frames_in, 3);
    assert_int_equal(figures.bytes_in, 3 * PEER_HEAD_BYTES + 3 + sizeof large);
    assert_int_equal(figures.frames_out, 1);
    assert_int_equal(figures.handshakes[PEER_REFUSED_NONE], 2);

    kit_close(&nodes[1]);
    KIT_UNTIL(&loop, kit_count(&nodes[0], 'd') == 1);
    assert_false(peers_reaches(nodes[0].peers, 2));
    assert_int_equal(kit_figures(&nodes[0]).frames_out, 3); /* Counted on. */
    kit_close(&nodes[0]);
    kit_loop_end(&loop);
}

/* Frames behind the OPEN in one packet come to their place, too: what had come already is not lost. */
static void test_frames_behind_the_handshake(void **state)
{
    (void)state;
    static struct kit_node node;
    struct peer_hello hello;
    struct peer_member member = {.node = 5, .start = 1};
    char behind[PEER_HEAD_BYTES + 4] = "";

    assert_int_equal(uv_loop_init(&loop), 0);
    kit_prepare(&node, &loop, 1, 1);
    kit_open(&node);
    assert_int_equal(peers_set_members(node.peers, 1, &member, 1), 0);
    struct peer_self self = node.options.self;
    self.name.node = 5;
    int fd = kit_greet(&loop, &node, &self, (struct peer_wish){.role = PEER_ROLE_CONTROL}, behind,
                       &hello);
    assert_true(fd >= 0);
    KIT_UNTIL(&loop, kit_count(&node, 'u') == 1);
    peer_frame_head_put((uint8_t *)behind, PEER_RAFT, 3, NULL, 0);
    assert_int_equal(send(fd, behind, 7, 0), 7); /* In two pieces. */
    for (int i = 0; i < 20; i++) {
        uv_run(&loop, UV_RUN_NOWAIT);
    }
    assert_int_equal(kit_count(&node, 'f'), 0);
    assert_int_equal(send(fd, behind + 7, PEER_HEAD_BYTES - 7, 0), PEER_HEAD_BYTES - 7);
    KIT_UNTIL(&loop, kit_count(&node, 'f') == 1);
    /* Nobody dials that one: what is for it goes on the link that it dialled. */
    assert_true(peers_send(node.peers, 5, PEER_RAFT, 77, NULL, 0));
    uint8_t got[PEER_HEAD_BYTES];
    size_t size = 0;
    while (size < sizeof got) {
        uv_run(&loop, UV_RUN_NOWAIT);
        ssize_t more = kit_receive(fd, got + size, sizeof got - size);
        assert_true(more >= 0);
        size += (size_t)more;
    }
    assert_int_equal(load_u64(got + 8), 77);
    close(fd);
    KIT_UNTIL(&loop, kit_count(&node, 'd') == 1);
    kit_close(&node);
    kit_loop_end(&loop);
}

/* A node that comes again is found again; another life is told as one, and the old life is not let in any more. */
static void test_another_life(void **state)
{
    (void)state;
    static struct kit_node nodes[2];
    struct kit_node *const members[] = {&nodes[0], &nodes[1]};
    struct peer_hello hello;

    open_two(nodes, 1, 1);
    KIT_UNTIL(&loop, both_ways(&nodes[0]) && both_ways(&nodes[1]));
    struct peer_self old = nodes[1].options.self;
    kit_end_and_prepare(&nodes[1], 1);
    nodes[1].options.self.name.start = 2;
    kit_open(&nodes[1]);
    kit_set_members(&nodes[1], members, 2);
    KIT_UNTIL(&loop, kit_count(&nodes[0], 'u') == 2 && both_ways(&nodes[0]));
    assert_int_equal(kit_count(&nodes[0], 'd'), 1);
    assert_int_equal(kit_last(&nodes[0], 'u')->start, 2);

    int fd = kit_greet(&loop, &nodes[0], &old,
                       (struct peer_wish){.node = 1, .role = PEER_ROLE_CONTROL}, "", &hello);
    assert_int_equal(fd, -1);
    assert_int_equal(hello.refusal, PEER_REFUSED_START);
    assert_true(hello.refused_there);
    assert_true(both_ways(&nodes[0]));

    /* The map does not make it forget what it has met. */
    kit_set_members(&nodes[0], members, 2);
    fd = kit_greet(&loop, &nodes[0], &old, (struct peer_wish){.node = 1, .role = PEER_ROLE_CONTROL},
                   "", &hello);
    assert_int_equal(fd, -1);
    close_two(nodes);
}

/* A newer life, met while links of the older one still look alive: these end, and both are told. */
static void test_another_life_while_the_old_link_lasts(void **state)
{
    (void)state;
    static struct kit_node node;
    struct peer_hello hello;
    struct peer_member member = {.node = 5, .start = 1};
    const struct peer_wish wish = {.node = 1, .role = PEER_ROLE_CONTROL};

    assert_int_equal(uv_loop_init(&loop), 0);
    kit_prepare(&node, &loop, 1, 1);
    kit_open(&node);
    assert_int_equal(peers_set_members(node.peers, 1, &member, 1), 0);
    struct peer_self self = node.options.self;
    self.name.node = 5;
    int first = kit_greet(&loop, &node, &self, wish, "", &hello);
    int again =
        kit_greet(&loop, &node, &self, wish, "", &hello); /* The same life: no one is told. */
    assert_true(first >= 0 && again >= 0);
    uint8_t byte;
    KIT_UNTIL(&loop, kit_receive(first, &byte, 1) < 0);
    assert_int_equal(kit_count(&node, 'u'), 1);
    assert_int_equal(kit_count(&node, 'd'), 0);
    self.name.start = 2;
    int second = kit_greet(&loop, &node, &self, wish, "", &hello);
    KIT_UNTIL(&loop, kit_receive(again, &byte, 1) < 0 && kit_count(&node, 'u') == 2);
    assert_int_equal(kit_count(&node, 'd'), 1);
    assert_int_equal(kit_last(&node, 'u')->start, 2);
    assert_true(peers_reaches(node.peers, 5));
    close(first);
    close(again);
    close(second);
    kit_close(&node);
    kit_loop_end(&loop);
}

/* The other way round: a link that this node dialled to the older life ends when the newer one comes in. */
static void test_another_life_of_who_was_dialled(void **state)
{
    (void)state;
    static struct kit_node node;
    static const uint8_t nonce[PEER_NONCE_BYTES] = {77};
    struct peer_hello hello;
    struct peer_member member = {.node = 5, .host = "127.0.0.1", .start = 1};

    assert_int_equal(uv_loop_init(&loop), 0);
    kit_prepare(&node, &loop, 1, 1);
    kit_open(&node);
    struct peer_self self = node.options.self;
    self.name.node = 5;
    int listening = kit_listen(&member.port);
    assert_int_equal(peers_set_members(node.peers, 1, &member, 1), 0);
    int fd = -1;
    KIT_UNTIL(&loop, (fd = accept4(listening, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC)) >= 0);
    peer_hello_accept(&hello, &self, nonce);
    kit_talk(&loop, fd, &hello, node.clock_ms, "");
    assert_int_equal(hello.state, PEER_HELLO_DONE);
    KIT_UNTIL(&loop, kit_count(&node, 'u') == 1);
    self.name.start = 2;
    close(listening);
    int second =
        kit_greet(&loop, &node, &self, (struct peer_wish){.role = PEER_ROLE_CONTROL}, "", &hello);
    uint8_t byte;
    KIT_UNTIL(&loop, kit_receive(fd, &byte, 1) < 0 && kit_count(&node, 'u') == 2);
    assert_int_equal(kit_count(&node, 'd'), 1);
    close(fd);
    close(second);
    kit_close(&node);
    kit_loop_end(&loop);
}

static void test_members_come_and_go(void **state)
{
    (void)state;
    static struct kit_node nodes[2];
    struct kit_node *const members[] = {&nodes[0], &nodes[1]};
    struct peer_member named = {.node = 2, .host = "localhost", .start = 1};

    assert_int_equal(uv_loop_init(&loop), 0);
    kit_prepare(&nodes[0], &loop, 1, 1);
    kit_prepare(&nodes[1], &loop, 2, 1);
    kit_open(&nodes[0]);
    kit_open(&nodes[1]);
    named.port = nodes[1].options.port;
    /* One knows the other, by a name, but is unknown there. */
    assert_int_equal(peers_set_members(nodes[0].peers, 1, &named, 1), 0);
    KIT_UNTIL(&loop, kit_figures(&nodes[1]).handshakes[PEER_REFUSED_NODE] >= 2 &&
                         kit_figures(&nodes[0]).handshakes[PEER_REFUSED_NODE] >= 2);
    assert_int_equal(kit_count(&nodes[0], 'u') + kit_count(&nodes[1], 'u'), 0);
    kit_set_members(&nodes[1], members, 2);
    KIT_UNTIL(&loop, both_ways(&nodes[0]) && both_ways(&nodes[1]));
    assert_int_equal(peers_set_members(nodes[1].peers, 3, NULL, 0), 0);
    KIT_UNTIL(&loop, kit_count(&nodes[0], 'd') == 1);
    assert_false(peers_reaches(nodes[1].peers, 1));
    assert_int_equal(kit_count(&nodes[1], 'd'), 0); /* It knows. */
    close_two(nodes);
}

static bool was_member(void *context, uint32_t node)
{
    (void)context;
    return node == 1;
}

static void note_removed(void *context, uint32_t node)
{
    *kit_event(context) = (struct kit_event){.what = 'r', .node = node};
}

/* Who was removed is told so, by a map that is newer than its own, and by none that is not. */
static void test_removed(void **state)
{
    (void)state;
    static struct kit_node nodes[2];
    struct peer_member member = {.node = 2, .host = "127.0.0.1", .start = 1};

    assert_int_equal(uv_loop_init(&loop), 0);
    kit_prepare(&nodes[0], &loop, 1, 1);
    kit_prepare(&nodes[1], &loop, 2, 1);
    nodes[0].options.removed = note_removed;
    nodes[1].options.was_member = was_member;
    kit_open(&nodes[0]);
    kit_open(&nodes[1]);
    member.port = nodes[1].options.port;
    assert_int_equal(peers_set_members(nodes[1].peers, 7, NULL, 0), 0);
    assert_int_equal(peers_set_members(nodes[0].peers, 7, &member, 1), 0);
    KIT_UNTIL(&loop, kit_figures(&nodes[0]).handshakes[PEER_REFUSED_NODE] >= 2);
    assert_int_equal(kit_count(&nodes[0], 'r'), 0);
    assert_int_equal(peers_set_members(nodes[1].peers, 8, NULL, 0), 0);
    KIT_UNTIL(&loop, kit_count(&nodes[0], 'r') > 0);
    assert_int_equal(nodes[0].events[nodes[0].event_count - 1].node, 2);
    assert_true(kit_figures(&nodes[1]).handshakes[PEER_REFUSED_REMOVED] > 0);
    close_two(nodes);
}

/* A node has moved: it is found at the new address, though the old one still leads somewhere. */
static void test_another_address(void **state)
{
    (void)state;
    static struct kit_node nodes[3];
    struct peer_member member = {.node = 2, .host = "127.0.0.1", .start = 1};
    struct kit_node *const members[] = {&nodes[0], &nodes[1], &nodes[2]};

    assert_int_equal(uv_loop_init(&loop), 0);
    for (uint32_t i = 0; i < 3; i++) {
        kit_prepare(&nodes[i], &loop, i + 1, 1);
        kit_open(&nodes[i]);
    }
    member.port = nodes[2].options.port;
    kit_set_members(&nodes[2], members, 1);
    assert_int_equal(peers_set_members(nodes[0].peers, 1, &member, 1), 0);
    KIT_UNTIL(&loop, kit_figures(&nodes[0]).handshakes[PEER_REFUSED_NODE] >= 1);
    kit_set_members(&nodes[1], members, 1);
    member.port = nodes[1].options.port;
    assert_int_equal(peers_set_members(nodes[0].peers, 2, &member, 1), 0);
    KIT_UNTIL(&loop, both_ways(&nodes[0]) && both_ways(&nodes[1]));
    for (int i = 0; i < 3; i++) {
        kit_close(&nodes[i]);
    }
    kit_loop_end(&loop);
}

/* A machine that does not answer, as behind a cut: each dial has an end, and the next one comes. */
static void test_no_answer_at_all(void **state)
{
    (void)state;
    static struct kit_node node;
    struct peer_member member = {.node = 5, .host = "127.0.0.1", .start = 1};
    int listening = kit_listen(&member.port);
    int fill[3];

    /* A queue that is full: what else wants to connect gets no answer. */
    assert_int_equal(listen(listening, 0), 0);
    for (size_t i = 0; i < 3; i++) {
        struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons(member.port)};
        address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
        fill[i] = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
        (void)!connect(fill[i], (struct sockaddr *)&address, sizeof address);
    }
    assert_int_equal(uv_loop_init(&loop), 0);
    kit_prepare(&node, &loop, 1, 1);
    kit_open(&node);
    assert_int_equal(peers_set_members(node.peers, 1, &member, 1), 0);
    KIT_UNTIL(&loop, kit_figures(&node).dials_failed == 2);
    assert_int_equal(kit_figures(&node).handshakes[PEER_REFUSED_SLOW], 0);
    for (size_t i = 0; i < 3; i++) {
        close(fill[i]);
    }
    close(listening);
    kit_close(&node);
    kit_loop_end(&loop);
}

/* ---- Who is not let in ---- */

static void test_wrong_secret_and_clock(void **state)
{
    (void)state;
    static struct kit_node nodes[2];
    struct kit_node *const members[] = {&nodes[0], &nodes[1]};

    for (int turn = 0; turn < 2; turn++) {
        enum peer_refusal refusal = turn == 0 ? PEER_REFUSED_SECRET : PEER_REFUSED_CLOCK;
        assert_int_equal(uv_loop_init(&loop), 0);
        kit_prepare(&nodes[0], &loop, 1, 1);
        kit_prepare(&nodes[1], &loop, 2, 1);
        if (turn == 0) {
            nodes[0].options.self.secret[9] ^= 1;
        } else {
            nodes[0].clock_ms += 5000;
        }
        kit_open(&nodes[0]);
        kit_open(&nodes[1]);
        kit_set_members(&nodes[0], members, 2);
        KIT_UNTIL(&loop, kit_figures(&nodes[0]).handshakes[refusal] >= 2 &&
                             kit_figures(&nodes[1]).handshakes[refusal] >= 2);
        assert_int_equal(nodes[0].event_count + nodes[1].event_count, 0);
        assert_int_equal(nodes[0].apart, turn == 1);
        assert_int_equal(nodes[0].apart_told, turn); /* However often it dialled. */
        nodes[0].clock_ms = 1000000;
        if (turn == 1) { /* It was set: now they find each other. */
            kit_set_members(&nodes[1], members, 2);
            KIT_UNTIL(&loop, both_ways(&nodes[0]) && both_ways(&nodes[1]));
            assert_false(nodes[0].apart);
            assert_int_equal(nodes[0].apart_told, 2);
        }
        close_two(nodes);
    }
}

/* Who does not come back does not count as one with another clock for ever; but while another one is there that has, too, it
 * may be this node's. */
static void test_clock_apart_and_gone(void **state)
{
    (void)state;
    static struct kit_node nodes[3];
    struct kit_node *const members[] = {&nodes[0], &nodes[1], &nodes[2]};

    assert_int_equal(uv_loop_init(&loop), 0);
    for (uint32_t i = 0; i < 3; i++) {
        kit_prepare(&nodes[i], &loop, i + 1, 1);
        nodes[i].clock_ms += i == 0 ? 5000 : 0;
        nodes[i].options.apart_ms = 1;
        kit_open(&nodes[i]);
    }
    kit_set_members(&nodes[0], members, 3);
    KIT_UNTIL(&loop, kit_figures(&nodes[0]).handshakes[PEER_REFUSED_CLOCK] >= 6);
    assert_int_equal(nodes[0].apart_told, 2);
    kit_close(&nodes[1]);
    KIT_UNTIL(&loop, kit_figures(&nodes[0]).dials_failed >= 3);
    assert_int_equal(nodes[0].apart_told, 2);
    kit_close(&nodes[2]);
    KIT_UNTIL(&loop, nodes[0].apart_told == 4);
    assert_false(nodes[0].apart);
    kit_close(&nodes[0]);
    kit_loop_end(&loop);
}

/* Silent connections, more than there is room for: each newer one makes room, and nodes find each other all the same. */
static void test_silent_connections(void **state)
{
    (void)state;
    static struct kit_node nodes[2];
    struct kit_node *const members[] = {&nodes[0], &nodes[1]};
    static int silent[PEERS_GREETINGS_MAX + 72];
    const uint32_t count = sizeof silent / sizeof silent[0];

    assert_int_equal(uv_loop_init(&loop), 0);
    kit_prepare(&nodes[0], &loop, 1, 1);
    kit_prepare(&nodes[1], &loop, 2, 1);
    kit_open(&nodes[0]);
    kit_open(&nodes[1]);
    for (uint32_t i = 0; i < count; i++) {
        silent[i] = kit_connect(nodes[1].options.port);
        uv_run(&loop, UV_RUN_NOWAIT);
    }
    KIT_UNTIL(&loop, kit_figures(&nodes[1]).handshakes[PEER_REFUSED_CROWDED] > 0);
    assert_true(kit_figures(&nodes[1]).greetings <= PEERS_GREETINGS_MAX);
    kit_set_members(&nodes[0], members, 2);
    kit_set_members(&nodes[1], members, 2);
    KIT_UNTIL(&loop, both_ways(&nodes[0]) && both_ways(&nodes[1]));
    /* In the end their time is over, too. */
    KIT_UNTIL(&loop, kit_figures(&nodes[1]).greetings == 0);
    assert_true(kit_figures(&nodes[1]).handshakes[PEER_REFUSED_SLOW] > 0);
    for (uint32_t i = 0; i < count; i++) {
        uint8_t byte;
        KIT_UNTIL(&loop, kit_receive(silent[i], &byte, 1) == -1);
        close(silent[i]);
    }
    close_two(nodes);
}

/* A byte from time to time does not lengthen the time that there is. */
static void test_slow_dribble(void **state)
{
    (void)state;
    static struct kit_node node;
    uint8_t byte = 60;

    assert_int_equal(uv_loop_init(&loop), 0);
    kit_prepare(&node, &loop, 1, 1);
    kit_open(&node);
    int fd = kit_connect(node.options.port);
    for (uint32_t turn = 0; kit_figures(&node).handshakes[PEER_REFUSED_SLOW] == 0; turn++) {
        if (turn % 200 == 0 && turn < 200 * PEER_HEAD_BYTES) {
            (void)!send(fd, &byte, 1, MSG_NOSIGNAL);
            byte = turn == 0 ? 0 : turn == 600 ? PEER_HELLO : 0;
        }
        uv_run(&loop, UV_RUN_NOWAIT);
        usleep(500);
    }
    KIT_UNTIL(&loop, kit_receive(fd, &byte, 1) == -1);
    close(fd);
    kit_close(&node);
    kit_loop_end(&loop);
}

static void test_garbage_and_cuts(void **state)
{
    (void)state;
    static struct kit_node node;
    uint8_t byte;

    assert_int_equal(uv_loop_init(&loop), 0);
    kit_prepare(&node, &loop, 1, 1);
    kit_open(&node);
    int fd = kit_connect(node.options.port);
    assert_int_equal(send(fd, "GET / HTTP/1.1\r\nHost: x\r\n\r\n", 27, 0), 27);
    KIT_UNTIL(&loop, kit_receive(fd, &byte, 1) < 0);
    assert_int_equal(kit_figures(&node).handshakes[PEER_REFUSED_GARBAGE], 1);
    close(fd);
    fd = kit_connect(node.options.port);
    assert_int_equal(send(fd, "<\0\0", 3, 0), 3);
    close(fd);
    KIT_UNTIL(&loop, kit_figures(&node).handshakes[PEER_REFUSED_CLOSED] == 1);
    assert_int_equal(kit_figures(&node).greetings, 0);
    kit_close(&node);
    kit_loop_end(&loop);
}

/* What is wrong behind the handshake ends the link: a frame of another module's, one too large, one that is none. */
static void test_bad_frames(void **state)
{
    (void)state;
    static struct kit_node node;
    struct peer_member member = {.node = 5, .start = 1};

    for (int turn = 0; turn < 4; turn++) {
        struct peer_hello hello;
        uint8_t head[PEER_HEAD_BYTES], byte;
        assert_int_equal(uv_loop_init(&loop), 0);
        kit_prepare(&node, &loop, 1, 1);
        kit_open(&node);
        assert_int_equal(peers_set_members(node.peers, 1, &member, 1), 0);
        struct peer_self self = node.options.self;
        self.name.node = 5;
        int fd = kit_greet(&loop, &node, &self, (struct peer_wish){.role = PEER_ROLE_CONTROL}, "",
                           &hello);
        assert_true(fd >= 0);
        peer_frame_head_put(head, turn == 0 ? PEER_REPLICATION_FIRST : PEER_RAFT, 0, NULL, 0);
        if (turn == 1) {
            store_u32(head, PEERS_BODY_BYTES_MAX + 1);
        } else if (turn == 2) {
            head[16] ^= 1;
        } else if (turn == 3) {
            head[5] = 1;
        }
        assert_int_equal(send(fd, head, sizeof head, 0), sizeof head);
        KIT_UNTIL(&loop, kit_receive(fd, &byte, 1) < 0);
        KIT_UNTIL(&loop, kit_count(&node, 'd') == 1);
        assert_int_equal(kit_count(&node, 'f'), 0);
        close(fd);
        kit_close(&node);
        kit_loop_end(&loop);
    }
}

/* Who takes nothing is sent no more than the bound: heartbeats are dropped, anything else cuts the link. */
static void test_slow_receiver(void **state)
{
    (void)state;
    static struct kit_node node;
    static uint8_t body[1024 * 1024];
    struct peer_member member = {.node = 5, .start = 1};
    const struct bytes part = bytes_of(body, sizeof body);
    struct peer_hello hello;

    assert_int_equal(uv_loop_init(&loop), 0);
    kit_prepare(&node, &loop, 1, 1);
    kit_open(&node);
    assert_int_equal(peers_set_members(node.peers, 1, &member, 1), 0);
    struct peer_self self = node.options.self;
    self.name.node = 5;
    int fd =
        kit_greet(&loop, &node, &self, (struct peer_wish){.role = PEER_ROLE_CONTROL}, "", &hello);
    KIT_UNTIL(&loop, kit_count(&node, 'u') == 1);
    uint32_t sent = 0;
    while (peers_send(node.peers, 5, PEER_LIVENESS, 0, &part, 1)) {
        sent++;
        uv_run(&loop, UV_RUN_NOWAIT);
    }
    assert_true(sent >= PEERS_QUEUE_BYTES_MAX / sizeof body - 1);
    assert_true(sent < 64); /* What the kernel has room for is not much. */
    assert_int_equal(kit_figures(&node).dropped, 1);
    assert_true(peers_reaches(node.peers, 5));
    assert_false(peers_send(node.peers, 5, PEER_RAFT, 0, &part, 1));
    assert_false(peers_reaches(node.peers, 5));
    assert_int_equal(kit_count(&node, 'd'), 0); /* Not from within the call. */
    KIT_UNTIL(&loop, kit_count(&node, 'd') == 1);
    close(fd);
    kit_close(&node);
    kit_loop_end(&loop);
}

/* ---- The rest ---- */

static void test_port_taken(void **state)
{
    (void)state;
    static struct kit_node nodes[2];
    char message[200];

    assert_int_equal(uv_loop_init(&loop), 0);
    kit_prepare(&nodes[0], &loop, 1, 1);
    kit_open(&nodes[0]);
    kit_prepare(&nodes[1], &loop, 2, 1);
    nodes[1].options.port = nodes[0].options.port;
    assert_int_equal(peers_create(&nodes[1].options, &nodes[1].peers, message, sizeof message),
                     -EADDRINUSE);
    assert_non_null(strstr(message, "listen.peer_port"));
    nodes[1].options.address = "no address";
    assert_int_equal(peers_create(&nodes[1].options, &nodes[1].peers, message, sizeof message),
                     -EINVAL);
    kit_close(&nodes[0]);
    logger_fini(&nodes[1].logger);
    close(nodes[1].held);
    kit_loop_end(&loop);
}

/* Ended at every moment of its life, with dials, look-ups, handshakes and links under way: nothing is left. */
static void test_end_at_any_time(void **state)
{
    (void)state;
    static struct kit_node nodes[2];

    for (uint32_t turns = 0; turns < 40; turns++) {
        struct peer_member members[] = {
            {.node = 2, .host = "127.0.0.1", .start = 1},
            {.node = 3, .host = "localhost", .port = 1},
            {.node = 4, .host = "127.0.0.1", .port = 1},
        };
        assert_int_equal(uv_loop_init(&loop), 0);
        kit_prepare(&nodes[0], &loop, 1, 2);
        kit_prepare(&nodes[1], &loop, 2, 3);
        nodes[0].options.data_link = nodes[1].options.data_link = kit_data;
        kit_open(&nodes[0]);
        kit_open(&nodes[1]);
        members[0].port = nodes[1].options.port;
        assert_int_equal(peers_set_members(nodes[0].peers, 1, members, 3), 0);
        members[0].node = 1;
        members[0].port = nodes[0].options.port;
        assert_int_equal(peers_set_members(nodes[1].peers, 1, members, 3), 0);
        for (uint32_t i = 0; i < turns; i++) {
            uv_run(&loop, UV_RUN_NOWAIT);
        }
        close_two(nodes);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_up_frames_down),
        cmocka_unit_test(test_frames_behind_the_handshake),
        cmocka_unit_test(test_another_life),
        cmocka_unit_test(test_another_life_while_the_old_link_lasts),
        cmocka_unit_test(test_another_life_of_who_was_dialled),
        cmocka_unit_test(test_members_come_and_go),
        cmocka_unit_test(test_removed),
        cmocka_unit_test(test_another_address),
        cmocka_unit_test(test_no_answer_at_all),
        cmocka_unit_test(test_wrong_secret_and_clock),
        cmocka_unit_test(test_clock_apart_and_gone),
        cmocka_unit_test(test_silent_connections),
        cmocka_unit_test(test_slow_dribble),
        cmocka_unit_test(test_garbage_and_cuts),
        cmocka_unit_test(test_bad_frames),
        cmocka_unit_test(test_slow_receiver),
        cmocka_unit_test(test_port_taken),
        cmocka_unit_test(test_end_at_any_time),
    };

    signal(SIGPIPE, SIG_IGN); /* As the daemon does. */
    return cmocka_run_group_tests(tests, NULL, NULL);
}
