/* Clients: options, the loop, closing. */
#include <assert.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#include "client.h"
#include "heap.h"
#include "status.h"

/* The library's numbers are the wire's. */
#define STATUS_SAME(name, number, text)                                                            \
    static_assert((int)BELAY_##name == (int)STATUS_##name, "belay.h and status.h differ");
STATUS_TABLE(STATUS_SAME)
#undef STATUS_SAME
static_assert((int)BELAY_ACK_DEFAULT == (int)ACK_DEFAULT &&
                  (int)BELAY_ACK_MEMORY == (int)ACK_MEMORY &&
                  (int)BELAY_ACK_REPLICA == (int)ACK_REPLICA &&
                  (int)BELAY_ACK_DISK == (int)ACK_DISK &&
                  (int)BELAY_ACK_ARCHIVE == (int)ACK_ARCHIVE,
              "belay.h and status.h differ");
static_assert((int)BELAY_BLOB == (int)SESSION_BLOB && (int)BELAY_MAP == (int)SESSION_MAP &&
                  (int)BELAY_SET == (int)SESSION_SET && (int)BELAY_ZSET == (int)SESSION_ZSET,
              "belay.h and change.h differ");
static_assert((int)BELAY_UPSERT == (int)WRITE_UPSERT && (int)BELAY_CREATE == (int)WRITE_CREATE &&
                  (int)BELAY_UPDATE == (int)WRITE_UPDATE,
              "belay.h and change.h differ");
static_assert((int)BELAY_GET_META == (int)GET_META &&
                  (int)BELAY_GET_NO_TOUCH == (int)GET_NO_TOUCH &&
                  (int)BELAY_GET_SIBLINGS == (int)GET_SIBLINGS &&
                  (int)BELAY_GET_ANY == (int)GET_ANY,
              "belay.h and change.h differ");
static_assert((int)BELAY_SCORE_NX == (int)SCORE_NX && (int)BELAY_SCORE_XX == (int)SCORE_XX &&
                  (int)BELAY_SCORE_GT == (int)SCORE_GT && (int)BELAY_SCORE_LT == (int)SCORE_LT,
              "belay.h and change.h differ");

struct memory client_memory = {.resize = heap_resize};

const char *belay_status_name(enum belay_status status)
{
    return status_name((uint32_t)status);
}

const char *belay_status_text(enum belay_status status)
{
    return status_text((uint32_t)status);
}

const char *belay_ack_name(enum belay_ack level)
{
    return ack_level_name((uint32_t)level);
}

enum belay_status belay_ack_parse(const char *name, enum belay_ack *level)
{
    enum ack_level found;

    if (ack_level_parse(name, &found) != 0) {
        return BELAY_INVALID;
    }
    *level = (enum belay_ack)found;
    return BELAY_OK;
}

static const char *const type_names[] = {"none", "blob", "map", "set", "zset"};

enum { TYPE_END = sizeof type_names / sizeof type_names[0] };

const char *belay_type_name(enum belay_type type)
{
    return (uint32_t)type < TYPE_END ? type_names[type] : "unknown";
}

enum belay_status belay_type_parse(const char *name, enum belay_type *type)
{
    for (int i = 0; i < TYPE_END; i++) {
        if (strcmp(name, type_names[i]) == 0) {
            *type = (enum belay_type)i;
            return BELAY_OK;
        }
    }
    return BELAY_INVALID;
}

/* ---- Pieces for the other files ---- */

static void timer_due(uv_timer_t *timer)
{
    struct belay_client *client = timer->data;

    client->wake_at_ms = UINT64_MAX;
    client_tick(client);
}

void client_wake(struct belay_client *client, uint64_t at_ms)
{
    if (at_ms >= client->wake_at_ms || client->closing) {
        return;
    }
    uint64_t now_ms = uv_now(client->loop);
    client->wake_at_ms = at_ms;
    uv_timer_start(&client->timer, timer_due, at_ms > now_ms ? at_ms - now_ms : 0, 0);
}

static void flush_due(uv_prepare_t *prepare)
{
    struct belay_client *client = prepare->data;
    struct list *node;

    while ((node = list_take(&client->dirty)) != NULL) {
        link_flush(LIST_OWNER(node, struct link, dirty));
    }
    uv_prepare_stop(prepare);
}

void client_flush_later(struct belay_client *client)
{
    uv_prepare_start(&client->prepare, flush_due);
}

const char *client_node(struct belay_client *client, struct bytes name, const char *peer)
{
    size_t size = name.size + strlen(peer) + 4;
    struct node_name *node = malloc(sizeof *node + size);

    if (node == NULL) {
        return NULL;
    }
    snprintf(node->text, size, "%.*s (%s)", (int)name.size,
             name.size == 0 ? "" : (const char *)name.data, peer);
    for (struct node_name *known = client->names; known != NULL; known = known->next) {
        if (strcmp(known->text, node->text) == 0) {
            free(node);
            return known->text;
        }
    }
    node->next = client->names;
    client->names = node;
    return node->text;
}

/* xorshift64*, Vigna 2016: only spreads retries. */
uint32_t client_random(struct belay_client *client)
{
    client->random ^= client->random >> 12;
    client->random ^= client->random << 25;
    client->random ^= client->random >> 27;
    return (uint32_t)(client->random * UINT64_C(0x2545f4914f6cdd1d) >> 32);
}

/* ---- Creating ---- */

static void client_init_fields(struct belay_client *client, const struct belay_options *options)
{
    options_init(&client->options);
    if (options != NULL) {
        client->options = *options;
    }
    list_init(&client->waiting);
    list_init(&client->active);
    list_init(&client->dirty);
    list_init(&client->pool);
    client->wake_at_ms = UINT64_MAX;
    client->frame_bytes_max = FRAME_BYTES_MAX;
    client->requests_at_ms = UINT64_MAX;
    client->silence_ms = SILENCE_MS_MAX;
    client->probe_ms = PROBE_MS;
    client->waited_ms_max = WAITED_MS_MAX;
    client->silent_ms = SILENT_MS;
    if (uv_random(NULL, NULL, &client->random, sizeof client->random, 0, NULL) != 0 ||
        client->random == 0) {
        client->random = uv_hrtime() | 1;
    }
}

static void client_free(struct belay_client *client)
{
    request_pool_clear(client);
    while (client->names != NULL) {
        struct node_name *next = client->names->next;
        free(client->names);
        client->names = next;
    }
    map_free(client);
    member_free(client->servers);
    free(client->scratch);
    free(client);
}

static enum belay_status client_make(const struct belay_options *options, struct uv_loop_s *loop,
                                     struct belay_client **out)
{
    struct belay_client *client = calloc(1, sizeof *client);

    if (client == NULL) {
        return BELAY_NO_MEMORY;
    }
    client_init_fields(client, options);
    client->servers = member_create(client, 0);
    client->scratch = malloc(FRAME_HEADER_BYTES + SCRATCH_BYTES);
    if (client->servers == NULL || client->scratch == NULL) {
        client_free(client);
        return BELAY_NO_MEMORY;
    }
    client->loop = loop;
    client->loop_own = loop == NULL;
    if (client->loop_own) {
        client->loop = &client->own;
        if (uv_loop_init(client->loop) != 0) {
            client_free(client);
            return BELAY_NO_MEMORY;
        }
    }
    uv_prepare_init(client->loop, &client->prepare);
    uv_timer_init(client->loop, &client->timer);
    client->prepare.data = client->timer.data = client;
    client->handles = 2;
    *out = client;
    return BELAY_OK;
}

enum belay_status belay_client_create(const struct belay_options *options,
                                      struct belay_client **client)
{
    return client_make(options, NULL, client);
}

enum belay_status belay_client_create_on(const struct belay_options *options,
                                         struct uv_loop_s *loop, struct belay_client **client)
{
    assert(loop != NULL);
    return client_make(options, loop, client);
}

/* ---- Closing ---- */

void client_handle_closed(struct belay_client *client)
{
    client->handles--;
    if (client->handles > 0) {
        return;
    }
    assert(client->closing && client->unanswered == 0);
    client->closed = true;
    if (client->closed_callback != NULL) {
        client->closed_callback(client->closed_context);
    }
    if (!client->loop_own) {
        client_free(client);
    }
}

static void prepare_closed(uv_handle_t *handle)
{
    client_handle_closed(handle->data);
}

static void timer_closed(uv_handle_t *handle)
{
    struct belay_client *client = handle->data;

    while (!list_empty(&client->active)) {
        struct list *node = client->active.next;
        request_fail(LIST_OWNER(node, struct belay_request, active), BELAY_CLOSED, NULL);
    }
    client_handle_closed(client);
}

void belay_client_close(struct belay_client *client, void (*closed)(void *context), void *context)
{
    assert(!client->closing);
    client->closing = true;
    client->closed_callback = closed;
    client->closed_context = context;
    member_close(client->servers);
    map_close(client);
    uv_close((uv_handle_t *)&client->timer, timer_closed);
    uv_close((uv_handle_t *)&client->prepare, prepare_closed);
}

void belay_client_destroy(struct belay_client *client)
{
    if (client == NULL) {
        return;
    }
    assert(client->loop_own && !client->in_callback);
    if (!client->closing) {
        belay_client_close(client, NULL, NULL);
    }
    while (!client->closed) {
        uv_run(client->loop, UV_RUN_ONCE);
    }
    int rc = uv_loop_close(client->loop);
    assert(rc == 0);
    (void)rc;
    client_free(client);
}

/* ---- The loop ---- */

struct uv_loop_s *belay_client_loop(struct belay_client *client)
{
    return client->loop;
}

void belay_client_run(struct belay_client *client)
{
    assert(client->loop_own && !client->in_callback);
    while (client->unanswered > 0) {
        uv_run(client->loop, UV_RUN_ONCE);
    }
}

size_t belay_client_step(struct belay_client *client)
{
    assert(client->loop_own && !client->in_callback);
    uv_run(client->loop, client->unanswered > 0 ? UV_RUN_ONCE : UV_RUN_NOWAIT);
    return client->unanswered;
}

size_t belay_client_dispatch(struct belay_client *client)
{
    assert(client->loop_own && !client->in_callback);
    uv_run(client->loop, UV_RUN_NOWAIT);
    return client->unanswered;
}

int belay_client_fd(const struct belay_client *client)
{
    return client->loop_own ? uv_backend_fd(client->loop) : -1;
}

int belay_client_wait_ms(const struct belay_client *client)
{
    if (!list_empty(&client->dirty)) {
        return 0;
    }
    if (!uv_loop_alive(client->loop)) {
        return -1;
    }
    uv_update_time(client->loop);
    return uv_backend_timeout(client->loop);
}

size_t belay_client_unanswered(const struct belay_client *client)
{
    return client->unanswered;
}

uint32_t belay_client_shards(const struct belay_client *client)
{
    return client->shards;
}

uint32_t belay_client_nodes(const struct belay_client *client)
{
    return client->map == NULL ? 1 : client->map->member_count;
}

uint64_t belay_client_id(const struct belay_client *client)
{
    return client->id;
}

uint64_t belay_client_hlc(const struct belay_client *client)
{
    return client->hlc;
}

uint64_t belay_client_counter(const struct belay_client *client, enum belay_counter counter)
{
    uint32_t index = (uint32_t)counter;

    return index <= BELAY_COUNT_MOVES ? client->counters[index] : 0;
}
