#include "resp_route.h"

#include <assert.h>
#include <errno.h>
#include <netdb.h>
#include <netinet/in.h>
#include <stdio.h>
#include <string.h>

#include "address.h"

enum { ADDRESS_TEXT_BYTES = 269 }; /* One more than sscanf() below takes. */

static_assert(ADDRESS_TEXT_BYTES > HOST_BYTES_MAX + sizeof ":65535", "a host and a port fit");

void resp_route_init(struct resp_route *route, const struct sockaddr_storage *node)
{
    *route = (struct resp_route){.node_count = 1, .nodes = {*node}};
}

static void set_port(struct sockaddr_storage *address, uint16_t port)
{
    if (address->ss_family == AF_INET6) {
        ((struct sockaddr_in6 *)address)->sin6_port = htons(port);
    } else {
        ((struct sockaddr_in *)address)->sin_port = htons(port);
    }
}

static bool is_same(const struct sockaddr_storage *a, const struct sockaddr_storage *b)
{
    if (a->ss_family != b->ss_family) {
        return false;
    }
    if (a->ss_family == AF_INET6) {
        const struct sockaddr_in6 *a6 = (const void *)a, *b6 = (const void *)b;
        return a6->sin6_port == b6->sin6_port &&
               memcmp(&a6->sin6_addr, &b6->sin6_addr, sizeof a6->sin6_addr) == 0;
    }
    const struct sockaddr_in *a4 = (const void *)a, *b4 = (const void *)b;
    return a4->sin_port == b4->sin_port && a4->sin_addr.s_addr == b4->sin_addr.s_addr;
}

/* Without a host it is that of the node which says so. */
static int resolve(const struct resp_route *route, const char *host, uint16_t port, uint32_t from,
                   struct sockaddr_storage *address)
{
    const struct addrinfo hints = {.ai_socktype = SOCK_STREAM};
    struct addrinfo *found = NULL;

    if (host[0] == '\0') {
        *address = route->nodes[from];
    } else {
        if (getaddrinfo(host, NULL, &hints, &found) != 0) {
            return -EBADMSG;
        }
        memset(address, 0, sizeof *address);
        memcpy(address, found->ai_addr, found->ai_addrlen);
        freeaddrinfo(found);
    }
    set_port(address, port);
    return 0;
}

static int find_node(struct resp_route *route, const char *host, uint16_t port, uint32_t from,
                     uint32_t *node)
{
    struct sockaddr_storage address;
    int rc = resolve(route, host, port, from, &address);

    if (rc != 0) {
        return rc;
    }
    for (uint32_t i = 0; i < route->node_count; i++) {
        if (is_same(&route->nodes[i], &address)) {
            *node = i;
            return 0;
        }
    }
    if (route->node_count == ROUTE_NODES_MAX) {
        return -EBADMSG;
    }
    route->nodes[route->node_count] = address;
    *node = route->node_count++;
    return 0;
}

/* One run: first slot, last slot, its primary (host, port, ...), others. */
static int take_run(struct resp_route *route, const redisReply *run)
{
    uint32_t node;

    if (run->type != REDIS_REPLY_ARRAY || run->elements < 3 ||
        run->element[2]->type != REDIS_REPLY_ARRAY || run->element[2]->elements < 2) {
        return -EBADMSG;
    }
    const long long first = run->element[0]->integer, last = run->element[1]->integer;
    const redisReply *host = run->element[2]->element[0], *port = run->element[2]->element[1];
    if (first < 0 || last < first || last >= SLOT_COUNT || port->integer < 1 ||
        port->integer > UINT16_MAX) {
        return -EBADMSG;
    }
    int rc =
        find_node(route, host->str != NULL ? host->str : "", (uint16_t)port->integer, 0, &node);
    if (rc == 0) {
        memset(route->node_of_slot + first, (int)node, (size_t)(last - first + 1));
    }
    return rc;
}

int resp_route_take(struct resp_route *route, const redisReply *reply)
{
    int rc = reply->type == REDIS_REPLY_ARRAY ? 0 : -EBADMSG;

    for (size_t i = 0; rc == 0 && i < reply->elements; i++) {
        rc = take_run(route, reply->element[i]);
    }
    return rc;
}

enum redirect resp_route_redirect(struct resp_route *route, const char *error, uint32_t from,
                                  uint32_t *node)
{
    char kind[8], place[ADDRESS_TEXT_BYTES];
    unsigned slot, port;

    if (sscanf(error, "%7s %u %268s", kind, &slot, place) != 3 || slot >= SLOT_COUNT ||
        (strcmp(kind, "MOVED") != 0 && strcmp(kind, "ASK") != 0)) {
        return REDIRECT_NONE;
    }
    char *colon = strrchr(place, ':'); /* A host may have some of its own, without brackets. */
    if (colon == NULL || sscanf(colon + 1, "%5u", &port) != 1 || port < 1 || port > UINT16_MAX) {
        return REDIRECT_NONE;
    }
    *colon = '\0';
    if (find_node(route, place, (uint16_t)port, from, node) != 0) {
        return REDIRECT_NONE;
    }
    if (kind[0] == 'A') {
        return REDIRECT_ASK;
    }
    route->node_of_slot[slot] = (uint8_t)*node;
    return REDIRECT_MOVED;
}
