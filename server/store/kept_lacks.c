#include "kept_lacks.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>

#include "crc32c.h"
#include "kept_seen.h"
#include "store_state.h"

enum {
    HEADER_BYTES = 24,
    SUMMED_BYTES = 20,
    FILE_BYTES = HEADER_BYTES + LACKS_WORDS * 8,
    VERSION = 1,
};

static const uint8_t magic[8] = {'B', 'E', 'L', 'A', 'Y', 'L', 'C', 'K'};

/* ---- The file ---- */

static int remove_file(struct files *files, const char *directory)
{
    char path[PATH_BYTES_MAX];
    int rc = path_join(path, directory, KEPT_LACKS_NAME);

    if (rc == 0) {
        rc = files->remove(files, path);
    }
    if (rc == 0) {
        rc = files->sync_directory(files, directory);
    }
    return rc == -ENOENT ? 0 : rc;
}

int kept_lacks_put(struct files *files, const char *directory, uint32_t shard,
                   const uint64_t lacks[LACKS_WORDS])
{
    uint8_t bytes[FILE_BYTES];
    uint64_t any = 0;

    memcpy(bytes, magic, sizeof magic);
    store_u32(bytes + 8, VERSION);
    store_u32(bytes + 12, shard);
    for (uint32_t i = 0; i < LACKS_WORDS; i++) {
        store_u64(bytes + HEADER_BYTES + (size_t)i * 8, lacks[i]);
        any |= lacks[i];
    }
    store_u32(bytes + 16, crc32c(0, bytes_of(bytes + HEADER_BYTES, FILE_BYTES - HEADER_BYTES)));
    store_u32(bytes + SUMMED_BYTES, crc32c(0, bytes_of(bytes, SUMMED_BYTES)));
    return any == 0 ? remove_file(files, directory)
                    : files_replace(files, directory, KEPT_LACKS_NAME, bytes, sizeof bytes);
}

/* Returns 0, -ENOENT, -EBADMSG, or other negative errno. */
static int read_file(const struct store *store, uint8_t bytes[FILE_BYTES])
{
    struct files *files = store->options.files;
    char path[PATH_BYTES_MAX];

    int rc = path_join(path, store->directory, KEPT_LACKS_NAME);
    if (rc != 0) {
        return rc;
    }
    int fd = files->open(files, path, O_RDONLY);
    if (fd < 0) {
        return fd;
    }
    int64_t got = files->read(files, fd, bytes, FILE_BYTES, 0);
    files->close(files, fd);
    if (got < 0) {
        return (int)got;
    }
    return got == FILE_BYTES && memcmp(bytes, magic, sizeof magic) == 0 &&
                   load_u32(bytes + 8) == VERSION && load_u32(bytes + 12) == store->options.shard &&
                   load_u32(bytes + SUMMED_BYTES) == crc32c(0, bytes_of(bytes, SUMMED_BYTES)) &&
                   load_u32(bytes + 16) ==
                       crc32c(0, bytes_of(bytes + HEADER_BYTES, FILE_BYTES - HEADER_BYTES))
               ? 0
               : -EBADMSG;
}

int kept_lacks_get(struct store *store)
{
    uint8_t bytes[FILE_BYTES];
    int rc = read_file(store, bytes);

    if (rc == -EBADMSG) {
        const struct store_report report = {
            .event = STORE_LOG_DAMAGED,
            .shard = store->options.shard,
            .file = KEPT_LACKS_NAME,
            .size = FILE_BYTES,
            .text = "of which slots something is missing is not known any more: of all, it may be",
        };
        store->options.reporter->report(store->options.reporter, &report);
    }
    for (uint32_t i = 0; i < LACKS_WORDS && rc == 0; i++) {
        atomic_fetch_or(&store->lacks[i], load_u64(bytes + HEADER_BYTES + (size_t)i * 8));
    }
    return rc == -ENOENT || rc == -EBADMSG ? 0 : rc;
}

/* ---- What is noted ---- */

static uint32_t slot_of_report(const struct store_report *report)
{
    return report->in_slot                                               ? report->slot
           : report->event == STORE_LOG_BASELESS && report->key.size > 0 ? slot_of_key(report->key)
                                                                         : SLOT_COUNT;
}

/* It may have been of this slot, or, SLOT_COUNT, of any. */
void kept_lacks_note(struct store *store, const struct store_report *report)
{
    const uint32_t slot = slot_of_report(report);
    bool more = false;

    for (uint32_t i = 0; i < LACKS_WORDS; i++) {
        const uint64_t bits = slot == SLOT_COUNT ? UINT64_MAX
                              : slot / 64 == i   ? UINT64_C(1) << slot % 64
                                                 : 0;
        more |= bits != 0 && (atomic_fetch_or(&store->lacks[i], bits) & bits) != bits;
    }
    if (more) {
        atomic_store(&store->lacks_changed, true);
    }
}

int kept_lacks_write(struct store *store)
{
    uint64_t lacks[LACKS_WORDS];

    if (!atomic_exchange(&store->lacks_changed, false)) {
        return 0;
    }
    for (uint32_t i = 0; i < LACKS_WORDS; i++) {
        lacks[i] = atomic_load(&store->lacks[i]);
    }
    kept_seen_write(store); /* It may never say more than what is here. */
    int rc = atomic_load(&store->damaged) && !store->seen_removed ? -EIO : 0;
    if (rc == 0) {
        rc = kept_lacks_put(store->options.files, store->directory, store->options.shard, lacks);
    }
    if (rc != 0) {
        atomic_store(&store->lacks_changed, true);
    }
    return rc;
}

bool store_lacks(struct store *store, uint32_t slot)
{
    return (atomic_load(&store->lacks[slot / 64]) >> slot % 64 & 1) != 0;
}

void store_whole(struct store *store, uint32_t slot)
{
    const uint64_t bit = UINT64_C(1) << slot % 64;

    if ((atomic_fetch_and(&store->lacks[slot / 64], ~bit) & bit) != 0) {
        atomic_store(&store->lacks_changed, true);
    }
}
