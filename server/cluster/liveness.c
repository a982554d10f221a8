#include "liveness.h"

#include <assert.h>
#include <errno.h>
#include <stddef.h>

#include "liveness_private.h"

static bool within(uint32_t value, uint32_t least, uint32_t greatest)
{
    return value >= least && value <= greatest;
}

int liveness_settings_check(const struct liveness_settings *settings)
{
    bool fine =
        within(settings->heartbeat_ms, 100, 10 * 1000) &&
        within(settings->down_after_ms, 3 * settings->heartbeat_ms, 120 * 1000) &&
        settings->probe_members <= 16 && settings->cooldown_ms <= settings->cooldown_max_ms &&
        settings->cooldown_max_ms <= 24 * 60 * 60 * 1000 && within(settings->panic_percent, 10, 50);

    return fine ? 0 : -ERANGE;
}

uint32_t liveness_tick_ms(const struct liveness_settings *settings)
{
    uint32_t quarter_ms = settings->heartbeat_ms / 4;

    return quarter_ms < LIVENESS_TICK_MS_MAX ? quarter_ms : LIVENESS_TICK_MS_MAX;
}

/* ---- Members ---- */

/* The place of a member, or LIVENESS_MEMBERS_MAX. */
static uint32_t place_of(const struct liveness *liveness, uint32_t node)
{
    uint32_t i = node == 0 ? LIVENESS_MEMBERS_MAX : 0;

    while (i < LIVENESS_MEMBERS_MAX && liveness->peers[i].node != node) {
        i++;
    }
    return i;
}

struct liveness_peer *liveness_find(struct liveness *liveness, uint32_t node)
{
    uint32_t place = place_of(liveness, node);

    return place == LIVENESS_MEMBERS_MAX ? NULL : &liveness->peers[place];
}

void liveness_init(struct liveness *liveness, const struct liveness_settings *settings,
                   struct liveness_port *port, struct actor self, uint64_t random, uint64_t now_ms)
{
    assert(liveness_settings_check(settings) == 0);
    assert(self.node != 0 && self.start != 0);

    *liveness = (struct liveness){
        .settings = *settings,
        .port = port,
        .self = self,
        .random = random,
        .heartbeat_due_ms = now_ms,
    };
    awake_init(&liveness->awake, liveness_tick_ms(settings), now_ms);
}

static bool named(const uint32_t nodes[], uint32_t count, uint32_t node)
{
    for (uint32_t i = 0; i < count; i++) {
        if (nodes[i] == node) {
            return true;
        }
    }
    return false;
}

/* Whoever is new has the time of `down_after` to be heard. */
static void peer_add(struct liveness *liveness, uint32_t node)
{
    for (uint32_t i = 0; i < LIVENESS_MEMBERS_MAX; i++) {
        struct liveness_peer *peer = &liveness->peers[i];
        if (peer->node == 0) {
            *peer = (struct liveness_peer){
                .node = node,
                .heard_ms = liveness->awake.time_ms,
                .mutual_ms = liveness->awake.time_ms,
            };
            return;
        }
    }
    assert(!"no place for a member");
}

/* ---- Saying ---- */

struct liveness_message liveness_message_to(const struct liveness *liveness,
                                            const struct liveness_peer *peer,
                                            enum liveness_kind kind)
{
    uint64_t unheard_ms = liveness->awake.time_ms - peer->heard_ms;

    return (struct liveness_message){
        .kind = kind,
        .from = liveness->self,
        .unheard_ms = unheard_ms < UINT32_MAX ? (uint32_t)unheard_ms : UINT32_MAX,
        .condition = liveness->condition,
        .followed = liveness->followed,
    };
}

void liveness_send(struct liveness *liveness, const struct liveness_peer *peer,
                   const struct liveness_message *message)
{
    liveness->counters.heartbeats_sent +=
        message->kind == LIVENESS_HEARTBEAT || message->kind == LIVENESS_PING;
    liveness->port->send(liveness->port, peer->node, message);
}

static void heartbeat(struct liveness *liveness, const struct liveness_peer *peer)
{
    struct liveness_message message = liveness_message_to(liveness, peer, LIVENESS_HEARTBEAT);

    liveness_send(liveness, peer, &message);
}

void liveness_ping(struct liveness *liveness, struct liveness_peer *peer)
{
    struct liveness_message message = liveness_message_to(liveness, peer, LIVENESS_PING);

    peer->pinged_ms = liveness->awake.time_ms;
    liveness->counters.pings_sent++;
    liveness_send(liveness, peer, &message);
}

static void heartbeat_all(struct liveness *liveness)
{
    for (uint32_t i = 0; i < LIVENESS_MEMBERS_MAX; i++) {
        if (liveness->peers[i].node != 0) {
            heartbeat(liveness, &liveness->peers[i]);
        }
    }
}

static void report(struct liveness *liveness)
{
    struct liveness_report *out = &liveness->report;

    out->from = liveness->self;
    out->number = ++liveness->report_number;
    out->condition = liveness->condition;
    out->count = 0;
    for (uint32_t i = 0; i < LIVENESS_MEMBERS_MAX; i++) {
        if (liveness->peers[i].node != 0) {
            out->members[out->count].node = liveness->peers[i].node;
            out->members[out->count++].belief = liveness->peers[i].belief;
        }
    }
    liveness->changed = false;
    liveness->port->report(liveness->port, out);
}

/* ---- This node's own state ---- */

void liveness_slower(struct liveness *liveness)
{
    liveness->trouble = true;
    if (liveness->slow < LIVENESS_SLOW_MAX) {
        liveness->slow++;
    }
}

void liveness_faster(struct liveness *liveness)
{
    if (liveness->slow > 0) {
        liveness->slow--;
    }
}

uint64_t liveness_patience_ms(const struct liveness *liveness)
{
    return liveness->settings.down_after_ms +
           (uint64_t)liveness->slow * liveness->settings.heartbeat_ms;
}

static void advance(struct liveness *liveness, uint64_t now_ms)
{
    if (awake_advance(&liveness->awake, now_ms)) {
        liveness->counters.pauses++;
        liveness_slower(liveness);
    }
}

/* A heartbeat without trouble in which most others were heard. */
static void recover(struct liveness *liveness)
{
    uint32_t members = 0, heard = 0;

    for (uint32_t i = 0; i < LIVENESS_MEMBERS_MAX; i++) {
        members += liveness->peers[i].node != 0;
        heard += liveness->peers[i].node != 0 && liveness->peers[i].belief == BELIEF_HEARD;
    }
    if (!liveness->trouble && 2 * heard >= members) {
        liveness_faster(liveness);
    }
    liveness->trouble = false;
}

/* ---- What is believed ---- */

static uint64_t suspect_after_ms(const struct liveness *liveness)
{
    return liveness->settings.down_after_ms / 2;
}

static void believe(struct liveness *liveness, struct liveness_peer *peer,
                    enum liveness_belief belief)
{
    if (peer->belief != belief) {
        peer->belief = belief;
        liveness->changed = true;
    }
}

static void suspect(struct liveness *liveness, struct liveness_peer *peer)
{
    believe(liveness, peer, BELIEF_SUSPECT);
    liveness->counters.suspicions++;
    liveness_round_begin(liveness, peer);
    liveness_ping(liveness, peer);
}

static void silence(struct liveness *liveness, struct liveness_peer *peer)
{
    believe(liveness, peer, BELIEF_SILENT);
    liveness->counters.silent++;
}

static void hear(struct liveness *liveness, struct liveness_peer *peer)
{
    peer->heard_ms = liveness->awake.time_ms;
    peer->broken = false;
}

static void hear_mutual(struct liveness *liveness, struct liveness_peer *peer)
{
    peer->mutual_ms = liveness->awake.time_ms;
    liveness->counters.refuted += peer->belief == BELIEF_SUSPECT;
    believe(liveness, peer, BELIEF_HEARD);
    liveness_asked_heard(liveness, peer->node);
}

/* The sender hears this node. It cannot have heard it for longer than this node has been steadily there to be heard. */
static bool hears_us(const struct liveness *liveness, const struct liveness_message *message)
{
    uint64_t steady_ms = liveness->awake.time_ms - liveness->awake.since_ms;

    return message->unheard_ms < liveness->settings.down_after_ms ||
           steady_ms < liveness->settings.down_after_ms;
}

/* ---- Time ---- */

/* While it is suspected, a silent member is pinged. */
static void peer_ping(struct liveness *liveness, struct liveness_peer *peer)
{
    uint64_t now_ms = liveness->awake.time_ms;
    uint64_t suspect_ms = liveness_probe_ms(liveness) / 8; /* Some may be lost, and answers too. */

    if (peer->belief == BELIEF_SUSPECT && now_ms - peer->pinged_ms >= suspect_ms) {
        liveness_ping(liveness, peer);
    }
}

static void peer_tick(struct liveness *liveness, struct liveness_peer *peer)
{
    uint64_t now_ms = liveness->awake.time_ms;
    uint64_t silence_ms = now_ms - peer->mutual_ms;

    if (peer->belief == BELIEF_HEARD && silence_ms >= suspect_after_ms(liveness)) {
        suspect(liveness, peer);
    } else if (peer->belief == BELIEF_SUSPECT && now_ms >= peer->round_end_ms) {
        if (liveness_round_end(liveness, peer) && peer->broken) {
            liveness->counters.confirmed++;
            silence(liveness, peer);
        } else {
            liveness_round_begin(liveness, peer);
        }
    }
    if (peer->belief != BELIEF_SILENT && silence_ms >= liveness_patience_ms(liveness)) {
        silence(liveness, peer);
    }
    peer_ping(liveness, peer);
}

/* ---- Events ---- */

void liveness_members(struct liveness *liveness, uint64_t now_ms, const uint32_t nodes[],
                      uint32_t count)
{
    assert(count <= LIVENESS_MEMBERS_MAX);

    advance(liveness, now_ms);
    for (uint32_t i = 0; i < LIVENESS_MEMBERS_MAX; i++) {
        if (liveness->peers[i].node != 0 && !named(nodes, count, liveness->peers[i].node)) {
            liveness->peers[i] = (struct liveness_peer){.node = 0};
            liveness->changed = true;
        }
    }
    for (uint32_t i = 0; i < count; i++) {
        assert(nodes[i] != 0);
        if (nodes[i] != liveness->self.node && liveness_find(liveness, nodes[i]) == NULL) {
            peer_add(liveness, nodes[i]);
            liveness->changed = true;
        }
    }
}

void liveness_tick(struct liveness *liveness, uint64_t now_ms)
{
    advance(liveness, now_ms);
    if (now_ms >= liveness->heartbeat_due_ms) {
        heartbeat_all(liveness);
        recover(liveness);
        liveness->changed = true;
        liveness->heartbeat_due_ms += liveness->settings.heartbeat_ms;
        if (liveness->heartbeat_due_ms <= now_ms) {
            liveness->heartbeat_due_ms = now_ms + liveness->settings.heartbeat_ms;
        }
    }
    for (uint32_t i = 0; i < LIVENESS_MEMBERS_MAX; i++) {
        if (liveness->peers[i].node != 0) {
            peer_tick(liveness, &liveness->peers[i]);
        }
    }
    liveness_asked_tick(liveness);
    if (liveness->changed) {
        report(liveness);
    }
}

/* The sender's newest life, or NULL where the message is to be dropped. */
static struct liveness_peer *sender(struct liveness *liveness, struct actor from)
{
    struct liveness_peer *peer = liveness_find(liveness, from.node);

    if (peer == NULL || from.start < peer->start) {
        liveness->counters.stale++;
        return NULL;
    }
    if (from.start > peer->start) {
        liveness->counters.restarts += peer->start != 0;
        peer->start = from.start;
        peer->followed = 0;
    }
    return peer;
}

void liveness_receive(struct liveness *liveness, uint64_t now_ms,
                      const struct liveness_message *message)
{
    advance(liveness, now_ms);
    struct liveness_peer *peer = sender(liveness, message->from);
    if (peer == NULL) {
        return;
    }
    hear(liveness, peer);
    peer->followed = message->followed > peer->followed ? message->followed : peer->followed;
    if (hears_us(liveness, message)) {
        hear_mutual(liveness, peer);
    } else {
        liveness->counters.deaf++;
    }
    switch (message->kind) {
    case LIVENESS_PING:
        heartbeat(liveness, peer);
        /* fall through */
    case LIVENESS_HEARTBEAT:
        liveness->counters.heartbeats_heard++;
        break;
    case LIVENESS_PROBE:
        liveness_probe(liveness, peer, message);
        break;
    case LIVENESS_YES:
    case LIVENESS_NO:
    case LIVENESS_UNSURE:
        liveness_answer(liveness, message);
        break;
    }
    if (liveness->changed) {
        report(liveness);
    }
}

void liveness_reset(struct liveness *liveness, uint64_t now_ms, uint32_t node)
{
    advance(liveness, now_ms);
    struct liveness_peer *peer = liveness_find(liveness, node);
    if (peer == NULL) {
        return;
    }
    liveness->counters.resets++;
    peer->broken = true;
    if (peer->belief == BELIEF_HEARD) {
        suspect(liveness, peer);
        report(liveness);
    }
}

void liveness_new_leader(struct liveness *liveness, uint64_t now_ms)
{
    advance(liveness, now_ms);
    report(liveness);
}

void liveness_condition(struct liveness *liveness, uint64_t now_ms, uint8_t condition)
{
    advance(liveness, now_ms);
    if (liveness->condition != (condition & CONDITION_OWN)) {
        liveness->condition = condition & CONDITION_OWN;
        heartbeat_all(liveness);
        report(liveness);
    }
}

void liveness_follow(struct liveness *liveness, uint64_t followed)
{
    liveness->followed = followed > liveness->followed ? followed : liveness->followed;
}

/* ---- Questions ---- */

enum liveness_belief liveness_belief(const struct liveness *liveness, uint32_t node)
{
    uint32_t place = place_of(liveness, node);

    return place == LIVENESS_MEMBERS_MAX ? BELIEF_UNKNOWN : liveness->peers[place].belief;
}

uint64_t liveness_followed(const struct liveness *liveness, uint32_t node)
{
    uint32_t place = place_of(liveness, node);

    return place == LIVENESS_MEMBERS_MAX ? 0 : liveness->peers[place].followed;
}
