#include "peer_dial.h"

#include <assert.h>
#include <errno.h>
#include <netdb.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "address.h"
#include "sockets.h"

struct peer_dial {
    struct peer_dial_options options;
    char host[HOST_BYTES_MAX + 1];
    uv_getaddrinfo_t lookup;
    bool looking; /* The look-up is under way, and has this memory. */
    bool cancelled;
    struct addrinfo *found; /* NULL: the host is an address. */
    const struct addrinfo *next;
    struct peer_greeting *greeting;
};

static void forget(struct peer_dial *dial)
{
    if (dial->looking) {
        dial->cancelled = true; /* on_found() does the rest. */
        uv_cancel((uv_req_t *)&dial->lookup);
        return;
    }
    uv_freeaddrinfo(dial->found);
    free(dial);
}

static void fail(struct peer_dial *dial, int rc, const char *text)
{
    dial->options.done(dial->options.context,
                       &(struct peer_greeting_result){.rc = rc, .text = text, .fd = -1});
    forget(dial);
}

static int try_next(struct peer_dial *dial);

static void on_greeted(void *context, struct peer_greeting *greeting,
                       const struct peer_greeting_result *result)
{
    struct peer_dial *dial = context;

    assert(greeting == dial->greeting);
    dial->greeting = NULL;
    if (result->rc != 0 && try_next(dial) == 0) {
        return;
    }
    dial->options.done(dial->options.context, result);
    forget(dial);
}

static int try_address(struct peer_dial *dial, const struct sockaddr *address, socklen_t size)
{
    const struct peer_greeting_options options = {
        .loop = dial->options.loop,
        .self = dial->options.self,
        .wish = &dial->options.wish,
        .now_ms = dial->options.now_ms,
        .clock = dial->options.clock,
        .done = on_greeted,
        .context = dial,
    };
    int fd = socket_connect(address, size);

    if (fd < 0) {
        return fd;
    }
    socket_set_peer(fd, dial->options.silent_ms);
    int rc = peer_greeting_begin(&options, fd, &dial->greeting);
    if (rc != 0) {
        close(fd);
    }
    return rc;
}

/* Returns 0: the next address is tried; else what was wrong with the last one. */
static int try_next(struct peer_dial *dial)
{
    int rc = -EHOSTUNREACH;

    while (dial->next != NULL) {
        const struct addrinfo *info = dial->next;
        dial->next = info->ai_next;
        rc = try_address(dial, info->ai_addr, info->ai_addrlen);
        if (rc == 0) {
            return 0;
        }
    }
    return rc;
}

static void on_found(uv_getaddrinfo_t *lookup, int status, struct addrinfo *found)
{
    struct peer_dial *dial = lookup->data;

    dial->looking = false;
    dial->found = dial->cancelled ? NULL : found;
    if (dial->cancelled) {
        uv_freeaddrinfo(found);
        forget(dial);
        return;
    }
    if (status != 0) {
        fail(dial, -EHOSTUNREACH, uv_strerror(status));
        return;
    }
    dial->next = found;
    int rc = try_next(dial);
    if (rc != 0) {
        fail(dial, rc, strerror(-rc));
    }
}

static int look_up(struct peer_dial *dial)
{
    const struct addrinfo hints = {.ai_family = AF_UNSPEC, .ai_socktype = SOCK_STREAM};
    char port[8];

    snprintf(port, sizeof port, "%u", (unsigned)dial->options.port);
    int rc = uv_getaddrinfo(dial->options.loop, &dial->lookup, on_found, dial->host, port, &hints);
    dial->lookup.data = dial;
    dial->looking = rc == 0;
    return rc;
}

int peer_dial_begin(const struct peer_dial_options *options, struct peer_dial **dial)
{
    struct sockaddr_in v4;
    struct sockaddr_in6 v6;
    struct peer_dial *made = calloc(1, sizeof *made);
    int rc;

    if (made == NULL) {
        return -ENOMEM;
    }
    made->options = *options;
    snprintf(made->host, sizeof made->host, "%s", options->host);
    made->options.host = made->host;
    if (uv_ip4_addr(made->host, options->port, &v4) == 0) {
        rc = try_address(made, (struct sockaddr *)&v4, sizeof v4);
    } else if (uv_ip6_addr(made->host, options->port, &v6) == 0) {
        rc = try_address(made, (struct sockaddr *)&v6, sizeof v6);
    } else {
        rc = look_up(made);
    }
    if (rc != 0) {
        free(made);
        return rc;
    }
    *dial = made;
    return 0;
}

void peer_dial_cancel(struct peer_dial *dial)
{
    if (dial->greeting != NULL) {
        peer_greeting_cancel(dial->greeting);
    }
    forget(dial);
}
