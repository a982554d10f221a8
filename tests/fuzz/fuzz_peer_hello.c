/* The handshake of nodes: what one side gets may be anything. The first byte says which side, and whether it begins
 * right; the second how large the pieces are; frames whose checksum is all ones get a right one. */
#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "crc32c.h"
#include "fuzz.h"
#include "peer_hello.h"

static const struct peer_wish wish = {.node = 2, .role = PEER_ROLE_CONTROL};

/* Put checksums right where they are all ones. */
static void sum(uint8_t *bytes, size_t size)
{
    while (size >= PEER_HEAD_BYTES) {
        int64_t whole = peer_frame_size(bytes_of(bytes, size), PEER_HELLO_BODY_BYTES_MAX);
        if (whole <= 0 || (uint64_t)whole > size) {
            return;
        }
        if (load_u32(bytes + 16) == UINT32_MAX) {
            struct bytes body = bytes_of(bytes + PEER_HEAD_BYTES, (size_t)whole - PEER_HEAD_BYTES);
            store_u32(bytes + 16, crc32c(crc32c(0, bytes_of(bytes, 16)), body));
        }
        bytes += whole;
        size -= (size_t)whole;
    }
}

static void check(const struct peer_hello *hello)
{
    assert(hello->out_size <= sizeof hello->out);
    assert(strlen(hello->text) <= PEER_TEXT_BYTES_MAX);
    assert(hello->state != PEER_HELLO_DONE); /* It has no proof. */
    assert((hello->state == PEER_HELLO_FAILED) == (hello->refusal != PEER_REFUSED_NONE));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct peer_self selves[2] = {
        {.name = {1, 1}, .shards = 4, .clock_skew_max_ms = 100},
        {.name = {2, 1}, .shards = 4, .clock_skew_max_ms = 100},
    };
    uint8_t nonces[2][PEER_NONCE_BYTES] = {{1}, {2}};
    struct peer_hello dialler, acceptor;

    if (size < 2) {
        return 0;
    }
    peer_hello_dial(&dialler, &selves[0], &wish, nonces[0], 1000);
    peer_hello_accept(&acceptor, &selves[1], nonces[1]);
    struct bytes right = bytes_of(dialler.out, dialler.out_size);
    if ((data[0] & 2) != 0) {
        peer_hello_take(&acceptor, &right, 1000);
        assert(acceptor.state == PEER_HELLO_MORE && right.size == 0);
    }
    struct peer_hello *hello = (data[0] & 1) != 0 ? &dialler : &acceptor;
    uint8_t *copy = malloc(size);
    if (copy == NULL) {
        return 0;
    }
    memcpy(copy, data, size);
    sum(copy + 2, size - 2);
    size_t step = 1 + data[1];
    for (size_t at = 2; at < size && hello->state == PEER_HELLO_MORE; at += step) {
        struct bytes piece = bytes_of(copy + at, size - at < step ? size - at : step);
        peer_hello_take(hello, &piece, 1000);
        check(hello);
        hello->out_size = 0;
    }
    free(copy);
    return 0;
}
