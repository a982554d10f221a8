/* Following a shard's log while it is written: its records from some LSN on, in order, from the segments that are sealed,
 * kept for the archive, or being written. What is durable is in them; nothing beyond it is looked at.
 *
 * Memory: log_reader.h's window. Threads: any, one at a time; the log writer goes on beside it.
 */
#ifndef LOG_FOLLOW_H
#define LOG_FOLLOW_H

#include "log_reader.h"
#include "segment_pool.h"

struct log_follow {
    struct segments *segments;
    struct log_reader reader;
};

void log_follow_init(struct log_follow *follow, struct segments *segments, struct files *files,
                     struct memory *memory);
void log_follow_fini(struct log_follow *follow);

/* Visit the records from `lsn` on up to `end_lsn`, which is durable. Sets `lsn` to where it got to: `end_lsn`; the record
 * at which the visitor ended the walk; or where the log goes on in a file that there is not yet. Adds to `gap_bytes` what
 * is not there any more, and what is damaged (of which the visitor is told as well).
 * Returns 0, what the visitor returned, or negative errno. */
int log_follow(struct log_follow *follow, uint64_t *lsn, uint64_t end_lsn,
               struct log_visitor *visitor, uint64_t *gap_bytes);

#endif
