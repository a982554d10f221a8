#include "join_client.h"

#include <assert.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "address.h"
#include "peer_dial.h"
#include "peer_stream.h"
#include "peers.h"

/* A connection to one member; it closes in its own time. */
struct caller {
    struct peer_stream stream;
    struct join_client *client; /* NULL: nobody waits for it any more. */
};

struct join_client {
    struct join_client_options options;
    struct join_token token;
    struct peer_self self;
    uint32_t next;   /* Which of the addresses. */
    const char *now; /* The address that is tried. */
    struct peer_dial *dial;
    struct caller *caller;
    uv_timer_t timer;
    int rc; /* The worst so far: see `done`. */
    size_t text_size;
    char text[JOIN_CLIENT_TEXT_BYTES_MAX];
    uint8_t body[];
};

static void on_timer_closed(uv_handle_t *timer)
{
    free(timer->data);
}

static void let_caller_go(struct join_client *client, const char *text)
{
    if (client->caller != NULL) {
        client->caller->client = NULL;
        peer_stream_close(&client->caller->stream, text);
        client->caller = NULL;
    }
}

static void forget(struct join_client *client)
{
    let_caller_go(client, "it is not needed any more");
    uv_close((uv_handle_t *)&client->timer, on_timer_closed);
}

static void end(struct join_client *client, int rc, const struct peer_frame *answer)
{
    client->options.done(client->options.context, rc, answer, client->text);
    forget(client);
}

/* How much a failure says: that one may have taken us in is more than a refusal, and that more than silence. */
static int weight(int rc)
{
    return rc == 0 ? 0 : rc == -ECONNREFUSED ? 1 : rc == -EACCES ? 2 : 3;
}

/* Note what was wrong with the present address. */
static void note(struct join_client *client, int rc, const char *text)
{
    int size = snprintf(client->text + client->text_size, sizeof client->text - client->text_size,
                        "%s%s: %s", client->text_size > 0 ? "; " : "", client->now, text);

    client->text_size += (size_t)size;
    if (client->text_size >= sizeof client->text) {
        client->text_size = sizeof client->text - 1;
    }
    if (weight(rc) > weight(client->rc)) {
        client->rc = rc;
    }
}

static int dial_next(struct join_client *client);

static void go_on(struct join_client *client)
{
    if (dial_next(client) != 0) {
        end(client, client->rc, NULL);
    }
}

/* ---- The answer ---- */

static void on_frame(struct peer_stream *stream, const struct peer_frame *frame)
{
    struct caller *caller = (struct caller *)stream; /* It is its first member. */

    if (caller->client != NULL) {
        end(caller->client, 0, frame);
    }
}

static void on_closed(struct peer_stream *stream)
{
    struct caller *caller = (struct caller *)stream;
    struct join_client *client = caller->client;
    const char *text = stream->text;

    if (client != NULL) {
        client->caller = NULL;
        uv_timer_stop(&client->timer);
        note(client, -EPIPE, text);
    }
    free(caller);
    if (client != NULL) {
        go_on(client);
    }
}

static void on_time_over(uv_timer_t *timer)
{
    struct join_client *client = timer->data;

    let_caller_go(client, "it took too long");
    note(client, -ETIMEDOUT, "it let this node in, but did not answer");
    go_on(client);
}

static void ask(struct join_client *client, const struct peer_greeting_result *result)
{
    struct caller *caller = calloc(1, sizeof *caller);

    if (caller == NULL) {
        close(result->fd);
        note(client, -ENOMEM, "out of memory");
        go_on(client);
        return;
    }
    caller->client = client;
    caller->stream.body_bytes_max = PEERS_BODY_BYTES_MAX;
    caller->stream.frame = on_frame;
    caller->stream.closed = on_closed;
    client->caller = caller;
    uv_timer_start(&client->timer, on_time_over, JOIN_CLIENT_ANSWER_MS, 0);
    if (peer_stream_open(&caller->stream, client->options.loop, result->fd) != 0 ||
        peer_stream_send(&caller->stream, PEER_JOIN, 0, &client->options.body, 1) != 0) {
        peer_stream_close(&caller->stream, "the request could not be sent");
    } else if (result->rest.size > 0) {
        peer_stream_take(&caller->stream, result->rest);
    }
}

/* ---- One address after the other ---- */

static void on_dialled(void *context, const struct peer_greeting_result *result)
{
    struct join_client *client = context;

    client->dial = NULL;
    if (result->fd >= 0) {
        ask(client, result);
        return;
    }
    note(client, result->rc != 0 ? -ECONNREFUSED : -EACCES, result->text);
    go_on(client);
}

static int dial_address(struct join_client *client, const char *text)
{
    struct address address;

    client->now = text;
    if (!address_parse(text, text + strlen(text), JOIN_CLIENT_PORT, &address)) {
        note(client, -ECONNREFUSED, "that is no address");
        return -EINVAL;
    }
    const struct peer_dial_options options = {
        .loop = client->options.loop,
        .host = address.host,
        .port = address.port,
        .silent_ms = PEERS_SILENT_MS,
        .self = &client->self,
        .wish = {.role = PEER_ROLE_JOIN},
        .now_ms = client->options.now_ms,
        .clock = client->options.clock,
        .done = on_dialled,
        .context = client,
    };
    int rc = peer_dial_begin(&options, &client->dial);
    if (rc != 0) {
        note(client, -ECONNREFUSED, strerror(-rc));
    }
    return rc;
}

/* Returns 0; else there is none left. */
static int dial_next(struct join_client *client)
{
    while (client->next < client->token.address_count) {
        if (dial_address(client, client->token.addresses[client->next++]) == 0) {
            return 0;
        }
    }
    return -ECONNREFUSED;
}

/* The first look comes with a turn of the loop, so that `done` never runs within join_client_start(). */
static void on_begin(uv_timer_t *timer)
{
    go_on(timer->data);
}

int join_client_start(const struct join_client_options *options, struct join_client **client)
{
    struct join_client *made = calloc(1, sizeof *made + options->body.size);

    if (made == NULL) {
        return -ENOMEM;
    }
    assert(options->token->address_count <= JOIN_ADDRESSES_MAX);
    made->options = *options;
    made->token = *options->token;
    made->options.token = &made->token;
    if (options->body.size > 0) {
        memcpy(made->body, options->body.data, options->body.size);
    }
    made->options.body = bytes_of(made->body, options->body.size);
    made->self.shards = options->shards;
    made->self.clock_skew_max_ms = options->clock_skew_max_ms;
    memcpy(made->self.cluster, options->token->cluster, CLUSTER_ID_BYTES);
    memcpy(made->self.secret, options->token->secret, CLUSTER_SECRET_BYTES);
    uv_timer_init(options->loop, &made->timer);
    made->timer.data = made;
    uv_timer_start(&made->timer, on_begin, 0, 0);
    *client = made;
    return 0;
}

void join_client_cancel(struct join_client *client)
{
    if (client->dial != NULL) {
        peer_dial_cancel(client->dial);
    }
    forget(client);
}
