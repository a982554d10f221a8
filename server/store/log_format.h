/* The write-ahead log of one shard, byte by byte.
 *
 * The log is a stream of records, and an LSN is an offset in it. It lies in segment files, written and
 * zeroed before use and recycled afterwards (a commit to blocks that exist costs half of one that makes
 * the file grow). Each file:
 *
 *   offset size
 *        0    8  "BELAYLOG"
 *        8    4  format version, LOG_FORMAT_VERSION
 *       12    4  shard
 *       16    8  actor: node, start
 *       24    8  epoch: number (4), salt (4)
 *       32    4  CRC-32C of the bytes 0 to 31
 *       36       zeros
 *     4096       records, until a record header of zeros, of another epoch, or the end of the file
 *
 * The epoch is one life of one file: its number is greater than that of every life begun before, of any
 * file of the shard, so it also orders the files; its salt is random.
 *
 * A record begins at a multiple of 8 bytes:
 *
 *        0    4  CRC-32C, starting from the salt, of what follows: header from 4 on, body, padding
 *        4    4  body size, without padding
 *        8    4  number of the epoch
 *       12    4  kind, enum log_kind
 *       16    8  position of the key (0 where there is none); of a MARK: its own LSN
 *       24       body, zero-padded to a multiple of 8
 *
 * Bytes that an earlier life of the file left behind have another number; bytes that a client sent
 * inside a value cannot know the salt. So neither passes for a record, wherever one looks for it.
 *
 * A record does not cross files: what does not fit goes to the next one. The first record of a file is a
 * MARK, which gives the LSN of the file's first record byte; the stream goes on there from where it
 * ended in the file before, without a gap.
 *
 * Torn end or damage? One device write is in flight at a time, of any number of blocks, and a crash
 * may leave any of them unwritten. Each device write brings exactly one MARK, before its other records,
 * and so a MARK says: everything before me was durable before I was written. Where replay meets a bad
 * record it looks for a later MARK of the same file, or a later file: with one, acknowledged records
 * are damaged, which is reported; without one, the log ends here. What the process noted of
 * the last device write that was done (staging.h) says the same as a MARK there would, as long as some
 * of it is there. A block that the end of the stream lies in is written again with the next records, its
 * old bytes unchanged.
 */
#ifndef LOG_FORMAT_H
#define LOG_FORMAT_H

#include <stdint.h>

#include "bytes.h"
#include "log_kind.h"
#include "stamp.h"

enum {
    LOG_FORMAT_VERSION = 1,
    LOG_HEADER_BYTES = 4096,
    LOG_RECORD_HEADER_BYTES = 24,
    LOG_RECORD_ALIGN = 8,
    LOG_BLOCK_BYTES = 4096, /* Device writes begin and end at a multiple of it. */
};

/* One life of one segment file. */
struct log_epoch {
    uint32_t number; /* From 1 up. */
    uint32_t salt;
};

struct log_record {
    uint32_t kind;
    uint64_t position;
    struct bytes body;
};

struct log_segment_header {
    uint32_t shard;
    struct actor actor;
    struct log_epoch epoch;
};

static inline uint64_t log_record_size(uint64_t body_size)
{
    return (LOG_RECORD_HEADER_BYTES + body_size + LOG_RECORD_ALIGN - 1) &
           ~(uint64_t)(LOG_RECORD_ALIGN - 1);
}

/* Write a segment's first LOG_HEADER_BYTES. */
void log_segment_header_put(uint8_t *to, const struct log_segment_header *header);

/* Returns 0; -ENODATA: never used (zeros); -EBADMSG: damaged, cut short; -EPROTONOSUPPORT: another
 * version. `header` is set only with 0. */
int log_segment_header_parse(struct bytes from, struct log_segment_header *header);

/* Write a whole record, header, gathered body and padding: log_record_size() bytes. */
void log_record_put(uint8_t *to, struct log_epoch epoch, uint32_t kind, uint64_t position,
                    const struct bytes parts[], uint32_t part_count);

/* Write the MARK that begins a device write, at `lsn`: log_record_size(0) bytes. */
void log_mark_put(uint8_t *to, struct log_epoch epoch, uint64_t lsn);

/* Size that the record at the start of `from` says it has, as log_record_size() counts: what must be
 * there to parse it. 0 where there is no header of this epoch with a known kind. Nothing is verified. */
uint64_t log_record_claim(struct bytes from, struct log_epoch epoch);

/* Take apart the record at the start of `from`; the body points into it.
 * Returns its whole size; 0 at a header of zeros or where `from` is empty; -EBADMSG when there is none
 * of this epoch, whole and undamaged. `record` is set only with a size. */
int64_t log_record_parse(struct bytes from, struct log_epoch epoch, struct log_record *record);

/* One record of a LOG_BATCH's body. */
struct log_batch_item {
    uint8_t kind;
    uint64_t position;
    struct bytes body;
};

/* Bytes that log_batch_item_put() writes. */
size_t log_batch_item_size(const struct log_batch_item *item);
uint8_t *log_batch_item_put(uint8_t *to, const struct log_batch_item *item);

/* The next record of a batch. Returns 1 with `item` set, 0 at the end, -EBADMSG. */
int log_batch_next(struct reader *batch, struct log_batch_item *item);

#endif
