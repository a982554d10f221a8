#include "verdict.h"

#include <assert.h>
#include <string.h>

/* ---- Sets of places ---- */

static void set_put(uint64_t set[], uint32_t place, bool in)
{
    uint64_t bit = UINT64_C(1) << (place % 64);

    set[place / 64] = in ? set[place / 64] | bit : set[place / 64] & ~bit;
}

static bool set_has(const uint64_t set[], uint32_t place)
{
    return (set[place / 64] >> (place % 64) & 1) != 0;
}

/* ---- Members ---- */

static bool is_member(const struct verdict_place *place)
{
    return place->member.node != 0;
}

/* The place of a node, or of none (0): LIVENESS_MEMBERS_MAX where there is none. */
static uint32_t place_of(const struct verdict *verdict, uint32_t node)
{
    uint32_t i = 0;

    while (i < LIVENESS_MEMBERS_MAX && verdict->places[i].member.node != node) {
        i++;
    }
    return i;
}

void verdict_init(struct verdict *verdict, const struct liveness_settings *settings,
                  struct verdict_port *port, uint64_t now_ms)
{
    assert(liveness_settings_check(settings) == 0);

    memset(verdict, 0, sizeof *verdict);
    verdict->settings = *settings;
    verdict->port = port;
    awake_init(&verdict->awake, liveness_tick_ms(settings), now_ms);
    verdict->begin_ms = verdict->awake.time_ms;
}

static void place_remove(struct verdict *verdict, uint32_t gone)
{
    memset(&verdict->places[gone], 0, sizeof verdict->places[gone]);
    for (uint32_t i = 0; i < LIVENESS_MEMBERS_MAX; i++) {
        set_put(verdict->places[i].heard, gone, false);
        set_put(verdict->places[i].silent, gone, false);
        set_put(verdict->places[i].suspected, gone, false);
    }
}

static void remove_absent(struct verdict *verdict, const struct verdict_member members[],
                          uint32_t count)
{
    for (uint32_t i = 0; i < LIVENESS_MEMBERS_MAX; i++) {
        bool stays = !is_member(&verdict->places[i]);
        for (uint32_t j = 0; j < count && !stays; j++) {
            stays = members[j].node == verdict->places[i].member.node;
        }
        if (!stays) {
            place_remove(verdict, i);
        }
    }
}

/* A proposal that has shown its effect is settled. */
static void member_set(struct verdict *verdict, struct verdict_place *place,
                       const struct verdict_member *member)
{
    if (place->member.node == 0 || place->member.down != member->down) {
        place->up_since_ms = member->down ? 0 : verdict->awake.time_ms;
        place->fit_since_ms = 0;
        place->confirmed_since_ms = 0;
        place->proposed_ms[VERDICT_DOWN] = 0;
        place->proposed_ms[VERDICT_UP] = 0;
    }
    if (place->member.condition != member->condition) {
        place->well_since_ms = 0;
        place->proposed_ms[VERDICT_CONDITION] = 0;
    }
    place->member = *member;
}

/* ---- Own pauses ---- */

/* Others have heard more of each other meanwhile: all that was reported is old. */
static void forget(struct verdict *verdict)
{
    verdict->begin_ms = verdict->awake.time_ms;
    for (uint32_t i = 0; i < LIVENESS_MEMBERS_MAX; i++) {
        struct verdict_place *place = &verdict->places[i];
        place->report_ms = 0;
        place->confirmed_since_ms = 0;
        place->fit_since_ms = 0;
        place->well_since_ms = 0;
    }
}

static void advance(struct verdict *verdict, uint64_t now_ms)
{
    if (awake_advance(&verdict->awake, now_ms)) {
        verdict->counters.pauses++;
        forget(verdict);
    }
}

void verdict_members(struct verdict *verdict, uint64_t now_ms,
                     const struct verdict_member members[], uint32_t count)
{
    assert(count <= LIVENESS_MEMBERS_MAX);

    advance(verdict, now_ms);
    remove_absent(verdict, members, count);
    verdict->member_count = count;
    for (uint32_t i = 0; i < count; i++) {
        assert(members[i].node != 0);
        uint32_t place = place_of(verdict, members[i].node);
        if (place == LIVENESS_MEMBERS_MAX) {
            place = place_of(verdict, 0);
        }
        assert(place < LIVENESS_MEMBERS_MAX);
        member_set(verdict, &verdict->places[place], &members[i]);
    }
}

/* ---- Reports ---- */

static bool is_newer(const struct verdict_place *place, const struct liveness_report *report)
{
    if (report->from.start != place->reporter.start) {
        return report->from.start > place->reporter.start;
    }
    return report->number > place->report_number;
}

void verdict_report(struct verdict *verdict, uint64_t now_ms, const struct liveness_report *report)
{
    advance(verdict, now_ms);
    uint32_t from =
        report->from.node == 0 ? LIVENESS_MEMBERS_MAX : place_of(verdict, report->from.node);
    if (from == LIVENESS_MEMBERS_MAX || !is_newer(&verdict->places[from], report)) {
        verdict->counters.reports_stale++;
        return;
    }
    struct verdict_place *place = &verdict->places[from];
    verdict->counters.reports++;
    place->reporter = report->from;
    place->report_number = report->number;
    place->report_ms = verdict->awake.time_ms;
    place->condition = report->condition & CONDITION_OWN;
    memset(place->heard, 0, sizeof place->heard);
    memset(place->silent, 0, sizeof place->silent);
    memset(place->suspected, 0, sizeof place->suspected);
    for (uint32_t i = 0; i < report->count && i < LIVENESS_MEMBERS_MAX; i++) {
        uint32_t of = place_of(verdict, report->members[i].node);
        if (of != LIVENESS_MEMBERS_MAX && of != from && is_member(&verdict->places[of])) {
            enum liveness_belief belief = report->members[i].belief;
            set_put(place->heard, of, belief == BELIEF_HEARD || belief == BELIEF_SUSPECT);
            set_put(place->silent, of, belief == BELIEF_SILENT);
            set_put(place->suspected, of, belief == BELIEF_SUSPECT);
        }
    }
}

/* ---- What they say together ---- */

static bool is_fresh(const struct verdict *verdict, const struct verdict_place *place)
{
    return is_member(place) && place->report_ms != 0 &&
           verdict->awake.time_ms - place->report_ms <= verdict->settings.down_after_ms;
}

/* Since when something holds, where it does so `now`. */
static uint64_t held_since(const struct verdict *verdict, uint64_t since_ms, bool now)
{
    if (!now) {
        return 0;
    }
    return since_ms != 0 ? since_ms : verdict->awake.time_ms;
}

static bool held_for(const struct verdict *verdict, uint64_t since_ms, uint64_t length_ms)
{
    return since_ms != 0 && verdict->awake.time_ms - since_ms >= length_ms;
}

static void judge(struct verdict *verdict, uint32_t of)
{
    struct verdict_place *place = &verdict->places[of];
    uint32_t silent = 0, heard = 0;

    for (uint32_t i = 0; i < LIVENESS_MEMBERS_MAX; i++) {
        if (is_fresh(verdict, &verdict->places[i])) {
            silent += set_has(verdict->places[i].silent, of);
            heard += set_has(verdict->places[i].heard, of);
        }
    }
    bool confirmed = silent >= verdict_needed(verdict->member_count);
    bool fit = place->member.down && is_fresh(verdict, place) && heard > silent;
    verdict->counters.confirmed += confirmed && place->confirmed_since_ms == 0;
    place->looks_down = silent > heard;
    place->confirmed_since_ms = held_since(verdict, place->confirmed_since_ms, confirmed);
    place->fit_since_ms = held_since(verdict, place->fit_since_ms, fit);
}

/* May more members be dead than those that are confirmed? */
static bool doubts_others(const struct verdict *verdict)
{
    for (uint32_t of = 0; of < LIVENESS_MEMBERS_MAX; of++) {
        const struct verdict_place *place = &verdict->places[of];
        if (!is_member(place) || place->member.down || place->confirmed_since_ms != 0) {
            continue;
        }
        for (uint32_t i = 0; i < LIVENESS_MEMBERS_MAX; i++) {
            const struct verdict_place *by = &verdict->places[i];
            if (is_fresh(verdict, by) && by->confirmed_since_ms == 0 &&
                (set_has(by->silent, of) || set_has(by->suspected, of))) {
                return true;
            }
        }
    }
    return false;
}

/* Are so many more than may be? */
static bool is_panic(const struct verdict *verdict, uint32_t count)
{
    return 100 * count > verdict->settings.panic_percent * verdict->member_count;
}

static void judge_all(struct verdict *verdict)
{
    bool panicked = verdict->panic;

    verdict->fresh_count = 0;
    verdict->looking_down_count = 0;
    for (uint32_t i = 0; i < LIVENESS_MEMBERS_MAX; i++) {
        if (is_member(&verdict->places[i])) {
            judge(verdict, i);
            verdict->fresh_count += is_fresh(verdict, &verdict->places[i]);
            verdict->looking_down_count += verdict->places[i].looks_down;
        }
    }
    verdict->panic = is_panic(verdict, verdict->looking_down_count);
    verdict->calm_since_ms = held_since(verdict, verdict->calm_since_ms, !verdict->panic);
    verdict->counters.panics += verdict->panic && !panicked;
}

/* Would more be out than may be, if all that look down were taken out? */
static bool too_many_out(const struct verdict *verdict)
{
    uint32_t out = 0;

    for (uint32_t i = 0; i < LIVENESS_MEMBERS_MAX; i++) {
        const struct verdict_place *place = &verdict->places[i];
        out += is_member(place) && (place->member.down || place->looks_down);
    }
    return is_panic(verdict, out);
}

/* ---- What follows ---- */

static void propose(struct verdict *verdict, struct verdict_place *place,
                    const struct verdict_change *change, uint64_t *counter)
{
    uint64_t *proposed_ms = &place->proposed_ms[change->kind];

    if (*proposed_ms != 0 && !held_for(verdict, *proposed_ms, verdict->settings.down_after_ms)) {
        return;
    }
    *proposed_ms = verdict->awake.time_ms;
    (*counter)++;
    verdict->port->propose(verdict->port, change);
}

static uint32_t next_cooldown_ms(const struct verdict *verdict, const struct verdict_place *place)
{
    uint64_t first_ms = verdict->settings.cooldown_ms;
    uint64_t next_ms = 2 * (uint64_t)place->member.cooldown_ms;

    if (held_for(verdict, place->up_since_ms, verdict->settings.cooldown_max_ms) ||
        next_ms < first_ms) {
        next_ms = first_ms;
    }
    return (uint32_t)(next_ms < verdict->settings.cooldown_max_ms
                          ? next_ms
                          : verdict->settings.cooldown_max_ms);
}

static void take_out(struct verdict *verdict, struct verdict_place *place, bool may, bool doubts)
{
    struct verdict_change change = {
        .kind = VERDICT_DOWN,
        .node = place->member.node,
        .cooldown_ms = next_cooldown_ms(verdict, place),
    };
    bool due =
        held_for(verdict, place->confirmed_since_ms, doubts ? verdict->settings.heartbeat_ms : 0);

    verdict->counters.held += due && !may && !place->held;
    place->held = due && !may;
    if (due && may) {
        uint64_t before = verdict->counters.downs;
        propose(verdict, place, &change, &verdict->counters.downs);
        verdict->counters.flaps +=
            verdict->counters.downs != before && change.cooldown_ms > verdict->settings.cooldown_ms;
    }
}

static void bring_back(struct verdict *verdict, struct verdict_place *place)
{
    struct verdict_change change = {.kind = VERDICT_UP, .node = place->member.node};

    uint32_t cooldown_ms = place->member.cooldown_ms;

    if (cooldown_ms == 0) {
        cooldown_ms = verdict->settings.cooldown_ms; /* Taken out by somebody else. */
    }
    if (held_for(verdict, place->fit_since_ms, cooldown_ms)) {
        propose(verdict, place, &change, &verdict->counters.ups);
    }
}

static void set_condition(struct verdict *verdict, struct verdict_place *place)
{
    uint8_t known = place->member.condition & CONDITION_OWN;
    bool fresh = is_fresh(verdict, place);
    bool worse = fresh && (place->condition & ~known) != 0;
    bool better = fresh && !worse && place->condition != known;
    struct verdict_change change = {
        .kind = VERDICT_CONDITION,
        .node = place->member.node,
        .condition = worse ? place->condition | known : place->condition,
    };

    place->well_since_ms = held_since(verdict, place->well_since_ms, better);
    if (worse || held_for(verdict, place->well_since_ms, verdict->settings.cooldown_ms)) {
        propose(verdict, place, &change, &verdict->counters.conditions);
    }
}

void verdict_tick(struct verdict *verdict, uint64_t now_ms)
{
    advance(verdict, now_ms);
    judge_all(verdict);
    bool knows =
        held_for(verdict, verdict->begin_ms, 2 * (uint64_t)verdict->settings.heartbeat_ms) &&
        2 * verdict->fresh_count >= verdict->member_count;
    bool calm = held_for(verdict, verdict->calm_since_ms, verdict->settings.heartbeat_ms);
    bool may_take_out = calm && !too_many_out(verdict);
    bool doubts = doubts_others(verdict);

    for (uint32_t i = 0; i < LIVENESS_MEMBERS_MAX; i++) {
        struct verdict_place *place = &verdict->places[i];
        if (!is_member(place)) {
            continue;
        }
        set_condition(verdict, place);
        if (knows && !place->member.down) {
            take_out(verdict, place, may_take_out, doubts);
        } else if (knows && calm) {
            bring_back(verdict, place);
        }
    }
}
