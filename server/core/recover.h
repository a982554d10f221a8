/* Putting sessions back: a whole record from outside (an archive) joins what is here, at the node that coordinates it.
 *
 * Nothing is stamped: the record keeps its stamps, whose actors must be none of this cluster's (adopt.h), and is
 * logged and sent to the other owners as what it is merged to. So it may be repeated, and come in any order with
 * others of its key. It is acknowledged as a write is.
 *
 * Threads: the shard's.
 */
#ifndef RECOVER_H
#define RECOVER_H

#include "procedure.h"

/* WRITE, UPSERT; its body is the record. The answer is empty. OK, also where nothing is new; INVALID: no such record,
 * of another key than the request's, one of the server's own, or of a time that is more than a minute ahead; DAMAGED:
 * what is here cannot be joined with it; else as a write. */
extern const struct procedure recover_merge;

#endif
