#include "segment_pool.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <time.h>

#include "log_reader.h"

enum {
    ZEROS_BYTES = 1024 * 1024,
    /* The log writer needs a segment in a shorter time than this: prepare more than one ahead. */
    BUSY_MS = 3000,
    READY_BUSY = 3,
    FAILURES_MAX = 5, /* In a row; then take says -EIO. */
};

static const char temporary_name[] = "log-new.seg.tmp";

struct segments {
    struct segments_options options;
    pthread_mutex_t lock;
    pthread_cond_t changed;
    uint64_t changes;
    struct segment_file *table;
    uint32_t table_size;
    uint32_t next_number;
    uint64_t kept_bytes, other_bytes;
    uint64_t taken_ms; /* When the last one was taken; 0: never. */
    bool busy;         /* The last two were taken within BUSY_MS. */
    int error;         /* Of the last preparation. */
    uint32_t failures; /* In a row. */
    bool full_told;
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

static int path_of(const struct segments *segments, struct log_epoch epoch,
                   char path[PATH_BYTES_MAX])
{
    char name[SEGMENT_NAME_BYTES];

    segment_name(name, epoch);
    return path_join(path, segments->options.directory, name);
}

/* An unused place of the table, which may move. Returns 0 or -ENOMEM. */
static int place(struct segments *segments, uint32_t *id)
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

/* ---- Opening ---- */

/* What the file itself says: its epoch, and the LSN at which it begins. */
static int examine(struct segments *segments, struct log_reader *reader, const char *name,
                   struct segment_file *file)
{
    char path[PATH_BYTES_MAX];
    struct log_segment_header header;

    int rc = path_join(path, segments->options.directory, name);
    if (rc == 0) {
        rc = log_reader_open(reader, path, file->epoch);
    }
    if (rc != 0) {
        return rc;
    }
    file->size = reader->size;
    rc = log_reader_header(reader, &header);
    if (rc == -EBADMSG || rc == -ENODATA) {
        const struct store_report report = {
            .event = STORE_LOG_DAMAGED,
            .shard = segments->options.shard,
            .file = name,
            .size = reader->size < LOG_HEADER_BYTES ? reader->size : LOG_HEADER_BYTES,
            .text = "the header; its name tells as much",
        };
        segments->options.reporter->report(segments->options.reporter, &report);
    } else if (rc != 0) {
        return rc;
    } else if (header.epoch.number != file->epoch.number) {
        /* A crash between the new header of a recycled file and its new name. */
        if (header.epoch.number >= segments->next_number) {
            segments->next_number = header.epoch.number + 1;
        }
        return 0;
    }
    rc = log_reader_locate(reader);
    file->lsn = rc == 0 ? reader->lsn : LOG_LSN_UNKNOWN;
    return rc == -ENODATA ? 0 : rc;
}

struct scan {
    struct segments *segments;
    struct log_reader reader;
};

static int scan_name(void *context, const char *name)
{
    struct scan *scan = context;
    struct segments *segments = scan->segments;
    struct segment_file found = {.state = SEGMENT_FREE, .lsn = LOG_LSN_UNKNOWN, .fd = -1};
    uint32_t id = 0;

    if (segment_name_parse(name, &found.epoch) != 0) {
        return 0;
    }
    if (found.epoch.number >= segments->next_number) {
        segments->next_number = found.epoch.number + 1;
    }
    int rc = examine(segments, &scan->reader, name, &found);
    if (rc == 0) {
        rc = place(segments, &id);
    }
    if (rc == 0) {
        found.id = id;
        segments->table[id] = found;
    }
    return rc;
}

static int scan_directory(struct segments *segments)
{
    struct scan scan = {.segments = segments};
    char path[PATH_BYTES_MAX];

    log_reader_init(&scan.reader, segments->options.files, segments->options.memory);
    int rc = files_list(segments->options.directory, scan_name, &scan);
    log_reader_fini(&scan.reader);
    if (rc == 0) {
        rc = path_join(path, segments->options.directory, temporary_name);
    }
    if (rc == 0) {
        rc = segments->options.files->remove(segments->options.files, path);
    }
    return rc == -ENOENT ? 0 : rc;
}

int segments_open(const struct segments_options *options, struct segments **segments)
{
    pthread_condattr_t attributes;

    assert(options->segment_bytes % LOG_BLOCK_BYTES == 0);
    assert(options->segment_bytes > LOG_HEADER_BYTES);
    struct segments *made = options->memory->resize(options->memory, NULL, 0, sizeof *made);
    if (made == NULL) {
        return -ENOMEM;
    }
    *made = (struct segments){.options = *options, .next_number = 1};
    pthread_mutex_init(&made->lock, NULL);
    pthread_condattr_init(&attributes);
    pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC);
    pthread_cond_init(&made->changed, &attributes);
    pthread_condattr_destroy(&attributes);
    int rc = scan_directory(made);
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
static struct segment_file *first_in(struct segments *segments, enum segment_state state)
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
    struct segment_file *file = first_in(segments, SEGMENT_READY);
    if (file != NULL) {
        file->state = SEGMENT_TAKEN;
        file->lsn = lsn;
        *segment = (struct segment){
            .fd = file->fd, .id = file->id, .epoch = file->epoch, .size = file->size, .lsn = lsn};
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

void segments_seal(struct segments *segments, uint32_t id, uint64_t end_lsn)
{
    pthread_mutex_lock(&segments->lock);
    assert(id < segments->table_size && segments->table[id].state == SEGMENT_TAKEN);
    segments->table[id].state = SEGMENT_SEALED;
    segments->table[id].end_lsn = end_lsn;
    tell_change(segments);
    pthread_mutex_unlock(&segments->lock);
}

void segments_adopt(struct segments *segments, uint32_t id, uint64_t end_lsn)
{
    pthread_mutex_lock(&segments->lock);
    assert(id < segments->table_size && segments->table[id].state == SEGMENT_FREE);
    segments->table[id].state = SEGMENT_SEALED;
    segments->table[id].end_lsn = end_lsn;
    pthread_mutex_unlock(&segments->lock);
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
                file->state = SEGMENT_FREE;
                closing = file->fd;
                file->fd = -1;
            }
        }
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

uint32_t segments_list(struct segments *segments, enum segment_state state,
                       struct segment_file found[], uint32_t max)
{
    uint32_t count = 0;

    pthread_mutex_lock(&segments->lock);
    for (uint32_t i = 0; i < segments->table_size; i++) {
        if (segments->table[i].state == state) {
            if (count < max) {
                found[count] = segments->table[i];
            }
            count++;
        }
    }
    pthread_mutex_unlock(&segments->lock);
    if (max > 0) {
        qsort(found, count < max ? count : max, sizeof found[0], compare_epochs);
    }
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

static void count(const struct segments *segments, struct segments_stats *stats)
{
    *stats = (struct segments_stats){.full = segments->error == -ENOSPC};
    for (uint32_t i = 0; i < segments->table_size; i++) {
        const struct segment_file *file = &segments->table[i];
        stats->files += file->state != SEGMENT_NONE;
        stats->bytes += file->state != SEGMENT_NONE ? file->size : 0;
        stats->ready += file->state == SEGMENT_READY;
        stats->sealed_bytes += file->state == SEGMENT_SEALED ? file->end_lsn - file->lsn : 0;
    }
}

void segments_stats(struct segments *segments, struct segments_stats *stats)
{
    pthread_mutex_lock(&segments->lock);
    count(segments, stats);
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

/* ---- Preparing ---- */

/* One step that is due; its file, if it has one yet, is busy meanwhile. */
struct step {
    enum { STEP_NOTHING, STEP_CREATE, STEP_RECYCLE, STEP_REMOVE } kind;
    struct segment_file file;
    struct log_epoch epoch; /* The new one. */
};

static int write_zeros(struct files *files, int fd, const uint8_t *zeros, uint64_t size)
{
    int rc = files->allocate(files, fd, size);

    for (uint64_t at = 0; at < size && rc == 0; at += ZEROS_BYTES) {
        uint64_t left = size - at;
        rc = files->write(files, fd, zeros, (size_t)(left < ZEROS_BYTES ? left : ZEROS_BYTES), at);
    }
    return rc;
}

/* Both kinds of files end here: a durable header, then the durable name. Uses the first block of `block`,
 * and leaves it zero. */
static int write_header(struct segments *segments, int fd, const char *from, struct step *step,
                        uint8_t *block)
{
    struct files *files = segments->options.files;
    const struct log_segment_header header = {
        .shard = segments->options.shard,
        .actor = segments->options.actor,
        .epoch = step->epoch,
    };
    char path[PATH_BYTES_MAX];

    log_segment_header_put(block, &header);
    int rc = files->write(files, fd, block, LOG_HEADER_BYTES, 0);
    memset(block, 0, LOG_HEADER_BYTES);
    if (rc == 0) {
        rc = files->sync(files, fd);
    }
    if (rc == 0) {
        rc = path_of(segments, step->epoch, path);
    }
    if (rc == 0) {
        rc = files->rename(files, from, path);
    }
    if (rc == 0) {
        step->file.epoch = step->epoch;
        rc = files->sync_directory(files, segments->options.directory);
    }
    return rc;
}

static int create(struct segments *segments, struct step *step, uint8_t *zeros)
{
    struct files *files = segments->options.files;
    char path[PATH_BYTES_MAX], made[PATH_BYTES_MAX];

    int rc = path_join(path, segments->options.directory, temporary_name);
    if (rc == 0) {
        rc = path_of(segments, step->epoch, made);
    }
    if (rc != 0) {
        return rc;
    }
    int fd = files->open(files, path, O_WRONLY | O_CREAT | O_TRUNC | O_DIRECT);
    if (fd < 0) {
        return fd;
    }
    rc = write_zeros(files, fd, zeros, step->file.size);
    if (rc == 0) {
        rc = write_header(segments, fd, path, step, zeros);
    }
    files->close(files, fd);
    if (rc == 0) {
        rc = files->open(files, made, O_WRONLY | O_DIRECT | O_DSYNC);
        step->file.fd = rc;
    }
    if (rc < 0) {
        (void)files->remove(files, path);
        (void)files->remove(files, made);
    }
    return rc < 0 ? rc : 0;
}

static int recycle(struct segments *segments, struct step *step, uint8_t *block)
{
    struct files *files = segments->options.files;
    char path[PATH_BYTES_MAX];

    int rc = path_of(segments, step->file.epoch, path);
    if (rc != 0) {
        return rc;
    }
    int fd = files->open(files, path, O_WRONLY | O_DIRECT | O_DSYNC);
    if (fd < 0) {
        return fd;
    }
    rc = write_header(segments, fd, path, step, block);
    if (rc != 0) {
        files->close(files, fd);
        return rc;
    }
    step->file.fd = fd;
    return 0;
}

static int remove_file(struct segments *segments, const struct step *step)
{
    struct files *files = segments->options.files;
    char path[PATH_BYTES_MAX];

    int rc = path_of(segments, step->file.epoch, path);
    return rc != 0 ? rc : files->remove(files, path);
}

/* Choose, with the lock held. */
static int choose(struct segments *segments, struct step *step)
{
    struct segments_stats stats;
    const struct segments_options *options = &segments->options;
    struct segment_file *file = first_in(segments, SEGMENT_FREE);

    count(segments, &stats);
    *step = (struct step){.kind = STEP_NOTHING};
    if (stats.ready < (segments->busy ? READY_BUSY : 1)) {
        step->epoch.number = segments->next_number++;
        if (file != NULL && file->size >= options->segment_bytes &&
            file->size % LOG_BLOCK_BYTES == 0) {
            step->kind = STEP_RECYCLE;
            step->file = *file;
            file->state = SEGMENT_BUSY;
            return 0;
        }
        if (file == NULL) {
            if (options->bytes_max != 0 &&
                stats.bytes + segments->other_bytes + options->segment_bytes > options->bytes_max) {
                return -ENOSPC;
            }
            int rc = place(segments, &step->file.id);
            if (rc != 0) {
                return rc;
            }
            step->kind = STEP_CREATE;
            step->file.size = options->segment_bytes;
            step->file.lsn = LOG_LSN_UNKNOWN;
            step->file.fd = -1;
            segments->table[step->file.id] = step->file;
            segments->table[step->file.id].state = SEGMENT_BUSY;
            return 0;
        }
    } else if (file == NULL || stats.bytes <= segments->kept_bytes) {
        return 0;
    }
    step->kind = STEP_REMOVE;
    step->file = *file;
    file->state = SEGMENT_BUSY;
    return 0;
}

static int perform(struct segments *segments, struct step *step)
{
    uint8_t *zeros = NULL;
    int rc;

    if (step->kind == STEP_REMOVE) {
        return remove_file(segments, step);
    }
    if (getrandom(&step->epoch.salt, sizeof step->epoch.salt, 0) != sizeof step->epoch.salt) {
        return -EIO;
    }
    struct memory *memory = segments->options.memory;
    zeros = memory->map(memory, ZEROS_BYTES);
    if (zeros == NULL) {
        return -ENOMEM;
    }
    if (step->kind == STEP_CREATE) {
        rc = create(segments, step, zeros);
    } else {
        rc = recycle(segments, step, zeros);
    }
    memory->unmap(memory, zeros, ZEROS_BYTES);
    return rc;
}

/* Put the outcome into the table, with the lock held. */
static void settle(struct segments *segments, struct step *step, int rc)
{
    struct segment_file *file = &segments->table[step->file.id];

    if (step->kind == STEP_NOTHING) {
        return;
    }
    *file = step->file;
    if (rc == 0 && step->kind != STEP_REMOVE) {
        file->state = SEGMENT_READY;
        file->lsn = LOG_LSN_UNKNOWN;
    } else if (rc != 0 && step->kind != STEP_CREATE) {
        file->state = SEGMENT_FREE;
    } else {
        file->state = SEGMENT_NONE;
    }
}

static void tell_room(struct segments *segments, int rc)
{
    bool full = rc == -ENOSPC;

    if (full != segments->full_told && (full || rc == 0)) {
        const struct store_report report = {
            .event = full ? STORE_DISK_FULL : STORE_DISK_ROOM,
            .shard = segments->options.shard,
            .error = rc,
        };
        segments->full_told = full;
        segments->options.reporter->report(segments->options.reporter, &report);
    }
}

int segments_prepare(struct segments *segments)
{
    struct step step;

    pthread_mutex_lock(&segments->lock);
    int rc = choose(segments, &step);
    pthread_mutex_unlock(&segments->lock);
    if (rc == 0 && step.kind == STEP_NOTHING) {
        return 0;
    }
    if (rc == 0) {
        rc = perform(segments, &step);
    }
    pthread_mutex_lock(&segments->lock);
    settle(segments, &step, rc);
    segments->error = rc;
    segments->failures = rc == 0 ? 0 : segments->failures + 1;
    pthread_mutex_unlock(&segments->lock);
    tell_room(segments, rc);
    return rc == 0 ? 1 : rc;
}
