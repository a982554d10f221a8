/* Start in the order that a failure undoes most easily: control loop, node (data directory, shards,
 * restore), HTTP, and only then clients. What the outside sees of it is one line on stdout. */
#include "serve.h"

#include <errno.h>
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "bus_error.h"
#include "control.h"
#include "http.h"
#include "logger.h"
#include "node.h"
#include "node_admin.h"
#include "node_cluster.h"
#include "node_drain.h"
#include "node_ports.h"
#include "pages.h"
#include "wall_clock.h"

enum { PLACE_BYTES = 96, CLOCK_OFF_MS = 1000, CLOCK_TELL_MS = 60 * 1000, TRIM_TICKS = 10 };

struct server {
    struct config *config;
    const struct serve_source *source;
    const struct join_token *token;
    const char *lost;
    struct wall_clock clock;
    struct logger logger;
    struct control *control;
    struct node *node;
    struct http *http;
    struct ports ports;
    bool served;
    bool stopping;          /* The loop may turn for what is sent last; nothing else is done. */
    bool clock_off;         /* It was reported, and is still so... */
    uint64_t clock_told_ms; /* ... last then. */
    uint32_t ticks;         /* Since memory was last given back. */
};

/* "127.0.0.1:7400", "[::1]:7400". */
static void print_place(const char *address, uint64_t port, char to[PLACE_BYTES])
{
    bool v6 = strchr(address, ':') != NULL;

    snprintf(to, PLACE_BYTES, "%s%.64s%s:%" PRIu64, v6 ? "[" : "", address, v6 ? "]" : "", port);
}

/* ---- Questions from HTTP, shards and the loop ---- */

static bool on_ready(void *context, char *reason, size_t reason_size)
{
    struct server *server = context;

    return node_ready(server->node, reason, reason_size);
}

static char *on_metrics(void *context, size_t *size)
{
    struct server *server = context;

    return node_metrics_text(server->node, size);
}

static char *admin_answer(struct server *server, const char *command)
{
    char native[PLACE_BYTES], http[PLACE_BYTES];

    if (strcmp(command, "config") == 0) {
        return node_config_json(server->node);
    }
    print_place(server->config->listen_address, node_port(server->node), native);
    print_place(server->config->listen_address, http_port(server->http), http);
    return node_status_json(server->node, native, http);
}

static void on_admin(void *context, uint64_t token, const char *command, const char *argument)
{
    struct server *server = context;

    if (server->stopping) {
        return; /* Its connection has gone. */
    }
    if (node_admin(server->node, token, command, argument)) {
        return;
    }
    if (strcmp(command, "status") != 0 && strcmp(command, "config") != 0) {
        node_answer(server->node, token, STATUS_UNSUPPORTED, NULL);
        return;
    }
    char *json = admin_answer(server, command);
    node_answer(server->node, token, json != NULL ? STATUS_OK : STATUS_UNAVAILABLE, json);
    free(json);
}

static void on_tick(void *context)
{
    struct server *server = context;
    int64_t ahead_ms = wall_clock_ahead_ms(&server->clock);
    bool off = ahead_ms > CLOCK_OFF_MS || ahead_ms < -CLOCK_OFF_MS;
    const uint64_t now_ms = wall_clock_now_ms(&server->clock);

    if (off && (!server->clock_off || now_ms - server->clock_told_ms >= CLOCK_TELL_MS)) {
        server->clock_told_ms = now_ms;
        logger_write(
            &server->logger, LOG_LEVEL_WARN, "clock-differs",
            LOG_NUMBER("ahead_of_system_ms", ahead_ms),
            LOG_TEXT("effect",
                     ahead_ms > 0
                         ? "deadlines go by elapsed time, but times of day that clients give "
                           "(EXAT, EXPIREAT) come early, after a restart, too"
                         : "deadlines go by elapsed time, but times of day that clients give "
                           "(EXAT, EXPIREAT) come late until a restart"));
    }
    server->clock_off = off;
    if (server->served && !server->stopping) {
        node_cluster_tick(server->node);
        node_drain_tick(server->node);
    }
    if (++server->ticks == TRIM_TICKS) {
        server->ticks = 0;
        pages_trim_heap();
    }
}

/* Users are taken from the configuration anew, and nothing else. */
static int reload(struct server *server, struct config *config, char *message, size_t message_size)
{
    const struct serve_source *source = server->source;
    int rc = source->load(source->context, config, message, message_size);

    rc = rc != 0 ? rc : node_set_users(server->node, config, message, message_size);
    if (rc == 0) { /* What is in force, for who asks. */
        memcpy(server->config->users, config->users, sizeof config->users);
        server->config->user_count = config->user_count;
    }
    return rc;
}

static bool on_stop(void *context)
{
    struct server *server = context;

    return !server->served || server->stopping || !node_drain_begin(server->node);
}

static void on_hang_up(void *context)
{
    struct server *server = context;

    if (!server->served || server->stopping) {
        return; /* What is in force is being read just now, or has gone. */
    }
    char message[NODE_MESSAGE_BYTES] = "there is no memory to read it";
    struct config *config = malloc(sizeof *config);

    if (config == NULL || reload(server, config, message, sizeof message) != 0) {
        logger_write(&server->logger, LOG_LEVEL_ERROR, "users-not-reloaded",
                     LOG_TEXT("cause", message), LOG_TEXT("effect", "users are as they were"));
    }
    free(config);
}

static bool on_alive(void *context)
{
    struct server *server = context;

    return !server->served || server->stopping || node_alive(server->node);
}

/* ---- Life ---- */

static int start_control(struct server *server)
{
    const struct control_options options = {
        .logger = &server->logger,
        .admin = on_admin,
        .tick = on_tick,
        .stop = on_stop,
        .hang_up = on_hang_up,
        .alive = on_alive,
        .context = server,
    };

    return control_create(&options, &server->control);
}

static int start(struct server *server, char *message, size_t message_size)
{
    const struct config *config = server->config;
    const struct http_source source = {on_ready, on_metrics, server};
    const struct node_world world = {config,          &server->logger, &server->clock,
                                     server->control, server->token,   server->lost};

    int rc = node_open(&world, &server->node, message, message_size);
    if (rc != 0) {
        return rc;
    }
    rc = http_open(control_loop(server->control), config->listen_address,
                   (uint16_t)config->listen_http_port, &source, &server->http, message,
                   message_size);
    if (rc != 0) {
        return rc;
    }
    return node_start(server->node, message, message_size);
}

/* The line that scripts wait for (its form is an interface). */
static void print_ready(struct server *server)
{
    const struct config *config = server->config;
    char native[PLACE_BYTES], cluster[PLACE_BYTES], peer[PLACE_BYTES], http[PLACE_BYTES];

    print_place(config->listen_address, node_port(server->node), native);
    print_place(config->listen_address, config->listen_cluster_port, cluster);
    print_place(config->listen_address, config->listen_peer_port, peer);
    print_place(config->listen_address, http_port(server->http), http);
    printf("ready name=%s native=%s cluster=%s peer=%s http=%s pid=%d\n", node_name(server->node),
           native, cluster, peer, http, (int)getpid());
    if (fflush(stdout) != 0) { /* The end says it again, on stderr. */
        logger_write(&server->logger, LOG_LEVEL_WARN, "ready-line-lost",
                     LOG_TEXT("error", strerror(errno)));
    }
}

static int stop(struct server *server)
{
    server->stopping = true;
    http_close(server->http);
    int rc = server->node != NULL ? node_close(server->node) : 0;

    control_destroy(server->control);
    if (rc == 0 && server->served) {
        logger_write(&server->logger, LOG_LEVEL_INFO, "stopped");
    }
    return rc;
}

int serve(struct config *config, const struct serve_source *source, const struct join_token *token,
          const char *lost)
{
    struct server server = {.config = config, .source = source, .token = token, .lost = lost};
    char message[NODE_MESSAGE_BYTES] = "";

    (void)bus_error_explain(); /* Without, it ends all the same. */
    signal(SIGPIPE, SIG_IGN);
    signal(SIGXFSZ, SIG_IGN); /* A limit of file sizes is a failed write, told as such. */
    wall_clock_init(&server.clock, NULL, NULL);
    logger_init(&server.logger, STDERR_FILENO, (enum log_form)config->log_format,
                (enum log_level)config->log_level, wall_clock_read, &server.clock);
    int rc = start_control(&server);
    if (rc == 0) {
        rc = ports_pick(config, token != NULL, &server.ports, message, sizeof message);
    }
    if (rc == 0) {
        rc = start(&server, message, sizeof message);
        ports_release(&server.ports);
    }
    if (rc == 0) {
        server.served = true;
        print_ready(&server);
        control_run(server.control, "serving");
    } else {
        fprintf(stderr, "belayd: cannot start: %s\n", message[0] != '\0' ? message : strerror(-rc));
    }
    bool removed = rc == 0 && node_was_removed(server.node);
    int stopped = stop(&server);
    logger_fini(&server.logger);
    rc = rc != 0 ? rc : stopped;
    return rc == 0 && removed ? -ESHUTDOWN : rc;
}
