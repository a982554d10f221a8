/* A new node asks the members that a join token names, one after the other, to let it in: handshake, one frame there,
 * one frame back.
 *
 * Threads: the loop's. Memory: the heap, until `done`.
 */
#ifndef JOIN_CLIENT_H
#define JOIN_CLIENT_H

#include <uv.h>

#include "join_token.h"
#include "peer_frame.h"

enum {
    JOIN_CLIENT_PORT = 7402,       /* Where a token's address has none. */
    JOIN_CLIENT_ANSWER_MS = 60000, /* So long a member may take, once it has let us in. */
    JOIN_CLIENT_TEXT_BYTES_MAX = 2048,
};

struct join_client; /* private to join_client.c */

struct join_client_options {
    uv_loop_t *loop;
    const struct join_token *token; /* Copied. */
    uint32_t shards;                /* That this node will have. */
    uint32_t clock_skew_max_ms;
    uint64_t (*now_ms)(void *clock); /* Wall time. */
    void *clock;
    struct bytes body; /* Of the JOIN frame; copied. */
    /* Once, from the loop. `rc` 0: `answer` is what the member sent; else NULL, and `text` says of every address what
     * was wrong. -ECONNREFUSED: nobody was reached; -EACCES: all that were have refused; -ETIMEDOUT, -EPIPE: one let us
     * in, but gave no answer: it may be that this node is a member now; -ENOMEM. All is valid during the call. */
    void (*done)(void *context, int rc, const struct peer_frame *answer, const char *text);
    void *context;
};

/* Returns 0, or -ENOMEM with `done` never called. */
int join_client_start(const struct join_client_options *options, struct join_client **client);

/* End it; `done` is not called any more. Not from within `done`. */
void join_client_cancel(struct join_client *client);

#endif
