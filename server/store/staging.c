#include "staging.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>

#include "crc32c.h"

enum {
    SUMMED_BYTES = 16,
    NOTE_BYTES = 64,
    NOTE_SUMMED_BYTES = 20,
    NOTE_STATE_OFFSET = 24,
    DURABLE_AT = 512,
    ZEROS_BYTES = 1024 * 1024,
};

_Static_assert((1 + STAGING_AREAS) * NOTE_BYTES <= DURABLE_AT, "the notes find room");
_Static_assert(STAGING_AREA_BYTES % ZEROS_BYTES == 0, "an area is written in whole parts");

static const uint8_t magic[8] = {'B', 'E', 'L', 'A', 'Y', 'S', 'T', 'G'};

/* ---- The format ---- */

void staging_header_put(uint8_t *to, uint32_t shard)
{
    memset(to, 0, STAGING_HEADER_BYTES);
    memcpy(to, magic, sizeof magic);
    store_u32(to + 8, STAGING_VERSION);
    store_u32(to + 12, shard);
    store_u32(to + 16, crc32c(0, bytes_of(to, SUMMED_BYTES)));
}

/* Of version 1, which had three areas. */
static bool is_empty_1(const uint8_t *header)
{
    bool empty = true;

    for (uint32_t i = 0; i < 3; i++) {
        empty = empty && load_u32(header + (size_t)(1 + i) * NOTE_BYTES + NOTE_STATE_OFFSET) == 0;
    }
    return empty;
}

int staging_header_parse(struct bytes from, uint32_t *shard)
{
    static const uint8_t unused[SUMMED_BYTES + 4];

    if (from.size < STAGING_HEADER_BYTES) {
        return -EBADMSG;
    }
    if (memcmp(from.data, unused, sizeof unused) == 0) {
        return -ENODATA;
    }
    if (memcmp(from.data, magic, sizeof magic) != 0 ||
        load_u32(from.data + 16) != crc32c(0, bytes_of(from.data, SUMMED_BYTES))) {
        return -EBADMSG;
    }
    if (load_u32(from.data + 8) == 1 && is_empty_1(from.data)) {
        return -ENODATA; /* What was in its three areas is in the log. */
    }
    if (load_u32(from.data + 8) != STAGING_VERSION) {
        return -EPROTONOSUPPORT;
    }
    *shard = load_u32(from.data + 12);
    return 0;
}

bool staging_note_get(struct bytes header, uint32_t area, struct staging_note *note)
{
    assert(header.size >= STAGING_HEADER_BYTES && area < STAGING_AREAS);
    const uint8_t *from = header.data + (size_t)(1 + area) * NOTE_BYTES;
    struct staging_note found = {
        .epoch = {.number = load_u32(from), .salt = load_u32(from + 4)},
        .lsn = load_u64(from + 8),
        .start = load_u32(from + 16),
        .size = load_u32(from + NOTE_STATE_OFFSET),
        .sum = load_u32(from + NOTE_STATE_OFFSET + 4),
    };

    if (found.size == 0 || load_u32(from + 20) != crc32c(0, bytes_of(from, NOTE_SUMMED_BYTES)) ||
        found.epoch.number == 0 || found.start >= LOG_BLOCK_BYTES ||
        found.size > STAGING_AREA_BYTES - found.start || found.lsn > UINT64_MAX - found.size) {
        return false;
    }
    *note = found;
    return true;
}

bool staging_note_holds(const struct staging_note *note, struct bytes records)
{
    uint32_t sum = 0;
    bool first = true;

    if (records.size != note->size) {
        return false;
    }
    while (records.size > 0) {
        struct log_record record;
        int64_t size = log_record_parse(records, note->epoch, &record);
        if (size <= 0 || (first && (record.kind != LOG_MARK || record.position != note->lsn))) {
            return false;
        }
        sum = staging_sum(sum, records.data);
        records = bytes_of(records.data + size, records.size - (size_t)size);
        first = false;
    }
    return sum == note->sum;
}

/* ---- The file ---- */

static int make(const struct staging_options *options, int fd)
{
    struct files *files = options->files;
    struct memory *memory = options->memory;
    uint8_t *zeros = memory->map(memory, ZEROS_BYTES);

    if (zeros == NULL) {
        return -ENOMEM;
    }
    int rc = files->write(files, fd, zeros, STAGING_HEADER_BYTES, 0);
    if (rc == 0) {
        rc = files->allocate(files, fd, STAGING_FILE_BYTES);
    }
    for (uint64_t at = STAGING_HEADER_BYTES; at < STAGING_FILE_BYTES && rc == 0;
         at += ZEROS_BYTES) {
        rc = files->write(files, fd, zeros, ZEROS_BYTES, at);
    }
    if (rc == 0) {
        staging_header_put(zeros, options->shard);
        rc = files->write(files, fd, zeros, STAGING_HEADER_BYTES, 0);
    }
    memory->unmap(memory, zeros, ZEROS_BYTES);
    return rc;
}

static void tell(const struct staging_options *options, enum store_event event, int error,
                 const char *text)
{
    const struct store_report report = {
        .event = event,
        .shard = options->shard,
        .file = STAGING_NAME,
        .error = error,
        .text = text,
    };

    options->reporter->report(options->reporter, &report);
}

/* A copy of the directory may have some. */
static bool has_holes(int fd)
{
    return lseek(fd, 0, SEEK_HOLE) < STAGING_FILE_BYTES;
}

static int open_file(const struct staging_options *options, struct staging *staging)
{
    struct files *files = options->files;
    uint8_t header[STAGING_HEADER_BYTES];
    char path[PATH_BYTES_MAX];
    uint32_t shard;

    int rc = path_join(path, options->directory, STAGING_NAME);
    if (rc != 0) {
        return rc;
    }
    staging->fd = files->open(files, path, O_RDWR | O_CREAT);
    if (staging->fd < 0) {
        return staging->fd;
    }
    int64_t got = files->read(files, staging->fd, header, sizeof header, 0);
    if (got < 0) {
        return (int)got;
    }
    rc = got == 0 ? -ENODATA : staging_header_parse(bytes_of(header, (size_t)got), &shard);
    if (rc == -EBADMSG) {
        tell(options, STORE_LOG_DAMAGED, 0, "the header; what was not written yet is lost");
    }
    staging->made = got == 0;
    if (rc == -EBADMSG || rc == -ENODATA) {
        return make(options, staging->fd);
    }
    if (rc == 0 && has_holes(staging->fd)) {
        rc = files->allocate(files, staging->fd, STAGING_FILE_BYTES);
    }
    return rc;
}

static bool is_refusal(int rc)
{
    return rc == -ENOSPC || rc == -ENODEV || rc == -EOPNOTSUPP;
}

int staging_open(const struct staging_options *options, struct staging *staging)
{
    void *map = NULL;

    *staging = (struct staging){.files = options->files, .fd = -1};
    int rc = open_file(options, staging);
    if (rc == 0) {
        rc = options->files->map(options->files, staging->fd, STAGING_FILE_BYTES, true, &map);
    }
    staging->kept = rc == 0;
    if (is_refusal(rc)) {
        tell(options, STORE_STAGING_REFUSED, rc, "acknowledgements at `memory` wait for the disk");
        map = mmap(NULL, STAGING_FILE_BYTES, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS,
                   -1, 0);
        rc = map == MAP_FAILED ? -ENOMEM : 0;
    }
    if (rc != 0) {
        staging_close(staging);
        return rc;
    }
    staging->map = map;
    for (uint32_t i = 0; i < STAGING_AREAS; i++) {
        staging->areas[i] = (struct staging_area){
            .data = staging->map + STAGING_HEADER_BYTES + (size_t)i * STAGING_AREA_BYTES,
            .note = staging->map + (size_t)(1 + i) * NOTE_BYTES,
        };
    }
    return 0;
}

uint64_t staging_durable(const struct staging *staging)
{
    uint64_t lsn = load_u64(staging->map + DURABLE_AT);

    return load_u64(staging->map + DURABLE_AT + 8) == ~lsn ? lsn : 0;
}

void staging_set_durable(struct staging *staging, uint64_t lsn)
{
    store_u64(staging->map + DURABLE_AT, lsn);
    store_u64(staging->map + DURABLE_AT + 8, ~lsn);
}

void staging_close(struct staging *staging)
{
    if (staging->map != NULL) {
        munmap(staging->map, STAGING_FILE_BYTES);
        staging->map = NULL;
    }
    if (staging->files != NULL && staging->fd >= 0) {
        staging->files->close(staging->files, staging->fd);
        staging->fd = -1;
    }
}

int staging_read_header(const struct staging *staging, uint8_t header[STAGING_HEADER_BYTES])
{
    uint32_t shard;

    if (staging->fd < 0) {
        return -ENODATA;
    }
    int64_t got =
        staging->files->read(staging->files, staging->fd, header, STAGING_HEADER_BYTES, 0);
    if (got < 0) {
        return (int)got;
    }
    int rc = staging_header_parse(bytes_of(header, (size_t)got), &shard);
    return rc == -EBADMSG ? -ENODATA : rc; /* There was no room to make it. */
}

int staging_clear(struct staging *staging)
{
    static const uint8_t none[STAGING_AREAS * NOTE_BYTES];
    struct files *files = staging->files;

    int rc = files->write(files, staging->fd, none, sizeof none, NOTE_BYTES);
    return rc != 0 ? rc : files->sync(files, staging->fd);
}

/* ---- The log writer's use ---- */

void staging_begin(struct staging_area *area, struct log_epoch epoch, uint64_t lsn, uint32_t start)
{
    staging_empty(area);
    /* Whatever kills the process, it has made the stores before the one at which it stood: only the
     * compiler could put the note before the word that voids it. */
    atomic_signal_fence(memory_order_seq_cst);
    store_u32(area->note, epoch.number);
    store_u32(area->note + 4, epoch.salt);
    store_u64(area->note + 8, lsn);
    store_u32(area->note + 16, start);
    store_u32(area->note + 20, crc32c(0, bytes_of(area->note, NOTE_SUMMED_BYTES)));
}

void staging_trim(struct staging_area *area, size_t kept_bytes)
{
    size_t kept = area->used_bytes > kept_bytes ? area->used_bytes : kept_bytes;

    assert(area->size == 0);
    if (area->mapped_bytes > kept) {
        /* Of a file it only ends the mapping: what is dirty stays so. Locked memory stays, too. To the end, as the kernel maps some
         * pages around those that it is asked for. */
        (void)madvise(area->data + kept, STAGING_AREA_BYTES - kept, MADV_DONTNEED);
        area->mapped_bytes = (uint32_t)kept;
    }
    area->used_bytes = 0;
}
