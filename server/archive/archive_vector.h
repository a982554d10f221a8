/* Vectors of what a slot has seen (seen.h), as a checkpoint in the archive has them: what they say of records.
 *
 * What was put back from another cluster's archive (adopt.h) has births of actors that are in no vector. It came with a stamp
 * of the node that put it back (recover.h), as all that was done to it since has stamps of this cluster: these tell.
 *
 * Pure. Threads: any.
 */
#ifndef ARCHIVE_VECTOR_H
#define ARCHIVE_VECTOR_H

#include <stdbool.h>

#include "record.h"

bool archive_vector_covers(struct bytes vector, struct stamp stamp);

/* Has it all that the version has of its own cluster? False where there is nothing of that. */
bool archive_vector_covers_own(struct bytes vector, const struct version *version);

/* Has it the birth that this record has? */
bool archive_vector_has_birth(struct bytes vector, const struct record *record, struct stamp birth);

#endif
