/* When a request is sent again.
 *
 * After BUSY, which promises that nothing was done, everything is. After a lost connection, and where a node that is
 * not the only one has been silent for a while, everything but what asked not to be: writes carry who wrote and a
 * number, by which the servers recognise them. A silent node's answer still counts should it come first. Where a node
 * says that it cannot serve now, another is asked.
 */
#include <assert.h>
#include <stdio.h>

#include "client.h"

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

/* Requests that had been sent here before they were sent elsewhere. */
static void forget_earlier(struct link *link)
{
    for (uint32_t i = 0; i < link->slot_count; i++) {
        struct belay_request *request = link->slots[i].id == 0 ? NULL : link->slots[i].request;
        if (request != NULL && request->before == link && request->before_slot == i) {
            request->before = NULL;
        }
    }
}

void again_lost(struct link *link, const char *reason)
{
    struct belay_client *client = link->client;
    struct list dead, *node;
    char text[200];

    list_init(&dead);
    forget_earlier(link);
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

/* ---- Silence ---- */

static void send_elsewhere(struct belay_request *request)
{
    struct belay_client *client = request->client;

    list_remove(&request->node);
    if (request->before != NULL) {
        request->before->slots[request->before_slot].request = NULL;
    }
    request->before = request->link;
    request->before_slot = request->slot;
    request->link = NULL;
    request->state = REQUEST_WAITING;
    request->maybe_applied = request->maybe_applied || request_is_write(request);
    client->counters[BELAY_COUNT_RETRIES]++;
    client->counters[BELAY_COUNT_MOVES]++;
    list_append(&client->waiting, &request->node);
}

void again_elsewhere(struct link *link)
{
    struct list *node = link->sent.next;

    while (node != &link->sent) {
        struct belay_request *request = LIST_OWNER(node, struct belay_request, node);
        node = node->next;
        if (!request->no_retry) {
            send_elsewhere(request);
        }
    }
    while ((node = list_take(&link->queue)) != NULL) {
        struct belay_request *request = LIST_OWNER(node, struct belay_request, node);
        request->link = NULL;
        request->state = REQUEST_WAITING;
        list_append(&link->client->waiting, &request->node);
    }
}

/* ---- Answers that say so ---- */

/* Nothing is due for `delay_ms`, then it is sent again. False where its deadline is nearer. */
static bool resume_after(struct belay_request *request, uint64_t delay_ms)
{
    struct belay_client *client = request->client;

    uv_update_time(client->loop); /* Callbacks may have taken long since it was read. */
    uint64_t resume_at_ms = uv_now(client->loop) + delay_ms;
    if (resume_at_ms >= request->deadline_ms) {
        return false;
    }
    request->state = REQUEST_PAUSED;
    request->resume_at_ms = resume_at_ms;
    client_wake_request(client, resume_at_ms);
    return true;
}

bool again_pause(struct belay_request *request)
{
    struct belay_client *client = request->client;
    uint32_t asked_ms = request->result.retry_after_ms;

    if (request->no_retry || client->closing) {
        return false;
    }
    if (asked_ms == 0) {
        asked_ms = 1;
    }
    /* Up to half as long again: calls that were turned away together come back apart. */
    return resume_after(request, asked_ms + client_random(client) % (asked_ms / 2 + 2));
}

/* Nodes have waited for one that has the session, and in vain: is another one to be asked? It gets to know how long
 * (Get.waited_ms), and does not begin anew. Not where it could hardly answer in time: then this is the answer. */
static bool is_worth_it(struct belay_request *request)
{
    struct belay_client *client = request->client;
    uint64_t now_ms = uv_now(client->loop);

    request->waited_ms += now_ms - request->sent_at_ms;
    return request->waited_ms < client->waited_ms_max &&
           request->deadline_ms - now_ms > request->waited_ms / 16;
}

bool again_move(struct belay_request *request, const struct link *link)
{
    struct belay_client *client = request->client;
    bool stale = (request->flags & GET_ANY) != 0 && request->frame_type == FRAME_GET;

    if (request->no_retry || client->closing || request->moves >= MOVES_MAX ||
        !route_has_others(link) || !is_worth_it(request)) {
        return false;
    }
    uint32_t delay_ms = request->moves == 0 ? 0 : (uint32_t)MOVE_PAUSE_MS << (request->moves - 1);
    if (!resume_after(request, delay_ms)) {
        return false;
    }
    request->avoid = stale ? 0 : link->number;
    request->flags &= ~(uint32_t)GET_ANY; /* What a copy does not have yet the primary has. */
    request->moves++;
    /* A node that is stopping has done nothing; another may have, and found nobody to acknowledge it. */
    if (request->result.status != BELAY_STOPPING) {
        request->maybe_applied = request->maybe_applied || request_is_write(request);
    }
    client->counters[BELAY_COUNT_MOVES]++;
    return true;
}
