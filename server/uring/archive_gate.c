#include "archive_gate.h"

#include "bytes.h"
#include "cold.h"
#include "plane_private.h"
#include "record.h"
#include "shard_thread.h"

/* What waits is wanted once it is durable; it is told anew only for what came later. */
static void tell_wanted(struct shard_thread *thread)
{
    struct archive_gate *gate = &thread->archive;
    const struct plane_options *options = &thread->plane->options;
    uint64_t first = shard_archive_wanted(thread->shard);
    uint64_t durable = thread->log.stats.lsn_durable;
    uint64_t told = atomic_load_explicit(&gate->wanted, memory_order_relaxed);

    if (first != 0 && first <= durable && told < durable) {
        atomic_store_explicit(&gate->wanted, durable, memory_order_release);
        options->archive_wanted(options->context, thread->index);
    }
}

uint64_t archive_gate_turn(struct shard_thread *thread)
{
    struct archive_gate *gate = &thread->archive;
    const struct plane_log_stats *log = &thread->log.stats;

    if (!gate->open) {
        return UINT64_MAX;
    }
    atomic_store_explicit(&gate->durable, log->lsn_durable, memory_order_release);
    atomic_store_explicit(&gate->appended, log->lsn_appended, memory_order_relaxed);
    uint64_t archived = atomic_load_explicit(&gate->archived, memory_order_acquire);
    if (archived > gate->released) {
        gate->released = archived;
        shard_archived(thread->shard, archived, thread->now_us);
    }
    if (shard_archive_wanted(thread->shard) == 0) {
        return UINT64_MAX;
    }
    tell_wanted(thread);
    return shard_archive_late(thread->shard, thread->stopping, thread->now_us);
}

static enum plane_record look(struct shard_thread *thread, uint64_t position, struct bytes key,
                              struct buffer *to)
{
    struct bytes record;

    if (!shard_peek(thread->shard, position, key, &record)) {
        return PLANE_RECORD_LOADING;
    }
    if (record.size == 0) {
        return PLANE_RECORD_NONE;
    }
    if (record_is_cold(record)) {
        return PLANE_RECORD_COLD;
    }
    return buffer_append(to, record) == 0 ? PLANE_RECORD_WHOLE : PLANE_RECORD_LOADING;
}

void archive_gate_answer(struct shard_thread *thread, struct plane_records *records)
{
    struct reader keys = reader_of(buffer_bytes(&records->keys));

    while (reader_left(&keys) > 0) {
        uint64_t position = read_u64(&keys);
        struct bytes key = read_string(&keys);
        struct plane_record_head head = {.position = position};
        size_t at = records->found.size;
        if (at >= PLANE_RECORDS_BYTES || keys.bad ||
            buffer_append(&records->found, bytes_of(&head, sizeof head)) != 0) {
            return; /* What is not answered is to be asked again. */
        }
        head.what = look(thread, position, key, &records->found);
        head.size = records->found.size - at - sizeof head;
        memcpy(records->found.data + at, &head, sizeof head);
        records->answered++;
    }
}
