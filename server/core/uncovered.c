#include "uncovered.h"

void uncovered_init(struct uncovered *uncovered, struct memory *memory)
{
    position_set_init(&uncovered->young.set, memory);
    position_set_init(&uncovered->old.set, memory);
    uncovered->young.lsn = uncovered->old.lsn = uncovered->all_lsn = 0;
}

void uncovered_fini(struct uncovered *uncovered)
{
    struct memory *memory = uncovered->young.set.memory;

    position_set_fini(&uncovered->young.set);
    position_set_fini(&uncovered->old.set);
    uncovered_init(uncovered, memory);
}

void uncovered_add(struct uncovered *uncovered, uint64_t position, uint64_t lsn)
{
    struct uncovered_part *young = &uncovered->young;

    if (position_set_add(&young->set, position) == 0) {
        young->lsn = lsn > young->lsn ? lsn : young->lsn;
    } else {
        uncovered->all_lsn = lsn > uncovered->all_lsn ? lsn : uncovered->all_lsn;
    }
}

void uncovered_advance(struct uncovered *uncovered, uint64_t lsn)
{
    struct uncovered_part *young = &uncovered->young, *old = &uncovered->old;

    if (uncovered->all_lsn <= lsn) {
        uncovered->all_lsn = 0;
    }
    if (old->lsn > lsn) {
        return;
    }
    position_set_fini(&old->set);
    *old = *young; /* It takes no more, and goes once the last of it is covered. */
    position_set_init(&young->set, old->set.memory);
    young->lsn = 0;
    if (old->lsn <= lsn) {
        position_set_fini(&old->set);
        old->lsn = 0;
    }
}
