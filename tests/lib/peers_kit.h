/* Nodes of a cluster as far as peers.h goes, on loops of the tests; and connections that are no nodes. */
#ifndef PEERS_KIT_H
#define PEERS_KIT_H

#include "check.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <stdio.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#include "peers.h"

enum { KIT_EVENTS_MAX = 256, KIT_LINKS_MAX = 64, KIT_NODES_MAX = 4 };

struct kit_event {
    char what; /* 'u'p, 'd'own, 'f'rame, 'j'oin. */
    uint32_t node, start;
    uint8_t kind;
    uint64_t number; /* Of a frame. */
    size_t size;     /* Of its body. */
    uint8_t first;   /* Byte of it. */
    uint64_t joiner;
};

struct kit_node {
    struct peers *peers;
    struct peers_options options;
    struct logger logger;
    uint64_t clock_ms;
    bool apart; /* Of another one, as told last. */
    uint32_t apart_told;
    uint32_t event_count;
    struct kit_event events[KIT_EVENTS_MAX];
    uint32_t link_count;
    struct peers_data_link links[KIT_LINKS_MAX]; /* `rest` as text below. */
    char rests[KIT_LINKS_MAX][32];
    int held; /* A socket that keeps its port while it is down, so that nobody else gets it. */
};

static inline struct kit_event *kit_event(struct kit_node *node)
{
    assert_true(node->event_count < KIT_EVENTS_MAX);
    return &node->events[node->event_count++];
}

static inline void kit_up(void *context, uint32_t node, uint32_t start)
{
    *kit_event(context) = (struct kit_event){.what = 'u', .node = node, .start = start};
}

static inline void kit_down(void *context, uint32_t node)
{
    *kit_event(context) = (struct kit_event){.what = 'd', .node = node};
}

static inline void kit_frame(void *context, uint32_t node, const struct peer_frame *frame)
{
    *kit_event(context) = (struct kit_event){
        .what = 'f',
        .node = node,
        .kind = frame->kind,
        .number = frame->number,
        .size = frame->body.size,
        .first = frame->body.size > 0 ? frame->body.data[0] : 0,
    };
}

static inline void kit_join(void *context, uint64_t joiner, const struct peer_frame *frame)
{
    kit_frame(context, 0, frame);
    struct kit_node *node = context;
    node->events[node->event_count - 1].what = 'j';
    node->events[node->event_count - 1].joiner = joiner;
}

static inline void kit_data(void *context, const struct peers_data_link *link)
{
    struct kit_node *node = context;

    assert_true(node->link_count < KIT_LINKS_MAX);
    assert_true(link->rest.size < sizeof node->rests[0]);
    node->links[node->link_count] = *link;
    memcpy(node->rests[node->link_count], link->rest.data, link->rest.size);
    node->link_count++;
}

static inline void kit_apart(void *context, uint32_t number, bool apart)
{
    struct kit_node *node = context;

    assert_true(number != 0);
    node->apart = apart;
    node->apart_told++;
}

static inline uint64_t kit_now_ms(void *clock)
{
    return *(uint64_t *)clock;
}

static inline uint64_t kit_log_ms(void *clock)
{
    (void)clock;
    return 0;
}

/* A socket bound to a port of its own. Nobody listens there, unless he binds it with SO_REUSEADDR, as libuv does. */
static inline int kit_hold(uint16_t *port)
{
    struct sockaddr_in address = {.sin_family = AF_INET};
    socklen_t size = sizeof address;
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    int on = 1;

    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    assert_int_equal(setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on), 0);
    assert_int_equal(bind(fd, (struct sockaddr *)&address, size), 0);
    assert_int_equal(getsockname(fd, (struct sockaddr *)&address, &size), 0);
    *port = ntohs(address.sin_port);
    return fd;
}

static inline void kit_prepare_held(struct kit_node *node, uv_loop_t *loop, uint32_t number,
                                    uint32_t shards, int held, uint16_t port)
{
    memset(node, 0, sizeof *node);
    node->held = held;
    node->clock_ms = 1000000;
    logger_init(&node->logger, STDERR_FILENO, LOG_FORM_TEXT, LOG_LEVEL_ERROR, kit_log_ms, NULL);
    node->options = (struct peers_options){
        .loop = loop,
        .logger = &node->logger,
        .address = "127.0.0.1",
        .port = port,
        .self = {.cluster = {1},
                 .secret = {2},
                 .name = {number, 1},
                 .shards = shards,
                 .clock_skew_max_ms = 1000},
        .now_ms = kit_now_ms,
        .clock = &node->clock_ms,
        .context = node,
        .control_up = kit_up,
        .control_down = kit_down,
        .control_frame = kit_frame,
        .clock_apart = kit_apart,
        .join_frame = kit_join,
    };
}

/* A node of the cluster of the tests; its options may be changed before kit_open(). */
static inline void kit_prepare(struct kit_node *node, uv_loop_t *loop, uint32_t number,
                               uint32_t shards)
{
    uint16_t port;
    int held = kit_hold(&port);

    kit_prepare_held(node, loop, number, shards, held, port);
}

static inline void kit_open(struct kit_node *node)
{
    char message[200] = "";

    if (peers_create(&node->options, &node->peers, message, sizeof message) != 0) {
        fail_msg("%s", message);
    }
    assert_int_equal(peers_port(node->peers), node->options.port);
}

/* Tell `node` that these are the members; each with its port, or 0 where it is not to be dialled. */
static inline void kit_set_members(struct kit_node *node, struct kit_node *const members[],
                                   uint32_t count)
{
    struct peer_member list[KIT_NODES_MAX];

    assert_true(count <= KIT_NODES_MAX);
    for (uint32_t i = 0; i < count; i++) {
        list[i] = (struct peer_member){
            .node = members[i]->options.self.name.node,
            .host = "127.0.0.1",
            .port = members[i]->options.port,
            .start = 1,
        };
    }
    assert_int_equal(peers_set_members(node->peers, 9, list, count), 0);
}

static inline void kit_end_life(struct kit_node *node)
{
    peers_destroy(node->peers);
    node->peers = NULL;
    for (uint32_t i = 0; i < node->link_count; i++) {
        close(node->links[i].fd);
    }
    node->link_count = 0;
    logger_fini(&node->logger);
}

/* It ends, and is to come again at the same port: kit_open() follows. */
static inline void kit_end_and_prepare(struct kit_node *node, uint32_t shards)
{
    const struct peers_options options = node->options;

    kit_end_life(node);
    kit_prepare_held(node, options.loop, options.self.name.node, shards, node->held, options.port);
}

static inline void kit_close(struct kit_node *node)
{
    kit_end_life(node);
    close(node->held);
}

static inline void kit_loop_end(uv_loop_t *loop)
{
    uv_run(loop, UV_RUN_DEFAULT);
    assert_int_equal(uv_loop_close(loop), 0);
}

static inline struct peers_figures kit_figures(const struct kit_node *node)
{
    struct peers_figures figures;

    peers_figures(node->peers, &figures);
    return figures;
}

/* Turn the loop until it is so. */
#define KIT_UNTIL(loop, condition)                                                                 \
    do {                                                                                           \
        uv_run((loop), UV_RUN_NOWAIT);                                                             \
        if (condition) {                                                                           \
            break;                                                                                 \
        }                                                                                          \
        usleep(500);                                                                               \
    } while (true)

/* How many events of this kind there were. */
static inline uint32_t kit_count(const struct kit_node *node, char what)
{
    uint32_t count = 0;

    for (uint32_t i = 0; i < node->event_count; i++) {
        count += node->events[i].what == what;
    }
    return count;
}

static inline const struct kit_event *kit_last(const struct kit_node *node, char what)
{
    for (uint32_t i = node->event_count; i > 0; i--) {
        if (node->events[i - 1].what == what) {
            return &node->events[i - 1];
        }
    }
    return NULL;
}

/* ---- Connections that are no nodes ---- */

static inline int kit_connect(uint16_t port)
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons(port)};
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    assert_true(fd >= 0);
    assert_int_equal(connect(fd, (struct sockaddr *)&address, sizeof address), 0);
    assert_int_equal(fcntl(fd, F_SETFL, O_NONBLOCK), 0);
    return fd;
}

/* -1: it is closed; 0: nothing came; else bytes. */
static inline ssize_t kit_receive(int fd, void *to, size_t size)
{
    ssize_t got = recv(fd, to, size, 0);

    return got > 0 ? got : got < 0 && errno == EAGAIN ? 0 : -1;
}

static inline int kit_listen(uint16_t *port)
{
    struct sockaddr_in address = {.sin_family = AF_INET};
    socklen_t size = sizeof address;
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);

    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    assert_int_equal(bind(fd, (struct sockaddr *)&address, size), 0);
    assert_int_equal(listen(fd, 8), 0);
    assert_int_equal(getsockname(fd, (struct sockaddr *)&address, &size), 0);
    *port = ntohs(address.sin_port);
    return fd;
}

/* Take part in a handshake by hand until it is over; `behind` goes out with the OPEN, whoever may join comes in. */
static inline void kit_talk(uv_loop_t *loop, int fd, struct peer_hello *hello, uint64_t clock_ms,
                            const char *behind)
{
    while (hello->state == PEER_HELLO_MORE || hello->out_size > 0) {
        uint8_t bytes[512];
        if (hello->out_size > 0) {
            bool opens = hello->out[4] == PEER_OPEN;
            assert_int_equal(
                send(fd, hello->out, hello->out_size, MSG_NOSIGNAL | (opens ? MSG_MORE : 0)),
                hello->out_size);
            assert_true(!opens || send(fd, behind, strlen(behind), 0) == (ssize_t)strlen(behind));
            hello->out_size = 0;
            continue;
        }
        uv_run(loop, UV_RUN_NOWAIT);
        ssize_t size = kit_receive(fd, bytes, sizeof bytes);
        if (size < 0) {
            peer_hello_fail(hello, PEER_REFUSED_CLOSED);
        } else if (size > 0) {
            struct bytes input = bytes_of(bytes, (size_t)size);
            if (peer_hello_take(hello, &input, clock_ms) == PEER_HELLO_ASKS) {
                peer_hello_answer(hello, PEER_REFUSED_NONE, NULL);
            }
        }
    }
}

/* A whole handshake with the node of `target`. Returns the socket, or -1: refused, with `hello` telling why. */
static inline int kit_greet(uv_loop_t *loop, struct kit_node *target, const struct peer_self *self,
                            struct peer_wish wish, const char *behind, struct peer_hello *hello)
{
    static uint8_t nonce[PEER_NONCE_BYTES];
    int fd = kit_connect(target->options.port);

    nonce[0]++;
    peer_hello_dial(hello, self, &wish, nonce, target->clock_ms);
    kit_talk(loop, fd, hello, target->clock_ms, behind);
    if (hello->state == PEER_HELLO_DONE) {
        return fd;
    }
    close(fd);
    return -1;
}

#endif
