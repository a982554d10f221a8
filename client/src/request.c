/* Requests: their pool, sending, and how they end. */
#include <assert.h>
#include <errno.h>
#include <stdlib.h>

#include "client.h"

bool request_is_write(const struct belay_request *request)
{
    return request->frame_type == FRAME_WRITE || request->frame_type == FRAME_WRITE_MANY;
}

/* ---- The pool ---- */

static void request_free(struct belay_request *request)
{
    buffer_fini(&request->body);
    buffer_fini(&request->version);
    buffer_fini(&request->text);
    buffer_fini(&request->reply);
    free(request->items);
    free(request->places);
    free(request);
}

static struct belay_request *request_create(struct belay_client *client)
{
    struct belay_request *request = calloc(1, sizeof *request);

    if (request == NULL) {
        return NULL;
    }
    request->client = client;
    request->body.memory = request->version.memory = &client_memory;
    request->text.memory = request->reply.memory = &client_memory;
    list_init(&request->node);
    list_init(&request->active);
    return request;
}

/* Everything but what pooling is for: the memory of the buffers. */
static void request_reset(struct belay_request *request)
{
    struct belay_client *client = request->client;

    free(request->places);
    memset(request, 0, offsetof(struct belay_request, body));
    request->client = client;
    list_init(&request->node);
    list_init(&request->active);
    request->body.size = request->version.size = request->text.size = request->reply.size = 0;
    request->items_ready = 0;
}

struct belay_request *request_begin(struct belay_client *client, uint8_t frame_type,
                                    struct belay_bytes key)
{
    if (client == NULL) {
        return NULL;
    }
    struct list *node = list_take(&client->pool);
    struct belay_request *request;
    if (node != NULL) {
        request = LIST_OWNER(node, struct belay_request, node);
        assert(request->state == REQUEST_FREE);
        client->pool_count--;
        request_reset(request);
    } else {
        request = request_create(client);
        if (request == NULL) {
            return NULL;
        }
    }
    request->state = REQUEST_BUILDING;
    request->frame_type = frame_type;
    if (key.size > KEY_BYTES_MAX) {
        request_wrong(request, BELAY_KEY_TOO_LARGE);
    } else if (buffer_reserve(&request->body, key.size + 1) != 0) { /* Never NULL from here on. */
        request_wrong(request, BELAY_NO_MEMORY);
    } else {
        (void)buffer_append(&request->body, bytes_in(key));
        request->key_size = (uint32_t)key.size;
    }
    return request;
}

static bool buffers_are_small(const struct belay_request *request)
{
    return request->body.capacity <= POOL_BUFFER_BYTES_MAX &&
           request->reply.capacity <= POOL_BUFFER_BYTES_MAX &&
           request->text.capacity <= POOL_BUFFER_BYTES_MAX && request->items_capacity <= 64;
}

void request_release(struct belay_request *request)
{
    struct belay_client *client = request->client;

    assert(request->state == REQUEST_BUILDING || request->state == REQUEST_ENDED);
    request->state = REQUEST_FREE;
    parts_release(request);
    if (client->pool_count >= POOL_REQUESTS_MAX || !buffers_are_small(request)) {
        request_free(request);
        return;
    }
    client->pool_count++;
    /* The last one in is the first one out: its memory is in the cache. */
    list_prepend(&client->pool, &request->node);
}

void request_pool_clear(struct belay_client *client)
{
    struct list *node;

    while ((node = list_take(&client->pool)) != NULL) {
        request_free(LIST_OWNER(node, struct belay_request, node));
    }
    client->pool_count = 0;
}

void belay_request_discard(struct belay_request *request)
{
    if (request != NULL) {
        assert(request->state == REQUEST_BUILDING);
        request_release(request);
    }
}

/* ---- Building ---- */

void request_wrong(struct belay_request *request, enum belay_status status)
{
    if (request->wrong == BELAY_OK) {
        request->wrong = status;
    }
}

bool request_reserve(struct belay_request *request, size_t more)
{
    if (request->wrong != BELAY_OK) {
        return false;
    }
    if (more > FRAME_BYTES_MAX || request->body.size + more > FRAME_BYTES_MAX) {
        request_wrong(request, BELAY_FRAME_TOO_LARGE);
        return false;
    }
    if (buffer_reserve(&request->body, more) != 0) {
        request_wrong(request, BELAY_NO_MEMORY);
        return false;
    }
    return true;
}

void belay_request_timeout_ms(struct belay_request *request, uint32_t timeout_ms)
{
    if (request != NULL) {
        request->timeout_ms = timeout_ms;
        request->timeout_given = true;
    }
}

void belay_request_no_retry(struct belay_request *request)
{
    if (request != NULL) {
        request->no_retry = true;
    }
}

/* ---- Sending ---- */

static enum belay_status request_check(const struct belay_request *request)
{
    const struct belay_client *client = request->client;

    if (client->closing) {
        return BELAY_CLOSED;
    }
    if (request->wrong != BELAY_OK) {
        return request->wrong;
    }
    switch (request->frame_type) {
    case FRAME_GET:
    case FRAME_WRITE:
    case FRAME_INSPECT:
    case FRAME_RECOVER:
        if (request->key_size == 0) {
            return BELAY_KEY_TOO_LARGE;
        }
        break;
    case FRAME_GET_MANY:
    case FRAME_WRITE_MANY:
        if (request->item_count == 0) {
            return BELAY_INVALID;
        }
        break;
    default:
        break;
    }
    if (client->unanswered >= client->options.queue_max) {
        return BELAY_TOO_MANY_IN_FLIGHT;
    }
    return BELAY_OK;
}

/* The type of a session that begins, where the changes did not say: a create makes a map. */
static void choose_type(struct belay_request *request)
{
    if (request_is_write(request) && request->type == SESSION_NONE &&
        request->mode == WRITE_CREATE) {
        request->type = SESSION_MAP;
    }
}

static void number_writes(struct belay_request *request)
{
    struct belay_client *client = request->client;

    if (!request_is_write(request) || request->no_retry) {
        return;
    }
    request->sequence = client->sequence + 1;
    client->sequence += request->frame_type == FRAME_WRITE ? 1 : request->item_count;
}

static void set_deadline(struct belay_request *request)
{
    struct belay_client *client = request->client;
    uint32_t timeout_ms = request->timeout_given ? request->timeout_ms : client->options.timeout_ms;

    if (list_empty(&client->dirty)) {
        uv_update_time(
            client->loop); /* The first of this turn; it may come from outside the loop. */
    }
    request->deadline_ms = UINT64_MAX;
    if (timeout_ms != 0) {
        request->deadline_ms = uv_now(client->loop) + timeout_ms;
        client_wake_request(client, request->deadline_ms);
    }
}

/* Which slot of the ring decides its shard; of a many-key request that of its first key. */
static uint16_t slot_of_request(const struct belay_request *request)
{
    struct item_header header;

    if (request->item_count == 0) {
        return slot_of_key(bytes_of(request->body.data, request->key_size));
    }
    memcpy(&header, request->body.data, sizeof header);
    return slot_of_key(bytes_of(request->body.data + sizeof header, header.key_size));
}

enum belay_status request_submit(struct belay_request *request, belay_callback callback,
                                 void *context, bool kept)
{
    struct belay_client *client = request->client;
    enum belay_status status = request_check(request);

    if (status != BELAY_OK) {
        return status;
    }
    choose_type(request);
    set_deadline(request);
    request->callback = callback;
    request->context = context;
    request->kept = kept;
    if (!parts_send(request)) {
        number_writes(request);
        request->key_slot = slot_of_request(request);
        request->turn = (request->flags & GET_ANY) != 0 ? client->rotation++ : 0;
        int rc = route_request(request);
        if (rc != 0) {
            return rc == -EMSGSIZE ? BELAY_FRAME_TOO_LARGE : BELAY_NO_MEMORY;
        }
        list_append(&client->active, &request->active);
    }
    client->unanswered++;
    client->counters[BELAY_COUNT_REQUESTS]++;
    return BELAY_OK;
}

void request_submit_part(struct belay_request *part, belay_callback callback, void *context)
{
    struct belay_client *client = part->client;

    number_writes(part);
    part->deadline_ms = part->whole->deadline_ms;
    part->key_slot = slot_of_request(part);
    part->callback = callback;
    part->context = context;
    part->kept = true;
    list_append(&client->active, &part->active);
    if (route_request(part) != 0) {
        part->state = REQUEST_WAITING; /* The loop tries again, and ends it where that is no use. */
        list_append(&client->waiting, &part->node);
        client_wake(client, uv_now(client->loop));
    }
}

enum belay_status belay_send(struct belay_request *request, belay_callback callback, void *context)
{
    if (request == NULL) {
        return BELAY_NO_MEMORY;
    }
    assert(request->state == REQUEST_BUILDING && callback != NULL);
    enum belay_status status = request_submit(request, callback, context, false);
    if (status != BELAY_OK) {
        request->state = REQUEST_BUILDING;
        request_release(request);
    }
    return status;
}

int request_reserve_items(struct belay_request *request)
{
    if (request->items_capacity >= request->item_count) {
        return 0;
    }
    struct belay_result *items =
        realloc(request->items, request->item_count * sizeof *request->items);
    if (items == NULL) {
        return -ENOMEM;
    }
    request->items = items;
    request->items_capacity = request->item_count;
    return 0;
}

/* ---- The end ---- */

/* Slots stay taken until the reply to them comes, or their link goes; what was released is another's. */
void request_detach_from(struct belay_request *request, const struct link *link, uint16_t slot)
{
    if (request->state == REQUEST_SENT && (request->link != link || request->slot != slot)) {
        request->link->slots[request->slot].request = NULL;
    }
    if (request->before != NULL) {
        request->before->slots[request->before_slot].request = NULL;
    }
    list_remove(&request->node);
    request->link = request->before = NULL;
    request->state = REQUEST_WAITING;
}

void request_detach(struct belay_request *request)
{
    request_detach_from(request, NULL, 0);
}

void request_end(struct belay_request *request)
{
    struct belay_client *client = request->client;
    bool outer = client->in_callback;

    assert(request->state != REQUEST_BUILDING && request->state != REQUEST_FREE);
    request_detach(request);
    list_remove(&request->active);
    client->unanswered -= request->whole == NULL;
    request->state = REQUEST_ENDED;
    bool kept = request->kept;
    client->in_callback = true;
    request->callback(&request->result, request->context);
    client->in_callback = outer;
    if (!kept) {
        request_release(request);
    }
}

void request_fail(struct belay_request *request, enum belay_status status, const char *text)
{
    request->result = (struct belay_result){
        .status = status,
        .text = belay_status_text(status),
        .node = "",
        .request = request,
        .frame_type = request->frame_type,
    };
    request->items_ready = 0;
    request->text.size = 0;
    if (text != NULL && buffer_append(&request->text, bytes_of(text, strlen(text) + 1)) == 0) {
        request->result.text = (const char *)request->text.data;
    }
    if (status == BELAY_TIMEOUT) {
        request->client->counters[BELAY_COUNT_TIMEOUTS]++;
    }
    request_end(request);
}
