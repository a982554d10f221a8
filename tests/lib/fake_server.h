/* A server that misbehaves on purpose: a thread that speaks frames and answers as a test tells it.
 *
 * The test gives `handle`, which runs on the server's thread for every frame but HELLO (answered by
 * itself, unless hello_status says otherwise) and FRAME_MAP (where it has a map), and answers with fake_reply(),
 * fake_send() or not at all. Several of them, with numbers and a map, are a cluster; each can fall silent, or cut all
 * its connections.
 * Heads are packed and unpacked by the generated code, so that they check the client's own.
 * Threads: fields are set before fake_start(); counters are atomic; the rest belongs to the thread.
 */
#ifndef FAKE_SERVER_H
#define FAKE_SERVER_H

#include <arpa/inet.h>
#include <assert.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <sys/socket.h>
#include <unistd.h>

#include "belay.pb-c.h"
#include "check.h"
#include "frame.h"
#include "limits.h"

enum { FAKE_CONNECTIONS_MAX = 32, FAKE_INPUT_BYTES = 4 * 1024 * 1024 };

struct fake;

/* A map as it is sent; the test's memory. */
struct fake_map {
    uint64_t epoch;
    struct bytes bytes;
};

struct fake_connection {
    struct fake *fake;
    int fd; /* -1: free. */
    uint32_t shard;
    bool map_wanted;
    uint64_t map_epoch; /* It was told. */
    uint8_t *input;
    size_t size;
};

struct fake {
    void (*handle)(struct fake_connection *connection, const struct frame *frame);
    uint32_t shards, in_flight_max, frame_bytes_max;
    uint32_t first_shard;  /* Where a connection lands that does not say. */
    uint32_t hello_status; /* Not 0: HELLO is refused so. */
    const char *hello_text;
    bool hello_silent;
    uint16_t port; /* 0: any; then the one it has. */
    void *context;
    uint32_t number;                /* In the map. */
    _Atomic(struct fake_map *) map; /* NULL: none. Told to who asked, also when it changes. */
    atomic_uint silent;             /* Nothing is read, or accepted. */
    atomic_uint cut;                /* Close all connections, then it is 0 again. */
    atomic_uint known;              /* Clients that came with an id. */
    atomic_uint connections, hellos, requests, maps, stop;
    int listener;
    pthread_t thread;
    struct fake_connection table[FAKE_CONNECTIONS_MAX];
};

static inline void fake_send(struct fake_connection *connection, const void *data, size_t size)
{
    const uint8_t *at = data;

    while (size > 0 && connection->fd != -1) {
        ssize_t sent = send(connection->fd, at, size, MSG_NOSIGNAL);
        if (sent < 0) {
            return; /* The client has gone; the test sees it. */
        }
        at += sent;
        size -= (size_t)sent;
    }
}

static inline void fake_close(struct fake_connection *connection)
{
    if (connection->fd != -1) {
        close(connection->fd);
    }
    connection->fd = -1;
    connection->size = 0;
}

/* A whole reply frame in malloc()ed memory. */
static inline uint8_t *fake_frame(uint8_t type, uint64_t id, const ProtobufCMessage *head,
                                  struct bytes value, size_t *size)
{
    size_t head_size = protobuf_c_message_get_packed_size(head);
    uint8_t *frame = malloc(FRAME_HEADER_BYTES + head_size + value.size + 1);

    protobuf_c_message_pack(head, frame + FRAME_HEADER_BYTES);
    if (value.size > 0) {
        memcpy(frame + FRAME_HEADER_BYTES + head_size, value.data, value.size);
    }
    struct bytes packed = bytes_of(frame + FRAME_HEADER_BYTES, head_size);
    frame_header_put(frame, type, FRAME_REPLY, id, packed,
                     bytes_of(packed.data + head_size, value.size));
    *size = FRAME_HEADER_BYTES + head_size + value.size;
    return frame;
}

static inline void fake_reply_head(struct fake_connection *connection, uint8_t type, uint64_t id,
                                   const ProtobufCMessage *head, struct bytes value)
{
    size_t size;
    uint8_t *frame = fake_frame(type, id, head, value, &size);

    fake_send(connection, frame, size);
    free(frame);
}

/* Answer with a status and a value. */
static inline void fake_reply(struct fake_connection *connection, const struct frame *frame,
                              uint32_t status, struct bytes value)
{
    Belay__Wire__Reply head;
    belay__wire__reply__init(&head);

    head.status = status;
    head.type = 1;
    head.hlc = 5000;
    fake_reply_head(connection, frame->type, frame->request_id, &head.base, value);
}

static inline void fake_hello(struct fake_connection *connection, const struct frame *frame)
{
    struct fake *fake = connection->fake;
    Belay__Wire__Hello *hello =
        belay__wire__hello__unpack(NULL, frame->head.size, frame->head.data);
    Belay__Wire__HelloReply head;
    belay__wire__hello_reply__init(&head);
    char node[] = "fake";

    assert(hello != NULL);
    atomic_fetch_add(&fake->hellos, 1);
    if (!fake->hello_silent) {
        connection->shard =
            hello->shard_plus_one == 0 ? fake->first_shard : hello->shard_plus_one - 1;
        char words[100];
        snprintf(words, sizeof words, "%s", fake->hello_text == NULL ? "" : fake->hello_text);
        head.status = fake->hello_status;
        head.text = words;
        head.protocol = PROTOCOL_VERSION;
        head.client = hello->client == 0 ? 4711 : hello->client;
        head.number = fake->number;
        const struct fake_map *map = atomic_load(&fake->map);
        head.map_epoch = map == NULL ? 0 : map->epoch;
        atomic_fetch_add(&fake->known, hello->client != 0);
        head.node = node;
        head.shards = fake->shards;
        head.shard = connection->shard;
        head.hlc = 1000;
        head.in_flight_max = fake->in_flight_max;
        head.frame_bytes_max = fake->frame_bytes_max;
        fake_reply_head(connection, FRAME_HELLO, frame->request_id, &head.base, text(""));
    }
    belay__wire__hello__free_unpacked(hello, NULL);
}

static inline void fake_tell_map(struct fake_connection *connection, uint64_t id)
{
    const struct fake_map *map = atomic_load(&connection->fake->map);
    Belay__Wire__MapReply head;

    belay__wire__map_reply__init(&head);
    head.epoch = map->epoch;
    connection->map_epoch = map->epoch;
    fake_reply_head(connection, FRAME_MAP, id, &head.base, map->bytes);
}

static inline void fake_input(struct fake_connection *connection)
{
    ssize_t got = recv(connection->fd, connection->input + connection->size,
                       FAKE_INPUT_BYTES - connection->size, 0);
    size_t at = 0;

    if (got <= 0) {
        fake_close(connection);
        return;
    }
    connection->size += (size_t)got;
    while (connection->fd != -1) {
        struct bytes rest = bytes_of(connection->input + at, connection->size - at);
        int64_t size = frame_size(rest, FRAME_BYTES_MAX);
        struct frame frame;
        assert(size >= 0);
        if (size == 0 || (size_t)size > rest.size) {
            memmove(connection->input, rest.data, rest.size);
            connection->size = rest.size;
            return;
        }
        int rc = frame_parse(bytes_of(rest.data, (size_t)size), &frame);
        assert(rc == 0);
        at += (size_t)size;
        if (frame.type == FRAME_HELLO) {
            fake_hello(connection, &frame);
        } else if (frame.type == FRAME_MAP && atomic_load(&connection->fake->map) != NULL) {
            atomic_fetch_add(&connection->fake->maps, 1);
            connection->map_wanted = true;
            fake_tell_map(connection, frame.request_id);
        } else {
            atomic_fetch_add(&connection->fake->requests, 1);
            connection->fake->handle(connection, &frame);
        }
    }
}

static inline void fake_accept(struct fake *fake)
{
    int fd = accept(fake->listener, NULL, NULL);
    int on = 1;

    assert(fd >= 0);
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    atomic_fetch_add(&fake->connections, 1);
    for (int i = 0; i < FAKE_CONNECTIONS_MAX; i++) {
        struct fake_connection *connection = &fake->table[i];
        if (connection->fd == -1) {
            uint8_t *input =
                connection->input == NULL ? malloc(FAKE_INPUT_BYTES) : connection->input;
            *connection = (struct fake_connection){.fake = fake, .fd = fd, .input = input};
            return;
        }
    }
    fprintf(stderr, "too many connections for the fake server\n");
    abort();
}

/* What the test has asked for meanwhile. */
static inline void fake_turn(struct fake *fake)
{
    const struct fake_map *map = atomic_load(&fake->map);
    bool cut = atomic_load(&fake->cut) != 0;

    for (int i = 0; i < FAKE_CONNECTIONS_MAX; i++) {
        struct fake_connection *connection = &fake->table[i];
        if (cut) {
            fake_close(connection);
        } else if (connection->fd != -1 && connection->map_wanted && map != NULL &&
                   map->epoch > connection->map_epoch) {
            fake_tell_map(connection, 0);
        }
    }
    if (cut) {
        atomic_store(&fake->cut, 0);
    }
}

static void *fake_run(void *argument)
{
    struct fake *fake = argument;

    while (!atomic_load(&fake->stop)) {
        fake_turn(fake);
        if (atomic_load(&fake->silent)) {
            poll(NULL, 0, 2);
            continue;
        }
        struct pollfd polls[FAKE_CONNECTIONS_MAX + 1];
        polls[FAKE_CONNECTIONS_MAX] = (struct pollfd){.fd = fake->listener, .events = POLLIN};
        for (int i = 0; i < FAKE_CONNECTIONS_MAX; i++) {
            polls[i] = (struct pollfd){.fd = fake->table[i].fd, .events = POLLIN};
        }
        poll(polls, FAKE_CONNECTIONS_MAX + 1, 5);
        if (atomic_load(&fake->silent)) {
            continue; /* It fell silent before what came now. */
        }
        for (int i = 0; i < FAKE_CONNECTIONS_MAX; i++) {
            if (polls[i].revents != 0 && fake->table[i].fd != -1) {
                fake_input(&fake->table[i]);
            }
        }
        if (polls[FAKE_CONNECTIONS_MAX].revents != 0) {
            fake_accept(fake);
        }
    }
    return NULL;
}

/* A socket bound to the port (0: any, then set), so that nobody else gets it. Nobody listens there, unless
 * fake_start() does, beside it. To be closed. */
static inline int fake_bind(uint16_t *port)
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons(*port)};
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    socklen_t size = sizeof address;
    int on = 1;

    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
    setsockopt(fd, SOL_SOCKET, SO_REUSEPORT, &on, sizeof on);
    assert_int_equal(bind(fd, (struct sockaddr *)&address, size), 0);
    assert_int_equal(getsockname(fd, (struct sockaddr *)&address, &size), 0);
    *port = ntohs(address.sin_port);
    return fd;
}

static inline void fake_start(struct fake *fake)
{
    fake->listener = fake_bind(&fake->port);
    assert_int_equal(listen(fake->listener, 64), 0);
    fake->shards = fake->shards == 0 ? 1 : fake->shards;
    for (int i = 0; i < FAKE_CONNECTIONS_MAX; i++) {
        fake->table[i].fd = -1;
    }
    assert_int_equal(pthread_create(&fake->thread, NULL, fake_run, fake), 0);
}

static inline void fake_stop(struct fake *fake)
{
    atomic_store(&fake->stop, 1);
    pthread_join(fake->thread, NULL);
    close(fake->listener);
    for (int i = 0; i < FAKE_CONNECTIONS_MAX; i++) {
        fake_close(&fake->table[i]);
        free(fake->table[i].input);
    }
}

#endif
