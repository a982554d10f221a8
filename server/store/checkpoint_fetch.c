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

/* What is done with a cursor. */
struct looking {
    uint64_t position;
    int (*visit)(void *context, struct bytes record);
    struct checkpoint_key *from; /* Of a scan... */
    size_t bytes;
    int (*visit_key)(void *context, struct checkpoint_key key, struct bytes record);
    void *context;
};

static int scan(struct checkpoint *checkpoint, MDB_cursor *cursor, const struct looking *looking)
{
    uint8_t bytes[CHECKPOINT_KEY_BYTES];
    MDB_val key = {.mv_size = sizeof bytes, .mv_data = bytes}, value;
    size_t visited = 0;
    struct bytes record;

    checkpoint_key_put(bytes, *looking->from);
    int rc = checkpoint_cursor_get(checkpoint, cursor, &key, &value, MDB_SET_RANGE);
    while (rc == 0) {
        if (key.mv_size == CHECKPOINT_KEY_BYTES) {
            const uint8_t *at = key.mv_data;
            *looking->from = (struct checkpoint_key){load_u64_big(at), load_u64_big(at + 8)};
            if (visited >= looking->bytes) {
                return 1;
            }
            visited += value.mv_size;
            checkpoint->fetched_bytes += value.mv_size;
            if (checkpoint_value_parse(&key, &value, &record) != 0) {
                record = bytes_of(NULL, 0);
            }
            rc = looking->visit_key(looking->context, *looking->from, record);
        }
        rc = rc != 0 ? rc : checkpoint_cursor_get(checkpoint, cursor, &key, &value, MDB_NEXT);
    }
    return rc == -ENOENT ? 0 : rc;
}

static int look(struct checkpoint *checkpoint, const struct looking *looking)
{
    MDB_cursor *cursor;
    MDB_txn *txn;

    int rc = checkpoint_error(mdb_txn_begin(checkpoint->env, NULL, MDB_RDONLY, &txn));
    if (rc != 0) {
        return rc;
    }
    rc = checkpoint_error(mdb_cursor_open(txn, checkpoint->dbi, &cursor));
    if (rc == 0) {
        rc = looking->visit != NULL ? visit_position(checkpoint, cursor, looking->position,
                                                     looking->visit, looking->context)
                                    : scan(checkpoint, cursor, looking);
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

static int look_once(struct checkpoint *checkpoint, const struct looking *looking)
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
        rc = look(checkpoint, looking);
    }
    pthread_rwlock_unlock(&checkpoint->lock);
    pthread_mutex_unlock(&checkpoint->fetching);
    return rc;
}

int checkpoint_fetch(struct checkpoint *checkpoint, uint64_t position,
                     int (*visit)(void *context, struct bytes record), void *context)
{
    const struct looking looking = {.position = position, .visit = visit, .context = context};

    return look_once(checkpoint, &looking);
}

int checkpoint_scan(struct checkpoint *checkpoint, struct checkpoint_key *from, size_t bytes,
                    int (*visit)(void *context, struct checkpoint_key key, struct bytes record),
                    void *context)
{
    const struct looking looking = {
        .from = from, .bytes = bytes, .visit_key = visit, .context = context};

    return look_once(checkpoint, &looking);
}
