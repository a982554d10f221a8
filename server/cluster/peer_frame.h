/* Frames between nodes: what runs on the connections of the peers' port, from the first byte on.
 *
 *   offset size
 *        0    4  body size: bytes after this head, at most PEER_BODY_BYTES_MAX
 *        4    1  kind, enum peer_kind
 *        5    3  0
 *        8    8  number, whose meaning depends on the kind
 *       16    4  CRC-32C of the 16 bytes before it and of the body
 *
 * Integers are little-endian. Frames of a connection are in order and none is missing; what is wrong with one (a
 * checksum, a kind that its range's owner does not know) ends the connection. Before the handshake (peer_hello.h) only
 * its own kinds are read, and these only up to its own bound.
 *
 * Threads: any. Memory: the caller's.
 */
#ifndef PEER_FRAME_H
#define PEER_FRAME_H

#include <stdint.h>

#include "bytes.h"
#include "limits.h"

enum {
    PEER_HEAD_BYTES = 20,
    /* The largest session as a reply, and what it comes in. */
    PEER_BODY_BYTES_MAX = SESSION_BYTES_MAX + REPLY_BESIDE_BYTES_MAX + 1024 * 1024,
};

/* X(name, number): a wire format. Numbers are never given to another kind. The ranges belong to one module each:
 * 1..15 the handshake, 16..31 control connections, 32..63 replication, 64..79 forwarded requests, 80..95 messages of
 * clients to clients. */
#define PEER_KIND_TABLE(X)                                                                         \
    X(HELLO, 1)                                                                                    \
    X(CHALLENGE, 2)                                                                                \
    X(OPEN, 3)                                                                                     \
    X(OPENED, 4)                                                                                   \
    X(REFUSED, 5)                                                                                  \
    X(RAFT, 16)                                                                                    \
    X(LIVENESS, 17)                                                                                \
    X(REPORT, 18)                                                                                  \
    X(MAP_PULL, 19)                                                                                \
    X(MAP, 20)                                                                                     \
    X(PROPOSE, 21)                                                                                 \
    X(PROPOSED, 22)                                                                                \
    X(JOIN, 23)                                                                                    \
    X(JOINED, 24)                                                                                  \
    X(ARCHIVED, 25)                                                                                \
    X(FAR_REQUEST, 64)                                                                             \
    X(FAR_ANSWER, 65)                                                                              \
    X(PUBLISH, 80)                                                                                 \
    X(NEWS_ASK, 81)                                                                                \
    X(NEWS_ANSWER, 82)

enum peer_kind {
#define PEER_KIND_ENUM(name, number) PEER_##name = (number),
    PEER_KIND_TABLE(PEER_KIND_ENUM)
#undef PEER_KIND_ENUM
};

/* Where the ranges begin, and what is behind the last one. */
enum {
    PEER_CONTROL_FIRST = 16,
    PEER_REPLICATION_FIRST = 32,
    PEER_FAR_FIRST = 64,
    PEER_CLIENTS_FIRST = 80,
    PEER_KINDS_END = 96,
};

struct peer_frame {
    uint8_t kind;
    uint64_t number;
    struct bytes body;
};

/* Write the head of a frame whose body is the parts, joined. They have at most PEER_BODY_BYTES_MAX in all; `kind` is
 * from 1 to PEER_KINDS_END - 1. */
void peer_frame_head_put(uint8_t head[PEER_HEAD_BYTES], uint8_t kind, uint64_t number,
                         const struct bytes parts[], uint32_t part_count);

/* Size of the whole frame whose first bytes are `input`, head included.
 *
 * Returns the size, 0 while fewer than PEER_HEAD_BYTES are there, -EBADMSG where it is none (as far as can be seen: a
 * kind outside of all ranges, bytes that are not 0), -EMSGSIZE when the body is larger than `body_bytes_max`. */
int64_t peer_frame_size(struct bytes input, uint32_t body_bytes_max);

/* Take apart exactly one whole frame; the body points into `input`.
 *
 * Returns 0; -EILSEQ when the checksum does not match; -EBADMSG when `input` is not one whole frame. `frame` is then
 * untouched. */
int peer_frame_parse(struct bytes input, struct peer_frame *frame);

#endif
