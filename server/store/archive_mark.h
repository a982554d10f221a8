/* How far the archive has a shard's log: a small file of the shard's directory, replaced as a whole. What lies before
 * it need not be kept (segment_pool.h), and a restart goes on from it.
 *
 *   offset size
 *        0    8  "BELAYARM"
 *        8    4  format version, 2
 *       12    4  shard
 *       16    8  LSN: what is to go to the archive of the log before it is there
 *       24    8  the actor whose objects these are: node, start
 *       32    8  how many log objects it had made
 *       40    8  how many checkpoints
 *       48    1  1: all that the shard's checkpoint had before the log of this file is in the archive, too
 *       49    3  zeros
 *       52    8  which archive this is about (archive_place_id())
 *       60    4  CRC-32C of the bytes 0 to 59
 *
 * A file that is behind what is true costs no more than objects that say again what others do. So one of another version, or
 * about another archive, counts as none: that archive says nothing of what is in this one. Threads: any, one at a
 * time for a shard.
 */
#ifndef ARCHIVE_MARK_H
#define ARCHIVE_MARK_H

#include <stdbool.h>
#include <stdint.h>

#include "files.h"
#include "stamp.h"

#define ARCHIVE_MARK_NAME "archived"

struct archive_mark {
    uint64_t lsn;
    struct actor actor;
    uint64_t log_sequence, checkpoint_sequence;
    bool based;
    uint64_t place;
};

/* Returns 0; -ENOENT: there is none, or it is damaged or of another version, which comes to the same; or other negative
 * errno. */
int archive_mark_read(struct files *files, const char *directory, uint32_t shard,
                      struct archive_mark *mark);

/* Durable once it returns 0; else negative errno, and what was there is. */
int archive_mark_write(struct files *files, const char *directory, uint32_t shard,
                       const struct archive_mark *mark);

#endif
