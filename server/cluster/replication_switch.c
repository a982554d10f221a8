/* The switch: who is a slot's first owner by a new map takes it from who was. replication.h says how; here is why it is right.
 *
 * The map changes at each node when the entry comes there. By their maps alone two nodes would coordinate a slot meanwhile. So
 * who coordinated it *keeps* it until the new first owner asks for it, and that one *awaits* it, and passes on to him what it is
 * asked, until the word comes that it is released. That word lies in the stream, behind all that the former owner stamped in the
 * slot, and counts once all before it is merged: so the new one begins with everything. Nothing waits for Raft meanwhile, and no
 * request does but what the former owner passes on behind that word, for as long as a copy takes to be merged.
 *
 *   former owner   LEADS --map--> KEEPS --TAKE--> asked --covered, and at rest--> (RELEASE in the stream) routes as the map says
 *   new owner      ... --map--> AWAITS --RELEASE merged--> LEADS
 *
 * Who keeps a slot goes on to stream it to all owners, as the map lists them. It does not let go while the new owner may lack
 * something (not `covered`: its stream had a gap since the map was proposed): then they are compared first. Nor while writes of
 * the slot wait within this node, as they would be executed here later, nor while what is on its way to the new owner is old:
 * for both, new writes are held for options.hold_ms at most (reads go on), then there is a rest in which they are executed, longer
 * each time, and another try. After each, what is on its way may be older, but no older than NEAR_US: what is asked at the new owner
 * waits for about so long, and for one that is farther behind (its disk is full, its thread starved) the slot is kept, and nothing
 * held, until it has come nearer. Held writes are passed on, in order, once it has let go.
 *
 * When one of the two is lost for the other (a link, a pause, a disk that is full), both go by their maps, as in any failover: the
 * new owner asks the other owners what they have seen before it begins. It does the same where he who had the slot by the map before
 * has nothing to release: he was restarted, or stopped for a while; and where it hears none of those who may have had it. What he
 * alone has comes with his stray. A first owner that stores nothing (replication_degraded.c) has another one stand in for him:
 * then it is that one who keeps the slot, and from whom it is awaited.
 *
 * Where the map changes again before a slot was released, who awaits it keeps it, too, for the next one: the word goes along the
 * chain. Whom a map passes by asks who had the slot by his map before, who says to whom he gave it (UNKEPT). All that is said is
 * said again until it has come there; a word that comes twice changes nothing. */
#include "replication_private.h"

enum {
    SAY_US = 50 * 1000, /* What was not answered is said again. */
    TRY_US = 1000,      /* What could not go is tried again. */
    PATIENCE_US =
        1000 * 1000, /* A slot is not awaited any more from who says nothing of it for so long... */
    RESTS = 10,      /* A hold that was in vain is followed by so many of its length without... */
    LAPSES_MAX = 6,  /* ... twice as many after each up to that one... */
    REST_MS_MAX = 10 * 1000, /* ... but no longer. */
    NEAR_US = 500 * 1000, /* What is on its way is never older than this where a slot is let go. */
    HINTS_MAX = 8,        /* So many say that another one has it, then it is taken over. */
};

enum { KEEP_ANSWERS, KEEP_OFFERS }; /* Of KEEP. */

static bool is_kept(const struct slot_route *route)
{
    return route->keeps_for != NOBODY;
}

static bool is_awaited(const struct slot_route *route)
{
    return route->awaits_from != NOBODY;
}

static uint32_t switch_now_ms(const struct replication *r)
{
    return (uint32_t)(r->now_us / 1000);
}

/* ---- Keeping and awaiting ---- */

static void let_go(struct replication *r, uint32_t slot)
{
    struct slot_route *route = route_of(r, slot);

    if (!is_kept(route)) {
        return;
    }
    route->keeps_for = NOBODY;
    route->asked = route->holds = false;
    r->switches--;
    if (!route->mine) {
        replication_level_leave(r, slot);
        r->stray_us = r->stray_looked = 0; /* What is here of it is a stray from now on. */
        r->stats.looked = false;
    }
}

static void tell(const struct replication *r, uint32_t slot)
{
    if (r->port->taken != NULL) {
        r->port->taken(r->port, slot);
    }
}

/* He from whom the slot was awaited has nothing to do with it any more. `whole`: all that he had is here. */
static void end_await(struct replication *r, uint32_t slot, bool whole)
{
    struct slot_route *route = route_of(r, slot);
    const bool all = whole && !route->anew;

    route->awaits_from = NOBODY;
    route->anew = false;
    route->given_to = 0;
    r->switches--;
    route->first_ms = r->now_ms;
    route->took_ms = switch_now_ms(r);
    route->took = true;
    if (route->rank == 0 && all) {
        route->taken = true;
    } else if (route->rank == 0) {
        replication_take_over(r, slot);
    } else if (!all) {
        let_go(r, slot); /* He for whom it is kept looks himself. */
    }
    r->stats.slots_taken += whole;
    tell(r, slot);
}

/* ---- A new map ---- */

/* The shard of a node that has the slot, as far as it is heard. */
static struct peer *heard(const struct replication *r, const struct slot_table *table,
                          uint32_t number, uint32_t slot)
{
    const struct slot_table_member *member = slot_table_member(table, number);
    struct peer *peer = member == NULL || member->shards == 0
                            ? NULL
                            : replication_peer_find(r, number, slot % member->shards);

    return peer != NULL && peer_takes(peer) ? peer : NULL;
}

/* Who coordinated it by the map before, as far as can be seen here: the first owner that is heard. This node is no answer. */
static const struct peer *former_of(const struct replication *r, uint32_t slot,
                                    const struct slot_table *table)
{
    const struct slot_owners *owners = &r->table->owners[slot];
    const struct peer *former = NULL;

    for (uint32_t rank = 0; rank < PLACEMENT_REPLICAS_MAX && former == NULL; rank++) {
        if (owners->nodes[rank] == 0 || owners->nodes[rank] == r->options.self.node) {
            return NULL;
        }
        former = heard(r, table, owners->nodes[rank], slot);
    }
    return former;
}

/* Does this node coordinate it by the map before? */
static bool leads(const struct replication *r, uint32_t slot, const struct slot_route *before)
{
    return replication_is_level(r, slot) &&
           ((before->rank == 0 && before->taken) || replication_stands_in(r, slot));
}

static void take_from(struct replication *r, uint32_t slot, const struct slot_route *before,
                      struct slot_route *after, const struct slot_table *table)
{
    const struct peer *former = former_of(r, slot, table);

    if (is_awaited(before)) {
        after->awaits_from = before->awaits_from;
        after->anew = before->anew;
    } else if (!is_kept(before) && former != NULL) {
        after->awaits_from = former->index;
    }
    /* Where nobody is heard the others are asked once the slot is asked for (replication_take_over()). */
    after->taken = !is_awaited(after) && (is_kept(before) || leads(r, slot, before));
    after->given_to = 0;
    r->waits_us = r->now_us;
}

static void keep_for(const struct replication *r, uint32_t slot, const struct slot_route *before,
                     struct slot_route *after, const struct slot_table *table)
{
    const struct peer *next = heard(r, table, table->owners[slot].nodes[0], slot);

    if (next == NULL || !(leads(r, slot, before) || is_kept(before) || is_awaited(before)) ||
        before->awaits_from == next->index) { /* It never left him. */
        return;
    }
    after->keeps_for = next->index;
    after->awaits_from = before->awaits_from;
    after->anew = before->anew;
    after->first_ms = before->first_ms;
}

void replication_switch_follow(struct replication *r, uint32_t slot, struct slot_route *after,
                               const struct slot_table *table)
{
    const struct slot_route *before = route_of(r, slot);
    const uint32_t first = table->owners[slot].nodes[0];

    r->switches -= (uint32_t)is_kept(before) + is_awaited(before);
    after->given_to = before->given_to;
    after->given_life = before->given_life;
    if (first == r->table->owners[slot].nodes[0]) {
        after->keeps_for = before->keeps_for;
        after->awaits_from = before->awaits_from;
        after->asked = before->asked;
        after->holds = before->holds;
        after->lapses = before->lapses;
        after->hold_ms = before->hold_ms;
        after->anew = before->anew;
        after->took = before->took;
        after->took_ms = before->took_ms;
        after->hints = before->hints;
        after->taken = after->taken && !is_awaited(after);
    } else if (first == r->options.self.node) {
        take_from(r, slot, before, after, table);
    } else if (first != 0) {
        keep_for(r, slot, before, after, table);
    }
    if (first != r->table->owners[slot].nodes[0] && first != r->options.self.node &&
        r->table->owners[slot].nodes[0] != r->options.self.node) {
        after->given_to = r->table->owners[slot].nodes[0]; /* He had it last, as far as is known. */
        after->given_life = 0;
    }
    r->switches += (uint32_t)is_kept(after) + is_awaited(after);
    r->switch_us = 0;
}

/* ---- Nodes that are lost ---- */

void replication_switch_reach_changed(struct replication *r, const struct peer *peer)
{
    if (peer_takes(peer)) {
        return;
    }
    for (uint32_t slot = r->options.shard; r->switches > 0 && slot < SLOT_COUNT;
         slot += r->options.shards) {
        const struct slot_route *route = route_of(r, slot);
        if (route->keeps_for == peer->index) {
            let_go(r, slot);
        }
        if (route->awaits_from == peer->index) {
            end_await(r, slot, false);
        }
    }
}

void replication_switch_doubt(struct replication *r)
{
    for (uint32_t slot = r->options.shard; r->switches > 0 && slot < SLOT_COUNT;
         slot += r->options.shards) {
        struct slot_route *route = route_of(r, slot);
        if (is_awaited(route)) {
            route->anew = true;
        } else {
            let_go(r, slot);
        }
    }
}

/* ---- What is said ---- */

/* Returns whether there was memory for it; else it is said again later. */
static bool add_slot(struct buffer *to, uint32_t slot)
{
    uint8_t bytes[2];

    store_u16(bytes, (uint16_t)slot);
    return buffer_append(to, bytes_of(bytes, sizeof bytes)) == 0;
}

static void say_keep(struct peer *peer, uint8_t what)
{
    struct buffer *slots = &peer->keeps;
    const struct bytes parts[] = {bytes_of(&what, 1), buffer_bytes(slots)};

    if (slots->size > 0 && peer->out != NULL && peer->begun) {
        replication_link_send(peer->out, REPLICATION_KEEP, 0, parts, 2);
    }
    slots->size = 0;
}

static void say_take(struct peer *peer)
{
    if (peer->takes.size > 0 && peer->in != NULL && !peer->in->cut) {
        replication_link_send_bytes(peer->in, REPLICATION_TAKE, 0, buffer_bytes(&peer->takes));
    }
    peer->takes.size = 0;
}

/* Of all slots, to whom it concerns. */
static void say_all(struct replication *r)
{
    for (uint32_t slot = r->options.shard; slot < SLOT_COUNT; slot += r->options.shards) {
        const struct slot_route *route = route_of(r, slot);
        if (is_awaited(route) && route->rank == 0) {
            (void)add_slot(&peer_at(r, route->awaits_from)->takes, slot);
        }
        if (is_kept(route) && !is_awaited(route) && !route->asked) {
            (void)add_slot(&peer_at(r, route->keeps_for)->keeps, slot);
        }
    }
    for (uint32_t i = 0; i < r->peer_capacity; i++) {
        if (r->peers[i] != NULL) {
            say_take(r->peers[i]);
            say_keep(r->peers[i], KEEP_OFFERS);
        }
    }
}

/* ---- What is heard ---- */

/* Returns false where the body is no good. */
static bool read_slot(struct replication_link *link, struct reader *from, uint32_t *slot)
{
    const uint8_t low = read_u8(from), high = read_u8(from);

    *slot = low | (uint32_t)high << 8;
    return !from->bad && has_slot(link->replication, link->peer, *slot);
}

/* Another node, by its map the first owner, asks for a slot. */
static void asked_for(struct replication *r, struct peer *peer, uint32_t slot)
{
    struct slot_route *route = route_of(r, slot);

    if (route->keeps_for == peer->index) {
        route->asked = true;
        r->try_us = 0;
    }
    /* Else one of the two has an older map. This node may be the first by its own, but not able to serve. */
    const bool agreed = r->table->owners[slot].nodes[0] == peer->node ||
                        (route->rank == 0 && !replication_check_level(r, slot));
    const bool comes =
        route->given_to == peer->node && route->given_life == (uint32_t)peer->stream.life;
    if (is_kept(route) || is_awaited(route) || !agreed || comes) {
        (void)add_slot(&peer->keeps, slot); /* Not yet. */
    } else {
        (void)replication_stream_mark(r, peer, KIND_UNKEPT, slot, route->given_to);
    }
}

bool replication_take_take(struct replication *r, struct replication_link *link, struct bytes body)
{
    struct reader from = reader_of(body);
    uint32_t slot;

    while (reader_left(&from) > 0) {
        if (!read_slot(link, &from, &slot)) {
            return false;
        }
        asked_for(r, link->peer, slot);
    }
    say_keep(link->peer, KEEP_ANSWERS);
    return true;
}

bool replication_take_keep(struct replication *r, struct replication_link *link, struct bytes body)
{
    struct reader from = reader_of(body);
    const uint8_t what = read_u8(&from);
    uint32_t slot;

    if (from.bad || what > KEEP_OFFERS) {
        return false;
    }
    link->peer->told_us = r->now_us;
    while (reader_left(&from) > 0) {
        if (!read_slot(link, &from, &slot)) {
            return false;
        }
        if (what == KEEP_OFFERS && r->table->owners[slot].nodes[0] == r->options.self.node) {
            struct slot_route *route = route_of(r, slot);
            /* He has it, whoever was thought to. */
            route->awaits_from = is_awaited(route) ? link->peer->index : NOBODY;
            (void)add_slot(&link->peer->takes, slot);
        }
    }
    say_take(link->peer);
    return true;
}

void replication_switch_released(struct replication *r, const struct peer *peer, uint32_t slot)
{
    if (route_of(r, slot)->awaits_from == peer->index) {
        end_await(r, slot, true);
    }
}

void replication_switch_unkept(struct replication *r, const struct peer *peer, uint32_t slot,
                               uint32_t given_to)
{
    struct slot_route *route = route_of(r, slot);

    if (route->awaits_from != peer->index) {
        return;
    }
    const struct peer *has =
        given_to == r->options.self.node ? NULL : heard(r, r->table, given_to, slot);
    if (has == NULL || route->hints == HINTS_MAX) {
        end_await(r, slot, false);
        return;
    }
    route->awaits_from = has->index;
    route->hints++;
    r->waits_us = r->now_us;
    r->switch_us = 0;
}

/* ---- Letting go ---- */

/* Is what is on its way there young enough for those who will wait behind it? */
static bool flows(const struct replication *r, const struct peer *peer, uint8_t lapses)
{
    const struct flight *oldest = peer->flights.count == 0 ? NULL : queue_at(&peer->flights, 0);
    const uint64_t most_us = ((uint64_t)r->options.hold_ms * 1000 / 2) << (2 * lapses);

    return oldest == NULL || r->now_us - oldest->us < (most_us < NEAR_US ? most_us : NEAR_US);
}

/* A hold was in vain. */
static void end_hold(struct replication *r, struct slot_route *route)
{
    if (route->holds) {
        route->holds = false;
        route->hold_ms = switch_now_ms(r);
        route->lapses = (uint8_t)(route->lapses + (route->lapses < LAPSES_MAX));
        r->stats.holds_lapsed++;
    }
}

/* In milliseconds: after so many holds that were in vain. */
static uint32_t rest_after(const struct replication *r, uint8_t lapses)
{
    const uint32_t rest_ms = lapses == 0 ? 0 : (RESTS * r->options.hold_ms) << (lapses - 1);

    return rest_ms < REST_MS_MAX ? rest_ms : REST_MS_MAX;
}

/* Hold writes, or end that, until the slot is at rest. */
static void hold(struct replication *r, struct slot_route *route)
{
    const uint32_t passed_ms = switch_now_ms(r) - route->hold_ms;

    if (route->holds && passed_ms >= r->options.hold_ms) {
        end_hold(r, route);
    } else if (!route->holds && passed_ms >= rest_after(r, route->lapses)) {
        route->holds = true;
        route->hold_ms = switch_now_ms(r);
        r->stats.holds++;
    }
}

static void try_release(struct replication *r, uint32_t slot)
{
    struct slot_route *route = route_of(r, slot);
    struct peer *next = peer_at(r, route->keeps_for);

    if (is_awaited(route) || !next->stream.open || !flows(r, next, LAPSES_MAX)) {
        end_hold(r, route); /* It would be in vain. */
        return;
    }
    if (!slot_set_has(&next->covered, slot)) {
        end_hold(r, route);
        replication_want(next, slot);
        return;
    }
    if (slot_set_has(&r->waiting, slot) || !flows(r, next, route->lapses)) {
        hold(r, route);
        return;
    }
    if (replication_stream_mark(r, next, KIND_RELEASE, slot, 0)) {
        r->stats.slots_released++;
        route->given_to = next->node;
        route->given_life = (uint32_t)next->stream.life;
        let_go(r, slot);
        tell(r, slot);
    }
}

static void note_waiting(void *context, uint32_t slot)
{
    struct replication *r = context;

    slot_set_put(&r->waiting, slot, true);
}

static void try_all(struct replication *r)
{
    bool looked = false;

    for (uint32_t slot = r->options.shard; slot < SLOT_COUNT; slot += r->options.shards) {
        const struct slot_route *route = route_of(r, slot);
        if (!is_kept(route) || !route->asked) {
            continue;
        }
        if (!looked && r->core->waiting != NULL) {
            r->waiting = (struct slot_set){0};
            r->core->waiting(r->core, note_waiting, r);
        }
        looked = true;
        try_release(r, slot);
    }
}

/* Who says nothing more of what is awaited from him, and of whom nothing is merged, is passed over. */
static void give_up(struct replication *r)
{
    for (uint32_t slot = r->options.shard; slot < SLOT_COUNT; slot += r->options.shards) {
        const struct slot_route *route = route_of(r, slot);
        if (!is_awaited(route)) {
            continue;
        }
        const struct peer *peer = peer_at(r, route->awaits_from);
        const uint64_t since_us = peer->told_us > r->waits_us ? peer->told_us : r->waits_us;
        if (r->now_us - since_us >= PATIENCE_US) {
            end_await(r, slot, false);
        }
    }
}

bool replication_switch_tick(struct replication *r)
{
    if (r->switches == 0) {
        return false;
    }
    if (r->now_us >= r->try_us) {
        r->try_us = r->now_us + TRY_US;
        try_all(r);
    }
    if (r->now_us >= r->switch_us) {
        r->switch_us = r->now_us + SAY_US;
        say_all(r);
        give_up(r);
    }
    return true;
}

/* ---- Routes ---- */

bool replication_switch_route(const struct replication *r, uint32_t slot, uint8_t flags,
                              enum route *kind, struct route_far *far)
{
    const struct slot_route *route = route_of(r, slot);

    if (is_awaited(route)) {
        const struct peer *peer = peer_at(r, route->awaits_from);
        *far = (struct route_far){.node = peer->node, .shard = peer->shard};
        *kind = (flags & ROUTE_COORDINATE) != 0 ? ROUTE_WAIT : ROUTE_FAR;
        return true;
    }
    if (is_kept(route)) {
        *kind = route->holds && (flags & ROUTE_READS) == 0 ? ROUTE_WAIT : ROUTE_LOCAL;
        return true;
    }
    return false;
}

bool replication_keeps(const struct replication *r, uint32_t slot)
{
    return is_kept(route_of(r, slot)) && !is_awaited(route_of(r, slot));
}

bool replication_awaits(const struct replication *r, uint32_t slot)
{
    return is_awaited(route_of(r, slot));
}

bool replication_is_switching(const struct replication *r)
{
    return r->switches > 0;
}

bool replication_switches(const struct replication *r, uint32_t slot)
{
    const struct slot_route *route = route_of(r, slot);

    return is_awaited(route) || route->holds;
}

bool replication_took_lately(struct replication *r, uint32_t slot)
{
    struct slot_route *route = route_of(r, slot);

    route->took = route->took && switch_now_ms(r) - route->took_ms < REPLICATION_TOOK_MS;
    return route->took;
}
