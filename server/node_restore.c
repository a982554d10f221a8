/* Bringing the sessions back: each shard's store gives its checkpoint and its log to the shard. */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "container.h"
#include "node_private.h"

static int restore_record(struct store_sink *sink, struct bytes record)
{
    return shard_restore_record(container_of(sink, struct node_shard, sink)->shard, record);
}

static int restore_delta(struct store_sink *sink, struct bytes delta)
{
    return shard_restore_delta(container_of(sink, struct node_shard, sink)->shard, delta);
}

static int restore_touch(struct store_sink *sink, struct bytes body)
{
    return shard_restore_touch(container_of(sink, struct node_shard, sink)->shard, body);
}

static int restore_bury(struct store_sink *sink, struct bytes record)
{
    return shard_restore_bury(container_of(sink, struct node_shard, sink)->shard, record);
}

static void *restore_shard(void *context)
{
    struct node_shard *shard = context;

    shard->sink = (struct store_sink){
        .record = restore_record,
        .delta = restore_delta,
        .touch = restore_touch,
        .bury = restore_bury,
    };
    shard->rc = store_restore(shard->store, &shard->sink, &shard->lsn);
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
            snprintf(message, message_size, "restoring shard %u: %s%s", i, strerror(-rc),
                     rc == -ENOMEM ? "; the sessions stored here need more memory" : "");
        }
    }
    return rc;
}

/* The clock goes on after the newest time of any session, and only then what has expired is known. */
static void finish(struct node *node)
{
    uint64_t hlc = node->directory.meta.clean_hlc;

    for (uint32_t i = 0; i < node->shard_count; i++) {
        uint64_t newest = shard_hlc(node->shards[i].shard);
        hlc = newest > hlc ? newest : hlc;
    }
    wall_clock_floor(node->world.clock, hlc_ms(hlc));
    for (uint32_t i = 0; i < node->shard_count; i++) {
        shard_restore_done(node->shards[i].shard, wall_clock_now_ms(node->world.clock));
    }
}

int node_restore(struct node *node, char *message, size_t message_size)
{
    uint64_t begin_ms = wall_clock_now_ms(node->world.clock);
    uint64_t sessions = 0;
    int failed = 0;

    for (uint32_t i = 0; i < node->shard_count && failed == 0; i++) {
        struct node_shard *shard = &node->shards[i];
        failed = pthread_create(&shard->thread, NULL, restore_shard, shard);
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
    finish(node);
    for (uint32_t i = 0; i < node->shard_count; i++) {
        sessions += shard_stats(node->shards[i].shard)->live;
    }
    logger_write(node->world.logger, LOG_LEVEL_INFO, "restored", LOG_NUMBER("sessions", sessions),
                 LOG_NUMBER("shards", node->shard_count), LOG_NUMBER("took_ms", took_ms));
    return 0;
}
