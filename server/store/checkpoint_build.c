/* Building a checkpoint afresh: filled in order without waiting for the device, synchronised in small
 * parts so that the log's writes are not held up, and renamed once all of it is durable. */
#include <assert.h>
#include <errno.h>
#include <fcntl.h>

#include "checkpoint_state.h"

enum {
    SLICE_BYTES =
        4 * 1024 * 1024, /* Of records in one transaction: each touches a few pages anew. */
    SYNC_BYTES = 8 * 1024 * 1024, /* So that the device never has much to do at once. */
};

static int slice_begin(struct checkpoint *checkpoint)
{
    checkpoint->slice_bytes = 0;
    return checkpoint_error(mdb_txn_begin(checkpoint->new_env, NULL, 0, &checkpoint->new_txn));
}

/* What is on the device is not needed in the page cache: the next part takes the same pages, where new
 * ones would cost more than all the rest of the build (and push out what others have there). */
static void let_go(struct checkpoint *checkpoint)
{
    int fd;

    if (mdb_env_get_fd(checkpoint->new_env, &fd) == MDB_SUCCESS) {
        (void)posix_fadvise(fd, 0, 0, POSIX_FADV_DONTNEED);
    }
}

static int slice_end(struct checkpoint *checkpoint)
{
    int rc =
        checkpoint_disk_error(checkpoint, checkpoint_error(mdb_txn_commit(checkpoint->new_txn)));

    checkpoint->new_txn = NULL;
    checkpoint->unsynced_bytes += checkpoint->slice_bytes;
    if (rc == 0 && checkpoint->unsynced_bytes >= SYNC_BYTES) {
        checkpoint->unsynced_bytes = 0;
        rc = checkpoint_disk_error(checkpoint,
                                   checkpoint_error(mdb_env_sync(checkpoint->new_env, 1)));
        let_go(checkpoint);
    }
    return rc;
}

int checkpoint_build_begin(struct checkpoint *checkpoint, uint64_t lsn, uint64_t hlc,
                           uint64_t bytes)
{
    struct files *files = checkpoint->options.files;
    char path[PATH_BYTES_MAX];

    assert(checkpoint->new_env == NULL);
    int rc = checkpoint_path(checkpoint, checkpoint->number + 1, true, path);
    if (rc == 0) {
        rc = files_remove_tree(files, path);
        rc = rc == -ENOENT ? 0 : rc;
    }
    if (rc == 0) {
        rc = files->make_directory(files, path);
    }
    pthread_rwlock_wrlock(&checkpoint->lock);
    while (checkpoint->map_bytes < bytes + bytes / 2) {
        checkpoint->map_bytes *= 2;
    }
    pthread_rwlock_unlock(&checkpoint->lock);
    if (rc == 0) {
        rc = checkpoint_environment_open(path, checkpoint->map_bytes, MDB_NOSYNC | MDB_NOLOCK,
                                         &checkpoint->new_env, &checkpoint->new_dbi);
    }
    if (rc != 0) {
        rc = checkpoint_disk_error(checkpoint, rc);
        checkpoint_build_abort(checkpoint);
        return rc;
    }
    checkpoint->new_info = (struct checkpoint_info){.lsn = lsn, .hlc = hlc};
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
    if (checkpoint->slice_bytes >= SLICE_BYTES) {
        int rc = slice_end(checkpoint);
        if (rc == 0) {
            rc = slice_begin(checkpoint);
        }
        if (rc != 0) {
            return rc;
        }
    }
    int rc = checkpoint_put(checkpoint->new_txn, checkpoint->new_dbi, key, record, MDB_APPEND);
    if (rc == 0) {
        checkpoint->slice_bytes += record.size;
        checkpoint->new_info.record_bytes += record.size;
        checkpoint->new_info.sessions++;
    }
    return checkpoint_disk_error(checkpoint, rc);
}

/* Make the new environment complete and durable under its temporary name, and close it. */
static int build_finish(struct checkpoint *checkpoint)
{
    int rc = checkpoint_meta_put(checkpoint, checkpoint->new_txn, checkpoint->new_dbi,
                                 &checkpoint->new_info, 0);

    if (rc == 0) {
        rc = checkpoint->options.files->commit(checkpoint->options.files);
    }
    if (rc == 0) {
        rc = slice_end(checkpoint);
    }
    if (rc == 0) {
        rc = checkpoint_disk_error(checkpoint,
                                   checkpoint_error(mdb_env_sync(checkpoint->new_env, 1)));
    }
    if (rc == 0) {
        checkpoint_environment_size(checkpoint->new_env, &checkpoint->new_info.file_bytes);
        mdb_env_close(checkpoint->new_env);
        checkpoint->new_env = NULL;
    }
    return rc;
}

int checkpoint_build_commit(struct checkpoint *checkpoint)
{
    struct files *files = checkpoint->options.files;
    char aside[PATH_BYTES_MAX], path[PATH_BYTES_MAX];

    int rc = checkpoint_path(checkpoint, checkpoint->number + 1, true, aside);
    if (rc == 0) {
        rc = checkpoint_path(checkpoint, checkpoint->number + 1, false, path);
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
    pthread_rwlock_wrlock(&checkpoint->lock);
    checkpoint_close_environment(checkpoint);
    checkpoint->number++;
    pthread_rwlock_unlock(&checkpoint->lock);
    checkpoint->info = checkpoint->new_info;
    checkpoint->broken = false;
    checkpoint->name_unsure = true;
    return checkpoint_make_name_sure(checkpoint);
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
    if (checkpoint_path(checkpoint, checkpoint->number + 1, true, path) == 0) {
        (void)files_remove_tree(checkpoint->options.files, path);
    }
}
