#include "patrol.h"

/* The part of `span_ms` at which a position has its turn. */
static uint64_t turn_ms(uint64_t position, uint64_t span_ms)
{
    return (position >> 32) * span_ms >> 32;
}

void patrol_init(struct patrol *patrol)
{
    *patrol = (struct patrol){.round_ms = PATROL_FIRST_ROUND_MS, .first = true};
}

void patrol_advance(struct patrol *patrol, uint64_t now_ms)
{
    if (patrol->start_ms == 0) {
        patrol->start_ms = now_ms;
        return;
    }
    uint64_t end_ms = patrol->start_ms + patrol->round_ms;
    if (!patrol->finished || now_ms < end_ms) {
        return;
    }
    /* Where it was late, or the clock jumped, the lost time is not made up for. */
    patrol->start_ms = now_ms < end_ms + PATROL_SLACK_MS ? end_ms : now_ms;
    patrol->round_ms = PATROL_ROUND_MS;
    patrol->cursor = 0;
    patrol->finished = false;
    patrol->first = false;
    patrol->odd = !patrol->odd;
}

uint64_t patrol_target(const struct patrol *patrol, uint64_t now_ms)
{
    uint64_t elapsed_ms = now_ms - patrol->start_ms;

    if (elapsed_ms >= patrol->round_ms) {
        return UINT64_MAX;
    }
    return (elapsed_ms << 32) / patrol->round_ms << 32;
}

void patrol_visited(struct patrol *patrol, uint64_t next)
{
    patrol->cursor = next;
    patrol->finished = next == 0;
}

bool patrol_is_ahead(const struct patrol *patrol, uint64_t position)
{
    return !patrol->finished && position >= patrol->cursor;
}

uint64_t patrol_next_visit_ms(const struct patrol *patrol, uint64_t position)
{
    if (patrol_is_ahead(patrol, position)) {
        return patrol->start_ms + turn_ms(position, patrol->round_ms) + PATROL_SLACK_MS;
    }
    return patrol_after_visit_ms(patrol, position);
}

uint64_t patrol_after_visit_ms(const struct patrol *patrol, uint64_t position)
{
    return patrol->start_ms + patrol->round_ms + turn_ms(position, PATROL_ROUND_MS) +
           PATROL_SLACK_MS;
}
