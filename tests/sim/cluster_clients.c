/* Clients, as libbelay is one (client/src/route.c, again.c): a key's request goes to the first of its owners by the map
 * that was told last, and where there is no answer to the next; a write that is asked again has the same number. Each
 * keeps the version of the last result of each key, and reads nothing older than that, from any copy too. */
#include <string.h>

#include "cluster_scenario.h"

enum {
    THINK_US_MAX = 40000,
    TIMEOUT_US = 400 * 1000,
    BACKOFF_US_MAX = 100 * 1000,
    TRIES_MAX = 14,
    READ_PERCENT = 40,
    DESTROY_PERCENT = 12,
    ANY_PERCENT = 60,
    ADDED_KEYS = 2, /* The last ones: half of their writes are additions. */
};

static uint32_t draw(struct sim *sim, uint32_t bound)
{
    return (uint32_t)sim_between(sim, SIM_RANDOM_CLIENTS, 0, bound - 1);
}

static struct cluster_client *client_at(struct sim *sim, uint32_t end)
{
    return &cluster_scenario_of(sim)->clients[end - SIM_NODES_MAX];
}

/* ---- What to ask ---- */

static uint32_t draw_write(struct sim *sim, uint32_t client, uint32_t key)
{
    struct cluster_scenario *scenario = cluster_scenario_of(sim);
    struct copies_oracle *oracle = &scenario->copies.oracle;
    struct copies_write *write = &oracle->writes[oracle->write_count];

    *write = (struct copies_write){.key = key, .client = client};
    write->destroys = key < COPIES_DESTROYED_KEYS && draw(sim, 100) < DESTROY_PERCENT;
    write->idles = key == 1;
    write->adds = key >= COPIES_KEYS - ADDED_KEYS && draw(sim, 2) == 0;
    if (write->adds) {
        write->place = scenario->additions[key]++;
    }
    return oracle->write_count++;
}

static void draw_request(struct sim *sim, uint32_t number)
{
    struct cluster_client *client = &cluster_scenario_of(sim)->clients[number];
    struct cluster_request *request = &client->request;

    memset(request, 0, sizeof *request);
    request->what = CLUSTER_REQUEST;
    request->client = number;
    request->key = draw(sim, COPIES_KEYS);
    request->sequence = ++client->sequence;
    if (client->seen_hlc == 0 || draw(sim, 100) < READ_PERCENT) {
        request->operation = CLUSTER_GET;
        request->any = draw(sim, 100) < ANY_PERCENT;
        request->floor = client->floors[request->key];
    } else {
        request->operation = CLUSTER_WRITE;
        request->write = draw_write(sim, number, request->key);
    }
    client->tries = 0;
    client->before_hlc = client->seen_hlc;
}

/* ---- Tries ---- */

/* Where the next try goes. */
static uint32_t place_of(struct sim *sim, const struct cluster_client *client)
{
    const uint32_t *places = client->told.places[client->request.key];
    uint32_t count = 0;

    while (count < PLACEMENT_REPLICAS_MAX && places[count] != 0) {
        count++;
    }
    if (count == 0 || client->tries % 4 == 3) {
        return 1 + draw(sim, sim->node_count); /* Anybody. */
    }
    uint32_t first = client->request.any ? draw(sim, count) : client->tries % 4;
    return places[first % count];
}

static void next(struct sim *sim, uint32_t end);

/* He knows no version of the key any more. */
static void forget(struct sim *sim, struct cluster_client *client)
{
    uint32_t key = client->request.key;

    client->floors[key].size = 0;
    client->since[key] = cluster_scenario_of(sim)->copies.oracle.write_count;
}

static void time_out(struct sim *sim, const struct sim_event *event);

static void try_now(struct sim *sim, const struct sim_event *event)
{
    struct cluster_client *client = client_at(sim, event->end);
    struct cluster_request *request = &client->request;

    if (client->attempt != event->b) {
        return;
    }
    if (client->tries == TRIES_MAX) { /* What became of it he does not know. */
        sim_count(sim, SIM_GIVEN_UP);
        forget(sim, client);
        next(sim, event->end);
        return;
    }
    request->attempt = client->attempt;
    request->door = place_of(sim, client);
    client->tries++;
    client->waits = true;
    request->sent_us = sim->now_us;
    sim_net_send(sim, event->end, request->door, bytes_of(request, sizeof *request));
    sim_after(sim, TIMEOUT_US, event->end, "timer", time_out, 0, client->attempt);
}

static void attempt(struct sim *sim, uint32_t end, uint64_t delay_us)
{
    struct cluster_client *client = client_at(sim, end);

    client->waits = false;
    client->attempt++;
    sim_after(sim, delay_us, end, "try", try_now, 0, client->attempt);
}

/* It may have been done. */
static void attempt_again(struct sim *sim, uint32_t end)
{
    struct cluster_client *client = client_at(sim, end);

    sim_count(sim, SIM_RETRIES);
    if (client->request.operation == CLUSTER_WRITE) {
        client->request.retry_hlc = client->before_hlc;
    }
    attempt(sim, end, draw(sim, BACKOFF_US_MAX));
}

static void time_out(struct sim *sim, const struct sim_event *event)
{
    struct cluster_client *client = client_at(sim, event->end);

    if (client->waits && client->attempt == event->b) {
        attempt_again(sim, event->end);
    }
}

void cluster_clients_reset(struct sim *sim, uint32_t end)
{
    (void)sim; /* The time says it: whose connection it was does not matter. */
    (void)end;
}

static void next(struct sim *sim, uint32_t end)
{
    struct cluster_client *client = client_at(sim, end);

    if (sim->healed || cluster_scenario_of(sim)->copies.oracle.write_count == COPIES_WRITES_MAX) {
        client->waits = false;
        client->stopped = true;
        client->attempt++;
        return;
    }
    draw_request(sim, end - SIM_NODES_MAX);
    attempt(sim, end, draw(sim, THINK_US_MAX));
}

/* ---- Answers ---- */

static void take(struct sim *sim, struct cluster_client *client, const struct cluster_answer *got)
{
    const struct cluster_request *request = &client->request;
    struct operation_version *floor = &client->floors[request->key];

    if (request->operation == CLUSTER_GET) {
        sim_count(sim, request->any ? SIM_READS_ANY : SIM_READS);
    } else {
        copies_oracle_acked(sim, request->write, got->ack);
        client->since[request->key] = request->write;
    }
    *floor = got->version;
}

void cluster_clients_receive(struct sim *sim, uint32_t end, struct bytes message)
{
    struct cluster_client *client = client_at(sim, end);
    struct cluster_answer got;
    struct cluster_told told;

    if (message.data[0] == CLUSTER_MAP) {
        memcpy(&told, message.data, sizeof told);
        client->told = told.epoch > client->told.epoch ? told : client->told;
        return;
    }
    memcpy(&got, message.data, sizeof got);
    if (!client->waits || got.attempt != client->attempt) {
        return;
    }
    client->seen_hlc = got.hlc > client->seen_hlc ? got.hlc : client->seen_hlc;
    switch (got.status) {
    case STATUS_OK:
        take(sim, client, &got);
        next(sim, end);
        return;
    case STATUS_NOT_FOUND:
        forget(sim, client);
        next(sim, end);
        return;
    case STATUS_MAYBE_APPLIED:
        sim_count(sim, SIM_MAYBES);
        next(sim, end);
        return;
    case STATUS_UNAVAILABLE:
        client->request.any = false; /* What a copy does not have yet the primary has. */
        attempt_again(sim, end);
        return;
    case STATUS_BUSY:
    case STATUS_DISK_FULL:
    case STATUS_LOG_FAILED:
        sim_count(sim, SIM_REFUSED);
        attempt_again(sim, end);
        return;
    default:
        sim_fail("status", "client %u is answered %s", client->request.client,
                 status_name((enum status)got.status));
    }
}

void cluster_clients_begin(struct sim *sim)
{
    for (uint32_t i = 1; i <= CLUSTER_SIM_CLIENTS; i++) {
        next(sim, SIM_NODES_MAX + i);
    }
}

bool cluster_clients_are_done(const struct cluster_scenario *scenario)
{
    for (uint32_t i = 1; i <= CLUSTER_SIM_CLIENTS; i++) {
        if (!scenario->clients[i].stopped) {
            return false;
        }
    }
    return true;
}
