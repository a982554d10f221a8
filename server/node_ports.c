#include "node_ports.h"

#include <errno.h>
#include <netdb.h>
#include <netinet/in.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum { IN_USE_TRIES = 50, IN_USE_MS = 10 };

/* Returns a socket bound to that port, or with 0 to one that is free, which goes to `port`; or negative errno. */
static int bind_to(const struct addrinfo *where, uint64_t *port)
{
    struct sockaddr_storage name;
    socklen_t size = where->ai_addrlen;
    int on = 1;
    int fd = socket(where->ai_family, SOCK_STREAM | SOCK_CLOEXEC, 0);

    if (fd < 0) {
        return -errno;
    }
    memcpy(&name, where->ai_addr, size);
    in_port_t *number = name.ss_family == AF_INET6 ? &((struct sockaddr_in6 *)&name)->sin6_port
                                                   : &((struct sockaddr_in *)&name)->sin_port;
    *number = htons((uint16_t)*port);
    if (setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on) != 0 ||
        bind(fd, (struct sockaddr *)&name, size) != 0 ||
        getsockname(fd, (struct sockaddr *)&name, &size) != 0) {
        int rc = -errno;
        close(fd);
        return rc;
    }
    *port = ntohs(*number);
    return fd;
}

/* What a process that was killed had is free a moment after it is gone (listener.c). */
static int bind_when_free(const struct addrinfo *where, uint64_t *port)
{
    const struct timespec pause = {.tv_nsec = IN_USE_MS * 1000000};
    int fd = bind_to(where, port);

    for (int tries = 0; fd == -EADDRINUSE && tries < IN_USE_TRIES; tries++) {
        nanosleep(&pause, NULL);
        fd = bind_to(where, port);
    }
    return fd;
}

/* `at`: the one that was tried last. */
static int pick(const struct addrinfo *where, struct config *config, bool all, struct ports *ports,
                uint64_t *at)
{
    uint64_t *const numbers[PORTS_COUNT] = {&config->listen_port, &config->listen_cluster_port,
                                            &config->listen_peer_port, &config->listen_http_port};

    for (int i = 0; i < PORTS_COUNT; i++) {
        *at = *numbers[i];
        if (*at != 0 && !all) {
            continue;
        }
        int fd = bind_when_free(where, numbers[i]);
        if (fd < 0) {
            return fd;
        }
        ports->held[i] = fd;
    }
    return 0;
}

int ports_pick(struct config *config, bool all, struct ports *ports, char *message,
               size_t message_size)
{
    const struct addrinfo hints = {.ai_socktype = SOCK_STREAM,
                                   .ai_flags = AI_PASSIVE | AI_NUMERICHOST | AI_NUMERICSERV};
    struct addrinfo *where;

    for (int i = 0; i < PORTS_COUNT; i++) {
        ports->held[i] = -1;
    }
    int failed = getaddrinfo(config->listen_address, "0", &hints, &where);
    if (failed != 0) {
        snprintf(message, message_size, "listen.address: %s: %s", config->listen_address,
                 gai_strerror(failed));
        return -EADDRNOTAVAIL;
    }
    uint64_t at = 0;
    int rc = pick(where, config, all, ports, &at);
    freeaddrinfo(where);
    if (rc != 0) {
        ports_release(ports);
        snprintf(message, message_size, "cannot listen on %s port %u: %s%s", config->listen_address,
                 (unsigned)at, strerror(-rc),
                 rc == -EADDRINUSE ? " (does another server run there? see ss -ltnp)" : "");
    }
    return rc;
}

void ports_release(struct ports *ports)
{
    for (int i = 0; i < PORTS_COUNT; i++) {
        if (ports->held[i] >= 0) {
            close(ports->held[i]);
            ports->held[i] = -1;
        }
    }
}
