/* What the files of RESP's transport share: its lines, and what becomes of answers.
 *
 * Memory: all of it belongs to the transport. Threads: that of the pump's loop. Private to transport_resp*.c.
 */
#ifndef BENCH_TRANSPORT_RESP_PRIVATE_H
#define BENCH_TRANSPORT_RESP_PRIVATE_H

#include <stdbool.h>
#include <stdint.h>

#include <hiredis/hiredis.h>

#include "memory.h"
#include "resp_route.h"
#include "transport.h"

enum {
    RESP_PAUSE_MS_MIN = 20, /* Before a line is connected anew; doubled up to... */
    RESP_PAUSE_MS_MAX = 500,
    RESP_READ_BYTES = 256 * 1024,
};

enum line_state { LINE_IDLE, LINE_CONNECTING, LINE_OPEN, LINE_CLOSING };

struct line {
    struct resp *resp;
    enum line_state state;
    uv_tcp_t tcp;
    uv_connect_t connect;
    uv_write_t write;
    bool writing, dirty;
    struct line *next_dirty;
    struct buffer out;    /* Not sent yet. */
    struct buffer flying; /* libuv's while `writing`. */
    redisReader *reader;
    uint32_t greetings; /* Answers to come that belong to no operation. */
    struct operation *first, **last;
    uint64_t retry_ns;
    uint32_t pause_ms;
};

struct resp {
    struct transport transport;
    uv_loop_t *loop;
    struct resp_route route;
    bool cluster;
    uint64_t timeout_ns;
    uint32_t wait; /* --wait */
    uint64_t disconnects;
    uint32_t count, width; /* Lines in all, and of a lane: by the node's place in `route`. */
    struct line *lines, *dirty;
    uv_prepare_t flusher;
    uv_timer_t ticker;
    struct buffer greeting;
    char input[RESP_READ_BYTES];
};

static inline uint32_t resp_node_of(const struct line *line)
{
    return (uint32_t)(line - line->resp->lines) % line->resp->width;
}

/* The request's bytes are in `out`; from now on its answer is waited for. */
void resp_enqueue(struct line *line, struct operation *operation);

/* In a cluster: put the request, which the operation keeps, on the line; `asking`: after ASKING. Returns 0 or -ENOMEM, with
 * nothing put. */
int resp_put_kept(struct line *line, struct operation *operation, bool asking);

/* This came on the line. The operation that it is the answer to ends, or goes to another line. */
void resp_take_reply(struct line *line, const redisReply *reply);

#endif
