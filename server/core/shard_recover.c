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

bool recover_is_ahead(struct bytes record, uint64_t now_ms)
{
    return hlc_ms(session_newest_hlc(record)) > now_ms + AHEAD_MS_MAX;
}

/* What came, as it may join what is here. */
static enum status check(struct turn *turn, const struct request *one)
{
    if (session_check(one->body) != 0 || !bytes_equal(session_key(one->body), one->key)) {
        turn->text = other_text;
    } else if (rename_is_journal(one->key)) {
        turn->text = own_text;
    } else if (recover_is_ahead(one->body, turn->shard->now_ms)) {
        turn->text = ahead_text;
    } else {
        return STATUS_OK;
    }
    return STATUS_INVALID;
}

static enum status status_of(int rc)
{
    return rc == 0 ? STATUS_OK : rc == -ENOMEM ? STATUS_MEMORY_FULL : STATUS_DAMAGED;
}

/* The same record in `after`, which this node has seen. */
static enum status stamp(struct shard *shard, uint64_t position, struct bytes record,
                         struct buffer *after)
{
    uint64_t newest = session_newest_hlc(record);
    const struct stamp stamp = {
        .hlc = hlc_next(newest > shard->hlc ? newest : shard->hlc, shard->now_ms),
        .actor = shard_actor(shard, position),
    };

    return status_of(session_stamp(record, stamp, after));
}

/* Log and store it, as other writes are. */
static enum status store(struct turn *turn, const struct request *request, struct bytes before,
                         struct bytes after)
{
    struct shard *shard = turn->shard;
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

/* Join what came with what is here. */
static enum status merge(struct turn *turn, const struct request *one)
{
    struct shard *shard = turn->shard;
    struct bytes before = shard_find(shard, one->position, one->key), joined = one->body;
    enum status status = check(turn, one);

    if (status == STATUS_OK && before.size > 0) {
        shard->scratch.size = 0;
        status = status_of(session_merge(before, one->body, &shard->scratch));
        joined = buffer_bytes(&shard->scratch);
    }
    if (status != STATUS_OK || bytes_equal(before, joined)) {
        return status;
    }
    turn->opened = false;
    status = stamp(shard, one->position, joined, &shard->written.record);
    return status == STATUS_OK ? store(turn, one, before, buffer_bytes(&shard->written.record))
                               : status;
}

/* The next record, with its key and place. Returns false where there is none that can be read. */
static bool next(const struct turn *turn, struct reader *records, struct request *one)
{
    if (reader_left(records) == 0) {
        return false;
    }
    *one = *turn->request;
    one->body = read_string(records);
    one->key = records->bad ? bytes_of(NULL, 0) : session_key(one->body);
    one->position = keeper_position(turn->shard->options.seed, one->key);
    return one->key.size > 0;
}

/* May it be done in the turn of the first one? It must neither wait, nor be answered otherwise. */
static bool goes_along(const struct turn *turn, const struct request *one)
{
    struct shard *shard = turn->shard;

    return shard_slot(one->position) == shard_slot(turn->request->position) &&
           policy_of_key(shard->policies, one->key) == turn->policy &&
           !shard_is_locked(shard, one->position) && !shard_must_wait(shard, one) &&
           !record_is_cold(shard_find(shard, one->position, one->key));
}

/* How many there may be. What waits for others than this node's log has its own order. */
static uint32_t count_max(const struct turn *turn)
{
    enum ack_level level = shard_ack_level(turn->shard, turn->request, turn->policy);

    return level == ACK_MEMORY || level == ACK_DISK ? RECOVER_RECORDS_MAX : 1;
}

static enum status answer(const struct turn *turn, uint32_t done)
{
    uint8_t count[VARINT_BYTES_MAX];
    const uint8_t *end = varint_put(count, done);

    return status_of(buffer_append(turn->answer, bytes_of(count, (size_t)(end - count))));
}

static enum status merge_run(struct turn *turn)
{
    struct reader records = reader_of(turn->request->body);
    const uint32_t max = count_max(turn);
    size_t bytes = 0;
    struct request one;
    uint32_t done = 0;

    turn->text = other_text;
    if (!next(turn, &records, &one)) {
        return STATUS_INVALID;
    }
    one.key = turn->request->key;
    one.position = turn->request->position;
    do {
        turn->text = NULL;
        enum status status = merge(turn, &one);
        if (status != STATUS_OK && done == 0) {
            return status;
        }
        if (status != STATUS_OK) {
            break;
        }
        done++;
        bytes += one.body.size;
    } while (done < max && bytes < RECOVER_BYTES_MAX && next(turn, &records, &one) &&
             goes_along(turn, &one));
    turn->text = NULL;
    return answer(turn, done);
}

const struct procedure recover_merge = {.name = "recover", .run = merge_run};

struct bytes recover_first(struct bytes body)
{
    struct reader records = reader_of(body);

    (void)read_string(&records);
    return records.bad ? body : bytes_of(body.data, (size_t)(records.at - body.data));
}
