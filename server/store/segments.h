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

#include <stdbool.h>
#include <stdint.h>

#include "log_format.h"

struct segments; /* private to segments.c */

/* What the log writer notes of each record but MARKs; segment_index.h explains it. */
struct segment_entry {
    uint64_t position;
    uint64_t fingerprint;
    uint32_t place;     /* Offset in the file, divided by LOG_RECORD_ALIGN. */
    uint32_t size_kind; /* Size of the body << SEGMENT_ENTRY_KIND_BITS | kind. */
};

enum { SEGMENT_ENTRY_KIND_BITS = 3 };
#define SEGMENT_NOT_INDEXED UINT32_MAX

struct segment {
    int fd; /* Open for O_DIRECT|O_DSYNC writing; owned by the pool. */
    uint32_t id;
    struct log_epoch epoch;
    uint64_t size; /* Of the file. */
    uint64_t lsn;  /* Of the byte at LOG_HEADER_BYTES. */
    /* Room for the notes, the pool's; may be NULL with 0. */
    struct segment_entry *entries;
    uint32_t entries_max;
};

/* What a segment holds when it is complete. */
struct segment_end {
    uint64_t lsn; /* The first not in it. */
    uint64_t
        hlc; /* At or above that of every record in it, below that of every later one that this node stamped. */
    uint32_t entry_count; /* SEGMENT_NOT_INDEXED where they are not all there. */
};

/* The next segment to write, whose stream begins at `lsn`. Its header is written and durable; its first
 * record, at LOG_HEADER_BYTES, must be the MARK of that LSN.
 * Returns 0; -EAGAIN: none is ready, one is being prepared; -ENOSPC: the disk or storage.disk_limit is
 * full (ask again later: room may come back); -EIO: preparing failed again and again. */
int segments_take(struct segments *segments, uint64_t lsn, struct segment *segment);

/* Is there another one to be taken? */
bool segments_has_ready(struct segments *segments);

/* A taken segment is complete and durable. Its entries are the pool's again. */
void segments_seal(struct segments *segments, uint32_t id, const struct segment_end *end);

#endif
