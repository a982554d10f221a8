/* Ports: all that the core asks of the world, on one page. Each is a small struct of functions that an
 * implementation embeds; the simulator is another implementation. The comments are the failure model.
 * (memory.h is one more, shared with proto.)
 */
#ifndef PORTS_H
#define PORTS_H

#include <stdbool.h>
#include <stdint.h>

#include "bytes.h"
#include "memory.h"
#include "status.h"

struct load_block;
struct reply;

/* The key of a session, to the log. */
struct log_subject {
    uint64_t position, fingerprint; /* keeper_position(), keeper_fingerprint(). */
};

/* The shard's write-ahead log. Appends are in memory at once and durable later, in order, reported by
 * shard_log_durable(). When the machine goes down a prefix is kept: everything durable, perhaps more. When
 * only the process dies, everything is. */
struct log_port {
    /* Append one record of `kind` (log_kind.h) about one session, gathered from its parts.
     * Returns 0 with `lsn` set (never 0, never less than before): the record is durable once
     * shard_log_durable() has reached it; that is not called from here.
     * 1: the same, but until then it would die with the process: its acknowledgement must wait.
     * -ENOSPC: no room on the disk; -EIO: the device failed for good; -EAGAIN: too much is waiting to
     * be written; -EFBIG: the record is larger than any may be. Nothing is appended then. */
    int (*append)(struct log_port *log, uint8_t kind, struct log_subject subject,
                  const struct bytes parts[], uint32_t part_count, uint64_t *lsn);
    /* Somebody waits for everything appended so far: write without waiting for the interval. */
    void (*hurry)(struct log_port *log);
    /* What was appended so far is wanted in the checkpoint: let it be a segment of its own soon. */
    void (*seal)(struct log_port *log);
};

/* What the store has of sessions. It gives all of it after a restart, while serving has begun
 * (shard_loading_begin()), in the order of the log, some of it more than once; and for as long as the
 * shard lives, what the checkpoint has of a session whose fields have left memory. Where the disk fails it
 * tells whoever should know and goes on trying: nobody may be told that a session is not there. */
struct loader_port {
    uint64_t log_bytes; /* Of log that is to be given after the checkpoint... */
    uint64_t log_lsn;   /* ... and where that ends: 0 where there is none. */

    /* For the shard, while loading: may something of this position be still to come? Never false while
     * something is. */
    bool (*pending)(struct loader_port *loader, uint64_t position);
    /* For the shard: all that is stored of this position is wanted before all else, and shard_loaded()
     * then, or, where it does not read for some seconds and is not a `must`, shard_load_failed(); not from here. It may
     * take as long as a disk takes. Returns 0, or
     * -ENOMEM: nothing will come. */
    int (*fetch)(struct loader_port *loader, uint64_t position, bool must);
    /* For the shard: the checkpoint has the log before `lsn`, and so every record that this node stamped at or below
     * `hlc`; both only grow. What was stored once is fetched from then on. */
    void (*covered)(struct loader_port *loader, uint64_t *lsn, uint64_t *hlc);
    /* For the shard: memory is short, bring the log before `lsn` into the checkpoint as soon as it is
     * sealed. 0: the log that a restart had. */
    void (*hurry)(struct loader_port *loader, uint64_t lsn);
    /* For the shard: what it has seen of other nodes (seen_saved.h) is kept over a restart, in place of what was kept
     * before. The log is durable up to where this was made. Copied. */
    void (*keep_seen)(struct loader_port *loader, struct bytes saved);
    /* For the shard, after all was given: what was kept. Returns 0 with `to` set; another: nothing, or it is not to be
     * trusted, as something of what was stored did not read back. */
    int (*kept_seen)(struct loader_port *loader, struct buffer *to);
    /* For the shard: of this slot all that there was has come from elsewhere, into the log, whatever of it did not read back. */
    void (*whole)(struct loader_port *loader, uint32_t slot);
    /* For the shard: its records take so many bytes; how long the log may grow goes by that. */
    void (*live)(struct loader_port *loader, uint64_t record_bytes);

    /* For whoever runs the shard; he takes block after block, takes in its records (shard_restore_*()),
     * gives it back, and after one that was fetched calls shard_loaded(). `wake` is called, from any
     * thread, when there is something to take after there was nothing. Returns 0 or negative errno. */
    int (*start)(struct loader_port *loader, void (*wake)(void *context), void *context);
    /* End. What is asked for is not given any more. */
    void (*stop)(struct loader_port *loader);
    /* The next block, or NULL; `over` says that all was given, and all that had been asked for by then: shard_loading_end(), and
     * finish. */
    struct load_block *(*take)(struct loader_port *loader, bool *over);
    void (*give_back)(struct loader_port *loader, struct load_block *block);
    /* Has what a restart is to load, or a `must`, not been readable for some seconds? It is tried again all the time; `wake` is
     * called when it changes. */
    bool (*failing)(const struct loader_port *loader);
    /* A record could not be taken in, and will not be: it is damaged (-EBADMSG), has no base (-ESTALE), or is
     * not where it should be stored (-ENODATA: of a cold session). */
    void (*tell)(struct loader_port *loader, uint32_t kind, struct bytes body, int error);
    /* Everything was taken in: what it came from may go. From here on only the checkpoint is asked. */
    void (*finish)(struct loader_port *loader);
};

/* The other nodes that own sessions of this shard. All that the shard stamps goes to them; what they stamped or have
 * comes by shard_copy(), is merged and never goes on from here. The simulator and server/cluster implement it. Nothing
 * here calls back into the shard, but where it says so. */
struct copies_port {
    /* The shard has appended this to its log, in this turn: a record of LOG_FULL (also the tombstone of a session that
     * it has buried), DELTA, BATCH or TOUCH. `position` is that of its session, of a batch of the first;
     * `hlc` that of its newest stamp, 0: it stamps nothing. The parts are valid during the call.
     * Returns the copy's number, each one more than the last, from 1: shard_copied() or shard_uncopied() will name it
     * later, not from here. 0: no other owner can be reached now. */
    uint64_t (*append)(struct copies_port *copies, uint8_t kind, uint64_t position, uint64_t hlc,
                       const struct bytes parts[], uint32_t part_count);
    /* What became of a copy (shard_copy()), exactly once, from within it or later. */
    void (*merged)(struct copies_port *copies, uint64_t ticket, enum status status);
    /* A session of shard_whole(), valid during the call; and that these were all (OK), or could not all be given. From
     * within it or later. */
    void (*whole)(struct copies_port *copies, uint64_t ticket, struct bytes record);
    void (*whole_done)(struct copies_port *copies, uint64_t ticket, enum status status);
    /* The session is past its deadline. Is it this node that buries it, and do all other owners agree? false: not now;
     * where it is, they are asked. `asked`: they were now, and what they say holds for a few seconds only, so that the shard
     * is to come again in COPIES_BURY_MS; else it comes then or later. */
    bool (*may_bury)(struct copies_port *copies, uint64_t position, struct bytes key,
                     struct bytes record, bool *asked);
    /* Can another owner be reached now, so that append() would return a number? */
    bool (*reaches)(struct copies_port *copies, uint64_t position);
    /* Since when all requests for the slot of this position come to this node, its primary: it knows of each use of a
     * session since then. UINT64_MAX: another node is the primary; 0: it has always been so. */
    uint64_t (*known_ms)(struct copies_port *copies, uint64_t position);
    /* Of the copy that append() has just returned (0: it goes to nobody), of that position: shard_copied() is to come only
     * once all other owners of the slot have merged it, and all that are to own it; where one of them cannot be told now, or
     * is lost before it says so, shard_uncopied(). Returns false: there is no other. */
    bool (*await_all)(struct copies_port *copies, uint64_t position, uint64_t number);
    /* The same of the first owner of the slot alone, which is not this node. */
    void (*await_first)(struct copies_port *copies, uint64_t position, uint64_t number);
};

enum { COPIES_BURY_MS = 200 };

/* Where replies go. A ticket names one request until it is answered, exactly once. */
struct door {
    /* Answer now (`held` false), or keep the answer until release(). What `reply` points at is valid
     * during the call only. The reply may be dropped (the client has gone). */
    void (*reply)(struct door *door, uint64_t ticket, const struct reply *reply, bool held);
    /* Send a held answer, or, with a status other than OK, that error in its place. `level` is the ack level that was
     * reached; it may be another than that of the reply, which is to say this one then. */
    void (*release)(struct door *door, uint64_t ticket, enum status status, enum ack_level level,
                    const char *text);
};

/* What happened, for logs, metrics and tests: never contents of sessions. */
enum trace_event {
    TRACE_SESSION_EXPIRED, /* a: position; text: key. */
    TRACE_SESSION_DELETED, /* Also of one that went with its last field. */
    TRACE_LOG_FULL,        /* Writes are refused from here. */
    TRACE_LOG_RESUMED,     /* And taken again from here. */
    TRACE_LOG_FAILED,
    TRACE_OVERLOAD_BEGIN, /* a: queue delay, ms. */
    TRACE_OVERLOAD_END,
    TRACE_LOADED, /* a: sessions; all that the store had is in memory. */
    TRACE_RENAME_REFUSED, /* a: position of the old key; text: why what is left to do of a rename cannot be done. */
    TRACE_HEAL_STUCK, /* a: node that has taken none of the sessions that a comparison is to send it for long. */
    TRACE_HEAL_GOES_ON,
};

struct tracer {
    void (*event)(struct tracer *tracer, enum trace_event event, uint64_t a, struct bytes text);
};

#endif
