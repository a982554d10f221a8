#include "status_page.h"

#include <jansson.h>
#include <stdlib.h>

#include "map_page.h"
#include "map_reasons.h"

static json_t *number(uint64_t value)
{
    return json_integer((json_int_t)value);
}

static json_t *latency(const struct histogram *histogram)
{
    return json_pack("{s:o, s:o, s:o, s:o, s:o}", "count", number(histogram->count), "p50",
                     number(histogram_percentile(histogram, 50)), "p99",
                     number(histogram_percentile(histogram, 99)), "p999",
                     number(histogram_percentile(histogram, 99.9)), "max", number(histogram->max));
}

/* The sum of what shards have: one more shard, to be shown as the whole. */
static void add_shard(struct metrics_shard *sum, const struct metrics_shard *shard)
{
    for (int i = 0; i < 4; i++) {
        sum->shard.requests[i] += shard->shard.requests[i];
        histogram_add(&sum->shard.latency[i], &shard->shard.latency[i]);
    }
    for (int i = 0; i < 5; i++) {
        sum->shard.acks[i] += shard->shard.acks[i];
    }
    sum->shard.hits += shard->shard.hits;
    sum->shard.misses += shard->shard.misses;
    sum->shard.created += shard->shard.created;
    sum->shard.destroyed += shard->shard.destroyed;
    sum->shard.expired += shard->shard.expired;
    sum->shard.siblings_hidden += shard->shard.siblings_hidden;
    sum->shard.repeated += shard->shard.repeated;
    sum->shard.busy += shard->shard.busy;
    sum->shard.timeouts += shard->shard.timeouts;
    sum->shard.refused += shard->shard.refused;
    sum->shard.live += shard->shard.live;
    sum->shard.loading += shard->shard.loading;
    sum->shard.cold += shard->shard.cold;
    sum->shard.frozen += shard->shard.frozen;
    sum->shard.thawed += shard->shard.thawed;
    sum->shard.cold_requests += shard->shard.cold_requests;
    histogram_add(&sum->shard.fetch_us, &shard->shard.fetch_us);
    sum->copies.slots_taken += shard->copies.slots_taken;
    sum->copies.slots_released += shard->copies.slots_released;
    sum->copies.holds += shard->copies.holds;
    sum->copies.holds_lapsed += shard->copies.holds_lapsed;
    if (shard->held_us.max >= sum->held_us.max) {
        sum->held_longest_slot = shard->held_longest_slot;
    }
    histogram_add(&sum->held_us, &shard->held_us);
    sum->keeper.record_bytes += shard->keeper.record_bytes;
    sum->keeper.memory_bytes += shard->keeper.memory_bytes;
    sum->connections += shard->connections;
}

static void add_storage(struct metrics_shard *sum, const struct metrics_shard *shard)
{
    sum->log.lsn_appended += shard->log.lsn_appended;
    sum->log.lsn_durable += shard->log.lsn_durable;
    sum->log.bytes += shard->log.bytes;
    sum->log.device_writes += shard->log.device_writes;
    histogram_add(&sum->log.device_write_us, &shard->log.device_write_us);
    sum->log.full |= shard->log.full;
    sum->log.failed |= shard->log.failed;
    sum->store.log_disk_bytes += shard->store.log_disk_bytes;
    sum->store.checkpoint_sessions += shard->store.checkpoint_sessions;
    sum->store.checkpoint_count += shard->store.checkpoint_count;
    sum->store.checkpoint_errors += shard->store.checkpoint_errors;
    sum->store.damaged += shard->store.damaged;
    if (shard->store.checkpoint_age_ms > sum->store.checkpoint_age_ms) {
        sum->store.checkpoint_age_ms = shard->store.checkpoint_age_ms;
    }
    if (shard->store.checkpoint_duration_ms > sum->store.checkpoint_duration_ms) {
        sum->store.checkpoint_duration_ms = shard->store.checkpoint_duration_ms;
    }
}

static json_t *node_part(const struct status_page *page, const struct metrics_shard *sum)
{
    const struct metrics *metrics = page->metrics;

    return json_pack(
        "{s:s, s:s, s:I, s:o, s:I, s:b, s:s, s:{s:s, s:s}, s:s, s:b, s:o, s:o, s:o, s:o, s:o, s:o, "
        "s:o, s:o}",
        "node", metrics->node_name, "version", metrics->version, "pid", (json_int_t)page->pid,
        "uptime_ms", number(metrics->uptime_ms), "clock_ahead_ms",
        (json_int_t)metrics->clock_ahead_ms, "ready", (int)(page->reason[0] == '\0'), "reason",
        page->reason, "listen", "native", page->native, "http", page->http, "data_dir",
        page->data_dir, "loading", (int)(sum->shard.loading > 0), "sessions",
        number(sum->shard.live), "session_bytes", number(sum->keeper.record_bytes),
        "session_memory_bytes", number(sum->keeper.memory_bytes), "memory_limit",
        number(metrics->memory_limit), "resident_bytes", number(metrics->process_resident_bytes),
        "cpu_ms", number(metrics->process_cpu_us / 1000), "disk_free_bytes",
        number(metrics->disk_free_bytes), "connections", number(sum->connections));
}

static json_t *request_part(const struct shard_stats *sum)
{
    const uint64_t *requests = sum->requests;
    const struct histogram *times = sum->latency;

    return json_pack(
        "{s:{s:o, s:o, s:o, s:o}, s:{s:o, s:o, s:o, s:o}, s:{s:o, s:o}, s:{s:o, s:o}, s:o, s:o, "
        "s:o, "
        "s:{s:o, s:o, s:o}, s:{s:o, s:o, s:o, s:o}}",
        "requests", "get", number(requests[REQUEST_GET]), "write", number(requests[REQUEST_WRITE]),
        "scan", number(requests[REQUEST_SCAN]), "inspect", number(requests[REQUEST_INSPECT]),
        "latency_us", "get", latency(&times[REQUEST_GET]), "write", latency(&times[REQUEST_WRITE]),
        "scan", latency(&times[REQUEST_SCAN]), "inspect", latency(&times[REQUEST_INSPECT]), "reads",
        "hit", number(sum->hits), "miss", number(sum->misses), "ended", "destroyed",
        number(sum->destroyed), "expired", number(sum->expired), "created", number(sum->created),
        "siblings_hidden", number(sum->siblings_hidden), "repeated", number(sum->repeated),
        "refused", "busy", number(sum->busy), "timeout", number(sum->timeouts), "limit",
        number(sum->refused), "acks", "memory", number(sum->acks[ACK_MEMORY]), "replica",
        number(sum->acks[ACK_REPLICA]), "disk", number(sum->acks[ACK_DISK]), "archive",
        number(sum->acks[ACK_ARCHIVE]));
}

static json_t *cold_part(const struct shard_stats *sum)
{
    return json_pack("{s:{s:o, s:o, s:o, s:o, s:o}}", "cold", "sessions", number(sum->cold),
                     "moved_out", number(sum->frozen), "moved_in", number(sum->thawed), "requests",
                     number(sum->cold_requests), "fetch_us", latency(&sum->fetch_us));
}

static json_t *storage_part(const struct metrics_shard *sum)
{
    const struct metrics_log *log = &sum->log;
    const struct metrics_store *store = &sum->store;

    return json_pack(
        "{s:{s:o, s:o, s:o, s:o, s:o, s:b, s:b, s:o}, s:{s:o, s:o, s:o, s:o, s:o}, s:o}", "log",
        "lsn_appended", number(log->lsn_appended), "lsn_durable", number(log->lsn_durable), "bytes",
        number(log->bytes), "device_writes", number(log->device_writes), "disk_bytes",
        number(store->log_disk_bytes), "full", (int)log->full, "failed", (int)log->failed,
        "write_us", latency(&log->device_write_us), "checkpoint", "age_ms",
        number(store->checkpoint_age_ms), "duration_ms", number(store->checkpoint_duration_ms),
        "sessions", number(store->checkpoint_sessions), "count", number(store->checkpoint_count),
        "errors", number(store->checkpoint_errors), "damaged", number(store->damaged));
}

static json_t *voters(const struct metrics_membership *cluster)
{
    json_t *list = json_array();

    for (uint32_t i = 0; i < cluster->voter_count; i++) {
        json_array_append_new(list, number(cluster->voters[i]));
    }
    return list;
}

static json_t *cluster_part(const struct metrics_membership *cluster)
{
    return json_pack(
        "{s:{s:o, s:s, s:o, s:o, s:o, s:o, s:o, s:o, s:o, s:o, s:b, s:o, s:o}}", "cluster", "node",
        number(cluster->node), "state", cluster->state == 0 ? "" : map_page_state(cluster->state),
        "degraded_by", map_reasons(cluster->condition), "epoch", number(cluster->epoch), "leader",
        number(cluster->leader), "voters", voters(cluster), "members", number(cluster->members),
        "slots_owned", number(cluster->slots_owned), "slots_not_level",
        number(cluster->slots_not_level), "slots_stray", number(cluster->slots_stray), "looked",
        (int)cluster->looked, "records_behind", number(cluster->records_behind), "bytes_behind",
        number(cluster->bytes_behind));
}

static json_t *switch_part(const struct metrics_shard *sum)
{
    return json_pack("{s:{s:o, s:o, s:o, s:o, s:o, s:o}}", "switch", "taken",
                     number(sum->copies.slots_taken), "released",
                     number(sum->copies.slots_released), "holds", number(sum->copies.holds),
                     "holds_lapsed", number(sum->copies.holds_lapsed), "held_us",
                     latency(&sum->held_us), "longest_slot", number(sum->held_longest_slot));
}

static json_t *restore_part(const struct metrics_restore *restore)
{
    return json_pack("{s:o, s:o, s:o, s:o, s:o, s:o, s:o, s:o, s:o, s:o, s:s}", "lost",
                     number(restore->lost), "slots", number(restore->slots), "eta_ms",
                     number(restore->eta_ms), "bytes", number(restore->bytes), "bytes_done",
                     number(restore->bytes_done), "sessions", number(restore->sessions), "expired",
                     number(restore->expired), "left", number(restore->left), "refused",
                     number(restore->refused), "damaged", number(restore->damaged), "cause",
                     restore->cause);
}

static json_t *archive_part(const struct metrics_archive *archive)
{
    if (!archive->there && archive->restore.lost == 0) {
        return json_pack("{s:{s:s}}", "archive", "state", "off");
    }
    if (!archive->there) {
        return json_pack("{s:{s:s, s:o}}", "archive", "state", "off", "restore",
                         restore_part(&archive->restore));
    }
    return json_pack(
        "{s:{s:s, s:s, s:s, s:o, s:b, s:o, s:o, s:o, s:o, s:o, s:o, s:o, s:o, s:o, "
        "s:o, s:o, s:o, s:o, s:o, s:o, s:o, s:o}}",
        "archive", "state", archive->away ? "degraded" : "ok", "url", archive->url, "cause",
        archive->cause, "degraded_ms", number(archive->away_for_ms), "based", (int)archive->based,
        "rpo_ms", number(archive->behind_ms), "others_ms", number(archive->others_ms),
        "taken_nodes", number(archive->taken), "taken_records", number(archive->taken_records),
        "unarchived_bytes", number(archive->behind_bytes), "kept_bytes",
        number(archive->kept_bytes), "objects", number(archive->objects), "checkpoints",
        number(archive->checkpoints), "records", number(archive->records), "raw_bytes",
        number(archive->raw_bytes), "object_bytes", number(archive->object_bytes), "errors",
        number(archive->failures), "conflicts", number(archive->conflicts), "gap_bytes",
        number(archive->gap_bytes), "last_ms", number(archive->stored_ms_ago), "put_us",
        latency(&archive->store_us), "restore", restore_part(&archive->restore));
}

char *status_archive_json(const struct metrics_archive *archive)
{
    json_t *root = archive_part(archive);
    char *text = root == NULL ? NULL : json_dumps(root, JSON_INDENT(2));

    json_decref(root);
    return text;
}

static json_t *shard_part(const struct metrics *metrics)
{
    json_t *list = json_array();

    for (uint32_t i = 0; i < metrics->shard_count; i++) {
        const struct metrics_shard *shard = &metrics->shards[i];
        json_array_append_new(list, json_pack("{s:o, s:b, s:o, s:o, s:o, s:o}", "shard", number(i),
                                              "responding", (int)shard->responding, "sessions",
                                              number(shard->shard.live), "connections",
                                              number(shard->connections), "cpu_ms",
                                              number(shard->cpu_us / 1000), "log_lsn_durable",
                                              number(shard->log.lsn_durable)));
    }
    return list;
}

/* Add what `part` has; a missing part makes the whole missing. */
static int join(json_t *root, json_t *part)
{
    int rc = part == NULL ? -1 : json_object_update(root, part);

    json_decref(part);
    return rc;
}

char *status_page_json(const struct status_page *page)
{
    struct metrics_shard *sum = calloc(1, sizeof *sum);
    json_t *root = json_object();
    char *text = NULL;

    if (sum == NULL || root == NULL) {
        goto done;
    }
    for (uint32_t i = 0; i < page->metrics->shard_count; i++) {
        if (page->metrics->shards[i].responding) {
            add_shard(sum, &page->metrics->shards[i]);
            add_storage(sum, &page->metrics->shards[i]);
        }
    }
    if (join(root, node_part(page, sum)) == 0 && join(root, request_part(&sum->shard)) == 0 &&
        join(root, cold_part(&sum->shard)) == 0 && join(root, storage_part(sum)) == 0 &&
        join(root, cluster_part(&page->metrics->membership)) == 0 &&
        join(root, switch_part(sum)) == 0 &&
        join(root, archive_part(&page->metrics->archive)) == 0 &&
        json_object_set_new(root, "shards", shard_part(page->metrics)) == 0) {
        text = json_dumps(root, JSON_INDENT(2));
    }

done:
    json_decref(root);
    free(sum);
    return text;
}
