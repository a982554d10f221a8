#include "shard_state.h"

#include <assert.h>
#include <string.h>

#include "adopt.h"
#include "cold.h"
#include "record.h"

enum { RETRY_STALE_MS = 50 };

static const char stale_text[] = "the write came before this node was stopped for a while";

/* ---- Its life ---- */

static void options_check(const struct shard_options *options)
{
    assert(options->policies != NULL && options->memory != NULL);
    assert(options->log != NULL && options->door != NULL);
    assert(options->actor.node != 0 && options->actor.start != 0);
}

int shard_create(const struct shard_options *options, struct shard **shard)
{
    options_check(options);
    struct memory *memory = options->memory;
    struct shard *made = memory->resize(memory, NULL, 0, sizeof *made);
    if (made == NULL) {
        return -ENOMEM;
    }
    memset(made, 0, sizeof *made);
    made->options = *options;
    made->policies = options->policies;
    made->memory = memory;
    made->hlc = options->hlc;
    made->restored_hlc = options->hlc;
    made->gone_hlc = options->gone_hlc;
    made->scratch.memory = made->answer.memory = made->changes.memory = memory;
    made->buried.memory = made->kept_seen.saved.memory = memory;
    made->loader = options->loader;
    made->copies = options->copies;
    made->cold.shrinks = true;
    position_set_init(&made->fetched, memory);
    position_set_init(&made->wanted, memory);
    position_set_init(&made->cold.damaged, memory);
    uncovered_init(&made->cold.uncovered, memory);
    position_set_init(&made->graced, memory);
    position_set_init(&made->moved, memory);
    position_set_init(&made->moved_round, memory);
    parking_init(&made->parking, memory);
    parking_init(&made->locks.waiting, memory);
    session_written_init(&made->written, memory);
    acks_init(&made->acks, memory);
    acks_init(&made->archive.acks, memory);
    copy_waits_init(&made->replicas.waits, memory);
    overload_init(&made->overload, options->queue_delay_ms);
    patrol_init(&made->patrol);
    wheel_init(&made->wheel, memory);
    int rc = seen_init(&made->seen, memory, SLOT_COUNT);
    /* A life that goes on has none before it. */
    const uint64_t went_on_hlc = options->before.node == 0 ? options->hlc : 0;
    rc = rc == 0 ? eras_init(&made->eras, memory, SLOT_COUNT, options->actor, went_on_hlc) : rc;
    rc = rc == 0 ? keeper_create(memory, options->seed, session_key, &made->keeper) : rc;
    if (rc != 0) {
        eras_fini(&made->eras);
        seen_fini(&made->seen);
        session_written_fini(&made->written);
        memory->resize(memory, made, sizeof *made, 0);
        return rc;
    }
    *shard = made;
    return 0;
}

void shard_destroy(struct shard *shard)
{
    if (shard == NULL) {
        return;
    }
    keeper_destroy(shard->keeper);
    wheel_fini(&shard->wheel);
    acks_fini(&shard->acks);
    copy_waits_fini(&shard->replicas.waits);
    eras_fini(&shard->eras);
    seen_fini(&shard->seen);
    session_written_fini(&shard->written);
    buffer_fini(&shard->buried);
    acks_fini(&shard->archive.acks);
    buffer_fini(&shard->kept_seen.saved);
    position_set_fini(&shard->fetched);
    position_set_fini(&shard->wanted);
    position_set_fini(&shard->cold.damaged);
    uncovered_fini(&shard->cold.uncovered);
    position_set_fini(&shard->graced);
    position_set_fini(&shard->moved);
    position_set_fini(&shard->moved_round);
    parking_fini(&shard->parking);
    parking_fini(&shard->locks.waiting);
    buffer_fini(&shard->scratch);
    buffer_fini(&shard->answer);
    buffer_fini(&shard->changes);
    shard->memory->resize(shard->memory, shard, sizeof *shard, 0);
}

void shard_set_policies(struct shard *shard, const struct policies *policies)
{
    shard->policies = policies;
}

const struct shard_stats *shard_stats(const struct shard *shard)
{
    return &shard->stats;
}

const struct keeper *shard_keeper(const struct shard *shard)
{
    return shard->keeper;
}

uint64_t shard_hlc(const struct shard *shard)
{
    return shard->hlc;
}

uint64_t shard_logged_hlc(const struct shard *shard)
{
    return shard->logged_hlc;
}

/* ---- What all its parts use ---- */

void shard_advance(struct shard *shard, uint64_t now_ms)
{
    if (now_ms <= shard->now_ms) {
        return;
    }
    shard->now_ms = now_ms;
    if (hlc_of_ms(now_ms) > shard->hlc) {
        shard->hlc = hlc_of_ms(now_ms);
    }
    wheel_advance(&shard->wheel, now_ms);
    if (!shard->loading) {
        patrol_advance(&shard->patrol, now_ms);
    }
}

void shard_trace(struct shard *shard, enum trace_event event, uint64_t a, struct bytes text)
{
    if (shard->options.tracer != NULL) {
        shard->options.tracer->event(shard->options.tracer, event, a, text);
    }
}

/* A death is remembered for as long as the policy says, or as what was put back may come again, counted from the newest thing
 * in the record. */
static uint64_t tombstone_end_ms(const struct shard *shard, struct bytes record)
{
    const struct policy *policy = policy_of_key(shard->policies, session_key(record));
    uint64_t keep_ms = policy->rules.tombstone_keep_ms;

    if (keep_ms < ADOPT_REPEAT_MS && session_is_adopted(record)) {
        keep_ms = ADOPT_REPEAT_MS;
    }
    return hlc_ms(session_newest_hlc(record)) + keep_ms;
}

int shard_open(struct shard *shard, struct bytes record, uint64_t now_ms)
{
    struct session_view *view = &shard->view;
    struct copies_port *copies = shard->copies;
    int rc = session_open(view, record, now_ms);

    if (rc != 0 || !view->expired || copies == NULL) {
        return rc;
    }
    uint64_t position = keeper_position(shard->options.seed, session_key(record));
    return session_open_known(view, record, now_ms, copies->known_ms(copies, position), NULL);
}

struct glance shard_glance(struct shard *shard, struct bytes record, uint64_t now_ms)
{
    struct session_view *view = &shard->view;

    if (record.size == 0 || shard_open(shard, record, now_ms) != 0) {
        return (struct glance){.there = record.size != 0};
    }
    struct glance glance = {
        .there = true,
        .counted = view->live || view->expired,
        .expired = view->expired,
        .faded = view->faded,
    };
    if (view->live) {
        glance.due_ms = view->next_ms;
    } else {
        glance.due_ms = view->expired ? view->deadline_ms : tombstone_end_ms(shard, record);
    }
    return glance;
}

struct bytes shard_find(struct shard *shard, uint64_t position, struct bytes key)
{
    struct bytes record = shard->cold.marks ? keeper_use(shard->keeper, position, key)
                                            : keeper_find(shard->keeper, position, key);

    if (shard->idle_restored) {
        shard_give_grace_early(shard, position, record);
    }
    return record;
}

/* ---- Answers ---- */

static void count_error(struct shard *shard, enum status status)
{
    switch (status) {
    case STATUS_BUSY:
        shard->stats.busy++;
        break;
    case STATUS_TIMEOUT:
        shard->stats.timeouts++;
        break;
    case STATUS_SESSION_TOO_LARGE:
    case STATUS_TOO_MANY_FIELDS:
    case STATUS_KEY_TOO_LARGE:
    case STATUS_MEMORY_FULL:
    case STATUS_DISK_FULL:
    case STATUS_LOG_FAILED:
    case STATUS_UNAVAILABLE:
        shard->stats.refused++;
        break;
    default:
        break;
    }
}

static uint64_t waited_us(const struct request *request, uint64_t now_us)
{
    return now_us > request->received_us ? now_us - request->received_us : 0;
}

static bool is_inner(const struct request *request)
{
    return request->procedure != NULL && request->procedure->inner;
}

static void count_answer(struct shard *shard, const struct request *request,
                         const struct reply *reply, uint64_t now_us)
{
    if (reply->status == STATUS_OK && request->op == REQUEST_WRITE) {
        shard->stats.acks[reply->ack]++;
    }
    count_error(shard, reply->status);
    assert((uint32_t)reply->status < SHARD_STATUSES);
    shard->stats.answers[request->op][reply->status]++;
    histogram_record(&shard->stats.latency[request->op], waited_us(request, now_us));
}

void shard_answer(struct shard *shard, const struct request *request, struct reply *reply,
                  uint64_t now_us)
{
    reply->op = request->op;
    if (reply->hlc == 0) {
        reply->hlc = shard->hlc;
    }
    if (!is_inner(request)) {
        count_answer(shard, request, reply, now_us);
    }
    shard->options.door->reply(shard->options.door, request->ticket, reply, false);
}

void shard_answer_held(struct shard *shard, const struct request *request, struct reply *reply)
{
    reply->op = request->op;
    shard->options.door->reply(shard->options.door, request->ticket, reply, true);
    acks_push(&shard->acks, (struct ack){
                                .lsn = shard->appended_lsn,
                                .ticket = request->ticket,
                                .received_us = request->received_us,
                            });
    shard->options.log->hurry(shard->options.log);
}

void shard_answer_error(struct shard *shard, const struct request *request, enum status status,
                        const char *text, uint64_t now_us)
{
    struct reply reply = {.status = status, .text = text};

    shard_answer(shard, request, &reply, now_us);
}

/* ---- A request ---- */

void shard_prepare(struct shard *shard, struct request *request)
{
    if (request->op == REQUEST_SCAN) {
        request->position = request->cursor;
        return;
    }
    request->position = keeper_position(shard->options.seed, request->key);
    keeper_prefetch_bucket(shard->keeper, request->position);
}

void shard_prefetch(struct shard *shard, const struct request *request)
{
    if (request->op != REQUEST_SCAN) {
        keeper_prefetch_record(shard->keeper, request->position);
    }
}

uint64_t shard_answer_bytes(const struct shard *shard, const struct request *request)
{
    bool reads = request->op == REQUEST_GET || request->op == REQUEST_INSPECT;
    bool may_wait = shard->loading || shard->stats.cold > 0;

    if (request->op == REQUEST_SCAN || (!reads && (request->procedure == NULL || !may_wait))) {
        return 0;
    }
    struct bytes record = keeper_find(shard->keeper, request->position, request->key);
    if (record_is_cold(record)) {
        return session_cold_bytes(record);
    }
    if (shard_must_wait(shard, request)) {
        return record.size < UNKNOWN_RECORD_BYTES ? UNKNOWN_RECORD_BYTES : record.size;
    }
    return reads ? record.size : 0;
}

bool shard_refuse_late(struct shard *shard, enum request_op op, uint64_t received_us,
                       uint64_t now_ms, uint64_t now_us, uint32_t *retry_after_ms)
{
    struct overload *overload = &shard->overload;
    uint64_t delay_us = now_us > received_us ? now_us - received_us : 0;

    if (!overload_refuses(overload, delay_us, false)) {
        return false;
    }
    shard_advance(shard, now_ms);
    shard->stats.requests[op]++;
    overload_note(overload, now_us, delay_us);
    if (overload_count(overload, shard->now_ms)) {
        shard_trace(shard, TRACE_OVERLOAD_BEGIN, delay_us / 1000, bytes_of(NULL, 0));
    }
    count_error(shard, STATUS_BUSY);
    shard->stats.answers[op][STATUS_BUSY]++;
    histogram_record(&shard->stats.latency[op], delay_us);
    *retry_after_ms = overload_retry_ms(overload);
    return true;
}

static void refuse_busy(struct shard *shard, const struct request *request, uint64_t now_us)
{
    struct reply reply = {
        .status = STATUS_BUSY,
        .retry_after_ms = overload_retry_ms(&shard->overload),
    };

    if (overload_count(&shard->overload, shard->now_ms)) {
        shard_trace(shard, TRACE_OVERLOAD_BEGIN, waited_us(request, now_us) / 1000,
                    bytes_of(NULL, 0));
    }
    shard_answer(shard, request, &reply, now_us);
}

/* Whether the request would begin a session where nothing is: these are refused first. */
static bool begins_session(const struct shard *shard, const struct request *request)
{
    return request->op == REQUEST_WRITE && request->mode != WRITE_UPDATE &&
           keeper_find(shard->keeper, request->position, request->key).size == 0;
}

void shard_refuse_before(struct shard *shard, uint64_t came_us)
{
    shard->refused_before_us = came_us;
}

bool shard_refuse_stale(struct shard *shard, const struct request *request, uint64_t now_us)
{
    if (request->op == REQUEST_WRITE && request->received_us < shard->refused_before_us) {
        struct reply reply = {
            .status = STATUS_BUSY, .text = stale_text, .retry_after_ms = RETRY_STALE_MS};
        shard_answer(shard, request, &reply, now_us);
        return true;
    }
    if (request->timeout_ms == 0 || waited_us(request, now_us) / 1000 < request->timeout_ms) {
        return false;
    }
    shard_answer_error(shard, request, STATUS_TIMEOUT, NULL, now_us);
    return true;
}

/* Answers those that waited too long. It comes before all else, as under overload it is what is done
 * most; the look for the session is made only where it decides. */
static bool refuse_late(struct shard *shard, const struct request *request, uint64_t now_us)
{
    uint64_t delay_us = waited_us(request, now_us);

    if (shard_refuse_stale(shard, request, now_us)) {
        return true;
    }
    struct overload *overload = &shard->overload;
    overload_note(overload, now_us, delay_us);
    if (overload_ended(overload, shard->now_ms)) {
        shard_trace(shard, TRACE_OVERLOAD_END, 0, bytes_of(NULL, 0));
    }
    bool refused = request->admitted ? overload_is_late(overload, delay_us)
                                     : overload_refuses(overload, delay_us, false);
    if (refused || (overload_may_refuse(overload, delay_us) && begins_session(shard, request) &&
                    overload_refuses(overload, delay_us, true))) {
        refuse_busy(shard, request, now_us);
        return true;
    }
    return false;
}

/* Waits for its key's lock. */
static bool waits(const struct shard *shard, const struct request *request)
{
    const struct procedure *procedure = request->procedure;

    return shard_is_locked(shard, request->position) && request->op != REQUEST_SCAN &&
           request->op < REQUEST_COPY && /* Another node may wait for it in turn. */
           (procedure == NULL || !procedure->locks);
}

void shard_run(struct shard *shard, const struct request *request, uint64_t now_us)
{
    if (waits(shard, request)) {
        shard_wait(shard, request, now_us);
        return;
    }
    if (request->procedure != NULL) {
        shard_procedure(shard, request, now_us);
        return;
    }
    switch (request->op) {
    case REQUEST_GET:
        shard_get(shard, request, now_us);
        break;
    case REQUEST_WRITE:
        shard_write(shard, request, now_us);
        break;
    case REQUEST_SCAN:
        shard_scan(shard, request, now_us);
        break;
    case REQUEST_COPY:
        shard_merge_copy(shard, request, now_us);
        break;
    case REQUEST_WHOLE:
        shard_give_whole(shard, request, now_us);
        break;
    default:
        shard_inspect(shard, request, now_us);
        break;
    }
}

void shard_refuse(struct shard *shard, const struct request *request, enum status status,
                  const char *text, uint64_t now_us)
{
    shard->stats.requests[request->op] += !is_inner(request);
    shard_answer_error(shard, request, status, text, now_us);
}

const struct policy *shard_policy(const struct shard *shard, struct bytes key)
{
    return policy_of_key(shard->policies, key);
}

void shard_execute(struct shard *shard, const struct request *request, uint64_t now_ms,
                   uint64_t now_us)
{
    assert(request->op <= REQUEST_INSPECT);
    assert(request->procedure == NULL || request->op <= REQUEST_WRITE);
    shard_advance(shard, now_ms);
    shard->stats.requests[request->op] += !is_inner(request);
    if (refuse_late(shard, request, now_us)) {
        return;
    }
    if (request->op != REQUEST_SCAN &&
        (request->key.size == 0 || request->key.size > KEY_BYTES_MAX)) {
        shard_answer_error(shard, request, STATUS_KEY_TOO_LARGE, NULL, now_us);
        return;
    }
    if (request->version.size > TOKEN_BYTES_MAX) {
        shard_answer_error(shard, request, STATUS_INVALID, "the version token is too long", now_us);
        return;
    }
    if (shard_must_wait(shard, request)) {
        shard_park(shard, request, now_us);
        return;
    }
    shard_run(shard, request, now_us);
}
