#include "checkpoint.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <lmdb.h>
#include <stdio.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "crc32c.h"
#include "keeper.h"
#include "session.h"

enum {
    CHECKPOINT_VERSION = 1,
    KEY_BYTES = 16,
    SUM_BYTES = 4,
    META_KEY_BYTES = 1,
    META_BYTES = 40,
    BUILD_SLICE_BYTES = 1024 * 1024,    /* Of records in one transaction of a build. */
    BUILD_SYNC_BYTES = 8 * 1024 * 1024, /* So that the device never has much to do at once. */
    SIZE_SLACK_BYTES = 1024 * 1024,
    READ_SLICE_BYTES = 8 * 1024 * 1024, /* Pages of the map are let go after so much. */
};
#define MAP_BYTES_MIN (UINT64_C(1) << 20)

struct checkpoint {
    struct checkpoint_options options;
    uint64_t number; /* Of its directory; 0: there is none yet. */
    uint64_t map_bytes;
    bool name_unsure; /* The directory's entry may not be durable yet. */
    struct checkpoint_info info;
    MDB_env *env;
    MDB_dbi dbi;
    MDB_txn *txn; /* Reading or changing. */
    MDB_cursor *cursor;
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

/* The one place that knows LMDB's codes. */
static int error_of(int code)
{
    switch (code) {
    case MDB_SUCCESS:
        return 0;
    case MDB_NOTFOUND:
        return -ENOENT;
    case MDB_MAP_FULL:
        return -EXFULL;
    case MDB_KEYEXIST:
        return -EEXIST;
    case MDB_VERSION_MISMATCH:
        return -EPROTONOSUPPORT;
    case MDB_PAGE_NOTFOUND:
    case MDB_CORRUPTED:
    case MDB_PANIC:
    case MDB_INVALID:
    case MDB_BAD_TXN:
        return -EBADMSG;
    case MDB_TXN_FULL:
    case MDB_PAGE_FULL:
    case MDB_CURSOR_FULL:
        return -EOVERFLOW;
    default:
        return code > 0 ? -code : -EIO;
    }
}

struct checkpoint_key checkpoint_key(uint64_t seed, uint64_t position, struct bytes session_key)
{
    return (struct checkpoint_key){
        .position = position,
        .hash = keeper_position(~seed, session_key),
    };
}

static void key_put(uint8_t to[KEY_BYTES], struct checkpoint_key key)
{
    store_u64_big(to, key.position);
    store_u64_big(to + 8, key.hash);
}

static uint32_t sum_of(const uint8_t key[KEY_BYTES], struct bytes record)
{
    return crc32c(crc32c(0, bytes_of(key, KEY_BYTES)), record);
}

/* Take apart a value. Returns 0 or -EBADMSG; `record` is set to what there is either way. */
static int value_parse(const MDB_val *key, const MDB_val *value, struct bytes *record)
{
    *record = bytes_of(NULL, 0);
    if (key->mv_size != KEY_BYTES || value->mv_size < SUM_BYTES) {
        return -EBADMSG;
    }
    const uint8_t *data = value->mv_data;
    *record = bytes_of(data + SUM_BYTES, value->mv_size - SUM_BYTES);
    return load_u32(data) == sum_of(key->mv_data, *record) ? 0 : -EBADMSG;
}

static void report_damage(const struct checkpoint *checkpoint, struct bytes record)
{
    const struct store_report report = {
        .event = STORE_CHECKPOINT_DAMAGED,
        .shard = checkpoint->options.shard,
        .size = record.size,
        .lsn = checkpoint->info.lsn,
        .key = session_key(record),
    };

    checkpoint->options.reporter->report(checkpoint->options.reporter, &report);
}

static int path_of(const struct checkpoint *checkpoint, uint64_t number, bool building,
                   char path[PATH_BYTES_MAX])
{
    int size = snprintf(path, PATH_BYTES_MAX, "%s/checkpoint-%010" PRIu64 "%s",
                        checkpoint->options.directory, number, building ? ".tmp" : "");

    return size < 0 || size >= PATH_BYTES_MAX ? -ENAMETOOLONG : 0;
}

/* ---- The entry that says which LSN it is ---- */

static int meta_put(const struct checkpoint *checkpoint, MDB_txn *txn, MDB_dbi dbi,
                    const struct checkpoint_info *info, unsigned flags)
{
    uint8_t bytes[META_BYTES] = {0};
    uint8_t key_bytes[META_KEY_BYTES] = {0};
    MDB_val key = {.mv_size = sizeof key_bytes, .mv_data = key_bytes};
    MDB_val value = {.mv_size = sizeof bytes, .mv_data = bytes};

    store_u32(bytes, CHECKPOINT_VERSION);
    store_u32(bytes + 4, checkpoint->options.shard);
    store_u64(bytes + 8, info->lsn);
    store_u64(bytes + 16, info->record_bytes);
    store_u32(bytes + META_BYTES - 4, crc32c(0, bytes_of(bytes, META_BYTES - 4)));
    return error_of(mdb_put(txn, dbi, &key, &value, flags));
}

static int meta_get(const struct checkpoint *checkpoint, MDB_txn *txn, MDB_dbi dbi,
                    struct checkpoint_info *info)
{
    uint8_t key_bytes[META_KEY_BYTES] = {0};
    MDB_val key = {.mv_size = sizeof key_bytes, .mv_data = key_bytes};
    MDB_val value;

    int rc = error_of(mdb_get(txn, dbi, &key, &value));
    if (rc != 0) {
        return rc == -ENOENT ? -EBADMSG : rc;
    }
    const uint8_t *bytes = value.mv_data;
    if (value.mv_size != META_BYTES ||
        load_u32(bytes + META_BYTES - 4) != crc32c(0, bytes_of(bytes, META_BYTES - 4)) ||
        load_u32(bytes + 4) != checkpoint->options.shard) {
        return -EBADMSG;
    }
    if (load_u32(bytes) != CHECKPOINT_VERSION) {
        return -EPROTONOSUPPORT;
    }
    info->lsn = load_u64(bytes + 8);
    info->record_bytes = load_u64(bytes + 16);
    return 0;
}

/* ---- Environments ---- */

static void environment_size(MDB_env *env, uint64_t *bytes)
{
    MDB_envinfo info;
    MDB_stat stat;

    mdb_env_info(env, &info);
    mdb_env_stat(env, &stat);
    *bytes = ((uint64_t)info.me_last_pgno + 1) * stat.ms_psize;
}

/* A page that is not in the file would end in SIGBUS. LMDB may leave out the last pages where they are
 * free, but not many. */
static int check_size(MDB_env *env)
{
    struct stat status;
    uint64_t bytes;
    int fd;

    environment_size(env, &bytes);
    int rc = error_of(mdb_env_get_fd(env, &fd));
    if (rc != 0) {
        return rc;
    }
    if (fstat(fd, &status) != 0) {
        return -errno;
    }
    uint64_t size = (uint64_t)status.st_size;
    if (size >= bytes) {
        return 0;
    }
    if (bytes - size > SIZE_SLACK_BYTES) {
        return -EBADMSG;
    }
    return ftruncate(fd, (off_t)bytes) != 0 ? -errno : 0;
}

static int environment_open(const char *path, uint64_t map_bytes, unsigned flags, MDB_env **env,
                            MDB_dbi *dbi)
{
    MDB_env *made;
    MDB_txn *txn;

    int rc = error_of(mdb_env_create(&made));
    if (rc != 0) {
        return rc;
    }
    rc = error_of(mdb_env_set_mapsize(made, (size_t)map_bytes));
    if (rc == 0) {
        rc = error_of(mdb_env_open(made, path, flags | MDB_NOTLS | MDB_NOLOCK, 0640));
    }
    if (rc == 0) {
        rc = check_size(made);
    }
    if (rc == 0) {
        rc = error_of(mdb_txn_begin(made, NULL, (flags & MDB_NOSYNC) == 0 ? MDB_RDONLY : 0, &txn));
    }
    if (rc == 0) {
        rc = error_of(mdb_dbi_open(txn, NULL, 0, dbi));
        if (rc == 0) {
            rc = error_of(mdb_txn_commit(txn));
        } else {
            mdb_txn_abort(txn);
        }
    }
    if (rc != 0) {
        mdb_env_close(made);
        return rc;
    }
    *env = made;
    return 0;
}

static int read_info(struct checkpoint *checkpoint)
{
    MDB_txn *txn;
    MDB_stat stat;

    int rc = error_of(mdb_txn_begin(checkpoint->env, NULL, MDB_RDONLY, &txn));
    if (rc != 0) {
        return rc;
    }
    rc = meta_get(checkpoint, txn, checkpoint->dbi, &checkpoint->info);
    if (rc == 0) {
        rc = error_of(mdb_stat(txn, checkpoint->dbi, &stat));
    }
    if (rc == 0) {
        checkpoint->info.sessions = stat.ms_entries - 1;
        environment_size(checkpoint->env, &checkpoint->info.file_bytes);
    }
    mdb_txn_abort(txn);
    return rc;
}

/* Open the environment where it rests. What it says of itself counts, also after a failed commit. */
static int awake(struct checkpoint *checkpoint)
{
    char path[PATH_BYTES_MAX];

    assert(checkpoint->number != 0);
    if (checkpoint->env != NULL) {
        return 0;
    }
    int rc = path_of(checkpoint, checkpoint->number, false, path);
    if (rc == 0) {
        rc = environment_open(path, checkpoint->map_bytes, 0, &checkpoint->env, &checkpoint->dbi);
    }
    if (rc != 0) {
        return rc;
    }
    rc = read_info(checkpoint);
    if (rc != 0) {
        mdb_env_close(checkpoint->env);
        checkpoint->env = NULL;
    }
    return rc;
}

void checkpoint_rest(struct checkpoint *checkpoint)
{
    assert(checkpoint->txn == NULL && checkpoint->new_env == NULL);
    if (checkpoint->env != NULL) {
        mdb_env_close(checkpoint->env);
        checkpoint->env = NULL;
    }
}

int checkpoint_grow(struct checkpoint *checkpoint)
{
    checkpoint->map_bytes *= 2;
    checkpoint_rest(checkpoint);
    return 0;
}

void checkpoint_info(const struct checkpoint *checkpoint, struct checkpoint_info *info)
{
    *info = checkpoint->info;
}

/* ---- Opening ---- */

struct search {
    struct checkpoint *checkpoint;
    uint64_t found;
};

/* Sets `number`; `building` where it is half done. Returns whether the name is of this kind. */
static bool name_parse(const char *name, uint64_t *number, bool *building)
{
    int end = 0;

    if (sscanf(name, "checkpoint-%10" SCNu64 "%n", number, &end) != 1 || end != 21) {
        return false;
    }
    *building = strcmp(name + end, ".tmp") == 0;
    return *building || name[end] == '\0';
}

static int search_newest(void *context, const char *name)
{
    struct search *search = context;
    uint64_t number;
    bool building;

    if (name_parse(name, &number, &building) && !building && number > search->found) {
        search->found = number;
    }
    return 0;
}

static int remove_others(void *context, const char *name)
{
    struct checkpoint *checkpoint = context;
    char path[PATH_BYTES_MAX];
    uint64_t number;
    bool building;

    if (!name_parse(name, &number, &building) || (!building && number == checkpoint->number)) {
        return 0;
    }
    int rc = path_of(checkpoint, number, building, path);
    return rc != 0 ? rc : files_remove_tree(checkpoint->options.files, path);
}

static int load(struct checkpoint *checkpoint)
{
    struct search search = {.checkpoint = checkpoint};

    int rc = files_list(checkpoint->options.directory, search_newest, &search);
    if (rc != 0) {
        return rc;
    }
    checkpoint->number = search.found;
    if (checkpoint->number != 0) {
        rc = awake(checkpoint);
    }
    if (rc != 0 || checkpoint->options.inspect) {
        return rc;
    }
    return files_list(checkpoint->options.directory, remove_others, checkpoint);
}

int checkpoint_open(const struct checkpoint_options *options, struct checkpoint **checkpoint)
{
    struct checkpoint *made = options->memory->resize(options->memory, NULL, 0, sizeof *made);

    if (made == NULL) {
        return -ENOMEM;
    }
    *made = (struct checkpoint){
        .options = *options,
        .map_bytes = options->map_bytes < MAP_BYTES_MIN ? MAP_BYTES_MIN : options->map_bytes,
    };
    int rc = load(made);
    if (rc != 0) {
        checkpoint_close(made);
        return rc;
    }
    *checkpoint = made;
    return 0;
}

void checkpoint_close(struct checkpoint *checkpoint)
{
    if (checkpoint == NULL) {
        return;
    }
    struct memory *memory = checkpoint->options.memory;
    checkpoint_rest(checkpoint);
    memory->resize(memory, checkpoint, sizeof *checkpoint, 0);
}

/* ---- Reading ---- */

/* Pages of the map count as this process's memory until they are let go. Only reading transactions may
 * end here: what a changing one returns may lie in the heap. */
static void let_go(struct checkpoint *checkpoint)
{
    const uintptr_t page = (uintptr_t)sysconf(_SC_PAGESIZE);

    if (checkpoint->seen_low != NULL) {
        uint8_t *low = checkpoint->seen_low - (uintptr_t)checkpoint->seen_low % page;
        (void)madvise(low, (size_t)(checkpoint->seen_high - low), MADV_DONTNEED);
    }
    checkpoint->seen_low = checkpoint->seen_high = NULL;
    checkpoint->seen_bytes = 0;
}

static void saw(struct checkpoint *checkpoint, const MDB_val *value)
{
    uint8_t *low = value->mv_data, *high = low + value->mv_size;

    if (checkpoint->seen_low == NULL || low < checkpoint->seen_low) {
        checkpoint->seen_low = low;
    }
    if (high > checkpoint->seen_high) {
        checkpoint->seen_high = high;
    }
    checkpoint->seen_bytes += value->mv_size;
}

int checkpoint_read_begin(struct checkpoint *checkpoint)
{
    assert(checkpoint->txn == NULL);
    if (checkpoint->number == 0) {
        return 0;
    }
    int rc = awake(checkpoint);
    if (rc == 0) {
        rc = error_of(mdb_txn_begin(checkpoint->env, NULL, MDB_RDONLY, &checkpoint->txn));
    }
    if (rc != 0) {
        return rc;
    }
    rc = error_of(mdb_cursor_open(checkpoint->txn, checkpoint->dbi, &checkpoint->cursor));
    if (rc != 0) {
        mdb_txn_abort(checkpoint->txn);
        checkpoint->txn = NULL;
    }
    return rc;
}

int checkpoint_read_next(struct checkpoint *checkpoint, struct checkpoint_key *key,
                         struct bytes *record)
{
    MDB_val found_key, value;

    if (checkpoint->number == 0) {
        return 0;
    }
    if (checkpoint->seen_bytes >= READ_SLICE_BYTES) {
        let_go(checkpoint);
    }
    for (;;) {
        int rc = error_of(mdb_cursor_get(checkpoint->cursor, &found_key, &value, MDB_NEXT));
        if (rc != 0) {
            return rc == -ENOENT ? 0 : rc;
        }
        if (found_key.mv_size == META_KEY_BYTES) {
            continue;
        }
        saw(checkpoint, &value);
        if (value_parse(&found_key, &value, record) == 0) {
            const uint8_t *bytes = found_key.mv_data;
            *key = (struct checkpoint_key){load_u64_big(bytes), load_u64_big(bytes + 8)};
            return 1;
        }
        report_damage(checkpoint, *record);
    }
}

void checkpoint_read_end(struct checkpoint *checkpoint)
{
    if (checkpoint->txn != NULL) {
        mdb_cursor_close(checkpoint->cursor);
        mdb_txn_abort(checkpoint->txn);
        checkpoint->txn = NULL;
        checkpoint->cursor = NULL;
    }
    let_go(checkpoint);
}

/* ---- Changing in place ---- */

static int make_name_sure(struct checkpoint *checkpoint)
{
    struct files *files = checkpoint->options.files;
    int rc = 0;

    if (checkpoint->name_unsure) {
        rc = files->sync_directory(files, checkpoint->options.directory);
        checkpoint->name_unsure = rc != 0;
    }
    return rc;
}

int checkpoint_change_begin(struct checkpoint *checkpoint)
{
    assert(checkpoint->txn == NULL);
    if (checkpoint->number == 0) {
        int rc = checkpoint_build_begin(checkpoint, 0, 0);
        if (rc == 0) {
            rc = checkpoint_build_commit(checkpoint);
        }
        if (rc != 0) {
            return rc;
        }
    }
    int rc = make_name_sure(checkpoint);
    if (rc == 0) {
        rc = awake(checkpoint);
    }
    checkpoint->changed_bytes = checkpoint->info.record_bytes;
    return rc != 0 ? rc : error_of(mdb_txn_begin(checkpoint->env, NULL, 0, &checkpoint->txn));
}

int checkpoint_change_get(struct checkpoint *checkpoint, struct checkpoint_key key,
                          struct bytes *record)
{
    uint8_t bytes[KEY_BYTES];
    MDB_val found_key = {.mv_size = sizeof bytes, .mv_data = bytes}, value;

    key_put(bytes, key);
    *record = bytes_of(NULL, 0);
    int rc = error_of(mdb_get(checkpoint->txn, checkpoint->dbi, &found_key, &value));
    if (rc != 0) {
        return rc == -ENOENT ? 0 : rc;
    }
    if (value_parse(&found_key, &value, record) != 0) {
        report_damage(checkpoint, *record);
        *record = bytes_of(NULL, 0);
    }
    return 0;
}

/* Room for key, sum and record, into which both are copied. */
static int put(MDB_txn *txn, MDB_dbi dbi, struct checkpoint_key key, struct bytes record,
               unsigned flags)
{
    uint8_t bytes[KEY_BYTES];
    MDB_val to_key = {.mv_size = sizeof bytes, .mv_data = bytes};
    MDB_val value = {.mv_size = SUM_BYTES + record.size};

    key_put(bytes, key);
    int rc = error_of(mdb_put(txn, dbi, &to_key, &value, flags | MDB_RESERVE));
    if (rc == 0) {
        uint8_t *data = value.mv_data;
        store_u32(data, sum_of(bytes, record));
        memcpy(data + SUM_BYTES, record.data, record.size);
    }
    return rc;
}

int checkpoint_change_put(struct checkpoint *checkpoint, struct checkpoint_key key,
                          struct bytes record, size_t old_bytes)
{
    uint8_t bytes[KEY_BYTES];
    MDB_val old_key = {.mv_size = sizeof bytes, .mv_data = bytes};

    checkpoint->changed_bytes -= old_bytes;
    checkpoint->changed_bytes += record.size;
    if (record.size > 0) {
        return put(checkpoint->txn, checkpoint->dbi, key, record, 0);
    }
    key_put(bytes, key);
    int rc = error_of(mdb_del(checkpoint->txn, checkpoint->dbi, &old_key, NULL));
    return rc == -ENOENT ? 0 : rc;
}

int checkpoint_change_commit(struct checkpoint *checkpoint, uint64_t lsn)
{
    struct checkpoint_info info = checkpoint->info;
    MDB_stat stat;

    info.lsn = lsn;
    info.record_bytes = checkpoint->changed_bytes;
    int rc = meta_put(checkpoint, checkpoint->txn, checkpoint->dbi, &info, 0);
    if (rc == 0) {
        rc = error_of(mdb_stat(checkpoint->txn, checkpoint->dbi, &stat));
    }
    if (rc == 0) {
        rc = checkpoint->options.files->commit(checkpoint->options.files);
    }
    if (rc != 0) {
        checkpoint_change_abort(checkpoint);
        return rc;
    }
    rc = error_of(mdb_txn_commit(checkpoint->txn));
    checkpoint->txn = NULL;
    if (rc != 0) {
        /* Whether it reached the device is unknown: begin again from what is there. */
        checkpoint_rest(checkpoint);
        return rc;
    }
    info.sessions = stat.ms_entries - 1;
    environment_size(checkpoint->env, &info.file_bytes);
    checkpoint->info = info;
    return 0;
}

void checkpoint_change_abort(struct checkpoint *checkpoint)
{
    if (checkpoint->txn != NULL) {
        mdb_txn_abort(checkpoint->txn);
        checkpoint->txn = NULL;
    }
}

/* ---- Building afresh ---- */

static int slice_begin(struct checkpoint *checkpoint)
{
    checkpoint->slice_bytes = 0;
    return error_of(mdb_txn_begin(checkpoint->new_env, NULL, 0, &checkpoint->new_txn));
}

static int slice_end(struct checkpoint *checkpoint)
{
    int rc = error_of(mdb_txn_commit(checkpoint->new_txn));

    checkpoint->new_txn = NULL;
    checkpoint->unsynced_bytes += checkpoint->slice_bytes;
    if (rc == 0 && checkpoint->unsynced_bytes >= BUILD_SYNC_BYTES) {
        checkpoint->unsynced_bytes = 0;
        rc = error_of(mdb_env_sync(checkpoint->new_env, 1));
    }
    return rc;
}

int checkpoint_build_begin(struct checkpoint *checkpoint, uint64_t lsn, uint64_t bytes)
{
    struct files *files = checkpoint->options.files;
    char path[PATH_BYTES_MAX];

    assert(checkpoint->new_env == NULL);
    int rc = path_of(checkpoint, checkpoint->number + 1, true, path);
    if (rc == 0) {
        rc = files_remove_tree(files, path);
        rc = rc == -ENOENT ? 0 : rc;
    }
    if (rc == 0) {
        rc = files->make_directory(files, path);
    }
    while (checkpoint->map_bytes < bytes + bytes / 2) {
        checkpoint->map_bytes *= 2;
    }
    if (rc == 0) {
        rc = environment_open(path, checkpoint->map_bytes, MDB_NOSYNC, &checkpoint->new_env,
                              &checkpoint->new_dbi);
    }
    if (rc != 0) {
        return rc;
    }
    checkpoint->new_info = (struct checkpoint_info){.lsn = lsn};
    checkpoint->unsynced_bytes = 0;
    rc = slice_begin(checkpoint);
    if (rc != 0) {
        checkpoint_build_abort(checkpoint);
    }
    return rc;
}

int checkpoint_build_put(struct checkpoint *checkpoint, struct checkpoint_key key,
                         struct bytes record)
{
    if (checkpoint->slice_bytes >= BUILD_SLICE_BYTES) {
        int rc = slice_end(checkpoint);
        if (rc == 0) {
            rc = slice_begin(checkpoint);
        }
        if (rc != 0) {
            return rc;
        }
    }
    int rc = put(checkpoint->new_txn, checkpoint->new_dbi, key, record, MDB_APPEND);
    if (rc == 0) {
        checkpoint->slice_bytes += record.size;
        checkpoint->new_info.record_bytes += record.size;
        checkpoint->new_info.sessions++;
    }
    return rc;
}

/* Make the new environment complete and durable under its temporary name, and close it. */
static int build_finish(struct checkpoint *checkpoint)
{
    int rc =
        meta_put(checkpoint, checkpoint->new_txn, checkpoint->new_dbi, &checkpoint->new_info, 0);

    if (rc == 0) {
        rc = checkpoint->options.files->commit(checkpoint->options.files);
    }
    if (rc == 0) {
        rc = slice_end(checkpoint);
    }
    if (rc == 0) {
        rc = error_of(mdb_env_sync(checkpoint->new_env, 1));
    }
    if (rc == 0) {
        environment_size(checkpoint->new_env, &checkpoint->new_info.file_bytes);
        mdb_env_close(checkpoint->new_env);
        checkpoint->new_env = NULL;
    }
    return rc;
}

int checkpoint_build_commit(struct checkpoint *checkpoint)
{
    struct files *files = checkpoint->options.files;
    char old[PATH_BYTES_MAX], aside[PATH_BYTES_MAX], path[PATH_BYTES_MAX];

    int rc = path_of(checkpoint, checkpoint->number, false, old);
    if (rc == 0) {
        rc = path_of(checkpoint, checkpoint->number + 1, true, aside);
    }
    if (rc == 0) {
        rc = path_of(checkpoint, checkpoint->number + 1, false, path);
    }
    if (rc == 0) {
        rc = build_finish(checkpoint);
    }
    if (rc == 0) {
        rc = files->sync_directory(files, aside);
    }
    if (rc == 0) {
        rc = files->rename(files, aside, path);
    }
    if (rc != 0) {
        checkpoint_build_abort(checkpoint);
        return rc;
    }
    /* From here the new one is what the next start finds; the log is given up only once that is sure. */
    checkpoint_read_end(checkpoint);
    checkpoint_rest(checkpoint);
    bool had_old = checkpoint->number != 0;
    checkpoint->number++;
    checkpoint->info = checkpoint->new_info;
    checkpoint->name_unsure = true;
    rc = make_name_sure(checkpoint);
    if (rc == 0 && had_old) {
        (void)files_remove_tree(files, old); /* Or at the next start. */
    }
    return rc;
}

void checkpoint_build_abort(struct checkpoint *checkpoint)
{
    char path[PATH_BYTES_MAX];

    if (checkpoint->new_txn != NULL) {
        mdb_txn_abort(checkpoint->new_txn);
        checkpoint->new_txn = NULL;
    }
    if (checkpoint->new_env != NULL) {
        mdb_env_close(checkpoint->new_env);
        checkpoint->new_env = NULL;
    }
    if (path_of(checkpoint, checkpoint->number + 1, true, path) == 0) {
        (void)files_remove_tree(checkpoint->options.files, path);
    }
}
