/* The write-ahead log of one shard, byte by byte.
 *
 * The log is a stream of bytes, and an LSN is an offset in it. It lies in segment files of one size,
 * written and zeroed before use and recycled afterwards (a commit to blocks that exist costs half of
 * one that makes the file grow). Each file:
 *
 *   offset size
 *        0    8  "BELAYLOG"
 *        8    4  format version, LOG_FORMAT_VERSION
 *       12    4  shard
 *       16    8  actor: node, start
 *       24    8  LSN of the byte at LOG_HEADER_BYTES
 *       32    4  segment epoch: greater in each life of each file, never 0
 *       36    4  CRC-32C of the bytes 0 to 35
 *       40       zeros
 *     4096       records, until the end of the file or a record header of zeros
 *
 * A record begins at a multiple of 8 bytes:
 *
 *        0    4  CRC-32C of what follows: header from 4 on, body
 *        4    4  body size, without padding
 *        8    4  segment epoch: bytes that an earlier life of the file left behind never pass
 *       12    4  kind, enum log_kind (log_kind.h)
 *       16    8  position of the key (0 where there is none)
 *       24       body, zero-padded to a multiple of 8
 *
 * A record does not cross files: what does not fit goes to the next one, and the rest stays zero.
 *
 * Torn tail or damage? One device write is in flight at a time, of any number of blocks, and a crash
 * may leave any of them unwritten. The first record of each device write is therefore a MARK, which
 * says: everything before me was durable before I was written. Where replay meets a bad record it looks
 * for a later MARK of the same segment, or a later segment: with one, acknowledged records are
 * damaged, which is reported; without one, the log ends here.
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
    LOG_SEGMENT_BYTES_DEFAULT = 128 * 1024 * 1024, /* More than the largest record. */
};

struct log_record {
    uint64_t lsn; /* Of its first byte. */
    uint32_t kind;
    uint64_t position;
    struct bytes body;
};

static inline uint64_t log_record_size(uint64_t body_size)
{
    return (LOG_RECORD_HEADER_BYTES + body_size + LOG_RECORD_ALIGN - 1) &
           ~(uint64_t)(LOG_RECORD_ALIGN - 1);
}

/* Write a segment's first LOG_HEADER_BYTES. */
void log_segment_header_put(uint8_t *to, uint32_t shard, struct actor actor, uint64_t lsn,
                            uint32_t epoch);

struct log_segment_header {
    uint32_t shard, epoch;
    struct actor actor;
    uint64_t lsn;
};

/* Returns 0; -ENODATA: never used (zeros); -EBADMSG: damaged; -EPROTONOSUPPORT: another version. */
int log_segment_header_parse(struct bytes from, struct log_segment_header *header);

/* Write a whole record, header, gathered body and padding: log_record_size() bytes. */
void log_record_put(uint8_t *to, uint32_t epoch, uint32_t kind, uint64_t position,
                    const struct bytes parts[], uint32_t part_count);

/* Take apart the record at the start of `from`. Returns its whole size; 0 at a header of zeros or at
 * the end; -EBADMSG when there is none of this epoch, whole and undamaged. */
int64_t log_record_parse(struct bytes from, uint32_t epoch, struct log_record *record);

#endif
