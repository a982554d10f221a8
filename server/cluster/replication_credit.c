/* Sessions that comparisons send: as many as whoever takes them has room for.
 *
 * What is streamed goes over the same link and into the same log, and clients wait for it. So the receiver says how much of
 * a comparison may be on its way to it: each end has a limit for what it has sent in all since the link is there, and stops
 * there until it is told another one (CREDIT). The receiver moves it on as sessions come, as far as its log takes them
 * without that others wait for room (the port's `room`), and by CREDIT_BYTES_MAX for all links on which some come: a
 * record of a stream has about that before it at most. Where there is no room, CREDIT_BYTES_LEAST go on in each CREDIT_SLOW_US, to
 * one link after the other: it never stops wholly, whatever else the log has to take. Without a word each end may send
 * CREDIT_BYTES_LEAST, so that comparisons that find little say nothing of it.
 *
 * A session counts with its body and CREDIT_HEAD_BYTES. It goes as a whole: the last one may go beyond the limit. */
#include "replication_private.h"

enum {
    CREDIT_HEAD_BYTES = 64, /* About what a log adds to a record. */
    CREDIT_SLOW_US = 100 * 1000,
    CREDIT_STUCK_US = 10 * 1000 * 1000, /* Who gives none for so long is stuck. */
};

/* ---- The sender ---- */

/* What the shard was asked for, and has not given: each as large as the last that it gave. */
static uint64_t asked_bytes(const struct replication *r, const struct replication_link *link)
{
    uint64_t count = 0;

    for (uint32_t i = 0; r->whole_count > 0 && i < WHOLES_MAX; i++) {
        const struct whole *whole = &r->wholes[i];
        count += whole->used && whole->link == link && whole->kind == REPLICATION_COMPARE_RECORD;
    }
    return count * link->heal_last_bytes;
}

bool replication_has_credit(const struct replication *r, const struct replication_link *link)
{
    return link->heal_sent + asked_bytes(r, link) < link->heal_limit;
}

void replication_credit_spend(struct replication_link *link, size_t body_bytes)
{
    link->heal_last_bytes = body_bytes + CREDIT_HEAD_BYTES;
    link->heal_sent += link->heal_last_bytes;
}

bool replication_take_credit(struct replication_link *link, uint64_t limit, struct bytes body)
{
    if (limit > link->heal_limit) {
        link->heal_limit = limit;
        link->starved_us = 0;
    }
    return body.size == 0;
}

static void tell_stuck(struct replication *r, struct replication_link *link, bool stuck)
{
    link->stuck = stuck;
    r->stats.stuck_times += stuck;
    if (r->port->stuck != NULL) {
        r->port->stuck(r->port, link->peer->node, stuck);
    }
}

/* Does something wait for the other end, which takes nothing? */
static void look_at_waiting(struct replication *r, struct replication_link *link)
{
    if (link->heals.count == 0 || replication_has_credit(r, link)) {
        link->starved_us = 0;
    } else if (link->starved_us == 0) {
        link->starved_us = r->now_us;
    }
    const bool stuck = link->starved_us != 0 && r->now_us - link->starved_us >= CREDIT_STUCK_US;
    if (stuck != link->stuck) {
        tell_stuck(r, link, stuck);
    }
    r->stats.stuck += stuck;
}

/* ---- The receiver ---- */

void replication_credit_came(struct replication_link *link, size_t body_bytes)
{
    link->heal_came += body_bytes + CREDIT_HEAD_BYTES;
}

/* What may be on its way here. */
static uint64_t under_way(const struct replication_link *link)
{
    return link->heal_allowed > link->heal_came ? link->heal_allowed - link->heal_came : 0;
}

static void allow(struct replication *r, struct replication_link *link, uint64_t bytes)
{
    link->heal_allowed = link->heal_came + bytes;
    link->allowed_us = r->credit_us = r->now_us;
    replication_link_send_bytes(link, REPLICATION_COMPARE_CREDIT, link->heal_allowed,
                                bytes_of(NULL, 0));
}

/* The links on which sessions come. */
struct takers {
    struct replication_link
        *longest; /* Of those that have used what they had, who has waited longest. */
    uint32_t count;
};

static bool takes(const struct replication_link *link)
{
    return link != NULL && !link->cut && link->job_count > 0;
}

static bool is_short(const struct replication_link *link)
{
    return under_way(link) <= CREDIT_BYTES_LEAST / 2;
}

/* Of what is compared now most goes one way. */
static void look_at_taking(const struct replication *r, struct takers *takers,
                           struct replication_link *link)
{
    takers->count += is_short(link) || r->now_us - link->allowed_us < CREDIT_SLOW_US;
    if (is_short(link) &&
        (takers->longest == NULL || link->allowed_us < takers->longest->allowed_us)) {
        takers->longest = link;
    }
}

/* Each its part, once half of the one before is used. */
static void give(struct replication *r, const struct takers *takers)
{
    const uint64_t room = r->port->room == NULL ? CREDIT_BYTES_MAX : r->port->room(r->port);
    const uint64_t share = (room < CREDIT_BYTES_MAX ? room : CREDIT_BYTES_MAX) / takers->count;

    for (uint32_t i = 0; i < 2 * r->peer_capacity && share >= CREDIT_BYTES_LEAST / 8; i++) {
        const struct peer *peer = r->peers[i / 2];
        struct replication_link *link = peer == NULL ? NULL : i % 2 == 0 ? peer->out : peer->in;
        if (takes(link) && under_way(link) <= share / 2) {
            allow(r, link, share);
        }
    }
    if (takers->longest != NULL && r->now_us - r->credit_us >= CREDIT_SLOW_US) {
        allow(r, takers->longest, CREDIT_BYTES_LEAST);
    }
}

void replication_credits(struct replication *r)
{
    struct takers takers = {0};

    r->stats.stuck = 0;
    for (uint32_t i = 0; i < r->peer_capacity; i++) {
        struct replication_link *links[] = {r->peers[i] == NULL ? NULL : r->peers[i]->out,
                                            r->peers[i] == NULL ? NULL : r->peers[i]->in};
        for (int j = 0; j < 2; j++) {
            if (links[j] != NULL && !links[j]->cut) {
                look_at_waiting(r, links[j]);
            }
            if (takes(links[j])) {
                look_at_taking(r, &takers, links[j]);
            }
        }
    }
    if (takers.count > 0) {
        give(r, &takers);
    }
}
