#include "node_ports.h"

#include <errno.h>
#include <netdb.h>
#include <netinet/in.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

/* Returns a socket bound to a port that is free, which goes to `port`; or negative errno. */
static int bind_free(const struct addrinfo *where, uint64_t *port)
{
    struct sockaddr_storage name;
    socklen_t size = sizeof name;
    int on = 1;
    int fd = socket(where->ai_family, SOCK_STREAM | SOCK_CLOEXEC, 0);

    if (fd < 0) {
        return -errno;
    }
    if (setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on) != 0 ||
        bind(fd, where->ai_addr, where->ai_addrlen) != 0 ||
        getsockname(fd, (struct sockaddr *)&name, &size) != 0) {
        int rc = -errno;
        close(fd);
        return rc;
    }
    *port = ntohs(name.ss_family == AF_INET6 ? ((struct sockaddr_in6 *)&name)->sin6_port
                                             : ((struct sockaddr_in *)&name)->sin_port);
    return fd;
}

static int pick(const struct addrinfo *where, struct config *config, struct ports *ports)
{
    uint64_t *const numbers[PORTS_COUNT] = {&config->listen_port, &config->listen_cluster_port,
                                            &config->listen_peer_port, &config->listen_http_port};

    for (int i = 0; i < PORTS_COUNT; i++) {
        if (*numbers[i] != 0) {
            continue;
        }
        int fd = bind_free(where, numbers[i]);
        if (fd < 0) {
            return fd;
        }
        ports->held[i] = fd;
    }
    return 0;
}

int ports_pick(struct config *config, struct ports *ports, char *message, size_t message_size)
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
    int rc = pick(where, config, ports);
    freeaddrinfo(where);
    if (rc != 0) {
        ports_release(ports);
        snprintf(message, message_size, "cannot listen on %s: %s", config->listen_address,
                 strerror(-rc));
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
