#include <assert.h>
#include <inttypes.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "copies_scenario.h"
#include "eras.h"
#include "heap.h"
#include "seen_saved.h"

#define OF(type, member, pointer)                                                                  \
    ((struct type *)(void *)((char *)(pointer)-offsetof(struct type, member)))

enum { SEED = 42, HOPS_MAX = 3, WINDOW_BYTES = 16 * 1024, TICK_BUDGET_US = 1000, SAVE_PERCENT = 3 };

static struct memory heap = {.resize = heap_resize, .map = heap_map, .unmap = heap_unmap};

static struct sim_disk *disk_of(struct copies_node *node)
{
    return &node->sim->nodes[node->node].disk;
}

static struct sim_log *log_of(struct copies_node *node)
{
    return &node->sim->nodes[node->node].log;
}

uint64_t copies_node_now_us(const struct copies_node *node)
{
    return sim_clock_boot_us(&node->sim->nodes[node->node].clock);
}

uint64_t copies_node_now_ms(const struct copies_node *node)
{
    return wall_clock_now_ms(&node->clock);
}

struct bytes copies_key(uint32_t key)
{
    static char names[COPIES_KEYS][8] = {"a", "b", "c", "d", "e", "f", "g", "h", "i", "j"};

    return bytes_of_string(names[key]);
}

uint32_t copies_key_of(struct bytes name)
{
    return (uint32_t)name.data[0] - 'a';
}

uint64_t copies_position(uint32_t key)
{
    return keeper_position(SEED, copies_key(key));
}

struct bytes copies_node_record(struct copies_node *node, uint32_t key)
{
    return keeper_find(shard_keeper(node->shard), copies_position(key), copies_key(key));
}

static bool hash_visit(void *context, uint64_t position, uint64_t hash)
{
    (void)position;
    *(uint64_t *)context = hash;
    return true;
}

uint64_t copies_node_hash(struct copies_node *node, uint32_t key)
{
    uint64_t hash = 0, position = copies_position(key);

    shard_walk(node->shard, position, position, true, hash_visit, &hash);
    return hash;
}

/* ---- What was seen, over a restart ---- */

static void save_seen(struct copies_node *node)
{
    if (node->next_seen_lsn != 0 || !sim_chance(node->sim, SIM_RANDOM_NODES, SAVE_PERCENT)) {
        return;
    }
    node->next_seen.size = 0;
    int rc = seen_save(shard_seen(node->shard), 0, SLOT_COUNT, &node->next_seen);
    assert(rc == 0);
    node->next_seen_lsn = disk_of(node)->size;
}

static void keep_seen(struct copies_node *node)
{
    if (node->next_seen_lsn != 0 && disk_of(node)->durable >= node->next_seen_lsn) {
        struct buffer saved = node->seen;
        node->seen = node->next_seen;
        node->next_seen = saved;
        node->next_seen_lsn = 0;
    }
}

/* ---- The log ---- */

static void note_append(struct copies_node *node, size_t end)
{
    if (node->append_count == node->append_capacity) {
        node->append_capacity = 2 * node->append_capacity + 256;
        node->appends = sim_more(node->appends, node->append_capacity * sizeof node->appends[0]);
    }
    node->appends[node->append_count++] = (struct copies_append){end, node->sim->now_us};
}

/* A slot that is dropped counts as not seen (server/core/shard_seen.c), and may come again as it was. */
static void appended(struct sim_log *log, uint8_t kind)
{
    struct copies_node *node = &copies_scenario_of(log->sim)->nodes[log->node];

    if (kind == LOG_DROP) {
        node->seen.size = 0;
        node->next_seen_lsn = 0;
        memset(node->version_bytes, 0, sizeof node->version_bytes);
    }
    note_append(node, disk_of(node)->size);
}

void copies_node_written(struct copies_node *node, bool good)
{
    copies_node_wakes(node);
    if (good) {
        shard_log_durable(node->shard, disk_of(node)->durable, copies_node_now_us(node));
        keep_seen(node);
    } else {
        shard_log_failed(node->shard, "the simulator's device failed");
    }
    sim_log_written(log_of(node), good);
    copies_node_turn(node);
}

static int give(void *context, size_t at, const struct log_record *record)
{
    const struct copies_node *node = context;

    (void)at;
    sim_log_give(node->shard, record);
    return 0;
}

static void restore(struct copies_node *node)
{
    size_t end = sim_log_walk(log_of(node), 0, disk_of(node)->size, give, node), left = 0;

    while (left < node->append_count && node->appends[left].end <= end) {
        left++;
    }
    if (left < node->append_count) {
        copies_oracle_lost(node, node->appends[left].us, node->sim->nodes[node->node].stopped_us,
                           false);
    }
    node->append_count = left;
    sim_log_begin(log_of(node), end);
}

/* ---- Answers ---- */

static void reply(struct door *door, uint64_t ticket, const struct reply *reply, bool held)
{
    struct copies_node *node = OF(copies_node, door, door);
    uint32_t write = node->now_write - 1;

    SIM_CHECK("answer", node->now_write != 0, "an answer to nothing, or a second one");
    node->now_write = 0;
    sim_note(node->sim, status_name(reply->status), node->node, write, reply->ack);
    sim_count(node->sim, SIM_REQUESTS);
    if (reply->status != STATUS_OK) {
        return;
    }
    copies_oracle_executed(node, write, reply->hlc);
    if (copies_scenario_of(node->sim)->executed != NULL) {
        copies_scenario_of(node->sim)->executed(node, write);
    }
    if (!held) {
        copies_oracle_acked(node->sim, write, reply->ack);
        return;
    }
    uint32_t i = 0;
    while (i < COPIES_HELD_MAX && node->held[i].ticket != 0) {
        i++;
    }
    assert(i < COPIES_HELD_MAX);
    node->held[i].ticket = ticket;
    node->held[i].write = write;
}

static void release(struct door *door, uint64_t ticket, enum status status, enum ack_level level,
                    const char *text)
{
    struct copies_node *node = OF(copies_node, door, door);
    uint32_t i = 0;

    (void)text;
    while (i < COPIES_HELD_MAX && node->held[i].ticket != ticket) {
        i++;
    }
    SIM_CHECK("answer", i < COPIES_HELD_MAX, "the release of an answer that is not held");
    node->held[i].ticket = 0;
    sim_note(node->sim, "release", node->node, node->held[i].write, level);
    if (status == STATUS_OK) {
        copies_oracle_acked(node->sim, node->held[i].write, level);
    }
}

static void trace(struct tracer *tracer, enum trace_event event, uint64_t a, struct bytes text)
{
    struct copies_node *node = OF(copies_node, tracer, tracer);

    sim_note(node->sim, "trace", node->node, event, a);
    if (event != TRACE_SESSION_EXPIRED) {
        return;
    }
    sim_count(node->sim, SIM_EXPIRIES);
    if (node->ticks) { /* Else a write or a copy found it so. */
        copies_oracle_buried(node, copies_key_of(text));
    }
}

/* ---- Requests ---- */

static void add(uint8_t **at, struct change change)
{
    *at = change_put(*at, &change);
}

struct bytes copies_changes(const struct copies_write *write, uint32_t number, uint8_t to[128])
{
    uint8_t *end = to;
    char name[16];

    snprintf(name, sizeof name, write->adds ? "n%u" : "f%u",
             write->adds ? write->place / COPIES_DIGITS : number);
    if (write->adds) {
        add(&end, (struct change){.operation = CHANGE_ADD,
                                  .name = bytes_of_string(name),
                                  .delta = INT64_C(1) << 2 * (write->place % COPIES_DIGITS)});
    } else if (write->destroys) {
        add(&end, (struct change){.operation = CHANGE_DESTROY});
    } else {
        add(&end, (struct change){.operation = CHANGE_SET,
                                  .name = bytes_of_string(name),
                                  .value = bytes_of_string("value")});
        add(&end, (struct change){.operation = CHANGE_SET,
                                  .name = bytes_of_string("same"),
                                  .value = bytes_of_string(name)});
        if (write->key < COPIES_TIMED_KEYS) {
            add(&end, (struct change){.operation = write->idles ? CHANGE_IDLE : CHANGE_TTL,
                                      .ms = copies_ttl_ms(number)});
        }
    }
    return bytes_of(to, (size_t)(end - to));
}

static uint8_t level_of(const struct copies_scenario *scenario, uint32_t number)
{
    if (scenario->archive_one_of != 0 && number % scenario->archive_one_of == 0) {
        return ACK_ARCHIVE;
    }
    return (uint8_t)(ACK_MEMORY + number % 3);
}

static void execute(struct copies_node *node, uint32_t number)
{
    const struct copies_scenario *scenario = copies_scenario_of(node->sim);
    const struct copies_write *write = &scenario->oracle.writes[number];
    uint8_t changes[128];
    struct request request = {
        .ticket = ++node->tickets,
        .op = REQUEST_WRITE,
        .type = SESSION_MAP,
        .ack = level_of(scenario, number),
        .received_us = copies_node_now_us(node),
        .key = copies_key(write->key),
        .body = copies_changes(write, number, changes),
    };
    copies_oracle_begins(node, number);
    node->now_write = number + 1;
    shard_prepare(node->shard, &request);
    shard_execute(node->shard, &request, copies_node_now_ms(node), copies_node_now_us(node));
    SIM_CHECK("answer", node->now_write == 0, "a request was not answered");
}

void copies_node_route(struct copies_node *node, uint32_t write, uint8_t flags, uint32_t hops)
{
    uint32_t key = copies_scenario_of(node->sim)->oracle.writes[write].key;
    struct route_far far = {0};

    enum route route =
        replication_route(node->replication, slot_of_key(copies_key(key)), flags, &far);
    sim_note(node->sim, "route", node->node, write, route);
    switch (route) {
    case ROUTE_LOCAL:
        execute(node, write);
        break;
    case ROUTE_FAR:
        if (hops < HOPS_MAX) {
            copies_send_write(node, far.node, write, far.flags, hops + 1);
        }
        break;
    default:
        break;
    }
}

void copies_node_wakes(struct copies_node *node)
{
    uint64_t now_us = copies_node_now_us(node);

    if (now_us - node->turn_us >= replication_pause_us(0)) {
        node->taken_ms = copies_node_now_ms(node);
        node->late_us = node->sim->now_us;
        node->before_us = node->turn_us;
        shard_refuse_before(node->shard, now_us - replication_pause_us(0));
        replication_paused(node->replication, node->taken_ms, now_us);
    }
    node->turn_us = now_us;
}

void copies_node_turn(struct copies_node *node)
{
    (void)replication_tick(node->replication, copies_node_now_ms(node), copies_node_now_us(node));
}

void copies_node_check(const struct copies_node *node)
{
    sim_memory_check(&node->shard_memory);
    sim_memory_check(&node->replication_memory);
}

/* ---- Start and stop ---- */

/* What anybody does to the system's clock does not reach a node that runs, and what it took from others does not drive
 * its clock away. One that started with a wrong clock has that, but is not behind what it had stamped before. */
static void check_clock(const struct copies_node *node)
{
    int64_t off_ms = (int64_t)(copies_node_now_ms(node) - sim_clock_true_ms(node->sim));
    int64_t most_ms = (int64_t)node->sim->skew_ms + SIM_CLOCK_DRIFT_MS_MAX;
    int64_t behind_ms = node->wrong_ms < 0 ? node->wrong_ms : 0;
    int64_t ahead_ms = node->wrong_ms > 0 ? node->wrong_ms : 0;

    SIM_CHECK("clock", off_ms >= behind_ms - most_ms && off_ms <= ahead_ms + most_ms,
              "node %u: its clock is %" PRId64 " ms off", node->node, off_ms);
}

static void tick(struct sim *sim, const struct sim_event *event)
{
    struct copies_node *node = &copies_scenario_of(sim)->nodes[event->end];

    check_clock(node);
    copies_node_wakes(node);
    node->ticks = true;
    (void)shard_tick(node->shard, copies_node_now_ms(node), TICK_BUDGET_US);
    node->ticks = false;
    copies_node_turn(node);
    copies_oracle_look(node);
    save_seen(node);
    keep_seen(node);
    sim_after(sim, COPIES_TICK_US, node->node, "tick", tick, 0, 0);
}

void copies_node_init(struct copies_node *node, struct sim *sim, uint32_t place)
{
    node->sim = sim;
    node->node = place;
    node->clean = true;
    node->seen.memory = node->next_seen.memory = &heap;
    log_of(node)->appended = appended;
    log_of(node)->waiting_bytes_max = COPIES_WAITING_BYTES_MAX;
    node->door = (struct door){.reply = reply, .release = release};
    node->tracer = (struct tracer){.event = trace};
    sim_memory_init(&node->shard_memory, "shard", place, COPIES_SHARD_BYTES_MAX);
    sim_memory_init(&node->replication_memory, "replication", place, COPIES_REPLICATION_BYTES_MAX);
}

void copies_node_fini(struct copies_node *node)
{
    free(node->appends);
    buffer_fini(&node->seen);
    buffer_fini(&node->next_seen);
}

static int drop(struct replication_shard *port, uint32_t slot, uint64_t now_ms)
{
    struct copies_node *node = OF(copies_node, core.port, port);
    const struct copies_scenario *scenario = copies_scenario_of(node->sim);

    if (scenario->drops != NULL) {
        scenario->drops(node, slot, false);
    }
    int rc = node->drop(port, slot, now_ms);
    if (scenario->drops != NULL && rc == 0) {
        scenario->drops(node, slot, true);
    }
    return rc;
}

static void start_replication(struct copies_node *node)
{
    const struct replication_options options = {
        .self = {node->number, node->start},
        .shard = 0,
        .shards = 1,
        .lives = (uint64_t)node->run << 32,
        .window_bytes = WINDOW_BYTES,
        .round_ms = COPIES_ROUND_MS,
        .memory = &node->replication_memory.memory,
        .port = &node->port,
        .core = &node->core.port,
    };
    uint64_t now_ms = copies_node_now_ms(node), now_us = copies_node_now_us(node);

    node->taken_ms = now_ms;
    node->turn_us = node->begun_us = now_us;
    node->late_us = UINT64_MAX;
    replication_core_init(&node->core, node->shard);
    node->drop = node->core.port.drop;
    node->core.port.drop = drop;
    int rc = replication_create(&options, now_ms, now_us, &node->replication);
    assert(rc == 0);
    replication_core_attach(&node->core, node->replication);
    shard_set_copies(node->shard, &node->core.copies);
    copies_node_use_table(node);
    copies_links_init(node);
}

void copies_node_use_table(struct copies_node *node)
{
    int rc = replication_set_table(node->replication, node->table, copies_node_now_ms(node),
                                   copies_node_now_us(node));

    assert(rc == 0);
}

void copies_node_count(struct copies_node *node)
{
    node->start += !node->clean || node->start == 0; /* Another actor. */
    node->run++;
}

void copies_node_wiped(struct copies_node *node, bool lost)
{
    if (lost && node->append_count > 0) {
        copies_oracle_lost(node, 0, node->sim->nodes[node->node].stopped_us, true);
    }
    sim_log_wipe(log_of(node));
    node->append_count = 0;
    node->number = node->start = node->run = 0;
    node->seen.size = 0;
    node->next_seen_lsn = 0;
    node->clean = true;
    node->founds = false;
    node->clean_hlc = 0;
}

void copies_node_read_clock(struct copies_node *node)
{
    wall_clock_init(&node->clock, sim_clock_system_ms, &node->sim->nodes[node->node].clock);
    node->wrong_ms = node->sim->nodes[node->node].wrong_ms;
}

void copies_node_open(struct copies_node *node)
{
    struct policy row;
    bool created = sim_log_is_new(log_of(node));

    policy_defaults(&row);
    row.rules.tombstone_keep_ms = copies_scenario_of(node->sim)->tombstone_ms;
    int rc = policies_init(&node->policies, &row, 1);
    assert(rc == 0);
    const struct shard_options options = {
        .seed = SEED,
        .actor = {.node = node->number, .start = node->start},
        .before = node->clean || node->start < 2
                      ? (struct actor){0}
                      : (struct actor){.node = node->number, .start = node->start - 1},
        .hlc = node->clean_hlc,
        .gone_hlc = created ? 0 : hlc_of_ms(copies_node_now_ms(node)),
        .policies = &node->policies,
        .memory = &node->shard_memory.memory,
        .log = &log_of(node)->port,
        .door = &node->door,
        .tracer = &node->tracer,
    };
    rc = shard_create(&options, &node->shard);
    assert(rc == 0);
    node->clean = false;
    sim_log_open(log_of(node));
    memset(node->held, 0, sizeof node->held);
    memset(node->version_bytes, 0, sizeof node->version_bytes);
    restore(node);
    wall_clock_floor(&node->clock, hlc_ms(shard_hlc(node->shard)));
    shard_restore_done(node->shard, copies_node_now_ms(node));
    if (created && node->founds) {
        shard_begin_seen(node->shard);
    } else {
        rc = seen_restore(shard_seen(node->shard), buffer_bytes(&node->seen));
        assert(rc == 0);
        shard_see_before(node->shard);
    }
    start_replication(node);
    sim_after(node->sim, 0, node->node, "tick", tick, 0, 0);
}

void copies_node_stop(struct copies_node *node, enum sim_stop stop)
{
    struct sim_disk *disk = disk_of(node);

    if (stop == SIM_STOP_CLEAN) {
        shard_log_durable(node->shard, disk->size, copies_node_now_us(node));
        node->clean = !shard_eras(node->shard)->begun;
    }
    node->clean_hlc = node->clean ? shard_hlc(node->shard) : 0;
    keep_seen(node);
    node->next_seen_lsn = 0;
    replication_destroy(node->replication);
    shard_destroy(node->shard);
    node->replication = NULL;
    node->shard = NULL;
    sim_memory_check_end(&node->replication_memory);
    sim_memory_check_end(&node->shard_memory);
}
