/* How often passwords may be tried: so many failures at once, then one in a while (a leaky bucket). A login that succeeds
 * does not count.
 *
 * The table is of fixed size; where it is crowded the bucket that is nearest to empty makes room. Pure; its caller locks.
 */
#ifndef LOGIN_LIMIT_H
#define LOGIN_LIMIT_H

#include <stdbool.h>
#include <stdint.h>

enum { LOGIN_BUCKETS = 4096, LOGIN_WAYS = 8 };

struct login_rate {
    uint32_t tries, refill_ms;
};

struct login_bucket {
    uint64_t who;      /* 0: free. */
    uint64_t empty_ms; /* When it will have leaked out, if nothing is added. */
};

struct login_limit {
    struct login_bucket buckets[LOGIN_BUCKETS];
};

/* How long `who` (a hash, not 0, always with the same rate) must wait before the next try, in ms; 0: not at all. */
uint64_t login_limit_wait_ms(const struct login_limit *limit, struct login_rate rate, uint64_t who,
                             uint64_t now_ms);

/* A try begins: it counts as failed, until login_limit_succeeded(). */
void login_limit_tried(struct login_limit *limit, struct login_rate rate, uint64_t who,
                       uint64_t now_ms);
void login_limit_succeeded(struct login_limit *limit, struct login_rate rate, uint64_t who);

#endif
