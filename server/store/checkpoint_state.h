/* The inside of a checkpoint, for checkpoint.c (opening, reading), checkpoint_fetch.c (one position),
 * checkpoint_change.c (in place), checkpoint_build.c (afresh) and checkpoint_entry.c (keys, values,
 * environments). Of these, errors, environments and guarded reads also serve Raft's store (raft_storage.h). */
#ifndef CHECKPOINT_STATE_H
#define CHECKPOINT_STATE_H

#include <lmdb.h>
#include <pthread.h>

#include "checkpoint.h"

enum { CHECKPOINT_KEY_BYTES = 16, CHECKPOINT_META_KEY_BYTES = 1 };

struct checkpoint {
    struct checkpoint_options options;
    pthread_mutex_t fetching; /* Who fetches has it. */
    pthread_rwlock_t
        lock;        /* Of number, map_bytes, env and dbi: held by who fetches, or changes them. */
    uint64_t number; /* Of its directory; 0: there is none yet. */
    uint64_t map_bytes;
    bool broken;      /* Pages of it do not read back. */
    bool name_unsure; /* The directory's entry may not be durable yet. */
    struct checkpoint_info info;
    MDB_env *env;
    MDB_dbi dbi;
    bool info_read;       /* Since the environment was opened. */
    uint8_t *map;         /* Where the file is mapped; NULL: unknown. */
    size_t fetched_bytes; /* By who fetches, since pages of the map were let go. */
    MDB_txn *txn;         /* Reading or changing. */
    MDB_cursor *cursor;
    uint8_t key[CHECKPOINT_KEY_BYTES]; /* Where the cursor is, and its value... */
    bool walked;                       /* ... once it is at one. */
    MDB_val value;
    uint8_t *seen_low, *seen_high; /* Of the map, since pages were let go. */
    size_t seen_bytes;
    uint64_t changed_bytes; /* record_bytes of the change under way. */
    /* A build. */
    MDB_env *new_env;
    MDB_dbi new_dbi;
    MDB_txn *new_txn;
    struct checkpoint_info new_info;
    size_t slice_bytes, unsynced_bytes;
};

/* LMDB's codes as negative errno. */
int checkpoint_error(int code);

/* What writing failed with: of a disk that is full LMDB says -EIO, where only a part of a write had room. Returns
 * `rc`, or then -ENOSPC; before what was half done is taken back. */
int checkpoint_disk_error(const struct checkpoint *checkpoint, int rc);

void checkpoint_key_put(uint8_t to[CHECKPOINT_KEY_BYTES], struct checkpoint_key key);

/* Take apart a value. Returns 0 or -EBADMSG; `record` is set to what there is either way. */
int checkpoint_value_parse(const MDB_val *key, const MDB_val *value, struct bytes *record);

/* Store a record under its key, with its sum. */
int checkpoint_put(MDB_txn *txn, MDB_dbi dbi, struct checkpoint_key key, struct bytes record,
                   unsigned flags);

/* The entry that says which LSN it is, and how many bytes of records there are. */
int checkpoint_meta_put(const struct checkpoint *checkpoint, MDB_txn *txn, MDB_dbi dbi,
                        const struct checkpoint_info *info, unsigned flags);
int checkpoint_meta_get(const struct checkpoint *checkpoint, MDB_txn *txn, MDB_dbi dbi,
                        struct checkpoint_info *info);

int checkpoint_path(const struct checkpoint *checkpoint, uint64_t number, bool building,
                    char path[PATH_BYTES_MAX]);

/* Open the environment in a directory; bytes in use of one. */
int checkpoint_environment_open(const char *path, uint64_t map_bytes, unsigned flags, MDB_env **env,
                                MDB_dbi *dbi);
void checkpoint_environment_size(MDB_env *env, uint64_t *bytes);

/* Where the file of an environment that has the entry with the LSN is mapped; NULL where that is unsure. */
uint8_t *checkpoint_environment_map(MDB_env *env, MDB_dbi dbi);

/* Pages of the map count as this process's memory until they are let go; they stay in the system's cache.
 * Whoever reads them meanwhile finds the same again. */
void checkpoint_let_go(struct checkpoint *checkpoint);

/* Open the environment where it rests. What it says of itself counts, also after a failed commit. */
int checkpoint_awake(struct checkpoint *checkpoint);

/* With the lock held for changing: open it, close it. */
int checkpoint_open_environment(struct checkpoint *checkpoint);
void checkpoint_close_environment(struct checkpoint *checkpoint);

/* mdb_cursor_get() and mdb_get() of an environment that checkpoint_guard() was told of. A page that does not read back
 * is -EBADMSG, and all that can be done with the transaction then is to end it. (checkpoint_guard.c) */
void checkpoint_guard(MDB_env *env);
int checkpoint_cursor_get(const struct checkpoint *checkpoint, MDB_cursor *cursor, MDB_val *key,
                          MDB_val *value, MDB_cursor_op operation);
int checkpoint_get(MDB_txn *txn, MDB_dbi dbi, MDB_val *key, MDB_val *value);

/* Reading came to pages that do not read back: go on with the first key behind them, and report what was passed
 * over. Returns 0 with the cursor's `key` and `value`; -ENOENT: there is none; negative errno. (checkpoint_skip.c) */
int checkpoint_skip(struct checkpoint *checkpoint, MDB_val *key, MDB_val *value);

void checkpoint_report_damage(const struct checkpoint *checkpoint, const struct checkpoint_key *key,
                              struct bytes record);

#endif
