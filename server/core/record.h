/* The record: the bytes of a session, the same in memory, log, checkpoint, archive and on the wire.
 *
 * What it says. A session's state is: its key; its version (version.h: for each actor the newest hlc
 * seen, and the death); its births, one for each begin of an incarnation that is still referred to;
 * its entries; the time of the last access, where an idle timeout was ever asked for; and the dedup
 * window (dedup.h). A birth is a stamp, whether it was blind (an upsert) or explicit (a create), and
 * the type of value that it began. An entry is (kind, name, value, stamp, birth): a user's field; a
 * partial sum, that is what one actor has added to a number; or what is not a user's field: owner,
 * absolute deadline, idle timeout, alias (alias.h). The type is an entry too (its stamp is the birth's):
 * it lies in the birth. Several entries of one kind and name are siblings, written concurrently.
 * How states join is in merge.c, what of them is shown in shown.h.
 *
 * The bytes. All integers are little-endian; varint, zigzag and `string` (varint size, bytes) are as
 * in bytes.h; `back` is as in version.h. In order:
 *
 *   1        format: 0x10, for a delta 0x20, for a cold record 0x30, plus flags: 1 last access,
 *              2 dedup window, 4 its floor,
 *            8 not exactly one birth
 *   6        if flagged: milliseconds of the last access; fixed, so that reads slide it in place
 *   string   key
 *   version  version and death; these bytes are the version token
 *   base     only in a delta: varint number of actors of the version whose hlc was another in the base;
 *            for each: varint index, then varint 0 (was not there) or varint 1 and its hlc then as back
 *   1        only in a cold record: n, where the whole one has at most 2^n bytes; 128 more: there follows
 *   varint     milliseconds since 1970 at which it goes with the last of its fields (shown.h)
 *   8        only in a cold record: hash of the whole one's content (cold.h)
 *   varint   number of births, if flagged; then, only in a cold record, varint index of the first birth of the
 *              present life (shown.h); then, in order of their stamps, for each:
 *     1        1 blind, 2 + 4 + 8 the type (0: the type's entry is gone), 16 the stamp is the newest, 32 a map
 *              that fades (shown.h)
 *     stamp    unless it is the newest
 *   back     the floor of the dedup window, if flagged
 *   items    of the dedup window, if flagged, the newest first; for each:
 *     varint   4 * (1 + bytes of results; 0: they were too large) + 2 * (stamp is newest) + 1 * more
 *     varint   client, varint sequence, stamp unless it is the newest, results; of a receipt its own client, and
 *              it may be below the floor
 *   entries  to the end; for each:
 *     1        1 + 2 + 4 kind (enum entry_kind); 8 + 16 stamp: 0 the birth's, 1 the newest, 2 given,
 *              3 gone (below); 32 the last entry; 64 of another birth than the first; 128 a field's
 *              own deadline
 *     varint   index of the birth, if of another than the first
 *     string   name, of a field or sum
 *     stamp    if given
 *     base     of a sum: varint 0, or 1 + index of actor, then back: stamp of the field it adds to
 *     varint   zigzag (the field's own deadline - the milliseconds of its stamp), if flagged
 *     value    owner, alias (alias.h), field: a string, without its size in the last entry (a sorted set's field: its
 *              score, 8 bytes, as in change.h); absolute deadline: zigzag (ms - the milliseconds of the birth);
 *              idle timeout: varint ms; sum: zigzag
 *
 * A stamp is varint index of the actor, where the version has several, and back. `The newest` is the
 * greatest stamp of the version. Entries are ordered by kind, those of users by name first (so that a
 * field and its sums are neighbours), then by stamp. A field without name has a kind of its own.
 *
 * A delta holds, for each name that a write touched, all entries it has now; a name without any is
 * written as `gone`, with its name and nothing more. Its births are those its entries refer to.
 *
 * A cold record (cold.h) has format 0x30 and neither dedup window nor users' entries; its births are still
 * all that the whole one has. It exists in memory only.
 *
 * The form is canonical: of two ways to write the same, only the first given above is right. Equal
 * states have equal bytes.
 *
 * Sizes: a blob with key k, value v, absolute deadline and one actor with small numbers takes k + v + 18
 * bytes when new and k + v + 22 once overwritten; a hlc counter adds 1 or 2, a dedup item takes 6 to 9.
 */
#ifndef RECORD_H
#define RECORD_H

#include <stdbool.h>
#include <stdint.h>

#include "bytes.h"
#include "dedup.h"
#include "memory.h"
#include "stamp.h"
#include "version.h"

enum {
    RECORD_FORMAT = 0x10,
    RECORD_DELTA = 0x20,
    RECORD_COLD = 0x30,
    RECORD_BIRTHS_CACHED = 4, /* Births at hand without reading them again. */
    RECORD_ACCESS_BYTES = 6,
};

enum record_flag {
    RECORD_ACCESS = 1,
    RECORD_DEDUP = 2,
    RECORD_FLOOR = 4,
    RECORD_BIRTHS = 8,
};

enum { COLD_FIELDS_END = 128 }; /* With n. */

enum birth_flag {
    BIRTH_BLIND = 1,
    BIRTH_TYPE_SHIFT = 1,
    BIRTH_TYPE_MASK = 7,
    BIRTH_NEWEST = 16,
    BIRTH_FADES = 32,
};

enum entry_flag {
    ENTRY_KIND_MASK = 7,
    ENTRY_STAMP_SHIFT = 3,
    ENTRY_STAMP_MASK = 3,
    ENTRY_LAST = 32,
    ENTRY_OTHER_BIRTH = 64,
    ENTRY_UNTIL = 128,
};

enum entry_stamp { ENTRY_AT_BIRTH = 0, ENTRY_AT_NEWEST = 1, ENTRY_STAMPED = 2, ENTRY_GONE = 3 };

/* In canonical order. */
enum entry_kind {
    ENTRY_OWNER = 0,
    ENTRY_ABSOLUTE = 1,
    ENTRY_IDLE = 2,
    ENTRY_ALIAS = 3,
    ENTRY_FIELD = 4,
    ENTRY_SUM = 5,
    ENTRY_BLANK = 6, /* In bytes only: a field without name. */
};

struct birth {
    struct stamp stamp;
    uint8_t type; /* enum session_type; 0: the entry of the type is gone. */
    bool blind;
    bool fades; /* Only where the type is or was a map. */
};

struct entry {
    uint8_t kind;
    bool gone;            /* In a delta: the name has no entry now. All but kind and name is 0. */
    uint32_t birth_index; /* In the record that it was read from. */
    struct stamp stamp;
    struct birth birth;
    struct bytes name;
    struct bytes value;   /* OWNER, ALIAS, FIELD. */
    uint64_t ms;          /* ABSOLUTE, IDLE. */
    int64_t sum;          /* SUM... */
    struct stamp base;    /* ... what it is added to; hlc 0: to nothing. */
    uint64_t deadline_ms; /* FIELD, SUM: 0: none. */
};

/* Order of entries of one state; 0 only for the same entry (or by a name, as entry_compare_names()). */
int entry_compare(const struct entry *a, const struct entry *b);

/* Order of what a write replaces at once: a kind, or for a user's a name. */
int entry_compare_names(const struct entry *a, const struct entry *b);

/* Is this a cold record? Of bytes that were checked once. */
static inline bool record_is_cold(struct bytes record)
{
    return record.size > 0 && (record.data[0] & 0xf0) == RECORD_COLD;
}

/* The format of a record that is whole or cold. */
static inline uint8_t record_format(struct bytes record)
{
    return record_is_cold(record) ? RECORD_COLD : RECORD_FORMAT;
}

/* A record or delta opened for reading. It points into the bytes. */
struct record {
    struct bytes key;
    struct bytes token; /* The encoded version. */
    struct version version;
    uint8_t format; /* RECORD_FORMAT, RECORD_DELTA or RECORD_COLD. */
    uint8_t flags;
    uint32_t birth_count;
    uint64_t last_access_ms; /* 0: not kept. */
    struct bytes base;       /* Of a delta. */
    uint64_t fields_end_ms;  /* Of a cold one, else 0; 0: never. */
    uint32_t life_first;     /* Of a cold one, else 0: the first birth of its life. */
    uint8_t whole_log2;      /* Of a cold one... */
    uint64_t whole_hash;     /* ... and this too. */
    const uint8_t *births, *dedup, *entries; /* Where these parts begin: first all births... */
    const uint8_t *end;
    struct birth birth_cache[RECORD_BIRTHS_CACHED];
};

/* Returns 0, or -EBADMSG when this is no `format`. Looks at all before the entries. */
int record_open(struct record *record, struct bytes bytes, uint8_t format);

/* The same, and reads the dedup window on the way (NULL: passes over it). */
int record_open_dedup(struct record *record, struct bytes bytes, uint8_t format,
                      struct dedup *dedup);

/* The same for what comes first, up to token, version and last access; the rest is not set. */
int record_open_head(struct record *record, struct bytes bytes, uint8_t format);

/* A record without anything, as the copy of who has none: nothing seen, no entries. */
void record_init(struct record *record, struct bytes key);

/* The newest hlc in it: of its version or of the last access. */
static inline uint64_t record_newest(const struct record *record)
{
    uint64_t access = hlc_of_ms(record->last_access_ms);

    return access > record->version.newest.hlc ? access : record->version.newest.hlc;
}

/* The birth of an index below birth_count. */
struct birth record_birth_read(const struct record *record, uint32_t index);

static inline struct birth record_birth(const struct record *record, uint32_t index)
{
    if (index < RECORD_BIRTHS_CACHED) {
        return record->birth_cache[index];
    }
    return record_birth_read(record, index);
}

/* Read one birth; used by those who look at the bytes themselves. */
struct birth birth_read(struct reader *from, const struct version *version);

/* Read the dedup window; empty where there is none. */
void record_dedup(const struct record *record, struct dedup *dedup);

/* A stamp as the format gives it, from the actors of a version. */
struct stamp stamp_read(struct reader *from, const struct version *version);
uint8_t *stamp_put(uint8_t *to, const struct version *version, struct stamp stamp);

/* Walk the entries. */
struct entry_walk {
    const struct record *record;
    struct reader in;
};

struct entry_walk entry_walk(const struct record *record);

/* Returns true with `entry` set; false at the end, or with `walk->in.bad` set where the bytes are bad. */
bool entry_next(struct entry_walk *walk, struct entry *entry);

/* Writes a record: first record_write_head(), then every birth in order, the dedup window, every entry
 * in order, and the end. Values must stay where they are until the next call. `rc` keeps the first
 * error (-ENOMEM, -EBADMSG). */
struct record_writer {
    struct buffer *out;
    int rc;
    bool value_set; /* `value` is to be written: with its size, unless it is the last. */
    uint32_t birth_count;
    struct version version; /* As written. */
    size_t version_at, version_end, births_at, births_end;
    struct birth birth_cache[RECORD_BIRTHS_CACHED];
    uint32_t births_written;
    struct bytes value;
    size_t last_at; /* Head of the last entry; 0: none. */
};

struct record_head {
    uint8_t format;
    struct bytes key;
    const struct version *a, *b; /* The version is their join. */
    struct death death;
    uint64_t last_access_ms;
    const struct version *base; /* Of a delta, else NULL. */
    uint64_t whole_bytes;       /* Of a cold one, else 0... */
    uint64_t fields_end_ms;     /* ... and these too. */
    uint64_t whole_hash;
    uint32_t life_first;
    uint32_t birth_count;
    const struct dedup *dedup;
};

/* `out` is emptied first. */
void record_write_head(struct record_writer *writer, struct buffer *out,
                       const struct record_head *head);
void record_write_birth(struct record_writer *writer, const struct birth *birth);
void record_write_dedup(struct record_writer *writer, const struct dedup *dedup);
void record_write_entry(struct record_writer *writer, const struct entry *entry);
int record_write_end(struct record_writer *writer);

/* The bases of a delta against a version: 1 covered, 0 not, -EBADMSG. */
int delta_base_covered(const struct record *delta, const struct version *version);

#endif
