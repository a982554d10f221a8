#include "listener.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netdb.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "bounds.h"
#include "cross.h"
#include "frame.h"
#include "native_door.h"
#include "plane_private.h"
#include "shard_thread.h"

enum {
    BACKLOG = 4096,
    IN_USE_TRIES = 100, /* Of IN_USE_MS each: two seconds. */
    IN_USE_MS = 20,
};

/* Inherited by accepted sockets. */
static void set_options(int fd)
{
    int on = 1;

    (void)setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
    (void)setsockopt(fd, SOL_SOCKET, SO_KEEPALIVE, &on, sizeof on);
    (void)setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
}

static int bound_port(int fd, uint16_t *port)
{
    struct sockaddr_storage name;
    socklen_t size = sizeof name;

    if (getsockname(fd, (struct sockaddr *)&name, &size) != 0) {
        return -errno;
    }
    *port = ntohs(name.ss_family == AF_INET6 ? ((struct sockaddr_in6 *)&name)->sin6_port
                                             : ((struct sockaddr_in *)&name)->sin_port);
    return 0;
}

static int listen_on(const struct addrinfo *where, uint16_t *port)
{
    int fd = socket(where->ai_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd < 0) {
        return -errno;
    }
    set_options(fd);
    int rc = 0;
    if (bind(fd, where->ai_addr, where->ai_addrlen) != 0 || listen(fd, BACKLOG) != 0) {
        rc = -errno;
    }
    rc = rc == 0 ? bound_port(fd, port) : rc;
    if (rc != 0) {
        close(fd);
        return rc;
    }
    return fd;
}

/* A process that was killed leaves its sockets to its io_uring, which the kernel takes apart a moment
 * after the process is gone (60 ms were seen): who starts it again at once must not fail for that. */
static int listen_when_free(const struct addrinfo *where, uint16_t *port)
{
    const struct timespec pause = {.tv_nsec = IN_USE_MS * 1000000};
    int fd = listen_on(where, port);

    for (int tries = 0; fd == -EADDRINUSE && tries < IN_USE_TRIES; tries++) {
        nanosleep(&pause, NULL);
        fd = listen_on(where, port);
    }
    return fd;
}

int listener_open(struct listener *listener, const char *address, uint16_t port, char *message,
                  size_t message_size)
{
    struct addrinfo hints = {.ai_socktype = SOCK_STREAM, .ai_flags = AI_PASSIVE | AI_NUMERICSERV};
    struct addrinfo *found;
    char service[8];

    snprintf(service, sizeof service, "%u", port);
    int failed = getaddrinfo(address, service, &hints, &found);
    if (failed != 0) {
        snprintf(message, message_size, "cannot listen on %s: %s", address, gai_strerror(failed));
        return -EADDRNOTAVAIL;
    }
    int fd = listen_when_free(found, &listener->port);
    freeaddrinfo(found);
    if (fd < 0) {
        snprintf(message, message_size, "cannot listen on %s port %u: %s%s", address, port,
                 strerror(-fd),
                 fd == -EADDRINUSE ? " (does another server run there? see ss -ltnp)" : "");
        return fd;
    }
    listener->fd = fd;
    return 0;
}

void listener_arm(struct shard_thread *thread, uint32_t index)
{
    struct listener *listener = &thread->plane->listeners[index];
    struct io_uring_sqe *sqe = ring_submission(&thread->ring);

    io_uring_prep_multishot_accept(sqe, listener->fd, NULL, NULL, SOCK_CLOEXEC);
    io_uring_sqe_set_data64(sqe, ring_tag_pack(RING_ACCEPT, index, 0));
    listener->accepting = true;
}

static uint32_t connection_total(struct plane *plane, uint32_t *fewest)
{
    uint32_t total = 0, least = UINT32_MAX;

    for (uint32_t i = 0; i < plane->options.shard_count; i++) {
        uint32_t count = atomic_load(&plane->threads[i].connection_count);
        total += count;
        if (count < least) {
            least = count;
            *fewest = i;
        }
    }
    return total;
}

/* What language does the client speak? Of the port that knows both only one who has written already has told. */
static bool speaks_resp(int fd, bool redirects)
{
    uint8_t first;

    return redirects || (recv(fd, &first, 1, MSG_PEEK | MSG_DONTWAIT) == 1 && first != FRAME_MAGIC);
}

static void refuse(struct plane *plane, int fd, bool redirects)
{
    static const char words[] = "-ERR max number of clients reached\r\n";
    uint8_t answer[512];

    if (speaks_resp(fd, redirects)) {
        (void)!send(fd, words, sizeof words - 1, MSG_DONTWAIT | MSG_NOSIGNAL);
    } else {
        size_t size = native_refusal(answer, STATUS_TOO_MANY_CONNECTIONS);
        (void)!send(fd, answer, size, MSG_DONTWAIT | MSG_NOSIGNAL);
    }
    (void)shutdown(fd, SHUT_WR);
    close(fd);
    atomic_fetch_add(&plane->refused_connections, 1);
}

static void give(struct shard_thread *thread, uint32_t shard, int fd, bool redirects)
{
    struct plane *plane = thread->plane;

    atomic_fetch_add(&plane->threads[shard].connection_count, 1);
    if (shard != thread->index) {
        if (cross_socket(thread, shard, fd, redirects)) {
            return;
        }
        atomic_fetch_sub(&plane->threads[shard].connection_count, 1);
        atomic_fetch_add(&thread->connection_count, 1);
    }
    thread->stats.accepted++;
    struct connection *connection = connection_open(thread, fd);
    if (connection != NULL) {
        connection->redirects = redirects;
    } else {
        atomic_fetch_sub(&thread->connection_count, 1);
        refuse(plane, fd, redirects);
    }
}

void listener_accepted(struct shard_thread *thread, uint32_t index, const struct io_uring_cqe *cqe)
{
    struct plane *plane = thread->plane;
    struct listener *listener = &plane->listeners[index];
    uint32_t shard = 0;

    if ((cqe->flags & IORING_CQE_F_MORE) == 0) {
        listener->accepting = false;
        listener->accept_us = thread->now_us + (cqe->res < 0 ? ACCEPT_RETRY_MS * 1000 : 0);
    }
    if (cqe->res < 0) {
        return;
    }
    if (thread->stopping) {
        close(cqe->res);
    } else if (connection_total(plane, &shard) >= plane->options.limits.connections) {
        refuse(plane, cqe->res, index == LISTENER_CLUSTER);
    } else {
        give(thread, shard, cqe->res, index == LISTENER_CLUSTER);
    }
}
