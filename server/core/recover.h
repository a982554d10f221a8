/* Putting sessions back: a whole record from outside (an archive) joins what is here, at the node that coordinates it.
 *
 * What is in it keeps its stamps, whose actors must be none of this cluster's (adopt.h), but where its slot is lost and held
 * (seen_hold()): what comes then is this cluster's own. Where it brings anything, the node stamps that it has seen it, in the
 * record's version alone: so what the record is merged to, logged and sent to the other owners is a write of this node like
 * others, of which the vectors of the slot (seen.h) and the archive tell. What brings nothing is not stamped. So it may be
 * repeated, and come in any order with others of its key. It is acknowledged as a write is.
 *
 * Records of one slot come many at a time: what each costs beside its merge is the larger part else. The first one decides
 * whether the request waits, and how it ends; the others are done as long as nothing keeps them.
 *
 * What was put back and has ended since stays ended where it is put back again, as by a restore that goes on: its tombstone is
 * kept for ADOPT_REPEAT_MS, also of what has expired; in a cluster for good, as no slot's vector tells of all that another
 * cluster stamped. Whoever puts back again what he put back longer ago may bring back what has ended.
 *
 * Threads: the shard's.
 */
#ifndef RECOVER_H
#define RECOVER_H

#include "procedure.h"

/* WRITE, UPSERT; its body are records, each as varint size and bytes: the first one is of the request's key, the others of
 * keys of its slot. The answer is a varint: how many of them, from the first on, are done: at most RECOVER_RECORDS_MAX and
 * about RECOVER_BYTES_MAX; the rest is to be asked for again. At a level for which other nodes or the archive are waited
 * for it is one.
 * OK, also where nothing is new. Of the first record: INVALID: no such record, of another key than the request's, one of the
 * server's own, or of a time that is more than a minute ahead; DAMAGED: what is here cannot be joined with it; else as a
 * write. */
extern const struct procedure recover_merge;

/* Is a record of a time so far ahead of the clock that it would be refused as INVALID now? */
bool recover_is_ahead(struct bytes record, uint64_t now_ms);

/* The body with its first record alone. */
struct bytes recover_first(struct bytes body);

#endif
