#include "cluster_host.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/random.h>

#include "raft_storage.h"

enum { HANDLES = 2 };

struct cluster_host {
    struct memory *memory;
    struct logger *logger;
    uv_loop_t *loop;
    uv_async_t stored;
    uv_timer_t timer;
    uint64_t due_ms; /* The timer's. */
    uint32_t handles_open;
    struct raft_storage *storage;
    struct cluster *cluster;
    struct cluster_port port; /* The owner's. */
    int failure;              /* Of the storage, as last logged. */
};

/* ---- The store ---- */

/* From its thread. */
static void on_wake(void *context)
{
    struct cluster_host *host = context;

    (void)uv_async_send(&host->stored);
}

static void log_failure(struct cluster_host *host)
{
    int failure = raft_storage_failure(host->storage);

    if (failure == host->failure) {
        return;
    }
    host->failure = failure;
    if (failure == 0) {
        logger_write(host->logger, LOG_LEVEL_INFO, "cluster-store-resumed");
    } else {
        logger_write(host->logger, LOG_LEVEL_ERROR, "cluster-store-failed",
                     LOG_TEXT("cause", strerror(-failure)),
                     LOG_TEXT("effect", failure == -ENOSPC
                                            ? "this node does not take part in changes of the "
                                              "cluster's map until there is room"
                                            : "this node does not take part in changes of the "
                                              "cluster's map until a restart"));
    }
}

static void on_stored(uv_async_t *async)
{
    struct cluster_host *host = async->data;

    if (host->cluster != NULL) {
        log_failure(host);
        cluster_stored(host->cluster, uv_now(host->loop), raft_storage_stored(host->storage));
    }
}

/* ---- Time ---- */

static void on_timer(uv_timer_t *timer);

static void set_timer(struct cluster_host *host, uint32_t ms)
{
    host->due_ms = uv_now(host->loop) + ms;
    (void)uv_timer_start(&host->timer, on_timer, ms, 0);
}

static void on_timer(uv_timer_t *timer)
{
    struct cluster_host *host = timer->data;

    host->due_ms = UINT64_MAX;
    cluster_tick(host->cluster, uv_now(host->loop));
    uint32_t tick_ms = cluster_tick_ms(host->cluster);
    if (host->due_ms == UINT64_MAX || host->due_ms > uv_now(host->loop) + tick_ms) {
        set_timer(host, tick_ms);
    }
}

static void wake_in(void *context, uint32_t ms)
{
    struct cluster_host *host = context;

    if (uv_now(host->loop) + ms < host->due_ms) {
        set_timer(host, ms);
    }
}

/* ---- The owner's part of the port ---- */

static bool port_send(void *context, uint32_t node, uint8_t kind, uint64_t number,
                      const struct bytes parts[], uint32_t count)
{
    struct cluster_host *host = context;

    return host->port.send(host->port.context, node, kind, number, parts, count);
}

static void port_map(void *context, const struct map *map, bool kept)
{
    struct cluster_host *host = context;

    host->port.map(host->port.context, map, kept);
}

static void port_committed(void *context, uint64_t index)
{
    struct cluster_host *host = context;

    raft_storage_commit(host->storage, index);
}

/* ---- Life ---- */

static void on_close(uv_handle_t *handle)
{
    struct cluster_host *host = handle->data;

    if (--host->handles_open == 0) {
        host->memory->resize(host->memory, host, sizeof *host, 0);
    }
}

void cluster_host_destroy(struct cluster_host *host)
{
    if (host == NULL) {
        return;
    }
    raft_storage_close(host->storage); /* It wakes nobody after that. */
    cluster_destroy(host->cluster);
    host->cluster = NULL;
    if (host->handles_open == 0) {
        host->memory->resize(host->memory, host, sizeof *host, 0);
        return;
    }
    uv_close((uv_handle_t *)&host->timer, on_close);
    uv_close((uv_handle_t *)&host->stored, on_close);
}

static int open_handles(struct cluster_host *host)
{
    int rc = uv_async_init(host->loop, &host->stored, on_stored);

    if (rc != 0) {
        return rc;
    }
    (void)uv_timer_init(host->loop, &host->timer); /* Never fails. */
    host->stored.data = host;
    host->timer.data = host;
    host->handles_open = HANDLES;
    return 0;
}

/* Is the cluster to be founded anew without anybody being named, as the store with the map is lost? */
static bool goes_on_alone(const struct cluster_host_options *options)
{
    return options->lost != NULL && options->lost[0] == '\0';
}

/* What is damaged is put aside: it may tell somebody something yet. */
static int put_aside(const struct raft_storage_options *options, char *message, size_t message_size)
{
    struct files *files = options->files;
    char aside[PATH_BYTES_MAX];
    int size = snprintf(aside, sizeof aside, "%s.damaged", options->directory);

    int rc = size < (int)sizeof aside ? files_remove_tree(files, aside) : -ENAMETOOLONG;
    if (rc == 0 || rc == -ENOENT) {
        rc = files->rename(files, options->directory, aside);
    }
    if (rc != 0) {
        snprintf(message, message_size, "cannot put %s aside: %s", options->directory,
                 strerror(-rc));
    }
    return rc;
}

static int open_storage(struct cluster_host *host, const struct cluster_host_options *options,
                        char *message, size_t message_size)
{
    const struct raft_storage_options storage = {
        .directory = options->directory,
        .files = files_system(),
        .memory = host->memory,
        .wake = on_wake,
        .context = host,
    };

    int rc = raft_storage_open(&storage, &host->storage, message, message_size);
    if (rc == -EBADMSG && goes_on_alone(options)) {
        rc = put_aside(&storage, message, message_size);
        rc = rc != 0 ? rc : raft_storage_open(&storage, &host->storage, message, message_size);
    }
    return rc;
}

/* An empty store gets what the cluster is to begin with; `founded`: that is a new map of this node alone, where it had one. */
static int begin(struct cluster_host *host, const struct cluster_host_options *given, bool *founded,
                 char *message, size_t message_size)
{
    struct cluster_options options = given->cluster;
    struct buffer bytes = {.memory = host->memory};
    struct raft_saved first;

    if (raft_storage_saved(host->storage)->snapshot_index != 0) {
        return 0;
    }
    if (goes_on_alone(given) && !options.found && options.seed.size == 0) {
        *founded = options.found = options.anew = true;
    }
    int rc = cluster_first(&options, &bytes, &first);
    if (rc == 0) {
        rc = raft_storage_begin(host->storage, &first);
    }
    buffer_fini(&bytes);
    if (rc == -ENODATA) {
        snprintf(message, message_size, "the cluster's map is missing. " RAFT_STORAGE_LOST);
    } else if (rc != 0) {
        snprintf(message, message_size, "cannot begin with a map of the cluster: %s",
                 strerror(-rc));
    }
    if (rc == 0 && *founded) {
        logger_write(host->logger, LOG_LEVEL_WARN, "cluster-founded-anew",
                     LOG_TEXT("without", "a map"),
                     LOG_TEXT("effect", "this node is the only member; policies that were set with "
                                        "belayctl are as the configuration has them"));
    }
    return rc;
}

/* Without those that are lost. */
static int begin_anew(struct cluster_host *host, const struct cluster_host_options *given,
                      char *message, size_t message_size)
{
    struct cluster_options options = given->cluster;
    struct buffer bytes = {.memory = host->memory};
    struct raft_saved saved;

    if (given->lost == NULL) {
        return 0;
    }
    options.saved = raft_storage_saved(host->storage);
    int rc = cluster_refound(&options, given->lost, &bytes, &saved, message, message_size);
    if (rc == 0) {
        rc = raft_storage_replace(host->storage, &saved);
        snprintf(message, message_size, "cannot write the new map of the cluster: %s",
                 strerror(-rc));
    }
    if (rc == 0) {
        logger_write(host->logger, LOG_LEVEL_WARN, "cluster-founded-anew",
                     LOG_TEXT("without", given->lost),
                     LOG_TEXT("effect", "this node decides alone until others vote; what only the "
                                        "lost nodes had is lost"));
    }
    buffer_fini(&bytes);
    return rc;
}

static int start(struct cluster_host *host, const struct cluster_options *given, char *message,
                 size_t message_size)
{
    struct cluster_options options = *given;

    int rc = raft_storage_start(host->storage);
    if (rc != 0) {
        snprintf(message, message_size, "cannot start the thread of the cluster's map: %s",
                 strerror(-rc));
        return rc;
    }
    if (getrandom(&options.random, sizeof options.random, 0) != sizeof options.random) {
        return -EIO;
    }
    options.store = raft_storage_port(host->storage);
    options.saved = raft_storage_saved(host->storage);
    options.port = (struct cluster_port){port_send, port_map, port_committed, wake_in, host};
    rc = cluster_create(&options, uv_now(host->loop), &host->cluster, message, message_size);
    raft_storage_forget(host->storage);
    return rc;
}

int cluster_host_create(const struct cluster_host_options *options, struct cluster_host **host,
                        char *message, size_t message_size)
{
    struct memory *memory = options->cluster.memory;
    struct cluster_host *made = memory->resize(memory, NULL, 0, sizeof *made);

    if (made == NULL) {
        snprintf(message, message_size, "the cluster's map: %s", strerror(ENOMEM));
        return -ENOMEM;
    }
    *made = (struct cluster_host){
        .memory = memory,
        .logger = options->cluster.logger,
        .loop = options->loop,
        .due_ms = UINT64_MAX,
        .port = options->cluster.port,
    };
    bool founded = false;
    uv_update_time(made->loop);
    int rc = open_handles(made);
    if (rc == 0) {
        rc = open_storage(made, options, message, message_size);
    }
    if (rc == 0) {
        rc = begin(made, options, &founded, message, message_size);
    }
    if (rc == 0 && !founded) {
        rc = begin_anew(made, options, message, message_size);
    }
    if (rc == 0) {
        rc = start(made, &options->cluster, message, message_size);
    }
    if (rc != 0) {
        cluster_host_destroy(made);
        return rc;
    }
    set_timer(made, cluster_tick_ms(made->cluster));
    *host = made;
    return 0;
}

struct cluster *cluster_host_cluster(const struct cluster_host *host)
{
    return host->cluster;
}

int cluster_host_failure(const struct cluster_host *host)
{
    return raft_storage_failure(host->storage);
}

uint64_t cluster_host_now_ms(const struct cluster_host *host)
{
    return uv_now(host->loop);
}
