#include "recover.h"

#include <assert.h>
#include <errno.h>

#include "record.h"
#include "rename.h"
#include "shard_state.h"

/* So far a record may be ahead of the clock here: all clocks that hear of it follow it, also after a restart. */
enum { AHEAD_MS_MAX = 60 * 1000 };

static const char ahead_text[] = "it is of a time that has not come yet";
static const char other_text[] = "this is no whole record of a session of that key";
static const char own_text[] = "the key is one of the server's own";

/* The join of what came and what is here, in `after`. */
static enum status join(struct turn *turn, struct bytes before, struct buffer *after)
{
    struct bytes came = turn->request->body;
    int rc;

    if (session_check(came) != 0 || !bytes_equal(session_key(came), turn->request->key)) {
        turn->text = other_text;
        return STATUS_INVALID;
    }
    if (rename_is_journal(turn->request->key)) {
        turn->text = own_text;
        return STATUS_INVALID;
    }
    if (hlc_ms(session_newest_hlc(came)) > turn->shard->now_ms + AHEAD_MS_MAX) {
        turn->text = ahead_text;
        return STATUS_INVALID;
    }
    after->size = 0;
    rc = before.size == 0 ? buffer_append(after, came) : session_merge(before, came, after);
    return rc == 0 ? STATUS_OK : rc == -ENOMEM ? STATUS_MEMORY_FULL : STATUS_DAMAGED;
}

/* This node has seen it. */
static enum status stamp(struct shard *shard, struct buffer *after)
{
    uint64_t newest = session_newest_hlc(buffer_bytes(after));
    const struct stamp stamp = {
        .hlc = hlc_next(newest > shard->hlc ? newest : shard->hlc, shard->now_ms),
        .actor = shard->options.actor,
    };

    int rc = session_stamp(buffer_bytes(after), stamp, &shard->answer);
    if (rc == 0) {
        after->size = 0;
        rc = buffer_append(after, buffer_bytes(&shard->answer));
    }
    shard->answer.size = 0; /* It is the answer's. */
    return rc == 0 ? STATUS_OK : rc == -ENOMEM ? STATUS_MEMORY_FULL : STATUS_DAMAGED;
}

/* Log and store it, as other writes are. */
static enum status store(struct turn *turn, struct bytes before, struct bytes after)
{
    struct shard *shard = turn->shard;
    const struct request *request = turn->request;
    struct glance old = shard_glance(shard, before, shard->now_ms);
    struct glance new = shard_glance(shard, after, shard->now_ms);
    bool moved = shard_is_moved(shard, after), begins = new.counted && !old.counted;

    if (new.counted && shard_memory_is_full(shard, begins) && after.size > before.size) {
        return shard_full_status(shard, &turn->text);
    }
    if (keeper_reserve(shard->keeper, request->position, request->key, after.size) != 0) {
        return STATUS_MEMORY_FULL;
    }
    shard->hlc = session_newest_stamp(after);
    int rc = shard_append(shard, LOG_FULL, request->position, request->key, &after, 1);
    if (rc != 0) {
        return shard_append_status(rc);
    }
    rc = keeper_set(shard->keeper, request->position, after);
    assert(rc == 0); /* There was room. */
    shard->cold.shrinks = true;
    shard_account(shard, request->position, request->key, old, new, begins, false);
    if (moved) {
        shard_note_moved(shard, request->position);
    }
    return STATUS_OK;
}

static enum status merge_run(struct turn *turn)
{
    struct shard *shard = turn->shard;
    struct bytes before = shard_find(shard, turn->request->position, turn->request->key);
    struct buffer *after = &shard->written.record;

    enum status status = join(turn, before, after);
    if (status != STATUS_OK || bytes_equal(before, buffer_bytes(after))) {
        return status;
    }
    turn->opened = false;
    status = stamp(shard, after);
    return status == STATUS_OK ? store(turn, before, buffer_bytes(after)) : status;
}

const struct procedure recover_merge = {.name = "recover", .run = merge_run};
