/* Connections between nodes, on the control loop: the peers' port, dialling, handshakes, control links.
 *
 * A link is one TCP connection between two nodes; who dialled it owns it. Each node dials every other member: one
 * *control link*, and once that is up one *data link* from each shard here to each shard there that can share slots (of
 * shards i here and j there those with the same remainder by the greatest common divisor of both numbers of shards). All
 * begin with the same handshake (peer_hello.h). Then a control link stays here and carries frames (peer_frame.h); the
 * socket of a data link is given away for good (`data_link`), at both ends.
 *
 * What a node sends goes on the control link that it dialled, or, while that is not there, on the one that the other
 * dialled. So two nodes can talk as soon as one of them reaches the other.
 *
 *   peers.c           begin and end, members, figures
 *   peers_listener.c  the port, who comes in
 *   peers_dial.c      whom to dial, when, and again when
 *   peers_link.c      control links, and nodes that join
 *   peer_stream.c     frames in and out on one connection (join_client.c uses this and the next, too)
 *   peer_dial.c       one dial: name, addresses, handshake
 *   peer_greeting.c   one handshake on one socket
 *
 * Bounds: PEERS_GREETINGS_MAX connections to the port whose handshake is under way: one more, and the oldest of them is
 * closed, so that silent ones keep nobody out. A dial has PEER_CONNECT_MS to connect, a handshake PEER_GREETING_MS, and
 * each of its frames PEER_HELLO_FRAME_BYTES_MAX. A frame on a control link has at most PEERS_BODY_BYTES_MAX, and what its
 * other end has not taken yet at most PEERS_QUEUE_BYTES_MAX.
 *
 * A dial that fails is done again after PEERS_RETRY_MS, twice as much each time up to PEERS_RETRY_MS_MAX, less a random
 * part of up to a half; and at once when that node itself comes in. A refusal is logged, once for as long as it stays
 * the same.
 *
 * Sockets have TCP_NODELAY, close-on-exec, and a TCP_USER_TIMEOUT (RFC 5482) of PEERS_SILENT_MS with keepalive, so that
 * the kernel ends a connection to a machine that is gone.
 *
 * Threads: those of the loop, but for peers_link_lost(). Memory: the heap. Callbacks are called from the loop only,
 * never from within a call of what stands here, and may call anything here but peers_destroy(). The process ignores
 * SIGPIPE.
 */
#ifndef PEERS_H
#define PEERS_H

#include <stdbool.h>
#include <stdint.h>
#include <uv.h>

#include "address.h"
#include "logger.h"
#include "peer_frame.h"
#include "peer_hello.h"

enum {
    PEERS_GREETINGS_MAX = 128, /* Of connections that came in; those that are dialled: */
    PEERS_DIALS_MAX = 64,      /* At once; the rest wait for their turn. */
    PEERS_JOINERS_MAX = 8,     /* One more is refused. */
    PEERS_JOIN_MS = 60000, /* So long one may take, from the handshake to what it was answered. */
    PEERS_BODY_BYTES_MAX = 4 * 1024 * 1024,
    PEERS_QUEUE_BYTES_MAX = 8 * 1024 * 1024,
    PEERS_RETRY_MS = 50,
    PEERS_RETRY_MS_MAX = 500,
    PEERS_SILENT_MS = 5000,
    PEERS_APART_MS = 60000,  /* A machine that starts anew, its clock set, is back by then. */
    PEERS_SHARDS_MAX = 1024, /* Of one node. */
};

struct peers; /* private to peers_private.h */

/* A connection between a shard here and one of another node, after the handshake. */
struct peers_data_link {
    int fd;                 /* The callback's from here on. Non-blocking. */
    bool dialled;           /* By this node. */
    uint32_t local;         /* Which shard here. */
    uint32_t node, start;   /* The other end... */
    uint32_t shard, shards; /* ... which shard of it, of how many. */
    struct bytes rest;      /* What came behind the handshake; valid during the call. */
};

struct peers_options {
    uv_loop_t *loop; /* Must turn once more after peers_destroy(). */
    struct logger *logger;
    const char *address; /* To listen on: an IPv4 or IPv6 address, as text. */
    uint16_t port;       /* 0 picks one. */
    /* Who this node is. Copied; `epoch` is changed by peers_set_members(). */
    struct peer_self self;
    uint64_t (*now_ms)(void *clock); /* Wall time, as deadlines here go by it. */
    void *clock;
    void *context; /* Of what follows. NULL: nobody asks. */
    /* The first control link with a node is up, of the two that there may be, or the last is gone. Also: it is another
     * life of the node (`start`) than before; then `control_down` comes first. */
    void (*control_up)(void *context, uint32_t node, uint32_t start);
    void (*control_down)(void *context, uint32_t node);
    /* A frame from a member, of a control kind (16 to 31); valid during the call. */
    void (*control_frame)(void *context, uint32_t node, const struct peer_frame *frame);
    /* A data link is up, in either direction. NULL: data links are not dialled, and refused. */
    void (*data_link)(void *context, const struct peers_data_link *link);
    /* A member that is there does not talk to this node, as their clocks are too far apart (`apart`): found at a dial, by
     * either of them. And that they do again; or that the member has not been there for `apart_ms`, so that it counts as any
     * other that is away, while no other one that is there finds the same: then it may be this node's clock. A member that is
     * removed is not told of. NULL: nobody asks. */
    void (*clock_apart)(void *context, uint32_t node, bool apart);
    uint32_t apart_ms; /* 0: PEERS_APART_MS. */
    /* Was this node a member once, and is none any more, by the map of peers_set_members()? It is told so where its own map
     * is an older one. NULL: nobody was. */
    bool (*was_member)(void *context, uint32_t node);
    /* `node`, which has proven that it is of the cluster, says so of this one. May come again. */
    void (*removed)(void *context, uint32_t node);
    /* The same of a later life of this node: its data directory was copied, or an old copy of it was put back. */
    void (*outlived)(void *context, uint32_t node);
    /* A frame from a node that joins, which has no number yet: to be answered with peers_join_answer(), now or later, by
     * the `joiner`'s number, which is never given again. NULL: such nodes are refused. */
    void (*join_frame)(void *context, uint64_t joiner, const struct peer_frame *frame);
};

/* Another node of the map, to be dialled and let in. */
struct peer_member {
    uint32_t node;
    char host[HOST_BYTES_MAX + 1];
    uint16_t port;  /* 0: not known; it is let in, but not dialled. */
    uint32_t start; /* The least that is known of its life: an earlier one is refused. */
};

struct peers_figures {
    uint64_t handshakes[PEER_REFUSALS]; /* By how they ended, of both directions. */
    uint32_t greetings;                 /* Under way: of connections that came in... */
    uint32_t dials;             /* ... and that are dialled, with the look-up of the name. */
    uint32_t dialled, accepted; /* Control links that are up. */
    uint32_t data_links;        /* Dialled, given away and not lost. */
    uint64_t dials_failed;      /* Nobody there: no name, no connection. */
    uint64_t frames_in, frames_out, bytes_in, bytes_out; /* Of control links. */
    uint64_t dropped; /* Frames that were not sent, as too much waited. */
};

/* Listen, and nothing more: without members nobody is dialled. Returns 0, or negative errno with what is wrong, and what
 * to do, in `message`. */
int peers_create(const struct peers_options *options, struct peers **peers, char *message,
                 size_t message_size);

uint16_t peers_port(const struct peers *peers);

/* Close everything, but for the data links, which were given away. Nothing is called any more. The loop must turn until
 * its handles are closed. NULL is fine. */
void peers_destroy(struct peers *peers);

/* The other members are now these, by the map of this epoch. Links with nodes that are none any more are cut, but for
 * data links; of those that stay nothing changes, but that a new address counts from the next dial on. Copied. This node
 * itself is passed over. Returns 0; -ENOMEM with nothing changed. */
int peers_set_members(struct peers *peers, uint64_t epoch, const struct peer_member members[],
                      uint32_t count);

/* Send a frame to a member. Returns true: it is on its way, or waits for its turn; false: there is no control link, or
 * too much waits already: a LIVENESS is dropped then, with any other frame the link is cut, as the other end is stuck. */
bool peers_send(struct peers *peers, uint32_t node, uint8_t kind, uint64_t number,
                const struct bytes parts[], uint32_t part_count);

/* Is there a control link? */
bool peers_reaches(const struct peers *peers, uint32_t node);

/* A data link that was dialled here is gone: it is dialled again, if that is still called for. Any thread, also while
 * peers_destroy() runs, but not after it. */
void peers_link_lost(struct peers *peers, uint32_t local, uint32_t node, uint32_t shard);

/* Answer a node that joins, which ends its connection once it has gone out. Returns false: it has gone meanwhile. */
bool peers_join_answer(struct peers *peers, uint64_t joiner, uint8_t kind, uint64_t number,
                       const struct bytes parts[], uint32_t part_count);

void peers_figures(const struct peers *peers, struct peers_figures *figures);

#endif
