#include "raft_file.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "crc32c.h"
#include "heap.h"

/* A record of the file: u32 size of the body, u32 CRC-32C of size and body, body: u8 kind, then by kind
 *   VOTE      u64 term, u32 node
 *   APPEND    u32 count, then each: u64 index, u64 term, u8 kind, u32 size, bytes
 *   SNAPSHOT  u64 index, u64 term, u8 alone, u32 size, bytes
 *   COMMIT    u64 index */
enum {
    RECORD_VOTE = 1,
    RECORD_APPEND = 2,
    RECORD_SNAPSHOT = 3,
    RECORD_COMMIT = 4,
    RECORD_HEADER_BYTES = 8
};

static struct memory heap = {.resize = heap_resize, .map = heap_map, .unmap = heap_unmap};

static struct raft_file *of_store(struct raft_store *store)
{
    return (struct raft_file *)(void *)store; /* It is the first member. */
}

/* ---- The store ---- */

static void put(struct buffer *to, uint64_t number, size_t size)
{
    uint8_t bytes[8];

    store_u64(bytes, number);
    int rc = buffer_append(to, bytes_of(bytes, size));
    assert(rc == 0);
}

static void put_string(struct buffer *to, struct bytes string)
{
    put(to, string.size, 4);
    int rc = buffer_append(to, string);
    assert(rc == 0);
}

static void begin_record(struct buffer *record, uint8_t kind)
{
    *record = (struct buffer){.memory = &heap};
    put(record, 0, RECORD_HEADER_BYTES);
    put(record, kind, 1);
}

/* Takes the record. */
static int put_record(struct raft_file *file, struct buffer *record)
{
    store_u32(record->data, (uint32_t)(record->size - RECORD_HEADER_BYTES));
    uint32_t crc = crc32c(0, bytes_of(record->data, 4));
    crc = crc32c(crc,
                 bytes_of(record->data + RECORD_HEADER_BYTES, record->size - RECORD_HEADER_BYTES));
    store_u32(record->data + 4, crc);
    int rc = sim_disk_append(file->disk, buffer_bytes(record));
    buffer_fini(record);
    return rc;
}

/* Takes the record. */
static int append_record(struct raft_file *file, uint64_t sequence, struct buffer *record)
{
    SIM_CHECK("store", sequence == file->call_count + 1, "a call has not the next number");
    int rc = put_record(file, record);
    if (rc != 0) {
        return rc;
    }
    if (file->call_count == file->call_capacity) {
        file->call_capacity = 2 * file->call_capacity + 64;
        file->ends = sim_more(file->ends, file->call_capacity * sizeof *file->ends);
    }
    file->ends[file->call_count++] = file->disk->size;
    sim_disk_write(file->sim, file->disk);
    return 0;
}

static int store_vote(struct raft_store *store, uint64_t sequence, uint64_t term, uint32_t voted)
{
    struct buffer record;

    begin_record(&record, RECORD_VOTE);
    put(&record, term, 8);
    put(&record, voted, 4);
    return append_record(of_store(store), sequence, &record);
}

static int store_append(struct raft_store *store, uint64_t sequence,
                        const struct raft_entry entries[], uint32_t count)
{
    struct raft_file *file = of_store(store);
    struct buffer record;

    begin_record(&record, RECORD_APPEND);
    put(&record, count, 4);
    for (uint32_t i = 0; i < count; i++) {
        put(&record, entries[i].index, 8);
        put(&record, entries[i].term, 8);
        put(&record, (uint64_t)entries[i].kind, 1);
        put_string(&record, entries[i].data);
    }
    int rc = append_record(file, sequence, &record);
    if (rc == 0 && (file->dirty == 0 || entries[0].index < file->dirty)) {
        file->dirty = entries[0].index;
    }
    return rc;
}

static int store_snapshot(struct raft_store *store, uint64_t sequence, uint64_t index,
                          uint64_t term, struct bytes snapshot, bool alone)
{
    struct buffer record;

    begin_record(&record, RECORD_SNAPSHOT);
    put(&record, index, 8);
    put(&record, term, 8);
    put(&record, alone, 1);
    put_string(&record, snapshot);
    return append_record(of_store(store), sequence, &record);
}

void raft_file_commit(struct raft_file *file, uint64_t index)
{
    struct buffer record;

    begin_record(&record, RECORD_COMMIT);
    put(&record, index, 8);
    (void)put_record(file, &record);
}

uint64_t raft_file_written(struct raft_file *file, bool good)
{
    uint64_t sequence = file->told;

    if (!good) {
        return 0; /* It is not told of any more; its owner starts it again. */
    }
    while (sequence < file->call_count && file->ends[sequence] <= file->disk->durable) {
        sequence++;
    }
    sim_disk_write(file->sim, file->disk);
    if (sequence == file->told) {
        return 0;
    }
    file->told = sequence;
    return sequence;
}

/* ---- What a start finds ---- */

static void read_append(struct raft_file *from, struct reader *body)
{
    struct raft_saved *saved = &from->saved;
    uint32_t count = read_u32(body);

    for (uint32_t i = 0; i < count; i++) {
        struct raft_entry entry = {.index = read_u64(body)};
        entry.term = read_u64(body);
        entry.kind = read_u8(body);
        entry.data = read_bytes(body, read_u32(body));
        uint64_t after = entry.index - saved->snapshot_index;
        SIM_CHECK("store", after >= 1 && after <= saved->entry_count + 1,
                  "a gap in the stored log");
        saved->entry_count = (uint32_t)after - 1;
        if (saved->entry_count == from->entry_capacity) {
            from->entry_capacity = 2 * from->entry_capacity + 64;
            from->entries = sim_more(from->entries, from->entry_capacity * sizeof *from->entries);
        }
        from->entries[saved->entry_count++] = entry;
    }
}

static void read_snapshot(struct raft_file *from, struct reader *body)
{
    struct raft_saved *saved = &from->saved;
    uint64_t index = read_u64(body), term = read_u64(body);
    bool alone = read_u8(body) != 0;
    uint64_t gone = index - saved->snapshot_index;

    SIM_CHECK("store", index > saved->snapshot_index, "a snapshot older than the one before");
    if (alone || gone >= saved->entry_count) {
        saved->entry_count = 0;
    } else {
        saved->entry_count -= (uint32_t)gone;
        memmove(from->entries, from->entries + gone, saved->entry_count * sizeof *from->entries);
    }
    saved->snapshot_index = index;
    saved->snapshot_term = term;
    saved->snapshot = read_bytes(body, read_u32(body));
}

static void read_record(struct raft_file *from, struct reader body)
{
    switch (read_u8(&body)) {
    case RECORD_VOTE:
        from->saved.term = read_u64(&body);
        from->saved.voted_for = read_u32(&body);
        break;
    case RECORD_APPEND:
        read_append(from, &body);
        break;
    case RECORD_COMMIT:
        from->saved.commit = read_u64(&body);
        break;
    default:
        read_snapshot(from, &body);
        break;
    }
    SIM_CHECK("store", reader_done(&body), "a record cannot be read");
}

/* Returns where the good part of the file ends. */
static size_t read_file(struct raft_file *from, struct bytes file)
{
    size_t at = 0;

    while (file.size - at >= RECORD_HEADER_BYTES) {
        uint32_t size = load_u32(file.data + at);
        const uint8_t *body = file.data + at + RECORD_HEADER_BYTES;
        if (size == 0 || size > file.size - at - RECORD_HEADER_BYTES ||
            load_u32(file.data + at + 4) !=
                crc32c(crc32c(0, bytes_of(file.data + at, 4)), bytes_of(body, size))) {
            break;
        }
        read_record(from, reader_of(bytes_of(body, size)));
        at += RECORD_HEADER_BYTES + size;
    }
    from->saved.entries = from->entries;
    return at;
}

void raft_file_open(struct raft_file *file, struct sim *sim, struct sim_disk *disk)
{
    size_t durable = disk->durable;

    raft_file_forget(file);
    file->store =
        (struct raft_store){.vote = store_vote, .append = store_append, .snapshot = store_snapshot};
    file->sim = sim;
    file->disk = disk;
    file->call_count = file->told = file->dirty = 0;
    file->copy = sim_more(NULL, disk->size + 1);
    if (disk->size > 0) {
        memcpy(file->copy, disk->data, disk->size);
    }
    size_t end = read_file(file, bytes_of(file->copy, disk->size));
    SIM_CHECK("store", end >= durable, "of %zu durable bytes %zu can be read", durable, end);
    sim_disk_settle(disk, end);
}

void raft_file_begin(struct raft_file *file, const struct raft_saved *saved)
{
    bool full = file->disk->full;

    file->disk->full = false; /* It has room for that, or is not begun. */
    int rc = store_vote(&file->store, 1, saved->term, saved->voted_for);

    if (rc == 0) {
        rc = store_snapshot(&file->store, 2, saved->snapshot_index, saved->snapshot_term,
                            saved->snapshot, true);
    }
    SIM_CHECK("store", rc == 0, "it cannot be begun: %d", rc);
    file->disk->full = full;
    sim_disk_settle(file->disk, file->disk->size);
    raft_file_open(file, file->sim, file->disk);
}

void raft_file_forget(struct raft_file *file)
{
    free(file->entries);
    free(file->copy);
    file->entries = NULL;
    file->copy = NULL;
    file->entry_capacity = 0;
    file->saved = (struct raft_saved){0};
}

void raft_file_fini(struct raft_file *file)
{
    raft_file_forget(file);
    free(file->ends);
}
