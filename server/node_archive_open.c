/* Opening the archive: may it be used, with which keys, and which names are taken? */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "archive_key_file.h"
#include "archive_place.h"
#include "node_archive.h"
#include "node_archive_private.h"

enum {
    TRY_MS = 5000,   /* Of a request without progress... */
    CALL_MS = 60000, /* ... and of a call; then it is tried anew. */
    ASK_MS = 5000,   /* At the start. */
};

static uv_loop_t *loop_of(const struct node *node)
{
    return control_loop(node->world.control);
}

static void on_listed(void *context, const struct object_answer *answer)
{
    struct node_archive *archive = context;

    archive->asked = true;
    archive->asked_rc = answer->rc;
    archive->asked_more = answer->rc == 0 && answer->more && answer->listed_count > 0;
    snprintf(archive->asked_text, sizeof archive->asked_text, "%s", answer->text);
    for (uint32_t i = 0; answer->rc == 0 && i < answer->listed_count; i++) {
        struct archive_name name;
        if (archive_name_parse(answer->listed[i].name, &name) == 0 &&
            name.sequence >= archive->sequence) {
            archive->sequence = name.sequence + 1;
        }
    }
    uv_stop(loop_of(archive->node));
}

/* Names behind those that the node knows it has given: after a clean stop it is the same actor. */
static int ask_once(struct node_archive *archive)
{
    const struct directory_meta *meta = &archive->node->directory.meta;
    char prefix[ARCHIVE_NAME_BYTES], after[ARCHIVE_NAME_BYTES];

    archive_name_prefix(prefix, ARCHIVE_LOG, meta->cluster, meta->actor);
    const struct archive_name last =
        archive_name_of(archive, ARCHIVE_LOG, archive->sequence - 1, 0);
    archive_name_put(after, &last);
    const struct object_call call = {
        .op = OBJECT_LIST, .name = prefix, .after = after, .done = on_listed, .context = archive};
    archive->asked = archive->asked_more = false;
    int rc = object_store_begin(archive->store, &call);
    if (rc == 0) {
        uv_run(loop_of(archive->node), UV_RUN_DEFAULT); /* Until on_listed(), or a signal. */
        rc = archive->asked ? archive->asked_rc : -EINTR;
    }
    return rc;
}

static bool is_refusal(int rc)
{
    return rc == -EACCES || rc == -ENXIO || rc == -ETIME || rc == -EINTR || rc == -EINVAL;
}

static int ask(struct node_archive *archive, char *message, size_t message_size)
{
    int rc;

    do {
        rc = ask_once(archive);
    } while (rc == 0 && archive->asked_more);
    if (rc == 0) {
        return 0;
    }
    const char *cause = archive->asked && archive->asked_text[0] != '\0' ? archive->asked_text
                        : rc == -EINTR                                   ? "interrupted"
                                                                         : strerror(-rc);
    if (is_refusal(rc)) {
        snprintf(message, message_size, "the archive at %.300s: %s",
                 archive->node->world.config->archive_url, cause);
        return rc;
    }
    logger_write(archive->node->world.logger, LOG_LEVEL_WARN, "archive-silent",
                 LOG_TEXT("cause", cause),
                 LOG_TEXT("effect", "writes of level archive wait, all others go on"));
    return 0;
}

struct archive_place node_archive_place(const struct node *node, uint32_t call_ms)
{
    const struct config *config = node->world.config;

    return (struct archive_place){
        .url = config->archive_url,
        .endpoint = config->archive_endpoint,
        .region = config->archive_region,
        .ca_file = config->archive_ca_file,
        .credentials_file = config->archive_credentials_file,
        .path_style = config->archive_path_style != 0,
        .writes = true,
        .try_ms = TRY_MS,
        .call_ms = call_ms,
    };
}

uint64_t node_archive_place_id(const struct node *node)
{
    const struct archive_place place = node_archive_place(node, CALL_MS);

    return node->archive == NULL ? 0 : archive_place_id(&place);
}

static int open_place(const struct node_archive *archive, uint32_t call_ms,
                      struct object_store **store, char *message, size_t message_size)
{
    const struct archive_place place = node_archive_place(archive->node, call_ms);
    char cause[512] = "";

    int rc = archive_place_open(loop_of(archive->node), &place, store, cause, sizeof cause);
    if (rc != 0) {
        snprintf(message, message_size, "the archive: %s",
                 cause[0] != '\0' ? cause : strerror(-rc));
    }
    return rc;
}

static void tell_other_place(const struct node *node)
{
    logger_write(node->world.logger, LOG_LEVEL_INFO, "archive-elsewhere",
                 LOG_TEXT("archive", node->world.config->archive_url),
                 LOG_TEXT("cause", "this node archived elsewhere before"),
                 LOG_TEXT("effect", "a checkpoint of everything comes first"));
}

/* What the marks of the shards say of the names that were given here. Sessions may lie by another number of shards yet. */
static void read_sequences(const struct node *node, uint64_t *log, uint64_t *checkpoint)
{
    const struct directory_meta *meta = &node->directory.meta;
    const uint64_t place = node_archive_place_id(node);
    bool elsewhere = false;

    *log = *checkpoint = 1;
    for (uint32_t i = 0; i < meta->shards; i++) {
        char path[PATH_BYTES_MAX];
        struct archive_mark mark;
        if (directory_shard_path(&node->directory, meta->generation, i, path) != 0 ||
            archive_mark_read(files_system(), path, i, &mark) != 0) {
            continue;
        }
        elsewhere = elsewhere || mark.place != place;
        if (mark.place != place || mark.actor.node != meta->actor.node ||
            mark.actor.start != meta->actor.start) {
            continue;
        }
        *log = mark.log_sequence >= *log ? mark.log_sequence + 1 : *log;
        *checkpoint =
            mark.checkpoint_sequence >= *checkpoint ? mark.checkpoint_sequence + 1 : *checkpoint;
    }
    if (elsewhere) {
        tell_other_place(node);
    }
}

static int read_keys(struct node_archive *archive, char *message, size_t message_size)
{
    char cause[512] = "";

    int rc = archive_key_file_read(&archive->keys, archive->node->world.config->archive_key_file,
                                   cause, sizeof cause);
    if (rc == -ENOENT && cause[0] == '\0') {
        archive->keys.count = 0;
        return 0;
    }
    if (rc != 0) {
        snprintf(message, message_size, "the archive's keys: %s",
                 cause[0] != '\0' ? cause : strerror(-rc));
    }
    return rc;
}

int node_archive_open(struct node *node, char *message, size_t message_size)
{
    struct object_store *first = NULL;

    if (node->world.config->archive_url[0] == '\0') {
        return 0;
    }
    struct node_archive *archive = calloc(1, sizeof *archive);
    if (archive == NULL) {
        return -ENOMEM;
    }
    archive->node = node;
    node->archive = archive;
    pthread_mutex_init(&archive->lock, NULL);
    pthread_cond_init(&archive->changed, NULL);
    archive_writer_init(&archive->writer, &node->memory);
    archive_feed_init(&archive->feed, &node->memory, &archive->writer, node->directory.meta.actor);
    archive->records.keys.memory = archive->records.found.memory = archive->found.memory =
        &node->memory;
    uint64_t checkpoint;
    read_sequences(node, &archive->sequence, &checkpoint);
    archive_side_init(archive, checkpoint);
    int rc = read_keys(archive, message, message_size);
    if (rc == 0) {
        rc = open_place(archive, ASK_MS, &first, message, message_size);
    }
    if (rc == 0) {
        archive->store = first;
        rc = ask(archive, message, message_size);
        object_store_destroy(first);
        archive->store = NULL;
    }
    return rc != 0 ? rc : open_place(archive, CALL_MS, &archive->store, message, message_size);
}

uint64_t node_archive_backlog(const struct node *node)
{
    const struct config *config = node->world.config;
    uint64_t backlog = config->archive_backlog, half = config->storage_disk_limit / 2;

    if (half != 0 && backlog > half) {
        backlog = half;
    }
    return backlog / node->shard_count;
}
