/* Preparing segments: new files are written full of zeros, recycled ones get a new header and name. */
#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/random.h>

#include "log_reader.h"
#include "segment_index.h"
#include "segment_state.h"

enum {
    ZEROS_BYTES = 1024 * 1024,
    READY_BUSY = 3, /* Prepared ahead while the log writer needs many. */
};

/* One step that is due; its file, if it has one yet, is busy meanwhile. */
struct step {
    enum { STEP_NOTHING, STEP_CREATE, STEP_RECYCLE, STEP_INDEX, STEP_REMOVE } kind;
    struct segment_file file;
    struct log_epoch epoch; /* The new one. */
    bool spare;             /* The file to remove is one too many, and not in the way of another. */
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
        rc = segments_path(segments, step->epoch, path);
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

    int rc = path_join(path, segments->options.directory, SEGMENT_TEMPORARY_NAME);
    if (rc == 0) {
        rc = segments_path(segments, step->epoch, made);
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

static void remove_index(struct segments *segments, struct log_epoch epoch)
{
    char path[PATH_BYTES_MAX];

    if (segments_index_path(segments, epoch, path) == 0) {
        (void)segments->options.files->remove(segments->options.files,
                                              path); /* Or at the next start. */
    }
}

static int recycle(struct segments *segments, struct step *step, uint8_t *block)
{
    struct files *files = segments->options.files;
    char path[PATH_BYTES_MAX];

    int rc = segments_path(segments, step->file.epoch, path);
    if (rc != 0) {
        return rc;
    }
    remove_index(segments, step->file.epoch);
    int fd = files->open(files, path, O_WRONLY | O_DIRECT | O_DSYNC);
    if (fd < 0) {
        return fd;
    }
    /* A device write of a process that was killed may still be on its way to this file. */
    rc = step->file.inherited ? files->allocate(files, fd, step->file.size) : 0;
    if (rc == 0) {
        rc = write_header(segments, fd, path, step, block);
    }
    if (rc != 0) {
        files->close(files, fd);
        return rc;
    }
    step->file.fd = fd;
    return 0;
}

static int remove_file(struct segments *segments, struct step *step)
{
    struct files *files = segments->options.files;
    char path[PATH_BYTES_MAX];

    remove_index(segments, step->file.epoch);
    int rc = segments_path(segments, step->file.epoch, path);
    rc = rc != 0 ? rc : files->remove(files, path);
    if (rc == 0) {
        segments_forget_entries(segments, &step->file);
    }
    return rc;
}

/* ---- Indexes ---- */

/* As many as there can be records in a file of this size. */
static uint32_t entries_for(uint64_t size)
{
    return (uint32_t)((size - LOG_HEADER_BYTES) / log_record_size(1));
}

static size_t entries_bytes(uint32_t max)
{
    return ((size_t)max * sizeof(struct segment_entry) + LOG_BLOCK_BYTES - 1) &
           ~(size_t)(LOG_BLOCK_BYTES - 1);
}

/* Room for the notes, whose pages exist once written. Without it the segment has no index. */
static void make_entries(struct segments *segments, struct segment_file *file)
{
    struct memory *memory = segments->options.memory;

    if (file->entries != NULL) {
        return; /* Freed before they were written. */
    }
    file->entries_max = entries_for(file->size);
    file->entries = memory->map(memory, entries_bytes(file->entries_max));
    file->entries_max = file->entries == NULL ? 0 : file->entries_max;
}

void segments_forget_entries(struct segments *segments, struct segment_file *file)
{
    struct memory *memory = segments->options.memory;

    if (file->entries != NULL) {
        memory->unmap(memory, file->entries, entries_bytes(file->entries_max));
        file->entries = NULL;
    }
    file->entries_max = 0;
}

static int write_index(struct segments *segments, const struct segment_file *file)
{
    const struct segment_index index = {
        .epoch = file->epoch,
        .shard = segments->options.shard,
        .lsn = file->lsn,
        .end_lsn = file->end_lsn,
        .hlc = file->hlc,
        .entries = file->entries,
        .count = file->entry_count,
    };
    char path[PATH_BYTES_MAX];

    int rc = segments_index_path(segments, file->epoch, path);
    if (rc != 0) {
        return rc;
    }
    segment_entries_sort(file->entries, file->entry_count);
    rc = segment_index_write(&index, segments->options.files, path);
    if (rc != 0) {
        (void)segments->options.files->remove(segments->options.files, path);
    }
    return rc;
}

/* A sealed file without an index. It stays sealed: what is sealed is only read, or left. */
static bool choose_index(struct segments *segments, struct step *step)
{
    for (uint32_t i = 0; i < segments->table_size; i++) {
        struct segment_file *file = &segments->table[i];
        if (file->state == SEGMENT_SEALED && !file->indexed) {
            file->indexed = true;
            step->file = *file;
            step->kind = STEP_INDEX;
            file->entries = NULL; /* They are the step's now. */
            file->entries_max = 0;
            return true;
        }
    }
    return false;
}

/* Is there no room for another file? */
static bool is_at_limit(const struct segments *segments, const struct segments_stats *stats)
{
    const struct segments_options *options = &segments->options;

    return options->bytes_max != 0 &&
           stats->bytes + stats->kept_bytes + segments->other_bytes + options->segment_bytes >
               options->bytes_max;
}

/* Another file, made of the free one where there is one that will do. */
static int choose_another(struct segments *segments, const struct segments_stats *stats,
                          struct segment_file *free, struct step *step)
{
    const struct segments_options *options = &segments->options;

    step->epoch.number = segments->next_number++;
    if (free != NULL) {
        step->kind = STEP_RECYCLE;
        step->file = *free;
        free->state = SEGMENT_BUSY;
        return 0;
    }
    if (stats->at_bound || segments->at_limit) {
        return -ENOSPC;
    }
    int rc = segments_place(segments, &step->file.id);
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

/* Choose, with the lock held. At the bound of the log compaction is waited for, unless that waits for the disk
 * itself. */
static int choose(struct segments *segments, struct step *step)
{
    struct segments_stats stats;
    const struct segments_options *options = &segments->options;
    struct segment_file *free = segments_first(segments, SEGMENT_FREE);

    segments_count(segments, &stats);
    *step = (struct step){.kind = STEP_NOTHING};
    bool waits = stats.at_bound && segments->bound_error != -ENOSPC;
    bool wanted = stats.ready < (segments->busy ? READY_BUSY : 1) && !waits;
    segments->at_limit = is_at_limit(segments, &stats);
    if (wanted && free == NULL && (segments->at_limit || segments->error == -ENOSPC)) {
        free = segments_give_up(segments); /* Whoever writes comes before the archive. */
    }
    bool fits =
        free == NULL || (free->size >= options->segment_bytes && free->size % LOG_BLOCK_BYTES == 0);
    if (wanted && fits) {
        return choose_another(segments, &stats, free, step);
    }
    if (!wanted &&
        (choose_index(segments, step) || free == NULL || stats.bytes <= segments->kept_bytes)) {
        return 0;
    }
    step->kind = STEP_REMOVE;
    step->spare = !wanted;
    step->file = *free;
    free->state = SEGMENT_BUSY;
    return 0;
}

static int perform(struct segments *segments, struct step *step)
{
    uint8_t *zeros = NULL;
    int rc;

    if (step->kind == STEP_REMOVE) {
        return remove_file(segments, step);
    }
    if (step->kind == STEP_INDEX) {
        /* It can be had from the segment as well: where it cannot be written, nothing has failed. */
        if (step->file.entries != NULL && step->file.entry_count != SEGMENT_NOT_INDEXED) {
            (void)write_index(segments, &step->file);
        }
        segments_forget_entries(segments, &step->file);
        return 0;
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
    if (rc == 0) {
        make_entries(segments, &step->file);
    }
    return rc;
}

/* Put the outcome into the table, with the lock held. */
static void settle(struct segments *segments, struct step *step, int rc)
{
    if (step->kind == STEP_NOTHING || step->kind == STEP_INDEX) {
        return;
    }
    /* Not before: there may be no table yet. */
    struct segment_file *file = &segments->table[step->file.id];

    *file = step->file;
    if (rc == 0 && step->kind != STEP_REMOVE) {
        file->state = SEGMENT_READY;
        file->lsn = LOG_LSN_UNKNOWN;
        file->inherited = false;
        file->entry_count = 0;
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
            .text = !full ? NULL
                    : segments->at_limit
                        ? "storage.disk_limit leaves no room for the next file of the "
                          "log: raise it, or end sessions before it is reached"
                        : "the disk has no room for the next file of the log: free some",
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
    bool done = rc == 0 && (step.kind == STEP_CREATE || step.kind == STEP_RECYCLE);
    bool failed = rc != 0 && !step.spare;
    if (done || failed) { /* Anything else says nothing of whether the log can go on. */
        segments->error = rc;
        segments->failures = done || rc == -ENOSPC ? 0 : segments->failures + 1;
    }
    pthread_mutex_unlock(&segments->lock);
    if (done || failed) {
        tell_room(segments, rc);
    }
    return rc == 0 ? 1 : rc;
}
