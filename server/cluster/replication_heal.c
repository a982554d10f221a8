/* Comparisons: which slots, when, at what pace.
 *
 * With each other shard, first what is urgent, then passes over all slots in which something may be missing here, then,
 * one by one, all slots, so that each is compared once in a while. Where both ends miss something, both go over the
 * slots, the one with the lower number from the first one up, the other from the last one down: each slot is compared
 * once, by whoever comes to it first, as that serves both. */
#include "replication_private.h"

enum {
    PASS_US =
        500 *
        1000, /* From the end of a pass to the next: twice that after each that found something... */
    PASSES_MAX = 5,       /* ... up to 2 to this power. */
    STEPS_OF_TICK = 4096, /* Slots looked at. */
    ROUND_MS = 600 * 1000,
    BURST_MS = 50, /* Of the pace in bytes. */
};

bool replication_may_heal(const struct replication *r)
{
    return r->options.heal_bytes_per_s == 0 || r->heal_tokens > 0;
}

void replication_want(struct peer *peer, uint32_t slot)
{
    if (!slot_set_has(&peer->urgent, slot)) {
        slot_set_put(&peer->urgent, slot, true);
        peer->urgent_count++;
    }
}

static bool is_owner(const struct replication *r, const struct peer *peer, uint32_t slot)
{
    return slot_owners_has(&r->table->owners[slot], peer->node);
}

/* Do both have it, or should? One of them owns it. */
static bool is_shared(const struct replication *r, const struct peer *peer, uint32_t slot)
{
    const struct slot_route *route = route_of(r, slot);

    return (route->mine || route->keeps_for != NOBODY) && slot_set_has(&peer->covers, slot) &&
           (route->rank < PLACEMENT_REPLICAS_MAX || is_owner(r, peer, slot));
}

static bool is_busy(const struct peer *peer, uint32_t slot)
{
    return replication_job(peer->out, slot) != NULL || replication_job(peer->in, slot) != NULL;
}

/* May something of that node be missing here, or there for all that is known here? The latter is not always mutual: a
 * table that changes while a slot is compared makes its end say nothing about what is streamed since. */
static bool is_needed(const struct replication *r, const struct peer *peer, uint32_t slot)
{
    const bool is_unknown =
        !seen_is_known(r->core->seen, slot) && !seen_is_held(r->core->seen, slot);

    return is_shared(r, peer, slot) &&
           (!stream_in_is_whole(&peer->stream_in, slot) || is_unknown ||
            !slot_set_has(&peer->compared, slot) || !slot_set_has(&peer->covered, slot)) &&
           !is_busy(peer, slot);
}

static bool has_room(const struct replication *r, const struct peer *peer)
{
    return peer->out->job_count < JOBS_MAX && r->work > 0 && replication_may_heal(r) &&
           replication_link_is_clear(peer->out);
}

static void open_urgent(struct replication *r, struct peer *peer)
{
    for (uint32_t slot = r->options.shard;
         peer->urgent_count > 0 && slot < SLOT_COUNT && has_room(r, peer);
         slot += r->options.shards) {
        if (slot_set_has(&peer->urgent, slot)) {
            slot_set_put(&peer->urgent, slot, false);
            peer->urgent_count--;
            if (has_slot(r, peer, slot) && replication_job(peer->out, slot) == NULL) {
                (void)replication_job_open(r, peer, slot);
            }
        }
    }
}

/* The slot of a step, from the end where this node begins. */
static uint32_t slot_of_step(const struct replication *r, const struct peer *peer, uint32_t step)
{
    const uint32_t steps = SLOT_COUNT / r->options.shards + 1;
    const uint32_t place = r->options.self.node < peer->node ? step : steps - 1 - step;

    return place * r->options.shards + r->options.shard;
}

/* Go on with a pass. Returns whether it is not over. */
static bool go_on(struct replication *r, struct peer *peer)
{
    const uint32_t steps = SLOT_COUNT / r->options.shards + 1;

    for (uint32_t count = 0; peer->cursor < steps; count++) {
        const uint32_t slot = slot_of_step(r, peer, peer->cursor);
        if (count == STEPS_OF_TICK || !has_room(r, peer)) {
            return true;
        }
        if (slot < SLOT_COUNT && has_slot(r, peer, slot) && is_needed(r, peer, slot)) {
            (void)replication_job_open(r, peer, slot);
            peer->needed++;
        }
        peer->cursor++;
    }
    return false;
}

/* Each slot has its time in the round, whoever shares it. */
static void compare_background(struct replication *r, struct peer *peer)
{
    const uint64_t round_ms = r->options.round_ms == 0 ? ROUND_MS : r->options.round_ms;
    const uint64_t interval_us = round_ms * 1000 * r->options.shards / SLOT_COUNT + 1;
    uint64_t due = (r->now_us - peer->background_us) / interval_us;

    if (r->options.self.node > peer->node) {
        return;
    }
    if (due > STEPS_OF_TICK) { /* It did not come to it for long: no hurry now. */
        peer->background_us = r->now_us - interval_us;
        due = 1;
    }
    for (; due > 0 && has_room(r, peer); due--) {
        const uint32_t slot = peer->background;
        peer->background_us += interval_us;
        peer->background =
            slot + r->options.shards < SLOT_COUNT ? slot + r->options.shards : r->options.shard;
        if (has_slot(r, peer, slot) && is_shared(r, peer, slot) && !is_busy(peer, slot)) {
            (void)replication_job_open(r, peer, slot);
        }
    }
}

bool replication_heal(struct replication *r, struct peer *peer)
{
    if (!peer->reachable || peer->in_state != IN_RUNNING || !peer->stream.open ||
        !r->core->ready(r->core)) {
        return false;
    }
    open_urgent(r, peer);
    if (peer->resting && r->now_us - peer->pass_us < (uint64_t)PASS_US << peer->passes) {
        if (peer->needed == 0) {
            compare_background(r, peer);
        }
        return false;
    }
    if (peer->resting) {
        peer->resting = false;
        peer->cursor = peer->needed = 0;
    }
    if (go_on(r, peer)) {
        return r->work > 0 && has_room(r, peer);
    }
    peer->resting = true;
    peer->passes = peer->needed == 0           ? 0
                   : peer->passes < PASSES_MAX ? peer->passes + 1
                                               : PASSES_MAX;
    peer->pass_us = r->now_us;
    return false;
}

void replication_heal_pace(struct replication *r)
{
    const uint64_t rate = r->options.heal_bytes_per_s;
    const int64_t most = (int64_t)(rate * BURST_MS / 1000) + 1;
    const uint64_t passed_us = r->now_us - r->heal_us;
    const uint64_t more = (passed_us > 1000000 ? 1000000 : passed_us) * rate + r->heal_rest;

    r->heal_us = r->now_us;
    r->heal_rest = more % 1000000; /* Of a byte: not lost, however often this is called. */
    r->heal_tokens += (int64_t)(more / 1000000);
    r->heal_tokens = r->heal_tokens > most ? most : r->heal_tokens;
}
