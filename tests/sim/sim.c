#include "sim.h"

#include <inttypes.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "nemesis.h"
#include "random.h"

/* For a failure, which may come from anywhere, an assertion in the code under test too. */
static struct sim *running;

/* ---- Failures ---- */

static void print_line(const struct sim_line *line)
{
    printf("%12.6f  %-14s", (double)line->at_us / 1e6, line->name);
    if (line->end != 0) {
        printf(line->end <= SIM_NODES_MAX ? "  node %u" : "  client %u",
               line->end <= SIM_NODES_MAX ? line->end : line->end - SIM_NODES_MAX);
    }
    printf("  %" PRIu64 " %" PRIu64 "\n", line->a, line->b);
}

static void print_failure(const char *checker, const char *text)
{
    const struct sim *sim = running;

    printf("FAIL scenario=%s seed=%" PRIu64 " nodes=%u checker=%s: %s\n", sim->scenario->name,
           sim->seed, sim->node_count, checker, text);
    uint64_t first = sim->line_count > SIM_LINES ? sim->line_count - SIM_LINES : 0;
    for (uint64_t i = first; i < sim->line_count && !sim->tracing; i++) {
        print_line(&sim->lines[i % SIM_LINES]);
    }
    fflush(stdout);
}

void sim_fail(const char *checker, const char *format, ...)
{
    char text[512];
    va_list arguments;

    va_start(arguments, format);
    vsnprintf(text, sizeof text, format, arguments);
    va_end(arguments);
    print_failure(checker, text);
    _exit(1);
}

/* It is over anyway: that printf() is not for signal handlers does not matter any more. */
static void on_signal(int number)
{
    print_failure(number == SIGABRT ? "assert" : "crash", strsignal(number));
    _exit(1);
}

static void watch_signals(void (*handler)(int number))
{
    struct sigaction action = {.sa_handler = handler, .sa_flags = (int)SA_RESETHAND};

    sigaction(SIGABRT, &action, NULL);
    sigaction(SIGSEGV, &action, NULL);
}

void *sim_more(void *block, size_t size)
{
    void *more = realloc(block, size);

    if (more == NULL) {
        sim_fail("memory", "no memory for the simulator");
    }
    return more;
}

/* ---- Random numbers and the trace ---- */

uint64_t sim_random(struct sim *sim, enum sim_random which)
{
    return random_next(&sim->random[which]);
}

uint64_t sim_between(struct sim *sim, enum sim_random which, uint64_t least, uint64_t most)
{
    return least + sim_random(sim, which) % (most - least + 1);
}

bool sim_chance(struct sim *sim, enum sim_random which, uint32_t percent)
{
    return sim_random(sim, which) % 100 < percent;
}

/* FNV-1a, 64 bits. */
static void hash(struct sim *sim, const void *data, size_t size)
{
    const uint8_t *bytes = data;

    for (size_t i = 0; i < size; i++) {
        sim->hash = (sim->hash ^ bytes[i]) * UINT64_C(0x100000001b3);
    }
}

void sim_note(struct sim *sim, const char *name, uint32_t end, uint64_t a, uint64_t b)
{
    const struct sim_line line = {sim->now_us, name, end, a, b};
    const uint64_t numbers[] = {sim->now_us, end, a, b};

    hash(sim, name, strlen(name));
    hash(sim, numbers, sizeof numbers);
    sim->lines[sim->line_count++ % SIM_LINES] = line;
    if (sim->tracing) {
        print_line(&line);
    }
}

/* ---- The queue ---- */

static bool is_before(const struct sim_event *a, const struct sim_event *b)
{
    return a->at_us != b->at_us ? a->at_us < b->at_us : a->order < b->order;
}

static void swap(struct sim_event *a, struct sim_event *b)
{
    struct sim_event kept = *a;

    *a = *b;
    *b = kept;
}

/* Takes the event's data. */
static void enqueue(struct sim *sim, struct sim_event event)
{
    if (sim->queue_count == sim->queue_capacity) {
        sim->queue_capacity = sim->queue_capacity == 0 ? 256 : 2 * sim->queue_capacity;
        sim->queue = sim_more(sim->queue, sim->queue_capacity * sizeof *sim->queue);
    }
    event.order = sim->order++;
    uint32_t at = sim->queue_count++;
    sim->queue[at] = event;
    for (; at > 0 && is_before(&sim->queue[at], &sim->queue[(at - 1) / 2]); at = (at - 1) / 2) {
        swap(&sim->queue[at], &sim->queue[(at - 1) / 2]);
    }
}

static struct sim_event dequeue(struct sim *sim)
{
    struct sim_event first = sim->queue[0];
    uint32_t at = 0, count = --sim->queue_count;

    sim->queue[0] = sim->queue[count];
    for (;;) {
        uint32_t least = at, left = 2 * at + 1, right = left + 1;
        if (left < count && is_before(&sim->queue[left], &sim->queue[least])) {
            least = left;
        }
        if (right < count && is_before(&sim->queue[right], &sim->queue[least])) {
            least = right;
        }
        if (least == at) {
            return first;
        }
        swap(&sim->queue[at], &sim->queue[least]);
        at = least;
    }
}

void sim_push(struct sim *sim, struct sim_event event)
{
    if (event.data.size > 0) {
        void *copy = sim_more(NULL, event.data.size);
        memcpy(copy, event.data.data, event.data.size);
        event.data.data = copy;
    } else {
        event.data.data = NULL;
    }
    enqueue(sim, event);
}

static void free_data(const struct sim_event *event)
{
    union {
        const uint8_t *read;
        void *block;
    } data = {.read = event->data.data};

    free(data.block);
}

static bool is_node(uint32_t end)
{
    return end >= 1 && end <= SIM_NODES_MAX;
}

void sim_after(struct sim *sim, uint64_t delay_us, uint32_t end, const char *name,
               void (*run)(struct sim *sim, const struct sim_event *event), uint64_t a, uint64_t b)
{
    sim_push(sim, (struct sim_event){
                      .at_us = sim->now_us + delay_us,
                      .name = name,
                      .end = end,
                      .life = is_node(end) ? sim->nodes[end].life : SIM_ANY_LIFE,
                      .run = run,
                      .a = a,
                      .b = b,
                  });
}

/* ---- Nodes ---- */

static void defer(struct sim_node *node, const struct sim_event *event)
{
    if (node->deferred_count == node->deferred_capacity) {
        node->deferred_capacity = 2 * node->deferred_capacity + 16;
        node->deferred = sim_more(node->deferred, node->deferred_capacity * sizeof *node->deferred);
    }
    node->deferred[node->deferred_count++] = *event;
}

void sim_resume(struct sim *sim, uint32_t number)
{
    struct sim_node *node = &sim->nodes[number];

    if (!node->paused) {
        return;
    }
    node->paused = false;
    node->resumed_us = sim->now_us;
    for (uint32_t i = 0; i < node->deferred_count; i++) {
        struct sim_event event = node->deferred[i];
        event.at_us = sim->now_us;
        enqueue(sim, event);
    }
    node->deferred_count = 0;
}

void sim_pause(struct sim *sim, uint32_t number)
{
    struct sim_node *node = &sim->nodes[number];

    if (node->up && !node->paused) {
        node->paused = true;
        sim_count(sim, SIM_PAUSES);
    }
}

void sim_start(struct sim *sim, uint32_t number)
{
    struct sim_node *node = &sim->nodes[number];

    if (node->up) {
        return;
    }
    node->up = true;
    node->life++;
    if (sim->scenario->clocks_agree) {
        sim_clock_set(sim, &node->clock, sim->skew_ms);
        node->clock.offset_ms += node->wrong_ms;
        sim->counts[SIM_WRONG_CLOCKS] += node->wrong_ms != 0;
    }
    sim_count(sim, SIM_STARTS);
    sim_note(sim, "up", number, node->life, node->disk.size);
    sim->scenario->start(sim, number);
    node->stopped = SIM_STOP_CLEAN;
    node->disk.wiped = node->other.wiped = false;
}

/* A process that is gone may be followed by its machine. */
void sim_stop(struct sim *sim, uint32_t number, enum sim_stop stop)
{
    static const enum sim_count counts[] = {SIM_CLEAN_STOPS, SIM_KILLS, SIM_MACHINES};
    struct sim_node *node = &sim->nodes[number];

    /* After a clean stop a clock goes on from where it was. */
    if (stop == SIM_STOP_CLEAN &&
        (node->disk.failed || node->other.failed || node->wrong_ms != 0)) {
        stop = SIM_STOP_KILL;
    }
    if (node->up) {
        sim_count(sim, counts[stop]);
        sim_resume(sim, number);
        sim_note(sim, "down", number, stop, node->disk.size);
        if (stop == SIM_STOP_CLEAN) {
            sim_disk_settle(&node->disk, node->disk.size);
            sim_disk_settle(&node->other, node->other.size);
        }
        sim->scenario->stop(sim, number, stop);
        node->up = false;
        node->stopped_us = sim->now_us;
        sim_net_close_all(sim, number);
    }
    node->stopped = stop > node->stopped ? stop : node->stopped;
    if (stop == SIM_STOP_MACHINE) {
        sim_disk_crash(sim, &node->disk);
        sim_disk_crash(sim, &node->other);
    } else if (stop == SIM_STOP_KILL) {
        sim_disk_kill(sim, &node->disk);
        sim_disk_kill(sim, &node->other);
    }
}

bool sim_all_go(const struct sim *sim)
{
    for (uint32_t i = 1; i <= sim->node_count; i++) {
        if (!sim->nodes[i].up || sim->nodes[i].paused) {
            return false;
        }
    }
    return true;
}

/* ---- A run ---- */

static void heal(struct sim *sim, const struct sim_event *event)
{
    (void)event;
    sim->healed = true;
    nemesis_heal(sim);
}

static void begin(struct sim *sim, uint32_t node_count)
{
    const struct sim_scenario *scenario = sim->scenario;
    uint64_t random = sim->seed;

    for (int i = 0; i < SIM_RANDOMS; i++) {
        sim->random[i] = random_next(&random);
    }
    uint64_t drawn = sim_between(sim, SIM_RANDOM_NODES, scenario->nodes_min, scenario->nodes_max);
    bool several = scenario->nodes_max > 1;
    sim->node_count = node_count != 0 && several ? node_count : (uint32_t)drawn;
    sim->hash = UINT64_C(0xcbf29ce484222325);
    sim->heals_us = scenario->trouble_us;
    sim->skew_ms = sim_chance(sim, SIM_RANDOM_NODES, 50) ? SIM_CLOCK_SKEW_MS_MAX : 0;
    for (uint32_t i = 1; i <= sim->node_count; i++) {
        sim_clock_init(sim, &sim->nodes[i].clock);
        sim_disk_init(&sim->nodes[i].disk, i, false);
        sim_disk_init(&sim->nodes[i].other, i, true);
        sim_log_init(&sim->nodes[i].log, sim, i);
        sim->nodes[i].disk.kept = sim_chance(sim, SIM_RANDOM_NODES, scenario->kept_percent);
    }
    sim_net_init(&sim->net, true);
    sim->context = sim_more(NULL, scenario->context_bytes);
    memset(sim->context, 0, scenario->context_bytes);
    scenario->begin(sim);
    for (uint32_t i = 1; i <= sim->node_count; i++) {
        sim_start(sim, i);
    }
    nemesis_begin(sim);
    sim_after(sim, sim->heals_us, 0, "heal", heal, 0, 0);
}

static void end(struct sim *sim)
{
    for (uint32_t i = 1; i <= sim->node_count; i++) {
        sim_stop(sim, i, SIM_STOP_CLEAN);
    }
    sim->scenario->end(sim);
    free(sim->context);
    for (uint32_t i = 0; i < sim->queue_count; i++) {
        free_data(&sim->queue[i]);
    }
    free(sim->queue);
    for (uint32_t i = 1; i <= sim->node_count; i++) {
        for (uint32_t at = 0; at < sim->nodes[i].deferred_count; at++) {
            free_data(&sim->nodes[i].deferred[at]);
        }
        free(sim->nodes[i].deferred);
        sim_disk_fini(&sim->nodes[i].disk);
        sim_disk_fini(&sim->nodes[i].other);
    }
}

static void run_event(struct sim *sim, const struct sim_event *event)
{
    struct sim_node *node = is_node(event->end) ? &sim->nodes[event->end] : NULL;
    bool here =
        node == NULL || (node->up && (event->life == SIM_ANY_LIFE || event->life == node->life));

    if (here && node != NULL && node->paused) {
        defer(node, event);
        return;
    }
    if (here) {
        sim_count(sim, SIM_EVENTS);
        sim_note(sim, event->name, event->end, event->a, event->b);
        hash(sim, event->data.data, event->data.size);
        event->run(sim, event);
        sim->scenario->check(sim);
    }
    free_data(event);
}

static void run(struct sim *sim)
{
    const struct sim_scenario *scenario = sim->scenario;
    uint64_t limit_us = sim->heals_us + scenario->settle_us;
    uint64_t end_us = sim->heals_us + scenario->epilogue_us;
    bool settled = false;

    while (!settled || sim->now_us < end_us) {
        SIM_CHECK("settle", sim->queue_count > 0, "nothing will happen any more");
        struct sim_event event = dequeue(sim);
        sim->now_us = event.at_us;
        run_event(sim, &event);
        settled = sim->healed && (settled || scenario->settled(sim));
        SIM_CHECK("settle", settled || sim->now_us <= limit_us,
                  "not settled %.1f s after all was healed%s%s", (double)scenario->settle_us / 1e6,
                  sim->unsettled == NULL ? "" : ": ", sim->unsettled == NULL ? "" : sim->unsettled);
    }
    scenario->check_end(sim);
}

uint64_t sim_run(const struct sim_scenario *scenario, uint64_t seed, uint32_t node_count,
                 bool tracing, uint64_t counts[SIM_COUNTS])
{
    struct sim sim = {.seed = seed, .scenario = scenario, .tracing = tracing};

    running = &sim;
    watch_signals(on_signal);
    begin(&sim, node_count);
    run(&sim);
    end(&sim);
    for (int i = 0; i < SIM_COUNTS; i++) {
        counts[i] += sim.counts[i];
    }
    running = NULL;
    watch_signals(SIG_DFL);
    return sim.hash;
}
