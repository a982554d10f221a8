/* A session as JSON, for people: everything the view shows, siblings too.
 *
 * Strings that are no UTF-8 come as hex, under the same name with `_hex` at its end.
 */
#ifndef INSPECT_H
#define INSPECT_H

#include "memory.h"
#include "session.h"

/* Append the document. Returns 0 or -ENOMEM. */
int inspect_json(struct session_view *view, struct bytes token, struct buffer *out);

#endif
