#include "native_door.h"

#include <assert.h>
#include <errno.h>
#include <stdio.h>

#include "batch.h"
#include "client_id.h"
#include "cross.h"
#include "door.h"
#include "gather.h"
#include "native_answer.h"
#include "native_busy.h"
#include "native_login.h"
#include "native_map.h"
#include "native_request.h"
#include "plane_private.h"
#include "recover.h"
#include "scan_task.h"
#include "shard_thread.h"

static void write_answer(struct shard_thread *thread, struct connection *connection,
                         uint8_t frame_type, uint64_t request_id,
                         const struct native_answer *answer)
{
    uint8_t *to = connection_reserve(thread, connection, answer->room);

    if (to != NULL) {
        connection_commit(thread, connection,
                          native_answer_frame(answer, frame_type, request_id, to));
    }
}

static uint64_t node_hlc(const struct shard_thread *thread)
{
    return shard_hlc(thread->shard);
}

void native_status(struct shard_thread *thread, struct connection *connection, uint8_t frame_type,
                   uint64_t request_id, enum status status, const char *text)
{
    struct native_answer answer;

    native_answer_status(&answer, status, text, bytes_of(NULL, 0));
    answer.head.hlc = node_hlc(thread);
    answer.head.retry_after_ms = status == STATUS_BUSY ? BUSY_RETRY_MS : 0;
    write_answer(thread, connection, frame_type, request_id, &answer);
}

void native_document(struct shard_thread *thread, struct connection *connection,
                     uint64_t request_id, enum status status, const char *text,
                     struct bytes document)
{
    struct native_answer answer;

    native_answer_status(&answer, status, text, document);
    answer.head.hlc = node_hlc(thread);
    write_answer(thread, connection, FRAME_ADMIN, request_id, &answer);
}

size_t native_refusal(uint8_t *to, enum status status)
{
    struct native_answer answer;

    native_answer_status(&answer, status, NULL, bytes_of(NULL, 0));
    return native_answer_frame(&answer, FRAME_HELLO, 0, to);
}

/* ---- From bytes to frames ---- */

static int64_t native_measure(struct shard_thread *thread, struct connection *connection,
                              struct measuring *measuring, struct bytes input)
{
    const uint32_t most = login_frame_bytes(thread, connection);
    int64_t size = frame_size(input, most);

    if (size >= 0) {
        measuring->wanted = FRAME_HEADER_BYTES;
        return size;
    }
    thread->stats.frames_bad++;
    if (size == -EMSGSIZE) {
        char text[96];
        snprintf(text, sizeof text, "the frame is larger than the %u bytes allowed", most);
        native_status(thread, connection, input.data[1], load_u64(input.data + 8),
                      STATUS_FRAME_TOO_LARGE, text);
    } else {
        native_status(thread, connection, 0, 0, STATUS_INVALID,
                      "no frame begins here: the stream is out of step");
    }
    return size;
}

static void native_skipped(struct shard_thread *thread, struct connection *connection,
                           struct bytes start)
{
    native_status(thread, connection, start.data[1], load_u64(start.data + 8), STATUS_BUSY,
                  "too many large requests are being received");
}

static void native_complain(struct shard_thread *thread, struct connection *connection,
                            enum status status)
{
    native_status(thread, connection, 0, 0, status, NULL);
}

/* ---- HELLO ---- */

void native_hello_answer(struct shard_thread *thread, struct connection *connection,
                         uint64_t request_id)
{
    const struct plane_options *options = &thread->plane->options;
    Belay__Wire__HelloReply head;
    uint8_t *to = connection_reserve(thread, connection,
                                     FRAME_HEADER_BYTES + strlen(options->node_name) + 128);
    if (to == NULL) {
        return;
    }
    belay__wire__hello_reply__init(&head);
    head.protocol = PROTOCOL_VERSION;
    head.client = connection->client;
    head.node = thread->plane->node_name;
    head.shards = options->shard_count;
    head.shard = thread->index;
    head.hlc = node_hlc(thread);
    head.frame_bytes_max = options->limits.frame_bytes;
    head.in_flight_max = options->limits.in_flight;
    head.map_epoch = thread->client_map.epoch;
    head.number = options->actor.node;
    size_t head_size = belay__wire__hello_reply__pack(&head, to + FRAME_HEADER_BYTES);
    frame_header_put(to, FRAME_HELLO, FRAME_REPLY, request_id,
                     bytes_of(to + FRAME_HEADER_BYTES, head_size), bytes_of(NULL, 0));
    connection_commit(thread, connection, FRAME_HEADER_BYTES + head_size);
}

/* A connection is handed over only where nothing of it is under way here. */
static bool may_move(const struct connection *connection)
{
    return connection->in_flight == 0 && connection->output.size == 0 && !connection->sending &&
           connection->put_off.first == NULL;
}

static void hello(struct shard_thread *thread, struct connection *connection,
                  const struct frame *frame, struct bytes whole)
{
    struct native_hello asked;
    enum status status = native_hello(frame, &thread->arena, &asked);

    if (status != STATUS_OK) {
        native_status(thread, connection, frame->type, frame->request_id, status, NULL);
        return;
    }
    if (asked.protocol != PROTOCOL_VERSION) {
        char text[96];
        snprintf(text, sizeof text, "this node speaks version %d of the protocol, not %u",
                 PROTOCOL_VERSION, asked.protocol);
        native_status(thread, connection, frame->type, frame->request_id, STATUS_UNSUPPORTED, text);
        return;
    }
    if (!native_log_in(thread, connection, frame, &asked, whole)) {
        return;
    }
    connection->client = asked.client;
    if (connection->client == 0) {
        connection->client =
            client_id(thread->plane->options.actor.node, thread->plane->options.run,
                      atomic_fetch_add(&thread->plane->clients, 1));
    }
    if (connection->client == 0) {
        native_status(thread, connection, frame->type, frame->request_id, STATUS_UNAVAILABLE,
                      "this start of the node has given out all its client ids; restart it");
        return;
    }
    uint32_t shard = asked.shard_plus_one - 1;
    if (asked.shard_plus_one != 0 && shard < thread->plane->options.shard_count &&
        shard != thread->index && may_move(connection)) {
        connection_move(thread, connection, shard, frame->request_id);
        return;
    }
    native_hello_answer(thread, connection, frame->request_id);
}

/* ---- Requests ---- */

/* A ticket for a request of this connection; 0 after saying why there is none. */
static uint64_t take_call(struct shard_thread *thread, struct connection *connection,
                          const struct frame *frame, struct call **call)
{
    uint64_t ticket = calls_take(&thread->calls, call);

    if (ticket == 0) {
        native_status(thread, connection, frame->type, frame->request_id, STATUS_BUSY,
                      "too many requests are waiting for their answer");
        return 0;
    }
    (*call)->form = CALL_FRAME;
    (*call)->frame_type = frame->type;
    (*call)->protocol = &native_protocol;
    (*call)->request_id = frame->request_id;
    (*call)->connection = connection->index;
    (*call)->connection_generation = connection->generation;
    return ticket;
}

/* ---- Requests of one key, of many, of all ---- */

static void one(struct shard_thread *thread, struct connection *connection,
                const struct frame *frame, struct bytes whole)
{
    struct request request;
    struct call *call;

    if (native_busy_refuses(thread, connection, frame)) {
        return;
    }
    enum status status = native_request(frame, &thread->arena, &request);

    if (status != STATUS_OK) {
        native_status(thread, connection, frame->type, frame->request_id, status, NULL);
        return;
    }
    enum role role = frame->type == FRAME_RECOVER ? ROLE_ADMIN : native_role_of(request.op);
    if (!native_may(thread, connection, role, request.key)) {
        native_deny(thread, connection, frame);
        return;
    }
    if (frame->type == FRAME_RECOVER && !native_may(thread, connection, role, bytes_of(NULL, 0))) {
        request.body = recover_first(request.body); /* The others' keys may not be the user's. */
    }
    request.ticket = take_call(thread, connection, frame, &call);
    if (request.ticket == 0) {
        return;
    }
    call->flags = (uint8_t)request.flags;
    request.received_us = connection->arrived_us;
    request.admitted = native_busy_asks(frame);
    connection->in_flight++;
    batch_route(thread, &request, connection, whole);
}

static size_t native_part_instead(const struct call *call, uint8_t frame_type, enum status status,
                                  const char *text, uint8_t *to)
{
    struct native_answer instead;

    if (frame_type == FRAME_SCAN || call->form == CALL_SCAN_PART) {
        const struct reply reply = {.status = status};
        return gather_scan_put(&reply, to);
    }
    native_answer_status(&instead, status, text, bytes_of(NULL, 0));
    assert(instead.room <= PART_INSTEAD_BYTES);
    return native_answer_part(&instead, to);
}

/* A part of a gathered request. Returns its ticket, or 0 when there are too many: it is answered. */
static uint64_t take_part(struct shard_thread *thread, const struct connection *connection,
                          struct gather *gather, uint32_t part, const struct frame *frame,
                          enum call_form form, uint32_t flags)
{
    struct call *call;
    uint64_t ticket = calls_take(&thread->calls, &call);

    if (ticket == 0) {
        const struct call part_call = {.form = (uint8_t)form};
        uint8_t bytes[PART_INSTEAD_BYTES];
        size_t size = native_part_instead(&part_call, frame->type, STATUS_BUSY, NULL, bytes);
        gather_part(thread, gather, part, bytes_of(bytes, size));
        return 0;
    }
    call->form = (uint8_t)form;
    call->frame_type = frame->type;
    call->flags = (uint8_t)flags;
    call->protocol = &native_protocol;
    call->gather = gather;
    call->part = part;
    call->connection = connection->index;
    call->connection_generation = connection->generation;
    return ticket;
}

/* The same for requests of many keys: of them no more are begun than a connection's answers may take. */
static bool must_wait(struct shard_thread *thread, struct connection *connection)
{
    if (gather_must_look(thread, connection)) {
        batch_run(thread);
    }
    return native_must_follow(thread, connection) || gather_must_wait(thread, connection) ||
           connection_is_full(thread, connection, 0);
}

static void many(struct shard_thread *thread, struct connection *connection,
                 const struct frame *frame, struct bytes whole)
{
    struct native_many list;

    if (must_wait(thread, connection)) {
        connection_put_off(thread, connection, whole);
        return;
    }
    enum status status = native_many(frame, &thread->arena, &list);

    if (status != STATUS_OK) {
        native_status(thread, connection, frame->type, frame->request_id, status, NULL);
        return;
    }
    if (thread->plane->options.users != NULL && !native_may_all(thread, connection, list)) {
        native_deny(thread, connection, frame);
        return;
    }
    if (list.count == 0) {
        uint8_t *to = connection_reserve(thread, connection, native_many_room(0));
        if (to != NULL) {
            connection_commit(
                thread, connection,
                native_many_frame(frame->type, frame->request_id, 0, bytes_of(NULL, 0), to));
        }
        return;
    }
    struct gather *gather = gather_open(thread, connection, frame->type, frame->request_id,
                                        list.count, bytes_of(NULL, 0));
    if (gather == NULL) {
        native_status(thread, connection, frame->type, frame->request_id, STATUS_BUSY, NULL);
        return;
    }
    for (uint32_t part = 0; part < list.count; part++) {
        struct request request;
        native_many_next(&list, &request);
        request.ticket =
            take_part(thread, connection, gather, part, frame, CALL_PART, request.flags);
        request.received_us = connection->arrived_us;
        if (request.ticket != 0) {
            batch_route(thread, &request, connection, bytes_of(NULL, 0));
        }
    }
}

/* Every shard is asked from the same cursor on; gather.h tells how the answers join. */
static void scan(struct shard_thread *thread, struct connection *connection,
                 const struct frame *frame, struct bytes whole)
{
    uint32_t shards = thread->plane->options.shard_count;
    struct request request;

    if (must_wait(thread, connection)) {
        connection_put_off(thread, connection, whole);
        return;
    }
    enum status status = native_request(frame, &thread->arena, &request);
    struct gather *gather = NULL;

    if (status == STATUS_OK && !native_may(thread, connection, ROLE_READ, request.key)) {
        status = STATUS_DENIED;
    }
    if (status == STATUS_OK && thread->clustered) {
        int rc =
            scan_task_begin(thread, connection, frame->request_id, &request, bytes_of(NULL, 0));
        if (rc == 0) {
            return;
        }
        status = STATUS_BUSY;
    } else if (status == STATUS_OK) {
        gather = gather_open(thread, connection, frame->type, frame->request_id, shards,
                             bytes_of(NULL, 0));
        status = gather == NULL ? STATUS_BUSY : STATUS_OK;
    }
    if (status != STATUS_OK) {
        native_status(thread, connection, frame->type, frame->request_id, status, NULL);
        return;
    }
    request.count = (request.count + shards - 1) / shards;
    request.received_us = connection->arrived_us;
    for (uint32_t shard = 0; shard < shards; shard++) {
        request.ticket = take_part(thread, connection, gather, shard, frame, CALL_SCAN_PART, 0);
        if (request.ticket == 0) {
            continue;
        }
        if (shard == thread->index) {
            shard_prepare(thread->shard, &request);
            batch_add(thread, &request, connection, bytes_of(NULL, 0));
        } else if (!cross_request(thread, shard, &request)) {
            door_refuse(thread, request.ticket, STATUS_BUSY, NULL);
        }
    }
}

static void admin(struct shard_thread *thread, struct connection *connection,
                  const struct frame *frame)
{
    struct native_admin asked;
    struct call *call;
    const struct plane_options *options = &thread->plane->options;
    enum status status = native_admin(frame, &thread->arena, &asked);

    if (status == STATUS_OK && options->admin == NULL) {
        status = STATUS_UNSUPPORTED;
    }
    bool harmless = status == STATUS_OK && bytes_equal(asked.command, bytes_of_string("status"));
    if (status == STATUS_OK && !harmless &&
        !native_may(thread, connection, ROLE_ADMIN, bytes_of(NULL, 0))) {
        status = STATUS_DENIED;
    }
    if (status != STATUS_OK) {
        native_status(thread, connection, frame->type, frame->request_id, status, NULL);
        return;
    }
    uint64_t ticket = take_call(thread, connection, frame, &call);
    if (ticket != 0) {
        connection->in_flight++;
        options->admin(options->context, ticket, asked.command, asked.argument);
    }
}

static void dispatch(struct shard_thread *thread, struct connection *connection,
                     const struct frame *frame, struct bytes whole)
{
    if (frame->type != FRAME_HELLO && login_is_wanted(thread, connection)) {
        native_status(thread, connection, frame->type, frame->request_id, STATUS_DENIED,
                      "this server has users: say HELLO with one, and its password, first");
        return;
    }
    if (connection->input_late.late &&
        (frame->type == FRAME_WRITE || frame->type == FRAME_WRITE_MANY ||
         frame->type == FRAME_RECOVER)) {
        thread->stats.late_refused++;
        native_status(thread, connection, frame->type, frame->request_id, STATUS_BUSY, pause_text);
        return;
    }
    switch (frame->type) {
    case FRAME_HELLO:
        hello(thread, connection, frame, whole);
        break;
    case FRAME_PING:
        native_status(thread, connection, frame->type, frame->request_id, STATUS_OK, NULL);
        break;
    case FRAME_GET_MANY:
    case FRAME_WRITE_MANY:
        many(thread, connection, frame, whole);
        break;
    case FRAME_SCAN:
        scan(thread, connection, frame, whole);
        break;
    case FRAME_ADMIN:
        admin(thread, connection, frame);
        break;
    case FRAME_MAP:
        native_map_asked(thread, connection, frame);
        break;
    default:
        one(thread, connection, frame, whole);
        break;
    }
}

static void native_serve(struct shard_thread *thread, struct connection *connection,
                         struct bytes whole)
{
    struct frame frame;
    enum status status = STATUS_OK;
    uint64_t began_us = whole.size > BULK_BYTES_MIN ? monotonic_us() : 0;
    if (login_is_over(connection)) {
        connection_close(thread, connection);
        return;
    }
    if (login_is_pending(connection)) {
        connection_put_off(thread, connection, whole);
        return;
    }
    int rc = frame_parse(whole, &frame);

    if (began_us != 0) {
        connection->arrived_us += monotonic_us() - began_us; /* Being checked is not waiting. */
    }

    if (rc == -EILSEQ) {
        status = STATUS_CORRUPT_FRAME;
    } else if (rc != 0 || (frame.flags & FRAME_REPLY) != 0) {
        status = STATUS_INVALID;
    }
    if (status != STATUS_OK) {
        thread->stats.frames_bad++;
    } else if (thread->stopping) {
        status = STATUS_STOPPING;
    } else if (connection->in_flight >= thread->plane->options.limits.in_flight) {
        status = STATUS_TOO_MANY_IN_FLIGHT;
    }
    if (status != STATUS_OK) {
        native_status(thread, connection, frame.type, frame.request_id, status, NULL);
        return;
    }
    dispatch(thread, connection, &frame, whole);
}

/* ---- From answers to bytes ---- */

static size_t native_room(struct shard_thread *thread, const struct call *call,
                          const struct reply *reply)
{
    if (call->form == CALL_SCAN_PART) {
        return gather_scan_room(reply);
    }
    native_answer(&thread->answer, reply, call->flags, &thread->scratch);
    thread->answer.head.stand_in = call->stand_in;
    thread->answer.head.node = call->hops > 0 ? thread->plane->options.actor.node : 0;
    return thread->answer.room;
}

static size_t native_put(struct shard_thread *thread, const struct call *call,
                         const struct reply *reply, uint8_t *to)
{
    if (call->form == CALL_SCAN_PART) {
        return gather_scan_put(reply, to);
    }
    if (call->form == CALL_PART) {
        return native_answer_part(&thread->answer, to);
    }
    return native_answer_frame(&thread->answer, call->frame_type, call->request_id, to);
}

static void native_set_level(const struct call *call, uint8_t *answer, size_t size,
                             enum ack_level level)
{
    if (call->form == CALL_PART) {
        native_part_set_level(answer, size, level);
    } else if (call->form == CALL_FRAME) {
        native_frame_set_level(answer, size, level);
    }
}

static void native_gathered(struct shard_thread *thread, struct connection *connection,
                            const struct gathered *gathered)
{
    if (gathered->status != STATUS_OK) {
        native_status(thread, connection, gathered->frame_type, gathered->request_id,
                      gathered->status, gathered->text);
        return;
    }
    uint8_t *to = connection_reserve(thread, connection, native_many_room(gathered->value.size));
    if (to != NULL) {
        connection_commit(thread, connection,
                          native_many_frame(gathered->frame_type, gathered->request_id,
                                            gathered->cursor, gathered->value, to));
    }
}

const struct protocol native_protocol = {
    .name = "native",
    .measure = native_measure,
    .serve = native_serve,
    .skipped = native_skipped,
    .complain = native_complain,
    .answer_room = native_room,
    .answer_put = native_put,
    .set_level = native_set_level,
    .part_instead = native_part_instead,
    .gathered = native_gathered,
};
