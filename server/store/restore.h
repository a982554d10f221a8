/* What a restart has to give: the checkpoint, then the log after it.
 *
 * The files of the log form a chain by their LSNs. Each but the last ends where the next one begins; the
 * last one ends as log_format.h says. What a crash cut short was found to end at some LSN by the start
 * after it, which went on from there in a new file: so that file's beginning is the proof. Behind the end
 * comes what a killed process left in the staging.
 *
 * Preparing finds the chain, its end and the index of each of its segments, and reads only those segments that
 * have none. Giving goes through everything in order: the checkpoint's in order of position, then the log.
 * It may be interrupted at any record and goes on from there.
 *
 * Memory: the indexes, from the store's port. Threads: one at a time; what preparing found may be read by
 * others while giving.
 */
#ifndef RESTORE_H
#define RESTORE_H

#include "segment_index.h"
#include "segment_pool.h"
#include "store.h"

/* One segment of the chain; or, as the last one, what a killed process left in the staging (leftover.h), which
 * lies in memory. */
struct restore_run {
    struct segment_file file; /* Of what was left only its LSN. */
    struct segment_index index;
    bool left;
};

struct restore {
    struct store *store;
    struct restore_run *runs;
    uint32_t run_count, run_capacity;
    uint64_t from_lsn; /* The checkpoint has what is before. */
    uint64_t end_lsn;
    uint64_t hlc; /* At or above every stamp that is given. (A touch is none.) */
    bool has_checkpoint;
    struct buffer left; /* Records as of epoch {1, 0}, without MARKs. */
    /* How far giving has come: all before is given. */
    bool checkpoint_given;
    uint64_t position; /* In the checkpoint. */
    uint64_t lsn;
    char failed
        [SEGMENT_NAME_BYTES]; /* The file at which the last call that failed was; "": the checkpoint. */
};

/* What is missing of the log, also at its end, is reported. Returns 0 or negative errno. */
int restore_prepare(struct restore *restore, struct store *store);
void restore_fini(struct restore *restore);

static inline bool restore_is_empty(const struct restore *restore)
{
    return !restore->has_checkpoint && restore->from_lsn == restore->end_lsn;
}

/* Give everything from where the last call stopped. Returns 0 at the end, what the sink returned, or
 * negative errno. */
int restore_give(struct restore *restore, struct store_sink *sink);

/* Give what the checkpoint and the log hold of one position, all of it, without a report of damage: that comes
 * when all is given. Between two records that restore_give() gives, or when it does not run; also after
 * restore_fini(), when there is only the checkpoint. Returns as it. */
int restore_give_position(struct restore *restore, uint64_t position, struct store_sink *sink);

/* Before anything is given: the log was compacted, and what is in the checkpoint now need not be given from
 * it. */
void restore_compacted(struct restore *restore);

#endif
