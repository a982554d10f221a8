/* Frames: any bytes as they come, and again with magic, size and checksum put right, so that the parts
 * behind the checksum are reached. */
#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "crc32c.h"
#include "frame.h"
#include "fuzz.h"
#include "limits.h"

static void check_frame(struct bytes input)
{
    struct frame frame = {0};

    int64_t size = frame_size(input, FRAME_BYTES_MAX);
    assert(size == 0 || size >= FRAME_HEADER_BYTES || size == -EBADMSG || size == -EMSGSIZE);
    if (frame_parse(input, &frame) != 0) {
        return;
    }
    assert(size == (int64_t)input.size);
    assert(frame.head.size <= HEAD_BYTES_MAX);
    assert(frame.head.data == input.data + FRAME_HEADER_BYTES);
    assert(frame.value.data == frame.head.data + frame.head.size);
    assert(frame.value.data + frame.value.size == input.data + input.size);

    uint8_t again[FRAME_HEADER_BYTES];
    frame_header_put(again, frame.type, frame.flags, frame.request_id, frame.head, frame.value);
    assert(memcmp(again, input.data, sizeof again) == 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    check_frame(bytes_of(data, size));
    if (size < FRAME_HEADER_BYTES) {
        return 0;
    }
    uint8_t *copy = malloc(size);
    if (copy == NULL) {
        return 0;
    }
    memcpy(copy, data, size);
    copy[0] = FRAME_MAGIC;
    store_u32(copy + 4, (uint32_t)(size - FRAME_HEADER_BYTES));
    uint32_t crc = crc32c(0, bytes_of(copy, 20));
    crc = crc32c(crc, bytes_of(copy + FRAME_HEADER_BYTES, size - FRAME_HEADER_BYTES));
    store_u32(copy + 20, crc);
    check_frame(bytes_of(copy, size));
    free(copy);
    return 0;
}
