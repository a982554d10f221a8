/* Overload control: who is refused when requests wait too long.
 *
 * The measure is how long a request waited before its turn, as in CoDel (Nichols and Jacobson,
 * "Controlling Queue Delay", 2012): a burst makes some wait, but only overload keeps even the luckiest
 * waiting for a whole window. So
 *   - who waited longer than the limit is refused, always: its answer would be late anyway;
 *   - while a queue stands (its minimum over the last window is above half of the limit), a share of the
 *     others too, growing from none at half of the limit to all at it. The queue then settles between
 *     the two, without swinging from serving everybody to serving nobody.
 * Requests that would begin a session have half of the limit.
 *
 * Refusing costs too, so who is refused is told when to come back: later and later while more than
 * OVERLOAD_SHARE of all are refused, sooner again below it. It changes as slowly as its effect is seen
 * (a limit's worth for a window of refusals), so it does not swing either. Threads: the caller's.
 */
#ifndef OVERLOAD_H
#define OVERLOAD_H

#include <stdbool.h>
#include <stdint.h>

struct overload {
    uint64_t limit_us; /* 0: never refuses. */
    uint64_t window_end_us;
    uint64_t lowest_us;      /* In this window so far. */
    uint64_t standing_us;    /* Lowest of the last window. */
    uint64_t asked, refused; /* In this window. */
    uint64_t retry_us;       /* When to come back. */
    uint32_t credit;         /* Gathers shares until they are a whole refusal. */
    bool active;
    uint64_t refused_ms; /* When the last one was refused. */
};

enum {
    OVERLOAD_ONE = 1024, /* A share of all. */
    OVERLOAD_SHARE = OVERLOAD_ONE / 10,
    OVERLOAD_CALM_MS = 1000,
    OVERLOAD_RETRY_MS_MAX = 5000,
};

void overload_init(struct overload *overload, uint32_t limit_ms);

/* A request came to its turn after `delay_us`. Call it once for each, before the other two. */
void overload_note(struct overload *overload, uint64_t now_us, uint64_t delay_us);

/* Is this one, which begins a session (`fresh`) or not, refused? */
bool overload_refuses(struct overload *overload, uint64_t delay_us, bool fresh);

/* Is it refused whoever asks? */
static inline bool overload_is_late(const struct overload *overload, uint64_t delay_us)
{
    return overload->limit_us != 0 && delay_us > overload->limit_us;
}

/* Could it matter whether a request is fresh? */
static inline bool overload_may_refuse(const struct overload *overload, uint64_t delay_us)
{
    return overload->limit_us != 0 && delay_us > overload->limit_us / 4;
}

/* One was refused. Returns whether that begins an overload. */
bool overload_count(struct overload *overload, uint64_t now_ms);

/* Returns true once when an overload has ended: none was refused for OVERLOAD_CALM_MS. */
bool overload_ended(struct overload *overload, uint64_t now_ms);

/* When somebody who is refused now should come back. */
uint32_t overload_retry_ms(const struct overload *overload);

#endif
