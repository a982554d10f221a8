/* Segment: 32 or 48 buckets of one cache line each, a small hash table of tags and references.
 *
 * A position's low 13 bits choose the bucket and the tag: 5 bits the bucket of a narrow segment, 8 bits
 * the tag. Every two buckets of a narrow segment become three of a wide one, shared out by the tag, so
 * that bucket and tag give the 13 bits back in both: segments are widened, narrowed and merged without
 * looking at a record. (The position's high bits choose the segment. The low ones are part of the
 * hash, so they are well spread even where all keys share one slot.)
 *
 * What does not fit its home bucket goes to one of the three after it, with the distance noted in the
 * bucket that holds it, and counted in the home bucket, so that most misses read one line.
 *
 * Two widths keep segments fuller: full narrow -> wide at 2/3, full wide -> two narrow ones at 3/4.
 *
 * Memory: the caller's. Threads: one.
 */
#ifndef SEGMENT_H
#define SEGMENT_H

#include <stdbool.h>
#include <stdint.h>
#include <string.h>

enum {
    BUCKET_SLOTS = 12,
    BUCKET_SLOTS_MASK = (1 << BUCKET_SLOTS) - 1,
    SEGMENT_NARROW = 32, /* Buckets. */
    SEGMENT_WIDE = 48,
    SEGMENT_SLOTS_MAX = SEGMENT_WIDE * BUCKET_SLOTS,
    SEGMENT_REACH = 4, /* Home and the buckets after it that may hold its overflow. */
    SEGMENT_HASH_BITS = 13,
    BUCKET_OVERFLOW_SHIFT = 2 * BUCKET_SLOTS,
};

struct bucket {
    uint8_t tags[BUCKET_SLOTS]; /* 0: free. */
    uint32_t notes; /* Two bits per slot: distance from home. Above: its own overflow. */
    uint32_t refs[BUCKET_SLOTS];
};

/* The bits of a position that a segment uses; a tag is never 0. */
static inline uint32_t segment_hash(uint64_t position)
{
    uint32_t hash = (uint32_t)position & ((1 << SEGMENT_HASH_BITS) - 1);

    return (hash & 0xff) != 0 ? hash : hash | 1;
}

static inline uint32_t segment_home(uint32_t width, uint32_t hash)
{
    return width == SEGMENT_NARROW ? hash >> 8 : (hash >> 9) * 3 + ((hash & 0x1ff) * 3 >> 9);
}

/* The hash again, from the home bucket and the tag. */
static inline uint32_t segment_unhash(uint32_t width, uint32_t home, uint8_t tag)
{
    if (width == SEGMENT_NARROW) {
        return home << 8 | tag;
    }
    uint32_t third = home % 3;
    uint32_t half = third == 1 ? tag < 0x80 : third / 2;
    return home / 3 << 9 | half << 8 | tag;
}

/* A bit for each of the eight bytes of `word` that equals those of `pattern`. */
static inline uint32_t match_bytes(uint64_t word, uint64_t pattern)
{
    const uint64_t low = UINT64_C(0x7f7f7f7f7f7f7f7f);
    uint64_t differ = word ^ pattern;
    uint64_t equal = ~(((differ & low) + low) | differ | low); /* The top bit of each. */

    return (uint32_t)((equal >> 7) * UINT64_C(0x0102040810204080) >> 56);
}

/* The slots of the bucket that have this tag, as bits; tag 0 finds the free ones. */
static inline uint32_t bucket_match(const struct bucket *bucket, uint32_t tag)
{
    uint64_t pattern = tag * UINT64_C(0x0101010101010101);
    uint64_t head, tail;

    memcpy(&head, bucket->tags, sizeof head);
    memcpy(&tail, bucket->tags + BUCKET_SLOTS - sizeof tail, sizeof tail);
    return match_bytes(head, pattern) | match_bytes(tail, pattern) << 4;
}

static inline uint32_t bucket_overflow(const struct bucket *bucket)
{
    return bucket->notes >> BUCKET_OVERFLOW_SHIFT;
}

static inline uint32_t bucket_distance(const struct bucket *bucket, uint32_t slot)
{
    return bucket->notes >> (2 * slot) & 3;
}

/* One look-up going on: every slot with the right tag, nearest bucket first. */
struct probe {
    struct bucket *segment;
    uint32_t width, home, tag; /* Width 0: there is no segment. */
    uint32_t distance;         /* Of the present bucket. */
    uint32_t matches;          /* Slots in it still to be given... */
    uint32_t slot;             /* ... and the one given last. */
};

static inline struct bucket *probe_bucket(const struct probe *probe)
{
    uint32_t number = probe->home + probe->distance;

    return &probe->segment[number < probe->width ? number : number - probe->width];
}

/* The reference found last. */
static inline uint32_t *probe_ref(const struct probe *probe)
{
    return &probe_bucket(probe)->refs[probe->slot];
}

static inline struct probe segment_probe(struct bucket *segment, uint32_t width, uint32_t hash)
{
    struct probe probe = {
        .segment = segment,
        .width = width,
        .home = segment_home(width, hash),
        .tag = hash & 0xff,
    };
    probe.matches = bucket_match(probe_bucket(&probe), probe.tag);
    return probe;
}

/* Go to the next slot that may be the one. Returns false when there is none. */
static inline bool probe_next(struct probe *probe)
{
    while (probe->width != 0) {
        const struct bucket *bucket = probe_bucket(probe);
        while (probe->matches != 0) {
            probe->slot = (uint32_t)__builtin_ctz(probe->matches);
            probe->matches &= probe->matches - 1;
            if (bucket_distance(bucket, probe->slot) == probe->distance) {
                return true;
            }
        }
        if (probe->distance + 1 == SEGMENT_REACH ||
            (probe->distance == 0 && bucket_overflow(bucket) == 0)) {
            return false;
        }
        probe->distance++;
        probe->matches = bucket_match(probe_bucket(probe), probe->tag);
    }
    return false;
}

/* Take out what the probe has found. */
void segment_erase(const struct probe *probe);

/* Make sure that an entry of this hash can be inserted, moving others about if that helps.
 * Returns false where home and its neighbours stay full. */
bool segment_make_room(struct bucket *segment, uint32_t width, uint32_t hash);

/* Returns false where there is no room. */
bool segment_insert(struct bucket *segment, uint32_t width, uint32_t hash, uint32_t ref);

/* Entries in it, as hashes and references (of SEGMENT_SLOTS_MAX each; either may be NULL).
 * Returns their number. */
uint32_t segment_entries(const struct bucket *segment, uint32_t width, uint32_t hashes[],
                         uint32_t refs[]);

uint32_t segment_count(const struct bucket *segment, uint32_t width);

static inline void segment_clear(struct bucket *segment, uint32_t width)
{
    memset(segment, 0, width * sizeof *segment);
}

#endif
