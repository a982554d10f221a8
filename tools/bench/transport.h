/* A pump's connections: lanes that each take requests and give answers.
 *
 * Memory: a transport is made for one pump and lives as long as it. Threads: that of the pump's loop.
 */
#ifndef BENCH_TRANSPORT_H
#define BENCH_TRANSPORT_H

#include <stdint.h>

#include <uv.h>

#include "exchange.h"
#include "options.h"
#include "pump.h"
#include "server.h"

struct transport {
    /* Send on that lane; pump_answered() comes exactly once, and not from inside. What is sent while the
     * connection is not there waits for it, up to --timeout-ms. Returns BELAY_OK; or why nothing was sent, and
     * no answer comes then. */
    enum belay_status (*send)(struct transport *transport, uint32_t lane, const struct ask *ask,
                              struct operation *operation);
    /* Connections that all lanes together lost. */
    uint64_t (*disconnects)(const struct transport *transport);
    /* Begin to close everything; no request is under way. destroy() follows once the loop has nothing left. */
    void (*close)(struct transport *transport);
    void (*destroy)(struct transport *transport);
};

/* By libbelay: a lane is a client with one connection for each shard of the server.
 * Returns 0, or negative errno. */
int transport_native_create(const struct bench_options *options, uv_loop_t *loop, uint32_t lanes,
                            struct transport **transport);

/* By RESP: a lane is a connection to where server_ask() found the server, with --cluster one to each node, which a request
 * goes to by its key's slot and by what MOVED and ASK say of it. It is made anew when it is lost, and what
 * was under way on it then is answered DISCONNECTED: nothing is tried again, as clients of Redis do not. A request
 * without an answer in time costs the connection, as all behind it would wait as well.
 * Returns 0, or negative errno. */
int transport_resp_create(const struct bench_options *options, const struct server *server,
                          uv_loop_t *loop, uint32_t lanes, struct transport **transport);

#endif
