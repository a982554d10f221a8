#include "content.h"

#include <assert.h>
#include <errno.h>
#include <string.h>

#include "crc32c.h"

enum {
    OFFSET_NUMBER = 4,
    OFFSET_COUNT = 12,
    OFFSET_SIZE = 20,
    OFFSET_KEY_CRC = 24,
    OFFSET_FILLER = 28,
    CRC_BYTES = 4,
    DIGITS_MIN = 10,
};
#define COUNTED_MAGIC UINT32_C(0x4b4c4542)

static_assert((int)CONTENT_COUNTED_BYTES_MIN >= (int)OFFSET_FILLER + (int)CRC_BYTES,
              "the smallest counted value holds its fields");

uint64_t content_mix(uint64_t number)
{
    uint64_t mixed = number + UINT64_C(0x9e3779b97f4a7c15);

    mixed = (mixed ^ (mixed >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
    mixed = (mixed ^ (mixed >> 27)) * UINT64_C(0x94d049bb133111eb);
    return mixed ^ (mixed >> 31);
}

size_t content_key(const char *prefix, uint64_t number, uint8_t *key)
{
    size_t prefix_size = strlen(prefix);
    size_t digits = DIGITS_MIN;

    if (prefix_size + digits < CONTENT_KEY_BYTES) {
        digits = CONTENT_KEY_BYTES - prefix_size;
    }
    assert(prefix_size + digits <= CONTENT_KEY_BYTES_MAX);
    memcpy(key, prefix, prefix_size);
    for (size_t i = prefix_size + digits; i > prefix_size; i--) {
        key[i - 1] = (uint8_t)('0' + number % 10);
        number /= 10;
    }
    return prefix_size + digits;
}

void content_seeded(uint64_t seed, uint64_t number, uint8_t *value, size_t size)
{
    uint64_t state = content_mix(seed) ^ content_mix(number ^ UINT64_C(0x5bd1e995));
    size_t at = 0;

    for (; at + 8 <= size; at += 8) {
        store_u64(value + at, content_mix(state++));
    }
    uint64_t last = content_mix(state);
    for (; at < size; at++) {
        value[at] = (uint8_t)last;
        last >>= 8;
    }
}

void content_counted(struct bytes key, uint64_t number, uint64_t count, uint8_t *value, size_t size)
{
    assert(size >= CONTENT_COUNTED_BYTES_MIN && size <= UINT32_MAX);

    store_u32(value, COUNTED_MAGIC);
    store_u64(value + OFFSET_NUMBER, number);
    store_u64(value + OFFSET_COUNT, count);
    store_u32(value + OFFSET_SIZE, (uint32_t)size);
    store_u32(value + OFFSET_KEY_CRC, crc32c(0, key));
    content_seeded(count, number, value + OFFSET_FILLER, size - OFFSET_FILLER - CRC_BYTES);
    store_u32(value + size - CRC_BYTES, crc32c(0, bytes_of(value, size - CRC_BYTES)));
}

int content_counted_read(struct bytes key, uint64_t number, struct bytes value, uint64_t *count)
{
    if (value.size < CONTENT_COUNTED_BYTES_MIN || load_u32(value.data) != COUNTED_MAGIC ||
        load_u32(value.data + OFFSET_SIZE) != value.size ||
        load_u64(value.data + OFFSET_NUMBER) != number ||
        load_u32(value.data + OFFSET_KEY_CRC) != crc32c(0, key)) {
        return -EBADMSG;
    }
    uint32_t crc = crc32c(0, bytes_of(value.data, value.size - CRC_BYTES));
    if (crc != load_u32(value.data + value.size - CRC_BYTES)) {
        return -EBADMSG;
    }
    *count = load_u64(value.data + OFFSET_COUNT);
    return 0;
}

bool content_is_delete(uint64_t number, uint64_t count, uint32_t deletes_percent)
{
    uint64_t drawn = content_mix(number * UINT64_C(0x100000001b3) + count) % 50;

    return count % 2 == 0 && drawn < deletes_percent;
}
