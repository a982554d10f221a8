#include "overload.h"

void overload_init(struct overload *overload, uint32_t limit_ms)
{
    *overload = (struct overload){
        .limit_us = (uint64_t)limit_ms * 1000,
        .lowest_us = UINT64_MAX,
        .retry_us = (uint64_t)limit_ms * 1000,
    };
}

/* Both ends of what a refused one may be told. */
static uint64_t retry_bounded(const struct overload *overload, int64_t retry_us)
{
    const int64_t least_us = (int64_t)overload->limit_us;
    const int64_t most_us = (int64_t)OVERLOAD_RETRY_MS_MAX * 1000;

    if (retry_us > most_us) {
        retry_us = most_us;
    }
    return (uint64_t)(retry_us < least_us ? least_us : retry_us);
}

/* A window is as long as the limit. */
static void window_close(struct overload *overload, uint64_t now_us)
{
    int64_t share = (int64_t)(overload->refused * OVERLOAD_ONE / overload->asked);
    int64_t step_us = (share - OVERLOAD_SHARE) * (int64_t)overload->limit_us / OVERLOAD_ONE;

    overload->retry_us = retry_bounded(overload, (int64_t)overload->retry_us + step_us);
    overload->standing_us = overload->lowest_us;
    overload->lowest_us = UINT64_MAX;
    overload->asked = 0;
    overload->refused = 0;
    overload->window_end_us = now_us + overload->limit_us;
}

void overload_note(struct overload *overload, uint64_t now_us, uint64_t delay_us)
{
    if (overload->asked > 0 && now_us >= overload->window_end_us) {
        window_close(overload, now_us);
    }
    overload->asked++;
    if (delay_us < overload->lowest_us) {
        overload->lowest_us = delay_us;
    }
}

bool overload_refuses(struct overload *overload, uint64_t delay_us, bool fresh)
{
    uint64_t limit_us = fresh ? overload->limit_us / 2 : overload->limit_us;
    uint64_t half_us = limit_us / 2;

    if (limit_us == 0 || delay_us <= half_us) {
        return false;
    }
    if (delay_us > limit_us) {
        return true;
    }
    if (overload->standing_us <= half_us) {
        return false;
    }
    overload->credit += (uint32_t)((delay_us - half_us) * OVERLOAD_ONE / (limit_us - half_us));
    if (overload->credit < OVERLOAD_ONE) {
        return false;
    }
    overload->credit -= OVERLOAD_ONE;
    return true;
}

bool overload_count(struct overload *overload, uint64_t now_ms)
{
    bool begins = !overload->active;

    overload->active = true;
    overload->refused_ms = now_ms;
    overload->refused++;
    return begins;
}

bool overload_ended(struct overload *overload, uint64_t now_ms)
{
    if (!overload->active || now_ms < overload->refused_ms + OVERLOAD_CALM_MS) {
        return false;
    }
    overload->active = false;
    overload->retry_us = overload->limit_us;
    return true;
}

uint32_t overload_retry_ms(const struct overload *overload)
{
    return (uint32_t)(overload->retry_us / 1000);
}
