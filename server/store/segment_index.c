#include "segment_index.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>

#include "crc32c.h"
#include "keeper.h"
#include "session.h"

static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__,
              "entries are written as they lie in memory");
static_assert(sizeof(struct segment_entry) == 24, "and without gaps");
static_assert(LOG_DROP < (1 << SEGMENT_ENTRY_KIND_BITS), "a kind has its bits");

enum {
    ENTRIES_MIN = 1024,
    PART_ENTRIES = 1024, /* Of a file that is checked. */
    PARTS = 4096,        /* Of a sort: a segment of small sessions has 30,000 records. */
    FEW = 48,            /* That are sorted by insertion. */
    HEADER_SUMMED_BYTES = 60,
};

static const uint8_t magic[8] = {'B', 'E', 'L', 'A', 'Y', 'I', 'D', 'X'};

void segment_index_init(struct segment_index *index, struct memory *memory)
{
    *index = (struct segment_index){.memory = memory};
}

static size_t entry_bytes(size_t count)
{
    return count * sizeof(struct segment_entry);
}

void segment_index_fini(struct segment_index *index)
{
    if (index->entries != NULL) {
        index->memory->resize(index->memory, index->entries, entry_bytes(index->capacity), 0);
    }
    segment_index_init(index, index->memory);
}

static int reserve(struct segment_index *index, size_t capacity)
{
    struct segment_entry *entries = index->memory->resize(
        index->memory, index->entries, entry_bytes(index->capacity), entry_bytes(capacity));

    if (entries == NULL) {
        return -ENOMEM;
    }
    index->entries = entries;
    index->capacity = capacity;
    return 0;
}

int segment_index_add(struct segment_index *index, const struct segment_entry *entry)
{
    if (index->count == index->capacity) {
        int rc = reserve(index, index->capacity == 0 ? ENTRIES_MIN : index->capacity * 2);
        if (rc != 0) {
            return rc;
        }
    }
    index->entries[index->count++] = *entry;
    return 0;
}

/* ---- Order ---- */

static int compare(const void *left, const void *right)
{
    const struct segment_entry *a = left, *b = right;

    if (a->position != b->position) {
        return a->position < b->position ? -1 : 1;
    }
    if (a->fingerprint != b->fingerprint) {
        return a->fingerprint < b->fingerprint ? -1 : 1;
    }
    return (a->place > b->place) - (a->place < b->place);
}

static void sort_few(struct segment_entry entries[], size_t count)
{
    if (count > FEW) { /* A key that is in many records. */
        qsort(entries, count, sizeof entries[0], compare);
        return;
    }
    for (size_t i = 1; i < count; i++) {
        struct segment_entry entry = entries[i];
        size_t at = i;
        for (; at > 0 && compare(&entries[at - 1], &entry) > 0; at--) {
            entries[at] = entries[at - 1];
        }
        entries[at] = entry;
    }
}

/* Positions are hashes: cut into equal parts of the range that they lie in, each part has a few. */
void segment_entries_sort(struct segment_entry entries[], size_t count)
{
    uint32_t next[PARTS], end[PARTS] = {0};
    uint64_t low = UINT64_MAX, high = 0;
    unsigned shift = 0;

    for (size_t i = 0; i < count; i++) {
        low = entries[i].position < low ? entries[i].position : low;
        high = entries[i].position > high ? entries[i].position : high;
    }
    if (count <= FEW || count > UINT32_MAX) {
        sort_few(entries, count);
        return;
    }
    while ((high - low) >> shift >= PARTS) {
        shift++;
    }
    for (size_t i = 0; i < count; i++) {
        end[(entries[i].position - low) >> shift]++;
    }
    for (uint32_t part = 0, at = 0; part < PARTS; part++) {
        next[part] = at;
        at += end[part];
        end[part] = at;
    }
    /* Each goes to its part, in place: what it finds there is the next to go. */
    for (uint32_t part = 0; part < PARTS; part++) {
        while (next[part] < end[part]) {
            struct segment_entry entry = entries[next[part]];
            uint32_t to = (uint32_t)((entry.position - low) >> shift);
            while (to != part) {
                struct segment_entry found = entries[next[to]];
                entries[next[to]++] = entry;
                entry = found;
                to = (uint32_t)((entry.position - low) >> shift);
            }
            entries[next[part]++] = entry;
        }
    }
    for (uint32_t part = 0, at = 0; part < PARTS; at = end[part++]) {
        sort_few(entries + at, end[part] - at);
    }
}

size_t segment_index_find(const struct segment_index *index, uint64_t position)
{
    size_t low = 0, high = index->count;

    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (index->entries[middle].position < position) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    return low;
}

/* ---- From the segment itself ---- */

struct indexing {
    struct log_visitor visitor;
    struct log_visitor *told;
    struct segment_index *index;
    uint64_t seed;
};

static int note(struct segment_index *index, uint64_t seed, uint64_t offset,
                const struct log_batch_item *item, uint32_t kind, size_t size)
{
    const struct segment_entry entry = {
        .position = item->position,
        .fingerprint = keeper_fingerprint(seed, log_record_key(item->kind, item->body)),
        .place = (uint32_t)(offset / LOG_RECORD_ALIGN),
        .size_kind = (uint32_t)size << SEGMENT_ENTRY_KIND_BITS | kind,
    };
    uint64_t hlc = log_record_hlc(item->kind, item->body);

    index->hlc = hlc > index->hlc ? hlc : index->hlc;
    return segment_index_add(index, &entry);
}

int segment_index_note(struct segment_index *index, uint64_t seed, uint64_t offset,
                       const struct log_record *record)
{
    struct log_batch_item item = {
        .kind = (uint8_t)record->kind, .position = record->position, .body = record->body};
    struct reader reader = reader_of(record->body);
    int rc = 0;

    if (record->kind == LOG_MARK) {
        return 0;
    }
    if (record->kind != LOG_BATCH) {
        return note(index, seed, offset, &item, record->kind, record->body.size);
    }
    while (rc == 0 && log_batch_next(&reader, &item) == 1) {
        rc = note(index, seed, offset, &item, LOG_BATCH, record->body.size);
    }
    return rc;
}

static int note_record(struct log_visitor *visitor, uint64_t lsn, const struct log_record *record)
{
    struct indexing *indexing = (struct indexing *)(void *)visitor;
    uint64_t offset = LOG_HEADER_BYTES + (lsn - indexing->index->lsn);

    return segment_index_note(indexing->index, indexing->seed, offset, record);
}

static void pass_damage(struct log_visitor *visitor, const struct log_damage *damage)
{
    const struct indexing *indexing = (const struct indexing *)(void *)visitor;

    indexing->told->damage(indexing->told, damage);
}

static void pass_torn(struct log_visitor *visitor, uint64_t offset)
{
    const struct indexing *indexing = (const struct indexing *)(void *)visitor;

    indexing->told->torn(indexing->told, offset);
}

int segment_index_scan(struct segment_index *index, struct log_reader *reader, uint64_t seed,
                       uint64_t from_lsn, uint64_t end_lsn, struct log_visitor *visitor)
{
    struct indexing indexing = {
        .visitor = {.record = note_record, .damage = pass_damage, .torn = pass_torn},
        .told = visitor,
        .index = index,
        .seed = seed,
    };

    index->lsn = reader->lsn;
    index->epoch = reader->epoch;
    index->count = 0;
    index->hlc = 0;
    index->end_lsn = from_lsn;
    int rc = log_reader_walk(reader, &index->end_lsn, end_lsn, &indexing.visitor);
    segment_entries_sort(index->entries, index->count);
    return rc;
}

/* ---- The file ---- */

int segment_index_write(const struct segment_index *index, struct files *files, const char *path)
{
    uint8_t header[SEGMENT_INDEX_HEADER_BYTES];
    size_t size = entry_bytes(index->count);

    memcpy(header, magic, sizeof magic);
    store_u32(header + 8, SEGMENT_INDEX_VERSION);
    store_u32(header + 12, index->shard);
    store_u32(header + 16, index->epoch.number);
    store_u32(header + 20, index->epoch.salt);
    store_u64(header + 24, index->lsn);
    store_u64(header + 32, index->end_lsn);
    store_u64(header + 40, index->hlc);
    store_u64(header + 48, index->count);
    store_u32(header + 56, crc32c(0, bytes_of((const uint8_t *)index->entries, size)));
    store_u32(header + 60, crc32c(0, bytes_of(header, HEADER_SUMMED_BYTES)));
    int fd = files->open(files, path, O_WRONLY | O_CREAT | O_TRUNC);
    if (fd < 0) {
        return fd;
    }
    int rc = files->write(files, fd, header, sizeof header, 0);
    if (rc == 0 && size > 0) {
        rc = files->write(files, fd, index->entries, size, sizeof header);
    }
    files->close(files, fd);
    return rc;
}

static int header_parse(struct segment_index *index, const uint8_t *header, uint64_t file_bytes)
{
    if (memcmp(header, magic, sizeof magic) != 0 ||
        load_u32(header + 60) != crc32c(0, bytes_of(header, HEADER_SUMMED_BYTES)) ||
        load_u32(header + 8) != SEGMENT_INDEX_VERSION || load_u32(header + 12) != index->shard ||
        load_u32(header + 16) != index->epoch.number ||
        load_u32(header + 20) != index->epoch.salt ||
        (file_bytes - SEGMENT_INDEX_HEADER_BYTES) % sizeof(struct segment_entry) != 0 ||
        load_u64(header + 48) !=
            (file_bytes - SEGMENT_INDEX_HEADER_BYTES) / sizeof(struct segment_entry)) {
        return -EBADMSG;
    }
    index->lsn = load_u64(header + 24);
    index->end_lsn = load_u64(header + 32);
    index->hlc = load_u64(header + 40);
    return index->lsn <= index->end_lsn ? 0 : -EBADMSG;
}

/* In order, each a record within the segment: what is looked for in it must be found. */
static bool entries_are_right(const struct segment_index *index)
{
    uint64_t end = LOG_HEADER_BYTES + (index->end_lsn - index->lsn);

    for (size_t i = 0; i < index->count; i++) {
        const struct segment_entry *entry = &index->entries[i];
        uint64_t offset = segment_entry_offset(entry), size = segment_entry_size(entry);
        if (offset < LOG_HEADER_BYTES || offset + log_record_size(size) > end ||
            segment_entry_kind(entry) < LOG_FULL || segment_entry_kind(entry) > LOG_DROP ||
            (i > 0 && compare(entry - 1, entry) > 0)) {
            return false;
        }
    }
    return true;
}

/* Read entries in place of those that the index holds. */
static int read_entries(struct segment_index *index, struct files *files, int fd, uint64_t first,
                        size_t count)
{
    index->count = 0;
    if (count == 0) {
        return 0;
    }
    int rc = index->capacity < count ? reserve(index, count) : 0;
    if (rc != 0) {
        return rc;
    }
    int64_t got = files->read(files, fd, index->entries, entry_bytes(count),
                              SEGMENT_INDEX_HEADER_BYTES + first * sizeof(struct segment_entry));
    if (got < 0) {
        return (int)got;
    }
    if ((size_t)got != entry_bytes(count)) {
        return -EBADMSG;
    }
    index->count = count;
    return 0;
}

static struct bytes entries_of(const struct segment_index *index)
{
    return bytes_of((const uint8_t *)index->entries, entry_bytes(index->count));
}

/* Open the file and take its header in. Returns the fd or negative errno. */
static int open_file(struct segment_index *index, struct files *files, const char *path,
                     uint8_t header[SEGMENT_INDEX_HEADER_BYTES])
{
    uint64_t size = 0;

    int fd = files->open(files, path, O_RDONLY);
    if (fd < 0) {
        return fd;
    }
    index->count = 0;
    int rc = files->size(files, fd, &size);
    if (rc == 0 && size < SEGMENT_INDEX_HEADER_BYTES) {
        rc = -EBADMSG;
    }
    if (rc == 0) {
        int64_t got = files->read(files, fd, header, SEGMENT_INDEX_HEADER_BYTES, 0);
        rc = got < 0 ? (int)got : got < SEGMENT_INDEX_HEADER_BYTES ? -EBADMSG : 0;
    }
    if (rc == 0) {
        rc = header_parse(index, header, size);
    }
    if (rc != 0) {
        files->close(files, fd);
    }
    return rc != 0 ? rc : fd;
}

int segment_index_read(struct segment_index *index, struct files *files, const char *path)
{
    uint8_t header[SEGMENT_INDEX_HEADER_BYTES];

    int fd = open_file(index, files, path, header);
    if (fd < 0) {
        return fd;
    }
    int rc = read_entries(index, files, fd, 0, (size_t)load_u64(header + 48));
    files->close(files, fd);
    if (rc == 0 &&
        (load_u32(header + 56) != crc32c(0, entries_of(index)) || !entries_are_right(index))) {
        index->count = 0;
        rc = -EBADMSG;
    }
    return rc;
}

int segment_index_check(struct segment_index *index, struct files *files, const char *path,
                        uint64_t *entry_count)
{
    uint8_t header[SEGMENT_INDEX_HEADER_BYTES];
    uint32_t sum = 0;
    int rc = 0;

    int fd = open_file(index, files, path, header);
    if (fd < 0) {
        return fd;
    }
    uint64_t count = load_u64(header + 48);
    for (uint64_t at = 0; at < count && rc == 0; at += index->count) {
        rc = read_entries(index, files, fd, at,
                          count - at < PART_ENTRIES ? (size_t)(count - at) : PART_ENTRIES);
        sum = crc32c(sum, entries_of(index));
        rc = rc == 0 && !entries_are_right(index) ? -EBADMSG : rc;
    }
    files->close(files, fd);
    index->count = 0;
    if (rc == 0 && load_u32(header + 56) != sum) {
        rc = -EBADMSG;
    }
    if (rc == 0) {
        *entry_count = count;
    }
    return rc;
}

int segment_index_part(struct segment_index *index, struct files *files, const char *path,
                       uint64_t first, size_t max)
{
    int fd = files->open(files, path, O_RDONLY);
    if (fd < 0) {
        return fd;
    }
    int rc = read_entries(index, files, fd, first, max);
    files->close(files, fd);
    return rc;
}
