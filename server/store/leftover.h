/* What a process that was killed left in the staging: the end of the log, which no device write took.
 *
 * When a restart has found where the segments end, the area that holds the records from there on is next,
 * then the one that goes on where that one ends, and so on. An area counts where
 *   - the restart has come to an LSN within it, so that no record is missing before it;
 *   - its segment is not older than the last one of the log: else a start before this one had taken the
 *     area up (into a newer segment) and was killed before it could empty it;
 *   - its note holds (staging.h). After a power failure it may not; the log then ends before.
 * A gap ends it: what an area that is missing had is lost with the power, never with the process.
 *
 * What was found goes to the sink as the rest of the log, and is settled: written to a segment of its own
 * that begins where the log had ended, as the log writer would have done. Its MARK is written last, and
 * so the segment counts once it is whole; then the staging is emptied. The segment that the records were
 * meant for is left alone, because a device write of the dead process may still be on its way to it.
 *
 * This is no judgement on what was acknowledged: of records that are in the staging after a device write
 * failed, whose clients heard LOG_FAILED or nothing, all come back; so may one whose append was cut short
 * before its answer.
 *
 * Where a full disk has no room for the segment, serving begins all the same. The staging then stays as it
 * is, durable by then, and the log takes nothing, until there is room.
 *
 * Threads: one at a time.
 */
#ifndef LEFTOVER_H
#define LEFTOVER_H

#include "log_reader.h"
#include "segment_pool.h"
#include "staging.h"

struct leftover {
    uint32_t shard;
    struct staging *staging;
    struct segments *segments;
    struct files *files;
    struct memory *memory;
    struct reporter *reporter;
    /* private to leftover.c */
    struct buffer records; /* In no segment yet: records as of epoch {1, 0}, without MARKs. */
    uint64_t lsn;          /* Where their segment begins... */
    uint64_t hlc;          /* Of the newest. */
    struct segment segment;
    bool taken; /* ... once there is one. */
};

/* Visit the records that continue the log, which ends at `lsn` in a segment of epoch `last` (0: in none
 * that is still there), and settle them. Sets `lsn` to where the log goes on, in another segment.
 * Returns 0, also where there is no room to settle them yet; what the visitor returned; negative errno. */
int leftover_take(struct leftover *leftover, uint32_t last, uint64_t *lsn,
                  struct log_visitor *visitor);

/* Settle what is still to be settled. Returns 1 when that was done now, 0 when there was nothing to do,
 * negative errno (-ENOSPC: try again when there may be room). */
int leftover_settle(struct leftover *leftover);

void leftover_fini(struct leftover *leftover);

#endif
