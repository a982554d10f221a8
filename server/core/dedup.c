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

/* Drop what is not above the floor: the last ones, as items are in order. */
static void apply_floor(struct dedup *dedup)
{
    while (dedup->count > 0 && dedup->items[dedup->count - 1].stamp.hlc <= dedup->floor) {
        dedup->count--;
    }
}

static void raise_floor(struct dedup *dedup, uint64_t hlc)
{
    dedup->floor = hlc > dedup->floor ? hlc : dedup->floor;
}

void dedup_join(const struct dedup *a, const struct dedup *b, struct dedup *out)
{
    uint32_t in_a = 0, in_b = 0;

    out->count = 0;
    out->floor = a->floor > b->floor ? a->floor : b->floor;
    while (in_a < a->count || in_b < b->count) {
        int order = in_a == a->count   ? 1
                    : in_b == b->count ? -1
                                       : compare_items(&a->items[in_a], &b->items[in_b]);
        const struct dedup_item *next = order <= 0 ? &a->items[in_a] : &b->items[in_b];
        bool same =
            out->count > 0 && stamp_compare(next->stamp, out->items[out->count - 1].stamp) == 0;
        in_a += order <= 0;
        in_b += order >= 0;
        if (same) {
            continue;
        }
        if (out->count == DEDUP_ITEMS_MAX) {
            raise_floor(out, next->stamp.hlc);
            break;
        }
        out->items[out->count++] = *next;
    }
    apply_floor(out);
}

void dedup_add(struct dedup *dedup, const struct dedup_item *item, uint64_t oldest_hlc)
{
    for (uint32_t i = 0; i < dedup->count; i++) {
        if (dedup->items[i].stamp.hlc < oldest_hlc) {
            raise_floor(dedup, dedup->items[i].stamp.hlc);
            break;
        }
    }
    if (item != NULL) {
        if (dedup->count == DEDUP_ITEMS_MAX) {
            dedup->count--;
            raise_floor(dedup, dedup->items[dedup->count].stamp.hlc);
        }
        memmove(&dedup->items[1], &dedup->items[0], dedup->count * sizeof dedup->items[0]);
        dedup->items[0] = *item;
        dedup->count++;
    }
    apply_floor(dedup);
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
