/* Version tokens: the encoded version of a record (version.h), which clients hold without looking.
 *
 * One that would be longer than TOKEN_BYTES_MAX (a session that more than some 60 actors wrote) is a
 * digest in its place: it still tells equal from different, and covers nothing but itself.
 */
#ifndef TOKEN_H
#define TOKEN_H

#include "record.h"

/* Append the token. Returns 0 or -ENOMEM. */
int token_put(struct buffer *out, const struct record *record);

/* Does the token say just this version? */
bool token_equal(const struct record *record, struct bytes token);

/* Has the record seen all that the token says? 1, 0, or -EBADMSG. An empty token says nothing. */
int token_covered(const struct record *record, struct bytes token);

#endif
