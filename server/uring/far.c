#include "far.h"

#include <assert.h>
#include <errno.h>

#include "batch.h"
#include "bounds.h"
#include "connection.h"
#include "creates.h"
#include "door.h"
#include "far_frame.h"
#include "heap.h"
#include "native_door.h"
#include "peer_frame.h"
#include "plane_private.h"
#include "request_copy.h"
#include "resp_door.h"
#include "shard_thread.h"
#include "slot.h"
#include "tasks.h"

enum { NO_LINK = UINT32_MAX, NO_SHARD = UINT32_MAX, DUE_MS_MAX = 250 };

static const char nobody_text[] = "no node that has this session can be reached now";

/* Why it has waited in vain. */
static const char *vain_text(const struct shard_thread *thread, const struct copies_route *route,
                             uint32_t slot)
{
    return route->kind == ROUTE_WAIT && restores_lacks(thread, slot) ? restores_text : nobody_text;
}

struct far_call {
    struct far_call *next, *previous;
    uint64_t ticket;
    uint32_t link;        /* Its index; NO_LINK: it waits. */
    uint32_t node, shard; /* Of a scan: whom to ask. */
    bool asked;           /* Once or more, but for who has said that it was not done there... */
    bool maybe;           /* ... and there was no answer, so that it may have been done. */
    bool turned_back;     /* Who was asked cannot coordinate it now. */
    uint64_t begun_us, asked_us;
    uint64_t begun_ms;      /* Wall time. */
    size_t size;            /* Of the block. */
    struct request request; /* Its key, version and body lie behind. */
    uint8_t bytes[];
};

static uint32_t slot_of(const struct request *request)
{
    return (uint32_t)(request->position >> (64 - SLOT_BITS));
}

/* ---- Lists ---- */

static void append(struct far_list *list, struct far_call *away)
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

static void leave(struct far_list *list, struct far_call *away)
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

static struct far_list *list_of(struct shard_thread *thread, const struct far_call *away)
{
    return away->link == NO_LINK ? &thread->far.waiting : &link_at(thread, away->link)->asked;
}

static uint32_t *waits_of(struct far *far, const struct far_call *away)
{
    return &far->waits[slot_of(&away->request) % FAR_SLOT_GROUPS];
}

/* ---- Its life ---- */

/* Since when somebody is looked for: what other nodes did counts, but for a last look. */
static uint64_t begun_us(const struct shard_thread *thread, const struct request *request)
{
    const uint32_t most_ms = FAR_WAIT_MS - FAR_AGAIN_MS;
    const uint64_t waited_ms = request->waited_ms < most_ms ? request->waited_ms : most_ms;

    return thread->now_us - waited_ms * 1000;
}

static struct far_call *make(struct shard_thread *thread, struct call *call,
                             const struct request *request)
{
    size_t size = sizeof(struct far_call) + request_bytes(request);
    struct far_call *away = heap_take(thread->memory, size);

    if (away == NULL) {
        return NULL;
    }
    *away = (struct far_call){
        .ticket = request->ticket,
        .link = NO_LINK,
        .shard = NO_SHARD,
        .begun_us = begun_us(thread, request),
        .begun_ms = thread->now_ms,
        .size = size,
    };
    away->request = request_copy(request, away->bytes);
    call->away = away;
    thread->far.count++;
    thread->far.bytes += size;
    if (thread->far.count == 1) {
        thread->far.check_us = thread->now_us + FAR_CHECK_MS * 1000;
    }
    return away;
}

static void drop(struct shard_thread *thread, struct call *call)
{
    struct far_call *away = call->away;

    call->away = NULL;
    thread->far.count--;
    thread->far.bytes -= away->size;
    heap_give(thread->memory, away, away->size);
}

void far_drop(struct shard_thread *thread, struct call *call)
{
    leave(list_of(thread, call->away), call->away);
    if (call->away->link == NO_LINK) {
        --*waits_of(&thread->far, call->away);
    }
    drop(thread, call);
}

/* ---- Asking ---- */

static uint8_t protocol_of(const struct call *call)
{
    return call->protocol == &native_protocol ? FAR_NATIVE
           : call->protocol == &resp_protocol ? FAR_RESP
                                              : FAR_TASK;
}

/* What is left of the request's time; 0: there is no limit. */
static uint32_t left_ms(const struct shard_thread *thread, const struct request *request)
{
    uint64_t began_us =
        request->received_us < thread->now_us ? request->received_us : thread->now_us;
    uint64_t passed_ms = (thread->now_us - began_us) / 1000;

    if (request->timeout_ms == 0) {
        return 0;
    }
    return passed_ms < request->timeout_ms ? request->timeout_ms - (uint32_t)passed_ms : 1;
}

static struct far_request frame_of(const struct shard_thread *thread, const struct call *call,
                                   const struct far_call *away, bool asks)
{
    struct far_request far = {
        .request = away->request,
        .protocol = protocol_of(call),
        .form = call->form,
        .frame_type = call->frame_type,
        .call_flags = call->flags,
        .hops = (uint8_t)(call->hops + 1),
        .flags = (uint8_t)((asks ? FAR_COORDINATE : 0) | (away->shard != NO_SHARD ? FAR_SCANS : 0) |
                           (away->request.for_first ? FAR_FOR_FIRST : 0)),
        .shard = away->shard == NO_SHARD ? 0 : (uint16_t)away->shard,
        .connection_shard = (uint8_t)(call->remote ? call->origin : thread->index),
        .connection = call->connection,
        .connection_generation = call->connection_generation,
        .request_id = call->request_id,
        .epoch = copies_epoch(thread),
    };
    struct request *request = &far.request;

    request->timeout_ms = left_ms(thread, &away->request);
    if (away->asked && request->client != 0 && request->retry_hlc == 0) {
        /* It may have been done: whoever does it now looks, and says so where that cannot be told. */
        request->retry_hlc = hlc_of_ms(away->begun_ms - FAR_RETRY_MS);
    }
    return far;
}

static int ask(struct shard_thread *thread, const struct call *call, struct far_call *away,
               struct link *link, bool asks)
{
    const struct far_request far = frame_of(thread, call, away, asks);
    struct buffer *body = &thread->scratch;

    body->size = 0;
    int rc = far_request_put(&far, body);
    if (rc != 0) {
        return rc;
    }
    const struct bytes part = buffer_bytes(body);
    switch (link_send(thread, link, PEER_FAR_REQUEST, away->ticket, &part, 1, false, false)) {
    case LINK_SENT:
        break;
    case LINK_FULL:
        return -EAGAIN;
    case LINK_GONE:
        return -ENOTCONN;
    }
    thread->stats.far_asked++;
    away->link = link->index;
    away->asked = true;
    away->asked_us = thread->now_us;
    append(&link->asked, away);
    return 0;
}

static void wait_for_route(struct shard_thread *thread, struct far_call *away)
{
    away->link = NO_LINK;
    append(&thread->far.waiting, away);
    ++*waits_of(&thread->far, away);
}

/* The link to the shard of that node's that has the slot; NULL: there is none. */
static struct link *link_of(struct shard_thread *thread, const struct copies_route *route)
{
    return route->kind == ROUTE_FAR ? link_to(thread, route->far.node, route->far.shard) : NULL;
}

bool far_waits(const struct shard_thread *thread, const struct request *request)
{
    if (thread->far.waits[slot_of(request) % FAR_SLOT_GROUPS] == 0) {
        return false;
    }
    for (const struct far_call *away = thread->far.waiting.first; away != NULL; away = away->next) {
        if (slot_of(&away->request) == slot_of(request)) {
            return true;
        }
    }
    return false;
}

bool far_has(const struct shard_thread *thread, const struct request *request)
{
    for (uint32_t i = 0; i < thread->links.size && thread->far.count > 0; i++) {
        const struct link *link = thread->links.table[i];
        const struct far_call *away = link->state == LINK_OPEN ? link->asked.first : NULL;
        for (; away != NULL; away = away->next) {
            if (away->request.position == request->position &&
                bytes_equal(away->request.key, request->key)) {
                return true;
            }
        }
    }
    return false;
}

static bool is_full(const struct shard_thread *thread, const struct link *link)
{
    return thread->far.bytes > FAR_BYTES_MAX ||
           (link != NULL && link->output.size >= LINK_OUTPUT_BYTES_MAX);
}

int far_ask(struct shard_thread *thread, struct call *call, const struct request *request,
            const struct copies_route *route)
{
    struct link *link = link_of(thread, route);

    bool lost_here = (link == NULL && route->kind != ROUTE_WAIT) || call->hops >= FAR_HOPS_MAX;
    if (lost_here && far_pass_back(thread, call)) {
        return 0;
    }
    if (is_full(thread, link)) {
        return -EAGAIN;
    }
    struct far_call *away = make(thread, call, request);
    if (away == NULL) {
        return -ENOMEM;
    }
    if (link == NULL || far_waits(thread, request)) {
        wait_for_route(thread, away);
        return 0;
    }
    int rc = ask(thread, call, away, link, (route->far.flags & ROUTE_COORDINATE) != 0);
    if (rc == -ENOTCONN) {
        wait_for_route(thread, away);
        return 0;
    }
    if (rc != 0) {
        drop(thread, call);
    }
    return rc;
}

int far_ask_shard(struct shard_thread *thread, struct call *call, const struct request *request,
                  uint32_t node, uint32_t shard)
{
    struct link *link = link_to(thread, node, shard);

    link = link != NULL ? link : link_to_node(thread, node);
    if (link == NULL) {
        return -ENOTCONN;
    }
    if (is_full(thread, link)) {
        return -EAGAIN;
    }
    struct far_call *away = make(thread, call, request);
    if (away == NULL) {
        return -ENOMEM;
    }
    away->node = node;
    away->shard = shard;
    int rc = ask(thread, call, away, link, false);
    if (rc != 0) {
        drop(thread, call);
    }
    return rc;
}

/* ---- Answers ---- */

/* In place of an answer. The call is over. */
static void refuse(struct shard_thread *thread, struct call *call, enum status status,
                   const char *text)
{
    uint64_t ticket = call->away->ticket;

    drop(thread, call);
    door_refuse(thread, ticket, status, text);
}

/* Nobody is reached, or the slot is not restored, and who asked would hear nothing else before its deadline: an eighth of its
 * time is for the answer. */
static bool is_due(const struct shard_thread *thread, const struct request *request,
                   const struct copies_route *route)
{
    const uint32_t answer_ms = request->timeout_ms / 8;

    return (route->kind == ROUTE_NOWHERE || restores_lacks(thread, slot_of(request))) &&
           request->timeout_ms != 0 &&
           left_ms(thread, request) <= (answer_ms < DUE_MS_MAX ? answer_ms : DUE_MS_MAX);
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
        request.elsewhere = copies_may_miss(thread, slot_of(&request), stands_in);
    }
    if (request.retry_hlc != 0) {
        request.taken_hlc = copies_taken_hlc(thread, slot_of(&request), stands_in);
    }
    request.received_us = thread->now_us;
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
        refuse(thread, call, STATUS_MAYBE_APPLIED,
               "this node was stopped for a while: the write may have been applied");
    } else {
        drop(thread, call);
        pause_refuse(thread, ticket);
    }
}

/* Ask again, or for the first time, whoever coordinates it; it is in no list. */
static void ask_anew(struct shard_thread *thread, struct far_call *away)
{
    struct call *call = calls_find(&thread->calls, away->ticket);
    struct copies_route route;

    assert(call != NULL && call->away == away);
    if (away->shard != NO_SHARD) {
        refuse(thread, call, STATUS_BUSY, "the node that was asked has gone");
        return;
    }
    if (pause_spoils(thread, &away->request)) {
        spoil(thread, call, away);
        return;
    }
    creates_find(thread, call, &away->request, !away->turned_back, &route);
    if (route.kind == ROUTE_LOCAL) {
        execute(thread, call, away, route.stands_in);
        return;
    }
    struct link *link = link_of(thread, &route);
    int rc = link == NULL
                 ? -ENOTCONN
                 : ask(thread, call, away, link, (route.far.flags & ROUTE_COORDINATE) != 0);
    if (rc == 0) {
        return;
    }
    if (rc != -ENOTCONN && rc != -EAGAIN) {
        refuse(thread, call, STATUS_BUSY, "no memory for the request");
    } else if (thread->now_us - away->begun_us >= FAR_WAIT_MS * 1000 ||
               is_due(thread, &away->request, &route)) {
        refuse(thread, call,
               away->asked && !is_repeatable(away) ? STATUS_MAYBE_APPLIED : STATUS_UNAVAILABLE,
               vain_text(thread, &route, slot_of(&away->request)));
    } else {
        wait_for_route(thread, away);
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
        ask_anew(thread, away);
    } else {
        refuse(thread, call, STATUS_MAYBE_APPLIED,
               "the node that was asked was lost: the write may have been applied");
    }
}

/* So large its connection's next answers may be. */
static void note_size(struct shard_thread *thread, const struct call *call, size_t size)
{
    struct connection *connection =
        call->remote ? NULL
                     : connection_find(thread, call->connection, call->connection_generation);

    if (connection != NULL) {
        uint32_t before = connection->far_bytes - connection->far_bytes / 8;
        connection->far_bytes = size > before ? (uint32_t)size : before;
        connection->far_bytes *= connection->far_bytes > UNASKED_BYTES_MAX;
    }
}

/* Whoever was asked knows another one, or nobody: it may be a matter of moments. It is in no list. */
static void not_there(struct shard_thread *thread, struct call *call, struct far_call *away)
{
    /* It waited there, as that node was stopped, not for somebody to be found. */
    const bool answered_late = thread->now_us - away->asked_us >= copies_silence_us(thread);

    if (call->far && !away->maybe) {
        drop(thread, call);
        (void)far_pass_back(thread, call); /* Who asked may know better. */
    } else if (thread->now_us - away->begun_us >= FAR_WAIT_MS * 1000 && !answered_late) {
        refuse(thread, call, STATUS_UNAVAILABLE, nobody_text);
    } else {
        away->begun_us = answered_late ? thread->now_us : away->begun_us;
        away->asked = away->maybe;
        away->turned_back = true;
        wait_for_route(thread, away);
    }
}

void far_take_answer(struct shard_thread *thread, struct link *link, const struct peer_frame *frame)
{
    struct reader reader = reader_of(frame->body);
    uint8_t kind = read_u8(&reader);
    enum status status = kind == FAR_DONE ? STATUS_OK : (enum status)read_u8(&reader);
    struct bytes answer = read_bytes(&reader, reader_left(&reader));
    struct call *call = calls_find(&thread->calls, frame->number);

    if (reader.bad || kind > FAR_LOST) {
        thread->stats.frames_bad++;
        link_close(thread, link);
        return;
    }
    if (call == NULL || call->away == NULL || call->away->link != link->index) {
        return; /* It was asked elsewhere meanwhile, and answered. */
    }
    struct far_call *away = call->away;
    leave(&link->asked, away);
    if (kind == FAR_DONE) {
        note_size(thread, call, answer.size);
        drop(thread, call);
        door_deliver(thread, frame->number, answer);
    } else if (kind == FAR_REFUSED && status == STATUS_UNAVAILABLE) {
        not_there(thread, call, away);
    } else if (kind == FAR_LOST && away->request.op == REQUEST_WRITE) {
        refuse(thread, call, STATUS_MAYBE_APPLIED, "no memory for the answer");
    } else {
        refuse(thread, call, status, NULL);
    }
}

/* ---- What waits ---- */

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
    if (thread->now_us - away->asked_us >= FAR_ANSWER_MS * 1000 || away->shard != NO_SHARD) {
        return true;
    }
    copies_find(thread, slot_of(&away->request), call->coordinate, &route);
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
            leave(&link->asked, away);
            lost(thread, away);
            aborts = aborts || silent; /* One that is slow is heard. */
        }
        away = next;
    }
    if (aborts) {
        link_abort(thread, link);
    }
}

static void check_waiting(struct shard_thread *thread)
{
    struct far_call *away = thread->far.waiting.first;

    thread->far.waiting = (struct far_list){0};
    while (away != NULL) {
        struct far_call *next = away->next;
        --*waits_of(&thread->far, away);
        ask_anew(thread, away);
        away = next;
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
    check_waiting(thread);
    far->check_us = thread->now_us + FAR_CHECK_MS * 1000;
    return FAR_CHECK_MS * 1000;
}
