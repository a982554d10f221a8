/* The blocking face: the same requests, and the client's own loop run until the answer is there. */
#include <assert.h>

#include "client.h"

struct waiter { /* Of one belay_run(). */
    struct belay_result *result;
};

static void run_answered(struct belay_result *result, void *context)
{
    ((struct waiter *)context)->result = result;
}

/* Notice, before something is sent, what happened while nobody ran the loop: a connection that the
 * server closed is then opened anew, and the request needs no second try. */
static void catch_up(struct belay_client *client)
{
    if (client->ready > 0 && client->unanswered == 0) {
        uv_run(client->loop, UV_RUN_NOWAIT);
    }
}

enum belay_status belay_run(struct belay_request *request, struct belay_result **result)
{
    struct waiter waiter = {NULL};

    if (result != NULL) {
        *result = NULL;
    }
    if (request == NULL) {
        return BELAY_NO_MEMORY;
    }
    struct belay_client *client = request->client;
    if (!client->loop_own || client->in_callback) {
        request_release(request);
        return BELAY_INVALID;
    }
    catch_up(client);
    enum belay_status status = request_submit(request, run_answered, &waiter, true);
    if (status != BELAY_OK) {
        request->state = REQUEST_BUILDING;
        request_release(request);
        return status;
    }
    while (waiter.result == NULL) {
        uv_run(client->loop, UV_RUN_ONCE);
    }
    status = waiter.result->status;
    if (result != NULL) {
        *result = waiter.result;
    } else {
        request_release(request);
    }
    return status;
}

void belay_result_destroy(struct belay_result *result)
{
    if (result == NULL) {
        return;
    }
    struct belay_request *request = LIST_OWNER(result, struct belay_request, result);
    assert(request->state == REQUEST_ENDED && request->kept);
    request_release(request);
}

/* ---- One function for each simple request ---- */

enum belay_status belay_get(struct belay_client *client, struct belay_bytes key,
                            struct belay_result **result)
{
    return belay_run(belay_get_begin(client, key, 0), result);
}

enum belay_status belay_get_fields(struct belay_client *client, struct belay_bytes key,
                                   const struct belay_bytes names[], size_t name_count,
                                   struct belay_result **result)
{
    struct belay_request *get = belay_get_begin(client, key, 0);

    for (size_t i = 0; i < name_count; i++) {
        belay_get_field(get, names[i]);
    }
    return belay_run(get, result);
}

enum belay_status belay_get_meta(struct belay_client *client, struct belay_bytes key,
                                 struct belay_result **result)
{
    return belay_run(belay_get_begin(client, key, BELAY_GET_META | BELAY_GET_NO_TOUCH), result);
}

enum belay_status belay_create(struct belay_client *client, struct belay_bytes key,
                               struct belay_bytes value, uint64_t ttl_ms,
                               struct belay_result **result)
{
    struct belay_request *write = belay_write_begin(client, key, BELAY_CREATE);

    belay_write_value(write, value);
    if (ttl_ms != 0) {
        belay_write_ttl(write, ttl_ms);
    }
    return belay_run(write, result);
}

enum belay_status belay_put(struct belay_client *client, struct belay_bytes key,
                            struct belay_bytes value, struct belay_result **result)
{
    struct belay_request *write = belay_write_begin(client, key, BELAY_UPSERT);

    belay_write_value(write, value);
    return belay_run(write, result);
}

enum belay_status belay_put_if_version(struct belay_client *client, struct belay_bytes key,
                                       struct belay_bytes value, struct belay_bytes version,
                                       struct belay_result **result)
{
    struct belay_request *write = belay_write_begin(client, key, BELAY_UPDATE);

    belay_write_if_version(write, version);
    belay_write_value(write, value);
    return belay_run(write, result);
}

enum belay_status belay_field_set(struct belay_client *client, struct belay_bytes key,
                                  struct belay_bytes name, struct belay_bytes value,
                                  struct belay_result **result)
{
    struct belay_request *write = belay_write_begin(client, key, BELAY_UPSERT);

    belay_write_type(write, BELAY_MAP);
    belay_write_set(write, name, value);
    return belay_run(write, result);
}

enum belay_status belay_field_delete(struct belay_client *client, struct belay_bytes key,
                                     struct belay_bytes name, struct belay_result **result)
{
    struct belay_request *write = belay_write_begin(client, key, BELAY_UPDATE);

    belay_write_delete(write, name);
    return belay_run(write, result);
}

enum belay_status belay_field_add(struct belay_client *client, struct belay_bytes key,
                                  struct belay_bytes name, int64_t delta,
                                  struct belay_result **result)
{
    struct belay_request *write = belay_write_begin(client, key, BELAY_UPSERT);

    belay_write_type(write, BELAY_MAP);
    belay_write_add(write, name, delta);
    return belay_run(write, result);
}

enum belay_status belay_append(struct belay_client *client, struct belay_bytes key,
                               struct belay_bytes value, struct belay_result **result)
{
    struct belay_request *write = belay_write_begin(client, key, BELAY_UPSERT);

    belay_write_append(write, belay_bytes_of(NULL, 0), value);
    return belay_run(write, result);
}

enum belay_status belay_touch(struct belay_client *client, struct belay_bytes key,
                              struct belay_result **result)
{
    struct belay_request *write = belay_write_begin(client, key, BELAY_UPDATE);

    belay_write_touch(write);
    return belay_run(write, result);
}

enum belay_status belay_expire(struct belay_client *client, struct belay_bytes key, uint64_t ttl_ms,
                               struct belay_result **result)
{
    struct belay_request *write = belay_write_begin(client, key, BELAY_UPDATE);

    belay_write_ttl(write, ttl_ms);
    return belay_run(write, result);
}

enum belay_status belay_delete(struct belay_client *client, struct belay_bytes key,
                               struct belay_result **result)
{
    struct belay_request *write = belay_write_begin(client, key, BELAY_UPSERT);

    belay_write_destroy(write);
    return belay_run(write, result);
}
