/* Reading one position of a checkpoint, on a thread of its own, beside whatever is done with it. */
#include <errno.h>

#include "checkpoint_state.h"

enum {
    /* What one session brings into memory beside itself: pages around those that were missing. */
    FETCH_TREE_BYTES = 64 * 1024,
    FETCH_SLICE_BYTES = 4 * 1024 * 1024, /* Pages of the map are let go after so much. */
};

static int visit_position(struct checkpoint *checkpoint, MDB_cursor *cursor, uint64_t position,
                          int (*visit)(void *context, struct bytes record), void *context)
{
    uint8_t bytes[CHECKPOINT_KEY_BYTES];
    MDB_val key = {.mv_size = sizeof bytes, .mv_data = bytes}, value;
    struct bytes record;

    checkpoint_key_put(bytes, (struct checkpoint_key){.position = position});
    int rc = checkpoint_cursor_get(checkpoint, cursor, &key, &value, MDB_SET_RANGE);
    while (rc == 0 && key.mv_size == CHECKPOINT_KEY_BYTES &&
           load_u64_big(key.mv_data) == position) {
        checkpoint->fetched_bytes += value.mv_size + FETCH_TREE_BYTES;
        if (checkpoint_value_parse(&key, &value, &record) == 0) {
            rc = visit(context, record);
        }
        if (rc == 0) {
            rc = checkpoint_cursor_get(checkpoint, cursor, &key, &value, MDB_NEXT);
        }
    }
    return rc == -ENOENT ? 0 : rc;
}

static int fetch(struct checkpoint *checkpoint, uint64_t position,
                 int (*visit)(void *context, struct bytes record), void *context)
{
    MDB_cursor *cursor;
    MDB_txn *txn;

    int rc = checkpoint_error(mdb_txn_begin(checkpoint->env, NULL, MDB_RDONLY, &txn));
    if (rc != 0) {
        return rc;
    }
    rc = checkpoint_error(mdb_cursor_open(txn, checkpoint->dbi, &cursor));
    if (rc == 0) {
        rc = visit_position(checkpoint, cursor, position, visit, context);
        mdb_cursor_close(cursor);
    }
    mdb_txn_abort(txn);
    if (checkpoint->fetched_bytes >= FETCH_SLICE_BYTES) {
        checkpoint->fetched_bytes = 0;
        checkpoint_let_go(checkpoint);
    }
    return rc;
}

static int awake(struct checkpoint *checkpoint)
{
    pthread_rwlock_wrlock(&checkpoint->lock);
    int rc = checkpoint_open_environment(checkpoint);
    pthread_rwlock_unlock(&checkpoint->lock);
    return rc;
}

int checkpoint_fetch(struct checkpoint *checkpoint, uint64_t position,
                     int (*visit)(void *context, struct bytes record), void *context)
{
    int rc = 0;

    pthread_mutex_lock(&checkpoint->fetching);
    pthread_rwlock_rdlock(&checkpoint->lock);
    while (rc == 0 && checkpoint->number != 0 && checkpoint->env == NULL) {
        pthread_rwlock_unlock(&checkpoint->lock);
        rc = awake(checkpoint);
        pthread_rwlock_rdlock(&checkpoint->lock);
    }
    if (rc == 0 && checkpoint->number != 0) {
        rc = fetch(checkpoint, position, visit, context);
    }
    pthread_rwlock_unlock(&checkpoint->lock);
    pthread_mutex_unlock(&checkpoint->fetching);
    return rc;
}
