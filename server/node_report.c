/* What a node tells about itself: readiness, metrics, status. The numbers come from the shards' threads
 * by message, so that each shard's are consistent. */
#include <assert.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "config_print.h"
#include "container.h"
#include "http.h"
#include "machine.h"
#include "node_archive.h"
#include "node_cluster.h"
#include "node_peers.h"
#include "node_private.h"
#include "status_page.h"

/* ---- Events of the stores, on any thread ---- */

struct store_line {
    enum log_level level;
    bool damage; /* Something that was stored is not readable. */
};

static const struct store_line store_lines[] = {
    [STORE_LOG_DAMAGED] = {LOG_LEVEL_ERROR, true},
    [STORE_LOG_MISSING] = {LOG_LEVEL_ERROR, true},
    [STORE_LOG_TORN] = {LOG_LEVEL_WARN, false},
    [STORE_LOG_BASELESS] = {LOG_LEVEL_ERROR, true},
    [STORE_CHECKPOINT_DAMAGED] = {LOG_LEVEL_ERROR, true},
    [STORE_CHECKPOINT_DONE] = {LOG_LEVEL_INFO, false},
    [STORE_FAILED] = {LOG_LEVEL_ERROR, false},
    [STORE_STAGING_REFUSED] = {LOG_LEVEL_WARN, false},
    [STORE_STAGING_TAKEN] = {LOG_LEVEL_INFO, false},
    [STORE_DISK_FULL] = {LOG_LEVEL_ERROR, false},
    [STORE_DISK_ROOM] = {LOG_LEVEL_INFO, false},
};

static void add_number(struct log_field fields[], uint32_t *count, const char *key, uint64_t number)
{
    if (number != 0) {
        fields[(*count)++] = LOG_NUMBER(key, number);
    }
}

void node_report_store(struct reporter *reporter, const struct store_report *report)
{
    struct node *node = container_of(reporter, struct node, reporter);
    const struct store_line *line = &store_lines[report->event];
    struct log_field fields[9] = {LOG_NUMBER("shard", report->shard)};
    uint32_t count = 1;

    if (report->file != NULL) {
        fields[count++] = LOG_TEXT("file", report->file);
    }
    bool done = report->event == STORE_CHECKPOINT_DONE;
    add_number(fields, &count, done ? "log_bytes" : "offset", report->offset);
    add_number(fields, &count, done ? "sessions" : "size", report->size);
    add_number(fields, &count, "lsn", report->lsn);
    add_number(fields, &count, "end_lsn", report->end_lsn);
    if (report->key.size > 0 && line->damage) {
        fields[count++] = LOG_BYTES("key", report->key);
    }
    if (report->error != 0) {
        fields[count++] = LOG_TEXT("error", strerror(-report->error));
    }
    if (report->text != NULL) {
        fields[count++] = LOG_TEXT("cause", report->text);
    }
    logger_write_fields(node->world.logger, line->level, store_event_name(report->event), fields,
                        count);
    if (report->shard >= node->shard_count) {
        return; /* An old shard's, at a conversion. */
    }
    if (line->damage) {
        atomic_fetch_add(&node->shards[report->shard].damaged, 1);
    }
    if (report->event == STORE_CHECKPOINT_DONE) {
        atomic_store(&node->shards[report->shard].checkpoint_at_ms,
                     wall_clock_now_ms(node->world.clock));
    }
}

/* ---- Numbers ---- */

static void copy_store(struct node_shard *shard, uint64_t now_ms, struct metrics_store *to)
{
    struct store_stats stats;
    uint64_t checkpoint_at_ms = atomic_load(&shard->checkpoint_at_ms);

    store_stats(shard->store, &stats);
    to->log_disk_bytes = stats.log_bytes;
    to->checkpoint_age_ms = now_ms > checkpoint_at_ms ? now_ms - checkpoint_at_ms : 0;
    to->checkpoint_duration_ms = stats.checkpoint_ms;
    to->checkpoint_sessions = stats.checkpoint_sessions;
    to->checkpoint_count = stats.checkpoints;
    to->checkpoint_errors = stats.checkpoint_failures;
    to->damaged = atomic_load(&shard->damaged);
}

static void copy_log(const struct plane_log_stats *from, struct metrics_log *to)
{
    to->lsn_appended = from->lsn_appended;
    to->lsn_durable = from->lsn_durable;
    to->records = from->records;
    to->bytes = from->bytes;
    to->device_writes = from->device_writes;
    to->device_bytes = from->device_bytes;
    to->device_write_us = from->device_write_us;
    to->failed = from->failed;
    to->full = from->full;
    static_assert(sizeof to->failure == sizeof from->failure, "the same text");
    memcpy(to->failure, from->failure, sizeof to->failure);
}

static void copy_plane(const struct plane_shard_stats *from, struct metrics_shard *to)
{
    to->shard = from->shard;
    to->keeper = from->keeper;
    to->connections = from->connections;
    to->accepted = from->accepted;
    to->refused_connections = from->refused_connections;
    to->bytes_in = from->bytes_in;
    to->bytes_out = from->bytes_out;
    to->frames_bad = from->frames_bad;
    to->hops = from->hops;
    to->output_limited = from->output_limited;
    to->events_dropped = from->events_dropped;
    to->cpu_us = from->cpu_us;
    to->link_waits = from->link_waits;
    to->copies = from->copies;
    to->held_us = from->held.us;
    to->held_longest_slot = from->held.longest_slot;
    to->records_behind = from->records_behind;
    to->bytes_behind = from->bytes_behind;
    to->behind_us = from->behind_us;
    copy_log(&from->log, &to->log);
}

static bool look_at_shard(struct node *node, uint32_t index, struct plane_shard_stats *stats)
{
    struct metrics_shard *to = &node->metrics.shards[index];

    memset(to, 0, sizeof *to);
    if (plane_stats(node->plane, index, stats) == 0) {
        to->responding = true;
        copy_plane(stats, to);
    }
    return to->responding;
}

/* The worst that keeps sessions from being read or written; true where there is nothing. */
static bool judge(const struct metrics *metrics, char *reason, size_t reason_size)
{
    for (uint32_t i = 0; i < metrics->shard_count; i++) {
        const struct metrics_shard *shard = &metrics->shards[i];
        const char *cause =
            !shard->responding  ? "does not answer"
            : shard->log.failed ? "takes no more writes: "
            : shard->log.full   ? "has no room on the disk for its log; free some, or "
                                  "raise storage.disk_limit"
            : shard->shard.load_failing != 0
                ? "cannot read all of its sessions from the disk; the log says what "
                  "fails"
                : NULL;
        if (cause != NULL) {
            snprintf(reason, reason_size, "shard %u %s%s", i, cause, shard->log.failure);
            return false;
        }
    }
    reason[0] = '\0';
    return true;
}

static void copy_logins(struct node *node, struct metrics *to)
{
    const struct logins_counts counts =
        node->logins == NULL ? (struct logins_counts){0} : logins_counts(node->logins);

    to->logins_right = counts.right;
    to->logins_wrong = counts.wrong;
    to->logins_limited = counts.limited;
    to->logins_busy = counts.busy;
}

/* Bring node->metrics up to date. Returns whether the node is ready. */
static bool look(struct node *node, char *reason, size_t reason_size)
{
    struct metrics *metrics = &node->metrics;
    struct plane_shard_stats *stats = malloc(sizeof *stats);
    uint64_t now_ms = wall_clock_now_ms(node->world.clock);
    struct {
        uint64_t records, bytes;
        uint32_t not_level, stray;
        bool looked;
    } behind = {.looked = true};

    if (stats == NULL) {
        snprintf(reason, reason_size, "out of memory");
        return false;
    }
    for (uint32_t i = 0; i < node->shard_count; i++) {
        if (look_at_shard(node, i, stats)) {
            behind.records += stats->records_behind;
            behind.bytes += stats->bytes_behind;
            behind.not_level += stats->copies.slots_not_level;
            behind.stray += stats->copies.slots_stray;
            behind.looked = behind.looked && stats->copies.looked;
        } else {
            behind.looked = false;
        }
        copy_store(&node->shards[i], now_ms, &metrics->shards[i].store);
    }
    node_cluster_figures(node, &metrics->membership);
    node_peers_figures(node, &metrics->peers);
    metrics->membership.records_behind = behind.records;
    metrics->membership.bytes_behind = behind.bytes;
    metrics->membership.slots_not_level += behind.not_level;
    metrics->membership.slots_stray = behind.stray;
    metrics->membership.looked = behind.looked;
    free(stats);
    metrics->uptime_ms = now_ms - metrics->start_ms - node->floor_ms;
    metrics->clock_ahead_ms = wall_clock_ahead_ms(node->world.clock);
    metrics->process_cpu_us = machine_cpu_us();
    metrics->process_resident_bytes = machine_resident_bytes();
    metrics->disk_free_bytes = machine_disk_free_bytes(node->world.config->storage_dir);
    copy_logins(node, metrics);
    node_archive_figures(node, &metrics->archive);
    if (node->cluster != NULL) {
        cluster_figures(cluster_host_cluster(node->cluster), &metrics->cluster);
    }
    metrics->ready = judge(metrics, reason, reason_size);
    return metrics->ready;
}

bool node_ready(struct node *node, char *reason, size_t reason_size)
{
    bool ready = look(node, reason, reason_size);
    const struct metrics_archive *archive = &node->metrics.archive;
    const int failure = node->cluster == NULL ? 0 : cluster_host_failure(node->cluster);

    if (ready && archive->away) {
        snprintf(reason, reason_size, "degraded: archive: %.200s", archive->cause);
    } else if (ready && archive->restore.cause[0] != '\0') {
        snprintf(reason, reason_size, "degraded: %" PRIu32 " lost slots wait: %.200s",
                 archive->restore.slots, archive->restore.cause);
    } else if (ready && failure != 0) {
        snprintf(reason, reason_size, "degraded: changes of the cluster's map cannot be stored: %s",
                 strerror(-failure));
    }
    return ready;
}

bool node_alive(struct node *node)
{
    char reason[HTTP_REASON_BYTES];

    look(node, reason, sizeof reason);
    for (uint32_t i = 0; i < node->shard_count; i++) {
        if (!node->metrics.shards[i].responding) {
            logger_write(node->world.logger, LOG_LEVEL_ERROR, "shard-silent",
                         LOG_NUMBER("shard", i));
            return false;
        }
    }
    return true;
}

char *node_metrics_text(struct node *node, size_t *size)
{
    char reason[HTTP_REASON_BYTES];
    char *text = NULL;
    FILE *file = open_memstream(&text, size);

    if (file == NULL) {
        return NULL;
    }
    look(node, reason, sizeof reason);
    metrics_print(&node->metrics, file);
    if (fclose(file) != 0) {
        free(text);
        return NULL;
    }
    return text;
}

char *node_status_json(struct node *node, const char *native, const char *http)
{
    char reason[HTTP_REASON_BYTES];

    look(node, reason, sizeof reason);
    const struct status_page page = {
        .metrics = &node->metrics,
        .native = native,
        .http = http,
        .data_dir = node->world.config->storage_dir,
        .reason = reason,
        .pid = getpid(),
    };
    return status_page_json(&page);
}

char *node_config_json(struct node *node)
{
    return config_to_json(node->world.config);
}

void node_answer(struct node *node, uint64_t token, enum status status, const char *json)
{
    plane_admin_reply(node->plane, token, status, NULL,
                      json != NULL ? bytes_of_string(json) : bytes_of(NULL, 0));
}
