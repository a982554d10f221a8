/* CRC-32C (Castagnoli; RFC 3720, appendix B.4): guards frames, log records and checkpoints.
 *
 * Uses the processor's instruction where it has one. Threads: any.
 */
#ifndef CRC32C_H
#define CRC32C_H

#include <stdint.h>

#include "bytes.h"

/* The checksum of `data` after the bytes whose checksum is `before` (0 for none), so that
 * crc32c(crc32c(0, a), b) is the checksum of a and b joined. Cannot fail. */
uint32_t crc32c(uint32_t before, struct bytes data);

#endif
