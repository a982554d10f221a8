/* A connection: bytes in, requests out; answers in, bytes out. Knows nothing of what the bytes mean:
 * that is its protocol's, chosen by the first byte.
 *
 *   OPEN -> MOVING -> (handed to another shard)
 *     |        v
 *     +--> DRAINING -> LINGERING -> CLOSING -> free
 *     +----------------------------^
 *
 * MOVING: waits for the receive under way to end, then the socket goes to another shard.
 * DRAINING: takes no more requests; answers what it took. LINGERING: everything was answered and the
 * write side shut; reads on (and drops it) until the client closes, so that the last error is not lost
 * to a reset. CLOSING: waits for the ring to let go of the socket.
 *
 * Receiving: multishot into the shard's shared buffers; requests that lie whole in one are used in
 * place. `input` exists only while a request is incomplete. Of a large one the rest is received
 * straight into `input`. STALLED (too many unsent answers): nothing is read. What was received already
 * waits, in this order: `turned` (sent back by other shards), `put_off` (whole requests that were about to
 * be executed), `input`, `backlog`. Replies go out in any order, but requests of one connection for one
 * key are executed as they came. Sending: all answers of a turn in one send, one under way at a time.
 * Requests wait while as much as OUTPUT_PACE_BYTES waits to be read, or less while much waits for all of the shard's clients
 * together (UNREAD_BYTES_MAX); at CROWDED_BYTES_MAX who reads nothing is closed. Where answers come anyhow (those held
 * for the log) and pass twice limits.output_buffer, OUTPUT_LIMIT is the last one and the connection is
 * *cut*: DRAINING, and what else would be answered is dropped.
 *
 * Memory: about 200 bytes and what is under way. Threads: its shard's.
 */
#ifndef CONNECTION_H
#define CONNECTION_H

#include <liburing.h>
#include <stdbool.h>
#include <stdint.h>

#include "bytes.h"
#include "chunk.h"
#include "login.h"
#include "pause.h"
#include "reply_order.h"
#include "resp.h"
#include "status.h"
#include "turned.h"

struct shard_thread;
struct connection;
struct call;
struct gather;
struct reply;

/* How far a request has been looked at whose size is not known yet. Zeroed for each. */
struct measuring {
    size_t wanted; /* It has at least so many bytes. */
    struct resp_cursor cursor;
};

/* What came of all the parts of a gathered reply (gather.h). */
struct gathered {
    uint8_t frame_type;
    uint64_t request_id;
    uint32_t part_count;
    struct bytes asked; /* What gather_open() was given. */
    enum status status; /* Another than OK: in place of the parts. */
    const char *text;
    struct bytes value; /* The parts, or the keys of a scan (each varint size and bytes). */
    uint64_t cursor;
};

/* What a front door knows of its language. */
struct protocol {
    const char *name;
    /* Its clients cannot be told to come back: their writes wait for a segment of the log for LOG_WAIT_MS, others' no
     * longer than the queue delay. */
    bool patient;
    /* Size of the request at the start of `input`, all of which has not come perhaps; 0 while that cannot be told
     * yet: look again when `wanted` bytes are there. Negative: there is no going on; the protocol has answered and
     * the connection drains. */
    int64_t (*measure)(struct shard_thread *thread, struct connection *connection,
                       struct measuring *measuring, struct bytes input);
    /* A whole request. It stays where it is until the batch was executed. */
    void (*serve)(struct shard_thread *thread, struct connection *connection, struct bytes request);
    /* There is no memory for a request that begins so; it will be skipped: answer that. */
    void (*skipped)(struct shard_thread *thread, struct connection *connection,
                    struct bytes request_start);
    /* Say why the connection ends; nothing follows. */
    void (*complain)(struct shard_thread *thread, struct connection *connection,
                     enum status status);
    /* Bytes of an answer: how many at most, then the bytes. The second follows the first at once. */
    size_t (*answer_room)(struct shard_thread *thread, const struct call *call,
                          const struct reply *reply);
    size_t (*answer_put)(struct shard_thread *thread, const struct call *call,
                         const struct reply *reply, uint8_t *to);
    /* An answer that answer_put() made was kept meanwhile: the ack level in it is this one now. NULL: it has none. */
    void (*set_level)(const struct call *call, uint8_t *answer, size_t size, enum ack_level level);
    /* Bytes of a part of a gathered reply that is not made: at most PART_INSTEAD_BYTES. */
    size_t (*part_instead)(const struct call *call, uint8_t frame_type, enum status status,
                           const char *text, uint8_t *to);
    /* Send a gathered reply. */
    void (*gathered)(struct shard_thread *thread, struct connection *connection,
                     const struct gathered *gathered);
    /* What it keeps with the connection goes. NULL: nothing. */
    void (*forget)(struct shard_thread *thread, struct connection *connection);
};

enum { PART_INSTEAD_BYTES = 1024 };

enum connection_state {
    CONNECTION_FREE = 0,
    CONNECTION_OPEN,
    CONNECTION_MOVING,
    CONNECTION_DRAINING,
    CONNECTION_LINGERING,
    CONNECTION_CLOSING,
};

enum receive_state { RECEIVE_NONE = 0, RECEIVE_MULTI, RECEIVE_CANCELLED, RECEIVE_BULK };

struct connection {
    uint32_t index, generation;
    int fd;
    uint8_t state;                       /* enum connection_state. */
    uint8_t receive;                     /* enum receive_state. */
    bool sending, dirty, stalled, ended; /* ended: the client has sent all it will. */
    bool waits;                          /* Its large request is whole, and waits for its turn. */
    uint8_t move_to;                     /* MOVING: the shard. */
    uint32_t in_flight;                  /* Requests not answered. */
    uint32_t batched;                    /* Of them and of their parts, in the batch. */
    uint64_t
        awaited_bytes; /* Of them, answers of other shards, or from the disk, at their largest. */
    uint32_t gathers;  /* Of them, replies that are being put together (gather.h), ... */
    uint64_t gather_bytes;           /* ... how large such were of late, ... */
    struct gather *gathers_kept;     /* ... and those that are whole and could not go out yet. */
    uint32_t next;                   /* In the list of dirty ones, or of free ones. */
    const struct protocol *protocol; /* NULL before the first byte. */
    struct reply_order *order;       /* NULL: replies go out as they come. */
    struct resp_session *resp;       /* The RESP door's. */
    const struct user *user;         /* Who the client is; NULL: it has not said so. */
    struct login login;
    struct chunk *input;
    size_t input_wanted; /* When so much of a request is in `input`, it is whole... */
    bool input_partial;  /* ... or must be looked at again. */
    struct measuring measuring;
    uint64_t skip_bytes; /* Of a request that is not taken. */
    struct chunk_list put_off, backlog;
    struct pause_input input_late; /* What of its input came before a pause. */
    struct turned_list
        turned;         /* Other shards sent them back until there is room for the answers. */
    bool redirects;     /* It came to the cluster port: keys of other nodes are answered MOVED. */
    uint32_t far_bytes; /* How large the answers of other nodes were, of late. */
    bool cut;           /* OUTPUT_LIMIT was its last answer. */
    struct output output;
    size_t answer_bytes_max; /* The largest answer since the output was last empty. */
    uint64_t client;         /* The client's id, after its HELLO. */
    uint64_t map_epoch;      /* Of the newest map that it was told. */
    bool map_wanted;         /* It asked for it (native_map.h). */
    uint64_t move_request;   /* MOVING: the HELLO's request id. */
    uint64_t touched_us;     /* When bytes last came, or lingering began. */
    uint64_t sent_us;        /* When what is being sent was given to the kernel. */
    uint64_t arrived_us;     /* When what is being fed may have come: queue delay counts from it. */
    uint64_t received;       /* Bytes so far. */
    uint64_t
        behind_bytes; /* Those up to here had come by `behind_us`, but there was no time or buffer */
    uint64_t behind_us; /* to receive them. 0: none. */
};

struct connections {
    struct connection **blocks; /* Of CONNECTIONS_PER_BLOCK each: addresses never change. */
    uint32_t block_count, size;
    uint32_t free;              /* Index + 1. */
    uint32_t dirty, dirty_last; /* Index + 1: the list, in order of marking. */
    uint32_t waiting;           /* Connections whose `waits` is set. */
    uint32_t open;
    uint32_t lingering;
    uint64_t input_bytes; /* Received of large requests that are not whole yet. */
};

/* The thread was paused: those whose client has hung up take no more requests. */
void connections_paused(struct shard_thread *thread);

/* Take a socket. Returns NULL where there is no memory; the socket is then the caller's. */
struct connection *connection_open(struct shard_thread *thread, int fd);
struct connection *connection_at(struct shard_thread *thread, uint32_t index);

/* The connection, unless it has gone since. */
struct connection *connection_find(struct shard_thread *thread, uint32_t index,
                                   uint32_t generation);

/* Completions. */
void connection_received(struct shard_thread *thread, struct connection *connection,
                         const struct io_uring_cqe *cqe);
void connection_received_bulk(struct shard_thread *thread, struct connection *connection,
                              int32_t result);
void connection_sent(struct shard_thread *thread, struct connection *connection, int32_t result);

/* Bytes that came with a handed-over socket. */
void connection_feed(struct shard_thread *thread, struct connection *connection,
                     struct bytes bytes);

/* Room in the output, and the bytes written there. Room is NULL when the connection has closed its
 * ears or memory is short; then nothing is committed. */
uint8_t *connection_reserve(struct shard_thread *thread, struct connection *connection,
                            size_t size);
void connection_commit(struct shard_thread *thread, struct connection *connection, size_t size);
void connection_write(struct shard_thread *thread, struct connection *connection,
                      struct bytes bytes);

/* The reply to request `number` (of connection->order), or to any where there is no order. */
void connection_answer(struct shard_thread *thread, struct connection *connection, uint64_t number,
                       struct bytes bytes);
/* The reply that was due was written: those that were kept behind it follow. */
void connection_answered(struct shard_thread *thread, struct connection *connection);

/* A whole request was taken apart but is not to be executed now, nor is what follows it for the same
 * shard. Those of the batch that came before it were put off or executed before. */
void connection_put_off(struct shard_thread *thread, struct connection *connection,
                        struct bytes request);

/* What may wait to be read before requests are put off. */
uint64_t connection_pace_bytes(const struct shard_thread *thread);

/* An answer of another shard, or of a session that is read from the disk, is awaited, or not any more. */
void connection_awaits(struct connection *connection, struct call *call, bool awaits);

/* More answers wait to be sent, or are awaited, than it is wise to add that to request `number` to (of
 * connection->order; else any). */
bool connection_is_full(const struct shard_thread *thread, const struct connection *connection,
                        uint64_t number);

/* Take no more requests, answer, close. */
void connection_drain(struct shard_thread *thread, struct connection *connection);

/* Its client does not read: OUTPUT_LIMIT is the last thing it is told. It must be open and not cut. */
void connection_cut(struct shard_thread *thread, struct connection *connection);

/* Close without waiting for anything but the ring. */
void connection_close(struct shard_thread *thread, struct connection *connection);

/* Hand the socket to another shard as soon as the ring lets go of it. */
void connection_move(struct shard_thread *thread, struct connection *connection, uint32_t shard,
                     uint64_t request_id);

/* The socket is another shard's now: forget it without closing it. */
void connection_forget(struct shard_thread *thread, struct connection *connection);

/* Something changed: look at it at the end of the turn. */
void connection_mark(struct shard_thread *thread, struct connection *connection);

/* End of a turn: take in what waited for a dirty connection, and execute it; then send, receive, stall, close as each of
 * them needs it, which executes nothing here any more. */
void connections_resume(struct shard_thread *thread);
void connections_settle(struct shard_thread *thread);

/* Close those whose client is a user no more (login_is_over()). */
void connections_end_logins(struct shard_thread *thread);

/* Does so much wait to be read that nothing more may be answered? */
bool connections_are_crowded(const struct shard_thread *thread);

/* Once in CHECK_MS, or CROWDED_MS: close those that linger or dawdle, or crowd out others. */
void connections_check(struct shard_thread *thread);

/* The thread ends: what was sent can still be read, then the stream is over. */
void connections_shut(struct shard_thread *thread);
void connections_fini(struct shard_thread *thread);

#endif
