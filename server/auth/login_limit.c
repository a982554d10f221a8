#include "login_limit.h"

#include <stddef.h>

static struct login_bucket *set_of(struct login_limit *limit, uint64_t who)
{
    return &limit->buckets[who % (LOGIN_BUCKETS / LOGIN_WAYS) * LOGIN_WAYS];
}

static const struct login_bucket *find(const struct login_limit *limit, uint64_t who)
{
    const struct login_bucket *set =
        &limit->buckets[who % (LOGIN_BUCKETS / LOGIN_WAYS) * LOGIN_WAYS];

    for (uint32_t i = 0; i < LOGIN_WAYS; i++) {
        if (set[i].who == who) {
            return &set[i];
        }
    }
    return NULL;
}

uint64_t login_limit_wait_ms(const struct login_limit *limit, struct login_rate rate, uint64_t who,
                             uint64_t now_ms)
{
    const uint64_t most_ms = (uint64_t)(rate.tries - 1) * rate.refill_ms; /* With room for one. */
    const struct login_bucket *bucket = find(limit, who);

    if (bucket == NULL || bucket->empty_ms <= now_ms + most_ms) {
        return 0;
    }
    return bucket->empty_ms - now_ms - most_ms;
}

void login_limit_tried(struct login_limit *limit, struct login_rate rate, uint64_t who,
                       uint64_t now_ms)
{
    struct login_bucket *set = set_of(limit, who);
    struct login_bucket *to = &set[0];

    for (uint32_t i = 0; i < LOGIN_WAYS; i++) {
        if (set[i].who == who) {
            to = &set[i];
            break;
        }
        if (set[i].empty_ms < to->empty_ms) {
            to = &set[i];
        }
    }
    if (to->who != who || to->empty_ms < now_ms) {
        *to = (struct login_bucket){.who = who, .empty_ms = now_ms};
    }
    to->empty_ms += rate.refill_ms;
}

void login_limit_succeeded(struct login_limit *limit, struct login_rate rate, uint64_t who)
{
    struct login_bucket *set = set_of(limit, who);

    for (uint32_t i = 0; i < LOGIN_WAYS; i++) {
        if (set[i].who == who && set[i].empty_ms >= rate.refill_ms) {
            set[i].empty_ms -= rate.refill_ms;
        }
    }
}
