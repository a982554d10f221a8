/* Other nodes: what goes to them, and writes that wait for them.
 *
 * Whatever this shard stamps goes out in the turn in which it is logged. A write of level `replica` is answered once
 * another owner has merged it. Where nobody can any more, it waits for the log in its place, and says so.
 *
 * A write that changed nothing (it was done before, or there was nothing to do) may have found what is only here as
 * yet. So something goes out for it, too, that changes nothing: what is sent for one position is merged in order, and
 * so the one who has that has all before it. */
#include "cold.h"
#include "record.h"
#include "shard_state.h"

#include <assert.h>

static const char only_here_text[] =
    "the write is on this node, and no other owner of the session is known to have it";

struct actor shard_actor(struct shard *shard, uint64_t position)
{
    return shard->copies == NULL ? shard->options.actor
                                 : eras_actor(&shard->eras, &shard->seen, shard_slot(position));
}

const struct eras *shard_eras(const struct shard *shard)
{
    return &shard->eras;
}

/* What this node stamped is here, all of it, unless it lacks what it stamped before it was without the slot. */
static void note_stamped(struct shard *shard, uint32_t slot, uint64_t hlc)
{
    const struct stamp stamp = {hlc, eras_last(&shard->eras, slot)};

    if (!eras_may_lack(&shard->eras, slot)) {
        /* Without memory for it the vector says less than is true. */
        (void)seen_advance(&shard->seen, slot, stamp);
    }
}

void shard_note_own(struct shard *shard)
{
    for (uint32_t slot = 0; slot < SLOT_COUNT; slot++) {
        note_stamped(shard, slot, shard->hlc);
    }
}

void shard_set_copies(struct shard *shard, struct copies_port *copies)
{
    assert(shard->copies == NULL && copies != NULL);
    shard->copies = copies;
    shard_note_own(shard);
}

struct seen *shard_seen(struct shard *shard)
{
    return &shard->seen;
}

void shard_begin_seen(struct shard *shard)
{
    for (uint32_t slot = 0; slot < SLOT_COUNT; slot++) {
        seen_begin(&shard->seen, slot);
        eras_go_on(&shard->eras, slot);
    }
    shard_note_own(shard);
}

void shard_hold_seen(struct shard *shard, uint32_t slot, bool held)
{
    if (seen_is_held(&shard->seen, slot) == held) {
        return;
    }
    if (seen_is_known(&shard->seen, slot)) {
        shard_unsee(shard, slot);
    }
    seen_hold(&shard->seen, slot, held);
}

void shard_begin_slot_seen(struct shard *shard, uint32_t slot, struct bytes vector)
{
    seen_hold(&shard->seen, slot, false);
    seen_begin(&shard->seen, slot);
    if (vector.size > 0) {
        /* Without memory for it, or where it is none, less is known than is true. */
        (void)seen_join(&shard->seen, slot, vector);
        if (shard->loader != NULL) {
            shard->loader->whole(shard->loader, slot);
        }
        note_stamped(shard, slot, shard->hlc);
    }
}

/* ---- Out ---- */

/* The next session of a batch, as in log_kind.h. */
struct batch_item {
    uint64_t position;
    struct bytes bytes, key;
};

static bool next_item(struct reader *batch, struct batch_item *item)
{
    const uint8_t *begin = batch->at;

    if (reader_left(batch) == 0) {
        return false;
    }
    (void)read_u8(batch);
    item->position = read_u64(batch);
    item->key = session_key(read_string(batch));
    item->bytes = bytes_of(begin, (size_t)(batch->at - begin));
    return !batch->bad;
}

/* A batch without journals, in shard->scratch where there are some. Returns 0 or -ENOMEM. */
static int without_journals(struct shard *shard, struct bytes *batch)
{
    struct reader reader = reader_of(*batch), again = reader;
    struct batch_item item;
    bool journals = false;
    int rc = 0;

    while (next_item(&reader, &item)) {
        journals = journals || rename_is_journal(item.key);
        note_stamped(shard, shard_slot(item.position), shard->hlc);
    }
    shard->scratch.size = 0;
    while (journals && rc == 0 && next_item(&again, &item)) {
        rc = rename_is_journal(item.key) ? 0 : buffer_append(&shard->scratch, item.bytes);
    }
    if (journals && rc == 0) {
        *batch = buffer_bytes(&shard->scratch);
    }
    return rc;
}

static uint64_t send(struct shard *shard, enum log_kind kind, uint64_t position,
                     const struct bytes parts[], uint32_t part_count)
{
    const bool vouches = !eras_may_lack(&shard->eras, shard_slot(position));
    uint64_t hlc = kind == LOG_TOUCH || !vouches ? 0 : shard->hlc;

    if (hlc != 0) {
        note_stamped(shard, shard_slot(position), hlc);
    }
    return shard->copies->append(shard->copies, (uint8_t)kind, position, hlc, parts, part_count);
}

static uint64_t send_batch(struct shard *shard, struct bytes batch)
{
    if (without_journals(shard, &batch) != 0) {
        return 0;
    }
    struct reader reader = reader_of(batch);
    struct batch_item first;
    return next_item(&reader, &first) ? send(shard, LOG_BATCH, first.position, &batch, 1) : 0;
}

/* Journals of renames (rename.h) are this shard's own. */
void shard_send(struct shard *shard, enum log_kind kind, uint64_t position, struct bytes key,
                const struct bytes parts[], uint32_t part_count)
{
    struct copies_state *replicas = &shard->replicas;

    if (kind != LOG_BATCH && rename_is_journal(key)) {
        return;
    }
    replicas->number = kind == LOG_BATCH ? send_batch(shard, parts[0])
                                         : send(shard, kind, position, parts, part_count);
    replicas->appended = true;
    if (replicas->number == 0) {
        replicas->missed = true;
        replicas->missed_lsn = shard->appended_lsn;
    }
}

/* Something that changes nothing. */
static void send_mark(struct shard *shard, const struct request *request)
{
    static const uint8_t never[] = {0};
    const struct bytes parts[] = {bytes_of(never, sizeof never), request->key};

    shard_send(shard, LOG_TOUCH, request->position, request->key, parts, 2);
}

void shard_answer_copied(struct shard *shard, const struct request *request, struct reply *reply,
                         uint64_t now_us)
{
    struct copies_state *replicas = &shard->replicas;

    if (!replicas->appended) {
        send_mark(shard, request);
        /* What it found may be what nobody else came to have. */
        replicas->missed = replicas->missed || replicas->missed_lsn > shard->durable_lsn;
    }
    if (request->for_first) {
        shard->copies->await_first(shard->copies, request->position, replicas->number);
    }
    if (replicas->missed && replicas->refuses) {
        shard_answer_error(shard, request, STATUS_MAYBE_APPLIED, only_here_text, now_us);
        return;
    }
    if (replicas->missed) {
        shard_answer_write(shard, request, ACK_DISK, reply, now_us);
        return;
    }
    reply->op = request->op;
    reply->ack = ACK_REPLICA;
    if (reply->hlc == 0) {
        reply->hlc = shard->hlc;
    }
    shard->options.door->reply(shard->options.door, request->ticket, reply, true);
    copy_waits_push(&replicas->waits, (struct copy_wait){
                                          .number = replicas->number,
                                          .lsn = replicas->refuses ? 0 : shard->appended_lsn,
                                          .ticket = request->ticket,
                                          .received_us = request->received_us,
                                      });
}

void shard_copied(struct shard *shard, uint64_t number, uint64_t now_us)
{
    struct copy_wait wait;

    if (copy_waits_take(&shard->replicas.waits, number, &wait)) {
        shard_release(shard, wait.ticket, ACK_REPLICA, wait.received_us, now_us);
    }
}

void shard_release_uncopied(struct shard *shard, uint64_t now_us)
{
    struct copies_state *replicas = &shard->replicas;
    struct copy_wait wait;

    while (copy_waits_pop(&replicas->waits, replicas->uncopied, shard->durable_lsn, &wait)) {
        if (wait.lsn == 0) {
            shard_release_failed(shard, wait.ticket, STATUS_MAYBE_APPLIED, only_here_text);
        } else {
            shard_release(shard, wait.ticket, ACK_DISK, wait.received_us, now_us);
        }
    }
    while (shard->log_failed &&
           copy_waits_pop(&replicas->waits, replicas->uncopied, UINT64_MAX, &wait)) {
        shard_release_failed(shard, wait.ticket, STATUS_LOG_FAILED, shard_failed_text(shard));
    }
}

void shard_uncopied(struct shard *shard, uint64_t number, uint64_t now_us)
{
    struct copies_state *replicas = &shard->replicas;

    if (number > replicas->uncopied) {
        replicas->uncopied = number;
        replicas->missed_lsn = shard->appended_lsn;
    }
    shard_release_uncopied(shard, now_us);
    if (replicas->waits.count > 0) {
        shard->options.log->hurry(shard->options.log);
    }
}

bool shard_peek(const struct shard *shard, uint64_t position, struct bytes key,
                struct bytes *record)
{
    const struct request look = {.op = REQUEST_GET, .position = position};

    *record = keeper_find(shard->keeper, position, key);
    return !shard_must_wait(shard, &look);
}

/* ---- What is here ---- */

bool shard_may_forget(const struct shard *shard, uint64_t position, struct bytes tombstone)
{
    const uint32_t slot = shard_slot(position);
    struct record opened;
    struct version_item item;

    if (shard->copies == NULL) {
        return true;
    }
    if (!seen_is_known(&shard->seen, slot) ||
        record_open_head(&opened, tombstone, record_format(tombstone)) != 0) {
        return false;
    }
    struct version_walk walk = version_walk(&opened.version);
    while (version_next(&walk, &item)) {
        if (!seen_covers(&shard->seen, slot, (struct stamp){item.hlc, item.actor})) {
            return false;
        }
    }
    return true;
}

bool shard_is_compared(const struct shard *shard, uint64_t position, struct bytes record,
                       struct glance glance)
{
    return glance.there && (glance.counted || glance.due_ms > shard->now_ms ||
                            !shard_may_forget(shard, position, record));
}

struct walking {
    struct shard *shard;
    uint64_t last;
    bool hashes;
    bool (*visit)(void *context, uint64_t position, uint64_t hash);
    void *context;
};

/* Uses are told in parts of the idle timeout, so copies of a live session have the same one. */
static uint64_t access_hash(const struct session_view *view)
{
    return view->idle_ms == 0 ? 0
                              : view->last_access_ms / session_idle_part_ms(view->idle_ms) *
                                    UINT64_C(0x9e3779b97f4a7c15);
}

static bool walk_visit(void *context, uint64_t position, struct bytes record)
{
    const struct walking *walking = context;
    struct shard *shard = walking->shard;

    if (position > walking->last) {
        return false;
    }
    struct glance glance = shard_glance(shard, record, shard->now_ms);
    if (!shard_is_compared(shard, position, record, glance) ||
        rename_is_journal(session_key(record))) {
        return true;
    }
    uint64_t hash = 0;
    if (walking->hashes) {
        hash = record_is_cold(record) ? session_cold_hash(record)
                                      : session_hash(record, shard->options.seed);
        hash ^= glance.counted ? access_hash(&shard->view) : 0;
    }
    return walking->visit(walking->context, position, hash);
}

void shard_walk(struct shard *shard, uint64_t first, uint64_t last, bool hashes,
                bool (*visit)(void *context, uint64_t position, uint64_t hash), void *context)
{
    struct walking walking = {
        .shard = shard, .last = last, .hashes = hashes, .visit = visit, .context = context};

    (void)keeper_scan(shard->keeper, first, walk_visit, &walking);
}

/* ---- Whole sessions for other nodes ---- */

struct giving {
    struct shard *shard;
    uint64_t ticket;
    bool cold;
};

static bool cold_visit(void *context, uint64_t position, struct bytes record)
{
    struct giving *giving = context;

    (void)position;
    giving->cold = giving->cold || record_is_cold(record);
    return true;
}

static bool give_visit(void *context, uint64_t position, struct bytes record)
{
    const struct giving *giving = context;
    struct copies_port *copies = giving->shard->copies;

    (void)position;
    if (!record_is_cold(record) && /* Else it is lost. */
        !rename_is_journal(session_key(record))) {
        copies->whole(copies, giving->ticket, record);
    }
    return true;
}

void shard_give_whole(struct shard *shard, const struct request *request, uint64_t now_us)
{
    struct giving giving = {.shard = shard, .ticket = request->ticket};

    keeper_visit(shard->keeper, request->position, cold_visit, &giving);
    if (giving.cold && !shard_is_lost(shard, request)) {
        shard->stats.cold_requests++;
        shard_park(shard, request, now_us);
        return;
    }
    keeper_visit(shard->keeper, request->position, give_visit, &giving);
    shard_answer_own(shard, request, giving.cold ? STATUS_DAMAGED : STATUS_OK);
}

void shard_whole(struct shard *shard, uint64_t position, uint64_t ticket, uint64_t now_us)
{
    const struct request request = {
        .ticket = ticket, .op = REQUEST_WHOLE, .position = position, .received_us = now_us};

    if (shard_must_wait(shard, &request)) {
        shard_park(shard, &request, now_us);
    } else {
        shard_give_whole(shard, &request, now_us);
    }
}

void shard_answer_own(struct shard *shard, const struct request *request, enum status status)
{
    struct copies_port *copies = shard->copies;

    if (request->op == REQUEST_WHOLE) {
        copies->whole_done(copies, request->ticket, status);
    } else {
        copies->merged(copies, request->ticket, status);
    }
}

void shard_visit_waiting(const struct shard *shard, void (*visit)(void *context, uint32_t slot),
                         void *context)
{
    parking_visit_writes(&shard->parking, visit, context);
    parking_visit_writes(&shard->locks.waiting, visit, context);
}
