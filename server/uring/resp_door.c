#include "resp_door.h"

#include <assert.h>
#include <errno.h>
#include <stdio.h>

#include "batch.h"
#include "gather.h"
#include "heap.h"
#include "plane_private.h"
#include "run.h"
#include "shard_thread.h"
#include "status_words.h"

enum {
    RESP_HEADS_BYTES_MAX =
        64 * 1024, /* Of a request, beside limits.frame: its other arguments and sizes. */
};

/* ---- A connection ---- */

int resp_door_open(struct shard_thread *thread, struct connection *connection)
{
    struct resp_session *session = heap_take(thread->memory, sizeof *session);

    if (session == NULL) {
        return -ENOMEM;
    }
    *session = (struct resp_session){
        .id = 1 + atomic_fetch_add(&thread->plane->resp_clients, 1),
        .connection = connection,
        .subscriber = {.shard = thread->index},
    };
    peer_print(connection->fd, session->address);
    reply_order_init(&session->order, thread->memory);
    resp_multi_init(&session->multi, thread->memory);
    connection->protocol = &resp_protocol;
    connection->resp = session;
    connection->order = &session->order;
    return 0;
}

static void forget(struct shard_thread *thread, struct connection *connection)
{
    struct resp_session *session = connection->resp;

    pubsub_leave(&thread->plane->pubsub, &session->subscriber);
    resp_monitor_leave(thread, session);
    reply_order_fini(&session->order);
    resp_multi_fini(thread, &session->multi);
    heap_give(thread->memory, session, sizeof *session);
    connection->resp = NULL;
    connection->order = NULL;
}

/* ---- From bytes to requests ---- */

/* Replies of the door itself are put together here. */
static struct resp_out begin_reply(struct shard_thread *thread, const struct connection *connection)
{
    thread->scratch.size = 0;
    return (struct resp_out){.buffer = &thread->scratch, .resp3 = connection->resp->resp3};
}

void resp_reply(struct shard_thread *thread, struct connection *connection, uint64_t number, int rc)
{
    struct bytes reply = buffer_bytes(&thread->scratch);

    if (rc != 0) {
        connection_close(thread, connection); /* No memory for a few words. */
        return;
    }
    if (connection->resp->silent_now) {
        reply.size = 0;
    }
    connection_answer(thread, connection, number, reply);
}

void resp_reply_error(struct shard_thread *thread, struct connection *connection, uint64_t number,
                      const char *text)
{
    struct resp_out out = begin_reply(thread, connection);

    resp_reply(thread, connection, number, resp_error(&out, text));
}

void resp_reply_status(struct shard_thread *thread, struct connection *connection, uint64_t number,
                       enum status status)
{
    char words[STATUS_WORDS_BYTES];

    status_words(status, NULL, words);
    resp_reply_error(thread, connection, number, words);
}

void resp_reply_number(struct shard_thread *thread, struct connection *connection, uint64_t number,
                       int64_t value)
{
    struct resp_out out = begin_reply(thread, connection);

    resp_reply(thread, connection, number, resp_number(&out, value));
}

void resp_reply_ok(struct shard_thread *thread, struct connection *connection, uint64_t number,
                   const char *text)
{
    struct resp_out out = begin_reply(thread, connection);

    resp_reply(thread, connection, number, resp_simple(&out, text));
}

/* The stream cannot be followed from here: what was asked before is answered, then this is said. */
static void end_stream(struct shard_thread *thread, struct connection *connection, const char *text)
{
    connection->resp->silent_now = false;
    resp_reply_error(thread, connection, connection->order->next++, text);
}

static int64_t measure(struct shard_thread *thread, struct connection *connection,
                       struct measuring *measuring, struct bytes input)
{
    const uint32_t most = login_frame_bytes(thread, connection);
    char error[RESP_ERROR_BYTES], text[RESP_ERROR_BYTES + 8];
    int64_t size = resp_measure(&measuring->cursor, input, most, &measuring->wanted, error);

    if (size == 0 && measuring->wanted > (uint64_t)most + RESP_HEADS_BYTES_MAX) {
        snprintf(error, sizeof error, "Protocol error: request larger than limits.frame");
        size = -EMSGSIZE;
    }
    if (size < 0) {
        thread->stats.frames_bad++;
        snprintf(text, sizeof text, "ERR %s", error);
        end_stream(thread, connection, text);
    }
    return size;
}

static void skipped(struct shard_thread *thread, struct connection *connection, struct bytes start)
{
    (void)start;
    resp_reply_error(thread, connection, reply_order_begin(connection->order),
                     "BUSY too many large requests are being received; try again");
}

static void complain(struct shard_thread *thread, struct connection *connection, enum status status)
{
    char words[STATUS_WORDS_BYTES];

    status_words(status, NULL, words);
    end_stream(thread, connection, words);
}

/* ---- Requests ---- */

/* Nothing was looked at of a request that is put off so. */
static void put_off(struct shard_thread *thread, struct connection *connection, uint64_t number,
                    struct bytes whole)
{
    thread->unseen = true;
    if (reply_order_put_off(connection->order, number) != 0) {
        connection_close(thread, connection);
        return;
    }
    connection_put_off(thread, connection, whole);
}

void resp_skip_anew(struct resp_session *session, bool silent)
{
    session->silent_next = session->silent_next || (silent && !session->silent);
}

void resp_put_off(struct shard_thread *thread, struct connection *connection, uint64_t number,
                  struct bytes whole)
{
    resp_skip_anew(connection->resp, connection->resp->silent_now);
    put_off(thread, connection, number, whole);
}

const char *resp_keep_key(struct shard_thread *thread, const struct connection *connection,
                          struct bytes key, struct bytes *kept)
{
    const struct resp_session *session = connection->resp;
    uint32_t database = session->multi.open ? session->multi.database : session->database;

    if (database == 0) {
        *kept = key;
        return key.size > 0 && key.data[0] == RESP_KEY_RESERVED
                   ? "ERR keys that begin with the byte 1 are reserved"
                   : NULL;
    }
    char *to = arena_take(&thread->arena, key.size + RESP_PREFIX_BYTES);
    if (to == NULL) {
        return "OOM no memory for the request";
    }
    size_t size = resp_put_database(database, to);
    if (key.size > 0) {
        memcpy(to + size, key.data, key.size);
    }
    *kept = bytes_of(to, size + key.size);
    return NULL;
}

uint32_t resp_flags(const struct connection *connection, bool writes)
{
    const struct resp_session *session = connection->resp;

    return (session->resp3 ? RUN_RESP3 : 0) |
           (!writes && session->reads_copies ? (uint32_t)GET_ANY : 0);
}

struct request resp_request_of(const struct connection *connection, const struct command *command,
                               struct bytes key, struct bytes body)
{
    bool write = (command->flags & COMMAND_WRITE) != 0;

    return (struct request){
        .op = write ? REQUEST_WRITE : REQUEST_GET,
        .mode = (command->flags & COMMAND_MAKES) != 0 ? WRITE_UPSERT : WRITE_UPDATE,
        .flags = resp_flags(connection, write),
        .received_us = connection->arrived_us,
        .key = key,
        .body = body,
        .procedure = &command->procedure,
    };
}

/* Returns the ticket, or 0 where there are too many. */
uint64_t resp_take_call(struct shard_thread *thread, const struct connection *connection,
                        const struct command *command, enum call_form form, struct call **call)
{
    bool write = (command->flags & COMMAND_WRITE) != 0;
    uint64_t ticket = calls_take(&thread->calls, call);

    if (ticket != 0) {
        (*call)->form = (uint8_t)form;
        (*call)->frame_type = write ? FRAME_WRITE : FRAME_GET;
        (*call)->flags = connection->resp->silent_now ? RESP_CALL_SILENT : 0;
        (*call)->protocol = &resp_protocol;
        (*call)->connection = connection->index;
        (*call)->connection_generation = connection->generation;
        (*call)->slow = thread->slow;
        if (thread->slow != NULL) {
            slow_ask(thread->slow);
        }
    }
    return ticket;
}

void resp_route(struct shard_thread *thread, struct connection *connection, uint64_t number,
                const struct command *command, struct request *request, struct bytes whole)
{
    struct call *call;

    request->ticket = resp_take_call(thread, connection, command, CALL_FRAME, &call);
    if (request->ticket == 0) {
        resp_reply_error(thread, connection, number,
                         "BUSY too many requests are waiting for their answer");
        return;
    }
    call->request_id = number;
    connection->in_flight++;
    batch_route(thread, request, connection, whole);
}

void resp_one(struct shard_thread *thread, struct connection *connection, uint64_t number,
              const struct command *command, struct bytes array, struct bytes whole)
{
    struct resp_arguments arguments = resp_arguments(array);
    struct bytes key;

    for (int i = 0; i <= command->first_key; i++) {
        (void)resp_next(&arguments, &key);
    }
    const char *error = resp_keep_key(thread, connection, key, &key);
    if (error != NULL) {
        resp_reply_error(thread, connection, number, error);
        return;
    }
    struct request request = resp_request_of(connection, command, key, array);
    resp_route(thread, connection, number, command, &request, whole);
}

/* ---- Any ---- */

/* A line becomes an array. Returns 0, -EINVAL, -ENOMEM. */
static int to_array(struct shard_thread *thread, struct bytes whole, struct bytes *array)
{
    struct buffer *buffer = &thread->scratch;

    *array = whole;
    if (!resp_is_line(whole)) {
        return 0;
    }
    buffer->size = 0;
    int rc = resp_line_to_array(whole, buffer);
    void *bytes = rc == 0 ? arena_take(&thread->arena, buffer->size) : NULL;
    if (bytes == NULL) {
        return rc != 0 ? rc : -ENOMEM;
    }
    memcpy(bytes, buffer->data, buffer->size);
    *array = bytes_of(bytes, buffer->size);
    return 0;
}

/* Too much is under way for its client already. */
static bool must_pause(const struct shard_thread *thread, const struct connection *connection,
                       uint64_t number)
{
    return connection->in_flight >= thread->plane->options.limits.in_flight ||
           connection_is_full(thread, connection, number);
}

static void serve(struct shard_thread *thread, struct connection *connection, struct bytes whole)
{
    struct resp_session *session = connection->resp;
    uint64_t number = reply_order_begin(connection->order);
    struct bytes array;

    if (login_is_over(connection)) {
        connection_close(thread, connection);
        return;
    }
    if (must_pause(thread, connection, number) && connection->batched > 0) {
        batch_run(thread);
    }
    if (connection->stalled || login_is_pending(connection) || session->tasks > 0 ||
        must_pause(thread, connection, number)) {
        put_off(thread, connection, number, whole);
        return;
    }
    session->silent_now = session->silent || session->silent_next;
    session->silent_next = false;
    int rc = to_array(thread, whole, &array);
    if (rc == -EINVAL) {
        resp_reply_error(thread, connection, number,
                         "ERR Protocol error: unbalanced quotes in request");
        connection_drain(thread, connection);
    } else if (rc != 0) {
        resp_reply_error(thread, connection, number, "OOM no memory for the request");
    } else {
        resp_dispatch(thread, connection, number, array, whole);
    }
}

/* ---- From answers to bytes ---- */

static size_t answer_room(struct shard_thread *thread, const struct call *call,
                          const struct reply *reply)
{
    char words[STATUS_WORDS_BYTES];

    if (call->form == CALL_SCAN_PART) {
        return gather_scan_room(reply);
    }
    if (call->form == CALL_FRAME && (call->flags & RESP_CALL_SILENT) != 0) {
        return 0;
    }
    if (reply->status == STATUS_OK) {
        return reply->results.size;
    }
    const struct resp_out out = {.buffer = &thread->scratch};
    thread->scratch.size = 0;
    status_words(reply->status, reply->text, words);
    (void)resp_error(&out, words); /* Where there is no memory for it nothing is said. */
    return thread->scratch.size;
}

static size_t answer_put(struct shard_thread *thread, const struct call *call,
                         const struct reply *reply, uint8_t *to)
{
    if (call->form == CALL_SCAN_PART) {
        return gather_scan_put(reply, to);
    }
    if (call->form == CALL_FRAME && (call->flags & RESP_CALL_SILENT) != 0) {
        return 0;
    }
    struct bytes bytes =
        reply->status == STATUS_OK ? reply->results : buffer_bytes(&thread->scratch);
    if (bytes.size > 0) {
        memcpy(to, bytes.data, bytes.size);
    }
    return bytes.size;
}

const struct protocol resp_protocol = {
    .name = "resp",
    .patient = true,
    .measure = measure,
    .serve = serve,
    .skipped = skipped,
    .complain = complain,
    .answer_room = answer_room,
    .answer_put = answer_put,
    .part_instead = resp_part_instead,
    .gathered = resp_gathered,
    .forget = forget,
};
