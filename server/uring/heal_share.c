#include "heal_share.h"

void heal_share_pass(struct heal_share *share, uint32_t percent, uint64_t now_us)
{
    const uint64_t passed_us = now_us - share->at_us;
    const uint64_t most_us = HEAL_BURST_US + HEAL_DEBT_US;

    share->at_us = now_us;
    if (passed_us / 100 * percent >= most_us) {
        share->left_us = HEAL_BURST_US;
        return;
    }
    share->rest += passed_us * percent;
    share->left_us += (int64_t)(share->rest / 100);
    share->rest %= 100;
    share->left_us = share->left_us > HEAL_BURST_US ? HEAL_BURST_US : share->left_us;
}

void heal_share_spend(struct heal_share *share, uint64_t us)
{
    share->held_us += us;
    share->left_us -= us > HEAL_DEBT_US ? HEAL_DEBT_US : (int64_t)us;
    share->left_us = share->left_us < -HEAL_DEBT_US ? -HEAL_DEBT_US : share->left_us;
}

uint64_t heal_share_room(const struct heal_share *share, uint64_t bytes, uint64_t now_us)
{
    if (now_us - share->wanted_us >= HEAL_QUIET_US) {
        return bytes;
    }
    if (share->left_us <= 0) {
        return 0;
    }
    return bytes < HEAL_ROOM_BYTES ? bytes : HEAL_ROOM_BYTES;
}

bool heal_share_yields(struct heal_share *share)
{
    if (share->held_us < HEAL_YIELD_US) {
        return false;
    }
    share->held_us = 0;
    return true;
}
