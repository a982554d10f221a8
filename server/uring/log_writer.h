/* The log writer: the shard's log port on its ring.
 *
 * Appends are encoded into the staging (staging.h) at once, and so outlive the process at once. One device
 * write (O_DIRECT|O_DSYNC) is in flight at a time, and what is appended meanwhile goes into the next one:
 * group commit that clocks itself. With nobody waiting (no hurry) a write begins once LOG_WRITE_BYTES_MIN are
 * there or the interval is over. (To let the first waiter wait for others to join, as PostgreSQL's
 * commit_delay does, was tried: the turns become smaller, which costs more than the writes that it saves.)
 *
 *   batch: [tail of the block before][MARK][record][record]...[zeros to the end of the block]
 *
 * A device write ends in the middle of a block as a rule; the next one begins with that block again,
 * its old bytes unchanged, so that a write torn inside it cannot harm them.
 *
 * LSNs are offsets after the record: append gives the end of the record, and durable means everything
 * before an LSN. A device write that fails, or writes less than asked, is never tried again: what the
 * device then holds is unknown (after a failed fsync the kernel may forget dirty pages).
 *
 * A batch that failed stays in the staging, and the next start takes it up; in this life nothing that
 * waited for it is acknowledged.
 *
 * A record too large for an area of the staging gets memory of its own for the time of its write. Until that
 * is done, what dies with the process is this record and, because the log has no gaps, all after it: append
 * says so (ports.h). Where the staging is not kept it always does.
 *
 * A batch takes the first area of the staging that is free, so that two of them do for a device that keeps up: the others'
 * pages are neither in the caches nor, after a time without use, in memory (log_writer_trim()).
 *
 * Memory: the staging is the store's. Threads: its shard's.
 */
#ifndef LOG_WRITER_H
#define LOG_WRITER_H

#include <stdbool.h>
#include <stdint.h>

#include "log_format.h"
#include "plane.h"
#include "ports.h"
#include "ring.h"
#include "segments.h"
#include "staging.h"

enum { LOG_BATCHES = STAGING_AREAS };

/* One device write, past, present or to come. Private to log_writer.c. */
struct log_batch {
    uint8_t *data;
    struct staging_area *area; /* NULL: data is its own memory... */
    size_t own_bytes;          /* ... of this size. */
    size_t size;               /* With the copied tail; before padding. */
    bool closed;               /* Takes no more records. */
    bool seals;                /* With it its segment is complete. */
    uint64_t offset;           /* In the file. */
    uint64_t end_lsn;
    uint64_t records;
    struct segment segment;
    struct segment_end segment_end; /* Where it seals. */
};

struct log_writer {
    struct log_port port;
    struct ring *ring;
    struct shard *shard;
    struct segments *segments;
    struct staging *staging;
    uint32_t areas_free;  /* Bits of those that no batch has. */
    bool trimmable;       /* Some have more pages than are kept. */
    uint64_t fragile_lsn; /* Up to here not all is in the staging. */
    uint64_t interval_us;
    uint64_t lsn; /* Of the next record. */
    struct segment segment;
    bool segment_open;
    uint32_t entry_count; /* Noted of the segment; SEGMENT_NOT_INDEXED: not all of it. */
    bool hurry;
    bool in_flight;
    bool waits;            /* For a segment to be ready... */
    uint64_t waits_us;     /* ... since then. */
    bool failing;          /* Failed, and the shard was not told yet. */
    uint32_t first, count; /* Of batches, a ring; only the last may be open. */
    struct log_batch batches[LOG_BATCHES];
    uint8_t tail[LOG_BLOCK_BYTES]; /* The block in which the next batch begins. */
    uint64_t now_us, since_us, started_us, tried_us;
    struct plane_log_stats stats;
};

void log_writer_init(struct log_writer *writer, struct ring *ring, uint32_t interval_ms);
void log_writer_fini(struct log_writer *writer);

/* Before the first append. */
void log_writer_attach(struct log_writer *writer, struct shard *shard, struct segments *segments,
                       struct staging *staging, uint64_t lsn);

/* The device write completed with `result` (bytes or negative errno): tells the shard. */
void log_writer_written(struct log_writer *writer, int32_t result, uint64_t now_us);

/* Once a turn: begin a device write where one is due. Returns in how many microseconds the next one
 * will be, UINT64_MAX when a completion or an append comes first. */
uint64_t log_writer_turn(struct log_writer *writer, uint64_t now_us);

/* Would a record of about `bytes` find room in staging now? */
bool log_writer_has_room(const struct log_writer *writer, size_t bytes);

/* Is a record of about `bytes` to wait: for room in staging; or for a segment to go to, as compaction or the disk is
 * behind, unless that has been so for `most_us`? Not where there will be none, or the device failed: append says why. */
bool log_writer_is_behind(struct log_writer *writer, size_t bytes, uint64_t most_us);

/* How many bytes may come that can wait, so that what cannot finds room in staging, and a segment: of both the rest is
 * kept for it. */
uint64_t log_writer_spare(const struct log_writer *writer);

/* Give back the pages of the staging that were not used since the last time. While `trimmable`: about once a second. */
void log_writer_trim(struct log_writer *writer);

/* Nothing is waiting to be written (or the device failed). */
bool log_writer_idle(const struct log_writer *writer);

#endif
