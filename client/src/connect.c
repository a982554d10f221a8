/* Making a connection: servers in turn, each name's addresses in turn, HELLO, and how long to wait
 * before the next try. The states are in link.c. */
#include <arpa/inet.h>
#include <assert.h>
#include <errno.h>
#include <netdb.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <unistd.h>

#include "client.h"

/* How many places this link tries in turn. */
static uint32_t addresses_of(const struct link *link)
{
    return link->member->number != 0 ? 1 : link->client->options.server_count;
}

/* Where it is trying. */
static const struct address *address_of(const struct link *link)
{
    return link->member->number != 0 ? &link->member->address
                                     : &link->client->options.servers[link->server];
}

/* Doubling from BACKOFF_MS_MIN to BACKOFF_MS_MAX; a random half of it keeps many clients that lost one
 * server from coming back in step. */
uint64_t connect_backoff_ms(struct link *link)
{
    uint32_t rounds = link->tries / addresses_of(link);
    uint32_t shift = rounds < 8 ? rounds : 8;
    uint32_t whole = (uint32_t)BACKOFF_MS_MIN << shift;

    if (whole > BACKOFF_MS_MAX) {
        whole = BACKOFF_MS_MAX;
    }
    return whole / 2 + client_random(link->client) % (whole / 2 + 1);
}

void connect_forget(struct link *link)
{
    if (link->addresses != NULL) {
        uv_freeaddrinfo(link->addresses);
    }
    link->addresses = link->address = NULL;
}

static bool server_last_address(const struct link *link)
{
    return link->address == NULL;
}

void connect_failed(struct link *link, const char *reason)
{
    struct belay_client *client = link->client;
    const struct address *server = address_of(link);

    snprintf(client->trouble, sizeof client->trouble, "%s:%u: %s", server->host, server->port,
             reason);
    link->retry_at_ms = uv_now(client->loop);
    if (server_last_address(link)) {
        connect_forget(link);
        if (link->member->number == 0) {
            client->servers_failed++;
            if (client->server_at == link->server) {
                client->server_at = (link->server + 1) % client->options.server_count;
            }
        }
        /* The next one of several is tried at once; what waits is each round. */
        if ((link->tries + 1) % addresses_of(link) == 0) {
            link->retry_at_ms += connect_backoff_ms(link);
        }
        link->tries++;
    }
    client_wake(client, uv_now(client->loop));
}

static int open_socket(struct link *link, const struct sockaddr *address, socklen_t address_size)
{
    int fd = socket(address->sa_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    int on = 1;

    if (fd < 0) {
        return -errno;
    }
    (void)setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    (void)setsockopt(fd, SOL_SOCKET, SO_KEEPALIVE, &on, sizeof on);
    int rc = connect(fd, address, address_size) == 0 || errno == EINPROGRESS ? 0 : -errno;
    if (rc == 0) {
        rc = uv_poll_init_socket(link->client->loop, &link->poll, fd);
    }
    if (rc != 0) {
        close(fd);
        return rc;
    }
    link->poll.data = link;
    link->client->handles++;
    link->fd = fd;
    return 0;
}

static void name_peer(struct link *link, const struct sockaddr *address)
{
    char host[INET6_ADDRSTRLEN] = "";
    bool six = address->sa_family == AF_INET6;
    union {
        struct sockaddr_in four;
        struct sockaddr_in6 six;
    } known;

    memset(&known, 0, sizeof known);
    memcpy(&known, address, six ? sizeof known.six : sizeof known.four);
    if (six) {
        uv_ip6_name(&known.six, host, sizeof host);
    } else {
        uv_ip4_name(&known.four, host, sizeof host);
    }
    snprintf(link->peer, sizeof link->peer, six ? "[%s]:%u" : "%s:%u", host,
             ntohs(six ? known.six.sin6_port : known.four.sin_port));
}

static void connect_to(struct link *link, const struct sockaddr *address, socklen_t address_size)
{
    name_peer(link, address);
    int rc = open_socket(link, address, address_size);
    if (rc == 0) {
        link->state = LINK_CONNECTING;
        rc = link_watch(link);
    }
    if (rc != 0) {
        connect_failed(link, uv_strerror(rc));
        if (link->fd != -1) {
            link_shut(link);
        } else {
            link->state = LINK_IDLE;
        }
    }
}

static void connect_next(struct link *link)
{
    struct addrinfo *address = link->address;

    link->address = address->ai_next;
    connect_to(link, address->ai_addr, address->ai_addrlen);
}

static void resolved(uv_getaddrinfo_t *resolve, int status, struct addrinfo *addresses)
{
    struct link *link = resolve->data;
    struct belay_client *client = link->client;

    if (link->state == LINK_CLOSING) {
        if (addresses != NULL) {
            uv_freeaddrinfo(addresses);
        }
        link_idle(link);
        client_wake(client, uv_now(client->loop));
    } else {
        link->state = LINK_IDLE;
        link->addresses = link->address = addresses;
        if (status != 0) {
            connect_failed(link, uv_strerror(status));
        } else {
            connect_next(link);
        }
    }
    client_handle_closed(client);
}

static void resolve_start(struct link *link, const struct address *server)
{
    struct addrinfo hints = {.ai_socktype = SOCK_STREAM, .ai_flags = AI_ADDRCONFIG};
    char port[8];

    snprintf(port, sizeof port, "%u", server->port);
    link->resolve.data = link;
    int rc =
        uv_getaddrinfo(link->client->loop, &link->resolve, resolved, server->host, port, &hints);
    if (rc != 0) {
        connect_failed(link, uv_strerror(rc));
        return;
    }
    link->state = LINK_RESOLVING;
    link->client->handles++;
}

void link_start(struct link *link)
{
    struct belay_client *client = link->client;
    struct sockaddr_in four;
    struct sockaddr_in6 six;

    assert(link->state == LINK_IDLE && !link->retired);
    bool hurry = addresses_of(link) > 1 && link->tries < addresses_of(link);
    link->give_up_at_ms = uv_now(client->loop) + (hurry ? TRY_MS : CONNECT_MS_MAX);
    client_wake(client, link->give_up_at_ms);
    if (link->address != NULL) {
        connect_next(link);
        return;
    }
    connect_forget(link);
    link->server = client->server_at;
    link->of_list = link->member->number == 0;
    const struct address *server = address_of(link);
    if (uv_ip4_addr(server->host, server->port, &four) == 0) {
        connect_to(link, (const struct sockaddr *)&four, sizeof four);
    } else if (uv_ip6_addr(server->host, server->port, &six) == 0) {
        connect_to(link, (const struct sockaddr *)&six, sizeof six);
    } else {
        resolve_start(link, server);
    }
}

void connect_done(struct link *link)
{
    struct belay_client *client = link->client;
    int error = link_socket_error(link);

    if (error != 0) {
        link_lose(link, strerror(error));
        return;
    }
    link->state = LINK_HELLO;
    uint32_t shards = link->member->shards;
    bool any = shards == 0 || client->options.total == 1;
    if (frame_put_hello(client, any ? 0 : link->index % shards + 1, &link->out) != 0) {
        link_lose(link, "no memory");
        return;
    }
    int rc = link_watch(link);
    if (rc != 0) {
        link_lose(link, uv_strerror(rc));
        return;
    }
    link_flush(link);
}
