/* RENAME: a session goes on under another key, and is under one of the two at any moment, also over a crash.
 *
 * Within a shard that is a transaction (turn_rename()). Between shards it is these procedures, sent one after the other
 * by whoever coordinates it, who can repeat each until it is answered:
 *
 *   find    at the source: is there a session at all?
 *   lock    at the target: requests for the new key wait from here on.
 *   commit  at the source, one record of the log: the old key is destroyed, and the *intent*, that is the session with
 *           its new key, is written into a journal: a session of a reserved key. Answered once it is durable.
 *   apply   at the target: the session begins under its new key, in place of what was there. Answered once it is
 *           durable. The dedup window of the new key knows the rename, so that it is done once.
 *   unlock  at the target: what waited goes on. Not before all this is durable: another rename to the same key
 *           would else be durable before it, and come first after a loss of power.
 *   forget  at the source: the journal's session is destroyed.
 *
 * After a crash the journals are looked at and the new keys locked before any client is served; what they have is then applied
 * and forgotten. A journal's key lies in the slot with the number of its shard, so that it is that shard's whatever the
 * number of shards is; RENAMES_MAX of a shard are under way at a time.
 *
 * Two that want each other's keys: a commit that finds its source locked is refused, and says by whom; of the two the
 * later gives up its lock and begins again (wait-die: Rosenkrantz, Stearns, Lewis, "System level concurrency control for
 * distributed database systems", 1978).
 *
 * Between two slots of a cluster it is another way (move.h).
 *
 * What moves: type, owner, shown fields with their deadlines, both deadlines. The idle clock begins anew, as does the
 * version. Limits of the new key's policy, which the session passed under its old one, do not stop it.
 *
 * Threads: the shard's.
 */
#ifndef RENAME_H
#define RENAME_H

#include "procedure.h"
#include "slot.h"

enum {
    RENAMES_MAX = 4,
    RENAME_JOURNALS = 255, /* Shards that there may be. */
    RENAME_KEY_BYTES = 7,
};

/* What an answer begins with. */
enum rename_answer {
    RENAME_DONE =
        'D', /* find: there is. Of lock: its hlc follows (8 bytes). Of commit and look: the intent. */
    RENAME_NONE = 'N',   /* find, commit: there is no session. look: there is no intent. */
    RENAME_EXISTS = 'E', /* lock: the new key has a session, and RENAMENX was asked for. */
    RENAME_LOCKED = 'L', /* commit: the source is locked; its owner's id follows (8 bytes). */
    RENAME_WAIT = 'W',   /* lock: another has it. lock, commit: too many are under way. */
    RENAME_MOVED = 'M',  /* Of move.h. */
};

/* What each is asked, and with which body. The operation is WRITE; of find, unlock and look it is GET. */

/* At the old key. */
extern const struct procedure rename_find;
/* At the new key: id (8 bytes), 1 for RENAMENX. */
extern const struct procedure rename_lock;
/* At the old key, ack level `disk`: id, the hlc that lock gave (8), tag of its shard's journals (2), new key. */
extern const struct procedure rename_commit;
/* At the new key, ack level `disk`: the intent. */
extern const struct procedure rename_apply;
/* At the journal's key: id. */
extern const struct procedure rename_forget;
/* At the new key: id. */
extern const struct procedure rename_unlock;
/* At the journal's key: one byte where the journal is one of the shard's present number. */
extern const struct procedure rename_look;

struct rename_intent {
    uint64_t id;
    uint64_t now_ms; /* When it was committed. */
    uint64_t hlc;    /* Newest that the target may have seen before it; of move.h: of the commit. */
    uint8_t number;  /* Of the journal. Of move.h: 1 for RENAMENX. */
    struct bytes key;    /* The new one. */
    struct bytes record; /* The session. */
};

/* Returns whether it is one. It points into the bytes. */
bool rename_intent_read(struct bytes bytes, struct rename_intent *intent);

/* The key of a shard's journal. `tag` is of its number, from rename_tags(): for each slot two bytes that lie in it. */
struct bytes rename_journal_key(uint16_t tag, uint32_t number, uint8_t key[RENAME_KEY_BYTES]);
void rename_tags(uint16_t tags[SLOT_COUNT]);
bool rename_is_journal(struct bytes key);

/* In a transaction that is turned to the old key: the same within a shard. `target` must be of it. Sets `answer` to DONE,
 * NONE or EXISTS. */
enum status turn_rename(struct turn *turn, struct bytes target, bool only_new,
                        enum rename_answer *answer);

#endif
