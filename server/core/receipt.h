/* Receipts of letters (move.h) in the dedup window of a key (dedup.h), where nothing else of its record changes.
 *
 * A receipt says how the delivery of a rename ended, once and for all: its session began here (that receipt comes with the
 * session, as the item of its write, and its stamp is the birth), or was refused, as the key was taken. So whoever delivers
 * the letter again, after whatever time, is answered the same.
 *
 * Memory: results go to the caller's buffer, which is overwritten. Threads: any.
 */
#ifndef RECEIPT_H
#define RECEIPT_H

#include "record.h"

/* Find the receipt of a rename in the window of a key. Returns NULL where there is none. */
const struct dedup_item *receipt_find(const struct dedup *dedup, uint64_t id);

/* Does it say that the session was refused? */
bool receipt_is_refusal(const struct dedup_item *receipt);

/* The record, whole, with a receipt of that rename which says so. There must be room for it (dedup_takes_receipt()).
 * Returns 0 with `out` set; -EBADMSG, also where the stamp is not newer than all in it; -ENOMEM. */
int receipt_refuse(struct bytes record, struct stamp stamp, uint64_t id, struct buffer *out);

/* The record without the receipt of that rename. Returns as above; -ENOENT: there is none. */
int receipt_remove(struct bytes record, struct stamp stamp, uint64_t id, struct buffer *out);

#endif
