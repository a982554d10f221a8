/* Everything that /metrics tells, as one table: name, kind, labels, help, and how it is computed.
 *
 * From the table (metrics_table.h) come the exposition in Prometheus' text format and METRICS.md. The
 * numbers are a copy that the caller has filled in: struct metrics. Memory: about 60 KiB a shard, the
 * caller's. Threads: the caller's.
 */
#ifndef METRICS_H
#define METRICS_H

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

#include "cluster.h"
#include "histogram.h"
#include "keeper.h"
#include "peers.h"
#include "replication.h"
#include "shard.h"

struct metrics_log {
    uint64_t lsn_appended, lsn_durable;
    uint64_t records, bytes, device_writes, device_bytes;
    struct histogram device_write_us;
    bool failed, full;
    char failure[160]; /* What failed, and how; empty: nothing did. */
};

struct metrics_store {
    uint64_t log_disk_bytes;
    uint64_t checkpoint_age_ms;
    uint64_t checkpoint_duration_ms; /* Of the last one. */
    uint64_t checkpoint_sessions;    /* Written by the last one. */
    uint64_t checkpoint_count, checkpoint_errors;
    uint64_t damaged; /* Records found damaged since the start. */
};

struct metrics_shard {
    bool responding; /* Else the shard did not answer in time, and the rest is not shown. */
    struct shard_stats shard;
    struct keeper_stats keeper;
    struct metrics_log log;
    struct metrics_store store;
    uint64_t connections, accepted, refused_connections;
    uint64_t bytes_in, bytes_out, frames_bad, hops, output_limited, events_dropped;
    uint64_t link_waits;
    struct replication_stats copies;
    struct histogram held_us;   /* How long requests waited for a slot's switch... */
    uint32_t held_longest_slot; /* ... and whose took longest. */
    uint64_t records_behind, bytes_behind, behind_us; /* Of copies on other nodes. */
    uint64_t cpu_us;
};

enum {
    METRICS_VOTERS_MAX = 8
}; /* More than ever vote (voters.h), also while one replaces another. */

/* This node's part of the cluster. */
struct metrics_membership {
    uint32_t node, leader; /* Numbers; leader 0: nobody. */
    enum map_state state;  /* This node's, and why it is degraded: CONDITION bits (liveness.h). */
    uint8_t condition;
    uint32_t voters[METRICS_VOTERS_MAX],
        voter_count; /* Of those who decide, the leader included. */
    uint32_t members;
    uint64_t epoch;
    uint32_t slots_owned; /* As the primary or as a copy. */
    /* Of the whole map: their owners are not yet who is to own them. And of this node: it may not have all yet of what
     * other owners have. */
    uint32_t slots_not_level;
    uint32_t
        slots_stray; /* Not this node's, of which something is here that others may not have... */
    bool looked;     /* ... and there are no more of them. */
    uint64_t records_behind,
        bytes_behind; /* Sent to others, which have not said that they have it. */
};

/* Slots that were lost with their last owner, of which this node is the primary (server/node_recover.h). */
struct metrics_restore {
    uint32_t lost;                             /* Slots of the cluster, whoever owns them. */
    uint32_t slots;                            /* Of this node, still to come... */
    uint64_t eta_ms;                           /* ... in about so long; 0: that is not known. */
    uint64_t bytes, bytes_done;                /* Of the archive, raw, about; of the last loss. */
    uint64_t sessions, expired, left, refused; /* Since the start. */
    uint64_t damaged; /* Objects, or parts of them, that could not be read. */
    char cause[256];  /* Why it waits; "": it does not. */
};

/* The archive, where there is one (server/archive/archiver.h). */
struct metrics_archive {
    struct metrics_restore restore;
    bool there;
    bool based; /* It has all that the node has, and not only what was written since it is there. */
    bool away;  /* Its last try came to nothing. */
    const char *url;
    char cause[256]; /* Why it was away the last time. */
    uint64_t away_for_ms;
    uint64_t behind_ms,
        behind_bytes; /* Of log that is not there yet: the age of the oldest, and how much... */
    uint64_t
        others_ms; /* ... and that of what others stamped, and may not have archived; in `behind_ms`, too. */
    uint32_t taken; /* Nodes for which this one archives. */
    uint64_t taken_records;
    uint64_t kept_bytes; /* Of log that is kept for it alone. */
    uint64_t objects, records, raw_bytes, object_bytes;
    uint64_t failures, conflicts, gap_bytes, baseless;
    uint64_t sequence; /* Of the next object. */
    uint64_t checkpoints;
    uint64_t stored_ms_ago; /* The last one; 0: none was. */
    struct histogram store_us;
};

struct metrics {
    const char *version;
    const char *node_name;
    uint64_t uptime_ms;
    uint64_t start_ms;      /* Since 1970. */
    int64_t clock_ahead_ms; /* wall_clock.h */
    uint64_t memory_limit;  /* Bytes. */
    uint64_t process_cpu_us;
    uint64_t process_resident_bytes;
    uint64_t disk_free_bytes; /* Where the data directory lies. */
    struct metrics_membership membership;
    struct metrics_archive archive;
    uint64_t logins_right, logins_wrong, logins_limited, logins_busy;
    struct peers_figures peers;
    bool ready;
    struct cluster_figures cluster;
    uint32_t shard_count;
    struct metrics_shard *shards;
};

/* Print the exposition. */
void metrics_print(const struct metrics *metrics, FILE *to);

/* Print the table as Markdown. */
void metrics_print_help(FILE *to);

#endif
