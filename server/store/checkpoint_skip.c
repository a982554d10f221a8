/* Past pages of a checkpoint that do not read back. LMDB's tree has no sums, and what a damaged page leads to cannot
 * be known: so the next key that can be reached is looked for by trying positions further and further on, and
 * then between the last that failed and the first that did not. */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>

#include "checkpoint_state.h"

/* A transaction that met damage is of no more use. */
static int begin_again(struct checkpoint *checkpoint)
{
    if (checkpoint->txn != NULL) {
        mdb_cursor_close(checkpoint->cursor);
        mdb_txn_abort(checkpoint->txn);
        checkpoint->txn = NULL;
        checkpoint->cursor = NULL;
    }
    int rc = checkpoint_error(mdb_txn_begin(checkpoint->env, NULL, MDB_RDONLY, &checkpoint->txn));
    if (rc != 0) {
        checkpoint->txn = NULL;
        return rc;
    }
    rc = checkpoint_error(mdb_cursor_open(checkpoint->txn, checkpoint->dbi, &checkpoint->cursor));
    if (rc != 0) {
        mdb_txn_abort(checkpoint->txn);
        checkpoint->txn = NULL;
        checkpoint->cursor = NULL;
    }
    return rc;
}

/* The first key from a position on. */
static int seek(struct checkpoint *checkpoint, uint64_t position, MDB_val *key, MDB_val *value)
{
    uint8_t bytes[CHECKPOINT_KEY_BYTES];

    checkpoint_key_put(bytes, (struct checkpoint_key){.position = position});
    int rc = begin_again(checkpoint);
    if (rc != 0) {
        return rc;
    }
    *key = (MDB_val){.mv_size = sizeof bytes, .mv_data = bytes};
    return checkpoint_cursor_get(checkpoint, checkpoint->cursor, key, value, MDB_SET_RANGE);
}

/* How far after `from` reading works again. Returns 0 or -ENOENT with `step` set; negative errno. */
static int find_step(struct checkpoint *checkpoint, uint64_t from, uint64_t *step)
{
    uint64_t low = 0, high = 1;
    MDB_val key, value;
    int rc;

    while ((rc = seek(checkpoint, from + high, &key, &value)) == -EBADMSG) {
        low = high;
        if (high > (UINT64_MAX - from) / 2) {
            return -ENOENT;
        }
        high *= 2;
    }
    while ((rc == 0 || rc == -ENOENT || rc == -EBADMSG) && high - low > 1) {
        uint64_t middle = low + (high - low) / 2;
        rc = seek(checkpoint, from + middle, &key, &value);
        low = rc == -EBADMSG ? middle : low;
        high = rc == -EBADMSG ? high : middle;
    }
    *step = high;
    return rc == -EBADMSG ? 0 : rc;
}

static void report(const struct checkpoint *checkpoint, uint64_t from, uint64_t to)
{
    char file[32], text[160];

    snprintf(file, sizeof file, "checkpoint-%010" PRIu64, checkpoint->number);
    snprintf(text, sizeof text,
             "pages of it do not read back: what it had of positions %016" PRIx64 " to %016" PRIx64
             " is lost",
             from, to);
    const struct store_report told = {
        .event = STORE_CHECKPOINT_DAMAGED,
        .shard = checkpoint->options.shard,
        .file = file,
        .lsn = checkpoint->info.lsn,
        .text = text,
    };
    checkpoint->options.reporter->report(checkpoint->options.reporter, &told);
}

int checkpoint_skip(struct checkpoint *checkpoint, MDB_val *key, MDB_val *value)
{
    checkpoint->broken = true;
    uint64_t from = checkpoint->walked ? load_u64_big(checkpoint->key) : 0, step = 0;

    int rc = find_step(checkpoint, from, &step);
    if (rc == 0 || (rc == -ENOENT && step != 0)) {
        rc = seek(checkpoint, from + step, key, value);
    }
    if (rc == 0 && key->mv_size == CHECKPOINT_KEY_BYTES) {
        report(checkpoint, from, load_u64_big(key->mv_data));
    } else if (rc == -ENOENT) {
        report(checkpoint, from, UINT64_MAX);
    }
    return rc;
}
