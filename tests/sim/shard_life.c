#include "shard_life.h"

#include <assert.h>
#include <inttypes.h>
#include <stddef.h>
#include <stdlib.h>

#include "shard_scenario.h"

#define OF(type, member, pointer)                                                                  \
    ((struct type *)(void *)((char *)(pointer)-offsetof(struct type, member)))

static struct sim_disk *disk_of(struct shard_life *life)
{
    return &life->sim->nodes[life->node].disk;
}

static struct sim_log *log_of(struct shard_life *life)
{
    return &life->sim->nodes[life->node].log;
}

static uint64_t now_us(const struct shard_life *life)
{
    return sim_clock_boot_us(&life->sim->nodes[life->node].clock);
}

uint64_t shard_life_now_ms(const struct shard_life *life)
{
    return wall_clock_now_ms(&life->clock);
}

void shard_life_written(struct shard_life *life, bool good)
{
    if (good) {
        shard_log_durable(life->shard, disk_of(life)->durable, now_us(life));
    } else {
        shard_log_failed(life->shard, "the simulator's device failed");
    }
    sim_log_written(log_of(life), good);
}

/* ---- Answers ---- */

static void send_answer(struct shard_life *life, const struct life_ticket *ticket,
                        enum status status)
{
    struct operation_answer answer = ticket->answer;
    uint32_t client = SIM_NODES_MAX + ticket->operation.client;

    answer.status = (uint8_t)status;
    sim_note(life->sim, status_name(status), life->node, ticket->operation.client, answer.sequence);
    if (ticket->connection == sim_net_connection(life->sim, life->node, client)) {
        sim_net_send(life->sim, life->node, client, bytes_of(&answer, sizeof answer));
    }
}

static void acked(struct shard_life *life, const struct life_ticket *ticket, enum ack_level level)
{
    if (operation_writes(&ticket->operation)) {
        oracle_acked(life->oracle, ticket->lsn, level);
    }
}

static void reply(struct door *door, uint64_t number, const struct reply *reply, bool held)
{
    struct shard_life *life = OF(shard_life, door, door);
    struct life_ticket *ticket = &life->now;
    const struct oracle_logged logged = {
        .lsn = disk_of(life)->size, .rc = log_of(life)->rc, .failed = log_of(life)->failed};

    SIM_CHECK("answer", number == ticket->ticket, "an answer to nothing, or a second one");
    oracle_executed(life->oracle, &ticket->operation, shard_life_now_ms(life), reply, &logged);
    ticket->ticket = 0;
    ticket->lsn = logged.lsn;
    ticket->held = held;
    ticket->answer.sequence = ticket->operation.sequence;
    ticket->answer.hlc = reply->hlc;
    ticket->answer.status = (uint8_t)reply->status;
    operation_version_set(&ticket->answer.version, reply->version);
    if (held) {
        SIM_CHECK("answer", reply->status == STATUS_OK && reply->ack == ACK_DISK,
                  "an answer is held that does not wait for the disk");
    } else if (ticket->operation.client != 0) {
        if (reply->status == STATUS_OK) {
            acked(life, ticket, reply->ack);
        }
        send_answer(life, ticket, reply->status);
    }
}

static void release(struct door *door, uint64_t number, enum status status, enum ack_level level,
                    const char *text)
{
    struct shard_life *life = OF(shard_life, door, door);

    (void)text;
    for (int i = 0; i < LIFE_HELD_MAX; i++) {
        struct life_ticket *ticket = &life->held[i];
        if (ticket->ticket == number) {
            ticket->ticket = 0;
            if (status == STATUS_OK) {
                acked(life, ticket, level);
            }
            send_answer(life, ticket, status);
            return;
        }
    }
    sim_fail("answer", "the release of an answer that is not held");
}

static void trace(struct tracer *tracer, enum trace_event event, uint64_t a, struct bytes text)
{
    struct shard_life *life = OF(shard_life, tracer, tracer);

    sim_note(life->sim, "trace", life->node, event, a);
    if (event == TRACE_SESSION_EXPIRED) {
        oracle_told_expired(life->oracle, text, shard_life_now_ms(life), disk_of(life)->size);
    }
}

/* ---- Requests ---- */

static size_t put_change(uint8_t *to, const struct operation *operation)
{
    static const uint8_t operations[] = {
        [OPERATION_SET] = CHANGE_SET,   [OPERATION_DELETE] = CHANGE_DELETE,
        [OPERATION_ADD] = CHANGE_ADD,   [OPERATION_TTL] = CHANGE_TTL,
        [OPERATION_IDLE] = CHANGE_IDLE, [OPERATION_DESTROY] = CHANGE_DESTROY,
    };
    char name[] = {(char)('a' + operation->field), '\0'};
    const struct change change = {
        .operation = operations[operation->kind],
        .name = bytes_of_string(name),
        .value = bytes_of_string(operation->value),
        .ms = (uint64_t)operation->number,
        .delta = operation->number,
    };

    return (size_t)(change_put(to, &change) - to);
}

static void execute(struct shard_life *life, const struct operation *operation, uint64_t connection)
{
    uint8_t changes[64];
    uint64_t number = ++life->tickets;
    struct request request = {
        .ticket = number,
        .op = operation->kind == OPERATION_GET    ? REQUEST_GET
              : operation->kind == OPERATION_SCAN ? REQUEST_SCAN
                                                  : REQUEST_WRITE,
        .mode = operation->mode,
        .type = SESSION_MAP,
        .ack = operation->ack,
        .flags = operation->no_touch ? GET_NO_TOUCH : 0,
        .received_us = now_us(life),
        .key = oracle_key_name(operation->key),
        .version = operation_version_bytes(&operation->version),
        .client = operation->client,
        .sequence = operation->sequence,
        .retry_hlc = operation->retry_hlc,
        .count = 10000,
    };

    if (operation_writes(operation)) {
        request.body = bytes_of(changes, put_change(changes, operation));
    } else if (operation->kind == OPERATION_SCAN) {
        request.key = bytes_of("", 0);
    }
    log_of(life)->rc = 0;
    life->now =
        (struct life_ticket){.ticket = number, .connection = connection, .operation = *operation};
    shard_prepare(life->shard, &request);
    shard_prefetch(life->shard, &request);
    shard_execute(life->shard, &request, shard_life_now_ms(life), now_us(life));
    SIM_CHECK("answer", life->now.ticket == 0, "a request was not answered");
    if (life->now.held) {
        /* Its client waits for it, or has gone: then nobody hears of it. */
        life->now.ticket = number;
        int i = 0;
        while (i < LIFE_HELD_MAX && life->held[i].ticket != 0) {
            i++;
        }
        assert(i < LIFE_HELD_MAX);
        life->held[i] = life->now;
    }
}

void shard_life_receive(struct shard_life *life, uint32_t from, const struct operation *operation)
{
    execute(life, operation, sim_net_connection(life->sim, life->node, from));
}

void shard_life_look(struct shard_life *life)
{
    struct operation look = {.kind = OPERATION_GET, .no_touch = true};

    for (look.key = 0; look.key < OPERATION_KEYS; look.key++) {
        execute(life, &look, 0);
    }
    look.key = 0;
    look.kind = OPERATION_SCAN;
    execute(life, &look, 0);
}

/* ---- Start and stop ---- */

void shard_life_init(struct shard_life *life, struct sim *sim, uint32_t node, struct oracle *oracle)
{
    memset(life, 0, sizeof *life);
    life->sim = sim;
    life->node = node;
    life->oracle = oracle;
    life->clean = true;
    log_of(life)->waiting_bytes_max = LIFE_WAITING_BYTES_MAX;
    life->door = (struct door){.reply = reply, .release = release};
    life->tracer = (struct tracer){.event = trace};
    sim_memory_init(&life->memory, "shard", node, LIFE_MEMORY_BYTES_MAX);
}

static void tick(struct sim *sim, const struct sim_event *event)
{
    struct shard_life *life = &shard_scenario_of(sim)->life;
    uint32_t pause_ms = shard_tick(life->shard, shard_life_now_ms(life), 1000);

    (void)event;
    sim_after(sim, (pause_ms == 0 ? 1 : pause_ms) * UINT64_C(1000), life->node, "tick", tick, 0, 0);
}

/* A compaction forgets all of a key up to its burial. */
static int forget(void *context, size_t at, const struct log_record *record)
{
    struct shard_life *life = context;
    uint32_t i = 0;

    if (record->kind != LOG_BURY) {
        return 0;
    }
    while (i < life->forgotten_count && life->forgotten[i].position != record->position) {
        i++;
    }
    assert(i < OPERATION_KEYS);
    life->forgotten_count += i == life->forgotten_count;
    life->forgotten[i] = (struct forgotten){record->position, at};
    return 0;
}

static int give_unless_forgotten(void *context, size_t at, const struct log_record *record)
{
    struct shard_life *life = context;

    for (uint32_t i = 0; i < life->forgotten_count; i++) {
        if (life->forgotten[i].position == record->position && at <= life->forgotten[i].at) {
            return 0;
        }
    }
    sim_log_give(life->shard, record);
    return 0;
}

static void restore(struct shard_life *life)
{
    const struct sim_node *node = &life->sim->nodes[life->node];
    const struct sim_disk *disk = &node->disk;
    struct sim_log *log = log_of(life);
    size_t durable = disk->durable;
    uint64_t bound_us = SIM_LOG_INTERVAL_US + 2 * (uint64_t)SIM_DISK_SLOW_US_MAX;
    uint64_t to_us =
        disk->failed && disk->failed_us < node->stopped_us ? disk->failed_us : node->stopped_us;
    bool paused = node->resumed_us != 0 && node->resumed_us + bound_us > to_us;

    if (sim_chance(life->sim, SIM_RANDOM_NODES, 50) && durable > 0) {
        sim_log_walk(log, 0, sim_between(life->sim, SIM_RANDOM_NODES, 0, durable), forget, life);
    }
    size_t end = sim_log_walk(log, 0, disk->size, give_unless_forgotten, life);
    oracle_restarted(life->oracle, end, node->stopped,
                     to_us > bound_us && !paused ? to_us - bound_us : 0);
    if (end > 0 && sim_chance(life->sim, SIM_RANDOM_NODES, 30)) {
        sim_log_walk(log, 0, sim_between(life->sim, SIM_RANDOM_NODES, 0, end),
                     give_unless_forgotten, life);
    }
    sim_log_begin(log, end);
}

void shard_life_start(struct shard_life *life)
{
    struct sim_node *node = &life->sim->nodes[life->node];
    struct policy rows[4];

    if (node->disk.wiped) {
        sim_log_wipe(log_of(life));
        life->forgotten_count = 0;
        life->clean = false;
        life->clean_hlc = 0;
        oracle_wiped(life->oracle);
    }
    bool created = sim_log_is_new(log_of(life));
    if (!life->clean) {
        life->start++; /* Another actor. */
    }
    life->start += life->start == 0;
    int rc = policies_init(&life->policies, rows, oracle_policies(rows));
    assert(rc == 0);
    wall_clock_init(&life->clock, sim_clock_system_ms, &node->clock);
    const struct shard_options options = {
        .seed = 42,
        .actor = {.node = life->node, .start = life->start},
        .hlc = life->clean_hlc,
        .gone_hlc = created ? 0 : hlc_of_ms(shard_life_now_ms(life)),
        .policies = &life->policies,
        .memory = &life->memory.memory,
        .log = &log_of(life)->port,
        .door = &life->door,
        .tracer = &life->tracer,
    };
    rc = shard_create(&options, &life->shard);
    assert(rc == 0);
    life->clean = false;
    sim_log_open(log_of(life));
    memset(life->held, 0, sizeof life->held);
    restore(life);
    wall_clock_floor(&life->clock, hlc_ms(shard_hlc(life->shard)));
    shard_restore_done(life->shard, shard_life_now_ms(life));
    oracle_serves(life->oracle, shard_life_now_ms(life));
    shard_life_look(life);
    sim_after(life->sim, 0, life->node, "tick", tick, 0, 0);
}

void shard_life_stop(struct shard_life *life, enum sim_stop stop)
{
    if (stop == SIM_STOP_CLEAN) {
        shard_log_durable(life->shard, disk_of(life)->size, now_us(life));
        life->clean = true;
    }
    life->clean_hlc = stop == SIM_STOP_CLEAN ? shard_hlc(life->shard) : 0;
    shard_destroy(life->shard);
    life->shard = NULL;
    sim_memory_check_end(&life->memory);
}

void shard_life_check(struct shard_life *life)
{
    sim_memory_check(&life->memory);
}
