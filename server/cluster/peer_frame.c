#include "peer_frame.h"

#include <assert.h>
#include <errno.h>

#include "crc32c.h"

enum {
    OFFSET_KIND = 4,
    OFFSET_NUMBER = 8,
    OFFSET_CRC = 16,
};

static_assert(OFFSET_CRC + 4 == PEER_HEAD_BYTES, "the head ends with its checksum");

void peer_frame_head_put(uint8_t head[PEER_HEAD_BYTES], uint8_t kind, uint64_t number,
                         const struct bytes parts[], uint32_t part_count)
{
    size_t size = 0;

    assert(kind >= 1 && kind < PEER_KINDS_END);
    for (uint32_t i = 0; i < part_count; i++) {
        assert(parts[i].size <= PEER_BODY_BYTES_MAX - size);
        size += parts[i].size;
    }
    store_u32(head, (uint32_t)size);
    store_u32(head + OFFSET_KIND, kind);
    store_u64(head + OFFSET_NUMBER, number);
    uint32_t crc = crc32c(0, bytes_of(head, OFFSET_CRC));
    for (uint32_t i = 0; i < part_count; i++) {
        crc = crc32c(crc, parts[i]);
    }
    store_u32(head + OFFSET_CRC, crc);
}

int64_t peer_frame_size(struct bytes input, uint32_t body_bytes_max)
{
    if (input.size < PEER_HEAD_BYTES) {
        return 0;
    }
    uint32_t kind = load_u32(input.data + OFFSET_KIND); /* With the zeros behind it. */
    if (kind == 0 || kind >= PEER_KINDS_END) {
        return -EBADMSG;
    }
    uint32_t body_size = load_u32(input.data);
    if (body_size > body_bytes_max) {
        return -EMSGSIZE;
    }
    return (int64_t)PEER_HEAD_BYTES + body_size;
}

int peer_frame_parse(struct bytes input, struct peer_frame *frame)
{
    int64_t size = peer_frame_size(input, PEER_BODY_BYTES_MAX);

    if (size <= 0 || (uint64_t)size != input.size) {
        return -EBADMSG;
    }
    struct bytes body = bytes_of(input.data + PEER_HEAD_BYTES, input.size - PEER_HEAD_BYTES);
    uint32_t crc = crc32c(crc32c(0, bytes_of(input.data, OFFSET_CRC)), body);
    if (crc != load_u32(input.data + OFFSET_CRC)) {
        return -EILSEQ;
    }
    *frame = (struct peer_frame){
        .kind = input.data[OFFSET_KIND],
        .number = load_u64(input.data + OFFSET_NUMBER),
        .body = body,
    };
    return 0;
}
