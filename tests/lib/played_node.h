/* A node that the test plays for a real one, the first of a planes_kit: what it is asked, and whether and what it answers.
 *
 * One shard; the real node has one, too, and owns what planes_kit_tables() gives the first. A thread says that it lives, as
 * replication does: a node that is not heard is not asked.
 */
#ifndef PLAYED_NODE_H
#define PLAYED_NODE_H

#include <pthread.h>

#include "far_frame.h"
#include "peer_frame.h"
#include "planes_kit.h"
#include "replication.h"

struct played {
    struct planes_kit *kit;
    int dialled;  /* Our end of the link that the real node has dialled... */
    int accepted; /* ... and of the one that we have. -1: there is none. */
    pthread_mutex_t lock;
    pthread_t pinger;
    bool over, quiet;
    struct buffer in;
    struct test_memory memory;
};

static inline void played_say_on(int fd, uint8_t kind, uint64_t number, struct bytes body)
{
    uint8_t head[PEER_HEAD_BYTES];

    peer_frame_head_put(head, kind, number, &body, 1);
    (void)!send(fd, head, sizeof head, MSG_NOSIGNAL | MSG_MORE);
    (void)!send(fd, body.data, body.size, MSG_NOSIGNAL);
}

static inline void *played_ping(void *context)
{
    struct played *node = context;
    bool over = false;

    while (!over) {
        usleep(20000);
        pthread_mutex_lock(&node->lock);
        if (node->dialled >= 0 && !node->quiet) {
            played_say_on(node->dialled, REPLICATION_PING, 0, bytes_of(NULL, 0));
        }
        if (node->accepted >= 0 && !node->quiet) {
            played_say_on(node->accepted, REPLICATION_PING, 0, bytes_of(NULL, 0));
        }
        over = node->over;
        pthread_mutex_unlock(&node->lock);
    }
    return NULL;
}

/* Our end of a new link. */
static inline int played_make_link(struct played *node, bool dialled)
{
    int ends[2];

    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, ends), 0);
    const struct plane_link link = {
        .fd = ends[0], .dialled = dialled, .node = 2, .start = 1, .shard = 0, .shards = 1};
    assert_int_equal(plane_link(node->kit->nodes[0].plane, 0, &link), 0);
    return ends[1];
}

static inline void played_link_up(struct played *node)
{
    static const uint8_t nothing[16]; /* Of the real node's stream. */

    pthread_mutex_lock(&node->lock);
    node->dialled = played_make_link(node, true);
    played_say_on(node->dialled, REPLICATION_HELLO, 0, bytes_of(nothing, sizeof nothing));
    if (node->accepted < 0) {
        node->accepted = played_make_link(node, false);
    }
    pthread_mutex_unlock(&node->lock);
}

static inline void played_begin_with(struct played *node, struct planes_kit *kit,
                                     uint32_t silence_ms)
{
    static const uint32_t shards[] = {1, 1};

    planes_kit_init(kit, 2, shards);
    kit->nodes[0].options.cluster.silence_ms = silence_ms;
    plane_kit_start(&kit->nodes[0]);
    planes_kit_tables(kit, 1, 0);
    *node = (struct played){
        .kit = kit,
        .dialled = -1,
        .accepted = -1,
        .lock = PTHREAD_MUTEX_INITIALIZER,
        .memory = test_memory(),
    };
    node->in = (struct buffer){.memory = &node->memory.memory};
    assert_int_equal(pthread_create(&node->pinger, NULL, played_ping, node), 0);
}

static inline void played_begin(struct played *node, struct planes_kit *kit)
{
    played_begin_with(node, kit, 20000);
}

static inline void played_end(struct played *node)
{
    pthread_mutex_lock(&node->lock);
    node->over = true;
    pthread_mutex_unlock(&node->lock);
    pthread_join(node->pinger, NULL);
    if (node->dialled >= 0) {
        close(node->dialled);
    }
    if (node->accepted >= 0) {
        close(node->accepted);
    }
    buffer_fini(&node->in);
    planes_kit_stop(node->kit);
}

static inline void played_read(int fd, uint8_t *to, size_t size)
{
    while (size > 0) {
        ssize_t got = recv(fd, to, size, 0);
        if (got < 0 && errno == EINTR) {
            continue;
        }
        assert_true(got > 0);
        to += got;
        size -= (size_t)got;
    }
}

/* The next request. Of those the frame's number is returned. */
static inline uint64_t played_receive(struct played *node, struct far_request *far)
{
    struct buffer scratch = {.memory = &node->memory.memory};
    struct peer_frame frame;

    do {
        node->in.size = 0;
        assert_int_equal(buffer_reserve(&node->in, PEER_HEAD_BYTES), 0);
        played_read(node->dialled, node->in.data, PEER_HEAD_BYTES);
        int64_t size = peer_frame_size(bytes_of(node->in.data, PEER_HEAD_BYTES), 1 << 20);
        assert_true(size > 0);
        assert_int_equal(buffer_reserve(&node->in, (size_t)size), 0);
        played_read(node->dialled, node->in.data + PEER_HEAD_BYTES, (size_t)size - PEER_HEAD_BYTES);
        assert_int_equal(peer_frame_parse(bytes_of(node->in.data, (size_t)size), &frame), 0);
    } while (frame.kind != PEER_FAR_REQUEST); /* Replication says something, too. */
    assert_int_equal(far_request_read(frame.body, &scratch, far), 0);
    buffer_fini(&scratch);
    return frame.number;
}

/* As played_say_on(), on the link that the real node has dialled. */
static inline void played_say(struct played *node, uint8_t kind, uint64_t number, struct bytes body)
{
    pthread_mutex_lock(&node->lock);
    played_say_on(node->dialled, kind, number, body);
    pthread_mutex_unlock(&node->lock);
}

static inline void played_answer(struct played *node, uint64_t number, const char *reply)
{
    char body[128];

    body[0] = FAR_DONE;
    size_t size = strlen(reply);
    memcpy(body + 1, reply, size);
    played_say(node, PEER_FAR_ANSWER, number, bytes_of(body, 1 + size));
}

/* The link that the real node has dialled ends here. */
static inline void played_hang_up(struct played *node)
{
    pthread_mutex_lock(&node->lock);
    close(node->dialled);
    node->dialled = -1;
    pthread_mutex_unlock(&node->lock);
}

/* The same, and the real node has noticed. */
static inline void played_link_down(struct played *node)
{
    uint32_t lost = atomic_load(&node->kit->lost);

    played_hang_up(node);
    while (atomic_load(&node->kit->lost) == lost) {
        usleep(1000);
    }
}

static inline void played_be_quiet(struct played *node, bool quiet)
{
    pthread_mutex_lock(&node->lock);
    node->quiet = quiet;
    pthread_mutex_unlock(&node->lock);
}

/* A key that the played node owns. */
static inline const char *played_key(uint32_t number)
{
    static char keys[4][16];
    char *key = keys[number];
    uint32_t tries = number * 1000;

    do {
        snprintf(key, sizeof keys[0], "k%u", tries++);
    } while (slot_of_key(bytes_of_string(key)) % 2 != 1);
    return key;
}

#endif
