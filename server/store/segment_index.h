/* The index of one segment of the log: which session each of its records is about, and where it lies.
 *
 * The log writer notes every record as it appends it, a thread of the store sorts the notes once the
 * segment is sealed and writes them beside it. With it a restart finds a session's records without
 * reading the log, and a compaction reads only those that still count.
 *
 * It can be had from the segment at any time: a file that is missing, damaged or of another life of
 * the segment is made again from there, and losing one costs time, nothing else. So it is not synchronised.
 *
 * File log-NUMBER-SALT.idx, named as its segment:
 *
 *   offset size
 *        0    8  "BELAYIDX"
 *        8    4  format version, SEGMENT_INDEX_VERSION
 *       12    4  shard
 *       16    8  epoch: number (4), salt (4)
 *       24    8  LSN of the segment's first record byte
 *       32    8  LSN at which its records end
 *       40    8  an hlc at or above that of every record in it, below that of every later one that this
 *                node stamped
 *       48    8  number of entries
 *       56    4  CRC-32C of the entries
 *       60    4  CRC-32C of the bytes 0 to 59
 *       64       entries, in order of position, fingerprint, place
 *
 * and each entry:
 *
 *        0    8  position of the key
 *        8    8  its fingerprint (keeper_fingerprint())
 *       16    4  where the record begins in the segment's file, divided by LOG_RECORD_ALIGN
 *       20    4  8 * size of its body + its kind
 *
 * A MARK has no entry; a LOG_BATCH has one, of its own kind, for each session in it.
 *
 * Memory: from the port, as long as the index. Threads: one, or several that only read.
 */
#ifndef SEGMENT_INDEX_H
#define SEGMENT_INDEX_H

#include <stdbool.h>
#include <stdint.h>

#include "files.h"
#include "log_format.h"
#include "log_reader.h"
#include "memory.h"
#include "segments.h"

enum {
    SEGMENT_INDEX_VERSION = 1,
    SEGMENT_INDEX_HEADER_BYTES = 64,
};

struct segment_index {
    struct memory *memory;
    struct log_epoch epoch;
    uint32_t shard;
    uint64_t lsn, end_lsn, hlc;
    struct segment_entry *entries;
    size_t count, capacity;
};

static inline uint64_t segment_entry_offset(const struct segment_entry *entry)
{
    return (uint64_t)entry->place * LOG_RECORD_ALIGN;
}

static inline uint32_t segment_entry_size(const struct segment_entry *entry)
{
    return entry->size_kind >> SEGMENT_ENTRY_KIND_BITS;
}

static inline uint32_t segment_entry_kind(const struct segment_entry *entry)
{
    return entry->size_kind & ((1U << SEGMENT_ENTRY_KIND_BITS) - 1);
}

/* An index without entries, of the epoch, shard and LSN that are set. */
void segment_index_init(struct segment_index *index, struct memory *memory);
void segment_index_fini(struct segment_index *index);

/* Add one of a record at `offset` of the file; sort them before anything else is done with the index.
 * Returns 0 or -ENOMEM. */
int segment_index_add(struct segment_index *index, const struct segment_entry *entry);

/* Add those of a record at `offset`, and its hlc. `seed` is that of positions. Returns 0 or -ENOMEM. */
int segment_index_note(struct segment_index *index, uint64_t seed, uint64_t offset,
                       const struct log_record *record);

void segment_entries_sort(struct segment_entry entries[], size_t count);

/* The first entry of a position, or where it would be. */
size_t segment_index_find(const struct segment_index *index, uint64_t position);

/* Make the index of the reader's segment, from `from_lsn` on, up to `end_lsn` or to the end of the log (as
 * log_reader_walk(), whose visitor's damage() and torn() are `visitor`'s; its record() is not called).
 * `seed` is that of positions. Returns 0 with `index` set, its end_lsn where the records end; or negative
 * errno. */
int segment_index_scan(struct segment_index *index, struct log_reader *reader, uint64_t seed,
                       uint64_t from_lsn, uint64_t end_lsn, struct log_visitor *visitor);

/* Write it to `path`, over what is there. `index` needs no memory port for that.
 * Returns 0 or negative errno. */
int segment_index_write(const struct segment_index *index, struct files *files, const char *path);

/* Read the file of the index whose `epoch` and `shard` are set.
 * Returns 0 with the rest set; -ENOENT; -EBADMSG: damaged, or of another epoch, shard or version; other
 * negative errno. */
int segment_index_read(struct segment_index *index, struct files *files, const char *path);

/* The same without keeping the entries, which are checked through a small window: `entry_count` says how
 * many there are. segment_index_part() then reads up to `max` of them from number `first` on, in place of
 * those that the index holds. Returns 0 or negative errno. */
int segment_index_check(struct segment_index *index, struct files *files, const char *path,
                        uint64_t *entry_count);
int segment_index_part(struct segment_index *index, struct files *files, const char *path,
                       uint64_t first, size_t max);

#endif
