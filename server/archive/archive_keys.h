/* Keys of the archive: which one new objects are enciphered with, and those that old ones may have.
 *
 * The file (`archive.key_file`) has one key a line: `ID KEY`, where ID is 1 to 32 of A-Z a-z 0-9 . _ - and KEY 32
 * bytes as 64 hexadecimal digits or as base64 (RFC 4648, with its padding: 44 characters). Empty lines, and those
 * that begin with #, are nothing. The first key is used for new objects, all of them for reading. So a key is changed
 * by writing a new line at the top; the old line must stay as long as there are objects with its id. An id is never
 * given to another key.
 *
 *   openssl rand -hex 32
 *
 * The check of a key is the first 8 bytes of HMAC-SHA256 under it of "belay archive key check": what tells that an id
 * was given to another key.
 *
 * Memory: plain data; archive_keys_wipe() before it is given back. Threads: any.
 */
#ifndef ARCHIVE_KEYS_H
#define ARCHIVE_KEYS_H

#include <stddef.h>
#include <stdint.h>

#include "bytes.h"

enum {
    ARCHIVE_KEY_BYTES = 32,
    ARCHIVE_KEY_ID_BYTES_MAX = 32,
    ARCHIVE_KEY_CHECK_BYTES = 8,
    ARCHIVE_KEYS_MAX = 64,
    ARCHIVE_KEY_FILE_BYTES_MAX = 64 * 1024,
};

struct archive_key {
    char id[ARCHIVE_KEY_ID_BYTES_MAX + 1];
    uint8_t bytes[ARCHIVE_KEY_BYTES];
    uint8_t check[ARCHIVE_KEY_CHECK_BYTES];
};

struct archive_keys {
    uint32_t count;
    struct archive_key keys[ARCHIVE_KEYS_MAX]; /* The first one is for new objects. */
};

/* Read what a key file has. Returns 0 with `keys` set; -EINVAL with `message` saying what is wrong in which line,
 * never a key: not such a line, an id twice, more than ARCHIVE_KEYS_MAX, no key at all, larger than
 * ARCHIVE_KEY_FILE_BYTES_MAX;
 * -EIO: the library failed. */
int archive_keys_parse(struct archive_keys *keys, struct bytes text, char *message,
                       size_t message_size);

/* The key of this id, or NULL. `keys` may be NULL. */
const struct archive_key *archive_keys_find(const struct archive_keys *keys, const char *id);

/* Leave no key in memory. */
void archive_keys_wipe(struct archive_keys *keys);

#endif
