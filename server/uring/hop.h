/* A bounded queue of messages from one shard's thread to another's: bytes in a ring, no lock.
 *
 * The sender writes messages and publishes them once per turn; the receiver reads them in place and
 * gives the room back once it has executed them, so that a request crosses without being copied again.
 *
 * Memory: HOP_BYTES, whose pages exist once used. Threads: one sends, one receives.
 */
#ifndef HOP_H
#define HOP_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "bytes.h"

struct hop {
    /* Of the sender. */
    _Alignas(64) _Atomic uint64_t published;
    uint64_t written;
    uint64_t released_seen;
    /* Of the receiver. */
    _Alignas(64) _Atomic uint64_t released;
    uint64_t read;
    uint64_t looked; /* At least `read`, once hop_look() was called. */
    uint8_t *bytes;
};

int hop_init(struct hop *hop);
void hop_fini(struct hop *hop);

/* Would messages of so many bytes, with their prefixes, find room? */
bool hop_has_room(struct hop *hop, uint64_t bytes);

/* Room for a message of `size` bytes, aligned to 8, to be filled before the next call; it is sent with
 * hop_publish(). `spare` bytes must stay free besides. Returns NULL when the queue is too full. */
void *hop_send(struct hop *hop, uint32_t size, uint32_t spare);

/* Let the receiver see them. Returns whether there was anything new. */
bool hop_publish(struct hop *hop);

/* The next message, empty when there is none; good until hop_release(). */
struct bytes hop_receive(struct hop *hop);

/* The next message that was neither received nor looked at before, NULL when there is none. It stays to be received, as who looks
 * at it leaves it; good until that is let go. */
void *hop_look(struct hop *hop);

/* Everything received may be overwritten. */
void hop_release(struct hop *hop);

/* Anything to receive? */
bool hop_waiting(struct hop *hop);

#endif
