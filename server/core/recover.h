/* Putting sessions back: a whole record from outside (an archive) joins what is here, at the node that coordinates it.
 *
 * What is in it keeps its stamps, whose actors must be none of this cluster's (adopt.h). Where it brings anything, the node
 * stamps that it has seen it, in the record's version alone: so what the record is merged to, logged and sent to the other
 * owners is a write of this node like others, of which the vectors of the slot (seen.h) and the archive tell. What brings
 * nothing is not stamped. So it may be repeated, and come in any order with others of its key. It is acknowledged as a write
 * is.
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
