/* Degraded nodes, by the table: those that cannot store what comes, as their disk is full or fails; and those of which somebody
 * said so.
 *
 * One that cannot store:
 * Such a node's log takes nothing, so neither writes of clients nor copies can be done there, and what it has falls behind.
 * The next owner coordinates its slots meanwhile, as if it could not be reached, and writes do not wait for its
 * copies; where there is no other owner it serves what it has. Who stands in asks it first what it has seen, and it is he who says
 * that targets have all of the slot, once he has all that it has (replication_levels.c). It goes on to be sent what it misses. Once it is well again it
 * is compared with another owner before it serves, as after a start; but for one that could not store anything either.
 *
 * One of which somebody said so goes on to coordinate its slots, but for writes to sessions of which it knows nothing, not
 * even an end (replication_route_create()). The next owner does those, and answers once this node has its copy, which is the
 * only one that counts (replication_await_first()): so whatever is asked next of that session finds it here, and is done here.
 * A link that is lost meanwhile is waited for, as long as one that is silent: that the next owner has the write on its disk is
 * no answer, as this node would begin the session once more. Without a way to this node the next owner does not begin it. */
#include "replication_private.h"

bool replication_stands_back(const struct replication *r, uint32_t slot)
{
    const struct slot_route *route = route_of(r, slot);

    for (uint32_t i = 0; i < route->owners && r->degraded; i++) {
        if (peer_takes(peer_at(r, route->peers[i]))) {
            return true;
        }
    }
    return false;
}

bool replication_stands_in(const struct replication *r, uint32_t slot)
{
    const struct slot_route *route = route_of(r, slot);

    for (uint32_t i = 0; i < route->owners; i++) {
        if (route->ranks[i] < route->rank && !peer_at(r, route->peers[i])->degraded) {
            return false;
        }
    }
    return route->rank > 0 && route->rank < PLACEMENT_REPLICAS_MAX && route->taken && !r->degraded;
}

/* Is there one that may have taken its place? */
static bool has_better(const struct replication *r, const struct slot_route *route)
{
    for (uint32_t i = 0; i < route->owners; i++) {
        if (!peer_at(r, route->peers[i])->degraded) {
            return true;
        }
    }
    return false;
}

/* What it has is to be compared before it counts. */
static void doubt(struct replication *r)
{
    for (uint32_t slot = r->options.shard; slot < SLOT_COUNT; slot += r->options.shards) {
        const struct slot_route *route = route_of(r, slot);
        if (!has_better(r, route)) {
            continue;
        }
        slot_set_put(&r->level, slot, false);
        for (uint32_t i = 0; i < route->count; i++) {
            slot_set_put(&peer_at(r, route->peers[i])->compared, slot, false);
        }
    }
}

static bool is_degraded(const struct replication *r, uint32_t node)
{
    const struct slot_table_member *member = slot_table_member(r->table, node);

    return member != NULL && member->degraded;
}

static bool hands_on(const struct replication *r, uint32_t node)
{
    const struct slot_table_member *member = slot_table_member(r->table, node);

    return member != NULL && member->hands_on;
}

bool replication_route_create(const struct replication *r, uint32_t slot, struct route_far *far)
{
    const struct slot_route *route = route_of(r, slot);

    if (!r->hands_on || route->rank != 0) {
        return false;
    }
    for (uint32_t i = 0; i < route->owners; i++) {
        const struct peer *peer = peer_at(r, route->peers[i]);
        if (peer_takes(peer) && !peer->hands_on && peer->in_state == IN_RUNNING) {
            *far = (struct route_far){
                .node = peer->node, .shard = peer->shard, .flags = ROUTE_COORDINATE};
            return true;
        }
    }
    return false;
}

bool replication_is_first(const struct replication *r, uint32_t slot)
{
    return route_of(r, slot)->rank == 0;
}

bool replication_tells_first(const struct replication *r, uint32_t slot)
{
    const struct peer *first = replication_owner_of(r, slot, 0);

    return first != NULL && peer_takes(first) && !first->unheeded && first->stream.open;
}

bool replication_hands_on(const struct replication *r)
{
    return r->hands_on;
}

void replication_follow_degraded(struct replication *r)
{
    const bool was = r->degraded;

    r->degraded = is_degraded(r, r->options.self.node);
    r->hands_on = hands_on(r, r->options.self.node);
    if (was && !r->degraded) {
        doubt(r);
    } else if (r->degraded) {
        replication_switch_doubt(r);
    }
    for (uint32_t i = 0; i < r->peer_capacity; i++) {
        struct peer *peer = r->peers[i];
        const bool degraded = peer != NULL && is_degraded(r, peer->node);
        if (peer != NULL) {
            peer->hands_on = hands_on(r, peer->node);
        }
        if (peer == NULL || degraded == peer->degraded) {
            continue;
        }
        peer->degraded = degraded;
        if (degraded) {
            replication_copies_leave(r, peer, true);
            peer->compared =
                (struct slot_set){0}; /* Who stands in for it is to have all that it has. */
        }
        replication_reach_changed(r, peer);
    }
}
