/* What calls of Raft's store change in LMDB. */
#include <errno.h>
#include <string.h>
#include <sys/statvfs.h>

#include "checkpoint_state.h"
#include "crc32c.h"
#include "raft_storage_state.h"

enum {
    FULL_BYTES = 1024 * 1024 /* Less than this, and a write that had no room met a full disk. */
};

size_t raft_row_key(uint8_t key[RAFT_KEY_BYTES_MAX], enum raft_row row, uint64_t index)
{
    key[0] = (uint8_t)row;
    if (row != RAFT_ROW_ENTRY) {
        return 1;
    }
    store_u64_big(key + 1, index);
    return RAFT_KEY_BYTES_MAX;
}

uint32_t raft_row_sum(const uint8_t *key, size_t key_size, struct bytes value)
{
    return crc32c(crc32c(0, bytes_of(key, key_size)), value);
}

/* A row of `head` and then `tail`. */
static int put(struct raft_storage *storage, MDB_txn *txn, enum raft_row row, uint64_t index,
               struct bytes head, struct bytes tail)
{
    uint8_t key[RAFT_KEY_BYTES_MAX];
    size_t key_size = raft_row_key(key, row, index), size = head.size + tail.size;
    MDB_val to_key = {.mv_size = key_size, .mv_data = key};
    MDB_val value = {.mv_size = size + RAFT_SUM_BYTES};

    int rc = checkpoint_error(mdb_put(txn, storage->dbi, &to_key, &value, MDB_RESERVE));
    if (rc == 0) {
        uint8_t *data = value.mv_data;
        memcpy(data, head.data, head.size);
        if (tail.size > 0) {
            memcpy(data + head.size, tail.data, tail.size);
        }
        store_u32(data + size, raft_row_sum(key, key_size, bytes_of(data, size)));
    }
    return rc;
}

/* Remove the entries from `first` to `last`, of those that are there. */
static int remove_entries(struct raft_storage *storage, MDB_txn *txn, uint64_t first, uint64_t last)
{
    uint8_t from[RAFT_KEY_BYTES_MAX], to[RAFT_KEY_BYTES_MAX];
    MDB_val key = {.mv_size = raft_row_key(from, RAFT_ROW_ENTRY, first), .mv_data = from}, value;
    MDB_cursor *cursor;

    (void)raft_row_key(to, RAFT_ROW_ENTRY, last);
    int rc = checkpoint_error(mdb_cursor_open(txn, storage->dbi, &cursor));
    if (rc != 0) {
        return rc;
    }
    rc = checkpoint_error(mdb_cursor_get(cursor, &key, &value, MDB_SET_RANGE));
    while (rc == 0 && key.mv_size == sizeof to && memcmp(key.mv_data, to, sizeof to) <= 0) {
        rc = checkpoint_error(mdb_cursor_del(cursor, 0));
        if (rc == 0) {
            rc = checkpoint_error(mdb_cursor_get(cursor, &key, &value, MDB_NEXT));
        }
    }
    mdb_cursor_close(cursor);
    return rc == -ENOENT ? 0 : rc;
}

static int write_append(struct raft_storage *storage, MDB_txn *txn, const struct raft_call *call)
{
    int rc = remove_entries(storage, txn, call->index, UINT64_MAX);

    for (uint32_t i = 0; rc == 0 && i < call->entry_count; i++) {
        const struct raft_entry *entry = &call->entries[i];
        uint8_t head[9];
        store_u64(head, entry->term);
        head[8] = (uint8_t)entry->kind;
        rc = put(storage, txn, RAFT_ROW_ENTRY, entry->index, bytes_of(head, sizeof head),
                 entry->data);
    }
    return rc;
}

static int write_snapshot(struct raft_storage *storage, MDB_txn *txn, const struct raft_call *call)
{
    uint8_t head[16];

    store_u64(head, call->index);
    store_u64(head + 8, call->term);
    int rc = put(storage, txn, RAFT_ROW_SNAPSHOT, 0, bytes_of(head, sizeof head), call->snapshot);
    if (rc == 0) {
        rc = remove_entries(storage, txn, 0, call->alone ? UINT64_MAX : call->index);
    }
    return rc;
}

static int write_vote(struct raft_storage *storage, MDB_txn *txn, const struct raft_call *call)
{
    uint8_t bytes[12];

    store_u64(bytes, call->term);
    store_u32(bytes + 8, call->node);
    return put(storage, txn, RAFT_ROW_VOTE, 0, bytes_of(bytes, sizeof bytes), bytes_of(NULL, 0));
}

static int write_commit(struct raft_storage *storage, MDB_txn *txn, const struct raft_call *call)
{
    uint8_t bytes[8];

    store_u64(bytes, call->index);
    return put(storage, txn, RAFT_ROW_COMMIT, 0, bytes_of(bytes, sizeof bytes), bytes_of(NULL, 0));
}

static int write_version(struct raft_storage *storage, MDB_txn *txn)
{
    uint8_t bytes[4];

    if (storage->versioned) {
        return 0;
    }
    store_u32(bytes, RAFT_STORAGE_VERSION);
    return put(storage, txn, RAFT_ROW_VERSION, 0, bytes_of(bytes, sizeof bytes), bytes_of(NULL, 0));
}

static int write_call(struct raft_storage *storage, MDB_txn *txn, const struct raft_call *call)
{
    switch (call->kind) {
    case RAFT_CALL_VOTE:
        return write_vote(storage, txn, call);
    case RAFT_CALL_APPEND:
        return write_append(storage, txn, call);
    case RAFT_CALL_SNAPSHOT:
        return write_snapshot(storage, txn, call);
    case RAFT_CALL_COMMIT:
        return write_commit(storage, txn, call);
    }
    return -EINVAL;
}

static int write_once(struct raft_storage *storage, const struct raft_call *first, uint32_t count)
{
    struct files *files = storage->options.files;
    const struct raft_call *call = first;
    MDB_txn *txn;

    int rc = checkpoint_error(mdb_txn_begin(storage->env, NULL, 0, &txn));
    if (rc != 0) {
        return rc;
    }
    rc = write_version(storage, txn);
    for (uint32_t i = 0; rc == 0 && i < count; i++) {
        call = i == 0 ? first
                      : call->next; /* What follows the last one is not this thread's to look at. */
        rc = write_call(storage, txn, call);
    }
    if (rc == 0) {
        rc = files->commit(files);
    }
    if (rc != 0) {
        mdb_txn_abort(txn);
        return rc;
    }
    return checkpoint_error(mdb_txn_commit(txn));
}

/* Twice the map; the environment is closed for it. */
static int grow(struct raft_storage *storage)
{
    storage->map_bytes *= 2;
    raft_storage_close_environment(storage);
    return raft_storage_open_environment(storage);
}

/* Of a disk that is full LMDB says -EIO where only a part of a write had room. */
static int disk_error(const struct raft_storage *storage, int rc)
{
    struct statvfs status;

    if (rc != -EIO || statvfs(storage->options.directory, &status) != 0) {
        return rc;
    }
    return (uint64_t)status.f_bavail * status.f_frsize < FULL_BYTES ? -ENOSPC : rc;
}

int raft_storage_write(struct raft_storage *storage, const struct raft_call *first, uint32_t count)
{
    int rc = storage->env == NULL ? raft_storage_open_environment(storage) : 0;

    if (rc == 0) {
        rc = write_once(storage, first, count);
    }
    while (rc == -EXFULL) {
        rc = grow(storage);
        if (rc == 0) {
            rc = write_once(storage, first, count);
        }
    }
    storage->versioned = storage->versioned || rc == 0;
    return disk_error(storage, rc);
}
