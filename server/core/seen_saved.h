/* Seen, kept over a restart: all vectors of known slots (seen.h), as one piece of bytes.
 *
 * What is saved may say less than is true later; it may never say more than what a restart finds in the log. So it counts
 * only once the log is durable up to where it was when this was made. Whoever keeps it sees to that, and keeps a checksum
 * with it; without it, or where it is damaged, nothing is known.
 *
 *   for each known slot, in ascending order: u16 slot, varint size, its vector
 *
 * Memory: the caller's. Threads: the caller's.
 */
#ifndef SEEN_SAVED_H
#define SEEN_SAVED_H

#include "seen.h"

/* Append the known vectors of `count` slots from `first` on, or fewer at the end. Returns 0 or -ENOMEM. */
int seen_save(const struct seen *seen, uint32_t first, uint32_t count, struct buffer *to);

/* Take in what was saved: nothing is known before. Returns 0; -EBADMSG, -ENOMEM, -EOVERFLOW: nothing is known then. */
int seen_restore(struct seen *seen, struct bytes saved);

#endif
