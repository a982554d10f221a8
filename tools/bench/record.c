#include "record.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "bytes.h"
#include "clock.h"
#include "crc32c.h"

enum {
    GROW_BYTES = 16 * 1024 * 1024,
    OFFSET_KEYS = 8,
    OFFSET_TTL = 16,
    OFFSET_START = 24,
    OFFSET_VALUE_BYTES = 32,
    OFFSET_DELETES = 36,
    OFFSET_PREFIX_SIZE = 40,
    OFFSET_PREFIX = 48,
    PREFIX_SIZE_MAX = RECORD_HEADER_BYTES - OFFSET_PREFIX,
    OFFSET_ENTRY_CRC = 28,
};
static const char magic[8] = "BLYREC01";

static_assert(OFFSET_ENTRY_CRC + 4 == RECORD_ENTRY_BYTES, "an entry is 32 bytes");
static_assert(GROW_BYTES % RECORD_ENTRY_BYTES == 0 &&
                  (int)RECORD_HEADER_BYTES % (int)RECORD_ENTRY_BYTES == 0,
              "no entry crosses the end of the map");

/* Make the file `size` bytes long, and map all of it. */
static int map_file(struct record *record, size_t size)
{
    if (ftruncate(record->fd, (off_t)size) != 0) {
        return -errno;
    }
    /* Blocks are reserved now: a store to a mapped hole on a full disk would end in SIGBUS. */
    int rc = posix_fallocate(record->fd, 0, (off_t)size);
    if (rc != 0) {
        return -rc;
    }
    if (record->map != NULL) {
        munmap(record->map, record->map_size);
    }
    void *map = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED, record->fd, 0);
    record->map = map == MAP_FAILED ? NULL : map;
    record->map_size = record->map == NULL ? 0 : size;
    return record->map == NULL ? -errno : 0;
}

static void put_header(struct record *record)
{
    uint8_t *to = record->map;
    size_t prefix_size = strlen(record->header.prefix);

    memcpy(to, magic, sizeof magic);
    store_u64(to + OFFSET_KEYS, record->header.keys);
    store_u64(to + OFFSET_TTL, record->header.ttl_ms);
    store_u64(to + OFFSET_START, record->header.start_us);
    store_u32(to + OFFSET_VALUE_BYTES, record->header.value_bytes);
    store_u32(to + OFFSET_DELETES, record->header.deletes_percent);
    store_u32(to + OFFSET_PREFIX_SIZE, (uint32_t)prefix_size);
    memcpy(to + OFFSET_PREFIX, record->header.prefix, prefix_size);
}

int record_create(struct record *record, const char *path, const struct record_header *header)
{
    struct timespec now;

    *record = (struct record){.header = *header};
    record->fd = open(path, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
    if (record->fd < 0) {
        return -errno;
    }
    int rc = map_file(record, GROW_BYTES);
    if (rc != 0) {
        close(record->fd);
        return rc;
    }
    clock_gettime(CLOCK_REALTIME, &now);
    record->header.start_us = (uint64_t)now.tv_sec * 1000000 + (uint64_t)now.tv_nsec / 1000;
    record->start_ns = bench_now_ns();
    put_header(record);
    record->at = RECORD_HEADER_BYTES;
    return 0;
}

int record_note(struct record *record, struct record_entry entry)
{
    if (record->at + RECORD_ENTRY_BYTES > record->map_size) {
        int rc = map_file(record, record->map_size + GROW_BYTES);
        if (rc != 0) {
            return rc;
        }
    }
    uint8_t *to = record->map + record->at;
    store_u64(to, (bench_now_ns() - record->start_ns) / 1000);
    store_u64(to + 8, entry.key);
    store_u64(to + 16, entry.count);
    to[24] = entry.what;
    to[25] = entry.level;
    store_u16(to + 26, entry.status);
    store_u32(to + OFFSET_ENTRY_CRC, crc32c(0, bytes_of(to, OFFSET_ENTRY_CRC)));
    record->at += RECORD_ENTRY_BYTES;
    return 0;
}

static int get_header(struct record *record)
{
    const uint8_t *from = record->map;

    if (memcmp(from, magic, sizeof magic) != 0) {
        return -EBADMSG;
    }
    uint32_t prefix_size = load_u32(from + OFFSET_PREFIX_SIZE);
    if (prefix_size > PREFIX_SIZE_MAX) {
        return -EBADMSG;
    }
    record->header = (struct record_header){
        .keys = load_u64(from + OFFSET_KEYS),
        .ttl_ms = load_u64(from + OFFSET_TTL),
        .start_us = load_u64(from + OFFSET_START),
        .value_bytes = load_u32(from + OFFSET_VALUE_BYTES),
        .deletes_percent = load_u32(from + OFFSET_DELETES),
    };
    memcpy(record->header.prefix, from + OFFSET_PREFIX, prefix_size);
    return 0;
}

int record_open(struct record *record, const char *path)
{
    struct stat status;
    int rc = -EBADMSG;

    *record = (struct record){.fd = open(path, O_RDONLY | O_CLOEXEC)};
    if (record->fd < 0) {
        return -errno;
    }
    if (fstat(record->fd, &status) != 0) {
        rc = -errno;
        goto close_file;
    }
    if (status.st_size < RECORD_HEADER_BYTES) {
        goto close_file;
    }
    record->map_size = (size_t)status.st_size;
    record->map = mmap(NULL, record->map_size, PROT_READ, MAP_SHARED, record->fd, 0);
    if (record->map == MAP_FAILED) {
        rc = -errno;
        goto close_file;
    }
    rc = get_header(record);
    if (rc != 0) {
        goto unmap_file;
    }
    record->at = RECORD_HEADER_BYTES;
    return 0;

unmap_file:
    munmap(record->map, record->map_size);
close_file:
    close(record->fd);
    return rc;
}

static bool is_blank(const struct record *record, size_t at)
{
    static const uint8_t nothing[RECORD_ENTRY_BYTES];

    return at + RECORD_ENTRY_BYTES > record->map_size ||
           memcmp(record->map + at, nothing, sizeof nothing) == 0;
}

int record_next(struct record *record, struct record_entry *entry)
{
    const uint8_t *from = record->map + record->at;

    if (is_blank(record, record->at)) {
        return 0;
    }
    uint8_t what = from[24];
    if (load_u32(from + OFFSET_ENTRY_CRC) != crc32c(0, bytes_of(from, OFFSET_ENTRY_CRC)) ||
        what < RECORD_SENT || what > RECORD_UNKNOWN || load_u64(from + 8) >= record->header.keys) {
        /* The last one may be half written: its writer was killed. */
        return is_blank(record, record->at + RECORD_ENTRY_BYTES) ? 0 : -EBADMSG;
    }
    *entry = (struct record_entry){
        .time_us = load_u64(from),
        .key = load_u64(from + 8),
        .count = load_u64(from + 16),
        .what = what,
        .level = from[25],
        .status = load_u16(from + 26),
    };
    record->at += RECORD_ENTRY_BYTES;
    return 1;
}

void record_rewind(struct record *record)
{
    record->at = RECORD_HEADER_BYTES;
}

void record_close(struct record *record)
{
    bool writing = record->start_ns != 0;

    if (record->map != NULL) {
        munmap(record->map, record->map_size);
    }
    if (writing && ftruncate(record->fd, (off_t)record->at) != 0) {
        /* The zeros stay; a reader stops at them. */
        errno = 0;
    }
    close(record->fd);
}
