/* The inside of Raft's store, for raft_storage.c (the queue and its thread), raft_storage_read.c and
 * raft_storage_write.c (what lies in LMDB). */
#ifndef RAFT_STORAGE_STATE_H
#define RAFT_STORAGE_STATE_H

#include <lmdb.h>
#include <pthread.h>

#include "raft_storage.h"

enum raft_row {
    RAFT_ROW_VERSION,
    RAFT_ROW_VOTE,
    RAFT_ROW_SNAPSHOT,
    RAFT_ROW_ENTRY,
    RAFT_ROW_COMMIT
};
enum { RAFT_KEY_BYTES_MAX = 9, RAFT_SUM_BYTES = 4 };

enum raft_call_kind { RAFT_CALL_VOTE, RAFT_CALL_APPEND, RAFT_CALL_SNAPSHOT, RAFT_CALL_COMMIT };

/* A call of the port, with copies of what it was given behind it. */
struct raft_call {
    struct raft_call *next;
    size_t size; /* Of this block. */
    enum raft_call_kind kind;
    uint64_t sequence;
    uint64_t index, term; /* APPEND: of the first entry, and nothing. COMMIT: the first. */
    uint32_t node;        /* VOTE. */
    bool alone;           /* SNAPSHOT. */
    struct bytes snapshot;
    struct raft_entry *entries; /* APPEND. */
    uint32_t entry_count;
};

struct raft_storage {
    struct raft_store port;
    struct raft_storage_options options;
    uint64_t map_bytes;
    MDB_env *env;
    MDB_dbi dbi;
    /* What was found, until the start. */
    struct raft_saved saved;
    struct buffer snapshot, entries, data;
    bool versioned; /* The row of the version is there. */
    pthread_t thread;
    bool thread_runs;
    pthread_mutex_t mutex; /* Of what follows. */
    pthread_cond_t changed;
    struct raft_call *first, *last;
    uint32_t call_count;
    size_t call_bytes;
    uint64_t given; /* The last number. */
    uint64_t stored;
    uint32_t writing; /* So many calls from the first on: they may not be touched. */
    int failure;
    bool stop;
};

/* A row's key. Returns how many bytes. */
size_t raft_row_key(uint8_t key[RAFT_KEY_BYTES_MAX], enum raft_row row, uint64_t index);

/* The sum at the end of a value. */
uint32_t raft_row_sum(const uint8_t *key, size_t key_size, struct bytes value);

/* Open LMDB's environment with the present size of its map; close it. */
int raft_storage_open_environment(struct raft_storage *storage);
void raft_storage_close_environment(struct raft_storage *storage);

/* Read all. Returns 0; -EBADMSG or -EPROTONOSUPPORT with what is wrong in `what`; or another negative errno. */
int raft_storage_read(struct raft_storage *storage, const char **what);

/* Write the first `count` calls from `first` on in one transaction, durable when it returns. Returns 0 or negative
 * errno: then nothing has changed. */
int raft_storage_write(struct raft_storage *storage, const struct raft_call *first, uint32_t count);

#endif
