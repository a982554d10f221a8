/* Reads of LMDB's tree that survive a damaged page. LMDB checks some of what it reads by assertions, which end the
 * process: while one of these reads goes on, a failed assertion is an error of it instead. Reading changes
 * nothing and holds nothing, so that it can be left at any place; its transaction is of no more use. Where LMDB asserts
 * while it writes, the process ends, and the message names the file. */
#include <errno.h>
#include <setjmp.h>
#include <stdio.h>

#include "checkpoint_state.h"

static _Thread_local jmp_buf *guard;

static void on_assert(MDB_env *env, const char *text)
{
    const char *path = "";

    if (guard != NULL) {
        longjmp(*guard, 1);
    }
    (void)mdb_env_get_path(env, &path);
    fprintf(stderr, "belayd: the checkpoint %s is damaged: %s\n", path, text);
}

void checkpoint_guard(MDB_env *env)
{
    (void)mdb_env_set_assert(env, on_assert);
}

/* What a damaged page says of a size may reach far beyond the file. */
static bool lies_inside(const struct checkpoint *checkpoint, const MDB_val *value)
{
    uintptr_t begin = (uintptr_t)checkpoint->map, at = (uintptr_t)value->mv_data;
    uint64_t bytes;

    if (checkpoint->map == NULL) {
        return true;
    }
    checkpoint_environment_size(checkpoint->env, &bytes);
    return at >= begin && at - begin <= bytes && value->mv_size <= bytes - (at - begin);
}

int checkpoint_cursor_get(const struct checkpoint *checkpoint, MDB_cursor *cursor, MDB_val *key,
                          MDB_val *value, MDB_cursor_op operation)
{
    jmp_buf place;
    int rc = -EBADMSG;

    if (setjmp(place) == 0) {
        guard = &place;
        rc = checkpoint_error(mdb_cursor_get(cursor, key, value, operation));
    } else {
        rc = -EBADMSG;
    }
    guard = NULL;
    if (rc == 0 && !(lies_inside(checkpoint, key) && lies_inside(checkpoint, value))) {
        rc = -EBADMSG;
    }
    return rc;
}

int checkpoint_get(MDB_txn *txn, MDB_dbi dbi, MDB_val *key, MDB_val *value)
{
    jmp_buf place;
    int rc = -EBADMSG;

    if (setjmp(place) == 0) {
        guard = &place;
        rc = checkpoint_error(mdb_get(txn, dbi, key, value));
    } else {
        rc = -EBADMSG;
    }
    guard = NULL;
    return rc;
}
