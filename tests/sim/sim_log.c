#include "sim_log.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "shard.h"
#include "sim.h"

static struct sim_log *log_of(struct log_port *port)
{
    return (struct sim_log *)(void *)port; /* It is the first member. */
}

static struct sim_disk *disk_of(const struct sim_log *log)
{
    return &log->sim->nodes[log->node].disk;
}

static struct log_epoch epoch_of(const struct sim_log *log)
{
    return log->epochs[log->epoch_count - 1].epoch;
}

/* ---- Writing ---- */

static void write_log(struct sim_log *log)
{
    struct sim_disk *disk = disk_of(log);

    if (disk->writing) {
        return; /* What is there then goes with the next one. */
    }
    log->timed = false;
    sim_disk_write(log->sim, disk);
}

static void interval_over(struct sim *sim, const struct sim_event *event)
{
    write_log(&sim->nodes[event->end].log);
}

static void hurry(struct log_port *port)
{
    write_log(log_of(port));
}

static void seal(struct log_port *port)
{
    (void)port;
}

/* The first record after a device write has begun is preceded by a MARK. */
static size_t put_mark(const struct sim_log *log, uint8_t *to)
{
    const struct sim_disk *disk = disk_of(log);
    size_t before = disk->writing ? disk->writing_end : disk->durable;

    if (log->marked > before) {
        return 0;
    }
    log_mark_put(to, epoch_of(log), disk->size);
    return log_record_size(0);
}

static int append(struct log_port *port, uint8_t kind, struct log_subject subject,
                  const struct bytes parts[], uint32_t part_count, uint64_t *lsn)
{
    struct sim_log *log = log_of(port);
    struct sim_disk *disk = disk_of(log);
    uint64_t body = 0;

    for (uint32_t i = 0; i < part_count; i++) {
        body += parts[i].size;
    }
    uint8_t *bytes = sim_more(NULL, log_record_size(0) + log_record_size(body));
    size_t size = put_mark(log, bytes);
    log_record_put(bytes + size, epoch_of(log), kind, subject.position, parts, part_count);
    size += log_record_size(body);
    int rc = disk->size - disk->durable > log->waiting_bytes_max
                 ? -EAGAIN
                 : sim_disk_append(disk, bytes_of(bytes, size));
    free(bytes);
    if (rc != 0) {
        log->rc = log->rc == 0 ? rc : log->rc;
        log->failed = log->failed || rc == -EIO;
        return rc;
    }
    log->marked = disk->size;
    *lsn = disk->size;
    if (log->appended != NULL) {
        log->appended(log, kind);
    }
    if (!log->timed) {
        log->timed = true;
        sim_after(log->sim, SIM_LOG_INTERVAL_US, log->node, "interval", interval_over, 0, 0);
    }
    return disk->kept ? 0 : 1;
}

void sim_log_written(struct sim_log *log, bool good)
{
    const struct sim_disk *disk = disk_of(log);

    log->failed = log->failed || !good;
    if (good && disk->size > disk->durable) {
        write_log(log);
    }
}

/* ---- Lives ---- */

void sim_log_init(struct sim_log *log, struct sim *sim, uint32_t node)
{
    *log = (struct sim_log){
        .port = {.append = append, .hurry = hurry, .seal = seal},
        .sim = sim,
        .node = node,
    };
}

void sim_log_wipe(struct sim_log *log)
{
    log->epoch_count = 0;
}

bool sim_log_is_new(const struct sim_log *log)
{
    return log->epoch_count == 0;
}

void sim_log_open(struct sim_log *log)
{
    log->timed = log->failed = false;
    log->marked = 0;
    log->rc = 0;
}

void sim_log_begin(struct sim_log *log, size_t end)
{
    struct sim_disk *disk = disk_of(log);

    SIM_CHECK("log", end >= disk->durable, "of %zu durable bytes %zu can be read", disk->durable,
              end);
    sim_disk_settle(disk, end);
    assert(log->epoch_count < SIM_LOG_EPOCHS_MAX);
    log->epochs[log->epoch_count++] = (struct sim_log_epoch){
        .epoch = {.number = log->epoch_count,
                  .salt = (uint32_t)sim_random(log->sim, SIM_RANDOM_NODES)},
        .at = end,
    };
}

size_t sim_log_walk(const struct sim_log *log, size_t from, size_t until,
                    int (*visit)(void *context, size_t at, const struct log_record *record),
                    void *context)
{
    const struct sim_disk *disk = disk_of(log);
    struct log_record record;
    size_t at = from;

    for (uint32_t i = 0; i < log->epoch_count && log->epochs[i].at <= until; i++) {
        size_t end = i + 1 < log->epoch_count ? log->epochs[i + 1].at : until;
        while (at < end && at < until) {
            struct bytes left = bytes_of(disk->data + at, until - at);
            int64_t size = log_record_parse(left, log->epochs[i].epoch, &record);
            if (size <= 0 || visit(context, at, &record) != 0) {
                return at;
            }
            at += (size_t)size;
        }
    }
    return at;
}

void sim_log_give(struct shard *shard, const struct log_record *record)
{
    int rc = 0;

    switch (record->kind) {
    case LOG_FULL:
        rc = shard_restore_record(shard, record->body);
        break;
    case LOG_DELTA:
        rc = shard_restore_delta(shard, record->body);
        break;
    case LOG_TOUCH:
        rc = shard_restore_touch(shard, record->body);
        rc = rc == -ESTALE ? 0 : rc; /* Its session has been buried. */
        break;
    case LOG_BURY:
        rc = shard_restore_bury(shard, record->body);
        break;
    case LOG_DROP:
        rc = shard_restore_drop(shard, record->body);
        break;
    default:
        break;
    }
    SIM_CHECK("restore", rc == 0, "a record of kind %u: %s", record->kind, strerror(-rc));
}
