#include "dedup.h"

#include <string.h>

#include "record.h"

enum { ITEM_MORE = 1, ITEM_NEWEST = 2, ITEM_SIZE_SHIFT = 2 };

bool dedup_read_item(struct reader *from, const struct version *version, struct dedup_item *item)
{
    uint64_t head = quick_varint(from);
    uint64_t size = head >> ITEM_SIZE_SHIFT;

    item->client = quick_varint(from);
    item->sequence = quick_varint(from);
    item->stamp = (head & ITEM_NEWEST) != 0 ? version->newest : stamp_read(from, version);
    item->forgotten = size == 0;
    /* Too much is bad, for writers rely on the limit. */
    item->results = read_bytes(from, size == 0                           ? 0
                                     : size - 1 > DEDUP_RESULT_BYTES_MAX ? UINT64_MAX
                                                                         : size - 1);
    return (head & ITEM_MORE) != 0 && !from->bad;
}

uint8_t *dedup_put_item(uint8_t *to, const struct version *version, const struct dedup_item *item,
                        bool more)
{
    bool newest = stamp_compare(item->stamp, version->newest) == 0;
    uint64_t size = item->forgotten ? 0 : item->results.size + 1;

    to = varint_put(to,
                    size << ITEM_SIZE_SHIFT | (newest ? ITEM_NEWEST : 0) | (more ? ITEM_MORE : 0));
    to = varint_put(to, item->client);
    to = varint_put(to, item->sequence);
    to = newest ? to : stamp_put(to, version, item->stamp);
    if (size > 1) {
        memcpy(to, item->results.data, item->results.size);
        to += item->results.size;
    }
    return to;
}

/* Order of items: the newest first. Equal stamps are one write, unless somebody's bytes are wrong;
 * even then everybody must choose the same. */
static int compare_items(const struct dedup_item *a, const struct dedup_item *b)
{
    int order = stamp_compare(b->stamp, a->stamp);

    if (order == 0 && a->client != b->client) {
        return a->client < b->client ? -1 : 1;
    }
    if (order == 0 && a->sequence != b->sequence) {
        return a->sequence < b->sequence ? -1 : 1;
    }
    if (order == 0 && a->forgotten != b->forgotten) {
        return a->forgotten ? -1 : 1;
    }
    return order != 0 ? order : bytes_compare(a->results, b->results);
}

/* Drop what is not above the floor. */
static void apply_floor(struct dedup *dedup)
{
    uint32_t kept = 0;

    for (uint32_t i = 0; i < dedup->count; i++) {
        if (dedup_is_receipt(&dedup->items[i]) || dedup->items[i].stamp.hlc > dedup->floor) {
            dedup->items[kept++] = dedup->items[i];
        }
    }
    dedup->count = kept;
}

static void raise_floor(struct dedup *dedup, uint64_t hlc)
{
    dedup->floor = hlc > dedup->floor ? hlc : dedup->floor;
}

/* What is joined so far. */
struct join {
    struct dedup *out;
    uint32_t items, receipts;
};

static void join_one(struct join *join, const struct dedup_item *item)
{
    if (dedup_is_receipt(item)) {
        if (join->receipts == DEDUP_RECEIPTS_MAX) {
            return;
        }
        join->receipts++;
    } else if (join->items == DEDUP_ITEMS_MAX) {
        raise_floor(join->out, item->stamp.hlc);
        return;
    } else {
        join->items++;
    }
    join->out->items[join->out->count++] = *item;
}

/* An item that only one of them has: did the other take it away? */
static bool stays(const struct dedup_item *item, bool in_a, struct dedup_state a,
                  struct dedup_state b, bool b_is_news)
{
    if (!dedup_is_receipt(item) || (in_a && b_is_news)) {
        return true;
    }
    return !version_covers(in_a ? b.version : a.version, item->stamp);
}

void dedup_join(struct dedup_state a, struct dedup_state b, bool b_is_news, struct dedup *out)
{
    uint64_t floor_a = a.dedup->floor, floor_b = b.dedup->floor;
    struct stamp before = {UINT64_MAX, {UINT32_MAX, UINT32_MAX}};
    uint32_t in_a = 0, in_b = 0;
    struct join join = {.out = out};

    out->count = 0;
    out->floor = floor_a > floor_b ? floor_a : floor_b;
    while (in_a < a.dedup->count || in_b < b.dedup->count) {
        const struct dedup_item *next_a = &a.dedup->items[in_a], *next_b = &b.dedup->items[in_b];
        int order = in_a == a.dedup->count   ? 1
                    : in_b == b.dedup->count ? -1
                                             : compare_items(next_a, next_b);
        const struct dedup_item *next = order <= 0 ? next_a : next_b;
        in_a += order <= 0;
        in_b += order >= 0;
        if (stamp_compare(next->stamp, before) == 0) {
            continue;
        }
        before = next->stamp;
        if (order == 0 || stays(next, order < 0, a, b, b_is_news)) {
            join_one(&join, next);
        }
    }
    apply_floor(out);
}

/* ---- A coordinator's ---- */

static bool is_older(const struct dedup_item *item, uint64_t keep_ms, uint64_t now_ms)
{
    return hlc_ms(item->stamp.hlc) + keep_ms < now_ms;
}

static void remove_at(struct dedup *dedup, uint32_t index)
{
    dedup->count--;
    memmove(&dedup->items[index], &dedup->items[index + 1],
            (dedup->count - index) * sizeof dedup->items[0]);
}

/* May this receipt, the oldest of so many, leave for another one? */
static bool may_leave(const struct dedup_item *receipt, uint32_t receipts, uint64_t now_ms)
{
    return (receipts > DEDUP_RECEIPTS_KEPT && is_older(receipt, DEDUP_RECEIPT_KEEP_MS, now_ms)) ||
           (receipts >= DEDUP_RECEIPTS_FULL && is_older(receipt, DEDUP_KEEP_MS, now_ms));
}

static void drop_receipts(struct dedup *dedup, uint64_t now_ms)
{
    uint32_t receipts = dedup_receipts(dedup);

    for (uint32_t i = dedup->count; i-- > 0;) {
        if (dedup_is_receipt(&dedup->items[i]) && may_leave(&dedup->items[i], receipts, now_ms)) {
            remove_at(dedup, i);
            receipts--;
        }
    }
}

/* The floor rises to the newest client's item that is too old, and to the oldest where there is no room. */
static void drop_items(struct dedup *dedup, bool comes, uint64_t now_ms)
{
    uint32_t items = 0;

    for (uint32_t i = 0; i < dedup->count; i++) {
        const struct dedup_item *item = &dedup->items[i];
        if (!dedup_is_receipt(item)) {
            items++;
            if (is_older(item, DEDUP_KEEP_MS, now_ms) || (comes && items == DEDUP_ITEMS_MAX)) {
                raise_floor(dedup, item->stamp.hlc);
            }
        }
    }
    apply_floor(dedup);
}

void dedup_add(struct dedup *dedup, const struct dedup_item *item, uint64_t now_ms)
{
    bool is_receipt = item != NULL && dedup_is_receipt(item);

    drop_items(dedup, item != NULL && !is_receipt, now_ms);
    if (is_receipt) {
        drop_receipts(dedup, now_ms);
    }
    if (item != NULL && dedup->count < DEDUP_ROOM) {
        memmove(&dedup->items[1], &dedup->items[0], dedup->count * sizeof dedup->items[0]);
        dedup->items[0] = *item;
        dedup->count++;
    }
}

uint32_t dedup_receipts(const struct dedup *dedup)
{
    uint32_t receipts = 0;

    for (uint32_t i = 0; i < dedup->count; i++) {
        receipts += dedup_is_receipt(&dedup->items[i]);
    }
    return receipts;
}

bool dedup_takes_receipt(const struct dedup *dedup, uint64_t now_ms)
{
    uint32_t receipts = dedup_receipts(dedup);

    for (uint32_t i = dedup->count; i-- > 0;) {
        receipts -=
            dedup_is_receipt(&dedup->items[i]) && may_leave(&dedup->items[i], receipts, now_ms);
    }
    return receipts < DEDUP_RECEIPTS_FULL;
}

bool dedup_remove_receipt(struct dedup *dedup, uint64_t id)
{
    for (uint32_t i = 0; i < dedup->count; i++) {
        if (dedup_is_receipt(&dedup->items[i]) && dedup->items[i].sequence == id) {
            remove_at(dedup, i);
            return true;
        }
    }
    return false;
}

const struct dedup_item *dedup_find(const struct dedup *dedup, uint64_t client, uint64_t sequence)
{
    for (uint32_t i = 0; i < dedup->count; i++) {
        if (dedup->items[i].client == client && dedup->items[i].sequence == sequence) {
            return &dedup->items[i];
        }
    }
    return NULL;
}
