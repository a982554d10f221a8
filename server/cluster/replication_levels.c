/* What is level, and what follows from it.
 *
 * A slot is level here when a copy that was level itself was compared with this one since this node's start, or each
 * other owner was, or has been out of reach for REPLICATION_ALONE_MS: the only owner is so at once, and after a start
 * without the others a node serves what it has. An owner that does not talk to this node as their clocks are too far
 * apart is not out of reach while it is there (peers.h): if it is this one whose clock is wrong, sessions would end early or
 * late here, and its stamps would be ahead of everybody's for long. Nor is a slot level at its only owner, or where others are out of
 * reach, while this node's clock is in doubt (replication_doubt_clock()). One that does not own the slot yet is never level by
 * that. Nor is anybody by the map that he has kept over his start: others may own by now what it says is his, and have what
 * he does not. Until he has heard the present one he is level by comparison only; but who hears nobody who decides for as
 * long as that serves what he has. Once level, a slot stays it for as long as this node is its owner or target.
 *
 * Slots of which something is here though this node has no part in them any more are strays: they are compared with
 * each of their owners, and go once what all of these have seen covers what was seen here, and all are owners that are to
 * be: before that the copy here may be the only one beside the primary's. That an owner has all holds for as long as it is
 * in reach, and until more of the slot comes here that it may not have. What was seen of a slot is something, too, where all
 * of it has ended and was forgotten: an owner that has not heard of an end has its session still. */
#include "replication_private.h"

#include <errno.h>

enum {
    LEVEL_US = 50 * 1000,       /* From look to look. */
    REPORT_US = 1000 * 1000,    /* All that are to be settled are told again after it. */
    STEPS_OF_LOOK = 4096,       /* Slots. */
    ON_THE_WAY_US = 500 * 1000, /* More than a target takes for what it can store. */
    STRAY_REST_US = 5000 * 1000,
    STRAY_RETRY_US = 1000 * 1000,
};

static void set_level(struct replication *r, uint32_t slot)
{
    if (!slot_set_has(&r->level, slot)) {
        slot_set_put(&r->level, slot, true);
        if (!seen_is_known(r->core->seen, slot)) {
            /* Nobody who can be asked knows more; from here on it is noted. A vector without actors claims nothing. */
            seen_begin(r->core->seen, slot);
        }
    }
}

/* May what the table says of who owns what be long over? */
static bool is_kept(const struct replication *r)
{
    return r->table->kept && r->now_us - r->start_us < (uint64_t)REPLICATION_ALONE_MS * 1000;
}

static bool is_out_of_reach(const struct replication *r, const struct peer *peer)
{
    const uint64_t heard_us =
        peer == NULL || peer->heard_us < r->start_us ? r->start_us : peer->heard_us;

    return (peer == NULL || (!peer->reachable && !peer->apart)) &&
           r->now_us - heard_us >= (uint64_t)REPLICATION_ALONE_MS * 1000;
}

static uint32_t nodes_in_reach(const struct replication *r)
{
    bool counted[MAP_MEMBERS_MAX] = {false};
    uint32_t count = 0;

    for (uint32_t i = 0; i < r->peer_capacity; i++) {
        const struct slot_table_member *member =
            r->peers[i] == NULL || !r->peers[i]->reachable
                ? NULL
                : slot_table_member(r->table, r->peers[i]->node);
        if (member != NULL && !counted[member - r->table->members]) {
            counted[member - r->table->members] = true;
            count++;
        }
    }
    return count;
}

void replication_doubt_clock(struct replication *r)
{
    const uint32_t agree = nodes_in_reach(r);
    const bool asked = r->now_us - r->start_us >= (uint64_t)REPLICATION_ALONE_MS * 1000;
    uint32_t apart = 0;

    for (uint32_t i = 0; i < r->table->member_count; i++) {
        apart += r->table->members[i].apart;
    }
    r->clock_doubted =
        apart > agree || (r->restarted && agree == 0 && !asked && r->table->member_count > 1);
}

bool replication_check_level(struct replication *r, uint32_t slot)
{
    const struct slot_route *route = route_of(r, slot);
    bool alone = route->owners == 0;

    if (r->degraded && replication_stands_back(r, slot)) {
        return false;
    }
    if (slot_set_has(&r->level, slot)) {
        return true;
    }
    if (!route->mine || is_kept(r) || (route->rank == PLACEMENT_REPLICAS_MAX && alone)) {
        return false;
    }
    for (uint32_t i = 0; i < route->owners; i++) {
        const struct peer *peer = peer_at(r, route->peers[i]);
        const bool compared = slot_set_has(&peer->compared, slot);
        if (!compared && (route->rank == PLACEMENT_REPLICAS_MAX || !is_out_of_reach(r, peer))) {
            return false;
        }
        alone = alone || !compared;
    }
    if (alone && r->clock_doubted) {
        return false;
    }
    set_level(r, slot);
    return true;
}

/* It owns the slot, is to, or coordinates it still. */
static bool has_part(const struct slot_route *route)
{
    return route->mine || route->keeps_for != NOBODY;
}

/* ---- Strays ---- */

static struct stray *stray_of(struct replication *r, uint32_t slot)
{
    if (!slot_set_has(&r->stray, slot)) {
        return NULL;
    }
    for (uint32_t i = 0; i < STRAYS_MAX; i++) {
        if (r->strays[i].used && r->strays[i].slot == slot) {
            return &r->strays[i];
        }
    }
    return NULL;
}

/* Has a vector all that was seen here? What was not kept account of here has been compared, and that must do. */
static bool covers_ours(struct replication *r, uint32_t slot, uint8_t flags, struct bytes seen)
{
    struct seen theirs;

    if (!seen_is_known(r->core->seen, slot)) {
        return true;
    }
    r->scratch.size = 0;
    if ((flags & FLAG_SEEN) == 0 || seen_put(r->core->seen, slot, &r->scratch) != 0 ||
        seen_init(&theirs, r->memory, 1) != 0) {
        return false;
    }
    bool covers =
        seen_join(&theirs, 0, seen) == 0 && seen_covers_all(&theirs, 0, buffer_bytes(&r->scratch));
    seen_fini(&theirs);
    return covers;
}

static void stray_compared(struct replication *r, const struct job *job, uint8_t flags,
                           struct bytes seen)
{
    struct stray *stray = stray_of(r, job->slot);
    const uint32_t node = job->link->peer->node;
    const uint32_t rank = slot_owners_rank(&r->table->owners[job->slot], node);

    if (stray != NULL && rank < PLACEMENT_REPLICAS_MAX && !job->outdated &&
        covers_ours(r, job->slot, flags, seen)) {
        stray->agreed |= (uint8_t)(1U << rank);
    }
}

void replication_stray_grew(struct replication *r, uint32_t slot)
{
    struct stray *stray = stray_of(r, slot);

    if (stray != NULL) {
        stray->agreed = 0;
        stray->drops = false;
    }
    for (uint32_t i = 0; r->stats.compares > 0 && i < r->peer_capacity; i++) {
        const struct peer *peer = r->peers[i];
        struct job *jobs[] = {
            peer == NULL || peer->out == NULL ? NULL : replication_job(peer->out, slot),
            peer == NULL || peer->in == NULL ? NULL : replication_job(peer->in, slot),
        };
        for (int j = 0; j < 2; j++) {
            if (jobs[j] != NULL) {
                jobs[j]->outdated = true;
            }
        }
    }
}

static bool any(void *context, uint64_t position, uint64_t hash)
{
    (void)position;
    (void)hash;
    *(bool *)context = true;
    return false;
}

static void set_stray(struct replication *r, uint32_t slot, bool is)
{
    if (slot_set_has(&r->stray, slot) != is) {
        slot_set_put(&r->stray, slot, is);
        r->stats.slots_stray += is ? 1U : UINT32_MAX;
    }
}

/* Look at some more slots that are not this node's. All of them once, then there is a rest. */
static void look_for_strays(struct replication *r)
{
    uint32_t free = 0;

    for (uint32_t count = 0; count < STEPS_OF_LOOK && r->work > 0 && r->now_us >= r->stray_us;
         count++) {
        const uint32_t slot = r->stray_cursor;
        while (free < STRAYS_MAX && r->strays[free].used) {
            free++;
        }
        if (free == STRAYS_MAX) {
            return;
        }
        if (++r->stray_looked > SLOT_COUNT / r->options.shards) {
            r->stray_looked = 0;
            r->stray_us = r->now_us + STRAY_REST_US;
            r->stats.looked = true;
        }
        r->stray_cursor =
            slot + r->options.shards < SLOT_COUNT ? slot + r->options.shards : r->options.shard;
        if (has_part(route_of(r, slot)) || stray_of(r, slot) != NULL) {
            continue;
        }
        bool found = seen_is_known(r->core->seen, slot);
        if (!found) {
            r->core->walk(r->core, slot_first(slot), slot_last(slot), false, any, &found);
            r->work -= WORK_OF_WALK;
        }
        set_stray(r, slot, found);
        if (found && route_of(r, slot)->owners > 0) {
            r->strays[free] = (struct stray){.slot = slot, .used = true};
        }
    }
}

/* Returns whether there is more to do now. */
static bool go_on_with(struct replication *r, struct stray *stray)
{
    const struct slot_route *route = route_of(r, stray->slot);
    uint8_t owners = 0;

    if (stray->drops) {
        /* What was said of it in a comparison under way holds no more. */
        replication_jobs_fail(r, stray->slot);
        int rc = r->core->drop(r->core, stray->slot, r->now_ms);
        r->work -= WORK_OF_SEND * 16;
        if (rc == 0) {
            seen_forget(r->core->seen, stray->slot);
            stray->used = false;
            set_stray(r, stray->slot, false);
            r->stats.slots_dropped++;
        }
        return rc == 1;
    }
    for (uint32_t i = 0; i < route->owners; i++) {
        const uint8_t rank = (uint8_t)(1U << route->ranks[i]);
        owners |= rank;
        if (!peer_at(r, route->peers[i])->reachable) {
            stray->agreed &= (uint8_t)~rank; /* It may come back with less. */
        }
    }
    if ((stray->agreed & owners) == owners && owners != 0) {
        stray->drops = route->settled;
        stray->used = stray->drops; /* Its place is for others now; it is looked at again later. */
        return stray->drops;
    }
    if (r->now_us < stray->retry_us) {
        return false;
    }
    stray->retry_us = r->now_us + STRAY_RETRY_US;
    for (uint32_t i = 0; i < route->owners; i++) {
        struct peer *peer = peer_at(r, route->peers[i]);
        if ((stray->agreed >> route->ranks[i] & 1) == 0 && peer->reachable) {
            replication_want(peer, stray->slot);
        }
    }
    return false;
}

/* ---- After a comparison ---- */

void replication_slot_compared(struct replication *r, struct peer *peer, const struct job *job,
                               uint8_t flags, struct bytes seen)
{
    const uint32_t slot = job->slot;
    const struct slot_route *route = route_of(r, slot);

    if (!has_part(route)) {
        stray_compared(r, job, flags, seen);
        return;
    }
    if ((job->flags & FLAG_SEEN) != 0) {
        const bool known = seen_is_known(r->core->seen, slot);
        if (seen_join(r->core->seen, slot, buffer_bytes(&job->seen)) == -EBADMSG) {
            replication_link_bad(job->link);
            return;
        }
        if (!known) {
            seen_set_filled(r->core->seen, slot, true);
        }
    }
    slot_set_put(&peer->compared, slot, true);
    if (job->in_turn == peer->in_turn && peer->in_state != IN_DOWN) {
        stream_in_set_whole(&peer->stream_in, slot);
    }
    if (job->out_turn == peer->out_turn && !job->overtaken && slot_set_has(&peer->covers, slot)) {
        slot_set_put(&peer->covered, slot, true);
    }
    if ((flags & FLAG_LEVEL) != 0) {
        set_level(r, slot);
    }
}

static void overtake(const struct replication_link *link, uint32_t slot)
{
    struct job *job = link == NULL ? NULL : replication_job(link, slot);

    if (job != NULL) {
        job->overtaken = true;
    }
}

void replication_came_alone(struct replication *r, const struct peer *from, uint32_t slot)
{
    const struct slot_route *route = r->table == NULL ? NULL : route_of(r, slot);

    for (uint32_t i = 0; route != NULL && i < route->count; i++) {
        struct peer *peer = peer_at(r, route->peers[i]);
        if (peer != from) {
            slot_set_put(&peer->covered, slot, false);
            overtake(peer->out, slot);
            overtake(peer->in, slot);
        }
    }
}

void replication_slot_uncovered(struct replication *r, struct peer *peer, uint32_t slot)
{
    slot_set_put(&peer->covered, slot, false);
    slot_set_put(&r->told, slot, false);
}

/* ---- Looks ---- */

/* What is streamed is on its way for as long as a target takes what comes. One that does not, as its disk is full, has not all
 * that is here for as long as that lasts. */
static bool takes_what_comes(const struct replication *r, const struct peer *peer)
{
    const struct flight *oldest = peer->flights.count == 0 ? NULL : queue_at(&peer->flights, 0);

    return peer->reachable && peer->stream.open &&
           (oldest == NULL || r->now_us - oldest->us < ON_THE_WAY_US);
}

/* May an earlier owner, which stores nothing, have what this node has not? Since it is so it was not found to have nothing more. */
static bool lacks_of(const struct peer *peer, uint32_t slot)
{
    return peer->reachable && !slot_set_has(&peer->compared, slot);
}

/* Does this node have all that was acknowledged of the slot? Its coordinator does: the first owner, but for one that stores
 * nothing and has another one stand in; then that one, with all that came from those before it. */
static bool has_all(const struct replication *r, uint32_t slot, const struct slot_route *route)
{
    if (!replication_is_level(r, slot)) {
        return false;
    }
    if (route->rank == 0) {
        return route->awaits_from == NOBODY; /* Who is awaited streams to whom he knows. */
    }
    for (uint32_t i = 0; i < route->owners; i++) {
        const struct peer *peer = peer_at(r, route->peers[i]);
        if (route->ranks[i] < route->rank && lacks_of(peer, slot)) {
            return false;
        }
    }
    return replication_stands_in(r, slot);
}

/* All targets have what is here: they may own it. */
static void report(struct replication *r, uint32_t slot)
{
    const struct slot_route *route = route_of(r, slot);
    const struct slot_owners *targets = &r->table->targets[slot];

    if (route->settled || !has_all(r, slot, route)) {
        return;
    }
    for (uint32_t rank = 0; rank < PLACEMENT_REPLICAS_MAX && targets->nodes[rank] != 0; rank++) {
        bool has = targets->nodes[rank] == r->options.self.node;
        for (uint32_t i = 0; i < route->count && !has; i++) {
            const struct peer *peer = peer_at(r, route->peers[i]);
            has = peer->node == targets->nodes[rank] && takes_what_comes(r, peer) &&
                  slot_set_has(&peer->covered, slot);
        }
        if (!has) {
            return;
        }
    }
    slot_set_put(&r->told, slot, true);
    r->port->level(r->port, slot, targets);
}

/* This node is first, or stands in, and has not asked yet those who may know more: before it is asked for the slot. */
static void ask_others(struct replication *r, uint32_t slot, bool again)
{
    const struct slot_route *route = route_of(r, slot);

    if (route->rank == 0 && !route->taken && route->awaits == 0 && route->awaits_from == NOBODY &&
        replication_is_level(r, slot)) {
        replication_take_over(r, slot);
    }
    for (uint32_t i = 0; i < route->owners && again && !route->settled; i++) {
        struct peer *peer = peer_at(r, route->peers[i]);
        if (route->ranks[i] < route->rank && peer->degraded && lacks_of(peer, slot)) {
            (void)replication_ask_seen(peer, slot);
        }
    }
}

static void look_at_levels(struct replication *r)
{
    const bool reports = r->now_us >= r->report_us;
    uint32_t owned = 0, not_level = 0;

    for (uint32_t slot = r->options.shard; slot < SLOT_COUNT; slot += r->options.shards) {
        const struct slot_route *route = route_of(r, slot);
        if (!route->mine) {
            continue;
        }
        owned += route->rank < PLACEMENT_REPLICAS_MAX;
        not_level += !replication_check_level(r, slot);
        ask_others(r, slot, reports);
        if (reports || !slot_set_has(&r->told, slot)) {
            report(r, slot);
        }
    }
    r->stats.slots_owned = owned;
    r->stats.slots_not_level = not_level;
    if (reports) {
        r->report_us = r->now_us + REPORT_US;
    }
}

bool replication_levels(struct replication *r)
{
    bool more = false;

    for (uint32_t i = 0; i < STRAYS_MAX && r->work > 0; i++) {
        if (r->strays[i].used) {
            more |= go_on_with(r, &r->strays[i]);
        }
    }
    if (r->now_us >= r->level_us) {
        r->level_us = r->now_us + LEVEL_US;
        replication_doubt_clock(r);
        look_at_levels(r);
    }
    if (r->core->ready(r->core)) {
        look_for_strays(r);
    }
    return more || r->work <= 0;
}

void replication_level_leave(struct replication *r, uint32_t slot)
{
    slot_set_put(&r->level, slot, false);
    /* It goes from here: should it come again, what was compared before is nothing. */
    for (uint32_t i = 0; i < r->peer_capacity; i++) {
        if (r->peers[i] != NULL) {
            slot_set_put(&r->peers[i]->compared, slot, false);
            stream_in_clear_whole(&r->peers[i]->stream_in, slot);
        }
    }
}

void replication_levels_reset(struct replication *r)
{
    for (uint32_t slot = r->options.shard; slot < SLOT_COUNT; slot += r->options.shards) {
        if (!has_part(route_of(r, slot))) {
            replication_level_leave(r, slot);
        }
    }
    memset(r->strays, 0, sizeof r->strays);
    r->stray = (struct slot_set){0};
    r->stats.slots_stray = 0;
    r->stats.looked = false;
    r->told = (struct slot_set){0};
    r->level_us = r->report_us = r->stray_us = 0;
    r->stray_looked = 0;
}

bool replication_is_level(const struct replication *r, uint32_t slot)
{
    return slot_set_has(&r->level, slot) && !(r->degraded && replication_stands_back(r, slot));
}
