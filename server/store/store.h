/* The store of one shard: its log's segments, its checkpoint, and the threads that turn one into the
 * other.
 *
 *   store_open() -> store_restore() -> store_start() -> (the log writer takes and seals segments) ->
 *   store_stop() -> store_close()
 *
 * or, to serve while sessions are still brought in, store_prepare() in place of store_restore(), and its loader
 * (loader.h). Nothing is compacted before the loader has finished; but where there is more log than memory
 * would have room for, which is whole sessions where the checkpoint's may be cold, it is compacted first.
 *
 * The shard is never asked for anything: what is compacted is the log. One thread prepares segments, so
 * that one is always ready; another, of lower priority, compacts once the sealed log is larger than 5/4 of
 * the live data and log_bytes_min. All of the log never takes more than 7/4 of the live data and three times
 * log_bytes_min: where compaction cannot keep up, the log writer has to wait for it, and it
 * is no longer of lower priority.
 *
 * Threads: calls from one thread at a time, except segments_take() and segments_seal() (the log
 * writer's) and store_stats() (any). The port to memory is used by all of the store's threads.
 */
#ifndef STORE_H
#define STORE_H

#include <stdbool.h>
#include <stdint.h>

#include "archive_mark.h"
#include "checkpoint.h"
#include "files.h"
#include "memory.h"
#include "ports.h"
#include "report.h"
#include "segment_pool.h"

struct store; /* private to store.c */

struct store_options {
    const char *directory; /* Of the shard (directory_shard_path()); copied. */
    uint32_t shard;
    bool used; /* The directory was used before: where it is empty now, that is told. */
    struct actor actor;
    uint64_t seed;             /* Of positions: the data directory's. */
    uint64_t record_bytes_max; /* The largest session_max_bytes of any policy. */
    uint64_t segment_bytes;    /* 0: SEGMENT_BYTES_DEFAULT, or what such records need. */
    uint64_t log_bytes_min;    /* See above. 0: 64 MiB. */
    uint64_t bytes_max;        /* This shard's part of storage.disk_limit; 0: no limit. */
    uint64_t map_bytes;        /* LMDB's map to begin with; it grows. 0: 1 GiB. */
    uint32_t records_max;      /* Of a compaction's run; 0: compaction.h's own. */
    uint64_t load_bytes_max;   /* More log than this is compacted before it is given; 0: never. */
    bool archives; /* What the archive has not yet of the log is kept (segment_pool.h)... */
    uint64_t
        archive_backlog_bytes; /* ... up to so many bytes of files beside the log that is needed. */
    uint64_t archive_place;    /* Which archive (archive_mark.h). */
    struct files *files;       /* NULL: the system's. */
    struct memory *memory;     /* Any thread may use it. */
    struct reporter *reporter;
};

/* Where a restart's sessions go: shard_restore_*() of server/core/shard.h. `kind` is one of log_kind.h, of a
 * record of the checkpoint LOAD_STORED (load.h); the body is valid during the call.
 * Returns 0; -EBADMSG: damaged, which is reported; -ESTALE: without its base, which is reported (but not of
 * a touch); any other error ends the restore. */
struct store_sink {
    int (*give)(struct store_sink *sink, uint32_t kind, struct bytes body);
};

/* Open; `message` says what is wrong where it fails. Returns 0 or negative errno. */
int store_open(const struct store_options *options, struct store **store, char *message,
               size_t message_size);
void store_close(struct store *store);

/* Give everything to the sink: the checkpoint in order of position, then the log after it in its own
 * order, and what a killed process left in the staging (leftover.h). A sink of NULL only finds where the
 * log ends. Damage is reported, the rest is given. Sets `lsn`
 * to where the log goes on, in the next segment taken. Once, before store_start().
 * Returns 0 or negative errno. */
int store_restore(struct store *store, struct store_sink *sink, uint64_t *lsn);

/* Find what store_loader() will give. `lsn` is where the log goes on, `hlc` at or above all its stamps;
 * `work` whether there is anything. With much log it takes a compaction's time. In place of
 * store_restore(). Returns 0 or negative errno. */
int store_prepare(struct store *store, uint64_t *lsn, uint64_t *hlc, bool *work);

/* The name of the file at which that failed, in the store's directory; empty: at none of the log's. */
const char *store_failed(const struct store *store);

struct loader_port *store_loader(struct store *store);

/* Make a segment ready, then start the threads. Where that fails for want of room, serving may begin all
 * the same: segments_take() says -ENOSPC until there is some. Returns 0 or negative errno. */
int store_start(struct store *store);

/* End the threads; a compaction under way is given up, and nothing is lost by that. */
void store_stop(struct store *store);

/* For the log writer. */
struct segments *store_segments(struct store *store);
struct staging *store_staging(struct store *store);

/* ---- The archive, where options.archives ---- */

/* How far the archive has the log, as it is kept over a restart (archive_mark.h). After store_prepare() or store_restore();
 * where nothing is kept of it, from where the log that is still there begins, of no actor. Any thread. */
void store_archived(const struct store *store, struct archive_mark *mark);

/* It has more. Kept once it returns 0, and what of the log was only there for the archive goes; else negative errno. Any
 * thread, one at a time. Before serving it may go back, to where a log that has lost its end goes on. */
int store_set_archived(struct store *store, const struct archive_mark *mark);

/* Visit sessions of the checkpoint in order (checkpoint_scan()). */
int store_scan(struct store *store, struct checkpoint_key *from, size_t bytes,
               int (*visit)(void *context, struct checkpoint_key key, struct bytes record),
               void *context);

/* Did anything of this slot not read back, of the log or of the checkpoint, since it was whole, so that the checkpoint
 * may be without it? Where it cannot be told of which slot that was, it may have been of any. Kept over restarts
 * (kept_lacks.h). Any thread. */
bool store_lacks(struct store *store, uint32_t slot);

/* Of this slot all that there was has come from elsewhere, into the log. Any thread. */
void store_whole(struct store *store, uint32_t slot);

struct store_stats {
    uint64_t log_bytes;    /* Of all segment files. */
    uint64_t sealed_bytes; /* Of log that waits for compaction. */
    uint64_t kept_bytes;   /* Of log that is kept for the archive alone. */
    uint32_t segments;
    bool disk_full;
    uint64_t checkpoint_lsn, checkpoint_sessions, checkpoint_bytes;
    uint64_t checkpoints;         /* Compactions done since the start. */
    uint64_t checkpoint_failures; /* Since the start. */
    uint64_t checkpoint_ms;       /* Duration of the last one. */
    bool compacting;
};

void store_stats(struct store *store, struct store_stats *stats);

/* Compact all that is sealed, now, on the caller's thread; before store_start() or after store_stop().
 * Returns 0 or negative errno. */
int store_compact(struct store *store);

/* The checkpoint, for whoever reads it whole (convert.c, dump.c), when nothing else runs. */
struct checkpoint *store_checkpoint(struct store *store);

#endif
