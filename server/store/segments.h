/* The log writer's side of the segment files of one shard's log; segment_pool.h is the store's.
 *
 *   free -> ready -> taken (by the log writer) -> sealed -> compacted into LMDB -> free
 *
 * The log writer takes and seals. A thread of the store prepares files ahead of time, and the log writer
 * never waits for it: where no segment is ready it is told so, and asks again.
 *
 * Threads: the shard's.
 */
#ifndef SEGMENTS_H
#define SEGMENTS_H

#include <stdint.h>

#include "log_format.h"

struct segments; /* private to segments.c */

struct segment {
    int fd; /* Open for O_DIRECT|O_DSYNC writing; owned by the pool. */
    uint32_t id;
    struct log_epoch epoch;
    uint64_t size; /* Of the file. */
    uint64_t lsn;  /* Of the byte at LOG_HEADER_BYTES. */
};

/* The next segment to write, whose stream begins at `lsn`. Its header is written and durable; its first
 * record, at LOG_HEADER_BYTES, must be the MARK of that LSN.
 * Returns 0; -EAGAIN: none is ready, one is being prepared; -ENOSPC: the disk or storage.disk_limit is
 * full (ask again later: room may come back); -EIO: preparing failed again and again. */
int segments_take(struct segments *segments, uint64_t lsn, struct segment *segment);

/* A taken segment is complete and durable; `end_lsn` is the first LSN not in it. */
void segments_seal(struct segments *segments, uint32_t id, uint64_t end_lsn);

#endif
