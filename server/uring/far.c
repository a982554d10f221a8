/* Requests that go to other nodes, and their answers. */
#include <errno.h>

#include "bounds.h"
#include "connection.h"
#include "door.h"
#include "far_frame.h"
#include "far_private.h"
#include "heap.h"
#include "native_door.h"
#include "peer_frame.h"
#include "plane_private.h"
#include "request_copy.h"
#include "resp_door.h"
#include "shard_thread.h"

const char far_nobody_text[] = "no node that has this session can be reached now";

/* ---- Held ---- */

/* A switch holds it from here on, or since it was asked of who had let go. */
static void begin_held(struct far_call *away, uint64_t since_us)
{
    away->held_us = away->held_us == 0 ? since_us : away->held_us;
}

void far_end_held(struct shard_thread *thread, struct far_call *away)
{
    struct plane_held *held = &thread->stats.held;
    const uint64_t us = thread->now_us - away->held_us;

    if (away->held_us == 0) {
        return;
    }
    if (us >= held->us.max) {
        held->longest_slot = far_slot_of(&away->request);
    }
    histogram_record(&held->us, us);
    away->held_us = 0;
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
        .link = FAR_NO_LINK,
        .shard = FAR_NO_SHARD,
        .order = ++thread->far.order,
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

void far_give_up(struct shard_thread *thread, struct call *call)
{
    struct far_call *away = call->away;

    far_end_held(thread, away);
    call->away = NULL;
    thread->far.count--;
    thread->far.bytes -= away->size;
    heap_give(thread->memory, away, away->size);
}

void far_drop(struct shard_thread *thread, struct call *call)
{
    if (call->away->link == FAR_NO_LINK) {
        far_wait_no_more(thread, call->away);
    } else {
        far_list_leave(&link_at(thread, call->away->link)->asked, call->away);
    }
    far_give_up(thread, call);
}

void far_refuse(struct shard_thread *thread, struct call *call, enum status status,
                const char *text)
{
    uint64_t ticket = call->away->ticket;

    far_give_up(thread, call);
    door_refuse(thread, ticket, status, text);
}

/* ---- Asking ---- */

static uint8_t protocol_of(const struct call *call)
{
    return call->protocol == &native_protocol ? FAR_NATIVE
           : call->protocol == &resp_protocol ? FAR_RESP
                                              : FAR_TASK;
}

uint32_t far_left_ms(const struct shard_thread *thread, const struct request *request)
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
        .flags =
            (uint8_t)((asks ? FAR_COORDINATE : 0) | (away->shard != FAR_NO_SHARD ? FAR_SCANS : 0) |
                      (away->request.for_first ? FAR_FOR_FIRST : 0)),
        .shard = away->shard == FAR_NO_SHARD ? 0 : (uint16_t)away->shard,
        .connection_shard = (uint8_t)(call->remote ? call->origin : thread->index),
        .connection = call->connection,
        .connection_generation = call->connection_generation,
        .request_id = call->request_id,
        .epoch = copies_epoch(thread),
    };
    struct request *request = &far.request;

    request->timeout_ms = far_left_ms(thread, &away->request);
    if (away->asked && request->client != 0 && request->retry_hlc == 0) {
        /* It may have been done: whoever does it now looks, and says so where that cannot be told. */
        request->retry_hlc = hlc_of_ms(away->begun_ms - FAR_RETRY_MS);
    }
    return far;
}

int far_ask_link(struct shard_thread *thread, const struct call *call, struct far_call *away,
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
    far_end_held(thread, away);
    away->link = link->index;
    away->asked = true;
    away->asked_us = thread->now_us;
    far_list_append(&link->asked, away);
    return 0;
}

struct link *far_link_of(struct shard_thread *thread, const struct copies_route *route)
{
    return route->kind == ROUTE_FAR ? link_to(thread, route->far.node, route->far.shard) : NULL;
}

static bool same_connection(const struct call *a, const struct call *b)
{
    return a->far == b->far && a->remote == b->remote && a->task == b->task &&
           (!a->remote || a->origin == b->origin) && (!a->far || a->link == b->link) &&
           a->connection == b->connection && a->connection_generation == b->connection_generation;
}

/* Did it come before this call, from its connection? */
static bool precedes(struct shard_thread *thread, const struct far_call *away,
                     const struct call *call)
{
    return (call->away == NULL || away->order < call->away->order) &&
           same_connection(calls_find(&thread->calls, away->ticket), call);
}

/* Was another node asked for this key; where `call` is given, for its connection before it? */
static bool is_asked(struct shard_thread *thread, const struct request *request,
                     const struct call *call)
{
    for (uint32_t i = 0; i < thread->links.size && thread->far.count > 0; i++) {
        const struct link *link = thread->links.table[i];
        const struct far_call *away = link->state == LINK_OPEN ? link->asked.first : NULL;
        for (; away != NULL; away = away->next) {
            if (away->request.position == request->position &&
                bytes_equal(away->request.key, request->key) &&
                (call == NULL || precedes(thread, away, call))) {
                return true;
            }
        }
    }
    return false;
}

bool far_has(struct shard_thread *thread, const struct request *request)
{
    return is_asked(thread, request, NULL);
}

bool far_precedes(struct shard_thread *thread, const struct call *call,
                  const struct request *request)
{
    return is_asked(thread, request, call);
}

static bool is_full(const struct shard_thread *thread, const struct link *link)
{
    return thread->far.bytes > FAR_BYTES_MAX ||
           (link != NULL && link->output.size >= LINK_OUTPUT_BYTES_MAX);
}

int far_ask(struct shard_thread *thread, struct call *call, const struct request *request,
            const struct copies_route *route)
{
    struct link *link = far_link_of(thread, route);

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
        if (route->held) {
            begin_held(away, thread->now_us);
        }
        far_wait(thread, away, route);
        return 0;
    }
    int rc = far_ask_link(thread, call, away, link, (route->far.flags & ROUTE_COORDINATE) != 0);
    if (rc == -ENOTCONN) {
        far_wait(thread, away, route);
        return 0;
    }
    if (rc != 0) {
        far_give_up(thread, call);
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
    int rc = far_ask_link(thread, call, away, link, false);
    if (rc != 0) {
        far_give_up(thread, call);
    }
    return rc;
}

/* ---- Answers ---- */

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
    const struct replication *replication = thread->copies.replication;
    const uint32_t slot = far_slot_of(&away->request);
    /* Who had the slot before this node has let go of it. */
    const bool switched = replication_is_first(replication, slot) &&
                          (replication_awaits(replication, slot) ||
                           replication_took_lately(thread->copies.replication, slot));

    if (switched) {
        begin_held(away, away->asked_us);
    }
    if (call->far && !away->maybe && !switched) {
        far_give_up(thread, call);
        (void)far_pass_back(thread, call); /* Who asked may know better. */
    } else if (thread->now_us - away->begun_us >= FAR_WAIT_MS * 1000 && !answered_late) {
        far_refuse(thread, call, STATUS_UNAVAILABLE, far_nobody_text);
    } else {
        away->begun_us = answered_late ? thread->now_us : away->begun_us;
        away->asked = away->maybe;
        away->turned_back = true;
        far_wait(thread, away, NULL);
        if (switched && !replication_awaits(replication, slot)) {
            far_look(thread);
        }
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
    far_list_leave(&link->asked, away);
    if (kind == FAR_DONE) {
        note_size(thread, call, answer.size);
        far_give_up(thread, call);
        door_deliver(thread, frame->number, answer);
    } else if (kind == FAR_REFUSED && status == STATUS_UNAVAILABLE) {
        not_there(thread, call, away);
    } else if (kind == FAR_LOST && away->request.op == REQUEST_WRITE) {
        far_refuse(thread, call, STATUS_MAYBE_APPLIED, "no memory for the answer");
    } else {
        far_refuse(thread, call, status, NULL);
    }
}
