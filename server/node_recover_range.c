#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "node_archive.h"
#include "node_recover_private.h"
#include "rename.h"
#include "session.h"
#include "slot.h"

enum {
    RECOVER_CALL_MS = 10000,
    STATE_BYTES =
        256 << 20, /* Of sessions of a range in memory; of one slot more are taken in parts. */
    PIECE_BYTES = 1 << 20, /* Of records that a shard is given at a time... */
    FLYING_MAX = 16,       /* ... with so many pieces under way. */
};

/* ---- The archive as a thread sees it ---- */

void recover_close(struct recover_worker *worker)
{
    if (worker->open) {
        reading_close(&worker->reading);
        catalog_fini(&worker->catalog);
        access_close(&worker->access);
        worker->open = false;
    }
}

/* An archive begins with a checkpoint that is whole, or with the first object of each log. Where a disk is not mounted, or a
 * bucket was made anew, nothing is there, or only what came since: of that nobody may take it that sessions never were. */
static bool is_this_archive(const struct archive_catalog *catalog)
{
    for (size_t i = 0; i < catalog->checkpoint_count; i++) {
        if (catalog->checkpoints[i].whole) {
            return true;
        }
    }
    for (size_t i = 0; i < catalog->log_count; i++) {
        const struct catalog_log *log = &catalog->logs[i];
        const bool first = i == 0 || actor_compare(log[-1].actor, log->actor) != 0;
        if (first && log->sequence > 1) {
            return false;
        }
    }
    return catalog->log_count > 0;
}

/* Bytes of all slots that are to be brought back; the lock is held. */
static void measure(struct recover_worker *worker)
{
    struct node_recover *recover = worker->recover;

    recover->bytes_total = recover->bytes_done = 0;
    recover->begun_ms = recover_clock_ms();
    for (uint32_t slot = 0; slot < SLOT_COUNT; slot++) {
        recover->bytes_total += recover_is_due(recover, slot) && recover->first[slot]
                                    ? worker->reading.weights[slot]
                                    : 0;
    }
}

/* Returns 0, or negative errno with `access.text` set. */
int recover_open(struct recover_worker *worker, uint64_t epoch)
{
    struct node_recover *recover = worker->recover;
    const struct node *node = recover->node;
    const struct archive_place place = node_archive_place(node, RECOVER_CALL_MS);

    if (worker->open && worker->epoch >= epoch) {
        return 0;
    }
    recover_close(worker);
    int rc = access_open(&worker->access, &place, node->world.config->archive_key_file);
    if (rc != 0) {
        return rc;
    }
    worker->access.stops = &recover->stops;
    rc = access_catalog(&worker->access, node->directory.meta.cluster, &worker->catalog);
    if (rc == 0 && !is_this_archive(&worker->catalog)) {
        catalog_fini(&worker->catalog);
        snprintf(worker->access.text, sizeof worker->access.text,
                 "%.200s: what this cluster archived first is not there: is it another directory "
                 "or bucket?",
                 node->world.config->archive_url);
        rc = -ENOENT;
    } else if (rc == 0) {
        rc = reading_open(&worker->reading, &worker->access, &worker->catalog, UINT64_MAX,
                          recover_tell_damaged, worker);
        if (rc != 0) {
            catalog_fini(&worker->catalog);
        }
    }
    if (rc != 0) {
        access_close(&worker->access);
        return rc;
    }
    worker->open = true;
    worker->epoch = epoch;
    if (!worker->asked) {
        pthread_mutex_lock(&recover->lock);
        measure(worker);
        pthread_mutex_unlock(&recover->lock);
    }
    return 0;
}

/* ---- To the shards ---- */

static void on_done(void *context, const struct plane_restored *result)
{
    struct recover_worker *worker = context;
    struct node_recover *recover = worker->recover;

    pthread_mutex_lock(&recover->lock);
    worker->flying--;
    worker->failed = result->rc != 0 ? result->rc : worker->failed;
    recover->figures.sessions += result->merged;
    recover->figures.refused += result->refused;
    pthread_cond_broadcast(&recover->changed);
    pthread_mutex_unlock(&recover->lock);
}

/* It is not brought back by this range. */
static void on_missed(void *context, uint32_t slot, uint64_t lost)
{
    struct recover_worker *worker = context;

    pthread_mutex_lock(&worker->recover->lock);
    worker->missed += worker->epochs[slot] == lost;
    worker->epochs[slot] = 0;
    pthread_mutex_unlock(&worker->recover->lock);
}

/* Wait until no more than so many are under way. Returns 0, or what went wrong with one of them. */
static int land(struct recover_worker *worker, uint32_t most)
{
    struct node_recover *recover = worker->recover;

    pthread_mutex_lock(&recover->lock);
    while (worker->flying > most && !recover->stops) {
        pthread_cond_wait(&recover->changed, &recover->lock);
    }
    int rc = recover->stops ? -ECANCELED : worker->failed;
    pthread_mutex_unlock(&recover->lock);
    return rc;
}

/* Give a shard what was gathered for it. */
static int send_piece(struct recover_worker *worker, uint32_t shard)
{
    struct node_recover *recover = worker->recover;
    struct plane_restore restore = {
        .records = worker->records[shard],
        .slots = worker->slots[shard],
        .refused = recover_note_refused,
        .ahead = recover_note_ahead,
        .missed = on_missed,
        .done = on_done,
        .context = worker,
    };
    int rc = land(worker, FLYING_MAX);

    if (rc != 0 || (restore.records.size == 0 && restore.slots.size == 0)) {
        return rc;
    }
    pthread_mutex_lock(&recover->lock);
    worker->flying++;
    pthread_mutex_unlock(&recover->lock);
    rc = plane_restore(recover->node->plane, shard, &restore);
    if (rc != 0) {
        pthread_mutex_lock(&recover->lock);
        worker->flying--;
        pthread_mutex_unlock(&recover->lock);
    }
    worker->records[shard] = restore.records;
    worker->slots[shard] = restore.slots;
    return rc;
}

static int send_all(struct recover_worker *worker)
{
    int rc = 0;

    for (uint32_t shard = 0; shard < worker->recover->node->shard_count && rc == 0; shard++) {
        rc = send_piece(worker, shard);
    }
    const int landed = land(worker, 0);
    return rc != 0 ? rc : landed;
}

/* ---- A range ---- */

bool recover_wants(void *context, struct bytes key)
{
    const struct recover_worker *worker = context;

    return worker->epochs[slot_of_key(key)] != 0;
}

/* Pieces that are under way may miss it at the same time. */
static uint64_t epoch_of(struct recover_worker *worker, uint32_t slot)
{
    pthread_mutex_lock(&worker->recover->lock);
    const uint64_t epoch = worker->epochs[slot];
    pthread_mutex_unlock(&worker->recover->lock);
    return epoch;
}

/* Something of the slot is not brought back. What the archive has seen of it, it has not seen then: what somebody still has of
 * that would be taken for ended. */
static void note_partly(struct recover_worker *worker, uint32_t slot)
{
    pthread_mutex_lock(&worker->recover->lock);
    worker->partly[slot] = true;
    pthread_mutex_unlock(&worker->recover->lock);
}

/* Its idle clock begins anew. What is past its deadline comes as well, and ends as such sessions do: another copy may have been
 * given more time. */
static int put_back(void *context, struct bytes key, struct bytes record, uint32_t left)
{
    struct recover_worker *worker = context;
    struct node *node = worker->recover->node;
    const uint64_t now_ms = wall_clock_now_ms(node->world.clock);
    const uint32_t shard = slot_of_key(key) % node->shard_count;
    struct session_view view;

    if (left > 0) {
        worker->left += left;
        note_partly(worker, slot_of_key(key));
        logger_write(node->world.logger, LOG_LEVEL_ERROR, "archive-restore-baseless",
                     LOG_BYTES("key", key), LOG_NUMBER("changes", left),
                     LOG_TEXT("effect", "what they build on is missing: they are left out"));
    }
    const uint64_t epoch = epoch_of(worker, slot_of_key(key));
    if (record.size == 0 || rename_is_journal(key) || epoch == 0) {
        return 0;
    }
    worker->record.size = 0;
    int rc = buffer_append(&worker->record, record);
    if (rc != 0) {
        return rc;
    }
    session_touch_in_place(worker->record.data, worker->record.size, now_ms);
    if (session_open(&view, buffer_bytes(&worker->record), now_ms) != 0) {
        note_partly(worker, slot_of_key(key));
        return 0;
    }
    worker->expired += view.expired;
    uint8_t head[8 + VARINT_BYTES_MAX];
    store_u64(head, epoch);
    const size_t head_size = (size_t)(varint_put(head + 8, worker->record.size) - head);
    rc = buffer_append(&worker->records[shard], bytes_of(head, head_size));
    rc = rc != 0 ? rc : buffer_append(&worker->records[shard], buffer_bytes(&worker->record));
    if (rc == 0 && worker->records[shard].size >= PIECE_BYTES) {
        rc = send_piece(worker, shard);
    }
    return rc;
}

/* What was merged so far is in the log: until that is durable. */
static int await_durable(struct recover_worker *worker)
{
    const struct node_recover *recover = worker->recover;
    int rc = 0;

    for (uint32_t shard = 0; shard < recover->node->shard_count && rc == 0; shard++) {
        rc = plane_await_durable(recover->node->plane, shard, &recover->stops);
    }
    return rc;
}

/* All of these slots are here. */
static int put_slots(struct recover_worker *worker)
{
    int rc = 0;

    for (uint32_t slot = worker->first; slot <= worker->last && rc == 0; slot++) {
        struct buffer *to = &worker->slots[slot % worker->recover->node->shard_count];
        uint8_t head[2 + 8 + VARINT_BYTES_MAX];
        if (worker->epochs[slot] == 0) {
            continue;
        }
        worker->vector.size = 0;
        rc = worker->partly[slot] ? 0
                                  : reading_seen(&worker->reading, (uint16_t)slot, &worker->vector);
        store_u16(head, (uint16_t)slot);
        store_u64(head + 2, worker->epochs[slot]);
        const uint8_t *end = varint_put(head + 10, worker->vector.size);
        rc = rc != 0 ? rc : buffer_append(to, bytes_of(head, (size_t)(end - head)));
        rc = rc != 0 ? rc : buffer_append(to, buffer_bytes(&worker->vector));
    }
    return rc;
}

/* Returns 0; -ESTALE: not all of them. */
static int note_restored(struct recover_worker *worker)
{
    struct node_recover *recover = worker->recover;

    pthread_mutex_lock(&recover->lock);
    for (uint32_t slot = worker->first; slot <= worker->last; slot++) {
        if (worker->epochs[slot] != 0) {
            recover->bytes_done += recover_is_due(recover, slot) && recover->first[slot]
                                       ? worker->reading.weights[slot]
                                       : 0;
            worker->came += recover_is_due(recover, slot);
            recover->restored[slot] = worker->epochs[slot];
            recover->ahead[slot] = false;
        }
    }
    recover->figures.left += worker->left;
    recover->figures.expired += worker->expired;
    const bool all = worker->missed == 0;
    pthread_mutex_unlock(&recover->lock);
    return all ? 0 : -ESTALE;
}

/* Some of the range's sessions, or all. */
static int take_part(struct recover_worker *worker)
{
    worker->reads = true;
    int rc = reading_take(&worker->reading, worker->first, worker->last, &worker->state);
    if (rc != 0) {
        return rc;
    }
    worker->reads = false;
    worker->access.text[0] = '\0';
    rc = archive_state_visit(&worker->state, put_back, worker);
    archive_state_clear(&worker->state);
    return rc != 0 ? rc : send_all(worker);
}

/* In one part, or, where there is more of a slot than this may take of memory, as many as that needs. What is in one part for all
 * that is one session: it takes what it takes. */
static int take_range(struct recover_worker *worker)
{
    struct state_part part = {.parts = 1};
    int rc;

    do {
        archive_state_limit(&worker->state, STATE_BYTES);
        archive_state_set_part(&worker->state, part);
        while ((rc = take_part(worker)) == -EFBIG) {
            if (!state_part_halve(&part)) {
                archive_state_limit(&worker->state, 0);
            }
            archive_state_set_part(&worker->state, part);
        }
    } while (rc == 0 && state_part_next(&part));
    return rc;
}

/* Returns 0, or negative errno with `access.text` set. */
int recover_range(struct recover_worker *worker)
{
    worker->left = worker->expired = worker->missed = 0;
    memset(worker->partly, 0, sizeof worker->partly);
    worker->failed = 0;
    worker->came = 0;
    worker->refused.size = worker->refused_count = 0;
    for (uint32_t shard = 0; shard < worker->recover->node->shard_count; shard++) {
        worker->records[shard].size = worker->slots[shard].size = 0;
    }
    int rc = take_range(worker);
    if (worker->reads) {
        return rc;
    }
    if (rc == 0) {
        recover_tell_refused(worker);
    }
    rc = rc != 0 ? rc : await_durable(worker);
    rc = rc != 0 ? rc : put_slots(worker);
    rc = rc != 0 ? rc : send_all(worker);
    if (rc == 0) {
        return note_restored(worker);
    }
    (void)land(worker, 0); /* What is on its way is of the buffers that come next. */
    return rc;
}
