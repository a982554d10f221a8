/* Comparisons of slots: their messages. A slot is gone through in ranges, so that neither end has more than
 * RANGE_SESSIONS in one: the asking end cuts a range before it asks for it, the other end cuts what is left.
 *
 *   asking end     OPENING --OPENED, RANGED--> COMPARING --range done--> OPENING ... --last one--> CLOSING
 *                  --all sent, CLOSE--> CLOSED --MERGED--> SETTLING --all merged--> STORING --durable, SETTLED--> SETTLED
 *                  --CLOSED--> OVER
 *   answering end  ANSWERING --CLOSE--> CLOSING --all sent and merged, MERGED--> CLOSED --SETTLED--> SETTLING
 *                  --all merged--> STORING --durable, CLOSED--> over
 *
 * Neither end takes over what the other one has seen before that one has merged all that it was given, and has sent back what of
 * it has ended there: else a session would live on at an end that says it has seen its end. Nor is an end that has no part in
 * the slot (a stray, it said so when it opened) told that the other one has all before that one's log has it on its disk: it may
 * drop what it has then, which was perhaps durable nowhere else. Who gets a part, or loses it, meanwhile drops nothing by it
 * (job.outdated), so others wait for a disk for a moment only: a shard whose log has failed has to hand on what it has.
 *
 * Messages wait in the link's inbox until there is time for them, and until what was asked for before is on its way: so
 * a slow reader holds up who asks it for more. */
#include "replication_private.h"

#include <errno.h>

/* A log that is not durable by then has failed, or its disk is full. */
enum {
    STORE_US = 1000 * 1000,       /* The end is told all the same where it drops nothing by it... */
    STORE_STRAY_US = 5000 * 1000, /* ... or is to ask again, where it may. */
};

/* ---- What both ends say ---- */

uint8_t replication_flags(const struct replication *r, uint32_t slot)
{
    return (uint8_t)((slot_set_has(&r->level, slot) ? FLAG_LEVEL : 0) |
                     (seen_is_known(r->core->seen, slot) ? FLAG_SEEN : 0));
}

/* Send flags, `count` positions and, where it is known, the slot's vector. */
static void say(struct replication *r, struct replication_link *link, uint8_t kind, uint64_t number,
                uint8_t more_flags, const uint64_t positions[], uint32_t count)
{
    const uint32_t slot = replication_number_slot(number);
    const uint8_t flags = replication_flags(r, slot);
    uint8_t head[1 + 2 * 8] = {flags | more_flags};

    for (uint32_t i = 0; i < count; i++) {
        store_u64(head + 1 + 8 * (size_t)i, positions[i]);
    }
    r->answer.size = 0;
    if ((flags & FLAG_SEEN) != 0 && seen_put(r->core->seen, slot, &r->answer) != 0) {
        replication_link_cut(link); /* No memory. */
        return;
    }
    const struct bytes parts[] = {bytes_of(head, 1 + 8 * (size_t)count), buffer_bytes(&r->answer)};
    replication_link_send(link, kind, number, parts, 2);
}

/* What an end says when it opens. */
static uint8_t flags_at_open(const struct replication *r, uint32_t slot, bool nothing)
{
    const bool stray = r->table == NULL || !route_of(r, slot)->mine;

    return (uint8_t)((nothing ? FLAG_NOTHING : 0) | (stray ? FLAG_STRAY : 0));
}

/* The rest of a message is the other end's vector, if flagged. Returns 0, -EBADMSG, -ENOMEM. */
static int take_seen(struct job *job, uint8_t flags, struct reader *from)
{
    const struct bytes seen = read_bytes(from, reader_left(from));

    if (from->bad || (flags & ~(FLAGS | FLAG_NOTHING | FLAG_GIVEN | FLAG_STRAY)) != 0 ||
        ((flags & FLAG_SEEN) != 0) != (seen.size > 0)) {
        return -EBADMSG;
    }
    job->flags = flags;
    job->drops = (flags & FLAG_STRAY) != 0;
    job->seen.size = 0;
    return buffer_append(&job->seen, seen);
}

/* ---- The asking end ---- */

bool replication_job_open(struct replication *r, struct peer *peer, uint32_t slot)
{
    struct job *job = replication_job_make(r, peer->out, slot, 0);

    if (job == NULL) {
        return false;
    }
    job->state = JOB_OPENING;
    job->first = slot_first(slot);
    job->last = replication_cut_range(r, job->first, slot_last(slot), &job->nothing);
    const uint64_t range[] = {job->first, job->last};
    say(r, peer->out, REPLICATION_COMPARE_OPEN, job->number, flags_at_open(r, slot, job->nothing),
        range, 2);
    return true;
}

/* Ask for what is to be asked now; at the end of the range go on to the next one. */
static int ask(struct replication *r, struct job *job, struct buffer *items)
{
    int rc = compare_ask(&job->compare, items);

    if (rc == 0 && items->size > 0) {
        replication_link_send_bytes(job->link, REPLICATION_COMPARE_ITEMS, job->number,
                                    buffer_bytes(items));
    }
    (void)r;
    return rc;
}

static void next_range(struct replication *r, struct job *job);

/* Is it compared twice now, as both ends have asked, and this is the one that the later node asked? Then it is the other one
 * that gives all. */
static bool crosses(const struct replication *r, const struct replication_link *link, uint32_t slot)
{
    const struct peer *peer = link->peer;
    const struct replication_link *other = link->dialled ? peer->in : peer->out;

    return link->dialled == (r->options.self.node > peer->node) && other != NULL &&
           replication_job(other, slot) != NULL;
}

/* The other end takes the range up to `last`. */
static int begin_range(struct replication *r, struct job *job, uint64_t last)
{
    if (job->state != JOB_OPENING || last < job->first || last > job->last) {
        return -EBADMSG;
    }
    job->last = last;
    const bool nothing = (job->flags & FLAG_NOTHING) != 0, given = (job->flags & FLAG_GIVEN) != 0;
    const bool empty = job->nothing && nothing;
    job->nothing = false;
    job->flags &= FLAGS;
    if (empty || given || (nothing && !crosses(r, job->link, job->slot))) {
        int rc = empty || given ? 0 : replication_give_range(r, job, job->first, last);
        next_range(r, job);
        return rc;
    }
    int rc = compare_begin(&job->compare, r->memory, &job->source, job->first, last);
    if (rc != 0) {
        return rc;
    }
    job->state = JOB_COMPARING;
    r->scratch.size = 0;
    return ask(r, job, &r->scratch);
}

static void next_range(struct replication *r, struct job *job)
{
    uint8_t range[16];

    compare_end(&job->compare);
    if (job->last == slot_last(job->slot)) {
        job->state = JOB_CLOSING;
        return;
    }
    job->state = JOB_OPENING;
    job->first = job->last + 1;
    bool nothing; /* Not worth saying. */
    job->last = replication_cut_range(r, job->first, slot_last(job->slot), &nothing);
    store_u64(range, job->first);
    store_u64(range + 8, job->last);
    replication_link_send_bytes(job->link, REPLICATION_COMPARE_RANGE, job->number,
                                bytes_of(range, sizeof range));
}

static int take_answers(struct replication *r, struct job *job, struct bytes body)
{
    if (job->state != JOB_COMPARING) {
        return -EBADMSG;
    }
    r->scratch.size = 0;
    int rc = compare_take(&job->compare, body, &r->scratch);
    if (rc == 1) {
        next_range(r, job);
        return 0;
    }
    return rc != 0 ? rc : ask(r, job, &r->scratch);
}

/* The other end has merged what there was. */
static int take_merged(struct job *job, struct bytes body)
{
    if (job->state != JOB_CLOSED || body.size != 0) {
        return -EBADMSG;
    }
    job->state = JOB_SETTLING;
    return 0;
}

/* The answering end has taken over what this one had seen. */
static int take_closed(struct job *job, struct reader *from)
{
    const struct bytes at_open = buffer_bytes(&job->seen);
    const uint8_t flags = read_u8(from);

    if (job->state != JOB_SETTLED) {
        return -EBADMSG;
    }
    /* Two vectors: what it had seen when the comparison began is joined; whether the slot may be dropped here is for
     * what it has seen now to say. The first one's size is kept in `first`. */
    job->first = at_open.size;
    const struct bytes seen = read_bytes(from, reader_left(from));
    if (from->bad || (flags & ~FLAGS) != 0 || ((flags & FLAG_SEEN) != 0) != (seen.size > 0)) {
        return -EBADMSG;
    }
    job->flags |= flags & FLAG_LEVEL;
    job->state = JOB_OVER;
    return buffer_append(&job->seen, seen);
}

static int answer_to_asker(struct replication *r, struct job *job, uint8_t kind, struct bytes body)
{
    struct reader from = reader_of(body);
    uint64_t last;
    int rc;

    if (!job->opened && kind != REPLICATION_COMPARE_OPENED) {
        return -EBADMSG;
    }
    switch (kind) {
    case REPLICATION_COMPARE_OPENED: {
        job->opened = true;
        const uint8_t flags = read_u8(&from);
        last = read_u64(&from);
        rc = take_seen(job, flags, &from);
        return rc != 0 ? rc : begin_range(r, job, last);
    }
    case REPLICATION_COMPARE_RANGED:
        last = read_u64(&from);
        return !reader_done(&from) ? -EBADMSG : begin_range(r, job, last);
    case REPLICATION_COMPARE_ANSWERS:
        return take_answers(r, job, body);
    case REPLICATION_COMPARE_MERGED:
        return take_merged(job, body);
    case REPLICATION_COMPARE_CLOSED:
        return take_closed(job, &from);
    default:
        return -EBADMSG;
    }
}

/* ---- The answering end ---- */

static int open_answer(struct replication *r, struct replication_link *link, uint64_t number,
                       struct bytes body)
{
    const uint32_t slot = replication_number_slot(number);
    struct reader from = reader_of(body);
    const uint8_t flags = read_u8(&from);
    const uint64_t first = read_u64(&from), last = read_u64(&from);
    struct job *job;

    if (from.bad || first != slot_first(slot) || last < first || last > slot_last(slot) ||
        replication_job(link, slot) != NULL || link->job_count == JOBS_MAX) {
        return -EBADMSG;
    }
    if (!r->core->ready(r->core)) {
        return -EAGAIN;
    }
    job = replication_job_make(r, link, slot, number);
    if (job == NULL) {
        return -ENOMEM;
    }
    job->state = JOB_ANSWERING;
    int rc = take_seen(job, flags, &from);
    if (rc != 0) {
        replication_job_free(r, job);
        return rc;
    }
    bool nothing;
    job->last = replication_cut_range(r, first, last, &nothing);
    const bool gives = (flags & FLAG_NOTHING) != 0 && !crosses(r, link, slot);
    say(r, link, REPLICATION_COMPARE_OPENED, number,
        flags_at_open(r, slot, nothing) | (gives ? FLAG_GIVEN : 0), &job->last, 1);
    job->failed = gives && replication_give_range(r, job, first, job->last) != 0;
    return 0;
}

static int answer_range(struct replication *r, struct job *job, struct bytes body)
{
    struct reader from = reader_of(body);
    const uint64_t first = read_u64(&from), last = read_u64(&from);
    uint8_t answer[8];

    if (!reader_done(&from) || first > last || slot_of_position(first) != job->slot ||
        slot_of_position(last) != job->slot) {
        return -EBADMSG;
    }
    bool nothing;
    store_u64(answer, replication_cut_range(r, first, last, &nothing));
    replication_link_send_bytes(job->link, REPLICATION_COMPARE_RANGED, job->number,
                                bytes_of(answer, sizeof answer));
    return 0;
}

static int answer_items(struct replication *r, struct job *job, struct bytes body)
{
    r->scratch.size = 0;
    int rc = compare_answer(&job->source, body, &r->scratch);
    if (rc >= 0 && r->scratch.size > 0) {
        replication_link_send_bytes(job->link, REPLICATION_COMPARE_ANSWERS, job->number,
                                    buffer_bytes(&r->scratch));
    }
    return rc < 0 ? rc : 0;
}

static int ask_to_answerer(struct replication *r, struct job *job, uint8_t kind, struct bytes body)
{
    if (kind == REPLICATION_COMPARE_SETTLED) {
        return take_merged(job, body);
    }
    if (job->state != JOB_ANSWERING) {
        return -EBADMSG;
    }
    switch (kind) {
    case REPLICATION_COMPARE_RANGE:
        return answer_range(r, job, body);
    case REPLICATION_COMPARE_ITEMS:
        return answer_items(r, job, body);
    case REPLICATION_COMPARE_CLOSE:
        job->state = JOB_CLOSING;
        return body.size == 0 ? 0 : -EBADMSG;
    default:
        return -EBADMSG;
    }
}

/* ---- Work ---- */

static void take(struct replication *r, struct replication_link *link, uint8_t kind,
                 uint64_t number, struct bytes body)
{
    const uint32_t slot = replication_number_slot(number);
    int rc;

    if (slot >= SLOT_COUNT || !has_slot(r, link->peer, slot)) {
        replication_link_bad(link);
        return;
    }
    struct job *job = replication_job_of(link, number);
    if (kind == REPLICATION_COMPARE_OPEN && !link->dialled) {
        rc = open_answer(r, link, number, body);
        if (rc != 0 && rc != -EBADMSG) {
            replication_link_send_bytes(link, REPLICATION_COMPARE_FAILED, number,
                                        bytes_of(NULL, 0));
            return;
        }
        job = NULL;
    } else if (job == NULL && kind == REPLICATION_COMPARE_FAILED) {
        /* What it was sent back last it could not merge, which it finds out when this end has done. */
        replication_slot_uncovered(r, link->peer, slot);
        return;
    } else if (job == NULL) {
        return; /* It has failed here; the other end is told. */
    } else if (kind == REPLICATION_COMPARE_FAILED) {
        replication_job_fail(r, job, false);
        return;
    } else {
        rc = link->dialled ? answer_to_asker(r, job, kind, body)
                           : ask_to_answerer(r, job, kind, body);
    }
    if (rc == -EBADMSG) {
        replication_link_bad(link);
    } else if (rc != 0 && job != NULL) {
        replication_job_fail(r, job, true);
    }
}

static void send_nothing(struct job *job, uint8_t kind, enum job_state next)
{
    job->state = next;
    replication_link_send_bytes(job->link, kind, job->number, bytes_of(NULL, 0));
}

static void end_asking(struct replication *r, struct job *job)
{
    const size_t at_open = (size_t)job->first;
    struct reader seen = reader_of(buffer_bytes(&job->seen));

    (void)read_bytes(&seen, at_open);
    const struct bytes now = read_bytes(&seen, reader_left(&seen));
    job->seen.size = at_open;
    replication_job_done(r, job, job->flags, now);
}

static void end_answering(struct replication *r, struct job *job)
{
    struct replication_link *link = job->link;
    const uint64_t number = job->number;

    replication_job_done(r, job, job->flags, bytes_of(NULL, 0));
    say(r, link, REPLICATION_COMPARE_CLOSED, number, 0, NULL, 0);
}

/* Has the log here not come any further since it was waited for in vain? */
static bool log_hangs(const struct replication *r)
{
    return r->hung_lsn != 0 && !r->core->durable(r->core, r->hung_lsn);
}

/* The other end is told that all is here, once it is so over a crash, too; one that drops nothing by it is not kept for long. */
static void store(struct replication *r, struct job *job)
{
    const uint64_t passed_us = r->now_us - job->stores_us;

    if (!r->core->durable(r->core, job->lsn)) {
        if (passed_us >= STORE_US && !log_hangs(r)) {
            r->hung_lsn = job->lsn;
        }
        if (job->drops && passed_us >= STORE_STRAY_US) {
            replication_job_fail(r, job, true);
            return;
        }
        if (job->drops || !log_hangs(r)) {
            return;
        }
    }
    if (job->link->dialled) {
        send_nothing(job, REPLICATION_COMPARE_SETTLED, JOB_SETTLED);
    } else {
        end_answering(r, job);
    }
}

/* What is sent, merged and said: on to the next state. */
static void move_on(struct replication *r, struct job *job)
{
    const bool asks = job->link->dialled, merged = job->sends + job->merges == 0;

    if (job->failed) {
        replication_job_fail(r, job, true);
    } else if (job->state == JOB_CLOSING && asks && job->sends == 0) {
        send_nothing(job, REPLICATION_COMPARE_CLOSE, JOB_CLOSED);
    } else if (job->state == JOB_CLOSING && merged) {
        send_nothing(job, REPLICATION_COMPARE_MERGED, JOB_CLOSED);
    } else if (job->state == JOB_SETTLING && merged) {
        job->state = JOB_STORING;
        job->lsn = r->core->appended(r->core);
        job->stores_us = r->now_us;
        store(r, job);
    } else if (job->state == JOB_STORING) {
        store(r, job);
    } else if (job->state == JOB_OVER && merged) {
        end_asking(r, job);
    }
}

bool replication_compare_work(struct replication *r, struct replication_link *link)
{
    uint8_t kind;
    uint64_t number;
    struct bytes body;

    while (r->work > 0 && !link->cut && link->heals.count < SENDS_QUEUED &&
           replication_link_kept(link, &kind, &number, &body)) {
        take(r, link, kind, number, body);
    }
    for (uint32_t i = 0; link->job_count > 0 && !link->cut && i < JOBS_MAX; i++) {
        if (link->job_slots[i] != NOBODY) {
            move_on(r, &link->jobs[i]);
        }
    }
    return r->work <= 0 && link->inbox.size > link->inbox_at;
}
