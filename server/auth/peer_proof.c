#include "peer_proof.h"

#include <nettle/hmac.h>
#include <nettle/memops.h>

#include "bytes.h"

static void add_name(struct hmac_sha256_ctx *state, struct peer_name name)
{
    uint8_t bytes[8];

    store_u32(bytes, name.node);
    store_u32(bytes + 4, name.start);
    hmac_sha256_update(state, sizeof bytes, bytes);
}

void peer_prove(const uint8_t secret[CLUSTER_SECRET_BYTES], enum peer_side side,
                const struct peer_transcript *transcript, uint8_t proof[PEER_PROOF_BYTES])
{
    static const char purpose[] = "belay-peer-1";
    const uint8_t which = (uint8_t)side;
    struct hmac_sha256_ctx state;

    hmac_sha256_set_key(&state, CLUSTER_SECRET_BYTES, secret);
    hmac_sha256_update(&state, sizeof purpose - 1, (const uint8_t *)purpose);
    hmac_sha256_update(&state, 1, &which);
    hmac_sha256_update(&state, sizeof transcript->cluster, transcript->cluster);
    add_name(&state, transcript->dialer);
    add_name(&state, transcript->acceptor);
    hmac_sha256_update(&state, sizeof transcript->dialer_nonce, transcript->dialer_nonce);
    hmac_sha256_update(&state, sizeof transcript->acceptor_nonce, transcript->acceptor_nonce);
    hmac_sha256_digest(&state, PEER_PROOF_BYTES, proof);
}

bool peer_proof_is_right(const uint8_t secret[CLUSTER_SECRET_BYTES], enum peer_side side,
                         const struct peer_transcript *transcript,
                         const uint8_t proof[PEER_PROOF_BYTES])
{
    uint8_t right[PEER_PROOF_BYTES];

    peer_prove(secret, side, transcript, right);
    return memeql_sec(right, proof, sizeof right) != 0;
}
