/* Indexes of segments: any bytes as a file, and again with its sums put right. What is accepted is in
 * order, lies within its segment, and is written again as it was. */
#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "crc32c.h"
#include "fuzz.h"
#include "heap.h"
#include "segment_index.h"

struct one_file {
    struct files files;
    const uint8_t *data;
    size_t size;
    uint8_t *written;
};

static struct one_file *file_of(struct files *files)
{
    return (struct one_file *)(void *)files;
}

static int file_open(struct files *files, const char *path, int flags)
{
    (void)files;
    (void)path;
    (void)flags;
    return 3;
}

static void file_close(struct files *files, int fd)
{
    (void)files;
    (void)fd;
}

static int file_size(struct files *files, int fd, uint64_t *size)
{
    (void)fd;
    *size = file_of(files)->size;
    return 0;
}

static int64_t file_read(struct files *files, int fd, void *to, size_t size, uint64_t offset)
{
    const struct one_file *file = file_of(files);

    (void)fd;
    assert(offset <= file->size);
    size_t left = file->size - (size_t)offset;
    size = size < left ? size : left;
    memcpy(to, file->data + offset, size);
    return (int64_t)size;
}

static int file_write(struct files *files, int fd, const void *from, size_t size, uint64_t offset)
{
    (void)fd;
    assert(offset + size <= file_of(files)->size);
    memcpy(file_of(files)->written + offset, from, size);
    return 0;
}

static void check_index(const uint8_t *data, size_t size)
{
    struct one_file file = {.files = {.open = file_open,
                                      .close = file_close,
                                      .size = file_size,
                                      .read = file_read,
                                      .write = file_write},
                            .data = data,
                            .size = size};
    struct segment_index index;

    segment_index_init(&index, heap_memory());
    if (size >= SEGMENT_INDEX_HEADER_BYTES) {
        index.shard = load_u32(data + 12);
        index.epoch = (struct log_epoch){load_u32(data + 16), load_u32(data + 20)};
    }
    int rc = segment_index_read(&index, &file.files, "index");
    assert(rc == 0 || rc == -EBADMSG);
    if (rc == 0) {
        file.written = malloc(size);
        assert(file.written != NULL);
        assert(segment_index_write(&index, &file.files, "index") == 0);
        assert(memcmp(file.written, data, size) == 0);
        free(file.written);
        for (size_t i = 0; i < index.count; i++) {
            size_t at = segment_index_find(&index, index.entries[i].position);
            assert(at <= i && index.entries[at].position == index.entries[i].position);
        }
    }
    segment_index_fini(&index);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    check_index(data, size);
    if (size < SEGMENT_INDEX_HEADER_BYTES) {
        return 0;
    }
    uint8_t *copy = malloc(size);
    if (copy == NULL) {
        return 0;
    }
    memcpy(copy, data, size);
    memcpy(copy, "BELAYIDX", 8);
    store_u32(copy + 8, SEGMENT_INDEX_VERSION);
    size_t entries = size - SEGMENT_INDEX_HEADER_BYTES;
    store_u64(copy + 48, entries / sizeof(struct segment_entry));
    entries -= entries % sizeof(struct segment_entry);
    store_u32(copy + 56, crc32c(0, bytes_of(copy + SEGMENT_INDEX_HEADER_BYTES, entries)));
    store_u32(copy + 60, crc32c(0, bytes_of(copy, 60)));
    check_index(copy, SEGMENT_INDEX_HEADER_BYTES + entries);
    free(copy);
    return 0;
}
