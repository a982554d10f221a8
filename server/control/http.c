/* libmicrohttpd runs without a thread of its own: its epoll descriptor is watched by the loop, which
 * calls it when something happens there or when it has asked to be called. An idle port costs nothing. */
#include "http.h"

#include <assert.h>
#include <errno.h>
#include <microhttpd.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "sockets.h"

enum { BACKLOG = 64 };

struct http {
    struct MHD_Daemon *daemon;
    struct http_source source;
    uint16_t port;
    uv_poll_t poll;
    uv_timer_t timer;
    uint32_t handles; /* Still to be closed by the loop. */
};

static int seen_headers; /* Its address marks a request whose headers were shown before. */

static void run(struct http *http)
{
    MHD_UNSIGNED_LONG_LONG timeout_ms;

    MHD_run(http->daemon);
    if (MHD_get_timeout(http->daemon, &timeout_ms) == MHD_YES) {
        uv_timer_start(&http->timer, http->timer.timer_cb, timeout_ms, 0);
    } else {
        uv_timer_stop(&http->timer);
    }
}

static void on_poll(uv_poll_t *poll, int status, int events)
{
    (void)status;
    (void)events;
    run(poll->data);
}

static void on_timer(uv_timer_t *timer)
{
    run(timer->data);
}

/* Queue an answer and forget it. */
static enum MHD_Result answer(struct MHD_Connection *connection, unsigned status, const char *type,
                              struct MHD_Response *response)
{
    if (response == NULL) {
        return MHD_NO;
    }
    MHD_add_response_header(response, MHD_HTTP_HEADER_CONTENT_TYPE, type);
    if (status == MHD_HTTP_METHOD_NOT_ALLOWED) {
        MHD_add_response_header(response, MHD_HTTP_HEADER_ALLOW, "GET, HEAD");
    }
    enum MHD_Result result = MHD_queue_response(connection, status, response);
    MHD_destroy_response(response);
    return result;
}

static enum MHD_Result answer_text(struct MHD_Connection *connection, unsigned status,
                                   const char *text)
{
    char line[HTTP_REASON_BYTES + 2];
    int size = snprintf(line, sizeof line, "%s\n", text);

    return answer(connection, status, "text/plain; charset=utf-8",
                  MHD_create_response_from_buffer((size_t)size, line, MHD_RESPMEM_MUST_COPY));
}

static enum MHD_Result answer_metrics(struct http *http, struct MHD_Connection *connection)
{
    size_t size = 0;
    char *text = http->source.metrics(http->source.context, &size);

    if (text == NULL) {
        return answer_text(connection, MHD_HTTP_INTERNAL_SERVER_ERROR, "out of memory");
    }
    return answer(connection, MHD_HTTP_OK, "text/plain; version=0.0.4; charset=utf-8",
                  MHD_create_response_from_buffer(size, text, MHD_RESPMEM_MUST_FREE));
}

static enum MHD_Result answer_ready(struct http *http, struct MHD_Connection *connection)
{
    char reason[HTTP_REASON_BYTES] = "";

    if (http->source.ready(http->source.context, reason, sizeof reason)) {
        char text[HTTP_REASON_BYTES + 16];
        snprintf(text, sizeof text, reason[0] != '\0' ? "ready; %s" : "ready%s", reason);
        return answer_text(connection, MHD_HTTP_OK, text);
    }
    return answer_text(connection, MHD_HTTP_SERVICE_UNAVAILABLE, reason);
}

static enum MHD_Result on_request(void *context, struct MHD_Connection *connection,
                                  const char *path, const char *method, const char *version,
                                  const char *upload, size_t *upload_size, void **request)
{
    struct http *http = context;

    (void)version;
    (void)upload;
    if (*request == NULL) { /* Only headers so far: a body, which nobody wants, may follow. */
        *request = &seen_headers;
        return MHD_YES;
    }
    if (*upload_size > 0) {
        *upload_size = 0;
        return MHD_YES;
    }
    if (strcmp(method, "GET") != 0 && strcmp(method, "HEAD") != 0) {
        return answer_text(connection, MHD_HTTP_METHOD_NOT_ALLOWED, "only GET and HEAD");
    }
    if (strcmp(path, "/metrics") == 0) {
        return answer_metrics(http, connection);
    }
    if (strcmp(path, "/healthz") == 0) {
        return answer_text(connection, MHD_HTTP_OK, "ok");
    }
    if (strcmp(path, "/readyz") == 0) {
        return answer_ready(http, connection);
    }
    return answer_text(connection, MHD_HTTP_NOT_FOUND,
                       "not found; there are /metrics, /healthz and /readyz");
}

/* ---- Opening ---- */

static int start_daemon(struct http *http, int fd)
{
    http->daemon =
        MHD_start_daemon(MHD_USE_EPOLL, 0, NULL, NULL, on_request, http, MHD_OPTION_LISTEN_SOCKET,
                         fd, MHD_OPTION_CONNECTION_LIMIT, (unsigned)HTTP_CONNECTIONS_MAX,
                         MHD_OPTION_CONNECTION_TIMEOUT, (unsigned)HTTP_TIMEOUT_S, MHD_OPTION_END);
    return http->daemon == NULL ? -ENOMEM : 0;
}

static int watch(struct http *http, uv_loop_t *loop)
{
    const union MHD_DaemonInfo *info = MHD_get_daemon_info(http->daemon, MHD_DAEMON_INFO_EPOLL_FD);

    assert(info != NULL);
    int rc = uv_poll_init(loop, &http->poll, info->epoll_fd);
    if (rc != 0) {
        return rc;
    }
    uv_timer_init(loop, &http->timer); /* Cannot fail. */
    http->handles = 2;
    http->poll.data = http;
    http->timer.data = http;
    http->timer.timer_cb = on_timer;
    return uv_poll_start(&http->poll, UV_READABLE, on_poll);
}

static void on_closed(uv_handle_t *handle)
{
    struct http *http = handle->data;

    if (--http->handles == 0) {
        free(http);
    }
}

void http_close(struct http *http)
{
    if (http == NULL) {
        return;
    }
    uv_poll_stop(&http->poll);
    uv_close((uv_handle_t *)&http->poll, on_closed);
    uv_close((uv_handle_t *)&http->timer, on_closed);
    MHD_stop_daemon(http->daemon); /* Closes the listening socket too. */
}

int http_open(uv_loop_t *loop, const char *address, uint16_t port, const struct http_source *source,
              struct http **http, char *message, size_t message_size)
{
    int rc = 0;
    struct http *made = calloc(1, sizeof *made);

    if (made == NULL) {
        return -ENOMEM;
    }
    made->source = *source;
    made->port = port;
    int fd = socket_listen(address, &made->port, BACKLOG);
    if (fd < 0) {
        rc = fd;
        goto free_http;
    }
    rc = start_daemon(made, fd);
    if (rc != 0) {
        close(fd);
        goto free_http;
    }
    rc = watch(made, loop);
    if (rc != 0) {
        goto stop_daemon;
    }
    *http = made;
    return 0;

stop_daemon:
    if (made->handles > 0) {
        http_close(made);
        made = NULL;
    } else {
        MHD_stop_daemon(made->daemon);
    }
free_http:
    free(made);
    snprintf(message, message_size, "HTTP: cannot listen on %s port %u: %s%s", address, port,
             strerror(-rc),
             rc == -EADDRINUSE ? "; set listen.http_port to a free one, or 0 to let the system pick"
                               : "");
    return rc;
}

uint16_t http_port(const struct http *http)
{
    return http->port;
}
