/* Peers prove to each other that they have the secret of the cluster, before anything else is said.
 *
 * Whoever opens the connection (the dialer) names cluster, both nodes and a nonce of its own; the other (the acceptor)
 * answers with a nonce and its proof, and the dialer with its own. A proof is HMAC-SHA256 (RFC 2104, FIPS 180-4) with
 * the secret as the key, over the side that proves and the whole transcript:
 *
 *   "belay-peer-1", u8 side, cluster id, u32 node and u32 start of the dialer, the same of the acceptor,
 *   the dialer's nonce, the acceptor's nonce                                         (numbers little-endian)
 *
 * So a proof is good for one connection, between these two nodes, in one direction: it cannot be sent back, nor sent
 * again (Bird et al., "Systematic Design of Two-Party Authentication Protocols", 1991). It proves; it does not encrypt.
 *
 * Threads: any. Memory: none.
 */
#ifndef PEER_PROOF_H
#define PEER_PROOF_H

#include <stdbool.h>
#include <stdint.h>

#include "limits.h"

enum {
    PEER_NONCE_BYTES = 32,
    PEER_PROOF_BYTES = 32,
};

enum peer_side { PEER_DIALER = 1, PEER_ACCEPTOR = 2 };

/* A node in one of its lives; 0 and 0: one that joins, and has no number yet. */
struct peer_name {
    uint32_t node, start;
};

struct peer_transcript {
    uint8_t cluster[CLUSTER_ID_BYTES];
    struct peer_name dialer, acceptor;
    uint8_t dialer_nonce[PEER_NONCE_BYTES], acceptor_nonce[PEER_NONCE_BYTES];
};

/* The proof of one side. */
void peer_prove(const uint8_t secret[CLUSTER_SECRET_BYTES], enum peer_side side,
                const struct peer_transcript *transcript, uint8_t proof[PEER_PROOF_BYTES]);

/* Is this the proof of that side? Takes the same time whatever it is. */
bool peer_proof_is_right(const uint8_t secret[CLUSTER_SECRET_BYTES], enum peer_side side,
                         const struct peer_transcript *transcript,
                         const uint8_t proof[PEER_PROOF_BYTES]);

#endif
