/* A write: apply, log, acknowledge, in one turn.
 *
 * Order matters, as each step can fail and nothing may be half done: a place among the replies that
 * wait is reserved, then room in the keeper; the log takes the record, or refuses it and nothing has
 * changed; after that nothing can fail. A write that changed nothing and is to be answered at `disk`
 * still waits for all that was appended before it: what it found may not be durable yet. */
#include "dedup.h"
#include "move.h"
#include "record.h"
#include "shard_state.h"

#include <assert.h>
#include <errno.h>

static const char no_replica_text[] =
    "no other owner of the session can be reached, and its policy says on_no_replica = refuse";
static const char returning_text[] =
    "the session of this key is being renamed, and comes back where its new key is taken";
static const char no_archive_text[] = "no archive is configured";

/* What is wrong with the request as it stands; OK where nothing is. */
static enum status check_request(const struct request *request, const char **text)
{
    *text = NULL;
    if (request->mode > WRITE_UPDATE) {
        *text = "the write mode is unknown";
    } else if (request->type > SESSION_ZSET) {
        *text = "the session type is unknown";
    } else if (request->ack > ACK_ARCHIVE) {
        *text = "the ack level is unknown";
    } else if (rename_is_journal(request->key) || move_is_letter(request->key)) {
        *text = "the key is one of the server's own";
    } else if (request->client >= DEDUP_RECEIPT_CLIENT) {
        *text = "the client's id is one of the server's own";
    } else if (change_check(request->body) < 0) {
        *text = "the list of changes is malformed";
    }
    return *text == NULL ? STATUS_OK : STATUS_INVALID;
}

/* The level that this write is answered at. On a node alone nobody else can have it. */
enum ack_level shard_ack_level(const struct shard *shard, const struct request *request,
                               const struct policy *policy)
{
    enum ack_level asked = request->ack == ACK_DEFAULT ? policy->ack : request->ack;

    if (asked == ACK_REPLICA || asked == ACK_DEFAULT) {
        return shard->copies == NULL ? ACK_MEMORY : ACK_REPLICA;
    }
    return asked;
}

enum ack_level shard_level(const struct shard *shard, const struct request *request)
{
    return shard_ack_level(shard, request, policy_of_key(shard->policies, request->key));
}

bool shard_is_new(const struct shard *shard, const struct request *request)
{
    struct bytes record;

    return !shard_is_locked(shard, request->position) &&
           shard_peek(shard, request->position, request->key, &record) && record.size == 0;
}

static bool is_destroy(const struct request *request)
{
    return request->body.size > 0 && request->body.data[0] == CHANGE_DESTROY;
}

/* What was let go before a restart is not known, but that it was no newer than what came back. */
static uint64_t gone_hlc(const struct shard *shard)
{
    return shard->gone_hlc > shard->restored_hlc ? shard->gone_hlc : shard->restored_hlc;
}

enum status shard_make(struct shard *shard, const struct request *request,
                       const struct policy *policy, struct bytes record, const char **text)
{
    const struct session_write write = {
        .key = request->key,
        .record = record,
        .rules = &policy->rules,
        .now_ms = shard->now_ms,
        .known_ms =
            shard->copies == NULL ? 0 : shard->copies->known_ms(shard->copies, request->position),
        .hlc = shard->hlc,
        .actor = shard_actor(shard, request->position),
        .mode = request->mode,
        .type = request->type,
        .fades = request->procedure != NULL, /* A Redis client knows no map without fields. */
        .if_version = request->version,
        .changes = request->body,
        .client = request->client,
        .sequence = request->sequence,
        .retry_hlc = request->retry_hlc,
        .gone_hlc = gone_hlc(shard),
        .taken_hlc = request->taken_hlc,
        .elsewhere = request->elsewhere,
        .takes_over = request->takes_over,
    };

    enum status status = session_write(&write, &shard->written);
    if (status == STATUS_BUSY) {
        *text = returning_text;
    }
    return status == STATUS_NO_MEMORY ? STATUS_MEMORY_FULL : status;
}

/* Does what was written need more of a memory that is full? */
static bool passes_memory(const struct shard *shard, const struct request *request,
                          struct bytes before)
{
    const struct session_written *written = &shard->written;

    if (is_destroy(request) || (!written->created && written->record.size <= before.size)) {
        return true;
    }
    return !shard_memory_is_full(shard, written->created);
}

/* What falls due first, and was not to be looked at as early before, goes into the wheel. */
static void arm(struct shard *shard, uint64_t position, struct glance before, struct glance after)
{
    if (after.due_ms != 0 && (before.due_ms == 0 || after.due_ms < before.due_ms ||
                              before.due_ms >= patrol_next_visit_ms(&shard->patrol, position))) {
        shard_arm(shard, position, after.due_ms);
    }
}

void shard_account(struct shard *shard, uint64_t position, struct bytes key, struct glance before,
                   struct glance after, bool created, bool destroyed)
{
    struct shard_stats *stats = &shard->stats;

    stats->created += created;
    stats->live += after.counted;
    stats->live -= before.counted;
    if (before.expired) {
        shard_tell_expired(shard, position, key, before.faded);
    }
    if (destroyed) {
        stats->destroyed++;
        shard_trace(shard, TRACE_SESSION_DELETED, position, key);
    }
    arm(shard, position, before, after);
}

/* A write within the life of a session, with nothing due soon, changes nothing of what is known of it:
 * nearly all are, and neither the new copy nor the old one need be looked at. */
static bool is_plain(const struct shard *shard, const struct request *request)
{
    const struct session_written *written = &shard->written;

    return !written->created && !written->destroyed && !is_destroy(request) &&
           (written->next_ms == 0 ||
            written->next_ms >= patrol_next_visit_ms(&shard->patrol, request->position));
}

/* Is the delta smaller, and all that it builds on in the log? What came with the restart may have more
 * to it, where a burial lies between (shard_restore.c). */
static bool delta_will_do(const struct shard *shard, struct bytes before)
{
    const struct session_written *written = &shard->written;

    if (written->delta.size == 0 || written->delta.size >= written->record.size) {
        return false;
    }
    return !shard->revived || before.size == 0 ||
           session_newest_stamp(before) > shard->restored_hlc;
}

static enum status log_written(struct shard *shard, const struct request *request, bool is_delta)
{
    const struct session_written *written = &shard->written;
    struct bytes part = buffer_bytes(is_delta ? &written->delta : &written->record);

    return shard_append_status(shard_append(shard, is_delta ? LOG_DELTA : LOG_FULL,
                                            request->position, request->key, &part, 1));
}

/* Log and store what was written in place of `record`. */
static enum status store(struct shard *shard, const struct request *request, struct bytes record,
                         const char **text)
{
    struct session_written *written = &shard->written;
    struct bytes made = buffer_bytes(&written->record);

    if (!passes_memory(shard, request, record)) {
        return shard_full_status(shard, text);
    }
    bool plain = is_plain(shard, request), delta = delta_will_do(shard, record);
    bool was_cold = record_is_cold(record);
    struct glance before = {.there = false}, after = before;
    if (!plain) {
        before = shard_glance(shard, record, shard->now_ms);
        after = shard_glance(shard, made, shard->now_ms);
    }
    if (keeper_reserve(shard->keeper, request->position, request->key, made.size) != 0) {
        return STATUS_MEMORY_FULL;
    }
    if (written->stamp.hlc > shard->hlc) {
        shard->hlc = written->stamp.hlc;
    }
    enum status status = log_written(shard, request, delta);
    if (status != STATUS_OK) {
        return status;
    }
    int rc = keeper_set(shard->keeper, request->position, made);
    assert(rc == 0);            /* There was room. */
    shard->cold.shrinks = true; /* It may go in its turn. */
    shard->stats.cold -= was_cold;
    if (!plain) {
        shard_account(shard, request->position, request->key, before, after, written->created,
                      written->destroyed);
    }
    return STATUS_OK;
}

enum status shard_apply(struct shard *shard, const struct request *request,
                        const struct policy *policy, struct bytes record, const char **text)
{
    enum status status = shard_make(shard, request, policy, record, text);

    if (status == STATUS_OK && shard->written.changed) {
        status = store(shard, request, record, text);
    }
    return status;
}

void shard_answer_write(struct shard *shard, const struct request *request, enum ack_level level,
                        struct reply *reply, uint64_t now_us)
{
    if (level == ACK_ARCHIVE) {
        shard_answer_archived(shard, request, reply, now_us);
        return;
    }
    if (level == ACK_REPLICA) {
        shard_answer_copied(shard, request, reply, now_us);
    } else if (shard->appended_lsn > shard->durable_lsn &&
               (level == ACK_DISK || shard->fragile_lsn > shard->durable_lsn)) {
        reply->ack = ACK_DISK;
        shard_answer_held(shard, request, reply);
    } else {
        reply->ack = level;
        shard_answer(shard, request, reply, now_us);
    }
}

static void answer(struct shard *shard, const struct request *request, enum ack_level level,
                   uint64_t now_us)
{
    const struct session_written *written = &shard->written;
    struct reply reply = {
        .created = written->created,
        .repeated = written->repeated,
        .hlc = written->stamp.hlc,
        .version = written->token,
        .results = buffer_bytes(&written->results),
    };

    shard->stats.repeated += written->repeated;
    shard_answer_write(shard, request, level, &reply, now_us);
}

void shard_answer_write_error(struct shard *shard, const struct request *request,
                              enum status status, const char *text, uint64_t now_us)
{
    struct reply reply = {.status = status, .text = text};

    if (status == STATUS_BUSY && text != NULL) {
        reply.retry_after_ms = RETRY_MEMORY_MS;
    } else if (status == STATUS_BUSY) {
        reply.text = "the log cannot keep up; try again later";
        reply.retry_after_ms = RETRY_LOG_MS;
    } else if (status == STATUS_LOG_FAILED) {
        reply.text = shard_failed_text(shard);
    }
    shard_answer(shard, request, &reply, now_us);
}

/* Is there memory for it? */
static bool has_memory(const struct shard *shard, const struct request *request,
                       struct bytes record)
{
    if ((record_is_cold(record) || shard->cold.answering) && shard_memory_is_full(shard, false)) {
        return false; /* With its fields it would need more. */
    }
    return record.size > 0 || request->mode == WRITE_UPDATE || !shard_memory_is_full(shard, true);
}

/* Is it to be answered once another owner has it, and never else? */
static bool needs_replica(const struct shard *shard, const struct request *request,
                          const struct policy *policy)
{
    return policy->on_no_replica == NO_REPLICA_REFUSE &&
           shard_ack_level(shard, request, policy) == ACK_REPLICA;
}

bool shard_begin_write(struct shard *shard, const struct request *request,
                       const struct policy *policy, bool ends, struct bytes *record,
                       uint64_t now_us)
{
    const char *text = NULL;
    enum status status = STATUS_OK;

    bool archived = shard_ack_level(shard, request, policy) == ACK_ARCHIVE;

    shard->archive.begun_lsn = shard->appended_lsn;
    if (shard->log_failed) {
        status = STATUS_LOG_FAILED;
    } else if (archived && !shard->archive.there) {
        status = STATUS_UNAVAILABLE;
        text = no_archive_text;
    } else {
        int rc = acks_reserve(&shard->acks);
        if (rc == 0 && archived) {
            rc = acks_reserve(&shard->archive.acks);
        }
        if (rc == 0 && shard->copies != NULL) {
            shard->replicas.appended = shard->replicas.missed = false;
            shard->replicas.refuses = request->for_first || needs_replica(shard, request, policy);
            rc = copy_waits_reserve(&shard->replicas.waits);
        }
        status = rc == 0 ? STATUS_OK : rc == -EAGAIN ? STATUS_BUSY : STATUS_MEMORY_FULL;
    }
    if (status == STATUS_OK && shard->copies != NULL && shard->replicas.refuses &&
        !shard->copies->reaches(shard->copies, request->position)) {
        status = STATUS_UNAVAILABLE;
        text = no_replica_text;
    }
    if (status == STATUS_OK) {
        *record = shard_find(shard, request->position, request->key);
        if (!ends && !has_memory(shard, request, *record)) {
            status = shard_full_status(shard, &text);
        }
    }
    if (status != STATUS_OK) {
        shard_answer_write_error(shard, request, status, text, now_us);
        return false;
    }
    if (record_is_cold(*record) && !(ends && shard_is_lost(shard, request))) {
        shard_await(shard, request, now_us);
        return false;
    }
    return true;
}

void shard_write(struct shard *shard, const struct request *request, uint64_t now_us)
{
    const struct policy *policy = policy_of_key(shard->policies, request->key);
    enum ack_level level = shard_ack_level(shard, request, policy);
    struct bytes record;
    const char *text;
    enum status status = check_request(request, &text);

    if (status != STATUS_OK) {
        shard_answer_error(shard, request, status, text, now_us);
        return;
    }
    if (!shard_begin_write(shard, request, policy, is_destroy(request), &record, now_us)) {
        return;
    }
    status = shard_apply(shard, request, policy, record, &text);
    if (status != STATUS_OK) {
        shard_answer_write_error(shard, request, status, text, now_us);
        return;
    }
    answer(shard, request, level, now_us);
}
