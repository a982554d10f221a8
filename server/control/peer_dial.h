/* One dial: find the addresses of a name, connect to one after the other, greet.
 *
 * Threads: the loop's; the look-up runs on libuv's pool. Memory: the heap, until a look-up under way has ended.
 */
#ifndef PEER_DIAL_H
#define PEER_DIAL_H

#include "peer_greeting.h"

struct peer_dial; /* private to peer_dial.c */

struct peer_dial_options {
    uv_loop_t *loop;
    const char *host; /* A name, or an address as text; copied, at most HOST_BYTES_MAX. */
    uint16_t port;
    uint32_t silent_ms;           /* Of the socket (sockets.h). */
    const struct peer_self *self; /* Must stay until the end. */
    struct peer_wish wish;
    uint64_t (*now_ms)(void *clock);
    void *clock;
    /* It is over; once, from the loop, with the dial not to be used any more. */
    void (*done)(void *context, const struct peer_greeting_result *result);
    void *context;
};

/* Returns 0, or negative errno: it could not even begin, and `done` will not be called. */
int peer_dial_begin(const struct peer_dial_options *options, struct peer_dial **dial);

/* End it without a word. */
void peer_dial_cancel(struct peer_dial *dial);

#endif
