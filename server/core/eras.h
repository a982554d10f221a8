/* Eras: as whom a node stamps in a slot.
 *
 * A version counts what an actor stamped up to some time as all of it. So nobody may stamp in a slot as an actor of which he lacks
 * something there. A node that was wiped is another actor anyhow. But one that gave a slot away, and begins it anew when all of
 * its owners are out of reach, lacks what it had stamped itself in the same life: in that slot it is another actor from then on, of
 * the next *era* of its life (actor_of_era()). If it is given back all that it had stamped, by others who have it, the era goes on.
 *
 * Which of the two it is shows once the node stamps again: it remembers up to which time it had stamped when the slot's vector
 * (seen.h) was forgotten, and looks whether the present one covers that.
 *
 * A new life has its first era everywhere. A life in which any other has begun does not go on over a restart, however clean: what is here
 * is not kept. There is no era behind the last one, ACTOR_ERAS_MAX - 1: in a slot that a life begins anew more often, that one
 * goes on.
 *
 * Memory: from the port, 10 bytes a slot. Threads: the caller's.
 */
#ifndef ERAS_H
#define ERAS_H

#include <stdbool.h>
#include <stdint.h>

#include "memory.h"
#include "seen.h"
#include "stamp.h"

/* Private to eras.c, but for reading. */
struct eras {
    struct memory *memory;
    uint32_t slot_count;
    struct actor life;
    /* Of each slot: up to which hlc the life had stamped in it when the vector was forgotten; 0: nothing. */
    uint64_t *lacked;
    uint8_t *of;   /* Its era... */
    bool *stamped; /* ... in which the life has stamped, perhaps, since all of it was here. */
    bool used;     /* Any of `lacked` is not 0, or was... */
    bool begun;    /* ... and an era has begun. */
};

/* A life that stamped nothing above `hlc` before (0: nothing at all), in slots of whose vectors nothing is known yet. Returns 0 or
 * -ENOMEM. */
int eras_init(struct eras *eras, struct memory *memory, uint32_t slot_count, struct actor life,
              uint64_t hlc);
void eras_fini(struct eras *eras);

/* All that the life stamped in the slot is here. */
void eras_go_on(struct eras *eras, uint32_t slot);

/* The slot's vector is about to be forgotten, or was already; `hlc`: the newest stamp given out, wherever. */
void eras_forget(struct eras *eras, const struct seen *seen, uint32_t slot, uint64_t hlc);

/* As whom to stamp in the slot now: it is stamped. */
struct actor eras_actor(struct eras *eras, const struct seen *seen, uint32_t slot);

/* As whom this node stamped in it last. */
static inline struct actor eras_last(const struct eras *eras, uint32_t slot)
{
    return actor_of_era(eras->life, eras->used ? eras->of[slot] : 0);
}

static inline uint8_t eras_era(const struct eras *eras, uint32_t slot)
{
    return eras->used ? eras->of[slot] : 0;
}

/* May something that was stamped as eras_last() be missing? Nothing was stamped since. */
static inline bool eras_may_lack(const struct eras *eras, uint32_t slot)
{
    return eras->used && eras->lacked[slot] != 0;
}

#endif
