/* LOCK: who uses a data directory (directory.h). It is flock()ed as long as its descriptor is open, and says whose it is. So
 * is the directory itself, where its file system can: whoever removes LOCK does not let a second process in.
 *
 * Threads: one.
 */
#ifndef DIRECTORY_LOCK_H
#define DIRECTORY_LOCK_H

#include "directory.h"

#define DIRECTORY_LOCK_NAME "LOCK"

/* Take it, setting directory->lock_fd and whole_fd; `make` it where it is missing. Returns 0; -EBUSY: another process has it;
 * another negative errno; `message` says which. */
int directory_lock(struct directory *directory, bool make, char *message, size_t message_size);

/* Write our process id into it. Returns 0 or negative errno. */
int directory_lock_sign(struct directory *directory);

/* Its inode: a copy of the directory has another. 0 where it cannot be told. */
uint64_t directory_lock_inode(const struct directory *directory);

#endif
