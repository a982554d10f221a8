/* Actors, hybrid logical time and stamps: who wrote, and when.
 *
 * An actor is one life of one node, or, in a slot that it began anew without what it had stamped there, one era of it (eras.h). Hybrid logical time (Kulkarni et al., "Logical Physical Clocks",
 * 2014) is one number: 48 bits of milliseconds since 1970, then 16 bits of counter; it never goes back
 * and never falls behind the clock it is fed with. A stamp is such a time with the actor that made it:
 * unique per session, both version counter and time of a write.
 */
#ifndef STAMP_H
#define STAMP_H

#include <stdbool.h>
#include <stdint.h>

struct actor {
    uint32_t node;  /* From 1 up; 0 is nobody. */
    uint32_t start; /* From 1 up; above ACTOR_START_BITS the era. */
};

enum {
    ACTOR_START_BITS = 26,
    ACTOR_ERAS_MAX = 64,
};

struct stamp {
    uint64_t hlc;
    struct actor actor;
};

enum { HLC_COUNTER_BITS = 16 };

static inline uint64_t hlc_of_ms(uint64_t ms)
{
    return ms << HLC_COUNTER_BITS;
}

static inline uint64_t hlc_ms(uint64_t hlc)
{
    return hlc >> HLC_COUNTER_BITS;
}

/* The next time after `last` that is not behind `now_ms`. A clock that went back changes nothing. */
static inline uint64_t hlc_next(uint64_t last, uint64_t now_ms)
{
    uint64_t now = hlc_of_ms(now_ms);

    return now > last ? now : last + 1;
}

/* An era of a life; 0 is the first one. */
static inline struct actor actor_of_era(struct actor life, uint32_t era)
{
    return (struct actor){life.node, life.start | era << ACTOR_START_BITS};
}

static inline struct actor actor_life(struct actor actor)
{
    actor.start &= (UINT32_C(1) << ACTOR_START_BITS) - 1;
    return actor;
}

static inline int actor_compare(struct actor a, struct actor b)
{
    if (a.node != b.node) {
        return a.node < b.node ? -1 : 1;
    }
    return (a.start > b.start) - (a.start < b.start);
}

/* Is it an era of this life? */
static inline bool actor_is_of(struct actor actor, struct actor life)
{
    return actor_compare(actor_life(actor), life) == 0;
}

/* Order by time, then actor: total, the same everywhere. */
static inline int stamp_compare(struct stamp a, struct stamp b)
{
    if (a.hlc != b.hlc) {
        return a.hlc < b.hlc ? -1 : 1;
    }
    return actor_compare(a.actor, b.actor);
}

/* Of two times, where 0 is never. */
static inline uint64_t earlier_ms(uint64_t a_ms, uint64_t b_ms)
{
    if (a_ms == 0 || b_ms == 0) {
        return a_ms + b_ms;
    }
    return a_ms < b_ms ? a_ms : b_ms;
}

#endif
