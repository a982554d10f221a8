/* Compaction: sealed log becomes checkpoint.
 *
 * A run goes through as much of the sealed log as its table of records holds, sorts the table by key, and
 * brings each key's records, in the order of the log, together with what the checkpoint has of it. Where
 * few keys changed it does so in place, in transactions of IN_PLACE_MAX records of log each; else by
 * building a fresh checkpoint in one pass over the old one. Either way a commit says up to which LSN
 * it goes, and only then is that part of the log free.
 *
 * A key is forgotten exactly when the shard said so (LOG_BURY): the checkpoint needs neither clock nor
 * policy, and whatever the log still has of a session finds its base.
 *
 * Memory: COMPACTION_RECORDS_MIN (or a quarter of the sessions, if more) times 40 bytes, twice while they
 * are sorted, and the largest record three times; all given back after each run. Session records are
 * read one at a time. Threads: one.
 */
#ifndef COMPACTION_H
#define COMPACTION_H

#include "checkpoint.h"
#include "log_reader.h"
#include "segment_pool.h"

enum { COMPACTION_RECORDS_MIN = 512 * 1024, COMPACTION_IN_PLACE_MAX = 2000 };

struct compaction_entry;

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
    uint32_t records_max; /* Of a run; 0: as above. */
    /* Called every few hundred records; returns whether to give up. */
    bool (*breathe)(void *context);
    void *context;

    /* private to compaction.c */
    struct segment_file *sealed;
    int *fds;
    uint32_t sealed_count, sealed_capacity;
    struct buffer entries;
    uint64_t from_lsn, to_lsn, body_bytes;
    uint32_t limit, breath;
    struct buffer records[2], body;
};

/* One run over what is sealed now, after which the segments it covers are recycled.
 * Returns 1 with something done, 0 when nothing is sealed, -ECANCELED, or negative errno: what was not
 * committed is as before, and the next run does it again. */
int compaction_run(struct compaction *compaction);

#endif
