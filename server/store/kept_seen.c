#include "kept_seen.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>

#include "crc32c.h"
#include "store_state.h"

enum { HEADER_BYTES = 32, SUMMED_BYTES = 28, VERSION = 1 };

static const uint8_t magic[8] = {'B', 'E', 'L', 'A', 'Y', 'S', 'E', 'N'};

static struct files *files_of(const struct store *store)
{
    return store->options.files;
}

void kept_seen_put(struct store *store, struct bytes saved)
{
    uint8_t header[HEADER_BYTES];

    memcpy(header, magic, sizeof magic);
    store_u32(header + 8, VERSION);
    store_u32(header + 12, store->options.shard);
    store_u64(header + 16, saved.size);
    store_u32(header + 24, crc32c(0, saved));
    store_u32(header + 28, crc32c(0, bytes_of(header, SUMMED_BYTES)));
    pthread_mutex_lock(&store->lock);
    store->seen.size = 0;
    int rc = buffer_append(&store->seen, bytes_of(header, sizeof header));
    rc = rc == 0 ? buffer_append(&store->seen, saved) : rc;
    if (rc != 0) {
        store->seen.size = 0;
    }
    pthread_mutex_unlock(&store->lock);
}

static bool remove_file(struct store *store)
{
    char path[PATH_BYTES_MAX];

    if (path_join(path, store->directory, KEPT_SEEN_NAME) != 0) {
        return false;
    }
    int rc = files_of(store)->remove(files_of(store), path);
    return rc == 0 || rc == -ENOENT;
}

void kept_seen_write(struct store *store)
{
    struct buffer taken = {.memory = store->options.memory};

    pthread_mutex_lock(&store->lock);
    if (store->seen.size > 0) {
        taken = store->seen;
        store->seen = (struct buffer){.memory = store->options.memory};
    }
    pthread_mutex_unlock(&store->lock);
    if (atomic_load(&store->damaged)) {
        store->seen_removed = store->seen_removed || remove_file(store);
    } else if (taken.size > 0) {
        int rc = files_replace(files_of(store), store->directory, KEPT_SEEN_NAME, taken.data,
                               taken.size);
        if (rc != 0 && rc != store->seen_error) {
            store_report_failure(store, KEPT_SEEN_NAME,
                                 "keeping what was seen of other nodes; it is tried again", rc);
        }
        store->seen_error = rc;
        if (rc != 0) {
            (void)remove_file(store); /* What was kept before may be more than is true now. */
        }
    }
    buffer_fini(&taken);
}

static bool header_is_right(const struct store *store, const uint8_t header[HEADER_BYTES],
                            uint64_t size)
{
    return memcmp(header, magic, sizeof magic) == 0 && load_u32(header + 8) == VERSION &&
           load_u32(header + 12) == store->options.shard &&
           load_u64(header + 16) == size - HEADER_BYTES &&
           load_u32(header + 28) == crc32c(0, bytes_of(header, SUMMED_BYTES));
}

static int read_file(const struct store *store, int fd, struct buffer *to)
{
    struct files *files = files_of(store);
    uint8_t header[HEADER_BYTES];
    uint64_t size = 0;

    int rc = files->size(files, fd, &size);
    if (rc != 0 || size < HEADER_BYTES) {
        return rc != 0 ? rc : -ENOENT;
    }
    int64_t got = files->read(files, fd, header, sizeof header, 0);
    if (got != HEADER_BYTES || !header_is_right(store, header, size)) {
        return got < 0 ? (int)got : -ENOENT;
    }
    to->size = 0;
    rc = buffer_reserve(to, (size_t)size - HEADER_BYTES);
    if (rc != 0) {
        return rc;
    }
    got = files->read(files, fd, to->data, (size_t)size - HEADER_BYTES, HEADER_BYTES);
    if (got != (int64_t)size - HEADER_BYTES ||
        crc32c(0, bytes_of(to->data, (size_t)got)) != load_u32(header + 24)) {
        return got < 0 ? (int)got : -ENOENT;
    }
    to->size = (size_t)got;
    return 0;
}

int kept_seen_get(struct store *store, struct buffer *to)
{
    struct files *files = files_of(store);
    char path[PATH_BYTES_MAX];

    if (atomic_load(&store->damaged) || path_join(path, store->directory, KEPT_SEEN_NAME) != 0) {
        return -ENOENT;
    }
    int fd = files->open(files, path, O_RDONLY);
    if (fd < 0) {
        return fd;
    }
    int rc = read_file(store, fd, to);
    files->close(files, fd);
    return rc;
}
