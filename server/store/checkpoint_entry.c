/* Keys, values and environments of LMDB: the only file that knows LMDB's codes and limits. */
#include <assert.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include "checkpoint_state.h"
#include "crc32c.h"
#include "keeper.h"

enum {
    CHECKPOINT_VERSION = 2,
    SUM_BYTES = 4,
    META_BYTES = 40,
    SIZE_SLACK_BYTES = 1024 * 1024,
    PAGE_HEAD_BYTES = 16,
    FULL_BYTES = 1024 * 1024, /* Less than this, and a write that had no room met a full disk. */
};
#define LMDB_MARK UINT32_C(0xbeefc0de)

/* The one place that knows LMDB's codes. */
int checkpoint_error(int code)
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
        return code > 0 ? files_error(code) : -EIO;
    }
}

struct checkpoint_key checkpoint_key(uint64_t seed, uint64_t position, struct bytes session_key)
{
    return (struct checkpoint_key){
        .position = position,
        .hash = keeper_fingerprint(seed, session_key),
    };
}

int checkpoint_disk_error(const struct checkpoint *checkpoint, int rc)
{
    struct statvfs status;

    if (rc != -EIO || statvfs(checkpoint->options.directory, &status) != 0) {
        return rc;
    }
    return (uint64_t)status.f_bavail * status.f_frsize < FULL_BYTES ? -ENOSPC : rc;
}

void checkpoint_key_put(uint8_t to[CHECKPOINT_KEY_BYTES], struct checkpoint_key key)
{
    store_u64_big(to, key.position);
    store_u64_big(to + 8, key.hash);
}

static uint32_t sum_of(const uint8_t key[CHECKPOINT_KEY_BYTES], struct bytes record)
{
    return crc32c(crc32c(0, bytes_of(key, CHECKPOINT_KEY_BYTES)), record);
}

/* Take apart a value. Returns 0 or -EBADMSG; `record` is set to what there is either way. */
int checkpoint_value_parse(const MDB_val *key, const MDB_val *value, struct bytes *record)
{
    *record = bytes_of(NULL, 0);
    if (key->mv_size != CHECKPOINT_KEY_BYTES || value->mv_size < SUM_BYTES) {
        return -EBADMSG;
    }
    const uint8_t *data = value->mv_data;
    *record = bytes_of(data + SUM_BYTES, value->mv_size - SUM_BYTES);
    return load_u32(data) == sum_of(key->mv_data, *record) ? 0 : -EBADMSG;
}

/* Room for key, sum and record, into which both are copied. */
int checkpoint_put(MDB_txn *txn, MDB_dbi dbi, struct checkpoint_key key, struct bytes record,
                   unsigned flags)
{
    uint8_t bytes[CHECKPOINT_KEY_BYTES];
    MDB_val to_key = {.mv_size = sizeof bytes, .mv_data = bytes};
    MDB_val value = {.mv_size = SUM_BYTES + record.size};

    checkpoint_key_put(bytes, key);
    int rc = checkpoint_error(mdb_put(txn, dbi, &to_key, &value, flags | MDB_RESERVE));
    if (rc == 0) {
        uint8_t *data = value.mv_data;
        store_u32(data, sum_of(bytes, record));
        memcpy(data + SUM_BYTES, record.data, record.size);
    }
    return rc;
}

/* ---- The entry that says which LSN it is ---- */

int checkpoint_meta_put(const struct checkpoint *checkpoint, MDB_txn *txn, MDB_dbi dbi,
                        const struct checkpoint_info *info, unsigned flags)
{
    uint8_t bytes[META_BYTES] = {0};
    uint8_t key_bytes[CHECKPOINT_META_KEY_BYTES] = {0};
    MDB_val key = {.mv_size = sizeof key_bytes, .mv_data = key_bytes};
    MDB_val value = {.mv_size = sizeof bytes, .mv_data = bytes};

    store_u32(bytes, CHECKPOINT_VERSION);
    store_u32(bytes + 4, checkpoint->options.shard);
    store_u64(bytes + 8, info->lsn);
    store_u64(bytes + 16, info->record_bytes);
    store_u64(bytes + 24, info->hlc);
    store_u32(bytes + META_BYTES - 4, crc32c(0, bytes_of(bytes, META_BYTES - 4)));
    return checkpoint_error(mdb_put(txn, dbi, &key, &value, flags));
}

int checkpoint_meta_get(const struct checkpoint *checkpoint, MDB_txn *txn, MDB_dbi dbi,
                        struct checkpoint_info *info)
{
    uint8_t key_bytes[CHECKPOINT_META_KEY_BYTES] = {0};
    MDB_val key = {.mv_size = sizeof key_bytes, .mv_data = key_bytes};
    MDB_val value;

    int rc = checkpoint_get(txn, dbi, &key, &value);
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
    info->hlc = load_u64(bytes + 24);
    return 0;
}

/* ---- Environments ---- */

void checkpoint_environment_size(MDB_env *env, uint64_t *bytes)
{
    MDB_envinfo info;
    MDB_stat stat;

    mdb_env_info(env, &info);
    mdb_env_stat(env, &stat);
    *bytes = ((uint64_t)info.me_last_pgno + 1) * stat.ms_psize;
}

/* LMDB does not tell where it maps its file. But every page begins with its own number, and the first one has
 * LMDB's mark after that head: so the page of a value that is there says where the first one is. */
uint8_t *checkpoint_environment_map(MDB_env *env, MDB_dbi dbi)
{
    uint8_t key_bytes[CHECKPOINT_META_KEY_BYTES] = {0}, *map = NULL;
    MDB_val key = {.mv_size = sizeof key_bytes, .mv_data = key_bytes}, value;
    MDB_envinfo info;
    MDB_stat stat;
    MDB_txn *txn;

    mdb_env_info(env, &info);
    mdb_env_stat(env, &stat);
    if (mdb_txn_begin(env, NULL, MDB_RDONLY, &txn) != 0) {
        return NULL;
    }
    if (checkpoint_get(txn, dbi, &key, &value) == 0) {
        uint8_t *page = (uint8_t *)value.mv_data - (uintptr_t)value.mv_data % stat.ms_psize;
        uint64_t number = load_u64(page);
        map = number <= info.me_last_pgno ? page - number * stat.ms_psize : NULL;
    }
    if (map != NULL && load_u32(map + PAGE_HEAD_BYTES) != LMDB_MARK) {
        map = NULL;
    }
    mdb_txn_abort(txn);
    return map;
}

/* A page that is not in the file would end in SIGBUS. LMDB may leave out the last pages where they are
 * free, but not many. */
static int check_size(MDB_env *env)
{
    struct stat status;
    uint64_t bytes;
    int fd;

    checkpoint_environment_size(env, &bytes);
    int rc = checkpoint_error(mdb_env_get_fd(env, &fd));
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

int checkpoint_environment_open(const char *path, uint64_t map_bytes, unsigned flags, MDB_env **env,
                                MDB_dbi *dbi)
{
    MDB_env *made;
    MDB_txn *txn;

    int rc = checkpoint_error(mdb_env_create(&made));
    if (rc != 0) {
        return rc;
    }
    checkpoint_guard(made);
    rc = checkpoint_error(mdb_env_set_mapsize(made, (size_t)map_bytes));
    if (rc == 0) {
        rc = checkpoint_error(mdb_env_open(made, path, flags | MDB_NOTLS, 0640));
    }
    if (rc == 0) {
        rc = check_size(made);
    }
    if (rc == 0) {
        rc = checkpoint_error(
            mdb_txn_begin(made, NULL, (flags & MDB_NOSYNC) == 0 ? MDB_RDONLY : 0, &txn));
    }
    if (rc == 0) {
        rc = checkpoint_error(mdb_dbi_open(txn, NULL, 0, dbi));
        if (rc == 0) {
            rc = checkpoint_error(mdb_txn_commit(txn));
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
