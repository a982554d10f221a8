/* For the programs that try libbelay against a real belayd, through the public header alone.
 *
 * client_NAME HOST:PORT: run by test_client.py, each on a fresh server of two shards. ops_begin() makes
 * `client`, which all of a program's tests use; ops_end() ends it.
 */
#ifndef OPS_KIT_H
#define OPS_KIT_H

#include <belay/belay.h>
#include <stdio.h>
#include <time.h>

#include "check.h"

enum {
    CLOCK_SLACK_MS =
        50, /* The server's clock counts on from its start, and stands still for a turn. */
};

static const char *server;
static struct belay_client *client;

static inline struct belay_client *client_with(uint32_t connections)
{
    struct belay_options *options = belay_options_create();
    struct belay_client *made;

    assert_non_null(options);
    assert_int_equal(belay_options_servers(options, server), BELAY_OK);
    belay_options_connections(options, 1, connections);
    belay_options_timeout_ms(options, 30000);
    assert_int_equal(belay_client_create(options, &made), BELAY_OK);
    belay_options_destroy(options);
    return made;
}

/* A key that no other test uses. */
static inline struct belay_bytes new_key(void)
{
    static char text[40];
    static unsigned number;

    snprintf(text, sizeof text, "ops:%u", ++number);
    return belay_text(text);
}

static inline uint64_t wall_ms(void)
{
    struct timespec now;

    clock_gettime(CLOCK_REALTIME, &now);
    return (uint64_t)now.tv_sec * 1000 + (uint64_t)now.tv_nsec / 1000000;
}

/* Run, expect a status, give the result back. */
static inline struct belay_result *run_for(struct belay_request *request, enum belay_status wanted)
{
    struct belay_result *result = NULL;
    enum belay_status status = belay_run(request, &result);

    if (status != wanted) {
        fail_msg("%s, not %s: %s", belay_status_name(status), belay_status_name(wanted),
                 result == NULL ? "" : belay_result_text(result));
    }
    return result;
}

static inline void run(struct belay_request *request, enum belay_status wanted)
{
    belay_result_destroy(run_for(request, wanted));
}

static inline struct belay_request *update(struct belay_bytes key)
{
    return belay_write_begin(client, key, BELAY_UPDATE);
}

static inline struct belay_request *upsert(struct belay_bytes key)
{
    return belay_write_begin(client, key, BELAY_UPSERT);
}

static inline void assert_same(struct belay_bytes a, struct belay_bytes b)
{
    assert_int_equal(a.size, b.size);
    if (a.size > 0) {
        assert_memory_equal(a.data, b.data, a.size);
    }
}

static inline void assert_text(struct belay_bytes bytes, const char *text_wanted)
{
    assert_same(bytes, belay_text(text_wanted));
}

static inline void assert_field(struct belay_bytes key, const char *name, const char *value)
{
    struct belay_bytes found, asked = belay_text(name);
    struct belay_result *result;

    assert_int_equal(belay_get_fields(client, key, &asked, 1, &result), BELAY_OK);
    if (value == NULL) {
        assert_int_equal(belay_result_find(result, asked, &found), 0);
    } else {
        assert_int_equal(belay_result_find(result, asked, &found), 1);
        assert_text(found, value);
    }
    belay_result_destroy(result);
}

/* A token that outlives its result. */
struct token {
    unsigned char bytes[1024];
    size_t size;
};

static inline struct token token_of(struct belay_result *result)
{
    struct token token = {.size = belay_result_version(result).size};

    assert_in_range(token.size, 1, sizeof token.bytes);
    memcpy(token.bytes, belay_result_version(result).data, token.size);
    return token;
}

static inline struct belay_bytes bytes_of_token(const struct token *token)
{
    return belay_bytes_of(token->bytes, token->size);
}

static inline void wait_until_gone(struct belay_bytes key, uint64_t not_before_ms)
{
    struct belay_result *result;
    uint64_t end_ms = wall_ms() + 20000;

    while (belay_get_meta(client, key, &result) == BELAY_OK) {
        belay_result_destroy(result);
        assert_true(wall_ms() < end_ms);
    }
    assert_int_equal(belay_result_status(result), BELAY_NOT_FOUND);
    belay_result_destroy(result);
    assert_true(wall_ms() + CLOCK_SLACK_MS >= not_before_ms);
}

/* ---- The program ---- */

/* Returns whether the arguments are right. */
static inline bool ops_begin(int argc, char **argv)
{
    if (argc != 2) {
        fprintf(stderr, "usage: %s HOST:PORT\n", argv[0]);
        return false;
    }
    server = argv[1];
    client = client_with(0);
    return true;
}

/* `failed` is how many tests did; so is what it returns. */
static inline int ops_end(int failed)
{
    belay_client_destroy(client);
    return failed;
}

#endif
