/* What the store gives at a start: records, deltas, touches, burials, in any order and repeatedly.
 *
 * All goes through the merge, so that order does not matter; but for what was dropped as it went to other nodes
 * (LOG_DROP), which comes in the order of the log, as all does that the store gives. A burial leaves its tombstone in the keeper
 * while older records of the session may still come. Once all has come, a tombstone whose newest stamp
 * is that of its burial is dropped; where a later life or a later death came, its stamps are newer.
 *
 * Such a later life was begun over nothing, but here it was merged with the tombstone, and knows more
 * than the log says after the burial: a delta on it would find no base there. So the first write of a
 * restored session is then logged in full (shard_write.c). */
#include "cold.h"
#include "record.h"
#include "shard_state.h"

struct buried {
    uint64_t position;
    uint64_t hlc;
};

static void raise_hlc(struct shard *shard, uint64_t hlc)
{
    if (hlc > shard->hlc) {
        shard->hlc = hlc;
    }
}

/* What the life before has stamped, and others gave back, was logged here before that, when it was stamped. */
static void take_before(struct shard *shard, struct bytes part)
{
    struct record opened;

    if (shard->options.before.node == 0 ||
        record_open_head(&opened, part, record_format(part)) != 0) {
        return;
    }
    uint64_t hlc = version_seen(&opened.version, shard->options.before);
    shard->before_hlc = hlc > shard->before_hlc ? hlc : shard->before_hlc;
}

static void take_hlc(struct shard *shard, struct bytes part)
{
    raise_hlc(shard, session_newest_hlc(part));
    take_before(shard, part);
}

/* Nothing has expired before it is known what time it is. */
static int set(struct shard *shard, uint64_t position, struct bytes before, struct bytes after)
{
    bool was_counted = shard_glance(shard, before, 0).counted, was_cold = record_is_cold(before);
    int rc = keeper_set(shard->keeper, position, after);

    if (rc != 0) {
        return -ENOMEM;
    }
    shard->stats.live -= was_counted;
    shard->stats.cold -= was_cold;
    shard->stats.cold += record_is_cold(after);
    bool is_counted = shard_glance(shard, after, 0).counted;
    if (is_counted) {
        shard->stats.live++;
        shard->idle_restored = shard->idle_restored || shard->view.idle_ms > 0;
    }
    if (shard_is_moved(shard, after)) {
        shard_note_moved(shard, position);
    }
    return 0;
}

/* A whole record of the log, where a cold one is: nearly always it was written on that, or that on it. */
static int replace_cold(struct shard *shard, uint64_t position, struct bytes cold,
                        struct bytes record)
{
    struct record opened, left;

    if (record_open_head(&opened, record, RECORD_FORMAT) != 0 ||
        record_open_head(&left, cold, RECORD_COLD) != 0) {
        return -EBADMSG;
    }
    if (version_covers_all(&left.version, &opened.version)) {
        return 0;
    }
    if (!version_covers_all(&opened.version, &left.version)) {
        return shard_want(shard, position);
    }
    shard->scratch.size = 0;
    int rc = buffer_append(&shard->scratch, record);
    if (rc == 0) {
        session_touch_in_place(shard->scratch.data, shard->scratch.size, left.last_access_ms);
        rc = set(shard, position, cold, buffer_bytes(&shard->scratch));
    }
    return rc;
}

/* Take in a whole record that was checked. */
static int join(struct shard *shard, uint64_t position, struct bytes before, struct bytes record)
{
    take_hlc(shard, record);
    if (before.size == 0) {
        return set(shard, position, before, record);
    }
    if (record_is_cold(before)) {
        return replace_cold(shard, position, before, record);
    }
    if (bytes_equal(before, record)) {
        return 0;
    }
    int rc = session_merge(before, record, &shard->scratch);
    return rc != 0 ? rc : set(shard, position, before, buffer_bytes(&shard->scratch));
}

/* Of what the log gives it is not known whether stamps were in order: all of it counts as not in the checkpoint until
 * that has come to its end. */
static int note_logged(struct shard *shard, uint64_t position, int rc)
{
    if (rc == 0 && shard->loader != NULL && shard->loader->log_lsn != 0) {
        shard_note_logged(shard, position, 0, 0, shard->loader->log_lsn);
    }
    return rc;
}

int shard_restore_record(struct shard *shard, struct bytes record)
{
    if (session_check(record) != 0) {
        return -EBADMSG;
    }
    struct bytes key = session_key(record);
    uint64_t position = keeper_position(shard->options.seed, key);
    if (shard_has_fetched(shard, position)) {
        return 0;
    }
    struct bytes before = keeper_find(shard->keeper, position, key);
    return note_logged(shard, position, join(shard, position, before, record));
}

/* The newest stamp that the checkpoint has: whatever was stamped before is in it. */
static void take_stored_hlc(struct shard *shard, struct bytes record)
{
    struct record opened;

    if (record_open_head(&opened, record, RECORD_FORMAT) == 0 &&
        opened.version.newest.hlc > shard->cold.stored_hlc) {
        shard->cold.stored_hlc = opened.version.newest.hlc;
    }
}

int shard_restore_stored(struct shard *shard, struct bytes record, bool fetched)
{
    struct bytes key = session_key(record);
    uint64_t position = keeper_position(shard->options.seed, key);
    struct bytes before = keeper_find(shard->keeper, position, key);
    int rc = session_check(record) == 0 ? 0 : -EBADMSG;
    if (record_is_cold(before) && fetched) {
        rc = rc == 0 ? shard_thaw(shard, position, before, record) : rc;
        return rc == -ENOMEM ? rc : 0; /* shard_check_fetched() will find it, and tell. */
    }
    if (rc != 0 || record_is_cold(before)) {
        return rc;
    }
    if (!shard->loading || shard_has_fetched(shard, position)) {
        return 0; /* It was written anew, or ended, meanwhile. */
    }
    take_stored_hlc(shard, record);
    if (before.size == 0 && !fetched && shard_takes_cold(shard, record)) {
        take_hlc(shard, record);
        return set(shard, position, before, buffer_bytes(&shard->scratch));
    }
    return join(shard, position, before, record);
}

int shard_restore_delta(struct shard *shard, struct bytes delta)
{
    if (session_check_delta(delta) != 0) {
        return -EBADMSG;
    }
    struct bytes key = session_key(delta);
    uint64_t position = keeper_position(shard->options.seed, key);
    if (shard_has_fetched(shard, position)) {
        return 0;
    }
    struct bytes before = keeper_find(shard->keeper, position, key);
    take_hlc(shard, delta);
    if (record_is_cold(before)) {
        return shard_want(shard, position);
    }
    int rc = session_apply_delta(before, delta, &shard->scratch);
    rc = rc != 0 ? rc : set(shard, position, before, buffer_bytes(&shard->scratch));
    return note_logged(shard, position, rc);
}

int shard_restore_touch(struct shard *shard, struct bytes body)
{
    struct reader reader = reader_of(body);
    uint64_t ms = read_varint(&reader);
    struct bytes key = read_bytes(&reader, reader_left(&reader));
    size_t size = 0;

    if (reader.bad || key.size == 0 || key.size > KEY_BYTES_MAX || ms > hlc_ms(UINT64_MAX)) {
        return -EBADMSG;
    }
    raise_hlc(shard, hlc_of_ms(ms));
    uint64_t position = keeper_position(shard->options.seed, key);
    if (shard_has_fetched(shard, position)) {
        return 0;
    }
    uint8_t *stored = keeper_find_mutable(shard->keeper, position, key, &size);
    return stored != NULL && session_touch_in_place(stored, size, ms) ? 0 : -ESTALE;
}

int shard_restore_bury(struct shard *shard, struct bytes record)
{
    int rc = shard_restore_record(shard, record);

    if (rc != 0) {
        return rc;
    }
    const struct buried buried = {
        .position = keeper_position(shard->options.seed, session_key(record)),
        .hlc = session_newest_hlc(record),
    };
    if (shard_has_fetched(shard, buried.position)) {
        return 0; /* It came with what was fetched. */
    }
    /* Without memory for it, the tombstone stays for as long as one of a destroyed session. */
    (void)buffer_append(&shard->buried, bytes_of(&buried, sizeof buried));
    return 0;
}

/* What comes behind it in the log is another story. */
int shard_restore_drop(struct shard *shard, struct bytes record)
{
    if (session_check(record) != 0) {
        return -EBADMSG;
    }
    struct bytes key = session_key(record);
    uint64_t position = keeper_position(shard->options.seed, key);
    uint32_t slot = shard_slot(position);
    shard->kept_seen.replayed[slot / 64] |= UINT64_C(1) << (slot % 64);
    if (shard_has_fetched(shard, position)) {
        return 0;
    }
    struct bytes before = keeper_find(shard->keeper, position, key);
    take_hlc(shard, record);
    shard->stats.live -= shard_glance(shard, before, 0).counted;
    shard->stats.cold -= record_is_cold(before);
    keeper_remove(shard->keeper, position, key);
    return 0;
}

/* ---- The end of it ---- */

struct leftover {
    struct shard *shard;
    struct buried buried;
    struct bytes key; /* In the keeper; empty where nothing is left over. */
};

static bool leftover_visit(void *context, uint64_t position, struct bytes record)
{
    struct leftover *leftover = context;

    (void)position;
    if (!shard_glance(leftover->shard, record, 0).counted &&
        session_newest_hlc(record) == leftover->buried.hlc) {
        leftover->key = session_key(record);
        return false;
    }
    return true;
}

static void drop_leftover(struct shard *shard, const struct buried *buried)
{
    struct leftover leftover = {.shard = shard, .buried = *buried};

    keeper_visit(shard->keeper, buried->position, leftover_visit, &leftover);
    if (leftover.key.size > 0) {
        uint8_t key[KEY_BYTES_MAX];
        memcpy(key, leftover.key.data, leftover.key.size);
        keeper_remove(shard->keeper, buried->position, bytes_of(key, leftover.key.size));
    } else {
        shard->revived = true;
    }
}

void shard_drop_buried(struct shard *shard)
{
    for (size_t at = 0; at < shard->buried.size; at += sizeof(struct buried)) {
        struct buried buried;
        memcpy(&buried, shard->buried.data + at, sizeof buried);
        drop_leftover(shard, &buried);
    }
    buffer_fini(&shard->buried);
}

void shard_restore_done(struct shard *shard, uint64_t now_ms)
{
    shard_drop_buried(shard);
    shard_take_seen(shard);
    shard->restored_hlc = shard->hlc;
    shard->restored_ms = now_ms;
    shard_advance(shard, now_ms);
}
