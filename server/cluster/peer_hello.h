/* The handshake of two nodes, as a pure state machine for either side: bytes in, bytes out.
 *
 *   dialler                                              acceptor
 *   HELLO      versions, cluster, who, nonce        -->
 *                                                   <--  CHALLENGE  version, who, nonce, proof, clock
 *   OPEN       proof, what is wanted, epoch, clock  -->
 *                                                   <--  OPENED     shards, epoch
 *
 * In the place of its next frame either side may send REFUSED: why, and a text for people; then it closes. Each proves
 * that it has the secret of the cluster (peer_proof.h) before the other tells or believes anything else of weight; what
 * was refused before that is a hint. A dialler that joins has no number yet: node and start are 0.
 *
 * Bodies of the frames (peer_frame.h; integers little-endian, number 0):
 *
 *   HELLO      u16 newest version spoken, u16 oldest, cluster id, u32 node, u32 start, nonce; a newer version may have
 *              more behind it
 *   CHALLENGE  u16 version: the newest that both speak; u32 node, u32 start, nonce, proof, u64 clock
 *   OPEN       proof, u8 role, u32 shard here, u32 shards here, u32 shard there, u32 shards there (a data link; else
 *              all 0 but for the shards here), u64 epoch of the map, u64 clock
 *   OPENED     u32 shards, u64 epoch
 *   REFUSED    u8 why (enum peer_refusal), u8 bytes, the text
 *
 * Clocks are wall clocks in milliseconds. Each side reads the other's between two readings of its own: it is refused
 * where it cannot be within `clock_skew_max_ms` of any moment between them. So a slow network refuses nobody.
 *
 * Memory: the struct, about 1 KB. Threads: the caller's.
 */
#ifndef PEER_HELLO_H
#define PEER_HELLO_H

#include <stdbool.h>
#include <stdint.h>

#include "peer_frame.h"
#include "peer_proof.h"

enum {
    PEER_VERSION = 5, /* Newest and oldest that this release speaks. */
    PEER_VERSION_OLDEST = 5,
    PEER_TEXT_BYTES_MAX = 200,
    PEER_HELLO_BODY_BYTES_MAX = 240,
    PEER_HELLO_FRAME_BYTES_MAX = PEER_HEAD_BYTES + PEER_HELLO_BODY_BYTES_MAX,
    PEER_HELLO_SHARDS_MAX = 1024,
};

enum peer_role { PEER_ROLE_CONTROL = 1, PEER_ROLE_DATA = 2, PEER_ROLE_JOIN = 3 };

/* Why a handshake came to nothing. X(name, number, word): a wire format; the word is for metrics and logs. The last ones
 * are seen by one side alone and are never sent. */
#define PEER_REFUSAL_TABLE(X)                                                                      \
    X(NONE, 0, "ok")                                                                               \
    X(VERSION, 1, "version")  /* There is no version that both speak. */                           \
    X(CLUSTER, 2, "cluster")  /* It belongs to another cluster. */                                 \
    X(SECRET, 3, "secret")    /* Its proof is wrong. */                                            \
    X(NODE, 4, "node")        /* Not a member, or another one than was called. */                  \
    X(START, 5, "start")      /* An earlier life of the node. */                                   \
    X(CLOCK, 6, "clock")      /* Clocks are too far apart. */                                      \
    X(SHARDS, 7, "shards")    /* A data link for shards that do not fit. */                        \
    X(BUSY, 8, "busy")        /* Too many; later. */                                               \
    X(GARBAGE, 9, "garbage")  /* It does not keep to the protocol. */                              \
    X(OTHER, 10, "other")     /* Something that this release does not know. */                     \
    X(REMOVED, 11, "removed") /* It was a member, and by a newer map than its own it is none. */   \
    X(CLOSED, 12, "closed")   /* The connection ended in the middle. */                            \
    X(SLOW, 13, "slow")       /* It took too long. */                                              \
    X(CROWDED, 14, "crowded") /* It had to make room for newer ones. */

enum peer_refusal {
#define PEER_REFUSAL_ENUM(name, number, word) PEER_REFUSED_##name = (number),
    PEER_REFUSAL_TABLE(PEER_REFUSAL_ENUM)
#undef PEER_REFUSAL_ENUM
        PEER_REFUSALS,
};

/* What a node says of itself, and goes by. */
struct peer_self {
    uint8_t cluster[CLUSTER_ID_BYTES], secret[CLUSTER_SECRET_BYTES];
    struct peer_name name;      /* 0 and 0: it joins, and only dials. */
    uint32_t shards;            /* From 1 to PEER_HELLO_SHARDS_MAX. */
    uint32_t clock_skew_max_ms; /* Other clocks may be so far off. */
    uint64_t epoch;             /* Of its map. */
};

/* What a dialler wants. */
struct peer_wish {
    uint32_t node;  /* Who is called; 0: whoever is there. */
    uint32_t start; /* The least that is known of its life. */
    enum peer_role role;
    uint32_t shard, to_shard, to_shards; /* DATA: from which here to which there, of how many. */
};

/* What is known of the other end: at the acceptor from ASKS on, at the dialler once it is DONE. */
struct peer_opening {
    struct peer_name from;
    enum peer_role role;
    uint32_t shard, shards; /* Of the other end; shard: DATA. */
    uint32_t to_shard;      /* DATA: here. */
    uint64_t epoch;
};

enum peer_hello_state {
    PEER_HELLO_MORE,   /* It wants more bytes. */
    PEER_HELLO_ASKS,   /* Acceptor: all is right, but may this one in? peer_hello_answer(). */
    PEER_HELLO_DONE,   /* What comes now is the link's. */
    PEER_HELLO_FAILED, /* `refusal` and `text` say why; send what is in `out`, then close. */
};

enum peer_hello_next {
    PEER_WANTS_HELLO,
    PEER_WANTS_CHALLENGE,
    PEER_WANTS_OPEN,
    PEER_WANTS_OPENED,
    PEER_WANTS_NOTHING,
};

/* Private to peer_hello.c, but for what is said to be read. */
struct peer_hello {
    const struct peer_self *self;
    enum peer_side side;
    enum peer_hello_state state; /* To be read. */
    enum peer_hello_next next;
    struct peer_transcript transcript;
    struct peer_wish wish;
    uint64_t asked_ms;                  /* Own clock before the other's was read. */
    struct peer_opening opening;        /* To be read. */
    enum peer_refusal refusal;          /* To be read once it has FAILED... */
    bool refused_there;                 /* ... was it the other end that refused?... */
    char text[PEER_TEXT_BYTES_MAX + 1]; /* ... and why, to be shown to people. */
    size_t in_size;
    uint8_t in[PEER_HELLO_FRAME_BYTES_MAX];
    size_t out_size; /* To be read, sent, and set to 0 after each call. */
    uint8_t out[2 * PEER_HELLO_FRAME_BYTES_MAX];
};

/* Begin. `self` must stay until the end; `nonce` is random and never used again. The dialler's HELLO is in `out` then. */
void peer_hello_dial(struct peer_hello *hello, const struct peer_self *self,
                     const struct peer_wish *wish, const uint8_t nonce[PEER_NONCE_BYTES],
                     uint64_t clock_ms);
void peer_hello_accept(struct peer_hello *hello, const struct peer_self *self,
                       const uint8_t nonce[PEER_NONCE_BYTES]);

/* Bytes have come. Takes from the front of `input` what belongs to the handshake, at most up to the end of its last
 * frame: what is left once it is DONE is the link's. Returns `state`. */
enum peer_hello_state peer_hello_take(struct peer_hello *hello, struct bytes *input,
                                      uint64_t clock_ms);

/* The acceptor's answer to what `opening` wants: NONE lets it in (DONE), anything else refuses it (FAILED) with a text of
 * at most PEER_TEXT_BYTES_MAX bytes. */
void peer_hello_answer(struct peer_hello *hello, enum peer_refusal refusal, const char *text);

/* End it from this side, without a frame where it is too late for one: CLOSED, SLOW, CROWDED. */
void peer_hello_fail(struct peer_hello *hello, enum peer_refusal refusal);

/* "ok", "secret", ... for metrics and logs. */
const char *peer_refusal_word(enum peer_refusal refusal);

/* Of a START. */
#define PEER_START_TEXT                                                                            \
    "an earlier life of this node is known to be over: its data directory is an old copy; remove " \
    "the node and join it "                                                                        \
    "anew with an empty one"

/* Can these two shards, each of so many, have slots in common? */
bool peer_shards_meet(uint32_t shard, uint32_t shards, uint32_t other, uint32_t others);

#endif
