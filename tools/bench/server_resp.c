/* The server under load, asked in RESP. */
#include "server.h"

#include <errno.h>
#include <hiredis/hiredis.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "address.h"
#include "credentials.h"

enum { DEFAULT_PORT = 7400 };

static enum bench_exit unreachable(const struct bench_options *options, const char *cause)
{
    fprintf(stderr, "belay-bench: %s: %s\n", options->server, cause);
    return BENCH_UNREACHABLE;
}

static enum bench_exit gone(const struct bench_options *options, const redisContext *redis)
{
    bool late = redis->err == REDIS_ERR_IO && (errno == EAGAIN || errno == EWOULDBLOCK);

    return unreachable(options, late ? "no answer within --timeout-ms" : redis->errstr);
}

/* Returns BENCH_GOOD; or, having said why, what the program ends with. */
static enum bench_exit judge(const struct bench_options *options, const redisContext *redis,
                             const redisReply *reply)
{
    if (reply == NULL) {
        return gone(options, redis);
    }
    if (reply->type == REDIS_REPLY_ERROR) {
        fprintf(stderr, "belay-bench: %s answers: %s\n", options->server, reply->str);
        return BENCH_BAD;
    }
    return BENCH_GOOD;
}

static enum bench_exit log_in(const struct bench_options *options, redisContext *redis)
{
    struct credentials credentials;

    if (credentials_read(&credentials, "belay-bench") != 0) {
        return BENCH_USAGE;
    }
    if (credentials.user == NULL) {
        return BENCH_GOOD;
    }
    redisReply *reply = redisCommand(redis, "AUTH %s %s", credentials.user, credentials.password);
    enum bench_exit verdict = judge(options, redis, reply);
    freeReplyObject(reply);
    return verdict;
}

/* Its process, and how much it holds, as far as it says so and this user may know. */
static enum bench_exit ask_figures(const struct bench_options *options, redisContext *redis,
                                   struct server *server)
{
    redisReply *info = redisCommand(redis, "INFO server");
    redisReply *size = redisCommand(redis, "DBSIZE");
    const char *found = NULL;

    enum bench_exit verdict = info == NULL || size == NULL ? gone(options, redis) : BENCH_GOOD;
    if (verdict == BENCH_GOOD && info->type == REDIS_REPLY_ERROR &&
        strncmp(info->str, "NOAUTH", 6) == 0) {
        verdict = judge(options, redis, info);
    }
    if (verdict == BENCH_GOOD && info->type == REDIS_REPLY_STRING) {
        found = strstr(info->str, "\nprocess_id:");
    }
    if (found != NULL) {
        server_found(server, strtoll(found + strlen("\nprocess_id:"), NULL, 10));
    }
    if (verdict == BENCH_GOOD && size->type == REDIS_REPLY_INTEGER && size->integer > 0) {
        server->sessions = (uint64_t)size->integer;
    }
    freeReplyObject(info);
    freeReplyObject(size);
    return verdict;
}

/* Which node has what. */
static enum bench_exit ask_route(const struct bench_options *options, redisContext *redis,
                                 struct server *server)
{
    redisReply *reply = redisCommand(redis, "CLUSTER SLOTS");
    enum bench_exit verdict = judge(options, redis, reply);

    if (verdict == BENCH_GOOD && resp_route_take(&server->route, reply) != 0) {
        fprintf(stderr, "belay-bench: %s: its answer to CLUSTER SLOTS cannot be used\n",
                options->server);
        verdict = BENCH_BAD;
    }
    server->nodes = server->route.node_count;
    freeReplyObject(reply);
    return verdict;
}

static redisContext *connect_to(const struct bench_options *options)
{
    const struct timeval timeout = {.tv_sec = options->timeout_ms / 1000,
                                    .tv_usec = options->timeout_ms % 1000 * 1000};
    const char *text = options->server;
    struct address address;

    if (!address_parse(text, text + strlen(text), DEFAULT_PORT, &address)) {
        return NULL;
    }
    redisContext *redis = redisConnectWithTimeout(address.host, address.port, timeout);
    if (redis != NULL && redis->err == 0) {
        (void)redisSetTimeout(redis, timeout);
    }
    return redis;
}

enum bench_exit server_ask_resp(const struct bench_options *options, struct server *server)
{
    redisContext *redis = connect_to(options);
    struct sockaddr_storage address = {0};
    socklen_t size = sizeof address;
    enum bench_exit verdict;

    if (redis == NULL) {
        fprintf(stderr, "belay-bench: --server %s: HOST:PORT is wanted\n", options->server);
        return BENCH_USAGE;
    }
    if (redis->err != 0 || getpeername(redis->fd, (struct sockaddr *)&address, &size) != 0) {
        verdict = unreachable(options, redis->err != 0 ? redis->errstr : "the connection is gone");
    } else {
        resp_route_init(&server->route, &address);
        verdict = log_in(options, redis);
    }
    if (verdict == BENCH_GOOD) {
        verdict = ask_figures(options, redis, server);
    }
    if (verdict == BENCH_GOOD && options->cluster) {
        verdict = ask_route(options, redis, server);
    }
    redisFree(redis);
    return verdict;
}
