#include "server.h"

#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#include "credentials.h"

enum { TEXT_BYTES = 4096 };

/* Read a small file of /proc as text. */
static bool read_text(const char *path, char *text, size_t size)
{
    FILE *file = fopen(path, "r");
    if (file == NULL) {
        return false;
    }
    size_t got = fread(text, 1, size - 1, file);
    text[got] = '\0';
    fclose(file);
    return got > 0;
}

bool server_cost(const struct server *server, struct server_cost *cost)
{
    char path[64], text[TEXT_BYTES];
    unsigned long long user = 0, system = 0, pages = 0;

    if (server->pid == 0) {
        return false;
    }
    snprintf(path, sizeof path, "/proc/%u/stat", server->pid);
    if (!read_text(path, text, sizeof text)) {
        return false;
    }
    /* The program's name is in brackets and may hold anything; fields count from behind it. */
    const char *after = strrchr(text, ')');
    if (after == NULL || sscanf(after + 1, " %*c %*d %*d %*d %*d %*d %*u %*u %*u %*u %*u %llu %llu",
                                &user, &system) != 2) {
        return false;
    }
    snprintf(path, sizeof path, "/proc/%u/statm", server->pid);
    if (!read_text(path, text, sizeof text) || sscanf(text, "%*u %llu", &pages) != 1) {
        return false;
    }
    uint64_t tick_us = 1000000 / (uint64_t)sysconf(_SC_CLK_TCK);
    cost->cpu_us = (user + system) * tick_us;
    cost->rss_bytes = pages * (uint64_t)sysconf(_SC_PAGESIZE);
    return true;
}

uint64_t own_cpu_us(void)
{
    struct rusage usage;

    if (getrusage(RUSAGE_SELF, &usage) != 0) {
        return 0;
    }
    return (uint64_t)(usage.ru_utime.tv_sec + usage.ru_stime.tv_sec) * 1000000 +
           (uint64_t)(usage.ru_utime.tv_usec + usage.ru_stime.tv_usec);
}

/* Is this a program that serves there? A pid of another machine may be anybody's here. */
static bool is_server(uint32_t pid)
{
    static const char *const names[] = {"belayd\n", "redis-server\n", "valkey-server\n",
                                        "keydb-server\n", "dragonfly\n"};
    char path[64], name[64];

    snprintf(path, sizeof path, "/proc/%u/comm", pid);
    bool known = false;
    bool there = read_text(path, name, sizeof name);
    for (size_t i = 0; there && i < sizeof names / sizeof names[0]; i++) {
        known = known || strcmp(name, names[i]) == 0;
    }
    return known;
}

void server_found(struct server *server, long long pid)
{
    if (server->pid == 0 && pid > 0 && pid <= INT32_MAX && is_server((uint32_t)pid)) {
        server->pid = (uint32_t)pid;
    }
}

/* Take what the status document says; all of it may be missing. */
static void read_status(struct server *server, struct belay_bytes document)
{
    json_t *root = json_loadb(document.data, document.size, 0, NULL);
    json_int_t pid = json_integer_value(json_object_get(root, "pid"));
    json_int_t sessions = json_integer_value(json_object_get(root, "sessions"));

    server_found(server, pid);
    server->sessions = sessions > 0 ? (uint64_t)sessions : 0;
    json_decref(root);
}

static enum bench_exit ask(struct belay_client *client, struct server *server)
{
    struct belay_result *result = NULL;
    enum belay_status status = belay_run(belay_admin_begin(client, "status", NULL), &result);

    if (status != BELAY_OK && status != BELAY_UNSUPPORTED) {
        fprintf(stderr, "belay-bench: %s\n",
                result != NULL ? belay_result_text(result) : belay_status_text(status));
        belay_result_destroy(result);
        return status == BELAY_CANNOT_CONNECT || status == BELAY_TIMEOUT ? BENCH_UNREACHABLE
                                                                         : BENCH_BAD;
    }
    server->shards = belay_client_shards(client);
    server->nodes = belay_client_nodes(client);
    snprintf(server->node, sizeof server->node, "%s", belay_result_node(result));
    if (status == BELAY_OK) {
        read_status(server, belay_result_value(result));
    }
    belay_result_destroy(result);
    return BENCH_GOOD;
}

static enum bench_exit ask_native(const struct bench_options *options, struct server *server)
{
    struct belay_options *made = belay_options_create();
    struct belay_client *client = NULL;
    enum bench_exit verdict = BENCH_USAGE;

    if (made == NULL || belay_options_servers(made, options->server) != BELAY_OK ||
        credentials_set(made, "belay-bench") != 0) {
        fprintf(stderr, "belay-bench: --server %s: HOST:PORT is wanted\n", options->server);
        goto destroy_options;
    }
    belay_options_fail_fast(made, 1);
    belay_options_timeout_ms(made, options->timeout_ms);
    if (belay_client_create(made, &client) != BELAY_OK) {
        fprintf(stderr, "belay-bench: no memory\n");
        verdict = BENCH_BAD;
        goto destroy_options;
    }
    verdict = ask(client, server);
    belay_client_destroy(client);

destroy_options:
    belay_options_destroy(made);
    return verdict;
}

enum bench_exit server_ask(const struct bench_options *options, struct server *server)
{
    *server = (struct server){.shards = 1, .nodes = 1, .pid = options->server_pid};
    return options->protocol == BENCH_RESP ? server_ask_resp(options, server)
                                           : ask_native(options, server);
}
