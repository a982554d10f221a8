#include "leftover.h"

#include <assert.h>
#include <errno.h>

enum { MARK_BYTES = LOG_RECORD_HEADER_BYTES };

_Static_assert(SEGMENT_BYTES_DEFAULT >= LOG_HEADER_BYTES + STAGING_AREAS * STAGING_AREA_BYTES,
               "one segment holds what any staging has");

/* Of records that belong to no segment. */
static const struct log_epoch no_epoch = {.number = 1};

static void tell(const struct leftover *leftover, enum store_event event, uint64_t lsn,
                 uint64_t size)
{
    const struct store_report report = {
        .event = event,
        .shard = leftover->shard,
        .file = STAGING_NAME,
        .lsn = lsn,
        .size = size,
    };

    leftover->reporter->report(leftover->reporter, &report);
}

/* ---- Finding ---- */

/* The area that holds the record at `lsn`, or -1. */
static int find_area(struct bytes header, uint32_t last, uint64_t lsn, struct staging_note *note)
{
    for (uint32_t i = 0; i < STAGING_AREAS; i++) {
        if (staging_note_get(header, i, note) && note->epoch.number >= last && note->lsn <= lsn &&
            lsn < note->lsn + note->size) {
            return (int)i;
        }
    }
    return -1;
}

static bool is_empty(struct bytes header)
{
    struct staging_note note;

    for (uint32_t i = 0; i < STAGING_AREAS; i++) {
        if (staging_note_get(header, i, &note)) {
            return false;
        }
    }
    return true;
}

static int keep(struct leftover *leftover, const struct log_record *record)
{
    size_t size = (size_t)log_record_size(record->body.size);

    int rc = buffer_reserve(&leftover->records, size);
    if (rc == 0) {
        uint64_t hlc = log_record_hlc(record->kind, record->body);
        leftover->hlc = hlc > leftover->hlc ? hlc : leftover->hlc;
        log_record_put(leftover->records.data + leftover->records.size, no_epoch, record->kind,
                       record->position, &record->body, 1);
        leftover->records.size += size;
    }
    return rc;
}

/* The records of one area from `lsn` on. Returns 0 with `lsn` at the area's end; -EBADMSG: it cannot be
 * believed; else what went wrong. */
static int take_area(struct leftover *leftover, const struct staging_note *note, struct bytes from,
                     uint64_t *lsn, struct log_visitor *visitor)
{
    uint64_t at = note->lsn;

    if (!staging_note_holds(note, from)) {
        return -EBADMSG;
    }
    while (from.size > 0) {
        struct log_record record;
        int64_t size = log_record_parse(from, note->epoch, &record);
        assert(size > 0);
        if (at < *lsn && *lsn < at + (uint64_t)size) {
            return -EBADMSG;
        }
        if (at >= *lsn && record.kind != LOG_MARK) {
            int rc = keep(leftover, &record);
            if (rc == 0) {
                rc = visitor->record(visitor, at, &record);
            }
            if (rc != 0) {
                return rc;
            }
        }
        at += (uint64_t)size;
        from = bytes_of(from.data + size, from.size - (size_t)size);
    }
    *lsn = at;
    return 0;
}

static int read_area(struct leftover *leftover, uint32_t area, const struct staging_note *note,
                     uint64_t *lsn, struct log_visitor *visitor)
{
    struct memory *memory = leftover->memory;
    struct files *files = leftover->files;
    uint8_t *records = memory->resize(memory, NULL, 0, note->size);

    if (records == NULL) {
        return -ENOMEM;
    }
    int64_t got = files->read(files, leftover->staging->fd, records, note->size,
                              staging_note_offset(note, area));
    int rc = got < 0 ? (int)got
                     : take_area(leftover, note, bytes_of(records, (size_t)got), lsn, visitor);
    memory->resize(memory, records, note->size, 0);
    return rc;
}

int leftover_take(struct leftover *leftover, uint32_t last, uint64_t *lsn,
                  struct log_visitor *visitor)
{
    uint8_t header[STAGING_HEADER_BYTES];
    struct staging_note note;
    uint64_t at = *lsn;
    int area;

    int rc = staging_read_header(leftover->staging, header);
    if (rc != 0) {
        return rc == -ENODATA ? 0 : rc;
    }
    while (rc == 0 && (area = find_area(bytes_of(header, sizeof header), last, at, &note)) >= 0) {
        rc = read_area(leftover, (uint32_t)area, &note, &at, visitor);
        last = note.epoch.number;
    }
    if (rc == -EBADMSG) {
        tell(leftover, STORE_LOG_TORN, at, 0);
        rc = 0;
    }
    if (rc != 0) {
        return rc;
    }
    if (leftover->records.size == 0) {
        return is_empty(bytes_of(header, sizeof header)) ? 0 : staging_clear(leftover->staging);
    }
    tell(leftover, STORE_STAGING_TAKEN, *lsn, leftover->records.size);
    leftover->lsn = *lsn;
    *lsn += MARK_BYTES + leftover->records.size;
    segments_await(leftover->segments, leftover->lsn);
    rc = leftover_settle(leftover);
    if (rc == -ENOSPC) {
        rc = leftover->files->sync(leftover->files, leftover->staging->fd);
    }
    return rc < 0 ? rc : 0;
}

/* ---- Settling ---- */

static int take_segment(struct leftover *leftover)
{
    int rc;

    if (leftover->taken) {
        return 0;
    }
    while ((rc = segments_take(leftover->segments, leftover->lsn, &leftover->segment)) != 0) {
        int prepared = segments_prepare(leftover->segments);
        if (prepared <= 0) {
            return prepared == 0 ? rc : prepared;
        }
    }
    leftover->taken = true;
    return 0;
}

static void put_image(const struct leftover *leftover, uint8_t *to)
{
    struct bytes from = buffer_bytes(&leftover->records);
    struct log_epoch epoch = leftover->segment.epoch;

    log_mark_put(to, epoch, leftover->lsn);
    to += MARK_BYTES;
    while (from.size > 0) {
        struct log_record record;
        int64_t size = log_record_parse(from, no_epoch, &record);
        assert(size > 0);
        log_record_put(to, epoch, record.kind, record.position, &record.body, 1);
        to += size;
        from = bytes_of(from.data + size, from.size - (size_t)size);
    }
}

/* The first block, with the MARK, when all after it is durable (the descriptor is O_DSYNC). */
static int write_image(struct leftover *leftover, const uint8_t *image, size_t size)
{
    struct files *files = leftover->files;
    int fd = leftover->segment.fd;
    int rc = 0;

    if (size > LOG_BLOCK_BYTES) {
        rc = files->write(files, fd, image + LOG_BLOCK_BYTES, size - LOG_BLOCK_BYTES,
                          LOG_HEADER_BYTES + LOG_BLOCK_BYTES);
    }
    return rc != 0 ? rc : files->write(files, fd, image, LOG_BLOCK_BYTES, LOG_HEADER_BYTES);
}

static int write_segment(struct leftover *leftover)
{
    struct memory *memory = leftover->memory;
    size_t size = MARK_BYTES + leftover->records.size;

    size = (size + LOG_BLOCK_BYTES - 1) & ~(size_t)(LOG_BLOCK_BYTES - 1);
    if (LOG_HEADER_BYTES + size > leftover->segment.size) {
        return -EFBIG;
    }
    uint8_t *image = memory->map(memory, size);
    if (image == NULL) {
        return -ENOMEM;
    }
    put_image(leftover, image);
    int rc = write_image(leftover, image, size);
    memory->unmap(memory, image, size);
    return rc;
}

int leftover_settle(struct leftover *leftover)
{
    if (leftover->records.size == 0) {
        return 0;
    }
    int rc = take_segment(leftover);
    if (rc == 0) {
        rc = write_segment(leftover);
    }
    if (rc == 0) {
        /* Before the segment may be compacted and used again. */
        rc = staging_clear(leftover->staging);
    }
    if (rc != 0) {
        return rc;
    }
    const struct segment_end end = {
        .lsn = leftover->lsn + MARK_BYTES + leftover->records.size,
        .hlc = leftover->hlc,
        .entry_count = SEGMENT_NOT_INDEXED,
    };
    segments_seal(leftover->segments, leftover->segment.id, &end);
    segments_await(leftover->segments, LOG_LSN_UNKNOWN);
    buffer_fini(&leftover->records);
    leftover->taken = false;
    return 1;
}

void leftover_fini(struct leftover *leftover)
{
    if (leftover->memory != NULL) {
        buffer_fini(&leftover->records);
    }
}
