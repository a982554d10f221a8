#include "pump.h"

#include <assert.h>
#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/timerfd.h>
#include <unistd.h>
#include <uv.h>

#include "clock.h"
#include "report.h"
#include "transport.h"

enum { TICK_MS = 10, STEP_NS_MIN = 100000 };

struct lane {
    struct pump *pump;
    struct operation *free;
    uint64_t good_ns,
        gap_ns; /* When the last good answer came, 0: none yet; the longest time between two. */
};

struct pump {
    struct pump_user *user;
    uv_loop_t loop;
    uv_timer_t ticker;
    uv_poll_t stepper; /* Open loop: a timerfd, since uv's timers know only milliseconds. */
    int step_fd;
    double rate, rise_to, rise_s; /* 0 seconds: it does not rise. */
    uint64_t start_ns;
    uint64_t sent; /* Open loop: requests that were due so far. */
    uint32_t lane_count, depth;
    uint32_t next_lane;
    uint64_t in_flight;
    bool stopping;
    bool told[REPORT_STATUS_MAX]; /* What the server said of a status was printed. */
    struct transport *transport;
    struct lane *lanes;
    struct operation *operations;
};

static void lane_fill(struct lane *lane);

static void give_back(struct operation *operation)
{
    struct lane *lane = operation->lane;

    operation->next = lane->free;
    lane->free = operation;
}

static void stop_when_drained(struct pump *pump)
{
    if (pump->stopping && pump->in_flight == 0) {
        uv_stop(&pump->loop);
    }
}

static uint64_t gap_ns(const struct lane *lane, uint64_t now_ns)
{
    const uint64_t passed_ns = lane->good_ns == 0 ? 0 : now_ns - lane->good_ns;

    return passed_ns > lane->gap_ns ? passed_ns : lane->gap_ns;
}

void pump_tell(const struct operation *operation, enum belay_status status, const char *text)
{
    struct pump *pump = operation->lane->pump;

    if ((unsigned)status < REPORT_STATUS_MAX && !pump->told[status]) {
        fprintf(stderr, "belay-bench: %s: %s\n", belay_status_name(status), text);
        pump->told[status] = true;
    }
}

void pump_answered(struct operation *operation, const struct answer *answer)
{
    struct lane *lane = operation->lane;
    struct pump *pump = lane->pump;
    const uint64_t now_ns = bench_now_ns();

    pump->in_flight--;
    if (answer->status == BELAY_OK || answer->status == BELAY_NOT_FOUND) {
        lane->gap_ns = gap_ns(lane, now_ns);
        lane->good_ns = now_ns;
    }
    pump->user->end(pump->user, operation, answer, now_ns - operation->due_ns);
    give_back(operation);
    if (pump->rate <= 0) {
        lane_fill(lane);
    }
    stop_when_drained(pump);
}

/* Send one request that was due at `due_ns`. Returns whether there was one. */
static bool lane_send(struct lane *lane, uint64_t due_ns)
{
    struct pump *pump = lane->pump;
    struct operation *operation = lane->free;
    struct ask ask = {.kind = ASK_GET};

    if (operation == NULL || pump->stopping || !pump->user->begin(pump->user, operation, &ask)) {
        return false;
    }
    lane->free = operation->next;
    operation->kind = ask.kind;
    operation->due_ns = due_ns;
    struct answer answer = {
        .status =
            pump->transport->send(pump->transport, (uint32_t)(lane - pump->lanes), &ask, operation),
    };
    if (answer.status != BELAY_OK) {
        pump->user->end(pump->user, operation, &answer, 0);
        give_back(operation);
        return false;
    }
    pump->in_flight++;
    return true;
}

static void lane_fill(struct lane *lane)
{
    while (lane->free != NULL && lane_send(lane, bench_now_ns())) {
    }
}

/* Open loop: how many requests are due in the first `passed_s` seconds. */
static double due_in(const struct pump *pump, double passed_s)
{
    if (pump->rise_s <= 0) {
        return passed_s * pump->rate;
    }
    const double rising_s = fmin(passed_s, pump->rise_s);
    const double growth = (pump->rise_to - pump->rate) / pump->rise_s;

    return rising_s * (pump->rate + growth * rising_s / 2) + (passed_s - rising_s) * pump->rise_to;
}

/* When so many are due, in seconds: the inverse of due_in(). */
static double due_at(const struct pump *pump, double count)
{
    if (pump->rise_s <= 0) {
        return count / pump->rate;
    }
    const double risen = due_in(pump, pump->rise_s);
    const double growth = (pump->rise_to - pump->rate) / pump->rise_s;

    if (count >= risen) {
        return pump->rise_s + (count - risen) / pump->rise_to;
    }
    /* The root of rate * t + growth * t^2 / 2 = count, in the form that holds where there is no growth. */
    return 2 * count / (pump->rate + sqrt(fmax(0, pump->rate * pump->rate + 2 * growth * count)));
}

/* Open loop: send what is due, on the next lanes that have room. What finds no room is sent later, late. */
static void send_due(struct pump *pump)
{
    uint64_t passed_ns = bench_now_ns() - pump->start_ns;
    uint64_t due = (uint64_t)due_in(pump, (double)passed_ns / 1e9);

    for (uint32_t tried = 0; pump->sent < due && tried < pump->lane_count;) {
        uint64_t due_ns = pump->start_ns + (uint64_t)(due_at(pump, (double)pump->sent) * 1e9);
        struct lane *lane = &pump->lanes[pump->next_lane];
        pump->next_lane = (pump->next_lane + 1) % pump->lane_count;
        if (lane_send(lane, due_ns)) {
            pump->sent++;
            tried = 0;
        } else {
            tried++;
        }
    }
}

static void on_step(uv_poll_t *poll, int status, int events)
{
    struct pump *pump = poll->data;
    uint64_t expirations;

    (void)status;
    (void)events;
    if (read(pump->step_fd, &expirations, sizeof expirations) > 0 && !pump->stopping) {
        send_due(pump);
    }
}

static void on_tick(uv_timer_t *timer)
{
    struct pump *pump = timer->data;

    pump->user->tick(pump->user);
    for (uint32_t i = 0; pump->rate <= 0 && !pump->stopping && i < pump->lane_count; i++) {
        lane_fill(&pump->lanes[i]);
    }
    stop_when_drained(pump);
}

/* Make the timer that an open loop is driven by. */
static int open_stepper(struct pump *pump)
{
    double step_ns = 1e9 / fmax(pump->rate, pump->rise_to);

    if (step_ns < STEP_NS_MIN) {
        step_ns = STEP_NS_MIN;
    }
    struct timespec step = {.tv_sec = (time_t)(step_ns / 1e9)};
    step.tv_nsec = (long)(step_ns - (double)step.tv_sec * 1e9);
    struct itimerspec every = {.it_interval = step, .it_value = step};
    pump->step_fd = timerfd_create(CLOCK_MONOTONIC, TFD_NONBLOCK | TFD_CLOEXEC);
    if (pump->step_fd < 0 || timerfd_settime(pump->step_fd, 0, &every, NULL) != 0) {
        return -errno;
    }
    int rc = uv_poll_init(&pump->loop, &pump->stepper, pump->step_fd);
    if (rc == 0) {
        pump->stepper.data = pump;
        rc = uv_poll_start(&pump->stepper, UV_READABLE, on_step);
    }
    return rc;
}

static void prepare_lanes(struct pump *pump)
{
    for (uint32_t i = 0; i < pump->lane_count; i++) {
        struct lane *lane = &pump->lanes[i];
        lane->pump = pump;
        for (uint32_t j = 0; j < pump->depth; j++) {
            struct operation *operation = &pump->operations[(size_t)i * pump->depth + j];
            operation->lane = lane;
            give_back(operation);
        }
    }
}

static int open_transport(struct pump *pump, const struct bench_options *options,
                          const struct server *server)
{
    if (options->protocol == BENCH_RESP) {
        return transport_resp_create(options, server, &pump->loop, pump->lane_count,
                                     &pump->transport);
    }
    return transport_native_create(options, &pump->loop, pump->lane_count, &pump->transport);
}

int pump_create(const struct bench_options *options, const struct server *server,
                struct pump_user *user, struct pump **pump)
{
    const uint32_t shards = server->shards * server->nodes; /* Of all nodes. */
    struct pump *made = calloc(1, sizeof *made);
    if (made == NULL) {
        return -ENOMEM;
    }
    int rc = uv_loop_init(&made->loop);
    if (rc != 0) {
        free(made);
        return rc;
    }
    made->user = user;
    made->step_fd = -1;
    made->rate = options->rate;
    made->rise_to = options->rise_to;
    made->rise_s = options->rise_seconds;
    made->lane_count = options->connections > shards ? options->connections / shards : 1;
    made->depth = options->pipeline * shards;
    made->lanes = calloc(made->lane_count, sizeof *made->lanes);
    made->operations = calloc((size_t)made->lane_count * made->depth, sizeof *made->operations);
    uv_timer_init(&made->loop, &made->ticker);
    made->ticker.data = made;
    rc = -ENOMEM;
    if (made->lanes != NULL && made->operations != NULL) {
        prepare_lanes(made);
        rc = open_transport(made, options, server);
    }
    if (rc == 0 && made->rate > 0) {
        rc = open_stepper(made);
    }
    if (rc != 0) {
        pump_destroy(made);
        return rc;
    }
    *pump = made;
    return 0;
}

void pump_destroy(struct pump *pump)
{
    if (pump == NULL) {
        return;
    }
    if (pump->transport != NULL) {
        pump->transport->close(pump->transport);
    }
    uv_close((uv_handle_t *)&pump->ticker, NULL);
    if (pump->stepper.data != NULL) {
        uv_close((uv_handle_t *)&pump->stepper, NULL);
    }
    uv_run(&pump->loop, UV_RUN_DEFAULT);
    int rc = uv_loop_close(&pump->loop);
    assert(rc == 0);
    (void)rc;
    if (pump->transport != NULL) {
        pump->transport->destroy(pump->transport);
    }
    if (pump->step_fd >= 0) {
        close(pump->step_fd);
    }
    for (size_t i = 0; pump->operations != NULL && i < (size_t)pump->lane_count * pump->depth;
         i++) {
        buffer_fini(&pump->operations[i].request);
    }
    free(pump->operations);
    free(pump->lanes);
    free(pump);
}

void pump_run(struct pump *pump)
{
    pump->start_ns = bench_now_ns();
    uv_timer_start(&pump->ticker, on_tick, 0, TICK_MS);
    uv_run(&pump->loop, UV_RUN_DEFAULT);
    uv_timer_stop(&pump->ticker);
}

void pump_stop(struct pump *pump)
{
    pump->stopping = true;
}

bool pump_gap_us(const struct pump *pump, uint32_t lane, uint64_t *gap_us)
{
    if (lane >= pump->lane_count) {
        return false;
    }
    *gap_us = gap_ns(&pump->lanes[lane], bench_now_ns()) / 1000;
    return true;
}

void pump_forget_gaps(struct pump *pump)
{
    for (uint32_t i = 0; i < pump->lane_count; i++) {
        pump->lanes[i].gap_ns = 0;
        pump->lanes[i].good_ns = pump->lanes[i].good_ns == 0 ? 0 : bench_now_ns();
    }
}

uint64_t pump_disconnects(const struct pump *pump)
{
    return pump->transport->disconnects(pump->transport);
}
