/* Who serves a slot now: the first of its owners that can be reached, and stores what comes (replication_degraded.c), unless
 * it is not level yet and asks a later one.
 *
 * With three copies or more, a node that is to coordinate though it is not the first owner asks the other owners that
 * it reaches what they have seen, and is compared with those who have seen more, before it does (takes the slot): the
 * one that cannot be reached may have told them of writes that it did not tell this node. It begins with that when it
 * notices that the earlier owner is gone, for all of its slots in one message.
 *
 * A node that was stopped does the same for the slots that it coordinates, the first owner too, before it goes on: a later
 * owner may have stood in for it. Their links may have been given up meanwhile, so it waits for these to be made anew. */
#include "replication_private.h"

#include <errno.h>

static bool reach_rank(const struct replication *r, uint32_t slot, uint32_t rank)
{
    const struct peer *peer = replication_owner_of(r, slot, rank);

    return peer != NULL && peer_takes(peer);
}

/* ---- Taking over ---- */

bool replication_ask_seen(struct peer *peer, uint32_t slot)
{
    uint8_t bytes[2];

    store_u16(bytes, (uint16_t)slot);
    return buffer_append(&peer->seen_asks, bytes_of(bytes, sizeof bytes)) == 0;
}

void replication_take_over(struct replication *r, uint32_t slot)
{
    struct slot_route *route = route_of(r, slot);

    route->awaits = 0;
    route->paused = false;
    route->asked_ms = (uint32_t)(r->now_us / 1000);
    for (uint32_t i = 0; i < route->owners; i++) {
        struct peer *peer = peer_at(r, route->peers[i]);
        /* An earlier one that is there stores nothing, but has what it acknowledged before. */
        const bool knows = route->ranks[i] > route->rank || peer->degraded;
        if (knows && peer->reachable && replication_ask_seen(peer, slot)) {
            route->awaits |= (uint8_t)(1U << route->ranks[i]);
        }
    }
    route->taken = route->awaits == 0;
    r->stats.takeovers += !route->taken;
}

void replication_take_anew(struct replication *r)
{
    replication_switch_doubt(r);
    for (uint32_t slot = r->options.shard; slot < SLOT_COUNT; slot += r->options.shards) {
        struct slot_route *route = route_of(r, slot);
        const bool coordinates = route->taken || route->awaits != 0;
        route->taken = false;
        route->awaits = 0;
        route->first_ms = r->now_ms;
        if (coordinates && slot_set_has(&r->level, slot)) {
            replication_take_over(r, slot);
            route->paused = true;
        }
    }
}

static void heard_from(struct slot_route *route, uint32_t rank)
{
    if (route->awaits != 0 && rank < PLACEMENT_REPLICAS_MAX) {
        route->awaits &= (uint8_t) ~(1U << rank);
        route->taken = route->awaits == 0;
    }
}

void replication_send_asks(const struct replication *r, struct peer *peer)
{
    if (peer->out != NULL && peer->begun) {
        if (peer->seen_asks.size > 0) {
            replication_link_send_bytes(peer->out, REPLICATION_SEEN_ASK, r->asks,
                                        buffer_bytes(&peer->seen_asks));
        }
        if (peer->burials.size > 0) {
            replication_link_send_bytes(peer->out, REPLICATION_BURY_ASK, 0,
                                        buffer_bytes(&peer->burials));
        }
    }
    peer->seen_asks.size = peer->burials.size = 0;
}

void replication_reach_changed(struct replication *r, struct peer *peer)
{
    replication_doubt_clock(r);
    replication_switch_reach_changed(r, peer);
    for (uint32_t slot = r->options.shard; slot < SLOT_COUNT; slot += r->options.shards) {
        struct slot_route *route = route_of(r, slot);
        const uint32_t rank = slot_owners_rank(&r->table->owners[slot], peer->node);
        if (rank == PLACEMENT_REPLICAS_MAX || !has_slot(r, peer, slot) || !route->mine) {
            continue;
        }
        const bool awaited = rank > route->rank && (route->awaits >> rank & 1) != 0;
        if (awaited && !peer->reachable && !route->paused) {
            heard_from(route, rank); /* Who is gone is not waited for. */
        } else if (awaited && peer->reachable) {
            (void)replication_ask_seen(peer, slot);
        }
        if (rank < route->rank && route->rank < PLACEMENT_REPLICAS_MAX) {
            route->taken = false;
            route->awaits = 0;
            bool earlier = false;
            for (uint32_t before = 0; before < route->rank; before++) {
                earlier |= reach_rank(r, slot, before);
            }
            if (!earlier && slot_set_has(&r->level, slot)) {
                replication_take_over(r, slot);
            }
        }
    }
}

/* Append what is seen of a slot. Returns 0 or -ENOMEM. */
static int put_seen(struct replication *r, uint32_t slot, struct buffer *to)
{
    const uint8_t flags = replication_flags(r, slot);
    uint8_t head[2 + 1 + VARINT_BYTES_MAX];

    r->scratch.size = 0;
    if ((flags & FLAG_SEEN) != 0 && seen_put(r->core->seen, slot, &r->scratch) != 0) {
        return -ENOMEM;
    }
    store_u16(head, (uint16_t)slot);
    head[2] = flags;
    const size_t size = (size_t)(varint_put(head + 3, r->scratch.size) - head);
    int rc = buffer_append(to, bytes_of(head, size));
    return rc == 0 ? buffer_append(to, buffer_bytes(&r->scratch)) : rc;
}

void replication_take_seen_ask(struct replication *r, struct replication_link *link,
                               uint64_t number, struct bytes body)
{
    struct reader from = reader_of(body);

    r->answer.size = 0;
    while (reader_left(&from) > 0) {
        const uint8_t low = read_u8(&from), high = read_u8(&from);
        const uint32_t slot = low | (uint32_t)high << 8;
        if (from.bad || !has_slot(r, link->peer, slot)) {
            replication_link_bad(link);
            return;
        }
        if (put_seen(r, slot, &r->answer) != 0) {
            replication_link_cut(link);
            return;
        }
        if (r->answer.size >= RUN_BYTES || reader_left(&from) == 0) {
            replication_link_send_bytes(link, REPLICATION_SEEN, number, buffer_bytes(&r->answer));
            r->answer.size = 0;
        }
    }
}

static void take_one_seen(struct replication *r, struct peer *peer, uint32_t slot, uint8_t flags,
                          struct bytes seen)
{
    struct slot_route *route = route_of(r, slot);
    const uint32_t rank = slot_owners_rank(&r->table->owners[slot], peer->node);

    const bool covered = (flags & FLAG_SEEN) != 0 && seen_covers_all(r->core->seen, slot, seen);

    if (covered && peer->degraded && rank < route->rank) {
        slot_set_put(&peer->compared, slot, true); /* All that it has is here. */
    }
    if (rank == PLACEMENT_REPLICAS_MAX || (route->awaits >> rank & 1) == 0) {
        return; /* Nobody waits for it any more. */
    }
    if (covered) {
        heard_from(route, rank);
    } else {
        replication_want(peer, slot);
    }
}

void replication_take_seen(struct replication *r, struct replication_link *link, uint64_t number,
                           struct bytes body)
{
    struct reader from = reader_of(body);

    while (reader_left(&from) > 0) {
        const uint8_t low = read_u8(&from), high = read_u8(&from), flags = read_u8(&from);
        const uint32_t slot = low | (uint32_t)high << 8;
        const struct bytes seen = read_string(&from);
        if (from.bad || !has_slot(r, link->peer, slot)) {
            replication_link_bad(link);
            return;
        }
        if (number == r->asks) { /* Else it is from before a pause. */
            take_one_seen(r, link->peer, slot, flags, seen);
        }
    }
}

void replication_taken_compared(struct replication *r, struct peer *peer, uint32_t slot,
                                uint64_t asks)
{
    struct slot_route *route = route_of(r, slot);
    const uint32_t rank = slot_owners_rank(&r->table->owners[slot], peer->node);

    if (asks == r->asks) {
        heard_from(route, rank);
    } else if (rank < PLACEMENT_REPLICAS_MAX && (route->awaits >> rank & 1) != 0) {
        replication_want(peer, slot);
    }
}

/* ---- Uses of sessions ---- */

uint64_t replication_first_ms(const struct replication *r, uint32_t slot)
{
    return r->table == NULL ? 0 : route_of(r, slot)->first_ms;
}

uint64_t replication_known_ms(const struct replication *r, uint64_t position)
{
    if (r->table == NULL) {
        return UINT64_MAX;
    }
    const struct slot_route *route = route_of(r, slot_of_position(position));
    const bool leads = route->keeps_for != NOBODY || route->rank == 0;
    uint64_t known_ms = leads && route->awaits_from == NOBODY ? route->first_ms : UINT64_MAX;

    for (uint32_t i = 0; i < route->owners; i++) {
        const struct peer *peer = peer_at(r, route->peers[i]);
        known_ms = peer->reached_ms > known_ms ? peer->reached_ms : known_ms;
    }
    return known_ms;
}

/* ---- Routes ---- */

static enum route far_to(const struct peer *peer, uint8_t flags, struct route_far *far)
{
    *far = (struct route_far){.node = peer->node, .shard = peer->shard, .flags = flags};
    return ROUTE_FAR;
}

/* This node is to coordinate. */
static enum route coordinate(struct replication *r, uint32_t slot)
{
    struct slot_route *route = route_of(r, slot);

    if (route->taken) {
        return ROUTE_LOCAL;
    }
    if (route->awaits == 0) {
        replication_take_over(r, slot);
    } else if ((uint32_t)(r->now_us / 1000) - route->asked_ms > r->options.silence_ms) {
        route->awaits =
            0; /* Who says nothing for so long is passed over, as if its links were silent. */
        route->taken = true;
    }
    return route->taken ? ROUTE_LOCAL : ROUTE_WAIT;
}

enum route replication_route(struct replication *r, uint32_t slot, uint8_t flags,
                             struct route_far *far)
{
    if (r->table == NULL) {
        return ROUTE_NOWHERE;
    }
    const struct slot_route *route = route_of(r, slot);
    const bool owns = route->rank < PLACEMENT_REPLICAS_MAX;
    const uint32_t before = owns ? route->rank : PLACEMENT_REPLICAS_MAX;
    enum route kind;

    if (replication_switch_route(r, slot, flags, &kind, far)) {
        return kind;
    }
    for (uint32_t i = 0; i < route->owners && (flags & ROUTE_COORDINATE) == 0; i++) {
        const struct peer *peer = peer_at(r, route->peers[i]);
        if (route->ranks[i] < before && (peer_takes(peer) || (r->degraded && peer->reachable))) {
            return far_to(peer, 0, far);
        }
    }
    if (owns && replication_check_level(r, slot)) {
        return coordinate(r, slot);
    }
    for (uint32_t i = 0; i < route->owners && owns; i++) {
        const struct peer *peer = peer_at(r, route->peers[i]);
        if (route->ranks[i] > before && peer_takes(peer)) {
            return far_to(peer, ROUTE_COORDINATE, far);
        }
    }
    for (uint32_t i = 0; i < route->owners && (flags & ROUTE_COORDINATE) == 0; i++) {
        const struct peer *peer = peer_at(r, route->peers[i]);
        if (peer->reachable && peer->degraded) {
            /* It is better than nobody. */
            return far_to(peer, route->ranks[i] > before ? ROUTE_COORDINATE : 0, far);
        }
    }
    return ROUTE_NOWHERE;
}
