/* One handshake (peer_hello.h) on one socket, within a time, on a libuv loop.
 *
 * It watches the socket with a poll handle, so that the socket is free again, and no loop's, when it is done: whoever
 * gets it may give it to another thread.
 *
 * Threads: the loop's. Memory: the heap, about 6 KB, until its handles have closed.
 */
#ifndef PEER_GREETING_H
#define PEER_GREETING_H

#include <stdint.h>
#include <uv.h>

#include "peer_hello.h"

enum {
    PEER_CONNECT_MS =
        1000, /* A network that comes back is found by the next try, not by TCP's patience. */
    PEER_GREETING_MS = 3000,
    PEER_REST_BYTES_MAX = 4096,
};

struct peer_greeting; /* private to peer_greeting.c */

struct peer_greeting_result {
    int rc; /* 0: the handshake took place, and `refusal` says how it ended; else errno: there was no connection. */
    enum peer_refusal refusal;
    bool refused_there; /* By the other end. */
    const char *text;   /* Why it failed. */
    /* Of one that went well; else -1. The callback's from here on: non-blocking. */
    int fd;
    struct peer_opening opening;
    struct bytes rest; /* What came behind the handshake. */
};

struct peer_greeting_options {
    uv_loop_t *loop;
    const struct peer_self *self;    /* Must stay until the end. */
    const struct peer_wish *wish;    /* Of the dialler, copied; NULL: the acceptor. */
    uint64_t (*now_ms)(void *clock); /* Wall time. */
    void *clock;
    /* The acceptor's: may this one in? NONE, or why not, with a text. */
    enum peer_refusal (*asks)(void *context, const struct peer_opening *opening, const char **text);
    /* It is over; once, from the loop. The result and the greeting are valid during the call. */
    void (*done)(void *context, struct peer_greeting *greeting,
                 const struct peer_greeting_result *result);
    void *context;
};

/* Begin on a non-blocking socket, connected or (the dialler's) connecting. Returns 0, with the socket the greeting's; or
 * negative errno, with the socket still the caller's. */
int peer_greeting_begin(const struct peer_greeting_options *options, int fd,
                        struct peer_greeting **greeting);

/* End it: `done` is called from within with this reason... */
void peer_greeting_fail(struct peer_greeting *greeting, enum peer_refusal refusal);

/* ... or not at all. */
void peer_greeting_cancel(struct peer_greeting *greeting);

#endif
