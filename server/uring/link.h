/* Links: connections to single shards of other nodes, on this shard's ring (server/cluster/peer_frame.h has what goes over them).
 *
 * Who dials owns a link: this node's streams and the requests that it forwards go out over links that were dialled here,
 * acknowledgements and answers come back on the same connection. The control thread dials, accepts and makes the
 * handshake; a link begins here with the socket (plane_link()).
 *
 * Receiving: multishot into the thread's shared buffers; a frame that lies whole in one is used in place, `input` exists
 * only while one is incomplete, and the rest of a large one is received straight into it. Sending: all frames of a turn
 * in one send, one under way at a time; what is lent (a stream's runs) is sent from where it lies.
 *
 * Bounds: with LINK_OUTPUT_BYTES_MAX waiting to be sent a link takes no more frames (link_send() says LINK_FULL), but
 * for answers. An accepted one with so much waiting reads nothing more until half of it is gone: whoever asks must take
 * the answers. Any link whose next frame has copies for which the log has no room reads nothing more until it has, as
 * clients' writes wait for that; a dialled one always reads but for that, so that two nodes never wait for each other.
 *
 * A link that errs, or brings what is no frame, is closed; once the ring has let go of it those who used it are told, and
 * the control thread.
 *
 * Memory: the links' own from the port, and chunks of the pool for what is under way. Threads: the shard's.
 */
#ifndef LINK_H
#define LINK_H

#include <liburing.h>
#include <stdbool.h>
#include <stdint.h>

#include "bytes.h"
#include "chunk.h"
#include "link_output.h"
#include "pause.h"
#include "plane.h"

struct far_call;
struct replication_link;
struct shard_thread;

enum link_state { LINK_FREE = 0, LINK_OPEN, LINK_CLOSING };

/* Other calls that were asked over a link, in order (far.h). */
struct far_list {
    struct far_call *first, *last;
};

struct link {
    uint32_t index, generation;
    int fd;
    uint8_t state;   /* enum link_state. */
    uint8_t receive; /* enum receive_state (connection.h). */
    bool dialled;
    bool sending, dirty, full, stalled;
    bool replaced;                       /* A newer one to the same shard took its place. */
    bool behind;                         /* Stalled by a frame that waits for the log... */
    uint8_t behind_kind;                 /* ... of this kind... */
    size_t behind_bytes;                 /* ... and size. */
    uint32_t node, start, shard, shards; /* Whom it leads to. */
    struct chunk *input;
    size_t input_wanted;       /* When so much is in `input`, it is whole, or its size is known. */
    struct chunk_list backlog; /* What came while it was stalled. */
    struct link_output output;
    struct replication_link *copies; /* NULL: replication does not know it. */
    uint64_t heard_us;               /* When something last came... */
    bool spared;                     /* ... and since then the thread was paused. */
    struct pause_input input_late;   /* What of its input came before a pause. */
    struct far_list asked;           /* What was asked over it and is not answered. */
};

struct links {
    struct link **table; /* Each stays where it is; used again for others. */
    uint32_t size;
    uint32_t open;
    bool dirty, behind; /* One of them is. */
};

enum link_sent { LINK_SENT, LINK_FULL, LINK_GONE };

/* Take a socket, which is the thread's from here on. What came behind the handshake is in `link->rest`. */
void link_open(struct shard_thread *thread, const struct plane_link *link);

/* By index and generation; NULL where it is not open any more. */
struct link *link_find(struct shard_thread *thread, uint32_t index, uint32_t generation);

/* An open link that was dialled here, to that shard of that node; NULL: there is none. */
struct link *link_to(struct shard_thread *thread, uint32_t node, uint32_t shard);
/* To any shard of it. */
struct link *link_to_node(struct shard_thread *thread, uint32_t node);

/* Append a frame to what goes out with this turn; its body is the parts, the last of which is lent if `lends`. LINK_FULL,
 * where it may not have more (`must`: it is an answer, for which there always is room), and LINK_GONE: nothing was
 * appended. */
enum link_sent link_send(struct shard_thread *thread, struct link *link, uint8_t kind,
                         uint64_t number, const struct bytes parts[], uint32_t count, bool lends,
                         bool must);

/* Has the other end's machine not said for so many us of anything that was sent that it came there? By the kernel's account:
 * it says so within 40 ms (and the time that a packet takes), whatever the process there does. */
bool link_is_unheeded(const struct link *link, uint64_t us);

/* It is of no more use. Who used it is told later. */
void link_close(struct shard_thread *thread, struct link *link);

/* The same, and what was sent over it and has not come there yet never does. */
void link_abort(struct shard_thread *thread, struct link *link);

/* The thread was paused since `before_us`. Whose other end was not heard of late is as replication.h says. */
void links_paused(struct shard_thread *thread, uint64_t before_us);

/* Close those to nodes that are no members any more. */
void links_keep_members(struct shard_thread *thread);

/* Completions. */
void link_received(struct shard_thread *thread, struct link *link, const struct io_uring_cqe *cqe);
void link_received_bulk(struct shard_thread *thread, struct link *link, int32_t result);
void link_sent(struct shard_thread *thread, struct link *link, int32_t result);
struct link *link_at(struct shard_thread *thread, uint32_t index);

/* End of a turn: go on with what waited, send, receive, let go. */
void links_turn(struct shard_thread *thread);

/* The ring is gone: close all. */
void links_fini(struct shard_thread *thread);

#endif
