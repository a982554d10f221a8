/* The log as the shard sees it. It has three states: taking records; full, from which it returns by
 * itself when an append succeeds again (every write tries one); failed, for good. */
#include "shard_state.h"

#include <string.h>

static const char log_failed_default[] = "writing the log failed; this shard takes no more writes";

/* A touch has a time and no stamp. It may be logged while stamps of a transaction are still to be: these are above the
 * beginning of the present millisecond. */
static void note_logged(struct shard *shard, enum log_kind kind)
{
    uint64_t hlc = kind == LOG_TOUCH ? hlc_of_ms(shard->now_ms) : shard->hlc;

    if (hlc > shard->logged_hlc) {
        shard->logged_hlc = hlc;
    }
}

int shard_log(struct shard *shard, enum log_kind kind, uint64_t position, struct bytes key,
              const struct bytes parts[], uint32_t part_count)
{
    struct log_port *log = shard->options.log;
    const struct log_subject subject = {
        .position = position,
        .fingerprint = keeper_fingerprint(shard->options.seed, key),
    };
    uint64_t lsn = 0;

    if (shard->log_failed) {
        return -EIO;
    }
    int rc = log->append(log, (uint8_t)kind, subject, parts, part_count, &lsn);
    if (rc >= 0) {
        shard->appended_lsn = lsn;
        note_logged(shard, kind);
        shard->fragile_lsn = rc == 1 ? lsn : shard->fragile_lsn;
        rc = 0;
    }
    if (rc == -EIO) {
        shard->log_failed = true;
        shard_trace(shard, TRACE_LOG_FAILED, 0, bytes_of_string(shard_failed_text(shard)));
    } else if (rc == -ENOSPC && !shard->log_full) {
        shard->log_full = true;
        shard_trace(shard, TRACE_LOG_FULL, 0, bytes_of(NULL, 0));
    } else if (rc == 0 && shard->log_full) {
        shard->log_full = false;
        shard_trace(shard, TRACE_LOG_RESUMED, 0, bytes_of(NULL, 0));
    }
    return rc;
}

int shard_append(struct shard *shard, enum log_kind kind, uint64_t position, struct bytes key,
                 const struct bytes parts[], uint32_t part_count)
{
    int rc = shard_log(shard, kind, position, key, parts, part_count);

    if (rc == 0 && shard->copies != NULL) {
        shard_send(shard, kind, position, key, parts, part_count);
    }
    return rc;
}

enum status shard_append_status(int rc)
{
    switch (rc) {
    case 0:
        return STATUS_OK;
    case -ENOSPC:
        return STATUS_DISK_FULL;
    case -EAGAIN:
        return STATUS_BUSY;
    case -EFBIG:
        return STATUS_SESSION_TOO_LARGE;
    default:
        return STATUS_LOG_FAILED;
    }
}

const char *shard_failed_text(const struct shard *shard)
{
    return shard->failed_text[0] != '\0' ? shard->failed_text : log_failed_default;
}

void shard_release(struct shard *shard, uint64_t ticket, enum ack_level level, uint64_t received_us,
                   uint64_t now_us)
{
    uint64_t latency_us = now_us > received_us ? now_us - received_us : 0;

    histogram_record(&shard->stats.latency[REQUEST_WRITE], latency_us);
    shard->stats.acks[level]++;
    shard->stats.answers[REQUEST_WRITE][STATUS_OK]++;
    shard->options.door->release(shard->options.door, ticket, STATUS_OK, level, NULL);
}

void shard_log_durable(struct shard *shard, uint64_t lsn, uint64_t now_us)
{
    struct ack ack;

    if (lsn > shard->durable_lsn) {
        shard->durable_lsn = lsn;
    }
    while (acks_pop(&shard->acks, lsn, &ack)) {
        shard_release(shard, ack.ticket, ACK_DISK, ack.received_us, now_us);
    }
    if (shard->replicas.waits.count > 0) {
        shard_release_uncopied(shard, now_us);
    }
}

uint64_t shard_appended(const struct shard *shard)
{
    return shard->appended_lsn;
}

bool shard_is_durable(const struct shard *shard, uint64_t lsn)
{
    return lsn <= shard->durable_lsn;
}

void shard_release_failed(struct shard *shard, uint64_t ticket, enum status status,
                          const char *text)
{
    shard->stats.refused++;
    shard->stats.answers[REQUEST_WRITE][status]++;
    shard->options.door->release(shard->options.door, ticket, status, ACK_DEFAULT, text);
}

void shard_log_failed(struct shard *shard, const char *text)
{
    struct ack ack;

    if (text != NULL) {
        strncpy(shard->failed_text, text, FAILED_TEXT_BYTES_MAX - 1);
    }
    if (!shard->log_failed) {
        shard->log_failed = true;
        shard_trace(shard, TRACE_LOG_FAILED, 0, bytes_of_string(shard_failed_text(shard)));
    }
    while (acks_pop(&shard->acks, UINT64_MAX, &ack)) {
        shard_release_failed(shard, ack.ticket, STATUS_LOG_FAILED, shard_failed_text(shard));
    }
    shard_archive_failed(shard);
    shard_release_uncopied(shard, 0);
}
