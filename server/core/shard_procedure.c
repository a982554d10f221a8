#include "procedure.h"
#include "record.h"
#include "shard_state.h"

struct session_view *turn_view(struct turn *turn)
{
    struct shard *shard = turn->shard;

    if (!turn->opened) {
        struct bytes record = shard_find(shard, turn->request->position, turn->request->key);
        if (record.size == 0 || session_open(&shard->view, record, turn->now_ms) != 0) {
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
            shard_use(shard, turn->request, turn->policy);
        }
    }
    return view;
}

enum status turn_write(struct turn *turn, enum write_mode mode, enum session_type type,
                       struct bytes changes, struct bytes *results)
{
    struct shard *shard = turn->shard;
    struct request write = *turn->request;

    if (change_check(changes) < 0) {
        return STATUS_INVALID; /* A limit: of names, times. */
    }
    write.mode = (uint8_t)mode;
    write.type = (uint8_t)type;
    write.body = changes;
    struct bytes record = shard_find(shard, write.position, write.key);
    enum status status = shard_apply(shard, &write, turn->policy, record, &turn->text);
    turn->opened = false;
    if (status == STATUS_OK) {
        turn->wrote = true;
        if (results != NULL) {
            *results = buffer_bytes(&shard->written.results);
        }
    }
    return status;
}

/* The record that it begins with can be shown. Returns false having answered, or waiting. */
static bool begin(struct shard *shard, const struct request *request, uint64_t now_us)
{
    const struct procedure *procedure = request->procedure;
    struct bytes record;

    if (request->op == REQUEST_WRITE) {
        if (!shard_begin_write(shard, request, procedure->ends, &record, now_us)) {
            return false;
        }
    } else {
        record = shard_find(shard, request->position, request->key);
        if (record_is_cold(record) && session_open(&shard->view, record, shard->now_ms) == 0 &&
            shard->view.live) {
            shard_await(shard, request, now_us);
            return false;
        }
    }
    if (record.size > 0 && !procedure->ends &&
        session_open(&shard->view, record, shard->now_ms) != 0) {
        shard_answer_error(shard, request, STATUS_DAMAGED, NULL, now_us);
        return false;
    }
    return true;
}

void shard_procedure(struct shard *shard, const struct request *request, uint64_t now_us)
{
    const struct policy *policy = policy_of_key(shard->policies, request->key);
    enum ack_level level = shard_ack_level(request, policy);

    if (!begin(shard, request, now_us)) {
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
    enum status status = request->procedure->run(&turn);
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
}
