/* What a client is made with. */
#include <stdlib.h>

#include "client.h"

void options_init(struct belay_options *options)
{
    *options = (struct belay_options){
        .servers = {{.host = "127.0.0.1", .port = DEFAULT_PORT}},
        .server_count = 1,
        .timeout_ms = DEFAULT_TIMEOUT_MS,
        .per_shard = 1,
        .total = CONNECTIONS_MAX,
        .queue_max = DEFAULT_QUEUE_MAX,
    };
}

struct belay_options *belay_options_create(void)
{
    struct belay_options *options = malloc(sizeof *options);

    if (options != NULL) {
        options_init(options);
    }
    return options;
}

void belay_options_destroy(struct belay_options *options)
{
    free(options);
}

enum belay_status belay_options_servers(struct belay_options *options, const char *servers)
{
    struct address found[SERVERS_MAX];
    uint32_t count = 0;

    for (const char *text = servers;; text++) {
        const char *end = text + strcspn(text, ",");
        while (*text == ' ') {
            text++;
        }
        if (count == SERVERS_MAX || text > end ||
            !address_parse(text, end, DEFAULT_PORT, &found[count])) {
            return BELAY_INVALID;
        }
        count++;
        text = end;
        if (*text == 0) {
            break;
        }
    }
    memcpy(options->servers, found, count * sizeof found[0]);
    options->server_count = count;
    return BELAY_OK;
}

void belay_options_timeout_ms(struct belay_options *options, uint32_t timeout_ms)
{
    options->timeout_ms = timeout_ms;
}

void belay_options_connections(struct belay_options *options, uint32_t per_shard, uint32_t total)
{
    options->per_shard = per_shard == 0 ? 1 : per_shard;
    if (options->per_shard > PER_SHARD_MAX) {
        options->per_shard = PER_SHARD_MAX;
    }
    options->total = total == 0 || total > CONNECTIONS_MAX ? CONNECTIONS_MAX : total;
}

void belay_options_queue_max(struct belay_options *options, uint32_t requests)
{
    options->queue_max = requests == 0 ? DEFAULT_QUEUE_MAX : requests;
}

void belay_options_fail_fast(struct belay_options *options, int fail_fast)
{
    options->fail_fast = fail_fast != 0;
}

void belay_options_name(struct belay_options *options, const char *name)
{
    size_t size = strlen(name);

    memset(options->program, 0, sizeof options->program);
    memcpy(options->program, name, size < PROGRAM_BYTES_MAX ? size : PROGRAM_BYTES_MAX);
}

enum belay_status belay_options_user(struct belay_options *options, const char *user,
                                     const char *password)
{
    if (strlen(user) > CREDENTIAL_BYTES_MAX || strlen(password) > CREDENTIAL_BYTES_MAX) {
        return BELAY_INVALID;
    }
    memset(options->user, 0, sizeof options->user);
    memset(options->password, 0, sizeof options->password);
    memcpy(options->user, user, strlen(user));
    memcpy(options->password, password, strlen(password));
    return BELAY_OK;
}
