/* Kinds of log records: what the core appends and what a replay hands back to it.
 *
 * Part of the log's format: a number once used keeps its meaning. Bodies are session records and deltas
 * (session.h) unless it says otherwise.
 */
#ifndef LOG_KIND_H
#define LOG_KIND_H

enum log_kind {
    LOG_FULL = 1,  /* A whole session record: see below. shard_restore_record(). */
    LOG_DELTA = 2, /* A delta of one: shard_restore_delta(). */
    LOG_BATCH = 3, /* Several, applied together: each kind (1), position (8), varint size, body. */
    LOG_MARK = 4,  /* Of the store's own (log_format.h); no body. */
    LOG_TOUCH = 5, /* last_access: varint ms, then the key: shard_restore_touch(). */
    LOG_BURY = 6,  /* A session left the shard: see below. shard_restore_bury(). */
    LOG_DROP = 7,  /* It is on other nodes from here on: see below. shard_restore_drop(). */
};

/* LOG_FULL: all that the shard has of this session, whatever is in the log before; so a compaction needs
 * nothing older of the key.
 *
 * LOG_BURY: body as in FULL, a tombstone. The shard keeps nothing of this key any more, so that a
 * compaction may forget the key once nothing older than this record can be replayed.
 *
 * LOG_DROP: body as in FULL, of key and version alone. The same, but that it says nothing of the session: it may come
 * back later, as it was. So it counts for what is before it in the log, and for nothing behind it. */

#endif
