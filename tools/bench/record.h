/* What `run --record` writes down, so that `audit` can say later whether the server kept its word.
 *
 * The file: a header of RECORD_HEADER_BYTES, then entries of RECORD_ENTRY_BYTES in the order in which
 * things happened, then zeros. It is written through shared memory: what was noted is in the file even
 * if this process is killed the next moment.
 *
 *   header: "BLYREC01", keys (8), ttl in ms (8), start in us since 1970 (8), value bytes (4), percent
 *           of deletes (4), size of the prefix (4), the prefix, zeros
 *   entry:  time in us since the start (8), number of the key (8), count (8), what (1), ack level (1),
 *           status (2), CRC-32C of the 28 bytes before (4)
 *
 * Whether a write is a delete follows from key, count and the percentage (content_is_delete()).
 * Memory: the map grows with the file. Threads: one.
 */
#ifndef BENCH_RECORD_H
#define BENCH_RECORD_H

#include <stddef.h>
#include <stdint.h>

enum { RECORD_HEADER_BYTES = 256, RECORD_ENTRY_BYTES = 32 };

enum record_what {
    RECORD_SENT = 1,    /* From now on this write may take effect. */
    RECORD_ACKED = 2,   /* The server acknowledged it at `level`. */
    RECORD_REFUSED = 3, /* It said for certain that the write had no effect. */
    RECORD_UNKNOWN =
        4, /* No answer, or one that leaves it open. No more writes to this key follow. */
};

struct record_entry {
    uint64_t time_us;
    uint64_t key;
    uint64_t count;
    uint8_t what;
    uint8_t level;
    uint16_t status;
};

struct record_header {
    uint64_t keys;
    uint64_t ttl_ms;
    uint64_t start_us;
    uint32_t value_bytes;
    uint32_t deletes_percent;
    char prefix[RECORD_HEADER_BYTES - 48 + 1];
};

struct record {
    struct record_header header;
    /* private to record.c */
    int fd;
    uint8_t *map;
    size_t map_size;
    size_t at;
    uint64_t start_ns; /* Of the monotonic clock. */
};

/* Begin a new file in place of what is there. `start_us` of the header is set here.
 * Returns 0 or negative errno. */
int record_create(struct record *record, const char *path, const struct record_header *header);

/* Note one thing now; the entry's time is set here.
 * Returns 0 or negative errno (the file could not grow). */
int record_note(struct record *record, struct record_entry entry);

/* Open a file for reading. Returns 0, -EBADMSG when it is no record, or negative errno. */
int record_open(struct record *record, const char *path);

/* The next entry. Returns 1 with `entry` set; 0 at the end; -EBADMSG at a damaged one. */
int record_next(struct record *record, struct record_entry *entry);

/* Begin again with the first entry. */
void record_rewind(struct record *record);

/* Cut off the zeros of a file being written, and close. */
void record_close(struct record *record);

#endif
