/* Seen: what a node has merged, slot by slot.
 *
 * The seen vector of a slot says for each actor up to which hlc this node has merged everything that the actor
 * stamped in the slot. It is what makes forgetting safe: an entry whose birth the vector covers, while no such birth
 * lives here, is dead, however late it comes; and a copy of a slot may be dropped once its owners' vectors cover this
 * one. It is a version vector (Parker et al., "Detection of Mutual Inconsistency in Distributed Systems", 1983) of a
 * slot, where version.h has one of a session.
 *
 * A vector is known or not. Of a slot that is damaged or incomplete it is not: it covers nothing, nothing is added to
 * it, and it becomes known again only by a whole vector, after a comparison of everything (seen_join()). One whose sessions
 * are still to come from elsewhere than its owners, which do not have them (an archive), is *held*: no owner's vector says
 * what has ended in it, and nothing makes it known before it is let go.
 *
 * Encoded, a vector is
 *
 *   varint  number of actors
 *   for each, in the order of actor_compare(): varint node, varint start, 8 bytes hlc, little-endian
 *
 * and canonical: one state, one encoding. A vector that is not known has no encoding.
 *
 * Memory: from the port; 16 bytes a slot and 16 for each of its actors, in powers of two. Threads: the caller's.
 */
#ifndef SEEN_H
#define SEEN_H

#include <stdbool.h>
#include <stdint.h>

#include "memory.h"
#include "stamp.h"
#include "version.h"

enum {
    SEEN_ACTORS_MAX = 4096, /* Of a slot: lives of nodes that stamped in it. */
    SEEN_ITEM_BYTES_MAX = 18,
};

/* Private to seen.c. */
struct seen_slot {
    struct version_item *items; /* In the order of actors. */
    uint16_t count, capacity;
    bool known, held, filled;
};

struct seen {
    struct memory *memory;
    uint32_t slot_count;
    struct seen_slot *slots;
};

/* Vectors of `slot_count` slots, none of them known. Returns 0 or -ENOMEM. */
int seen_init(struct seen *seen, struct memory *memory, uint32_t slot_count);
void seen_fini(struct seen *seen);

/* Fetch from memory the slot, or, `found`, once that is there, its vector. */
static inline void seen_prefetch(const struct seen *seen, uint32_t slot, bool found)
{
    if (found) {
        __builtin_prefetch(seen->slots[slot].items);
    } else {
        __builtin_prefetch(&seen->slots[slot]);
    }
}

/* A slot that is known to have nothing: a new one, or one of which no other copy can be asked. One that is held stays as it is. */
void seen_begin(struct seen *seen, uint32_t slot);

/* The slot is damaged, or not whole any more. */
void seen_forget(struct seen *seen, uint32_t slot);

/* Hold it, or let it go; either way it is not known then. */
void seen_hold(struct seen *seen, uint32_t slot, bool held);

static inline bool seen_is_held(const struct seen *seen, uint32_t slot)
{
    return seen->slots[slot].held;
}

static inline bool seen_is_known(const struct seen *seen, uint32_t slot)
{
    return seen->slots[slot].known;
}

/* The hlc up to which everything of an actor was merged; 0: nothing, or it is not known. */
uint64_t seen_of(const struct seen *seen, uint32_t slot, struct actor actor);

/* The last era of an actor's life of which something was merged; the first one where there is none. */
struct actor seen_last_era(const struct seen *seen, uint32_t slot, struct actor life);

static inline bool seen_covers(const struct seen *seen, uint32_t slot, struct stamp stamp)
{
    return stamp.hlc != 0 && stamp.hlc <= seen_of(seen, slot, stamp.actor);
}

/* Everything that the actor stamped in the slot up to this stamp was merged: it was stamped here, or the stream that
 * brings it, which is in order and without a gap since what the vector says, has come so far. Older stamps change
 * nothing; neither does anything where the slot is not known.
 * Returns 0; -ENOMEM or -EOVERFLOW (SEEN_ACTORS_MAX): the vector is as before, so it says less than is true. */
int seen_advance(struct seen *seen, uint32_t slot, struct stamp stamp);

/* Everything of another node's copy of the slot was compared and merged, and that copy's vector was this one when the
 * comparison began: the slot is known now, and has seen what either had; one that is held stays as it is. Returns 0; -EBADMSG: not a vector;
 * -ENOMEM, -EOVERFLOW. On failure all is as before. */
int seen_join(struct seen *seen, uint32_t slot, struct bytes vector);

/* That comparison made it known: what others had of it is here now. Until it is not known any more. */
void seen_set_filled(struct seen *seen, uint32_t slot, bool filled);

static inline bool seen_is_filled(const struct seen *seen, uint32_t slot)
{
    return seen->slots[slot].filled;
}

/* Has this slot seen all that the vector has? False where it is not known, or `vector` is none. */
bool seen_covers_all(const struct seen *seen, uint32_t slot, struct bytes vector);

/* Append the vector of a known slot. Returns 0; -ENOENT: it is not known; -ENOMEM. */
int seen_put(const struct seen *seen, uint32_t slot, struct buffer *to);

#endif
