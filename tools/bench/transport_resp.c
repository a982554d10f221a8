/* RESP, as a client of Redis speaks it: SET, GET and DEL, in the second version of the protocol.
 *
 * A line is one connection:
 *
 *    IDLE --(time to try)--> CONNECTING --> OPEN
 *     ^                          |            |
 *     +------- CLOSING <---------+------------+   refused, lost, or an answer is overdue
 *
 * Requests are put into `out` in every state and leave it when the line is OPEN, once per turn of the loop.
 * Answers come in the order of the requests, so that a list of those under way is all there is to remember.
 */
#include "transport.h"

#include <assert.h>
#include <errno.h>
#include <hiredis/hiredis.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "clock.h"
#include "credentials.h"
#include "heap.h"
#include "resp.h"
#include "resp_put.h"

enum {
    TICK_MS = 20,
    PAUSE_MS_MIN = 20, /* Before a line is connected anew; doubled up to... */
    PAUSE_MS_MAX = 500,
    READ_BYTES = 256 * 1024,
};

enum line_state { LINE_IDLE, LINE_CONNECTING, LINE_OPEN, LINE_CLOSING };

struct line {
    struct resp *resp;
    enum line_state state;
    uv_tcp_t tcp;
    uv_connect_t connect;
    uv_write_t write;
    bool writing, dirty;
    struct line *next_dirty;
    struct buffer out;    /* Not sent yet. */
    struct buffer flying; /* libuv's while `writing`. */
    redisReader *reader;
    uint32_t greetings; /* Answers to come that belong to no operation. */
    struct operation *first, **last;
    uint64_t retry_ns;
    uint32_t pause_ms;
};

struct resp {
    struct transport transport;
    uv_loop_t *loop;
    const struct server *server;
    uint64_t timeout_ns;
    uint32_t wait; /* --wait */
    uint64_t disconnects;
    bool told; /* An error that has no status of its own was printed. */
    uint32_t count;
    struct line *lines, *dirty;
    uv_prepare_t flusher;
    uv_timer_t ticker;
    struct buffer greeting;
    char input[READ_BYTES];
};

static void flush_line(struct line *line);

static struct resp *resp_of(struct transport *transport)
{
    return (struct resp *)transport;
}

/* ---- Answers ---- */

/* What an error's first word says. */
static enum belay_status status_of_error(struct resp *resp, const char *text)
{
    static const struct {
        const char *word;
        enum belay_status status;
    } known[] = {
        {"BUSY", BELAY_BUSY},
        {"LOADING", BELAY_BUSY},
        {"OOM", BELAY_MEMORY_FULL},
        {"MISCONF", BELAY_DISK_FULL},
        {"NOAUTH", BELAY_DENIED},
        {"NOPERM", BELAY_DENIED},
        {"WRONGPASS", BELAY_DENIED},
        {"WRONGTYPE", BELAY_WRONG_TYPE},
        {"DENIED", BELAY_DENIED},
        {"READONLY", BELAY_UNSUPPORTED},
        {"NOREPLICAS", BELAY_UNAVAILABLE},
    };
    size_t size = strcspn(text, " ");

    for (size_t i = 0; i < sizeof known / sizeof known[0]; i++) {
        if (strlen(known[i].word) == size && memcmp(known[i].word, text, size) == 0) {
            return known[i].status;
        }
    }
    if (!resp->told) {
        fprintf(stderr, "belay-bench: the server answers: %s\n", text);
        resp->told = true;
    }
    return BELAY_INVALID;
}

/* A nil is no session for a GET. For SET NX it is one that is there, or one that `no_resurrect` keeps from coming
 * back: the protocol does not say which, and either way nothing was written. */
static enum belay_status status_of_nil(const struct operation *operation)
{
    if (operation->kind == ASK_GET) {
        return BELAY_NOT_FOUND;
    }
    return operation->create ? BELAY_DESTROYED : BELAY_INVALID;
}

static struct answer answer_of(struct resp *resp, const struct operation *operation,
                               const redisReply *reply)
{
    /* That it is applied in memory is what every acknowledgement means; RESP says no more. */
    struct answer answer = {.status = BELAY_OK, .ack_level = BELAY_ACK_MEMORY};

    if (reply->type == REDIS_REPLY_ERROR) {
        answer.status = status_of_error(resp, reply->str);
    } else if (reply->type == REDIS_REPLY_NIL) {
        answer.status = status_of_nil(operation);
    } else if (operation->kind == ASK_GET) {
        answer.status = reply->type == REDIS_REPLY_STRING ? BELAY_OK : BELAY_INVALID;
        answer.value = bytes_of(reply->str, reply->str == NULL ? 0 : reply->len);
    }
    return answer;
}

/* The answer to WAIT after a write. Fewer replicas in time leave the write where it is, in the server's memory. */
static struct answer answer_of_wait(const struct resp *resp, const struct operation *operation,
                                    const redisReply *reply)
{
    const bool enough =
        reply->type == REDIS_REPLY_INTEGER && reply->integer >= (long long)resp->wait;

    return (struct answer){.status = operation->first_status,
                           .ack_level = enough ? BELAY_ACK_REPLICA : BELAY_ACK_MEMORY};
}

/* Is this the first of the two answers to a write with --wait? It is kept. */
static bool is_first_of_two(struct resp *resp, struct operation *operation, const redisReply *reply)
{
    if (resp->wait == 0 || operation->kind == ASK_GET || operation->waits) {
        return false;
    }
    operation->waits = true;
    operation->first_status = answer_of(resp, operation, reply).status;
    return true;
}

static void take_reply(struct line *line, const redisReply *reply)
{
    struct operation *operation = line->first;

    if (line->greetings > 0) {
        line->greetings--; /* Where it is refused, so is everything that follows. */
        return;
    }
    if (operation == NULL) {
        return; /* Nothing was asked; the server says why it closes. */
    }
    line->pause_ms = PAUSE_MS_MIN;
    if (is_first_of_two(line->resp, operation, reply)) {
        return;
    }
    line->first = operation->next;
    if (line->first == NULL) {
        line->last = &line->first;
    }
    struct answer answer = operation->waits ? answer_of_wait(line->resp, operation, reply)
                                            : answer_of(line->resp, operation, reply);
    pump_answered(operation, &answer);
}

/* ---- The end of a connection ---- */

static void on_closed(uv_handle_t *handle)
{
    struct line *line = handle->data;

    assert(line->state == LINE_CLOSING);
    line->state = LINE_IDLE;
    line->retry_ns = bench_now_ns() + (uint64_t)line->pause_ms * 1000000;
    line->pause_ms = line->pause_ms * 2 < PAUSE_MS_MAX ? line->pause_ms * 2 : PAUSE_MS_MAX;
}

static void begin_close(struct line *line)
{
    if (line->state == LINE_CONNECTING || line->state == LINE_OPEN) {
        line->state = LINE_CLOSING;
        uv_close((uv_handle_t *)&line->tcp, on_closed);
    }
}

/* Everything under way ends: where it is overdue because of that, else because the connection is gone. */
static void drop_requests(struct line *line, bool was_open)
{
    const uint64_t timeout_ns = line->resp->timeout_ns;
    const uint64_t now_ns = bench_now_ns();
    struct operation *operation = line->first;

    line->first = NULL;
    line->last = &line->first;
    line->out.size = 0;
    while (operation != NULL) {
        struct operation *next = operation->next;
        bool overdue = now_ns - operation->sent_ns >= timeout_ns;
        struct answer answer = {.status = BELAY_DISCONNECTED};
        if (overdue) {
            answer.status = was_open ? BELAY_TIMEOUT : BELAY_CANNOT_CONNECT;
        }
        pump_answered(operation, &answer);
        operation = next;
    }
}

static void lose_line(struct line *line)
{
    if (line->state != LINE_OPEN) {
        return;
    }
    line->resp->disconnects++;
    begin_close(line);
    drop_requests(line, true);
}

/* ---- Reading and writing ---- */

static void on_alloc(uv_handle_t *handle, size_t suggested, uv_buf_t *buffer)
{
    struct line *line = handle->data;

    (void)suggested;
    *buffer = uv_buf_init(line->resp->input, READ_BYTES); /* Used up before the next read. */
}

static void on_read(uv_stream_t *stream, ssize_t size, const uv_buf_t *buffer)
{
    struct line *line = stream->data;
    void *reply = NULL;
    int rc = REDIS_OK;

    if (size == 0) {
        return;
    }
    if (size > 0) {
        rc = redisReaderFeed(line->reader, buffer->base, (size_t)size);
    }
    while (size > 0 && rc == REDIS_OK) {
        rc = redisReaderGetReply(line->reader, &reply);
        if (rc != REDIS_OK || reply == NULL) {
            break;
        }
        take_reply(line, reply);
        freeReplyObject(reply);
    }
    if (size < 0 || rc != REDIS_OK) {
        lose_line(line);
    }
}

static void on_written(uv_write_t *write, int status)
{
    struct line *line = write->data;

    line->writing = false;
    line->flying.size = 0;
    if (status != 0) {
        lose_line(line);
    } else {
        flush_line(line);
    }
}

/* Send from `flying` what is after `sent`. */
static void write_rest(struct line *line, size_t sent)
{
    uv_buf_t rest =
        uv_buf_init((char *)line->flying.data + sent, (unsigned)(line->flying.size - sent));

    line->write.data = line;
    line->writing = uv_write(&line->write, (uv_stream_t *)&line->tcp, &rest, 1, on_written) == 0;
    if (!line->writing) {
        line->flying.size = 0;
        lose_line(line);
    }
}

static void flush_line(struct line *line)
{
    if (line->state != LINE_OPEN || line->writing || line->out.size == 0) {
        return;
    }
    uv_buf_t all = uv_buf_init((char *)line->out.data, (unsigned)line->out.size);
    int sent = uv_try_write((uv_stream_t *)&line->tcp, &all, 1);
    if (sent < 0 && sent != UV_EAGAIN) {
        lose_line(line);
    } else if (sent == (int)line->out.size) {
        line->out.size = 0;
    } else {
        struct buffer empty = line->flying;
        line->flying = line->out;
        line->out = empty;
        write_rest(line, sent < 0 ? 0 : (size_t)sent);
    }
}

static void on_flush(uv_prepare_t *prepare)
{
    struct resp *resp = prepare->data;
    struct line *line = resp->dirty;

    resp->dirty = NULL;
    while (line != NULL) {
        struct line *next = line->next_dirty;
        line->dirty = false;
        flush_line(line);
        line = next;
    }
}

/* ---- Connecting ---- */

static void on_connected(uv_connect_t *connect, int status)
{
    struct line *line = connect->data;
    const struct buffer *greeting = &line->resp->greeting;

    if (line->state != LINE_CONNECTING) {
        return; /* It was given up meanwhile. */
    }
    if (status != 0 || uv_read_start((uv_stream_t *)&line->tcp, on_alloc, on_read) != 0) {
        begin_close(line);
        return;
    }
    line->state = LINE_OPEN;
    line->greetings = greeting->size > 0 ? 1 : 0;
    if (greeting->size == 0) {
        flush_line(line);
    } else if (buffer_append(&line->flying, buffer_bytes(greeting)) == 0) {
        write_rest(line, 0);
    } else {
        lose_line(line);
    }
}

static void connect_line(struct line *line)
{
    struct resp *resp = line->resp;

    if (line->reader != NULL) {
        redisReaderFree(line->reader);
    }
    line->reader = redisReaderCreate();
    if (line->reader == NULL || uv_tcp_init(resp->loop, &line->tcp) != 0) {
        line->retry_ns = bench_now_ns() + (uint64_t)PAUSE_MS_MAX * 1000000;
        return;
    }
    line->state = LINE_CONNECTING;
    line->tcp.data = line;
    line->connect.data = line;
    (void)uv_tcp_nodelay(&line->tcp, 1);
    if (uv_tcp_connect(&line->connect, &line->tcp, (const struct sockaddr *)&resp->server->address,
                       on_connected) != 0) {
        begin_close(line);
    }
}

static void on_tick(uv_timer_t *timer)
{
    struct resp *resp = timer->data;
    const uint64_t now_ns = bench_now_ns();

    for (uint32_t i = 0; i < resp->count; i++) {
        struct line *line = &resp->lines[i];
        if (line->first != NULL && now_ns - line->first->sent_ns >= resp->timeout_ns) {
            bool was_open = line->state == LINE_OPEN;
            resp->disconnects += was_open;
            begin_close(line);
            drop_requests(line, was_open);
        }
        if (line->state == LINE_IDLE && now_ns >= line->retry_ns) {
            connect_line(line);
        }
    }
}

/* ---- Requests ---- */

static enum belay_status send_ask(struct transport *transport, uint32_t lane, const struct ask *ask,
                                  struct operation *operation)
{
    struct resp *resp = resp_of(transport);
    struct line *line = &resp->lines[lane];
    const size_t before = line->out.size;
    const struct resp_out out = {.buffer = &line->out};

    if (resp_put_ask(&out, ask, resp->wait, resp->timeout_ns / 2000000) != 0) {
        line->out.size = before;
        return BELAY_NO_MEMORY;
    }
    operation->create = ask->create;
    operation->waits = false;
    operation->sent_ns = bench_now_ns();
    operation->next = NULL;
    *line->last = operation;
    line->last = &operation->next;
    if (!line->dirty) {
        line->dirty = true;
        line->next_dirty = resp->dirty;
        resp->dirty = line;
    }
    return BELAY_OK;
}

/* ---- All of them ---- */

static uint64_t disconnects(const struct transport *transport)
{
    return ((const struct resp *)transport)->disconnects;
}

static void close_all(struct transport *transport)
{
    struct resp *resp = resp_of(transport);

    for (uint32_t i = 0; i < resp->count; i++) {
        begin_close(&resp->lines[i]);
    }
    uv_close((uv_handle_t *)&resp->flusher, NULL);
    uv_close((uv_handle_t *)&resp->ticker, NULL);
}

static void destroy(struct transport *transport)
{
    struct resp *resp = resp_of(transport);

    for (uint32_t i = 0; resp->lines != NULL && i < resp->count; i++) {
        struct line *line = &resp->lines[i];
        assert(line->state == LINE_IDLE);
        if (line->reader != NULL) {
            redisReaderFree(line->reader);
        }
        buffer_fini(&line->out);
        buffer_fini(&line->flying);
    }
    buffer_fini(&resp->greeting);
    free(resp->lines);
    free(resp);
}

/* AUTH, where there is a user. */
static int make_greeting(struct resp *resp)
{
    const struct resp_out out = {.buffer = &resp->greeting};
    struct credentials credentials;

    if (credentials_read(&credentials, "belay-bench") != 0) {
        return -EINVAL;
    }
    if (credentials.user == NULL) {
        return 0;
    }
    int rc = resp_array(&out, 3);
    rc = rc != 0 ? rc : resp_text(&out, "AUTH");
    rc = rc != 0 ? rc : resp_text(&out, credentials.user);
    return rc != 0 ? rc : resp_text(&out, credentials.password);
}

int transport_resp_create(const struct bench_options *options, const struct server *server,
                          uv_loop_t *loop, uint32_t lanes, struct transport **transport)
{
    struct resp *resp = calloc(1, sizeof *resp);
    int rc = -ENOMEM;

    if (resp == NULL) {
        return rc;
    }
    resp->transport = (struct transport){send_ask, disconnects, close_all, destroy};
    resp->loop = loop;
    resp->server = server;
    resp->timeout_ns = (uint64_t)options->timeout_ms * 1000000;
    resp->wait = options->wait;
    resp->greeting.memory = heap_memory();
    resp->count = lanes;
    resp->lines = calloc(lanes, sizeof *resp->lines);
    if (resp->lines != NULL) {
        rc = make_greeting(resp);
    }
    if (rc != 0) {
        resp->count = 0;
        destroy(&resp->transport);
        return rc;
    }
    for (uint32_t i = 0; i < lanes; i++) {
        struct line *line = &resp->lines[i];
        line->resp = resp;
        line->out.memory = line->flying.memory = heap_memory();
        line->last = &line->first;
        line->pause_ms = PAUSE_MS_MIN;
        connect_line(line);
    }
    uv_prepare_init(loop, &resp->flusher);
    resp->flusher.data = resp;
    uv_prepare_start(&resp->flusher, on_flush);
    uv_timer_init(loop, &resp->ticker);
    resp->ticker.data = resp;
    uv_timer_start(&resp->ticker, on_tick, TICK_MS, TICK_MS);
    *transport = &resp->transport;
    return 0;
}
