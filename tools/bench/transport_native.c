/* The native protocol, as libbelay speaks it. */
#include "transport.h"

#include <errno.h>
#include <stdlib.h>

#include "credentials.h"

struct native {
    struct transport transport;
    uint32_t open;
    struct belay_client **clients;
};

static struct native *native_of(struct transport *transport)
{
    return (struct native *)transport;
}

static struct belay_bytes shown(struct bytes bytes)
{
    return belay_bytes_of(bytes.data, bytes.size);
}

static void on_result(struct belay_result *result, void *context)
{
    struct belay_bytes value = belay_result_value(result);
    struct answer answer = {
        .status = belay_result_status(result),
        .value = bytes_of(value.data, value.size),
        .ack_level = belay_result_ack(result),
    };

    if (answer.status != BELAY_OK && answer.status != BELAY_NOT_FOUND) {
        pump_tell(context, answer.status, belay_result_text(result));
    }
    pump_answered(context, &answer);
}

static struct belay_request *request_of(struct belay_client *client, const struct ask *ask)
{
    struct belay_bytes key = belay_bytes_of(ask->key, ask->key_size);

    if (ask->kind == ASK_GET) {
        return belay_get_begin(client, key, ask->no_touch ? BELAY_GET_NO_TOUCH : 0);
    }
    struct belay_request *write =
        belay_write_begin(client, key, ask->create ? BELAY_CREATE : BELAY_UPSERT);
    if (ask->kind == ASK_DELETE) {
        belay_write_destroy(write);
    } else {
        belay_write_value(write, shown(ask->value));
        if (ask->ttl_ms > 0) {
            belay_write_ttl(write, ask->ttl_ms);
        }
    }
    belay_write_ack(write, ask->ack);
    return write;
}

static enum belay_status send_ask(struct transport *transport, uint32_t lane, const struct ask *ask,
                                  struct operation *operation)
{
    struct belay_request *request = request_of(native_of(transport)->clients[lane], ask);

    if (request == NULL) {
        return BELAY_NO_MEMORY;
    }
    if (ask->no_retry) {
        belay_request_no_retry(request);
    }
    return belay_send(request, on_result, operation);
}

static uint64_t disconnects(const struct transport *transport)
{
    const struct native *native = (const struct native *)transport;
    uint64_t sum = 0;

    for (uint32_t i = 0; i < native->open; i++) {
        sum += belay_client_counter(native->clients[i], BELAY_COUNT_DISCONNECTS);
    }
    return sum;
}

static void close_all(struct transport *transport)
{
    struct native *native = native_of(transport);

    for (uint32_t i = 0; i < native->open; i++) {
        belay_client_close(native->clients[i], NULL, NULL);
    }
    native->open = 0;
}

static void destroy(struct transport *transport)
{
    free(native_of(transport)->clients);
    free(transport);
}

static struct belay_options *client_options(const struct bench_options *options)
{
    struct belay_options *made = belay_options_create();

    if (made == NULL || belay_options_servers(made, options->server) != BELAY_OK ||
        credentials_set(made, "belay-bench") != 0) {
        belay_options_destroy(made);
        return NULL;
    }
    belay_options_name(made, "belay-bench");
    belay_options_timeout_ms(made, options->timeout_ms);
    belay_options_connections(made, 1, 0);
    return made;
}

int transport_native_create(const struct bench_options *options, uv_loop_t *loop, uint32_t lanes,
                            struct transport **transport)
{
    struct native *native = calloc(1, sizeof *native);
    struct belay_options *made = client_options(options);
    int rc = -ENOMEM;

    if (native == NULL || made == NULL) {
        goto out;
    }
    native->transport = (struct transport){send_ask, disconnects, close_all, destroy};
    native->clients = calloc(lanes, sizeof(struct belay_client *));
    if (native->clients == NULL) {
        goto out;
    }
    rc = 0;
    for (; rc == 0 && native->open < lanes; native->open += rc == 0) {
        rc = belay_client_create_on(made, loop, &native->clients[native->open]) == BELAY_OK
                 ? 0
                 : -ENOMEM;
    }
    if (rc != 0) {
        close_all(&native->transport);
        uv_run(loop, UV_RUN_DEFAULT);
    }

out:
    belay_options_destroy(made);
    if (rc != 0 && native != NULL) {
        destroy(&native->transport);
        native = NULL;
    }
    if (rc == 0) {
        *transport = &native->transport;
    }
    return rc;
}
