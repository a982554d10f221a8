#include "crc32c.h"

#if defined(__x86_64__)
#include <nmmintrin.h>
#include <wmmintrin.h>
#endif

/* One byte at a time, for processors without the instruction. 0x82f63b78 is the polynomial
 * 0x1edc6f41 with its bits reversed. */
static uint32_t crc32c_plain(uint32_t crc, const uint8_t *at, size_t size)
{
    for (size_t i = 0; i < size; i++) {
        crc ^= at[i];
        for (int bit = 0; bit < 8; bit++) {
            crc = crc >> 1 ^ (UINT32_C(0x82f63b78) & (0 - (crc & 1)));
        }
    }
    return crc;
}

#if defined(__x86_64__)
#define SSE        __attribute__((target("sse4.2")))
#define SSE_PCLMUL __attribute__((target("sse4.2,pclmul")))

/* Eight bytes an instruction; its latency of three cycles bounds this at about 10 GB/s. */
SSE static uint32_t crc32c_sse(uint32_t crc, const uint8_t *at, size_t size)
{
    uint64_t wide = crc;

    for (; size >= 8; size -= 8, at += 8) {
        uint64_t word;
        memcpy(&word, at, sizeof word);
        wide = _mm_crc32_u64(wide, word);
    }
    crc = (uint32_t)wide;
    for (; size > 0; size--, at++) {
        crc = _mm_crc32_u8(crc, *at);
    }
    return crc;
}

/* The instruction can begin every cycle, so three lanes next to each other take the time of one. A
 * checksum is linear: what stands `n` bytes before the end counts x^(8n) times, modulo the polynomial.
 * The carry-less product with x^(8n-33) is that, as the bit order of the product is worth one more x and
 * the instruction's reduction x^32. */
struct lanes {
    size_t bytes;      /* Of one lane, a multiple of 8. */
    uint32_t one, two; /* x^(8n-33) for one lane and for two. */
};

static const struct lanes lanes_long = {1024, 0x170076fa, 0xa51b6135};
static const struct lanes lanes_short = {168, 0x1b3d8f29, 0xa60ce07b};

SSE_PCLMUL static uint32_t shift(uint64_t crc, uint32_t factor)
{
    __m128i product = _mm_clmulepi64_si128(_mm_cvtsi64_si128((int64_t)crc),
                                           _mm_cvtsi64_si128((int64_t)factor), 0);

    return (uint32_t)_mm_crc32_u64(0, (uint64_t)_mm_cvtsi128_si64(product));
}

SSE_PCLMUL static uint32_t crc32c_lanes(uint32_t crc, const uint8_t *at, const struct lanes *lanes)
{
    uint64_t a = crc, b = 0, c = 0;

    for (const uint8_t *end = at + lanes->bytes; at < end; at += 8) {
        uint64_t words[3];
        memcpy(&words[0], at, 8);
        memcpy(&words[1], at + lanes->bytes, 8);
        memcpy(&words[2], at + 2 * lanes->bytes, 8);
        a = _mm_crc32_u64(a, words[0]);
        b = _mm_crc32_u64(b, words[1]);
        c = _mm_crc32_u64(c, words[2]);
    }
    return shift(a, lanes->two) ^ shift(b, lanes->one) ^ (uint32_t)c;
}

SSE_PCLMUL static uint32_t crc32c_wide(uint32_t crc, const uint8_t *at, size_t size)
{
    for (; size >= 3 * lanes_long.bytes; size -= 3 * lanes_long.bytes) {
        crc = crc32c_lanes(crc, at, &lanes_long);
        at += 3 * lanes_long.bytes;
    }
    for (; size >= 3 * lanes_short.bytes; size -= 3 * lanes_short.bytes) {
        crc = crc32c_lanes(crc, at, &lanes_short);
        at += 3 * lanes_short.bytes;
    }
    return crc32c_sse(crc, at, size);
}
#endif

uint32_t crc32c(uint32_t before, struct bytes data)
{
#if defined(__x86_64__)
    if (data.size >= 3 * lanes_short.bytes && __builtin_cpu_supports("sse4.2") &&
        __builtin_cpu_supports("pclmul")) {
        return ~crc32c_wide(~before, data.data, data.size);
    }
    if (__builtin_cpu_supports("sse4.2")) {
        return ~crc32c_sse(~before, data.data, data.size);
    }
#endif
    return ~crc32c_plain(~before, data.data, data.size);
}
