#include "segment.h"

#include <assert.h>
#include <stddef.h>

static_assert(sizeof(struct bucket) == 64, "a bucket is a cache line");
static_assert(SEGMENT_REACH * BUCKET_SLOTS < 256, "the overflow count has 8 bits");
static_assert(SEGMENT_REACH <= 4, "a distance has 2 bits");

void segment_erase(const struct probe *probe)
{
    struct bucket *bucket = probe_bucket(probe);

    assert(bucket->tags[probe->slot] == probe->tag);
    bucket->tags[probe->slot] = 0;
    bucket->refs[probe->slot] = 0;
    bucket->notes &= ~(UINT32_C(3) << (2 * probe->slot));
    if (probe->distance > 0) {
        struct bucket *home = &probe->segment[probe->home];
        assert(bucket_overflow(home) > 0);
        home->notes -= UINT32_C(1) << BUCKET_OVERFLOW_SHIFT;
    }
}

static void put(struct bucket *bucket, uint32_t slot, uint32_t tag, uint32_t distance, uint32_t ref)
{
    bucket->tags[slot] = (uint8_t)tag;
    bucket->refs[slot] = ref;
    bucket->notes |= distance << (2 * slot);
}

/* Home first; then the emptiest neighbour, so that the load evens out. */
bool segment_insert(struct bucket *segment, uint32_t width, uint32_t hash, uint32_t ref)
{
    uint32_t home = segment_home(width, hash);
    uint32_t best_distance = 0, best_free = bucket_match(&segment[home], 0);

    if (best_free == 0) {
        for (uint32_t distance = 1; distance < SEGMENT_REACH; distance++) {
            uint32_t found = bucket_match(&segment[(home + distance) % width], 0);
            if (__builtin_popcount(found) > __builtin_popcount(best_free)) {
                best_distance = distance;
                best_free = found;
            }
        }
        if (best_free == 0) {
            return false;
        }
        segment[home].notes += UINT32_C(1) << BUCKET_OVERFLOW_SHIFT;
    }
    put(&segment[(home + best_distance) % width], (uint32_t)__builtin_ctz(best_free), hash & 0xff,
        best_distance, ref);
    return true;
}

uint32_t segment_entries(const struct bucket *segment, uint32_t width, uint32_t hashes[],
                         uint32_t refs[])
{
    uint32_t count = 0;

    for (uint32_t number = 0; number < width; number++) {
        const struct bucket *bucket = &segment[number];
        uint32_t used = ~bucket_match(bucket, 0) & BUCKET_SLOTS_MASK;
        for (; used != 0; used &= used - 1) {
            uint32_t slot = (uint32_t)__builtin_ctz(used);
            if (hashes != NULL) {
                uint32_t home = (number + width - bucket_distance(bucket, slot)) % width;
                hashes[count] = segment_unhash(width, home, bucket->tags[slot]);
            }
            if (refs != NULL) {
                refs[count] = bucket->refs[slot];
            }
            count++;
        }
    }
    return count;
}

uint32_t segment_count(const struct bucket *segment, uint32_t width)
{
    return segment_entries(segment, width, NULL, NULL);
}
