/* What nobody can coordinate now waits, and what will not be answered is asked again. */
#include <assert.h>
#include <errno.h>
#include <stdlib.h>

#include "batch.h"
#include "bounds.h"
#include "creates.h"
#include "far_private.h"
#include "heap.h"
#include "plane_private.h"
#include "shard_thread.h"
#include "slot.h"

enum { DUE_MS_MAX = 250 };

int far_init(struct far *far)
{
    far->slots = calloc(SLOT_COUNT, sizeof *far->slots);
    return far->slots == NULL ? -ENOMEM : 0;
}

void far_fini(struct far *far)
{
    free(far->slots);
    far->slots = NULL;
}

/* ---- Lists ---- */

void far_list_append(struct far_list *list, struct far_call *away)
{
    away->next = NULL;
    away->previous = list->last;
    if (list->last == NULL) {
        list->first = away;
    } else {
        list->last->next = away;
    }
    list->last = away;
}

/* Where it belongs by its order: nearly always at the end. */
static void insert(struct far_list *list, struct far_call *away)
{
    struct far_call *before = list->last;

    while (before != NULL && before->order > away->order) {
        before = before->previous;
    }
    away->previous = before;
    away->next = before == NULL ? list->first : before->next;
    if (away->next == NULL) {
        list->last = away;
    } else {
        away->next->previous = away;
    }
    if (before == NULL) {
        list->first = away;
    } else {
        before->next = away;
    }
}

void far_list_leave(struct far_list *list, struct far_call *away)
{
    if (away->previous == NULL) {
        list->first = away->next;
    } else {
        away->previous->next = away->next;
    }
    if (away->next == NULL) {
        list->last = away->previous;
    } else {
        away->next->previous = away->previous;
    }
}

/* ---- Waiting ---- */

static struct far_slot *slot_waits(const struct shard_thread *thread, const struct far_call *away)
{
    return &thread->far.slots[far_slot_of(&away->request)];
}

static struct far_list *list_of(struct shard_thread *thread, const struct far_call *away)
{
    return away->rests ? &thread->far.resting : &thread->far.waiting;
}

static void count(struct shard_thread *thread, const struct far_call *away, uint32_t more)
{
    struct far_slot *slot = slot_waits(thread, away);

    *(away->rests ? &slot->rests : &slot->waits) += more;
}

static void count_all(struct shard_thread *thread, const struct far_list *list, uint32_t more)
{
    for (const struct far_call *away = list->first; away != NULL; away = away->next) {
        count(thread, away, more);
    }
}

/* In the list where it is to be. */
static void put(struct shard_thread *thread, struct far_call *away)
{
    away->link = FAR_NO_LINK;
    insert(list_of(thread, away), away);
    count(thread, away, 1);
}

/* Does something rest for its slot that came here before it? */
static bool rests_behind(const struct shard_thread *thread, const struct far_call *away)
{
    const struct far_call *other = thread->far.resting.last;

    if (slot_waits(thread, away)->rests == 0 || other == NULL || other->order < away->order) {
        return slot_waits(thread, away)->rests > 0;
    }
    while (other != NULL && (other->order > away->order ||
                             far_slot_of(&other->request) != far_slot_of(&away->request))) {
        other = other->previous;
    }
    return other != NULL;
}

void far_wait(struct shard_thread *thread, struct far_call *away, const struct copies_route *route)
{
    away->rests =
        rests_behind(thread, away) || (route != NULL && route->kind == ROUTE_WAIT &&
                                       restores_awaits(thread, far_slot_of(&away->request)));
    put(thread, away);
}

void far_wait_no_more(struct shard_thread *thread, struct far_call *away)
{
    far_list_leave(list_of(thread, away), away);
    count(thread, away, UINT32_MAX);
}

bool far_waits(const struct shard_thread *thread, const struct request *request)
{
    const struct far_slot *slot = &thread->far.slots[far_slot_of(request)];

    return slot->waits > 0 || (slot->rests > 0 && !thread->far.is_older);
}

/* ---- Again ---- */

/* Why it has waited in vain. */
static const char *vain_text(const struct shard_thread *thread, const struct copies_route *route,
                             uint32_t slot)
{
    return route->kind == ROUTE_WAIT && restores_lacks(thread, slot) ? restores_text
                                                                     : far_nobody_text;
}

/* Who asked would hear nothing else before its deadline: an eighth of its time is for the answer. */
static bool is_due(const struct shard_thread *thread, const struct request *request)
{
    const uint32_t answer_ms = request->timeout_ms / 8;

    return request->timeout_ms != 0 &&
           far_left_ms(thread, request) <= (answer_ms < DUE_MS_MAX ? answer_ms : DUE_MS_MAX);
}

/* Has it waited in vain, for somebody to be found or for its slot to be restored? */
static bool is_over(const struct shard_thread *thread, const struct far_call *away,
                    const struct copies_route *route)
{
    const bool nobody =
        route->kind == ROUTE_NOWHERE || restores_lacks(thread, far_slot_of(&away->request));

    return thread->now_us - away->begun_us >= FAR_WAIT_MS * 1000 ||
           (nobody && is_due(thread, &away->request));
}

/* May it be done twice? */
static bool is_repeatable(const struct far_call *away)
{
    const struct request *request = &away->request;

    return request->op != REQUEST_WRITE || (request->client != 0 && request->sequence != 0);
}

/* This node coordinates it by now. */
static void execute(struct shard_thread *thread, struct call *call, struct far_call *away,
                    bool stands_in)
{
    struct request request = away->request;

    if (away->asked && request.client != 0 && request.retry_hlc == 0) {
        request.retry_hlc = hlc_of_ms(away->begun_ms - FAR_RETRY_MS);
    }
    if (request.op == REQUEST_WRITE) {
        request.elsewhere = copies_may_miss(thread, far_slot_of(&request), stands_in);
    }
    if (request.retry_hlc != 0) {
        request.taken_hlc = copies_taken_hlc(thread, far_slot_of(&request), stands_in);
    }
    request.received_us = thread->now_us;
    far_end_held(thread, away);
    call->stand_in = stands_in;
    call->away = NULL;
    batch_execute(thread, &request, monotonic_us());
    call = NULL;
    thread->far.count--;
    thread->far.bytes -= away->size;
    heap_give(thread->memory, away, away->size);
}

/* Its client may have gone on since. */
static void spoil(struct shard_thread *thread, struct call *call, struct far_call *away)
{
    const uint64_t ticket = away->ticket;

    if (away->asked) {
        far_refuse(thread, call, STATUS_MAYBE_APPLIED,
                   "this node was stopped for a while: the write may have been applied");
    } else {
        far_give_up(thread, call);
        pause_refuse(thread, ticket);
    }
}

/* Ask again, or for the first time, whoever coordinates it; it is in no list. `waited`: it was in `waiting`, and so came before all
 * that rests for its slot. There it stays where it waits on. */
static void ask_anew(struct shard_thread *thread, struct far_call *away, bool waited)
{
    struct call *call = calls_find(&thread->calls, away->ticket);
    struct copies_route route;

    assert(call != NULL && call->away == away);
    if (away->shard != FAR_NO_SHARD) {
        far_refuse(thread, call, STATUS_BUSY, "the node that was asked has gone");
        return;
    }
    if (pause_spoils(thread, &away->request)) {
        spoil(thread, call, away);
        return;
    }
    thread->far.is_older = waited;
    creates_find(thread, call, &away->request, !away->turned_back, &route);
    thread->far.is_older = false;
    if (route.kind == ROUTE_LOCAL) {
        execute(thread, call, away, route.stands_in);
        return;
    }
    if (route.returns && !away->maybe) {
        far_give_up(thread, call);
        (void)far_pass_back(thread, call);
        return;
    }
    struct link *link = far_link_of(thread, &route);
    int rc = link == NULL ? -ENOTCONN
                          : far_ask_link(thread, call, away, link,
                                         (route.far.flags & ROUTE_COORDINATE) != 0);
    if (rc == 0) {
        return;
    }
    if (rc != -ENOTCONN && rc != -EAGAIN) {
        far_refuse(thread, call, STATUS_BUSY, "no memory for the request");
    } else if (is_over(thread, away, &route)) {
        far_refuse(thread, call,
                   away->asked && !is_repeatable(away) ? STATUS_MAYBE_APPLIED : STATUS_UNAVAILABLE,
                   vain_text(thread, &route, far_slot_of(&away->request)));
    } else if (waited) {
        put(thread, away);
    } else {
        far_wait(thread, away, &route);
    }
}

/* There will be no answer; it is in no list. */
static void lost(struct shard_thread *thread, struct far_call *away)
{
    struct call *call = calls_find(&thread->calls, away->ticket);

    assert(call != NULL && call->away == away);
    if (is_repeatable(away)) {
        away->maybe = away->maybe || away->request.op == REQUEST_WRITE;
        away->begun_us = thread->now_us;
        ask_anew(thread, away, false);
    } else {
        far_refuse(thread, call, STATUS_MAYBE_APPLIED,
                   "the node that was asked was lost: the write may have been applied");
    }
}

static void lose_all(struct shard_thread *thread, struct link *link)
{
    struct far_call *away = link->asked.first;

    link->asked = (struct far_list){0};
    while (away != NULL) {
        struct far_call *next = away->next;
        lost(thread, away);
        away = next;
    }
}

void far_link_lost(struct shard_thread *thread, struct link *link)
{
    lose_all(thread, link);
}

/* Nothing came over the link for long: what may go another way does, the rest waits for its answer. */
static bool goes_elsewhere(struct shard_thread *thread, const struct link *link,
                           const struct far_call *away)
{
    struct call *call = calls_find(&thread->calls, away->ticket);
    struct copies_route route;

    if (thread->now_us - away->asked_us < copies_silence_us(thread)) {
        return false;
    }
    if (thread->now_us - away->asked_us >= FAR_ANSWER_MS * 1000 || away->shard != FAR_NO_SHARD) {
        return true;
    }
    copies_find(thread, far_slot_of(&away->request), call->coordinate ? ROUTE_COORDINATE : 0,
                &route);
    return route.kind != ROUTE_FAR || route.far.node != link->node;
}

/* What goes elsewhere must not be done there as well when the link is heard again, after what its client does next: so
 * the link ends with it. */
static void check_link(struct shard_thread *thread, struct link *link)
{
    bool silent = thread->now_us - link->heard_us >= copies_silence_us(thread), aborts = false;

    for (struct far_call *away = link->asked.first; away != NULL;) {
        struct far_call *next = away->next;
        bool late = thread->now_us - away->asked_us >= FAR_ANSWER_MS * 1000;
        if (late || (silent && goes_elsewhere(thread, link, away))) {
            far_list_leave(&link->asked, away);
            lost(thread, away);
            aborts = aborts || silent; /* One that is slow is heard. */
        }
        away = next;
    }
    if (aborts) {
        link_abort(thread, link);
    }
}

/* Nothing has changed for it: its slot is still asked for, by the same table, and it has time. */
static bool rests_on(const struct shard_thread *thread, const struct far_call *away)
{
    return thread->far.epoch == copies_epoch(thread) &&
           restores_awaits(thread, far_slot_of(&away->request)) &&
           thread->now_us - away->begun_us < FAR_WAIT_MS * 1000 && !is_due(thread, &away->request);
}

/* As a slot of which something waits for the archive is asked for thousands of times before it comes, each is not looked at as
 * often, and seldom routed. */
static void check_resting(struct shard_thread *thread)
{
    struct far_call *away = thread->far.resting.first;

    if (thread->now_us < thread->far.rest_us) {
        return;
    }
    count_all(thread, &thread->far.resting, UINT32_MAX);
    thread->far.resting = (struct far_list){0};
    while (away != NULL) {
        struct far_call *next = away->next;
        if (rests_on(thread, away)) {
            put(thread, away);
        } else {
            ask_anew(thread, away, false);
        }
        away = next;
    }
    thread->far.epoch = copies_epoch(thread);
    thread->far.rest_us = thread->now_us + FAR_REST_MS * 1000;
}

static void check_waiting(struct shard_thread *thread)
{
    struct far_call *away = thread->far.waiting.first;

    count_all(thread, &thread->far.waiting, UINT32_MAX); /* Each waits for those before it only. */
    thread->far.waiting = (struct far_list){0};
    while (away != NULL) {
        struct far_call *next = away->next;
        ask_anew(thread, away, true);
        away = next;
    }
}

void far_look(struct shard_thread *thread)
{
    if (thread->far.count > 0) {
        thread->far.check_us = 0;
        thread->again = true;
    }
}

uint64_t far_turn(struct shard_thread *thread)
{
    struct far *far = &thread->far;

    if (far->count == 0) {
        return UINT64_MAX;
    }
    if (thread->now_us < far->check_us) {
        return far->check_us - thread->now_us;
    }
    for (uint32_t i = 0; i < thread->links.size; i++) {
        struct link *link = link_at(thread, i);
        if (link->state != LINK_FREE) {
            check_link(thread, link);
        }
    }
    check_waiting(thread); /* These came before what rests for the same slot. */
    check_resting(thread);
    far->check_us = thread->now_us + FAR_CHECK_MS * 1000;
    return FAR_CHECK_MS * 1000;
}
