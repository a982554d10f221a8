/* The version of a session: for each actor the newest hlc seen of it, and the death it remembers.
 *
 * Encoded, it is one run of bytes that lies in the record as it is and mostly serves as version token (token.h), too:
 *
 *   1       flags: 1 several actors, 2 the counter of `newest` is not 0, 4 a death, 8 `until` differs
 *   6       milliseconds of `newest`, the greatest hlc of all actors, little-endian
 *   varint  its counter, if flagged
 *   varint  number of actors, if several; then, ordered, for each: varint node, varint start, and, if
 *           several, its hlc as `back`
 *   back    the hlc of the death, if flagged; then, if flagged, `until` as `ahead` of it
 *
 * `back` is an hlc at or below `newest`: varint (milliseconds below it * 2 + 1 if its counter is not 0),
 * then that counter as varint. `ahead` is the same above another hlc. The form is canonical: one state,
 * one encoding. Hlcs are written against the newest one because most are near it.
 *
 * Memory: a version read points into the bytes it was read from. Threads: any.
 */
#ifndef VERSION_H
#define VERSION_H

#include <stdbool.h>
#include <stdint.h>

#include "bytes.h"
#include "memory.h"
#include "stamp.h"

enum {
    VERSION_CACHED = 8,           /* Actors that are at hand without reading them again. */
    VERSION_ITEM_BYTES_MAX = 20,  /* One actor, encoded. */
    VERSION_FIXED_BYTES_MAX = 48, /* All the rest. */
    HLC_BYTES_MAX = 10,
};

enum version_flag {
    VERSION_SEVERAL = 1,
    VERSION_COUNTER = 2,
    VERSION_DEATH = 4,
    VERSION_UNTIL = 8,
};

/* Death: an entry whose birth is at or below `hlc` is dropped, one whose birth was blind also when it
 * is at or below `until`. Zero: none. until >= hlc. */
struct death {
    uint64_t hlc, until;
};

struct version_item {
    struct actor actor;
    uint64_t hlc;
};

struct version {
    struct stamp newest; /* hlc 0 in a version that has seen nothing. */
    uint32_t count;
    struct death death;
    const uint8_t *rest, *rest_end; /* Encoded: the items after the cached ones. */
    struct version_item items[VERSION_CACHED];
};

/* A version that has seen nothing, or one stamp. */
static inline void version_init(struct version *version)
{
    version->newest = (struct stamp){0, {0, 0}};
    version->count = 0;
    version->death = (struct death){0, 0};
    version->rest = version->rest_end = NULL;
}

static inline void version_init_stamp(struct version *version, struct stamp stamp)
{
    version_init(version);
    version->newest = stamp;
    version->count = 1;
    version->items[0] = (struct version_item){stamp.actor, stamp.hlc};
}

/* Read an encoded version. Returns false, with the reader bad, where there is none. With `strict` also
 * where its form is not the canonical one. */
bool version_read(struct reader *from, bool strict, struct version *version);

/* Append the join of two versions, with this death in place of theirs. `result` is the version as
 * version_read() gives it; its `rest` points into `to`. Returns 0 or -ENOMEM. */
int version_put_join(struct buffer *to, const struct version *a, const struct version *b,
                     struct death death, struct version *result);

/* Walk the actors in order. */
struct version_walk {
    const struct version *version;
    uint32_t index;
    struct reader rest;
};

struct version_walk version_walk(const struct version *version);
bool version_next(struct version_walk *walk, struct version_item *item);

/* What of a version is not below an hlc (its newest item is not), without its death: encoded, as a version of its own,
 * piece by piece, each good until the next one. */
struct version_pieces {
    struct version_walk walk;
    uint64_t hlc;
    uint32_t count; /* Of those actors. */
    bool begun;
    uint8_t bytes[VERSION_FIXED_BYTES_MAX];
};

struct version_pieces version_pieces(const struct version *version, uint64_t hlc);
bool version_next_piece(struct version_pieces *pieces, struct bytes *piece);

/* One of those that are not cached. */
struct version_item version_rest_item(const struct version *version, uint32_t index);

/* The actor of an index below `count`; nobody for others. */
static inline struct version_item version_item(const struct version *version, uint32_t index)
{
    if (index < VERSION_CACHED && index < version->count) {
        return version->items[index];
    }
    return version_rest_item(version, index);
}

/* The index of an actor, or `count`. */
uint32_t version_index(const struct version *version, struct actor actor);

/* The newest hlc seen of an actor; 0: none. */
uint64_t version_seen(const struct version *version, struct actor actor);

static inline bool version_covers(const struct version *version, struct stamp stamp)
{
    if (version->count == 1 && actor_compare(version->items[0].actor, stamp.actor) == 0) {
        return stamp.hlc <= version->items[0].hlc;
    }
    return stamp.hlc <= version_seen(version, stamp.actor);
}

/* Has `version` seen all that `other` has, its death included? */
bool version_covers_all(const struct version *version, const struct version *other);

static inline struct death death_join(struct death a, struct death b)
{
    return (struct death){
        .hlc = a.hlc > b.hlc ? a.hlc : b.hlc,
        .until = a.until > b.until ? a.until : b.until,
    };
}

/* Does it end the incarnation of this birth? */
static inline bool death_ends(struct death death, uint64_t birth_hlc, bool blind)
{
    return birth_hlc <= death.hlc || (blind && birth_hlc <= death.until);
}

/* As read_varint(); one byte is by far the most frequent. */
uint64_t long_varint(struct reader *from);

static inline uint64_t quick_varint(struct reader *from)
{
    if (from->at < from->end && *from->at < 0x80) {
        return *from->at++;
    }
    return long_varint(from);
}

/* As read_bytes(). */
static inline struct bytes quick_bytes(struct reader *from, uint64_t size)
{
    if (size <= reader_left(from)) {
        const uint8_t *at = from->at;
        if (size > 0) { /* Nothing may be at NULL. */
            from->at += size;
        }
        return bytes_of(at, (size_t)size);
    }
    return read_bytes(from, size);
}

/* An hlc as `back` from `newest` (which is not below it). */
static inline uint8_t *hlc_put_back(uint8_t *to, uint64_t newest, uint64_t hlc)
{
    uint64_t counter = hlc & ((1U << HLC_COUNTER_BITS) - 1);

    to = varint_put(to, (hlc_ms(newest) - hlc_ms(hlc)) << 1 | (counter != 0));
    return counter == 0 ? to : varint_put(to, counter);
}

/* Read it. What is no hlc in (0, newest] makes the reader bad. */
static inline uint64_t hlc_read_back(struct reader *from, uint64_t newest)
{
    uint64_t back = quick_varint(from);
    uint64_t counter = (back & 1) != 0 ? quick_varint(from) : 0;
    uint64_t ms = hlc_ms(newest) - (back >> 1);
    uint64_t hlc = hlc_of_ms(ms) + counter;

    if (back >> 1 > hlc_ms(newest) || counter >> HLC_COUNTER_BITS != 0 || hlc == 0 ||
        hlc > newest || ((back & 1) != 0 && counter == 0)) {
        from->bad = true;
        from->at = from->end;
        return 0;
    }
    return hlc;
}

#endif
