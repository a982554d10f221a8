/* Version tokens: the encoded version of a record (version.h), which clients hold without looking.
 *
 * Of a session that was begun over what was there before, the token tells only what was stamped since it began: nothing
 * of its earlier lives, nor of their deaths. What of those a record still knows differs between copies, and changes
 * by a burial and a restart, while the session stays the same.
 *
 * One that would be longer than TOKEN_BYTES_MAX (a session that more than some 60 actors wrote) is a
 * digest in its place: it still tells equal from different, and covers nothing but itself.
 */
#ifndef TOKEN_H
#define TOKEN_H

#include "record.h"

/* Is the token short, and as it lies in the record? So it nearly always is. The record's head is enough for this; what
 * follows needs its births as well. */
static inline bool token_is_plain(const struct record *record)
{
    return record->version.count <= 1 && record->version.death.hlc == 0;
}

/* Append the token. Returns 0 or -ENOMEM. */
int token_put(struct buffer *out, const struct record *record);

/* Does the token say just this version? */
bool token_equal(const struct record *record, struct bytes token);

/* Has the record seen all that the token says? 1, 0, or -EBADMSG. An empty token says nothing. */
int token_covered(const struct record *record, struct bytes token);

#endif
