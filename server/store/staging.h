/* The staging of one shard's log: where a record lies from its append until a device write has made it
 * durable. It is the shared mapping of a file, `staging` in the shard's directory, and so what was
 * appended is in the page cache at once and outlives the process, however long the disk takes.
 *
 *   offset size
 *        0    8  "BELAYSTG"
 *        8    4  format version, STAGING_VERSION
 *       12    4  shard
 *       16    4  CRC-32C of the bytes 0 to 15
 *       20       zeros
 *       64   64  the note of the first area, then one for each other
 *      512    8  LSN that the log was durable up to at the last device write, 0: not known
 *      520    8  its complement: without, it is not believed; then zeros
 *     4096       STAGING_AREAS areas of STAGING_AREA_BYTES
 *
 * An area holds the bytes of one device write, as log_format.h has them. Its note says which:
 *
 *        0    8  epoch of the segment that it goes to: number (4), salt (4)
 *        8    8  LSN of its first record, a MARK
 *       16    4  where in the area that one is: before it is what was in its block already
 *       20    4  CRC-32C of the bytes 0 to 19
 *       24    4  bytes of records from there on; 0: the area is empty
 *       28    4  sum over these records' checksums, staging_sum()
 *       32       zeros
 *
 * The two last words are one store of 8 bytes, made when a record is whole: a process that is killed in
 * the middle of an append leaves the note of the record before. An area is emptied when its device write
 * is done, and its note is void before the next one's begins.
 *
 * After a kill all of it is as the process left it. After the machine went down each page is of some
 * age: then the sum matches only where note and records belong together, and nothing else is believed.
 * leftover.h says what becomes of it.
 *
 * The file has all its blocks before it is mapped (a hole would be a SIGBUS on a full disk). Where there
 * is no room for it, or the file system has no shared mappings, the staging is plain memory and `kept`
 * is false: an acknowledgement at `memory` then waits for the device (ports.h).
 *
 * Memory: pages exist in the process once used, until staging_trim(); in the page cache they stay, with all that is in
 * them. Threads: one at a time.
 */
#ifndef STAGING_H
#define STAGING_H

#include <endian.h>
#include <stdatomic.h>
#include <stdbool.h>

#include "files.h"
#include "log_format.h"
#include "memory.h"
#include "report.h"

#define STAGING_NAME "staging"

enum {
    STAGING_VERSION = 2,
    STAGING_HEADER_BYTES = 4096,
    STAGING_AREAS = 7,
    STAGING_AREA_BYTES = 2 * 1024 * 1024,
    STAGING_FILE_BYTES = STAGING_HEADER_BYTES + STAGING_AREAS * STAGING_AREA_BYTES,
};

/* ---- The format ---- */

struct staging_note {
    struct log_epoch epoch;
    uint64_t lsn;
    uint32_t start, size, sum;
};

/* Write a header whose areas are all empty: STAGING_HEADER_BYTES. */
void staging_header_put(uint8_t *to, uint32_t shard);

/* Returns 0 with `shard` set; -ENODATA: never used (zeros), or of version 1 with nothing in it; -EBADMSG: damaged, cut
 * short; -EPROTONOSUPPORT: another version. */
int staging_header_parse(struct bytes from, uint32_t *shard);

/* The note of an area from a header. Returns false where the area is empty or the note void. */
bool staging_note_get(struct bytes header, uint32_t area, struct staging_note *note);

/* Is `records` what the note was written about: whole records of its epoch, the MARK of its LSN first? */
bool staging_note_holds(const struct staging_note *note, struct bytes records);

static inline uint64_t staging_note_offset(const struct staging_note *note, uint32_t area)
{
    return STAGING_HEADER_BYTES + (uint64_t)area * STAGING_AREA_BYTES + note->start;
}

/* The sum with one more record, which begins with its checksum. */
static inline uint32_t staging_sum(uint32_t sum, const uint8_t *record)
{
    return (sum + load_u32(record)) * UINT32_C(0x9e3779b1);
}

/* ---- The file ---- */

struct staging_area {
    uint8_t *data; /* STAGING_AREA_BYTES. */
    uint8_t *note;
    uint32_t size, sum;    /* As the note says. */
    uint32_t mapped_bytes; /* From `data` on: what may have pages in the process... */
    uint32_t used_bytes;   /* ... and what of it was used since staging_trim(). */
};

/* Private to staging.c, but for what is read. */
struct staging {
    struct files *files;
    int fd; /* -1: there is no file. */
    uint8_t *map;
    bool kept;
    bool made; /* It was not there. */
    struct staging_area areas[STAGING_AREAS];
};

struct staging_options {
    const char *directory; /* Of the shard. */
    uint32_t shard;
    struct files *files;
    struct memory *memory; /* During the call. */
    struct reporter *reporter;
};

/* Open, or make. Notes and areas stay as they are.
 * Returns 0; -EPROTONOSUPPORT: the file is of another version; other negative errno. */
int staging_open(const struct staging_options *options, struct staging *staging);
void staging_close(struct staging *staging);

/* What the file says now. Returns 0; -ENODATA: there is no file; negative errno. */
int staging_read_header(const struct staging *staging, uint8_t header[STAGING_HEADER_BYTES]);

/* Void all notes, durably. Returns 0 or negative errno. */
int staging_clear(struct staging *staging);

/* The LSN that a process before had seen durable: a bad record before it is damage, and no torn end; and a log that
 * ends before it has lost something. 0: not known. */
uint64_t staging_durable(const struct staging *staging);

/* ---- The log writer's use ---- */

/* A device write is done. */
void staging_set_durable(struct staging *staging, uint64_t lsn);

/* The area takes records from `lsn` on, which lies `start` bytes into it. */
void staging_begin(struct staging_area *area, struct log_epoch epoch, uint64_t lsn, uint32_t start);

static inline void staging_set_state(struct staging_area *area)
{
    _Atomic uint64_t *state = (_Atomic uint64_t *)(void *)(area->note + 24);

    atomic_store_explicit(state, htole64((uint64_t)area->sum << 32 | area->size),
                          memory_order_release);
}

/* A device write took so many bytes of the area, a multiple of LOG_BLOCK_BYTES. */
static inline void staging_used(struct staging_area *area, size_t bytes)
{
    area->used_bytes = bytes > area->used_bytes ? (uint32_t)bytes : area->used_bytes;
    area->mapped_bytes = bytes > area->mapped_bytes ? (uint32_t)bytes : area->mapped_bytes;
}

/* Give back the pages of an empty area that were not used since the last time, but for the first `kept_bytes` (a multiple of
 * LOG_BLOCK_BYTES). */
void staging_trim(struct staging_area *area, size_t kept_bytes);

/* One more record is whole. */
static inline void staging_extend(struct staging_area *area, const uint8_t *record, size_t size)
{
    area->size += (uint32_t)size;
    area->sum = staging_sum(area->sum, record);
    staging_set_state(area);
}

static inline void staging_empty(struct staging_area *area)
{
    area->size = area->sum = 0;
    staging_set_state(area);
}

#endif
