#include "seen.h"

#include <assert.h>
#include <errno.h>
#include <string.h>

enum { CAPACITY_MIN = 2, HLC_BYTES = 8 };

int seen_init(struct seen *seen, struct memory *memory, uint32_t slot_count)
{
    const size_t bytes = slot_count * sizeof *seen->slots;

    *seen = (struct seen){.memory = memory};
    seen->slots = memory->resize(memory, NULL, 0, bytes);
    if (seen->slots == NULL) {
        return -ENOMEM;
    }
    memset(seen->slots, 0, bytes);
    seen->slot_count = slot_count;
    return 0;
}

static void release(struct seen *seen, struct seen_slot *slot)
{
    if (slot->items != NULL) {
        seen->memory->resize(seen->memory, slot->items, slot->capacity * sizeof *slot->items, 0);
    }
    *slot = (struct seen_slot){.held = slot->held};
}

void seen_hold(struct seen *seen, uint32_t slot, bool held)
{
    seen->slots[slot].held = held;
    release(seen, &seen->slots[slot]);
}

void seen_fini(struct seen *seen)
{
    for (uint32_t i = 0; i < seen->slot_count; i++) {
        release(seen, &seen->slots[i]);
    }
    if (seen->slots != NULL) {
        seen->memory->resize(seen->memory, seen->slots, seen->slot_count * sizeof *seen->slots, 0);
    }
    *seen = (struct seen){.memory = seen->memory};
}

void seen_begin(struct seen *seen, uint32_t slot)
{
    release(seen, &seen->slots[slot]);
    seen->slots[slot].known = !seen->slots[slot].held;
}

void seen_forget(struct seen *seen, uint32_t slot)
{
    release(seen, &seen->slots[slot]);
}

/* The place of an actor, or the one where it belongs. Actors are few. */
static uint32_t place_of(const struct seen_slot *slot, struct actor actor, bool *found)
{
    uint32_t low = 0, high = slot->count;

    while (low < high) {
        uint32_t middle = low + (high - low) / 2;
        if (actor_compare(slot->items[middle].actor, actor) < 0) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    *found = low < slot->count && actor_compare(slot->items[low].actor, actor) == 0;
    return low;
}

uint64_t seen_of(const struct seen *seen, uint32_t slot, struct actor actor)
{
    const struct seen_slot *of = &seen->slots[slot];
    bool found;
    uint32_t place = place_of(of, actor, &found);

    return found ? of->items[place].hlc : 0;
}

struct actor seen_last_era(const struct seen *seen, uint32_t slot, struct actor life)
{
    const struct seen_slot *of = &seen->slots[slot];
    struct actor last = life;

    for (uint32_t i = 0; i < of->count; i++) {
        if (actor_is_of(of->items[i].actor, life)) {
            last = of->items[i].actor; /* They are in order. */
        }
    }
    return last;
}

/* Make room for so many actors. Returns 0, or -EOVERFLOW or -ENOMEM with nothing changed. */
static int reserve(struct seen *seen, struct seen_slot *slot, uint32_t count)
{
    uint32_t capacity = slot->capacity == 0 ? CAPACITY_MIN : slot->capacity;

    if (count > SEEN_ACTORS_MAX) {
        return -EOVERFLOW;
    }
    if (count <= slot->capacity) {
        return 0;
    }
    while (capacity < count) {
        capacity *= 2;
    }
    struct version_item *items =
        seen->memory->resize(seen->memory, slot->items, slot->capacity * sizeof *slot->items,
                             capacity * sizeof *slot->items);
    if (items == NULL) {
        return -ENOMEM;
    }
    slot->items = items;
    slot->capacity = (uint16_t)capacity;
    return 0;
}

int seen_advance(struct seen *seen, uint32_t slot, struct stamp stamp)
{
    struct seen_slot *to = &seen->slots[slot];
    bool found;

    if (!to->known) {
        return 0;
    }
    uint32_t place = place_of(to, stamp.actor, &found);
    if (found) {
        if (to->items[place].hlc < stamp.hlc) {
            to->items[place].hlc = stamp.hlc;
        }
        return 0;
    }
    int rc = reserve(seen, to, to->count + 1U);
    if (rc != 0) {
        return rc;
    }
    memmove(&to->items[place + 1], &to->items[place], (to->count - place) * sizeof *to->items);
    to->items[place] = (struct version_item){stamp.actor, stamp.hlc};
    to->count++;
    return 0;
}

/* ---- Encoded vectors ---- */

static uint8_t *put_item(uint8_t *to, struct version_item item)
{
    to = varint_put(to, item.actor.node);
    to = varint_put(to, item.actor.start);
    store_u64(to, item.hlc);
    return to + HLC_BYTES;
}

/* A varint in its shortest form, at most `max`. */
static uint64_t read_number(struct reader *from, uint64_t max)
{
    const uint8_t *begin = from->at;
    uint64_t number = read_varint(from);

    from->bad |= number > max || (size_t)(from->at - begin) != varint_size(number);
    return number;
}

static struct version_item read_item(struct reader *from)
{
    struct version_item item;

    item.actor.node = (uint32_t)read_number(from, UINT32_MAX);
    item.actor.start = (uint32_t)read_number(from, UINT32_MAX);
    item.hlc = read_u64(from);
    from->bad |= item.actor.node == 0 || item.actor.start == 0 || item.hlc == 0;
    return item;
}

/* Walk a vector; `added` becomes the number of its actors that the slot does not have, and `covered` says whether the
 * slot has seen all of it. Returns 0 or -EBADMSG. */
static int measure(const struct seen_slot *slot, struct bytes vector, uint32_t *added,
                   bool *covered)
{
    struct reader from = reader_of(vector);
    uint64_t count = read_number(&from, SEEN_ACTORS_MAX);
    struct actor last = {0, 0};

    *added = 0;
    *covered = slot->known;
    for (uint64_t i = 0; i < count && !from.bad; i++) {
        struct version_item item = read_item(&from);
        bool found;
        uint32_t place = place_of(slot, item.actor, &found);
        from.bad |= actor_compare(item.actor, last) <= 0;
        *added += !found;
        *covered &= found && slot->items[place].hlc >= item.hlc;
        last = item.actor;
    }
    return reader_done(&from) ? 0 : -EBADMSG;
}

int seen_join(struct seen *seen, uint32_t slot, struct bytes vector)
{
    struct seen_slot *to = &seen->slots[slot];
    struct reader from = reader_of(vector);
    uint32_t added;
    bool covered;

    int rc = measure(to, vector, &added, &covered);
    if (to->held) {
        return rc;
    }
    if (rc == 0) {
        rc = reserve(seen, to, to->count + added);
    }
    if (rc != 0) {
        return rc;
    }
    to->known = true;
    for (uint64_t left = read_varint(&from); left > 0; left--) {
        struct version_item item = read_item(&from);
        rc = seen_advance(seen, slot, (struct stamp){item.hlc, item.actor});
        assert(rc == 0); /* There is room. */
    }
    return 0;
}

void seen_set_filled(struct seen *seen, uint32_t slot, bool filled)
{
    seen->slots[slot].filled = filled && seen->slots[slot].known;
}

bool seen_covers_all(const struct seen *seen, uint32_t slot, struct bytes vector)
{
    uint32_t added;
    bool covered;

    return measure(&seen->slots[slot], vector, &added, &covered) == 0 && covered;
}

int seen_put(const struct seen *seen, uint32_t slot, struct buffer *to)
{
    const struct seen_slot *from = &seen->slots[slot];

    if (!from->known) {
        return -ENOENT;
    }
    int rc =
        buffer_reserve(to, varint_size(from->count) + (size_t)from->count * SEEN_ITEM_BYTES_MAX);
    if (rc != 0) {
        return rc;
    }
    uint8_t *at = varint_put(to->data + to->size, from->count);
    for (uint32_t i = 0; i < from->count; i++) {
        at = put_item(at, from->items[i]);
    }
    to->size = (size_t)(at - to->data);
    return 0;
}
