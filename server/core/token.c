#include "token.h"

#include <errno.h>

#include <xxhash.h>

#include "limits.h"

enum { TOKEN_DIGEST = 0xff, TOKEN_DIGEST_BYTES = 1 + 16 }; /* No flags of a version. */

static struct bytes token_of(const struct record *record, uint8_t digest[TOKEN_DIGEST_BYTES])
{
    if (record->token.size <= TOKEN_BYTES_MAX) {
        return record->token;
    }
    XXH128_hash_t hash = XXH3_128bits(record->token.data, record->token.size);
    digest[0] = TOKEN_DIGEST;
    store_u64(digest + 1, hash.low64);
    store_u64(digest + 9, hash.high64);
    return bytes_of(digest, TOKEN_DIGEST_BYTES);
}

int token_put(struct buffer *out, const struct record *record)
{
    uint8_t digest[TOKEN_DIGEST_BYTES];

    return buffer_append(out, token_of(record, digest));
}

bool token_equal(const struct record *record, struct bytes token)
{
    uint8_t digest[TOKEN_DIGEST_BYTES];

    return bytes_equal(token_of(record, digest), token);
}

int token_covered(const struct record *record, struct bytes token)
{
    struct version wanted;

    if (token.size == 0) {
        return 1;
    }
    struct reader from = reader_of(token);
    if (token.data[0] == TOKEN_DIGEST && token.size == TOKEN_DIGEST_BYTES) {
        return token_equal(record, token) ? 1 : 0;
    }
    if (!version_read(&from, true, &wanted) || !reader_done(&from)) {
        return -EBADMSG;
    }
    return version_covers_all(&record->version, &wanted) ? 1 : 0;
}
