/* Which link a request takes, and when it is sent again.
 *
 * A key's slot of the ring, modulo the number of shards, is its shard (as in the server); of a shard's
 * several links, one key always takes the same, so that its requests stay in order. While that link is
 * not there any other does: the server hands requests on. With none, requests wait in client->waiting.
 *
 * Sent again is: everything, after BUSY, which promises that nothing was done; and after a lost
 * connection everything but what asked not to be. Writes carry who wrote and a number, by which the
 * server recognises them.
 */
#include <assert.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#include "client.h"

/* ---- Picking a link ---- */

static uint32_t preferred_index(struct belay_client *client, const struct belay_request *request)
{
    if (client->link_count <= 1) {
        return 0;
    }
    if (request->key_size == 0 && request->item_count == 0) {
        return client->rotation++ % client->link_count;
    }
    uint32_t shard = request->key_slot % client->shards;
    uint32_t turn = request->key_slot / client->shards % client->options.per_shard;
    uint32_t index = shard + client->shards * turn;
    return index < client->link_count ? index : shard % client->link_count;
}

/* Make sure that the link of this place exists and tries to connect, when its time has come. */
static void want_link(struct belay_client *client, uint32_t index)
{
    struct link *link = client->links[index];

    if (link == NULL) {
        link = link_create(client, index);
        if (link == NULL) {
            client_wake(client, uv_now(client->loop) + BACKOFF_MS_MAX);
            return;
        }
        client->links[index] = link;
    }
    if (link->state != LINK_IDLE) {
        return;
    }
    if (uv_now(client->loop) >= link->retry_at_ms) {
        link_start(link);
    } else {
        client_wake(client, link->retry_at_ms);
    }
}

static struct link *other_ready_link(struct belay_client *client, uint32_t index)
{
    if (client->ready == 0) {
        return NULL;
    }
    for (uint32_t i = 1; i < client->link_count; i++) {
        struct link *link = client->links[(index + i) % client->link_count];
        if (link != NULL && link->state == LINK_READY) {
            return link;
        }
    }
    return NULL;
}

static struct link *pick_link(struct belay_client *client, const struct belay_request *request)
{
    uint32_t index = preferred_index(client, request);
    struct link *link = client->links[index];

    if (link != NULL && link->state == LINK_READY) {
        return link;
    }
    want_link(client, index);
    return other_ready_link(client, index);
}

int route_request(struct belay_request *request)
{
    struct belay_client *client = request->client;
    struct link *link = pick_link(client, request);

    if (link == NULL) {
        request->state = REQUEST_WAITING;
        list_append(&client->waiting, &request->node);
        return 0;
    }
    if (list_empty(&link->queue) && link_takes(link)) {
        return link_send(link, request);
    }
    request->state = REQUEST_QUEUED;
    request->link = link;
    list_append(&link->queue, &request->node);
    return 0;
}

/* In the loop, where a request that cannot be sent may end. */
static void route_or_fail(struct belay_request *request)
{
    int rc = route_request(request);

    if (rc != 0) {
        request_fail(request, rc == -EMSGSIZE ? BELAY_FRAME_TOO_LARGE : BELAY_NO_MEMORY, NULL);
    }
}

void route_waiting(struct belay_client *client)
{
    struct list batch, *node;

    list_init(&batch);
    list_splice(&batch, &client->waiting);
    while (!client->closing && (node = list_take(&batch)) != NULL) {
        route_or_fail(LIST_OWNER(node, struct belay_request, node));
    }
    list_splice(&client->waiting, &batch);
}

void route_queue(struct link *link)
{
    while (link->state == LINK_READY && !list_empty(&link->queue) && link_takes(link)) {
        struct list *node = list_take(&link->queue);
        struct belay_request *request = LIST_OWNER(node, struct belay_request, node);
        int rc = link_send(link, request);
        if (rc != 0) {
            request->state = REQUEST_WAITING;
            request_fail(request, rc == -EMSGSIZE ? BELAY_FRAME_TOO_LARGE : BELAY_NO_MEMORY, NULL);
        }
    }
}

/* ---- Shards ---- */

int route_shards(struct belay_client *client, uint32_t shards)
{
    uint64_t wanted = (uint64_t)shards * client->options.per_shard;
    uint32_t count = wanted < client->options.total ? (uint32_t)wanted : client->options.total;

    if (shards == client->shards && client->link_count == count) {
        return 0;
    }
    if (count > client->links_capacity) {
        struct link **links = realloc(client->links, count * sizeof(struct link *));
        if (links == NULL) {
            return -ENOMEM;
        }
        memset(links + client->links_capacity, 0,
               (count - client->links_capacity) * sizeof(struct link *));
        client->links = links;
        client->links_capacity = count;
    }
    client->shards = shards;
    client->link_count = count;
    for (uint32_t i = count; i < client->links_capacity; i++) {
        struct link *link = client->links[i];
        client->links[i] = NULL;
        if (link != NULL) {
            link_retire(link);
        }
    }
    return 0;
}

void route_landed(struct link *link, uint32_t shard)
{
    struct belay_client *client = link->client;

    for (uint32_t i = shard; i < client->link_count; i += client->shards) {
        if (i == link->index) {
            return;
        }
        if (client->links[i] == NULL && link->index % client->shards != shard) {
            client->links[link->index] = NULL;
            client->links[i] = link;
            link->index = i;
            return;
        }
    }
}

/* ---- Again ---- */

/* By the order of sending, so that requests for one key stay in order. */
static void send_again(struct link *link, struct belay_request *request, struct list *dead)
{
    struct belay_client *client = link->client;
    bool left = request->number <= link->numbers_written;

    request->link = NULL;
    request->state = REQUEST_WAITING;
    if (request->no_retry && left && !client->closing) {
        list_append(dead, &request->node);
        return;
    }
    if (left) {
        request->maybe_applied = request->maybe_applied || request_is_write(request);
        client->counters[BELAY_COUNT_RETRIES]++;
    }
    list_append(&client->waiting, &request->node);
}

void route_lost(struct link *link, const char *reason)
{
    struct belay_client *client = link->client;
    struct list dead, *node;
    char text[200];

    list_init(&dead);
    while ((node = list_take(&link->sent)) != NULL) {
        send_again(link, LIST_OWNER(node, struct belay_request, node), &dead);
    }
    while ((node = list_take(&link->queue)) != NULL) {
        struct belay_request *request = LIST_OWNER(node, struct belay_request, node);
        request->link = NULL;
        request->state = REQUEST_WAITING;
        list_append(&client->waiting, &request->node);
    }
    link->slots_used = link->slot_count = 0;
    snprintf(text, sizeof text, "the connection to %s was lost: %s", link->peer, reason);
    while ((node = list_take(&dead)) != NULL) {
        request_fail(LIST_OWNER(node, struct belay_request, node), BELAY_DISCONNECTED, text);
    }
}

bool route_pause(struct belay_request *request)
{
    struct belay_client *client = request->client;
    uint32_t asked_ms = request->result.retry_after_ms;

    if (request->no_retry || client->closing) {
        return false;
    }
    if (asked_ms == 0) {
        asked_ms = 1;
    }
    uv_update_time(client->loop); /* Callbacks may have taken long since it was read. */
    /* Up to half as long again: calls that were turned away together come back apart. */
    uint64_t resume_at_ms =
        uv_now(client->loop) + asked_ms + client_random(client) % (asked_ms / 2 + 2);
    if (resume_at_ms >= request->deadline_ms) {
        return false;
    }
    request->state = REQUEST_PAUSED;
    request->resume_at_ms = resume_at_ms;
    client_wake(client, resume_at_ms);
    return true;
}

/* ---- Time ---- */

static void end_late(struct belay_client *client, struct belay_request *request)
{
    uint32_t timeout_ms = request->timeout_given ? request->timeout_ms : client->options.timeout_ms;
    char text[400];

    if (client->ready == 0 && client->trouble[0] != 0) {
        snprintf(text, sizeof text, "no answer within %u ms; no connection: %s", timeout_ms,
                 client->trouble);
    } else {
        snprintf(text, sizeof text, "no answer within %u ms", timeout_ms);
    }
    request_fail(request, BELAY_TIMEOUT, text);
}

/* Requests whose time has come. They are gathered first: callbacks change the lists. */
static void requests_tick(struct belay_client *client, uint64_t now_ms)
{
    struct list late, *node;

    list_init(&late);
    for (node = client->active.next; node != &client->active; node = node->next) {
        struct belay_request *request = LIST_OWNER(node, struct belay_request, active);
        if (now_ms >= request->deadline_ms) {
            request_detach(request);
            request->state = REQUEST_WAITING;
            list_append(&late, &request->node);
        } else if (request->state == REQUEST_PAUSED && now_ms >= request->resume_at_ms) {
            request->state = REQUEST_WAITING;
            list_append(&client->waiting, &request->node);
        }
    }
    while ((node = list_take(&late)) != NULL) {
        end_late(client, LIST_OWNER(node, struct belay_request, node));
    }
}

/* Every server has failed, or one has refused us for good: do not keep the caller waiting. */
static void fail_waiting(struct belay_client *client)
{
    struct list batch, *node;
    bool hopeless =
        client->options.fail_fast && client->servers_failed >= client->options.server_count;
    enum belay_status status = client->refused ? client->fail_status : BELAY_CANNOT_CONNECT;

    if (client->ready > 0 || (!hopeless && !client->refused)) {
        return;
    }
    client->servers_failed = 0;
    client->refused = false;
    list_init(&batch);
    list_splice(&batch, &client->waiting);
    while ((node = list_take(&batch)) != NULL) {
        request_fail(LIST_OWNER(node, struct belay_request, node), status, client->trouble);
    }
}

static uint64_t links_tick(struct belay_client *client, uint64_t now_ms)
{
    uint64_t next_ms = UINT64_MAX;

    for (uint32_t i = 0; i < client->link_count && !client->closing; i++) {
        if (client->links[i] != NULL) {
            uint64_t at_ms = link_tick(client->links[i], now_ms);
            next_ms = at_ms < next_ms ? at_ms : next_ms;
        }
    }
    return next_ms;
}

static uint64_t requests_next_ms(const struct belay_client *client)
{
    uint64_t next_ms = UINT64_MAX;

    for (struct list *node = client->active.next; node != &client->active; node = node->next) {
        const struct belay_request *request = LIST_OWNER(node, struct belay_request, active);
        next_ms = request->deadline_ms < next_ms ? request->deadline_ms : next_ms;
        if (request->state == REQUEST_PAUSED && request->resume_at_ms < next_ms) {
            next_ms = request->resume_at_ms;
        }
    }
    return next_ms;
}

void client_tick(struct belay_client *client)
{
    uint64_t now_ms = uv_now(client->loop);

    requests_tick(client, now_ms);
    uint64_t links_ms = links_tick(client, now_ms);
    fail_waiting(client);
    route_waiting(client);
    if (!client->closing) {
        client_wake(client, links_ms);
        client_wake(client, requests_next_ms(client));
    }
}
