/* Several sessions that another node wrote together: merged, logged in one record, stored together.
 *
 * As with a transaction of this shard (shard_transaction.c) each step can fail until the log has the record, and after
 * it nothing can. */
#include "shard_state.h"

#include <assert.h>

struct item {
    struct merging merging;
    struct buffer after;
    uint32_t ref;
};

/* Merge the next session of the batch. Returns OK, or a status; or that it has to wait, then of which position. */
static enum status merge_next(struct shard *shard, struct reader *batch, struct item *item,
                              bool *waits, uint64_t *position)
{
    bool whole = read_u8(batch) == LOG_FULL;
    struct request look = {.op = REQUEST_COPY, .position = read_u64(batch)};
    struct bytes record = read_string(batch);

    *item = (struct item){
        .merging = {.shard = shard, .position = look.position},
        .after = {.memory = shard->memory},
    };
    item->merging.after = &item->after;
    if (batch->bad || !whole) {
        return STATUS_INVALID;
    }
    *position = look.position;
    *waits = shard_must_wait(shard, &look);
    if (*waits) {
        return STATUS_OK;
    }
    enum status status = shard_merge(&item->merging, true, record);
    *waits = item->merging.waits;
    return status;
}

static bool has_before(const struct item items[], uint32_t count, const struct item *item)
{
    for (uint32_t i = 0; i < count; i++) {
        if (items[i].merging.position == item->merging.position &&
            bytes_equal(items[i].merging.key, item->merging.key)) {
            return true;
        }
    }
    return false;
}

/* Cells for all that is new. Returns how many items are through. */
static uint32_t take_cells(struct shard *shard, struct item items[], uint32_t count)
{
    uint32_t taken = 0;

    for (; taken < count; taken++) {
        struct item *item = &items[taken];
        if (item->merging.news && keeper_stage(shard->keeper, item->merging.position,
                                               buffer_bytes(&item->after), &item->ref) != 0) {
            break;
        }
    }
    return taken;
}

static void give_cells_back(struct shard *shard, const struct item items[], uint32_t count)
{
    while (count > 0) {
        const struct item *item = &items[--count];
        if (item->merging.news) {
            keeper_abandon(shard->keeper, item->merging.position, item->merging.key, item->ref);
        }
    }
}

static int append_item(struct buffer *batch, const struct item *item)
{
    uint8_t head[1 + 8 + VARINT_BYTES_MAX] = {LOG_FULL};

    store_u64(head + 1, item->merging.position);
    const uint8_t *end = varint_put(head + 9, item->after.size);
    int rc = buffer_append(batch, bytes_of(head, (size_t)(end - head)));
    return rc != 0 ? rc : buffer_append(batch, buffer_bytes(&item->after));
}

/* One record of the log for all that is new. */
static int log_all(struct shard *shard, const struct item items[], uint32_t count)
{
    const struct item *first = NULL;
    struct buffer *batch = &shard->changes;
    int rc = 0;

    batch->size = 0;
    for (uint32_t i = 0; i < count && rc == 0; i++) {
        if (items[i].merging.news) {
            first = first == NULL ? &items[i] : first;
            rc = append_item(batch, &items[i]);
        }
    }
    if (rc != 0 || first == NULL) {
        return rc;
    }
    struct bytes part = buffer_bytes(batch);
    return shard_log(shard, LOG_BATCH, first->merging.position, first->merging.key, &part, 1);
}

static enum status store_all(struct shard *shard, struct item items[], uint32_t count)
{
    uint64_t logged_hlc = shard->logged_hlc;
    uint32_t taken = take_cells(shard, items, count);
    int rc = taken == count ? log_all(shard, items, count) : -ENOMEM;

    if (rc != 0) {
        give_cells_back(shard, items, taken);
        return rc == -ENOMEM ? STATUS_MEMORY_FULL : shard_append_status(rc);
    }
    for (uint32_t i = 0; i < count; i++) {
        const struct item *item = &items[i];
        shard->stats.copies_merged += item->merging.news;
        shard->stats.copies_known += !item->merging.news;
        if (item->merging.news) {
            shard->stats.cold -= item->merging.was_cold;
            keeper_commit(shard->keeper, item->merging.position, item->merging.key, item->ref);
            shard_account_merged(&item->merging);
            shard_note_logged(shard, item->merging.position,
                              session_newest_stamp(buffer_bytes(&item->after)), logged_hlc,
                              shard->appended_lsn);
        }
    }
    for (uint32_t i = 0; i < count; i++) {
        if (items[i].merging.ended) {
            return STATUS_DESTROYED;
        }
    }
    return STATUS_OK;
}

enum status shard_merge_batch(struct shard *shard, const struct request *request, bool *waits,
                              uint64_t *position)
{
    struct reader batch = reader_of(request->body);
    size_t bytes = TURN_KEYS_MAX * sizeof(struct item);
    struct item *items = shard->memory->resize(shard->memory, NULL, 0, bytes);
    enum status status = items == NULL ? STATUS_MEMORY_FULL : STATUS_OK;
    uint32_t count = 0;

    while (status == STATUS_OK && !*waits && reader_left(&batch) > 0) {
        if (count == TURN_KEYS_MAX) {
            status = STATUS_INVALID;
            break;
        }
        status = merge_next(shard, &batch, &items[count], waits, position);
        if (status == STATUS_OK && has_before(items, count, &items[count])) {
            status = STATUS_INVALID;
        }
        count++;
    }
    if (status == STATUS_OK && !*waits) {
        status = store_all(shard, items, count);
    }
    for (uint32_t i = 0; i < count; i++) {
        buffer_fini(&items[i].after);
    }
    if (items != NULL) {
        shard->memory->resize(shard->memory, items, bytes, 0);
    }
    return status;
}
