#include "resp_put.h"

#include <stdio.h>

static int put_set(const struct resp_out *out, const struct ask *ask)
{
    char ttl[24];

    int rc = resp_array(out, 3U + (ask->ttl_ms > 0 ? 2U : 0U) + (ask->create ? 1U : 0U));
    rc = rc != 0 ? rc : resp_text(out, "SET");
    rc = rc != 0 ? rc : resp_bulk(out, bytes_of(ask->key, ask->key_size));
    rc = rc != 0 ? rc : resp_bulk(out, ask->value);
    if (rc == 0 && ask->ttl_ms > 0) {
        snprintf(ttl, sizeof ttl, "%llu", (unsigned long long)ask->ttl_ms);
        rc = resp_text(out, "PX");
        rc = rc != 0 ? rc : resp_text(out, ttl);
    }
    if (rc == 0 && ask->create) {
        rc = resp_text(out, "NX");
    }
    return rc;
}

static int put_wait(const struct resp_out *out, uint32_t wait, uint64_t timeout_ms)
{
    char replicas[16], timeout[24];

    snprintf(replicas, sizeof replicas, "%u", wait);
    snprintf(timeout, sizeof timeout, "%llu", (unsigned long long)timeout_ms);
    int rc = resp_array(out, 3);
    rc = rc != 0 ? rc : resp_text(out, "WAIT");
    rc = rc != 0 ? rc : resp_text(out, replicas);
    return rc != 0 ? rc : resp_text(out, timeout);
}

int resp_put_ask(const struct resp_out *out, const struct ask *ask, uint32_t wait,
                 uint64_t timeout_ms)
{
    int rc;

    if (ask->kind == ASK_SET) {
        rc = put_set(out, ask);
    } else {
        rc = resp_array(out, 2);
        rc = rc != 0 ? rc : resp_text(out, ask->kind == ASK_GET ? "GET" : "DEL");
        rc = rc != 0 ? rc : resp_bulk(out, bytes_of(ask->key, ask->key_size));
    }
    if (rc == 0 && wait > 0 && ask->kind != ASK_GET) {
        rc = put_wait(out, wait, timeout_ms);
    }
    return rc;
}
