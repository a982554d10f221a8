/* Parts of a state's sessions (archive_state.h), for where all of them are too much at once. */
#include "archive_state.h"

bool state_part_halve(struct state_part *part)
{
    if (part->parts >= STATE_PARTS_MAX) {
        return false;
    }
    part->parts *= 2;
    return true;
}

/* The halves of part `p` of `n` are `p` and `p + n` of `2 * n`. */
bool state_part_next(struct state_part *part)
{
    while (part->parts > 1 && part->part >= part->parts / 2) {
        part->parts /= 2;
        part->part -= part->parts;
    }
    if (part->parts == 1) {
        return false;
    }
    part->part += part->parts / 2;
    return true;
}
