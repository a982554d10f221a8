/* Cold records: what stays in memory of a session whose fields have left it (record.h has the bytes).
 *
 * A cold record has all that is asked of a session without its value: key, version, births, last access,
 * owner, deadlines, about how large the whole one is, and a hash of its content. So it expires, is buried, scanned and found missing without a disk. It has a format
 * of its own: session_write(), session_merge() and all else that needs the whole record refuse it, and
 * can never take it for a session without fields. Only session_open() and what asks for key, version, token
 * or last access take both.
 *
 * What is left out is wherever the whole record was stored; whoever freezes knows that it is there.
 * Cold records are never stored, logged or sent.
 *
 * Memory, threads: as session.h.
 */
#ifndef COLD_H
#define COLD_H

#include "session.h"

/* Hash of a whole record: of the key and all of the content but the last access, which is not the same in all copies.
 * `seed` is the cluster's, so that nobody can make two contents look the same. */
uint64_t session_hash(struct bytes record, uint64_t seed);

/* Make the cold record of a whole one, with its hash. Returns 0 with `out` set, -EBADMSG, -ENOMEM. */
int session_freeze(struct bytes record, uint64_t hash, struct buffer *out);

/* The hash that it has. 0: it is damaged. */
uint64_t session_cold_hash(struct bytes cold);

/* The whole record of a cold one has no more bytes than this, and more than half of it. 0: it is damaged. */
uint64_t session_cold_bytes(struct bytes cold);

/* Make the whole record again, from the cold one and what was stored: for every record r, and every
 * s that differs from r by an earlier last access or by less that is known of earlier lives,
 * thaw(freeze(r), s) == r.
 * Returns 0 with `out` set; -ESTALE when what was stored is another state of the session; -EBADMSG, also
 * when the keys differ; -ENOMEM. */
int session_thaw(struct bytes cold, struct bytes stored, struct buffer *out);

#endif
