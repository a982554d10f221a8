/* Which writes a copy of is elsewhere. A write has one number, and may be on its way to several owners: the first that
 * has merged it makes it copied; once no link is left that could say so, it is not. Of some writes all are to have them: the
 * last that has merged such a one makes it copied, and one link that is lost makes it hopeless. The shard is told of those
 * that are not copied in order of the numbers only, so one that is hopeless waits for those before it: at most as long as a
 * link is silent until it is given up. */
#include "replication_private.h"

bool replication_copies_reserve(struct replication *r)
{
    struct copy_state *state = queue_push(&r->copies, r->memory, sizeof *state, UINT32_MAX);

    if (state == NULL) {
        return false;
    }
    r->copies.count--;
    return true;
}

void replication_copies_add(struct replication *r, uint32_t waiting)
{
    struct copy_state *state = queue_push(&r->copies, r->memory, sizeof *state, UINT32_MAX);

    state->waiting = (uint8_t)waiting; /* There is room. */
    r->copy_next++;
}

static struct copy_state *state_of(struct replication *r, uint64_t number)
{
    if (number < r->copy_base || number >= r->copy_next) {
        return NULL;
    }
    return queue_at(&r->copies, (uint32_t)(number - r->copy_base));
}

void replication_copy_done(struct replication *r, uint64_t number)
{
    struct copy_state *state = state_of(r, number);

    if (state == NULL || state->done) {
        return;
    }
    if (state->all && (--state->waiting > 0 || state->lost)) {
        return;
    }
    state->done = true;
    r->stats.copied++;
    r->core->copied(r->core, number, r->now_us);
}

static void copy_left(struct replication *r, uint64_t number)
{
    struct copy_state *state = state_of(r, number);

    if (state != NULL) {
        state->waiting--;
        state->lost = true;
    }
}

void replication_copies_settle(struct replication *r)
{
    uint64_t lost = 0;

    if (r->appending) {
        return; /* The shard is in the midst of a write: at the next tick. */
    }
    while (r->copies.count > 0) {
        const struct copy_state *state = queue_at(&r->copies, 0);
        const bool hopeless = state->waiting == 0 || (state->all && state->lost);
        if (!state->done && !hopeless) {
            break;
        }
        if (!state->done) {
            lost = r->copy_base;
            r->stats.uncopied += !state->all;
        }
        queue_pop(&r->copies);
        r->copy_base++;
    }
    if (lost != 0) {
        r->core->uncopied(r->core, lost, r->now_us);
    }
}

bool replication_await_all(struct replication *r, uint64_t position, uint64_t number)
{
    if (r->table == NULL) {
        return true; /* Who owns it is not known. */
    }
    const struct slot_route *route = route_of(r, slot_of_position(position));
    struct copy_state *state = state_of(r, number);
    for (uint32_t i = route->owners; state != NULL && !state->done && i < route->count; i++) {
        struct peer *peer = peer_at(r, route->peers[i]);
        if (peer_takes(peer) && !peer->unheeded && peer->stream.open) {
            struct flight *last = queue_at(&peer->flights, peer->flights.count - 1);
            last->copy = number;
            state->waiting++;
        }
    }
    if (state != NULL && !state->done) {
        state->all = true;
        state->lost = state->waiting < route->count || route->lacks;
    }
    return route->count > 0 || route->lacks;
}

/* What append() has just sent there of a copy; NULL: nothing that it waits for. */
static struct flight *last_flight(const struct peer *peer, uint64_t number)
{
    struct flight *flight =
        peer->flights.count == 0 ? NULL : queue_at(&peer->flights, peer->flights.count - 1);

    return flight != NULL && flight->copy == number ? flight : NULL;
}

void replication_await_first(struct replication *r, uint64_t position, uint64_t number)
{
    struct copy_state *state = state_of(r, number);

    if (state == NULL || state->done) {
        return;
    }
    const uint32_t slot = slot_of_position(position);
    const struct slot_route *route = route_of(r, slot);
    const struct peer *first = replication_owner_of(r, slot, 0);
    for (uint32_t i = 0; i < route->owners; i++) {
        const struct peer *peer = peer_at(r, route->peers[i]);
        struct flight *flight = peer == first ? NULL : last_flight(peer, number);
        if (flight != NULL) {
            flight->copy = 0;
            state->waiting--;
        }
    }
    state->first = true;
}

void replication_copies_leave(struct replication *r, struct peer *peer, bool for_good)
{
    peer->waits_for_link = false;
    for (uint32_t i = 0; i < peer->flights.count; i++) {
        struct flight *flight = queue_at(&peer->flights, i);
        const struct copy_state *state = state_of(r, flight->copy);
        if (state != NULL && state->first && !state->done && !for_good) {
            peer->waits_for_link = true;
        } else if (flight->copy != 0) {
            copy_left(r, flight->copy);
            flight->copy = 0;
        }
    }
    replication_copies_settle(r);
}

void replication_copies_give_up(struct replication *r, struct peer *peer)
{
    if (peer->waits_for_link && !peer->reachable &&
        r->now_us - peer->heard_us >= (uint64_t)r->options.silence_ms * 1000) {
        replication_copies_leave(r, peer, true);
    }
}
