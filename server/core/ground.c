#include "ground.h"

#include <assert.h>
#include <errno.h>
#include <string.h>

/* An empty area is kept while the others have fewer free units than this: mapping one costs the
 * zeroing of 2 MiB, so a count that swings about a boundary must not do it each time. */
static uint32_t spare_units(const struct ground *ground)
{
    return (ground->units + 7) / 8;
}

static void link_area(struct ground *ground, struct area *area)
{
    struct area **head = &ground->by_used[area->used_count];

    area->prev = NULL;
    area->next = *head;
    if (*head != NULL) {
        (*head)->prev = area;
    }
    *head = area;
}

static void unlink_area(struct ground *ground, struct area *area)
{
    if (area->prev != NULL) {
        area->prev->next = area->next;
    } else {
        ground->by_used[area->used_count] = area->next;
    }
    if (area->next != NULL) {
        area->next->prev = area->prev;
    }
}

void ground_init(struct ground *ground, struct memory *memory, uint32_t unit_bytes)
{
    assert(GROUND_AREA_BYTES % unit_bytes == 0);
    assert(GROUND_AREA_BYTES / unit_bytes <= GROUND_UNITS_MAX);

    *ground = (struct ground){
        .memory = memory,
        .unit_bytes = unit_bytes,
        .units = GROUND_AREA_BYTES / unit_bytes,
    };
}

static void unmap_area(struct ground *ground, struct area *area)
{
    struct memory *memory = ground->memory;

    ground->area_count--;
    ground->free_units -= ground->units - area->used_count;
    memory->unmap(memory, area->base, GROUND_AREA_BYTES);
    memory->resize(memory, area, sizeof *area, 0);
}

void ground_fini(struct ground *ground)
{
    for (uint32_t used = 0; used <= ground->units; used++) {
        while (ground->by_used[used] != NULL) {
            struct area *area = ground->by_used[used];
            unlink_area(ground, area);
            unmap_area(ground, area);
        }
    }
    assert(ground->area_count == 0);
}

/* The fullest area with a free unit, or NULL. */
static struct area *fullest(const struct ground *ground)
{
    for (uint32_t used = ground->units; used-- > 0;) {
        if (ground->by_used[used] != NULL) {
            return ground->by_used[used];
        }
    }
    return NULL;
}

int ground_reserve(struct ground *ground)
{
    if (ground->free_units > 0) {
        return 0;
    }
    struct memory *memory = ground->memory;
    struct area *area = memory->resize(memory, NULL, 0, sizeof *area);

    if (area == NULL) {
        return -ENOMEM;
    }
    *area = (struct area){.base = memory->map(memory, GROUND_AREA_BYTES)};
    if (area->base == NULL) {
        memory->resize(memory, area, sizeof *area, 0);
        return -ENOMEM;
    }
    ground->area_count++;
    ground->free_units += ground->units;
    link_area(ground, area);
    return 0;
}

int ground_take(struct ground *ground, uint32_t owner, struct area **area, uint8_t **unit)
{
    int rc = ground_reserve(ground);
    if (rc != 0) {
        return rc;
    }
    struct area *from = fullest(ground);
    assert(from != NULL);
    uint32_t number = (uint32_t)__builtin_ctz(~from->used);

    unlink_area(ground, from);
    from->used |= UINT32_C(1) << number;
    from->used_count++;
    from->owners[number] = owner;
    link_area(ground, from);
    ground->free_units--;
    *area = from;
    *unit = from->base + (size_t)number * ground->unit_bytes;
    return 0;
}

void ground_give(struct ground *ground, struct area *area, const uint8_t *unit)
{
    uint32_t number = (uint32_t)((size_t)(unit - area->base) / ground->unit_bytes);
    assert((area->used >> number & 1) == 1);

    unlink_area(ground, area);
    area->used &= ~(UINT32_C(1) << number);
    area->used_count--;
    ground->free_units++;
    if (area->used == 0 && ground->free_units >= ground->units + spare_units(ground)) {
        unmap_area(ground, area);
    } else {
        link_area(ground, area);
    }
}

/* One area and a 64th of all may be free: moving earlier would cost more than it gives. */
struct area *ground_sparsest(const struct ground *ground)
{
    uint32_t total = ground->area_count * ground->units;

    if (ground->free_units < ground->units + spare_units(ground) + total / 64) {
        return NULL;
    }
    for (uint32_t used = 1; used < ground->units; used++) {
        if (ground->by_used[used] != NULL) {
            uint32_t elsewhere = ground->free_units - (ground->units - used);
            return elsewhere >= used ? ground->by_used[used] : NULL;
        }
    }
    return NULL;
}

uint32_t ground_move(struct ground *ground, struct area **area, uint8_t **unit)
{
    struct area *from = *area;
    uint32_t number = (uint32_t)__builtin_ctz(from->used);
    uint32_t owner = from->owners[number];
    uint8_t *old = from->base + (size_t)number * ground->unit_bytes;

    unlink_area(ground, from); /* So that the new place is not in it. */
    int rc = ground_take(ground, owner, area, unit);
    assert(rc == 0 && *area != from);
    memcpy(*unit, old, ground->unit_bytes);
    link_area(ground, from);
    ground_give(ground, from, old);
    return owner;
}

uint64_t ground_bytes(const struct ground *ground)
{
    return (uint64_t)ground->area_count * (GROUND_AREA_BYTES + sizeof(struct area));
}
