/* RESP, as a client of Redis speaks it: SET, GET and DEL, in the second version of the protocol.
 *
 * A line is one connection:
 *
 *    IDLE --(time to try)--> CONNECTING --> OPEN
 *     ^                          |            |
 *     +------- CLOSING <---------+------------+   refused, lost, or an answer is overdue
 *
 * Requests are put into `out` in every state and leave it when the line is OPEN, once per turn of the loop.
 * Answers come in the order of the requests, so that a list of those under way is all there is to remember. A lane of a
 * cluster has a line for each node; a request that is answered with MOVED or ASK is put on another one.
 */
#include "transport_resp_private.h"

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

enum { TICK_MS = 20 };

static void flush_line(struct line *line);

static struct resp *resp_of(struct transport *transport)
{
    return (struct resp *)transport;
}

/* ---- The end of a connection ---- */

static void on_closed(uv_handle_t *handle)
{
    struct line *line = handle->data;

    assert(line->state == LINE_CLOSING);
    line->state = LINE_IDLE;
    line->retry_ns = bench_now_ns() + (uint64_t)line->pause_ms * 1000000;
    line->pause_ms =
        line->pause_ms * 2 < RESP_PAUSE_MS_MAX ? line->pause_ms * 2 : RESP_PAUSE_MS_MAX;
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
    *buffer = uv_buf_init(line->resp->input, RESP_READ_BYTES); /* Used up before the next read. */
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
        resp_take_reply(line, reply);
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
        line->retry_ns = bench_now_ns() + (uint64_t)RESP_PAUSE_MS_MAX * 1000000;
        return;
    }
    line->state = LINE_CONNECTING;
    line->tcp.data = line;
    line->connect.data = line;
    (void)uv_tcp_nodelay(&line->tcp, 1);
    if (uv_tcp_connect(&line->connect, &line->tcp,
                       (const struct sockaddr *)&resp->route.nodes[resp_node_of(line)],
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
        if (line->state == LINE_IDLE && now_ns >= line->retry_ns &&
            resp_node_of(line) < resp->route.node_count) {
            connect_line(line);
        }
    }
}

/* ---- Requests ---- */

static enum belay_status send_in_cluster(struct resp *resp, uint32_t lane, const struct ask *ask,
                                         struct operation *operation)
{
    const uint32_t slot = slot_of_key(bytes_of(ask->key, ask->key_size));
    struct line *line = &resp->lines[lane * resp->width + resp->route.node_of_slot[slot]];
    const struct resp_out out = {.buffer = &operation->request};

    operation->request.memory = heap_memory();
    operation->request.size = 0;
    int rc = resp_put_ask(&out, ask, 0, 0);
    return rc != 0 || resp_put_kept(line, operation, false) != 0 ? BELAY_NO_MEMORY : BELAY_OK;
}

static enum belay_status send_ask(struct transport *transport, uint32_t lane, const struct ask *ask,
                                  struct operation *operation)
{
    struct resp *resp = resp_of(transport);

    operation->create = ask->create;
    operation->waits = operation->asking = false;
    operation->redirects = 0;
    operation->sent_ns = bench_now_ns();
    if (resp->cluster) {
        return send_in_cluster(resp, lane, ask, operation);
    }
    struct line *line = &resp->lines[lane];
    const size_t before = line->out.size;
    const struct resp_out out = {.buffer = &line->out};

    if (resp_put_ask(&out, ask, resp->wait, resp->timeout_ns / 2000000) != 0) {
        line->out.size = before;
        return BELAY_NO_MEMORY;
    }
    resp_enqueue(line, operation);
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
    resp->route = server->route;
    resp->cluster = options->cluster;
    resp->width = options->cluster ? ROUTE_NODES_MAX : 1;
    resp->timeout_ns = (uint64_t)options->timeout_ms * 1000000;
    resp->wait = options->wait;
    resp->greeting.memory = heap_memory();
    resp->count = lanes * resp->width;
    resp->lines = calloc(resp->count, sizeof *resp->lines);
    if (resp->lines != NULL) {
        rc = make_greeting(resp);
    }
    if (rc != 0) {
        resp->count = 0;
        destroy(&resp->transport);
        return rc;
    }
    for (uint32_t i = 0; i < resp->count; i++) {
        struct line *line = &resp->lines[i];
        line->resp = resp;
        line->out.memory = line->flying.memory = heap_memory();
        line->last = &line->first;
        line->pause_ms = RESP_PAUSE_MS_MIN;
        if (resp_node_of(line) < resp->route.node_count) {
            connect_line(line);
        }
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
