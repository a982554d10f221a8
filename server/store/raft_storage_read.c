/* What Raft's store finds in LMDB at a start. Nothing of it is believed before its sum was looked at. */
#include <errno.h>
#include <string.h>

#include "checkpoint_state.h"
#include "raft_storage_state.h"

/* The values lie in the file's pages, between these. */
struct span {
    const uint8_t *begin;
    uint64_t bytes;
};

struct reading {
    struct raft_storage *storage;
    MDB_txn *txn;
    struct span span;
    uint64_t rows; /* Read. */
};

static bool lies_inside(const struct span *span, const MDB_val *value)
{
    uintptr_t begin = (uintptr_t)span->begin, at = (uintptr_t)value->mv_data;

    return at >= begin && at - begin <= span->bytes && value->mv_size <= span->bytes - (at - begin);
}

/* The value of a row, without its sum. Returns 0, -ENOENT, -EBADMSG, or another negative errno. */
static int get(struct reading *reading, enum raft_row row, uint64_t index, struct bytes *found)
{
    uint8_t bytes[RAFT_KEY_BYTES_MAX];
    size_t key_size = raft_row_key(bytes, row, index);
    MDB_val key = {.mv_size = key_size, .mv_data = bytes}, value;

    int rc = checkpoint_get(reading->txn, reading->storage->dbi, &key, &value);
    if (rc != 0) {
        return rc;
    }
    if (value.mv_size < RAFT_SUM_BYTES ||
        (reading->span.begin != NULL && !lies_inside(&reading->span, &value))) {
        return -EBADMSG;
    }
    const uint8_t *data = value.mv_data;
    *found = bytes_of(data, value.mv_size - RAFT_SUM_BYTES);
    reading->rows++;
    return load_u32(data + found->size) == raft_row_sum(bytes, key_size, *found) ? 0 : -EBADMSG;
}

static int read_version(struct reading *reading)
{
    struct bytes value;

    int rc = get(reading, RAFT_ROW_VERSION, 0, &value);
    if (rc == 0 && value.size != 4) {
        rc = -EBADMSG;
    }
    if (rc == 0 && load_u32(value.data) != RAFT_STORAGE_VERSION) {
        rc = -EPROTONOSUPPORT;
    }
    return rc;
}

static int read_vote(struct reading *reading)
{
    struct raft_saved *saved = &reading->storage->saved;
    struct bytes value;

    int rc = get(reading, RAFT_ROW_VOTE, 0, &value);
    if (rc != 0) {
        return rc == -ENOENT ? 0 : rc;
    }
    if (value.size != 12) {
        return -EBADMSG;
    }
    saved->term = load_u64(value.data);
    saved->voted_for = load_u32(value.data + 8);
    return 0;
}

static int read_snapshot(struct reading *reading)
{
    struct raft_storage *storage = reading->storage;
    struct bytes value;

    int rc = get(reading, RAFT_ROW_SNAPSHOT, 0, &value);
    if (rc != 0) {
        return rc == -ENOENT ? 0 : rc;
    }
    if (value.size < 16) {
        return -EBADMSG;
    }
    storage->saved.snapshot_index = load_u64(value.data);
    storage->saved.snapshot_term = load_u64(value.data + 8);
    return buffer_append(&storage->snapshot, bytes_of(value.data + 16, value.size - 16));
}

static int read_entry(struct reading *reading, uint64_t index)
{
    struct raft_storage *storage = reading->storage;
    struct bytes value;

    int rc = get(reading, RAFT_ROW_ENTRY, index, &value);
    if (rc != 0) {
        return rc;
    }
    if (value.size < 9) {
        return -EBADMSG;
    }
    struct raft_entry entry = {
        .index = index,
        .term = load_u64(value.data),
        .kind = (enum raft_kind)value.data[8],
        .data = {.size = value.size - 9}, /* Where, once all are there. */
    };
    if (entry.kind < RAFT_COMMAND || entry.kind > RAFT_MEMBERS) {
        return -EBADMSG;
    }
    rc = buffer_append(&storage->data, bytes_of(value.data + 9, value.size - 9));
    return rc != 0 ? rc : buffer_append(&storage->entries, bytes_of(&entry, sizeof entry));
}

static int read_entries(struct reading *reading)
{
    struct raft_storage *storage = reading->storage;
    uint64_t index = storage->saved.snapshot_index;
    int rc = 0;

    while (rc == 0) {
        rc = read_entry(reading, ++index);
    }
    if (rc != -ENOENT) {
        return rc;
    }
    struct raft_entry *entries = (struct raft_entry *)(void *)storage->entries.data;
    const uint8_t *at = storage->data.data;
    storage->saved.entries = entries;
    storage->saved.entry_count = (uint32_t)(storage->entries.size / sizeof *entries);
    for (uint32_t i = 0; i < storage->saved.entry_count; i++) {
        size_t size = entries[i].data.size;
        entries[i].data = size > 0 ? bytes_of(at, size) : bytes_of(NULL, 0);
        at = size > 0 ? at + size : at;
    }
    return 0;
}

/* It may be older than the snapshot. */
static int read_commit(struct reading *reading)
{
    struct raft_saved *saved = &reading->storage->saved;
    struct bytes value;

    int rc = get(reading, RAFT_ROW_COMMIT, 0, &value);
    if (rc != 0) {
        return rc == -ENOENT ? 0 : rc;
    }
    if (value.size != 8) {
        return -EBADMSG;
    }
    saved->commit = load_u64(value.data);
    return 0;
}

static int read_all(struct reading *reading, uint64_t row_count, const char **what)
{
    *what = "its version";
    int rc = read_version(reading);
    if (rc == 0) {
        *what = "the vote";
        rc = read_vote(reading);
    }
    if (rc == 0) {
        *what = "the snapshot";
        rc = read_snapshot(reading);
    }
    if (rc == 0) {
        *what = "an entry";
        rc = read_entries(reading);
    }
    if (rc == 0) {
        *what = "the commit index";
        rc = read_commit(reading);
    }
    if (rc == 0 && reading->rows != row_count) {
        *what = "an entry is missing";
        rc = -EBADMSG;
    }
    reading->storage->saved.snapshot = buffer_bytes(&reading->storage->snapshot);
    return rc == -ENOENT ? -EBADMSG : rc;
}

int raft_storage_read(struct raft_storage *storage, const char **what)
{
    struct reading reading = {.storage = storage};
    MDB_stat stat;

    int rc = checkpoint_error(mdb_env_stat(storage->env, &stat));
    if (rc != 0 || stat.ms_entries == 0) {
        return rc;
    }
    reading.span.begin = checkpoint_environment_map(storage->env, storage->dbi);
    checkpoint_environment_size(storage->env, &reading.span.bytes);
    rc = checkpoint_error(mdb_txn_begin(storage->env, NULL, MDB_RDONLY, &reading.txn));
    if (rc != 0) {
        return rc;
    }
    rc = read_all(&reading, stat.ms_entries, what);
    mdb_txn_abort(reading.txn);
    storage->versioned = rc == 0;
    return rc;
}
