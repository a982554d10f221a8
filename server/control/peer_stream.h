/* Frames in and out (peer_frame.h) on one connection of the control loop, once the handshake is over.
 *
 * Threads: the loop's. Memory: the caller's struct, and the heap. The struct must stay until `closed` was called.
 */
#ifndef PEER_STREAM_H
#define PEER_STREAM_H

#include <stdbool.h>
#include <stdint.h>
#include <uv.h>

#include "memory.h"
#include "peer_frame.h"

enum { PEER_STREAM_READ_BYTES = 16 * 1024, PEER_STREAM_KEEP_BYTES = 256 * 1024 };

/* Private to peer_stream.c, but for what is said to be read. */
struct peer_stream {
    uv_tcp_t tcp;
    uv_shutdown_t shutdown;
    uint32_t body_bytes_max;
    struct buffer in;
    bool open;        /* To be read: it takes frames, and gives some. */
    const char *text; /* To be read by `closed`: why it closed. */
    uint64_t frames_in, bytes_in, frames_out, bytes_out; /* To be read. */
    /* A whole frame of a control kind (16 to 31), valid during the call. From the loop only. */
    void (*frame)(struct peer_stream *stream, const struct peer_frame *frame);
    /* It is closed; the memory is the caller's again. From the loop only, always once. */
    void (*closed)(struct peer_stream *stream);
};

/* Take over a connected socket; `frame`, `closed` and `body_bytes_max` are set, all else is 0. Returns 0 or negative
 * errno: the socket is then closed or will be, and `closed` will be called. */
int peer_stream_open(struct peer_stream *stream, uv_loop_t *loop, int fd);

/* What had come behind the handshake. Frames of it are given from within. */
void peer_stream_take(struct peer_stream *stream, struct bytes rest);

/* Bytes that wait to be sent. */
size_t peer_stream_waiting(const struct peer_stream *stream);

/* Returns 0: it is on its way, or waits; -ENOMEM; -EPIPE: it is not open. */
int peer_stream_send(struct peer_stream *stream, uint8_t kind, uint64_t number,
                     const struct bytes parts[], uint32_t part_count);

/* Close it at once, or once what waits has been sent. Nothing more is given or taken. `text` is a constant. */
void peer_stream_close(struct peer_stream *stream, const char *text);
void peer_stream_end(struct peer_stream *stream);

#endif
