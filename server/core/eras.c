#include "eras.h"

#include <errno.h>
#include <string.h>

static size_t size_of(uint32_t slot_count)
{
    return slot_count * (sizeof(uint64_t) + sizeof(uint8_t) + sizeof(bool));
}

int eras_init(struct eras *eras, struct memory *memory, uint32_t slot_count, struct actor life,
              uint64_t hlc)
{
    uint64_t *lacked = memory->resize(memory, NULL, 0, size_of(slot_count));

    *eras = (struct eras){.memory = memory, .slot_count = slot_count, .life = life};
    if (lacked == NULL) {
        return -ENOMEM;
    }
    eras->lacked = lacked;
    eras->of = (uint8_t *)(lacked + slot_count);
    eras->stamped = (bool *)(eras->of + slot_count);
    eras->used = hlc != 0;
    memset(eras->of, 0, slot_count * (sizeof(uint8_t) + sizeof(bool)));
    for (uint32_t slot = 0; slot < slot_count; slot++) {
        lacked[slot] = hlc;
    }
    return 0;
}

void eras_fini(struct eras *eras)
{
    if (eras->lacked != NULL) {
        eras->memory->resize(eras->memory, eras->lacked, size_of(eras->slot_count), 0);
    }
    *eras = (struct eras){0};
}

void eras_go_on(struct eras *eras, uint32_t slot)
{
    eras->lacked[slot] = 0;
    eras->stamped[slot] = true;
}

void eras_forget(struct eras *eras, const struct seen *seen, uint32_t slot, uint64_t hlc)
{
    if (!eras->stamped[slot]) {
        return;
    }
    const uint64_t noted_hlc = seen_of(seen, slot, eras_last(eras, slot));
    eras->lacked[slot] =
        noted_hlc != 0 ? noted_hlc : hlc; /* It stamped while that was not known. */
    eras->stamped[slot] = false;
    eras->used = true;
}

struct actor eras_actor(struct eras *eras, const struct seen *seen, uint32_t slot)
{
    eras->stamped[slot] = true;
    if (!eras->used) {
        return eras->life;
    }
    if (eras->lacked[slot] > seen_of(seen, slot, eras_last(eras, slot)) &&
        eras->of[slot] + 1 < ACTOR_ERAS_MAX) {
        eras->of[slot]++;
        eras->begun = true;
    }
    eras->lacked[slot] = 0;
    return actor_of_era(eras->life, eras->of[slot]);
}
