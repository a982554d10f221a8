#include "frame.h"

#include <assert.h>
#include <errno.h>

#include "crc32c.h"
#include "limits.h"

enum {
    OFFSET_TYPE = 1,
    OFFSET_FLAGS = 2,
    OFFSET_BODY_SIZE = 4,
    OFFSET_REQUEST_ID = 8,
    OFFSET_HEAD_SIZE = 16,
    OFFSET_CRC = 20,
};

void frame_header_put(uint8_t *to, uint8_t type, uint16_t flags, uint64_t request_id,
                      struct bytes head, struct bytes value)
{
    assert(head.size <= UINT32_MAX && value.size <= UINT32_MAX - head.size);

    to[0] = FRAME_MAGIC;
    to[OFFSET_TYPE] = type;
    store_u16(to + OFFSET_FLAGS, flags);
    store_u32(to + OFFSET_BODY_SIZE, (uint32_t)(head.size + value.size));
    store_u64(to + OFFSET_REQUEST_ID, request_id);
    store_u32(to + OFFSET_HEAD_SIZE, (uint32_t)head.size);
    uint32_t crc = crc32c(crc32c(0, bytes_of(to, OFFSET_CRC)), head);
    store_u32(to + OFFSET_CRC, crc32c(crc, value));
}

int64_t frame_size(struct bytes input, uint32_t body_bytes_max)
{
    if (input.size > 0 && input.data[0] != FRAME_MAGIC) {
        return -EBADMSG;
    }
    if (input.size < FRAME_HEADER_BYTES) {
        return 0;
    }
    uint32_t body_size = load_u32(input.data + OFFSET_BODY_SIZE);
    if (body_size > body_bytes_max) {
        return -EMSGSIZE;
    }
    return (int64_t)FRAME_HEADER_BYTES + body_size;
}

int frame_parse(struct bytes input, struct frame *frame)
{
    if (input.size < FRAME_HEADER_BYTES || input.data[0] != FRAME_MAGIC) {
        return -EBADMSG;
    }
    struct bytes body = bytes_of(input.data + FRAME_HEADER_BYTES, input.size - FRAME_HEADER_BYTES);
    uint32_t head_size = load_u32(input.data + OFFSET_HEAD_SIZE);
    if (load_u32(input.data + OFFSET_BODY_SIZE) != body.size) {
        return -EBADMSG;
    }
    frame->type = input.data[OFFSET_TYPE];
    frame->flags = load_u16(input.data + OFFSET_FLAGS);
    frame->request_id = load_u64(input.data + OFFSET_REQUEST_ID);
    frame->head = frame->value = bytes_of(body.data, 0);
    uint32_t crc = crc32c(crc32c(0, bytes_of(input.data, OFFSET_CRC)), body);
    if (crc != load_u32(input.data + OFFSET_CRC)) {
        return -EILSEQ;
    }
    if (head_size > body.size || head_size > HEAD_BYTES_MAX) {
        return -EBADMSG;
    }
    frame->head = bytes_of(body.data, head_size);
    frame->value = bytes_of(body.data + head_size, body.size - head_size);
    return 0;
}
