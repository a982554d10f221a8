/* A shard: everything that happens to its sessions, as events in and actions out.
 *
 * Pure: time comes with each event, memory, log and replies go through ports. The data plane feeds it
 * requests already taken apart (native and RESP doors make the same struct request), log progress and
 * ticks; it answers through the door, at once or, where an ack level waits for the log, later.
 *
 * Life of a write: shard_execute() -> session_write() on the copy in the keeper -> keeper_set() and
 * log->append() in the same turn -> door->reply(), held when the level is `disk` -> shard_log_durable()
 * -> door->release().
 *
 * With other nodes (copies_port) the record goes to them in that turn, too, and what they stamp or have comes by
 * shard_copy(), as an event of its own; a write of level `replica` is released by shard_copied().
 *
 * Memory: the shard owns its keeper; requests and what they point at belong to the caller and are not
 * kept after the call. Threads: one thread, all calls.
 */
#ifndef SHARD_H
#define SHARD_H

#include <stdbool.h>
#include <stdint.h>

#include "histogram.h"
#include "keeper.h"
#include "policy.h"
#include "ports.h"
#include "procedure.h"
#include "session.h"

enum request_op {
    REQUEST_GET = 0,
    REQUEST_WRITE = 1,
    REQUEST_SCAN = 2,
    REQUEST_INSPECT = 3,
    /* The shard's own, which wait as requests do. */
    REQUEST_COPY = 4,  /* shard_copy(). `mode`: its kind. */
    REQUEST_WHOLE = 5, /* shard_whole(). */
};

/* Flags of a SCAN. */
enum { SCAN_LETTERS = 1 }; /* Also the keys of letters (move.h), whatever the prefix. */

/* One request for one session (or one step of a scan). Many-key requests are split by the door. */
struct request {
    uint64_t ticket;
    uint8_t op;
    uint8_t mode;         /* WRITE: enum write_mode. */
    uint8_t type;         /* WRITE, SCAN: enum session_type. */
    uint8_t ack;          /* WRITE: enum ack_level. */
    uint32_t flags;       /* GET: enum get_flag; SCAN: as above. */
    uint32_t timeout_ms;  /* 0: none. */
    uint32_t waited_ms;   /* Before it came here, for a node that could serve it. */
    uint64_t received_us; /* When it arrived, by the clock of `now_us`: for timeout, queue delay and
                             latency. */
    uint64_t position;    /* shard_prepare() sets it. */
    struct bytes key;     /* SCAN: prefix. */
    struct bytes version; /* GET: floor; WRITE: condition. */
    struct bytes body;    /* GET: names of fields; WRITE: change list. */
    uint64_t client, sequence, retry_hlc;
    uint64_t
        taken_hlc; /* WRITE: other nodes may have taken writes up to then that are not here; 0: none. */
    bool admitted;                     /* shard_refuse_late() was asked, and said no. */
    bool elsewhere;                    /* WRITE: what is not here may live at another node. */
    bool for_first;                    /* WRITE: OK only once the slot's first owner has it. */
    bool takes_over;                   /* WRITE, within the shard: as session_write's. */
    uint64_t cursor;                   /* SCAN. */
    uint32_t count;                    /* SCAN. */
    const struct procedure *procedure; /* GET, WRITE: what is done in their place; else NULL. */
};

/* An answer. Pointers are valid during door->reply() only. */
struct reply {
    uint8_t op;
    enum status status;
    const char *text;   /* NULL: the status's own. */
    enum ack_level ack; /* The level that is reached when this answer goes out. */
    bool created, repeated;
    uint64_t hlc;
    uint32_t retry_after_ms;
    struct bytes version;
    uint32_t flags;      /* GET: those of the request; SIBLINGS where the policy shows them. */
    struct bytes fields; /* GET: the names asked for. */
    struct session_view *view; /* GET, INSPECT: NULL unless status is OK. */
    struct bytes record;       /* INSPECT. */
    struct bytes results;      /* WRITE: one per change. Of a procedure: its answer. */
    struct bytes keys;         /* SCAN: each as varint size and bytes. */
    uint64_t cursor;           /* SCAN: where to go on; 0: done. */
};

enum { SHARD_STATUSES = 64 }; /* Those of a server are below. */

/* Counters, all since the start; read by the same thread (the data plane publishes copies). */
struct shard_stats {
    uint64_t requests[4];                /* By request_op. */
    uint64_t answers[4][SHARD_STATUSES]; /* By request_op and status. */
    uint64_t hits, misses;               /* GETs. */
    uint64_t created, destroyed, expired;
    uint64_t siblings_hidden;         /* Counted when shown without them. */
    uint64_t busy, timeouts, refused; /* Answers BUSY; TIMEOUT; other errors of a limit. */
    uint64_t repeated;
    uint64_t touches_logged;
    uint64_t loading;            /* 1 while the store still gives... */
    uint64_t load_failing;       /* ... and 1 while it cannot, for some seconds. */
    uint64_t fetched;            /* Positions that were asked of the store. */
    uint64_t cold;               /* Sessions whose fields are not in memory now. */
    uint64_t frozen, thawed;     /* Sessions whose fields left memory, came back. */
    uint64_t cold_requests;      /* Requests that waited for that. */
    struct histogram fetch_us;   /* From the request to the fields being there. */
    uint64_t acks[5];            /* By level reached. */
    uint64_t archive_late;       /* Writes of level `archive` that waited for it for too long. */
    uint64_t archive_waits;      /* And that wait now. */
    struct histogram archive_us; /* From the arrival of those that it has to their answer. */
    uint64_t copies_merged;      /* Records of other nodes that changed something here. */
    uint64_t copies_known;       /* And those that changed nothing. */
    uint64_t live;               /* Sessions now. */
    struct histogram latency[4]; /* By request_op, microseconds from arrival to answer. */
};

struct shard_options {
    uint32_t index;
    uint64_t seed; /* Of positions. */
    struct actor actor;
    struct actor
        before; /* The life of this node before this one, where it ended without a clean stop: of what it stamped the
                            store has all up to some time, and perhaps not the rest. Node 0: there was none. */
    uint64_t hlc;      /* Newest that the store has seen. */
    uint64_t gone_hlc; /* What was written up to here may have been forgotten since, with all of its
                            key; 0: there was nothing before. */
    uint64_t memory_max; /* Bytes for sessions; 0: no limit. At it the coldest leave memory, where
                            there is a loader; new sessions wait for that (BUSY), or are refused
                            (MEMORY_FULL); growth of others a little above it. */
    uint32_t queue_delay_ms; /* Who waited longer is answered BUSY; 0: never. */
    const struct policies *policies;
    struct memory *memory;
    struct log_port *log;
    struct loader_port *loader; /* NULL: sessions stay in memory. */
    struct door *door;
    struct tracer *tracer;
    struct copies_port *copies; /* NULL: a node alone. */
};

struct shard; /* private to shard.c */

/* Returns 0 or -ENOMEM. */
int shard_create(const struct shard_options *options, struct shard **shard);
void shard_destroy(struct shard *shard);

/* Before serving: take in what the store gives, in any order, as often as it likes; each is checked.
 * Returns 0; -ENOMEM; -EBADMSG: damaged, skipped; -ESTALE: a delta whose base, or a touch whose session,
 * is not here (it may come later: offer it again then). */
int shard_restore_record(struct shard *shard, struct bytes record); /* LOG_FULL, a checkpoint's. */
int shard_restore_delta(struct shard *shard, struct bytes delta);   /* LOG_DELTA. */
int shard_restore_touch(struct shard *shard, struct bytes body);    /* LOG_TOUCH. */
int shard_restore_bury(struct shard *shard, struct bytes record);   /* LOG_BURY. */
int shard_restore_drop(struct shard *shard, struct bytes record);   /* LOG_DROP: in its order. */

/* Serving begins while the store still gives, through the same four and the one below. Requests for what is
 * still to come wait for it, scans for the end. `hlc` is at or above every stamp that the store has; the clock
 * must have passed it. Before the first request. */
void shard_loading_begin(struct shard *shard, struct loader_port *loader, uint64_t hlc,
                         uint64_t now_ms);

/* A record of the checkpoint, with all before the log, or one that was fetched: then also after the end. It may
 * be taken in cold. Returns as the four. */
int shard_restore_stored(struct shard *shard, struct bytes record, bool fetched);

/* All that the store has of a position, and was fetched, was given: what waits for it is executed. */
void shard_loaded(struct shard *shard, uint64_t position, uint64_t now_ms, uint64_t now_us);

/* What the store has of a position, and was asked for, cannot be read: what waits for it is refused. It is asked for again by the
 * next request. */
void shard_load_failed(struct shard *shard, uint64_t position, uint64_t now_ms, uint64_t now_us);

/* Whether the store can read what is to be loaded has changed, perhaps: while it cannot, no scan waits for it. */
void shard_set_load_failing(struct shard *shard, bool failing, uint64_t now_us);

/* All was given; as shard_restore_done(), and what still waits is executed. */
void shard_loading_end(struct shard *shard, uint64_t now_ms, uint64_t now_us);

/* Where nothing is served before: all was given, what was buried and did not come back is dropped, and
 * serving may begin. Sessions with an idle timeout get idle/8 more, for the touches that were not logged. */
void shard_restore_done(struct shard *shard, uint64_t now_ms);

/* Batch of a turn: position and prefetch of each request, then execute each in order. */
void shard_prepare(struct shard *shard, struct request *request);
void shard_prefetch(struct shard *shard, const struct request *request);

/* Is a request refused for the time that it waited, whatever it is? Then it is counted as that, and to be answered BUSY, before
 * anything is done for it: under overload that is what most work is. Else it is `admitted`: of its shard's share of refusals it
 * had its part, and is refused only where it begins a session, or becomes late still. (Of the shard that its connection is at.) */
bool shard_refuse_late(struct shard *shard, enum request_op op, uint64_t received_us,
                       uint64_t now_ms, uint64_t now_us, uint32_t *retry_after_ms);

/* What the answer to a prepared request may take, at its largest: the size of its session's record, where the fields have
 * left memory up to twice that, while the session is still to be loaded at least UNKNOWN_RECORD_BYTES. Of a write 0, but
 * for a procedure (its answer may be all of the session) that has to wait for the fields. */
enum { UNKNOWN_RECORD_BYTES = 64 * 1024 };
uint64_t shard_answer_bytes(const struct shard *shard, const struct request *request);

/* Execute. Answers through the door exactly once: now, or held and released later. Key, version, change
 * list and the rest are checked here. Neither clock goes back: `now_ms` is since 1970 and decides what
 * has expired, `now_us` has any origin and measures waiting (read it for each batch or request: the
 * closer, the truer is the queue delay). */
void shard_execute(struct shard *shard, const struct request *request, uint64_t now_ms,
                   uint64_t now_us);

/* Answer a request with an error in place of executing it; it counts as one that was executed. */
void shard_refuse(struct shard *shard, const struct request *request, enum status status,
                  const char *text, uint64_t now_us);

/* The policy of the key, until another table is set. */
const struct policy *shard_policy(const struct shard *shard, struct bytes key);

/* ---- Copies on other nodes ---- */

/* This node is not alone any more: as in the options, from here on. Once, where there were none. */
void shard_set_copies(struct shard *shard, struct copies_port *copies);

/* What was seen of each slot: known of none at first. The shard notes in it what it stamps, where there are others;
 * whoever replicates notes what came in order (seen.h). Where it is known, what comes of a session that ended here and
 * was forgotten is dead (shard_copy()). */
struct seen *shard_seen(struct shard *shard);

/* As whom it stamps in each slot. Once any era has begun the life may not go on over a restart. Valid as long as the shard is. */
const struct eras *shard_eras(const struct shard *shard);

/* Visit the slots of writes that wait in the shard for their session, which is read from the disk or locked; a slot may come
 * more than once. */
void shard_visit_waiting(const struct shard *shard, void (*visit)(void *context, uint32_t slot),
                         void *context);

/* All slots are known: nobody else ever had anything of what they have. Of a node alone, before others come. What was
 * seen is kept over a restart by itself (loader_port). */
void shard_begin_seen(struct shard *shard);

/* The slot's sessions are still to come from where this cluster's owners do not have them: until that is over nothing is known
 * to be seen of it (seen_hold()), and what comes is taken as it is. Where it is so already nothing happens. */
void shard_hold_seen(struct shard *shard, uint32_t slot, bool held);

/* All of the slot has come, from where that was seen of it, and what this node stamped in it is there: it is known from here on.
 * Empty: what was seen is not known, nor whether all is there that this node stamped before others had the slot. */
void shard_begin_slot_seen(struct shard *shard, uint32_t slot, struct bytes vector);

/* After a crash: what the life before stamped is seen as far as the store has it, as that has all up to some time. Once
 * what was kept is known; the shard does it itself where a loader_port gives that. */
void shard_see_before(struct shard *shard);

/* What another node stamped, or has. */
struct shard_copy {
    uint64_t ticket;
    uint8_t kind; /* LOG_FULL, DELTA, BATCH, TOUCH or BURY... */
    uint64_t position;
    struct bytes body; /* ... and its body as in log_kind.h. Valid during the call. */
};

/* Merge it. It is logged as it is here then, raises the clock above its stamps, stamps nothing, tells no events, and
 * does not go on to other nodes. While the session is cold or still to be loaded, it waits, in order with the requests
 * for it; copies->merged() says what became of it:
 * OK: it is in memory, and on its way to the log, or was there before. DESTROYED: the same, but some of it had ended
 * here: by what was seen, it began before, and is not here any more; or a tombstone was here that no comparison tells of
 * any more. What is here now says so, and the sender should have that (shard_whole()). VERSION_MISMATCH: a delta without
 * its base. BUSY, MEMORY_FULL, DISK_FULL, LOG_FAILED: nothing has changed, it is to be given again later. DAMAGED: the
 * session here cannot be read. INVALID: it is no such record. */
void shard_copy(struct shard *shard, const struct shard_copy *copy, uint64_t now_ms,
                uint64_t now_us);

/* A copy for this position comes soon: fetch from memory what finds it, or, `found`, once that is there, what is there and
 * what of `seen` it is noted in. */
void shard_prefetch_copy(struct shard *shard, uint64_t position, bool found);

/* Another node has merged the copy of this number: releases the write that waits for it. Each at most once, in any
 * order. */
void shard_copied(struct shard *shard, uint64_t number, uint64_t now_us);

/* Nobody will say any more that copies up to this number were merged: the writes among them that still wait do so for
 * the log instead, and say `disk`. */
void shard_uncopied(struct shard *shard, uint64_t number, uint64_t now_us);

/* Is nothing of the request's key here, not even an end, as is known for sure? */
bool shard_is_new(const struct shard *shard, const struct request *request);

/* The level that the write is answered at. */
enum ack_level shard_level(const struct shard *shard, const struct request *request);

/* The record of a key, whole or cold, empty where there is none; valid until the next call. Returns false where that is
 * not known yet, as it is still to be loaded. */
bool shard_peek(const struct shard *shard, uint64_t position, struct bytes key,
                struct bytes *record);

/* Visit what is there from position `first` to `last`, in ascending order, until `visit` returns false: all sessions, and
 * the tombstones that are still kept for their policy's time. `hash` is session_hash(), with the last access as far as
 * other nodes are told of it, or 0 where `hashes` are not asked for. `visit` must not change anything. */
void shard_walk(struct shard *shard, uint64_t first, uint64_t last, bool hashes,
                bool (*visit)(void *context, uint64_t position, uint64_t hash), void *context);

/* This node has nothing to do with the slot any more: some of what is there leaves memory, log and checkpoint; on other
 * nodes it stays. Once all of it has gone, nothing of the slot is known to be seen. Returns 1: there is more; 0: nothing
 * is left; -ENOSPC, -EIO, -EAGAIN, -EFBIG: the log takes nothing now; -ENOMEM. */
int shard_drop_slot(struct shard *shard, uint32_t slot, uint64_t now_ms);

/* Give all sessions of a position, whole: copies->whole() for each and whole_done(), from within or later, once those
 * that are cold or to be loaded were fetched. whole_done() with another status than OK: they could not be. */
void shard_whole(struct shard *shard, uint64_t position, uint64_t ticket, uint64_t now_us);

/* The log is durable up to `lsn`: releases what waited for it. */
void shard_log_durable(struct shard *shard, uint64_t lsn, uint64_t now_us);
/* Where the log goes on since the last record was appended in this run; 0: none was. */
uint64_t shard_appended(const struct shard *shard);
/* Has shard_log_durable() said so of all up to there? Of 0 it need not. */
bool shard_is_durable(const struct shard *shard, uint64_t lsn);

/* ---- The archive ---- */

/* There is an archive, from here on: writes of level `archive` are answered once it has them, and UNAVAILABLE once they
 * have waited for it for `wait_us`. `lsn` is where the log goes on, all before which may not be archived yet. Before serving.
 * Without, they are refused. */
void shard_set_archive(struct shard *shard, uint64_t lsn, uint64_t wait_us);

/* The archive has the log up to `lsn`: releases what waited for it. A write that wrote nothing, as it found done by another
 * node what it asks for, does not wait: it is answered UNAVAILABLE, as this log does not tell whether the archive has that. */
void shard_archived(struct shard *shard, uint64_t lsn, uint64_t now_us);

/* The archive will have the log up to `lsn`, but for a part of it that is lost (it was given up, or is damaged): who waited
 * for any of it is answered UNAVAILABLE, and so is from now on who finds done what was done before. Before
 * shard_archived() says so. */
void shard_archive_lost(struct shard *shard, uint64_t lsn);

/* What was lost of the log so far, and what there was before it, the archive has by now from elsewhere: who finds done what
 * was done then is answered as ever. */
void shard_archive_based(struct shard *shard);

/* The LSN that the oldest write waits for to be archived; 0: none waits. */
uint64_t shard_archive_wanted(const struct shard *shard);

/* How many writes have begun to wait so far, but for those that wait for log beyond `lsn`. */
uint64_t shard_archive_asked(const struct shard *shard, uint64_t lsn);

/* Answers those that waited for too long; `all`: every one, as nobody will archive anything now. Returns in how many
 * microseconds to come again, UINT64_MAX: not before another write. */
uint64_t shard_archive_late(struct shard *shard, bool all, uint64_t now_us);

/* The device failed: everything that waits is answered with the error, writes are refused from now. */
void shard_log_failed(struct shard *shard, const char *text);

/* Do due work: expiry, patrol, evacuation, at most about `budget_us` of it.
 * Returns in how many ms to call again: 0 when there is more to do now. */
uint32_t shard_tick(struct shard *shard, uint64_t now_ms, uint32_t budget_us);

/* The shard was not served for so long that another node may have taken its place: who asked for a write that came
 * before `came_us`, by the clock of `now_us`, may have had it done there, and gone on. One that is not executed yet
 * never is: BUSY. */
void shard_refuse_before(struct shard *shard, uint64_t came_us);

/* A new table of policies, valid until another one is set. */
void shard_set_policies(struct shard *shard, const struct policies *policies);

const struct shard_stats *shard_stats(const struct shard *shard);
const struct keeper *shard_keeper(const struct shard *shard);
/* At or above every stamp given out or taken in. */
uint64_t shard_hlc(const struct shard *shard);
/* At or above every stamp that it has logged, below that of whatever it stamps and logs from here on (what other nodes
 * stamped may be older, and LOG_BURY may be of an old tombstone): for the log, also from within its append(). */
uint64_t shard_logged_hlc(const struct shard *shard);

#endif
