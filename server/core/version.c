#include "version.h"

#include <assert.h>

static void fail(struct reader *from)
{
    from->bad = true;
    from->at = from->end;
}

uint64_t long_varint(struct reader *from)
{
    const uint8_t *at = from->at;

    if (reader_left(from) < VARINT_BYTES_MAX) {
        return read_varint(from);
    }
    uint64_t value = at[0] & 0x7f;
    for (unsigned i = 1; i < VARINT_BYTES_MAX; i++) {
        value |= (uint64_t)(at[i] & 0x7f) << (7 * i & 63);
        if (at[i] < 0x80) {
            if (at[i] == 0 || (i == VARINT_BYTES_MAX - 1 && at[i] > 1)) {
                break;
            }
            from->at = at + i + 1;
            return value;
        }
    }
    fail(from);
    return 0;
}

static struct version_item item_read(struct reader *from, uint64_t newest, bool several)
{
    uint64_t node = quick_varint(from);
    uint64_t start = quick_varint(from);

    if (node == 0 || node > UINT32_MAX || start == 0 || start > UINT32_MAX) {
        fail(from);
    }
    return (struct version_item){
        .actor = {(uint32_t)node, (uint32_t)start},
        .hlc = several ? hlc_read_back(from, newest) : newest,
    };
}

static uint8_t *item_put(uint8_t *to, struct version_item item, uint64_t newest, bool several)
{
    to = varint_put(to, item.actor.node);
    to = varint_put(to, item.actor.start);
    return several ? hlc_put_back(to, newest, item.hlc) : to;
}

static bool read_items(struct reader *from, bool strict, struct version *version)
{
    uint64_t count = read_varint(from);
    struct version_item last = {{0, 0}, 0};
    bool newest_found = false;

    /* Each takes 3 bytes at least. */
    if (count < 2 || count > reader_left(from) / 3) {
        return false;
    }
    version->count = (uint32_t)count;
    version->rest = NULL;
    for (uint32_t i = 0; i < version->count; i++) {
        if (i == VERSION_CACHED) {
            version->rest = from->at;
        }
        struct version_item item = item_read(from, version->newest.hlc, true);
        if (strict && actor_compare(last.actor, item.actor) >= 0) {
            return false;
        }
        last = item;
        if (i < VERSION_CACHED) {
            version->items[i] = item;
        }
        if (item.hlc == version->newest.hlc) {
            version->newest.actor = item.actor;
            newest_found = true;
        }
    }
    version->rest_end = from->at;
    return newest_found && !from->bad;
}

static bool read_death(struct reader *from, uint8_t flags, struct version *version)
{
    struct death death;

    death.hlc = death.until = hlc_read_back(from, version->newest.hlc);
    if ((flags & VERSION_UNTIL) != 0) {
        uint64_t ahead = quick_varint(from);
        uint64_t counter = (ahead & 1) != 0 ? read_varint(from) : 0;
        uint64_t ms = hlc_ms(death.hlc) + (ahead >> 1);
        death.until = hlc_of_ms(ms) + counter;
        if (ms >> (64 - HLC_COUNTER_BITS) != 0 || counter >> HLC_COUNTER_BITS != 0 ||
            ((ahead & 1) != 0 && counter == 0) || death.until <= death.hlc) {
            return false;
        }
    }
    version->death = death;
    return !from->bad;
}

/* One actor with small numbers, no counter, no death: most versions. Takes nothing of others. */
static bool read_common(struct reader *from, struct version *version)
{
    enum { BYTES = 1 + 6 + 2 };
    const uint8_t *at = from->at;

    if (reader_left(from) < BYTES || at[0] != 0 || at[7] - 1U > 126 || at[8] - 1U > 126) {
        return false;
    }
    uint64_t ms = load_u32(at + 1) | (uint64_t)load_u16(at + 5) << 32;
    if (ms == 0) {
        return false;
    }
    version->newest = (struct stamp){hlc_of_ms(ms), {at[7], at[8]}};
    version->count = 1;
    version->death = (struct death){0, 0};
    version->rest = version->rest_end = NULL;
    version->items[0] = (struct version_item){version->newest.actor, version->newest.hlc};
    from->at = at + BYTES;
    return true;
}

static bool read_parts(struct reader *from, bool strict, struct version *version)
{
    uint8_t flags = read_u8(from);
    struct bytes ms = read_bytes(from, 6);

    if (from->bad || flags >= VERSION_UNTIL << 1 ||
        ((flags & VERSION_UNTIL) != 0 && (flags & VERSION_DEATH) == 0)) {
        return false;
    }
    uint64_t counter = (flags & VERSION_COUNTER) != 0 ? quick_varint(from) : 0;
    if (counter >> HLC_COUNTER_BITS != 0 || ((flags & VERSION_COUNTER) != 0 && counter == 0)) {
        return false;
    }
    version->newest.hlc = hlc_of_ms(load_u32(ms.data) | (uint64_t)load_u16(ms.data + 4) << 32);
    version->newest.hlc += counter;
    version->death = (struct death){0, 0};
    if (version->newest.hlc == 0) {
        return false;
    }
    if ((flags & VERSION_SEVERAL) != 0) {
        if (!read_items(from, strict, version)) {
            return false;
        }
    } else {
        version->count = 1;
        version->rest = version->rest_end = NULL;
        version->items[0] = item_read(from, version->newest.hlc, false);
        version->newest.actor = version->items[0].actor;
    }
    if ((flags & VERSION_DEATH) != 0) {
        return read_death(from, flags, version);
    }
    return !from->bad;
}

bool version_read(struct reader *from, bool strict, struct version *version)
{
    if (!read_common(from, version) && !read_parts(from, strict, version)) {
        version_init(version);
        fail(from);
        return false;
    }
    return true;
}

struct version_walk version_walk(const struct version *version)
{
    return (struct version_walk){
        .version = version,
        .rest = {.at = version->rest, .end = version->rest_end},
    };
}

bool version_next(struct version_walk *walk, struct version_item *item)
{
    const struct version *version = walk->version;

    if (walk->index == version->count) {
        return false;
    }
    if (walk->index < VERSION_CACHED) {
        *item = version->items[walk->index];
    } else {
        *item = item_read(&walk->rest, version->newest.hlc, true);
    }
    walk->index++;
    return true;
}

struct version_item version_rest_item(const struct version *version, uint32_t index)
{
    struct version_item item = {{0, 0}, 0};

    if (index >= version->count) {
        return item;
    }
    struct version_walk walk = version_walk(version);
    walk.index = VERSION_CACHED;
    while (walk.index <= index && version_next(&walk, &item)) {
    }
    return item;
}

uint32_t version_index(const struct version *version, struct actor actor)
{
    struct version_walk walk = version_walk(version);
    struct version_item item;

    while (version_next(&walk, &item)) {
        if (actor_compare(item.actor, actor) == 0) {
            return walk.index - 1;
        }
    }
    return version->count;
}

uint64_t version_seen(const struct version *version, struct actor actor)
{
    struct version_walk walk = version_walk(version);
    struct version_item item;

    while (version_next(&walk, &item)) {
        if (actor_compare(item.actor, actor) == 0) {
            return item.hlc;
        }
    }
    return 0;
}

bool version_covers_all(const struct version *version, const struct version *other)
{
    struct version_walk mine = version_walk(version), theirs = version_walk(other);
    struct version_item item = {{0, 0}, 0}, wanted;

    if (other->death.hlc > version->death.hlc || other->death.until > version->death.until ||
        other->newest.hlc > version->newest.hlc) {
        return false;
    }
    while (version_next(&theirs, &wanted)) {
        while (actor_compare(item.actor, wanted.actor) < 0) {
            if (!version_next(&mine, &item)) {
                return false;
            }
        }
        if (actor_compare(item.actor, wanted.actor) != 0 || item.hlc < wanted.hlc) {
            return false;
        }
    }
    return true;
}

/* Both in order, as one. */
struct join {
    struct version_walk a, b;
    struct version_item next_a, next_b;
    bool has_a, has_b;
};

static struct join join_of(const struct version *a, const struct version *b)
{
    struct join join = {.a = version_walk(a), .b = version_walk(b)};

    join.has_a = version_next(&join.a, &join.next_a);
    join.has_b = version_next(&join.b, &join.next_b);
    return join;
}

static bool join_next(struct join *join, struct version_item *item)
{
    int order;

    if (!join->has_a && !join->has_b) {
        return false;
    }
    if (join->has_a && join->has_b) {
        order = actor_compare(join->next_a.actor, join->next_b.actor);
    } else {
        order = join->has_a ? -1 : 1;
    }
    *item = order <= 0 ? join->next_a : join->next_b;
    if (order == 0 && join->next_b.hlc > item->hlc) {
        item->hlc = join->next_b.hlc;
    }
    if (order <= 0) {
        join->has_a = version_next(&join->a, &join->next_a);
    }
    if (order >= 0) {
        join->has_b = version_next(&join->b, &join->next_b);
    }
    return true;
}

static uint8_t *put_death(uint8_t *to, uint64_t newest, struct death death)
{
    to = hlc_put_back(to, newest, death.hlc);
    if (death.until != death.hlc) {
        uint64_t counter = death.until & ((1U << HLC_COUNTER_BITS) - 1);
        to = varint_put(to, (hlc_ms(death.until) - hlc_ms(death.hlc)) << 1 | (counter != 0));
        to = counter == 0 ? to : varint_put(to, counter);
    }
    return to;
}

static uint8_t *put_head(uint8_t *to, const struct version *version)
{
    struct death death = version->death;
    uint64_t ms = hlc_ms(version->newest.hlc);
    uint64_t counter = version->newest.hlc & ((1U << HLC_COUNTER_BITS) - 1);
    int flags = 0;

    flags |= version->count > 1 ? VERSION_SEVERAL : 0;
    flags |= counter != 0 ? VERSION_COUNTER : 0;
    flags |= death.hlc != 0 ? VERSION_DEATH : 0;
    flags |= death.until != death.hlc ? VERSION_UNTIL : 0;
    *to++ = (uint8_t)flags;
    store_u32(to, (uint32_t)ms);
    store_u16(to + 4, (uint16_t)(ms >> 32));
    to += 6;
    to = counter != 0 ? varint_put(to, counter) : to;
    return version->count > 1 ? varint_put(to, version->count) : to;
}

static bool same_single_actor(const struct version *a, const struct version *b)
{
    return b->count == 1 && actor_compare(a->newest.actor, b->newest.actor) == 0;
}

/* Nearly all versions are of one actor. */
static void put_single(struct buffer *to, struct stamp newest, struct version *result)
{
    result->newest = newest;
    result->count = 1;
    result->items[0] = (struct version_item){newest.actor, newest.hlc};
    assert(result->death.hlc <= newest.hlc && result->death.until >= result->death.hlc);

    uint8_t *at = put_head(to->data + to->size, result);
    at = item_put(at, result->items[0], newest.hlc, false);
    at = result->death.hlc != 0 ? put_death(at, newest.hlc, result->death) : at;
    to->size = (size_t)(at - to->data);
}

int version_put_join(struct buffer *to, const struct version *a, const struct version *b,
                     struct death death, struct version *result)
{
    size_t room = VERSION_FIXED_BYTES_MAX;
    struct version_item item;
    size_t rest = 0, rest_end = 0;

    room += ((size_t)a->count + b->count) * VERSION_ITEM_BYTES_MAX;
    int rc = buffer_reserve(to, room);
    if (rc != 0) {
        return rc;
    }
    version_init(result);
    result->death = death;
    if (a->count == 1 && (b->count == 0 || same_single_actor(a, b))) {
        put_single(to, b->newest.hlc > a->newest.hlc ? b->newest : a->newest, result);
        return 0;
    }
    result->newest = stamp_compare(a->newest, b->newest) > 0 ? a->newest : b->newest;
    for (struct join join = join_of(a, b); join_next(&join, &item);) {
        result->count++;
    }
    assert(result->count > 0 && death.hlc <= result->newest.hlc && death.until >= death.hlc);

    uint8_t *at = put_head(to->data + to->size, result);
    struct join join = join_of(a, b);
    for (uint32_t i = 0; join_next(&join, &item); i++) {
        if (i < VERSION_CACHED) {
            result->items[i] = item;
        }
        rest = i == VERSION_CACHED ? (size_t)(at - to->data) : rest;
        at = item_put(at, item, result->newest.hlc, result->count > 1);
        rest_end = (size_t)(at - to->data);
    }
    at = death.hlc != 0 ? put_death(at, result->newest.hlc, death) : at;
    to->size = (size_t)(at - to->data);
    if (result->count > VERSION_CACHED) {
        result->rest = to->data + rest;
        result->rest_end = to->data + rest_end;
    }
    return 0;
}

struct version_pieces version_pieces(const struct version *version, uint64_t hlc)
{
    struct version_pieces pieces = {.walk = version_walk(version), .hlc = hlc};
    struct version_item item;

    for (struct version_walk walk = pieces.walk; version_next(&walk, &item);) {
        pieces.count += item.hlc >= hlc;
    }
    return pieces;
}

static uint8_t *put_first_piece(const struct version_pieces *pieces, uint8_t *to)
{
    return put_head(to, &(struct version){
                            .newest = pieces->walk.version->newest,
                            .count = pieces->count,
                        });
}

bool version_next_piece(struct version_pieces *pieces, struct bytes *piece)
{
    const struct version *version = pieces->walk.version;
    uint8_t *end = NULL;
    struct version_item item;

    if (!pieces->begun) {
        pieces->begun = true;
        end = put_first_piece(pieces, pieces->bytes);
    }
    while (end == NULL) {
        if (!version_next(&pieces->walk, &item)) {
            return false;
        }
        if (item.hlc >= pieces->hlc) {
            end = item_put(pieces->bytes, item, version->newest.hlc, pieces->count > 1);
        }
    }
    *piece = bytes_of(pieces->bytes, (size_t)(end - pieces->bytes));
    return true;
}
