#include "log_reader.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>

#include "limits.h"
#include "session.h"

struct bytes log_record_key(uint32_t kind, struct bytes body)
{
    if (kind == LOG_MARK || kind == LOG_BATCH || body.size == 0) {
        return bytes_of(body.data, 0);
    }
    if (kind != LOG_TOUCH) {
        return session_key(body);
    }
    struct reader reader = reader_of(body);
    read_varint(&reader);
    struct bytes key = read_bytes(&reader, reader_left(&reader));
    return key.size <= KEY_BYTES_MAX ? key : bytes_of(key.data, 0);
}

/* The beginning of its millisecond: whatever is stamped after it is above that. */
static uint64_t touch_hlc(struct bytes body)
{
    struct reader reader = reader_of(body);
    uint64_t ms = read_varint(&reader);

    return reader.bad || ms > hlc_ms(UINT64_MAX) ? 0 : hlc_of_ms(ms);
}

static uint64_t item_hlc(uint32_t kind, struct bytes body)
{
    return kind == LOG_TOUCH ? touch_hlc(body) : session_newest_hlc(body);
}

uint64_t log_record_hlc(uint32_t kind, struct bytes body)
{
    struct reader reader = reader_of(body);
    struct log_batch_item item;
    uint64_t newest = 0;

    if (kind == LOG_MARK) {
        return 0;
    }
    if (kind != LOG_BATCH) {
        return item_hlc(kind, body);
    }
    while (log_batch_next(&reader, &item) == 1) {
        uint64_t hlc = item_hlc(item.kind, item.body);
        newest = hlc > newest ? hlc : newest;
    }
    return newest;
}

void log_reader_init(struct log_reader *reader, struct files *files, struct memory *memory)
{
    *reader = (struct log_reader){
        .files = files, .fd = -1, .lsn = LOG_LSN_UNKNOWN, .window = {.memory = memory}};
}

void log_reader_close(struct log_reader *reader)
{
    if (reader->fd >= 0) {
        reader->files->close(reader->files, reader->fd);
        reader->fd = -1;
    }
    reader->window.size = 0;
    reader->lsn = LOG_LSN_UNKNOWN;
    reader->durable_lsn = 0;
}

void log_reader_fini(struct log_reader *reader)
{
    log_reader_close(reader);
    buffer_fini(&reader->window);
}

int log_reader_open(struct log_reader *reader, const char *path, struct log_epoch epoch)
{
    log_reader_close(reader);
    int fd = reader->files->open(reader->files, path, O_RDONLY);
    if (fd < 0) {
        return fd;
    }
    reader->fd = fd;
    int rc = reader->files->size(reader->files, fd, &reader->size);
    if (rc != 0) {
        log_reader_close(reader);
        return rc;
    }
    reader->epoch = epoch;
    reader->window_offset = 0;
    reader->window_bytes = LOG_WINDOW_BYTES_MIN;
    return 0;
}

/* The bytes from `offset` on: at least `wanted`, unless the file ends before. */
static int view(struct log_reader *reader, uint64_t offset, uint64_t wanted, struct bytes *found)
{
    struct buffer *window = &reader->window;
    uint64_t left = offset < reader->size ? reader->size - offset : 0;

    if (wanted > left) {
        wanted = left;
    }
    if (offset < reader->window_offset || offset + wanted > reader->window_offset + window->size) {
        size_t size = wanted > reader->window_bytes ? (size_t)wanted : reader->window_bytes;
        if (reader->window_bytes < LOG_WINDOW_BYTES) {
            reader->window_bytes *= 4;
        }
        window->size = 0;
        int rc = buffer_reserve(window, size);
        if (rc != 0) {
            return rc;
        }
        int64_t got = reader->files->read(reader->files, reader->fd, window->data, size, offset);
        if (got < 0) {
            return (int)got;
        }
        if ((uint64_t)got < wanted) {
            return -EIO;
        }
        reader->window_offset = offset;
        window->size = (size_t)got;
    }
    size_t skip = (size_t)(offset - reader->window_offset);
    *found = skip <= window->size ? bytes_of(window->data + skip, window->size - skip)
                                  : bytes_of(window->data, 0);
    return 0;
}

int log_reader_header(struct log_reader *reader, struct log_segment_header *header)
{
    struct bytes found = {0};
    int rc = view(reader, 0, LOG_HEADER_BYTES, &found);

    return rc != 0 ? rc : log_segment_header_parse(found, header);
}

/* As log_record_parse(), at an offset of the file; also negative errno. */
static int64_t parse_at(struct log_reader *reader, uint64_t offset, struct log_record *record)
{
    struct bytes found = {0};

    int rc = view(reader, offset, LOG_RECORD_HEADER_BYTES, &found);
    if (rc != 0) {
        return rc;
    }
    uint64_t size = log_record_claim(found, reader->epoch);
    if (size > found.size && size <= reader->size - offset) {
        rc = view(reader, offset, size, &found);
        if (rc != 0) {
            return rc;
        }
    }
    return log_record_parse(found, reader->epoch, record);
}

static bool is_own_mark(const struct log_reader *reader, uint64_t offset,
                        const struct log_record *record)
{
    return record->kind == LOG_MARK && record->body.size == 0 &&
           (reader->lsn == LOG_LSN_UNKNOWN ||
            record->position == reader->lsn + (offset - LOG_HEADER_BYTES));
}

/* The first whole record (only a MARK, if so asked) from `offset` on and before `end`.
 * Returns 1 with `offset` and `record` set, 0, or negative errno. */
static int find(struct log_reader *reader, uint64_t end, bool marks, uint64_t *offset,
                struct log_record *record)
{
    for (uint64_t at = *offset; at < end; at += LOG_RECORD_ALIGN) {
        struct bytes found = {0};
        int rc = view(reader, at, LOG_RECORD_HEADER_BYTES, &found);
        if (rc != 0) {
            return rc;
        }
        /* Within what the window holds. */
        while (log_record_claim(found, reader->epoch) == 0 && at + LOG_RECORD_ALIGN < end &&
               found.size >= LOG_RECORD_ALIGN + LOG_RECORD_HEADER_BYTES) {
            found = bytes_of(found.data + LOG_RECORD_ALIGN, found.size - LOG_RECORD_ALIGN);
            at += LOG_RECORD_ALIGN;
        }
        if (marks && found.size >= LOG_RECORD_HEADER_BYTES &&
            load_u32(found.data + 12) != LOG_MARK) {
            continue;
        }
        int64_t size = parse_at(reader, at, record);
        if (size < 0 && size != -EBADMSG) {
            return (int)size;
        }
        if (size > 0 && (!marks || is_own_mark(reader, at, record))) {
            *offset = at;
            return 1;
        }
    }
    return 0;
}

int log_reader_locate(struct log_reader *reader)
{
    struct log_record record;
    uint64_t offset = LOG_HEADER_BYTES;

    reader->lsn = LOG_LSN_UNKNOWN;
    for (;;) {
        int rc = find(reader, reader->size, true, &offset, &record);
        if (rc <= 0) {
            return rc == 0 ? -ENODATA : rc;
        }
        if (record.position >= offset - LOG_HEADER_BYTES) {
            reader->lsn = record.position - (offset - LOG_HEADER_BYTES);
            return 0;
        }
        offset += LOG_RECORD_ALIGN;
    }
}

/* The record at `offset` is bad, and everything up to `end` was acknowledged: report what is lost.
 * Sets `offset` to where to go on. */
static int skip_damage(struct log_reader *reader, uint64_t end, struct log_visitor *visitor,
                       uint64_t *offset)
{
    struct log_damage damage = {.offset = *offset};
    struct log_record record;
    struct bytes found = {0};
    uint64_t left = *offset < reader->size ? reader->size - *offset : 0;

    int rc = view(reader, *offset, LOG_RECORD_HEADER_BYTES, &found);
    if (rc != 0) {
        return rc;
    }
    left = left < end - *offset ? left : end - *offset;
    uint64_t claim = log_record_claim(found, reader->epoch);
    if (claim > 0 && claim <= left) {
        int64_t next = claim == end - *offset ? 1 : parse_at(reader, *offset + claim, &record);
        if (next < 0 && next != -EBADMSG) {
            return (int)next;
        }
        if (next > 0) {
            rc = view(reader, *offset, claim, &found);
            if (rc != 0) {
                return rc;
            }
            damage.size = claim;
            damage.kind = load_u32(found.data + 12);
            damage.body = bytes_of(found.data + LOG_RECORD_HEADER_BYTES,
                                   (size_t)claim - LOG_RECORD_HEADER_BYTES);
            visitor->damage(visitor, &damage);
            *offset += claim;
            return 0;
        }
    }
    uint64_t next = *offset + LOG_RECORD_ALIGN;
    rc = find(reader, *offset + left, false, &next, &record);
    if (rc < 0) {
        return rc;
    }
    damage.size = (rc == 1 ? next : end) - *offset;
    visitor->damage(visitor, &damage);
    *offset += damage.size;
    return 0;
}

/* How far all was durable, as far as this file can tell: one that was cut ends where it was cut. */
static uint64_t durable_offset(const struct log_reader *reader)
{
    uint64_t bytes = reader->durable_lsn > reader->lsn ? reader->durable_lsn - reader->lsn : 0;

    return reader->size > LOG_HEADER_BYTES && bytes <= reader->size - LOG_HEADER_BYTES
               ? LOG_HEADER_BYTES + bytes
               : 0;
}

/* Was there more at `offset` that was durable, and is some of it there? Returns 1 (up to `durable`), 0, or negative
 * errno. */
static int goes_on(struct log_reader *reader, uint64_t offset, uint64_t durable)
{
    struct log_record record;
    struct bytes found = {0};

    if (offset >= durable) {
        return 0;
    }
    int rc = view(reader, offset, LOG_RECORD_HEADER_BYTES, &found);
    if (rc != 0) {
        return rc;
    }
    return offset + log_record_claim(found, reader->epoch) == durable
               ? 1
               : find(reader, durable, false, &offset, &record);
}

/* There is no record at `offset`, and nothing says yet that there was one. Sets `known_end` to the next
 * MARK, up to which everything was durable, or to where that is known to end, if some of it is there; without either
 * the log ends here: returns 1. */
static int judge_end(struct log_reader *reader, uint64_t offset, struct log_visitor *visitor,
                     uint64_t *known_end)
{
    struct log_record record;
    uint64_t next = offset;

    int rc = find(reader, reader->size, true, &next, &record);
    if (rc == 0) {
        next = durable_offset(reader);
        rc = goes_on(reader, offset, next);
    }
    if (rc == 1) {
        *known_end = next;
        return 0;
    }
    if (rc < 0) {
        return rc;
    }
    next = offset;
    rc = find(reader, reader->size, false, &next, &record);
    if (rc == 1) {
        visitor->torn(visitor, offset);
    }
    return rc < 0 ? rc : 1;
}

int log_reader_walk(struct log_reader *reader, uint64_t *lsn, uint64_t end_lsn,
                    struct log_visitor *visitor)
{
    const uint64_t base = LOG_HEADER_BYTES - reader->lsn; /* Offset of LSN 0; may wrap. */
    const bool end_given = end_lsn != LOG_LSN_UNKNOWN;
    uint64_t known_end = end_given ? end_lsn + base : 0;
    uint64_t offset = *lsn + base;
    int64_t rc = 0;

    assert(reader->lsn != LOG_LSN_UNKNOWN && *lsn >= reader->lsn);
    (void)posix_fadvise(reader->fd, 0, 0, POSIX_FADV_SEQUENTIAL);
    while (rc == 0 && (end_given ? offset < known_end : offset < reader->size)) {
        struct log_record record;
        int64_t size = parse_at(reader, offset, &record);
        if (size > 0 && (!end_given || offset + (uint64_t)size <= known_end)) {
            rc = visitor->record(visitor, offset - base, &record);
            offset += rc == 0 ? (uint64_t)size : 0;
        } else if (size < 0 && size != -EBADMSG) {
            rc = size;
        } else if (offset < known_end) {
            rc = skip_damage(reader, known_end, visitor, &offset);
        } else {
            rc = judge_end(reader, offset, visitor, &known_end);
            if (rc == 1) {
                rc = 0;
                break;
            }
        }
    }
    *lsn = offset - base;
    return (int)rc;
}
