/* A record of another cluster, as this one may take it in: what has been put back from an archive.
 *
 * Nodes are numbered from 1 up in every cluster, so actors of two clusters have the same names. What a slot has seen
 * of an actor here (seen.h) would then be taken for what its namesake did there: births of sessions that are put back
 * would be covered by it, and as none of them lives here they would have ended. So the numbers of all nodes in the
 * record are moved up by ADOPT_NODES, above those that a cluster gives out. The order of actors stays as it was, and
 * with it every order in the record; a cluster that has itself been put back and archived is moved up once more. Where
 * a record comes twice it is moved to the same place both times, so that merging it again changes nothing.
 *
 * Letters of renames (move.h) have stamps in their value as well, which stay as they are: they are compared with
 * nothing but dedup windows of the session that they bring.
 *
 * Memory: the caller's buffer, and for the work what its port gives. Threads: any.
 */
#ifndef ADOPT_H
#define ADOPT_H

#include <stdbool.h>

#include "bytes.h"
#include "memory.h"

enum {
    ADOPT_NODES = 1 << 24,
    ADOPT_REPEAT_MS =
        7 * 24 * 3600 *
        1000, /* So long after it was put back a record may be so again (recover.h). */
};

/* `record` is whole, and has passed session_check(). Returns 0 with `out` set; -EOVERFLOW: a node's number would be too
 * large; -EBADMSG; -ENOMEM. */
int session_adopt(struct bytes record, struct buffer *out);

/* Has anything in this record, which may be cold or a tombstone, come from another cluster? */
bool session_is_adopted(struct bytes record);

#endif
