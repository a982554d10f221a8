#include <assert.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <sys/resource.h>
#include <unistd.h>

#include "cross.h"
#include "heap.h"
#include "listener.h"
#include "plane_private.h"

enum { FILES_BESIDES = 256 };

/* Every connection is an open file. Raise the soft limit as far as it goes. */
static int raise_files(uint32_t connections, char *message, size_t message_size)
{
    uint64_t wanted = (uint64_t)connections + FILES_BESIDES;
    struct rlimit limit;

    if (getrlimit(RLIMIT_NOFILE, &limit) != 0 || limit.rlim_cur >= wanted) {
        return 0;
    }
    if (limit.rlim_max != RLIM_INFINITY && limit.rlim_max < wanted) {
        snprintf(message, message_size,
                 "%u connections need %llu open files, but RLIMIT_NOFILE allows %llu: raise it "
                 "(ulimit -Hn; systemd: LimitNOFILE=) or lower the limit of connections",
                 connections, (unsigned long long)wanted, (unsigned long long)limit.rlim_max);
        return -EMFILE;
    }
    limit.rlim_cur = wanted;
    return setrlimit(RLIMIT_NOFILE, &limit) != 0 ? -errno : 0;
}

static int connect_hops(struct plane *plane)
{
    for (uint32_t to = 0; to < plane->options.shard_count; to++) {
        for (uint32_t from = 0; from < plane->options.shard_count; from++) {
            plane->threads[to].hops_in[from] = plane->threads[from].hops_out[to];
        }
    }
    return 0;
}

static int make_threads(struct plane *plane, char *message, size_t message_size)
{
    for (uint32_t i = 0; i < plane->options.shard_count; i++) {
        plane->thread_count++;
        int rc = shard_thread_init(&plane->threads[i], plane, i, message, message_size);
        if (rc != 0) {
            return rc;
        }
        /* After a clean stop the actor is the same, and another cluster's have the same names. */
        uint64_t *begun = &plane->threads[i].moves.begun;
        if (getrandom(begun, sizeof *begun, 0) != sizeof *begun) {
            return -errno;
        }
    }
    return connect_hops(plane);
}

static void wake(void *context, uint32_t shard)
{
    struct plane *plane = context;

    mailbox_wake(&plane->threads[shard].mailbox);
}

/* What all threads use. Returns 0 or negative errno. */
static int make_shared(struct plane *plane)
{
    uint64_t seed;

    if (getrandom(&seed, sizeof seed, 0) != sizeof seed) {
        return -errno;
    }
    pubsub_init(&plane->pubsub, plane->options.memory, seed, wake, plane);
    pubsub_set_events(&plane->pubsub, plane->options.events);
    monitor_init(&plane->monitor, plane->options.memory, plane->options.shard_count, wake, plane);
    slowlog_init(&plane->slowlog, plane->options.memory, plane->options.slowlog_slower_than_us,
                 plane->options.slowlog_len, plane->options.now_ms, plane->options.clock);
    return 0;
}

int plane_create(const struct plane_options *options, struct plane **created, char *message,
                 size_t message_size)
{
    assert(options->now_ms != NULL && options->actor.node != 0);
    if (options->shard_count == 0 || options->shard_count > SHARDS_MAX) {
        snprintf(message, message_size, "%u shards: must be 1 to %d", options->shard_count,
                 SHARDS_MAX);
        return -EINVAL;
    }
    int rc = raise_files(options->limits.connections, message, message_size);
    if (rc != 0) {
        return rc;
    }
    struct plane *plane = calloc(1, sizeof *plane);
    if (plane == NULL) {
        return -ENOMEM;
    }
    plane->options = *options;
    if (plane->options.memory == NULL) {
        plane->options.memory = heap_memory();
    }
    rc = make_shared(plane);
    if (rc != 0) {
        free(plane);
        return rc;
    }
    plane->scripts.lock = (pthread_mutex_t)PTHREAD_MUTEX_INITIALIZER;
    rename_tags(plane->rename_tags);
    atomic_init(&plane->recovering, options->shard_count);
    for (int i = 0; i < LISTENERS; i++) {
        plane->listeners[i].fd = -1;
    }
    plane->node_name = strdup(options->node_name);
    plane->options.node_name = plane->node_name;
    plane->threads =
        aligned_alloc(64, options->shard_count * ((sizeof *plane->threads + 63) & ~63UL));
    rc = -ENOMEM;
    if (plane->node_name == NULL || plane->threads == NULL) {
        goto destroy;
    }
    rc = make_threads(plane, message, message_size);
    if (rc != 0) {
        goto destroy;
    }
    rc = listener_open(&plane->listeners[LISTENER_NATIVE], options->address, options->port, message,
                       message_size);
    if (rc == 0 && options->has_cluster_port) {
        rc = listener_open(&plane->listeners[LISTENER_CLUSTER], options->address,
                           options->cluster_port, message, message_size);
    }
    if (rc != 0) {
        goto destroy;
    }
    *created = plane;
    return 0;

destroy:
    plane_destroy(plane);
    return rc;
}

struct log_port *plane_log_port(struct plane *plane, uint32_t index)
{
    return &plane->threads[index].log.port;
}

struct door *plane_door(struct plane *plane, uint32_t index)
{
    return &plane->threads[index].door;
}

struct tracer *plane_tracer(struct plane *plane, uint32_t index)
{
    return &plane->threads[index].tracer;
}

void plane_attach(struct plane *plane, uint32_t index, struct shard *shard,
                  struct segments *segments, struct staging *staging, uint64_t lsn)
{
    plane->threads[index].shard = shard;
    log_writer_attach(&plane->threads[index].log, shard, segments, staging, lsn);
    if (plane->options.archive_wait_us != 0) {
        struct archive_gate *gate = &plane->threads[index].archive;
        gate->open = true;
        atomic_store(&gate->durable, lsn);
        atomic_store(&gate->appended, lsn);
        shard_set_archive(shard, lsn, plane->options.archive_wait_us);
    }
}

void plane_attach_loader(struct plane *plane, uint32_t index, struct loader_port *loader,
                         bool loads)
{
    plane->threads[index].loader = loader;
    plane->threads[index].loads = loads;
}

static void stop_threads(struct plane *plane)
{
    for (uint32_t i = 0; i < plane->started; i++) {
        struct mail *mail = NULL;
        while ((mail = mail_new(MAIL_STOP)) == NULL) {
            usleep(1000);
        }
        mailbox_post(&plane->threads[i].mailbox, mail);
    }
    for (uint32_t i = 0; i < plane->started; i++) {
        shard_thread_join(&plane->threads[i]);
    }
    plane->started = 0;
}

int plane_start(struct plane *plane)
{
    for (uint32_t i = 0; i < plane->options.shard_count; i++) {
        int rc = shard_thread_start(&plane->threads[i]);
        if (rc != 0) {
            /* The ones that never ran have nothing to answer. */
            atomic_fetch_add(&plane->draining, plane->options.shard_count - i);
            stop_threads(plane);
            return rc;
        }
        plane->started++;
    }
    return 0;
}

uint16_t plane_port(const struct plane *plane)
{
    return plane->listeners[LISTENER_NATIVE].port;
}

uint16_t plane_cluster_port(const struct plane *plane)
{
    return plane->listeners[LISTENER_CLUSTER].port;
}

int plane_stop(struct plane *plane)
{
    int rc = 0;

    stop_threads(plane);
    for (uint32_t i = 0; i < plane->options.shard_count; i++) {
        const struct log_writer *log = &plane->threads[i].log;
        if (log->stats.failed || !log_writer_idle(log)) {
            rc = -EIO;
        }
    }
    return rc;
}

void plane_destroy(struct plane *plane)
{
    if (plane == NULL) {
        return;
    }
    assert(plane->started == 0);
    for (uint32_t i = 0;
         i < plane->thread_count && plane->thread_count == plane->options.shard_count; i++) {
        cross_fini(&plane->threads[i]);
    }
    for (uint32_t i = 0; i < plane->thread_count; i++) {
        shard_thread_fini(&plane->threads[i]);
    }
    for (int i = 0; i < LISTENERS; i++) {
        if (plane->listeners[i].fd >= 0) {
            close(plane->listeners[i].fd);
        }
    }
    slowlog_fini(&plane->slowlog);
    monitor_fini(&plane->monitor);
    pubsub_fini(&plane->pubsub);
    free(plane->threads);
    free(plane->node_name);
    free(plane);
}

int plane_stats(struct plane *plane, uint32_t index, struct plane_shard_stats *stats)
{
    struct mailbox *mailbox = &plane->threads[index].mailbox;
    struct mail *mail = mail_new(MAIL_STATS);
    if (mail == NULL) {
        return -ENOMEM;
    }
    mailbox_post(mailbox, mail);
    int rc = mailbox_wait(mailbox, mail);
    if (rc == 0) {
        *stats = *mail->stats;
        mail_free(mail);
    }
    return rc;
}

void plane_admin_reply(struct plane *plane, uint64_t token, enum status status, const char *text,
                       struct bytes json)
{
    uint32_t shard = ticket_shard(token);
    struct mail *mail = mail_new(MAIL_ADMIN);

    assert(shard < plane->options.shard_count);
    if (mail == NULL) {
        return; /* The client's own deadline ends the call. */
    }
    mail->ticket = token;
    mail->status = status;
    mail->text = text == NULL ? NULL : strdup(text);
    mail->json = json.size == 0 ? NULL : malloc(json.size);
    if (mail->json != NULL) {
        memcpy(mail->json, json.data, json.size);
        mail->json_size = json.size;
    } else if (json.size > 0) {
        mail->status = STATUS_BUSY;
    }
    mailbox_post(&plane->threads[shard].mailbox, mail);
}

void plane_users_changed(struct plane *plane)
{
    for (uint32_t i = 0; i < plane->options.shard_count; i++) {
        struct mail *mail = mail_new(MAIL_USERS);
        if (mail != NULL) {
            mailbox_post(&plane->threads[i].mailbox, mail);
        }
    }
}

int plane_set_policies(struct plane *plane, const struct policies *policies)
{
    int rc = 0;

    for (uint32_t i = 0; i < plane->options.shard_count; i++) {
        struct mail *mail = mail_new(MAIL_POLICIES);
        if (mail != NULL) {
            mail->policies = policies;
            mailbox_post(&plane->threads[i].mailbox, mail);
        } else {
            rc = -ENOMEM;
        }
    }
    return rc;
}

int plane_set_client_map(struct plane *plane, uint64_t epoch, struct bytes map)
{
    for (uint32_t i = 0; i < plane->options.shard_count; i++) {
        struct mail *mail = mail_new(MAIL_MAP);
        char *copy = malloc(map.size);
        if (mail == NULL || copy == NULL) {
            free(mail);
            free(copy);
            return -ENOMEM;
        }
        memcpy(copy, map.data, map.size);
        mail->ticket = epoch;
        mail->json = copy;
        mail->json_size = map.size;
        mailbox_post(&plane->threads[i].mailbox, mail);
    }
    return 0;
}
