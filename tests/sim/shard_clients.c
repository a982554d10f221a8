#include "shard_clients.h"

#include <stdio.h>

#include "shard_scenario.h"

enum {
    THINK_US_MAX = 60000,
    TIMEOUT_US = 1500000,
    BACKOFF_US_MIN = 20000,
    BACKOFF_US_MAX = 200000,
};

static uint32_t draw(struct clients *clients, uint32_t bound)
{
    return (uint32_t)sim_between(clients->sim, SIM_RANDOM_CLIENTS, 0, bound - 1);
}

static uint32_t end_of(uint32_t client)
{
    return SIM_NODES_MAX + client;
}

/* ---- What to ask ---- */

static enum operation_kind draw_kind(struct clients *clients)
{
    static const uint8_t kinds[] = {
        OPERATION_GET,  OPERATION_GET,     OPERATION_GET,    OPERATION_SET,
        OPERATION_SET,  OPERATION_SET,     OPERATION_ADD,    OPERATION_ADD,
        OPERATION_ADD,  OPERATION_ADD,     OPERATION_DELETE, OPERATION_TTL,
        OPERATION_IDLE, OPERATION_DESTROY, OPERATION_SET,    OPERATION_SCAN,
    };

    return kinds[draw(clients, sizeof kinds)];
}

static void draw_operation(struct clients *clients, uint32_t number)
{
    struct client *client = &clients->all[number];
    struct operation operation = {.client = number, .sequence = client->operation.sequence + 1};

    operation.key = draw(clients, OPERATION_KEYS);
    operation.kind = (uint8_t)draw_kind(clients);
    operation.no_touch = draw(clients, 3) == 0;
    operation.mode = draw(clients, 4) == 0   ? WRITE_UPDATE
                     : draw(clients, 6) == 0 ? WRITE_CREATE
                                             : WRITE_UPSERT;
    operation.ack = draw(clients, 2) == 0 ? ACK_DISK : ACK_MEMORY;
    operation.field = draw(clients, OPERATION_TEXTS);
    if (operation.kind == OPERATION_ADD ||
        (operation.kind == OPERATION_DELETE && draw(clients, 2) == 0)) {
        operation.field += OPERATION_TEXTS;
    }
    operation.number = 1 + draw(clients, operation.kind == OPERATION_ADD ? 100 : 8000);
    snprintf(operation.value, sizeof operation.value, "%u.%u", number % 100,
             (uint32_t)operation.sequence);
    bool reads = operation.kind == OPERATION_GET;
    if (operation.kind != OPERATION_SCAN && draw(clients, reads ? 2 : 4) == 0) {
        operation.version = client->versions[operation.key];
    }
    client->operation = operation;
    client->before_hlc = client->tries = 0;
}

/* ---- Tries ---- */

static void time_out(struct sim *sim, const struct sim_event *event);

/* Of a new connection nothing is known: not even that it leads to a time later than what was seen before. */
static void look_at_connection(struct clients *clients, uint32_t number)
{
    struct client *client = &clients->all[number];
    uint64_t connection = sim_net_connection(clients->sim, end_of(number), clients->node);

    if (client->connection != connection) {
        client->connection = connection;
        client->seen_hlc = 0;
    }
}

static void send(struct clients *clients, uint32_t number)
{
    struct client *client = &clients->all[number];
    struct operation operation = client->operation;

    look_at_connection(clients, number);
    client->greets = client->seen_hlc == 0;
    if (client->greets) {
        operation = (struct operation){.client = number, .kind = OPERATION_GET, .no_touch = true};
    } else {
        operation.retry_hlc = client->tries > 0 ? client->before_hlc : 0;
        if (client->tries == 0 || client->seen_hlc < client->before_hlc) {
            client->before_hlc = client->seen_hlc;
        }
        client->tries++;
    }
    sim_net_send(clients->sim, end_of(number), clients->node,
                 bytes_of(&operation, sizeof operation));
}

static void try_again(struct sim *sim, const struct sim_event *event)
{
    struct clients *clients = &shard_scenario_of(sim)->clients;
    struct client *client = &clients->all[event->a];

    if (client->attempt != event->b) {
        return;
    }
    client->waits = true;
    send(clients, (uint32_t)event->a);
    client->due_us = sim->now_us + TIMEOUT_US;
    if (!client->timed) {
        client->timed = true;
        sim_after(sim, TIMEOUT_US, event->end, "timer", time_out, event->a, 0);
    }
}

static void attempt(struct clients *clients, uint32_t number, uint64_t delay_us)
{
    struct client *client = &clients->all[number];

    client->waits = false;
    client->attempt++;
    sim_after(clients->sim, delay_us, end_of(number), "try", try_again, number, client->attempt);
}

static void attempt_later(struct clients *clients, uint32_t number)
{
    attempt(clients, number,
            sim_between(clients->sim, SIM_RANDOM_CLIENTS, BACKOFF_US_MIN, BACKOFF_US_MAX));
}

static void time_out(struct sim *sim, const struct sim_event *event)
{
    struct clients *clients = &shard_scenario_of(sim)->clients;
    struct client *client = &clients->all[event->a];

    client->timed = client->waits && client->due_us > sim->now_us;
    if (client->timed) {
        sim_after(sim, client->due_us - sim->now_us, event->end, "timer", time_out, event->a, 0);
    } else if (client->waits) {
        sim_net_close(sim, event->end, clients->node);
        attempt_later(clients, (uint32_t)event->a);
    }
}

void clients_reset(struct clients *clients, uint32_t end)
{
    uint32_t number = end - SIM_NODES_MAX;

    if (clients->all[number].waits) {
        attempt_later(clients, number);
    }
}

static void next(struct clients *clients, uint32_t number)
{
    struct client *client = &clients->all[number];

    if (clients->sim->now_us >= clients->until_us) {
        client->waits = false;
        client->stopped = true;
        client->attempt++;
        return;
    }
    draw_operation(clients, number);
    attempt(clients, number, sim_between(clients->sim, SIM_RANDOM_CLIENTS, 0, THINK_US_MAX));
}

void clients_receive(struct clients *clients, uint32_t end, const struct operation_answer *answer)
{
    uint32_t number = end - SIM_NODES_MAX;
    struct client *client = &clients->all[number];

    if (!client->waits || answer->sequence != (client->greets ? 0 : client->operation.sequence)) {
        return;
    }
    client->seen_hlc = answer->hlc > client->seen_hlc ? answer->hlc : client->seen_hlc;
    if (client->greets) {
        send(clients, number);
        return;
    }
    switch (answer->status) {
    case STATUS_BUSY:
    case STATUS_DISK_FULL:
        client->tries--; /* This one was not executed. */
        attempt_later(clients, number);
        return;
    case STATUS_LOG_FAILED:
        attempt_later(clients, number);
        return;
    case STATUS_OK:
        if (client->operation.kind != OPERATION_SCAN &&
            client->operation.kind != OPERATION_DESTROY) {
            client->versions[client->operation.key] = answer->version;
        }
        break;
    default:
        break;
    }
    next(clients, number);
}

void clients_begin(struct clients *clients, struct sim *sim, uint32_t count, uint32_t node,
                   uint64_t until_us)
{
    *clients = (struct clients){.sim = sim, .count = count, .node = node, .until_us = until_us};
    for (uint32_t i = 1; i <= count; i++) {
        next(clients, i);
    }
}

bool clients_are_done(const struct clients *clients)
{
    for (uint32_t i = 1; i <= clients->count; i++) {
        if (!clients->all[i].stopped) {
            return false;
        }
    }
    return true;
}
