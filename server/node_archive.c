#include "node_archive.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "archive_key_file.h"
#include "archive_place.h"
#include "container.h"
#include "node_archive_private.h"
#include "status_page.h"

enum {
    KEEP_MS = 1000,
    PAUSE_MS = 100,
    PAUSE_MS_MAX = 5000,
    SLOW_MS = 3000,
    TRY_MS = 5000,   /* Of a request without progress... */
    CALL_MS = 60000, /* ... and of a call; then it is tried anew. */
    ASK_MS = 5000,   /* At the start. */
    END_MS = 5000,   /* What is left has so long to go out when the node stops. */
};

static uint64_t now_us(void)
{
    return uv_hrtime() / 1000;
}

static uint64_t now_ms(void)
{
    return uv_hrtime() / 1000000;
}

static uv_loop_t *loop_of(const struct node *node)
{
    return control_loop(node->world.control);
}

static struct logger *logger_of(const struct node_archive *archive)
{
    return archive->node->world.logger;
}

static void name_of(const struct node *node, uint64_t sequence, char name[ARCHIVE_NAME_BYTES])
{
    const struct directory_meta *meta = &node->directory.meta;
    struct archive_name parts = {.kind = ARCHIVE_LOG, .actor = meta->actor, .sequence = sequence};

    memcpy(parts.cluster, meta->cluster, sizeof parts.cluster);
    archive_name_put(name, &parts);
}

/* ---- The question at the start: may it be used, and which names are taken? ---- */

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
    name_of(archive->node, archive->sequence - 1, after);
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
    logger_write(logger_of(archive), LOG_LEVEL_WARN, "archive-silent", LOG_TEXT("cause", cause),
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
        .try_ms = TRY_MS,
        .call_ms = call_ms,
    };
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

/* What the marks of the shards say of the names that were given. Sessions may lie by another number of shards yet. */
static uint64_t next_sequence(const struct node *node)
{
    const struct directory_meta *meta = &node->directory.meta;
    uint64_t next = 1;

    for (uint32_t i = 0; i < meta->shards; i++) {
        char path[PATH_BYTES_MAX];
        struct archive_mark mark;
        if (directory_shard_path(&node->directory, meta->generation, i, path) == 0 &&
            archive_mark_read(files_system(), path, i, &mark) == 0 &&
            mark.actor.node == meta->actor.node && mark.actor.start == meta->actor.start &&
            mark.log_sequence >= next) {
            next = mark.log_sequence + 1;
        }
    }
    return next;
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
    archive_feed_init(&archive->feed, &node->memory, &archive->writer,
                      node->directory.meta.actor.node);
    archive->records.keys.memory = archive->records.found.memory = archive->found.memory =
        &node->memory;
    archive->sequence = next_sequence(node);
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

/* ---- The archiver's port ---- */

static struct node_archive *archive_of(struct archiver_port *port)
{
    return container_of(port, struct node_archive, port);
}

static void post(struct node_archive *archive, enum archive_job job)
{
    pthread_mutex_lock(&archive->lock);
    archive->job = job;
    archive->done = false;
    pthread_cond_signal(&archive->changed);
    pthread_mutex_unlock(&archive->lock);
}

static void on_build(struct archiver_port *port, uint64_t sequence, bool anew)
{
    struct node_archive *archive = archive_of(port);

    archive->job_sequence = sequence;
    archive->made_ms = wall_clock_now_ms(archive->node->world.clock);
    archive->anew = anew;
    for (uint32_t i = 0; i < archive->node->shard_count; i++) {
        archive->from[i] = archive->archiver.shards[i].archived;
        archive->to[i] = archive->archiver.shards[i].durable;
    }
    post(archive, ARCHIVE_JOB_BUILD);
}

static void on_keep(struct archiver_port *port)
{
    struct node_archive *archive = archive_of(port);

    archive->job_sequence = archive->archiver.sequence - 1;
    for (uint32_t i = 0; i < archive->node->shard_count; i++) {
        archive->to[i] = archive->archiver.shards[i].archived;
    }
    post(archive, ARCHIVE_JOB_KEEP);
}

static void step(struct node_archive *archive);

static void on_stored(void *context, const struct object_answer *answer)
{
    struct node_archive *archive = context;

    archive->storing = false;
    if (answer->rc == -ECANCELED) {
        return; /* The node stops. */
    }
    if (answer->rc == 0) {
        memcpy(archive->said, archive->to, sizeof archive->said);
    }
    archiver_stored(&archive->archiver, answer->rc,
                    answer->text[0] != '\0' ? answer->text : strerror(-answer->rc), now_ms(),
                    now_us() - archive->storing_us);
    step(archive);
}

static void on_store(struct archiver_port *port)
{
    struct node_archive *archive = archive_of(port);
    char name[ARCHIVE_NAME_BYTES];

    name_of(archive->node, archive->archiver.sequence, name);
    const struct object_call call = {
        .op = OBJECT_PUT,
        .name = name,
        .body = archive->object,
        .only_new = true,
        .done = on_stored,
        .context = archive,
    };
    archive->storing_us = now_us();
    archive->begin_rc = object_store_begin(archive->store, &call);
    archive->storing = archive->begin_rc == 0;
    if (!archive->storing) {
        uv_async_send(&archive->wake); /* Not from within. */
    }
}

static void on_archived(struct archiver_port *port, uint32_t shard, uint64_t lsn)
{
    plane_archived(archive_of(port)->node->plane, shard, lsn);
}

static void on_away(struct archiver_port *port, const char *text)
{
    struct node_archive *archive = archive_of(port);

    if (text != NULL) {
        logger_write(logger_of(archive), LOG_LEVEL_WARN, "archive-away", LOG_TEXT("cause", text),
                     LOG_TEXT("effect", "it is tried until it works; the log is kept meanwhile"));
    } else {
        logger_write(logger_of(archive), LOG_LEVEL_INFO, "archive-back");
    }
}

static void on_alarm(struct archiver_port *port, const char *text)
{
    logger_write(logger_of(archive_of(port)), LOG_LEVEL_ERROR, "archive-alarm",
                 LOG_TEXT("cause", text));
}

/* ---- Its steps ---- */

static void reach(struct node_archive *archive)
{
    for (uint32_t i = 0; i < archive->node->shard_count; i++) {
        struct plane_log_reach found;
        plane_log_reach(archive->node->plane, i, &found);
        archiver_reach(&archive->archiver, i, found.wanted, found.durable, found.appended);
    }
}

static void on_timer(uv_timer_t *timer)
{
    step(timer->data);
}

static void step(struct node_archive *archive)
{
    if (archive->closing) {
        return;
    }
    reach(archive);
    uint64_t wait_ms = archiver_step(&archive->archiver, now_ms());
    uv_timer_start(&archive->timer, on_timer, wait_ms, 0);
}

static void take_job(struct node_archive *archive)
{
    pthread_mutex_lock(&archive->lock);
    enum archive_job job = archive->done ? archive->job : ARCHIVE_JOB_NONE;
    if (archive->done) {
        archive->job = ARCHIVE_JOB_NONE;
        archive->done = false;
    }
    pthread_mutex_unlock(&archive->lock);
    if (job == ARCHIVE_JOB_BUILD) {
        archiver_built(&archive->archiver, &archive->built, now_ms());
    } else if (job == ARCHIVE_JOB_KEEP) {
        archiver_kept(&archive->archiver, archive->kept_rc, now_ms());
    }
}

/* The thread has done its job, writes wait for the archive, or a call could not be begun. */
static void on_wake(uv_async_t *wake)
{
    struct node_archive *archive = wake->data;

    if (archive->closing) {
        return;
    }
    take_job(archive);
    if (archive->begin_rc != 0) {
        int rc = archive->begin_rc;
        archive->begin_rc = 0;
        archiver_stored(&archive->archiver, rc, strerror(-rc), now_ms(), 0);
    }
    step(archive);
}

void node_archive_wanted(struct node *node)
{
    uv_async_send(&node->archive->wake);
}

/* ---- Life ---- */

static void begin_shards(struct node_archive *archive)
{
    struct node *node = archive->node;

    for (uint32_t i = 0; i < node->shard_count; i++) {
        struct archive_mark mark;
        store_archived(node->shards[i].store, &mark);
        /* Where the log has lost its end, what comes now takes the place of what was archived. */
        uint64_t lsn = mark.lsn < node->shards[i].lsn ? mark.lsn : node->shards[i].lsn;
        archive->based[i] = mark.based;
        archive->said[i] = lsn;
        archiver_begin(&archive->archiver, i, lsn, node->shards[i].lsn);
        plane_archived(node->plane, i, lsn);
    }
}

int node_archive_start(struct node *node)
{
    struct node_archive *archive = node->archive;
    const struct config *config = node->world.config;
    const struct archiver_settings settings = {
        .shard_count = node->shard_count,
        .flush_ms = config->archive_flush,
        .object_bytes = config->archive_object_size,
        .keep_ms = KEEP_MS,
        .slow_ms = SLOW_MS,
        .pause_ms = PAUSE_MS,
        .pause_max_ms = PAUSE_MS_MAX,
    };

    if (archive == NULL) {
        return 0;
    }
    archive->port = (struct archiver_port){
        .build = on_build,
        .store = on_store,
        .archived = on_archived,
        .keep = on_keep,
        .away = on_away,
        .alarm = on_alarm,
    };
    archiver_init(&archive->archiver, &settings, &archive->port, archive->sequence, now_ms());
    begin_shards(archive);
    int rc = uv_async_init(loop_of(node), &archive->wake, on_wake);
    if (rc != 0) {
        return rc;
    }
    rc = uv_timer_init(loop_of(node), &archive->timer);
    archive->wake.data = archive->timer.data = archive;
    archive->handles = 2;
    archive->began = true;
    if (rc == 0) {
        rc = -pthread_create(&archive->thread, NULL, node_archive_main, archive);
        archive->runs = rc == 0;
    }
    if (rc == 0 && archive->asked_rc != 0) {
        archiver_trouble(&archive->archiver, archive->asked_text, now_ms());
    }
    if (rc == 0) {
        step(archive);
    }
    return rc;
}

static void on_closed(uv_handle_t *handle)
{
    struct node_archive *archive = handle->data;

    archive->handles--;
}

/* What is durable goes out, as long as the archive takes it. */
static void send_rest(struct node_archive *archive)
{
    uint64_t end_ms = now_ms() + END_MS;

    archive->stopped = true;
    archiver_end(&archive->archiver);
    step(archive);
    while (!archiver_is_done(&archive->archiver) && archive->archiver.away_ms == 0 &&
           now_ms() < end_ms) {
        uv_run(loop_of(archive->node), UV_RUN_ONCE); /* The timer comes within a second. */
    }
}

static void end_thread(struct node_archive *archive)
{
    pthread_mutex_lock(&archive->lock);
    archive->job = ARCHIVE_JOB_END;
    pthread_cond_signal(&archive->changed);
    pthread_mutex_unlock(&archive->lock);
    pthread_join(archive->thread, NULL);
    archive->runs = false;
}

void node_archive_stop(struct node *node, bool send)
{
    struct node_archive *archive = node->archive;

    if (archive == NULL) {
        return;
    }
    if (archive->runs && send) {
        send_rest(archive);
    }
    archive->closing = true;
    if (archive->runs) {
        end_thread(archive);
    }
    object_store_destroy(archive->store);
    archive->store = NULL;
    if (archive->began) {
        uv_close((uv_handle_t *)&archive->wake, on_closed);
        uv_close((uv_handle_t *)&archive->timer, on_closed);
    }
    while (archive->handles > 0 || archive->storing) {
        uv_run(loop_of(node), UV_RUN_ONCE);
    }
}

void node_archive_close(struct node *node)
{
    struct node_archive *archive = node->archive;

    if (archive == NULL) {
        return;
    }
    archive_keys_wipe(&archive->keys);
    archive_feed_fini(&archive->feed);
    archive_writer_fini(&archive->writer);
    buffer_fini(&archive->records.keys);
    buffer_fini(&archive->records.found);
    buffer_fini(&archive->found);
    pthread_cond_destroy(&archive->changed);
    pthread_mutex_destroy(&archive->lock);
    free(archive);
    node->archive = NULL;
}

/* ---- What it tells ---- */

void node_archive_figures(struct node *node, struct metrics_archive *to)
{
    struct node_archive *archive = node->archive;

    *to = (struct metrics_archive){.there = archive != NULL && archive->began};
    if (!to->there) {
        return;
    }
    const struct archiver *archiver = &archive->archiver;
    const struct archiver_figures *figures = &archiver->figures;
    reach(archive);
    to->away = archiver->away_ms != 0;
    to->away_for_ms = to->away ? now_ms() - archiver->away_ms : 0;
    snprintf(to->cause, sizeof to->cause, "%s", archiver->text);
    to->url = node->world.config->archive_url;
    to->behind_ms = archiver_behind_ms(archiver, now_ms());
    to->behind_bytes = archiver_behind_bytes(archiver);
    to->objects = figures->objects;
    to->records = figures->records;
    to->raw_bytes = figures->raw_bytes;
    to->object_bytes = figures->object_bytes;
    to->failures = figures->failures;
    to->conflicts = figures->conflicts;
    to->gap_bytes = figures->gap_bytes;
    to->baseless = figures->baseless;
    to->stored_ms_ago = figures->stored_ms == 0 ? 0 : now_ms() - figures->stored_ms;
    to->sequence = archiver->sequence;
    to->store_us = figures->store_us;
    to->based = true;
    for (uint32_t i = 0; i < node->shard_count; i++) {
        struct store_stats stats;
        store_stats(node->shards[i].store, &stats);
        to->kept_bytes += stats.kept_bytes;
        to->based = to->based && archive->based[i];
    }
}

char *node_archive_json(struct node *node)
{
    struct metrics_archive *figures = malloc(sizeof *figures);

    if (figures == NULL) {
        return NULL;
    }
    node_archive_figures(node, figures);
    char *json = status_archive_json(figures);
    free(figures);
    return json;
}
