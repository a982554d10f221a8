#include "procedure.h"
#include "record.h"
#include "shard_state.h"

enum { ANSWER_KEPT_BYTES = 1024 * 1024 /* Of memory for answers, from one to the next. */ };

/* The record of the present key. */
static struct bytes present(const struct turn *turn)
{
    const struct request *request = turn->request;

    return turn->staged != NULL ? shard_staged_record(turn, request->position, request->key)
                                : shard_find(turn->shard, request->position, request->key);
}

size_t turn_bytes(const struct turn *turn)
{
    return present(turn).size;
}

void turn_to(struct turn *turn, struct request *request)
{
    struct shard *shard = turn->shard;

    request->position = keeper_position(shard->options.seed, request->key);
    turn->request = request;
    turn->policy = policy_of_key(shard->policies, request->key);
    turn->text = NULL;
    turn->opened = turn->counted = false;
}

int turn_token(struct turn *turn, struct bytes *token)
{
    *token = bytes_of(NULL, 0);
    return turn_view(turn) == NULL
               ? 0
               : session_token(&turn->shard->view, &turn->shard->scratch, token);
}

struct session_view *turn_view(struct turn *turn)
{
    struct shard *shard = turn->shard;

    if (!turn->opened) {
        struct bytes record = present(turn);
        if (record.size == 0 || shard_open(shard, record, turn->now_ms) != 0) {
            shard->view = (struct session_view){.live = false};
        }
        turn->opened = true;
    }
    return shard->view.live ? &shard->view : NULL;
}

struct session_view *turn_use(struct turn *turn)
{
    struct shard *shard = turn->shard;
    struct session_view *view = turn_view(turn);

    if (!turn->counted) {
        shard->stats.hits += view != NULL;
        shard->stats.misses += view == NULL;
        turn->counted = true;
        if (view != NULL) {
            shard->stats.siblings_hidden += view->siblings_hidden;
            if (turn->staged_count == 0) { /* What is written now is a use anyhow. */
                shard_use(shard, turn->request, turn->policy);
            }
        }
    }
    return view;
}

enum status turn_write(struct turn *turn, enum write_mode mode, enum session_type type,
                       struct bytes changes, struct bytes *results)
{
    struct shard *shard = turn->shard;
    struct request write = *turn->request;
    const struct policy *policy = turn->policy;
    struct policy
        again; /* The same, where what is destroyed may begin again whatever no_resurrect says. */

    if (turn->replaces || turn->frees) {
        again = *policy;
        again.rules.no_resurrect = false;
        policy = &again;
    }
    if (change_check(changes) < 0) {
        turn->text =
            "a field's name has at most 65536 bytes, and a deadline is at most ten years away";
        return STATUS_INVALID;
    }
    write.mode = (uint8_t)mode;
    write.type = (uint8_t)type;
    write.body = changes;
    struct bytes record = present(turn);
    enum status status;
    if (turn->staged == NULL) {
        status = shard_apply(shard, &write, policy, record, &turn->text);
    } else {
        status = shard_make(shard, &write, policy, record, &turn->text);
        if (status == STATUS_OK && shard->written.changed) {
            status = shard_stage(turn, &write);
        }
    }
    turn->opened = false;
    if (status == STATUS_OK) {
        if (results != NULL) {
            *results = buffer_bytes(&shard->written.results);
        }
    }
    return status;
}

/* The record that it begins with can be shown. Returns false having answered, or waiting. */
static bool begin(struct shard *shard, const struct request *request, const struct policy *policy,
                  uint64_t now_us)
{
    const struct procedure *procedure = request->procedure;
    struct bytes record;

    if (request->op == REQUEST_WRITE) {
        if (!shard_begin_write(shard, request, policy, procedure->ends, &record, now_us)) {
            return false;
        }
    } else {
        record = shard_find(shard, request->position, request->key);
        if (record_is_cold(record) && shard_open(shard, record, shard->now_ms) == 0 &&
            shard->view.live) {
            shard_await(shard, request, now_us);
            return false;
        }
    }
    if (record.size > 0 && !procedure->ends && shard_open(shard, record, shard->now_ms) != 0) {
        shard_answer_error(shard, request, STATUS_DAMAGED, NULL, now_us);
        return false;
    }
    return true;
}

/* The same for each key of a transaction; while loading, too: who must wait for one waits at its place. Raises `level`
 * to the safest that any of them asks for. */
static bool begin_all(struct shard *shard, const struct request *request, enum ack_level *level,
                      uint64_t now_us)
{
    struct reader keys = reader_of(request->body);
    uint64_t count = read_varint(&keys);
    bool refuses = false;

    for (uint64_t i = 0; i < count; i++) {
        struct request one = *request;
        one.key = read_string(&keys);
        one.position = keeper_position(shard->options.seed, one.key);
        if (keys.bad || one.key.size == 0 || one.key.size > KEY_BYTES_MAX) {
            shard_answer_error(shard, request, STATUS_KEY_TOO_LARGE, NULL, now_us);
            return false;
        }
        if (shard_is_locked(shard, one.position)) {
            shard_wait(shard, &one, now_us);
            return false;
        }
        if (shard_must_wait(shard, &one)) {
            shard_park(shard, &one, now_us);
            return false;
        }
        const struct policy *policy = policy_of_key(shard->policies, one.key);
        if (!begin(shard, &one, policy, now_us)) {
            return false;
        }
        enum ack_level asked = shard_ack_level(shard, &one, policy);
        *level = asked > *level ? asked : *level;
        refuses = refuses || shard->replicas.refuses;
    }
    shard->replicas.refuses = refuses;
    return true;
}

int turn_stage(struct turn *turn)
{
    return turn->staged != NULL ? 0 : shard_begin_staging(turn);
}

/* Run it; what it staged is committed. */
static enum status run(struct turn *turn, const struct procedure *procedure)
{
    const struct request *whole = turn->request;
    const struct policy *policy = turn->policy;

    if (procedure->many && turn_stage(turn) != 0) {
        return STATUS_MEMORY_FULL;
    }
    enum status status = procedure->run(turn);
    if (turn->staged == NULL) {
        return status;
    }
    turn->request = whole;
    turn->policy = policy;
    turn->opened = false;
    if (status != STATUS_OK) {
        shard_abandon(turn);
        return status;
    }
    turn->text = NULL;
    return shard_commit(turn, &turn->text);
}

/* What waited for another one of its keys has that in it: its own is the first. */
static struct request own(const struct shard *shard, const struct request *request)
{
    struct request whole = *request;
    struct reader keys = reader_of(request->body);

    if (read_varint(&keys) > 0) {
        whole.key = read_string(&keys);
        whole.position = keeper_position(shard->options.seed, whole.key);
    }
    return whole;
}

void shard_procedure(struct shard *shard, const struct request *request, uint64_t now_us)
{
    struct request whole;
    if (request->procedure->many) {
        whole = own(shard, request);
        request = &whole;
    }
    const struct procedure *procedure = request->procedure;
    const struct policy *policy = policy_of_key(shard->policies, request->key);
    enum ack_level level = shard_ack_level(shard, request, policy);

    if (procedure->safe && shard->copies != NULL && level < ACK_REPLICA) {
        level = ACK_REPLICA;
    }
    if (!(procedure->many ? begin_all(shard, request, &level, now_us)
                          : begin(shard, request, policy, now_us))) {
        return;
    }
    struct turn turn = {
        .request = request,
        .policy = policy,
        .now_ms = shard->now_ms,
        .answer = &shard->answer,
        .changes = &shard->changes,
        .shard = shard,
    };
    shard->answer.size = 0;
    enum status status = run(&turn, procedure);
    struct reply reply = {.results = buffer_bytes(&shard->answer)};
    if (status == STATUS_NO_MEMORY) {
        status = STATUS_MEMORY_FULL;
    }
    if (status != STATUS_OK) {
        shard_answer_write_error(shard, request, status, turn.text, now_us);
    } else if (request->op == REQUEST_WRITE) {
        shard_answer_write(shard, request, level, &reply, now_us);
    } else {
        shard_answer(shard, request, &reply, now_us);
    }
    if (shard->answer.capacity > ANSWER_KEPT_BYTES) {
        buffer_fini(&shard->answer);
    }
    if (status == STATUS_OK && turn.unlocks != 0) {
        shard_unlock(shard, request->position, turn.unlocks, now_us);
    }
}
