/* Inside of a shard: private to shard*.c.
 *
 *   shard.c          its life, a request's way to its operation, answers
 *   shard_read.c     GET, SCAN, INSPECT, and sliding idle deadlines
 *   shard_write.c    WRITE: apply, log, acknowledge
 *   shard_log.c      the log as the shard sees it: full, resumed, failed, durable
 *   shard_expiry.c   patrol, wheel, burials
 *   shard_restore.c  what the store gives at a start
 *   shard_loading.c  serving while it still gives
 */
#ifndef SHARD_STATE_H
#define SHARD_STATE_H

#include "acks.h"
#include "log_kind.h"
#include "overload.h"
#include "parking.h"
#include "patrol.h"
#include "position_set.h"
#include "shard.h"
#include "wheel.h"

enum {
    RETRY_LOG_MS = 50,        /* BUSY because too much waits to be written. */
    RETRY_LOADING_MS = 100,   /* BUSY because too much waits to be loaded. */
    MEMORY_RESERVE_PART = 16, /* What sessions may grow beyond memory_max: this part of it. */
    FAILED_TEXT_BYTES_MAX = 128,
};

struct shard {
    struct shard_options options;
    const struct policies *policies;
    struct memory *memory;
    struct keeper *keeper;
    uint64_t hlc;
    uint64_t now_ms;
    struct shard_stats stats;

    /* Of the request that is executed; they keep their memory. */
    struct session_written written;
    struct session_view view;
    struct buffer scratch;

    struct acks acks;
    uint64_t appended_lsn, durable_lsn;
    uint64_t fragile_lsn; /* Appended up to here, not all would outlive the process. */
    bool log_full, log_failed;
    char failed_text[FAILED_TEXT_BYTES_MAX];

    struct overload overload;

    struct patrol patrol;
    struct wheel wheel;

    struct buffer buried; /* While restoring: struct buried, packed. */
    bool idle_restored; /* Sessions with idle timeouts came; they get idle/8 in the first round. */
    bool revived;       /* A key that was buried came back: see shard_restore_done(). */
    uint64_t restored_hlc; /* Newest of what came from the store. */
    uint64_t gone_hlc;     /* Newest write of all keys that were let go whole. */
    uint64_t restored_ms;  /* When serving began; 0: nothing was restored. */

    bool loading; /* Serving has begun, and the store still gives. */
    struct loader_port *loader;
    struct position_set fetched; /* What it gave before its turn. */
    struct parking parking;
};

/* A key's record and what it says at a time. */
struct glance {
    bool there;   /* Some record, perhaps a tombstone. */
    bool counted; /* A session not buried yet: what stats.live counts. */
    bool expired;
    uint64_t due_ms; /* When the shard should look at it again; 0: never. */
};

/* Take the time of an event. */
void shard_advance(struct shard *shard, uint64_t now_ms);

void shard_trace(struct shard *shard, enum trace_event event, uint64_t a, struct bytes text);

/* Look at a record at `now_ms`, through shard->view. */
struct glance shard_glance(struct shard *shard, struct bytes record, uint64_t now_ms);

/* The record of a key; empty where there is none. Where it has expired, and the patrol has not come to
 * it since a restart, it first gets back the idle time that the restart took. */
struct bytes shard_find(struct shard *shard, uint64_t position, struct bytes key);

/* Answer a request, or hold it until everything appended up to shard->appended_lsn is durable. */
void shard_answer(struct shard *shard, const struct request *request, struct reply *reply,
                  uint64_t now_us);
void shard_answer_held(struct shard *shard, const struct request *request, struct reply *reply);
void shard_answer_error(struct shard *shard, const struct request *request, enum status status,
                        const char *text, uint64_t now_us);

/* One operation each. They answer. */
void shard_get(struct shard *shard, const struct request *request, uint64_t now_us);
void shard_scan(struct shard *shard, const struct request *request, uint64_t now_us);
void shard_inspect(struct shard *shard, const struct request *request, uint64_t now_us);
void shard_write(struct shard *shard, const struct request *request, uint64_t now_us);

/* Answer a request that has waited for longer than its client does. Returns whether it has. */
bool shard_refuse_timeout(struct shard *shard, const struct request *request, uint64_t now_us);

/* Execute a request that nothing holds back. */
void shard_run(struct shard *shard, const struct request *request, uint64_t now_us);

/* While loading: must this request wait? Then park it. */
bool shard_must_wait(const struct shard *shard, const struct request *request);
void shard_park(struct shard *shard, const struct request *request, uint64_t now_us);

/* While loading: was all of this position given before its turn? */
bool shard_has_fetched(const struct shard *shard, uint64_t position);

/* At the end of a restore: forget what was buried and did not come back. */
void shard_drop_buried(struct shard *shard);

/* Append to the log. Returns 0, -ENOSPC, -EIO, -EAGAIN; keeps the states and traces their changes. */
int shard_append(struct shard *shard, enum log_kind kind, uint64_t position, struct bytes key,
                 const struct bytes parts[], uint32_t part_count);
/* The status that answers such an error. */
enum status shard_append_status(int rc);
const char *shard_failed_text(const struct shard *shard);

/* Something falls due at `due_ms`: into the wheel, unless the patrol comes by before. */
void shard_arm(struct shard *shard, uint64_t position, uint64_t due_ms);

/* Give back the idle time that a restart may have taken: a part of the timeout, but never more than if
 * the session had been used at the restart. */
void shard_give_grace(struct shard *shard, uint64_t position, struct bytes record);

/* Idle deadlines are logged when they slide into another of these parts of the idle timeout: what a
 * crash forgets is less than one. */
static inline uint64_t shard_touch_part_ms(uint64_t idle_ms)
{
    return idle_ms < 8 ? 1 : idle_ms / 8;
}

#endif
