/* Serving while sessions are still being loaded.
 *
 * The store gives everything in the background (shard_restore_*()). A request for a session of which
 * something is still to come is parked, and what the store has of its position is fetched before the rest;
 * then it is executed as if it had just come. What was fetched and is given once more later is passed
 * over, although the merge would find nothing new in it.
 *
 * Nothing is buried before the end of it: a burial says that nothing older is to come. */
#include "shard_state.h"

#include <assert.h>

static const char full_text[] = "too many requests wait for sessions to be loaded";

void shard_loading_begin(struct shard *shard, struct loader_port *loader, uint64_t hlc,
                         uint64_t now_ms)
{
    assert(!shard->loading && shard->now_ms == 0);
    shard->loader = loader;
    shard->loading = true;
    shard->stats.loading = 1;
    shard->idle_restored = true;
    shard->revived = true; /* It may be so for any key. */
    if (hlc > shard->hlc) {
        shard->hlc = hlc;
    }
    shard->restored_hlc = shard->hlc;
    shard->restored_ms = now_ms;
    shard_advance(shard, now_ms);
}

bool shard_has_fetched(const struct shard *shard, uint64_t position)
{
    return shard->loading && position_set_has(&shard->fetched, position);
}

bool shard_must_wait(const struct shard *shard, const struct request *request)
{
    if (!shard->loading) {
        return false;
    }
    return request->op == REQUEST_SCAN ||
           (!position_set_has(&shard->fetched, request->position) &&
            shard->loader->pending(shard->loader, request->position));
}

void shard_park(struct shard *shard, const struct request *request, uint64_t now_us)
{
    bool first = false;
    int rc = parking_add(&shard->parking, request, &first);

    if (rc == 0 && first && request->op != REQUEST_SCAN) {
        shard->stats.fetched++;
        shard->loader->fetch(shard->loader, request->position);
    }
    if (rc != 0) {
        struct reply reply = {
            .status = STATUS_BUSY, .text = full_text, .retry_after_ms = RETRY_LOADING_MS};
        shard_answer(shard, request, &reply, now_us);
    }
}

static void run(struct shard *shard, struct parked *parked, uint64_t now_us)
{
    while (parked != NULL) {
        struct parked *next = parked->next;
        if (!shard_refuse_timeout(shard, &parked->request, now_us)) {
            shard_run(shard, &parked->request, now_us);
        }
        parking_free(&shard->parking, parked);
        parked = next;
    }
}

void shard_loaded(struct shard *shard, uint64_t position, uint64_t now_ms, uint64_t now_us)
{
    shard_advance(shard, now_ms);
    /* Without memory for it, the position is fetched once more for the next request. */
    (void)position_set_add(&shard->fetched, position);
    run(shard, parking_take(&shard->parking, position), now_us);
}

void shard_loading_end(struct shard *shard, uint64_t now_ms, uint64_t now_us)
{
    assert(shard->loading);
    shard_drop_buried(shard);
    shard->loading = false;
    shard->stats.loading = 0;
    position_set_fini(&shard->fetched);
    shard_advance(shard, now_ms);
    patrol_advance(&shard->patrol, shard->now_ms); /* It begins. */
    shard_trace(shard, TRACE_LOADED, shard->stats.live, bytes_of(NULL, 0));
    run(shard, parking_take_all(&shard->parking), now_us);
    parking_fini(&shard->parking);
}
