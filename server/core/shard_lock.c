/* Locks of keys for what takes more than one turn: requests for such a key wait, in order, until it is over.
 *
 * A lock is of a position, has an owner, and is in memory only. */
#include "shard_state.h"

static const char full_text[] = "too many requests wait for a session that is being renamed";

static uint32_t find(const struct shard_locks *locks, uint64_t position)
{
    uint32_t i = 0;

    while (i < locks->count && locks->items[i].position != position) {
        i++;
    }
    return i;
}

uint64_t shard_lock_owner(const struct shard *shard, uint64_t position)
{
    const struct shard_locks *locks = &shard->locks;
    uint32_t i = find(locks, position);

    return i == locks->count ? 0 : locks->items[i].owner;
}

bool shard_lock(struct shard *shard, uint64_t position, uint64_t owner)
{
    struct shard_locks *locks = &shard->locks;
    uint32_t i = find(locks, position);

    if (i == locks->count) {
        if (i == LOCKS_MAX) {
            return false;
        }
        locks->items[locks->count++] = (struct shard_lock_item){position, owner};
    }
    return locks->items[i].owner == owner;
}

void shard_wait(struct shard *shard, const struct request *request, uint64_t now_us)
{
    bool first;

    if (parking_add(&shard->locks.waiting, request, &first) != 0) {
        struct reply reply = {
            .status = STATUS_BUSY, .text = full_text, .retry_after_ms = RETRY_LOCK_MS};
        shard_answer(shard, request, &reply, now_us);
    }
}

void shard_unlock(struct shard *shard, uint64_t position, uint64_t owner, uint64_t now_us)
{
    struct shard_locks *locks = &shard->locks;
    uint32_t i = find(locks, position);

    if (i == locks->count || locks->items[i].owner != owner) {
        return;
    }
    locks->items[i] = locks->items[--locks->count];
    struct parked *parked = parking_take(&locks->waiting, position);
    while (parked != NULL) {
        struct parked *next = parked->next;
        if (!shard_refuse_stale(shard, &parked->request, now_us)) {
            shard_run(shard, &parked->request,
                      now_us); /* It waits again where another has locked. */
        }
        parking_free(&locks->waiting, parked);
        parked = next;
    }
}
