#include "replication.h"

#include <assert.h>
#include <errno.h>

#include "replication_private.h"

enum {
    TICK_MS = 10,
    IDLE_TICK_MS = 50,
    DOUBT_US =
        30 * 1000,   /* A copy is not acknowledged, and nothing else is heard, for so long... */
    DOUBT_PINGS = 2, /* ... then so many PINGs are sent, as packets get lost... */
    DOUBT_PING_US = 20 * 1000, /* ... with so much between them... */
    UNHEEDED_US = 50 * 1000,   /* ... and if none of them has come there by then, none will. */
};

#define LINK_DEAD_US (UINT64_C(10) * REPLICATION_SILENCE_MS * 1000)

int replication_create(const struct replication_options *options, uint64_t now_ms, uint64_t now_us,
                       struct replication **replication)
{
    struct memory *memory = options->memory;
    struct replication *r = memory->resize(memory, NULL, 0, sizeof *r);

    assert(options->shards > 0 && options->shard < options->shards);
    if (r == NULL) {
        return -ENOMEM;
    }
    *r = (struct replication){
        .options = *options,
        .memory = memory,
        .port = options->port,
        .core = options->core,
        .now_ms = now_ms,
        .now_us = now_us,
        .start_us = now_us,
        .heal_us = now_us,
        .copy_base = 1,
        .copy_next = 1,
        .stray_cursor = options->shard,
        .scratch = {.memory = memory},
        .answer = {.memory = memory},
        .token = {.memory = memory},
        .other_token = {.memory = memory},
        .batch = {.memory = memory},
    };
    if (r->options.silence_ms == 0) {
        r->options.silence_ms = REPLICATION_SILENCE_MS;
    }
    if (r->options.hold_ms == 0) {
        r->options.hold_ms = REPLICATION_HOLD_MS;
    }
    r->burials = memory->resize(memory, NULL, 0, BURIALS_MAX * sizeof *r->burials);
    if (r->burials == NULL) {
        memory->resize(memory, r, sizeof *r, 0);
        return -ENOMEM;
    }
    memset(r->burials, 0, BURIALS_MAX * sizeof *r->burials);
    *replication = r;
    return 0;
}

void replication_destroy(struct replication *r)
{
    if (r == NULL) {
        return;
    }
    replication_peers_free(r);
    queue_fini(&r->copies, r->memory);
    buffer_fini(&r->scratch);
    buffer_fini(&r->answer);
    buffer_fini(&r->token);
    buffer_fini(&r->other_token);
    buffer_fini(&r->batch);
    r->memory->resize(r->memory, r->burials, BURIALS_MAX * sizeof *r->burials, 0);
    r->memory->resize(r->memory, r, sizeof *r, 0);
}

static void take_time(struct replication *r, uint64_t now_ms, uint64_t now_us)
{
    r->now_ms = now_ms;
    r->now_us = now_us;
}

/* ---- Links ---- */

/* Whether the peer can be reached may have changed. */
static void look(struct replication *r, struct peer *peer)
{
    const bool reachable = replication_peer_reaches(r, peer);

    if (reachable) {
        peer->heard_us = r->now_us;
    }
    if (reachable == peer->reachable) {
        return;
    }
    peer->reachable = reachable;
    if (reachable) {
        peer->reached_ms = r->now_ms;
    } else {
        r->away++;
        replication_copies_leave(r, peer, false);
    }
    if (r->table != NULL) {
        replication_reach_changed(r, peer);
    }
}

static uint32_t common(uint32_t a, uint32_t b)
{
    while (b != 0) {
        const uint32_t rest = a % b;
        a = b;
        b = rest;
    }
    return a;
}

/* Nothing is said on a link that another has replaced, until the caller says that it is down. */
static void retire(struct replication *r, struct replication_link *link)
{
    struct peer *peer = link->peer;

    replication_jobs_drop(r, link);
    replication_wholes_forget(r, link);
    if (peer->out == link) {
        peer->out = NULL;
        replication_out_down(r, peer);
    } else if (peer->in == link) {
        peer->in = NULL;
        replication_in_down(peer);
    }
    look(r, peer);
}

int replication_link_up(struct replication *r, const struct replication_peer *peer, void *link,
                        uint64_t now_ms, uint64_t now_us, struct replication_link **made)
{
    take_time(r, now_ms, now_us);
    if (peer->shards == 0 || peer->shard >= peer->shards || peer->node == r->options.self.node ||
        (peer->shard + (uint64_t)r->options.shards * peer->shards - r->options.shard) %
                common(r->options.shards, peer->shards) !=
            0) {
        return -EINVAL;
    }
    struct peer *with = replication_peer_take(r, peer->node, peer->shard, peer->shards);
    struct replication_link *new = NULL;
    if (with != NULL && peer->dialled && with->out != NULL) {
        return -EEXIST; /* Its runs may still be being sent from where they lie. */
    }
    if (with == NULL || replication_link_make(r, with, link, peer->dialled, &new) != 0) {
        return -ENOMEM;
    }
    if (!peer->dialled && with->in != NULL) {
        replication_link_cut(with->in);
        retire(r, with->in);
    }
    with->shards = peer->shards;
    with->start = peer->start;
    if (peer->dialled) {
        with->out = new;
        replication_out_up(with);
    } else {
        with->in = new;
        replication_in_up(r, with);
    }
    *made = new;
    return 0;
}

void replication_link_down(struct replication *r, struct replication_link *link, uint64_t now_ms,
                           uint64_t now_us)
{
    struct peer *peer = link->peer;

    take_time(r, now_ms, now_us);
    link->cut = true;
    if (peer->out == link || peer->in == link) {
        retire(r, link);
    }
    replication_link_free(link);
    replication_peer_drop(r, peer);
}

/* ---- Messages ---- */

static void hear(struct replication_link *link, uint64_t now_us)
{
    link->heard_us = now_us;
    link->spared = false;
}

static bool is_compare(uint8_t kind)
{
    return (kind >= REPLICATION_COMPARE_OPEN && kind <= REPLICATION_COMPARE_FAILED &&
            kind != REPLICATION_COMPARE_RECORD) ||
           kind == REPLICATION_COMPARE_MERGED || kind == REPLICATION_COMPARE_SETTLED;
}

/* Those that come from who dialled. */
static bool take_of_dialler(struct replication *r, struct replication_link *link, uint8_t kind,
                            uint64_t number, struct bytes body)
{
    switch (kind) {
    case REPLICATION_BEGIN:
        replication_take_begin(r, link->peer, number, body);
        return true;
    case REPLICATION_RUN:
        replication_take_run(r, link->peer, number, body);
        return true;
    case REPLICATION_WHOLE:
        replication_take_whole(r, link->peer, number, body);
        return true;
    case REPLICATION_WHOLE_DONE:
        replication_take_whole_done(r, link->peer, number);
        return true;
    case REPLICATION_BURY_ASK:
        replication_take_bury_ask(r, link, body);
        return true;
    case REPLICATION_SEEN_ASK:
        replication_take_seen_ask(r, link, number, body);
        return true;
    case REPLICATION_KEEP:
        return replication_take_keep(r, link, body);
    default:
        return false;
    }
}

/* Those that come back to who dialled. */
static bool take_of_acceptor(struct replication *r, struct replication_link *link, uint8_t kind,
                             uint64_t number, struct bytes body)
{
    switch (kind) {
    case REPLICATION_HELLO:
        replication_take_hello(r, link->peer, number, body);
        return true;
    case REPLICATION_ACK:
        replication_take_ack(r, link->peer, number, body);
        return true;
    case REPLICATION_WHOLE_ASK:
        replication_take_whole_ask(r, link->peer, number, body);
        return true;
    case REPLICATION_BURY_ANSWER:
        replication_take_bury_answer(r, link, body);
        return true;
    case REPLICATION_SEEN:
        replication_take_seen(r, link, number, body);
        return true;
    case REPLICATION_TAKE:
        return replication_take_take(r, link, body);
    default:
        return false;
    }
}

static bool take(struct replication *r, struct replication_link *link, uint8_t kind,
                 uint64_t number, struct bytes body)
{
    if (kind == REPLICATION_PING) {
        return true;
    }
    if (is_compare(kind)) {
        return replication_link_keep(link, kind, number, body);
    }
    if (kind == REPLICATION_COMPARE_CREDIT) {
        return replication_take_credit(link, number, body);
    }
    if (kind == REPLICATION_COMPARE_RECORD && replication_number_slot(number) < SLOT_COUNT) {
        replication_credit_came(link, body.size);
        replication_take_copy(r, link, replication_job_of(link, number), body);
        return true;
    }
    if (kind == REPLICATION_COPY) {
        replication_take_copy(r, link, NULL, body);
        return true;
    }
    return link->dialled ? take_of_acceptor(r, link, kind, number, body)
                         : take_of_dialler(r, link, kind, number, body);
}

void replication_receive(struct replication *r, struct replication_link *link, uint8_t kind,
                         uint64_t number, struct bytes body, uint64_t now_ms, uint64_t now_us)
{
    take_time(r, now_ms, now_us);
    hear(link, now_us);
    if (link->cut || r->table == NULL) {
        /* Without a table nobody knows what is right. A HELLO that is not heard is said again with the next link. */
        if (!link->cut) {
            replication_link_cut(link);
        }
        return;
    }
    if (!take(r, link, kind, number, body)) {
        replication_link_bad(link);
    }
}

void replication_heard(struct replication *r, struct replication_link *link, uint64_t now_us)
{
    (void)r;
    hear(link, now_us);
}

void replication_writable(struct replication *r, struct replication_link *link, uint64_t now_ms,
                          uint64_t now_us)
{
    take_time(r, now_ms, now_us);
    replication_link_flush(link);
}

/* ---- The tick ---- */

static void spare(struct replication *r, struct replication_link *link, uint64_t before_us)
{
    const uint64_t silence_us = (uint64_t)r->options.silence_ms * 1000;

    if (link != NULL) {
        link->heard_us = replication_heard_before_pause(link->heard_us, before_us, r->now_us,
                                                        silence_us, &link->spared);
    }
}

void replication_paused(struct replication *r, uint64_t now_ms, uint64_t now_us)
{
    const uint64_t before_us = r->now_us, paused_us = now_us - before_us;

    take_time(r, now_ms, now_us);
    r->start_us += paused_us; /* Nobody was sought meanwhile. */
    for (uint32_t i = 0; i < r->peer_capacity; i++) {
        struct peer *peer = r->peers[i];
        if (peer != NULL) {
            peer->heard_us += peer->heard_us == 0 ? 0 : paused_us;
            spare(r, peer->out, before_us);
            spare(r, peer->in, before_us);
        }
    }
    r->away++;
    r->asks++; /* What was asked before is answered with what was so before. */
    if (r->table != NULL) {
        replication_take_anew(r);
    }
}

/* Keep it alive, or find that it is not. */
static void ping(struct replication *r, struct replication_link *link)
{
    const uint64_t third_us = (uint64_t)r->options.silence_ms * 1000 / 3;
    const uint64_t most_us = (uint64_t)REPLICATION_PING_MS * 1000;

    if (link == NULL || link->cut) {
        return;
    }
    if (r->now_us - link->heard_us >= LINK_DEAD_US) {
        replication_link_cut(link);
    } else if (r->now_us - link->sent_us >= (third_us < most_us ? third_us : most_us) &&
               replication_link_is_clear(link)) {
        (void)replication_link_try(link, REPLICATION_PING, 0, bytes_of(NULL, 0));
    }
}

/* Do copies still come there? Where the way is gone, writes need not wait until the silence has lasted for so long that others
 * may take a node's place: they have no copy, and their answers say so. A process that is slow, or stopped, is not that.
 * Returns whether to look again soon. */
static bool doubt(struct replication *r, struct peer *peer)
{
    const struct flight *oldest = peer->flights.count == 0 ? NULL : queue_at(&peer->flights, 0);
    struct replication_link *link = peer->out;

    if (link == NULL || !peer->reachable || link->heard_us >= peer->doubt_us) {
        peer->unheeded = false;
        peer->doubt_us = peer->doubts = 0;
    }
    if (r->port->unheeded == NULL || link == NULL || !peer->reachable || peer->unheeded ||
        oldest == NULL) {
        return false;
    }
    if (r->now_us - oldest->us < DOUBT_US || r->now_us - link->heard_us < DOUBT_US) {
        return true;
    }
    if (peer->doubt_us == 0) {
        peer->doubt_us = r->now_us;
    }
    const uint64_t passed_us = r->now_us - peer->doubt_us;
    if (peer->doubts < DOUBT_PINGS && passed_us >= (uint64_t)peer->doubts * DOUBT_PING_US) {
        peer->doubts++;
        (void)replication_link_try(link, REPLICATION_PING, 0, bytes_of(NULL, 0));
    } else if (passed_us >= UNHEEDED_US && r->port->unheeded(r->port, link->link, passed_us)) {
        peer->unheeded = true;
        r->stats.unheeded++;
        replication_copies_leave(r, peer, true);
    }
    return true;
}

/* Returns whether there is more to do now. */
static bool work_with(struct replication *r, struct peer *peer)
{
    struct replication_link *links[] = {peer->out, peer->in};
    bool more = false;

    for (int i = 0; i < 2; i++) {
        if (links[i] != NULL && !links[i]->cut) {
            more |= replication_compare_work(r, links[i]);
            more |= replication_send_wholes(r, links[i]);
        }
    }
    return more | replication_heal(r, peer);
}

uint32_t replication_tick(struct replication *r, uint64_t now_ms, uint64_t now_us)
{
    bool more = false, busy = r->stats.compares > 0;

    take_time(r, now_ms, now_us);
    r->work = WORK_OF_TICK;
    replication_copies_settle(r);
    replication_heal_pace(r);
    for (uint32_t i = 0; i < r->peer_capacity; i++) {
        if (r->peers[i] != NULL) {
            look(r, r->peers[i]);
        }
    }
    busy |= replication_switch_tick(r);
    for (uint32_t i = 0; i < r->peer_capacity; i++) {
        struct peer *peer = r->peers[i];
        if (peer != NULL) {
            replication_copies_give_up(r, peer);
            if (peer->in != NULL) {
                replication_send_acks(r, peer);
            }
            if (peer->out != NULL) {
                replication_send_runs(r, peer);
            }
        }
    }
    if (r->table == NULL) {
        return IDLE_TICK_MS;
    }
    /* Each time another one is the first to use up the time that there is. */
    for (uint32_t i = 0; i < r->peer_capacity; i++) {
        struct peer *peer = r->peers[(i + r->first_peer) % r->peer_capacity];
        if (peer != NULL) {
            more |= work_with(r, peer);
        }
    }
    replication_credits(r);
    r->first_peer++;
    more |= replication_levels(r);
    for (uint32_t i = 0; i < r->peer_capacity; i++) {
        struct peer *peer = r->peers[i];
        if (peer != NULL) {
            replication_send_asks(r, peer);
            busy |= doubt(r, peer);
            ping(r, peer->out);
            ping(r, peer->in);
        }
    }
    const uint32_t idle_ms = r->options.silence_ms / 6; /* In time for a PING. */
    return more ? 0 : busy ? TICK_MS : idle_ms < IDLE_TICK_MS ? idle_ms : IDLE_TICK_MS;
}

/* ---- Figures ---- */

bool replication_reaches(const struct replication *r, uint32_t node, uint32_t shard)
{
    const struct peer *peer = replication_peer_find(r, node, shard);

    return peer != NULL && peer->reachable;
}

const struct replication_stats *replication_stats(const struct replication *r)
{
    return &r->stats;
}

bool replication_lag(const struct replication *r, uint32_t index, struct replication_lag *lag)
{
    for (uint32_t i = 0; i < r->peer_capacity; i++) {
        const struct peer *peer = r->peers[i];
        if (peer == NULL || index-- > 0) {
            continue;
        }
        const struct flight *oldest = peer->flights.count > 0 ? queue_at(&peer->flights, 0) : NULL;
        *lag = (struct replication_lag){
            .node = peer->node,
            .shard = peer->shard,
            .reachable = peer->reachable,
            .records_behind = peer->flights.count,
            .bytes_behind = peer->flight_bytes,
            .oldest_us = oldest == NULL ? 0 : r->now_us - oldest->us,
            .merged_us = &peer->merged_us,
        };
        return true;
    }
    return false;
}
