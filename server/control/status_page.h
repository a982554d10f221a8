/* What `belayctl status` shows, as one JSON document: the keys are an interface, and new ones are only
 * ever added.
 *
 *   node version pid uptime_ms ready reason    reason: why not, empty when ready
 *   listen {native http}  data_dir             ADDR:PORT
 *   sessions session_bytes session_memory_bytes memory_limit resident_bytes cpu_ms disk_free_bytes
 *   connections
 *   cold {sessions moved_out moved_in requests fetch_us {...}}  whose fields are on the disk only
 *   requests {get write scan inspect}
 *   latency_us {get write scan inspect}        each {count p50 p99 p999 max}
 *   reads {hit miss}  ended {destroyed expired}  created siblings_hidden repeated
 *   refused {busy timeout limit}
 *   acks {memory replica disk archive}
 *   log {lsn_appended lsn_durable bytes device_writes disk_bytes full failed write_us {...}}
 *   checkpoint {age_ms duration_ms sessions count errors}  damaged
 *   cluster {node epoch leader members slots_owned slots_not_level slots_stray looked records_behind bytes_behind}   metrics.h
 *   switch {taken released holds holds_lapsed held_us {...} longest_slot}   slots that went from one node to another: held_us
 *            are the requests that waited for it, longest_slot is that of the one that waited longest
 *   archive {state url cause degraded_ms based rpo_ms unarchived_bytes kept_bytes objects checkpoints records raw_bytes object_bytes
 *            errors conflicts gap_bytes last_ms put_us {...}}   state: off, ok or degraded; off: nothing else, but `restore`
 *            where slots are lost; cause: why it was degraded the last time; last_ms: since the last object, 0: none
 *   shards [...]                               each {shard responding sessions connections cpu_ms
 *                                              log_lsn_durable}
 *
 * Sums are over the shards that answered; a checkpoint's age is the oldest's.
 */
#ifndef STATUS_PAGE_H
#define STATUS_PAGE_H

#include "metrics.h"

struct status_page {
    const struct metrics *metrics;
    const char *native, *http; /* ADDR:PORT */
    const char *data_dir;
    const char *reason; /* Empty: ready. */
    int64_t pid;
};

/* Its part "archive" alone: {"archive": {...}}. Returns memory for free(), or NULL where there is none. */
char *status_archive_json(const struct metrics_archive *archive);

/* Returns memory for free(), or NULL where there is none. */
char *status_page_json(const struct status_page *page);

#endif
