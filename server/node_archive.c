#include "node_archive.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "container.h"
#include "node_archive_private.h"
#include "node_recover.h"

enum {
    KEEP_MS = 1000,
    PAUSE_MS = 100,
    PAUSE_MS_MAX = 5000,
    SLOW_MS = 3000,
    GATHER_MS_MAX = 20,
    END_MS = 5000, /* What is left has so long to go out when the node stops. */
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

struct archive_name archive_name_of(const struct node_archive *archive, enum archive_kind kind,
                                    uint64_t sequence, uint32_t part)
{
    const struct directory_meta *meta = &archive->node->directory.meta;
    struct archive_name name = {
        .kind = kind, .actor = meta->actor, .sequence = sequence, .part = part};

    memcpy(name.cluster, meta->cluster, sizeof name.cluster);
    return name;
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

static void on_build(struct archiver_port *port, uint64_t sequence, bool anew, bool bare)
{
    struct node_archive *archive = archive_of(port);

    archive->job_sequence = sequence;
    archive->made_ms = wall_clock_now_ms(archive->node->world.clock);
    archive->anew = anew;
    archive->bare = bare;
    for (uint32_t i = 0; i < archive->node->shard_count; i++) {
        const struct archiver_shard *shard = &archive->archiver.shards[i];
        archive->from[i] = shard->archived;
        archive->to[i] = bare ? shard->archived : shard->durable;
    }
    if (!bare) {
        memcpy(archive->gaps_to, archive->gaps, sizeof archive->gaps_to);
        archive_others_build(archive);
    }
    post(archive, ARCHIVE_JOB_BUILD);
}

static void on_keep(struct archiver_port *port)
{
    struct node_archive *archive = archive_of(port);

    archive->job_sequence = archive->archiver.sequence - 1;
    archive->job_checkpoints = archive->side.checkpointer.sequence - 1;
    memcpy(archive->job_based, archive->based, sizeof archive->job_based);
    for (uint32_t i = 0; i < archive->node->shard_count; i++) {
        archive->to[i] =
            archive_tails_begin(&archive->others.tails, i, archive->archiver.shards[i].archived);
    }
    post(archive, ARCHIVE_JOB_KEEP);
}

uint64_t archive_said(const struct node_archive *archive, uint32_t shard)
{
    return archive->to[shard] > archive->said[shard] ? archive->to[shard] : archive->said[shard];
}

static void step(struct node_archive *archive);

/* The object is, or there was nothing for it. */
static void take_stored(struct node_archive *archive)
{
    memcpy(archive->gaps, archive->gaps_to, sizeof archive->gaps);
    archive_others_stored(archive);
}

static void on_passed(struct archiver_port *port)
{
    take_stored(archive_of(port));
}

static void on_stored(void *context, const struct object_answer *answer)
{
    struct node_archive *archive = context;

    archive->storing = false;
    if (answer->rc == -ECANCELED) {
        return; /* The node stops. */
    }
    if (answer->rc == 0) {
        for (uint32_t i = 0; i < archive->node->shard_count; i++) {
            archive->said[i] = archive_said(archive, i);
        }
        if (!archive->bare) {
            take_stored(archive);
        }
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

    const struct archive_name parts =
        archive_name_of(archive, ARCHIVE_LOG, archive->archiver.sequence, 0);
    archive_name_put(name, &parts);
    const struct object_call call = {
        .op = OBJECT_PUT,
        .name = name,
        .body = archive->object,
        .hash = archive->object_hash,
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

/* A checkpoint brings it, of all that this node has; others are told nothing more until then. */
static void on_lost(struct archiver_port *port)
{
    struct node_archive *archive = archive_of(port);

    memset(archive->based, 0, sizeof archive->based);
    archive->own_lost = true;
    archive->archiver.moved = true;
    checkpointer_want(&archive->side.checkpointer);
}

static void on_archived(struct archiver_port *port, uint32_t shard, uint64_t lsn)
{
    struct node_archive *archive = archive_of(port);

    plane_archived(archive->node->plane, shard, archive->lost[shard], lsn);
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

static void take_probed(struct node_archive *archive, int rc, const char *text)
{
    archiver_probed(&archive->archiver, rc, text[0] != '\0' ? text : strerror(-rc), now_ms());
}

static void on_probed(void *context, const struct object_answer *answer)
{
    struct node_archive *archive = context;

    archive->probing = false;
    if (answer->rc != -ECANCELED) {
        take_probed(archive, answer->rc, answer->text);
        step(archive);
    }
}

/* As at the start: names behind those that are known. */
static void on_probe(struct archiver_port *port)
{
    struct node_archive *archive = archive_of(port);
    const struct archive_name last =
        archive_name_of(archive, ARCHIVE_LOG, archive->archiver.sequence - 1, 0);
    char prefix[ARCHIVE_NAME_BYTES], after[ARCHIVE_NAME_BYTES];

    archive_name_prefix(prefix, ARCHIVE_LOG, last.cluster, last.actor);
    archive_name_put(after, &last);
    const struct object_call call = {
        .op = OBJECT_LIST, .name = prefix, .after = after, .done = on_probed, .context = archive};
    archive->probe_rc = object_store_begin(archive->store, &call);
    archive->probing = archive->probe_rc == 0;
    if (!archive->probing) {
        uv_async_send(&archive->wake); /* Not from within. */
    }
}

static void on_alarm(struct archiver_port *port, const char *text)
{
    logger_write(logger_of(archive_of(port)), LOG_LEVEL_ERROR, "archive-alarm",
                 LOG_TEXT("cause", text));
}

/* ---- Its steps ---- */

void archive_reach(struct node_archive *archive)
{
    uint64_t asked = 0;

    for (uint32_t i = 0; i < archive->node->shard_count; i++) {
        struct plane_log_reach found;
        plane_log_reach(archive->node->plane, i, &found);
        const uint64_t flush =
            archive->flush[i] < found.durable ? archive->flush[i] : found.durable;
        archiver_reach(&archive->archiver, i, flush > found.wanted ? flush : found.wanted,
                       found.durable, found.appended);
        asked += found.asked;
    }
    archiver_asked(&archive->archiver, asked);
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
    archive_reach(archive);
    archiver_tails(&archive->archiver, archive_others_step(archive));
    uint64_t wait_ms = archiver_step(&archive->archiver, now_ms());
    node_recover_archived(archive->node);
    if (!archive->stopped) {
        uint64_t side_ms = archive_side_step(archive);
        wait_ms = side_ms < wait_ms ? side_ms : wait_ms;
    }
    uv_timer_start(&archive->timer, on_timer, wait_ms, 0);
}

static void take_built(struct node_archive *archive)
{
    struct archiver_built *built = &archive->built;

    if (built->rc == 0 && !archive->bare) {
        built->rc = archive_others_built(archive);
    }
    archiver_built(&archive->archiver, built, now_ms());
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
        take_built(archive);
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
    archive_side_take(archive);
    if (archive->begin_rc != 0) {
        int rc = archive->begin_rc;
        archive->begin_rc = 0;
        archiver_stored(&archive->archiver, rc, strerror(-rc), now_ms(), 0);
    }
    if (archive->probe_rc != 0) {
        int rc = archive->probe_rc;
        archive->probe_rc = 0;
        take_probed(archive, rc, "");
    }
    step(archive);
}

void node_archive_wanted(struct node *node)
{
    uv_async_send(&node->archive->wake);
}

/* ---- Life ---- */

/* Where the log has lost its end, what comes now takes the place of what was archived. A mark beyond it must not outlive
 * this: a later start would pass over what comes now. */
static int take_mark(const struct node_shard *shard, struct archive_mark *mark)
{
    store_archived(shard->store, mark);
    if (mark->lsn <= shard->lsn) {
        return 0;
    }
    mark->lsn = shard->lsn;
    return store_set_archived(shard->store, mark);
}

static int begin_shards(struct node_archive *archive)
{
    struct node *node = archive->node;

    for (uint32_t i = 0; i < node->shard_count; i++) {
        struct archive_mark mark;
        int rc = take_mark(&node->shards[i], &mark);
        if (rc != 0) {
            logger_write(logger_of(archive), LOG_LEVEL_ERROR, "archive-mark",
                         LOG_NUMBER("shard", i), LOG_TEXT("cause", strerror(-rc)),
                         LOG_TEXT("effect",
                                  "the log has lost its end, and it could not be kept that "
                                  "the archive is to have what comes now: no start"));
            return rc;
        }
        uint64_t lsn = mark.lsn;
        archive->based[i] = mark.based;
        archive->own_lost = archive->own_lost || (!mark.based && node->directory.resumed);
        archive->side.first_bytes += lsn;
        if (!mark.based) {
            checkpointer_want(&archive->side.checkpointer);
        }
        archive->said[i] = lsn;
        archiver_begin(&archive->archiver, i, lsn, node->shards[i].lsn);
        plane_archived(node->plane, i, 0, lsn);
        if (!mark.based) { /* Who finds done what was done before this start is not told that it is archived. */
            shard_archive_lost(node->shards[i].shard, node->shards[i].lsn);
        }
    }
    return 0;
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
        .gather_ms_max = GATHER_MS_MAX,
        .pause_ms = PAUSE_MS,
        .pause_max_ms = PAUSE_MS_MAX,
    };

    if (archive == NULL) {
        return 0;
    }
    archive->port = (struct archiver_port){
        .build = on_build,
        .store = on_store,
        .passed = on_passed,
        .lost = on_lost,
        .archived = on_archived,
        .keep = on_keep,
        .away = on_away,
        .probe = on_probe,
        .alarm = on_alarm,
    };
    archiver_init(&archive->archiver, &settings, &archive->port, archive->sequence, now_ms());
    archive_others_init(archive);
    int rc = begin_shards(archive);
    if (rc != 0) {
        return rc;
    }
    rc = uv_async_init(loop_of(node), &archive->wake, on_wake);
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
    while (archive->handles > 0 || archive->storing || archive->probing || archive->side.storing) {
        uv_run(loop_of(node), UV_RUN_ONCE);
    }
}

void node_archive_close(struct node *node)
{
    struct node_archive *archive = node->archive;

    if (archive == NULL) {
        return;
    }
    archive_side_fini(archive);
    archive_others_fini(archive);
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
