#include "join_token.h"

#include <assert.h>
#include <nettle/base64.h>
#include <string.h>

#include "crc32c.h"

enum {
    SUM_BYTES = 4,
    FIXED_BYTES = CLUSTER_ID_BYTES + CLUSTER_SECRET_BYTES + 1,
    BINARY_BYTES_MAX = FIXED_BYTES + JOIN_ADDRESSES_MAX * (1 + JOIN_ADDRESS_BYTES_MAX) + SUM_BYTES,
};

static const char mark[] = "belay-join-1.", family[] = "belay-join-";

static_assert(sizeof mark + BASE64_ENCODE_RAW_LENGTH(BINARY_BYTES_MAX) <= JOIN_TOKEN_BYTES_MAX,
              "the largest token has room");

void join_token_put(const struct join_token *token, char text[JOIN_TOKEN_BYTES_MAX])
{
    uint8_t binary[BINARY_BYTES_MAX], *to = binary;
    struct base64_encode_ctx state;

    assert(token->address_count >= 1 && token->address_count <= JOIN_ADDRESSES_MAX);
    memcpy(to, token->cluster, CLUSTER_ID_BYTES);
    memcpy(to + CLUSTER_ID_BYTES, token->secret, CLUSTER_SECRET_BYTES);
    to += CLUSTER_ID_BYTES + CLUSTER_SECRET_BYTES;
    *to++ = (uint8_t)token->address_count;
    for (uint32_t i = 0; i < token->address_count; i++) {
        size_t size = strlen(token->addresses[i]);
        assert(size >= 1 && size <= JOIN_ADDRESS_BYTES_MAX);
        *to++ = (uint8_t)size;
        memcpy(to, token->addresses[i], size);
        to += size;
    }
    store_u32(to, crc32c(0, bytes_of(binary, (size_t)(to - binary))));
    to += SUM_BYTES;
    memcpy(text, mark, sizeof mark - 1);
    text += sizeof mark - 1;
    base64url_encode_init(&state);
    text += base64_encode_update(&state, text, (size_t)(to - binary), binary);
    text += base64_encode_final(&state, text);
    while (text[-1] == '=') {
        text--;
    }
    *text = '\0';
}

static bool is_space(uint8_t byte)
{
    return byte == ' ' || byte == '\t' || byte == '\r' || byte == '\n';
}

static struct bytes trimmed(struct bytes text)
{
    while (text.size > 0 && is_space(text.data[0])) {
        text = bytes_of(text.data + 1, text.size - 1);
    }
    while (text.size > 0 && is_space(text.data[text.size - 1])) {
        text.size--;
    }
    return text;
}

/* Returns the bytes behind the base64, or none. */
static struct bytes decoded(struct bytes text, uint8_t to[BINARY_BYTES_MAX + 2])
{
    struct base64_decode_ctx state;
    size_t size = BASE64_DECODE_LENGTH(text.size);

    if (text.size >= JOIN_TOKEN_BYTES_MAX || size > BINARY_BYTES_MAX + 2 || text.size % 4 == 1) {
        return bytes_of(NULL, 0); /* (Four letters are three bytes, and one alone is none.) */
    }
    base64url_decode_init(&state);
    if (base64_decode_update(&state, &size, to, text.size, (const char *)text.data) == 0) {
        return bytes_of(NULL, 0);
    }
    for (size_t padding = (4 - text.size % 4) % 4; padding > 0; padding--) {
        uint8_t none;
        if (base64_decode_single(&state, &none, '=') < 0) {
            return bytes_of(NULL, 0);
        }
    }
    return base64_decode_final(&state) != 0 ? bytes_of(to, size) : bytes_of(NULL, 0);
}

static bool is_printable(struct bytes text)
{
    for (size_t i = 0; i < text.size; i++) {
        if (text.data[i] <= ' ' || text.data[i] > '~') {
            return false;
        }
    }
    return true;
}

/* What the checksum covers. Returns whether that is a token. */
static bool read_body(struct bytes body, struct join_token *token)
{
    struct reader from = reader_of(body);
    struct bytes cluster = read_bytes(&from, CLUSTER_ID_BYTES);
    struct bytes secret = read_bytes(&from, CLUSTER_SECRET_BYTES);

    token->address_count = read_u8(&from);
    if (from.bad || token->address_count == 0 || token->address_count > JOIN_ADDRESSES_MAX) {
        return false;
    }
    memcpy(token->cluster, cluster.data, CLUSTER_ID_BYTES);
    memcpy(token->secret, secret.data, CLUSTER_SECRET_BYTES);
    for (uint32_t i = 0; i < token->address_count; i++) {
        struct bytes address = read_bytes(&from, read_u8(&from));
        if (from.bad || address.size == 0 || !is_printable(address)) {
            return false;
        }
        memcpy(token->addresses[i], address.data, address.size);
        token->addresses[i][address.size] = '\0';
    }
    return reader_done(&from);
}

const char *join_token_read(struct bytes text, struct join_token *token)
{
    uint8_t binary[BINARY_BYTES_MAX + 2];

    text = trimmed(text);
    if (!bytes_starts_with(text, bytes_of_string(family))) {
        return "this is no join token: one begins with belay-join-1.";
    }
    if (!bytes_starts_with(text, bytes_of_string(mark))) {
        return "this join token is of another release than this one";
    }
    struct bytes body =
        decoded(bytes_of(text.data + sizeof mark - 1, text.size - (sizeof mark - 1)), binary);
    *token = (struct join_token){0};
    if (body.size < SUM_BYTES) {
        return "this join token was cut or mistyped: copy all of it";
    }
    body.size -= SUM_BYTES;
    if (load_u32(body.data + body.size) != crc32c(0, body) || !read_body(body, token)) {
        return "this join token was cut or mistyped: copy all of it";
    }
    return NULL;
}
