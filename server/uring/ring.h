/* One shard's io_uring: set-up, receive buffers, and what a completion belongs to.
 *
 * Made by the control thread, disabled (so that a refusal is a start-up error with a text); enabled by
 * the shard's thread, which from then on is the only one to submit. Work runs only when that thread
 * asks for it (DEFER_TASKRUN), in the one system call of a turn.
 *
 * Memory: owns the ring and RECEIVE_BUFFERS buffers, whose pages exist once they were used.
 */
#ifndef RING_H
#define RING_H

#include <liburing.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "bounds.h"
#include "bytes.h"

/* What a completion is about; user_data is this, an index and that index's generation. */
enum ring_event {
    RING_IGNORED = 1, /* Nobody waits: cancels, wake-ups sent. */
    RING_ACCEPT,
    RING_RECEIVE,      /* Multishot, into a receive buffer. */
    RING_RECEIVE_BULK, /* Into the frame itself. */
    RING_SEND,
    RING_LOG_WRITE,
    RING_MAIL,         /* The eventfd of the mailbox was read. */
    RING_HOP,          /* Another shard put something into its queue to us. */
    RING_LINK_RECEIVE, /* As RECEIVE, RECEIVE_BULK and SEND, of a link. */
    RING_LINK_BULK,
    RING_LINK_SEND,
    RING_HOP_SENT /* Our wake-up of another shard; index: its number. */
};

struct ring_tag {
    enum ring_event event;
    uint32_t index; /* 24 bits. */
    uint32_t generation;
};

static inline uint64_t ring_tag_pack(enum ring_event event, uint32_t index, uint32_t generation)
{
    return (uint64_t)event << 56 | (uint64_t)(index & 0xffffff) << 32 | generation;
}

static inline struct ring_tag ring_tag_unpack(uint64_t data)
{
    return (struct ring_tag){
        .event = (enum ring_event)(data >> 56),
        .index = (uint32_t)(data >> 32) & 0xffffff,
        .generation = (uint32_t)data,
    };
}

struct ring {
    struct io_uring uring;
    struct io_uring_buf_ring *buffers;
    uint8_t *buffer_bytes;
    uint32_t used_count; /* Buffers to give back at the end of the turn. */
    uint16_t used[RECEIVE_BUFFERS];
};

/* Returns 0 or negative errno; then `message` says what is wrong and what to do. */
int ring_create(struct ring *ring, char *message, size_t message_size);
void ring_destroy(struct ring *ring);

/* By the thread that will use it, once. Returns 0 or negative errno. */
int ring_enable(struct ring *ring);

/* An empty submission, never NULL: a full queue is submitted first. */
struct io_uring_sqe *ring_submission(struct ring *ring);

/* Submit everything and wait for a completion, at most `timeout_us`; 0: only look. */
void ring_wait(struct ring *ring, uint64_t timeout_us);

/* The bytes of a receive completion with IORING_CQE_F_BUFFER. Good until ring_give_back(). */
struct bytes ring_received(struct ring *ring, const struct io_uring_cqe *cqe);

/* All buffers got from ring_received() are free again. */
void ring_give_back(struct ring *ring);

/* What to say about an error of io_uring's set-up; `what` is the call that failed. */
void ring_explain(int error, const char *what, char *message, size_t message_size);

#endif
