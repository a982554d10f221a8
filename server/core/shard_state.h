/* Inside of a shard: private to shard*.c.
 *
 *   shard.c          its life, a request's way to its operation, answers
 *   shard_read.c     GET, SCAN, INSPECT, and sliding idle deadlines
 *   shard_write.c    WRITE: apply, log, acknowledge
 *   shard_procedure.c  both in one turn
 *   shard_transaction.c  of several keys
 *   shard_log.c      the log as the shard sees it: full, resumed, failed, durable
 *   shard_expiry.c   patrol, wheel, burials
 *   shard_restore.c  what the store gives at a start
 *   shard_loading.c  serving while it still gives
 *   shard_lock.c     keys for which requests wait
 *   shard_rename.c   sessions that go on under another key
 *   shard_move.c     the same between slots of a cluster
 *   shard_settle.c   what is left to do of that
 *   shard_cold.c     sessions whose fields leave memory and come back
 *   shard_copies.c   other nodes: what goes to them, and writes that wait for them
 *   shard_copy.c     what comes from them: one session
 *   shard_copy_batch.c  several together
 *   shard_drop.c     slots that go to other nodes
 *   shard_seen.c     what was seen of other nodes, kept over a restart
 */
#ifndef SHARD_STATE_H
#define SHARD_STATE_H

#include "acks.h"
#include "copy_waits.h"
#include "eras.h"
#include "load.h"
#include "log_kind.h"
#include "overload.h"
#include "parking.h"
#include "patrol.h"
#include "position_set.h"
#include "rename.h"
#include "seen.h"
#include "shard.h"
#include "uncovered.h"
#include "wheel.h"

enum {
    RETRY_LOG_MS = 50,        /* BUSY because too much waits to be written. */
    RETRY_LOADING_MS = 100,   /* BUSY because too much waits to be loaded. */
    RETRY_UNREAD_MS = 1000,   /* UNAVAILABLE because it does not read. */
    RETRY_LOCK_MS = 50,       /* BUSY because too much waits for a session that is being renamed. */
    LOCKS_MAX = 256,          /* RENAME waits for one. */
    RETRY_MEMORY_MS = 50,     /* BUSY because sessions have to leave memory first. */
    MEMORY_RESERVE_PART = 16, /* What sessions may grow beyond memory_max: this part of it. */
    FAILED_TEXT_BYTES_MAX = 128,
};

struct cold_state {
    uint64_t hand; /* Of the clock: where it goes on. */
    uint64_t round_frozen, round_marked, round_uncovered;
    bool marks;           /* Use is marked. */
    bool freezes;         /* Memory is above the mark, and not yet down at the other. */
    bool round_gained;    /* The checkpoint got more during this round. */
    bool stalled;         /* A round found nothing to do: wait until the checkpoint has more. */
    bool shrinks;         /* Something may still go. */
    bool answering;       /* What was parked for a fetch that is over is executed... */
    bool goes_on;         /* ... and some of it waits for another session now. */
    uint64_t answered;    /* The position that was fetched. */
    uint64_t covered_lsn; /* The checkpoint has the log before it... */
    uint64_t
        covered_hlc; /* ... and every record whose newest stamp is not above this, but for those of `uncovered`. */
    uint64_t stored_hlc;  /* The newest stamp that the checkpoint gave while loading. */
    uint64_t pressed_lsn; /* Up to here the log was asked to be compacted. */
    uint64_t load_mark;   /* While loading: with more used than this, sessions are taken in cold. */
    struct position_set damaged; /* Fetched in vain. */
    struct uncovered uncovered;  /* Of the log, and not told by stamps. */
};

/* Keys for which requests wait (shard_lock.c). */
struct shard_locks {
    uint32_t count;
    struct shard_lock_item {
        uint64_t position, owner;
    } items[LOCKS_MAX];
    struct parking waiting;
};

/* Other nodes. */
struct copies_state {
    struct copy_waits waits;
    uint64_t number;     /* Of the last copy; 0: it went to nobody. */
    bool appended;       /* The request that is executed has appended something... */
    bool missed;         /* ... and some of it went to nobody... */
    bool refuses;        /* ... which is not to be acknowledged, by its policy. */
    uint64_t missed_lsn; /* Up to here something went to nobody, or nobody will say that it came. */
    uint64_t uncopied;   /* Copies up to this number nobody will tell of. */
};

/* What is on its way to the store (shard_seen.c). */
struct kept_seen {
    struct buffer saved;
    uint32_t slot;    /* The next one to go into it; 0: it is not begun, or made. */
    uint64_t lsn;     /* It is made, and waits until the log is durable up to here; else 0. */
    uint64_t next_ms; /* When the next one begins. */
    uint32_t dropped; /* 1 + the slot that was dropped last: what is kept says nothing of it. */
    uint64_t
        replayed[SLOT_COUNT /
                 64]; /* Slots of which the log said at the start that something was dropped. */
};

struct shard {
    struct shard_options options;
    const struct policies *policies;
    struct memory *memory;
    struct keeper *keeper;
    uint64_t hlc;        /* Raised by a stamp before its record is logged... */
    uint64_t logged_hlc; /* ... and this is what it was at the last one logged. */
    uint64_t now_ms;
    struct shard_stats stats;

    /* Of the request that is executed; they keep their memory. */
    struct session_written written;
    struct session_view view;
    struct buffer scratch, answer, changes;

    struct copies_port *copies; /* NULL: a node alone. */
    struct copies_state replicas;
    struct seen seen; /* Of all slots. */
    struct eras eras; /* With other nodes only. */
    struct kept_seen kept_seen;

    struct acks acks;
    uint64_t appended_lsn, durable_lsn;
    uint64_t fragile_lsn; /* Appended up to here, not all would outlive the process. */
    struct {
        bool there;
        struct acks acks;   /* Writes of level `archive`. */
        uint64_t floor_lsn; /* Where the log went on at the start. */
        uint64_t archived_lsn;
        uint64_t begun_lsn; /* Appended when the write that is answered was begun... */
        uint64_t lost_hlc;  /* ... and when log was last found to be lost. */
        uint64_t wait_us;
        uint64_t asked; /* How many writes have waited so far. */
    } archive;
    bool log_full, log_failed;
    char failed_text[FAILED_TEXT_BYTES_MAX];

    struct overload overload;
    uint64_t refused_before_us; /* Writes that came before it are not executed. */

    struct patrol patrol;
    struct wheel wheel;

    struct buffer buried; /* While restoring: struct buried, packed. */
    uint64_t before_hlc;  /* While restoring: the newest stamp of options.before that came. */
    bool idle_restored; /* Sessions with idle timeouts came; they get idle/8 in the first round. */
    struct position_set graced; /* Who got them before the patrol came by. */
    bool revived;               /* A key that was buried came back: see shard_restore_done(). */
    uint64_t restored_hlc;      /* Newest of what came from the store. */
    uint64_t gone_hlc;          /* Newest write of all keys that were let go whole. */
    uint64_t restored_ms;       /* When serving began; 0: nothing was restored. */

    struct loader_port *loader;  /* NULL: there is no store. */
    bool loading;                /* Serving has begun, and the store still gives. */
    struct position_set fetched; /* What it gave before its turn... */
    struct position_set wanted;  /* ... and what of it a record that came had to wait for. */
    struct parking parking;
    struct cold_state cold;

    struct shard_locks locks;
    uint64_t renames[RENAMES_MAX];   /* Who has each journal (rename.h); 0: nobody. */
    struct position_set moved;       /* Where something may be left to do (move.h)... */
    struct position_set moved_round; /* ... as of the round that is gone through... */
    size_t moved_at;                 /* ... and where in it. */
};

/* A key's record and what it says at a time. */
struct glance {
    bool there;   /* Some record, perhaps a tombstone. */
    bool counted; /* A session not buried yet: what stats.live counts. */
    bool expired;
    bool faded;      /* With the last of its fields. */
    uint64_t due_ms; /* When the shard should look at it again; 0: never. */
};

/* Take the time of an event. */
void shard_advance(struct shard *shard, uint64_t now_ms);

void shard_trace(struct shard *shard, enum trace_event event, uint64_t a, struct bytes text);

/* Open a record in shard->view, as session_open(). What is past its idle deadline lives on for a while where another
 * node may know of a later use. */
int shard_open(struct shard *shard, struct bytes record, uint64_t now_ms);

/* Look at a record at `now_ms`, through shard->view. */
struct glance shard_glance(struct shard *shard, struct bytes record, uint64_t now_ms);

/* The record of a key; empty where there is none. Where it has expired, and the patrol has not come to
 * it since a restart, it first gets back the idle time that the restart took. */
struct bytes shard_find(struct shard *shard, uint64_t position, struct bytes key);

/* Answer a request, or hold it until everything appended up to shard->appended_lsn is durable. */
void shard_answer(struct shard *shard, const struct request *request, struct reply *reply,
                  uint64_t now_us);
void shard_answer_held(struct shard *shard, const struct request *request, struct reply *reply);
/* Answer a write of level `archive`, or hold it until that has all that was appended. */
void shard_answer_archived(struct shard *shard, const struct request *request, struct reply *reply,
                           uint64_t now_us);
/* The log failed: who waits for the archive is told. */
void shard_archive_failed(struct shard *shard);
void shard_answer_error(struct shard *shard, const struct request *request, enum status status,
                        const char *text, uint64_t now_us);

/* One operation each. They answer. */
void shard_get(struct shard *shard, const struct request *request, uint64_t now_us);
void shard_scan(struct shard *shard, const struct request *request, uint64_t now_us);
void shard_inspect(struct shard *shard, const struct request *request, uint64_t now_us);
void shard_write(struct shard *shard, const struct request *request, uint64_t now_us);
void shard_procedure(struct shard *shard, const struct request *request, uint64_t now_us);

/* ---- What a transaction has written so far (shard_transaction.c) ---- */

/* The record of the key: staged, or as it is kept. */
struct bytes shard_staged_record(const struct turn *turn, uint64_t position, struct bytes key);
/* Stage what lies in shard->written. Returns OK, or an error with nothing staged. */
enum status shard_stage(struct turn *turn, const struct request *write);
/* Log and store all of it, or nothing. Frees it either way. */
enum status shard_commit(struct turn *turn, const char **text);
void shard_abandon(struct turn *turn);
int shard_begin_staging(struct turn *turn);

/* A session has ended by itself: counted and told. Of one that faded the event is that of a session deleted, as Redis has it. */
void shard_tell_expired(struct shard *shard, uint64_t position, struct bytes key, bool faded);

/* Counters, events and the wheel after a record took another's place. `created`, `destroyed`: what happened between. */
void shard_account(struct shard *shard, uint64_t position, struct bytes key, struct glance before,
                   struct glance after, bool created, bool destroyed);

/* ---- Steps of a write ---- */

/* May it begin? Where not, it was answered, or waits for the cold session. `ends`: it can only end the session.
 * What may begin has a place among the replies that wait. */
bool shard_begin_write(struct shard *shard, const struct request *request,
                       const struct policy *policy, bool ends, struct bytes *record,
                       uint64_t now_us);
/* Apply alone: into shard->written. Returns OK or an error, with `text` where it is BUSY. */
enum status shard_make(struct shard *shard, const struct request *request,
                       const struct policy *policy, struct bytes record, const char **text);
/* Apply, log, store: into shard->written. Returns OK or an error, with `text`. */
enum status shard_apply(struct shard *shard, const struct request *request,
                        const struct policy *policy, struct bytes record, const char **text);
/* The level that it is answered at. */
enum ack_level shard_ack_level(const struct shard *shard, const struct request *request,
                               const struct policy *policy);
/* Answer what was written, once it is as safe as `level` says. */
void shard_answer_write(struct shard *shard, const struct request *request, enum ack_level level,
                        struct reply *reply, uint64_t now_us);
void shard_answer_write_error(struct shard *shard, const struct request *request,
                              enum status status, const char *text, uint64_t now_us);

/* Slide the idle deadline of the live session in shard->view, where its policy says that reads do. */
void shard_use(struct shard *shard, const struct request *request, const struct policy *policy);

/* May a tombstone whose time is over be let go? What comes late must be known to have ended without it (shard_copy.c): so
 * not while less is known to be seen, after a crash or before a comparison, than it tells of. */
bool shard_may_forget(const struct shard *shard, uint64_t position, struct bytes tombstone);

/* Does a comparison with another node tell of it? Not of a tombstone that may be let go. */
bool shard_is_compared(const struct shard *shard, uint64_t position, struct bytes record,
                       struct glance glance);

/* Answer a request that has waited for longer than its client does, or a write that came before
 * shard_refuse_before() said. Returns whether that was so. */
bool shard_refuse_stale(struct shard *shard, const struct request *request, uint64_t now_us);

/* Execute a request that nothing holds back. */
void shard_run(struct shard *shard, const struct request *request, uint64_t now_us);

/* While loading: must this request wait? Then park it. */
bool shard_must_wait(const struct shard *shard, const struct request *request);
void shard_park(struct shard *shard, const struct request *request, uint64_t now_us);

/* While loading: was all of this position given before its turn? */
bool shard_has_fetched(const struct shard *shard, uint64_t position);

/* While loading: fetch what is stored of a position, for a record that builds on it. Returns 0, -ENOMEM. */
int shard_want(struct shard *shard, uint64_t position);

/* ---- Locks ---- */

/* Lock a key for `owner` (not 0), who may have it already. Returns false where another has, or there are LOCKS_MAX. */
bool shard_lock(struct shard *shard, uint64_t position, uint64_t owner);
uint64_t shard_lock_owner(const struct shard *shard, uint64_t position); /* 0: nobody. */
/* Where it is the owner's: it goes, and what waited is executed. */
void shard_unlock(struct shard *shard, uint64_t position, uint64_t owner, uint64_t now_us);
/* The request's key is locked: it waits. */
void shard_wait(struct shard *shard, const struct request *request, uint64_t now_us);

static inline bool shard_is_locked(const struct shard *shard, uint64_t position)
{
    return shard->locks.count != 0 && shard_lock_owner(shard, position) != 0;
}

/* ---- Renames in a cluster ---- */

/* There may be something left to do at this position. */
void shard_note_moved(struct shard *shard, uint64_t position);
/* Is there, in this record, which was opened into shard->view? */
bool shard_is_moved(const struct shard *shard, struct bytes record);

/* ---- Sessions whose fields leave memory and come back ---- */

/* Is there a store that could give them back? */
bool shard_can_freeze(const struct shard *shard);

/* Is the shard's memory used up, for a session that begins, or for one that is there and grows? Then this
 * answers who wants more: BUSY, with a text, or MEMORY_FULL. */
bool shard_memory_is_full(const struct shard *shard, bool begins);
enum status shard_full_status(const struct shard *shard, const char **text);

/* A record whose newest stamp this is was logged up to `lsn`, at `logged_hlc` before: may the checkpoint be taken to
 * have it too early? */
void shard_note_logged(struct shard *shard, uint64_t position, uint64_t newest_hlc,
                       uint64_t logged_hlc, uint64_t lsn);

/* The tick's part. Returns whether there is more to do now. */
bool shard_freeze(struct shard *shard, uint64_t *budget_ns);

/* The request needs the fields of a cold session: park it until they are here. */
void shard_await(struct shard *shard, const struct request *request, uint64_t now_us);

/* Was the cold session of this request asked for in vain? It can still be ended. */
bool shard_is_lost(const struct shard *shard, const struct request *request);

/* Put the whole session in the place of the cold one. Returns 0, -ESTALE, -EBADMSG, -ENOMEM. */
int shard_thaw(struct shard *shard, uint64_t position, struct bytes cold, struct bytes stored);

/* While loading: is this record of the checkpoint to be taken in cold? Then that is in shard->scratch. */
bool shard_takes_cold(struct shard *shard, struct bytes record);
void shard_set_load_mark(struct shard *shard);

/* A fetch is over: what is still cold was not there. And when what waited was executed: back, if memory
 * is full. */
void shard_check_fetched(struct shard *shard, uint64_t position);
void shard_refreeze(struct shard *shard, uint64_t position);

/* At the end of a restore: forget what was buried and did not come back. */
void shard_drop_buried(struct shard *shard);

/* Append to the log what this shard stamps, and send it to other nodes. Returns 0, -ENOSPC, -EIO, -EAGAIN; keeps the
 * states and traces their changes. */
int shard_append(struct shard *shard, enum log_kind kind, uint64_t position, struct bytes key,
                 const struct bytes parts[], uint32_t part_count);
/* The same, to the log alone: what another node has stamped, or forgotten is. */
int shard_log(struct shard *shard, enum log_kind kind, uint64_t position, struct bytes key,
              const struct bytes parts[], uint32_t part_count);
/* The status that answers such an error. */
enum status shard_append_status(int rc);
const char *shard_failed_text(const struct shard *shard);

/* A held answer goes out: with the level reached, or with LOG_FAILED. */
void shard_release(struct shard *shard, uint64_t ticket, enum ack_level level, uint64_t received_us,
                   uint64_t now_us);
void shard_release_failed(struct shard *shard, uint64_t ticket, enum status status,
                          const char *text);

/* ---- Other nodes (there are some) ---- */

/* What was just appended to the log goes to them. */
void shard_send(struct shard *shard, enum log_kind kind, uint64_t position, struct bytes key,
                const struct bytes parts[], uint32_t part_count);
/* Answer a write once another node has all that it wrote, or found. */
void shard_answer_copied(struct shard *shard, const struct request *request, struct reply *reply,
                         uint64_t now_us);
/* What waited for other nodes in vain is durable perhaps. */
void shard_release_uncopied(struct shard *shard, uint64_t now_us);

/* As whom to stamp what lies here. */
struct actor shard_actor(struct shard *shard, uint64_t position);
/* The present actor has seen all that it stamped, in every slot that is known. */
void shard_note_own(struct shard *shard);
/* The tick's part of keeping what was seen; and at a start, once all was given. */
void shard_keep_seen(struct shard *shard);
void shard_take_seen(struct shard *shard);
/* A slot is about to be dropped: what is kept may not say that it was seen, not even for a moment after that. */
void shard_unsee(struct shard *shard, uint32_t slot);

/* Requests of the shard's own: execute; answer. */
void shard_merge_copy(struct shard *shard, const struct request *request, uint64_t now_us);
void shard_give_whole(struct shard *shard, const struct request *request, uint64_t now_us);
void shard_answer_own(struct shard *shard, const struct request *request, enum status status);

/* One session as another node has it, merged with what is here. */
struct merging {
    struct shard *shard;
    uint64_t position;
    struct bytes key, before; /* `before` is in the keeper; empty where nothing is. */
    struct buffer *after;     /* Where the merged record goes. */
    bool news;                /* It differs from `before` in more than the last access... */
    bool touched;             /* ... which is later, in the keeper already, and to be logged. */
    bool ended;               /* Some of what came had ended here: `after` says so. */
    bool waits;               /* The session is cold, and needed: nothing was done. */
    bool was_cold;
    bool moved; /* There may be something left to do (move.h). */
    struct glance glance_before, glance_after;
};

/* Merge a whole record, or a delta (`whole` false), into `after`, which must not be where it lies. Nothing is stored
 * yet. Returns OK, or a status as shard_copy() has it. */
enum status shard_merge(struct merging *merging, bool whole, struct bytes record);
/* What it changes of counters and the wheel, once it is stored. */
void shard_account_merged(const struct merging *merging);
/* It was touched: log that. */
enum status shard_log_touched(const struct merging *merging);

enum status shard_merge_batch(struct shard *shard, const struct request *request, bool *waits,
                              uint64_t *position);

/* Something falls due at `due_ms`: into the wheel, unless the patrol comes by before. */
void shard_arm(struct shard *shard, uint64_t position, uint64_t due_ms);

/* Give back the idle time that a restart may have taken, once: a part of the timeout, but never more than if
 * the session had been used at the restart. */
void shard_give_grace(struct shard *shard, uint64_t position, struct bytes record);
/* The same, for a session that is looked at and has expired, where the patrol is still to come to it. */
void shard_give_grace_early(struct shard *shard, uint64_t position, struct bytes record);

static inline uint32_t shard_slot(uint64_t position)
{
    return slot_of_position(position);
}

#endif
