#include "node_shards.h"

#include <stdio.h>
#include <string.h>

#include "node_archive.h"
#include "node_private.h"

static int open_store(struct node *node, struct node_shard *shard, char *message,
                      size_t message_size)
{
    const struct config *config = node->world.config;
    char path[PATH_BYTES_MAX];
    const struct directory_meta *meta = &node->directory.meta;
    int rc = directory_shard_path(&node->directory, meta->generation, shard->index, path);

    if (rc != 0) {
        snprintf(message, message_size, "%s: %s", config->storage_dir, strerror(-rc));
        return rc;
    }
    const struct store_options options = {
        .directory = path,
        .shard = shard->index,
        .used = !node->directory.created,
        .actor = meta->actor,
        .seed = meta->seed,
        .record_bytes_max = node->record_bytes_max,
        .segment_bytes = config->storage_segment_size,
        .bytes_max = config->storage_disk_limit / node->shard_count,
        .archives = node->archive != NULL,
        .archive_backlog_bytes = node_archive_backlog(node),
        .archive_place = node_archive_place_id(node),
        .load_bytes_max = config->memory_limit / node->shard_count / 2,
        .memory = &node->memory,
        .reporter = &node->reporter,
    };
    return store_open(&options, &shard->store, message, message_size);
}

/* A life that went on has none before it. */
static struct actor actor_before(const struct directory *directory)
{
    const struct actor actor = directory->meta.actor;

    if (directory->created || directory->copied || directory->resumed || actor.start < 2) {
        return (struct actor){0};
    }
    return (struct actor){.node = actor.node, .start = actor.start - 1};
}

static int open_shard(struct node *node, struct node_shard *shard, char *message,
                      size_t message_size)
{
    const struct config *config = node->world.config;
    int rc = open_store(node, shard, message, message_size);

    if (rc != 0) {
        return rc;
    }
    const struct shard_options options = {
        .index = shard->index,
        .seed = node->directory.meta.seed,
        .actor = node->directory.meta.actor,
        .before = actor_before(&node->directory),
        .hlc = node->directory.meta.clean_hlc,
        .gone_hlc = node->directory.created ? 0 : hlc_of_ms(wall_clock_now_ms(node->world.clock)),
        .memory_max = config->memory_limit / node->shard_count,
        .queue_delay_ms = (uint32_t)config->limits_queue_delay,
        .policies = node->policies,
        .memory = &node->memory,
        .log = plane_log_port(node->plane, shard->index),
        .loader = store_loader(shard->store),
        .door = plane_door(node->plane, shard->index),
        .tracer = plane_tracer(node->plane, shard->index),
    };
    rc = shard_create(&options, &shard->shard);
    if (rc != 0) {
        snprintf(message, message_size, "shard %u: %s", shard->index, strerror(-rc));
    }
    return rc;
}

int node_shards_open(struct node *node, char *message, size_t message_size)
{
    int rc = 0;

    for (uint32_t i = 0; i < node->shard_count && rc == 0; i++) {
        rc = open_shard(node, &node->shards[i], message, message_size);
    }
    return rc;
}

int node_shards_start(struct node *node, char *message, size_t message_size)
{
    for (uint32_t i = 0; i < node->shard_count; i++) {
        struct node_shard *shard = &node->shards[i];
        int rc = store_start(shard->store);
        if (rc != 0) {
            char path[PATH_BYTES_MAX] = "";
            (void)directory_shard_path(&node->directory, node->directory.meta.generation, i, path);
            snprintf(message, message_size, "%s: cannot prepare a file of the log: %s", path,
                     strerror(-rc));
            return rc;
        }
        plane_attach(node->plane, i, shard->shard, store_segments(shard->store),
                     store_staging(shard->store), shard->lsn);
    }
    return 0;
}

void node_shards_close(struct node *node)
{
    for (uint32_t i = 0; i < node->shard_count; i++) {
        if (node->shards[i].store != NULL) {
            store_close(node->shards[i].store);
        }
        if (node->shards[i].shard != NULL) {
            shard_destroy(node->shards[i].shard);
        }
    }
}
