/* Byte strings, little-endian integers and varints: what every format here is written with.
 *
 * `struct bytes` only points; whoever made the memory owns it. Nothing is terminated by a zero.
 * Readers of outside bytes use `struct reader`, which never passes its end: the first field that does
 * not fit makes it `bad`, and every later field reads as zero or empty, so that a decoder may read a
 * whole message and ask once.
 * Threads: plain functions over the caller's memory.
 */
#ifndef BYTES_H
#define BYTES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

struct bytes {
    const uint8_t *data;
    size_t size;
};

static inline struct bytes bytes_of(const void *data, size_t size)
{
    return (struct bytes){.data = data, .size = size};
}

static inline struct bytes bytes_of_string(const char *text)
{
    return bytes_of(text, strlen(text));
}

static inline bool bytes_equal(struct bytes a, struct bytes b)
{
    return a.size == b.size && (a.size == 0 || memcmp(a.data, b.data, a.size) == 0);
}

/* Order by unsigned byte, a prefix first. Returns less than, equal to or greater than 0. */
static inline int bytes_compare(struct bytes a, struct bytes b)
{
    size_t shared = a.size < b.size ? a.size : b.size;
    int order = shared == 0 ? 0 : memcmp(a.data, b.data, shared);

    return order != 0 ? order : (a.size > b.size) - (a.size < b.size);
}

static inline bool bytes_starts_with(struct bytes whole, struct bytes prefix)
{
    return whole.size >= prefix.size &&
           (prefix.size == 0 || memcmp(whole.data, prefix.data, prefix.size) == 0);
}

static inline uint16_t load_u16(const uint8_t *from)
{
    return (uint16_t)(from[0] | (uint16_t)(from[1] << 8));
}

static inline uint32_t load_u32(const uint8_t *from)
{
    return (uint32_t)from[0] | (uint32_t)from[1] << 8 | (uint32_t)from[2] << 16 |
           (uint32_t)from[3] << 24;
}

static inline uint64_t load_u64(const uint8_t *from)
{
    return (uint64_t)load_u32(from) | (uint64_t)load_u32(from + 4) << 32;
}

static inline uint64_t load_u64_big(const uint8_t *from)
{
    uint64_t value = 0;

    for (int i = 0; i < 8; i++) {
        value = value << 8 | from[i];
    }
    return value;
}

static inline void store_u16(uint8_t *to, uint16_t value)
{
    to[0] = (uint8_t)value;
    to[1] = (uint8_t)(value >> 8);
}

static inline void store_u32(uint8_t *to, uint32_t value)
{
    store_u16(to, (uint16_t)value);
    store_u16(to + 2, (uint16_t)(value >> 16));
}

static inline void store_u64(uint8_t *to, uint64_t value)
{
    store_u32(to, (uint32_t)value);
    store_u32(to + 4, (uint32_t)(value >> 32));
}

static inline void store_u64_big(uint8_t *to, uint64_t value)
{
    for (int i = 0; i < 8; i++) {
        to[i] = (uint8_t)(value >> (56 - 8 * i));
    }
}

/* Varint: 7 bits a byte, the low ones first, as in Protocol Buffers. */
enum { VARINT_BYTES_MAX = 10 };

static inline size_t varint_size(uint64_t value)
{
    size_t size = 1;

    for (; value >= 0x80; value >>= 7) {
        size++;
    }
    return size;
}

/* Write at most VARINT_BYTES_MAX bytes. Returns the first byte after them. */
static inline uint8_t *varint_put(uint8_t *to, uint64_t value)
{
    for (; value >= 0x80; value >>= 7) {
        *to++ = (uint8_t)(value | 0x80);
    }
    *to++ = (uint8_t)value;
    return to;
}

/* Signed numbers near zero as small varints, as in Protocol Buffers. */
static inline uint64_t zigzag(int64_t value)
{
    return (uint64_t)value << 1 ^ (value < 0 ? UINT64_MAX : 0);
}

static inline int64_t unzigzag(uint64_t value)
{
    return (int64_t)(value >> 1 ^ ((value & 1) != 0 ? UINT64_MAX : 0));
}

struct reader {
    const uint8_t *at, *end;
    bool bad;
};

static inline struct reader reader_of(struct bytes source)
{
    /* Nothing may be at NULL, to which C lets not even 0 be added. */
    const uint8_t *end = source.size == 0 ? source.data : source.data + source.size;

    return (struct reader){.at = source.data, .end = end, .bad = false};
}

static inline size_t reader_left(const struct reader *reader)
{
    return (size_t)(reader->end - reader->at);
}

/* True once everything was read and nothing was missing. */
static inline bool reader_done(const struct reader *reader)
{
    return !reader->bad && reader->at == reader->end;
}

static inline struct bytes read_bytes(struct reader *reader, uint64_t size)
{
    if (reader->bad || size > reader_left(reader)) {
        reader->bad = true;
        reader->at = reader->end;
        return bytes_of(reader->end, 0);
    }
    struct bytes found = bytes_of(reader->at, (size_t)size);
    if (size > 0) { /* As above. */
        reader->at += size;
    }
    return found;
}

static inline uint8_t read_u8(struct reader *reader)
{
    struct bytes found = read_bytes(reader, 1);

    return found.size == 1 ? found.data[0] : 0;
}

static inline uint16_t read_u16(struct reader *reader)
{
    struct bytes found = read_bytes(reader, 2);

    return found.size == 2 ? load_u16(found.data) : 0;
}

static inline uint32_t read_u32(struct reader *reader)
{
    struct bytes found = read_bytes(reader, 4);

    return found.size == 4 ? load_u32(found.data) : 0;
}

static inline uint64_t read_u64(struct reader *reader)
{
    struct bytes found = read_bytes(reader, 8);

    return found.size == 8 ? load_u64(found.data) : 0;
}

/* A varint in its shortest form only: one value, one encoding, so that digests may cover bytes. */
static inline uint64_t read_varint(struct reader *reader)
{
    const uint8_t *at = reader->at;
    uint64_t value = 0;

    for (unsigned shift = 0; shift < 70 && at < reader->end && !reader->bad; shift += 7) {
        uint8_t byte = *at++;
        if (shift == 63 && byte > 1) {
            break;
        }
        value |= (uint64_t)(byte & 0x7f) << shift;
        if (byte < 0x80) {
            if (byte == 0 && shift > 0) {
                break;
            }
            reader->at = at;
            return value;
        }
    }
    reader->bad = true;
    reader->at = reader->end;
    return 0;
}

static inline struct bytes read_string(struct reader *reader)
{
    uint64_t size = read_varint(reader);

    return read_bytes(reader, size);
}

#endif
