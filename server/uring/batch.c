#include "batch.h"

#include <errno.h>

#include "aside.h"
#include "creates.h"
#include "cross.h"
#include "door.h"
#include "far.h"
#include "limits.h"
#include "oversize.h"
#include "plane_private.h"
#include "rename.h"
#include "resp_door.h"
#include "shard_thread.h"
#include "slot.h"
#include "slowlog.h"
#include "turned.h"

void batch_add(struct shard_thread *thread, const struct request *request,
               struct connection *connection, struct bytes whole)
{
    struct batch *batch = &thread->batch;

    if (batch->count == BATCH_MAX) {
        batch_run(thread);
    }
    struct batch_item *item = &batch->items[batch->count++];
    item->request = *request;
    item->whole = whole;
    item->connection = connection == NULL ? UINT32_MAX : connection->index;
    item->generation = connection == NULL ? 0 : connection->generation;
    if (connection != NULL) {
        connection->batched++;
    }
}

/* The call is as if it had never been. */
static void forget(struct shard_thread *thread, struct connection *connection, uint64_t ticket)
{
    struct call *call = calls_find(&thread->calls, ticket);

    connection->in_flight--;
    if (connection->order != NULL &&
        reply_order_put_off(connection->order, call->request_id) != 0) {
        connection_close(thread, connection);
    }
    if (connection->resp != NULL) {
        resp_skip_anew(connection->resp, (call->flags & RESP_CALL_SILENT) != 0);
    }
    calls_give(&thread->calls, call);
}

/* The number that the request has in its connection's order. */
static uint64_t number_of(struct shard_thread *thread, const struct connection *connection,
                          uint64_t ticket)
{
    return connection->order == NULL ? 0 : calls_find(&thread->calls, ticket)->request_id;
}

/* It is put off. Where replies go out in order, so do requests that are put off: what was batched before is executed,
 * or put off, before. */
static void put_off_behind(struct shard_thread *thread, struct connection *connection,
                           uint64_t ticket, struct bytes whole)
{
    if (connection->order != NULL && connection->batched > 0) {
        batch_run(thread);
    }
    forget(thread, connection, ticket);
    connection_put_off(thread, connection, whole);
}

void batch_route(struct shard_thread *thread, struct request *request,
                 struct connection *connection, struct bytes whole)
{
    uint32_t shards = thread->plane->options.shard_count;
    uint32_t owner = thread->index;
    bool is_part = whole.size == 0 && connection != NULL;

    shard_prepare(thread->shard, request);
    if (shards > 1) {
        owner = slot_of_position(request->position) % shards;
    }
    if (owner == thread->index) {
        batch_add(thread, request, connection, whole);
    } else if (whole.size > 0 &&
               (connection->stalled ||
                connection_is_full(thread, connection,
                                   number_of(thread, connection, request->ticket)))) {
        put_off_behind(thread, connection, request->ticket, whole);
    } else if ((!is_part || connection->turned.first == NULL) &&
               cross_request(thread, owner, request)) {
        if (whole.size > 0) {
            connection_awaits(connection, calls_find(&thread->calls, request->ticket), true);
        }
    } else if (whole.size > 0 && connection->order != NULL) {
        /* Its client could not be told to come back. */
        put_off_behind(thread, connection, request->ticket, whole);
        thread->again = true;
    } else if (!is_part || !turned_defer(thread, connection, owner, request)) {
        door_refuse(thread, request->ticket, STATUS_BUSY,
                    "the queue to the session's shard is full");
    }
}

/* Its connection has too much to read already, or the log too much to write: later. */
static bool put_off(struct shard_thread *thread, struct connection *connection,
                    const struct call *call, const struct batch_item *item)
{
    if (!connection->stalled &&
        !connection_is_full(thread, connection,
                            number_of(thread, connection, item->request.ticket)) &&
        !aside_has(thread, call) && !aside_log_is_behind(thread, call, &item->request)) {
        return false;
    }
    forget(thread, connection, item->request.ticket);
    connection_put_off(thread, connection, item->whole);
    return true;
}

/* Not now: put off with its connection, or else put aside. */
static bool is_deferred(struct shard_thread *thread, const struct batch_item *item)
{
    struct call *call = calls_find(&thread->calls, item->request.ticket);
    struct connection *connection = connection_find(thread, item->connection, item->generation);

    if (connection != NULL) {
        connection->batched--;
    }
    if (item->whole.size > 0) {
        return connection != NULL && put_off(thread, connection, call, item);
    }
    return aside_takes(thread, call, &item->request);
}

void batch_execute(struct shard_thread *thread, const struct request *request, uint64_t now_us)
{
    struct slow_request *slow = calls_find(&thread->calls, request->ticket)->slow;

    if (slow == NULL) {
        shard_execute(thread->shard, request, thread->now_ms, now_us);
        return;
    }
    slow_hold(slow); /* The call may be over then. */
    const uint64_t began_us = monotonic_us();
    shard_execute(thread->shard, request, thread->now_ms, now_us);
    slow_ran(slow, monotonic_us() - began_us);
    slow_drop(slow);
}

/* A connection's request was executed. Where it is not answered, because the session's fields have to come from the disk,
 * its answer counts among those that the client has to read, at its largest. */
static void await(struct shard_thread *thread, const struct batch_item *item)
{
    const struct shard_stats *stats = shard_stats(thread->shard);

    if (item->connection == UINT32_MAX || (stats->cold == 0 && stats->loading == 0)) {
        return;
    }
    struct connection *connection = connection_find(thread, item->connection, item->generation);
    struct call *call = calls_find(&thread->calls, item->request.ticket);
    if (connection == NULL || call == NULL || call->held_back) {
        return;
    }
    call->granted_bytes = turned_answer_bytes(thread, call, &item->request);
    if (call->granted_bytes > 0) {
        connection_awaits(connection, call, true);
    }
}

/* Of a read that any copy may answer: has this node one? A native client knows by its version that a copy is behind, and
 * asks on; one of RESP cannot tell a copy that is not there yet from a session that is not, and nobody that one ended for
 * a wrong clock. */
static bool may_answer(const struct shard_thread *thread, const struct request *request,
                       uint32_t slot)
{
    return copies_owns(thread, slot) && !restores_lacks(thread, slot) &&
           (copies_is_level(thread, slot) ||
            (request->procedure == NULL && !copies_is_apart(thread, slot)));
}

/* The node's part in a request: it executes it, or another one does, or it cannot be executed now. Returns whether it is
 * this node; of a write, what of it others may have is noted in it then. */
static bool is_ours(struct shard_thread *thread, struct batch_item *item, struct call *call,
                    struct copies_route *route)
{
    const struct request *request = &item->request;
    uint32_t slot = slot_of_position(request->position);

    if (request->op == REQUEST_SCAN) {
        return copies_is_whole(thread);
    }
    if (request->op > REQUEST_WRITE || request->key.size == 0 ||
        request->key.size > KEY_BYTES_MAX || rename_is_journal(request->key)) {
        return true;
    }
    if (request->op == REQUEST_GET && (request->flags & GET_ANY) != 0 &&
        may_answer(thread, request, slot)) {
        return true;
    }
    creates_find(thread, call, &item->request, true, route);
    call->stand_in = route->stands_in;
    if (request->op == REQUEST_WRITE) {
        item->request.elsewhere = copies_may_miss(thread, slot, route->stands_in);
    }
    if (request->retry_hlc != 0) {
        item->request.taken_hlc = copies_taken_hlc(thread, slot, route->stands_in);
    }
    return route->kind == ROUTE_LOCAL;
}

static void put_off_far(struct shard_thread *thread, struct connection *connection,
                        const struct batch_item *item)
{
    forget(thread, connection, item->request.ticket);
    connection_put_off(thread, connection, item->whole);
}

/* Is it not for this node? Then another one is asked, or it is put off, or refused. */
static bool goes_far(struct shard_thread *thread, struct batch_item *item)
{
    const struct request *request = &item->request;
    struct call *call = calls_find(&thread->calls, request->ticket);
    struct copies_route route;

    const bool inspects_lost = request->op == REQUEST_INSPECT && restores_holds(thread, request);
    if (!inspects_lost && is_ours(thread, item, call, &route)) {
        return false;
    }
    struct connection *connection = connection_find(thread, item->connection, item->generation);
    bool may_wait = item->whole.size > 0 && connection != NULL;
    if (connection != NULL) {
        connection->batched--;
    }
    if (inspects_lost) {
        door_refuse(thread, request->ticket, STATUS_UNAVAILABLE, restores_text);
        return true;
    }
    if (request->op == REQUEST_SCAN) {
        door_refuse(thread, request->ticket, STATUS_BUSY, NULL);
        return true;
    }
    if (may_wait &&
        (connection->stalled ||
         connection_is_full(thread, connection, number_of(thread, connection, request->ticket)))) {
        put_off_far(thread, connection, item);
        return true;
    }
    if (route.returns && far_pass_back(thread, call)) {
        return true;
    }
    if (may_wait) {
        call->granted_bytes = connection->far_bytes;
    }
    int rc = far_ask(thread, call, request, &route);
    if (rc == 0 && may_wait) {
        connection_awaits(connection, call, true);
    } else if (rc == -EAGAIN && may_wait && connection->order != NULL) {
        put_off_far(thread, connection, item); /* Its client could not be told to come back. */
        thread->again = true;
    } else if (rc != 0) {
        door_refuse(thread, request->ticket, rc == -EINVAL ? STATUS_UNSUPPORTED : STATUS_BUSY,
                    rc == -EAGAIN ? "the link to the session's node is full"
                                  : "the request cannot be passed on to the session's node");
    }
    return true;
}

/* Is it a write from before a pause? Who passed it on for a client asks anew, who asked itself is told. */
static bool is_spoiled(struct shard_thread *thread, const struct batch_item *item)
{
    if (!pause_spoils(thread, &item->request)) {
        return false;
    }
    struct connection *connection = connection_find(thread, item->connection, item->generation);
    if (connection != NULL) {
        connection->batched--;
    }
    pause_refuse(thread, item->request.ticket);
    return true;
}

/* Is there no use in doing anything for it? */
static bool is_oversize(struct shard_thread *thread, const struct batch_item *item, uint64_t now_us)
{
    if (!oversize_refuses(thread, &item->request, now_us)) {
        return false;
    }
    struct connection *connection = connection_find(thread, item->connection, item->generation);
    if (connection != NULL) {
        connection->batched--;
    }
    return true;
}

static void run_group(struct shard_thread *thread, struct batch_item items[], uint32_t count)
{
    for (uint32_t i = 0; i < count; i++) {
        shard_prefetch(thread->shard, &items[i].request);
    }
    uint64_t now_us = monotonic_us();
    thread->late_us = now_us;
    if (thread->clustered) {
        pause_look_within(thread, now_us);
    }
    for (uint32_t i = 0; i < count; i++) {
        if (is_oversize(thread, &items[i], now_us)) {
            continue;
        }
        if (thread->clustered && is_spoiled(thread, &items[i])) {
            continue;
        }
        if (thread->clustered && goes_far(thread, &items[i])) {
            continue;
        }
        if (!is_deferred(thread, &items[i])) {
            batch_execute(thread, &items[i].request, now_us);
            await(thread, &items[i]);
        }
    }
}

static void give_back(struct shard_thread *thread)
{
    while (thread->spent != NULL) {
        struct chunk *next = thread->spent->next;
        chunk_give(&thread->chunks, thread->spent);
        thread->spent = next;
    }
}

void batch_run(struct shard_thread *thread)
{
    struct batch *batch = &thread->batch;

    if (batch->count > 0) {
        heal_share_want(&thread->copies.heals, thread->now_us);
    }
    for (uint32_t i = 0; i < batch->count; i += PREFETCH_MAX) {
        uint32_t left = batch->count - i;
        run_group(thread, batch->items + i, left < PREFETCH_MAX ? left : PREFETCH_MAX);
    }
    batch->count = 0;
    give_back(thread);
}
