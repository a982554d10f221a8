/* META: what a data directory is, in lines of text (directory.h); the last one is a checksum of those before.
 *
 * Threads: one.
 */
#ifndef DIRECTORY_META_H
#define DIRECTORY_META_H

#include "directory.h"

#define DIRECTORY_META_NAME "META"

/* Replace it by directory->meta, whole and durably. Returns 0 or negative errno. */
int directory_meta_write(const struct directory *directory);

/* Read it into directory->meta. Returns 0; -ENOENT: there is none; -EBADMSG: it is damaged; -EPROTONOSUPPORT: of
 * another version; another negative errno. */
int directory_meta_read(struct directory *directory);

#endif
