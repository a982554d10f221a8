#include "control.h"

#include <assert.h>
#include <errno.h>
#include <inttypes.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <systemd/sd-daemon.h>

enum { TICK_MS = 1000, SIGNALS = 3 };

enum item_kind { ITEM_ADMIN, ITEM_TRACE };

struct item {
    enum item_kind kind;
    uint64_t token; /* ADMIN. */
    uint32_t shard; /* TRACE. */
    enum trace_event event;
    uint64_t a;
    char command[CONTROL_COMMAND_BYTES + 1];
    char argument[CONTROL_ARGUMENT_BYTES + 1]; /* TRACE: its text. */
};

struct control {
    struct control_options options;
    uv_loop_t loop;
    uv_async_t wake;
    uv_timer_t timer;
    uv_signal_t signals[SIGNALS];
    uint64_t watchdog_ms; /* Between signs of life; 0: none wanted. */
    uint64_t next_life_ms;
    bool stops;            /* A first SIGTERM came. */
    pthread_mutex_t mutex; /* Of what follows. */
    uint32_t first, count;
    uint64_t dropped;
    struct item items[CONTROL_QUEUE_MAX];
};

/* ---- What shards report ---- */

struct trace_line {
    const char *event;
    enum log_level level;
    const char *a; /* What `a` is; NULL: not shown. */
    bool text;     /* Show the text too: never where it is a session's key. */
};

static const struct trace_line trace_lines[] = {
    [TRACE_SESSION_EXPIRED] = {"session-expired", LOG_LEVEL_DEBUG, "position", false},
    [TRACE_SESSION_DELETED] = {"session-deleted", LOG_LEVEL_DEBUG, "position", false},
    [TRACE_LOG_FULL] = {"log-full", LOG_LEVEL_ERROR, NULL, true},
    [TRACE_LOG_RESUMED] = {"log-resumed", LOG_LEVEL_INFO, NULL, true},
    [TRACE_LOG_FAILED] = {"log-failed", LOG_LEVEL_ERROR, NULL, true},
    [TRACE_OVERLOAD_BEGIN] = {"overload-begin", LOG_LEVEL_WARN, "queue_delay_ms", false},
    [TRACE_OVERLOAD_END] = {"overload-end", LOG_LEVEL_INFO, "queue_delay_ms", false},
    [TRACE_LOADED] = {"loaded", LOG_LEVEL_INFO, "sessions", false},
    [TRACE_RENAME_REFUSED] = {"rename-refused", LOG_LEVEL_WARN, "position", true},
    [TRACE_HEAL_STUCK] = {"heal-stuck", LOG_LEVEL_WARN, "node", false},
    [TRACE_HEAL_GOES_ON] = {"heal-goes-on", LOG_LEVEL_INFO, "node", false},
};

static const struct trace_line *trace_line(enum trace_event event)
{
    size_t index = (size_t)event;

    assert(index < sizeof trace_lines / sizeof trace_lines[0]);
    return &trace_lines[index];
}

static void write_trace(struct control *control, const struct item *item)
{
    const struct trace_line *line = trace_line(item->event);
    struct log_field fields[3] = {LOG_NUMBER("shard", item->shard)};
    uint32_t count = 1;

    if (line->a != NULL) {
        fields[count++] = LOG_NUMBER(line->a, item->a);
    }
    if (line->text && item->argument[0] != '\0') {
        fields[count++] = LOG_TEXT("cause", item->argument);
    }
    logger_write_fields(control->options.logger, line->level, line->event, fields, count);
}

static struct item *queue_end(struct control *control)
{
    if (control->count == CONTROL_QUEUE_MAX) {
        return NULL;
    }
    return &control->items[(control->first + control->count++) % CONTROL_QUEUE_MAX];
}

static void copy_text(char *to, struct bytes text, size_t size_max)
{
    size_t size = text.size < size_max ? text.size : size_max;

    if (size > 0) {
        memcpy(to, text.data, size);
    }
    to[size] = '\0';
}

int control_post_admin(struct control *control, uint64_t token, struct bytes command,
                       struct bytes argument)
{
    if (command.size > CONTROL_COMMAND_BYTES || argument.size > CONTROL_ARGUMENT_BYTES) {
        return -EMSGSIZE;
    }
    pthread_mutex_lock(&control->mutex);
    struct item *item = queue_end(control);
    if (item != NULL) {
        item->kind = ITEM_ADMIN;
        item->token = token;
        copy_text(item->command, command, CONTROL_COMMAND_BYTES);
        copy_text(item->argument, argument, CONTROL_ARGUMENT_BYTES);
    }
    pthread_mutex_unlock(&control->mutex);
    uv_async_send(&control->wake);
    return item != NULL ? 0 : -EAGAIN;
}

void control_post_trace(struct control *control, uint32_t shard, enum trace_event event, uint64_t a,
                        struct bytes text)
{
    if (trace_line(event)->level < control->options.logger->level) {
        return;
    }
    pthread_mutex_lock(&control->mutex);
    struct item *item = queue_end(control);
    if (item != NULL) {
        item->kind = ITEM_TRACE;
        item->shard = shard;
        item->event = event;
        item->a = a;
        copy_text(item->argument, text, CONTROL_ARGUMENT_BYTES);
    } else {
        control->dropped++;
    }
    pthread_mutex_unlock(&control->mutex);
    uv_async_send(&control->wake);
}

static bool queue_take(struct control *control, struct item *item)
{
    bool taken = false;

    pthread_mutex_lock(&control->mutex);
    if (control->count > 0) {
        *item = control->items[control->first];
        control->first = (control->first + 1) % CONTROL_QUEUE_MAX;
        control->count--;
        taken = true;
    }
    pthread_mutex_unlock(&control->mutex);
    return taken;
}

static void on_wake(uv_async_t *wake)
{
    struct control *control = wake->data;
    struct item item;

    while (queue_take(control, &item)) {
        if (item.kind == ITEM_TRACE) {
            write_trace(control, &item);
        } else {
            control->options.admin(control->options.context, item.token, item.command,
                                   item.argument);
        }
    }
}

/* ---- Time and signals ---- */

static void report_dropped(struct control *control)
{
    pthread_mutex_lock(&control->mutex);
    uint64_t dropped = control->dropped;
    control->dropped = 0;
    pthread_mutex_unlock(&control->mutex);
    if (dropped > 0) {
        logger_write(control->options.logger, LOG_LEVEL_WARN, "trace-dropped",
                     LOG_NUMBER("events", dropped));
    }
}

static void on_timer(uv_timer_t *timer)
{
    struct control *control = timer->data;
    uint64_t now_ms = uv_now(&control->loop);

    logger_tick(control->options.logger);
    report_dropped(control);
    control->options.tick(control->options.context);
    if (control->watchdog_ms != 0 && now_ms >= control->next_life_ms &&
        control->options.alive(control->options.context)) {
        sd_notify(0, "WATCHDOG=1");
        control->next_life_ms = now_ms + control->watchdog_ms;
    }
}

static void on_signal(uv_signal_t *handle, int number)
{
    struct control *control = handle->data;

    if (number == SIGHUP) {
        control->options.hang_up(control->options.context);
        return;
    }
    if (number == SIGTERM && !control->stops) {
        control->stops = true;
        if (control->options.stop != NULL && !control->options.stop(control->options.context)) {
            return;
        }
    }
    logger_write(control->options.logger, LOG_LEVEL_INFO, "stopping",
                 LOG_TEXT("signal", number == SIGTERM ? "SIGTERM" : "SIGINT"));
    uv_stop(&control->loop);
}

/* ---- Life ---- */

static int start_handles(struct control *control)
{
    static const int numbers[SIGNALS] = {SIGTERM, SIGINT, SIGHUP};
    uint64_t watchdog_us = 0;
    int rc = uv_async_init(&control->loop, &control->wake, on_wake);

    control->wake.data = control;
    for (int i = 0; i < SIGNALS && rc == 0; i++) {
        rc = uv_signal_init(&control->loop, &control->signals[i]);
        if (rc == 0) {
            control->signals[i].data = control;
            rc = uv_signal_start(&control->signals[i], on_signal, numbers[i]);
        }
    }
    if (rc != 0) {
        return rc;
    }
    uv_timer_init(&control->loop, &control->timer);
    control->timer.data = control;
    uv_timer_start(&control->timer, on_timer, TICK_MS, TICK_MS);
    if (sd_watchdog_enabled(0, &watchdog_us) > 0) {
        control->watchdog_ms = watchdog_us / 3000;
    }
    return 0;
}

int control_create(const struct control_options *options, struct control **control)
{
    struct control *made = calloc(1, sizeof *made);

    if (made == NULL) {
        return -ENOMEM;
    }
    made->options = *options;
    int rc = uv_loop_init(&made->loop);
    if (rc != 0) {
        free(made);
        return rc;
    }
    pthread_mutex_init(&made->mutex, NULL);
    rc = start_handles(made);
    if (rc != 0) {
        control_destroy(made);
        return rc;
    }
    *control = made;
    return 0;
}

static void close_handle(uv_handle_t *handle, void *context)
{
    (void)context;
    if (!uv_is_closing(handle)) {
        uv_close(handle, NULL);
    }
}

void control_destroy(struct control *control)
{
    if (control == NULL) {
        return;
    }
    uv_walk(&control->loop, close_handle, NULL);
    uv_run(&control->loop, UV_RUN_DEFAULT);
    int rc = uv_loop_close(&control->loop);
    assert(rc == 0);
    pthread_mutex_destroy(&control->mutex);
    free(control);
}

uv_loop_t *control_loop(struct control *control)
{
    return &control->loop;
}

void control_end(struct control *control)
{
    uv_stop(&control->loop);
}

void control_run(struct control *control, const char *status)
{
    sd_notifyf(0, "READY=1\nSTATUS=%s", status);
    uv_run(&control->loop, UV_RUN_DEFAULT);
    sd_notify(0, "STOPPING=1");
    for (int i = 0; i < SIGNALS; i++) { /* A second signal ends the process at once. */
        uv_signal_stop(&control->signals[i]);
    }
}
