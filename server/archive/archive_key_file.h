/* Where the archive's keys come from: a file, or the environment.
 *
 * Threads: any, but for the environment, which nobody may change meanwhile.
 */
#ifndef ARCHIVE_KEY_FILE_H
#define ARCHIVE_KEY_FILE_H

#include "archive_keys.h"

#define ARCHIVE_KEYS_VARIABLE "BELAY_ARCHIVE_KEYS"

/* Read the keys of a file; where `path` is NULL or empty, those that BELAY_ARCHIVE_KEYS of the environment has, as they
 * would stand in a file. What was read is wiped. Returns 0 with `keys` set; -ENOENT without a message where no path is
 * given and the environment has none: there is no key, and nothing is enciphered. With `message` set: -EINVAL as
 * archive_keys_parse(); another negative errno: the file cannot be read. */
int archive_key_file_read(struct archive_keys *keys, const char *path, char *message,
                          size_t message_size);

#endif
