#include "segment.h"

#include <assert.h>
#include <stddef.h>

static_assert(sizeof(struct bucket) == 64, "a bucket is a cache line");
static_assert(SEGMENT_REACH * BUCKET_SLOTS < 256, "the overflow count has 8 bits");
static_assert(SEGMENT_REACH <= 4, "a distance has 2 bits");

static void put(struct bucket *bucket, uint32_t slot, uint32_t tag, uint32_t distance, uint32_t ref)
{
    bucket->tags[slot] = (uint8_t)tag;
    bucket->refs[slot] = ref;
    bucket->notes |= distance << (2 * slot);
}

static void clear(struct bucket *bucket, uint32_t slot)
{
    bucket->tags[slot] = 0;
    bucket->refs[slot] = 0;
    bucket->notes &= ~(UINT32_C(3) << (2 * slot));
}

static void change_overflow(struct bucket *home, int32_t by)
{
    home->notes += (uint32_t)by << BUCKET_OVERFLOW_SHIFT;
}

void segment_erase(const struct probe *probe)
{
    struct bucket *bucket = probe_bucket(probe);

    assert(bucket->tags[probe->slot] == probe->tag);
    clear(bucket, probe->slot);
    if (probe->distance > 0) {
        assert(bucket_overflow(&probe->segment[probe->home]) > 0);
        change_overflow(&probe->segment[probe->home], -1);
    }
}

/* Move some entry of bucket `number` by `step` buckets, forth or back, into a free slot within its own
 * reach. Returns whether one could. */
static bool move_entry(struct bucket *segment, uint32_t width, uint32_t number, int32_t step)
{
    struct bucket *from = &segment[number % width];
    struct bucket *to = &segment[(number + width + (uint32_t)step) % width];
    uint32_t free_slots = bucket_match(to, 0);

    for (uint32_t slot = 0; slot < BUCKET_SLOTS && free_slots != 0; slot++) {
        int32_t distance = (int32_t)bucket_distance(from, slot), moved = distance + step;
        if (from->tags[slot] == 0 || moved < 0 || moved >= SEGMENT_REACH) {
            continue;
        }
        struct bucket *home = &segment[(number + width - (uint32_t)distance) % width];
        change_overflow(home, (moved > 0) - (distance > 0));
        put(to, (uint32_t)__builtin_ctz(free_slots), from->tags[slot], (uint32_t)moved,
            from->refs[slot]);
        clear(from, slot);
        return true;
    }
    return false;
}

/* Free a slot of bucket `number`. Returns whether one could. */
static bool thin_out(struct bucket *segment, uint32_t width, uint32_t number)
{
    for (int32_t step = 1 - SEGMENT_REACH; step < SEGMENT_REACH; step++) {
        if (step != 0 && move_entry(segment, width, number, step)) {
            return true;
        }
    }
    return false;
}

/* By one move, else by two: the second lifts the load at which segments grow from 0.88 to 0.92. */
bool segment_make_room(struct bucket *segment, uint32_t width, uint32_t hash)
{
    const uint32_t home = segment_home(width, hash);

    for (uint32_t number = home; number < home + SEGMENT_REACH; number++) {
        if (bucket_match(&segment[number % width], 0) != 0) {
            return true;
        }
    }
    for (uint32_t number = home; number < home + SEGMENT_REACH; number++) {
        if (thin_out(segment, width, number)) {
            return true;
        }
    }
    for (uint32_t number = home; number < home + SEGMENT_REACH; number++) {
        for (int32_t step = 1 - SEGMENT_REACH; step < SEGMENT_REACH; step++) {
            uint32_t next = number + width + (uint32_t)step;
            if (step != 0 && thin_out(segment, width, next) &&
                move_entry(segment, width, number, step)) {
                return true;
            }
        }
    }
    return false;
}

static uint32_t count_bits(uint32_t bits)
{
    uint32_t count = 0;

    for (; bits != 0; bits &= bits - 1) {
        count++;
    }
    return count;
}

/* Home first; then the emptiest neighbour, so that the load evens out. */
bool segment_insert(struct bucket *segment, uint32_t width, uint32_t hash, uint32_t ref)
{
    uint32_t home = segment_home(width, hash), distance = 0;

    if (bucket_match(&segment[home], 0) == 0 && !segment_make_room(segment, width, hash)) {
        return false;
    }
    uint32_t free_slots = bucket_match(&segment[home], 0);
    if (free_slots == 0) {
        for (uint32_t further = 1; further < SEGMENT_REACH; further++) {
            uint32_t found = bucket_match(&segment[(home + further) % width], 0);
            if (count_bits(found) > count_bits(free_slots)) {
                distance = further;
                free_slots = found;
            }
        }
        change_overflow(&segment[home], 1);
    }
    assert(free_slots != 0);
    put(&segment[(home + distance) % width], (uint32_t)__builtin_ctz(free_slots), hash & 0xff,
        distance, ref);
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
