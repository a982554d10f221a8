/* The control thread: one libuv loop for signals, the service manager, HTTP and what shards report.
 *
 * Shards hand over trace events and administrative requests through a bounded queue and go on; a full
 * queue drops trace events (and counts them) and refuses requests. Nothing here waits for a shard, and
 * an idle loop wakes once a second.
 * Threads: control_post_*() from any, the rest from the one that runs the loop.
 */
#ifndef CONTROL_H
#define CONTROL_H

#include <stdbool.h>
#include <stdint.h>
#include <uv.h>

#include "logger.h"
#include "ports.h"

enum {
    CONTROL_QUEUE_MAX = 256,
    CONTROL_COMMAND_BYTES = 64,
    CONTROL_ARGUMENT_BYTES = 1024,
};

struct control; /* private to control.c */

struct control_options {
    struct logger *logger;
    /* An administrative request; to be answered by `token`, here or later. */
    void (*admin)(void *context, uint64_t token, const char *command, const char *argument);
    /* Once a second. */
    void (*tick)(void *context);
    /* SIGTERM, the first one. Returns whether to end now; else control_end() follows, or another signal. */
    bool (*stop)(void *context);
    /* SIGHUP. */
    void (*hang_up)(void *context);
    /* Is everything alive? Asked before each sign of life to the service manager, where it wants any. */
    bool (*alive)(void *context);
    void *context;
};

/* Returns 0 or negative errno. */
int control_create(const struct control_options *options, struct control **control);

/* What was opened on its loop must be closed before. NULL is fine. */
void control_destroy(struct control *control);

uv_loop_t *control_loop(struct control *control);

/* Tell the service manager that the node serves, and run until SIGTERM, where that is not put off, or SIGINT. */
void control_run(struct control *control, const char *status);

/* The same as after a signal: control_run() returns soon, or at once where it does not run yet. */
void control_end(struct control *control);

/* From a shard's thread; neither blocks. control_post_admin() returns 0; -EMSGSIZE when the command or
 * its argument is too long, -EAGAIN when the queue is full: the request is not taken then. */
int control_post_admin(struct control *control, uint64_t token, struct bytes command,
                       struct bytes argument);
void control_post_trace(struct control *control, uint32_t shard, enum trace_event event, uint64_t a,
                        struct bytes text);

#endif
