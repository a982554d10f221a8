/* The HTTP port: /metrics, /healthz and /readyz, on the control loop, with libmicrohttpd.
 *
 *   /healthz  200 while the process runs its loop
 *   /readyz   200 when sessions can be read and written, with what is amiss all the same as text (`ready; degraded:
 *             archive: ...`); else 503 with the reason as text
 *   /metrics  Prometheus' text format
 *
 * GET and HEAD only. At most HTTP_CONNECTIONS_MAX connections; one that is silent for
 * HTTP_TIMEOUT_S is closed. Threads: the loop's.
 */
#ifndef HTTP_H
#define HTTP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <uv.h>

enum { HTTP_CONNECTIONS_MAX = 64, HTTP_TIMEOUT_S = 15, HTTP_REASON_BYTES = 256 };

struct http; /* private to http.c */

struct http_source {
    /* Returns whether the node is ready; writes why not, or what is amiss all the same, or nothing. */
    bool (*ready)(void *context, char *reason, size_t reason_size);
    /* Returns the exposition in memory for free(), or NULL where there is none. */
    char *(*metrics)(void *context, size_t *size);
    void *context;
};

/* Listen; port 0 picks one. `source` is copied. Returns 0, or negative errno with what is wrong in
 * `message`. */
int http_open(uv_loop_t *loop, const char *address, uint16_t port, const struct http_source *source,
              struct http **http, char *message, size_t message_size);

uint16_t http_port(const struct http *http);

/* Close all connections. The loop must turn once more for the memory to go. NULL is fine. */
void http_close(struct http *http);

#endif
