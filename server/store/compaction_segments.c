/* The log that a compaction reads: segments, their indexes, single records. */
#include "compaction_state.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

enum {
    FETCH_BYTES = 1024 * 1024,      /* Read at once. */
    MADE_ENTRIES_MAX = 1024 * 1024, /* Of indexes made again, which lie in memory: 24 MiB. */
    MEMORY_PART = 4,
};

/* ---- Indexes ---- */

struct making {
    struct log_visitor visitor;
    struct compaction *compaction;
    char name[SEGMENT_NAME_BYTES];
};

static void report_damage(const struct compaction *compaction, const char *name,
                          const struct log_damage *damage)
{
    const struct store_report report = {
        .event = STORE_LOG_DAMAGED,
        .shard = compaction->shard,
        .file = name,
        .offset = damage->offset,
        .size = damage->size,
        .key = log_record_key(damage->kind, damage->body),
    };

    compaction->reporter->report(compaction->reporter, &report);
}

static void making_damage(struct log_visitor *visitor, const struct log_damage *damage)
{
    const struct making *making = (const struct making *)(void *)visitor;

    report_damage(making->compaction, making->name, damage);
}

/* Where a segment ends is known, so that nothing in it is torn. */
static void making_torn(struct log_visitor *visitor, uint64_t offset)
{
    (void)visitor;
    (void)offset;
}

/* Make the index again from the segment. */
static int make_index(struct compaction *compaction, struct compaction_segment *segment)
{
    struct making making = {.visitor = {.damage = making_damage, .torn = making_torn},
                            .compaction = compaction};
    struct log_reader reader;
    char path[PATH_BYTES_MAX];

    segment_name(making.name, segment->file.epoch);
    log_reader_init(&reader, compaction->files, compaction->memory);
    int rc = segments_path(compaction->segments, segment->file.epoch, path);
    if (rc == 0) {
        rc = log_reader_open(&reader, path, segment->file.epoch);
    }
    if (rc == 0) {
        reader.lsn = segment->file.lsn;
        rc = segment_index_scan(&segment->index, &reader, compaction->seed, segment->file.lsn,
                                segment->file.end_lsn, &making.visitor);
    }
    log_reader_fini(&reader);
    segment->streamed = false;
    segment->entry_count = segment->index.count;
    compaction->made_count += segment->index.count;
    return rc;
}

/* The index says where the segment begins and ends; one that knows other places is not of this life. One
 * without entries says that nothing counts: the segment itself is asked whether that is so. */
static bool is_of(const struct segment_index *index, uint64_t entry_count,
                  const struct segment_file *file)
{
    return index->lsn == file->lsn && index->end_lsn == file->end_lsn &&
           (entry_count > 0 || file->end_lsn == file->lsn);
}

static int open_index(struct compaction *compaction, struct compaction_segment *segment)
{
    char path[PATH_BYTES_MAX];

    segment->index.epoch = segment->file.epoch;
    segment->index.shard = compaction->shard;
    int rc = segments_index_path(compaction->segments, segment->file.epoch, path);
    if (rc == 0) {
        rc = segment_index_check(&segment->index, compaction->files, path, &segment->entry_count);
    }
    bool lacking = rc == -ENOMEM || rc == -EMFILE || rc == -ENFILE;
    if ((rc < 0 && !lacking) ||
        (rc == 0 && !is_of(&segment->index, segment->entry_count, &segment->file))) {
        return make_index(compaction, segment);
    }
    segment->streamed = true;
    return rc;
}

static int next_window(struct compaction *compaction, struct compaction_segment *segment)
{
    char path[PATH_BYTES_MAX];
    uint64_t left = segment->entry_count - segment->next;
    size_t count = left < COMPACTION_WINDOW ? (size_t)left : COMPACTION_WINDOW;

    segment->at = 0;
    int rc = segments_index_path(compaction->segments, segment->file.epoch, path);
    if (rc == 0) {
        rc = segment_index_part(&segment->index, compaction->files, path, segment->next, count);
    }
    segment->next += rc == 0 ? count : 0;
    return rc;
}

/* Go on to an entry that the checkpoint does not cover. */
static int skip_covered(struct compaction *compaction, struct compaction_segment *segment)
{
    for (;;) {
        while (segment->at < segment->index.count) {
            const struct segment_entry *entry = &segment->index.entries[segment->at];
            if (compaction_lsn(segment, entry->place) >= compaction->from_lsn) {
                return 0;
            }
            segment->at++;
        }
        if (!segment->streamed || segment->next == segment->entry_count) {
            return 0;
        }
        int rc = next_window(compaction, segment);
        if (rc != 0) {
            return rc;
        }
    }
}

int compaction_first(struct compaction *compaction, struct compaction_segment *segment)
{
    segment->at = 0;
    if (segment->streamed) {
        segment->next = 0;
        segment->index.count = 0;
    }
    return skip_covered(compaction, segment);
}

int compaction_next(struct compaction *compaction, struct compaction_segment *segment)
{
    segment->at++;
    return skip_covered(compaction, segment);
}

int compaction_whole_index(struct compaction *compaction, struct compaction_segment *segment)
{
    char path[PATH_BYTES_MAX];

    if (!segment->streamed) {
        return 0;
    }
    int rc = segments_index_path(compaction->segments, segment->file.epoch, path);
    if (rc == 0) {
        rc = segment_index_part(&segment->index, compaction->files, path, 0,
                                (size_t)segment->entry_count);
    }
    segment->streamed = rc != 0;
    return rc;
}

/* ---- Choosing ---- */

static uint64_t log_bytes_max(void)
{
    long pages = sysconf(_SC_PHYS_PAGES), page_bytes = sysconf(_SC_PAGESIZE);

    return pages > 0 && page_bytes > 0 ? (uint64_t)pages * (uint64_t)page_bytes / MEMORY_PART
                                       : UINT64_MAX;
}

static int list_sealed(struct compaction *compaction, struct segment_file **files, uint32_t *count)
{
    struct memory *memory = compaction->memory;

    *count = segments_list(compaction->segments, SEGMENT_SEALED, NULL, 0);
    *files = NULL;
    if (*count == 0) {
        return 0;
    }
    *files = memory->resize(memory, NULL, 0, *count * sizeof **files);
    if (*files == NULL) {
        return -ENOMEM;
    }
    segments_list(compaction->segments, SEGMENT_SEALED, *files, *count);
    return 0; /* More may be sealed by now: the next run's. */
}

/* Take one more segment. Returns 0 or negative errno. */
static int add_segment(struct compaction *compaction, const struct segment_file *file)
{
    struct compaction_segment *segment = &compaction->sealed[compaction->sealed_count++];
    char path[PATH_BYTES_MAX];

    *segment = (struct compaction_segment){.file = *file, .fd = -1};
    segment_index_init(&segment->index, compaction->memory);
    /* A part of the log that is not here, and was not missing at the start, is not to be passed over: the
     * checkpoint would say that it has it. */
    if (file->lsn > compaction->to_lsn && !file->after_gap) {
        return -EILSEQ;
    }
    int rc = segments_path(compaction->segments, file->epoch, path);
    if (rc == 0) {
        rc = compaction->files->open(compaction->files, path, O_RDONLY);
        segment->fd = rc;
    }
    if (rc >= 0) {
        rc = open_index(compaction, segment);
    }
    if (rc < 0) {
        return rc;
    }
    compaction->to_lsn = file->end_lsn;
    compaction->log_bytes += file->end_lsn - file->lsn;
    compaction->record_count += segment->entry_count;
    if (segment->index.hlc > compaction->hlc) {
        compaction->hlc = segment->index.hlc;
    }
    return 0;
}

static void drop_last(struct compaction *compaction)
{
    struct compaction_segment *segment = &compaction->sealed[--compaction->sealed_count];

    if (segment->fd >= 0) {
        compaction->files->close(compaction->files, segment->fd);
    }
    segment_index_fini(&segment->index);
}

static bool has_enough(const struct compaction *compaction, uint64_t bytes_max)
{
    return compaction->sealed_count == COMPACTION_SEGMENTS_MAX ||
           compaction->made_count >= MADE_ENTRIES_MAX || compaction->log_bytes >= bytes_max ||
           (compaction->records_max != 0 && compaction->record_count >= compaction->records_max);
}

static int choose(struct compaction *compaction, const struct segment_file files[], uint32_t count)
{
    const uint64_t bytes_max = log_bytes_max();
    int rc = 0;

    for (uint32_t i = 0; i < count && rc == 0 && !has_enough(compaction, bytes_max); i++) {
        if (compaction->breathe(compaction->context)) {
            return -ECANCELED;
        }
        if (files[i].end_lsn > compaction->from_lsn) {
            rc = add_segment(compaction, &files[i]);
        }
        if (rc < 0) {
            segment_name(compaction->failed, files[i].epoch);
        }
    }
    if (rc == -EMFILE && compaction->sealed_count > 1) {
        drop_last(compaction); /* Then with those that are open. */
        compaction->failed[0] = '\0';
        rc = 0;
    }
    return rc;
}

int compaction_segments_init(struct compaction *compaction)
{
    struct memory *memory = compaction->memory;
    struct segment_file *files;
    uint32_t count;

    compaction->sealed_count = compaction->sealed_capacity = 0;
    int rc = list_sealed(compaction, &files, &count);
    if (rc != 0 || count == 0) {
        return rc;
    }
    uint32_t capacity = count < COMPACTION_SEGMENTS_MAX ? count : COMPACTION_SEGMENTS_MAX;
    compaction->sealed = memory->resize(memory, NULL, 0, capacity * sizeof *compaction->sealed);
    if (compaction->sealed == NULL) {
        rc = -ENOMEM;
    } else {
        compaction->sealed_capacity = capacity;
        rc = choose(compaction, files, count);
    }
    memory->resize(memory, files, count * sizeof *files, 0);
    return rc;
}

static void unmap(struct compaction_segment *segment)
{
    if (segment->area != NULL) {
        munmap(segment->area, segment->area_bytes);
        segment->area = NULL;
        segment->area_bytes = 0;
    }
}

void compaction_segments_fini(struct compaction *compaction)
{
    struct memory *memory = compaction->memory;

    for (uint32_t i = 0; i < compaction->sealed_count; i++) {
        struct compaction_segment *segment = &compaction->sealed[i];
        if (segment->fd >= 0) {
            unmap(segment);
            (void)posix_fadvise(segment->fd, 0, 0, POSIX_FADV_DONTNEED);
            compaction->files->close(compaction->files, segment->fd);
        }
        segment_index_fini(&segment->index);
    }
    if (compaction->sealed != NULL) {
        memory->resize(memory, compaction->sealed,
                       compaction->sealed_capacity * sizeof *compaction->sealed, 0);
    }
    compaction->sealed = NULL;
    compaction->sealed_count = compaction->sealed_capacity = 0;
}

/* ---- Records ---- */

/* Read from `at` on what is there, so that whatever is wrong with the disk shows here. */
static int64_t read_part(struct compaction *compaction, const struct compaction_segment *segment,
                         uint64_t at, uint64_t end)
{
    size_t size = end - at < FETCH_BYTES ? (size_t)(end - at) : FETCH_BYTES;

    if (compaction->breathe(compaction->context)) {
        return -ECANCELED;
    }
    int rc = buffer_reserve(&compaction->scratch, size);
    if (rc != 0) {
        return rc;
    }
    return compaction->files->read(compaction->files, segment->fd, compaction->scratch.data, size,
                                   at);
}

/* Records are taken in the order of keys, that is anywhere: a call for each would cost more than all else
 * that is done with it (1.7 of 3.3 us, measured), and from the disk a read of its own. So all comes into the
 * page cache before, in order, and then it is mapped. The kernel reads ahead in large folios and never so much
 * at once that a write of the log would wait for it; what it is asked for by POSIX_FADV_WILLNEED comes in single
 * pages, which cost six times as much to read, map and drop. */
static int fetch(struct compaction *compaction, struct compaction_segment *segment)
{
    const uint64_t end = LOG_HEADER_BYTES + (segment->file.end_lsn - segment->file.lsn);
    uint64_t at = 0;
    int64_t got = 1;
    void *area;

    if (segment->area != NULL) {
        return 0; /* This run began in another way. */
    }
    (void)posix_fadvise(segment->fd, 0, 0, POSIX_FADV_SEQUENTIAL);
    for (; at < end && got > 0; at += (uint64_t)got) {
        got = read_part(compaction, segment, at, end);
        if (got < 0) {
            return (int)got;
        }
    }
    if (at == 0) {
        return 0; /* Whatever is looked for in it will be told as damaged. */
    }
    (void)posix_fadvise(segment->fd, 0, 0, POSIX_FADV_RANDOM); /* Nothing more ahead. */
    int rc = compaction->files->map(compaction->files, segment->fd, (size_t)at, false, &area);
    if (rc == 0) {
        segment->area = area;
        segment->area_bytes = (size_t)at;
    }
    return rc;
}

int compaction_fetch(struct compaction *compaction, struct compaction_segment *segment)
{
    int rc = fetch(compaction, segment);

    if (rc != 0) {
        segment_name(compaction->failed, segment->file.epoch);
    }
    return rc;
}

/* As much as there is of what the index says is there. */
static struct bytes entry_bytes(const struct compaction *compaction,
                                const struct compaction_entry *entry)
{
    const struct compaction_segment *segment = &compaction->sealed[entry->segment];
    const uint64_t at = (uint64_t)entry->place * LOG_RECORD_ALIGN;
    const uint64_t size = log_record_size(entry->size_kind >> SEGMENT_ENTRY_KIND_BITS);

    if (at >= segment->area_bytes) {
        return bytes_of(NULL, 0);
    }
    const uint64_t left = segment->area_bytes - at;
    return bytes_of(segment->area + at, (size_t)(size < left ? size : left));
}

static void report_record(const struct compaction *compaction, const struct compaction_entry *entry,
                          struct bytes found)
{
    struct log_damage damage = {
        .offset = (uint64_t)entry->place * LOG_RECORD_ALIGN,
        .size = log_record_size(entry->size_kind >> SEGMENT_ENTRY_KIND_BITS),
    };
    char name[SEGMENT_NAME_BYTES];

    if (found.size > LOG_RECORD_HEADER_BYTES) {
        damage.kind = load_u32(found.data + 12);
        damage.body =
            bytes_of(found.data + LOG_RECORD_HEADER_BYTES, found.size - LOG_RECORD_HEADER_BYTES);
    }
    segment_name(name, compaction->sealed[entry->segment].file.epoch);
    report_damage(compaction, name, &damage);
}

int compaction_read(struct compaction *compaction, const struct compaction_entry *entry,
                    struct log_record *record)
{
    const struct compaction_segment *segment = &compaction->sealed[entry->segment];
    const uint32_t body_bytes = entry->size_kind >> SEGMENT_ENTRY_KIND_BITS;
    const uint32_t kind = entry->size_kind & ((1U << SEGMENT_ENTRY_KIND_BITS) - 1);
    const struct bytes found = entry_bytes(compaction, entry);

    if (log_record_parse(found, segment->file.epoch, record) !=
            (int64_t)log_record_size(body_bytes) ||
        record->kind != kind || record->body.size != body_bytes) {
        report_record(compaction, entry, found);
        return -EBADMSG;
    }
    return 0;
}
