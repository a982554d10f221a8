/* Bringing the sessions back: each shard's store finds its checkpoint and its log, and its loader gives them to
 * the shard while that serves. */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "node_private.h"

static void *prepare_shard(void *context)
{
    struct node_shard *shard = context;

    shard->rc = store_prepare(shard->store, &shard->lsn, &shard->hlc, &shard->loads);
    return NULL;
}

static int join(struct node *node, char *message, size_t message_size)
{
    int rc = 0;

    for (uint32_t i = 0; i < node->shard_count; i++) {
        struct node_shard *shard = &node->shards[i];
        if (!shard->thread_runs) {
            continue;
        }
        pthread_join(shard->thread, NULL);
        shard->thread_runs = false;
        if (rc == 0 && shard->rc != 0) {
            rc = shard->rc;
            const char *file = store_failed(shard->store);
            snprintf(message, message_size, "restoring shard %u: %s%s%s", i, file,
                     file[0] != '\0' ? ": " : "", strerror(-rc));
        }
    }
    return rc;
}

/* The clock goes on after the newest time of any session, and only then what has expired is known. */
static void begin(struct node *node)
{
    uint64_t hlc = node->directory.meta.clean_hlc;

    for (uint32_t i = 0; i < node->shard_count; i++) {
        hlc = node->shards[i].hlc > hlc ? node->shards[i].hlc : hlc;
    }
    const uint64_t before_ms = wall_clock_now_ms(node->world.clock);
    wall_clock_floor(node->world.clock, hlc_ms(hlc));
    node->floor_ms = wall_clock_now_ms(node->world.clock) - before_ms;
    for (uint32_t i = 0; i < node->shard_count; i++) {
        struct node_shard *shard = &node->shards[i];
        uint64_t now_ms = wall_clock_now_ms(node->world.clock);
        atomic_fetch_add(&shard->checkpoint_at_ms, node->floor_ms);
        if (shard->loads) {
            shard_loading_begin(shard->shard, store_loader(shard->store), shard->hlc, now_ms);
        } else {
            shard_restore_done(shard->shard, now_ms);
        }
        plane_attach_loader(node->plane, i, store_loader(shard->store), shard->loads);
    }
}

int node_restore(struct node *node, char *message, size_t message_size)
{
    uint64_t begin_ms = wall_clock_now_ms(node->world.clock);
    int failed = 0;

    for (uint32_t i = 0; i < node->shard_count && failed == 0; i++) {
        struct node_shard *shard = &node->shards[i];
        failed = pthread_create(&shard->thread, NULL, prepare_shard, shard);
        shard->thread_runs = failed == 0;
    }
    int rc = join(node, message, message_size);
    if (failed != 0) {
        snprintf(message, message_size, "cannot make a thread: %s", strerror(failed));
        return -failed;
    }
    if (rc != 0) {
        return rc;
    }
    uint64_t took_ms = wall_clock_now_ms(node->world.clock) - begin_ms;
    begin(node);
    logger_write(node->world.logger, LOG_LEVEL_INFO, "prepared",
                 LOG_NUMBER("shards", node->shard_count), LOG_NUMBER("took_ms", took_ms));
    return 0;
}
