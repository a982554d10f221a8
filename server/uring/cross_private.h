/* The messages of cross.h, for cross.c and cross_answer.c.
 *
 * Memory: a message lies in the queue to the thread that takes it, until that has let it go (hop.h). Threads: the
 * sender's builds it, the taker's reads it.
 */
#ifndef CROSS_PRIVATE_H
#define CROSS_PRIVATE_H

#include "calls.h"
#include "cross.h"
#include "shard.h"

enum cross_kind {
    CROSS_REQUEST = 1,
    CROSS_ANSWER,
    CROSS_NO_ANSWER,
    CROSS_TURNED,
    CROSS_SOCKET,
    CROSS_MOVED,
    CROSS_TAKEN, /* A socket that was taken before its turn. */
};

/* Of every message. Its bytes follow the message's struct, or lie in the block. */
struct cross_head {
    uint32_t kind;
    uint32_t size;
    struct chunk *block; /* A large one, of no pool meanwhile. */
};

struct cross_request_message {
    struct cross_head head;
    struct request request; /* Of its strings only the sizes count. */
    struct call call;       /* REQUEST: of the sender, how to answer. */
    uint32_t answer_bytes;  /* TURNED: how large the answer would be. */
};

struct cross_answer_message {
    struct cross_head head;
    uint64_t ticket;
};

/* In place of an answer: there was no memory for it, or for the call. */
struct cross_no_answer_message {
    struct cross_head head;
    uint64_t ticket;
    uint32_t status;
};

/* SOCKET: only the descriptor. MOVED: a connection after its HELLO, and what it sent after that. */
struct cross_socket_message {
    struct cross_head head;
    int fd;
    bool redirects;
    bool late; /* What it sent came before a pause (pause.h). */
    uint64_t client, request_id;
    const struct protocol *protocol;
    const struct user *user;
};

/* Append bytes there. Returns where the next go. */
static inline uint8_t *cross_put(uint8_t *to, struct bytes bytes)
{
    if (bytes.size > 0) {
        memcpy(to, bytes.data, bytes.size);
    }
    return to + bytes.size;
}

/* Room in the queue to `shard` for a message, all but `spare` bytes of it, and `size` bytes that go with it.
 * Returns where these go, with `head` set but for its kind; NULL where there is no room or no memory. */
uint8_t *cross_begin(struct shard_thread *thread, uint32_t shard, size_t message_size, size_t size,
                     uint32_t spare, struct cross_head **head);

/* The request as a message of `kind`, but for what only that kind has; NULL as above. */
struct cross_request_message *cross_put_request(struct shard_thread *thread, uint32_t shard,
                                                enum cross_kind kind, const struct request *request,
                                                uint32_t spare);

/* The request of such a message; its strings lie at `at`. */
struct request cross_request_of(const struct cross_request_message *message, const uint8_t *at);

/* ---- cross_answer.c ---- */

/* Send what is owed to that shard, in order, as far as the queue takes it. */
void cross_pay(struct shard_thread *thread, uint32_t shard);

/* A request of another shard is not taken: its call there ends with BUSY. At most REFUSED_MAX can wait for that. */
void cross_refuse(struct shard_thread *thread, uint32_t from, uint64_t ticket);

#endif
