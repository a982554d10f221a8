/* What time brings: deadlines, the ends of pauses, and what links do about silence. */
#include <stdio.h>

#include "client.h"

static void end_late(struct belay_client *client, struct belay_request *request)
{
    uint32_t timeout_ms = request->timeout_given ? request->timeout_ms : client->options.timeout_ms;
    char text[400];

    if (client->ready == 0 && client->trouble[0] != 0) {
        snprintf(text, sizeof text, "no answer within %u ms; no connection: %s", timeout_ms,
                 client->trouble);
    } else if (request->busy > 0) {
        snprintf(text, sizeof text, "no answer within %u ms; answers BUSY before that: %u",
                 timeout_ms, request->busy);
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

static uint64_t member_tick(struct member *member, uint64_t now_ms)
{
    uint64_t next_ms = UINT64_MAX;

    for (uint32_t i = 0; i < member->link_count && !member->client->closing; i++) {
        if (member->links[i] != NULL) {
            uint64_t at_ms = link_tick(member->links[i], now_ms);
            next_ms = at_ms < next_ms ? at_ms : next_ms;
        }
    }
    return next_ms;
}

static uint64_t links_tick(struct belay_client *client, uint64_t now_ms)
{
    uint64_t next_ms = member_tick(client->servers, now_ms);

    for (uint32_t i = 0; client->map != NULL && i < client->map->member_count; i++) {
        uint64_t at_ms = member_tick(client->members[i], now_ms);
        next_ms = at_ms < next_ms ? at_ms : next_ms;
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

void client_wake_request(struct belay_client *client, uint64_t at_ms)
{
    if (at_ms < client->requests_at_ms) {
        client->requests_at_ms = at_ms;
    }
    client_wake(client, at_ms);
}

void client_tick(struct belay_client *client)
{
    uint64_t now_ms = uv_now(client->loop);

    /* There may be many, and links want to be looked at often. */
    if (now_ms >= client->requests_at_ms) {
        client->requests_at_ms = UINT64_MAX;
        requests_tick(client, now_ms);
        client_wake_request(client, requests_next_ms(client));
    }
    uint64_t links_ms = links_tick(client, now_ms);
    fail_waiting(client);
    route_waiting(client);
    if (!client->closing) {
        client_wake(client, links_ms);
        client_wake(client, client->requests_at_ms);
    }
}
