/* The slot of a key: one of SLOT_COUNT equal arcs of the ring.
 *
 * CRC16 (polynomial 0x1021, start 0: "CRC-16/XMODEM") of the key modulo 16384; when the key holds a
 * `{`, and a `}` after it with at least one byte between, only that part counts, so that keys with one
 * tag share a slot. The rule is Redis Cluster's (Redis Cluster Specification, "Key distribution
 * model"), on purpose: cluster-aware Redis clients then find the right node by themselves.
 */
#ifndef SLOT_H
#define SLOT_H

#include <stdint.h>

#include "bytes.h"

enum { SLOT_COUNT = 16384, SLOT_BITS = 14 };

/* Returns 0 to SLOT_COUNT - 1. */
uint16_t slot_of_key(struct bytes key);

/* That of a position on the ring: its first bits. */
static inline uint32_t slot_of_position(uint64_t position)
{
    return (uint32_t)(position >> (64 - SLOT_BITS));
}

#endif
