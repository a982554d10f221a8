/* May a new data directory be made here? Only where there is nothing of anybody's: no other file, and no sessions that a lost
 * META would be needed for. What a first start that was cut short has made does not count.
 *
 * Threads: one.
 */
#ifndef DIRECTORY_EMPTY_H
#define DIRECTORY_EMPTY_H

#include "directory.h"

/* In each shard's directory, empty: where even that is missing, its files were removed. */
#define DIRECTORY_MADE_NAME "MADE"

/* Returns 0; -ENOTEMPTY, or another negative errno, with `message` set. */
int directory_check_empty(const struct directory *directory, char *message, size_t message_size);

#endif
