/* The peers' port: whoever comes in gets a handshake, and the oldest that has not ended its own makes room. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "peers_private.h"
#include "sockets.h"

enum { ACCEPTS_PER_TURN = 64, PAUSE_MS = 100 };

static void unlink_guest(struct peers_guest *guest)
{
    struct peers *peers = guest->peers;

    *(guest->previous != NULL ? &guest->previous->next : &peers->guest_first) = guest->next;
    *(guest->next != NULL ? &guest->next->previous : &peers->guest_last) = guest->previous;
    peers->figures.greetings--;
    free(guest);
}

static void link_guest(struct peers *peers, struct peers_guest *guest)
{
    guest->previous = peers->guest_last;
    *(peers->guest_last != NULL ? &peers->guest_last->next : &peers->guest_first) = guest;
    peers->guest_last = guest;
    peers->figures.greetings++;
}

/* ---- Who may in ---- */

static enum peer_refusal may_join(const struct peers *peers, const char **text)
{
    if (peers->options.join_frame == NULL) {
        *text = "the called node takes no new members now";
        return PEER_REFUSED_BUSY;
    }
    if (peers->joiners >= PEERS_JOINERS_MAX) {
        *text = "too many nodes join at the same time: try again in a minute";
        return PEER_REFUSED_BUSY;
    }
    return PEER_REFUSED_NONE;
}

static bool was_member(const struct peers *peers, const struct peer_opening *opening)
{
    const struct peers_options *options = &peers->options;

    return options->was_member != NULL && opening->epoch < peers->self.epoch &&
           options->was_member(options->context, opening->from.node);
}

static enum peer_refusal asks(void *context, const struct peer_opening *opening, const char **text)
{
    const struct peers_guest *guest = context;
    const struct peers *peers = guest->peers;

    if (opening->role == PEER_ROLE_JOIN) {
        return may_join(peers, text);
    }
    const struct peers_node *node = peers_node(peers, opening->from.node);
    if (node == NULL && was_member(peers, opening)) {
        *text = "the calling node was removed from the cluster";
        return PEER_REFUSED_REMOVED;
    }
    if (node == NULL) {
        *text = "the calling node is no member of the cluster: it was removed, or the called one "
                "has not heard of it yet";
        return PEER_REFUSED_NODE;
    }
    if (opening->from.start < node->member.start) {
        *text = PEER_START_TEXT;
        return PEER_REFUSED_START;
    }
    if (opening->role == PEER_ROLE_DATA && peers->options.data_link == NULL) {
        *text = "the called node takes no data links now";
        return PEER_REFUSED_BUSY;
    }
    return PEER_REFUSED_NONE;
}

/* ---- Handshakes ---- */

static void give_data_link(struct peers *peers, const struct peer_greeting_result *result)
{
    const struct peer_opening *opening = &result->opening;
    struct peers_node *node = peers_node(peers, opening->from.node);

    if (opening->from.start > node->member.start) {
        node->member.start = opening->from.start;
    }
    peers->options.data_link(peers->options.context, &(struct peers_data_link){
                                                         .fd = result->fd,
                                                         .local = opening->to_shard,
                                                         .node = opening->from.node,
                                                         .start = opening->from.start,
                                                         .shard = opening->shard,
                                                         .shards = opening->shards,
                                                         .rest = result->rest,
                                                     });
}

static void report(struct peers *peers, const char *address,
                   const struct peer_greeting_result *result)
{
    bool noise = result->refusal >= PEER_REFUSED_CLOSED;

    logger_write(peers->options.logger, noise ? LOG_LEVEL_DEBUG : LOG_LEVEL_WARN,
                 noise ? "peer-handshake-ended" : "peer-refused", LOG_TEXT("address", address),
                 LOG_TEXT("by", result->refused_there ? "it" : "this node"),
                 LOG_TEXT("reason", peer_refusal_word(result->refusal)),
                 LOG_TEXT("cause", result->text));
}

static void on_greeted(void *context, struct peer_greeting *greeting,
                       const struct peer_greeting_result *result)
{
    struct peers_guest *guest = context;
    struct peers *peers = guest->peers;

    (void)greeting;
    peers->figures.handshakes[result->refusal]++;
    if (result->fd < 0) {
        report(peers, guest->address, result);
    }
    unlink_guest(guest);
    if (result->fd < 0) {
        return;
    }
    if (result->opening.role == PEER_ROLE_DATA) {
        give_data_link(peers, result);
    } else {
        peers_link_open(peers, result, false);
    }
}

static void print_address(const struct sockaddr_storage *address, char to[PEERS_ADDRESS_BYTES])
{
    char host[PEERS_ADDRESS_BYTES - 16] = "?";
    bool v6 = address->ss_family == AF_INET6;
    unsigned port = ntohs(v6 ? ((const struct sockaddr_in6 *)address)->sin6_port
                             : ((const struct sockaddr_in *)address)->sin_port);

    if (v6) {
        uv_ip6_name((const struct sockaddr_in6 *)address, host, sizeof host);
    } else {
        uv_ip4_name((const struct sockaddr_in *)address, host, sizeof host);
    }
    snprintf(to, PEERS_ADDRESS_BYTES, v6 ? "[%s]:%u" : "%s:%u", host, port);
}

static void welcome(struct peers *peers, int fd, const struct sockaddr_storage *address)
{
    struct peers_guest *guest = calloc(1, sizeof *guest);
    const struct peer_greeting_options options = {
        .loop = peers->options.loop,
        .self = &peers->self,
        .now_ms = peers->options.now_ms,
        .clock = peers->options.clock,
        .asks = asks,
        .done = on_greeted,
        .context = guest,
    };

    if (guest == NULL) {
        close(fd);
        return;
    }
    guest->peers = peers;
    print_address(address, guest->address);
    socket_set_peer(fd, PEERS_SILENT_MS);
    if (peer_greeting_begin(&options, fd, &guest->greeting) != 0) {
        free(guest);
        close(fd);
        return;
    }
    link_guest(peers, guest);
    if (peers->figures.greetings > PEERS_GREETINGS_MAX) {
        peer_greeting_fail(peers->guest_first->greeting, PEER_REFUSED_CROWDED);
    }
}

/* ---- The port ---- */

static void on_connections(uv_poll_t *poll, int status, int events);

static void on_pause(uv_timer_t *timer)
{
    struct peers *peers = timer->data;

    uv_poll_start(&peers->listener, UV_READABLE, on_connections);
}

/* There is no descriptor or memory for another connection: one that has not proven anything gives its own back, and all
 * get a little time. */
static void pause_listener(struct peers *peers, int error)
{
    logger_write(peers->options.logger, LOG_LEVEL_WARN, "peer-not-accepted",
                 LOG_TEXT("cause", strerror(error)));
    if (peers->guest_first != NULL) {
        peer_greeting_fail(peers->guest_first->greeting, PEER_REFUSED_CROWDED);
    }
    uv_poll_stop(&peers->listener);
    uv_timer_start(&peers->pause, on_pause, PAUSE_MS, 0);
}

static void on_connections(uv_poll_t *poll, int status, int events)
{
    struct peers *peers = poll->data;

    (void)status;
    (void)events;
    for (int i = 0; i < ACCEPTS_PER_TURN; i++) {
        struct sockaddr_storage address;
        socklen_t size = sizeof address;
        int fd =
            accept4(peers->fd, (struct sockaddr *)&address, &size, SOCK_NONBLOCK | SOCK_CLOEXEC);
        if (fd >= 0) {
            welcome(peers, fd, &address);
        } else if (errno == EMFILE || errno == ENFILE || errno == ENOBUFS || errno == ENOMEM) {
            pause_listener(peers, errno);
            return;
        } else if (errno != EINTR && errno != ECONNABORTED) {
            return; /* No more; or an error of a connection that is gone (accept(2)). */
        }
    }
}

int peers_listen(struct peers *peers)
{
    return uv_poll_start(&peers->listener, UV_READABLE, on_connections);
}

void peers_listener_end(struct peers *peers)
{
    while (peers->guest_first != NULL) {
        peer_greeting_cancel(peers->guest_first->greeting);
        unlink_guest(peers->guest_first);
    }
}
