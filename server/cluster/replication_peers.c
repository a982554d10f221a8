/* The other nodes' shards, and from a slot table who gets what of each slot. */
#include "replication_private.h"

#include <errno.h>

/* ---- Peers ---- */

struct peer *replication_peer_find(const struct replication *r, uint32_t node, uint32_t shard)
{
    for (uint32_t i = 0; i < r->peer_capacity; i++) {
        if (r->peers[i] != NULL && r->peers[i]->node == node && r->peers[i]->shard == shard) {
            return r->peers[i];
        }
    }
    return NULL;
}

/* A free index; NOBODY: no memory. */
static uint32_t free_index(struct replication *r)
{
    uint32_t index = 0;

    while (index < r->peer_capacity && r->peers[index] != NULL) {
        index++;
    }
    if (index < r->peer_capacity || index == NOBODY) {
        return index;
    }
    const uint32_t capacity = index == 0 ? 8 : 2 * index < NOBODY ? 2 * index : NOBODY;
    struct peer **peers =
        r->memory->resize(r->memory, r->peers, index * sizeof *peers, capacity * sizeof *peers);
    if (peers == NULL) {
        return NOBODY;
    }
    memset(peers + index, 0, (capacity - index) * sizeof *peers);
    r->peers = peers;
    r->peer_capacity = capacity;
    return index;
}

static struct peer *make(struct replication *r, uint32_t node, uint32_t shard, uint32_t shards)
{
    const uint32_t index = free_index(r);

    if (index == NOBODY) {
        return NULL;
    }
    struct peer *peer = r->memory->resize(r->memory, NULL, 0, sizeof *peer);
    if (peer == NULL) {
        return NULL;
    }
    memset(peer, 0, sizeof *peer);
    peer->node = node;
    peer->shard = shard;
    peer->shards = shards;
    peer->index = (uint16_t)index;
    peer->generation = replication_next_serial(r);
    peer->background = r->options.shard;
    peer->burials.memory = peer->seen_asks.memory = r->memory;
    peer->takes.memory = peer->keeps.memory = r->memory;
    stream_out_init(&peer->stream, r->memory, r->options.window_bytes, r->options.lives);
    r->peers[index] = peer;
    return peer;
}

struct peer *replication_peer_take(struct replication *r, uint32_t node, uint32_t shard,
                                   uint32_t shards)
{
    struct peer *peer = replication_peer_find(r, node, shard);

    return peer != NULL ? peer : make(r, node, shard, shards);
}

struct peer *replication_owner_of(const struct replication *r, uint32_t slot, uint32_t rank)
{
    const struct slot_route *route = route_of(r, slot);

    for (uint32_t i = 0; i < route->owners; i++) {
        if (route->ranks[i] == rank) {
            return peer_at(r, route->peers[i]);
        }
    }
    return NULL;
}

static void peer_free(struct replication *r, struct peer *peer)
{
    if (peer->stream.life > r->options.lives) {
        r->options.lives =
            peer->stream.life; /* The other end remembers it, should it be met again. */
    }
    replication_copies_leave(r, peer, true);
    queue_fini(&peer->flights, r->memory);
    queue_fini(&peer->pending, r->memory);
    buffer_fini(&peer->burials);
    buffer_fini(&peer->seen_asks);
    buffer_fini(&peer->takes);
    buffer_fini(&peer->keeps);
    stream_out_fini(&peer->stream);
    r->peers[peer->index] = NULL;
    r->memory->resize(r->memory, peer, sizeof *peer, 0);
}

void replication_peers_free(struct replication *r)
{
    for (uint32_t i = 0; i < r->peer_capacity; i++) {
        struct peer *peer = r->peers[i];
        if (peer != NULL) {
            struct replication_link *links[] = {peer->out, peer->in};
            for (int j = 0; j < 2; j++) {
                if (links[j] != NULL) {
                    replication_jobs_drop(r, links[j]);
                    replication_wholes_forget(r, links[j]);
                    replication_link_free(links[j]);
                }
            }
            peer->out = peer->in = NULL;
            peer_free(r, peer);
        }
    }
    if (r->peers != NULL) {
        r->memory->resize(r->memory, r->peers, r->peer_capacity * sizeof *r->peers, 0);
    }
    if (r->routes != NULL) {
        r->memory->resize(r->memory, r->routes, replication_route_bytes(r), 0);
    }
}

void replication_peer_drop(struct replication *r, struct peer *peer)
{
    if (!peer->listed && peer->out == NULL && peer->in == NULL) {
        peer_free(r, peer);
    }
}

bool replication_peer_reaches(const struct replication *r, const struct peer *peer)
{
    const uint64_t silence_us = (uint64_t)r->options.silence_ms * 1000;

    return peer->begun && peer->out != NULL && peer->in != NULL && !peer->out->cut &&
           !peer->in->cut && r->now_us - peer->out->heard_us < silence_us &&
           r->now_us - peer->in->heard_us < silence_us;
}

/* ---- The table ---- */

struct listing {
    struct replication *r;
    const struct slot_table *table;
    struct slot_route *routes;
    uint16_t chains[MAP_MEMBERS_MAX]; /* Of each member: its shards' peers. */
};

/* The peer that has this slot on a member; NULL: no memory. */
static struct peer *peer_of(struct listing *listing, const struct slot_table_member *member,
                            uint32_t slot)
{
    struct replication *r = listing->r;
    const uint32_t shard = slot % member->shards;
    uint16_t *chain = &listing->chains[member - listing->table->members];

    for (uint16_t index = *chain; index != NOBODY; index = peer_at(r, index)->next) {
        if (peer_at(r, index)->shard == shard) {
            return peer_at(r, index);
        }
    }
    struct peer *peer = replication_peer_take(r, member->number, shard, member->shards);
    if (peer != NULL) {
        peer->next = *chain;
        *chain = peer->index;
        peer->shards = member->shards;
        peer->next_covers = (struct slot_set){0};
        peer->next_listed = true;
    }
    return peer;
}

/* One node of a slot's owners (`rank`) or targets (PLACEMENT_REPLICAS_MAX). Returns 0 or -ENOMEM. */
static int add_node(struct listing *listing, uint32_t slot, uint32_t number, uint32_t rank)
{
    struct replication *r = listing->r;
    struct slot_route *route = &listing->routes[slot / r->options.shards];
    const struct slot_table_member *member = slot_table_member(listing->table, number);

    if (number == r->options.self.node) {
        route->mine = true;
        route->rank = rank < PLACEMENT_REPLICAS_MAX ? (uint8_t)rank : route->rank;
        return 0;
    }
    if (member == NULL || member->shards == 0) {
        route->lacks = true;
        return 0; /* Nobody can be reached there. */
    }
    struct peer *peer = peer_of(listing, member, slot);
    if (peer == NULL) {
        return -ENOMEM;
    }
    if (slot_set_has(&peer->next_covers, slot)) {
        return 0; /* An owner that is a target, too. */
    }
    slot_set_put(&peer->next_covers, slot, true);
    if (rank < PLACEMENT_REPLICAS_MAX) {
        route->ranks[route->owners++] = (uint8_t)rank;
    }
    route->peers[route->count++] = peer->index;
    return 0;
}

static int add_slot(struct listing *listing, uint32_t slot)
{
    const struct slot_owners *owners = &listing->table->owners[slot];
    const struct slot_owners *targets = &listing->table->targets[slot];
    struct slot_route *route = &listing->routes[slot / listing->r->options.shards];
    int rc = 0;

    *route = (struct slot_route){
        .rank = PLACEMENT_REPLICAS_MAX,
        .first_ms = listing->r->now_ms,
        .keeps_for = NOBODY,
        .awaits_from = NOBODY,
    };
    route->settled = memcmp(owners, targets, sizeof *owners) == 0;
    for (uint32_t rank = 0; rank < PLACEMENT_REPLICAS_MAX && rc == 0; rank++) {
        if (owners->nodes[rank] != 0) {
            rc = add_node(listing, slot, owners->nodes[rank], rank);
        }
    }
    for (uint32_t i = 0; i < PLACEMENT_REPLICAS_MAX && rc == 0; i++) {
        if (targets->nodes[i] != 0) {
            rc = add_node(listing, slot, targets->nodes[i], PLACEMENT_REPLICAS_MAX);
        }
    }
    route->taken = route->rank == 0;
    return rc;
}

/* What was taken over stays so where the owners stay, and who is the first of them is it since he became it. */
static void keep_taken(struct replication *r, struct listing *listing, uint32_t slot)
{
    const struct slot_route *before = route_of(r, slot);
    struct slot_route *after = &listing->routes[slot / r->options.shards];

    if (before->mine && !after->mine) {
        replication_stray_grew(r, slot);
    }
    if (before->rank == 0) {
        after->first_ms = before->first_ms;
    }
    if (memcmp(&r->table->owners[slot], &listing->table->owners[slot],
               sizeof r->table->owners[slot]) == 0) {
        after->taken = before->taken;
        after->paused = before->paused;
        after->awaits = before->awaits;
        after->asked_ms = before->asked_ms;
    } else if (after->rank == 0 && before->rank == 0) {
        after->taken = before->taken; /* Else those that are owners now are asked. */
    }
}

size_t replication_route_bytes(const struct replication *r)
{
    return (SLOT_COUNT / r->options.shards + 1) * sizeof *r->routes;
}

/* Whose clock was mended counts as heard: he may talk now. */
static void follow_clock(const struct replication *r, struct peer *peer)
{
    const struct slot_table_member *member = slot_table_member(r->table, peer->node);
    const bool apart = member != NULL && member->apart;

    if (peer->apart && !apart) {
        peer->heard_us = r->now_us;
    }
    peer->apart = apart;
}

static void apply_listing(struct replication *r, struct listing *listing)
{
    if (r->routes != NULL) {
        for (uint32_t slot = r->options.shard; slot < SLOT_COUNT; slot += r->options.shards) {
            keep_taken(r, listing, slot);
            replication_switch_follow(r, slot, &listing->routes[slot / r->options.shards],
                                      listing->table);
        }
        r->memory->resize(r->memory, r->routes, replication_route_bytes(r), 0);
    }
    r->restarted = r->table == NULL ? listing->table->kept : r->restarted;
    r->routes = listing->routes;
    r->table = listing->table;
    for (uint32_t i = 0; i < r->peer_capacity; i++) {
        static const struct slot_set none;
        struct peer *peer = r->peers[i];
        if (peer != NULL) {
            peer->listed = peer->next_listed;
            replication_tell_covers(r, peer, peer->listed ? &peer->next_covers : &none);
            follow_clock(r, peer);
            peer->resting = false;
            peer->cursor = peer->needed = peer->passes = 0;
            replication_peer_drop(r, peer);
        }
    }
    replication_doubt_clock(r);
    replication_levels_reset(r);
    replication_follow_degraded(r);
}

int replication_set_table(struct replication *r, const struct slot_table *table, uint64_t now_ms,
                          uint64_t now_us)
{
    struct listing listing = {.r = r, .table = table};
    int rc = 0;

    r->now_ms = now_ms;
    r->now_us = now_us;
    listing.routes = r->memory->resize(r->memory, NULL, 0, replication_route_bytes(r));
    if (listing.routes == NULL) {
        return -ENOMEM;
    }
    for (uint32_t i = 0; i < MAP_MEMBERS_MAX; i++) {
        listing.chains[i] = NOBODY;
    }
    for (uint32_t i = 0; i < r->peer_capacity; i++) {
        if (r->peers[i] != NULL) {
            r->peers[i]->next_listed = false;
        }
    }
    for (uint32_t slot = r->options.shard; slot < SLOT_COUNT && rc == 0;
         slot += r->options.shards) {
        rc = add_slot(&listing, slot);
    }
    if (rc != 0) {
        r->memory->resize(r->memory, listing.routes, replication_route_bytes(r), 0);
        return rc;
    }
    apply_listing(r, &listing);
    return 0;
}
