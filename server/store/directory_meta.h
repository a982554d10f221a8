/* META: what a data directory is, in lines of text (directory.h); the last one is a checksum of those before. And
 * RESERVE: room that is kept for it on a full disk.
 *
 * Threads: one.
 */
#ifndef DIRECTORY_META_H
#define DIRECTORY_META_H

#include "directory.h"

#define DIRECTORY_META_NAME    "META"
#define DIRECTORY_RESERVE_NAME "RESERVE"

/* Replace it by directory->meta, whole and durably; on a full disk in the room that is kept for it. Returns 0 or
 * negative errno. */
int directory_meta_write(const struct directory *directory);

/* Read it into directory->meta. Returns 0; -ENOENT: there is none; -EBADMSG: it is damaged; -EPROTONOSUPPORT: of
 * another version; another negative errno. */
int directory_meta_read(struct directory *directory);

/* Keep that room, where it is not there. Without space for it the next start tries again. */
void directory_make_reserve(const struct directory *directory);

#endif
