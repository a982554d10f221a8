/* Letters that were left, and what is to be settled: found by the shard, begun one after the other (moves.h). */
#include "move.h"
#include "moves.h"
#include "plane_private.h"
#include "settles.h"
#include "shard_thread.h"
#include "slot.h"

bool moves_is_final(enum status status)
{
    return status == STATUS_SESSION_TOO_LARGE || status == STATUS_TOO_MANY_FIELDS ||
           status == STATUS_WRONG_TYPE || status == STATUS_INVALID || status == STATUS_DESTROYED ||
           status == STATUS_DAMAGED;
}

void moves_refused(struct shard_thread *thread, uint64_t id, struct bytes from, enum status status)
{
    struct moves_found *moves = &thread->moves;
    const uint32_t at = moves->refused_at++ % MOVES_REFUSED_MAX;

    moves->refused[at].id = id;
    moves->refused[at].until_us = thread->now_us + MOVES_REFUSED_MS * UINT64_C(1000);
    shard_tell_refused(thread->shard, from, status);
}

static bool was_refused(const struct shard_thread *thread, uint64_t id)
{
    const struct moves_found *moves = &thread->moves;

    for (uint32_t i = 0; i < MOVES_REFUSED_MAX; i++) {
        if (moves->refused[i].id == id && thread->now_us < moves->refused[i].until_us) {
            return true;
        }
    }
    return false;
}

static bool found(void *context, struct bytes key, struct bytes target)
{
    struct shard_thread *thread = context;
    struct copies_route route;

    if (thread->moves.count >= MOVES_FOUND_MAX) {
        return false; /* Once there is a place again. */
    }
    copies_find(thread, slot_of_key(key), 0, &route);
    if (route.kind != ROUTE_LOCAL) {
        return true;
    }
    if (!move_is_letter(key)) {
        if (!settles_has(thread, key)) {
            settles_begin(thread, key);
        }
    } else if (target.size == 0 || copies_hears(thread, slot_of_key(target))) {
        if (!was_refused(thread, load_u64(key.data + MOVE_KEY_BYTES - 8))) {
            thread->moves.count += moves_begin_found(thread, key);
        }
    }
    return true;
}

uint64_t moves_turn(struct shard_thread *thread)
{
    struct moves_found *moves = &thread->moves;

    if (!thread->clustered || thread->stopping || !shard_has_moved(thread->shard)) {
        return UINT64_MAX;
    }
    if (thread->now_us >= moves->due_us) {
        moves->due_us = thread->now_us + MOVES_LOOK_MS * 1000;
        (void)shard_visit_moved(thread->shard, MOVES_VISIT_MAX, found, thread);
    }
    return moves->due_us - thread->now_us;
}
