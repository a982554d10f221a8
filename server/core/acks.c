#include "acks.h"

#include <assert.h>
#include <errno.h>
#include <string.h>

enum { ACKS_CAPACITY_MIN = 256, ACKS_CAPACITY_KEPT = 4096 };

static size_t ring_bytes(uint32_t capacity)
{
    return (size_t)capacity * sizeof(struct ack);
}

static struct ack *place(const struct acks *acks, uint32_t index)
{
    return &acks->ring[(acks->first + index) & (acks->capacity - 1)];
}

void acks_init(struct acks *acks, struct memory *memory)
{
    *acks = (struct acks){.memory = memory};
}

void acks_fini(struct acks *acks)
{
    if (acks->ring != NULL) {
        acks->memory->resize(acks->memory, acks->ring, ring_bytes(acks->capacity), 0);
    }
    acks_init(acks, acks->memory);
}

int acks_reserve(struct acks *acks)
{
    if (acks->count < acks->capacity) {
        return 0;
    }
    if (acks->count >= ACKS_MAX) {
        return -EAGAIN;
    }
    uint32_t capacity = acks->capacity == 0 ? ACKS_CAPACITY_MIN : acks->capacity * 2;
    struct ack *ring = acks->memory->resize(acks->memory, acks->ring, ring_bytes(acks->capacity),
                                            ring_bytes(capacity));
    if (ring == NULL) {
        return -ENOMEM;
    }
    /* The ring was full: what had wrapped around goes on behind the old end. */
    memcpy(ring + acks->capacity, ring, ring_bytes(acks->first));
    acks->ring = ring;
    acks->capacity = capacity;
    return 0;
}

void acks_push(struct acks *acks, struct ack ack)
{
    assert(acks->count < acks->capacity);
    assert(acks->count == 0 || place(acks, acks->count - 1)->lsn <= ack.lsn);
    *place(acks, acks->count) = ack;
    acks->count++;
}

const struct ack *acks_first(const struct acks *acks)
{
    return acks->count == 0 ? NULL : place(acks, 0);
}

uint32_t acks_beyond(const struct acks *acks, uint64_t lsn)
{
    uint32_t low = 0, high = acks->count;

    while (low < high) {
        uint32_t middle = low + (high - low) / 2;
        if (place(acks, middle)->lsn <= lsn) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    return acks->count - low;
}

bool acks_pop(struct acks *acks, uint64_t lsn, struct ack *ack)
{
    if (acks->count == 0 || acks->ring[acks->first].lsn > lsn) {
        return false;
    }
    *ack = acks->ring[acks->first];
    acks->first = (acks->first + 1) & (acks->capacity - 1);
    acks->count--;
    if (acks->count == 0 && acks->capacity > ACKS_CAPACITY_KEPT) {
        acks_fini(acks);
    }
    return true;
}
