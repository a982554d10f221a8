/* Requests of the native protocol that are refused before they are looked at, because of the time that they waited.
 *
 * Under overload that is what most requests get, so all that such a refusal costs is taken from those that are served. Its head is
 * the same for many, and so is made once and copied; it has no text (a client has the status's own).
 *
 * Threads: the connection's shard's.
 */
#ifndef NATIVE_BUSY_H
#define NATIVE_BUSY_H

#include <stdbool.h>
#include <stdint.h>

#include "frame.h"

struct shard_thread;
struct connection;

/* Private to native_busy.c. */
struct native_busy {
    uint64_t hlc;
    uint32_t retry_after_ms;
    uint32_t size;    /* 0: not made yet. */
    uint8_t head[32]; /* A status, and these two: 24 bytes at most. */
};

/* Is it a request that native_busy_refuses() may refuse? */
bool native_busy_asks(const struct frame *frame);

/* Answer one that waited too long, without a look at what it is. Returns whether that was so. */
bool native_busy_refuses(struct shard_thread *thread, struct connection *connection,
                         const struct frame *frame);

#endif
