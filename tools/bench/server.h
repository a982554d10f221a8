/* The server under load as seen from beside it: what it says of itself, and, where it runs on this
 * machine, what its process costs.
 *
 * Threads: one. server_ask() blocks.
 */
#ifndef BENCH_SERVER_H
#define BENCH_SERVER_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/socket.h>

#include "options.h"
#include "resp_route.h"

struct server {
    uint32_t shards;   /* Of a node. RESP: 1. */
    uint32_t nodes;    /* Of the cluster; 1: a node alone, or RESP without --cluster. */
    uint32_t pid;      /* 0: it does not run here, or cannot be seen. */
    uint64_t sessions; /* 0 where it does not say. */
    char node[128];
    struct resp_route route; /* RESP: where it answered, and with --cluster all of the cluster. */
};

struct server_cost {
    uint64_t cpu_us; /* User and system time of the process since it began. */
    uint64_t rss_bytes;
};

/* Ask the server how many shards it has, who it is and how much it holds.
 *
 * Returns BENCH_GOOD; or, having said why, BENCH_UNREACHABLE or BENCH_BAD. */
enum bench_exit server_ask(const struct bench_options *options, struct server *server);

/* The same in RESP, where a server has one shard; for server_ask(). */
enum bench_exit server_ask_resp(const struct bench_options *options, struct server *server);

/* It says that it is this process: believed where that is a server on this machine, and --server-pid named none. */
void server_found(struct server *server, long long pid);

/* What its process has cost so far. False where it cannot be seen. */
bool server_cost(const struct server *server, struct server_cost *cost);

/* CPU time of this process, in us. */
uint64_t own_cpu_us(void);

#endif
