/* REMOVED: an empty file that says that the node of this directory was removed from its cluster; DRAINED, another one, that it
 * drained to stop: it has one byte where the node was degraded then, by an operator's word.
 *
 * JOINED: what a new member of a cluster begins with, as another member gave it (cluster_seed()): from before META is there
 * until DIR/raft is. The bytes, and a CRC32C of them, little-endian.
 *
 * Threads: one.
 */
#ifndef DIRECTORY_BEGIN_H
#define DIRECTORY_BEGIN_H

#include "directory.h"

#define DIRECTORY_JOINED_NAME  "JOINED"
#define DIRECTORY_REMOVED_NAME "REMOVED"
#define DIRECTORY_DRAINED_NAME "DRAINED"

/* Keep it, durably. Returns 0 or negative errno. */
int directory_put_beginning(const struct directory *directory, struct bytes beginning,
                            struct memory *memory);

#endif
