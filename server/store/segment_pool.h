/* The pool of segment files of one shard's log, as the store sees it; the log writer's side is segments.h.
 *
 *   free -> ready -> taken (by the log writer) -> sealed -> compacted into LMDB -> free
 *                                                   its index is written (segment_index.h)
 *
 * With an archive (segments_keep()) what is compacted and not archived yet is kept before it is free, up to a limit,
 * and only as long as there is other room: beyond that the oldest is given up, and whoever reads the log for the
 * archive finds a gap (log_follow.h). What is kept does not count as log: nobody who writes waits because of it.
 *
 * A thread of the store prepares files ahead of time: new ones are written full of zeros, recycled ones
 * keep their old bytes, and each gets a header with a new epoch. A file is named log-NUMBER-SALT.seg
 * after its epoch, so that names sort in the order of the log and a damaged header loses nothing.
 *
 * The log has a bound, segments_set_bound(): at it no file is made until compaction has freed one, so that
 * the log writer is told to wait (-EAGAIN), and those who write are slowed down to what compaction does.
 *
 * Threads: any; a lock is held for as long as it takes to change a few words. Only one at a time calls
 * segments_prepare().
 */
#ifndef SEGMENT_POOL_H
#define SEGMENT_POOL_H

#include <stdbool.h>

#include "files.h"
#include "memory.h"
#include "report.h"
#include "segments.h"

enum { SEGMENT_NAME_BYTES = 40, SEGMENT_BYTES_DEFAULT = 16 * 1024 * 1024 };

enum segment_state {
    SEGMENT_NONE, /* An unused place of the table. */
    SEGMENT_FREE,
    SEGMENT_BUSY, /* Being prepared or removed. */
    SEGMENT_READY,
    SEGMENT_TAKEN,
    SEGMENT_SEALED,
    SEGMENT_KEPT, /* Compacted, and kept for the archive. */
};

struct segment_file {
    uint32_t id;
    enum segment_state state;
    bool inherited; /* From an earlier process, and not prepared by this one yet. */
    struct log_epoch epoch;
    uint64_t size;
    uint64_t lsn;     /* LOG_LSN_UNKNOWN where it holds no record of its epoch. */
    uint64_t end_lsn; /* Of a sealed one. */
    int fd;           /* Of a ready or taken one, else -1. */
    bool indexed;     /* Of a sealed one: its index is written, or cannot be. */
    bool after_gap;   /* The log before it is missing, which was told at the start. */
    /* Notes for the index, from when it is prepared until they are written; NULL: none. */
    struct segment_entry *entries;
    uint32_t entries_max, entry_count;
    uint64_t hlc; /* struct segment_end's. */
};

struct segments_options {
    const char *directory; /* Of the shard; kept. */
    uint32_t shard;
    struct actor actor;
    uint64_t segment_bytes; /* Of a new file: a multiple of LOG_BLOCK_BYTES. */
    uint64_t bytes_max;     /* Of log and checkpoint together; 0: what the disk has. */
    struct files *files;
    struct memory *memory; /* Used from open, and from then on by prepare only. */
    struct reporter *reporter;
};

/* Size that new segments need for records of up to `record_bytes_max`. */
uint64_t segments_size_for(uint64_t record_bytes_max);

/* Find the files of a directory; none is written before segments_prepare().
 * Returns 0; -EPROTONOSUPPORT: a file of another version of the format; other negative errno. `failed` is then the
 * name of the file that it is about, or empty. */
int segments_open(const struct segments_options *options, struct segments **segments,
                  char failed[SEGMENT_NAME_BYTES]);
void segments_close(struct segments *segments);

/* Copy out the files in one state, in the order of their epochs. Returns how many there are, of which
 * the oldest `max` were written: what was sealed since somebody counted is never put before what is older. */
uint32_t segments_list(struct segments *segments, enum segment_state state,
                       struct segment_file found[], uint32_t max);

/* After a replay: this free file holds the log up to `end->lsn` (of `end` only LSN and hlc count). `after_gap`:
 * what is before it is missing. */
void segments_adopt(struct segments *segments, uint32_t id, const struct segment_end *end,
                    bool after_gap);

/* Paths of a segment and of its index. Return 0 or -ENAMETOOLONG. */
int segments_path(const struct segments *segments, struct log_epoch epoch,
                  char path[PATH_BYTES_MAX]);
int segments_index_path(const struct segments *segments, struct log_epoch epoch,
                        char path[PATH_BYTES_MAX]);

/* The next segment taken is one that begins at `lsn`: whoever asks for another finds none ready.
 * LOG_LSN_UNKNOWN: any, as in the beginning. */
void segments_await(struct segments *segments, uint64_t lsn);

/* The checkpoint covers the log up to `lsn`: sealed files that lie before it are free. */
void segments_recycle(struct segments *segments, uint64_t lsn);

/* From now on compacted files are kept until the archive has them: what lies before `lsn` it has. At most `bytes_max` of
 * them are. */
void segments_keep(struct segments *segments, uint64_t lsn, uint64_t bytes_max);

/* After a replay, with an archive: this free file holds the log up to `end_lsn`, of which the checkpoint has all. */
void segments_adopt_kept(struct segments *segments, uint32_t id, uint64_t end_lsn);

/* The archive has the log up to `lsn`: what was kept before it is free. */
void segments_archived(struct segments *segments, uint64_t lsn);

/* Where the log goes on at `lsn`: the file that has it, if there is one, else the first one behind it, in `file`.
 * `next_lsn` is where the file after that begins, LOG_LSN_UNKNOWN where there is none. Returns false where there is
 * neither. */
bool segments_find(struct segments *segments, uint64_t lsn, struct segment_file *file,
                   uint64_t *next_lsn);

/* How much of the log is kept as free files for reuse; and what else there is in the directory. */
void segments_set_kept(struct segments *segments, uint64_t kept_bytes, uint64_t other_bytes);

/* All files with their indexes take at most `bytes`; 0: no bound. `error` is why the last compaction failed, 0
 * where it did not: at the bound -ENOSPC means that the disk is full, not that compaction is slow. */
void segments_set_bound(struct segments *segments, uint64_t bytes, int error);

/* Do one step of what is due: prepare a file, write an index, or remove a file too many.
 * Returns 1 when something was done, 0 when nothing is due, negative errno (tried again next time). */
int segments_prepare(struct segments *segments);

/* Sleep until something changed after `*seen`, which is brought up to date, or the time is over. */
void segments_wait(struct segments *segments, uint64_t *seen, uint32_t timeout_ms);
/* Wake everybody who waits. */
void segments_wake(struct segments *segments);

struct segments_stats {
    uint64_t bytes;      /* Of all files and their indexes, but for those kept for the archive... */
    uint64_t kept_bytes; /* ... which are these. */
    uint64_t sealed_bytes; /* Of records in sealed files. */
    uint32_t files, ready;
    bool full;     /* Of the disk. */
    bool at_bound; /* No file can be made because of segments_set_bound(). */
    /* The greatest hlc (struct segment_end) of those recycled since the start: every record that this node stamped at
     * or below it is in the checkpoint, as its stamps grow along the log. */
    uint64_t recycled_hlc;
};

void segments_stats(struct segments *segments, struct segments_stats *stats);

void segment_name(char name[SEGMENT_NAME_BYTES], struct log_epoch epoch);
/* Read such a name. Returns 0, or -EINVAL with `epoch` unchanged. */
int segment_name_parse(const char *name, struct log_epoch *epoch);

#endif
