#include "slot.h"

/* CRC-16/XMODEM of four bits at a time: a table that is easy to check and stays in one cache line. */
static const uint16_t nibble_crc[16] = {
    0x0000, 0x1021, 0x2042, 0x3063, 0x4084, 0x50a5, 0x60c6, 0x70e7,
    0x8108, 0x9129, 0xa14a, 0xb16b, 0xc18c, 0xd1ad, 0xe1ce, 0xf1ef,
};

static uint16_t crc16(struct bytes data)
{
    uint32_t crc = 0;

    for (size_t i = 0; i < data.size; i++) {
        crc = (crc << 4 ^ nibble_crc[(crc >> 12 ^ data.data[i] >> 4) & 15]) & 0xffff;
        crc = (crc << 4 ^ nibble_crc[(crc >> 12 ^ data.data[i]) & 15]) & 0xffff;
    }
    return (uint16_t)crc;
}

/* The part of the key that decides: between the first `{` and the next `}`, unless that is nothing. */
static struct bytes hash_tag(struct bytes key)
{
    const uint8_t *open = key.size == 0 ? NULL : memchr(key.data, '{', key.size);
    if (open == NULL) {
        return key;
    }
    size_t left = key.size - (size_t)(open + 1 - key.data);
    const uint8_t *close = left == 0 ? NULL : memchr(open + 1, '}', left);
    if (close == NULL || close == open + 1) {
        return key;
    }
    return bytes_of(open + 1, (size_t)(close - open - 1));
}

uint16_t slot_of_key(struct bytes key)
{
    return crc16(hash_tag(key)) % SLOT_COUNT;
}
