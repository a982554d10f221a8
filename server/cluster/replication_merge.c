/* Streams in: each record to the shard, in order. Some are parked there while later ones go on; acknowledged is what
 * lies before the first that is not merged, and only that far is the slot's `seen` moved on, where the slot is whole.
 *
 *   IN_DOWN --link up--> IN_HELLO --BEGIN--> IN_RUNNING --the shard cannot--> IN_HELD --after a while--> IN_HELLO
 *
 * While it is held, what comes is dropped: the sender has it, and sends it again after the next HELLO. */
#include "replication_private.h"

#include <errno.h>

#include "log_kind.h"

enum { TICKET_RECORD = 1, TICKET_WHOLE = 2, TICKET_COPY = 3 };
enum { GENERATION_BITS = 14, JOB_SERIAL_BITS = 17 };

enum {
    HELLO_US = 500 * 1000, /* Without an answer for so long it is said again. */
    PREFETCH_AHEAD = 8,    /* Records. */
};

/* ---- Tickets: u2 what, u16 peer, u14 generation or link, u32 number or job ---- */

static uint64_t ticket_of(uint32_t what, const struct peer *peer, uint32_t generation, uint32_t low)
{
    return (uint64_t)what << 62 | (uint64_t)peer->index << 46 |
           (uint64_t)(generation & ((1U << GENERATION_BITS) - 1)) << 32 | low;
}

static uint32_t job_low(const struct replication_link *link, const struct job *job)
{
    return (uint32_t)job->slot << 18 | (link->dialled ? 1U << JOB_SERIAL_BITS : 0) |
           (job->serial & ((1U << JOB_SERIAL_BITS) - 1));
}

/* ---- Begin, hold, end ---- */

/* Something may be missing from here on: a pass begins at once. */
static void begin_gap(struct peer *peer)
{
    peer->in_turn++;
    peer->resting = false;
    peer->cursor = peer->needed = peer->passes = 0;
}

static void say_hello(struct replication *r, struct peer *peer)
{
    uint8_t body[16];

    peer->generation++;
    while (peer->pending.count > 0) {
        queue_pop(&peer->pending);
    }
    peer->open = 0;
    peer->stream_in.applied = peer->acked;
    peer->in_state = IN_HELLO;
    store_u64(body, peer->poisoned ? 0 : peer->stream_in.life);
    store_u64(body + 8, peer->poisoned ? 0 : peer->acked);
    replication_link_send_bytes(peer->in, REPLICATION_HELLO, peer->generation,
                                bytes_of(body, sizeof body));
    peer->hello_us = r->now_us;
}

void replication_in_up(struct replication *r, struct peer *peer)
{
    const struct actor sender = {peer->node, peer->start};

    if (actor_compare(peer->stream_in.sender, sender) != 0) {
        stream_in_init(&peer->stream_in, sender);
        peer->acked = 0;
        begin_gap(peer);
    }
    say_hello(r, peer);
}

void replication_in_down(struct peer *peer)
{
    peer->in_state = IN_DOWN;
}

void replication_take_begin(struct replication *r, struct peer *peer, uint64_t number,
                            struct bytes body)
{
    struct reader from = reader_of(body);
    const uint64_t life = read_u64(&from);
    const uint8_t resumed = read_u8(&from);

    (void)r;
    if (reader_done(&from) && number != peer->generation) {
        return; /* The answer to an earlier HELLO. */
    }
    if (!reader_done(&from) || resumed > 1 || peer->in_state != IN_HELLO ||
        (resumed == 1 && peer->poisoned) ||
        stream_in_begin(&peer->stream_in, life, resumed == 1) != 0) {
        replication_link_bad(peer->in);
        return;
    }
    if (resumed == 0) {
        peer->acked = 0;
        peer->poisoned = false;
        begin_gap(peer);
    }
    peer->ack_sent = peer->acked;
    peer->in_state = IN_RUNNING;
}

static void hold(struct replication *r, struct peer *peer)
{
    if (peer->in_state != IN_RUNNING) {
        return;
    }
    peer->hold_ms = peer->hold_ms == 0                ? HOLD_MS_MIN
                    : peer->hold_ms < HOLD_MS_MAX / 2 ? 2 * peer->hold_ms
                                                      : HOLD_MS_MAX;
    peer->held_until_us = r->now_us + (uint64_t)peer->hold_ms * 1000;
    peer->in_state = IN_HELD;
    r->stats.held++;
}

static void poison(struct peer *peer)
{
    peer->poisoned = true;
    if (peer->in != NULL) {
        replication_link_bad(peer->in);
    }
}

/* ---- What the shard says ---- */

/* The record was merged, or what it lacked: acknowledged is what has nothing before it that was not. */
static void advance(struct replication *r, struct peer *peer)
{
    while (peer->pending.count > 0) {
        const struct pending *first = queue_at(&peer->pending, 0);
        const uint32_t slot = slot_of_position(first->position);
        const uint8_t state = first->state;
        const uint32_t node = first->wholes;
        if (state != PENDING_MERGED && state != PENDING_RELEASE && state != PENDING_UNKEPT) {
            return;
        }
        if (first->hlc != 0 && stream_in_is_whole(&peer->stream_in, slot)) {
            /* Where it fails the vector says less than is true. */
            (void)seen_advance(
                r->core->seen, slot,
                (struct stamp){first->hlc, actor_of_era(peer->stream_in.sender, first->era)});
        }
        queue_pop(&peer->pending);
        peer->acked++;
        peer->hold_ms = 0;
        peer->told_us = r->now_us;
        r->stats.records_in++;
        if (state == PENDING_RELEASE) {
            replication_switch_released(r, peer, slot);
        } else if (state == PENDING_UNKEPT) {
            replication_switch_unkept(r, peer, slot, node);
        }
    }
}

static bool is_for_now(enum status status)
{
    return status == STATUS_BUSY || status == STATUS_MEMORY_FULL || status == STATUS_DISK_FULL ||
           status == STATUS_LOG_FAILED || status == STATUS_UNAVAILABLE ||
           status == STATUS_STOPPING || status == STATUS_NO_MEMORY;
}

/* A delta whose base is not here: the rest goes on while the whole session is asked for. */
static void ask_for_whole(struct replication *r, struct peer *peer, struct pending *pending,
                          uint64_t number)
{
    uint8_t body[16];

    pending->state = PENDING_ASKED;
    store_u64(body, peer->stream_in.life);
    store_u64(body + 8, pending->position);
    replication_link_send_bytes(peer->in, REPLICATION_WHOLE_ASK, number,
                                bytes_of(body, sizeof body));
    r->stats.wholes_asked++;
}

static void check_wholes(struct replication *r, struct peer *peer, struct pending *pending)
{
    if (pending->state == PENDING_ASKED && pending->given && pending->wholes == 0) {
        pending->state = PENDING_MERGED;
        advance(r, peer);
    }
}

static struct pending *pending_of(struct peer *peer, uint32_t low, uint64_t *number)
{
    const uint32_t index = low - (uint32_t)(peer->acked + 1);

    *number = peer->acked + 1 + index;
    return index < peer->pending.count ? queue_at(&peer->pending, index) : NULL;
}

/* What came is dead here, and its death is known: the other end is told. Where it cannot be now, a comparison will. */
static void send_back(struct replication_link *link, uint64_t position)
{
    if (link != NULL && !link->cut) {
        (void)replication_send_whole(link, REPLICATION_COPY, 0, position);
    }
}

/* It has been merged here. Who owns the slot has what he sent. */
static void note_merged(struct replication *r, const struct peer *from, uint32_t slot,
                        bool streamed)
{
    if (!route_of(r, slot)->mine &&
        (streamed || !slot_owners_has(&r->table->owners[slot], from->node))) {
        replication_stray_grew(r, slot);
    }
}

static void record_merged(struct replication *r, struct peer *peer, uint32_t low,
                          enum status status)
{
    uint64_t number;
    struct pending *pending = pending_of(peer, low, &number);

    if (pending == NULL || pending->state != PENDING_OPEN) {
        return;
    }
    peer->open--;
    if (status == STATUS_DESTROYED) {
        send_back(peer->in, pending->position);
    }
    if (status == STATUS_OK || status == STATUS_DESTROYED) {
        note_merged(r, peer, slot_of_position(pending->position), true);
        pending->state = PENDING_MERGED;
        advance(r, peer);
    } else if ((status == STATUS_VERSION_MISMATCH || status == STATUS_DAMAGED) &&
               peer->in != NULL) {
        ask_for_whole(r, peer, pending, number);
    } else {
        pending->state = PENDING_FAILED;
        if (is_for_now(status)) {
            hold(r, peer);
        } else {
            poison(peer);
        }
    }
}

static void whole_merged(struct replication *r, struct peer *peer, uint32_t low, enum status status)
{
    uint64_t number;
    struct pending *pending = pending_of(peer, low, &number);

    if (pending == NULL || pending->state != PENDING_ASKED || pending->wholes == 0) {
        return;
    }
    pending->wholes--;
    if (status == STATUS_DESTROYED) {
        send_back(peer->in, pending->position);
    }
    if (status == STATUS_OK || status == STATUS_DESTROYED || status == STATUS_DAMAGED) {
        note_merged(r, peer, slot_of_position(pending->position), true);
        /* What cannot be mended here is for whoever looks after damage; the others' sessions go on. */
        check_wholes(r, peer, pending);
        return;
    }
    pending->state = PENDING_FAILED;
    if (is_for_now(status)) {
        hold(r, peer);
    } else {
        poison(peer);
    }
}

void replication_merged(struct replication *r, uint64_t ticket, enum status status)
{
    const uint32_t what = (uint32_t)(ticket >> 62), index = (uint32_t)(ticket >> 46 & 0xffff);
    const uint32_t generation = (uint32_t)(ticket >> 32) & ((1U << GENERATION_BITS) - 1);
    const uint32_t low = (uint32_t)ticket;
    struct peer *peer = index < r->peer_capacity ? r->peers[index] : NULL;

    if (peer == NULL) {
        return;
    }
    if (what == TICKET_COPY) {
        struct replication_link *link = (low >> JOB_SERIAL_BITS & 1) != 0 ? peer->out : peer->in;
        struct job *job = NULL;
        if (link != NULL && (link->serial & ((1U << GENERATION_BITS) - 1)) == generation) {
            job = replication_job(link, low >> 18);
        }
        if (job != NULL && job_low(link, job) == low && job->merges > 0) {
            /* Where it had to wait it is not known any more which one it was: the next comparison will. */
            const bool sent_back = status == STATUS_DESTROYED && r->copying != 0 &&
                                   replication_job_send(job, r->copying) == 0;
            note_merged(r, peer, job->slot, false);
            replication_job_merged(r, job, status == STATUS_OK || sent_back);
        }
        return;
    }
    if (generation != (peer->generation & ((1U << GENERATION_BITS) - 1))) {
        return; /* It was sent again since. */
    }
    if (what == TICKET_RECORD) {
        record_merged(r, peer, low, status);
    } else if (what == TICKET_WHOLE) {
        whole_merged(r, peer, low, status);
    }
}

/* ---- Runs ---- */

struct applying {
    struct replication *r;
    struct peer *peer;
    struct reader found, finding; /* Records ahead, whose memory is being fetched. */
};

/* A cold look-up costs ten times one that was fetched ahead: the next record of the run, if there is one. */
static void prefetch(struct replication *r, struct reader *ahead, bool found)
{
    struct reader record = reader_of(read_bytes(ahead, read_u32(ahead)));

    (void)read_u8(&record);
    const uint64_t position = read_u64(&record);
    if (!ahead->bad && !record.bad) {
        r->core->prefetch(r->core, position, found);
    }
}

static void prefetch_first(struct applying *applying)
{
    if (applying->r->core->prefetch == NULL) {
        applying->found.bad = applying->finding.bad = true;
        return;
    }
    for (uint32_t i = 0; i < 2 * PREFETCH_AHEAD; i++) {
        prefetch(applying->r, &applying->finding, false);
    }
    for (uint32_t i = 0; i < PREFETCH_AHEAD; i++) {
        prefetch(applying->r, &applying->found, true);
    }
}

static void prefetch_next(struct applying *applying)
{
    if (!applying->found.bad) {
        prefetch(applying->r, &applying->finding, false);
        prefetch(applying->r, &applying->found, true);
    }
}

/* What is streamed from here on is other slots: where they changed something may be missing. */
static int take_covers(struct peer *peer, struct bytes body)
{
    struct reader from = reader_of(body);

    while (reader_left(&from) > 0) {
        uint8_t low = read_u8(&from), high = read_u8(&from);
        uint32_t slot = low | (uint32_t)high << 8;
        if (from.bad || slot >= SLOT_COUNT) {
            return -EBADMSG;
        }
        stream_in_clear_whole(&peer->stream_in, slot);
    }
    begin_gap(peer);
    return 0;
}

static bool is_known(uint8_t kind)
{
    return kind == LOG_FULL || kind == LOG_DELTA || kind == LOG_BATCH || kind == LOG_TOUCH ||
           kind == LOG_BURY || kind == KIND_COVERS || kind == KIND_RELEASE || kind == KIND_UNKEPT;
}

/* Who has no part in the slot, by the table here, goes by another one: it may not know who has one now. */
static void check_sender(struct replication *r, const struct peer *peer, uint32_t slot)
{
    if (!slot_set_has(&peer->covers, slot)) {
        replication_came_alone(r, peer, slot);
    }
}

static int apply(void *context, const struct stream_record *record)
{
    struct applying *applying = context;
    struct replication *r = applying->r;
    struct peer *peer = applying->peer;
    const uint64_t number = peer->stream_in.applied + 1;
    struct pending *pending;

    prefetch_next(applying);
    if (!has_slot(r, peer, slot_of_position(record->position)) || !is_known(record->kind)) {
        return -EBADMSG;
    }
    pending = queue_push(&peer->pending, r->memory, sizeof *pending, PENDING_MAX);
    if (pending == NULL) {
        return -EBUSY;
    }
    *pending =
        (struct pending){.position = record->position, .hlc = record->hlc, .era = record->era};
    if (record->kind == KIND_COVERS) {
        int rc = take_covers(peer, record->body);
        pending->hlc = 0;
        pending->state = PENDING_MERGED;
        if (rc == 0) {
            advance(r, peer);
        }
        return rc;
    }
    if (record->kind == KIND_RELEASE || record->kind == KIND_UNKEPT) {
        struct reader from = reader_of(record->body);
        pending->hlc = 0;
        pending->wholes = read_u32(&from);
        pending->state = record->kind == KIND_RELEASE ? PENDING_RELEASE : PENDING_UNKEPT;
        if (!reader_done(&from)) {
            return -EBADMSG;
        }
        advance(r, peer);
        return 0;
    }
    const struct replication_copy copy = {
        .ticket = ticket_of(TICKET_RECORD, peer, peer->generation, (uint32_t)number),
        .kind = record->kind,
        .position = record->position,
        .body = record->body,
    };
    check_sender(r, peer, slot_of_position(record->position));
    peer->open++;
    r->core->copy(r->core, &copy, r->now_ms, r->now_us);
    return peer->in_state == IN_HELD ? -EBUSY : peer->poisoned ? -EBADMSG : 0;
}

void replication_take_run(struct replication *r, struct peer *peer, uint64_t number,
                          struct bytes run)
{
    struct applying applying = {r, peer, reader_of(run), reader_of(run)};

    if (peer->in_state != IN_RUNNING) {
        return; /* It will be sent again. */
    }
    prefetch_first(&applying);
    int rc = stream_in_receive(&peer->stream_in, number, run, apply, &applying);
    if (rc == -EBUSY) {
        hold(r, peer);
    } else if (rc != 0) {
        poison(peer);
    }
    peer->ack_bytes += run.size;
    if (peer->ack_bytes >= ACK_BYTES) {
        replication_send_acks(r, peer);
    }
}

void replication_send_acks(struct replication *r, struct peer *peer)
{
    uint8_t life[8];

    if (peer->in == NULL || peer->in->cut) {
        return;
    }
    if (peer->in_state == IN_HELD && peer->open == 0 && r->now_us >= peer->held_until_us) {
        say_hello(r, peer);
    } else if (peer->in_state == IN_HELLO && r->now_us - peer->hello_us >= HELLO_US) {
        say_hello(r, peer); /* The other end may not have been ready to hear it. */
    }
    if ((peer->in_state == IN_RUNNING || peer->in_state == IN_HELD) &&
        peer->acked != peer->ack_sent) {
        store_u64(life, peer->stream_in.life);
        replication_link_send_bytes(peer->in, REPLICATION_ACK, peer->acked,
                                    bytes_of(life, sizeof life));
        peer->ack_sent = peer->acked;
    }
    peer->ack_bytes = 0;
}

/* ---- Whole sessions ---- */

static bool read_whole(const struct replication *r, const struct peer *peer, struct bytes body,
                       struct replication_copy *copy)
{
    struct reader from = reader_of(body);

    *copy = (struct replication_copy){.kind = LOG_FULL, .position = read_u64(&from)};
    copy->body = read_bytes(&from, reader_left(&from));
    return !from.bad && copy->body.size > 0 && has_slot(r, peer, slot_of_position(copy->position));
}

void replication_take_whole(struct replication *r, struct peer *peer, uint64_t number,
                            struct bytes body)
{
    struct replication_copy copy;
    uint64_t found;
    struct pending *pending = pending_of(peer, (uint32_t)number, &found);

    if (!read_whole(r, peer, body, &copy)) {
        replication_link_bad(peer->in);
        return;
    }
    if (pending == NULL || found != number || pending->state != PENDING_ASKED) {
        return; /* The record is sent again, and asks again if need be. */
    }
    copy.ticket = ticket_of(TICKET_WHOLE, peer, peer->generation, (uint32_t)number);
    check_sender(r, peer, slot_of_position(copy.position));
    pending->wholes++;
    r->core->copy(r->core, &copy, r->now_ms, r->now_us);
}

void replication_take_whole_done(struct replication *r, struct peer *peer, uint64_t number)
{
    uint64_t found;
    struct pending *pending = pending_of(peer, (uint32_t)number, &found);

    if (pending != NULL && found == number && pending->state == PENDING_ASKED) {
        pending->given = true;
        check_wholes(r, peer, pending);
    }
}

void replication_take_copy(struct replication *r, struct replication_link *link, struct job *job,
                           struct bytes body)
{
    struct replication_copy copy;

    if (!read_whole(r, link->peer, body, &copy) ||
        (job != NULL && slot_of_position(copy.position) != job->slot)) {
        replication_link_bad(link);
        return;
    }
    if (job != NULL) {
        job->merges++;
        r->stats.healed_in++;
        copy.ticket = ticket_of(TICKET_COPY, link->peer, link->serial, job_low(link, job));
    }
    replication_came_alone(r, link->peer, slot_of_position(copy.position));
    r->copying = copy.position;
    r->core->copy(r->core, &copy, r->now_ms, r->now_us);
    r->copying = 0;
}
