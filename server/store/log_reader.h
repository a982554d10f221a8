/* Reads one segment of the log, record by record, and finds the way past damage.
 *
 * Memory: a window of LOG_WINDOW_BYTES, or as large as the largest record met, from the port; records
 * point into it and are good until the next call. Threads: one at a time.
 */
#ifndef LOG_READER_H
#define LOG_READER_H

#include <stdbool.h>

#include "files.h"
#include "log_format.h"
#include "memory.h"

/* A window grows as the reader goes on, so that a look at a file's beginning is cheap. */
enum { LOG_WINDOW_BYTES_MIN = 16 * 1024, LOG_WINDOW_BYTES = 1024 * 1024 };
#define LOG_LSN_UNKNOWN UINT64_MAX

/* Private to log_reader.c, but for what is read. */
struct log_reader {
    struct files *files;
    int fd;
    uint64_t size; /* Of the file. */
    struct log_epoch epoch;
    uint64_t lsn; /* Of the byte at LOG_HEADER_BYTES; LOG_LSN_UNKNOWN until known. */
    /* Set by who knows, once it is open: all before was durable, so that what is not whole there is damage, as long as
     * anything comes after it. 0: not known. */
    uint64_t durable_lsn;
    struct buffer window;
    uint64_t window_offset;
    size_t window_bytes; /* Of the next one. */
};

/* Damage in the log. */
struct log_damage {
    uint64_t offset, size;
    uint32_t kind;     /* What the damaged record's header says, where its size still fits... */
    struct bytes body; /* ... and its body, unverified; else 0 and empty. */
};

/* What a walk calls. */
struct log_visitor {
    /* Returns 0 to go on; anything else ends the walk, which returns it. */
    int (*record)(struct log_visitor *visitor, uint64_t lsn, const struct log_record *record);
    void (*damage)(struct log_visitor *visitor, const struct log_damage *damage);
    /* The log ends at `offset`, and after it lies what is left of a write cut short. */
    void (*torn)(struct log_visitor *visitor, uint64_t offset);
};

/* Key of the session that a record is about; of bytes that are damaged anything, perhaps empty. */
struct bytes log_record_key(uint32_t kind, struct bytes body);

/* The newest stamp in a record (of a batch: in all of it), or the beginning of a touch's millisecond; 0 where it has
 * neither. */
uint64_t log_record_hlc(uint32_t kind, struct bytes body);

void log_reader_init(struct log_reader *reader, struct files *files, struct memory *memory);
void log_reader_fini(struct log_reader *reader);

/* Turn to a file, closing the one before. Returns 0 or negative errno. */
int log_reader_open(struct log_reader *reader, const char *path, struct log_epoch epoch);
void log_reader_close(struct log_reader *reader);

/* Find the LSN of the segment's first record byte, from its first MARK or, where that is damaged, a
 * later one. Returns 0; -ENODATA: no MARK of this epoch; negative errno. */
int log_reader_locate(struct log_reader *reader);

/* Read the segment's header. Returns as log_segment_header_parse(), or negative errno. */
int log_reader_header(struct log_reader *reader, struct log_segment_header *header);

/* Visit the records from `lsn` on up to `end_lsn`, where the segment's records are known to end, or, if
 * that is LOG_LSN_UNKNOWN, to the end of the log (log_format.h says how it is told from damage).
 * What a file that was cut lacks before `end_lsn` is damage, with what its last record lost.
 * After log_reader_locate(). Sets `lsn` to where it got to: the end, or the record at which the visitor
 * ended the walk. Returns 0, what the visitor returned, or negative errno. */
int log_reader_walk(struct log_reader *reader, uint64_t *lsn, uint64_t end_lsn,
                    struct log_visitor *visitor);

#endif
