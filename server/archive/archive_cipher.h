/* Keys and ciphers of the archive's objects: what archive_object.h says of them, with OpenSSL.
 *
 * Memory: OpenSSL's own, by malloc(). Threads: any.
 */
#ifndef ARCHIVE_CIPHER_H
#define ARCHIVE_CIPHER_H

#include <stddef.h>
#include <stdint.h>

#include "archive_keys.h"
#include "bytes.h"

enum { ARCHIVE_TAG_BYTES = 16 };

/* What is authenticated beside a block's or a footer's bytes, and what makes its nonce. */
struct archive_seal {
    const uint8_t *object_key; /* ARCHIVE_KEY_BYTES. */
    struct bytes header;
    uint32_t number; /* 0 the footer; of a block 1 more than its own. */
    uint64_t offset;
    uint32_t raw_size;
    uint8_t codec;
};

/* The check of a key, and the key of an object with this header. Each returns 0 or -EIO: the library failed. */
int archive_key_check(const uint8_t key[ARCHIVE_KEY_BYTES], uint8_t check[ARCHIVE_KEY_CHECK_BYTES]);
int archive_object_key(const uint8_t key[ARCHIVE_KEY_BYTES], struct bytes header,
                       uint8_t object_key[ARCHIVE_KEY_BYTES]);

/* Encipher `size` bytes in place and write ARCHIVE_TAG_BYTES behind them. Returns 0; -ENOMEM; -EIO. */
int archive_seal(const struct archive_seal *seal, uint8_t *bytes, size_t size);

/* Decipher what archive_seal() made, with its tag, to `to`, where so many bytes but for the tag are. Returns 0;
 * -EBADMSG: it was not made so, and nothing of `to` may be used; -ENOMEM; -EIO. */
int archive_unseal(const struct archive_seal *seal, struct bytes sealed, uint8_t *to);

/* Leave nothing of a key in memory. */
void archive_bytes_wipe(void *bytes, size_t size);

#endif
