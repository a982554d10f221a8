#include "slot.h"

/* CRC-16/XMODEM of eight bytes at a time: this is on the way of every request.
 *
 * A CRC is linear: what a byte adds to the remainder is the sum of what its bits add, and a bit's part,
 * k bytes before the end of the eight, is x^(16 + 8k + bit) modulo the polynomial. The tables below are
 * these sums for every byte, made by the compiler. */
enum { CRC_STEP = 8, BYTE_VALUES = 256 };

#define CRC_SUM(byte, p0, p1, p2, p3, p4, p5, p6, p7)                                              \
    ((byte & 1 ? p0 : 0) ^ (byte & 2 ? p1 : 0) ^ (byte & 4 ? p2 : 0) ^ (byte & 8 ? p3 : 0) ^       \
     (byte & 16 ? p4 : 0) ^ (byte & 32 ? p5 : 0) ^ (byte & 64 ? p6 : 0) ^ (byte & 128 ? p7 : 0))
#define CRC_4(at, ...)                                                                             \
    CRC_SUM((at), __VA_ARGS__), CRC_SUM((at + 1), __VA_ARGS__), CRC_SUM((at + 2), __VA_ARGS__),    \
        CRC_SUM((at + 3), __VA_ARGS__)
#define CRC_16(at, ...)                                                                            \
    CRC_4(at, __VA_ARGS__), CRC_4(at + 4, __VA_ARGS__), CRC_4(at + 8, __VA_ARGS__),                \
        CRC_4(at + 12, __VA_ARGS__)
#define CRC_64(at, ...)                                                                            \
    CRC_16(at, __VA_ARGS__), CRC_16(at + 16, __VA_ARGS__), CRC_16(at + 32, __VA_ARGS__),           \
        CRC_16(at + 48, __VA_ARGS__)
#define CRC_TABLE(...)                                                                             \
    {                                                                                              \
        CRC_64(0, __VA_ARGS__), CRC_64(64, __VA_ARGS__), CRC_64(128, __VA_ARGS__),                 \
            CRC_64(192, __VA_ARGS__)                                                               \
    }

static const uint16_t crc_tables[CRC_STEP][BYTE_VALUES] = {
    CRC_TABLE(0x1021, 0x2042, 0x4084, 0x8108, 0x1231, 0x2462, 0x48c4, 0x9188),
    CRC_TABLE(0x3331, 0x6662, 0xccc4, 0x89a9, 0x0373, 0x06e6, 0x0dcc, 0x1b98),
    CRC_TABLE(0x3730, 0x6e60, 0xdcc0, 0xa9a1, 0x4363, 0x86c6, 0x1dad, 0x3b5a),
    CRC_TABLE(0x76b4, 0xed68, 0xcaf1, 0x85c3, 0x1ba7, 0x374e, 0x6e9c, 0xdd38),
    CRC_TABLE(0xaa51, 0x4483, 0x8906, 0x022d, 0x045a, 0x08b4, 0x1168, 0x22d0),
    CRC_TABLE(0x45a0, 0x8b40, 0x06a1, 0x0d42, 0x1a84, 0x3508, 0x6a10, 0xd420),
    CRC_TABLE(0xb861, 0x60e3, 0xc1c6, 0x93ad, 0x377b, 0x6ef6, 0xddec, 0xabf9),
    CRC_TABLE(0x47d3, 0x8fa6, 0x0f6d, 0x1eda, 0x3db4, 0x7b68, 0xf6d0, 0xfd81),
};

static uint16_t crc16(struct bytes data)
{
    const uint8_t *at = data.data;
    size_t left = data.size;
    uint32_t crc = 0;

    for (; left >= CRC_STEP; left -= CRC_STEP, at += CRC_STEP) {
        crc = crc_tables[7][at[0] ^ crc >> 8] ^ crc_tables[6][at[1] ^ (crc & 0xff)] ^
              crc_tables[5][at[2]] ^ crc_tables[4][at[3]] ^ crc_tables[3][at[4]] ^
              crc_tables[2][at[5]] ^ crc_tables[1][at[6]] ^ crc_tables[0][at[7]];
    }
    for (; left > 0; left--, at++) {
        crc = (crc << 8 & 0xffff) ^ crc_tables[0][*at ^ crc >> 8];
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
