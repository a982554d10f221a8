/* Changing a checkpoint in place, in one synchronous transaction. */
#include <assert.h>
#include <errno.h>

#include "checkpoint_state.h"

int checkpoint_change_begin(struct checkpoint *checkpoint)
{
    assert(checkpoint->txn == NULL);
    if (checkpoint->number == 0) {
        int rc = checkpoint_build_begin(checkpoint, 0, 0, 0);
        if (rc == 0) {
            rc = checkpoint_build_commit(checkpoint);
        }
        if (rc != 0) {
            return rc;
        }
    }
    int rc = checkpoint_make_name_sure(checkpoint);
    if (rc == 0) {
        rc = checkpoint_awake(checkpoint);
    }
    checkpoint->changed_bytes = checkpoint->info.record_bytes;
    return rc != 0 ? rc
                   : checkpoint_error(mdb_txn_begin(checkpoint->env, NULL, 0, &checkpoint->txn));
}

int checkpoint_change_get(struct checkpoint *checkpoint, struct checkpoint_key key,
                          struct bytes *record)
{
    uint8_t bytes[CHECKPOINT_KEY_BYTES];
    MDB_val found_key = {.mv_size = sizeof bytes, .mv_data = bytes}, value;

    checkpoint_key_put(bytes, key);
    *record = bytes_of(NULL, 0);
    int rc = checkpoint_get(checkpoint->txn, checkpoint->dbi, &found_key, &value);
    if (rc != 0) {
        checkpoint->broken = checkpoint->broken || rc == -EBADMSG;
        return rc == -ENOENT ? 0 : rc;
    }
    if (checkpoint_value_parse(&found_key, &value, record) != 0) {
        checkpoint_report_damage(checkpoint, &key, *record);
        *record = bytes_of(NULL, 0);
    }
    return 0;
}

int checkpoint_change_put(struct checkpoint *checkpoint, struct checkpoint_key key,
                          struct bytes record, size_t old_bytes)
{
    uint8_t bytes[CHECKPOINT_KEY_BYTES];
    MDB_val old_key = {.mv_size = sizeof bytes, .mv_data = bytes};

    checkpoint->changed_bytes -= old_bytes;
    checkpoint->changed_bytes += record.size;
    if (record.size > 0) {
        return checkpoint_disk_error(
            checkpoint, checkpoint_put(checkpoint->txn, checkpoint->dbi, key, record, 0));
    }
    checkpoint_key_put(bytes, key);
    int rc = checkpoint_error(mdb_del(checkpoint->txn, checkpoint->dbi, &old_key, NULL));
    return rc == -ENOENT ? 0 : checkpoint_disk_error(checkpoint, rc);
}

int checkpoint_change_commit(struct checkpoint *checkpoint, uint64_t lsn, uint64_t hlc)
{
    struct checkpoint_info info = checkpoint->info;
    MDB_stat stat;

    info.lsn = lsn;
    info.hlc = hlc;
    info.record_bytes = checkpoint->changed_bytes;
    int rc = checkpoint_meta_put(checkpoint, checkpoint->txn, checkpoint->dbi, &info, 0);
    if (rc == 0) {
        rc = checkpoint_error(mdb_stat(checkpoint->txn, checkpoint->dbi, &stat));
    }
    if (rc == 0) {
        rc = checkpoint->options.files->commit(checkpoint->options.files);
    }
    if (rc != 0) {
        checkpoint_change_abort(checkpoint);
        return rc;
    }
    rc = checkpoint_disk_error(checkpoint, checkpoint_error(mdb_txn_commit(checkpoint->txn)));
    checkpoint->txn = NULL;
    if (rc != 0) {
        /* Whether it reached the device is unknown: begin again from what is there. */
        checkpoint_rest(checkpoint);
        return rc;
    }
    info.sessions = stat.ms_entries - 1;
    checkpoint_environment_size(checkpoint->env, &info.file_bytes);
    checkpoint->info = info;
    checkpoint_let_go(checkpoint);
    return 0;
}

void checkpoint_change_abort(struct checkpoint *checkpoint)
{
    if (checkpoint->txn != NULL) {
        mdb_txn_abort(checkpoint->txn);
        checkpoint->txn = NULL;
    }
}
