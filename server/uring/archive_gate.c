#include "archive_gate.h"

#include <errno.h>

#include "bytes.h"
#include "cold.h"
#include "plane_private.h"
#include "plane_table.h"
#include "record.h"
#include "shard_thread.h"
#include "slot_table.h"

void archive_gate_init(struct archive_gate *gate)
{
    *gate = (struct archive_gate){0};
    pthread_mutex_init(&gate->lock, NULL);
}

void archive_gate_fini(struct archive_gate *gate)
{
    pthread_mutex_destroy(&gate->lock);
}

void archive_gate_tell(struct archive_gate *gate, uint64_t lost, uint64_t lsn)
{
    struct archive_news *news = &gate->news;

    pthread_mutex_lock(&gate->lock);
    if (lost != 0) {
        news->whole = news->lost == 0 ? news->archived : news->whole;
        news->lost = lost;
        news->based = false;
    }
    news->archived = lsn;
    atomic_fetch_add_explicit(&gate->told, 1, memory_order_release);
    pthread_mutex_unlock(&gate->lock);
}

void archive_gate_based(struct archive_gate *gate)
{
    pthread_mutex_lock(&gate->lock);
    gate->news.based = true;
    atomic_fetch_add_explicit(&gate->told, 1, memory_order_release);
    pthread_mutex_unlock(&gate->lock);
}

bool archive_gate_news(struct archive_gate *gate, struct archive_news *news)
{
    if (atomic_load_explicit(&gate->told, memory_order_acquire) == gate->heard) {
        return false;
    }
    pthread_mutex_lock(&gate->lock);
    *news = gate->news;
    gate->news.lost = 0;
    gate->news.based = false;
    gate->heard = atomic_load_explicit(&gate->told, memory_order_relaxed);
    pthread_mutex_unlock(&gate->lock);
    return true;
}

/* What waits is wanted once it is durable; it is told anew only for what came later. */
static void tell_wanted(struct shard_thread *thread)
{
    struct archive_gate *gate = &thread->archive;
    const struct plane_options *options = &thread->plane->options;
    uint64_t first = shard_archive_wanted(thread->shard);
    uint64_t durable = thread->log.stats.lsn_durable;
    uint64_t told = atomic_load_explicit(&gate->wanted, memory_order_relaxed);

    if (first != 0 && first <= durable && told < durable) {
        atomic_store_explicit(&gate->asked, shard_archive_asked(thread->shard, durable),
                              memory_order_relaxed);
        atomic_store_explicit(&gate->wanted, durable, memory_order_release);
        options->archive_wanted(options->context, thread->index);
    }
}

uint64_t archive_gate_turn(struct shard_thread *thread)
{
    struct archive_gate *gate = &thread->archive;
    const struct plane_log_stats *log = &thread->log.stats;
    struct archive_news news;

    if (!gate->open) {
        return UINT64_MAX;
    }
    atomic_store_explicit(&gate->durable, log->lsn_durable, memory_order_release);
    atomic_store_explicit(&gate->appended, log->lsn_appended, memory_order_relaxed);
    if (archive_gate_news(gate, &news)) {
        if (news.lost != 0) {
            shard_archived(thread->shard, news.whole, thread->now_us);
            shard_archive_lost(thread->shard, news.lost);
        }
        shard_archived(thread->shard, news.archived, thread->now_us);
        if (news.based) {
            shard_archive_based(thread->shard);
        }
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

    records->lsn = thread->log.stats.lsn_appended;
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

/* Lives of this node that a vector of a node alone tells of: older ones stamped nothing that is of use any more. */
enum { LIVES_MAX = 16 };

/* Of a node alone nobody keeps a vector: all that it ever stamped it has, or it ended. */
static int put_own(struct shard_thread *thread, struct buffer *to)
{
    const struct actor actor = thread->plane->options.actor;
    uint32_t count = actor.start < LIVES_MAX ? actor.start : LIVES_MAX;
    uint8_t bytes[10 + LIVES_MAX * SEEN_ITEM_BYTES_MAX], *end = varint_put(bytes, count);

    for (uint32_t i = count; i-- > 0;) {
        end = varint_put(end, actor.node);
        end = varint_put(end, actor.start - i);
        store_u64(end, shard_hlc(thread->shard));
        end += 8;
    }
    return buffer_append(to, bytes_of(bytes, (size_t)(end - bytes)));
}

/* Was it ever with others, of whose stamps it may have missed some? */
static bool was_clustered(const struct shard_thread *thread)
{
    const struct seen *seen = shard_seen(thread->shard);
    bool known = false;

    for (uint32_t slot = 0; slot < SLOT_COUNT && !known; slot++) {
        known = seen_is_known(seen, slot);
    }
    return known || thread->clustered || thread->copies.replication != NULL ||
           thread->plane->options.actor.node != 1;
}

static bool is_of(const struct slot_table *table, uint32_t slot, bool copies)
{
    const struct slot_owners *owners = &table->owners[slot];

    return copies ? slot_owners_has(owners, table->self) : owners->nodes[0] == table->self;
}

/* Returns -ENOENT also where it is another's. */
static int put_vector(struct shard_thread *thread, uint32_t slot, bool alone,
                      struct plane_basis *basis)
{
    const struct slot_table *table = thread->table == NULL ? NULL : thread->table->table;

    if (alone) {
        return put_own(thread, &basis->vectors);
    }
    if (table != NULL && !is_of(table, slot, basis->copies)) {
        return -ENOENT;
    }
    int rc = seen_put(shard_seen(thread->shard), slot, &basis->vectors);
    basis->missing += rc == -ENOENT;
    return rc;
}

/* Whatever is stamped later is above it: later than what was, and of this millisecond or a later one. */
static uint64_t stamped_hlc(const struct shard_thread *thread)
{
    uint64_t hlc = shard_hlc(thread->shard), before = hlc_of_ms(thread->now_ms) - 1;

    return hlc > before ? hlc : before;
}

void archive_gate_basis(struct shard_thread *thread, struct plane_basis *basis, bool ends)
{
    uint32_t shards = thread->plane->options.shard_count;
    struct buffer *to = &basis->vectors;
    bool alone = basis->slot_count > 0 && !was_clustered(thread);
    int rc = 0;

    basis->missing = 0;
    basis->epoch = thread->table == NULL ? 0 : thread->table->table->epoch;
    for (uint32_t i = 0; i < basis->slot_count && rc == 0; i++) {
        uint32_t slot = basis->first_slot + i;
        uint8_t head[8] = {0};
        size_t at = to->size;
        if (slot % shards != thread->index) {
            continue;
        }
        rc = buffer_append(to, bytes_of(head, sizeof head));
        rc = rc != 0 ? rc : put_vector(thread, slot, alone, basis);
        if (rc == -ENOENT) {
            to->size = at;
            rc = 0;
        } else if (rc == 0) {
            store_u32(to->data + at, slot);
            store_u32(to->data + at + 4, (uint32_t)(to->size - at - sizeof head));
        }
    }
    basis->lsn = thread->log.stats.lsn_appended;
    basis->hlc = stamped_hlc(thread);
    basis->known = rc == 0 && !atomic_load(&thread->loads);
    if (ends && basis->known && thread->loader != NULL) {
        thread->log.port.seal(&thread->log.port);
        thread->loader->hurry(thread->loader, basis->lsn);
    }
}
