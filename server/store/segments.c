#include "segment_state.h"

#include <assert.h>
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "log_reader.h"
#include "segment_index.h"

enum {
    /* The log writer needs a segment in a shorter time than this: more than one is prepared ahead. */
    BUSY_MS = 3000,
    FAILURES_MAX = 5, /* In a row; then take says -EIO. */
};

void segment_name(char name[SEGMENT_NAME_BYTES], struct log_epoch epoch)
{
    snprintf(name, SEGMENT_NAME_BYTES, "log-%010" PRIu32 "-%08" PRIx32 ".seg", epoch.number,
             epoch.salt);
}

int segment_name_parse(const char *name, struct log_epoch *epoch)
{
    struct log_epoch found = {0};
    char again[SEGMENT_NAME_BYTES];

    if (sscanf(name, "log-%10" SCNu32 "-%8" SCNx32 ".seg", &found.number, &found.salt) != 2 ||
        found.number == 0) {
        return -EINVAL;
    }
    segment_name(again, found);
    if (strcmp(again, name) != 0) {
        return -EINVAL;
    }
    *epoch = found;
    return 0;
}

uint64_t segments_size_for(uint64_t record_bytes_max)
{
    const uint64_t mib = 1024 * 1024;
    uint64_t needed = record_bytes_max + LOG_HEADER_BYTES + 64 * 1024;

    needed = (needed + mib - 1) / mib * mib;
    return needed < SEGMENT_BYTES_DEFAULT ? SEGMENT_BYTES_DEFAULT : needed;
}

static uint64_t clock_ms(void)
{
    struct timespec now;

    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000 + (uint64_t)now.tv_nsec / 1000000;
}

/* An unused place of the table, which may move. Returns 0 or -ENOMEM. */
int segments_place(struct segments *segments, uint32_t *id)
{
    struct memory *memory = segments->options.memory;

    for (uint32_t i = 0; i < segments->table_size; i++) {
        if (segments->table[i].state == SEGMENT_NONE) {
            *id = i;
            return 0;
        }
    }
    uint32_t size = segments->table_size == 0 ? 16 : segments->table_size * 2;
    struct segment_file *table = memory->resize(
        memory, segments->table, segments->table_size * sizeof *table, size * sizeof *table);
    if (table == NULL) {
        return -ENOMEM;
    }
    for (uint32_t i = segments->table_size; i < size; i++) {
        table[i] = (struct segment_file){.id = i, .fd = -1, .lsn = LOG_LSN_UNKNOWN};
    }
    *id = segments->table_size;
    segments->table = table;
    segments->table_size = size;
    return 0;
}

int segments_path(const struct segments *segments, struct log_epoch epoch,
                  char path[PATH_BYTES_MAX])
{
    char name[SEGMENT_NAME_BYTES];

    segment_name(name, epoch);
    return path_join(path, segments->options.directory, name);
}

int segments_index_path(const struct segments *segments, struct log_epoch epoch,
                        char path[PATH_BYTES_MAX])
{
    static const char suffix[] = ".idx";
    int rc = segments_path(segments, epoch, path);

    if (rc == 0) {
        memcpy(path + strlen(path) - (sizeof suffix - 1), suffix, sizeof suffix);
    }
    return rc;
}

/* ---- Opening ---- */

int segments_open(const struct segments_options *options, struct segments **segments,
                  char failed[SEGMENT_NAME_BYTES])
{
    pthread_condattr_t attributes;

    assert(options->segment_bytes % LOG_BLOCK_BYTES == 0);
    assert(options->segment_bytes > LOG_HEADER_BYTES);
    failed[0] = '\0';
    struct segments *made = options->memory->resize(options->memory, NULL, 0, sizeof *made);
    if (made == NULL) {
        return -ENOMEM;
    }
    *made =
        (struct segments){.options = *options, .next_number = 1, .awaited_lsn = LOG_LSN_UNKNOWN};
    pthread_mutex_init(&made->lock, NULL);
    pthread_condattr_init(&attributes);
    pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC);
    pthread_cond_init(&made->changed, &attributes);
    pthread_condattr_destroy(&attributes);
    int rc = segments_scan(made, failed);
    if (rc != 0) {
        segments_close(made);
        return rc;
    }
    *segments = made;
    return 0;
}

void segments_close(struct segments *segments)
{
    if (segments == NULL) {
        return;
    }
    struct memory *memory = segments->options.memory;
    for (uint32_t i = 0; i < segments->table_size; i++) {
        if (segments->table[i].fd >= 0) {
            segments->options.files->close(segments->options.files, segments->table[i].fd);
        }
        segments_forget_entries(segments, &segments->table[i]);
    }
    if (segments->table != NULL) {
        memory->resize(memory, segments->table, segments->table_size * sizeof *segments->table, 0);
    }
    pthread_cond_destroy(&segments->changed);
    pthread_mutex_destroy(&segments->lock);
    memory->resize(memory, segments, sizeof *segments, 0);
}

/* ---- Moves of one file ---- */

static void tell_change(struct segments *segments)
{
    segments->changes++;
    pthread_cond_broadcast(&segments->changed);
}

/* The file of a state with the lowest epoch, or NULL. */
struct segment_file *segments_first(struct segments *segments, enum segment_state state)
{
    struct segment_file *first = NULL;

    for (uint32_t i = 0; i < segments->table_size; i++) {
        struct segment_file *file = &segments->table[i];
        if (file->state == state && (first == NULL || file->epoch.number < first->epoch.number)) {
            first = file;
        }
    }
    return first;
}

int segments_take(struct segments *segments, uint64_t lsn, struct segment *segment)
{
    int rc = 0;
    uint64_t now_ms = clock_ms();

    pthread_mutex_lock(&segments->lock);
    struct segment_file *file = segments_first(segments, SEGMENT_READY);
    bool others = segments->awaited_lsn != LOG_LSN_UNKNOWN && segments->awaited_lsn != lsn;
    if (file != NULL && !others) {
        file->state = SEGMENT_TAKEN;
        file->lsn = lsn;
        *segment = (struct segment){
            .fd = file->fd,
            .id = file->id,
            .epoch = file->epoch,
            .size = file->size,
            .lsn = lsn,
            .entries = file->entries,
            .entries_max = file->entries_max,
        };
        segments->busy = segments->taken_ms != 0 && now_ms - segments->taken_ms < BUSY_MS;
        segments->taken_ms = now_ms;
        tell_change(segments);
    } else if (segments->error == -ENOSPC) {
        rc = -ENOSPC;
    } else {
        rc = segments->failures >= FAILURES_MAX ? -EIO : -EAGAIN;
    }
    pthread_mutex_unlock(&segments->lock);
    return rc;
}

bool segments_has_ready(struct segments *segments)
{
    pthread_mutex_lock(&segments->lock);
    const bool has = segments_first(segments, SEGMENT_READY) != NULL;
    pthread_mutex_unlock(&segments->lock);
    return has;
}

void segments_seal(struct segments *segments, uint32_t id, const struct segment_end *end)
{
    pthread_mutex_lock(&segments->lock);
    assert(id < segments->table_size && segments->table[id].state == SEGMENT_TAKEN);
    struct segment_file *file = &segments->table[id];
    file->state = SEGMENT_SEALED;
    file->end_lsn = end->lsn;
    file->hlc = end->hlc;
    file->entry_count = end->entry_count;
    file->indexed = file->after_gap = false;
    tell_change(segments);
    pthread_mutex_unlock(&segments->lock);
}

void segments_adopt(struct segments *segments, uint32_t id, const struct segment_end *end,
                    bool after_gap)
{
    pthread_mutex_lock(&segments->lock);
    assert(id < segments->table_size && segments->table[id].state == SEGMENT_FREE);
    struct segment_file *file = &segments->table[id];
    file->state = SEGMENT_SEALED;
    file->end_lsn = end->lsn;
    file->hlc = end->hlc;
    file->indexed = true;
    file->after_gap = after_gap;
    pthread_mutex_unlock(&segments->lock);
}

void segments_await(struct segments *segments, uint64_t lsn)
{
    pthread_mutex_lock(&segments->lock);
    segments->awaited_lsn = lsn;
    pthread_mutex_unlock(&segments->lock);
}

struct segment_file *segments_give_up(struct segments *segments)
{
    struct segment_file *oldest = segments_first(segments, SEGMENT_KEPT);

    if (oldest != NULL) {
        oldest->state = SEGMENT_FREE;
    }
    return oldest;
}

/* With the lock held. */
static void give_up_beyond(struct segments *segments)
{
    uint64_t bytes = 0;

    for (uint32_t i = 0; i < segments->table_size; i++) {
        bytes += segments->table[i].state == SEGMENT_KEPT ? segments->table[i].size : 0;
    }
    while (bytes > segments->kept_max) {
        bytes -= segments_give_up(segments)->size;
    }
}

void segments_keep(struct segments *segments, uint64_t lsn, uint64_t bytes_max)
{
    pthread_mutex_lock(&segments->lock);
    segments->keeps = true;
    segments->archived_lsn = lsn;
    segments->kept_max = bytes_max;
    give_up_beyond(segments);
    pthread_mutex_unlock(&segments->lock);
}

void segments_adopt_kept(struct segments *segments, uint32_t id, uint64_t end_lsn)
{
    pthread_mutex_lock(&segments->lock);
    assert(id < segments->table_size && segments->table[id].state == SEGMENT_FREE);
    struct segment_file *file = &segments->table[id];
    if (segments->keeps && end_lsn > segments->archived_lsn) {
        file->state = SEGMENT_KEPT;
        file->end_lsn = end_lsn;
        give_up_beyond(segments);
    }
    pthread_mutex_unlock(&segments->lock);
}

void segments_archived(struct segments *segments, uint64_t lsn)
{
    pthread_mutex_lock(&segments->lock);
    if (lsn > segments->archived_lsn) {
        segments->archived_lsn = lsn;
    }
    for (uint32_t i = 0; i < segments->table_size; i++) {
        struct segment_file *file = &segments->table[i];
        if (file->state == SEGMENT_KEPT && file->end_lsn <= segments->archived_lsn) {
            file->state = SEGMENT_FREE;
        }
    }
    tell_change(segments);
    pthread_mutex_unlock(&segments->lock);
}

static bool holds_log(const struct segment_file *file)
{
    return (file->state == SEGMENT_TAKEN || file->state == SEGMENT_SEALED ||
            file->state == SEGMENT_KEPT) &&
           file->lsn != LOG_LSN_UNKNOWN;
}

/* Where two begin at the same place the later one took over. */
static bool is_later(const struct segment_file *file, const struct segment_file *than)
{
    return than == NULL || file->lsn > than->lsn ||
           (file->lsn == than->lsn && file->epoch.number > than->epoch.number);
}

bool segments_find(struct segments *segments, uint64_t lsn, struct segment_file *found,
                   uint64_t *next_lsn)
{
    const struct segment_file *at = NULL, *next = NULL;

    pthread_mutex_lock(&segments->lock);
    for (int pass = 0; pass < 2; pass++) {
        uint64_t from_lsn = at == NULL ? lsn : at->lsn;
        next = NULL;
        for (uint32_t i = 0; i < segments->table_size; i++) {
            const struct segment_file *file = &segments->table[i];
            if (!holds_log(file)) {
                continue;
            }
            bool ended = file->state != SEGMENT_TAKEN && file->end_lsn <= lsn;
            if (pass == 0 && file->lsn <= lsn && !ended && is_later(file, at)) {
                at = file;
            }
            if (file->lsn > from_lsn && (next == NULL || is_later(next, file))) {
                next = file;
            }
        }
        if (at == NULL) { /* The log before `next` is not there. */
            at = next;
        }
    }
    if (at != NULL) {
        *found = *at;
        *next_lsn = next == NULL ? LOG_LSN_UNKNOWN : next->lsn;
    }
    pthread_mutex_unlock(&segments->lock);
    return at != NULL;
}

void segments_recycle(struct segments *segments, uint64_t lsn)
{
    int closing = -1;

    do {
        closing = -1;
        pthread_mutex_lock(&segments->lock);
        for (uint32_t i = 0; i < segments->table_size && closing < 0; i++) {
            struct segment_file *file = &segments->table[i];
            if (file->state == SEGMENT_SEALED && file->end_lsn <= lsn) {
                bool kept = segments->keeps && file->end_lsn > segments->archived_lsn;
                file->state = kept ? SEGMENT_KEPT : SEGMENT_FREE;
                if (file->hlc > segments->recycled_hlc) {
                    segments->recycled_hlc = file->hlc;
                }
                closing = file->fd;
                file->fd = -1;
            }
        }
        give_up_beyond(segments);
        tell_change(segments);
        pthread_mutex_unlock(&segments->lock);
        if (closing >= 0) {
            segments->options.files->close(segments->options.files, closing);
        }
    } while (closing >= 0);
}

static int compare_epochs(const void *left, const void *right)
{
    const struct segment_file *a = left, *b = right;

    return (a->epoch.number > b->epoch.number) - (a->epoch.number < b->epoch.number);
}

/* Put one into its place among the `count` oldest so far, of which at most `max` are kept. */
static void insert_by_epoch(struct segment_file found[], uint32_t count, uint32_t max,
                            const struct segment_file *file)
{
    uint32_t at = count < max ? count : max;

    while (at > 0 && compare_epochs(&found[at - 1], file) > 0) {
        if (at < max) {
            found[at] = found[at - 1];
        }
        at--;
    }
    if (at < max) {
        found[at] = *file;
    }
}

uint32_t segments_list(struct segments *segments, enum segment_state state,
                       struct segment_file found[], uint32_t max)
{
    uint32_t count = 0;

    pthread_mutex_lock(&segments->lock);
    for (uint32_t i = 0; i < segments->table_size; i++) {
        if (segments->table[i].state == state) {
            insert_by_epoch(found, count, max, &segments->table[i]);
            count++;
        }
    }
    pthread_mutex_unlock(&segments->lock);
    return count;
}

void segments_set_kept(struct segments *segments, uint64_t kept_bytes, uint64_t other_bytes)
{
    pthread_mutex_lock(&segments->lock);
    if (segments->kept_bytes != kept_bytes || segments->other_bytes != other_bytes) {
        segments->kept_bytes = kept_bytes;
        segments->other_bytes = other_bytes;
        tell_change(segments); /* Only then: who asks for it waits for changes, too. */
    }
    pthread_mutex_unlock(&segments->lock);
}

void segments_set_bound(struct segments *segments, uint64_t bytes, int error)
{
    pthread_mutex_lock(&segments->lock);
    if (segments->bound_bytes != bytes || segments->bound_error != error) {
        segments->bound_bytes = bytes;
        segments->bound_error = error;
        tell_change(segments);
    }
    pthread_mutex_unlock(&segments->lock);
}

/* It stays until its segment is taken anew. */
static uint64_t index_bytes(const struct segment_file *file)
{
    return file->entry_count == 0 || file->entry_count == SEGMENT_NOT_INDEXED
               ? 0
               : SEGMENT_INDEX_HEADER_BYTES + file->entry_count * sizeof(struct segment_entry);
}

void segments_count(const struct segments *segments, struct segments_stats *stats)
{
    bool free = false;

    *stats = (struct segments_stats){
        .full = segments->error == -ENOSPC,
        .recycled_hlc = segments->recycled_hlc,
    };
    for (uint32_t i = 0; i < segments->table_size; i++) {
        const struct segment_file *file = &segments->table[i];
        stats->files += file->state != SEGMENT_NONE;
        if (file->state == SEGMENT_KEPT) {
            stats->kept_bytes += file->size + index_bytes(file);
            continue;
        }
        stats->bytes += file->state != SEGMENT_NONE ? file->size : 0;
        stats->ready += file->state == SEGMENT_READY;
        free = free || file->state == SEGMENT_FREE;
        stats->bytes += file->state != SEGMENT_NONE ? index_bytes(file) : 0;
        if (file->state == SEGMENT_SEALED) {
            stats->sealed_bytes += file->end_lsn - file->lsn;
        }
    }
    stats->at_bound = segments->bound_bytes != 0 && !free &&
                      stats->bytes + segments->options.segment_bytes > segments->bound_bytes;
}

void segments_stats(struct segments *segments, struct segments_stats *stats)
{
    pthread_mutex_lock(&segments->lock);
    segments_count(segments, stats);
    pthread_mutex_unlock(&segments->lock);
}

void segments_wait(struct segments *segments, uint64_t *seen, uint32_t timeout_ms)
{
    struct timespec until;

    clock_gettime(CLOCK_MONOTONIC, &until);
    until.tv_sec += timeout_ms / 1000;
    until.tv_nsec += (long)(timeout_ms % 1000) * 1000000;
    if (until.tv_nsec >= 1000000000) {
        until.tv_sec++;
        until.tv_nsec -= 1000000000;
    }
    pthread_mutex_lock(&segments->lock);
    int rc = 0;
    while (*seen == segments->changes && rc == 0) {
        rc = pthread_cond_timedwait(&segments->changed, &segments->lock, &until);
    }
    *seen = segments->changes;
    pthread_mutex_unlock(&segments->lock);
}

void segments_wake(struct segments *segments)
{
    pthread_mutex_lock(&segments->lock);
    tell_change(segments);
    pthread_mutex_unlock(&segments->lock);
}
