/* What comes from other nodes: merged into what is here, logged as it is here then, stored.
 *
 * The stamps in it are another clock's: they may be older than what is in the log already, and they raise this one,
 * as whatever is stamped here later has to be greater. Nothing is stamped because of it.
 *
 * The log gets the whole merged record, or, where it came as one, the delta: what that builds on is in the log, too,
 * under the same rule as for writes (shard_write.c). */
#include "adopt.h"
#include "record.h"
#include "shard_state.h"

#include <assert.h>

static void raise_hlc(struct shard *shard, uint64_t hlc)
{
    if (hlc > shard->hlc) {
        shard->hlc = hlc;
    }
}

/* The last access that the merge came to, in the stored bytes, where they keep one; so that they differ only in what
 * is worth a record of the log. */
static void touch(struct merging *merging, uint64_t access_ms)
{
    struct shard *shard = merging->shard;
    struct session_view *view = &shard->view;
    size_t size = 0;

    if (session_open(view, merging->before, shard->now_ms) != 0 ||
        view->last_access_ms >= access_ms) {
        return;
    }
    uint64_t part_ms = session_idle_part_ms(view->idle_ms);
    uint64_t before_ms = view->last_access_ms;
    uint8_t *stored = keeper_find_mutable(shard->keeper, merging->position, merging->key, &size);
    merging->touched = session_touch_in_place(stored, size, access_ms) &&
                       before_ms / part_ms != access_ms / part_ms;
    raise_hlc(shard, hlc_of_ms(access_ms));
}

static enum status merge_status(int rc)
{
    return rc == 0         ? STATUS_OK
           : rc == -ENOMEM ? STATUS_MEMORY_FULL
           : rc == -ESTALE ? STATUS_VERSION_MISMATCH
                           : STATUS_DAMAGED;
}

/* ---- What has ended here ---- */

static bool has_birth(const struct record *record, struct stamp stamp)
{
    bool has = false;

    for (uint32_t i = 0; i < record->birth_count && !has; i++) {
        has = stamp_compare(record_birth(record, i).stamp, stamp) == 0;
    }
    return has;
}

/* Has all that its actor stamped until then come here? What was put back (adopt.h) nobody here stamped, but whoever put it
 * back stamped that it saw it (recover.h): it came with that, which is one of this cluster's stamps in the version. */
static bool has_come(const struct shard *shard, uint32_t slot, const struct record *record,
                     struct stamp birth)
{
    struct version_walk walk = version_walk(&record->version);
    struct version_item item;
    bool stamped = false;

    if (birth.actor.node < ADOPT_NODES) {
        return seen_covers(&shard->seen, slot, birth);
    }
    while (version_next(&walk, &item)) {
        if (item.actor.node >= ADOPT_NODES) {
            continue;
        }
        if (!seen_covers(&shard->seen, slot, (struct stamp){item.hlc, item.actor})) {
            return false;
        }
        stamped = true;
    }
    return stamped;
}

/* Births in what was merged that are not in what was here, though all that their actors stamped until then came here:
 * they have ended, and were forgotten. Returns up to which hlc all is to end: that of the newest such birth before the
 * oldest that lives; 0: nothing is. */
static uint64_t ended_hlc(const struct shard *shard, uint64_t position, const struct record *before,
                          const struct record *after)
{
    uint32_t slot = shard_slot(position);
    uint64_t ended = 0;

    /* In order of their stamps. */
    for (uint32_t i = 0; i < after->birth_count; i++) {
        struct stamp stamp = record_birth(after, i).stamp;
        if (has_birth(before, stamp) || !has_come(shard, slot, after, stamp)) {
            break;
        }
        ended = stamp.hlc;
    }
    /* Another one of the same time lives, perhaps. */
    for (uint32_t i = 0; i < after->birth_count && ended != 0; i++) {
        struct stamp stamp = record_birth(after, i).stamp;
        if (stamp.hlc == ended &&
            (has_birth(before, stamp) || !has_come(shard, slot, after, stamp))) {
            ended--;
        }
    }
    return ended;
}

/* End in `after` what has ended here. */
static enum status end_births(struct merging *merging)
{
    struct shard *shard = merging->shard;
    struct record before, after;

    record_init(&before, merging->key);
    if (!seen_is_known(&shard->seen, shard_slot(merging->position))) {
        return STATUS_OK;
    }
    if (record_open(&after, buffer_bytes(merging->after), RECORD_FORMAT) != 0 ||
        (merging->before.size > 0 &&
         record_open(&before, merging->before, record_format(merging->before)) != 0)) {
        return STATUS_DAMAGED;
    }
    uint64_t hlc = ended_hlc(shard, merging->position, &before, &after);
    if (hlc == 0) {
        return STATUS_OK;
    }
    int rc = session_end(buffer_bytes(merging->after), hlc, &shard->answer);
    if (rc == 0) {
        merging->after->size = 0;
        rc = buffer_append(merging->after, buffer_bytes(&shard->answer));
    }
    merging->ended = rc == 0;
    return merge_status(rc);
}

/* ---- One record ---- */

/* Where the cold one is not needed for the merge: what came has all of it, or it all of what came. It does the same
 * where the fields are lost: what came is all that there is then. */
static enum status merge_cold(struct merging *merging, struct bytes record)
{
    struct shard *shard = merging->shard;
    const struct request request = {.position = merging->position};
    struct record news, cold;

    if (record_open_head(&news, record, RECORD_FORMAT) != 0 ||
        record_open_head(&cold, merging->before, RECORD_COLD) != 0) {
        return STATUS_DAMAGED;
    }
    bool lost = shard_is_lost(shard, &request);
    if (!lost && version_covers_all(&cold.version, &news.version)) {
        touch(merging, news.last_access_ms);
        return STATUS_OK;
    }
    if (!lost && !version_covers_all(&news.version, &cold.version)) {
        merging->waits = true;
        return STATUS_OK;
    }
    merging->after->size = 0;
    if (buffer_append(merging->after, record) != 0) {
        return STATUS_MEMORY_FULL;
    }
    session_touch_in_place(merging->after->data, merging->after->size, cold.last_access_ms);
    merging->news = true;
    return end_births(merging);
}

/* Is there something new in what was merged? */
static enum status compare(struct merging *merging)
{
    struct record after;

    if (record_open_head(&after, buffer_bytes(merging->after), RECORD_FORMAT) != 0) {
        return STATUS_DAMAGED;
    }
    touch(merging, after.last_access_ms);
    merging->before = keeper_find(merging->shard->keeper, merging->position, merging->key);
    merging->news = !bytes_equal(merging->before, buffer_bytes(merging->after));
    return STATUS_OK;
}

static enum status merge_warm(struct merging *merging, bool whole, struct bytes record)
{
    int rc;

    if (!whole) {
        rc = session_apply_delta(merging->before, record, merging->after);
    } else if (merging->before.size == 0) {
        merging->after->size = 0;
        rc = buffer_append(merging->after, record);
    } else {
        rc = session_merge(merging->before, record, merging->after);
    }
    enum status status = rc != 0 ? merge_status(rc) : end_births(merging);
    return status == STATUS_OK ? compare(merging) : status;
}

/* Does it need more of a memory that is full? What ends a session never does. */
static enum status check_memory(const struct merging *merging)
{
    struct shard *shard = merging->shard;
    const char *text;
    bool begins = merging->before.size == 0;

    if (merging->after->size <= merging->before.size || !merging->glance_after.counted ||
        !shard_memory_is_full(shard, begins)) {
        return STATUS_OK;
    }
    return shard_full_status(shard, &text);
}

enum status shard_merge(struct merging *merging, bool whole, struct bytes record)
{
    struct shard *shard = merging->shard;
    enum status status;

    if ((whole ? session_check(record) : session_check_delta(record)) != 0) {
        return STATUS_INVALID;
    }
    merging->key = session_key(record);
    if (keeper_position(shard->options.seed, merging->key) != merging->position) {
        return STATUS_INVALID;
    }
    merging->before = keeper_find(shard->keeper, merging->position, merging->key);
    merging->was_cold = record_is_cold(merging->before);
    if (!merging->was_cold) {
        status = merge_warm(merging, whole, record);
    } else if (whole) {
        status = merge_cold(merging, record);
    } else {
        const struct request request = {.position = merging->position};
        bool lost = shard_is_lost(shard, &request);
        merging->waits = !lost;
        status = lost ? STATUS_VERSION_MISMATCH : STATUS_OK;
    }
    if (status != STATUS_OK || !merging->news) {
        return status;
    }
    merging->glance_before = shard_glance(shard, merging->before, shard->now_ms);
    merging->glance_after = shard_glance(shard, buffer_bytes(merging->after), shard->now_ms);
    merging->moved = shard_is_moved(shard, buffer_bytes(merging->after));
    status = check_memory(merging);
    raise_hlc(shard, session_newest_hlc(buffer_bytes(merging->after)));
    return status;
}

void shard_account_merged(const struct merging *merging)
{
    struct shard *shard = merging->shard;

    shard->stats.live += merging->glance_after.counted;
    shard->stats.live -= merging->glance_before.counted;
    shard->cold.shrinks = true;
    if (merging->moved) {
        shard_note_moved(shard, merging->position);
    }
    if (merging->glance_after.due_ms != 0) {
        shard_arm(shard, merging->position, merging->glance_after.due_ms);
    }
}

enum status shard_log_touched(const struct merging *merging)
{
    struct shard *shard = merging->shard;
    uint8_t ms[VARINT_BYTES_MAX];

    if (session_open(&shard->view, merging->before, shard->now_ms) != 0) {
        return STATUS_DAMAGED;
    }
    uint64_t access_ms = shard->view.last_access_ms;
    const uint8_t *end = varint_put(ms, access_ms);
    const struct bytes parts[] = {bytes_of(ms, (size_t)(end - ms)), merging->key};
    int rc = shard_log(shard, LOG_TOUCH, merging->position, merging->key, parts, 2);
    if (rc == 0 && hlc_of_ms(access_ms) > shard->logged_hlc) {
        shard->logged_hlc = hlc_of_ms(access_ms); /* Another node's clock is ahead. */
    }
    return shard_append_status(rc);
}

/* ---- One session ---- */

/* As shard_write.c's delta_will_do(). */
static bool delta_will_do(const struct merging *merging, struct bytes delta)
{
    const struct shard *shard = merging->shard;

    return delta.size < merging->after->size && merging->before.size > 0 && !merging->ended &&
           (!shard->revived || session_newest_stamp(merging->before) > shard->restored_hlc);
}

static enum status store(struct merging *merging, bool whole, struct bytes record)
{
    struct shard *shard = merging->shard;
    struct bytes after = buffer_bytes(merging->after);
    bool delta = !whole && delta_will_do(merging, record);
    const struct bytes part = delta ? record : after;

    if (keeper_reserve(shard->keeper, merging->position, merging->key, after.size) != 0) {
        return STATUS_MEMORY_FULL;
    }
    uint64_t logged_hlc = shard->logged_hlc;
    int rc =
        shard_log(shard, delta ? LOG_DELTA : LOG_FULL, merging->position, merging->key, &part, 1);
    if (rc != 0) {
        return shard_append_status(rc);
    }
    rc = keeper_set(shard->keeper, merging->position, after);
    assert(rc == 0); /* There was room. */
    shard->stats.cold -= merging->was_cold;
    shard_account_merged(merging);
    shard_note_logged(shard, merging->position, session_newest_stamp(after), logged_hlc,
                      shard->appended_lsn);
    return STATUS_OK;
}

/* Does a tombstone that was here, and that no comparison tells of as it may be let go, add to what came? Then the other end
 * would not hear of that death: not from the comparison that is under way, though the tombstone is as new as what came now,
 * and after it this slot's vector says there that all of it is known. */
static bool ends_unheard(const struct merging *merging, struct bytes came)
{
    struct shard *shard = merging->shard;
    const uint64_t position = merging->position;
    const struct bytes before = merging->before;
    struct glance glance = shard_glance(shard, before, shard->now_ms);

    return glance.due_ms != 0 && !glance.counted &&
           !shard_is_compared(shard, position, before, glance) &&
           !bytes_equal(merging->news ? buffer_bytes(merging->after) : before, came) &&
           shard_is_compared(shard, position, came, shard_glance(shard, came, shard->now_ms));
}

static enum status merge_record(struct shard *shard, const struct request *request, bool *waits)
{
    struct merging merging = {
        .shard = shard, .position = request->position, .after = &shard->scratch};
    bool whole = request->mode != LOG_DELTA;

    enum status status = shard_merge(&merging, whole, request->body);
    *waits = merging.waits;
    if (status != STATUS_OK || merging.waits) {
        return status;
    }
    shard->stats.copies_merged += merging.news;
    shard->stats.copies_known += !merging.news;
    bool ended = merging.ended || (whole && ends_unheard(&merging, request->body));
    if (merging.news) {
        status = store(&merging, whole, request->body);
    } else if (merging.touched) {
        status = shard_log_touched(&merging);
    }
    return status == STATUS_OK && ended ? STATUS_DESTROYED : status;
}

/* Of a session that is not here, or not any more, it is no news. */
static enum status merge_touch(struct shard *shard, const struct request *request)
{
    struct reader reader = reader_of(request->body);
    uint64_t ms = read_varint(&reader);
    struct merging merging = {.shard = shard, .position = request->position};

    merging.key = read_bytes(&reader, reader_left(&reader));
    if (reader.bad || merging.key.size == 0 || merging.key.size > KEY_BYTES_MAX ||
        ms > hlc_ms(UINT64_MAX) ||
        keeper_position(shard->options.seed, merging.key) != merging.position) {
        return STATUS_INVALID;
    }
    merging.before = keeper_find(shard->keeper, merging.position, merging.key);
    if (merging.before.size > 0) {
        touch(&merging, ms);
    }
    return merging.touched ? shard_log_touched(&merging) : STATUS_OK;
}

void shard_merge_copy(struct shard *shard, const struct request *request, uint64_t now_us)
{
    struct request wanted = *request;
    bool waits = false;
    enum status status;

    if (shard->log_failed) {
        status = STATUS_LOG_FAILED;
    } else if (request->mode == LOG_TOUCH) {
        status = merge_touch(shard, request);
    } else if (request->mode == LOG_BATCH) {
        status = shard_merge_batch(shard, request, &waits, &wanted.position);
    } else {
        status = merge_record(shard, request, &waits);
    }
    if (waits) {
        shard->stats.cold_requests++;
        shard_park(shard, &wanted, now_us);
    } else {
        shard_answer_own(shard, request, status);
    }
}

void shard_prefetch_copy(struct shard *shard, uint64_t position, bool found)
{
    seen_prefetch(&shard->seen, shard_slot(position), found);
    if (found) {
        keeper_prefetch_record(shard->keeper, position);
    } else {
        keeper_prefetch_bucket(shard->keeper, position);
    }
}

void shard_copy(struct shard *shard, const struct shard_copy *copy, uint64_t now_ms,
                uint64_t now_us)
{
    const struct request request = {
        .ticket = copy->ticket,
        .op = REQUEST_COPY,
        .mode = copy->kind,
        .received_us = now_us,
        .position = copy->position,
        .body = copy->body,
    };

    shard_advance(shard, now_ms);
    if (copy->kind != LOG_FULL && copy->kind != LOG_DELTA && copy->kind != LOG_BATCH &&
        copy->kind != LOG_TOUCH && copy->kind != LOG_BURY) {
        shard_answer_own(shard, &request, STATUS_INVALID);
    } else if (shard_must_wait(shard, &request)) {
        shard_park(shard, &request, now_us);
    } else {
        shard_merge_copy(shard, &request, now_us);
    }
}
