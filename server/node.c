#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "convert.h"
#include "eras.h"
#include "events.h"
#include "machine.h"
#include "node_archive.h"
#include "node_cluster.h"
#include "node_join.h"
#include "node_peers.h"
#include "node_policies.h"
#include "node_private.h"
#include "node_recover.h"
#include "node_retention.h"
#include "node_shards.h"
#include "node_users.h"
#include "pages.h"
#include "resp.h"

/* ---- What shards tell; on their threads ---- */

static void on_admin(void *context, uint64_t token, struct bytes command, struct bytes argument)
{
    struct node *node = context;

    int rc = control_post_admin(node->world.control, token, command, argument);
    if (rc == -EMSGSIZE) {
        plane_admin_reply(node->plane, token, STATUS_INVALID,
                          "the command or its argument is too long", bytes_of(NULL, 0));
    } else if (rc != 0) {
        plane_admin_reply(node->plane, token, STATUS_BUSY, NULL, bytes_of(NULL, 0));
    }
}

static void on_trace(void *context, uint32_t shard, enum trace_event event, uint64_t a,
                     struct bytes text)
{
    struct node *node = context;

    if (event == TRACE_LOG_FULL || event == TRACE_LOG_FAILED || event == TRACE_LOG_RESUMED) {
        node_cluster_condition(node, shard,
                               event == TRACE_LOG_FULL     ? CONDITION_DISK_FULL
                               : event == TRACE_LOG_FAILED ? CONDITION_LOG_FAILED
                                                           : 0);
    }
    control_post_trace(node->world.control, shard, event, a, text);
}

static void on_link_lost(void *context, uint32_t shard, uint32_t other, uint32_t other_shard,
                         bool dialled)
{
    node_peers_link_lost(context, shard, other, other_shard, dialled);
}

static void on_level(void *context, uint32_t shard, uint32_t slot,
                     const struct slot_owners *targets)
{
    (void)shard;
    node_cluster_level(context, slot, targets);
}

static void on_archive_wanted(void *context, uint32_t shard)
{
    (void)shard;
    node_archive_wanted(context);
}

static void on_restore_wanted(void *context, uint32_t slot)
{
    node_recover_wanted(context, slot);
}

/* ---- Opening ---- */

/* Threads inherit it: signals then come to the control loop only. */
static void block_signals(sigset_t *before)
{
    sigset_t ours;

    sigemptyset(&ours);
    sigaddset(&ours, SIGTERM);
    sigaddset(&ours, SIGINT);
    sigaddset(&ours, SIGHUP);
    pthread_sigmask(SIG_BLOCK, &ours, before);
}

static int open_directory(struct node *node, char *message, size_t message_size)
{
    const struct config *config = node->world.config;
    const struct join_token *token = node->world.token;
    const struct directory_entrance entrance = {
        .cluster = token != NULL ? token->cluster : NULL,
        .enter = node_join_enter,
        .context = node,
    };
    int rc = directory_was_removed(files_system(), config->storage_dir, message, message_size);

    if (rc == 0 && node->world.lost != NULL) {
        rc = directory_check_used(files_system(), config->storage_dir, message, message_size);
    }
    if (rc == 0) {
        rc =
            directory_open(&node->directory, files_system(), config->storage_dir, node->shard_count,
                           token != NULL ? &entrance : NULL, message, message_size);
    }

    if (rc != 0) {
        return rc;
    }
    node->directory_open = true;
    const struct directory_meta *meta = &node->directory.meta;
    logger_write(node->world.logger, LOG_LEVEL_INFO, "data-directory",
                 LOG_TEXT("path", config->storage_dir), LOG_NUMBER("actor_node", meta->actor.node),
                 LOG_NUMBER("actor_start", meta->actor.start), LOG_NUMBER("shards", meta->shards),
                 LOG_TEXT("last_stop", node->directory.created   ? "new"
                                       : node->directory.copied  ? "copied"
                                       : node->directory.resumed ? "clean"
                                                                 : "crash"));
    return 0;
}

/* Sessions lie by shard: where there are more or fewer threads than last time they move first. */
static int convert(struct node *node, char *message, size_t message_size)
{
    uint32_t before = node->directory.meta.shards;
    uint64_t begin_ms = wall_clock_now_ms(node->world.clock);
    const struct convert_options options = {
        .record_bytes_max = node->record_bytes_max,
        .memory = &node->memory,
        .reporter = &node->reporter,
    };

    if (before == node->shard_count) {
        return 0;
    }
    logger_write(node->world.logger, LOG_LEVEL_INFO, "converting", LOG_NUMBER("from", before),
                 LOG_NUMBER("to", node->shard_count));
    int rc = convert_shards(&node->directory, &options, node->shard_count, message, message_size);
    if (rc == 0) {
        logger_write(node->world.logger, LOG_LEVEL_INFO, "converted", LOG_NUMBER("from", before),
                     LOG_NUMBER("to", node->shard_count),
                     LOG_NUMBER("took_ms", wall_clock_now_ms(node->world.clock) - begin_ms));
    }
    return rc;
}

static int open_plane(struct node *node, char *message, size_t message_size)
{
    const struct config *config = node->world.config;
    uint32_t events = 0;
    int64_t slower_than_us = -1;

    (void)events_parse(bytes_of_string(config->resp_notify_keyspace_events),
                       &events); /* Checked, both. */
    (void)resp_integer(bytes_of_string(config->resp_slowlog_log_slower_than), &slower_than_us);
    const struct plane_options options = {
        .node_name = node->name,
        .address = config->listen_address,
        .port = (uint16_t)config->listen_port,
        .has_cluster_port = true,
        .cluster_port = (uint16_t)config->listen_cluster_port,
        .shard_count = node->shard_count,
        .limits =
            {
                .connections = (uint32_t)config->limits_connections,
                .in_flight = (uint32_t)config->limits_in_flight,
                .frame_bytes = (uint32_t)config->limits_frame,
                .output_bytes = config->limits_output_buffer,
                .queue_delay_ms = (uint32_t)config->limits_queue_delay,
                .log_interval_ms = (uint32_t)config->storage_log_interval,
            },
        .cluster =
            {
                .heal_bytes_per_s =
                    (config->cluster_heal_rate + node->shard_count - 1) / node->shard_count,
                .heal_percent = (uint32_t)config->cluster_heal_share,
                .silence_ms = (uint32_t)config->cluster_link_silent,
                .hold_ms = (uint32_t)config->cluster_switch_hold,
                .skew_ms = (uint32_t)config->cluster_max_clock_skew,
                .level = on_level,
            },
        .users = node->roster,
        .logins = node->logins,
        .allow_flush = config->resp_allow_flush != 0,
        .slowlog_slower_than_us = slower_than_us,
        .slowlog_len = (uint32_t)config->resp_slowlog_max_len,
        .events = events,
        .actor = node->directory.meta.actor,
        .run = node->directory.meta.run,
        .memory = &node->memory,
        .now_ms = wall_clock_read,
        .clock = node->world.clock,
        .admin = on_admin,
        .archive_wait_us = node->archive == NULL ? 0 : config->archive_timeout * 1000,
        .archive_wanted = on_archive_wanted,
        .restore_wanted = on_restore_wanted,
        .trace = on_trace,
        .link_lost = on_link_lost,
        .context = node,
    };

    return plane_create(&options, &node->plane, message, message_size);
}

static int open_all(struct node *node, char *message, size_t message_size)
{
    int rc = open_directory(node, message, message_size);

    if (rc == 0) {
        rc = node_archive_open(node, message, message_size);
    }
    if (rc == 0) {
        rc = node_cluster_open(node, message, message_size);
    }
    if (rc == 0) {
        rc = node_policies_open(node);
    }
    if (rc == 0) {
        rc = convert(node, message, message_size);
    }
    if (rc == 0) {
        rc = node_users_open(node, message, message_size);
    }
    if (rc == 0) {
        rc = open_plane(node, message, message_size);
    }
    if (rc == 0) {
        rc = node_shards_open(node, message, message_size);
    }
    if (rc == 0) {
        rc = node_restore(node, message, message_size);
    }
    if (rc == 0) {
        rc = node_shards_start(node, message, message_size);
    }
    return rc;
}

static struct node *make_node(const struct node_world *world)
{
    uint32_t count = (uint32_t)world->config->node_shards;
    struct node *node = calloc(1, sizeof *node);
    struct node_shard *shards = calloc(count, sizeof *shards);
    struct metrics_shard *metrics = calloc(count, sizeof *metrics);

    if (node == NULL || shards == NULL || metrics == NULL) {
        free(node);
        free(shards);
        free(metrics);
        return NULL;
    }
    node->world = *world;
    node->reporter.report = node_report_store;
    node->shard_count = count;
    node->shards = shards;
    node->metrics = (struct metrics){
        .version = BELAY_VERSION,
        .node_name = node->name,
        .start_ms = wall_clock_now_ms(world->clock),
        .memory_limit = world->config->memory_limit,
        .shard_count = count,
        .shards = metrics,
    };
    pages_init(&node->memory);
    node->record_bytes_max = config_largest_session(world->config);
    for (uint32_t i = 0; i < count; i++) {
        shards[i].node = node;
        shards[i].index = i;
        atomic_init(&shards[i].checkpoint_at_ms, node->metrics.start_ms);
    }
    return node;
}

int node_open(const struct node_world *world, struct node **node, char *message,
              size_t message_size)
{
    sigset_t signals;
    struct node *made = make_node(world);

    if (made == NULL) {
        return -ENOMEM;
    }
    block_signals(&signals);
    int rc = open_all(made, message, message_size);
    pthread_sigmask(SIG_SETMASK, &signals, NULL);
    if (rc != 0) {
        node_close(made);
        return rc;
    }
    *node = made;
    return 0;
}

int node_start(struct node *node, char *message, size_t message_size)
{
    sigset_t signals;

    int rc = node_cluster_start(node, message, message_size);
    if (rc != 0) {
        return rc;
    }
    block_signals(&signals);
    rc = node_archive_start(node);
    rc = rc != 0 ? rc : node_retention_start(node);
    rc = rc != 0 ? rc : node_recover_start(node);
    if (rc != 0) {
        pthread_sigmask(SIG_SETMASK, &signals, NULL);
        snprintf(message, message_size, "cannot start archiving: %s", strerror(-rc));
        return rc;
    }
    rc = plane_start(node->plane);
    pthread_sigmask(SIG_SETMASK, &signals, NULL);
    if (rc != 0) {
        snprintf(message, message_size, "cannot start the shards' threads: %s", strerror(-rc));
        return rc;
    }
    node->started = true;
    return 0;
}

bool node_was_removed(const struct node *node)
{
    return node->removed;
}

const char *node_name(const struct node *node)
{
    return node->name;
}

uint16_t node_port(const struct node *node)
{
    return plane_port(node->plane);
}

/* ---- Closing ---- */

/* Everything is durable and no thread runs: the next start may go on as the same actor, unless that has more than one era. */
static int mark_clean(struct node *node)
{
    uint64_t hlc = node->directory.meta.clean_hlc;

    for (uint32_t i = 0; i < node->shard_count; i++) {
        uint64_t newest = shard_hlc(node->shards[i].shard);
        hlc = newest > hlc ? newest : hlc;
        if (shard_eras(node->shards[i].shard)->begun) {
            logger_write(node->world.logger, LOG_LEVEL_INFO, "actor-ends",
                         LOG_TEXT("cause", "it took over slots that nobody else had any more"),
                         LOG_TEXT("effect", "the next start is another actor, as after a crash"));
            return 0;
        }
    }
    return directory_stop(&node->directory, hlc);
}

/* A start that was refused before anything was served has given out no stamp: it is no crash. Where this fails
 * it counts as one, which costs a number. */
static void withdraw(struct node *node)
{
    const struct directory *directory = &node->directory;

    if (node->directory_open && (directory->created || directory->copied || directory->resumed)) {
        (void)directory_stop(&node->directory, directory->meta.clean_hlc);
    }
}

int node_close(struct node *node)
{
    int rc = 0;

    node_recover_stop(node);
    if (node->started) {
        rc = plane_stop(node->plane);
    }
    node_cluster_stop(node);
    node_retention_stop(node);
    node_archive_stop(node, node->started && rc == 0);
    for (uint32_t i = 0; i < node->shard_count; i++) {
        if (node->shards[i].store != NULL) {
            store_stop(node->shards[i].store);
        }
    }
    if (!node->started) {
        withdraw(node);
    } else if (rc == 0) {
        rc = mark_clean(node);
    }
    if (rc != 0) {
        logger_write(node->world.logger, LOG_LEVEL_ERROR, "stop-unclean",
                     LOG_TEXT("cause", strerror(-rc)),
                     LOG_TEXT("effect", "the log was not written out; see the lines before"));
    }
    logins_destroy(node->logins);
    plane_destroy(node->plane);
    node_recover_close(node);
    roster_destroy(node->roster);
    node_cluster_close(node);
    node_shards_close(node);
    node_archive_close(node);
    node_policies_close(node);
    if (node->directory_open) {
        directory_close(&node->directory);
    }
    free(node->metrics.shards);
    free(node->shards);
    free(node);
    return rc;
}
