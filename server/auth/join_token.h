/* Join tokens: what a new node needs to enter a cluster, as one word to be copied (`belayctl join-token`,
 * `belayd --join TOKEN`).
 *
 * A token is "belay-join-1." and, in base64url without padding (RFC 4648, section 5):
 *
 *   cluster id     CLUSTER_ID_BYTES
 *   secret         CLUSTER_SECRET_BYTES
 *   addresses      u8 number, then for each u8 bytes and ADDRESS:PORT of the peers' port of a member
 *   checksum       u32 CRC32C of all before, little-endian: a token that was cut or mistyped is told from another one
 *
 * Who has a token has the secret, and may enter as a node: it is to be kept like a password.
 *
 * Threads: any. Memory: the caller's.
 */
#ifndef JOIN_TOKEN_H
#define JOIN_TOKEN_H

#include <stdint.h>

#include "bytes.h"
#include "peer_proof.h"

enum {
    JOIN_ADDRESSES_MAX = 8,
    JOIN_ADDRESS_BYTES_MAX = 255,
    JOIN_TOKEN_BYTES_MAX = 2880, /* With the final zero. */
};

struct join_token {
    uint8_t cluster[CLUSTER_ID_BYTES];
    uint8_t secret[CLUSTER_SECRET_BYTES];
    uint32_t address_count; /* At least 1. */
    char addresses[JOIN_ADDRESSES_MAX][JOIN_ADDRESS_BYTES_MAX + 1];
};

/* Write a token as text. Its addresses have 1 to JOIN_ADDRESS_BYTES_MAX bytes each. */
void join_token_put(const struct join_token *token, char text[JOIN_TOKEN_BYTES_MAX]);

/* Read a token; white space around it is passed over. Returns NULL with `token` set, or what is wrong with the text. */
const char *join_token_read(struct bytes text, struct join_token *token);

#endif
