#include "archive_mark.h"

#include <fcntl.h>
#include <string.h>

#include "bytes.h"
#include "crc32c.h"

enum { MARK_BYTES = 64, SUMMED_BYTES = 60, VERSION = 2 };

static const uint8_t magic[8] = {'B', 'E', 'L', 'A', 'Y', 'A', 'R', 'M'};

static bool is_right(const uint8_t bytes[MARK_BYTES], uint32_t shard)
{
    return memcmp(bytes, magic, sizeof magic) == 0 && load_u32(bytes + 8) == VERSION &&
           load_u32(bytes + 12) == shard &&
           load_u32(bytes + SUMMED_BYTES) == crc32c(0, bytes_of(bytes, SUMMED_BYTES));
}

int archive_mark_read(struct files *files, const char *directory, uint32_t shard,
                      struct archive_mark *mark)
{
    char path[PATH_BYTES_MAX];
    uint8_t bytes[MARK_BYTES];

    int rc = path_join(path, directory, ARCHIVE_MARK_NAME);
    if (rc != 0) {
        return rc;
    }
    int fd = files->open(files, path, O_RDONLY);
    if (fd < 0) {
        return fd;
    }
    int64_t got = files->read(files, fd, bytes, sizeof bytes, 0);
    files->close(files, fd);
    if (got != MARK_BYTES || !is_right(bytes, shard)) {
        return got < 0 ? (int)got : -ENOENT;
    }
    *mark = (struct archive_mark){
        .lsn = load_u64(bytes + 16),
        .actor = {load_u32(bytes + 24), load_u32(bytes + 28)},
        .log_sequence = load_u64(bytes + 32),
        .checkpoint_sequence = load_u64(bytes + 40),
        .based = bytes[48] == 1,
        .place = load_u64(bytes + 52),
    };
    return 0;
}

int archive_mark_write(struct files *files, const char *directory, uint32_t shard,
                       const struct archive_mark *mark)
{
    uint8_t bytes[MARK_BYTES] = {0};

    memcpy(bytes, magic, sizeof magic);
    store_u32(bytes + 8, VERSION);
    store_u32(bytes + 12, shard);
    store_u64(bytes + 16, mark->lsn);
    store_u32(bytes + 24, mark->actor.node);
    store_u32(bytes + 28, mark->actor.start);
    store_u64(bytes + 32, mark->log_sequence);
    store_u64(bytes + 40, mark->checkpoint_sequence);
    bytes[48] = mark->based;
    store_u64(bytes + 52, mark->place);
    store_u32(bytes + SUMMED_BYTES, crc32c(0, bytes_of(bytes, SUMMED_BYTES)));
    return files_replace(files, directory, ARCHIVE_MARK_NAME, bytes, sizeof bytes);
}
