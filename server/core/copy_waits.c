#include "copy_waits.h"

#include <assert.h>
#include <errno.h>
#include <string.h>

enum { CAPACITY_MIN = 256, CAPACITY_KEPT = 4096 };

static size_t ring_bytes(uint32_t capacity)
{
    return (size_t)capacity * sizeof(struct copy_wait);
}

static struct copy_wait *place(const struct copy_waits *waits, uint32_t index)
{
    return &waits->ring[(waits->first + index) & (waits->capacity - 1)];
}

void copy_waits_init(struct copy_waits *waits, struct memory *memory)
{
    *waits = (struct copy_waits){.memory = memory};
}

void copy_waits_fini(struct copy_waits *waits)
{
    if (waits->ring != NULL) {
        waits->memory->resize(waits->memory, waits->ring, ring_bytes(waits->capacity), 0);
    }
    copy_waits_init(waits, waits->memory);
}

int copy_waits_reserve(struct copy_waits *waits)
{
    if (waits->count < waits->capacity) {
        return 0;
    }
    if (waits->count >= COPY_WAITS_MAX) {
        return -EAGAIN;
    }
    uint32_t capacity = waits->capacity == 0 ? CAPACITY_MIN : waits->capacity * 2;
    struct copy_wait *ring = waits->memory->resize(
        waits->memory, waits->ring, ring_bytes(waits->capacity), ring_bytes(capacity));
    if (ring == NULL) {
        return -ENOMEM;
    }
    /* The ring was full: what had wrapped around goes on behind the old end. */
    memcpy(ring + waits->capacity, ring, ring_bytes(waits->first));
    waits->ring = ring;
    waits->capacity = capacity;
    return 0;
}

void copy_waits_push(struct copy_waits *waits, struct copy_wait wait)
{
    assert(waits->count < waits->capacity && wait.ticket != 0);
    assert(waits->count == 0 || place(waits, waits->count - 1)->number < wait.number);
    *place(waits, waits->count) = wait;
    waits->count++;
}

/* What was taken leaves the ring once it is the oldest. */
static void drop_taken(struct copy_waits *waits)
{
    while (waits->count > 0 && waits->ring[waits->first].ticket == 0) {
        waits->first = (waits->first + 1) & (waits->capacity - 1);
        waits->count--;
    }
    if (waits->count == 0 && waits->capacity > CAPACITY_KEPT) {
        copy_waits_fini(waits);
    }
}

bool copy_waits_take(struct copy_waits *waits, uint64_t number, struct copy_wait *wait)
{
    uint32_t low = 0, high = waits->count;

    while (low < high) { /* The first that is not below it. */
        uint32_t middle = low + (high - low) / 2;
        if (place(waits, middle)->number < number) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    if (low == waits->count || place(waits, low)->number != number ||
        place(waits, low)->ticket == 0) {
        return false;
    }
    *wait = *place(waits, low);
    place(waits, low)->ticket = 0;
    drop_taken(waits);
    return true;
}

bool copy_waits_pop(struct copy_waits *waits, uint64_t number, uint64_t lsn, struct copy_wait *wait)
{
    if (waits->count == 0 || place(waits, 0)->number > number || place(waits, 0)->lsn > lsn) {
        return false;
    }
    *wait = *place(waits, 0);
    place(waits, 0)->ticket = 0;
    drop_taken(waits);
    return true;
}
