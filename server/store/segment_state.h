/* The inside of the pool of segments, for segments.c (its table), segment_scan.c (the files that are there) and
 * segment_prepare.c (those that are made). */
#ifndef SEGMENT_STATE_H
#define SEGMENT_STATE_H

#include <pthread.h>

#include "segment_pool.h"

#define SEGMENT_TEMPORARY_NAME "log-new.seg.tmp"

struct segments {
    struct segments_options options;
    pthread_mutex_t lock;
    pthread_cond_t changed;
    uint64_t changes;
    struct segment_file *table;
    uint32_t table_size;
    uint32_t next_number;
    uint64_t kept_bytes, other_bytes;
    uint64_t awaited_lsn; /* LOG_LSN_UNKNOWN: none. */
    uint64_t bound_bytes; /* 0: none. */
    int bound_error;
    uint64_t recycled_hlc;
    bool keeps;            /* segments_keep() */
    uint64_t archived_lsn; /* What lies before it need not be kept. */
    uint64_t kept_max;     /* Bytes. */
    uint64_t taken_ms;     /* When the last one was taken; 0: never. */
    bool busy;             /* The last two were taken within BUSY_MS. */
    int error;             /* Of the last preparation. */
    uint32_t failures;     /* In a row, but for a full disk. */
    bool at_limit;         /* bytes_max, not the disk, leaves no room. */
    bool full_told;
};

/* With the lock held: an unused place of the table, which may move. Returns 0 or -ENOMEM. */
int segments_place(struct segments *segments, uint32_t *id);

/* With the lock held: the file of a state with the lowest epoch, or NULL. */
struct segment_file *segments_first(struct segments *segments, enum segment_state state);

/* With the lock held: give up the oldest file that is kept for the archive. Returns it, free now, or NULL: none is. */
struct segment_file *segments_give_up(struct segments *segments);

/* Give back the notes of a file. */
void segments_forget_entries(struct segments *segments, struct segment_file *file);

/* Put the files of the directory into the table, and remove what a killed process left half done. Returns 0 or negative
 * errno; `failed` is the segment at which it failed, or empty. (segment_scan.c) */
int segments_scan(struct segments *segments, char failed[SEGMENT_NAME_BYTES]);

/* With the lock held. */
void segments_count(const struct segments *segments, struct segments_stats *stats);

#endif
