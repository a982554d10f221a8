/* A session: one small CRDT in a flat byte record, and the four things done with it.
 *
 *   session_write()        a coordinator's write: conditions, a new stamp, the new record and its delta
 *   session_merge()        the join of two full copies: commutative, associative, idempotent
 *   session_apply_delta()  a delta into a copy that has its base
 *   session_open() ...     what a client sees: the view
 *
 * The same bytes lie in memory, in the log, between nodes, in LMDB and in the archive; record.h writes
 * the format down. Everything here is a pure function of its arguments.
 *
 * Memory: results go to the caller's buffers, which are overwritten, and keep their memory. Records are
 * never changed in place, but for session_touch_in_place(). Threads: any, on separate buffers.
 * Times: `_ms` since 1970 unless it says a duration; hlc as in stamp.h.
 */
#ifndef SESSION_H
#define SESSION_H

#include <stdbool.h>
#include <stdint.h>

#include "bytes.h"
#include "change.h"
#include "dedup.h"
#include "memory.h"
#include "shown.h"
#include "stamp.h"
#include "status.h"

enum {
    SESSION_SIBLINGS_MAX = 16, /* A coordinator that finds more in one name writes the view back. */
    SESSION_DEDUP_MAX = DEDUP_ITEMS_MAX, /* Newest writes remembered (dedup.h). */
};

/* What a policy asks of the sessions under its prefix (the part that writing and showing needs). */
struct session_rules {
    uint32_t session_bytes_max; /* Of names and values. The record may be larger by what it keeps
                                 * beside them: a quarter, at most 4 KiB. */
    uint32_t fields_max;
    uint64_t idle_ttl_ms;     /* Given to a session that begins without one; 0: none. */
    uint64_t absolute_ttl_ms; /* The same. */
    uint64_t tombstone_keep_ms;
    bool no_resurrect; /* Blind writes cannot begin a destroyed session within tombstone_keep_ms. */
};

/* How large a record may become under these rules. Key, versions, stamps and the dedup window come on top of what the limit is
 * about: a value of exactly that size is good. */
size_t session_record_bytes_max(const struct session_rules *rules);

struct session_write {
    struct bytes key;
    struct bytes record; /* The present copy; empty where there is none. */
    const struct session_rules *rules;
    uint64_t now_ms;
    uint64_t
        known_ms; /* As session_open_known(): what is past its idle deadline may have been used since. */
    uint64_t hlc; /* The new stamp is greater than this and than every hlc in the record. */
    struct actor actor;
    enum write_mode mode;
    enum session_type type; /* Of a session that begins; SESSION_NONE: any, and begins none. */
    bool fades; /* Of a map that begins: it ends with the last of its fields (shown.h). */
    struct bytes if_version;   /* Token, or empty. */
    struct bytes changes;      /* A list that change_check() has accepted. */
    uint64_t client, sequence; /* Or 0, 0. */
    uint64_t retry_hlc;        /* Nonzero: repeated; no try was stamped before it (belay.proto). */
    uint64_t
        gone_hlc; /* Writes up to here may have been forgotten with all of their key; 0: none. */
    uint64_t taken_hlc; /* Writes up to here may be at another node, and not here; 0: none. */
    bool elsewhere; /* What is not here may live at another node: ending it leaves a tombstone. */
    bool
        takes_over; /* It may begin where a session may come back (alias_may_return()): in that one's place. */
};

struct session_written {
    bool changed;     /* There is a new record to store and to log; else the copy is as it was. */
    bool created;     /* An incarnation began. */
    bool destroyed;   /* One ended. */
    bool repeated;    /* The dedup window knew this write: results are those of the first time (none
                       where they were larger than DEDUP_RESULT_BYTES_MAX). */
    uint64_t next_ms; /* Set when changed and neither created nor destroyed: before this (0: ever)
                         nothing happens to the session by itself. The view may say later. */
    struct stamp stamp;
    struct bytes token; /* Of the state after the write; in `record`, `scratch` or the old copy. */
    struct buffer record; /* Set when changed: the whole new record... */
    struct buffer
        delta; /* ... and the same as a delta on the old one (empty where it saves little). */
    struct buffer results; /* One per change (change.h). */
    struct buffer scratch; /* Of the work, and for a token that is in no record. */
};

void session_written_init(struct session_written *written, struct memory *memory);
void session_written_fini(struct session_written *written);

/* Do one coordinator's write. Expired means absent: what has died is buried first (death below the new
 * stamp) and a write may begin a new incarnation over it.
 *
 * Returns a status: OK; NOT_FOUND, EXISTS, VERSION_MISMATCH, WRONG_TYPE, NOT_A_NUMBER, OUT_OF_RANGE,
 * DESTROYED, MAYBE_APPLIED, SESSION_TOO_LARGE, TOO_MANY_FIELDS, NO_MEMORY, DAMAGED (the record).
 * With any but OK, `changed` is false.
 * MAYBE_APPLIED: repeated, and not in the window, which may have known it; or a repeated DESTROY of what another
 * client began since its first try. DESTROY on nothing is OK with result 0 and changes nothing, unless the policy
 * says no_resurrect: it then leaves a tombstone all the same. */
enum status session_write(const struct session_write *write, struct session_written *written);

/* Bury an expired session, whole or cold: a tombstone with its death at the stamp's hlc; or, where others may have begun
 * a session meanwhile, which is to live on (`seen_only`), at the newest hlc that the record has seen. Whether it is
 * expired is the caller's to know.
 * Returns 0 with `out` set; -EINVAL when the stamp is not newer than all that the record knows; -ENOMEM;
 * -EBADMSG. */
int session_bury(struct bytes record, struct stamp stamp, bool seen_only, struct buffer *out);

/* What a record, whole or cold, has without its content: key, version and death. Returns 0 with `out` set; -EBADMSG;
 * -ENOMEM. */
int session_empty(struct bytes record, struct buffer *out);

/* The same record, where everything that began at or below `hlc` has ended, with its aliases (hlc: of one of its births):
 * what remains of it has that death. Returns 0 with `out` set; -EBADMSG; -ENOMEM. */
int session_end(struct bytes record, uint64_t hlc, struct buffer *out);

/* The same record, as of a write of this stamp that saw it and changed nothing. The stamp is newer than all of it. Returns 0
 * with `out` set; -EBADMSG; -ENOMEM. */
int session_stamp(struct bytes record, struct stamp stamp, struct buffer *out);

/* The join of two full records of one key, neither of them in `out`, which is set in canonical form: equal states,
 * equal bytes. Returns 0; -EBADMSG when one is damaged, the keys differ or the two contradict each other; -ENOMEM. */
int session_merge(struct bytes a, struct bytes b, struct buffer *out);

/* Apply a delta to the copy here (empty: none), neither of them in `out`.
 * Returns 0 with `out` set; -ESTALE when the copy has not seen the delta's base (ask for the full record);
 * -EBADMSG; -ENOMEM. */
int session_apply_delta(struct bytes record, struct bytes delta, struct buffer *out);

/* Check all of a record or delta that came from outside, to the last byte: lengths, order, references,
 * limits, canonical form. What passes does not make the other functions fail with -EBADMSG, but for a join
 * with a copy that contradicts it.
 * How long the value of the last entry is only whoever kept the bytes knows (record.h): where they end early or late in it
 * they are another record, as good as this one. So they are kept with their size and a checksum, in the log and in the
 * checkpoint, which are looked at first.
 * Returns 0 or -EBADMSG. */
int session_check(struct bytes record);
int session_check_delta(struct bytes delta);

/* Key of a record, whole or cold, or delta. Cheap: the key lies near the start. Of a damaged record: empty. */
struct bytes session_key(struct bytes record);

/* Newest hlc anywhere in a record, whole or cold, or delta: what a node's clock must pass when it takes it
 * in. 0 where the bytes are none of these. */
uint64_t session_newest_hlc(struct bytes record);

/* The same, with who made it. Returns false where it has none, or is no record. */
bool session_newest(struct bytes record, struct stamp *newest);

/* The newest stamp in it, or 0: without the last access, which reads slide and no write made. */
uint64_t session_newest_stamp(struct bytes record);

/* ---- The view: what a client sees at a time ---- */

struct session_view {
    struct bytes record;
    uint64_t now_ms;
    bool live; /* There is a session, not past its deadline. Else the fields up to `owner` are 0. */
    bool tombstone; /* Not live, and remembers a death. */
    bool expired;   /* Not live only because its deadline has passed... */
    bool faded;     /* ... which is that of the last of its fields (shown.h). */
    bool cold;      /* The fields are not here (cold.h): what is told of them is nothing. */
    bool renamed;   /* There are aliases (alias.h). */
    enum session_type type;
    uint64_t created_ms;
    uint64_t absolute_ms;    /* 0: none. */
    uint64_t idle_ms;        /* Duration; 0: none. */
    uint64_t last_access_ms; /* 0: not kept (no idle timeout). */
    uint64_t deadline_ms;    /* The earlier of the two as it stands; set even when expired; 0: none.
                              When faded the last field's. */
    uint64_t next_ms;        /* When something next happens by itself: deadline, a field's deadline;
                              0: never. May be early, never late. Of a tombstone 0: the caller
                              adds its policy's tombstone_keep to death_ms. */
    uint64_t
        fields_past_ms; /* The latest of the deadlines that shown fields are past; 0: none is. */
    uint64_t death_ms;  /* When the last incarnation that was ended died; 0: none was. */
    struct bytes owner;
    uint32_t field_count; /* Shown fields; 1 for a blob. */
    uint32_t siblings_hidden;
    /* private to session.c; it points into itself: a view is not to be copied */
    struct record record_;
    struct leader leader_;
    struct group_walk groups_; /* At the first group... */
    bool walking_;
    struct group_walk walk_;  /* ... at the next one, while walking... */
    struct group_walk group_; /* ... and at the one whose siblings are being told. */
    struct stamp told_;       /* The sibling told last; hlc 0: all are. */
};

/* Take the view of a whole or a cold record. It has passed session_check() once. Returns 0 or -EBADMSG. */
int session_open(struct session_view *view, struct bytes record, uint64_t now_ms);

/* The same where not every use before `known_ms` may have come here (0: each has; UINT64_MAX: nor those until now): a use is
 * told to other nodes only once the idle deadline has slid by a part of the timeout. So it may have been used by such a
 * part later than the record says, but not after `known_ms`; and reads the dedup window on the way (NULL: passes over
 * it). */
int session_open_known(struct session_view *view, struct bytes record, uint64_t now_ms,
                       uint64_t known_ms, struct dedup *dedup);

/* Idle deadlines are logged, and told, when they slide into another of these parts of the idle timeout: what a crash
 * forgets is less than one. */
static inline uint64_t session_idle_part_ms(uint64_t idle_ms)
{
    return idle_ms < 8 ? 1 : idle_ms / 8;
}

struct session_field {
    struct bytes name;
    struct bytes value;   /* Of a number: its decimal text, in `text`. A zset's member: 8 bytes. */
    uint64_t deadline_ms; /* 0: none. */
    bool sibling;         /* Not the shown one; only with all_siblings. */
    char text[24];
};

/* Walk the shown fields in byte order of their names, siblings (newest first) where asked for.
 * Not of a cold one. Returns true with `field` set, false at the end. session_rewind() starts again. */
bool session_next(struct session_view *view, bool all_siblings, struct session_field *field);
void session_rewind(struct session_view *view);

/* Find one shown field. Returns true with `field` set. Does not disturb the walk. */
bool session_find(const struct session_view *view, struct bytes name, struct session_field *field);

/* The field whose entries the walk, of the view, has come to, which it passes. Returns true with `field` set where it is
 * shown. */
bool session_take(const struct session_view *view, struct group_walk *walk,
                  struct session_field *field);

/* The version token of what is in view: opaque to clients, at most TOKEN_BYTES_MAX. It lies in the record, or,
 * where it is not as there (token.h), in `out`, which is overwritten. Returns 0, -ENOMEM. */
int session_token(const struct session_view *view, struct buffer *out, struct bytes *token);

/* Has this record (empty: none) seen all that the token says? Returns 1; 0, also of a record that cannot be
 * read; or -EBADMSG: no token. */
int session_covers(struct bytes record, struct bytes token);

/* Slide the idle clock in the stored bytes themselves, never back; false where the record keeps none. */
bool session_touch_in_place(uint8_t *record, size_t record_size, uint64_t now_ms);

#endif
