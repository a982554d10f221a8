#include "repeat.h"

enum {
    RETRY_LAG_MS =
        100, /* How far one shard's time may lag behind what another one has told a client. */
};

/* Does it matter whether the write is done once or twice? Setting and removing the same again does not. */
static bool counts_twice(const struct session_write *write)
{
    struct reader list = reader_of(write->changes);
    struct change change;

    if (write->if_version.size > 0) {
        return true;
    }
    while (change_next(&list, &change) > 0) {
        if (change.operation == CHANGE_ADD || change.operation == CHANGE_APPEND ||
            change.operation == CHANGE_ADD_SCORE) {
            return true;
        }
    }
    return false;
}

/* Has nothing been here since before `ms`? What was here then, and its window, may be gone. */
static bool began_after(const struct record *record, uint64_t ms)
{
    uint64_t hlc = record->version.death.hlc;

    if (record->birth_count > 0) {
        hlc = record_birth(record, 0).stamp.hlc; /* The oldest. */
    }
    return hlc == 0 || hlc_ms(hlc) >= ms;
}

/* Since when a try may have been here. A client that has seen a time to which this node has not come yet had it from
 * another life of it, whose end was lost: then it may have been tried at any time. */
static uint64_t first_try_ms(const struct session_write *write)
{
    uint64_t seen_ms = hlc_ms(write->retry_hlc), hlc_here_ms = hlc_ms(write->hlc);
    uint64_t here_ms = write->now_ms > hlc_here_ms ? write->now_ms : hlc_here_ms;

    return seen_ms < RETRY_LAG_MS || seen_ms > here_ms + RETRY_LAG_MS ? 0 : seen_ms - RETRY_LAG_MS;
}

/* A repeated write that the window does not know: may its first try have been here? Compared by time, not by
 * stamp, and with some lag: what the client had seen may be of another shard, with another counter, whose turn
 * began later. */
static bool may_have_left(const struct session_write *write, const struct record *record,
                          const struct dedup *dedup)
{
    uint64_t ms = first_try_ms(write);

    if (write->retry_hlc == 0) {
        return false;
    }
    if (dedup->floor != 0 && hlc_ms(dedup->floor) >= ms) {
        return true;
    }
    if (write->taken_hlc != 0 && hlc_ms(write->taken_hlc) >= ms && counts_twice(write)) {
        return true; /* Another node took it, perhaps. */
    }
    return write->gone_hlc != 0 && hlc_ms(write->gone_hlc) >= ms && began_after(record, ms) &&
           counts_twice(write);
}

enum status repeat_check(const struct session_write *write, const struct record *record,
                         const struct dedup *dedup, struct session_written *written)
{
    const struct dedup_item *item = dedup_find(dedup, write->client, write->sequence);

    if (item == NULL) {
        return may_have_left(write, record, dedup) ? STATUS_MAYBE_APPLIED : STATUS_OK;
    }
    written->repeated = true;
    written->stamp = item->stamp;
    return buffer_append(&written->results, item->results) == 0 ? STATUS_OK : STATUS_NO_MEMORY;
}

bool repeat_began_since(const struct session_write *write, const struct session_view *view,
                        const struct dedup *dedup)
{
    struct stamp birth = view->leader_.birth.stamp;

    if (write->retry_hlc == 0 || !view->live || birth.hlc <= write->retry_hlc) {
        return false;
    }
    for (uint32_t i = 0; i < dedup->count; i++) {
        if (stamp_compare(dedup->items[i].stamp, birth) == 0) {
            return dedup->items[i].client != write->client;
        }
    }
    return true;
}

void repeat_remember(const struct session_write *write, struct stamp stamp, struct bytes results,
                     struct dedup *dedup, struct dedup *news)
{
    struct dedup_item item = {
        .client = write->client,
        .sequence = write->sequence,
        .stamp = stamp,
        .results = results,
        .forgotten = results.size > DEDUP_RESULT_BYTES_MAX,
    };

    if (item.forgotten) {
        item.results.size = 0;
    }
    news->count = 0;
    if (write->client != 0) {
        news->items[news->count++] = item;
    }
    dedup_add(dedup, write->client != 0 ? &item : NULL, write->now_ms);
    news->floor = dedup->floor;
}
