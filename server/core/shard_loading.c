/* Serving while sessions are still being loaded.
 *
 * The store gives everything in the background (shard_restore_*()). A request for a session of which
 * something is still to come is parked, and what the store has of its position is fetched before the rest;
 * then it is executed as if it had just come. What was fetched and is given once more later is passed
 * over, although the merge would find nothing new in it.
 *
 * Where not all has room, what the checkpoint has is taken in cold (shard_cold.c). Most of what the log still
 * has of such a session says all of it, and takes its place; a delta does not: then the position is
 * fetched as a whole, and what comes of it meanwhile is passed over.
 *
 * Nothing is buried before the end of it: a burial says that nothing older is to come. */
#include "shard_state.h"

#include <assert.h>

static const char full_text[] = "too many requests wait for sessions to be loaded";
static const char unread_text[] = "the session does not read from this node's disk; it is tried "
                                  "again, the node's log says what fails";
static const char unread_all_text[] = "not all sessions read from this node's disk; it is tried "
                                      "again, the node's log says what fails";

void shard_loading_begin(struct shard *shard, struct loader_port *loader, uint64_t hlc,
                         uint64_t now_ms)
{
    assert(!shard->loading && shard->now_ms == 0);
    shard->loader = loader;
    shard_set_load_mark(shard);
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

static int fetch(struct shard *shard, uint64_t position, bool must)
{
    int rc = shard->loader->fetch(shard->loader, position, must);

    if (rc == 0) {
        shard->stats.fetched++;
    }
    return rc;
}

int shard_want(struct shard *shard, uint64_t position)
{
    if (position_set_has(&shard->wanted, position)) {
        return 0;
    }
    int rc = fetch(shard, position, true);
    if (rc == 0) {
        (void)position_set_add(&shard->wanted, position); /* Else it is fetched once more. */
    }
    return rc;
}

static void refuse(struct shard *shard, const struct request *request, const struct reply *reply,
                   uint64_t now_us)
{
    if (request->op >= REQUEST_COPY) {
        shard_answer_own(shard, request, reply->status);
    } else {
        struct reply answer = *reply;
        shard_answer(shard, request, &answer, now_us);
    }
}

/* They do not wait for what may never come. */
static void refuse_all(struct shard *shard, struct parked *parked, const char *text,
                       uint64_t now_us)
{
    const struct reply reply = {
        .status = STATUS_UNAVAILABLE, .text = text, .retry_after_ms = RETRY_UNREAD_MS};

    while (parked != NULL) {
        struct parked *next = parked->next;
        refuse(shard, &parked->request, &reply, now_us);
        parking_free(&shard->parking, parked);
        parked = next;
    }
}

void shard_park(struct shard *shard, const struct request *request, uint64_t now_us)
{
    bool first = false;
    int rc = parking_add(&shard->parking, request, &first);

    shard->cold.goes_on = shard->cold.goes_on || (rc == 0 && shard->cold.answering);
    if (rc == 0 && first && request->op != REQUEST_SCAN) {
        rc = fetch(shard, request->position, false);
        if (rc != 0) {
            parking_free(&shard->parking, parking_take(&shard->parking, request->position));
        }
    }
    if (rc != 0) {
        const struct reply reply = {
            .status = STATUS_BUSY, .text = full_text, .retry_after_ms = RETRY_LOADING_MS};
        refuse(shard, request, &reply, now_us);
    }
    if (shard->stats.load_failing != 0) {
        refuse_all(shard, parking_take_scans(&shard->parking), unread_all_text, now_us);
    }
}

static void run(struct shard *shard, struct parked *parked, uint64_t now_us)
{
    while (parked != NULL) {
        struct parked *next = parked->next;
        if (!shard_refuse_stale(shard, &parked->request, now_us)) {
            shard_run(shard, &parked->request, now_us);
        }
        parking_free(&shard->parking, parked);
        parked = next;
    }
}

void shard_loaded(struct shard *shard, uint64_t position, uint64_t now_ms, uint64_t now_us)
{
    struct parked *parked = parking_take(&shard->parking, position);

    shard_advance(shard, now_ms);
    if (shard->loading) {
        /* Without memory for it, the position is fetched once more for the next request. */
        (void)position_set_add(&shard->fetched, position);
    }
    shard_check_fetched(shard, position);
    if (parked != NULL) {
        uint64_t since_us = parked->request.received_us;
        histogram_record(&shard->stats.fetch_us, now_us > since_us ? now_us - since_us : 0);
    }
    shard->cold.answering = true;
    shard->cold.goes_on = false;
    shard->cold.answered = position;
    run(shard, parked, now_us);
    shard->cold.answering = false;
    if (!shard->cold.goes_on) { /* Else it is needed once more. The hand takes it in its turn. */
        shard_refreeze(shard, position);
    }
}

void shard_load_failed(struct shard *shard, uint64_t position, uint64_t now_ms, uint64_t now_us)
{
    shard_advance(shard, now_ms);
    refuse_all(shard, parking_take(&shard->parking, position), unread_text, now_us);
}

void shard_set_load_failing(struct shard *shard, bool failing, uint64_t now_us)
{
    shard->stats.load_failing = failing;
    if (failing) {
        refuse_all(shard, parking_take_scans(&shard->parking), unread_all_text, now_us);
    }
}

void shard_loading_end(struct shard *shard, uint64_t now_ms, uint64_t now_us)
{
    assert(shard->loading);
    shard_drop_buried(shard);
    shard_take_seen(shard);
    shard->loading = false;
    shard->stats.loading = 0;
    position_set_fini(&shard->fetched);
    position_set_fini(&shard->wanted);
    shard_advance(shard, now_ms);
    patrol_advance(&shard->patrol, shard->now_ms); /* It begins. */
    shard_trace(shard, TRACE_LOADED, shard->stats.live, bytes_of(NULL, 0));
    run(shard, parking_take_scans(&shard->parking), now_us);
}
