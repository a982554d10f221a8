/* Keys and values of belay-bench: which bytes the session of a number has.
 *
 * Keys are the prefix and the number in decimal, padded with zeros to 28 bytes in all (at least 10
 * digits). Values come in two kinds:
 *   seeded   bytes that follow from a seed and the number of the session (fill, check);
 *   counted  self-describing, for an audit: who wrote it, how often, and a checksum (run --record).
 * A counted value is: magic (4 bytes), number of the key (8), count (8), size of the whole (4), CRC-32C
 * of the key's bytes (4), filler that follows from number and count, and CRC-32C of all before it (4).
 * Integers are little-endian.
 *
 * Threads: pure functions over the caller's memory.
 */
#ifndef BENCH_CONTENT_H
#define BENCH_CONTENT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "bytes.h"

enum {
    CONTENT_KEY_BYTES = 28,
    CONTENT_KEY_BYTES_MAX = 128,
    CONTENT_COUNTED_BYTES_MIN = 32,
};
#define CONTENT_KEYS_MAX UINT64_C(4000000000)

/* Mix a number into 64 bits that look random (the finaliser of SplitMix64). */
uint64_t content_mix(uint64_t number);

/* Write the key of that number. Returns its size, at most CONTENT_KEY_BYTES_MAX for any prefix that
 * bench_options_parse() lets pass. */
size_t content_key(const char *prefix, uint64_t number, uint8_t *key);

/* Fill `value` with the bytes of session `number` under `seed`. */
void content_seeded(uint64_t seed, uint64_t number, uint8_t *value, size_t size);

/* Write the counted value. `size` is at least CONTENT_COUNTED_BYTES_MIN. */
void content_counted(struct bytes key, uint64_t number, uint64_t count, uint8_t *value,
                     size_t size);

/* Read a counted value of that key.
 *
 * Returns 0 with `count` set, or -EBADMSG when it is not one that was written for this key. */
int content_counted_read(struct bytes key, uint64_t number, struct bytes value, uint64_t *count);

/* Is the write of this count (from 1) to this key a delete, when `deletes_percent` of all are (50 at
 * most)? The first one never is, and no two in a row are. */
bool content_is_delete(uint64_t number, uint64_t count, uint32_t deletes_percent);

#endif
