/* Compaction: sealed log becomes checkpoint.
 *
 * A run takes the sealed segments, merges their indexes (segment_index.h) as streams, and so meets each key
 * with all of its records, in the order of the log. Of these it reads the ones that still count: what
 * lies before a burial does not, and neither does what lies before a LOG_FULL, which is the whole session
 * (log_kind.h); often the checkpoint's own copy need not be looked at either. Each record is checked
 * when it is read; where a LOG_FULL is damaged, what came before it counts after all.
 *
 * Where few keys changed, they are changed in place, in transactions of IN_PLACE_MAX records or
 * IN_PLACE_BYTES of log each;
 * else a fresh checkpoint is built in one pass over the old one. Either way a commit says up to which LSN
 * it goes, and only then is that part of the log free.
 *
 * A key is forgotten exactly when the shard said so (LOG_BURY, LOG_DROP): the checkpoint needs neither clock nor
 * policy, and whatever the log still has of a session finds its base.
 *
 * Memory: for each segment a window of COMPACTION_WINDOW entries of its index, or, where that is
 * missing, the whole index, made again; the present key's entries; the largest record twice. All
 * is given back after each run. The segments are read into the page cache and mapped, so that a run takes no
 * more of them than a quarter of the machine's memory; meanwhile they count in the process's resident size,
 * as does the old checkpoint, though the kernel may take their pages back at any time. What is read again
 * after that and fails then ends the process (bus_error.h). Threads: one.
 */
#ifndef COMPACTION_H
#define COMPACTION_H

#include "checkpoint.h"
#include "log_reader.h"
#include "segment_pool.h"

enum {
    COMPACTION_SEGMENTS_MAX = 1024, /* Of a run: it holds their files open. */
    COMPACTION_WINDOW = 1024,
    COMPACTION_IN_PLACE_MAX = 2000,
    COMPACTION_IN_PLACE_BYTES = 2 * 1024 * 1024,
};

struct compaction_segment;

struct compaction {
    /* Set by the owner. */
    uint32_t shard;
    uint64_t seed;
    const char *directory;
    struct files *files;
    struct memory *memory;
    struct reporter *reporter;
    struct checkpoint *checkpoint;
    struct segments *segments;
    uint64_t bytes_max;   /* Of log and checkpoint together; 0: no limit. */
    uint32_t records_max; /* A run ends with the segment that reaches it; 0: no limit. */
    /* Called every few hundred records; returns whether to give up. */
    bool (*breathe)(void *context);
    /* Called before each commit: what was told to be missing is in none of what is committed, and must be known for as long.
     * Returns 0 once that is kept (kept_lacks.h), or negative errno. */
    int (*keep_lacks)(void *context);
    void *context;

    /* private to compaction*.c */
    struct compaction_segment *sealed;
    uint32_t sealed_count, sealed_capacity;
    uint32_t *losers; /* compaction_merge.c's tree. */
    uint64_t from_lsn, to_lsn, hlc;
    uint64_t record_count, made_count, log_bytes;
    uint32_t breath;
    struct buffer group; /* Entries of the present key. */
    struct buffer records[2], scratch;
    /* Of the last run: the segment at which it failed; empty: at none, or at the checkpoint. */
    char failed[SEGMENT_NAME_BYTES];
};

/* One run over what is sealed now, after which the segments it covers are recycled.
 * Returns 1 with something done, 0 when nothing is sealed, -ECANCELED, or negative errno: what was not
 * committed is as before, and the next run does it again. */
int compaction_run(struct compaction *compaction);

#endif
