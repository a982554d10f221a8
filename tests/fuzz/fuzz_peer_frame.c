/* Frames between nodes: any bytes as they come, and again with head and checksum put right, so that what is behind the
 * checksum is reached. */
#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "crc32c.h"
#include "fuzz.h"
#include "peer_frame.h"

static void check_frame(struct bytes input)
{
    struct peer_frame frame;
    int64_t size = peer_frame_size(input, PEER_BODY_BYTES_MAX);

    assert(size == 0 || size >= PEER_HEAD_BYTES || size == -EBADMSG || size == -EMSGSIZE);
    if (peer_frame_parse(input, &frame) != 0) {
        return;
    }
    assert(size == (int64_t)input.size);
    assert(frame.kind >= 1 && frame.kind < PEER_KINDS_END);
    assert(frame.body.data == input.data + PEER_HEAD_BYTES);
    assert(frame.body.size == input.size - PEER_HEAD_BYTES);

    /* The same bytes, in whatever parts the body is given. */
    size_t middle = frame.body.size / 3;
    const struct bytes parts[] = {
        bytes_of(frame.body.data, middle),
        bytes_of(frame.body.data + middle, frame.body.size - middle),
    };
    uint8_t again[PEER_HEAD_BYTES];
    peer_frame_head_put(again, frame.kind, frame.number, parts, 2);
    assert(memcmp(again, input.data, sizeof again) == 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    check_frame(bytes_of(data, size));
    if (size < PEER_HEAD_BYTES) {
        return 0;
    }
    uint8_t *copy = malloc(size);
    if (copy == NULL) {
        return 0;
    }
    memcpy(copy, data, size);
    store_u32(copy, (uint32_t)(size - PEER_HEAD_BYTES));
    copy[5] = copy[6] = copy[7] = 0;
    uint32_t crc = crc32c(0, bytes_of(copy, 16));
    crc = crc32c(crc, bytes_of(copy + PEER_HEAD_BYTES, size - PEER_HEAD_BYTES));
    store_u32(copy + 16, crc);
    check_frame(bytes_of(copy, size));
    free(copy);
    return 0;
}
