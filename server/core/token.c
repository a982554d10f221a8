#include "token.h"

#include <errno.h>

#include <xxhash.h>

#include "limits.h"

enum { TOKEN_DIGEST = 0xff, TOKEN_DIGEST_BYTES = 1 + 16 }; /* No flags of a version. */

/* The bytes of a token, piece by piece. */
struct pieces {
    struct version_pieces since; /* What was stamped since the session began... */
    struct bytes whole;          /* ... or, where none began, all. */
};

static struct pieces pieces_of(const struct record *record)
{
    struct pieces pieces = {.whole = record->token};

    if (record->birth_count > 0 && !token_is_plain(record)) {
        pieces.since = version_pieces(&record->version, record_birth(record, 0).stamp.hlc);
        pieces.whole.size = 0;
    }
    return pieces;
}

static bool next_piece(struct pieces *pieces, struct bytes *piece)
{
    if (pieces->since.walk.version != NULL) {
        return version_next_piece(&pieces->since, piece);
    }
    *piece = pieces->whole;
    pieces->whole.size = 0;
    return piece->size > 0;
}

static size_t size_of(struct pieces pieces)
{
    size_t size = 0;

    for (struct bytes piece; next_piece(&pieces, &piece);) {
        size += piece.size;
    }
    return size;
}

static void put_digest(struct pieces pieces, uint8_t digest[TOKEN_DIGEST_BYTES])
{
    uint64_t low = 1, high = 2;

    for (struct bytes piece; next_piece(&pieces, &piece);) {
        low = XXH3_64bits_withSeed(piece.data, piece.size, low);
        high = XXH3_64bits_withSeed(piece.data, piece.size, high);
    }
    digest[0] = TOKEN_DIGEST;
    store_u64(digest + 1, low);
    store_u64(digest + 9, high);
}

int token_put(struct buffer *out, const struct record *record)
{
    struct pieces pieces = pieces_of(record);
    size_t size = size_of(pieces);
    int rc = buffer_reserve(out, size < TOKEN_DIGEST_BYTES ? TOKEN_DIGEST_BYTES : size);

    if (rc == 0 && size > TOKEN_BYTES_MAX) {
        put_digest(pieces, out->data + out->size);
        out->size += TOKEN_DIGEST_BYTES;
        return 0;
    }
    for (struct bytes piece; rc == 0 && next_piece(&pieces, &piece);) {
        rc = buffer_append(out, piece);
    }
    return rc;
}

bool token_equal(const struct record *record, struct bytes token)
{
    struct pieces pieces = pieces_of(record);
    uint8_t digest[TOKEN_DIGEST_BYTES];
    size_t at = 0;

    if (token_is_plain(record)) {
        return bytes_equal(record->token, token);
    }
    if (size_of(pieces) > TOKEN_BYTES_MAX) {
        put_digest(pieces, digest);
        return bytes_equal(bytes_of(digest, TOKEN_DIGEST_BYTES), token);
    }
    for (struct bytes piece; next_piece(&pieces, &piece); at += piece.size) {
        if (piece.size > token.size - at ||
            !bytes_equal(piece, bytes_of(token.data + at, piece.size))) {
            return false;
        }
    }
    return at == token.size;
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
