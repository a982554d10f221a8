/* What a shard's store is without: of these slots something did not read back, of the log or of the checkpoint, so that what
 * is here may not be all that there was. It is kept over a restart in a small file of the shard's directory, as what compaction
 * has left out of a checkpoint reads back without a fault from then on.
 *
 * So it is written before anything that was made without it is committed, and before the log that it was in may go. A slot is
 * whole again once it has come from elsewhere: from another owner, compared when nothing was known of it here, or from the
 * archive. The file goes with the last one.
 *
 * File lacks, replaced as a whole:
 *
 *   offset size
 *        0    8  "BELAYLCK"
 *        8    4  format version, 1
 *       12    4  shard
 *       16    4  CRC-32C of the bytes from 24 on
 *       20    4  CRC-32C of the bytes 0 to 19
 *       24 2048  a bit for each slot, lowest first; 1: something of it is missing
 *
 * Threads: as each function says.
 */
#ifndef KEPT_LACKS_H
#define KEPT_LACKS_H

#include "files.h"
#include "report.h"
#include "slot.h"

struct store;

#define KEPT_LACKS_NAME "lacks"

enum { LACKS_WORDS = SLOT_COUNT / 64 };

/* Make the file say this, or be no more where it is nothing. Durable once it returns 0; else negative errno. Any thread, one at a
 * time for a shard. */
int kept_lacks_put(struct files *files, const char *directory, uint32_t shard,
                   const uint64_t lacks[LACKS_WORDS]);

/* Take what is kept, when the store is opened: a file that does not read back may have told of all slots, and is reported.
 * Returns 0 or negative errno. */
int kept_lacks_get(struct store *store);

/* What is reported did not read back. Any thread. */
void kept_lacks_note(struct store *store, const struct store_report *report);

/* Where that is not kept yet: make it so, and remove what is kept of what was seen (kept_seen.h). The store's own thread, or when
 * that does not run. Returns 0 or negative errno. */
int kept_lacks_write(struct store *store);

#endif
