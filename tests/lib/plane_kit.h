/* A data plane for tests: real threads, rings, shards and sockets on a free loopback port, a log in
 * files that vanish, and a small blocking client.
 *
 * The pool of segments is this file's: it hands out fresh files of `segment_bytes`, or an error where
 * a test asks for it.
 */
#ifndef PLANE_KIT_H
#define PLANE_KIT_H

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdatomic.h>
#include <stdio.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "belay.pb-c.h"
#include "change.h"
#include "check.h"
#include "frame.h"
#include "plane.h"
#include "staging_kit.h"

enum {
    PLANE_KIT_SHARDS_MAX = 4,
    PLANE_KIT_SEGMENTS_MAX = 64,
    PLANE_KIT_PATIENCE_S = 120, /* The machine may be slow: what takes longer never comes. */
    PLANE_KIT_TRIES_MAX = PLANE_KIT_PATIENCE_S * 200,
};

/* ---- Segments ---- */

struct segments {
    uint64_t segment_bytes;
    const char *path; /* NULL: temporary files. */
    uint32_t count;
    int fds[PLANE_KIT_SEGMENTS_MAX];
    uint64_t lsns[PLANE_KIT_SEGMENTS_MAX];
    uint64_t seals[PLANE_KIT_SEGMENTS_MAX]; /* End LSN, 0: not sealed. */
    _Atomic int error;                      /* What segments_take() returns instead. */
    _Atomic uint32_t refused;               /* How often it did. */
};

static int plane_kit_file(uint64_t bytes)
{
    int fd = open("/var/tmp", O_TMPFILE | O_RDWR | O_DIRECT | O_DSYNC, 0600);

    if (fd < 0 || posix_fallocate(fd, 0, (off_t)bytes) != 0) {
        return -1;
    }
    return fd;
}

int segments_take(struct segments *segments, uint64_t lsn, struct segment *segment)
{
    int error = atomic_load(&segments->error);

    if (error != 0) {
        atomic_fetch_add(&segments->refused, 1);
        return error;
    }
    assert_true(segments->count < PLANE_KIT_SEGMENTS_MAX);
    uint32_t id = segments->count++;
    segments->fds[id] = segments->path != NULL ? open(segments->path, O_RDWR)
                                               : plane_kit_file(segments->segment_bytes);
    assert_true(segments->fds[id] >= 0);
    segments->lsns[id] = lsn;
    *segment = (struct segment){
        .fd = segments->fds[id],
        .id = id,
        .epoch = {.number = id + 1, .salt = 77 + id},
        .size = segments->segment_bytes,
        .lsn = lsn,
    };
    return 0;
}

bool segments_has_ready(struct segments *segments)
{
    return atomic_load(&segments->error) == 0;
}

void segments_seal(struct segments *segments, uint32_t id, const struct segment_end *end)
{
    assert_true(id < segments->count && segments->seals[id] == 0);
    segments->seals[id] = end->lsn;
}

static inline void segments_close(struct segments *segments)
{
    for (uint32_t i = 0; i < segments->count; i++) {
        close(segments->fds[i]);
    }
}

/* ---- The plane ---- */

struct plane_kit {
    struct plane_options options;
    struct plane *plane;
    struct policy policy; /* Of all keys. */
    struct policies policies;
    struct test_memory memory[PLANE_KIT_SHARDS_MAX];
    struct shard *shards[PLANE_KIT_SHARDS_MAX];
    struct segments segments[PLANE_KIT_SHARDS_MAX];
    struct staging staging[PLANE_KIT_SHARDS_MAX];
    _Atomic int64_t skew_ms;
    void (*restore)(
        struct plane_kit *kit); /* What the shards have before they serve; NULL: nothing. */
};

static uint64_t plane_kit_now_ms(void *clock)
{
    struct plane_kit *kit = clock;
    struct timespec now;

    clock_gettime(CLOCK_REALTIME, &now);
    return (uint64_t)now.tv_sec * 1000 + (uint64_t)now.tv_nsec / 1000000 +
           (uint64_t)atomic_load(&kit->skew_ms);
}

/* Defaults, which a test changes before plane_kit_start(). */
static inline void plane_kit_init(struct plane_kit *kit, uint32_t shards)
{
    *kit = (struct plane_kit){
        .options =
            {
                .node_name = "test",
                .address = "127.0.0.1",
                .shard_count = shards,
                .limits =
                    {
                        .connections = 1000,
                        .in_flight = 1024,
                        .frame_bytes = 8 * 1024 * 1024,
                        .output_bytes = 4 * 1024 * 1024,
                        .queue_delay_ms = 10000,
                        .log_interval_ms = 5,
                    },
                .actor = {1, 1},
                .now_ms = plane_kit_now_ms,
            },
    };
    policy_defaults(&kit->policy);
    for (uint32_t i = 0; i < shards; i++) {
        kit->segments[i].segment_bytes = 64 * 1024 * 1024;
    }
}

static inline void plane_kit_start(struct plane_kit *kit)
{
    char message[512] = "";

    kit->options.clock = kit;
    assert_int_equal(policies_init(&kit->policies, &kit->policy, 1), 0);
    if (plane_create(&kit->options, &kit->plane, message, sizeof message) != 0) {
        fail_msg("%s", message);
    }
    for (uint32_t i = 0; i < kit->options.shard_count; i++) {
        kit->memory[i] = test_memory();
        struct shard_options options = {
            .index = i,
            .seed = 42,
            .actor = kit->options.actor,
            .queue_delay_ms = kit->options.limits.queue_delay_ms,
            .policies = &kit->policies,
            .memory = &kit->memory[i].memory,
            .log = plane_log_port(kit->plane, i),
            .door = plane_door(kit->plane, i),
            .tracer = plane_tracer(kit->plane, i),
        };
        assert_int_equal(shard_create(&options, &kit->shards[i]), 0);
        shard_restore_done(kit->shards[i], plane_kit_now_ms(kit));
        staging_kit_open(&kit->staging[i]);
        plane_attach(kit->plane, i, kit->shards[i], &kit->segments[i], &kit->staging[i], 0);
    }
    if (kit->restore != NULL) {
        kit->restore(kit);
    }
    assert_int_equal(plane_start(kit->plane), 0);
}

static inline void plane_kit_stop(struct plane_kit *kit)
{
    plane_stop(kit->plane);
    plane_destroy(kit->plane);
    for (uint32_t i = 0; i < kit->options.shard_count; i++) {
        shard_destroy(kit->shards[i]);
        assert_int_equal(kit->memory[i].outstanding_bytes, 0);
        segments_close(&kit->segments[i]);
        staging_kit_close(&kit->staging[i]);
    }
}

/* Counters of a shard. */
static inline struct plane_shard_stats plane_kit_shard_stats(struct plane_kit *kit, uint32_t shard)
{
    struct plane_shard_stats stats;
    int rc;

    do { /* A sanitizer on a busy machine may make a turn last longer than the second it waits. */
        rc = plane_stats(kit->plane, shard, &stats);
    } while (rc == -ETIMEDOUT);
    assert_int_equal(rc, 0);
    return stats;
}

/* Wait until it is so, such as that a counter is as wanted; everything that leads there is under way. */
#define plane_kit_until(condition)                                                                 \
    do {                                                                                           \
        for (int tries_ = 0; !(condition); tries_++) {                                             \
            if (tries_ == PLANE_KIT_TRIES_MAX) {                                                   \
                fail_msg("never: %s", #condition);                                                 \
            }                                                                                      \
            usleep(5000);                                                                          \
        }                                                                                          \
    } while (0)

/* Counters of all shards together. */
static inline struct plane_shard_stats plane_kit_stats(struct plane_kit *kit)
{
    struct plane_shard_stats all = {0};

    for (uint32_t i = 0; i < kit->options.shard_count; i++) {
        struct plane_shard_stats one = plane_kit_shard_stats(kit, i);
        all.connections += one.connections;
        all.accepted += one.accepted;
        all.refused_connections += one.refused_connections;
        all.frames_bad += one.frames_bad;
        all.hops += one.hops;
        all.output_limited += one.output_limited;
        all.bytes_in += one.bytes_in;
        all.buffer_bytes += one.buffer_bytes;
        all.shard.live += one.shard.live;
        all.log.records += one.log.records;
        all.log.device_writes += one.log.device_writes;
    }
    return all;
}

/* ---- The client ---- */

struct plane_client {
    int fd;
    uint64_t next_id;
    struct test_memory memory;
    struct buffer in, out;
};

static inline void plane_client_connect_port(struct plane_client *client, uint16_t port)
{
    struct sockaddr_in to = {.sin_family = AF_INET, .sin_port = htons(port)};
    struct timeval patience = {.tv_sec = PLANE_KIT_PATIENCE_S};

    *client = (struct plane_client){.fd = socket(AF_INET, SOCK_STREAM, 0), .memory = test_memory()};
    client->in.memory = client->out.memory = &client->memory.memory;
    to.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    assert_int_equal(setsockopt(client->fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience),
                     0);
    assert_int_equal(setsockopt(client->fd, SOL_SOCKET, SO_SNDTIMEO, &patience, sizeof patience),
                     0);
    if (connect(client->fd, (struct sockaddr *)&to, sizeof to) != 0) {
        /* Interrupted by the end of an io_uring that this thread had made: it goes on by itself. */
        struct pollfd ready = {.fd = client->fd, .events = POLLOUT};
        int error = -1;
        socklen_t size = sizeof error;
        assert_int_equal(errno, EINTR);
        while (poll(&ready, 1, -1) < 0) {
            assert_int_equal(errno, EINTR);
        }
        assert_int_equal(getsockopt(client->fd, SOL_SOCKET, SO_ERROR, &error, &size), 0);
        assert_int_equal(error, 0);
    }
}

static inline void plane_client_connect(struct plane_client *client, struct plane_kit *kit)
{
    plane_client_connect_port(client, plane_port(kit->plane));
}

static inline void plane_client_close(struct plane_client *client)
{
    close(client->fd);
    buffer_fini(&client->in);
    buffer_fini(&client->out);
}

/* As recv(), with no flags; goes on where the end of an io_uring that this thread had made interrupts it. */
static inline ssize_t plane_client_recv(struct plane_client *client, void *to, size_t size)
{
    ssize_t got;

    do {
        got = recv(client->fd, to, size, 0);
    } while (got < 0 && errno == EINTR);
    return got;
}

/* Send bytes as they are. */
static inline void plane_client_send(struct plane_client *client, struct bytes bytes)
{
    while (bytes.size > 0) {
        ssize_t sent = send(client->fd, bytes.data, bytes.size, MSG_NOSIGNAL);
        if (sent < 0 && errno == EINTR) {
            continue;
        }
        assert_true(sent > 0);
        bytes = bytes_of(bytes.data + sent, bytes.size - (size_t)sent);
    }
}

/* Add a frame to what plane_client_flush() sends. Returns its request id. */
static inline uint64_t plane_client_add(struct plane_client *client, uint8_t type,
                                        const ProtobufCMessage *head, struct bytes value)
{
    uint8_t packed[HEAD_BYTES_MAX];
    size_t size = head == NULL ? 0 : protobuf_c_message_pack(head, packed);
    uint8_t header[FRAME_HEADER_BYTES];

    frame_header_put(header, type, 0, ++client->next_id, bytes_of(packed, size), value);
    assert_int_equal(buffer_append(&client->out, bytes_of(header, sizeof header)), 0);
    assert_int_equal(buffer_append(&client->out, bytes_of(packed, size)), 0);
    assert_int_equal(buffer_append(&client->out, value), 0);
    return client->next_id;
}

static inline void plane_client_flush(struct plane_client *client)
{
    plane_client_send(client, buffer_bytes(&client->out));
    client->out.size = 0;
}

/* Receive until a whole frame is there. Returns false at the end of the stream. The frame is good until
 * the next call. */
static inline bool plane_client_receive(struct plane_client *client, struct frame *frame)
{
    client->in.size = 0;
    for (;;) {
        size_t wanted = FRAME_HEADER_BYTES;
        if (client->in.size >= FRAME_HEADER_BYTES) {
            int64_t size = frame_size(buffer_bytes(&client->in), UINT32_MAX);
            assert_true(size > 0);
            wanted = (size_t)size;
        }
        if (client->in.size >= FRAME_HEADER_BYTES && client->in.size == wanted) {
            assert_int_equal(frame_parse(buffer_bytes(&client->in), frame), 0);
            assert_true((frame->flags & FRAME_REPLY) != 0);
            return true;
        }
        assert_int_equal(buffer_reserve(&client->in, wanted - client->in.size), 0);
        ssize_t got =
            plane_client_recv(client, client->in.data + client->in.size, wanted - client->in.size);
        if (got <= 0) {
            if (got != 0 && errno != ECONNRESET) {
                fail_msg("recv: %s", strerror(errno));
            }
            return false;
        }
        client->in.size += (size_t)got;
    }
}

/* A reply's head; to be freed with belay__wire__reply__free_unpacked(head, NULL). */
static inline Belay__Wire__Reply *plane_client_reply(struct plane_client *client,
                                                     struct frame *frame)
{
    assert_true(plane_client_receive(client, frame));
    Belay__Wire__Reply *reply =
        belay__wire__reply__unpack(NULL, frame->head.size, frame->head.data);
    assert_non_null(reply);
    return reply;
}

/* Send what was added, and receive one reply's status. */
static inline uint32_t plane_client_status(struct plane_client *client)
{
    struct frame frame;

    plane_client_flush(client);
    Belay__Wire__Reply *reply = plane_client_reply(client, &frame);
    uint32_t status = reply->status;
    belay__wire__reply__free_unpacked(reply, NULL);
    return status;
}

static inline ProtobufCBinaryData wire_bytes(struct bytes bytes)
{
    union {
        const uint8_t *constant;
        uint8_t *plain;
    } pointer = {.constant = bytes.data};

    return (ProtobufCBinaryData){.len = bytes.size, .data = pointer.plain};
}

static inline uint64_t plane_client_add_get(struct plane_client *client, struct bytes key)
{
    Belay__Wire__Get get;

    belay__wire__get__init(&get);
    get.key = wire_bytes(key);
    return plane_client_add(client, FRAME_GET, &get.base, bytes_of(NULL, 0));
}

/* A write that sets the blob to `value`. */
static inline uint64_t plane_client_add_put(struct plane_client *client, struct bytes key,
                                            struct bytes value, enum ack_level ack)
{
    Belay__Wire__Write write;
    struct change change = {.operation = CHANGE_SET, .name = bytes_of("", 0), .value = value};
    uint8_t *list = malloc(change_size(&change));

    assert_non_null(list);
    uint8_t *end = change_put(list, &change);
    belay__wire__write__init(&write);
    write.key = wire_bytes(key);
    write.type = SESSION_BLOB;
    write.ack = ack;
    uint64_t id =
        plane_client_add(client, FRAME_WRITE, &write.base, bytes_of(list, (size_t)(end - list)));
    free(list);
    return id;
}

#endif
